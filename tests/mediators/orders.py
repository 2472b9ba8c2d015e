"""A shop with a journal in a file, for tests of what is done to it from outside; also a program
that runs it: ``python orders.py FILE``."""

from __future__ import annotations

import sys
from typing import Any

import attrs
import trio

from actors import Actor, Call, Refusal, handles, open_system
from mediators import Mediator, Retry, Start, Workflow
from supervisors import Child


class OutOfStock(Refusal):
    pass


@attrs.frozen
class Charge(Call[str]):
    order: str


@attrs.frozen
class Refund(Call[None]):
    payment: str


@attrs.frozen
class Reserve(Call[str]):
    item: str


@attrs.frozen
class Approved:
    by: str


REFUNDS: list[str] = []


class Payments(Actor):
    @handles
    def charge(self, message: Charge) -> str:
        return f"paid-{message.order}"

    @handles
    def refund(self, message: Refund) -> None:
        REFUNDS.append(message.payment)
        if message.payment == "paid-stuck":
            raise Refusal("no refunds")


class Stock(Actor):
    @handles
    async def reserve(self, message: Reserve) -> str:
        if message.item == "moon":
            raise OutOfStock("moon")
        if message.item == "slow":
            await trio.sleep(1000)
        return message.item


@attrs.define
class PlaceOrder(Workflow[str]):
    order: str
    item: str = "book"

    @property
    def id(self) -> str:
        return f"order-{self.order}"

    async def run(self) -> str:
        await self.step(Charge(self.order), undo=lambda paid: Refund(paid))
        await self.step(Reserve(self.item), timeout=3.0, retry=Retry(attempts=100))
        approved = await self.receive(Approved)
        if self.item == "nap":
            await self.sleep(30 * 86_400)
        return f"{self.item} approved by {approved.by}"


class Shop(Mediator):
    components = [Child(Payments), Child(Stock)]
    workflows = [PlaceOrder]


def shop(path: Any) -> type[Shop]:
    """A shop with its journal at that path."""
    return type("ShopAt", (Shop,), {"journal": str(path)})


async def main(path: str, orders: list[str]) -> None:
    async with open_system() as system:
        ref = await system.start(shop(path), name="shop")
        for order in orders:
            await ref.call(Start(PlaceOrder(*order.split(":"))))
        print("ready", flush=True)
        await trio.sleep_forever()


if __name__ == "__main__":
    trio.run(main, sys.argv[1], sys.argv[2:])
