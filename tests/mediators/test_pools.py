"""Pools as components: a mediator knows the workers' messages, and a workflow their poison."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

from actors import Actor, Call, handles
from mediators import Mediator, Retry, Start, StepFailed, Workflow
from supervisors import Child, GetPool, Poisoned, Pool

if TYPE_CHECKING:
    from actors import System


@attrs.frozen
class Convert(Call[str]):
    path: str


class Converter(Actor):
    """Dies of some files."""

    tried: list[str]

    def __init__(self, tried: list[str]) -> None:
        self.tried = tried

    @handles
    def convert(self, msg: Convert) -> str:
        self.tried.append(msg.path)
        if msg.path.startswith("bad"):
            raise ValueError(msg.path)
        return msg.path.upper()


@attrs.define
class Process(Workflow[str]):
    id: str

    async def run(self) -> str:
        try:
            return await self.step(Convert(self.id))
        except Poisoned as poisoned:
            return f"unreadable, {poisoned.attempts} tried"


@attrs.define
class Strictly(Workflow[str]):
    id: str

    async def run(self) -> str:
        return await self.step(Convert(self.id), retry=Retry(attempts=2, first=0.0, cap=0.0))


def pipeline(tried: list[str], attempts: int = 3) -> type[Mediator]:
    class Pipeline(Mediator):
        components = [Pool(Child(Converter, tried), min=1, max=2, attempts=attempts)]
        workflows = [Process, Strictly]

    return Pipeline


async def test_a_step_goes_to_the_pool_whose_workers_handle_it(system: System) -> None:
    tried: list[str] = []
    ref = await system.start(Child(pipeline(tried)))
    assert await ref.call(Process("a.pdf")) == "A.PDF"
    assert await ref.call(Convert("b.pdf")) == "B.PDF"


async def test_poison_is_an_answer_that_is_not_retried(system: System) -> None:
    tried: list[str] = []
    ref = await system.start(Child(pipeline(tried)))
    handle = await ref.call(Start(Process("bad.pdf")))
    assert await handle.result() == "unreadable, 3 tried"
    assert tried == ["bad.pdf"] * 3
    with pytest.raises(Poisoned) as poisoned:
        await ref.call(Strictly("bad-2.pdf"))
    assert (poisoned.value.operation, poisoned.value.attempts) == ("Convert", 3)
    assert tried.count("bad-2.pdf") == 3
    assert not isinstance(poisoned.value, StepFailed)


async def test_the_pool_of_a_mediator_is_asked_by_its_own_ref(system: System) -> None:
    tried: list[str] = []
    seen = []

    class Curious(pipeline(tried)):  # type: ignore[misc]
        @handles
        def look(self, msg: Look) -> None:
            seen.append(self.component("Converter"))

    ref = await system.start(Child(Curious))
    await ref.call(Look())
    info = await seen[0].call(GetPool())
    assert info.max == 2


@attrs.frozen
class Look(Call[None]):
    """Find the pool."""
