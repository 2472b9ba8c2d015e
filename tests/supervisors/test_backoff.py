"""S8: groups that wait, and what may happen meanwhile."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors import (
    Crashed,
    NoSuchActor,
    Ref,
    StartFailed,
    System,
)
from supervisors import (
    AlreadyPresent,
    Backoff,
    ChildRestarting,
    DeleteChild,
    RestartChild,
    RestartLimitExceeded,
    StartChild,
    StopChild,
)
from tests.conformance.actors_for_tests import (
    Awaiting,
    Crash,
    Plain,
    Script,
    Who,
    settled,
    states,
    supervise,
    workers,
)


@pytest.fixture
def script() -> Script:
    return Script()


def paced(seconds: float, **more: Any) -> Backoff:
    return Backoff(seconds, seconds, jitter=0, **more)


async def crash(ref: Ref[Any]) -> None:
    ref.cast(Crash())
    await settled()


async def test_S8_a_paced_group_is_left_alone_until_its_delay_is_over(
    system: System, script: Script
) -> None:
    """The supervisor serves its inbox meanwhile."""
    a, b = workers(Plain, script, "a b", backoff=paced(10))
    supervisor, refs = await supervise(system, "one_for_all", a, b)
    script.take()
    await crash(refs[0])
    assert await states(supervisor) == {"a": "restarting", "b": "restarting"}
    assert script.take() == ["stop a", "stop b"]
    with pytest.raises(ChildRestarting):
        await supervisor.call(RestartChild("b"))
    with pytest.raises(AlreadyPresent):
        await supervisor.call(StartChild(a))
    await trio.sleep(10.5)
    assert script.take() == ["start a", "start b"]
    assert await states(supervisor) == {"a": "up", "b": "up"}


async def test_S8_a_member_stopped_by_api_while_its_group_waits_does_not_return(
    system: System, script: Script
) -> None:
    a, b, c = workers(Plain, script, "a b c", backoff=paced(10))
    supervisor, refs = await supervise(system, "one_for_all", a, b, c)
    await crash(refs[0])
    await supervisor.call(StopChild("b"))
    await trio.sleep(11)
    assert await states(supervisor) == {"a": "up", "b": "stopped", "c": "up"}


async def test_S8_a_member_deleted_while_its_group_waits_is_forgotten(
    system: System, script: Script
) -> None:
    a, b = workers(Plain, script, "a b", backoff=paced(10))
    supervisor, refs = await supervise(system, "one_for_all", a, b)
    await crash(refs[0])
    await supervisor.call(StopChild("b"))
    await supervisor.call(DeleteChild("b"))
    await trio.sleep(11)
    assert await states(supervisor) == {"a": "up"}


async def test_S8_the_child_that_failed_sets_the_delay_of_its_group(
    system: System, script: Script
) -> None:
    (a,) = workers(Plain, script, "a", backoff=paced(5))
    (b,) = workers(Plain, script, "b", backoff=paced(50))
    supervisor, (_, ref) = await supervise(system, "rest_for_one", a, b, max_restarts=0)
    await crash(ref)
    await trio.sleep(49)
    assert await states(supervisor) == {"a": "up", "b": "restarting"}
    await trio.sleep(2)
    assert ref.alive


async def test_S8_a_child_that_is_earlier_in_a_group_fails_while_a_later_one_waits(
    system: System, script: Script
) -> None:
    """Its own restart takes the waiting one along; the delay that is left comes to nothing."""
    (a,) = workers(Plain, script, "a")
    (b,) = workers(Plain, script, "b", backoff=paced(10))
    supervisor, (first, second) = await supervise(system, "rest_for_one", a, b)
    await crash(second)
    await trio.sleep(1)
    script.take()
    await crash(first)
    assert script.take() == ["stop a", "start a", "start b"]
    assert await states(supervisor) == {"a": "up", "b": "up"}
    await trio.sleep(20)
    assert script.take() == [] and second.incarnation == 2


async def test_S8_a_start_that_fails_at_a_restart_is_paced_as_well(
    system: System, script: Script
) -> None:
    (a,) = workers(Plain, script, "a", backoff=paced(10, limit=3))
    supervisor, (ref,) = await supervise(system, "one_for_one", a, max_restarts=0)
    script.broken["a"] = 2
    await crash(ref)
    await trio.sleep(29)
    assert (ref.state, supervisor.alive) == ("restarting", True)
    await trio.sleep(2)
    assert (ref.state, ref.incarnation) == ("up", 4)


async def test_S8_the_limit_counts_failed_starts_too(system: System, script: Script) -> None:
    (a,) = workers(Plain, script, "a", backoff=paced(1, limit=2))
    supervisor, (ref,) = await supervise(system, "one_for_one", a, max_restarts=0)
    script.broken["a"] = 5
    ref.cast(Crash())
    exit = await supervisor.wait()
    assert isinstance(exit, Crashed) and isinstance(exit.exception, RestartLimitExceeded)
    assert isinstance(exit.exception.__cause__, StartFailed)
    assert trio.current_time() == 2


async def test_S8_calls_wait_for_the_delay_and_fail_if_it_does_not_end_well(
    system: System, script: Script
) -> None:
    (a,) = workers(Plain, script, "a", backoff=paced(3, limit=1))
    _, (ref,) = await supervise(system, "one_for_one", a)
    ref.cast(Crash())
    assert await ref.call(Who()) == "a 2"
    assert trio.current_time() == 3
    script.broken["a"] = 1
    ref.cast(Crash())
    with pytest.raises(NoSuchActor):
        await ref.call(Who())


async def test_S8_backoff_and_count_stand_side_by_side(system: System, script: Script) -> None:
    (a,) = workers(Plain, script, "a", backoff=paced(0))
    (b,) = workers(Plain, script, "b")
    supervisor, (paced_one, counted) = await supervise(system, "one_for_one", a, b, max_restarts=2)
    for _ in range(10):
        await crash(paced_one)
        await trio.sleep(0.01)
    for _ in range(2):
        await crash(counted)
    assert supervisor.alive and paced_one.incarnation == 11
    await crash(counted)
    assert not supervisor.alive


async def test_S5_temporary_siblings_in_a_group_that_waits_are_gone_at_once(
    system: System, script: Script
) -> None:
    (a,) = workers(Plain, script, "a", backoff=paced(10))
    (b,) = workers(Plain, script, "b", restart="temporary")
    supervisor, (first, second) = await supervise(system, "one_for_all", a, b)
    await crash(first)
    assert second.state == "gone"
    assert await states(supervisor) == {"a": "restarting"}


async def test_S3_the_inbox_is_served_between_two_attempts(system: System, script: Script) -> None:
    """An attempt that fails again and again leaves room for StopChild."""
    script.start_takes["a"] = 1
    (a,) = workers(Awaiting, script, "a")
    supervisor, (ref,) = await supervise(system, "one_for_one", a, max_restarts=1000)
    script.broken["a"] = 1000
    ref.cast(Crash())
    await trio.sleep(3.5)
    await supervisor.call(StopChild("a"))
    assert ref.state == "stopped"
    assert trio.current_time() < 6
    await trio.sleep(10)
    assert ref.state == "stopped"
