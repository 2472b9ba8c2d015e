"""O. Starting, names and stopping of actors (gen_server)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    CallCycle,
    CallTimeout,
    Crashed,
    Down,
    Exit,
    Killed,
    Normal,
    Ref,
    Shutdown,
    StartFailed,
    System,
)
from supervisors import Child, StopChild, one_for_one
from tests.conformance.recorders import (
    BOOM,
    EXITS,
    Ask,
    Do,
    Lively,
    Log,
    Note,
    Recorder,
    Run,
    end,
    forever,
)


class Slow(Recorder):
    """Takes its time to start, and says so when it is done."""

    def __init__(self, log: Log, seconds: float) -> None:
        super().__init__(log)
        self.seconds = seconds

    async def on_start(self) -> None:
        self.log.append("starting")
        await trio.sleep(self.seconds)
        self.log.append("started")


class Declines(Recorder):
    """Decides not to run."""

    def on_start(self) -> None:
        self.stop()


class DeclinesSlowly(Recorder):
    """Decides not to run, after a while."""

    async def on_start(self) -> None:
        await trio.sleep(1)
        self.stop()


class FailsInInit(Recorder):
    """Does not come up."""

    def __init__(self) -> None:
        super().__init__()
        raise BOOM.with_traceback(None)


class FailsPlainly(Recorder):
    """Does not come up."""

    def on_start(self) -> None:
        raise BOOM.with_traceback(None)


class FailsSlowly(Recorder):
    """Does not come up, after a while."""

    async def on_start(self) -> None:
        await trio.sleep(1)
        raise BOOM.with_traceback(None)


class FailsAside(Recorder):
    """Does not come up: a side task crashes meanwhile."""

    async def on_start(self) -> None:
        self.start_soon(self.crash)
        await trio.sleep(1)

    async def crash(self) -> None:
        raise BOOM.with_traceback(None)


FAILING = [FailsInInit, FailsPlainly, FailsSlowly]

Start: TypeAlias = Callable[..., Awaitable[Ref[Any]]]


async def unsupervised(system: System, cls: Any, *args: Any, name: str | None = None) -> Ref[Any]:
    return await system.start(cls, *args, name=name)


async def supervised(system: System, cls: Any, *args: Any, name: str | None = None) -> Ref[Any]:
    return await system.start(Child(cls, *args, name=name))


STARTS = pytest.mark.parametrize("start", [unsupervised, supervised])


@STARTS
async def test_O1_start_returns_when_the_actor_is_up(system: System, start: Start) -> None:
    log: Log = []
    ref = await start(system, Slow, log, 2.0)
    assert log == ["starting", "started"]
    assert trio.current_time() == 2.0
    assert ref.alive
    assert ref.incarnation == 1
    assert await ref.call(Ask("there")) == "there"


async def test_O2_a_start_that_takes_too_long_fails_and_the_actor_is_killed(
    system: System,
) -> None:
    log: Log = []
    with pytest.raises(StartFailed) as failed:
        await system.start(Child(Slow, log, 5.0, name="slow", start_timeout=2.0))
    assert isinstance(failed.value.__cause__, trio.TooSlowError)
    assert trio.current_time() == 2.0
    assert system.whereis("slow") is None
    assert failed.value.ref is not None
    assert failed.value.ref.state == "gone"
    await trio.sleep(10)
    assert log == ["starting"]


async def test_O2_a_start_without_a_spec_has_thirty_seconds(system: System) -> None:
    with pytest.raises(StartFailed) as failed:
        await system.start(Slow, [], 31.0)
    assert isinstance(failed.value.__cause__, trio.TooSlowError)
    assert trio.current_time() == 30.0
    assert (await system.start(Slow, [], 29.0)).alive


@STARTS
@pytest.mark.parametrize("cls", [Declines, DeclinesSlowly])
async def test_O3_an_actor_may_decline_to_run(
    system: System, start: Start, cls: type[Recorder], caplog: pytest.LogCaptureFixture
) -> None:
    """``ignore`` is ``self.stop()`` in ``on_start``: no failure, and no actor."""
    ref = await start(system, cls)
    assert not ref.alive
    assert await ref.wait() == Normal()
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


@STARTS
@pytest.mark.parametrize("cls", FAILING)
async def test_O5_a_failed_start_is_told_to_its_starter_and_is_no_crash_report(
    system: System, start: Start, cls: type[Recorder], caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(StartFailed) as failed:
        await start(system, cls)
    assert failed.value.__cause__ is BOOM
    await wait_all_tasks_blocked()
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


@STARTS
@pytest.mark.parametrize("cls", [*FAILING, FailsAside])
async def test_O7_when_a_failed_start_is_heard_of_the_actor_and_its_name_are_gone(
    system: System, start: Start, cls: type[Recorder]
) -> None:
    for _ in range(5):
        with pytest.raises(StartFailed) as failed:
            await start(system, cls, name="table")
        assert system.whereis("table") is None
        assert len(system.registry) == 0
        assert failed.value.ref is not None
        assert failed.value.ref.state == "gone"
    assert (await start(system, Recorder, name="table")).alive


@STARTS
@pytest.mark.parametrize("cls", [Declines, DeclinesSlowly])
async def test_O8_an_actor_that_declined_has_no_name_when_start_returns(
    system: System, start: Start, cls: type[Recorder]
) -> None:
    for _ in range(100):
        ref = await start(system, cls, name="table")
        assert system.whereis("table") is None
        assert ref.state in ("stopped", "gone")


@pytest.mark.parametrize("what", [Recorder, Child(Recorder, name="table", restart="temporary")])
async def test_O8_nor_has_one_that_was_stopped_when_stop_returns(system: System, what: Any) -> None:
    named = {} if isinstance(what, Child) else {"name": "table"}
    for _ in range(100):
        ref = await system.start(what, **named)
        assert system.whereis("table") == ref
        await ref.stop()
        assert system.whereis("table") is None


@pytest.mark.parametrize("first", [unsupervised, supervised])
@pytest.mark.parametrize("second", [unsupervised, supervised])
async def test_O9_a_second_start_under_a_name_is_told_who_has_it(
    system: System, first: Start, second: Start
) -> None:
    ref = await first(system, Recorder, name="table")
    with pytest.raises(StartFailed, match=rf"'table' belongs to {ref.path}") as failed:
        await second(system, Recorder, name="table")
    assert failed.value.ref == ref
    assert ref.alive


@pytest.mark.parametrize("exit", EXITS)
async def test_O11_a_monitor_of_what_was_started_tells_the_exit(system: System, exit: Exit) -> None:
    probe = system.probe()
    ref = await system.start(Recorder)
    ref.monitor(probe.ref)
    await probe.expect_nothing()
    await end(ref, exit)
    assert await probe.expect(Down) == Down(ref, 1, exit)


@pytest.mark.parametrize("name", ["", 1, b"table", ("table",), True])
async def test_O12_a_name_is_a_str_and_the_error_says_so(system: System, name: Any) -> None:
    for start in (unsupervised, supervised):
        with pytest.raises(TypeError, match=r"name is a non-empty str.*, or None"):
            await start(system, Recorder, name=name)
    assert len(system.registry) == 0


@STARTS
@pytest.mark.parametrize("name", ["tables/1", "/"])
async def test_O12_a_name_has_no_slash_which_would_be_another_path(
    system: System, start: Start, name: str
) -> None:
    with pytest.raises(TypeError, match="without '/'"):
        await start(system, Recorder, name=name)


@STARTS
async def test_O12_without_a_name_there_may_be_many(system: System, start: Start) -> None:
    refs = [await start(system, Recorder, name=None) for _ in range(3)]
    assert [ref.name for ref in refs] == [None] * 3
    assert len({ref.path for ref in refs}) == 3
    assert len(system.registry) == 0


@STARTS
async def test_O13_whereis_gives_the_ref_or_none(system: System, start: Start) -> None:
    ref = await start(system, Recorder, name="table")
    assert system.whereis("table") == ref
    assert ref.name == "table"
    assert system.whereis("chair") is None


@pytest.mark.parametrize("exit", [Normal(), Shutdown(), Shutdown({"why": 1}), Crashed(BOOM)])
async def test_O15_on_stop_gets_the_exit_that_was_asked_for(system: System, exit: Exit) -> None:
    log: Log = []
    ref = await system.start(Lively, log)
    assert await ref.stop(exit)
    assert log[-1] == ("actor", exit)
    assert await ref.wait() == exit


@pytest.mark.parametrize("timeout", [-1, float("nan"), "5", True])
async def test_O16_a_stop_with_an_invalid_timeout_stops_nothing(
    system: System, timeout: Any
) -> None:
    ref = await system.start(Recorder)
    with pytest.raises((TypeError, ValueError), match="timeout"):
        await ref.stop(timeout=timeout)
    assert ref.alive
    assert await ref.call(Ask("there")) == "there"


async def test_O17_stop_by_name(system: System) -> None:
    log: Log = []
    await system.start(Lively, log, name="table")
    found = system.whereis("table")
    assert found is not None
    assert await found.stop(Shutdown("by name"))
    assert log[-1] == ("actor", Shutdown("by name"))
    assert system.whereis("table") is None


async def test_O18_an_actor_that_waits_for_its_own_end_is_told_so(system: System) -> None:
    ref = await system.start(Recorder)

    async def stop_itself(self: Actor) -> object:
        with pytest.raises(CallCycle, match=r"self\.stop\(\)") as cycle:
            await self.ref.stop()
        return cycle.value.chain

    assert await ref.call(Run(stop_itself)) == (ref, ref)
    assert ref.alive


@pytest.mark.parametrize("slow", [False, True])
async def test_O19_an_on_stop_that_raises_becomes_the_exit(
    system: System, slow: bool, caplog: pytest.LogCaptureFixture
) -> None:
    """K16: ``stop()`` itself has done its work and does not raise; the exit says what happened."""

    class Plain(Recorder):
        def on_stop(self, exit: Exit) -> None:
            raise BOOM.with_traceback(None)

    class Async(Recorder):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(1)
            raise BOOM.with_traceback(None)

    ref = await system.start(Async if slow else Plain)
    assert await ref.stop()
    assert await ref.wait() == Crashed(BOOM)
    assert len([each for each in caplog.records if each.levelno == logging.ERROR]) == 1


async def test_O20_a_stop_that_takes_too_long_is_given_up_by_who_asked(system: System) -> None:
    """The ``timeout`` bounds the waiting. The stop goes on, within the shutdown time (K16)."""
    ref = await system.start(Child(Recorder, restart="temporary", shutdown=5.0))
    ref.cast(Run(forever))
    await wait_all_tasks_blocked()
    with pytest.raises(CallTimeout) as expired:
        await ref.stop(timeout=2.0)
    assert expired.value.timeout == 2.0
    assert trio.current_time() == 2.0
    assert ref.state not in ("stopped", "gone")
    assert await ref.wait() == Killed()
    assert trio.current_time() == 5.0


@pytest.mark.parametrize("factory", [object, dict, int, "Recorder", None])
async def test_O23_what_is_no_actor_class_is_refused_by_name(system: System, factory: Any) -> None:
    for start in (unsupervised, supervised):
        with pytest.raises(TypeError, match=r"actor|Actor") as error:
            await start(system, factory)
        assert f"Got: {factory!r}" in str(error.value)


async def test_O23_what_makes_no_actor_fails_the_start_and_says_what_came(system: System) -> None:
    make: Any = lambda: {"not": "an actor"}  # noqa: E731
    with pytest.raises(StartFailed) as failed:
        await system.start(make)
    assert isinstance(failed.value.__cause__, TypeError)
    assert "Got: {'not': 'an actor'}" in str(failed.value.__cause__)


async def test_O23_arguments_the_class_does_not_take_are_refused(system: System) -> None:
    slow: Any = Slow
    with pytest.raises(TypeError, match=r"^Slow\(.*does not take these arguments"):
        Child(slow, [])


async def test_O24_an_object_that_nobody_started_is_no_actor() -> None:
    """Instead of ``enter_loop``: only ``start()`` and supervisors make a place."""
    stray = Recorder()
    for use in (stray.stop, stray.later, lambda: stray.ref, lambda: stray.after(1, Note())):
        with pytest.raises(RuntimeError, match=r"This Recorder does not run"):
            use()


async def test_O24_a_factory_may_make_the_actor_but_not_lend_a_running_one(
    system: System,
) -> None:
    made: list[Recorder] = []

    def make(label: str) -> Recorder:
        made.append(Recorder([label]))
        return made[-1]

    ref = await system.start(partial(make, "fresh"))
    assert await ref.call(Do(lambda self: self.log)) == ["fresh"]
    with pytest.raises(StartFailed) as failed:
        await system.start(lambda: made[0])
    assert isinstance(failed.value.__cause__, TypeError)
    assert "running already" in str(failed.value.__cause__)
    assert await ref.call(Ask("still there")) == "still there"


@pytest.mark.parametrize("by", ["StopChild", "the parent's own stop", "the system's"])
async def test_O25_on_stop_runs_when_the_parent_asks(system: System, by: str) -> None:
    log: Log = []
    tree = one_for_one(Child(Lively, log, "child", id="child"), name="parent")
    parent = await system.start(tree)
    await wait_all_tasks_blocked()
    log.clear()
    if by == "StopChild":
        await parent.call(StopChild("child"))
    elif by == "the parent's own stop":
        await parent.stop()
    else:
        await system.root.stop()
    assert log[0] == ("child", Shutdown())
