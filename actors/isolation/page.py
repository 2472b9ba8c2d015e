"""A page of memory that both ends of a link see: what must be known of a process that is dead.

A worker that is killed says nothing any more. So it notes here, while it lives, how often its event
loop has come round, and of each message whether it has begun to handle it. A note is one store into
memory, without a system call.
"""

from __future__ import annotations

import mmap
import os

SENT, TAKEN, ASIDE, DONE = range(4)
"""What became of a message: on its way; taken from the queue; set aside by ``stash``; answered,
whether the answer has arrived or not."""

_BEATS, _LATEST, _CELLS = 0, 1, 2
CELLS = 8192
"""How many messages have a cell of their own. Those before have been taken long ago."""
SIZE = 8 * (_CELLS + CELLS)


class Page:
    """The page, made by the parent and opened by its worker: about what the parent sends."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, SIZE)
        self._cells = memoryview(self._memory).cast("Q")

    def beat(self) -> None:
        """A sign of life."""
        self._cells[_BEATS] += 1

    @property
    def beats(self) -> int:
        """How many there have been."""
        return self._cells[_BEATS]

    @property
    def latest(self) -> int:
        """The number of the message that was taken last; 0 before the first."""
        return self._cells[_LATEST]

    def note(self, number: int, fate: int) -> None:
        """What becomes of a message."""
        self._cells[_CELLS + number % CELLS] = number << 2 | fate

    def took(self, number: int) -> None:
        """A message is about to be handled."""
        self.note(number, TAKEN)
        self._cells[_LATEST] = number

    def fate(self, number: int) -> int:
        """What became of a message. One whose cell is another's by now was taken."""
        cell = self._cells[_CELLS + number % CELLS]
        return cell & 3 if cell >> 2 == number else TAKEN

    def close(self) -> None:
        """Give the memory back; what was noted can still be read."""
        shared, self._cells = self._cells, memoryview(bytearray(self._cells)).cast("Q")
        shared.release()
        self._memory.close()


class NoPage:
    """In place of a page, for messages whose sender does not outlive their receiver."""

    latest = 0

    def note(self, number: int, fate: int) -> None:
        """Nothing is noted."""

    def took(self, number: int) -> None:
        """Nothing is noted."""

    def fate(self, number: int) -> int:
        """Nobody will look."""
        return TAKEN


def make() -> int:
    """The descriptor of a new page."""
    descriptor = os.memfd_create("understudy-page", os.MFD_CLOEXEC)
    os.ftruncate(descriptor, SIZE)
    return descriptor
