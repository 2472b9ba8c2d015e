"""The process that is killed: ``python -m examples.order_saga.worker DIRECTORY ORDERS.csv ...``.

It tells what happens in lines of JSON, written one at a time, so that they survive it.
"""

from __future__ import annotations

import json
import logging
import os
import sys
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors import Actor, Ref, Refusal
from examples.order_saga.orders import Order, read_orders
from examples.order_saga.shop import PlaceOrder
from examples.order_saga.trouble import Kill, orders_in_trouble
from mediators import Start, StepFailed
from mediators.telemetry import Recovered
from supervisors import Child, ChildRestarted, one_for_one, run

if TYPE_CHECKING:
    from collections.abc import Sequence

AT_ONCE = 20
"""Orders under way at a time."""


def tell(**event: Any) -> None:
    """One line, handed to the kernel: no kill can tear it."""
    os.write(1, json.dumps(event).encode() + b"\n")


class Chronicle(Actor):
    """Stands first in the tree and tells of restarts, of components and of workflows."""

    async def on_start(self) -> None:
        """Listen from now on."""
        self.system.telemetry.listen(self.restarted, ChildRestarted)
        self.system.telemetry.listen(self.recovered, Recovered)

    def restarted(self, event: ChildRestarted) -> None:
        """A component is up again."""
        tell(event="restarted", child=event.child.path.rpartition("/")[2])

    def recovered(self, event: Recovered) -> None:
        """The mediator has found workflows in its journal that had not ended."""
        tell(event="recovered", runs=event.runs)


@attrs.define
class Customers(Actor):
    """Place all orders, so many at a time, and go home. Orders placed before are joined."""

    orders: Sequence[Order]

    def on_ready(self) -> None:
        """Begin."""
        self.start_soon(self.come)
        self.start_soon(self.hear)

    async def come(self) -> None:
        """All of them; when the last one goes, the shop closes."""
        shop = self.system.whereis("orders")
        assert shop is not None, "it is started before its customers"
        room = trio.Semaphore(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for order in self.orders:
                await room.acquire()
                nursery.start_soon(self.place, shop, order, room)
        tell(event="finished")
        self.stop()

    async def place(self, shop: Ref[Any], order: Order, room: trio.Semaphore) -> None:
        """Place one order and wait for its end."""
        try:
            placed = await shop.call(Start(PlaceOrder(order)))
            receipt = await placed.result()
            tell(event="ended", order=order.id, tracking=receipt.tracking)
        except (Refusal, StepFailed) as no:
            tell(event="ended", order=order.id, why=str(no))
        finally:
            room.release()

    async def hear(self) -> None:
        """Close early when nobody is at the other end of standard input any more."""
        await trio.lowlevel.wait_readable(0)
        self.stop()


def farewell(kill: str, message: Any) -> None:
    """The last words of a process."""
    tell(event="killed", kill=kill, order=getattr(message, "order", ""))


def main(directory: str, orders: str, count: str, *kills: str) -> None:
    """Run the shop over the first ``count`` orders of a file. Kills are ``Charge:17``."""
    file = Path(orders)
    taken = read_orders(file).orders[: int(count)]
    digest = zlib.crc32(file.read_bytes())
    os.chdir(directory)
    logging.basicConfig(filename="crashes.log", level=logging.WARNING)

    plan = [Kill.when(each, farewell) for each in kills]
    tell(event="began", pid=os.getpid(), file=digest, orders=len(taken))
    try:
        run(
            one_for_one(
                Child(Chronicle),
                Child(orders_in_trouble(*plan), name="orders"),
                Child(Customers, taken, restart="transient", significant=True),
                auto_shutdown="any_significant",
            )
        )
    finally:
        tell(event="left")


if __name__ == "__main__":
    main(*sys.argv[1:])
