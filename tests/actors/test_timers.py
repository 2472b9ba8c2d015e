"""K18: timers of an actor, and the heap they are kept in."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from actors import Actor, ActorDied, ActorTimer, Call, Idle, MailboxFull, Ref, System, handles
from actors.introspection import get_state, resume, suspend
from actors.runtime.root import Temporary
from actors.timers import Timer, Timers
from supervisors import Child, StartChild, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.frozen
class Do(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class Await(Call[Any]):
    function: Callable[[Any], Any]


class Worker(Actor):
    def __init__(self) -> None:
        self.heard: list[tuple[float, object]] = []

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    async def wait(self, message: Await) -> Any:
        return await message.function(self)

    @handles
    def hear(self, message: str | Idle) -> None:
        self.heard.append((round(trio.current_time(), 3), message))


class Keeper(Supervisor):
    max_restarts = 1000


def heard(ref: Ref[Any]) -> list[tuple[float, object]]:
    return list(ref._place.actor.heard)


# -- after


async def test_K18_after_sends_the_actor_a_message_in_time(system: System, both_ways: str) -> None:
    ref = await system.start(Worker)

    def set_timers(actor: Worker) -> None:
        actor.after(2, "two")
        actor.after(0, "at once")
        actor.after(1, "one")
        actor.after(1, "one, too")

    await ref.call(Do(set_timers))
    await trio.sleep(5)
    assert heard(ref) == [(0, "at once"), (1, "one"), (1, "one, too"), (2, "two")]
    assert not ref._place.actor_timers


async def test_K18_a_timer_is_cancelled_and_says_what_remained(system: System) -> None:
    ref = await system.start(Worker)
    timer: ActorTimer = await ref.call(Do(lambda actor: actor.after(5, "never")))
    await trio.sleep(2)
    assert timer.remaining == pytest.approx(3)
    assert timer.cancel() == pytest.approx(3)
    assert timer.remaining is None
    assert timer.cancel() is None
    await trio.sleep(10)
    assert heard(ref) == []
    assert len(system.scheduler.timers) == 0


async def test_K18_cancelling_a_timer_takes_back_a_message_not_yet_handled(
    system: System,
) -> None:
    ref = await system.start(Worker)
    timer: ActorTimer = await ref.call(Do(lambda actor: actor.after(1, "taken back")))
    await ref.call(Do(lambda actor: actor.after(1, "stays")))
    await suspend(ref)
    await trio.sleep(2)
    assert timer.cancel() is None
    await resume(ref)
    await wait_all_tasks_blocked()
    assert heard(ref) == [(2, "stays")]
    assert ref._place.mailbox is not None and ref._place.mailbox.exempt == 0


@pytest.mark.parametrize("name", ["after", "every"])
@pytest.mark.parametrize("seconds", [-1, math.nan, "1", None, True])
async def test_K18_seconds_are_checked(system: System, name: str, seconds: Any) -> None:
    ref = await system.start(Worker)
    with pytest.raises(ActorDied) as caught:
        await ref.call(Do(lambda actor: getattr(actor, name)(seconds, "never")))
    assert isinstance(caught.value.__cause__, TypeError | ValueError)
    assert f"{name}(seconds) is " in str(caught.value.__cause__)
    assert str(caught.value.__cause__).endswith(f"Got: {seconds!r}")


# -- every


async def test_K18_every_sends_again_and_again_without_drift(
    system: System, both_ways: str
) -> None:
    ref = await system.start(Worker)
    timer: ActorTimer = await ref.call(Do(lambda actor: actor.every(2, "tick")))
    await trio.sleep(7)
    assert heard(ref) == [(2, "tick"), (4, "tick"), (6, "tick")]
    assert timer.cancel() == pytest.approx(1)
    await trio.sleep(7)
    assert len(heard(ref)) == 3


async def test_K18_at_most_one_tick_is_queued(system: System) -> None:
    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.every(1, "tick")))
    await suspend(ref)
    await trio.sleep(10.5)
    await resume(ref)
    await trio.sleep(2)
    assert heard(ref) == [(10.5, "tick"), (11, "tick"), (12, "tick")]


async def test_K18_a_tick_that_comes_while_the_handler_works_waits_for_it(
    system: System,
) -> None:
    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.every(1, "tick")))
    await ref.call(Await(lambda actor: trio.sleep(3.5)))
    await trio.sleep(1)
    assert heard(ref) == [(3.5, "tick"), (4, "tick")]


async def test_K18_late_ticks_are_not_made_up_for(system: System, virtual_clock: Any) -> None:
    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.every(1, "tick")))
    virtual_clock.jump(10.5)
    await trio.sleep(2)
    assert [when for when, _ in heard(ref)] == [10.5, 11, 12]


async def test_K18_every_takes_more_than_no_seconds(system: System) -> None:
    ref = await system.start(Worker)
    with pytest.raises(ActorDied) as caught:
        await ref.call(Do(lambda actor: actor.every(0, "never")))
    assert "more than 0 seconds. Got: 0" in str(caught.value.__cause__)


# -- the end of the incarnation


async def test_K18_timers_die_with_the_incarnation(system: System, both_ways: str) -> None:
    top = await system.start(Keeper)
    ref = await top.call(StartChild(Child(Worker)))

    def set_timers(actor: Worker) -> None:
        actor.after(1, "after")
        actor.every(1, "every")
        actor.idle_after(1)

    def crash(actor: Worker) -> None:
        raise ValueError

    await ref.call(Do(set_timers))
    with pytest.raises(ActorDied):
        await ref.call(Do(crash))
    await trio.sleep(5)
    assert ref.incarnation == 2
    assert heard(ref) == []
    assert len(system.scheduler.timers) == 0


async def test_K18_a_timers_message_that_is_queued_at_the_crash_dies_too(
    system: System,
) -> None:
    top = await system.start(Keeper)
    ref = await top.call(StartChild(Child(Worker)))

    def crash(actor: Worker) -> None:
        raise ValueError

    def set_timers(actor: Worker) -> None:
        actor.after(1, "after")
        actor.every(1, "every")

    await ref.call(Do(set_timers))
    await suspend(ref)
    ref.cast(Do(crash))
    await trio.sleep(2)
    ref.cast("a user's message")
    await resume(ref)
    await wait_all_tasks_blocked()
    assert ref.incarnation == 2
    assert heard(ref) == [(2, "a user's message")]


# -- idle_after


async def test_K18_idle_after_tells_when_no_message_has_come(
    system: System, both_ways: str
) -> None:
    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.idle_after(3)))
    await trio.sleep(2)
    await ref.call(Do(lambda actor: None))
    await trio.sleep(2)
    assert heard(ref) == []
    await trio.sleep(2)
    assert heard(ref) == [(5, Idle())]


async def test_K18_idle_comes_once_per_quiet_spell(system: System, both_ways: str) -> None:
    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.idle_after(1, "quiet")))
    await trio.sleep(10)
    assert heard(ref) == [(1, "quiet")]
    ref.cast("hello")
    await trio.sleep(10)
    assert heard(ref) == [(1, "quiet"), (10, "hello"), (11, "quiet")]


async def test_K18_requests_of_introspection_are_no_sign_of_life(system: System) -> None:
    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.idle_after(3)))
    for _ in range(5):
        await trio.sleep(1)
        await get_state(ref)
    assert heard(ref) == [(3, Idle())]


@pytest.mark.parametrize("end", [None, math.inf])
async def test_K18_idle_after_is_ended_and_replaced(system: System, end: Any) -> None:
    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.idle_after(3)))
    await ref.call(Do(lambda actor: actor.idle_after(1, "sooner")))
    await trio.sleep(5)
    assert heard(ref) == [(1, "sooner")]
    await ref.call(Do(lambda actor: actor.idle_after(end)))
    await trio.sleep(5)
    assert heard(ref) == [(1, "sooner")]
    assert len(system.scheduler.timers) == 0


async def test_K18_ending_idle_after_takes_back_what_is_queued(system: System) -> None:
    class Suspends(Worker):
        def hear(self, message: str | Idle) -> None:
            self.idle_after(None)
            super().hear(message)

    ref = await system.start(Suspends)
    await ref.call(Do(lambda actor: actor.idle_after(1)))
    await suspend(ref)
    await trio.sleep(2)
    place = ref._place
    assert place.mailbox is not None and place.mailbox.exempt == 1
    place.idle_timer.cancel()
    assert not place.mailbox and place.mailbox.exempt == 0


async def test_K18_an_actor_at_work_is_not_idle(system: System) -> None:
    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.idle_after(1)))
    await ref.call(Await(lambda actor: trio.sleep(4.5)))
    assert heard(ref) == []
    await trio.sleep(3)
    assert [what for _, what in heard(ref)] == [Idle()]


async def test_K18_idle_after_in_on_start(system: System) -> None:
    class Starts(Worker):
        def on_start(self) -> None:
            self.idle_after(2)
            self.after(1, "after")

    ref = await system.start(Starts)
    await trio.sleep(10)
    assert heard(ref) == [(1, "after"), (3, Idle())]


# -- the mailbox bound


async def test_K18_timers_downs_and_replies_never_count_against_the_mailbox_bound(
    system: System,
) -> None:
    class Hears(Worker):
        @handles
        def rest(self, message: object) -> None:
            self.heard.append((trio.current_time(), message))

    ref = await system.start_place(Temporary(Hears, mailbox=2))
    others = [await system.start(Worker) for _ in range(3)]

    def set_timers(actor: Hears) -> None:
        for number in range(3):
            actor.after(1, f"timer {number}")
            actor.monitor(others[number])

    await ref.call(Do(set_timers))
    await suspend(ref)
    await trio.sleep(2)
    for other in others:
        await other.stop()
    mailbox = ref._place.mailbox
    assert len(mailbox) == 6
    ref.cast("one")
    ref.cast("two")
    with pytest.raises(MailboxFull):
        ref.cast("three")
    await resume(ref)
    await wait_all_tasks_blocked()
    assert len(heard(ref)) == 8
    assert mailbox.exempt == 0


async def test_K18_a_message_out_of_the_bound_makes_no_room_when_it_leaves(
    system: System,
) -> None:
    """A sender that waits for room is let in by the end of a user's message, not of a timer's."""
    most = 0

    class Looks(Worker):
        def hear(self, message: str | Idle) -> None:
            nonlocal most
            place = self.ref._place
            assert place.mailbox is not None
            most = max(most, len(place.mailbox) - place.mailbox.exempt)
            super().hear(message)

    ref = await system.start_place(Temporary(Looks, mailbox=1))

    def set_timers(actor: Looks) -> None:
        for _ in range(3):
            actor.after(1, "timer")

    await ref.call(Do(set_timers))
    await suspend(ref)
    await trio.sleep(2)
    ref.cast("fills it")
    async with trio.open_nursery() as nursery:
        for number in range(4):
            nursery.start_soon(ref.send, f"sent {number}")
        await wait_all_tasks_blocked()
        await resume(ref)
    await wait_all_tasks_blocked()
    assert len(heard(ref)) == 8
    assert most == 1


# -- the heap


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that a heap without a loop sees."""
    now = [0.0]
    monkeypatch.setattr("actors.timers.trio.current_time", lambda: now[0])
    return now


def test_the_heap_fires_in_order_of_time_and_of_setting(clock: list[float]) -> None:
    timers, fired = Timers(), []
    for name, when in (("c", 3), ("a", 1), ("b", 2), ("b2", 2), ("a2", 1)):
        timers.at(when, lambda name=name: fired.append(name))
    timers.fire_due(2)
    assert fired == ["a", "a2", "b", "b2"]
    assert len(timers) == 1 and timers.earliest() == 3


def test_the_alarm_is_told_of_an_earlier_moment_only(clock: list[float]) -> None:
    timers, armed = Timers(), []
    timers.rearm = armed.append
    for when in (5, 7, 3, 4, 3):
        timers.at(when, lambda: None)
    assert armed == [5, 3]


def test_a_cancelled_timer_never_fires_and_counts_no_more(clock: list[float]) -> None:
    timers, fired = Timers(), []
    timer = timers.after(1, lambda: fired.append(1))
    other = timers.after(2, lambda: fired.append(2))
    timer.cancel()
    timer.cancel()
    assert len(timers) == 1 and timers.earliest() == 2
    timers.fire_due(5)
    other.cancel()
    assert fired == [2] and len(timers) == 0 and timers.earliest() == math.inf


@given(st.lists(st.tuples(st.floats(0, 100), st.booleans()), max_size=40), st.floats(0, 100))
def test_whatever_is_set_and_not_cancelled_fires_once_and_in_order(
    entries: list[tuple[float, bool]], until: float
) -> None:
    timers, fired = Timers(), []
    made: list[tuple[Timer, bool]] = []
    for index, (when, cancelled) in enumerate(entries):
        timer = timers.at(when, lambda when=when, index=index: fired.append((when, index)))
        made.append((timer, cancelled))
    for timer, cancelled in made:
        if cancelled:
            timer.cancel()
    for moment in (until, 1000):
        timers.fire_due(moment)
    wanted = [(when, index) for index, (when, cancelled) in enumerate(entries) if not cancelled]
    assert fired == sorted(wanted)
    assert len(timers) == 0


def test_the_heap_stays_small_while_timers_come_and_are_cancelled(clock: list[float]) -> None:
    timers = Timers()
    kept = [timers.at(1000 + number, lambda: None) for number in range(10)]
    for number in range(10_000):
        timers.at(number, lambda: None).cancel()
    assert len(timers) == 10 == len(kept)
    assert len(timers._heap) < 1000


async def test_K18_messages_in_the_queue_need_not_be_comparable(system: System) -> None:
    class Incomparable:
        def __eq__(self, other: object) -> bool:
            raise ValueError("ambiguous")

        __hash__ = None  # type: ignore[assignment]

    class Hears(Worker):
        @handles
        def rest(self, message: Incomparable) -> None:
            self.heard.append((trio.current_time(), "incomparable"))

    ref = await system.start(Hears)
    timer: ActorTimer = await ref.call(Do(lambda actor: actor.after(1, Incomparable())))
    await suspend(ref)
    ref.cast(Incomparable())
    await trio.sleep(2)
    ref.cast(Incomparable())
    timer.cancel()
    await resume(ref)
    await wait_all_tasks_blocked()
    assert [what for _, what in heard(ref)] == ["incomparable"] * 2


async def test_K18_a_timer_can_be_cancelled_when_its_actor_has_gone(system: System) -> None:
    ref = await system.start(Worker)
    timer: ActorTimer = await ref.call(Do(lambda actor: actor.after(5, "never")))
    await ref.stop()
    assert timer.remaining is None
    assert timer.cancel() is None


async def test_K18_a_message_of_a_timer_that_was_set_aside_stays_when_the_timer_is_cancelled(
    system: System,
) -> None:
    class Stashes(Worker):
        ready = False

        def hear(self, message: str | Idle) -> None:
            if not self.ready:
                self.stash()
                return
            super().hear(message)

        @handles
        def open(self, message: bytes) -> None:
            self.ready = True
            self.unstash()

    ref = await system.start(Stashes)
    timer: ActorTimer = await ref.call(Do(lambda actor: actor.every(1, "tick")))
    await trio.sleep(1.5)
    timer.cancel()
    ref.cast(b"open")
    await wait_all_tasks_blocked()
    assert [what for _, what in heard(ref)] == ["tick"]
