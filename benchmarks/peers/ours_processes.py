"""Understudy over several processes, as a user gets it: isolated actors, pools, sharded mediators.

The crashes are real ones; `replace_*` measures from the call that kills to the answer of the
successor. The sagas are those of `saga_100`.
"""

from __future__ import annotations

import logging
import os
import signal
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import attrs
import trio

from actors import Actor, ActorDied, Call, Process, Ref, handles, open_system
from benchmarks.disk import folder
from benchmarks.peers.computing import compute
from benchmarks.peers.harness import CALLERS, Sample, Stopwatch, expect, main, median_ms
from benchmarks.peers.ours_files import a_day_of_files
from benchmarks.peers.ours_sagas import (
    Charge,
    Inventory,
    OutOfReach,
    Parcel,
    Payment,
    Payments,
    PlaceOrder,
    Reserve,
    Ship,
    Shipping,
)
from mediators import Mediator
from supervisors import Child, Pool, Shards, one_for_one

AT_ONCE = 2_000
FEWER = 400
"""Sagas under way: enough for two processes to be busy while others wait for the disk."""
PATIENCE = 600.0
A_BIT = 1_600
"""Rounds of computing: a tenth of a millisecond."""


@attrs.frozen
class Add(Call[int]):
    """Add an amount; answered by the total."""

    amount: int


@attrs.frozen
class Nothing(Call[None]):
    """A job that does nothing."""


@attrs.frozen
class Compute(Call[int]):
    """A job of some milliseconds."""

    seed: int


@attrs.frozen
class Die(Call[None]):
    """A segmentation fault."""


@attrs.define
class Worker(Actor):
    """Does all of it."""

    total: int = 0

    @handles
    def add(self, msg: Add) -> int:
        self.total += msg.amount
        return self.total

    @handles
    def nothing(self, msg: Nothing) -> None:
        """Nothing to do."""

    @handles
    def compute(self, msg: Compute) -> int:
        return compute(msg.seed)

    @handles
    def die(self, msg: Die) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


async def call_all(ref: Ref[Any], messages: Sequence[Call[Any]], callers: int = CALLERS) -> None:
    """Callers that share the messages, each with one call after the other."""

    left = iter(messages)

    async def caller() -> None:
        for message in left:
            await ref.call(message, timeout=PATIENCE)

    async with trio.open_nursery() as nursery:
        for _ in range(callers):
            nursery.start_soon(caller)


async def isolated_call(n: int) -> Sample:
    """One call after the other."""
    taken: list[float] = []
    async with open_system() as system:
        ref = await system.start(Child(Worker, isolation="process"))
        one = Add(1)
        with Stopwatch() as watch:
            for _ in range(n):
                began = time.perf_counter()
                await ref.call(one)
                taken.append(time.perf_counter() - began)
        expect(await ref.call(Add(0)), n)
    return Sample(watch.seconds, {"p50_ms": median_ms(taken)})


async def isolated_call_100(n: int) -> Sample:
    """A hundred callers."""
    async with open_system() as system:
        ref = await system.start(Child(Worker, isolation="process"))
        with Stopwatch() as watch:
            await call_all(ref, [Add(1)] * n)
        expect(await ref.call(Add(0)), n)
    return Sample(watch.seconds)


async def pool_dispatch(n: int) -> Sample:
    """A hundred callers, two workers."""
    async with open_system() as system:
        pool = await system.start(Pool(Child(Worker, isolation="process"), min=2, max=2))
        await call_all(pool, [Nothing()] * CALLERS)
        with Stopwatch() as watch:
            await call_all(pool, [Nothing()] * n)
    return Sample(watch.seconds)


async def cpu_two(n: int) -> Sample:
    """One worker, then two."""
    seconds: list[float] = []
    jobs = [Compute(seed) for seed in range(n)]
    for workers in (1, 2):
        async with open_system() as system:
            spec = Pool(Child(Worker, isolation="process"), min=workers, max=workers)
            pool = await system.start(spec)
            await call_all(pool, [Nothing()] * CALLERS)
            with Stopwatch() as watch:
                await call_all(pool, jobs)
        seconds.append(watch.seconds)
    return Sample(seconds[1], {"speedup": seconds[0] / seconds[1]})


async def replace(warm: bool, n: int) -> Sample:
    """It dies, and its successor answers."""
    worker = Child(Worker, isolation=Process(warm=warm), name="worker")
    taken: list[float] = []
    async with open_system(one_for_one(worker, max_restarts=1_000_000)) as system:
        ref = system.whereis("worker")
        assert ref is not None
        await ref.call(Add(1))
        with Stopwatch() as watch:
            for _ in range(n):
                began = time.perf_counter()
                try:
                    await ref.call(Die())
                except ActorDied:
                    pass
                expect(await ref.call(Add(1), timeout=PATIENCE), 1)
                taken.append(time.perf_counter() - began)
    return Sample(watch.seconds, {"replace_ms": 1e3 * statistics.median(taken)})


# -- sagas in shards


class Orders(Mediator):
    """The mediator of `saga_100`."""

    components = [Child(Payments), Child(Inventory), Child(Shipping)]
    workflows = [PlaceOrder]
    types = [OutOfReach]

    def __init__(self, journal: str) -> None:
        self.journal = journal


class BusyPayments(Payments):
    """Computes a bit."""

    @handles
    def charge(self, msg: Charge) -> Payment:
        compute(1, A_BIT)
        return super().charge(msg)


class BusyInventory(Inventory):
    """Computes a bit."""

    @handles
    def reserve(self, msg: Reserve) -> None:
        compute(2, A_BIT)


class BusyShipping(Shipping):
    """Computes a bit."""

    @handles
    def ship(self, msg: Ship) -> Parcel:
        compute(3, A_BIT)
        return super().ship(msg)


class BusyOrders(Orders):
    """The same with components that have something to do."""

    components = [Child(BusyPayments), Child(BusyInventory), Child(BusyShipping)]


async def sharded(mediator: type[Orders], at_once: int, n: int) -> Sample:
    """In one process, then in two shards over two."""
    seconds: list[float] = []
    sagas = [PlaceOrder(f"order-{number}", "7 Stage Door Lane") for number in range(n)]
    some = [PlaceOrder(f"early-{number}", "7 Stage Door Lane") for number in range(at_once)]
    for processes in (0, 2):
        with folder() as where:
            child = Child(mediator, str(where / "journal.db"))
            spec = Shards(child, count=2, processes=processes) if processes else child
            async with open_system() as system:
                orders = await system.start(spec)
                await call_all(orders, some)
                with Stopwatch() as watch:
                    await call_all(orders, sagas, at_once)
        seconds.append(watch.seconds)
    return Sample(seconds[1], {"speedup": seconds[0] / seconds[1]})


def on_trio(work: Callable[[int], Awaitable[Sample]]) -> Callable[[int], Sample]:
    """A work as a plain function."""
    return lambda n: trio.run(work, n)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    works: dict[str, Callable[[int], Sample]] = {
        "isolated_call": on_trio(isolated_call),
        "isolated_call_100": on_trio(isolated_call_100),
        "pool_dispatch": on_trio(pool_dispatch),
        "cpu_two": on_trio(cpu_two),
        "replace_warm": on_trio(partial(replace, True)),
        "replace_cold": on_trio(partial(replace, False)),
        "sharded_saga": on_trio(partial(sharded, Orders, AT_ONCE)),
        "sharded_saga_400": on_trio(partial(sharded, Orders, FEWER)),
        "sharded_work": on_trio(partial(sharded, BusyOrders, AT_ONCE)),
        "files_250k": a_day_of_files,
    }
    main("understudy", works, lambda work, n: work(n))
