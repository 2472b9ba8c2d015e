"""The law of the journal: journal order is delivery order, an event and its consequences are one
batch, and nothing that follows from it leaves before that batch is committed."""

from __future__ import annotations

import gc
import warnings
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Call, handles
from mediators import Fenced, JournalFull, Start, Status, Workflow
from mediators import history as h
from mediators.journal.memory import MemoryShard
from tests.mediators.shops import (
    HANG,
    Boom,
    Crash,
    Do,
    Flow,
    Other,
    OutOfStock,
    Pack,
    Tell,
    Undo,
    World,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.testing import VirtualClock
    from mediators.journal.protocol import Batch


class Disk:
    """The journal of a test, whose commits can be made to wait or to fail."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.batches: list[Batch] = []
        self.error: Exception | None = None
        self.once = False
        self.lie = False
        """Answer without having written: the law's mechanism taken away."""
        append = MemoryShard.append

        def watched(shard: MemoryShard, batch: Batch) -> None:
            if self.error is not None:
                error = self.error
                if self.once:
                    self.error = None
                raise error
            self.batches.append(batch)
            if not self.lie:
                append(shard, batch)

        patch.setattr(MemoryShard, "append", watched)


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


@pytest.fixture(autouse=True)
def _nothing_is_left_unawaited() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
        gc.collect()


async def three(flow: Any) -> str:
    await flow.step(Do("a"))
    await flow.step(Pack("b"))
    return str(await flow.step(Do("c")))


# -- what is committed together


async def test_law_three_steps_cost_four_commits(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, three)
    async with world.running() as shop:
        assert await shop.call(Flow()) == "did c"
        assert world.journal.commits == 4


async def test_law_an_event_and_its_consequences_are_in_one_record_and_one_batch(
    virtual_clock: VirtualClock, disk: Disk
) -> None:
    world = World(virtual_clock, three)
    async with world.running() as shop:
        await shop.call(Flow())
    turns = [
        [type(each).__name__ for each in h.decode_turn(data).events]
        for batch in disk.batches
        for _, _, data in batch.records
    ]
    assert turns == [
        ["Started", "Intended"],
        ["Completed", "Intended"],
        ["Completed", "Intended"],
        ["Completed", "Ended"],
    ]
    assert len(disk.batches[0].runs) == 1
    assert disk.batches[-1].statuses[0][0] == "done"


async def test_law_a_child_begins_in_the_batch_of_its_parents_command_and_ends_in_one_with_it(
    virtual_clock: VirtualClock, disk: Disk
) -> None:
    async def other(flow: Any) -> str:
        return str(await flow.step(Do("a")))

    async def code(flow: Any) -> Any:
        return await flow.child(Other())

    world = World(virtual_clock, code, other=other)
    async with world.running() as shop:
        assert await shop.call(Flow()) == "did a"
    assert [len(each.records) for each in disk.batches] == [2, 2]
    assert {row.id for row in disk.batches[0].runs} == {"w", "other"}


async def test_law_what_comes_together_is_committed_together(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, three)
    async with world.running() as shop:
        async with trio.open_nursery() as nursery:
            for number in range(50):
                nursery.start_soon(shop.call, Flow(f"w{number}"))
        assert world.journal.commits < 50
    assert len(world.done) == 150


# -- nothing leaves before


async def everything(flow: Any) -> Any:
    """Gives one of each kind of consequence at the signal that ``flow.items`` names."""
    await flow.receive(Tell)
    match flow.items[0]:
        case "step":
            await flow.step(Do("a"))
        case "effect":
            await flow.effect(outside)
        case "child":
            await flow.child(Other("c"))
        case "sleep":
            await flow.sleep(0)
            world_of_effects.append("woke")
            await flow.receive(Undo)
        case "undo":
            raise OutOfStock("x")
        case _:
            pass
    return "reply"


world_of_effects: list[str] = []


async def outside() -> None:
    world_of_effects.append("effect")


async def in_child(flow: Any) -> None:
    await flow.step(Do("child's"))


KINDS = ["step", "effect", "child", "sleep", "reply"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "error", [Fenced("another owner"), JournalFull("no room")], ids=["fenced", "full"]
)
async def test_law_no_consequence_leaves_when_the_commit_fails(
    virtual_clock: VirtualClock, disk: Disk, kind: str, error: Exception
) -> None:
    world_of_effects.clear()
    replies: list[Any] = []

    async def wait(handle: Any) -> None:
        with trio.move_on_after(50):
            replies.append(await handle.result())

    world = World(virtual_clock, everything, other=in_child)
    async with world.running() as shop:
        handle = await start(shop, Flow("w", [kind]))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wait, handle)
            await wait_all_tasks_blocked()
            disk.error = error
            with pytest.raises(Exception, match=r"."), trio.fail_after(2):
                await handle.signal(Tell("go"))
            assert world.done == world_of_effects == replies == []
            nursery.cancel_scope.cancel()
        disk.error = None
    assert world.kinds() == ["Started", "Awaited"]


@pytest.mark.parametrize("kind", KINDS)
async def test_law_a_journal_that_lies_lets_every_kind_of_consequence_out(
    virtual_clock: VirtualClock, disk: Disk, kind: str
) -> None:
    world_of_effects.clear()
    replies: list[Any] = []

    async def wait(handle: Any) -> None:
        replies.append(await handle.result())

    world = World(virtual_clock, everything, other=in_child)
    async with world.running() as shop, trio.open_nursery() as nursery:
        handle = await start(shop, Flow("w", [kind]))
        nursery.start_soon(wait, handle)
        await wait_all_tasks_blocked()
        disk.lie = True
        await handle.signal(Tell("go"))
        await trio.sleep(1)
        if kind == "reply":
            assert replies == ["reply"]
        else:
            assert [*world.done, *world_of_effects]
        nursery.cancel_scope.cancel()
        assert world.kinds() == ["Started", "Awaited"]


async def test_law_a_start_is_answered_once_it_is_on_disk_and_not_before(
    virtual_clock: VirtualClock, disk: Disk
) -> None:
    world = World(virtual_clock, three)
    async with world.running() as shop:
        disk.error = JournalFull("no room")
        with pytest.raises(Exception, match=r"."):
            await shop.call(Start(Flow()), timeout=1)
        disk.error = None
        await trio.sleep(1)
        assert world.done == []
        assert world.journal.read().runs() == []
        handle = await shop.call(Start(Flow()))
        assert [row.id for row in world.journal.read().runs()] == ["w"]
        assert await handle.result() == "did c"


@attrs.frozen
class Where(Call[str]):
    """A query."""


@attrs.define
class Telling(Workflow[Any]):
    """Tells where it stands."""

    id: str = "t"
    where: str = "nowhere"

    @handles
    def tell(self, message: Where) -> str:
        return self.where

    async def run(self) -> None:
        self.where = "before"
        await self.receive(Tell)
        self.where = "behind"
        await self.receive(Undo)


async def test_law_a_query_sees_nothing_that_is_not_on_disk(
    virtual_clock: VirtualClock, disk: Disk
) -> None:
    world = World(virtual_clock, three)
    world.attributes["workflows"] = [Telling]
    async with world.running() as shop:
        handle = await start(shop, Telling())
        disk.error = JournalFull("no room")
        answers: list[str] = []

        async def ask() -> None:
            try:
                answers.append(await handle.query(Where()))
            except Exception as error:
                answers.append(type(error).__name__)

        async def tell() -> None:
            with pytest.raises(Exception, match=r"."):
                await handle.signal(Tell("go"))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(tell)
            nursery.start_soon(ask)
            await wait_all_tasks_blocked()
            disk.error = None
        assert "behind" not in answers
        await trio.sleep(1)
        assert await handle.query(Where()) == "before"


# -- order


async def test_law_journal_order_is_delivery_order_live_and_on_replay(
    virtual_clock: VirtualClock,
) -> None:
    lives: list[list[str]] = []

    async def code(flow: Any) -> Any:
        order: list[str] = []
        lives.append(order)

        async def branch(what: str) -> None:
            order.append(await flow.step(Do(what)))

        await flow.gather(*(branch(each) for each in "abcd"))
        await flow.receive(Tell)
        return order

    world = World(virtual_clock, code, script={each: [HANG] for each in "abcd"})
    async with world.running() as shop:
        await start(shop)
        for what in "cadb":
            await world.answer(what)
        recorded = [each.path for each in world.events() if isinstance(each, h.Completed)]
        world.dies()
    async with world.running() as shop:
        handle = await start(shop)
        await handle.signal(Tell("go"))
        result = await handle.result()
    assert lives[0] == lives[1] == result == ["did c", "did a", "did d", "did b"]
    assert recorded == [f"gather.1/{'abcd'.index(each) + 1}/Do.1" for each in "cadb"]


async def test_law_one_event_per_turn(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> None:
        await flow.gather(*(flow.step(Do(each)) for each in "abcd"))

    world = World(virtual_clock, code)
    async with world.running() as shop:
        await shop.call(Flow())
    outside_events = (h.Started, h.Completed, h.Signalled, h.Fired, h.Refused)
    reader = world.journal.read()
    row = reader.find("w")
    assert row is not None
    for record in reader.history(row.number):
        events = h.decode_turn(record.data).events
        assert isinstance(events[0], outside_events)
        assert not any(isinstance(each, outside_events) for each in events[1:])


# -- under the owner's epoch


async def test_law_a_stale_owners_work_is_dropped_and_never_merged(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, three, script={"a": [HANG]})
    async with world.running() as shop:
        await start(shop)
        world.journal.acquire()
        await world.answer("a", "of the stale owner")
        assert await shop.call(Flow()) == "did c"
    # The driver has come back as the owner of the next epoch; the answer it had is not there.
    assert world.log == "a, a, pack b, c"
    assert not any(b"stale" in bytes(h.encode_turn(0, [each])) for each in world.events())


async def test_law_a_driver_whose_commit_fails_is_restarted_and_takes_up_what_is_on_disk(
    virtual_clock: VirtualClock, disk: Disk
) -> None:
    world = World(virtual_clock, three, script={"a": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        disk.error, disk.once = JournalFull("no room"), True
        await world.answer("a")
        assert await handle.result(timeout=60) == "did c"
    assert world.log == "a, a, pack b, c"


# -- nothing is left over


async def test_law_from_every_cut_of_a_large_history_it_comes_to_the_same_end(
    virtual_clock: VirtualClock,
) -> None:
    async def other(flow: Any) -> str:
        return str(await flow.step(Do("child's"), undo=Undo("child's")))

    async def code(flow: Any) -> Any:
        async def branch(what: str) -> str:
            await flow.step(Do(what), undo=Undo(what))
            return str(await flow.step(Pack(what)))

        both = await flow.gather(branch("a"), branch("b"), limit=1)
        child = await flow.child(Other())
        await flow.sleep(5)
        try:
            await flow.step(Do("short"))
        except OutOfStock:
            pass
        return [*both, child]

    short = {"short": [OutOfStock("x")]}
    whole = World(virtual_clock, code, other=other, script={**short})
    async with whole.running() as shop:
        result = await shop.call(Flow(), timeout=None)
    for commits in range(whole.journal.commits + 1):
        world = World(virtual_clock, code, other=other, script={"short": [OutOfStock("x")]})
        world.journal = whole.journal.copy(commits)
        async with world.running() as shop:
            assert await shop.call(Flow(), timeout=None) == result
            assert await (await start(shop)).status() is Status.DONE
        assert set(world.done) <= set(whole.done)
        assert all(world.intended)


async def test_law_dropped_coroutines_whose_finally_gives_commands_send_nothing_and_say_nothing(
    virtual_clock: VirtualClock,
) -> None:
    async def stubborn(flow: Any) -> None:
        try:
            await flow.receive(Undo)
        finally:
            await flow.step(Do("never"))

    async def code(flow: Any) -> None:
        try:
            await flow.gather(stubborn(flow), stubborn(flow), flow.step(Do("slow")))
        finally:
            try:
                await flow.step(Do("never"))
            finally:
                await flow.gather(flow.step(Do("never")), flow.sleep(1))

    world = World(virtual_clock, code, script={"slow": [HANG] * 9})
    async with world.running() as shop:
        handle = await start(shop)
        shop.cast(Crash())
        await trio.sleep(5)
        assert await handle.status() is Status.RUNNING
    gc.collect()
    assert "never" not in world.log


async def test_law_no_task_of_a_workflow_is_left_when_it_is_over(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> str:
        await flow.gather(flow.effect(outside), flow.effect(outside), flow.step(Do("a")))
        return "done"

    world = World(virtual_clock, code, script={"a": [Boom()]})
    async with world.running() as shop:
        await shop.call(Flow("w0"))
        before = trio.lowlevel.current_statistics().tasks_living
        for number in range(20):
            await shop.call(Flow(f"w{number + 1}"))
        await wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == before
