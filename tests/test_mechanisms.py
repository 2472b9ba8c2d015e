"""Each safety check fails once its mechanism is taken away.

A check here is a small program that ends well. Each is run twice: as it is, and with the one thing
that it stands on removed; then it must fail. So a check that would pass whatever the library does
does not stand here for long.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    CallCycle,
    CallTimeout,
    Down,
    Killed,
    Later,
    MailboxFull,
    Ref,
    Refusal,
    System,
    handles,
    open_system,
    turns,
)
from actors.mailbox import Mailbox
from actors.place import Place
from actors.registry import Registry
from actors.replies import Held, Slot
from actors.runtime import host, lifecycle, scheduler, watchdog
from actors.telemetry import Blocked, Telemetry
from actors.testing import VirtualClock
from actors.timers import Timers
from supervisors import Child, RestartLimitExceeded, one_for_one
from supervisors.policy import Window

Check: TypeAlias = Callable[[System], Awaitable[None]]
Removal: TypeAlias = Callable[[pytest.MonkeyPatch], object]


@attrs.frozen
class Do(Call[Any]):
    """Answered with ``function(actor)``, in a plain turn."""

    function: Callable[[Any], object]


@attrs.frozen
class Run(Call[Any]):
    """Answered with ``await function(actor)``, in the actor's own task."""

    function: Callable[[Any], Awaitable[object]]


@attrs.frozen
class Note:
    """Kept."""

    value: object = None


class Worker(Actor):
    """Does as it is told, and keeps notes."""

    def __init__(self, notes: list[object] | None = None) -> None:
        self.notes: list[object] = [] if notes is None else notes

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    async def run(self, message: Run) -> Any:
        return await message.function(self)

    @handles
    def note(self, message: Note | Down) -> None:
        self.notes.append(message)


def boom(_: object) -> object:
    raise ValueError("boom")


async def forever(_: object) -> object:
    await trio.sleep_forever()
    return None


# -- the checks


async def K11_who_would_wait_in_a_ring_is_told(system: System) -> None:
    a, b = await system.start(Worker), await system.start(Worker)

    async def calls_back(_: object) -> object:
        return await a.call(Do(lambda _: None), timeout=None)

    async def calls(_: object) -> object:
        with pytest.raises(ActorDied) as caught:
            await b.call(Run(calls_back), timeout=None)
        assert isinstance(caught.value.__cause__, CallCycle)
        return "told"

    with trio.fail_after(10):
        assert await a.call(Run(calls), timeout=None) == "told"


async def K2_a_full_mailbox_takes_no_more(system: System) -> None:
    ref = await system.start(Child(Worker, mailbox=3))
    ref.cast(Run(forever))
    await wait_all_tasks_blocked()
    for _ in range(3):
        ref.cast(Note())
    with pytest.raises(MailboxFull):
        ref.cast(Note())


async def S2_a_child_that_crashes_too_often_takes_its_supervisor_along(system: System) -> None:
    supervisor = await system.start(one_for_one(Child(Worker, name="worker"), restart="temporary"))
    ref = system.whereis("worker")
    assert ref is not None
    for _ in range(4):
        ref.cast(Do(boom))
        await wait_all_tasks_blocked()
    exit: Any = await _end_of(supervisor)
    assert isinstance(exit.exception, RestartLimitExceeded)


async def S2_crashes_far_apart_never_add_up(system: System) -> None:
    ref = await system.start(Child(Worker))
    for _ in range(10):
        ref.cast(Do(boom))
        await trio.sleep(6)
    assert ref.alive


async def K16_past_its_time_an_actor_is_killed(system: System) -> None:
    ref = await system.start(Worker)
    ref.cast(Run(forever))
    await wait_all_tasks_blocked()
    with trio.fail_after(100):
        await ref.stop()
    assert await ref.wait() == Killed()
    assert trio.current_time() == 5


async def K19_side_tasks_end_with_their_actor(system: System) -> None:
    beats: list[float] = []

    async def beat() -> None:
        for _ in range(20):
            await trio.sleep(1)
            beats.append(trio.current_time())

    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.start_soon(beat)))
    await trio.sleep(2.5)
    with trio.fail_after(10):
        await ref.stop()
    await trio.sleep(5)
    assert beats == [1, 2]


async def K19_the_crash_of_a_side_task_is_the_actors(system: System) -> None:
    async def side() -> None:
        raise ValueError("beside")

    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.start_soon(side)))
    await wait_all_tasks_blocked()
    assert ref.state == "gone"


async def K8_a_deferred_answer_fails_when_its_holder_dies(system: System) -> None:
    ref = await system.start(Worker)
    with trio.fail_after(10):
        async with trio.open_nursery() as nursery:

            async def caller() -> None:
                with pytest.raises(ActorDied):
                    await ref.call(Do(lambda actor: actor.later()), timeout=None)

            nursery.start_soon(caller)
            await wait_all_tasks_blocked()
            await ref.stop()


async def K10_a_call_ends_at_its_deadline(system: System) -> None:
    ref = await system.start(Worker)
    with trio.fail_after(10), pytest.raises(CallTimeout):
        await ref.call(Do(lambda actor: actor.later()), timeout=2)
    assert trio.current_time() == 2


async def K9_a_call_whose_caller_has_gone_is_skipped(system: System) -> None:
    ref = await system.start(Worker)
    done: list[object] = []
    ref.cast(Run(lambda _: trio.sleep(5)))
    with trio.move_on_after(1):
        await ref.call(Do(done.append), timeout=None)
    await trio.sleep(10)
    assert done == []


async def K9_the_first_answer_counts(system: System) -> None:
    def twice(actor: Worker) -> Later[Any]:
        later = actor.later()
        later.reply("first")
        later.reply("second")
        return later

    ref = await system.start(Worker)
    assert await ref.call(Do(twice)) == "first"


async def K12_a_name_is_free_when_its_actor_has_ended(system: System) -> None:
    for _ in range(2):
        ref = await system.start(Worker, name="the one")
        await ref.stop()
    assert system.whereis("the one") is None


async def K18_timers_end_with_their_incarnation(system: System) -> None:
    notes: list[object] = []
    ref = await system.start(Child(Worker, notes))
    await ref.call(Do(lambda actor: bool(actor.after(5, Note()))))
    ref.cast(Do(boom))
    await trio.sleep(10)
    assert ref.incarnation == 2 and notes == []


async def K18_what_timers_and_monitors_send_needs_no_room(system: System) -> None:
    notes: list[object] = []
    other = await system.start(Worker)
    ref = await system.start(Child(Worker, notes, mailbox=1))

    async def watches(actor: Worker) -> None:
        actor.after(1, Note("timer"))
        actor.monitor(other)
        await trio.sleep(5)

    ref.cast(Run(watches))
    await trio.sleep(2)
    await other.stop()
    ref.cast(Note("mine"))
    with pytest.raises(MailboxFull):
        ref.cast(Note("no room"))
    await trio.sleep(5)
    assert len(notes) == 3


async def K16_what_the_body_is_cancelled_for_is_no_affair_of_running_turns(_: System) -> None:
    ended: list[str] = []

    class Slow(Actor):
        @handles
        async def work(self, message: Note) -> None:
            await trio.sleep(2)
            ended.append("turn")

        async def on_stop(self, exit: object) -> None:
            await trio.sleep(1)
            ended.append("last words")

    with trio.CancelScope() as scope:
        async with open_system(watchdog=None) as inner:
            ref = await inner.start(Slow)
            ref.cast(Note())
            await trio.sleep(1)
            scope.cancel()
            await trio.sleep_forever()
    assert ended == ["turn", "last words"]


async def K17_an_actor_that_does_not_yield_holds_nobody_up(system: System) -> None:
    async def shielded(_: object) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(50)

    ref = await system.start(Worker)
    ref.cast(Run(shielded))
    await wait_all_tasks_blocked()
    await ref.stop()
    assert trio.current_time() == 6


async def K17_code_that_never_yields_is_reported(_: System) -> None:
    seen: list[Blocked] = []
    async with open_system(watchdog=0.02) as inner:
        inner.telemetry.listen(seen.append, Blocked)
        ref = await inner.start(Worker)
        await ref.call(Do(lambda _: time.sleep(0.1)))
        for _turn in range(50):
            await trio.lowlevel.checkpoint()
    assert [event.ref for event in seen] == [ref]


async def K5_a_caller_runs_no_turn_inside_another(system: System) -> None:
    """A place that is busy is not idle: its message waits."""
    ref = await system.start(Worker)
    order: list[str] = []

    async def slow(_: object) -> None:
        order.append("begins")
        await trio.sleep(1)
        order.append("ends")

    ref.cast(Run(slow))
    await wait_all_tasks_blocked()
    await ref.call(Do(lambda _: order.append("after")))
    assert order == ["begins", "ends", "after"]


async def K5_a_caller_yields_now_and_then(system: System) -> None:
    ref = await system.start(Worker)
    others = 0

    async def other() -> None:
        nonlocal others
        for _ in range(2000):
            others += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(1000):
            await ref.call(Do(lambda _: None))
        nursery.cancel_scope.cancel()
    assert others > 5


async def K4_a_refusal_is_an_answer(system: System) -> None:
    class No(Refusal):
        pass

    def refuses(_: object) -> object:
        raise No("no")

    ref = await system.start(Worker)
    ref.cast(Do(refuses))
    await wait_all_tasks_blocked()
    assert ref.alive


async def K14_a_monitor_tells_of_the_end(system: System) -> None:
    notes: list[Any] = []
    watcher, other = await system.start(Worker, notes), await system.start(Worker)
    await watcher.call(Do(lambda actor: bool(actor.monitor(other))))
    await other.stop()
    await wait_all_tasks_blocked()
    assert [note.ref for note in notes] == [other]


async def K21_a_failing_listener_is_never_felt(system: System) -> None:
    system.telemetry.listen(boom, Down)
    system.telemetry.emit(Down(None, 1, Killed()))  # type: ignore[arg-type]
    ref = await system.start(Worker)
    assert ref.alive


async def K15_a_start_has_its_time(system: System) -> None:
    class Slow(Actor):
        async def on_start(self) -> None:
            await trio.sleep(1000)

    with trio.fail_after(100), pytest.raises(Exception, match="did not start"):
        await system.start(Child(Slow, start_timeout=3.0))


async def _end_of(ref: Ref[Any]) -> object:
    with trio.fail_after(10):
        return await ref.wait()


# -- their mechanisms


def replaces(target: object, name: str, value: object) -> Removal:
    return lambda patch: patch.setattr(target, name, value)


def nothing(*_: object, **__: object) -> None:
    return None


def unbounded(patch: pytest.MonkeyPatch) -> None:
    def init(self: Mailbox, capacity: float) -> None:
        super(Mailbox, self).__init__()
        self.capacity = float("inf")
        self.exempt = 0
        self.senders = self.stash = None

    patch.setattr(Mailbox, "__init__", init)


def never_sliding(patch: pytest.MonkeyPatch) -> None:
    def add(self: Window, now: float) -> bool:
        self.moments.append(now)
        return len(self.moments) > self.max_restarts

    patch.setattr(Window, "add", add)


def counted_against_the_bound(patch: pytest.MonkeyPatch) -> None:
    def post(self: Place, message: object, *_: object, **__: object) -> None:
        try:
            self.ref.cast(message)
        except MailboxFull:
            return

    patch.setattr(Place, "post", post)


def unshielded(patch: pytest.MonkeyPatch) -> None:
    init = host.Host.__init__

    def without_shield(self: host.Host, place: Place) -> None:
        init(self, place)
        self.scope = trio.CancelScope()

    patch.setattr(host.Host, "__init__", without_shield)


def timers_that_stay(patch: pytest.MonkeyPatch) -> None:
    """What is sent by a timer that was not cancelled reaches the next incarnation."""
    release = lifecycle.release

    def keeps(place: Place, exit: object) -> None:
        place.actor_timers = None
        release(place, exit)  # type: ignore[arg-type]

    patch.setattr(lifecycle, "release", keeps)


def always_idle(patch: pytest.MonkeyPatch) -> None:
    begin = host.begin_turn

    def begin_turn(place: Place, *args: Any) -> None:
        begin(place, *args)
        place.fast = place.idle = True

    patch.setattr(host, "begin_turn", begin_turn)


def without_budget(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scheduler, "CALLER_TURNS", 10**9)


def overwriting(patch: pytest.MonkeyPatch) -> None:
    def reply(self: Slot, value: object) -> None:
        self.value = value
        self.settle()

    patch.setattr(Slot, "reply", reply)


def not_catching(patch: pytest.MonkeyPatch) -> None:
    def emit(self: Telemetry, event: object) -> None:
        for subscription in self._subscriptions:
            subscription.listener(event)

    patch.setattr(Telemetry, "emit", emit)


def without_a_stop_deadline(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lifecycle, "shutdown_time", lambda place: float("inf"))


def without_cancelling(patch: pytest.MonkeyPatch) -> None:
    """Side tasks are waited for instead of ended."""

    def may_end(place: Place, its: host.Host) -> bool:
        return its.finishing and not place.side

    patch.setattr(host, "_may_end", may_end)


def abandoned_are_served(patch: pytest.MonkeyPatch) -> None:
    def abandon(self: Slot, _: object = None) -> trio.lowlevel.Abort:
        self.task = None
        return trio.lowlevel.Abort.SUCCEEDED

    patch.setattr(Slot, "abandon", abandon)


def without_a_watchdog(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(watchdog.Watchdog, "_report", nothing)


class RefusalsCrash(Refusal):
    """Nobody raises it."""


def refusals_crash(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scheduler, "Refusal", RefusalsCrash)


MECHANISMS: list[tuple[Check, Removal]] = [
    (K11_who_would_wait_in_a_ring_is_told, replaces(turns, "refuse_cycle", nothing)),
    (K2_a_full_mailbox_takes_no_more, unbounded),
    (
        S2_a_child_that_crashes_too_often_takes_its_supervisor_along,
        replaces(Window, "add", lambda self, now: False),
    ),
    (S2_crashes_far_apart_never_add_up, never_sliding),
    (K16_past_its_time_an_actor_is_killed, without_a_stop_deadline),
    (K19_side_tasks_end_with_their_actor, without_cancelling),
    (K19_the_crash_of_a_side_task_is_the_actors, replaces(lifecycle, "crash", nothing)),
    (K8_a_deferred_answer_fails_when_its_holder_dies, replaces(Held, "hold", nothing)),
    (K10_a_call_ends_at_its_deadline, replaces(Timers, "enter", nothing)),
    (K9_a_call_whose_caller_has_gone_is_skipped, abandoned_are_served),
    (K9_the_first_answer_counts, overwriting),
    (K12_a_name_is_free_when_its_actor_has_ended, replaces(Registry, "release", nothing)),
    (K18_timers_end_with_their_incarnation, timers_that_stay),
    (K18_what_timers_and_monitors_send_needs_no_room, counted_against_the_bound),
    (K16_what_the_body_is_cancelled_for_is_no_affair_of_running_turns, unshielded),
    (
        K17_an_actor_that_does_not_yield_holds_nobody_up,
        replaces(lifecycle, "unresponsive", nothing),
    ),
    (K17_code_that_never_yields_is_reported, without_a_watchdog),
    (K5_a_caller_runs_no_turn_inside_another, always_idle),
    (K5_a_caller_yields_now_and_then, without_budget),
    (K4_a_refusal_is_an_answer, refusals_crash),
    (K14_a_monitor_tells_of_the_end, replaces(Place, "watch", nothing)),
    (K21_a_failing_listener_is_never_felt, not_catching),
    (K15_a_start_has_its_time, replaces(lifecycle, "kill", nothing)),
]


def run(check: Check, removal: Removal | None = None) -> None:
    """Run a check in a system of its own. A mechanism is back before the system is closed."""
    clock = VirtualClock()

    async def main() -> None:
        async with open_system(seed=0, clock=clock.now, watchdog=None) as system:
            with pytest.MonkeyPatch.context() as patch:
                if removal is not None:
                    removal(patch)
                await check(system)

    clock.run(main)


each = pytest.mark.parametrize(
    ("check", "removal"), MECHANISMS, ids=[check.__name__ for check, _ in MECHANISMS]
)


@each
def test_the_check_holds(check: Check, removal: Removal) -> None:
    run(check)


@each
def test_the_check_fails_without_its_mechanism(check: Check, removal: Removal) -> None:
    with pytest.raises((Exception, pytest.fail.Exception)) as caught:
        run(check, removal)
    # Not because the removal itself does not fit.
    assert not isinstance(caught.value, TypeError | AttributeError | NameError)
