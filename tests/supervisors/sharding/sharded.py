"""Actors and messages for the tests of shards."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors import Actor, Call, Ref, Refusal, handles
from actors.isolation.frames import GivenBack, Message
from actors.isolation.link import Link

if TYPE_CHECKING:
    from actors import Exit


@attrs.frozen
class Add(Call[int]):
    who: str
    amount: int = 1


@attrs.frozen
class Note:
    who: str
    text: str


@attrs.frozen
class Notes(Call["list[str]"]):
    who: str


@attrs.frozen
class Entry(Call[None]):
    """A note that is asked for."""

    who: str
    text: str


@attrs.frozen
class Ask(Call[int]):
    """Have an actor elsewhere add one there."""

    shards: Ref[Any]
    who: str


@attrs.frozen
class Hold(Call[str]):
    """Takes so many seconds."""

    who: str
    seconds: float


@attrs.frozen
class Break(Call[None]):
    """Crash."""

    who: str


@attrs.frozen
class Kill(Call[None]):
    """End the whole process."""

    who: str


@attrs.frozen
class KillSoon(Call[None]):
    """The same, in a turn that could await something."""

    who: str


@attrs.frozen
class Deny(Call[None]):
    who: str


@attrs.frozen
class Where(Call["tuple[str, str, int]"]):
    """Id, path and process."""

    who: str


@attrs.frozen
class Wake(Call[None]):
    """Send yourself something in so many seconds."""

    who: str
    seconds: float


@attrs.frozen
class Rang:
    """A timer of an account's own."""


@attrs.frozen
class Keyless(Call[None]):
    """Has no ``who``."""


class Denied(Refusal):
    """A refusal."""


class Owners:
    """Who is alive, in one process: no key may be so twice."""

    def __init__(self) -> None:
        self.alive: dict[str, Any] = {}
        self.log: list[str] = []

    def began(self, actor: Actor) -> None:
        key = actor.ref.id
        assert key not in self.alive, f"{key} has two owners"
        self.alive[key] = actor
        self.log.append(f"+{key}")

    def ended(self, actor: Actor) -> None:
        key = actor.ref.id
        assert self.alive.pop(key) is actor
        self.log.append(f"-{key}")


class Account(Actor):
    """Adds up, remembers notes, and says when it begins and ends."""

    def __init__(self, owners: Owners | None = None, watcher: Ref[Any] | None = None) -> None:
        self.owners = owners
        self.watcher = watcher
        self.total = 0
        self.notes: list[str] = []

    async def on_start(self) -> None:
        if self.owners is not None:
            self.owners.began(self)
        if self.watcher is not None:
            await self.watcher.call(Began(self.ref.id, os.getpid()))

    async def on_stop(self, exit: Exit) -> None:
        if self.owners is not None:
            self.owners.ended(self)
        if self.watcher is not None:
            await self.watcher.call(Ended(self.ref.id, os.getpid()))

    @handles
    def add(self, msg: Add) -> int:
        self.total += msg.amount
        return self.total

    @handles
    def note(self, msg: Note) -> None:
        self.notes.append(msg.text)

    @handles
    def entry(self, msg: Entry) -> None:
        self.notes.append(msg.text)

    @handles
    def read(self, msg: Notes) -> list[str]:
        return self.notes

    @handles
    async def hold(self, msg: Hold) -> str:
        await trio.sleep(msg.seconds)
        return f"{self.ref.id} held"

    @handles
    def broken(self, msg: Break) -> None:
        raise ValueError(msg.who)

    @handles
    def kill(self, msg: Kill) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @handles
    async def kill_soon(self, msg: KillSoon) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    @handles
    def deny(self, msg: Deny) -> None:
        raise Denied(msg.who)

    @handles
    def where(self, msg: Where) -> tuple[str, str, int]:
        return self.ref.id, self.ref.path, os.getpid()

    @handles
    def wake(self, msg: Wake) -> None:
        self.after(msg.seconds, Rang())

    @handles
    def rang(self, msg: Rang) -> None:
        self.notes.append("rang")

    @handles
    def keyless(self, msg: Keyless) -> None:
        """Never reached."""


class Asker(Actor):
    """Asks others."""

    @handles
    async def ask(self, msg: Ask) -> int:
        return await msg.shards.call(Add(msg.who), None)


class Doomed(Account):
    """Once it has noted ``doom``: its process is killed at the first message that leaves it after
    this actor's end."""

    async def on_stop(self, exit: Exit) -> None:
        if "doom" in self.notes:
            Link.send = killed_by_messages  # type: ignore[method-assign]


def killed_by_messages(link: Link, frame: Any) -> None:
    if isinstance(frame, Message | GivenBack):
        os.kill(os.getpid(), signal.SIGKILL)


@attrs.frozen
class Began(Call[None]):
    key: str
    pid: int


@attrs.frozen
class Ended(Call[None]):
    key: str
    pid: int
