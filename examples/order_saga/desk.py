"""The desk: opens a saga for each order, so many at a time, and goes home when all are finished."""

from __future__ import annotations

from collections import deque
from typing import Any

import attrs

from actors import Actor, Ref, handles
from examples.order_saga.messages import SERVICES
from examples.order_saga.orderbook import OrderBook, Page
from examples.order_saga.saga import Finished, Saga
from examples.order_saga.trouble import Trouble
from supervisors import Child, StartChild


@attrs.frozen
class Close:
    """Take no further orders, and finish those under way."""


@attrs.define
class Desk(Actor):
    """Knows which orders are under way. After a crash it asks the book where things stand."""

    book: OrderBook
    trouble: Trouble
    waiting: deque[Page] = attrs.field(init=False, factory=deque)
    under_way: set[str] = attrs.field(init=False, factory=set)

    async def on_ready(self) -> None:
        """The shop opens."""
        self.waiting.extend(self.book.unfinished())
        await self.fill()

    @handles
    async def finished(self, msg: Finished) -> None:
        """One is done: room for another."""
        self.under_way.discard(msg.order)
        await self.fill()

    @handles
    def close(self, _: Close) -> None:
        """Those still waiting are not begun."""
        self.book.closed = True
        self.waiting.clear()
        self.go_home_if_done()

    async def fill(self) -> None:
        """Open sagas while there are orders and room."""
        while self.waiting and len(self.under_way) < self.trouble.settings.at_once:
            page = self.waiting.popleft()
            self.under_way.add(page.order.id)
            await self.registered("sagas").call(StartChild(self.saga(page)))
        self.go_home_if_done()

    def go_home_if_done(self) -> None:
        """An orderly end: the desk is significant, so its supervisors end as well."""
        if not self.waiting and not self.under_way:
            self.stop()

    def saga(self, page: Page) -> Child[Saga]:
        """Restarted after a crash, until it has come to an end."""
        services = {name: self.registered(name) for name in SERVICES}
        return Child(
            Saga,
            page,
            self.book,
            services,
            self.trouble,
            self.ref,
            id=f"order-{page.order.id}",
            restart="transient",
            backoff=self.trouble.settings.backoff,
        )

    def registered(self, name: str) -> Ref[Any]:
        """A ref holds for ever: whoever sits there answers, restarts or not."""
        ref = self.system.whereis(name)
        assert ref is not None, f"{name} is started before the desk"
        return ref
