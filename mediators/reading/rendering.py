"""Payloads made readable without the classes they were made from.

What looks into a journal from outside (a command line, a page) knows no class of its users. A
payload says the name of its class and the values of its fields, which is enough to show it.
"""

from __future__ import annotations

import base64
import datetime as dt
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from actors.payloads.plans import VERSION_KEY
from actors.payloads.tags import DATA, DICT, FROZENSET, MAKERS, SET, TIMEDELTA, TUPLE

if TYPE_CHECKING:
    from msgspec import Raw

    from mediators import history as h

_head = msgspec.msgpack.Decoder(tuple[str, int, msgspec.Raw]).decode


@attrs.frozen
class Data:
    """What a payload says: the name and version of its class, and its fields.

    ``fields`` is a dict by field name; for an enum its value, for a named tuple a list, for a
    refusal its arguments and fields. A ``name`` that is empty is that of a value without a class.
    """

    name: str
    version: int
    fields: Any

    @property
    def short(self) -> str:
        """The name without its module."""
        return short(self.name)


@attrs.frozen
class Unreadable:
    """Stands for bytes that are no payload, or of a later format."""

    text: str


def short(name: str) -> str:
    """The class's own name of a name in the journal: ``Charge`` of ``shop.orders:Charge``."""
    return name.rpartition(":")[2].rpartition(".")[2] or name


def name_of(payload: bytes | Raw) -> str:
    """The name of the class of a payload; empty for a plain value. Never raises."""
    try:
        return _head(payload)[0]
    except (msgspec.DecodeError, RecursionError):
        return "?"


def read(payload: bytes | Raw) -> Any:
    """What a payload says: :class:`Data`, or the value itself where it has no class. Never raises:
    what cannot be read is :class:`Unreadable`."""
    try:
        name, version, inner = _head(payload)
        value = _decode(inner)
    except (ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
        return Unreadable(f"{type(error).__name__}: {error}")
    return value if name == "" else Data(name, version, value)


def jsonable(value: Any) -> Any:
    """The same as JSON can say it: a class becomes ``{"type": …, "fields": …}``, bytes base64,
    everything else without a form of its own in JSON its text."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Data):
        return {"type": value.name, "version": value.version, "fields": jsonable(value.fields)}
    if isinstance(value, Unreadable):
        return {"unreadable": value.text}
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {str(key): jsonable(each) for key, each in value.items() if key != VERSION_KEY}
    if isinstance(value, list | tuple | set | frozenset):
        return [jsonable(each) for each in value]
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat()
    return str(value)


def words(value: Any, width: int | None = None) -> str:
    """The same as a reader of Python likes it: ``Charge(order='17', amount=40)``, cut after
    ``width`` characters."""
    text = _words(value)
    if width is not None and len(text) > width:
        return f"{text[: max(1, width - 1)]}…"
    return text


def render(payload: bytes | Raw, width: int | None = None) -> str:
    """A payload in words."""
    return words(read(payload), width)


def render_refusal(payload: bytes | Raw, width: int | None = None) -> str:
    """A recorded refusal in words: ``OutOfStock('moon')``."""
    found = read(payload)
    if isinstance(found, Data) and isinstance(found.fields, list) and len(found.fields) == 2:
        args = found.fields[0]
        if isinstance(args, list):
            text = f"{found.short}({', '.join(map(_words, args))})"
            return words(_Text(text), width)
    return words(found, width)


@attrs.frozen
class _Text:
    text: str


def _words(value: Any) -> str:
    if isinstance(value, Data):
        if isinstance(value.fields, dict):
            return f"{value.short}({_pairs(value.fields)})"
        if isinstance(value.fields, list):
            return f"{value.short}({', '.join(map(_words, value.fields))})"
        return f"{value.short}({_words(value.fields)})"
    if isinstance(value, _Text):
        return value.text
    if isinstance(value, Unreadable):
        return f"<cannot be read: {value.text}>"
    if isinstance(value, dict):
        pairs = (
            f"{_words(key)}: {_words(each)}" for key, each in value.items() if key != VERSION_KEY
        )
        return f"{{{', '.join(pairs)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_words, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_words, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dt.datetime | dt.date | dt.time):
        return value.isoformat(" ") if isinstance(value, dt.datetime) else value.isoformat()
    return repr(value)


def _pairs(fields: dict[Any, Any]) -> str:
    return ", ".join(f"{key}={_words(each)}" for key, each in fields.items() if key != VERSION_KEY)


def _extension(code: int, data: memoryview) -> Any:
    make = MAKERS.get(code)
    if make is not None:
        return make(data)
    if code == DATA:
        return read(bytes(data))
    inner = _decode(bytes(data))
    if code == DICT:
        return dict(zip(map(_hashable, inner[::2]), inner[1::2], strict=True))
    if code == TUPLE:
        return tuple(inner)
    if code in (SET, FROZENSET):
        return list(inner)
    if code == TIMEDELTA:
        return dt.timedelta(*inner)
    return Unreadable(f"extension {code}, written by newer code")


def _hashable(key: Any) -> Any:
    """A key of a dict: what was a data class is shown by its words."""
    try:
        hash(key)
    except TypeError:
        return _words(key)
    return key


_decode = msgspec.msgpack.Decoder(ext_hook=_extension).decode


def trouble(incident: h.Trouble) -> str:
    """An incident in a sentence or two, without its path."""
    against = f" Recorded: {incident.recorded.rstrip('.')}." if incident.recorded else ""
    instead = f" Came: {incident.came.rstrip('.')}." if incident.came else ""
    return f"{incident.what}{against}{instead}"
