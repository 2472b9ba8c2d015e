"""The saga of one order: charge, reserve, ship; and if that cannot be, take it all back.

It remembers nothing that it could not do without. A saga that crashes begins again, and what was
done already is answered from the books under the same keys.
"""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors import Actor, ActorDied, CallTimeout, NoSuchActor, Refusal
from examples.order_saga.messages import (
    Charge,
    Recall,
    Refund,
    Release,
    Reserve,
    Ship,
    Step,
    Undo,
)
from examples.order_saga.orderbook import Mark, OrderBook, Status
from examples.order_saga.trouble import Fate, Trouble

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors import Ref
    from examples.order_saga.orders import Order

ATTEMPTS = 5
"""How often a step is tried before the order is undone. Undoing is never given up."""
PAUSE = 0.01
"""Seconds between two attempts."""


class NoAnswer(Exception):
    """All attempts were spent, and nobody knows whether the step has happened."""


@attrs.frozen
class Finished:
    """To the desk: this order needs no more attention."""

    order: str


@attrs.define
class Saga(Actor):
    """Takes one order through the shop."""

    order: Order
    services: Mapping[str, Ref[Any]]
    book: OrderBook
    trouble: Trouble
    desk: Ref[Any]
    undos: list[tuple[type[Undo], str]] = attrs.field(init=False, factory=list)

    async def on_ready(self) -> None:
        """Begins at once, and again after a crash."""
        self.book.begin(self.order.id)
        try:
            await self.place_order()
        except (Refusal, NoAnswer) as no:
            await self.undo_all(why=str(no))
            self.book.finish(self.order.id, Status.UNDONE, str(no))
        else:
            self.book.finish(self.order.id, Status.COMPLETE)
        self.desk.cast(Finished(self.order.id))
        self.stop()

    async def place_order(self) -> None:
        """The whole of it."""
        order = self.order
        await self.step(Charge(f"{order.id}/charge", order), undo=Refund)
        await self.step(Reserve(f"{order.id}/reserve", order), undo=Release)
        await self.step(Ship(f"{order.id}/ship", order), undo=Recall)

    async def step(self, step: Step, undo: type[Undo]) -> None:
        """Have one step done. Its undo is noted first: once it is asked for, it may happen."""
        self.undos.append((undo, step.key))
        self.mark(step.key, Mark.ASKED)
        try:
            await self.ask(step, ATTEMPTS)
        except Refusal:
            self.mark(step.key, Mark.REFUSED)
            self.undos.pop()  # "no" is an answer: there is nothing to take back
            raise
        except NoAnswer:
            self.mark(step.key, Mark.UNKNOWN)
            raise
        self.mark(step.key, Mark.DONE)

    async def undo_all(self, why: str) -> None:
        """Take back what was done, and what may have been done, the last first."""
        while self.undos:
            undo, key = self.undos.pop()
            await self.ask(undo(key, why))
            self.mark(key, Mark.UNDONE)

    async def ask(self, message: Step | Undo, attempts: int | None = None) -> None:
        """Send a message until it is answered, with the same key every time.

        Raises the Refusal that is the answer; NoAnswer when the attempts are spent.
        """
        patience = self.trouble.settings.patience
        for attempt in count(1):
            try:
                await self.services[message.to].call(message, timeout=patience)
                break
            except (ActorDied, CallTimeout, NoSuchActor) as error:
                if attempt == attempts:
                    raise NoAnswer(f"no answer from {message.to}") from error
                self.book.retry(self.order.id)
                await trio.sleep(PAUSE)
        if self.trouble.saga_falls(f"{type(message).__name__} {message.key}"):
            raise self.trouble.crash("saga", Fate.CRASH_AFTER, message.key)

    def mark(self, key: str, mark: Mark) -> None:
        """Enter in the order book how far a step has come."""
        order, _, step = key.partition("/")
        self.book.mark(order, step, mark)
