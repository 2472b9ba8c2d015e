"""Many actors, storms of crashes, cancellation at every await, memory that stays flat.

``UNDERSTUDY_TORTURE=n`` plays n times as many rounds; 1 is a coffee, 20 is a night.
"""

from __future__ import annotations

import gc
import logging
import math
import os
import sys
from random import Random
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorError,
    Call,
    Exit,
    Later,
    Monitor,
    Ref,
    Refusal,
    System,
    handles,
    open_system,
)
from actors.introspection import get_state, resume, suspend
from actors.place import Place
from actors.testing import VirtualClock, leftovers, no_leaks, tasks, without_caller_turns
from supervisors import (
    Backoff,
    Child,
    ChildRefused,
    CountChildren,
    DynamicSupervisor,
    RestartChild,
    RestartLimitExceeded,
    StartChild,
    StopChild,
    Supervisor,
    WhichChildren,
    one_for_all,
    one_for_one,
    rest_for_one,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

TORTURE = int(os.environ.get("UNDERSTUDY_TORTURE", "0"))


def rounds(usual: int, at_length: int) -> range:
    """How often, usually and under torture."""
    return range(at_length * TORTURE if TORTURE else usual)


class No(Refusal):
    pass


class Boom(Exception):
    pass


@attrs.frozen
class Do(Call[Any]):
    """What to do, and with which other actor; in a plain turn."""

    what: str
    other: Ref[Any] | None = None


@attrs.frozen
class DoSlowly(Call[Any]):
    """The same in the actor's own task, after so many seconds."""

    what: str
    seconds: float = 0.1
    other: Ref[Any] | None = None


@attrs.frozen
class Tell:
    what: str


class Worker(Actor):
    """Does as it is told, however bad that is."""

    def __init__(self) -> None:
        self.later_ones: list[Later[Any]] = []

    @handles
    def plain(self, message: Do) -> Any:
        return self.do(message.what, message.other)

    @handles
    async def slowly(self, message: DoSlowly) -> Any:
        await trio.sleep(message.seconds)
        if message.what == "ask" and message.other is not None:
            return await message.other.call(Do("answer"), timeout=2.0)
        return self.do(message.what, message.other)

    @handles
    def tell(self, message: Tell) -> None:
        self.do(message.what, None)

    def do(self, what: str, other: Ref[Any] | None) -> Any:
        match what:
            case "answer":
                return self.ref.incarnation
            case "refuse":
                raise No
            case "crash":
                raise Boom
            case "stop":
                self.stop()
            case "defer":
                self.later_ones.append(self.later())
                return self.later_ones[-1]
            case "reply":
                while self.later_ones:
                    self.later_ones.pop().reply("later")
            case "side":
                self.start_soon(trio.sleep, 0.5)
            case "side crash":
                self.start_soon(self.crash_soon)
            case "after":
                self.after(0.2, Tell("reply"))
            case "monitor" if other is not None:
                self.monitor(other)
            case "stash" if not self.later_ones:
                self.stash()
            case "unstash":
                self.unstash()
            case "forward" if other is not None and other != self.ref:
                other.forward(attrs.evolve(self.envelope, message=Do("answer")))
        return None

    async def crash_soon(self) -> None:
        await trio.sleep(0.1)
        raise Boom

    @handles
    def rest(self, message: object) -> None: ...


class SlowWorker(Worker):
    """Takes its time to start and to stop, and sometimes fails to."""

    async def on_start(self) -> None:
        await trio.sleep(0.05)
        if self.ref.incarnation > 1 and self.system.random.random() < 0.2:
            raise Boom

    async def on_stop(self, exit: Exit) -> None:
        await trio.sleep(0.05)
        if self.system.random.random() < 0.1:
            raise Boom


def places(system: System) -> Iterator[Place]:
    """Every place of the tree."""

    def below(place: Place) -> Iterator[Place]:
        yield place
        tree = getattr(place.actor, "_tree", None)
        for entry in list(tree.entries.values()) if tree is not None else ():
            yield from below(entry.place)

    for place in list(system.root.places):
        yield from below(place)


@pytest.fixture
def no_reports() -> Iterator[None]:
    """Reports are kept by pytest, and whatever they are about with them."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


# -- ten thousand


def test_a_tree_of_ten_thousand_supervised_actors() -> None:
    groups, size = (100, 100) if not TORTURE else (300 * TORTURE, 100)

    class Group(Supervisor):
        max_restarts = 1000

        def children(self) -> list[Child[Any]]:
            return [Child(Worker, id=f"worker-{number}") for number in range(size)]

    class Top(Supervisor):
        def children(self) -> list[Child[Any]]:
            return [Child(Group, id=f"group-{number}") for number in range(groups)]

    async def main() -> None:
        async with open_system(Top, watchdog=None) as system:
            before = len(tasks())
            refs = [place.ref for place in places(system) if type(place.actor) is Worker]
            assert len(refs) == groups * size
            for ref in refs:
                assert await ref.call(Do("answer")) == 1
            for ref in refs[::10]:
                ref.cast(Tell("crash"))
            await wait_all_tasks_blocked()
            for number, ref in enumerate(refs):
                assert await ref.call(Do("answer")) == (1 if number % 10 else 2)
            # None of them has ever awaited: there is no task but the system's own.
            assert len(tasks()) == before
            async with trio.open_nursery() as nursery:
                for ref in refs[::100]:
                    nursery.start_soon(ref.call, DoSlowly("answer"))
            assert len(tasks()) == before + len(refs[::100])
        assert leftovers(system) == []
        assert {ref.state for ref in refs} == {"gone"}

    VirtualClock().run(main)


# -- crash storms


def grown(random: Random, depth: int = 0, id: str = "0") -> Child[Any]:
    """A tree of any strategies, restart types, backoffs and bounds."""
    if depth == 3 or (depth and random.random() < 0.4):
        return Child(
            random.choice([Worker, SlowWorker]),
            id=id,
            restart=random.choice(["permanent", "permanent", "transient", "temporary"]),
            shutdown=random.choice([0.01, 1.0, "kill"]),
            backoff=random.choice([None, None, Backoff(0.1, 1.0), Backoff(0.1, 1.0, limit=3)]),
            mailbox=random.choice([1, 5, math.inf]),
        )
    if random.random() < 0.2:
        return Child(DynamicSupervisor, id=id)
    group = random.choice([one_for_one, one_for_all, rest_for_one])
    children = [
        grown(random, depth + 1, f"{id}.{number}") for number in range(random.randint(1, 4))
    ]
    return group(
        *children,
        id=id,
        max_restarts=random.choice([1, 3, 100]),
        within=random.choice([0.5, 5.0]),
        restart=random.choice(["permanent", "transient"]),
    )


PLAIN = [
    *("answer", "answer", "answer", "refuse", "crash", "stop", "defer", "reply", "side"),
    *("side crash", "after", "monitor", "stash", "unstash", "forward"),
]
SLOW = ["answer", "ask", "ask", "refuse", "crash", "stop", "defer", "reply"]


class Storm:
    """Callers that call and wreck for some seconds, and count what came of it."""

    def __init__(self, system: System, random: Random, until: float) -> None:
        self.system = system
        self.random = random
        self.until = until
        self.answered = 0
        self.failed = 0

    def anyone(self) -> Ref[Any]:
        return self.random.choice(list(places(self.system))).ref

    async def caller(self) -> None:
        while trio.current_time() < self.until:
            await trio.sleep(self.random.random() * 0.2)
            try:
                await self.something(self.anyone())
            except (Refusal, ActorError):
                self.failed += 1
            else:
                self.answered += 1

    async def something(self, ref: Ref[Any]) -> None:
        random, kind = self.random, self.random.random()
        timeout = random.choice([0.3, 2.0, 2.0])
        if ref._place.routes.messages.get(StartChild):
            await self.administration(ref, timeout)
        elif kind < 0.5:
            await ref.call(Do(random.choice(PLAIN), self.anyone()), timeout)
        elif kind < 0.8:
            message = DoSlowly(random.choice(SLOW), random.random() * 0.5, self.anyone())
            with trio.move_on_after(random.choice([0.1, 5.0])):
                await ref.call(message, timeout)
        elif kind < 0.9:
            ref.cast(Tell(random.choice(PLAIN)))
        elif kind < 0.93:
            with trio.move_on_after(0.5):
                await ref.send(Tell(random.choice(PLAIN)))
        elif kind < 0.96:
            await suspend(ref, timeout=1.0)
            await get_state(ref, timeout=1.0)
            await resume(ref, timeout=1.0)
        else:
            await ref.stop(timeout=3.0)

    async def administration(self, ref: Ref[Any], timeout: float) -> None:
        random = self.random
        message = random.choice([WhichChildren(), CountChildren(), None, None])
        if message is None:
            children = await ref.call(WhichChildren(), timeout)
            spec: Any = Child(Worker, restart=random.choice(["temporary", "transient"]))
            message = StartChild(spec)
            if children and random.random() < 0.7:
                info = random.choice(children)
                key = info.ref if isinstance(ref._place.actor, DynamicSupervisor) else info.id
                message = random.choice([StopChild(key), RestartChild(key)])
        await ref.call(message, timeout)


async def storm(seed: int, seconds: float) -> str:
    """One storm; returns how it ended."""
    random = Random(seed)
    end = "healthy"
    refs: set[Ref[Any]] = set()
    try:
        async with open_system(grown(random), seed=seed, watchdog=None) as system:
            if seed % 3 == 0:
                without_caller_turns(system)
            storm = Storm(system, random, seconds)
            callers = 0
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    callers += 1
                    nursery.start_soon(storm.caller)
            assert storm.answered + storm.failed > callers
            refs = {place.ref for place in places(system)}
            # The storm is over: whoever is to come back comes back, and answers.
            await trio.sleep(60)
            await wait_all_tasks_blocked()
            for place in places(system):
                assert place.state in ("up", "stopped"), place
                if place.state == "up" and isinstance(place.actor, Worker):
                    await resume(place.ref)
                    assert await place.ref.call(Do("answer"), timeout=60) == place.incarnation
            assert len(system.scheduler.timers) == 0, system.scheduler.timers._heap
            refs |= {place.ref for place in places(system)}
    except RestartLimitExceeded:
        end = "given up"
    assert {ref.state for ref in refs} <= {"gone"}
    assert leftovers(system) == []
    return end


@pytest.mark.parametrize("seed", rounds(24, 200))
def test_a_storm_of_crashes_is_weathered_or_given_up(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every call is answered or fails with a documented error; nothing is left behind."""
    monkeypatch.setattr("trio._core._run._r", Random(seed))

    async def main() -> None:
        before = len(tasks())
        end = await storm(seed, 10.0)
        await wait_all_tasks_blocked()
        assert len(tasks()) == before
        assert end in ("healthy", "given up")

    clock = VirtualClock()
    clock.run(main)
    assert clock.time < 10_000


# -- cancellation at every await


class CancelAt(trio.abc.Instrument):
    """Cancels a scope before the n-th step of any task, or of one of them."""

    def __init__(self, scope: trio.CancelScope, number: int, name: str | None = None) -> None:
        self.scope = scope
        self.left = number
        self.name = name

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.name is None or self.name in task.name:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


async def busy_life(system: System) -> None:
    """A little of everything that awaits."""
    top = await system.start(
        one_for_all(
            Child(SlowWorker, name="slow"),
            Child(Worker, name="quick", mailbox=2),
            restart="temporary",
            max_restarts=100,
        )
    )
    slow, quick = system.whereis("slow"), system.whereis("quick")
    assert slow is not None and quick is not None
    await quick.call(Do("answer"))
    await slow.call(DoSlowly("ask", other=quick))
    added = await top.call(StartChild(Child(SlowWorker, id="added")))
    quick.monitor(added)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(quick.call, DoSlowly("answer"))
        nursery.start_soon(quick.call, Do("answer"))
        for _ in range(4):
            nursery.start_soon(quick.send, Tell("after"))
        nursery.start_soon(slow.wait)
        await trio.sleep(0.05)
        slow.cast(Tell("crash"))
    for what in ("defer", "crash", "stop", "side crash"):
        try:
            await quick.call(Do(what), timeout=0.2)
        except (Refusal, ActorError):
            pass
    for message in (StopChild("added"), RestartChild("added"), CountChildren()):
        try:
            await top.call(message, timeout=5.0)  # type: ignore[arg-type]
        except (ChildRefused, ActorError):
            pass
    await suspend(added, timeout=1.0) if added.alive else None
    alone = await system.start(SlowWorker, name="alone")
    await alone.call(Do("side"))
    await alone.stop()
    await top.stop()


def test_cancelled_at_any_await_everything_stops_and_nothing_is_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Once for each step of any task: before the first, the second, … until it gets through."""

    async def cancelled_at(number: int) -> bool:
        before = set(tasks())
        with trio.CancelScope() as scope:
            instrument = CancelAt(scope, number)
            trio.lowlevel.add_instrument(instrument)
            try:
                async with open_system(seed=number, watchdog=None) as system:
                    await busy_life(system)
            finally:
                trio.lowlevel.remove_instrument(instrument)
                assert leftovers(system) == [], number
                assert system.scheduler.closed
        await wait_all_tasks_blocked()
        assert set(tasks()) == before, number
        return scope.cancelled_caught

    number = through = 0
    while through < 3:
        number += 1
        monkeypatch.setattr("trio._core._run._r", Random(number))
        clock = VirtualClock()
        caught = clock.run(cancelled_at, number)
        assert clock.time < 300, number
        through = 0 if caught else through + 1
    assert number > 100


def test_a_caller_cancelled_at_any_await_leaves_the_others_unharmed() -> None:
    """The system goes on: everybody answers, and there is no slot, timer or sender left over."""

    async def client(system: System) -> None:
        await busy_life(system)

    async def cancelled_at(number: int) -> bool:
        async with open_system(seed=number, watchdog=None) as system:
            steady = await system.start(Worker)
            with trio.CancelScope() as scope:
                instrument = CancelAt(scope, number, "client")
                async with trio.open_nursery() as nursery:
                    trio.lowlevel.add_instrument(instrument)
                    nursery.start_soon(client, system, name="client")
                trio.lowlevel.remove_instrument(instrument)
            if scope.cancelled_caught:
                trio.lowlevel.remove_instrument(instrument)
            await trio.sleep(60)
            assert await steady.call(Do("answer")) == 1
            for place in places(system):
                assert place.state in ("up", "stopped"), (number, place)
                if place.mailbox is not None:
                    assert not place.mailbox.senders, (number, place)
                if place.state == "up" and isinstance(place.actor, Worker):
                    await resume(place.ref)
                    assert await place.ref.call(Do("answer")) == place.incarnation
                assert not place.turn, (number, place)
                for watcher in place.watchers or ():
                    assert isinstance(watcher, Monitor), (number, place)
            assert len(system.scheduler.timers) == 0, (number, system.scheduler.timers._heap)
        assert leftovers(system) == [], number
        return scope.cancelled_caught

    number = through = 0
    while through < 3:
        number += 1
        caught = VirtualClock().run(cancelled_at, number)
        through = 0 if caught else through + 1
    assert number > 20


async def test_nothing_of_a_storm_is_alive_once_its_system_is_closed(no_reports: None) -> None:
    async with no_leaks():
        await storm(1, 3.0)
        gc.collect()


# -- memory


def test_memory_stays_flat_over_two_hundred_thousand_messages() -> None:
    count = 10_000_000 * TORTURE or 200_000

    async def burst(ref: Ref[Any], messages: int) -> None:
        for number in range(messages // 10):
            for _ in range(5):
                ref.cast(Tell("nothing"))
            await ref.call(Do("nothing"))
            await ref.call(Do("nothing"), timeout=60.0)
            await ref.call(DoSlowly("nothing", seconds=0))
            try:
                await ref.call(Do("refuse"))
            except No:
                pass
            ref.cast(Tell("reply"))
            if number % 1000 == 0:
                with trio.move_on_after(0.01):
                    await ref.call(Do("defer"))

    async def main() -> None:
        async with open_system(watchdog=None) as system:
            ref = await system.start(Worker)
            await burst(ref, count // 10)
            gc.collect()
            before = sys.getallocatedblocks()
            await burst(ref, count)
            gc.collect()
            grown = sys.getallocatedblocks() - before
            assert grown < 2000, grown
            assert len(system.scheduler.timers._heap) < 2000

    VirtualClock().run(main)


def test_restarts_and_children_that_come_and_go_leave_memory_flat(no_reports: None) -> None:
    count = 100_000 * TORTURE or 2000

    async def burst(system: System, top: Ref[Any], static: Ref[Any], number: int) -> None:
        for _ in range(number):
            ref = await top.call(StartChild(Child(Worker, restart="temporary")))
            system.groups.join("all", ref)
            ref.monitor(static)
            await ref.call(DoSlowly("answer", seconds=0))
            ref.cast(Tell("crash"))
            static.cast(Tell("crash"))
            # Long enough for the restarts to leave the window.
            await trio.sleep(1)

    async def main() -> None:
        async with open_system(watchdog=None) as system:
            top = await system.start(DynamicSupervisor, max_restarts=10**9)
            static = await top.call(StartChild(Child(Worker)))
            await burst(system, top, static, count // 10 + 50)
            gc.collect()
            before = sys.getallocatedblocks()
            await burst(system, top, static, count)
            gc.collect()
            grown = sys.getallocatedblocks() - before
            assert grown < 2000, grown
            assert static.incarnation > count

    VirtualClock().run(main)
