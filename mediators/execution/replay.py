"""Running a history again: what the code does now is compared with what was recorded."""

from __future__ import annotations

from itertools import zip_longest
from typing import TYPE_CHECKING, Any

from actors.payloads.types import Undecodable, UnknownType
from mediators import history as h
from mediators.execution.commands import ChildRun, Receive, Sleep, Step
from mediators.execution.rollback import UNDO, Rollback
from mediators.outcomes import Bug, Incident, Status

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.payloads.types import Types
    from mediators.execution.execution import Execution


def replay(execution: Execution, records: Sequence[bytes]) -> Incident | None:
    """Bring an execution to where its record ends.

    Returns None; or, when the code does something else than recorded or cannot read what is, the
    incident that says what. The execution then knows what was sent and how it came out, but has no
    code any more: it can be cancelled, and what it has done be undone.
    """
    turns = [h.decode_turn(data) for data in records]
    for position, turn in enumerate(turns):
        try:
            repeat(execution, turn)
        except (Bug, UnknownType, Undecodable) as error:
            incident = error.incident if isinstance(error, Bug) else Incident("", str(error))
            abandon(execution, turns, position)
            return incident
    return None


def repeat(execution: Execution, turn: h.Turn) -> None:
    """One turn again. Raises Bug for another than recorded."""
    trigger, expected = turn.events[0], turn.events[1:]
    execution.time = turn.time
    execution.produced = []
    execution.actions = []
    execution.seq += 1
    if expected and type(expected[0]) is h.Paused:
        keep(execution, trigger, expected[0])
        return
    execution.expected = expected
    execution.apply(trigger)
    execution.expected = None
    if expected or execution.produced:
        compare(execution, expected)


def keep(execution: Execution, trigger: h.Event, paused: h.Paused) -> None:
    """An event that the code could not take when it came."""
    if isinstance(trigger, h.Started):
        execution.prepare(trigger)
    elif isinstance(trigger, h.Signalled):
        from mediators.execution.events import remember

        remember(execution, trigger)
    execution.paused = paused
    execution.queue = [*(execution.queue or ()), trigger]


def compare(execution: Execution, expected: Sequence[Any]) -> None:
    """Hold what followed against what was recorded. Raises Bug at the first difference."""
    for recorded, came in zip_longest(expected, execution.produced):
        if recorded is None or came is None or not same(execution, recorded, came):
            path = str(getattr(came, "path", "") or getattr(recorded, "path", ""))
            raise Bug(
                Incident(
                    path,
                    "The code does something else than what was recorded.",
                    "nothing" if recorded is None else describe(execution.types, recorded),
                    "nothing" if came is None else describe(execution.types, came),
                )
            )
        if type(recorded) is h.Slept or type(recorded) is h.Awaited:
            # The moment that was recorded counts, whatever the code would make of it today.
            command = execution.open.get(recorded.path)
            if isinstance(command, Sleep | Receive):
                command.until = recorded.until
        elif type(recorded) is h.Spawned:
            child = execution.open.get(recorded.path)
            if isinstance(child, ChildRun):
                child.id = recorded.id


def same(execution: Execution, recorded: Any, came: Any) -> bool:
    """Whether two consequences are the same: kind, path, type and content; times, bounds and undos
    may differ."""
    kind = type(recorded)
    if kind is not type(came):
        return False
    if kind is h.Intended:
        return (
            recorded.path == came.path
            and recorded.kind == came.kind
            and execution.types.same_bytes(recorded.message, came.message)
        )
    if kind is h.Spawned:
        # Without an id of its own a child is named after its parent, which a fork is not.
        named_after_parent = came.id == execution.child_id(came.path)
        return (
            recorded.path == came.path
            and (recorded.id == came.id or named_after_parent)
            and execution.types.same_bytes(recorded.workflow, came.workflow)
        )
    if kind is h.Awaited:
        return bool(recorded.path == came.path and recorded.type == came.type)
    if kind is h.Forked:
        return bool(
            recorded.path == came.path
            and recorded.kind == came.kind
            and recorded.branches == came.branches
        )
    if kind is h.Slept:
        return bool(recorded.path == came.path)
    if kind is h.Ended or kind is h.Compensating:
        return bool(recorded.status == came.status)
    if kind is h.Patched:
        return bool(recorded.name == came.name)
    return True


def describe(types: Types, event: Any) -> str:
    """A consequence in words."""
    kind = type(event).__name__
    words = {"Intended": "", "Awaited": "receive ", "Ended": "the end, "}
    parts = [words.get(kind, f"{kind.lower()} ")]
    if isinstance(event, h.Intended | h.Spawned):
        payload = event.message if isinstance(event, h.Intended) else event.workflow
        try:
            content = repr(types.decode(payload))
        except Exception:
            content = "what cannot be read"
        parts.append(f"{event.path} {content}")
    else:
        parts.append(str(getattr(event, "path", getattr(event, "name", ""))))
        parts.append(str(getattr(event, "status", "")))
        if isinstance(event, h.Awaited):
            parts.append(f" of {event.type}")
        elif isinstance(event, h.Forked):
            parts.append(f" with {event.branches} branches")
    return "".join(parts).strip()


# -- without code


def abandon(execution: Execution, turns: Sequence[h.Turn], position: int) -> None:
    """The code cannot follow the record at ``position``: go on by the record alone."""
    execution.drop()
    execution.reset()
    execution.seq = 0
    for turn in turns[:position]:
        repeat(execution, turn)
    execution.orphaned()
    for turn in turns[position:]:
        follow(execution, turn)
    execution.spent()
    restore_rollback(execution)


def follow(execution: Execution, turn: h.Turn) -> None:
    """One turn by the record alone."""
    trigger, consequences = turn.events[0], turn.events[1:]
    execution.time = turn.time
    execution.seq += 1
    if consequences and type(consequences[0]) is h.Paused:
        keep(execution, trigger, consequences[0])
        return
    if isinstance(trigger, h.Cancelled) and execution.queue is None:
        execution.cancelled = trigger.reason
    else:
        execution.apply(trigger)
    for event in consequences:
        adopt(execution, event)


def adopt(execution: Execution, event: h.Event) -> None:
    """A consequence that no code has repeated."""
    if isinstance(event, h.Intended):
        command = Step(None, kind=event.kind)
        command.path, command.encoded = event.path, event.message
        command.undo_encoded = h.given(event.undo)
        if event.by_answer:
            command.undo = out_of_reach
        execution.open[event.path] = command
        if event.kind == "undo":
            inner = event.path.removeprefix(UNDO)
            execution.undos = [each for each in execution.undos if each.path != inner]
    elif isinstance(event, h.Compensating):
        execution.ending = (Status(event.status), event.failure)
    elif isinstance(event, h.Spawned):
        child = ChildRun(None, event.detached)
        child.path, child.id, child.encoded = event.path, event.id, event.workflow
        execution.children += 1
        execution.open[event.path] = child
    elif isinstance(event, h.Pivoted):
        execution.pivoted = True
        execution.undos, execution.unsettled = (), {}
    elif isinstance(event, h.Ended):
        execution.end_of_run(Status(event.status))
    elif isinstance(event, h.Continued):
        execution.end_of_run(Status.DONE)


def out_of_reach(answer: Any) -> Any:
    """Stands for the undo function of a step whose code is not there."""
    raise LookupError("the code that would make the undo cannot be reached")


def restore_rollback(execution: Execution) -> None:
    """Where the record ends in the middle of a compensation, it goes on."""
    if execution.over is not None or execution.ending is None:
        return
    rollback = Rollback(("",), execution.rolled_back)
    execution.rollbacks = [rollback]
    for path in execution.open:
        (rollback.stuck if path in execution.incidents else rollback.waiting).add(path)
