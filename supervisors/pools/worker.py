"""A worker of a pool, and what it has in hand."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

from supervisors.pools.admin import WorkerInfo

if TYPE_CHECKING:
    from actors.place import Place
    from supervisors.entries import Entry
    from supervisors.pools.jobs import Attempt, Operation


class Worker:
    """One worker: its child, and what it has in hand, the oldest first."""

    __slots__ = (
        "_limit",
        "dismissed",
        "entry",
        "idle_since",
        "in_hand",
        "leaving",
        "number",
        "taken",
        "up",
    )

    def __init__(self, number: int, entry: Entry) -> None:
        self.number = number
        self.entry = entry
        self.in_hand: dict[Attempt, None] = {}
        self.up = False
        self.leaving = False
        """It gets nothing more, and is stopped when it has nothing in hand."""
        self.dismissed = False
        """It was told to stop."""
        self.taken = 0
        """How many messages it was handed so far."""
        self.idle_since = 0.0
        self._limit = inf
        """How many it may hold, as long as it holds those that it does."""

    @property
    def place(self) -> Place:
        """Where it lives."""
        return self.entry.place

    @property
    def info(self) -> WorkerInfo:
        """How it stands."""
        return WorkerInfo(self.place.id, self.up, len(self.in_hand), self.taken)

    @property
    def ending(self) -> bool:
        """It was up and its end has begun, whoever wanted that: it begins nothing more."""
        place = self.entry.place
        return self.up and (place.state != "up" or place.ending is not None)

    @property
    def free(self) -> bool:
        """Nothing in hand, and ready for something."""
        return not self.in_hand and self.up and not self.leaving and not self.ending

    def room(self, operation: Operation) -> bool:
        """Whether it may be handed one more of an operation; nothing is to wait for long behind
        something else."""
        if not self.up or self.leaving or self.ending:
            return False
        held = len(self.in_hand)
        return not held or held < min(self._limit, operation.prefetch)

    def take(self, attempt: Attempt, now: float) -> None:
        """One more in hand."""
        if not self.in_hand:
            attempt.since = now
            self._limit = inf
        self._limit = min(self._limit, attempt.operation.prefetch)
        self.in_hand[attempt] = None
        self.taken += 1

    def give(self, attempt: Attempt, now: float) -> None:
        """One less; the next is begun."""
        self.in_hand.pop(attempt, None)
        for following in self.in_hand:
            following.since = now
            return
        self.idle_since = now
