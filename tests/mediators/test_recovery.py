"""Recovery is a supervised activity: it goes on, whatever one workflow, component or crash does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorDied
from mediators import (
    Handle,
    MemoryJournal,
    NoSuchWorkflow,
    SqliteJournal,
    Start,
    StartConflict,
    Status,
    VerbRefused,
    Workflow,
)
from mediators.driver import recovery
from mediators.execution import execution as engine
from mediators.execution.events import HANDLERS, deliver
from mediators.history import Fired
from mediators.journal.memory import MemoryShard
from mediators.telemetry import Recovered
from mediators.verbs import ListWorkflows
from supervisors import Child, RestartChild, StopChild
from tests.mediators.sagas import (
    Ask,
    CrashDriver,
    Do,
    Ping,
    Simple,
    Undo,
    Waits,
    Works,
    World,
    again,
    events,
    over,
    shop,
    spec,
    start,
)

if TYPE_CHECKING:
    from pathlib import Path

    from actors import Ref, System


MANY = 200


async def crash(ref: Ref[Any]) -> None:
    """Let the driver crash, and its supervisor bring it back."""
    with pytest.raises(ActorDied):
        await ref.call(CrashDriver())
    await wait_all_tasks_blocked()


async def test_recovery_a_mediator_that_crashes_takes_its_workflows_up_again(
    system: System,
) -> None:
    world = World()
    world.hold("second")
    ref = await system.start(spec(shop(world, Simple, Waits, journal=MemoryJournal())))
    await start(ref, Simple("one"))
    await start(ref, Waits("two"))
    world.held.clear()
    await crash(ref)
    assert ref.incarnation == 2
    assert await Handle(ref, "one").result() == "second done"
    await Handle(ref, "two").signal(Ping(3))
    assert await Handle(ref, "two").result() == 3
    assert world.names == ["first", "second", "second"]


async def test_recovery_of_a_mediator_without_a_journal_is_one_in_memory(
    system: System,
) -> None:
    ref = await system.start(spec(shop(World(), Waits)))
    handle = await start(ref, Waits("one"))
    await crash(ref)
    await handle.signal(Ping(3))
    assert await handle.result() == 3


async def test_recovery_goes_on_after_a_crash_in_the_middle_of_it(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "SLICE", 0.0)
    journal = MemoryJournal()
    cls = shop(World(), Waits, journal=journal)
    ref = await system.start(spec(cls))
    for number in range(20):
        await start(ref, Waits(f"id-{number}"))
    await ref.stop()
    take_up = recovery.Recovery.take_up
    left = [7]

    def failing(self: Any, row: Any, records: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            raise OSError("the disk is gone")
        return take_up(self, row, records)

    monkeypatch.setattr(recovery.Recovery, "take_up", failing)
    ref = await system.start(spec(cls))
    await wait_all_tasks_blocked()
    assert ref.incarnation == 2
    for number in range(20):
        assert await Handle(ref, f"id-{number}").status() is Status.WAITING


async def test_recovery_takes_up_a_bit_at_a_time_and_serves_others_meanwhile(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recovery, "SLICE", 0.0)
    cls = shop(World(), Waits, Simple, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    for number in range(MANY):
        ref.cast(Start(Waits(f"id-{number}")))
    await wait_all_tasks_blocked()
    done: list[int] = []
    system.telemetry.listen(lambda event: done.append(event.runs), Recovered)
    await ref.stop()
    ref = await system.start(spec(cls))
    await ref.call(Start(Simple("new")))
    assert done == []
    await wait_all_tasks_blocked()
    assert done == [MANY]


@pytest.mark.parametrize("stored", [False, True], ids=["memory", "sqlite"])
async def test_recovery_of_what_is_asked_for_before_its_turn_is_at_once(
    system: System, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, stored: bool
) -> None:
    monkeypatch.setattr(recovery, "SLICE", 0.0)
    journal: Any = SqliteJournal(tmp_path / "journal.db") if stored else MemoryJournal()
    cls = shop(World(), Waits, journal=journal)
    ref = await system.start(spec(cls))
    for number in range(20):
        await start(ref, Waits(f"id-{number}", number))
    ref = await again(system, ref, cls)
    assert await Handle(ref, "id-19").query(Ask()) == 19
    await Handle(ref, "id-18").signal(Ping(5))
    assert await Handle(ref, "id-18").result() == 5
    await Handle(ref, "id-17").cancel()
    await ref.call(Start(Waits("id-16", 16)))
    with pytest.raises(StartConflict):
        await ref.call(Start(Waits("id-15", 99)))
    await wait_all_tasks_blocked()
    rows = await ref.call(ListWorkflows())
    assert len(rows) == 20
    assert [each.id for each in rows if each.ended is not None] == ["id-17", "id-18"]
    await ref.stop()


async def test_recovery_waits_for_a_component_that_is_down(system: System) -> None:
    world = World()
    ref = await system.start(spec(shop(world, Simple, journal=MemoryJournal())))
    await ref.call(StopChild("works"))
    handle = await start(ref, Simple("one"))
    await crash(ref)
    await trio.sleep(1000)
    assert world.names == []
    assert await handle.status() is Status.RUNNING
    await ref.call(RestartChild("works"))
    assert await handle.result() == "second done"
    assert not [each for each in await handle.history() if each.kind == "failed"]


async def test_recovery_of_a_component_that_does_not_start_is_waited_for(
    system: System,
) -> None:
    world = World()
    broken = [True]

    class Moody(Works):
        async def on_start(self) -> None:
            if broken[0] and self.world.done:
                raise OSError("not yet")

    world.crash("first")
    components = [Child(Moody, world, id="works")]
    ref = await system.start(
        spec(shop(world, Simple, journal=MemoryJournal(), components=components))
    )
    handle = await start(ref, Simple("one"))
    await trio.sleep(300)
    assert await handle.status() is Status.RUNNING
    assert len(world.done) == 1
    world.says.clear()
    broken[0] = False
    assert await handle.result() == "second done"
    assert ref.incarnation == 1


def poison(monkeypatch: pytest.MonkeyPatch) -> None:
    """Applying an event to the workflow ``bad`` fails in the library itself."""
    fired = HANDLERS[Fired]

    def failing(execution: Any, event: Any) -> None:
        if execution.id == "bad":
            raise KeyError("poison")
        fired(execution, event)

    monkeypatch.setitem(HANDLERS, Fired, failing)


@attrs.define
class Sleeps(Workflow[int]):
    id: str

    async def run(self) -> int:
        await self.sleep(10)
        return 1


async def test_recovery_a_poisoned_workflow_is_parked_and_the_others_go_on(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch)
    ref = await system.start(spec(shop(World(), Sleeps, journal=MemoryJournal())))
    handles = [await start(ref, Sleeps(id)) for id in ("good", "bad", "other")]
    await trio.sleep(20)
    assert [await each.status() for each in handles] == [
        Status.DONE,
        Status.PAUSED,
        Status.DONE,
    ]
    assert "poison" in (await handles[1].incidents())[0].what
    assert ref.incarnation == 1
    monkeypatch.undo()
    await handles[1].resume()
    assert await handles[1].result() == 1


async def test_recovery_without_parking_a_poisoned_workflow_burns_the_restart_limit(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison(monkeypatch)

    def unguarded(self: Any, time: float, event: Any) -> Any:
        self.time, self.produced, self.actions = time, [], []
        deliver(self, event)
        return [event, *self.produced]

    monkeypatch.setattr(engine.Execution, "perform", unguarded)
    cls = shop(World(), Sleeps, journal=MemoryJournal(), max_restarts=3, within=60.0)
    ref = await system.start(Child(cls, restart="temporary"))
    await start(ref, Sleeps("bad"))
    await trio.sleep(20)
    assert (ref.alive, ref.incarnation) == (False, 4)


def damage(journal: MemoryJournal, id: str, seq: int) -> None:
    """Lose a record of a workflow."""
    row = journal.read().find(id)
    assert row is not None
    positions = journal._positions[row.number]
    del journal._rows(0).records[positions[seq]]
    del positions[seq]


async def test_recovery_a_workflow_whose_record_is_damaged_is_left_alone(
    system: System,
) -> None:
    journal = MemoryJournal()
    cls = shop(World(), Waits, Simple, journal=journal)
    ref = await system.start(spec(cls))
    for id in ("good", "bad"):
        await start(ref, Waits(id))
    await ref.stop()
    number = journal.read().find("bad")
    assert number is not None
    position = journal._positions[number.number][0]
    journal._rows(0).records[position] = (number.number, 0, b"\xff\xff")
    ref = await system.start(spec(cls))
    bad: Handle[Any] = Handle(ref, "bad")
    assert await bad.status() is Status.INCIDENT
    assert len(await bad.incidents()) == 1
    for call in (
        bad.result,
        lambda: bad.signal(Ping()),
        lambda: bad.query(Ask()),
        bad.cancel,
        bad.pause,
        bad.resume,
        bad.retry,
        bad.skip,
        bad.resolve,
        lambda: bad.fork("other"),
        bad.history,
        lambda: ref.call(Waits("bad")),
        lambda: ref.call(Start(Waits("bad"))),
        lambda: ref.call(Start(Waits("bad"), policy="replace")),
    ):
        with pytest.raises(VerbRefused, match="cannot be read"):
            await call()
    with pytest.raises(StartConflict):
        await ref.call(Start(Waits("bad"), policy="reject"))
    assert ref.incarnation == 1
    await Handle(ref, "good").signal(Ping(4))
    assert await Handle(ref, "good").result() == 4


async def test_recovery_a_finished_workflow_whose_record_is_damaged_harms_nobody(
    system: System,
) -> None:
    journal = MemoryJournal()
    ref = await system.start(spec(shop(World(), Simple, journal=journal)))
    handle = await start(ref, Simple("one"))
    damage(journal, "one", 1)
    for call in (handle.result, handle.history, lambda: ref.call(Simple("one"))):
        with pytest.raises(VerbRefused, match="Record 1 of run"):
            await call()
    assert await handle.status() is Status.DONE
    assert ref.incarnation == 1


async def test_recovery_of_code_that_does_something_else_is_paused_and_mended(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    cls = shop(world, Waiting, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    await start(ref, Waiting("one"))

    async def other(self: Waiting) -> int:
        await self.step(Do("something else"))
        return 0

    with monkeypatch.context() as patch:
        patch.setattr(Waiting, "run", other)
        ref = await again(system, ref, cls)
        handle: Handle[Any] = Handle(ref, "one")
        assert await handle.status() is Status.PAUSED
        (incident,) = await handle.incidents()
        assert (incident.path, incident.recorded, incident.came) == (
            "Do.1",
            "Do.1 Do(name='first', amount=0)",
            "Do.1 Do(name='something else', amount=0)",
        )
        with pytest.raises(VerbRefused, match="does not follow its record"):
            await handle.resume()
        await handle.signal(Ping(6))
        assert world.names == ["first"]
    ref = await again(system, ref, cls)
    assert await Handle(ref, "one").result() == 6


@attrs.define
class Waiting(Workflow[int]):
    id: str

    async def run(self) -> int:
        await self.step(Do("first"), undo=Undo("first"))
        return (await self.receive(Ping)).value


async def test_recovery_of_code_that_does_something_else_can_be_cancelled(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    cls = shop(world, Waiting, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    await start(ref, Waiting("one"))

    async def other(self: Waiting) -> int:
        await self.step(Do("something else"))
        return 0

    monkeypatch.setattr(Waiting, "run", other)
    ref = await again(system, ref, cls)
    handle: Handle[Any] = Handle(ref, "one")
    await handle.cancel()
    assert await over(handle) is Status.CANCELLED
    assert world.names == ["first", "-first"]


async def test_recovery_a_failed_commit_is_a_crash_and_nothing_has_gone_out(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World()
    journal = MemoryJournal()
    ref = await system.start(spec(shop(world, Simple, journal=journal)))
    append = MemoryShard.append
    failures = [OSError("the disk is gone")]

    def failing(self: MemoryShard, batch: Any) -> None:
        if failures and batch.records:
            raise failures.pop()
        append(self, batch)

    monkeypatch.setattr(MemoryShard, "append", failing)
    with pytest.raises(ActorDied):
        await ref.call(Start(Simple("one")))
    await wait_all_tasks_blocked()
    assert world.names == []
    with pytest.raises(NoSuchWorkflow):
        await Handle(ref, "one").status()
    assert await ref.call(Simple("one")) == "second done"


async def test_recovery_wherever_the_process_died(system: System) -> None:
    journal = MemoryJournal()
    world = World()
    world.refuse("second")
    ref = await system.start(spec(shop(world, Simple, journal=journal)))
    await over(await start(ref, Simple("one")))
    await ref.stop()
    for commits in range(1, journal.commits):
        world = World()
        world.refuse("second")
        cut = journal.copy(commits)
        ref = await system.start(spec(shop(world, Simple, journal=cut)))
        assert await over(Handle(ref, "one")) is Status.FAILED
        kinds = [type(each).__name__ for each in events(cut, "one")]
        assert kinds.count("Ended") == 1
        assert kinds.count("Refused") == 1
        await ref.stop()
