"""W17: the eight statuses, what each means, and what listings say of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from trio.testing import wait_all_tasks_blocked

from mediators import MemoryJournal, Start, Status, Workflow
from mediators.verbs import ListWorkflows
from tests.mediators.sagas import Do, Ping, Undo, World, again, over, shop, spec, start

if TYPE_CHECKING:
    from actors import Ref, System


@attrs.define
class Staged(Workflow[str]):
    """Can be brought to any status."""

    id: str

    async def run(self) -> str:
        await self.step(Do("first"), undo=Undo("first"))
        ping = await self.receive(Ping)
        if ping.value:
            raise ValueError("a mistake")
        return await self.step(Do("second"))


async def brought_to(system: System, status: str, journal: Any = None) -> tuple[Ref[Any], World]:
    """A mediator with one workflow, ``one``, in that status."""
    world = World()
    ref = await system.start(spec(shop(world, Staged, journal=journal or MemoryJournal())))
    if status == "running":
        world.hold("first")
    if status == "compensating":
        world.hold("-first")
    if status in {"failed", "incident", "compensating"}:
        world.refuse("second")
    if status == "incident":
        world.refuse("second", "-first")
    handle = await start(ref, Staged("one"))
    if status in {"failed", "incident", "compensating", "done"}:
        await handle.signal(Ping())
    if status == "cancelled":
        await handle.cancel()
    if status == "paused":
        await handle.signal(Ping(1))
    await wait_all_tasks_blocked()
    return ref, world


@pytest.mark.parametrize("status", [str(each) for each in Status])
async def test_w17_a_workflow_has_the_status_of_where_it_stands(
    system: System, status: str
) -> None:
    ref, _ = await brought_to(system, status)
    assert await (await start(ref, Staged("one"))).status() is Status(status)


@pytest.mark.parametrize("status", [str(each) for each in Status])
async def test_w17_it_has_the_same_status_after_a_restart(system: System, status: str) -> None:
    journal = MemoryJournal()
    ref, world = await brought_to(system, status, journal)
    ref = await again(system, ref, shop(world, Staged, journal=journal))
    handle = await start(ref, Staged("one"))
    assert await handle.status() is Status(status)


@pytest.mark.parametrize("status", [str(each) for each in Status])
async def test_w17_listings_have_it_too(system: System, status: str) -> None:
    ref, _ = await brought_to(system, status)
    (row,) = await ref.call(ListWorkflows())
    assert row.status == status
    assert await ref.call(ListWorkflows(status=status)) == [row]
    assert (row.ended is not None) == Status(status).over


def test_w17_these_are_all_of_them() -> None:
    names = "running waiting paused compensating incident done failed cancelled"
    assert [str(each) for each in Status] == names.split()
    assert [str(each) for each in Status if each.over] == ["done", "failed", "cancelled"]


async def test_w17_paused_is_a_mistake_of_the_code_or_somebodys_wish(system: System) -> None:
    ref, _ = await brought_to(system, "waiting")
    handle = await start(ref, Staged("one"))
    await handle.pause()
    assert await handle.status() is Status.PAUSED
    assert await handle.incidents() == []
    await handle.resume()
    await handle.signal(Ping(1))
    assert await handle.status() is Status.PAUSED
    assert len(await handle.incidents()) == 1


async def test_w17_an_incident_is_decided_and_the_compensation_ends(system: System) -> None:
    ref, _ = await brought_to(system, "incident")
    handle = await ref.call(Start(Staged("one")))
    await handle.skip()
    assert await over(handle) is Status.FAILED
