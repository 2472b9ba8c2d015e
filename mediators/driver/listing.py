"""Runs and histories as others are shown them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mediators import history as h
from mediators.execution.replay import describe
from mediators.outcomes import Status
from mediators.verbs import HistoryEntry, ListWorkflows, WorkflowInfo

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.payloads.types import Types
    from mediators.driver.driver import Driver


def listed_runs(driver: Driver, message: ListWorkflows) -> list[WorkflowInfo]:
    """The runs that are asked for. Whether one waits or runs is not written down at every turn; the
    driver knows of those at work."""
    wanted = message.status
    refined = wanted in (Status.WAITING, Status.RUNNING)
    rows = driver.shard.runs(
        status=str(Status.RUNNING) if refined else wanted,
        type=message.type,
        limit=None if refined else message.limit,
    )
    found = []
    for row in rows:
        execution = driver.runs.get(row.number)
        status = row.status if execution is None else str(execution.status)
        if wanted in (None, "open", status):
            found.append(WorkflowInfo(row.id, row.run, row.type, status, row.started, row.ended))
    return found[: message.limit]


def entries_of(types: Types, records: Iterable[bytes]) -> list[HistoryEntry]:
    """What has come to a run, and what followed, in words."""
    return [
        HistoryEntry(
            turn.time,
            type(event).__name__.lower(),
            getattr(event, "path", ""),
            describe(types, event),
        )
        for turn in map(h.decode_turn, records)
        for event in turn.events
    ]


def turns_before(turns: list[h.Turn], path: str | None) -> list[h.Turn] | None:
    """The turns before the outcome of a step; None if it has none. Ends are left out."""
    kept: list[h.Turn] = []
    for turn in turns:
        trigger: Any = turn.events[0]
        if path is not None and getattr(trigger, "path", None) == path:
            return kept
        if any(isinstance(each, h.Ended | h.Continued) for each in turn.events):
            break
        kept.append(turn)
    return kept if path is None else None
