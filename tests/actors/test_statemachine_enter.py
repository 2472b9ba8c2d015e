"""State machines: entering a state."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Crashed,
    StateMachine,
    System,
    enter,
    handles,
)
from tests.actors.machines import (
    Abc,
    Do,
    Note,
    Only,
    Run,
    become,
    slowly,
    start,
    state_of,
)


@pytest.fixture
def log() -> list[Any]:
    return []


async def test_the_initial_state_is_entered_after_on_start_and_before_the_first_message(
    system: System, log: list[Any], both_ways: str
) -> None:
    class Slow(Abc):
        async def on_start(self) -> None:
            await trio.sleep(1)
            self.log.append("on_start")
            self.ref.cast(Note("first"))

        def on_ready(self) -> None:
            self.log.append("on_ready")

    ref = await system.start(Slow, log)
    await ref.call(Do(lambda machine: None))
    assert log == ["on_start", "a > a", "on_ready", ("a", "first")]


@pytest.mark.parametrize("where", ["init", "def on_start", "async def on_start"])
async def test_become_while_starting_chooses_the_initial_state(
    system: System, log: list[Any], where: str
) -> None:
    class Chooses(Abc):
        def __init__(self, log: list[Any]) -> None:
            super().__init__(log)
            if where == "init":
                self.become("b")

        def on_start(self) -> Awaitable[None] | None:
            if where == "def on_start":
                self.become("b")
            return None

    class ChoosesLater(Abc):
        async def on_start(self) -> None:
            self.become("c")
            await trio.sleep(1)
            self.become("b")

    ref = await system.start(ChoosesLater if where.startswith("async") else Chooses, log)
    assert await ref.call(Only("x")) == "x"
    assert log == ["b > b", "handled x"]


async def test_become_in_on_ready_is_a_change_of_state(system: System, log: list[Any]) -> None:
    class Plain(Abc):
        def on_ready(self) -> None:
            self.become("b")
            self.internal(Note("internal"))

    class Awaiting(Abc):
        async def on_ready(self) -> None:
            await trio.sleep(1)
            self.become("b")
            self.internal(Note("internal"))

    for cls in (Plain, Awaiting):
        ref = await system.start(cls, log)
        ref.cast(Note("external"))
        await ref.call(Do(lambda machine: None))
        assert log == ["a > a", "a > b", ("b", "internal"), ("b", "external")]
        log.clear()


async def test_what_is_asked_for_while_starting_comes_before_the_first_message(
    system: System, log: list[Any]
) -> None:
    class Eager(Abc):
        def __init__(self, log: list[Any]) -> None:
            super().__init__(log)
            self.internal(Note("from init"))
            self.state_timeout(1, Note("timeout"))

        def on_start(self) -> None:
            self.ref.cast(Note("external"))
            self.internal(Note("from on_start"))

    await system.start(Eager, log)
    await trio.sleep(2)
    assert log == [
        "a > a",
        ("a", "from init"),
        ("a", "from on_start"),
        ("a", "external"),
        ("a", "timeout"),
    ]


async def test_a_machine_made_by_a_function_can_ask_before_it_has_a_place(
    system: System, log: list[Any]
) -> None:
    def make() -> Abc:
        machine = Abc(log)
        assert machine.machine_state == "a"
        machine.become("b")
        machine.internal(Note("first"))
        return machine

    await system.start(make)
    await wait_all_tasks_blocked()
    assert log == ["b > b", ("b", "first")]


async def test_an_enter_handler_may_set_timeouts_send_and_give_internal_events(
    system: System, log: list[Any], both_ways: str
) -> None:
    probe = system.probe()

    def in_enter(machine: Abc) -> None:
        if machine.machine_state == "b":
            probe.ref.cast("entered")
            machine.internal(Note("internal"))
            machine.state_timeout(5, Note("timeout"))

    ref = await start(system, log, in_enter=in_enter)
    await ref.call(become("b"))
    await probe.expect(str)
    await trio.sleep(6)
    assert log == ["a > b", ("b", "internal"), ("b", "timeout")]


async def test_what_an_enter_handler_sends_was_caused_by_the_message_that_led_there(
    system: System, log: list[Any], both_ways: str
) -> None:
    ids: list[Any] = []

    class Keeps(Actor):
        @handles
        def keep(self, message: str) -> None:
            ids.append((self.envelope.causation_id, self.envelope.sender))

    keeper = await system.start(Keeps)
    ref = await start(system, log, in_enter=lambda machine: keeper.cast("entered"))
    await wait_all_tasks_blocked()
    ids.clear()

    def change(machine: Abc) -> str:
        machine.become("b")
        return machine.envelope.id

    async def change_later(machine: Abc) -> str:
        machine.become("c")
        return machine.envelope.id

    first = await ref.call(Do(change))
    second = await ref.call(Run(change_later))
    await wait_all_tasks_blocked()
    assert ids == [(first, ref), (second, ref)]


async def test_an_internal_event_belongs_to_the_chain_of_the_message_that_gave_it(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    chains: list[Any] = []

    def keep(machine: Abc) -> None:
        chains.append((machine.envelope.correlation_id, machine.envelope.causation_id))

    def give(machine: Abc) -> str:
        machine.internal(Do(keep))
        return machine.envelope.id

    given = await ref.call(Do(give))
    await wait_all_tasks_blocked()
    assert chains == [(given, given)]


@pytest.mark.parametrize(
    ("method", "args", "words"),
    [
        ("become", ["c"], "enters 'b' cannot become another state"),
        ("postpone", [], "enters 'b' cannot postpone a message"),
        ("stash", [], "enters 'b' cannot postpone a message"),
    ],
)
async def test_an_enter_handler_can_neither_change_the_state_nor_postpone(
    system: System, log: list[Any], method: str, args: list[str], words: str
) -> None:
    def in_enter(machine: Abc) -> None:
        if machine.machine_state == "b":
            with pytest.raises(RuntimeError, match=words):
                getattr(machine, method)(*args)
            machine.log.append("refused")

    ref = await start(system, log, in_enter=in_enter)
    await ref.call(become("b"))
    await wait_all_tasks_blocked()
    assert log == ["a > b", "refused"]
    assert await state_of(ref) == "b"


async def test_an_answer_cannot_be_deferred_from_an_enter_handler(
    system: System, log: list[Any], both_ways: str
) -> None:
    laters: list[Any] = []
    ref = await start(system, log, in_enter=lambda machine: laters.append(machine.later()))
    assert await ref.call(Do(lambda machine: machine.become("b") or "answered")) == "answered"
    laters[-1].reply("to nobody")


async def test_a_failing_enter_handler_is_a_crash(
    system: System, log: list[Any], both_ways: str, caplog: pytest.LogCaptureFixture
) -> None:
    def in_enter(machine: Abc) -> None:
        if machine.machine_state == "b":
            raise ValueError("on purpose")

    ref = await start(system, log, in_enter=in_enter)
    assert await ref.call(Do(lambda machine: machine.become("b") or "answered")) == "answered"
    exit = await ref.wait()
    assert isinstance(exit, Crashed)
    assert isinstance(exit.exception, ValueError)
    assert "on purpose" in caplog.text
    assert "'machine_state': 'b'" in caplog.text


async def test_a_failing_first_enter_is_a_crash_after_the_start(
    system: System, log: list[Any]
) -> None:
    def in_enter(machine: Abc) -> None:
        raise ValueError("on purpose")

    ref = await system.start(Abc, log, in_enter)
    assert isinstance(await ref.wait(), Crashed)


async def test_a_crash_on_entering_fails_the_postponed_call_of_that_turn(
    system: System, log: list[Any]
) -> None:
    def in_enter(machine: Abc) -> None:
        if machine.machine_state == "b":
            raise ValueError("on purpose")

    def postpone(machine: Abc) -> None:
        machine.postpone()
        machine.become("b")

    ref = await start(system, log, in_enter=in_enter)
    with pytest.raises(ActorDied) as caught:
        await ref.call(Do(postpone))
    assert isinstance(caught.value.__cause__, ValueError)
    assert trio.current_time() == 0


async def test_an_enter_handler_that_returns_an_awaitable_crashes_saying_so(
    system: System, log: list[Any]
) -> None:
    class Wrong(StateMachine):
        initial = "a"

        @enter("a")
        def entered(self, old: str) -> Any:
            return slowly(self)

    exit = await (await system.start(Wrong)).wait()
    assert isinstance(exit, Crashed)
    assert "Wrong.entered is an enter handler" in str(exit.exception)


async def test_keyboard_interrupt_on_entering_stops_the_system(log: list[Any]) -> None:
    def in_enter(machine: Abc) -> None:
        raise KeyboardInterrupt

    async def main() -> None:
        system = System(watchdog=None)
        async with system.opened():
            await system.start(Abc, log, in_enter)
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        await main()
