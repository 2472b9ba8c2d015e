"""All deadlines and timers of a system, in one heap on trio's clock.

A heap entry costs a fraction of a microsecond where a cancel scope with a deadline costs eight, so
neither calls nor timers have a scope of their own; :mod:`actors.runtime.alarm` is the one task that
waits for the earliest.
"""

from __future__ import annotations

import heapq
from itertools import count
from math import inf
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

_COMPACT_FROM = 256


class Timer:
    """One entry: ``fire`` is called at ``when``, unless cancelled before."""

    __slots__ = ("_timers", "fire", "when")

    def __init__(self, timers: Timers, when: float, fire: Callable[[], object]) -> None:
        self._timers = timers
        self.when = when
        self.fire: Callable[[], object] | None = fire

    def cancel(self) -> None:
        """Never fire; harmless when it has fired already."""
        if self.fire is not None:
            self.fire = None
            self._timers.dropped()


class Timers:
    """The heap. ``armed`` is the moment the alarm waits for; ``rearm`` tells it of an earlier."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Timer]] = []
        self._count = count()
        self._dead = 0
        self.armed = inf
        self.rearm: Callable[[float], None] = lambda when: None

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def at(self, when: float, fire: Callable[[], object]) -> Timer:
        """Call ``fire`` at ``when`` (seconds on trio's clock), after those set for that moment."""
        timer = Timer(self, when, fire)
        heapq.heappush(self._heap, (when, next(self._count), timer))
        if when < self.armed:
            self.armed = when
            self.rearm(when)
        return timer

    def after(self, seconds: float, fire: Callable[[], object]) -> Timer:
        """Call ``fire`` in so many seconds."""
        return self.at(trio.current_time() + seconds, fire)

    def dropped(self) -> None:
        """A timer was cancelled: compact once most entries are dead, so that memory stays flat."""
        self._dead += 1
        if self._dead > _COMPACT_FROM and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].fire is not None]
            heapq.heapify(self._heap)
            self._dead = 0

    def due(self, now: float) -> list[Callable[[], object]]:
        """Take out what is to fire by ``now``, in order."""
        heap = self._heap
        ready: list[Callable[[], object]] = []
        while heap and heap[0][0] <= now:
            timer = heapq.heappop(heap)[2]
            fire, timer.fire = timer.fire, None
            if fire is None:
                self._dead -= 1
            else:
                ready.append(fire)
        return ready

    def earliest(self) -> float:
        """The next moment something is to fire; ``inf`` for never."""
        heap = self._heap
        while heap and heap[0][2].fire is None:
            heapq.heappop(heap)
            self._dead -= 1
        return heap[0][0] if heap else inf
