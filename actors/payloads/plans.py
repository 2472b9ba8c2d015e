"""How an instance of one class becomes plain data, made once for each class (J4).

What msgspec says about the annotations of a class is turned into one function that builds the
mapping of its fields and looks at the type of each value on the way: a value that would come back
as something else is found while its maker is still on the stack.
"""

from __future__ import annotations

import datetime as dt
import decimal
import typing
import uuid
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import msgspec
from msgspec import Raw
from msgspec import inspect as shapes

from actors.payloads.names import (
    CLASSES,
    NotEncodable,
    Undecodable,
    UnknownType,
    a,
    brief,
    describe,
    journal_name,
    journal_version,
    upcasts_of,
    walk,
)

Convert: TypeAlias = Callable[[Any], Any]

encode_plain = msgspec.msgpack.Encoder().encode
"""Without an order of its own: a dict comes back in the order it was made in."""

VERSION_KEY = ""
"""Where the mapping of a nested class keeps its version; without it, the version is 1."""

_EXACT: dict[type[shapes.Type], type] = {
    shapes.BoolType: bool,
    shapes.IntType: int,
    shapes.StrType: str,
    shapes.BytesType: bytes,
    shapes.ByteArrayType: bytearray,
    shapes.FloatType: float,
    shapes.DecimalType: decimal.Decimal,
    shapes.UUIDType: uuid.UUID,
    shapes.DateTimeType: dt.datetime,
    shapes.DateType: dt.date,
    shapes.TimeType: dt.time,
    shapes.TimeDeltaType: dt.timedelta,
    shapes.NoneType: type(None),
}
_SCALARS = (bool, int, float, str, bytes, type(None))
_LIMITS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "tz")
_ACCEPTED = (
    "Accepted: None, bool, int, float, str, bytes, datetime, date, time, timedelta, Decimal, UUID, "
    "Enum, Literal, list, tuple, set, frozenset and dict of these, attrs classes, dataclasses, "
    "msgspec.Struct, NamedTuple, and Any."
)


class Plan:
    """What is known of one class: see the module. ``cls`` may be a generic with its arguments.

    ``fields`` makes the plain data of an instance, ``record`` the name, the version and the data;
    both raise NotEncodable naming the field. ``exact`` is whether every value needs a look at what
    comes back. ``direct`` is the version whose data ``decode`` takes as they are, or 0; ``parts``
    makes plain data of each field.
    """

    __slots__ = (
        "cls",
        "decode",
        "direct",
        "exact",
        "fields",
        "kind",
        "name",
        "node",
        "parts",
        "record",
        "upcasts",
        "version",
    )

    fields: Convert
    record: Convert

    def __init__(self, cls: Any, node: shapes.Type | None, hook: Callable[[int, memoryview], Any]):
        origin: type = typing.get_origin(cls) or cls
        self.cls = cls
        self.kind = origin
        self.node = node
        self.name = journal_name(origin)
        self.version = journal_version(origin)
        self.upcasts = upcasts_of(origin)
        inside = [] if node is None else list(walk(node))
        self.exact = any(
            getattr(each, limit, None) is not None for each in inside for limit in _LIMITS
        )
        nested = any(
            journal_version(typing.get_origin(each.cls) or each.cls) > 1
            for each in inside
            if isinstance(each, CLASSES) and each is not node
        )
        self.direct = 0 if nested or node is None else self.version
        self.parts: dict[str, Convert] = {}
        self.decode: Callable[[Any], Any] = (
            msgspec.msgpack.Decoder(dict).decode
            if node is None
            else msgspec.msgpack.Decoder(cls, ext_hook=hook).decode
        )

    def climb(self, version: int, fields: dict[str, Any]) -> dict[str, Any]:
        """Every upcast from the stored version to ours, one after the other."""
        if version > self.version:
            raise self.newer(version)
        for each in range(version, self.version):
            step = f"The upcast of {self.name!r} from version {each} to {each + 1}"
            try:
                fields = self.upcasts[each](fields)
            except Exception as error:
                raise Undecodable(f"{step} raised {type(error).__name__}: {error}") from error
            if type(fields) is not dict:
                raise Undecodable(f"{step} must return a dict of the fields. Got: {brief(fields)}")
        return fields

    def newer(self, version: int) -> UnknownType:
        """What says that a record was written by newer code."""
        return UnknownType(
            self.name,
            version,
            f"A record of {self.name!r} has version {version} and was written by newer code; "
            f"this code knows it up to version {self.version}.",
        )


class Compiler:
    """Makes the functions of a :class:`Plan` out of its annotations.

    ``plan`` gives the plan of a class inside, ``plain`` the self-describing form of a value whose
    annotation says nothing, and of one of the classes that are ``carried``.
    """

    def __init__(
        self,
        plan: Callable[[Any], Plan],
        plain: Callable[[Any, str], Any],
        carried: tuple[type, ...] = (),
    ) -> None:
        self._plan = plan
        self._plain = plain
        self._carried = carried

    def finish(self, plan: Plan) -> None:
        """Give ``plan`` its ``fields`` and ``record``. Raises TypeError naming class and field."""
        node = plan.node
        if isinstance(node, shapes.EnumType):
            plan.fields = lambda value: value
        elif isinstance(node, shapes.NamedTupleType):
            for each in node.fields:
                where = f"{describe(plan.kind)}.{each.name}"
                plan.parts[each.name] = self.convert(each.type, where)
            parts = plan.parts.values()
            plan.fields = lambda value: [one(each) for one, each in zip(parts, value, strict=True)]
        else:
            self._generate(plan)
            return
        name, version = plan.name, plan.version
        plan.record = lambda value: (name, version, plan.fields(value))

    def _generate(self, plan: Plan) -> None:
        node: Any = plan.node
        scope: dict[str, Any] = {"name": plan.name, "version": plan.version}
        reads: list[str] = []
        pairs: list[str] = []
        if isinstance(node, shapes.StructType) and node.tag is not None:
            pairs.append(f"{node.tag_field!r}: {node.tag!r}")
        for number, field in enumerate(() if node is None else node.fields):
            it = f"f{number}"
            where = f"{describe(plan.kind)}.{field.name}"
            plan.parts[field.name] = scope[f"c{number}"] = self.convert(field.type, where)
            reads.append(f"    {it} = value.{field.name}")
            call = f"{it} = c{number}({it})"
            test = _test(field.type, it, scope)
            reads.append(f"    if {test}: {call}" if test else f"    {call}")
            pairs.append(f"{field.encode_name!r}: {it}")
        if node is None:
            scope["state"] = _no_state
            reads.append("    state(value)")
        body = "\n".join(reads)
        mapping = ", ".join(pairs)
        marker = f"{VERSION_KEY!r}: {plan.version}, " if plan.version > 1 else ""
        source = (
            f"def fields(value):\n{body}\n    return {{{marker}{mapping}}}\n"
            f"def record(value):\n{body}\n    return (name, version, {{{mapping}}})\n"
        )
        exec(compile(source, f"<fields of {plan.name}>", "exec"), scope)
        plan.fields = scope["fields"]
        plan.record = scope["record"]

    def convert(self, node: Any, where: str) -> Convert:
        """What makes plain data of a value at ``where``. Raises TypeError for what has none."""
        if isinstance(node, shapes.Metadata):
            return self.convert(node.type, where)
        if _says_nothing(node) or (
            isinstance(node, shapes.CustomType) and _origin(node) in self._carried
        ):
            plain = self._plain
            return lambda value: plain(value, where)
        if isinstance(node, shapes.FloatType):
            return lambda value: _float(value, where)
        if type(node) in _EXACT:
            return _exactly(_EXACT[type(node)], where)
        if isinstance(node, shapes.EnumType):
            return _exactly(node.cls, where)
        if isinstance(node, shapes.LiteralType):
            return _one_of(node.values, where)
        if isinstance(node, CLASSES):
            return self._nested(node, where)
        if isinstance(node, shapes.UnionType):
            return self._union(node, where)
        if isinstance(node, shapes.TypedDictType):
            return self._typed_dict(node, where)
        if isinstance(node, shapes.DictType):
            return self._dict(node, where)
        if isinstance(node, shapes.TupleType):
            return self._tuple(node, where)
        if isinstance(node, shapes.CollectionType):
            return self._collection(node, where)
        raise TypeError(
            f"{where} is annotated with what cannot be written down. {_ACCEPTED} "
            f"Got: {describe(getattr(node, 'cls', type(node)))}"
        )

    def _nested(self, node: Any, where: str) -> Convert:
        plan = self._plan(node.cls)
        kind = plan.kind

        def convert(value: Any) -> Any:
            if type(value) is not kind:
                raise _misfit(where, value, kind)
            return plan.fields(value)

        return convert

    def _union(self, node: Any, where: str) -> Convert:
        members = {kind_of(each): self.convert(each, where) for each in node.types}
        literal = next((each for each in node.types if isinstance(each, shapes.LiteralType)), None)
        if literal is not None:
            one_of = members.pop(Any)
            members.update((type(each), one_of) for each in literal.values)
        if float in members and int not in members:
            members[int] = members[float]
        names = " | ".join(describe(each) for each in members)

        def convert(value: Any) -> Any:
            one = members.get(type(value))
            if one is None:
                raise _misfit(where, value, names)
            return one(value)

        return convert

    def _typed_dict(self, node: Any, where: str) -> Convert:
        keys = {each.encode_name: self.convert(each.type, where) for each in node.fields}
        required = {each.encode_name for each in node.fields if each.required}

        def convert(value: Any) -> Any:
            if type(value) is not dict or not required <= set(value) <= set(keys):
                raise _misfit(where, value, describe(node.cls))
            return {key: keys[key](each) for key, each in value.items()}

        return convert

    def _dict(self, node: Any, where: str) -> Convert:
        key = self._key(node.key_type, where)
        item = self.convert(node.value_type, where)

        def convert(value: Any) -> Any:
            if type(value) is not dict:
                raise _misfit(where, value, dict)
            return {key(name): item(each) for name, each in value.items()}

        return convert

    def _key(self, node: Any, where: str) -> Convert:
        if isinstance(node, shapes.Metadata):
            return self._key(node.type, where)
        if _says_nothing(node):
            return lambda value: _scalar(value, where)
        if isinstance(node, shapes.TupleType | shapes.VarTupleType):
            items = node.item_types if isinstance(node, shapes.TupleType) else (node.item_type,)
            for each in items:
                self._key(each, where)
        elif isinstance(node, shapes.UnionType):
            for each in node.types:
                self._key(each, where)
        elif type(node) not in _EXACT and not isinstance(
            node, shapes.EnumType | shapes.LiteralType
        ):
            raise TypeError(
                f"{where} has keys that cannot be written down. Accepted: plain values, Enum and "
                f"tuples of these. Got: {describe(kind_of(node))}"
            )
        return self.convert(node, where)

    def _tuple(self, node: Any, where: str) -> Convert:
        items = [self.convert(each, where) for each in node.item_types]

        def convert(value: Any) -> Any:
            if type(value) is not tuple or len(value) != len(items):
                raise _misfit(where, value, f"tuple of {len(items)}")
            return tuple([one(each) for one, each in zip(items, value, strict=True)])

        return convert

    def _collection(self, node: Any, where: str) -> Convert:
        item = self.convert(node.item_type, where)
        kind = kind_of(node)

        def convert(value: Any) -> Any:
            if type(value) is not kind:
                raise _misfit(where, value, kind)
            made = [item(each) for each in value]
            if kind is list:
                return made
            return tuple(made) if kind is tuple else ordered(made)

        return convert


def ordered(items: Iterable[Any]) -> list[Raw]:
    """The members of a set in an order that does not depend on hashes."""
    return [Raw(each) for each in sorted(encode_plain(each) for each in items)]


def kind_of(node: Any) -> Any:
    """The class an instance of ``node`` has."""
    if isinstance(node, shapes.Metadata):
        return kind_of(node.type)
    if isinstance(node, shapes.ListType):
        return list
    if isinstance(node, shapes.SetType):
        return set
    if isinstance(node, shapes.FrozenSetType):
        return frozenset
    if isinstance(node, shapes.TupleType | shapes.VarTupleType):
        return tuple
    if isinstance(node, shapes.DictType | shapes.TypedDictType):
        return dict
    if isinstance(node, (*CLASSES, shapes.EnumType, shapes.CustomType)):
        return _origin(node)
    return _EXACT.get(type(node), Any)


def _origin(node: Any) -> Any:
    """The class a node is of, without the arguments of a generic one."""
    return typing.get_origin(node.cls) or node.cls


def _says_nothing(node: Any) -> bool:
    return (
        isinstance(node, shapes.AnyType)
        or (isinstance(node, shapes.CustomType) and node.cls is object)
        or (isinstance(node, shapes.UnionType) and any(map(_says_nothing, node.types)))
    )


def _test(node: Any, it: str, scope: dict[str, Any]) -> str | None:
    """The text of a test that is false for a value which can stay as it is."""
    nothing = ""
    if isinstance(node, shapes.UnionType) and len(node.types) == 2:
        rest = [each for each in node.types if not isinstance(each, shapes.NoneType)]
        if len(rest) == 1:
            node = rest[0]
            nothing = f"{it} is not None and "
    kind = node.cls if isinstance(node, shapes.EnumType) else _EXACT.get(type(node))
    if kind is None:
        return f"{it} is not None" if nothing else None
    known = f"t_{kind.__name__}"
    if scope.setdefault(known, kind) is not kind:
        return None
    return f"{nothing}type({it}) is not {known}"


def _exactly(kind: type, where: str) -> Convert:
    def convert(value: Any) -> Any:
        if type(value) is not kind:
            raise _misfit(where, value, kind)
        return value

    return convert


def _one_of(values: tuple[Any, ...], where: str) -> Convert:
    def convert(value: Any) -> Any:
        if not any(type(value) is type(each) and value == each for each in values):
            raise _misfit(where, value, f"one of {values!r}")
        return value

    return convert


def _float(value: Any, where: str) -> Any:
    if type(value) is float:
        return value
    if type(value) is int and abs(value) < 1 << 1000 and int(float(value)) == value:
        return float(value)
    raise _misfit(where, value, float)


def _scalar(value: Any, where: str) -> Any:
    if type(value) not in _SCALARS:
        raise NotEncodable(
            f"{where} has a key that would not come back as what it is. Accepted: None, bool, int, "
            f"float, str, bytes. Got: {value!r}, {a(type(value))}"
        )
    return value


def _no_state(value: Any) -> None:
    if getattr(value, "__dict__", None):
        raise NotEncodable(
            f"{describe(type(value))} declares no fields, so what was set on it would be lost; "
            f"make it an attrs class. Got: {vars(value)!r}"
        )


def _misfit(where: str, value: object, wanted: Any) -> NotEncodable:
    lost = ""
    if isinstance(wanted, type) and isinstance(value, wanted):
        lost = f", which would come back as {a(wanted)}"
    return NotEncodable(
        f"{where} is annotated with {wanted if isinstance(wanted, str) else describe(wanted)}. "
        f"Got: {brief(value)}, {a(type(value))}{lost}"
    )
