"""The order book: how far each order has come. Outlives the sagas that write it."""

from __future__ import annotations

from collections import Counter, deque
from enum import Enum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from examples.order_saga.orders import Order


class Status(Enum):
    """Where an order stands."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    UNDONE = "undone"


class Mark(Enum):
    """Where a step of it stands."""

    ASKED = "asked"
    DONE = "done"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    UNDONE = "undone"


@attrs.define(eq=False)
class Entry:
    """One order. ``steps`` by name; ``retries`` counts attempts that got no answer."""

    order: Order
    status: Status = Status.WAITING
    steps: dict[str, Mark] = attrs.field(factory=dict)
    retries: int = 0
    why: str = ""


class OrderBook:
    """All orders of the day, in the order of the file."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self.entries = {order.id: Entry(order) for order in orders}
        self.counts = Counter({Status.WAITING: len(self.entries)})
        self.running: dict[str, Entry] = {}
        self.finished: deque[Entry] = deque(maxlen=50)
        """The latest ones."""
        self.closed = False
        """Set when the shop closes early: what is waiting then is not begun any more."""

    def unfinished(self) -> list[Order]:
        """What is still to be done."""
        open = {Status.RUNNING} if self.closed else {Status.WAITING, Status.RUNNING}
        return [entry.order for entry in self.entries.values() if entry.status in open]

    def begin(self, id: str) -> None:
        """Its saga begins, or begins again."""
        entry = self.running[id] = self.entries[id]
        entry.steps.clear()
        self._set(entry, Status.RUNNING)

    def mark(self, id: str, step: str, mark: Mark) -> None:
        """A step has come further."""
        self.entries[id].steps[step] = mark

    def retry(self, id: str) -> None:
        """A message is about to be sent again."""
        self.entries[id].retries += 1

    def finish(self, id: str, status: Status, why: str = "") -> None:
        """Its saga has ended: COMPLETE, or UNDONE and why."""
        entry = self.running.pop(id)
        entry.why = why
        self.finished.append(entry)
        self._set(entry, status)

    def _set(self, entry: Entry, status: Status) -> None:
        self.counts[entry.status] -= 1
        self.counts[status] += 1
        entry.status = status
