"""The parent's side of an isolated actor: who stands for it in its place and watches its process.

The place is an ordinary one: its queue, its name, its monitors and its supervisor are here.
Messages go on to the process, answers come back. What happens to the process happens to the place:
it comes up when the actor there is up, and closes when the process is reaped.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import TYPE_CHECKING, Any

import trio

from actors.dispatch import known_messages
from actors.exits import Crashed, Killed, Normal, is_orderly
from actors.isolation import frames as f
from actors.isolation import page as pages
from actors.isolation import shipping
from actors.isolation import stack as stacks
from actors.isolation.beginning import beginning
from actors.isolation.downlink import Downlink
from actors.isolation.ends import End, ProcessDied, died
from actors.isolation.far import Far, ForwardRoutes
from actors.isolation.faults import error_of, exit_fault, exit_of
from actors.isolation.keeper import keepers_of
from actors.isolation.link import MAIN
from actors.isolation.options import check_isolation, check_platform
from actors.isolation.outlet import Flight, Outlet
from actors.isolation.watch import Watch
from actors.runtime import calls, lifecycle
from actors.runtime.stages import Pending
from actors.telemetry import ProcessEnded, ProcessStarted

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.exits import Exit
    from actors.isolation.options import Process
    from actors.isolation.worker import Worker
    from actors.place import Place
    from actors.replies import Slot
    from actors.runtime.stages import Steps
    from actors.timers import Timer

logger = logging.getLogger("actors")

BEYOND = 1.0
"""Seconds after which last words are cut off that did not end in their own time."""


class Isolated(Far):
    """Lives in the place of an actor that runs in a process of its own."""

    __slots__ = (
        "_crashed",
        "_cut_off",
        "_end",
        "_farewell",
        "_gone",
        "_hurried",
        "_later",
        "_link",
        "_options",
        "_page",
        "_stack",
        "_starting",
        "_state",
        "_watch",
        "_worker",
    )

    def __init__(self, options: Process) -> None:
        self._options = options
        self._link: Downlink | None = None
        self._page: pages.Page | None = None
        self._stack = -1
        """The descriptor of the file into which the worker notes where its code is."""
        self._worker: Worker | None = None
        self._starting: Pending | None = None
        self._gone: Pending | None = None
        """The end of the process."""
        self._later: list[Callable[[], object]] = []
        """What has come before this place was up, of an actor that was."""
        self._end: End | None = None
        self._farewell: Exit | None = None
        """What the actor there has ended with, once it has said so."""
        self._crashed = False
        """Its crash is reported already."""
        self._watch: Watch | None = None
        self._cut_off: Timer | None = None
        """The end of last words."""
        self._hurried = False
        """It was stopped before it was up."""
        self._state = "<in its own process>"

    def format_state(self) -> object:
        """What the actor itself has told last."""
        return Told(self._state)

    def _prepare(self, place: Place) -> None:
        place.routes = ForwardRoutes(known_messages(place.spec.factory))

    # -- start

    def _children_up(self) -> Steps | None:
        return self._bring_up()

    def _bring_up(self) -> Steps:
        """Start the process, and wait until the actor in it is up."""
        check_platform()
        place = self._place
        self._starting, self._gone = _pending(place), _pending(place)
        began = trio.current_time()
        try:
            self._launch()
        except BaseException:
            self._let_go()
            raise
        timeout = place.spec.start_timeout
        timers = place.scheduler.timers
        timer = timers.after(timeout, self._too_slow) if timeout < float("inf") else None
        failure = yield self._starting
        if timer is not None:
            timer.cancel()
        if failure is not None:
            yield self._gone
            self._let_go()
            raise failure
        worker = self._worker
        assert worker is not None
        telemetry = place.scheduler.telemetry
        if ProcessStarted in telemetry.active:
            seconds = trio.current_time() - began
            worker.when_known(
                lambda: telemetry.emit(ProcessStarted(place.ref, worker.pid, worker.warm, seconds))
            )
        assert self._watch is not None
        self._watch.look()
        if self._later:
            place.request(self._catch_up)

    def _catch_up(self, _: Place | None = None) -> None:
        later, self._later = self._later, []
        for each in later:
            each()

    def _too_early(self, what: Callable[[], object]) -> bool:
        """Whether the actor there is up and this place not quite yet; then ``what`` waits."""
        starting = self._starting
        up_there = starting is not None and starting.done and starting.value is None
        if not up_there or self._place.state != "starting":
            return False
        self._later.append(what)
        return True

    def _launch(self) -> None:
        """The connection, the page, the process, and the first frame."""
        place, options = self._place, self._options
        system = place.scheduler.system
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        descriptor = -1
        try:
            descriptor = pages.make()
            self._stack = stacks.make()
            self._page = pages.Page(descriptor)
            link = self._link = Downlink(self, ours, self._page, options)
            link.stand_for(place)
            self._outlet = Outlet(link, MAIN, place)
            first = beginning(place, options, link)
            f.packed([first])  # raises for what cannot leave, before there is a process
            worker = self._worker = keepers_of(system).start(
                [theirs.fileno(), descriptor, self._stack],
                warm=options.warm,
                modules=shipping.modules_of(place.spec.factory, place.spec.args),
                ended=self._ended,
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            if descriptor >= 0:
                os.close(descriptor)
        timers = place.scheduler.timers
        self._watch = Watch(worker, self._page, options.heartbeat, timers)
        link.start()
        link.send(first)

    def started(self, frame: f.Started) -> None:
        """The actor there is up, or has declined to run."""
        starting = self._starting
        if starting is None or starting.done:
            if starting is not None and starting.value is not None:
                return  # too late
            raise f.BrokenLink("It says twice that it is up.")
        if frame.declined:
            self._place.ending = Normal()
        if frame.layered:
            self._place.routes = ForwardRoutes()
        self._resolve_start(None)

    def start_failed(self, frame: f.StartFailed) -> None:
        """The actor there did not come up, and its process is about to end."""
        self._resolve_start(error_of(frame.fault, self._place, None))
        assert self._watch is not None
        self._watch.expect_end()

    def _too_slow(self) -> None:
        if self._starting is None or self._starting.done:
            return
        timeout = self._place.spec.start_timeout
        self._resolve_start(trio.TooSlowError(f"it was not up after {timeout} s"))
        self._terminate()

    def _resolve_start(self, failure: BaseException | None) -> None:
        if self._starting is not None:
            self._starting.resolve(failure)

    # -- end

    def _children_down(self, exit: Exit) -> Steps | None:
        return self._bring_down(exit)

    def _bring_down(self, exit: Exit) -> Steps:
        """Have the actor there end, and wait for the end of its process."""
        place = self._place
        self._catch_up()
        assert self._gone is not None
        if self._end is None and self._link is not None:
            if isinstance(exit, Killed):
                self._terminate()
            elif self._farewell is None and not self._crashed:
                self._link.send(f.Stop(exit_fault(exit)))
            elif self._crashed:
                grace = lifecycle.CRASH_GRACE + BEYOND
                self._cut_off = place.scheduler.timers.after(grace, self._terminate)
        yield self._gone
        orderly = place.ending is not None and is_orderly(place.ending)
        if self._farewell is None and orderly and not self._hurried:
            # It was to end in order, and has not.
            lifecycle.stop_failed(place, self._death())
        self._fail_flights()
        self._let_go()

    def exited(self, frame: f.Exited) -> None:
        """The actor there has ended; its process follows."""
        if self._too_early(lambda: self.exited(frame)):
            return
        exit = self._farewell = exit_of(frame.exit)
        place = self._place
        assert self._watch is not None
        self._watch.expect_end()
        if isinstance(exit, Crashed):
            if place.state == "up" and not self._crashed:
                self._fell(exit.exception)
            elif place.ending is not None and is_orderly(place.ending):
                # Its last words.
                lifecycle.stop_failed(place, exit.exception)
        elif place.ending is None or is_orderly(place.ending):
            place.ending = exit
            place.look()

    def crashed(self, frame: f.Crashed) -> None:
        """An exception has left the actor there."""
        if self._too_early(lambda: self.crashed(frame)):
            return
        self._state = frame.state
        if self._place.state == "up":
            self._fell(error_of(frame.fault, self._place, None))

    def _fell(self, error: BaseException) -> None:
        self._crashed = True
        # An actor that tells of its crash lives still: what it took last is what it crashed with.
        outlet = self._outlet
        flight = outlet.last_taken() if isinstance(error, ProcessDied) else outlet.latest()
        if flight is None:
            lifecycle.crash(self._place, error, None, doing="what its own process did")
        else:
            lifecycle.crash(self._place, error, flight.queued)

    def _ended(self, end: End) -> None:
        """The process has ended and is reaped."""
        self._end = end
        place, link = self._place, self._link
        assert link is not None and self._gone is not None and self._starting is not None
        link.connection.read_rest()
        link.close()
        if self._too_early(lambda: self._ended(end)):
            return
        telemetry = place.scheduler.telemetry
        if ProcessEnded in telemetry.active:
            pid = 0 if self._worker is None else self._worker.pid
            telemetry.emit(ProcessEnded(place.ref, pid, end.signal, end.code, end.peak))
        assert self._watch is not None
        self._watch.cancel()
        if not self._starting.done:
            self._resolve_start(self._death())
        elif place.state == "up" and self._farewell is None and not self._crashed:
            if place.ending is None:
                self._fell(self._death())
            self._fail_flights()
        self._gone.resolve()

    def _death(self) -> ProcessDied:
        flight = self._outlet.last_taken()
        others = [each for each in self._outlet.in_hand() if each is not flight]
        spec: Any = self._place.spec
        return died(
            self._place.path,
            0 if self._worker is None else self._worker.pid,
            self._end or End(None),
            message=None if flight is None else flight.message,
            others=len(others),
            verdict=None if self._watch is None else self._watch.verdict,
            heartbeat=self._options.heartbeat,
            memory_limit=spec.memory_limit,
            stack=stacks.noted(self._stack),
        )

    def _fail_flights(self) -> None:
        """Nobody will answer what was begun; what was not goes back into the queue."""
        place = self._place
        exit = place.ending or Killed()
        self._outlet.give_up(lambda flight: calls.died(place, flight.message, exit))

    def _let_go(self) -> None:
        """Give back what the process was spoken to by."""
        if self._watch is not None:
            self._watch.cancel()
        if self._cut_off is not None:
            self._cut_off.cancel()
        if self._link is not None:
            self._link.close()
        if self._page is not None:
            self._page.close()
            self._page = None
        if self._stack >= 0:
            os.close(self._stack)
            self._stack = -1

    # -- what is done about it

    def _kill_children(self) -> None:
        self._terminate()

    def _hurry(self) -> None:
        if self._place.state == "starting":
            self._hurried = True
            self._terminate()

    def _terminate(self) -> None:
        if self._worker is not None:
            self._worker.terminate()

    def hung_up(self, broken: f.BrokenLink | None) -> None:
        """Nothing comes from the process any more. Usually it has ended, and we are about to be
        told; or what came last was no frame."""
        assert self._watch is not None
        if broken is not None:
            logger.error("%s: %s", self._place.path, broken)
            self._watch.condemn("broken")
        elif self._end is None:
            self._watch.expect_end()

    # -- introspection

    def _ask_inside(self, function: Callable[[Place], Any], slot: Slot) -> None:
        """Run a function of the actor's place in its own process; its answer goes to ``slot``."""
        link = self._link
        assert link is not None
        try:
            code = shipping.pack(function, link.speak)
        except TypeError as error:
            slot.fail(error)
            return
        number = link.next_number()
        flight = Flight(number, slot.message, slot, None, self._outlet)
        link.flights[number] = flight
        slot.room = (self._outlet, flight)
        # It is no message, which might be handled later: it has no cell on the page.
        link.send(f.Inspect(number, code))


class Told(str):
    """What somebody has told of himself: shown as it is."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def isolated(spec: Any) -> Isolated:
    """Who stands here for the actor of ``spec``, which is to live elsewhere."""
    options = check_isolation(spec.isolation, spec.memory_limit)
    assert options is not None
    return Isolated(options)


def _pending(place: Place) -> Pending:
    """Something under way in another process: nobody here is waited for."""
    pending = Pending(place)
    pending.holder = None
    return pending
