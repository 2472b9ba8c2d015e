"""Actors whose turns never begin, or last: for the tests of what is said of them."""

from __future__ import annotations

import os
import time
from typing import Any

import attrs
import trio

from actors import Actor, Call, Exit, Later, Ref, handles
from supervisors import Child, GetChild, StopChild, Supervisor
from tests.actors.isolation.far_actors import Note, Plus


class Which(Call["Ref[Any]"]):
    """Answered by the ref of one inside."""


@attrs.frozen
class Hold(Call[int]):
    """Answered never."""

    number: int


@attrs.frozen
class Boom(Call[None]):
    """Crash: in an exception, or with the process."""

    how: str


class Counts(Actor):
    """Its turns begin in its own task."""

    @handles
    async def plus(self, msg: Plus) -> int:
        return msg.amount

    @handles
    async def note(self, msg: Note) -> None:
        await trio.sleep(0)


class Stopped(Supervisor):
    def children(self) -> list[Child[Any]]:
        return [Child(Counts, id="one", shutdown="kill", restart="transient")]


class Front(Actor):
    """Stops the one inside when it is told to, in a turn of its own supervisor."""

    async def on_start(self) -> None:
        self.inside = await self.system.start(Stopped)
        self.one = (await self.inside.call(GetChild("one"))).ref

    @handles
    def which(self, msg: Which) -> Ref[Any]:
        return self.one

    @handles
    def note(self, msg: Note) -> None:
        self.inside.cast(StopChild("one"))


class Holds(Actor):
    """Owes answers, crashes meanwhile, and takes its time to say its last words."""

    @handles
    def hold(self, msg: Hold) -> Later[int]:
        return self.later()

    @handles
    def plus(self, msg: Plus) -> int:
        return msg.amount

    @handles
    def boom(self, msg: Boom) -> None:
        if msg.how == "raise":
            raise ValueError("boom")
        os.abort()

    async def on_stop(self, exit: Exit) -> None:
        await trio.sleep(0.1)


class Unreadable(Actor):
    """Takes long to say how it stands."""

    @handles
    def plus(self, msg: Plus) -> int:
        return msg.amount

    def format_state(self) -> object:
        time.sleep(10.0)
        return "never told"
