"""How messages, answers and refusals become bytes and come back (J4).

A payload is ``[name, version, data]`` in msgpack. The name is that of a data class, and ``data``
the mapping of its fields, decoded through their annotations; or it is empty, and ``data`` describes
itself: what msgpack has no type for (tuple, set, Decimal, a data class in a list) is an extension,
see :mod:`actors.payloads.tags`.

An aware datetime comes back as the same instant in UTC. Nothing is imported by name, nothing is
pickled, and equal values make equal bytes under every hash seed.
"""

from __future__ import annotations

import datetime as dt
import decimal
import typing
import uuid
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
from msgspec import Raw
from msgspec import inspect as shapes
from msgspec.msgpack import Ext

from actors.messages import Refusal
from actors.payloads.names import (
    NotEncodable,
    Undecodable,
    UnknownType,
    a,
    brief,
    check,
    classes_in,
    describe,
    difference,
    is_data,
    is_empty,
    is_nameless,
    is_twin,
    journal_name,
    journal_names,
    journal_version,
    replies,
    shape,
)
from actors.payloads.plans import VERSION_KEY, Compiler, Plan, encode_plain, ordered
from actors.payloads.refusals import Refusals
from actors.payloads.tags import (
    BYTEARRAY,
    DATA,
    DATE,
    DATETIME,
    DECIMAL,
    DICT,
    FROZENSET,
    INT,
    MAKERS,
    SET,
    TIME,
    TIMEDELTA,
    TUPLE,
    UUID,
)

__all__ = [
    "ANSWERS",
    "NotEncodable",
    "Types",
    "Undecodable",
    "UnknownType",
    "journal_name",
    "journal_version",
]

ANSWERS: tuple[type[BaseException], ...] = (Refusal,)
"""The exceptions that are answers, and with them what derives from them."""

_AS_IS = frozenset((bool, float, str, bytes, type(None)))
_TEXT: dict[type, tuple[int, Callable[[Any], str]]] = {
    decimal.Decimal: (DECIMAL, str),
    dt.datetime: (DATETIME, dt.datetime.isoformat),
    dt.date: (DATE, dt.date.isoformat),
    dt.time: (TIME, dt.time.isoformat),
}
_PLAIN_VERSION = 1

_NOTHING = encode_plain(("", _PLAIN_VERSION, None))
NOTHING = Raw(_NOTHING)
"""What most messages are answered with."""

_head = msgspec.msgpack.Decoder(tuple[str, int, Raw]).decode


class Types:
    """The types whose names may be resolved in one place: in a journal, or at an end of a link.

    ``answers`` are the exceptions that are answers, with their subclasses.
    """

    reach: str = "which no annotation reaches"
    """What is said of a class that is not among them,"""
    way_out: str = "name it in one"
    """and what is to be done about it."""

    carried: tuple[type, ...] = ()
    """Further classes that a field may be annotated with; ``_other`` gives the form of a value."""

    def __init__(
        self, classes: Iterable[Any] = (), *, answers: tuple[type[BaseException], ...] = ANSWERS
    ) -> None:
        self._plans: dict[Any, Plan] = {}
        self._named: dict[str, Plan] = {}
        self._sure: dict[type, Callable[[Any], Any]] = {}
        """The plans whose bytes need no second look."""
        self._added: set[type] = set()
        self._refused: dict[type, str] = {}
        """Why a class that was offered is not here."""
        self.handled: tuple[str, ...] = ()
        """The names of the messages that components handle, for what is said of a stranger."""
        self._compiler = Compiler(self._plan, self._plain, self.carried)
        self._decode_plain = msgspec.msgpack.Decoder(ext_hook=self._extension).decode
        self._refusals = Refusals(answers, self._plain, self._decode_plain)
        for each in classes:
            self.add(each)

    # -- declaring

    def add(self, cls: Any) -> None:
        """Register a class, what its fields name and, for a ``Call[R]``, what ``R`` names.

        An annotation such as ``list[Payment]`` registers what is inside; what has no name (``int``,
        ``Any``, ``None``) is passed over. Raises TypeError naming class and field for what would
        not come back, for a gap in the upcasts, and for two classes of one name.
        """
        if isinstance(cls, type) and cls in self._added:
            return
        if isinstance(cls, type) and issubclass(cls, BaseException):
            return  # an answer's class is known by what it derives from
        if is_data(cls):
            self._plan(cls)
            self._added.add(cls)
            for reply in replies(cls):
                self._add_inside(reply)
        elif isinstance(cls, type) and typing.get_origin(cls) is None and not is_nameless(cls):
            raise TypeError(
                f"{describe(cls)} has no fields that could be written down; make it an attrs "
                f"class. Got: {cls!r}"
            )
        else:
            self._add_inside(cls)

    def knows(self, cls: type) -> bool:
        """Whether a class is registered, or was offered and could not be."""
        return cls in self._plans or cls in self._refused

    def offer(self, cls: Any) -> None:
        """Register ``cls`` if it can be; if not, encoding one of its instances says why.

        For messages that may never be written down. What they are answered with is offered too.
        """
        if isinstance(cls, type) and (cls in self._added or cls in self._refused):
            return
        plans, named, added = dict(self._plans), dict(self._named), set(self._added)
        try:
            self.add(cls)
        except TypeError as error:
            self._plans, self._named, self._added = plans, named, added
            if isinstance(cls, type):
                self._refused[cls] = str(error)
                for reply in replies(cls):
                    self._offer_inside(reply)

    def _offer_inside(self, annotation: Any) -> None:
        if is_data(annotation):
            self.offer(annotation)
            return
        for each in typing.get_args(annotation):
            self._offer_inside(each)

    def _add_inside(self, annotation: Any) -> None:
        if is_data(annotation):
            self.add(annotation)
            return
        if type(annotation).__name__ == "TypeAliasType":
            self._add_inside(annotation.__value__)
        origin = typing.get_origin(annotation)
        if is_data(origin):
            self._add_inside(origin)
        if origin is typing.Literal:
            return
        for each in typing.get_args(annotation):
            for one in each if isinstance(each, list) else (each,):
                self._add_inside(one)

    def _plan(self, cls: Any) -> Plan:
        plan = self._plans.get(cls)
        if plan is not None:
            return plan
        kind: type = typing.get_origin(cls) or cls
        node = None if is_empty(kind) else shape(cls)
        check(kind, node)
        plan = Plan(cls, node, self._extension)
        if cls is kind:
            for name in (plan.name, *journal_names(kind)):
                self._claim(name, plan)
        self._plans[cls] = plan
        try:
            self._compiler.finish(plan)
        except TypeError:
            del self._plans[cls]
            self._named = {name: each for name, each in self._named.items() if each is not plan}
            raise
        for each in () if node is None else classes_in(node):
            if each not in self._plans:
                self._plan(each)
        return plan

    def _claim(self, name: str, plan: Plan) -> None:
        other = self._named.get(name)
        if other is not None and other.kind is not plan.kind:
            twins = is_twin(other.kind, plan.kind), is_twin(plan.kind, other.kind)
            if twins[1]:
                return
            if not twins[0]:
                raise TypeError(
                    f"Two classes have the name {name!r}; give one of them a journal_name of its "
                    f"own. Got: {other.kind!r} and {plan.kind!r}"
                )
        self._named[name] = plan

    # -- encoding

    def encode(self, value: object, what: str = "the value") -> bytes:
        """The bytes of a value, always the same for an equal one.

        Raises NotEncodable, which names ``what``, the class and the field, for what cannot be
        written down or would not come back as what it was. The types of all values are looked at
        each time; what only shows once it is read again, such as an ``__attrs_post_init__`` that
        changes fields, on the first instance of a class (with constraints: on every one).
        """
        if value is None:
            return _NOTHING
        record = self._sure.get(type(value))
        if record is not None:
            try:
                return encode_plain(record(value))
            except Exception:
                pass
        return self._encode(value, what)

    def _encode(self, value: Any, what: str) -> bytes:
        plan = self._plans.get(type(value))
        try:
            if plan is None:
                return encode_plain(("", _PLAIN_VERSION, self._plain(value, "it")))
            data = encode_plain(plan.record(value))
        except NotEncodable as error:
            raise NotEncodable(f"Cannot write down {what}: {error}") from None
        except (TypeError, ValueError, OverflowError, RecursionError, AttributeError) as error:
            raise NotEncodable(
                f"Cannot write down {what}: {self._explain(plan, value, error)}"
            ) from error
        if plan.exact or type(value) not in self._sure:
            self._look_twice(plan, value, data, what)
        return data

    def _look_twice(self, plan: Plan, value: Any, data: bytes, what: str) -> None:
        """What annotations do not show (``__attrs_post_init__``, constraints), a value does."""
        try:
            found = self.decode(data)
            unchanged = encode_plain(plan.record(found)) == data
        except (Undecodable, NotEncodable) as error:
            raise NotEncodable(
                f"Cannot write down {what}, it would not come back: {error}"
            ) from error
        if not unchanged:
            raise NotEncodable(
                f"Cannot write down {what}, it would not come back as what it is: "
                f"{difference(value, found, describe(plan.kind)) or brief(value)}"
            )
        if not plan.exact:
            self._sure[plan.kind] = plan.record

    def _explain(self, plan: Plan | None, value: Any, error: Exception) -> str:
        where = describe(type(value))
        if isinstance(error, RecursionError):
            return f"{where} is nested too deeply, or holds itself"
        for name, part in () if plan is None else plan.parts.items():
            try:
                encode_plain(part(getattr(value, name)))
            except Exception as inner:
                error = inner
                where = f"{where}.{name}"
                value = getattr(value, name, "nothing")
                break
        return f"{where}: {error}. Got: {brief(value)}"

    def _plain(self, value: Any, where: str) -> Any:
        """The self-describing form of a value. Raises NotEncodable naming ``where``."""
        kind: type = type(value)
        if kind in _AS_IS:
            return value
        if kind is int:
            if -(1 << 63) <= value < 1 << 64:
                return value
            return Ext(INT, b"%x" % value)
        if kind is list:
            return [self._plain(each, where) for each in value]
        if kind is dict:
            if all(type(key) is str for key in value):
                return {key: self._plain(each, where) for key, each in value.items()}
            pairs = [self._plain(each, where) for pair in value.items() for each in pair]
            return Ext(DICT, encode_plain(pairs))
        if kind is tuple:
            return Ext(TUPLE, encode_plain([self._plain(each, where) for each in value]))
        if kind is set or kind is frozenset:
            members = ordered(self._plain(each, where) for each in value)
            return Ext(SET if kind is set else FROZENSET, encode_plain(members))
        if kind is uuid.UUID:
            return Ext(UUID, value.bytes)
        if kind is dt.timedelta:
            return Ext(TIMEDELTA, encode_plain((value.days, value.seconds, value.microseconds)))
        if kind is dt.datetime and value.utcoffset() is not None:
            return value.astimezone(dt.UTC)
        if kind is bytearray:
            return Ext(BYTEARRAY, bytes(value))
        text = _TEXT.get(kind)
        if text is not None:
            return Ext(text[0], text[1](value).encode())
        plan = self._plans.get(kind)
        if plan is not None:
            return Ext(DATA, encode_plain(plan.record(value)))
        return self._other(value, where)

    def _other(self, value: Any, where: str) -> Any:
        """The form of a value that is neither plain nor of a registered class."""
        raise NotEncodable(f"{where} holds {self._stranger(value)}")

    def _stranger(self, value: Any) -> str:
        kind = type(value)
        if kind in self._refused:
            return f"{a(kind)}, which cannot be: {self._refused[kind]}"
        if is_data(kind):
            return f"{a(kind)}, {self.reach}; {self.way_out}. Got: {brief(value)}"
        return (
            "what has no written form. Accepted: None, bool, int, float, str, bytes, "
            "bytearray, datetime, date, time, timedelta, Decimal, UUID, list, tuple, set, "
            "frozenset, dict and registered data classes. "
            f"Got: {brief(value)}, {a(kind)}"
        )

    # -- decoding

    def decode(self, data: bytes | Raw) -> Any:
        """The value of recorded bytes, brought to the current version.

        Raises UnknownType for a name that is not registered and for a version later than ours,
        Undecodable naming type and field for data that does not fit.
        """
        if data is NOTHING:
            return None
        try:
            name, version, inner = _head(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise Undecodable(f"This is no payload: {error}. Got: {bytes(data)[:40]!r}") from error
        plan = self._named.get(name)
        try:
            if plan is not None:
                if version == plan.direct:
                    return plan.decode(inner)
                return self._revive(plan, version, inner)
            if name == "" and version == _PLAIN_VERSION:
                return self._decode_plain(inner)
        except (Undecodable, UnknownType):
            raise
        except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
            raise Undecodable(
                f"A recorded {name or 'value'} (version {version}) does not fit: {error}"
            ) from error
        raise UnknownType(
            name,
            version,
            f"A record names the type {name!r} (version {version}), {self.reach}; {self.way_out} "
            "or, if the class has been renamed, give it journal_names with its old name.",
        )

    def _revive(self, plan: Plan, version: int, data: Raw) -> Any:
        """What the fast way does not do: other versions, classes inside that have their own."""
        if version > plan.version:
            raise plan.newer(version)
        if plan.node is None:
            return plan.kind()
        fields = self._upcast(plan.node, self._decode_plain(data), version)
        return msgspec.convert(fields, plan.cls)

    def _upcast(self, node: Any, data: Any, version: int | None = None) -> Any:
        """Bring the mappings in ``data`` to the current version of the classes they are for."""
        if isinstance(node, shapes.DataclassType | shapes.StructType):
            if type(data) is not dict:
                return data
            plan = self._plan(node.cls)
            stored = data.pop(VERSION_KEY, 1) if version is None else version
            data = plan.climb(stored, data)
            for field in node.fields:
                if field.encode_name in data:
                    data[field.encode_name] = self._upcast(field.type, data[field.encode_name])
            return data
        if isinstance(node, shapes.UnionType):
            for each in node.types:
                data = self._upcast(each, data) if _fits(each, data) else data
            return data
        if isinstance(node, shapes.DictType) and type(data) is dict:
            return {key: self._upcast(node.value_type, each) for key, each in data.items()}
        if isinstance(node, shapes.TypedDictType) and type(data) is dict:
            types = {each.encode_name: each.type for each in node.fields}
            return {
                key: self._upcast(types[key], each) if key in types else each
                for key, each in data.items()
            }
        if isinstance(node, shapes.TupleType) and type(data) is list:
            return [self._upcast(*each) for each in zip(node.item_types, data, strict=False)]
        if isinstance(node, shapes.NamedTupleType) and type(data) is list:
            types_ = [each.type for each in node.fields]
            return [self._upcast(*each) for each in zip(types_, data, strict=False)]
        if isinstance(node, shapes.CollectionType) and type(data) is list:
            return [self._upcast(node.item_type, each) for each in data]
        return data

    def _extension(self, code: int, data: memoryview) -> Any:
        make = MAKERS.get(code)
        if make is not None:
            return make(data)
        if code == DATA:
            return self.decode(bytes(data))
        if code == DICT:
            pairs = self._decode_plain(data)
            return dict(zip(pairs[::2], pairs[1::2], strict=True))
        if code in _COLLECTIONS:
            return _COLLECTIONS[code](self._decode_plain(data))
        raise UnknownType("", code, f"A record has the extension {code}, written by newer code.")

    # -- refusals

    def encode_refusal(self, error: BaseException) -> bytes:
        """The bytes of a refusal: its type's name, args and fields. Raises NotEncodable."""
        return self._refusals.encode(error)

    def decode_refusal(self, data: bytes | Raw) -> BaseException:
        """The refusal of recorded bytes, of the very type that was raised, without ``__init__``.

        Raises UnknownType for one whose class is not there, Undecodable for what is none.
        """
        return self._refusals.decode(data)

    # -- comparing

    def same_bytes(self, recorded: bytes | Raw, encoded: bytes | Raw) -> bool:
        """Whether two payloads are equal once decoded and upcast.

        Types count. What a data class leaves out of its own ``==`` does not.
        """
        if bytes(recorded) == bytes(encoded):
            return True
        one: Any = self.decode(recorded)
        other: Any = self.decode(encoded)
        return difference(one, other, "") is None or (
            type(one) is type(other) and type(one) in self._plans and bool(one == other)
        )


_COLLECTIONS: dict[int, Callable[[Any], Any]] = {
    TUPLE: tuple,
    SET: set,
    FROZENSET: frozenset,
    TIMEDELTA: lambda parts: dt.timedelta(*parts),
}


def _fits(node: Any, data: Any) -> bool:
    if isinstance(node, shapes.DataclassType | shapes.TypedDictType | shapes.DictType):
        return type(data) is dict
    if isinstance(node, shapes.StructType):
        return type(data) is dict and (node.tag is None or data.get(node.tag_field) == node.tag)
    return isinstance(node, shapes.TupleType | shapes.NamedTupleType | shapes.CollectionType)
