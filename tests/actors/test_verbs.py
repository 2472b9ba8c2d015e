"""K2 verbs, K4 refusal or crash, K5 turns, K9 reply slots."""

import contextvars
import gc
import logging
import math
import weakref
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    ActorError,
    Call,
    CallTimeout,
    Crashed,
    Envelope,
    Later,
    MailboxFull,
    Next,
    NoSuchActor,
    Ref,
    Refusal,
    System,
    handles,
)
from actors.introspection import resume, suspend
from actors.runtime.root import Temporary
from actors.runtime.scheduler import CALLER_TURNS, TURNS_PER_YIELD
from actors.telemetry import DeadLetter
from actors.testing import dead_letters


class No(Refusal):
    pass


@attrs.frozen
class Add(Call[int]):
    value: int = 1


@attrs.frozen
class Note:
    value: object


@attrs.frozen
class Notes(Call["list[object]"]):
    pass


@attrs.frozen
class Do(Call[object]):
    """Run a function in a plain turn."""

    function: Callable[[Any], object]


@attrs.frozen
class DoSoon:
    """The same, one way."""

    function: Callable[[Any], object]


@attrs.frozen
class Await(Call[object]):
    """Run an async function in a turn of the actor's own task."""

    function: Callable[[Any], Any]


class Worker(Actor):
    """Does as it is told, and writes down what it is sent."""

    def __init__(self) -> None:
        self.total = 0
        self.notes: list[object] = []

    @handles
    def add(self, message: Add) -> int:
        self.total += message.value
        return self.total

    @handles
    def note(self, message: Note) -> None:
        self.notes.append(message.value)

    @handles
    def read(self, message: Notes) -> list[object]:
        return self.notes

    @handles
    def do(self, message: Do) -> object:
        return message.function(self)

    @handles
    def do_soon(self, message: DoSoon) -> None:
        message.function(self)

    @handles
    async def wait(self, message: Await) -> object:
        return await message.function(self)


async def start(system: System, actor: Any = Worker, *, mailbox: float = 10_000) -> Ref[Any]:
    """Start a temporary actor whose mailbox holds so many messages."""
    return await system.start_place(Temporary(actor, mailbox=mailbox))


def fail(error: BaseException) -> Callable[[Any], object]:
    def function(actor: Any) -> object:
        raise error

    return function


# -- K2 cast


async def test_K2_cast_never_waits_and_says_when_the_mailbox_is_full(system: System) -> None:
    ref = await start(system, mailbox=3)
    await suspend(ref)
    for number in range(3):
        ref.cast(Note(number))
    with pytest.raises(MailboxFull, match="holds 3 messages already") as caught:
        ref.cast(Note(3))
    assert (caught.value.ref, caught.value.message) == (ref, Note(3))
    await resume(ref)
    assert await ref.call(Notes()) == [0, 1, 2]
    ref.cast(Note(4))
    assert await ref.call(Notes()) == [0, 1, 2, 4]


async def test_K2_a_mailbox_holds_10_000_messages_unless_the_spec_says_otherwise(
    system: System,
) -> None:
    ref = await system.start(Worker)
    for number in range(10_000):
        ref.cast(Note(number))
    with pytest.raises(MailboxFull, match="holds 10000"):
        ref.cast(Note(-1))
    assert await ref.call(Notes()) == list(range(10_000))


async def test_K2_infinity_lifts_the_bound(system: System) -> None:
    ref = await start(system, mailbox=math.inf)
    for number in range(20_001):
        ref.cast(Note(number))
    assert await ref.call(Notes()) == list(range(20_001))


async def test_K2_a_cast_to_a_place_that_is_gone_is_a_dead_letter(system: System) -> None:
    letters = dead_letters(system)
    ref = await system.start(Worker)
    assert await ref.stop()
    ref.cast(Note(1))
    ref.cast((1, 2))
    await ref.send(Note(2))
    assert letters == [
        DeadLetter(ref, message, "the place is gone") for message in (Note(1), (1, 2), Note(2))
    ]


async def test_K2_a_dead_letter_names_its_sender(system: System) -> None:
    letters = dead_letters(system)
    gone = await system.start(Worker)
    await gone.stop()
    plain = await system.start(Worker)
    await plain.call(Do(lambda actor: gone.cast(Note(1))))

    async def cast(actor: Worker) -> None:
        gone.cast(Note(2))

    await plain.call(Await(cast))
    assert [each.sender for each in letters] == [plain, plain]


# -- K2 send


async def test_K2_send_waits_for_room_in_the_order_of_the_senders(system: System) -> None:
    ref = await start(system, mailbox=1)
    await suspend(ref)
    ref.cast(Note(0))
    sent: list[int] = []

    async def send(number: int) -> None:
        await ref.send(Note(number))
        sent.append(number)

    async with trio.open_nursery() as nursery:
        for number in (1, 2, 3):
            nursery.start_soon(send, number)
            await wait_all_tasks_blocked()
        assert sent == []
        with pytest.raises(MailboxFull):
            ref.cast(Note("too early"))
        await resume(ref)
    assert sorted(sent) == [1, 2, 3]
    assert await ref.call(Notes()) == [0, 1, 2, 3]


async def test_K2_send_with_room_is_a_checkpoint_all_the_same(system: System) -> None:
    ref = await system.start(Worker)
    with trio.CancelScope() as scope:
        scope.cancel()
        await ref.send(Note(1))
    assert scope.cancelled_caught
    assert await ref.call(Notes()) == []


async def test_K2_a_send_cancelled_while_it_waits_is_not_sent_and_leaves_nothing(
    system: System,
) -> None:
    ref = await start(system, mailbox=1)
    await suspend(ref)
    ref.cast(Note(0))
    with trio.move_on_after(1) as scope:
        await ref.send(Note("never"))
    assert scope.cancelled_caught
    await resume(ref)
    assert await ref.call(Notes()) == [0]
    assert not ref._place.mailbox or not ref._place.mailbox.senders


async def test_K2_a_cancelled_sender_does_not_hold_up_those_behind_it(system: System) -> None:
    ref = await start(system, mailbox=1)
    await suspend(ref)
    ref.cast(Note(0))
    async with trio.open_nursery() as nursery:
        first = trio.CancelScope()

        async def send_first() -> None:
            with first:
                await ref.send(Note("first"))

        nursery.start_soon(send_first)
        await wait_all_tasks_blocked()
        nursery.start_soon(ref.send, Note("second"))
        await wait_all_tasks_blocked()
        first.cancel()
        await wait_all_tasks_blocked()
        await resume(ref)
    assert await ref.call(Notes()) == [0, "second"]


async def test_K2_a_sender_that_waits_when_the_place_goes_is_woken_and_has_sent_a_dead_letter(
    system: System,
) -> None:
    letters = dead_letters(system)
    ref = await start(system, mailbox=1)
    await suspend(ref)
    ref.cast(Note(0))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.send, Note(1))
        await wait_all_tasks_blocked()
        await ref.stop()
    assert [each.message for each in letters] == [Note(0), Note(1)]


# -- K2 call


async def test_K2_call_waits_for_the_reply(system: System, both_ways: str) -> None:
    ref = await system.start(Worker)
    assert await ref.call(Add(2)) == 2
    assert await ref.call(Add(3), timeout=1) == 5
    assert await ref.call(Add(4), timeout=None) == 9

    async def slow(actor: Worker) -> str:
        await trio.sleep(3600)
        return "done"

    began = trio.current_time()
    assert await ref.call(Await(slow), timeout=None) == "done"
    assert trio.current_time() - began == pytest.approx(3600)


async def test_K2_a_call_waits_five_seconds_unless_told_otherwise(
    system: System, both_ways: str
) -> None:
    ref = await system.start(Worker)
    for message in (Await(lambda actor: trio.sleep(60)), Do(lambda actor: actor.later())):
        for arguments, seconds in (({}, 5.0), ({"timeout": 2}, 2), ({"timeout": 0.5}, 0.5)):
            began = trio.current_time()
            with pytest.raises(CallTimeout, match=f"no answer within {seconds} s") as caught:
                await ref.call(message, **arguments)
            assert trio.current_time() - began == pytest.approx(seconds)
            assert caught.value.timeout == seconds
            assert caught.value.inherited is False
            assert caught.value.message is message
            assert isinstance(caught.value, TimeoutError)
            await trio.sleep(60)


async def test_K2_a_timeout_of_nothing_is_not_sent(system: System, both_ways: str) -> None:
    ref = await system.start(Worker)
    with pytest.raises(CallTimeout):
        await ref.call(Add(1), timeout=0)
    assert await ref.call(Add(1)) == 1


@pytest.mark.parametrize("timeout", [-1, math.nan, "5", True])
async def test_K2_a_timeout_is_seconds_or_none(system: System, timeout: Any) -> None:
    ref = await system.start(Worker)
    with pytest.raises((TypeError, ValueError), match=r"timeout \(None waits for ever\).*Got: "):
        await ref.call(Add(1), timeout=timeout)
    assert await ref.call(Add(1)) == 1


async def test_K2_a_call_to_a_place_that_is_gone_fails_at_once(
    system: System, both_ways: str
) -> None:
    ref = await system.start(Worker)
    await ref.stop()
    with pytest.raises(NoSuchActor, match="is gone; nobody will answer Add") as caught:
        await ref.call(Add(1), timeout=None)
    assert isinstance(caught.value, LookupError)
    assert (caught.value.ref, caught.value.message) == (ref, Add(1))


async def test_K2_a_call_waits_for_room_as_part_of_its_timeout(system: System) -> None:
    ref = await start(system, mailbox=1)
    await suspend(ref)
    ref.cast(Note(0))
    answers: list[int] = []

    async def call(number: int) -> None:
        answers.append(await ref.call(Add(number), timeout=60))

    async with trio.open_nursery() as nursery:
        for number in (1, 10):
            nursery.start_soon(call, number)
            await wait_all_tasks_blocked()
        with pytest.raises(CallTimeout):
            await ref.call(Add(100), timeout=1)
        await resume(ref)
    assert sorted(answers) == [1, 11]
    assert await ref.call(Add(0)) == 11


async def test_K2_per_sender_and_receiver_order_is_kept_over_all_verbs(
    system: System, both_ways: str
) -> None:
    ref = await start(system, mailbox=5)
    wanted: list[object] = []
    for round in range(20):
        for _ in range(4):
            ref.cast(Note(len(wanted)))
            wanted.append(len(wanted))
        await ref.send(Note(len(wanted)))
        wanted.append(len(wanted))
        assert await ref.call(Notes()) == wanted, round


async def test_K2_order_is_kept_between_a_cast_and_a_call_that_the_caller_could_run_itself(
    system: System, both_ways: str
) -> None:
    ref = await system.start(Worker)
    for number in range(200):
        ref.cast(Note(number))
        assert len(await ref.call(Notes())) == number + 1


async def test_K2_messages_sent_by_a_handler_arrive_in_order(
    system: System, both_ways: str
) -> None:
    ref, sender = await system.start(Worker), await system.start(Worker)

    def burst(actor: Worker) -> None:
        for number in range(10):
            ref.cast(Note(number))

    await sender.call(Do(burst))

    async def burst_and_call(actor: Worker) -> object:
        for number in range(10, 20):
            ref.cast(Note(number))
        return await ref.call(Notes())

    assert await sender.call(Await(burst_and_call)) == list(range(20))


async def test_K2_a_plain_handler_cannot_call(system: System, both_ways: str) -> None:
    other = await system.start(Worker)

    def call(actor: Worker) -> None:
        coroutine = other.call(Add(1))
        try:
            coroutine.send(None)
        finally:
            coroutine.close()

    ref = await system.start(Worker)
    with pytest.raises(ActorDied) as caught:
        await ref.call(Do(call))
    assert "atomic; make the handler an async def" in str(caught.value.__cause__)
    assert await other.call(Add(1)) == 1


# -- K4


async def test_K4_a_refusal_is_the_answer_and_the_actor_lives(
    system: System, both_ways: str, caplog: pytest.LogCaptureFixture
) -> None:
    ref = await system.start(Worker)
    refusal = No("no")
    for _ in range(2):
        with pytest.raises(No) as caught:
            await ref.call(Do(fail(refusal)))
        assert caught.value is refusal
    assert await ref.call(Add(1)) == 1
    assert ref.incarnation == 1

    async def refuse(actor: Worker) -> None:
        await trio.sleep(1)
        raise refusal

    with pytest.raises(No) as caught:
        await ref.call(Await(refuse))
    assert caught.value is refusal
    assert ref.alive
    assert not [each for each in caplog.records if each.levelno >= logging.WARNING]


async def test_K4_a_refusal_of_a_one_way_message_is_a_dead_letter_and_the_actor_lives(
    system: System,
) -> None:
    letters = dead_letters(system)
    ref = await system.start(Worker)
    message = DoSoon(fail(No("never")))
    ref.cast(message)
    assert await ref.call(Add(1)) == 1
    assert [(each.message, each.reason) for each in letters] == [(message, "refused: No('never')")]


async def test_K4_a_call_that_was_cast_and_is_refused_is_a_dead_letter_too(
    system: System,
) -> None:
    letters = dead_letters(system)
    ref = await system.start(Worker)
    ref.cast(Do(fail(No())))
    assert await ref.call(Add(1)) == 1
    assert len(letters) == 1


async def test_K4_anything_else_raised_is_a_crash_and_the_caller_gets_it_as_cause(
    system: System, both_ways: str
) -> None:
    error = ValueError("broken")

    async def raise_it(actor: Worker) -> None:
        raise error

    for message in (Do(fail(error)), Await(raise_it)):
        ref = await system.start(Worker)
        with pytest.raises(
            ActorDied, match=r"ended \(Crashed.*broken.*before it answered"
        ) as caught:
            await ref.call(message, timeout=None)
        assert caught.value.__cause__ is error
        assert caught.value.exit == Crashed(error)
        assert (caught.value.ref, caught.value.message) == (ref, message)
        assert await ref.wait() == Crashed(error)
        assert ref.state == "gone"


async def test_K4_the_caller_hears_of_the_crash_before_on_stop_runs(
    system: System, both_ways: str
) -> None:
    class Tidies(Worker):
        async def on_stop(self, exit: object) -> None:
            log.append("on_stop")
            await trio.sleep(3)
            log.append("closed")

    log: list[str] = []
    ref = await system.start(Tidies)
    began = trio.current_time()
    with pytest.raises(ActorDied):
        await ref.call(Do(fail(ValueError())))
    log.append("caller told")
    assert trio.current_time() == began
    await ref.wait()
    assert log[-1] == "closed" and "caller told" in log[:2]


async def test_K4_a_crash_fails_the_calls_queued_behind_it_when_nobody_restarts_the_actor(
    system: System,
) -> None:
    ref = await system.start(Worker)
    await suspend(ref)
    errors: list[ActorError] = []

    async def call(message: Call[Any]) -> None:
        try:
            await ref.call(message, timeout=None)
        except ActorError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, Do(fail(ValueError())))
        await wait_all_tasks_blocked()
        nursery.start_soon(call, Add(1))
        await wait_all_tasks_blocked()
        await resume(ref)
    kinds = {type(each.message): type(each) for each in errors}
    assert kinds == {Do: ActorDied, Add: NoSuchActor}


async def test_K4_a_crash_in_a_one_way_message_ends_the_actor(system: System) -> None:
    ref = await system.start(Worker)
    ref.cast(DoSoon(fail(ValueError("one way"))))
    exit = await ref.wait()
    assert isinstance(exit, Crashed) and str(exit.exception) == "one way"


@pytest.mark.parametrize("callback", ["on_ready", "on_stop", "side"])
async def test_K4_a_refusal_anywhere_but_in_a_handler_is_a_crash(
    system: System, callback: str
) -> None:
    class Refuses(Worker):
        def on_ready(self) -> None:
            if callback == "on_ready":
                raise No
            if callback == "side":
                self.start_soon(self.side)

        async def side(self) -> None:
            raise No

        def on_stop(self, exit: object) -> None:
            if callback == "on_stop":
                raise No

    ref = await system.start(Refuses)
    await wait_all_tasks_blocked()
    if callback == "on_stop":
        await ref.stop()
    exit = await ref.wait()
    assert isinstance(exit, Crashed) and isinstance(exit.exception, No)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["plain", "async", "one way", "on_ready", "on_stop", "side"])
def test_K4_keyboard_interrupt_and_system_exit_stop_the_tree_and_leave_as_themselves(
    error: type[BaseException], where: str
) -> None:
    from actors import open_system
    from actors.testing import VirtualClock

    stopped: list[str] = []

    class Other(Worker):
        def on_stop(self, exit: object) -> None:
            stopped.append("other")

    class Raises(Worker):
        def on_ready(self) -> None:
            if where == "on_ready":
                raise error
            if where == "side":
                self.start_soon(self.side)

        async def side(self) -> None:
            raise error

        def on_stop(self, exit: object) -> None:
            if where == "on_stop":
                raise error

    async def raise_it(actor: Worker) -> None:
        raise error

    async def main() -> None:
        async with open_system(watchdog=None) as system:
            await system.start(Other)
            ref = await system.start(Raises)
            if where == "plain":
                await ref.call(Do(fail(error())))
            elif where == "async":
                await ref.call(Await(raise_it))
            elif where == "one way":
                ref.cast(DoSoon(fail(error())))
            elif where == "on_stop":
                ref.cast(DoSoon(lambda actor: actor.stop()))
            await trio.sleep_forever()

    with pytest.raises(error):
        VirtualClock().run(main)
    assert stopped == ["other"]


# -- K5


async def test_K5_an_actor_has_one_turn_at_a_time(system: System, both_ways: str) -> None:
    class Careful(Worker):
        inside = 0

        async def slowly(self) -> None:
            assert self.inside == 0
            self.inside += 1
            await trio.sleep(1)
            self.inside -= 1

        def add(self, message: Add) -> int:
            assert self.inside == 0
            return message.value

    ref = await system.start(Careful)
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(ref.call, Await(Careful.slowly), None)
            nursery.start_soon(ref.call, Add(1), None)
    assert ref.alive


async def test_K5_a_plain_turn_runs_in_the_actors_own_context(
    system: System, both_ways: str
) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("the caller's")

    def get_and_set(value: str) -> Callable[[Any], object]:
        def function(actor: Any) -> object:
            before = variable.get()
            variable.set(value)
            return before

        return function

    async def get(actor: Any) -> object:
        return variable.get()

    ref = await system.start(Worker)
    assert await ref.call(Do(get_and_set("first"))) == "unset"
    assert await ref.call(Do(get_and_set("second"))) == "first"
    assert await ref.call(Await(get)) == "second"
    assert await ref.call(Do(get_and_set("third"))) == "second"
    assert await ref.call(Await(get)) == "third"
    assert variable.get() == "the caller's"


async def test_K5_callbacks_and_init_do_not_see_the_context_of_whoever_starts_the_actor(
    system: System, both_ways: str
) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("the starter's")
    seen: list[str] = []

    class Looks(Actor):
        def __init__(self) -> None:
            seen.append(variable.get())

        def on_start(self) -> None:
            seen.append(variable.get())

        def on_ready(self) -> None:
            seen.append(variable.get())

        def on_stop(self, exit: object) -> None:
            seen.append(variable.get())

    ref = await system.start(Looks)
    await wait_all_tasks_blocked()
    await ref.stop()
    assert seen == ["unset"] * 4


async def test_K5_two_actors_do_not_share_a_context(system: System, both_ways: str) -> None:
    variable = contextvars.ContextVar("variable", default=0)
    one, two = await system.start(Worker), await system.start(Worker)
    await one.call(Do(lambda actor: variable.set(1)))
    assert await two.call(Do(lambda actor: variable.get())) == 0


async def test_K5_places_are_served_in_the_order_they_were_given_something_to_do(
    system: System,
) -> None:
    order: list[str] = []
    refs = [await system.start(Worker) for _ in range(5)]
    for index in (3, 1, 4, 0, 2):
        refs[index].cast(DoSoon(lambda actor, index=index: order.append(index)))
    await wait_all_tasks_blocked()
    assert order == [3, 1, 4, 0, 2]


async def test_K5_the_dispatcher_yields_after_a_bounded_number_of_turns(system: System) -> None:
    ref = await start(system, mailbox=math.inf)
    others = 0
    most = 0

    class Chatty(Worker):
        turns_since = 0

        @handles
        def note(self, message: Note) -> None:
            nonlocal most
            self.turns_since += 1
            most = max(most, self.turns_since)

    chatty = await start(system, Chatty, mailbox=math.inf)
    actor = chatty._place.actor
    for number in range(20 * TURNS_PER_YIELD):
        chatty.cast(Note(number))
        ref.cast(Note(number))
    with trio.move_on_after(3600):
        while chatty._place.mailbox:
            await trio.lowlevel.checkpoint()
            others += 1
            actor.turns_since = 0
    assert others >= 10
    assert most <= 2 * TURNS_PER_YIELD


async def test_K5_an_actor_with_a_long_queue_does_not_starve_the_others(system: System) -> None:
    order: list[str] = []
    busy, quiet = await start(system), await start(system)
    for _ in range(1000):
        busy.cast(DoSoon(lambda actor: order.append("busy")))
    quiet.cast(DoSoon(lambda actor: order.append("quiet")))
    await wait_all_tasks_blocked()
    assert order.index("quiet") <= 64
    assert len(order) == 1001


async def test_K5_callers_of_idle_actors_yield_after_a_bounded_number_of_calls(
    system: System,
) -> None:
    ref = await system.start(Worker)
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            await trio.lowlevel.checkpoint()
            others += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(20 * CALLER_TURNS):
            await ref.call(Add(1))
        assert others >= 10
        nursery.cancel_scope.cancel()


async def test_K5_the_checkpoint_of_a_call_comes_before_the_handler_never_after(
    system: System, both_ways: str
) -> None:
    """Cancelled before: nothing happens. Cancelled by the handler: the answer still arrives."""
    ref = await system.start(Worker)
    with trio.CancelScope() as scope:
        scope.cancel()
        await ref.call(Add(1))
    assert scope.cancelled_caught
    assert await ref.call(Add(1)) == 1
    if both_ways == "caller runs turns":
        with trio.CancelScope() as scope:
            assert await ref.call(Do(lambda actor: scope.cancel() or "answered")) == "answered"


async def test_K5_a_turn_run_by_a_caller_never_runs_the_turn_of_another_actor_inside_itself(
    system: System, both_ways: str
) -> None:
    order: list[str] = []
    inner = await system.start(Worker)

    def outer_turn(actor: Worker) -> None:
        order.append("outer begins")
        inner.cast(DoSoon(lambda actor: order.append("inner")))
        order.append("outer ends")

    outer = await system.start(Worker)
    await outer.call(Do(outer_turn))
    await wait_all_tasks_blocked()
    assert order == ["outer begins", "outer ends", "inner"]


@pytest.mark.parametrize("what", ["middleware", "suspended", "stash", "queue", "on_ready"])
async def test_K5_the_caller_does_not_overtake_what_is_due_first(
    system: System, both_ways: str, what: str
) -> None:
    order: list[object] = []

    class Busy(Worker):
        if what == "middleware":

            async def between(self, envelope: Envelope, next: Next) -> Any:
                order.append("middleware")
                return await next(envelope)

            @property
            def middleware(self) -> Any:  # type: ignore[override]
                return (self.between,)

        if what == "on_ready":

            async def on_ready(self) -> None:
                await trio.sleep(1)
                order.append("on_ready")

        @handles
        def stashed(self, message: Note) -> None:
            if what == "stash" and not order:
                order.append("stashed")
                self.stash()
                self.unstash()
            else:
                order.append(message.value)

        note = None  # type: ignore[assignment]

    ref = await system.start(Busy)
    ask = Do(lambda actor: order.append("call"))
    if what == "suspended":
        await suspend(ref)
        with pytest.raises(CallTimeout):
            await ref.call(ask, timeout=1)
        assert order == []
        await resume(ref)
        await ref.call(Add(1))
        assert order == []
        return
    if what in ("queue", "stash"):
        ref.cast(Note("first"))
    await ref.call(ask)
    wanted = {
        "middleware": ["middleware", "call"],
        "queue": ["first", "call"],
        "stash": ["stashed", "first", "call"],
        "on_ready": ["on_ready", "call"],
    }
    assert order == wanted[what]


class Awaitable:
    def __await__(self) -> Any:
        yield


@pytest.mark.parametrize("make", [Awaitable, trio.lowlevel.checkpoint])
async def test_K5_a_plain_handler_that_returns_an_awaitable_crashes_saying_so(
    system: System, both_ways: str, make: Callable[[], object]
) -> None:
    ref = await system.start(Worker)
    with pytest.raises(ActorDied) as caught:
        await ref.call(Do(lambda actor: make()))
    assert "is a plain def and returned an awaitable" in str(caught.value.__cause__)
    assert "Got: " in str(caught.value.__cause__)


async def test_K5_an_awaitable_after_many_plain_answers_is_still_found(
    system: System, both_ways: str
) -> None:
    ref = await system.start(Worker)
    for value in (1, "a", None, [], 1):
        assert await ref.call(Do(lambda actor, value=value: value)) == value
    with pytest.raises(ActorDied):
        await ref.call(Do(lambda actor: trio.sleep(0)))


async def test_K5_a_plain_handler_closes_the_scopes_it_opens(
    system: System, both_ways: str
) -> None:
    ref = await system.start(Worker)

    def with_scope(actor: Worker) -> str:
        with trio.CancelScope() as scope:
            scope.cancel()
            return "closed"

    assert await ref.call(Do(with_scope)) == "closed"
    await trio.lowlevel.checkpoint()


# -- K9


async def test_K9_a_late_reply_vanishes(system: System) -> None:
    letters = dead_letters(system)
    ref = await system.start(Worker)

    async def slow(actor: Worker) -> str:
        await trio.sleep(10)
        return "late"

    with pytest.raises(CallTimeout):
        await ref.call(Await(slow), timeout=1)
    await trio.sleep(20)
    assert await ref.call(Add(1)) == 1
    assert not letters


async def test_K9_a_reply_already_in_the_slot_beats_the_deadline(system: System) -> None:
    """Answer and deadline fall on the same moment, and both come before the caller looks."""
    ref = await system.start(Worker)
    laters: list[Later[Any]] = []

    def defer(actor: Worker) -> Later[Any]:
        laters.append(actor.later())
        return laters[-1]

    answers: list[object] = []

    async def call() -> None:
        answers.append(await ref.call(Do(defer), timeout=5))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        slot = laters[0].slot
        assert slot is not None
        laters[0].reply("just in time")
        slot.fire()
    assert answers == ["just in time"]


async def test_K9_a_call_whose_caller_has_gone_before_its_turn_is_skipped_and_counted(
    system: System,
) -> None:
    ref = await system.start(Worker)
    await suspend(ref)
    with pytest.raises(CallTimeout):
        await ref.call(Add(10), timeout=1)
    with trio.move_on_after(1):
        await ref.call(Add(100), timeout=None)
    ref.cast(Add(1))
    await resume(ref)
    assert await ref.call(Add(0)) == 1
    assert system.scheduler.abandoned == 2


async def test_K9_a_running_handler_goes_on_when_its_caller_has_gone(system: System) -> None:
    ref = await system.start(Worker)

    async def slow(actor: Worker) -> None:
        await trio.sleep(10)
        actor.notes.append("finished")

    with trio.move_on_after(1):
        await ref.call(Await(slow), timeout=None)
    assert await ref.call(Notes(), timeout=None) == ["finished"]


async def test_K9_slots_leave_nothing_behind_on_cancellation(system: System) -> None:
    ref = await system.start(Worker)
    seen: list[weakref.ref[Any]] = []

    def defer(actor: Worker) -> Later[Any]:
        later = actor.later()
        seen.append(weakref.ref(later.slot))
        return later

    for _ in range(100):
        with trio.move_on_after(1):
            await ref.call(Do(defer), timeout=3600)
    assert len(system.scheduler.timers) == 0
    assert len(ref._place.held) < 40
    await ref.stop()
    gc.collect()
    assert not any(each() for each in seen)


async def test_K9_calls_that_time_out_while_they_wait_for_room_leave_nothing(
    system: System,
) -> None:
    ref = await start(system, mailbox=1)
    await suspend(ref)
    ref.cast(Note(0))
    for _ in range(50):
        with pytest.raises(CallTimeout):
            await ref.call(Add(1), timeout=0.1)
    mailbox = ref._place.mailbox
    assert not mailbox.senders
    await resume(ref)
    assert await ref.call(Add(1)) == 1


async def test_K9_nothing_is_left_on_the_timer_heap_after_many_answered_calls(
    system: System, both_ways: str
) -> None:
    ref = await system.start(Worker)
    for _ in range(2000):
        await ref.call(Do(lambda actor: None), timeout=7)

    async def soon(actor: Worker) -> None:
        await trio.lowlevel.checkpoint()

    for _ in range(2000):
        await ref.call(Await(soon))
    assert len(system.scheduler.timers) == 0
    assert len(system.scheduler.timers._heap) < 1000


async def test_K9_the_exception_of_a_crash_does_not_keep_the_callers_frame_alive(
    system: System, both_ways: str
) -> None:
    class Marker:
        pass

    def refuse(actor: Worker) -> None:
        raise No

    ref = await system.start(Worker)
    seen: list[weakref.ref[Marker]] = []

    async def call() -> None:
        marker = Marker()
        seen.append(weakref.ref(marker))
        try:
            await ref.call(Do(refuse))
        except No:
            pass

    gc.collect()
    gc.disable()
    try:
        await call()
        await trio.lowlevel.checkpoint()
        assert seen[0]() is None
    finally:
        gc.enable()


async def test_K9_replies_never_go_through_the_mailbox_and_do_not_count_against_it(
    system: System,
) -> None:
    """Two actors with a mailbox of one, both full: the answers come through all the same."""
    target = await start(system)
    asker = await start(system, mailbox=1)

    async def ask(actor: Worker) -> object:
        await trio.sleep(1)
        return await target.call(Add(5))

    answers: list[object] = []

    async def call() -> None:
        answers.append(await asker.call(Await(ask)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        asker.cast(Note("fills it"))
        with pytest.raises(MailboxFull):
            asker.cast(Note("full"))
    assert answers == [5]


# -- the ref itself


async def test_a_ref_compares_by_its_place_and_says_what_it_names(system: System) -> None:
    one = await system.start(Worker, name="one")
    two = await system.start(Worker)
    assert one == system.whereis("one") and one is not two and one != two and one != "one"
    assert len({one, two, system.whereis("one")}) == 2
    assert repr(one) == "<Ref Worker /one>"
    assert (one.name, two.name) == ("one", None)
    assert (one.path, one.state, one.incarnation, one.alive) == ("/one", "up", 1, True)
    assert two.path.startswith("/Worker-")
