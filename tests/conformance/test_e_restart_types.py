"""E. What becomes of a child, by its restart type and its exit."""

from __future__ import annotations

import gc
import logging
import weakref
from typing import Any

import pytest
import trio

from actors import Crashed, Exit, Killed, Normal, NoSuchActor, Ref, Shutdown, System
from supervisors import (
    Backoff,
    Child,
    NoSuchChild,
    RestartChild,
    StartChild,
    StopChild,
    WhichChildren,
)
from tests.conformance.actors_for_tests import (
    Awaiting,
    Boom,
    Crash,
    Exits,
    Leave,
    Plain,
    Script,
    Who,
    Work,
    counts,
    settled,
    states,
    supervise,
    workers,
)

ORDERLY: list[Exit] = [Normal(), Shutdown(), Shutdown("done")]
FAILURES: list[Exit] = [Crashed(Boom()), Killed()]


async def end(ref: Ref[Any], exit: Exit) -> None:
    """Have an actor end so, and let its supervisor decide."""
    if isinstance(exit, Crashed):
        ref.cast(Crash())
    elif isinstance(exit, Killed):
        await ref.stop(exit)
    else:
        ref.cast(Leave(exit))
    await settled()


@pytest.mark.parametrize("exit", ORDERLY, ids=str)
async def test_E4_E5_a_transient_child_stays_down_after_an_orderly_end(
    system: System, script: Script, worker: type[Plain], exit: Exit
) -> None:
    exits = Exits(system)
    specs = workers(worker, script, "a b", restart="transient")
    supervisor, (ref, other) = await supervise(system, "one_for_one", *specs, max_restarts=0)
    await end(ref, exit)
    assert exits.all == [("a", exit)]
    assert await states(supervisor) == {"a": "stopped", "b": "up"}
    assert await counts(supervisor) == (2, 1, 0, 2)
    assert script.log == ["start a", "start b", "stop a"]
    with pytest.raises(NoSuchActor):
        await ref.call(Who())
    assert await supervisor.call(RestartChild("a")) == ref
    assert await ref.call(Who()) == "a 2" and other.incarnation == 1


@pytest.mark.parametrize("exit", ORDERLY, ids=str)
async def test_E4_E5_so_does_one_that_is_stopped_from_outside(
    system: System, script: Script, worker: type[Plain], exit: Exit
) -> None:
    specs = workers(worker, script, "a", restart="transient")
    supervisor, (ref,) = await supervise(system, "one_for_one", *specs, max_restarts=0)
    await ref.stop(exit)
    await settled()
    assert await states(supervisor) == {"a": "stopped"}
    assert script.log == ["start a", "stop a"]


async def test_E6_a_transient_child_is_restarted_after_a_crash(
    system: System, script: Script, worker: type[Plain]
) -> None:
    specs = workers(worker, script, "a b", restart="transient")
    supervisor, (ref, other) = await supervise(system, "one_for_one", *specs)
    await end(ref, Crashed(Boom()))
    assert script.log == ["start a", "start b", "stop a", "start a"]
    assert await ref.call(Who()) == "a 2" and other.incarnation == 1
    assert await counts(supervisor) == (2, 2, 0, 2)


@pytest.mark.parametrize("exit", [*ORDERLY, *FAILURES], ids=str)
async def test_E7_E8_E9_a_temporary_child_is_never_restarted(
    system: System, script: Script, worker: type[Plain], exit: Exit
) -> None:
    specs = workers(worker, script, "a b", restart="temporary")
    supervisor, (ref, other) = await supervise(system, "one_for_one", *specs, max_restarts=0)
    await end(ref, exit)
    assert ref.state == "gone"
    assert await states(supervisor) == {"b": "up"}
    assert await counts(supervisor) == (1, 1, 0, 1)
    assert script.log == ["start a", "start b"] + ["stop a"] * (exit != Killed())
    with pytest.raises(NoSuchChild):
        await supervisor.call(RestartChild("a"))
    again = await supervisor.call(StartChild(specs[0]))
    assert again != ref and await again.call(Who()) == "a 1"
    assert other.incarnation == 1 and ref.state == "gone"


async def test_E10_a_transient_child_is_restarted_after_a_kill(
    system: System, script: Script, worker: type[Plain]
) -> None:
    exits = Exits(system)
    specs = workers(worker, script, "a", restart="transient")
    _, (ref,) = await supervise(system, "one_for_one", *specs)
    await end(ref, Killed())
    assert exits.all == [("a", Killed())]
    assert script.log == ["start a", "start a"]
    assert await ref.call(Who()) == "a 2"


@pytest.mark.parametrize("exit", [*ORDERLY, *FAILURES], ids=str)
async def test_E10_a_permanent_child_is_restarted_whatever_its_end(
    system: System, script: Script, worker: type[Plain], exit: Exit
) -> None:
    """Beside OTP's cases: the third row of the matrix."""
    _, (ref, other) = await supervise(system, "one_for_one", *workers(worker, script, "a b"))
    await end(ref, exit)
    assert await ref.call(Who()) == "a 2" and other.incarnation == 1


@pytest.mark.parametrize("exit", ORDERLY, ids=str)
async def test_E10_the_orderly_end_of_a_permanent_child_counts(
    system: System, script: Script, worker: type[Plain], exit: Exit
) -> None:
    """S2: a permanent child's normal exit does count."""
    specs = workers(worker, script, "a")
    supervisor, (ref,) = await supervise(system, "one_for_one", *specs, max_restarts=1)
    await end(ref, exit)
    assert supervisor.alive
    await end(ref, exit)
    assert supervisor.state == ref.state == "gone"


@pytest.mark.parametrize(
    ("strategy", "crashing"), [("one_for_all", "a"), ("one_for_all", "c"), ("rest_for_one", "a")]
)
async def test_E11_a_temporary_sibling_taken_down_by_a_restart_does_not_return(
    system: System, script: Script, worker: type[Plain], strategy: str, crashing: str
) -> None:
    exits = Exits(system)
    a, c = workers(worker, script, "a c")
    (b,) = workers(worker, script, "b", restart="temporary", name="b")
    supervisor, refs = await supervise(system, strategy, a, b, c, max_restarts=1)
    script.take()
    await end(refs["abc".index(crashing)], Crashed(Boom()))
    assert exits.of("b") == [Shutdown()]
    assert "start b" not in script.log and script.log[-2:] == ["start a", "start c"]
    assert await states(supervisor) == {"a": "up", "c": "up"}
    assert refs[1].state == "gone" and system.whereis("b") is None
    assert supervisor.alive and [ref.incarnation for ref in refs] == [2, 1, 2]


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_E11_the_crash_of_a_temporary_child_restarts_nobody(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    a, c = workers(worker, script, "a c")
    (b,) = workers(worker, script, "b", restart="temporary")
    supervisor, refs = await supervise(system, strategy, a, b, c, max_restarts=0)
    await end(refs[1], Crashed(Boom()))
    assert await states(supervisor) == {"a": "up", "c": "up"}
    assert [ref.incarnation for ref in refs] == [1, 1, 1]


class Burden:
    """An argument whose life can be watched."""


class Bearing(Plain):
    """Takes an argument and does not keep it."""

    def __init__(self, script: Script, name: str, burden: Burden) -> None:
        super().__init__(script, name)


@pytest.mark.parametrize("strategy", ["one_for_one", "dynamic"])
@pytest.mark.parametrize("how", ["crash", "leave", "kill", "stop"])
async def test_E12_the_arguments_of_a_temporary_child_go_with_it(
    system: System,
    script: Script,
    strategy: str,
    how: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Ours: a Ref names the place, and the place has the spec; both go when the child has gone."""
    for logger in ("actors", "supervisors"):
        caplog.set_level(logging.CRITICAL, logger=logger)  # the records would keep them
    supervisor, _ = await supervise(system, strategy)
    burden = Burden()
    watch = weakref.ref(burden)
    ref = await supervisor.call(
        StartChild(Child(Bearing, script, "a", burden, id="a", restart="temporary"))
    )
    del burden
    if how == "stop":
        await supervisor.call(StopChild(ref if strategy == "dynamic" else "a"))
    else:
        exits: dict[str, Exit] = {"crash": Crashed(Boom()), "leave": Normal(), "kill": Killed()}
        await end(ref, exits[how])
    assert ref.state == "gone"
    del ref
    assert await counts(supervisor) == (0, 0, 0, 0)
    gc.collect()
    assert watch() is None


# -- beside OTP's cases: the queue (K12)


@pytest.mark.parametrize("exit", [*ORDERLY, *FAILURES], ids=str)
async def test_E10_the_queue_outlives_an_exit_that_is_answered_by_a_restart(
    system: System, script: Script, exit: Exit
) -> None:
    (spec,) = workers(Awaiting, script, "a")
    _, (ref,) = await supervise(system, "one_for_one", spec)
    then: Any = Crash() if isinstance(exit, Crashed) else Leave(exit)
    ref.cast(Work(1, None if exit == Killed() else then))
    await settled()
    answers: list[str] = []

    async def ask() -> None:
        answers.append(await ref.call(Who()))

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        await settled()
        if exit == Killed():
            await ref.stop(Killed())
    assert answers == ["a 2"] * 3


async def test_E10_the_queue_waits_for_the_delay_of_a_backoff(
    system: System, script: Script, worker: type[Plain]
) -> None:
    specs = workers(worker, script, "a", backoff=Backoff(3, 3, jitter=0))
    supervisor, (ref,) = await supervise(system, "one_for_one", *specs)
    await end(ref, Crashed(Boom()))
    assert ref.state == "restarting"
    assert await ref.call(Who()) == "a 2"
    (info,) = await supervisor.call(WhichChildren())
    assert info.restarts == 1
