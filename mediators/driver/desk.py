"""Where a mediator is asked about its workflows: starts, results, signals and all other verbs."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
from msgspec import Raw

from actors import Refusal
from actors.dispatch import NONE
from actors.payloads.types import NotEncodable, Undecodable, UnknownType, journal_name
from mediators import history as h
from mediators import verbs as v
from mediators.driver.attempts import make_undo
from mediators.driver.listing import entries_of, listed_runs, turns_before
from mediators.execution.commands import ChildRun, Step, id_of, timeout_of
from mediators.execution.execution import Execution
from mediators.execution.guard import NoTask
from mediators.execution.mistakes import incident_of
from mediators.execution.replay import replay
from mediators.handle import Handle
from mediators.journal.protocol import RunRow
from mediators.outcomes import (
    NoSuchWorkflow,
    SignalRefused,
    StartConflict,
    Status,
    TooManyWorkflows,
    VerbRefused,
    WorkflowEnded,
    how_it_ended,
)
from mediators.sharding.keys import Elsewhere
from mediators.texts import check_text, shown, text_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors import Later
    from mediators.driver.driver import Driver

    Waiter = Callable[[Status, Raw], object]

UNREAD = 1000
"""Unread signals a workflow may hold."""


class Desk:
    """The verbs, each answered through a ``Later`` once what it changes is on disk."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver

    def serve(self, message: Any, later: Later[Any]) -> None:
        """One verb. Raises the Refusal that answers it, if nothing was changed."""
        VERBS[type(message)](self, message, later)

    def _answer(self, later: Later[Any], value: object) -> None:
        if self._driver.committer.clean:
            later.reply(value)
        else:
            self._driver.out("reply", later, value)

    # -- starts

    def start(self, message: v.Start[Any], later: Later[Any]) -> None:
        """``Start``: answered with a handle."""
        workflow = message.workflow
        if message.policy not in v.POLICIES:
            raise VerbRefused(f"policy is one of {v.POLICIES}. Got: {message.policy!r}")
        if type(workflow) not in self._driver.mediator.workflows:
            names = ", ".join(each.__name__ for each in self._driver.mediator.workflows)
            raise VerbRefused(
                f"{type(workflow).__name__} is not among the workflows of this mediator: {names}."
            )
        self.admit(workflow, message.policy, message.timeout, later, None, result=False)

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
                driver.wait_for(id, self._to(later), later)
            else:
                # Not at once, though nothing may wait for its commit yet: the start is to come.
                driver.out("reply", later, Handle(driver.face, id, type(workflow)))

        event = driver.started(workflow, encoded, id, timeout=bound, key=key)
        name = journal_name(type(workflow))
        present = driver.find_open(id)
        row = None if present is not None else driver.find(id, new=True)
        if present is None and row is None:
            self._check_room()
            begun()
            driver.begin(event, name)
        elif policy == "reject":
            raise StartConflict(f"There is a workflow {id!r} already.")
        elif id in driver.unreadable:
            self._check_readable(id)
        elif policy == "replace" and present is not None:
            self._replace(present, event, name, begun, later)
        elif policy == "replace" and row is not None:
            self._check_room()
            begun()
            driver.begin(msgspec.structs.replace(event, run=row.run + 1), name)
        elif present is not None:
            if present.digest != hash(bytes(encoded)) and not self._same(present.number, encoded):
                raise self._conflict(id)
            begun()
        elif row is not None:
            if not self._same(row.number, encoded):
                raise self._conflict(id)
            if result:
                self.past(row, self._to(later))
            else:
                begun()

    def _conflict(self, id: str) -> StartConflict:
        return StartConflict(f"The id {id!r} is taken by a workflow with other contents.")

    def _check_room(self) -> None:
        limit = self._driver.mediator.max_running
        if limit is None:
            return
        while not self._driver.recovery.done:
            self._driver.recovery.advance()
        if len(self._driver.runs) >= limit:
            raise TooManyWorkflows(f"{limit} workflows run already; start this one later.")

    def _same(self, number: int, encoded: Raw) -> bool:
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

    # -- ends

    def _to(self, later: Later[Any]) -> Waiter:
        """A waiter that answers a call."""

        def tell(status: Status, value: Raw) -> None:
            types = self._driver.types
            try:
                if status is Status.DONE:
                    self._driver.out("reply", later, types.decode(value))
                else:
                    self._driver.out("fail", later, types.decode_refusal(value))
            except (UnknownType, Undecodable) as error:
                self._driver.out("fail", later, VerbRefused(f"It is {status}. {error}"))

        return tell

    def result(self, message: v.Result, later: Later[Any]) -> None:
        """``Result``: answered when the workflow ends."""
        if self._driver.find_open(message.id) is not None:
            self._driver.wait_for(message.id, self._to(later), later)
        else:
            self.past(self._row(message.id), self._to(later))

    def past(self, row: RunRow, waiter: Waiter) -> None:
        """Tell of the end of a run that is over."""
        self._check_readable(row.id)
        last = self._last(row)
        waiter(Status(last.status), last.value)

    def _last(self, row: RunRow) -> Any:
        """The last event of a run. Raises NoSuchWorkflow if it has just been removed."""
        return h.decode_turn(self._records(row.number, row.id)[-1]).events[-1]

    def _records(self, number: int, id: str) -> list[bytes]:
        """The records of a run. Raises NoSuchWorkflow if there are none: a thread has removed them
        since its row was found."""
        records = self._driver.records(number)
        if not records:
            raise NoSuchWorkflow(f"There is no workflow {id!r}.")
        return records

    def refuse_child(self, parent: Execution, command: ChildRun, shard: int) -> None:
        """A child has the id of a workflow in another shard: a parent's children are in its own."""
        driver = self._driver
        reason = f"there is a workflow of that id in shard {shard}, and its parent is in another"
        error = WorkflowEnded(command.id, Status.FAILED, reason)
        value = Raw(driver.types.encode_refusal(error))
        driver.turn(parent, h.ChildEnded(command.path, str(Status.FAILED), value, []))

    def join_child(self, parent: Execution, command: ChildRun) -> None:
        """A parent waits for a workflow that is not its own, or that has ended already."""
        driver = self._driver

        def ended(status: Status, value: Raw) -> None:
            driver.turn(parent, h.ChildEnded(command.path, str(status), value, []))

        child = driver.find_open(command.id)
        row = driver.find(command.id) if child is None else None
        if row is not None and row.over and not driver.records(row.number):
            row = None  # a thread has removed it meanwhile
        there = child or row
        if there is not None and command.id not in driver.unreadable:
            if command.encoded is not None and not self._same(there.number, command.encoded):
                ended(Status.FAILED, Raw(driver.types.encode_refusal(self._conflict(command.id))))
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
            last = self._last(row)
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

    # -- what is asked of one workflow

    def _row(self, id: str) -> RunRow:
        row = self._driver.find(id)
        if row is None:
            raise NoSuchWorkflow(f"There is no workflow {id!r}.")
        return row

    def _open(self, id: str) -> Execution:
        execution = self._driver.find_open(id)
        if execution is None:
            self._check_readable(id)
            raise NoSuchWorkflow(f"Workflow {id!r} {how_it_ended(self._row(id).status)}.")
        return execution

    def _check_readable(self, id: str) -> None:
        unreadable = self._driver.unreadable.get(id)
        if unreadable is not None:
            raise VerbRefused(f"Workflow {id!r} cannot be read: {unreadable}")

    def status(self, message: v.GetStatus, later: Later[Any]) -> None:
        """``GetStatus``."""
        execution = self._driver.find_open(message.id)
        if execution is not None:
            self._answer(later, execution.status)
        elif message.id in self._driver.unreadable:
            self._answer(later, Status.INCIDENT)
        else:
            self._answer(later, Status(self._row(message.id).status))

    def signal(self, message: v.SendSignal, later: Later[Any]) -> None:
        """``SendSignal``."""
        driver = self._driver
        execution = self._open(message.id)
        inbox = execution.inbox
        id = message.signal_id or driver.draw_id()
        if inbox is None or id not in inbox.seen:
            kept = sum(type(each) is h.Signalled for each in execution.queue or ())
            if kept + (len(inbox.unread) if inbox is not None else 0) >= UNREAD:
                raise SignalRefused(f"Workflow {message.id!r} holds {UNREAD} unread signals.")
            if type(event := message.event) is not Raw:
                driver.types.offer(type(event))
                event = Raw(driver.types.encode(event, "the signal"))
            expires = None if message.expires is None else driver.now() + message.expires
            driver.turn(execution, h.Signalled(id, event, expires))
        self._answer(later, None)

    def query(self, message: v.Query, later: Later[Any]) -> None:
        """``Query``: a method of the workflow answers, which only reads."""
        driver = self._driver
        execution = driver.find_open(message.id)
        if execution is None:
            self._check_readable(message.id)
            row = self._row(message.id)
            execution = Execution(driver.types, row.number, row.id, row.run)
            replay(execution, self._records(row.number, row.id))
        elif execution.paused is not None and execution.main is None:
            driver.rebuild(execution)
        workflow = execution.workflow
        if workflow is None:
            raise VerbRefused(f"Workflow {message.id!r} has no code to answer with.")
        route = type(workflow).queries[type(message.message)]
        if route.kind == NONE:
            known = ", ".join(each.__name__ for each in type(workflow).queries.messages) or "none"
            raise VerbRefused(
                f"{type(workflow).__name__} answers no {type(message.message).__name__}; "
                f"it answers: {known}."
            )
        try:
            # Neither what the method changes nor what the caller makes of the answer may reach it.
            asked = copied(workflow)
            before = fields_of(asked)
            with NoTask():
                answer = route.function(asked, message.message)
        except Refusal:
            raise
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            raise VerbRefused(
                f"The query raised {type(error).__name__}: {text_of(error)}"
            ) from error
        for name, value in before.items():
            if getattr(asked, name, None) is not value:
                raise VerbRefused(f"A query only reads; this one has changed {name!r}.")
        try:
            # A copy: what the workflow has is not shared with anybody.
            answer = deepcopy(answer)
        except Exception as error:
            what = f"{type(error).__name__}: {text_of(error)}"
            raise VerbRefused(f"The query's answer cannot be copied. {what}") from error
        self._answer(later, answer)

    def cancel(self, message: v.Cancel, later: Later[Any]) -> None:
        """``Cancel``."""
        execution = self._open(message.id)
        if execution.past_pivot:
            raise VerbRefused(f"Workflow {message.id!r} is past its pivot.")
        if execution.cancelled is None and execution.ending is None:
            self._driver.turn(execution, h.Cancelled(message.reason))
        self._answer(later, None)

    def pause(self, message: v.Pause, later: Later[Any]) -> None:
        """``Pause``."""
        execution = self._open(message.id)
        if execution.paused is None:
            self._driver.turn(execution, h.Paused(message.reason))
        self._answer(later, None)

    def resume(self, message: v.Resume, later: Later[Any]) -> None:
        """``Resume``."""
        execution = self._open(message.id)
        if execution.paused is None:
            raise VerbRefused(f"Workflow {message.id!r} is not paused: it is {execution.status}.")
        if execution.orphan and execution.ending is None:
            raise VerbRefused(
                f"The code of {message.id!r} does not follow its record; it is tried again when "
                "the mediator is started with the code mended."
            )
        self._driver.resume(execution)
        self._answer(later, execution.status)

    # -- incidents

    def _stuck(self, id: str, path: str | None) -> tuple[Execution, list[str]]:
        execution = self._open(id)
        paths = list(execution.incidents) if path is None else [path]
        if not paths or any(each not in execution.incidents for each in paths):
            raise VerbRefused(f"Workflow {id!r} has no incident{f' at {path}' if path else ''}.")
        return execution, paths

    def retry(self, message: v.RetryStep, later: Later[Any]) -> None:
        """``RetryStep``."""
        execution = self._open(message.id)
        if execution.at_pivot:
            self._driver.resume(execution)
        else:
            execution, paths = self._stuck(message.id, message.path)
            for path in paths:
                command = execution.open.get(path)
                if isinstance(command, Step) and command.encoded is None:
                    raise VerbRefused(
                        f"There is no message to send for {path}: resolve or skip it."
                    )
            for path in paths:
                self._driver.turn(execution, h.Retried(path))
        self._answer(later, None)

    def skip(self, message: v.SkipStep, later: Later[Any]) -> None:
        """``SkipStep``."""
        execution, paths = self._stuck(message.id, message.path)
        for path in paths:
            if execution.past_pivot and execution.open[path].branch is not None:
                raise VerbRefused(
                    f"Workflow {message.id!r} is past its pivot: without {path} it would fail. "
                    "Retry the step, or resolve it."
                )
        for path in paths:
            self._driver.turn(execution, h.Skipped(path))
        self._answer(later, None)

    def resolve(self, message: v.ResolveStep, later: Later[Any]) -> None:
        """``ResolveStep``."""
        execution = self._open(message.id)
        if execution.at_pivot:
            paths = [""]
        else:
            execution, paths = self._stuck(message.id, message.path)
        for path in paths:
            try:
                encoded = execution.encode(message.value, f"the answer of {path}")
            except NotEncodable as error:
                raise VerbRefused(str(error)) from error
            command = execution.open.get(path)
            undo, fault = None, None
            if isinstance(command, Step):
                undo, fault = make_undo(execution, command, encoded)
            self._driver.turn(execution, h.Resolved(path, encoded, undo or h.NIL, fault))
        self._answer(later, None)

    def incidents(self, message: v.GetIncidents, later: Later[Any]) -> None:
        """``GetIncidents``."""
        unreadable = self._driver.unreadable.get(message.id)
        if unreadable is not None:
            self._answer(later, [unreadable])
            return
        execution = self._open(message.id)
        found = list(execution.incidents.values())
        paused = execution.paused
        if paused is not None and paused.incident is not None:
            found.append(incident_of(paused.incident))
        self._answer(later, found)

    # -- histories

    def fork(self, message: v.Fork, later: Later[Any]) -> None:
        """``Fork``: a new run with the history of this one, up to before an outcome."""
        driver = self._driver
        row = self._row(message.id)
        self._check_readable(row.id)
        id = row.id if message.new_id is None else message.new_id
        self._check_shard(id)
        if driver.find_open(id) is not None:
            raise StartConflict(f"The workflow {id!r} runs; it is forked under another id.")
        if id != row.id and self._is_taken(id):
            raise StartConflict(f"There is a workflow {id!r} already.")
        self._check_room()
        turns = [h.decode_turn(data) for data in self._records(row.number, row.id)]
        kept = turns_before(turns, message.at)
        if kept is None:
            raise VerbRefused(f"Workflow {message.id!r} has no outcome of a step {message.at!r}.")
        driver.take_over(id, row, kept)
        self._answer(later, Handle(driver.face, id))

    def _is_taken(self, id: str) -> bool:
        """Whether there is a workflow of this id, here or in another shard."""
        try:
            return self._driver.find(id, new=True) is not None
        except Elsewhere:
            return True

    def _check_shard(self, id: str) -> None:
        """A fork stays in the shard of its history."""
        if not self._driver.is_own(id):
            raise VerbRefused(
                f"{id!r} belongs to another shard than the workflow it is forked from. Fork it "
                "under an id of the same shard, or, once it has ended, under its own."
            )

    def listing(self, message: v.ListWorkflows, later: Later[Any]) -> None:
        """``ListWorkflows``."""
        driver = self._driver

        def listed() -> None:
            try:
                rows = listed_runs(driver, message)
            except Exception as error:
                refusal = VerbRefused(f"{type(error).__name__}: {text_of(error)}")
                driver.out("fail", later, refusal)
            else:
                later.reply(rows)

        driver.call_out(listed)

    def history(self, message: v.GetHistory, later: Later[Any]) -> None:
        """``GetHistory``."""
        self._check_readable(message.id)
        execution = self._driver.find_open(message.id)
        number = execution.number if execution is not None else self._row(message.id).number
        records = self._records(number, message.id)
        self._answer(later, entries_of(self._driver.types, records))


VERBS: dict[type, Callable[[Desk, Any, Later[Any]], None]] = {
    v.Start: Desk.start,
    v.Result: Desk.result,
    v.GetStatus: Desk.status,
    v.SendSignal: Desk.signal,
    v.Query: Desk.query,
    v.Cancel: Desk.cancel,
    v.Pause: Desk.pause,
    v.Resume: Desk.resume,
    v.RetryStep: Desk.retry,
    v.SkipStep: Desk.skip,
    v.ResolveStep: Desk.resolve,
    v.GetIncidents: Desk.incidents,
    v.Fork: Desk.fork,
    v.ListWorkflows: Desk.listing,
    v.GetHistory: Desk.history,
}


def copied(workflow: Any) -> Any:
    """A workflow's state for somebody to look at; commands of the copy go nowhere."""
    execution = getattr(workflow, "_execution", None)
    object.__setattr__(workflow, "_execution", None)
    try:
        return deepcopy(workflow)
    finally:
        object.__setattr__(workflow, "_execution", execution)


def fields_of(workflow: Any) -> dict[str, Any]:
    """The values of its fields, by name."""
    if attrs.has(type(workflow)):
        names = [each.name for each in attrs.fields(type(workflow))]
    else:
        names = list(getattr(workflow, "__dict__", ()))
    return {name: getattr(workflow, name, None) for name in names}
