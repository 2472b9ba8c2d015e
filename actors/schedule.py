"""Messages an actor sends itself in time; they die with the incarnation."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.mailbox import Unasked
from actors.messages import Idle
from actors.turns import present_correlation

if TYPE_CHECKING:
    from actors.place import Place
    from actors.timers import Timer


class ActorTimer(Unasked):
    """A timer of one incarnation: :meth:`Actor.after` and ``every`` return one.

    Of the turn that set it, sender and correlation id go along with the message.
    """

    __slots__ = ("_origin", "_period", "_place", "_queued", "_timer", "message")

    def __init__(
        self, place: Place, seconds: float, message: object, period: float | None = None
    ) -> None:
        self._place = place
        self._origin = (place, 0, present_correlation(place), 0)
        self._period = period
        self._queued = False
        self.message = message
        self._timer: Timer | None = place.scheduler.timers.after(seconds, self._fire)
        if place.actor_timers is None:
            place.actor_timers = set()
        place.actor_timers.add(self)

    @property
    def remaining(self) -> float | None:
        """Seconds until it fires next; ``None`` when it will not."""
        return None if self._timer is None else max(0.0, self._timer.when - trio.current_time())

    def cancel(self) -> float | None:
        """Never fire again, and take back a message not yet handled. Not a checkpoint.

        Returns the seconds that remained, ``None`` if it had fired or was cancelled before.
        """
        remaining = self.remaining
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queued and self._place.mailbox is not None:
            self._place.mailbox.take_out(self)
            self._queued = False
        self._forget()
        return remaining

    def taken(self) -> None:
        """Its message is being handled."""
        self._queued = False
        if self._timer is None:
            self._forget()

    def _forget(self) -> None:
        if self._place.actor_timers is not None:
            self._place.actor_timers.discard(self)

    def _fire(self) -> None:
        assert self._timer is not None
        if self._period is None:
            self._timer = None
        else:
            # From the moment it was due, not from now: a late tick delays no other, and those
            # missed meanwhile are not made up for.
            due = self._timer.when
            missed = (trio.current_time() - due) // self._period
            when = due + (missed + 1) * self._period
            self._timer = self._place.scheduler.timers.at(when, self._fire)
        if not self._queued:
            self._queued = True
            self._place.post(self.message, self, self._origin)


class IdleTimer(Unasked):
    """Sends ``Idle`` when no message has come for some seconds, once per quiet spell."""

    __slots__ = ("_last", "_place", "_queued", "_seconds", "_timer", "message")

    def __init__(self, place: Place, seconds: float, message: object) -> None:
        self._place = place
        self._seconds = seconds
        self._queued = False
        self.message = Idle() if message is None else message
        self._last = trio.current_time()
        self._timer: Timer | None = place.scheduler.timers.after(seconds, self._fire)

    @property
    def running(self) -> bool:
        """Its message is still to come in this quiet spell."""
        return self._timer is not None or self._queued

    def touch(self, message: object) -> None:
        """A message is about to be handled, or was: the quiet spell begins anew. The timer's own
        message is no sign of life."""
        if message is self.message:
            return
        self._last = trio.current_time()
        if self._timer is None and not self._queued:
            self._timer = self._place.scheduler.timers.after(self._seconds, self._fire)

    def taken(self) -> None:
        """Its message is being handled, which is no sign of life from others."""
        self._queued = False

    def cancel(self) -> None:
        """Send no ``Idle`` any more, and take back one not yet handled."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._queued and self._place.mailbox is not None:
            self._place.mailbox.take_out(self)

    def _fire(self) -> None:
        quiet_at = self._last + self._seconds
        if trio.current_time() < quiet_at:
            self._timer = self._place.scheduler.timers.at(quiet_at, self._fire)
            return
        self._timer = None
        # With a message at work or in the queue it is not quiet; the next touch begins anew.
        if not self._place.busy and not self._place.mailbox:
            self._queued = True
            self._place.post(self.message, self)
