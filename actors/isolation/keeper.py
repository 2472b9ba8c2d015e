"""The keeper of a system, seen from the system: it starts processes, ends them, and tells how they
ended. See :mod:`actors.isolation.keeper_process`."""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import trio

from actors.isolation.ends import End
from actors.isolation.keeper_process import LARGEST

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors.runtime.system import System

logger = logging.getLogger("actors")

TERM_GRACE = 0.5
"""Seconds from SIGTERM to SIGKILL."""
LEAVING = 2.0
"""Seconds a keeper has to leave, once nobody needs it any more."""
_PAUSE = 0.002
"""Seconds between two looks at what the kernel is about to end."""
PROGRAM = Path(__file__).with_name("keeper_process.py")


class Worker:
    """One process, from the moment it was asked for. ``pid`` is 0 until it is known."""

    def __init__(self, keeper: Keeper, number: int, ended: Callable[[End], object]) -> None:
        self._keeper = keeper
        self._number = number
        self._ended = ended
        self.pid = 0
        self.warm = False
        self.end: End | None = None
        """How it ended, once it has."""
        self._killing = False
        self._then: Callable[[], object] | None = None

    def when_known(self, then: Callable[[], object]) -> None:
        """Call ``then`` once its process id is known: it may be at work before we are told."""
        if self.pid:
            then()
        else:
            self._then = then

    def terminate(self) -> None:
        """SIGTERM, and SIGKILL a moment later, if it takes that long. Idempotent."""
        if self._killing or self.end is not None:
            return
        self._killing = True
        self.send(signal.SIGTERM)
        self._keeper.system.scheduler.timers.after(TERM_GRACE, self.kill)

    def kill(self) -> None:
        """SIGKILL, to it and to what it has started; not more than that can be done."""
        self._killing = True
        self.send(signal.SIGKILL)

    def send(self, number: int) -> None:
        """A signal; nothing happens if it has ended."""
        if self.end is None:
            self._keeper.ask(do="signal", id=self._number, signal=int(number))

    def told(self, notice: dict[str, Any]) -> None:
        """What the keeper says of it."""
        if "pid" in notice:
            self.pid, self.warm = notice["pid"], notice["warm"]
            then, self._then = self._then, None
            if then is not None:
                then()
        elif "failed" in notice:
            logger.error("A process could not be started: %s", notice["failed"])
            self.over(End(None))
        else:
            self.over(End(notice["ended"], notice["peak"]))

    def over(self, end: End) -> None:
        """It has ended and is reaped."""
        if self.end is None:
            self.end = end
            self._ended(end)


class Keeper:
    """Made for a system when it first isolates an actor, closed when the last actor has stopped."""

    def __init__(self, system: System) -> None:
        self.system = system
        self._workers: dict[int, Worker] = {}
        self._control: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._next = 0

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
        if self._control is None:
            self._open()
        self._next += 1
        worker = Worker(self, self._next, ended)
        self._workers[self._next] = worker
        request = {"do": "start", "id": self._next, "warm": warm, "modules": list(modules)}
        self.ask(descriptors, **request)
        return worker

    def ask(self, descriptors: Sequence[int] = (), /, **request: Any) -> None:
        """One request. To a keeper that is gone it means nothing: its workers are gone with it."""
        if self._control is None:
            return
        data = json.dumps(request).encode()
        try:
            socket.send_fds(self._control, [data], descriptors)
        except (BrokenPipeError, ConnectionResetError):
            pass  # the reader is about to find out

    def close(self) -> None:
        """End the keeper, and what it may still keep. Waits for it, some milliseconds usually."""
        control, self._control = self._control, None
        process, self._process = self._process, None
        if control is not None:
            trio.lowlevel.notify_closing(control)
            control.close()
        if process is not None:
            try:
                process.wait(LEAVING)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _open(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        options = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
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
        self._control = ours
        self.system.nursery.start_soon(self._listen, ours, name="keeper")

    async def _listen(self, control: socket.socket) -> None:
        with trio.CancelScope(shield=True):
            while True:
                try:
                    await trio.lowlevel.wait_readable(control)
                    data = control.recv(LARGEST, socket.MSG_DONTWAIT)
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
        worker = self._workers.get(notice["id"])
        if worker is None:
            return
        worker.told(notice)
        if worker.end is not None:
            del self._workers[notice["id"]]

    async def _lost(self) -> None:
        """The keeper has ended, by somebody else's hand: the kernel ends its workers with it. The
        next start makes another."""
        control, self._control = self._control, None
        process, self._process = self._process, None
        if control is None or process is None:
            return
        control.close()
        process.wait()
        logger.error("The keeper of processes has ended (%s), and its workers with it", process)
        workers, self._workers = self._workers, {}
        for worker in workers.values():
            while worker.pid and state_of(worker.pid) not in "ZX":  # noqa: ASYNC110
                await trio.sleep(_PAUSE)
            worker.over(End(None))


def keeper_of(system: System) -> Keeper:
    """The keeper of a system, made on first use."""
    return system.shared(("keeper",), lambda: Keeper(system))


def state_of(pid: int) -> str:
    """The state of a process as the kernel names it, one letter; ``"X"`` for one that is gone."""
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return "X"


def _import_path() -> list[str]:
    """Where modules are found, seen from anywhere."""
    return [os.path.abspath(each) if each else os.getcwd() for each in sys.path]
