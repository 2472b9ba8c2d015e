"""A shop whose orders are in shards: in a module, so that a worker can import it."""

from __future__ import annotations

import os
from typing import Any

import attrs

from actors import Actor, Call, Refusal, handles
from mediators import Mediator, Retry, Workflow
from supervisors import Child


@attrs.frozen
class Pay(Call[str]):
    order: str


@attrs.frozen
class Unpay(Call[None]):
    order: str


@attrs.frozen
class Ship(Call[str]):
    order: str
    item: str


@attrs.frozen
class Fall(Call[None]):
    """Crashes its component."""


@attrs.frozen
class PidOf(Call[int]):
    """In which process the mediator of this order lives."""

    id: str
    crash: bool = False


@attrs.frozen
class Approved:
    by: str


@attrs.frozen
class Progress(Call[str]):
    """How far it is."""


class OutOfStock(Refusal):
    """There is none of it."""


class Counter(Actor):
    """Takes money, ships, and falls."""

    @handles
    def pay(self, msg: Pay) -> str:
        return f"{msg.order} paid"

    @handles
    def unpay(self, msg: Unpay) -> None:
        """Nothing to do."""

    @handles
    def ship(self, msg: Ship) -> str:
        if msg.item == "nothing":
            raise OutOfStock(msg.order)
        return "shipped"

    @handles
    def fall(self, msg: Fall) -> None:
        raise ValueError("it has fallen")


@attrs.define
class Place(Workflow[str]):
    id: str
    item: str = "book"

    async def run(self) -> str:
        paid = await self.step(Pay(self.id), undo=Unpay(self.id))
        shipped = await self.step(Ship(self.id, self.item))
        return f"{paid}, {shipped}"


@attrs.define
class Broken(Workflow[None]):
    id: str

    async def run(self) -> None:
        await self.step(Fall(), retry=Retry(attempts=2, first=0.0, cap=0.0))


@attrs.define
class Nameless(Workflow[str]):
    text: str

    async def run(self) -> str:
        await self.step(Pay(self.text))
        return self.text


@attrs.define
class Waits(Workflow[str]):
    id: str
    stands: str = "new"

    async def run(self) -> str:
        await self.step(Pay(self.id))
        self.stands = "waiting"
        return (await self.receive(Approved)).by

    @handles
    def progress(self, msg: Progress) -> str:
        return self.stands


@attrs.define
class Family(Workflow[int]):
    id: str
    names: list[str]

    async def run(self) -> int:
        found = [await self.child(Nameless(name)) for name in self.names]
        return len(found)


class Shop(Mediator):
    components = [Child(Counter)]
    workflows = [Place, Broken, Nameless, Waits, Family]
    types = [Approved]

    def __init__(self, journal: Any = None) -> None:
        self.journal = journal

    @staticmethod
    def shard_key(message: Any) -> Any:
        return message.id if isinstance(message, PidOf) else Mediator.shard_key(message)

    @handles
    def pid(self, msg: PidOf) -> int:
        if msg.crash:
            raise ValueError("it crashes")
        return os.getpid()


def shop(journal: Any = None) -> type[Mediator]:
    """A shop with its journal in the class."""
    where = journal

    class Here(Shop):
        journal = where

        def __init__(self) -> None:
            """Nothing to set."""

    return Here
