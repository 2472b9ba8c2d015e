"""Payments, inventory and shipping: three actors that do not know each other.

Each keeps nothing but its ledger, so a crash forgets nothing; each handler is one posting, so a
crash leaves nothing half done.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import trio

from actors import Actor, Envelope, Middleware, Next, handles
from examples.order_saga.ledger import Ledger, Move
from examples.order_saga.messages import (
    Charge,
    Declined,
    NoCourier,
    OutOfStock,
    Recall,
    Refund,
    Release,
    Reserve,
    Ship,
)
from examples.order_saga.trouble import Fate, Trouble

CARD_LIMIT = 2_500_00
"""Cents that a card pays at most."""
COUNTRIES = {"AT", "BE", "CH", "DE", "DK", "ES", "FR", "GB", "IE", "IT", "NL", "PL", "SE"}
"""Where the courier goes."""


@attrs.define
class Component(Actor):
    """What the three have in common: books, and trouble on the way to every message."""

    ledger: Ledger
    trouble: Trouble
    middleware: Sequence[Middleware] = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.middleware = (self.meet_trouble,)

    async def meet_trouble(self, envelope: Envelope, next: Next) -> Any:
        """Let go wrong what is to go wrong: before the handler, or after it."""
        message: Any = envelope.message
        fate = self.trouble.fate(message)
        await trio.sleep(self.trouble.settings.delay)
        if fate is Fate.REFUSED:
            raise message.refusal(message.bad_luck)
        if fate is Fate.CRASH_BEFORE:
            raise self.trouble.crash(message.to, fate, message.key)
        answer = await next(envelope)
        if fate is Fate.CRASH_AFTER:
            raise self.trouble.crash(message.to, fate, message.key)
        if fate is Fate.ANSWER_LOST:
            self.trouble.met[message.to, fate] += 1
            return self.later()  # and nobody will ever reply
        return answer


@attrs.define
class Payments(Component):
    """Moves money from the customers to the till."""

    @handles
    def charge(self, msg: Charge) -> str:
        """Refused past the limit of the card."""
        if msg.order.total > CARD_LIMIT:
            raise Declined("over the limit of the card")
        return self.ledger.post(msg.key, Move(msg.order.total, "cents", "customers", "till"))

    @handles
    def refund(self, msg: Refund) -> None:
        """Back to the customer."""
        self.ledger.take_back(msg.key)


@attrs.define
class Inventory(Component):
    """Moves items from the shelf to the packing table."""

    @handles
    def reserve(self, msg: Reserve) -> str:
        """All items or none. What an earlier attempt took does not stand on the shelf any more, so
        the books are asked first."""
        receipt = self.ledger.receipt(msg.key)
        if receipt is not None:
            return receipt
        for item in msg.order.items:
            if self.ledger.accounts["shelf", item.product.sku] < item.quantity:
                raise OutOfStock(f"out of stock: {item.product.name}")
        moves = [Move(i.quantity, i.product.sku, "shelf", "packed") for i in msg.order.items]
        return self.ledger.post(msg.key, *moves)

    @handles
    def release(self, msg: Release) -> None:
        """Back to the shelf."""
        self.ledger.take_back(msg.key)


@attrs.define
class Shipping(Component):
    """Moves a parcel from the depot to the courier."""

    @handles
    def ship(self, msg: Ship) -> str:
        """The receipt is the tracking number."""
        if msg.order.country not in COUNTRIES:
            raise NoCourier(f"no delivery to {msg.order.country}")
        return self.ledger.post(msg.key, Move(1, "parcel", "depot", "courier"))

    @handles
    def recall(self, msg: Recall) -> None:
        """Back to the depot."""
        self.ledger.take_back(msg.key)
