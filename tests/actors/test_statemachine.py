"""State machines: states, their handlers, and changing from one to another."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorDied,
    Normal,
    StateMachine,
    System,
    Unhandled,
    enter,
    handles,
    introspection,
    state_function,
)
from actors.telemetry import TurnStarted, TurnStopped
from actors.testing import dead_letters
from tests.actors.machines import (
    Abc,
    Do,
    Door,
    No,
    Note,
    Only,
    Run,
    Special,
    ask,
    become,
    start,
    state_of,
)


@pytest.fixture
def log() -> list[Any]:
    return []


# -- states and handlers
async def test_a_door_opens_and_locks_itself_after_a_while(system: System, both_ways: str) -> None:
    door = await system.start(Door)
    assert await state_of(door) == "locked"
    with pytest.raises(No):
        await door.call(Only("4321"))
    assert await door.call(Only("1234")) == "come in"
    assert await state_of(door) == "open"
    with pytest.raises(Unhandled):
        await door.call(Only("1234"))
    await trio.sleep(9.9)
    assert await state_of(door) == "open"
    await trio.sleep(0.2)
    assert await state_of(door) == "locked"
    assert await introspection.get_state(door) == {
        "machine_state": "locked",
        "code": "1234",
        "knocks": 0,
    }


async def test_a_handler_of_the_state_goes_before_one_for_all_states(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await ref.call(become("b"))
    assert await ref.call(Only("x")) == "x"
    assert log == ["a > b", "handled x"]


async def test_a_state_without_handlers_uses_those_for_all_states(
    system: System, log: list[Any]
) -> None:
    ref = await start(system, log)
    await ref.call(become("c"))
    ref.cast(Note(1))
    await ref.call(Do(lambda machine: None))
    assert log == ["a > c", ("c", 1)]


async def test_a_state_function_gets_what_no_more_specific_handler_takes(
    system: System, log: list[Any]
) -> None:
    class Catching(StateMachine):
        initial = "here"

        @state_function
        def here(self, message: object) -> None:
            log.append(("here", message))

        @handles(state="here")
        def special(self, message: Special) -> None:
            log.append(("special", message))

        @handles
        def everywhere(self, message: int) -> None:
            log.append(("everywhere", message))

    ref = await system.start(Catching)
    for message in (Note(1), Special(2), 3, "four"):
        ref.cast(message)
    await wait_all_tasks_blocked()
    assert log == [
        ("here", Note(1)),
        ("special", Special(2)),
        ("everywhere", 3),
        ("here", "four"),
    ]


async def test_a_state_function_with_an_annotation_gets_only_that(system: System) -> None:
    class Narrow(StateMachine):
        initial = "here"

        @state_function
        async def here(self, message: Only) -> str:
            return message.value

    letters = dead_letters(system)
    ref = await system.start(Narrow)
    assert await ref.call(Only("x")) == "x"
    ref.cast(Note(1))
    await wait_all_tasks_blocked()
    assert [letter.message for letter in letters] == [Note(1)]


async def test_states_and_handlers_are_inherited_and_overridden(
    system: System, log: list[Any]
) -> None:
    class More(Abc):
        initial = "d"

        def in_b(self, message: Only) -> str:
            return "overridden"

        @enter("d")
        def entered_d(self, old: str) -> None:
            self.log.append("in d")

        def entered(self, old: str) -> None:
            self.log.append("in a, b or c")

    assert set(More.known_states) == {"a", "b", "c", "d"}
    ref = await system.start(More, log)
    await ref.call(become("b"))
    assert await ref.call(Only("x")) == "overridden"
    assert log == ["in d", "in a, b or c"]


# -- changing the state


async def test_the_state_changes_when_the_turn_has_ended(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def change(machine: Abc) -> str:
        machine.become("b")
        log.append("after become")
        return machine.machine_state

    assert await ref.call(Do(change)) == "a"
    assert log == ["after become", "a > b"]
    assert await state_of(ref) == "b"


async def test_an_async_handler_changes_the_state_when_it_has_returned(
    system: System, log: list[Any]
) -> None:
    ref = await start(system, log)

    async def change(machine: Abc) -> str:
        machine.become("b")
        await trio.sleep(1)
        return machine.machine_state

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.call, Run(change))
        await trio.sleep(0.5)
        ref.cast(Note("meanwhile"))
        assert log == []
        assert await state_of(ref) == "b"
    await wait_all_tasks_blocked()
    assert log == ["a > b", ("b", "meanwhile")]


async def test_the_last_of_several_changes_counts(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def twice(machine: Abc) -> None:
        machine.become("b")
        machine.become("c")

    def back(machine: Abc) -> None:
        machine.become("b")
        machine.become("c")

    await ref.call(Do(twice))
    await ref.call(Do(back))
    assert log == ["a > c"]


async def test_becoming_the_present_state_changes_nothing(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await ref.call(ask("state_timeout", 5, Note("still")))
    ref.cast(Only("x"))
    await ref.call(become("a"))
    await trio.sleep(6)
    assert log == ["postponed x", ("a", "still")]


async def test_repeat_enters_the_present_state_again_and_changes_nothing_else(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await ref.call(Do(lambda machine: machine.state_timeout(5, Note("still"))))
    ref.cast(Only("x"))
    await ref.call(Do(lambda machine: machine.become("a", repeat=True)))
    await trio.sleep(6)
    assert log == ["postponed x", "a > a", ("a", "still")]


async def test_a_refusal_is_an_answer_and_the_state_changes_nevertheless(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def refuse(machine: Abc) -> None:
        machine.become("b")
        raise No("but I go on")

    with pytest.raises(No):
        await ref.call(Do(refuse))
    assert await state_of(ref) == "b"


async def test_a_crash_changes_no_state_and_enters_nothing(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def crash(machine: Abc) -> None:
        machine.become("b")
        machine.internal(Note("never"))
        raise ValueError("on purpose")

    with pytest.raises(ActorDied):
        await ref.call(Do(crash))
    assert log == []


async def test_a_stop_goes_before_the_change_of_state(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def stop(machine: Abc) -> str:
        machine.become("b")
        machine.stop()
        return "bye"

    assert await ref.call(Do(stop)) == "bye"
    assert await ref.wait() == Normal()
    assert log == []


async def test_a_side_task_may_change_the_state_between_turns(
    system: System, log: list[Any]
) -> None:
    ref = await start(system, log)

    async def aside(machine: Abc) -> None:
        await trio.sleep(1)
        machine.become("b")
        machine.internal(Note("from aside"))

    await ref.call(Do(lambda machine: machine.start_soon(aside, machine)))
    await trio.sleep(2)
    assert log == ["a > b", ("b", "from aside")]


async def test_nothing_comes_between_a_turn_and_its_change_of_state(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await introspection.suspend(ref)
    ref.cast(become("b"))
    ref.cast(Note(1))
    ref.cast(become("c"))
    ref.cast(Note(2))
    await introspection.resume(ref)
    assert await state_of(ref) in {"a", "b", "c"}
    await ref.call(Do(lambda machine: None))
    assert log == ["a > b", ("b", 1), "b > c", ("c", 2)]


async def test_middleware_stands_around_the_handlers_of_every_state(
    system: System, log: list[Any]
) -> None:
    async def seen(envelope: Any, next: Any) -> Any:
        log.append(type(envelope.message).__name__)
        return await next(envelope)

    class Watched(Abc):
        middleware = (seen,)

    ref = await system.start(Watched, log)
    await ref.call(become("b"))
    assert await ref.call(Only("x")) == "x"
    assert log == ["a > a", "Do", "a > b", "Only", "handled x"]


async def test_a_machine_whose_turns_are_observed_behaves_the_same(
    system: System, log: list[Any]
) -> None:
    events: list[Any] = []
    system.telemetry.listen(events.append, TurnStarted, TurnStopped)
    ref = await start(system, log)
    events.clear()
    ref.cast(Only("x"))
    ref.cast(become("b"))
    ref.cast(Note(1))
    await wait_all_tasks_blocked()
    assert log == ["postponed x", "a > b", "handled x", ("b", 1)]
    kinds = [type(event.message).__name__ for event in events if isinstance(event, TurnStarted)]
    assert kinds == ["Only", "Do", "Only", "Note"]


# -- looking in


async def test_reports_show_the_state(
    system: System, log: list[Any], caplog: pytest.LogCaptureFixture
) -> None:
    door = await system.start(Door)
    assert await introspection.format_state(door) == (
        "{'machine_state': 'locked', 'code': '1234', 'knocks': 0}"
    )


async def test_replace_state_changes_the_state_without_a_transition(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await ref.call(ask("state_timeout", 5, Note("still")))
    await introspection.replace_state(ref, lambda state: {**state, "machine_state": "b"})
    assert await ref.call(Only("x")) == "x"
    await trio.sleep(6)
    assert log == ["handled x", ("b", "still")]


async def test_replace_state_refuses_a_state_that_does_not_exist(
    system: System, log: list[Any]
) -> None:
    ref = await start(system, log)
    with pytest.raises(ValueError, match=r"a state of Abc: 'b', 'a', 'c'\. Got: 'x'"):
        await introspection.replace_state(ref, lambda state: {**state, "machine_state": "x"})
    assert await state_of(ref) == "a"


async def test_a_handler_cannot_set_the_state_directly(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def set_it(machine: Abc) -> str:
        with pytest.raises(AttributeError, match=r"self\.become\('b'\)"):
            machine.machine_state = "b"
        return machine.machine_state

    assert await ref.call(Do(set_it)) == "a"


async def test_a_postponed_message_is_waited_for_while_suspended(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    ref.cast(Only("x"))
    await wait_all_tasks_blocked()
    await introspection.suspend(ref)
    ref.cast(become("b"))
    await trio.sleep(10)
    assert log == ["postponed x"]
    await introspection.resume(ref)
    await wait_all_tasks_blocked()
    assert log == ["postponed x", "a > b", "handled x"]
