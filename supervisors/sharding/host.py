"""A host of shards: it runs an actor for each key, or for each shard, and lets them come and go.

It is a child of a router, here or in a process of its own, and takes what the router sends it.
"""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import trio

from actors import Actor, Crashed, Exit, Ref, Shutdown, handles, is_orderly
from actors.isolation.inlet import Ticket
from actors.mailbox import NOWHERE, follower_of, message_of, origin_of, slot_of
from actors.runtime import calls, lifecycle
from supervisors import reports
from supervisors.crew import Crew
from supervisors.policy import verdict
from supervisors.sharding.messages import Keyed, Own, Release, Released, Returned, send
from supervisors.sharding.policy import shard_of_key
from supervisors.sharding.rest import at_rest
from supervisors.specs import Backoff, Child, with_changes

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.mailbox import Token
    from actors.place import Place
    from actors.replies import Slot
    from actors.runtime.stages import Steps
    from supervisors.crew import Then
    from supervisors.entries import Entry
    from supervisors.policy import Verdict
    from supervisors.sharding.policy import Key

BACKOFF = Backoff(0.1, 30.0)
"""How actors are restarted that do not say otherwise."""


@attrs.frozen
class Terms:
    """What all hosts of one router have in common: how many shards there are, whether each has an
    actor of its own or each key has one, and after how many idle seconds that one leaves."""

    count: int
    per_key: bool
    idle: float


@attrs.frozen
class Hosting:
    """What an actor that is hosted can know: its shard, how many there are, who hands it its
    messages, and their companion."""

    shard: int
    count: int
    router: Ref[Any]
    companion: Ref[Any] | None

    def owns(self, key: Key) -> bool:
        """Whether a key belongs to its shard."""
        return shard_of_key(key, self.count) == self.shard

    def hand_back(self, home: Place, shard: int, message: object) -> None:
        """The message being handled at ``home`` is another shard's: it goes there, with its reply
        slot and its sender."""
        calls.pass_on(home, self.router._place, Keyed("", shard, message))


class Entity:
    """One hosted actor."""

    __slots__ = ("entry", "key", "last", "leaving", "shard")

    def __init__(self, key: str, shard: int, entry: Entry) -> None:
        self.key = key
        self.shard = shard
        self.entry = entry
        self.last = 0.0
        """When it was last sent something."""
        self.leaving: str | None = None
        """``"idle"`` or ``"moved"``: it was asked to stop, and why."""

    @property
    def place(self) -> Place:
        """Where it lives."""
        return self.entry.place

    @property
    def at_rest(self) -> bool:
        """Nothing to do, now or later."""
        return at_rest(self.entry.place)


@attrs.frozen
class Sweep:
    """To itself: look for those that are idle."""


class ShardHost(Crew):
    """Runs the actors of the shards that are its own."""

    instead: ClassVar[str] = "which actors a host runs is decided by the messages it is handed"
    backoff: ClassVar[Backoff] = BACKOFF

    def __init__(
        self,
        child: Child[Any],
        terms: Terms,
        number: int,
        owned: tuple[int, ...],
        router: Ref[Any],
        companion: Ref[Any] | None,
    ) -> None:
        self._child = child
        self._spec = with_changes(child, restart="transient")
        """As they are entered: whether one comes again is decided here, also of a temporary one
        that leaves while messages wait."""
        self._terms = terms
        self._number = number
        self._owned = set(owned)
        self._router = router
        self._companion = companion
        self._entities: OrderedDict[str, Entity] = OrderedDict()
        """By key, the one that was spoken to last at the end."""
        self._by_place: dict[Place, Entity] = {}
        self._releasing: set[int] = set()

    def hosting(self, place: Place) -> Hosting:
        """For the actor that lives there."""
        shard = self._by_place[place].shard
        return Hosting(shard, self._terms.count, self._router, self._companion)

    def _children_up(self) -> Steps | None:
        if self._terms.idle < inf:
            self.every(max(self._terms.idle / 4, 0.001), Sweep())
        if self._terms.per_key or not self._owned:
            return None
        entities = [self._enter_entity(str(each), each) for each in sorted(self._owned)]
        return self._all_up([each.entry for each in entities])

    # -- messages

    @handles
    def _deliver(self, message: Keyed) -> None:
        if message.shard not in self._owned:
            # Sent before the shard was moved away: it is somebody else's by now.
            slot, origin = handled(self._place)
            follower = follower_of(self._place.item)
            self._return(message.key, message.shard, message.message, slot, origin, follower)
            return
        key = message.key if self._terms.per_key else str(message.shard)
        entity = self._entities.get(key)
        new = entity is None
        if entity is None:
            entity = self._enter_entity(key, message.shard)
        elif self._terms.per_key:
            self._entities.move_to_end(key)
        entity.last = trio.current_time()
        calls.pass_on(self._place, entity.place.ref._place, message.message)
        if new:
            # Behind the message, which is to hear of it if this fails.
            self._launch(entity.entry, self._after_start)

    def _return(
        self,
        key: str,
        shard: int,
        message: object,
        slot: Slot | None,
        origin: Any,
        follower: Token | None,
    ) -> None:
        """Back to the router, with its reply slot, behind what was returned before."""
        done = slot is not None and slot.done
        if not done and isinstance(follower, Ticket) and self._is_from_router(follower):
            # Not through a queue, which might end with this process, or be overtaken.
            follower.give_back()
            return
        if follower is not None:
            follower.taken()
        if slot is not None:
            slot.taken = True
        if not done:
            send(self._router._place, Returned(key, shard, message), slot, origin)

    def _is_from_router(self, ticket: Ticket) -> bool:
        """Whether a message has come from the router's process, by way of this host."""
        router: Any = self._router._place
        inlet = ticket.inlet
        return router.far and inlet.link is router.link and inlet.place is self._place

    # -- entities

    def _enter_entity(self, key: str, shard: int) -> Entity:
        entry = self._enter(self._spec, key)
        entity = self._entities[key] = Entity(key, shard, entry)
        entity.last = trio.current_time()
        self._by_place[entry.place] = entity
        return entity

    def _launch(self, entry: Entry, then: Then) -> None:
        super()._launch(entry, then)
        hand_down(entry.place)

    def _after_start(self, entry: Entry, failure: BaseException | None) -> None:
        """It is up, or has failed to come up for the first time: then whoever waits is told why."""
        place = entry.place
        entity = self._by_place[place]
        if failure is None:
            self._leave_if_moved(entity)
            return
        if entity.leaving == "moved":
            self._forget_moved(entity)
            return
        self._fail_queue(place, failure)
        if self._terms.per_key:
            self._forget(entry)
        else:
            self._restart_later(entry, Crashed(failure), self._after_restart)

    def _fail_queue(self, place: Place, failure: BaseException) -> None:
        for each in {place, place.ref._place}:
            drain(each, lambda item: fail(place, item, failure))

    def _give_up(self, entry: Entry, exit: Exit) -> None:
        """On this actor, which is no other's concern: who waits for it is told, and its next
        message finds a new one. A shard's own comes again all the same."""
        error = self._limit_exceeded(entry, exit)
        reports.gave_up(self._place, error)
        self._fail_queue(entry.place, error)
        if self._terms.per_key:
            self._forget(entry)

    def _ended(self, entry: Entry, exit: Exit) -> None:
        entity = self._by_place[entry.place]
        place = entry.place
        waits = bool(place.ref._place.mailbox)
        if entity.leaving == "moved" or entity.shard in self._releasing:
            self._forget_moved(entity)
            return
        if entity.leaving == "idle" and is_orderly(exit):
            # What has come meanwhile is not lost: the next incarnation finds it.
            decision: Verdict = "restart" if waits else "remove"
        elif verdict(self._child.restart, exit) != "restart":
            decision = "restart" if waits and self._child.restart != "temporary" else "remove"
        else:
            decision = "restart" if waits or not self._terms.per_key else "remove"
        if entity.leaving is None:
            reports.child_exited(self._place, entry, exit, decision)
        entity.leaving = None
        if decision == "remove":
            self._forget(entry)
        elif is_orderly(exit):
            lifecycle.settle(place, "restarting")
            self._launch(entry, self._after_restart)
        else:
            self._restart_later(entry, exit, self._after_restart)

    def _after_restart(self, entry: Entry, failure: BaseException | None) -> None:
        """A restart has worked, or is to be tried once more."""
        entity = self._by_place[entry.place]
        if failure is None:
            self._leave_if_moved(entity)
        elif entity.leaving == "moved":
            self._forget_moved(entity)
        else:
            self._restart_later(entry, Crashed(failure), self._after_restart)

    def _forget(self, entry: Entry) -> None:
        entity = self._by_place.pop(entry.place, None)
        if entity is not None and self._entities.get(entity.key) is entity:
            del self._entities[entity.key]
        super()._forget(entry)

    # -- passivation

    @handles
    def _sweep(self, message: Sweep) -> None:
        """Have those leave that had nothing to do for long; the longest silent ones come first."""
        oldest = trio.current_time() - self._terms.idle
        for entity in list(self._entities.values()):
            if entity.last > oldest:
                return
            if entity.leaving is not None:
                continue
            if entity.at_rest:
                entity.leaving = "idle"
                lifecycle.stop(entity.place, Shutdown("it was idle"), None)
            else:
                entity.last = trio.current_time()
                self._entities.move_to_end(entity.key)

    # -- shards that come and go

    @handles
    def _own(self, message: Own) -> None:
        for shard in message.shards:
            self._owned.add(shard)
            if not self._terms.per_key and str(shard) not in self._entities:
                self._launch(self._enter_entity(str(shard), shard).entry, self._after_start)

    @handles
    def _release(self, message: Release) -> None:
        shard = message.shard
        self._owned.discard(shard)
        self._releasing.add(shard)
        for entity in [each for each in self._entities.values() if each.shard == shard]:
            entity.leaving = "moved"
            if entity.place.state == "starting":
                continue  # it leaves as soon as it is up
            if entity.place.running:
                lifecycle.stop(entity.place, Shutdown("its shard moves"), None)
            else:
                self._forget_moved(entity)
        self._look_whether_released(shard)

    def _leave_if_moved(self, entity: Entity) -> None:
        if entity.leaving == "moved":
            lifecycle.stop(entity.place, Shutdown("its shard moves"), None)

    def _forget_moved(self, entity: Entity) -> None:
        """It has ended here: what it has not begun goes back to the router, in its order."""
        drain(
            entity.place.ref._place,
            lambda item: self._return(
                entity.key,
                entity.shard,
                message_of(item),
                slot_of(item),
                origin_of(item),
                follower_of(item),
            ),
        )
        self._forget(entity.entry)
        self._look_whether_released(entity.shard)

    def _look_whether_released(self, shard: int) -> None:
        if shard in self._releasing and not any(
            each.shard == shard for each in self._entities.values()
        ):
            self._releasing.discard(shard)
            send(self._router._place, Released(shard, self._number), None, NOWHERE)


def hand_down(place: Place) -> None:
    """Who lives in a place may have brought another one in which he is spoken to, by the same ref:
    what has come before that goes there."""
    spoken_to = place.ref._place
    if spoken_to is not place:
        drain(place, lambda item: calls.hand_on(spoken_to, item))


def drain(place: Place, give: Callable[[Any], None]) -> None:
    """Empty the queue of a place."""
    mailbox, place.mailbox = place.mailbox, None
    if mailbox is not None:
        mailbox.drain(give)


def fail(place: Place, item: Any, failure: BaseException) -> None:
    """Tell whoever waits for an answer why there is none."""
    follower, slot = follower_of(item), slot_of(item)
    if follower is not None:
        follower.taken()
    if slot is not None:
        slot.fail(failure)
    else:
        place.scheduler.dead_letter(place, item, str(failure))


def handled(place: Place) -> tuple[Slot | None, Any]:
    """The reply slot and the origin of the message being handled in a plain turn."""
    return place.reply_slot(), origin_of(place.item)


def hosting(place: Place) -> Hosting | None:
    """Where an actor is hosted; None if it is no shard's."""
    house = place.house
    above = house.parent
    host: Actor | None = None if above is None else above.actor
    return host.hosting(house) if isinstance(host, ShardHost) else None
