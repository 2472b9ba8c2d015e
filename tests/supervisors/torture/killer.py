"""Somebody who kills worker processes at random, for as long as a torture lasts."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors.telemetry import ProcessEnded, ProcessStarted

if TYPE_CHECKING:
    from actors import System

SIGNALS = (signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP)


@attrs.define
class Killer:
    """Knows which processes there are, and ends one of them now and then."""

    random: Random
    pids: dict[int, str] = attrs.field(factory=dict)
    killed: list[str] = attrs.field(factory=list)
    ended: list[str] = attrs.field(factory=list)

    def follow(self, system: System) -> None:
        """Hear of processes."""
        system.telemetry.listen(self._started, ProcessStarted)
        system.telemetry.listen(self._ended, ProcessEnded)

    def _started(self, event: Any) -> None:
        assert event.pid > 1
        self.pids[event.pid] = event.ref.path

    def _ended(self, event: Any) -> None:
        self.pids.pop(event.pid, None)
        self.ended.append(event.signal or str(event.code))

    def kill(self) -> None:
        """One of them, in one of the ways."""
        if self.pids:
            pid = self.random.choice(sorted(self.pids))
            how = self.random.choice(SIGNALS)
            with suppress(ProcessLookupError):  # it has just ended, and we have not heard of it
                os.kill(pid, how)
                self.killed.append(f"{how.name} {self.pids[pid]}")

    async def go_round(self, seconds: float) -> None:
        """For so long."""
        with trio.move_on_after(seconds):
            while True:
                await trio.sleep(self.random.uniform(0.02, 0.2))
                self.kill()
