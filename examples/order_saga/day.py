"""A day in the shop: from opening it to the last order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs
import trio

from actors import open_system
from examples.order_saga.census import Member, census
from examples.order_saga.chronicle import Chronicle
from examples.order_saga.ledger import Books
from examples.order_saga.orderbook import OrderBook
from examples.order_saga.tree import Shop
from examples.order_saga.trouble import Trouble
from supervisors import Child

if TYPE_CHECKING:
    from examples.order_saga.orders import Reading
    from examples.order_saga.settings import Settings


class View(Protocol):
    """Somebody who looks on, every ``interval`` seconds."""

    interval: float

    def show(self, day: Day, shop: Member) -> None:
        """Show how things stand."""


@attrs.define
class Day:
    """All that outlives the actors: what they write to, and what is checked in the end."""

    reading: Reading
    settings: Settings
    book: OrderBook = attrs.field(init=False)
    books: Books = attrs.field(init=False)
    trouble: Trouble = attrs.field(init=False)
    chronicle: Chronicle = attrs.field(init=False, factory=Chronicle)

    def __attrs_post_init__(self) -> None:
        self.book = OrderBook(self.reading.orders)
        self.books = Books.opened(self.reading.orders)
        self.trouble = Trouble(self.settings)

    async def run(self, view: View) -> None:
        """Open the shop, look on until it closes, and leave nobody behind."""
        tree = Child(Shop, self.book, self.books, self.trouble, id="shop", name="shop")
        async with open_system(tree, seed=self.settings.seed) as system:
            self.chronicle.listen(system)
            while (shop := system.whereis("shop")) and shop.alive:
                view.show(self, await census(shop))
                with trio.move_on_after(view.interval):
                    await shop.wait()
