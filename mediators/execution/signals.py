"""Signals that have come to a workflow: each once, kept until the code receives it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Raw

from actors.payloads.types import Undecodable, UnknownType, journal_name

if TYPE_CHECKING:
    from mediators.execution.commands import Receive
    from mediators.execution.execution import Execution
    from mediators.history import Signalled

REMEMBERED = 10_000
"""Ids of signals a run remembers, so that one sent again counts once."""

_UNREAD: Any = object()


class Signal:
    """One that is not read yet."""

    __slots__ = ("_value", "event", "expires", "id")

    def __init__(self, id: str, event: Raw, expires: float | None) -> None:
        self.id = id
        self.event = event
        self.expires = expires
        self._value = _UNREAD

    @property
    def value(self) -> Any:
        """The event, once it was looked at."""
        return self._value

    def matches(self, receive: Receive, execution: Execution) -> bool:
        """Whether that is what the code waits for."""
        if self._value is _UNREAD:
            try:
                self._value = execution.types.decode(self.event)
            except UnknownType:
                # Its class may be known to a receive that is to come.
                if not self._named(journal_name(receive.type)):
                    return False
                return self.matches(receive, execution)
            except Undecodable:
                # Nobody could look at it when it came: it stays unread.
                return False
        if not isinstance(self._value, receive.type):
            return False
        if receive.where is None:
            return True
        value, where = self._value, receive.where
        return bool(execution.guarded(lambda: where(value)))

    def _named(self, name: str) -> bool:
        """Whether it came under this name without its module; from then on it has the whole."""
        given, version, fields = msgspec.msgpack.decode(self.event, type=tuple[str, int, Raw])
        if given == name or given != re.split(r"[.:]", name)[-1]:
            return False
        self.event = Raw(msgspec.msgpack.encode((name, version, fields)))
        return True


def is_late(signal: Signal | Signalled, execution: Execution) -> bool:
    """Whether it may not be read any more by the time of the turn, which is on record."""
    return signal.expires is not None and signal.expires <= execution.time


class Inbox:
    """The unread signals of one run, in the order they came."""

    __slots__ = ("seen", "unread")

    def __init__(self) -> None:
        self.unread: list[Signal] = []
        self.seen: dict[str, None] = {}

    def remember(self, id: str) -> None:
        """A signal of this id has come."""
        self.seen[id] = None
        if len(self.seen) > REMEMBERED:
            del self.seen[next(iter(self.seen))]

    def take(self, receive: Receive, execution: Execution) -> Signal | None:
        """The first signal that ``receive`` waits for, taken out."""
        for index, signal in enumerate(self.unread):
            if not is_late(signal, execution) and signal.matches(receive, execution):
                return self.unread.pop(index)
        return None

    def expire(self, id: str) -> None:
        """It was not read in time."""
        self.unread = [signal for signal in self.unread if signal.id != id]
