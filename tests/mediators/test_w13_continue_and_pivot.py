"""W13: going on in a new run, and the point from which there is no way back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Refusal, handles
from mediators import Handle, MemoryJournal, Retry, Status, VerbRefused, Workflow, WorkflowEnded
from mediators.telemetry import WorkflowStopped
from mediators.verbs import ListWorkflows
from tests.mediators.sagas import (
    Ask,
    Do,
    No,
    Ping,
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
    from actors import System


@attrs.define
class Rounds(Workflow[list[int]]):
    """Each round receives one signal; what it got so far goes on to the next."""

    id: str
    rounds: int
    got: list[int] = attrs.Factory(list)

    async def run(self) -> list[int]:
        await self.step(Do(f"round {self.rounds}"), undo=Undo(f"round {self.rounds}"))
        got = [*self.got, (await self.receive(Ping)).value]
        if self.rounds > 1:
            await self.continue_as_new(Rounds(self.id, self.rounds - 1, got))
            raise AssertionError("never here")
        await self.step(Do("last"))
        return got

    @handles
    def ask(self, message: Ask) -> Any:
        return getattr(self, message.field)


@attrs.define
class InBranch(Workflow[None]):
    id: str
    what: str

    async def run(self) -> None:
        await self.gather(self.branch(), self.sleep(1))

    async def branch(self) -> None:
        if self.what == "pivot":
            await self.pivot()
        else:
            await self.continue_as_new(InBranch(self.id, "pivot"))


@attrs.define
class WithChildren(Workflow[None]):
    id: str
    round: int = 0

    async def run(self) -> None:
        await self.race(self.child(Waits(f"child {self.round}")), self.sleep(1))
        await self.step(Do("first"))
        await self.continue_as_new(WithChildren(self.id, self.round + 1))


@attrs.define
class Pivots(Workflow[str]):
    """A step before the pivot, one behind."""

    id: str
    behind: str = "behind"
    catches: bool = False

    async def run(self) -> str:
        await self.step(Do("before"), undo=Undo("before"))
        await self.pivot()
        try:
            return await self.step(Do(self.behind), undo=Undo(self.behind), retry=Retry(attempts=2))
        except Refusal:
            if self.catches:
                return "caught"
            raise


@attrs.define
class PivotsOn(Workflow[str]):
    id: str
    round: int = 0

    async def run(self) -> str:
        if self.round == 0:
            await self.pivot()
            await self.continue_as_new(PivotsOn(self.id, 1))
        return await self.step(Do("behind"))


@attrs.define
class Bounded(Workflow[str]):
    timeout = 5.0
    id: str

    async def run(self) -> str:
        await self.pivot()
        await self.sleep(60)
        return "done"


async def test_w13_continue_as_new_never_returns_and_result_follows_to_the_last_run(
    system: System,
) -> None:
    ref = await system.start(spec(shop(World(), Rounds)))
    handle = await start(ref, Rounds("one", 3))
    results: list[Any] = []

    async def wait() -> None:
        results.append(await handle.result())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        for value in (1, 2, 3):
            await handle.signal(Ping(value))
            await wait_all_tasks_blocked()
    assert results == [[1, 2, 3]]
    assert await handle.result() == [1, 2, 3]
    rows = await ref.call(ListWorkflows())
    assert [(each.run, each.status) for each in rows] == [
        (1, "continued"),
        (2, "continued"),
        (3, "done"),
    ]


async def test_w13_each_run_has_a_history_of_its_own(system: System) -> None:
    ref = await system.start(spec(shop(World(), Rounds)))
    handle = await start(ref, Rounds("one", 3))
    await handle.signal(Ping(1))
    await wait_all_tasks_blocked()
    assert [each.kind for each in await handle.history()][:2] == ["started", "intended"]
    assert await handle.query(Ask("rounds")) == 2


async def test_w13_unread_signals_are_carried(system: System) -> None:
    ref = await system.start(spec(shop(World(), Rounds)))
    handle = await start(ref, Rounds("one", 3))
    await handle.pause()
    for value in (1, 2, 3):
        await handle.signal(Ping(value))
    await handle.resume()
    assert await handle.result() == [1, 2, 3]


async def test_w13_the_ids_of_signals_are_carried(system: System) -> None:
    cls = shop(World(), Rounds, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    handle = await start(ref, Rounds("one", 3))
    await handle.signal(Ping(1), id="the-same")
    await wait_all_tasks_blocked()
    await handle.signal(Ping(1), id="the-same")
    ref = await again(system, ref, cls)
    handle = Handle(ref, "one")
    await handle.signal(Ping(1), id="the-same")
    assert await handle.status() is Status.WAITING
    await handle.signal(Ping(2))
    await handle.signal(Ping(3))
    assert await handle.result() == [1, 2, 3]


async def test_w13_a_carried_signal_still_expires(system: System) -> None:
    world = World()
    world.hold("round 1")
    ref = await system.start(spec(shop(world, Rounds)))
    handle = await start(ref, Rounds("one", 2))
    await handle.signal(Ping(1))
    await handle.signal(Ping(2), expires=5)
    await trio.sleep(6)
    world.answer("round 1")
    await wait_all_tasks_blocked()
    assert await handle.status() is Status.WAITING


async def test_w13_open_undos_are_carried(system: System) -> None:
    world = World()
    world.refuse("last")
    cls = shop(world, Rounds, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    handle = await start(ref, Rounds("one", 2))
    await handle.signal(Ping(1))
    ref = await again(system, ref, cls)
    handle = Handle(ref, "one")
    await handle.signal(Ping(2))
    with pytest.raises(No):
        await handle.result()
    assert world.names == ["round 2", "round 1", "last", "-round 1", "-round 2"]
    assert world.keys("-round 2") == ["one/2/undo/1/Do.1"]


async def test_w13_the_pivot_is_carried(system: System) -> None:
    world = World()
    world.hold("behind")
    ref = await system.start(spec(shop(world, PivotsOn)))
    handle = await start(ref, PivotsOn("one"))
    with pytest.raises(VerbRefused, match="past its pivot"):
        await handle.cancel()
    world.answer("behind")
    assert await handle.result() == "behind done"


@pytest.mark.parametrize("what", ["continue_as_new", "pivot"])
async def test_w13_neither_is_for_a_branch(system: System, what: str) -> None:
    ref = await system.start(spec(shop(World(), InBranch)))
    handle = await start(ref, InBranch("one", what))
    assert await handle.status() is Status.PAUSED
    (incident,) = await handle.incidents()
    assert f"{what}() stands in a branch of gather or race" in incident.what


async def test_w13_continue_as_new_is_refused_while_children_run(system: System) -> None:
    ref = await system.start(spec(shop(World(), Spawns, Waits)))
    handle = await start(ref, Spawns("one"))
    assert await handle.status() is Status.PAUSED
    (incident,) = await handle.incidents()
    assert "while child workflows run" in incident.what


@attrs.define
class Spawns(Workflow[None]):
    """Goes on in the very turn in which its child has begun."""

    id: str

    async def run(self) -> None:
        self._execution.children += 1  # type: ignore[union-attr]
        await self.continue_as_new(Spawns(self.id))


async def test_w13_children_that_have_ended_are_no_hindrance(system: System) -> None:
    ref = await system.start(spec(shop(World(), WithChildren, Waits)))
    handle = await start(ref, WithChildren("one"))
    await trio.sleep(2)
    rows = await ref.call(ListWorkflows())
    assert [each.run for each in rows if each.id == "one"][:2] == [1, 2]
    await handle.cancel()


async def test_w13_a_continuation_that_cannot_be_written_down_is_a_mistake(
    system: System,
) -> None:
    ref = await system.start(spec(shop(World(), Hands)))
    handle = await start(ref, Hands("one"))
    assert await handle.status() is Status.PAUSED
    (incident,) = await handle.incidents()
    assert "Hands.what" in incident.what


@attrs.define
class Hands(Workflow[None]):
    id: str
    what: Any = None

    async def run(self) -> None:
        await self.continue_as_new(Hands(self.id, object()))


async def test_w13_behind_the_pivot_a_cancel_is_refused(system: System) -> None:
    world = World()
    world.hold("behind")
    ref = await system.start(spec(shop(world, Pivots)))
    handle = await start(ref, Pivots("one"))
    with pytest.raises(VerbRefused, match="past its pivot"):
        await handle.cancel()
    world.answer("behind")
    assert await handle.result() == "behind done"


async def test_w13_before_the_pivot_a_cancel_is_taken(system: System) -> None:
    world = World()
    world.hold("before")
    ref = await system.start(spec(shop(world, Pivots)))
    handle = await start(ref, Pivots("one"))
    await handle.cancel()
    world.answer("before")
    with pytest.raises(WorkflowEnded):
        await handle.result()
    assert world.names == ["before", "-before"]


async def test_w13_behind_the_pivot_the_time_of_the_run_does_not_cancel_it(
    system: System,
) -> None:
    ref = await system.start(spec(shop(World(), Bounded)))
    assert await (await start(ref, Bounded("one"))).result() == "done"


async def test_w13_a_refusal_behind_the_pivot_stands_as_an_incident(system: System) -> None:
    world = World()
    world.refuse("behind")
    ref = await system.start(spec(shop(world, Pivots)))
    handle = await start(ref, Pivots("one"))
    assert await handle.status() is Status.INCIDENT
    (incident,) = await handle.incidents()
    assert "came after its pivot" in incident.what
    assert world.names == ["before", "behind"]
    await handle.resolve("by hand")
    assert await handle.result() == "by hand"


async def test_w13_a_step_that_fails_behind_the_pivot_stands_as_an_incident(
    system: System,
) -> None:
    world = World()
    world.crash("behind")
    seen: list[WorkflowStopped] = []
    system.telemetry.listen(seen.append, WorkflowStopped)
    ref = await system.start(spec(shop(world, Pivots)))
    handle = await start(ref, Pivots("one"))
    await trio.sleep(30)
    assert await handle.status() is Status.INCIDENT
    (incident,) = await handle.incidents()
    assert incident.path == "Do.2"
    assert [(each.reason, each.incident) for each in seen] == [("incident", incident)]
    with pytest.raises(VerbRefused, match="Retry the step"):
        await handle.skip()
    world.says.clear()
    await handle.retry()
    assert await handle.result() == "behind done"
    assert "-before" not in world.names


async def test_w13_what_the_code_catches_behind_the_pivot_is_no_incident(
    system: System,
) -> None:
    world = World()
    world.refuse("behind")
    ref = await system.start(spec(shop(world, Pivots)))
    assert await (await start(ref, Pivots("one", catches=True))).result() == "caught"


async def test_w13_the_pivot_is_known_after_a_restart(system: System) -> None:
    world = World()
    world.hold("behind")
    cls = shop(world, Pivots, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    await start(ref, Pivots("one"))
    world.held.clear()
    world.refuse("behind")
    ref = await again(system, ref, cls)
    await wait_all_tasks_blocked()
    handle: Handle[Any] = Handle(ref, "one")
    assert await handle.status() is Status.INCIDENT
    with pytest.raises(VerbRefused):
        await handle.cancel()
    await handle.resolve("by hand")
    assert await over(handle) is Status.DONE
    assert "-before" not in world.names
