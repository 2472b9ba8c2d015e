"""Journals made record by record, for tests of what is read from them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec import Raw

from actors.payloads.types import Types
from mediators import Mediator
from mediators import history as h
from mediators.journal import SqliteJournal
from mediators.journal.protocol import Batch, RunRow
from tests.mediators.orders import Approved, Charge, OutOfStock, PlaceOrder, Refund, Reserve

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TYPES = Types([PlaceOrder, Charge, Reserve, Refund, Approved])
T0 = datetime(2030, 1, 1, tzinfo=UTC).timestamp()


def payload(value: Any) -> Raw:
    if isinstance(value, BaseException):
        return Raw(TYPES.encode_refusal(value))
    return Raw(TYPES.encode(value))


MOON = payload(OutOfStock("moon"))
CHARGE = h.Intended("Charge.1", "step", payload(Charge("17")))
PAID = h.Completed("Charge.1", payload("paid"), payload(Refund("paid")))


class Bad(Mediator):
    """Nobody but its maker knows what it is made of."""

    def __init__(self, where: str) -> None:
        self.components = [where]  # type: ignore[list-item]


def begun(id: str, *turns: Sequence[h.Event]) -> list[h.Turn]:
    """The turns of a run that has asked for its payment; then these, one a second."""
    started = h.Started(id, 1, payload(PlaceOrder("17")), 7)
    all_: Any = [[started, CHARGE], *turns]
    return [h.Turn(T0 + index, list(events)) for index, events in enumerate(all_)]


def batch(number: int, turns: Sequence[h.Turn]) -> Batch:
    """A run with its records, and the status a listing needs."""
    first: Any = turns[0].events[0]
    last: Any = turns[-1].events[-1]
    over = isinstance(last, h.Ended | h.Continued)
    status = "continued" if isinstance(last, h.Continued) else last.status if over else "running"
    type = "tests.mediators.orders:PlaceOrder"
    ended = turns[-1].time if over else None
    row = RunRow(number, first.id, first.run, type, status, turns[0].time, ended)
    records = [
        (number, seq, h.encode_turn(each.time, each.events)) for seq, each in enumerate(turns)
    ]
    return Batch([row], records)


def written(folder: Path, *runs: Sequence[Sequence[h.Event]]) -> Path:
    """A journal at rest with the runs order-1, order-2 and so on, of these turns each."""
    path = folder / "written.db"
    journal = SqliteJournal(path)
    try:
        shard = journal.acquire(0)
        for index, events in enumerate(runs):
            turns = begun(f"order-{index + 1}", *events)
            shard.append(batch(shard.next_number + index, turns))
    finally:
        journal.close()
    return path
