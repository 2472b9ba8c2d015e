"""Where a workflow stands, as data: what ``summarize`` makes of a record."""

from __future__ import annotations

from typing import Any

import attrs

from mediators.outcomes import Status
from mediators.reading.moments import moment, span
from mediators.reading.rendering import Unreadable, short, words

SHOWN = 3
"""How many of the things a workflow waits for are told of in some words."""


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
    """Of one that is done its result: a plain value, or what a data class was written down as, with
    its ``name`` and its ``fields``. Of any other that has ended its failure in words."""
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

    def outcome_words(self, width: int | None = None) -> str:
        """The outcome in words; empty while there is none."""
        if isinstance(self.outcome, str) and self.status != Status.DONE:
            return self.outcome
        if isinstance(self.outcome, Unreadable) or self.over:
            return words(self.outcome, width)
        return ""

    def waiting_words(self, now: float) -> str:
        """What it waits for, in some words; ``now`` is seconds of the wall clock."""
        parts = [f"{each.path or 'its code'}: {each.text}" for each in self.incidents]
        if self.pause is not None:
            parts.append(self.pause.incident or self.pause.reason)
        parts += [_wait(each, now) for each in self.waits]
        more = f" and {len(parts) - SHOWN} more" if len(parts) > SHOWN else ""
        return "; ".join(_cut(each) for each in parts[:SHOWN]) + more


def _wait(wait: Wait, now: float) -> str:
    if wait.kind == "sleep":
        return f"time, {moment(wait.until or now, now)}"
    since = span(now - wait.since)
    if wait.kind == "receive":
        return f"signal {short(wait.type)}, {since}"
    if wait.kind == "child":
        return f"workflow {wait.type}, {since}"
    times = f", {wait.attempts} attempts" if wait.attempts > 1 else ""
    return f"{wait.path}, {since}{times}"


def _cut(text: str, width: int = 80) -> str:
    return text if len(text) <= width else f"{text[: width - 1]}…"
