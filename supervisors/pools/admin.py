"""What can be asked of a pool, and what it says of messages that cost it too many workers."""

from __future__ import annotations

from typing import Any

import attrs

from actors import Call, Refusal
from actors.validation import check_number, is_int


class Poisoned(Refusal):
    """A message was set aside: each of ``attempts`` workers that were to handle it has died of it.

    ``operation`` is the name of its class, ``reasons`` what the workers died of. It stands in the
    pool's list: see :class:`GetPoison`.
    """

    def __init__(self, operation: str, attempts: int, reasons: list[str]) -> None:
        super().__init__(
            f"{operation} was set aside after {attempts} "
            f"{'attempt' if attempts == 1 else 'attempts'}; the last worker died of: "
            f"{reasons[-1] if reasons else 'nobody knows what'}"
        )
        self.operation = operation
        self.attempts = attempts
        self.reasons = reasons


@attrs.frozen
class PoisonMessage:
    """A message that was set aside. ``number`` names it, ``moment`` is when, in seconds since
    1970."""

    number: int
    message: Any
    attempts: int
    reasons: tuple[str, ...]
    moment: float


@attrs.frozen
class OperationInfo:
    """The messages of one class: how many wait, are in hand, were done; how often one has failed:
    it has cost a worker, or was one-way and no worker got it; the bounds, None for none; and
    ``seconds``, how long the next one may take: as long as the last if that was 2 ms or more, else
    a moving average; None before the first is done."""

    operation: str
    waiting: int
    running: int
    done: int
    failed: int
    concurrency: int | None
    rate: float | None
    seconds: float | None


@attrs.frozen
class WorkerInfo:
    """One worker: its id, whether it is up, and how many messages it has in hand and was handed."""

    id: str
    up: bool
    running: int
    taken: int


@attrs.frozen
class PoolInfo:
    """A pool as it stands. Since it started, ``done`` messages were answered, with a refusal or an
    error as well; ``replaced`` workers have ended that were not told to; ``poisoned`` messages were
    set aside. ``failing`` says why the last worker did not come up, until one does; else it is
    empty."""

    min: int
    max: int
    workers: tuple[WorkerInfo, ...]
    operations: tuple[OperationInfo, ...]
    waiting: int
    running: int
    done: int
    replaced: int
    poisoned: int
    failing: str = ""


@attrs.frozen
class GetPool(Call[PoolInfo]):
    """How a pool stands. Needs no room in its mailbox."""


@attrs.frozen
class GetPoison(Call["list[PoisonMessage]"]):
    """The messages that were set aside, the latest last; at most the last thousand."""


@attrs.frozen
class RetryPoison(Call[None]):
    """Put a message that was set aside at the end of the queue, one-way, under the number it had,
    with all its attempts. Refused with ``NoSuchPoison``."""

    number: int


@attrs.frozen
class DropPoison(Call[None]):
    """Forget a message that was set aside. Refused with ``NoSuchPoison``."""

    number: int


class NoSuchPoison(Refusal):
    """No message of that number is set aside."""


@attrs.frozen
class SetLimit(Call[None]):
    """Bound an operation, from now on: how many of its messages are handled at the same time
    (``concurrency``; 0: none, for now), and how many are begun in a second (``rate``), of which
    ``burst`` at once: as many as come in a second, at least one, unless given. None lifts a bound.
    What is in hand is finished. A rate in the place of another begins with what was left under that
    one; 0 holds everything.

    Raises TypeError or ValueError for what is no class, or no such number, and for a burst without
    a rate. Refused for a class that no worker handles.
    """

    operation: type
    concurrency: int | None = None
    rate: float | None = None
    burst: int | None = None

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.operation, type):
            raise TypeError(f"SetLimit operation is a class of messages. Got: {self.operation!r}")
        if self.concurrency is not None and (not is_int(self.concurrency) or self.concurrency < 0):
            raise ValueError(
                f"SetLimit concurrency is an int of 0 or more, or None. Got: {self.concurrency!r}"
            )
        if self.rate is not None:
            check_number("SetLimit rate (a second)", self.rate, at_least=0)
        if self.burst is not None and (not is_int(self.burst) or self.burst < 1):
            raise ValueError(f"SetLimit burst is an int of 1 or more. Got: {self.burst!r}")
        if self.burst is not None and self.rate is None:
            raise ValueError(f"SetLimit burst is for a rate. Got: burst={self.burst}, rate=None")


@attrs.frozen
class SetSize(Call[None]):
    """Have at least ``min`` and at most ``max`` workers, from now on. Those that are too many get
    nothing more, and are stopped when they have finished what they have in hand. Raises ValueError
    for sizes that no pool has."""

    min: int
    max: int

    def __attrs_post_init__(self) -> None:
        check_size(self.min, self.max)


def check_size(least: Any, most: Any) -> None:
    """How many workers a pool has. Raises ValueError."""
    if not is_int(least) or least < 0:
        raise ValueError(f"A pool's min is an int of 0 or more. Got: {least!r}")
    if not is_int(most) or most < max(1, least):
        raise ValueError(
            f"A pool's max is an int of 1 or more, and not less than min ({least}). Got: {most!r}"
        )
