"""What a state machine keeps beside its attributes: its state, what it asked for, its timeouts.

A transition takes effect when its turn has ended. Until then :class:`Machine` collects what the
handler asks for; :meth:`Machine.settle` then does it, as the first request in the control lane, so
that nothing comes between a turn and its transition.

Events that are *already here* stand at the front of the mailbox, before what others have sent::

    internal events | postponed messages | timeouts of 0 seconds || messages from outside
    '------------------------- front ----------------------------'

Internal events and postponed messages are put before that stretch, timeouts of 0 seconds at its
end; ``front`` is its length.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

from actors.exits import Crashed
from actors.mailbox import TOKEN, Exempt, Unasked, follower_of, is_exempt, slot_of
from actors.runtime import calls, lifecycle
from actors.turns import make_item

if TYPE_CHECKING:
    from collections.abc import Hashable

    from actors.place import Place
    from actors.timers import Timer
    from actors.turns import Turn

OWN = Exempt()
"""The token of internal events, and of postponed messages that were timeouts or such events."""


class Key:
    """The key of a timeout that is not named by a user."""

    __slots__ = ()


STATE = Key()
"""The timeout that a change of state cancels."""
EVENT = Key()
"""The timeout that any event cancels."""
UPDATE = -1.0
"""In place of seconds: keep the time, change the message."""


class Timeout(Unasked):
    """One timeout of a machine: running, or expired and not yet delivered."""

    __slots__ = ("_key", "_machine", "_message", "_place", "_queued", "_timer")

    def __init__(
        self, machine: Machine, place: Place, key: Hashable, seconds: float, message: object
    ) -> None:
        self._machine = machine
        self._place = place
        self._key = key
        self._message = message
        self._timer: Timer | None = None
        self._queued = seconds == 0
        if self._queued:
            mailbox = place.open_mailbox()
            mailbox.insert(machine.front, self._item())
            mailbox.exempt += 1
            machine.front += 1
        else:
            self._timer = place.scheduler.timers.after(seconds, self._fire)

    def _item(self) -> Any:
        return (self._message, None, None, 0, 0, 0, self)

    def _fire(self) -> None:
        self._timer = None
        self._queued = True
        self._place.post(self._message, self)

    def taken(self) -> None:
        """Its message is being handled."""
        self._queued = False
        if self._machine.timeouts.get(self._key) is self:
            del self._machine.timeouts[self._key]

    def update(self, message: object) -> None:
        """Deliver another message, at the same time."""
        self._message = message
        if self._queued:
            index = self._index()
            if index is not None:
                self._place.open_mailbox()[index] = self._item()

    def cancel(self) -> None:
        """Never deliver it."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queued:
            self._queued = False
            index = self._index()
            if index is not None:
                mailbox = self._place.open_mailbox()
                del mailbox[index]
                mailbox.exempt -= 1
                if index < self._machine.front:
                    self._machine.front -= 1

    def _index(self) -> int | None:
        """Where it stands in the mailbox; None once it has been taken out."""
        for index, item in enumerate(self._place.mailbox or ()):
            if is_exempt(item) and item[TOKEN] is self:
                return index
        return None


class Machine:
    """The bookkeeping of one incarnation; it survives nothing."""

    __slots__ = (
        "due",
        "entering",
        "front",
        "internals",
        "plain",
        "postponed",
        "repeat",
        "requests",
        "retry",
        "started",
        "state",
        "target",
        "timeouts",
        "turn",
    )

    def __init__(self, initial: str) -> None:
        self.state = initial
        self.started = False
        """Whether the initial state has been entered."""
        self.due = True
        """Whether there is something to settle."""
        self.entering = False
        """Whether an enter handler is running."""
        self.target: str | None = None
        self.repeat = False
        self.retry = False
        self.postponed = False
        """Whether the message being handled has been postponed."""
        self.internals: list[object] = []
        self.requests: list[tuple[Hashable, float | None, object]] = []
        self.timeouts: dict[Hashable, Timeout] = {}
        self.front = 0
        """How many events stand before the messages from outside."""
        self.turn: Turn | None = None
        """The turn of the actor's task that asked, whose message is the cause of what follows."""
        self.plain = False
        """Whether a plain turn asked."""

    def ask(self, place: Place | None) -> None:
        """Something was asked for: settle it as soon as the running turn has ended, if one is."""
        if self.due or self.entering:
            return
        assert place is not None
        self.due = True
        self.turn = place.turn
        self.plain = place.scheduler.current is place
        # Before all other requests, so that they see the turn with its transition.
        place.request(self.settle)
        assert place.control is not None
        place.control.rotate(1)

    def settle(self, place: Place) -> None:
        """Do what was asked for. A failing enter handler is a crash of the actor."""
        self.due = False
        turn, self.turn = self.turn, None
        cause = turn.item if turn is not None else place.item if self.plain else None
        postponed, self.postponed, self.plain = self.postponed, False, False
        # What enter handlers send was caused by the message that led here; it has been answered.
        place.item, place.slot = cause, None
        try:
            self._transit(place)
        except BaseException as error:
            place.scheduler.system.heed(error)
            item = self._take_back(place) if postponed else None
            lifecycle.crash(place, error, cause)
            slot = slot_of(item)
            if slot is not None:
                slot.fail(calls.died(place, slot.message, Crashed(error)))

    def _transit(self, place: Place) -> None:
        old = self.state
        target, self.target = self.target, None
        first, self.started = not self.started, True
        repeat, self.repeat = self.repeat, False
        changed = target is not None and target != old
        if target is not None:
            self.state = target
        if changed or first:
            place.routes = self._routes(place)
            self.cancel(STATE)
        if changed or first or repeat:
            self._enter(place, old)
        if changed or self.retry:
            self.retry = False
            self._bring_back(place)
        if self.internals:
            self._insert(place)
        requests, self.requests = self.requests, []
        for key, seconds, message in requests:
            self._request(place, key, seconds, message)

    def _routes(self, place: Place) -> Any:
        routes = type(place.actor).routes
        return routes.get(self.state, routes[None])

    def restate(self, place: Place, state: str) -> None:
        """Be in another state without a transition: nothing is entered, cancelled or retried."""
        self.state = state
        place.routes = self._routes(place)

    def _enter(self, place: Place, old: str) -> None:
        name = type(place.actor).enters.get(self.state)
        if name is None:
            return
        scheduler = place.scheduler
        scheduler.current = place
        self.entering = True
        try:
            context = place.context or scheduler.new_context(place)
            result = context.run(getattr(place.actor, name), old)
        finally:
            self.entering = False
            scheduler.current = None
        if hasattr(type(result), "__await__"):
            if hasattr(result, "close"):
                result.close()
            raise TypeError(
                f"{type(place.actor).__qualname__}.{name} is an enter handler, a plain def, and "
                "returned an awaitable, which nobody would await. "
                f"Got: {type(result).__name__}"
            )

    def _bring_back(self, place: Place) -> None:
        mailbox = place.mailbox
        if mailbox is not None and mailbox.stash:
            self.front += len(mailbox.stash)
            mailbox.bring_back()

    def _take_back(self, place: Place) -> Any:
        """The message postponed in the turn whose transition has crashed: as what is handled at a
        crash, it is never delivered again."""
        mailbox = place.mailbox
        assert mailbox is not None and mailbox.stash
        item = mailbox.stash.pop()
        follower = follower_of(item)
        if follower is not None:
            follower.taken()
        return item

    def _insert(self, place: Place) -> None:
        internals, self.internals = self.internals, []
        mailbox = place.open_mailbox()
        items = [(*make_item(each, None, place, None), OWN) for each in internals]
        mailbox.extendleft(reversed(items))
        mailbox.exempt += len(items)
        self.front += len(items)

    # -- timeouts

    def _request(self, place: Place, key: Hashable, seconds: float | None, message: object) -> None:
        running = self.timeouts.get(key)
        if seconds == UPDATE and running is not None:
            running.update(message)
            return
        self.cancel(key)
        if seconds is not None and seconds != inf:
            # Updating what does not run is starting it with 0 seconds.
            self.timeouts[key] = Timeout(self, place, key, max(seconds, 0.0), message)

    def cancel(self, key: Hashable) -> None:
        """End the timeout with that key, if there is one."""
        running = self.timeouts.pop(key, None)
        if running is not None:
            running.cancel()

    # -- hooks of the scheduler

    def observes(self) -> bool:
        """Whether the next message is to pass :meth:`before_turn`."""
        return self.front > 0 or EVENT in self.timeouts

    def before_turn(self) -> None:
        """An event has been taken from the mailbox."""
        if self.front > 0:
            self.front -= 1
        self.cancel(EVENT)

    def end(self, place: Place) -> None:
        """The incarnation ends: its timeouts and internal events end with it, what others have
        sent stays."""
        for key in tuple(self.timeouts):
            self.cancel(key)
        mailbox = place.mailbox
        if mailbox is None:
            return
        count = len(mailbox)
        _drop_own(mailbox)
        mailbox.exempt -= count - len(mailbox)
        if mailbox.stash is not None:
            _drop_own(mailbox.stash)
        self.front = 0


def _drop_own(queue: Any) -> None:
    kept = [item for item in queue if not (is_exempt(item) and item[TOKEN] is OWN)]
    if len(kept) < len(queue):
        queue.clear()
        queue.extend(kept)
