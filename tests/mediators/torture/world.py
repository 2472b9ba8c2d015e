"""The world in which programs run: components, books that outlive them, lives that end in death."""

from __future__ import annotations

import copy
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors import Actor, ActorDied, NoSuchActor, Refusal, handles, open_system
from actors.testing import VirtualClock
from mediators import Handle, Idempotent, Mediator, MemoryJournal, Start, StepFailed, WorkflowEnded
from mediators import history as h
from mediators.execution.execution import key_of
from mediators.idempotency.keystore import KeyStore
from mediators.testing import settled
from mediators.testing.crashing import Witnessed
from supervisors import Child
from tests.mediators.torture.programs import (
    Exact,
    No,
    Plain,
    Play,
    Signal,
    UndoExact,
    UndoPlain,
    outside_world,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors import Ref
    from actors.payloads.types import Types
    from mediators.journal.protocol import Batch

TABLES = """
CREATE TABLE IF NOT EXISTS effects (
    tick INTEGER, what TEXT, owner TEXT, u INTEGER, key TEXT, UNIQUE (key, tick)
);
"""


PATIENCE = 900.0
"""Virtual seconds within which everything has come to its end."""


class Fault(Exception):
    """What components crash with."""


@attrs.define
class Books:
    """What outlives a process: the outside world, and what it was told."""

    attempts: dict[str, int] = attrs.Factory(dict)
    """How often each key has come."""
    log: list[tuple[int, str, str, int, str]] = attrs.Factory(list)
    """Effects of what has no transaction: tick, do or undo, owner, u, key."""
    answers: dict[str, int] = attrs.Factory(dict)
    """What the outside world has done, by key."""
    told: list[tuple[Any, ...]] = attrs.Factory(list)
    """What clients were told."""
    tick: int = 0
    store: bytes | None = None
    """The tables of the component with transactions."""

    def next_tick(self) -> int:
        self.tick += 1
        return self.tick

    def done(self, entry: tuple[int, str, str, int, str], answer: int) -> None:
        """The outside world has done something."""
        self.log.append(entry)
        self.answers[entry[-1]] = answer

    def fate(self, fates: list[str], key: str) -> str:
        """What becomes of this attempt."""
        n = self.attempts[key] = self.attempts.get(key, -1) + 1
        if n < len(fates):
            return fates[n]
        return "refuse" if fates[-1:] == ["refuse"] else "well"


class World:
    """One life of a process, and what it had from the one before."""

    careful = True
    """Whether the outside world looks at keys."""

    def __init__(self, books: Books, before: MemoryJournal | None) -> None:
        self.books = books
        self.intended: set[str] = set()
        self.names: dict[int, str] = {}
        self.wrong: list[str] = []
        self.types: Types | None = None
        self.die_at = 0
        self.corpse: tuple[MemoryJournal, Books, float] | None = None
        self.side = 0
        self.now: Callable[[], float] = float
        self.store: KeyStore | None = None
        self.journal = Journal(self, before)
        if before is not None:
            for row in self.journal.read().runs():
                self.names[row.number] = key_of(row.id, row.run, "")
                self.note(
                    [(row.number, 0, each.data) for each in before.read().history(row.number)]
                )

    def note(self, records: list[tuple[int, int, bytes]]) -> None:
        """These are on disk."""
        for number, _, data in records:
            for event in h.decode_turn(data).events:
                if type(event) is h.Intended:
                    self.intended.add(self.names[number] + event.path)

    def check_intent(self, key: str) -> None:
        """Nothing is sent whose intent is not on disk (W3)."""
        if key not in self.intended:
            self.wrong.append(f"{key} was sent before its intent was on disk")

    def outside(self, what: str, owner: str, u: int, key: str) -> int:
        """The world outside does something, once for each key."""
        books = self.books
        if key in books.answers and self.careful:
            return books.answers[key]
        books.done((books.next_tick(), what, owner, u, key), u * 10)
        return u * 10

    async def effect(self, owner: str, u: int, fates: list[str], key: str) -> int:
        """What an effect does."""
        self.check_intent(key)
        fate = self.books.fate(fates, key)
        if fate == "crash":
            raise Fault
        if fate == "refuse":
            raise No(u)
        if fate == "hang":
            await trio.sleep_forever()
        if fate == "slow":
            await trio.sleep(0.3)
        answer = self.outside("do", owner, u, key)
        if fate == "late":
            raise Fault
        return answer

    def snapshot(self) -> Books:
        """The books as they are."""
        books = self.books
        taken = Books(
            dict(books.attempts), list(books.log), dict(books.answers), list(books.told), books.tick
        )
        taken.store = books.store if self.store is None else self.store.connection.serialize()
        return taken

    def effects(self) -> list[tuple[int, str, str, int, str]]:
        """Every effect of this life and those before, in order."""
        books = self.snapshot()
        found = list(books.log)
        store = KeyStore(None)
        try:
            if books.store is not None:
                store.connection.deserialize(books.store)
                store.prepare(TABLES)
                found += store.connection.execute("SELECT * FROM effects").fetchall()
        finally:
            store.close()
        return sorted(found)


class Journal(Witnessed):
    """Says what is on disk, and remembers what a death leaves."""

    def __init__(self, world: World, before: MemoryJournal | None) -> None:
        super().__init__(lambda: None, before)
        self.world = world

    def _commit(self, shard: int, rows: Any, batch: Batch) -> None:
        world = self.world
        dies = self.commits + 1 == world.die_at
        if dies and not world.side:
            world.corpse = (self.copy(), world.snapshot(), world.now())
        super()._commit(shard, rows, batch)
        if dies and world.side:
            world.corpse = (self.copy(), world.snapshot(), world.now())
        for row in batch.runs:
            world.names[row.number] = key_of(row.id, row.run, "")
        world.note(batch.records)


layer = Idempotent(schema=TABLES)


class ExactComponent(Actor):
    """Its effects are in the transaction of their keys."""

    middleware = [layer]

    def __init__(self, world: World) -> None:
        self.world = world

    @handles
    def do(self, message: Exact) -> int:
        return self.write("do", message)

    @handles
    def undo(self, message: UndoExact) -> None:
        self.write("undo", message)

    def write(self, what: str, message: Any) -> int:
        key = str(self.envelope.key)
        self.world.check_intent(key)
        fate = self.world.books.fate(message.fates, key)
        if fate == "crash":
            raise Fault
        tick = self.world.books.next_tick()
        self.envelope.transaction.execute(
            "INSERT INTO effects VALUES (?, ?, ?, ?, ?)",
            (tick, what, message.owner, message.u, key),
        )
        if fate == "late":
            raise Fault
        if fate == "refuse":
            raise No(message.u)
        return int(message.u) * 10


@attrs.frozen
class Tick:
    later: Any
    message: Any
    key: str


class PlainComponent(Actor):
    """Remembers nothing; hands its key to the outside world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.hanging: list[Any] = []

    @handles
    def do(self, message: Plain) -> Any:
        key = str(self.envelope.key)
        self.world.check_intent(key)
        fate = self.world.books.fate(message.fates, key)
        if fate == "crash":
            raise Fault
        if fate == "refuse":
            raise No(message.u)
        if fate == "hang":
            self.hanging.append(self.later())
            return self.hanging[-1]
        if fate == "slow":
            later = self.later()
            self.after(0.3, Tick(later, message, key))
            return later
        answer = self.world.outside("do", message.owner, message.u, key)
        if fate == "late":
            raise Fault
        return answer

    @handles
    def tick(self, tick: Tick) -> None:
        message = tick.message
        tick.later.reply(self.world.outside("do", message.owner, message.u, tick.key))

    @handles
    def undo(self, message: UndoPlain) -> None:
        key = str(self.envelope.key)
        self.world.check_intent(key)
        fate = self.world.books.fate(message.fates, key)
        if fate == "crash":
            raise Fault
        if fate == "refuse":
            raise No(message.u)
        self.world.outside("undo", message.owner, message.u, key)
        if fate == "late":
            raise Fault


@attrs.frozen
class Boom:
    """Crashes the driver."""


class Stage(Mediator):
    """Runs programs."""

    workflows = [Play]
    types = [Signal]
    max_restarts = 1000
    retention = 1e9

    def __init__(self, world: World) -> None:
        self.world = world
        self.journal = world.journal
        self.components = [Child(ExactComponent, world), Child(PlainComponent, world)]

    @handles
    def boom(self, message: Boom) -> None:
        raise Fault


async def insist(call: Callable[[], Awaitable[Any]]) -> Any:
    """Ask again while the driver is being restarted."""
    while True:
        try:
            return await call()
        except (ActorDied, NoSuchActor):
            await trio.sleep(0.05)


class Client:
    """One instance, seen from outside; what it was told is in the books."""

    def __init__(self, world: World, stage: Ref[Any], id: str, instance: dict[str, Any]) -> None:
        self.world, self.stage, self.id, self.instance = world, stage, id, instance

    async def play(self) -> None:
        told = self.world.books.told
        await self.until(self.instance["begins"])
        if ("start", self.id) not in told:
            await insist(self.start)
        handle: Handle[Any] = Handle(self.stage, self.id, Play)
        for n, (at, what, value) in enumerate(self.instance["events"]):
            await self.until(at)
            name = f"{self.id}-{n}"
            if (what, self.id, name) in told or ("late", self.id, name) in told:
                continue
            try:
                if what == "signal":
                    for _ in range(value):  # it is sent again by one who has not heard the answer
                        await insist(lambda: handle.signal(Signal("s", value), id=name))  # noqa: B023
                else:
                    await insist(handle.cancel)
                told.append((what, self.id, name))
            except Refusal:
                told.append(("late", self.id, name))

    async def wait(self) -> None:
        """Hear of the end."""
        await self.until(self.instance["begins"])
        while ("start", self.id) not in self.world.books.told:
            await trio.sleep(0.05)
        handle: Handle[Any] = Handle(self.stage, self.id, Play)
        try:
            end = ("done", await handle.result())
        except WorkflowEnded as error:
            end = (str(error.status), "")
        except (Refusal, StepFailed):
            end = ("failed", "")
        self.world.books.told.append(("end", self.id, *end))

    async def start(self) -> None:
        instance = self.instance
        await self.stage.call(Start(Play(self.id, self.id, copy.deepcopy(instance["program"]))))
        self.world.books.told.append(("start", self.id))

    async def until(self, at: float) -> None:
        await trio.sleep_until(at)


def live(
    instances: list[dict[str, Any]],
    corpse: tuple[MemoryJournal, Books, float] | None = None,
    *,
    die_at: int = 0,
    side: int = 0,
    booms: tuple[float, ...] = (),
    decides: bool = False,
    seed: int = 0,
) -> World:
    """One life, to the end of everything; on the way it leaves the corpse of a death at its
    ``die_at``-th commit."""
    before, books, time = corpse or (None, Books(), 0.0)
    world = World(copy.deepcopy(books), before)
    world.die_at = world.journal.commits + die_at if die_at else 0
    world.side = side
    clock = VirtualClock()
    if time:
        clock.jump(time)
    world.now = lambda: clock.time

    async def main() -> None:
        async with open_system(seed=seed, clock=clock.now, watchdog=None) as system:
            world.store = system.shared(("idempotency", None), lambda: KeyStore(None))
            if books.store is not None:
                world.store.connection.deserialize(books.store)
            stage = await system.start(Child(Stage, world))
            await clients(world, stage, instances, tuple(time + at for at in booms), decides)
            world.books = world.snapshot()
            world.store = None
            await stage.stop()

    outside_world.append(world)
    try:
        clock.run(main)
    finally:
        outside_world.pop()
    return world


async def decide(stage: Ref[Any]) -> None:
    """Somebody decides about every incident, until there is none."""
    for _ in range(100):
        stuck = [each for each in runs_of(stage) if each.status == "incident"]
        if not stuck:
            return
        for each in stuck:
            handle: Handle[Any] = Handle(stage, each.id, Play)
            if each.paused is None:
                await handle.skip()
            else:
                await handle.resolve()  # what came after its pivot
        await settled(stage, PATIENCE)
    raise AssertionError(f"nothing helps: {[each.id for each in stuck]}")


def runs_of(stage: Ref[Any]) -> list[Any]:
    """The runs that are not over."""
    return list(stage._place.actor._driver.runs.values())


async def boom(stage: Ref[Any], at: float) -> None:
    """Crash the driver at a moment."""
    await trio.sleep_until(at)
    with suppress(Exception):
        stage.cast(Boom())


class Shared(KeyStore):
    """One store for two systems."""

    def close(self) -> None:
        """It is closed by hand."""


class Zombie(Stage):
    """One that does not come back."""

    max_restarts = 0


def take_over(instances: list[dict[str, Any]], at: float, *, seed: int = 0) -> World:
    """A second process takes the journal over while the first one is still at work and does not
    know of it."""
    world = World(Books(), None)
    clock = VirtualClock()
    world.now = lambda: clock.time
    store = world.store = Shared(None)

    async def main() -> None:
        async with (
            open_system(seed=seed, clock=clock.now, watchdog=None) as first,
            open_system(seed=seed + 1, clock=clock.now, watchdog=None) as second,
        ):
            for system in (first, second):
                system.shared(("idempotency", None), lambda: store)
            zombie = await first.start(Child(Zombie, world, restart="temporary"))
            with trio.move_on_at(at):
                await clients(world, zombie, instances)
            stage = await second.start(Child(Stage, world))
            await clients(world, stage, instances)
            await trio.sleep(60)
            await zombie.stop()
            world.books = world.snapshot()
            world.store = None
            await stage.stop()

    outside_world.append(world)
    try:
        clock.run(main)
    finally:
        outside_world.pop()
        KeyStore.close(store)
    return world


async def clients(
    world: World,
    stage: Ref[Any],
    instances: list[dict[str, Any]],
    booms: tuple[float, ...] = (),
    decides: bool = False,
) -> None:
    """Everybody outside, until everything has come to its end."""
    everybody = [Client(world, stage, f"w{n}", each) for n, each in enumerate(instances)]
    async with trio.open_nursery() as waiting:
        for each in everybody:
            waiting.start_soon(each.wait)
        async with trio.open_nursery() as nursery:
            for each in everybody:
                nursery.start_soon(each.play)
            for at in booms:
                nursery.start_soon(boom, stage, at)
        await insist(lambda: settled(stage, PATIENCE))
        if decides:
            await decide(stage)
        world.types = stage._place.actor._driver.types
        await trio.sleep(1)
        waiting.cancel_scope.cancel()
