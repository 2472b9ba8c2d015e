"""The supervision tree of the shop::

    shop                  rest_for_one: without its services, the office begins anew
    ├── services          one_for_one: a component falls alone
    │   ├── payments
    │   ├── inventory
    │   └── shipping
    ├── office            one_for_all: the desk and its sagas belong together
    │   ├── sagas         one child for each order under way
    │   └── desk          goes home when all orders are finished, and the shop with it
    └── doorman           closes the shop on Ctrl-C

A stop goes from the bottom up: the desk takes no more orders, the sagas come to their end, and the
services are there for them until then.
"""

from __future__ import annotations

from typing import Any

import attrs

from examples.order_saga.components import Component, Inventory, Payments, Shipping
from examples.order_saga.desk import Desk
from examples.order_saga.doorman import Doorman
from examples.order_saga.ledger import Books, Ledger
from examples.order_saga.orderbook import OrderBook
from examples.order_saga.trouble import Trouble
from supervisors import Child, DynamicSupervisor, Supervisor


@attrs.define
class Services(Supervisor):
    """The components. Their books outlive them."""

    books: Books
    trouble: Trouble

    def children(self) -> list[Child[Any]]:
        """Named, so that the desk finds them."""
        books = self.books
        return [
            self.child("payments", Payments, books.payments),
            self.child("inventory", Inventory, books.inventory),
            self.child("shipping", Shipping, books.shipping),
        ]

    def child(self, name: str, cls: type[Component], ledger: Ledger) -> Child[Component]:
        """Crashes are expected here: restarts are paced, not counted."""
        backoff = self.trouble.settings.backoff
        return Child(cls, ledger, self.trouble, id=name, name=name, backoff=backoff)


@attrs.define
class Office(Supervisor):
    """The desk and its sagas. The order book outlives them."""

    strategy = "one_for_all"
    auto_shutdown = "any_significant"

    book: OrderBook
    trouble: Trouble

    def children(self) -> list[Child[Any]]:
        """The desk last: it is the first to stop."""
        return [
            Child(DynamicSupervisor, id="sagas", name="sagas"),
            Child(
                Desk,
                self.book,
                self.trouble,
                id="desk",
                name="desk",
                restart="transient",
                significant=True,
            ),
        ]


@attrs.define
class Shop(Supervisor):
    """All of it."""

    strategy = "rest_for_one"
    auto_shutdown = "any_significant"

    book: OrderBook
    books: Books
    trouble: Trouble

    def children(self) -> list[Child[Any]]:
        """The services first: they are the last to stop."""
        office = Child(
            Office, self.book, self.trouble, id="office", restart="transient", significant=True
        )
        services = Child(Services, self.books, self.trouble, id="services")
        return [services, office, Child(Doorman, id="doorman")]
