"""Shipping code to a worker: a factory, its arguments, classes; pickled, by name where they can be
imported. Only a worker unpickles, and only what its parent sends over their own connection."""

from __future__ import annotations

import importlib
import io
import pickle
import sys
import typing
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import astuple

from actors.dispatch import class_of
from actors.ref import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actors.isolation.frames import Address
    from actors.place import Place

WAY_OUT = (
    "What is sent along is plain data, refs, and classes and functions of modules that can be "
    "imported; a connection, a lock or an open file is made by the actor itself, in __init__ or "
    "on_start."
)
SCRIPT = (
    " Its class stands in the script that was started, so all that it uses is sent along: move it "
    "into a module, and only its name is."
)


def pack(thing: object, speak: Callable[[Place], Address] | None = None) -> bytes:
    """Bytes of code and data; refs as addresses. Raises TypeError for what cannot be sent."""
    import cloudpickle  # type: ignore[import-untyped]

    class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
        def persistent_id(self, obj: object) -> Any:
            if type(obj) is not Ref:
                return None
            address = speak(obj._place) if speak is not None else None
            return (address,) if address is None else astuple(address)

        def reducer_override(self, obj: Any) -> Any:
            if is_open_file(obj):
                raise TypeError(f"an open file stays in its process. Got: {obj!r}")
            reduced = super().reducer_override(obj)
            if isinstance(obj, type) and isinstance(reduced, tuple) and len(reduced) > 2:
                if issubclass(obj, Struct):
                    # Its fields are no attributes of it: they would stay behind, unnoticed.
                    raise TypeError(f"a msgspec.Struct is sent by its name only. Got: {obj!r}")
                # A class that goes as a whole: without what msgspec remembers of it, with its whole
                # name, and with its annotations resolved, since its module does not come along.
                own = reduced[2][0] if isinstance(reduced[2], tuple) else None
                if isinstance(own, dict):
                    own.pop("__msgspec_cache__", None)
                    own["__module__"] = obj.__module__
                    own["__qualname__"] = obj.__qualname__
                    own["__annotations__"] = _resolved(obj)
            return reduced

    buffer = io.BytesIO()
    try:
        Pickler(buffer).dump(thing)
    except (pickle.PicklingError, TypeError, AttributeError, ValueError, RecursionError) as error:
        raise TypeError(f"{type(error).__name__}: {error}") from error
    return buffer.getvalue()


def is_open_file(obj: object) -> bool:
    """Whether it is a file, whose content cloudpickle would send as a copy. Data in memory is none;
    stdout and stderr are those of whoever gets them."""
    if not isinstance(obj, io.IOBase) or isinstance(obj, io.BytesIO | io.StringIO):
        return False
    return obj is not sys.stdout and obj is not sys.stderr


def _resolved(cls: type) -> dict[str, Any]:
    """The annotations of a class as far as they can be resolved."""
    found = dict(vars(cls).get("__annotations__", {}))
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except Exception:
        return found
    return {name: hints.get(name, annotation) for name, annotation in found.items()}


def unpack(data: bytes, hear: Callable[[Address, bool], Place]) -> Any:
    """The thing itself. For a worker, and for what its parent has sent it, only."""
    from actors.isolation.frames import Address

    class Unpickler(pickle.Unpickler):
        def persistent_load(self, pid: Any) -> Any:
            return hear(Address(*pid), False).ref

    return Unpickler(io.BytesIO(data)).load()


def is_importable(cls: type) -> bool:
    """Whether a class goes by its name, and not as a whole."""
    found: Any = sys.modules.get(cls.__module__)
    for part in cls.__qualname__.split("."):
        found = getattr(found, part, None)
    return found is cls and cls.__module__ != "__main__"


def imported(names: Iterable[tuple[str, str]]) -> Iterator[type]:
    """The classes of these modules and names; those that are not to be had here are left out."""
    for module, name in names:
        try:
            found: Any = importlib.import_module(module)
            for part in name.split("."):
                found = getattr(found, part)
        except Exception:
            continue
        yield found


def check_sendable(factory: Any, args: tuple[Any, ...]) -> None:
    """Raises TypeError for an actor that cannot be sent to another process, saying what can."""
    try:
        pack((factory, args))
    except TypeError as error:
        cls = class_of(factory)
        name = getattr(cls, "__qualname__", repr(cls))
        raise TypeError(
            f"{name} cannot be sent to a process of its own: {error}. {WAY_OUT}{way_out_of(cls)} "
            f"Got: {name}{args!r}"
        ) from error


def way_out_of(*classes: Any) -> str:
    """What to do about classes that cannot be sent; nothing to say of those of modules."""
    scripts = any(getattr(each, "__module__", None) == "__main__" for each in classes)
    return SCRIPT if scripts else ""


def modules_of(factory: Any, args: tuple[Any, ...]) -> list[str]:
    """The modules that a worker with this actor will import, for whoever imports them ahead."""
    found: list[str] = []
    for each in map(class_of, (factory, *args)):
        cls = each if isinstance(each, type) else type(each)
        for name in (getattr(each, "__module__", None), cls.__module__):
            if isinstance(name, str) and name not in ("__main__", "builtins", *found):
                found.append(name)
    return found
