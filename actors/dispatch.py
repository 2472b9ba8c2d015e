"""Which method handles which message.

:func:`handles` marks methods. Creating the class collects the marks into tables, message class to
method *name*, so that overriding a method keeps its message and so that a class that is made
twice (as ``attrs.define`` does) gets the same tables twice. At run time a :class:`Routes` maps the
message's own class to a :class:`Route`, the most specific handler, found once per actor class.
"""

from __future__ import annotations

import inspect
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, overload

from actors.annotations import (
    check_reply,
    describe,
    message_annotation,
    message_classes,
    message_parameter,
)
from actors.messages import Call
from actors.replies import Later

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

F = TypeVar("F", bound="Callable[..., Any]")

PLAIN, TASK, NONE = 0, 1, 2
"""Kinds of routes: a plain call, a turn that needs the actor's task, no handler at all."""

_MARK = "__handles__"


class Mark:
    """What ``@handles`` notes on a function: given classes, states, and the classes found."""

    __slots__ = ("classes", "given", "states")

    def __init__(self, given: tuple[object, ...], states: tuple[str, ...]) -> None:
        self.given = given
        self.states = states
        self.classes: tuple[type, ...] | None = None


@overload
def handles(function: F, /) -> F: ...
@overload
def handles(*types: Any, state: str | tuple[str, ...] | None = None) -> Callable[[F], F]: ...
def handles(*types: Any, state: str | tuple[str, ...] | None = None) -> Any:
    """Mark a method as the handler of the messages its parameter is annotated with.

    ``@handles`` reads the annotation: a class, a union of classes, ``Annotated`` of these, or
    ``object`` for every message without a handler of its own. ``@handles(Type, ...)`` names the
    classes where the annotation cannot be resolved. ``state=`` (a name, or a tuple of names)
    limits the handler to states of a :class:`actors.StateMachine`.

    A plain ``def`` runs as one atomic function call and cannot await; an ``async def`` runs in the
    actor's own task. Errors are raised when the class is created.
    """
    states = () if state is None else state if isinstance(state, tuple) else (state,)
    if any(not isinstance(each, str) or not each for each in states):
        raise TypeError(f"@handles(state=) takes the name of a state or a tuple. Got: {state!r}")
    if len(types) == 1 and not states and inspect.isfunction(types[0]):
        return _marked(types[0], Mark((), ()))
    if not types and not states:
        raise TypeError("@handles takes message classes, or nothing at all. Got: @handles()")

    def mark(function: F) -> F:
        return _marked(function, Mark(types, states))

    return mark


def _marked(function: F, mark: Mark) -> F:
    message_parameter(function)
    setattr(function, _MARK, mark)
    return function


class Route:
    """How messages of one class are handled by one class of actors."""

    __slots__ = ("exempt", "function", "is_call", "kind", "returns")

    def __init__(
        self, function: Callable[..., Any] | None, *, is_call: bool, exempt: bool = False
    ) -> None:
        self.function: Any = function
        self.is_call = is_call
        self.exempt = exempt
        """They do not count against the bound of the mailbox, and need no room in it."""
        self.kind = (
            NONE if function is None else TASK if inspect.iscoroutinefunction(function) else PLAIN
        )
        self.returns: set[type] = {type(None)}
        """Result classes known to be plain values: no awaitable, no ``Later``, no stage."""


class Routes(dict[type, Route]):
    """Message class to route, filled on first use; one per actor class (and state)."""

    __slots__ = ("_cls", "_table")

    def __init__(self, cls: type, table: Mapping[type, str]) -> None:
        super().__init__()
        self._cls = cls
        self._table = table

    def __missing__(self, message: type) -> Route:
        name = next((self._table[cls] for cls in message.__mro__ if cls in self._table), None)
        function = getattr(self._cls, name) if name is not None else None
        route = self[message] = Route(function, is_call=issubclass(message, Call))
        return route

    def own(self, message: type) -> Route:
        """The route to a handler of the actor's own."""
        return self[message]

    @property
    def messages(self) -> Mapping[type, str]:
        """The classes with a handler, each with the name of its method."""
        return self._table


def class_of(factory: Any) -> Any:
    """The class behind a ``functools.partial``, or the callable itself."""
    while isinstance(factory, partial):
        factory = factory.func
    return factory


def takes_of(spec: Any) -> Iterable[type]:
    """The classes of messages that are handled where ``spec`` runs, as far as its class tells."""
    cls = class_of(spec.factory)
    return cls._takes(spec) if hasattr(cls, "_takes") else ()


def known_messages(factory: Any) -> Mapping[type, str] | None:
    """The classes of messages that whoever ``factory`` makes handles; None if that is not known
    before he is made, or if something stands between him and his messages."""
    cls = class_of(factory)
    routes = getattr(cls, "routes", None)
    middleware: Any = getattr(cls, "middleware", ())
    if not isinstance(cls, type) or routes is None or getattr(cls, "hands_on", False):
        return None
    if hasattr(middleware, "__get__") or middleware:
        return None
    return {message: name for each in routes.values() for message, name in each.messages.items()}


def collect(cls: type) -> dict[str | None, dict[type, str]]:
    """The handler tables of ``cls``: one per state, and under ``None`` for every state.

    Raises TypeError for two methods that handle one class, for a handler without annotation, for
    one that is no plain method, and for a return annotation that contradicts the reply type.
    """
    marks: dict[str, Mark] = {}
    for base in reversed(cls.__mro__):
        for name, member in vars(base).items():
            mark = getattr(member, _MARK, None)
            if isinstance(mark, Mark):
                if mark.classes is None:
                    mark.classes = _classes_of(member, mark, base)
                marks[name] = mark
    tables: dict[str | None, dict[type, str]] = {None: {}}
    for name, mark in marks.items():
        function = inspect.getattr_static(cls, name)
        if function is None:
            continue
        message_parameter(function)
        assert mark.classes is not None
        check_reply(function, mark.classes, cls, Later)
        for state in mark.states or (None,):
            _enter(tables.setdefault(state, {}), mark.classes, name, cls, state)
    return tables


def _classes_of(function: Callable[..., Any], mark: Mark, owner: type) -> tuple[type, ...]:
    annotations = mark.given or (message_annotation(function, owner),)
    return tuple(
        dict.fromkeys(cls for each in annotations for cls in message_classes(function, each))
    )


def _enter(
    table: dict[type, str], classes: tuple[type, ...], name: str, cls: type, state: str | None
) -> None:
    for message in classes:
        other = table.setdefault(message, name)
        if other != name:
            where = f" in state {state!r}" if state is not None else ""
            raise TypeError(
                f"{cls.__qualname__} has two handlers for {message.__qualname__}{where}; a message "
                f"has one handler. Got: {other} and {name}"
            )


def route_tables(cls: type) -> dict[str | None, Routes]:
    """Routes for each state of ``cls``; those without a state apply in every one."""
    tables = collect(cls)
    common = tables[None]
    return {state: Routes(cls, {**common, **own}) for state, own in tables.items()}


def callback_kind(cls: type, name: str, base: type) -> int:
    """``NONE`` for a callback that is not overridden (it costs nothing), else PLAIN or TASK."""
    function = inspect.getattr_static(cls, name)
    if function is inspect.getattr_static(base, name):
        return NONE
    if not inspect.isfunction(function):
        raise TypeError(
            f"{cls.__qualname__}.{name} must be a def or an async def. Got: {function!r}"
        )
    required = len(inspect.signature(getattr(base, name)).parameters)
    try:
        inspect.signature(function).bind(*range(required))
    except TypeError:
        raise TypeError(
            f"{describe(function)} must take {'self and exit' if required == 2 else 'only self'}. "
            f"Got: def {name}{inspect.signature(function)}"
        ) from None
    return TASK if inspect.iscoroutinefunction(function) else PLAIN
