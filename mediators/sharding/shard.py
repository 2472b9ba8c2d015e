"""A shard of a journal that somebody else writes, here or in another process."""

from __future__ import annotations

import sys
from time import perf_counter
from typing import TYPE_CHECKING, Any

from actors.mailbox import NOWHERE
from actors.replies import Slot
from actors.runtime.stages import Pending
from mediators.journal.addresses import check_number
from mediators.journal.lookups import Lookups
from mediators.journal.memory import open_in_memory
from mediators.journal.protocol import CommitUnknown, Fenced, JournalError, JournalUnreachable
from mediators.journal.reader import SqliteReader, open_runs
from mediators.sharding.writer import Acquire, Acquired, Commit, Committed, Part, packed
from supervisors.sharding.messages import send

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from actors import Call, Ref
    from actors.place import Place
    from actors.runtime.stages import Steps
    from mediators.journal.protocol import Batch, RunRow


HEAD = 256
"""Bytes of a message to the writer that are not the batch, at most."""
FRESH = 1.0
"""Seconds for which it is believed that there are no strays; a shard at work is told many times in
each."""


def acquire(place: Place, writer: Ref[Any], shard: int) -> Steps:
    """Take a shard over; returns the :class:`SharedShard`. Raises JournalError."""
    answer = Pending(place)
    # Whoever waits for the writer waits for nobody who could wait for him.
    answer.holder = None
    ask(writer, Acquire(shard), answer.resolve, answer.resolve)
    acquired = yield answer
    if isinstance(acquired, BaseException):
        raise JournalUnreachable(f"The journal of shard {shard} cannot be had: {acquired}")
    if acquired.refused is not None:
        raise JournalError(acquired.refused)
    return SharedShard(writer, shard, acquired)


class SharedShard(Lookups):
    """One shard, owned, as a driver uses it: what it commits is written together with what others
    do, and ``submit`` tells when that is on disk. Lookups read the file."""

    inline: bool = False

    def __init__(self, writer: Ref[Any], shard: int, acquired: Acquired) -> None:
        path = acquired.path
        if path is None and writer._place.far:
            raise JournalUnreachable(
                "Shards in processes of their own keep their histories in a file that all of them "
                'can read: journal = "orders.db".'
            )
        super().__init__(writer._place.actor.reader if path is None else SqliteReader(path))
        self._writer = writer
        self._room = room_of(writer)
        self._path = path
        self.shard = shard
        self.epoch = acquired.epoch
        self.next_number = acquired.next_number
        self._first_run = acquired.first_run
        self._strays = acquired.strays
        self._heard = perf_counter()
        """When it was last told whether there are any."""
        self._known = self._reader.known(shard) if isinstance(self._reader, SqliteReader) else None

    @property
    def first_run(self) -> int:
        """See :class:`Shard`. Another shard may have removed a stray of an id that is new here."""
        if self._may_stray:
            self._first_run = max(self._first_run, self._reader.read_first_run())
        return self._first_run

    @first_run.setter
    def first_run(self, number: int) -> None:
        self._first_run = number

    def runs(self, **filters: Any) -> list[RunRow]:
        """Those of this shard alone."""
        return self._reader.runs(**filters, shard=self.shard)

    def find_own(self, id: str) -> RunRow | None:
        """As :meth:`find`, of an id that belongs to this shard and is new, probably. While there
        are no strays, nobody but this shard can have it."""
        if self._known is not None and not self._known.may_know(id) and not self._may_stray:
            return None
        return self.find(id)

    @property
    def _may_stray(self) -> bool:
        """There are strays, or there may be by now."""
        return self._strays or perf_counter() - self._heard > FRESH

    def open_runs(self) -> Iterator[tuple[RunRow, Sequence[bytes]]]:
        """The runs that are not over, with the data of their records."""
        if self._path is None:
            return open_in_memory(self._reader, self.shard)
        return open_runs(self._path, self.shard)

    def submit(self, batch: Batch, done: Callable[[BaseException | None], object]) -> None:
        """Have a batch committed; ``done`` is told when it is on disk, or why it is not. Several
        may be on their way; they are committed in their order."""
        for row in batch.runs:
            check_number(self.shard, row.number)
            self.next_number = max(self.next_number, row.number + 1)
            if self._known is not None:
                self._known.add(row.id)

        def committed(answer: Committed) -> None:
            self._strays = self._strays or answer.strays
            self._heard = perf_counter()
            done(error_of(answer.refused))

        data = packed(batch)
        room, at = self._room, 0
        while len(data) - at > room:
            part = Part(self.shard, self.epoch, data[at : at + room])
            send(self._writer._place, part, None, NOWHERE)
            at += room
        ask(self._writer, Commit(self.shard, self.epoch, data[at:]), committed, done)

    def append(self, batch: Batch) -> None:
        """Not here: nobody waits in a thread for another process."""
        raise NotImplementedError("A shared shard takes batches by submit().")

    def release(self) -> None:
        """Give it back: the next owner fences this one."""
        if isinstance(self._reader, SqliteReader):
            self._reader.close()


def room_of(writer: Ref[Any]) -> int:
    """How many bytes of a batch a message to the writer has room for."""
    place: Any = writer._place
    return max(place.link.max_message - HEAD, 1) if place.far else sys.maxsize


def error_of(refused: str | None) -> BaseException | None:
    """Why something was not committed."""
    if refused is None:
        return None
    kind = refused.partition(":")[0]
    cls = {"Fenced": Fenced, "CommitUnknown": CommitUnknown}.get(kind, JournalError)
    return cls(refused)


class Answered(Slot):
    """The reply slot of what a shard asks its writer: calls back."""

    __slots__ = ("_done", "_failed")

    def __init__(
        self,
        message: Call[Any],
        place: Place,
        done: Callable[[Any], object],
        failed: Callable[[BaseException], object],
    ) -> None:
        super().__init__(message, place)
        self._done = done
        self._failed = failed

    def settle(self) -> None:
        """There is an answer, or there will be none."""
        super().settle()
        if self.error is None:
            self._done(self.value)
        else:
            self._failed(CommitUnknown(f"Whoever writes the journal did not answer: {self.error}"))


def ask(
    writer: Ref[Any],
    message: Call[Any],
    done: Callable[[Any], object],
    failed: Callable[[BaseException], object],
) -> None:
    """Send a call whose answer is called back."""
    place = writer._place
    send(place, message, Answered(message, place, done, failed), NOWHERE)
