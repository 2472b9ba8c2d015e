"""A workflow's code that computes for long holds up its mediator, and that is told."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import attrs
import pytest

from mediators import Workflow
from mediators.driver import driver
from mediators.telemetry import RunEnded, RunStarted, SlowTurn, WorkflowStopped
from mediators.verbs import GetStatus
from tests.mediators.sagas import Do, Simple, World, shop, spec, start

if TYPE_CHECKING:
    from actors import System


@attrs.define
class Lost(Workflow[None]):
    id: str

    async def run(self) -> None:
        self.step(Do("never"))
        await self.step(Do("first"))


@attrs.define
class Computes(Workflow[int]):
    id: str

    async def run(self) -> int:
        await self.step(Do("first"))
        CLOCK.append(1.0)
        await self.step(Do("second"))
        return 1


CLOCK: list[float] = []


@pytest.fixture(autouse=True)
def counted_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wall clock that the workflow moves by hand."""
    CLOCK.clear()

    class Time:
        @staticmethod
        def perf_counter() -> float:
            return sum(CLOCK)

    monkeypatch.setattr(driver, "time", Time)


async def test_a_slow_turn_is_reported_with_its_workflow_and_its_seconds(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[SlowTurn] = []
    system.telemetry.listen(seen.append, SlowTurn)
    ref = await system.start(spec(shop(World(), Computes)))
    with caplog.at_level(logging.WARNING, "mediators"):
        handle = await start(ref, Computes("one"))
        assert await handle.result() == 1
    assert [(each.id, each.run, each.seconds) for each in seen] == [("one", 1, 1.0)]
    assert "took 1.000 s of the wall clock without a command" in caplog.text
    assert "an effect can do; on a busy machine others may have had that time" in caplog.text


async def test_a_quick_turn_is_not_reported(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    ref = await system.start(spec(shop(World(), Simple)))
    with caplog.at_level(logging.WARNING, "mediators"):
        await start(ref, Simple("one"))
    assert "without a command" not in caplog.text


async def test_a_mistake_is_announced(system: System) -> None:
    seen: list[WorkflowStopped] = []
    system.telemetry.listen(seen.append, WorkflowStopped)
    ref = await system.start(spec(shop(World(), Lost)))
    handle = await start(ref, Lost("one"))
    (incident,) = await handle.incidents()
    assert [(each.id, each.reason, each.incident) for each in seen] == [
        ("one", "mistake", incident)
    ]


async def test_beginnings_and_ends_of_runs_are_announced(system: System) -> None:
    seen: list[object] = []
    for event in (RunStarted, RunEnded, WorkflowStopped):
        system.telemetry.listen(seen.append, event)
    ref = await system.start(spec(shop(World(), Simple)))
    await start(ref, Simple("one"))
    assert seen == [
        RunStarted(ref, "one", 1, "tests.mediators.sagas:Simple"),
        RunEnded(ref, "one", 1, await ref.call(GetStatus("one"))),
    ]
