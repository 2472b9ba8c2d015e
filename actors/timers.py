"""All deadlines and timers of a system, in one heap on trio's clock.

A heap entry costs a fraction of a microsecond where a cancel scope with a deadline costs eight, so
neither calls nor timers have a scope of their own; :mod:`actors.runtime.alarm` is the one task that
waits for the earliest.
"""

from __future__ import annotations

import heapq
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Protocol

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

_COMPACT_FROM = 256


class Entry(Protocol):
    """What stands in the heap: a timer, or the reply slot of a call with a deadline."""

    @property
    def live(self) -> bool:
        """Whether it is still to fire."""
        ...

    def fire(self) -> None:
        """Its moment has come."""
        ...


class Timer:
    """Calls a function at ``when``, unless cancelled before."""

    __slots__ = ("_call", "_timers", "when")

    def __init__(self, timers: Timers, when: float, call: Callable[[], object]) -> None:
        self._timers = timers
        self.when = when
        self._call: Callable[[], object] | None = call

    @property
    def live(self) -> bool:
        """Neither fired nor cancelled."""
        return self._call is not None

    def fire(self) -> None:
        """Call the function, once."""
        call, self._call = self._call, None
        if call is not None:
            call()

    def cancel(self) -> None:
        """Never fire; harmless when it has fired already."""
        if self._call is not None:
            self._call = None
            self._timers.dead += 1


class Timers:
    """The heap. ``armed`` is the moment the alarm waits for; ``rearm`` tells it of an earlier."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Entry]] = []
        self._next = count().__next__
        self.dead = 0
        """Entries that are to fire no more; whoever drops one counts it here."""
        self.armed = inf
        self.rearm: Callable[[float], None] = lambda when: None

    def __len__(self) -> int:
        return len(self._heap) - self.dead

    def enter(self, when: float, entry: Entry) -> None:
        """Fire ``entry`` at ``when`` (seconds on trio's clock), after those set for that moment."""
        if self.dead > _COMPACT_FROM and self.dead * 2 > len(self._heap):
            self._compact()
        heapq.heappush(self._heap, (when, self._next(), entry))
        if when < self.armed:
            self.armed = when
            self.rearm(when)

    def at(self, when: float, call: Callable[[], object]) -> Timer:
        """Call a function at ``when`` (seconds on trio's clock)."""
        timer = Timer(self, when, call)
        self.enter(when, timer)
        return timer

    def after(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call a function in so many seconds."""
        return self.at(trio.current_time() + seconds, call)

    def _compact(self) -> None:
        """Most entries are dead: drop them, so that memory stays flat."""
        self._heap = [entry for entry in self._heap if entry[2].live]
        heapq.heapify(self._heap)
        self.dead = 0

    def due(self, now: float) -> Entry | None:
        """Take out the next that is to fire by ``now``."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            entry = heapq.heappop(heap)[2]
            if entry.live:
                return entry
            self.dead -= 1
        return None

    def earliest(self) -> float:
        """The next moment something is to fire; ``inf`` for never."""
        heap = self._heap
        while heap and not heap[0][2].live:
            heapq.heappop(heap)
            self.dead -= 1
        return heap[0][0] if heap else inf
