"""The process of an isolated actor, seen from its parent. See
:mod:`actors.isolation.worker_process`."""

from __future__ import annotations

import logging
import os
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from actors.isolation.ends import End

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.isolation.keeper import Keeper
    from actors.timers import Timer

logger = logging.getLogger("actors")

TERM_GRACE = 0.5
"""Seconds from SIGTERM to SIGKILL."""
PATIENCE = 2.0
"""Seconds a keeper has to end a worker that is to be killed, before it is ended itself."""


class Worker:
    """One process, from the moment it was asked for. ``pid`` is 0 until it is known."""

    def __init__(self, keeper: Keeper, number: int, ended: Callable[[End], object]) -> None:
        self._keeper = keeper
        self._process = keeper._process
        """That of the keeper as it was then."""
        self._number = number
        self._ended = ended
        self.pid = 0
        self._handle = -1
        """A descriptor of the process, which means no other that gets its number later."""
        self.warm = False
        self.end: End | None = None
        """How it ended, once it has."""
        self._killing = False
        self._then: Callable[[], object] | None = None
        self._last: Timer | None = None
        self._hard: Timer | None = None
        """SIGKILL, behind SIGTERM."""

    def when_known(self, then: Callable[[], object]) -> None:
        """Call ``then`` once its process id is known: it may be at work before we are told."""
        if self.pid:
            then()
        else:
            self._then = then

    def terminate(self) -> None:
        """SIGTERM, and SIGKILL a moment later, if it takes that long. Idempotent."""
        if self._killing or self.end is not None:
            return
        self._killing = True
        self.send(signal.SIGTERM)
        self._hard = self._keeper.system.scheduler.timers.after(TERM_GRACE, self.kill)

    def kill(self) -> None:
        """SIGKILL, to it and to what it has started. Should the keeper not do it, it is ended, and
        the worker with it."""
        self._killing = True
        self.send(signal.SIGKILL)
        if self.end is None and self._last is None and self._process is not None:
            timers = self._keeper.system.scheduler.timers
            self._last = timers.after(PATIENCE, self._process.kill)

    def send(self, number: int) -> None:
        """A signal; nothing happens if it has ended."""
        if self.end is None:
            self._keeper.ask(do="signal", id=self._number, signal=int(number))

    def destroy(self) -> None:
        """Kill it, and what it has started, by our own hand, now that its keeper is no more. The
        kernel does it, too, unless it has changed its user meanwhile; and only to itself."""
        if self._handle < 0:
            return
        with suppress(OSError):
            try:
                signal.pidfd_send_signal(self._handle, signal.SIGKILL)
            except ProcessLookupError:
                if state_of(self.pid) != "X":
                    return  # somebody else has its number, so nobody has its group
            os.killpg(self.pid, signal.SIGKILL)

    @property
    def gone(self) -> bool:
        """Whether it has ended, as far as can be seen without its keeper."""
        return not self.pid or state_of(self.pid) in "ZX"

    def told(self, notice: dict[str, Any]) -> None:
        """What the keeper says of it."""
        if "pid" in notice:
            self.pid, self.warm = notice["pid"], notice["warm"]
            with suppress(OSError):
                self._handle = os.pidfd_open(self.pid)
            then, self._then = self._then, None
            if then is not None:
                then()
        elif "failed" in notice:
            logger.error("A process could not be started: %s", notice["failed"])
            self.over(End(None, why=notice["failed"]))
        else:
            self.over(End(notice["ended"], notice["peak"]))

    def over(self, end: End) -> None:
        """It has ended and is reaped."""
        if self.end is None:
            self.end = end
            for timer in (self._hard, self._last):
                if timer is not None:
                    timer.cancel()
            if self._handle >= 0:
                os.close(self._handle)
                self._handle = -1
            self._ended(end)


def state_of(pid: int) -> str:
    """The state of a process as the kernel names it, one letter; ``"X"`` for one that is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "X"
