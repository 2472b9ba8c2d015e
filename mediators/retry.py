"""How often a step is tried, and when."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING

import attrs

from actors.validation import check_number, is_int

if TYPE_CHECKING:
    from random import Random

STEP_TIMEOUT = 10.0
"""Seconds one attempt may take unless told otherwise."""


@attrs.frozen
class Retry:
    """``attempts`` in all; before the second one a random time of up to ``first`` seconds passes,
    before each further one up to twice as long, at most ``cap`` ("full jitter").

    A refusal is an answer and never tried again. Time in which the component is not up counts
    neither as an attempt nor against the timeout. ``math.inf`` attempts: for ever.
    """

    attempts: float = 5
    first: float = 0.1
    cap: float = 10.0

    def __attrs_post_init__(self) -> None:
        if self.attempts != inf and (not is_int(self.attempts) or self.attempts < 1):
            raise ValueError(
                f"Retry attempts is an int of 1 or more, or math.inf. Got: {self.attempts!r}"
            )
        check_number("Retry first (seconds)", self.first, at_least=0)
        check_number("Retry cap (seconds)", self.cap, at_least=0)

    def delay(self, failures: int, random: Random) -> float:
        """Seconds to wait after so many failures."""
        longest = min(self.cap, self.first * 2.0 ** min(failures - 1, 64))
        return random.uniform(0, longest)


DEFAULT_RETRY = Retry()
