"""pykka: a thread and a queue per actor, `tell` to cast and `ask` to call.

Pykka has no supervisor: in `crash` the dying actor's `on_failure` starts its successor, and `spawn`
starts and stops the actors from the main thread.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from typing import Any

from pykka import ActorRef, ThreadingActor

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

Ref = ActorRef[Any]


class Boom(Exception):
    """What a counter dies of."""


class Counter(ThreadingActor):
    """Adds up what arrives, and answers with the total."""

    def __init__(self) -> None:
        super().__init__()
        self.total = 0

    def on_receive(self, message: int) -> int:
        self.total += message
        return self.total


class Member(ThreadingActor):
    """Passes the token on."""

    onward: Ref

    def on_receive(self, message: Ref | int) -> None:
        if isinstance(message, ActorRef):
            self.onward = message
        else:
            self.onward.tell(message)


class First(Member):
    """Counts the laps, and says when they are done."""

    def __init__(self, laps: int, done: threading.Event) -> None:
        super().__init__()
        self.left, self.done = laps, done

    def on_receive(self, message: Ref | int) -> None:
        if not isinstance(message, ActorRef):
            self.left -= 1
            if self.left == 0:
                self.done.set()
                return
        super().on_receive(message)


class Worker(ThreadingActor):
    """Answers the hub that asks."""

    def on_receive(self, message: Ref) -> None:
        message.tell(1)


class Hub(ThreadingActor):
    """Asks all workers, gathers their answers, and starts over until the rounds are done."""

    def __init__(self, workers: list[Ref], rounds: int, done: threading.Event) -> None:
        super().__init__()
        self.workers, self.rounds, self.done = workers, rounds, done
        self.gathered = 0

    def on_receive(self, message: int) -> None:
        self.gathered += message
        if self.gathered % FAN == 0:
            if self.gathered == FAN * self.rounds:
                self.done.set()
                return
            for worker in self.workers:
                worker.tell(self.actor_ref)


class Fragile(Counter):
    """A counter that dies when told to and leaves a successor."""

    def __init__(self, successors: queue.SimpleQueue[Ref]) -> None:
        super().__init__()
        self.successors = successors

    def on_receive(self, message: int) -> int:
        if message == CRASH:
            raise Boom
        return super().on_receive(message)

    def on_failure(self, *reason: object) -> None:
        self.successors.put(type(self).start(self.successors))


def end(refs: list[Ref]) -> None:
    """Tell all to stop, then wait for each."""
    for stopped in [ref.stop(block=False) for ref in refs]:
        stopped.get()


def cast(n: int) -> Sample:
    """One sender, one counter, until all is added up."""
    ref = Counter.start()
    with Stopwatch() as watch:
        for _ in range(n // BURST):
            for _ in range(BURST):
                ref.tell(1)
            total = ref.ask(0)
    ref.stop()
    expect(total, n)
    return Sample(watch.seconds)


def call(n: int) -> Sample:
    """One caller, one counter, one call after the other."""
    ref = Counter.start()
    with Stopwatch() as watch:
        for _ in range(n):
            total = ref.ask(1)
    ref.stop()
    expect(total, n)
    return Sample(watch.seconds)


def call_100(n: int) -> Sample:
    """A hundred calling threads at once, one counter."""

    def caller() -> None:
        for _ in range(n // CALLERS):
            ref.ask(1)

    ref = Counter.start()
    threads = [threading.Thread(target=caller) for _ in range(CALLERS)]
    with Stopwatch() as watch:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    expect(ref.ask(0), n)
    ref.stop()
    return Sample(watch.seconds)


def ring(n: int) -> Sample:
    """A token goes round a ring of actors."""
    done = threading.Event()
    refs: list[Ref] = [First.start(n // RING, done)]
    refs += [Member.start() for _ in range(RING - 1)]
    for place, ref in enumerate(refs):
        ref.ask(refs[(place + 1) % RING])
    with Stopwatch() as watch:
        refs[1].tell(1)
        done.wait()
    end(refs)
    return Sample(watch.seconds)


def fanout(n: int) -> Sample:
    """A hub sends to a thousand workers and gathers a thousand answers, again and again."""
    done = threading.Event()
    workers: list[Ref] = [Worker.start() for _ in range(FAN)]
    hub = Hub.start(workers, n // FAN, done)
    with Stopwatch() as watch:
        hub.tell(0)
        done.wait()
    end([hub, *workers])
    return Sample(watch.seconds)


def spawn(n: int) -> Sample:
    """Start n actors, then stop all and wait for each."""
    with Stopwatch() as watch:
        began = time.perf_counter()
        refs: list[Ref] = [Counter.start() for _ in range(n)]
        started = time.perf_counter() - began
        end(refs)
    return spawned(started, watch.seconds - started)


def memory(n: int) -> Sample:
    """What n idle actors weigh, the touched part of their stacks included."""
    before = resident()
    with Stopwatch() as watch:
        refs: list[Ref] = [Counter.start() for _ in range(n)]
    after = resident()
    end(refs)
    return weighed(before, after, n, watch.seconds)


def crash(n: int) -> Sample:
    """The counter dies, its `on_failure` starts another, and that one answers a call."""
    successors: queue.SimpleQueue[Ref] = queue.SimpleQueue()
    ref: Ref = Fragile.start(successors)
    with Stopwatch() as watch:
        for _ in range(n):
            ref.tell(CRASH)
            ref = successors.get()
            total = ref.ask(1)
    ref.stop()
    expect(total, 1)
    return Sample(watch.seconds)


if __name__ == "__main__":
    logging.disable(logging.CRITICAL)
    works = {
        work.__name__: work for work in (cast, call, call_100, ring, fanout, spawn, memory, crash)
    }
    main("pykka", {**works, "call_async": call}, lambda work, n: work(n))
