"""What a router and its hosts say to each other, and what can be asked of shards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs

from actors import Call, Refusal
from actors.validation import is_int


class NoKey(Refusal):
    """A message for shards has no key that could be found, or one that is no str and no int."""


@attrs.frozen
class Keyed:
    """To a host: a message for the actor of that key, in that shard."""

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


@attrs.frozen
class HostInfo:
    """One host: its id, whether it is up, and the numbers of its shards."""

    id: str
    up: bool
    shards: tuple[int, ...]


@attrs.frozen
class ShardsInfo:
    """Shards as they stand; ``moving`` are those on their way to another host."""

    count: int
    hosts: tuple[HostInfo, ...]
    moving: tuple[int, ...]


@attrs.frozen
class GetShards(Call[ShardsInfo]):
    """How they stand."""


@attrs.frozen
class Resize(Call[None]):
    """Spread the shards over so many hosts, one for each shard at most; answered when all have left
    the host that they had to leave. Messages wait meanwhile, and keep their order. Refused with
    ``StillMoving`` while others are on their way."""

    hosts: int

    def __attrs_post_init__(self) -> None:
        if not is_int(self.hosts) or self.hosts < 1:
            raise ValueError(f"Resize hosts is an int of 1 or more. Got: {self.hosts!r}")


class StillMoving(Refusal):
    """Shards are on their way already."""


@attrs.frozen
class Somewhere:
    """In place of a key: any shard will do."""


@attrs.frozen
class Everywhere:
    """In place of a key: the message goes to all shards, and ``merge`` makes one of the answers."""

    merge: Callable[[list[Any]], Any]
