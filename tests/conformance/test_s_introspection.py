"""S. Looking into live actors (sys): here, ``actors.introspection`` and telemetry."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, Call, CallCycle, CallTimeout, NoSuchActor, Ref, System, handles
from actors.introspection import (
    get_state,
    last_messages,
    record,
    replace_state,
    resume,
    statistics,
    suspend,
)
from actors.telemetry import ActorStarted, TurnFailed, TurnStarted, TurnStopped
from supervisors import Child
from tests.conformance.recorders import (
    BOOM,
    Ask,
    Do,
    Log,
    Note,
    Recorder,
    Run,
    naps,
    outcome,
    raises,
)

pytestmark = pytest.mark.usefixtures("both_ways")


@attrs.define(eq=False)
class Account(Actor):
    """State in attrs fields, one of them checked."""

    balance: int = attrs.field(validator=attrs.validators.ge(0))
    owner: str = "alice"

    @handles
    def ask(self, message: Ask) -> Any:
        return (self.owner, self.balance)

    @handles
    def crash(self, message: Note) -> None:
        raise BOOM.with_traceback(None)


class Slotted(Actor):
    """State in slots."""

    __slots__ = ("balance", "owner")

    def __init__(self, balance: int) -> None:
        self.balance = balance
        self.owner = "alice"

    @handles
    def ask(self, message: Ask) -> Any:
        return (self.owner, self.balance)


class Plain(Actor):
    """State as most have it."""

    def __init__(self, balance: int) -> None:
        self.balance = balance
        self.owner = "alice"

    @handles
    def ask(self, message: Ask) -> Any:
        return (self.owner, self.balance)


KINDS = pytest.mark.parametrize("cls", [Account, Slotted, Plain])


@KINDS
@pytest.mark.parametrize("suspended", [False, True])
@pytest.mark.parametrize("by", ["ref", "name"])
async def test_S1_the_state_can_be_read(
    system: System, cls: type[Actor], suspended: bool, by: str
) -> None:
    ref: Ref[Any] | None = await system.start(cls, 10, name="account")
    if by == "name":
        ref = system.whereis("account")
    assert ref is not None
    if suspended:
        await suspend(ref)
    assert await get_state(ref) == {"balance": 10, "owner": "alice"}


async def test_S1_with_a_timeout_when_a_turn_does_not_end(system: System) -> None:
    ref = await system.start(Recorder)
    ref.cast(naps(60))
    await wait_all_tasks_blocked()
    with pytest.raises(CallTimeout) as expired:
        await get_state(ref, timeout=2)
    assert expired.value.timeout == 2
    assert trio.current_time() == 2.0
    assert await get_state(ref, timeout=100) == {"log": []}
    assert trio.current_time() == 60.0


async def test_S1_of_the_dead_it_cannot(system: System) -> None:
    ref = await system.start(Recorder)
    await ref.stop()
    with pytest.raises(NoSuchActor):
        await get_state(ref)
    assert trio.current_time() == 0.0


@KINDS
@pytest.mark.parametrize("suspended", [False, True])
async def test_S2_replace_state_installs_and_returns_the_new_one(
    system: System, cls: type[Actor], suspended: bool
) -> None:
    ref: Ref[Any] = await system.start(cls, 10)
    if suspended:
        await suspend(ref)
    new = await replace_state(ref, lambda state: {**state, "balance": state["balance"] + 5})
    assert new == {"balance": 15, "owner": "alice"}
    assert await get_state(ref) == new
    await resume(ref)
    assert await ref.call(Ask()) == ("alice", 15)


def fails(state: dict[str, Any]) -> dict[str, Any]:
    state["balance"] = 0
    state["owner"] = "mallory"
    raise BOOM.with_traceback(None)


@KINDS
async def test_S3_a_failing_function_changes_nothing(system: System, cls: type[Actor]) -> None:
    ref: Ref[Any] = await system.start(cls, 10)
    with pytest.raises(RuntimeError, match="boom") as failed:
        await replace_state(ref, fails)
    assert failed.value is BOOM
    assert await get_state(ref) == {"balance": 10, "owner": "alice"}
    assert await ref.call(Ask()) == ("alice", 10)
    assert ref.incarnation == 1


@pytest.mark.parametrize(
    ("cls", "state", "error"),
    [
        (Account, {"owner": "mallory", "balance": -1}, ValueError),
        (Account, {"owner": "mallory", "nonsense": 1}, AttributeError),
        (Slotted, {"owner": "mallory", "nonsense": 1}, AttributeError),
        (Plain, 5, TypeError),
    ],
)
async def test_S3_nor_does_a_state_that_cannot_be_installed(
    system: System, cls: type[Actor], state: Any, error: type[Exception]
) -> None:
    ref: Ref[Any] = await system.start(cls, 10)
    with pytest.raises(error):
        await replace_state(ref, lambda _: state)
    assert await get_state(ref) == {"balance": 10, "owner": "alice"}
    assert await ref.call(Ask()) == ("alice", 10)


async def test_S3_nor_does_one_that_changes_its_argument_first(system: System) -> None:
    ref: Ref[Any] = await system.start(Slotted, 10)

    def change(state: dict[str, Any]) -> dict[str, Any]:
        state.update(owner="mallory", nonsense=1)
        return state

    with pytest.raises(AttributeError):
        await replace_state(ref, change)
    assert await get_state(ref) == {"balance": 10, "owner": "alice"}


async def test_S5_while_suspended_messages_wait_and_introspection_answers(
    system: System,
) -> None:
    """The place stays up: to others a suspended actor is one that takes its time."""
    log: Log = []
    ref = await system.start(Recorder, log)
    await record(ref)
    await suspend(ref)
    with pytest.raises(CallTimeout):
        await ref.call(Ask(), timeout=1)
    ref.cast(Note("kept"))
    assert await get_state(ref) == {"log": []}
    counted = await statistics(ref)
    assert counted is not None
    assert counted.queued >= 1
    assert ref.alive
    await trio.sleep(10)
    assert log == []
    await resume(ref)
    assert await ref.call(Ask("served")) == "served"
    assert log == ["kept"]


async def test_S5_a_suspended_actor_can_be_stopped(system: System) -> None:
    ref = await system.start(Recorder)
    await suspend(ref)
    assert await ref.stop()
    assert trio.current_time() == 0.0


@pytest.mark.parametrize("times", [1, 2, 3])
async def test_S6_suspending_or_resuming_twice_is_doing_it_once(system: System, times: int) -> None:
    log: Log = []
    ref = await system.start(Recorder, log)
    for _ in range(times):
        await suspend(ref)
    ref.cast(Note("waits"))
    await wait_all_tasks_blocked()
    assert log == []
    await resume(ref)
    await wait_all_tasks_blocked()
    assert log == ["waits"]
    await resume(ref)
    ref.cast(Note("next"))
    await wait_all_tasks_blocked()
    assert log == ["waits", "next"]


async def test_S7_what_waited_is_handled_in_order_after_the_resume(system: System) -> None:
    log: Log = []
    ref = await system.start(Recorder, log)
    results: Log = []

    async def append_later(self: Recorder) -> None:
        await trio.sleep(1)
        self.log.append("async")

    await suspend(ref)
    async with trio.open_nursery() as nursery:
        ref.cast(Note("first"))
        nursery.start_soon(outcome, ref, Do(lambda self: self.log.append("call")), results)
        await wait_all_tasks_blocked()
        ref.cast(Run(append_later))
        ref.cast(Note("last"))
        await trio.sleep(1)
        assert log == []
        await resume(ref)
    await ref.call(Ask())
    assert log == ["first", "call", "async", "last"]


async def test_S11_statistics(system: System) -> None:
    ref = await system.start(Recorder)
    assert await statistics(ref) is None
    await trio.sleep(3)
    await record(ref)
    await trio.sleep(2)
    for number in range(5):
        ref.cast(Note(number))
    await ref.call(Ask())
    await get_state(ref)
    counted = await statistics(ref)
    assert counted is not None
    assert (counted.since, counted.now) == (3.0, 5.0)
    assert counted.messages == 6
    assert (counted.queued, counted.incarnation) == (0, 1)


async def test_S11_the_last_messages_are_kept(system: System) -> None:
    """K22: ten, unless told otherwise."""
    ref = await system.start(Recorder)
    assert await last_messages(ref) == []
    await record(ref)
    for number in range(15):
        ref.cast(Note(number))
    await ref.call(Ask())
    assert await last_messages(ref) == [*(Note(number) for number in range(6, 15)), Ask()]
    await record(ref, 2)
    for number in range(3):
        ref.cast(Note(number))
    await wait_all_tasks_blocked()
    assert await last_messages(ref) == [Note(1), Note(2)]


async def test_S12_a_listener_is_told_of_each_turn(system: System) -> None:
    """Instead of ``install``: ``telemetry.listen``."""
    seen: Log = []
    ref, other = await system.start(Recorder), await system.start(Recorder)

    def listener(event: Any) -> None:
        if event.ref == ref:
            seen.append(event)

    system.telemetry.listen(listener, TurnStarted, TurnStopped, TurnFailed)
    nap = naps(2)
    await ref.call(nap)
    await other.call(Ask())
    fatal = Do(raises(BOOM))
    ref.cast(fatal)
    await wait_all_tasks_blocked()
    assert [(type(each), each.message) for each in seen] == [
        (TurnStarted, nap),
        (TurnStopped, nap),
        (TurnStarted, fatal),
        (TurnFailed, fatal),
    ]
    assert seen[1].seconds == 2.0
    assert seen[3].exception is BOOM


async def test_S12_a_listener_that_fails_is_removed_and_the_actor_feels_nothing(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    told: Log = []

    def listener(event: object) -> None:
        told.append(event)
        if len(told) == 2:
            raise BOOM.with_traceback(None)

    ref = await system.start(Recorder)
    system.telemetry.listen(listener, TurnStarted)
    for number in range(4):
        assert await ref.call(Ask(number)) == number
    assert len(told) == 2
    assert ref.incarnation == 1
    assert [each.name for each in caplog.records if each.levelname == "ERROR"] == [
        "actors.telemetry"
    ]


async def test_S14_everything_can_be_switched_off_again(system: System) -> None:
    seen: Log = []
    ref = await system.start(Recorder)
    subscription = system.telemetry.listen(seen.append, TurnStarted)
    await record(ref)
    await ref.call(Ask())
    assert len(seen) == 1
    subscription.cancel()
    subscription.cancel()
    await record(ref, 0)
    await ref.call(Ask())
    assert len(seen) == 1
    assert await statistics(ref) is None
    assert await last_messages(ref) == []


async def test_S14_what_is_recorded_ends_with_the_incarnation(system: System) -> None:
    ref = await system.start(Child(Account, 10))
    await record(ref)
    await suspend(ref)
    await resume(ref)
    ref.cast(Note())
    assert await ref.call(Ask()) == ("alice", 10)
    assert ref.incarnation == 2
    assert await statistics(ref) is None


class Greets(Recorder):
    """Has a message before anybody else could have sent one."""

    def on_start(self) -> None:
        self.ref.cast(Note("first"))


async def test_S15_one_can_listen_from_the_start(system: System) -> None:
    """Instead of debug options: the system has the listeners before it has the actor."""
    seen: Log = []
    system.telemetry.listen(seen.append, ActorStarted, TurnStarted)
    ref = await system.start(Greets)
    await wait_all_tasks_blocked()
    assert [type(each) for each in seen] == [ActorStarted, TurnStarted]
    assert seen[0] == ActorStarted(ref, 1)
    assert seen[1].message == Note("first")


@attrs.frozen
class Peek(Call[Any]):
    """Look into another actor."""

    at: Ref[Any]


class Curious(Recorder):
    """Looks into others, and into itself."""

    @handles
    async def peek(self, message: Peek) -> Any:
        return await get_state(message.at, timeout=1)


async def test_S1_one_actor_may_look_into_another_but_not_wait_for_itself(
    system: System,
) -> None:
    curious, account = await system.start(Curious), await system.start(Account, 10)
    assert await curious.call(Peek(account)) == {"balance": 10, "owner": "alice"}

    async def peek_at_itself(self: Curious) -> object:
        with pytest.raises(CallCycle) as cycle:
            await get_state(self.ref)
        return cycle.value.chain

    assert await curious.call(Run(peek_at_itself)) == (curious, curious)
    assert trio.current_time() == 0.0
