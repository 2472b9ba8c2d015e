"""Messages and small actors that the conformance tests share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    Call,
    Crashed,
    Exit,
    Killed,
    Later,
    Normal,
    Ref,
    Shutdown,
    handles,
)

Log: TypeAlias = list[Any]


@attrs.frozen
class Note:
    """A one-way message, put into the log."""

    value: object = None


@attrs.frozen
class Ask(Call[Any]):
    """Answered with ``value``."""

    value: object = None


@attrs.frozen
class Do(Call[Any]):
    """Answered with ``function(actor)``, called in a plain turn."""

    function: Callable[[Any], object]


@attrs.frozen
class Run(Call[Any]):
    """Answered with ``await function(actor)``, in a turn of the actor's own task."""

    function: Callable[[Any], Awaitable[object]]


class Recorder(Actor):
    """Does as it is told, and keeps notes in a log that outlives it."""

    def __init__(self, log: Log | None = None) -> None:
        self.log: Log = [] if log is None else log

    @handles
    def note(self, message: Note) -> None:
        self.log.append(message.value)

    @handles
    def ask(self, message: Ask) -> Any:
        return message.value

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    async def run(self, message: Run) -> Any:
        return await message.function(self)


class Lively(Recorder):
    """A recorder whose log also has its callbacks: ``label`` with start, ready, and the exit."""

    def __init__(self, log: Log, label: str = "actor") -> None:
        super().__init__(log)
        self.label = label

    def on_start(self) -> None:
        self.log.append((self.label, "start"))

    def on_ready(self) -> None:
        self.log.append((self.label, "ready"))

    def on_stop(self, exit: Exit) -> None:
        self.log.append((self.label, exit))


def raises(error: BaseException) -> Callable[[Any], Any]:
    """What an actor is to do to raise ``error``."""

    def function(_: Any) -> object:
        raise error.with_traceback(None)

    return function


def quits(exit: Exit) -> Do:
    """A plain turn that is the last one."""

    def function(actor: Actor) -> None:
        actor.stop(exit)

    return Do(function)


def naps(seconds: float, result: object = None) -> Run:
    """A turn that takes its time."""

    async def nap(_: Any) -> object:
        await trio.sleep(seconds)
        return result

    return Run(nap)


async def forever(_: Any) -> None:
    """A turn that does not end by itself."""
    await trio.sleep_forever()


async def checkpoint(_: Any) -> None:
    """A turn that has had a task."""
    await trio.lowlevel.checkpoint()


def defers(laters: list[Later[Any]]) -> Do:
    """A call whose answer is deferred: the ``Later`` goes into the list."""

    def function(actor: Actor) -> object:
        later = actor.later()
        laters.append(later)
        return later

    return Do(function)


BOOM = RuntimeError("boom")

EXITS: list[Exit] = [Normal(), Shutdown(), Shutdown("moved"), Killed(), Crashed(BOOM)]
"""The ways to end."""


async def end(ref: Ref[Any], exit: Exit) -> None:
    """Have a recorder end so, and wait for it."""
    if isinstance(exit, Crashed):
        ref.cast(Do(raises(exit.exception)))
        await wait_all_tasks_blocked()
    else:
        await ref.stop(exit)


async def outcome(ref: Ref[Any], message: Call[Any], results: Log, label: object = None) -> None:
    """Call, and put the answer or the exception into ``results``, with the label if there is one.

    Started in a nursery it is a request whose answer comes when it comes.
    """
    result: object
    try:
        result = await ref.call(message)
    except Exception as error:
        result = error
    results.append(result if label is None else (label, result))
