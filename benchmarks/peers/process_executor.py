"""The standard library: `concurrent.futures.ProcessPoolExecutor`.

A hundred callers are so many futures under way. A pool that has lost a process is broken, so the
successor is a new pool: of forked processes, or of new interpreters ("spawn").
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from functools import partial

from benchmarks.peers.computing import compute
from benchmarks.peers.harness import CALLERS, Sample, Stopwatch, expect, main, median_ms


def add(amount: int) -> int:
    """What a call does."""
    return amount


def die() -> None:
    """A segmentation fault."""
    os.kill(os.getpid(), signal.SIGSEGV)


def executor(workers: int, method: str = "fork") -> ProcessPoolExecutor:
    """A pool whose processes are there already."""
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context(method))
    for each in [pool.submit(time.sleep, 0.05) for _ in range(workers)]:
        each.result()
    return pool


def isolated_call(n: int) -> Sample:
    """One call after the other."""
    taken: list[float] = []
    total = 0
    with executor(1) as pool, Stopwatch() as watch:
        for _ in range(n):
            began = time.perf_counter()
            total += pool.submit(add, 1).result()
            taken.append(time.perf_counter() - began)
    expect(total, n)
    return Sample(watch.seconds, {"p50_ms": median_ms(taken)})


def at_once(workers: int, n: int) -> Sample:
    """A hundred futures under way."""
    with executor(workers) as pool, Stopwatch() as watch:
        done = run_all(pool, add, [1] * n)
    expect(done, n)
    return Sample(watch.seconds)


def run_all(
    pool: ProcessPoolExecutor, job: Callable[[int], object], arguments: Sequence[int]
) -> int:
    """Have all jobs done, a hundred under way at a time; how many there were."""
    left: set[Future[object]] = set()
    done = 0
    for argument in arguments:
        if len(left) == CALLERS:
            ended, left = wait(left, return_when=FIRST_COMPLETED)
            done += len(ended)
        left.add(pool.submit(job, argument))
    return done + len(wait(left).done)


def cpu_two(n: int) -> Sample:
    """One worker, then two."""
    seconds: list[float] = []
    for workers in (1, 2):
        with executor(workers) as pool, Stopwatch() as watch:
            expect(run_all(pool, compute, range(n)), n)
        seconds.append(watch.seconds)
    return Sample(seconds[1], {"speedup": seconds[0] / seconds[1]})


def replace(method: str, n: int) -> Sample:
    """The pool breaks; a new one answers."""
    taken: list[float] = []
    pool = executor(1, method)
    with Stopwatch() as watch:
        for _ in range(n):
            began = time.perf_counter()
            try:
                pool.submit(die).result()
            except BrokenProcessPool:
                pool.shutdown()
            pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method))
            expect(pool.submit(add, 1).result(), 1)
            taken.append(time.perf_counter() - began)
    pool.shutdown()
    return Sample(watch.seconds, {"replace_ms": 1e3 * statistics.median(taken)})


def perform(work: Callable[[int], Sample], n: int) -> Sample:
    """Nothing is needed around a work."""
    return work(n)


if __name__ == "__main__":
    works: dict[str, Callable[[int], Sample]] = {
        "isolated_call": isolated_call,
        "isolated_call_100": partial(at_once, 1),
        "pool_dispatch": partial(at_once, 2),
        "cpu_two": cpu_two,
        "replace_warm": partial(replace, "fork"),
        "replace_cold": partial(replace, "spawn"),
    }
    main("executor", works, perform)
