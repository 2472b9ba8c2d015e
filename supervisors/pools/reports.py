"""What a pool reports of its messages, through :mod:`logging` on ``supervisors`` and as
telemetry."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from actors import Ref
from supervisors.reports import logger

if TYPE_CHECKING:
    from actors.place import Place
    from supervisors.pools.admin import PoisonMessage


@attrs.frozen
class MessagePoisoned:
    """A pool has set a message aside that has cost it ``attempts`` workers."""

    pool: Ref[Any]
    message: object
    attempts: int
    reasons: tuple[str, ...]


def poisoned(home: Place, poison: PoisonMessage) -> None:
    """A pool has given up on a message."""
    telemetry = home.scheduler.telemetry
    if MessagePoisoned in telemetry.active:
        telemetry.emit(MessagePoisoned(home.ref, poison.message, poison.attempts, poison.reasons))
    logger.error(
        "%s%s has set aside %r, which has cost it %d %s; the last died of: %s",
        home.path,
        "" if home.name is None else f", named {home.name!r},",
        poison.message,
        poison.attempts,
        "worker" if poison.attempts == 1 else "workers",
        poison.reasons[-1],
    )
