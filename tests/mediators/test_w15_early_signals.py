"""W15: a signal whose class nobody knows yet is kept until a ``receive`` asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import pytest
from msgspec import Raw
from trio.testing import wait_all_tasks_blocked

from actors.payloads.types import Types
from mediators import Handle, MemoryJournal, Status, Workflow
from mediators.driver import inbox, requests
from mediators.execution import signals
from mediators.execution.signals import Signal
from tests.mediators.sagas import Do, Ping, World, again, shop, spec, start

if TYPE_CHECKING:
    from actors import System

PING = "tests.mediators.sagas:Ping"


@attrs.define
class Late(Workflow[int]):
    """Receives after a step only: nothing names the class of the signal before."""

    id: str

    async def run(self) -> int:
        await self.step(Do("first"))
        return (await self.receive(Ping)).value


@attrs.define
class Other(Workflow[int]):
    """What the code of a workflow has become, so that it does not follow its record."""

    id: str
    journal_name = "tests.mediators.test_w15_early_signals:Late"

    async def run(self) -> int:
        await self.step(Do("something else"))
        return 0


async def early(system: System, *sent: tuple[str, dict[str, Any]]) -> Any:
    """A workflow that is sent these signals before its code has come to its ``receive``."""
    world = World()
    world.hold("first")
    journal = MemoryJournal()
    cls = shop(world, Late, journal=journal)
    ref = await system.start(spec(cls))
    await start(ref, Late("one"))
    await ref.stop()
    inbox.leave(
        journal,
        0,
        [requests.SignalRequest(id="one", type=name, fields=fields) for name, fields in sent],
    )
    world.hold("first")
    ref = await again(system, ref, cls)
    await wait_all_tasks_blocked()
    world.answer("first")
    await wait_all_tasks_blocked()
    return Handle(ref, "one")


@pytest.mark.parametrize("name", [PING, "Ping"])
async def test_w15_an_early_signal_of_a_class_nobody_knows_yet_is_kept(
    system: System, name: str
) -> None:
    handle = await early(system, (name, {"value": 7}))
    assert await handle.result(timeout=1.0) == 7


async def test_w15_without_it_kept_an_early_signal_would_be_lost(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "event_of", requests.value_of)
    handle = await early(system, (PING, {"value": 7}))
    assert await handle.status() is Status.WAITING


async def test_w15_an_early_signal_with_other_fields_keeps_nothing_from_going_on(
    system: System,
) -> None:
    handle = await early(system, (PING, {"value": "seven"}), (PING, {"value": 8}))
    assert await handle.result(timeout=1.0) == 8


async def test_w15_without_that_such_a_signal_would_pause_the_workflow_for_good(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Nothing(Exception):
        pass

    monkeypatch.setattr(signals, "Undecodable", Nothing)
    handle = await early(system, (PING, {"value": "seven"}), (PING, {"value": 8}))
    assert await handle.status() is Status.PAUSED


async def test_w15_a_signal_to_a_run_paused_by_mismatch_is_kept_until_its_code_is_mended(
    system: System,
) -> None:
    world, journal = World(), MemoryJournal()
    world.hold("first")
    cls = shop(world, Late, journal=journal)
    ref = await system.start(spec(cls))
    await start(ref, Late("one"))
    ref = await again(system, ref, cls, workflows=[Other])
    await wait_all_tasks_blocked()
    await ref.stop()
    inbox.leave(journal, 0, [requests.SignalRequest(id="one", type=PING, fields={"value": 3})])
    ref = await again(system, ref, cls, workflows=[Other])
    await wait_all_tasks_blocked()
    assert await Handle(ref, "one").status() is Status.PAUSED
    assert journal.read().inbox(0) == []
    world.held.clear()
    ref = await again(system, ref, cls)
    await wait_all_tasks_blocked()
    assert await Handle(ref, "one").result(timeout=1.0) == 3


def test_w15_what_is_known_is_checked_and_what_is_not_is_data() -> None:
    types = Types([Ping])
    assert requests.event_of(types, "Ping", {"value": 1}) == Ping(1)
    with pytest.raises(requests.BadRequest, match="no fields of"):
        requests.event_of(types, "Ping", {"value": "one"})
    with pytest.raises(requests.BadRequest, match=f"did you mean {PING}"):
        requests.event_of(types, "Pingg", {})
    with pytest.raises(requests.BadRequest, match="cannot be written down"):
        requests.event_of(types, "shop:Approve", {"value": 1 << 70})
    event = requests.event_of(types, "shop:Approve", {"by": "bob"})
    assert type(event) is Raw
    assert msgspec.msgpack.decode(event) == ["shop:Approve", 1, {"by": "bob"}]


def test_w15_a_signal_of_a_like_named_class_of_another_module_is_none() -> None:
    event = requests.event_of(Types(), "elsewhere:Ping", {"value": 1})
    assert not Signal("1", event, None)._named(PING)
