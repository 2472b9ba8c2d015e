"""Watching over the process of an isolated actor: whether it lives, and what is done if not.

A process is killed for its own fault if its event loop does not come round, if it is suspended, if
it sends what is no frame, and if it lives on without a connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.isolation.stack import STACK_SIGNAL
from actors.isolation.worker import state_of

if TYPE_CHECKING:
    from actors.isolation.ends import Verdict
    from actors.isolation.page import Page
    from actors.isolation.worker import Worker
    from actors.timers import Timer, Timers

LOOKS = 4
"""How often a process is looked at in the time it may be silent."""
STACK = 0.1
"""Seconds a silent process has to note where its code is, before it is killed."""
DETACHED = 1.0
"""Seconds a process may live on after it has closed its connection."""


class Watch:
    """Over one process, ``worker``, which beats in ``page``, and may be silent for ``heartbeat``
    seconds; None: for ever."""

    def __init__(self, worker: Worker, page: Page, heartbeat: float | None, timers: Timers) -> None:
        self._worker = worker
        self._page = page
        self._heartbeat = heartbeat
        self._timers = timers
        self.verdict: Verdict | None = None
        """Why it was killed, if it was."""
        self._beats = 0
        self._silent = 0
        """At so many looks in a row there was no beat since the one before."""
        self._next: Timer | None = None
        """The next look, or the end of the last one."""
        self._deadline: Timer | None = None
        """When an end that is expected must have come."""

    def look(self) -> None:
        """Look for a sign of life, now and from now on. Looks are counted, and not the time between
        them: where this process stood still, that one may have, too."""
        heartbeat, worker = self._heartbeat, self._worker
        if heartbeat is None or worker.end is not None:
            return
        beats = self._page.beats
        self._silent = self._silent + 1 if beats == self._beats else 0
        self._beats = beats
        verdict = verdict_on(self._silent, state_of(worker.pid))
        if verdict is None:
            self._next = self._timers.after(heartbeat / LOOKS, self.look)
        elif verdict == "silent":
            worker.send(STACK_SIGNAL)
            self._next = self._timers.after(STACK, lambda: self.condemn("silent"))
        else:
            self.condemn(verdict)

    def expect_end(self) -> None:
        """It has said that it ends, or hung up: it is not looked at any more, and killed should it
        live on."""
        self.cancel()
        self._deadline = self._timers.after(DETACHED, lambda: self.condemn("detached"))

    def condemn(self, verdict: Verdict) -> None:
        """End it, for its own fault."""
        if self.verdict is None and self._worker.end is None:
            self.verdict = verdict
            self._worker.kill()

    def cancel(self) -> None:
        """Watch no more."""
        for timer in (self._next, self._deadline):
            if timer is not None:
                timer.cancel()


def verdict_on(silent: int, state: str) -> Verdict | None:
    """What is to be thought of a process that was ``silent`` at so many looks in a row, and is in a
    state that the kernel gives that letter: "T" and "t" for a process that is suspended."""
    if silent < LOOKS:
        return None
    return "stopped" if state in "Tt" else "silent"
