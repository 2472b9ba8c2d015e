"""K. Dynamic supervisors."""

from __future__ import annotations

import traceback
from functools import partial
from math import inf
from typing import Any

import pytest
import trio

from actors import Crashed, Exit, Killed, Normal, Ref, Shutdown, StartFailed, System
from actors.introspection import replace_state
from supervisors import (
    Backoff,
    Child,
    ChildRefused,
    DynamicSupervisor,
    Flags,
    MaxChildren,
    StartChild,
    StopChild,
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
    chain,
    counts,
    settled,
    supervise,
    workers,
)

EXITS: list[Exit] = [Normal(), Shutdown(), Shutdown("done"), Crashed(Boom()), Killed()]


async def end(ref: Ref[Any], exit: Exit) -> None:
    """Have an actor end so, and let its supervisor decide."""
    if isinstance(exit, Crashed):
        ref.cast(Crash())
    elif isinstance(exit, Killed):
        await ref.stop(exit)
    else:
        ref.cast(Leave(exit))
    await settled()


async def test_K1_defaults(system: System, script: Script) -> None:
    """Any number of children, three restarts within five seconds."""
    supervisor, refs = await supervise(system, "dynamic", *workers(Plain, script, "a " * 200))
    actor = DynamicSupervisor()
    assert actor.max_children is None
    assert Flags(actor.strategy, actor.max_restarts, actor.within, actor.auto_shutdown) == Flags()
    assert await counts(supervisor) == (200, 200, 0, 200)
    for ref in refs[:3]:
        await end(ref, Crashed(Boom()))
    assert supervisor.alive
    await trio.sleep(4.9)
    await end(refs[3], Crashed(Boom()))
    assert supervisor.state == "gone"


@pytest.mark.parametrize("limit", [0, 1, 3])
async def test_K2_no_more_children_than_max_children(
    system: System, script: Script, worker: type[Plain], limit: int
) -> None:
    (spec,) = workers(worker, script, "a")
    supervisor, refs = await supervise(system, "dynamic", *[spec] * limit, max_children=limit)
    script.take()
    with pytest.raises(MaxChildren, match=f"{limit} children"):
        await supervisor.call(StartChild(spec))
    assert script.log == [] and await counts(supervisor) == (limit, limit, 0, limit)
    if refs:
        await supervisor.call(StopChild(refs[0]))
        assert (await supervisor.call(StartChild(spec))).alive
        with pytest.raises(MaxChildren):
            await supervisor.call(StartChild(spec))


@pytest.mark.parametrize("restart", ["temporary", "transient"])
async def test_K2_a_child_that_is_done_makes_room(
    system: System, script: Script, worker: type[Plain], restart: str
) -> None:
    (spec,) = workers(worker, script, "a", restart=restart)
    supervisor, (ref,) = await supervise(system, "dynamic", spec, max_children=1)
    await end(ref, Normal())
    assert (await supervisor.call(StartChild(spec))).alive


async def test_K2_a_child_that_does_not_start_leaves_its_room(
    system: System, script: Script, worker: type[Plain]
) -> None:
    (spec,) = workers(worker, script, "a")
    supervisor, _ = await supervise(system, "dynamic", max_children=1)
    script.broken["a"] = 1
    with pytest.raises(StartFailed):
        await supervisor.call(StartChild(spec))
    script.declining.add("a")
    await supervisor.call(StartChild(spec))
    script.declining.clear()
    assert (await supervisor.call(StartChild(spec))).alive


async def test_K3_a_child_that_is_restarted_keeps_its_room(system: System, script: Script) -> None:
    (spec,) = workers(Awaiting, script, "a")
    supervisor, (ref,) = await supervise(system, "dynamic", spec, max_children=1)
    script.start_takes["a"] = 2
    ref.cast(Crash())
    await settled()
    assert ref.state == "starting"
    with pytest.raises(MaxChildren):
        await supervisor.call(StartChild(spec))
    assert ref.alive and await counts(supervisor) == (1, 1, 0, 1)


async def test_K4_ids_may_repeat(system: System, script: Script, worker: type[Plain]) -> None:
    """Ours: the id is shown as given; the ref is what names a child."""
    (spec,) = workers(worker, script, "a")
    supervisor, refs = await supervise(system, "dynamic", spec, spec, spec)
    assert len(set(refs)) == 3
    infos = await supervisor.call(WhichChildren())
    assert [info.id for info in infos] == ["a"] * 3
    assert [info.ref for info in infos] == refs
    await end(refs[1], Crashed(Boom()))
    assert [ref.incarnation for ref in refs] == [1, 2, 1]
    await supervisor.call(StopChild(refs[0]))
    assert [ref.state for ref in refs] == ["gone", "up", "up"]


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_K5_a_child_that_declines_is_not_kept(
    system: System, script: Script, worker: type[Plain], restart: str
) -> None:
    supervisor, _ = await supervise(system, "dynamic")
    script.declining.add("a")
    (spec,) = workers(worker, script, "a", restart=restart, name="a")
    ref = await supervisor.call(StartChild(spec))
    assert ref.state == "gone" and system.whereis("a") is None
    assert await counts(supervisor) == (0, 0, 0, 0)


async def test_K5_an_error_or_rubbish_is_passed_on(
    system: System, script: Script, worker: type[Plain]
) -> None:
    supervisor, _ = await supervise(system, "dynamic")
    script.broken["a"] = 1
    with pytest.raises(StartFailed, match="a does not start"):
        await supervisor.call(StartChild(*workers(worker, script, "a")))

    def rubbish() -> Any:
        return 42

    with pytest.raises(StartFailed, match="42"):
        await supervisor.call(StartChild(Child(rubbish)))
    assert await counts(supervisor) == (0, 0, 0, 0) and supervisor.incarnation == 1


class Failing(Plain):
    """Fails before there is an actor at all."""

    def __init__(self, script: Script, name: str) -> None:
        raise Boom("no actor")


@pytest.mark.parametrize("cls", [Failing, Plain, Awaiting])
async def test_K6_whatever_a_start_raises_comes_with_its_traceback(
    system: System, script: Script, cls: type[Plain]
) -> None:
    supervisor, (other,) = await supervise(system, "dynamic", *workers(Plain, script, "other"))
    script.broken["a"] = 1
    with pytest.raises(StartFailed) as caught:
        await supervisor.call(StartChild(*workers(cls, script, "a", name="a")))
    cause = chain(caught.value)[-1]
    assert isinstance(cause, Boom)
    names = {frame.name for frame in traceback.extract_tb(cause.__traceback__)}
    assert ("__init__" if cls is Failing else "on_start") in names
    assert caught.value.ref is not None and caught.value.ref.state == "gone"
    assert system.whereis("a") is None
    assert other.alive and supervisor.incarnation == 1


async def test_K6_a_start_that_takes_too_long_is_a_failure(system: System, script: Script) -> None:
    supervisor, _ = await supervise(system, "dynamic")
    script.start_takes["a"] = inf
    (spec,) = workers(Awaiting, script, "a", start_timeout=3)
    with pytest.raises(StartFailed) as caught:
        await supervisor.call(StartChild(spec))
    assert isinstance(caught.value.__cause__, trio.TooSlowError)
    assert trio.current_time() == 3 and await counts(supervisor) == (0, 0, 0, 0)


@pytest.mark.parametrize("exit", [Crashed(Boom()), Killed()], ids=str)
@pytest.mark.parametrize("restart", ["permanent", "transient"])
@pytest.mark.parametrize("outcome", ["up", "declines", "fails"])
async def test_K8_what_a_restart_may_come_to(
    system: System, script: Script, worker: type[Plain], restart: str, outcome: str, exit: Exit
) -> None:
    (spec,) = workers(worker, script, "a", restart=restart, backoff=Backoff(5, 5, jitter=0))
    supervisor, (ref,) = await supervise(system, "dynamic", spec)
    if outcome == "declines":
        script.declining.add("a")
    elif outcome == "fails":
        script.broken["a"] = inf
    await end(ref, exit)
    assert await counts(supervisor) == (1, 0, 0, 1)
    await trio.sleep(6)
    expected = {"up": ("up", (1, 1, 0, 1)), "declines": ("gone", (0, 0, 0, 0))}
    assert (ref.state, await counts(supervisor)) == expected.get(
        outcome, ("restarting", (1, 0, 0, 1))
    )
    if outcome == "fails":
        script.broken.clear()
        await trio.sleep(6)
        assert await ref.call(Who()) == f"a {ref.incarnation}"


@pytest.mark.parametrize("exit", EXITS, ids=str)
async def test_K10_a_permanent_child_is_restarted_whatever_its_end(
    system: System, script: Script, worker: type[Plain], exit: Exit
) -> None:
    supervisor, (ref,) = await supervise(system, "dynamic", *workers(worker, script, "a"))
    for number in range(3):
        await end(ref, exit)
        assert await ref.call(Who()) == f"a {number + 2}"
    assert await counts(supervisor) == (1, 1, 0, 1)
    await end(ref, exit)
    assert supervisor.state == "gone"


@pytest.mark.parametrize("exit", EXITS, ids=str)
async def test_K10_a_transient_child_is_restarted_after_a_failure_only(
    system: System, script: Script, worker: type[Plain], exit: Exit
) -> None:
    """The row between: when it is done it is forgotten, since dynamic children are not kept."""
    (spec,) = workers(worker, script, "a", restart="transient")
    supervisor, (ref,) = await supervise(system, "dynamic", spec)
    await end(ref, exit)
    if isinstance(exit, Crashed | Killed):
        assert await ref.call(Who()) == "a 2"
    else:
        assert ref.state == "gone" and await counts(supervisor) == (0, 0, 0, 0)


@pytest.mark.parametrize("exit", EXITS, ids=str)
async def test_K11_a_temporary_child_is_not_restarted_whatever_its_end(
    system: System, script: Script, worker: type[Plain], exit: Exit
) -> None:
    (spec,) = workers(worker, script, "a", restart="temporary")
    supervisor, (ref,) = await supervise(system, "dynamic", spec, max_restarts=0)
    await end(ref, exit)
    assert ref.state == "gone" and ref.incarnation == 1
    assert await counts(supervisor) == (0, 0, 0, 0)
    assert script.log == ["start a"] + ["stop a"] * (not isinstance(exit, Killed))


@pytest.mark.parametrize(
    ("flag", "values"),
    [
        ("max_restarts", [-1, 1.5, "3", True]),
        ("within", [0, -1, inf, "5"]),
        ("max_children", [-1, 1.5, "3", True]),
    ],
)
async def test_K12_bad_flags_are_refused_at_the_start(
    system: System, flag: str, values: list[Any]
) -> None:
    for value in values:
        with pytest.raises((TypeError, ValueError), match=f"{flag}.*Got: "):
            DynamicSupervisor(**{flag: value})
        with pytest.raises(StartFailed, match=f"{flag}.*Got: ") as caught:
            await system.start(Child(partial(DynamicSupervisor, **{flag: value})))
        assert isinstance(caught.value.__cause__, TypeError | ValueError)


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_K12_a_group_strategy_is_refused(system: System, strategy: Any) -> None:
    cls = type("Grouping", (DynamicSupervisor,), {"strategy": strategy})
    with pytest.raises(StartFailed, match=f"one_for_one.*Got: '{strategy}'"):
        await system.start(cls)


async def test_K13_max_children_can_be_changed_live_and_kills_nobody(
    system: System, script: Script, worker: type[Plain]
) -> None:
    """Ours: through introspection, as any state; it holds from the next start on."""
    (spec,) = workers(worker, script, "a")
    supervisor, refs = await supervise(system, "dynamic", spec, spec, spec)
    await replace_state(supervisor, lambda state: {**state, "max_children": 1})
    with pytest.raises(MaxChildren):
        await supervisor.call(StartChild(spec))
    assert [ref.alive for ref in refs] == [True] * 3
    await end(refs[0], Crashed(Boom()))
    assert refs[0].alive and refs[0].incarnation == 2
    await replace_state(supervisor, lambda state: {**state, "max_children": 4})
    assert (await supervisor.call(StartChild(spec))).alive
    assert await counts(supervisor) == (4, 4, 0, 4)


@pytest.mark.parametrize("restart", ["transient", "temporary"])
async def test_K14_significant_children_are_refused(
    system: System, script: Script, restart: str
) -> None:
    (spec,) = workers(Plain, script, "a", restart=restart, significant=True)
    supervisor, _ = await supervise(system, "dynamic")
    with pytest.raises(ChildRefused, match="significant"):
        await supervisor.call(StartChild(spec))
    assert script.log == [] and await counts(supervisor) == (0, 0, 0, 0)
