"""The moments a mediator waits for: on each clock one heap, one timer."""

from __future__ import annotations

import heapq
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.runtime.scheduler import Scheduler
    from actors.timers import Timer

FARTHEST = 86_400.0
"""Seconds after which wall time is looked at again, whatever is due: it may have been set."""


class Agenda:
    """What is due when, by the clock ``now``. Entries are not taken out: whoever takes one looks
    whether it still means something."""

    __slots__ = (
        "_armed",
        "_call",
        "_heap",
        "_is_dead",
        "_limit",
        "_next",
        "_now",
        "_scheduler",
        "_timer",
    )

    def __init__(
        self,
        scheduler: Scheduler,
        now: Callable[[], float],
        call: Callable[[], object],
        is_dead: Callable[[Any], bool],
    ) -> None:
        self._is_dead = is_dead
        self._limit = 1024
        self._scheduler = scheduler
        self._now = now
        self._call = call
        self._heap: list[tuple[float, int, Any]] = []
        self._next = count().__next__
        self._armed = inf
        self._timer: Timer | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def enter(self, when: float, entry: Any) -> None:
        """Have ``entry`` due at ``when``, seconds of its clock."""
        heap = self._heap
        if len(heap) > self._limit:
            # What means nothing any more would keep its run in memory until its time has come.
            heap[:] = [each for each in heap if not self._is_dead(each[2])]
            heapq.heapify(heap)
            self._limit = 2 * len(heap) + 1024
        heapq.heappush(heap, (when, self._next(), entry))
        if when < self._armed:
            self._arm(when)

    def due(self) -> list[Any]:
        """Take out what is due by now, in order, and set the timer for the rest."""
        heap = self._heap
        if not heap:
            return []
        now = self._now()
        entries = []
        while heap and heap[0][0] <= now:
            entries.append(heapq.heappop(heap)[2])
        if heap and heap[0][0] != self._armed:
            self._arm(heap[0][0])
        return entries

    def close(self) -> None:
        """Nothing is due any more."""
        self._heap.clear()
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed = when
        seconds = min(max(0.0, when - self._now()), FARTHEST)
        self._timer = self._scheduler.timers.at(trio.current_time() + seconds, self._fire)

    def _fire(self) -> None:
        self._timer = None
        self._armed = inf
        self._call()
