"""D. Stopping and shutdown."""

from __future__ import annotations

import logging
from math import inf
from typing import Any

import pytest
import trio

from actors import (
    Actor,
    Crashed,
    Exit,
    Killed,
    Normal,
    NoSuchActor,
    Ref,
    Shutdown,
    StartFailed,
    System,
    open_system,
)
from actors.telemetry import ActorUnresponsive
from actors.testing import dead_letters
from supervisors import (
    Backoff,
    Child,
    ChildRunning,
    DeleteChild,
    DynamicSupervisor,
    RestartChild,
    StartChild,
    StopChild,
    one_for_one,
)
from tests.conformance.actors_for_tests import (
    STRATEGIES,
    Awaiting,
    Boom,
    Crash,
    Exits,
    Leave,
    Plain,
    Script,
    Stubborn,
    Who,
    Work,
    child,
    settled,
    supervise,
    workers,
)

RESTARTS = ("permanent", "transient", "temporary")
OWN_EXITS: list[Exit] = [Normal(), Shutdown(), Shutdown("mine"), Crashed(Boom())]


class Lingering(Awaiting):
    """Says when its last words begin, too."""

    async def on_stop(self, exit: Exit) -> None:
        self.script.log.append(f"asked {self.name}")
        await super().on_stop(exit)


class Dropping(Actor):
    """Gives another reason than it was given when it is asked to stop."""

    def __init__(self, exit: Exit) -> None:
        self.own = exit

    def on_stop(self, exit: Exit) -> None:
        self.stop(self.own)


async def stop(supervisor: Ref[Any]) -> float:
    """Stop a supervisor as its own supervisor would; how long it took."""
    before = trio.current_time()
    await supervisor.stop(Shutdown())
    return trio.current_time() - before


def same(exit: Exit, expected: Exit) -> bool:
    """Whether these are the same ends; every Boom is one."""
    if isinstance(expected, Crashed):
        return isinstance(exit, Crashed) and isinstance(exit.exception, Boom)
    return exit == expected


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_D1_children_stop_in_reverse_one_at_a_time(
    system: System, script: Script, strategy: str
) -> None:
    script.stop_takes = {"a": 1, "b": 1, "c": 1, "d": 1}
    inner = one_for_one(*workers(Lingering, script, "b c"), id="inner")
    a, d = workers(Lingering, script, "a d")
    supervisor, _ = await supervise(system, strategy, a, inner, d)
    script.take()
    assert await stop(supervisor) == 4
    assert script.log == [f"{step} {name}" for name in "dcba" for step in ("asked", "stop")]


async def test_D1_plain_children_stop_in_reverse(system: System, script: Script) -> None:
    supervisor, _ = await supervise(system, "one_for_one", *workers(Plain, script, "d b a c"))
    script.take()
    await stop(supervisor)
    assert script.log == ["stop c", "stop a", "stop b", "stop d"]


async def test_D1_children_added_at_run_time_stop_first(system: System, script: Script) -> None:
    supervisor, _ = await supervise(system, "one_for_one", *workers(Plain, script, "a b"))
    for spec in workers(Plain, script, "d c"):
        await supervisor.call(StartChild(spec))
    script.take()
    await stop(supervisor)
    assert script.log == ["stop c", "stop d", "stop b", "stop a"]


async def test_D2_without_a_bound_the_child_is_waited_for(system: System, script: Script) -> None:
    exits = Exits(system)
    script.stop_takes = {"a": 10_000, "b": 10_000}
    inner = one_for_one(*workers(Awaiting, script, "b", shutdown=inf), id="inner")
    (a,) = workers(Awaiting, script, "a", shutdown=inf)
    supervisor, _ = await supervise(system, "one_for_one", inner, a, id="top")
    assert await stop(supervisor) == 20_000
    assert exits.all == [(id, Shutdown()) for id in ("a", "b", "inner", "top")]


async def test_D3_a_child_that_is_too_slow_is_killed(system: System, script: Script) -> None:
    exits = Exits(system)
    script.stop_takes = {"b": 10_000}
    specs = workers(Awaiting, script, "a b c", shutdown=2)
    supervisor, _ = await supervise(system, "one_for_one", *specs, id="top")
    assert await stop(supervisor) == 2
    assert exits.all == [
        ("c", Shutdown()),
        ("b", Killed()),
        ("a", Shutdown()),
        ("top", Shutdown()),
    ]
    assert "stop b" not in script.log


async def test_D3_the_running_turn_is_part_of_the_time(system: System, script: Script) -> None:
    exits = Exits(system)
    specs = workers(Awaiting, script, "a b", shutdown=2)
    supervisor, (a, b) = await supervise(system, "one_for_one", *specs)
    a.cast(Work(1))
    b.cast(Work(3))
    await settled()
    assert await stop(supervisor) == 2
    assert exits.all[:2] == [("b", Killed()), ("a", Shutdown())]
    assert script.log == ["start a", "start b", "stop a"]


async def test_D3_a_child_that_does_not_yield_is_reported_and_not_waited_for(
    system: System, script: Script
) -> None:
    """K17: the stop of its siblings goes on."""
    unresponsive: list[ActorUnresponsive] = []
    system.telemetry.listen(unresponsive.append, ActorUnresponsive)
    release = trio.Event()
    (a,) = workers(Plain, script, "a")
    stubborn = Child(Stubborn, release, id="stubborn", shutdown=2)
    supervisor, (_, ref) = await supervise(system, "one_for_one", a, stubborn)
    ref.cast(Work(0))
    await settled()
    try:
        assert 2 <= await stop(supervisor) < 10
        assert [event.ref for event in unresponsive] == [ref]
        assert script.log == ["start a", "stop a"]
    finally:
        release.set()
    await settled()
    assert ref.state == "gone"


async def test_D3_nobody_takes_the_place_of_a_child_that_does_not_yield(
    system: System, script: Script
) -> None:
    """K17: no new tenant until it is gone."""
    release = trio.Event()
    stubborn = Child(Stubborn, release, id="stubborn", shutdown=2)
    supervisor, (ref,) = await supervise(system, "one_for_one", stubborn)
    ref.cast(Work(0))
    await settled()
    try:
        with trio.move_on_after(100):
            await ref.stop(Killed())
        await trio.sleep(100)
        assert ref.incarnation == 1
    finally:
        release.set()
    await settled()
    assert ref.incarnation == 2 and ref.alive
    await stop(supervisor)


@pytest.mark.parametrize("strategy", ["one_for_one", "dynamic"])
async def test_D3_a_child_that_does_not_yield_in_its_start_is_not_waited_for_either(
    system: System, script: Script, strategy: str
) -> None:
    """K17: neither by its starter nor by the stop of its supervisor."""
    release = trio.Event()

    class Starting(Actor):
        async def on_start(self) -> None:
            with trio.CancelScope(shield=True):
                await release.wait()

    supervisor, (a,) = await supervise(system, strategy, *workers(Plain, script, "a"))
    spec = Child(Starting, id="starting", start_timeout=3, name="starting")
    try:
        with pytest.raises(StartFailed) as caught:
            await supervisor.call(StartChild(spec), timeout=100)
        assert 3 <= trio.current_time() < 10
        assert system.whereis("starting") is None and a.alive
        assert await stop(supervisor) < 10
        assert script.log == ["start a", "stop a"]
    finally:
        release.set()
    await settled()
    assert caught.value.ref is not None and caught.value.ref.state == "gone"


async def test_D3_a_stopped_child_that_does_not_yield_is_stopped_when_it_does(
    system: System,
) -> None:
    """K17, S5: its end after all is no reason for a restart."""
    release = trio.Event()
    stubborn = Child(Stubborn, release, id="stubborn", shutdown=2, name="stubborn")
    supervisor, (ref,) = await supervise(system, "one_for_one", stubborn, max_restarts=0)
    ref.cast(Work(0))
    await settled()
    try:
        await supervisor.call(StopChild("stubborn"))
        assert ref.incarnation == 1 and system.whereis("stubborn") is None
        with pytest.raises(ChildRunning):
            await supervisor.call(DeleteChild("stubborn"))
    finally:
        release.set()
    await settled()
    assert ref.state == "stopped" and ref.incarnation == 1 and supervisor.alive
    assert await supervisor.call(RestartChild("stubborn")) == ref
    assert ref.alive and ref.incarnation == 2


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_D3_a_group_waits_for_the_place_of_a_child_that_does_not_yield(
    system: System, script: Script, strategy: str
) -> None:
    """K17: no new tenant until it is gone, and its late end is not one more failure."""
    release = trio.Event()
    (a,) = workers(Plain, script, "a")
    stubborn = Child(Stubborn, release, id="stubborn", shutdown=2)
    supervisor, refs = await supervise(system, strategy, a, stubborn, max_restarts=1)
    refs[1].cast(Work(0))
    await settled()
    refs[0].cast(Crash())
    try:
        await trio.sleep(100)
        assert [ref.incarnation for ref in refs] == [2, 1]
    finally:
        release.set()
    await settled()
    assert [ref.incarnation for ref in refs] == [2, 2] and refs[1].alive
    assert supervisor.alive


async def test_D5_the_time_of_dynamic_children_is_one_for_all(
    system: System, script: Script
) -> None:
    exits = Exits(system)
    script.stop_takes = {"a": 1, "b": 100, "c": 1, "d": 100}
    specs = workers(Awaiting, script, "a b c d", shutdown=2)
    supervisor, _ = await supervise(system, "dynamic", *specs, id="top")
    assert await stop(supervisor) == 2
    assert sorted(exits.all[:-1], key=str) == [
        ("a", Shutdown()),
        ("b", Killed()),
        ("c", Shutdown()),
        ("d", Killed()),
    ]
    assert exits.all[-1] == ("top", Shutdown())


async def test_D6_dynamic_children_stop_at_the_same_time(system: System, script: Script) -> None:
    exits = Exits(system)
    script.stop_takes = {"a": 1, "b": 1, "c": 1.5, "d": 5}
    specs = workers(Lingering, script, "a b c d", shutdown=2)
    supervisor, _ = await supervise(system, "dynamic", *specs)
    script.take()
    assert await stop(supervisor) == 2
    assert sorted(script.log[:4]) == ["asked a", "asked b", "asked c", "asked d"]
    assert sorted(script.log[4:6]) == ["stop a", "stop b"] and script.log[6:] == ["stop c"]
    assert exits.of("d") == [Killed()]


async def test_D7_dynamic_children_that_are_to_be_killed(
    system: System, script: Script, worker: type[Plain]
) -> None:
    exits = Exits(system)
    specs = workers(worker, script, "a " * 10, shutdown="kill")
    supervisor, _ = await supervise(system, "dynamic", *specs, id="top")
    script.take()
    assert await stop(supervisor) == 0
    assert exits.all == [("a", Killed())] * 10 + [("top", Shutdown())]
    assert script.log == []


@pytest.mark.parametrize("exit", OWN_EXITS, ids=str)
@pytest.mark.parametrize("restart", RESTARTS)
async def test_D8_a_child_that_ends_while_its_supervisor_stops_keeps_its_reason(
    system: System, script: Script, worker: type[Plain], restart: str, exit: Exit
) -> None:
    exits = Exits(system)
    (a,) = workers(worker, script, "a", restart=restart)
    (b,) = workers(Awaiting, script, "b")
    script.stop_takes["b"] = 2
    supervisor, (ref, _) = await supervise(system, "one_for_one", a, b, id="top", max_restarts=0)
    script.take()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop, supervisor)
        await trio.sleep(1)
        assert supervisor.state == "stopping" and ref.alive
        ref.cast(Crash() if isinstance(exit, Crashed) else Leave(exit))
    assert script.log == ["stop a", "stop b"]
    (own,), top = exits.of("a"), exits.of("top")
    assert same(own, exit)
    assert exits.ids == ["a", "b", "top"] and top == [Shutdown()]


@pytest.mark.parametrize("exit", OWN_EXITS, ids=str)
@pytest.mark.parametrize("restart", RESTARTS)
async def test_D9_a_dynamic_child_that_ends_while_its_supervisor_stops_keeps_its_reason(
    system: System, script: Script, restart: str, exit: Exit
) -> None:
    exits = Exits(system)
    a, b = workers(Awaiting, script, "a b", restart=restart)
    supervisor, (ref, _) = await supervise(system, "dynamic", a, b, id="top", max_restarts=0)
    ref.cast(Work(1, Crash() if isinstance(exit, Crashed) else Leave(exit)))
    await settled()
    script.take()
    assert await stop(supervisor) == 1
    assert script.log == ["stop b", "stop a"]
    (own,), top = exits.of("a"), exits.of("top")
    assert same(own, exit)
    assert exits.of("b") == [Shutdown()] and top == [Shutdown()]


@pytest.mark.parametrize("strategy", [*STRATEGIES, "dynamic"])
@pytest.mark.parametrize("backoff", [None, Backoff(5, 5)])
async def test_D12_a_supervisor_stops_while_a_child_fails_to_restart(
    system: System, script: Script, worker: type[Plain], strategy: str, backoff: Backoff | None
) -> None:
    exits = Exits(system)
    specs = workers(worker, script, "a b c", backoff=backoff)
    supervisor, refs = await supervise(system, strategy, *specs, max_restarts=10**9, id="top")
    script.broken["b"] = inf
    refs[1].cast(Crash())
    while len(script.log) < 20 and backoff is None:
        await trio.lowlevel.checkpoint()
    if backoff is not None:
        await trio.sleep(7)
    assert refs[1].state != "up"
    assert await stop(supervisor) == 0
    assert exits.of("top") == [Shutdown()]
    assert [ref.state for ref in refs] == ["gone"] * 3
    script.take()
    await trio.sleep(100)
    assert script.log == []


@pytest.mark.parametrize("strategy", [*STRATEGIES, "dynamic"])
async def test_D12_a_supervisor_stops_while_a_child_hangs_in_its_restart(
    system: System, script: Script, strategy: str
) -> None:
    exits = Exits(system)
    specs = workers(Awaiting, script, "a b c", start_timeout=inf)
    supervisor, refs = await supervise(system, strategy, *specs, id="top")
    script.start_takes["b"] = inf
    refs[1].cast(Crash())
    await settled()
    assert refs[1].state == "starting"
    assert await stop(supervisor) == 0
    assert exits.of("top") == [Shutdown()]
    assert [ref.state for ref in refs] == ["gone"] * 3


@pytest.mark.parametrize("strategy", ["one_for_one", "dynamic"])
async def test_D13_children_stop_each_in_its_own_way(
    system: System, script: Script, strategy: str
) -> None:
    exits = Exits(system)
    script.stop_takes = {"patient": 100, "killed": 100, "bounded": 100}
    specs = [
        *workers(Awaiting, script, "patient", shutdown=inf),
        *workers(Awaiting, script, "killed", shutdown="kill"),
        *workers(Awaiting, script, "zero", shutdown=0),
        *workers(Awaiting, script, "bounded", shutdown=3),
    ]
    supervisor, _ = await supervise(system, strategy, *specs)
    assert await stop(supervisor) == (100 if strategy == "dynamic" else 103)
    assert dict(exits.all[:4]) == {
        "patient": Shutdown(),
        "killed": Killed(),
        "zero": Killed(),
        "bounded": Killed(),
    }


@pytest.mark.parametrize("strategy", ["one_for_one", "dynamic"])
@pytest.mark.parametrize("shutdown", [inf, 5.0])
async def test_D14_a_child_may_give_its_own_reason_when_it_is_asked_to_stop(
    system: System, strategy: str, shutdown: float
) -> None:
    exits = Exits(system)
    spec = Child(Dropping, Shutdown("oops"), id="a", shutdown=shutdown)
    supervisor, _ = await supervise(system, strategy, spec, id="top")
    await stop(supervisor)
    assert exits.all == [("a", Shutdown("oops")), ("top", Shutdown())]


@pytest.mark.parametrize("strategy", ["one_for_one", "dynamic"])
async def test_D15_whoever_never_leaves_is_killed_the_others_are_not(
    system: System, script: Script, strategy: str
) -> None:
    exits = Exits(system)
    script.stop_takes["a"] = inf
    specs = workers(Awaiting, script, "a b", shutdown=0.001)
    supervisor, _ = await supervise(system, strategy, *specs)
    assert await stop(supervisor) == pytest.approx(0.001)
    assert exits.of("a") == [Killed()] and exits.of("b") == [Shutdown()]


@pytest.mark.parametrize("strategy", ["one_for_one", "dynamic"])
async def test_D16_a_permanent_child_that_answers_a_stop_with_normal_stays_down(
    system: System, strategy: str
) -> None:
    exits = Exits(system)
    specs = [Child(Dropping, Normal(), id=id) for id in ("a", "b")]
    supervisor, (a, b) = await supervise(system, strategy, *specs)
    await supervisor.call(StopChild(a if strategy == "dynamic" else "a"))
    await settled()
    assert exits.all == [("a", Normal())] and a.incarnation == 1
    await stop(supervisor)
    assert exits.of("b") == [Normal()] and b.incarnation == 1


@pytest.mark.parametrize("strategy", [*STRATEGIES, "dynamic"])
async def test_D18_children_do_not_outlive_a_supervisor_that_is_killed(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    exits = Exits(system)
    inner = one_for_one(*workers(worker, script, "b"), id="inner")
    (a,) = workers(worker, script, "a", shutdown=inf)
    script.stop_takes = {"a": inf, "b": inf}
    supervisor, refs = await supervise(system, strategy, a, inner, id="top")
    below = await child(refs[1], "b")
    script.take()
    await supervisor.stop(Killed())
    assert {ref.state for ref in (supervisor, *refs, below)} == {"gone"}
    assert sorted(exits.all, key=str) == [(id, Killed()) for id in ("a", "b", "inner", "top")]
    assert exits.ids[-1] == "top"
    assert script.log == []


@pytest.mark.parametrize("strategy", [*STRATEGIES, "dynamic"])
@pytest.mark.parametrize("shutdown", [5.0, inf, "kill"])
async def test_D20_last_words_are_heard_unless_the_child_is_to_be_killed(
    system: System, strategy: str, shutdown: Any
) -> None:
    heard: list[Exit] = []

    class Speaking(Actor):
        def on_stop(self, exit: Exit) -> None:
            heard.append(exit)

    class Writing(Actor):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(1)
            heard.append(exit)

    specs = [Child(cls, shutdown=shutdown) for cls in (Speaking, Writing)]
    supervisor, _ = await supervise(system, strategy, *specs)
    await stop(supervisor)
    assert heard == ([] if shutdown == "kill" else [Shutdown()] * 2)


async def test_D20_last_words_are_shielded_from_the_cancellation_around_the_system(
    script: Script,
) -> None:
    script.stop_takes = {"a": 3, "b": 1}
    with trio.CancelScope() as scope:
        async with open_system(one_for_one(*workers(Awaiting, script, "a b"))):
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert script.log == ["start a", "start b", "stop b", "stop a"]
    assert trio.current_time() == 4


async def test_D21_a_stop_overtakes_the_messages_that_wait(system: System, script: Script) -> None:
    """Ours, K16: the running turn is finished, what waits behind it is told so."""
    exits = Exits(system)
    letters = dead_letters(system)
    supervisor, (ref,) = await supervise(system, "one_for_one", *workers(Awaiting, script, "a"))
    ref.cast(Work(1))
    await settled()
    ref.cast(Leave())
    errors: list[type[BaseException]] = []

    async def ask() -> None:
        try:
            await ref.call(Who())
        except NoSuchActor as error:
            errors.append(type(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await settled()
        await supervisor.call(StopChild("a"))
    assert trio.current_time() == 1
    assert exits.all == [("a", Shutdown())]
    assert [letter.message for letter in letters] == [Leave()]
    assert errors == [NoSuchActor]


@pytest.mark.parametrize("strategy", [*STRATEGIES, "dynamic"])
async def test_D22_last_words_that_raise_become_the_exit_and_the_stop_goes_on(
    system: System,
    script: Script,
    worker: type[Plain],
    strategy: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    exits = Exits(system)
    specs = workers(worker, script, "a b c")
    supervisor, _ = await supervise(system, strategy, *specs, id="top", max_restarts=0)
    script.stop_raises.add("b")
    script.take()
    caplog.clear()
    await stop(supervisor)
    assert sorted(script.log) == ["stop a", "stop b", "stop c"]
    (own,) = exits.of("b")
    assert same(own, Crashed(Boom()))
    assert exits.of("a") == exits.of("c") == exits.of("top") == [Shutdown()]
    records = [each for each in caplog.records if each.levelno >= logging.ERROR]
    assert len(records) == 1 and "b does not stop" in records[0].getMessage()


# -- beside OTP's cases


async def test_D1_a_supervisor_stops_while_it_starts(system: System, script: Script) -> None:
    """What has started is stopped in reverse, what is starting is killed, the rest never starts."""
    parents: list[Ref[Any]] = []

    class Telling(Awaiting):
        async def on_start(self) -> None:
            assert self.parent is not None
            parents.append(self.parent)
            await super().on_start()

    script.start_takes["c"] = inf
    failures: list[BaseException] = []

    async def start() -> None:
        try:
            await supervise(
                system, "one_for_one", *workers(Telling, script, "a b c d", start_timeout=inf)
            )
        except StartFailed as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        await settled()
        assert script.take() == ["start a", "start b", "start c"]
        (top,) = set(parents)
        await top.stop()
    assert script.log == ["stop b", "stop a"]
    assert len(failures) == 1 and top.state == "gone"


async def test_D6_a_dynamic_supervisor_under_a_bound_takes_its_children_with_it(
    system: System, script: Script
) -> None:
    exits = Exits(system)
    script.stop_takes = {"a": 100}
    spec = Child(DynamicSupervisor, id="dynamic", shutdown=2)
    supervisor, (dynamic,) = await supervise(system, "one_for_one", spec)
    await dynamic.call(StartChild(*workers(Awaiting, script, "a", shutdown=inf)))
    assert await stop(supervisor) == 2
    assert exits.all[:2] == [("a", Killed()), ("dynamic", Killed())]
    assert dynamic.state == supervisor.state == "gone"
