"""How one speaks to an actor: the three verbs, and what else can be asked of a place."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import trio
from trio.lowlevel import checkpoint_if_cancelled, enable_ki_protection, wait_task_rescheduled

from actors.dispatch import NONE, PLAIN
from actors.exits import Normal
from actors.replies import CALL_TIMEOUT, Slot
from actors.runtime import calls
from actors.turns import current_turn, make_item

if TYPE_CHECKING:
    from actors.exits import Exit
    from actors.messages import Call, Envelope
    from actors.monitors import Monitor
    from actors.place import Place, State

A_co = TypeVar("A_co", covariant=True)
R = TypeVar("R")


class Ref(Generic[A_co]):
    """The name of a place in the tree. It survives restarts, together with the queue behind it.

    Refs are made by the library, compare by the place they name and can be sent about freely
    within their system.
    """

    __slots__ = ("_place",)

    def __init__(self, place: Place) -> None:
        self._place = place

    def cast(self, message: object) -> None:
        """Send without waiting; what the handler returns is dropped. Not a checkpoint.

        Messages from one sender arrive in the order of sending. To a place that is stopped or gone
        the message becomes a dead letter. Raises MailboxFull when there is no room.
        """
        place = self._place
        mailbox = place.mailbox
        scheduler = place.scheduler
        sender = scheduler.current
        if (
            mailbox is None
            or len(mailbox) >= mailbox.capacity
            or type(message) is tuple
            or mailbox.senders is not None
        ):
            calls.cast(place, message)
            return
        if sender is not None:
            mailbox.append(make_item(message, None, sender, None))
        elif (turn := current_turn.get()) is None:
            mailbox.append(message)
        else:
            mailbox.append(make_item(message, None, turn.place, turn))
        if place.idle:
            place.idle = False
            scheduler.ready.append(place)
            if scheduler.parked:
                scheduler.wake()

    async def send(self, message: object) -> None:
        """Send, waiting for room in the mailbox. A checkpoint.

        Cancelled while it waits, the message is not sent. To a place that is stopped or gone the
        message becomes a dead letter. Raises CallCycle if the receiver waits for the sender.
        """
        await trio.lowlevel.checkpoint()
        await calls.send(self._place, message)

    @enable_ki_protection
    async def call(self, message: Call[R], timeout: float | None = CALL_TIMEOUT) -> R:
        """Send and wait for the answer, at most ``timeout`` seconds; ``None``: for ever.

        Inside a handler the deadline of the call being handled also bounds this one.

        Raises the ``Refusal`` that the handler raised; ``ActorDied`` if the actor ends before it
        answers, its crash as ``__cause__``; ``NoSuchActor`` if the place is stopped or gone;
        ``CallTimeout``; ``CallCycle`` if the actor waits, directly or through others, for the
        caller; ``Unhandled`` if it has no handler for this message; ``TypeError`` for a message
        that is no ``Call``.

        A checkpoint before the message is handled: it may yield, and raises ``trio.Cancelled``
        only if the message was not sent or its answer not there yet. The deadline never cancels
        the handler, and cancelling the caller does not either.
        """
        await checkpoint_if_cancelled()
        place = self._place
        scheduler = place.scheduler
        if scheduler.budget <= 0 and scheduler.current is None:
            await trio.lowlevel.checkpoint()
            scheduler.renew_budget()
        turn = current_turn.get()
        # The caller runs a plain turn of an idle actor itself. Everything is checked here, after
        # the last yield, with nothing between check and handler: no other message can slip in.
        result: Any
        if (
            place.idle
            and place.fast
            and turn is None
            and timeout is CALL_TIMEOUT
            and scheduler.budget > 0
            and scheduler.current is None
            and (route := place.routes[type(message)]).is_call
            and route.kind != NONE
        ):
            if route.kind == PLAIN:
                place.item = message
                result = scheduler.caller_turn(place, route, message)
            else:
                result = calls.hand_over(place, route, message)
        else:
            result = calls.begin(place, message, timeout, turn)
        if type(result) is not Slot:
            return result  # type: ignore[no-any-return]
        # As calls.answer does, without a further coroutine for every call.
        try:
            if scheduler.ready:
                scheduler.help(result)
            if result.must_wait(scheduler.timers):
                await wait_task_rescheduled(result.abandon)
        finally:
            if turn is not None:
                turn.end_wait(result)
        return result.result()  # type: ignore[no-any-return]

    def forward(self, envelope: Envelope) -> None:
        """Hand a message on, its reply slot included: the caller then waits for this actor.

        To be used inside the handler of that message, as ``ref.forward(self.envelope)``; what the
        handler returns is then dropped. Not a checkpoint. Raises MailboxFull.
        """
        calls.forward(self._place, envelope)

    async def stop(self, exit: Exit | None = None, *, timeout: float | None = None) -> bool:
        """Stop the actor as if by its own decision, and wait until it has ended. A checkpoint.

        The running turn is finished and ``on_stop`` run, both within the shutdown time of its
        spec; past it the exit is ``Killed``. What happens then is the supervisor's decision: a
        permanent child comes back. ``exit`` is ``Normal()`` unless given; ``Killed()`` cancels.

        ``timeout`` (seconds) bounds the waiting only, not the stop: then CallTimeout. Returns
        False if there was nothing to stop. Raises CallCycle for an actor that stops itself so
        (``self.stop()`` does that) or one that waits for it.
        """
        if timeout is not None:
            calls.check_timeout(timeout)
        await trio.lowlevel.checkpoint()
        return await calls.stop(self._place, Normal() if exit is None else exit, timeout)

    def monitor(self, to: Ref[Any]) -> Monitor:
        """Have exactly one ``Down(ref, incarnation, exit)`` sent to ``to`` when this incarnation
        ends: at once if it has ended already, with ``Crashed(NoSuchActor)`` if there never was
        one. ``cancel()`` on the result ends it and takes back a Down not yet handled."""
        from actors.monitors import monitor

        return monitor(self._place, to._place)

    async def wait(self) -> Exit:
        """Wait for the end of the current incarnation; without one, return the last exit.

        A checkpoint. Raises CallCycle if that actor waits for this one, NoSuchActor if none ever
        lived here.
        """
        await trio.lowlevel.checkpoint()
        return await calls.wait(self._place)

    @property
    def alive(self) -> bool:
        """Whether an incarnation is up."""
        return self._place.status == "up"

    @property
    def state(self) -> State:
        """``starting up stopping restarting stopped gone``."""
        return self._place.status

    @property
    def incarnation(self) -> int:
        """How many actors have lived here, the present one included."""
        return self._place.incarnation

    @property
    def name(self) -> str | None:
        """The registered name, if it has one."""
        return self._place.house.name

    @property
    def id(self) -> str:
        """The id under its supervisor; under :class:`supervisors.Shards` the key."""
        return self._place.house.id

    @property
    def path(self) -> str:
        """Where in the tree: ``/bank/accounts/alice``."""
        return self._place.path

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ref) and other._place is self._place

    def __hash__(self) -> int:
        return hash(id(self._place))

    def __repr__(self) -> str:
        from actors.place import factory_name

        return f"<Ref {factory_name(self._place.spec.factory)} {self._place.path}>"
