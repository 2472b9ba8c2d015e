"""What a pool decides, as pure functions and data: how many workers, how many messages one of
them may hold, and when an operation may go on."""

from __future__ import annotations

import math

import attrs

PREFETCH_SECONDS = 0.002
"""Seconds of work that a worker may have in hand: several messages only where one takes less than
half of it."""
MAX_PREFETCH = 64
"""Messages in the hands of one worker, at most."""


def wanted(queued: int, running: int, least: int, most: int) -> int:
    """How many workers there should be: one for each message that waits and may be begun, or is
    handled, within the bounds."""
    return max(least, min(most, queued + running))


def prefetch(seconds: float | None) -> int:
    """How many messages a worker may hold that takes ``seconds`` for one: several, where handing
    over one after the other would take longer than the work; one, where that is not known yet or
    the next might have to wait behind it."""
    if seconds is None or seconds >= PREFETCH_SECONDS / 2:
        return 1
    return min(MAX_PREFETCH, int(PREFETCH_SECONDS / max(seconds, 1e-6)))


def estimate(before: float | None, seconds: float) -> float:
    """How long the next message of an operation may take: from 2 ms on as long as the last one;
    below that as long as they do of late, on a moving average."""
    if before is None or seconds >= PREFETCH_SECONDS:
        return seconds
    return before + (seconds - before) / 16


@attrs.frozen
class Bucket:
    """So many a second, and ``burst`` at once: a bucket that fills with ``rate`` tokens a second.

    ``level`` is what it held at ``moment`` (seconds on any clock that runs evenly).
    """

    rate: float
    burst: float
    level: float
    moment: float

    def at(self, now: float) -> float:
        """What it holds now."""
        return min(self.burst, self.level + (now - self.moment) * self.rate)

    def whole(self, now: float) -> int:
        """How many tokens there are now."""
        return max(0, int(self.at(now) + 1e-9))

    def take(self, now: float) -> Bucket:
        """One token less."""
        return attrs.evolve(self, level=self.at(now) - 1, moment=now)

    def ready_at(self, now: float) -> float:
        """When there is a token: now, later, or, at a rate of 0, never."""
        missing = 1 - self.at(now)
        if missing <= 1e-9:
            return now
        return now + missing / self.rate if self.rate > 0 else math.inf


def bucket(rate: float, burst: int | None, now: float, before: Bucket | None = None) -> Bucket:
    """A full one; or, in the place of another, one with what is left in that. Without a ``burst``
    it holds what comes in a second, at least one; at a rate of 0 nothing."""
    size = max(1.0, rate) if burst is None else float(burst)
    if rate == 0:
        size = 0.0
    return Bucket(rate, size, size if before is None else min(size, before.at(now)), now)
