"""A. Supervisor start-up."""

from __future__ import annotations

import logging
import traceback
from functools import partial
from math import inf
from typing import Any

import pytest
import trio

from actors import Actor, Shutdown, StartFailed, System, open_system
from supervisors import (
    Child,
    DynamicSupervisor,
    GetChild,
    NoSuchChild,
    StartChild,
    Supervisor,
    WhichChildren,
    one_for_one,
)
from tests.conformance.actors_for_tests import (
    STRATEGIES,
    Awaiting,
    Boom,
    Crash,
    Exits,
    Plain,
    Script,
    Who,
    chain,
    child,
    counts,
    settled,
    states,
    supervise,
    workers,
)


class House(Supervisor):
    """A supervisor that does as it is told when it starts."""

    def __init__(self, script: Script, children: Any) -> None:
        self.script = script
        self._children = children

    def on_start(self) -> None:
        self.script.start(self, "house")

    def children(self) -> Any:
        self.script.log.append("children")
        return self._children


async def test_A2_a_supervisor_that_declines_starts_nothing_and_hurts_nobody(
    system: System, script: Script
) -> None:
    script.declining.add("house")
    house = await system.start(Child(House, script, workers(Plain, script, "a"), name="house"))
    await settled()
    assert house.state == "gone"
    assert system.whereis("house") is None
    assert script.log == []
    bare = await system.start(House, script, workers(Plain, script, "a"), name="house")
    await settled()
    assert bare.state == "gone" and script.log == []


async def test_A2_a_root_that_declines_leaves_the_body_alone(script: Script) -> None:
    script.declining.add("house")
    async with open_system(Child(House, script, workers(Plain, script, "a"))) as system:
        await settled()
        await trio.sleep(1)
        plain = await system.start(Plain, script, "other")
        assert await plain.call(Who()) == "other 1"
    assert script.log == ["start other", "stop other"]


@pytest.mark.parametrize("rubbish", [42, None, "a", Child(Plain, Script(), "a"), [Supervisor, 42]])
async def test_A3_children_that_are_no_list_of_children_fail_the_start(
    system: System, script: Script, rubbish: object
) -> None:
    with pytest.raises(StartFailed, match="House") as caught:
        await system.start(Child(House, script, rubbish))
    assert isinstance(caught.value.__cause__, TypeError)
    text = str(caught.value)
    assert "child" in text and "Got: " in text
    assert repr(rubbish[1] if isinstance(rubbish, list) else rubbish) in text
    assert (await system.start(Plain, script, "a")).alive


async def test_A4_a_supervisor_whose_own_start_raises(system: System, script: Script) -> None:
    script.broken["house"] = 1
    with pytest.raises(StartFailed) as caught:
        await system.start(Child(House, script, [], name="house"))
    cause = caught.value.__cause__
    assert isinstance(cause, Boom)
    assert "on_start" in "".join(traceback.format_exception(cause))
    assert script.log == []
    assert system.whereis("house") is None
    assert (await system.start(Child(House, script, [], name="house"))).alive


async def test_A5_start_returns_when_every_child_has_started(
    system: System, script: Script
) -> None:
    script.start_takes = {"a": 1, "b": 2, "c": 3}
    inner = one_for_one(*workers(Awaiting, script, "b c"), id="inner")
    before = trio.current_time()
    _, refs = await supervise(system, "one_for_one", *workers(Awaiting, script, "a"), inner)
    assert trio.current_time() - before == 6
    assert [ref.state for ref in refs] == ["up", "up"]
    assert set((await states(refs[1])).values()) == {"up"}


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_A6_children_start_in_list_order_each_after_the_previous_one(
    system: System, worker: type[Plain], strategy: str
) -> None:
    log: list[str] = []

    class Noting(worker):  # type: ignore[valid-type, misc]
        async def on_start(self) -> None:
            log.append(f"begin {self.name}")
            await trio.sleep(3 - len(log) / 2)
            log.append(f"end {self.name}")

    script = Script()
    await supervise(system, strategy, *workers(Noting, script, "a b c"))
    assert log == ["begin a", "end a", "begin b", "end b", "begin c", "end c"]


async def test_A6_plain_starts_are_in_list_order_too(system: System, script: Script) -> None:
    names = "d b a e c"
    await supervise(system, "one_for_one", *workers(Plain, script, names))
    assert script.log == [f"start {name}" for name in names.split()]


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_A7_a_failing_child_stops_those_before_it_in_reverse_without_a_retry(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    exits = Exits(system)
    script.broken["c"] = 1
    specs = workers(worker, script, "a b c d")
    with pytest.raises(StartFailed, match="'c'") as caught:
        await supervise(system, strategy, *specs, max_restarts=100, id="house", name="house")
    assert script.log == ["start a", "start b", "start c", "stop b", "stop a"]
    assert exits.all == [("b", Shutdown()), ("a", Shutdown())]
    assert [type(each) for each in chain(caught.value)] == [StartFailed, StartFailed, Boom]
    assert system.whereis("house") is None


async def test_A8_the_start_error_carries_the_traceback_of_the_child_to_the_top(
    script: Script, worker: type[Plain]
) -> None:
    script.broken["deep"] = 1
    inner = one_for_one(*workers(worker, script, "deep"), id="inner")
    middle = one_for_one(inner, id="middle")
    with pytest.raises(StartFailed) as caught:
        async with open_system(one_for_one(middle, id="outer")):
            pytest.fail("it has started")
    *above, cause = chain(caught.value)
    assert isinstance(cause, Boom)
    assert [type(each) for each in above] == [StartFailed] * 4
    for id, error in zip(("middle", "inner", "deep"), above, strict=False):
        assert f"its child {id!r} failed" in str(error)
    frames = traceback.extract_tb(cause.__traceback__)
    assert frames[-1].name == "start" and frames[-1].filename.endswith("actors_for_tests.py")
    assert "on_start" in {frame.name for frame in frames}


async def test_A9_a_child_that_declines_keeps_its_spec(
    system: System, script: Script, worker: type[Plain]
) -> None:
    supervisor, _ = await supervise(system, "one_for_one", *workers(worker, script, "a"))
    script.declining.add("b")
    ref = await supervisor.call(StartChild(*workers(worker, script, "b", name="b")))
    assert ref.state == "stopped"
    assert await states(supervisor) == {"a": "up", "b": "stopped"}
    assert await counts(supervisor) == (2, 1, 0, 2)
    assert system.whereis("b") is None
    await settled()
    assert script.log == ["start a", "start b", "stop b"]


async def test_A9_a_static_child_that_declines_keeps_its_spec_and_its_place_in_the_order(
    system: System, script: Script, worker: type[Plain]
) -> None:
    script.declining.add("b")
    supervisor, _ = await supervise(system, "one_for_one", *workers(worker, script, "a b c"))
    assert await states(supervisor) == {"a": "up", "b": "stopped", "c": "up"}
    assert await counts(supervisor) == (3, 2, 0, 3)


async def test_A10_a_temporary_static_child_that_declines_is_not_kept(
    system: System, script: Script, worker: type[Plain]
) -> None:
    script.declining.add("b")
    specs = workers(worker, script, "a b c", restart="temporary")
    supervisor, _ = await supervise(system, "one_for_one", *specs)
    assert await states(supervisor) == {"a": "up", "c": "up"}
    assert await counts(supervisor) == (2, 2, 0, 2)


async def test_A11_a_temporary_child_that_declines_start_child_is_not_kept(
    system: System, script: Script, worker: type[Plain]
) -> None:
    supervisor, _ = await supervise(system, "one_for_one")
    script.declining.add("b")
    (spec,) = workers(worker, script, "b", restart="temporary")
    ref = await supervisor.call(StartChild(spec))
    assert ref.state == "gone"
    assert await counts(supervisor) == (0, 0, 0, 0)
    script.declining.clear()
    assert (await supervisor.call(StartChild(spec))).alive


@pytest.mark.parametrize("strategy", ["one_for_one", "dynamic"])
async def test_A15_a_factory_that_returns_no_actor_fails_the_start_not_the_supervisor(
    system: System, script: Script, strategy: str
) -> None:
    supervisor, (ref,) = await supervise(system, strategy, *workers(Plain, script, "a"))

    def factory() -> Any:
        return "rubbish"

    with pytest.raises(StartFailed, match="rubbish") as caught:
        await supervisor.call(StartChild(Child(factory, id="b")))
    assert isinstance(caught.value.__cause__, TypeError)
    assert await counts(supervisor) == (1, 1, 0, 1)
    assert ref.incarnation == supervisor.incarnation == 1


async def test_A15_a_factory_that_returns_a_running_actor_fails_the_start(
    system: System, script: Script
) -> None:
    supervisor, _ = await supervise(system, "one_for_one")
    first = Plain(script, "a")
    ref = await supervisor.call(StartChild(Child(lambda: first, id="a")))
    with pytest.raises(StartFailed, match="running already"):
        await supervisor.call(StartChild(Child(lambda: first, id="b")))
    assert await ref.call(Who()) == "a 1"


async def test_A16_a_dynamic_supervisor_passes_the_error_of_the_child_on(
    system: System, script: Script, worker: type[Plain]
) -> None:
    supervisor, _ = await supervise(system, "dynamic", id="dynamic")
    script.broken["a"] = 1
    with pytest.raises(StartFailed) as caught:
        await supervisor.call(StartChild(*workers(worker, script, "a")))
    assert [type(each) for each in chain(caught.value)] == [StartFailed, Boom]
    assert caught.value.ref is not None and caught.value.ref.path == f"{supervisor.path}/a"
    assert await counts(supervisor) == (0, 0, 0, 0)


@pytest.mark.parametrize("strategy", ["one_for_one", "dynamic"])
async def test_A18_defaults_can_be_read_back(system: System, script: Script, strategy: str) -> None:
    supervisor, refs = await supervise(
        system, strategy, Child(Plain, script, "a"), Child(DynamicSupervisor)
    )
    keys: list[Any] = refs if strategy == "dynamic" else ["Plain", "DynamicSupervisor"]
    a, b = [await supervisor.call(GetChild(key)) for key in keys]
    assert (a.kind, a.spec.restart, a.spec.shutdown, a.spec.significant) == (
        "worker",
        "permanent",
        5.0,
        False,
    )
    assert (b.kind, b.spec.restart, b.spec.shutdown, b.spec.significant) == (
        "supervisor",
        "permanent",
        inf,
        False,
    )
    assert (a.spec.start_timeout, a.spec.mailbox, a.spec.backoff) == (30.0, 10_000, None)
    assert (a.ref, b.ref) == tuple(refs)


async def test_A19_get_child_of_what_is_not_there(system: System, script: Script) -> None:
    static, _ = await supervise(system, "one_for_one", *workers(Plain, script, "a"))
    with pytest.raises(NoSuchChild, match="'b'"):
        await static.call(GetChild("b"))
    dynamic, (ref,) = await supervise(system, "dynamic", *workers(Plain, script, "a"))
    assert (await dynamic.call(GetChild(ref))).ref == ref
    foreign = await child(static, "a")
    for key in (foreign, static, dynamic, "a"):
        with pytest.raises(NoSuchChild):
            await dynamic.call(GetChild(key))


async def test_A22_a_start_with_the_supervisor_is_progress_one_by_request_is_not(
    system: System, script: Script, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, logger="supervisors")
    supervisor, _ = await supervise(system, "one_for_one", *workers(Plain, script, "a"), id="s")
    await supervisor.call(StartChild(*workers(Plain, script, "b")))
    (await child(supervisor, "a")).cast(Crash())
    await settled()

    def levels(id: str) -> list[str]:
        started = f"child '{id}' started"
        return [each.levelname for each in caplog.records if started in each.getMessage()]

    assert levels("a") == ["INFO"]
    assert levels("b") == ["DEBUG"]


async def test_A24_a_class_stands_for_its_spec_which_can_be_overridden(
    system: System, script: Script
) -> None:
    class Quiet(Actor):
        pass

    class Empty(Supervisor):
        pass

    supervisor, _ = await supervise(
        system, "one_for_one", Quiet, Empty, Child(Quiet, id="other", restart="transient")
    )
    quiet, empty, other = await supervisor.call(WhichChildren())
    assert (quiet.id, quiet.kind, quiet.spec.factory) == ("Quiet", "worker", Quiet)
    assert (empty.id, empty.kind, empty.spec.shutdown) == ("Empty", "supervisor", inf)
    assert (other.id, other.spec.restart) == ("other", "transient")
    assert Child(partial(DynamicSupervisor, max_children=1)).kind == "supervisor"
