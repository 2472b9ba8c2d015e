"""The actor behind :class:`supervisors.Shards`: it hands each message to the host of its shard."""

from __future__ import annotations

from itertools import count as counting
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from actors import Crashed, Exit, Later, Shutdown, handles
from actors.dispatch import takes_of
from actors.mailbox import NOWHERE, message_of, origin_of, slot_of
from actors.replies import Slot
from actors.runtime import calls, lifecycle
from supervisors import reports
from supervisors.crew import Crew, HandedOnRoutes
from supervisors.entries import stop_at_once
from supervisors.sharding.admin import (
    GetShards,
    HostInfo,
    NoKey,
    Resize,
    ShardsInfo,
    StillMoving,
)
from supervisors.sharding.gathering import Gathering, Part
from supervisors.sharding.host import ShardHost, Terms, handled
from supervisors.sharding.messages import Keyed, Own, Release, Released, Returned, send
from supervisors.sharding.policy import moves, shard_of_key, spread, stretches
from supervisors.sharding.sharded import Everywhere, Somewhere, sharded
from supervisors.specs import Backoff, Child

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors import Process
    from actors.place import Place
    from actors.runtime.stages import Steps
    from supervisors.entries import Entry

BACKOFF = Backoff(0.02, 10.0, reset=30.0)
"""How hosts are started again."""


@attrs.frozen
class Layout:
    """What shards were made with: their terms, the key of a message, and where the hosts live."""

    terms: Terms
    key: Callable[[Any], Any]
    hosts: int
    isolation: Process | None
    memory_limit: int | None


@attrs.define(eq=False)
class Host:
    """One host. ``leaving``: it is to be stopped when it has no shard any more."""

    number: int
    entry: Entry
    up: bool = False
    leaving: bool = False

    @property
    def place(self) -> Place:
        """Where it is spoken to."""
        return self.entry.place


@attrs.define(eq=False)
class Move:
    """A shard on its way, and what is to be handed to its new host, in this order."""

    source: Host
    target: Host
    returned: list[tuple[Returned, Slot | None, Any]] = attrs.Factory(list)
    held: list[tuple[Keyed, Slot | None, Any]] = attrs.Factory(list)


class HostSpec(Child[ShardHost]):
    """The spec of a host: what it shows is whose it is, and nothing of how it works."""

    __slots__ = ()

    def __repr__(self) -> str:
        child, _, _, owned = self.args[:4]
        return f"host of {child.label}, {stretches(owned)}"


class ShardRouter(Crew):
    """The hosts as children, and the table that says which shard is where."""

    instead: ClassVar[str] = "Resize says how many hosts the shards have"
    backoff: ClassVar[Backoff] = BACKOFF

    def __init__(self, child: Child[Any], layout: Layout) -> None:
        self._child = child
        self._layout = layout
        self._table = spread(layout.terms.count, layout.hosts)
        self._hosts: dict[int, Host] = {}
        self._by_place: dict[Place, Host] = {}
        self._moving: dict[int, Move] = {}
        self._companion: Entry | None = None
        """What runs beside all shards."""
        self._next = counting().__next__
        self._resizing: Later[None] | None = None

    def _prepare(self, place: Place) -> None:
        super()._prepare(place)
        place.routes = HandedOnRoutes(type(self), takes_of(self._child) or None, ShardRouter._route)

    # -- handing on

    def _route(self, message: object) -> None:
        """A message for one shard, or for all."""
        key = self._key(message)
        terms = self._layout.terms
        if isinstance(key, Everywhere):
            self._ask_all(message, key)
            return
        if isinstance(key, Somewhere):
            # Sent again under its own key it is to arrive at the same shard.
            slot = self._place.reply_slot()
            own = None if slot is None else slot.key
            number = self._next() if own is None else shard_of_key(own, terms.count)
            shard, key = number % terms.count, ""
        elif isinstance(key, str) or (isinstance(key, int) and not isinstance(key, bool)):
            shard = shard_of_key(key, terms.count)
        else:
            raise NoKey(f"The key of {type(message).__name__} is a str or an int. Got: {key!r}")
        self._hand_on(Keyed(str(key), shard, message))

    def _key(self, message: object) -> Any:
        """The key of a message, whatever the user's function raises. Raises NoKey."""
        try:
            return self._layout.key(message)
        except NoKey:
            raise
        except Exception as error:
            raise NoKey(f"The key of {type(message).__name__} raised {error!r}.") from error

    @handles
    def _to_shard(self, message: Keyed) -> None:
        """A host knows better where this one belongs."""
        self._hand_on(message)

    def _hand_on(self, message: Keyed) -> None:
        """The message being handled is that of a shard."""
        move = self._moving.get(message.shard)
        if move is None:
            calls.pass_on(self._place, self._place_of(message.shard), message)
            return
        slot, origin = handled(self._place)
        if len(move.held) >= self._place.spec.mailbox:
            self._full(message, slot, origin)
            return
        if slot is not None:
            slot.taken = True
            slot.holder = None
        move.held.append((message, slot, origin))

    def _full(self, message: Keyed, slot: Slot | None, origin: Any) -> None:
        """No more is held for a shard that moves than may queue here."""
        place = self._place
        if slot is not None:
            slot.fail(calls.full(place, message.message, place.open_mailbox()))
        else:
            place.scheduler.dead_letter(
                place, (message.message, None, *origin), "the mailbox is full"
            )

    def _place_of(self, shard: int) -> Place:
        return self._hosts[self._table[shard]].place

    def _ask_all(self, message: object, everywhere: Everywhere) -> None:
        slot, origin = handled(self._place)
        if slot is None:
            for shard in range(self._layout.terms.count):
                send(self._place_of(shard), Keyed("", shard, message), None, origin)
            return
        slot.taken = True
        slot.holder = None
        gathering = Gathering(slot, everywhere, self._layout.terms.count)
        for shard in range(self._layout.terms.count):
            part = Part(gathering, shard, message, self._place)
            send(self._place, Keyed("", shard, message), part, origin)

    # -- hosts

    def _children_up(self) -> Steps | None:
        return self._start()

    def _start(self) -> Steps:
        """The companion of all shards first, then the hosts."""
        count = self._layout.terms.count
        knows = sharded(self._child)
        companion = None if knows is None else knows.shard_companion(self._child, count)
        if companion is not None:
            self._companion = self._enter(companion, companion.label)
            yield from self._all_up([self._companion])
        try:
            hosts = [self._new_host(number) for number in range(self._layout.hosts)]
        except Exception:
            yield from self._stop_all()
            raise
        yield from self._all_up([each.entry for each in hosts])
        for host in hosts:
            host.up = True

    def _new_host(self, number: int) -> Host:
        entry = self._enter(self._spec(number), f"host-{number + 1}")
        host = self._hosts[number] = Host(number, entry)
        self._by_place[entry.place] = host
        return host

    def _spec(self, number: int) -> Child[Any]:
        """What a host is started with: the shards that are its own and are not about to leave."""
        owned = tuple(
            shard
            for shard, host in enumerate(self._table)
            if host == number and shard not in self._moving
        )
        layout = self._layout
        companion = None if self._companion is None else self._companion.place.ref
        child, router = self._child, self._place.ref
        return HostSpec(
            ShardHost,
            child,
            layout.terms,
            number,
            owned,
            router,
            companion,
            isolation=layout.isolation,
            memory_limit=layout.memory_limit,
            start_timeout=child.start_timeout,
            mailbox=self._place.spec.mailbox,
        )

    def _ended(self, entry: Entry, exit: Exit) -> None:
        host = self._by_place.get(entry.place)
        if host is not None and host.leaving and host.number not in self._table:
            self._forget(entry)
            self._look_whether_done()
            return
        reports.child_exited(self._place, entry, exit, "restart")
        if host is not None:
            host.up = False
            # With it have ended the actors of the shards that were to leave: it is asked again,
            # behind what it had not begun.
            for shard, move in self._moving.items():
                if move.source is host:
                    send(host.place, Release(shard), None, NOWHERE)
        self._restart_later(entry, exit, self._after_restart)

    def _launch(self, entry: Entry, then: Any) -> None:
        host = self._by_place.get(entry.place)
        if host is not None:
            entry.next_spec = self._spec(host.number)
        super()._launch(entry, then)

    def _after_restart(self, entry: Entry, failure: BaseException | None) -> None:
        """A host is up, or is to be tried once more."""
        host = self._by_place.get(entry.place)
        if failure is not None:
            self._restart_later(entry, Crashed(failure), self._after_restart)
        elif host is not None:
            host.up = True
            self._look_whether_done()

    def _forget(self, entry: Entry) -> None:
        host = self._by_place.pop(entry.place, None)
        if host is not None and self._hosts.get(host.number) is host:
            del self._hosts[host.number]
        super()._forget(entry)

    # -- moving shards

    @handles
    def _resize(self, message: Resize) -> Any:
        if self._resizing is not None:
            raise StillMoving(f"{self._place.path}: {len(self._moving)} shards are moving.")
        later = self.later()
        hosts = min(message.hosts, self._layout.terms.count)
        for number in range(hosts):
            if number not in self._hosts:
                self._launch(self._new_host(number).entry, self._after_restart)
        for number, host in self._hosts.items():
            host.leaving = number >= hosts
        for shard, number in sorted(moves(self._table, hosts).items()):
            self._move(shard, self._hosts[number])
        self._resizing = later
        self._look_whether_done()
        return later

    def _move(self, shard: int, target: Host) -> None:
        source = self._hosts[self._table[shard]]
        self._moving[shard] = Move(source, target)
        send(source.place, Release(shard), None, NOWHERE)

    @handles
    def _returned(self, message: Returned) -> None:
        """A host has not begun with it, and the shard is its own no longer."""
        move = self._moving.get(message.shard)
        if move is None:
            keyed = Keyed(message.key, message.shard, message.message)
            calls.pass_on(self._place, self._place_of(message.shard), keyed)
            return
        slot, origin = handled(self._place)
        if slot is not None:
            slot.taken = True
            slot.holder = None
        move.returned.append((message, slot, origin))

    def _given_back(self, place: Place, item: Any) -> None:
        """The same, of what a host in another process gives back unread. As a message, behind those
        that were returned before."""
        keyed = message_of(item)
        returned = Returned(keyed.key, keyed.shard, keyed.message)
        send(self._place, returned, slot_of(item), origin_of(item))

    @handles
    def _released(self, message: Released) -> None:
        """Nothing of the shard is left at its old host: its new one takes it over."""
        move = self._moving.get(message.shard)
        if move is None or move.source.number != message.host:
            return
        del self._moving[message.shard]
        self._table[message.shard] = move.target.number
        target = move.target.place
        send(target, Own((message.shard,)), None, NOWHERE)
        for back, slot, origin in move.returned:
            send(target, Keyed(back.key, back.shard, back.message), slot, origin)
        for keyed, slot, origin in move.held:
            send(target, keyed, slot, origin)
        self._look_whether_done()

    def _look_whether_done(self) -> None:
        """Stop the hosts that nothing is left at; answer when all is where it should be."""
        if self._moving:
            return
        for host in list(self._hosts.values()):
            if host.leaving:
                if host.place.running:
                    lifecycle.stop(host.place, Shutdown("its shards have moved"), None)
                else:
                    self._forget(host.entry)
        settled = all(each.up and not each.leaving for each in self._hosts.values())
        if self._resizing is not None and settled:
            later, self._resizing = self._resizing, None
            later.reply(None)

    # -- the end

    def _children_down(self, exit: Exit) -> Steps | None:
        for move in self._moving.values():
            waiting: list[tuple[Any, Any, Any]] = [*move.returned, *move.held]
            for each, slot, origin in waiting:
                self._place.scheduler.refuse(self._place, (each.message, slot, *origin))
        self._moving.clear()
        return super()._children_down(exit)

    def _stop_them(self) -> Steps:
        """The hosts at once, and then their companion."""
        if self._companion is not None and not self._companion.place.running:
            # It is not to come again: who waits for it in order to start or to stop is told so.
            lifecycle.settle(self._companion.place, "gone")
        yield from stop_at_once(each for each in self._entries() if each is not self._companion)
        if self._companion is not None:
            yield from self._companion.stop()

    # -- administration

    @handles
    def _get_shards(self, message: GetShards) -> ShardsInfo:
        hosts = tuple(
            HostInfo(
                host.place.id,
                host.up,
                tuple(shard for shard, at in enumerate(self._table) if at == host.number),
            )
            for host in self._hosts.values()
        )
        return ShardsInfo(self._layout.terms.count, hosts, tuple(self._moving))
