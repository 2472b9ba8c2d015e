"""K6 tasks, K8 answering later, K10 deadlines, K19 side tasks."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

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
    Envelope,
    Killed,
    Later,
    MailboxFull,
    NoSuchActor,
    Ref,
    Refusal,
    Shutdown,
    StartFailed,
    System,
    Unhandled,
    handles,
)
from actors.introspection import resume, suspend
from actors.runtime import lifecycle
from actors.runtime.root import Temporary
from actors.testing import dead_letters, tasks, without_caller_turns

if TYPE_CHECKING:
    from collections.abc import Callable


class No(Refusal):
    pass


@attrs.frozen
class Do(Call[Any]):
    """Run a function in a plain turn."""

    function: Callable[[Any], object]


@attrs.frozen
class DoSoon:
    function: Callable[[Any], object]


@attrs.frozen
class Await(Call[Any]):
    """Run an async function in a turn of the actor's own task."""

    function: Callable[[Any], Any]


@attrs.frozen
class AwaitSoon:
    function: Callable[[Any], Any]


@attrs.frozen
class Note:
    value: object = None


@attrs.frozen
class Notes(Call["list[Any]"]):
    pass


class Worker(Actor):
    def __init__(self) -> None:
        self.notes: list[Any] = []
        self.envelopes: list[Envelope] = []

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    def do_soon(self, message: DoSoon) -> None:
        message.function(self)

    @handles
    async def wait(self, message: Await) -> Any:
        return await message.function(self)

    @handles
    async def wait_soon(self, message: AwaitSoon) -> None:
        await message.function(self)

    @handles
    def note(self, message: Note) -> None:
        self.notes.append(message.value)
        self.envelopes.append(self.envelope)

    @handles
    def read(self, message: Notes) -> list[Any]:
        return self.notes


def tasks_of(ref: Ref[Any]) -> list[str]:
    return [each.name for each in tasks() if each.name == ref.path]


async def nap(actor: Actor) -> None:
    await trio.sleep(1)


# -- K6


async def test_K6_an_actor_has_no_task_before_it_first_awaits_and_keeps_it_then(
    system: System, both_ways: str
) -> None:
    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: None))
    assert tasks_of(ref) == []
    await ref.call(Await(nap))
    assert tasks_of(ref) == [ref.path]
    (first,) = (each for each in tasks() if each.name == ref.path)
    await ref.call(Await(nap))
    await ref.call(Do(lambda actor: None))
    (second,) = (each for each in tasks() if each.name == ref.path)
    assert first is second
    await ref.stop()
    await wait_all_tasks_blocked()
    assert tasks_of(ref) == []


async def test_K6_the_task_runs_in_the_context_of_the_plain_turns_before_it(
    system: System,
) -> None:
    variable = contextvars.ContextVar("variable", default="unset")

    async def look(actor: Worker) -> tuple[str, contextvars.Context]:
        found = variable.get()
        variable.set("by the task")
        return found, trio.lowlevel.current_task().context

    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: variable.set("by a plain turn")))
    found, context = await ref.call(Await(look))
    assert found == "by a plain turn"
    assert await ref.call(Do(lambda actor: variable.get())) == "by the task"
    assert await ref.call(Do(lambda actor: contextvars.copy_context().get(variable))) == (
        "by the task"
    )
    assert context.get(variable) == "by the task"


async def test_K6_plain_turns_run_while_the_task_is_parked_and_not_while_it_works(
    system: System, both_ways: str
) -> None:
    order: list[str] = []

    async def work(actor: Worker) -> None:
        order.append("begins")
        await trio.sleep(1)
        order.append("ends")

    ref = await system.start(Worker)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.call, Await(work))
        await wait_all_tasks_blocked()
        nursery.start_soon(ref.call, Do(lambda actor: order.append("plain")))
    assert order == ["begins", "ends", "plain"]
    await ref.call(Do(lambda actor: order.append("parked")))
    assert order[-1] == "parked"


async def test_K6_a_message_that_needs_the_task_occupies_the_turn_from_the_moment_it_is_taken(
    system: System, both_ways: str
) -> None:
    """No plain turn slips in between taking the message and the first step of the task."""
    order: list[str] = []

    async def work(actor: Worker) -> None:
        order.append("async")

    ref = await system.start(Worker)
    for _ in range(10):
        ref.cast(AwaitSoon(work))
        ref.cast(DoSoon(lambda actor: order.append("plain")))
    await ref.call(Do(lambda actor: order.append("call")))
    assert order == ["async", "plain"] * 10 + ["call"]


async def test_K6_a_kill_before_the_first_step_of_the_task_drops_the_message(
    system: System,
) -> None:
    started: list[str] = []

    async def work(actor: Worker) -> None:
        started.append("began")

    ref, killer = await system.start(Worker), await system.start(Worker)
    failures: list[ActorDied] = []

    async def call() -> None:
        try:
            await ref.call(Await(work), timeout=None)
        except ActorDied as error:
            failures.append(error)

    def kill(actor: Worker) -> None:
        """In the step of the dispatcher in which the message is taken, no later."""
        if ref._place.turn is not None:
            lifecycle.kill(ref._place)
        else:
            actor.ref.cast(DoSoon(kill))

    await suspend(ref)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        killer.cast(DoSoon(kill))
        await resume(ref)
    (error,) = failures
    assert error.exit == Killed()
    assert started == []
    assert await ref.wait() == Killed()


async def test_K6_callbacks_that_are_not_overridden_need_no_task_and_no_context(
    system: System,
) -> None:
    before = len(tasks())
    refs = [await system.start(Worker) for _ in range(100)]
    assert len(tasks()) == before
    assert all(ref._place.context is None for ref in refs)
    for ref in refs:
        await ref.stop()
    assert len(tasks()) == before


async def test_K6_an_async_on_stop_gets_a_task_for_its_duration(system: System) -> None:
    class Tidies(Worker):
        async def on_stop(self, exit: object) -> None:
            names.extend(tasks_of(self.ref))
            await trio.sleep(1)
            names.append("done")

    names: list[str] = []
    ref = await system.start(Tidies)
    assert tasks_of(ref) == []
    await ref.stop()
    assert names == [ref.path, "done"]
    await wait_all_tasks_blocked()
    assert tasks_of(ref) == []


async def test_K6_a_plain_on_stop_needs_no_task(system: System) -> None:
    class Tidies(Worker):
        def on_stop(self, exit: object) -> None:
            names.extend(tasks_of(self.ref))

    names: list[str] = []
    ref = await system.start(Tidies)
    await ref.stop()
    assert names == []


async def test_K6_many_async_messages_in_a_row_let_others_run_in_between(
    system: System,
) -> None:
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            await trio.lowlevel.checkpoint()
            others += 1

    async def quick(actor: Worker) -> None:
        pass

    ref = await system.start(Worker)
    for _ in range(1000):
        ref.cast(AwaitSoon(quick))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        await ref.call(Notes(), timeout=None)
        nursery.cancel_scope.cancel()
    assert others >= 10


async def test_K6_an_async_crash_ends_the_actor_and_its_task(system: System) -> None:
    async def crash(actor: Worker) -> None:
        await trio.sleep(1)
        raise ValueError("in the task")

    ref = await system.start(Worker)
    with pytest.raises(ActorDied) as caught:
        await ref.call(Await(crash))
    assert str(caught.value.__cause__) == "in the task"
    await ref.wait()
    await wait_all_tasks_blocked()
    assert tasks_of(ref) == []


async def test_K6_a_handler_cancelled_by_a_scope_of_its_own_goes_on(system: System) -> None:
    async def bounded(actor: Worker) -> str:
        with trio.move_on_after(1):
            await trio.sleep_forever()
        return "in time"

    ref = await system.start(Worker)
    assert await ref.call(Await(bounded)) == "in time"
    assert await ref.call(Await(bounded)) == "in time"


async def test_K6_an_exception_group_of_a_handler_is_its_crash(system: System) -> None:
    async def group(actor: Worker) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            raise ValueError("inside")

    ref = await system.start(Worker)
    with pytest.raises(ActorDied) as caught:
        await ref.call(Await(group))
    assert isinstance(caught.value.__cause__, ExceptionGroup)


async def test_K6_the_envelope_is_there_in_a_turn_and_only_there(
    system: System, both_ways: str
) -> None:
    async def look(actor: Worker) -> Envelope:
        await trio.sleep(1)
        return actor.envelope

    ref = await system.start(Worker)
    message = Await(look)
    envelope = await ref.call(message)
    assert envelope.message is message and envelope.sender is None
    plain = Do(lambda actor: actor.envelope)
    envelope = await ref.call(plain)
    assert envelope.message is plain
    actor = ref._place.actor
    with pytest.raises(RuntimeError, match="only while a message is being handled"):
        actor.envelope


# -- K8


async def test_K8_a_later_returned_from_a_handler_defers_the_answer(
    system: System, both_ways: str
) -> None:
    laters: list[Later[Any]] = []

    def defer(actor: Worker) -> Later[Any]:
        laters.append(actor.later())
        return laters[-1]

    async def defer_async(actor: Worker) -> Later[Any]:
        return defer(actor)

    ref = await system.start(Worker)
    answers: list[Any] = []

    async def call(message: Call[Any]) -> None:
        answers.append(await ref.call(message))

    for message in (Do(defer), Await(defer_async)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call, message)
            await wait_all_tasks_blocked()
            assert await ref.call(Notes()) == []
            assert not laters[-1].done
            laters[-1].reply("at last")
            assert laters[-1].done
        assert answers.pop() == "at last"


async def test_K8_an_answer_given_before_the_handler_returns_counts_too(
    system: System, both_ways: str
) -> None:
    def at_once(actor: Worker) -> Later[Any]:
        later: Later[Any] = actor.later()
        later.reply("at once")
        return later

    async def at_once_async(actor: Worker) -> Later[Any]:
        return at_once(actor)

    ref = await system.start(Worker)
    assert await ref.call(Do(at_once)) == "at once"
    assert await ref.call(Await(at_once_async)) == "at once"


async def test_K8_a_second_answer_is_dropped(system: System, both_ways: str) -> None:
    def twice(actor: Worker) -> Later[Any]:
        later: Later[Any] = actor.later()
        later.reply(1)
        later.reply(2)
        later.fail(No())
        return later

    ref = await system.start(Worker)
    assert await ref.call(Do(twice)) == 1


async def test_K8_a_later_fails_with_a_refusal_or_an_actor_error_and_nothing_else(
    system: System, both_ways: str
) -> None:
    laters: list[Later[Any]] = []

    def defer(actor: Worker) -> Later[Any]:
        laters.append(actor.later())
        return laters[-1]

    ref = await system.start(Worker)
    for error in (No("no"), NoSuchActor("gone"), Unhandled("what?")):
        failures: list[BaseException] = []

        async def call(failures: list[BaseException] = failures) -> None:
            try:
                await ref.call(Do(defer))
            except Exception as failure:
                failures.append(failure)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            with pytest.raises(TypeError, match=r"takes a Refusal or an ActorError.*Got: Value"):
                laters[-1].fail(ValueError())
            laters[-1].fail(error)
        assert failures == [error]
    assert ref.alive


async def test_K8_the_answer_may_come_from_any_task_or_actor(
    system: System, both_ways: str
) -> None:
    other = await system.start(Worker)

    async def reply(later: Later[Any], value: object) -> None:
        await trio.sleep(1)
        later.reply(value)

    def by_side_task(actor: Worker) -> Later[Any]:
        later: Later[Any] = actor.later()
        actor.start_soon(reply, later, "side task")
        return later

    def by_another_actor(actor: Worker) -> Later[Any]:
        later: Later[Any] = actor.later()
        other.cast(DoSoon(lambda _: later.reply("another actor")))
        return later

    ref = await system.start(Worker)
    assert await ref.call(Do(by_side_task)) == "side task"
    assert await ref.call(Do(by_another_actor)) == "another actor"


async def test_K8_a_later_of_a_one_way_message_is_done_and_drops_its_answer(
    system: System,
) -> None:
    laters: list[Later[Any]] = []

    def defer(actor: Worker) -> None:
        laters.append(actor.later())

    ref = await system.start(Worker)
    ref.cast(DoSoon(defer))
    await ref.call(Notes())
    assert laters[0].done
    laters[0].reply(1)
    laters[0].fail(No())


async def test_K8_the_later_of_another_message_is_no_answer(system: System, both_ways: str) -> None:
    kept: list[Later[Any]] = []

    def keep(actor: Worker) -> Later[Any]:
        kept.append(actor.later())
        return kept[0]

    ref = await system.start(Worker)
    with trio.move_on_after(1):
        await ref.call(Do(keep), timeout=None)
    with pytest.raises(ActorDied) as caught:
        await ref.call(Do(lambda actor: kept[0]))
    assert "belongs to another message" in str(caught.value.__cause__)


@pytest.mark.parametrize("end", ["crash", "stop", "kill"])
async def test_K8_a_slot_whose_holder_dies_fails_with_actor_died(
    system: System, both_ways: str, end: str
) -> None:
    ref = await system.start(Worker)
    failures: list[ActorDied] = []

    async def call() -> None:
        try:
            await ref.call(Do(lambda actor: actor.later()), timeout=None)
        except ActorDied as error:
            failures.append(error)

    def crash(actor: Worker) -> None:
        raise ValueError

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(call)
        await wait_all_tasks_blocked()
        if end == "crash":
            ref.cast(DoSoon(crash))
        elif end == "stop":
            await ref.stop(Shutdown("enough"))
        else:
            await ref.stop(Killed())
    assert len(failures) == 20
    kinds = {"crash": Crashed, "stop": Shutdown, "kill": Killed}
    assert all(isinstance(each.exit, kinds[end]) for each in failures)


async def test_K8_forward_hands_the_message_and_the_wait_on(system: System, both_ways: str) -> None:
    back = await system.start(Worker)

    class Front(Actor):
        @handles
        def pass_on(self, message: Call[Any]) -> object:
            back.forward(self.envelope)
            return "dropped"

    class AsyncFront(Actor):
        @handles
        async def pass_on(self, message: Call[Any]) -> object:
            await trio.sleep(1)
            back.forward(self.envelope)
            return "dropped"

    for front in (await system.start(Front), await system.start(AsyncFront)):
        assert await front.call(Do(lambda actor: "from the back")) == "from the back"
        # The envelope goes along with the message: the back sees the id the front saw.
        envelope = await front.call(Do(lambda actor: actor.envelope))
        assert envelope.sender is None
        assert envelope.deadline is not None

        def refuse(actor: Worker) -> None:
            raise No("from the back")

        with pytest.raises(No, match="from the back"):
            await front.call(Do(refuse))
        assert await front.call(Await(nap)) is None


async def test_K8_a_forwarded_call_fails_when_its_new_holder_dies_and_not_with_the_old_one(
    system: System, both_ways: str
) -> None:
    back = await system.start(Worker)

    class Front(Worker):
        @handles
        def pass_on(self, message: Await) -> None:
            back.forward(self.envelope)

        wait = None  # type: ignore[assignment]

    answers: list[object] = []

    async def call(front: Ref[Any], function: Callable[[Any], Any]) -> None:
        try:
            answers.append(await front.call(Await(function), timeout=None))
        except ActorDied as error:
            answers.append(error)

    async def long(actor: Worker) -> str:
        await trio.sleep(10)
        return "done"

    async def crash(actor: Worker) -> None:
        raise ValueError("back")

    front = await system.start(Front)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, front, long)
        await trio.sleep(1)
        await front.stop()
    assert answers == ["done"]

    front = await system.start(Front)
    await call(front, crash)
    assert isinstance(answers[1], ActorDied) and answers[1].ref == back


async def test_K8_forwarding_to_a_place_that_is_gone_fails_the_caller_at_once(
    system: System, both_ways: str
) -> None:
    back = await system.start(Worker)
    await back.stop()

    def forward(actor: Worker) -> None:
        back.forward(actor.envelope)

    ref = await system.start(Worker)
    with pytest.raises(NoSuchActor) as caught:
        await ref.call(Do(forward), timeout=None)
    assert caught.value.ref == back
    letters = dead_letters(system)
    message = DoSoon(forward)
    ref.cast(message)
    await ref.call(Notes())
    assert [(each.ref, each.message) for each in letters] == [(back, message)]


async def test_K8_a_call_that_was_given_up_is_not_forwarded(system: System) -> None:
    back = await system.start(Worker)

    async def wait_and_forward(actor: Worker) -> None:
        await trio.sleep(10)
        back.forward(actor.envelope)

    ref = await system.start(Worker)
    with trio.move_on_after(1):
        await ref.call(Await(wait_and_forward), timeout=None)
    await trio.sleep(20)
    assert not back._place.mailbox
    assert ref.alive and back.alive


async def test_K8_a_handler_may_catch_that_it_cannot_forward_and_answer_itself(
    system: System, both_ways: str
) -> None:
    back = await system.start_place(Temporary(Worker, mailbox=1))
    await suspend(back)
    back.cast(Note(1))

    def forward(actor: Worker) -> str:
        try:
            back.forward(actor.envelope)
        except MailboxFull as error:
            assert error.ref == back
            return "busy"
        return "forwarded"

    ref = await system.start(Worker)
    assert await ref.call(Do(forward)) == "busy"


async def test_K8_one_way_messages_are_forwarded_with_their_sender(system: System) -> None:
    back, front = await system.start(Worker), await system.start(Worker)

    class Front(Actor):
        @handles
        def pass_on(self, message: Note) -> None:
            back.forward(self.envelope)

    middle = await system.start(Front)
    await front.call(Do(lambda actor: middle.cast(Note(1))))
    await wait_all_tasks_blocked()
    assert await back.call(Notes()) == [1]
    (envelope,) = back._place.actor.envelopes
    assert envelope.sender == front


# -- K10


async def test_K10_the_deadline_of_a_call_never_cancels_the_handler(
    system: System, both_ways: str
) -> None:
    async def slow(actor: Worker) -> None:
        await trio.sleep(10)
        actor.notes.append("done")

    ref = await system.start(Worker)
    with pytest.raises(CallTimeout):
        await ref.call(Await(slow), timeout=1)
    assert await ref.call(Notes(), timeout=20) == ["done"]


async def test_K10_a_deadline_caps_the_calls_made_inside_the_handler(
    system: System, both_ways: str
) -> None:
    inner, outer = await system.start(Worker), await system.start(Worker)
    seen: list[CallTimeout] = []

    async def ask(actor: Worker) -> object:
        try:
            return await inner.call(Await(lambda _: trio.sleep(100)), timeout=50)
        except CallTimeout as error:
            seen.append(error)
            assert trio.current_time() == pytest.approx(2)
            raise

    with pytest.raises(CallTimeout) as caught:
        await outer.call(Await(ask), timeout=2)
    assert caught.value.inherited is False
    await wait_all_tasks_blocked()
    assert [each.inherited for each in seen] == [True]
    assert seen[0].timeout == 50
    assert "the deadline of the call being handled here has passed" in str(seen[0])


async def test_K10_an_inherited_timeout_leaving_the_handler_ends_the_turn_and_not_the_actor(
    system: System, both_ways: str
) -> None:
    inner, outer = await system.start(Worker), await system.start(Worker)

    async def ask(actor: Worker) -> object:
        return await inner.call(Await(lambda _: trio.sleep(100)), timeout=None)

    with pytest.raises(CallTimeout):
        await outer.call(Await(ask), timeout=2)
    await trio.sleep(1)
    assert await outer.call(Do(lambda actor: "alive")) == "alive"
    assert outer.incarnation == 1


async def test_K10_a_timeout_of_the_calls_own_leaving_the_handler_is_a_crash(
    system: System, both_ways: str
) -> None:
    inner, outer = await system.start(Worker), await system.start(Worker)

    async def ask(actor: Worker) -> object:
        return await inner.call(Await(lambda _: trio.sleep(100)), timeout=1)

    with pytest.raises(ActorDied) as caught:
        await outer.call(Await(ask), timeout=2)
    assert isinstance(caught.value.__cause__, CallTimeout)
    assert caught.value.__cause__.inherited is False


async def test_K10_a_call_whose_deadline_has_passed_is_not_sent(
    system: System, both_ways: str
) -> None:
    inner, outer = await system.start(Worker), await system.start(Worker)

    async def ask(actor: Worker) -> None:
        await trio.sleep(3)
        try:
            await inner.call(Do(lambda other: other.notes.append("sent")), timeout=100)
        except CallTimeout as error:
            actor.notes.append(error.inherited)

    with pytest.raises(CallTimeout):
        await outer.call(Await(ask), timeout=2)
    assert await outer.call(Notes()) == [True]
    assert await inner.call(Notes()) == []


async def test_K10_a_deadline_goes_down_a_chain_of_calls(system: System) -> None:
    refs = [await system.start(Worker) for _ in range(5)]
    deadlines: list[float | None] = []

    async def ask(actor: Worker, depth: int) -> object:
        deadlines.append(actor.envelope.deadline)
        if depth == 0:
            return await trio.sleep(100)
        return await refs[depth - 1].call(
            Await(lambda other: ask(other, depth - 1)), timeout=10 * depth
        )

    with pytest.raises(CallTimeout):
        await refs[4].call(Await(lambda actor: ask(actor, 4)), timeout=3)
    assert deadlines == [pytest.approx(3)] * 5
    await trio.sleep(1)
    assert all(ref.alive for ref in refs)


async def test_K10_a_shorter_timeout_counts_inside_a_longer_one(system: System) -> None:
    inner, outer = await system.start(Worker), await system.start(Worker)

    async def ask(actor: Worker) -> str:
        try:
            await inner.call(Await(lambda _: trio.sleep(100)), timeout=1)
        except CallTimeout as error:
            return f"inherited: {error.inherited}"
        return "answered"

    assert await outer.call(Await(ask), timeout=10) == "inherited: False"


async def test_K10_tasks_of_a_nursery_inside_a_handler_belong_to_its_turn(
    system: System,
) -> None:
    inner, outer = await system.start(Worker), await system.start(Worker)
    ends: list[tuple[bool, float]] = []

    async def ask() -> None:
        try:
            await inner.call(Do(lambda other: other.later()), timeout=100)
        except CallTimeout as error:
            ends.append((error.inherited, trio.current_time()))

    async def fan_out(actor: Worker) -> None:
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
                nursery.start_soon(inner.send, Note(actor.envelope.id))

    with pytest.raises(CallTimeout):
        await outer.call(Await(fan_out), timeout=2)
    await wait_all_tasks_blocked()
    assert ends == [(True, pytest.approx(2))] * 3
    envelopes = inner._place.actor.envelopes
    assert [(each.sender, each.causation_id) for each in envelopes] == [
        (outer, each.message.value) for each in envelopes
    ]


async def test_K10_after_the_turn_sender_and_correlation_remain_in_start_soon(
    system: System, both_ways: str
) -> None:
    inner, outer = await system.start(Worker), await system.start(Worker)
    first: list[Envelope] = []

    async def side() -> None:
        inner.cast(Note("cast"))
        await inner.send(Note("sent"))
        await trio.sleep(10)
        inner.cast(Note("long after"))
        # No deadline is left of the turn, which had two seconds.
        await inner.call(Await(lambda _: trio.sleep(4)))
        inner.cast(Note("done"))

    def begin(actor: Worker) -> None:
        first.append(actor.envelope)
        actor.start_soon(side)

    async def begin_async(actor: Worker) -> None:
        begin(actor)

    for message in (Do(begin), Await(begin_async)):
        await outer.call(message, timeout=2)
        await trio.sleep(20)
        envelopes = inner._place.actor.envelopes
        assert [each.message.value for each in envelopes] == [
            "cast",
            "sent",
            "long after",
            "done",
        ]
        for each in envelopes:
            assert each.sender == outer
            assert each.correlation_id == first[-1].correlation_id
            assert each.causation_id is None
        envelopes.clear()


async def test_K10_in_timers_sender_and_correlation_remain(system: System, both_ways: str) -> None:
    ref = await system.start(Worker)
    first: list[Envelope] = []

    def set_timers(actor: Worker) -> None:
        first.append(actor.envelope)
        actor.after(1, Note("after"))
        timer = actor.every(2, Note("every"))
        actor.after(5, DoSoon(lambda _: timer.cancel()))

    async def set_timers_async(actor: Worker) -> None:
        set_timers(actor)

    for message in (Do(set_timers), Await(set_timers_async)):
        await ref.call(message, timeout=2)
        await trio.sleep(10)
        envelopes = ref._place.actor.envelopes
        assert [each.message.value for each in envelopes] == ["after", "every", "every"]
        for each in envelopes:
            assert (each.sender, each.causation_id) == (ref, None)
            assert each.correlation_id == first[-1].correlation_id
            assert each.deadline is None
        assert len({each.id for each in envelopes}) == 3
        envelopes.clear()


async def test_K10_a_chain_of_casts_keeps_its_correlation_and_names_its_causes(
    system: System, both_ways: str
) -> None:
    refs = [await system.start(Worker) for _ in range(3)]
    envelopes: list[Envelope] = []

    def step(actor: Worker, depth: int) -> None:
        envelopes.append(actor.envelope)
        if depth < 3:
            refs[depth].cast(DoSoon(lambda other: step(other, depth + 1)))

    refs[0].cast(DoSoon(lambda actor: step(actor, 0)))
    await wait_all_tasks_blocked()
    first = envelopes[0]
    assert first.correlation_id == first.id and first.causation_id is None
    assert [each.correlation_id for each in envelopes] == [first.id] * 4
    assert [each.causation_id for each in envelopes[1:]] == [each.id for each in envelopes[:3]]
    assert [each.sender for each in envelopes] == [None, refs[0], refs[0], refs[1]]
    assert len({each.id for each in envelopes}) == 4


async def test_K10_the_deadline_in_the_envelope_is_that_of_the_caller(
    system: System, both_ways: str
) -> None:
    ref = await system.start(Worker)
    ask = Do(lambda actor: actor.envelope.deadline)
    assert await ref.call(ask) == pytest.approx(5)
    assert await ref.call(ask, timeout=9) == pytest.approx(9)
    assert await ref.call(ask, timeout=None) is None
    seen: list[float | None] = []
    ref.cast(DoSoon(lambda actor: seen.append(actor.envelope.deadline)))
    await ref.call(Notes())
    assert seen == [None]


# -- K19


async def test_K19_a_side_task_runs_beside_the_turns(system: System, both_ways: str) -> None:
    async def tick(actor: Worker) -> None:
        for number in range(3):
            actor.notes.append(number)
            await trio.sleep(1)

    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.start_soon(tick, actor)))
    await trio.sleep(0.5)
    assert await ref.call(Notes()) == [0]
    await trio.sleep(5)
    assert await ref.call(Notes()) == [0, 1, 2]
    assert not ref._place.side


@pytest.mark.parametrize("end", ["stop", "kill", "crash"])
async def test_K19_a_side_task_lives_no_longer_than_its_actor(
    system: System, both_ways: str, end: str
) -> None:
    log: list[str] = []

    async def side() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("side task ended")

    class Ends(Worker):
        def on_stop(self, exit: object) -> None:
            log.append("on_stop")

    def begin(actor: Worker) -> None:
        for _ in range(3):
            actor.start_soon(side)

    def crash(actor: Worker) -> None:
        raise ValueError

    ref = await system.start(Ends)
    await ref.call(Do(begin))
    await wait_all_tasks_blocked()
    if end == "crash":
        ref.cast(DoSoon(crash))
        await ref.wait()
    else:
        await ref.stop(Killed() if end == "kill" else None)
    assert log == ["side task ended"] * 3 + (["on_stop"] if end != "kill" else [])
    await wait_all_tasks_blocked()
    assert tasks_of(ref) == []


async def test_K19_the_end_of_an_actor_waits_for_the_end_of_its_side_tasks(
    system: System,
) -> None:
    async def lingers() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(0.5)

    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.start_soon(lingers)))
    await wait_all_tasks_blocked()
    began = trio.current_time()
    await ref.stop()
    assert trio.current_time() - began == pytest.approx(0.5)


async def test_K19_the_crash_of_a_side_task_is_the_actors(system: System, both_ways: str) -> None:
    async def crash() -> None:
        await trio.sleep(1)
        raise ValueError("beside")

    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.start_soon(crash)))
    exit = await ref.wait()
    assert isinstance(exit, Crashed) and str(exit.exception) == "beside"


async def test_K19_the_crash_of_a_side_task_cancels_the_running_turn_first(
    system: System,
) -> None:
    log: list[str] = []

    async def crash() -> None:
        await trio.sleep(1)
        raise ValueError("beside")

    async def long(actor: Worker) -> None:
        actor.start_soon(crash)
        try:
            await trio.sleep_forever()
        finally:
            log.append("turn cancelled")

    class Ends(Worker):
        def on_stop(self, exit: object) -> None:
            log.append("on_stop")

    ref = await system.start(Ends)
    with pytest.raises(ActorDied) as caught:
        await ref.call(Await(long), timeout=None)
    assert str(caught.value.__cause__) == "beside"
    await ref.wait()
    assert log == ["turn cancelled", "on_stop"]


async def test_K19_a_side_task_of_on_start_that_crashes_fails_the_start(
    system: System,
) -> None:
    async def crash() -> None:
        raise ValueError("beside")

    class Starts(Worker):
        async def on_start(self) -> None:
            self.start_soon(crash)
            await trio.sleep(1)

    with pytest.raises(StartFailed) as caught:
        await system.start(Starts)
    assert str(caught.value.__cause__) == "beside"


async def test_K19_side_tasks_of_a_start_that_failed_end_before_the_starter_hears_of_it(
    system: System,
) -> None:
    log: list[str] = []

    async def side() -> None:
        try:
            await trio.sleep_forever()
        finally:
            log.append("ended")

    class Plain(Worker):
        def on_start(self) -> None:
            self.start_soon(side)
            raise ValueError("plain")

    class Async(Worker):
        async def on_start(self) -> None:
            self.start_soon(side)
            await trio.sleep(1)
            raise ValueError("async")

    for cls in (Plain, Async):
        with pytest.raises(StartFailed) as caught:
            await system.start(cls)
        assert isinstance(caught.value.__cause__, ValueError)
        log.append("starter told")
    assert [each for each in log if each == "starter told"] == ["starter told"] * 2
    assert log[-2:] == ["ended", "starter told"]


async def test_K19_start_soon_takes_an_async_function(system: System) -> None:
    ref = await system.start(Worker)
    with pytest.raises(ActorDied) as caught:
        await ref.call(Do(lambda actor: actor.start_soon(3)))
    assert "takes an async function and arguments. Got: 3" in str(caught.value.__cause__)


async def test_K19_a_side_task_may_call_its_own_actor(system: System, both_ways: str) -> None:
    """It is no turn: nothing waits in a circle."""
    answers: list[object] = []

    async def side(ref: Ref[Any]) -> None:
        answers.append(await ref.call(Do(lambda actor: "from the actor")))

    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.start_soon(side, actor.ref)))
    await wait_all_tasks_blocked()
    assert answers == ["from the actor"]


async def test_K19_a_side_task_may_stop_its_own_actor_and_is_ended_by_that(
    system: System,
) -> None:
    log: list[str] = []

    async def side(ref: Ref[Any]) -> None:
        try:
            await ref.stop()
        finally:
            log.append("cancelled")

    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.start_soon(side, actor.ref)))
    await ref.wait()
    assert log == ["cancelled"]


async def test_K19_what_a_side_task_stashes_back_is_handled_without_a_further_message(
    system: System, both_ways: str
) -> None:
    class Stashes(Worker):
        open = False

        def note(self, message: Note) -> None:
            if not self.open:
                self.stash()
                return
            super().note(message)

        async def open_later(self) -> None:
            await trio.sleep(1)
            self.open = True
            self.unstash()

    ref = await system.start(Stashes)
    await ref.call(Do(lambda actor: actor.start_soon(actor.open_later)))
    for number in range(3):
        ref.cast(Note(number))
    await trio.sleep(2)
    assert ref._place.actor.notes == [0, 1, 2]


async def test_K19_suspended_and_resumed_beside_a_side_task(system: System) -> None:
    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.start_soon(nap, actor)))
    await suspend(ref)
    await resume(ref)
    await trio.sleep(2)
    assert ref.alive


# -- both ways of running turns, where the handler hands its answer on


async def test_K5_a_deferred_answer_of_a_callers_turn_keeps_the_timeout_of_the_call(
    system: System,
) -> None:
    for without in (False, True):
        if without:
            without_caller_turns(system)
        ref = await system.start(Worker)
        began = trio.current_time()
        with pytest.raises(CallTimeout) as caught:
            await ref.call(Do(lambda actor: actor.later()), timeout=2)
        assert trio.current_time() - began == pytest.approx(2)
        assert (caught.value.timeout, caught.value.inherited) == (2, False)
