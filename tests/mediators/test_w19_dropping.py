"""W19: what a coroutine does while it is dropped goes nowhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from trio.testing import wait_all_tasks_blocked

from actors import ActorDied
from mediators import Handle, MemoryJournal, Status, Workflow
from mediators.execution import execution
from tests.mediators.sagas import (
    CrashDriver,
    Do,
    Ping,
    Undo,
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
class Tidy(Workflow[str]):
    """Wants to do something when it ends, whatever ends it."""

    id: str
    seen: list[str] = attrs.Factory(list)

    async def run(self) -> str:
        try:
            await self.step(Do("first"), undo=Undo("first"))
            await self.receive(Ping)
            return "done"
        finally:
            LOG.append("finally")
            await self.step(Do("tidied"))
            LOG.append("tidied")


@attrs.define
class TidyBranches(Workflow[str]):
    id: str

    async def run(self) -> str:
        await self.gather(self.branch("a"), self.branch("b"))
        return "done"

    async def branch(self, name: str) -> None:
        try:
            await self.receive(Ping, where=lambda ping: ping.value == ord(name))
        finally:
            LOG.append(name)
            await self.step(Do(f"tidied {name}"))


@attrs.define
class Clings(Workflow[str]):
    """Does not let itself be dropped for a while."""

    id: str

    async def run(self) -> str:
        for _ in range(20):
            try:
                await self.receive(Ping)
            except BaseException:
                LOG.append("clings")
        return "done"


@attrs.define
class Draws(Workflow[str]):
    """Reads and marks what is on record while it ends."""

    id: str

    async def run(self) -> str:
        try:
            await self.receive(Ping)
        finally:
            LOG.append(str(self.uuid()))
            self.patched("a change")
        return "done"


LOG: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    """What the last test has noted is gone."""
    LOG.clear()


async def crashed(system: System, workflow: Any) -> tuple[World, MemoryJournal, Handle[Any]]:
    """A workflow that waits, in a mediator that crashes and comes back."""
    world = World()
    journal = MemoryJournal()
    ref = await system.start(spec(shop(world, type(workflow), journal=journal)))
    handle = await start(ref, workflow)
    before = journal.commits
    with pytest.raises(ActorDied):
        await ref.call(CrashDriver())
    await wait_all_tasks_blocked()
    assert journal.commits == before
    return world, journal, handle


async def test_w19_commands_of_a_dropped_coroutine_go_nowhere(system: System) -> None:
    world, journal, handle = await crashed(system, Tidy("one"))
    assert "finally" in LOG
    assert "tidied" not in LOG
    assert world.names == ["first"]
    assert await handle.status() is Status.WAITING
    await handle.signal(Ping())
    assert await handle.result() == "done"
    assert world.names == ["first", "tidied"]
    assert [each.path for each in events(journal, "one") if type(each).__name__ == "Intended"] == [
        "Do.1",
        "Do.3",
    ]


async def test_w19_of_branches_as_well(system: System) -> None:
    world, _, handle = await crashed(system, TidyBranches("one"))
    assert sorted(LOG) == ["a", "b"]
    assert world.names == []
    await handle.signal(Ping(ord("a")))
    await handle.signal(Ping(ord("b")))
    assert await handle.result() == "done"


async def test_w19_an_orderly_stop_drops_in_the_same_way(system: System) -> None:
    world = World()
    cls = shop(world, Tidy, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    await start(ref, Tidy("one"))
    ref = await again(system, ref, cls)
    await wait_all_tasks_blocked()
    assert LOG == ["finally"]
    assert world.names == ["first"]
    await Handle(ref, "one").signal(Ping())
    assert await over(Handle(ref, "one")) is Status.DONE


async def test_w19_one_that_does_not_let_itself_be_dropped_gets_no_further(
    system: System,
) -> None:
    _, _, handle = await crashed(system, Clings("one"))
    assert LOG == ["clings"] * 20
    assert await handle.status() is Status.WAITING


async def test_w19_what_it_reads_and_marks_leaves_no_trace(system: System) -> None:
    _, journal, handle = await crashed(system, Draws("one"))
    first = list(LOG)
    await handle.signal(Ping())
    assert await handle.result() == "done"
    assert LOG[len(first) :] == first[:1]
    assert [type(each).__name__ for each in events(journal, "one")].count("Patched") == 1


async def test_w19_a_mistake_drops_the_coroutine_too(system: System) -> None:
    world = World()
    ref = await system.start(spec(shop(world, Mistaken)))
    handle = await start(ref, Mistaken("one"))
    await handle.signal(Ping(65))
    assert await handle.status() is Status.PAUSED
    assert LOG == ["other"]
    assert world.names == []


@attrs.define
class Mistaken(Workflow[str]):
    id: str

    async def run(self) -> str:
        await self.gather(self.bad(), self.other())
        return "done"

    async def bad(self) -> None:
        await self.receive(Ping)
        raise ValueError("a mistake")

    async def other(self) -> None:
        try:
            await self.sleep(100)
        finally:
            LOG.append("other")
            await self.step(Do("tidied"))


async def test_w19_without_the_refusal_a_dropped_coroutine_would_send(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it asks for while it ends is there to be sent; only that nobody takes it keeps it."""
    world = World()

    def obeying(coroutine: Any) -> None:
        try:
            command = coroutine.throw(GeneratorExit())
            world.done.append((None, command.message.name))
            coroutine.throw(GeneratorExit())
        except GeneratorExit:
            pass

    ref = await system.start(spec(shop(world, Tidy, journal=MemoryJournal())))
    await start(ref, Tidy("one"))
    monkeypatch.setattr(execution, "close", obeying)
    with pytest.raises(ActorDied):
        await ref.call(CrashDriver())
    await wait_all_tasks_blocked()
    assert world.names == ["first", "tidied"]
