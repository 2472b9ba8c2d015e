"""Whose turn it is.

Places with something to do stand in one FIFO queue. A single task, the dispatcher, takes them in
turn and runs plain handlers as function calls; handlers that await are handed to the actor's own
task (:mod:`actors.runtime.host`). A caller may run the plain turn of an idle actor itself. Either
way an actor has one turn at a time and nobody can tell the difference.
"""

from __future__ import annotations

import logging
from collections import deque
from itertools import count
from math import inf
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

from actors.dispatch import NONE, TASK
from actors.exits import CallTimeout, Crashed, Unhandled
from actors.mailbox import MESSAGE, SLOT, TOKEN, is_exempt, message_of, sender_of, slot_of
from actors.messages import Refusal
from actors.replies import CALL_TIMEOUT, INLINE, Later, Slot
from actors.runtime import calls, host, lifecycle
from actors.runtime.stages import Stage, drive
from actors.telemetry import DeadLetter, TurnFailed, TurnStarted, TurnStopped
from actors.timers import Timers

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.dispatch import Route
    from actors.mailbox import Mailbox
    from actors.place import Place
    from actors.runtime.system import System

TURNS_AT_ONCE = 32
"""Turns a place takes before the next one is served."""
TURNS_PER_YIELD = 256
"""Turns the dispatcher runs before it yields to trio."""
CALLER_TURNS = 64
"""Turns callers may run themselves before one of them must yield."""
QUIET_YIELDS = 2
"""Yields with nothing ready before it is quiet: whoever was woken has run by then, and tasks that
are woken together run in any order."""
BUSY_YIELDS = 16
"""Yields after which what waits for quiet is done all the same."""

logger = logging.getLogger("actors")


class Scheduler:
    """The ready queue of one system, and the running plain turn."""

    def __init__(self, system: System) -> None:
        self.system = system
        self.telemetry = system.telemetry
        self.timers = Timers()
        self.ready: deque[Place] = deque()
        self.next_id = count(1).__next__
        self.current: Place | None = None
        """The actor whose plain turn is running."""
        self.deadline: float | None = None
        """The deadline of a turn that its caller runs; None: CALL_TIMEOUT from now."""
        self.budget = CALLER_TURNS
        self.telemetry.changed = self.renew_budget
        self.caller_turns = True
        """Whether callers may run turns; tests switch it off to show that nobody can tell."""
        self.failure: BaseException | None = None
        """What the last failing turn raised, for those who observe turns."""
        self.deferred: list[Callable[[bool], object]] = []
        """What is to be done when it is quiet."""
        self.parked = False
        self.closed = False
        self.task: trio.lowlevel.Task | None = None
        self.abandoned = 0
        """Calls skipped because their caller had gone."""

    # -- the ready queue

    def schedule(self, place: Place) -> None:
        """Put a place into the queue. Standing there twice does no harm."""
        place.idle = False
        self.ready.append(place)
        if self.parked:
            self.wake()

    def wake(self) -> None:
        """Have the dispatcher go on."""
        self.parked = False
        assert self.task is not None
        trio.lowlevel.reschedule(self.task)

    def renew_budget(self) -> None:
        """After a yield callers may run turns again, unless every turn is to be observed."""
        self.budget = CALLER_TURNS if self.caller_turns and not self.telemetry.turns else 0

    @enable_ki_protection
    async def run(self) -> None:
        """The dispatcher: one task per system."""
        self.task = trio.lowlevel.current_task()
        with trio.CancelScope(shield=True):
            quiet = busy = 0
            while not self.closed:
                quiet = 0 if self.ready else quiet + 1
                self.pump(TURNS_PER_YIELD)
                self.renew_budget()
                if self.deferred:
                    busy += 1
                    if quiet > QUIET_YIELDS or busy > BUSY_YIELDS:
                        deferred, self.deferred = self.deferred, []
                        for call in deferred:
                            call(quiet <= QUIET_YIELDS)
                        quiet = busy = 0
                elif not self.ready:
                    quiet = busy = 0
                    self.parked = True
                    await trio.lowlevel.wait_task_rescheduled(_never_aborts)
                    continue
                await trio.lowlevel.checkpoint()
            # What the last to be closed has brought about.
            self.pump(TURNS_PER_YIELD)

    def defer(self, call: Callable[[bool], object]) -> None:
        """Have a function called once nothing is ready any more and everybody who was woken has
        run; or, told ``True``, if that takes long. Called by the dispatcher, in no turn: it must
        not raise."""
        self.deferred.append(call)
        if self.parked:
            self.wake()

    def close(self) -> None:
        """Let the dispatcher end."""
        self.closed = True
        if self.parked:
            self.wake()

    def pump(self, turns: int) -> None:
        """Serve the ready places, about so many turns."""
        ready = self.ready
        while ready and turns > 0:
            place = ready.popleft()
            if place.fast and not self.telemetry.turns:
                turns -= self.take(place)
            else:
                turns -= 1
                self.attend(place)

    # -- plain turns

    def take(self, place: Place) -> int:
        """Run plain turns of a fast place; returns how many."""
        mailbox = place.mailbox
        turns = 0
        while mailbox:
            turns += 1
            self.begin(place, mailbox, mailbox.popleft())
            if not place.fast:
                self.attend(place)
                return turns
            if turns >= TURNS_AT_ONCE and mailbox:
                self.ready.append(place)
                return turns
        place.idle = True
        place.item = place.slot = None
        return turns

    def begin(self, place: Place, mailbox: Mailbox, item: Any) -> None:
        """Give one item from the queue its turn: here, in the actor's task, or not at all."""
        slot: Slot | None = None
        if type(item) is tuple:
            message = item[MESSAGE]
            slot = item[1]
            if len(item) == 7:
                mailbox.exempt -= 1
                if not self.begins_later(place, item):
                    item[TOKEN].taken()
            if slot is not None:
                if slot.done:
                    self.abandoned += 1
                    if mailbox.senders is not None:
                        mailbox.admit()
                    return
                slot.taken = False
        else:
            message = item
        if mailbox.senders is not None:
            mailbox.admit()
        route = place.routes[type(message)]
        if route.kind == TASK or place.middleware is not None:
            host.begin_turn(place, item, slot, route)
        elif route.kind == NONE:
            self.unhandled(place, item, slot)
        else:
            self.plain_turn(place, item, slot, route, message)

    def begins_later(self, place: Place, item: Any) -> bool:
        """Whether the turn of an item begins in the actor's task, and not before that is its turn;
        then whoever follows the item is told there."""
        slot = item[SLOT]
        if not item[TOKEN].follows or (slot is not None and slot.done):
            return False
        return place.middleware is not None or place.routes[type(item[MESSAGE])].kind == TASK

    def plain_turn(
        self, place: Place, item: Any, slot: Slot | None, route: Route, message: object
    ) -> None:
        """Call a plain handler and answer."""
        place.item = item
        place.slot = slot
        self.current = place
        try:
            context = place.context or self.new_context(place)
            result = context.run(route.function, place.actor, message)
            if type(result) not in route.returns:
                result = self.examine(place, route, result)
        except BaseException as error:
            self.current = None
            self.failed(place, error, slot)
        else:
            self.current = None
            if slot is not None and result is not calls.DEFERRED and not slot.taken:
                slot.reply(result)

    def caller_turn(self, place: Place, route: Route, message: object) -> Any:
        """Run a plain turn in the caller's task, at once. ``place.item`` is set.

        Returns the answer, or the Slot to wait for if the handler has deferred it; raises what
        the call raises. Only for a place found idle and fast, with no yield in between.
        """
        self.budget -= 1
        place.idle = False
        place.slot = INLINE
        self.current = place
        try:
            context = place.context or self.new_context(place)
            result = context.run(route.function, place.actor, message)
            if type(result) not in route.returns:
                result = self.examine(place, route, result)
        except BaseException as error:
            self.current = None
            slot = place.slot if isinstance(error, Refusal) else place.reply_slot()
            if slot is INLINE:
                self.resume(place)
                raise
            self.failed(place, error, slot)
            self.resume(place)
            return slot
        self.current = None
        slot = place.slot
        if place.fast and not place.mailbox:
            place.idle = True
            place.item = place.slot = None
        else:
            self.resume(place)
        if slot is INLINE:
            return result
        if slot is not None and result is not calls.DEFERRED and not slot.taken:
            slot.reply(result)
        return slot

    def resume(self, place: Place) -> None:
        """After a caller's turn: whatever came up meanwhile is the dispatcher's."""
        if place.ending is not None or place.control:
            self.attend(place)
        elif place.fast and not place.mailbox:
            place.idle = True
            place.item = place.slot = None
        else:
            self.schedule(place)

    def new_context(self, place: Place) -> Any:
        """The actor's own context, made at its first turn."""
        place.context = self.system.context.copy()
        return place.context

    def call_deadline(self) -> float | None:
        """The deadline of the turn that its caller is running."""
        if self.deadline is None:
            return trio.current_time() + CALL_TIMEOUT
        return None if self.deadline == inf else self.deadline

    def examine(self, place: Place, route: Route, result: Any) -> Any:
        """Look at the first result of its class: an answer, a promise of one, or a mistake."""
        if isinstance(result, Later):
            slot = place.reply_slot()
            if result.slot is not slot:
                raise TypeError("A handler returned a Later that belongs to another message.")
            if slot is not None:
                host.hold(place, slot)
            return calls.DEFERRED
        if isinstance(result, Stage):
            result.slot = place.reply_slot()
            place.stage = result
            place.fast = False
            return calls.DEFERRED
        if hasattr(type(result), "__await__"):
            if hasattr(result, "close"):
                result.close()
            if route.kind == NONE:
                raise TypeError(
                    f"{place.path}: a middleware returned an awaitable for a message without "
                    f"handler, and nobody would await it. Got: {type(result).__name__}"
                )
            raise TypeError(
                f"{route.function.__qualname__} is a plain def and returned an awaitable, which "
                f"nobody would await; make it an async def. Got: {type(result).__name__}"
            )
        route.returns.add(type(result))
        return result

    # -- what a turn may come to

    def failed(self, place: Place, error: BaseException, slot: Slot | None) -> None:
        """An exception has left a handler: a refusal, or the actor's end."""
        item = place.turn.item if place.turn is not None else place.item
        message = message_of(item)
        self.failure = error if self.telemetry.turns else None
        if isinstance(error, Refusal):
            if slot is None:
                self.dead_letter(place, item, f"refused: {error!r}")
            elif slot is not INLINE:
                slot.fail(error.with_traceback(None))
        elif isinstance(error, CallTimeout) and error.inherited and slot is not None:
            slot.fail(error)
        elif isinstance(error, Unhandled) and error.ref is place.ref:
            self.unhandled(place, item, slot)
        else:
            self.system.heed(error)
            if place.turn is not None:
                place.turn = None
            lifecycle.crash(place, error, item)
            if slot is not None:
                slot.fail(calls.died(place, message, Crashed(error)))

    def failed_callback(self, place: Place, error: BaseException) -> None:
        """``on_ready`` has raised: a crash like any other."""
        self.system.heed(error)
        place.turn = None
        lifecycle.crash(place, error, None, doing="on_ready")

    def unhandled(self, place: Place, item: Any, slot: Slot | None) -> None:
        """No handler: the caller is told, a one-way message is a dead letter with a warning."""
        message = message_of(item)
        if slot is not None:
            slot.fail(calls.unhandled(place, message))
        else:
            logger.warning("%s has no handler for %r", place.path, message)
            self.dead_letter(place, item, "no handler")

    def dead_letter(self, place: Place, item: Any, reason: str) -> None:
        """A one-way message comes to nothing."""
        message = message_of(item)
        logger.info("Dead letter to %s (%s): %r", place.path, reason, message)
        if DeadLetter in self.telemetry.active:
            sender = sender_of(item)
            ref = sender.ref if sender is not None else None
            self.telemetry.emit(DeadLetter(place.ref, message, reason, ref))

    def refuse(self, place: Place, item: Any) -> None:
        """What was queued, or comes now, at a place that nobody will live in."""
        slot = slot_of(item)
        # What nobody has asked for, nobody misses.
        asked = not is_exempt(item) or item[TOKEN].follows
        if slot is not None:
            slot.fail(calls.gone(place, item[MESSAGE]))
        elif asked:
            self.dead_letter(place, item, f"the place is {place.state}")
        if asked and is_exempt(item):
            item[TOKEN].taken()

    # -- places that need a closer look

    def attend(self, place: Place) -> None:
        """Do what is due at a place: requests first, then its end, then one message, or many."""
        if place.stage is not None and place.stage.resumable:
            if not drive(place, place.stage):
                return
        if place.busy:
            return
        while place.control and place.ending is None:
            place.control.popleft()(place)
            if place.stage is not None and not drive(place, place.stage):
                return
        if place.state != "up":
            return
        if place.ending is not None:
            lifecycle.conclude(place)
            return
        if place.ready_due:
            place.ready_due = False
            host.make_ready(place)
            if place.busy or place.ending is not None or place.control:
                self.schedule(place)
                return
        place.actor._after_turn(place)
        if place.suspended:
            return
        self.go_on(place)

    def go_on(self, place: Place) -> None:
        """The place is up and has nothing but messages to look at."""
        place.fast = (
            place.middleware is None
            and place.debug is None
            and place.idle_timer is None
            and not (place.actor.has_states and place.actor._observes(place))
        )
        if not place.mailbox:
            place.idle = True
            place.item = place.slot = None
        elif place.fast and not self.telemetry.turns:
            self.schedule(place)
        else:
            self.observed_turn(place)

    def turn_ended(self, place: Place) -> None:
        """A turn of the actor's own task is over; called in that task."""
        place.turn = None
        if place.control or place.ending is not None or place.suspended or place.stage is not None:
            place.look()
        elif place.mailbox:
            self.schedule(place)
        else:
            self.go_on(place)

    def observed_turn(self, place: Place) -> None:
        """One turn with everything that may look at it."""
        mailbox = place.mailbox
        assert mailbox is not None
        item = mailbox.popleft()
        message = message_of(item)
        place.actor._before_turn(place, message)
        if place.debug is not None:
            place.debug.received(message)
        if self.telemetry.turns:
            self.telemetry.emit(TurnStarted(place.ref, message, len(mailbox)))
            self.failure = None
            started = trio.current_time()
            self.begin(place, mailbox, item)
            if place.turn is None:
                self.turn_over(place, message, started, self.failure)
            else:
                place.turn.started = started
        else:
            self.begin(place, mailbox, item)
        self.schedule(place)

    def turn_over(
        self, place: Place, message: object, started: float, error: BaseException | None
    ) -> None:
        """Announce the end of a turn that somebody observed."""
        seconds = trio.current_time() - started
        self.telemetry.emit(
            TurnStopped(place.ref, message, seconds)
            if error is None
            else TurnFailed(place.ref, message, seconds, error)
        )

    # -- waiting for an answer

    def help(self, slot: Slot) -> None:
        """A caller about to wait serves the ready places itself, until it has its answer: the
        answer of a plain handler then costs no task switch. Bounded, as callers' turns are."""
        ready = self.ready
        while ready and self.budget > 0 and not slot.done:
            self.budget -= 1
            place = ready.popleft()
            if place.fast:
                self.take(place)
            else:
                self.attend(place)
        if ready and self.parked:
            self.wake()


def _never_aborts(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED
