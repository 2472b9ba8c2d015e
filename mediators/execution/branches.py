"""The coroutines of a run: lines of execution, and how one is given up."""

from __future__ import annotations

import inspect
from inspect import CORO_CREATED
from typing import Any

from mediators.execution.commands import Command, Fork
from mediators.execution.guard import NoTask

UNCOUNTED = -(2**30)
"""Commands are counted no more: a branch that was cut off may have left some it had made."""
STUBBORN = 100
"""Commands a cancelled coroutine may try before that is called a mistake."""


class Branch:
    """One line of execution: that of ``run``, or one of a fork."""

    __slots__ = ("coroutine", "count", "fork", "index", "prefix", "waiting")

    def __init__(self, coroutine: Any, prefix: str, fork: Fork | None, index: int) -> None:
        self.coroutine = coroutine
        self.prefix = prefix
        self.fork = fork
        self.index = index
        self.count = 0
        """Commands so far; the last part of their paths."""
        self.waiting: Command | None = None


class Raised:
    """The outcome of a command that is to be raised."""

    __slots__ = ("error",)

    def __init__(self, error: BaseException) -> None:
        self.error = error


async def just(command: Any) -> Any:
    """A branch of one command."""
    return await command


class Dropped(BaseException):
    """Raised in code that is given up. Not by ``close()``: where a ``finally`` gives a command that
    would leave the coroutines within suspended for good."""


def close(coroutine: Any) -> None:
    """Drop a coroutine: commands that its ``finally`` gives go nowhere."""
    if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == CORO_CREATED:
        coroutine.close()
        return
    for _ in range(STUBBORN):
        try:
            with NoTask():
                command = coroutine.throw(Dropped())
        except BaseException:
            return
        refuse(command)


def refuse(command: Any) -> None:
    """A command that is not begun: the branches it brings are not either."""
    for each in command.branches if isinstance(command, Fork) and not command.path else ():
        if inspect.iscoroutine(each):
            each.close()
