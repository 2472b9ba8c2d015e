"""Supervisors written in place: ``one_for_one(Child(A), Child(B))`` is a ``Child`` itself."""

from __future__ import annotations

from typing import Any, Literal

from supervisors.specs import (
    STRATEGIES,
    AutoShutdown,
    Child,
    Flags,
    Restart,
    Strategy,
    check_children,
)
from supervisors.supervisor import Group

_GROUPS: dict[str, type[Group]] = {
    strategy: type(strategy, (Group,), {"__slots__": ()}) for strategy in STRATEGIES
}
"""One class for each strategy, of that name: children without an id are named by their class."""


def one_for_one(
    *children: Any,
    max_restarts: int = 3,
    within: float = 5.0,
    auto_shutdown: AutoShutdown = "never",
    id: str | None = None,
    name: str | None = None,
    restart: Restart = "permanent",
    significant: bool = False,
    shutdown: float | Literal["kill"] | None = None,
) -> Child[Group]:
    """A supervisor that restarts a failed child alone.

    ``children`` are each a :class:`Child` or an actor class, in start order. ``max_restarts``,
    ``within`` (seconds) and ``auto_shutdown`` are those of :class:`Supervisor`; the rest are those
    of the :class:`Child` that is returned, to be given to ``open_system``, ``system.start``,
    ``run`` or another supervisor. ``shutdown`` is infinite unless given: the children have their
    own bounds. Raises TypeError or ValueError for what is not accepted; nothing is started yet.
    """
    return _group(
        "one_for_one",
        children,
        max_restarts,
        within,
        auto_shutdown,
        id=id,
        name=name,
        restart=restart,
        significant=significant,
        shutdown=shutdown,
    )


def one_for_all(
    *children: Any,
    max_restarts: int = 3,
    within: float = 5.0,
    auto_shutdown: AutoShutdown = "never",
    id: str | None = None,
    name: str | None = None,
    restart: Restart = "permanent",
    significant: bool = False,
    shutdown: float | Literal["kill"] | None = None,
) -> Child[Group]:
    """A supervisor that restarts all its children when one fails. See :func:`one_for_one`."""
    return _group(
        "one_for_all",
        children,
        max_restarts,
        within,
        auto_shutdown,
        id=id,
        name=name,
        restart=restart,
        significant=significant,
        shutdown=shutdown,
    )


def rest_for_one(
    *children: Any,
    max_restarts: int = 3,
    within: float = 5.0,
    auto_shutdown: AutoShutdown = "never",
    id: str | None = None,
    name: str | None = None,
    restart: Restart = "permanent",
    significant: bool = False,
    shutdown: float | Literal["kill"] | None = None,
) -> Child[Group]:
    """A supervisor that restarts a failed child and those started after it. See
    :func:`one_for_one`."""
    return _group(
        "rest_for_one",
        children,
        max_restarts,
        within,
        auto_shutdown,
        id=id,
        name=name,
        restart=restart,
        significant=significant,
        shutdown=shutdown,
    )


def _group(
    strategy: Strategy,
    children: tuple[Any, ...],
    max_restarts: int,
    within: float,
    auto_shutdown: AutoShutdown,
    **spec: Any,
) -> Child[Group]:
    flags = Flags(strategy, max_restarts, within, auto_shutdown)
    specs = tuple(check_children(children, auto_shutdown))
    return Child(_GROUPS[strategy], flags, specs, **spec)
