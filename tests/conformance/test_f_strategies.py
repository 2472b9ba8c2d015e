"""F. Strategies."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from actors import Actor, Crashed, Down, Exit, Normal, Ref, Shutdown, System, handles
from supervisors import Backoff, Child, RestartChild, StartChild, StopChild
from tests.conformance.actors_for_tests import (
    STRATEGIES,
    Awaiting,
    Boom,
    Crash,
    Exits,
    Leave,
    Plain,
    Script,
    Who,
    counts,
    settled,
    states,
    supervise,
    workers,
)


def incarnations(refs: list[Ref[Any]]) -> list[int]:
    return [ref.incarnation for ref in refs]


async def test_F3_rest_for_one_renews_the_failed_child_and_the_later_ones(
    system: System, script: Script, worker: type[Plain]
) -> None:
    """Ours: the refs stay, the incarnations behind them are new."""
    supervisor, refs = await supervise(system, "rest_for_one", *workers(worker, script, "a b c"))
    refs[1].cast(Crash())
    await settled()
    assert incarnations(refs) == [1, 2, 2]
    assert [await ref.call(Who()) for ref in refs] == ["a 1", "b 2", "c 2"]
    assert await counts(supervisor) == (3, 3, 0, 3)


@pytest.mark.parametrize(("crashing", "renewed"), [(0, [2, 2, 2]), (1, [2, 2, 2]), (2, [2, 2, 2])])
async def test_F3_one_for_all_renews_everybody(
    system: System, script: Script, worker: type[Plain], crashing: int, renewed: list[int]
) -> None:
    """Beside OTP's case: the other strategies."""
    _, refs = await supervise(system, "one_for_all", *workers(worker, script, "a b c"))
    refs[crashing].cast(Crash())
    await settled()
    assert incarnations(refs) == renewed


@pytest.mark.parametrize("crashing", [0, 1, 2])
async def test_F3_one_for_one_renews_the_failed_child_alone(
    system: System, script: Script, worker: type[Plain], crashing: int
) -> None:
    _, refs = await supervise(system, "one_for_one", *workers(worker, script, "a b c"))
    refs[crashing].cast(Crash())
    await settled()
    assert incarnations(refs) == [2 if each == crashing else 1 for each in range(3)]


@pytest.mark.parametrize(
    ("strategy", "stopped", "started"),
    [
        ("one_for_one", "b", "b"),
        ("rest_for_one", "b d c", "b c d"),
        ("one_for_all", "b d c a", "a b c d"),
    ],
)
async def test_F4_a_group_stops_in_reverse_and_starts_in_order(
    system: System,
    script: Script,
    worker: type[Plain],
    strategy: str,
    stopped: str,
    started: str,
) -> None:
    exits = Exits(system)
    _, refs = await supervise(system, strategy, *workers(worker, script, "a b c d"))
    script.take()
    refs[1].cast(Crash())
    await settled()
    assert script.log == [
        *(f"stop {name}" for name in stopped.split()),
        *(f"start {name}" for name in started.split()),
    ]
    (crashed, *others) = exits.all
    assert crashed[0] == "b" and isinstance(crashed[1], Crashed)
    assert others == [(name, Shutdown()) for name in stopped.split()[1:]]


async def test_F4_a_group_stops_and_starts_one_at_a_time(system: System, script: Script) -> None:
    _, refs = await supervise(system, "rest_for_one", *workers(Awaiting, script, "a b c d"))
    script.stop_takes = {"c": 1, "d": 1}
    script.start_takes = {"b": 1, "c": 1, "d": 1}
    refs[1].cast(Crash())
    log: list[tuple[float, list[str]]] = []
    for _ in range(6):
        await trio.sleep(0.5)
        log.append((trio.current_time(), [ref.state for ref in refs]))
        await trio.sleep(0.5)
    assert [state for _, state in log] == [
        ["up", "stopping", "up", "stopping"],
        ["up", "stopping", "stopping", "restarting"],
        ["up", "starting", "restarting", "restarting"],
        ["up", "up", "starting", "restarting"],
        ["up", "up", "up", "starting"],
        ["up", "up", "up", "up"],
    ]


async def test_F5_one_for_all_redoes_the_whole_group_when_a_later_child_fails(
    system: System, script: Script, worker: type[Plain]
) -> None:
    exits = Exits(system)
    supervisor, refs = await supervise(system, "one_for_all", *workers(worker, script, "a b c"))
    script.take()
    script.broken["b"] = 1
    refs[0].cast(Crash())
    await settled()
    assert script.log == [
        "stop a",
        "stop c",
        "stop b",
        "start a",
        "start b",
        "stop a",
        "start a",
        "start b",
        "start c",
    ]
    assert exits.of("a")[1:] == [Shutdown()]
    assert incarnations(refs) == [3, 3, 2]
    assert await states(supervisor) == {"a": "up", "b": "up", "c": "up"}


async def test_F5_one_for_all_of_only_one_for_whom_it_fails_first(
    system: System, script: Script, worker: type[Plain]
) -> None:
    """The first child fails: nobody is up yet that were to be stopped."""
    _, refs = await supervise(system, "one_for_all", *workers(worker, script, "a b"))
    script.take()
    script.broken["a"] = 2
    refs[1].cast(Crash())
    await settled()
    assert script.log == ["stop b", "stop a", "start a", "start a", "start a", "start b"]


async def test_F6_rest_for_one_keeps_the_earlier_children_when_a_later_one_fails(
    system: System, script: Script, worker: type[Plain]
) -> None:
    exits = Exits(system)
    supervisor, refs = await supervise(system, "rest_for_one", *workers(worker, script, "a b c d"))
    script.take()
    script.broken["c"] = 1
    refs[1].cast(Crash())
    await settled()
    assert script.log == [
        "stop b",
        "stop d",
        "stop c",
        "start b",
        "start c",
        "start c",
        "start d",
    ]
    assert len(exits.of("b")) == 1
    assert incarnations(refs) == [1, 2, 3, 2]
    assert set((await states(supervisor)).values()) == {"up"}


@pytest.mark.parametrize("strategy", ["one_for_all", "rest_for_one"])
async def test_F6_a_child_that_crashes_between_two_attempts_is_not_lost(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    """Beside OTP's cases: "a" is up, "b" waits for its next attempt, and "a" crashes."""
    supervisor, refs = await supervise(system, strategy, *workers(worker, script, "a b c"))
    await supervisor.call(StopChild("c"))
    script.broken["b"] = 1
    refs[0].cast(Crash())
    if strategy == "rest_for_one":
        while "start b" not in script.log[3:]:
            await trio.lowlevel.checkpoint()
    refs[0].cast(Crash())
    await settled()
    assert await states(supervisor) == {"a": "up", "b": "up", "c": "up"}
    assert await refs[0].call(Who()) == f"a {refs[0].incarnation}" and refs[0].incarnation >= 3


async def test_F8_a_dynamic_child_is_restarted_alone(
    system: System, script: Script, worker: type[Plain]
) -> None:
    supervisor, refs = await supervise(system, "dynamic", *workers(worker, script, "a b c"))
    script.take()
    refs[1].cast(Crash())
    await settled()
    assert incarnations(refs) == [1, 2, 1]
    assert script.log == ["stop b", "start b"]
    assert await counts(supervisor) == (3, 3, 0, 3)


@pytest.mark.parametrize(("restart", "exit"), [("permanent", Normal()), ("transient", None)])
async def test_F9_a_dynamic_child_that_declines_its_restart_is_dropped(
    system: System, script: Script, worker: type[Plain], restart: str, exit: Exit | None
) -> None:
    specs = workers(worker, script, "a b", restart=restart)
    supervisor, (ref, other) = await supervise(system, "dynamic", *specs)
    script.declining.add("a")
    ref.cast(Crash() if exit is None else Leave(exit))
    await settled()
    assert ref.state == "gone" and other.alive
    assert await counts(supervisor) == (1, 1, 0, 1)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_F9_a_static_child_that_declines_its_restart_is_kept(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    """Beside OTP's case: as at its first start (A9), its siblings are started all the same."""
    supervisor, refs = await supervise(system, strategy, *workers(worker, script, "a b c"))
    script.declining.add("a")
    refs[0].cast(Crash())
    await settled()
    assert await states(supervisor) == {"a": "stopped", "b": "up", "c": "up"}
    script.declining.clear()
    await supervisor.call(RestartChild("a"))
    assert await states(supervisor) == {"a": "up", "b": "up", "c": "up"}


async def test_F10_the_arguments_are_the_same_at_every_restart(system: System) -> None:
    """Ours: a dynamic supervisor has no template; a factory of one's own adds what is common."""
    seen: list[tuple[object, ...]] = []

    class Taking(Actor):
        def __init__(self, common: str, *args: object, own: str) -> None:
            seen.append((common, *args, own))

        @handles
        def crash(self, message: Crash) -> None:
            raise Boom

    template = partial(Taking, "common", own="keyword")
    supervisor, (ref,) = await supervise(system, "dynamic", Child(template, 1, [2]))
    other = await supervisor.call(StartChild(Child(template, 3)))
    for each in (ref, other, ref):
        each.cast(Crash())
        await settled()
    a, b = ("common", 1, [2], "keyword"), ("common", 3, "keyword")
    assert seen == [a, b, a, b, a]
    assert seen[0][2] is seen[2][2] is seen[4][2]


@pytest.mark.parametrize("strategy", [*STRATEGIES, "dynamic"])
async def test_F11_the_end_of_somebody_elses_child_is_no_affair(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    supervisor, refs = await supervise(
        system, strategy, *workers(worker, script, "a b"), max_restarts=0
    )
    stranger = await system.start(worker, script, "stranger")
    other, (nephew,) = await supervise(system, "one_for_one", *workers(worker, script, "a"))
    stranger.monitor(supervisor)
    stranger.cast(Crash())
    nephew.cast(Crash())
    supervisor.cast(Down(refs[0], 1, Normal()))
    await settled()
    assert nephew.incarnation == 2 and other.alive and stranger.state == "gone"
    assert supervisor.alive and incarnations(refs) == [1, 1]
    assert script.log.count("start b") == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_F13_a_failure_during_a_restart_is_handled_after_it(
    system: System, script: Script, strategy: str
) -> None:
    supervisor, refs = await supervise(system, strategy, *workers(Awaiting, script, "a b c"))
    script.take()
    script.start_takes = {"b": 2}
    refs[1].cast(Crash())
    await trio.sleep(1)
    assert refs[1].state == "starting"
    refs[0].cast(Crash())
    await trio.sleep(0.5)
    assert refs[0].state == "stopping"
    await trio.sleep(10)
    assert await states(supervisor) == {"a": "up", "b": "up", "c": "up"}
    assert (
        incarnations(refs)
        == {
            "one_for_one": [2, 2, 1],
            "rest_for_one": [2, 3, 3],
            "one_for_all": [3, 3, 3],
        }[strategy]
    )


@pytest.mark.parametrize("strategy", [*STRATEGIES, "dynamic"])
async def test_F13_two_failures_at_once_are_both_handled(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    supervisor, refs = await supervise(
        system, strategy, *workers(worker, script, "a b c"), max_restarts=3
    )
    for ref in refs:
        ref.cast(Crash())
    await settled()
    assert [ref.state for ref in refs] == ["up"] * 3
    assert all(ref.incarnation >= 2 for ref in refs)
    assert supervisor.alive


# -- beside OTP's cases: S8


@pytest.mark.parametrize(
    ("strategy", "stopped", "restarted"),
    [
        ("one_for_one", "b", [1, 2, 1]),
        ("rest_for_one", "b c", [1, 2, 2]),
        ("one_for_all", "b c a", [2, 2, 2]),
    ],
)
async def test_F4_a_backoff_stops_the_group_at_once_and_starts_it_after_the_delay(
    system: System,
    script: Script,
    worker: type[Plain],
    strategy: str,
    stopped: str,
    restarted: list[int],
) -> None:
    """S8: the group is stopped at once, waits that child's delay, and counts 0."""
    a, c = workers(worker, script, "a c")
    (b,) = workers(worker, script, "b", backoff=Backoff(10, 10, jitter=0))
    supervisor, refs = await supervise(system, strategy, a, b, c, max_restarts=0)
    script.take()
    refs[1].cast(Crash())
    await trio.sleep(9)
    assert script.take() == [f"stop {name}" for name in stopped.split()]
    await trio.sleep(2)
    assert incarnations(refs) == restarted and supervisor.alive
