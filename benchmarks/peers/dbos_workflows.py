"""DBOS 3 on SQLite, with its own defaults, in a virtualenv of its own.

Its SQLite has a rollback journal and `synchronous=FULL`, which is checked before each work: the
outcome of a step is on disk before the next step starts. Sagas are plain functions run by its
threads, which are quicker here than coroutines; what is parked are coroutines, which need no thread
each. It has no undo: the failing saga calls its compensations itself.
"""

from __future__ import annotations

import asyncio
import queue
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import Any

import sqlalchemy
from dbos import DBOS, SetWorkflowID
from dbos._dbos import _get_dbos_instance

from benchmarks.disk import folder
from benchmarks.peers.harness import (
    AT_ONCE,
    LONG_HISTORY,
    Sample,
    Stopwatch,
    drifted,
    expect,
    main,
    median_ms,
    resident,
)
from benchmarks.peers.parking import hold, killed_and_recovered, perform_part

ORDER = {"order": "order-000017", "items": ["understudy", "stage"], "total": 12990, "at": 1.5}
FOREVER = 1e6
AHEAD = 100
"""Workflows parked before the memory of the others is measured: the first bring up threads."""
SETTLE = 1.0
"""Seconds until what was about to wait has recorded what it waits for."""
SETTINGS = ("PRAGMA synchronous", "PRAGMA journal_mode", "SELECT sqlite_version()")


class OutOfReach(Exception):
    """The third step's refusal."""


def charge(order: dict[str, Any]) -> str:
    return f"payment-{order['order']}"


def reserve(order: dict[str, Any]) -> str:
    return f"place-{order['order']}"


def ship(order: dict[str, Any]) -> str:
    return f"parcel-{order['order']}"


def refuse(order: dict[str, Any]) -> str:
    raise OutOfReach(order["order"])


def undo(done: str) -> None:
    """Refund or release."""


async def note(number: int) -> int:
    return number


def step(function: Callable[..., Any]) -> Any:
    return DBOS.step(name=function.__name__)(function)


charge_step, reserve_step, ship_step, refuse_step, undo_step, note_step = (
    step(function) for function in (charge, reserve, ship, refuse, undo, note)
)

arrivals: queue.SimpleQueue[None] = queue.SimpleQueue()
"""An item for each workflow that is about to wait. Recovered ones run on a loop of DBOS's own."""


def place_order(order: dict[str, Any]) -> str:
    """Three steps."""
    charge_step(order)
    reserve_step(order)
    parcel: str = ship_step(order)
    return parcel


def fail_order(order: dict[str, Any]) -> str:
    """Two steps, a refusal, and two undos."""
    payment = charge_step(order)
    place = reserve_step(order)
    try:
        refuse_step(order)
    except OutOfReach:
        undo_step(place)
        undo_step(payment)
        return "undone"
    return "shipped"


def long_order(n: int) -> list[float]:
    """A step n times: when it began and when each ended."""
    ends = [time.perf_counter()]
    for _ in range(n):
        charge_step(ORDER)
        ends.append(time.perf_counter())
    return ends


async def wait_for_signal(order: dict[str, Any]) -> str:
    """Wait until told to go on."""
    arrivals.put(None)
    told: str = await DBOS.recv_async("go", timeout_seconds=FOREVER)
    return told


async def wait_for_timer(order: dict[str, Any]) -> str:
    """Wait until it is time."""
    arrivals.put(None)
    await DBOS.sleep_async(FOREVER)
    return "late"


async def remember(order: dict[str, Any]) -> str:
    """Take a hundred steps, and wait."""
    for number in range(LONG_HISTORY):
        await note_step(number)
    return await wait_for_signal(order)


def workflow(function: Callable[..., Any]) -> Any:
    return DBOS.workflow(name=function.__name__)(function)


place_order_workflow, fail_order_workflow, long_workflow = (
    workflow(function) for function in (place_order, fail_order, long_order)
)
PARKED = {
    "parked_signal": workflow(wait_for_signal),
    "parked_timer": workflow(wait_for_timer),
    "replay": workflow(remember),
}


def url(where: Path) -> str:
    return f"sqlite:///{where / 'dbos.sqlite'}"


@contextmanager
def launched(where: Path) -> Iterator[None]:
    """DBOS on a database in a folder; a process whose predecessor died recovers as it starts."""
    DBOS(
        config={
            "name": "bench",
            "system_database_url": url(where),
            "application_version": "1",
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    try:
        expect(answers()[0], 2)
        yield
    finally:
        DBOS.destroy()


def answers() -> list[Any]:
    """How the database is written, as one of DBOS's own connections has it."""
    with _get_dbos_instance()._sys_db.engine.connect() as connection:
        return [connection.execute(sqlalchemy.text(ask)).scalar() for ask in SETTINGS]


def settings() -> str:
    """Which DBOS it is, and how it has its SQLite write."""
    with folder() as where, launched(where):
        said = answers()
    return (
        f"{metadata.version('dbos')} on SQLite {said[2]}, synchronous=FULL, journal_mode={said[1]}"
    )


def saga(n: int) -> Sample:
    """One workflow after the other."""
    taken: list[float] = []
    with folder() as where, launched(where):
        with Stopwatch() as watch:
            for number in range(n):
                began = time.perf_counter()
                with SetWorkflowID(f"order-{number}"):
                    end = place_order_workflow(ORDER)
                taken.append(time.perf_counter() - began)
        expect(end, "parcel-order-000017")
    return Sample(watch.seconds, {"p50_ms": median_ms(taken)})


def at_once(started: Any, end: str, n: int) -> Sample:
    """A hundred workflows at once, and again."""
    with folder() as where, launched(where):
        with Stopwatch() as watch:
            for first in range(0, n, AT_ONCE):
                handles = []
                for number in range(first, first + AT_ONCE):
                    with SetWorkflowID(f"order-{number}"):
                        handles.append(DBOS.start_workflow(started, ORDER))
                ends = [handle.get_result() for handle in handles]
        expect(ends, [end] * AT_ONCE)
    return Sample(watch.seconds)


def long(n: int) -> Sample:
    """One workflow of n steps."""
    with folder() as where, launched(where), Stopwatch() as watch, SetWorkflowID("long"):
        ends = long_workflow(n)
    expect(len(ends), n + 1)
    return drifted(ends, watch.seconds)


def sizes(work: str, n: int) -> tuple[int, int]:
    """How many workflows are parked to begin with, and how many there are in the end."""
    return (0, n // LONG_HISTORY) if work == "replay" else (AHEAD, AHEAD + n)


async def all_arrived(count: int) -> None:
    """Wait until all the workflows are about to wait."""

    def take() -> None:
        for _ in range(count):
            arrivals.get()

    await asyncio.to_thread(take)


def park(work: str, n: int, where: Path) -> None:
    """Start workflows until all of them wait, and tell what each adds to the process."""
    ahead, total = sizes(work, n)

    async def start(numbers: range) -> None:
        for number in numbers:
            with SetWorkflowID(f"order-{number}"):
                await DBOS.start_workflow_async(PARKED[work], ORDER)
        await all_arrived(len(numbers))

    async def parked() -> None:
        with launched(where):
            await start(range(ahead))
            await asyncio.sleep(SETTLE)
            before = resident()
            began = time.perf_counter()
            await start(range(ahead, total))
            seconds = time.perf_counter() - began
            await asyncio.sleep(SETTLE)
            hold(bytes_each=(resident() - before) / (total - ahead), park_seconds=seconds)

    asyncio.run(parked())


def recover(work: str, n: int, where: Path) -> None:
    """Start up over what the killed process left, until all workflows wait again."""
    _, total = sizes(work, n)

    async def recovered() -> None:
        began = time.perf_counter()
        with launched(where):
            await all_arrived(total)
            seconds = time.perf_counter() - began
            if work != "parked_timer":
                last = f"order-{total - 1}"
                await DBOS.send_async(last, "now", topic="go")
                handle = await DBOS.retrieve_workflow_async(last)
                expect(await handle.get_result(), "now")
            hold(recover_seconds=seconds, count=total * (LONG_HISTORY if work == "replay" else 1))

    asyncio.run(recovered())


if __name__ == "__main__":
    if sys.argv[1:] == ["settings"]:
        print(settings())
        raise SystemExit
    perform_part({"park": park, "recover": recover})
    works: dict[str, Callable[[int], Sample]] = {
        "saga": saga,
        "saga_100": partial(at_once, place_order_workflow, "parcel-order-000017"),
        "saga_fail": partial(at_once, fail_order_workflow, "undone"),
        "long": long,
        **{name: partial(killed_and_recovered, name) for name in PARKED},
    }
    main("dbos", works, lambda work, n: work(n))
