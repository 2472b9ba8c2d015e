"""Scripts: a tree and what is done to it, as plain data that both sides can play."""

from __future__ import annotations

from typing import Literal, TypeAlias

import attrs

from supervisors.specs import AutoShutdown, Restart, Strategy

Verb: TypeAlias = Literal[
    "fail",
    "decline",
    "crash",
    "crash_both",
    "kill",
    "leave",
    "end_group",
    "start_child",
    "start_dynamic",
    "stop_child",
    "stop_dynamic",
    "restart_child",
    "delete_child",
    "count_children",
    "count_dynamic",
]


@attrs.frozen
class Worker:
    """A worker. Its id is its own in the whole tree."""

    id: str
    restart: Restart = "permanent"
    significant: bool = False
    shutdown: Literal["seconds", "infinity", "kill"] = "seconds"
    raises: bool = False
    """When it is stopped, it fails to end properly."""
    awaits: bool = False
    """Ours only: it has a task, and starts and stops take time."""


@attrs.frozen
class Group:
    """A supervisor with static children. The one at the top has the id ``top``."""

    id: str
    restart: Restart = "permanent"
    significant: bool = False
    max_restarts: int = 3
    strategy: Strategy = "one_for_one"
    auto_shutdown: AutoShutdown = "never"
    children: tuple[Node, ...] = ()


@attrs.frozen
class Dynamic:
    """A supervisor that begins empty; OTP's ``simple_one_for_one``."""

    id: str
    restart: Restart = "permanent"
    significant: bool = False
    max_restarts: int = 3
    child_restart: Restart = "permanent"


Node: TypeAlias = Worker | Group | Dynamic
Argument: TypeAlias = str | int | Node


@attrs.frozen
class Op:
    """One operation: what, and on whom.

    ===================================  ==========================================================
    ``fail id count``                    the next starts of a worker fail
    ``decline id count``                 the next starts of a worker are declined
    ``crash id``                         of a worker, or of a group itself
    ``crash_both sup id id``             two children, before their supervisor hears of either
    ``kill id``                          cancelled, without last words
    ``leave id reason``                  a worker ends itself: normal, shutdown or why
    ``end_group id reason``              the same for a group; or boom
    ``start_child sup node``             and the rest of the administration
    ``start_dynamic sup worker``         the same for a dynamic supervisor, which goes by ref
    ===================================  ==========================================================
    """

    verb: Verb
    args: tuple[Argument, ...]

    def __str__(self) -> str:
        words = [
            "\n".join(drawn(each, "    ")).strip() if isinstance(each, Node) else str(each)
            for each in self.args
        ]
        return " ".join([self.verb, *words])


@attrs.frozen
class Script:
    """A tree, how many first starts of whom fail, and the operations, one at a time."""

    top: Group
    ops: tuple[Op, ...]
    failing: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        failing = [f"failing at first: {id} {count}" for id, count in self.failing]
        return "\n".join([*failing, *drawn(self.top), *(f"  {op}" for op in self.ops)])


def drawn(node: Node, indent: str = "") -> list[str]:
    """A tree, a line for each node, with what is not at its default."""
    words = [
        f"{field.name}={getattr(node, field.name)}"
        for field in attrs.fields(type(node))
        if field.name not in ("id", "children") and getattr(node, field.name) != field.default
    ]
    lines = [" ".join([f"{indent}{type(node).__name__} {node.id}", *words])]
    for child in node.children if isinstance(node, Group) else ():
        lines += drawn(child, indent + "    ")
    return lines


def nodes_of(node: Node) -> list[Node]:
    """The node and everything below it, in start order."""
    children = node.children if isinstance(node, Group) else ()
    return [node, *(each for child in children for each in nodes_of(child))]
