"""What a router and its hosts say to each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from actors.mailbox import EXEMPT
from actors.runtime import calls

if TYPE_CHECKING:
    from actors.place import Place


@attrs.frozen
class Keyed:
    """To a host: a message for the actor of that key, in that shard."""

    __carries__: ClassVar[str] = "message"

    key: str
    shard: int
    message: object


@attrs.frozen
class Returned:
    """To the router: a host has given up the shard, and has not begun with this message."""

    key: str
    shard: int
    message: object


@attrs.frozen
class Own:
    """To a host: these shards are its own from now on."""

    shards: tuple[int, ...]


@attrs.frozen
class Release:
    """To a host: stop the actors of this shard, and return what they have not begun."""

    shard: int


@attrs.frozen
class Released:
    """To the router: that has been done; nothing of the shard is left there."""

    shard: int
    host: int


def send(place: Place, message: object, slot: Any, origin: Any) -> None:
    """Queue a message of the library's own, which no bound keeps out."""
    if calls.is_closed(place):
        place.scheduler.refuse(place, (message, slot, *origin))
        return
    mailbox = place.open_mailbox()
    mailbox.exempt += 1
    mailbox.append((message, slot, *origin, EXEMPT))
    if place.idle:
        place.scheduler.schedule(place)
