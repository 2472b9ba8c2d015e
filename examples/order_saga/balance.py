"""The balance: what the books of the components say, held against the orders and what their
customers were told. The journal of the workflows is not asked."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import attrs

from examples.order_saga.orders import Order, money
from examples.order_saga.products import PRODUCTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_TWICE = """
    SELECT 'charged or refunded', order_id, key, count(*) FROM money GROUP BY key
    UNION ALL
    SELECT 'reserved or released', order_id, key, count(*) FROM goods GROUP BY key, sku
    UNION ALL
    SELECT 'shipped or recalled', order_id, key, count(*) FROM parcels GROUP BY key
"""


@attrs.define
class Books:
    """What stands in ``books.db``."""

    money: Counter[str] = attrs.field(factory=Counter)
    """Cents that are in the till, by order."""
    charges: Counter[str] = attrs.field(factory=Counter)
    """How often an order was charged."""
    goods: Counter[tuple[str, str]] = attrs.field(factory=Counter)
    """Pieces that were taken and not put back, by order and article."""
    parcels: Counter[str] = attrs.field(factory=Counter)
    """Parcels that were sent and not recalled, by order."""
    stock: dict[str, int] = attrs.field(factory=dict)
    """Pieces on the shelf."""
    twice: list[str] = attrs.field(factory=list)
    """Keys under which something was done more than once."""

    @property
    def orders(self) -> set[str]:
        """All that stand somewhere in them."""
        return {*self.money, *self.parcels, *(order for order, _ in self.goods)}


@attrs.frozen
class Check:
    """Something that has to be right."""

    what: str
    should_be: str
    found: str
    faults: Sequence[str] = ()

    @property
    def right(self) -> bool:
        """Whether it is."""
        return self.should_be == self.found and not self.faults


def read_books(path: Path) -> Books:
    """Add up the lines of the components."""
    books = Books()
    if not path.exists():
        return books
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
        for order, cents in file.execute("SELECT order_id, cents FROM money"):
            books.money[order] += cents
            books.charges[order] += cents > 0
        for order, sku, pieces in file.execute("SELECT order_id, sku, pieces FROM goods"):
            books.goods[order, sku] += pieces
        for order, sent in file.execute("SELECT order_id, sent FROM parcels"):
            books.parcels[order] += sent
        books.stock = dict(file.execute("SELECT sku, pieces FROM stock"))
        for what, order, key, times in file.execute(_TWICE):
            if times > 1:
                books.twice.append(f"order {order} was {what} {times} times under {key}")
    return books


def balance(
    books: Books, orders: Sequence[Order], told: Mapping[str, str | None]
) -> Sequence[Check]:
    """Everything that has to be right. ``told``: by order None for a receipt, or why it is none."""
    complete = [each for each in orders if each.id in told and told[each.id] is None]
    refused = [each for each in orders if told.get(each.id) is not None]
    faulty = {each.id: found for each in orders if (found := faults(books, each, told))}
    should = sum(each.total for each in complete)
    pieces = sum(item.quantity for each in complete for item in each.items)
    left = sum(PRODUCTS[sku].stock - pieces for sku, pieces in books.stock.items())
    again = [each.id for each in orders if books.charges[each.id] > 1]
    unknown = books.orders - {each.id for each in orders}
    return [
        Check("orders that have ended", f"{len(orders):,}", f"{len(complete) + len(refused):,}"),
        check("complete: paid, packed and sent, once", complete, faulty),
        check("refused: as if never placed", refused, faulty),
        Check("orders that nobody has placed", "0", f"{len(unknown):,}", sorted(unknown)),
        Check("money in the till, EUR", money(should), money(books.money.total())),
        Check("pieces gone from the shelf", f"{pieces:,}", f"{left:,}"),
        Check("parcels on their way", f"{len(complete):,}", f"{books.parcels.total():,}"),
        Check("orders charged twice", "0", f"{len(again):,}"),
        Check(
            "keys under which something was done twice", "0", f"{len(books.twice):,}", books.twice
        ),
    ]


def check(what: str, orders: Sequence[Order], faulty: Mapping[str, str]) -> Check:
    """All of these orders have in the books what they should."""
    found = [f"order {each.id}: {faulty[each.id]}" for each in orders if each.id in faulty]
    return Check(what, f"{len(orders):,}", f"{len(orders) - len(found):,}", found)


def faults(books: Books, order: Order, told: Mapping[str, str | None]) -> str:
    """What the books have wrong about one order, in words."""
    once = order.id in told and told[order.id] is None
    found: list[str] = []
    if books.money[order.id] != (order.total if once else 0):
        should = money(order.total if once else 0)
        found.append(f"{money(books.money[order.id])} EUR were paid and should be {should}")
    for item in order.items:
        taken, should_be = books.goods[order.id, item.product.sku], item.quantity if once else 0
        if taken != should_be:
            found.append(f"{taken} x {item.product.sku} were taken and should be {should_be}")
    if books.parcels[order.id] != once:
        found.append(f"{books.parcels[order.id]} parcels were sent and should be {once:d}")
    return "; ".join(found)
