"""The turn of an actor that awaits, who is waiting for whom, and where a message comes from."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from actors.exits import CallCycle
from actors.mailbox import CAUSE, CORRELATION, ID, MESSAGE, SLOT
from actors.replies import Slot

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.dispatch import Route
    from actors.messages import Envelope
    from actors.place import Place


class Wait(Protocol):
    """Something a turn waits for: a reply slot, a start, a stop, room in a mailbox."""

    @property
    def holder(self) -> Place | None:
        """The place it depends on, if it depends on one."""


class Turn:
    """One message being handled by an actor's own task, or a callback of it.

    Tasks opened inside the handler inherit it through the context. Once it has ended only sender
    and correlation id remain of it.
    """

    __slots__ = (
        "atomic",
        "deadline",
        "ended",
        "envelope",
        "item",
        "place",
        "route",
        "slot",
        "started",
        "undo",
        "waits",
    )

    def __init__(self, place: Place, item: Any, slot: Slot | None, route: Route | None) -> None:
        self.place = place
        self.item = item
        self.slot = slot
        self.route = route
        self.deadline = slot.deadline if slot is not None else None
        self.atomic = False
        """A plain handler behind middleware runs just now, and nothing else can."""
        self.undo: Callable[[], object] | None = None
        """Called when that handler raises, before any layer sees it."""
        self.envelope: Envelope | None = None
        """What the middleware has passed on, while it goes further in."""
        self.waits: list[Wait] | None = None
        self.ended = False
        self.started: float | None = None
        """When it began, if somebody observes turns."""

    def begin_wait(self, wait: Wait) -> None:
        """Note what this turn waits for. Raises CallCycle if that would wait for this turn."""
        if self.ended:
            return
        if wait.holder is not None:
            refuse_cycle(self.place, wait.holder)
        if self.waits is None:
            self.waits = []
        self.waits.append(wait)

    def end_wait(self, wait: Wait) -> None:
        """The wait is over."""
        if self.waits and wait in self.waits:
            self.waits.remove(wait)


current_turn: ContextVar[Turn | None] = ContextVar("current_turn", default=None)
"""The turn that the running task belongs to; plain turns are known to the scheduler instead."""


def refuse_cycle(waiter: Place, target: Place) -> None:
    """Raise CallCycle if ``target`` waits, directly or through others, for ``waiter``."""
    chain = _find(target, waiter, [waiter])
    if chain is not None:
        names = " → ".join(place.path for place in chain)
        raise CallCycle(
            f"Waiting here would be for ever, each waits for the next: {names}. Send a message "
            "instead of waiting, or let one of them answer later.",
            chain=[place.ref for place in chain],
            ref=target.ref,
        )


def break_cycle(waiter: Place, target: Place) -> None:
    """``waiter`` is about to wait for ``target`` without a turn of its own that could raise: if
    that closes a ring, the call in it that waits for ``waiter`` fails with CallCycle instead."""
    chain = _find(target, waiter, [waiter])
    if chain is None:
        return
    for wait in waits_of(chain[-2]):
        if wait.holder is waiter and isinstance(wait, Slot):
            try:
                refuse_cycle(waiter, target)
            except CallCycle as error:
                wait.fail(error)


def _find(place: Place, goal: Place, chain: list[Place]) -> list[Place] | None:
    if place is goal:
        return [*chain, place]
    if place in chain:
        return None
    for wait in waits_of(place):
        if wait.holder is not None:
            found = _find(wait.holder, goal, [*chain, place])
            if found is not None:
                return found
    return None


def waits_of(place: Place) -> list[Wait]:
    """What the running turn of ``place`` waits for; a nursery may wait for several. Who is still to
    come to a place below the one its supervisor knows waits for what holds that one up."""
    if not place.running:
        place = place.house
    waits = list(place.turn.waits) if place.turn is not None and place.turn.waits else []
    if place.stage is not None and place.stage.waiting is not None:
        waits.append(place.stage.waiting)
    return waits


def make_item(message: object, slot: Slot | None, sender: Place, turn: Turn | None) -> Any:
    """A queue item for a message sent by ``sender``, which causes it unless its turn has ended."""
    next_id = sender.scheduler.next_id
    if turn is None:
        origin = sender.identified()
        return (message, slot, sender, next_id(), origin[CORRELATION], origin[ID])
    origin = identified(turn.item, next_id)
    turn.item = origin
    if turn.ended:
        return (message, slot, sender, next_id(), origin[CORRELATION], 0)
    return (message, slot, sender, next_id(), origin[CORRELATION], origin[ID])


def present_correlation(place: Place) -> int:
    """The correlation id of the message that ``place`` handles just now; 0 outside of any."""
    if place.scheduler.current is place:
        return 0 if place.item is None else int(place.identified()[CORRELATION])
    turn = current_turn.get()
    if turn is None or turn.place is not place or turn.item is None:
        return 0
    turn.item = identified(turn.item, place.scheduler.next_id)
    return int(turn.item[CORRELATION])


def identified(item: Any, next_id: Any) -> Any:
    """The item with its ids drawn."""
    if type(item) is not tuple:
        drawn = next_id()
        return (item, None, None, drawn, drawn, 0)
    if not item[ID]:
        drawn = next_id()
        correlation = item[CORRELATION] or drawn
        return (item[MESSAGE], item[SLOT], item[2], drawn, correlation, item[CAUSE], *item[6:])
    return item
