"""A thread that notices when the event loop does not come round.

One thread runs every actor of a system, so code that computes without awaiting, or blocks, holds
up all of them, and nothing inside the loop can say so.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

import trio

from actors.telemetry import Blocked

if TYPE_CHECKING:
    from actors.runtime.system import System

logger = logging.getLogger("actors")


class Watchdog:
    """Asks the loop for a sign of life; reports, once per silence, who holds it up and where."""

    def __init__(self, system: System, seconds: float) -> None:
        self._system = system
        self._seconds = seconds
        self._ended = threading.Event()
        self._answered = threading.Event()
        self._loop = threading.get_ident()
        self._token = trio.lowlevel.current_trio_token()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the thread, without waiting for it."""
        self._ended.set()

    def _watch(self) -> None:
        while not self._ended.wait(self._seconds):
            self._answered.clear()
            asked = time.monotonic()
            try:
                self._token.run_sync_soon(self._answered.set)
            except trio.RunFinishedError:
                return
            if not self._answered.wait(self._seconds) and not self._ended.is_set():
                self._report(asked)
                while not self._answered.wait(self._seconds) and not self._ended.is_set():
                    pass

    def _report(self, asked: float) -> None:
        place = self._system.scheduler.current
        frame = sys._current_frames().get(self._loop)
        stack = "".join(traceback.format_stack(frame)) if frame is not None else ""
        seconds = time.monotonic() - asked
        who = f"{place.path} runs a plain turn" if place is not None else "some task does not yield"
        logger.error("The event loop has not come round for %.1f s: %s.\n%s", seconds, who, stack)
        event = Blocked(place.ref if place is not None else None, seconds, stack)
        try:
            self._token.run_sync_soon(self._tell, event)
        except trio.RunFinishedError:
            return

    def _tell(self, event: Blocked) -> None:
        if Blocked in self._system.telemetry.active:
            self._system.telemetry.emit(event)
