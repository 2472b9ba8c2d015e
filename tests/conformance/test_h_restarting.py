"""H. The state between two attempts to restart."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Any

import pytest
import trio

from actors import NoSuchActor, Ref, System
from supervisors import (
    AlreadyPresent,
    Backoff,
    Child,
    DynamicSupervisor,
    MaxChildren,
    NoSuchChild,
    RestartChild,
    StartChild,
    StopChild,
)
from tests.conformance.actors_for_tests import (
    STRATEGIES,
    Crash,
    Plain,
    Script,
    Who,
    counts,
    settled,
    states,
    supervise,
    workers,
)

ALL = [*STRATEGIES, "dynamic"]
PACES = [None, Backoff(60, 60)]
"""Attempts one right after the other, and attempts with time in between."""


async def looping(
    system: System,
    script: Script,
    worker: type[Plain],
    strategy: str,
    backoff: Backoff | None,
) -> tuple[Ref[Any], list[Ref[Any]]]:
    """A supervisor that fails to restart its child "b" for ever."""
    a, c = workers(worker, script, "a c")
    (b,) = workers(worker, script, "b", backoff=backoff)
    supervisor, refs = await supervise(system, strategy, a, b, c, max_restarts=10**9)
    script.take()
    script.broken["b"] = inf
    refs[1].cast(Crash())
    if backoff is not None:
        await settled()
    while backoff is None and script.log.count("start b") < 3:
        await trio.lowlevel.checkpoint()
    return supervisor, refs


def key(strategy: str, ref: Ref[Any]) -> Any:
    return ref if strategy == "dynamic" else "b"


@pytest.mark.parametrize("backoff", PACES)
@pytest.mark.parametrize("strategy", ALL)
async def test_H1_the_supervisor_serves_its_inbox_between_attempts(
    system: System, script: Script, worker: type[Plain], strategy: str, backoff: Backoff | None
) -> None:
    supervisor, refs = await looping(system, script, worker, strategy, backoff)
    for _ in range(20):
        assert (await counts(supervisor))[0] == 3
        assert len(await states(supervisor)) == 3
    (d,) = workers(worker, script, "d")
    assert (await supervisor.call(StartChild(d))).alive
    # Under one_for_all the new child belongs to the group that is tried again.
    active = {"one_for_all": (0, 1)}.get(strategy, (1, 2, 3))
    assert await counts(supervisor) in [(4, each, 0, 4) for each in active]
    if backoff is None:
        attempts = script.log.count("start b")
        while script.log.count("start b") < attempts + 3:
            await trio.lowlevel.checkpoint()
    assert await supervisor.stop()
    assert trio.current_time() == 0
    assert {ref.state for ref in refs} == {"gone"}


@pytest.mark.parametrize("backoff", PACES)
@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one", "one_for_all", "dynamic"])
async def test_H2_the_listing_shows_who_is_being_restarted(
    system: System, script: Script, worker: type[Plain], strategy: str, backoff: Backoff | None
) -> None:
    supervisor, refs = await looping(system, script, worker, strategy, backoff)
    down = {
        "one_for_one": "b",
        "dynamic": "b",
        "rest_for_one": "bc",
        "one_for_all": "abc",
    }[strategy]
    assert await states(supervisor) == {
        name: "restarting" if name in down else "up" for name in "abc"
    }
    assert await counts(supervisor) == (3, 3 - len(down), 0, 3)
    assert refs[1].state in ("restarting", "starting", "stopping")


@pytest.mark.parametrize("backoff", PACES)
@pytest.mark.parametrize("strategy", ["one_for_one", "rest_for_one", "one_for_all"])
async def test_H3_H4_stopping_a_restarting_child_ends_the_attempts(
    system: System, script: Script, worker: type[Plain], strategy: str, backoff: Backoff | None
) -> None:
    supervisor, refs = await looping(system, script, worker, strategy, backoff)
    await supervisor.call(StopChild("b"))
    assert refs[1].state == "stopped"
    await settled()
    script.take()
    await trio.sleep(1000)
    assert "start b" not in script.log
    assert (await states(supervisor))["b"] == "stopped"
    with pytest.raises(NoSuchActor):
        await refs[1].call(Who())
    script.broken.clear()
    assert await supervisor.call(RestartChild("b")) == refs[1]
    assert await states(supervisor) == {"a": "up", "b": "up", "c": "up"}
    assert await counts(supervisor) == (3, 3, 0, 3)


@pytest.mark.parametrize("strategy", ["rest_for_one", "one_for_all"])
@pytest.mark.parametrize("backoff", PACES)
async def test_H3_the_rest_of_the_group_is_started_without_it(
    system: System, script: Script, worker: type[Plain], strategy: str, backoff: Backoff | None
) -> None:
    """Beside OTP's case: the others were waiting for it, and wait no longer."""
    supervisor, refs = await looping(system, script, worker, strategy, backoff)
    await supervisor.call(StopChild("b"))
    await trio.sleep(61)
    assert await states(supervisor) == {"a": "up", "b": "stopped", "c": "up"}
    assert [refs[0].incarnation > 1, refs[2].incarnation] == [strategy == "one_for_all", 2]


async def test_H3_a_restarting_temporary_is_not_a_thing(
    system: System, script: Script, worker: type[Plain]
) -> None:
    """The temporary sibling of a group that fails to restart stays away (E11)."""
    (a,) = workers(worker, script, "a")
    (b,) = workers(worker, script, "b", restart="temporary")
    supervisor, refs = await supervise(system, "one_for_all", a, b, max_restarts=5)
    script.broken["a"] = 3
    refs[0].cast(Crash())
    await settled()
    assert await states(supervisor) == {"a": "up"} and refs[1].state == "gone"


@pytest.mark.parametrize("backoff", PACES)
async def test_H3_a_child_that_is_being_restarted_is_present(
    system: System, script: Script, worker: type[Plain], backoff: Backoff | None
) -> None:
    supervisor, refs = await looping(system, script, worker, "one_for_one", backoff)
    with pytest.raises(AlreadyPresent) as caught:
        await supervisor.call(StartChild(*workers(worker, script, "b")))
    assert caught.value.ref == refs[1]


@pytest.mark.parametrize("backoff", PACES)
async def test_H6_a_restarting_dynamic_child_is_stopped_by_its_ref(
    system: System, script: Script, worker: type[Plain], backoff: Backoff | None
) -> None:
    supervisor, refs = await looping(system, script, worker, "dynamic", backoff)
    await supervisor.call(StopChild(refs[1]))
    assert refs[1].state == "gone"
    await settled()
    script.take()
    await trio.sleep(1000)
    assert script.log == []
    assert await states(supervisor) == {"a": "up", "c": "up"}
    with pytest.raises(NoSuchChild):
        await supervisor.call(StopChild(refs[1]))


@pytest.mark.parametrize("backoff", PACES)
async def test_H7_a_restarting_child_counts_towards_max_children(
    system: System, script: Script, worker: type[Plain], backoff: Backoff | None
) -> None:
    spec = Child(
        partial(DynamicSupervisor, max_children=2, max_restarts=10**9), restart="temporary"
    )
    supervisor = await system.start(spec)
    a, c = workers(worker, script, "a c")
    (b,) = workers(worker, script, "b", backoff=backoff)
    refs = [await supervisor.call(StartChild(each)) for each in (a, b)]
    script.broken["b"] = inf
    refs[1].cast(Crash())
    await trio.sleep(0)
    for _ in range(3):
        with pytest.raises(MaxChildren):
            await supervisor.call(StartChild(c))
    await supervisor.call(StopChild(refs[1]))
    assert (await supervisor.call(StartChild(c))).alive


@pytest.mark.parametrize("strategy", ALL)
async def test_H8_the_second_attempt_succeeds(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    supervisor, refs = await supervise(system, strategy, *workers(worker, script, "a b"))
    script.broken["b"] = 1
    refs[1].cast(Crash())
    await settled()
    assert await states(supervisor) == {"a": "up", "b": "up"}
    assert await refs[1].call(Who()) == "b 3"
    assert supervisor.incarnation == 1


async def test_H8_messages_wait_until_an_attempt_succeeds(
    system: System, script: Script, worker: type[Plain]
) -> None:
    """K12, ours: the queue outlives failed attempts."""
    specs = workers(worker, script, "a", backoff=Backoff(1, 1, jitter=0))
    _, (ref,) = await supervise(system, "one_for_one", *specs)
    script.broken["a"] = 3
    ref.cast(Crash())
    await settled()
    assert await ref.call(Who()) == "a 5"
    assert trio.current_time() == 4
