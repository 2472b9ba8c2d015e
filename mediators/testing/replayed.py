"""A switch for tests: after every turn of every workflow its record is replayed, and compared."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock
from weakref import WeakKeyDictionary
from zlib import crc32

from mediators.driver.driver import Driver
from mediators.execution.commands import ChildRun, Fork, Receive, Sleep, Step
from mediators.execution.execution import Execution
from mediators.execution.replay import replay

if TYPE_CHECKING:
    from collections.abc import Generator

    from mediators.execution.commands import Command
    from mediators.history import Event


class ReplayDiffers(AssertionError):
    """A workflow and what its record makes of it are not the same: the text says where."""


class Replayed:
    """What :func:`always_replay` has looked at: ``turns`` counts the comparisons, ``differences``
    says in words what was found, the first of each turn."""

    def __init__(self) -> None:
        self.turns = 0
        self.differences: list[str] = []
        self._records: WeakKeyDictionary[Execution, list[bytes]] = WeakKeyDictionary()

    def look(self, driver: Driver, execution: Execution, event: Event) -> None:
        """Rebuild a workflow and compare, behind a turn."""
        batch = driver.committer.batch.records
        records = self._records.get(execution)
        if records is None:
            kept = [] if not execution.number else driver.shard.history(execution.number)
            records = self._records[execution] = [each.data for each in kept]
        for number, seq, data in batch:
            if number == execution.number and seq == len(records):
                records.append(data)
        if len(records) != execution.seq or is_dropped(execution):
            return
        self.turns += 1
        rebuilt = Execution(execution.types, execution.number, execution.id, execution.run)
        incident = replay(rebuilt, records)
        run = f"workflow {execution.id!r}, run {execution.run}"
        where = f"{run}, record {execution.seq - 1} ({event!r})"
        if incident is not None and not execution.orphan:
            self.differences.append(f"{where}: cannot be replayed: {incident}")
        elif (found := difference(execution, rebuilt)) is not None:
            self.differences.append(f"{where}: {found}")
        rebuilt.drop()


def is_dropped(execution: Execution) -> bool:
    """Whether a mistake has just paused it: it is rebuilt as soon as that is on disk."""
    paused = execution.paused
    return (
        paused is not None
        and paused.incident is not None
        and execution.main is None
        and not execution.orphan
        and execution.ending is None
    )


def difference(live: Execution, rebuilt: Execution) -> str | None:
    """The first thing in which two executions of one record differ, in words; None if there is
    nothing."""
    if live.over is not None or rebuilt.over is not None:
        return said("over", live.over, rebuilt.over)
    for name, mine, theirs in zip(VIEWS, view(live), view(rebuilt), strict=True):
        if (found := said(name, mine, theirs)) is not None:
            return found
    return None


def said(name: str, live: object, rebuilt: object) -> str | None:
    """How two values differ."""
    return None if live == rebuilt else f"{name} is {live!r}, rebuilt it is {rebuilt!r}"


VIEWS = (
    "status",
    "open",
    "receives",
    "undos",
    "unsettled",
    "incidents",
    "unread signals",
    "signals seen",
    "cancelled",
    "pivoted",
    "ending",
    "paused",
    "kept events",
    "children",
    "deadline",
    "parent",
    "patches",
    "rollbacks",
    "records",
    "source of chance",
)


def view(execution: Execution) -> tuple[object, ...]:
    """What of an execution must be the same, in the order of ``VIEWS``."""
    inbox = execution.inbox
    ending = execution.ending
    paused = execution.paused
    return (
        execution.status,
        [command_view(path, each) for path, each in execution.open.items()],
        [each.path for each in execution.receives],
        [(each.path, each.message, each.fault) for each in execution.undos],
        list(execution.unsettled),
        list(execution.incidents.items()),
        [] if inbox is None else [(each.id, each.event, each.expires) for each in inbox.unread],
        [] if inbox is None else list(inbox.seen),
        execution.cancelled,
        execution.pivoted,
        None if ending is None else (ending[0], bytes(ending[1])),
        None if paused is None else (paused.reason, paused.incident),
        [type(each).__name__ for each in execution.queue or ()],
        execution.children,
        execution.deadline,
        (execution.parent, execution.detached),
        dict(execution.patches),
        [
            (each.prefixes, sorted(each.waiting), sorted(each.stuck), each.inner)
            for each in execution.rollbacks
        ],
        execution.seq,
        execution.source and execution.source.getstate(),
    )


def command_view(path: str, command: Command) -> tuple[object, ...]:
    """What of an open command must be the same."""
    seen: list[object] = [path, type(command).__name__]
    if isinstance(command, Step):
        encoded = None if command.encoded is None else crc32(bytes(command.encoded))
        undo = None if command.undo_encoded is None else crc32(bytes(command.undo_encoded))
        seen += [command.kind, encoded, undo, command.attempts, command.deaths]
    elif isinstance(command, Sleep):
        seen.append(command.until)
    elif isinstance(command, Receive):
        seen += [command.type, command.until]
    elif isinstance(command, ChildRun):
        seen += [command.id, command.detached]
    elif isinstance(command, Fork):
        seen += [command.verb_, command.begun, command.ended]
    seen.append(command.branch is not None)
    return tuple(seen)


@contextmanager
def always_replay(*, collect: bool = False) -> Generator[Replayed]:
    """While the block lasts, every workflow in this process is rebuilt from its record after each
    of its turns, and compared: status, open commands, undos, incidents, signals and all else that
    replay has to bring back.

    To be put around any scenario. Nothing of it is changed, but each turn takes as long as all
    turns before it. At the end of the block the first difference is raised as ``ReplayDiffers``,
    unless the block raises by itself; with ``collect=True`` nothing is raised and
    ``differences`` is to be looked at. Use it in one thread at a time.
    """
    replayed = Replayed()
    turn, rebuild = Driver.turn, Driver.rebuild

    def watched_turn(self: Driver, execution: Execution, event: Event) -> None:
        if execution.over is None:
            turn(self, execution, event)
            replayed.look(self, execution, event)

    def watched_rebuild(self: Driver, execution: Execution) -> Any:
        rebuild(self, execution)
        if execution.over is None and execution.paused is not None:
            replayed.look(self, execution, execution.paused)

    with (
        mock.patch.object(Driver, "turn", watched_turn),
        mock.patch.object(Driver, "rebuild", watched_rebuild),
    ):
        yield replayed
    if replayed.differences and not collect:
        more = len(replayed.differences) - 1
        rest = f" ({more} more)" if more else ""
        raise ReplayDiffers(replayed.differences[0] + rest)
