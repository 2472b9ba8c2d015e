"""State machines: states, transitions, entering, postponing, internal events and timeouts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from math import inf
from typing import Any, ClassVar

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    CallTimeout,
    Crashed,
    Idle,
    MailboxFull,
    Normal,
    Ref,
    Refusal,
    StartFailed,
    StateMachine,
    System,
    Unhandled,
    enter,
    handles,
    introspection,
    state_function,
)
from actors.runtime.root import Temporary
from actors.telemetry import TurnStarted, TurnStopped
from actors.testing import dead_letters, leftovers, no_leaks


@attrs.frozen
class Do(Call[Any]):
    """Answered with ``function(machine)``, from a plain turn."""

    function: Callable[[Any], object]


@attrs.frozen
class Run(Call[Any]):
    """Answered with ``await function(machine)``, from a turn in the actor's task."""

    function: Callable[[Any], Awaitable[object]]


@attrs.frozen
class Note:
    """Logged with the state it was handled in."""

    value: object


@attrs.frozen
class Only(Call[str]):
    """Handled in state b alone; postponed elsewhere."""

    value: str


@attrs.frozen
class Special(Note):
    pass


class No(Refusal):
    pass


class Abc(StateMachine):
    """Three states; does as it is told and logs what happens."""

    initial = "a"
    states = ("c",)

    def __init__(self, log: list[Any], in_enter: Callable[[Abc], object] | None = None) -> None:
        self.log = log
        self.in_enter = in_enter

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    async def run(self, message: Run) -> Any:
        return await message.function(self)

    @handles
    def note(self, message: Note) -> None:
        self.log.append((self.machine_state, message.value))

    @handles
    def only_in_b(self, message: Only) -> str:
        self.log.append(f"postponed {message.value}")
        self.postpone()
        return "dropped"

    @handles(Only, state="b")
    def in_b(self, message: Only) -> str:
        self.log.append(f"handled {message.value}")
        return message.value

    @enter("a", "b", "c")
    def entered(self, old: str) -> None:
        self.log.append(f"{old} > {self.machine_state}")
        if self.in_enter is not None:
            self.in_enter(self)


@pytest.fixture
def log() -> list[Any]:
    return []


def sent(*values: object) -> list[Note]:
    return [Note(value) for value in values]


async def start(system: System, log: list[Any], **kwargs: Any) -> Ref[Abc]:
    """An ``Abc`` that has entered its first state, with an empty log."""
    ref = await system.start(partial(Abc, log, **kwargs))
    await wait_all_tasks_blocked()
    log.clear()
    return ref


def become(state: str) -> Do:
    return Do(lambda machine: machine.become(state))


async def slowly(machine: StateMachine) -> None:
    await trio.sleep(1)


# -- states and handlers


@attrs.define
class Door(StateMachine):
    """As one would write it."""

    initial: ClassVar[str] = "locked"
    code: str = "1234"
    knocks: int = 0

    @handles(state="locked")
    def unlock(self, message: Only) -> str:
        if message.value != self.code:
            raise No(message.value)
        self.become("open")
        return "come in"

    @enter("open")
    def opened(self, old: str) -> None:
        self.state_timeout(10.0, Note("time is up"))

    @handles(state="open")
    def close(self, message: Note) -> None:
        self.become("locked")

    @state_function
    def locked(self, message: object) -> None:
        self.knocks += 1


async def state_of(ref: Ref[Any]) -> str:
    return str((await introspection.get_state(ref))["machine_state"])


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
    await ref.call(Do(lambda machine: machine.state_timeout(5, Note("still"))))

    def stay(machine: Abc) -> None:
        machine.become("a")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.call, Only("x"))
        await wait_all_tasks_blocked()
        await ref.call(Do(stay))
        await trio.sleep(4.5)
        assert log == ["postponed x"]
        await trio.sleep(0.1)
        await trio.sleep(0.1)
        nursery.cancel_scope.cancel()
    await trio.sleep(1)
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


# -- entering


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


# -- postponing


async def test_a_postponed_call_is_answered_in_the_state_that_handles_it(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    answers: list[object] = []

    async def ask(value: str) -> None:
        answers.append(await ref.call(Only(value)))

    async with trio.open_nursery() as nursery:
        for value in ("x", "y"):
            nursery.start_soon(ask, value)
            await wait_all_tasks_blocked()
        await ref.call(become("c"))
        assert answers == []
        await ref.call(become("b"))
    assert answers == ["x", "y"]
    assert log == [
        "postponed x",
        "postponed y",
        "a > c",
        "postponed x",
        "postponed y",
        "c > b",
        "handled x",
        "handled y",
    ]


async def test_an_async_handler_can_postpone(system: System, log: list[Any]) -> None:
    ref = await start(system, log)
    tries: list[str] = []

    async def until_b(machine: Abc) -> str:
        tries.append(machine.machine_state)
        if machine.machine_state != "b":
            machine.postpone()
        await trio.sleep(1)
        return "done"

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.call, Run(until_b))
        await trio.sleep(0.5)
        ref.cast(become("b"))
    assert tries == ["a", "b"]


async def test_what_is_postponed_and_changes_the_state_is_retried_at_once(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def postpone_once(machine: Abc) -> str:
        log.append("tried")
        if machine.machine_state == "a":
            machine.postpone()
            machine.postpone()
            machine.become("b")
        return machine.machine_state

    assert await ref.call(Do(postpone_once)) == "b"
    assert log == ["tried", "a > b", "tried"]


async def test_the_caller_of_a_postponed_call_may_give_up(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    with pytest.raises(CallTimeout):
        await ref.call(Only("x"), timeout=1)
    await ref.call(become("b"))
    ref.cast(Note("next"))
    await wait_all_tasks_blocked()
    assert log == ["postponed x", "a > b", ("b", "next")]


async def test_postponing_is_bounded_by_the_mailbox(system: System, log: list[Any]) -> None:
    ref = await system.start_place(Temporary(Abc, (log,), mailbox=2))
    for value in ("x", "y"):
        ref.cast(Only(value))
    await wait_all_tasks_blocked()
    ref.cast(Only("z"))
    exit = await ref.wait()
    assert isinstance(exit, Crashed)
    assert isinstance(exit.exception, MailboxFull)


async def test_unstash_retries_without_a_change_of_state(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def stash_once(machine: Abc) -> None:
        if ("a", "go") not in log:
            machine.stash()
        log.append("tried")

    ref.cast(Do(stash_once))
    ref.cast(Note("go"))
    await ref.call(Do(lambda machine: machine.unstash()))
    await wait_all_tasks_blocked()
    assert log == ["tried", ("a", "go"), "tried"]


@pytest.mark.parametrize("where", ["on_start", "side task"])
async def test_only_a_message_being_handled_can_be_postponed(
    system: System, log: list[Any], where: str
) -> None:
    class Wrong(Abc):
        def on_start(self) -> None:
            if where == "on_start":
                self.postpone()

        async def aside(self) -> None:
            self.postpone()

    if where == "on_start":
        with pytest.raises(StartFailed) as caught:
            await system.start(Wrong, log)
        error = caught.value.__cause__
    else:
        ref = await system.start(Wrong, log)
        await ref.call(Do(lambda machine: machine.start_soon(machine.aside)))
        exit = await ref.wait()
        assert isinstance(exit, Crashed)
        error = exit.exception
    assert str(error) == "A message can be postponed only while it is being handled."


# -- internal events


async def test_internal_events_go_before_everything_else_in_the_order_given(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)

    def give(machine: Abc) -> None:
        ref.cast(Note("external"))
        machine.internal(Do(give_more))
        machine.internal(Note(3))
        machine.become("b")

    def give_more(machine: Abc) -> None:
        machine.internal(Note(1))
        machine.internal(Note(2))

    ref.cast(Only("x"))
    ref.cast(Do(give))
    await wait_all_tasks_blocked()
    assert log == [
        "postponed x",
        "a > b",
        ("b", 1),
        ("b", 2),
        ("b", 3),
        "handled x",
        ("b", "external"),
    ]


async def test_an_internal_event_may_be_postponed(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await ref.call(Do(lambda machine: machine.internal(Only("x"))))
    ref.cast(Note(1))
    await ref.call(become("b"))
    await wait_all_tasks_blocked()
    assert log == ["postponed x", ("a", 1), "a > b", "handled x"]


async def test_an_internal_event_may_be_handled_by_an_async_handler(
    system: System, log: list[Any]
) -> None:
    ref = await start(system, log)

    def give(machine: Abc) -> None:
        machine.internal(Run(slowly))
        machine.internal(Note("after"))

    await ref.call(Do(give))
    ref.cast(Note("external"))
    await trio.sleep(0.5)
    assert log == []
    await trio.sleep(1)
    assert log == [("a", "after"), ("a", "external")]


async def test_internal_events_find_room_in_a_full_mailbox(system: System, log: list[Any]) -> None:
    ref = await system.start_place(Temporary(Abc, (log,), mailbox=1))

    async def give(machine: Abc) -> None:
        for number in range(5):
            machine.internal(Note(number))
        await trio.sleep(1)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.call, Run(give))
        await trio.sleep(0.5)
        ref.cast(Note("external"))
        with pytest.raises(MailboxFull):
            ref.cast(Note("too much"))
    await wait_all_tasks_blocked()
    assert log == ["a > a", *(("a", number) for number in range(5)), ("a", "external")]


# -- timeouts


def ask(name: str, *args: Any) -> Do:
    return Do(lambda machine: getattr(machine, name)(*args))


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


async def test_an_expired_timeout_can_still_be_cancelled(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    await ref.call(ask("timeout", "named", 1, Note("never")))
    await introspection.suspend(ref)
    await trio.sleep(2)
    ref.cast(Note("behind"))
    await introspection.replace_state(ref, lambda state: state)
    await introspection.resume(ref)
    await wait_all_tasks_blocked()
    assert log == [("a", "never"), ("a", "behind")]
    log.clear()
    await introspection.suspend(ref)
    ref.cast(ask("timeout", "named", None))
    await introspection.resume(ref)

    async def sleep_and_cancel(machine: Abc) -> None:
        await trio.sleep(2)
        machine.timeout("named", None)

    await ref.call(ask("timeout", "named", 1, Note("never")))
    await ref.call(Run(sleep_and_cancel))
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


# -- restarts and ends


async def test_what_a_machine_gave_itself_dies_with_it_and_what_others_sent_does_not(
    system: System, log: list[Any]
) -> None:
    from actors.runtime import lifecycle
    from actors.runtime.root import Root

    class Restarts(Root):
        def child_exited(self, place: Any, exit: Any) -> None:
            place.state = "restarting"
            assert lifecycle.awaken(place) is None

    ref = await start(system, log)
    ref._place.owner = Restarts(system)

    def give(machine: Abc) -> None:
        machine.timeout("soon", 0, Note("a timeout"))
        machine.timeout("later", 1, Note("a timeout"))
        machine.become("c")
        machine.internal(Only("postponed and its own"))
        machine.internal(Do(crash))
        machine.internal(Note("its own"))

    def crash(machine: Abc) -> None:
        raise ValueError("on purpose")

    ref.cast(Only("x"))
    ref.cast(Do(give))
    ref.cast(Note("external"))
    await trio.sleep(5)
    assert ref.incarnation == 2
    assert log == [
        "postponed x",
        "a > c",
        "postponed postponed and its own",
        "a > a",
        "postponed x",
        ("a", "external"),
    ]
    mailbox = ref._place.mailbox
    assert mailbox is not None
    assert mailbox.exempt == 0
    assert not len(system.scheduler.timers)


async def test_a_machine_leaves_nothing_behind(log: list[Any]) -> None:
    async with no_leaks():
        system = System(watchdog=None)
        async with system.opened():
            ref = await system.start(Abc, log)
            ref.cast(Only("x"))
            await ref.call(ask("timeout", "named", 100, Note("never")))
            await ref.call(ask("state_timeout", 100, Note("never")))
            await ref.call(Run(slowly))
        assert leftovers(system) == []
        del system, ref


async def test_the_bound_counts_what_others_sent_and_nothing_else(
    system: System, log: list[Any]
) -> None:
    ref = await start(system, log)

    def give(machine: Abc) -> None:
        machine.internal(Note("internal"))
        machine.internal(Only("internal and postponed"))
        machine.timeout("zero", 0, Only("timeout and postponed"))
        machine.timeout("cancelled", 0, Note("never"))
        machine.timeout("cancelled", None)

    await ref.call(Do(give))
    await wait_all_tasks_blocked()
    await ref.call(become("c"))
    await ref.call(become("b"))
    await wait_all_tasks_blocked()
    mailbox = ref._place.mailbox
    assert mailbox is not None
    assert (len(mailbox), mailbox.exempt, mailbox.stash) == (0, 0, None)


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
    await introspection.suspend(ref)
    ref.cast(become("b"))
    await trio.sleep(10)
    assert log == ["postponed x"]
    await introspection.resume(ref)
    await wait_all_tasks_blocked()
    assert log == ["postponed x", "a > b", "handled x"]


# -- mistakes, told when the class is created


def test_an_initial_state_that_does_not_exist_is_told_at_class_creation() -> None:
    with pytest.raises(
        TypeError, match=r"Wrong\.initial is one of its states.*'b', 'a', 'c'\. Got: 'nowhere'"
    ):

        class Wrong(Abc):
            initial = "nowhere"


async def test_a_machine_without_initial_state_does_not_start(system: System) -> None:
    class Abstract(StateMachine):
        @handles(state="a")
        def note(self, message: Note) -> None: ...

    with pytest.raises(StartFailed) as caught:
        await system.start(Abstract)
    assert str(caught.value.__cause__).endswith(
        "Abstract has no initial state; set it in the class: "
        "initial = \"...\". Accepted: 'a'. Got: none"
    )


@pytest.mark.parametrize("states", ["abc", ("a", 1), ("",), 5, {"a"}])
def test_states_lists_names(states: Any) -> None:
    with pytest.raises(TypeError, match=r"Wrong\.states lists the names of states.*Got:"):
        type("Wrong", (StateMachine,), {"states": states})


def test_an_enter_handler_cannot_await() -> None:
    with pytest.raises(TypeError, match=r"entered cannot await; .*Got: async def"):

        class Wrong(StateMachine):
            @enter("a")
            async def entered(self, old: str) -> None: ...


def test_an_enter_handler_overridden_by_an_async_def_cannot_await() -> None:
    with pytest.raises(TypeError, match=r"entered cannot await; .*Got: async def"):

        class Wrong(Abc):
            async def entered(self, old: str) -> None: ...  # type: ignore[override]


def test_an_enter_handler_overridden_by_none_is_gone() -> None:
    class Silent(Abc):
        states = ("a",)
        entered = None  # type: ignore[assignment]

    assert Silent.enters == {}


def _no_parameter(self: Any) -> None: ...
def _three_parameters(self: Any, old: str, new: str) -> None: ...
def _keyword(self: Any, *, old: str) -> None: ...
def _generator(self: Any, old: str) -> Any:
    yield


@pytest.mark.parametrize("wrong", [_no_parameter, _three_parameters, _keyword, _generator])
def test_an_enter_handler_takes_the_old_state(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"does not fit; an enter handler is a plain def.*Got: def"):
        enter("a")(wrong)


def test_enter_takes_a_method() -> None:
    with pytest.raises(TypeError, match=r"@enter takes a method.*Got: 5"):
        enter("a")(5)  # type: ignore[type-var]


@pytest.mark.parametrize("states", [(), (1,), ("",), (slowly,)])
def test_enter_takes_names_of_states(states: Any) -> None:
    with pytest.raises(TypeError, match=r"@enter takes the names of states.*Got: @enter\("):
        enter(*states)


def test_a_state_has_one_enter_handler() -> None:
    with pytest.raises(
        TypeError, match=r"two enter handlers for state 'a'.*Got: entered and also_entered"
    ):

        class Wrong(Abc):
            @enter("a")
            def also_entered(self, old: str) -> None: ...


def test_a_state_has_one_handler_for_a_message() -> None:
    with pytest.raises(TypeError, match=r"two handlers for Only in state 'b'"):

        class Wrong(Abc):
            @handles(Only, state=("a", "b"))
            def another(self, message: Only) -> str:
                return ""


@pytest.mark.parametrize("wrong", [5, "a", Abc])
def test_state_function_takes_a_method(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"@state_function takes a method.*Got: "):
        state_function(wrong)


@pytest.mark.parametrize("state", ["nowhere", None, 5, Abc])
async def test_become_takes_a_state_of_the_machine(
    system: System, log: list[Any], state: Any
) -> None:
    ref = await start(system, log)

    def wrong(machine: Abc) -> str:
        with pytest.raises(ValueError) as caught:
            machine.become(state)
        return str(caught.value)

    assert await ref.call(Do(wrong)) == (
        f"become() takes a state of Abc: 'b', 'a', 'c'. Got: {state!r}"
    )


def test_a_machine_that_does_not_run_says_so() -> None:
    machine = Abc([])
    assert machine.machine_state == "a"
    with pytest.raises(RuntimeError, match="does not run"):
        machine.postpone()
