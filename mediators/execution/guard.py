"""The one private seam to trio: while a workflow's code runs, there is no current task.

So whatever of trio is used in there raises at its own line, and the mediator's own scopes stay
whole. Only the entry of the current task is taken out of the run's context, as trio does itself
between the steps of its tasks. The version of trio is bounded for this, and a test looks whether
``trio.lowlevel.current_task()`` raises in here.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any

from trio._core import _run

_context: Any = _run.GLOBAL_RUN_CONTEXT


class NoTask:
    """``with NoTask(): ...``"""

    __slots__ = ("_task",)

    def __enter__(self) -> None:
        self._task = getattr(_context, "task", None)
        if self._task is not None:
            del _context.task

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        if self._task is not None:
            _context.task = self._task


def step_alone(coroutine: Any, value: Any, error: BaseException | None) -> Any:
    """Let a coroutine go on, in a ``NoTask()`` without the two calls of one."""
    task = getattr(_context, "task", None)
    if task is None:
        return coroutine.send(value) if error is None else coroutine.throw(error)
    del _context.task
    try:
        return coroutine.send(value) if error is None else coroutine.throw(error)
    finally:
        _context.task = task
