"""What each event does to an execution."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mediators import history as h
from mediators.execution.commands import ChildRun, Command, Receive, Step
from mediators.execution.mistakes import incident_of
from mediators.execution.rollback import UNDO, Undo
from mediators.execution.signals import Inbox, Signal, is_late
from mediators.outcomes import Incident, Status, StepFailed, WorkflowEnded
from mediators.texts import shown

if TYPE_CHECKING:
    from collections.abc import Callable

    from mediators.execution.execution import Execution

TIMED_OUT = "its time is up"
"""The reason for which a run is cancelled that has taken longer than its timeout."""

KEPT = frozenset(
    {
        h.Started,
        h.Completed,
        h.Refused,
        h.Failed,
        h.Fired,
        h.Signalled,
        h.Expired,
        h.ChildEnded,
        h.Settled,
    }
)
"""Events that are not delivered while a run is paused."""

DECIDED = frozenset({h.Resolved, h.Skipped})
"""Nor are these, if they are about a step; else they are about the run that is paused."""


def is_kept(event: h.Event) -> bool:
    """Whether an event is not delivered while a run is paused."""
    kind = type(event)
    return kind in KEPT or (kind in DECIDED and bool(event.path))  # type: ignore[attr-defined]


def deliver(execution: Execution, event: h.Event) -> None:
    """Apply one event; while the run is paused it is kept instead."""
    kind = type(event)
    if kind is h.Signalled:
        remember(execution, event)
    if execution.queue is not None:
        if is_kept(event):
            execution.queue.append(event)
            return
        if kind is h.Cancelled:
            if execution.ending is not None:
                return  # it is being undone already, and goes on with that once it is resumed
            execution.cancel_paused(event.reason)  # type: ignore[attr-defined]
            return
    HANDLERS[kind](execution, event)


def completed(execution: Execution, event: Any) -> None:
    """There is an answer: the code goes on, and the undo is noted."""
    path = event.path
    command = execution.open.pop(path, None)
    if command is None:
        return
    if execution.incidents:
        execution.lift(path)
    assert isinstance(command, Step)
    if command.kind != "undo":
        note_undo(execution, command, h.given(event.undo), event.fault)
        if command.branch is not None:
            execution.resume(command, execution.types.decode(event.value))
            return
    settled_somewhere(execution, path)


def note_undo(execution: Execution, command: Step, made: Any, fault: str | None) -> None:
    """What took effect can be undone, from here on."""
    message = made if made is not None else command.undo_encoded
    if message is not None or fault is not None:
        execution.note(Undo(command.path, message, fault))


def settled_somewhere(execution: Execution, path: str) -> None:
    """Whoever waits for this path to settle waits no longer."""
    for rollback in execution.rollbacks:
        if rollback.knows(path):
            rollback.settled(path, execution)
            return


def refused(execution: Execution, event: Any) -> None:
    """The answer was no."""
    path = event.path
    command = execution.open.get(path)
    if command is None:
        return
    execution.lift(path)
    if path.startswith(UNDO):
        error = execution.types.decode_refusal(event.refusal)
        stuck_at(execution, path, Incident(path, f"The undo was refused: {shown(error)}"))
        return
    del execution.open[path]
    if command.branch is None:
        settled_somewhere(execution, path)
    else:
        error = execution.types.decode_refusal(event.refusal)
        execution.refusal = (error, event.refusal)
        execution.resume(command, None, error)


def failed(execution: Execution, event: Any) -> None:
    """The attempts are spent."""
    fail(execution, event.path, StepFailed(event.path, event.attempts, event.type, event.text))


def fail(execution: Execution, path: str, error: StepFailed) -> None:
    """A step has failed; what it has done is not known."""
    command = execution.open.pop(path, None)
    execution.lift(path)
    if not isinstance(command, Step):
        return
    if command.branch is None:
        settled_somewhere(execution, path)
        return
    branch = command.branch
    command.spent = True
    execution.unsettled = {**execution.unsettled, path: command}
    command.branch = None
    execution.advance(branch, None, error)


def attempted(execution: Execution, event: Any) -> None:
    """A further attempt is about to be sent."""
    command = execution.open.get(event.path)
    if isinstance(command, Step):
        if event.reason == "settle" and not command.settling:
            command.settling = True
            command.attempts = command.deaths = 0
        elif event.reason in {"died", "settle"}:
            command.deaths += 1
        else:
            command.attempts += 1


def fired(execution: Execution, event: Any) -> None:
    """The time of something is up."""
    if not event.path:
        execution.cancel(TIMED_OUT)
        return
    command = execution.open.get(event.path)
    if command is None or not command.wakes:
        return
    del execution.open[event.path]
    if isinstance(command, Receive):
        execution.no_longer(command)
    execution.resume(command, None)


def remember(execution: Execution, event: Any) -> None:
    """A signal counts once, whatever becomes of it."""
    if execution.inbox is None:
        execution.inbox = Inbox()
    execution.inbox.remember(event.id)


def signalled(execution: Execution, event: Any) -> None:
    """A signal goes to the first who waits for such a one, or is kept."""
    assert execution.inbox is not None
    signal = Signal(event.id, event.event, event.expires)
    for receive in execution.receives:
        if signal.matches(receive, execution):
            execution.no_longer(receive)
            del execution.open[receive.path]
            execution.resume(receive, signal.value)
            return
    leave_unread(execution, signal)


def leave_unread(execution: Execution, signal: Signal) -> None:
    """Nobody waits for a signal, or it has come too late to be read."""
    assert execution.inbox is not None
    execution.inbox.unread.append(signal)
    if signal.expires is not None:
        execution.act("expire", signal)


def expired(execution: Execution, event: Any) -> None:
    """Nobody has read a signal in time."""
    if execution.inbox is not None:
        execution.inbox.expire(event.id)


def cancelled(execution: Execution, event: Any) -> None:
    """Somebody asked for the end."""
    execution.cancel(event.reason)


def paused(execution: Execution, event: Any) -> None:
    """Events are kept from here on."""
    execution.paused = event
    if execution.queue is None:
        execution.queue = []


def resumed(execution: Execution, event: Any) -> None:
    """Kept events are delivered next, one at a time."""
    execution.paused = None
    if not execution.queue:
        execution.queue = None


def delivered(execution: Execution, event: Any) -> None:
    """The first of the kept events."""
    queue = execution.queue
    assert queue
    kept = queue.pop(0)
    if not queue:
        execution.queue = None
    if isinstance(kept, h.Signalled) and is_late(kept, execution):
        leave_unread(execution, Signal(kept.id, kept.event, kept.expires))
        return
    HANDLERS[type(kept)](execution, kept)


def child_ended(execution: Execution, event: Any) -> None:
    """A child has ended; what it leaves to be undone becomes ours, in place."""
    path = event.path
    command = execution.open.pop(path, None)
    if not isinstance(command, ChildRun):
        return
    execution.children -= 1
    for inner, message in event.undos:
        execution.note(Undo(f"{path}/{inner}", message))
    if command.branch is None:
        settled_somewhere(execution, path)
    elif event.status == Status.DONE:
        execution.resume(command, execution.types.decode(event.value))
    else:
        value = h.given(event.value)
        cause = None if value is None else execution.types.decode_refusal(value)
        text = cause.reason if isinstance(cause, WorkflowEnded) else shown(cause) if cause else ""
        error = WorkflowEnded(command.id, Status(event.status), text)
        error.__cause__ = cause
        execution.resume(command, None, error)


def settled(execution: Execution, event: Any) -> None:
    """A step has had no effect, and will have none."""
    execution.open.pop(event.path, None)
    execution.lift(event.path)
    settled_somewhere(execution, event.path)


def stuck(execution: Execution, event: Any) -> None:
    """Somebody must decide."""
    stuck_at(execution, event.path, incident_of(event.incident))


def stuck_at(execution: Execution, path: str, incident: Incident) -> None:
    """An incident stands; the rest of a rollback goes on."""
    execution.stand(path, incident)
    for rollback in execution.rollbacks:
        if rollback.knows(path):
            rollback.got_stuck(path, execution)
            return


def retried(execution: Execution, event: Any) -> None:
    """Somebody decided to try again."""
    path = event.path
    command = execution.open.get(path)
    if not isinstance(command, Step) or execution.lift(path) is None:
        return
    command.attempts = command.deaths = 0
    command.settling = False
    for rollback in execution.rollbacks:
        if rollback.knows(path):
            rollback.tried_again(path)
    settles = command.branch is None and command.kind != "undo"
    execution.act("settle" if settles else "send", command)


def skipped(execution: Execution, event: Any) -> None:
    """Somebody decided to leave it."""
    path = event.path
    command: Command | None = execution.open.get(path)
    if command is None or execution.lift(path) is None:
        return
    if command.branch is None:
        del execution.open[path]
        settled_somewhere(execution, path)
    else:
        fail(execution, path, StepFailed(path, 0, "Skipped", "somebody decided to skip it"))


def resolved(execution: Execution, event: Any) -> None:
    """Somebody has answered: for a step, or with no path for the workflow itself."""
    if event.path:
        completed(execution, event)
    elif execution.paused is not None:
        execution.drop()
        execution.paused = execution.queue = None
        execution.close(Status.DONE, event.value)


def started(execution: Execution, event: Any) -> None:
    """The run begins."""
    execution.begin(event)


HANDLERS: dict[type, Callable[[Execution, Any], None]] = {
    h.Started: started,
    h.Completed: completed,
    h.Refused: refused,
    h.Failed: failed,
    h.Attempted: attempted,
    h.Fired: fired,
    h.Signalled: signalled,
    h.Expired: expired,
    h.Cancelled: cancelled,
    h.Paused: paused,
    h.Resumed: resumed,
    h.Delivered: delivered,
    h.ChildEnded: child_ended,
    h.Settled: settled,
    h.Stuck: stuck,
    h.Retried: retried,
    h.Skipped: skipped,
    h.Resolved: resolved,
}
