"""W10: the key of a step, and the number of the run in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorDied
from mediators import MemoryJournal, Retry, SqliteJournal, Start, Workflow, effect_key
from mediators.driver.driver import Driver
from tests.mediators.sagas import (
    CrashDriver,
    Do,
    Simple,
    Undo,
    World,
    again,
    shop,
    spec,
    start,
)

if TYPE_CHECKING:
    from pathlib import Path

    from actors import System

DAY = 86_400.0


@attrs.define
class Counts(Workflow[int]):
    """Continues as new until it has counted so far."""

    id: str
    count: int

    async def run(self) -> int:
        await self.step(Do("count"))
        if self.count > 1:
            await self.continue_as_new(Counts(self.id, self.count - 1))
        return self.count


@attrs.define
class Patient(Workflow[str]):
    id: str

    async def run(self) -> str:
        return await self.step(Do("work"), undo=Undo("work"), retry=Retry(attempts=10))


async def tell_key() -> str:
    return effect_key()


@attrs.define
class HasEffect(Workflow[str]):
    id: str

    async def run(self) -> str:
        return await self.effect(tell_key)


async def test_w10_the_key_is_the_id_the_run_and_the_path_and_comes_in_the_envelope(
    system: System,
) -> None:
    world = World()
    ref = await system.start(spec(shop(world, Simple)))
    await start(ref, Simple("one"))
    assert world.done == [("one/1/Do.1", "first"), ("one/1/Do.2", "second")]


async def test_w10_an_undo_has_a_key_of_its_own(system: System) -> None:
    world = World()
    world.refuse("second")
    ref = await system.start(spec(shop(world, Simple)))
    await start(ref, Simple("one"))
    assert world.done[-1] == ("one/1/undo/Do.1", "-first")


async def test_w10_an_effect_is_told_its_key(system: System) -> None:
    ref = await system.start(spec(shop(World(), HasEffect)))
    assert await (await start(ref, HasEffect("one"))).result() == "one/1/tell_key.1"


async def test_w10_every_attempt_has_the_same_key(system: System) -> None:
    world = World()
    world.crash("work")
    ref = await system.start(spec(shop(world, Patient)))
    handle = await ref.call(Start(Patient("one")))
    await trio.sleep(2)
    world.says.clear()
    assert await handle.result() == "work done"
    assert len(world.done) > 2
    assert set(world.keys("work")) == {"one/1/Do.1"}


async def test_w10_every_owner_uses_the_same_key(system: System) -> None:
    world = World()
    world.hold("work")
    journal = MemoryJournal()
    cls = shop(world, Patient, journal=journal)
    ref = await system.start(spec(cls))
    await start(ref, Patient("one"))
    with pytest.raises(ActorDied):
        await ref.call(CrashDriver())
    await wait_all_tasks_blocked()
    ref = await again(system, ref, cls, journal=journal.copy())
    await wait_all_tasks_blocked()
    assert world.keys("work") == ["one/1/Do.1"] * 3


async def test_w10_the_run_grows_with_continue_as_new(system: System) -> None:
    world = World()
    ref = await system.start(spec(shop(world, Counts)))
    handle = await start(ref, Counts("one", 3))
    assert await handle.result() == 1
    assert world.keys("count") == ["one/1/Do.1", "one/2/Do.1", "one/3/Do.1"]


async def test_w10_the_run_grows_with_replace(system: System) -> None:
    world = World()
    world.hold("work")
    ref = await system.start(spec(shop(world, Patient)))
    await start(ref, Patient("one"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.call, Start(Patient("one"), policy="replace"))
        await wait_all_tasks_blocked()
        world.answer("work")
    await wait_all_tasks_blocked()
    assert world.keys("work") == ["one/1/Do.1", "one/2/Do.1"]
    await (await ref.call(Start(Patient("one"), policy="replace"))).result()
    assert world.keys("work")[-1] == "one/3/Do.1"


async def test_w10_the_run_grows_with_a_fork_of_the_same_id(system: System) -> None:
    world = World()
    world.refuse("second")
    ref = await system.start(spec(shop(world, Simple)))
    handle = await start(ref, Simple("one"))
    world.says.clear()
    await (await handle.fork(at="Do.2")).result()
    assert await handle.result() == "second done"
    assert world.keys("second") == ["one/1/Do.2", "one/2/Do.2"]


async def test_w10_a_fork_under_another_id_has_keys_of_that_id(system: System) -> None:
    world = World()
    ref = await system.start(spec(shop(world, Simple)))
    handle = await start(ref, Simple("one"))
    await (await handle.fork("two", at="Do.2")).result()
    assert world.keys("second") == ["one/1/Do.2", "two/1/Do.2"]
    assert world.keys("first") == ["one/1/Do.1"]


async def test_w10_the_run_is_recorded(system: System) -> None:
    world = World()
    journal = MemoryJournal()
    cls = shop(world, Patient, journal=journal)
    ref = await system.start(spec(cls))
    await start(ref, Patient("one"))
    await ref.call(Start(Patient("one"), policy="replace"))
    world.hold("work")
    await ref.call(Start(Patient("one"), policy="replace"))
    await wait_all_tasks_blocked()
    ref = await again(system, ref, cls)
    await wait_all_tasks_blocked()
    assert world.keys("work")[-1] == world.keys("work")[-2] == "one/3/Do.1"


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A journal of each kind."""
    if request.param == "memory":
        return MemoryJournal()
    return SqliteJournal(tmp_path / "journal.db")


async def runs_after_retention(system: System, journal: Any) -> World:
    """One id, run twice, then removed, then started again, also after a restart."""
    world = World()
    cls = shop(world, Patient, journal=journal, retention=DAY)
    ref = await system.start(spec(cls))
    await start(ref, Patient("one"))
    await (await ref.call(Start(Patient("one"), policy="replace"))).result()
    await trio.sleep(2 * DAY)
    await (await start(ref, Patient("one"))).result()
    await trio.sleep(2 * DAY)
    ref = await again(system, ref, cls)
    await (await start(ref, Patient("one"))).result()
    await ref.stop()
    return world


async def test_w10_the_run_is_not_used_again_when_retention_has_removed_the_id(
    system: System, journal: Any
) -> None:
    world = await runs_after_retention(system, journal)
    keys = world.keys("work")
    assert keys == ["one/1/Do.1", "one/2/Do.1", "one/3/Do.1", "one/4/Do.1"]


async def test_w10_without_the_journals_memory_of_removed_runs_a_key_would_be_used_again(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = Driver.begin

    def from_one(self: Driver, event: Any, type_name: str) -> Any:
        if self.find(event.id) is None:
            event = from_the_first(event)
        return begin(self, event, type_name)

    monkeypatch.setattr(Driver, "begin", from_one)
    world = await runs_after_retention(system, MemoryJournal())
    assert len(set(world.keys("work"))) < len(world.keys("work"))


def from_the_first(event: Any) -> Any:
    return msgspec.structs.replace(event, run=1)


async def test_w10_an_id_that_was_there_before_is_not_needed_for_a_run_to_be_unused(
    system: System,
) -> None:
    world = World()
    ref = await system.start(spec(shop(world, Patient, journal=MemoryJournal(), retention=DAY)))
    await start(ref, Patient("one"))
    await start(ref, Patient("two"))
    await trio.sleep(2 * DAY)
    await start(ref, Patient("three"))
    assert world.keys("work")[-1] == "three/2/Do.1"
