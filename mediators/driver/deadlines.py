"""When attempts have to be answered: one timer for all that may take equally long.

Nearly every attempt is answered long before its time is up, and most have the same time. So they
stand in the order of their sending, which is that of their deadlines, and nothing is done for one
that is answered: the timer passes over it. In a heap, entering and dropping each was a twentieth of
the time of a short workflow.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

if TYPE_CHECKING:
    from actors.timers import Timer, Timers
    from mediators.driver.attempts import Attempt


class Deadlines:
    """The deadlines of one driver's attempts."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._queues: dict[float, _Queue] = {}

    def enter(self, attempt: Attempt) -> None:
        """Have ``attempt.fire()`` called once it has been under way for its timeout."""
        timeout = attempt.timeout
        if timeout is None:
            return
        queue = self._queues.get(timeout)
        if queue is None:
            queue = self._queues[timeout] = _Queue(self, timeout)
        queue.enter(attempt)

    def after(self, deadline: float, queue: _Queue) -> Timer:
        """Look at a queue again."""
        return self._timers.at(deadline, queue.due)

    def forget(self, timeout: float) -> None:
        """Nothing of that timeout is under way."""
        del self._queues[timeout]

    def close(self) -> None:
        """No attempt is to be fired any more."""
        for queue in self._queues.values():
            queue.close()
        self._queues.clear()


class _Queue:
    """The attempts of one timeout, in the order of their deadlines."""

    __slots__ = ("_deadlines", "_entries", "_limit", "_timeout", "_timer")

    def __init__(self, deadlines: Deadlines, timeout: float) -> None:
        self._deadlines = deadlines
        self._timeout = timeout
        self._entries: deque[tuple[float, Attempt]] = deque()
        self._limit = 1024
        self._timer: Timer | None = None

    def enter(self, attempt: Attempt) -> None:
        """The last in the queue."""
        entries = self._entries
        while entries and entries[0][1].done:
            entries.popleft()
        if len(entries) > self._limit:
            # One that takes long has held up the others, which are answered.
            self._entries = entries = deque(each for each in entries if not each[1].done)
            self._limit = 2 * len(entries) + 1024
        deadline = trio.current_time() + self._timeout
        entries.append((deadline, attempt))
        if self._timer is None:
            self._timer = self._deadlines.after(deadline, self)

    def due(self) -> None:
        """Fire what is due, and come back for what is not."""
        self._timer = None
        entries = self._entries
        now = trio.current_time()
        while entries and (entries[0][1].done or entries[0][0] <= now):
            attempt = entries.popleft()[1]
            if not attempt.done:
                attempt.fire()
        if self._timer is not None:
            return
        if entries:
            self._timer = self._deadlines.after(entries[0][0], self)
        else:
            self._deadlines.forget(self._timeout)

    def close(self) -> None:
        """The driver ends."""
        if self._timer is not None:
            self._timer.cancel()
