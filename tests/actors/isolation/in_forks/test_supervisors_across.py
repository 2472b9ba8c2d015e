"""Supervisors of isolated actors, and supervisors that are isolated."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import trio

from actors import (
    ActorDied,
    NoSuchActor,
    Ref,
    open_system,
)
from supervisors import (
    Backoff,
    Child,
    DynamicSupervisor,
    ReplaceChild,
    RestartChild,
    StartChild,
    StopChild,
    one_for_all,
    one_for_one,
    rest_for_one,
)
from tests.actors.isolation.far_actors import Fail, Pid, Plus
from tests.actors.isolation.in_forks.across_actors import (
    Doer,
    Keeper,
    Layered,
    Nest,
    Slow,
)
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.places import (
    WHERE,
    alone,
    named,
    next_incarnation,
    notes,
    until,
)

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
