"""The rules hold whether an actor lives in this process or in one of its own.

Most tests here run twice, with the same actor in either place.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from actors import (
    Actor,
    ActorDied,
    CallTimeout,
    Crashed,
    Down,
    Exit,
    Killed,
    MailboxFull,
    Normal,
    NoSuchActor,
    Process,
    ProcessDied,
    Ref,
    Refusal,
    Shutdown,
    StartFailed,
    System,
    Unhandled,
    handles,
    open_system,
)
from actors.telemetry import DeadLetter
from supervisors import (
    Backoff,
    Child,
    DynamicSupervisor,
    ReplaceChild,
    RestartChild,
    StartChild,
    StopChild,
    Supervisor,
    WhichChildren,
    one_for_all,
    one_for_one,
    rest_for_one,
)
from tests.actors.isolation.across_actors import (
    Coin,
    Do,
    Doer,
    DoIt,
    Keeper,
    Layered,
    LayeredLater,
    Nest,
    No,
    Nobody,
    NobodyEither,
    Push,
    ReadyOnce,
    Slow,
    Stasher,
    Turnstile,
    busy,
)
from tests.actors.isolation.far_actors import Fail, NoStart, Note, Notes, Pid, Plus, Raised
from tests.actors.isolation.guarded import real

WHERE = pytest.mark.parametrize("isolation", [None, "process"], ids=["here", "there"])
PAIRS = pytest.mark.parametrize(
    ("one", "two"),
    [(None, None), ("process", None), (None, "process"), ("process", "process")],
    ids=["here-here", "there-here", "here-there", "there-there"],
)


@asynccontextmanager
async def alone(cls: Any, *args: Any, **keywords: Any) -> AsyncIterator[tuple[System, Ref[Any]]]:
    """A system with one supervised actor, which comes back whatever happens to it."""
    child = Child(cls, *args, name="it", **keywords)
    async with open_system(one_for_one(child, max_restarts=1000)) as system:
        yield system, named(system, "it")


def named(system: System, name: str) -> Ref[Any]:
    """The actor of that name."""
    ref = system.whereis(name)
    assert ref is not None
    return ref


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what is about to happen."""
    while not condition():
        await trio.sleep(0.001)


async def notes(ref: Ref[Any], count: int = 1) -> list[str]:
    """What an actor has noted, once there is so much of it."""
    while len(found := await ref.call(Notes())) < count:
        await trio.sleep(0.001)
    return list(found)


async def next_incarnation(ref: Ref[Any], number: int) -> None:
    """Wait until that one is up."""
    await until(lambda: ref.incarnation >= number and ref.state == "up")


async def end_of_first(ref: Ref[Any]) -> Any:
    """How the first incarnation has ended, be it that the second is up already."""
    await until(lambda: ref.incarnation > 1 or ref._place.exit is not None)
    return ref._place.exit


# -- kinds of actors


@WHERE
@real
async def test_a_state_machine(isolation: Any) -> None:
    async with alone(Turnstile, isolation=isolation) as (_, ref):
        assert await ref.call(Push()) == "locked"
        assert await ref.call(Coin()) == "thank you"
        assert await ref.call(Push()) == "go through"
        assert await ref.call(Coin()) == "thank you"
        assert await ref.call(Coin()) == "too kind"
        # The state timeout locks it again.
        assert (await notes(ref, 5))[-3:] == ["open>locked", "locked>open", "open>locked"]
        with pytest.raises(Unhandled):
            await ref.call(Nobody())


@WHERE
@real
async def test_what_a_state_machine_has_postponed_is_answered_by_the_next_state(
    isolation: Any,
) -> None:
    async with alone(Turnstile, True, isolation=isolation) as (_, ref):
        answers: list[str] = []

        async def push() -> None:
            answers.append(await ref.call(Push()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(push)
            await notes(ref)
            assert await ref.call(Coin()) == "thank you"
        assert answers == ["go through"]


@WHERE
@real
async def test_what_a_state_machine_has_postponed_outlives_it(isolation: Any) -> None:
    async with alone(Turnstile, True, isolation=isolation) as (_, ref):
        answers: list[str] = []

        async def push() -> None:
            answers.append(await ref.call(Push()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(push)
            await notes(ref)
            with pytest.raises(ActorDied):
                await ref.call(Fail("raise"))
            await next_incarnation(ref, 2)
            assert await ref.call(Coin()) == "thank you"
        assert answers == ["go through"]


@WHERE
@real
async def test_K20_middleware_stands_around_the_handlers(isolation: Any) -> None:
    async with alone(Layered, isolation=isolation) as (_, ref):
        assert await ref.call(Plus(10)) == 22
        with pytest.raises(No):
            await ref.call(Plus(2000))
        assert ref.incarnation == 1
        with pytest.raises(Unhandled):
            await ref.call(Nobody())


@WHERE
@real
async def test_K20_middleware_of_the_instance_makes_other_messages_of_them(isolation: Any) -> None:
    """A message that the class has no handler for is its middleware's all the same."""
    async with alone(LayeredLater, isolation=isolation) as (_, ref):
        assert await ref.call(Plus(10)) == 22
        assert await ref.call(Nobody()) == 82
        ref.cast(NobodyEither())
        assert await ref.call(Notes()) == ["translated"]


# -- starting


@WHERE
@pytest.mark.parametrize("how", ["call", "cast", "side"])
@real
async def test_K15_on_start_may_speak_to_others(how: str, isolation: Any) -> None:
    async with open_system() as system:
        keeper = await system.start(Keeper)
        ref = await system.start(Child(Doer, keeper, how, isolation=isolation))
        assert await ref.call(Plus(1)) == 2
        assert await ref.call(Notes()) == (["101"] if how == "call" else [])
        assert ref.incarnation == 1
        if how == "cast":
            assert await notes(keeper) == [f"{ref.path} starts"]


@WHERE
@real
async def test_the_ref_that_an_actor_gives_away_in_on_start_is_its_own(isolation: Any) -> None:
    async with open_system() as system:
        keeper = await system.start(Keeper)
        ref = await system.start(Child(Doer, keeper, "own ref", isolation=isolation))
        assert keeper._place.actor.refs == [ref]
        assert await keeper._place.actor.refs[0].call(Plus(2)) == 3


@WHERE
@pytest.mark.parametrize("how", ["raise", "self.stop"])
@real
async def test_K15_the_end_in_on_ready_is_that_of_an_actor_that_was_up(
    how: str, isolation: Any, tmp_path: Path
) -> None:
    """Repeated, since it depends on what comes in one packet."""
    for number in range(8):
        path = str(tmp_path / str(number))
        async with alone(ReadyOnce, how, path, isolation=isolation) as (_, ref):
            with trio.fail_after(3):
                await next_incarnation(ref, 2)
            assert await ref.call(Plus(7)) == 7


@real
async def test_the_death_of_a_process_in_on_ready_is_that_of_an_actor_that_was_up(
    tmp_path: Path,
) -> None:
    for number in range(4):
        path = str(tmp_path / str(number))
        async with alone(ReadyOnce, "exit", path, isolation="process") as (_, ref):
            with trio.fail_after(3):
                await next_incarnation(ref, 2)
            assert await ref.call(Plus(7)) == 7


@real
async def test_a_death_right_after_the_start_is_noticed_by_a_process_that_was_busy() -> None:
    """That it was up and that it has ended are heard of in one go."""
    async with open_system() as system:
        supervisor = await system.start(Child(DynamicSupervisor, restart="temporary"))

        async def start() -> None:
            with pytest.raises(StartFailed):
                # Or it was up; then there is somebody to be restarted.
                await supervisor.call(StartChild(Child(Doomed, isolation="process")))
                raise StartFailed("It was up.")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            for _ in range(3):
                await trio.sleep(0)
            busy(0.4)
        for info in await supervisor.call(WhichChildren()):
            with trio.fail_after(3):
                assert isinstance(await info.ref.wait(), Crashed)


@real
async def test_who_declines_to_run_keeps_nobody_waiting_who_was_busy() -> None:
    """That it declines, and that its process has ended, are heard of in one go."""
    async with open_system() as system:
        for _ in range(4):
            states: list[str] = []

            async def start(states: list[str] = states) -> None:
                ref = await system.start(Child(NoStart, "decline", isolation="process"))
                states.append(ref.state)

            with trio.fail_after(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(start)
                    for _ in range(6):
                        await trio.lowlevel.checkpoint()
                    busy(0.15)
            assert states == ["gone"]


@real
async def test_a_stop_during_the_start_keeps_nobody_waiting_who_was_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told to end, has come up, and has ended: all of it is heard of in one go."""
    from actors.isolation.isolated import Isolated
    from actors.runtime import lifecycle

    started = Isolated.started
    places: list[Any] = []

    def stop_first(self: Isolated, frame: Any) -> None:
        places.append(self._place)
        lifecycle.end(self._place, Shutdown("enough"))
        started(self, frame)
        busy(0.1)  # until its process has heeded SIGTERM

    monkeypatch.setattr(Isolated, "started", stop_first)
    async with open_system() as system:
        for _ in range(8):
            child = Child(Doer, isolation="process", restart="temporary")
            with trio.fail_after(5):
                with suppress(StartFailed):
                    await system.start(child)
                await until(lambda: not places[-1].running)


class Doomed(Actor):
    """Dies a moment after it has come up."""

    def on_ready(self) -> None:
        self.after(0.05, Fail("kill"))

    @handles
    def fail(self, msg: Fail) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@WHERE
@real
async def test_who_an_actor_is(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        said = await ref.call(Do("who"))
        assert said == "/one_for_one/Doer it 1 <Ref one_for_one /one_for_one>"


# -- timers


@WHERE
@real
async def test_K18_timers(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        ref.cast(DoIt("after"))
        assert await notes(ref) == ["tick"]
        ref.cast(DoIt("every"))
        assert await notes(ref, 4) == ["tick"] * 4


@WHERE
@real
async def test_K18_idleness_is_that_of_the_actor(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (system, ref):
        probe = system.probe()
        ref.cast(DoIt("idle"))
        await trio.sleep(0.2)  # in which nothing comes, which is what is tested
        assert await ref.call(Notes()) == ["idle"]
        await probe.expect_nothing(within=0.01)


# -- stash


@WHERE
@real
async def test_what_is_stashed_comes_back_in_order(isolation: Any) -> None:
    async with alone(Stasher, isolation=isolation) as (_, ref):
        for number in range(5):
            ref.cast(Note(str(number)))
        await ref.call(Coin())
        assert await ref.call(Notes()) == [str(number) for number in range(5)]


CRASHES = pytest.mark.parametrize(
    ("isolation", "how"),
    [(None, "raise"), ("process", "raise"), ("process", "kill"), ("process", "exit")],
    ids=["here", "there", "killed", "left"],
)


@CRASHES
@real
async def test_K12_what_was_stashed_outlives_a_crash(isolation: Any, how: str) -> None:
    async with alone(Stasher, isolation=isolation) as (_, ref):
        for number in range(5):
            ref.cast(Note(str(number)))
            ref.cast(Raised(str(number)))
        with pytest.raises(ActorDied):
            await ref.call(Fail(how))
        await ref.call(Coin())
        expected = [text for number in range(5) for text in (str(number), str(number))]
        assert await ref.call(Notes()) == expected
        assert ref.incarnation == 2


@CRASHES
@real
async def test_K12_what_was_stashed_after_an_await_outlives_a_crash(
    isolation: Any, how: str
) -> None:
    """That it was taken is known before it is known what has become of it."""
    async with open_system() as system:
        keeper = await system.start(Keeper)
        ref = await system.start(
            one_for_one(Child(Stasher, keeper, name="it", isolation=isolation), id="tree")
        )
        ref = named(system, "it")
        for number in range(3):
            ref.cast(Note(str(number)))
        with pytest.raises(ActorDied):
            await ref.call(Fail(how))
        await ref.call(Coin())
        assert await ref.call(Notes()) == ["0", "1", "2"]


@CRASHES
@real
async def test_K12_what_was_stashed_again_outlives_a_crash(isolation: Any, how: str) -> None:
    async with open_system() as system:
        keeper = await system.start(Keeper)
        child = Child(Stasher, keeper, 100, name="it", isolation=isolation)
        await system.start(one_for_one(child, id="tree"))
        ref = named(system, "it")
        for number in range(3):
            ref.cast(Note(str(number)))
        await ref.call(Coin())  # they are tried again, and set aside again
        await ref.call(Pid())
        with pytest.raises(ActorDied):
            await ref.call(Fail(how))
        await ref.call(Coin())
        await ref._place.scheduler.system.whereis("it").call(Pid())  # type: ignore[union-attr]
        stash = await introspected(ref)
        assert stash["tries"] == 6
        assert len(stash["stashed"]) == 3


async def introspected(ref: Ref[Any]) -> dict[str, Any]:
    """Attributes of an actor, and what it has set aside."""
    from actors.introspection import _request

    def look(place: Any) -> dict[str, Any]:
        stash = place.mailbox.stash if place.mailbox is not None else None
        return {
            "tries": place.actor.tries,
            "stashed": [item[0].text for item in stash or ()],
        }

    return await _request(ref, look, 5.0, inside=True)


@real
async def test_K12_what_was_stashed_last_outlives_a_death_between_two_messages() -> None:
    async with alone(Stasher, isolation="process") as (_, ref):
        pid = await ref.call(Pid())
        ref.cast(Raised("only one"))
        while not (await introspected(ref))["stashed"]:
            pass
        os.kill(pid, signal.SIGKILL)
        await end_of_first(ref)
        await ref.call(Coin())
        assert await ref.call(Notes()) == ["only one"]


@real
async def test_K12_what_was_stashed_long_ago_outlives_a_crash() -> None:
    """A page remembers so many messages; what stands in the stash is remembered all the same."""
    async with alone(Stasher, isolation="process") as (_, ref):
        ref.cast(Raised("long ago"))
        for _ in range(9000):
            ref.cast(Fail("nothing"))
            if ref._place.suspended:
                await ref.call(Pid())
        pid = await ref.call(Pid())
        os.kill(pid, signal.SIGKILL)
        await end_of_first(ref)
        await ref.call(Coin())
        assert await ref.call(Notes()) == ["long ago"]


@CRASHES
@real
async def test_K12_what_ends_its_actor_is_not_handled_again_though_it_was_set_aside(
    isolation: Any, how: str
) -> None:
    async with alone(Stasher, isolation=isolation) as (_, ref):
        with pytest.raises(ActorDied):
            await ref.call(Do(how))
        await next_incarnation(ref, 2)
        await ref.call(Coin())
        assert await ref.call(Notes()) == []
        assert ref.incarnation == 2


@WHERE
@real
async def test_K12_what_was_set_aside_last_outlives_the_crash_of_a_side_task(
    isolation: Any,
) -> None:
    """Which handled nothing."""
    async with alone(Stasher, isolation=isolation) as (_, ref):
        ref.cast(Do("side"))
        await end_of_first(ref)
        # It comes to the next one, which has set it aside, and so on.
        await next_incarnation(ref, 3)


@WHERE
@real
async def test_the_stash_is_as_large_as_the_mailbox(isolation: Any) -> None:
    async with alone(Stasher, mailbox=4, isolation=isolation) as (_, ref):
        for number in range(6):
            await ref.send(Raised(str(number)))
        exit = await end_of_first(ref)
        assert isinstance(exit, Crashed) and "MailboxFull" in repr(exit)


# -- side tasks


@WHERE
@real
async def test_K19_the_crash_of_a_side_task_is_that_of_the_actor(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        assert await ref.call(Do("side")) == "started"
        exit = await end_of_first(ref)
        assert isinstance(exit, Crashed) and "beside" in str(exit.exception)
        await next_incarnation(ref, 2)
        assert await ref.call(Plus(1)) == 2


@WHERE
@real
async def test_K19_the_crash_of_a_side_task_cancels_the_running_turn(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(ActorDied, match="beside"):
                    await ref.call(Do("wait"), timeout=5)

            await ref.call(Do("side, later"))
            nursery.start_soon(wait)
        await next_incarnation(ref, 2)


# -- events


class Hall(Supervisor):
    """Hears of what nobody below takes."""

    def __init__(self, *children: Child[Any]) -> None:
        self.below = list(children)
        self.heard: list[str] = []

    def children(self) -> list[Child[Any]]:
        return self.below

    @handles
    def hear(self, msg: Raised) -> None:
        self.heard.append(msg.text)


@PAIRS
@real
async def test_K21_events_rise_through_two_levels(one: Any, two: Any) -> None:
    """A supervisor in a process of its own, and below it an actor in one of its own."""
    if one is None:
        below: Child[Any] = one_for_one(Child(Doer, id="doer", name="doer", isolation=two), id="x")
    else:
        below = Child(Between, two is not None, id="x", isolation=one)
    async with open_system(Child(Hall, below, name="hall")) as system:
        hall = named(system, "hall")
        if one is None:
            named(system, "doer").cast(DoIt("notify"))
        await until(lambda: hall._place.actor.heard == ["from below"])


@real
async def test_what_somebody_above_takes_concerns_nobody_who_never_sends_it() -> None:
    """Its class cannot be imported in the worker."""
    import sys
    import types

    made = types.ModuleType("made_up_events")
    sys.modules["made_up_events"] = made
    text = "import attrs\n@attrs.frozen\nclass MadeUp:\n    text: str\n"
    exec(text, vars(made))

    class Choosy(Hall):
        @handles(made.MadeUp)
        def take(self, msg: Any) -> None:
            self.heard.append("made up")

    below = Child(Doer, id="doer", name="doer", isolation="process")
    async with open_system(Child(Choosy, below, name="hall")) as system:
        hall = named(system, "hall")
        named(system, "doer").cast(DoIt("notify"))
        await until(lambda: hall._place.actor.heard == ["from below"])


class Between(Supervisor):
    """Passes on what comes from below."""

    def __init__(self, deep: bool) -> None:
        self.deep = deep

    def children(self) -> list[Child[Any]]:
        return [Child(Crier, id="doer", isolation="process" if self.deep else None)]


class Crier(Doer):
    """Notifies as soon as it can."""

    def on_ready(self) -> None:
        self.notify(Raised("from below"))


# -- deadlines


@PAIRS
@real
async def test_K10_the_deadline_of_a_call_caps_those_made_inside(one: Any, two: Any) -> None:
    async with open_system() as system:
        witness = await system.start(Keeper)
        inner = await system.start(Child(Doer, isolation=two, shutdown=0.1))
        outer = await system.start(Child(Doer, witness, isolation=one))
        with pytest.raises(CallTimeout) as timeout:
            await outer.call(Do("call for so long", inner, 50.0), timeout=0.1)
        assert not timeout.value.inherited
        assert await notes(witness) == ["inherited: True"]
        # Its own timeout is shorter: it is not inherited, and the call is answered.
        answer = await outer.call(Do("call for so long", inner, 0.05), timeout=5)
        assert answer == "inherited: False"
        assert outer.incarnation == inner.incarnation == 1


@PAIRS
@real
async def test_K10_an_inherited_timeout_that_leaves_the_handler_ends_no_actor(
    one: Any, two: Any
) -> None:
    async with open_system() as system:
        inner = await system.start(Child(Doer, isolation=two, shutdown=0.1))
        outer = await system.start(Child(Doer, isolation=one))
        with pytest.raises(CallTimeout):
            await outer.call(Do("call as long as I may", inner), timeout=0.1)
        assert await outer.call(Plus(1)) == 2
        assert outer.incarnation == inner.incarnation == 1


@WHERE
@real
async def test_the_envelope_has_the_deadline_of_the_caller(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        left = float(await ref.call(Do("left"), timeout=100.0))
        assert 90 < left <= 100
        assert await ref.call(Do("left"), timeout=None) == "None"


@WHERE
@real
async def test_K9_an_answer_after_the_timeout_vanishes(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        with pytest.raises(CallTimeout):
            await ref.call(Coin(), timeout=0.05)
        assert await notes(ref) == ["waiting"]
        ref.cast(DoIt("answer"))
        assert await ref.call(Plus(1)) == 2
        if isolation is not None:
            link = ref._place.actor._link
            assert not link.flights


# -- forwarding


@PAIRS
@real
async def test_K8_a_message_is_handed_on_to_another_process(one: Any, two: Any) -> None:
    async with open_system() as system:
        target = await system.start(Child(Forwarded, isolation=two))
        first = await system.start(Child(Doer, isolation=one))
        assert await first.call(Do("forward", target)) == "answered by another"
        # Who has handed it on is free again.
        assert await first.call(Plus(1)) == 2
        with pytest.raises(No):
            await first.call(Do("forward", target, 1))


@PAIRS
@real
async def test_K8_the_wait_goes_on_with_the_message(one: Any, two: Any) -> None:
    """It is the second of the two that dies."""
    async with open_system() as system:
        target = await system.start(Child(Forwarded, isolation=two))
        first = await system.start(Child(Doer, isolation=one))
        with pytest.raises(ActorDied, match="Forwarded"):
            await first.call(Do("forward", target, 2))
        assert first.incarnation == 1


class Forwarded(Actor):
    """Is handed what others were sent."""

    @handles
    def do(self, msg: Do) -> str:
        if msg.number == 1:
            raise No("neither will I")
        if msg.number == 2:
            raise ValueError("nor can I")
        return "answered by another"


# -- ends of others


@PAIRS
@real
async def test_stop_and_wait_of_another_process(one: Any, two: Any) -> None:
    async with open_system() as system:
        actor = await system.start(Child(Doer, isolation=one))
        other = await system.start(Child(Doer, isolation=two, restart="temporary"))
        async with trio.open_nursery() as nursery:
            results: list[str] = []

            async def ask() -> None:
                results.append(await actor.call(Do("await its end", other)))

            nursery.start_soon(ask)
            await other.call(Plus(1))
            await other.stop()
        assert results == ["Normal"]
        again = await system.start(Child(Doer, isolation=two, restart="temporary"))
        assert await actor.call(Do("stop", again)) == "True"
        assert again.state == "gone"
        assert await actor.call(Do("stop", again)) == "False"


@WHERE
@real
async def test_a_kill_from_another_process_is_a_kill(isolation: Any) -> None:
    """It does not wait for the turn that runs."""

    class Killer(Actor):
        @handles
        async def do(self, msg: Do) -> str:
            assert msg.whom is not None
            return str(await msg.whom.stop(Killed()))

    async with open_system() as system:
        killer = await system.start(Child(Killer, isolation=isolation))
        victim = await system.start(Child(Doer, restart="temporary", shutdown=60.0))
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(ActorDied):
                    await victim.call(Do("wait"), timeout=None)

            nursery.start_soon(wait)
            await until(lambda: victim._place.busy)
            assert await killer.call(Do("kill", victim), timeout=5) == "True"
        assert await victim.wait() == Killed()


@PAIRS
@real
async def test_K14_a_monitor_across_processes(one: Any, two: Any) -> None:
    async with open_system() as system:
        watcher = await system.start(Child(Doer, isolation=one))
        watched = await system.start(Child(Doer, isolation=two, restart="temporary"))
        await watcher.call(Do("monitor", watched))
        await watched.stop()
        assert await notes(watcher) == [f"down: {watched.path} 1 Normal"]
        # Of one that has ended already it comes at once.
        await watcher.call(Do("monitor", watched))
        assert await notes(watcher, 2) == [f"down: {watched.path} 1 Normal"] * 2


@PAIRS
@real
async def test_K14_a_monitor_is_of_one_incarnation(one: Any, two: Any) -> None:
    """The place is restarted, unheard of by who has its ref already."""
    root = one_for_one(
        Child(Doer, name="watcher", isolation=one),
        Child(Doer, name="watched", isolation=two),
        max_restarts=100,
    )
    async with open_system(root) as system:
        watcher, watched = named(system, "watcher"), named(system, "watched")
        await watcher.call(Do("monitor", watched))
        for number in (2, 3):
            with pytest.raises(ActorDied):
                await watched.call(Fail("raise"))
            await next_incarnation(watched, number)
        assert await notes(watcher) == [f"down: {watched.path} 1 Crashed"]
        await watcher.call(Do("monitor", watched))
        with pytest.raises(ActorDied):
            await watched.call(Fail("raise"))
        assert await notes(watcher, 2) == [
            f"down: {watched.path} 1 Crashed",
            f"down: {watched.path} 3 Crashed",
        ]


@WHERE
@real
async def test_K14_a_monitor_needs_nobody_to_keep_the_ref(isolation: Any) -> None:
    """The ref that the message held is gone when the handler has ended."""

    class Forgetful(Doer):
        @handles
        def collect(self, msg: Push) -> str:
            import gc

            gc.collect()
            return "collected"

    async with open_system() as system:
        watcher = await system.start(Child(Forgetful, isolation=isolation))
        watched = await system.start(Doer)
        other = await system.start(Doer)
        await watcher.call(Do("monitor and forget", watched))
        await watcher.call(Do("monitor", other))
        assert await watcher.call(Push()) == "collected"
        await watched.stop()
        with trio.fail_after(3):
            assert await notes(watcher) == [f"down: {watched.path} 1 Normal"]


@PAIRS
@real
async def test_K14_somebody_else_may_be_told(one: Any, two: Any) -> None:
    """``ref.monitor(to=ref)``, whatever processes the two live in."""
    async with open_system() as system:
        told = await system.start(Child(Doer, isolation=one))
        watched = await system.start(Child(Doer, isolation=two, restart="temporary"))
        watched.monitor(told)
        await watched.stop(Shutdown("enough"))
        with trio.fail_after(3):
            assert await notes(told) == [f"down: {watched.path} 1 Shutdown"]
        crashing = await system.start(Child(Doer, isolation=two, restart="temporary"))
        crashing.monitor(told)
        with pytest.raises(ActorDied):
            await crashing.call(Fail("raise"))
        with trio.fail_after(3):
            assert (await notes(told, 2))[1] == f"down: {crashing.path} 1 Crashed"


@real
async def test_K14_somebody_inside_a_process_may_be_told_of_somebody_here() -> None:
    async with open_system() as system:
        inner = await somebody_inside(system)
        watched = await system.start(Doer)
        watched.monitor(inner)
        await watched.stop()
        with trio.fail_after(3):
            assert await notes(inner) == [f"down: {watched.path} 1 Normal"]


@real
async def test_K14_a_monitor_here_of_somebody_inside_there() -> None:
    """Its process ends, and with it everybody inside."""
    async with open_system() as system:
        probe = system.probe()
        inner = await somebody_inside(system)
        assert inner.alive
        inner.monitor(probe.ref)
        await inner.call(Plus(1))
        await named(system, "holder").stop()
        down = await probe.expect(Down, within=3)
        assert down.ref == inner
        with pytest.raises(NoSuchActor):
            await inner.call(Plus(1))


async def somebody_inside(system: System) -> Ref[Any]:
    """An actor that an isolated one has started."""
    probe = system.probe()
    probe.answer(Do, "kept")
    child = Child(Holder, isolation="process", restart="temporary", name="holder")
    holder = await system.start(child)
    await holder.call(Do("give", probe.ref))
    inner = (await probe.expect(Do)).whom
    assert inner is not None
    return inner


class Holder(Actor):
    """Has somebody inside, whom it gives away."""

    @handles
    async def do(self, msg: Do) -> str:
        assert msg.whom is not None
        inner = await self.system.start(Doer)
        return await msg.whom.call(Do("here", inner))


# -- answers


@WHERE
@real
async def test_what_is_not_handled_and_what_is_refused_one_way_are_dead_letters(
    isolation: Any,
) -> None:
    letters: list[DeadLetter] = []
    async with alone(Doer, isolation=isolation) as (system, ref):
        system.telemetry.listen(letters.append, DeadLetter)
        ref.cast(NobodyEither())
        ref.cast(DoIt("refuse"))
        ref.cast(Fail("refuse"))
        assert await ref.call(Notes()) == []
        assert ref.incarnation == 1
        if isolation is None:
            assert len(letters) == 3
        else:
            # What its own handlers refuse is a dead letter in its own process.
            assert [type(each.message) for each in letters] == [NobodyEither]


@WHERE
@real
async def test_a_cast_that_raises_is_a_crash(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        ref.cast(DoIt("raise"))
        exit = await end_of_first(ref)
        assert isinstance(exit, Crashed) and "one way" in str(exit.exception)
        await next_incarnation(ref, 2)


@WHERE
@real
async def test_asynchronous_handlers_take_turns(isolation: Any) -> None:
    """One at a time, in order, whoever calls."""
    async with alone(Doer, isolation=isolation) as (_, ref):
        delays = [0.03 - number / 1000 for number in range(10)]
        for delay in delays:
            ref.cast(Do("note slowly", number=delay))
        assert await ref.call(Notes()) == list(map(str, delays))


@WHERE
@real
async def test_messages_to_oneself_are_messages(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        assert await ref.call(Do("cast to myself")) == "cast"
        assert await notes(ref) == ["from myself"]


# -- stopping and restarting


@WHERE
@real
async def test_K16_an_actor_may_stop_itself(isolation: Any) -> None:
    async with open_system() as system:
        witness = await system.start(Keeper)
        child = Child(Doer, witness, isolation=isolation, restart="transient")
        ref = await system.start(child)
        assert await ref.call(Do("stop myself")) == "stopping"
        assert await ref.wait() == Normal()
        assert await notes(witness) == [f"{ref.id} stopped: Normal"]
        with pytest.raises(NoSuchActor):
            await ref.call(Plus(1))


@WHERE
@real
async def test_K16_an_actor_may_stop_itself_with_a_reason(isolation: Any) -> None:
    async with alone(Doer, restart="transient", isolation=isolation) as (_, ref):
        await ref.call(Do("stop myself", number=1))
        assert await ref.wait() == Shutdown("enough")
        await until(lambda: ref.state == "stopped")


@WHERE
@real
async def test_K16_queued_messages_are_the_next_ones_when_an_actor_stops_itself(
    isolation: Any,
) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        ref.cast(DoIt("stop"))
        for number in range(5):
            ref.cast(Note(str(number)))
        await next_incarnation(ref, 2)
        assert await ref.call(Notes()) == [str(number) for number in range(5)]


ENDS = [
    ("permanent", "Normal", True),
    ("permanent", "Shutdown", True),
    ("permanent", "Crashed", True),
    ("permanent", "Killed", True),
    ("transient", "Normal", False),
    ("transient", "Shutdown", False),
    ("transient", "Crashed", True),
    ("transient", "Killed", True),
    ("temporary", "Normal", False),
    ("temporary", "Crashed", False),
    ("temporary", "Killed", False),
]


@WHERE
@pytest.mark.parametrize(("restart", "end", "again"), ENDS)
@real
async def test_which_ends_are_answered_by_a_restart(
    restart: Any, end: str, again: bool, isolation: Any
) -> None:
    async with alone(Doer, restart=restart, isolation=isolation) as (_, ref):
        match end:
            case "Normal":
                await ref.call(Do("stop myself"))
            case "Shutdown":
                await ref.call(Do("stop myself", number=1))
            case "Crashed":
                with pytest.raises(ActorDied):
                    await ref.call(Fail("raise"))
            case "Killed":
                await ref.stop(Killed())
        if again:
            await next_incarnation(ref, 2)
            assert await ref.call(Plus(1)) == 2
        else:
            await until(lambda: ref.state in ("stopped", "gone"))
            with pytest.raises(NoSuchActor):
                await ref.call(Plus(1))


@WHERE
@real
async def test_an_exception_in_on_stop_is_the_exit(isolation: Any) -> None:
    async with alone(Doer, None, "bad end", restart="temporary", isolation=isolation) as (_, ref):
        await ref.stop()
        exit = await ref.wait()
        assert isinstance(exit, Crashed) and "even at the end" in str(exit.exception)


@WHERE
@real
async def test_a_stop_while_it_starts_is_no_crash(isolation: Any) -> None:
    async with open_system() as system, trio.open_nursery() as nursery:

        async def start() -> None:
            with pytest.raises((StartFailed, trio.Cancelled, NoSuchActor)):
                await system.start(Child(Doer, isolation=isolation))
                raise NoSuchActor("It was up.")

        nursery.start_soon(start)
        await until(lambda: any(True for _ in system.root.places))
    assert not system.root.places


@WHERE
@real
async def test_last_words_are_heard(isolation: Any) -> None:
    """What ``on_stop`` casts as the very last thing: repeated, since trio draws the order."""
    async with open_system() as system:
        keeper = await system.start(Keeper)
        for number in range(1, 21):
            child = Child(Doer, keeper, isolation=isolation, restart="temporary", id="it")
            ref = await system.start(child)
            if number % 3 == 0:
                await ref.stop()
            else:
                with pytest.raises(ActorDied):
                    await ref.call(Fail("raise"))
            with trio.fail_after(2):
                await notes(keeper, number)


@real
async def test_last_words_that_nobody_takes_hold_up_no_end() -> None:
    """Whoever was spoken to takes nothing, for ever; the actor has ended all the same."""
    from actors import introspection

    class Caster(Doer):
        @handles
        def do_it(self, msg: DoIt) -> None:
            for number in range(100):
                self.say(str(number))
            self.stop()

    async with open_system() as system:
        keeper = await system.start(Keeper)
        await introspection.suspend(keeper)
        child = Child(Caster, keeper, name="it", isolation=Process(window=4))
        await system.start(one_for_one(child, id="tree"))
        ref = named(system, "it")
        ref.cast(DoIt("stop"))
        with trio.fail_after(8):
            await next_incarnation(ref, 2)
        assert await ref.call(Plus(1)) == 2


@pytest.mark.parametrize("how", ["stop", "raise"])
@real
async def test_last_words_are_heard_though_they_are_many(how: str) -> None:
    """More of them than may be on their way at once."""

    class Verbose(Doer):
        async def on_stop(self, exit: Exit) -> None:
            for number in range(40):
                self.say(str(number))

    async with open_system() as system:
        keeper = await system.start(Keeper)
        isolation = Process(window=4)
        ref = await system.start(
            Child(Verbose, keeper, isolation=isolation, restart="temporary", shutdown=1.0)
        )
        if how == "stop":
            await ref.stop()
        else:
            with pytest.raises(ActorDied):
                await ref.call(Fail("raise"))
        with trio.fail_after(2):
            assert await notes(keeper, 40) == [str(number) for number in range(40)]


# -- supervisors


@WHERE
@real
async def test_one_for_all(isolation: Any) -> None:
    async with open_system() as system:
        witness = await system.start(Keeper)
        tree = one_for_all(
            *(Child(Doer, witness, id=id, name=id, isolation=isolation) for id in "abc"), id="tree"
        )
        await system.start(tree)
        refs = [named(system, id) for id in "abc"]
        with pytest.raises(ActorDied):
            await refs[1].call(Fail("raise"))
        for ref in refs:
            await next_incarnation(ref, 2)
            assert await ref.call(Plus(1)) == 2
        said = await notes(witness, 3)
        assert sorted(said) == ["a stopped: Shutdown", "b stopped: Crashed", "c stopped: Shutdown"]
        # In reverse.
        assert said.index("c stopped: Shutdown") < said.index("a stopped: Shutdown")


@WHERE
@real
async def test_rest_for_one(isolation: Any) -> None:
    async with open_system() as system:
        witness = await system.start(Keeper)
        tree = rest_for_one(
            *(Child(Doer, witness, id=id, name=id, isolation=isolation) for id in "abcd"),
            id="tree",
        )
        await system.start(tree)
        refs = {id: named(system, id) for id in "abcd"}
        with pytest.raises(ActorDied):
            await refs["b"].call(Fail("raise"))
        for id in "bcd":
            await next_incarnation(refs[id], 2)
        assert refs["a"].incarnation == 1
        said = await notes(witness, 3)
        assert said[1:] == ["d stopped: Shutdown", "c stopped: Shutdown"]
        assert await refs["d"].call(Plus(1)) == 2


@WHERE
@real
async def test_a_backoff_paces_the_restarts(isolation: Any) -> None:
    backoff = Backoff(0.05, 0.05, jitter=0)
    async with alone(Doer, backoff=backoff, isolation=isolation) as (_, ref):
        for number in (2, 3, 4):
            with pytest.raises(ActorDied):
                await ref.call(Fail("raise"))
            await until(lambda: ref.state == "restarting")
            # What is sent meanwhile waits.
            assert await ref.call(Plus(1)) == 2
            assert ref.incarnation == number


@WHERE
@real
async def test_children_are_stopped_restarted_and_replaced_by_message(isolation: Any) -> None:
    async with open_system() as system:
        child = Child(Doer, id="it", name="it", isolation=isolation)
        tree = await system.start(one_for_one(child, id="tree"))
        ref = named(system, "it")
        first = await ref.call(Pid())
        await tree.call(StopChild("it"))
        assert ref.state == "stopped"
        with pytest.raises(NoSuchActor):
            await ref.call(Plus(1))
        assert await tree.call(RestartChild("it")) == ref
        assert await ref.call(Plus(1)) == 2
        assert (await ref.call(Pid()) == first) == (isolation is None)
        other = "process" if isolation is None else None
        await tree.call(ReplaceChild("it", Child(Layered, name="it", isolation=other)))
        with pytest.raises(ActorDied):
            await ref.call(Fail("raise"))
        await next_incarnation(ref, 3)
        # The other class, and in the other place.
        assert await ref.call(Plus(10)) == 22
        assert (await ref.call(Pid()) == os.getpid()) == (other is None)


@WHERE
@real
async def test_twenty_dynamic_children_are_stopped_at_once(isolation: Any) -> None:
    async with open_system() as system:
        witness = await system.start(Keeper)
        supervisor = await system.start(Child(DynamicSupervisor, restart="temporary"))
        refs: list[Ref[Any]] = []

        async def start(number: int) -> None:
            child = Child(Slow, witness, id=f"slow-{number}", isolation=isolation)
            refs.append(await supervisor.call(StartChild(child), timeout=20))

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(start, number)
        pids = {await ref.call(Pid()) for ref in refs}
        assert len(pids) == (1 if isolation is None else 20)
        await supervisor.stop()
        assert len(await notes(witness, 20)) == 20
        assert {ref.state for ref in refs} == {"gone"}


@WHERE
@pytest.mark.parametrize("deep", [False, True], ids=["one level", "two levels"])
@real
async def test_a_process_inside_a_process(deep: bool, isolation: Any) -> None:
    """An isolated supervisor with an isolated child, which is spoken to from here."""
    async with open_system() as system:
        keeper = await system.start(Keeper)
        refs, pids = keeper._place.actor.refs, keeper._place.actor.numbers
        child = Child(Nest, keeper, deep, isolation=isolation, restart="temporary")
        nest = await system.start(child)
        await until(lambda: len(refs) == 1)
        assert await refs[0].call(Plus(1)) == 2
        assert await refs[0].call(Pid()) == pids[0]
        assert (pids[0] == os.getpid()) == (isolation is None and not deep)
        # Its crash is its supervisor's to answer.
        with pytest.raises(ActorDied):
            await refs[0].call(Fail("raise"))
        await until(lambda: len(refs) == 2)
        assert refs[1] == refs[0]
        assert await refs[1].call(Plus(1)) == 2
        await nest.stop()
        assert await notes(keeper, 2) == ["egg stopped: Crashed", "egg stopped: Shutdown"]


@real
async def test_the_death_of_an_outer_process_is_that_of_the_inner_one() -> None:
    async with open_system() as system:
        keeper = await system.start(Keeper)
        pids = keeper._place.actor.numbers
        child = Child(Nest, keeper, isolation="process", name="nest")
        await system.start(one_for_one(child, id="tree"))
        await until(lambda: len(pids) == 1)
        os.kill(named(system, "nest")._place.actor._worker.pid, signal.SIGKILL)
        await until(lambda: len(pids) == 2)
        assert pids[0] != pids[1]
        await until(lambda: not is_running(pids[0]))


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


# -- bounds


@real
async def test_what_a_worker_casts_is_not_lost_with_the_ref() -> None:
    """More than the window holds was cast; the handler has ended, and with it the message that
    held the ref."""

    class Caster(Actor):
        @handles
        def do(self, msg: DoIt) -> None:
            assert msg.whom is not None
            for number in range(100):
                msg.whom.cast(Note(str(number)))

        @handles
        def collect(self, msg: Coin) -> str:
            import gc

            gc.collect()
            return "collected"

    from actors import introspection

    async with open_system() as system:
        caster = await system.start(Child(Caster, isolation=Process(window=4)))
        keeper, other = await system.start(Keeper), await system.start(Keeper)
        await introspection.suspend(keeper)
        caster.cast(DoIt("cast", keeper))
        caster.cast(DoIt("cast", other))  # what was spoken to last is another one
        await notes(other, 100)
        for _ in range(3):
            await caster.call(Coin())
        await introspection.resume(keeper)
        with trio.fail_after(3):
            assert await notes(keeper, 100) == [str(number) for number in range(100)]


@real
async def test_whoever_filled_the_window_of_a_place_that_is_gone_is_told_so() -> None:
    class Caster(Doer):
        @handles
        def do_it(self, msg: DoIt) -> None:
            self.whom = msg.whom
            if msg.what == "cast":
                assert msg.whom is not None
                for number in range(40):
                    msg.whom.cast(Note(str(number)))

    async with open_system() as system:
        letters: list[DeadLetter] = []
        system.telemetry.listen(letters.append, DeadLetter)
        caster = await system.start(Child(Caster, isolation=Process(window=4)))
        busy_one = await system.start(Child(Doer, restart="temporary"))
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(ActorDied):
                    await busy_one.call(Do("wait"), timeout=None)

            nursery.start_soon(wait)
            await until(lambda: busy_one._place.busy)
            caster.cast(DoIt("cast", busy_one))
            await until(lambda: len(busy_one._place.mailbox or ()) == 4)
            caster.cast(DoIt("nothing", busy_one))
            await caster.call(Plus(1))
            await busy_one.stop(Killed())
        with pytest.raises(ActorDied) as died:
            await caster.call(Do("call", busy_one, 1), timeout=3)
        assert "gone" in str(died.value.__cause__)
        # And none of what was cast has vanished without a word.
        await until(lambda: len(letters) == 40)


@WHERE
@real
async def test_what_waits_at_a_place_that_goes_is_a_dead_letter_whoever_sent_it(
    isolation: Any,
) -> None:
    class Caster(Actor):
        @handles
        def do(self, msg: DoIt) -> None:
            assert msg.whom is not None
            for number in range(5):
                msg.whom.cast(Note(str(number)))

        @handles
        def plus(self, msg: Plus) -> int:
            return msg.amount

    letters: list[DeadLetter] = []
    async with open_system() as system:
        system.telemetry.listen(letters.append, DeadLetter)
        caster = await system.start(Child(Caster, isolation=isolation))
        busy_one = await system.start(Child(Doer, restart="temporary"))
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(ActorDied):
                    await busy_one.call(Do("wait"), timeout=None)

            nursery.start_soon(wait)
            await until(lambda: busy_one._place.busy)
            caster.cast(DoIt("cast", busy_one))
            await until(lambda: len(busy_one._place.mailbox or ()) == 5)
            await busy_one.stop(Killed())
        assert [each.message for each in letters] == [Note(str(number)) for number in range(5)]


@WHERE
@real
async def test_a_full_mailbox_says_so(isolation: Any) -> None:
    async with alone(Doer, mailbox=3, shutdown=0.1, isolation=isolation) as (_, ref):
        ref.cast(Do("wait"))
        with pytest.raises(MailboxFull):
            for number in range(2000):
                ref.cast(Note(str(number)))
                if number % 8 == 0:
                    await trio.lowlevel.checkpoint()


# -- what else a process of its own may do


@real
async def test_what_a_thread_logs_hurts_nobody() -> None:
    import logging

    records: list[logging.LogRecord] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    listener = Listener()
    logging.getLogger("threaded").addHandler(listener)
    async with open_system() as system:
        ref = await system.start(Child(Threaded, isolation="process"))
        for number in range(3):
            assert await ref.call(Plus(number), timeout=3) == number
        await until(lambda: len(records) == 3)
        assert records[0].getMessage() == "from a thread: 0"
        assert ref.incarnation == 1


class Threaded(Actor):
    """Lets a thread work, and the thread logs."""

    @handles
    async def plus(self, msg: Plus) -> int:
        import logging

        def work() -> None:
            busy(0.02)
            logging.getLogger("threaded").warning("from a thread: %s", msg.amount)

        await trio.to_thread.run_sync(work)
        return msg.amount


def at_every_level(log: Any) -> None:
    """Four records that are to be heard, and one that is not."""
    log.debug("debug")
    log.info("info")
    log.warning("warning")
    log.getChild("quiet").warning("not heard")
    try:
        raise ValueError("odd")
    except ValueError:
        log.exception("a ValueError")


LOGS = {
    "no unicode": lambda log: log.warning("a file named \udcff"),
    "a large one": lambda log: log.warning("x" * (30 << 20)),
    "many": lambda log: [log.warning("x" * 10_000) for _ in range(3000)],
    "one that cannot be formatted": lambda log: log.warning("%d", "text"),
    "at every level": lambda log: at_every_level(log),
}


@pytest.mark.parametrize("what", LOGS)
@real
async def test_what_is_logged_ends_nobody(what: str) -> None:
    async with open_system() as system:
        ref = await system.start(Child(Logging, isolation="process"))
        ref.cast(Note(what))
        assert await ref.call(Plus(1), timeout=10) == 1
        assert ref.incarnation == 1


@WHERE
@real
async def test_what_is_logged_is_heard_as_it_is_set_here(isolation: Any) -> None:
    """The level of a logger is that which it has in this process, and not that of the root."""
    import logging

    records: list[logging.LogRecord] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("odd").setLevel(logging.DEBUG)
    logging.getLogger("odd").addHandler(Listener())
    logging.getLogger("odd.quiet").setLevel(logging.ERROR)
    async with open_system() as system:
        ref = await system.start(Child(Logging, isolation=isolation))
        ref.cast(Note("at every level"))
        assert await ref.call(Plus(1)) == 1
        heard = [each.getMessage().partition("\n")[0] for each in records]
        assert heard == ["debug", "info", "warning", "a ValueError"]
        assert "ValueError: odd" in logging.Formatter().format(records[-1])


class Logging(Actor):
    """Logs in odd ways."""

    @handles
    def note(self, msg: Note) -> None:
        import logging

        logging.raiseExceptions = False
        LOGS[msg.text](logging.getLogger("odd"))

    @handles
    def plus(self, msg: Plus) -> int:
        return msg.amount


@real
async def test_a_large_event_or_state_ends_nobody() -> None:
    from actors import introspection

    class Large(Actor):
        def __init__(self) -> None:
            self.data = b"x" * (6 << 20)

        @handles
        def note(self, msg: Note) -> None:
            self.notify(Raised("x" * (6 << 20)))

        @handles
        def plus(self, msg: Plus) -> int:
            return msg.amount

    async with open_system() as system:
        ref = await system.start(Child(Large, isolation=Process(max_message=1000)))
        ref.cast(Note("notify"))
        assert await ref.call(Plus(1)) == 1
        try:
            await introspection.get_state(ref)
        except (ActorDied, NoSuchActor):
            raise
        except Exception as error:
            assert "max_message" in str(error)
        assert await ref.call(Plus(1)) == 1
        assert ref.incarnation == 1


@WHERE
@real
async def test_many_failures_with_much_to_say_are_told_to_all(isolation: Any) -> None:
    """They are larger than a packet may be, all together."""

    class Holding(Actor):
        def __init__(self) -> None:
            self.waiting: list[Any] = []

        @handles
        def coin(self, msg: Coin) -> Any:
            self.waiting.append(self.later())
            return self.waiting[-1]

        @handles
        def plus(self, msg: Plus) -> int:
            return len(self.waiting)

        @handles
        def fail(self, msg: Fail) -> None:
            raise ValueError(msg.how * 5000)

    if isolation is not None:
        isolation = Process(max_message=1000)
    async with alone(Holding, isolation=isolation) as (_, ref):
        causes: list[str] = []

        async def ask() -> None:
            with pytest.raises(ActorDied) as died:
                await ref.call(Coin(), timeout=10)
            causes.append(str(died.value.__cause__))

        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(ask)
            while await ref.call(Plus(0)) < 300:
                pass
            ref.cast(Fail("long "))
        assert len(causes) == 300
        assert all("long long" in each for each in causes)


@real
async def test_who_looks_into_an_actor_that_begins_just_now_does_it_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The request is in the packet with which the process begins."""
    from actors import introspection
    from actors.isolation.isolated import Isolated
    from actors.replies import Slot

    launch = Isolated._launch
    slots: list[Slot] = []

    def launch_and_look(self: Isolated) -> None:
        launch(self)
        slots.append(Slot(None, self._place))
        self._ask_inside(introspection.state_of, slots[-1])

    monkeypatch.setattr(Isolated, "_launch", launch_and_look)
    async with open_system() as system:
        ref = await system.start(Child(Stasher, isolation="process"))
        assert await ref.call(Pid()) > 0
        assert slots[0].value["tries"] == 0


@real
async def test_a_busy_system_isolates_as_a_young_one() -> None:
    """Ids have been drawn for every message sent from one actor to another."""
    from itertools import count

    async with open_system() as system:
        system.scheduler.next_id = count(1 << 40).__next__
        ref = await system.start(Child(Doer, isolation="process"))
        assert await ref.call(Plus(1)) == 2


@real
async def test_why_a_process_has_ended_is_told_also_when_its_system_failed() -> None:
    """Whatever takes its system down, its exit code alone says nothing."""

    class Breaks(Actor):
        @handles
        def plus(self, msg: Plus) -> int:
            self.system.nursery.start_soon(self.fails)
            return msg.amount

        async def fails(self) -> None:
            raise ValueError("in the nursery of the system")

    async with alone(Breaks, isolation="process") as (_, ref):
        assert await ref.call(Plus(1)) == 1
        exit = await end_of_first(ref)
        assert isinstance(exit, Crashed)
        text = f"{exit.exception} {getattr(exit.exception, '__notes__', '')}"
        assert "in the nursery of the system" in text


@real
async def test_refusals_are_still_refusals_after_a_restart() -> None:
    async with alone(Doer, isolation="process") as (_, ref):
        for _ in range(2):
            with pytest.raises(No):
                await ref.call(Fail("refuse"))
            with pytest.raises(ActorDied) as died:
                await ref.call(Fail("kill"))
            assert isinstance(died.value.__cause__, ProcessDied)
        assert issubclass(No, Refusal)
