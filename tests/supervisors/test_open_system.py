"""S9: what system.start(Child) and open_system make of a spec, and how they end."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors import (
    Normal,
    Ref,
    StartFailed,
    System,
    open_system,
)
from actors.testing import leftovers
from supervisors import (
    Backoff,
    Child,
    RestartLimitExceeded,
    Supervisor,
    one_for_one,
)
from tests.conformance.actors_for_tests import (
    STRATEGIES,
    Awaiting,
    Boom,
    Crash,
    Leave,
    Plain,
    Script,
    Who,
    child,
    settled,
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


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_S9_a_root_that_gives_up_cancels_the_body_and_leaves_as_that_exception(
    script: Script, strategy: Any
) -> None:
    events: list[str] = []

    class Root(Supervisor):
        max_restarts = 0

        def children(self) -> list[Child[Any]]:
            return workers(Plain, script, "a b", name=None)

    Root.strategy = strategy
    with pytest.raises(RestartLimitExceeded) as caught:
        async with open_system(Root, watchdog=None) as system:
            (root,) = system.root.places
            try:
                await crash(await child(root.ref, "a"))
                await trio.sleep_forever()
            except trio.Cancelled:
                events.append("cancelled")
                raise
    assert events == ["cancelled"]
    assert caught.value.child == "a"
    assert isinstance(caught.value.__cause__, Boom)
    assert script.log == ["start a", "start b", "stop a", "stop b"]


async def test_S9_what_the_body_makes_of_its_cancellation_does_not_hide_it(
    script: Script,
) -> None:
    class Root(Supervisor):
        max_restarts = 0

        def children(self) -> list[Child[Any]]:
            return workers(Plain, script, "a", name="a")

    with pytest.raises(RestartLimitExceeded):
        async with open_system(Root, watchdog=None) as system:
            ref = system.whereis("a")
            assert ref is not None
            try:
                await crash(ref)
                await trio.sleep_forever()
            finally:
                raise KeyError("while cleaning up")


@pytest.mark.parametrize("nested", [False, True])
async def test_S9_an_exception_of_the_body_leaves_bare_and_everything_stops(
    script: Script, nested: bool
) -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with open_system(watchdog=None) as system:
            for name in "ab":
                await system.start(Child(Awaiting, script, name))
            if nested:
                await trio.sleep(1)
            raise error
    assert caught.value is error
    assert sorted(script.log[2:]) == ["stop a", "stop b"]


async def test_S9_a_root_whose_start_fails_leaves_as_its_start_failed(script: Script) -> None:
    script.broken["b"] = 1
    with pytest.raises(StartFailed, match="'b' failed"):
        async with open_system(one_for_one(*workers(Plain, script, "a b"))):
            raise AssertionError("never")
    assert script.log == ["start a", "start b", "stop a"]


async def test_S9_a_root_that_is_done_leaves_the_body_alone(script: Script) -> None:
    spec = workers(Plain, script, "a", name="a", restart="transient", significant=True)
    async with open_system(
        one_for_one(*spec, auto_shutdown="any_significant"), watchdog=None
    ) as system:
        (root,) = system.root.places
        ref = system.whereis("a")
        assert ref is not None
        ref.cast(Leave(Normal()))
        await settled()
        assert root.state == "gone"
        assert (await system.start(Plain, script, "b")).alive


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
