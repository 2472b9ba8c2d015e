"""An actor that has got hold of its own connection and writes into it what it likes."""

from __future__ import annotations

import os
import pickle
import socket
import stat
import subprocess
from collections.abc import Callable
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import attrs
import msgspec
from msgspec import Raw

from actors import Actor, Call, handles
from actors.isolation import frames as f
from tests.actors.isolation.far_actors import Fail, Note, Pid, Plus, die


class Exploit:
    """Pickled, it is a command that makes a file wherever it is unpickled."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return (subprocess.check_call, (["touch", self.path],))


@attrs.frozen
class Write(Call[int]):
    """Write these bytes into the connection, at once; answered by how many."""

    data: bytes


@attrs.frozen
class WriteAndClose(Call[None]):
    """Write these bytes into the connection, and close it."""

    data: bytes


class Hostile(Actor):
    """Knows its way about its own process."""

    def __init__(self) -> None:
        self.total = 0

    @handles
    def write(self, msg: Write) -> int:
        return send(msg.data)

    @handles
    def write_and_close(self, msg: WriteAndClose) -> None:
        send(msg.data)
        connection().shutdown(socket.SHUT_RDWR)

    @handles
    def plus(self, msg: Plus) -> int:
        self.total += msg.amount
        return self.total

    @handles
    def note(self, msg: Note) -> None:
        self.total += 1

    @handles
    def pid(self, msg: Pid) -> int:
        return os.getpid()

    @handles
    def fail(self, msg: Fail) -> None:
        die(msg.how)


def connection() -> socket.socket:
    """A further descriptor of the socket to the parent: the one of which somebody reads frames."""
    for each in os.listdir("/proc/self/fd"):
        try:
            if not stat.S_ISSOCK(os.fstat(int(each)).st_mode):
                continue
        except OSError:
            continue
        found = socket.socket(fileno=os.dup(int(each)))
        if found.family == socket.AF_UNIX and is_link(found, int(each)):
            return found
        found.close()
    raise LookupError("There is no connection.")


def is_link(found: socket.socket, number: int) -> bool:
    """Whether it is the one that was handed over: trio's own has both of its ends here."""
    try:
        credentials = found.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except OSError:
        return False
    # A socket pair knows the process that has made it.
    pid = int.from_bytes(credentials[:4], "little")
    return pid not in (0, os.getpid())


def send(data: bytes) -> int:
    """Write all of it."""
    with connection() as found:
        found.setblocking(True)
        try:
            found.sendall(data)
        finally:
            found.setblocking(False)
    return len(data)


def packet(*frames: Any) -> bytes:
    """A packet of frames, or of what is none."""
    body = msgspec.msgpack.encode(list(frames))
    return f.HEAD.pack(len(body)) + body


def payload(value: Any) -> Raw:
    """What ought to be ``[name, version, data]``."""
    return Raw(msgspec.msgpack.encode(value))


def _any(kind: Any) -> Any:
    """A value for a field of a frame."""
    if type(None) in get_args(kind):
        return None
    if get_origin(kind) is UnionType:
        kind = get_args(kind)[0]
    return (get_origin(kind) or kind)()


def attacks(path: str) -> dict[str, bytes]:
    """What to write into a socket whose reader might be so careless as to execute something."""
    evil = pickle.dumps(Exploit(path))
    old = pickle.dumps(Exploit(path), protocol=0)
    bare = payload(["", 1, evil])
    named = payload(["tests.actors.isolation.in_forks.hostile_actors:Exploit", 1, {"path": path}])
    extended = payload(["", 1, msgspec.msgpack.Ext(11, evil)])
    begin = f.Begin(**{name: _any(kind) for name, kind in get_type_hints(f.Begin).items()})
    begin.code = evil
    return {
        "a pickle": evil,
        "an old pickle": old,
        "a pickle behind its length": f.HEAD.pack(len(evil)) + evil,
        "a pickle behind a wider length": len(evil).to_bytes(8, "little") + evil,
        "a pickle as a packet of bytes": packet(evil),
        "a pickle in an answer": packet(f.Answer(1, bare), f.Answer(2, Raw(evil))),
        "a class of ours in an answer": packet(*(f.Answer(each, named) for each in range(64))),
        "an extension in an answer": packet(*(f.Answer(each, extended) for each in range(64))),
        "a pickle in a refusal": packet(*(f.Refused(each, bare) for each in range(64))),
        "a refusal of any class": packet(
            *(
                f.Refused(each, payload(["subprocess:Popen", 1, [[["touch", path]], {}]]))
                for each in range(64)
            )
        ),
        "a pickle in a report": packet(f.Report(bare, 1, 1, 1)),
        "a class of ours in a report": packet(f.Report(named, 1, 1, 1)),
        "a pickle in a record of logging": packet(
            f.Log("actors", 40, old.decode("ascii"), path, 1, 1.0)
        ),
        "a pickle in a message": packet(f.Message(1, 1, bare, True), f.Message(2, 0, bare, False)),
        "a frame that begins a worker": packet(begin),
        "a frame with code": packet(f.Code(evil)),
        "a frame with a function": packet(f.Inspect(1, evil)),
        "a frame to stop": packet(f.Stop(f.Fault("Normal"))),
        "an unknown kind of frame": packet([99, evil]),
        "a length beyond all bounds": b"\xff\xff\xff\xff" + evil,
        "a length of nothing": b"\x00\x00\x00\x00" * 10 + evil,
    }
