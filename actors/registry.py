"""Names and groups: how actors find each other without being handed refs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors.mailbox import NOWHERE
from actors.ref import Ref

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.place import Place


class Registry:
    """The names of one system. A name belongs to a place, from its start until it is stopped or
    gone, restarts included."""

    def __init__(self) -> None:
        self._places: dict[str, Place] = {}

    def claim(self, name: str, place: Place) -> Place | None:
        """Take a name: None if it is ours now, else the place that has it."""
        owner = self._places.setdefault(name, place)
        return None if owner is place else owner

    def release(self, name: str, place: Place) -> None:
        """Give a name back; harmless if it was never had."""
        if self._places.get(name) is place:
            del self._places[name]

    def find(self, name: str) -> Place | None:
        """The place that has the name."""
        return self._places.get(name)

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[str]:
        return iter(self._places)


class Groups:
    """Named sets of actors; publishing casts to every member.

    A member leaves by itself when its place is stopped or gone, and stays through restarts. As
    ``system.groups`` they belong to one system. The idea is that of Erlang's ``pg``.
    """

    def __init__(self) -> None:
        self._members: dict[str, dict[Place, None]] = {}
        self._joined: dict[Place, dict[str, None]] = {}

    def join(self, group: str, ref: Ref[Any]) -> None:
        """Add a member; joining twice is joining once, and a place that is stopped or gone joins
        nothing. Not a checkpoint. Raises TypeError for what is no str and no Ref."""
        if not isinstance(group, str) or not isinstance(ref, Ref):
            raise TypeError(f"join() takes a group's name and a Ref. Got: {group!r}, {ref!r}")
        if ref.state not in ("stopped", "gone"):
            self._members.setdefault(group, {})[ref._place] = None
            self._joined.setdefault(ref._place, {})[group] = None

    def leave(self, group: str, ref: Ref[Any]) -> None:
        """Remove a member; harmless if it is none. Not a checkpoint."""
        joined = self._joined.get(ref._place, {})
        if group in joined:
            del joined[group]
            if not joined:
                del self._joined[ref._place]
            self._remove(group, ref._place)

    def forget(self, place: Place) -> None:
        """A place is stopped or gone: it leaves every group."""
        for group in self._joined.pop(place, ()):
            self._remove(group, place)

    def _remove(self, group: str, place: Place) -> None:
        members = self._members[group]
        del members[place]
        if not members:
            del self._members[group]

    def members(self, group: str) -> list[Ref[Any]]:
        """Those that are neither stopped nor gone, in the order they joined. Not a checkpoint."""
        return [place.ref for place in self._members.get(group, ())]

    def publish(self, group: str, message: object) -> int:
        """Cast to every member; returns how many took it. A full mailbox misses it: the message is
        a dead letter there, and the others still get it. Not a checkpoint."""
        from actors.exits import MailboxFull

        taken = 0
        for ref in self.members(group):
            try:
                ref.cast(message)
                taken += 1
            except MailboxFull:
                place = ref._place
                item = (message, None, *NOWHERE)
                place.scheduler.dead_letter(place, item, "the mailbox is full")
        return taken
