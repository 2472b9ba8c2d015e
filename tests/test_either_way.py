"""Who runs a plain turn, its caller or the dispatcher, must make no difference.

Every scenario is run both ways, with the same seed, on a clock of its own. Three things are written
down, each in order: what actors and body do, what callers get and when, what the system announces
and when. Both records must be equal. How the three stand to each other is no promise, nor how two
actors do, or two callers: those run side by side.
"""

from __future__ import annotations

import contextvars
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    Crashed,
    Down,
    Exit,
    Idle,
    Killed,
    Later,
    MailboxFull,
    Normal,
    Ref,
    Refusal,
    Shutdown,
    StateMachine,
    System,
    handles,
    open_system,
)
from actors.introspection import get_state, replace_state, resume, suspend
from actors.telemetry import (
    ActorStarted,
    ActorStopped,
    ActorUnresponsive,
    DeadLetter,
)
from actors.testing import VirtualClock, leftovers, without_caller_turns
from supervisors import (
    Backoff,
    Child,
    ChildExited,
    ChildRestarted,
    CountChildren,
    DynamicSupervisor,
    GaveUp,
    StartChild,
    StopChild,
    WhichChildren,
    one_for_all,
    one_for_one,
    rest_for_one,
)


class Record(list[Any]):
    """What actors and body do; ``outcomes`` is what callers get, ``events`` what is announced."""

    def __init__(self) -> None:
        super().__init__()
        self.outcomes: list[Any] = []
        self.callers: set[trio.lowlevel.Task] = set()
        self.events: list[Any] = []

    @property
    def all(self) -> dict[str, list[Any]]:
        several = len(self.callers) > 1
        outcomes = sorted(self.outcomes, key=repr) if several else self.outcomes
        streams: dict[str, list[Any]] = {"outcomes": outcomes}
        for moment, (name, about) in self.events:
            whom = about.get("child") or about.get("ref") or about.get("supervisor")
            streams.setdefault(f"events of {whom}", []).append((moment, name, about))
        for entry in self:
            who = entry[0] if isinstance(entry, tuple) else "body"
            streams.setdefault(str(who), []).append(entry)
        return streams


Scenario: TypeAlias = Callable[[System, Record], Awaitable[None]]

EVENTS: tuple[type, ...] = (
    ActorStarted, ActorStopped, ActorUnresponsive, DeadLetter, ChildExited, ChildRestarted, GaveUp,
)  # fmt: skip
"""What a system announces, but for turns: whoever listens to those has the dispatcher run them."""


@attrs.frozen
class Ask(Call[Any]):
    """Answered with ``value``."""

    value: object = None


@attrs.frozen
class Do(Call[Any]):
    """Answered with ``function(actor)``, in a plain turn."""

    function: Callable[[Any], object]


@attrs.frozen
class Run(Call[Any]):
    """Answered with ``await function(actor)``, in the actor's own task."""

    function: Callable[[Any], Awaitable[object]]


@attrs.frozen
class Note:
    """A one-way message, kept."""

    value: object = None


class Trace(Call[Any]):
    """Answered with what is known of its sending."""


class Unknown(Call[None]):
    """Nobody handles it."""


class No(Refusal):
    """An answer that is no."""


class Worker(Actor):
    """Does as it is told, and writes it down."""

    def __init__(self, record: Record, label: str = "w") -> None:
        self.record = record
        self.label = label
        self.later_ones: list[Later[Any]] = []

    @handles
    def ask(self, message: Ask) -> Any:
        self.record.append((self.label, "ask", message.value))
        return message.value

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    async def run(self, message: Run) -> Any:
        return await message.function(self)

    @handles
    def note(self, message: Note) -> None:
        self.record.append((self.label, message.value))

    @handles
    def down(self, message: Down) -> None:
        what = (message.ref.path, message.incarnation, shown(message.exit))
        self.record.append((self.label, "down", what))

    @handles
    def idle(self, message: Idle) -> None:
        self.record.append((self.label, "idle", trio.current_time()))

    @handles
    def trace(self, message: Trace) -> Any:
        return seen_of(self)

    def on_stop(self, exit: Exit) -> None:
        self.record.append((self.label, "stops", shown(exit)))


def seen_of(actor: Actor) -> tuple[object, ...]:
    envelope = actor.envelope
    return (
        type(envelope.message).__name__,
        envelope.id,
        envelope.correlation_id,
        envelope.causation_id,
        envelope.sender.path if envelope.sender is not None else None,
        envelope.deadline,
        envelope.key,
    )


def shown(value: object) -> object:
    """What can be compared between two runs."""
    if isinstance(value, Ref):
        return value.path
    if isinstance(value, Crashed):
        return ("Crashed", shown(value.exception))
    if isinstance(value, BaseException):
        details = {
            name: shown(each)
            for name, each in sorted(vars(value).items())
            if not name.startswith("__")
        }
        return (type(value).__name__, str(value), details, shown(value.__cause__))
    if attrs.has(type(value)) and not isinstance(value, Child):
        cls: Any = type(value)
        fields = [field.name for field in attrs.fields(cls)]
        return (type(value).__name__, {name: shown(getattr(value, name)) for name in fields})
    if isinstance(value, list | tuple):
        return [shown(each) for each in value]
    if isinstance(value, dict):
        return {name: shown(each) for name, each in value.items()}
    if isinstance(value, Child):
        return repr(value.id)
    if value is None or isinstance(value, str | int | float | bool):
        return value
    return type(value).__name__


async def outcome(record: Record, ref: Ref[Any], message: Any, timeout: float | None = 5.0) -> None:
    """Call, and write down the answer, or what it fails with, and when."""
    result: object
    try:
        result = await ref.call(message, timeout)
    except Exception as error:
        result = error
    record.callers.add(trio.lowlevel.current_task())
    record.outcomes.append((trio.current_time(), shown(result)))


def run(scenario: Scenario, *, ours: bool) -> dict[str, list[Any]]:
    """The record of one run."""
    record = Record()
    clock = VirtualClock()

    async def main() -> None:
        system = None
        try:
            async with open_system(seed=17, clock=clock.now, watchdog=None) as system:
                if ours:
                    without_caller_turns(system)
                system.telemetry.listen(
                    lambda event: record.events.append((trio.current_time(), shown(event))), *EVENTS
                )
                await scenario(system, record)
                await wait_all_tasks_blocked()
                record.append(("ids drawn", system.scheduler.next_id()))
                record.append(("random", system.random.random()))
        except BaseException as error:
            record.append(("left as", shown(error)))
        finally:
            if system is not None:
                record.append(("left", leftovers(system)))
            record.append(("ended at", trio.current_time()))

    clock.run(main)
    return record.all


def boom(_: object) -> object:
    raise ValueError("boom")


def refuses(_: object) -> object:
    raise No("not today")


def forwards(to: Ref[Any]) -> Do:
    return Do(lambda actor: to.forward(actor.envelope))


# -- the scenarios


async def answers(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)
    for value in (1, None, "text", (), (1, 2)):
        await outcome(record, ref, Ask(value))


async def more_calls_than_a_caller_may_run(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)
    for number in range(200):
        await outcome(record, ref, Ask(number))


async def refusals(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)
    await outcome(record, ref, Do(refuses))
    ref.cast(Do(refuses))
    await outcome(record, ref, Ask("lives"))


async def crashes(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)
    await outcome(record, ref, Do(boom))
    await outcome(record, ref, Ask())
    record.append((ref.state, shown(await ref.wait())))


async def crashes_answered_by_a_restart(system: System, record: Record) -> None:
    ref = await system.start(Child(Worker, record))
    for number in range(3):
        await outcome(record, ref, Do(boom))
        await outcome(record, ref, Ask(number))
        await wait_all_tasks_blocked()
        record.append(ref.incarnation)


async def crashes_with_a_queue(system: System, record: Record) -> None:
    ref = await system.start(Child(Worker, record))
    async with trio.open_nursery() as nursery:
        ref.cast(Note("first"))
        ref.cast(Do(boom))
        ref.cast(Note("second"))
        nursery.start_soon(outcome, record, ref, Ask("third"))
    record.append(ref.incarnation)


async def unhandled(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)
    await outcome(record, ref, Unknown())
    ref.cast("a text")
    await outcome(record, ref, Ask())


async def calls_with_what_is_no_call(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)
    for wrong in (Note(1), "text", None):
        await outcome(record, ref, wrong)
    await outcome(record, ref, Ask())


async def casts_and_calls_in_order(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)
    for number in range(5):
        ref.cast(Note(number))
        await outcome(record, ref, Ask(number))
        await ref.send(Note(-number))
    await outcome(record, ref, Ask("last"))


async def a_plain_turn_casts(system: System, record: Record) -> None:
    a = await system.start(Worker, record, "a")
    b = await system.start(Worker, record, "b")

    def both(actor: Worker) -> str:
        b.cast(Note("one"))
        actor.ref.cast(Note("two"))
        b.cast(Note("three"))
        record.append("in the turn")
        return "done"

    await outcome(record, a, Do(both))
    await outcome(record, b, Ask("after"))


async def envelopes(system: System, record: Record) -> None:
    a = await system.start(Worker, record, "a")
    b = await system.start(Worker, record, "b")
    await outcome(record, a, Trace())
    await outcome(record, a, Trace(), None)
    await outcome(record, a, Trace(), 1.5)
    a.cast(Note("draws nothing"))
    await outcome(record, b, Trace())

    async def asks_on(actor: Worker) -> object:
        return seen_of(actor), await b.call(Trace()), await b.call(Trace(), 1.0)

    await outcome(record, a, Run(asks_on))

    def casts_on(actor: Worker) -> object:
        b.cast(Do(lambda other: record.append(seen_of(other))))
        return seen_of(actor)

    await outcome(record, a, Do(casts_on))
    await wait_all_tasks_blocked()


async def correlation_through_three(system: System, record: Record) -> None:
    refs = [await system.start(Worker, record, label) for label in "abc"]

    def pass_on(left: list[Ref[Any]]) -> Do:
        def function(actor: Worker) -> object:
            record.append((actor.label, seen_of(actor)))
            if left:
                left[0].cast(pass_on(left[1:]))
            return len(left)

        return Do(function)

    for _ in range(2):
        await outcome(record, refs[0], pass_on(refs[1:]))
        await wait_all_tasks_blocked()


async def deferred_answers(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)

    def defer(actor: Worker) -> object:
        later = actor.later()
        actor.later_ones.append(later)
        return later

    def settle(actor: Worker) -> None:
        for number, later in enumerate(actor.later_ones):
            later.reply(number)
            later.reply("too late")

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(outcome, record, ref, Do(defer))
        await trio.sleep(1)
        await outcome(record, ref, Do(settle))


async def deferred_and_answered_in_the_turn(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)

    def at_once(actor: Worker) -> object:
        later = actor.later()
        later.reply("at once")
        return later

    def no(actor: Worker) -> object:
        later = actor.later()
        later.fail(No("later"))
        return later

    def forgotten(actor: Worker) -> object:
        actor.later().reply("early")
        return "late"

    for function in (at_once, no, forgotten):
        await outcome(record, ref, Do(function))


async def deferred_answers_die_with_the_actor(system: System, record: Record) -> None:
    ref = await system.start(Child(Worker, record))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, record, ref, Do(lambda actor: actor.later()))
        await trio.sleep(1)
        ref.cast(Do(boom))
    await outcome(record, ref, Ask("again"))


async def deadlines(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)
    await outcome(record, ref, Do(lambda actor: actor.later()), 2.0)
    await outcome(record, ref, Do(lambda actor: actor.later()))
    await outcome(record, ref, Ask("lives"), 0)
    await outcome(record, ref, Ask("lives"), 0.5)
    await outcome(record, ref, Ask("wrong"), -1)


async def forwarding(system: System, record: Record) -> None:
    a = await system.start(Worker, record, "a")
    b = await system.start(Worker, record, "b")

    class Door(Actor):
        @handles
        def ask(self, message: Ask) -> Any:
            b.forward(self.envelope)

        @handles
        def trace(self, message: Trace) -> Any:
            a.forward(self.envelope)

        @handles
        def unknown(self, message: Unknown) -> Any:
            a.forward(self.envelope)

    door = await system.start(Door)
    await outcome(record, door, Ask("through"))
    await outcome(record, door, Trace())
    await outcome(record, door, Unknown())
    await b.stop()
    await outcome(record, door, Ask("to nobody"))


async def stashing(system: System, record: Record) -> None:
    class Gate(Worker):
        open = False

        @handles
        def ask(self, message: Ask) -> Any:
            if not self.open:
                return self.stash()
            self.record.append((self.label, "opened", message.value))
            return message.value

        @handles
        def note(self, message: Note) -> None:
            self.open = True
            self.unstash()

    ref = await system.start(Gate, record)
    async with trio.open_nursery() as nursery:
        for number in range(3):
            nursery.start_soon(outcome, record, ref, Ask(number))
            await wait_all_tasks_blocked()
        await trio.sleep(1)
        ref.cast(Note())
        ref.cast(Ask("behind"))
    await outcome(record, ref, Ask("open"))


async def stops_itself(system: System, record: Record) -> None:
    for exit in (Normal(), Shutdown("moved"), Killed()):
        ref = await system.start(Worker, record)

        def quits(actor: Worker, exit: Exit = exit) -> str:
            actor.stop(exit)
            return "my last answer"

        await outcome(record, ref, Do(quits))
        await outcome(record, ref, Ask("too late"))
        record.append(shown(await ref.wait()))


async def is_stopped(system: System, record: Record) -> None:
    ref = await system.start(Worker, record, name="worker")
    record.append(await ref.stop())
    record.append((await ref.stop(), ref.state, system.whereis("worker")))
    ref.cast(Note("a dead letter"))
    await outcome(record, ref, Ask())


async def monitors(system: System, record: Record) -> None:
    watcher = await system.start(Worker, record, "watcher")
    ref = await system.start(Child(Worker, record))
    await outcome(record, watcher, Do(lambda actor: bool(actor.monitor(ref))))
    await outcome(record, ref, Do(boom))
    await outcome(record, watcher, Do(lambda actor: bool(actor.monitor(ref))))
    await ref.stop()
    await outcome(record, watcher, Ask("after"))


async def timers(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)

    def sets(actor: Worker) -> None:
        actor.after(1, Note("after"))
        actor.every(2, Note("tick"))
        actor.idle_after(5)

    await outcome(record, ref, Do(sets))
    await trio.sleep(4.5)
    await outcome(record, ref, Ask("between"))
    await outcome(record, ref, Do(boom))
    await trio.sleep(10)


async def idleness(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)
    await outcome(record, ref, Do(lambda actor: actor.idle_after(3)))
    for _ in range(4):
        await trio.sleep(2)
        await outcome(record, ref, Ask())
    await trio.sleep(20)


async def full_mailboxes(system: System, record: Record) -> None:
    ref = await system.start(Child(Worker, record, mailbox=2))
    await suspend(ref)
    for number in range(3):
        try:
            ref.cast(Note(number))
        except MailboxFull as error:
            record.append(shown(error))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.send, Note("waits"))
        await wait_all_tasks_blocked()
        nursery.start_soon(outcome, record, ref, Ask("waits as well"))
        await trio.sleep(1)
        await resume(ref)


async def suspension(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)
    await suspend(ref)
    await outcome(record, ref, Ask("in vain"), 1)
    record.append(shown((await get_state(ref))["label"]))
    await resume(ref)
    await outcome(record, ref, Ask("again"))


async def states_replaced(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)
    await replace_state(ref, lambda state: {**state, "label": "renamed"})
    await outcome(record, ref, Ask("after"))


async def cycles(system: System, record: Record) -> None:
    a = await system.start(Worker, record, "a")
    b = await system.start(Worker, record, "b")

    async def calls_back(_: Worker) -> object:
        return await a.call(Ask("back"))

    async def calls(_: Worker) -> object:
        return await b.call(Run(calls_back))

    async def calls_itself(actor: Worker) -> object:
        return await actor.ref.call(Ask())

    await outcome(record, a, Run(calls))
    await wait_all_tasks_blocked()
    c = await system.start(Worker, record, "c")
    await outcome(record, c, Run(calls_itself))


async def calls_through_actors(system: System, record: Record) -> None:
    last = await system.start(Worker, record, "last")

    async def asks(_: Worker) -> object:
        return [await last.call(Ask(number)) for number in range(3)]

    middle = await system.start(Worker, record, "middle")
    await outcome(record, middle, Run(asks))

    async def asks_no(_: Worker) -> object:
        return await last.call(Do(refuses))

    await outcome(record, middle, Run(asks_no))

    async def asks_boom(_: Worker) -> object:
        try:
            return await last.call(Do(boom))
        except ActorDied as error:
            return shown(error)

    await outcome(record, await system.start(Worker, record, "other"), Run(asks_boom))


async def inherited_deadlines(system: System, record: Record) -> None:
    last = await system.start(Worker, record, "last")
    middle = await system.start(Worker, record, "middle")

    async def asks(_: Worker) -> object:
        await trio.sleep(1)
        return await last.call(Do(lambda actor: actor.later()))

    await outcome(record, middle, Run(asks), 2.0)
    await outcome(record, middle, Ask("lives"))


async def contexts(system: System, record: Record) -> None:
    variable = contextvars.ContextVar("variable", default="unset")
    variable.set("of the body")
    ref = await system.start(Worker, record)

    def counts(_: Worker) -> str:
        before = variable.get()
        variable.set(f"{before}+")
        return before

    for _ in range(3):
        await outcome(record, ref, Do(counts))

    async def reads(_: Worker) -> str:
        return variable.get()

    await outcome(record, ref, Run(reads))
    await outcome(record, ref, Do(counts))
    record.append(variable.get())


async def plain_and_awaiting_turns(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)

    async def naps(actor: Worker) -> object:
        actor.record.append("naps")
        await trio.sleep(1)
        actor.record.append("has napped")
        return "rested"

    async with trio.open_nursery() as nursery:
        for message in (Ask(1), Run(naps), Ask(2), Run(naps), Ask(3)):
            nursery.start_soon(outcome, record, ref, message)
            await wait_all_tasks_blocked()
    await outcome(record, ref, Ask(4))


async def awaitables_from_plain_handlers(system: System, record: Record) -> None:
    async def forgotten() -> None:
        pass

    ref = await system.start(Child(Worker, record))
    await outcome(record, ref, Do(lambda _: forgotten()))
    await outcome(record, ref, Ask("again"))


async def calls_from_plain_handlers(system: System, record: Record) -> None:
    other = await system.start(Worker, record, "other")

    def calls(_: Worker) -> object:
        coroutine = other.call(Ask())
        try:
            coroutine.send(None)
        except RuntimeError as error:
            return shown(error)
        return "it went through"

    ref = await system.start(Worker, record)
    await outcome(record, ref, Do(calls))
    await outcome(record, ref, Ask("lives"))


async def side_tasks(system: System, record: Record) -> None:
    ref = await system.start(Child(Worker, record))

    async def side(seconds: float) -> None:
        await trio.sleep(seconds)
        record.append("the side task crashes")
        raise ValueError("beside")

    await outcome(record, ref, Do(lambda actor: actor.start_soon(side, 2)))
    await outcome(record, ref, Ask("meanwhile"))
    await trio.sleep(3)
    await outcome(record, ref, Ask("again"))
    record.append(ref.incarnation)


async def middleware(system: System, record: Record) -> None:
    async def around(envelope: Any, next: Any) -> Any:
        record.append(("before", type(envelope.message).__name__))
        result = await next(envelope)
        record.append(("after", shown(result)))
        return result

    class Behind(Worker):
        middleware = (around,)

    ref = await system.start(Behind, record)
    await outcome(record, ref, Ask("in between"))
    await outcome(record, ref, Do(refuses))
    ref.cast(Note("one way"))
    await outcome(record, ref, Unknown())


async def notifications(system: System, record: Record) -> None:
    ref = await system.start(Child(Worker, record))
    await outcome(record, ref, Do(lambda actor: actor.notify("news")))


async def names_and_groups(system: System, record: Record) -> None:
    refs = [await system.start(Worker, record, label, name=label) for label in "abc"]
    for ref in refs:
        system.groups.join("all", ref)
    record.append(system.groups.publish("all", Note("to all")))
    await outcome(record, refs[1], Do(boom))
    await wait_all_tasks_blocked()
    record.append(system.groups.publish("all", Note("to the others")))
    record.append([shown(system.whereis(label)) for label in "abc"])
    await wait_all_tasks_blocked()


async def machines(system: System, record: Record) -> None:
    class Light(StateMachine):
        initial = "red"

        @handles(state="red")
        def red(self, message: Ask) -> Any:
            self.become("green")
            return ("was red", message.value)

        @handles(state="green")
        def green(self, message: Ask) -> Any:
            self.become("red")
            return ("was green", message.value)

    ref = await system.start(Light)
    for number in range(3):
        await outcome(record, ref, Ask(number))


def restarts_of(group: Any) -> Scenario:
    async def scenario(system: System, record: Record) -> None:
        specs = [Child(Worker, record, label, id=label) for label in "abc"]
        supervisor = await system.start(group(*specs, restart="temporary"))
        infos = await supervisor.call(WhichChildren())
        for info in infos:
            await outcome(record, info.ref, Do(boom))
            await outcome(record, supervisor, CountChildren())
        for info in infos:
            await outcome(record, info.ref, Ask(info.ref.incarnation))
        await outcome(record, infos[1].ref, Do(boom))
        await outcome(record, infos[1].ref, Ask("the group has given up"))

    scenario.__name__ = group.__name__
    return scenario


async def administration(system: System, record: Record) -> None:
    supervisor = await system.start(one_for_one())
    await outcome(record, supervisor, StartChild(Child(Worker, record, id="a")))
    await outcome(record, supervisor, StartChild(Child(Worker, record, id="a")))
    await outcome(record, supervisor, StopChild("a"))
    await outcome(record, supervisor, StopChild("b"))
    await outcome(record, supervisor, WhichChildren())


async def dynamic_children(system: System, record: Record) -> None:
    supervisor = await system.start(Child(partial(DynamicSupervisor, max_children=2)))
    spec = Child(Worker, record)
    refs = [await supervisor.call(StartChild(spec)) for _ in range(2)]
    await outcome(record, supervisor, StartChild(spec))
    await outcome(record, refs[0], Do(boom))
    await wait_all_tasks_blocked()
    await outcome(record, refs[0], Ask(refs[0].incarnation))
    await supervisor.call(StopChild(refs[1]))
    await outcome(record, refs[1], Ask("gone"))


async def pacing(system: System, record: Record) -> None:
    ref = await system.start(Child(Worker, record, backoff=Backoff(1, 4, jitter=0.5)))
    for number in range(4):
        await outcome(record, ref, Do(boom))
        await outcome(record, ref, Ask(number))


async def giving_up(system: System, record: Record) -> None:
    ref = await system.start(Child(Worker, record))
    for number in range(3):
        await outcome(record, ref, Do(boom))
        await outcome(record, ref, Ask(number))
    with trio.CancelScope(shield=True):
        await outcome(record, ref, Do(boom))
        await outcome(record, ref, Ask("gives up"))
    await trio.sleep_forever()


async def an_exit_of_the_program(system: System, record: Record) -> None:
    await system.start(Worker, record, "other")
    ref = await system.start(Child(Worker, record))

    def leaves(_: object) -> object:
        raise SystemExit(3)

    with trio.CancelScope(shield=True):
        await outcome(record, ref, Do(leaves))
        await wait_all_tasks_blocked()
    await trio.sleep_forever()


async def cancelled_callers(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)
    with trio.move_on_after(1):
        await outcome(record, ref, Do(lambda actor: actor.later()))
    with trio.CancelScope() as scope:
        scope.cancel()
        await outcome(record, ref, Ask("never sent"))
    record.append(system.scheduler.abandoned)
    await outcome(record, ref, Ask("lives"))


async def two_callers_at_once(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)
    turn = trio.Event()

    async def caller(label: str, first: bool) -> None:
        if not first:
            await turn.wait()
        for number in range(5):
            await outcome(record, ref, Ask((label, number)))
        turn.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(caller, "first", True)
        nursery.start_soon(caller, "second", False)


async def a_body_that_raises(system: System, record: Record) -> None:
    ref = await system.start(Worker, record)
    await outcome(record, ref, Ask())
    raise KeyError("of the body")


SCENARIOS: list[Scenario] = [
    answers,
    more_calls_than_a_caller_may_run,
    refusals,
    crashes,
    crashes_answered_by_a_restart,
    crashes_with_a_queue,
    unhandled,
    calls_with_what_is_no_call,
    casts_and_calls_in_order,
    a_plain_turn_casts,
    envelopes,
    correlation_through_three,
    deferred_answers,
    deferred_and_answered_in_the_turn,
    deferred_answers_die_with_the_actor,
    deadlines,
    forwarding,
    stashing,
    stops_itself,
    is_stopped,
    monitors,
    timers,
    idleness,
    full_mailboxes,
    suspension,
    states_replaced,
    cycles,
    calls_through_actors,
    inherited_deadlines,
    contexts,
    plain_and_awaiting_turns,
    awaitables_from_plain_handlers,
    calls_from_plain_handlers,
    side_tasks,
    middleware,
    notifications,
    names_and_groups,
    machines,
    restarts_of(one_for_one),
    restarts_of(one_for_all),
    restarts_of(rest_for_one),
    administration,
    dynamic_children,
    pacing,
    giving_up,
    an_exit_of_the_program,
    cancelled_callers,
    two_callers_at_once,
    a_body_that_raises,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_K5_nobody_can_tell_who_runs_a_plain_turn(scenario: Scenario) -> None:
    callers = run(scenario, ours=False)
    dispatcher = run(scenario, ours=True)
    assert set(callers) == set(dispatcher)
    for name, did in callers.items():
        assert did == dispatcher[name], name
    assert len(callers) > 2


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.__name__)
def test_rule_9_the_same_seed_gives_the_same_record(scenario: Scenario) -> None:
    assert run(scenario, ours=False) == run(scenario, ours=False)


def test_the_record_shows_a_difference_where_there_is_one() -> None:
    async def tells(system: System, record: Record) -> None:
        record.append(system.scheduler.caller_turns)

    assert run(tells, ours=False) != run(tells, ours=True)
