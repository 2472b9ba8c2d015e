"""Who runs a plain turn, its caller or the dispatcher, must make no difference.

Every scenario is run twice, on a clock of its own and with the same seed, and everybody in it
writes down all that can be observed: answers, errors, orders, exits, envelopes with their ids,
dead letters, moments. The two records are equal, for each that writes. What goes on at the same
moment in different actors and tasks is in nobody's order; so the driver lets everybody come to
rest before it turns to another actor.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorError,
    Call,
    Down,
    Envelope,
    Exit,
    Idle,
    Killed,
    Later,
    MailboxFull,
    Next,
    Ref,
    Refusal,
    System,
    handles,
    open_system,
)
from actors.introspection import (
    get_state,
    last_messages,
    record,
    replace_state,
    resume,
    statistics,
    suspend,
)
from actors.runtime.root import Temporary
from actors.telemetry import ActorStarted, ActorStopped, DeadLetter
from actors.testing import VirtualClock, without_caller_turns
from supervisors import (
    Backoff,
    Child,
    CountChildren,
    RestartChild,
    StartChild,
    StopChild,
    WhichChildren,
    one_for_all,
    one_for_one,
    rest_for_one,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Scenario = Callable[["Stage"], Awaitable[object]]


class InOrder:
    """Stands for trio's random source, which shuffles the tasks of a step: it leaves them alone."""

    def random(self) -> float:
        return 1.0

    def shuffle(self, tasks: list[Any]) -> None:
        pass


class No(Refusal):
    pass


class Boom(Exception):
    pass


@attrs.frozen
class Plain(Call[Any]):
    """Take these steps in a plain turn; the answer is what the last one gives."""

    steps: tuple[Any, ...] = ()


@attrs.frozen
class Slow(Call[Any]):
    """The same in the actor's own task."""

    steps: tuple[Any, ...] = ()


class Stage:
    """A system, its actors, and the record."""

    def __init__(self, system: System, *, behind_middleware: bool = False) -> None:
        self.system = system
        self.log: dict[str, list[Any]] = {}
        self.refs: list[Ref[Any]] = []
        self.layers = behind_middleware
        self.calls = 0

        def letter(event: DeadLetter) -> None:
            sender = event.sender.path if event.sender is not None else None
            self.write(event.ref.path, "dead letter", plain(event.message), event.reason, sender)

        def started(event: ActorStarted) -> None:
            self.write(event.ref.path, "started", event.incarnation)

        def stopped(event: ActorStopped) -> None:
            self.write(event.ref.path, "stopped", event.incarnation, plain(event.exit))

        system.telemetry.listen(letter, DeadLetter)
        system.telemetry.listen(started, ActorStarted)
        system.telemetry.listen(stopped, ActorStopped)

    def write(self, who: str, *what: Any) -> None:
        self.log.setdefault(who, []).append((round(trio.current_time(), 6), *what))

    async def settle(self) -> None:
        await wait_all_tasks_blocked()

    async def attempt(self, what: str, call: Awaitable[Any]) -> Any:
        """Write down what comes of it."""
        try:
            answer = await call
        except (Refusal, ActorError, ValueError) as error:
            self.write(what, plain(error), plain(error.__cause__))
            return error
        self.write(what, plain(answer))
        return answer

    async def call(self, index: int, message: Call[Any], timeout: float | None = 5.0) -> Any:
        ref = self.refs[index % len(self.refs)]
        self.calls += 1
        return await self.attempt(f"call {self.calls} to {ref.path}", ref.call(message, timeout))


def plain(value: Any) -> Any:
    """As it is shown, without addresses; the records are of different systems."""
    if isinstance(value, Envelope):
        sender = value.sender.path if value.sender is not None else None
        return (value.id, value.correlation_id, value.causation_id, sender, value.deadline)
    if isinstance(value, Ref):
        return value.path
    if isinstance(value, BaseException):
        ref = getattr(value, "ref", None)
        chain = [each.path for each in getattr(value, "chain", ())]
        return (type(value).__name__, str(value), ref.path if ref is not None else None, chain)
    if isinstance(value, Plain | Slow):
        return type(value).__name__
    if isinstance(value, list | tuple):
        return [plain(each) for each in value]
    if isinstance(value, Down):
        return ("Down", plain(value.ref), value.incarnation, plain(value.exit))
    if attrs.has(type(value)) and not isinstance(value, type):
        return (type(value).__name__, [plain(each) for each in attrs.astuple(value, recurse=False)])
    return value if isinstance(value, str | int | float | bool | None) else type(value).__name__


class Scripted(Actor):
    """Takes the steps that its messages name, and writes down what it sees."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.kept: list[Later[Any]] = []
        if stage.layers:
            self.middleware = (self.between,)

    async def between(self, envelope: Envelope, next: Next) -> Any:
        self.write("layer", envelope)
        return await next(envelope)

    def write(self, *what: Any) -> None:
        self.stage.write(self.ref.path, self.ref.incarnation, *map(plain, what))

    def target(self, index: int) -> Ref[Any]:
        return self.stage.refs[index % len(self.stage.refs)]

    def on_ready(self) -> None:
        self.write("on_ready")

    def on_stop(self, exit: Exit) -> None:
        self.write("on_stop", exit)

    def format_state(self) -> object:
        return len(self.kept)

    @handles
    def plain(self, message: Plain) -> Any:
        answer = None
        for step in message.steps:
            answer = self.take(step)
        return answer

    @handles
    async def slow(self, message: Slow) -> Any:
        answer = None
        for step in message.steps:
            match step:
                case ("sleep", seconds):
                    await trio.sleep(seconds)
                case ("call", index, inner, timeout):
                    try:
                        answer = await self.target(index).call(inner, timeout)
                    except (Refusal, ActorError) as error:
                        self.write("inner call", error)
                        answer = type(error).__name__
                case ("call through", index, inner):
                    answer = await self.target(index).call(inner)
                case ("send", index, inner):
                    await self.target(index).send(inner)
                case _:
                    answer = self.take(step)
        return answer

    @handles
    def rest(self, message: Down | Idle | str) -> None:
        self.write("heard", message, self.envelope)

    def take(self, step: Any) -> Any:
        match step:
            case "envelope":
                self.write("envelope", self.envelope)
            case "refuse":
                raise No("refused")
            case "crash":
                raise Boom("crashed")
            case "stop":
                self.stop()
            case "stash":
                # Only once, or nothing would ever come of it.
                if not self.envelope.id.endswith("!") and len(self.kept) < 3:
                    self.kept.append(self.later())
                    self.stash()
            case "unstash":
                self.unstash()
            case "later":
                self.kept.append(self.later())
                return self.kept[-1]
            case "now":
                later: Later[Any] = self.later()
                later.reply("at once")
                return later
            case "reply":
                while self.kept:
                    self.kept.pop().reply("replied")
            case ("return", value):
                return value
            case ("write", value):
                self.write(value)
            case ("cast", index, inner):
                try:
                    self.target(index).cast(inner)
                except MailboxFull as error:
                    self.write("cast", error)
            case ("forward", index):
                # Not for ever round and round.
                if self.target(index) != self.ref:
                    self.target(index).forward(self.envelope)
            case ("after", seconds, inner):
                self.after(seconds, inner)
            case ("side", seconds, index, inner):
                self.start_soon(self.side, seconds, index, inner)
            case ("side crash", seconds):
                self.start_soon(self.side_crash, seconds)
            case ("monitor", index):
                self.monitor(self.target(index))
            case ("idle", seconds):
                self.idle_after(seconds)
            case ("notify", event):
                self.notify(event)
            case _:
                raise AssertionError(step)
        return None

    async def side(self, seconds: float, index: int, inner: Any) -> None:
        await trio.sleep(seconds)
        self.target(index).cast(inner)

    async def side_crash(self, seconds: float) -> None:
        await trio.sleep(seconds)
        raise Boom("beside")


Record: TypeAlias = "dict[str, list[Any]]"


def play(scenario: Scenario, *, dispatcher_only: bool, behind_middleware: bool = False) -> Record:
    """Run a scenario, and return its record."""
    records: list[Record] = []

    async def main() -> None:
        async with open_system(seed=11, watchdog=None) as system:
            if dispatcher_only:
                without_caller_turns(system)
            stage = Stage(system, behind_middleware=behind_middleware)
            records.append(stage.log)
            await scenario(stage)
            await stage.settle()
            for ref in stage.refs:
                stage.write("at the end", ref.path, ref.state, ref.incarnation)
            stage.write("at the end", system.random.random(), system.scheduler.abandoned)
        stage.write("at the end", len(system.scheduler.timers))

    VirtualClock().run(main)
    return records[0]


@pytest.fixture(autouse=True)
def tasks_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("trio._core._run._r", InOrder())


def same(scenario: Scenario, **keywords: Any) -> int:
    """Both records are equal, entry by entry; returns how many there are."""
    one = play(scenario, dispatcher_only=False, **keywords)
    two = play(scenario, dispatcher_only=True, **keywords)
    assert one.keys() == two.keys()
    for who in one:
        for first, second in zip(one[who], two[who], strict=False):
            assert first == second, who
        assert len(one[who]) == len(two[who]), who
    return sum(map(len, one.values()))


async def alone(stage: Stage, count: int = 3, mailbox: float = 10_000) -> None:
    """Temporary actors at the top."""
    for _ in range(count):
        spec = Temporary(Scripted, (stage,), mailbox=mailbox)
        stage.refs.append(await stage.system.start_place(spec))
    await stage.settle()


async def supervised(stage: Stage, group: Any, count: int = 3, **spec: Any) -> Ref[Any]:
    children = [Child(Scripted, stage, id=f"child-{each}", **spec) for each in range(count)]
    top: Ref[Any] = await stage.system.start(group(*children, max_restarts=50, restart="temporary"))
    stage.refs += [each.ref for each in await top.call(WhichChildren())]
    await stage.settle()
    return top


# -- scenarios


async def answers_and_refusals(stage: Stage) -> None:
    await alone(stage)
    for kind in (Plain, Slow):
        for steps in (
            (),
            (("return", 1),),
            ("envelope", ("return", "e")),
            ("refuse",),
            ("now",),
            (("write", "x"), ("return", None)),
        ):
            for timeout in (5.0, 2.0, None):
                await stage.call(0, kind(steps), timeout)
    await stage.call(0, Plain(("crash",)))
    await stage.call(0, Plain())
    await stage.call(1, Slow(("crash",)))
    await stage.call(1, Slow())


async def what_is_no_call_and_what_is_not_handled(stage: Stage) -> None:
    class Unknown(Call[int]):
        pass

    await alone(stage)
    await stage.attempt("unknown", stage.refs[0].call(Unknown()))
    try:
        await stage.refs[0].call("text")  # type: ignore[arg-type]
    except TypeError as error:
        stage.write("driver", plain(error))
    try:
        await stage.refs[0].call(Plain(), timeout=-1)
    except ValueError as error:
        stage.write("driver", plain(error))
    stage.refs[0].cast(3)
    await stage.settle()


async def order_of_casts_sends_and_calls(stage: Stage) -> None:
    await alone(stage, mailbox=5)
    for number in range(30):
        stage.refs[0].cast(Plain(("envelope", ("write", number))))
        await stage.refs[0].send(Slow((("write", -number),)))
        await stage.call(0, Plain((("return", number),)))


async def deferred_answers(stage: Stage) -> None:
    await alone(stage)
    async with trio.open_nursery() as nursery:
        for index in (0, 0, 1):
            nursery.start_soon(stage.call, index, Plain(("later",)))
            await stage.settle()
        await stage.call(0, Plain(("reply",)))
        stage.refs[1].cast(Plain(("crash",)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.call, 0, Plain(("later",)), 1.0)
        await trio.sleep(2)
        await stage.call(0, Plain(("reply", "envelope")))


async def forwarded_messages(stage: Stage) -> None:
    await alone(stage)
    await stage.call(0, Plain((("forward", 1),)))
    stage.refs[1].cast(Plain(("envelope",)))
    await stage.settle()
    for kind in (Plain, Slow):
        inner = kind(("envelope", ("return", "inner")))
        await stage.call(0, Slow((("call", 1, inner, 5.0), "envelope")))


async def the_stash(stage: Stage) -> None:
    await alone(stage)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stage.call, 0, Plain(("stash", ("return", "after the stash"))))
        await stage.settle()
        stage.refs[0].cast(Plain(("stash", "envelope")))
        await stage.settle()
        await stage.call(0, Plain((("return", "meanwhile"),)))
        await stage.call(0, Plain(("unstash",)))
        await stage.settle()
        stage.refs[0].cast(Plain(("unstash",)))
        await stage.settle()
        stage.refs[0].cast(Plain(("unstash",)))


async def deadlines_and_cycles(stage: Stage) -> None:
    await alone(stage)
    deep = Slow((("call", 2, Slow((("sleep", 100),)), 50.0), "envelope"))
    await stage.call(0, Slow((("call", 1, deep, 30.0),)), 2.0)
    await trio.sleep(1)
    await stage.call(0, Slow((("call through", 0, Plain()),)))
    await stage.call(1, Slow((("call through", 2, Slow((("call", 1, Plain(), 5.0),))),)))
    await stage.call(2, Slow((("sleep", 3), ("call", 1, Plain(), 5.0))), 1.0)
    await trio.sleep(5)


async def restarts_keep_the_queue(stage: Stage) -> None:
    await supervised(stage, one_for_one)
    for number in range(4):
        await stage.call(0, Plain(("crash",)))
        stage.refs[0].cast(Plain(("envelope", ("write", number))))
        stage.refs[0].cast(Plain(("crash",)))
        await stage.call(0, Plain((("return", number), "envelope")))
        await stage.settle()


async def group_restarts(stage: Stage) -> None:
    for group in (one_for_all, rest_for_one):
        top = await supervised(stage, group)
        await stage.call(1, Plain(("crash",)))
        await stage.settle()
        await stage.call(0, Plain(("envelope",)))
        await stage.attempt("count", top.call(CountChildren()))
        await stage.attempt("which", top.call(WhichChildren()))
        await stage.attempt("stop", top.call(StopChild("child-2")))
        await stage.attempt("again", top.call(StartChild(Child(Scripted, stage, id="child-2"))))
        await stage.attempt("restart", top.call(RestartChild("child-2")))
        await stage.attempt("stop it", top.stop())
        stage.refs.clear()


async def backoff_and_jitter(stage: Stage) -> None:
    await supervised(stage, one_for_one, backoff=Backoff(1.0, 8.0))
    for _ in range(3):
        await stage.call(0, Plain(("crash",)))
        stage.refs[0].cast(Plain(("envelope",)))
        await stage.call(0, Plain((("return", "back"),)), None)


async def giving_up(stage: Stage) -> None:
    top = await stage.system.start(
        one_for_one(Child(Scripted, stage, id="a"), max_restarts=1, restart="temporary")
    )
    stage.refs += [each.ref for each in await top.call(WhichChildren())]
    for _ in range(3):
        await stage.call(0, Plain(("crash",)))
        await stage.settle()
    stage.write("driver", plain(await top.wait()))


async def stops(stage: Stage) -> None:
    await alone(stage)
    await stage.call(0, Plain(("stop", ("return", "last words"))))
    await stage.settle()
    await stage.call(0, Plain())
    stage.refs[1].cast(Slow((("sleep", 2),)))
    await stage.attempt("stop", stage.refs[1].stop())
    await stage.attempt("kill", stage.refs[2].stop(Killed()))
    await stage.attempt("kill", stage.refs[2].stop(Killed()))


async def monitors_and_timers(stage: Stage) -> None:
    await alone(stage)
    await stage.call(0, Plain((("monitor", 1), ("monitor", 2), ("after", 2.0, "timer"))))
    await stage.call(0, Plain((("idle", 5.0),)))
    await stage.call(1, Plain(("crash",)))
    await stage.settle()
    await stage.attempt("stop", stage.refs[2].stop())
    await trio.sleep(20)
    await stage.call(0, Plain((("monitor", 2), "envelope")))
    await stage.settle()


async def side_tasks(stage: Stage) -> None:
    await supervised(stage, one_for_one)
    await stage.call(0, Plain((("side", 1.0, 1, Plain(("envelope",))), "envelope")))
    await trio.sleep(2)
    await stage.call(2, Plain((("side crash", 1.0),)))
    await stage.call(2, Slow((("sleep", 5),)), 10.0)
    await stage.call(2, Plain(("envelope",)))


async def introspection(stage: Stage) -> None:
    await alone(stage)
    ref = stage.refs[0]
    await record(ref, 3)
    for number in range(5):
        await stage.call(0, Plain((("return", number),)))
    stage.write("driver", plain(await last_messages(ref)), plain(await statistics(ref)))
    await suspend(ref)
    await stage.call(0, Plain(), 1.0)
    ref.cast(Plain(("envelope",)))
    await stage.attempt("replace", replace_state(ref, lambda state: {**state, "kept": []}))
    stage.write("driver", sorted(await get_state(ref)))
    await resume(ref)
    await stage.call(0, Plain(("envelope",)))


async def chains_of_casts(stage: Stage) -> None:
    await alone(stage, 5)
    message = Plain(("envelope",))
    for depth in range(6):
        message = Plain(
            ("envelope", ("cast", 2 * depth, message), ("cast", 2 * depth + 1, message))
        )
    await stage.call(4, message)
    await stage.settle()
    stage.refs[0].cast(message)
    await stage.settle()


async def events_that_rise(stage: Stage) -> None:
    await supervised(stage, one_for_one)
    await stage.call(0, Plain((("notify", "nobody hears it"), ("return", "told"))))


SCENARIOS: list[Scenario] = [
    answers_and_refusals,
    what_is_no_call_and_what_is_not_handled,
    order_of_casts_sends_and_calls,
    deferred_answers,
    forwarded_messages,
    the_stash,
    deadlines_and_cycles,
    restarts_keep_the_queue,
    group_restarts,
    backoff_and_jitter,
    giving_up,
    stops,
    monitors_and_timers,
    side_tasks,
    introspection,
    chains_of_casts,
    events_that_rise,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda each: each.__name__)
def test_K5_nobody_can_tell_who_ran_the_turn(scenario: Scenario) -> None:
    assert same(scenario) > 5


@pytest.mark.parametrize(
    "scenario", [answers_and_refusals, deferred_answers, the_stash, restarts_keep_the_queue]
)
def test_K5_nor_behind_middleware(scenario: Scenario) -> None:
    assert same(scenario, behind_middleware=True) > 5


def test_a_difference_would_be_seen() -> None:
    """The check itself: who runs the turn is written down, and the records differ."""

    async def tells(stage: Stage) -> None:
        await alone(stage)
        turns = stage.system.scheduler.budget
        await stage.call(0, Plain())
        stage.write("driver", turns - stage.system.scheduler.budget)

    with pytest.raises(AssertionError):
        same(tells)


def test_the_same_way_twice_gives_the_same_record() -> None:
    for scenario in SCENARIOS:
        assert play(scenario, dispatcher_only=False) == play(scenario, dispatcher_only=False)


# -- programs nobody has thought of
#
# Each handler sends at most one message on, as the last thing it does, and moments of the driver
# are none of the actors': what happens at once in two places may happen in any order.

indexes = st.integers(0, 2)
moments = st.sampled_from([0.5, 1.0, 3.0])
driver_moments = st.sampled_from([0.3137, 0.7771, 2.9173])
timeouts = st.sampled_from([1.0137, 5.0, 20.0171])
local = st.sampled_from(
    ["envelope", "refuse", "crash", "stop", "later", "now", "reply", "stash", "unstash"]
) | st.tuples(st.just("return"), st.integers(0, 9))
sleep = st.tuples(st.just("sleep"), moments)


def steps(own: Any, last: Any) -> Any:
    return st.builds(lambda some, one: (*some, *one), st.lists(own, max_size=3), last)


def nested(messages: Any) -> Any:
    last = st.one_of(
        st.tuples(st.just("cast"), indexes, messages),
        st.tuples(st.just("forward"), indexes),
        st.tuples(st.just("after"), moments, messages),
        st.tuples(st.just("side"), moments, indexes, messages),
        st.tuples(st.just("side crash"), moments),
    )
    slow_last = last | st.one_of(
        st.tuples(st.just("call"), indexes, messages, timeouts),
        st.tuples(st.just("call through"), indexes, messages),
        st.tuples(st.just("send"), indexes, messages),
    )
    return st.builds(Plain, steps(local, st.tuples(last))) | st.builds(
        Slow, steps(local | sleep, st.tuples(slow_last))
    )


messages = st.recursive(
    st.builds(Plain, steps(local, st.just(()))) | st.builds(Slow, steps(local, st.just(()))),
    nested,
    max_leaves=6,
)
operations = st.one_of(
    st.tuples(st.just("call"), indexes, messages, timeouts),
    st.tuples(st.just("cast"), indexes, messages),
    st.tuples(st.just("suspend"), indexes),
    st.tuples(st.just("resume"), indexes),
    st.tuples(st.just("stop"), indexes),
    st.tuples(st.just("sleep"), driver_moments),
)


@settings(max_examples=int(os.environ.get("UNDERSTUDY_TORTURE", "0")) * 1000 or 150, deadline=None)
@given(st.lists(operations, max_size=8), st.sampled_from(["alone", "one_for_one", "one_for_all"]))
def test_K5_nor_in_any_other_program(program: list[Any], tree: str) -> None:
    async def scenario(stage: Stage) -> None:
        if tree == "alone":
            await alone(stage)
        else:
            await supervised(stage, one_for_one if tree == "one_for_one" else one_for_all)
        for operation in program:
            match operation:
                case ("call", index, message, timeout):
                    await stage.call(index, message, timeout)
                case ("cast", index, message):
                    stage.refs[index].cast(message)
                case ("stop", index):
                    await stage.attempt("driver", stage.refs[index].stop())
                case ("sleep", seconds):
                    await trio.sleep(seconds)
                case ("suspend", index):
                    await stage.attempt("driver", suspend(stage.refs[index], timeout=1.0173))
                case ("resume", index):
                    await stage.attempt("driver", resume(stage.refs[index], timeout=1.0173))
            await stage.settle()
        await trio.sleep(30)

    same(scenario)
