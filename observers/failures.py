"""How a command ends when it could not do what was asked: a code for scripts and one line."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of ``understudy``."""

    DONE = 0
    NO_SUCH_WORKFLOW = 1
    USAGE = 2
    REFUSED = 3
    """By the owner, or not possible in the state the workflow is in."""
    UNREADABLE = 4
    """The journal cannot be read: damaged, locked, of a newer format, or none."""
    DIFFERENT = 5
    """Replay has found a difference."""


class Failed(Exception):
    """Ends the command: ``text`` goes to stderr, on one line."""

    def __init__(self, code: ExitCode, text: str) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text

    def __str__(self) -> str:
        return self.text
