"""W12: workflows that run others, take over what these leave to be undone, and cancel them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorDied
from mediators import Handle, MemoryJournal, Status, Workflow, WorkflowEnded
from mediators.verbs import ListWorkflows
from tests.mediators.sagas import (
    CrashDriver,
    Do,
    No,
    Ping,
    Simple,
    Undo,
    Waits,
    World,
    again,
    events,
    over,
    shop,
    spec,
    start,
)

if TYPE_CHECKING:
    from actors import System


@attrs.define
class Child(Workflow[str]):
    """Two steps with undos."""

    id: str
    last: str = "c2"

    async def run(self) -> str:
        await self.step(Do("c1"), undo=Undo("c1"))
        return await self.step(Do(self.last), undo=Undo(self.last))


@attrs.define
class Nameless(Workflow[str]):
    async def run(self) -> str:
        return await self.step(Do("c1"))


@attrs.define
class Parent(Workflow[str]):
    """A step, a child, a step."""

    id: str
    last: str = "p2"
    detached: bool = False
    child_last: str = "c2"

    async def run(self) -> str:
        await self.step(Do("p1"), undo=Undo("p1"))
        answer = await self.child(Child("child", self.child_last), detached=self.detached)
        await self.step(Do(self.last), undo=Undo(self.last))
        return answer


@attrs.define
class Catches(Workflow[str]):
    id: str
    child_last: str

    async def run(self) -> str:
        try:
            return await self.child(Child("child", self.child_last))
        except WorkflowEnded as error:
            return f"{error.id} {error.status} {error.reason} {error.__cause__!r}"


@attrs.define
class Several(Workflow[tuple[str, ...]]):
    id: str

    async def run(self) -> tuple[str, ...]:
        return await self.gather(self.child(Nameless()), self.child(Nameless()))


@attrs.define
class Joins(Workflow[Any]):
    """Waits for a workflow that is somebody else's."""

    id: str
    other: str
    value: int = 0

    async def run(self) -> Any:
        return await self.child(Waits(self.other, self.value))


@attrs.define
class Chain(Workflow[int]):
    """A child that continues as new before it ends."""

    id: str
    round: int = 0

    async def run(self) -> int:
        await self.step(Do(f"r{self.round}"), undo=Undo(f"r{self.round}"))
        if self.round < 2:
            await self.continue_as_new(Chain(self.id, self.round + 1))
        return self.round


@attrs.define
class OverChain(Workflow[int]):
    id: str

    async def run(self) -> int:
        answer = await self.child(Chain("chain"))
        await self.step(Do("last"))
        return answer


@attrs.define
class Unlisted(Workflow[Any]):
    id: str

    async def run(self) -> Any:
        return await self.child(Simple("simple"))


ALL = [Child, Nameless, Parent, Catches, Several, Joins, Chain, OverChain, Waits]


async def test_w12_a_child_runs_in_the_same_journal_and_its_result_is_the_parents(
    system: System,
) -> None:
    world = World()
    ref = await system.start(spec(shop(world, *ALL)))
    assert await ref.call(Parent("one")) == "c2 done"
    assert world.names == ["p1", "c1", "c2", "p2"]
    rows = await ref.call(ListWorkflows())
    assert [(each.id, each.status) for each in rows] == [("one", "done"), ("child", "done")]
    assert world.keys("c1") == ["child/1/Do.1"]


async def test_w12_a_child_without_an_id_has_the_key_of_its_place(system: System) -> None:
    world = World()
    ref = await system.start(spec(shop(world, *ALL)))
    assert await ref.call(Several("one")) == ("c1 done", "c1 done")
    ids = {each.id for each in await ref.call(ListWorkflows())}
    assert ids == {"one", "one/1/gather.1/1/Nameless.1", "one/1/gather.1/2/Nameless.1"}


async def test_w12_the_end_record_carries_the_open_undos(system: System) -> None:
    journal = MemoryJournal()
    ref = await system.start(spec(shop(World(), *ALL, journal=journal)))
    await ref.call(Parent("one"))
    (ended,) = [each for each in events(journal, "child") if type(each).__name__ == "Ended"]
    (heard,) = [each for each in events(journal, "one") if type(each).__name__ == "ChildEnded"]
    assert [path for path, _ in ended.undos] == ["Do.1", "Do.2"]
    assert [path for path, _ in heard.undos] == ["Do.1", "Do.2"]


async def test_w12_the_parent_undoes_what_its_child_has_done_in_its_place(
    system: System,
) -> None:
    world = World()
    world.refuse("p2")
    ref = await system.start(spec(shop(world, *ALL)))
    handle = await start(ref, Parent("one"))
    with pytest.raises(No):
        await handle.result()
    assert world.names == ["p1", "c1", "c2", "p2", "-c2", "-c1", "-p1"]
    assert world.keys("-c1") == ["one/1/undo/Child.2/Do.1"]
    assert await Handle(ref, "child").status() is Status.DONE


async def test_w12_the_parent_undoes_it_after_a_restart(system: System) -> None:
    world = World()
    world.hold("p2")
    cls = shop(world, *ALL, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    await start(ref, Parent("one"))
    world.held.clear()
    world.refuse("p2")
    ref = await again(system, ref, cls)
    assert await over(Handle(ref, "one")) is Status.FAILED
    assert world.names == ["p1", "c1", "c2", "p2", "p2", "-c2", "-c1", "-p1"]


async def test_w12_a_detached_child_keeps_its_undos(system: System) -> None:
    world = World()
    world.refuse("p2")
    ref = await system.start(spec(shop(world, *ALL)))
    assert await over(await start(ref, Parent("one", detached=True))) is Status.FAILED
    assert world.names == ["p1", "c1", "c2", "p2", "-p1"]


async def test_w12_a_child_that_fails_undoes_itself_and_is_workflow_ended(
    system: System,
) -> None:
    world = World()
    world.refuse("no")
    ref = await system.start(spec(shop(world, *ALL)))
    answer = await ref.call(Catches("one", "no"))
    assert answer.startswith("child failed No('no')")
    assert answer.endswith("No('no')")
    assert world.names == ["c1", "no", "-c1"]


async def test_w12_a_child_that_fails_fails_the_parent_that_does_not_catch_it(
    system: System,
) -> None:
    world = World()
    world.refuse("no")
    ref = await system.start(spec(shop(world, *ALL)))
    handle = await start(ref, Parent("one", child_last="no"))
    with pytest.raises(WorkflowEnded, match="workflow 'child' has failed"):
        await handle.result()
    assert world.names == ["p1", "c1", "no", "-c1", "-p1"]


async def test_w12_cancelling_a_parent_cancels_its_child_first(system: System) -> None:
    world = World()
    world.hold("c2")
    ref = await system.start(spec(shop(world, *ALL)))
    handle = await start(ref, Parent("one"))
    await handle.cancel()
    await wait_all_tasks_blocked()
    assert await Handle(ref, "child").status() is Status.COMPENSATING
    assert world.names == ["p1", "c1", "c2"]
    world.answer("c2")
    assert await over(handle) is Status.CANCELLED
    assert await over(Handle(ref, "child")) is Status.CANCELLED
    assert world.names == ["p1", "c1", "c2", "-c2", "-c1", "-p1"]


async def test_w12_cancelling_a_parent_cancels_its_child_after_a_restart(
    system: System,
) -> None:
    world = World()
    world.hold("c2")
    cls = shop(world, *ALL, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    handle = await start(ref, Parent("one"))
    await handle.cancel()
    world.held.clear()
    ref = await again(system, ref, cls)
    assert await over(Handle(ref, "one")) is Status.CANCELLED
    assert await over(Handle(ref, "child")) is Status.CANCELLED
    assert world.names[-3:] == ["-c2", "-c1", "-p1"]


async def test_w12_a_detached_child_goes_on_when_its_parent_is_cancelled(
    system: System,
) -> None:
    world = World()
    world.hold("c2")
    ref = await system.start(spec(shop(world, *ALL)))
    handle = await start(ref, Parent("one", detached=True))
    await handle.cancel()
    assert await over(handle) is Status.CANCELLED
    assert world.names == ["p1", "c1", "c2", "-p1"]
    world.answer("c2")
    assert await Handle(ref, "child").result() == "c2 done"


async def test_w12_a_child_that_is_cancelled_by_itself_ends_the_wait(system: System) -> None:
    world = World()
    world.hold("c2")
    ref = await system.start(spec(shop(world, *ALL)))
    handle = await start(ref, Catches("one", "c2"))
    await Handle(ref, "child").cancel("by hand")
    world.answer("c2")
    assert (await handle.result()).startswith("child cancelled by hand")


async def test_w12_the_end_of_a_child_and_its_parent_hearing_of_it_are_one_commit(
    system: System,
) -> None:
    journal = MemoryJournal()
    ref = await system.start(spec(shop(World(), *ALL, journal=journal)))
    await ref.call(Parent("one"))
    for commits in range(journal.commits + 1):
        reader = journal.copy(commits).read()
        child, parent = reader.find("child"), reader.find("one")
        if parent is None:
            continue
        cut = journal.copy(commits)
        heard = any(type(each).__name__ == "ChildEnded" for each in events(cut, "one"))
        assert heard == (child is not None and child.over)
        spawned = any(type(each).__name__ == "Spawned" for each in events(cut, "one"))
        assert spawned == (child is not None)


async def test_w12_parent_and_child_go_on_wherever_the_process_died(system: System) -> None:
    journal = MemoryJournal()
    cls = shop(World(), *ALL, journal=journal)
    ref = await system.start(spec(cls))
    await ref.call(Parent("one"))
    await ref.stop()
    assert journal.commits > 4
    for commits in range(1, journal.commits):
        world = World()
        cut = journal.copy(commits)
        ref = await system.start(spec(shop(world, *ALL, journal=cut)))
        assert await Handle(ref, "one").result() == "c2 done"
        assert await Handle(ref, "child").result() == "c2 done"
        await ref.stop()


async def test_w12_a_child_under_an_id_that_runs_is_joined(system: System) -> None:
    ref = await system.start(spec(shop(World(), *ALL)))
    other = await start(ref, Waits("other"))
    handle = await start(ref, Joins("one", "other"))
    await other.signal(Ping(8))
    assert await handle.result() == 8
    assert await ref.call(Joins("two", "other")) == 8


async def test_w12_a_joined_workflow_is_waited_for_again_after_a_crash(system: System) -> None:
    ref = await system.start(spec(shop(World(), *ALL, journal=MemoryJournal())))
    other = await start(ref, Waits("other"))
    handle = await start(ref, Joins("one", "other"))
    with pytest.raises(ActorDied):
        await ref.call(CrashDriver())
    await other.signal(Ping(8))
    assert await handle.result() == 8


async def test_w12_a_child_with_other_contents_than_what_has_its_id_is_a_conflict(
    system: System,
) -> None:
    ref = await system.start(spec(shop(World(), *ALL)))
    await start(ref, Waits("other", 1))
    with pytest.raises(WorkflowEnded, match="other contents"):
        await ref.call(Joins("one", "other", 2))


async def test_w12_a_child_that_continues_as_new_is_waited_for_to_the_last_run(
    system: System,
) -> None:
    world = World()
    world.refuse("last")
    ref = await system.start(spec(shop(world, *ALL)))
    assert await over(await start(ref, OverChain("one"))) is Status.FAILED
    assert world.names == ["r0", "r1", "r2", "last", "-r2", "-r1", "-r0"]


async def test_w12_a_child_of_a_class_that_is_not_listed_is_joined_or_fails(
    system: System,
) -> None:
    ref = await system.start(spec(shop(World(), Unlisted, types=[Simple])))
    with pytest.raises(WorkflowEnded, match="its class is not among those of the mediator"):
        await ref.call(Unlisted("one"))


async def test_w12_cancel_that_waits_does_not_hold_up_other_workflows(system: System) -> None:
    world = World()
    world.hold("c2")
    ref = await system.start(spec(shop(world, *ALL, Simple)))
    handle = await start(ref, Parent("one"))
    await handle.cancel()
    with trio.fail_after(1):
        assert await ref.call(Simple("other")) == "second done"
