"""G. Restart intensity and escalation."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Any

import pytest
import trio

from actors import Crashed, Exit, Killed, Normal, Ref, Shutdown, System, open_system
from supervisors import (
    Backoff,
    Child,
    DynamicSupervisor,
    GaveUp,
    RestartChild,
    RestartLimitExceeded,
    StartChild,
    StopChild,
    Supervisor,
)
from tests.conformance.actors_for_tests import (
    GROUPS,
    STRATEGIES,
    Awaiting,
    Boom,
    Crash,
    Exits,
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


async def crash(ref: Ref[Any], times: int = 1) -> None:
    """Crash an actor so often, each time letting its supervisor act."""
    for _ in range(times):
        ref.cast(Crash())
        await settled()


def gave_up(exit: Exit) -> bool:
    """S7: how a supervisor ends that has given up."""
    return isinstance(exit, Crashed) and isinstance(exit.exception, RestartLimitExceeded)


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_G1_limit_is_exceeded_when_restarts_are_more_than_the_limit(
    system: System, script: Script, worker: type[Plain], strategy: str, limit: int
) -> None:
    specs = workers(worker, script, "a b")
    supervisor, (a, b) = await supervise(system, strategy, *specs, max_restarts=limit)
    await crash(a, limit)
    assert supervisor.alive and a.alive and a.incarnation == limit + 1
    script.take()
    await crash(a)
    assert [supervisor.state, a.state, b.state] == ["gone"] * 3
    assert script.log == ["stop a", "stop b"]
    assert gave_up(await supervisor.wait())


async def test_G1_crashes_of_several_children_add_up(
    system: System, script: Script, worker: type[Plain]
) -> None:
    specs = workers(worker, script, "a b c")
    supervisor, refs = await supervise(system, "one_for_one", *specs, max_restarts=2)
    for ref in refs:
        assert supervisor.alive
        await crash(ref)
    assert gave_up(await supervisor.wait())


@pytest.mark.parametrize("strategy", ALL)
async def test_G2_no_restart_at_all(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    specs = workers(worker, script, "a b")
    supervisor, (a, _) = await supervise(system, strategy, *specs, max_restarts=0)
    await crash(a)
    assert supervisor.state == "gone"
    assert script.log == ["start a", "start b", "stop a", "stop b"]


@pytest.mark.parametrize("strategy", ALL)
async def test_G3_giving_up_is_a_crash_that_says_what_happened(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    """S7, ours: Crashed(RestartLimitExceeded), not shutdown; the children end with Shutdown."""
    exits = Exits(system)
    told: list[GaveUp] = []
    system.telemetry.listen(told.append, GaveUp)
    specs = workers(worker, script, "a b")
    supervisor, (a, _) = await supervise(
        system, strategy, *specs, max_restarts=1, within=7, id="top"
    )
    await crash(a, 2)
    exit = await supervisor.wait()
    assert isinstance(exit, Crashed)
    error = exit.exception
    assert isinstance(error, RestartLimitExceeded)
    assert error.child == "a" and error.ref == supervisor
    assert isinstance(error.__cause__, Boom)
    assert "/top gave up: more than 1 restarts within 7 s" in str(error) and "'a'" in str(error)
    assert [event.error for event in told] == [error]
    assert exits.of("b")[-1] == Shutdown() and exits.all[-1] == ("top", exit)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_G3_the_root_that_gives_up_leaves_open_system_as_one_exception(
    script: Script, worker: type[Plain], strategy: str
) -> None:
    """S7, S9: the body is cancelled."""
    ran = False
    root = GROUPS[strategy](*workers(worker, script, "a"), max_restarts=0)
    with pytest.raises(RestartLimitExceeded) as caught:
        async with open_system(root) as system:
            (place,) = system.root.places
            (await child(place.ref, "a")).cast(Crash())
            await trio.sleep(1000)
            ran = True
    assert not ran and trio.current_time() == 0
    assert isinstance(caught.value.__cause__, Boom)
    assert script.log == ["start a", "stop a"]


async def test_G3_a_supervisor_that_the_system_has_made_leaves_it_so_too(
    script: Script, worker: type[Plain]
) -> None:
    """S9: what supervises the children of system.start gives up like a root."""
    with pytest.raises(RestartLimitExceeded) as caught:
        async with open_system() as system:
            (ref, other) = [await system.start(spec) for spec in workers(worker, script, "a b")]
            await crash(ref, 3)
            assert (ref.incarnation, other.incarnation) == (4, 1)
            await crash(ref)
            await trio.sleep(1000)
    assert caught.value.child == "a" and trio.current_time() == 0


@pytest.mark.parametrize("restart", ["permanent", "transient"])
@pytest.mark.parametrize("strategy", ALL)
async def test_G4_a_supervisor_that_gives_up_is_restarted_unless_temporary(
    system: System, script: Script, worker: type[Plain], strategy: str, restart: Any
) -> None:
    """S7, ours: a transient sub-supervisor never stays dead unnoticed."""
    inner: Child[Any]
    if strategy == "dynamic":
        inner = Child(partial(DynamicSupervisor, max_restarts=0), id="inner", restart=restart)
    else:
        specs = workers(worker, script, "a")
        inner = GROUPS[strategy](*specs, max_restarts=0, id="inner", restart=restart)
    _, (ref,) = await supervise(system, "one_for_one", inner)
    if strategy == "dynamic":
        below = await ref.call(StartChild(*workers(worker, script, "a")))
    else:
        below = await child(ref, "a")
    await crash(below)
    assert ref.alive and ref.incarnation == 2
    if strategy == "dynamic":
        assert below.state == "gone" and await counts(ref) == (0, 0, 0, 0)
    else:
        assert below.alive and await child(ref, "a") == below


async def test_G4_a_temporary_supervisor_that_gives_up_is_gone(
    system: System, script: Script, worker: type[Plain]
) -> None:
    inner = GROUPS["one_for_one"](
        *workers(worker, script, "a"), max_restarts=0, id="inner", restart="temporary"
    )
    supervisor, (ref,) = await supervise(system, "one_for_one", inner)
    await crash(await child(ref, "a"))
    assert ref.state == "gone" and await counts(supervisor) == (0, 0, 0, 0)


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_G6_a_group_restart_counts_one_whatever_its_size(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    names = " ".join(f"worker{number}" for number in range(50))
    specs = workers(worker, script, names)
    supervisor, refs = await supervise(system, strategy, *specs, max_restarts=2)
    await crash(refs[0], 2)
    assert supervisor.alive
    assert {ref.incarnation for ref in refs} == {3}
    await crash(refs[0])
    assert supervisor.state == "gone"


@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize("limit", [0, 1, 4])
async def test_G7_every_failed_attempt_counts_as_one_more_restart(
    system: System, script: Script, worker: type[Plain], strategy: str, limit: int
) -> None:
    specs = workers(worker, script, "a")
    supervisor, (ref,) = await supervise(system, strategy, *specs, max_restarts=limit)
    script.broken["a"] = inf
    script.take()
    await crash(ref)
    exit = await supervisor.wait()
    assert gave_up(exit)
    assert script.log == ["stop a"] + ["start a"] * limit
    assert trio.current_time() == 0


@pytest.mark.parametrize("strategy", ALL)
async def test_G7_up_to_the_limit_attempts_may_fail(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    specs = workers(worker, script, "a")
    supervisor, (ref,) = await supervise(system, strategy, *specs, max_restarts=4)
    script.broken["a"] = 3
    await crash(ref)
    assert ref.alive and ref.incarnation == 5
    await crash(ref)
    assert supervisor.state == "gone"


@pytest.mark.parametrize("strategy", ALL)
async def test_G8_crashes_further_apart_than_the_period_never_add_up(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    specs = workers(worker, script, "a")
    supervisor, (ref,) = await supervise(system, strategy, *specs, max_restarts=1, within=1)
    for _ in range(20):
        await crash(ref)
        await trio.sleep(1.05)
    assert supervisor.alive and ref.incarnation == 21
    await crash(ref)
    await trio.sleep(0.95)
    await crash(ref)
    assert supervisor.state == "gone"


async def test_G8_the_window_slides(system: System, script: Script, worker: type[Plain]) -> None:
    """Two within five seconds are fine, at any moment; a third is not."""
    specs = workers(worker, script, "a")
    supervisor, (ref,) = await supervise(system, "one_for_one", *specs, max_restarts=2, within=5)
    for pause in (3, 3, 3, 3, 2.9, 2.9):
        await crash(ref)
        await trio.sleep(pause)
        assert supervisor.alive
    await crash(ref, 2)
    assert supervisor.state == "gone"


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_G11_a_failure_goes_up_from_supervisor_to_supervisor(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    """Two levels, one restart each: the worker may crash three times, not four."""
    exits = Exits(system)
    group = GROUPS[strategy]
    a, c = workers(worker, script, "a c")
    inner = group(*workers(worker, script, "b"), id="inner", max_restarts=1)
    top, (first, middle, last) = await supervise(
        system, strategy, a, inner, c, id="top", max_restarts=1
    )
    ref = await child(middle, "b")
    await crash(ref)
    assert (middle.incarnation, ref.incarnation) == (1, 2)
    await crash(ref)
    assert (middle.incarnation, ref.incarnation, top.incarnation) == (2, 3, 1)
    assert [first.incarnation, last.incarnation] == {
        "one_for_one": [1, 1],
        "rest_for_one": [1, 2],
        "one_for_all": [2, 2],
    }[strategy]
    await crash(ref)
    assert top.alive and ref.incarnation == 4
    await crash(ref)
    assert {each.state for each in (top, middle, ref, first, last)} == {"gone"}
    (exit,) = exits.of("top")
    assert gave_up(exit) and [gave_up(each) for each in exits.of("inner")] == [True, True]


async def test_G11_the_error_at_the_top_names_its_child_and_causes(
    system: System, script: Script, worker: type[Plain]
) -> None:
    inner = GROUPS["one_for_one"](*workers(worker, script, "a"), id="inner", max_restarts=0)
    top, (middle,) = await supervise(system, "one_for_one", inner, max_restarts=0)
    await crash(await child(middle, "a"))
    exit = await top.wait()
    assert isinstance(exit, Crashed) and isinstance(exit.exception, RestartLimitExceeded)
    below = exit.exception.__cause__
    assert isinstance(below, RestartLimitExceeded) and isinstance(below.__cause__, Boom)
    assert (exit.exception.child, below.child) == ("inner", "a")


async def test_G13_a_failure_goes_up_from_dynamic_supervisors(
    system: System, script: Script, worker: type[Plain]
) -> None:
    spec = Child(partial(DynamicSupervisor, max_restarts=0), id="inner")
    top, (middle,) = await supervise(system, "dynamic", spec, max_restarts=1)
    ref = await middle.call(StartChild(*workers(worker, script, "a")))
    await crash(ref)
    assert ref.state == "gone" and middle.alive and middle.incarnation == 2
    ref = await middle.call(StartChild(*workers(worker, script, "a")))
    await crash(ref)
    assert {top.state, middle.state, ref.state} == {"gone"}
    assert gave_up(await top.wait())


@pytest.mark.parametrize("strategy", ALL)
async def test_G14_temporary_children_do_not_count(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    names = " ".join(f"worker{number}" for number in range(10))
    specs = workers(worker, script, names, restart="temporary")
    (stays,) = workers(worker, script, "a")
    supervisor, (ref, *refs) = await supervise(system, strategy, stays, *specs, max_restarts=0)
    for each in refs:
        await crash(each)
    assert supervisor.alive and ref.incarnation == 1
    assert await counts(supervisor) == (1, 1, 0, 1)


async def test_G14_a_transient_child_that_is_done_does_not_count(
    system: System, script: Script, worker: type[Plain]
) -> None:
    """Beside OTP's case."""
    specs = workers(worker, script, "a", restart="transient")
    supervisor, (ref,) = await supervise(system, "one_for_one", *specs, max_restarts=0)
    for _ in range(5):
        ref.cast(Leave())
        await settled()
        assert await supervisor.call(RestartChild("a")) == ref
    assert supervisor.alive and ref.incarnation == 6


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_G16_starts_and_restarts_by_request_do_not_count(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    specs = workers(worker, script, "a")
    supervisor, (ref,) = await supervise(system, strategy, *specs, max_restarts=0)
    for number in range(10):
        await supervisor.call(StopChild("a"))
        await supervisor.call(RestartChild("a"))
        await supervisor.call(StartChild(*workers(worker, script, f"b{number}")))
    assert supervisor.alive and ref.incarnation == 11
    assert set((await states(supervisor)).values()) == {"up"}


async def test_G16_nor_do_those_that_fail(
    system: System, script: Script, worker: type[Plain]
) -> None:
    specs = workers(worker, script, "a")
    supervisor, _ = await supervise(system, "one_for_one", *specs, max_restarts=0)
    await supervisor.call(StopChild("a"))
    script.broken["a"] = 5
    for _ in range(5):
        with pytest.raises(Exception, match="a does not start"):
            await supervisor.call(RestartChild("a"))
    await supervisor.call(RestartChild("a"))
    assert supervisor.alive and await states(supervisor) == {"a": "up"}


# -- beside OTP's cases: S8, pacing instead of counting


@pytest.mark.parametrize("strategy", ALL)
async def test_G7_a_backoff_paces_instead_of_counting(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    """S8: the delay doubles up to the cap, failed attempts included, and nothing counts."""
    moments: list[float] = []

    class Timed(worker):  # type: ignore[valid-type, misc]
        def __init__(self, script: Script, name: str) -> None:
            super().__init__(script, name)
            moments.append(trio.current_time())

    specs = workers(Timed, script, "a", backoff=Backoff(1, 8, jitter=0))
    supervisor, (ref,) = await supervise(system, strategy, *specs, max_restarts=0)
    script.broken["a"] = 5
    ref.cast(Crash())
    await trio.sleep(100)
    assert moments == [0, 1, 3, 7, 15, 23, 31]
    assert supervisor.alive and ref.alive


async def test_G8_a_backoff_begins_anew_after_a_quiet_spell(
    system: System, script: Script, worker: type[Plain]
) -> None:
    specs = workers(worker, script, "a", backoff=Backoff(1, 100, jitter=0, reset=10))
    _, (ref,) = await supervise(system, "one_for_one", *specs)
    delays: list[float] = []
    for quiet in (0, 0, 9, 11, 0):
        await trio.sleep(quiet)
        before = trio.current_time()
        ref.cast(Crash())
        await ref.call(Who(), timeout=None)
        delays.append(trio.current_time() - before)
    assert delays == [1, 2, 4, 1, 2]


async def test_G1_a_backoff_may_have_a_limit_of_its_own(
    system: System, script: Script, worker: type[Plain]
) -> None:
    specs = workers(worker, script, "a", backoff=Backoff(1, 1, jitter=0, limit=2))
    supervisor, (ref,) = await supervise(system, "one_for_one", *specs, max_restarts=0)
    for _ in range(2):
        await crash(ref)
        await trio.sleep(1.5)
        assert ref.alive
    await crash(ref)
    exit = await supervisor.wait()
    assert gave_up(exit) and "more than 2 restarts in a row" in str(exit)


async def test_G8_jitter_comes_from_the_random_source_of_the_system(
    script: Script, worker: type[Plain]
) -> None:
    async def delay(seed: int) -> float:
        async with open_system(seed=seed) as system:
            specs = workers(worker, script, "a", backoff=Backoff(10, 10, jitter=0.5))
            _, (ref,) = await supervise(system, "one_for_one", *specs)
            before = trio.current_time()
            await crash(ref)
            await ref.call(Who(), timeout=None)
            return trio.current_time() - before

    one, two, three = await delay(1), await delay(2), await delay(1)
    assert one == pytest.approx(three) and one != pytest.approx(two)
    assert 5 <= one <= 10 and 5 <= two <= 10


@pytest.mark.parametrize("exit", [Normal(), Shutdown(), Killed()], ids=str)
async def test_G2_whatever_ends_a_permanent_child_counts(
    system: System, script: Script, worker: type[Plain], exit: Exit
) -> None:
    """S2; beside OTP's case."""
    specs = workers(worker, script, "a")
    supervisor, (ref,) = await supervise(system, "one_for_one", *specs, max_restarts=0)
    await ref.stop(exit)
    assert gave_up(await supervisor.wait())


async def test_G3_a_supervisor_gives_up_while_others_wait_to_be_restarted(
    system: System, script: Script
) -> None:
    """Beside OTP's case: what is paced is forgotten."""

    class Mixed(Supervisor):
        max_restarts = 0

        def children(self) -> list[Child[Any]]:
            return [
                *workers(Awaiting, script, "a", backoff=Backoff(10, 10)),
                *workers(Awaiting, script, "b"),
            ]

    mixed = await system.start(Mixed)
    a, b = await child(mixed, "a"), await child(mixed, "b")
    await crash(a)
    assert a.state == "restarting"
    await crash(b)
    assert [mixed.state, a.state, b.state] == ["gone"] * 3
    script.take()
    await trio.sleep(100)
    assert script.log == []
