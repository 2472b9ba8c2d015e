"""Checks of what users pass in, shared by several nouns."""

from __future__ import annotations

import math


def check_seconds(what: str, seconds: float, *, zero: bool = True) -> float:
    """Return ``seconds`` if it is a duration, else raise naming ``what``."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{what} is a number of seconds. Got: {seconds!r}")
    if math.isnan(seconds) or seconds < 0 or (seconds == 0 and not zero):
        least = "0 or more" if zero else "more than 0"
        raise ValueError(f"{what} is {least} seconds. Got: {seconds!r}")
    return seconds
