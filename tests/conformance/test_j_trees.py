"""J. Trees."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from actors import Actor, Exit, Killed, Ref, StartFailed, System, open_system
from supervisors import (
    Backoff,
    Child,
    DeleteChild,
    DynamicSupervisor,
    NoSuchChild,
    RestartChild,
    StartChild,
    StopChild,
    Supervisor,
    WhichChildren,
)
from tests.conformance.actors_for_tests import (
    GROUPS,
    STRATEGIES,
    Crash,
    Leave,
    Plain,
    Script,
    Who,
    child,
    counts,
    settled,
    states,
    supervise,
    workers,
)

ALL = [*STRATEGIES, "dynamic"]


def group(strategy: str, id: str, *children: Any, **flags: Any) -> Child[Any]:
    return GROUPS[strategy](*children, id=id, **flags)


async def crash(ref: Ref[Any], times: int = 1) -> None:
    for _ in range(times):
        ref.cast(Crash())
        await settled()


@pytest.mark.parametrize("top", STRATEGIES)
@pytest.mark.parametrize("inner", STRATEGIES)
async def test_J1_a_crash_is_felt_in_its_own_subtree_only(
    system: System, script: Script, worker: type[Plain], top: str, inner: str
) -> None:
    groups = [group(inner, id, *workers(worker, script, f"{id}1 {id}2 {id}3")) for id in ("a", "b")]
    (c,) = workers(worker, script, "c")
    supervisor, (first, second, third) = await supervise(system, top, *groups, c)
    before = {
        ref: [info.ref for info in await ref.call(WhichChildren())] for ref in (first, second)
    }
    script.take()
    await crash(before[first][1])
    expected = {"one_for_one": [1, 2, 1], "rest_for_one": [1, 2, 2], "one_for_all": [2, 2, 2]}
    assert [ref.incarnation for ref in before[first]] == expected[inner]
    assert [ref.incarnation for ref in before[second]] == [1, 1, 1]
    assert [ref.incarnation for ref in (supervisor, first, second, third)] == [1, 1, 1, 1]
    assert all(entry.split()[1].startswith("a") for entry in script.log)
    for ref, below in before.items():
        assert [info.ref for info in await ref.call(WhichChildren())] == below


async def tree(
    system: System, script: Script, worker: type[Plain]
) -> tuple[Ref[Any], list[Ref[Any]]]:
    """OTP's case: a one_for_all top, and below it three supervisors, one of them dynamic."""
    return await supervise(
        system,
        "one_for_all",
        group("one_for_one", "s1", *workers(worker, script, "a b"), max_restarts=0),
        group("one_for_one", "s2", *workers(worker, script, "c"), restart="transient"),
        Child(DynamicSupervisor, id="s3", restart="transient"),
    )


async def test_J2_static_children_return_with_their_supervisor_added_ones_do_not(
    system: System, script: Script, worker: type[Plain]
) -> None:
    """S5; and ours, K13: the static ones take their places again, their refs stay good."""
    top, (s1, s2, s3) = await tree(system, script, worker)
    a, b, c = await child(s1, "a"), await child(s1, "b"), await child(s2, "c")
    added = [
        await s1.call(StartChild(*workers(worker, script, "added1"))),
        await s2.call(StartChild(*workers(worker, script, "added2"))),
        await s3.call(StartChild(*workers(worker, script, "added3"))),
    ]
    assert [await counts(ref) for ref in (s1, s2, s3)] == [
        (3, 3, 0, 3),
        (2, 2, 0, 2),
        (1, 1, 0, 1),
    ]
    script.take()
    await crash(a)
    assert [ref.incarnation for ref in (top, s1, s2, s3)] == [1, 2, 2, 2]
    assert [await counts(ref) for ref in (s1, s2, s3)] == [
        (2, 2, 0, 2),
        (1, 1, 0, 1),
        (0, 0, 0, 0),
    ]
    assert [await child(s1, "a"), await child(s1, "b"), await child(s2, "c")] == [a, b, c]
    assert [await ref.call(Who()) for ref in (a, b, c)] == ["a 2", "b 2", "c 2"]
    assert [ref.state for ref in added] == ["gone"] * 3
    assert script.log == [
        "stop a",
        "stop added1",
        "stop b",
        "stop added3",
        "stop added2",
        "stop c",
        "start a",
        "start b",
        "start c",
    ]


async def test_J2_what_was_done_to_static_children_at_run_time_is_undone(
    system: System, script: Script, worker: type[Plain]
) -> None:
    """The list of children() is what returns: stopped and deleted ones included."""
    top, (s1, _, _) = await tree(system, script, worker)
    await s1.call(StopChild("b"))
    a = await child(s1, "a")
    await crash(a)
    assert await states(s1) == {"a": "up", "b": "up"}
    await s1.call(StopChild("b"))
    await s1.call(RestartChild("b"))
    b = await child(s1, "b")
    await s1.call(StopChild("b"))
    await s1.call(DeleteChild("b"))
    with pytest.raises(NoSuchChild):
        await child(s1, "b")
    await crash(a)
    assert await states(s1) == {"a": "up", "b": "up"}
    assert b.state == "gone" and await child(s1, "b") != b
    assert top.incarnation == 1


async def test_J2_a_static_temporary_child_returns_with_its_supervisor(
    system: System, script: Script, worker: type[Plain]
) -> None:
    """Its supervisor starts anew, and so does its list; but its place is a new one (K13)."""
    (a,) = workers(worker, script, "a")
    (b,) = workers(worker, script, "b", restart="temporary")
    inner = group("one_for_one", "inner", a, b, max_restarts=0)
    _, (ref,) = await supervise(system, "one_for_one", inner)
    before = await child(ref, "b")
    await crash(await child(ref, "a"))
    after = await child(ref, "b")
    assert before.state == "gone" and after.alive and after != before


async def test_J2_children_is_asked_again_at_every_start_of_the_supervisor(
    system: System, script: Script, worker: type[Plain]
) -> None:
    names = iter(["a b", "b c"])

    class House(Supervisor):
        max_restarts = 0

        def children(self) -> list[Child[Any]]:
            return workers(worker, script, next(names))

    _, (house,) = await supervise(system, "one_for_one", Child(House, id="house"))
    a, b = await child(house, "a"), await child(house, "b")
    await crash(b)
    assert await states(house) == {"b": "up", "c": "up"}
    assert a.state == "gone" and await child(house, "b") == b and b.incarnation == 2


async def test_J3_a_stopped_supervisor_is_started_again_by_a_restart_of_the_group(
    system: System, script: Script, worker: type[Plain]
) -> None:
    top, (s1, s2, s3) = await tree(system, script, worker)
    await top.call(StopChild("s3"))
    await top.call(StopChild("s2"))
    assert await states(top) == {"s1": "up", "s2": "stopped", "s3": "stopped"}
    assert await counts(top) == (3, 1, 3, 0)
    await crash(await child(s1, "a"))
    assert await states(top) == {"s1": "up", "s2": "up", "s3": "up"}
    assert await counts(top) == (3, 3, 3, 0)
    assert await counts(s2) == (1, 1, 0, 1) and await counts(s3) == (0, 0, 0, 0)


@pytest.mark.parametrize("how", ["crash", "leave", "kill", "request"])
async def test_J4_a_name_is_the_holders_again_after_its_restart(
    system: System, script: Script, worker: type[Plain], how: str
) -> None:
    specs = workers(worker, script, "a", name="holder")
    supervisor, (ref,) = await supervise(system, "one_for_one", *specs)
    for number in range(3):
        if how == "request":
            await supervisor.call(StopChild("a"))
            assert system.whereis("holder") is None
            await supervisor.call(RestartChild("a"))
        elif how == "kill":
            await ref.stop(Killed())
        else:
            ref.cast(Crash() if how == "crash" else Leave())
        await settled()
        assert system.whereis("holder") == ref
        assert await ref.call(Who()) == f"a {number + 2}"


@pytest.mark.parametrize("how", ["crash", "kill"])
async def test_J4_names_are_free_before_a_restarted_supervisor_starts_its_children(
    system: System, script: Script, worker: type[Plain], how: str
) -> None:
    inner = group(
        "one_for_one",
        "inner",
        *workers(worker, script, "a", name="static"),
        max_restarts=0,
        name="inner",
    )
    supervisor, (ref,) = await supervise(system, "one_for_one", inner)
    (spec,) = workers(worker, script, "added", name="added")
    static = await child(ref, "a")
    await ref.call(StartChild(spec))
    if how == "crash":
        await crash(static)
    else:
        await ref.stop(Killed())
        await settled()
    assert ref.incarnation == 2 and supervisor.incarnation == 1
    assert system.whereis("inner") == ref and system.whereis("static") == static
    assert system.whereis("added") is None
    assert await ref.call(StartChild(spec)) == system.whereis("added")


async def test_J4_a_name_is_kept_while_its_holder_is_restarted(
    system: System, script: Script, worker: type[Plain]
) -> None:
    """Ours: the name belongs to the place."""
    specs = workers(worker, script, "a", name="holder", backoff=Backoff(10, 10))
    _, (ref,) = await supervise(system, "one_for_one", *specs)
    await crash(ref)
    assert ref.state == "restarting" and system.whereis("holder") == ref
    with pytest.raises(StartFailed, match="holder"):
        await system.start(Plain, script, "thief", name="holder")


@pytest.mark.parametrize("above", ALL)
@pytest.mark.parametrize("below", ALL)
async def test_J6_every_kind_of_supervisor_can_be_a_child_of_every_kind(
    system: System, script: Script, worker: type[Plain], above: str, below: str
) -> None:
    if below == "dynamic":
        spec: Child[Any] = Child(partial(DynamicSupervisor, max_restarts=0), id="inner")
    else:
        spec = group(below, "inner", *workers(worker, script, "a"), max_restarts=0)
    top, (inner,) = await supervise(system, above, spec, id="top")
    if below == "dynamic":
        a = await inner.call(StartChild(*workers(worker, script, "a")))
    else:
        a = await child(inner, "a")
    assert a.path == f"{top.path}/inner/a"
    assert await counts(top) == (1, 1, 1, 0)
    await crash(a)
    assert (top.incarnation, inner.incarnation) == (1, 2)
    assert await counts(inner) == ((0, 0, 0, 0) if below == "dynamic" else (1, 1, 0, 1))
    script.take()
    await top.stop()
    assert inner.state == "gone"
    assert script.log == ([] if below == "dynamic" else ["stop a"])


async def test_J6_a_supervisor_class_its_spec_and_a_group_are_all_roots(script: Script) -> None:
    class House(Supervisor):
        def children(self) -> list[Child[Any]]:
            return workers(Plain, script, "a")

    for root in (House, Child(House), group("one_for_all", "house", *workers(Plain, script, "a"))):
        async with open_system(root) as system:
            (place,) = system.root.places
            assert await states(place.ref) == {"a": "up"}
        assert script.take() == ["start a", "stop a"]


async def test_J6_a_supervisor_is_an_actor_with_callbacks_and_handlers(
    system: System, script: Script
) -> None:
    """Ours: on_start comes before its children, on_stop after them."""

    class House(Supervisor, Actor):
        async def on_start(self) -> None:
            script.log.append("start house")

        def children(self) -> list[Child[Any]]:
            return workers(Plain, script, "a")

        async def on_stop(self, exit: Exit) -> None:
            script.log.append("stop house")

    house = await system.start(House)
    await house.stop()
    assert script.log == ["start house", "start a", "stop a", "stop house"]
