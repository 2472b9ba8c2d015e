"""triotp 0.2: gen_servers and supervisors on the trio of its time, in a virtualenv of its own.

It has no way to stop a supervisor but to cancel the nursery it runs in, which is what `spawn` does.
A restarted server has a new mailbox, which it announces from `init`.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import trio
import trio.testing
from triotp import application, dynamic_supervisor, gen_server, node, supervisor

from benchmarks.peers.harness import (
    BURST,
    CALLERS,
    FAN,
    RING,
    Sample,
    Stopwatch,
    expect,
    main,
    resident,
    spawned,
    weighed,
)

CRASH = -1

Result = tuple[object, object]


class Boom(Exception):
    """What a counter dies of."""


class Server:
    """A gen_server's callbacks: triotp takes modules, and a class will do."""

    @staticmethod
    async def init(state: Any) -> Any:
        return state

    @staticmethod
    async def terminate(reason: object, state: object) -> None:
        """Defined, so that triotp does not log a crash that is the point of the work."""


class Counter(Server):
    """Adds up what arrives, and answers with the total."""

    @staticmethod
    async def handle_call(amount: int, caller: object, total: int) -> Result:
        return gen_server.Reply(total + amount), total + amount

    @staticmethod
    async def handle_cast(amount: int, total: int) -> Result:
        if amount == CRASH:
            raise Boom
        return gen_server.NoReply(), total + amount


class First(Server):
    """Counts the laps of the token, and says when they are done: (laps, onward, done)."""

    @staticmethod
    async def handle_cast(token: int, state: tuple[int, str, trio.Event]) -> Result:
        laps, onward, done = state
        if laps == 1:
            done.set()
        else:
            await gen_server.cast(onward, token)
        return gen_server.NoReply(), (laps - 1, onward, done)


class Member(Server):
    """Passes the token on."""

    @staticmethod
    async def handle_cast(token: int, onward: str) -> Result:
        await gen_server.cast(onward, token)
        return gen_server.NoReply(), onward


class Worker(Server):
    """Answers whoever asks."""

    @staticmethod
    async def handle_cast(asker: trio.MemorySendChannel[int], state: None) -> Result:
        asker.send_nowait(1)
        return gen_server.NoReply(), state


class Announced(Counter):
    """A counter that says when it is up: the state it starts from is how."""

    @staticmethod
    async def init(announce: Callable[[], None]) -> int:
        announce()
        return 0


async def serve(module: type[Server], state: object, name: str) -> None:
    await gen_server.start(module, state, name)


def permanent(module: type[Server], state: object, name: str) -> supervisor.child_spec:
    return supervisor.child_spec(id=name, task=serve, args=[module, state, name])


async def supervised(nursery: trio.Nursery, *specs: supervisor.child_spec) -> None:
    """Start a supervisor with children, and wait until all of them wait for messages."""
    options = supervisor.options(max_restarts=sys.maxsize, max_seconds=1)
    await nursery.start(supervisor.start, list(specs), options)
    await trio.testing.wait_all_tasks_blocked()


async def cast(n: int, nursery: trio.Nursery) -> Sample:
    """One sender, one counter, until all is added up."""
    await supervised(nursery, permanent(Counter, 0, "counter"))
    with Stopwatch() as watch:
        for _ in range(n // BURST):
            for _ in range(BURST):
                await gen_server.cast("counter", 1)
            total = await gen_server.call("counter", 0)
    expect(total, n)
    return Sample(watch.seconds)


async def call(n: int, nursery: trio.Nursery) -> Sample:
    """One caller, one counter, one call after the other."""
    await supervised(nursery, permanent(Counter, 0, "counter"))
    with Stopwatch() as watch:
        for _ in range(n):
            total = await gen_server.call("counter", 1)
    expect(total, n)
    return Sample(watch.seconds)


async def call_100(n: int, nursery: trio.Nursery) -> Sample:
    """A hundred callers at once, one counter."""

    async def caller() -> None:
        for _ in range(n // CALLERS):
            await gen_server.call("counter", 1)

    await supervised(nursery, permanent(Counter, 0, "counter"))
    with Stopwatch() as watch:
        async with trio.open_nursery() as callers:
            for _ in range(CALLERS):
                callers.start_soon(caller)
    expect(await gen_server.call("counter", 0), n)
    return Sample(watch.seconds)


async def ring(n: int, nursery: trio.Nursery) -> Sample:
    """A token goes round a ring of actors."""
    done = trio.Event()
    names = [f"member-{place}" for place in range(RING)]
    await supervised(
        nursery,
        permanent(First, (n // RING, names[1], done), names[0]),
        *(permanent(Member, names[place % RING], names[place - 1]) for place in range(2, RING + 1)),
    )
    with Stopwatch() as watch:
        await gen_server.cast(names[1], 1)
        await done.wait()
    return Sample(watch.seconds)


async def fanout(n: int, nursery: trio.Nursery) -> Sample:
    """A hub sends to a thousand servers and gathers a thousand answers, again and again."""
    gathered = 0
    asker, answers = trio.open_memory_channel[int](math.inf)
    names = [f"worker-{place}" for place in range(FAN)]
    await supervised(nursery, *(permanent(Worker, None, name) for name in names))
    with Stopwatch() as watch:
        for _ in range(n // FAN):
            for name in names:
                await gen_server.cast(name, asker)
            for _ in range(FAN):
                await answers.receive()
                gathered += 1
    expect(gathered, n)
    return Sample(watch.seconds)


async def start_crew(n: int, nursery: trio.Nursery) -> None:
    """Start n counters under a dynamic supervisor, until each has run its `init`."""
    up = 0

    def announce() -> None:
        nonlocal up
        up += 1

    async def unnamed() -> None:
        await gen_server.start(Announced, announce)

    crew = await nursery.start(dynamic_supervisor.start, supervisor.options())
    for _ in range(n):
        spec = supervisor.child_spec(id="counter", task=unnamed, args=[])
        await dynamic_supervisor.start_child(crew, spec)
    while up < n:
        await trio.lowlevel.checkpoint()


async def spawn(n: int, nursery: trio.Nursery) -> Sample:
    """Start n servers under a dynamic supervisor, then cancel and await them."""
    with Stopwatch() as watch:
        async with trio.open_nursery() as crew:
            began = time.perf_counter()
            await start_crew(n, crew)
            started = time.perf_counter() - began
            crew.cancel_scope.cancel()
    return spawned(started, watch.seconds - started)


async def memory(n: int, nursery: trio.Nursery) -> Sample:
    """What n idle supervised servers weigh."""
    before = resident()
    with Stopwatch() as watch:
        await start_crew(n, nursery)
    await trio.testing.wait_all_tasks_blocked()
    return weighed(before, resident(), n, watch.seconds)


async def crash(n: int, nursery: trio.Nursery) -> Sample:
    """The server dies, its supervisor starts it again, and it answers a call."""
    ups, up = trio.open_memory_channel[None](math.inf)
    await supervised(nursery, permanent(Announced, partial(ups.send_nowait, None), "counter"))
    await up.receive()
    with Stopwatch() as watch:
        for _ in range(n):
            await gen_server.cast("counter", CRASH)
            await up.receive()
            total = await gen_server.call("counter", 1)
    expect(total, 1)
    return Sample(watch.seconds)


def on_node(work: Callable[[int, trio.Nursery], Awaitable[Sample]], n: int) -> Sample:
    """Perform a work as the application of a node, and stop the node."""
    samples: list[Sample] = []

    class Application:
        @staticmethod
        async def start(n: int) -> None:
            async with trio.open_nursery() as nursery:
                samples.append(await work(n, nursery))
                nursery.cancel_scope.cancel()

    node.run([application.app_spec(module=Application, start_arg=n, permanent=False)])
    return samples[0]


if __name__ == "__main__":
    works = {
        work.__name__: work for work in (cast, call, call_100, ring, fanout, spawn, memory, crash)
    }
    main("triotp", {**works, "call_async": call}, on_node)
