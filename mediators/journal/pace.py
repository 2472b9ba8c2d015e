"""How long commits take, and whether that is too long to be made where others wait."""

from __future__ import annotations

SLOW = 0.005
"""Seconds a commit may take on average that is made right here; past it they go to a thread."""


class Pace:
    """The running average of what commits have taken."""

    __slots__ = ("_seconds",)

    def __init__(self) -> None:
        self._seconds = 0.0

    @property
    def slow(self) -> bool:
        """Whether the next one is not to be made right here."""
        return self._seconds > SLOW

    def took(self, seconds: float) -> None:
        """One more has taken so long."""
        self._seconds += (seconds - self._seconds) / 8
