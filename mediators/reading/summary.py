"""Where a workflow stands, told from its record alone: no class of the user's is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediators import history as h
from mediators.journal.protocol import JournalDamaged
from mediators.outcomes import Status
from mediators.reading.fold import FORKS, Fold
from mediators.reading.rendering import name_of, render, trouble
from mediators.reading.standing import OpenUndo, Pause, Summary, Wait

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mediators.journal.protocol import Reader, RunRow


def summarize(turns: Iterable[h.Turn]) -> Summary:
    """Where the run stands whose turns these are. Raises ValueError for what does not begin with a
    start."""
    fold = Fold()
    for turn in turns:
        fold.turn(turn)
    return told(fold)


def summary_of(reader: Reader, row: RunRow) -> Summary:
    """Where a run stands, told from its record: while somebody has the journal open, and when
    nobody has. None of the classes of its workflow are needed.

    ::

        with SqliteJournal.read("orders.db") as journal:
            for row in journal.runs(status="failed"):
                print(row.id, summary_of(journal, row).outcome_words())

    ``row`` is one that ``reader`` has given. Raises JournalError; JournalDamaged, if the record is
    none.
    """
    turns = turns_of(reader, row)
    try:
        return summarize(turns)
    except ValueError as error:
        raise JournalDamaged(f"{row.id!r}: {error}") from error


def turns_of(reader: Reader, row: RunRow) -> list[h.Turn]:
    """The turns of a run. Raises JournalError; JournalDamaged for what is none."""
    try:
        return [h.decode_turn(each.data) for each in reader.history(row.number)]
    except ValueError as error:
        raise JournalDamaged(f"The record of {row.id!r} is none: {error}") from error


def told(fold: Fold) -> Summary:
    """What a fold has come to."""
    started = fold.started
    if started is None:
        raise ValueError("There is no record of this run.")
    waits = tuple(
        Wait(path, each.kind, each.type, each.since, each.until, each.attempts,
             each.asked or None, each.reason)
        for path, each in fold.open.items()
        if each.kind not in FORKS and path not in fold.incidents
    )  # fmt: skip
    pause = None
    if fold.paused is not None:
        incident = fold.paused.incident
        text = "" if incident is None else trouble(incident)
        pause = Pause(fold.paused.reason, fold.since, text, len(fold.queue or ()))
    return Summary(
        started.id,
        started.run,
        name_of(started.workflow),
        status_of(fold),
        fold.began,
        fold.time,
        fold.time if fold.over else None,
        fold.outcome,
        waits,
        tuple(fold.incidents.values()),
        pause,
        tuple(fold.unread.values()),
        tuple(
            OpenUndo(path, "" if message is None else render(message), fault)
            for path, message, fault in fold.undos
        ),
        fold.cancelled,
        None if started.timeout is None or fold.over else fold.began + started.timeout,
        fold.pivoted,
        started.parent,
        fold.turns,
    )


def status_of(fold: Fold) -> str:
    """The status, as it is shown."""
    if fold.over:
        return fold.over
    if fold.incidents or (fold.paused is not None and fold.paused.reason == "pivot"):
        return str(Status.INCIDENT)
    if fold.compensating:
        return str(Status.COMPENSATING)
    if fold.paused is not None:
        return str(Status.PAUSED)
    if any(each.kind not in ("sleep", "receive", *FORKS) for each in fold.open.values()):
        return str(Status.RUNNING)
    return str(Status.WAITING if fold.open else Status.RUNNING)
