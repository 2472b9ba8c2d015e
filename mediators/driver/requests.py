"""What can be asked of a journal's owner from outside its process: data, over its socket or left
in its journal's inbox.

A request names a workflow by its id and, where it brings a value, the type of it by its name in the
journal; the owner builds the value with the types it knows. Nothing is imported by name, nothing is
code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import uuid4

import msgspec
from msgspec import Raw

from actors import Refusal
from actors.payloads.names import describe
from actors.payloads.plans import encode_plain
from mediators import verbs as v
from mediators.outcomes import Status, how_it_ended
from mediators.reading.rendering import short

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors.payloads.types import Types
    from mediators.reading.standing import Summary


class BadRequest(Refusal):
    """What came is no request, or speaks of types that the owner does not know."""


class Request(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True,
              tag_field="verb", omit_defaults=True):  # fmt: skip
    """Base of the requests: something is wanted of the workflow ``id``. On the wire and in the
    inbox it is a JSON object whose ``verb`` says which."""

    id: str


class SignalRequest(Request, tag="signal", frozen=True, kw_only=True):
    """Send it an event: of the class of that name, made of these fields, and kept until a
    ``receive`` asks for it where the owner knows no such class. One of a ``signal_id`` it
    has had counts once; unread for ``expires`` seconds it is a dead letter."""

    type: str
    fields: dict[str, Any] = {}
    signal_id: str = msgspec.field(default_factory=lambda: uuid4().hex)
    expires: float | None = None


class CancelRequest(Request, tag="cancel", frozen=True, kw_only=True):
    """End it: what it has done is undone."""

    reason: str = "somebody asked for it"


class PauseRequest(Request, tag="pause", frozen=True, kw_only=True):
    """Let nothing more be delivered to it."""

    reason: str = "somebody asked for it"


class ResumeRequest(Request, tag="resume", frozen=True, kw_only=True):
    """Go on where it was paused."""


class RetryRequest(Request, tag="retry", frozen=True, kw_only=True):
    """Try again what stands as an incident."""

    path: str | None = None


class SkipRequest(Request, tag="skip", frozen=True, kw_only=True):
    """Leave an incident as it is."""

    path: str | None = None


class ResolveRequest(Request, tag="resolve", frozen=True, kw_only=True):
    """Answer in the component's place: with a value as JSON has it or, with a ``type``, with one of
    the class of that name made of these fields."""

    value: Any = None
    type: str | None = None
    path: str | None = None


class ForkRequest(Request, tag="fork", frozen=True, kw_only=True):
    """Start a workflow ``new_id`` with this one's history, up to before the outcome of ``at``."""

    new_id: str
    at: str | None = None


AnyRequest: TypeAlias = (
    SignalRequest
    | CancelRequest
    | PauseRequest
    | ResumeRequest
    | RetryRequest
    | SkipRequest
    | ResolveRequest
    | ForkRequest
)

REPEATABLE = (SignalRequest, CancelRequest, PauseRequest)
"""Requests that change nothing when they come a second time."""

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyRequest)


def encode_request(request: Request) -> bytes:
    """The bytes of a request: JSON on one line."""
    encoded: bytes = _encoder.encode(request)
    return encoded


def decode_request(data: bytes) -> AnyRequest:
    """The request of these bytes. Raises BadRequest for what is none."""
    try:
        request: AnyRequest = _decoder.decode(data)
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"This is no request: {error}") from None
    return request


def verb_of(request: Request) -> str:
    """Its verb."""
    return str(request.__struct_config__.tag)


def to_message(request: AnyRequest, types: Types) -> Any:
    """The verb, with its values built of the owner's types. Raises BadRequest."""
    match request:
        case SignalRequest():
            event = event_of(types, request.type, request.fields)
            return v.SendSignal(request.id, event, request.signal_id, request.expires)
        case CancelRequest():
            return v.Cancel(request.id, request.reason)
        case PauseRequest():
            return v.Pause(request.id, request.reason)
        case ResumeRequest():
            return v.Resume(request.id)
        case RetryRequest():
            return v.RetryStep(request.id, request.path)
        case SkipRequest():
            return v.SkipStep(request.id, request.path)
        case ResolveRequest():
            value = request.value
            if request.type is not None:
                value = value_of(types, request.type, value)
            return v.ResolveStep(request.id, value, request.path)
        case ForkRequest():
            return v.Fork(request.id, request.new_id, request.at)


def event_of(types: Types, name: str, fields: Any) -> Any:
    """A signal: as :func:`value_of`, or its payload where no class of that name is known. Its class
    may be known to a ``receive`` that is to come, which then looks at the fields.

    Raises BadRequest for fields that a known class does not have, and for a name without a module
    that is almost one of a known class.
    """
    named = types._named
    if any(name in (full, short(full)) for full in named):
        return value_of(types, name, fields)
    if not name or (":" not in name and _near(name, named)):
        raise BadRequest(_unknown(name, named))
    try:
        return Raw(encode_plain((name, 1, fields)))
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise BadRequest(f"These fields cannot be written down: {error}") from error


def value_of(types: Types, name: str, fields: Any) -> Any:
    """An instance of the registered class of that name, made of fields as JSON has them. The name
    may come without its module where that is clear. Raises BadRequest."""
    named = types._named
    plan = named.get(name)
    if plan is None:
        alike = {each.cls: each for full, each in named.items() if short(full) == name}
        if len(alike) > 1:
            names = ", ".join(sorted(each.name for each in alike.values()))
            raise BadRequest(f"Several types are called {name!r}: {names}. Give the whole name.")
        if not alike:
            raise BadRequest(_unknown(name, named))
        plan = next(iter(alike.values()))
    if plan.node is None:
        if fields:
            raise BadRequest(f"{plan.name} has no fields. Got: {fields!r}")
        return plan.kind()
    try:
        return msgspec.convert(fields, plan.cls)
    except (ValueError, TypeError) as error:
        raise BadRequest(f"These are no fields of {describe(plan.kind)}: {error}") from error


def _unknown(name: str, named: Iterable[str]) -> str:
    return (
        f"No type {name!r} is known to the mediator{_near(name, named)}. It knows what its "
        "components and workflows name, what a receive() has asked for, and its types: "
        "name it there."
    )


def _near(name: str, named: Iterable[str]) -> str:
    from difflib import get_close_matches

    known = {short(each): each for each in named}
    close = get_close_matches(short(name), known, 1, 0.6)
    return f"; did you mean {known[close[0]]}" if close else ""


def objection(summary: Summary, request: Request) -> str | None:
    """Why a request cannot be done to a workflow that stands so; None if it may be. What only the
    owner knows (types, free ids) is not looked at."""
    if isinstance(request, ForkRequest):
        return None
    if summary.over:
        return f"Workflow {summary.id!r} {how_it_ended(summary.status)}."
    if isinstance(request, CancelRequest) and summary.pivoted:
        return f"Workflow {summary.id!r} is past its pivot."
    if isinstance(request, ResumeRequest) and summary.pause is None:
        return f"Workflow {summary.id!r} is not paused: it is {summary.status}."
    if isinstance(request, RetryRequest | SkipRequest | ResolveRequest):
        pivot = summary.pause is not None and summary.pause.reason == "pivot"
        if pivot and not isinstance(request, SkipRequest):
            return None
        paths = [each.path for each in summary.incidents]
        if summary.status != Status.INCIDENT or not paths:
            return f"Workflow {summary.id!r} has no incident: it is {summary.status}."
        if request.path is not None and request.path not in paths:
            return (
                f"Workflow {summary.id!r} has no incident at {request.path}; there is one at: "
                f"{', '.join(paths)}."
            )
    return None
