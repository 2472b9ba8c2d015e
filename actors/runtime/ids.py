"""Ranges of ids: those of a system, of which each of its worker processes has a part."""

from __future__ import annotations


class IdRange:
    """``size`` ids behind ``first``. A system draws them from the beginning on, and gives parts of
    ``part`` ids away from the end. When all parts are given away, the first ones are given again:
    whoever had those has long ended. The parts of parts of parts grow small, and end at one id.
    """

    __slots__ = ("_given", "_part", "first", "size")

    def __init__(self, first: int, size: int, part: int) -> None:
        self.first = first
        self.size = size
        self._part = max(part, 1)
        self._given = 0

    def part(self) -> IdRange:
        """The ids of one worker process."""
        parts = max(self.size // self._part - 1, 1)
        at = self._given % parts
        self._given += 1
        first = self.first + self.size - (at + 1) * self._part
        return IdRange(first, self._part, self._part)
