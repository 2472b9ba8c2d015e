"""How an actor is isolated: what ``isolation=`` and ``memory_limit=`` of a spec say, checked."""

from __future__ import annotations

import sys
from typing import Any, Literal, TypeAlias

import attrs

from actors.validation import check_seconds, is_int

Isolation: TypeAlias = "Literal['process'] | Process"
"""What ``isolation=`` takes: ``"process"`` is short for ``Process()``."""

MIB = 1 << 20
SMALLEST = 64 * MIB
"""The least memory limit. A worker comes up with less than half of it; the rest is for messages."""
LARGEST_WINDOW = 4096
LARGEST_MESSAGE = 1 << 30


@attrs.frozen(kw_only=True)
class Process:
    """An actor in an operating system process of its own: ``Child(Pdf, isolation=Process())``.

    ``heartbeat``
        seconds, more than 0, for which its event loop may show no sign of life before the process
        is killed: 30; ``None``: for ever. A plain handler that computes for longer calls
        ``self.heartbeat()`` now and then
    ``warm``
        fork it from a process that has imported its module already, where that is safe, instead of
        starting an interpreter: True
    ``window``
        how many messages may be on their way before the first of them is taken, from 1 to 4,096:
        256. Then who sends waits, or is told that the mailbox is full
    ``max_message``
        bytes a message, an answer or a refusal may have, up to 1 GiB: 16 MiB. A call with more
        fails with ``NotEncodable``; a one-way message is a dead letter

    Asked to stop, the process has the ``shutdown`` time of the ``Child``; then it gets SIGTERM, and
    half a second later SIGKILL. Raises TypeError or ValueError for what is not accepted. Needs
    Linux: elsewhere the start fails with RuntimeError.
    """

    heartbeat: float | None = 30.0
    warm: bool = True
    window: int = 256
    max_message: int = 16 * MIB

    def __repr__(self) -> str:
        given = [
            f"{field.name}={getattr(self, field.name)!r}"
            for field in attrs.fields(type(self))
            if getattr(self, field.name) != field.default
        ]
        return f"Process({', '.join(given)})"

    def __attrs_post_init__(self) -> None:
        if self.heartbeat is not None:
            check_seconds("Process heartbeat (None for none)", self.heartbeat, zero=False)
        if not isinstance(self.warm, bool):
            raise TypeError(f"Process warm is True or False. Got: {self.warm!r}")
        if not is_int(self.window) or not 1 <= self.window <= LARGEST_WINDOW:
            raise ValueError(
                f"Process window is an int from 1 to {LARGEST_WINDOW}. Got: {self.window!r}"
            )
        if not is_int(self.max_message) or not 1 <= self.max_message <= LARGEST_MESSAGE:
            raise ValueError(
                f"Process max_message (bytes) is an int from 1 to {LARGEST_MESSAGE}. "
                f"Got: {self.max_message!r}"
            )


def check_isolation(isolation: Any, memory_limit: Any) -> Process | None:
    """The options behind ``isolation=``; None for an actor of this process. Raises TypeError or
    ValueError for what is not accepted."""
    if isolation is not None and isolation != "process" and not isinstance(isolation, Process):
        raise ValueError(
            f"isolation is 'process', a Process(...), or None for this process. Got: {isolation!r}"
        )
    if memory_limit is not None:
        if isolation is None:
            raise ValueError(
                "memory_limit is for an actor in a process of its own: isolation='process'. "
                f"Got: {memory_limit!r} without isolation"
            )
        if not is_int(memory_limit) or memory_limit < SMALLEST:
            raise ValueError(
                f"memory_limit (bytes) is an int of {SMALLEST} or more, or None. "
                f"Got: {memory_limit!r}"
            )
    return Process() if isolation == "process" else isolation


def check_platform() -> None:
    """Raises RuntimeError where there are no isolated actors."""
    if sys.platform != "linux":
        raise RuntimeError(
            "isolation='process' needs Linux, whose kernel ends a process together with its "
            f"parent and tells how it ended. Got: {sys.platform}"
        )
