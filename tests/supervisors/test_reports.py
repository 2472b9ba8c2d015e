"""K21: what supervisors announce, and what rises through them."""

from __future__ import annotations

from typing import Any

import pytest

from actors import (
    Ref,
    System,
)
from actors.telemetry import DeadLetter
from supervisors import (
    Backoff,
    Child,
    ChildExited,
    ChildRestarted,
    GaveUp,
    one_for_one,
)
from tests.conformance.actors_for_tests import (
    Boom,
    Crash,
    Plain,
    Script,
    settled,
    supervise,
    workers,
)


@pytest.fixture
def script() -> Script:
    return Script()


def paced(seconds: float, **more: Any) -> Backoff:
    return Backoff(seconds, seconds, jitter=0, **more)


async def crash(ref: Ref[Any]) -> None:
    ref.cast(Crash())
    await settled()


async def test_K21_what_it_decides_is_announced(system: System, script: Script) -> None:
    seen: list[Any] = []
    system.telemetry.listen(seen.append, ChildExited, ChildRestarted, GaveUp)
    supervisor, (ref,) = await supervise(
        system, "one_for_one", *workers(Plain, script, "a"), max_restarts=1
    )
    for _ in range(2):
        await crash(ref)
    decisions = [(type(each).__name__, getattr(each, "decision", None)) for each in seen]
    assert decisions == [
        ("ChildExited", "restart"),
        ("ChildRestarted", None),
        ("ChildExited", "restart"),
        ("GaveUp", None),
        # Of the dynamic supervisor above.
        ("ChildExited", "remove"),
    ]
    assert {each.supervisor for each in seen[:4]} == {supervisor}
    assert seen[0].child == seen[1].child == ref
    assert isinstance(seen[0].exit.exception, Boom)
    assert seen[1].restarts == 1


async def test_K21_events_of_children_rise_through_supervisors(
    system: System, script: Script
) -> None:
    letters: list[DeadLetter] = []
    system.telemetry.listen(letters.append, DeadLetter)

    class Notifies(Plain):
        def on_ready(self) -> None:
            self.notify("news")

    await supervise(system, "one_for_one", one_for_one(Child(Notifies, script, "a")))
    await settled()
    assert [letter.message for letter in letters] == ["news"]


async def test_the_report_of_a_child_names_it_if_it_has_a_name(
    system: System, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    child = Child(Plain, script, "a", id="a", name="ledger")
    _, (ref,) = await supervise(system, "one_for_one", child)
    await crash(ref)
    assert "child 'a', named 'ledger' (Child(Plain" in caplog.text
