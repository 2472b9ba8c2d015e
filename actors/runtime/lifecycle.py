"""How an incarnation begins and ends.

``start`` and ``stop`` do what can be done at once and return ``None``; where the actor needs its
task for a callback they return a :class:`Pending`. The end always goes the same way::

    stop, crash, kill → (turn ends) → conclude → children stop → side tasks end → on_stop → close

and ``close`` tells everybody: those who wait, those who monitor, and the owner, who decides what
becomes of the place.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors import reports
from actors.dispatch import NONE, PLAIN, TASK
from actors.exits import Crashed, Killed, Normal, StartFailed, is_orderly
from actors.mailbox import follower_of
from actors.place import NO_ROUTES
from actors.runtime import calls, host
from actors.runtime.stages import Pending, Stage, drive
from actors.telemetry import ActorStarted, ActorStopped, ActorUnresponsive

if TYPE_CHECKING:
    from actors.exits import Exit
    from actors.place import Place, State

CRASH_GRACE = 5.0
"""Seconds ``on_stop`` has after a crash."""
UNRESPONSIVE_AFTER = 1.0
"""Seconds an actor has to yield to its cancellation before it is reported."""


# -- start


def start(place: Place) -> Pending | BaseException | None:
    """Bring up a new incarnation: None when it is up, the StartFailed, or what to wait for."""
    place.state = "starting"
    place.incarnation += 1
    place.ending = None
    place.declined = False
    place.idle = place.fast = False
    scheduler = place.scheduler
    outer, scheduler.current = scheduler.current, place
    try:
        # Not in the context of whoever starts it.
        scheduler.system.context.copy().run(build, place)
        cls = type(place.actor)
        if cls.on_start_kind == PLAIN:
            context = place.context or scheduler.new_context(place)
            context.run(place.actor.on_start)
    except BaseException as error:
        scheduler.current = outer
        if not place.side:
            return start_failed(place, error)
        place.starting = Pending(place)
        host.begin_failed(place, error)
        return place.starting
    scheduler.current = outer
    if cls.on_start_kind == TASK:
        place.starting = Pending(place)
        host.begin_start(place)
        return place.starting
    return started(place)


def build(place: Place) -> None:
    """Make the actor. It can use ``self.ref`` and ``self.system`` in its ``__init__`` already."""
    from actors.actor import Actor

    spec = place.spec
    factory: Any = spec.factory
    kwargs: dict[str, Any] = {}
    args = spec.args
    if hasattr(factory, "func"):
        args, kwargs, factory = (*factory.args, *args), factory.keywords, factory.func
    actor: Any
    if getattr(spec, "isolation", None) is not None and not place.scheduler.system.virtual:
        from actors.isolation.isolated import isolated

        actor = isolated(spec)
        actor._place = place
        place.actor = actor
    elif isinstance(factory, type) and (actor := factory._housed(place)) is not None:  # type: ignore[attr-defined]
        actor._place = place
        place.actor = actor
    elif isinstance(factory, type):
        actor = factory.__new__(factory, *args, **kwargs)
        actor._place = place
        place.actor = actor
        actor.__init__(*args, **kwargs)
    else:
        actor = factory(*args, **kwargs)
        if not isinstance(actor, Actor):
            raise TypeError(f"An actor is an instance of a subclass of Actor. Got: {actor!r}")
        if getattr(actor, "_place", None) is not None:
            raise TypeError(f"The factory returned an actor that is running already: {actor!r}")
        actor = actor._housed(place) or actor
        actor._place = place
        place.actor = actor
    place.routes = type(actor).routes[None]
    place.middleware = tuple(actor.middleware) or None
    actor._prepare(place)


def started(place: Place) -> Pending | BaseException | None:
    """``on_start`` is done; a supervisor now starts its children."""
    steps = place.actor._children_up()
    if steps is None or place.ending is not None:
        up(place)
        return None
    starting = place.starting = place.starting or Pending(place)
    stage = place.stage = Stage(steps)

    def finish(_: object, error: BaseException | None) -> None:
        if error is None:
            up(place)
        elif place.side:
            host.begin_failed(place, error)
        else:
            start_failed(place, error)

    stage.finish = finish
    drive(place, stage)
    return starting.value if starting.done else starting


def up(place: Place) -> None:
    """The incarnation is up and takes messages."""
    starting, place.starting = place.starting, None
    place.state = "up"
    place.declined = place.ending is not None and is_orderly(place.ending)
    cls = type(place.actor)
    if ActorStarted in place.scheduler.telemetry.active and place.ref._place is place:
        place.scheduler.telemetry.emit(ActorStarted(place.ref, place.incarnation))
    if cls.on_ready_kind != NONE:
        place.ready_due = True
        place.scheduler.schedule(place)
    elif place.ending is not None or place.mailbox or place.control:
        place.scheduler.schedule(place)
    else:
        place.scheduler.go_on(place)
    if starting is not None:
        starting.resolve()


def start_failed(place: Place, error: BaseException) -> StartFailed:
    """The incarnation did not come up and is gone, its name too, before the starter hears of it."""
    place.scheduler.system.heed(error)
    if isinstance(error, StartFailed):
        failure = error
    else:
        failure = StartFailed(f"{place.path} did not start: {error!r}", ref=place.ref)
        failure.__cause__ = error
    starting, place.starting = place.starting, None
    place.exit = place.ending if isinstance(place.ending, Killed) else Crashed(failure)
    release(place, place.exit)
    place.state = "stopping"
    _settle_late(place)
    watchers, place.watchers = place.watchers, None
    stops, place.stops = place.stops, None
    for waiting in (*(watchers or ()), *(stops or ())):
        waiting.resolve(place.exit)
    if starting is not None:
        starting.resolve(failure)
    return failure


# -- end


def stop(place: Place, exit: Exit, within: float | None) -> Pending | None:
    """Ask for the end of the present incarnation; None when it has ended already.

    ``within`` seconds, the spec's shutdown time if None, then it is killed; 0 kills at once.
    """
    if not place.running:
        return None
    if place.far:
        return place.ask_stop(exit)  # type: ignore[attr-defined,no-any-return]
    pending = Pending(place)
    if place.stops is None:
        place.stops = []
    place.stops.append(pending)
    if within is None:
        within = shutdown_time(place)
    if within == 0:
        kill(place)
    else:
        end(place, exit)
        if place.running and within != float("inf"):
            incarnation = place.incarnation
            pending.timer = place.scheduler.timers.after(within, lambda: kill(place, incarnation))
    return None if pending.done else pending


def shutdown_time(place: Place) -> float:
    """Seconds an orderly stop may take; 0 for a kill."""
    within = getattr(place.spec, "shutdown", CRASH_GRACE)
    return 0.0 if within == "kill" else float(within)


def end(place: Place, exit: Exit) -> None:
    """Have the incarnation end with ``exit`` after the running turn. The first reason counts."""
    if place.ending is None:
        place.ending = exit
        place.fast = False
    if place.state == "starting":
        if place.stage is not None:
            place.actor._hurry()
        else:
            kill(place)
    elif place.state == "up":
        if place.busy:
            if place.stage is not None:
                place.actor._hurry()
        else:
            conclude(place)


def crash(place: Place, error: BaseException, item: Any, *, doing: str = "turn") -> None:
    """An exception has left a handler or a callback: report it and end the incarnation."""
    exit = Crashed(error)
    reports.crash(place, error, item, doing=doing)
    if place.ending is None or is_orderly(place.ending):
        place.ending = exit
    mailbox = place.mailbox
    if mailbox is not None and mailbox.stash and mailbox.stash[-1] is item:
        # The message that crashed its actor is not delivered again, even if it was set aside.
        follower = follower_of(mailbox.stash.pop())
        if follower is not None:
            follower.taken()
    if place.turn is not None:
        host.cancel_turn(place)
    else:
        place.look()


def kill(place: Place, incarnation: int | None = None) -> None:
    """Cancel whatever the incarnation does; no ``on_stop``. ``incarnation``: only this one."""
    if not place.running or incarnation not in (None, place.incarnation):
        return
    place.fast = False
    if not isinstance(place.ending, Crashed):
        place.ending = Killed()
    place.actor._kill_children()
    host.cancel(place)
    if place.host is not None or place.side or place.stage is not None:
        if place.overdue is None:
            number = place.incarnation
            place.overdue = place.scheduler.timers.after(
                UNRESPONSIVE_AFTER, lambda: unresponsive(place, number)
            )
    if place.state == "up" and not place.busy:
        conclude(place)


def unresponsive(place: Place, incarnation: int) -> None:
    """It did not yield to its cancellation: whoever waits for it waits no longer."""
    if not place.running or place.incarnation != incarnation:
        return
    place.overdue = None
    place.overdue = None
    reports.unresponsive(place)
    if ActorUnresponsive in place.scheduler.telemetry.active:
        place.scheduler.telemetry.emit(ActorUnresponsive(place.ref, incarnation))
    stops, place.stops = place.stops, None
    for pending in stops or ():
        pending.resolve(Killed())
    starting, place.starting = place.starting, None
    if starting is not None:
        text = f"{place.path} did not start in time, and does not yield to its cancellation."
        starting.resolve(StartFailed(text, ref=place.ref))


def conclude(place: Place) -> None:
    """No turn is running any more: stop the children, then the rest."""
    place.state = "stopping"
    place.fast = place.idle = False
    assert place.ending is not None
    steps = place.actor._children_down(place.ending)
    if steps is None:
        conclude_self(place)
        return
    stage = place.stage = Stage(steps)
    stage.finish = lambda _value, error: conclude_self(place, error)
    place.scheduler.attend(place)


def conclude_self(place: Place, error: BaseException | None = None) -> None:
    """The children are gone: end side tasks, run ``on_stop``, close."""
    if error is not None:
        reports.crash(place, error, None)
    kind = type(place.actor).on_stop_kind
    last_words = kind != NONE and not isinstance(place.ending, Killed)
    if place.host is not None or place.side or (last_words and kind != PLAIN):
        host.finish(place)
        return
    if last_words:
        scheduler = place.scheduler
        outer, scheduler.current = scheduler.current, place
        context = place.context or scheduler.new_context(place)
        try:
            context.run(place.actor.on_stop, place.ending)
        except BaseException as failure:
            scheduler.current = outer
            stop_failed(place, failure)
        scheduler.current = outer
    close(place)


def stop_failed(place: Place, error: BaseException) -> None:
    """``on_stop`` raised: that becomes the exit, is reported, and the stop goes on."""
    reports.crash(place, error, None, doing="on_stop")
    place.ending = Crashed(error)
    place.scheduler.system.heed(error)


def close(place: Place) -> None:
    """The incarnation has ended. Tell everybody."""
    exit = place.ending if place.ending is not None else Normal()
    place.exit = exit
    incarnation = place.incarnation
    release(place, exit)
    _settle_late(place)
    telemetry = place.scheduler.telemetry
    if ActorStopped in telemetry.active and place.ref._place is place:
        telemetry.emit(ActorStopped(place.ref, incarnation, exit))
    watchers, place.watchers = place.watchers, None
    stops, place.stops = place.stops, None
    owner = place.owner
    assert owner is not None
    owner.child_exited(place, exit)
    for watcher in watchers or ():
        watcher.resolve(exit)
    for pending in stops or ():
        pending.resolve(exit)


def release(place: Place, exit: Exit) -> None:
    """Let go of everything the incarnation held."""
    host.drop_job(place)
    turn, place.turn = place.turn, None
    if turn is not None:
        turn.ended = True
        if turn.slot is not None and not turn.slot.taken:
            turn.slot.fail(calls.died(place, turn.slot.message, exit))
    for timer in tuple(place.actor_timers or ()):
        timer.cancel()
    if place.overdue is not None:
        place.overdue.cancel()
        place.overdue = None
    if place.idle_timer is not None:
        place.idle_timer.cancel()
        place.idle_timer = None
    for monitor in tuple(place.monitors or ()):
        monitor.cancel()
    for slot in tuple(place.held or ()):
        slot.fail(calls.died(place, slot.message, exit))
    place.actor_timers = place.monitors = place.held = None
    if place.mailbox is not None:
        place.mailbox.bring_back()
    place.control = None
    place.suspended = 0
    place.ready_due = False
    if place.host is not None:
        place.host.leave()
    place.actor = place.context = place.item = place.slot = place.host = None
    place.stage = place.side = place.middleware = place.debug = None
    place.routes = NO_ROUTES
    place.idle = place.fast = False


# -- what becomes of the place


def settle(place: Place, state: State) -> None:
    """Nobody lives here any more: ``restarting``, ``stopped`` (the spec is kept) or ``gone``. The
    queue fails unless somebody is to come. Whoever does not yield to its cancellation lives here
    still; then it is so once it has ended."""
    if place.running:
        place.fate = state
    else:
        place.state = state
    if place.ref._place is not place:
        settle(place.ref._place, state)
    if state == "restarting":
        return
    system = place.scheduler.system
    if place.name is not None:
        system.registry.release(place.name, place)
    system.groups.forget(place)
    mailbox, place.mailbox = place.mailbox, None
    if mailbox is not None:
        mailbox.drain(lambda item: place.scheduler.refuse(place, item))


def _settle_late(place: Place) -> None:
    """Somebody who did not yield has ended after all."""
    fate, place.fate = place.fate, None
    if fate is not None:
        settle(place, fate)


def awaken(place: Place) -> Pending | BaseException | None:
    """Start a further incarnation: in a place that is restarting, or a stopped one, reopened."""
    if place.name is not None:
        taken = place.scheduler.system.registry.claim(place.name, place)
        if taken is not None:
            return StartFailed(
                f"The name {place.name!r} belongs to {taken.path} now.", ref=taken.ref
            )
    return start(place)
