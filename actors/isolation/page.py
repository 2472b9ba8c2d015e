"""A page of memory that both ends of a link see: what must be known of a process that is dead.

A worker that is killed says nothing any more. So it notes here, while it lives, how often its event
loop has come round, and of each message whether it has begun to handle it. A note is one store into
memory, without a system call.

The page consists of cells of eight bytes:

- how many beats there were, the number of the message that was taken last, and how many cells of
  the stash were ever in use;
- ``FATES`` cells, a message's at the remainder of its number: ``number << 2 | fate``;
- ``STASHED`` cells for what was set aside: ``number << 1``, and 1 more once the turn is over that
  has done that; 0 in a cell that is free again.
"""

from __future__ import annotations

import fcntl
import mmap
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SENT, TAKEN, DONE = range(3)
"""What became of a message: on its way; taken from the queue; answered, whether the answer has
arrived or not. Beside that it may have been set aside by ``stash``."""

FATES = 8192
"""How many messages have a cell of their own. No message gets the cell of one that waits."""
STASHED = 16_384
"""How many may be set aside at a time; a mailbox holds 10,000 unless it is told otherwise. Of what
is set aside beyond them it is not known."""

_AT_BEATS, _AT_LATEST, _AT_STASH_COUNT, _AT_FATES = range(4)
_AT_STASH = _AT_FATES + FATES
SIZE = 8 * (_AT_STASH + STASHED)


class Page:
    """The page, made by the parent and opened by its worker: about what the parent sends."""

    def __init__(self, descriptor: int) -> None:
        self._memory = mmap.mmap(descriptor, SIZE)
        self._cells = memoryview(self._memory).cast("Q")
        self._places: dict[int, int] = {}
        """Where the numbers stand of what is set aside; the worker knows that."""
        self._free: list[int] = []
        self._returning: list[int] = []
        """Those of what was given back; free once the sender has it."""
        self._crowded = 0
        """Up to this number no cell is looked for that is free."""
        self._before = 0
        """What was taken before the message that was taken last."""

    def sent(self, next_number: Callable[[], int]) -> int:
        """The number of a message that is about to be sent, drawn by ``next_number``: one whose
        cell is not that of a message that still waits."""
        number = next_number()
        cells = self._cells
        cell = cells[_AT_FATES + number % FATES]
        if cell and not cell & 3:
            number = self._pass_over(number, next_number)
        cells[_AT_FATES + number % FATES] = number << 2  # SENT
        return number

    def _pass_over(self, number: int, next_number: Callable[[], int]) -> int:
        """The next number with a free cell. If there is none, so many wait that some are forgotten,
        and it is not looked for in vain each time."""
        if number > self._crowded:
            for _ in range(FATES):
                cell = self._cells[_AT_FATES + number % FATES]
                if not cell or cell & 3:
                    return number
                number = next_number()
            self._crowded = number + FATES
        return number

    def beat(self) -> None:
        """A sign of life."""
        self._cells[_AT_BEATS] += 1

    @property
    def beats(self) -> int:
        """How many there have been."""
        return self._cells[_AT_BEATS]

    @property
    def latest(self) -> int:
        """The number of the message that was taken last; 0 before the first."""
        return self._cells[_AT_LATEST]

    def note(self, number: int, fate: int) -> None:
        """What becomes of a message. A cell that is a later one's by now stays that."""
        cell = _AT_FATES + number % FATES
        if self._cells[cell] >> 2 <= number:
            self._cells[cell] = number << 2 | fate

    def took(self, number: int) -> None:
        """A message is about to be handled."""
        self.note(number, TAKEN)
        self._before = self._cells[_AT_LATEST]
        self._cells[_AT_LATEST] = number
        if self._places:
            at = self._places.pop(number, None)
            if at is not None:
                self._cells[at] = 0
                self._free.append(at)

    def fate(self, number: int) -> int:
        """What became of a message. One whose cell is another's by now was taken."""
        cell = self._cells[_AT_FATES + number % FATES]
        return cell & 3 if cell >> 2 == number else TAKEN

    def set_aside(self, number: int) -> None:
        """A message was put into the stash."""
        if number in self._places:
            return
        cells = self._cells
        if not self._free and self._returning:
            self._free = [at for at in self._returning if not cells[at]]
            self._returning = [at for at in self._returning if cells[at]]
        if self._free:
            at = self._free.pop()
        elif cells[_AT_STASH_COUNT] < STASHED:
            at = _AT_STASH + cells[_AT_STASH_COUNT]
            cells[_AT_STASH_COUNT] += 1
        else:
            return
        cells[at] = number << 1
        self._places[number] = at

    def pass_on(self, number: int) -> None:
        """A message was put into another queue here: it was not begun."""
        self.set_aside(number)
        self.settle(number)
        if self._cells[_AT_LATEST] == number:
            self._cells[_AT_LATEST] = self._before

    def settle(self, number: int) -> None:
        """The turn is over in which that one was put into the stash."""
        at = self._places.get(number)
        if at is not None:
            self._cells[at] = number << 1 | 1

    def give_back(self, number: int) -> int:
        """A message goes back to its sender, and is set aside until that one has it: in the cell
        that is returned, if there was one."""
        self.set_aside(number)
        self.settle(number)
        at = self._places.pop(number, 0)
        if at:
            self._returning.append(at)
        return at

    def had_back(self, number: int, at: int) -> None:
        """The sender has the message that was set aside there."""
        if _AT_STASH <= at < len(self._cells) and self._cells[at] >> 1 == number:
            self._cells[at] = 0

    def aside(self) -> set[int]:
        """The numbers of what is in the stash, and not in the middle of its turn."""
        return {each >> 1 for each in self._stash() if each & 1}

    def kept(self) -> set[int]:
        """The numbers of all that is in the stash, or in a turn that may put it there."""
        return {each >> 1 for each in self._stash() if each}

    def _stash(self) -> memoryview:
        return self._cells[_AT_STASH : _AT_STASH + self._cells[_AT_STASH_COUNT]]

    def close(self) -> None:
        """Give the memory back; what was noted can still be read."""
        shared, self._cells = self._cells, memoryview(bytearray(self._cells)).cast("Q")
        shared.release()
        self._memory.close()


class NoPage:
    """In place of a page, for messages whose sender does not outlive their receiver."""

    latest = 0

    def sent(self, next_number: Callable[[], int]) -> int:
        """Any number will do."""
        return next_number()

    def note(self, number: int, fate: int) -> None:
        """Nothing is noted."""

    def took(self, number: int) -> None:
        """Nothing is noted."""

    def fate(self, number: int) -> int:
        """Nobody will look."""
        return TAKEN

    def set_aside(self, number: int) -> None:
        """Nothing is noted."""

    def pass_on(self, number: int) -> None:
        """Nothing is noted."""

    def settle(self, number: int) -> None:
        """Nothing is noted."""

    def give_back(self, number: int) -> int:
        """Nothing is noted."""
        return 0

    def had_back(self, number: int, at: int) -> None:
        """Nothing is noted."""

    def aside(self) -> set[int]:
        """Nothing is set aside."""
        return set()

    def kept(self) -> set[int]:
        """Nothing is set aside."""
        return set()


def make() -> int:
    """The descriptor of a new page, whose size is what it is for ever: to read a page that was cut
    off would end the parent."""
    descriptor = os.memfd_create("understudy-page", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, SIZE)
    seals = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor
