"""Taking up again what the journal has open: a bit at a time, while the mediator is at work."""

from __future__ import annotations

import gc
import logging
import time
from typing import TYPE_CHECKING, Any

from mediators import history as h
from mediators.driver import inbox
from mediators.execution.commands import ChildRun, Step
from mediators.execution.execution import Execution
from mediators.execution.mistakes import trouble_of
from mediators.execution.replay import replay
from mediators.outcomes import Incident
from mediators.sharding.keys import Elsewhere
from mediators.telemetry import Recovered
from mediators.texts import text_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mediators.driver.driver import Driver
    from mediators.journal.protocol import RunRow

logger = logging.getLogger("mediators")

SLICE = 0.02
"""Seconds of recovery before others have their turn."""
MANY = 10_000
"""Runs from which on what was recovered is taken out of the garbage collector's sight: a full
collection over a hundred thousand parked workflows costs a tenth of a second, each time."""


class Recovery:
    """The recovery of one driver. Whoever is asked for before its turn is recovered at once."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._open: Iterator[tuple[RunRow, Sequence[bytes]]] | None = driver.shard.open_runs()
        self._early: set[int] = set()
        self._left = True
        """What was left in the inbox is still there: it comes first."""
        self._began = time.perf_counter()
        self.runs = 0
        self.broken = 0

    @property
    def done(self) -> bool:
        """Whether everything has been taken up."""
        return self._open is None

    def advance(self) -> None:
        """Take up some more."""
        if self._open is None:
            return
        if self._left:
            self._left = False
            inbox.take_up(self._driver)
        until = time.perf_counter() + SLICE
        for row, records in self._open:
            if row.number not in self._early and row.number not in self._driver.runs:
                self.take_up(row, records)
            if time.perf_counter() > until:
                # By way of the timer: what asks for the lane while it is served is served at once.
                self._driver.later(0.0, ("recovery", None, None))
                return
        self._finished()

    def _finished(self) -> None:
        self._open = None
        self._early.clear()
        driver = self._driver
        if self.runs >= MANY:
            gc.freeze()
        seconds = time.perf_counter() - self._began
        if self.runs:
            logger.info("%d workflows taken up again in %.3f s", self.runs, seconds)
        if Recovered in driver.telemetry.active:
            driver.telemetry.emit(Recovered(driver.place.ref, self.runs, self.broken, seconds))

    def look_for(self, id: str) -> Execution | None:
        """The open run of an id that has not had its turn yet."""
        if self._open is None:
            return None
        row = self._driver.find(id)
        if row is None or row.over or row.number in self._driver.runs:
            return None
        self._early.add(row.number)
        return self.take_up(row, self._records(row))

    def fetch(self, number: int) -> Execution | None:
        """The open run of a number, which may not have had its turn yet."""
        while self._open is not None and number not in self._driver.runs:
            self.advance()
        return self._driver.runs.get(number)

    def close(self) -> None:
        """The driver ends."""
        iterator: Any = self._open
        self._open = None
        if hasattr(iterator, "close"):
            iterator.close()

    def _records(self, row: RunRow) -> list[bytes]:
        return [record.data for record in self._driver.shard.history(row.number)]

    def take_up(self, row: RunRow, records: Sequence[bytes]) -> Execution | None:
        """Replay one run and set going what it waits for. A run that cannot be replayed is parked:
        it must not take the others down with it."""
        driver = self._driver
        execution = Execution(driver.types, row.number, row.id, row.run)
        execution.listed = row.status
        self.runs += 1
        try:
            if not records:
                records = self._records(row)  # says what is wrong with them
            incident = replay(execution, records)
        except Exception as error:
            logger.exception("Workflow %r cannot be read and is left alone", row.id)
            self.broken += 1
            driver.unreadable[row.id] = Incident("", f"{type(error).__name__}: {text_of(error)}")
            return None
        execution.spent()
        if execution.over is not None:
            return None
        driver.runs[row.number] = execution
        driver.by_id[row.id] = execution
        if incident is not None:
            self._broken(execution, incident)
        elif execution.paused is not None and execution.paused.incident is not None:
            self._try_again(execution, records)
        self.set_going(execution)
        return execution

    def _broken(self, execution: Execution, incident: Incident) -> None:
        """Code and record do not agree: until one of them is mended the run is paused, unless it
        is being undone anyway, for which the record suffices."""
        self.broken += 1
        logger.error("Workflow %r: %s", execution.id, incident)
        if execution.ending is not None or execution.paused is not None:
            return
        self._driver.turn(execution, h.Paused("mismatch", trouble_of(incident)))

    def _try_again(self, execution: Execution, records: Sequence[bytes]) -> None:
        """A mistake had paused the run: the code may be mended by now. If not, nothing is noted."""
        probe = Execution(execution.types, execution.number, execution.id, execution.run)
        replay(probe, records)
        probe.perform(self._driver.now(), h.Resumed())
        events = [h.Delivered()] if probe.queue else []
        mended = all(
            type(each) is not h.Paused
            for event in events
            for each in probe.perform(self._driver.now(), event)
        )
        probe.drop()
        if mended:
            self._driver.resume(execution)

    def set_going(self, execution: Execution) -> None:
        """Send again what has no outcome, enter the moments it waits for, join its children."""
        driver = self._driver
        for command in list(execution.open.values()):
            if execution.open.get(command.path) is not command:
                continue
            if isinstance(command, Step):
                path = command.path
                if path in execution.incidents or command.sent or execution.is_kept(path):
                    continue
                command.sent = True
                if command.branch is None and command.kind != "undo" and execution.rollbacks:
                    driver.out("settle", execution, command)
                elif command.branch is not None or command.kind == "undo":
                    driver.attempts.took_up(execution, command)
            elif isinstance(command, ChildRun):
                driver.out("join", execution, command)
        driver.arm(execution)

    def join(self, execution: Execution, command: ChildRun) -> None:
        """Wait again for a child: its own tell their parent, others have to be asked."""
        if execution.open.get(command.path) is not command:
            return
        driver = self._driver
        if command.branch is None and execution.rollbacks:
            driver.children.cancel(command)
        try:
            child = driver.find_open(command.id)
        except Elsewhere as elsewhere:
            driver.children.refuse(execution, command, elsewhere.shard)
            return
        if child is None or child.parent != (execution.number, command.path):
            driver.children.join(execution, command)
