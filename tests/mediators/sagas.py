"""A mediator for the tests of workflows as seen from outside: one scripted component, one world.

The world outlives mediators and systems, as the outside does: it knows what was asked of it under
which key, and what it says to a message of a name.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from trio.testing import wait_all_tasks_blocked

from actors import Actor, Call, Later, Refusal, handles
from mediators import Handle, Mediator, MemoryJournal, Start, Status, Workflow
from mediators import history as h
from supervisors import Child

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors import Ref, System


class Boom(Exception):
    """What crashes whoever raises it."""


class No(Refusal):
    """What the component says when it refuses."""


@attrs.frozen
class Do(Call[str]):
    """A piece of work: the answer is ``"<name> done"`` unless the world says otherwise."""

    name: str
    amount: int = 0


@attrs.frozen
class Undo(Call[str]):
    """Takes a piece of work back."""

    name: str


@attrs.frozen
class CrashDriver(Call[None]):
    """The mediator's own handler crashes."""


@attrs.frozen
class Ping:
    """A signal."""

    value: int = 0


@attrs.frozen
class Pong:
    """Another signal."""

    value: int = 0


@attrs.frozen
class Ask(Call[Any]):
    """A query: the field of this name."""

    field: str = "state"


@attrs.define
class World:
    """What is outside, and what it says."""

    done: list[tuple[str | None, str]] = attrs.Factory(list)
    """Key and name of everything that came to the component, undos as ``-name``."""
    says: dict[str, Callable[[Any], Any]] = attrs.Factory(dict)
    """What a message of a name is answered with, if not as usual."""
    held: dict[str, list[Later[Any]]] = attrs.Factory(dict)
    """Answers that are to come: see :meth:`hold`."""

    @property
    def names(self) -> list[str]:
        """What came, without the keys."""
        return [name for _, name in self.done]

    def keys(self, name: str) -> list[str | None]:
        """The keys of what came of this name."""
        return [key for key, each in self.done if each == name]

    def hold(self, *names: str) -> None:
        """Have these wait for :meth:`answer`."""
        for name in names:
            self.held[name] = []

    def answer(self, name: str, value: object | None = None) -> None:
        """Answer the first one held back, and hold nothing back any more."""
        (first, *_) = self.held.pop(name)
        if isinstance(value, Exception):
            first.fail(value)
        else:
            first.reply(f"{name} done" if value is None else value)

    def refuse(self, *names: str) -> None:
        """Say no to these."""
        for name in names:
            self.says[name] = _refuse

    def crash(self, *names: str) -> None:
        """Let the component crash at these."""
        for name in names:
            self.says[name] = _crash


def _refuse(message: Any) -> None:
    raise No(message.name)


def _crash(message: Any) -> None:
    raise Boom(message.name)


class Works(Actor):
    """Does what the world says."""

    def __init__(self, world: World) -> None:
        self.world = world

    @handles
    def do(self, message: Do) -> str:
        answer: str = self._do(message.name, message)
        return answer

    @handles
    def undo(self, message: Undo) -> str:
        answer: str = self._do(f"-{message.name}", message)
        return answer

    def _do(self, name: str, message: Any) -> Any:
        world = self.world
        world.done.append((self.envelope.key, name))
        if name in world.held:
            later: Later[Any] = self.later()
            world.held[name].append(later)
            return later
        if name in world.says:
            return world.says[name](message)
        return f"{name} done"


class Shop(Mediator):
    """Base of the mediators of these tests."""

    world: World
    max_restarts = 10

    @handles
    def crash(self, _message: CrashDriver) -> None:
        raise Boom("the driver")


def shop(
    world: World, *workflows: type[Workflow[Any]], journal: Any = None, **attributes: Any
) -> type[Shop]:
    """A class of mediators with that world as its component."""
    components = [Child(Works, world, id="works")]
    fields = {"components": components, "workflows": list(workflows), "journal": journal}
    return type("AShop", (Shop,), {**fields, "world": world, **attributes})


def spec(cls: type[Shop] | type[Mediator]) -> Child[Any]:
    """Restarted after a crash, and gone when it is stopped."""
    return Child(cls, restart="transient")


async def start(ref: Ref[Any], workflow: Workflow[Any], **more: Any) -> Handle[Any]:
    """Start a workflow and wait until nothing moves any more."""
    handle = await ref.call(Start(workflow, **more))
    await wait_all_tasks_blocked()
    return handle


async def again(system: System, ref: Ref[Any], cls: type[Shop], **changes: Any) -> Ref[Any]:
    """Stop a mediator and start its successor on the same journal."""
    await ref.stop()
    return await system.start(spec(type("AShop", (cls,), changes)))


def turns(journal: MemoryJournal, id: str, run: int | None = None) -> list[list[Any]]:
    """The turns of a run, as lists of events."""
    reader = journal.read()
    row = reader.find(id, run)
    assert row is not None
    return [list(h.decode_turn(each.data).events) for each in reader.history(row.number)]


def events(journal: MemoryJournal, id: str, run: int | None = None) -> list[Any]:
    """All events of a run."""
    return [event for turn in turns(journal, id, run) for event in turn]


async def over(handle: Handle[Any]) -> Status:
    """Wait for the end of a workflow, whatever it is."""
    try:
        await handle.result(timeout=1e6)
    except Exception:
        pass
    return await handle.status()


@attrs.define
class Simple(Workflow[str]):
    """Two steps; the first can be undone."""

    id: str
    second: str = "second"

    async def run(self) -> str:
        await self.step(Do("first"), undo=Undo("first"))
        return await self.step(Do(self.second))


@attrs.define
class Waits(Workflow[int]):
    """Waits for one signal."""

    id: str
    state: int = 0

    async def run(self) -> int:
        signal = await self.receive(Ping)
        self.state = signal.value
        return self.state

    @handles
    def ask(self, message: Ask) -> Any:
        return getattr(self, message.field)


async def expect_refusal(error: type[BaseException], call: Any, match: str = "") -> BaseException:
    """Await something that is refused; the refusal."""
    with pytest.raises(error, match=match) as caught:
        await call
    return caught.value
