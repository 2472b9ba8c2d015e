"""The names under which classes are written down, their versions, and what is asked of a class at
its declaration.

Everything here is a function over classes; :mod:`actors.payloads.plans` makes what runs for
each value.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import inspect
import sys
import typing
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeGuard, cast

import attrs
import msgspec
from msgspec import inspect as shapes

from actors.messages import Call

CLASSES = (shapes.DataclassType, shapes.StructType, shapes.NamedTupleType)


class NotEncodable(TypeError):
    """A value cannot be written down, or would not come back as what it was."""


class Undecodable(ValueError):
    """Recorded bytes do not fit the class they name."""


class UnknownType(LookupError):
    """A record names a type that is not known here, or a later version of one that is.

    ``name`` and ``version`` are those of the record, ``text`` says what to do.
    """

    def __init__(self, name: str, version: int, text: str) -> None:
        super().__init__(name, version, text)
        self.name = name
        self.version = version
        self.text = text

    def __str__(self) -> str:
        return self.text


def journal_name(cls: type) -> str:
    """The name ``cls`` is written down under: ``module:qualname``, or its own ``journal_name``."""
    name = vars(cls).get("journal_name")
    if name is None or not _declared(cls, name):
        return f"{cls.__module__}:{cls.__qualname__}"
    if not isinstance(name, str) or not name:
        raise TypeError(
            f"{describe(cls)}.journal_name must be a str that is not empty. Got: {name!r}"
        )
    return name


def journal_names(cls: type) -> tuple[str, ...]:
    """The names ``cls`` had before, which resolve to it as well."""
    names = vars(cls).get("journal_names", ())
    if not _declared(cls, names):
        return ()
    if not isinstance(names, tuple | list) or not all(isinstance(each, str) for each in names):
        raise TypeError(
            f"{describe(cls)}.journal_names must be a tuple of the names it had before, "
            f'("old.module:Old",). Got: {names!r}'
        )
    return tuple(names)


def journal_version(cls: type) -> int:
    """The version of the fields of ``cls``: 1, or its class attribute ``version``."""
    if issubclass(cls, enum.Enum) or "version" in field_names(cls):
        return 1
    version = getattr(cls, "version", 1)
    if not _declared(cls, version):
        return 1
    if type(version) is not int or version < 1:
        raise TypeError(f"{describe(cls)}.version must be an int from 1 on. Got: {version!r}")
    return version


def upcasts_of(cls: type) -> dict[int, Callable[[dict[str, Any]], dict[str, Any]]]:
    """The functions that lead from each version to the next. Raises TypeError for a gap."""
    if issubclass(cls, enum.Enum) or "upcasts" in field_names(cls):
        return {}
    version = journal_version(cls)
    upcasts = getattr(cls, "upcasts", {})
    if not _declared(cls, upcasts):
        return {}
    if not isinstance(upcasts, dict) or not all(callable(each) for each in upcasts.values()):
        raise TypeError(
            f"{describe(cls)}.upcasts must map each earlier version to the function that leads to "
            f"the next, {{1: from_1_to_2}}. Got: {upcasts!r}"
        )
    missing = [str(each) for each in range(1, version) if each not in upcasts]
    if missing:
        raise TypeError(
            f"{describe(cls)} is at version {version}, but its upcasts lack a function from "
            f"version {', '.join(missing)} to the next. Got: upcasts from {sorted(upcasts)}"
        )
    if set(upcasts) != set(range(1, version)):
        raise TypeError(
            f"{describe(cls)} is at version {version}, so its upcasts lead from 1 to {version - 1} "
            f"at most. Got: upcasts from {sorted(upcasts, key=repr)}"
        )
    return upcasts


def describe(cls: Any) -> str:
    """The name of a class for messages to programmers."""
    return str(getattr(cls, "__qualname__", None) or cls)


def a(cls: Any) -> str:
    """The same with its article."""
    name = describe(cls)
    return f"{'an' if name[:1] in 'AEIOaeio' else 'a'} {name}"


def is_data(cls: Any) -> TypeGuard[type]:
    """Whether ``cls`` is a class whose instances are written down under a name."""
    if not isinstance(cls, type) or issubclass(cls, BaseException):
        return False
    return bool(
        attrs.has(cls)
        or hasattr(cls, "__dataclass_fields__")
        or (issubclass(cls, msgspec.Struct) and cls is not msgspec.Struct)
        or (issubclass(cls, enum.Enum) and len(cls.__members__) > 0)
        or (issubclass(cls, tuple) and hasattr(cls, "_fields"))
        or is_empty(cls)
    )


def is_empty(cls: type) -> bool:
    """Whether ``cls`` is a message without fields and without a state: ``class Stop(Call[None])``.

    attrs and dataclasses of their own are not meant.
    """
    return (
        issubclass(cls, Call)
        and not attrs.has(cls)
        and not hasattr(cls, "__dataclass_fields__")
        and not issubclass(cls, msgspec.Struct | tuple)
        and cls.__init__ is object.__init__
        and cls.__new__ in (object.__new__, Call.__new__)
        and not any(vars(each).get("__slots__") for each in cls.__mro__)
    )


def field_names(cls: type) -> tuple[str, ...]:
    """The names of the fields of a data class, in the order of their declaration."""
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_fields__
    if attrs.has(cls):
        return tuple(each.name for each in attrs.fields(cls))
    if hasattr(cls, "__dataclass_fields__"):
        return tuple(each.name for each in dataclasses.fields(cast("Any", cls)))
    return tuple(getattr(cls, "_fields", ())) if issubclass(cls, tuple) else ()


def _declared(cls: type, value: object) -> bool:
    """Whether a class attribute is a value, and not the descriptor of a slot or a property."""
    return not hasattr(type(value), "__get__")


def walk(node: shapes.Type) -> Iterator[shapes.Type]:
    """``node`` and everything inside, each once."""
    seen: set[int] = set()
    todo = [node]
    while todo:
        each = todo.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        todo.extend(reversed(list(_inside(each))))


def _inside(node: Any) -> Iterator[shapes.Type]:
    if isinstance(node, (*CLASSES, shapes.TypedDictType)):
        for field in node.fields:
            yield field.type
    elif isinstance(node, shapes.UnionType):
        yield from node.types
    elif isinstance(node, shapes.TupleType):
        yield from node.item_types
    elif isinstance(node, shapes.DictType):
        yield node.key_type
        yield node.value_type
    elif isinstance(node, shapes.CollectionType):
        yield node.item_type
    elif isinstance(node, shapes.Metadata):
        yield node.type


def shape(cls: Any) -> shapes.Type:
    """What msgspec makes of a class. Raises TypeError naming the field it cannot work with."""
    try:
        node = shapes.type_info(cls)
        msgspec.msgpack.Decoder(cls)
    except Exception as error:
        raise TypeError(_culprit(cls, error)) from error
    return node


def _culprit(cls: Any, error: Exception) -> str:
    kind: type = typing.get_origin(cls) or cls
    if isinstance(error, NameError):
        text = f"{describe(kind)} has an annotation which cannot be resolved: {error}"
    elif isinstance(error, KeyError) and set(error.args) & set(field_names(kind)):
        return f"{describe(kind)}.{error.args[0]} has no annotation. Got: no annotation"
    else:
        text = f"{describe(kind)} cannot be written down: {error}"
    for base in reversed(kind.__mro__):
        try:
            annotations = inspect.get_annotations(base)
        except NameError:
            continue
        for name, annotation in annotations.items():
            holder = type("Holder", (), {"__annotations__": {name: annotation}})
            holder.__module__ = base.__module__
            try:
                hint = typing.get_type_hints(holder, include_extras=True)[name]
                if typing.ClassVar not in (hint, typing.get_origin(hint)):
                    shapes.type_info(hint)
            except NameError as unknown:
                return (
                    f"{describe(kind)}.{name} is annotated with {annotation!r}, which cannot be "
                    f"resolved: {unknown}. Define the class it names at module level, or do not "
                    f"postpone annotations there. Got: {annotation!r}"
                )
            except Exception as inner:
                return f"{describe(kind)}.{name} cannot be written down: {inner}"
    return text


def check(kind: type, node: Any) -> None:
    """Raise TypeError for a class whose instances would not come back."""
    if attrs.has(kind):
        for each in attrs.fields(kind):
            if each.init and each.name.startswith("_"):
                raise TypeError(
                    f"{describe(kind)}.{each.name} is private, and its name differs from that of "
                    f"its argument; what is written down has public fields. Got: {each.name!r}"
                )
            if not each.init and each.default is attrs.NOTHING:
                raise TypeError(
                    f"{describe(kind)}.{each.name} is no argument and has no default, so there may "
                    f"be nothing to write down; give it a default. Got: init=False"
                )
    if isinstance(node, shapes.StructType) and node.array_like:
        raise TypeError(
            f"{describe(kind)} is array_like; fields are written down by name. Got: {kind!r}"
        )
    if isinstance(node, shapes.NamedTupleType) and journal_version(kind) > 1:
        raise TypeError(
            f"{describe(kind)} is a NamedTuple, whose fields are written down without names; what "
            f"has versions is an attrs class. Got: version {journal_version(kind)}"
        )


def classes_in(node: shapes.Type) -> list[Any]:
    return [
        typing.get_origin(each.cls) or each.cls
        for each in walk(node)
        if isinstance(
            each,
            shapes.DataclassType | shapes.StructType | shapes.NamedTupleType | shapes.EnumType,
        )
    ]


def replies(cls: type) -> list[Any]:
    """What stands in the brackets of ``Call[R]``, however far up."""
    found: list[Any] = []
    for base in cls.__mro__:
        for each in vars(base).get("__orig_bases__", ()):
            origin = typing.get_origin(each)
            if isinstance(origin, type) and issubclass(origin, Call):
                found.extend(_resolved(one, base) for one in typing.get_args(each))
    return found


def _resolved(annotation: Any, base: type) -> Any:
    holder = type("Holder", (), {"__annotations__": {"it": annotation}})
    holder.__module__ = base.__module__
    try:
        return typing.get_type_hints(holder)["it"]
    except (NameError, TypeError):
        return annotation


def is_nameless(cls: type) -> bool:
    """Whether values of ``cls`` are written down without a name."""
    return cls.__module__ in ("builtins", "datetime", "typing") or cls in (
        decimal.Decimal,
        uuid.UUID,
        enum.Enum,
    )


def is_twin(one: type, other: type) -> bool:
    """Whether ``one`` is what ``other`` was made of, as attrs does for the sake of slots."""
    if (one.__module__, one.__qualname__) != (other.__module__, other.__qualname__):
        return False
    if ("__attrs_attrs__" in vars(one)) != ("__attrs_attrs__" in vars(other)):
        return "__attrs_attrs__" in vars(other)
    found: Any = sys.modules.get(one.__module__)
    for each in one.__qualname__.split("."):
        found = getattr(found, each, None)
    return found is other


def difference(one: Any, other: Any, where: str) -> str | None:
    """Where two values differ, or None. Types count, nan equals nan, and data classes are compared
    by their own ``==`` or else by their fields."""
    if type(one) is not type(other):
        return (
            f"{where} is {brief(one)}, {a(type(one))}, and would be {brief(other)}, "
            f"{a(type(other))}"
        )
    if isinstance(one, dt.datetime) and one.tzinfo and other.tzinfo:
        one, other = one.astimezone(dt.UTC), other.astimezone(dt.UTC)
    pairs: list[tuple[Any, Any, str]] | None = None
    if isinstance(one, list | tuple) and len(one) == len(other):
        pairs = [(x, y, f"{where}[{at}]") for at, (x, y) in enumerate(zip(one, other, strict=True))]
    elif isinstance(one, dict) and one.keys() == other.keys():
        pairs = [(each, other[key], f"{where}[{key!r}]") for key, each in one.items()]
    elif names := field_names(type(one)):
        pairs = [(getattr(one, each), getattr(other, each), f"{where}.{each}") for each in names]
    elif is_empty(type(one)) or one == other or (one != one and other != other):
        return None
    if pairs is None:
        return f"{where} is {brief(one)} and would be {brief(other)}"
    for first, second, place in pairs:
        if (found := difference(first, second, place)) is not None:
            return found
    return None


def brief(value: object) -> str:
    """The repr of a value, cut to what fits into a message."""
    try:
        text = repr(value)
    except Exception:
        text = object.__repr__(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
