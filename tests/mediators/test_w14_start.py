"""W14: starting a workflow, joining it, rejecting, replacing; and how many may run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import handles
from mediators import (
    MemoryJournal,
    SqliteJournal,
    Start,
    StartConflict,
    Status,
    TooManyWorkflows,
    VerbRefused,
    Workflow,
    WorkflowEnded,
)
from mediators.driver.admission import Admission
from mediators.testing import call_with_key
from mediators.verbs import ListWorkflows
from tests.mediators.sagas import (
    Ask,
    Do,
    Ping,
    Simple,
    Undo,
    Waits,
    World,
    again,
    over,
    shop,
    spec,
    start,
)

if TYPE_CHECKING:
    from pathlib import Path

    from actors import Ref, System


@attrs.define
class Order(Workflow[str]):
    """Its id is worked out, and counted each time."""

    number: int
    asked = 0

    @property
    def id(self) -> str:
        type(self).asked += 1
        return f"order-{self.number}-{type(self).asked}"

    async def run(self) -> str:
        return await self.step(Do("first"))


@attrs.define
class Nameless(Workflow[str]):
    what: str = "first"

    async def run(self) -> str:
        return await self.step(Do(self.what))


@attrs.define
class BadId(Workflow[str]):
    wrong: str = ""

    @property
    def id(self) -> str:
        return str(self.missing)  # type: ignore[attr-defined]

    async def run(self) -> str:
        return "done"


@attrs.define
class AtOnce(Workflow[str]):
    """Ends in the turn it begins in."""

    id: str

    async def run(self) -> str:
        return "done"


@attrs.define
class Pivots(Workflow[str]):
    id: str

    async def run(self) -> str:
        await self.pivot()
        return await self.step(Do("first"))


async def test_w14_the_id_is_read_once_and_recorded(system: System) -> None:
    Order.asked = 0
    cls = shop(World(), Order, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    handle = await start(ref, Order(5))
    assert (handle.id, Order.asked) == ("order-5-1", 1)
    ref = await again(system, ref, cls)
    await wait_all_tasks_blocked()
    assert Order.asked == 1
    assert [each.id for each in await ref.call(ListWorkflows())] == ["order-5-1"]


async def test_w14_without_an_id_each_start_is_a_workflow_of_its_own(system: System) -> None:
    world = World()
    ref = await system.start(spec(shop(world, Nameless)))
    first, second = await start(ref, Nameless()), await start(ref, Nameless())
    assert first.id != second.id
    assert world.names == ["first", "first"]


async def test_w14_without_an_id_the_key_of_the_message_is_the_id(system: System) -> None:
    world = World()
    ref = await system.start(spec(shop(world, Nameless)))
    assert await call_with_key(ref, Nameless(), "the-key") == "first done"
    assert await call_with_key(ref, Nameless(), "the-key") == "first done"
    assert world.done == [("the-key/1/Do.1", "first")]


async def test_w14_an_id_that_raises_is_the_starters_mistake(system: System) -> None:
    ref = await system.start(spec(shop(World(), BadId)))
    for message in (Start(BadId()), BadId()):
        with pytest.raises(VerbRefused, match=r"BadId.id raised AttributeError.*missing"):
            await ref.call(message)
    assert ref.incarnation == 1


async def test_w14_a_start_of_a_running_id_joins_it(system: System) -> None:
    world = World()
    world.hold("first")
    ref = await system.start(spec(shop(world, Simple)))
    await start(ref, Simple("one"))
    results: list[str] = []

    async def call() -> None:
        results.append(await ref.call(Simple("one"), timeout=60))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        world.answer("first")
    assert results == ["second done", "second done"]
    assert world.names == ["first", "second"]


async def test_w14_a_start_of_a_finished_id_gives_its_result(system: System) -> None:
    world = World()
    world.refuse("bad")
    ref = await system.start(spec(shop(world, Simple)))
    assert await ref.call(Simple("one")) == "second done"
    assert await ref.call(Simple("one")) == "second done"
    assert await (await ref.call(Start(Simple("one")))).result() == "second done"
    for _ in range(2):
        with pytest.raises(Exception, match="bad"):
            await ref.call(Simple("two", "bad"))
    assert world.names == ["first", "second", "first", "bad", "-first"]


async def test_w14_a_finished_id_gives_its_result_after_a_restart(system: System) -> None:
    world = World()
    cls = shop(world, Simple, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    await start(ref, Simple("one"))
    ref = await again(system, ref, cls)
    assert await ref.call(Simple("one")) == "second done"
    assert world.names == ["first", "second"]


@pytest.mark.parametrize("stored", [False, True], ids=["memory", "sqlite"])
async def test_w14_an_id_that_ended_in_the_same_commit_is_taken(
    system: System, tmp_path: Path, stored: bool
) -> None:
    journal: Any = SqliteJournal(tmp_path / "journal.db") if stored else MemoryJournal()
    ref = await system.start(spec(shop(World(), AtOnce, journal=journal)))
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ref.call, AtOnce("one"))
            nursery.start_soon(ref.call, Start(AtOnce("one")))
    assert ref.incarnation == 1
    assert [each.run for each in await ref.call(ListWorkflows())] == [1]
    await ref.stop()


async def test_w14_reject_refuses_every_taken_id(system: System) -> None:
    ref = await system.start(spec(shop(World(), Simple, Waits)))
    await start(ref, Simple("done"), policy="reject")
    await start(ref, Waits("open"), policy="reject")
    for workflow in (Simple("done"), Waits("open")):
        with pytest.raises(StartConflict, match="There is a workflow"):
            await ref.call(Start(workflow, policy="reject"))


async def test_w14_replace_cancels_waits_for_compensation_and_starts_the_next_run(
    system: System,
) -> None:
    world = World()
    world.hold("second", "-first")
    ref = await system.start(spec(shop(world, Simple)))
    old = await start(ref, Simple("one"))
    handles: list[Any] = []
    outcomes: list[str] = []

    async def replace() -> None:
        handles.append(await ref.call(Start(Simple("one", "other"), policy="replace"), None))

    async def wait() -> None:
        with pytest.raises(WorkflowEnded, match="replaced"):
            await old.result()
        outcomes.append("cancelled")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        nursery.start_soon(replace)
        await wait_all_tasks_blocked()
        world.answer("second")
        await wait_all_tasks_blocked()
        assert world.names == ["first", "second", "-first"]
        assert handles == []
        world.answer("-first")
    assert outcomes == ["cancelled"]
    assert await handles[0].result() == "other done"
    assert world.names == ["first", "second", "-first", "first", "other"]
    assert [each.run for each in await ref.call(ListWorkflows())] == [1, 2]


async def test_w14_replace_of_a_finished_or_free_id_starts_it(system: System) -> None:
    ref = await system.start(spec(shop(World(), Simple)))
    assert await (await start(ref, Simple("one"), policy="replace")).result() == "second done"
    other = await start(ref, Simple("one", "other"), policy="replace")
    assert await other.result() == "other done"


async def test_w14_of_several_who_replace_each_takes_the_place_of_the_one_before(
    system: System,
) -> None:
    world = World()
    world.hold("first")
    ref = await system.start(spec(shop(world, Simple)))
    await start(ref, Simple("one", "zero"))
    async with trio.open_nursery() as nursery:
        for name in ("a", "b", "c"):
            nursery.start_soon(ref.call, Start(Simple("one", name), policy="replace"), None)
            await wait_all_tasks_blocked()
        world.answer("first")
    assert ref.incarnation == 1
    await wait_all_tasks_blocked()
    rows = await ref.call(ListWorkflows())
    assert [(each.run, each.status) for each in rows] == [
        (1, "cancelled"),
        (2, "cancelled"),
        (3, "cancelled"),
        (4, "done"),
    ]
    assert await ref.call(Simple("one", "c")) == "c done"


async def test_w14_replace_past_the_pivot_is_refused(system: System) -> None:
    world = World()
    world.hold("first")
    ref = await system.start(spec(shop(world, Pivots)))
    await start(ref, Pivots("one"))
    with pytest.raises(VerbRefused, match="past its pivot"):
        await ref.call(Start(Pivots("one"), policy="replace"))


async def test_w14_no_other_policy_is_taken(system: System) -> None:
    ref = await system.start(spec(shop(World(), Simple)))
    with pytest.raises(VerbRefused, match=r"join.*reject.*replace.*Got: 'perhaps'"):
        await ref.call(Start(Simple("one"), policy="perhaps"))  # type: ignore[arg-type]


async def conflicts(system: System) -> None:
    """Other contents under the id of a workflow that runs, and of one that has ended."""
    world = World()
    world.hold("slow")
    ref = await system.start(spec(shop(world, Simple, Waits)))
    await start(ref, Simple("open", "slow"))
    await start(ref, Simple("done"))
    for workflow in (Simple("open"), Simple("done", "x"), Waits("open"), Waits("done")):
        with pytest.raises(StartConflict, match="other contents"):
            await ref.call(Start(workflow))
        with pytest.raises(StartConflict, match="other contents"):
            await ref.call(workflow)


async def test_w14_other_contents_under_a_taken_id_are_a_conflict(system: System) -> None:
    await conflicts(system)


async def test_w14_without_the_comparison_other_contents_would_be_joined(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Admission, "same", lambda *_: True)
    with pytest.raises(pytest.fail.Exception):
        await conflicts(system)


async def test_w14_contents_are_compared_after_a_restart(system: System) -> None:
    world = World()
    world.hold("slow")
    cls = shop(world, Simple, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    await start(ref, Simple("open", "slow"))
    ref = await again(system, ref, cls)
    await start(ref, Simple("open", "slow"))
    with pytest.raises(StartConflict):
        await start(ref, Simple("open", "other"))


@attrs.define
class Grows(Workflow[int]):
    id: str
    round: int = 0

    async def run(self) -> int:
        if self.round < 3:
            await self.receive(Ping)
            await self.continue_as_new(Grows(self.id, self.round + 1))
        return self.round

    @handles
    def ask(self, message: Ask) -> Any:
        return getattr(self, message.field)


async def test_w14_a_start_is_compared_with_the_first_run_of_a_chain(system: System) -> None:
    cls = shop(World(), Grows, journal=MemoryJournal(), retention=100)
    ref = await system.start(spec(cls))
    handle = await start(ref, Grows("one"))
    for _ in range(2):
        await handle.signal(Ping())
        await wait_all_tasks_blocked()
    await trio.sleep(500)
    for _ in range(2):
        await start(ref, Grows("one"))
        with pytest.raises(StartConflict):
            await start(ref, Grows("one", 2))
        ref = await again(system, ref, cls)
    handle = await start(ref, Grows("one"))
    await handle.signal(Ping())
    assert await handle.result() == 3
    assert await (await start(ref, Grows("one"))).result() == 3


async def test_w14_with_max_running_taken_a_start_is_refused(system: System) -> None:
    ref = await system.start(spec(shop(World(), Waits, max_running=2)))
    first = await start(ref, Waits("one"))
    await start(ref, Waits("two"))
    for message in (Start(Waits("three")), Waits("three")):
        with pytest.raises(TooManyWorkflows, match="2 workflows run already"):
            await ref.call(message)
    await start(ref, Waits("one"))
    await first.signal(Ping())
    await wait_all_tasks_blocked()
    await start(ref, Waits("three"))


async def test_w14_a_slot_is_taken_before_anything_is_awaited(system: System) -> None:
    ref = await system.start(spec(shop(World(), Waits, max_running=2)))
    refused: list[str] = []

    async def call(id: str) -> None:
        try:
            await ref.call(Start(Waits(id)))
        except TooManyWorkflows:
            refused.append(id)

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(call, f"id-{number}")
    assert len(refused) == 3


async def test_w14_slots_are_taken_by_what_is_still_to_be_recovered(system: System) -> None:
    cls = shop(World(), Waits, journal=MemoryJournal(), max_running=2)
    ref = await system.start(spec(cls))
    await start(ref, Waits("one"))
    await start(ref, Waits("two"))
    ref = await again(system, ref, cls)
    with pytest.raises(TooManyWorkflows):
        await ref.call(Start(Waits("three")))


@attrs.define
class Slow(Workflow[str]):
    timeout = 5.0
    id: str

    async def run(self) -> str:
        await self.step(Do("first"), undo=Undo("first"))
        await self.sleep(60)
        return "late"


async def test_w14_a_run_that_takes_longer_than_its_timeout_is_cancelled(system: System) -> None:
    world = World()
    ref = await system.start(spec(shop(world, Slow)))
    handle = await start(ref, Slow("one"))
    with pytest.raises(WorkflowEnded, match="its time is up"):
        await handle.result()
    assert await handle.status() is Status.CANCELLED
    assert world.names == ["first", "-first"]
    other = await start(ref, Slow("two"), timeout=100)
    assert await other.result() == "late"


@attrs.define
class HasFieldTimeout(Workflow[str]):
    id: str
    timeout: float = 5.0  # type: ignore[misc]

    async def run(self) -> str:
        await self.sleep(60)
        return "late"


async def test_w14_a_field_called_timeout_bounds_its_own_run(system: System) -> None:
    ref = await system.start(spec(shop(World(), HasFieldTimeout)))
    assert await over(await start(ref, HasFieldTimeout("one"))) is Status.CANCELLED
    assert await over(await start(ref, HasFieldTimeout("two", 100.0))) is Status.DONE


async def test_w14_a_start_that_was_answered_is_on_disk(system: System) -> None:
    journal = MemoryJournal()
    ref: Ref[Any] = await system.start(spec(shop(World(), Waits, journal=journal)))
    await ref.call(Start(Waits("one")))
    assert journal.copy().read().find("one") is not None


@attrs.frozen
class Frozen(Workflow[str]):
    id: str

    async def run(self) -> str:
        return await self.step(Do("first"))

    @handles
    def ask(self, message: Ask) -> Any:
        return getattr(self, message.field)


async def test_w14_a_workflow_may_be_frozen(system: System) -> None:
    ref = await system.start(spec(shop(World(), Frozen)))
    handle = await start(ref, Frozen("one"))
    assert await handle.result() == "first done"
    assert await handle.query(Ask("id")) == "one"
