"""The queue of a pool: who has gone, who comes back, and how much fits in."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, CallTimeout, Killed, MailboxFull, Ref, System, handles
from supervisors import Child, GetPool, SetLimit
from supervisors.pools.jobs import ABSENT, Job, Jobs
from supervisors.pools.pool import PoolSupervisor
from tests.supervisors.pools.pool_workers import Log, Other, Tell, Work
from tests.supervisors.pools.test_pool import Keyed, at_once, stands, start


@pytest.fixture
def log() -> Log:
    return Log()


def jobs_of(pool: Any) -> Jobs:
    """What waits in a pool."""
    actor = pool._place.actor
    assert isinstance(actor, PoolSupervisor)
    return actor._jobs


# -- callers who have gone


async def test_sent_again_a_message_is_handled_though_nothing_else_happens(
    system: System, log: Log
) -> None:
    pool = await start(system, log, min=1, max=1)
    keyed = Keyed(pool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.call, Work("long", 10.0), None)
        await wait_all_tasks_blocked()
        with pytest.raises(CallTimeout):
            await keyed.call(Work("keyed"), "k", timeout=1.0)
    assert await keyed.call(Work("keyed"), "k", timeout=1.0) == "keyed by Worker-1"
    assert log.begun == ["long", "keyed"]


async def test_who_is_back_has_its_place_between_others(system: System, log: Log) -> None:
    pool = await start(system, log, min=1, max=1)
    keyed = Keyed(pool)
    async with trio.open_nursery() as nursery:
        for name in ("first", "second"):
            nursery.start_soon(pool.call, Work(name, 10.0), None)
            await wait_all_tasks_blocked()
        for name in ("a", "b"):
            with pytest.raises(CallTimeout):
                await keyed.call(Work(name), name, timeout=1.0)
        nursery.start_soon(pool.call, Work("last"), None)
        await wait_all_tasks_blocked()
        for name in ("b", "a"):
            nursery.start_soon(keyed.call, Work(name), name)
            await wait_all_tasks_blocked()
        assert (await stands(pool)).waiting == 4
    assert log.begun == ["first", "second", "a", "b", "last"]


async def test_what_nobody_waits_for_is_not_looked_at_again_and_again(
    system: System, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = 0
    rate_is_up = PoolSupervisor._rate_is_up

    def count(self: PoolSupervisor) -> None:
        nonlocal looks
        looks += 1
        assert looks < 100, "it goes on for ever"
        rate_is_up(self)

    monkeypatch.setattr(PoolSupervisor, "_rate_is_up", count)
    pool = await start(system, log, min=2, max=2)
    keyed = Keyed(pool)
    await pool.call(SetLimit(Work, rate=0.1, burst=1))
    async with trio.open_nursery() as nursery:
        await pool.call(SetLimit(Other, concurrency=0))
        with pytest.raises(CallTimeout):
            await keyed.call(Other("abandoned"), "k", timeout=1.0)
        await pool.call(SetLimit(Other))
        for name in ("a", "b", "c"):
            nursery.start_soon(pool.call, Work(name), None)
    assert sorted(log.begun) == ["a", "b", "c"]


async def test_of_callers_who_have_gone_nothing_is_kept(system: System, log: Log) -> None:
    pool = await start(system, log)
    await pool.call(SetLimit(Work, concurrency=0))
    results = await at_once(*(partial(pool.call, Work(str(each)), 1.0) for each in range(50)))
    assert all(isinstance(each, CallTimeout) for each in results)
    [operation] = jobs_of(pool).operations.values()
    assert len(operation.queue) == 0


def test_of_keyed_messages_whose_callers_have_gone_the_last_are_kept() -> None:
    jobs = Jobs()
    slots = []
    for number in range(ABSENT + 100):
        slot: Any = KeyedSlot(str(number))
        job = Job(number, Work("x"), slot, None)
        jobs.add(job)
        slots.append((slot, job))
    for slot, job in slots:
        slot.done = True
        jobs.withdraw(job)
    assert jobs.waiting == 0 and jobs.next(0.0) is None
    back: Any = KeyedSlot("0")
    assert jobs.join("99", back) is None
    assert jobs.join("100", back) is slots[100][1]
    assert jobs.waiting == 1
    assert jobs.drain() == [slots[100][1]]


class KeyedSlot:
    """As much of a reply slot as a job needs."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.done = False


# -- a full queue


class Gate(Actor):
    """Hands everything on."""

    def __init__(self, to: Ref[Any]) -> None:
        self.to = to

    @handles
    async def every(self, msg: object) -> Any:
        self.to.forward(self.envelope)


async def full(system: System, log: Log, **keywords: Any) -> Ref[Any]:
    """A pool in which three messages wait, as many as may."""
    pool = await start(system, log, min=1, max=1, mailbox=3, **keywords)
    await pool.call(SetLimit(Tell, concurrency=0))
    for each in "abc":
        pool.cast(Tell(each))
        await wait_all_tasks_blocked()
    with pytest.raises(MailboxFull):
        pool.cast(Tell("d"))
    return pool


@pytest.mark.usefixtures("both_ways")
@pytest.mark.parametrize("way", ["call", "cast", "send", "forward"])
async def test_a_full_pool_can_be_administered(system: System, log: Log, way: str) -> None:
    pool = await full(system, log)
    with trio.fail_after(100.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.send, Tell("d"))
            await wait_all_tasks_blocked()
            assert (await pool.call(GetPool(), timeout=1.0)).waiting == 3
            if way == "call":
                await pool.call(SetLimit(Tell), timeout=1.0)
            elif way == "cast":
                pool.cast(SetLimit(Tell))
            elif way == "send":
                await pool.send(SetLimit(Tell))
            else:
                await (await system.start(Child(Gate, pool))).call(SetLimit(Tell), timeout=1.0)
    await wait_all_tasks_blocked()
    assert log.done == ["a", "b", "c", "d"]
    mailbox = pool._place.mailbox
    assert (mailbox.exempt, mailbox.capacity, len(mailbox)) == (0, 3, 0)


@pytest.mark.usefixtures("both_ways")
async def test_the_bound_holds_for_calls(system: System, log: Log) -> None:
    pool = await start(system, log, mailbox=3)
    await pool.call(SetLimit(Work, concurrency=0))
    calls = [
        partial(pool.call, Work(str(each)), timeout)
        for each in range(20)
        for timeout in (5.0, None)
    ]

    waiting = 0

    async def lift() -> None:
        nonlocal waiting
        await trio.sleep(6.0)
        waiting = (await stands(pool)).waiting
        await pool.call(SetLimit(Work))

    with trio.fail_after(100.0):
        results = await at_once(lift, *calls)
    # Beside those that wait in it a mailbox has let go of one, which is about to wait here.
    assert waiting <= 4
    assert sum(isinstance(each, CallTimeout) for each in results) == 20
    assert len(log.done) == 20


@pytest.mark.usefixtures("both_ways")
async def test_who_waits_for_room_is_let_in_when_there_is_some(system: System, log: Log) -> None:
    pool = await start(system, log, min=1, max=1, mailbox=1)
    began = trio.current_time()
    with trio.fail_after(100.0):
        await at_once(*(partial(pool.call, Work(str(each), 1.0), None) for each in range(6)))
    assert log.done == list("012345")
    assert trio.current_time() - began == pytest.approx(6.0)


async def test_a_pool_that_was_full_is_not_so_when_it_is_back(system: System, log: Log) -> None:
    pool = await full(system, log)
    with trio.fail_after(100.0):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(pool.send, Tell("d"))
            await wait_all_tasks_blocked()
            await pool.stop(Killed())
    await wait_all_tasks_blocked()
    for each in "efg":
        pool.cast(Tell(each))
        await wait_all_tasks_blocked()
    assert log.done == ["d", "e", "f", "g"]
