"""X. What trio adds: cancellation, exception groups, Ctrl-C, tasks, the clock."""

from __future__ import annotations

import gc
import logging
import signal
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import cloudpickle  # type: ignore[import-untyped]
import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from actors import (
    Actor,
    CallCycle,
    Crashed,
    Exit,
    Killed,
    Later,
    MailboxFull,
    NoSuchActor,
    Ref,
    Shutdown,
    StartFailed,
    System,
    open_system,
)
from actors.replies import Slot
from actors.telemetry import ActorUnresponsive
from actors.testing import dead_letters, leftovers, no_leaks, tasks
from supervisors import (
    Backoff,
    Child,
    DynamicSupervisor,
    RestartLimitExceeded,
    StartChild,
    WhichChildren,
    one_for_all,
    one_for_one,
    rest_for_one,
)
from tests.conformance.recorders import (
    EXITS,
    Ask,
    Do,
    Lively,
    Log,
    Note,
    Recorder,
    Run,
    checkpoint,
    defers,
    forever,
    naps,
    outcome,
    quits,
    raises,
)


class Slow(Recorder):
    """Takes a second over its last words."""

    def __init__(self, log: Log, label: str, seconds: float = 1.0) -> None:
        super().__init__(log)
        self.label = label
        self.seconds = seconds

    async def on_stop(self, exit: Exit) -> None:
        await trio.sleep(self.seconds)
        self.log.append((self.label, exit))


def theatre(log: Log, **flags: Any) -> Child[Any]:
    """A tree three levels deep: ``a``, ``b`` with ``b1`` and ``b2``, ``c``."""
    inner = one_for_one(Child(Slow, log, "b1", id="b1"), Child(Slow, log, "b2", id="b2"), id="b")
    return one_for_one(
        Child(Slow, log, "a", id="a"),
        rest_for_one(Child(Slow, log, "first", id="first"), inner, id="middle"),
        Child(Slow, log, "c", id="c"),
        id="theatre",
        **flags,
    )


REVERSED = [(label, Shutdown()) for label in ("c", "b2", "b1", "first", "a")]


async def leaf(system: System, *path: str) -> Ref[Any]:
    """The child at the end of a path of ids, from the root."""
    ref: Ref[Any] = next(iter(system.root.places)).ref
    for id in path:
        [ref] = [each.ref for each in await ref.call(WhichChildren()) if each.id == id]
    return ref


async def test_X1_cancelling_from_outside_stops_everything_in_order() -> None:
    log: Log = []
    with trio.move_on_after(10) as scope:
        async with open_system(theatre(log), watchdog=None) as system:
            ref = await leaf(system, "middle", "b", "b2")
            ref.cast(naps(2))
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert log == REVERSED
    assert trio.current_time() == 15.0


class Endless(Slow):
    """Does not come up."""

    async def on_start(self) -> None:
        await trio.sleep_forever()


@pytest.mark.parametrize("waits", ["for a start", "for an answer", "for room", "for an end"])
async def test_X1_no_cancelled_is_swallowed_wherever_the_body_waits(waits: str) -> None:
    log: Log = []
    with trio.move_on_after(3) as scope:
        async with open_system(theatre(log), watchdog=None) as system:
            ref = await system.start(Child(Slow, log, "extra", mailbox=1))
            ref.cast(naps(4))
            if waits == "for a start":
                await system.start(Endless, log, "endless")
            elif waits == "for an answer":
                await ref.call(Ask(), timeout=None)
            elif waits == "for room":
                await ref.send(Note())
                await ref.send(Note())
                await ref.send(Note())
            await ref.wait()
    assert scope.cancelled_caught
    assert log == [("extra", Shutdown()), *REVERSED]
    assert trio.current_time() == 4.0 + 6.0


async def test_X1_a_scope_cancelled_before_still_sees_an_ordered_stop() -> None:
    log: Log = []
    with trio.CancelScope() as scope:
        scope.cancel()
        async with open_system(theatre(log), watchdog=None):
            await trio.lowlevel.checkpoint()
    assert scope.cancelled_caught
    assert log == REVERSED


async def test_X1_a_scope_cancelled_when_the_body_is_through_has_nothing_to_see() -> None:
    """The stop is shielded: nothing of it is cancelled, so nothing is caught."""
    log: Log = []
    with trio.CancelScope() as scope:
        async with open_system(theatre(log), watchdog=None):
            scope.cancel()
    assert not scope.cancelled_caught
    assert log == REVERSED
    assert trio.current_time() == 5.0


async def test_X1_what_is_up_while_the_root_still_comes_up_is_stopped_in_order() -> None:
    log: Log = []
    inner = one_for_one(Child(Slow, log, "b", id="b"), Child(Endless, log, "endless"), id="inner")
    root = one_for_one(Child(Slow, log, "a", id="a"), inner, Child(Slow, log, "never"))
    with trio.move_on_after(5) as scope:
        async with open_system(root, watchdog=None):
            raise AssertionError("the root cannot have come up")
    assert scope.cancelled_caught
    assert log == [("b", Shutdown()), ("a", Shutdown())]
    assert trio.current_time() == 7.0


async def shielded(released: trio.Event, log: Log) -> None:
    with trio.CancelScope(shield=True, deadline=trio.current_time() + 1000):
        await released.wait()
        log.append("released")


async def swallowing(released: trio.Event, log: Log) -> None:
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        await shielded(released, log)


STUBBORN = pytest.mark.parametrize("stubborn", [shielded, swallowing])
Stubborn = Callable[[trio.Event, Log], Awaitable[None]]


@STUBBORN
@pytest.mark.parametrize("where", ["handler", "side task"])
async def test_X2_an_actor_that_goes_on_when_cancelled_is_reported_and_not_waited_for(
    system: System, stubborn: Stubborn, where: str, caplog: pytest.LogCaptureFixture
) -> None:
    """K17: a second after the kill. Its own stop and its siblings' go on."""
    log: Log = []
    released = trio.Event()
    seen: Log = []
    system.telemetry.listen(seen.append, ActorUnresponsive)

    async def go_on(_: object = None) -> None:
        await stubborn(released, log)

    def aside(self: Recorder) -> None:
        self.start_soon(go_on)

    tree = one_for_one(
        Child(Slow, log, "first", id="first"),
        Child(Recorder, log, id="stubborn", shutdown=2.0),
        Child(Slow, log, "last", id="last"),
        id="tree",
    )
    parent = await system.start(tree)
    infos = {each.id: each.ref for each in await parent.call(WhichChildren())}
    infos["stubborn"].cast(Run(go_on) if where == "handler" else Do(aside))
    await wait_all_tasks_blocked()
    with trio.move_on_after(60) as patience:
        assert await parent.stop()
    released_at = trio.current_time()
    released.set()
    await wait_all_tasks_blocked()
    assert not patience.cancelled_caught
    assert released_at == 1 + 2 + 1 + 1
    assert [each.ref for each in seen] == [infos["stubborn"]]
    assert log == [("last", Shutdown()), ("first", Shutdown()), "released"]
    assert "unresponsive" in caplog.text


@STUBBORN
async def test_X2_nobody_takes_its_place_until_it_has_gone(
    system: System, stubborn: Stubborn
) -> None:
    log: Log = []
    released = trio.Event()

    async def go_on(_: object) -> None:
        await stubborn(released, log)

    ref = await system.start(Child(Recorder, log, shutdown=2.0))
    ref.cast(Run(go_on))
    await wait_all_tasks_blocked()
    results: Log = []
    stopped_at: Log = []

    async def stop() -> None:
        await ref.stop()
        stopped_at.append(trio.current_time())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop)
        await trio.sleep(4)
        nursery.start_soon(ref.call, Do(lambda self: results.append("served")), None)
        await trio.sleep(100)
        before = (ref.incarnation, list(results))
        released.set()
    assert stopped_at == [3.0]
    assert before == (1, [])
    assert results == ["served"]
    assert ref.incarnation == 2
    assert log == ["released"]


@STUBBORN
@pytest.mark.parametrize("start", ["system.start", "StartChild", "the tree's"])
async def test_X2_nor_is_a_start_held_up_that_does_not_yield_to_its_timeout(
    system: System, stubborn: Stubborn, start: str
) -> None:
    """The starter is told, the name is free, and what came up before is stopped."""
    log: Log = []
    released = trio.Event()

    class GoesOn(Recorder):
        async def on_start(self) -> None:
            await stubborn(released, self.log)

    child = Child(GoesOn, log, name="stubborn", start_timeout=2.0)
    with pytest.raises(StartFailed):
        if start == "system.start":
            await system.start(child)
        elif start == "StartChild":
            parent = await system.start(one_for_one())
            await parent.call(StartChild(child))
        else:
            await system.start(one_for_one(Child(Slow, log, "first"), child))
    failed_at = trio.current_time()
    released.set()
    assert system.whereis("stubborn") is None
    if start == "the tree's":
        assert log == [("first", Shutdown())]
    else:
        assert failed_at == 3.0
    await wait_all_tasks_blocked()
    assert log[-1] == "released"
    assert (await system.start(Recorder, name="stubborn")).alive


@pytest.mark.parametrize("tree", [one_for_all, rest_for_one])
async def test_X2_a_group_that_waits_for_a_place_can_be_stopped(system: System, tree: Any) -> None:
    """K17: its siblings' stop goes on, though one of them will not leave."""
    log: Log = []
    released = trio.Event()

    async def go_on(_: object) -> None:
        await shielded(released, log)

    spec = tree(
        Child(Recorder, log, id="crashes"),
        Child(Slow, log, "before", id="before"),
        Child(Recorder, log, id="stubborn", shutdown=2.0),
        Child(Slow, log, "after", id="after"),
        restart="temporary",
    )
    parent = await system.start(spec)
    infos = {each.id: each.ref for each in await parent.call(WhichChildren())}
    infos["stubborn"].cast(Run(go_on))
    infos["crashes"].cast(Do(raises(Own())))
    await trio.sleep(50)
    states = [infos[id].incarnation for id in ("crashes", "before", "stubborn", "after")]
    stopped = list(log)
    log.clear()
    with trio.move_on_after(20) as patience:
        await parent.stop()
    ended, state = list(log), parent.state
    released.set()
    await wait_all_tasks_blocked()
    assert states == [2, 2, 1, 1]
    assert stopped == [("after", Shutdown()), ("before", Shutdown())]
    assert not patience.cancelled_caught
    assert ended == [("before", Shutdown())]
    assert state == "gone"


def test_X2_not_even_one_that_swallows_every_cancelled_at_once() -> None:
    """It keeps the loop busy, so that virtual time would stand still: here it runs, fast."""
    log: Log = []

    async def main() -> None:
        async with open_system(watchdog=None) as system:
            released = False

            async def go_on(_: object) -> None:
                while not released:
                    try:
                        await trio.sleep_forever()
                    except trio.Cancelled:
                        log.append("swallowed")

            seen: Log = []
            system.telemetry.listen(seen.append, ActorUnresponsive)
            ref = await system.start(Child(Recorder, shutdown=2.0, restart="temporary"))
            ref.cast(Run(go_on))
            await wait_all_tasks_blocked()
            assert await ref.stop()
            assert [each.ref for each in seen] == [ref]
            released = True
            assert await ref.wait() == Killed()

    trio.run(main, clock=MockClock(rate=1000.0))
    assert len(log) > 1


class Own(Exception):
    """A user's."""


@pytest.mark.parametrize("kind", ["plain", "async", "side task", "timer"])
@pytest.mark.parametrize("tree", [one_for_one, one_for_all, rest_for_one])
async def test_X3_a_crash_leaves_its_actor_as_no_group(kind: str, tree: Any) -> None:
    error = Own("crash")

    async def crash(_: object = None) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    messages = {
        "plain": Do(raises(error)),
        "async": Run(crash),
        "side task": Do(lambda self: self.start_soon(crash)),
        "timer": Do(lambda self: self.after(1.0, Do(raises(error))) and None),
    }
    root = tree(Child(Recorder, id="leaf"), Child(Recorder, id="other"))
    async with open_system(root, watchdog=None) as system:
        ref = await leaf(system, "leaf")
        exits: Log = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(lambda: collect_exit(ref, exits))
            await wait_all_tasks_blocked()
            ref.cast(messages[kind])
        assert exits == [Crashed(error)]
        assert await ref.call(Ask("again")) == "again"
        assert ref.incarnation == 2


async def collect_exit(ref: Ref[Any], exits: Log) -> None:
    exits.append(await ref.wait())


@pytest.mark.parametrize("levels", [1, 2, 3])
async def test_X3_giving_up_leaves_as_one_exception_with_its_cause(levels: int) -> None:
    """At each level the cause is the crash below, at the bottom the actor's own."""
    error = Own("crash")
    log: Log = []
    root: Child[Any] = Child(Recorder, id="leaf")
    path = ["leaf"]
    for level in range(levels):
        root = one_for_one(Child(Lively, log, "sibling"), root, max_restarts=0, id=f"s{level}")
        path.append(f"s{level}")
    with pytest.raises(RestartLimitExceeded) as gave_up:
        async with open_system(root, watchdog=None) as system:
            (await leaf(system, *reversed(path[:-1]))).cast(Do(raises(error)))
            await trio.sleep_forever()
    assert gave_up.value.child == (path[-2])
    cause: BaseException | None = gave_up.value
    for _ in range(levels):
        assert isinstance(cause, RestartLimitExceeded)
        cause = cause.__cause__
    assert cause is error
    stopped = [each for each in log if isinstance(each[1], Shutdown)]
    assert len(stopped) == levels


async def test_X3_an_exception_of_the_body_leaves_bare_and_everything_is_stopped() -> None:
    log: Log = []
    error = Own("of the body")
    with pytest.raises(Own) as left:
        async with open_system(theatre(log), watchdog=None):
            raise error
    assert left.value is error
    assert log == REVERSED


async def test_X3_giving_up_on_demand_leaves_open_system_as_well() -> None:
    """S9: what ``system.start(Child)`` started gives up as the root does."""
    error = Own("crash")
    with pytest.raises(RestartLimitExceeded) as gave_up:
        async with open_system(watchdog=None) as system:
            ref = await system.start(Child(Recorder))
            for _ in range(4):
                ref.cast(Do(raises(error)))
            await trio.sleep_forever()
    assert gave_up.value.__cause__ is error


def raise_signal(_: object = None) -> None:
    signal.raise_signal(signal.SIGINT)


async def raise_signal_slowly(_: object) -> None:
    await trio.sleep(1)
    signal.raise_signal(signal.SIGINT)


def raise_interrupt(_: object) -> None:
    raise KeyboardInterrupt


async def raise_interrupt_slowly(_: object) -> None:
    await trio.sleep(1)
    raise KeyboardInterrupt


PATHS = pytest.mark.parametrize("path", [("a",), ("middle", "b", "b1"), ("middle", "b", "b2")])


@PATHS
@pytest.mark.parametrize("message", [Do(raise_signal), Run(raise_signal_slowly)])
async def test_X4_ctrl_c_while_an_actor_deep_in_the_tree_has_its_turn(
    message: Any, path: tuple[str, ...]
) -> None:
    """K7: the turn is protected; then the tree is stopped in reverse."""
    log: Log = []
    with pytest.raises(KeyboardInterrupt):
        async with open_system(theatre(log), watchdog=None) as system:
            (await leaf(system, *path)).cast(message)
            await trio.sleep_forever()
    assert log == REVERSED


@PATHS
@pytest.mark.parametrize("message", [Do(raise_interrupt), Run(raise_interrupt_slowly)])
async def test_X4_a_keyboard_interrupt_that_leaves_a_handler_deep_in_the_tree(
    message: Any, path: tuple[str, ...]
) -> None:
    """The one it leaves has its last words at once and does not come back; the others are stopped
    in reverse."""
    log: Log = []
    with pytest.raises(KeyboardInterrupt):
        async with open_system(theatre(log), watchdog=None) as system:
            ref = await leaf(system, *path)
            ref.cast(message)
            await trio.sleep_forever()
    assert ref.incarnation == 1
    [exit] = [exit for label, exit in log if label == path[-1]]
    assert isinstance(exit, Crashed)
    assert [each for each in log if each[1] is not exit] == [
        each for each in REVERSED if each[0] != path[-1]
    ]


@pytest.mark.parametrize("waiting", ["asleep", "in a call"])
async def test_X4_ctrl_c_while_the_body_waits(waiting: str) -> None:
    log: Log = []
    with pytest.raises(KeyboardInterrupt):
        async with open_system(theatre(log), watchdog=None) as system:
            ref = await leaf(system, "middle", "b", "b1")
            system.scheduler.timers.after(5, raise_signal)
            if waiting == "asleep":
                await trio.sleep_forever()
            await ref.call(defers([]), timeout=None)
    assert log == REVERSED


async def test_X4_ctrl_c_in_the_body_itself() -> None:
    log: Log = []
    with pytest.raises(KeyboardInterrupt):
        async with open_system(theatre(log), watchdog=None):
            raise_signal()
            await trio.sleep_forever()
    assert log == REVERSED


async def test_X4_the_stop_is_bounded_by_the_shutdown_times() -> None:
    log: Log = []
    tree = one_for_one(
        Child(Slow, log, "endless", float("inf"), id="endless", shutdown=3.0),
        Child(Slow, log, "last", id="last"),
    )
    with pytest.raises(KeyboardInterrupt):
        async with open_system(tree, watchdog=None):
            raise_signal()
            await trio.sleep_forever()
    assert log == [("last", Shutdown())]
    assert trio.current_time() == 4.0


def slots() -> int:
    gc.collect()
    return sum(type(each) is Slot for each in gc.get_objects())


@pytest.mark.parametrize("cancelled", ["before", "while it waits", "while it queues"])
@pytest.mark.parametrize("caller", ["the body", "an actor"])
async def test_X5_a_call_in_a_cancelled_scope_leaves_nothing(
    system: System, both_ways: str, cancelled: str, caller: str
) -> None:
    laters: list[Later[str]] = []
    server = await system.start(Child(Recorder, mailbox=1))
    client = await system.start(Recorder)
    await client.call(Run(checkpoint))
    await server.call(Ask())
    slots_before, timers = slots(), len(system.scheduler.timers)
    if cancelled == "while it queues":
        server.cast(naps(100))
        await wait_all_tasks_blocked()

    async def ask(_: object = None) -> bool:
        with trio.CancelScope() as scope:
            if cancelled == "before":
                scope.cancel()
            else:
                scope.deadline = trio.current_time() + 1
            await server.call(defers(laters), timeout=50)
        return scope.cancelled_caught

    for _ in range(90):
        assert await (ask() if caller == "the body" else client.call(Run(ask)))
    assert len(laters) == (90 if cancelled == "while it waits" else 0)
    while laters:
        laters.pop().reply("late")
    assert len(system.scheduler.timers) == timers
    await trio.sleep(200)
    assert await server.call(Ask("another")) == "another"
    # What an actor owes is swept now and then, not each time.
    assert slots() <= slots_before + 16
    await server.stop()
    await wait_all_tasks_blocked()
    await server.call(Ask())
    assert slots() == slots_before


async def test_X6_an_on_stop_that_awaits_is_shielded(system: System) -> None:
    log: Log = []
    with trio.move_on_after(1) as scope:
        async with open_system(Child(Slow, log, "a", 3.0), watchdog=None):
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert log == [("a", Shutdown())]
    assert trio.current_time() == 4.0


@pytest.mark.parametrize("shutdown", [0.5, 2.0, 10.0])
async def test_X6_and_is_cut_off_at_the_shutdown_time(system: System, shutdown: float) -> None:
    log: Log = []
    ref = await system.start(Child(Slow, log, "a", 60.0, shutdown=shutdown, restart="temporary"))
    assert await ref.stop()
    assert trio.current_time() == shutdown
    assert await ref.wait() == Killed()
    assert log == []


async def test_X6_after_a_crash_it_has_five_seconds(system: System) -> None:
    log: Log = []
    ref = await system.start(Slow, log, "a", 60.0)
    ref.cast(Do(raises(Own())))
    exit = await ref.wait()
    assert isinstance(exit, Crashed)
    assert trio.current_time() == 5.0
    assert log == []


async def test_X6_turn_and_last_words_share_the_shutdown_time(system: System) -> None:
    """K16: both within it, not each."""
    log: Log = []
    ref = await system.start(Child(Slow, log, "a", 3.0, shutdown=5.0, restart="temporary"))
    ref.cast(naps(4))
    await wait_all_tasks_blocked()
    await ref.stop()
    assert trio.current_time() == 5.0
    assert await ref.wait() == Killed()
    assert log == []


async def busy(system: System) -> None:
    """Something of everything that takes a task."""
    refs = [await system.start(Child(Recorder)) for _ in range(3)]
    refs[0].cast(Run(forever))
    refs[1].cast(Do(lambda self: self.start_soon(trio.sleep_forever)))
    refs[2].cast(Do(lambda self: (self.every(1.0, Note()), self.idle_after(3.0), None)[-1]))
    dynamic = await system.start(Child(DynamicSupervisor))
    for _ in range(5):
        await dynamic.call(StartChild(Child(Slow, [], "child")))
    crashing = await system.start(Child(Recorder, backoff=Backoff(60.0, 60.0)))
    crashing.cast(Do(raises(Own())))
    await trio.sleep(10)


async def test_X7_after_a_stop_the_task_tree_is_the_one_before() -> None:
    await trio.lowlevel.checkpoint()
    before = tasks()
    async with open_system(theatre([]), watchdog=None) as system:
        await busy(system)
        assert len(tasks()) > len(before)
    assert tasks() == before
    assert leftovers(system) == []


async def start_another(self: Recorder) -> None:
    self.start_soon(trio.sleep_forever)
    await trio.sleep(1)


async def test_X7_when_an_actor_has_ended_so_have_its_tasks(system: System) -> None:
    await wait_all_tasks_blocked()
    before = tasks()
    for exit in EXITS:
        ref = await system.start(Recorder)
        ref.cast(Do(lambda self: self.start_soon(trio.sleep_forever)))
        ref.cast(Run(start_another))
        await wait_all_tasks_blocked()
        assert len(tasks()) == len(before) + 3
        ref.cast(quits(exit))
        await ref.wait()
        await wait_all_tasks_blocked()
        assert tasks() == before


async def test_X7_nothing_at_all_is_left_behind(caplog: pytest.LogCaptureFixture) -> None:
    for name in ("actors", "supervisors"):
        # A report that is kept keeps its actor's ref.
        caplog.set_level(logging.CRITICAL, name)
    async with no_leaks():
        async with open_system(theatre([]), watchdog=None) as system:
            await busy(system)
        del system


async def test_X8_time_is_virtual_here(virtual_clock: Any) -> None:
    began = time.monotonic()
    await trio.sleep(80_000)
    assert trio.current_time() == virtual_clock.time == 80_000
    assert time.monotonic() - began < 60


async def test_X9_with_a_full_mailbox_cast_raises_and_send_waits(system: System) -> None:
    log: Log = []
    ref = await system.start(Child(Recorder, log, mailbox=2))
    ref.cast(naps(5))
    await wait_all_tasks_blocked()
    ref.cast(Note(1))
    ref.cast(Note(2))
    with pytest.raises(MailboxFull, match="2 messages") as full:
        ref.cast(Note("refused"))
    assert (full.value.ref, full.value.message) == (ref, Note("refused"))
    with trio.move_on_after(1) as scope:
        await ref.send(Note("given up"))
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        for number in (3, 4, 5):
            nursery.start_soon(ref.send, Note(number))
            await wait_all_tasks_blocked()
    assert trio.current_time() == 5.0
    await ref.call(Ask())
    assert log == [1, 2, 3, 4, 5]


async def test_X9_and_a_stop_gets_through(system: System) -> None:
    """K16. Who waited for room is let go, its message a dead letter."""
    letters = dead_letters(system)
    log: Log = []
    ref = await system.start(Child(Recorder, log, mailbox=1, restart="temporary"))
    ref.cast(naps(2))
    await wait_all_tasks_blocked()
    ref.cast(Note("queued"))
    results: Log = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.send, Note("waits for room"))
        await wait_all_tasks_blocked()
        nursery.start_soon(outcome, ref, Ask(), results)
        await wait_all_tasks_blocked()
        assert await ref.stop()
        assert trio.current_time() == 2.0
    assert log == []
    assert [each.message for each in letters] == [Note("queued"), Note("waits for room")]
    assert isinstance(results[0], NoSuchActor)


@pytest.mark.parametrize("length", [2, 3, 5])
async def test_X10_who_would_wait_in_a_ring_is_told_the_whole_ring(
    system: System, length: int
) -> None:
    refs: list[Ref[Any]] = [await system.start(Recorder, name=f"n{i}") for i in range(length)]
    errors: list[CallCycle] = []

    def asks(number: int) -> Run:
        async def ask(_: Recorder) -> object:
            following = refs[(number + 1) % length]
            if number + 1 == length:
                with pytest.raises(CallCycle) as cycle:
                    await following.call(Ask())
                errors.append(cycle.value)
                return "told"
            return await following.call(asks(number + 1))

        return Run(ask)

    assert await refs[0].call(asks(0)) == "told"
    [error] = errors
    assert set(error.chain) == set(refs)
    assert error.chain[0] == error.chain[-1] == refs[-1]
    for ref in refs:
        assert ref.path in str(error)
    assert trio.current_time() == 0.0
    for ref in refs:
        assert await ref.call(Ask("alive")) == "alive"


@attrs.define(eq=False)
class Shipped(Actor):
    """An actor of the module, for a spec that travels."""

    balance: int
    currency: str = "EUR"

    def on_start(self) -> None:
        self.balance += 1


def local_class() -> type[Recorder]:
    class Local(Recorder):
        """Cannot be imported where the spec arrives."""

        def on_start(self) -> None:
            self.log.append(("started", self.log[0]))

    return Local


def specs() -> list[Child[Any]]:
    return [
        Child(Shipped, 10, id="alice", restart="transient", shutdown=2.0, mailbox=5),
        Child(partial(Shipped, currency="USD"), 10, backoff=Backoff(0.5, 5.0, limit=3)),
        Child(Recorder, [1, {"a": (2, 3)}], name="recorder", start_timeout=1.5),
        one_for_one(Child(Shipped, 1), rest_for_one(Child(Shipped, 2)), max_restarts=7),
        Child(DynamicSupervisor),
    ]


@pytest.mark.parametrize("index", range(5))
async def test_X11_a_spec_goes_through_cloudpickle_and_back(system: System, index: int) -> None:
    spec = specs()[index]
    copy = cloudpickle.loads(cloudpickle.dumps(spec))
    assert repr(copy) == repr(spec)
    fields = [each.name for each in attrs.fields(Child) if each.name not in ("factory", "args")]
    for name in fields:
        assert getattr(copy, name) == getattr(spec, name)
    assert (await system.start(copy)).alive


async def test_X11_so_does_one_of_a_class_nobody_can_import(system: System) -> None:
    spec = Child(local_class(), ["argument"], id="local")
    copy = cloudpickle.loads(cloudpickle.dumps(spec))
    ref = await system.start(copy)
    assert await ref.call(Do(lambda self: self.log)) == ["argument", ("started", "argument")]


@pytest.mark.parametrize(
    ("moments", "gives_up"),
    [
        ([0.0, 5.0], True),
        ([0.0, 5.0 + 1e-9], False),
        ([0.0, 5.0 - 1e-9], True),
        ([3.0, 8.0], True),
        ([3.0, 8.5, 13.4], True),
        ([3.0, 8.5, 13.5 + 1e-9, 18.6], False),
        ([0.0, 0.0], True),
    ],
)
async def test_X12_the_restart_window_is_exact_at_its_boundary(
    moments: list[float], gives_up: bool
) -> None:
    """S2: what is exactly ``within`` old still counts, as in OTP."""
    root = one_for_one(Child(Recorder, id="leaf"), max_restarts=1, within=5.0)
    error = Own("crash")
    reached: list[float] = []

    async def crash_at_each() -> None:
        async with open_system(root, watchdog=None) as system:
            ref = await leaf(system, "leaf")
            for moment in moments:
                await trio.sleep_until(moment)
                ref.cast(Do(raises(error)))
                await wait_all_tasks_blocked()
                reached.append(trio.current_time())
                assert ref.alive

    if not gives_up:
        await crash_at_each()
        assert reached == moments
        return
    with pytest.raises(RestartLimitExceeded) as gave_up:
        await crash_at_each()
    assert gave_up.value.__cause__ is error
    assert reached == moments[:-1]
    assert trio.current_time() == moments[-1]
