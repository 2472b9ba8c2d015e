"""J4's part in mediators: which types a journal's names mean, and what becomes of the others."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pytest
from trio.testing import wait_all_tasks_blocked

from actors import Actor, Call, Refusal, handles
from mediators import Handle, Mediator, MemoryJournal, Status, Workflow
from supervisors import Child
from tests.mediators.sagas import (
    Do,
    Ping,
    Simple,
    Undo,
    World,
    again,
    events,
    over,
    shop,
    spec,
    start,
    turns,
)

if TYPE_CHECKING:
    from actors import System


@attrs.frozen
class Inner:
    value: int


@attrs.frozen
class Outer:
    inner: Inner


@attrs.frozen
class Loose:
    """Named by no annotation."""

    value: int


@attrs.frozen
class Pack(Call[Outer]):
    inner: Inner


@attrs.frozen
class Anything(Call[Any]):
    what: Any


class Packer(Actor):
    @handles
    def pack(self, message: Pack) -> Outer:
        return Outer(message.inner)

    @handles
    def anything(self, message: Anything) -> Any:
        return message.what


@attrs.define
class Packs(Workflow[Outer]):
    id: str

    async def run(self) -> Outer:
        return await self.step(Pack(Inner(1)))


@attrs.define
class Carries(Workflow[Any]):
    id: str
    what: int = 0

    async def run(self) -> Any:
        return await self.step(Anything(Loose(1) if self.what == 0 else object()))


@attrs.define
class GivesBack(Workflow[Any]):
    id: str

    async def run(self) -> Any:
        return object()


class Odd(Refusal):
    """Its ``__init__`` takes something else than its args, and counts."""

    made = 0

    def __init__(self, code: int, *, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        type(self).made += 1


@attrs.frozen
class BeOdd(Call[int]):
    pass


class OddOnes(Actor):
    @handles
    def odd(self, message: BeOdd) -> int:
        raise Odd(7, text="odd")


@attrs.define
class Catches(Workflow[str]):
    id: str

    async def run(self) -> str:
        try:
            await self.step(BeOdd())
        except Odd as odd:
            await self.receive(Ping)
            return f"{odd} {odd.code} {odd.args}"
        return "nothing"


def from_text(fields: dict[str, Any]) -> dict[str, Any]:
    """From version 1 of Versioned, which had a text, to version 2."""
    return {"id": fields["id"], "number": int(fields["text"])}


@attrs.define
class Versioned(Workflow[int]):
    """As it is by now."""

    version = 2
    upcasts: ClassVar[dict[int, Any]] = {1: from_text}
    journal_name = "versioned"

    id: str
    number: int = 0

    async def run(self) -> int:
        await self.receive(Ping)
        return self.number


@attrs.define
class OldVersioned(Workflow[int]):
    """As it was."""

    journal_name = "versioned"

    id: str
    text: str = "0"

    async def run(self) -> int:
        await self.receive(Ping)
        return 0


def packing(*workflows: type[Workflow[Any]], **more: Any) -> type[Mediator]:
    fields: dict[str, Any] = {"components": [Child(Packer), Child(OddOnes)], "max_restarts": 10}
    return type("Packing", (Mediator,), {**fields, "workflows": workflows, **more})


async def test_j4_types_of_components_and_workflows_are_known_with_what_they_name(
    system: System,
) -> None:
    ref = await system.start(Child(packing(Packs)))
    assert await ref.call(Packs("one")) == Outer(Inner(1))


async def test_j4_a_type_no_annotation_reaches_fails_where_it_is_made_naming_the_field(
    system: System,
) -> None:
    ref = await system.start(Child(packing(Carries)))
    handle = await start(ref, Carries("one"))
    assert await handle.status() is Status.PAUSED
    (incident,) = await handle.incidents()
    assert "Anything.what" in incident.what
    assert "Loose" in incident.what
    assert "name it in the mediator's types" in incident.what
    assert "test_j4_types.py" in incident.what


async def test_j4_the_mediators_types_are_known_as_well(system: System) -> None:
    ref = await system.start(Child(packing(Carries, types=[Loose])))
    assert await ref.call(Carries("one")) == Loose(1)


async def test_j4_what_cannot_be_encoded_at_all_fails_where_it_is_made(system: System) -> None:
    ref = await system.start(Child(packing(Carries, GivesBack)))
    handle = await start(ref, Carries("one", 1))
    assert "Anything.what" in (await handle.incidents())[0].what
    handle = await start(ref, GivesBack("two"))
    assert "the result of GivesBack.run()" in (await handle.incidents())[0].what


async def test_j4_an_answer_that_cannot_be_encoded_is_an_incident(system: System) -> None:
    world = World()
    world.says["first"] = lambda _: object()
    ref = await system.start(spec(shop(world, Simple)))
    handle = await start(ref, Simple("one"))
    assert await handle.status() is Status.INCIDENT
    (incident,) = await handle.incidents()
    assert (incident.path, "the answer of Do.1" in incident.what) == ("Do.1", True)
    await handle.resolve("by hand")
    assert await handle.result() == "second done"


async def test_j4_a_refusal_comes_back_as_the_very_type_without_its_init(
    system: System,
) -> None:
    journal = MemoryJournal()
    cls = packing(Catches, journal=journal)
    ref = await system.start(spec(cls))
    await start(ref, Catches("one"))
    Odd.made = 0
    await ref.stop()
    ref = await system.start(spec(cls))
    await Handle(ref, "one").signal(Ping())
    assert await Handle(ref, "one").result() == "7: odd 7 ('7: odd',)"
    assert Odd.made == 0


async def test_j4_a_message_whose_type_is_gone_is_an_incident(system: System) -> None:
    """After a redeploy nobody knows the workflow's class any more; another one takes its id."""
    world = World()
    world.hold("first")
    journal = MemoryJournal()
    ref = await system.start(spec(shop(world, Simple, journal=journal)))
    await start(ref, Simple("one"))
    ref = await again(system, ref, shop(world, journal=journal), workflows=[Packs])
    handle: Handle[Any] = Handle(ref, "one")
    assert await handle.status() is Status.PAUSED
    (incident,) = await handle.incidents()
    assert "names the type 'tests.mediators.sagas:Simple'" in incident.what
    assert ref.incarnation == 1


async def test_j4_it_goes_on_once_the_type_is_there_again(system: System) -> None:
    world = World()
    world.hold("first")
    cls = shop(world, Simple, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    await start(ref, Simple("one"))
    ref = await again(system, ref, cls, workflows=[Packs])
    await wait_all_tasks_blocked()
    world.held.clear()
    ref = await again(system, ref, cls)
    assert await Handle(ref, "one").result() == "second done"


async def test_j4_an_undo_whose_type_is_gone_stands_as_an_incident(system: System) -> None:
    world = World()
    journal = MemoryJournal()
    ref = await system.start(spec(shop(world, Parting, Packs, journal=journal)))
    handle = await start(ref, Parting("one"))
    assert await handle.status() is Status.WAITING
    await ref.stop()

    cls = type("Later", (Mediator,), {"components": [Child(Packer)], "journal": journal})
    ref = await system.start(spec(type("Later", (cls,), {"workflows": [Packs]})))
    handle = Handle(ref, "one")
    await handle.cancel()
    await wait_all_tasks_blocked()
    assert ref.incarnation == 1
    assert await handle.status() is Status.INCIDENT
    assert "Undo" in (await handle.incidents())[0].what
    await handle.skip()
    assert await over(handle) is Status.CANCELLED


@attrs.define
class Parting(Workflow[None]):
    id: str

    async def run(self) -> None:
        await self.step(Do("first"), undo=Undo("first"))
        await self.receive(Ping)


async def test_j4_nothing_is_imported_by_name(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name in the record is that of a module that could be imported, and would be seen."""
    world = World()
    journal = MemoryJournal()
    ref = await system.start(spec(shop(world, Parting, journal=journal)))
    await start(ref, Parting("one"))
    await ref.stop()
    name = Parting.__module__
    monkeypatch.setitem(sys.modules, name, ModuleType(name))
    imported: list[str] = []

    class Watch:
        def find_spec(self, fullname: str, *_: Any) -> None:
            imported.append(fullname)

    monkeypatch.setattr(sys, "meta_path", [Watch(), *sys.meta_path])
    ref = await system.start(spec(shop(world, Simple, journal=journal)))
    assert await Handle(ref, "one").status() is Status.PAUSED
    assert name not in imported


async def test_j4_an_older_version_is_brought_up_to_date(system: System) -> None:
    journal = MemoryJournal()
    ref = await system.start(spec(shop(World(), OldVersioned, journal=journal)))
    await start(ref, OldVersioned("one", "41"))
    await ref.stop()
    ref = await system.start(spec(shop(World(), Versioned, journal=journal)))
    await Handle(ref, "one").signal(Ping())
    assert await Handle(ref, "one").result() == 41


async def test_j4_a_later_version_is_an_incident(system: System) -> None:
    journal = MemoryJournal()
    ref = await system.start(spec(shop(World(), Versioned, journal=journal)))
    await start(ref, Versioned("one", 41))
    await ref.stop()
    ref = await system.start(spec(shop(World(), OldVersioned, journal=journal)))
    handle: Handle[Any] = Handle(ref, "one")
    assert await handle.status() is Status.PAUSED
    assert "version 2" in (await handle.incidents())[0].what


async def test_j4_equal_messages_make_equal_records(system: System) -> None:
    records: list[list[Any]] = []
    for _ in range(2):
        journal = MemoryJournal()
        ref = await system.start(spec(shop(World(), Simple, journal=journal)))
        await start(ref, Simple("one"))
        records.append(
            [
                bytes(each.message)
                for turn in turns(journal, "one")
                for each in turn
                if type(each).__name__ == "Intended"
            ]
        )
        assert events(journal, "one")
    assert records[0] == records[1]
