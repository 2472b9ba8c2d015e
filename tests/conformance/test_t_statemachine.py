"""T. State machines (gen_statem).

T21, exchanging the callback module of a running machine, has no sense here: the class of an object
is its behaviour, and what changes with the state are its handlers.
"""

from __future__ import annotations

from math import inf
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    Crashed,
    Down,
    Idle,
    Later,
    Normal,
    NoSuchActor,
    Ref,
    Shutdown,
    System,
    enter,
    handles,
    introspection,
    state_function,
)
from tests.actors.machines import Abc, Do, Note, Only, Run, ask, become, start, state_of


@pytest.fixture
def log() -> list[Any]:
    return []


async def at_once(ref: Ref[Any], *messages: object) -> None:
    """Have these messages stand in the mailbox together before the first one is handled."""
    await introspection.suspend(ref)
    for message in messages:
        ref.cast(message)
    await introspection.resume(ref)
    await wait_all_tasks_blocked()


# -- order


async def test_T2_inserted_events_come_before_postponed_ones_and_before_the_mailbox(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def insert(machine: Abc) -> None:
        machine.become("b")
        for number in (1, 2, 3):
            machine.internal(Note(number))

    await at_once(ref, Only("x"), Only("y"), Do(insert), Note("external"))
    assert log == [
        "postponed x",
        "postponed y",
        "a > b",
        ("b", 1),
        ("b", 2),
        ("b", 3),
        "handled x",
        "handled y",
        ("b", "external"),
    ]


async def test_T2_events_inserted_by_an_inserted_event_come_before_those_inserted_with_it(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def insert(machine: Abc) -> None:
        machine.internal(Do(insert_more))
        machine.internal(Note(3))

    def insert_more(machine: Abc) -> None:
        machine.internal(Note(1))
        machine.internal(Note(2))

    await at_once(ref, Do(insert), Note("external"))
    assert log == [("a", 1), ("a", 2), ("a", 3), ("a", "external")]


async def test_T3_events_of_every_kind_can_be_inserted(
    system: System, log: list[Any], both_ways: str
) -> None:
    class Everything(Abc):
        initial = "all"

        @state_function
        def all(self, message: object) -> str:
            self.log.append(message)
            return "an answer that nobody waits for"

    ref = await system.start(Everything, log)
    events = [
        "a plain object",
        (1, 2),
        None,
        Only("a call"),
        Idle(),
        Down(ref, 1, Normal()),
        ValueError("an exception"),
    ]

    def insert(machine: Everything) -> None:
        for event in events:
            machine.internal(event)
        machine.state_timeout(0, "a state timeout")
        machine.timeout("named", 0, "a named timeout")

    # Only is taken by a handler of every state, which is more specific than object.
    handled = [event if event != Only("a call") else "postponed a call" for event in events]
    await ref.call(Do(insert))
    await wait_all_tasks_blocked()
    assert log == [*handled, "a state timeout", "a named timeout"]


# -- timeouts


async def test_T4_state_timeout_is_cancelled_by_any_state_change(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await ref.call(ask("state_timeout", 5, Note("never")))
    await ref.call(become("b"))
    await ref.call(become("a"))
    await trio.sleep(10)
    assert log == ["a > b", "b > a"]


async def test_T4_a_state_change_cancels_a_state_timeout_that_has_expired_already(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await ref.call(ask("state_timeout", 1, Note("never")))

    async def slow(machine: Abc) -> None:
        await trio.sleep(2)
        machine.become("b")

    await ref.call(Run(slow))
    await at_once(ref, Do(both))
    await trio.sleep(10)
    assert log == ["a > b", ("b", "inserted"), "b > c"]


def both(machine: Abc) -> None:
    """A state timeout of 0, and before it an event that changes the state."""
    machine.state_timeout(0, Note("never"))
    machine.internal(Note("inserted"))
    machine.internal(become("c"))


async def test_T4_state_timeout_is_not_cancelled_by_other_events(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await ref.call(ask("state_timeout", 5, Note("timeout")))
    ref.cast(Note("event"))
    await ref.call(become("a"))
    await ref.call(Do(lambda machine: machine.become("a", repeat=True)))
    await trio.sleep(10)
    assert log == [("a", "event"), "a > a", ("a", "timeout")]


async def test_T6_state_timeout_of_0_comes_after_inserted_and_before_external_events(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def change(machine: Abc) -> None:
        machine.state_timeout(0, Note("timeout"))
        machine.internal(Note("inserted"))
        machine.become("b")

    await at_once(ref, Only("x"), Do(change), Note("external"))
    assert log == [
        "postponed x",
        "a > b",
        ("b", "inserted"),
        "handled x",
        ("b", "timeout"),
        ("b", "external"),
    ]


async def test_T6_an_event_inserted_while_a_timeout_of_0_is_due_comes_before_it(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def set_it(machine: Abc) -> None:
        machine.state_timeout(0, Note("timeout"))
        machine.internal(ask("internal", Note("inserted later")))

    await at_once(ref, Do(set_it), Note("external"))
    assert log == [("a", "inserted later"), ("a", "timeout"), ("a", "external")]


async def test_T7_timeouts_of_0_come_in_the_order_of_setting(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def set_them(machine: Abc) -> None:
        machine.timeout("one", 0, Note(1))
        machine.state_timeout(0, Note(2))
        machine.timeout("two", 0, Note(3))
        machine.timeout("later", 0.5, Note("later"))

    await at_once(ref, Do(set_them), Note("external"))
    assert log == [("a", 1), ("a", 2), ("a", 3), ("a", "external")]
    await trio.sleep(1)
    assert log[-1] == ("a", "later")


async def test_T7_a_later_state_timeout_of_0_replaces_the_one_before(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def set_them(machine: Abc) -> None:
        machine.state_timeout(0, Note("never"))
        machine.timeout("named", 0, Note(1))
        machine.state_timeout(0, Note(2))

    def set_and_replace(machine: Abc) -> None:
        machine.state_timeout(0, Note("never"))
        machine.internal(ask("state_timeout", 0, Note(3)))

    await at_once(ref, Do(set_them), Do(set_and_replace))
    assert log == [("a", 1), ("a", 2), ("a", 3)]


async def test_T8_named_timeouts_are_independent_and_survive_state_changes(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await ref.call(ask("timeout", "one", 3, Note("one")))
    await ref.call(ask("timeout", "two", 2, Note("two")))
    await ref.call(ask("state_timeout", 1, Note("never")))
    await ref.call(become("b"))
    await trio.sleep(10)
    assert log == ["a > b", ("b", "two"), ("b", "one")]


async def test_T8_setting_a_named_timeout_again_restarts_it(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await ref.call(ask("timeout", "named", 5, Note("never")))
    await trio.sleep(4)
    await ref.call(ask("timeout", "named", 5, Note("second")))
    await trio.sleep(4)
    assert log == []
    await trio.sleep(2)
    assert log == [("a", "second")]


@pytest.mark.parametrize("never", [inf, None])
async def test_T8_infinity_cancels_a_named_timeout(
    system: System, log: list[Any], never: float | None, both_ways: str
) -> None:
    ref = await start(system, log)
    await ref.call(ask("timeout", "named", 5, Note("never")))
    await ref.call(ask("timeout", "other", 5, Note("other")))
    await ref.call(ask("timeout", "named", never))
    await trio.sleep(10)
    assert log == [("a", "other")]


async def test_T8_a_timeout_until_a_given_moment(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    moment = trio.current_time() + 7
    await trio.sleep(3)

    def until(machine: Abc) -> None:
        machine.timeout("named", max(0, moment - trio.current_time()), Note("now"))

    await ref.call(Do(until))
    await trio.sleep(3.9)
    assert log == []
    await trio.sleep(0.2)
    assert log == [("a", "now")]


SET = {
    "state": (("state_timeout",), ("update_state_timeout",)),
    "event": (("event_timeout",), ("update_event_timeout",)),
    "named": (("timeout", "named"), ("update_timeout", "named")),
}


@pytest.mark.parametrize("kind", ["state", "named"])
async def test_T9_updating_a_running_timeout_changes_what_it_delivers_and_not_when(
    system: System, log: list[Any], kind: str, both_ways: str
) -> None:
    ref = await start(system, log)
    (name, *key), (update, *_) = SET[kind]
    await ref.call(ask(name, *key, 5, Note("first")))
    await trio.sleep(4)
    await ref.call(ask(update, *key, Note("second")))
    await trio.sleep(0.9)
    assert log == []
    await trio.sleep(0.2)
    assert log == [("a", "second")]


@pytest.mark.parametrize("kind", SET)
async def test_T9_what_is_set_and_updated_in_one_turn_keeps_its_time(
    system: System, log: list[Any], kind: str, both_ways: str
) -> None:
    ref = await start(system, log)
    (name, *key), (update, *_) = SET[kind]

    def set_and_update(machine: Abc) -> None:
        getattr(machine, name)(*key, 5, Note("first"))
        getattr(machine, update)(*key, Note("second"))

    await ref.call(Do(set_and_update))
    await trio.sleep(4.9)
    assert log == []
    await trio.sleep(0.2)
    assert log == [("a", "second")]


@pytest.mark.parametrize("kind", ["state", "named"])
@pytest.mark.parametrize("seconds", [0, 1])
async def test_T9_an_expired_timeout_that_is_not_delivered_yet_can_be_updated(
    system: System, log: list[Any], kind: str, seconds: float, both_ways: str
) -> None:
    ref = await start(system, log)
    (name, *key), (update, *_) = SET[kind]

    async def update_late(machine: Abc) -> None:
        await trio.sleep(2)
        getattr(machine, update)(*key, Note("second"))

    def set_it(machine: Abc) -> None:
        getattr(machine, name)(*key, seconds, Note("first"))
        machine.internal(Run(update_late))

    await ref.call(Do(set_it))
    await trio.sleep(5)
    assert log == [("a", "second")]


@pytest.mark.parametrize("kind", SET)
async def test_T9_updating_what_does_not_run_is_delivering_it_at_once(
    system: System, log: list[Any], kind: str, both_ways: str
) -> None:
    ref = await start(system, log)
    _, (update, *key) = SET[kind]
    await at_once(ref, ask(update, *key, Note("at once")), Note("external"))
    assert log == [("a", "at once"), ("a", "external")]


@pytest.mark.parametrize("kind", SET)
async def test_T9_a_running_timeout_can_be_cancelled(
    system: System, log: list[Any], kind: str, both_ways: str
) -> None:
    ref = await start(system, log)
    (name, *key), _ = SET[kind]
    await ref.call(ask(name, *key, 5, Note("never")))
    await ref.call(ask(name, *key, None))
    await ref.call(ask(name, *key, None))
    await trio.sleep(10)
    assert log == []


# -- answers and ends


@attrs.frozen
class Collect(Call[str]):
    """Answered when the machine is told to."""

    name: str


class Collects(Abc):
    def __init__(self, log: list[Any]) -> None:
        super().__init__(log)
        self.laters: list[tuple[str, Later[str]]] = []

    @handles
    def collect(self, message: Collect) -> Later[str]:
        later = self.later()
        self.laters.append((message.name, later))
        return later

    def reply_all(self) -> None:
        for name, later in self.laters:
            later.reply(f"to {name}")
        self.laters.clear()


async def calls(ref: Ref[Any], log: list[Any], nursery: trio.Nursery) -> None:
    async def call(name: str) -> None:
        log.append(await ref.call(Collect(name)))

    for name in ("one", "two", "three"):
        nursery.start_soon(call, name)
        await wait_all_tasks_blocked()


async def test_T14_all_answers_are_sent_before_the_machine_exits(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await system.start(Collects, log)

    def stop(machine: Collects) -> str:
        order = [name for name, _ in machine.laters]
        machine.reply_all()
        machine.stop(Shutdown("done"))
        return ", ".join(order)

    async with trio.open_nursery() as nursery:
        await calls(ref, log, nursery)
        assert await ref.call(Do(stop)) == "one, two, three"
    assert sorted(log[1:]) == ["to one", "to three", "to two"]
    assert await ref.wait() == Shutdown("done")


async def test_T15_answers_can_be_collected_and_given_in_another_state(
    system: System, log: list[Any], both_ways: str
) -> None:
    class Gives(Collects):
        @enter("b")
        def entered_b(self, old: str) -> None:
            self.reply_all()

        @enter("a", "c")
        def entered(self, old: str) -> None: ...

    ref = await system.start(Gives, log)
    async with trio.open_nursery() as nursery:
        await calls(ref, log, nursery)
        await trio.sleep(1)
        assert log == []
        await ref.call(become("b"))
    assert sorted(log) == ["to one", "to three", "to two"]
    assert ref.alive


async def junk() -> str:
    return "an awaitable from a plain def"


async def test_T16_a_handler_that_returns_junk_is_a_crash_that_its_caller_sees(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    with pytest.raises(ActorDied) as caught:
        await ref.call(Do(lambda machine: junk()))
    assert isinstance(caught.value.__cause__, TypeError)
    assert "returned an awaitable" in str(caught.value.__cause__)
    assert isinstance(await ref.wait(), Crashed)


async def test_T16_an_answer_that_belongs_to_another_message_is_junk(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await system.start(Collects, log)
    async with trio.open_nursery() as nursery:
        with pytest.raises(ActorDied) as caught:
            await ref.call(Do(lambda machine: Later(None)))
        nursery.cancel_scope.cancel()
    assert isinstance(caught.value.__cause__, TypeError)


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("become", ["nowhere"], "become() takes a state of Abc: 'b', 'a', 'c'. Got: 'nowhere'"),
        ("state_timeout", [-1, Note(1)], "0 or more seconds. Got: -1"),
        ("event_timeout", ["soon", Note(1)], "a number of seconds. Got: 'soon'"),
        ("timeout", ["named", True, Note(1)], "a number of seconds. Got: True"),
    ],
)
async def test_T17_a_bad_action_is_a_crash_that_names_it(
    system: System, log: list[Any], name: str, args: list[Any], words: str, both_ways: str
) -> None:
    ref = await start(system, log)
    with pytest.raises(ActorDied) as caught:
        await ref.call(ask(name, *args))
    assert words in str(caught.value.__cause__)
    assert isinstance(await ref.wait(), Crashed)


async def test_T19_get_state_gives_state_and_data(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await ref.call(become("b"))
    state = await introspection.get_state(ref)
    assert state == {"machine_state": "b", "log": log, "in_enter": None}


async def test_T19_replace_state_may_change_both(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    other: list[Any] = []
    after = await introspection.replace_state(
        ref, lambda state: {**state, "machine_state": "b", "log": other}
    )
    assert after == {"machine_state": "b", "log": other, "in_enter": None}
    assert await ref.call(Only("x")) == "x"
    assert await state_of(ref) == "b"
    assert (log, other) == ([], ["handled x"])


async def test_T22_stopping_with_shutdown_is_seen_and_nothing_comes_after(
    system: System, log: list[Any], both_ways: str
) -> None:
    class Watches(Actor):
        @handles
        def down(self, message: Down) -> None:
            log.append(message)

    ref = await start(system, log)
    watcher = await system.start(Watches)
    ref.monitor(watcher)

    def stop(machine: Abc) -> str:
        machine.state_timeout(0, Note("never"))
        machine.timeout("named", 0.1, Note("never"))
        machine.internal(Note("never"))
        machine.stop(Shutdown("reason"))
        return "stopping"

    assert await ref.call(Do(stop)) == "stopping"
    await wait_all_tasks_blocked()
    assert log == [Down(ref, 1, Shutdown("reason"))]
    with pytest.raises(NoSuchActor):
        await ref.call(Do(stop))
    await trio.sleep(0.5)
    assert log == [Down(ref, 1, Shutdown("reason"))]
    assert ref.state == "gone"
