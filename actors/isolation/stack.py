"""Where the code of a process is: it notes that itself, in a file in memory, when it is told to or
when it crashes. Its parent reads it once the process has ended."""

from __future__ import annotations

import faulthandler
import os
from itertools import groupby

STACK_SIGNAL = 64
"""What a process is sent to make a note: SIGRTMAX, which nobody else uses. A number, since the name
is not to be had everywhere this is imported."""
FRAME = '  File "'
"""How the line of a frame begins."""
LONGEST = 1 << 16
"""Bytes of a note that are read."""


def make() -> int:
    """The descriptor of a new file for a note."""
    return os.memfd_create("understudy-stack", os.MFD_CLOEXEC)


def note_into(descriptor: int) -> None:
    """Have this process make its notes there: of all its threads, if it was told to."""
    faulthandler.enable(file=descriptor, all_threads=False)
    faulthandler.register(STACK_SIGNAL, file=descriptor, all_threads=True)


def noted(descriptor: int) -> str:
    """What is noted, without what stands below the code of users; ``""`` for nothing."""
    try:
        note = os.pread(descriptor, LONGEST, 0)
    except OSError:
        return ""
    return without_machinery(note.decode("utf-8", "replace").strip())


def without_machinery(note: str) -> str:
    """A note without the frames that every worker begins with: ours, and those of trio. A thread
    that is nowhere else is shown as it is."""
    import trio

    packages = (os.path.dirname(os.path.dirname(__file__)), *trio.__path__)
    ours = tuple(f"{FRAME}{each}{os.sep}" for each in packages)
    lines: list[str] = []
    for is_stack, group in groupby(note.splitlines(), key=lambda line: line.startswith(FRAME)):
        stack = list(group)
        end = len(stack)
        if is_stack:
            # A worker that was not forked begins with a line of its own.
            end -= stack[-1].startswith(f"{FRAME}<string>")
            while end and stack[end - 1].startswith(ours):
                end -= 1
        left_out = len(stack) - end
        if end and left_out > 1:
            stack[end:] = [f"  ... {left_out} frames of the machinery"]
        lines += stack
    return "\n".join(lines)
