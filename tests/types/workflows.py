"""The types of mediators and workflows as a user's type checker sees them; checked, never run."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, assert_type

import attrs

from actors import Actor, Call, Ref, handles
from mediators import Handle, Mediator, Retry, Start, Status, Workflow
from supervisors import Child


@attrs.frozen
class Payment:
    id: int


@attrs.frozen
class Parcel:
    tracking: str


@attrs.frozen
class Charge(Call[Payment]):
    order: str


@attrs.frozen
class Refund(Call[None]):
    payment: int


@attrs.frozen
class Ship(Call[Parcel]):
    order: str


@attrs.frozen
class Approved:
    by: str


@attrs.frozen
class Progress(Call[str]):
    pass


@attrs.define
class Courier(Actor):
    @handles
    def ship(self, msg: Ship) -> Parcel:
        return Parcel(msg.order)


async def rate(order: str, weight: float) -> float:
    return len(order) * weight


@attrs.define
class PlaceOrder(Workflow[Parcel]):
    order: str

    @property
    def id(self) -> str:
        return f"order-{self.order}"

    async def run(self) -> Parcel:
        paid = await self.step(Charge(self.order), undo=lambda paid: Refund(paid.id))
        assert_type(paid, Payment)
        assert_type(await self.effect(rate, self.order, 1.5), float)
        assert_type(await self.receive(Approved), Approved)
        assert_type(await self.receive(Approved, timeout=60), Approved | None)
        assert_type(
            await self.gather(self.step(Charge("a")), self.step(Ship("b"))),
            tuple[Payment, Parcel],
        )
        many = [self.step(Ship(each)) for each in ("a", "b")]
        assert_type(await self.gather(*many, limit=1), tuple[Parcel, ...])
        assert_type(await self.race(self.step(Ship("a")), self.step(Ship("b"))), Parcel)
        assert_type(await self.child(PlaceOrder("c")), Parcel)
        assert_type(self.now(), datetime)
        return await self.step(Ship(self.order), retry=Retry(attempts=5), timeout=1.0)

    @handles
    def progress(self, msg: Progress) -> str:
        return self.order


@attrs.define
class WithField(Workflow[None]):
    id: str

    async def run(self) -> None:
        await self.sleep(1)


class Orders(Mediator):
    components: Sequence[Any] = [Child(Courier)]
    workflows = [PlaceOrder, WithField]
    journal = "orders.db"


async def use(orders: Ref[Orders]) -> None:
    assert_type(await orders.call(PlaceOrder("1"), timeout=60), Parcel)
    placed = await orders.call(Start(PlaceOrder("1")))
    assert_type(placed, Handle[Parcel])
    assert_type(await placed.result(), Parcel)
    assert_type(await placed.status(), Status)
    assert_type(await placed.query(Progress()), str)
    again = Handle(orders, "order-17", PlaceOrder)
    assert_type(await again.result(), Parcel)
    by_hand: Handle[Parcel] = await placed.fork("order-18")
    await by_hand.signal(Approved("me"))
