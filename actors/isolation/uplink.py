"""The worker's end of a link, and the actor at its top, which speaks to its parent through it."""

from __future__ import annotations

import logging
import os
import threading
from typing import TYPE_CHECKING, Any

import attrs
import trio
from msgspec import Raw

from actors.exits import StartFailed
from actors.isolation import frames as f
from actors.isolation import shipping
from actors.isolation.faults import exit_fault, exit_of, fault_of, words
from actors.isolation.inlet import Ticket
from actors.isolation.link import MAIN, Link
from actors.mailbox import TOKEN, is_exempt
from actors.payloads.names import NotEncodable
from actors.place import Place
from actors.reports import CrashReport
from actors.runtime import lifecycle
from actors.runtime.stages import Pending

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.exits import Exit
    from actors.mailbox import Origin
    from actors.runtime.system import System

logger = logging.getLogger("actors")

FAILED = 70
"""The exit code of a worker that could not begin, or was sent what is no frame (EX_SOFTWARE)."""


@attrs.frozen
class WorkerSpec:
    """The spec of the actor at the top. Its bounds are kept by the parent; that of its mailbox is
    that of its stash as well."""

    factory: Callable[..., Any]
    args: tuple[Any, ...]
    mailbox: float
    start_timeout: float = float("inf")
    shutdown: float = float("inf")


class Top:
    """The actor at the top of this process, seen from below: what becomes of it is told upwards."""

    def __init__(self, system: System, link: Uplink, begin: f.Begin) -> None:
        self.system = system
        self.link = link
        self.begin = begin
        self.place: Place | None = None
        self._asked: list[f.Inspect] = []
        """What was asked before there was anybody."""
        self.farewell: f.Frame | None = None
        """What is told last, behind everything the actor has sent."""
        self.over = trio.Event()
        """The actor has ended."""

    def start(self) -> None:
        """Make the actor."""
        begin, link, scheduler = self.begin, self.link, self.system.scheduler
        self.system.rising = begin.rising
        try:
            factory, args = shipping.unpack(begin.code, link.hear)
        except BaseException as error:
            self._failed(error)
            return
        above = None if begin.above is None else link.hear(begin.above)
        spec = WorkerSpec(factory, args, begin.mailbox)
        # Its path is that of the place its ref names.
        key = begin.home.rpartition("/")[2]
        place = self.place = Place(scheduler, spec, key, begin.name, above, self)
        place.incarnation = begin.incarnation - 1
        # It may give its ref away before it is up.
        link.admit(place, MAIN)
        outcome = lifecycle.start(place)
        if isinstance(outcome, Pending):
            outcome.then(lambda done: self._started(done.value))
        else:
            self._started(outcome)

    def _started(self, failure: BaseException | None) -> None:
        place, link = self.place, self.link
        assert place is not None
        if failure is not None:
            self._failed(failure)
            return
        # Of a mediator, the place of its driver.
        link.admit(place.ref._place, MAIN)
        link.send(f.Started(place.declined, place.ref._place.middleware is not None))
        # Whatever becomes of it in a moment, it was up.
        link.connection.write_now()
        asked, self._asked = self._asked, []
        for frame in asked:
            self.inspect(frame)

    def _failed(self, failure: BaseException) -> None:
        # That the actor did not start is what the parent will say, too: the exception behind it is
        # enough. One with causes of its own is told as part of the failure, and so is the failure
        # of a child, whose name stands there.
        cause = failure.__cause__
        if (
            isinstance(failure, StartFailed)
            and cause is not None
            and cause.__cause__ is None
            and not isinstance(cause, StartFailed)
        ):
            failure = cause
        self.farewell = f.StartFailed(fault_of(failure))
        self.over.set()

    def child_exited(self, place: Place, exit: Exit) -> None:
        """The actor has ended. What it has not begun is its parent's again, and answered there."""
        face = place.ref._place
        for item in face.mailbox or ():
            if is_exempt(item) and isinstance(item[TOKEN], Ticket):
                item[TOKEN].settled()
        place.mailbox = face.mailbox = None
        self.link.arrivals.clear()
        self.farewell = f.Exited(exit_fault(exit))
        self.over.set()

    def given_back(self, place: Place, item: Any) -> None:
        """It has no actor in a process of its own."""
        place.scheduler.refuse(place, item)

    # -- what the parent asks

    def stop(self, frame: f.Stop) -> None:
        """End in order."""
        if self.place is not None:
            lifecycle.stop(self.place, exit_of(frame.exit), float("inf"))

    def inspect(self, frame: f.Inspect) -> None:
        """Run a function of introspection on the actor's place, between two turns."""
        place, link = self.place, self.link
        if place is None or place.state == "starting":
            self._asked.append(frame)
            return
        face = place.ref._place

        def serve(place: Place) -> None:
            try:
                function = shipping.unpack(frame.code, link.hear)
                payload = shown(link, function(place))
            except Exception as error:
                link.send(f.Failed(frame.number, fault_of(error)))
            else:
                link.send(f.Answer(frame.number, Raw(payload)))

        face.request(serve)


def shown(link: Uplink, value: Any) -> bytes:
    """A payload of what introspection has found: attributes that cannot leave the process are
    represented by their repr."""
    try:
        return link.encode(value, "what was asked for")
    except NotEncodable:
        if not isinstance(value, dict):
            raise
    shown: dict[str, Any] = {}
    for name, each in value.items():
        try:
            link.encode(each, "it")
            shown[name] = each
        except NotEncodable:
            shown[name] = repr(each)
    return link.encode(shown, "what was asked for")


class Uplink(Link):
    """The worker's end of a link."""

    top: Top

    def handlers(self) -> Mapping[type, Callable[[Any], object]]:
        """What only a parent says."""
        return {
            f.Code: self._learn,
            f.Stop: self._stop,
            f.Inspect: self._inspect,
        }

    def ended(self, broken: f.BrokenLink | None) -> None:
        """The parent is no more, or has let go of us."""
        os._exit(0 if broken is None else FAILED)

    def declare(self) -> None:
        """The parent knows what its own annotations name, and nothing is unpickled there."""
        self.types.news.clear()

    def report(self, event: object, origin: Origin) -> None:
        """``Actor.notify``, and nobody here has taken the event."""
        try:
            payload = self.encode(event, "the event")
        except NotEncodable as error:
            logger.warning("%r cannot rise: %s", event, error)
            return
        _, id, correlation, cause = origin
        self.send(f.Report(Raw(payload), id, correlation, cause))

    def _stop(self, frame: f.Stop) -> None:
        self.top.stop(frame)

    def _inspect(self, frame: f.Inspect) -> None:
        self.top.inspect(frame)

    def _learn(self, frame: f.Code) -> None:
        try:
            classes = shipping.unpack(frame.code, self.hear)
        except Exception as error:
            # Their instances will find themselves unknown.
            logger.warning("Classes are not to be had here: %r", error)
            return
        for cls in classes:
            self.types.told.add(cls)
            self.types.offer(cls)


class Forwarding(logging.Handler):
    """Records of logging go to the parent, which has been told what to do with them."""

    def __init__(self, top: Top) -> None:
        super().__init__()
        self._top = top
        self._loop = threading.get_ident()
        self._token = trio.lowlevel.current_trio_token()

    def emit(self, record: logging.LogRecord) -> None:
        """Send one on."""
        try:
            report = getattr(record, "report", None)
            if isinstance(report, CrashReport) and self._is_ours(report):
                # It is reported there, with what is known there.
                self._send(f.Crashed(fault_of(report.exception), words(report.state)))
                return
            text = words(self.format(record))
            path = words(record.pathname)
            frame = f.Log(record.name, record.levelno, text, path, record.lineno, record.created)
            self._send(frame)
        except Exception:
            self.handleError(record)

    def _send(self, frame: f.Frame) -> None:
        """Threads may log; the link belongs to the event loop."""
        if threading.get_ident() == self._loop:
            self._top.link.send(frame)
        else:
            self._token.run_sync_soon(self._top.link.send, frame)

    def _is_ours(self, report: CrashReport) -> bool:
        place = self._top.place
        return place is not None and report.ref is place.ref
