"""Isolated actors leave nothing: no process, no descriptor, no object, however often they end."""

from __future__ import annotations

import gc
import logging
import os
import signal
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio

from actors import Actor, ActorDied, Call, Down, Process, Ref, StartFailed, handles, open_system
from actors.isolation.downlink import Downlink
from actors.isolation.far import FarPlace
from actors.isolation.isolated import Isolated
from actors.isolation.outlet import Flight
from actors.testing.leaks import leftovers, no_leaks
from supervisors import Child, DynamicSupervisor, StartChild, one_for_one
from tests.actors.isolation.conftest import children, descriptors
from tests.actors.isolation.far_actors import (
    Fail,
    Far,
    GoOn,
    NoStart,
    Note,
    Notes,
    Pid,
    Plus,
    Slowly,
)
from tests.actors.isolation.in_forks.across_actors import Doer, DoIt
from tests.actors.isolation.in_forks.guarded import real


def alive(*kinds: type) -> dict[str, int]:
    """How many objects there are of each kind."""
    gc.collect()
    found = dict.fromkeys((kind.__name__ for kind in kinds), 0)
    for each in gc.get_objects():
        if type(each) in kinds:
            found[type(each).__name__] += 1
    return found


@real
async def test_a_system_with_isolated_actors_leaves_nothing() -> None:
    logging.disable(logging.CRITICAL)  # pytest keeps what was logged, and with it who crashed
    async with no_leaks():
        assert await a_short_life() == []


async def a_short_life() -> list[str]:
    """What an isolated actor can go through; what its system has left. The watchdog is a thread,
    which takes its time to let go."""
    async with open_system(watchdog=None) as system:
        await system.start(one_for_one(Child(Far, name="far", isolation="process")))
        ref = system.whereis("far")
        assert ref is not None
        await ref.call(Plus(1))
        with pytest.raises(ActorDied):
            await ref.call(Fail("kill"))
        with trio.move_on_after(0.05):
            await ref.call(Slowly("never"))
        assert await ref.call(Notes()) == ["never"]
        ref.monitor(ref)
    return leftovers(system)


@pytest.mark.parametrize("how", ["kill", "raise"])
@real
async def test_a_hundred_restarts_leave_nothing(how: str) -> None:
    async with open_system() as system:
        child = Child(Far, name="far", isolation="process")
        await system.start(one_for_one(child, max_restarts=1000))
        ref = system.whereis("far")
        assert ref is not None
        await ref.call(Plus(1))

        async def restarts(times: int) -> None:
            for _ in range(times):
                with pytest.raises(ActorDied):
                    await ref.call(Fail(how))
                ref.cast(Note("one"))
            await ref.call(Pid())

        await restarts(3)
        before, tasks = descriptors(), trio.lowlevel.current_statistics().tasks_living
        await restarts(97)
        assert descriptors() == before
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        assert len(children()) == 1  # the keeper; its children are its own
        found = alive(Isolated, Downlink, Flight)
        # What has just ended may have a timer left, which lasts some seconds.
        assert found["Downlink"] <= 3 and found["Isolated"] <= 3, found
        assert found["Flight"] <= 10, found
        assert len(ref._place.actor._worker._keeper.workers) == 1


@real
async def test_the_keeper_forgets_who_has_ended() -> None:
    async with open_system() as system:
        for _ in range(20):
            ref = await system.start(Child(Far, isolation="process", restart="temporary"))
            keeper = ref._place.actor._worker._keeper
            await ref.stop()
        assert len(keeper.workers) == 0
        pid = keeper._process.pid
        assert children_of(pid) == ""
        # The three of every process, its connection, and the pair that wakes it.
        assert len(os.listdir(f"/proc/{pid}/fd")) <= 7


@real
async def test_a_keeper_of_an_environment_that_was_leaves_when_nobody_needs_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    child = Child(Far, isolation="process", restart="temporary")
    async with open_system() as system:
        first = await system.start(child)
        for number in range(4):
            monkeypatch.setenv("GENERATION", str(number))
            ref = await system.start(child)
            await ref.call(Pid())
            await ref.stop()
        # That of the first, and the one that was made last.
        assert len(children()) == 2
        assert await first.call(Plus(1)) == 1


@pytest.mark.parametrize("how", ["raise", "exit", "decline"])
@real
async def test_starts_that_fail_leave_nothing(how: str) -> None:
    async with open_system() as system:

        async def start(times: int) -> None:
            for _ in range(times):
                try:
                    await system.start(Child(NoStart, how, isolation="process"))
                except StartFailed:
                    assert how != "decline"

        await start(2)
        before = descriptors()
        await start(15)
        assert descriptors() == before
        assert alive(Downlink)["Downlink"] <= 2


@real
async def test_starts_without_descriptors_left_leave_nothing() -> None:
    """Each attempt fails at another step, and gives back what it had until then."""
    import resource

    async with open_system() as system:
        ref = await system.start(Child(Far, isolation="process"))
        await ref.call(Plus(1))
        before = descriptors()
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        used = {int(each) for each in os.listdir("/proc/self/fd")}
        failures = 0
        for free in range(8):
            # So many numbers below the limit are not taken.
            limit, left = 0, free
            while left or limit in used:
                left -= limit not in used
                limit += 1
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(limit, 3), hard))
            try:
                started = await system.start(Child(Far, isolation="process", restart="temporary"))
            except (StartFailed, OSError):
                failures += 1
                started = None
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            if started is not None:
                await started.stop()
            del started
            assert descriptors() == before, f"with {free} descriptors free"
        assert failures >= 3
        assert await ref.call(Plus(1)) == 2


# -- what grows with the traffic, and shrinks with it


@attrs.frozen
class Chat(Call[int]):
    """Have an isolated actor called by somebody new."""

    whom: Ref[Any]
    times: int


class Passer(Actor):
    """Calls and goes."""

    @handles
    async def chat(self, msg: Chat) -> int:
        for number in range(msg.times):
            await msg.whom.call(Plus(number))
        return msg.times


def sizes(link: Any) -> dict[str, int]:
    """What a link keeps, by name."""
    return {
        "flights": len(link.flights),
        "arrivals": len(link.arrivals),
        "questions": len(link._questions),
        "inlets": len(link._inlets),
        "numbers": len(link._numbers),
        "fars": len(link._fars),
        "moved": len(link.moved),
        "out": len(link.connection._out),
    }


@real
async def test_ten_thousand_calls_of_a_thousand_senders_leave_nothing() -> None:
    async with open_system() as system:
        ref = await system.start(Child(Far, isolation="process"))
        for _ in range(50):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    passer = await system.start(Passer)
                    nursery.start_soon(passer.call, Chat(ref, 10))
            while system.root.places:
                place = next(reversed(system.root.places))
                if place.ref._place.actor.__class__ is not Passer:
                    break
                await place.ref.stop()
            del passer, place, nursery
            gc.collect()
        assert await ref.call(Plus(0)) == 1000 * 45
        here = sizes(ref._place.actor._link)
        assert here["flights"] == here["arrivals"] == here["questions"] == here["out"] == 0, here
        assert here["numbers"] <= 5, here
        assert here["inlets"] <= 200, here
        there = await inside(ref)
        assert there["flights"] == there["arrivals"] == there["questions"] == 0, there
        assert there["fars"] <= 50, there
        assert there["inlets"] <= 5, there


async def inside(ref: Ref[Any]) -> dict[str, int]:
    """What the worker's end of the link keeps."""
    from actors.introspection import _request

    def look(place: Any) -> dict[str, int]:
        import gc

        from actors.isolation.uplink import Uplink

        gc.collect()
        [link] = [each for each in gc.get_objects() if type(each) is Uplink]
        from tests.actors.isolation.in_forks.test_leaks_isolation import sizes

        return {**sizes(link), "places": sum(type(each) is FarPlace for each in gc.get_objects())}

    return await _request(ref, look, 10.0, inside=True)


@real
async def test_calls_that_nobody_waits_for_leave_nothing() -> None:
    async with open_system() as system:
        ref = await system.start(Child(Far, isolation="process"))
        for _ in range(5):
            async with trio.open_nursery() as nursery:
                for _ in range(20):
                    nursery.start_soon(ref.call, Slowly("never"))
                await ref.call(Notes())
                nursery.cancel_scope.cancel()
        ref.cast(GoOn())
        await ref.call(Plus(1))
        here, there = sizes(ref._place.actor._link), await inside(ref)
        assert here["flights"] == 0 and there["arrivals"] == 0


class Watcher(Actor):
    """Watches somebody from the moment it comes up."""

    def __init__(self, whom: Ref[Any]) -> None:
        self.whom = whom

    def on_start(self) -> None:
        self.monitor(self.whom)

    @handles
    def down(self, msg: Down) -> None:
        pass

    @handles
    def fail(self, msg: Fail) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @handles
    def again(self, msg: Plus) -> int:
        for _ in range(msg.amount):
            self.monitor(self.whom).cancel()
        return msg.amount


@real
async def test_who_watched_from_a_process_that_has_ended_watches_no_more() -> None:
    async with open_system() as system:
        watched = await system.start(Doer)
        child = Child(Watcher, watched, name="watcher", isolation="process")
        await system.start(one_for_one(child, max_restarts=1000))
        watcher = system.whereis("watcher")
        assert watcher is not None
        await watcher.call(Plus(1))
        for _ in range(10):
            with pytest.raises(ActorDied):
                await watcher.call(Fail("kill"))
            await watcher.call(Plus(1))
        assert len(watched._place.watchers or ()) <= 2
        assert alive(Downlink)["Downlink"] <= 3
        await watcher.call(Plus(1000))
        assert len(watched._place.watchers or ()) <= 2


@real
async def test_an_orderly_end_leaves_no_timer() -> None:
    """Of those that would see to it, had it not been in order."""
    async with open_system() as system:
        supervisor = await system.start(Child(DynamicSupervisor, restart="temporary"))
        for how in ("raise", "kill", "stop", "self"):
            child = Child(Doer, isolation=Process(heartbeat=5.0), restart="temporary")
            ref = await supervisor.call(StartChild(child))
            if how == "stop":
                await ref.stop()
            elif how == "self":
                ref.cast(DoIt("stop"))
                await ref.wait()
            else:
                with pytest.raises(ActorDied):
                    await ref.call(Fail(how))
            while ref.state != "gone":
                await trio.lowlevel.checkpoint()
            del ref, child
        await supervisor.stop()
        while any("link" in each.name for each in tasks()):
            await trio.lowlevel.checkpoint()
        left = [each for each in leftovers(system) if "timer" in each]
        assert left == []


def tasks() -> list[trio.lowlevel.Task]:
    """Every task there is."""
    from actors.testing.leaks import tasks

    return tasks()


def children_of(pid: int) -> str:
    """The numbers of the processes that a process has started."""
    return Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii")
