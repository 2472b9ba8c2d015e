"""Pools: competing workers, acknowledged work, poison, size, bounds, and the end of it all."""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    CallTimeout,
    Killed,
    MailboxFull,
    NoSuchActor,
    Ref,
    StartFailed,
    System,
    Unhandled,
    handles,
    open_system,
)
from actors.testing import dead_letters
from supervisors import (
    Backoff,
    Child,
    ChildRefused,
    CountChildren,
    DeleteChild,
    DropPoison,
    DynamicSupervisor,
    GetChild,
    GetPoison,
    GetPool,
    MessagePoisoned,
    NoSuchPoison,
    Poisoned,
    Pool,
    PoolInfo,
    ReplaceChild,
    RestartChild,
    RestartLimitExceeded,
    RetryPoison,
    SetLimit,
    SetSize,
    StartChild,
    StopChild,
    WhichChildren,
)
from supervisors.specs import face_of
from tests.supervisors.pools.pool_workers import (
    Die,
    DieQuietly,
    Log,
    Nobodys,
    NotToday,
    Other,
    Refuse,
    Tell,
    Work,
    Worker,
)


@pytest.fixture
def log() -> Log:
    return Log()


async def start(system: System, log: Log, child: Any = None, **keywords: Any) -> Ref[Any]:
    """A pool, on its own."""
    keywords = {"min": 2, "max": 2, **keywords}
    return await system.start(Pool(child or Child(Worker, log), **keywords))


async def at_once(*calls: Callable[[], Awaitable[Any]]) -> list[Any]:
    """All of them; results and errors, in the order given."""
    results: list[Any] = [None] * len(calls)

    async def make(index: int, call: Callable[[], Awaitable[Any]]) -> None:
        try:
            results[index] = await call()
        except Exception as error:
            results[index] = error

    async with trio.open_nursery() as nursery:
        for index, call in enumerate(calls):
            nursery.start_soon(make, index, call)
            await wait_all_tasks_blocked()
    return results


async def stands(pool: Ref[Any]) -> PoolInfo:
    """How a pool stands."""
    info: PoolInfo = await pool.call(GetPool())
    return info


# -- taking and handing over


async def test_workers_compete_each_with_one_message_at_a_time(system: System, log: Log) -> None:
    pool = await start(system, log)
    began = trio.current_time()
    answers = await at_once(*(partial(pool.call, Work(str(each), 1.0), None) for each in range(6)))
    assert trio.current_time() - began == pytest.approx(3.0)
    assert log.most_at_once == 2
    assert log.begun == list("012345")
    assert sorted(each.split()[-1] for each in answers) == ["Worker-1"] * 3 + ["Worker-2"] * 3


async def test_refusals_and_answers_are_the_workers_own(system: System, log: Log) -> None:
    pool = await start(system, log)
    assert await pool.call(Work("a")) == "a by Worker-1"
    with pytest.raises(NotToday):
        await pool.call(Refuse())
    with pytest.raises(Unhandled):
        await pool.call(Nobodys())
    assert (await stands(pool)).replaced == 0


async def test_one_way_messages_are_done_as_well(system: System, log: Log) -> None:
    pool = await start(system, log)
    for each in "abc":
        pool.cast(Tell(each))
    await wait_all_tasks_blocked()
    assert sorted(log.done) == ["a", "b", "c"]
    assert (await stands(pool)).done == 3


async def test_a_one_way_message_that_no_worker_handles_has_failed(
    system: System, log: Log
) -> None:
    pool = await start(system, log, Child(lambda: Worker(log)))
    letters = dead_letters(system)
    pool.cast(Nobodys())
    await wait_all_tasks_blocked()
    assert [each.reason for each in letters] == ["no handler"]
    info = await stands(pool)
    (operation,) = info.operations
    assert (operation.failed, operation.done, operation.running, info.done) == (1, 0, 0, 0)


async def test_a_caller_who_has_gone_is_not_worked_for(system: System, log: Log) -> None:
    pool = await start(system, log, min=1, max=1)
    results = await at_once(
        partial(pool.call, Work("long", 10.0), None),
        partial(pool.call, Work("gone"), 5.0),
        partial(pool.call, Work("waits"), None),
    )
    assert isinstance(results[1], CallTimeout)
    assert log.begun == ["long", "waits"]
    assert (await stands(pool)).waiting == 0


# -- acknowledged after done


async def test_a_message_whose_worker_died_is_handed_to_another(system: System, log: Log) -> None:
    pool = await start(system, log, attempts=3)
    assert await pool.call(Die("twice", times=2)) == "twice"
    assert log.begun == ["twice"] * 3
    info = await stands(pool)
    assert (info.replaced, info.poisoned, info.done) == (2, 0, 1)
    assert (await pool.call(CountChildren())).active == 2


async def test_what_is_handed_over_again_comes_before_what_waits(system: System, log: Log) -> None:
    pool = await start(system, log, min=1, max=1)
    await at_once(
        partial(pool.call, Work("first", 1.0), None),
        partial(pool.call, Die("again", times=1), None),
        partial(pool.call, Work("last"), None),
    )
    assert log.begun == ["first", "again", "again", "last"]


async def test_poison_is_set_aside_and_can_be_read(system: System, log: Log) -> None:
    seen: list[MessagePoisoned] = []
    system.telemetry.listen(seen.append, MessagePoisoned)
    pool = await start(system, log, attempts=3)
    with pytest.raises(Poisoned) as poisoned:
        await pool.call(Die("poison"))
    assert poisoned.value.operation == "Die"
    assert poisoned.value.attempts == 3
    assert poisoned.value.reasons == ["poison is too much"] * 3
    [found] = await pool.call(GetPoison())
    assert (found.message, found.attempts) == (Die("poison"), 3)
    assert found.reasons == ("poison is too much",) * 3
    assert [each.message for each in seen] == [Die("poison")]
    assert await pool.call(Work("after")) is not None


async def test_poison_may_be_one_way(system: System, log: Log) -> None:
    pool = await start(system, log, attempts=2)
    letters = dead_letters(system)
    pool.cast(DieQuietly("quiet"))
    await wait_all_tasks_blocked()
    assert [each.message for each in await pool.call(GetPoison())] == [DieQuietly("quiet")]
    assert [each.message for each in letters] == [DieQuietly("quiet")]


async def test_poison_is_tried_again_or_dropped_on_request(system: System, log: Log) -> None:
    pool = await start(system, log, attempts=1)
    for name in ("mended", "hopeless"):
        with pytest.raises(Poisoned):
            await pool.call(Die(name, times=1))
    first, second = await pool.call(GetPoison())
    await pool.call(RetryPoison(first.number))
    await wait_all_tasks_blocked()
    assert log.done == ["mended"]
    await pool.call(DropPoison(second.number))
    assert await pool.call(GetPoison()) == []
    with pytest.raises(NoSuchPoison, match=f"no message {second.number}; it has: none"):
        await pool.call(RetryPoison(second.number))


async def test_a_worker_is_told_which_attempt_it_makes(system: System) -> None:
    tries: list[int] = []

    class Third(Actor):
        @handles
        def quietly(self, msg: Tell) -> None:
            tries.append(self.envelope.attempt)
            if len(tries) % 3:
                raise ValueError("not yet")

        @handles
        async def work(self, msg: Work) -> str:
            self.quietly(Tell(msg.name))
            return msg.name

    pool = await system.start(Pool(Child(Third), min=1, max=1))
    assert await pool.call(Work("a")) == "a"
    pool.cast(Tell("b"))
    await wait_all_tasks_blocked()
    assert tries == [1, 2, 3] * 2
    alone = await system.start(Third)
    alone.cast(Tell("c"))
    await wait_all_tasks_blocked()
    assert tries[6:] == [1]


async def test_poison_may_be_a_tuple(system: System) -> None:
    """As an item of a queue is one."""
    tries: list[Any] = []

    class Pairs(Actor):
        @handles
        def pair(self, msg: tuple) -> None:  # type: ignore[type-arg]
            tries.append((msg, self.envelope.sender))
            if len(tries) == 1:
                raise ValueError("not yet")

    pool = await system.start(Pool(Child(Pairs), attempts=1))
    pool.cast((1, 2))
    await wait_all_tasks_blocked()
    (poison,) = await pool.call(GetPoison())
    await pool.call(RetryPoison(poison.number))
    await wait_all_tasks_blocked()
    assert tries == [((1, 2), None)] * 2


async def test_mistake_12_a_slow_worker_keeps_its_message(system: System, log: Log) -> None:
    """However long it takes, and whether its caller waits for it or not."""
    pool = await start(system, log)
    with pytest.raises(CallTimeout):
        await pool.call(Work("slow", 3600.0), timeout=1.0)
    await trio.sleep(4000)
    assert log.begun == ["slow"] == log.done


# -- how many workers


async def test_the_number_of_workers_follows_the_work(system: System, log: Log) -> None:
    pool = await start(system, log, min=1, max=4, cooldown=30.0)
    assert len((await stands(pool)).workers) == 1
    async with trio.open_nursery() as nursery:
        for each in range(10):
            nursery.start_soon(pool.call, Work(str(each), 1.0), None)
        await trio.sleep(0.5)
        assert len((await stands(pool)).workers) == 4
    await trio.sleep(29)
    assert len((await stands(pool)).workers) == 4
    await trio.sleep(2)
    assert len((await stands(pool)).workers) == 1
    assert log.stopped == ["Shutdown"] * 3


async def test_a_pool_may_have_no_worker_until_there_is_work(system: System, log: Log) -> None:
    pool = await start(system, log, min=0, max=2, cooldown=5.0)
    assert (await stands(pool)).workers == ()
    assert await pool.call(Work("a")) == "a by Worker-1"
    await trio.sleep(11)
    assert (await stands(pool)).workers == ()
    assert await pool.call(Work("b")) == "b by Worker-1"


async def test_the_size_is_set_at_run_time(system: System, log: Log) -> None:
    pool = await start(system, log, min=1, max=1, cooldown=1.0)
    await pool.call(SetSize(3, 5))
    await wait_all_tasks_blocked()
    assert len((await stands(pool)).workers) == 3
    await pool.call(SetSize(0, 1))
    await trio.sleep(3)
    assert (await stands(pool)).workers == ()


async def test_workers_above_the_most_leave_as_soon_as_they_are_free(
    system: System, log: Log
) -> None:
    pool = await start(system, log, min=4, max=4, cooldown=math.inf)
    async with trio.open_nursery() as nursery:
        for each in range(40):
            nursery.start_soon(pool.call, Work(str(each), 1.0), None)
        await trio.sleep(0.5)
        await pool.call(SetSize(1, 1))
        assert len((await stands(pool)).workers) == 4
        await trio.sleep(1)
        assert len((await stands(pool)).workers) == 1
    assert sorted(map(int, log.begun)) == sorted(map(int, log.done)) == list(range(40))
    assert log.stopped == ["Shutdown"] * 3
    assert (await stands(pool)).replaced == 0
    assert trio.current_time() == pytest.approx(37.0)


async def test_who_has_nothing_in_hand_leaves_first_and_at_once(system: System, log: Log) -> None:
    pool = await start(system, log, min=3, max=3, cooldown=math.inf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.call, Work("long", 50.0), None)
        await wait_all_tasks_blocked()
        await pool.call(SetSize(1, 1))
        await wait_all_tasks_blocked()
        assert [each.running for each in (await stands(pool)).workers] == [1]
    assert log.done == ["long"]


async def test_who_has_not_left_yet_stays_if_the_pool_is_to_be_larger(
    system: System, log: Log
) -> None:
    pool = await start(system, log, min=4, max=4, cooldown=math.inf)
    async with trio.open_nursery() as nursery:
        for each in range(4):
            nursery.start_soon(pool.call, Work(str(each), 5.0), None)
        await wait_all_tasks_blocked()
        before = [each.id for each in (await stands(pool)).workers]
        await pool.call(SetSize(1, 1))
        await pool.call(SetSize(1, 3))
    await wait_all_tasks_blocked()
    after = [each.id for each in (await stands(pool)).workers]
    assert len(after) == 3 and set(after) < set(before)
    assert log.stopped == ["Shutdown"]


async def test_a_worker_on_its_way_out_that_dies_is_not_replaced(system: System, log: Log) -> None:
    pool = await start(system, log, min=2, max=2, cooldown=math.inf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.call, Work("a", 1.0), None)
        nursery.start_soon(pool.call, Work("b", 50.0), None)
        await wait_all_tasks_blocked()
        await pool.call(SetSize(1, 1))
        for each in await pool.call(WhichChildren()):
            await each.ref.stop(Killed())
    assert sorted(log.begun) == ["a", "a", "b", "b"] and sorted(log.done) == ["a", "b"]
    assert len((await stands(pool)).workers) == 1


async def test_busy_workers_are_not_stopped(system: System, log: Log) -> None:
    pool = await start(system, log, min=0, max=2, cooldown=1.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.call, Work("long", 50.0), None)
        nursery.start_soon(pool.call, Work("short", 1.0), None)
        await trio.sleep(10)
        assert [each.running for each in (await stands(pool)).workers] == [1]
    assert sorted(log.done) == ["long", "short"]


# -- bounds that can be turned


async def test_an_operation_is_bounded_and_the_others_are_not(system: System, log: Log) -> None:
    pool = await start(system, log, min=4, max=4)
    await pool.call(SetLimit(Work, concurrency=1))
    began = trio.current_time()
    await at_once(
        *(partial(pool.call, Work(f"w{each}", 1.0), None) for each in range(3)),
        *(partial(pool.call, Other(f"o{each}"), None) for each in range(3)),
    )
    assert trio.current_time() - began == pytest.approx(3.0)
    assert log.begun == ["w0", "o0", "o1", "o2", "w1", "w2"]


async def test_a_bound_of_none_holds_everything_until_it_is_lifted(
    system: System, log: Log
) -> None:
    pool = await start(system, log)
    await pool.call(SetLimit(Work, concurrency=0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.call, Work("held"), None)
        await trio.sleep(100)
        assert log.begun == []
        assert await pool.call(Other("passes")) == "passes by Worker-1"
        await pool.call(SetLimit(Work))
    assert log.done == ["passes", "held"]


async def test_a_rate_spreads_what_comes_at_once(system: System, log: Log) -> None:
    pool = await start(system, log)
    await pool.call(SetLimit(Work, rate=2.0, burst=1))
    began = trio.current_time()
    await at_once(*(partial(pool.call, Work(str(each)), None) for each in range(5)))
    moments = [moment - began for _, moment in log.moments]
    assert moments == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0])


async def test_a_rate_is_turned_while_messages_wait(system: System, log: Log) -> None:
    pool = await start(system, log)
    await pool.call(SetLimit(Work, rate=0.001, burst=1))
    async with trio.open_nursery() as nursery:
        for each in range(3):
            nursery.start_soon(pool.call, Work(str(each)), None)
        await trio.sleep(10)
        assert len(log.begun) == 1
        await pool.call(SetLimit(Work, rate=1000.0))
    assert len(log.done) == 3
    assert trio.current_time() < 20


async def test_a_pool_says_how_it_stands(system: System, log: Log) -> None:
    pool = await start(system, log, min=1, max=1)
    await pool.call(SetLimit(Other, concurrency=3, rate=5.0))
    async with trio.open_nursery() as nursery:
        for each in range(3):
            nursery.start_soon(pool.call, Work(str(each), 1.0), None)
        await wait_all_tasks_blocked()
        info = await stands(pool)
        assert (info.min, info.max, info.waiting, info.running) == (1, 1, 2, 1)
        work = {each.operation: each for each in info.operations}["Work"]
        assert (work.waiting, work.running, work.done, work.concurrency) == (2, 1, 0, None)
        other = {each.operation: each for each in info.operations}["Other"]
        assert (other.concurrency, other.rate) == (3, 5.0)
        [worker] = info.workers
        assert (worker.id, worker.up, worker.running, worker.taken) == ("Worker-1", True, 1, 1)


# -- one piece of work, one key


class Keyed:
    """Calls under a key, as a workflow's step is."""

    def __init__(self, pool: Ref[Any]) -> None:
        self.pool = pool

    async def call(self, message: Any, key: str, timeout: float | None = None) -> Any:
        from actors.replies import Slot
        from actors.runtime import calls

        class KeyedSlot(Slot):
            __slots__ = ("key",)

        place = self.pool._place
        deadline = None if timeout is None else trio.current_time() + timeout
        slot = KeyedSlot(message, place, timeout, deadline)
        slot.key = key
        calls.enqueue(place, (message, slot, None, 0, 0, 0))
        return await calls.answer(slot, None)


async def test_a_message_sent_again_under_its_key_is_not_handled_twice(
    system: System, log: Log
) -> None:
    pool = await start(system, log)
    keyed = Keyed(pool)
    with pytest.raises(CallTimeout):
        await keyed.call(Work("once", 10.0), "k", timeout=2.0)
    assert await keyed.call(Work("once", 10.0), "k") == "once by Worker-1"
    assert log.begun == ["once"]


async def test_two_who_wait_under_one_key_get_one_answer(system: System, log: Log) -> None:
    pool = await start(system, log)
    keyed = Keyed(pool)
    answers = await at_once(
        *(partial(keyed.call, Work("once", 3.0), "k") for _ in range(3)),
        partial(keyed.call, Work("else", 3.0), "other"),
    )
    assert answers == ["once by Worker-1"] * 3 + ["else by Worker-2"]


async def test_sent_again_a_message_keeps_its_place_in_the_queue(system: System, log: Log) -> None:
    pool = await start(system, log, min=1, max=1)
    keyed = Keyed(pool)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.call, Work("first", 10.0), None)
        await wait_all_tasks_blocked()
        with pytest.raises(CallTimeout):
            await keyed.call(Work("keyed"), "k", timeout=1.0)
        nursery.start_soon(pool.call, Work("later"), None)
        await wait_all_tasks_blocked()
        nursery.start_soon(keyed.call, Work("keyed"), "k")
    assert log.begun == ["first", "keyed", "later"]


# -- a full queue


async def test_what_waits_counts_against_the_bound_of_the_mailbox(system: System, log: Log) -> None:
    pool = await start(system, log, min=1, max=1, mailbox=3)
    await pool.call(SetLimit(Tell, concurrency=0))
    for each in "abc":
        pool.cast(Tell(each))
        await wait_all_tasks_blocked()
    with pytest.raises(MailboxFull):
        pool.cast(Tell("d"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(pool.send, Tell("d"))
        await wait_all_tasks_blocked()
        await pool.call(SetLimit(Tell))
    await wait_all_tasks_blocked()
    assert log.done == ["a", "b", "c", "d"]


# -- the end


async def test_a_stop_lets_workers_finish_and_gives_back_what_waits(
    system: System, log: Log
) -> None:
    pool = await start(system, log, min=1, max=1, restart="temporary")
    letters = dead_letters(system)
    results: list[Any] = []

    async def ask(name: str) -> None:
        try:
            results.append(await pool.call(Work(name, 2.0), None))
        except Exception as error:
            results.append(error)

    async with trio.open_nursery() as nursery:
        for name in ("begun", "waits"):
            nursery.start_soon(ask, name)
            await wait_all_tasks_blocked()
        pool.cast(Tell("one-way"))
        await wait_all_tasks_blocked()
        nursery.start_soon(pool.stop)
    assert isinstance(results[0], NoSuchActor) and "was not handled" in str(results[0])
    assert results[1] == "begun by Worker-1"
    assert log.begun == ["begun"] == log.done
    assert [each.message for each in letters] == [Tell("one-way")]
    with pytest.raises(NoSuchActor):
        await pool.call(Work("too late"))


async def test_a_stop_is_bounded_by_the_workers_shutdown(system: System, log: Log) -> None:
    pool = await start(
        system, log, Child(Worker, log, shutdown=3.0), min=1, max=1, restart="temporary"
    )
    async with trio.open_nursery() as nursery:
        errors: list[Exception] = []

        async def ask() -> None:
            try:
                await pool.call(Work("endless", math.inf), None)
            except ActorDied as error:
                errors.append(error)

        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await pool.stop()
        assert trio.current_time() - began == pytest.approx(3.0)
    # Begun, and not done: its caller is told, and nobody does it again.
    assert len(errors) == 1
    assert log.begun == ["endless"] and log.done == []


async def test_a_pool_that_cannot_start_its_workers_does_not_start(
    system: System, log: Log
) -> None:
    log.broken = True
    with pytest.raises(StartFailed, match="it does not come up"):
        await start(system, log)


async def test_a_worker_that_comes_up_again_finds_the_queue(system: System, log: Log) -> None:
    child = Child(Worker, log, backoff=Backoff(1.0, 8.0, jitter=0.0))
    pool = await start(system, log, child, min=1, max=1, attempts=3)
    began = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def mend() -> None:
            await trio.sleep(6.0)
            log.broken = False

        log.broken = True
        nursery.start_soon(mend)
        assert await pool.call(Die("once", times=1), None) == "once"
    # It died at once; further starts after 0, 1, 3 and 7 seconds.
    assert trio.current_time() - began == pytest.approx(7.0)


async def test_a_limit_of_the_backoff_is_the_end_of_the_pool(log: Log) -> None:
    child = Child(Worker, log, backoff=Backoff(1.0, 8.0, limit=2))
    with pytest.raises(RestartLimitExceeded):
        async with open_system(Pool(child, min=1, max=1, name="pool"), watchdog=None) as system:
            pool = system.whereis("pool")
            assert pool is not None
            log.broken = True
            pool.cast(DieQuietly("x"))
            await trio.sleep_forever()


async def test_administration_says_who_the_workers_are(system: System, log: Log) -> None:
    pool = await start(system, log)
    children = await pool.call(WhichChildren())
    assert [each.id for each in children] == ["Worker-1", "Worker-2"]
    ref = children[1].ref
    assert (await pool.call(GetChild(ref))).id == "Worker-2"


async def test_nobody_else_starts_or_stops_workers(system: System, log: Log) -> None:
    pool = await start(system, log, min=1, max=1)
    (worker,) = await pool.call(WhichChildren())
    spec = Child(Worker, log)
    for message in (
        StartChild(spec),
        StopChild(worker.ref),
        RestartChild(worker.ref),
        DeleteChild(worker.ref),
        ReplaceChild(worker.ref, spec),
    ):
        name = type(message).__name__
        text = rf"^/supervised/Worker-\d+: SetSize says how many workers a pool has. Got: {name}$"
        with pytest.raises(ChildRefused, match=text):
            await pool.call(message)
    assert await pool.call(WhichChildren()) == [worker]


async def test_a_workers_own_handlers_do_not_hide_the_administration(system: System) -> None:
    pool = await system.start(Pool(Child(DynamicSupervisor), min=1, max=1))
    assert [each.id for each in await pool.call(WhichChildren())] == ["DynamicSupervisor-1"]


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"min": -1}, "min is an int of 0 or more. Got: -1"),
        ({"max": 0}, "max is an int of 1 or more"),
        ({"min": 3, "max": 2}, "not less than min (3). Got: 2"),
        ({"attempts": 0}, "attempts are an int of 1 or more. Got: 0"),
        ({"cooldown": -1}, "cooldown is 0 or more seconds. Got: -1"),
        ({"prefetch": 1}, "prefetch is True or False. Got: 1"),
    ],
    ids=repr,
)
def test_what_is_refused_is_told(keywords: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=re.escape(text)):
        Pool(Child(Worker, Log()), **keywords)


def test_a_pool_is_a_child_and_shows_whose() -> None:
    spec = Pool(Child(Worker, Log()), min=1, max=3, id="words")
    assert isinstance(spec, Child)
    assert (spec.label, spec.kind, face_of(spec)) == ("words", "supervisor", Worker)
    with pytest.raises(ValueError, match="has no name and is not significant"):
        Pool(Child(Worker, Log(), name="one"))
    with pytest.raises(ValueError, match="is a worker, and no other Pool. Got: Pool"):
        Pool(spec)


async def test_one_attempt_and_one_worker_are_one(
    system: System, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    pool = await start(system, log, attempts=1)
    with pytest.raises(Poisoned, match="^Die was set aside after 1 attempt; the last worker"):
        await pool.call(Die("x"))
    assert "which has cost it 1 worker; the last died of: " in caplog.text


async def test_what_is_set_aside_names_a_pool_that_has_a_name(
    system: System, log: Log, caplog: pytest.LogCaptureFixture
) -> None:
    pool = await start(system, log, attempts=1, name="words")
    with pytest.raises(Poisoned):
        await pool.call(Die("x"))
    assert f"{pool.path}, named 'words', has set aside Die(" in caplog.text
