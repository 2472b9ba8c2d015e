"""An isolated actor that hands its messages on to another one within its process."""

from __future__ import annotations

import os
from typing import Any

import trio

from actors import Actor, MailboxFull, Ref, StateMachine, enter, handles
from actors.runtime import calls
from supervisors import Child, one_for_one
from tests.actors.isolation.far_actors import Fail, Note, Pid, die


class Outer(Actor):
    """Hands on what it gets to one of a class that it is told of, and which comes back."""

    def __init__(self, witness: Ref[Any], inner: Any) -> None:
        self.witness = witness
        self.cls = inner

    async def on_start(self) -> None:
        await self.system.start(one_for_one(Child(self.cls, self.witness, name="inner")))
        inner = self.system.whereis("inner")
        assert inner is not None
        self.inner = inner

    @handles
    def note(self, msg: Note) -> None:
        calls.pass_on(self._place, self.inner._place, msg)

    @handles
    def pid(self, msg: Pid) -> int:
        return os.getpid()

    @handles
    def fail(self, msg: Fail) -> None:
        die(msg.how)


class Inner(Actor):
    """Sets aside what it gets, says so, and does what it says."""

    def __init__(self, witness: Ref[Any]) -> None:
        self.witness = witness

    @handles
    async def note(self, msg: Note) -> None:
        if msg.text == "late":
            await self.witness.send(msg)
            await trio.sleep(0.3)
            self.stash()
            return
        self.stash()
        await self.witness.send(msg)
        if msg.text != "kept":
            await trio.sleep(0.05)  # in which others have their turns
            die(msg.text)


class Postponing(StateMachine):
    """Postpones what it gets, and fails at once or when it is to be tried again."""

    initial = "closed"

    def __init__(self, witness: Ref[Any]) -> None:
        self.witness = witness

    @handles(state="closed")
    def note(self, msg: Note) -> None:
        self.postpone()
        self.witness.cast(msg)
        if msg.text == "enter":
            self.become("open")
        elif msg.text == "done":
            self.become("done")
        elif msg.text != "kept":
            die(msg.text)

    @handles(state="done")
    def again(self, msg: Note) -> None:
        self.witness.cast(Note(f"again {msg.text}"))

    @enter("open")
    def fails(self, old: str) -> None:
        raise ValueError("no way in")


class Overfull(Actor):
    """Keeps two, and handles what it cannot keep."""

    def __init__(self, witness: Ref[Any]) -> None:
        self.witness = witness

    @handles
    def note(self, msg: Note) -> None:
        try:
            self.stash()
        except MailboxFull:
            self.witness.cast(msg)

    @handles
    def pid(self, msg: Pid) -> int:
        return os.getpid()
