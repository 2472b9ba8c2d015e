"""Each safety check fails once its mechanism is taken away: it would notice."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    CallCycle,
    Down,
    MailboxFull,
    StartFailed,
    System,
    handles,
    open_system,
)
from actors.introspection import get_state, replace_state, resume, suspend
from actors.mailbox import Mailbox
from actors.registry import Groups, Registry
from actors.runtime import host, lifecycle, scheduler
from actors.runtime.root import Temporary
from actors.runtime.scheduler import Scheduler
from actors.telemetry import ActorStarted, Telemetry
from actors.testing import VirtualClock
from supervisors import Backoff, Child, StartChild, one_for_one
from supervisors.policy import Pace, Window

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Check = Callable[[System], Awaitable[None]]
    Removal = Callable[[pytest.MonkeyPatch], None]


@attrs.frozen
class Do(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class DoSoon:
    function: Callable[[Any], object]


@attrs.frozen
class Await(Call[Any]):
    function: Callable[[Any], Any]


class Boom(Exception):
    pass


def boom(actor: Any) -> None:
    raise Boom


class Worker(Actor):
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
    def hear(self, message: Down) -> None: ...


# -- the checks, each with the mechanism that it depends on


async def who_would_deadlock_is_told(system: System) -> None:
    a, b = await system.start(Worker), await system.start(Worker)
    back = Await(lambda actor: a.call(Do(lambda _: None)))
    with trio.fail_after(1):
        with pytest.raises(ActorDied) as caught:
            await a.call(Await(lambda actor: b.call(back)))
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, CallCycle):
        error = error.__cause__
    assert isinstance(error, CallCycle)


def without_cycle_check(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("actors.turns.refuse_cycle", lambda waiter, target: None)


async def a_mailbox_holds_no_more_than_its_bound(system: System) -> None:
    ref = await system.start_place(Temporary(Worker, mailbox=10))
    await suspend(ref)
    with pytest.raises(MailboxFull):
        for _ in range(11):
            ref.cast(Do(lambda actor: None))
    assert len(ref._place.mailbox) == 10


def without_mailbox_bound(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Mailbox, "full", property(lambda self: False))


async def a_child_that_crashes_again_and_again_ends_its_supervisor(system: System) -> None:
    top = await system.start(one_for_one(max_restarts=3, restart="temporary"))
    ref = await top.call(StartChild(Child(Worker)))
    for _ in range(10):
        ref.cast(DoSoon(boom))
    await wait_all_tasks_blocked()
    assert top.state == "gone"


def without_restart_window(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Window, "add", lambda self, now: False)


async def a_child_with_a_backoff_is_paced(system: System) -> None:
    starts: list[float] = []

    class Crashes(Worker):
        def on_ready(self) -> None:
            starts.append(trio.current_time())
            if len(starts) < 8:
                raise Boom

    await system.start(Child(Crashes, backoff=Backoff(1.0, 4.0, jitter=0)))
    await trio.sleep(60)
    assert starts[-1] - starts[0] >= 20


def without_pace(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Pace, "next", lambda self, backoff, now, random: (self, 0.0))


async def a_stop_is_over_within_the_shutdown_time(system: System) -> None:
    ref = await system.start_place(Child(Worker, shutdown=2))
    ref.cast(Await(lambda actor: trio.sleep(1000)))
    await wait_all_tasks_blocked()
    with trio.fail_after(3):
        await ref.stop()


def without_kill(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lifecycle, "kill", lambda place, incarnation=None: None)


async def a_start_is_over_within_the_start_timeout(system: System) -> None:
    class Slow(Worker):
        async def on_start(self) -> None:
            await trio.sleep(1000)

    with trio.fail_after(3):
        with pytest.raises(StartFailed):
            await system.start_place(Child(Slow, start_timeout=2.0))


async def who_does_not_yield_holds_up_no_other_stop(system: System) -> None:
    async def stubborn(actor: Worker) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(1000)

    children = [Child(Worker, id=id, name=id, shutdown=1) for id in "ab"]
    top = await system.start(one_for_one(*children, restart="temporary"))
    ref = system.whereis("b")
    assert ref is not None
    ref.cast(Await(stubborn))
    await wait_all_tasks_blocked()
    with trio.fail_after(10):
        await top.stop()


def without_giving_up_on_the_unresponsive(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lifecycle, "unresponsive", lambda place, incarnation: None)


async def an_actor_ends_after_its_side_tasks(system: System) -> None:
    ended: list[str] = []

    async def side() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
            ended.append("side task")

    class Tells(Worker):
        def on_stop(self, exit: object) -> None:
            ended.append("actor")

    ref = await system.start(Tells)
    await ref.call(Do(lambda actor: actor.start_soon(side)))
    await wait_all_tasks_blocked()
    await ref.stop()
    assert ended == ["side task", "actor"]


def without_waiting_for_side_tasks(patch: pytest.MonkeyPatch) -> None:
    def may_end(place: Any, host: Any) -> bool:
        sides, place.side = place.side or set(), set()
        for side in sides:
            side.scope.cancel()
        return bool(host.finishing)

    patch.setattr(host, "_may_end", may_end)


async def a_deferred_answer_fails_with_its_holder(system: System) -> None:
    ref = await system.start(Worker)
    failures: list[ActorDied] = []

    async def call() -> None:
        try:
            await ref.call(Do(lambda actor: actor.later()))
        except ActorDied as error:
            failures.append(error)

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            ref.cast(DoSoon(boom))
    assert len(failures) == 1


def without_holding_slots(patch: pytest.MonkeyPatch) -> None:
    def forget(place: Any, slot: Any) -> None:
        slot.taken = True
        slot.holder = None

    patch.setattr(host, "hold", forget)


async def a_name_is_free_when_its_actor_has_gone(system: System) -> None:
    ref = await system.start(Worker, name="name")
    await ref.stop()
    assert system.whereis("name") is None
    assert (await system.start(Worker, name="name")).alive


def without_name_release(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Registry, "release", lambda self, name, place: None)


async def a_member_leaves_its_groups_when_it_has_gone(system: System) -> None:
    ref = await system.start(Worker)
    system.groups.join("all", ref)
    await ref.stop()
    assert system.groups.members("all") == []


def without_leaving_groups(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Groups, "forget", lambda self, place: None)


async def a_cancelled_monitor_takes_its_down_back(system: System) -> None:
    probe = system.probe()
    ref = await system.start(Worker)
    monitor = ref.monitor(probe.ref)
    await suspend(probe.ref)
    await ref.stop()
    monitor.cancel()
    await resume(probe.ref)
    await wait_all_tasks_blocked()
    assert probe.received == []


def without_taking_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Mailbox, "take_out", lambda self, token: False)


async def callers_of_an_idle_actor_let_others_run(system: System) -> None:
    ref = await system.start(Worker)
    others = 0

    async def other() -> None:
        nonlocal others
        while True:
            await trio.lowlevel.checkpoint()
            others += 1

    async with trio.open_nursery() as nursery:
        nursery.start_soon(other)
        for _ in range(1000):
            await ref.call(Do(lambda actor: None))
        seen = others
        nursery.cancel_scope.cancel()
    assert seen >= 5


def without_callers_budget(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scheduler, "CALLER_TURNS", 10**9)
    patch.setattr(Scheduler, "budget", Endless(), raising=False)


class Endless:
    """A budget that is never spent."""

    def __get__(self, owner: object, cls: type) -> float:
        return math.inf

    def __set__(self, owner: object, value: float) -> None:
        pass


async def a_full_queue_lets_other_tasks_run(system: System) -> None:
    turns = 0

    def turn(actor: Worker) -> None:
        nonlocal turns
        turns += 1

    ref = await system.start(Worker)
    for _ in range(5000):
        ref.cast(DoSoon(turn))
    await trio.lowlevel.checkpoint()
    await trio.lowlevel.checkpoint()
    assert turns < 5000


def without_dispatchers_yield(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(scheduler, "TURNS_PER_YIELD", 10**9)


async def a_failing_listener_is_told_once(system: System) -> None:
    told: list[object] = []

    def fails(event: object) -> None:
        told.append(event)
        raise Boom

    system.telemetry.listen(fails, ActorStarted)
    for _ in range(3):
        await system.start(Worker)
    assert len(told) == 1


def without_detaching(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Telemetry, "forget", lambda self, subscription: None)


async def a_failed_change_of_state_changes_nothing(system: System) -> None:
    @attrs.define
    class Account(Actor):
        balance: int = 1
        limit: int = attrs.field(default=0, validator=attrs.validators.ge(0))

    ref = await system.start(Account)
    with pytest.raises(ValueError, match="limit"):
        await replace_state(ref, lambda state: {"balance": 5, "limit": -1})
    assert await get_state(ref) == {"balance": 1, "limit": 0}


def without_putting_back(patch: pytest.MonkeyPatch) -> None:
    from actors import introspection

    install, times = introspection._install, []

    def once(actor: Any, state: Any) -> None:
        times.append(state)
        if len(times) % 2:
            install(actor, state)

    patch.setattr(introspection, "_install", once)


async def an_actor_that_does_not_yield_has_no_successor_beside_it(system: System) -> None:
    inside: list[int] = []

    async def stubborn(actor: Worker) -> None:
        inside.append(actor.ref.incarnation)
        with trio.CancelScope(shield=True):
            await trio.sleep(20)
        inside.remove(1)

    class Tells(Worker):
        def on_start(self) -> None:
            assert not inside

    top = await system.start(one_for_one(Child(Tells, name="a", shutdown=1), restart="temporary"))
    ref = system.whereis("a")
    assert ref is not None
    ref.cast(Await(stubborn))
    await wait_all_tasks_blocked()
    await ref.stop()
    await trio.sleep(5)
    assert (ref.incarnation, inside) == (1, [1])
    await trio.sleep(30)
    assert (ref.incarnation, inside, top.alive) == (2, [], True)


def without_waiting_for_the_vacancy(patch: pytest.MonkeyPatch) -> None:
    def unresponsive(place: Any, incarnation: int) -> None:
        if place.running and place.incarnation == incarnation:
            lifecycle.close(place)

    patch.setattr(lifecycle, "unresponsive", unresponsive)


FAILURES = (AssertionError, trio.TooSlowError, pytest.fail.Exception)
"""How a check says no. Anything else would be a mechanism that was not removed, but broken."""

CHECKS: list[tuple[Check, Removal]] = [
    (who_would_deadlock_is_told, without_cycle_check),
    (a_mailbox_holds_no_more_than_its_bound, without_mailbox_bound),
    (a_child_that_crashes_again_and_again_ends_its_supervisor, without_restart_window),
    (a_child_with_a_backoff_is_paced, without_pace),
    (a_stop_is_over_within_the_shutdown_time, without_kill),
    (a_start_is_over_within_the_start_timeout, without_kill),
    (who_does_not_yield_holds_up_no_other_stop, without_giving_up_on_the_unresponsive),
    (an_actor_that_does_not_yield_has_no_successor_beside_it, without_waiting_for_the_vacancy),
    (an_actor_ends_after_its_side_tasks, without_waiting_for_side_tasks),
    (a_deferred_answer_fails_with_its_holder, without_holding_slots),
    (a_name_is_free_when_its_actor_has_gone, without_name_release),
    (a_member_leaves_its_groups_when_it_has_gone, without_leaving_groups),
    (a_cancelled_monitor_takes_its_down_back, without_taking_back),
    (callers_of_an_idle_actor_let_others_run, without_callers_budget),
    (a_full_queue_lets_other_tasks_run, without_dispatchers_yield),
    (a_failing_listener_is_told_once, without_detaching),
    (a_failed_change_of_state_changes_nothing, without_putting_back),
]


def holds(check: Check) -> None:
    """Run a check in a system of its own."""

    async def main() -> None:
        async with open_system(seed=0, watchdog=None) as system:
            await check(system)

    VirtualClock().run(main)


@pytest.mark.parametrize("check", [check for check, _ in CHECKS], ids=lambda each: each.__name__)
def test_it_holds(check: Check) -> None:
    holds(check)


@pytest.mark.parametrize(
    ("check", "removal"), CHECKS, ids=lambda each: getattr(each, "__name__", str(each))
)
def test_and_fails_once_the_mechanism_is_removed(
    check: Check, removal: Removal, monkeypatch: pytest.MonkeyPatch
) -> None:
    removal(monkeypatch)
    with pytest.raises(BaseException) as caught:
        holds(check)
    assert all(isinstance(each, FAILURES) for each in leaves(caught.value))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions of a group, and of the groups in it."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error
