"""Actors that take a mechanism out of their own process, and what shows that it is missing."""

from __future__ import annotations

import subprocess
from typing import Any

import attrs

from actors import Call, Ref, handles
from actors.isolation import connection, inlet
from tests.actors.isolation.far_actors import Plus, Raised, Scribe, die
from tests.actors.isolation.in_forks.across_actors import Coin, Do, busy


@attrs.frozen
class Spawn(Call[int]):
    """Start a process of your own; answered by its number."""


class Bare(Scribe):
    """Has taken something out of its process."""

    def __init__(self, witness: Ref[Any] | None = None, without: str = "") -> None:
        self.witness = witness
        self.notes: list[str] = []
        self.open = False
        match without:
            case "aside":
                inlet.Ticket.set_aside = nothing  # type: ignore[method-assign]
            case "flush":
                connection.Connection.flush = nothing  # type: ignore[method-assign]

    @handles
    def plus(self, msg: Plus) -> int:
        busy(0.005)
        return msg.amount

    @handles
    def raised(self, msg: Raised) -> None:
        if not self.open:
            self.stash()
        else:
            self.notes.append(msg.text)

    @handles
    def open_up(self, msg: Coin) -> str:
        self.open = True
        self.unstash()
        return "open"

    @handles
    async def do(self, msg: Do) -> str:
        """Say that it was begun, and die."""
        assert self.witness is not None
        await self.witness.call(Do("begun", self.witness))
        die(msg.what)
        return ""

    @handles
    def spawn(self, msg: Spawn) -> int:
        return subprocess.Popen(["sleep", "1000"]).pid


def nothing(*_: object, **__: object) -> None:
    """In place of what does something."""
