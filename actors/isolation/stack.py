"""Where the code of a process is: it notes that itself, in a file in memory, when it is told to or
when it crashes. Its parent reads it once the process has ended."""

from __future__ import annotations

import faulthandler
import os

STACK_SIGNAL = 64
"""What a process is sent to make a note: SIGRTMAX, which nobody else uses. A number, since the name
is not to be had everywhere this is imported."""
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
    """What is noted; ``""`` for nothing."""
    try:
        note = os.pread(descriptor, LONGEST, 0)
    except OSError:
        return ""
    return note.decode("utf-8", "replace").strip()
