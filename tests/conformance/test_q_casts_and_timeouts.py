"""Q. Casts, other messages, what goes on after a turn, and idle timeouts."""

from __future__ import annotations

import logging
import math

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    Exit,
    Idle,
    Normal,
    NoSuchActor,
    Ref,
    Shutdown,
    System,
    Unhandled,
    handles,
)
from actors.introspection import get_state, statistics
from actors.testing import dead_letters
from supervisors import Child
from tests.conformance.recorders import (
    BOOM,
    EXITS,
    Ask,
    Do,
    Log,
    Note,
    Recorder,
    Run,
    end,
    naps,
    outcome,
    raises,
)

pytestmark = pytest.mark.usefixtures("both_ways")


@attrs.frozen
class Foreign:
    """Nobody here handles this."""


@attrs.frozen
class ForeignCall(Call[int]):
    """Nor this."""


@pytest.mark.parametrize("exit", EXITS)
async def test_Q2_a_cast_to_the_dead_neither_waits_nor_raises(system: System, exit: Exit) -> None:
    letters = dead_letters(system)
    ref = await system.start(Recorder)
    await end(ref, exit)
    for _ in range(3):
        ref.cast(Note("lost"))
    assert [(each.ref, each.message) for each in letters] == [(ref, Note("lost"))] * 3


async def test_Q2_a_cast_does_not_wait_for_a_busy_actor(system: System) -> None:
    log: Log = []
    ref = await system.start(Recorder, log)
    ref.cast(naps(60))
    await wait_all_tasks_blocked()
    for number in range(100):
        ref.cast(Note(number))
    assert log == []
    assert trio.current_time() == 0.0
    await ref.call(Ask(), timeout=None)
    assert log == list(range(100))


async def test_Q4_a_message_nobody_handles_is_a_warning_and_the_actor_lives(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    letters = dead_letters(system)
    ref = await system.start(Recorder)
    ref.cast(Foreign())
    assert await ref.call(Ask("alive")) == "alive"
    assert ref.incarnation == 1
    warnings = [each for each in caplog.records if each.levelno >= logging.WARNING]
    assert [each.levelno for each in warnings] == [logging.WARNING]
    assert "Foreign()" in warnings[0].getMessage()
    assert ref.path in warnings[0].getMessage()
    assert [each.message for each in letters] == [Foreign()]


@pytest.mark.parametrize("error", [AttributeError, KeyError, TypeError, LookupError])
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_Q5_an_error_inside_a_handler_is_a_crash_and_not_a_missing_handler(
    system: System, error: type[Exception], kind: str
) -> None:
    async def crash(self: Recorder) -> None:
        await trio.lowlevel.checkpoint()
        raise error("inside")

    ref = await system.start(Recorder)
    with pytest.raises(ActorDied) as died:
        await ref.call(Do(raises(error("inside"))) if kind == "plain" else Run(crash))
    assert isinstance(died.value.__cause__, error)
    assert await ref.wait() == died.value.exit


async def test_Q6_a_call_nobody_handles_fails_its_caller_and_the_actor_lives(
    system: System,
) -> None:
    """K3: no crash, where OTP has one. The error names the message and what is handled."""
    ref = await system.start(Recorder)
    with pytest.raises(Unhandled, match=r"Note, Ask, Do, Run.*Got: ForeignCall") as unhandled:
        await ref.call(ForeignCall())
    assert unhandled.value.ref == ref
    assert unhandled.value.message == ForeignCall()
    assert await ref.call(Ask("alive")) == "alive"
    assert ref.incarnation == 1


class Eager(Recorder):
    """Sends itself a message while it starts."""

    def on_start(self) -> None:
        self.ref.cast(Note("own message"))

    def on_ready(self) -> None:
        self.log.append("ready")


class EagerAsync(Recorder):
    """The same, taking its time."""

    async def on_start(self) -> None:
        self.ref.cast(Note("own message"))
        await trio.sleep(1)

    async def on_ready(self) -> None:
        await trio.sleep(1)
        self.log.append("ready")


class EagerInInit(Recorder):
    """The same, earlier still."""

    def __init__(self, log: Log) -> None:
        super().__init__(log)
        self.ref.cast(Note("own message"))

    def on_ready(self) -> None:
        self.log.append("ready")


@pytest.mark.parametrize("cls", [Eager, EagerAsync, EagerInInit])
async def test_Q7_on_ready_runs_before_any_message(system: System, cls: type[Recorder]) -> None:
    log: Log = []
    ref = await system.start(cls, log)
    assert await ref.call(Ask("then")) == "then"
    assert log == ["ready", "own message"]


@pytest.mark.parametrize("cls", [Eager, EagerAsync])
async def test_Q7_also_before_what_waited_through_a_restart(
    system: System, cls: type[Recorder]
) -> None:
    """K12: the queue survives, and ``on_ready`` still comes first."""
    log: Log = []
    ref = await system.start(Child(cls, log))
    await ref.call(Ask())
    log.clear()
    ref.cast(Do(raises(BOOM)))
    ref.cast(Note("waited"))
    await ref.call(Ask())
    assert ref.incarnation == 2
    assert log == ["ready", "waited", "own message"]


@pytest.mark.parametrize("message", ["call", "cast"])
async def test_Q8_a_turn_may_answer_and_go_on_before_the_next_message(
    system: System, message: str
) -> None:
    """Instead of ``continue``: the answer is given through ``later``, and the turn goes on."""
    log: Log = []
    ref = await system.start(Recorder, log)

    async def answer_and_go_on(self: Recorder) -> object:
        later = self.later()
        later.reply("answered")
        await trio.sleep(2)
        self.log.append("went on")
        return later

    if message == "call":
        assert await ref.call(Run(answer_and_go_on)) == "answered"
    else:
        ref.cast(Run(answer_and_go_on))
        await wait_all_tasks_blocked()
    assert trio.current_time() == 0.0
    assert log == []
    ref.cast(Note("next"))
    await ref.call(Ask())
    assert log == ["went on", "next"]
    assert trio.current_time() == 2.0


class StopsWhenReady(Recorder):
    """Has nothing to do after all."""

    def on_ready(self) -> None:
        self.stop(Shutdown("not needed"))


class StopsWhenReadyAsync(Recorder):
    """The same, with more ado."""

    async def on_start(self) -> None:
        await trio.sleep(1)

    async def on_ready(self) -> None:
        await trio.sleep(1)
        self.stop(Shutdown("not needed"))


@pytest.mark.parametrize("cls", [StopsWhenReady, StopsWhenReadyAsync])
async def test_Q9_on_ready_may_stop_the_actor_before_its_first_message(
    system: System, cls: type[Recorder]
) -> None:
    log: Log = []
    ref = await system.start(cls, log)
    ref.cast(Note("never"))
    with pytest.raises(NoSuchActor):
        await ref.call(Ask())
    assert await ref.wait() == Shutdown("not needed")
    assert log == []


class Unready(Recorder):
    """Comes up, and the first times fails, or ends, at once."""

    def on_ready(self) -> None:
        self.log.append("ready")
        if len(self.log) == 1:
            raise BOOM.with_traceback(None)
        if len(self.log) == 2:
            self.stop()


class UnreadyAfterAwaiting(Unready):
    """The same; its start took a task."""

    async def on_start(self) -> None:
        await trio.sleep(1)


@pytest.mark.parametrize("cls", [Unready, UnreadyAfterAwaiting])
async def test_Q9_what_on_ready_comes_to_is_an_exit_and_no_failed_start(
    system: System, cls: type[Recorder]
) -> None:
    """K15: a counted crash. Nor is an end in ``on_ready`` the declining of ``on_start``."""
    log: Log = []
    ref = await system.start(Child(cls, log))
    assert await ref.call(Ask("up")) == "up"
    assert ref.incarnation == 3
    assert log == ["ready"] * 3


@pytest.mark.parametrize(("payload", "delivered"), [(None, Idle()), (Note("quiet"), "quiet")])
async def test_Q10_an_idle_timeout_comes_when_no_message_has(
    system: System, payload: object, delivered: object
) -> None:
    log: Log = []

    class Waits(Recorder):
        def on_start(self) -> None:
            self.idle_after(2.0, payload)

        @handles
        def idle(self, message: Idle) -> None:
            self.log.append(message)

    ref = await system.start(Waits, log)
    await trio.sleep(1.5)
    await ref.call(Ask())
    await trio.sleep(1.9)
    assert log == []
    await trio.sleep(0.2)
    assert log == [delivered]
    await trio.sleep(10)
    assert log == [delivered]


async def test_Q10_it_comes_again_after_the_next_message(system: System) -> None:
    log: Log = []
    ref = await system.start(Recorder, log)
    await ref.call(Do(lambda self: self.idle_after(2.0, Note("quiet"))))
    await trio.sleep(5)
    assert log == ["quiet"]
    await ref.call(Ask())
    await trio.sleep(1.9)
    assert log == ["quiet"]
    await trio.sleep(0.2)
    assert log == ["quiet", "quiet"]


@pytest.mark.parametrize("kind", ["after", "idle_after"])
async def test_Q12_a_timeout_of_zero_does_not_overtake(system: System, kind: str) -> None:
    """K16: only stop, supervision and introspection overtake. What is to come before any other
    message belongs into ``on_ready``, or into the turn."""
    log: Log = []
    ref = await system.start(Recorder, log)

    def set_it(self: Recorder) -> None:
        for each in ("first", "second"):
            self.ref.cast(Note(each))
        if kind == "after":
            self.after(0, Note("timeout"))
        else:
            self.idle_after(0, Note("timeout"))

    await ref.call(Do(set_it))
    await trio.sleep(1)
    assert log == ["first", "second", "timeout"]


async def test_Q13_a_waiting_message_wins_over_an_idle_timeout_of_zero(system: System) -> None:
    log: Log = []
    ref = await system.start(Recorder, log)

    def set_it(self: Recorder) -> None:
        self.idle_after(0, Note("idle"))
        self.ref.cast(Do(lambda self: (self.idle_after(None), self.log.append("won"))))

    await ref.call(Do(set_it))
    await trio.sleep(1)
    assert log == ["won"]


async def test_Q14_introspection_is_no_message_to_an_idle_timeout(system: System) -> None:
    log: Log = []
    ref = await system.start(Recorder, log)
    await ref.call(Do(lambda self: self.idle_after(2.0, Note("quiet"))))
    for _ in range(5):
        await trio.sleep(0.5)
        await get_state(ref)
        await statistics(ref)
    assert log == ["quiet"]


@pytest.mark.parametrize("never", [math.inf, None])
async def test_Q16_infinity_is_no_timer(system: System, never: float | None) -> None:
    log: Log = []
    ref = await system.start(Recorder, log)
    await ref.call(Do(lambda self: self.idle_after(2.0, Note("quiet"))))
    timers = len(system.scheduler.timers)
    await ref.call(Do(lambda self: self.idle_after(never, Note("never"))))
    assert len(system.scheduler.timers) == timers - 1
    await trio.sleep(10_000)
    assert log == []


@pytest.mark.parametrize("mailbox", [1, 3, 10_000])
@pytest.mark.parametrize("sender", ["the body", "an actor"])
async def test_Q19_messages_of_one_sender_come_in_the_order_of_sending(
    system: System, mailbox: int, sender: str
) -> None:
    """Casts, sends and calls, plain handlers and such that await, with room and without."""
    log: Log = []
    ref = await system.start(Child(Recorder, log, mailbox=mailbox))

    def slowly(number: int) -> Run:
        async def append(self: Recorder) -> None:
            if number % 10 == 0:
                await trio.sleep(0.01)
            self.log.append(number)

        return Run(append)

    async def send_all(_: object = None) -> None:
        for number in range(200):
            message = slowly(number) if number % 3 else Note(number)
            if number % 5 == 0 and isinstance(message, Run):
                await ref.call(message)
            elif mailbox > 200 and number % 2:
                ref.cast(message)
            else:
                await ref.send(message)
        await ref.call(Ask())

    if sender == "the body":
        await send_all()
    else:
        other = await system.start(Recorder)
        await other.call(Run(send_all), timeout=None)
    assert log == list(range(200))


async def test_Q20_publishing_does_not_stop_at_the_dead(system: System) -> None:
    probes = [system.probe() for _ in range(3)]
    for probe in probes:
        system.groups.join("feeds", probe.ref)
    await probes[1].ref.stop(Normal())
    assert system.groups.publish("feeds", Note("news")) == 2
    await wait_all_tasks_blocked()
    assert [probe.received for probe in probes] == [[Note("news")], [], [Note("news")]]


async def test_Q20_nor_does_calling_many(system: System) -> None:
    """A nursery is the multi-call: the answers, and who did not give one."""
    refs: list[Ref[Actor]] = [await system.start(Recorder) for _ in range(4)]
    await refs[1].stop()
    refs[2].cast(naps(60))
    replies: Log = []
    async with trio.open_nursery() as nursery:
        for number, ref in enumerate(refs):
            nursery.start_soon(outcome, ref, Ask(number), replies, number)
    by_label = dict(replies)
    assert by_label[0] == 0 and by_label[3] == 3
    assert isinstance(by_label[1], NoSuchActor)
    assert isinstance(by_label[2], TimeoutError)
    assert trio.current_time() == 5.0
