"""Random trees, the same for the same seed."""

from __future__ import annotations

from random import Random
from typing import TypeVar

import attrs

from supervisors.specs import AutoShutdown, Restart, Strategy
from tests.conformance.differential.scripts import Dynamic, Group, Node, Worker

T = TypeVar("T")

DEPTH = 3
"""Levels of supervisors."""
PLENTY = 1000
"""More restarts than a script can cause.

Allowed: S7, giving up is a crash. OTP's supervisor that gives up ends with ``shutdown``, so that
its parent restarts it only if it is permanent; ours does so if it is transient, too. Transient
supervisors are therefore made never to give up."""
RESTARTS: tuple[Restart, ...] = ("permanent", "transient", "temporary")
STRATEGIES: tuple[Strategy, ...] = ("one_for_one", "one_for_all", "rest_for_one")
AUTO_SHUTDOWNS: tuple[AutoShutdown, ...] = ("never", "any_significant", "all_significant")


@attrs.define
class Trees:
    """Draws trees and nodes; no id comes twice."""

    seed: int
    random: Random = attrs.field(init=False)
    numbers: dict[str, int] = attrs.field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        self.random = Random(self.seed)

    def tree(self) -> Group:
        """A tree; what is at the top does not come back."""
        return attrs.evolve(
            self.group(1, "never"), id="top", restart="temporary", significant=False
        )

    def fresh(self, prefix: str) -> str:
        """An id nobody has."""
        number = self.numbers[prefix] = self.numbers.get(prefix, 0) + 1
        return f"{prefix}{number}"

    # -- nodes; ``above`` is the auto_shutdown of the supervisor above

    def node(self, level: int, above: AutoShutdown) -> Node:
        """A child of a supervisor at a level."""
        drawn = self.random.random()
        if level < DEPTH and drawn < 0.3:
            return self.group(level + 1, above)
        if level < DEPTH and drawn < 0.4:
            return self.dynamic(above)
        return self.worker(above)

    def worker(self, above: AutoShutdown) -> Worker:
        random = self.random
        restart = self.some(RESTARTS, (5, 3, 2))
        return Worker(
            self.fresh("w"),
            restart,
            self.significant(restart, above),
            self.some(("seconds", "infinity", "kill"), (6, 2, 2)),
            raises=random.random() < 0.1,
            awaits=random.random() < 0.3,
        )

    def group(self, level: int, above: AutoShutdown) -> Group:
        restart = self.some(RESTARTS, (6, 2, 2))
        auto = self.some(AUTO_SHUTDOWNS, (6, 2, 2))
        id = self.fresh("s")
        return Group(
            id,
            restart,
            self.significant(restart, above),
            self.limit(restart),
            self.some(STRATEGIES, (1, 1, 1)),
            auto,
            tuple(self.node(level, auto) for _ in range(self.random.randint(level == 1, 4))),
        )

    def dynamic(self, above: AutoShutdown) -> Dynamic:
        restart = self.some(RESTARTS, (6, 2, 2))
        significant = self.significant(restart, above)
        child_restart = self.some(RESTARTS, (5, 3, 2))
        return Dynamic(self.fresh("d"), restart, significant, self.limit(restart), child_restart)

    def guest(self, dynamic: Dynamic) -> Worker:
        """A worker for a dynamic supervisor."""
        random = self.random
        id = self.fresh(f"{dynamic.id}w")
        return Worker(
            id, dynamic.child_restart, raises=random.random() < 0.1, awaits=random.random() < 0.3
        )

    def limit(self, restart: Restart) -> int:
        """How many restarts a supervisor allows."""
        return PLENTY if restart == "transient" else self.random.choice((0, 1, 2, 3, 5, 8, PLENTY))

    def significant(self, restart: Restart, above: AutoShutdown) -> bool:
        return above != "never" and restart != "permanent" and self.random.random() < 0.6

    def some(self, values: tuple[T, ...], weights: tuple[int, ...]) -> T:
        """One of the values."""
        return self.random.choices(values, weights)[0]
