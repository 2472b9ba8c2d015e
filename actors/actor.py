"""The base class of actors: what a handler can ask of the library through ``self``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar, TypeVarTuple

from actors.dispatch import NONE, Routes, callback_kind, route_tables
from actors.exits import MailboxFull, Normal, is_orderly
from actors.mailbox import CAUSE, CORRELATION, ID, MESSAGE, SENDER, follower_of
from actors.messages import Envelope
from actors.replies import Later
from actors.runtime import calls, host
from actors.schedule import ActorTimer, IdleTimer
from actors.turns import identified
from actors.validation import check_seconds

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Sequence

    from actors.exits import Exit
    from actors.middleware import Middleware
    from actors.monitors import Monitor
    from actors.place import Place
    from actors.ref import Ref
    from actors.runtime.stages import Steps
    from actors.runtime.system import System

R = TypeVar("R")
Args = TypeVarTuple("Args")


class Actor:
    """A single-threaded object that lives in a place of the tree and is spoken to by messages.

    Subclass it, as a plain class with ``__init__`` or with ``attrs.define``, and mark the methods
    that handle messages with :func:`actors.handles`. A handler runs in a turn, and an actor has one
    turn at a time: state needs no lock. A plain ``def`` handler is atomic; an ``async def`` handler
    may await, and no other message is handled meanwhile.

    What a handler of a ``Call`` returns is the answer; a ``Refusal`` it raises is one too; any
    other exception ends the actor, and its supervisor decides what happens then.

    Callbacks to override, each a ``def`` or an ``async def``: :meth:`on_start`, :meth:`on_ready`,
    :meth:`on_stop`; and :meth:`format_state` for reports. ``middleware`` is read once, after
    ``__init__``.
    """

    __slots__ = ("__weakref__", "_place")

    _place: Place

    routes: ClassVar[dict[str | None, Routes]] = {None: Routes(object, {})}
    """Message class to handler, for each state of a state machine; ``None`` for any other actor."""
    on_start_kind: ClassVar[int] = NONE
    on_ready_kind: ClassVar[int] = NONE
    on_stop_kind: ClassVar[int] = NONE
    has_states: ClassVar[bool] = False
    """Whether ``@handles(state=...)`` means something."""
    hands_on: ClassVar[bool] = False
    """Whether it takes messages that its class has no handler for."""
    middleware: Sequence[Middleware] = ()
    """What stands around every handler, outermost first."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.routes = route_tables(cls)
        if len(cls.routes) > 1 and not cls.has_states:
            raise TypeError(
                f"{cls.__qualname__} has handlers for states, which only a StateMachine has. "
                f"Got: {', '.join(repr(each) for each in cls.routes if each is not None)}"
            )
        cls.on_start_kind = callback_kind(cls, "on_start", Actor)
        cls.on_ready_kind = callback_kind(cls, "on_ready", Actor)
        cls.on_stop_kind = callback_kind(cls, "on_stop", Actor)

    # -- callbacks

    def on_start(self) -> Awaitable[None] | None:
        """Part of starting, before anybody can send a message that is handled; bounded by the
        spec's ``start_timeout``. If it raises, the start fails with ``StartFailed``. Calling
        ``self.stop()`` in it declines to run: a supervisor then keeps the spec, without an actor.
        """
        return None

    def on_ready(self) -> Awaitable[None] | None:
        """Runs before the first message, but the starter does not wait for it. If it raises, that
        is a crash."""
        return None

    def on_stop(self, exit: Exit) -> Awaitable[None] | None:
        """Runs last, on every orderly stop, within the shutdown time, and on a crash, within five
        seconds; never on a kill, nor if ``on_start`` did not complete. Shielded from other
        cancellation. If it raises, that becomes the exit and is reported."""
        return None

    def format_state(self) -> object:
        """What reports and observers show as this actor's state; the attributes unless overridden.

        Fields that attrs declares with ``repr=False`` are hidden. Override it to hide more; if it
        raises, everything is hidden.
        """
        from actors.introspection import public_state

        return public_state(self)

    # -- who am I

    @property
    def _home(self) -> Place:
        place: Place | None = getattr(self, "_place", None)
        if place is None:
            raise RuntimeError(
                f"This {type(self).__name__} does not run: system.start() or a supervisor gives an "
                "actor its place, and only then can it send, stop or be spoken to."
            )
        return place

    @property
    def ref(self: Self) -> Ref[Self]:
        """This actor's own ref."""
        return self._home.ref

    @property
    def system(self) -> System:
        """The system this actor lives in: names, groups, ``start``, clock and random source."""
        return self._home.scheduler.system

    @property
    def parent(self) -> Ref[Any] | None:
        """The supervisor or mediator above; ``None`` directly at the top of the system."""
        above = self._home.house.parent
        return above.ref if above is not None else None

    @property
    def envelope(self) -> Envelope:
        """The message being handled, with sender, ids and deadline. Not a checkpoint. Raises
        RuntimeError in a callback, where no message is being handled."""
        place = self._home
        turn = place.turn
        if turn is not None and turn.envelope is not None:
            return turn.envelope
        item = turn.item if turn is not None else place.item
        if item is None:
            raise RuntimeError("There is an envelope only while a message is being handled.")
        slot = place.reply_slot()
        item = identified(item, place.scheduler.next_id)
        if turn is not None:
            turn.item = item
        else:
            place.item = item
        name = place.scheduler.system.id_text
        sender: Place | None = item[SENDER]
        return Envelope(
            message=item[MESSAGE],
            id=name(item[ID]),
            correlation_id=name(item[CORRELATION]),
            causation_id=name(item[CAUSE]) if item[CAUSE] else None,
            sender=sender.ref if sender is not None else None,
            deadline=slot.deadline if slot is not None else None,
            key=slot.key if slot is not None else None,
            attempt=slot.attempt if slot is not None else 1,
            origin=(slot, item[SENDER:] if follower_of(item) is not None else item[SENDER:6]),
        )

    # -- what a handler can do

    def stop(self, exit: Exit | None = None) -> None:
        """End this actor after the current turn, with ``exit`` (``Normal()``). Not a checkpoint.

        The handler goes on to its end, and its answer is given. Queued messages are not handled
        first. The first ``exit`` asked for counts. A permanent child is restarted.
        """
        place = self._home
        # Asked to stop at the same time, the actor's own reason is what is seen of it.
        if place.ending is None or (place.stops and is_orderly(place.ending)):
            place.ending = Normal() if exit is None else exit
        place.look()

    def later(self) -> Later[Any]:
        """Defer the answer: return the ``Later`` from the handler, answer when you know.

        ``later.reply(x)`` or ``later.fail(exc)`` from any task or actor, once. If the actor ends
        before, the caller gets ``ActorDied``. Not a checkpoint. A one-way message may be deferred,
        too; its answer is dropped. Whoever waits for a deferred answer is not seen by the search
        for deadlocks.
        """
        return Later(self._home.reply_slot())

    def notify(self, event: object) -> None:
        """Report an event upwards: it goes to the nearest parent that has a handler for it.

        Not a checkpoint, not durable. At the top of the tree it becomes a dead letter.
        """
        place = self._home
        item = calls.sent(place, event)
        calls.rise(place, event, item[SENDER:6] if type(item) is tuple else (place, 0, 0, 0))

    def heartbeat(self) -> None:
        """A sign of life, from within a long computation. Not a checkpoint.

        An isolated actor whose event loop does not come round for the ``heartbeat`` of its
        :class:`actors.Process` is taken for dead, and its process killed; called now and then, this
        prevents that. Costs well under a microsecond; in any other actor it does nothing.
        """
        self._home.scheduler.system.beat()

    def start_soon(self, task: Callable[[*Args], Awaitable[object]], *args: *Args) -> None:
        """Run an async function beside the turns. It lives no longer than the actor, and its crash
        is the actor's. Not a checkpoint. It does not own the actor's state: a task and a turn may
        take each other's place wherever they await."""
        place = self._home
        if not callable(task):
            raise TypeError(f"start_soon() takes an async function and arguments. Got: {task!r}")
        host.start_side(place, task, args)

    def monitor(self, ref: Ref[Any]) -> Monitor:
        """Get exactly one ``Down(ref, incarnation, exit)`` when the incarnation ends; at once if it
        has ended. Ends with this incarnation. Not a checkpoint."""
        place = self._home
        watch = ref.monitor(place.ref)
        if place.monitors is None:
            place.monitors = set()
        place.monitors.add(watch)
        return watch

    def after(self, seconds: float, message: object) -> ActorTimer:
        """Send this actor a message in so many seconds (0 or more), once. Not a checkpoint.

        It dies with the incarnation, does not count against the mailbox's bound, and stands in the
        queue like any other message. Raises TypeError or ValueError for what is no duration.
        """
        return ActorTimer(self._home, check_seconds("after(seconds)", seconds), message)

    def every(self, seconds: float, message: object) -> ActorTimer:
        """Send this actor a message every so many seconds (more than 0), the first time after as
        many. Not a checkpoint.

        At most one of them is queued at a time: an actor that falls behind misses ticks. It dies
        with the incarnation, and does not count against the mailbox's bound. Raises TypeError or
        ValueError for what is no duration.
        """
        seconds = check_seconds("every(seconds)", seconds, zero=False)
        return ActorTimer(self._home, seconds, message, seconds)

    def idle_after(self, seconds: float | None, message: object = None) -> None:
        """Send this actor ``Idle()``, or ``message``, once no message has come for so many
        seconds; ``None`` or infinity ends that. Requests of introspection do not count."""
        place = self._home
        if place.idle_timer is not None:
            place.idle_timer.cancel()
            place.idle_timer = None
        if seconds is not None and check_seconds("idle_after(seconds)", seconds) != float("inf"):
            place.idle_timer = IdleTimer(place, seconds, message)
        place.look()

    def stash(self) -> None:
        """Set the current message aside, its caller still waiting; ``unstash()`` brings it back.

        What the handler returns is dropped. Raises MailboxFull when as many are set aside as the
        mailbox may hold. Twice in one turn is once.
        """
        place = self._home
        turn = place.turn
        handled = turn.item if turn is not None else place.item
        if handled is None:
            raise RuntimeError("stash() sets aside the message being handled; there is none.")
        aside = place.open_mailbox().stash
        if aside and aside[-1] is handled:
            return
        slot = place.reply_slot()
        item = identified(handled, place.scheduler.next_id)
        message = item[MESSAGE]
        item = (message, slot, *item[SENDER:6])
        token = follower_of(handled)
        if token is not None:
            item = (*item, token)
        # What is being handled is the very item set aside: see lifecycle.crash.
        if turn is not None:
            turn.item = item
        else:
            place.item = item
        if not place.open_mailbox().set_aside(item):
            raise MailboxFull(
                f"{place.path} has set aside as many messages as its mailbox holds.",
                ref=place.ref,
                message=message,
            )
        if token is not None:
            token.set_aside(place)
        if slot is not None:
            slot.taken = True
        place.look()

    def unstash(self) -> None:
        """Put all messages set aside back to the front of the queue, in the order they came."""
        place = self._home
        if place.mailbox is not None:
            place.mailbox.bring_back()
            if place.mailbox and place.idle:
                place.look()

    # -- seams for the library's own kinds of actors

    @classmethod
    def _housed(cls, place: Place) -> Actor | None:
        """Who is to live in the place instead and start this class in a place below, whose ref
        then stands for both; None if this class lives there itself."""
        return None

    @classmethod
    def _face(cls, spec: Any) -> Any:
        """The class whose handlers answer what is sent to an actor of this spec."""
        return cls

    @classmethod
    def _takes(cls, spec: Any) -> Iterable[type]:
        """The classes of messages that an actor of this spec handles."""
        return [message for routes in cls.routes.values() for message in routes.messages]

    def _prepare(self, place: Place) -> None:
        """The incarnation is being made."""

    def _children_up(self) -> Steps | None:
        """Start the children, as part of starting; None if there are none."""
        return None

    def _children_down(self, exit: Exit) -> Steps | None:
        """Stop the children, before ``on_stop``; None if there are none."""
        return None

    def _kill_children(self) -> None:
        """This actor is being killed: so are its children."""

    def _hurry(self) -> None:
        """A stop has come while a stage goes on: give up what may take long."""

    def _observes(self, place: Place) -> bool:
        """Whether every message is to pass ``_before_turn``."""
        return place.idle_timer is not None

    def _before_turn(self, place: Place, message: object) -> None:
        """A message is about to be handled."""
        if place.idle_timer is not None:
            place.idle_timer.touch(message)

    def _after_turn(self, place: Place) -> None:
        """A turn has ended, or a request was served."""
