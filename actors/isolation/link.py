"""A link: one end of what connects two systems in two processes.

Both ends are alike. Each has *inlets*, one for each of its places that the other may speak to, and
*far places* that stand for those of the other. A message goes out by an outlet and comes in by an
inlet; its answer goes back by its number. The frames themselves go over a
:class:`~actors.isolation.connection.Connection`.
"""

from __future__ import annotations

import logging
import sys
from abc import ABC, abstractmethod
from math import inf
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary, WeakValueDictionary

import trio
from msgspec import Raw

from actors.exits import Crashed, Killed, NoSuchActor
from actors.isolation import frames as f
from actors.isolation.connection import Connection
from actors.isolation.far import FarPlace, FarWatcher
from actors.isolation.faults import error_of, exit_fault, exit_of, undecodable
from actors.isolation.inlet import Inlet, answer_of
from actors.isolation.outlet import BLOCKED
from actors.isolation.wire import WireTypes
from actors.payloads.names import NotEncodable
from actors.place import factory_name
from actors.runtime import lifecycle

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping, Sequence

    from actors.isolation.inlet import Arrival
    from actors.isolation.outlet import Flight
    from actors.isolation.page import NoPage, Page
    from actors.place import Place
    from actors.runtime.stages import Pending
    from actors.runtime.system import System

logger = logging.getLogger("actors")

_PAUSE = 0.001
"""Seconds between two looks at whether last words are out."""
MAIN = 0
"""The number of the inlet that every worker has: that of the actor it was made for."""


class Link(ABC):
    """What both ends have in common. ``window`` and ``max_message`` are those of
    :class:`actors.isolation.options.Process`."""

    def __init__(
        self,
        system: System,
        connection: socket.socket,
        *,
        outgoing: Page | NoPage,
        incoming: Page | NoPage,
        window: int,
        max_message: int,
    ) -> None:
        self.system = system
        self.connection = Connection(
            connection,
            max_message + f.OVERHEAD,
            do=self.do,
            ended=self.ended,
            news=self._news,
        )
        self.send = self.connection.send
        """Every message goes this way: looked up once."""
        self.outgoing = outgoing
        """Where it is noted what becomes of what is sent,"""
        self.incoming = incoming
        """and of what comes in."""
        self.window = window
        self.max_message = max_message
        self.types = WireTypes(self.speak, self.hear)
        self.flights: dict[int, Flight] = {}
        """The calls that are out, by number."""
        self.arrivals: dict[int, Arrival] = {}
        """The calls that have come in and are not answered."""
        self.moved: set[Inlet] = set()
        """Inlets with something to tell of what was taken."""
        self.latest: Flight | None = None
        """What was answered, or taken, last."""
        self._inlets: dict[int, Inlet] = {}
        self._numbers: WeakKeyDictionary[Place, int] = WeakKeyDictionary()
        self._fars: WeakValueDictionary[int, FarPlace] = WeakValueDictionary()
        self._lost: WeakValueDictionary[int, FarPlace] = WeakValueDictionary()
        """What stands for places of this end that are no more, by the numbers they had."""
        self._kept: set[Place] = set()
        """Those far places that somebody watches, or where something waits, whoever has a ref."""
        self._main: FarPlace | Place | None = None
        self._watchers: set[FarWatcher] = set()
        """Those of the other end who wait for the end of somebody here."""
        self._questions: dict[int, Pending] = {}
        self._number = 0
        self._limit = 64
        """So many inlets, and those whose places are no more are let go."""
        self._handlers: dict[type, Callable[[Any], object]] = {
            f.Message: self._arrived,
            f.Answer: self._answered,
            f.Refused: self._refused,
            f.Failed: self._failed,
            f.Taken: self._taken,
            f.Abandoned: self._abandoned,
            f.GivenBack: self._given_back,
            f.Watch: self._watch,
            f.Down: self._down,
            f.StopFar: self._stop_far,
            **self.handlers(),
        }

    # -- what the two kinds of ends do differently

    @abstractmethod
    def handlers(self) -> Mapping[type, Callable[[Any], object]]:
        """What is done with the frames that only this kind of end gets."""

    @abstractmethod
    def ended(self, broken: f.BrokenLink | None) -> None:
        """Nothing comes in any more; ``broken`` says what was wrong with what came last."""

    @abstractmethod
    def declare(self) -> None:
        """Tell the other end of the classes in ``types.news``. Raises NotEncodable."""

    # -- places

    def stand_for(self, place: Place) -> None:
        """``place`` is what the main inlet of the other end is known as here."""
        self._main = place

    def admit(self, place: Place, number: int | None = None) -> int:
        """Let the other end speak to a place of this one; the number of its inlet."""
        known = self._numbers.get(place)
        if known is None:
            known = self.next_number() if number is None else number
            self._numbers[place] = known
            self._inlets[known] = Inlet(self, known, place)
            if len(self._inlets) > self._limit:
                self._inlets = {
                    n: each for n, each in self._inlets.items() if each.place is not None
                }
                self._limit = 2 * len(self._inlets) + 64
        return known

    def speak(self, place: Place) -> f.Address:
        """The address of a place, for the other end."""
        if place is self._main:
            return f.Address(True, MAIN)
        if not isinstance(place, FarPlace) or place.link is not self:
            number = self.admit(place)
        elif self._lost.get(place.number) is place:
            number = place.number
        else:
            return f.Address(True, place.number)
        name = factory_name(place.spec.factory)
        return f.Address(False, number, place.path, name, place.incarnation)

    def hear(self, address: f.Address, echo: bool = False) -> Place:
        """The place of an address that has come from the other end. ``echo``: the address is one of
        ours, read back before it is sent."""
        if address.yours != echo:
            place = self._place(address.id)
            return self._nowhere(address) if place is None else place
        if address.id == MAIN and self._main is not None:
            return self._main
        far = self._fars.get(address.id)
        if far is None:
            far = FarPlace(self, address.id, address.path, address.name, address.incarnation)
            if self.connection.closed:
                far.lose(ConnectionError("The process it lived in has ended."))
            else:
                self._fars[address.id] = far
        return far

    def keep(self, far: Place) -> None:
        """Have a far place last, though nobody may have its ref."""
        self._kept.add(far)

    def let_go(self, far: Place) -> None:
        """Nobody watches it, or nothing waits there, any more."""
        if not (far.watchers or far.suspended):
            self._kept.discard(far)

    def _nowhere(self, address: f.Address) -> Place:
        """The other end speaks of a place that nobody here has any more. As long as it is spoken of
        here, too, it is one and the same, under the number it had."""
        place = self._lost.get(address.id)
        if place is None:
            place = FarPlace(self, address.id, address.path, address.name, address.incarnation)
            place.lose(NoSuchActor("The place is gone."))
            self._lost[address.id] = place
        return place

    # -- out

    def next_number(self) -> int:
        """For messages, questions and inlets alike."""
        self._number += 1
        return self._number

    def question(self, pending: Pending) -> int:
        """The number under which the answer to a question will come: it resolves ``pending``."""
        number = self.next_number()
        if self.connection.closed:
            pending.resolve(None)
        else:
            self._questions[number] = pending
        return number

    def encode(self, value: object, what: str) -> bytes:
        """A payload, its classes made known to the other end. Raises NotEncodable, whatever the
        classes of users may raise."""
        types = self.types
        cls = type(value)
        try:
            if cls not in types.told:
                types.learn(cls)
            payload = types.encode(value, what)
        except NotEncodable:
            raise
        except Exception as error:
            raise NotEncodable(
                f"Cannot write down {what}: {type(error).__name__}: {error}"
            ) from error
        return self._checked(payload, what)

    def encode_refusal(self, error: BaseException) -> bytes:
        """The same of a refusal."""
        return self._checked(self.types.encode_refusal(error), f"the {type(error).__name__}")

    def _checked(self, payload: bytes, what: str) -> bytes:
        """One that may leave, the classes in it declared."""
        if len(payload) > self.max_message:
            raise NotEncodable(
                f"A message, an answer or a refusal has at most {self.max_message} bytes "
                f"(max_message). Got: {what} of {len(payload)}"
            )
        if self.types.news:
            self.declare()
        return payload

    def send_back(self, arrival: Arrival) -> None:
        """The answer to a call that has come in."""
        self.send(answer_of(arrival, self))

    # -- in

    def _arrived(self, frame: f.Message) -> None:
        inlet = self._inlets.get(frame.target)
        if inlet is None:
            if not MAIN < frame.target <= self._number:
                raise f.BrokenLink(f"A message to a place that was never spoken of: {frame.target}")
            # The place is no more, and its inlet was let go.
            inlet = self._inlets[frame.target] = Inlet(self, frame.target, None)
        if not inlet.offered:
            inlet.offered = True
            self._offer(inlet)
        inlet.arrive(frame)

    def _offer(self, inlet: Inlet) -> None:
        """Let the classes be known that are handled at a place: those of what comes in there."""
        place = inlet.place
        if place is not None and place.running:
            for routes in type(place.actor).routes.values():
                for message in routes.messages:
                    self.types.offer(message)
            for message in place.routes.messages:
                self.types.offer(message)

    def _answered(self, frame: f.Answer) -> None:
        seconds = frame.seconds
        if seconds is not None and not 0 <= seconds < inf:
            raise f.BrokenLink(f"An answer takes so many seconds. Got: {seconds}")
        flight = self._landed(frame.number)
        if flight is not None:
            assert flight.slot is not None
            try:
                value = self.decode(frame.payload)
            except Exception as error:
                flight.slot.fail(undecodable(error))
            else:
                slot: Any = flight.slot
                if seconds is not None:
                    slot.seconds = seconds
                slot.reply(value)
        elif (pending := self._questions.pop(frame.number, None)) is not None:
            pending.resolve(self.decode(frame.payload))

    def decode(self, payload: Raw) -> Any:
        """The value of a payload. Raises whatever its classes raise."""
        return self.types.decode(payload)

    def _refused(self, frame: f.Refused) -> None:
        flight = self._landed(frame.number)
        if flight is not None:
            assert flight.slot is not None
            try:
                error = self.types.decode_refusal(frame.payload)
            except Exception as failure:
                error = undecodable(failure)
            flight.slot.fail(error)

    def _failed(self, frame: f.Failed) -> None:
        flight = self._landed(frame.number)
        if flight is not None:
            assert flight.slot is not None
            flight.slot.fail(error_of(frame.fault, flight.outlet.place, flight.message))

    def _landed(self, number: int) -> Flight | None:
        flight = self.flights.pop(number, None)
        if flight is not None:
            self.latest = flight
            if flight.slot is not None:
                flight.slot.room = None
        return flight

    def _taken(self, frame: f.Taken) -> None:
        place = self._spoken_of(frame.target)
        if place is not None and place.running:
            place.actor._outlet.taken(frame.number)

    def _spoken_of(self, target: int) -> Place | None:
        """The place that stands here for one at the other end."""
        return self._main if target == MAIN else self._fars.get(target)

    def _abandoned(self, frame: f.Abandoned) -> None:
        arrival = self.arrivals.pop(frame.number, None)
        if arrival is not None:
            arrival.drop()

    def _given_back(self, frame: f.GivenBack) -> None:
        flight = self._landed(frame.number)
        place = self._spoken_of(frame.target)
        if flight is None and place is not None and place.running:
            flight = place.actor._outlet.recall(frame.number)
        self.outgoing.had_back(frame.number, frame.at)
        if flight is not None:
            place = flight.outlet.place
            if place.owner is None:
                place.scheduler.refuse(place, flight.queued)
            else:
                place.owner.given_back(place, flight.queued)

    # -- ends of others

    def _watch(self, frame: f.Watch) -> None:
        place = self._place(frame.target)
        if place is None:
            exit = exit_fault(Crashed(NoSuchActor("The place is gone.")))
            self._tell_down(frame.target, 0, exit)
        elif place.running:
            watcher = FarWatcher(self, frame.target, place)
            self._watchers.add(watcher)
            place.watch(watcher)
        else:
            never = Crashed(NoSuchActor(f"{place.path} is {place.state} and never ran."))
            exit = exit_fault(place.exit or never)
            self._tell_down(frame.target, place.incarnation, exit)

    def watched(self, watcher: FarWatcher) -> None:
        """It has told what it was to tell."""
        self._watchers.discard(watcher)

    def _tell_down(self, target: int, incarnation: int, exit: f.Fault) -> None:
        self.send(f.Down(target, incarnation, exit))

    def _down(self, frame: f.Down) -> None:
        far = self._fars.get(frame.target)
        if far is not None:
            far.down(frame.incarnation, exit_of(frame.exit))

    def _stop_far(self, frame: f.StopFar) -> None:
        place = self._place(frame.target)
        exit = exit_of(frame.exit)
        within = 0 if isinstance(exit, Killed) else None
        running = place is not None and place.house.running
        pending = None if place is None else lifecycle.stop(place.house, exit, within)
        done = f.Answer(frame.number, Raw(self.types.encode(running)))
        if pending is None:
            self.send(done)
        else:
            pending.then(lambda _: self.send(done))

    def _place(self, target: int) -> Place | None:
        inlet = self._inlets.get(target)
        return None if inlet is None else inlet.place

    # -- the connection

    def start(self) -> None:
        """Have two tasks read and write, until the other end is no more."""
        nursery = self.system.nursery
        nursery.start_soon(self.connection.read, name="link, reading")
        nursery.start_soon(self.connection.write, name="link, writing")

    def close(self) -> None:
        """Nothing goes in or out any more. Idempotent."""
        if self.connection.closed:
            return
        self.connection.close()
        gone = ConnectionError("The process it lived in has ended.")
        for far in list(self._fars.values()):
            far.lose(gone)
        self._kept.clear()
        for watcher in self._watchers:
            watcher.cancel()
        self._watchers.clear()
        for pending in self._questions.values():
            pending.resolve(None)
        self._questions.clear()
        for arrival in list(self.arrivals.values()):
            self.arrivals.pop(arrival.number).drop()

    async def drained(self) -> None:
        """Wait until everything is written that was to be sent: these are last words, and wait for
        nobody to take what came before. A checkpoint."""
        self.window = sys.maxsize
        for far in list(self._fars.values()):
            far.suspended &= ~BLOCKED
            far.look()
        # Looked at now and then: what waits in a queue here may turn out not to be sendable.
        while self._is_at_work and not self.connection.closed:  # noqa: ASYNC110
            await trio.sleep(_PAUSE)

    @property
    def _is_at_work(self) -> bool:
        """Something is to be written, or waits until it may be."""
        waits = any(far.running and far.mailbox for far in self._fars.values())
        return waits or self.connection.busy

    def _news(self) -> list[f.Frame]:
        """What was taken since the last packet went out."""
        news: list[f.Frame] = [f.Taken(*inlet.news()) for inlet in self.moved]
        self.moved.clear()
        return news

    def do(self, frames: Sequence[f.Frame]) -> f.BrokenLink | None:
        """Do what frames say; returns what was wrong with one."""
        try:
            for frame in frames:
                handler = self._handlers.get(type(frame))
                if handler is None:
                    raise f.BrokenLink(f"A {type(frame).__name__} does not belong here.")
                handler(frame)
        except f.BrokenLink as error:
            return error
        except Exception as error:
            # Whatever the other end has brought about concerns nobody but this link.
            logger.exception("What has come over a link cannot be done")
            return f.BrokenLink(f"What has come cannot be done: {error!r}")
        return None
