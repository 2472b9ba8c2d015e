"""P. Calls, replies, and requests whose answers are fetched later."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
import trio.testing
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorDied,
    Call,
    CallCycle,
    CallTimeout,
    Crashed,
    Exit,
    Killed,
    Later,
    Normal,
    NoSuchActor,
    Ref,
    Shutdown,
    System,
    handles,
)
from actors.introspection import last_messages, record
from actors.testing import dead_letters
from supervisors import Child, DynamicSupervisor, StartChild, WhichChildren, one_for_one
from tests.conformance.recorders import (
    BOOM,
    EXITS,
    Ask,
    Do,
    Log,
    Note,
    Recorder,
    Run,
    checkpoint,
    defers,
    end,
    naps,
    outcome,
    raises,
)

pytestmark = pytest.mark.usefixtures("both_ways")


async def echo(_: Recorder) -> str:
    return "async"


@pytest.mark.parametrize(
    ("message", "answer"), [(Ask("plain"), "plain"), (Run(echo), "async"), (Ask(None), None)]
)
async def test_P1_a_call_returns_the_reply(
    system: System, message: Call[Any], answer: object
) -> None:
    ref = await system.start(Recorder)
    assert await ref.call(message) == answer


async def test_P2_a_reply_may_come_from_a_later_turn(system: System) -> None:
    ref = await system.start(Recorder)
    laters: list[Later[str]] = []
    results: Log = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, ref, defers(laters), results)
        await wait_all_tasks_blocked()
        assert await ref.call(Ask("meanwhile")) == "meanwhile"
        assert results == []
        ref.cast(Do(lambda _: laters[0].reply("at last")))
    assert results == ["at last"]


@pytest.mark.parametrize("timeout", [1.0, 0.25, 0])
async def test_P3_a_timeout_is_raised_in_the_caller_only(system: System, timeout: float) -> None:
    ref = await system.start(Recorder)

    async def slowly(self: Recorder) -> None:
        await trio.sleep(10)
        self.log.append("done")

    await ref.call(Ask())
    with pytest.raises(CallTimeout) as expired:
        await ref.call(Run(slowly), timeout=timeout)
    assert expired.value.timeout == timeout
    assert expired.value.ref == ref
    assert not expired.value.inherited
    assert trio.current_time() == timeout
    log = await ref.call(Do(lambda self: self.log), timeout=None)
    assert log == (["done"] if timeout else [])


async def test_P3_a_call_waits_five_seconds_unless_told_otherwise(system: System) -> None:
    ref = await system.start(Recorder)
    assert await ref.call(naps(4.9, "in time")) == "in time"
    start = trio.current_time()
    with pytest.raises(CallTimeout):
        await ref.call(naps(6))
    assert trio.current_time() == start + 5.0
    assert await ref.call(naps(60, "patience"), timeout=None) == "patience"


async def test_P3_a_caller_that_is_an_actor_may_catch_it(system: System) -> None:
    server, caller = await system.start(Recorder), await system.start(Recorder)

    async def try_it(_: Recorder) -> str:
        try:
            await server.call(naps(2), timeout=1)
        except CallTimeout:
            return "gave up"
        return "answered"

    assert await caller.call(Run(try_it)) == "gave up"
    assert await server.call(Ask("alive")) == await caller.call(Ask("alive")) == "alive"


class Collector(Recorder):
    """A recorder that also keeps whatever else comes into its mailbox."""

    @handles
    def anything(self, message: object) -> None:
        self.log.append(message)


@pytest.mark.parametrize("how", ["timeout", "cancelled"])
async def test_P4_a_late_reply_is_dropped(system: System, how: str) -> None:
    log: Log = []
    letters = dead_letters(system)
    laters: list[Later[str]] = []
    server, caller = await system.start(Recorder), await system.start(Collector, log)
    await record(caller)

    async def give_up(_: Collector) -> str:
        if how == "timeout":
            with pytest.raises(CallTimeout):
                await server.call(defers(laters), timeout=1)
        else:
            with trio.move_on_after(1):
                await server.call(defers(laters))
        return "gave up"

    give_up_message = Run(give_up)
    assert await caller.call(give_up_message) == "gave up"
    assert laters[0].done
    await server.call(Do(lambda _: laters[0].reply("late")))
    await trio.sleep(1.1)
    assert log == letters == []
    assert await last_messages(caller) == [give_up_message]
    assert await caller.call(Ask("clean")) == "clean"


@pytest.mark.parametrize("exit", EXITS)
@pytest.mark.parametrize("timeout", [5.0, 60.0, None])
async def test_P5_a_call_to_the_dead_fails_at_once(
    system: System, exit: Exit, timeout: float | None
) -> None:
    ref = await system.start(Recorder, name="server")
    await end(ref, exit)
    with pytest.raises(NoSuchActor) as nobody:
        await ref.call(Ask(), timeout=timeout)
    assert nobody.value.ref == ref
    assert nobody.value.message == Ask()
    assert system.whereis("server") is None
    assert trio.current_time() == 0.0


@pytest.mark.parametrize("kind", ["static", "dynamic"])
async def test_P5_also_while_its_supervisor_still_stops(system: System, kind: str) -> None:
    """K12: nobody is to come, so nothing is to be waited for; the last words of one that calls a
    sibling which has stopped do not cost it its shutdown time."""
    log: Log = []

    class CallsAtItsEnd(Recorder):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(1)
            sibling = self.system.whereis("sibling")
            with pytest.raises(NoSuchActor):
                await refs[1].call(Ask())
            self.log.append((sibling, trio.current_time()))

    specs: list[Child[Any]] = [Child(CallsAtItsEnd, log), Child(Recorder, name="sibling")]
    parent: Ref[Any]
    if kind == "static":
        parent = await system.start(one_for_one(*specs, restart="temporary"))
        refs = [each.ref for each in await parent.call(WhichChildren())]
    else:
        parent = await system.start(Child(DynamicSupervisor, restart="temporary"))
        refs = [await parent.call(StartChild(each)) for each in specs]
    await parent.stop()
    assert log == [(None, 1.0)]


@pytest.mark.parametrize("exit", EXITS)
@pytest.mark.parametrize("timeout", [5.0, None])
async def test_P6_a_pending_call_gets_the_exit_at_once(
    system: System, exit: Exit, timeout: float | None
) -> None:
    ref = await system.start(Recorder)
    errors: list[ActorDied] = []

    async def caller() -> None:
        with pytest.raises(ActorDied) as died:
            await ref.call(defers([]), timeout=timeout)
        errors.append(died.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller)
        await wait_all_tasks_blocked()
        await end(ref, exit)
    assert [each.exit for each in errors] == [exit]
    assert errors[0].__cause__ is (BOOM if isinstance(exit, Crashed) else None)
    assert errors[0].ref == ref
    assert trio.current_time() == 0.0


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_P6_the_caller_of_the_message_that_crashed_gets_the_cause(
    system: System, kind: str
) -> None:
    ref = await system.start(Recorder)

    async def crash(_: Recorder) -> None:
        await trio.lowlevel.checkpoint()
        raise BOOM

    with pytest.raises(ActorDied) as died:
        await ref.call(Do(raises(BOOM)) if kind == "plain" else Run(crash))
    assert died.value.exit == Crashed(BOOM)
    assert died.value.__cause__ is BOOM
    assert trio.current_time() == 0.0


async def test_P6_after_a_crash_the_caller_is_told_before_on_stop_runs(system: System) -> None:
    """K4: however long the last words take."""

    class Talkative(Recorder):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(3)
            self.log.append(exit)

    log: Log = []
    ref = await system.start(Talkative, log)
    with pytest.raises(ActorDied):
        await ref.call(Do(raises(BOOM)))
    assert trio.current_time() == 0.0
    assert log == []
    assert await ref.wait() == Crashed(BOOM)
    assert log == [Crashed(BOOM)]


@pytest.mark.parametrize("timeout", [5.0, None])
@pytest.mark.parametrize("through", ["ref", "name"])
async def test_P7_a_call_to_itself_is_refused_at_once(
    system: System, timeout: float | None, through: str
) -> None:
    ref = await system.start(Recorder, name="me")

    async def call_itself(self: Recorder) -> object:
        me = self.ref if through == "ref" else self.system.whereis("me")
        assert me is not None
        with pytest.raises(CallCycle, match=r"/me → /me") as cycle:
            await me.call(Ask(), timeout=timeout)
        return cycle.value.chain

    assert await ref.call(Run(call_itself)) == (ref, ref)
    assert trio.current_time() == 0.0
    assert await ref.call(Ask("alive")) == "alive"


async def test_P7_so_is_one_from_on_start(system: System) -> None:
    class Impatient(Recorder):
        async def on_start(self) -> None:
            with pytest.raises(CallCycle):
                await self.ref.call(Ask())
            self.log.append("refused")

    log: Log = []
    assert (await system.start(Impatient, log)).alive
    assert log == ["refused"]


def awaitable(actor: Recorder) -> object:
    return checkpoint(actor)


def somebody_elses_later(self: Recorder) -> object:
    return Later(None) if self.log else self.later()


@pytest.mark.parametrize(
    ("junk", "text"),
    [(awaitable, "returned an awaitable"), (somebody_elses_later, "another message")],
)
async def test_P9_a_result_that_is_no_answer_crashes_and_the_caller_sees_it(
    system: System, junk: Callable[[Any], object], text: str
) -> None:
    """Any object is an answer but two: an awaitable nobody awaits, and another message's Later."""
    ref = await system.start(Recorder, ["not empty"])
    with pytest.raises(ActorDied) as died:
        await ref.call(Do(junk))
    assert isinstance(died.value.__cause__, TypeError)
    assert text in str(died.value.__cause__)
    assert (await ref.wait()) == died.value.exit


@pytest.mark.parametrize("exit", [Normal(), Shutdown(), Shutdown("done")])
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_P10_stopping_with_a_reply(system: System, exit: Exit, kind: str) -> None:
    def stop(self: Recorder) -> str:
        self.stop(exit)
        return "bye"

    async def stop_slowly(self: Recorder) -> str:
        self.stop(exit)
        await trio.sleep(1)
        return "bye"

    ref = await system.start(Recorder)
    assert await ref.call(Do(stop) if kind == "plain" else Run(stop_slowly)) == "bye"
    assert await ref.wait() == exit
    assert not ref.alive


@pytest.mark.parametrize("exit", [Normal(), Shutdown(), Shutdown("done"), Crashed(BOOM)])
async def test_P11_stopping_without_a_reply(system: System, exit: Exit) -> None:
    def stop(self: Recorder) -> object:
        self.stop(exit)
        return self.later()

    ref = await system.start(Recorder)
    with pytest.raises(ActorDied) as died:
        await ref.call(Do(stop))
    assert died.value.exit == exit
    assert trio.current_time() == 0.0


@pytest.mark.parametrize("by", ["another actor", "a task", "a forward"])
async def test_P12_somebody_else_may_reply(system: System, by: str) -> None:
    front, back = await system.start(Recorder), await system.start(Recorder)
    laters: list[Later[str]] = []
    results: Log = []

    def pass_on(self: Recorder) -> object:
        back.forward(self.envelope)
        return "dropped"

    def answered(self: Recorder) -> str:
        return "from behind" if self.ref == back else str(pass_on(self))

    async with trio.open_nursery() as nursery:
        message = Do(answered) if by == "a forward" else defers(laters)
        nursery.start_soon(outcome, front, message, results)
        await wait_all_tasks_blocked()
        if by == "another actor":
            back.cast(Do(lambda _: laters[0].reply("from behind")))
        elif by == "a task":
            laters[0].reply("from behind")
    assert results == ["from behind"]


async def test_P14_a_request_is_a_task_that_calls(system: System) -> None:
    alive, dead = await system.start(Recorder), await system.start(Recorder)
    await dead.stop()
    results: Log = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, alive, Ask("hello"), results, "alive")
        nursery.start_soon(outcome, dead, Ask("hello"), results, "dead")
    by_label = dict(results)
    assert by_label["alive"] == "hello"
    assert isinstance(by_label["dead"], NoSuchActor)


async def test_P16_giving_up_waiting_abandons_the_request(system: System) -> None:
    ref = await system.start(Recorder)
    laters: list[Later[str]] = []
    with trio.move_on_after(2) as scope:
        await ref.call(defers(laters))
    assert scope.cancelled_caught
    assert trio.current_time() == 2.0
    results: Log = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, ref, defers(laters), results)
        await wait_all_tasks_blocked()
        laters[0].reply("to the first request")
        await wait_all_tasks_blocked()
        assert results == []
        laters[1].reply("to the second")
    assert results == ["to the second"]


async def test_P16_an_abandoned_request_that_had_no_turn_yet_gets_none(system: System) -> None:
    """K9: skipped, and counted."""
    log: Log = []
    ref = await system.start(Recorder, log)
    ref.cast(naps(2))
    await wait_all_tasks_blocked()
    with trio.move_on_after(1):
        await ref.call(Do(lambda self: self.log.append("too late")))
    await trio.sleep(5)
    assert log == []
    assert system.scheduler.abandoned == 1


async def test_P17_two_requests_are_answered_in_the_order_they_came(system: System) -> None:
    ref = await system.start(Recorder)
    results: Log = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, ref, naps(2, "first"), results)
        await wait_all_tasks_blocked()
        nursery.start_soon(outcome, ref, naps(1, "second"), results)
        await wait_all_tasks_blocked()
        nursery.start_soon(outcome, ref, Ask("third"), results)
    assert results == ["first", "second", "third"]
    assert trio.current_time() == 3.0


async def test_P18_of_many_requests_the_answers_come_as_they_are_ready(system: System) -> None:
    refs = {name: await system.start(Recorder) for name in ("slow", "quick", "middle")}
    seconds = {"slow": 3, "quick": 1, "middle": 2}
    results: Log = []
    async with trio.open_nursery() as nursery:
        for name, ref in refs.items():
            nursery.start_soon(outcome, ref, naps(seconds[name]), results, name)
        await wait_all_tasks_blocked()
        sizes = []
        for _ in range(4):
            sizes.append(len(nursery.child_tasks))
            await trio.sleep(1)
            await wait_all_tasks_blocked()
    assert [label for label, _ in results] == ["quick", "middle", "slow"]
    assert sizes == [3, 2, 1, 0]


async def test_P21_one_that_dies_is_the_failure_of_its_own_request(system: System) -> None:
    refs = {name: await system.start(Recorder) for name in ("one", "two", "three")}
    results: Log = []
    async with trio.open_nursery() as nursery:
        for name, ref in refs.items():
            nursery.start_soon(outcome, ref, naps(2, "done"), results, name)
        await trio.sleep(1)
        await refs["two"].stop(Killed())
        await trio.testing.wait_all_tasks_blocked()
        assert [label for label, _ in results] == ["two"]
    by_label = dict(results)
    assert isinstance(by_label["two"], ActorDied)
    assert by_label["one"] == by_label["three"] == "done"


async def test_P22_several_waits_may_share_one_deadline(system: System) -> None:
    refs = [await system.start(Recorder) for _ in range(3)]
    answers: Log = []
    with trio.move_on_at(trio.current_time() + 5) as scope:
        for number, ref in enumerate(refs):
            await ref.call(naps(2), timeout=None)
            answers.append(number)
    assert answers == [0, 1]
    assert scope.cancelled_caught
    assert trio.current_time() == 5.0


async def test_P22_within_a_handler_they_share_the_callers(system: System) -> None:
    """K10: what the handler is called with caps the calls it makes; it ends the turn only."""
    front, back = await system.start(Recorder), await system.start(Recorder)
    seen: Log = []

    async def ask_twice(_: Recorder) -> None:
        seen.append(await back.call(naps(2, "done")))
        try:
            await back.call(naps(2, "done"))
        except CallTimeout as error:
            seen.append((error.inherited, trio.current_time()))
            raise

    with pytest.raises(CallTimeout) as expired:
        await front.call(Run(ask_twice), timeout=3)
    await wait_all_tasks_blocked()
    assert not expired.value.inherited
    assert seen == ["done", (True, 3.0)]
    assert front.alive
    assert front.incarnation == 1


async def test_P23_what_comes_during_a_call_stays_in_the_mailbox(system: System) -> None:
    """There is nothing to tell apart: an answer never comes through the mailbox (K9)."""
    log: Log = []
    caller, server = await system.start(Collector, log), await system.start(Recorder)

    async def call_out(self: Collector) -> None:
        answer = await server.call(naps(2, "answer"))
        self.log.append(answer)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller.call, Run(call_out))
        await wait_all_tasks_blocked()
        for foreign in ("foreign", ("answer", 1), Note("noted")):
            caller.cast(foreign)
    await caller.call(Ask())
    assert log == ["answer", "foreign", ("answer", 1), "noted"]


async def test_P24_a_wrong_request_fails_where_it_is_made(system: System) -> None:
    """A name without owner gives no ref to send to; what is no ``Call`` cannot be called."""
    assert system.whereis("nobody") is None
    ref = await system.start(Recorder)
    no_call: Any = Note("no call")
    with pytest.raises(TypeError, match=r"call\(\) takes a Call.*Got: Note"):
        await ref.call(no_call)
    for timeout in (-1, math.nan, "1", True):
        wrong: Any = timeout
        with pytest.raises((TypeError, ValueError), match="timeout"):
            await ref.call(Do(lambda self: self.log.append("sent")), timeout=wrong)
    assert await ref.call(Do(lambda self: self.log)) == []


async def test_P24_a_plain_handler_cannot_call_and_is_told_so(system: System) -> None:
    ref, other = await system.start(Recorder), await system.start(Recorder)

    def call_out(_: Recorder) -> object:
        calling = other.call(Ask("unheard"))
        with pytest.raises(RuntimeError, match="async def"):
            calling.send(None)
        return "told"

    assert await ref.call(Do(call_out)) == "told"
    assert await other.call(Ask("alive")) == "alive"


async def test_P25_a_call_does_not_look_at_the_callers_mailbox(system: System) -> None:
    """The answer goes to a slot of its own: nothing is searched, nothing is moved."""
    caller = await system.start(Child(Recorder, mailbox=math.inf))
    server = await system.start(Recorder)

    async def calls(self: Recorder) -> list[float]:
        seconds = []
        for queued in (0, 100_000):
            for _ in range(queued):
                self.ref.cast(Note())
            best = math.inf
            for _ in range(20):
                began = time.perf_counter()
                for _ in range(20):
                    await server.call(Ask())
                best = min(best, time.perf_counter() - began)
            seconds.append(best)
            assert self.log == []
        return seconds

    empty, crowded = await caller.call(Run(calls), timeout=None)
    assert crowded < 10 * empty


@attrs.frozen
class Within(Call[str]):
    """Begin a state that lasts so many seconds without a message."""

    seconds: float


@attrs.frozen
class Expired:
    """It has lasted that long."""


class Session(Recorder):
    """Waits for the next message, but not for ever."""

    @handles
    def begin(self, message: Within) -> str:
        self.idle_after(message.seconds, Expired())
        return "begun"

    @handles
    def expired(self, message: Expired) -> None:
        self.log.append(("expired", trio.current_time()))
        self.idle_after(None)


@pytest.mark.parametrize(("pause", "log"), [(1.9, []), (2.1, [("expired", 2.0)])])
async def test_P26_the_next_message_clears_a_time_limit(
    system: System, pause: float, log: Log
) -> None:
    found: Log = []
    ref = await system.start(Session, found)
    assert await ref.call(Within(2.0)) == "begun"
    await trio.sleep(pause)
    await ref.call(Do(lambda self: self.idle_after(None)))
    await trio.sleep(10)
    assert found == log
