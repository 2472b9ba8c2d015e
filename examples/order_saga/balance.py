"""The balance: whether the day adds up.

It takes nobody's word. What an order should have moved follows from the file and from how the order
ended; what it has moved is read from the lines of the ledgers; and what is there in the end is
counted in their accounts. All three must agree.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import TYPE_CHECKING

import attrs

from examples.order_saga.orderbook import Status
from examples.order_saga.orders import money

if TYPE_CHECKING:
    from examples.order_saga.day import Day
    from examples.order_saga.ledger import Account, Ledger
    from examples.order_saga.orders import Order


@attrs.frozen
class Check:
    """One line of the balance; ``faults`` say what is wrong, one by one."""

    what: str
    should_be: str
    found: str
    faults: tuple[str, ...] = ()

    @property
    def right(self) -> bool:
        """Whether it is as it should be."""
        return self.should_be == self.found and not self.faults


def balance(day: Day) -> list[Check]:
    """All there is to check."""
    complete = [p.order for p in day.book.pages.values() if p.status is Status.COMPLETE]
    ledgers = [day.books.payments, day.books.inventory, day.books.shipping]
    paid = sum(order.total for order in complete)
    till = day.books.payments.accounts["till", "cents"]
    sold = sum(item.quantity for order in complete for item in order.items)
    packed = held(day.books.inventory, "packed")
    stock = sum(day.books.inventory.opening.values())
    left = held(day.books.inventory, "shelf")
    sent = held(day.books.shipping, "courier")
    return [
        check_rows(day),
        check_endings(day),
        check_moves(day, ledgers),
        Check("money in the till", money(paid), money(till)),
        Check("items packed", f"{sold:,}", f"{packed:,}"),
        Check("items left, and packed", f"{stock:,}", f"{left + packed:,}"),
        Check("parcels with the courier", f"{len(complete):,}", f"{sent:,}"),
        check_accounts(ledgers),
        Check(
            "crashes that nobody injected",
            "0",
            f"{len(day.chronicle.surprises)}",
            tuple(day.chronicle.surprises),
        ),
    ]


def check_rows(day: Day) -> Check:
    """Each row of the file is an order or malformed."""
    found = len(day.book.pages) + len(day.reading.malformed)
    return Check("rows: orders, and malformed", f"{day.reading.rows:,}", f"{found:,}")


def check_endings(day: Day) -> Check:
    """Each order is complete or undone; those not begun are fine if the shop closed early."""
    fine = {Status.COMPLETE, Status.UNDONE}
    if day.book.closed:
        fine.add(Status.WAITING)
    pages = day.book.pages.values()
    faults = [f"order {p.order.id} is {p.status.value}" for p in pages if p.status not in fine]
    what = "orders complete, undone" + (" or not begun" if day.book.closed else "")
    return Check(what, f"{len(pages):,}", f"{len(pages) - len(faults):,}", tuple(faults))


def check_moves(day: Day, ledgers: list[Ledger]) -> Check:
    """By the lines of the ledgers, a complete order has moved just what it should, and any other
    order nothing; and nobody else has moved anything."""
    moved: dict[str, Counter[Account]] = defaultdict(Counter)
    for line in (line for ledger in ledgers for line in ledger.lines):
        of_order = moved[line.key.partition("/")[0]]
        of_order[line.move.source, line.move.what] -= line.move.amount
        of_order[line.move.target, line.move.what] += line.move.amount
    faults, wrong = [], 0
    for id, page in day.book.pages.items():
        should = should_move(page.order) if page.status is Status.COMPLETE else Counter()
        found = moved.pop(id, Counter())
        accounts = sorted(should.keys() | found.keys())
        differing = [account for account in accounts if found[account] != should[account]]
        wrong += bool(differing)
        faults += [
            f"order {id} ({page.status.value}): {place} got {found[place, what]:+,} {what} of it "
            f"instead of {should[place, what]:+,}"
            for place, what in differing
        ]
    faults += [f"there is no order {id!r}, but the ledgers have moves of it" for id in moved]
    orders = len(day.book.pages)
    what = "orders that moved what they should"
    return Check(what, f"{orders:,}", f"{orders - wrong:,}", tuple(faults))


def should_move(order: Order) -> Counter[Account]:
    """What a complete order does to the accounts."""
    should = Counter({("till", "cents"): order.total, ("customers", "cents"): -order.total})
    should.update({("courier", "parcel"): 1, ("depot", "parcel"): -1})
    for item in order.items:
        should["packed", item.product.sku] += item.quantity
        should["shelf", item.product.sku] -= item.quantity
    return should


def check_accounts(ledgers: list[Ledger]) -> Check:
    """What stands in the accounts follows from what was there at first and from the lines."""
    accounts = [(ledger, account) for ledger in ledgers for account in ledger.accounts]
    faults = []
    for ledger in ledgers:
        should = Counter(ledger.opening)
        for line in ledger.lines:
            should[line.move.source, line.move.what] -= line.move.amount
            should[line.move.target, line.move.what] += line.move.amount
        faults += [
            f"{place} has {ledger.accounts[place, what]:,} {what}, by its lines {amount:,}"
            for (place, what), amount in sorted(should.items())
            if ledger.accounts[place, what] != amount
        ]
    return Check(
        "accounts that follow from their lines",
        f"{len(accounts):,}",
        f"{len(accounts) - len(faults):,}",
        tuple(faults),
    )


def held(ledger: Ledger, place: str) -> int:
    """How much there is in one place."""
    return sum(amount for (where, _), amount in ledger.accounts.items() if where == place)
