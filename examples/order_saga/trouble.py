"""Trouble: what goes wrong, and when, as the seed has it.

Each decision follows from the seed and from what it is about, not from the moment it is made: in
whatever order actors get their turns, the same seed gives the same day.
"""

from __future__ import annotations

from collections import Counter
from enum import Enum
from random import Random

import attrs

from examples.order_saga.messages import Step, Undo
from examples.order_saga.settings import Settings


class InjectedCrash(Exception):
    """Somebody pulled the plug. Not a Refusal: the actor ends, and its supervisor takes over."""


class Fate(Enum):
    """What becomes of one attempt."""

    FINE = "fine"
    REFUSED = "refused"
    CRASH_BEFORE = "crashed before"
    CRASH_AFTER = "crashed after"
    ANSWER_LOST = "answer lost"


@attrs.define
class Trouble:
    """The one source of it. Outlives the actors it strikes, so that it does not strike them in the
    same place for ever."""

    settings: Settings
    met: Counter[tuple[str, Fate]] = attrs.field(init=False, repr=False, factory=Counter)
    """What has happened, by component."""
    _attempts: Counter[str] = attrs.field(init=False, repr=False, factory=Counter)

    def fate(self, message: Step | Undo) -> Fate:
        """Of this attempt. A refusal is for good: the next attempt hears it too."""
        what = f"{type(message).__name__} {message.key}"
        if isinstance(message, Step) and self._draw(what) < self.settings.refusal_rate:
            return Fate.REFUSED
        self._attempts[what] += 1
        if self._draw(f"{what} {self._attempts[what]}") >= self.settings.crash_rate:
            return Fate.FINE
        broken = (Fate.CRASH_BEFORE, Fate.CRASH_BEFORE, Fate.CRASH_AFTER, Fate.CRASH_AFTER)
        draw = self._draw(f"{what} {self._attempts[what]} how")
        return (*broken, Fate.ANSWER_LOST)[int(draw * 5)]

    def saga_falls(self, key: str) -> bool:
        """Whether a saga crashes when it has the answer to this step; only the first time."""
        what = f"saga {key}"
        self._attempts[what] += 1
        return self._attempts[what] == 1 and self._draw(what) < self.settings.crash_rate / 4

    def crash(self, who: str, fate: Fate, key: str) -> InjectedCrash:
        """The exception to raise, counted."""
        self.met[who, fate] += 1
        return InjectedCrash(f"{who} {fate.value} {key}")

    def _draw(self, what: str) -> float:
        return Random(f"{self.settings.seed} {what}").random()
