"""What a supervisor decides, as pure functions: no task, no clock, no actor.

The decisions are those of OTP's ``supervisor``; where they differ, SEMANTICS says so.
"""

from __future__ import annotations

from collections import deque
from itertools import dropwhile
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from actors import is_orderly

if TYPE_CHECKING:
    from collections.abc import Iterable
    from random import Random

    from actors import Exit
    from supervisors.specs import AutoShutdown, Backoff, Restart, Strategy

Verdict: TypeAlias = Literal["restart", "keep", "remove"]


def verdict(restart: Restart, exit: Exit) -> Verdict:
    """What becomes of a child that ended by itself: restart it, keep its spec, or remove it."""
    if restart == "temporary":
        return "remove"
    if restart == "transient" and is_orderly(exit):
        return "keep"
    return "restart"


@attrs.define
class Window:
    """The restarts that count, by their moments, oldest first."""

    max_restarts: int
    within: float
    moments: deque[float] = attrs.field(factory=deque[float])

    def add(self, now: float) -> bool:
        """Count one more restart at ``now``; True when that is one more than allowed.

        The window slides: what is older than ``within`` seconds no longer counts, what is exactly
        that old still does.
        """
        oldest = now - self.within
        while self.moments and self.moments[0] < oldest:
            self.moments.popleft()
        self.moments.append(now)
        return len(self.moments) > self.max_restarts


def affected(strategy: Strategy, ids: Iterable[str], failed: str) -> list[str]:
    """The children a failure concerns, in start order: stop them in reverse, start them so."""
    if strategy == "one_for_all":
        return list(ids)
    if strategy == "rest_for_one":
        return list(dropwhile(lambda id: id != failed, ids))
    return [failed]


def shuts_down(auto_shutdown: AutoShutdown, *, significant: bool, others_active: bool) -> bool:
    """Whether the end of a child, by itself and for good, ends its supervisor.

    ``others_active``: another significant child is still there.
    """
    if not significant or auto_shutdown == "never":
        return False
    return auto_shutdown == "any_significant" or not others_active


@attrs.frozen
class Pace:
    """Where a child with a ``Backoff`` stands: restarts in a row, and the last one's moment."""

    restarts: int = 0
    last: float | None = None

    def next(self, backoff: Backoff, now: float, random: Random) -> tuple[Pace, float]:
        """The pace after one more failure at ``now``, and the delay (seconds) before the restart.

        ``last`` is the moment that restart is due; quiet counts from there.
        """
        quiet = self.last is not None and now - self.last >= backoff.reset
        restarts = 0 if quiet else self.restarts
        # 2.0 ** 1100 overflows; long before that the cap has been reached.
        delay = min(backoff.cap, backoff.first * 2.0 ** min(restarts, 1000))
        delay *= 1 - backoff.jitter * random.random()
        return Pace(restarts + 1, now + delay), delay

    def exhausted(self, backoff: Backoff) -> bool:
        """More restarts in a row than the backoff allows."""
        return backoff.limit is not None and self.restarts > backoff.limit
