"""Messages that have come from another process: their reply slots, and when they are taken."""

from __future__ import annotations

import logging
from collections import deque
from math import inf
from time import perf_counter
from typing import TYPE_CHECKING
from weakref import ref as weak

import trio
from msgspec import Raw

from actors import messages
from actors.exits import NoSuchActor
from actors.isolation.faults import fault_of, undecodable
from actors.isolation.frames import Answer, BrokenLink, Failed, GivenBack, Message, Refused
from actors.isolation.page import DONE
from actors.payloads.names import NotEncodable
from actors.replies import Slot
from actors.runtime import calls

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.isolation.link import Link
    from actors.place import Place

logger = logging.getLogger("actors")


class Arrival(Slot):
    """The reply slot of a call that has come over a link: its answer goes back there."""

    __slots__ = ("attempt", "began", "key", "link", "number")

    key: str | None
    attempt: int

    def __init__(self, link: Link, frame: Message, message: object, place: Place) -> None:
        left = frame.left
        if left is not None and not left > -inf:
            raise BrokenLink(f"A caller waits for so many seconds. Got: {left}")
        deadline = None if left is None else trio.current_time() + left
        super().__init__(message, place, None, deadline)
        self.link = link
        self.number = frame.number
        self.key = frame.key
        self.attempt = frame.attempt
        self.began: float | None = 0.0 if frame.timed else None
        """When it was taken, if its answer is to say how long it took."""

    def settle(self) -> None:
        """There is an answer."""
        super().settle()
        link = self.link
        if link.arrivals.pop(self.number, None) is not None:
            link.incoming.note(self.number, DONE)
            link.send_back(self)

    def drop(self) -> None:
        """The caller has gone: a handler that runs goes on, one that has not begun does not."""
        super().settle()


class Ticket:
    """Of one message that has come in: tells the other end when it is taken."""

    __slots__ = ("arrival", "inlet", "number")

    follows = True

    def __init__(self, inlet: Inlet, number: int, arrival: Arrival | None) -> None:
        self.inlet = inlet
        self.number = number
        self.arrival = arrival

    def taken(self) -> None:
        """It is about to be handled."""
        inlet = self.inlet
        arrival = self.arrival
        if arrival is not None and arrival.began is not None:
            arrival.began = perf_counter()
        link = inlet.link
        link.connection.flush()
        link.incoming.took(self.number)
        inlet.took(self.number)

    def set_aside(self, place: Place) -> None:
        """It was put into the stash; a crash in the turn that has done that is its crash."""
        self.inlet.link.incoming.set_aside(self.number)
        place.request(self.settled)

    def passed_on(self) -> None:
        """It waits in another queue of this process, and was not begun."""
        self.inlet.link.incoming.pass_on(self.number)

    def give_back(self) -> None:
        """It was not begun here, and is the sender's again, the caller still waiting. To the page
        it is set aside until the sender has it: should this process end before, it is not lost."""
        inlet, number, arrival = self.inlet, self.number, self.arrival
        link = inlet.link
        if arrival is not None:
            link.arrivals.pop(number, None)
            arrival.drop()
        at = link.incoming.give_back(number)
        link.send(GivenBack(number, inlet.number, at))

    def settled(self, _: Place | None = None) -> None:
        """The turn is over in which it was put into the stash."""
        self.inlet.link.incoming.settle(self.number)


class Inlet:
    """The way in to one place here; None: to one that is no more."""

    __slots__ = ("_behind", "_came", "_place", "_told", "_took", "link", "number", "offered")

    def __init__(self, link: Link, number: int, place: Place | None) -> None:
        self.link = link
        self.number = number
        self._place: Callable[[], Place | None] = _nobody if place is None else weak(place)
        self._came = 0
        """The last message that was queued."""
        self._behind: deque[tuple[int, int]] = deque()
        """What never was, each with the one that was queued last before it."""
        self._took = 0
        self._told = 0
        self.offered = False
        """The classes of the messages handled there are known to the link."""

    @property
    def place(self) -> Place | None:
        """None once nobody has it any more."""
        return self._place()

    def took(self, number: int) -> None:
        """A message was taken; told with the next packet, or when the window grows narrow."""
        link = self.link
        # What comes back out of the stash has a lower number than was told of.
        if number > self._took:
            behind = self._behind
            while behind and behind[0][0] <= number:
                number = behind.popleft()[1]
            self._took = number
            link.moved.add(self)
            if number - self._told > link.window // 4:
                link.connection.hurry()

    def news(self) -> tuple[int, int]:
        """The number of this inlet, and up to where everything was taken."""
        self._told = self._took
        return self.number, self._took

    def arrive(self, frame: Message) -> None:
        """Put a message into the queue, or answer at once what cannot be handled."""
        link = self.link
        place = self.place
        if place is None:
            self._refuse(frame, NoSuchActor("The place is gone; nobody will answer."))
            return
        try:
            message = link.decode(frame.payload)
        except Exception as error:
            self._refuse(frame, undecodable(error))
            return
        slot: Arrival | None = None
        if frame.call:
            slot = link.arrivals[frame.number] = Arrival(link, frame, message, place)
        sender = None if frame.sender is None else link.hear(frame.sender)
        ids = (frame.id, frame.correlation, frame.cause)
        if calls.is_closed(place):
            if self.number:
                link.incoming.note(frame.number, DONE)
            self._pass_over(frame.number)
            place.scheduler.refuse(place, (message, slot, sender, *ids))
            return
        mailbox = place.open_mailbox()
        mailbox.exempt += 1
        mailbox.append((message, slot, sender, *ids, Ticket(self, frame.number, slot)))
        self._came = frame.number
        if place.idle:
            place.scheduler.schedule(place)

    def _refuse(self, frame: Message, error: BaseException) -> None:
        self.link.incoming.note(frame.number, DONE)
        self._pass_over(frame.number)
        if frame.call:
            self.link.send(Failed(frame.number, fault_of(error)))
        else:
            place = self.place
            path = "A place that is gone" if place is None else place.path
            logger.warning("%s: a message from another process is lost: %s", path, error)

    def _pass_over(self, number: int) -> None:
        """A message is not queued. It counts as taken once all that came before it is."""
        if self._came > self._took and self.place is not None:
            self._behind.append((self._came, number))
        else:
            self.took(number)


def _nobody() -> None:
    """In place of a reference to somebody."""


def answer_of(arrival: Arrival, link: Link) -> Answer | Refused | Failed:
    """The frame that carries an answer back."""
    error, number, began = arrival.error, arrival.number, arrival.began
    try:
        if error is None:
            what = f"the answer to {type(arrival.message).__name__}"
            payload = Raw(link.encode(arrival.value, what))
            return Answer(number, payload, None if began is None else perf_counter() - began)
        if isinstance(error, messages.Answer):
            return Refused(number, Raw(link.encode_refusal(error)))
    except NotEncodable as failure:
        error = failure
    return Failed(number, fault_of(error))
