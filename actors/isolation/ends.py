"""What is said of processes that have ended, and of exceptions raised in them: data and words."""

from __future__ import annotations

import os
import signal
from typing import Any, Literal, TypeAlias

import attrs

from actors.isolation.options import MIB
from actors.messages import carried

Verdict: TypeAlias = Literal["silent", "stopped", "broken", "detached"]
"""Why we ended a process ourselves: its event loop did not come round; it was suspended by SIGSTOP;
what it sent was no frame; it had closed its connection."""


class ProcessDied(Exception):
    """The process of an isolated actor has ended without being asked to; the actor's exit is
    ``Crashed`` with this.

    ``signal`` is the name of the signal that ended it (``"SIGSEGV"``), or None; ``code`` its exit
    code, or None. ``message`` is the last message it took, or None. ``stack`` is where its Python
    code was, as far as it could still tell, or ``""``. ``peak`` is the most memory it has had
    resident, in bytes; 0 if unknown. ``pid`` was its number.
    """

    def __init__(
        self,
        text: str,
        *,
        pid: int,
        signal: str | None = None,
        code: int | None = None,
        message: object = None,
        stack: str = "",
        peak: int = 0,
    ) -> None:
        super().__init__(text)
        self.pid = pid
        self.signal = signal
        self.code = code
        self.message = message
        self.stack = stack
        self.peak = peak
        if stack:
            self.add_note(f"Where process {pid} was:\n{stack}")


class RemoteError(Exception):
    """An exception that was raised in another process, told in words.

    The exception itself stays where it was raised, since nothing is unpickled that comes from
    there. ``type`` is the name of its class, ``text`` what it says, ``traceback`` the whole of its
    traceback, which is printed as a note.
    """

    def __init__(self, type: str, text: str, traceback: str = "") -> None:
        super().__init__(type, text)
        self.type = type
        self.text = text
        self.traceback = traceback
        if traceback:
            self.add_note(f"In its own process:\n{traceback}")

    def __str__(self) -> str:
        return f"{self.type}: {self.text}" if self.text else self.type


@attrs.frozen
class End:
    """How a process has ended, as the operating system tells it: the status of ``waitpid``, None
    if nobody knows, and the most memory it has had resident (bytes). ``why`` it never began."""

    status: int | None
    peak: int = 0
    why: str = ""

    @property
    def signal(self) -> str | None:
        """The name of the signal that ended it."""
        if self.status is None or not os.WIFSIGNALED(self.status):
            return None
        return signal_name(os.WTERMSIG(self.status))

    @property
    def code(self) -> int | None:
        """The exit code, if it has left by itself."""
        if self.status is None or not os.WIFEXITED(self.status):
            return None
        return os.WEXITSTATUS(self.status)


def died(
    path: str,
    pid: int,
    end: End,
    *,
    message: object = None,
    others: int = 0,
    verdict: Verdict | None = None,
    heartbeat: float | None = None,
    memory_limit: int | None = None,
    stack: str = "",
) -> ProcessDied:
    """The exception for a process that has ended unasked."""
    who = f"process {pid}" if pid else "its process"
    text = f"{path}: {who} {_how(end, verdict, heartbeat)}."
    if memory_limit is not None and end.peak > memory_limit * 3 // 4:
        text += (
            f" It had {end.peak // MIB} MiB of memory resident, and its memory_limit is "
            f"{memory_limit // MIB} MiB."
        )
    if message is not None:
        text += f" The last message it took: {_brief(carried(message))}"
        if others:
            text += f"; {others} more {'was' if others == 1 else 'were'} in hand."
    return ProcessDied(
        text,
        pid=pid,
        signal=end.signal,
        code=end.code,
        message=message,
        stack=stack,
        peak=end.peak,
    )


def signal_name(number: int) -> str:
    """The name of a signal; of one without, its number."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def ended_how(code: int) -> str:
    """What a ``Popen.returncode`` says."""
    return f"was ended by {signal_name(-code)}" if code < 0 else f"left with exit code {code}"


def _how(end: End, verdict: Verdict | None, heartbeat: float | None) -> str:
    if verdict == "silent":
        return (
            f"gave no sign of life for {heartbeat:g} s (an endless loop, or a handler that "
            "computes for longer without self.heartbeat()) and was killed"
        )
    if verdict == "stopped":
        return f"had been suspended (SIGSTOP) for {heartbeat:g} s and was killed"
    if verdict == "broken":
        return "sent what is no frame and was killed"
    if verdict == "detached":
        return "closed its connection without ending and was killed"
    if end.signal is not None:
        return f"was ended by {end.signal}"
    if end.code is not None:
        return f"left with exit code {end.code}"
    if end.why:
        return f"could not be started: {end.why}"
    return "has ended, and nobody can tell how: the process that watched over it has ended, too"


def _brief(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:
        text = object.__repr__(value)
    return text if len(text) <= 200 else f"{text[:197]}..."
