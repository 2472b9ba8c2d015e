"""The verbs where more is to be done than the common case: full, closed, busy, bounded, waiting."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import trio

from actors.dispatch import PLAIN, TASK
from actors.exits import (
    ActorDied,
    CallCycle,
    CallTimeout,
    Killed,
    MailboxFull,
    NoSuchActor,
    Unhandled,
)
from actors.mailbox import (
    ADMITTED,
    MESSAGE,
    NOWHERE,
    SENDER,
    SLOT,
    follower_of,
    message_of,
    origin_of,
)
from actors.messages import Call, carried
from actors.replies import CALL_TIMEOUT, INLINE, Slot, timed_out
from actors.runtime import host, lifecycle
from actors.runtime.stages import Pending
from actors.turns import current_turn, make_item, refuse_cycle
from actors.validation import check_seconds

if TYPE_CHECKING:
    from actors.dispatch import Route
    from actors.exits import Exit
    from actors.mailbox import Mailbox, Origin, Waiting
    from actors.messages import Envelope
    from actors.place import Place
    from actors.turns import Turn

DEFERRED: Any = object()
"""What a handler gave was no answer yet."""


def check_timeout(timeout: float) -> None:
    """Refuse what is no duration, where the call is written."""
    check_seconds("timeout (None waits for ever)", timeout)


def sent(place: Place, message: object, slot: Slot | None = None) -> Any:
    """What to queue: the message with what is known of its sender."""
    sender = place.scheduler.current
    if sender is not None:
        return make_item(message, slot, sender, None)
    turn = current_turn.get()
    if turn is not None:
        return make_item(message, slot, turn.place, turn)
    if slot is not None or type(message) is tuple:
        return (message, slot, None, 0, 0, 0)
    return message


def is_closed(place: Place) -> bool:
    """Nobody will handle what is sent there."""
    return (place.fate or place.state) in ("stopped", "gone")


def cast(place: Place, message: object) -> None:
    """``Ref.cast`` where the mailbox is missing, full, or closed for good."""
    item = sent(place, message)
    if is_closed(place):
        place.scheduler.dead_letter(place, item, f"the place is {place.state}")
        return
    mailbox = place.open_mailbox()
    if not mailbox.full:
        mailbox.append(item)
    elif not admit(place, mailbox, item):
        raise full(place, message, mailbox)
    if place.idle:
        place.scheduler.schedule(place)


def admit(place: Place, mailbox: Mailbox, item: Any) -> bool:
    """Queue a message where there is no room, if it needs none."""
    message = message_of(item)
    if not place.routes[type(message)].exempt:
        return False
    if type(item) is not tuple:
        item = (message, None, *NOWHERE)
    mailbox.exempt += 1
    mailbox.append((*item, ADMITTED))
    return True


def full(place: Place, message: object, mailbox: Mailbox) -> MailboxFull:
    """The error, in words."""
    return MailboxFull(
        f"{place.path} holds {mailbox.capacity} messages already; send() waits for room, and the "
        "mailbox= of its spec sets the bound.",
        ref=place.ref,
        message=message,
    )


class Room:
    """A turn waiting for room in a mailbox; it waits for nobody once it is let in."""

    __slots__ = ("_place", "waiting")

    def __init__(self, place: Place) -> None:
        self._place = place
        self.waiting: Waiting | None = None

    @property
    def holder(self) -> Place | None:
        """The place, until there is room."""
        admitted = self.waiting is not None and self.waiting.task is None
        return None if admitted else self._place


async def send(place: Place, message: object) -> None:
    """``Ref.send`` after its checkpoint."""
    mailbox = place.mailbox
    if (
        mailbox is None
        or not mailbox.full
        or is_closed(place)
        or place.routes[type(message)].exempt
    ):
        cast(place, message)
        return
    item = sent(place, message)
    turn, room = current_turn.get(), Room(place)
    if turn is not None:
        turn.begin_wait(room)
    waiting = room.waiting = mailbox.wait_for_room(item, trio.lowlevel.current_task())

    def abort(_: object) -> trio.lowlevel.Abort:
        mailbox.withdraw(waiting)
        return trio.lowlevel.Abort.SUCCEEDED

    try:
        await trio.lowlevel.wait_task_rescheduled(abort)
    finally:
        if turn is not None:
            turn.end_wait(room)


def begin(place: Place, message: Any, timeout: float | None, turn: Turn | None) -> Any:
    """``Ref.call`` as far as it goes without waiting: the answer, or the slot it will arrive in."""
    scheduler = place.scheduler
    if timeout is not CALL_TIMEOUT and timeout is not None:
        check_timeout(timeout)
    if scheduler.current is not None:
        raise RuntimeError(
            f"{scheduler.current.path} tried to call from within a plain def handler, which is "
            "atomic; make the handler an async def."
        )
    if not isinstance(message, Call):
        raise TypeError(
            "call() takes a Call, whose class names its reply type: class Withdraw(Call[int]). "
            f"Other messages are for cast() and send(). Got: {message!r}"
        )
    now = trio.current_time()
    deadline = None if timeout is None else now + timeout
    inherited = False
    if turn is not None and turn.deadline is not None and not turn.ended:
        if deadline is None or turn.deadline <= deadline:
            deadline, inherited = turn.deadline, True
    if deadline is not None and deadline <= now:
        raise timed_out(place, message, timeout, inherited=inherited, sent=False)
    route = place.routes[type(message)]
    if place.idle and place.fast and scheduler.budget > 0 and route.kind == PLAIN:
        place.item = sent(place, message)
        scheduler.deadline = inf if deadline is None else deadline
        try:
            result = scheduler.caller_turn(place, route, message)
        finally:
            scheduler.deadline = None
        if type(result) is Slot:
            result.timeout, result.inherited = timeout, inherited
            if turn is not None:
                turn.begin_wait(result)
        return result
    if is_closed(place):
        raise gone(place, message)
    slot = Slot(message, place, timeout, deadline, inherited=inherited)
    item = sent(place, message, slot)
    if turn is not None:
        turn.begin_wait(slot)
    if place.idle and place.fast and route.kind == TASK and not scheduler.telemetry.turns:
        place.idle = False
        host.begin_turn(place, item, slot, route)
    else:
        enqueue(place, item)
    return slot


def hand_over(place: Place, route: Route, message: object) -> Slot:
    """Give a call from outside any actor straight to the task of an idle one that needs it."""
    slot = Slot(message, place, CALL_TIMEOUT, trio.current_time() + CALL_TIMEOUT)
    place.idle = False
    host.begin_turn(place, (message, slot, None, 0, 0, 0), slot, route)
    return slot


def enqueue(place: Place, item: Any) -> None:
    """Queue a call; where there is no room it waits for room, which is part of its wait."""
    mailbox = place.open_mailbox()
    if not mailbox.full:
        mailbox.append(item)
    elif not admit(place, mailbox, item):
        item[SLOT].room = (mailbox, mailbox.wait_for_room(item, None))
    if place.idle:
        # The dispatcher is not woken here: who waits for an answer serves the place itself.
        place.idle = False
        place.scheduler.ready.append(place)


async def answer(slot: Slot, turn: Turn | None) -> Any:
    """Wait for the answer. Not a checkpoint if it is there already."""
    scheduler = slot.place.scheduler
    try:
        if scheduler.ready:
            scheduler.help(slot)
        if slot.must_wait(scheduler.timers):
            await trio.lowlevel.wait_task_rescheduled(slot.abandon)
    finally:
        if turn is not None:
            turn.end_wait(slot)
    return slot.result()


def gone(place: Place, message: object) -> NoSuchActor:
    """The error for a place that is stopped or gone."""
    return NoSuchActor(
        f"{place.path} is {place.fate or place.state}; "
        f"nobody will answer {type(carried(message)).__name__}.",
        ref=place.ref,
        message=message,
    )


def died(place: Place, message: object, exit: Exit) -> ActorDied:
    """The error for a call whose actor has ended; after a crash the exception is its cause."""
    error = ActorDied(
        f"{place.path} ended ({exit}) before it answered {type(carried(message)).__name__}.",
        exit=exit,
        ref=place.ref,
        message=message,
    )
    error.__cause__ = getattr(exit, "exception", None)
    return error


def unhandled(place: Place, message: object) -> Unhandled:
    """The error for a call without handler."""
    known = ", ".join(cls.__name__ for cls in place.routes.messages) or "none"
    return Unhandled(
        f"{place.path} has no handler for this call. It handles: {known}. "
        f"Got: {type(message).__name__}",
        ref=place.ref,
        message=message,
    )


def forward(place: Place, envelope: Envelope) -> None:
    """``Ref.forward``: the message, its reply slot and the wait for it go on to ``place``."""
    slot, origin = envelope.origin
    hand_on(place, (envelope.message, slot, *origin))


def hand_on(place: Place, item: Any, *, awaited: bool = False) -> None:
    """Queue a message that somebody else has taken from his queue, its reply slot included.

    ``awaited``: within a turn that its caller runs, who is about to wait for the answer.
    """
    message, slot, sender, token = item[MESSAGE], item[SLOT], item[SENDER], follower_of(item)
    if slot is not None and slot.done:
        return
    if is_closed(place):
        place.scheduler.refuse(place, item)
        return
    mailbox = place.open_mailbox()
    exempt = token is None and mailbox.full and place.routes[type(message)].exempt
    if not exempt and (mailbox.full or (token is not None and len(mailbox) >= mailbox.capacity)):
        raise full(place, message, mailbox)
    if slot is not None:
        slot.taken = True
        slot.holder = slot.place = place
        if sender is not None and sender.turn is not None and slot in (sender.turn.waits or ()):
            try:
                refuse_cycle(sender, place)
            except CallCycle as error:
                slot.fail(error)
                return
    if token is not None:
        mailbox.exempt += 1
        token.passed_on()
    if not (exempt and admit(place, mailbox, item)):
        mailbox.append(item)
    if place.idle:
        if awaited:
            # As in enqueue: the caller serves the place itself.
            place.idle = False
            place.scheduler.ready.append(place)
        else:
            place.scheduler.schedule(place)


def pass_on(home: Place, target: Place, message: object) -> None:
    """The message being handled at ``home`` is handled at ``target`` instead."""
    turn = home.turn
    handled = turn.item if turn is not None else home.item
    awaited = turn is None and home.slot is INLINE
    slot = home.reply_slot()
    origin = origin_of(handled)
    token = follower_of(handled)
    item = (message, slot, *origin) if token is None else (message, slot, *origin, token)
    try:
        hand_on(target, item, awaited=awaited)
    except MailboxFull as error:
        if slot is not None:
            slot.fail(error.with_traceback(None))
        else:
            home.scheduler.dead_letter(target, item, "the mailbox is full")


def rise(place: Place, event: object, origin: Origin) -> None:
    """``Actor.notify``: to the nearest place above that has a handler for such an event."""
    above = place.house.parent
    while above is not None:
        face = above.ref._place
        if face.handles(type(event)):
            face.post(event, origin=origin)
            return
        above = above.parent
    reason = "an event no parent has a handler for"
    place.scheduler.dead_letter(place, (event, None, *origin), reason)


async def stop(place: Place, exit: Exit, timeout: float | None) -> bool:
    """``Ref.stop`` after its checkpoint."""
    if not place.house.running:
        return False
    turn = current_turn.get()
    if place.scheduler.current is place or (turn is not None and turn.place is place):
        raise CallCycle(
            f"{place.path} cannot wait for its own end; self.stop() ends it after this turn.",
            chain=[place.ref, place.ref],
            ref=place.ref,
        )
    place = place.house
    if turn is not None and not turn.ended:
        refuse_cycle(turn.place, place)
    pending = lifecycle.stop(place, exit, 0 if isinstance(exit, Killed) else None)
    if pending is None:
        return True
    await _wait(pending, turn, timeout, place)
    # Somebody else's system has told whether there was anything to stop.
    return pending.value is not False


async def wait(place: Place) -> Exit:
    """``Ref.wait`` after its checkpoint."""
    if not place.running:
        if place.exit is None:
            raise NoSuchActor(f"{place.path} is {place.state} and never ran.", ref=place.ref)
        return place.exit
    pending = Pending(place)
    place.watch(pending)
    try:
        exit: Exit = await _wait(pending, current_turn.get(), None, place)
        return exit
    finally:
        place.unwatch(pending)


async def _wait(pending: Pending, turn: Turn | None, timeout: float | None, place: Place) -> Any:
    if turn is not None:
        turn.begin_wait(pending)
    try:
        if timeout is None:
            return await pending.wait()
        slot = Slot(None, place, timeout, trio.current_time() + timeout)
        pending.then(lambda done: slot.reply(done.value))
        if slot.must_wait(place.scheduler.timers):
            await trio.lowlevel.wait_task_rescheduled(slot.abandon)
        if isinstance(slot.error, CallTimeout):
            raise CallTimeout(
                f"{place.path} has not ended within {timeout} s; its stop goes on.",
                timeout=timeout,
                ref=place.ref,
            )
        return slot.value
    finally:
        if turn is not None:
            turn.end_wait(pending)
