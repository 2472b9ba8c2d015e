"""W15: signals count once, are kept until received, and are refused where they cannot be kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorDied
from actors.testing import dead_letters
from mediators import Handle, MemoryJournal, NoSuchWorkflow, SignalRefused, Status, Workflow
from mediators.driver import desk
from mediators.execution import signals as module
from mediators.execution.signals import Inbox
from tests.mediators.sagas import (
    CrashDriver,
    Do,
    Ping,
    Pong,
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
class Collects(Workflow[list[int]]):
    """Receives so many, the first one after a step."""

    id: str
    count: int = 2

    async def run(self) -> list[int]:
        await self.step(Do("first"))
        return [(await self.receive(Ping)).value for _ in range(self.count)]


@attrs.define
class Chooses(Workflow[tuple[int, int]]):
    """Two branches wait for the same type, the second one for large values only."""

    id: str

    async def run(self) -> tuple[int, int]:
        small, large = await self.gather(
            self.receive(Ping), self.receive(Ping, where=lambda ping: ping.value > 10)
        )
        return small.value, large.value


@attrs.define
class Ten(Workflow[list[int]]):
    """Ten branches and more wait for the same."""

    id: str

    async def run(self) -> list[int]:
        found = await self.gather(*(self.receive(Ping) for _ in range(12)))
        return [each.value for each in found]


@attrs.define
class Timed(Workflow[int | None]):
    id: str

    async def run(self) -> int | None:
        ping = await self.receive(Ping, timeout=10)
        return None if ping is None else ping.value


@attrs.define
class Both(Workflow[tuple[int, int]]):
    id: str

    async def run(self) -> tuple[int, int]:
        pong = await self.receive(Pong)
        ping = await self.receive(Ping)
        return ping.value, pong.value


@attrs.define
class BadWhere(Workflow[int]):
    id: str

    async def run(self) -> int:
        return (await self.receive(Ping, where=lambda ping: ping.missing)).value  # type: ignore[attr-defined]


async def collecting(system: System, world: World, **more: Any) -> Handle[Any]:
    """A workflow that does not receive before the world answers its first step."""
    world.hold("first")
    ref = await system.start(spec(shop(world, Collects, **more)))
    return await start(ref, Collects("one"))


async def twice(system: System) -> None:
    """Send the same signal again, before and after it was read."""
    world = World()
    handle = await collecting(system, world)
    for _ in range(3):
        await handle.signal(Ping(1), id="the-same")
    world.answer("first")
    await wait_all_tasks_blocked()
    await handle.signal(Ping(1), id="the-same")
    await handle.signal(Ping(2), id="another")
    assert await handle.result() == [1, 2]


async def test_w15_a_signal_sent_again_under_its_id_counts_once(system: System) -> None:
    await twice(system)


async def test_w15_without_the_memory_of_ids_it_would_count_twice(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Inbox, "remember", lambda *_: None)
    with pytest.raises(NoSuchWorkflow, match="it is done"):
        await twice(system)


async def test_w15_a_signal_without_an_id_counts_each_time(system: System) -> None:
    world = World()
    handle = await collecting(system, world)
    await handle.signal(Ping(1))
    await handle.signal(Ping(1))
    world.answer("first")
    assert await handle.result() == [1, 1]


async def test_w15_ids_are_remembered_after_a_restart(system: System) -> None:
    world = World()
    journal = MemoryJournal()
    cls = shop(world, Collects, journal=journal)
    ref = await system.start(spec(cls))
    handle = await start(ref, Collects("one"))
    await handle.signal(Ping(1), id="the-same")
    ref = await again(system, ref, cls)
    handle = Handle(ref, "one")
    await handle.signal(Ping(1), id="the-same")
    assert await handle.status() is Status.WAITING
    await handle.signal(Ping(2), id="another")
    assert await handle.result() == [1, 2]


async def test_w15_a_signal_sent_again_while_paused_counts_once(system: System) -> None:
    world = World()
    handle = await collecting(system, world)
    world.answer("first")
    await handle.pause()
    await handle.signal(Ping(1), id="the-same")
    await handle.signal(Ping(1), id="the-same")
    await handle.resume()
    await handle.signal(Ping(2))
    assert await handle.result() == [1, 2]


async def test_w15_only_so_many_ids_are_remembered(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REMEMBERED", 1)
    world = World()
    handle = await collecting(system, world)
    await handle.signal(Ping(1), id="a")
    await handle.signal(Ping(2), id="b")
    await handle.signal(Ping(1), id="b")
    world.answer("first")
    assert await handle.result() == [1, 2]


async def test_w15_signals_are_kept_until_received_in_their_order(system: System) -> None:
    world = World()
    handle = await collecting(system, world)
    await handle.signal(Ping(1))
    await handle.signal(Ping(2))
    await handle.signal(Ping(3))
    world.answer("first")
    assert await handle.result() == [1, 2]


async def test_w15_an_acknowledged_signal_outlives_the_process(system: System) -> None:
    world = World()
    journal = MemoryJournal()
    cls = shop(world, Collects, journal=journal)
    handle = await collecting(system, world, journal=journal)
    await handle.signal(Ping(1))
    after = journal.copy()
    await handle.mediator.stop()
    world.held.clear()
    ref = await system.start(spec(type("Other", (cls,), {"journal": after})))
    await Handle(ref, "one").signal(Ping(2))
    assert await Handle(ref, "one").result() == [1, 2]


async def test_w15_a_kept_signal_waits_for_a_receive_of_its_type(system: System) -> None:
    ref = await system.start(spec(shop(World(), Both)))
    handle = await start(ref, Both("one"))
    await handle.signal(Ping(1))
    assert await handle.status() is Status.WAITING
    await handle.signal(Pong(2))
    assert await handle.result() == (1, 2)


async def test_w15_a_signal_goes_to_the_first_receive_it_matches(system: System) -> None:
    ref = await system.start(spec(shop(World(), Chooses)))
    handle = await start(ref, Chooses("one"))
    await handle.signal(Ping(20))
    await handle.signal(Ping(30))
    assert await handle.result() == (20, 30)


async def test_w15_receives_are_served_in_the_order_they_were_made(system: System) -> None:
    cls = shop(World(), Ten, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    handle = await start(ref, Ten("one"))
    for value in range(3):
        await handle.signal(Ping(value))
    ref = await again(system, ref, cls)
    handle = Handle(ref, "one")
    for value in range(3, 12):
        await handle.signal(Ping(value))
    assert await handle.result() == list(range(12))


async def test_w15_where_is_asked_of_signals_that_came_before(system: System) -> None:
    ref = await system.start(spec(shop(World(), Late)))
    handle = await start(ref, Late("one"))
    for value in (1, 20, 2):
        await handle.signal(Ping(value))
    assert await handle.result() == (20, 1)


@attrs.define
class Late(Workflow[tuple[int, int]]):
    id: str

    async def run(self) -> tuple[int, int]:
        await self.sleep(10)
        large = await self.receive(Ping, where=lambda ping: ping.value > 10)
        any_ = await self.receive(Ping)
        return large.value, any_.value


async def test_w15_a_where_that_raises_is_a_mistake_of_the_code(system: System) -> None:
    ref = await system.start(spec(shop(World(), BadWhere)))
    handle = await start(ref, BadWhere("one"))
    await handle.signal(Ping(1))
    assert await handle.status() is Status.PAUSED
    (incident,) = await handle.incidents()
    assert "AttributeError" in incident.what


async def full(system: System, monkeypatch: pytest.MonkeyPatch) -> None:
    """A third signal where two may be unread."""
    monkeypatch.setattr(desk, "UNREAD", 2)
    world = World()
    journal = MemoryJournal()
    handle = await collecting(system, world, journal=journal)
    await handle.signal(Ping(1), id="a")
    await handle.signal(Ping(2), id="b")
    with pytest.raises(SignalRefused, match="holds 2 unread"):
        await handle.signal(Ping(3), id="c")
    assert [each.id for each in events(journal, "one") if hasattr(each, "expires")] == ["a", "b"]
    await handle.signal(Ping(2), id="b")
    world.answer("first")
    assert await handle.result() == [1, 2]


async def test_w15_a_full_buffer_refuses_a_signal_before_acknowledging_it(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    await full(system, monkeypatch)


async def test_w15_a_buffer_is_full_while_paused_as_well(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(desk, "UNREAD", 2)
    world = World()
    handle = await collecting(system, world)
    await handle.pause()
    await handle.signal(Ping(1))
    await handle.signal(Ping(2))
    with pytest.raises(SignalRefused):
        await handle.signal(Ping(3))


async def test_w15_a_signal_that_expires_unread_is_recorded_as_a_dead_letter(
    system: System,
) -> None:
    letters = dead_letters(system)
    world = World()
    journal = MemoryJournal()
    handle = await collecting(system, world, journal=journal)
    await handle.signal(Ping(1), id="short", expires=2)
    await handle.signal(Ping(2), expires=100)
    await handle.signal(Ping(3))
    await trio.sleep(3)
    assert [(each.message, each.reason) for each in letters] == [
        (Ping(1), "a signal to workflow 'one' that was not read in time")
    ]
    assert [each.id for each in events(journal, "one") if type(each).__name__ == "Expired"] == [
        "short"
    ]
    world.answer("first")
    assert await handle.result() == [2, 3]


async def test_w15_a_signal_that_was_read_does_not_expire(system: System) -> None:
    letters = dead_letters(system)
    world = World()
    handle = await collecting(system, world)
    world.answer("first")
    await wait_all_tasks_blocked()
    await handle.signal(Ping(1), expires=2)
    await trio.sleep(5)
    await handle.signal(Ping(2))
    assert await handle.result() == [1, 2]
    assert letters == []


async def test_w15_a_signal_expires_after_a_restart(system: System) -> None:
    letters = dead_letters(system)
    world = World()
    handle = await collecting(system, world, journal=MemoryJournal())
    await handle.signal(Ping(1), expires=20)
    with pytest.raises(ActorDied):
        await handle.mediator.call(CrashDriver())
    await trio.sleep(30)
    # Nobody has received one of these in this process: its class is not known.
    assert [
        getattr(each.message, "short", "") for each in letters if "not read" in each.reason
    ] == ["Ping"]


async def test_w15_a_signal_to_an_unknown_or_ended_id_is_refused(system: System) -> None:
    ref = await system.start(spec(shop(World(), Timed)))
    with pytest.raises(NoSuchWorkflow):
        await Handle(ref, "nobody").signal(Ping())
    handle = await start(ref, Timed("one"))
    await handle.signal(Ping(1))
    assert await over(handle) is Status.DONE
    with pytest.raises(NoSuchWorkflow, match="has ended"):
        await handle.signal(Ping(2))


async def test_w15_receive_with_a_timeout_gives_none_when_it_expires(system: System) -> None:
    ref = await system.start(spec(shop(World(), Timed)))
    began = trio.current_time()
    assert await (await start(ref, Timed("one"))).result() is None
    assert trio.current_time() - began == pytest.approx(10, abs=0.1)
    handle = await start(ref, Timed("two"))
    await handle.signal(Ping(5))
    assert await handle.result() == 5


async def test_w15_the_time_of_a_receive_goes_on_while_no_process_is_there(
    system: System,
) -> None:
    cls = shop(World(), Timed, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    await start(ref, Timed("one"))
    await ref.stop()
    await trio.sleep(100)
    ref = await system.start(spec(cls))
    began = trio.current_time()
    assert await Handle(ref, "one").result() is None
    assert trio.current_time() - began < 1
