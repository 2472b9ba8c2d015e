"""What a pool decides, as pure functions and data: how many workers, how many messages ahead, and
when an operation may go on."""

from __future__ import annotations

import math

import attrs

AHEAD = 0.002
"""Seconds of work that a worker may have in hand beyond the message it handles."""
MOST_AHEAD = 64
"""Messages in the hands of one worker, at most."""


def wanted(queued: int, running: int, least: int, most: int) -> int:
    """How many workers there should be: one for each message that waits or is handled, within the
    bounds."""
    return max(least, min(most, queued + running))


def hands(seconds: float | None) -> int:
    """How many messages a worker may hold that takes ``seconds`` for one: several, where handing
    over one after the other would take longer than the work; one, where that is not known yet or
    the next might have to wait behind it."""
    if seconds is None or seconds >= AHEAD / 2:
        return 1
    return min(MOST_AHEAD, int(AHEAD / max(seconds, 1e-6)))


def estimate(before: float | None, seconds: float) -> float:
    """How long the next message of an operation may take: as long as they do on average; but one
    that was slow is what is to be expected, at once."""
    if before is None or seconds >= AHEAD:
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

    def take(self, now: float) -> Bucket:
        """One token less."""
        return attrs.evolve(self, level=self.at(now) - 1, moment=now)

    def ready_at(self, now: float) -> float:
        """When there is a token: now, later, or, at a rate of 0, never."""
        missing = 1 - self.at(now)
        if missing <= 1e-9:
            return now
        return now + missing / self.rate if self.rate > 0 else math.inf


def bucket(rate: float, burst: int | None, now: float) -> Bucket:
    """A full one. Without a ``burst`` it is what comes in a second, at least one."""
    size = max(1.0, rate) if burst is None else float(burst)
    return Bucket(rate, size, size, now)
