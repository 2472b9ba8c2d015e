"""K15 starting, K16 stopping, K17 the unresponsive."""

from __future__ import annotations

import functools
import logging
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
    Exit,
    Killed,
    Normal,
    NoSuchActor,
    Ref,
    Shutdown,
    StartFailed,
    System,
    handles,
    open_system,
)
from actors.introspection import get_state, suspend
from actors.runtime.root import Temporary
from actors.telemetry import ActorStarted, ActorStopped, ActorUnresponsive
from actors.testing import VirtualClock, dead_letters, leftovers, task_count
from supervisors import (
    Backoff,
    Child,
    ChildRunning,
    DeleteChild,
    DynamicSupervisor,
    RestartChild,
    StartChild,
    StopChild,
    Supervisor,
    WhichChildren,
    one_for_all,
)

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


@attrs.frozen
class AwaitSoon:
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
    async def wait_soon(self, message: AwaitSoon) -> None:
        await message.function(self)


class Keeper(Supervisor):
    max_restarts = 1000

    def __init__(self, *children: Child[Any]) -> None:
        self.specs = children

    def children(self) -> list[Child[Any]]:
        return list(self.specs)


async def crash(ref: Ref[Any]) -> None:
    with pytest.raises(ActorDied):
        await ref.call(Do(boom))
    await wait_all_tasks_blocked()


async def stubborn(seconds: float) -> None:
    """Does not yield to cancellation for so long."""
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)


# -- K15


async def test_K15_init_takes_the_arguments(system: System) -> None:
    class Takes(Worker):
        def __init__(self, one: int, two: str = "two", *, three: int = 3) -> None:
            self.all = (one, two, three)

    for ref, wanted in (
        (await system.start(Takes, 1), (1, "two", 3)),
        (await system.start(Takes, 1, "b"), (1, "b", 3)),
        (await system.start(Takes, 1, three=33), (1, "two", 33)),
        (await system.start(functools.partial(Takes, three=33), 1, name="p"), (1, "two", 33)),
        (await system.start(functools.partial(Takes, 1, "b")), (1, "b", 3)),
    ):
        assert await ref.call(Do(lambda actor: actor.all)) == wanted


async def test_K15_a_factory_makes_the_actor(system: System) -> None:
    made: list[Worker] = []

    def factory(number: int) -> Worker:
        made.append(Worker())
        return made[-1]

    ref = await system.start(factory, 3)
    assert await ref.call(Do(lambda actor: actor is made[0])) is True
    with pytest.raises(StartFailed) as caught:
        await system.start(lambda: made[0])
    assert "is running already" in str(caught.value.__cause__)
    with pytest.raises(StartFailed) as caught:
        await system.start(lambda: 3)  # type: ignore[arg-type, return-value]
    assert "is an instance of a subclass of Actor. Got: 3" in str(caught.value.__cause__)


async def test_K15_init_knows_its_ref_and_its_system(system: System) -> None:
    class Knows(Worker):
        def __init__(self) -> None:
            self.known = (self.ref, self.system, self.parent)

    ref = await system.start(Knows)
    assert await ref.call(Do(lambda actor: actor.known)) == (ref, system, None)


async def test_K15_start_returns_when_on_start_is_done(system: System) -> None:
    log: list[str] = []

    class Slow(Worker):
        async def on_start(self) -> None:
            log.append("begins")
            await trio.sleep(3)
            log.append("ends")

    ref = await system.start(Slow)
    log.append("started")
    assert log == ["begins", "ends", "started"]
    assert trio.current_time() == pytest.approx(3)
    assert ref.alive


@pytest.mark.parametrize("where", ["init", "plain", "async"])
async def test_K15_what_fails_while_starting_is_start_failed_and_all_is_gone(
    system: System, where: str
) -> None:
    stopped: list[Exit] = []
    refs: list[Ref[Any]] = []

    class Fails(Worker):
        def __init__(self) -> None:
            refs.append(self.ref)
            if where == "init":
                raise Boom("init")

        if where == "plain":

            def on_start(self) -> None:
                raise Boom("plain")

        elif where == "async":

            async def on_start(self) -> None:
                await trio.sleep(1)
                raise Boom("async")

        def on_stop(self, exit: Exit) -> None:
            stopped.append(exit)

    tasks = task_count()
    with pytest.raises(StartFailed, match=rf"did not start: Boom\('{where}'\)") as caught:
        await system.start(Fails, name="fails")
    assert isinstance(caught.value.__cause__, Boom)
    assert caught.value.ref == refs[0]
    assert refs[0].state == "gone"
    assert system.whereis("fails") is None
    assert stopped == []
    assert leftovers(system) == []
    await wait_all_tasks_blocked()
    assert task_count() == tasks
    assert isinstance(await refs[0].wait(), Crashed)


async def test_K15_on_start_is_bounded_by_start_timeout(system: System) -> None:
    class Never(Worker):
        async def on_start(self) -> None:
            await trio.sleep_forever()

    for spec in (Child(Never, start_timeout=2.0), Temporary(Never, start_timeout=2.0)):
        began = trio.current_time()
        with pytest.raises(StartFailed) as caught:
            await system.start_place(spec)
        assert trio.current_time() - began == pytest.approx(2)
        assert isinstance(caught.value.__cause__, trio.TooSlowError)
        assert "on_start took longer than 2.0 s" in str(caught.value.__cause__)
    began = trio.current_time()
    with pytest.raises(StartFailed):
        await system.start(Never)
    assert trio.current_time() - began == pytest.approx(30)


async def test_K15_the_bound_of_one_start_does_not_end_a_later_incarnation(
    system: System,
) -> None:
    """The second start is cancelled by its side task; the third one succeeds, and lives on."""

    async def fail() -> None:
        raise Boom

    class Starts(Worker):
        async def on_start(self) -> None:
            if self.ref.incarnation == 2:
                self.start_soon(fail)
                await trio.sleep(5)

    top = await system.start(Keeper)
    ref = await top.call(StartChild(Child(Starts, start_timeout=10.0)))
    await crash(ref)
    assert (ref.incarnation, ref.state) == (3, "up")
    await trio.sleep(60)
    assert (ref.incarnation, ref.state) == (3, "up")


async def test_K15_a_start_that_is_over_leaves_no_timer(system: System) -> None:
    class Starts(Worker):
        async def on_start(self) -> None:
            await trio.sleep(1)

    async def fail() -> None:
        raise Boom

    class Fails(Worker):
        async def on_start(self) -> None:
            self.start_soon(fail)
            await trio.sleep(1)

    await system.start(Starts)
    assert len(system.scheduler.timers) == 0
    with pytest.raises(StartFailed):
        await system.start(Fails)
    assert len(system.scheduler.timers) == 0


async def test_K15_a_start_that_is_cancelled_leaves_neither_actor_nor_name(
    system: System,
) -> None:
    log: list[str] = []

    class Slow(Worker):
        async def on_start(self) -> None:
            try:
                await trio.sleep(10)
            finally:
                log.append("cancelled")

    with trio.move_on_after(1) as scope:
        await system.start(Slow, name="slow")
    assert scope.cancelled_caught
    await wait_all_tasks_blocked()
    assert log == ["cancelled"]
    assert system.whereis("slow") is None
    assert not system.root.places
    assert (await system.start(Worker, name="slow")).alive


async def test_K15_on_ready_runs_before_the_first_message_but_the_starter_does_not_wait(
    system: System, both_ways: str
) -> None:
    log: list[str] = []

    class Plain(Worker):
        def on_ready(self) -> None:
            log.append("on_ready")

    class Async(Worker):
        async def on_ready(self) -> None:
            await trio.sleep(1)
            log.append("on_ready")

    for cls in (Plain, Async):
        began = trio.current_time()
        ref = await system.start(cls)
        assert trio.current_time() == began
        ref.cast(DoSoon(lambda actor: log.append("message")))
        await ref.call(Do(lambda actor: log.append("call")))
        assert log == ["on_ready", "message", "call"]
        log.clear()


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_K15_a_failing_on_ready_is_a_counted_crash(system: System, kind: str) -> None:
    class Fails(Worker):
        if kind == "plain":

            def on_ready(self) -> None:
                if self.ref.incarnation < 3:
                    raise Boom

        else:

            async def on_ready(self) -> None:
                await trio.sleep(0.1)
                if self.ref.incarnation < 3:
                    raise Boom

    class Strict(Keeper):
        max_restarts = 2

    class Stricter(Keeper):
        max_restarts = 1

    top = await system.start(Strict, Child(Fails, name="fails"))
    ref = system.whereis("fails")
    assert ref is not None
    assert await ref.call(Do(lambda actor: actor.ref.incarnation)) == 3
    assert top.alive
    await top.stop()
    top = await system.start(Stricter, Child(Fails))
    exit = await top.wait()
    assert isinstance(exit, Crashed)


async def test_K15_an_actor_may_decline_to_run_in_on_start(system: System) -> None:
    class Declines(Worker):
        def on_start(self) -> None:
            self.stop(Shutdown("not today"))

    class DeclinesSlowly(Worker):
        async def on_start(self) -> None:
            await trio.sleep(1)
            self.stop(Shutdown("not today"))

    for cls in (Declines, DeclinesSlowly):
        ref = await system.start(cls, name="declines")
        assert await ref.wait() == Shutdown("not today")
        assert (ref.state, system.whereis("declines")) == ("gone", None)


@pytest.mark.parametrize("actor", [3, object, "Worker", None])
async def test_K15_what_makes_no_actor_is_refused_where_it_is_written(
    system: System, actor: Any
) -> None:
    with pytest.raises(TypeError, match="Got: "):
        await system.start(actor)


@pytest.mark.parametrize("name", ["", 3, b"name", "a/b"])
async def test_K15_a_name_is_a_non_empty_str(system: System, name: Any) -> None:
    with pytest.raises(TypeError, match="name is a non-empty str without '/', or None. Got: "):
        await system.start(Worker, name=name)


async def test_K15_a_child_brings_its_own_arguments_and_name(system: System) -> None:
    for arguments, keywords in (((1,), {}), ((), {"name": "n"}), ((), {"more": 1})):
        with pytest.raises(TypeError, match="takes nothing else"):
            await system.start(Child(Worker), *arguments, **keywords)


async def test_K15_what_does_not_run_cannot_act() -> None:
    actor = Worker()
    for act in (
        lambda: actor.ref,
        lambda: actor.system,
        lambda: actor.stop(),
        lambda: actor.envelope,
        lambda: actor.after(1, "message"),
    ):
        with pytest.raises(RuntimeError, match="This Worker does not run"):
            act()


# -- K16


async def test_K16_an_orderly_stop_lets_the_running_turn_finish_then_runs_on_stop(
    system: System,
) -> None:
    log: list[object] = []

    class Tidies(Worker):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(1)
            log.append(exit)

    async def work(actor: Worker) -> str:
        await trio.sleep(2)
        log.append("turn ends")
        return "done"

    ref = await system.start(Tidies)
    answers: list[str] = []

    async def call() -> None:
        answers.append(await ref.call(Await(work)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        assert await ref.stop(Shutdown("enough")) is True
    assert log == ["turn ends", Shutdown("enough")]
    assert answers == ["done"]
    assert trio.current_time() == pytest.approx(3)
    assert await ref.wait() == Shutdown("enough")


async def test_K16_a_stop_overtakes_user_messages(system: System, both_ways: str) -> None:
    handled: list[int] = []

    async def work(actor: Worker) -> None:
        await trio.sleep(1)

    ref = await system.start(Worker)
    ref.cast(AwaitSoon(work))
    await wait_all_tasks_blocked()
    for number in range(5):
        ref.cast(DoSoon(lambda actor, number=number: handled.append(number)))
    await ref.stop()
    assert handled == []


async def test_K16_a_stop_gets_through_to_a_full_mailbox(system: System) -> None:
    ref = await system.start_place(Temporary(Worker, mailbox=1))
    await suspend(ref)
    ref.cast(DoSoon(boom))
    with trio.fail_after(1):
        assert await get_state(ref) == {}
        assert await ref.stop()
    assert await ref.wait() == Normal()


async def test_K16_past_the_shutdown_time_the_actor_is_cancelled_and_killed(
    system: System,
) -> None:
    log: list[str] = []

    class Tidies(Worker):
        async def on_stop(self, exit: Exit) -> None:
            log.append("on_stop begins")
            await trio.sleep(10)
            log.append("on_stop ends")

    async def work(actor: Worker) -> None:
        try:
            await trio.sleep(100)
        finally:
            log.append("cancelled")

    # The turn takes too long: no on_stop.
    ref = await system.start_place(Child(Tidies, shutdown=3))
    ref.cast(AwaitSoon(work))
    await wait_all_tasks_blocked()
    await ref.stop()
    assert trio.current_time() == pytest.approx(3)
    assert (await ref.wait(), log) == (Killed(), ["cancelled"])
    log.clear()
    # Turn and on_stop share one time.
    ref = await system.start_place(Child(Tidies, shutdown=3))
    ref.cast(AwaitSoon(lambda actor: trio.sleep(2)))
    await wait_all_tasks_blocked()
    await ref.stop()
    assert trio.current_time() == pytest.approx(6)
    assert (await ref.wait(), log) == (Killed(), ["on_stop begins"])


async def test_K16_shutdown_kill_and_the_exit_killed_cancel_at_once(system: System) -> None:
    stopped: list[Exit] = []

    class Tidies(Worker):
        def on_stop(self, exit: Exit) -> None:
            stopped.append(exit)

    for spec, exit in (
        (Child(Tidies, shutdown="kill"), None),
        (Child(Tidies, shutdown=0), None),
        (Child(Tidies), Killed()),
    ):
        ref = await system.start_place(spec)
        ref.cast(AwaitSoon(lambda actor: trio.sleep(100)))
        await wait_all_tasks_blocked()
        await ref.stop(exit)
        assert await ref.wait() == Killed()
    assert trio.current_time() == 0
    assert stopped == []


async def test_K16_infinity_waits_as_long_as_it_takes(system: System) -> None:
    class Tidies(Worker):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(86_400)

    ref = await system.start_place(Child(Tidies, shutdown=float("inf")))
    await ref.stop()
    assert await ref.wait() == Normal()
    assert trio.current_time() == pytest.approx(86_400)


async def test_K16_on_stop_runs_on_a_crash_and_has_five_seconds_then(system: System) -> None:
    log: list[object] = []

    class Tidies(Worker):
        def __init__(self, seconds: float) -> None:
            self.seconds = seconds

        async def on_stop(self, exit: Exit) -> None:
            log.append(type(exit))
            await trio.sleep(self.seconds)
            log.append("done")

    ref = await system.start(Tidies, 4)
    ref.cast(DoSoon(boom))
    exit = await ref.wait()
    assert isinstance(exit, Crashed) and isinstance(exit.exception, Boom)
    assert log == [Crashed, "done"]
    began = trio.current_time()
    ref = await system.start(Tidies, 6)
    ref.cast(DoSoon(boom))
    exit = await ref.wait()
    assert isinstance(exit, Crashed) and isinstance(exit.exception, Boom)
    assert log[2:] == [Crashed]
    assert trio.current_time() - began == pytest.approx(5)


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_K16_a_failing_on_stop_becomes_the_exit_and_the_stop_goes_on(
    system: System, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(Worker):
        if kind == "plain":

            def on_stop(self, exit: Exit) -> None:
                raise Boom("on_stop")

        else:

            async def on_stop(self, exit: Exit) -> None:
                await trio.sleep(1)
                raise Boom("on_stop")

    ref = await system.start(Fails)
    assert await ref.stop() is True
    exit = await ref.wait()
    assert isinstance(exit, Crashed) and str(exit.exception) == "on_stop"
    assert ref.state == "gone"
    (record,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    assert record.report.doing == "on_stop"  # type: ignore[attr-defined]


async def test_K16_on_stop_is_shielded_from_the_cancellation_around_the_system() -> None:
    log: list[str] = []

    class Tidies(Worker):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(3)
            log.append("tidied")

    with trio.move_on_after(1) as scope:
        async with open_system(watchdog=None) as system:
            await system.start(Tidies)
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert log == ["tidied"]
    assert trio.current_time() == pytest.approx(4)


async def test_K16_self_stop_ends_the_actor_after_the_current_turn(
    system: System, both_ways: str
) -> None:
    log: list[str] = []

    def stop(actor: Worker) -> str:
        actor.stop(Shutdown("mine"))
        actor.stop(Shutdown("too late"))
        log.append("goes on")
        return "answered"

    async def stop_async(actor: Worker) -> str:
        answer = stop(actor)
        await trio.sleep(1)
        return answer

    for message in (Do(stop), Await(stop_async)):
        ref = await system.start(Worker)
        assert await ref.call(message) == "answered"
        assert await ref.wait() == Shutdown("mine")
    assert log == ["goes on"] * 2


async def test_K16_self_stop_in_a_side_task_ends_an_idle_actor(system: System) -> None:
    async def side(actor: Worker) -> None:
        await trio.sleep(1)
        actor.stop()

    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.start_soon(side, actor)))
    assert await ref.wait() == Normal()


async def test_K16_the_first_reason_counts_and_a_crash_counts_more(system: System) -> None:
    def stop_and_crash(actor: Worker) -> None:
        actor.stop()
        raise Boom

    ref = await system.start(Worker)
    with pytest.raises(ActorDied):
        await ref.call(Do(stop_and_crash))
    assert isinstance(await ref.wait(), Crashed)


async def test_K16_ref_stop_is_the_actors_own_exit_and_a_permanent_child_comes_back(
    system: System,
) -> None:
    top = await system.start(Keeper)
    permanent = await top.call(StartChild(Child(Worker, id="permanent")))
    transient = await top.call(StartChild(Child(Worker, id="transient", restart="transient")))
    for ref in (permanent, transient):
        assert await ref.stop() is True
    await wait_all_tasks_blocked()
    assert (permanent.state, permanent.incarnation) == ("up", 2)
    assert (transient.state, transient.incarnation) == ("stopped", 1)
    await transient.stop(Killed())
    await permanent.stop(Killed())
    await wait_all_tasks_blocked()
    assert (permanent.state, permanent.incarnation) == ("up", 3)


async def test_K16_several_may_stop_an_actor_at_once(system: System) -> None:
    class Slow(Worker):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(1)

    ref = await system.start(Slow)
    answers: list[bool] = []

    async def stop() -> None:
        answers.append(await ref.stop())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(stop)
    assert answers == [True] * 3
    assert await ref.stop() is False


async def test_K16_the_timeout_of_stop_bounds_the_waiting_and_not_the_stop(
    system: System,
) -> None:
    class Slow(Worker):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(3)

    ref = await system.start(Slow)
    with pytest.raises(CallTimeout, match="has not ended within 1 s"):
        await ref.stop(timeout=1)
    assert ref.state == "stopping"
    assert await ref.wait() == Normal()
    assert trio.current_time() == pytest.approx(3)
    ref = await system.start(Slow)
    assert await ref.stop(timeout=10) is True
    assert len(system.scheduler.timers) == 0
    with pytest.raises(ValueError, match="0 or more seconds. Got: -1"):
        await ref.stop(timeout=-1)


async def test_K16_a_stop_whose_caller_is_cancelled_goes_on(system: System) -> None:
    class Slow(Worker):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(3)

    ref = await system.start(Slow)
    with trio.move_on_after(1):
        await ref.stop()
    await trio.sleep(3)
    assert ref.state == "gone"


async def test_K16_an_actor_that_is_starting_is_killed_by_a_stop(system: System) -> None:
    refs: list[Ref[Any]] = []
    stopped: list[Exit] = []

    class Slow(Worker):
        async def on_start(self) -> None:
            refs.append(self.ref)
            await trio.sleep(100)

        def on_stop(self, exit: Exit) -> None:
            stopped.append(exit)

    failures: list[StartFailed] = []

    async def start() -> None:
        try:
            await system.start(Slow)
        except StartFailed as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        await wait_all_tasks_blocked()
        assert await refs[0].stop() is True
    assert trio.current_time() == 0
    assert len(failures) == 1 and isinstance(failures[0].__cause__, trio.TooSlowError)
    assert "killed while starting" in str(failures[0].__cause__)
    assert stopped == []


async def test_K16_a_stopping_actor_cannot_be_called_and_its_queue_fails(
    system: System,
) -> None:
    class Slow(Worker):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(3)

    ref = await system.start(Slow)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.stop)
        await wait_all_tasks_blocked()
        with pytest.raises(NoSuchActor):
            await ref.call(Do(boom))
        assert trio.current_time() == pytest.approx(3)


async def test_K16_started_and_stopped_are_announced(system: System) -> None:
    events: list[object] = []
    system.telemetry.listen(events.append, ActorStarted, ActorStopped)
    top = await system.start(Keeper)
    ref = await top.call(StartChild(Child(Worker)))
    await crash(ref)
    await top.stop()
    assert [type(each).__name__ for each in events] == [
        *("ActorStarted", "ActorStarted"),
        *("ActorStopped", "ActorStarted"),
        *("ActorStopped", "ActorStopped"),
    ]
    second = events[2]
    assert isinstance(second, ActorStopped)
    assert (second.ref, second.incarnation) == (ref, 1)
    assert isinstance(second.exit, Crashed)


async def test_K16_what_is_handled_when_the_kill_comes_fails_its_caller(
    system: System,
) -> None:
    ref = await system.start(Worker)
    failures: list[ActorDied] = []

    async def call(message: Call[Any]) -> None:
        try:
            await ref.call(message, timeout=None)
        except ActorDied as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call, Await(lambda actor: trio.sleep(100)))
        await wait_all_tasks_blocked()
        await ref.stop(Killed())
    assert [each.exit for each in failures] == [Killed()]


# -- K17


async def test_K17_a_child_that_does_not_yield_is_reported_unresponsive(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    events: list[ActorUnresponsive] = []
    system.telemetry.listen(events.append, ActorUnresponsive)
    ref = await system.start_place(Child(Worker, shutdown=2))
    ref.cast(AwaitSoon(lambda actor: stubborn(10)))
    await wait_all_tasks_blocked()
    assert await ref.stop() is True
    assert trio.current_time() == pytest.approx(3)
    assert events == [ActorUnresponsive(ref, 1)]
    assert f"{ref.path} is unresponsive" in caplog.text
    await trio.sleep(10)
    assert ref.state == "gone"
    assert await ref.wait() == Killed()


async def swallow(actor: Worker) -> None:
    """Swallows its cancellation, and yields to it the third time."""
    for _ in range(2):
        try:
            await trio.sleep(5)
        except trio.Cancelled:
            with trio.CancelScope(shield=True):
                await trio.sleep(4)
    await trio.sleep(5)


async def test_K17_a_swallowed_cancellation_is_reported_as_well(system: System) -> None:
    events: list[ActorUnresponsive] = []
    system.telemetry.listen(events.append, ActorUnresponsive)
    ref = await system.start_place(Child(Worker, shutdown=1))
    ref.cast(AwaitSoon(swallow))
    await wait_all_tasks_blocked()
    await ref.stop()
    assert events == [ActorUnresponsive(ref, 1)]
    assert await ref.wait() == Killed()


async def test_K17_there_is_no_new_tenant_until_the_old_one_is_gone(system: System) -> None:
    top = await system.start(Keeper)
    ref = await top.call(StartChild(Child(Worker, id="worker", shutdown=1)))
    ref.cast(AwaitSoon(lambda actor: stubborn(10)))
    await wait_all_tasks_blocked()
    await top.call(StopChild("worker"))
    assert ref.state == "stopping"
    assert trio.current_time() == pytest.approx(2)
    with pytest.raises(ChildRunning, match=r"worker is stopping\."):
        await top.call(RestartChild("worker"))
    await trio.sleep(9)
    assert ref.state == "stopped"
    assert await top.call(RestartChild("worker")) == ref
    assert (ref.incarnation, ref.state) == (2, "up")
    assert await ref.call(Do(lambda actor: "new")) == "new"


async def test_K17_what_is_sent_to_a_child_that_was_stopped_but_does_not_yield_fails_at_once(
    system: System,
) -> None:
    letters = dead_letters(system)
    top = await system.start(Keeper)
    ref = await top.call(StartChild(Child(Worker, id="worker", shutdown=1)))
    ref.cast(AwaitSoon(lambda actor: stubborn(10)))
    await wait_all_tasks_blocked()
    await top.call(StopChild("worker"))
    ref.cast("nobody handles it")
    with pytest.raises(NoSuchActor):
        await ref.call(Do(lambda actor: "nobody answers"))
    assert [each.message for each in letters] == ["nobody handles it"]


async def two_of_a_group(system: System) -> tuple[Ref[Any], Ref[Any], Ref[Any]]:
    """A group whose second child has crashed, and whose first one does not yield for 10 s."""
    children = Child(Worker, name="stubborn", shutdown=1), Child(Worker, name="crashes")
    top = await system.start(one_for_all(*children, id="group", restart="temporary"))
    first, second = system.whereis("stubborn"), system.whereis("crashes")
    assert first is not None and second is not None
    first.cast(AwaitSoon(lambda actor: stubborn(10)))
    await wait_all_tasks_blocked()
    second.cast(DoSoon(boom))
    await trio.sleep(5)
    assert (first.state, second.state) == ("stopping", "restarting")
    return top, first, second


async def test_K17_a_group_restart_waits_for_it_too(system: System) -> None:
    top, first, second = await two_of_a_group(system)
    first.cast(DoSoon(lambda actor: None))
    answer = await second.call(Do(lambda actor: actor.ref.incarnation), timeout=None)
    assert (answer, trio.current_time()) == (2, pytest.approx(10))
    assert (first.state, second.state) == ("up", "up")
    assert (first.incarnation, second.incarnation) == (2, 2)
    assert top.alive


async def test_K17_a_supervisor_that_waits_for_a_new_tenant_can_be_stopped(
    system: System,
) -> None:
    top, first, second = await two_of_a_group(system)
    await top.stop()
    await wait_all_tasks_blocked()
    assert trio.current_time() <= 7.1
    assert second.state == "gone"
    await trio.sleep(10)
    assert (first.state, first.incarnation) == ("gone", 1)


async def test_K17_the_stop_of_its_siblings_goes_on(system: System) -> None:
    stopped: list[str] = []

    class Tidies(Worker):
        def on_stop(self, exit: Exit) -> None:
            stopped.append(self.ref.name or "")

    for kind in ("static", "dynamic"):
        specs = [
            Child(Tidies, name="first"),
            Child(Worker, name="stubborn", shutdown=1),
            Child(Tidies, name="last"),
        ]
        if kind == "static":
            top = await system.start(Keeper, *specs)
        else:
            top = await system.start(DynamicSupervisor)
            for spec in specs:
                await top.call(StartChild(spec))
        ref = system.whereis("stubborn")
        assert ref is not None
        ref.cast(AwaitSoon(lambda actor: stubborn(100)))
        await wait_all_tasks_blocked()
        began = trio.current_time()
        await top.stop()
        assert trio.current_time() - began == pytest.approx(2)
        assert sorted(stopped) == ["first", "last"]
        assert top.state == "gone"
        stopped.clear()
        await trio.sleep(100)


async def test_K17_an_unresponsive_side_task_and_on_stop_are_reported(system: System) -> None:
    events: list[ActorUnresponsive] = []
    system.telemetry.listen(events.append, ActorUnresponsive)

    class Stubborn(Worker):
        async def on_stop(self, exit: Exit) -> None:
            await stubborn(10)

    one = await system.start_place(Child(Worker, shutdown=1))
    await one.call(Do(lambda actor: actor.start_soon(stubborn, 10)))
    two = await system.start_place(Child(Stubborn, shutdown=1))
    await wait_all_tasks_blocked()
    await one.stop()
    await two.stop()
    assert [each.ref for each in events] == [one, two]
    await trio.sleep(20)
    assert (one.state, two.state) == ("gone", "gone")


async def test_K17_an_unresponsive_start_is_reported_and_its_starter_told_in_the_end(
    system: System,
) -> None:
    events: list[ActorUnresponsive] = []
    system.telemetry.listen(events.append, ActorUnresponsive)

    class Stubborn(Worker):
        async def on_start(self) -> None:
            await stubborn(10)

    with pytest.raises(StartFailed):
        await system.start_place(Child(Stubborn, start_timeout=2.0))
    assert len(events) == 1
    assert not system.root.places


async def test_K17_the_system_is_left_when_the_unresponsive_one_has_ended_in_the_end() -> None:
    async with open_system(watchdog=None) as system:
        top = await system.start(Keeper, Child(Worker, name="stubborn", shutdown=1))
        ref = system.whereis("stubborn")
        assert ref is not None
        ref.cast(AwaitSoon(lambda actor: stubborn(100)))
        await wait_all_tasks_blocked()
    assert trio.current_time() == pytest.approx(100)
    assert (top.state, ref.state) == ("gone", "gone")


async def test_K17_a_backoff_child_that_is_unresponsive_waits_as_well(system: System) -> None:
    top = await system.start(Keeper)
    spec = Child(Worker, id="worker", backoff=Backoff(1, 1, jitter=0))
    ref = await top.call(StartChild(spec))
    await crash(ref)
    assert ref.state == "restarting"
    listed = await top.call(WhichChildren())
    assert [each.state for each in listed] == ["restarting"]
    await trio.sleep(2)
    assert ref.alive


# -- many incarnations


def test_K16_many_starts_and_stops_leave_nothing() -> None:
    async def main() -> None:
        async with open_system(watchdog=None) as system:
            top = await system.start(Keeper)
            before = task_count()
            for round in range(50):
                ref = await top.call(StartChild(Child(Worker, id="worker")))
                await ref.call(Await(lambda actor: trio.sleep(0)))
                await ref.call(Do(lambda actor: actor.start_soon(trio.sleep_forever)))
                if round % 2:
                    await crash(ref)
                await top.call(StopChild("worker"))
                await top.call(DeleteChild("worker"))
            await wait_all_tasks_blocked()
            await trio.sleep(2)
            assert task_count() == before
            assert len(system.scheduler.timers) == 0
        assert leftovers(system) == []

    VirtualClock().run(main)


async def test_K15_a_start_may_take_for_ever(system: System) -> None:
    class Slow(Worker):
        async def on_start(self) -> None:
            await trio.sleep(86_400)

    ref = await system.start_place(Child(Slow, start_timeout=float("inf")))
    assert ref.alive
    assert trio.current_time() == pytest.approx(86_400)


async def test_K19_nothing_is_started_beside_an_actor_that_is_ending(system: System) -> None:
    failures: list[RuntimeError] = []

    class Late(Worker):
        async def on_stop(self, exit: Exit) -> None:
            try:
                self.start_soon(trio.sleep_forever)
            except RuntimeError as error:
                failures.append(error)

    ref = await system.start(Late)
    await ref.stop()
    assert "is ending" in str(failures[0])


async def test_K17_a_supervisor_that_waits_for_a_new_tenant_can_be_killed(
    system: System,
) -> None:
    top, first, second = await two_of_a_group(system)
    await top.stop(Killed())
    assert trio.current_time() <= 7.1
    await trio.sleep(10)
    assert (first.state, second.state, top.state) == ("gone", "gone", "gone")
