"""Dynamic supervisors, and what system.start(Child) makes of one."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from actors import Ref, StartFailed, System, open_system
from actors.testing import leftovers
from supervisors import (
    Backoff,
    Child,
    ChildRefused,
    CountChildren,
    DynamicSupervisor,
    MaxChildren,
    ReplaceChild,
    RestartLimitExceeded,
    StartChild,
    StopChild,
    Supervisor,
    WhichChildren,
)
from tests.conformance.actors_for_tests import (
    Awaiting,
    Boom,
    Crash,
    Leave,
    Plain,
    Script,
    Who,
    settled,
    supervise,
    workers,
)


@pytest.fixture
def script() -> Script:
    return Script()


async def crash(ref: Ref[Any]) -> None:
    ref.cast(Crash())
    await settled()


# -- S9: system.start(Child)


async def test_S9_supervised_actors_share_one_supervisor_made_on_demand(
    system: System, script: Script
) -> None:
    assert list(system.root.places) == []
    a, b = [await system.start(spec) for spec in workers(Plain, script, "a b")]
    (place,) = system.root.places
    assert place.ref.path == "/supervised"
    assert [a.path, b.path] == ["/supervised/a", "/supervised/b"]
    await crash(a)
    assert (a.incarnation, b.incarnation) == (2, 1)


async def test_S9_ids_may_repeat_there(system: System, script: Script) -> None:
    (spec,) = workers(Plain, script, "a")
    first, second = await system.start(spec), await system.start(spec)
    assert first != second and first.path == second.path
    await crash(first)
    assert (first.incarnation, second.incarnation) == (2, 1)


async def test_S9_its_giving_up_leaves_open_system_as_one_exception(script: Script) -> None:
    async with trio.open_nursery():
        with pytest.raises(RestartLimitExceeded) as caught:
            async with open_system(watchdog=None) as system:
                other = await system.start(Child(Awaiting, script, "other"))
                ref = await system.start(Child(Plain, script, "a"))
                for _ in range(4):
                    ref.cast(Crash())
                await trio.sleep_forever()
    assert isinstance(caught.value.__cause__, Boom)
    assert script.log[-1] == "stop other" and other.state == "gone"
    assert leftovers(system) == []


async def test_S9_a_start_that_fails_is_only_that(system: System, script: Script) -> None:
    script.broken["a"] = 1
    with pytest.raises(StartFailed):
        await system.start(Child(Plain, script, "a", name="a"))
    assert system.whereis("a") is None
    assert (await system.start(Child(Plain, script, "a", name="a"))).alive


async def test_S9_a_child_takes_its_arguments_in_its_spec(system: System, script: Script) -> None:
    spec: Any = Child(Plain, script, "a")
    for given in ({"name": "x"}, {"extra": 1}):
        with pytest.raises(TypeError, match="arguments and name belong to the Child"):
            await system.start(spec, **given)
    with pytest.raises(TypeError, match="arguments and name belong to the Child"):
        await system.start(spec, 1)


async def test_S9_a_supervisor_that_is_no_root_is_supervised_as_well(
    system: System, script: Script
) -> None:
    class House(Supervisor):
        max_restarts = 0

        def children(self) -> list[Child[Any]]:
            return workers(Plain, script, "a", name="a")

    house = await system.start(Child(House))
    ref = system.whereis("a")
    assert ref is not None
    await crash(ref)
    assert (house.path, house.incarnation, ref.incarnation) == (
        f"/supervised/{house.path.rpartition('/')[2]}",
        2,
        2,
    )


async def test_S9_one_worker_as_root_is_supervised(script: Script) -> None:
    async with open_system(Child(Plain, script, "a", name="a"), watchdog=None) as system:
        ref = system.whereis("a")
        assert ref is not None
        await crash(ref)
        assert await ref.call(Who()) == "a 2"


# -- restarts and limits


async def test_S8_a_paced_child_may_be_stopped_while_it_waits(
    system: System, script: Script
) -> None:
    (a,) = workers(Plain, script, "a", backoff=Backoff(10, 10, jitter=0))
    supervisor, (ref,) = await supervise(system, "dynamic", a)
    await crash(ref)
    assert ref.state == "restarting"
    await supervisor.call(StopChild(ref))
    assert ref.state == "gone"
    await trio.sleep(20)
    assert ref.incarnation == 1
    assert await supervisor.call(WhichChildren()) == []


async def test_S8_a_paced_child_tries_again_until_it_comes_up(
    system: System, script: Script
) -> None:
    (a,) = workers(Awaiting, script, "a", backoff=Backoff(1, 1, jitter=0, limit=5))
    _, (ref,) = await supervise(system, "dynamic", a, max_restarts=0)
    script.broken["a"] = 3
    await crash(ref)
    await trio.sleep(4.5)
    assert (ref.state, ref.incarnation) == ("up", 5)


async def test_S2_failed_restarts_count_until_it_gives_up(system: System, script: Script) -> None:
    (a,) = workers(Plain, script, "a")
    supervisor, (ref,) = await supervise(system, "dynamic", a, max_restarts=3)
    script.broken["a"] = 100
    await crash(ref)
    assert script.broken["a"] == 97
    assert (supervisor.state, ref.state) == ("gone", "gone")


async def test_those_being_restarted_count_towards_max_children(
    system: System, script: Script
) -> None:
    (a, b) = workers(Plain, script, "a b", backoff=Backoff(10, 10, jitter=0))
    supervisor, (ref,) = await supervise(system, "dynamic", a, max_children=1)
    await crash(ref)
    with pytest.raises(MaxChildren, match="1 children"):
        await supervisor.call(StartChild(b))
    await supervisor.call(StopChild(ref))
    assert (await supervisor.call(StartChild(b))).alive


async def test_one_that_is_done_makes_room(system: System, script: Script) -> None:
    a, b = workers(Plain, script, "a b", restart="transient")
    supervisor, (ref,) = await supervise(system, "dynamic", a, max_children=1)
    ref.cast(Leave())
    await settled()
    assert ref.state == "gone"
    assert (await supervisor.call(StartChild(b))).alive


async def test_one_that_declines_makes_room(system: System, script: Script) -> None:
    for cls in (Plain, Awaiting):
        script.declining = {"a"}
        supervisor, (ref,) = await supervise(
            system, "dynamic", *workers(cls, script, "a"), max_children=1
        )
        assert ref.state == "gone"
        assert (await supervisor.call(CountChildren())).specs == 0


async def test_no_children_at_all_may_be_allowed(system: System, script: Script) -> None:
    supervisor, _ = await supervise(system, "dynamic", max_children=0)
    with pytest.raises(MaxChildren):
        await supervisor.call(StartChild(*workers(Plain, script, "a")))


@pytest.mark.parametrize("wrong", [-1, 1.5, "3", True])
def test_max_children_is_a_natural_number(wrong: Any) -> None:
    with pytest.raises(ValueError, match="max_children is an int of 0 or more, or None. Got: "):
        DynamicSupervisor(max_children=wrong)


async def test_a_strategy_of_groups_is_refused(system: System) -> None:
    class Grouped(DynamicSupervisor):
        strategy = "one_for_all"

    with pytest.raises(StartFailed, match=r"has strategy='one_for_one'"):
        await system.start(Grouped)


async def test_the_flags_of_an_instance_come_before_those_of_its_class() -> None:
    class Strict(DynamicSupervisor):
        max_restarts, within = 1, 2.0

    assert (Strict().max_restarts, Strict().within) == (1, 2.0)
    given = Strict(max_restarts=7, within=8.0)
    assert (given.max_restarts, given.within) == (7, 8.0)


async def test_it_keeps_no_specs_to_replace(system: System, script: Script) -> None:
    specs = workers(Plain, script, "a")
    supervisor, (ref,) = await supervise(system, "dynamic", *specs)
    with pytest.raises(ChildRefused, match=r"StartChild starts another\. Got: ReplaceChild"):
        await supervisor.call(ReplaceChild(ref, *specs))
    with pytest.raises(ChildRefused, match="auto_shutdown"):
        significant = workers(Plain, script, "b", restart="transient", significant=True)
        await supervisor.call(StartChild(*significant))


async def test_S5_children_are_lost_when_their_supervisor_returns(
    system: System, script: Script
) -> None:
    class Outer(Supervisor):
        def children(self) -> list[Child[Any]]:
            return [Child(partial(DynamicSupervisor, max_restarts=0), name="inner")]

    await system.start(Outer)
    inner = system.whereis("inner")
    assert inner is not None
    refs = [await inner.call(StartChild(each)) for each in workers(Plain, script, "a b")]
    await crash(refs[0])
    assert (inner.state, inner.incarnation) == ("up", 2)
    assert [ref.state for ref in refs] == ["gone", "gone"]
    assert await inner.call(WhichChildren()) == []


async def test_S1_all_are_stopped_at_once_each_within_its_time(
    system: System, script: Script
) -> None:
    script.stop_takes = {"a": 1, "b": 3, "c": 2}
    supervisor, _ = await supervise(system, "dynamic", *workers(Awaiting, script, "a b c"))
    script.take()
    before = trio.current_time()
    await supervisor.stop()
    assert script.take() == ["stop a", "stop c", "stop b"]
    assert trio.current_time() - before == 3
