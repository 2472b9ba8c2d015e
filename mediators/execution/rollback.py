"""Taking back what a workflow has done, or a part of it.

First everything that was sent without its outcome being known settles; then the undos run, one
after another, in the reverse order of the outcomes they take back; what cannot be undone stands as
an incident, and the others still run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mediators.execution.commands import Step
from mediators.history import Intended
from mediators.outcomes import Incident

if TYPE_CHECKING:
    from collections.abc import Callable

    from msgspec import Raw

    from mediators.execution.execution import Execution

UNDO = "undo/"
"""Begins the path of an undo; that of the step follows."""


class Undo:
    """What takes back one step: its path and the message, or why there is none."""

    __slots__ = ("fault", "message", "path")

    def __init__(self, path: str, message: Raw | None, fault: str | None = None) -> None:
        self.path = path
        self.message = message
        self.fault = fault


class Rollback:
    """One rollback: of all branches whose paths begin with one of ``prefixes``."""

    __slots__ = ("inner", "prefixes", "stuck", "then", "waiting")

    def __init__(self, prefixes: tuple[str, ...], then: Callable[[], object]) -> None:
        self.prefixes = prefixes
        self.then = then
        self.waiting: set[str] = set()
        """Paths of what has to settle, or of the undo under way."""
        self.stuck: set[str] = set()
        """Paths of incidents."""
        self.inner = 0
        """Rollbacks of forks within, which were under way already."""

    def inner_done(self, execution: Execution) -> None:
        """A rollback within has ended."""
        self.inner -= 1
        self.advance(execution)

    def advance(self, execution: Execution) -> None:
        """Go on as far as it goes."""
        while not self.waiting and not self.inner:
            undo = self._next(execution)
            if undo is None:
                if not self.stuck:
                    execution.rollbacks = [e for e in execution.rollbacks if e is not self]
                    self.then()
                return
            self._begin(undo, execution)

    def _next(self, execution: Execution) -> Undo | None:
        for index in range(len(execution.undos) - 1, -1, -1):
            if execution.undos[index].path.startswith(self.prefixes):
                assert isinstance(execution.undos, list)
                undo: Undo = execution.undos.pop(index)
                return undo
        return None

    def _begin(self, undo: Undo, execution: Execution) -> None:
        path = UNDO + undo.path
        command = Step(None, kind="undo")
        command.path = path
        execution.open[path] = command
        if undo.message is None:
            self.stuck.add(path)
            execution.stand(path, Incident(path, undo.fault or "There is no undo message."))
            return
        command.encoded = undo.message
        execution.produce(Intended(path, "undo", undo.message))
        self.waiting.add(path)
        execution.act("send", command)

    def settled(self, path: str, execution: Execution) -> None:
        """Something it waits for has its outcome."""
        self.waiting.discard(path)
        self.stuck.discard(path)
        self.advance(execution)

    def got_stuck(self, path: str, execution: Execution) -> None:
        """Something it waits for stands as an incident."""
        self.waiting.discard(path)
        self.stuck.add(path)
        self.advance(execution)

    def tried_again(self, path: str) -> None:
        """An incident is being worked on again."""
        self.stuck.discard(path)
        self.waiting.add(path)

    def knows(self, path: str) -> bool:
        """Whether it waits for this path."""
        return path in self.waiting or path in self.stuck
