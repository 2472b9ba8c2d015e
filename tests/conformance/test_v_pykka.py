"""V. What Pykka does and is worth keeping."""

from __future__ import annotations

import logging
from typing import Any

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
from actors.testing import dead_letters
from supervisors import Child
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
    naps,
    outcome,
    raises,
)

pytestmark = pytest.mark.usefixtures("both_ways")


@pytest.mark.parametrize("exit", EXITS)
async def test_V2_asking_the_dead_raises_there_and_then(system: System, exit: Exit) -> None:
    """Blocking, or as a task of a nursery: the error comes where the answer would."""
    ref = await system.start(Recorder)
    await end(ref, exit)
    with pytest.raises(NoSuchActor, match=ref.path):
        await ref.call(Ask())
    results: Log = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, ref, Ask(), results)
        assert results == []
    assert isinstance(results[0], NoSuchActor)


@pytest.mark.parametrize("exit", EXITS)
async def test_V3_who_waits_behind_the_last_turn_is_told(system: System, exit: Exit) -> None:
    """Calls fail, stops have what they want, one-way messages are dead letters."""
    letters = dead_letters(system)
    log: Log = []
    ref = await system.start(Recorder, log)
    results: Log = []
    stops: Log = []

    async def last_turn(self: Recorder) -> str:
        self.stop(exit)
        await trio.sleep(1)
        return "last"

    async def stop() -> None:
        stops.append((await ref.stop(), trio.current_time()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, ref, Run(last_turn), results, "last")
        await wait_all_tasks_blocked()
        for number in range(3):
            nursery.start_soon(outcome, ref, Ask(number), results, number)
            nursery.start_soon(stop)
            ref.cast(Note(number))
        await wait_all_tasks_blocked()
        assert results == stops == []
    by_label = dict(results)
    assert by_label.pop("last") == "last"
    assert sorted(by_label) == [0, 1, 2]
    assert all(isinstance(each, NoSuchActor) for each in by_label.values())
    assert stops == [(True, 1.0)] * 3
    assert [each.message for each in letters] == [Note(0), Note(1), Note(2)]
    assert log == []
    assert await ref.wait() == exit


class Anything(Actor):
    """Keeps whatever it is sent."""

    def __init__(self, log: Log) -> None:
        self.log = log

    @handles
    def anything(self, message: object) -> None:
        self.log.append(message)


@pytest.mark.parametrize(
    "message",
    [
        {"a": 1},
        5,
        0,
        None,
        ValueError("as a message"),
        (1, 2),
        (),
        (None, None, None, 1, 1, 0),
        (None, None, None, 1, 1, 0, None),
        "text",
        b"",
        [],
        Anything,
        len,
        float("nan"),
    ],
    ids=repr,
)
@pytest.mark.parametrize("verb", ["cast", "send", "timer"])
async def test_V5_any_object_is_a_message(system: System, message: object, verb: str) -> None:
    log: Log = []
    ref = await system.start(Anything, log)
    if verb == "cast":
        ref.cast(message)
    elif verb == "send":
        await ref.send(message)
    else:
        doer = await system.start(Recorder)
        await doer.call(Do(lambda self: ref.cast(message)))
    await wait_all_tasks_blocked()
    assert len(log) == 1
    assert log[0] is message


async def test_V6_stop_says_whether_there_was_something_to_stop(system: System) -> None:
    ref = await system.start(Recorder)
    assert await ref.stop() is True
    assert await ref.stop() is False
    assert await ref.wait() == Normal()
    crashed = await system.start(Recorder)
    await end(crashed, Crashed(BOOM))
    assert await crashed.stop() is False
    assert await crashed.wait() == Crashed(BOOM)


async def test_V7_on_start_runs_with_a_name_and_before_the_first_message(
    system: System,
) -> None:
    log: Log = []

    class Registered(Recorder):
        def on_start(self) -> None:
            self.log.append(self.system.whereis("me") == self.ref)
            self.ref.cast(Note("message"))
            self.log.append("on_start")

    ref = await system.start(Registered, log, name="me")
    await ref.call(Ask())
    assert log == [True, "on_start", "message"]


async def test_V7_it_may_stop_the_actor_before_it_has_handled_anything(system: System) -> None:
    log: Log = []

    class Stops(Recorder):
        def on_start(self) -> None:
            self.ref.cast(Note("message"))
            self.stop(Shutdown("not today"))

        def on_stop(self, exit: Exit) -> None:
            self.log.append(exit)

    ref = await system.start(Stops, log)
    assert await ref.wait() == Shutdown("not today")
    assert log == [Shutdown("not today")]


async def test_V8_an_on_start_that_raises_is_the_end(system: System) -> None:
    log: Log = []
    refs: list[Ref[Any]] = []

    class Fails(Lively):
        def on_start(self) -> None:
            refs.append(self.ref)
            raise BOOM.with_traceback(None)

    with pytest.raises(StartFailed):
        await system.start(Fails, log)
    assert refs[0].state == "gone"
    with pytest.raises(NoSuchActor):
        await refs[0].call(Ask())
    assert log == []


@pytest.mark.parametrize("exit", [Normal(), Shutdown("x")])
async def test_V9_on_stop_runs_and_may_fail(system: System, exit: Exit) -> None:
    """K16: what it raises becomes the exit."""
    log: Log = []

    class Fails(Recorder):
        def on_stop(self, exit: Exit) -> None:
            self.log.append(exit)
            raise BOOM.with_traceback(None)

    ref = await system.start(Fails, log)
    other = await system.start(Recorder)
    assert await ref.stop(exit)
    assert log == [exit]
    assert await ref.wait() == Crashed(BOOM)
    assert await other.call(Ask("unharmed")) == "unharmed"


@pytest.mark.parametrize("message", [Do(raises(BOOM)), Run(raises(BOOM))])
@pytest.mark.parametrize("verb", ["call", "cast"])
async def test_V10_on_stop_is_told_of_a_crash(system: System, message: Any, verb: str) -> None:
    """K16: there is no ``on_failure``; ``on_stop`` runs on a crash too, with the exit."""
    log: Log = []
    ref = await system.start(Lively, log)
    if verb == "call":
        with pytest.raises(ActorDied):
            await ref.call(message)
    else:
        ref.cast(message)
    await wait_all_tasks_blocked()
    assert log == [("actor", "start"), ("actor", "ready"), ("actor", Crashed(BOOM))]


async def test_V10_but_not_of_a_kill(system: System) -> None:
    log: Log = []
    ref = await system.start(Lively, log)
    await ref.call(Ask())
    await ref.stop(Killed())
    await wait_all_tasks_blocked()
    assert log == [("actor", "start"), ("actor", "ready")]


class No(Refusal):
    """An answer."""


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_V11_a_refusal_is_the_answer_and_the_actor_lives(system: System, kind: str) -> None:
    """K4: what is part of the conversation is a ``Refusal``, as in Pykka."""
    no = No("not now")

    async def refuse(_: Recorder) -> None:
        await trio.lowlevel.checkpoint()
        raise no

    log: Log = []
    ref = await system.start(Child(Recorder, log))
    with pytest.raises(No) as refused:
        await ref.call(Do(raises(no)) if kind == "plain" else Run(refuse))
    assert refused.value is no
    assert refused.value.__cause__ is None
    ref.cast(Note("state is kept"))
    assert await ref.call(Do(lambda self: list(self.log))) == ["state is kept"]
    assert ref.incarnation == 1


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_V11_any_other_exception_is_a_crash(system: System, kind: str) -> None:
    """K4: what is not, is a crash, as in OTP: state in doubt is not gone on with."""
    error = ValueError("not now")

    async def crash(_: Recorder) -> None:
        await trio.lowlevel.checkpoint()
        raise error

    ref = await system.start(Child(Recorder))
    with pytest.raises(ActorDied) as died:
        await ref.call(Do(raises(error)) if kind == "plain" else Run(crash))
    assert died.value.__cause__ is error
    assert await ref.call(Do(lambda self: self.log)) == []
    assert ref.incarnation == 2


async def test_V11_a_refusal_nobody_waits_for_is_a_dead_letter(system: System) -> None:
    letters = dead_letters(system)
    ref = await system.start(Recorder)
    message = Do(raises(No("not now")))
    ref.cast(message)
    assert await ref.call(Ask("alive")) == "alive"
    assert [each.message for each in letters] == [message]
    assert "not now" in letters[0].reason


async def test_V11_a_refusal_outside_a_handler_is_a_crash(system: System) -> None:
    class Unready(Recorder):
        def on_ready(self) -> None:
            raise No("not now")

    ref = await system.start(Unready)
    exit = await ref.wait()
    assert isinstance(exit, Crashed)
    assert isinstance(exit.exception, No)


async def test_V12_last_words_that_fail_after_a_crash_are_reported_too(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    last = ValueError("last words")

    class Fails(Recorder):
        def on_stop(self, exit: Exit) -> None:
            raise last

    ref = await system.start(Child(Fails))
    ref.cast(Do(raises(BOOM)))
    assert await ref.call(Ask("again")) == "again"
    assert ref.incarnation == 2
    reports = [each.report for each in caplog.records if hasattr(each, "report")]
    assert [each.exception for each in reports] == [BOOM, last]
    assert [each.doing for each in reports] == ["turn", "on_stop"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(2)])
async def test_V13_an_exit_of_the_program_stops_every_actor(error: BaseException) -> None:
    log: Log = []
    with pytest.raises(type(error)):
        async with open_system(watchdog=None) as system:
            refs = [await system.start(Lively, log, label) for label in "abc"]
            refs[1].cast(Do(raises(error)))
            await trio.sleep_forever()
    ends = [each for each in log if each[1] not in ("start", "ready")]
    assert sorted(label for label, _ in ends) == ["a", "b", "c"]
    assert not any(ref.alive for ref in refs)


@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_V15_a_stop_of_its_own_does_not_wait_for_the_queue(system: System, kind: str) -> None:
    """K16: it ends the actor after the current turn. Who wants the queue handled first sends
    itself the message that stops it."""

    def stop(self: Recorder) -> None:
        self.stop()

    async def stop_async(self: Recorder) -> None:
        self.stop()

    log: Log = []
    ref = await system.start(Recorder, log)
    ref.cast(Note("before"))
    ref.cast(Do(stop) if kind == "plain" else Run(stop_async))
    ref.cast(Note("after"))
    await ref.wait()
    assert log == ["before"]

    log.clear()
    ref = await system.start(Recorder, log)
    ref.cast(Do(lambda self: self.ref.cast(Do(stop))))
    for number in range(5):
        ref.cast(Note(number))
    await ref.wait()
    assert log == [0, 1, 2, 3, 4]


async def test_V16_an_actor_is_found_by_its_name(system: System) -> None:
    """By nothing else: not by class, nor by path."""
    ref = await system.start(Recorder, name="ledger")
    assert system.whereis("ledger") == ref
    for other in ("Recorder", "/ledger", repr(ref), "unknown"):
        assert system.whereis(other) is None


@pytest.mark.parametrize("seconds", [0, 1])
async def test_V18_all_are_stopped_the_last_started_first(seconds: float) -> None:
    log: Log = []

    class Slow(Recorder):
        def __init__(self, log: Log, label: str) -> None:
            super().__init__(log)
            self.label = label

        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(seconds)
            self.log.append(self.label)

    async with open_system(watchdog=None) as system:
        for label in "abc":
            await system.start(Slow, log, label)
    assert log == ["c", "b", "a"]
    assert trio.current_time() == 3 * seconds


async def test_V20_a_ref_shows_class_and_place(system: System) -> None:
    plain = await system.start(Recorder)
    named = await system.start(Lively, [], name="ledger")
    child = await system.start(Child(Recorder, id="billing"))
    assert repr(named) == str(named) == "<Ref Lively /ledger>"
    assert repr(child) == "<Ref Recorder /supervised/billing>"
    assert repr(plain) == f"<Ref Recorder {plain.path}>"
    await named.stop()
    assert repr(named) == "<Ref Lively /ledger>"


async def test_V21_how_loud_what_is(system: System, caplog: pytest.LogCaptureFixture) -> None:
    """A refusal is an answer, and no news."""
    caplog.set_level(logging.INFO)

    def levels() -> list[tuple[str, str, bool]]:
        found = [(each.name, each.levelname, each.exc_info is not None) for each in caplog.records]
        caplog.clear()
        return found

    ref = await system.start(Recorder)
    levels()
    with pytest.raises(No):
        await ref.call(Do(raises(No("not now"))))
    assert levels() == []
    ref.cast(object())
    await wait_all_tasks_blocked()
    assert levels() == [("actors", "WARNING", False), ("actors", "INFO", False)]
    ref.cast(Do(raises(BOOM)))
    await wait_all_tasks_blocked()
    assert levels() == [("actors", "ERROR", True)]
    ref.cast(Note())
    assert levels() == [("actors", "INFO", False)]


def test_V21_the_library_sets_no_handlers_and_no_levels() -> None:
    for name in ("actors", "actors.telemetry", "supervisors"):
        logger = logging.getLogger(name)
        assert all(isinstance(each, logging.NullHandler) for each in logger.handlers)
        assert logger.level == logging.NOTSET
        assert logger.propagate


async def test_V3_a_stop_that_waits_its_turn_is_not_a_message(system: System) -> None:
    """K16: it overtakes whatever is queued."""
    log: Log = []
    ref = await system.start(Recorder, log)
    ref.cast(naps(1))
    await wait_all_tasks_blocked()
    for number in range(100):
        ref.cast(Note(number))
    assert await ref.stop()
    assert trio.current_time() == 1.0
    assert log == []
