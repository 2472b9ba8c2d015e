"""The socket where the owner of a journal takes requests from other processes (J3).

It lives in a directory of its own that only its user may enter, and its path stands in the lock
file. Whoever connects must be of the same user, or root. A frame is a line of JSON, a request of
:mod:`mediators.driver.requests`, and is answered by a line of JSON: ``{"ok": …}`` or
``{"error": {"type": …, "text": …}}``.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
import struct
import sys
import tempfile
import time
from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import trio

from actors import ActorError, Refusal
from actors.runtime import host
from mediators.driver.requests import BadRequest, decode_request, to_message
from mediators.handle import Handle
from mediators.journal.sqlite import SqliteJournal
from mediators.verbs import GetStatus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors import Ref
    from actors.payloads.types import Types
    from actors.place import Place

logger = logging.getLogger("mediators")

MAX_FRAME = 1 << 20
"""Bytes of one request, or of one answer."""
MAX_CONNECTIONS = 64
"""Connections at the same time; a further one is told so."""
MAX_PATH = 100
"""Bytes of a socket's path that every system takes."""
_CHUNK = 1 << 16
_NAME = "owner"
_PREFIX = "understudy-"
STALE = 60.0
"""Seconds after which a socket at which nobody listens is removed by another owner."""


class Owner(Protocol):
    """Who answers for a journal: ``face`` is asked, ``place`` runs the task, ``types`` are those
    that requests may speak of."""

    @property
    def place(self) -> Place: ...
    @property
    def face(self) -> Ref[Any]: ...

    types: Types


def serve_socket(driver: Owner, journal: object) -> None:
    """Take requests for the driver's workflows, in a side task of the mediator's incarnation.

    Only for a journal in a file: no other can be reached from outside. Not a checkpoint. A socket
    that cannot be opened is logged, and the mediator goes on without one.
    """
    if not isinstance(journal, SqliteJournal):
        return
    try:
        listener, path = open_listener()
    except Exception as error:
        _without(journal, error)
        return
    try:
        journal.announce(path)
        host.start_side(driver.place, _serve, (driver, journal, listener, path))
    except Exception as error:
        # It is ending already, or the lock file cannot be written.
        _without(journal, error)
        _close(journal, listener, path)


def open_listener() -> tuple[socket.socket, str]:
    """A socket that listens in a directory of its own, and its path. Raises OSError."""
    directory = make_directory()
    path = os.path.join(directory, _NAME)
    # Not by trio, which would bind in a thread: under a virtual clock that lets time jump.
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(path)
        os.chmod(path, 0o600)
        listener.listen(MAX_CONNECTIONS)
    except BaseException:
        listener.close()
        _remove(path)
        raise
    _sweep(os.path.dirname(directory))
    return listener, path


def _sweep(parent: str) -> None:
    """Remove what owners have left that were killed: sockets of this user at which, a while after
    they were made, nobody listens."""
    before = time.time() - STALE
    with suppress(OSError), os.scandir(parent) as entries:
        for entry in islice((each for each in entries if each.name.startswith(_PREFIX)), 100):
            with suppress(OSError):
                found = entry.stat(follow_symlinks=False)
                if found.st_uid == os.geteuid() and found.st_mtime < before:
                    _remove_dead(os.path.join(entry.path, _NAME))


def _remove_dead(path: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) in {errno.ECONNREFUSED, errno.ENOENT}:
            _remove(path)


def _remove(path: str) -> None:
    for remove, name in ((os.unlink, path), (os.rmdir, os.path.dirname(path))):
        with suppress(OSError):
            remove(name)


def _close(journal: SqliteJournal, listener: socket.socket, path: str) -> None:
    with suppress(Exception):
        journal.announce(None)
    listener.close()
    _remove(path)


async def _serve(driver: Owner, journal: SqliteJournal, listener: socket.socket, path: str) -> None:
    try:
        await _accept(driver, trio.socket.from_stdlib_socket(listener))
    except Exception:
        logger.exception("%s: the owner's socket has failed and is closed", journal.path)
    finally:
        _close(journal, listener, path)


def _without(journal: SqliteJournal, error: Exception) -> None:
    logger.warning(
        "%s: the owner's socket cannot be opened, so nothing can be asked of it from outside: %s",
        journal.path,
        error,
    )


def make_directory() -> str:
    """A new directory that only its user may enter, with a path short enough for a socket in it.
    Raises OSError where there is none."""
    tried: OSError | None = None
    for parent in _parents():
        try:
            made = tempfile.mkdtemp(prefix=_PREFIX, dir=parent)
        except OSError as error:
            tried = error
            continue
        if len(os.fsencode(os.path.join(made, _NAME))) <= MAX_PATH:
            return made
        os.rmdir(made)
    raise tried or OSError(errno.ENAMETOOLONG, "no directory with a path short enough for a socket")


def _parents() -> Iterator[str]:
    """Where such a directory may be made, the user's own wish first."""
    yield tempfile.gettempdir()
    yield from ("/tmp", "/var/tmp")


def peer_uid(connection: Any) -> int | None:
    """The user of the process at the other end; None where the system does not tell, and the
    directory alone keeps others out."""
    if hasattr(socket, "SO_PEERCRED"):
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        return int(struct.unpack("3i", credentials)[1])
    if sys.platform == "darwin":
        # struct xucred: its version, then the uid.
        return int(struct.unpack_from("II", connection.getsockopt(0, 1, 76))[1])
    return None


def is_welcome(uid: int | None) -> bool:
    """Whether somebody of that user may ask: who owns the process, or root, may do worse anyway."""
    return uid in {None, 0, os.geteuid()}


async def _accept(driver: Owner, listener: trio.socket.SocketType) -> None:
    connections = 0

    async def serve(connection: trio.socket.SocketType) -> None:
        nonlocal connections
        connections += 1
        try:
            with connection:
                await _connected(driver, connection, busy=connections > MAX_CONNECTIONS)
        except Exception as error:
            # Of the connection alone: the mediator and the other connections are unharmed.
            logger.info("A connection to the owner's socket has ended: %r", error)
        finally:
            connections -= 1

    async with trio.open_nursery() as nursery:
        while True:
            try:
                connection, _ = await listener.accept()
            except OSError as error:
                if error.errno not in _OUT_OF_FILES:
                    if error.errno not in _GONE:
                        raise
                    continue
                await trio.sleep(0.1)
                continue
            nursery.start_soon(serve, connection)


_OUT_OF_FILES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_GONE = {errno.ECONNABORTED, errno.EPROTO, errno.EAGAIN, errno.EINTR}


async def _connected(driver: Owner, connection: Any, *, busy: bool) -> None:
    """Answer the requests of one connection, one after another."""
    if not is_welcome(uid := peer_uid(connection)):
        logger.warning("A process of user %s was refused at the owner's socket", uid)
        await _send_error(connection, "Refused", "This socket is for another user.")
        return
    if busy:
        await _send_error(connection, "Busy", f"{MAX_CONNECTIONS} connections are open already.")
        return
    buffer = bytearray()
    while True:
        end = buffer.find(b"\n")
        if end < 0:
            if len(buffer) > MAX_FRAME:
                text = f"A request has at most {MAX_FRAME} bytes."
                await _send_error(connection, "BadRequest", text)
                return
            chunk = await connection.recv(_CHUNK)
            if not chunk:
                return
            buffer += chunk
            continue
        frame = bytes(buffer[:end])
        del buffer[: end + 1]
        try:
            request = decode_request(frame)
        except BadRequest as error:
            await _send_error(connection, "BadRequest", str(error))
            return
        await _send(connection, await answer(driver, request))


async def answer(driver: Owner, request: Any) -> dict[str, Any]:
    """Do what is asked, as a call of the mediator, and say how it came out."""
    try:
        ref = driver.face
        # It is recovered by that, before values are built: its code may name further types.
        await ref.call(GetStatus(request.id), timeout=None)
        value = await ref.call(to_message(request, driver.types), timeout=None)
    except Refusal as error:
        return _error(type(error).__name__, str(error))
    except ActorError as error:
        return _error(type(error).__name__, f"The mediator did not answer: {error}")
    except Exception as error:
        logger.exception("A request at the owner's socket has failed")
        return _error(type(error).__name__, str(error))
    if isinstance(value, Handle):
        value = value.id
    return {"ok": None if value is None else str(value)}


def _error(name: str, text: str) -> dict[str, Any]:
    return {"error": {"type": name, "text": text}}


async def _send_error(connection: Any, name: str, text: str) -> None:
    await _send(connection, _error(name, text))


async def _send(connection: Any, data: dict[str, Any]) -> None:
    view = memoryview(msgspec.json.encode(data) + b"\n")
    while view:
        view = view[await connection.send(view) :]
