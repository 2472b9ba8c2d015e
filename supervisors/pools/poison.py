"""The messages that a pool has set aside."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from supervisors.pools.admin import NoSuchPoison

if TYPE_CHECKING:
    from collections.abc import Iterator

    from supervisors.pools.admin import PoisonMessage

REMEMBERED = 1000
"""Messages that were set aside, of which the last so many are kept."""


class Poison:
    """The last of them, the latest last; ``count`` says how many there were."""

    def __init__(self) -> None:
        self._kept: deque[PoisonMessage] = deque(maxlen=REMEMBERED)
        self.count = 0

    def __iter__(self) -> Iterator[PoisonMessage]:
        return iter(self._kept)

    def add(self, message: PoisonMessage) -> None:
        """Set one aside."""
        self._kept.append(message)
        self.count += 1

    def take(self, number: int, path: str) -> PoisonMessage:
        """The one of that number, which is set aside no longer. Raises NoSuchPoison, which names
        the pool at ``path``."""
        for each in self._kept:
            if each.number == number:
                self._kept.remove(each)
                return each
        known = ", ".join(str(each.number) for each in self._kept) or "none"
        raise NoSuchPoison(f"{path} has set aside no message {number}; it has: {known}")
