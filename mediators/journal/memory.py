"""A journal that lives as long as its object: for tests, and for work that need not outlive the
process."""

from __future__ import annotations

import copy
from bisect import insort
from itertools import islice
from typing import TYPE_CHECKING, TypeAlias

import attrs

from mediators.journal.addresses import check_number, check_shard, position_of, shard_of, span_of
from mediators.journal.lookups import Lookups
from mediators.journal.protocol import (
    Batch,
    Fenced,
    JournalDamaged,
    JournalError,
    JournalFormat,
    JournalLocked,
    Reader,
    Record,
    RunRow,
    append_each,
    other_shards,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_Logged: TypeAlias = "tuple[int, Batch | list[bytes] | None]"
"""A shard and what came to it: a batch, something left in the inbox, or a new owner."""


@attrs.define(eq=False)
class _Rows:
    """What one shard has been given."""

    epoch: int = 0
    position: int = 0
    number: int = 1
    """Without the shard: the first not in use."""
    first_run: int = 1
    records: dict[int, tuple[int, int, bytes]] = attrs.Factory(dict)
    """Position to run number, seq and data."""
    left: int = 0
    inbox: dict[int, bytes] = attrs.Factory(dict)
    owner: MemoryShard | None = None


class MemoryJournal:
    """Keeps everything in the object, with the rules of a journal on disk.

    ``log=False`` keeps no log of the batches: :meth:`copy` then takes everything or nothing, and
    what retention removes gives its memory back.
    """

    def __init__(self, *, log: bool = True) -> None:
        self._shards: dict[int, _Rows] = {}
        self._runs: dict[int, RunRow] = {}
        self._ids: dict[str, dict[int, int]] = {}
        """Workflow id and run to the run's number."""
        self._positions: dict[int, list[int]] = {}
        """Where a run's records are, in order of seq."""
        self._log: list[_Logged] | None = [] if log else None
        self._commits = 0
        self._count: int | None = None
        self._strays = False
        """How many shards it has, once somebody has said so."""

    @property
    def commits(self) -> int:
        """How many batches have been committed, in all shards."""
        return self._commits

    def acquire(self, shard: int = 0) -> MemoryShard:
        """Take a shard over. The owner before is fenced."""
        check_shard(shard)
        rows = self._rows(shard)
        rows.epoch += 1
        rows.owner = owned = MemoryShard(self, shard, rows)
        self._note(shard, None)
        return owned

    def leave(self, shard: int, items: Iterable[bytes]) -> None:
        """Put something into the inbox of a shard. Raises JournalLocked if somebody owns it."""
        check_shard(shard)
        rows = self._rows(shard)
        if rows.owner is not None:
            raise JournalLocked(
                f"Shard {shard} of this journal in memory has an owner: what is to reach it is "
                "sent to the owner."
            )
        left = list(items)
        for data in left:
            rows.inbox[rows.left] = data
            rows.left += 1
        self._note(shard, left)

    def fix_shards(self, count: int) -> bool:
        """The journal has so many shards, for ever. Returns whether strays were noted. Raises
        JournalFormat if it has others."""
        if self._count not in (None, count) or (self._count is None and count > 1 and self._runs):
            raise JournalFormat(other_shards("This journal in memory", self._count or 1, count))
        self._count = count
        return self._strays

    def note_strays(self) -> None:
        """There are workflows in other shards than those of their ids."""
        self._strays = True

    def append_all(
        self, batches: Sequence[tuple[MemoryShard, Batch]]
    ) -> list[JournalError | ValueError | None]:
        """Commit batches of several shards; None for each that was committed, or why it was not."""
        return append_each(batches)

    def read(self) -> MemoryReader:
        """A reader, for those who only look."""
        return MemoryReader(self)

    def close(self) -> None:
        """Every shard is given back; what was written stays. Idempotent."""
        for rows in self._shards.values():
            rows.owner = None

    def copy(self, commits: int | None = None) -> MemoryJournal:
        """A journal of its own, owned by nobody, with the first so many batches, or all: what a
        process leaves behind that dies right after that commit.

        What was left in an inbox before the next batch is in it as well. Raises ValueError for
        more batches than there are, and for a part of a journal that keeps no log.
        """
        if commits is not None and not 0 <= commits <= self._commits:
            raise ValueError(f"There are {self._commits} commits to copy. Got: {commits!r}")
        if self._log is None:
            if commits not in {None, self._commits}:
                raise ValueError("A journal made with log=False is copied as a whole only.")
            return self._copied()
        made = MemoryJournal()
        for shard, what in self._log:
            rows = made._rows(shard)
            if what is None:
                rows.epoch += 1
            elif isinstance(what, Batch):
                if made._commits == commits:
                    break
                made._commit(shard, rows, what)
            else:
                made.leave(shard, what)
        return made

    # -- for shards and readers

    def _rows(self, shard: int) -> _Rows:
        rows = self._shards.get(shard)
        if rows is None:
            rows = self._shards[shard] = _Rows()
        return rows

    def _note(self, shard: int, what: Batch | list[bytes] | None) -> None:
        if self._log is not None:
            self._log.append((shard, what))

    def _copied(self) -> MemoryJournal:
        made = MemoryJournal(log=False)
        for shard, rows in self._shards.items():
            made._shards[shard] = attrs.evolve(
                rows, records=dict(rows.records), inbox=dict(rows.inbox), owner=None
            )
        made._runs = {number: copy.copy(row) for number, row in self._runs.items()}
        made._ids = {id: dict(runs) for id, runs in self._ids.items()}
        made._positions = {number: list(at) for number, at in self._positions.items()}
        made._commits = self._commits
        return made

    def _check(self, shard: int, batch: Batch) -> None:
        """Raises ValueError for what the tables of a journal on disk refuse: the batch is written
        as a whole or not at all."""
        numbers: set[int] = set()
        ids: set[tuple[str, int]] = set()
        for row in batch.runs:
            check_number(shard, row.number)
            if row.number in self._runs or row.number in numbers:
                raise ValueError(f"There is a run of number {row.number} already.")
            if row.run in self._ids.get(row.id, ()) or (row.id, row.run) in ids:
                raise ValueError(f"There is a run {row.run} of {row.id!r} already.")
            numbers.add(row.number)
            ids.add((row.id, row.run))
        written: set[tuple[int, int]] = set()
        records = self._rows(shard).records
        for number, seq, _ in batch.records:
            check_number(shard, number)
            at = self._positions.get(number)
            if (number, seq) in written or (at and _has(records, at, seq)):
                raise ValueError(f"There is a record {seq} of run {number} already.")
            written.add((number, seq))
        ends = {number: ended for _, ended, number in batch.statuses}
        for number in ends:
            if number not in self._runs and number not in numbers:
                raise ValueError(f"There is no run of number {number}.")
        for number in batch.removed:
            there = self._runs.get(number)
            if there is not None and ends.get(number, there.ended) is None:
                raise ValueError(f"Run {number} is not over: only what has ended is removed.")

    def _commit(self, shard: int, rows: _Rows, batch: Batch) -> None:
        self._check(shard, batch)
        for row in batch.runs:
            self._runs[row.number] = copy.copy(row)
            self._ids.setdefault(row.id, {})[row.run] = row.number
            rows.number = max(rows.number, position_of(row.number) + 1)
        for number, seq, data in batch.records:
            rows.records[rows.position] = (number, seq, data)
            at = self._positions.setdefault(number, [])
            insort(at, rows.position, key=lambda position: rows.records[position][1])
            rows.position += 1
        for status, ended, number in batch.statuses:
            row = self._runs[number]
            row.status, row.ended = status, ended
        for position in batch.consumed:
            rows.inbox.pop(position, None)
        for number in batch.removed:
            gone = self._runs.get(number)
            if gone is not None and gone.run == max(self._ids[gone.id]):
                rows.first_run = max(rows.first_run, gone.run + 1)
            self._forget(number)
        self._commits += 1
        if self._log is not None:
            kept = Batch(
                [copy.copy(row) for row in batch.runs],
                list(batch.records),
                list(batch.statuses),
                list(batch.consumed),
                list(batch.removed),
            )
            self._log.append((shard, kept))

    def _forget(self, number: int) -> None:
        records = self._rows(shard_of(number)).records
        for position in self._positions.pop(number, ()):
            del records[position]
        row = self._runs.pop(number, None)
        if row is not None:
            runs = self._ids[row.id]
            del runs[row.run]
            if not runs:
                del self._ids[row.id]


def _has(records: dict[int, tuple[int, int, bytes]], at: list[int], seq: int) -> bool:
    """Whether a run whose records are ``at`` these positions has a record ``seq``."""
    if records[at[-1]][1] < seq:
        return False
    return any(records[position][1] == seq for position in at)


class MemoryReader:
    """Reads a journal in memory."""

    def __init__(self, journal: MemoryJournal) -> None:
        self._journal = journal

    def read_first_run(self) -> int:
        """The ``run`` with which an id begins of which nothing is there."""
        return max((rows.first_run for rows in self._journal._shards.values()), default=1)

    def runs(
        self,
        *,
        status: str | None = None,
        type: str | None = None,
        id_prefix: str | None = None,
        ended_before: float | None = None,
        shard: int | None = None,
        limit: int | None = None,
    ) -> list[RunRow]:
        """The runs in order of their numbers, filtered."""
        found = (
            copy.copy(row)
            for _, row in sorted(self._journal._runs.items())
            if (status is None or (row.ended is None if status == "open" else row.status == status))
            and (type is None or row.type == type)
            and (id_prefix is None or row.id.startswith(id_prefix))
            and (shard is None or shard_of(row.number) == shard)
            and (ended_before is None or (row.ended is not None and row.ended < ended_before))
        )
        return list(islice(found, limit))

    def find(self, id: str, run: int | None = None) -> RunRow | None:
        """A run by its workflow's id."""
        runs = self._journal._ids.get(id)
        if runs is None:
            return None
        number = runs.get(max(runs) if run is None else run)
        return None if number is None else copy.copy(self._journal._runs[number])

    def history(self, number: int) -> list[Record]:
        """The records of one run. Raises JournalDamaged if one is missing."""
        shard = shard_of(number)
        records = self._journal._rows(shard).records
        found = [
            Record(shard, position, *records[position])
            for position in self._journal._positions.get(number, ())
        ]
        for seq, record in enumerate(found):
            if record.seq != seq:
                raise JournalDamaged(f"Record {seq} of run {number} is missing from the journal.")
        return found

    def feed(self, shard: int, after: int = -1, limit: int = 1000) -> list[Record]:
        """Records of a shard behind a position."""
        rows = self._journal._rows(shard)
        there = (
            Record(shard, position, *rows.records[position])
            for position in range(max(after, -1) + 1, rows.position)
            if position in rows.records
        )
        return list(islice(there, limit))

    def inbox(self, shard: int) -> list[tuple[int, bytes]]:
        """What was left for the owner."""
        return list(self._journal._rows(shard).inbox.items())

    def close(self) -> None:
        """Nothing to give back; idempotent."""


class MemoryShard(Lookups):
    """One shard of a journal in memory, owned."""

    inline: bool = True

    def __init__(self, journal: MemoryJournal, shard: int, rows: _Rows) -> None:
        super().__init__(MemoryReader(journal))
        self._journal = journal
        self._rows = rows
        self.shard = shard
        self.epoch = rows.epoch
        self.next_number = span_of(shard)[0] + rows.number
        self.first_run = rows.first_run

    def open_runs(self) -> Iterator[tuple[RunRow, Sequence[bytes]]]:
        """The runs that are not over, with the data of their records."""
        return open_in_memory(self._reader, self.shard)

    def append(self, batch: Batch) -> None:
        """Commit a batch. Raises Fenced if another owner has come since."""
        if not batch:
            return
        rows = self._rows
        if rows.owner is not self:
            raise Fenced(
                f"Shard {self.shard} has been given back or taken over: it was owned in epoch "
                f"{self.epoch}, now it is epoch {rows.epoch}. Acquire it again."
            )
        self._journal._commit(self.shard, rows, batch)
        self.next_number = span_of(self.shard)[0] + rows.number
        self.first_run = rows.first_run

    def release(self) -> None:
        """Give the shard back. Idempotent."""
        if self._rows.owner is self:
            self._rows.owner = None


def open_in_memory(reader: Reader, shard: int) -> Iterator[tuple[RunRow, Sequence[bytes]]]:
    """The runs of a shard that are not over, with the data of their records."""
    for row in reader.runs(status="open", shard=shard):
        try:
            yield row, [record.data for record in reader.history(row.number)]
        except JournalDamaged:
            yield row, []
