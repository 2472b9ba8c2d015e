"""The keepers of a system, seen from the system: they start processes, end them, and tell how they
ended. See :mod:`actors.isolation.keeper_process`."""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import subprocess
import sys
from array import array
from collections import deque
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio
from trio.lowlevel import enable_ki_protection

from actors.isolation.ends import End, ended_how
from actors.isolation.keeper_process import LARGEST
from actors.isolation.worker import Worker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.runtime.system import System

logger = logging.getLogger("actors")

DYING = 2.0
"""Seconds for which the workers of a keeper that is gone are waited for."""
LEAVING = 2.0
"""Seconds a keeper has to leave, once nobody needs it any more."""
GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)
"""What is said of a connection whose other end is no more."""
_PAUSE = 0.002
"""Seconds between two looks at what the kernel is about to end."""
PROGRAM = Path(__file__).with_name("keeper_process.py")


class Keeper:
    """One keeper, of workers that need the same modules. ``import_failed`` is called if it ends
    while it imports them."""

    def __init__(
        self, system: System, modules: Sequence[str], import_failed: Callable[[], object]
    ) -> None:
        self.system = system
        self._modules = list(modules)
        self._import_failed = import_failed
        self.workers: dict[int, Worker] = {}
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._next = 0
        self._backlog: deque[tuple[bytes, list[int]]] = deque()
        """Requests that its socket had no room for, with descriptors of our own."""

    def start(
        self, descriptors: Sequence[int], warm: bool, ended: Callable[[End], object]
    ) -> Worker:
        """As :meth:`Keepers.start`."""
        if self._control is None:
            self._open()
        self._next += 1
        worker = Worker(self, self._next, ended)
        self.workers[self._next] = worker
        request = {"do": "start", "id": self._next, "warm": warm, "modules": self._modules}
        try:
            self.ask(descriptors, **request)
        except OSError:
            del self.workers[self._next]
            raise
        return worker

    def ask(self, descriptors: Sequence[int] = (), /, **request: Any) -> None:
        """One request. To a keeper that is gone it means nothing: its workers are gone with it. The
        same signal twice is one, as long as it has not left. Raises OSError where descriptors
        cannot be sent along."""
        control = self._control
        if control is None:
            return
        data = json.dumps(request).encode()
        try:
            if not self._backlog:
                _send(control, data, descriptors)
                return
        except BlockingIOError:
            self.system.nursery.start_soon(self._catch_up, control, name="keeper, writing")
        except OSError as error:
            if descriptors and error.errno not in GONE:
                raise
            return  # the reader is about to find out
        if all(data != each for each, _ in self._backlog):
            self._backlog.append((data, [os.dup(each) for each in descriptors]))

    @enable_ki_protection
    async def _catch_up(self, control: socket.socket) -> None:
        """Send what has waited for room."""
        with trio.CancelScope(shield=True):
            while self._backlog:
                data, descriptors = self._backlog[0]
                try:
                    _send(control, data, descriptors)
                except BlockingIOError:
                    try:
                        await trio.lowlevel.wait_writable(control)
                    except trio.ClosedResourceError:
                        return
                except OSError:
                    return
                else:
                    self._backlog.popleft()
                    _close_all(descriptors)

    def retire(self) -> None:
        """Have it leave, now that it keeps nobody, and go on meanwhile."""
        process = self._let_go()
        if process is not None:
            self.system.nursery.start_soon(_reap, process, name="keeper, leaving")

    def close(self) -> None:
        """End it, and what it may still keep. Waits for it, some milliseconds usually."""
        process = self._let_go()
        if process is not None:
            try:
                process.wait(LEAVING)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        workers, self.workers = self.workers, {}
        for worker in workers.values():
            worker.destroy()
            worker.over(End(None))

    def _let_go(self) -> subprocess.Popen[bytes] | None:
        control, self._control = self._control, None
        process, self._process = self._process, None
        if control is not None:
            trio.lowlevel.notify_closing(control)
            # A fork of this process may have it as well: the keeper is told all the same.
            with suppress(OSError):
                control.shutdown(socket.SHUT_RDWR)
            control.close()
        while self._backlog:
            _close_all(self._backlog.popleft()[1])
        return process

    def _open(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        options = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
        try:
            with theirs:
                self._process = subprocess.Popen(
                    [
                        sys.executable,
                        *options,
                        "-P",
                        str(PROGRAM),
                        str(theirs.fileno()),
                        str(os.getpid()),
                        json.dumps(_import_path()),
                        json.dumps(options),
                    ],
                    pass_fds=[theirs.fileno()],
                    stdin=subprocess.DEVNULL,
                    process_group=0,
                )
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        self._control = ours
        self.system.nursery.start_soon(self._listen, ours, name="keeper")

    @enable_ki_protection
    async def _listen(self, control: socket.socket) -> None:
        with trio.CancelScope(shield=True):
            while True:
                try:
                    await trio.lowlevel.wait_readable(control)
                    data = control.recv(LARGEST)
                except trio.ClosedResourceError:
                    return
                except BlockingIOError:
                    continue
                except ConnectionResetError:
                    data = b""
                if not data:
                    break
                self._told(json.loads(data))
            await self._lost()

    def _told(self, notice: dict[str, Any]) -> None:
        worker = self.workers.get(notice["id"])
        if worker is None:
            return
        worker.told(notice)
        if worker.end is not None:
            del self.workers[notice["id"]]

    async def _lost(self) -> None:
        """The keeper has ended, by somebody else's hand or by what it has imported, or it hears
        nothing any more: its workers end with it. The next start makes another."""
        process = self._let_go()
        if process is None:
            return
        process.kill()
        process.wait()
        ended = ended_how(process.returncode)
        logger.error("The keeper of processes %s, and its workers with it", ended)
        workers, self.workers = self.workers, {}
        why = ""
        if any(not each.pid for each in workers.values()):
            self._import_failed()
            modules = ", ".join(self._modules) or "nothing"
            why = f"the process that imports {modules} ahead {ended}"
        for worker in workers.values():
            worker.destroy()
        late = trio.current_time() + DYING
        while workers:
            for number, worker in list(workers.items()):
                if worker.gone or trio.current_time() > late:
                    del workers[number]
                    worker.over(End(None, why="" if worker.pid else why))
            await trio.sleep(_PAUSE)


class Keepers:
    """The keepers of a system: one for each set of modules, since what a module does when it is
    imported, and how long that takes, is nobody else's affair; and for each state of the
    environment and of the import path, which are those of the start. Closed when the last actor has
    stopped."""

    def __init__(self, system: System) -> None:
        self._system = system
        self._keepers: dict[Any, Keeper] = {}
        self._cold: set[tuple[str, ...]] = set()
        """Modules that have ended their keeper."""

    def start(
        self,
        descriptors: Sequence[int],
        *,
        warm: bool,
        modules: Sequence[str],
        ended: Callable[[End], object],
    ) -> Worker:
        """Start a process that inherits these descriptors, forked if ``warm`` and safe; ``ended``
        is called when it has ended and is reaped. Not a checkpoint. Raises OSError."""
        needed = tuple(modules)
        if not warm or needed in self._cold:
            warm, needed = False, ()
        setting = tuple(_import_path()), frozenset(os.environb.items())
        key = needed, setting
        keeper = self._keepers.get(key)
        if keeper is None:
            for other in [each for each in self._keepers if each[1] != setting]:
                if not self._keepers[other].workers:
                    self._keepers.pop(other).retire()
            failed = partial(self._cold.add, needed)
            keeper = self._keepers[key] = Keeper(self._system, needed, failed)
        return keeper.start(descriptors, warm, ended)

    def close(self) -> None:
        """End them all."""
        for keeper in self._keepers.values():
            keeper.close()


def keepers_of(system: System) -> Keepers:
    """The keepers of a system, made on first use."""
    return system.shared(("keepers",), lambda: Keepers(system))


def _send(control: socket.socket, data: bytes, descriptors: Sequence[int]) -> None:
    """One packet, with descriptors if there are any."""
    numbers = array("i", descriptors)
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, numbers)] if descriptors else []
    control.sendmsg([data], rights)


async def _reap(process: subprocess.Popen[bytes]) -> None:
    """Wait until a keeper that was let go has left, and see to it."""
    with trio.CancelScope(shield=True):
        with trio.move_on_after(LEAVING):
            while process.poll() is None:  # noqa: ASYNC110
                await trio.sleep(_PAUSE)
        if process.poll() is None:
            process.kill()
            process.wait()


def _close_all(descriptors: Sequence[int]) -> None:
    for each in descriptors:
        os.close(each)


def _import_path() -> list[str]:
    """Where modules are found, seen from anywhere."""
    return [os.path.abspath(each) if each else os.getcwd() for each in sys.path]
