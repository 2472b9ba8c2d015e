"""Settings: how a day goes."""

from __future__ import annotations

import attrs

from supervisors import Backoff


@attrs.frozen
class Settings:
    """``crash_rate`` is the share of messages on which something breaks, ``refusal_rate`` that of
    steps answered with no; ``delay`` the seconds a component works on a message; ``at_once`` how
    many orders are under way at a time."""

    seed: int = 7
    crash_rate: float = 0.06
    refusal_rate: float = 0.04
    at_once: int = 12
    delay: float = 0.0

    @property
    def backoff(self) -> Backoff:
        """Crashes are expected here, so restarts are paced, not counted."""
        return Backoff(8 * self.delay, 16 * self.delay, reset=1.0)

    @property
    def patience(self) -> float:
        """Seconds a saga waits for an answer: about twice as long as the longest queue takes, the
        restarts on the way included."""
        per_message = self.delay + self.crash_rate * self.backoff.cap
        return 1.0 + 2 * self.at_once * per_message
