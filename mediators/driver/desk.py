"""Where a mediator is asked about its workflows: starts, results, signals and all other verbs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Raw

from actors.payloads.types import NotEncodable, Undecodable, UnknownType
from mediators import history as h
from mediators import verbs as v
from mediators.driver.attempts import make_undo
from mediators.driver.listing import entries_of, listed_runs, turns_before
from mediators.driver.queries import answer_of
from mediators.execution.commands import Step
from mediators.execution.execution import Execution
from mediators.execution.mistakes import incident_of
from mediators.execution.replay import replay
from mediators.handle import Handle
from mediators.journal.protocol import RunRow
from mediators.outcomes import (
    NoSuchWorkflow,
    SignalRefused,
    StartConflict,
    Status,
    VerbRefused,
    how_it_ended,
)
from mediators.sharding.keys import Elsewhere
from mediators.texts import text_of

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
        admission = self._driver.admission
        admission.admit(workflow, message.policy, message.timeout, later, None, result=False)

    # -- ends

    def waiter(self, later: Later[Any]) -> Waiter:
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
            self._driver.wait_for(message.id, self.waiter(later), later)
        else:
            self.past(self._row(message.id), self.waiter(later))

    def past(self, row: RunRow, waiter: Waiter) -> None:
        """Tell of the end of a run that is over."""
        self.check_readable(row.id)
        last = self.last(row)
        waiter(Status(last.status), last.value)

    def last(self, row: RunRow) -> Any:
        """The last event of a run. Raises NoSuchWorkflow if it has just been removed."""
        return h.decode_turn(self._records(row.number, row.id)[-1]).events[-1]

    def _records(self, number: int, id: str) -> list[bytes]:
        """The records of a run. Raises NoSuchWorkflow if there are none: a thread has removed them
        since its row was found."""
        records = self._driver.records(number)
        if not records:
            raise NoSuchWorkflow(f"There is no workflow {id!r}.")
        return records

    # -- what is asked of one workflow

    def _row(self, id: str) -> RunRow:
        row = self._driver.find(id)
        if row is None:
            raise NoSuchWorkflow(f"There is no workflow {id!r}.")
        return row

    def _open(self, id: str) -> Execution:
        execution = self._driver.find_open(id)
        if execution is None:
            self.check_readable(id)
            raise NoSuchWorkflow(f"Workflow {id!r} {how_it_ended(self._row(id).status)}.")
        return execution

    def check_readable(self, id: str) -> None:
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
            self.check_readable(message.id)
            row = self._row(message.id)
            execution = Execution(driver.types, row.number, row.id, row.run)
            replay(execution, self._records(row.number, row.id))
        elif execution.paused is not None and execution.main is None:
            driver.rebuild(execution)
        workflow = execution.workflow
        if workflow is None:
            raise VerbRefused(f"Workflow {message.id!r} has no code to answer with.")
        self._answer(later, answer_of(workflow, message.message))

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
        self.check_readable(row.id)
        id = row.id if message.new_id is None else message.new_id
        self._check_shard(id)
        if driver.find_open(id) is not None:
            raise StartConflict(f"The workflow {id!r} runs; it is forked under another id.")
        if id != row.id and self._is_taken(id):
            raise StartConflict(f"There is a workflow {id!r} already.")
        self._driver.admission.check_room()
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
        self.check_readable(message.id)
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
