"""Many actors, storms of crashes, cancellation at every await, memory that stays flat.

The short versions run always; ``--torture`` runs the long ones.
"""

from __future__ import annotations

import gc
import logging
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from functools import partial
from random import Random
from typing import Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    CallTimeout,
    Exit,
    MailboxFull,
    NoSuchActor,
    Ref,
    Refusal,
    StartFailed,
    System,
    handles,
    open_system,
)
from actors.testing import VirtualClock, leftovers, no_leaks, task_count, without_caller_turns
from supervisors import (
    Backoff,
    Child,
    DynamicSupervisor,
    RestartLimitExceeded,
    StartChild,
    Supervisor,
    WhichChildren,
    one_for_all,
    one_for_one,
    rest_for_one,
)
from supervisors.specs import with_changes

GROUPS = (one_for_one, one_for_all, rest_for_one)


@pytest.fixture
def long(request: pytest.FixtureRequest) -> bool:
    """Whether to run the long versions."""
    return bool(request.config.getoption("--torture"))


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of crashes are expected here, and need no words."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@attrs.frozen
class Ask(Call[int]):
    """Answered with one more."""

    number: int


@attrs.frozen
class Slow(Call[int]):
    """Answered after a while, in the actor's own task."""

    number: int


@attrs.frozen
class Crash(Call[int]):
    """Not answered, but by a crash."""


@attrs.frozen
class Refuse(Call[int]):
    """Refused."""


@attrs.frozen
class Defer(Call[int]):
    """Answered by a side task."""

    number: int


@attrs.frozen
class Note:
    """A one-way message."""

    number: int


class No(Refusal):
    """The answer is no."""


class Worker(Actor):
    """Takes part."""

    def __init__(self) -> None:
        self.noted = 0

    @handles
    def ask(self, message: Ask) -> int:
        return message.number + 1

    @handles
    async def slow(self, message: Slow) -> int:
        await trio.sleep(0.01)
        return message.number + 1

    @handles
    def crash(self, message: Crash) -> int:
        raise ValueError("on purpose")

    @handles
    def refuse(self, message: Refuse) -> int:
        raise No("no")

    @handles
    def defer(self, message: Defer) -> Any:
        later = self.later()

        async def answer() -> None:
            await trio.sleep(0.02)
            later.reply(message.number + 1)

        self.start_soon(answer)
        return later

    @handles
    def note(self, message: Note) -> None:
        self.noted += 1


# -- ten thousand


async def test_ten_thousand_supervised_actors_leave_nothing(long: bool) -> None:
    size = 200 if long else 100
    tasks = task_count()
    async with no_leaks():
        await _start_call_and_stop(size)
    assert task_count() == tasks


async def _start_call_and_stop(size: int) -> None:
    class Hundred(Supervisor):
        def children(self) -> list[Child[Any]]:
            return [Child(Worker, id=str(number)) for number in range(size)]

    tree = one_for_one(*[Child(Hundred, id=str(number)) for number in range(size)])
    async with open_system(tree, watchdog=None) as system:
        (root,) = system.root.places
        refs = []
        for house in await root.ref.call(WhichChildren()):
            refs += [info.ref for info in await house.ref.call(WhichChildren())]
        assert len(refs) == size * size
        assert [await ref.call(Ask(number)) for number, ref in enumerate(refs)] == [
            *range(1, size * size + 1)
        ]
        # Nobody has awaited: nobody has a task.
        assert task_count() < 20
        for ref in refs[::100]:
            assert await ref.call(Slow(1)) == 2
    assert leftovers(system) == []


async def test_ten_thousand_dynamic_actors_leave_nothing(long: bool) -> None:
    class Patient(DynamicSupervisor):
        max_restarts = 10**6

    async with no_leaks():
        async with open_system(watchdog=None) as system:
            supervisor = await system.start(Patient)
            refs = [
                await supervisor.call(StartChild(Child(Worker)))
                for _ in range(40_000 if long else 10_000)
            ]
            for number, ref in enumerate(refs[::50]):
                assert await ref.call(Slow(number)) == number + 1
            for ref in refs[:500]:
                await ref.stop()
            await wait_all_tasks_blocked()
            assert all(ref.incarnation == (2 if at < 500 else 1) for at, ref in enumerate(refs))
        assert leftovers(system) == []
        del system, supervisor, refs, ref


# -- storms


def grown(random: Random, depth: int, refs: list[str]) -> Child[Any]:
    """A tree that a random source has made up."""
    children: list[Child[Any]] = []
    for _ in range(random.randint(1, 4)):
        if depth and random.random() < 0.6:
            children.append(grown(random, depth - 1, refs))
            continue
        name = f"worker {len(refs)}"
        refs.append(name)
        paced = Backoff(0.01, 0.1) if random.random() < 0.3 else None
        children.append(
            Child(
                Worker, name=name, restart=random.choice(["permanent", "transient"]), backoff=paced
            )
        )
    numbered = [with_changes(child, id=str(number)) for number, child in enumerate(children)]
    return random.choice(GROUPS)(*numbered, max_restarts=random.choice([1, 9, 99]), within=1.0)


DOCUMENTED = (ActorDied, NoSuchActor, CallTimeout, MailboxFull, No)


async def storm(seed: int, calls: int, *, dispatched: bool) -> Counter[str]:
    """Callers call whoever there is, and now and then to crash it; what came of it, counted."""
    random = Random(seed)
    names: list[str] = []
    tree = grown(random, 3, names)
    came: Counter[str] = Counter()
    asked = 0

    async def caller(system: System, seed: int) -> None:
        nonlocal asked
        random = Random(seed)
        for number in range(calls):
            ref = system.whereis(random.choice(names))
            if ref is None:
                await trio.sleep(0.01)
                continue
            kind: Any = random.choices(
                [Ask(number), Slow(number), Defer(number), Refuse(), Crash()], [8, 4, 2, 1, 1]
            )[0]
            if random.random() < 0.2:
                ref.cast(Note(number))
            asked += 1
            # What becomes of a cancelled call is not counted: nobody has waited for it.
            try:
                answer = await ref.call(kind, timeout=random.choice([0.005, 5.0, None]))
            except DOCUMENTED as error:
                came[type(error).__name__] += 1
            except trio.Cancelled:
                came["cancelled"] += 1
                raise
            else:
                assert answer == number + 1
                came["answered"] += 1
            if random.random() < 0.3:
                await trio.sleep(random.random() * 0.05)

    system: System | None = None
    try:
        async with open_system(tree, seed=seed, watchdog=None) as system:
            if dispatched:
                without_caller_turns(system)
            async with trio.open_nursery() as nursery:
                for number in range(8):
                    nursery.start_soon(caller, system, seed + number)
            came["healthy"] += 1
            await trio.sleep(1)
            await wait_all_tasks_blocked()
            await _is_healthy(system)
    except RestartLimitExceeded:
        came["gave up"] += 1
    assert system is not None
    assert leftovers(system) == []
    assert sum(came.values()) == asked + 1, came
    return came


async def _is_healthy(system: System) -> None:
    """Every supervisor serves, every worker answers or has come to an orderly end."""
    (root,) = system.root.places
    todo: list[Ref[Any]] = [root.ref]
    while todo:
        for info in await todo.pop().call(WhichChildren()):
            assert info.state == "up", info
            if info.kind == "supervisor":
                todo.append(info.ref)
            else:
                assert await info.ref.call(Ask(1)) == 2


@pytest.mark.parametrize("dispatched", [False, True], ids=["callers", "dispatcher"])
def test_in_a_storm_of_crashes_every_call_comes_to_something(dispatched: bool, long: bool) -> None:
    total: Counter[str] = Counter()
    for seed in range(200 if long else 12):

        async def main(seed: int = seed) -> None:
            total.update(await storm(seed, 60, dispatched=dispatched))

        VirtualClock().run(main)
    assert total["healthy"] and total["gave up"] and total["answered"] > 1000
    assert total["ActorDied"] and total["No"] and total["CallTimeout"]


async def test_a_storm_leaves_nothing_behind() -> None:
    async with no_leaks():
        for seed in range(3):
            await storm(seed, 30, dispatched=False)


# -- cancellation at every await


class Cancelling(trio.abc.Instrument):
    """Cancels a scope when a task is about to take its n-th step."""

    def __init__(self, task: trio.lowlevel.Task, scope: trio.CancelScope, step: int) -> None:
        self.task, self.scope, self.left = task, scope, step

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


class Orderly(Worker):
    """Writes down when it comes and goes."""

    def __init__(self, log: list[str], name: str) -> None:
        super().__init__()
        self.log, self.name = log, name

    async def on_start(self) -> None:
        await trio.sleep(0.1)
        self.log.append(f"+{self.name}")

    async def on_stop(self, exit: Exit) -> None:
        await trio.sleep(0.1)
        self.log.append(f"-{self.name}")


async def scenario(log: list[str]) -> None:
    """Something of everything that awaits."""
    tree = rest_for_one(
        *[Child(Orderly, log, name, id=name, name=name) for name in "ab"], max_restarts=5
    )
    async with open_system(tree, seed=1, watchdog=None) as system:
        a, b = system.whereis("a"), system.whereis("b")
        assert a is not None and b is not None
        assert await a.call(Ask(1)) == 2
        assert await a.call(Slow(1)) == 2
        assert await b.call(Defer(1)) == 2
        with pytest.raises(ActorDied):
            await b.call(Crash())
        assert await b.call(Slow(2)) == 3
        await b.send(Note(1))
        single = await system.start(Orderly, log, "c")
        single.cast(Note(1))
        await single.stop()
        child = await system.start(Child(Orderly, log, "d"))
        await b.stop()
        assert await b.call(Slow(3)) == 4
        assert await child.call(Slow(4)) == 5
        with pytest.raises(StartFailed):
            await system.start(Child(partial(Broken)))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(child.call, Slow(1))
            nursery.start_soon(a.call, Defer(1))
        (root,) = [place.ref for place in system.root.places if place.ref.path != "/supervised"]
        assert len(await root.call(WhichChildren())) == 2


class Broken(Actor):
    """Does not start."""

    async def on_start(self) -> None:
        await trio.sleep(0.1)
        raise ValueError("on purpose")


async def cancelled_at(step: int, log: list[str]) -> bool:
    """Run the scenario, cancelled at the body's n-th step; whether it came that far."""
    systems: list[System] = []
    opened = System.opened

    def remembered(self: System) -> Any:
        systems.append(self)
        return opened(self)

    with pytest.MonkeyPatch.context() as patch, trio.CancelScope() as scope:
        patch.setattr(System, "opened", remembered)
        instrument = Cancelling(trio.lowlevel.current_task(), scope, step)
        trio.lowlevel.add_instrument(instrument)
        try:
            await scenario(log)
        finally:
            trio.lowlevel.remove_instrument(instrument)
    for system in systems:
        assert leftovers(system) == []
    return instrument.left > 0


async def test_X1_cancelled_at_any_await_everything_stops_in_order() -> None:
    step = 0
    done = False
    cut_short = 0
    while not done:
        step += 1
        log: list[str] = []
        tasks = task_count()
        done = await cancelled_at(step, log)
        assert task_count() == tasks
        _came_and_went_in_order(log)
        cut_short += not done
    assert cut_short > 10


def _came_and_went_in_order(log: list[str]) -> None:
    """Whoever came has gone, once each time; of a and b the later one first."""
    up: list[str] = []
    for entry in log:
        sign, name = entry[0], entry[1:]
        if sign == "+":
            assert name not in up, log
            up.append(name)
        else:
            assert name in up, log
            assert name != "a" or "b" not in up, log
            up.remove(name)
    assert up == [], log


async def test_X1_and_nothing_is_left_in_memory_either() -> None:
    async with no_leaks():
        for step in range(1, 200, 7):
            await cancelled_at(step, [])


# -- memory


@pytest.mark.parametrize("dispatched", [False, True], ids=["callers", "dispatcher"])
async def test_two_hundred_thousand_messages_leave_memory_as_it_was(
    system: System, dispatched: bool, long: bool
) -> None:
    if dispatched:
        without_caller_turns(system)
    ref = await system.start(Child(Worker))

    async def messages(many: int) -> None:
        for number in range(many // 10):
            for _ in range(7):
                ref.cast(Note(number))
            await ref.call(Ask(number))
            await ref.call(Ask(number), timeout=60)
            with pytest.raises(No):
                await ref.call(Refuse())

    await messages(5_000)
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        await messages(2_000_000 if long else 20_000)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    await messages(200_000 if long else 175_000)
    assert after - before < 60_000


async def test_neither_do_calls_with_deadlines_timers_and_tasks(system: System, long: bool) -> None:
    class Patient(DynamicSupervisor):
        max_restarts = 10**9

    supervisor = await system.start(Patient)
    ref = await supervisor.call(StartChild(Child(Worker)))

    async def work(times: int) -> None:
        for number in range(times):
            await ref.call(Slow(number), timeout=1000)
            await ref.call(Defer(number))
            with trio.move_on_after(0.001):
                await ref.call(Slow(number))
            if number % 10 == 0:
                with pytest.raises(ActorDied):
                    await ref.call(Crash())
                temporary = Child(Worker, restart="temporary")
                await (await supervisor.call(StartChild(temporary))).stop()

    await work(300)
    gc.collect()
    tracemalloc.start()
    try:
        await work(100)
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        await work(10_000 if long else 400)
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(await supervisor.call(WhichChildren())) == 1
    assert after - before < 100_000
