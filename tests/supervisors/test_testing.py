"""The test tools of this floor, and the plugin that runs this very file."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors import Actor, StartFailed, System, open_system
from actors.testing import leftovers, no_leaks
from actors.testing import plugin as actors_plugin
from supervisors import (
    AlreadyStarted,
    Child,
    RestartLimitExceeded,
    StopChild,
    WhichChildren,
    rest_for_one,
)
from supervisors.testing import StartSupervised
from supervisors.testing import plugin as supervisors_plugin
from tests.conformance.actors_for_tests import Awaiting, Boom, Crash, Plain, Script, Who

pytest_plugins = ["pytester"]


class Quiet(Actor):
    """Does nothing."""


async def test_what_it_starts_is_up_and_restarted_as_its_spec_says(
    system: System, start_supervised: StartSupervised, both_ways: str
) -> None:
    script = Script()
    ref = await start_supervised(Child(Plain, script, "a", name="ledger"))
    assert system.whereis("ledger") == ref
    assert ref.path == "/test/Plain"
    assert await ref.call(Who()) == "a 1"
    ref.cast(Crash())
    assert await ref.call(Who()) == "a 2"


async def test_a_class_will_do_and_ids_are_made_where_there_is_none(
    start_supervised: StartSupervised,
) -> None:
    first = await start_supervised(Quiet)
    second = await start_supervised(Quiet)
    assert [first.path, second.path] == ["/test/Quiet", "/test/Quiet-2"]


async def test_an_id_that_is_taken_is_refused(start_supervised: StartSupervised) -> None:
    await start_supervised(Child(Quiet, id="a"))
    with pytest.raises(AlreadyStarted):
        await start_supervised(Child(Quiet, id="a"))


async def test_a_start_that_fails_is_the_tests_to_see(start_supervised: StartSupervised) -> None:
    script = Script(broken={"a": 1})
    with pytest.raises(StartFailed) as caught:
        await start_supervised(Child(Plain, script, "a"))
    assert isinstance(caught.value.__cause__, Boom)
    assert await start_supervised.supervisor.call(WhichChildren()) == []


@pytest.mark.parametrize("wrong", [42, "Quiet", Quiet(), object])
async def test_it_takes_a_child_or_a_class(start_supervised: StartSupervised, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"Child\(\.\.\.\) or an actor class\. Got: "):
        await start_supervised(wrong)


async def test_S1_they_stop_in_reverse_one_at_a_time_before_the_block_is_left() -> None:
    script = Script(stop_takes={"a": 1, "b": 1, "c": 1})
    async with no_leaks():
        async with open_system(watchdog=None) as system:
            other = await system.start(Quiet)
            async with StartSupervised(system) as start_supervised:
                for name in "abc":
                    await start_supervised(Child(Awaiting, script, name, id=name))
                await start_supervised.supervisor.call(StopChild("b"))
                script.take()
            assert script.take() == ["stop c", "stop a"]
            assert trio.current_time() == 3
            assert other.alive
        assert leftovers(system) == []
        del system, other, start_supervised


async def test_cancelled_or_not_the_stop_is_orderly() -> None:
    script = Script(stop_takes={"a": 2, "b": 2})
    async with open_system(watchdog=None) as system:
        with trio.move_on_after(1):
            async with StartSupervised(system) as start_supervised:
                for name in "ab":
                    await start_supervised(Child(Awaiting, script, name))
                await trio.sleep_forever()
        assert script.log[2:] == ["stop b", "stop a"]
    assert trio.current_time() == 5


async def test_S9_its_giving_up_is_the_end_of_the_test() -> None:
    script = Script()
    with pytest.raises(RestartLimitExceeded, match="/test gave up"):
        async with open_system(watchdog=None) as system, StartSupervised(system) as start:
            ref = await start(Child(Plain, script, "a"))
            for _ in range(4):
                ref.cast(Crash())
            await trio.sleep_forever()


async def test_a_supervisor_of_ones_own_has_flags_of_its_own(
    start_supervised: StartSupervised,
) -> None:
    script = Script()
    tree = rest_for_one(Child(Plain, script, "a", name="a"), max_restarts=9, within=1.0)
    await start_supervised(tree)
    ref = start_supervised._system.whereis("a")
    assert ref is not None
    for number in range(9):
        assert await ref.call(Who()) == f"a {number + 1}"
        ref.cast(Crash())
    assert await ref.call(Who()) == "a 10"


async def test_before_its_block_it_starts_nothing(system: System) -> None:
    with pytest.raises(RuntimeError, match="async with StartSupervised"):
        await StartSupervised(system)(Child(Quiet))


# -- the plugin

SUITE = """
import trio
from actors import Actor, handles
from supervisors import Child

class Stops(Actor):
    def __init__(self, name, stopped):
        self.name, self.stopped = name, stopped
    @handles
    def crash(self, message: str) -> None:
        raise ValueError(message)
    async def on_stop(self, exit):
        await trio.sleep(1)
        self.stopped.append(self.name)

stopped = []
"""


def run_suite(pytester: pytest.Pytester, tests: str) -> pytest.RunResult:
    pytester.makepyfile(SUITE + tests)
    # Under the names they have here: those of entry points, where understudy is installed.
    manager = pytester._request.config.pluginmanager
    names = [manager.get_name(each) for each in (actors_plugin, supervisors_plugin)]
    options = [option for name in names if name is not None for option in ("-p", name)]
    return pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", *options)


def test_all_is_stopped_in_reverse_before_the_next_test(pytester: pytest.Pytester) -> None:
    result = run_suite(
        pytester,
        """
async def test_that_fails(start_supervised, system):
    await system.start(Stops, "neighbour", stopped)
    await start_supervised(Child(Stops, "first", stopped))
    await start_supervised(Child(Stops, "second", stopped))
    assert False, "on purpose"

def test_afterwards():
    assert stopped == ["second", "first", "neighbour"]
""",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*AssertionError: on purpose*"])
    result.stdout.no_fnmatch_line("E *ExceptionGroup*")


def test_giving_up_fails_the_test_as_itself(pytester: pytest.Pytester) -> None:
    result = run_suite(
        pytester,
        """
async def test_that_is_cancelled(start_supervised):
    ref = await start_supervised(Child(Stops, "child", stopped))
    for _ in range(4):
        ref.cast("on purpose")
    await trio.sleep(1000)
    stopped.append("got here")

def test_afterwards():
    assert "got here" not in stopped
""",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["E*RestartLimitExceeded: /test gave up*"])
    result.stdout.no_fnmatch_line("E *ExceptionGroup*")
