"""Letting go of what has ended long ago: a batch at a time, now and then."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mediators.driver.driver import Driver

AT_ONCE = 500
"""Runs that are removed in one commit."""
LONGEST = 3600.0
"""Seconds from one look to the next at most; where less is kept, it is looked at as often as that
time passes."""
SHORTEST = 1.0
"""Seconds from one look to the next at least."""


class Retention:
    """Removes the runs of one driver that ended more than ``retention`` seconds ago, with their
    histories, beginning soon after the mediator starts.

    What is removed is as if it had never been: its id gives no result any more and may be started
    anew, with any contents. Only its keys are not used again: the journal remembers how far the
    ``run`` of such ids had come, and the new one begins behind that. A component may remember the
    answers to the old keys for longer than the mediator does.
    """

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._seconds = driver.mediator.retention
        if self._seconds < inf:
            driver.later(SHORTEST, ("retention", None, None))

    def sweep(self) -> None:
        """Remove what is due, as far as one commit goes; the rest follows it at once."""
        driver = self._driver
        rows = driver.shard.runs(ended_before=driver.now() - self._seconds, limit=AT_ONCE)
        if rows:
            # Ahead of the commit: nobody may find an id gone and begin it with a number it has had.
            shard = driver.shard
            shard.first_run = max(shard.first_run, 1 + max(each.run for each in rows))
            driver.committer.batch.removed += [each.number for each in rows]
            driver.committer.wanted()
        if len(rows) == AT_ONCE:
            driver.call_out(self.sweep)
        else:
            pause = min(max(self._seconds, SHORTEST), LONGEST)
            driver.later(pause, ("retention", None, None))
