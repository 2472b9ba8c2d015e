"""The order book: how far each order has come. Outlives the sagas that write it."""

from __future__ import annotations

from collections import Counter, deque
from enum import Enum
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    from examples.order_saga.messages import Undo
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
    UNDONE = "undone"


@attrs.define(eq=False)
class Page:
    """One order, and what its saga must not forget.

    ``undos`` says, by key, how to take back what has been asked for; ``why`` it has to be taken
    back, empty as long as it has not. ``retries`` counts messages that had to be sent again.
    """

    order: Order
    status: Status = Status.WAITING
    undos: dict[str, type[Undo]] = attrs.field(factory=dict)
    marks: dict[str, Mark] = attrs.field(factory=dict)
    why: str = ""
    retries: int = 0


class OrderBook:
    """All orders of the day, in the order of the file."""

    def __init__(self, orders: Iterable[Order]) -> None:
        self.pages = {order.id: Page(order) for order in orders}
        self.counts = Counter({Status.WAITING: len(self.pages)})
        self.running: dict[str, Page] = {}
        self.finished: deque[Page] = deque(maxlen=50)
        """The latest ones."""
        self.closed = False
        """Set when the shop closes early: what is waiting then is not begun any more."""

    def unfinished(self) -> list[Page]:
        """What is still to be done."""
        some = {Status.RUNNING} if self.closed else {Status.WAITING, Status.RUNNING}
        return [page for page in self.pages.values() if page.status in some]

    def begin(self, page: Page) -> None:
        """Its saga begins, or goes on."""
        self.running[page.order.id] = page
        self._set(page, Status.RUNNING)

    def finish(self, page: Page) -> None:
        """Its saga has come to an end."""
        self.finished.append(self.running.pop(page.order.id))
        self._set(page, Status.UNDONE if page.why else Status.COMPLETE)

    def _set(self, page: Page, status: Status) -> None:
        self.counts[page.status] -= 1
        self.counts[status] += 1
        page.status = status
