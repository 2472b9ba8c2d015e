"""What a system announces, and who listens.

Events are frozen data. Nobody listening costs nothing: nothing is measured, nothing is made. A
listener is a plain function called where the event happens; one that raises is detached and
reported, and the actor never feels it.

>>> system.telemetry.listen(print, DeadLetter)      # doctest: +SKIP
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from actors.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.ref import Ref

logger = logging.getLogger("actors.telemetry")


@attrs.frozen
class ActorStarted:
    """An incarnation is up: ``on_start`` is done."""

    ref: Ref[Any]
    incarnation: int


@attrs.frozen
class ActorStopped:
    """An incarnation has ended, its ``on_stop`` and its side tasks included."""

    ref: Ref[Any]
    incarnation: int
    exit: Exit


@attrs.frozen
class ActorUnresponsive:
    """An actor did not yield to its cancellation in time; nothing more can be done about it."""

    ref: Ref[Any]
    incarnation: int


@attrs.frozen
class ProcessStarted:
    """The process of an isolated actor is at work, ``seconds`` after it was asked for; ``warm``: it
    was forked."""

    ref: Ref[Any]
    pid: int
    warm: bool
    seconds: float


@attrs.frozen
class ProcessEnded:
    """The process of an isolated actor has ended and is reaped: by a signal (its name), or with an
    exit code. ``peak`` is the most memory it has had resident, in bytes."""

    ref: Ref[Any]
    pid: int
    signal: str | None
    code: int | None
    peak: int


@attrs.frozen
class DeadLetter:
    """A one-way message that nobody handled. ``reason`` is a short sentence."""

    ref: Ref[Any]
    message: object
    reason: str
    sender: Ref[Any] | None = None


@attrs.frozen
class TurnStarted:
    """A message is about to be handled; ``queued`` more wait behind it."""

    ref: Ref[Any]
    message: object
    queued: int


@attrs.frozen
class TurnStopped:
    """A message was handled, or found no handler, in ``seconds``."""

    ref: Ref[Any]
    message: object
    seconds: float


@attrs.frozen
class TurnFailed:
    """The handler raised: ``exception`` is a Refusal or a crash; after ``seconds``."""

    ref: Ref[Any]
    message: object
    seconds: float
    exception: BaseException


@attrs.frozen
class Blocked:
    """The event loop has not come round for ``seconds``: code in one thread does not yield.

    ``ref`` is the actor whose plain turn is running, if it is one.
    """

    ref: Ref[Any] | None
    seconds: float
    stack: str = attrs.field(repr=False)


@attrs.frozen
class SystemStopped:
    """Everything in the system has stopped, but for what does not yield to its cancellation."""


TURNS = (TurnStarted, TurnStopped, TurnFailed)

E = TypeVar("E")


@attrs.define(eq=False)
class Subscription:
    """A listener and what it listens to; ``cancel()`` ends it."""

    _telemetry: Telemetry
    listener: Callable[[Any], object]
    events: tuple[type, ...]

    def cancel(self) -> None:
        """Hear no more. Harmless when called twice."""
        self._telemetry.forget(self)


class Telemetry:
    """The listeners of one system."""

    def __init__(self) -> None:
        self._subscriptions: list[Subscription] = []
        self.active: frozenset[type] = frozenset()
        """The event classes somebody listens to. Emit only those: the rest need not be made."""
        self.turns = False
        """Whether somebody listens to turns."""
        self.changed: Callable[[], object] = lambda: None
        """Told when that may have changed."""

    def listen(self, listener: Callable[[E], object], *events: type[E]) -> Subscription:
        """Call ``listener(event)`` for each event of these classes, at least one: classes of this
        module, or of the floors above. Not a checkpoint.

        The listener must not block. If it raises, it is detached and that is logged. Raises
        TypeError for what is no function or no class.
        """
        if not events or not all(isinstance(each, type) for each in events):
            raise TypeError(
                "listen() takes a function and the event classes to listen to. "
                f"Got: {', '.join(map(repr, events)) or 'no class'}"
            )
        if not callable(listener):
            raise TypeError(f"listen() takes a function of one event. Got: {listener!r}")
        subscription = Subscription(self, listener, events)
        self._subscriptions.append(subscription)
        self._refresh()
        return subscription

    def forget(self, subscription: Subscription) -> None:
        """End a subscription."""
        if subscription in self._subscriptions:
            self._subscriptions.remove(subscription)
            self._refresh()

    def emit(self, event: object) -> None:
        """Tell the listeners, in the order they came."""
        for subscription in tuple(self._subscriptions):
            if isinstance(event, subscription.events):
                try:
                    subscription.listener(event)
                except Exception:
                    self.forget(subscription)
                    logger.exception(
                        "Listener %r failed and is detached; it was told %r",
                        subscription.listener,
                        event,
                    )

    def _refresh(self) -> None:
        self.active = frozenset(cls for each in self._subscriptions for cls in each.events)
        self.turns = any(cls in self.active for cls in TURNS)
        self.changed()
