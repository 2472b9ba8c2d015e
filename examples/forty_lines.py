"""An order saga in forty lines: components, undo, retry, supervision, durability and ``run()``.

Shipping crashes two times out of three, and is started again; its step is tried again. Nobody sells
the order of 13 pieces, so its payment is given back. Kill it at any moment, ``kill -9``, and start
it again: it goes on where it stood, and what it has done already it only tells. ``orders.db`` in the
current directory is all it keeps.

Run it: ``python -m examples.forty_lines``; Ctrl-C ends it.
"""

import random

import attrs

from actors import Actor, Call, Refusal, handles
from mediators import Mediator, Retry, Workflow
from supervisors import Child, run


@attrs.frozen
class Step(Call[str]):  # a message; the reply type is part of it
    pieces: int


class Charge(Step): ...


class Refund(Step): ...


class Reserve(Step): ...


class Release(Step): ...


class Ship(Step): ...


class Payments(Actor):
    @handles  # which message, says the annotation
    def pay(self, msg: Charge | Refund) -> str:
        return f"{type(msg).__name__} of {msg.pieces}"


class Inventory(Actor):
    @handles
    def pick(self, msg: Reserve | Release) -> str:
        if msg.pieces == 13:
            raise Refusal("13 pieces bring bad luck")  # an answer, and no crash
        return f"{type(msg).__name__} of {msg.pieces}"


class Shipping(Actor):
    @handles
    def ship(self, msg: Ship) -> str:
        if random.random() < 0.5:
            raise ConnectionError("the courier has hung up")  # a crash: its supervisor restarts it
        return f"parcel with {msg.pieces}"


@attrs.define
class PlaceOrder(Workflow[str]):
    id: str
    pieces: int

    async def run(self) -> str:
        await self.step(Charge(self.pieces), undo=Refund(self.pieces))
        await self.step(Reserve(self.pieces), undo=Release(self.pieces))
        return await self.step(Ship(self.pieces), retry=Retry(attempts=9))


class Orders(Mediator):
    components = [Child(Payments), Child(Inventory), Child(Shipping)]
    workflows = [PlaceOrder]
    journal = "orders.db"

    def on_ready(self) -> None:
        for pieces in (1, 5, 13):
            self.ref.cast(PlaceOrder(f"order-{pieces}", pieces))


if __name__ == "__main__":
    run(Orders)
