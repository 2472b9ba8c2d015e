"""Ends of others, and answers, across processes."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors import (
    Actor,
    ActorDied,
    Crashed,
    Down,
    Killed,
    NoSuchActor,
    Ref,
    Shutdown,
    System,
    handles,
    open_system,
)
from actors.telemetry import DeadLetter
from supervisors import (
    Child,
    one_for_one,
)
from tests.actors.isolation.far_actors import Fail, Notes, Plus
from tests.actors.isolation.in_forks.across_actors import (
    Do,
    Doer,
    DoIt,
    NobodyEither,
    Push,
)
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.places import (
    PAIRS,
    WHERE,
    alone,
    end_of_first,
    named,
    next_incarnation,
    notes,
    until,
)

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
