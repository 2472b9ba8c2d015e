"""One run of one workflow: its code, fed with events, gives commands. Live and on replay alike.

Nothing here sends, waits or writes. An event is applied; what follows from it is in ``produced``,
for the journal, and in ``actions``, for the driver to do once that is on disk. On replay the events
come from the journal, and what follows is compared with what was recorded. So what stands in
``open`` at the end of a replay is what the workflow waits for.
"""

from __future__ import annotations

from random import Random
from sys import intern
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from actors.payloads.types import NOTHING, NotEncodable
from mediators.execution.branches import STUBBORN, Branch, Raised, close, refuse
from mediators.execution.commands import WAIT, ChildRun, Command, Fork, Receive, Step
from mediators.execution.cutting import collect_unsettled, cut, settle
from mediators.execution.events import deliver
from mediators.execution.forks import begin_fork, branch_ended
from mediators.execution.guard import NoTask, step_alone
from mediators.execution.mistakes import foreign, forgotten, mistake, trouble_of
from mediators.execution.rollback import Rollback, Undo
from mediators.execution.signals import Inbox, Signal
from mediators.history import (
    Cancelled,
    Carried,
    Compensating,
    Delivered,
    Ended,
    Event,
    Patched,
    Paused,
    Pivoted,
    Signalled,
    Started,
    origin_of,
)
from mediators.outcomes import (
    ENDINGS,
    Bug,
    Incident,
    Status,
    WorkflowCancelled,
    WorkflowEnded,
)
from mediators.texts import check_text, shown, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from actors.payloads.types import Types


NONE_AT_ALL: Mapping[str, Any] = MappingProxyType({})
"""What a run has none of, shared by all that have none: a workflow that waits is small."""
SPENT: Any = ()
"""What followed from the last turn, once it has been taken."""


class Execution:
    """The state of one run; a flat record, since there may be a million of them."""

    __slots__ = (
        "__weakref__",
        "actions",
        "cancelled",
        "children",
        "deadline",
        "detached",
        "digest",
        "ending",
        "expected",
        "id",
        "inbox",
        "incidents",
        "listed",
        "made",
        "main",
        "number",
        "open",
        "orphan",
        "over",
        "parent",
        "patches",
        "paused",
        "pivoted",
        "produced",
        "queue",
        "receives",
        "refusal",
        "rollbacks",
        "run",
        "salvage",
        "seed",
        "seq",
        "source",
        "time",
        "types",
        "unawaited",
        "undos",
        "unsettled",
        "workflow",
    )

    def __init__(self, types: Types, number: int, id: str, run: int) -> None:
        self.types = types
        self.number = number
        self.id = id
        self.run = run
        self.seq = 0
        """Records written so far."""
        self.listed = ""
        """Its status in listings."""
        self.digest = 0
        """Of the message that started it, in this process."""
        self.salvage: Mapping[str, Step] = NONE_AT_ALL
        """Its steps, by path, while it is rebuilt: with the attempts that are under way."""
        self.reset()

    def reset(self) -> None:
        """As if nothing had come yet."""
        self.workflow: Any = None
        self.main: Branch | None = None
        self.open: dict[str, Command] = {}
        """What the run waits for, by path, in the order of the commands."""
        self.receives: Sequence[Receive] = ()
        self.undos: Sequence[Undo] = ()
        self.unsettled: Mapping[str, Step] = NONE_AT_ALL
        """Steps that ended in StepFailed: what they did is not known."""
        self.inbox: Inbox | None = None
        self.incidents: Mapping[str, Incident] = NONE_AT_ALL
        self.rollbacks: Sequence[Rollback] = ()
        self.children = 0
        self.time = 0.0
        self.produced: list[Event] = SPENT
        self.actions: list[tuple[str, Any]] = SPENT
        self.expected: list[Any] | None = None
        """On replay: what followed when this turn was recorded."""
        self.patches: Mapping[str, bool] = NONE_AT_ALL
        self.seed = 0
        self.source: Random | None = None
        self.paused: Paused | None = None
        self.queue: list[Event] | None = None
        """Events kept while paused."""
        self.cancelled: str | None = None
        self.pivoted = False
        self.ending: tuple[Status, Raw] | None = None
        """How it is going to end, while what it has done is being undone."""
        self.refusal: tuple[BaseException, Raw] | None = None
        """The last one that a step was answered with, and how it stands in the journal."""
        self.over: Status | None = None
        self.unawaited = 0
        """Commands made and not awaited yet."""
        self.made: Command | None = None
        """One of these, if it is at hand."""
        self.parent: tuple[int, str] | None = None
        self.detached = False
        self.deadline: float | None = None
        self.orphan = False
        """There is no code any more, only its record."""

    # -- what others ask

    @property
    def status(self) -> Status:
        """Where it stands."""
        if self.over is not None:
            return self.over
        if self.incidents or self.at_pivot:
            return Status.INCIDENT
        if self.ending is not None:
            return Status.COMPENSATING
        if self.paused is not None:
            return Status.PAUSED
        if any(command.sends for command in self.open.values()):
            return Status.RUNNING
        return Status.WAITING if self.open else Status.RUNNING

    @property
    def at_pivot(self) -> bool:
        """Whether it is paused because it would end behind its pivot."""
        return self.paused is not None and self.paused.reason == "pivot"

    @property
    def past_pivot(self) -> bool:
        """Whether there is no way back; also where the very turn of the pivot was given up."""
        return self.pivoted or self.at_pivot

    @property
    def troubled(self) -> bool:
        """Whether it does anything but run and wait."""
        return bool(self.incidents) or self.paused is not None or self.ending is not None

    def is_kept(self, path: str) -> bool:
        """Whether the outcome of a command has come and was not delivered yet."""
        return any(getattr(event, "path", None) == path for event in self.queue or ())

    def key(self, path: str) -> str:
        """The idempotency key of a step, the same on every attempt and under every owner."""
        return key_of(self.id, self.run, path)

    def child_id(self, path: str) -> str:
        """The id of a child that has none of its own."""
        return f"{self.id}/{self.run}/{path}"

    def encode(self, value: Any, what: str) -> Raw:
        """A payload for the journal. Raises NotEncodable."""
        return NOTHING if value is None else Raw(self.types.encode(value, what))

    def guarded(self, call: Callable[[], Any]) -> Any:
        """Call a function of the user's. What it raises is a mistake."""
        try:
            with NoTask():
                return call()
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:
            raise Bug(mistake(error)) from error

    # -- what the code reads from the record

    def chance(self) -> Random:
        """The seeded source of this run."""
        if self.source is None:
            self.source = Random(self.seed)
        return self.source

    def patched(self, name: str) -> bool:
        """See :meth:`mediators.Workflow.patched`."""
        known = self.patches.get(name)
        if known is None:
            check_text("The name of a change", name)
            mark = Patched(name)
            known = self.expected is None or mark in self.expected
            self.patches = {**self.patches, name: known}
            if known:
                self.produce(mark)
        return known

    def pivot(self) -> None:
        """See :meth:`mediators.Workflow.pivot`."""
        if self.main is None or any(type(each) is Fork for each in self.open.values()):
            raise Bug(Incident("", "pivot() stands in a branch of gather or race"))
        self.undos, self.unsettled = (), NONE_AT_ALL
        self.pivoted = True
        self.produce(Pivoted())

    # -- what most runs have none of

    def note(self, undo: Undo) -> None:
        """Something took effect that can be undone."""
        if isinstance(self.undos, list):
            self.undos.append(undo)
        else:
            self.undos = [*self.undos, undo]

    def stand(self, path: str, incident: Incident) -> None:
        """Somebody must decide about a path."""
        self.incidents = {**self.incidents, path: incident}

    def lift(self, path: str) -> Incident | None:
        """Nobody has to decide about a path any more."""
        incident = self.incidents.get(path)
        if incident is not None:
            self.incidents = {each: i for each, i in self.incidents.items() if each != path}
        return incident

    def no_longer(self, receive: Receive) -> None:
        """A receive waits no longer."""
        self.receives = [each for each in self.receives if each is not receive]

    # -- what follows

    def spent(self) -> None:
        """What followed from the last turn has been taken."""
        self.produced = self.actions = SPENT

    def produce(self, event: Event) -> None:
        """Something for the journal."""
        self.produced.append(event)

    def act(self, what: str, command: Any) -> None:
        """Something for the driver."""
        self.actions.append((what, command))

    # -- one turn

    def perform(self, time: float, event: Event) -> list[Event]:
        """A live turn: apply an event; returns what is to be recorded. A mistake of the code does
        not leave: it pauses the run, which must then be rebuilt from its record."""
        self.time = time
        self.produced = []
        self.actions = []
        try:
            deliver(self, event)
        except Exception as error:
            # Whatever it is, this run alone has it: the others of its mediator go on.
            self.produced = []
            self.actions = []
            if not isinstance(error, Bug):
                error = Bug(Incident("", f"{type(error).__name__}: {text_of(error)}"))
            return self.stop_at(event, error)
        return [event, *self.produced]

    def stop_at(self, event: Event, bug: Bug) -> list[Event]:
        """The code cannot take this event: keep it."""
        reason = "pivot" if self.pivoted and is_ending(bug) else "mistake"
        paused = Paused(reason, trouble_of(bug.incident))
        self.salvage = {path: each for path, each in self.open.items() if isinstance(each, Step)}
        self.drop()
        self.queue = []
        self.paused = paused
        if type(event) is Delivered:
            return [paused]
        return [event, paused]

    def apply(self, event: Event) -> None:
        """Feed one event. Raises Bug."""
        deliver(self, event)

    def prepare(self, event: Started) -> None:
        """Take what the first event says, and make the workflow."""
        self.seed = event.seed
        self.parent = event.parent
        self.detached = event.detached
        if event.timeout is not None:
            self.deadline = self.time + event.timeout
            self.act("deadline", None)
        if event.carried is not None:
            self.take_over(event.carried)
        if not self.orphan:
            self.digest = hash(bytes(origin_of(event)))
            self.workflow = self.types.decode(event.workflow)

    def begin(self, event: Started) -> None:
        """The first event."""
        if self.workflow is None:
            self.prepare(event)
        if self.orphan:
            return
        workflow: Any = self.workflow
        object.__setattr__(workflow, "_execution", self)
        self.main = Branch(workflow.run(), "", None, 0)
        self.advance(self.main, None)

    def take_over(self, carried: Carried) -> None:
        """What the run before has left."""
        self.pivoted = carried.pivoted
        self.undos = [Undo(path, message) for path, message in carried.undos]
        if carried.signals or carried.seen:
            self.inbox = Inbox()
            self.inbox.unread = [Signal(*each) for each in carried.signals]
            for id in carried.seen:
                self.inbox.remember(id)
            for signal in self.inbox.unread:
                if signal.expires is not None:
                    self.act("expire", signal)

    def leave(self) -> Carried:
        """What this run leaves to the next one."""
        inbox = self.inbox or Inbox()
        kept: list[Any] = [each for each in self.queue or () if isinstance(each, Signalled)]
        return Carried(
            [(each.id, each.event, each.expires) for each in (*inbox.unread, *kept)],
            list(inbox.seen),
            [(f"{self.run}/{each.path}", each.message) for each in self.undos if each.message],
            self.pivoted,
        )

    # -- the code

    def advance(self, branch: Branch, value: Any, error: BaseException | None = None) -> None:
        """Let a branch go on with the outcome of what it waited for, up to its next command whose
        outcome is to come, or to its end."""
        branch.waiting = None
        coroutine = branch.coroutine
        tries = 0
        while True:
            try:
                command = step_alone(coroutine, value, error)
            except StopIteration as stop:
                self.ended(branch, stop.value, None)
                return
            except (KeyboardInterrupt, SystemExit):
                raise
            except BaseException as failure:
                self.ended(branch, None, failure)
                return
            value = error = None
            if not isinstance(command, Command):
                incident = foreign(coroutine, command)
                close(coroutine)
                raise Bug(incident)
            if self.cancelled is not None and self.ending is None:
                refuse(command)
                tries += 1
                if tries > STUBBORN:
                    raise Bug(Incident("", "run() goes on though it was cancelled."))
                self.unawaited -= 1
                error = WorkflowCancelled()
                continue
            try:
                value = self.issue(branch, command)
            except NotEncodable as failure:
                self.open.pop(command.path, None)
                error = failure
                continue
            if value is WAIT:
                return
            if type(value) is Raised:
                value, error = None, value.error

    def issue(self, branch: Branch, command: Command) -> Any:
        """The code awaits a command: name it and begin it."""
        if command.path:
            raise Bug(Incident(command.path, f"{command!r} is awaited a second time."))
        branch.count += 1
        # Interned: a million workflows that wait at one place wait at one string.
        command.path = path = intern(f"{branch.prefix}{command.label}.{branch.count}")
        command.branch = branch
        branch.waiting = command
        self.unawaited -= 1
        if self.made is command:
            self.made = None
        self.open[path] = command
        return command.begin(self)

    def branch_out(self, fork: Fork) -> Any:
        """The code goes on in several branches; returns the outcome if there is one already."""
        return begin_fork(self, fork)

    def resume(self, command: Command, value: Any, error: BaseException | None = None) -> None:
        """A command has its outcome."""
        branch, command.branch = command.branch, None
        assert branch is not None
        self.advance(branch, value, error)

    def ended(self, branch: Branch, value: Any, error: BaseException | None) -> None:
        """A branch has come to its end."""
        if error is not None and not isinstance(error, ENDINGS):
            if isinstance(error, Bug):
                raise error
            if not isinstance(error, WorkflowCancelled) or self.cancelled is None:
                raise Bug(mistake(error)) from error
        fork = branch.fork
        if fork is not None:
            if error is not None:
                error = error.with_traceback(None)
            branch_ended(self, fork, branch, value, error)
        elif self.cancelled is not None:
            reason = self.cancelled
            self.finish(Status.CANCELLED, WorkflowEnded(self.id, Status.CANCELLED, reason))
        elif error is None:
            if self.unawaited > 0:
                raise Bug(forgotten(self.unawaited, self.made, self.workflow))
            self.close(Status.DONE, self.encode_result(value))
        elif self.pivoted:
            text = f"What would fail the workflow came after its pivot: {shown(error)}"
            raise Bug(Incident("", text)) from error
        else:
            self.finish(Status.FAILED, error)

    def encode_result(self, value: Any) -> Raw:
        """The result of ``run``. Raises Bug."""
        try:
            return self.encode(value, f"the result of {type(self.workflow).__name__}.run()")
        except NotEncodable as error:
            raise Bug(Incident("", text_of(error))) from error

    # -- branches

    def drop(self) -> None:
        """The code is given up without an end of its own: nothing of it may go out."""
        coroutines = [self.main.coroutine] if self.main is not None else []
        for command in self.open.values():
            if isinstance(command, Fork):
                coroutines += [
                    each.coroutine if isinstance(each, Branch) else each
                    for each in command.branches
                    if each is not None
                ]
        self.main = None
        self.open, self.receives, self.rollbacks = {}, (), ()
        for coroutine in coroutines:
            close(coroutine)

    def orphaned(self) -> None:
        """From here on there is no code, only what it had sent."""
        sent = {path: each for path, each in self.open.items() if isinstance(each, Step | ChildRun)}
        self.drop()
        self.open = dict(sent)
        for command in sent.values():
            command.branch = None
        self.orphan = True

    # -- the end

    def cancel(self, reason: str) -> None:
        """Somebody asked for the end, or the time of the run is up."""
        if self.cancelled is not None or self.ending is not None or self.pivoted:
            return
        self.cancelled = reason
        if self.orphan:
            self.finish(Status.CANCELLED, WorkflowEnded(self.id, Status.CANCELLED, reason))
            return
        main = self.main
        assert main is not None
        rollback = Rollback(("",), self.rolled_back)
        self.rollbacks = [*self.rollbacks, rollback]
        waiting, main.waiting = main.waiting, None
        if waiting is not None:
            waiting.branch = None
            cut(self, waiting, rollback)
        self.advance(main, None, WorkflowCancelled())

    def cancel_paused(self, reason: str) -> None:
        """Cancel without any code: what is recorded suffices."""
        queue = self.queue or []
        self.orphaned()
        self.queue = self.paused = None
        for event in queue:
            if not isinstance(event, Cancelled | Started):
                self.apply(event)
        self.cancel(reason)

    def finish(self, status: Status, error: BaseException) -> None:
        """The workflow has failed or was cancelled: take back what it has done."""
        self.main = None
        refusal = self.refusal
        # Most often it is the very refusal that a step was answered with.
        recorded = refusal[1] if refusal is not None and refusal[0] is error else None
        failure = recorded or Raw(self.types.encode_refusal(error))
        self.ending = (status, failure)
        self.produce(Compensating(str(status), failure))
        rollback = next((each for each in self.rollbacks if each.prefixes == ("",)), None)
        if rollback is None:
            rollback = Rollback(("",), self.rolled_back)
            self.rollbacks = [*self.rollbacks, rollback]
        for path, command in list(self.open.items()):
            # Of an orphan; else nothing is left that is not settling already.
            if any(each.knows(path) for each in self.rollbacks):
                continue
            if isinstance(command, Step) and command.kind == "undo":
                (rollback.stuck if path in self.incidents else rollback.waiting).add(path)
            else:
                settle(self, command, rollback)
        collect_unsettled(self, rollback)
        rollback.advance(self)

    def rolled_back(self) -> None:
        """Everything is undone."""
        assert self.ending is not None
        self.close(*self.ending)

    def close(self, status: Status, value: Raw) -> None:
        """That was it."""
        undos = []
        if status is Status.DONE and self.parent is not None and not self.detached:
            undos = [(each.path, each.message) for each in self.undos if each.message is not None]
        self.produce(Ended(str(status), value, undos))
        self.end_of_run(status)
        self.act("ended", value)

    def end_of_run(self, status: Status) -> None:
        """Let go of everything."""
        self.over = status
        if self.workflow is not None:
            object.__setattr__(self.workflow, "_execution", None)
        self.main = None
        self.open, self.receives, self.undos, self.unsettled = {}, (), (), NONE_AT_ALL
        self.ending = None

    def continued(self) -> None:
        """The next run takes over."""
        carried = self.leave()
        self.drop()
        self.end_of_run(Status.DONE)
        self.act("continued", carried)


def is_ending(bug: Bug) -> bool:
    """Whether it is an orderly ending that came after the pivot."""
    return isinstance(bug.__cause__, ENDINGS)


def key_of(id: str, run: int, path: str) -> str:
    """``workflow_id/run/step_path``; slashes in the id are escaped, so that no key of another
    workflow comes out as the same."""
    if "/" in id or "%" in id:
        id = id.replace("%", "%25").replace("/", "%2F")
    return f"{id}/{run}/{path}"
