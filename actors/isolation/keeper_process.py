"""What runs in a keeper: a process that starts workers, ends them and reaps them.

A worker is the keeper's child and not ours, for two reasons. Forking is safe only where there is
one thread and no event loop: so a worker that is to come up fast is forked from a keeper that has
imported what it needs. And whoever starts a process reaps it: the keeper does nothing else, so no
worker becomes a zombie, and none outlives us. The keeper ends them all when our end of its
connection closes, however that came about.

It is started as a file, and imports nothing but the standard library until it has to.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence

LARGEST = 1 << 16
"""Bytes of a request, and of a notice."""
DESCRIPTORS = 3
"""What comes with a request to start a worker: its connection, its page, the file for its stack."""
PR_SET_PDEATHSIG = 1
WORKER = "actors.isolation.worker_process"
COLD = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    f"from {WORKER} import main; main(*map(int, sys.argv[2:]))"
)


HANDLED = (signal.SIGCHLD, signal.SIGTERM)
"""The signals a keeper has handlers for."""


def opened() -> set[str]:
    """What this process has open, by number."""
    return set(os.listdir("/proc/self/fd"))


def die_with_parent(number: int, parent: int) -> None:
    """Have the kernel send this process a signal when its parent ends, be it killed."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it has ended already


def flush_output() -> None:
    """Write what was printed, if it can be: there may be nobody to read it, or nowhere to."""
    for output in (sys.stdout, sys.stderr):
        with suppress(Exception):
            output.flush()


class KeeperProcess:
    """The loop of a keeper: requests come in, notices go out, one packet of JSON each."""

    def __init__(self, control: socket.socket, arguments: Sequence[str]) -> None:
        self._control = control
        self._arguments = arguments
        self._workers: dict[int, int] = {}
        """Of each process id the number by which it is spoken of."""
        self._spawned: dict[int, subprocess.Popen[bytes]] = {}
        """Kept, or the module would reap them at a time of its own."""
        self._harmless = True
        """Nothing that was imported here has started a thread or opened anything."""
        self._wake, wake = socket.socketpair()
        self._wake.setblocking(False)
        wake.setblocking(False)
        self._writing = wake
        self._heed_signals()

    def _heed_signals(self) -> None:
        signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.signal(signal.SIGTERM, self._leave)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def run(self) -> NoReturn:
        """Until nobody is there any more who might ask."""
        poll = select.poll()
        poll.register(self._control, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            for descriptor, _ in poll.poll():
                if descriptor == self._wake.fileno():
                    with suppress(BlockingIOError):
                        self._wake.recv(LARGEST)
                    self._reap()
                else:
                    self._serve()

    def _serve(self) -> None:
        data, descriptors = b"", list[int]()
        with suppress(ConnectionResetError):  # of a parent that is gone with words of ours unread
            data, descriptors, _, _ = socket.recv_fds(self._control, LARGEST, DESCRIPTORS)
        if not data:
            self._leave()
        request: dict[str, Any] = json.loads(data)
        if request["do"] == "start":
            self._start(request, descriptors)
        else:
            self._signal(request["id"], request["signal"])

    def _start(self, request: dict[str, Any], descriptors: list[int]) -> None:
        number = request["id"]
        warm = bool(request["warm"]) and self._harmless and self._import(request["modules"])
        try:
            pid = self._fork(descriptors) if warm else self._spawn(descriptors)
        except OSError as error:
            self._tell(id=number, failed=f"{type(error).__name__}: {error}")
            return
        finally:
            for each in descriptors:
                os.close(each)
        self._workers[pid] = number
        self._tell(id=number, pid=pid, warm=warm)

    def _import(self, modules: list[str]) -> bool:
        """Import what the worker will need, here, where it is done once. Whether it may be forked
        afterwards. What cannot be imported is the worker's to say."""
        new = [each for each in (WORKER, *modules) if each not in sys.modules]
        before = opened()
        for each in new:
            with suppress(BaseException):
                importlib.import_module(each)
        if new:
            # Whatever they have made of the signals, and who has ended meanwhile.
            self._heed_signals()
            self._reap()
            gc.collect()
            gc.freeze()
            threads = len(os.listdir("/proc/self/task"))
            self._harmless = threads == 1 and opened() == before
        return self._harmless

    def _fork(self, descriptors: list[int]) -> int:
        keeper = os.getpid()
        flush_output()
        # Until the child has handlers of its own, a signal to it would be taken for one to us.
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        try:
            pid = os.fork()
        except OSError:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
            raise
        if pid == 0:
            try:
                os.setpgid(0, 0)
                signal.set_wakeup_fd(-1)
                for number in HANDLED:
                    signal.signal(number, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
                for each in (self._control, self._wake, self._writing):
                    each.close()
                sys.modules[WORKER].main(*descriptors, keeper)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        with suppress(OSError):
            os.setpgid(pid, pid)
        return pid

    def _spawn(self, descriptors: list[int]) -> int:
        command = [sys.executable, *self._arguments, "-c", COLD, json.dumps(sys.path)]
        numbers = [str(each) for each in (*descriptors, os.getpid())]
        made = subprocess.Popen(
            [*command, *numbers], pass_fds=descriptors, process_group=0, stdin=subprocess.DEVNULL
        )
        self._spawned[made.pid] = made
        return made.pid

    def _signal(self, number: int, what: int) -> None:
        """To a worker that is not reaped yet, and to whatever it has started."""
        pid = next((pid for pid, each in self._workers.items() if each == number), None)
        if pid is not None:
            with suppress(OSError):
                os.kill(pid, what)
            if what == signal.SIGKILL:
                with suppress(OSError):
                    os.killpg(pid, what)

    def _reap(self) -> None:
        while True:
            try:
                # Not reaped by that: as long as it is not, its number is its own.
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            with suppress(OSError):
                os.killpg(found.si_pid, signal.SIGKILL)
            pid, status, usage = os.wait4(found.si_pid, 0)
            if (spawned := self._spawned.pop(pid, None)) is not None:
                spawned.returncode = status
            number = self._workers.pop(pid, None)
            if number is not None:
                self._tell(id=number, ended=status, peak=usage.ru_maxrss * 1024)

    def _tell(self, **notice: Any) -> None:
        try:
            self._control.send(json.dumps(notice).encode())
        except OSError:
            self._leave()

    def _leave(self, *_: object) -> NoReturn:
        for pid in self._workers:
            with suppress(OSError):
                os.killpg(pid, signal.SIGKILL)
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in self._workers:
            with suppress(OSError):
                os.waitpid(pid, 0)
        os._exit(0)


def main() -> NoReturn:
    """``keeper_process.py DESCRIPTOR PARENT PATH OPTIONS``: the control socket, the process id of
    whoever starts it, its ``sys.path`` and the interpreter's options, in JSON."""
    descriptor, parent, path, arguments = sys.argv[1:]
    die_with_parent(signal.SIGTERM, int(parent))
    sys.path[:] = json.loads(path)
    KeeperProcess(socket.socket(fileno=int(descriptor)), json.loads(arguments)).run()


if __name__ == "__main__":
    main()
