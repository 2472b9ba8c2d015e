"""R. Crashes, what is reported of them, and how state is shown."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Crashed,
    Exit,
    Killed,
    Normal,
    NoSuchActor,
    Ref,
    Refusal,
    Shutdown,
    StartFailed,
    System,
    handles,
    open_system,
)
from actors.introspection import format_state
from actors.reports import CrashReport
from supervisors import (
    Child,
    ChildExited,
    ChildRestarted,
    GaveUp,
    RestartLimitExceeded,
    WhichChildren,
    one_for_one,
)
from tests.conformance.recorders import (
    BOOM,
    Ask,
    Do,
    Lively,
    Log,
    Note,
    Recorder,
    Run,
    quits,
    raises,
)


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [each for each in caplog.records if each.levelno >= logging.WARNING]


def crash_report(caplog: pytest.LogCaptureFixture) -> CrashReport:
    [record] = [each for each in caplog.records if hasattr(each, "report")]
    report = record.report
    assert isinstance(report, CrashReport)
    assert record.exc_info is not None
    assert record.exc_info[1] is report.exception
    return report


ORDERLY: list[Exit] = [Normal(), Shutdown(), Shutdown("x")]


@pytest.mark.parametrize("exit", ORDERLY)
@pytest.mark.parametrize("by", ["the actor", "somebody"])
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_R1_an_orderly_end_is_no_news(
    system: System, exit: Exit, by: str, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def stop(self: Recorder) -> None:
        self.stop(exit)

    ref = await system.start(Child(Lively, [], restart="transient"))
    if by == "somebody":
        await ref.stop(exit)
    else:
        await ref.call(quits(exit) if kind == "plain" else Run(stop))
        assert await ref.wait() == exit
    await trio.sleep(0.5)
    assert errors(caplog) == []


async def test_R1_nor_is_a_refusal(system: System, caplog: pytest.LogCaptureFixture) -> None:
    ref = await system.start(Child(Recorder))
    with pytest.raises(Refusal):
        await ref.call(Do(raises(Refusal("no"))))
    await trio.sleep(0.5)
    assert errors(caplog) == []


@pytest.mark.parametrize("kind", ["plain", "async", "side task", "on_ready"])
async def test_R2_a_crash_has_exactly_two_reports(
    system: System, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def crash(_: object = None) -> None:
        await trio.lowlevel.checkpoint()
        raise BOOM.with_traceback(None)

    class Unready(Recorder):
        def on_ready(self) -> None:
            if self.ref.incarnation == 1:
                raise BOOM.with_traceback(None)

    ref = await system.start(Child(Unready if kind == "on_ready" else Recorder))
    if kind == "plain":
        ref.cast(Do(raises(BOOM)))
    elif kind == "async":
        ref.cast(Run(crash))
    elif kind == "side task":
        ref.cast(Do(lambda self: self.start_soon(crash)))
    assert await ref.call(Ask("again")) == "again"
    await trio.sleep(0.5)
    assert ref.incarnation == 2
    assert [each.name for each in errors(caplog)] == ["actors", "supervisors"]
    assert crash_report(caplog).exception is BOOM


async def test_R2_without_a_supervisor_there_is_one(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    ref = await system.start(Recorder)
    ref.cast(Do(raises(BOOM)))
    await trio.sleep(0.5)
    assert [each.name for each in errors(caplog)] == ["actors"]


async def test_R2_a_kill_is_told_by_the_supervisor_alone(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    ref = await system.start(Child(Recorder))
    await ref.stop(Killed())
    await trio.sleep(0.5)
    assert [each.name for each in errors(caplog)] == ["supervisors"]
    assert "Killed()" in errors(caplog)[0].getMessage()


async def test_R3_the_report_has_actor_message_state_reason_and_client(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    """The client's stack is not recorded: its call raises there, the crash as the cause."""
    server = await system.start(Child(Recorder, ["entry"]))
    client = await system.start(Recorder)
    fatal = Do(raises(BOOM))

    async def call_it(_: Recorder) -> None:
        with pytest.raises(ActorDied):
            await server.call(fatal)

    await client.call(Run(call_it))
    report = crash_report(caplog)
    assert report.ref == server
    assert report.incarnation == 1
    assert report.message is fatal
    assert report.state == "{'log': ['entry']}"
    assert report.exception is BOOM
    assert report.caller == client
    assert report.doing == "turn"
    assert BOOM.__traceback__ is not None
    for part in (server.path, client.path, "RuntimeError('boom')", "['entry']", repr(fatal)):
        assert part in str(report)
        assert part in caplog.text


async def test_R3_a_message_from_outside_has_no_client(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    ref = await system.start(Recorder)
    with pytest.raises(ActorDied):
        await ref.call(Do(raises(BOOM)))
    assert crash_report(caplog).caller is None
    assert "outside any actor" in caplog.text


async def test_R4_the_report_has_the_class_and_the_ancestors(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    inner = one_for_one(Child(Recorder, id="leaf"), id="inner", name="inner")
    async with open_system(one_for_one(inner, id="outer"), watchdog=None) as own:
        middle = own.whereis("inner")
        assert middle is not None
        [info] = await middle.call(WhichChildren())
        with pytest.raises(ActorDied):
            await info.ref.call(Do(raises(BOOM)))
        report = crash_report(caplog)
        assert [each.path for each in report.ancestors] == ["/outer/inner", "/outer"]
        assert repr(report.ref) == "<Ref Recorder /outer/inner/leaf>"
        assert "/outer/inner < /outer" in str(report)


async def test_R5_the_report_comes_though_the_actor_has_wiped_itself(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    def wipe_and_crash(self: Recorder) -> None:
        self.__dict__.clear()
        raise BOOM.with_traceback(None)

    ref = await system.start(Child(Recorder))
    ref.cast(Do(wipe_and_crash))
    assert await ref.call(Ask("again")) == "again"
    assert crash_report(caplog).state == "{}"
    assert len(errors(caplog)) == 2


class Secretive(Recorder):
    """Has something to hide, and fails at hiding it."""

    def __init__(self) -> None:
        super().__init__(["a secret"])

    def format_state(self) -> object:
        raise ValueError("a secret too")


async def test_R7_a_failing_format_state_hides_everything(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    ref = await system.start(Child(Secretive))
    assert await format_state(ref) == "<Secretive.format_state crashed: ValueError>"
    assert await ref.call(Ask("alive")) == "alive"
    assert ref.incarnation == 1
    ref.cast(Do(raises(BOOM)))
    assert await ref.call(Ask("again")) == "again"
    report = crash_report(caplog)
    assert report.state == "<Secretive.format_state crashed: ValueError>"
    assert report.exception is BOOM
    assert "a secret" not in caplog.text


async def test_R7_so_does_a_state_that_cannot_be_shown(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    class Unshowable:
        def __repr__(self) -> str:
            raise ValueError("a secret")

    ref = await system.start(Recorder, [Unshowable()])
    with pytest.raises(ActorDied):
        await ref.call(Do(raises(BOOM)))
    assert crash_report(caplog).state == "<Recorder.format_state crashed: ValueError>"
    assert "a secret" not in caplog.text


async def test_R7_what_is_to_be_hidden_is_hidden(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    @attrs.define(eq=False)
    class Account(Actor):
        owner: str
        pin: str = attrs.field(repr=False)

        @handles
        def crash(self, message: Note) -> None:
            raise BOOM.with_traceback(None)

    ref = await system.start(Account, "alice", "4711")
    ref.cast(Note())
    await wait_all_tasks_blocked()
    assert crash_report(caplog).state == "{'owner': 'alice'}"
    assert "4711" not in caplog.text


@pytest.mark.parametrize("slow", [False, True])
async def test_R8_a_failing_on_stop_is_reported_with_the_state(
    system: System, slow: bool, caplog: pytest.LogCaptureFixture
) -> None:
    class Plain(Recorder):
        def on_stop(self, exit: Exit) -> None:
            raise BOOM.with_traceback(None)

    class Async(Recorder):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(1)
            raise BOOM.with_traceback(None)

    ref = await system.start(Async if slow else Plain, ["entry"])
    await ref.stop()
    report = crash_report(caplog)
    assert report.doing == "on_stop"
    assert report.exception is BOOM
    assert report.state == "{'log': ['entry']}"


async def test_R9_the_id_and_the_name_are_shown(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    """Instead of a process label: a path of ids, and the name where it is the id."""
    by_id = await system.start(Child(Recorder, id="billing"))
    by_name = await system.start(Recorder, name="ledger")
    for ref in (by_id, by_name):
        ref.cast(Do(raises(BOOM)))
        await wait_all_tasks_blocked()
    assert "/supervised/billing crashed" in caplog.text
    assert "'billing'" in errors(caplog)[1].getMessage()
    assert "/ledger crashed" in caplog.text


async def test_R11_what_a_supervisor_reports_of_a_child(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    """``errorContext`` is the decision; the offender is named by path, id and spec."""
    events: Log = []
    system.telemetry.listen(events.append, ChildExited, ChildRestarted, GaveUp)
    tree = one_for_one(
        Child(Recorder, id="leaf", shutdown=3.0, restart="transient"), name="tree", max_restarts=1
    )
    parent = await system.start(tree)
    [info] = await parent.call(WhichChildren())
    leaf: Ref[Any] = info.ref
    leaf.cast(Do(raises(BOOM)))
    await wait_all_tasks_blocked()
    assert events == [
        ChildExited(parent, leaf, Crashed(BOOM), "restart"),
        ChildRestarted(parent, leaf, 1),
    ]
    record = errors(caplog)[1]
    assert record.name == "supervisors"
    for part in (parent.path, "'leaf'", "shutdown=3.0", "restart='transient'", "boom", "restart"):
        assert part in record.getMessage()

    events.clear()
    await leaf.stop()
    await wait_all_tasks_blocked()
    assert events == [ChildExited(parent, leaf, Normal(), "keep")]


async def test_R11_a_restart_that_fails_and_giving_up_are_reported(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    class OnlyOnce(Recorder):
        def on_start(self) -> None:
            if self.ref.incarnation > 1:
                raise ValueError("not again")

    events: Log = []
    system.telemetry.listen(events.append, GaveUp)
    child = Child(OnlyOnce, id="leaf")
    tree = one_for_one(child, name="tree", max_restarts=1, restart="temporary")
    parent = await system.start(tree)
    [info] = await parent.call(WhichChildren())
    info.ref.cast(Do(raises(BOOM)))
    await wait_all_tasks_blocked()
    [gave_up] = events
    assert gave_up.supervisor == parent
    assert isinstance(gave_up.error, RestartLimitExceeded)
    assert gave_up.error.child == "leaf"
    messages = [each.getMessage() for each in errors(caplog) if each.name == "supervisors"]
    assert "did not come up again" in messages[1] and "not again" in messages[1]
    assert str(gave_up.error) in messages


class Other(BaseException):
    """What is no ``Exception`` either."""


@pytest.mark.parametrize("error", [ValueError("v"), Other("o"), GeneratorExit("g")])
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_R13_whatever_is_raised_is_the_reason(
    system: System, error: BaseException, kind: str
) -> None:
    async def crash(_: object) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    ref = await system.start(Child(Recorder))
    with pytest.raises(ActorDied) as died:
        await ref.call(Do(raises(error)) if kind == "plain" else Run(crash))
    assert died.value.exit == Crashed(error)
    assert died.value.__cause__ is error
    assert await ref.call(Ask("again")) == "again"


@pytest.mark.parametrize("error", [KeyboardInterrupt("k"), SystemExit(3)])
@pytest.mark.parametrize("kind", ["plain", "async", "side task", "on_start", "on_ready"])
async def test_R13_an_exit_of_the_program_stops_the_tree_and_leaves_as_itself(
    error: BaseException, kind: str
) -> None:
    """K4: where OTP has a reason like any other."""
    log: Log = []

    class Exits(Recorder):
        def on_start(self) -> None:
            if kind == "on_start":
                raise error.with_traceback(None)

        def on_ready(self) -> None:
            if kind == "on_ready":
                raise error.with_traceback(None)

    async def leave(_: object = None) -> None:
        await trio.lowlevel.checkpoint()
        raise error.with_traceback(None)

    messages: dict[str, Any] = {
        "plain": Do(raises(error)),
        "async": Run(leave),
        "side task": Do(lambda self: self.start_soon(leave)),
    }
    with pytest.raises(type(error)) as left:
        async with open_system(watchdog=None) as system:
            await system.start(Lively, log)
            ref = await system.start(Child(Exits))
            ref.cast(messages.get(kind, Note()))
            await trio.sleep_forever()
    assert left.value is error
    assert log[-1] == ("actor", Shutdown())


async def test_R13_a_cancelled_of_ones_own_is_no_crash(system: System) -> None:
    async def cancel_itself(_: Recorder) -> str:
        with trio.move_on_after(1):
            await trio.sleep_forever()
        return "went on"

    ref = await system.start(Recorder)
    assert await ref.call(Run(cancel_itself)) == "went on"
    assert ref.incarnation == 1


class Acknowledges(Recorder):
    """Is up only when it is told so."""

    def __init__(self, log: Log, told: trio.Event) -> None:
        super().__init__(log)
        self.told = told

    async def on_start(self) -> None:
        self.log.append("starting")
        await self.told.wait()
        self.log.append("up")


@pytest.mark.parametrize("spec", ["class", "Child"])
async def test_R15_start_returns_after_the_acknowledgement(system: System, spec: str) -> None:
    log: Log = []
    told = trio.Event()

    async def start() -> None:
        if spec == "class":
            await system.start(Acknowledges, log, told)
        else:
            await system.start(Child(Acknowledges, log, told))
        log.append("returned")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        await trio.sleep(10)
        assert log == ["starting"]
        told.set()
    assert log == ["starting", "up", "returned"]


class Dies(Recorder):
    """Dies before it is up."""

    error: BaseException = BOOM

    def __init__(self, where: str) -> None:
        super().__init__()
        self.where = where
        if where == "__init__":
            raise self.error.with_traceback(None)

    async def on_start(self) -> None:
        if self.where == "on_start at once":
            raise self.error.with_traceback(None)
        if self.where == "a side task":
            self.start_soon(self.crash)
            await trio.sleep_forever()
        await trio.sleep(1)
        if self.where == "on_start":
            raise self.error.with_traceback(None)
        with trio.CancelScope() as scope:
            scope.cancel()
            await trio.lowlevel.checkpoint()
        raise self.error.with_traceback(None)

    async def crash(self) -> None:
        raise self.error.with_traceback(None)


PLACES = ["__init__", "on_start at once", "on_start", "a side task", "after a cancelled scope"]


@pytest.mark.parametrize("where", PLACES)
@pytest.mark.parametrize("error", [BOOM, Other("no Exception")])
async def test_R16_who_starts_what_dies_before_it_is_up_does_not_hang(
    system: System, where: str, error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And hears the same, whether it is supervised or not."""
    monkeypatch.setattr(Dies, "error", error)
    for start in (
        lambda: system.start(Dies, where),
        lambda: system.start(Child(Dies, where)),
        lambda: system.start(one_for_one(Child(Dies, where))),
    ):
        with trio.fail_after(5), pytest.raises(StartFailed) as failed:
            await start()
        cause: BaseException | None = failed.value
        while isinstance(cause, StartFailed):
            cause = cause.__cause__
        assert cause is error


async def test_R16_nor_does_who_starts_what_is_killed_before_it_is_up(system: System) -> None:
    told = trio.Event()
    results: Log = []

    async def start() -> None:
        with pytest.raises(StartFailed) as failed:
            await system.start(Acknowledges, [], told, name="late")
        results.append(failed.value)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        await wait_all_tasks_blocked()
        ref = system.whereis("late")
        assert ref is not None
        assert ref.state == "starting"
        await ref.stop(Killed())
    assert len(results) == 1
    with pytest.raises(NoSuchActor):
        await ref.call(Ask())


FORMATS: list[Callable[[CrashReport], str]] = [str, repr]


@pytest.mark.parametrize("form", FORMATS)
async def test_R3_the_report_can_be_shown_in_one_piece(
    system: System, form: Callable[[CrashReport], str], caplog: pytest.LogCaptureFixture
) -> None:
    ref = await system.start(Recorder)
    with pytest.raises(ActorDied):
        await ref.call(Do(raises(BOOM)))
    text = form(crash_report(caplog))
    assert ref.path in text
    assert "boom" in text
