"""What runs in a worker: a system with one actor at its top, and a link to the parent.

The actor is an actor like any other: its queue, its turns, its timers and its children are those of
this system. The worker ends when the actor has ended, and when the parent is no more.
"""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
from contextlib import suppress
from functools import partial
from itertools import count
from typing import TYPE_CHECKING, NoReturn

import trio

from actors.isolation import frames as f
from actors.isolation import stack as stacks
from actors.isolation.connection import CHUNK
from actors.isolation.faults import fault_of
from actors.isolation.keeper_process import die_with_parent, flush_output
from actors.isolation.page import NoPage, Page
from actors.isolation.uplink import FAILED, Forwarding, Top, Uplink
from actors.runtime.ids import IdRange
from actors.runtime.system import System

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


NESTED = 12
"""Of the ids of a worker, 2 to the power of this have each of its own workers."""


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
                link.send(f.Crashed(fault_of(error), ""))
        with trio.CancelScope(shield=True):
            await link.drained()
            if top.farewell is not None:
                link.send(top.farewell)
                await link.drained()
        leave(code)


def what_failed(system: System) -> Iterable[BaseException]:
    """What has taken the system down, if that was none of its actors.

    A nursery tells only once all its tasks have ended: those of the link, which is to carry the
    news, and those of users, which nobody waits for here. So it is asked for what it keeps to
    itself. Should a later trio keep that elsewhere, the parent hears of the end without its cause.
    """
    failures: Iterable[BaseException] = getattr(system.nursery, "_pending_excs", ())
    return [each for each in failures if not isinstance(each, trio.Cancelled)][:1]


def exit_code(system: System) -> int:
    """The code of a SystemExit that has left a handler, or of a Ctrl-C."""
    failure = system.failure
    if not isinstance(failure, SystemExit):
        return 130
    if failure.code is None:
        return 0
    return failure.code if isinstance(failure.code, int) else 1


def leave(code: int) -> NoReturn:
    """End the process, whatever tasks and threads there are."""
    logging.shutdown()
    flush_output()
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
    die_with_parent(signal.SIGKILL, keeper)
    for each in (connection, page, stack):
        os.set_inheritable(each, False)
    stacks.note_into(stack)
    with socket.socket(fileno=connection) as link:
        begin, others = first_frame(link)
        link.setblocking(False)
        if begin.memory_limit is not None:
            resource.setrlimit(resource.RLIMIT_DATA, (begin.memory_limit, begin.memory_limit))
        with suppress(OSError):
            os.chdir(begin.directory)
        trio.run(partial(live, link, Page(page), begin, others))
    os._exit(FAILED)
