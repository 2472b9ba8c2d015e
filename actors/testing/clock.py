"""Time that moves only when everybody waits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, TypeVar, TypeVarTuple

import trio
from trio.testing import MockClock

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

R = TypeVar("R")
Args = TypeVarTuple("Args")

START = datetime(2030, 1, 1, tzinfo=UTC)
"""What wall clocks show when the virtual time is 0."""


class VirtualClock:
    """One time for trio's deadlines and for a system's wall clock; it jumps to the next deadline
    as soon as every task waits, so that a test of an hour's timeout takes no time.

    Give ``clock.trio`` to :func:`trio.run` and ``clock.now`` to :func:`actors.open_system`, or let
    :meth:`run` and the fixtures of :mod:`actors.testing.plugin` do that:

    >>> clock = VirtualClock()
    >>> clock.run(trio.sleep, 3600)
    >>> clock.time
    3600.0

    A thread that is waited for lets time jump as well: there is nothing else to wait for.
    """

    def __init__(self) -> None:
        self.trio = MockClock(autojump_threshold=0)
        """The clock of the run: a :class:`trio.testing.MockClock`."""

    @property
    def time(self) -> float:
        """Seconds passed on trio's clock."""
        return self.trio.current_time()

    def now(self) -> float:
        """Wall time, in seconds since the epoch: ``START`` and what has passed since."""
        return START.timestamp() + self.trio.current_time()

    def jump(self, seconds: float) -> None:
        """Let so many seconds pass at once; what was due meanwhile is late. Not a checkpoint."""
        self.trio.jump(seconds)

    def run(self, main: Callable[[*Args], Awaitable[R]], *args: *Args) -> R:
        """``trio.run(main, *args)`` on this clock."""
        return trio.run(main, *args, clock=self.trio)

    def __repr__(self) -> str:
        return f"<VirtualClock at {self.time} s>"
