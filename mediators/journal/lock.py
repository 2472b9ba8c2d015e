"""Who owns a journal: a lock beside its file, which dies with the process that holds it.

The lock is the kernel's (``flock``) and not the file: a lock file left behind by a dead process
means nothing, so nobody has to clean up. Its content says who holds it, for messages and for those
who want to talk to the owner.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import time
from typing import TYPE_CHECKING
from weakref import WeakSet

import attrs
import msgspec

from mediators.journal.protocol import JournalLocked, JournalUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable

_PATIENCE = 50
"""How often a lock held by somebody who only looks is tried again."""
_PAUSE = 0.002
"""Seconds between two of these."""


class _Content(msgspec.Struct):
    pid: int
    socket: str | None
    time: float


@attrs.frozen
class Owner:
    """Who has a journal open for writing."""

    pid: int | None
    """None if the owner has not said so (yet)."""
    socket: str | None
    """The path of the socket where it takes requests, if it has one."""
    since: float | None = None
    """When it opened the journal; seconds of the wall clock."""

    def __str__(self) -> str:
        who = "a process that does not say which"
        if self.pid is not None:
            who = "this very process" if self.pid == os.getpid() else f"process {self.pid}"
        return f"{who} (socket {self.socket})" if self.socket else f"{who} (no socket)"


def lock_path(path: str) -> str:
    """The lock file of a journal."""
    return f"{os.path.realpath(path)}.lock"


def owner_of(path: str | os.PathLike[str]) -> Owner | None:
    """Who owns the journal at ``path`` now; None if nobody does, whatever the lock file says.

    Raises JournalUnreachable if the lock file may not be read.
    """
    name = lock_path(os.fspath(path))
    try:
        file = io.FileIO(name, "r")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise JournalUnreachable(
            f"{name} cannot be read ({error.strerror}), so nobody can say who owns the journal: "
            "ask as a user who may read it."
        ) from error
    with file:
        return None if _lock(file, fcntl.LOCK_SH) else _read(file)


class FileLock:
    """The lock of one journal: not held, then held by this object and no other, in any process."""

    def __init__(self, path: str) -> None:
        self.path = path
        """The journal's file."""
        self.name = lock_path(path)
        self._file: io.FileIO | None = None
        self._socket: str | None = None
        self._since = 0.0

    @property
    def held(self) -> bool:
        """Whether this object holds it."""
        return self._file is not None

    def acquire(self) -> None:
        """Take the lock, or raise JournalLocked, which names its owner. Never waits for an owner,
        and a moment at most for somebody who looks whether there is one."""
        if self._file is not None:
            return
        file = self._take()
        self._file = file
        self._since = time.time()
        _held.add(self)
        try:
            self._write()
        except BaseException:
            self.release()
            raise

    def announce(self, socket: str | None) -> None:
        """Say where the owner takes requests, now or as soon as the lock is taken."""
        self._socket = socket
        if self._file is not None:
            self._write()

    def release(self) -> None:
        """Let go. Idempotent. The lock file stays, empty."""
        file, self._file = self._file, None
        if file is not None:
            _held.discard(self)
            try:
                os.ftruncate(file.fileno(), 0)
            except OSError:
                pass
            file.close()

    def forget(self) -> None:
        """In a forked child: close the descriptor, or the lock would outlive its owner."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _take(self) -> io.FileIO:
        for _ in range(_PATIENCE):
            file = self._open()
            try:
                if _lock(file, fcntl.LOCK_EX):
                    if _is_at(file, self.name):
                        return file
                elif not _lock(file, fcntl.LOCK_SH):
                    raise self._refused(_read(file))
            except BaseException:
                file.close()
                raise
            file.close()
            time.sleep(_PAUSE)
        raise self._refused(Owner(None, None))

    def _open(self) -> io.FileIO:
        try:
            return io.FileIO(self.name, "r+", opener=_create)
        except FileNotFoundError as error:
            raise JournalUnreachable(
                f"{self.path} cannot be opened: there is no directory "
                f"{os.path.dirname(self.name)}. Make it, or name another path."
            ) from error
        except OSError as error:
            raise JournalUnreachable(
                f"{self.path} cannot be opened for writing: its lock file {self.name} cannot "
                f"({error.strerror}). Give this user the right to write there; to look only, use "
                "SqliteJournal.read."
            ) from error

    def _refused(self, owner: Owner) -> JournalLocked:
        return JournalLocked(
            f"{self.path} is open for writing in {owner}, and a journal has one writer. Stop that "
            "one, or send to it what is to be changed; SqliteJournal.read works meanwhile."
        )

    def _write(self) -> None:
        assert self._file is not None
        content = msgspec.json.encode(_Content(os.getpid(), self._socket, self._since)) + b"\n"
        descriptor = self._file.fileno()
        try:
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, content, 0)
        except OSError as error:
            # A full disk must not keep an owner out who may be about to make room.
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise JournalUnreachable(
                    f"{self.name} cannot be written: {error.strerror}."
                ) from error


def _create(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_CREAT, 0o644)


def _lock(file: io.FileIO, how: int) -> bool:
    try:
        fcntl.flock(file.fileno(), how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise JournalUnreachable(
            f"{file.name} cannot be locked ({error.strerror}): put the journal on a file system "
            "that has flock."
        ) from error
    return True


def _is_at(file: io.FileIO, name: str) -> bool:
    """Whether it is still the file of that name: it may have been moved before it was locked."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(name))
    except FileNotFoundError:
        return False


def _read(file: io.FileIO) -> Owner:
    """Who holds the lock, as the file has it; somebody who took it just now may not have said."""
    for _ in range(10):
        try:
            content = msgspec.json.decode(os.pread(file.fileno(), 8192, 0), type=_Content)
        except msgspec.DecodeError:
            time.sleep(_PAUSE)
        else:
            return Owner(content.pid, content.socket, content.time)
    return Owner(None, None)


_held: WeakSet[FileLock] = WeakSet()
"""The locks of this operating system process, which are its own and not its forked children's."""


def _forget_all() -> None:
    for lock in list(_held):
        lock.forget()
    _held.clear()


_at_fork: Callable[..., None] | None = getattr(os, "register_at_fork", None)
if _at_fork is not None:
    _at_fork(after_in_child=_forget_all)
