"""Where a mistake in a workflow's code is, and what to write instead."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import trio

import actors
import supervisors
from mediators.history import Trouble
from mediators.outcomes import Incident
from mediators.texts import shown, text_of, writable

if TYPE_CHECKING:
    from types import CodeType

    from mediators.execution.commands import Command

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIBRARIES = (
    *(
        os.path.join(os.path.dirname(os.path.abspath(each)), "")
        for each in (actors.__file__, supervisors.__file__, trio.__file__, os.__file__)
    ),
    os.path.join(_OURS, ""),
    os.path.join(os.path.dirname(_OURS), "observers", ""),
)
"""Code in here is not the user's: ours, trio's, Python's own."""

HINT = (
    " A workflow awaits only its own commands: self.sleep() for trio.sleep(), self.gather() for a "
    "nursery, timeout= and self.race() for cancel scopes, self.effect() for anything else."
)
NO_TASK = ("async context", "no running event loop")
"""What trio and asyncio say where there is no task."""


def trouble_of(incident: Incident) -> Trouble:
    """An incident as it is written down."""
    what, recorded, came = map(writable, (incident.what, incident.recorded, incident.came))
    return Trouble(incident.path, what, recorded, came)


def incident_of(trouble: Trouble) -> Incident:
    """What was written down, as an incident."""
    return Incident(trouble.path, trouble.what, trouble.recorded, trouble.came)


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


def forgotten(count: int, command: Command | None, workflow: object) -> Incident:
    """The code has ended with commands that it made and did not await; ``command`` is one."""
    one = "" if command is None or command.path else f": {command.label}"
    if one and count > 1:
        one = f", the first of them{one}"
    what = f"{count} command(s) were made and never awaited{one}"
    return Incident("", f"{what} (in {type(workflow).__name__}.run()).")


def place_of(frames: list[tuple[CodeType, int | None]]) -> str:
    """The innermost frame of the user's, in words: file, line, function."""
    for code, line in reversed(frames):
        if not code.co_filename.startswith(LIBRARIES) and not code.co_filename.startswith("<"):
            return f" ({code.co_filename}:{line}, in {code.co_name})"
    return ""
