"""Which component a message goes to: worked out from the handlers of the components' classes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs

from actors import Actor, Call, Down, Idle
from actors.dispatch import Route, Routes, class_of
from actors.runtime import calls
from supervisors import (
    Backoff,
    Child,
    CountChildren,
    Flags,
    GetChild,
    RestartChild,
    StopChild,
    WhichChildren,
    check_children,
)
from supervisors.specs import face_of, with_changes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from actors.place import Place
    from mediators.mediator import Mediator
    from mediators.tree import MediatorTree

DRIVER = "driver"
"""The id of the driver among the components."""
BACKOFF = Backoff(0.1, 30.0)
"""How components are restarted unless they say otherwise."""

NO_ROUTES_FOR = (object, Call, Down, Idle)
"""Handlers of these are a component's own affair: for everything else, or about itself."""
ADMINISTRATION = (WhichChildren, CountChildren, GetChild, StopChild, RestartChild)
"""What the supervisor of the subtree answers for the mediator."""


# -- what a mediator is made of


@attrs.frozen
class Plan:
    """What can be said of a mediator before it runs: its components, their ids filled in, and the
    id of the component for each class of messages."""

    cls: type
    components: tuple[Child[Any], ...]
    table: Mapping[type, str]
    workflows: tuple[type, ...]
    flags: Flags

    @property
    def messages(self) -> Iterable[type]:
        """Every class of messages such a mediator takes from outside."""
        return dict.fromkeys((*offered(self.cls), *self.table, *self.workflows))


def plan(factory: Callable[..., Any], args: tuple[Any, ...] = ()) -> Plan:
    """The plan of the mediator that ``factory(*args)`` makes.

    Where the class does not tell its components, as with a property, a field or an ``__init__``
    that sets them, an instance is made to ask it. Raises TypeError for components that are none,
    and for two of them that handle the same class of messages; ValueError for equal ids.
    """
    cls = class_of(factory)
    asked: Any = cls if tells(cls) else factory(*args)
    return plan_of(cls if asked is cls else type(asked), asked.components, asked)


def plan_of(cls: type, components: Any, told: Any, *, nested: bool = True) -> Plan:
    """The plan of a mediator with these components; ``told`` has the other attributes.

    ``nested=False`` looks at no component's own components: classes are still being made.
    """
    specs = check_components(cls, components)
    table = table_of(cls, specs, nested=nested)
    workflows = tuple(told.workflows)
    flags = Flags("one_for_one", told.max_restarts, told.within, "any_significant")
    return Plan(cls, tuple(specs), table, workflows, flags)


def tells(cls: Any) -> bool:
    """Whether the class says what its mediators are made of, so that no instance is needed."""
    if not isinstance(cls, type):
        return False
    told: list[Any] = [
        getattr(cls, name, None) for name in ("components", "workflows", "max_restarts", "within")
    ]
    if any(hasattr(each, "__get__") for each in told):
        return False
    return bool(told[0]) or cls.__init__ is object.__init__  # type: ignore[misc]


def check_components(cls: type, components: Any) -> list[Child[Any]]:
    """The components as specs with ids, restarted with Backoff. Raises TypeError or ValueError."""
    if not isinstance(components, list | tuple):
        raise TypeError(
            f"{cls.__qualname__}.components is a list of Child or actor classes. "
            f"Got: {components!r}"
        )
    try:
        specs = check_children(components, "any_significant")
    except (TypeError, ValueError) as error:
        raise type(error)(f"{cls.__qualname__}.components: {error}") from error
    for spec in specs:
        if spec.id == DRIVER:
            raise ValueError(
                f"{cls.__qualname__}.components: the id {DRIVER!r} is that of the mediator itself. "
                f"Got: {spec!r}"
            )
    return [each if each.backoff else with_changes(each, backoff=BACKOFF) for each in specs]


def table_of(cls: type, specs: Sequence[Child[Any]], *, nested: bool) -> dict[type, str]:
    """Message class to component id. Raises TypeError where two components handle one class,
    unless the mediator has a handler of its own for it."""
    table: dict[type, str] = {}
    own = handled(cls)
    for spec in specs:
        assert spec.id is not None
        for message in messages_of(spec, nested=nested):
            if message in own:
                continue
            other = table.setdefault(message, spec.id)
            if other != spec.id:
                raise TypeError(
                    f"{cls.__qualname__} has two components that handle {message.__qualname__}; it "
                    "forwards a message to one. Leave the handler to one of them, or handle it in "
                    f"{cls.__qualname__} itself. Got: {other!r} and {spec.id!r}"
                )
    return table


def messages_of(spec: Child[Any], *, nested: bool) -> Iterable[type]:
    """The classes of messages a component takes from its mediator. One made by a function is not
    known before it is made: it takes none."""
    cls = face_of(spec)
    if not isinstance(cls, type):
        return ()
    if nested and getattr(cls, "coordinates", False) is True:
        return plan(spec.factory, spec.args).messages
    return offered(cls)


def offered(cls: type) -> dict[type, None]:
    """The classes with a handler of the user's, in any state."""
    library = {
        message
        for base in cls.__mro__
        if issubclass(base, Actor) and base.__module__.partition(".")[0] in _LIBRARY
        for message in handled(base)
    }
    return {each: None for each in handled(cls) if each not in library}


_LIBRARY = ("actors", "supervisors", "mediators")


def handled(cls: Any) -> dict[type, None]:
    """The classes with a handler, in any state; those that are no routes left out."""
    return {
        message: None
        for routes in cls.routes.values()
        for message in routes.messages
        if message not in NO_ROUTES_FOR
    }


# -- the routes of a running driver


class MediatorRoutes(Routes):
    """The routes of one driver: its own handlers, its components, its workflows, the supervisor of
    its subtree; in the end its own handler for ``object``, if it has one."""

    __slots__ = ("_handlers", "_plan", "_workflow_route")

    def __init__(
        self,
        cls: type[Actor],
        plan: Plan,
        workflow_route: Callable[[type], Callable[..., Any] | None],
    ) -> None:
        self._handlers = cls.routes[None]
        super().__init__(cls, self._handlers.messages)
        self._plan = plan
        self._workflow_route = workflow_route

    def __missing__(self, message: type) -> Route:
        function = self._function(message)
        route = self[message] = Route(function, is_call=issubclass(message, Call))
        return route

    def _function(self, message: type) -> Callable[..., Any] | None:
        table = self._handlers.messages
        if any(cls in table for cls in message.__mro__ if cls is not object):
            own: Callable[..., Any] = self.own(message).function
            return own
        id = self.component(message)
        if id is not None:
            return partial(forward, id=id)
        workflow = self._workflow_route(message)
        if workflow is not None:
            return workflow
        if message in ADMINISTRATION:
            return administer
        last: Callable[..., Any] | None = self.own(message).function
        return last

    def own(self, message: type) -> Route:
        """The route to a handler of the mediator's class: events rise past those of components."""
        return self._handlers[message]

    def component(self, message: type) -> str | None:
        """The id of the component for such a message."""
        table = self._plan.table
        return next((table[cls] for cls in message.__mro__ if cls in table), None)

    @property
    def messages(self) -> Mapping[type, str]:
        """The classes that are taken, each with the name of the method, or the component's id; the
        verbs for workflows only where there are workflows."""
        workflows = dict.fromkeys(self._plan.workflows, DRIVER)
        users = {*offered(self._cls), *NO_ROUTES_FOR}
        own = {
            message: name
            for message, name in self._handlers.messages.items()
            if workflows or message in users
        }
        return {**workflows, **self._plan.table, **own}


# -- the routes to others


def forward(mediator: Mediator, message: object, /, *, id: str) -> None:
    """Hand the message being handled on to a component, with its reply slot and its sender.

    Nothing waits: a full mailbox fails the caller, and a one-way message is a dead letter there.
    """
    calls.pass_on(mediator._home, mediator._tree.place_of(id), message)


def administer(mediator: Mediator, message: object, /) -> None:
    """Let the supervisor of the subtree answer."""
    calls.pass_on(mediator._home, mediator._tree._home, message)


def tree_of(driver: Place) -> MediatorTree:
    """The supervisor that a driver lives under."""
    above = driver.parent
    assert above is not None
    tree: MediatorTree = above.actor
    return tree
