"""Running what a journal has against the code of today, before it is deployed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import attrs

from mediators import history as h
from mediators.driver.opening import types_of
from mediators.execution.execution import Execution
from mediators.execution.mistakes import incident_of
from mediators.execution.replay import replay
from mediators.journal.protocol import JournalError, Reader
from mediators.journal.sqlite import SqliteJournal
from mediators.outcomes import Incident
from mediators.routing import plan, tells

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.payloads.types import Types
    from mediators.journal.protocol import RunRow


@attrs.frozen
class Difference:
    """Where the code of today does not follow the record of a run: at ``path``, empty for the code
    of the workflow itself. ``recorded`` is what the journal has and ``came`` what the code did
    instead; where it is something else that is wrong, both are empty and ``what`` says it."""

    id: str
    run: int
    path: str
    what: str
    recorded: str = ""
    came: str = ""

    def __str__(self) -> str:
        incident = Incident(self.path, self.what, self.recorded, self.came)
        return f"{self.id} (run {self.run}): {incident}"


def replay_journal(
    journal: str | os.PathLike[str] | Reader, mediator: type[Any], id: str | None = None
) -> list[Difference]:
    """Replay every run of a journal, open or over, against the workflows of a mediator class.

    ``journal`` is the path of a file, which may have an owner, or a reader; nothing is written and
    nothing is sent. ``id`` limits it to one workflow. Returns the first difference of each run that
    has one: an empty list says that this code can take the journal over. A run that is paused by a
    mistake is tried to where it would go on. Raises JournalError if the journal cannot be read.
    """
    if isinstance(journal, Reader):
        return _replay_all(journal, mediator, id)
    with SqliteJournal.read(journal) as reader:
        return _replay_all(reader, mediator, id)


def _replay_all(reader: Reader, mediator: type[Any], id: str | None) -> list[Difference]:
    types = types_of_class(mediator)
    rows = reader.runs(id_prefix=id)
    found = [_replay(reader, types, row) for row in rows if id is None or row.id == id]
    return [each for each in found if each is not None]


def types_of_class(mediator: type[Any]) -> Types:
    """The types a mediator of this class knows in its journal, without running one. Raises
    TypeError for components, workflows and types that are none."""
    made = plan(mediator)
    told: Any = mediator if tells(mediator) else mediator()
    return types_of(made, made.workflows, told.types)


def _replay(reader: Reader, types: Types, row: RunRow) -> Difference | None:
    execution = Execution(types, row.number, row.id, row.run)
    try:
        records = [each.data for each in reader.history(row.number)]
        incident = replay(execution, records) or _go_on(execution, records)
    except JournalError as error:
        incident = Incident("", str(error))
    except Exception as error:
        incident = Incident("", f"Its record cannot be read: {type(error).__name__}: {error}")
    finally:
        execution.drop()
    if incident is None:
        return None
    what, recorded, came = incident.what, incident.recorded, incident.came
    return Difference(row.id, row.run, incident.path, what, recorded, came)


def _go_on(execution: Execution, records: Sequence[bytes]) -> Incident | None:
    """What stops a run again that a mistake has paused."""
    paused = execution.paused
    if paused is None or paused.incident is None or execution.over is not None:
        return None
    if paused.reason == "pivot":
        return None  # not the code is wrong there: somebody must decide
    time = h.decode_turn(records[-1]).time
    execution.perform(time, h.Resumed())
    while execution.queue and execution.over is None:
        events: list[Any] = execution.perform(time, h.Delivered())
        stopped = next((each for each in events if isinstance(each, h.Paused)), None)
        if stopped is not None and stopped.reason == "pivot":
            return None
        if stopped is not None and stopped.incident is not None:
            return incident_of(stopped.incident)
    return None
