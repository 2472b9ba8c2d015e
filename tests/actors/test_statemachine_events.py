"""State machines: postponed messages, internal events, and what is left of them."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    CallTimeout,
    Crashed,
    MailboxFull,
    StartFailed,
    System,
)
from actors.runtime.root import Temporary
from actors.testing import leftovers, no_leaks
from tests.actors.machines import (
    Abc,
    Do,
    Note,
    Only,
    Run,
    ask,
    become,
    slowly,
    start,
)


@pytest.fixture
def log() -> list[Any]:
    return []


# -- postponing


async def test_a_postponed_call_is_answered_in_the_state_that_handles_it(
    system: System, log: list[Any], both_ways: str
) -> None:
    ref = await start(system, log)
    answers: list[str] = []

    async def ask(value: str) -> None:
        answers.append(await ref.call(Only(value)))

    async with trio.open_nursery() as nursery:
        for value in ("x", "y"):
            nursery.start_soon(ask, value)
            await wait_all_tasks_blocked()
        await ref.call(become("c"))
        assert answers == []
        await ref.call(become("b"))
    assert sorted(answers) == ["x", "y"]
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


# -- restarts and ends


async def test_what_a_machine_gave_itself_dies_with_it_and_what_others_sent_does_not(
    system: System, log: list[Any]
) -> None:
    from actors.runtime import lifecycle
    from actors.runtime.root import Root

    class Restarts(Root):
        def child_exited(self, place: Any, exit: Any) -> None:
            if isinstance(exit, Crashed):
                place.state = "restarting"
                assert lifecycle.awaken(place) is None
            else:
                super().child_exited(place, exit)

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
