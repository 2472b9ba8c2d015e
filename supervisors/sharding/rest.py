"""Whether an actor has anything to do: one that has nothing may leave."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.isolation.far import Far
from supervisors.tree import Supervising

if TYPE_CHECKING:
    from actors.place import Place
    from supervisors.entries import Entry


def at_rest(place: Place) -> bool:
    """Whether there is nothing to do, now or later: no message, no turn, no timer or timeout, no
    task, no owed answer; and the same of everybody below. Of a process nobody can tell."""
    if place.state in ("stopped", "gone"):
        return True
    if place.state != "up" or isinstance(place.actor, Far) or has_work(place):
        return False
    spoken_to = place.ref._place
    if spoken_to is not place and not at_rest(spoken_to):
        return False
    below: list[Entry] = []
    if isinstance(place.actor, Supervising):
        if place.actor._holds_messages:
            return False
        below = place.actor._entries()
    return all(at_rest(each.place) for each in below if each.place is not spoken_to)


def has_work(place: Place) -> bool:
    """Whether the actor of a place that is up has something to do, or waits for something."""
    mailbox, idle = place.mailbox, place.idle_timer
    return bool(
        place.busy
        or mailbox
        or (mailbox is not None and mailbox.stash)
        or place.actor_timers
        or place.side
        or (idle is not None and idle.running)
        or (place.actor.has_states and place.actor._machine.timeouts)
        or any(not slot.done for slot in place.held or ())
    )
