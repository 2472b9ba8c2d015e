"""Understudy, as a user gets it: `open_system()`, supervised actors, defaults everywhere.

Every actor is a child of a supervisor: `system.start(Child(...))` puts it under the system's
dynamic supervisor, `spawn` and `memory` start a `DynamicSupervisor` of their own, and the crashes
happen under `one_for_one`.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from actors import Actor, Call, Ref, System, handles, open_system
from benchmarks.peers.harness import (
    BURST,
    CALLERS,
    FAN,
    FLEET,
    RING,
    Sample,
    Stopwatch,
    expect,
    main,
    resident,
    spawned,
    weighed,
)
from supervisors import Child, DynamicSupervisor, StartChild, WhichChildren, one_for_one


@attrs.frozen
class Add:
    """One-way: add this."""

    amount: int


@attrs.frozen
class Plus(Call[int]):
    """Add this and answer with the total."""

    amount: int


@attrs.frozen
class PlusLater(Call[int]):
    """The same, from an `async def` handler."""

    amount: int


@attrs.frozen
class Crash:
    """Raise."""


class Boom(Exception):
    """What a counter dies of."""


@attrs.define
class Counter(Actor):
    """Adds up what arrives, and answers with the total."""

    total: int = 0

    @handles
    def add(self, msg: Add) -> None:
        self.total += msg.amount

    @handles
    def plus(self, msg: Plus) -> int:
        self.total += msg.amount
        return self.total

    @handles
    async def plus_later(self, msg: PlusLater) -> int:
        return await self.added(msg.amount)

    @handles
    def crash(self, msg: Crash) -> None:
        raise Boom

    async def added(self, amount: int) -> int:
        self.total += amount
        return self.total


@attrs.frozen
class Token:
    """What goes round the ring."""


@attrs.frozen
class Link(Call[None]):
    """Tell a member of the ring who is next."""

    onward: Ref[Member]


class Member(Actor):
    """Passes the token on."""

    onward: Ref[Member]

    @handles
    def link(self, msg: Link) -> None:
        self.onward = msg.onward

    @handles
    def token(self, msg: Token) -> None:
        self.onward.cast(msg)


class First(Member):
    """Counts the laps, and says when they are done."""

    def __init__(self, laps: int, done: trio.Event) -> None:
        self.left, self.done = laps, done

    @handles
    def token(self, msg: Token) -> None:
        self.left -= 1
        if self.left:
            self.onward.cast(msg)
        else:
            self.done.set()


@attrs.frozen
class Go:
    """Start the rounds."""

    rounds: int
    done: trio.Event


@attrs.frozen
class Ask:
    """Answer this hub."""

    hub: Ref[Hub]


@attrs.frozen
class Answer:
    """What a worker sends back."""


ANSWER = Answer()


class Worker(Actor):
    """Answers the hub that asks."""

    @handles
    def ask(self, msg: Ask) -> None:
        msg.hub.cast(ANSWER)


class Hub(Actor):
    """Asks all workers, gathers their answers, and starts over until the rounds are done."""

    def __init__(self, workers: list[Ref[Worker]]) -> None:
        self.workers = workers
        self.gathered = 0

    @handles
    def go(self, msg: Go) -> None:
        self.rounds, self.done = msg.rounds, msg.done
        self.ask_all()

    @handles
    def answer(self, msg: Answer) -> None:
        self.gathered += 1
        if self.gathered == len(self.workers):
            self.gathered = 0
            self.rounds -= 1
            if self.rounds:
                self.ask_all()
            else:
                self.done.set()

    def ask_all(self) -> None:
        ask = Ask(self.ref)
        for worker in self.workers:
            worker.cast(ask)


@asynccontextmanager
async def counter() -> AsyncIterator[Ref[Counter]]:
    """A supervised counter in a system of its own."""
    async with open_system() as system:
        yield await system.start(Child(Counter))


async def add_up(ref: Ref[Counter], n: int) -> int:
    """Cast n messages in bursts, a call at the end of each, and return the total."""
    add, nothing = Add(1), Plus(0)
    total = 0
    for _ in range(n // BURST):
        for _ in range(BURST):
            ref.cast(add)
        total = await ref.call(nothing)
    return total


async def cast(n: int) -> Sample:
    """One sender, one counter, until all is added up."""
    async with counter() as ref:
        with Stopwatch() as watch:
            total = await add_up(ref, n)
    expect(total, n)
    return Sample(watch.seconds)


async def calls(message: Call[int], n: int) -> Sample:
    async with counter() as ref:
        with Stopwatch() as watch:
            for _ in range(n):
                total = await ref.call(message)
    expect(total, n)
    return Sample(watch.seconds)


async def call(n: int) -> Sample:
    """One caller, one counter with a plain handler, one call after the other."""
    return await calls(Plus(1), n)


async def call_async(n: int) -> Sample:
    """One caller, one counter with an `async def` handler, one call after the other."""
    return await calls(PlusLater(1), n)


async def call_100(n: int) -> Sample:
    """A hundred callers at once, one counter."""
    plus = Plus(1)

    async def caller() -> None:
        for _ in range(n // CALLERS):
            await ref.call(plus)

    async with counter() as ref:
        with Stopwatch() as watch:
            async with trio.open_nursery() as callers:
                for _ in range(CALLERS):
                    callers.start_soon(caller)
        expect(await ref.call(Plus(0)), n)
    return Sample(watch.seconds)


async def ring(n: int) -> Sample:
    """A token goes round a ring of actors."""
    done = trio.Event()
    async with open_system() as system:
        first = await system.start(Child(First, n // RING, done))
        members = [first, *[await system.start(Child(Member)) for _ in range(RING - 1)]]
        for place, member in enumerate(members):
            await member.call(Link(members[(place + 1) % RING]))
        with Stopwatch() as watch:
            members[1].cast(Token())
            await done.wait()
    return Sample(watch.seconds)


async def fanout(n: int) -> Sample:
    """A hub sends to a thousand workers and gathers a thousand answers, again and again."""
    done = trio.Event()
    async with open_system() as system:
        workers = [await system.start(Child(Worker)) for _ in range(FAN)]
        hub = await system.start(Child(Hub, workers))
        with Stopwatch() as watch:
            hub.cast(Go(n // FAN, done))
            await done.wait()
    return Sample(watch.seconds)


async def start_crew(system: System, n: int) -> Ref[DynamicSupervisor]:
    """A dynamic supervisor with n counters, each asked for with a call."""
    crew = await system.start(DynamicSupervisor)
    for _ in range(n):
        await crew.call(StartChild(Child(Counter)))
    return crew


async def spawn(n: int) -> Sample:
    """Start n counters under a dynamic supervisor, then stop the supervisor."""
    async with open_system() as system:
        with Stopwatch() as watch:
            began = time.perf_counter()
            crew = await start_crew(system, n)
            started = time.perf_counter() - began
            await crew.stop()
    return spawned(started, watch.seconds - started)


async def memory(n: int) -> Sample:
    """What n idle supervised counters weigh."""
    async with open_system() as system:
        before = resident()
        with Stopwatch() as watch:
            crew = await start_crew(system, n)
        after = resident()
        await crew.stop()
    return weighed(before, after, n, watch.seconds)


async def crashes(supervisors: int, n: int) -> Sample:
    fatal, plus = Crash(), Plus(1)
    async with open_system() as system:
        refs: list[Ref[Counter]] = []
        for _ in range(supervisors):
            guard = await system.start(one_for_one(Child(Counter), max_restarts=10**9, within=1.0))
            (child,) = await guard.call(WhichChildren())
            refs.append(child.ref)
        with Stopwatch() as watch:
            for turn in range(n):
                ref = refs[turn % supervisors]
                ref.cast(fatal)
                total = await ref.call(plus)
    expect(total, 1)
    return Sample(watch.seconds)


async def crash(n: int) -> Sample:
    """A child dies, its supervisor starts it again, and it answers a call."""
    return await crashes(1, n)


async def crash_spread(n: int) -> Sample:
    """The same, the crashes spread over a fleet of supervisors."""
    return await crashes(FLEET, n)


async def flat(n: int) -> Sample:
    """Send n messages through one actor: is the process as small afterwards as before?"""
    async with counter() as ref:
        await add_up(ref, 10 * BURST)
        before = resident()
        with Stopwatch() as watch:
            total = await add_up(ref, n)
        after = resident()
    expect(total, n + 10 * BURST)
    return Sample(watch.seconds, {"before_bytes": before, "after_bytes": after})


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    works = {
        work.__name__: work
        for work in (cast, call, call_100, call_async, ring, fanout, spawn, memory)
    }
    works |= {work.__name__: work for work in (crash, crash_spread, flat)}
    main("understudy", {**works, "spawn_100k": spawn}, trio.run)
