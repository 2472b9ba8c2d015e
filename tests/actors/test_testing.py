"""The test tools: clock, probes, dead letters, leaks, and the plugin that runs this very file."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import attrs
import pytest
import trio

from actors import (
    Actor,
    ActorDied,
    Call,
    NoSuchActor,
    Refusal,
    System,
    Unhandled,
    handles,
    open_system,
)
from actors.runtime.root import Temporary
from actors.testing import (
    START,
    Probe,
    VirtualClock,
    dead_letters,
    leftovers,
    no_leaks,
    plugin,
    task_count,
    tasks,
    without_caller_turns,
)

pytest_plugins = ["pytester"]


@attrs.frozen
class Double(Call[int]):
    number: int


@attrs.frozen
class Note:
    text: str


class TooMuch(Refusal):
    pass


class Doubler(Actor):
    @handles
    def double(self, message: Double) -> int:
        return 2 * message.number

    @handles
    async def take_note(self, message: Note) -> None:
        await trio.sleep(1)


class Crasher(Actor):
    @handles
    def crash(self, message: Note) -> None:
        raise ValueError(message.text)


# -- the clock


def test_hours_pass_at_once_and_the_wall_clock_moves_in_step() -> None:
    clock = VirtualClock()
    assert clock.now() == START.timestamp()
    clock.run(trio.sleep, 7200)
    assert clock.time == 7200
    assert clock.now() == START.timestamp() + 7200
    clock.jump(5)
    assert clock.time == 7205
    assert repr(clock) == "<VirtualClock at 7205.0 s>"


async def test_the_fixtures_share_one_clock(system: System, virtual_clock: VirtualClock) -> None:
    await trio.sleep(10)
    assert virtual_clock.time == trio.current_time() == 10
    assert system.now() == virtual_clock.now() == START.timestamp() + 10


# -- the system of a test


async def test_the_system_of_a_test_is_open(system: System, both_ways: str) -> None:
    ref = await system.start(Doubler)
    assert await ref.call(Double(4)) == 8


async def test_the_random_source_is_the_same_every_time(system: System) -> None:
    other = System(seed=0)
    assert system.random.random() == other.random.random()


def test_without_caller_turns_the_dispatcher_runs_every_turn(virtual_clock: VirtualClock) -> None:
    async def main(ours: bool) -> set[object]:
        ran_in = set()

        class Where(Actor):
            @handles
            def where(self, message: Double) -> int:
                ran_in.add(trio.lowlevel.current_task())
                return 0

        async with open_system(watchdog=None) as system:
            if ours:
                without_caller_turns(system)
            ref = await system.start(Where)
            for number in range(3):
                await ref.call(Double(number))
            return {task is trio.lowlevel.current_task() for task in ran_in}

    assert virtual_clock.run(main, False) == {True}
    assert virtual_clock.run(main, True) == {False}


# -- probes


async def test_a_probe_returns_what_it_was_sent(system: System, both_ways: str) -> None:
    probe = system.probe()
    assert isinstance(probe, Probe)
    probe.ref.cast(Note("a"))
    assert await probe.expect(Note) == Note("a")
    assert probe.received == [Note("a")]


async def test_expect_waits_for_the_message(system: System) -> None:
    probe = system.probe()

    async def sender() -> None:
        await trio.sleep(2.5)
        probe.ref.cast(Note("late"))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(sender)
        assert await probe.expect(Note) == Note("late")
    assert trio.current_time() == 2.5


async def test_expect_leaves_messages_of_other_classes_unread(system: System) -> None:
    probe = system.probe()
    probe.ref.cast("first")
    probe.ref.cast(Note("second"))
    probe.ref.cast("first")
    assert await probe.expect(Note) == Note("second")
    assert await probe.expect(str) == "first"
    assert await probe.expect(str) == "first"
    await probe.expect_nothing()


async def test_expect_says_what_came_instead(system: System) -> None:
    probe = system.probe()
    probe.ref.cast("something else")
    with pytest.raises(AssertionError, match=r"got no Note within 3\.0 s\. Unread: 'something els"):
        await probe.expect(Note)
    assert trio.current_time() == 3
    await probe.expect(str)
    with pytest.raises(AssertionError, match="Unread: nothing"):
        await probe.expect(Note, within=0.5)
    assert trio.current_time() == 3.5


async def test_what_is_due_at_the_deadline_still_counts(system: System) -> None:
    for _ in range(20):
        probe = system.probe()
        probe.after(3.0, Note("just in time"))
        await probe.expect(Note, within=3.0)


async def test_expect_nothing_fails_for_what_is_there_and_for_what_comes(system: System) -> None:
    probe = system.probe()
    await probe.expect_nothing(within=5)
    assert trio.current_time() == 5
    probe.after(1, Note("now"))
    await probe.expect_nothing(within=0.5)
    for _ in range(2):
        with pytest.raises(AssertionError, match=r"nothing within 1 s\. Unread: Note\(text='now'"):
            await probe.expect_nothing(within=1)
        assert trio.current_time() == 6


async def test_expect_on_a_probe_that_has_ended_gives_up_in_time(system: System) -> None:
    probe = system.probe()
    await probe.ref.stop()
    with pytest.raises(AssertionError):
        await probe.expect(Note, within=1)
    with pytest.raises(NoSuchActor):
        await probe.ref.call(Double(1))


async def test_a_cancelled_expect_leaves_no_timer(system: System) -> None:
    probe = system.probe()
    with trio.move_on_after(1):
        await probe.expect(Note, within=100)
    assert not len(system.scheduler.timers)
    probe.ref.cast(Note("after"))
    assert await probe.expect(Note) == Note("after")


async def test_a_probe_answers_calls_as_told(system: System, both_ways: str) -> None:
    probe = system.probe()
    probe.answer(Double, 7)
    assert await probe.ref.call(Double(1)) == 7
    probe.answer(Double, lambda message: message.number * 10)
    assert await probe.ref.call(Double(2)) == 20
    probe.answer(Double, TooMuch("no"))
    with pytest.raises(TooMuch):
        await probe.ref.call(Double(3))
    assert probe.received == [Double(1), Double(2), Double(3)]


async def test_a_call_the_probe_has_no_answer_for_fails_at_once(
    system: System, both_ways: str
) -> None:
    probe = system.probe()
    with pytest.raises(Unhandled, match=r"probe\.answer\(Double, value\)"):
        await probe.ref.call(Double(1))
    probe.ref.cast(Double(2))
    assert await probe.expect(Double) == Double(1)
    assert await probe.expect(Double) == Double(2)
    assert probe.ref.alive


@pytest.mark.parametrize("wrong", [Note("instance"), "Note", None])
async def test_expect_takes_a_class(system: System, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"takes the class of a message\. Got:"):
        await system.probe().expect(wrong)


@pytest.mark.parametrize("wrong", [Note, Double(1), int])
async def test_answer_takes_a_class_of_calls(system: System, wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"a class of Calls and a value\. Got:"):
        system.probe().answer(wrong, 1)


async def test_a_system_that_is_stopping_starts_no_probe(system: System) -> None:
    async with open_system(watchdog=None) as other:
        pass
    with pytest.raises(RuntimeError, match="nothing is started any more"):
        other.probe()


# -- dead letters


async def test_dead_letters_are_collected(system: System) -> None:
    letters = dead_letters(system)
    ref = await system.start(Doubler)
    ref.cast("nobody handles me")
    await trio.testing.wait_all_tasks_blocked()
    await ref.stop()
    ref.cast("too late")
    assert [letter.message for letter in letters] == ["nobody handles me", "too late"]
    assert letters[0].ref == ref


# -- leaks


async def test_a_closed_system_has_nothing_left() -> None:
    async with no_leaks():
        async with open_system(watchdog=None) as system:
            ref = await system.start(Doubler, name="doubler")
            ref.cast(Note("gives it a task"))
            assert await ref.call(Double(1)) == 2
            probe = system.probe()
            await probe.expect_nothing()
        assert leftovers(system) == []
        del system, ref, probe


async def test_leftovers_names_what_an_open_system_has(system: System) -> None:
    ref = await system.start(Doubler, name="doubler")
    probe = system.probe()
    timer = probe.after(100, "later")
    assert leftovers(system) == [
        f"place {ref.path} is up",
        f"place {probe.ref.path} is up",
        "name 'doubler' is taken",
        "timer ActorTimer._fire is running",
    ]
    timer.cancel()
    ref.cast(Note("waits for its turn"))
    assert leftovers(system)[3:] == ["1 places wait for a turn"]


async def test_no_leaks_names_a_task_that_is_left() -> None:
    async with trio.open_nursery() as nursery:
        with pytest.raises(AssertionError, match=r"task .*sleep_forever"):
            async with no_leaks():
                nursery.start_soon(trio.sleep_forever)
        nursery.cancel_scope.cancel()


async def test_no_leaks_names_a_system_that_is_kept(virtual_clock: VirtualClock) -> None:
    kept = []

    async def keeping() -> None:
        async with no_leaks(), open_system(watchdog=None) as system:
            kept.append(await system.start(Doubler))

    with pytest.raises(AssertionError, match="1 of Place"):
        await keeping()
    assert kept[0].state == "gone"


async def test_every_task_of_the_run_is_counted() -> None:
    before = task_count()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.sleep_forever)
        assert task_count() == before + 1
        assert any("sleep_forever" in task.name for task in tasks())
        nursery.cancel_scope.cancel()
    assert task_count() == before


# -- the plugin


@pytest.fixture
def recorded(inside_run: Callable[[AbstractAsyncContextManager[object]], None]) -> list[str]:
    events: list[str] = []

    @asynccontextmanager
    async def context(name: str) -> AsyncGenerator[None]:
        await trio.lowlevel.checkpoint()
        events.append(f"{name} in")
        yield
        events.append(f"{name} out")
        assert events[-2:] in (["second in", "second out"], ["second out", "first out"])

    inside_run(context("first"))
    inside_run(context("second"))
    return events


async def test_fixtures_hand_over_what_lives_inside_the_run(recorded: list[str]) -> None:
    assert recorded == ["first in", "second in"]


SUITE = """
import logging
import pytest
import trio
from actors import Actor, handles
from actors.runtime.root import Temporary

class Crasher(Actor):
    @handles
    def crash(self, message: str) -> None:
        raise ValueError(message)

class Stops(Actor):
    def __init__(self, name, stopped):
        self.name, self.stopped = name, stopped
    async def on_stop(self, exit):
        await trio.sleep(1)
        self.stopped.append(self.name)

stopped = []
"""


def run_suite(pytester: pytest.Pytester, tests: str) -> pytest.RunResult:
    pytester.makepyfile(SUITE + tests)
    # Under the name it has here: an entry point's, where understudy is installed.
    name = pytester._request.config.pluginmanager.get_name(plugin)
    assert name is not None
    return pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", "-p", name)


def test_the_plugin_runs_what_uses_its_fixtures_or_is_marked(pytester: pytest.Pytester) -> None:
    result = run_suite(
        pytester,
        """
@pytest.fixture
def through_another(system):
    return system

@pytest.mark.parametrize("number", [1, 2])
async def test_system(system, number):
    await trio.sleep(1000)

async def test_indirect(through_another):
    assert through_another.nursery is not None

class TestClass:
    async def test_clock(self, virtual_clock):
        await trio.sleep(1000)
        assert virtual_clock.time == 1000

@pytest.mark.understudy
async def test_marked():
    await trio.sleep(1000)

async def test_skipped(system):
    pytest.skip("not today")

def test_plain(system):
    assert system.whereis("x") is None
""",
    )
    result.assert_outcomes(passed=6, skipped=1)


def test_the_plugin_leaves_other_coroutine_tests_alone(pytester: pytest.Pytester) -> None:
    result = run_suite(pytester, "async def test_of_somebody_else():\n    pass\n")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*async def functions are not natively supported*"])


def test_everything_is_stopped_in_reverse_at_the_end_of_a_test(pytester: pytest.Pytester) -> None:
    result = run_suite(
        pytester,
        """
async def test_that_fails(system):
    await system.start(Stops, "first", stopped)
    await system.start(Stops, "second", stopped)
    assert False, "on purpose"

def test_afterwards():
    assert stopped == ["second", "first"]
""",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["*AssertionError: on purpose*"])
    result.stdout.no_fnmatch_line("E *ExceptionGroup*")


def test_a_system_that_cannot_go_on_fails_its_test_with_that_exception(
    pytester: pytest.Pytester,
) -> None:
    result = run_suite(
        pytester,
        """
async def test_that_is_cancelled(system):
    ref = await system.start_place(Temporary(Crasher), critical=True)
    ref.cast("out of order")
    await trio.sleep(1000)
    stopped.append("got here")

def test_afterwards():
    assert stopped == []
""",
    )
    result.assert_outcomes(failed=1, passed=1)
    result.stdout.fnmatch_lines(["E*ActorDied: /Crasher-1 ended*"])
    result.stdout.no_fnmatch_line("E *ExceptionGroup*")


async def test_a_crash_of_an_actor_nobody_answers_for_does_not_fail_the_test(
    system: System,
) -> None:
    ref = await system.start(Crasher)
    ref.cast(Note("on purpose"))
    assert str(await ref.wait()) == "Crashed(exception=ValueError('on purpose'))"


async def test_a_critical_crash_leaves_the_system_as_itself() -> None:
    async def main() -> None:
        async with open_system(watchdog=None) as system:
            ref = await system.start_place(Temporary(Crasher), critical=True)
            ref.cast(Note("on purpose"))
            await trio.sleep_forever()

    with pytest.raises(ActorDied) as caught:
        await main()
    assert isinstance(caught.value.__cause__, ValueError)
