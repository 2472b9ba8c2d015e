"""Checks of what users pass in, shared by several nouns."""

from __future__ import annotations

import math
from typing import Any


def check_seconds(what: str, seconds: float, *, zero: bool = True) -> float:
    """Return ``seconds`` if it is a duration, else raise naming ``what``."""
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise TypeError(f"{what} is a number of seconds. Got: {seconds!r}")
    if math.isnan(seconds) or seconds < 0 or (seconds == 0 and not zero):
        least = "0 or more" if zero else "more than 0"
        raise ValueError(f"{what} is {least} seconds. Got: {seconds!r}")
    return seconds


def check_choice(what: str, value: object, accepted: tuple[str, ...]) -> None:
    """One of a few words."""
    if value not in accepted:
        raise ValueError(f"{what} is one of {', '.join(map(repr, accepted))}. Got: {value!r}")


def check_number(
    what: str, value: Any, *, at_least: float | None = None, above: float | None = None
) -> None:
    """A number, not NaN, in its range."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{what} is a number. Got: {value!r}")
    low = value < at_least if at_least is not None else above is not None and value <= above
    if low or math.isnan(value):
        least = f"{at_least} or more" if above is None else f"more than {above}"
        raise ValueError(f"{what} is {least}. Got: {value!r}")


def is_int(value: object) -> bool:
    """An int that is no bool."""
    return isinstance(value, int) and not isinstance(value, bool)
