"""Where rules meet: pauses, cancels, deaths and changed code in the middle of one another."""

from __future__ import annotations

import gc
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors import ActorDied, open_system
from mediators import (
    Handle,
    JournalFull,
    Mediator,
    SqliteJournal,
    Status,
    WorkflowEnded,
)
from mediators.execution.execution import Execution
from mediators.journal.sqlite import SqliteShard
from supervisors import Child
from tests.mediators.shops import (
    HANG,
    Boom,
    Do,
    Flow,
    Other,
    OutOfStock,
    Tell,
    Undo,
    Worker,
    World,
    start,
)

if TYPE_CHECKING:
    from pathlib import Path

    from actors.testing import VirtualClock


# -- changed code where a fork was undone


async def test_w6_code_that_differs_before_a_race_was_decided_is_paused_and_not_undone(
    virtual_clock: VirtualClock,
) -> None:
    first = "a"

    async def code(flow: Any) -> str:
        await flow.step(Do(first), undo=Undo("a"))

        async def loser() -> None:
            await flow.step(Do("b"), undo=Undo("b"))
            await flow.sleep(1000)

        await flow.race(loser(), flow.sleep(5))
        await flow.step(Do("c"), undo=Undo("c"))
        told: Tell = await flow.receive(Tell)
        return told.text

    world = World(virtual_clock, code)
    async with world.running() as shop:
        await start(shop)
        await trio.sleep(60)
        world.dies()
    first = "changed"
    async with world.running() as shop:
        await trio.sleep(60)
        assert await Handle(shop, "w").status() is Status.PAUSED
        world.dies()
    first = "a"
    async with world.running() as shop:
        handle = Handle(shop, "w")
        assert await handle.status() is Status.WAITING
        await handle.signal(Tell("done"))
        assert await handle.result() == "done"
    assert world.log == "a, b, undo b, c"


async def test_w8_compensation_goes_on_where_the_code_has_changed(
    virtual_clock: VirtualClock,
) -> None:
    first = "a"

    async def code(flow: Any) -> None:
        await flow.step(Do(first), undo=Undo("a"))
        await flow.step(Do("b"), undo=Undo("b"))
        raise OutOfStock("c")

    world = World(virtual_clock, code, script={"undo b": [HANG]})
    async with world.running() as shop:
        await start(shop)
        world.dies()
    first = "changed"
    async with world.running() as shop:
        with pytest.raises(OutOfStock):
            await Handle(shop, "w").result(timeout=60)
    assert world.log == "a, b, undo b, undo b, undo a"


# -- pauses and cancels


async def test_w17_paused_again_while_it_compensates_it_is_resumed(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await flow.step(Do("a"), undo=Undo("a"))
        await flow.sleep(100)

    world = World(virtual_clock, code, script={"undo a": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await handle.pause()
        await handle.cancel()
        await handle.pause()
        await world.answer("undo a")
        await handle.resume()
        with pytest.raises(WorkflowEnded):
            await handle.result(timeout=60)
    assert world.log == "a, undo a"


@pytest.mark.parametrize("how", ["cancel the parent", "cancel the child"])
async def test_w12_a_child_that_is_paused_while_it_compensates_ends_once_it_is_resumed(
    virtual_clock: VirtualClock, how: str
) -> None:
    async def parent(flow: Any) -> None:
        await flow.child(Other())

    async def child(flow: Any) -> None:
        await flow.step(Do("k"), undo=Undo("k"))
        raise OutOfStock("k")

    world = World(virtual_clock, parent, other=child, script={"undo k": [HANG]})
    async with world.running() as shop:
        handle, other = await start(shop), Handle[Any](shop, "other")
        await other.pause()
        await world.answer("undo k")
        await (handle if how == "cancel the parent" else other).cancel()
        await other.resume()
        with pytest.raises(WorkflowEnded):
            await handle.result(timeout=60)
    assert world.log == "k, undo k"


async def test_w8_an_undo_that_stands_as_an_incident_is_not_lost_to_a_cancel(
    virtual_clock: VirtualClock,
) -> None:
    def no_undo(answer: str) -> Undo:
        raise Boom(answer)

    async def code(flow: Any) -> None:
        async def late() -> None:
            await flow.sleep(5)
            raise OutOfStock("b")

        await flow.gather(flow.step(Do("a"), undo=no_undo), late())

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        await trio.sleep(6)
        assert await handle.status() is Status.INCIDENT
        await handle.pause()
        await handle.cancel()
        assert await handle.status() is Status.INCIDENT
        await handle.skip()
        with pytest.raises(WorkflowEnded):
            await handle.result(timeout=60)


# -- many runs in one


async def test_w13_a_chain_of_runs_is_no_deeper_than_one(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> int:
        if len(flow.items) < 400:
            await flow.continue_as_new(Flow(items=[*flow.items, "x"]))
        return len(flow.items)

    world = World(virtual_clock, code)
    async with world.running() as shop:
        assert await (await start(shop)).result() == 400


async def test_w12_a_child_that_would_wait_for_its_parent_fails(
    virtual_clock: VirtualClock,
) -> None:
    async def parent(flow: Any) -> None:
        await flow.child(Other())

    async def child(flow: Any) -> None:
        await flow.sleep(1)
        await flow.child(Flow())

    world = World(virtual_clock, parent, other=child)
    async with world.running() as shop:
        handle = await start(shop)
        with pytest.raises(WorkflowEnded, match="it waits for"):
            await handle.result(timeout=60)


async def test_w10_no_other_workflow_has_the_same_key(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> Any:
        if flow.id == "x":
            return await flow.gather(flow.step(Do("x")), flow.sleep(0))
        return await flow.step(Do("other"))

    world = World(virtual_clock, code, keyed=True)
    async with world.running() as shop:
        await start(shop, Flow("x"))
        await start(shop, Flow("x/1/gather.1"))
    assert world.log == "x, other"
    assert len(set(world.keys)) == 2


async def test_a_finished_run_is_not_kept_until_its_timeout(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> None:
        await flow.race(flow.receive(Tell, timeout=86_400), flow.sleep(0))

    world = World(virtual_clock, code)
    async with world.running() as shop:
        for number in range(1500):
            await (await start(shop, Flow(str(number)))).result()
        gc.collect()
        alive = sum(isinstance(each, Execution) for each in gc.get_objects())
    assert alive < 1200


# -- a stop while a commit is on its way


class Disk:
    """A disk that is slow, so that commits go through a thread; ``fails`` is raised there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.fails: Exception | None = None
        append = SqliteShard.append

        def slow(shard: Any, batch: Any) -> None:
            if threading.current_thread() is not threading.main_thread():
                time.sleep(0.2)
                if self.fails is not None:
                    error, self.fails = self.fails, None
                    raise error
            append(shard, batch)

        monkeypatch.setattr(SqliteShard, "append", slow)


async def stop_in_flight(
    path: Path, world: World, disk: Disk, error: Exception | None
) -> list[str]:
    """Signal, and stop while the first signal's commit is in the thread; what was acknowledged."""
    acknowledged = []
    Flow.code = staticmethod(world.code)

    class Orders(Mediator):
        components = [Child(Worker, world)]
        workflows = [Flow]
        types = [Tell]
        journal = str(path)

    async with open_system(watchdog=None) as system:
        orders = await system.start(Child(Orders, restart="temporary"))
        handle = await start(orders)
        committer = orders._place.actor._driver.committer
        committer._pace.took(8.0)

        async def signal(text: str) -> None:
            try:
                await handle.signal(Tell(text))
            except ActorDied:
                return
            acknowledged.append(text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(signal, "one")
            while committer.writing is None:
                await trio.lowlevel.checkpoint()
            disk.fails = error
            nursery.start_soon(signal, "two")
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            await orders.stop()
    return acknowledged


@pytest.mark.parametrize("error", [None, JournalFull("no room")])
def test_a_stop_while_a_commit_is_in_its_thread_loses_nothing_acknowledged(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    virtual_clock: VirtualClock,
    error: Exception | None,
) -> None:
    async def code(flow: Any) -> None:
        while True:
            await flow.receive(Tell)

    path = tmp_path / "orders.db"
    world, disk = World(virtual_clock, code), Disk(monkeypatch)
    acknowledged = trio.run(stop_in_flight, path, world, disk, error)
    assert sorted(acknowledged) == ([] if error else ["one", "two"])
    with SqliteJournal.read(path) as reader:
        row = reader.find("w")
        assert row is not None
        assert len(reader.history(row.number)) == 1 + len(acknowledged)
