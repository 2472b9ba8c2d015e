"""The floor: a bare `sqlite3` loop on a WAL with `synchronous=FULL`, and nothing around it.

A saga is as many rows as it has events, each committed before the next is made: start, three steps
and end, or start, two steps, a refusal, two undos and end. A hundred sagas at once advance in step,
and each of their rounds is one transaction. What is parked is a trio task over a row.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

import trio
import trio.testing

from benchmarks.disk import folder
from benchmarks.peers.harness import (
    AT_ONCE,
    Sample,
    Stopwatch,
    drifted,
    expect,
    main,
    median_ms,
    resident,
)
from benchmarks.peers.parking import hold, killed_and_recovered, perform_part

Row = tuple[int, int, bytes]

SAGA = 5
"""Commits of a saga: start, three steps, end."""
FAILING = 7
"""Commits of a failing one: start, two steps, the refusal, two undos, end."""
PAYLOAD = (
    b'["shop:Charge",1,{"order":"order-000017","total":12990,"currency":"EUR","at":17320000.5}]'
)
PAYLOAD += b"." * (100 - len(PAYLOAD))
BATCH = 1_000
"""Rows to a transaction where the commit is not what is measured."""

SCHEMA = """
CREATE TABLE IF NOT EXISTS record (
    position INTEGER PRIMARY KEY,
    workflow INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    payload BLOB NOT NULL,
    UNIQUE (workflow, seq)
)
"""
INSERT = "INSERT INTO record (workflow, seq, payload) VALUES (?, ?, ?)"


class Log:
    """An append-only table."""

    def __init__(self, path: Path) -> None:
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.execute = self.connection.execute
        expect(self.execute("PRAGMA journal_mode=WAL").fetchone(), ("wal",))
        self.execute("PRAGMA synchronous=FULL")
        expect(self.execute("PRAGMA synchronous").fetchone(), (2,))
        self.execute(SCHEMA)

    def append(self, rows: Iterable[Row]) -> None:
        """Commit rows; on return they are on disk."""
        self.execute("BEGIN IMMEDIATE")
        self.connection.executemany(INSERT, rows)
        self.execute("COMMIT")

    def append_one(self, row: Row) -> None:
        """Commit one row."""
        self.execute("BEGIN IMMEDIATE")
        self.execute(INSERT, row)
        self.execute("COMMIT")

    def count(self) -> int:
        """How many rows there are."""
        (count,) = self.execute("SELECT count(*) FROM record").fetchone()
        return int(count)

    def close(self) -> None:
        self.connection.close()


@contextmanager
def log() -> Iterator[Log]:
    """A new log in a folder of its own."""
    with folder() as where, closing(Log(where / "log.db")) as made:
        yield made


def saga(n: int) -> Sample:
    """One saga after the other, every event a commit."""
    taken: list[float] = []
    with log() as rows:
        with Stopwatch() as watch:
            for workflow in range(n):
                began = time.perf_counter()
                for seq in range(SAGA):
                    rows.append_one((workflow, seq, PAYLOAD))
                taken.append(time.perf_counter() - began)
        expect(rows.count(), SAGA * n)
    return Sample(watch.seconds, {"p50_ms": median_ms(taken)})


def in_step(commits: int, n: int) -> Sample:
    """A hundred sagas at once: one transaction for the event all of them are at."""
    taken: list[float] = []
    with log() as rows:
        with Stopwatch() as watch:
            for first in range(0, n, AT_ONCE):
                began = time.perf_counter()
                for seq in range(commits):
                    rows.append([(first + at, seq, PAYLOAD) for at in range(AT_ONCE)])
                taken.append(time.perf_counter() - began)
        expect(rows.count(), commits * n)
    return Sample(watch.seconds, {"p50_ms": median_ms(taken)})


def long(n: int) -> Sample:
    """One workflow of n events, each a commit."""
    ends = [0.0]
    with log() as rows:
        with Stopwatch() as watch:
            ends[0] = time.perf_counter()
            for seq in range(n):
                rows.append_one((0, seq, PAYLOAD))
                ends.append(time.perf_counter())
        expect(rows.count(), n)
    return drifted(ends, watch.seconds)


async def wait(workflow: int, payload: bytes, waiting: dict[int, trio.Event]) -> None:
    """Be parked: wait for an event of one's own."""
    event = waiting[workflow] = trio.Event()
    await event.wait()


def park(work: str, n: int, where: Path) -> None:
    """Park n tasks, each with a row on disk."""

    async def parked() -> None:
        rows = Log(where / "log.db")
        waiting: dict[int, trio.Event] = {}
        async with trio.open_nursery() as nursery:
            before = resident()
            began = time.perf_counter()
            for first in range(0, n, BATCH):
                numbers = range(first, min(first + BATCH, n))
                rows.append([(workflow, 0, PAYLOAD) for workflow in numbers])
                for workflow in numbers:
                    nursery.start_soon(wait, workflow, PAYLOAD, waiting)
                await trio.testing.wait_all_tasks_blocked()
            seconds = time.perf_counter() - began
            expect(len(waiting), n)
            hold(bytes_each=(resident() - before) / n, park_seconds=seconds)

    trio.run(parked)


def recover(work: str, n: int, where: Path) -> None:
    """Start a task for each row."""

    async def recovered() -> None:
        waiting: dict[int, trio.Event] = {}
        began = time.perf_counter()
        rows = Log(where / "log.db")
        async with trio.open_nursery() as nursery:
            for workflow, payload in rows.execute("SELECT workflow, payload FROM record"):
                nursery.start_soon(wait, workflow, payload, waiting)
            await trio.testing.wait_all_tasks_blocked()
            seconds = time.perf_counter() - began
            expect(len(waiting), n)
            hold(recover_seconds=seconds)

    trio.run(recovered)


if __name__ == "__main__":
    perform_part({"park": park, "recover": recover})
    works: dict[str, Callable[[int], Sample]] = {
        "saga": saga,
        "saga_100": partial(in_step, SAGA),
        "saga_fail": partial(in_step, FAILING),
        "long": long,
        **{
            name: partial(killed_and_recovered, name)
            for name in ("parked_signal", "parked_timer", "parked_million")
        },
    }
    main("sqlite", works, lambda work, n: work(n))
