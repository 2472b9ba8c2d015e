"""A mediator with a worker, a workflow whose code each test brings, and ways to die and come back.

What stands in :class:`World` is the world outside: it sees what the workers do, and outlives them.
The death of the process is a copy of the journal, at that moment or after so many commits, on which
another system goes on.
"""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
from trio.testing import wait_all_tasks_blocked

from actors import Actor, Call, Later, Ref, Refusal, handles, open_system
from mediators import Handle, Idempotent, Mediator, MemoryJournal, Start, Workflow
from mediators import history as h
from supervisors import Backoff, Child

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from pathlib import Path

    from actors import System
    from actors.testing import VirtualClock
    from mediators.history import Event

HANG: Any = object()
"""Answered when the test says so: ``world.answer(what)``."""


class Boom(Exception):
    """A crash."""


class OutOfStock(Refusal):
    """Business says no."""

    def __init__(self, item: str, left: int = 0) -> None:
        super().__init__(f"{left} of {item} left")
        self.item = item
        self.left = left


@attrs.frozen
class Do(Call[str]):
    """Something to be done; answered with ``did <what>``."""

    what: str


@attrs.frozen
class Undo(Call[str]):
    """Takes it back."""

    what: str


@attrs.frozen
class Pack(Call[str]):
    """The same, for another worker."""

    what: str


@attrs.frozen
class Unpack(Call[str]):
    """Takes back what was packed."""

    what: str


@attrs.frozen
class Fetch(Call[list[str]]):
    """Asks for a list; the script says which."""

    what: str
    items: list[str] = attrs.Factory(list[str])


@attrs.frozen
class Tell:
    """A signal."""

    text: str
    items: list[str] = attrs.Factory(list[str])


@attrs.frozen
class Crash:
    """The driver of the mediator crashes."""


class World:
    """What is outside, and the system that works on it.

    ``code`` is what the workflow's ``run`` does; it may be replaced between two systems, as by a
    deployment. ``keyed`` gives the workers an ``Idempotent``: True for one in memory, or the path
    of its file. ``script[what]`` says what comes of an attempt at ``what``: each attempt takes the
    first entry; an exception is raised, ``HANG`` waits for :meth:`answer`, a function is called,
    anything else is the answer. ``done`` has what was really done, in order; ``keys`` the key of
    each, and ``attempts`` which attempt it was.
    """

    def __init__(
        self,
        clock: VirtualClock,
        code: Callable[[Any], Awaitable[Any]],
        *,
        other: Callable[[Any], Awaitable[Any]] | None = None,
        keyed: bool | Path = False,
        script: dict[str, list[Any]] | None = None,
        types: tuple[Any, ...] = (),
        backoff: Backoff | None = None,
        **attributes: Any,
    ) -> None:
        self.clock = clock
        self.code = code
        self.other = other
        self.keyed = keyed
        self.script = script or {}
        self.types = types
        self.backoff = backoff
        self.attributes = attributes
        self.journal = MemoryJournal()
        self.done: list[str] = []
        self.keys: list[str | None] = []
        self.attempts: list[int] = []
        self.intended: list[bool] = []
        """For each thing done, whether its intent was on disk by then."""
        self.messages: list[Any] = []
        """What came as a Fetch, the very objects."""
        self.hanging: dict[str, Later[Any]] = {}
        self.system: System

    @property
    def log(self) -> str:
        """What was done, in one line."""
        return ", ".join(self.done)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Ref[Shop]]:
        """One life of the process: a system with the mediator, on the journal as it stands."""
        Flow.code, Other.code = staticmethod(self.code), staticmethod(self.other or self.code)
        cls = type("Shop", (Shop,), {**self._parts(), **self.attributes})
        async with open_system(seed=0, clock=self.clock.now, watchdog=None) as system:
            self.system = system
            yield await system.start(Child[Shop](cls, restart="temporary"))

    def _parts(self) -> dict[str, Any]:
        return {
            "journal": self.journal,
            "components": [
                Child(Worker, self, id="worker", backoff=self.backoff),
                Child(Packer, self, id="packer", backoff=self.backoff),
            ],
            "workflows": [Flow, Other],
            "types": [Tell, *self.types],
        }

    def dies(self, commits: int | None = None) -> None:
        """The process dies now, or did after so many commits: what the next system finds. Whatever
        the present one still does is not part of it."""
        self.journal = self.journal.copy(commits)

    def act(self, worker: Actor, what: str) -> Any:
        """A worker does something."""
        key = worker.envelope.key
        self.done.append(what)
        self.keys.append(key)
        self.attempts.append(worker.envelope.attempt)
        self.intended.append(key is None or key in self.written(h.Intended))
        script = self.script.get(what)
        outcome = script.pop(0) if script else f"did {what}"
        if outcome is HANG:
            self.hanging[what] = worker.later()
            return self.hanging[what]
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome() if callable(outcome) else outcome

    async def answer(self, what: str, value: Any = None) -> None:
        """Let an attempt that hangs have its answer, and wait for what follows."""
        later = self.hanging.pop(what)
        if isinstance(value, Exception):
            later.fail(value)
        else:
            later.reply(f"did {what}" if value is None else value)
        await wait_all_tasks_blocked()

    def events(self, id: str = "w") -> list[Event]:
        """What is on disk of a workflow's latest run."""
        reader = self.journal.read()
        row = reader.find(id)
        if row is None:
            return []
        turns = [h.decode_turn(each.data) for each in reader.history(row.number)]
        return [event for turn in turns for event in turn.events]

    def kinds(self, id: str = "w") -> list[str]:
        """The same, only the names."""
        return [type(each).__name__ for each in self.events(id)]

    def written(self, kind: type) -> list[str]:
        """The keys of all events of a kind on disk."""
        reader = self.journal.read()
        return [
            f"{row.id}/{row.run}/{getattr(event, 'path', '')}"
            for row in reader.runs()
            for each in reader.history(row.number)
            for event in h.decode_turn(each.data).events
            if isinstance(event, kind)
        ]


class Worker(Actor):
    """Does and undoes."""

    def __init__(self, world: World) -> None:
        self.world = world
        if world.keyed:
            self.middleware = [Idempotent(None if world.keyed is True else world.keyed)]

    @handles
    def do(self, message: Do) -> str:
        return str_or_later(self.world.act(self, message.what))

    @handles
    def fetch(self, message: Fetch) -> list[str]:
        self.world.messages.append(message)
        found: list[str] = self.world.act(self, message.what)
        return found

    @handles
    def undo(self, message: Undo) -> str:
        return str_or_later(self.world.act(self, f"undo {message.what}"))


class Packer(Actor):
    """Packs and unpacks."""

    def __init__(self, world: World) -> None:
        self.world = world
        if world.keyed:
            self.middleware = [Idempotent(None if world.keyed is True else world.keyed)]

    @handles
    def pack(self, message: Pack) -> str:
        return str_or_later(self.world.act(self, f"pack {message.what}"))

    @handles
    def unpack(self, message: Unpack) -> str:
        return str_or_later(self.world.act(self, f"unpack {message.what}"))


def str_or_later(value: Any) -> str:
    """For the checkers: a handler may return a Later."""
    answer: str = value
    return answer


@attrs.define
class Flow(Workflow[Any]):
    """Does what the test says."""

    id: str = "w"
    items: list[str] = attrs.Factory(list[str])
    code: ClassVar[Any]

    async def run(self) -> Any:
        return await type(self).code(self)


@attrs.define
class Other(Workflow[Any]):
    """A second one."""

    id: str = "other"
    items: list[str] = attrs.Factory(list[str])
    code: ClassVar[Any]

    async def run(self) -> Any:
        return await type(self).code(self)


class Shop(Mediator):
    """Its driver can be made to crash."""

    @handles
    def crash(self, message: Crash) -> None:
        raise Boom("the driver crashes")


async def start(shop: Ref[Any], workflow: Workflow[Any] | None = None) -> Handle[Any]:
    """Start a workflow and let it come as far as it comes without waiting."""
    handle = await shop.call(Start(workflow or Flow()))
    await wait_all_tasks_blocked()
    return handle
