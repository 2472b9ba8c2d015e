"""Who comes in: a workflow that is to start, and the id it may share with another."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from actors.payloads.types import Undecodable, UnknownType, journal_name
from mediators import history as h
from mediators.execution.commands import id_of, timeout_of
from mediators.handle import Handle
from mediators.outcomes import NoSuchWorkflow, StartConflict, TooManyWorkflows, VerbRefused
from mediators.texts import check_text, shown, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors import Later
    from mediators.driver.driver import Driver
    from mediators.execution.execution import Execution
    from mediators.outcomes import Status


class Admission:
    """Starts workflows, or joins them to those that have their ids."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def admit(
        self,
        workflow: Any,
        policy: str,
        timeout: float | None,
        later: Later[Any],
        key: str | None,
        *,
        result: bool,
    ) -> None:
        """Start a workflow, or join the one that has its id; answer with its handle or its end."""
        driver = self._driver
        try:
            own = id_of(workflow)
        except Exception as error:
            raise VerbRefused(f"{type(workflow).__name__}.id raised {shown(error)}") from error
        try:
            bound = timeout_of(workflow) if timeout is None else timeout
        except (TypeError, ValueError) as error:
            raise VerbRefused(text_of(error)) from error
        except Exception as error:
            raise VerbRefused(f"{type(workflow).__name__}.timeout raised {shown(error)}") from error
        id = own if own is not None else key or driver.draw_id()
        try:
            check_text("The id of a workflow", id)
        except ValueError as error:
            raise VerbRefused(str(error)) from error
        encoded = Raw(driver.types.encode(workflow, type(workflow).__name__))

        def begun() -> None:
            if result:
                driver.wait_for(id, driver.desk.waiter(later), later)
            else:
                # Not at once, though nothing may wait for its commit yet: the start is to come.
                driver.out("reply", later, Handle(driver.face, id, type(workflow)))

        event = driver.started(workflow, encoded, id, timeout=bound, key=key)
        name = journal_name(type(workflow))
        present = driver.find_open(id)
        row = None if present is not None else driver.find(id, new=True)
        if present is None and row is None:
            self.check_room()
            begun()
            driver.begin(event, name)
        elif policy == "reject":
            raise StartConflict(f"There is a workflow {id!r} already.")
        elif id in driver.unreadable:
            driver.desk.check_readable(id)
        elif policy == "replace" and present is not None:
            self._replace(present, event, name, begun, later)
        elif policy == "replace" and row is not None:
            self.check_room()
            begun()
            driver.begin(msgspec.structs.replace(event, run=row.run + 1), name)
        elif present is not None:
            if present.digest != hash(bytes(encoded)) and not self.same(present.number, encoded):
                raise self.conflict(id)
            begun()
        elif row is not None:
            if not self.same(row.number, encoded):
                raise self.conflict(id)
            if result:
                driver.desk.past(row, driver.desk.waiter(later))
            else:
                begun()

    def conflict(self, id: str) -> StartConflict:
        return StartConflict(f"The id {id!r} is taken by a workflow with other contents.")

    def check_room(self) -> None:
        limit = self._driver.mediator.max_running
        if limit is None:
            return
        while not self._driver.recovery.done:
            self._driver.recovery.advance()
        if len(self._driver.runs) >= limit:
            raise TooManyWorkflows(f"{limit} workflows run already; start this one later.")

    def same(self, number: int, encoded: Raw) -> bool:
        """Whether the run was started with these contents. Raises NoSuchWorkflow if it has just
        been removed."""
        for data in self._driver.records(number)[:1]:
            started: Any = h.decode_turn(data).events[0]
            try:
                return self._driver.types.same_bytes(h.origin_of(started), encoded)
            except (UnknownType, Undecodable) as error:
                raise VerbRefused(
                    f"The id {started.id!r} is taken by a workflow that cannot be read: {error}"
                ) from error
        raise NoSuchWorkflow("A workflow of that id has just been removed; start it again.")

    def _replace(
        self,
        present: Execution,
        event: h.Started,
        name: str,
        begun: Callable[[], None],
        later: Later[Any],
    ) -> None:
        if present.past_pivot:
            raise VerbRefused(f"{present.id!r} is past its pivot: it is not replaced.")
        driver = self._driver

        def ended(_status: Status, _value: Raw) -> None:
            other = driver.by_id.get(present.id)
            if other is None:
                begun()
                driver.begin(msgspec.structs.replace(event, run=present.run + 1), name)
                return
            # Of several who replace the same run each takes the place of the one before.
            try:
                self._replace(other, event, name, begun, later)
            except VerbRefused as refusal:
                driver.out("fail", later, refusal)

        driver.wait_for(present.id, ended)
        if present.cancelled is None and present.ending is None:
            driver.turn(present, h.Cancelled("it is replaced"))
