"""The task of an incarnation, and its side tasks.

An actor gets a task when it first awaits: for an ``async def`` handler or callback, or to wait for
the end of its side tasks. The task runs one turn after another, is parked in between, and ends
last. All tasks live in the system's nursery, each shielded: cancelling the scope around the system
reaches its body, which then stops the tree in order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import Abort, enable_ki_protection

from actors.dispatch import NONE, TASK
from actors.exits import Crashed, Killed
from actors.mailbox import MESSAGE, TOKEN, follower_of, message_of, slot_of
from actors.messages import Envelope
from actors.replies import Held
from actors.runtime import calls, lifecycle
from actors.turns import Turn, current_turn

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors.dispatch import Route
    from actors.place import Place
    from actors.replies import Slot

TURNS_AT_ONCE = 32
"""Turns a task runs before it lets others run."""


class Host:
    """The task of one incarnation: what it is to do next, and how to cancel it."""

    __slots__ = ("cancelled", "failure", "finishing", "job", "parked", "place", "scope", "task")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.scope = trio.CancelScope(shield=True)
        self.task: trio.lowlevel.Task | None = None
        self.job: Turn | None = None
        self.parked = False
        self.cancelled = False
        """Its scope was cancelled; trio's own property reads the clock each time."""
        self.finishing = False
        self.failure: BaseException | None = None
        """Why a start is cancelled."""

    def wake(self) -> None:
        """Have the task look at what it is to do."""
        if self.parked:
            self.parked = False
            assert self.task is not None
            trio.lowlevel.reschedule(self.task)

    def cancel(self) -> None:
        """Cancel what the task does now: the turn, the start or the last words."""
        self.cancelled = True
        self.scope.cancel()

    def leave(self) -> None:
        """The incarnation is closed: end, wherever you are."""
        self.cancel()
        self.wake()

    async def park(self) -> None:
        """Wait for something to do."""
        self.parked = True
        await trio.lowlevel.wait_task_rescheduled(self.unpark)

    def unpark(self, _: object) -> Abort:
        """The parked task is cancelled. Noted at once, not when it runs again: nobody may wake it
        a second time."""
        self.parked = False
        return Abort.SUCCEEDED


class Side:
    """A side task: it lives no longer than its actor."""

    __slots__ = ("place", "scope")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.scope = trio.CancelScope(shield=True)


# -- what the scheduler and the lifecycle ask for


def ensure(place: Place) -> Host:
    """The task of the present incarnation, made on first need."""
    host = place.host
    if host is None:
        host = place.host = Host(place)
        scheduler = place.scheduler
        context = place.context or scheduler.new_context(place)
        # A copy: the context itself may be entered just now, by a plain callback.
        context.copy().run(_spawn, place, _main, host)
    return host


def _spawn(place: Place, main: Callable[..., Awaitable[object]], *args: object) -> None:
    place.scheduler.system.nursery.start_soon(main, *args, name=place.path)


def begin_turn(place: Place, item: Any, slot: Slot | None, route: Route | None) -> None:
    """Give a message, or with no route a callback, to the actor's task."""
    place.fast = False
    turn = place.turn = Turn(place, item, slot, route)
    host = place.host or ensure(place)
    host.job = turn
    if host.parked:
        host.parked = False
        assert host.task is not None
        trio.lowlevel.reschedule(host.task)


def begin_start(place: Place) -> None:
    """Run ``on_start`` in the actor's task."""
    begin_turn(place, None, None, None)


def begin_failed(place: Place, error: BaseException) -> None:
    """A plain ``on_start`` failed and has left side tasks: end them first."""
    host = ensure(place)
    host.failure = error
    host.cancel()


def make_ready(place: Place) -> None:
    """Run ``on_ready``, before the first message."""
    if type(place.actor).on_ready_kind == TASK:
        begin_turn(place, None, None, None)
        return
    scheduler = place.scheduler
    outer, scheduler.current = scheduler.current, place
    context = place.context or scheduler.new_context(place)
    try:
        context.run(place.actor.on_ready)
    except BaseException as error:
        scheduler.current = outer
        scheduler.failed_callback(place, error)
    scheduler.current = outer


def finish(place: Place) -> None:
    """End side tasks, run ``on_stop`` and close, all in the actor's task."""
    host = ensure(place)
    host.finishing = True
    host.wake()


def cancel(place: Place) -> None:
    """Cancel everything the incarnation runs."""
    if place.host is not None:
        place.host.cancel()
    for side in place.side or ():
        side.scope.cancel()


def cancel_turn(place: Place) -> None:
    """A side task has crashed: cancel the running turn, and the start it may be part of."""
    host = place.host
    assert host is not None
    if isinstance(place.ending, Crashed):
        host.failure = place.ending.exception
    host.cancel()


# -- the task


@enable_ki_protection
async def _main(host: Host) -> None:
    place = host.place
    host.task = trio.lowlevel.current_task()
    place.context = host.task.context
    with host.scope:
        if host.job is not None and place.state == "starting":
            host.job = None
            if not host.cancelled:
                await _start(place, host)
        await _serve(place, host)
    if place.host is host and place.state == "up":
        _break_off(place)
    with trio.CancelScope(shield=True):
        while place.host is host and not _may_end(place, host):
            await host.park()
    if place.host is not host:
        return
    if place.state == "starting":
        failure = host.failure or trio.TooSlowError("it was killed while starting")
        lifecycle.start_failed(place, failure)
        return
    await _last_words(place, host)
    lifecycle.close(place)


def _may_end(place: Place, host: Host) -> bool:
    """The children are gone, or never came up, and so are the side tasks."""
    if not host.finishing and (place.state != "starting" or place.stage is not None):
        return False
    for side in place.side or ():
        side.scope.cancel()
    return not place.side


async def _start(place: Place, host: Host) -> None:
    """``on_start``, within its time."""
    timeout = place.spec.start_timeout

    incarnation = place.incarnation

    def too_slow() -> None:
        host.failure = trio.TooSlowError(f"on_start took longer than {timeout} s")
        lifecycle.kill(place, incarnation)

    timer = place.scheduler.timers.after(timeout, too_slow) if timeout < float("inf") else None
    current_turn.set(place.turn)
    try:
        await place.actor.on_start()
    except trio.Cancelled:
        raise
    except BaseException as error:
        host.failure = host.failure or error
        host.cancel()
    finally:
        if timer is not None:
            timer.cancel()
    if not host.cancelled:
        if place.turn is not None:
            place.turn.ended = True
            place.turn = None
        lifecycle.started(place)


async def _serve(place: Place, host: Host) -> None:
    """One turn after another, parked in between, until something else is to be done."""
    scheduler = place.scheduler
    turns = 0
    while not host.finishing and not host.cancelled:
        turn = host.job
        if turn is None:
            turns = 0
            host.parked = True
            await trio.lowlevel.wait_task_rescheduled(host.unpark)
            continue
        host.job = None
        turns += 1
        current_turn.set(turn)
        error: BaseException | None = None
        try:
            route = turn.route
            if route is None:
                await place.actor.on_ready()
            else:
                item = turn.item
                if type(item) is tuple and len(item) == 7 and item[TOKEN].follows:
                    item[TOKEN].taken()
                if place.middleware is None:
                    message = item[MESSAGE] if type(item) is tuple else item
                    result = await route.function(place.actor, message)
                else:
                    result = await _through(place, turn)
                if type(result) not in route.returns:
                    result = scheduler.examine(place, route, result)
                slot = turn.slot
                if slot is not None and result is not calls.DEFERRED and not slot.taken:
                    slot.reply(result)
        except trio.Cancelled:
            raise
        except BaseException as failure:
            error = failure
        turn.ended = True
        if host.cancelled:
            if error is not None:
                scheduler.system.heed(error)
            return
        if place.idle_timer is not None:
            place.idle_timer.touch(message_of(turn.item))
        if error is not None or turn.started is not None:
            _report(place, turn, error)
        if not (place.mailbox or place.control or place.stage) and place.ending is None:
            place.turn = None
            if not place.suspended:
                scheduler.go_on(place)
        elif error is None and (following := _next(place, turns)) is not None:
            host.job = following
        else:
            scheduler.turn_ended(place)


def _report(place: Place, turn: Turn, error: BaseException | None) -> None:
    """A turn has failed, or somebody observes turns."""
    scheduler = place.scheduler
    if error is not None:
        if turn.route is None:
            scheduler.failed_callback(place, error)
        else:
            scheduler.failed(place, error, turn.slot)
    if turn.started is not None:
        scheduler.turn_over(place, message_of(turn.item), turn.started, error)


def _next(place: Place, turns: int) -> Turn | None:
    """The next message, if it needs this task too and nothing else is due: no switch then."""
    mailbox = place.mailbox
    if (
        not mailbox
        or turns >= TURNS_AT_ONCE
        or place.control
        or place.ending is not None
        or place.suspended
        or place.debug is not None
        or place.scheduler.telemetry.turns
        or place.actor._observes(place)
    ):
        return None
    item = mailbox[0]
    if type(item) is tuple and (len(item) == 7 or (item[1] is not None and item[1].done)):
        return None
    route = place.routes[type(message_of(item))]
    if route.kind != TASK:
        return None
    mailbox.popleft()
    if mailbox.senders is not None:
        mailbox.admit()
    slot = slot_of(item)
    if slot is not None:
        slot.taken = False
    turn = place.turn = Turn(place, item, slot, route)
    return turn


def _atomically(place: Place, turn: Turn, route: Route, message: object) -> Any:
    """A plain handler behind its middleware."""
    turn.atomic = True
    try:
        return route.function(place.actor, message)
    except BaseException:
        if turn.undo is not None:
            turn.undo()
        raise
    finally:
        turn.atomic = False


async def _through(place: Place, turn: Turn) -> Any:
    """The handler behind its middleware, outermost first."""
    layers = place.middleware

    async def step(depth: int, envelope: Envelope) -> Any:
        outer, turn.envelope = turn.envelope, envelope
        try:
            if depth < len(layers):
                return await layers[depth](envelope, lambda inner: step(depth + 1, inner))
            route = place.routes[type(envelope.message)]
            if route.kind == NONE:
                raise calls.unhandled(place, envelope.message)
            if route.kind == TASK:
                return await route.function(place.actor, envelope.message)
            return _atomically(place, turn, route, envelope.message)
        finally:
            turn.envelope = outer

    return await step(0, place.actor.envelope)


def _break_off(place: Place) -> None:
    """The task was cancelled in the middle of a turn: the turn is over, and so is the actor."""
    if place.ending is None:
        place.ending = Killed()
    drop_job(place)
    turn, place.turn = place.turn, None
    if turn is not None:
        turn.ended = True
        if turn.slot is not None and not turn.slot.taken:
            turn.slot.fail(calls.died(place, turn.slot.message, place.ending))
    lifecycle.conclude(place)


def drop_job(place: Place) -> None:
    """A turn that never began is none any more: whoever follows its message is told."""
    host = place.host
    if host is not None and host.job is not None:
        job, host.job = host.job, None
        follower = follower_of(job.item)
        if follower is not None:
            follower.taken()


async def _last_words(place: Place, host: Host) -> None:
    """``on_stop``, unless killed; after a crash it has CRASH_GRACE seconds."""
    exit = place.ending
    kind = type(place.actor).on_stop_kind
    if kind == NONE or exit is None or isinstance(exit, Killed):
        return
    scope = host.scope = trio.CancelScope(shield=True)
    host.cancelled = False
    if isinstance(exit, Crashed):
        scope.deadline = trio.current_time() + lifecycle.CRASH_GRACE
    place.turn = Turn(place, None, None, None)
    current_turn.set(place.turn)
    with scope:
        try:
            result = place.actor.on_stop(exit)
            if kind == TASK:
                await result
        except trio.Cancelled:
            raise
        except BaseException as error:
            if not scope.cancel_called:
                lifecycle.stop_failed(place, error)
    place.turn.ended = True
    place.turn = None


# -- side tasks


def start_side(place: Place, main: Callable[..., Awaitable[object]], args: tuple[Any, ...]) -> None:
    """Run ``main(*args)`` in a task of the actor's; its crash is the actor's."""
    if place.state == "stopping" or isinstance(place.ending, Killed | Crashed):
        raise RuntimeError(
            f"{place.path} is ending: its side tasks have ended, and no other is started."
        )
    side = Side(place)
    if place.side is None:
        place.side = set()
    place.side.add(side)
    context = (place.context or place.scheduler.new_context(place)).copy()
    context.run(current_turn.set, _origin(place))
    context.run(_spawn, place, _side_main, side, place.incarnation, main, args)


def _origin(place: Place) -> Turn:
    """What remains of the running turn in a side task: the sender and the correlation id."""
    item = place.turn.item if place.turn is not None else place.item
    turn = Turn(place, item, None, None)
    turn.ended = True
    return turn


@enable_ki_protection
async def _side_main(
    side: Side, incarnation: int, main: Callable[..., Awaitable[object]], args: tuple[Any, ...]
) -> None:
    place = side.place
    error: BaseException | None = None
    with side.scope:
        try:
            await main(*args)
        except trio.Cancelled:
            raise
        except BaseException as failure:
            error = failure
    assert place.incarnation == incarnation and place.side is not None
    place.side.discard(side)
    if error is not None:
        place.scheduler.system.heed(error)
        if not side.scope.cancel_called:
            name = getattr(main, "__qualname__", repr(main))
            lifecycle.crash(place, error, None, doing=f"side task {name}")
    if not place.side and place.host is not None:
        place.host.wake()


# -- deferred answers


def hold(place: Place, slot: Slot) -> None:
    """The answer comes later: fail the slot if the actor ends before."""
    slot.taken = True
    slot.holder = None
    if place.held is None:
        place.held = Held()
    place.held.hold(slot)
