"""K17: code that never yields is reported by a thread."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors import Actor, Call, System, handles, open_system
from actors.runtime.watchdog import Watchdog
from actors.telemetry import Blocked

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 10.0
"""Seconds a test waits for a report that must come at once."""


@attrs.frozen
class Do(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class Await(Call[Any]):
    function: Callable[[Any], Any]


class Worker(Actor):
    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    async def wait(self, message: Await) -> Any:
        return await message.function(self)


class Reports(logging.Handler):
    """Whoever blocks the loop waits here until the thread has reported it."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.arrived = threading.Event()

    def emit(self, record: logging.LogRecord) -> None:
        if "event loop" in record.getMessage():
            self.texts.append(record.getMessage())
            self.arrived.set()

    def block(self, _: object = None) -> None:
        assert self.arrived.wait(PATIENCE)


@pytest.fixture
def reports() -> Iterator[Reports]:
    handler = Reports()
    logging.getLogger("actors").addHandler(handler)
    yield handler
    logging.getLogger("actors").removeHandler(handler)


async def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        await trio.lowlevel.checkpoint()


@pytest.mark.parametrize("way", ["caller's turn", "dispatcher"])
async def test_K17_a_plain_turn_that_does_not_return_is_reported_with_its_stack(
    reports: Reports, way: str
) -> None:
    events: list[Blocked] = []
    async with open_system(watchdog=0.01) as system:
        system.telemetry.listen(events.append, Blocked)
        ref = await system.start(Worker)
        if way == "dispatcher":
            ref.cast(Do(reports.block))
        else:
            await ref.call(Do(reports.block))
        await until(lambda: events)
    (text,) = reports.texts
    assert f"{ref.path} runs a plain turn" in text
    assert "in block" in text
    (event,) = events
    assert event.ref == ref
    assert event.seconds >= 0.01
    assert "in block" in event.stack


async def test_K17_a_task_that_does_not_yield_is_reported_without_a_name(
    reports: Reports,
) -> None:
    async def block(actor: Worker) -> None:
        reports.block()

    events: list[Blocked] = []
    async with open_system(watchdog=0.01) as system:
        system.telemetry.listen(events.append, Blocked)
        ref = await system.start(Worker)
        await ref.call(Await(block))
        await until(lambda: events)
    assert "some task does not yield" in reports.texts[0]
    assert events[0].ref is None


async def test_K17_one_silence_is_reported_once(reports: Reports) -> None:
    async with open_system(watchdog=0.01) as system:
        ref = await system.start(Worker)

        def block(actor: Worker) -> None:
            reports.block()
            time.sleep(0.05)

        await ref.call(Do(block))
    assert len(reports.texts) == 1


async def test_K17_nobody_listens_and_it_is_logged_all_the_same(reports: Reports) -> None:
    async with open_system(watchdog=0.01) as system:
        ref = await system.start(Worker)
        await ref.call(Do(reports.block))
        await trio.lowlevel.checkpoint()
    assert reports.texts


async def test_a_system_without_watchdog_has_no_thread() -> None:
    def watching() -> set[threading.Thread]:
        return {each for each in threading.enumerate() if each.name == "watchdog"}

    async with open_system(watchdog=None):
        for thread in watching():  # of tests before this one
            thread.join(PATIENCE)
        assert not watching()
    async with open_system():
        (thread,) = watching()
    thread.join(PATIENCE)
    assert not watching()


def test_the_thread_ends_when_the_loop_has_ended(reports: Reports) -> None:
    made: list[Watchdog] = []

    async def main() -> None:
        made.append(Watchdog(System(), 0.005))

    trio.run(main)
    made[0]._thread.join(PATIENCE)
    assert not made[0]._thread.is_alive()


def test_a_silence_in_which_the_loop_ends_is_reported_and_told_to_nobody(
    reports: Reports,
) -> None:
    made: list[Watchdog] = []

    async def main() -> None:
        made.append(Watchdog(System(), 0.005))
        reports.block()

    trio.run(main)
    made[0]._thread.join(PATIENCE)
    assert not made[0]._thread.is_alive()
