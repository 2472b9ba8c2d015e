"""What the Python peers share: the command line, the warm-up, the clock and the scales.

It is imported by every peer, also by those that live in a virtualenv of their own, so it needs
nothing but attrs.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import attrs

Work = TypeVar("Work")

BURST = 1_000
"""Messages in flight at most in `cast` and `flat`."""
CALLERS = 100
"""Concurrent callers in `call_100`."""
RING = 1_000
"""Actors in the ring."""
FAN = 1_000
"""Actors that a fan-out reaches."""
FLEET = 100
"""Supervisors that the crashes of `crash_spread` are spread over.

OTP keeps the window of restarts in a list and walks it at each restart, so thousands of crashes in
a second under one supervisor (`crash`) measure that list more than the restart.
"""

FILE_STEPS = 12
"""Steps of a file in `files_250k`."""
AT_ONCE = 100
"""Sagas in flight in `saga_100` and `saga_fail`."""
LONG_HISTORY = 100
"""Outcomes in the history of each workflow of `replay`."""
TENTHS = 10
"""`long` compares the last of so many parts with the first."""

STEPS = {
    "cast": BURST,
    "call_100": CALLERS,
    "ring": RING,
    "fanout": FAN,
    "flat": BURST,
    "files_250k": FILE_STEPS,
    "saga_100": AT_ONCE,
    "saga_fail": AT_ONCE,
    "replay": LONG_HISTORY,
    "long": TENTHS,
}
"""N is rounded up to a multiple of this, so that it is the number of operations really done."""

COLD = frozenset({"parked_signal", "parked_timer", "parked_million", "replay", "files_250k"})
"""Works done in processes of their own, which a warm-up in this one would not reach; and one that
takes so long that a warm-up makes no difference."""


@attrs.frozen
class Sample:
    """One performance of a work: how long it took, and whatever else it has to say."""

    seconds: float
    extra: Mapping[str, float] = attrs.field(factory=dict)


class Stopwatch:
    """Times its `with` block, garbage of the preparations collected beforehand."""

    seconds = 0.0

    def __enter__(self) -> Stopwatch:
        gc.collect()
        self._started = time.perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.seconds = time.perf_counter() - self._started


def resident() -> int:
    """Bytes of this process that are in memory now, after a full collection (Linux)."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def expect(got: object, wanted: object) -> None:
    """Stop a work whose result is not what it should be: its time means nothing."""
    if got != wanted:
        raise RuntimeError(f"the work went wrong: expected {wanted!r}, got {got!r}")


def spawned(started: float, stopped: float) -> Sample:
    """The sample of `spawn`: both halves count, and are told apart in the line."""
    return Sample(started + stopped, {"start_seconds": started, "stop_seconds": stopped})


def weighed(before: int, after: int, n: int, seconds: float) -> Sample:
    """The sample of `memory`: what `n` idle actors added to the process, per actor."""
    return Sample(seconds, {"bytes_each": (after - before) / n})


def median_ms(taken: Sequence[float]) -> float:
    """The median of seconds, in milliseconds."""
    return 1e3 * statistics.median(taken)


def drifted(ends: Sequence[float], seconds: float) -> Sample:
    """The sample of `long`: how much longer a step takes in the last tenth than in the first.

    `ends` has when the first step began and when each one ended. Medians are compared: one slow
    fsync among a thousand says nothing about the length of the history.
    """
    taken = [end - began for began, end in pairwise(ends)]
    part = len(taken) // TENTHS
    first, last = median_ms(taken[:part]), median_ms(taken[-part:])
    return Sample(seconds, {"first_ms": first, "last_ms": last, "drift": last / first - 1})


def warm_up(work: str, n: int) -> int:
    """How much to do before what is measured.

    Little in `memory`: what the warm-up frees, the measured actors would move into unseen.
    """
    return rounded(work, n // 200 if work == "memory" else min(n // 20, 20_000))


def rounded(work: str, n: int) -> int:
    """`n` rounded up to what `work` can do exactly."""
    step = STEPS.get(work.removesuffix("_100k"), 1)
    return max(1, -(-n // step)) * step


def line(peer: str, work: str, n: int, sample: Sample) -> str:
    """The JSON line of one sample."""
    figures = {"work": work, "peer": peer, "n": n, "seconds": sample.seconds}
    return json.dumps({**figures, "rate": n / sample.seconds, **sample.extra})


def main(peer: str, works: Mapping[str, Work], run: Callable[[Work, int], Sample]) -> None:
    """Perform the work named on the command line once, after a warm-up.

    `run` takes a work and its N, and is what the peer needs around it: `trio.run`, for one.
    """
    parser = argparse.ArgumentParser(description=f"one work, performed by {peer}")
    parser.add_argument("work", choices=sorted(works), metavar="WORK", help=", ".join(works))
    parser.add_argument("n", type=int, metavar="N", help="number of operations")
    options = parser.parse_args()
    n = rounded(options.work, options.n)
    work = works[options.work]
    if options.work not in COLD:
        run(work, warm_up(options.work, n))
    print(line(peer, options.work, n, run(work, n)), flush=True)
