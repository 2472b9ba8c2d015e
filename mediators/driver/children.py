"""Workflows that others have started, and wait for."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from actors.payloads.types import journal_name
from mediators import history as h
from mediators.execution.commands import ChildRun
from mediators.outcomes import Status, WorkflowEnded
from mediators.sharding.keys import Elsewhere

if TYPE_CHECKING:
    from mediators.driver.driver import Driver
    from mediators.execution.execution import Execution


class Children:
    """Starts them, joins parents to those that are there, and tells of their ends."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def start(self, parent: Execution, command: ChildRun) -> None:
        """A child begins in the batch of the command that wants it; one of its id is joined."""
        driver = self._driver
        cls = type(command.workflow)
        known = cls in driver.mediator.workflows
        try:
            there = driver.find_open(command.id) or driver.find(command.id)
        except Elsewhere as elsewhere:
            driver.call_out(partial(self.refuse, parent, command, elsewhere.shard))
            return
        if not known or there:
            driver.call_out(lambda: self.join(parent, command))
            return
        assert command.encoded is not None
        where = (parent.number, command.path)
        event = driver.started(
            command.workflow, command.encoded, command.id, parent=where, detached=command.detached
        )
        driver.begin(event, journal_name(cls))

    def cancel(self, command: ChildRun) -> None:
        """A parent is being cancelled: its children first."""
        driver = self._driver
        try:
            child = driver.find_open(command.id)
        except Elsewhere:
            return
        if child is None or child.ending is not None:
            return
        if child.cancelled is None and not child.past_pivot:
            driver.turn(child, h.Cancelled("its parent was cancelled"))

    def ended(self, parent: tuple[int, str], status: Status, value: Raw, undos: Any) -> None:
        """Its parent hears of its end."""
        driver = self._driver
        number, path = parent
        execution = driver.runs.get(number) or driver.recovery.fetch(number)
        if execution is not None:
            driver.turn(execution, h.ChildEnded(path, str(status), value, undos))

    def refuse(self, parent: Execution, command: ChildRun, shard: int) -> None:
        """A child has the id of a workflow in another shard: a parent's children are in its own."""
        driver = self._driver
        reason = f"there is a workflow of that id in shard {shard}, and its parent is in another"
        error = WorkflowEnded(command.id, Status.FAILED, reason)
        value = Raw(driver.types.encode_refusal(error))
        driver.turn(parent, h.ChildEnded(command.path, str(Status.FAILED), value, []))

    def join(self, parent: Execution, command: ChildRun) -> None:
        """A parent waits for a workflow that is not its own, or that has ended already."""
        driver = self._driver

        def ended(status: Status, value: Raw) -> None:
            driver.turn(parent, h.ChildEnded(command.path, str(status), value, []))

        child = driver.find_open(command.id)
        row = driver.find(command.id) if child is None else None
        if row is not None and row.over and not driver.records(row.number):
            row = None  # a thread has removed it meanwhile
        there = child or row
        encoded = None if command.id in driver.unreadable else command.encoded
        if there is not None and encoded is not None:
            if not driver.admission.same(there.number, encoded):
                conflict = driver.admission.conflict(command.id)
                ended(Status.FAILED, Raw(driver.types.encode_refusal(conflict)))
                return
        if child is not None:
            if self._waits_for(child, parent.id):
                error = WorkflowEnded(command.id, Status.FAILED, f"it waits for {parent.id!r}")
                ended(Status.FAILED, Raw(driver.types.encode_refusal(error)))
            else:
                driver.wait_for(command.id, ended)
            return
        if row is not None and row.over:
            own = row.parent == parent.number and not command.detached
            last = driver.desk.last(row)
            undos = last.undos if own else []
            driver.turn(parent, h.ChildEnded(command.path, last.status, last.value, undos))
        elif row is None:
            reason = "there is no such workflow, and its class is not among those of the mediator"
            error = WorkflowEnded(command.id, Status.FAILED, reason)
            ended(Status.FAILED, Raw(driver.types.encode_refusal(error)))

    def _waits_for(self, execution: Execution, id: str) -> bool:
        """Whether a workflow is that of an id, or waits for it, directly or through others."""
        asked, seen = [execution], {execution.id}
        while asked:
            each = asked.pop()
            if each.id == id:
                return True
            for command in each.open.values():
                if isinstance(command, ChildRun) and command.id not in seen:
                    seen.add(command.id)
                    child = self._driver.find_open(command.id)
                    if child is not None:
                        asked.append(child)
        return False
