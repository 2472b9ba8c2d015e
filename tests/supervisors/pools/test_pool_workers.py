"""The workers of a pool: how many, who gets what, and what their end means."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import NoSuchActor, System, Unhandled
from actors.runtime import lifecycle
from supervisors import (
    Backoff,
    Child,
    ChildRestarted,
    CountChildren,
    Poisoned,
    SetSize,
    Shards,
    WhichChildren,
)
from tests.supervisors.pools.pool_workers import (
    Die,
    HandsOn,
    Log,
    LongLastWords,
    Nobodys,
    TakesAll,
    Work,
    Worker,
)
from tests.supervisors.pools.test_pool import stands, start


@pytest.fixture
def log() -> Log:
    return Log()


# -- how many


async def test_a_pool_may_grow_by_hundreds_at_once(system: System, log: Log) -> None:
    pool = await start(system, log, min=1, max=1)
    async with trio.open_nursery() as nursery:
        for each in range(3):
            nursery.start_soon(pool.call, Work(str(each), 1.0), None)
        await wait_all_tasks_blocked()
        await pool.call(SetSize(500, 500))
        await wait_all_tasks_blocked()
        assert sum(each.up for each in (await stands(pool)).workers) == 500
        assert len(log.begun) == 3
    assert len(log.done) == 3


async def test_starts_that_fail_are_not_tried_again_within_one_another(
    system: System, log: Log
) -> None:
    child = Child(Worker, log, backoff=Backoff(0.0, 0.0, limit=2000))
    pool = await start(system, log, child, min=0, max=4)
    log.broken = True
    pool.cast(Work("late"))
    for _ in range(3):
        await trio.lowlevel.checkpoint()
    log.broken = False
    await wait_all_tasks_blocked()
    assert log.done == ["late"]


async def test_why_no_worker_comes_up_is_told_until_one_does(system: System, log: Log) -> None:
    pool = await start(system, log, Child(Worker, log, backoff=Backoff(1.0)), min=0, max=1)
    log.broken = True
    pool.cast(Work("late"))
    await wait_all_tasks_blocked()
    failing = (await stands(pool)).failing
    assert "Worker-1 did not start" in failing and "it does not come up" in failing
    log.broken = False
    await trio.sleep(2.0)
    assert ((await stands(pool)).failing, log.done) == ("", ["late"])


async def test_what_nobody_handles_is_told_what_is(system: System, log: Log) -> None:
    pool = await start(system, log)
    with pytest.raises(Unhandled) as caught:
        await pool.call(Nobodys())
    assert "Work" in str(caught.value) and "GetPool" in str(caught.value)
    shards = await system.start(Shards(Child(Worker, log), key="name"))
    with pytest.raises(Unhandled) as caught:
        await shards.call(Nobodys())
    assert "Work" in str(caught.value) and "Resize" in str(caught.value)
    assert "Returned" not in str(caught.value)


async def test_those_on_their_way_out_do_not_count_among_the_least(
    system: System, log: Log
) -> None:
    pool = await start(system, log, Child(LongLastWords, log), min=1, max=3, cooldown=1.0)
    async with trio.open_nursery() as nursery:
        for each in range(3):
            nursery.start_soon(pool.call, Work(str(each), 1.0 + each / 2), None)
    await trio.sleep(10.0)
    assert (len((await stands(pool)).workers), len(log.stopped)) == (1, 2)


async def test_who_takes_all_that_comes_does_not_take_the_administration(
    system: System, log: Log
) -> None:
    pool = await start(system, log, Child(TakesAll, log), min=1, max=1)
    await pool.call(SetSize(2, 2))
    assert len((await stands(pool)).workers) == 2
    assert (await pool.call(CountChildren())).active == 2
    assert await pool.call(Nobodys()) == "taken"
    assert log.done == ["Nobodys"]


# -- what their end means


@pytest.mark.parametrize("least", [2, 1])
async def test_who_is_dying_gets_nothing_more(system: System, log: Log, least: int) -> None:
    pool = await start(system, log, Child(LongLastWords, log), min=least, max=2)
    assert await pool.call(Die("once", times=1)) == "once"
    assert trio.current_time() == 0.0
    await trio.sleep(5.0)
    assert len((await stands(pool)).workers) == least


async def test_that_somebody_else_is_gone_is_an_answer(system: System, log: Log) -> None:
    gone = await system.start(Child(Worker, log, restart="temporary"))
    await gone.stop()
    pool = await start(system, log, Child(HandsOn, log, gone))
    with pytest.raises(NoSuchActor):
        await pool.call(Work("x"))
    assert log.begun == ["x"]
    info = await stands(pool)
    assert (info.done, info.running, info.replaced) == (1, 0, 0)


async def test_what_a_worker_has_not_begun_when_it_stops_is_for_another(
    system: System, log: Log
) -> None:
    pool = await start(system, log, min=1, max=1)
    [worker] = [each.place for each in pool._place.actor._workers.values()]
    worker.suspended = 1
    worker.look()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.call, Work("a"))
        await wait_all_tasks_blocked()
        assert (await stands(pool)).running == 1 and log.begun == []
        await worker.ref.stop()
    assert log.done == ["a"]


async def test_who_takes_the_place_of_one_that_died_counts_on(
    system: System, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    restarted: list[ChildRestarted] = []
    system.telemetry.listen(restarted.append, ChildRestarted)
    pool = await start(system, log, min=1, max=1, attempts=3)
    with pytest.raises(Poisoned):
        await pool.call(Die("x"))
    assert await pool.call(Work("a")) == "a by Worker-1"
    ends = [each.getMessage() for each in caplog.records if "decision:" in each.getMessage()]
    assert [f"incarnation {n})" in end for n, end in enumerate(ends, 1)] == [True] * 3
    assert [each.restarts for each in restarted] == [1, 2, 3]
    (worker,) = await pool.call(WhichChildren())
    assert worker.restarts == 3


async def test_who_is_leaving_takes_no_place_of_those_who_stay(system: System, log: Log) -> None:
    """The last to stay dies while the other finishes what it has in hand."""
    pool = await start(system, log, min=2, max=2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.call, Work("long", 100.0), None)
        await wait_all_tasks_blocked()
        nursery.start_soon(pool.call, Work("longer", 200.0), None)
        await wait_all_tasks_blocked()
        await pool.call(SetSize(1, 1))
        (staying,) = [each for each in pool._place.actor._workers.values() if not each.leaving]
        lifecycle.kill(staying.place)
        await wait_all_tasks_blocked()
        assert [each.up for each in (await stands(pool)).workers] == [True, True]


async def test_who_was_not_needed_any_more_leaves_no_count(system: System, log: Log) -> None:
    pool = await start(system, log, min=0, max=1, cooldown=1.0)
    for _ in range(2):
        await pool.call(Work("a"))
        (worker,) = await pool.call(WhichChildren())
        assert worker.restarts == 0
        await trio.sleep(5.0)
        assert await pool.call(WhichChildren()) == []
