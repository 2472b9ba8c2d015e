"""Times in words."""

from __future__ import annotations

from datetime import UTC, datetime

_UNITS = ((86_400.0, "day"), (3_600.0, "hour"), (60.0, "minute"))


def stamp(time: float) -> str:
    """A time on the wall clock: ``2030-01-31 00:00 UTC``."""
    try:
        found = datetime.fromtimestamp(time, UTC)
    except (ValueError, OverflowError, OSError):
        return "never"
    return f"{found:%Y-%m-%d %H:%M}{f':{found:%S}' if found.second else ''} UTC"


def span(seconds: float) -> str:
    """So much time, in one unit: ``29 days``, ``3 s``."""
    for size, unit in _UNITS:
        if seconds >= size * (1 if unit == "day" else 2):
            count = round(seconds / size)
            return f"{count} {unit}{'s' if count != 1 else ''}"
    return f"{seconds:.0f} s" if seconds >= 1 or seconds <= 0 else "less than 1 s"


def ago(time: float, now: float) -> str:
    """How long ago that was."""
    return f"{span(now - time)} ago" if now > time else "just now"


def moment(time: float, now: float) -> str:
    """A time, and how far that is from now."""
    if time > now:
        return f"{stamp(time)}, {span(time - now)} from now"
    return f"{stamp(time)}, {ago(time, now)}"


def ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``3rd``, ``4th``."""
    if number % 100 in (11, 12, 13):
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"
