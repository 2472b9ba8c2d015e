"""What travels between two processes: frames of msgpack, several to a packet, each packet behind
its length.

Frames are data. Three kinds hold code, :class:`Begin`, :class:`Code` and :class:`Inspect`, and only
a worker takes them: from its parent, over the descriptor it was given at its birth.
"""

from __future__ import annotations

from struct import Struct as Layout
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from msgspec import Raw, Struct

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD = Layout("<I")
"""The length of a packet, in bytes, without itself."""
PACKET = 1 << 20
"""Bytes from which on a packet is closed and another begun."""
HEADING = 64
"""Bytes of a frame without what it carries, roughly."""
OVERHEAD = 4 << 20
"""Bytes a packet may have beside its largest message."""


class BrokenLink(Exception):
    """What came in is no packet of ours."""


class Address(Struct, array_like=True, gc=False, frozen=True):
    """A place, as one end of a link speaks of it to the other."""

    yours: bool
    """Whether the receiver's end has given the number."""
    id: int
    path: str = ""
    name: str = ""
    incarnation: int = 0


class Fault(Struct, array_like=True, gc=False):
    """An exception, or an exit, in words. ``kind`` is the class of an error or exit of ours."""

    kind: str
    text: str = ""
    type: str = ""
    """The class of the exception behind it; empty if there is none."""
    why: str = ""
    """What that one says."""
    traceback: str = ""


# -- in both directions


class Message(Struct, array_like=True, tag=1, gc=False):
    """To a place: ``left`` are the seconds its caller still waits, None for ever. The ids are those
    of the envelope, 0 if not drawn."""

    number: int
    target: int
    payload: Raw
    call: bool
    left: float | None = None
    id: int = 0
    correlation: int = 0
    cause: int = 0
    sender: Address | None = None
    key: str | None = None
    timed: bool = False
    """Whether the answer is to say how long it took."""
    attempt: int = 1


class Answer(Struct, array_like=True, tag=2, gc=False, omit_defaults=True):
    """To the call of that number; ``seconds`` passed from its beginning to this answer."""

    number: int
    payload: Raw
    seconds: float | None = None


class Refused(Struct, array_like=True, tag=3, gc=False):
    """The same, by a refusal."""

    number: int
    payload: Raw


class Failed(Struct, array_like=True, tag=4, gc=False):
    """The same: there will be no answer."""

    number: int
    fault: Fault


class Taken(Struct, array_like=True, tag=5, gc=False):
    """Of what was sent to that place, everything up to ``number`` was taken from its queue."""

    target: int
    number: int


class Abandoned(Struct, array_like=True, tag=6, gc=False):
    """Nobody waits for the answer to that call any more."""

    number: int


class GivenBack(Struct, array_like=True, tag=10, gc=False):
    """That message to ``target`` was not begun: its sender has it again, and may send it
    elsewhere. It is set aside on the page in cell ``at``, until then; 0 for nowhere."""

    number: int
    target: int = 0
    at: int = 0


class Watch(Struct, array_like=True, tag=7, gc=False):
    """Tell of the end of who lives in that place."""

    target: int


class Down(Struct, array_like=True, tag=8, gc=False):
    """Who lived in that place of the sender's has ended."""

    target: int
    incarnation: int
    exit: Fault


class StopFar(Struct, array_like=True, tag=9, gc=False):
    """Stop who lives in that place; answered by an Answer."""

    number: int
    target: int
    exit: Fault


# -- from a parent to its worker


class Begin(Struct, array_like=True, tag=20):
    """Who is to live in the worker: the first frame, and the only one of its kind.

    ``code`` is the factory and its arguments, pickled, and ``rising`` the classes of events that
    somebody above takes; all else is data.
    """

    code: bytes
    rising: list[tuple[str, str]]
    home: str
    """The path of the place that holds the ref."""
    above: Address | None
    name: str | None
    incarnation: int
    prefix: str
    first_id: int
    ids: int
    """How many, from ``first_id`` on, are the worker's to draw."""
    seed: int
    directory: bytes
    """Empty if it is unknown."""
    mailbox: int | float
    heartbeat: float | None
    memory_limit: int | None
    window: int
    max_message: int
    log_levels: dict[str, int]
    """Of each logger that has one of its own; the root's is that of ``""``."""


class Code(Struct, array_like=True, tag=21):
    """Classes that messages to come are made of, pickled."""

    code: bytes


class Stop(Struct, array_like=True, tag=22):
    """End in order."""

    exit: Fault


class Inspect(Struct, array_like=True, tag=23):
    """Run a function of the place, pickled, as introspection does; answered by an Answer."""

    number: int
    code: bytes


# -- from a worker to its parent


class Started(Struct, array_like=True, tag=40):
    """It is up; or it is not to run, as its ``on_start`` has said. ``layered``: it has middleware,
    which may take what its class does not handle."""

    declined: bool
    layered: bool = False


class StartFailed(Struct, array_like=True, tag=41):
    """It did not come up."""

    fault: Fault


class Crashed(Struct, array_like=True, tag=42):
    """An exception has left the actor, whose last words are still to come."""

    fault: Fault
    state: str


class Exited(Struct, array_like=True, tag=43):
    """It has ended; nothing comes after this."""

    exit: Fault


class Report(Struct, array_like=True, tag=44):
    """An event that rises: ``Actor.notify``."""

    payload: Raw
    id: int
    correlation: int
    cause: int


class Log(Struct, array_like=True, tag=45):
    """A record of logging, its text made."""

    logger: str
    level: int
    text: str
    path: str
    line: int
    created: float


Frame: TypeAlias = (
    Message
    | Answer
    | Refused
    | Failed
    | Taken
    | Abandoned
    | GivenBack
    | Watch
    | Down
    | StopFar
    | Begin
    | Code
    | Stop
    | Inspect
    | Started
    | StartFailed
    | Crashed
    | Exited
    | Report
    | Log
)

encode = msgspec.msgpack.Encoder().encode
"""Anything of this module as bytes, and what else is plain."""
_encode_into = msgspec.msgpack.Encoder().encode_into
_decode = msgspec.msgpack.Decoder(list[Frame]).decode
decode_address = msgspec.msgpack.Decoder(Address).decode


def weight(frame: Frame) -> int:
    """How many bytes there are in a frame, roughly."""
    match frame:
        case Message() | Answer() | Refused() | Report():
            return HEADING + len(frame.payload)
        case Taken() | Abandoned() | GivenBack() | Watch() | Started():
            return HEADING
        case Begin() | Code() | Inspect():
            return HEADING + len(frame.code)
        case Log():
            return HEADING + len(frame.text)
        case Failed() | StartFailed() | Crashed():
            return HEADING + _length(frame.fault)
        case Stop() | StopFar() | Down() | Exited():
            return HEADING + _length(frame.exit)


def _length(fault: Fault) -> int:
    return len(fault.text) + len(fault.why) + len(fault.traceback)


def packed(frames: Sequence[Frame]) -> bytearray:
    """One packet of all these frames."""
    buffer = bytearray(HEAD.size)
    _encode_into(frames, buffer, HEAD.size)
    HEAD.pack_into(buffer, 0, len(buffer) - HEAD.size)
    return buffer


def unpacked(body: Any) -> list[Frame]:
    """The frames of a packet's body. Raises BrokenLink for what is none."""
    try:
        return _decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise BrokenLink(f"A packet of {len(body)} bytes cannot be read: {error}") from error


class Splitter:
    """Cuts a stream of bytes into packets. ``largest`` bounds the length of one, in bytes."""

    def __init__(self, largest: int) -> None:
        self._largest = largest
        self._rest = bytearray()
        self._wanted = HEAD.size

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are complete with ``data``. Raises BrokenLink."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._wanted:
                return []
            data = bytes(self._rest)
        frames: list[Frame] = []
        view = memoryview(data)
        at, end = 0, len(data)
        self._wanted = HEAD.size
        while end - at >= HEAD.size:
            length: int = HEAD.unpack_from(view, at)[0]
            if length > self._largest:
                raise BrokenLink(
                    f"A packet has at most {self._largest} bytes. Got: one that says {length}"
                )
            if end - at < HEAD.size + length:
                self._wanted = HEAD.size + length
                break
            at += HEAD.size
            frames += unpacked(view[at : at + length])
            at += length
        self._rest = bytearray(view[at:])
        return frames
