"""Where a workflow stands, as data: what ``summarize`` makes of a record."""

from __future__ import annotations

from typing import Any

import attrs

from mediators.outcomes import Status
from mediators.reading.rendering import Unreadable, words


@attrs.frozen
class Wait:
    """One thing a workflow waits for. Times are seconds of the wall clock.

    ``kind`` is ``step effect undo sleep receive child settle``. ``type`` is the name of the message
    or signal in the journal, of an effect its function, of a child its workflow's id. ``since`` is
    when the code asked for it, ``asked`` when the attempt under way was made, the ``attempts``-th,
    and ``reason`` why there was more than one. ``until`` is the time at which it ends by itself.
    """

    path: str
    kind: str
    type: str
    since: float
    until: float | None = None
    attempts: int = 1
    asked: float | None = None
    reason: str = ""


@attrs.frozen
class Standing:
    """An incident: somebody must decide, or mend."""

    path: str
    text: str
    since: float


@attrs.frozen
class Pause:
    """Nothing is delivered: because of a mistake, which ``incident`` describes, or on request."""

    reason: str
    since: float
    incident: str = ""
    kept: int = 0
    """Events that are kept until it goes on."""


@attrs.frozen
class Unread:
    """A signal that no ``receive`` has taken yet."""

    id: str
    type: str
    since: float
    expires: float | None = None


@attrs.frozen
class OpenUndo:
    """What would be undone: the path of the step, and the message in words; or ``fault``, why there
    is none."""

    path: str
    message: str
    fault: str = ""


@attrs.frozen
class Summary:
    """One run of a workflow, as far as its record tells. Times are seconds of the wall clock."""

    id: str
    run: int
    type: str
    status: str
    started: float
    updated: float
    ended: float | None = None
    outcome: Any = None
    """Of one that is done its result (see :func:`mediators.reading.rendering.read`), of any other
    that has ended its failure in words."""
    waits: tuple[Wait, ...] = ()
    incidents: tuple[Standing, ...] = ()
    pause: Pause | None = None
    unread: tuple[Unread, ...] = ()
    undos: tuple[OpenUndo, ...] = ()
    cancelled: str | None = None
    deadline: float | None = None
    """When the whole run is cancelled."""
    pivoted: bool = False
    parent: tuple[int, str] | None = None
    """The number of the parent's run and the path of its command."""
    turns: int = 0

    @property
    def over(self) -> bool:
        """Whether nothing will happen any more."""
        return self.ended is not None


def result_words(summary: Summary, width: int | None = None) -> str:
    """The outcome in words; empty while there is none."""
    if isinstance(summary.outcome, str) and summary.status != Status.DONE:
        return summary.outcome
    if isinstance(summary.outcome, Unreadable) or summary.over:
        return words(summary.outcome, width)
    return ""
