"""An order saga in forty lines: components, undo, retry, supervision, durability and ``run()``.

Order 13 never gets through shipping: the component crashes, its supervisor starts it again, the
step is tried three times; then what was done for the order is undone, the last first.

Run it, ``python -m examples.forty_lines``. Kill it at any moment, ``kill -9``, and run it again: it
goes on where it stood. What has ended is not done again. ``orders.db`` in the current directory has
it all. Ctrl-C ends it in order.
"""

import attrs

from actors import Actor, Call, handles
from mediators import Mediator, Retry, Workflow
from supervisors import Child, run


@attrs.frozen
class Step(Call[None]):  # a message that is answered, here with nothing but that it is done
    order: str


class Charge(Step): ...


class Refund(Step): ...


class Reserve(Step): ...


class Release(Step): ...


class Ship(Step): ...


class Payments(Actor):
    @handles  # which messages, the annotation says
    def pay(self, msg: Charge | Refund) -> None:
        print(msg)


class Inventory(Actor):
    @handles
    def pick(self, msg: Reserve | Release) -> None:
        print(msg)


class Shipping(Actor):
    @handles
    def ship(self, msg: Ship) -> None:
        assert msg.order != "order-13", "the parcel falls apart"  # a crash
        print(msg)


@attrs.define
class PlaceOrder(Workflow[None]):  # a message, too, but handling it survives the process
    id: str

    async def run(self) -> None:
        await self.step(Charge(self.id), undo=Refund(self.id))
        await self.step(Reserve(self.id), undo=Release(self.id))
        await self.step(Ship(self.id), retry=Retry(attempts=3))


class Orders(Mediator):
    components = [Child(Payments), Child(Inventory), Child(Shipping)]  # supervised
    workflows = [PlaceOrder]
    journal = "orders.db"

    def on_ready(self) -> None:
        for order in ("order-12", "order-13", "order-14"):
            self.ref.cast(PlaceOrder(order))  # one that is there already is not begun again


run(Orders)
