"""The workers of a pool: how many, who gets what, and what their end means."""

from __future__ import annotations

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import System
from supervisors import Backoff, Child, SetSize
from tests.supervisors.pools.pool_workers import Log, Work, Worker
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
