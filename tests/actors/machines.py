"""A state machine for tests, and what it is sent."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import attrs
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Call,
    Ref,
    Refusal,
    StateMachine,
    System,
    enter,
    handles,
    introspection,
    state_function,
)


@attrs.frozen
class Do(Call[Any]):
    """Answered with ``function(machine)``, from a plain turn."""

    function: Callable[[Any], object]


@attrs.frozen
class Run(Call[Any]):
    """Answered with ``await function(machine)``, from a turn in the actor's task."""

    function: Callable[[Any], Awaitable[object]]


@attrs.frozen
class Note:
    """Logged with the state it was handled in."""

    value: object


@attrs.frozen
class Only(Call[str]):
    """Handled in state b alone; postponed elsewhere."""

    value: str


@attrs.frozen
class Special(Note):
    pass


class No(Refusal):
    pass


class Abc(StateMachine):
    """Three states; does as it is told and logs what happens."""

    initial = "a"
    states = ("c",)

    def __init__(self, log: list[Any], in_enter: Callable[[Abc], object] | None = None) -> None:
        self.log = log
        self.in_enter = in_enter

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    async def run(self, message: Run) -> Any:
        return await message.function(self)

    @handles
    def note(self, message: Note) -> None:
        self.log.append((self.machine_state, message.value))

    @handles
    def only_in_b(self, message: Only) -> str:
        self.log.append(f"postponed {message.value}")
        self.postpone()
        return "dropped"

    @handles(Only, state="b")
    def in_b(self, message: Only) -> str:
        self.log.append(f"handled {message.value}")
        return message.value

    @enter("a", "b", "c")
    def entered(self, old: str) -> None:
        self.log.append(f"{old} > {self.machine_state}")
        if self.in_enter is not None:
            self.in_enter(self)


@attrs.define
class Door(StateMachine):
    """As one would write it."""

    initial = "locked"
    code: str = "1234"
    knocks: int = 0

    @handles(state="locked")
    def unlock(self, message: Only) -> str:
        if message.value != self.code:
            raise No(message.value)
        self.become("open")
        return "come in"

    @enter("open")
    def opened(self, old: str) -> None:
        self.state_timeout(10.0, Note("time is up"))

    @handles(state="open")
    def close(self, message: Note) -> None:
        self.become("locked")

    @state_function
    def locked(self, message: object) -> None:
        self.knocks += 1


async def start(system: System, log: list[Any], **kwargs: Any) -> Ref[Abc]:
    """An ``Abc`` that has entered its first state, with an empty log."""
    ref = await system.start(partial(Abc, log, **kwargs))
    await wait_all_tasks_blocked()
    log.clear()
    return ref


def become(state: str) -> Do:
    return Do(lambda machine: machine.become(state))


async def slowly(machine: StateMachine) -> None:
    await trio.sleep(1)


def ask(name: str, *args: Any) -> Do:
    return Do(lambda machine: getattr(machine, name)(*args))


async def state_of(ref: Ref[Any]) -> str:
    return str((await introspection.get_state(ref))["machine_state"])
