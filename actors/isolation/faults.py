"""Errors and exits in words, and back: what one process tells another about what went wrong.

The classes of ours come back as themselves. Any other exception stays where it was raised, and a
:class:`RemoteError` stands for it.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Any

from actors.exits import (
    ActorDied,
    ActorError,
    CallCycle,
    CallTimeout,
    Crashed,
    Killed,
    MailboxFull,
    Normal,
    NoSuchActor,
    Shutdown,
    StartFailed,
    Unhandled,
)
from actors.isolation.ends import RemoteError
from actors.isolation.frames import Fault
from actors.isolation.options import MIB
from actors.payloads.types import NotEncodable, Undecodable, UnknownType

if TYPE_CHECKING:
    from actors.exits import Exit
    from actors.place import Place

LONGEST = 20_000
"""Characters of a text, or of a traceback, that are told."""

_PLAIN: dict[str, type[Any]] = {
    each.__name__: each for each in (NoSuchActor, MailboxFull, Unhandled, StartFailed)
}
_VALUES: dict[str, type[Exception]] = {each.__name__: each for each in (NotEncodable, Undecodable)}


def fault_of(error: BaseException) -> Fault:
    """An error, in words."""
    kind = type(error).__name__
    if isinstance(error, ActorDied):
        exit = exit_fault(error.exit)
        return Fault(f"ActorDied:{exit.kind}", _text(error), exit.type, exit.why, exit.traceback)
    if isinstance(error, CallTimeout):
        return Fault("CallTimeout:inherited" if error.inherited else "CallTimeout", _text(error))
    if isinstance(error, ActorError):
        cause = error.__cause__
        if cause is None:
            return Fault(kind, _text(error))
        return Fault(kind, _text(error), *_told(cause))
    if isinstance(error, NotEncodable | Undecodable):
        return Fault(kind, _text(error))
    if isinstance(error, UnknownType):
        return Fault("Undecodable", _text(error))
    return Fault("", "", *_told(error))


def error_of(fault: Fault, place: Place, message: object) -> BaseException:
    """The error that a caller gets who has sent ``message`` to ``place``."""
    kind, _, more = fault.kind.partition(":")
    ref = place.ref
    error: BaseException
    if kind == "ActorDied":
        exit = exit_of(Fault(more, "", fault.type, fault.why, fault.traceback))
        error = ActorDied(fault.text, exit=exit, ref=ref, message=message)
        error.__cause__ = getattr(exit, "exception", None)
    elif kind == "CallTimeout":
        inherited = more == "inherited"
        error = CallTimeout(fault.text, timeout=None, inherited=inherited, ref=ref, message=message)
    elif kind == "CallCycle":
        error = CallCycle(fault.text, chain=(), ref=ref, message=message)
    elif kind in _PLAIN:
        error = _PLAIN[kind](fault.text, ref=ref, message=message)
        error.__cause__ = _behind(fault)
    elif kind in _VALUES:
        error = _VALUES[kind](fault.text)
    elif kind:
        error = ActorError(fault.text, ref=ref, message=message)
        error.__cause__ = _behind(fault)
    else:
        error = RemoteError(fault.type, fault.why, fault.traceback)
    return error


def undecodable(error: Exception) -> Exception:
    """What is said of a payload that cannot be read: classes of users may raise anything."""
    if isinstance(error, UnknownType):
        return Undecodable(
            f"What has come is a {error.name}, which is not known here: known are the messages "
            "that are handled at either end, and what their annotations and answers name."
        )
    if isinstance(error, Undecodable):
        return error
    return Undecodable(f"What has come cannot be read: {type(error).__name__}: {error}")


def exit_fault(exit: Exit) -> Fault:
    """An exit, in words."""
    if isinstance(exit, Crashed):
        return Fault("Crashed", "", *_told(exit.exception))
    if isinstance(exit, Shutdown):
        reason = exit.reason
        return Fault("Shutdown", "" if reason is None else _text(reason))
    return Fault(type(exit).__name__)


def exit_of(fault: Fault) -> Exit:
    """The exit, back from its words: the reason of a ``Shutdown`` is text now."""
    if fault.kind == "Crashed":
        return Crashed(RemoteError(fault.type, fault.why, fault.traceback))
    if fault.kind == "Shutdown":
        return Shutdown(fault.text or None)
    return Killed() if fault.kind == "Killed" else Normal()


def _behind(fault: Fault) -> RemoteError | None:
    return RemoteError(fault.type, fault.why, fault.traceback) if fault.type else None


def _told(error: BaseException) -> tuple[str, str, str]:
    """Class, text and traceback; of what is a RemoteError already, those it tells of."""
    if isinstance(error, RemoteError):
        return error.type, error.text, error.traceback
    cls = type(error)
    name = (
        cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"
    )
    try:
        lines = "".join(traceback.format_exception(error))
    except Exception:
        lines = ""
    text = _text(error)
    if isinstance(error, MemoryError):
        text = "; ".join(filter(None, (text, _limit_of_memory())))
    return name, text, words(lines[-LONGEST:])


def _limit_of_memory() -> str:
    """What is said of the limit of this process, which its memory has come to; ``""`` for none."""
    import resource  # which is not everywhere that this is imported

    limit, _ = resource.getrlimit(resource.RLIMIT_DATA)
    if limit == resource.RLIM_INFINITY:
        return ""
    return f"its memory_limit is {limit // MIB} MiB (RLIMIT_DATA: data, not resident memory)"


def _text(value: object) -> str:
    """What it says, as text that can be encoded; nothing, where ``str()`` raises."""
    try:
        text = str(value)
    except Exception:
        return ""
    return words(text)


def words(text: str) -> str:
    """As much of a text as is told, without halves of characters, which cannot be encoded."""
    return text[:LONGEST].encode("utf-8", "backslashreplace").decode()
