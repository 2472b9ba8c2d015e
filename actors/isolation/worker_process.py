"""What runs in a worker: a system with one actor at its top, and a link to the parent.

The actor is an actor like any other: its queue, its turns, its timers and its children are those of
this system. The worker ends when the actor has ended, and when the parent is no more.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import resource
import socket
import sys
import threading
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, Any, NoReturn

import attrs
import trio
from msgspec import Raw

from actors.exits import StartFailed
from actors.isolation import frames as f
from actors.isolation import shipping
from actors.isolation.connection import CHUNK
from actors.isolation.faults import exit_fault, exit_of, fault_of, words
from actors.isolation.inlet import Ticket
from actors.isolation.keeper_process import die_with_parent
from actors.isolation.link import MAIN, Link
from actors.isolation.page import NoPage, Page
from actors.mailbox import TOKEN, is_exempt
from actors.payloads.names import NotEncodable
from actors.place import Place
from actors.reports import CrashReport
from actors.runtime import lifecycle
from actors.runtime.ids import IdRange
from actors.runtime.stages import Pending
from actors.runtime.system import System

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from actors.exits import Exit
    from actors.mailbox import Origin

SIGKILL = 9
STACK_SIGNAL = 64
FAILED = 70
"""The exit code of a worker that could not begin (EX_SOFTWARE)."""
NESTED = 12
"""Of the ids of a worker, 2 to the power of this have each of its own workers."""


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
        cause = failure.__cause__
        if isinstance(failure, StartFailed) and cause is not None and not cause.__cause__:
            failure = cause if not isinstance(cause, StartFailed) else failure
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
            logging.getLogger("actors").warning("%r cannot rise: %s", event, error)
            return
        _, id, correlation, cause = origin
        self.send(f.Report(Raw(payload), id, correlation, cause), len(payload))

    def _stop(self, frame: f.Stop) -> None:
        self.top.stop(frame)

    def _inspect(self, frame: f.Inspect) -> None:
        self.top.inspect(frame)

    def _learn(self, frame: f.Code) -> None:
        try:
            classes = shipping.unpack(frame.code, self.hear)
        except Exception as error:
            # Their instances will find themselves unknown.
            logging.getLogger("actors").warning("Classes are not to be had here: %r", error)
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
                fault = fault_of(report.exception)
                self._send(f.Crashed(fault, words(report.doing), words(report.state)))
                return
            text = words(self.format(record))
            path = words(record.pathname)
            self._send(
                f.Log(record.name, record.levelno, text, path, record.lineno, record.created),
                len(text),
            )
        except Exception:
            self.handleError(record)

    def _send(self, frame: f.Frame, size: int = 0) -> None:
        """Threads may log; the link belongs to the event loop."""
        if threading.get_ident() == self._loop:
            self._top.link.send(frame, size)
        else:
            self._token.run_sync_soon(self._top.link.send, frame, size)

    def _is_ours(self, report: CrashReport) -> bool:
        place = self._top.place
        return place is not None and report.ref is place.ref


async def live(
    connection: socket.socket, page: Page, begin: f.Begin, others: Sequence[f.Frame]
) -> None:
    """Run the system until its actor has ended."""
    system = System(seed=begin.seed, watchdog=None)
    system.id_prefix = begin.prefix
    system.ids = IdRange(begin.first_id, begin.ids, begin.ids >> NESTED)
    system.scheduler.next_id = count(begin.first_id + 1).__next__
    system.beat = page.beat
    async with system.opened():
        link = Uplink(
            system,
            connection,
            outgoing=NoPage(),
            incoming=page,
            window=begin.window,
            max_message=begin.max_message,
        )
        top = link.top = Top(system, link, begin)
        logging.getLogger().addHandler(Forwarding(top))
        for name, level in begin.log_levels.items():
            logging.getLogger(name).setLevel(level)
        link.start()
        if begin.heartbeat is not None:
            system.nursery.start_soon(_beat, page, begin.heartbeat)
        top.start()
        link.do(others)
        code = 0
        try:
            await top.over.wait()
        except trio.Cancelled:
            code = exit_code(system)
            for error in what_failed(system):
                link.send(f.Crashed(fault_of(error), "the system of its process", ""))
        with trio.CancelScope(shield=True):
            await link.drained()
            if top.farewell is not None:
                link.send(top.farewell)
                await link.drained()
        leave(code)


def what_failed(system: System) -> Iterable[BaseException]:
    """What has taken the system down, if that was none of its actors. Nobody is told of it before
    the nursery has ended, and that waits for the link."""
    failures: Iterable[BaseException] = getattr(system.nursery, "_pending_excs", ())
    return [each for each in failures if not isinstance(each, trio.Cancelled)][:1]


def exit_code(system: System) -> int:
    """The code of a SystemExit that has left a handler, or of a Ctrl-C."""
    failure = system._failure
    if not isinstance(failure, SystemExit):
        return 130
    if failure.code is None:
        return 0
    return failure.code if isinstance(failure.code, int) else 1


def leave(code: int) -> NoReturn:
    """End the process, whatever tasks and threads there are."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


async def _beat(page: Page, seconds: float) -> None:
    while True:
        page.beat()
        await trio.sleep(seconds)


def first_frame(connection: socket.socket) -> tuple[f.Begin, list[f.Frame]]:
    """What the parent sends first, and what has come together with it. Blocks."""
    head = _exactly(connection, f.HEAD.size)
    frames = f.unpacked(_exactly(connection, f.HEAD.unpack(head)[0]))
    if not frames or not isinstance(frames[0], f.Begin):
        raise f.BrokenLink(f"The first frame is a Begin. Got: {frames[:1]!r}")
    return frames[0], frames[1:]


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = bytearray()
    while len(data) < size:
        chunk = connection.recv(min(size - len(data), CHUNK))
        if not chunk:
            os._exit(0)
        data += chunk
    return bytes(data)


def main(connection: int, page: int, stack: int, keeper: int) -> NoReturn:
    """Be a worker: the descriptors of the connection, of the page and of the file for the stack,
    and the process id of the keeper, with which it ends."""
    die_with_parent(SIGKILL, keeper)
    faulthandler.enable(file=stack, all_threads=False)
    faulthandler.register(STACK_SIGNAL, file=stack, all_threads=True)
    with socket.socket(fileno=connection) as link:
        begin, others = first_frame(link)
        link.setblocking(False)
        if begin.memory_limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (begin.memory_limit, begin.memory_limit))
        with suppress(OSError):
            os.chdir(begin.directory)
        trio.run(partial(live, link, Page(page), begin, others))
    os._exit(FAILED)
