"""Understudy's durable workflows, as a user gets them: a mediator, components, an SQLite journal.

The components are plain actors with a trivial `def` handler for each message. The journal is a file
in a folder on a disk, with the mediator's defaults. What is parked waits in `receive` or `sleep`;
it counts as recovered when the new mediator has answered for every one of them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import attrs
import trio

from actors import Actor, Call, Ref, Refusal, handles, open_system
from benchmarks.disk import folder
from benchmarks.peers.harness import (
    AT_ONCE,
    LONG_HISTORY,
    Sample,
    Stopwatch,
    drifted,
    expect,
    main,
    median_ms,
    resident,
)
from benchmarks.peers.parking import hold, killed_and_recovered, perform_part
from mediators import Handle, Mediator, Start, Workflow
from supervisors import Child

PATIENCE = 600.0
"""Seconds to wait for the end of a workflow."""
A_MONTH = 30 * 86_400.0
STARTERS = 1_000
"""Starts in flight while workflows are parked, so that many share a commit."""
LOOK = 0.01
"""Seconds between two looks at a workflow that is still under way."""
AHEAD = 200
"""One in so many workflows is parked before the memory of the others is measured."""


# -- what the components are told


@attrs.frozen
class Payment:
    """What was paid."""

    id: str
    total: int


@attrs.frozen
class Parcel:
    """What was sent."""

    tracking: str


@attrs.frozen
class Charge(Call[Payment]):
    """Take the money."""

    order: str
    total: int


@attrs.frozen
class Refund(Call[None]):
    """Give it back."""

    payment: str


@attrs.frozen
class Reserve(Call[None]):
    """Keep the items for this order."""

    order: str
    items: list[str]


@attrs.frozen
class Release(Call[None]):
    """Keep them no longer."""

    order: str


@attrs.frozen
class Ship(Call[Parcel]):
    """Send the items."""

    order: str
    address: str


@attrs.frozen
class Recall(Call[None]):
    """Have them sent back."""

    order: str


@attrs.frozen
class Count(Call[int]):
    """Add one."""

    number: int


class OutOfReach(Refusal):
    """Nothing is sent to that address."""


NOWHERE = "nowhere"
stamps: list[float] = []
"""When each `Count` was handled."""


@attrs.define
class Payments(Actor):
    """Takes money and gives it back."""

    @handles
    def charge(self, msg: Charge) -> Payment:
        return Payment(f"payment-{msg.order}", msg.total)

    @handles
    def refund(self, msg: Refund) -> None:
        """Nothing to do."""


@attrs.define
class Inventory(Actor):
    """Keeps items."""

    @handles
    def reserve(self, msg: Reserve) -> None:
        """Nothing to do."""

    @handles
    def release(self, msg: Release) -> None:
        """Nothing to do."""


@attrs.define
class Shipping(Actor):
    """Sends items, but not everywhere."""

    @handles
    def ship(self, msg: Ship) -> Parcel:
        if msg.address == NOWHERE:
            raise OutOfReach(msg.order)
        return Parcel(f"parcel-{msg.order}")

    @handles
    def recall(self, msg: Recall) -> None:
        """Nothing to do."""


@attrs.define
class Counting(Actor):
    """Says one, and notes when."""

    @handles
    def count(self, msg: Count) -> int:
        stamps.append(time.perf_counter())
        return 1


# -- workflows


@attrs.define
class PlaceOrder(Workflow[str]):
    """Three steps, each with its undo."""

    order: str
    address: str
    total: int = 12_990
    items: list[str] = attrs.Factory(lambda: ["understudy", "stage"])

    @property
    def id(self) -> str:
        return self.order

    async def run(self) -> str:
        await self.step(Charge(self.order, self.total), undo=lambda paid: Refund(paid.id))
        await self.step(Reserve(self.order, self.items), undo=Release(self.order))
        parcel = await self.step(Ship(self.order, self.address), undo=Recall(self.order))
        return parcel.tracking


@attrs.frozen
class PickedUp:
    """The signal that parked workflows wait for."""

    by: str


@attrs.define
class AwaitPickup(Workflow[str]):
    """Waits for a signal."""

    parcel: str

    @property
    def id(self) -> str:
        return self.parcel

    async def run(self) -> str:
        return (await self.receive(PickedUp)).by


@attrs.define
class AwaitReturn(Workflow[str]):
    """Waits for a timer."""

    parcel: str

    @property
    def id(self) -> str:
        return self.parcel

    async def run(self) -> str:
        await self.sleep(A_MONTH)
        return "late"


@attrs.frozen
class Progress(Call[int]):
    """How many steps are done."""


@attrs.define
class Stocktake(Workflow[int]):
    """Counts step by step, and waits for a signal if it is told to."""

    place: str
    steps: int
    stays: bool
    counted: int = 0

    @property
    def id(self) -> str:
        return self.place

    async def run(self) -> int:
        for number in range(self.steps):
            self.counted += await self.step(Count(number))
        if self.stays:
            await self.receive(PickedUp)
        return self.counted

    @handles
    def progress(self, msg: Progress) -> int:
        return self.counted


# -- the mediator


def shop(where: Path) -> type[Mediator]:
    """A mediator whose journal is in a folder."""

    class Shop(Mediator):
        components = [Child(Payments), Child(Inventory), Child(Shipping), Child(Counting)]
        workflows = [PlaceOrder, AwaitPickup, AwaitReturn, Stocktake]
        types = [PickedUp, OutOfReach]
        journal = str(where / "journal.db")

    return Shop


@asynccontextmanager
async def opened(where: Path) -> AsyncIterator[Ref[Mediator]]:
    """The mediator, supervised, in a system of its own."""
    async with open_system() as system:
        yield await system.start(Child(shop(where)))


@asynccontextmanager
async def fresh() -> AsyncIterator[Ref[Mediator]]:
    """The same over an empty journal, which is removed afterwards."""
    with folder() as where:
        async with opened(where) as orders:
            yield orders


# -- sagas


async def saga(n: int) -> Sample:
    """One saga after the other."""
    sagas = [PlaceOrder(f"order-{number}", "7 Stage Door Lane") for number in range(n)]
    taken: list[float] = []
    async with fresh() as orders:
        with Stopwatch() as watch:
            for place in sagas:
                began = time.perf_counter()
                tracking = await orders.call(place, timeout=PATIENCE)
                taken.append(time.perf_counter() - began)
        expect(tracking, f"parcel-order-{n - 1}")
    return Sample(watch.seconds, {"p50_ms": median_ms(taken)})


async def at_once(
    address: str, perform: Callable[[Ref[Mediator], PlaceOrder], Awaitable[bool]], n: int
) -> Sample:
    """A hundred callers at once, each with one saga after the other."""
    ended = 0

    async def caller(mine: Iterator[PlaceOrder]) -> None:
        nonlocal ended
        for place in mine:
            there = await perform(orders, place)
            ended += there

    sagas = [PlaceOrder(f"order-{number}", address) for number in range(n)]
    async with fresh() as orders:
        with Stopwatch() as watch:
            async with trio.open_nursery() as callers:
                for first in range(AT_ONCE):
                    callers.start_soon(caller, iter(sagas[first::AT_ONCE]))
        expect(ended, n)
    return Sample(watch.seconds)


async def placed(orders: Ref[Mediator], place: PlaceOrder) -> bool:
    """Whether a saga ends well."""
    return await orders.call(place, timeout=PATIENCE) == f"parcel-{place.order}"


async def refused(orders: Ref[Mediator], place: PlaceOrder) -> bool:
    """Whether a saga ends with the refusal of its third step, when the others are undone."""
    try:
        await orders.call(place, timeout=PATIENCE)
    except OutOfReach:
        return True
    return False


async def long(n: int) -> Sample:
    """One workflow of n steps."""
    stamps.clear()
    async with fresh() as orders:
        with Stopwatch() as watch:
            counted = await orders.call(Stocktake("long", n, False), timeout=PATIENCE)
        stamps.append(time.perf_counter())
    expect((counted, len(stamps)), (n, n + 1))
    return drifted(stamps, watch.seconds)


# -- what survives kill -9


def id_of(work: str, number: int) -> str:
    """What the workflow that is parked under a number is called."""
    return f"place-{number}" if work == "replay" else f"parcel-{number}"


def parked(work: str, number: int) -> Workflow[str] | Workflow[int]:
    """The workflow that is parked under a number."""
    if work == "replay":
        return Stocktake(id_of(work, number), LONG_HISTORY, True)
    if work == "parked_timer":
        return AwaitReturn(id_of(work, number))
    return AwaitPickup(id_of(work, number))


def handle_of(orders: Ref[Mediator], work: str, number: int) -> Handle[object]:
    """A handle of it, made from its id."""
    return Handle(orders, id_of(work, number), type(parked(work, number)))


def sizes(work: str, n: int) -> tuple[int, int]:
    """How many workflows are parked to begin with, and how many there are in the end."""
    count = n // LONG_HISTORY if work == "replay" else n
    return count // AHEAD, count // AHEAD + count


async def start(orders: Ref[Mediator], work: str, numbers: range) -> None:
    """Start workflows, many to a commit, until all of them wait."""

    async def starter(mine: range) -> None:
        for number in mine:
            await orders.call(Start(parked(work, number)), timeout=PATIENCE)

    async with trio.open_nursery() as starters:
        for first in range(min(STARTERS, len(numbers))):
            starters.start_soon(starter, numbers[first::STARTERS])
    for number in numbers:
        await stands(orders, work, number)


async def stands(orders: Ref[Mediator], work: str, number: int) -> None:
    """Wait until a workflow has come to where it waits, as the mediator says when it is asked."""
    handle = handle_of(orders, work, number)
    while True:
        if work == "replay":
            there = await handle.query(Progress()) == LONG_HISTORY
        else:
            there = str(await handle.status()) == "waiting"
        if there:
            return
        await trio.sleep(LOOK)


def park(work: str, n: int, where: Path) -> None:
    """Start workflows, and tell what each adds to the memory of the process."""
    ahead, total = sizes(work, n)

    async def parked_ones() -> None:
        async with opened(where) as orders:
            await start(orders, work, range(ahead))
            before = resident()
            began = time.perf_counter()
            await start(orders, work, range(ahead, total))
            seconds = time.perf_counter() - began
            hold(bytes_each=(resident() - before) / (total - ahead), park_seconds=seconds)

    trio.run(parked_ones)


def recover(work: str, n: int, where: Path) -> None:
    """Open the journal of the process that was killed, until all stand where they stood."""
    _, total = sizes(work, n)

    async def recovered() -> None:
        before = resident()
        began = time.perf_counter()
        async with opened(where) as orders:
            opened_after = time.perf_counter() - began
            for number in range(total):
                await stands(orders, work, number)
            seconds = time.perf_counter() - began
            weight = (resident() - before) / total
            if work != "parked_timer":
                last = handle_of(orders, work, total - 1)
                await last.signal(PickedUp("you"))
                expect(await last.result(), LONG_HISTORY if work == "replay" else "you")
            outcomes = total * LONG_HISTORY if work == "replay" else total
            hold(
                recover_seconds=seconds,
                open_seconds=opened_after,
                recovered_bytes_each=weight,
                count=outcomes,
            )

    trio.run(recovered)


async def killed(work: str, n: int) -> Sample:
    """The same in other processes; what this one does meanwhile is wait."""
    return killed_and_recovered(work, n)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    perform_part({"park": park, "recover": recover})
    works: dict[str, Callable[[int], Awaitable[Sample]]] = {
        "saga": saga,
        "saga_100": partial(at_once, "7 Stage Door Lane", placed),
        "saga_fail": partial(at_once, NOWHERE, refused),
        "long": long,
        **{
            name: partial(killed, name)
            for name in ("parked_signal", "parked_timer", "parked_million", "replay")
        },
    }
    main("understudy", works, trio.run)
