"""Mediators in shards: one live owner for each workflow id, one writer for the journal."""

from __future__ import annotations

import os
import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors import Actor, ActorDied, Killed, Refusal, StartFailed, handles, open_system
from mediators import (
    Handle,
    JournalFormat,
    Mediator,
    MemoryJournal,
    NoSuchWorkflow,
    SqliteJournal,
    Start,
    StartConflict,
    Status,
    StepFailed,
)
from mediators.journal.protocol import JournalUnreachable
from mediators.verbs import Fork, ListWorkflows, SendSignal
from observers.records import listed
from supervisors import Child, CountChildren, GetShards, Resize, Shards, WhichChildren
from supervisors.sharding.policy import shard_of_key
from supervisors.sharding.router import ShardRouter
from tests.actors.isolation.far_actors import real
from tests.mediators.sharded_shop import (
    Approved,
    Broken,
    Family,
    Nameless,
    OutOfStock,
    PidOf,
    Place,
    Progress,
    Shop,
    Waits,
    shop,
)
from tests.supervisors.sharding.sharded import Hold

if TYPE_CHECKING:
    from actors import Ref, System

IDS = [f"order-{number}" for number in range(24)]


async def start(system: System, journal: Any = None, **keywords: Any) -> Ref[Any]:
    keywords = {"count": 4, **keywords}
    return await system.start(Shards(Child(shop(journal)), **keywords))


async def test_workflows_run_in_the_shard_of_their_id(system: System) -> None:
    shards = await start(system)
    for id in IDS:
        assert await shards.call(Place(id)) == f"{id} paid, shipped"
    handles = [await shards.call(Start(Place(id))) for id in IDS]
    assert all(handle.mediator == shards for handle in handles)
    assert [await handle.status() for handle in handles] == [Status.DONE] * len(IDS)
    assert await handles[0].result() == "order-0 paid, shipped"


async def test_a_host_that_cannot_be_made_leaves_nobody_behind(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The writer of the journal is up by then."""

    def spec(self: ShardRouter, number: int) -> Any:
        assert self._companion is not None and self._companion.place.running
        raise TypeError("no such host")

    with monkeypatch.context() as patch, pytest.raises(StartFailed, match="no such host"):
        patch.setattr(ShardRouter, "_spec", spec)
        await start(system)
    shards = await start(system)
    assert await shards.call(Place("a")) == "a paid, shipped"


def test_workflows_are_not_for_an_actor_for_each_key() -> None:
    """Each would take its whole shard over, with all that runs there."""
    with pytest.raises(ValueError, match=r"each is 'shard' for Here.*leave it out. Got: each='k"):
        Shards(Child(shop()), each="key")


class Teller(Actor):
    """Somebody's component."""

    @handles
    async def hold(self, msg: Hold) -> str:
        await trio.sleep(msg.seconds)
        return f"{msg.who} held"


class Desk(Mediator):
    """Without workflows: there may be one for each key."""

    components = [Child(Teller)]


async def test_a_mediator_of_a_key_hears_its_first_message(system: System) -> None:
    shards = await system.start(Shards(Child(Desk), key="who", each="key", count=4))
    assert await shards.call(Hold("a", 1.0)) == "a held"


async def test_a_mediator_is_not_idle_while_a_component_is_at_work(system: System) -> None:
    shards = await system.start(Shards(Child(Desk), key="who", each="key", count=1, idle=1.0))
    assert await shards.call(Hold("a", 20.0), None) == "a held"
    await trio.sleep(2)
    (host,) = await shards.call(WhichChildren())
    assert (await host.ref.call(CountChildren())).active == 0


async def test_one_journal_has_all_shards(system: System, tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    shards = await start(system, str(path))
    for id in IDS:
        await shards.call(Place(id))
        await trio.sleep(1)
    with SqliteJournal.read(path) as reader:
        rows = reader.runs()
        assert sorted(row.id for row in rows) == sorted(IDS)
        assert {row.number >> 40 for row in rows} == {0, 1, 2, 3}
        assert all(row.number >> 40 == shard_of_key(row.id, 4) for row in rows)
        lines, earlier = listed(reader, None, None, 10, 0.0)
        assert ([line.row.id for line in lines], earlier) == (IDS[-10:], len(IDS) - 10)


async def test_a_listing_is_of_all_shards(system: System) -> None:
    shards = await start(system)
    for id in IDS:
        await shards.call(Place(id))
    listed = await shards.call(ListWorkflows())
    assert sorted(each.id for each in listed) == sorted(IDS)
    assert [each.started for each in listed] == sorted(each.started for each in listed)
    assert len(await shards.call(ListWorkflows(limit=5))) == 5


async def test_refusals_failures_and_conflicts_are_as_ever(system: System) -> None:
    shards = await start(system)
    with pytest.raises(OutOfStock):
        await shards.call(Place("order-1", item="nothing"))
    with pytest.raises(StepFailed):
        await shards.call(Broken("order-2"))
    await shards.call(Place("order-3"))
    with pytest.raises(StartConflict):
        await shards.call(Place("order-3", item="another"))
    with pytest.raises(NoSuchWorkflow):
        await Handle(shards, "nobody").status()


async def test_a_workflow_without_an_id_gets_one_of_its_shard(system: System) -> None:
    shards = await start(system)
    handles = [await shards.call(Start(Nameless(f"n{number}"))) for number in range(12)]
    for number, handle in enumerate(handles):
        assert await Handle(shards, handle.id).result() == f"n{number}"
    assert len({shard_of_key(handle.id, 4) for handle in handles}) == 4


async def test_signals_and_queries_find_their_workflow(system: System) -> None:
    shards = await start(system)
    handles = [await shards.call(Start(Waits(id))) for id in IDS[:8]]
    for number, handle in enumerate(handles):
        assert await handle.query(Progress()) == "waiting"
        await handle.signal(Approved(f"boss {number}"))
        assert await handle.result() == f"boss {number}"


async def test_children_live_with_their_parent_and_are_found_all_the_same(
    system: System,
) -> None:
    shards = await start(system)
    assert await shards.call(Family("family-1", ["a", "b", "c", "d", "e"])) == 5
    listed = {each.id for each in await shards.call(ListWorkflows())}
    children = [id for id in listed if id != "family-1"]
    assert len(children) == 5
    for id in children:
        # By whichever shard is asked: the journal knows where it is.
        assert await Handle(shards, id).status() == Status.DONE


async def test_a_fork_keeps_to_its_shard(system: System) -> None:
    shards = await start(system)
    await shards.call(Place("order-1"))
    same = next(
        f"f{n}" for n in range(99) if shard_of_key(f"f{n}", 4) == shard_of_key("order-1", 4)
    )
    other = next(
        f"f{n}" for n in range(99) if shard_of_key(f"f{n}", 4) != shard_of_key("order-1", 4)
    )
    fork = await shards.call(Fork("order-1", same))
    assert fork.mediator == shards
    assert await fork.result() == "order-1 paid, shipped"
    with pytest.raises(Refusal, match="belongs to another shard"):
        await shards.call(Fork("order-1", other))


async def test_the_number_of_shards_is_fixed_in_the_journal(system: System, tmp_path: Path) -> None:
    path = str(tmp_path / "orders.db")
    shards = await start(system, path, restart="temporary")
    await shards.call(Place("order-1"))
    await shards.stop()
    with pytest.raises(Exception, match="has 4 shards, and that is fixed"):
        await start(system, path, count=8)
    with pytest.raises(Exception, match="has 4 shards, and that is fixed"):
        await system.start(Child(shop(path)))
    again = await start(system, path)
    assert await again.call(Place("order-1")) == "order-1 paid, shipped"


async def test_a_journal_without_shards_stays_so(system: System, tmp_path: Path) -> None:
    path = str(tmp_path / "orders.db")
    ref = await system.start(Child(shop(path), restart="temporary"))
    await ref.call(Place("order-1"))
    await ref.stop()
    with pytest.raises(Exception, match=r"has 1 shards.*or with a mediator that is in no shards"):
        await start(system, path)


def test_both_kinds_of_journals_keep_the_number_of_their_shards(tmp_path: Path) -> None:
    for journal in (MemoryJournal(), SqliteJournal(tmp_path / "j.db")):
        journal.fix_shards(4)
        journal.fix_shards(4)
        with pytest.raises(JournalFormat, match="has 4 shards"):
            journal.fix_shards(1)
        journal.close()


async def test_workflows_go_on_where_their_shard_moves(system: System) -> None:
    shards = await start(system)
    handles = [await shards.call(Start(Waits(id))) for id in IDS]
    for hosts in (3, 1, 4, 2):
        await shards.call(Resize(hosts))
    for handle in handles:
        await handle.signal(Approved("boss"))
        assert await handle.result() == "boss"


class Slow(Mediator):
    """Takes its time itself, and one message after another."""

    @handles
    async def hold(self, msg: Hold) -> str:
        await trio.sleep(msg.seconds)
        return f"{msg.who} held"


@pytest.mark.parametrize("each", ["key", "shard"])
async def test_what_waits_for_a_mediator_moves_with_its_shard(system: System, each: Any) -> None:
    shards = await system.start(Shards(Child(Slow), key="who", each=each, count=2))
    held: list[str] = []

    async def hold(who: str) -> None:
        held.append(await shards.call(Hold(who, 1.0), None))

    async with trio.open_nursery() as nursery:
        for who in "aabbaabb":
            nursery.start_soon(hold, who)
        await trio.sleep(0.5)
        await shards.call(Resize(2), None)
    assert sorted(held) == ["a held"] * 4 + ["b held"] * 4


async def test_a_crash_of_one_driver_is_that_of_its_shard(system: System) -> None:
    shards = await start(system)
    handles = [await shards.call(Start(Waits(id))) for id in IDS[:8]]
    with pytest.raises(ActorDied):
        await shards.call(PidOf("order-1", crash=True))
    for handle in handles:
        await handle.signal(Approved("boss"))
        assert await handle.result() == "boss"


class Failing(MemoryJournal):
    """Can be neither written nor opened again, once it is broken."""

    def __init__(self) -> None:
        super().__init__()
        self.broken = False

    def fix_shards(self, count: int) -> None:
        if self.broken:
            raise JournalUnreachable("the disk is gone")
        super().fix_shards(count)

    def append_all(self, batches: Any) -> Any:
        if self.broken:
            raise RuntimeError("the disk is gone")
        return super().append_all(batches)


async def test_a_stop_does_not_wait_for_a_journal_that_cannot_be_opened(system: System) -> None:
    journal = Failing()
    shards = await start(system, journal, restart="temporary")
    await shards.call(Start(Waits("order-1")))
    journal.broken = True
    with pytest.raises(Exception, match="ended|did not answer"):
        await shards.call(SendSignal("order-1", Approved("boss")))
    await trio.sleep(1)
    with trio.move_on_after(60) as waited:
        await shards.stop(timeout=None)
    await shards.stop(Killed())
    assert not waited.cancelled_caught


# -- over processes


@real
async def test_shards_in_processes_write_to_one_journal(tmp_path: Path) -> None:
    path = tmp_path / "orders.db"
    async with open_system() as system:
        spec = Shards(Child(Shop, str(path)), count=4, processes=2)
        shards = await system.start(spec)
        results: dict[str, str] = {}

        async def place(id: str) -> None:
            results[id] = await shards.call(Place(id), timeout=None)

        async with trio.open_nursery() as nursery:
            for id in IDS:
                nursery.start_soon(place, id)
        assert results == {id: f"{id} paid, shipped" for id in IDS}
        pids = {await shards.call(PidOf(id)) for id in IDS}
        assert len(pids) == 2 and os.getpid() not in pids
        with pytest.raises(OutOfStock):
            await shards.call(Place("order-x", item="nothing"), timeout=None)
        with pytest.raises(StepFailed):
            await shards.call(Broken("order-y"), timeout=None)
        assert len(await shards.call(ListWorkflows())) == len(IDS) + 2
        handle = await shards.call(Start(Waits("waits-1")))
        assert handle.mediator == shards
        assert await handle.query(Progress()) == "waiting"
        await shards.call(SendSignal("waits-1", Approved("boss")))
        assert await handle.result() == "boss"
    with SqliteJournal.read(path) as reader:
        assert len(reader.runs()) == len(IDS) + 3


@real
async def test_a_killed_worker_loses_no_workflow(tmp_path: Path) -> None:
    async with open_system() as system:
        spec = Shards(Child(Shop, str(tmp_path / "orders.db")), count=4, processes=2)
        shards = await system.start(spec)
        handles = [await shards.call(Start(Waits(id)), timeout=None) for id in IDS]
        results: list[str] = []

        async def place(number: int) -> None:
            handle = await shards.call(Start(Place(f"late-{number}")), timeout=None)
            results.append(await handle.result())

        async def kill() -> None:
            for id in ("order-1", "order-2", "order-5"):
                os.kill(await shards.call(PidOf(id), timeout=None), signal.SIGKILL)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(kill)
            for number in range(20):
                nursery.start_soon(partial(retried, place, number))
        assert len(results) == 20
        for handle in handles:
            await retried(handle.signal, Approved("boss"))
            assert await handle.result() == "boss"
        assert len((await shards.call(GetShards())).hosts) == 2


async def retried(call: Any, *args: Any) -> None:
    """Ask again whoever has died meanwhile."""
    while True:
        try:
            await call(*args)
        except ActorDied:
            await trio.sleep(0.01)
        else:
            return


@real
async def test_shards_in_processes_need_a_journal_in_a_file() -> None:
    async with open_system() as system:
        with pytest.raises(Exception, match="keep their histories in a file"):
            await system.start(Shards(Child(Shop, None), count=2, processes=2))
