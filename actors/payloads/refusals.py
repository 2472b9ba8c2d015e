"""How a refusal becomes bytes and comes back as the very type that was raised (J4)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import msgspec
from msgspec import Raw

from actors.payloads.names import (
    NotEncodable,
    Undecodable,
    UnknownType,
    brief,
    describe,
    journal_name,
    journal_names,
)
from actors.payloads.plans import encode_plain

_VERSION = 1
_head = msgspec.msgpack.Decoder(tuple[str, int, Raw]).decode
_LEFT_OUT = frozenset(("__notes__", "__weakref__", "__dict__"))

_PLAIN = frozenset((str, int, bool, float, bytes, type(None)))


class Refusals:
    """The exceptions that are answers: those of ``answers`` and what derives from them. ``plain``
    and ``decode`` are those of :class:`actors.payloads.types.Types`."""

    def __init__(
        self,
        answers: tuple[type[BaseException], ...],
        plain: Callable[[Any, str], Any],
        decode: Callable[[Any], Any],
    ) -> None:
        self._answers = answers
        self._plain = plain
        self._decode = decode
        self._known: dict[str, type[BaseException]] = {}
        self._bare: dict[type[BaseException], str] = {}
        """The names of classes without slots: of those, most have nothing but plain args."""

    def encode(self, error: BaseException) -> bytes:
        """Name, args and fields. Cause, traceback and notes are not kept.

        Raises NotEncodable for args, or a declared field, that cannot be written down; any other
        attribute that cannot is left out.
        """
        cls = type(error)
        name = self._bare.get(cls)
        if name is not None and not error.__dict__ and _PLAIN.issuperset(map(type, error.args)):
            try:
                return encode_plain((name, _VERSION, (error.args, {})))
            except (OverflowError, UnicodeEncodeError):
                pass  # an int beyond 64 bits, half a character
        if not isinstance(error, self._answers):
            raise NotEncodable(
                f"A {describe(cls)} is no answer. Accepted: "
                f"{', '.join(map(describe, self._answers))}. Got: {error!r}"
            )
        name = journal_name(cls)
        self._known[name] = cls
        if not any(vars(each).get("__slots__") for each in cls.__mro__):
            self._bare[cls] = name
        declared = {each.name for each in attrs.fields(cls)} if attrs.has(cls) else set()
        declared |= set(getattr(cls, "__dataclass_fields__", ()))
        fields: dict[str, Any] = {}
        try:
            args = [
                self._plain(each, f"{describe(cls)}.args[{at}]")
                for at, each in enumerate(error.args)
            ]
            for field, value in _state(error):
                try:
                    plain = self._plain(value, f"{describe(cls)}.{field}")
                    encode_plain(plain)
                    fields[field] = plain
                except Exception:
                    if field in declared:
                        raise
            return encode_plain((name, _VERSION, (args, fields)))
        except NotEncodable as inner:
            raise NotEncodable(f"Cannot write down the refusal: {inner}") from None
        except (TypeError, ValueError, OverflowError, RecursionError) as inner:
            raise NotEncodable(
                f"Cannot write down the refusal: {describe(cls)}: {inner}. Got: {brief(error)}"
            ) from inner

    def class_of(self, data: bytes | Raw) -> type[BaseException] | None:
        """The class of a refusal's bytes, if it is there."""
        try:
            name, _, _ = _head(data)
        except msgspec.DecodeError:
            return None
        return self._find(name)

    def decode(self, data: bytes | Raw) -> BaseException:
        """The exception, built without calling its ``__init__``."""
        try:
            name, version, inner = _head(data)
            args, fields = self._decode(inner)
        except (msgspec.DecodeError, ValueError, TypeError) as error:
            raise Undecodable(f"This is no refusal: {error}. Got: {bytes(data)[:40]!r}") from error
        cls = self._find(name)
        if cls is None or version > _VERSION:
            raise UnknownType(
                name,
                version,
                f"A record names the refusal {name!r} (version {version}), which is not there. "
                "Nothing is imported by name: the module of its class must be imported, and the "
                f"class derive from {' or '.join(map(describe, self._answers))}.",
            )
        try:
            made = cls.__new__(cls, *args)
        except TypeError:
            made = BaseException.__new__(cls, *args)
        # Not by plain assignment, which a frozen class refuses.
        object.__setattr__(made, "args", tuple(args))
        for field, value in fields.items():
            object.__setattr__(made, field, value)
        return made

    def _find(self, name: str) -> type[BaseException] | None:
        cls = self._known.get(name)
        if cls is None:
            cls = self._imported(name) or self._derived(name)
            if cls is not None:
                self._known[name] = cls
        return cls

    def _imported(self, name: str) -> type[BaseException] | None:
        module, _, path = name.partition(":")
        found: Any = sys.modules.get(module)
        if found is None or not path:
            return None
        for each in path.split("."):
            found = getattr(found, each, None)
        if isinstance(found, type) and issubclass(found, self._answers):
            return found
        return None

    def _derived(self, name: str) -> type[BaseException] | None:
        """Among everything that derives from an answer, the last one made, and of the two classes
        that attrs makes of one the one with the fields."""
        found: type[BaseException] | None = None
        for cls in _below(self._answers):
            if name == journal_name(cls) or name in journal_names(cls):
                if found is None or _has_fields(cls) or not _has_fields(found):
                    found = cls
        return found


def _has_fields(cls: type) -> bool:
    return "__attrs_attrs__" in vars(cls)


def _below(classes: tuple[type[BaseException], ...]) -> Iterator[type[BaseException]]:
    for cls in classes:
        yield cls
        yield from _below(tuple(cls.__subclasses__()))


def _state(error: BaseException) -> Iterator[tuple[str, Any]]:
    """The attributes of an exception, those in slots included."""
    for name, value in vars(error).items():
        if name not in _LEFT_OUT:
            yield name, value
    for cls in type(error).__mro__:
        slots = vars(cls).get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in _LEFT_OUT and hasattr(error, name):
                yield name, getattr(error, name)
