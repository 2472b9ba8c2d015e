"""The shop: an order is paid for, its items are reserved, and it is shipped; or nothing is.

Three components that do not know each other, a workflow that says what is to be done, and a
mediator that runs it. ``orders.db`` has the histories of the workflows, ``books.db`` what the
components have done; both lie in the current directory.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import attrs

from actors import Actor, Call, Refusal, handles
from examples.order_saga.orders import Item, Order
from examples.order_saga.products import PRODUCTS
from mediators import Idempotent, Mediator, Retry, Workflow
from supervisors import Child

CARD_LIMIT = 150_00
"""Cents that a card pays at most."""
COUNTRIES = {"AT", "BE", "CH", "DE", "DK", "ES", "FR", "GB", "IE", "IT", "NL", "PL"}
"""Where the courier goes."""

JOURNAL, BOOKS = "orders.db", "books.db"
TABLES = """
    CREATE TABLE IF NOT EXISTS money (key TEXT, order_id TEXT, cents INTEGER);
    CREATE TABLE IF NOT EXISTS goods (key TEXT, order_id TEXT, sku TEXT, pieces INTEGER);
    CREATE TABLE IF NOT EXISTS parcels (key TEXT, order_id TEXT, sent INTEGER);
    CREATE TABLE IF NOT EXISTS stock (sku TEXT PRIMARY KEY, pieces INTEGER);
""" + "".join(
    f"INSERT OR IGNORE INTO stock VALUES ('{each.sku}', {each.stock});"
    for each in PRODUCTS.values()
)


@attrs.frozen
class Charge(Call[int]):
    """Take the money; answered by the number of the payment."""

    order: str
    cents: int


@attrs.frozen
class Refund(Call[None]):
    """Give the money of a payment back."""

    payment: int


@attrs.frozen
class Reserve(Call[None]):
    """Take all items from the shelf, or none."""

    order: str
    items: tuple[Item, ...]


@attrs.frozen
class Release(Call[None]):
    """Put the items back."""

    order: str


@attrs.frozen
class Ship(Call[str]):
    """Hand the parcel to the courier; answered by its tracking number."""

    order: str
    country: str


@attrs.frozen
class Recall(Call[None]):
    """Have the parcel brought back."""

    order: str


class Declined(Refusal):
    """The card does not pay."""


class OutOfStock(Refusal):
    """There is not enough of it."""


class NoCourier(Refusal):
    """Nobody goes there."""


class Clerk(Actor):
    """Keeps books: a line, and that its key has been answered, are committed together."""

    middleware = [Idempotent(BOOKS, schema=TABLES)]

    def sql(self, statement: str, *values: Any) -> sqlite3.Cursor:
        """Read or write in the transaction of the message at hand."""
        books: sqlite3.Connection = self.envelope.transaction
        return books.execute(statement, values)

    @property
    def key(self) -> str | None:
        """The same on every attempt at this step, in whatever process."""
        return self.envelope.key


class Payments(Clerk):
    """Has the money."""

    @handles
    def charge(self, msg: Charge) -> int:
        if msg.cents > CARD_LIMIT:
            raise Declined("card declined")
        line = self.sql("INSERT INTO money VALUES (?, ?, ?)", self.key, msg.order, msg.cents)
        return line.lastrowid or 0

    @handles
    def refund(self, msg: Refund) -> None:
        back = "INSERT INTO money SELECT ?, order_id, -cents FROM money WHERE rowid = ?"
        self.sql(back, self.key, msg.payment)


class Inventory(Clerk):
    """Has the goods."""

    @handles
    def reserve(self, msg: Reserve) -> None:
        for sku, pieces in [(item.product.sku, item.quantity) for item in msg.items]:
            take = "UPDATE stock SET pieces = pieces - ? WHERE sku = ? AND pieces >= ?"
            if not self.sql(take, pieces, sku, pieces).rowcount:
                raise OutOfStock("out of stock")  # what was taken before goes back by itself
            self.sql("INSERT INTO goods VALUES (?, ?, ?, ?)", self.key, msg.order, sku, pieces)

    @handles
    def release(self, msg: Release) -> None:
        taken = "SELECT sku, sum(pieces) FROM goods WHERE order_id = ? GROUP BY sku"
        for sku, pieces in self.sql(taken, msg.order).fetchall():
            self.sql("UPDATE stock SET pieces = pieces + ? WHERE sku = ?", pieces, sku)
            self.sql("INSERT INTO goods VALUES (?, ?, ?, ?)", self.key, msg.order, sku, -pieces)


class Shipping(Clerk):
    """Has the courier."""

    @handles
    def ship(self, msg: Ship) -> str:
        if msg.country not in COUNTRIES:
            raise NoCourier("no courier goes there")
        line = self.sql("INSERT INTO parcels VALUES (?, ?, 1)", self.key, msg.order)
        return f"{msg.country}-{line.lastrowid:06}"

    @handles
    def recall(self, msg: Recall) -> None:
        self.sql("INSERT INTO parcels VALUES (?, ?, -1)", self.key, msg.order)


@attrs.frozen
class Receipt:
    """What the customer gets."""

    order: str
    payment: int
    tracking: str


@attrs.define
class PlaceOrder(Workflow[Receipt]):
    """The saga of one order. If a step is refused, those before it are undone, the last first."""

    order: Order

    @property
    def id(self) -> str:
        """Whoever places the order again, joins it."""
        return f"order-{self.order.id}"

    async def run(self) -> Receipt:
        order = self.order
        payment = await self.step(Charge(order.id, order.total), undo=Refund)
        await self.step(Reserve(order.id, order.items), undo=Release(order.id))
        tracking = await self.step(
            Ship(order.id, order.country), undo=Recall(order.id), retry=Retry(attempts=9)
        )
        return Receipt(order.id, payment, tracking)


class Orders(Mediator):
    """Knows the components; they do not know each other."""

    components = [Child(Payments), Child(Inventory), Child(Shipping)]
    workflows = [PlaceOrder]
    journal = JOURNAL
