"""Messages on their way to one place of another process."""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import trio
from msgspec import Raw

from actors.isolation.frames import Abandoned, Message
from actors.isolation.page import DONE, SENT, TAKEN
from actors.mailbox import CAUSE, CORRELATION, ID, SENDER
from actors.payloads.names import NotEncodable
from actors.runtime import calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.isolation.link import Link
    from actors.place import Place
    from actors.replies import Slot

logger = logging.getLogger("actors")

BLOCKED = 2
"""Of ``place.suspended``: nothing more is sent until something was taken."""


class Flight:
    """One message that was sent, until it is known what became of it."""

    __slots__ = ("item", "message", "number", "outlet", "slot")

    def __init__(
        self, number: int, message: object, slot: Slot | None, item: Any, outlet: Outlet
    ) -> None:
        self.number = number
        self.message = message
        self.slot = slot
        self.item = item
        """As it stood in the queue here, its origin included."""
        self.outlet = outlet

    @property
    def queued(self) -> Any:
        """What to put back into the queue here."""
        item = self.item
        if type(item) is tuple:
            return (self.message, self.slot, *item[SENDER:6])
        return self.message if self.slot is None else (self.message, self.slot, None, 0, 0, 0)


class Outlet:
    """The way to one place at the other end, ``target``; ``place`` stands for it here.

    At most so many messages are on their way as the link's window says: then the place here is held
    up until some were taken from their queue there, its own queue fills, and who sends to it waits,
    or is told that it is full.
    """

    __slots__ = ("_aside", "_casts", "_link", "_open", "_sent", "_taken", "place", "target")

    def __init__(self, link: Link, target: int, place: Place) -> None:
        self._link = link
        self.target = target
        self.place = place
        self._sent: deque[int] = deque()
        """The numbers of what was not taken yet, in order."""
        self._open: dict[int, Flight] = link.flights
        self._casts: deque[Flight] = deque()
        """One-way messages that were sent, in order, until it is known that they were taken."""
        self._aside: dict[int, Flight] = {}
        """Those of them that were set aside, and the one that was taken last, by number."""
        self._taken = 0

    def post(self, message: object, slot: Slot | None, item: Any) -> None:
        """Send a message; what cannot leave fails its caller, or is a dead letter."""
        link, place = self._link, self.place
        try:
            payload = link.encode(message, "the message")
        except NotEncodable as error:
            self._unsent(slot, item, error)
            return
        number = link.outgoing.sent(link.next_number)
        flight = Flight(number, message, slot, item, self)
        frame = Message(number, self.target, Raw(payload), slot is not None)
        if slot is not None:
            self._open[number] = flight
            slot.room = (self, flight)
            if slot.deadline is not None:
                frame.left = slot.deadline - trio.current_time()
            frame.key = slot.key
            frame.timed = slot.timed
            frame.attempt = slot.attempt
        else:
            self._casts.append(flight)
        if type(item) is tuple:
            sender = item[SENDER]
            if sender is not None:
                frame.sender = link.speak(sender)
            frame.id, frame.correlation, frame.cause = item[ID], item[CORRELATION], item[CAUSE]
        link.send(frame)
        self._sent.append(number)
        if len(self._sent) >= link.window:
            place.suspended |= BLOCKED
            place.look()
            if place.far:
                link.keep(place)

    def _unsent(self, slot: Slot | None, item: Any, error: Exception) -> None:
        if slot is not None:
            slot.fail(error)
        else:
            logger.warning("%s: a message is lost, it cannot leave: %s", self.place.path, error)
            self.place.scheduler.dead_letter(self.place, item, f"it cannot leave: {error}")

    def flights(self) -> list[Flight]:
        """What was sent and of which it is not known what became of it, in order."""
        waiting = [each for each in self._open.values() if each.outlet is self]
        return sorted((*waiting, *self._casts, *self._aside.values()), key=_by_number)

    def in_hand(self) -> list[Flight]:
        """The calls that were begun there and are not answered, in order. Of one-way messages
        nobody is told when they are over."""
        page = self._link.outgoing
        aside = page.aside()
        return [
            each
            for each in self.flights()
            if each.slot is not None
            and each.item is not None  # what is asked inside is no message
            and page.fate(each.number) == TAKEN
            and each.number not in aside
        ]

    def last_taken(self) -> Flight | None:
        """The message that was taken last there, if it is still known; one that is in hand, if that
        one is over."""
        page = self._link.outgoing
        if page.fate(page.latest) == DONE and (in_hand := self.in_hand()):
            return in_hand[-1]
        return self.latest()

    def latest(self) -> Flight | None:
        """The message that was taken last there, if it is still known."""
        link = self._link
        number, latest = link.outgoing.latest, link.latest
        if latest is not None and latest.number == number:
            return latest
        return next((each for each in self.flights() if each.number == number), None)

    def withdraw(self, flight: Flight) -> None:
        """Nobody waits for the answer any more."""
        if self._open.pop(flight.number, None) is not None:
            self._link.send(Abandoned(flight.number))

    def recall(self, number: int) -> Flight | None:
        """The one-way message of that number, which was not begun and is ours again."""
        found = self._aside.pop(number, None)
        if found is None:
            found = next((each for each in self._casts if each.number == number), None)
            if found is not None:
                self._casts.remove(found)
        return found

    def taken(self, number: int) -> None:
        """Everything up to this number was taken from the queue there."""
        sent = self._sent
        while sent and sent[0] <= number:
            sent.popleft()
        casts = self._casts
        if (casts and casts[0].number <= number) or self._aside:
            self._look_at_casts(number)
        place = self.place
        if place.suspended & BLOCKED and len(sent) < self._link.window:
            place.suspended &= ~BLOCKED
            place.look()
            if place.far and not place.mailbox:
                self._link.let_go(place)

    def _look_at_casts(self, number: int) -> None:
        """Forget the one-way messages that were handled. The one that was taken last may still be,
        and be set aside after all."""
        page = self._link.outgoing
        latest, kept = page.latest, page.kept()
        casts = self._casts
        if self._aside:
            self._aside = {
                number: each
                for number, each in self._aside.items()
                if number in kept or number == latest
            }
        while casts and casts[0].number <= number:
            flight = casts.popleft()
            self._link.latest = flight
            if flight.number in kept or flight.number == latest:
                self._aside[flight.number] = flight

    def give_up(self, error: Callable[[Flight], BaseException]) -> None:
        """The other end is no more: what was begun there fails with ``error``, what was not goes
        back to the front of the queue here, as does what was set aside."""
        page = self._link.outgoing
        aside = page.aside()
        back: list[Flight] = []
        for flight in self.flights():
            self._open.pop(flight.number, None)
            slot = flight.slot
            if slot is not None:
                slot.room = None
                if slot.done:
                    continue
            if page.fate(flight.number) == SENT or flight.number in aside:
                back.append(flight)
            elif slot is not None:
                slot.fail(error(flight))
        self._casts.clear()
        self._aside.clear()
        self._sent.clear()
        self._put_back(back)

    def _put_back(self, flights: list[Flight]) -> None:
        place = self.place
        if not flights:
            return
        if calls.is_closed(place):
            for flight in flights:
                place.scheduler.refuse(place, flight.queued)
            return
        for flight in flights:
            if flight.slot is not None:
                flight.slot.taken = False
                flight.slot.holder = place
        place.open_mailbox().extendleft(flight.queued for flight in reversed(flights))


def _by_number(flight: Flight) -> int:
    return flight.number
