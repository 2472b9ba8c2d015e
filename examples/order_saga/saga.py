"""The saga of one order: charge, reserve, ship; and if that cannot be, take it all back.

What it must not forget stands on the page of its order in the book: before a step is asked for, how
to undo it; and once it is decided to undo, why. So a saga that crashes is started again and goes
on: what was done already is answered from the ledgers, under the same keys.
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
from examples.order_saga.orderbook import Mark, OrderBook, Page
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

    page: Page
    book: OrderBook
    services: Mapping[str, Ref[Any]]
    trouble: Trouble
    desk: Ref[Any]

    async def on_ready(self) -> None:
        """Begins at once, and again after a crash."""
        self.book.begin(self.page)
        if not self.page.why:
            try:
                await self.place_order(self.page.order)
            except (Refusal, NoAnswer) as no:
                self.page.why = str(no)
        if self.page.why:
            await self.undo_all()
        self.book.finish(self.page)
        self.desk.cast(Finished(self.page.order.id))
        self.stop()

    async def place_order(self, order: Order) -> None:
        """The whole of it."""
        await self.step(Charge(f"{order.id}/charge", order), undo=Refund)
        await self.step(Reserve(f"{order.id}/reserve", order), undo=Release)
        await self.step(Ship(f"{order.id}/ship", order), undo=Recall)

    async def step(self, step: Step, undo: type[Undo]) -> None:
        """Have one step done. Its undo is noted first: once it is asked for, it may happen."""
        self.page.undos[step.key] = undo
        self.page.marks[step.key] = Mark.ASKED
        try:
            await self.ask(step, ATTEMPTS)
        except Refusal:
            del self.page.undos[step.key]  # "no" is an answer: there is nothing to take back
            self.page.marks[step.key] = Mark.REFUSED
            raise
        self.page.marks[step.key] = Mark.DONE

    async def undo_all(self) -> None:
        """Take back what was done, and what may have been done, the last first."""
        for key, undo in reversed(self.page.undos.items()):
            await self.ask(undo(key))
            self.page.marks[key] = Mark.UNDONE

    async def ask(self, message: Step | Undo, attempts: int | None = None) -> None:
        """Send a message until it is answered, with the same key every time.

        Raises the Refusal that is the answer; NoAnswer when the attempts are spent.
        """
        for attempt in count(1):
            try:
                component = self.services[message.to]
                await component.call(message, timeout=self.trouble.settings.patience)
                break
            except (ActorDied, CallTimeout, NoSuchActor) as error:
                if attempt == attempts:
                    raise NoAnswer(f"no answer from {message.to}") from error
                self.page.retries += 1
                await trio.sleep(PAUSE)
        if self.trouble.saga_falls(f"{type(message).__name__} {message.key}"):
            raise self.trouble.crash("saga", Fate.CRASH_AFTER, message.key)
