"""The works: what each measures, and how often each peer does it in one run.

The sizes are chosen so that a run takes roughly half a second on a modest machine: long enough for
the clock, short enough that peers measured one after the other meet the same machine. A rate does
not depend on its size, but for the works that say so. A peer without a size does not do the work.

The works over processes have each isolated actor in a process of its own, and ours are told which
messages there are, as any program of ours tells it.

The durable works are done in a folder on a disk. What takes part in them is a realistic record of
about a hundred bytes, and everybody's next step waits for the fsync of the one before.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

OURS = "understudy"
UNITS = {"bytes_each": "bytes each", "speedup": "times", "replace_ms": "ms"}
"""What figures count that are no rates."""


@attrs.frozen
class Work:
    """One kind of work that peers are compared at."""

    name: str
    measures: str
    """What is done, for the report."""
    counts: str
    """What N counts."""
    sizes: Mapping[str, int]
    """How many operations a run has, by peer."""
    rounds: int | None = None
    """Rounds at most; a work that takes long, or is compared with nobody, needs no five."""
    figure: str = "rate"
    """Which of the figures of a run is the one that is compared."""
    also: tuple[str, ...] = ()
    """Which others the report has."""
    part: str = "actors"
    """Of the document, and of each peer's programs: "actors"; "processes"; or "durable", where what
    is done is on disk, with an fsync, before what comes next."""
    on_request: bool = False
    """Done only when asked for by name."""

    @property
    def unit(self) -> str:
        """What the figure of this work counts."""
        return UNITS.get(self.figure, "per second")

    def size(self, peer: str, *, quick: bool) -> int:
        """Operations in a run of `peer`; a twentieth when it has to be quick."""
        return max(1, self.sizes[peer] // 20) if quick else self.sizes[peer]


def _sizes(
    ours: int,
    *,
    trio: int | None = None,
    asyncio: int | None = None,
    pykka: int | None = None,
    triotp: int | None = None,
    otp: int | None = None,
) -> dict[str, int]:
    given = {"trio": trio, "asyncio": asyncio, "pykka": pykka, "triotp": triotp, "otp": otp}
    return {OURS: ours} | {peer: size for peer, size in given.items() if size is not None}


def _durable(
    ours: int, *, sqlite: int | None = None, dbos: int | None = None, restate: int | None = None
) -> dict[str, int]:
    given = {"sqlite": sqlite, "dbos": dbos, "restate": restate}
    return {OURS: ours} | {peer: size for peer, size in given.items() if size is not None}


def _processes(
    ours: int, *, executor: int | None = None, socketpair: int | None = None
) -> dict[str, int]:
    given = {"executor": executor, "socketpair": socketpair}
    return {OURS: ours} | {peer: size for peer, size in given.items() if size is not None}


def _same(n: int, *peers: str) -> dict[str, int]:
    return dict.fromkeys((OURS, *peers), n)


_ACTORS = (
    Work(
        "cast",
        "one sender casts to one actor, until the last message is processed",
        "messages",
        _sizes(500_000, trio=100_000, asyncio=500_000, pykka=100_000, triotp=20_000, otp=2_000_000),
    ),
    Work(
        "call",
        "one caller calls an idle actor with a plain handler, one call after the other",
        "calls",
        _sizes(300_000, trio=20_000, asyncio=40_000, pykka=3_000, triotp=6_000, otp=400_000),
    ),
    Work(
        "call_100",
        "a hundred callers call one actor with a plain handler",
        "calls",
        _sizes(300_000, trio=25_000, asyncio=100_000, pykka=6_000, triotp=8_000, otp=400_000),
    ),
    Work(
        "call_async",
        "as call, the handler being an `async def` that never suspends",
        "calls",
        _sizes(50_000, trio=20_000, asyncio=40_000, pykka=3_000, triotp=6_000, otp=400_000),
    ),
    Work(
        "ring",
        "a token goes round a ring of 1,000 actors",
        "hops",
        _sizes(300_000, trio=60_000, asyncio=80_000, pykka=15_000, triotp=20_000, otp=1_000_000),
    ),
    Work(
        "fanout",
        "a hub asks 1,000 actors and gathers their answers, again and again",
        "answers",
        _sizes(200_000, trio=50_000, asyncio=100_000, pykka=8_000, triotp=15_000, otp=500_000),
    ),
    Work(
        "spawn",
        "10,000 actors are started under a supervisor and stopped with it (2,000 for pykka and "
        "triotp, which get slower with the number; trio, asyncio and pykka have no supervisor)",
        "actors",
        _same(10_000, "trio", "asyncio", "otp") | {"pykka": 2_000, "triotp": 2_000},
    ),
    Work(
        "spawn_100k",
        "the same with 100,000",
        "actors",
        _same(100_000, "trio", "asyncio", "otp"),
    ),
    Work(
        "memory",
        "what an idle supervised actor adds to the resident memory of the process (for OTP to "
        "`erlang:memory(total)`)",
        "actors",
        _sizes(20_000, trio=20_000, asyncio=20_000, pykka=2_000, triotp=3_000, otp=20_000),
        figure="bytes_each",
    ),
    Work(
        "crash",
        "an actor crashes, is restarted by its supervisor and answers a call; the same number of "
        "crashes for OTP and for us, since OTP's restart window grows with them (trio and asyncio: "
        "a loop by hand; pykka: an `on_failure` hook)",
        "crashes",
        _sizes(5_000, trio=15_000, asyncio=40_000, pykka=1_500, triotp=1_000, otp=5_000),
    ),
    Work(
        "crash_spread",
        "the same, the crashes spread over 100 supervisors, so that no restart window grows long",
        "crashes",
        _sizes(20_000, otp=20_000),
    ),
    Work(
        "flat",
        "10,000,000 messages through one actor: resident memory before and after",
        "messages",
        _sizes(10_000_000),
        rounds=1,
    ),
)

_DURABLE = (
    Work(
        "saga",
        "a saga of three trivial steps, each on disk before the next starts; one saga after the "
        "other",
        "sagas",
        _durable(1_000, sqlite=1_000, dbos=60, restate=80),
        also=("p50_ms",),
        part="durable",
    ),
    Work(
        "saga_100",
        "the same, a hundred sagas at once",
        "sagas",
        _durable(5_000, sqlite=20_000, dbos=100, restate=200),
        part="durable",
    ),
    Work(
        "saga_fail",
        "a hundred sagas at once whose third step refuses, so that the first two are undone",
        "sagas",
        _durable(5_000, sqlite=20_000, dbos=100, restate=200),
        part="durable",
    ),
    Work(
        "parked_signal",
        "100,000 workflows wait for a signal (trio tasks over a row each for SQLite, fewer for the "
        "others): resident memory each, then kill -9, and until a new process has recovered all",
        "workflows",
        _durable(100_000, sqlite=100_000, dbos=300),
        rounds=2,
        figure="bytes_each",
        also=("recover_seconds", "recovered_rate"),
        part="durable",
    ),
    Work(
        "parked_timer",
        "the same, waiting for a timer",
        "workflows",
        _durable(100_000, sqlite=100_000, dbos=300),
        rounds=2,
        figure="bytes_each",
        also=("recover_seconds", "recovered_rate"),
        part="durable",
    ),
    Work(
        "parked_million",
        "1,000,000 workflows wait for a signal, as above",
        "workflows",
        _durable(1_000_000, sqlite=1_000_000),
        rounds=1,
        figure="bytes_each",
        also=("recover_seconds", "recovered_rate"),
        part="durable",
        on_request=True,
    ),
    Work(
        "long",
        "one workflow of 10,000 steps (300 for DBOS), one after the other: steps a second, and "
        "how much longer a step takes in the last tenth than in the first",
        "steps",
        _durable(10_000, sqlite=10_000, dbos=300),
        rounds=3,
        also=("drift",),
        part="durable",
    ),
    Work(
        "replay",
        "a new process recovers workflows with a hundred outcomes each",
        "outcomes",
        _durable(50_000, dbos=1_000),
        rounds=3,
        part="durable",
    ),
)

_PROCESSES = (
    Work(
        "isolated_call",
        "one caller calls an actor in a process of its own, one call after the other; for the bare "
        "socket pair, 64 bytes there and back between two loops that do nothing else",
        "calls",
        _processes(10_000, executor=5_000, socketpair=20_000),
        also=("p50_ms",),
        part="processes",
    ),
    Work(
        "isolated_call_100",
        "a hundred callers call an actor in a process of its own",
        "calls",
        _processes(60_000, executor=5_000),
        part="processes",
    ),
    Work(
        "pool_dispatch",
        "a hundred callers give jobs that do nothing to a pool of two workers in processes",
        "jobs",
        _processes(40_000, executor=5_000),
        part="processes",
    ),
    Work(
        "cpu_two",
        "jobs of some milliseconds of computing: how many times faster two worker processes are "
        "than one, measured one after the other in the same run",
        "jobs",
        _processes(200, executor=200),
        figure="speedup",
        part="processes",
    ),
    Work(
        "replace_warm",
        "an actor in a process of its own dies of a segmentation fault: until its successor, which "
        "is forked, has answered (the executor: until a new one has, which forks as well)",
        "deaths",
        _processes(40, executor=20),
        figure="replace_ms",
        part="processes",
    ),
    Work(
        "replace_cold",
        "the same with a new interpreter for each successor",
        "deaths",
        _processes(10, executor=5),
        figure="replace_ms",
        part="processes",
    ),
    Work(
        "sharded_saga",
        "the sagas of `saga_100`, 2,000 at once, by a mediator in two shards over two processes: "
        "how many times faster than by one mediator in one process, measured one after the other "
        "in the same run",
        "sagas",
        _processes(12_000),
        figure="speedup",
        also=("rate",),
        part="processes",
    ),
    Work(
        "sharded_saga_400",
        "the same with 400 at once",
        "sagas",
        _processes(8_000),
        figure="speedup",
        also=("rate",),
        part="processes",
    ),
    Work(
        "sharded_work",
        "`sharded_saga` with components that compute for a tenth of a millisecond at each step",
        "sagas",
        _processes(6_000),
        figure="speedup",
        also=("rate",),
        part="processes",
    ),
    Work(
        "files_250k",
        "a day of a file pipeline in one process: 250,000 files of twelve steps each, evenly over "
        "24 hours of virtual time, by 200 simulated converters in twelve pools that take 1 to 7 s "
        "a step; each step on disk. Steps a second of real time",
        "steps",
        _processes(3_000_000),
        rounds=1,
        also=("late_seconds", "resident_mb", "journal_mb"),
        part="processes",
        on_request=True,
    ),
)

WORKS = (*_ACTORS, *_PROCESSES, *_DURABLE)

BY_NAME = {work.name: work for work in WORKS}
