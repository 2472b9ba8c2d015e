"""What the saga says to the components: three things to do, and how to take each of them back.

All carry a key. It is made before the first attempt, it is the same on every attempt, and the undo
has it too: so nothing is done twice, and what nobody knows to have happened can be taken back.
"""

from __future__ import annotations

from typing import ClassVar

import attrs

from actors import Call, Refusal
from examples.order_saga.orders import Order

SERVICES = ("payments", "inventory", "shipping")
"""The names of the components."""


class Declined(Refusal):
    """The card does not pay."""


class OutOfStock(Refusal):
    """There is not enough of it."""


class NoCourier(Refusal):
    """Nobody goes there."""


@attrs.frozen
class Step(Call[str]):
    """Something to be done for an order; it is answered by the number of a receipt."""

    to: ClassVar[str]
    refusal: ClassVar[type[Refusal]]
    bad_luck: ClassVar[str]

    key: str
    order: Order


@attrs.frozen
class Charge(Step):
    """Take the money."""

    to = "payments"
    refusal, bad_luck = Declined, "card declined"


@attrs.frozen
class Reserve(Step):
    """Set the items aside."""

    to = "inventory"
    refusal, bad_luck = OutOfStock, "damaged in the warehouse"


@attrs.frozen
class Ship(Step):
    """Hand the parcel to the courier."""

    to = "shipping"
    refusal, bad_luck = NoCourier, "no courier free"


@attrs.frozen
class Undo(Call[None]):
    """Take back whatever was done under the key, if anything was, and let nothing more be done."""

    to: ClassVar[str]

    key: str


@attrs.frozen
class Refund(Undo):
    """Give the money back."""

    to = "payments"


@attrs.frozen
class Release(Undo):
    """Put the items back."""

    to = "inventory"


@attrs.frozen
class Recall(Undo):
    """Have the parcel brought back."""

    to = "shipping"
