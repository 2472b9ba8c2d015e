"""Watching the end of somebody else's incarnation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from actors.exits import Crashed, NoSuchActor
from actors.mailbox import Unasked
from actors.messages import Down

if TYPE_CHECKING:
    from actors.exits import Exit
    from actors.place import Place


class Watcher(Protocol):
    """Somebody who is told of the end of an incarnation."""

    def resolve(self, exit: Exit, /) -> None:
        """It has ended."""


class Monitor(Unasked):
    """One watch on one incarnation: exactly one ``Down``, unless cancelled before. Made by
    :meth:`actors.Actor.monitor` and :meth:`actors.Ref.monitor`."""

    __slots__ = ("_place", "_queued", "_to", "incarnation")

    def __init__(self, place: Place, to: Place) -> None:
        self._place = place
        self._to = to
        self.incarnation = place.incarnation
        """Of somebody in another process, what is known here until it has ended."""
        self._queued = False

    def resolve(self, exit: Exit, /) -> None:
        """Queue the ``Down``; it does not count against the mailbox bound."""
        self._queued = True
        self._to.post(Down(self._place.ref, self.incarnation, exit), self)

    def taken(self) -> None:
        """The ``Down`` is being handled."""
        self._queued = False
        if self._to.monitors is not None:
            self._to.monitors.discard(self)

    def cancel(self) -> None:
        """Watch no more; a ``Down`` that is queued already is taken back. Not a checkpoint."""
        self._place.unwatch(self)
        if self._queued and self._to.mailbox is not None:
            self._to.mailbox.take_out(self)
        self.taken()


def monitor(place: Place, to: Place) -> Monitor:
    """Begin to watch: of what has ended already the ``Down`` comes at once."""
    watch = Monitor(place, to)
    if place.running:
        place.watch(watch)
    elif place.exit is not None:
        watch.resolve(place.exit)
    else:
        never = NoSuchActor(f"{place.path} is {place.state} and never ran.", ref=place.ref)
        watch.resolve(Crashed(never))
    return watch
