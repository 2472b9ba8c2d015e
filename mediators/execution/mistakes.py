"""Where a mistake in a workflow's code is, and what to write instead."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import trio

from mediators.outcomes import Incident
from mediators.texts import shown, text_of, writable

if TYPE_CHECKING:
    from types import CodeType

LIBRARIES = tuple(
    os.path.dirname(os.path.abspath(module)) + os.sep
    for module in (os.path.dirname(__file__), trio.__file__, os.__file__)
)
"""Code in here is not the user's: ours, trio's, Python's own."""

HINT = (
    " A workflow awaits only its own commands: self.sleep() for trio.sleep(), self.gather() for a "
    "nursery, timeout= and self.race() for cancel scopes, self.effect() for anything else."
)
NO_TASK = ("async context", "no running event loop")
"""What trio and asyncio say where there is no task."""


def mistake(error: BaseException) -> Incident:
    """What is wrong with the code, and where."""
    frames: list[tuple[CodeType, int | None]] = []
    trace = error.__traceback__
    while trace is not None:
        frames.append((trace.tb_frame.f_code, trace.tb_lineno))
        trace = trace.tb_next
    said = text_of(error)
    text = f"{type(error).__name__}: {said}{place_of(frames)}"
    if isinstance(error, RuntimeError) and any(each in said for each in NO_TASK):
        text += HINT
    return Incident("", writable(text))


def foreign(coroutine: Any, yielded: object) -> Incident:
    """The code awaits something that is no command."""
    frames: list[tuple[CodeType, int | None]] = []
    inner = coroutine
    while getattr(inner, "cr_frame", None) is not None:
        frames.append((inner.cr_code, inner.cr_frame.f_lineno))
        inner = inner.cr_await
    what = f"run() awaits what is no command of a workflow: {shown(yielded)}{place_of(frames)}"
    return Incident("", writable(f"{what}.{HINT}"))


def place_of(frames: list[tuple[CodeType, int | None]]) -> str:
    """The innermost frame of the user's, in words: file, line, function."""
    for code, line in reversed(frames):
        if not code.co_filename.startswith(LIBRARIES) and not code.co_filename.startswith("<"):
            return f" ({code.co_filename}:{line}, in {code.co_name})"
    return ""
