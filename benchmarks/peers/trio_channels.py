"""Raw trio: a task and an unbounded memory channel per actor, `send_nowait` to cast.

A call carries a channel of its own for the reply. There is no supervisor: `crash` is a hand-written
loop around the task, and `spawn` starts the tasks in a plain nursery.
"""

from __future__ import annotations

import math
import time

import trio
import trio.testing

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

Replies = trio.MemorySendChannel[int]
Message = tuple[int, Replies | None]
Inbox = trio.MemoryReceiveChannel[Message]
Outbox = trio.MemorySendChannel[Message]

ADD: Message = (1, None)
CRASH: Message = (-1, None)


class Boom(Exception):
    """What a counter dies of."""


async def counter(inbox: Inbox) -> None:
    """Add up what arrives, and tell the total to whoever asks."""
    total = 0
    async for amount, replies in inbox:
        if amount < 0:
            raise Boom
        total += amount
        if replies is not None:
            replies.send_nowait(total)


def open_counter(nursery: trio.Nursery) -> Outbox:
    outbox, inbox = trio.open_memory_channel[Message](math.inf)
    nursery.start_soon(counter, inbox)
    return outbox


async def ask(outbox: Outbox, amount: int) -> int:
    """Call: one round trip, the reply on a channel made for it."""
    replies, answer = trio.open_memory_channel[int](1)
    outbox.send_nowait((amount, replies))
    return await answer.receive()


async def cast(n: int) -> Sample:
    """One sender, one counter, until all is added up."""
    async with trio.open_nursery() as nursery:
        outbox = open_counter(nursery)
        with Stopwatch() as watch:
            for _ in range(n // BURST):
                for _ in range(BURST):
                    outbox.send_nowait(ADD)
                total = await ask(outbox, 0)
        outbox.close()
    expect(total, n)
    return Sample(watch.seconds)


async def call(n: int) -> Sample:
    """One caller, one counter, one call after the other."""
    async with trio.open_nursery() as nursery:
        outbox = open_counter(nursery)
        with Stopwatch() as watch:
            for _ in range(n):
                total = await ask(outbox, 1)
        outbox.close()
    expect(total, n)
    return Sample(watch.seconds)


async def call_100(n: int) -> Sample:
    """A hundred callers at once, one counter."""

    async def caller() -> None:
        for _ in range(n // CALLERS):
            await ask(outbox, 1)

    async with trio.open_nursery() as nursery:
        outbox = open_counter(nursery)
        with Stopwatch() as watch:
            async with trio.open_nursery() as callers:
                for _ in range(CALLERS):
                    callers.start_soon(caller)
        expect(await ask(outbox, 0), n)
        outbox.close()
    return Sample(watch.seconds)


async def ring(n: int) -> Sample:
    """A token goes round a ring of actors."""
    laps = n // RING
    done = trio.Event()

    async def first(
        inbox: trio.MemoryReceiveChannel[int], onward: trio.MemorySendChannel[int]
    ) -> None:
        left = laps
        async for token in inbox:
            left -= 1
            if left == 0:
                done.set()
            else:
                onward.send_nowait(token)

    async def member(
        inbox: trio.MemoryReceiveChannel[int], onward: trio.MemorySendChannel[int]
    ) -> None:
        async for token in inbox:
            onward.send_nowait(token)

    channels = [trio.open_memory_channel[int](math.inf) for _ in range(RING)]
    async with trio.open_nursery() as nursery:
        for place, (_, inbox) in enumerate(channels):
            onward = channels[(place + 1) % RING][0]
            nursery.start_soon(member if place else first, inbox, onward)
        await trio.testing.wait_all_tasks_blocked()
        with Stopwatch() as watch:
            channels[1][0].send_nowait(1)
            await done.wait()
        nursery.cancel_scope.cancel()
    return Sample(watch.seconds)


async def fanout(n: int) -> Sample:
    """A hub sends to a thousand counters and gathers a thousand answers, again and again."""
    gathered = 0
    async with trio.open_nursery() as nursery:
        outboxes = [open_counter(nursery) for _ in range(FAN)]
        replies, answers = trio.open_memory_channel[int](math.inf)
        request: Message = (1, replies)
        await trio.testing.wait_all_tasks_blocked()
        with Stopwatch() as watch:
            for _ in range(n // FAN):
                for outbox in outboxes:
                    outbox.send_nowait(request)
                for _ in range(FAN):
                    await answers.receive()
                    gathered += 1
        nursery.cancel_scope.cancel()
    expect(gathered, n)
    return Sample(watch.seconds)


async def spawn(n: int) -> Sample:
    """Start n tasks with a channel each until all of them wait, then close and await them."""
    waiting = 0

    async def worker(inbox: Inbox) -> None:
        nonlocal waiting
        waiting += 1
        await counter(inbox)

    outboxes: list[Outbox] = []
    with Stopwatch() as watch:
        async with trio.open_nursery() as nursery:
            began = time.perf_counter()
            for _ in range(n):
                outbox, inbox = trio.open_memory_channel[Message](math.inf)
                nursery.start_soon(worker, inbox)
                outboxes.append(outbox)
            while waiting < n:
                await trio.lowlevel.checkpoint()
            started = time.perf_counter() - began
            for outbox in outboxes:
                outbox.close()
    return spawned(started, watch.seconds - started)


async def memory(n: int) -> Sample:
    """What n idle tasks with a channel each weigh."""
    before = resident()
    async with trio.open_nursery() as nursery:
        with Stopwatch() as watch:
            outboxes = [open_counter(nursery) for _ in range(n)]
            await trio.testing.wait_all_tasks_blocked()
        after = resident()
        expect(len(outboxes), n)
        nursery.cancel_scope.cancel()
    return weighed(before, after, n, watch.seconds)


async def crash(n: int) -> Sample:
    """The counter dies, a loop starts it again on the same channel, and it answers a call."""

    async def again_and_again(inbox: Inbox) -> None:
        while True:
            try:
                await counter(inbox)
            except Boom:
                continue
            return

    async with trio.open_nursery() as nursery:
        outbox, inbox = trio.open_memory_channel[Message](math.inf)
        nursery.start_soon(again_and_again, inbox)
        with Stopwatch() as watch:
            for _ in range(n):
                outbox.send_nowait(CRASH)
                total = await ask(outbox, 1)
        outbox.close()
    expect(total, 1)
    return Sample(watch.seconds)


if __name__ == "__main__":
    works = {
        work.__name__: work for work in (cast, call, call_100, ring, fanout, spawn, memory, crash)
    }
    main("trio", {**works, "call_async": call, "spawn_100k": spawn}, trio.run)
