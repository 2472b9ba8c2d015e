"""A start under an id whose record cannot be read: refused, and nobody else feels it."""

from __future__ import annotations

import attrs
import pytest

from actors import System
from actors.payloads.types import Types, UnknownType
from mediators import Mediator, MemoryJournal, Start, Status, VerbRefused, Workflow
from supervisors import Child


@attrs.define
class Old(Workflow[None]):
    id: str

    async def run(self) -> None:
        await self.sleep(5.0)


@attrs.define
class New(Workflow[None]):
    id: str

    async def run(self) -> None:
        await self.sleep(5.0)


async def test_w14_an_id_taken_by_a_workflow_of_an_unknown_class_refuses_the_start(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    """W14: whether the contents are the same cannot be said, so neither joined nor begun."""
    kept = MemoryJournal()

    class Before(Mediator):
        workflows = [Old]
        journal = kept

    class After(Mediator):
        workflows = [New]
        journal = kept

    before = await system.start(Child(Before, restart="temporary"))
    await before.call(Start(Old("one")))
    await before.stop()
    after = await system.start(Child(After))
    with pytest.raises(VerbRefused, match="'one' is taken by a workflow that cannot be read"):
        await after.call(Start(New("one")))
    with pytest.raises(VerbRefused, match="cannot be read"):
        await after.call(New("one"))
    other = await after.call(Start(New("two")))
    assert await other.status() is Status.WAITING
    assert after.incarnation == 1

    def unreadable(*_: object) -> bool:
        raise UnknownType("x", 1, "no such type")

    monkeypatch.setattr(Types, "same_bytes", unreadable)
    with pytest.raises(VerbRefused, match="no such type"):
        await after.call(Start(New("one")))
