"""From a handler's annotations to the classes it takes and gives."""

from __future__ import annotations

import inspect
import sys
import types
import typing
from typing import TYPE_CHECKING, Any

from actors.messages import Call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_ACCEPTED = (
    "Accepted: a class, a union of classes (A | B), Annotated[...] of these, or object for every "
    "message. Where the annotation cannot be resolved, write @handles(Type)."
)
_NUMBERS = {bool: (int, float, complex), int: (float, complex), float: (complex,)}


def message_classes(function: Callable[..., Any], annotation: object) -> tuple[type, ...]:
    """The classes named by ``annotation``. Raises TypeError for what names no class."""
    return tuple(dict.fromkeys(_classes(function, annotation)))


def _classes(function: Callable[..., Any], annotation: object) -> Iterator[type]:
    if annotation is None:
        yield type(None)
    elif _is_union(annotation):
        for member in typing.get_args(annotation):
            yield from _classes(function, member)
    elif typing.get_origin(annotation) is typing.Annotated:
        yield from _classes(function, typing.get_args(annotation)[0])
    elif type(annotation).__name__ == "TypeAliasType":
        yield from _classes(function, annotation.__value__)  # type: ignore[attr-defined]
    elif isinstance(origin := typing.get_origin(annotation), type):
        yield origin
    elif isinstance(annotation, type) and annotation is not typing.Any:
        yield annotation
    else:
        raise TypeError(
            f"{describe(function)} cannot be a handler of {annotation!r}. {_ACCEPTED} "
            f"Got: {annotation!r}"
        )


def message_annotation(function: Callable[..., Any], owner: type) -> object:
    """The annotation of the message parameter, resolved. Raises TypeError for a bad signature."""
    parameter = message_parameter(function)
    if parameter.annotation is inspect.Parameter.empty:
        raise TypeError(
            f"{describe(function)} has no annotation for its message {parameter.name!r}, so its "
            f"messages are unknown. {_ACCEPTED} Got: no annotation"
        )
    return resolve(function, parameter.annotation, owner)


def message_parameter(function: Callable[..., Any]) -> inspect.Parameter:
    """The one parameter after ``self``. Raises TypeError where there are more or fewer."""
    if not inspect.isfunction(function):
        raise TypeError(
            f"@handles takes a method, def or async def, written in the class. Got: {function!r}"
        )
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{describe(function)} is a generator; a handler is a def or an async def that "
            "returns its answer. Got: a function with yield"
        )
    signature = inspect.signature(function)
    parameters = list(signature.parameters.values())
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if len(parameters) != 2 or any(each.kind not in plain for each in parameters):
        raise TypeError(
            f"{describe(function)} must take self and exactly one message: "
            f"def name(self, message: Type). Got: def {function.__name__}{signature}"
        )
    return parameters[1]


def resolve(function: Callable[..., Any], annotation: object, owner: type) -> object:
    """Evaluate an annotation that is still text: globals, the class, then the defining frames."""
    if not isinstance(annotation, str):
        return annotation
    holder = types.new_class("Holder")
    holder.__annotations__ = {"it": annotation}
    names: dict[str, Any] = dict(vars(owner))
    frame = sys._getframe(1)
    try:
        return typing.get_type_hints(holder, function.__globals__, names, include_extras=True)["it"]
    except NameError:
        pass
    # A message class local to a function is found in that function's frame, which is still running.
    while frame is not None and frame.f_back is not None:
        frame = frame.f_back
        for name, value in frame.f_locals.items():
            names.setdefault(name, value)
    try:
        return typing.get_type_hints(holder, function.__globals__, names, include_extras=True)["it"]
    except NameError as error:
        raise TypeError(
            f"The annotation {annotation!r} of {describe(function)} cannot be resolved: {error}. "
            f"{_ACCEPTED} Got: {annotation!r}"
        ) from error


def check_reply(
    function: Callable[..., Any], classes: tuple[type, ...], owner: type, deferred: type
) -> None:
    """Raise TypeError where the return annotation contradicts the reply type of a ``Call``.

    Only a contradiction between plain classes counts; what cannot be decided is left to the type
    checkers. ``deferred`` is the class of answers that come later.
    """
    returned = inspect.signature(function).return_annotation
    wanted = [reply_type(each) for each in classes if issubclass(each, Call)]
    if returned is inspect.Signature.empty or not wanted or len(wanted) != len(classes):
        return
    try:
        members = list(_members(resolve(function, returned, owner)))
    except TypeError:
        return
    accepted = [member for each in wanted for member in _members(each)]
    for member in members:
        if member is not deferred and not any(_fits(member, each) for each in accepted):
            raise TypeError(
                f"{describe(function)} handles {' | '.join(each.__name__ for each in classes)}, "
                f"whose answer is {_names(wanted)}; its return annotation contradicts that. "
                f"Got: {_names([member])}"
            )


def reply_type(message: type) -> object:
    """The ``R`` in ``class Message(Call[R])``; ``Any`` where it is not given."""
    for cls in message.__mro__:
        for base in vars(cls).get("__orig_bases__", ()):
            if typing.get_origin(base) is Call:
                return _evaluated(typing.get_args(base)[0], cls)
    return typing.Any


def _evaluated(reply: object, cls: type) -> object:
    if isinstance(reply, typing.ForwardRef):
        scope = vars(sys.modules.get(cls.__module__, types.ModuleType("empty")))
        return scope.get(reply.__forward_arg__, typing.Any)
    return reply


def _members(annotation: object) -> Iterator[object]:
    if _is_union(annotation):
        for member in typing.get_args(annotation):
            yield from _members(member)
    elif typing.get_origin(annotation) is typing.Annotated:
        yield from _members(typing.get_args(annotation)[0])
    elif annotation is None:
        yield type(None)
    else:
        yield typing.get_origin(annotation) or annotation


def _fits(returned: object, wanted: object) -> bool:
    if not isinstance(returned, type) or not isinstance(wanted, type):
        return True
    if typing.Any in (returned, wanted) or getattr(wanted, "_is_protocol", False):
        return True
    return (
        issubclass(returned, wanted)
        or issubclass(wanted, returned)
        or wanted in _NUMBERS.get(returned, ())
    )


def _is_union(annotation: object) -> bool:
    return typing.get_origin(annotation) in (typing.Union, types.UnionType)


def _names(types_: list[Any]) -> str:
    return " | ".join(getattr(each, "__name__", None) or repr(each) for each in types_)


def describe(function: object) -> str:
    """``Account.withdraw`` for messages to programmers."""
    return str(getattr(function, "__qualname__", repr(function)))
