"""State machines: timeouts of the state, of the event, and by name."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Idle,
    System,
    handles,
    introspection,
)
from tests.actors.machines import (
    Abc,
    Do,
    Note,
    Only,
    Run,
    ask,
    start,
)


@pytest.fixture
def log() -> list[Any]:
    return []


async def test_a_state_timeout_belongs_to_the_state_it_was_set_with(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def change(machine: Abc) -> None:
        machine.state_timeout(5, Note("timeout"))
        machine.become("b")

    await ref.call(Do(change))
    await trio.sleep(6)
    assert log == ["a > b", ("b", "timeout")]


async def test_any_event_cancels_the_event_timeout(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await ref.call(ask("event_timeout", 5, Note("quiet")))
    await trio.sleep(4)
    ref.cast(Note("noise"))
    await trio.sleep(10)
    await ref.call(ask("event_timeout", 5, Note("quiet")))
    await trio.sleep(6)
    assert log == [("a", "noise"), ("a", "quiet")]


async def test_an_internal_event_a_retried_one_and_another_timeout_cancel_it_as_well(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def with_internal(machine: Abc) -> None:
        machine.event_timeout(0, Note("never"))
        machine.internal(Note("internal"))

    def with_retry(machine: Abc) -> None:
        machine.event_timeout(0, Note("never"))
        machine.become("b")

    def with_timeout(machine: Abc) -> None:
        machine.event_timeout(5, Note("never"))
        machine.timeout("other", 4, Note("other"))

    await ref.call(Do(with_internal))
    await wait_all_tasks_blocked()
    ref.cast(Only("x"))
    await ref.call(Do(with_retry))
    await wait_all_tasks_blocked()
    await ref.call(Do(with_timeout))
    await trio.sleep(10)
    assert log == [("a", "internal"), "postponed x", "a > b", "handled x", ("b", "other")]


async def test_an_event_timeout_of_0_comes_if_nothing_is_there_already(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await introspection.suspend(ref)
    ref.cast(ask("event_timeout", 0, Note("at once")))
    ref.cast(Note("external"))
    await introspection.resume(ref)
    await wait_all_tasks_blocked()
    assert log == [("a", "at once"), ("a", "external")]


@pytest.mark.parametrize("never", [None, inf])
async def test_none_and_infinity_cancel(
    system: System, log: list[Any], never: float | None, both_ways: str
) -> None:
    ref = await start(system, log)
    for name, key in (("state_timeout", ()), ("event_timeout", ()), ("timeout", ("named",))):
        await ref.call(ask(name, *key, 5, Note(name)))
        await ref.call(ask(name, *key, never))
    assert not len(system.scheduler.timers)
    await trio.sleep(10)
    assert log == []


@pytest.mark.parametrize("seconds", [0, 1])
async def test_an_expired_timeout_can_still_be_cancelled(
    system: System, log: list[Any], seconds: float, both_ways: str
) -> None:
    ref = await start(system, log)

    async def sleep_and_cancel(machine: Abc) -> None:
        await trio.sleep(2)
        machine.timeout("named", None)

    def set_it(machine: Abc) -> None:
        machine.timeout("named", seconds, Note("never"))
        machine.internal(Run(sleep_and_cancel))

    await ref.call(Do(set_it))
    await trio.sleep(5)
    assert log == []


async def test_a_timeout_set_by_an_async_handler_begins_when_it_returns(
    system: System, log: list[Any]
) -> None:
    ref = await start(system, log)

    async def set_and_sleep(machine: Abc) -> None:
        machine.state_timeout(2, Note("timeout"))
        await trio.sleep(3)

    await ref.call(Run(set_and_sleep))
    await trio.sleep(1.9)
    assert log == []
    await trio.sleep(0.2)
    assert log == [("a", "timeout")]


async def test_timers_of_actors_work_in_machines(
    system: System, log: list[Any], both_ways: str
) -> None:
    class Idles(Abc):
        @handles
        def idle(self, message: Idle) -> None:
            self.log.append("idle")

    ref = await system.start(Idles, log)
    await ref.call(ask("after", 1, Note("after")))
    await ref.call(ask("idle_after", 5))
    await trio.sleep(5.5)
    assert log == ["a > a", ("a", "after")]
    await trio.sleep(1)
    assert log == ["a > a", ("a", "after"), "idle"]


@pytest.mark.parametrize("name", ["state_timeout", "event_timeout", "timeout"])
@pytest.mark.parametrize("seconds", [-1, float("nan"), "5", True])
async def test_a_timeout_takes_seconds(
    system: System, log: list[Any], name: str, seconds: Any
) -> None:
    ref = await start(system, log)

    def wrong(machine: Abc) -> str:
        args = ("named",) if name == "timeout" else ()
        with pytest.raises((TypeError, ValueError)) as caught:
            getattr(machine, name)(*args, seconds, Note(1))
        return str(caught.value)

    text = await ref.call(Do(wrong))
    assert text.startswith(f"{name}(seconds) (None or infinity cancels) is")
    assert text.endswith(f"Got: {seconds!r}")
