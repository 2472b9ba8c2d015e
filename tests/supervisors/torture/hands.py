"""Actors that are killed at random, and what they leave behind: files that outlive them.

Each writes down what it has done before it answers, with a single write that no kill can tear.
"""

from __future__ import annotations

import fcntl
import os
import signal
from pathlib import Path
from typing import Any

import attrs

from actors import Actor, Call, handles
from mediators import Mediator, Retry, Workflow
from supervisors import Child

FOREVER = Retry(attempts=1_000, first=0.01, cap=0.1)


@attrs.frozen
class Forge(Call[int]):
    """A piece of work. Whoever does an ``evil`` one dies of it."""

    number: int
    evil: bool = False


@attrs.frozen
class Lay:
    """The same, of which nobody hears."""

    number: int


class Smith(Actor):
    """Does pieces of work."""

    def __init__(self, log: str) -> None:
        self.log = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    @handles
    def forge(self, msg: Forge) -> int:
        if msg.evil:
            os.kill(os.getpid(), signal.SIGSEGV)
        os.write(self.log, b"%d\n" % msg.number)
        return msg.number

    @handles
    def lay(self, msg: Lay) -> None:
        os.write(self.log, b"%d\n" % msg.number)


@attrs.frozen
class Put(Call[int]):
    """The next number of a key."""

    key: str
    number: int


class Owner(Actor):
    """The only one of its key, which it would know: a lock of the operating system says so, for as
    long as its process is there and it has not left."""

    def __init__(self, where: str) -> None:
        self.where = Path(where)

    def on_start(self) -> None:
        self.lock = os.open(self.where / f"{self.ref.id}.lock", os.O_CREAT | os.O_RDWR)
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            (self.where / "two-owners").write_text(self.ref.id)
        flags = os.O_CREAT | os.O_APPEND | os.O_WRONLY
        self.log = os.open(self.where / f"{self.ref.id}.log", flags)

    def on_stop(self, exit: Any) -> None:
        os.close(self.log)
        os.close(self.lock)

    @handles
    def put(self, msg: Put) -> int:
        os.write(self.log, b"%d\n" % msg.number)
        return msg.number


@attrs.frozen
class Note(Call[str]):
    """Write down one step of a workflow."""

    saga: str
    step: int


class Clerk(Actor):
    """Writes down what is done."""

    def __init__(self, log: str) -> None:
        self.log = os.open(log, os.O_CREAT | os.O_APPEND | os.O_WRONLY)

    @handles
    def note(self, msg: Note) -> str:
        os.write(self.log, f"{msg.saga}.{msg.step}\n".encode())
        return f"{msg.saga}.{msg.step}"


@attrs.define
class Saga(Workflow[str]):
    """Three steps."""

    id: str

    async def run(self) -> str:
        done = [await self.step(Note(self.id, step), retry=FOREVER) for step in range(3)]
        return " ".join(done)


class Office(Mediator):
    """Runs sagas."""

    workflows = [Saga]

    def __init__(self, where: str) -> None:
        self.journal = str(Path(where) / "journal.db")
        self.components = [Child(Clerk, str(Path(where) / "notes.log"))]
