"""K21: events that rise, crash reports, telemetry."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    Crashed,
    Envelope,
    Exit,
    Next,
    Ref,
    Refusal,
    StartFailed,
    System,
    handles,
    open_system,
)
from actors.reports import CrashReport
from actors.telemetry import (
    ActorStarted,
    ActorStopped,
    DeadLetter,
    SystemStopped,
    TurnFailed,
    TurnStarted,
    TurnStopped,
)
from actors.testing import VirtualClock, dead_letters
from supervisors import Child, ChildExited, ChildRestarted, GaveUp, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.frozen
class Do(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class Await(Call[Any]):
    function: Callable[[Any], Any]


@attrs.frozen
class Happened:
    what: object


class No(Refusal):
    pass


class Boom(Exception):
    pass


def boom(actor: Any) -> None:
    raise Boom("boom")


class Worker(Actor):
    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    async def wait(self, message: Await) -> Any:
        return await message.function(self)


class Keeper(Supervisor):
    def __init__(self, *children: Child[Any]) -> None:
        self.specs = children

    def children(self) -> list[Child[Any]]:
        return list(self.specs)


class Hears(Keeper):
    def __init__(self, *children: Child[Any]) -> None:
        super().__init__(*children)
        self.heard: list[Envelope] = []

    @handles
    def happened(self, message: Happened) -> None:
        self.heard.append(self.envelope)


def find(system: System, name: str) -> Ref[Any]:
    ref = system.whereis(name)
    assert ref is not None
    return ref


# -- notify


async def test_K21_an_event_goes_to_the_nearest_parent_that_has_a_handler_for_it(
    system: System, both_ways: str
) -> None:
    tree = Child(Hears, Child(Keeper, Child(Worker, name="worker")), name="near")
    await system.start(Hears, tree)
    worker, near = find(system, "worker"), find(system, "near")
    await worker.call(Do(lambda actor: actor.notify(Happened(1))))

    async def notify(actor: Worker) -> None:
        actor.notify(Happened(2))

    await worker.call(Await(notify))
    await wait_all_tasks_blocked()
    heard = near._place.actor.heard
    assert [each.message for each in heard] == [Happened(1), Happened(2)]
    assert [each.sender for each in heard] == [worker, worker]


async def test_K21_an_event_keeps_the_correlation_and_names_its_cause(
    system: System, both_ways: str
) -> None:
    hears = await system.start(Hears, Child(Worker, name="worker"))
    worker = find(system, "worker")
    seen: list[Envelope] = []

    def notify(actor: Worker) -> None:
        seen.append(actor.envelope)
        actor.notify(Happened(1))

    await worker.call(Do(notify))
    await wait_all_tasks_blocked()
    (event,) = hears._place.actor.heard
    assert event.correlation_id == seen[0].correlation_id
    assert event.causation_id == seen[0].id


async def test_K21_at_the_top_an_event_is_a_dead_letter(system: System) -> None:
    letters = dead_letters(system)
    await system.start(Keeper, Child(Worker, name="worker"))
    alone = await system.start(Worker)
    for ref in (find(system, "worker"), alone):
        for event in (Happened(1), ("a", "tuple"), None):
            await ref.call(Do(lambda actor, event=event: actor.notify(event)))
            letter = letters.pop()
            assert letter == DeadLetter(
                ref, event, "an event no parent has a handler for", sender=ref
            )
    assert letters == []


async def test_K21_an_event_does_not_count_against_the_mailbox_of_the_parent(
    system: System,
) -> None:
    await system.start(Keeper, Child(Hears, Child(Worker, name="worker"), name="hears", mailbox=1))
    worker, hears = find(system, "worker"), find(system, "hears")

    def burst(actor: Worker) -> None:
        for number in range(5):
            actor.notify(Happened(number))

    await worker.call(Do(burst))
    await wait_all_tasks_blocked()
    assert len(hears._place.actor.heard) == 5


async def test_K21_callbacks_and_side_tasks_may_notify(system: System) -> None:
    class Tells(Worker):
        def on_start(self) -> None:
            self.notify(Happened("on_start"))
            self.start_soon(self.side)

        async def side(self) -> None:
            self.notify(Happened("side"))

        async def on_stop(self, exit: Exit) -> None:
            self.notify(Happened("on_stop"))

    hears = await system.start(Hears, Child(Tells, name="tells", restart="temporary"))
    await wait_all_tasks_blocked()
    await find(system, "tells").stop()
    await wait_all_tasks_blocked()
    heard = [each.message.what for each in hears._place.actor.heard]
    assert heard == ["on_start", "side", "on_stop"]


# -- crash reports


def reports(caplog: pytest.LogCaptureFixture) -> list[CrashReport]:
    return [each.report for each in caplog.records if hasattr(each, "report")]


async def test_K21_a_crash_report_holds_all_that_is_known(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    @attrs.define
    class Account(Actor):
        balance: int = 3
        pin: str = attrs.field(default="1234", repr=False)

        @handles
        def do(self, message: Do) -> Any:
            return message.function(self)

    account_spec = Child(Account, id="account", name="account")
    top = await system.start(
        Keeper, Child(Keeper, account_spec, id="near", name="near"), name="top"
    )
    caller, account = await system.start(Worker), find(system, "account")
    message = Do(boom)
    with pytest.raises(ActorDied):
        await caller.call(Await(lambda actor: account.call(message)))
    report, _ = reports(caplog)
    assert (report.ref, report.incarnation, report.doing) == (account, 1, "turn")
    assert isinstance(report.exception, Boom)
    assert report.message is message
    assert report.state == "{'balance': 3}"
    assert report.caller == caller
    assert report.ancestors == (find(system, "near"), top)
    text = str(report)
    for part in (
        "/top/near/account crashed: Boom('boom')",
        f"caller:    {caller.path}",
        "state:     {'balance': 3}",
        "ancestors: /top/near < /top",
        "incarnation 1",
    ):
        assert part in text
    record = next(each for each in caplog.records if hasattr(each, "report"))
    assert record.exc_info is not None and record.exc_info[1] is report.exception


async def test_K21_the_decision_is_reported_by_the_supervisor(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    await system.start(Keeper, Child(Worker, name="worker"))
    with pytest.raises(ActorDied):
        await find(system, "worker").call(Do(boom))
    await wait_all_tasks_blocked()
    errors = [
        each.getMessage()
        for each in caplog.records
        if each.name == "supervisors" and each.levelno == logging.ERROR
    ]
    assert len(errors) == 1
    assert "decision: restart" in errors[0] and "Boom" in errors[0]


async def test_K21_a_report_of_a_callback_says_which(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    class Fails(Worker):
        def on_ready(self) -> None:
            raise Boom

    class FailsLater(Worker):
        async def on_ready(self) -> None:
            raise Boom

    class Aside(Worker):
        def on_ready(self) -> None:
            self.start_soon(self.work)

        async def work(self) -> None:
            raise Boom

    for cls, doing in (
        (Fails, "on_ready"),
        (FailsLater, "on_ready"),
        (Aside, f"side task {Aside.work.__qualname__}"),
    ):
        caplog.clear()
        ref = await system.start(cls)
        await ref.wait()
        (report,) = reports(caplog)
        assert report.message is None and report.caller is None and report.ancestors == ()
        assert report.doing == doing
        assert f"  doing:     {doing} (incarnation 1)\n  state: " in str(report)
        assert "ancestors: none" in str(report)


async def test_K21_a_failing_format_state_hides_everything(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    class Secret(Worker):
        def __init__(self) -> None:
            self.key = "hunter2"

        def format_state(self) -> object:
            raise ValueError(self.key)

    class Unprintable(Worker):
        def format_state(self) -> object:
            class Bad:
                def __repr__(self) -> str:
                    raise ValueError("hunter2")

            return Bad()

    for cls in (Secret, Unprintable):
        ref = await system.start(cls)
        with pytest.raises(ActorDied):
            await ref.call(Do(boom))
    states = [each.state for each in reports(caplog)]
    assert states == [
        f"<{cls.__qualname__}.format_state crashed: ValueError>" for cls in (Secret, Unprintable)
    ]
    assert "hunter2" not in caplog.text


async def test_K21_format_state_is_what_is_shown(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    class Shown(Worker):
        def format_state(self) -> object:
            return {"shown": 1}

    ref = await system.start(Shown)
    with pytest.raises(ActorDied):
        await ref.call(Do(boom))
    assert [each.state for each in reports(caplog)] == ["{'shown': 1}"]


async def test_K21_nobody_reads_reports_and_none_is_made(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    class Shown(Worker):
        def format_state(self) -> object:
            raise AssertionError("nobody asks")

    with caplog.at_level(logging.CRITICAL):
        logging.getLogger("actors").setLevel(logging.CRITICAL)
        try:
            ref = await system.start(Shown)
            with pytest.raises(ActorDied):
                await ref.call(Do(boom))
        finally:
            logging.getLogger("actors").setLevel(logging.NOTSET)
    assert reports(caplog) == []


# -- telemetry


async def test_K21_turns_are_announced_with_their_end(system: System, both_ways: str) -> None:
    events: list[object] = []
    ref = await system.start(Worker)
    plain, slow = Do(lambda actor: 1), Await(lambda actor: trio.sleep(2))
    refuses, crashes = Do(refuse), Do(boom)
    system.telemetry.listen(events.append, TurnStarted, TurnStopped, TurnFailed)
    await ref.call(plain)
    await ref.call(slow)
    with pytest.raises(No):
        await ref.call(refuses)
    with pytest.raises(ActorDied) as caught:
        await ref.call(crashes)
    await wait_all_tasks_blocked()
    error = caught.value.__cause__
    assert error is not None
    refusal = events[5]
    assert isinstance(refusal, TurnFailed) and isinstance(refusal.exception, No)
    assert events == [
        TurnStarted(ref, plain, 0),
        TurnStopped(ref, plain, 0.0),
        TurnStarted(ref, slow, 0),
        TurnStopped(ref, slow, 2.0),
        TurnStarted(ref, refuses, 0),
        TurnFailed(ref, refuses, 0.0, refusal.exception),
        TurnStarted(ref, crashes, 0),
        TurnFailed(ref, crashes, 0.0, error),
    ]


def refuse(actor: Any) -> None:
    raise No


async def test_K21_turns_are_announced_from_the_moment_somebody_listens(
    system: System, both_ways: str
) -> None:
    events: list[object] = []
    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: 1))
    subscription = system.telemetry.listen(events.append, TurnStarted)
    await ref.call(Do(lambda actor: 2))
    await ref.call(Await(lambda actor: trio.sleep(1)))
    await ref.call(Await(lambda actor: trio.sleep(1)))
    assert len(events) == 3
    subscription.cancel()
    subscription.cancel()
    await ref.call(Do(lambda actor: 3))
    assert len(events) == 3


async def test_K21_a_turn_that_began_unobserved_may_end_observed(system: System) -> None:
    events: list[object] = []
    ref = await system.start(Worker)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.call, Await(lambda actor: trio.sleep(1)))
        await wait_all_tasks_blocked()
        subscription = system.telemetry.listen(events.append, TurnStarted, TurnStopped)
        await trio.sleep(2)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.call, Await(lambda actor: trio.sleep(1)))
        await wait_all_tasks_blocked()
        subscription.cancel()
    assert [type(each) for each in events] in ([TurnStarted], [TurnStarted, TurnStopped])


async def test_K21_the_length_of_the_queue_is_announced(system: System) -> None:
    queued: list[int] = []
    ref = await system.start(Worker)
    system.telemetry.listen(lambda event: queued.append(event.queued), TurnStarted)
    for _ in range(3):
        ref.cast(Do(lambda actor: None))
    await wait_all_tasks_blocked()
    assert queued == [2, 1, 0]


async def test_K21_turns_behind_middleware_are_announced_too(system: System) -> None:
    events: list[object] = []

    async def layer(envelope: Envelope, next: Next) -> Any:
        await trio.sleep(1)
        return await next(envelope)

    class Layered(Worker):
        middleware = (layer,)

    ref = await system.start(Layered)
    system.telemetry.listen(events.append, TurnStarted, TurnStopped, TurnFailed)
    message = Do(lambda actor: 1)
    await ref.call(message)
    await wait_all_tasks_blocked()
    assert events == [TurnStarted(ref, message, 0), TurnStopped(ref, message, 1.0)]


async def test_K21_a_listener_that_fails_is_detached_and_reported_and_the_actor_never_feels_it(
    system: System, caplog: pytest.LogCaptureFixture, both_ways: str
) -> None:
    heard: list[object] = []

    def fails(event: object) -> None:
        heard.append(event)
        raise ValueError("listener")

    others: list[object] = []
    ref = await system.start(Worker)
    system.telemetry.listen(fails, TurnStarted, TurnStopped)
    system.telemetry.listen(others.append, TurnStarted)
    assert await ref.call(Do(lambda actor: "fine")) == "fine"
    assert await ref.call(Do(lambda actor: "fine")) == "fine"
    assert (len(heard), len(others)) == (1, 2)
    (record,) = (each for each in caplog.records if each.name == "actors.telemetry")
    assert "failed and is detached" in record.getMessage()
    assert record.exc_info is not None and str(record.exc_info[1]) == "listener"


async def test_K21_listeners_are_told_in_the_order_they_came(system: System) -> None:
    order: list[str] = []
    for name in "abc":
        system.telemetry.listen(lambda event, name=name: order.append(name), ActorStarted)
    await system.start(Worker)
    assert order == ["a", "b", "c"]


async def test_K21_a_listener_may_cancel_itself_and_others_while_it_is_told(
    system: System,
) -> None:
    order: list[str] = []

    def once(event: object) -> None:
        order.append("once")
        first.cancel()

    first = system.telemetry.listen(once, ActorStarted)
    system.telemetry.listen(lambda event: order.append("second"), ActorStarted)
    await system.start(Worker)
    await system.start(Worker)
    assert order == ["once", "second", "second"]


@pytest.mark.parametrize(
    "arguments", [(print,), (print, 3), (3, ActorStarted)], ids=["none", "no class", "no function"]
)
async def test_K21_listen_says_what_it_takes(system: System, arguments: Any) -> None:
    with pytest.raises(TypeError, match=r"listen\(\) takes a function .*Got: "):
        system.telemetry.listen(*arguments)


async def test_K21_supervisors_announce_what_they_do(system: System) -> None:
    events: list[object] = []

    class Strict(Keeper):
        max_restarts = 1

    top = await system.start(Strict, Child(Worker, name="worker"), name="top")
    worker = find(system, "worker")
    system.telemetry.listen(events.append, ChildExited, ChildRestarted, GaveUp)
    for _ in range(2):
        with pytest.raises(ActorDied):
            await worker.call(Do(boom))
    await top.wait()
    exits = [each for each in events if isinstance(each, ChildExited)]
    assert [(each.supervisor, each.child, each.decision) for each in exits] == [
        (top, worker, "restart")
    ] * 2
    assert isinstance(exits[0].exit, Crashed)
    assert [each for each in events if isinstance(each, ChildRestarted)] == [
        ChildRestarted(top, worker, 1)
    ]
    (gave_up,) = (each for each in events if isinstance(each, GaveUp))
    assert gave_up.supervisor == top and gave_up.error.child == "Worker"
    assert [type(each) for each in events] == [ChildExited, ChildRestarted, ChildExited, GaveUp]


def test_K21_the_end_of_the_system_is_announced_last() -> None:
    events: list[object] = []

    async def main() -> None:
        async with open_system(watchdog=None) as system:
            system.telemetry.listen(events.append, ActorStopped, SystemStopped)
            await system.start(Worker)

    VirtualClock().run(main)
    assert [type(each) for each in events] == [ActorStopped, SystemStopped]


async def test_K21_a_start_that_fails_is_no_start(system: System) -> None:
    class Fails(Worker):
        def on_start(self) -> None:
            raise Boom

    events: list[object] = []
    system.telemetry.listen(events.append, ActorStarted, ActorStopped)
    with pytest.raises(StartFailed):
        await system.start(Fails)
    assert events == []
