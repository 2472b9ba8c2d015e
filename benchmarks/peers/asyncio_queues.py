"""asyncio: a task and an unbounded `asyncio.Queue` per actor, `put_nowait` to cast.

A call carries a future for the reply. There is no supervisor: `crash` is a hand-written loop around
the task, and `spawn` starts the tasks plainly and cancels them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any

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

Reply = Callable[[int], None]
Message = tuple[int, Reply | None]
Inbox = asyncio.Queue[Message]

ADD: Message = (1, None)
CRASH: Message = (-1, None)


class Boom(Exception):
    """What a counter dies of."""


async def counter(inbox: Inbox) -> None:
    """Add up what arrives, and tell the total to whoever asks."""
    total = 0
    while True:
        amount, reply = await inbox.get()
        if amount < 0:
            raise Boom
        total += amount
        if reply is not None:
            reply(total)


def open_counter() -> tuple[Inbox, asyncio.Task[None]]:
    inbox: Inbox = asyncio.Queue()
    return inbox, asyncio.create_task(counter(inbox))


async def ask(inbox: Inbox, amount: int) -> int:
    """Call: one round trip, the reply in a future made for it."""
    answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    inbox.put_nowait((amount, answer.set_result))
    return await answer


async def end(*tasks: asyncio.Task[None]) -> None:
    """Cancel tasks and await their end."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def cast(n: int) -> Sample:
    """One sender, one counter, until all is added up."""
    inbox, task = open_counter()
    with Stopwatch() as watch:
        for _ in range(n // BURST):
            for _ in range(BURST):
                inbox.put_nowait(ADD)
            total = await ask(inbox, 0)
    await end(task)
    expect(total, n)
    return Sample(watch.seconds)


async def call(n: int) -> Sample:
    """One caller, one counter, one call after the other."""
    inbox, task = open_counter()
    with Stopwatch() as watch:
        for _ in range(n):
            total = await ask(inbox, 1)
    await end(task)
    expect(total, n)
    return Sample(watch.seconds)


async def call_100(n: int) -> Sample:
    """A hundred callers at once, one counter."""

    async def caller() -> None:
        for _ in range(n // CALLERS):
            await ask(inbox, 1)

    inbox, task = open_counter()
    with Stopwatch() as watch:
        await asyncio.gather(*(caller() for _ in range(CALLERS)))
    expect(await ask(inbox, 0), n)
    await end(task)
    return Sample(watch.seconds)


async def ring(n: int) -> Sample:
    """A token goes round a ring of actors."""
    laps = n // RING
    done = asyncio.Event()

    async def first(inbox: asyncio.Queue[int], onward: asyncio.Queue[int]) -> None:
        left = laps
        while True:
            token = await inbox.get()
            left -= 1
            if left == 0:
                done.set()
            else:
                onward.put_nowait(token)

    async def member(inbox: asyncio.Queue[int], onward: asyncio.Queue[int]) -> None:
        while True:
            onward.put_nowait(await inbox.get())

    queues: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in range(RING)]
    tasks = [
        asyncio.create_task((member if place else first)(inbox, queues[(place + 1) % RING]))
        for place, inbox in enumerate(queues)
    ]
    await asyncio.sleep(0)
    with Stopwatch() as watch:
        queues[1].put_nowait(1)
        await done.wait()
    await end(*tasks)
    return Sample(watch.seconds)


async def fanout(n: int) -> Sample:
    """A hub sends to a thousand counters and gathers a thousand answers, again and again."""
    gathered = 0
    inboxes, tasks = zip(*(open_counter() for _ in range(FAN)), strict=True)
    answers: asyncio.Queue[int] = asyncio.Queue()
    request: Message = (1, answers.put_nowait)
    await asyncio.sleep(0)
    with Stopwatch() as watch:
        for _ in range(n // FAN):
            for inbox in inboxes:
                inbox.put_nowait(request)
            for _ in range(FAN):
                await answers.get()
                gathered += 1
    await end(*tasks)
    expect(gathered, n)
    return Sample(watch.seconds)


async def spawn(n: int) -> Sample:
    """Start n tasks with a queue each until all of them wait, then cancel and await them."""
    waiting = 0

    async def worker(inbox: Inbox) -> None:
        nonlocal waiting
        waiting += 1
        await counter(inbox)

    tasks = []
    with Stopwatch() as watch:
        began = time.perf_counter()
        for _ in range(n):
            inbox: Inbox = asyncio.Queue()
            tasks.append(asyncio.create_task(worker(inbox)))
        await asyncio.sleep(0)
        started = time.perf_counter() - began
        await end(*tasks)
    expect(waiting, n)
    return spawned(started, watch.seconds - started)


async def memory(n: int) -> Sample:
    """What n idle tasks with a queue each weigh."""
    before = resident()
    with Stopwatch() as watch:
        counters = [open_counter() for _ in range(n)]
        await asyncio.sleep(0)
    after = resident()
    await end(*(task for _, task in counters))
    return weighed(before, after, n, watch.seconds)


async def crash(n: int) -> Sample:
    """The counter dies, a loop starts it again on the same queue, and it answers a call."""

    async def again_and_again(inbox: Inbox) -> None:
        while True:
            try:
                await counter(inbox)
            except Boom:
                continue

    inbox: Inbox = asyncio.Queue()
    task = asyncio.create_task(again_and_again(inbox))
    with Stopwatch() as watch:
        for _ in range(n):
            inbox.put_nowait(CRASH)
            total = await ask(inbox, 1)
    await end(task)
    expect(total, 1)
    return Sample(watch.seconds)


def run(work: Callable[[int], Coroutine[Any, Any, Sample]], n: int) -> Sample:
    return asyncio.run(work(n))


if __name__ == "__main__":
    works = {
        work.__name__: work for work in (cast, call, call_100, ring, fanout, spawn, memory, crash)
    }
    main("asyncio", {**works, "call_async": call, "spawn_100k": spawn}, run)
