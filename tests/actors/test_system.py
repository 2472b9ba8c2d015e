"""The system itself: opened and closed, its root, its seed, K7, and that two never meet."""

from __future__ import annotations

import contextlib
import signal
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    Crashed,
    Envelope,
    Exit,
    Killed,
    Normal,
    NoSuchActor,
    Ref,
    Shutdown,
    Startable,
    StartFailed,
    System,
    handles,
    open_system,
)
from actors.testing import VirtualClock, leftovers, no_leaks, task_count
from supervisors import Child, RestartLimitExceeded, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable


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
    def __init__(self, log: list[str] | None = None, name: str = "worker") -> None:
        self.log = [] if log is None else log
        self.text = name

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    def do_soon(self, message: DoSoon) -> None:
        message.function(self)

    @handles
    async def wait(self, message: Await) -> Any:
        return await message.function(self)

    async def on_stop(self, exit: Exit) -> None:
        await trio.sleep(1)
        self.log.append(f"{self.text}: {exit}")


class Strict(Supervisor):
    max_restarts = 0

    def __init__(self, *children: Child[Any]) -> None:
        self.specs = children

    def children(self) -> list[Child[Any]]:
        return list(self.specs) or [Child(Worker, name="worker")]


def find(system: System, name: str) -> Ref[Any]:
    ref = system.whereis(name)
    assert ref is not None
    return ref


# -- opening and closing


async def test_what_was_started_is_stopped_in_order_the_last_first() -> None:
    log: list[str] = []
    async with open_system(watchdog=None) as system:
        for name in "abc":
            await system.start(Worker, log, name)
    assert log == [f"{name}: {Shutdown()}" for name in "cba"]
    assert trio.current_time() == pytest.approx(3)
    assert leftovers(system) == []


async def test_an_exception_of_the_block_leaves_bare_after_the_stop() -> None:
    log: list[str] = []
    error = Boom("of the block")
    with pytest.raises(Boom) as caught:
        async with open_system(watchdog=None) as system:
            await system.start(Worker, log)
            raise error
    assert caught.value is error
    assert len(log) == 1


async def test_a_cancelled_block_stops_everything_in_order_first() -> None:
    log: list[str] = []
    with trio.move_on_after(5) as scope:
        async with open_system(watchdog=None) as system:
            await system.start(Worker, log)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert log == [f"worker: {Shutdown()}"]
    assert trio.current_time() == pytest.approx(6)


async def test_a_stop_is_bounded_by_the_shutdown_time() -> None:
    class Slow(Worker):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(100)

    async with open_system(watchdog=None) as system:
        ref = await system.start(Slow)
    assert trio.current_time() == pytest.approx(5)
    assert await_exit(ref) == Killed()


def await_exit(ref: Ref[Any]) -> Exit | None:
    return ref._place.exit


async def test_the_root_waits_for_its_children_whose_bounds_are_their_own() -> None:
    class Slow(Worker):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(20)
            self.log.append("in its own time")

    for root in (Child(Strict, Child(Slow, log := [], shutdown=60)), None):
        began = trio.current_time()
        async with open_system(root, watchdog=None) as system:
            if root is None:
                await system.start(Strict, Child(Slow, log, shutdown=60))
        assert trio.current_time() - began == pytest.approx(20)
    assert log == ["in its own time"] * 2


async def test_nothing_is_started_while_the_system_stops_or_when_it_has_ended() -> None:
    failures: list[StartFailed] = []

    class StartsAnother(Worker):
        async def on_stop(self, exit: Exit) -> None:
            try:
                await self.system.start(Worker)
            except StartFailed as error:
                failures.append(error)

    async with open_system(watchdog=None) as system:
        await system.start(StartsAnother)
    with pytest.raises(StartFailed, match="The system is stopping"):
        await system.start(Worker)
    with pytest.raises(RuntimeError, match="The system is stopping"):
        system.probe()
    assert len(failures) == 1


async def test_a_ref_outlives_its_system_and_says_so() -> None:
    async with open_system(watchdog=None) as system:
        ref = await system.start(Worker)
    with pytest.raises(NoSuchActor):
        await ref.call(Do(lambda actor: None))
    ref.cast("nobody")
    assert (ref.state, await ref.wait(), await ref.stop()) == ("gone", Shutdown(), False)


async def test_a_system_that_is_not_open_says_how_to_open_it() -> None:
    with pytest.raises(RuntimeError, match="async with open_system"):
        System().nursery


async def test_an_open_system_leaves_nothing_behind() -> None:
    async with no_leaks():
        with contextlib.suppress(Boom):
            async with open_system(watchdog=None) as system:
                ref = await system.start(Worker)
                await ref.call(Await(lambda actor: trio.sleep(1)))
                await ref.call(Do(lambda actor: actor.after(100, "never")))
                with trio.move_on_after(1):
                    await ref.call(Do(lambda actor: actor.later()), timeout=None)
                del ref
                raise Boom
        del system


async def test_many_systems_may_be_open_at_once_and_inside_each_other() -> None:
    before = task_count()
    async with open_system(watchdog=None) as outer, open_system(watchdog=None) as inner:
        one, two = await outer.start(Worker), await inner.start(Worker)
        assert await one.call(Await(lambda actor: two.call(Do(lambda other: "inner")))) == "inner"
    assert task_count() == before


# -- the root


async def test_the_root_is_started_first_and_stopped_last() -> None:
    log: list[str] = []
    async with open_system(Child(Strict, Child(Worker, log, "child")), watchdog=None) as system:
        await system.start(Worker, log, "later")
    assert [each.split(":")[0] for each in log] == ["later", "child"]


async def test_a_root_that_gives_up_cancels_the_block_and_leaves_as_that_one_exception() -> None:
    log: list[str] = []
    with pytest.raises(RestartLimitExceeded, match=r"/Strict gave up") as caught:
        async with open_system(
            Child(Strict, Child(Worker, log, name="worker"), id="Strict"), watchdog=None
        ) as system:
            find(system, "worker").cast(DoSoon(boom))
            try:
                await trio.sleep_forever()
            finally:
                log.append("block cancelled")
    assert isinstance(caught.value.__cause__, Boom)
    assert "block cancelled" in log


async def test_what_the_block_makes_of_the_end_of_its_root_does_not_hide_the_reason() -> None:
    with pytest.raises(RestartLimitExceeded):
        async with open_system(Strict, watchdog=None) as system:
            ref = find(system, "worker")
            ref.cast(DoSoon(boom))
            await ref.call(Do(lambda actor: None), timeout=None)
            await ref.call(Do(lambda actor: None), timeout=None)
            await trio.sleep(10)
            raise AssertionError("the block went on")


async def test_a_root_that_crashes_leaves_as_actor_died_with_its_cause() -> None:
    for root in (Worker, lambda: Worker()):
        with pytest.raises(ActorDied, match="ended") as caught:
            async with open_system(root, watchdog=None) as system:
                (place,) = system.root.places
                place.ref.cast(DoSoon(boom))
                await trio.sleep_forever()
        assert isinstance(caught.value.__cause__, Boom)
        assert isinstance(caught.value.exit, Crashed)


async def test_a_root_that_ends_orderly_is_no_failure() -> None:
    async with open_system(Worker, watchdog=None) as system:
        (place,) = system.root.places
        place.ref.cast(DoSoon(lambda actor: actor.stop()))
        assert await place.ref.wait() == Normal()
        await trio.sleep(1)


async def test_a_root_that_is_killed_is_one() -> None:
    with pytest.raises(ActorDied, match="Killed"):
        async with open_system(Worker, watchdog=None) as system:
            (place,) = system.root.places
            await place.ref.stop(Killed())
            await trio.sleep_forever()


async def test_a_root_that_does_not_start_leaves_as_start_failed() -> None:
    class Fails(Worker):
        def on_start(self) -> None:
            raise Boom

    log: list[str] = []
    with pytest.raises(StartFailed) as caught:
        async with open_system(Child(Strict, Child(Worker, log), Child(Fails)), watchdog=None):
            raise AssertionError("the block is not entered")
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, Boom):
        error = error.__cause__
    assert isinstance(error, Boom)
    assert log == [f"worker: {Shutdown()}"]


async def test_S9_a_supervised_actor_that_gives_up_ends_the_system_too() -> None:
    with pytest.raises(RestartLimitExceeded) as caught:
        async with open_system(watchdog=None) as system:
            ref = await system.start(Child(Worker))
            for _ in range(10):
                with pytest.raises(ActorDied):
                    await ref.call(Do(boom))
                await wait_all_tasks_blocked()
            raise AssertionError("the block went on")
    assert isinstance(caught.value.__cause__, Boom)


async def test_S9_supervised_actors_are_restarted_as_their_spec_says(system: System) -> None:
    permanent = await system.start(Child(Worker, name="permanent"))
    temporary = await system.start(Child(Worker, restart="temporary"))
    assert isinstance(Child(Worker), Startable)
    for ref in (permanent, temporary):
        with pytest.raises(ActorDied):
            await ref.call(Do(boom))
        await ref.wait() if ref is temporary else None
    await trio.sleep(2)
    assert (permanent.state, permanent.incarnation, temporary.state) == ("up", 2, "gone")
    assert permanent.path.startswith("/supervised/")


async def test_a_start_that_fails_under_the_supervisor_made_on_demand_is_told(
    system: System,
) -> None:
    class Fails(Worker):
        async def on_start(self) -> None:
            await trio.sleep(1)
            raise Boom

    with pytest.raises(StartFailed):
        await system.start(Child(Fails, name="fails"))
    assert system.whereis("fails") is None


@pytest.mark.parametrize("root", [3, "Root", object])
async def test_a_root_is_an_actor(root: Any) -> None:
    with pytest.raises(TypeError, match="Got: "):
        async with open_system(root, watchdog=None):
            raise AssertionError("the block is not entered")


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"seed": "a"}, "seed is an int or None. Got: 'a'"),
        ({"seed": True}, "seed is an int or None. Got: True"),
        ({"clock": 3}, "clock is a function returning seconds. Got: 3"),
        ({"watchdog": 0}, "more than 0 seconds. Got: 0"),
        ({"watchdog": "5"}, "is a number of seconds. Got: '5'"),
    ],
)
async def test_open_system_says_what_it_takes(keywords: Any, text: str) -> None:
    with pytest.raises((TypeError, ValueError)) as caught:
        async with open_system(**keywords):
            raise AssertionError("the block is not entered")
    assert str(caught.value).endswith(text)


# -- what a system owns


async def test_two_systems_never_meet() -> None:
    async with open_system(watchdog=None) as one, open_system(watchdog=None) as two:
        first = await one.start(Worker, name="same")
        second = await two.start(Worker, name="same")
        assert first != second
        assert (one.whereis("same"), two.whereis("same")) == (first, second)
        heard: list[object] = []
        from actors.telemetry import DeadLetter

        one.telemetry.listen(heard.append, DeadLetter)
        one.groups.join("all", first)
        assert two.groups.members("all") == []
        second.cast("what?")
        await wait_all_tasks_blocked()
        assert heard == []
        one.startables["key"] = 1
        assert two.startables == {}
        ids = {
            (await ref.call(Do(lambda actor: actor.envelope))).id.split("-")[0]
            for ref in (first, second)
        }
        assert len(ids) == 2


async def envelopes(seed: int | None) -> list[Envelope]:
    found: list[Envelope] = []
    async with open_system(seed=seed, watchdog=None) as system:
        one, two = await system.start(Worker), await system.start(Worker)

        def step(actor: Worker, depth: int) -> None:
            found.append(attrs.evolve(actor.envelope, message=depth, sender=None, deadline=None))
            if depth:
                two.cast(DoSoon(lambda other: step(other, depth - 1)))

        for depth in range(4):
            await one.call(Do(lambda actor, depth=depth: step(actor, depth)))
            await wait_all_tasks_blocked()
        found.append(system.random.random())  # type: ignore[arg-type]
    return found


async def test_the_same_seed_gives_the_same_ids_and_the_same_jitter() -> None:
    first = await envelopes(7)
    assert first == await envelopes(7)
    assert first != await envelopes(8)
    assert await envelopes(None) != await envelopes(None)


async def test_ids_are_unique_within_a_system_and_its_runs() -> None:
    found = [each.id for each in (await envelopes(None))[:-1] + (await envelopes(None))[:-1]]
    assert len(set(found)) == len(found)


async def test_now_is_the_clock_that_was_given(system: System, virtual_clock: VirtualClock) -> None:
    began = system.now()
    await trio.sleep(90)
    assert system.now() - began == pytest.approx(90)
    async with open_system(clock=lambda: 7.0, watchdog=None) as other:
        assert other.now() == 7.0


async def test_the_registry_lists_its_names(system: System) -> None:
    await system.start(Worker, name="one")
    await system.start(Worker, name="two")
    assert (list(system.registry), len(system.registry)) == (["one", "two"], 2)
    with pytest.raises(StartFailed, match="The name 'one' belongs to /one already") as caught:
        await system.start(Worker, name="one")
    assert caught.value.ref == system.whereis("one")
    assert system.whereis("three") is None


async def test_actors_see_what_was_in_the_context_when_the_system_was_opened() -> None:
    import contextvars

    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("when opened")
    async with open_system(watchdog=None) as system:
        variable.set("later")
        ref = await system.start(Worker)
        assert await ref.call(Do(lambda actor: variable.get())) == "when opened"


# -- K7


@pytest.mark.parametrize("where", ["caller's turn", "dispatcher", "task", "on_stop"])
def test_K7_keyboard_interrupt_arrives_when_the_turn_ends_and_stops_the_tree_in_order(
    where: str,
) -> None:
    log: list[str] = []

    def interrupt(actor: Worker) -> None:
        signal.raise_signal(signal.SIGINT)
        log.append("the turn goes on")

    async def interrupt_in_task(actor: Worker) -> None:
        interrupt(actor)

    class Interrupts(Worker):
        async def on_stop(self, exit: Exit) -> None:
            if where == "on_stop":
                interrupt(self)
            log.append("stopped")

    async def main() -> None:
        async with open_system(watchdog=None) as system:
            await system.start(Worker, log)
            ref = await system.start(Interrupts)
            if where == "caller's turn":
                await ref.call(Do(interrupt))
            elif where == "dispatcher":
                ref.cast(DoSoon(interrupt))
            elif where == "task":
                ref.cast(Await(interrupt_in_task))
            else:
                return
            await trio.sleep_forever()

    clock = VirtualClock()
    with pytest.raises(KeyboardInterrupt):
        clock.run(main)
    assert log == ["the turn goes on", "stopped", f"worker: {Shutdown()}"]
    assert clock.time <= 10


def test_K7_a_keyboard_interrupt_of_the_block_stops_the_tree_in_order() -> None:
    log: list[str] = []

    async def main() -> None:
        async with open_system(watchdog=None) as system:
            await system.start(Worker, log)
            signal.raise_signal(signal.SIGINT)
            await trio.sleep_forever()

    with pytest.raises(KeyboardInterrupt):
        VirtualClock().run(main)
    assert log == [f"worker: {Shutdown()}"]


def test_K7_the_stop_after_an_interrupt_is_bounded() -> None:
    class Slow(Worker):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(1000)

    async def main() -> None:
        async with open_system(watchdog=None) as system:
            ref = await system.start(Slow)
            ref.cast(DoSoon(lambda actor: signal.raise_signal(signal.SIGINT)))
            await trio.sleep_forever()

    clock = VirtualClock()
    with pytest.raises(KeyboardInterrupt):
        clock.run(main)
    assert clock.time == pytest.approx(5)


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["handler", "side task", "side task that was cancelled"])
def test_K4_an_interrupt_inside_a_nursery_of_an_actor_leaves_as_itself(
    error: type[BaseException], where: str
) -> None:
    async def interrupted(actor: Worker) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.sleep_forever)
            async with trio.open_nursery():
                try:
                    await trio.sleep(1 if where != "side task that was cancelled" else 1000)
                finally:
                    raise error

    async def main() -> None:
        async with open_system(watchdog=None) as system:
            ref = await system.start(Worker)
            if where == "handler":
                ref.cast(Await(interrupted))
            else:
                await ref.call(Do(lambda actor: actor.start_soon(interrupted, actor)))
            if where == "side task that was cancelled":
                await ref.stop()
            await trio.sleep_forever()

    with pytest.raises(error):
        VirtualClock().run(main)


def test_K7_an_interrupt_while_the_last_tasks_end_leaves_as_itself() -> None:
    @trio.lowlevel.enable_ki_protection
    async def interrupt_later() -> None:
        await trio.sleep(60)
        signal.raise_signal(signal.SIGINT)

    async def stubborn(actor: Worker) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep(100)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(interrupt_later)
            async with open_system(watchdog=None) as system:
                ref = await system.start(Worker)
                ref.cast(Await(stubborn))
                await wait_all_tasks_blocked()

    clock = VirtualClock()
    with pytest.raises(BaseException) as caught:
        clock.run(main)
    # The group is that of the nursery above, which is ours only here.
    error = caught.value
    assert isinstance(error, BaseExceptionGroup)
    assert [type(each) for each in error.exceptions] == [KeyboardInterrupt]
    assert clock.time == pytest.approx(100)


async def test_K7_after_an_interrupt_nobody_is_restarted() -> None:
    started: list[int] = []

    class Interrupts(Worker):
        def on_ready(self) -> None:
            started.append(self.ref.incarnation)

    with pytest.raises(SystemExit):
        async with open_system(watchdog=None) as system:
            ref = await system.start(Child(Interrupts))

            def leave(actor: Worker) -> None:
                raise SystemExit

            ref.cast(DoSoon(leave))
            await trio.sleep_forever()
    assert started == [1]
