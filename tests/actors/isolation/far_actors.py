"""Actors and messages for the tests of isolation: in a module, so that a worker can import them."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from functools import wraps
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors import Actor, Call, Exit, Later, Ref, Refusal, handles

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

PATIENCE = 30.0
"""Seconds a test may take; none needs more than a few."""


def real(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a coroutine test under trio on its own clock."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            with trio.fail_after(PATIENCE):
                await test(*args, **kwargs)

        trio.run(bounded)

    return run


class OutOfStock(Refusal):
    """A refusal with a field."""

    def __init__(self, item: str, left: int) -> None:
        super().__init__(f"{left} of {item} left")
        self.item = item
        self.left = left


@attrs.frozen
class Plus(Call[int]):
    amount: int


@attrs.frozen
class PlusLater(Call[int]):
    amount: int


@attrs.frozen
class Take(Call[None]):
    item: str


@attrs.frozen
class Note:
    text: str


@attrs.frozen
class Notes(Call["list[str]"]):
    pass


@attrs.frozen
class Slowly(Call[str]):
    """Answered when the worker is told to go on."""

    text: str


@attrs.frozen
class GoOn:
    pass


@attrs.frozen
class Fail(Call[None]):
    """Die in one of many ways."""

    how: str


@attrs.frozen
class Ask(Call[int]):
    """Have the worker call somebody of this process."""

    whom: Ref[Any]
    amount: int


@attrs.frozen
class Who(Call["tuple[str, int, str | None, str]"]):
    """Path, incarnation, name of the sender and id of the chain, as the worker sees them."""


@attrs.frozen
class Pid(Call[int]):
    pass


@attrs.frozen
class Odd(Call[object]):
    """Answered by what cannot leave the process."""

    kind: str


@attrs.frozen
class Raised:
    """An event that rises."""

    text: str


@attrs.frozen
class Unknown(Call[None]):
    """Nobody handles it."""


class Plain:
    """No data class."""


def die(how: str) -> None:
    """End the process, or hang it."""
    match how:
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(3)
        case "sys.exit":
            sys.exit(4)
        case "abort":
            os.abort()
        case "loop":
            while True:
                pass
        case "sleep":
            time.sleep(1e6)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "memory":
            kept = []
            while True:
                kept.append(bytearray(1 << 20))
        case "raise":
            raise ValueError("a bug")


class Mortal(Actor):
    """Tells its process, and dies as it is told to."""

    @handles
    def pid(self, msg: Pid) -> int:
        return os.getpid()

    @handles
    def fail(self, msg: Fail) -> None:
        die(msg.how)


class Scribe(Mortal):
    """Writes down what it is told."""

    notes: list[str]

    @handles
    def note(self, msg: Note) -> None:
        self.notes.append(msg.text)

    @handles
    def read(self, msg: Notes) -> list[str]:
        return self.notes


@attrs.define
class Far(Mortal):
    """Does what it is told to, in a process of its own."""

    total: int = 0
    notes: list[str] = attrs.Factory(list)
    waiting: list[Any] = attrs.Factory(list)
    on_stop_says: Ref[Any] | None = None

    @handles
    def plus(self, msg: Plus) -> int:
        self.total += msg.amount
        return self.total

    @handles
    async def plus_later(self, msg: PlusLater) -> int:
        await trio.lowlevel.checkpoint()
        self.total += msg.amount
        return self.total

    @handles
    def take(self, msg: Take) -> None:
        raise OutOfStock(msg.item, 3)

    @handles
    def note(self, msg: Note) -> None:
        self.notes.append(msg.text)

    @handles
    def read(self, msg: Notes) -> list[str]:
        return self.notes

    @handles
    def slowly(self, msg: Slowly) -> Later[str]:
        later = self.later()
        self.waiting.append((later, msg.text))
        self.notes.append(msg.text)
        return later

    @handles
    def go_on(self, msg: GoOn) -> None:
        for later, text in self.waiting:
            later.reply(text)
        self.waiting.clear()

    @handles
    async def ask(self, msg: Ask) -> int:
        return int(await msg.whom.call(Plus(msg.amount)))

    @handles
    def who(self, msg: Who) -> tuple[str, int, str | None, str]:
        envelope = self.envelope
        sender = envelope.sender.path if envelope.sender is not None else None
        return self.ref.path, self.ref.incarnation, sender, envelope.correlation_id

    @handles
    def odd(self, msg: Odd) -> object:
        match msg.kind:
            case "plain":
                return Plain()
            case "lambda":
                return lambda: None
            case "large":
                return b"x" * (1 << 20)
            case "unannotated":
                return Note("which Call[object] does not name")
        return msg.kind

    @handles
    def raised(self, msg: Raised) -> None:
        self.notify(msg)

    async def on_stop(self, exit: Exit) -> None:
        if self.on_stop_says is not None:
            await self.on_stop_says.send(Note(f"stopped by {type(exit).__name__}"))


class Stubborn(Actor):
    """Does not stop, and does not heed SIGTERM."""

    def on_start(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)

    @handles
    def pid(self, msg: Pid) -> int:
        return os.getpid()

    async def on_stop(self, exit: Exit) -> None:
        with trio.CancelScope(shield=True):
            await trio.sleep_forever()


class Deaf(Mortal):
    """Stashes until it is told to go on."""

    def __init__(self) -> None:
        self.open = False
        self.seen: list[str] = []

    @handles
    def note(self, msg: Note) -> None:
        if not self.open:
            self.stash()
        else:
            self.seen.append(msg.text)

    @handles
    def go_on(self, msg: GoOn) -> None:
        self.open = True
        self.unstash()

    @handles
    def read(self, msg: Notes) -> list[str]:
        return self.seen


class NoStart(Actor):
    """Does not come up."""

    def __init__(self, how: str) -> None:
        self.how = how

    async def on_start(self) -> None:
        if self.how == "decline":
            self.stop()
        elif self.how == "hang":
            await trio.sleep_forever()
        else:
            die(self.how)
