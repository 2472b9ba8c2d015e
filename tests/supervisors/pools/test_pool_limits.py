"""The bounds of a pool's operations, turned while it runs, and what they mean for its size."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial
from math import inf
from typing import Any

import pytest
import trio

from actors import Refusal, System
from supervisors import Child, SetLimit
from supervisors.pools.policy import bucket
from tests.supervisors.pools.pool_workers import Log, Nobodys, Other, TakesAll, Work, Worker
from tests.supervisors.pools.test_pool import at_once, stands, start


@pytest.fixture
def log() -> Log:
    return Log()


# -- what can be bounded


@pytest.mark.parametrize(
    ("bounds", "text"),
    [
        ({"operation": "Work"}, "operation is a class of messages. Got: 'Work'"),
        ({"concurrency": -1}, "concurrency is an int of 0 or more, or None. Got: -1"),
        ({"rate": "fast"}, "rate (a second) is a number. Got: 'fast'"),
        ({"rate": -1.0}, "rate (a second) is 0 or more. Got: -1.0"),
        ({"rate": 1.0, "burst": 0}, "burst is an int of 1 or more. Got: 0"),
        ({"burst": 5}, "burst is for a rate. Got: burst=5, rate=None"),
    ],
)
def test_a_bound_that_is_none_says_what_one_is(bounds: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(text)):
        SetLimit(**{"operation": Work, **bounds})


async def test_what_no_worker_handles_cannot_be_bounded(system: System, log: Log) -> None:
    pool = await start(system, log)
    with pytest.raises(Refusal, match=r"the workers handle: Work, Other, .*\. Got: Nobodys$"):
        await pool.call(SetLimit(Nobodys, concurrency=1))
    assert (await stands(pool)).operations == ()


@pytest.mark.parametrize("child", [TakesAll, lambda log: Worker(log)])
async def test_what_workers_may_handle_can_be_bounded(
    system: System, log: Log, child: Callable[[Log], Worker]
) -> None:
    pool = await start(system, log, Child(child, log))
    await pool.call(SetLimit(Nobodys, concurrency=1))
    assert [each.operation for each in (await stands(pool)).operations] == ["Nobodys"]


# -- rates


def test_a_rate_of_0_has_no_tokens() -> None:
    for burst in (None, 5):
        empty = bucket(0, burst, 0.0)
        assert (empty.whole(0.0), empty.ready_at(1e9)) == (0, inf)


def test_a_bucket_in_the_place_of_another_has_what_was_left_in_that() -> None:
    first = bucket(10.0, 4, 0.0)
    assert first.whole(0.0) == 4
    for _ in range(3):
        first = first.take(0.0)
    second = bucket(2.0, 8, 0.1, first)
    assert second.level == pytest.approx(2.0)
    assert bucket(2.0, 1, 0.1, first).level == 1.0
    assert bucket(3.0, None, 5.0, bucket(0, None, 0.0)).ready_at(5.0) == pytest.approx(5.0 + 1 / 3)


async def test_a_rate_of_0_lets_nothing_through(system: System, log: Log) -> None:
    pool = await start(system, log)
    async with trio.open_nursery() as nursery:
        for each in range(3):
            await pool.call(SetLimit(Work, rate=0))
            nursery.start_soon(pool.call, Work(str(each)), None)
            await trio.sleep(10)
        assert log.begun == []
        await pool.call(SetLimit(Work))
    assert len(log.done) == 3


async def test_a_rate_that_is_set_again_and_again_holds(system: System, log: Log) -> None:
    pool = await start(system, log)
    async with trio.open_nursery() as nursery:
        for each in range(200):
            nursery.start_soon(pool.call, Work(str(each)), None)
            await pool.call(SetLimit(Work, rate=10.0))
        for _ in range(50):
            await trio.sleep(0.1)
            await pool.call(SetLimit(Work, rate=10.0))
        assert 55 <= len(log.begun) <= 60
        await pool.call(SetLimit(Work))


# -- size


async def test_a_backlog_that_may_not_run_is_no_reason_for_more_workers(
    system: System, log: Log
) -> None:
    pool = await start(system, log, min=1, max=8, cooldown=1.0)
    await pool.call(SetLimit(Work, concurrency=2))
    await pool.call(SetLimit(Other, rate=0))
    for each in range(10):
        pool.cast(Other(str(each)))
    await at_once(*(partial(pool.call, Work(str(each), 1.0), None) for each in range(60)))
    info: Any = await stands(pool)
    assert len(log.done) == 60 and info.waiting == 10
    assert (len(info.workers), info.replaced, log.stopped) == (2, 0, [])


async def test_the_next_worker_comes_when_a_rate_lets_it_have_something(
    system: System, log: Log
) -> None:
    pool = await start(system, log, min=1, max=3, cooldown=inf)
    await pool.call(SetLimit(Work, rate=1.0, burst=1))
    await at_once(*(partial(pool.call, Work(str(each), 100.0), None) for each in range(3)))
    assert [moment for _, moment in log.moments] == pytest.approx([0.0, 1.0, 2.0])


async def test_a_pool_without_workers_has_one_when_a_rate_lets_it(system: System, log: Log) -> None:
    pool = await start(system, log, min=0, max=2, cooldown=1.0)
    await pool.call(SetLimit(Work, rate=0.1, burst=1))
    await at_once(*(partial(pool.call, Work(str(each)), None) for each in range(3)))
    assert [moment for _, moment in log.moments] == pytest.approx([0.0, 10.0, 20.0])
