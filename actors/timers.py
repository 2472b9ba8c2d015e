"""All deadlines and timers of a system, in one heap on trio's clock.

A heap entry costs a fraction of a microsecond where a cancel scope with a deadline costs eight, so
neither calls nor timers have a scope of their own; :mod:`actors.runtime.alarm` is the one task that
waits for the earliest.
"""

from __future__ import annotations

import heapq
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Protocol, TypeAlias

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

_COMPACT_FROM = 256


class Entry(Protocol):
    """What is entered: a timer, or the reply slot of a call with a deadline."""

    def fire(self) -> None:
        """Its moment has come."""
        ...


Cell: TypeAlias = "list[Entry | None]"
"""The heap's hold on an entry: emptied, it holds nothing, however far off the moment is."""


class Timer:
    """Calls a function at ``when``, unless cancelled before."""

    __slots__ = ("_call", "_cell", "_timers", "when")

    def __init__(self, timers: Timers, when: float, call: Callable[[], object]) -> None:
        self._timers = timers
        self._call: Callable[[], object] | None = call
        self.when = when
        self._cell = timers.enter(when, self)

    def fire(self) -> None:
        """Call the function, once."""
        call, self._call = self._call, None
        if call is not None:
            call()

    def cancel(self) -> None:
        """Never fire; harmless when it has fired already."""
        if self._call is not None:
            self._call = None
            self._timers.drop(self._cell)


class Timers:
    """The heap. ``armed`` is the moment the alarm waits for; ``rearm`` tells it of an earlier."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Cell]] = []
        self._next = count().__next__
        self._dead = 0
        self.armed = inf
        self.rearm: Callable[[float], None] = lambda when: None

    def __len__(self) -> int:
        return len(self._heap) - self._dead

    def enter(self, when: float, entry: Entry) -> Cell:
        """Fire ``entry`` at ``when`` (seconds on trio's clock), after those set for that moment."""
        cell: Cell = [entry]
        heapq.heappush(self._heap, (when, self._next(), cell))
        if when < self.armed:
            self.armed = when
            self.rearm(when)
        return cell

    def drop(self, cell: Cell) -> None:
        """Fire it no more. Once most cells are empty the heap is compacted: memory stays flat."""
        cell[0] = None
        self._dead += 1
        if self._dead > _COMPACT_FROM and self._dead * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2][0] is not None]
            heapq.heapify(self._heap)
            self._dead = 0

    def at(self, when: float, call: Callable[[], object]) -> Timer:
        """Call a function at ``when`` (seconds on trio's clock)."""
        return Timer(self, when, call)

    def after(self, seconds: float, call: Callable[[], object]) -> Timer:
        """Call a function in so many seconds."""
        return self.at(trio.current_time() + seconds, call)

    def fire_due(self, now: float) -> None:
        """Fire what is to fire by ``now``, but for what is entered meanwhile."""
        before = self._next()
        while self._heap and self._heap[0][0] <= now and self._heap[0][1] < before:
            entry = heapq.heappop(self._heap)[2][0]
            if entry is None:
                self._dead -= 1
            else:
                entry.fire()

    def earliest(self) -> float:
        """The next moment something is to fire; ``inf`` for never."""
        while self._heap and self._heap[0][2][0] is None:
            heapq.heappop(self._heap)
            self._dead -= 1
        return self._heap[0][0] if self._heap else inf
