"""What a journal's file tells of its workflows: read only, whether somebody has it open or not."""

from __future__ import annotations

from contextlib import contextmanager
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import attrs
from msgspec import Raw

from mediators import history as h
from mediators.driver.inbox import left
from mediators.driver.requests import verb_of
from mediators.journal import SqliteJournal
from mediators.journal.addresses import shard_of
from mediators.outcomes import Status
from mediators.reading.moments import stamp
from mediators.reading.rendering import jsonable, read, render, render_refusal, short, trouble
from mediators.reading.summary import summary_of
from observers.failures import ExitCode, Failed

if TYPE_CHECKING:
    from collections.abc import Generator

    from mediators.driver.requests import AnyRequest
    from mediators.journal import RunRow, SqliteReader
    from mediators.reading.standing import Summary

WIDTH = 300
"""Characters of a payload in a table."""


@contextmanager
def opened(file: str) -> Generator[SqliteReader]:
    """A reader of the journal. Raises JournalError if it cannot be read."""
    with SqliteJournal.read(file) as reader:
        yield reader


def find(reader: SqliteReader, id: str, run: int | None = None) -> RunRow:
    """The row of a workflow's run, the latest unless ``run`` says which. Raises Failed."""
    row = reader.find(id, run)
    if row is None:
        which = f"no workflow {id!r}" if run is None else f"no run {run} of {id!r}"
        raise Failed(ExitCode.NO_SUCH_WORKFLOW, f"There is {which} in {reader.path}.")
    return row


def pending(reader: SqliteReader, row: RunRow) -> list[AnyRequest]:
    """What was asked of a workflow and waits for the next owner."""
    return left(reader, shard_of(row.number), row.id)


# -- listings


@attrs.frozen
class Listed:
    """One line of a listing."""

    row: RunRow
    status: str
    waits: str


def listed(
    reader: SqliteReader, status: str | None, type: str | None, limit: int, now: float
) -> tuple[list[Listed], int]:
    """The latest runs that fit, oldest first, and how many fit before them. Whether one that is not
    over only waits is told from its record."""
    stored = str(Status.RUNNING) if status == Status.WAITING else status
    # Numbers tell the order within a shard only.
    rows = sorted(
        (
            row
            for row in reader.runs(status=stored)
            if type is None or type in (row.type, short(row.type))
        ),
        key=attrgetter("started"),
    )
    if status not in (Status.WAITING, Status.RUNNING):
        earlier = max(0, len(rows) - limit)
        return [_listed(reader, row, now) for row in rows[earlier:]], earlier
    found: list[Listed] = []
    while rows and len(found) < limit:
        line = _listed(reader, rows.pop(), now)
        if line.status == status:
            found.append(line)
    return found[::-1], 0


def _listed(reader: SqliteReader, row: RunRow, now: float) -> Listed:
    if row.over:
        return Listed(row, row.status, "")
    try:
        summary = summary_of(reader, row)
    except Exception as error:
        return Listed(row, row.status, f"its record cannot be read: {error}")
    return Listed(row, summary.status, summary.waiting_words(now))


# -- histories


@attrs.frozen
class Line:
    """One event of a history."""

    time: float
    first: bool
    """It is what came; the lines behind it are what followed."""
    kind: str
    path: str
    text: str
    data: Any


def lines(turns: list[h.Turn]) -> list[Line]:
    """The history of a run, one event a line."""
    return [
        Line(
            turn.time,
            index == 0,
            type(event).__name__.lower(),
            str(getattr(event, "path", "")),
            in_words(event),
            as_data(event),
        )
        for turn in turns
        for index, event in enumerate(turn.events)
    ]


def in_words(event: Any) -> str:
    """What an event says, beside its kind and its path."""
    match event:
        case h.Started():
            return render(event.workflow, WIDTH)
        case h.Completed() | h.Resolved():
            undo = h.given(event.undo)
            to_undo = "" if undo is None else f"; to undo it: {render(undo, WIDTH)}"
            fault = "" if event.fault is None else f"; {event.fault}"
            return f"{render(event.value, WIDTH)}{to_undo}{fault}"
        case h.Refused():
            return render_refusal(event.refusal, WIDTH)
        case h.Failed():
            return f"after {event.attempts} attempts, the last with {event.type}: {event.text}"
        case h.Attempted():
            return f"attempt {event.attempt}, because of: {event.reason}"
        case h.Signalled():
            until = "" if event.expires is None else f", to be read until {stamp(event.expires)}"
            return f"{render(event.event, WIDTH)}{until}"
        case h.Paused():
            incident = "" if event.incident is None else f": {_incident(event.incident)}"
            return f"{event.reason}{incident}"
        case h.Stuck():
            return trouble(event.incident)
        case h.Cancelled():
            return event.reason
        case h.ChildEnded() | h.Ended():
            if h.given(event.value) is None:
                return event.status
            show = render if event.status == Status.DONE else render_refusal
            return f"{event.status}: {show(event.value, WIDTH)}"
        case h.Intended():
            undo = h.given(event.undo)
            to_undo = "" if undo is None else f"; to undo it: {render(undo, WIDTH)}"
            return f"{_sent(event)}{to_undo}"
        case h.Slept():
            return f"until {stamp(event.until)}"
        case h.Awaited():
            until = "" if event.until is None else f" until {stamp(event.until)}"
            return f"a signal {event.type}{until}"
        case h.Spawned():
            detached = ", detached" if event.detached else ""
            return f"{event.id}: {render(event.workflow, WIDTH)}{detached}"
        case h.Forked():
            return f"{event.kind} of {event.branches} branches"
        case h.Patched():
            return event.name
        case h.Continued():
            return render(event.workflow, WIDTH)
        case h.Expired():
            return f"signal {event.id} was not read in time"
        case _:
            return ""


def _incident(incident: h.Trouble) -> str:
    where = f"{incident.path}: " if incident.path else ""
    return f"{where}{trouble(incident)}"


def _sent(event: h.Intended) -> str:
    found = read(event.message)
    if event.kind == "effect" and isinstance(found, list) and len(found) == 2:
        from mediators.reading.rendering import words

        args = found[1] if isinstance(found[1], list) else []
        return f"{short(str(found[0]))}({', '.join(words(each) for each in args)})"
    return render(event.message, WIDTH)


def as_data(event: Any) -> dict[str, Any]:
    """An event for JSON, its payloads decoded. What the event itself calls its kind is ``of``."""
    found: dict[str, Any] = {"kind": type(event).__name__.lower()}
    for name in event.__struct_fields__:
        value = getattr(event, name)
        if isinstance(value, Raw):
            value = None if h.given(value) is None else jsonable(read(value))
        elif isinstance(value, h.Trouble):
            value = {"path": value.path, "text": trouble(value)}
        elif isinstance(value, h.Carried):
            value = {"signals": len(value.signals), "undos": [path for path, _ in value.undos]}
        elif name == "undos":
            value = [{"path": path, "message": jsonable(read(data))} for path, data in value]
        found["of" if name == "kind" else name] = value
    return found


def summary_as_data(summary: Summary) -> dict[str, Any]:
    """A summary for JSON."""
    found = attrs.asdict(summary, recurse=True, filter=lambda field, _: field.name != "outcome")
    found["outcome"] = jsonable(summary.outcome)
    return found


def request_as_words(request: AnyRequest) -> str:
    """What was asked, in a few words."""
    type_ = getattr(request, "type", None)
    path = getattr(request, "path", None)
    detail = f" {short(type_)}" if type_ else f" {path}" if path else ""
    return f"{verb_of(request)}{detail}"
