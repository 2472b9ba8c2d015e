"""The one task that waits for the earliest timer of a system."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import trio
from trio.lowlevel import Abort, enable_ki_protection

if TYPE_CHECKING:
    from actors.timers import Timers


class Alarm:
    """Fires timers when they are due. Its one cancel scope is only a deadline to wake up at."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._scope: trio.CancelScope | None = None
        self._task: trio.lowlevel.Task | None = None
        self._closed = False
        timers.rearm = self._rearm

    def _rearm(self, when: float) -> None:
        if self._scope is not None:
            self._scope.deadline = when

    @enable_ki_protection
    async def run(self) -> None:
        """Until closed."""
        timers = self._timers
        with trio.CancelScope(shield=True):
            while not self._closed:
                timers.fire_due(trio.current_time())
                timers.armed = timers.earliest()
                with trio.CancelScope(deadline=timers.armed) as self._scope:
                    self._task = trio.lowlevel.current_task()
                    await trio.lowlevel.wait_task_rescheduled(self._abort)
                self._scope = None
                timers.armed = inf

    def close(self) -> None:
        """Let the task end."""
        self._closed = True
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def _abort(self, _: object) -> Abort:
        self._task = None
        return Abort.SUCCEEDED
