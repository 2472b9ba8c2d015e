"""What is written down about a workflow: its history, as data.

A history is a list of turns. A turn is one event that came to the workflow, and what followed from
it: the commands its code gave. Both go into one record, so that one is never on disk without the
other. Replay feeds the events to the code again and compares what follows.

Payloads (messages, answers, refusals) stay encoded in here; :mod:`actors.payloads` knows them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import Raw

if TYPE_CHECKING:
    from collections.abc import Sequence


NIL = Raw(b"\xc0")
"""Stands where there is no payload."""


def given(payload: Raw) -> Raw | None:
    """The payload, if there is one."""
    return None if payload is NIL or bytes(payload) == b"\xc0" else payload


class Event(msgspec.Struct, array_like=True, gc=False, tag_field="kind_"):
    """Base of everything in a history. Tags and the order of fields are the format on disk: they
    never change, new fields go to the end with a default."""


# -- what comes to a workflow


class Started(Event, tag=1):
    """The run begins. ``workflow`` is the message that started it."""

    id: str
    run: int
    workflow: Raw
    seed: int
    timeout: float | None = None
    """Seconds the run may take."""
    parent: tuple[int, str] | None = None
    """The number of the parent's run, and the path of its command."""
    detached: bool = False
    carried: Carried | None = None
    """What the run before has left to this one."""
    key: str | None = None
    """The idempotency key of the message that started it, if it had one."""


class Carried(msgspec.Struct, array_like=True, gc=False):
    """What ``continue_as_new`` takes along."""

    signals: list[tuple[str, Raw, float | None]] = []
    seen: list[str] = []
    undos: list[tuple[str, Raw]] = []
    """Keys and messages of open undos, in the order of their outcomes."""
    pivoted: bool = False
    origin: Raw = NIL
    """The message that started the first of these runs: what a start of the same id is compared
    with."""


def origin_of(started: Started) -> Raw:
    """The message with which a workflow was started, however often it has continued since."""
    carried = started.carried
    return started.workflow if carried is None else given(carried.origin) or started.workflow


class Completed(Event, tag=2):
    """A step, an effect or an undo was answered. ``undo`` is the message its undo function made of
    the answer; ``fault`` says why it made none."""

    path: str
    value: Raw
    undo: Raw = NIL
    fault: str | None = None


class Refused(Event, tag=3):
    """The answer was no: a refusal, which is raised at the command."""

    path: str
    refusal: Raw


class Failed(Event, tag=4):
    """The attempts are spent; ``type`` and ``text`` are those of the last failure."""

    path: str
    attempts: int
    type: str
    text: str


class Attempted(Event, tag=5):
    """A further attempt is about to be sent, because of ``reason``: ``died crashed timeout
    settle``. Means nothing to the workflow's code."""

    path: str
    attempt: int
    reason: str


class Fired(Event, tag=6):
    """The time of a ``sleep``, of a ``receive`` or, with an empty path, of the run is up."""

    path: str


class Signalled(Event, tag=7):
    """A signal has come. ``expires`` is a time on the wall clock."""

    id: str
    event: Raw
    expires: float | None = None


class Expired(Event, tag=8):
    """A signal was not read in time: a dead letter."""

    id: str


class Cancelled(Event, tag=9):
    """Somebody asked for the end; ``reason`` is free."""

    reason: str


class Paused(Event, tag=10):
    """From here on events are kept and not delivered. Without ``incident`` somebody asked for it.
    In the record of an event it says that this very event was not delivered."""

    reason: str
    incident: Trouble | None = None


class Trouble(msgspec.Struct, array_like=True, gc=False):
    """What an :class:`mediators.Incident` says, on disk."""

    path: str
    what: str
    recorded: str = ""
    came: str = ""


class Resumed(Event, tag=11):
    """Kept events are to be delivered."""


class Delivered(Event, tag=12):
    """The first of the kept events is delivered now."""


class ChildEnded(Event, tag=13):
    """A child has ended: ``status`` is ``done failed cancelled``, ``value`` its result or failure,
    ``undos`` what it leaves to be undone: path and message, in the order of their outcomes."""

    path: str
    status: str
    value: Raw = NIL
    undos: list[tuple[str, Raw]] = []


class Settled(Event, tag=14):
    """It is certain now that a step has had no effect and will have none."""

    path: str


class Stuck(Event, tag=15):
    """A step or an undo cannot go on by itself: somebody must decide."""

    path: str
    incident: Trouble


class Retried(Event, tag=16):
    """Somebody decided to try again."""

    path: str


class Skipped(Event, tag=17):
    """Somebody decided to leave an undo, or a step's settling, as it is."""

    path: str


class Resolved(Event, tag=18):
    """Somebody has answered in the component's place; otherwise as Completed."""

    path: str
    value: Raw
    undo: Raw = NIL
    fault: str | None = None


# -- what follows from it


class Intended(Event, tag=32):
    """A message is to be sent. ``kind`` is ``step effect undo``; ``undo`` the message that undoes
    it, if that is known already; ``by_answer`` says that a function makes it of the answer."""

    path: str
    kind: str
    message: Raw
    undo: Raw = NIL
    by_answer: bool = False


class Slept(Event, tag=33):
    """The code sleeps until a time on the wall clock."""

    path: str
    until: float


class Awaited(Event, tag=34):
    """The code waits for a signal of a type, until a time on the wall clock if it has one."""

    path: str
    type: str
    until: float | None = None


class Spawned(Event, tag=35):
    """A child was started, or joined."""

    path: str
    id: str
    workflow: Raw
    detached: bool = False


class Forked(Event, tag=36):
    """The code goes on in so many branches: ``kind`` is ``gather`` or ``race``."""

    path: str
    kind: str
    branches: int


class Patched(Event, tag=37):
    """The code has taken the new side of a change."""

    name: str


class Pivoted(Event, tag=38):
    """There is no way back from here."""


class Continued(Event, tag=39):
    """The run ends here and the next one goes on, with this message."""

    workflow: Raw


class Compensating(Event, tag=41):
    """The run will end with ``status``, ``failed`` or ``cancelled``, and ``failure``, once what it
    has done is undone."""

    status: str
    failure: Raw


class Ended(Event, tag=40):
    """The run is over: ``done`` with its result, ``failed`` or ``cancelled`` with what failed;
    ``undos`` as in :class:`ChildEnded`."""

    status: str
    value: Raw = NIL
    undos: list[tuple[str, Raw]] = []


AnyEvent: TypeAlias = (
    Started
    | Completed
    | Refused
    | Failed
    | Attempted
    | Fired
    | Signalled
    | Expired
    | Cancelled
    | Paused
    | Resumed
    | Delivered
    | ChildEnded
    | Settled
    | Stuck
    | Retried
    | Skipped
    | Resolved
    | Intended
    | Slept
    | Awaited
    | Spawned
    | Forked
    | Patched
    | Pivoted
    | Continued
    | Compensating
    | Ended
)


class Turn(msgspec.Struct, array_like=True, gc=False):
    """One record: when, what came, and what followed."""

    time: float
    events: list[AnyEvent]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Turn)


def encode_turn(time: float, events: Sequence[Event]) -> bytes:
    """The bytes of one record."""
    return _encoder.encode((time, events))


def decode_turn(data: bytes) -> Turn:
    """A record's turn. Raises msgspec.DecodeError for what is none."""
    return _decoder.decode(data)
