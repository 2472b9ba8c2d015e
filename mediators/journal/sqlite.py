"""A journal in one SQLite file: no server, nothing to set up."""

from __future__ import annotations

import os
import sqlite3
from threading import Lock
from typing import TYPE_CHECKING, TypeVar

import attrs
from msgspec.structs import astuple

from mediators.journal.addresses import check_number, check_shard, checksum, span_of
from mediators.journal.lock import FileLock
from mediators.journal.lookups import Lookups
from mediators.journal.protocol import (
    CommitUnknown,
    Fenced,
    JournalError,
    JournalFormat,
    JournalLocked,
    JournalUnreachable,
    append_each,
    other_shards,
)
from mediators.journal.reader import SqliteReader, open_runs
from mediators.journal.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from mediators.journal.protocol import Batch, RunRow

T = TypeVar("T")

_ADD_RECORD = "INSERT INTO records (address, number, seq, crc, data) VALUES (?, ?, ?, ?, ?)"
_ADD_RUN = (
    "INSERT INTO runs (number, id, run, type, status, started, ended, parent)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_SET_STATUS = "UPDATE runs SET status = ?, ended = ? WHERE number = ?"
_ADVANCE = "UPDATE shards SET position = ?, number = ? WHERE shard = ? AND epoch = ?"
_CONSUME = "DELETE FROM inbox WHERE address = ?"
_REMOVE_RUN = "DELETE FROM runs WHERE number = ? AND ended IS NOT NULL"
_REMOVE_RECORDS = "DELETE FROM records WHERE number = ?"
_IS_THERE = "SELECT 1 FROM runs WHERE number = ?"
_IS_LATEST = (
    "SELECT run FROM runs AS gone WHERE number = ?"
    " AND NOT EXISTS (SELECT 1 FROM runs WHERE id = gone.id AND run > gone.run)"
)
_FIRST_RUN = "SELECT value FROM meta WHERE name = 'first_run'"
_RAISE_FIRST_RUN = (
    "INSERT INTO meta (name, value) VALUES ('first_run', ?)"
    " ON CONFLICT (name) DO UPDATE SET value = max(value, excluded.value)"
)

_SHARDS = "SELECT value FROM meta WHERE name = 'shards'"
_SET_SHARDS = "INSERT INTO meta (name, value) VALUES ('shards', ?)"
_STRAYS = "SELECT 1 FROM meta WHERE name = 'strays'"
_NOTE_STRAYS = "INSERT OR IGNORE INTO meta (name, value) VALUES ('strays', 1)"
_ANY_RUN = "SELECT 1 FROM runs LIMIT 1"
_ADD_SHARD = (
    "INSERT OR IGNORE INTO shards (shard, epoch, position, number, inbox) VALUES (?, 0, 0, 1, 0)"
)
_RAISE_EPOCH = "UPDATE shards SET epoch = epoch + 1 WHERE shard = ?"
_SHARD = "SELECT epoch, position, number FROM shards WHERE shard = ?"
_INBOX_END = "SELECT inbox FROM shards WHERE shard = ?"
_LEAVE = "INSERT INTO inbox (address, crc, data) VALUES (?, ?, ?)"
_SET_INBOX_END = "UPDATE shards SET inbox = ? WHERE shard = ?"


class SqliteJournal:
    """The journal at ``path``, which is made when it is first opened for writing.

    Nothing is opened before :meth:`acquire` or :meth:`leave`; from then to :meth:`close` it is
    locked against every other process and every other object. To look only: :meth:`read`.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        name = os.fspath(path)
        if not name or name == ":memory:":
            raise ValueError("An SqliteJournal is a file; in memory there is MemoryJournal().")
        self.path = os.path.realpath(name)
        """Absolute, and without symbolic links: one file has one lock."""
        self._lock = FileLock(self.path)
        self._writer: Writer | None = None
        self._reader: SqliteReader | None = None
        self._inode: os.stat_result | None = None
        self._owned: dict[int, SqliteShard] = {}
        self._writing = Lock()

    def __repr__(self) -> str:
        return f"SqliteJournal({self.path!r})"

    @staticmethod
    def read(path: str | os.PathLike[str]) -> SqliteReader:
        """A reader for those who only look, whether there is an owner or not. To be closed."""
        return SqliteReader(os.path.realpath(path))

    def acquire(self, shard: int = 0) -> SqliteShard:
        """Take a shard over. Raises JournalLocked, naming the owner, or what is wrong with the
        file."""
        check_shard(shard)
        with self._writing:
            closed = self._writer is None
            writer, reader = self._open()

            def raise_epoch(connection: sqlite3.Connection) -> tuple[int, int, int, int]:
                connection.execute(_ADD_SHARD, (shard,))
                connection.execute(_RAISE_EPOCH, (shard,))
                epoch, position, number = connection.execute(_SHARD, (shard,)).fetchone()
                first_run = connection.execute(_FIRST_RUN).fetchone() or (1,)
                return int(epoch), int(position), int(number), int(first_run[0])

            try:
                row = self._commit(writer, raise_epoch)
            except BaseException:
                if closed:
                    self._close()
                raise
            owned = self._owned[shard] = SqliteShard(self, reader, shard, *row)
            return owned

    def leave(self, shard: int, items: Iterable[bytes]) -> None:
        """Put something into the inbox of a shard. Raises JournalLocked if somebody owns it."""
        check_shard(shard)
        left = list(items)
        with self._writing:
            if shard in self._owned:
                raise JournalLocked(
                    f"{self.path}: shard {shard} is owned by this very journal. What is to reach "
                    "it is sent to its owner."
                )
            closed = self._writer is None
            writer, _ = self._open()

            def leave(connection: sqlite3.Connection) -> None:
                connection.execute(_ADD_SHARD, (shard,))
                low, _ = span_of(shard)
                first = low + connection.execute(_INBOX_END, (shard,)).fetchone()[0]
                rows = [
                    (address, checksum(address, 0, data), data)
                    for address, data in enumerate(left, first)
                ]
                connection.executemany(_LEAVE, rows)
                connection.execute(_SET_INBOX_END, (first - low + len(rows), shard))

            try:
                self._commit(writer, leave)
            finally:
                if closed:
                    self._close()

    def fix_shards(self, count: int) -> bool:
        """The journal has so many shards, for ever. Returns whether strays were noted. Raises
        JournalFormat if it has others."""
        with self._writing:
            closed = self._writer is None
            writer, _ = self._open()

            def fix(connection: sqlite3.Connection) -> bool:
                row = connection.execute(_SHARDS).fetchone()
                has = 1 if row is None else int(row[0])
                begun = row is not None or connection.execute(_ANY_RUN).fetchone() is not None
                if begun and has != count:
                    raise JournalFormat(other_shards(self.path, has, count))
                if row is None and count != 1:
                    connection.execute(_SET_SHARDS, (count,))
                return connection.execute(_STRAYS).fetchone() is not None

            try:
                return self._commit(writer, fix)
            except BaseException:
                if closed:
                    self._close()
                raise

    def note_strays(self) -> None:
        """There are workflows in other shards than those of their ids, for ever."""
        with self._writing:
            writer, _ = self._open()
            self._commit(writer, lambda connection: connection.execute(_NOTE_STRAYS))

    def append_all(
        self, batches: Sequence[tuple[SqliteShard, Batch]]
    ) -> list[JournalError | ValueError | None]:
        """Commit batches of several shards, one for each, in one transaction. Returns None for each
        that is on disk, or why it is not: what is wrong with one keeps no other from the disk."""
        if len(batches) > 1:
            try:
                self._append_together(batches)
            except CommitUnknown as error:
                return [error] * len(batches)
            except (JournalError, ValueError):
                pass  # one after the other, to see whose it was
            else:
                return [None] * len(batches)
        return append_each(batches)

    def _append_together(self, batches: Sequence[tuple[SqliteShard, Batch]]) -> None:
        prepared = [shard.prepared(batch) for shard, batch in batches]

        def write(connection: sqlite3.Connection) -> None:
            for each in prepared:
                each.write(connection)

        with self._writing:
            for shard, _ in batches:
                self._check_owned(shard)
            assert self._writer is not None
            try:
                self._commit(self._writer, write)
            except sqlite3.IntegrityError as error:
                raise ValueError(str(error)) from error
            except BaseException as error:
                if isinstance(error, CommitUnknown) or not isinstance(error, Exception):
                    for shard, _ in batches:
                        self._owned.pop(shard.shard, None)
                raise
        for each in prepared:
            each.done()

    def announce(self, socket: str | None) -> None:
        """Say where the owner takes requests: the path stands in the lock file while the journal
        is open, also when it is opened later."""
        self._lock.announce(None if socket is None else os.fspath(socket))

    def close(self) -> None:
        """Give everything back. Idempotent; waits for a commit that is under way."""
        with self._writing:
            self._close()

    def _open(self) -> tuple[Writer, SqliteReader]:
        if self._writer is not None and self._reader is not None:
            return self._writer, self._reader
        self._lock.acquire()
        try:
            self._writer = Writer(self.path)
            self._reader = SqliteReader(self.path)
            self._inode = os.stat(self.path)
        except BaseException:
            self._close()
            raise
        return self._writer, self._reader

    def _close(self) -> None:
        self._owned.clear()
        reader, self._reader = self._reader, None
        writer, self._writer = self._writer, None
        try:
            if reader is not None:
                reader.close()
            if writer is not None:
                writer.close()
        finally:
            self._lock.release()

    def _commit(self, writer: Writer, work: Callable[[sqlite3.Connection], T]) -> T:
        """One transaction on the file that was opened. What is written to a file that is no longer
        there would be lost, however well it was committed."""
        try:
            there = os.stat(self.path)
        except OSError:
            there = None
        if (
            there is None
            or self._inode is None
            or (there.st_ino, there.st_dev) != (self._inode.st_ino, self._inode.st_dev)
        ):
            raise JournalUnreachable(
                f"{self.path} was moved, deleted or replaced while it was open; nothing was "
                "written. Put it back, or close the journal and open it again."
            )
        return writer.transact(work)

    def _append(self, owned: SqliteShard, work: Callable[[sqlite3.Connection], None]) -> None:
        with self._writing:
            self._check_owned(owned)
            assert self._writer is not None
            try:
                self._commit(self._writer, work)
            except BaseException as error:
                # Fenced, unknown, or interrupted, which may have been behind the commit: what is
                # there must be read before anything is written on top of it.
                if isinstance(error, (CommitUnknown, Fenced)) or not isinstance(error, Exception):
                    del self._owned[owned.shard]
                raise

    def _check_owned(self, owned: SqliteShard) -> None:
        if self._writer is None or self._owned.get(owned.shard) is not owned:
            raise Fenced(
                f"{self.path}: shard {owned.shard} was given back or taken over since epoch "
                f"{owned.epoch}; nothing was written. Acquire it again."
            )

    def _release(self, owned: SqliteShard) -> None:
        with self._writing:
            if self._owned.get(owned.shard) is owned:
                del self._owned[owned.shard]


@attrs.frozen(eq=False)
class Prepared:
    """A batch, ready to be written: in a transaction, and what is so once that is committed."""

    write: Callable[[sqlite3.Connection], None]
    done: Callable[[], None]


class SqliteShard(Lookups):
    """One shard of a journal on SQLite, owned. Lookups answer while a commit is under way."""

    inline: bool = False

    def __init__(
        self,
        journal: SqliteJournal,
        reader: SqliteReader,
        shard: int,
        epoch: int,
        position: int,
        number: int,
        first_run: int,
    ) -> None:
        super().__init__(reader)
        self._journal = journal
        self.shard = shard
        self.epoch = epoch
        self._low = span_of(shard)[0]
        self._position = position
        self.next_number = self._low + number
        self.first_run = first_run
        self._known = reader.known()

    def find(self, id: str, run: int | None = None) -> RunRow | None:
        """See :meth:`Reader.find`."""
        return super().find(id, run) if self._known.may_know(id) else None

    def open_runs(self) -> Iterator[tuple[RunRow, Sequence[bytes]]]:
        """The runs that are not over, with the data of their records."""
        return open_runs(self._journal.path, self.shard)

    def append(self, batch: Batch) -> None:
        """Commit a batch; on return it is on disk.

        Raises Fenced, CommitUnknown, JournalFull, another JournalError, or ValueError for what
        cannot be in a journal; in all cases but CommitUnknown nothing was written.
        """
        if not batch:
            return
        prepared = self.prepared(batch)
        try:
            self._journal._append(self, prepared.write)
        except sqlite3.IntegrityError as error:
            raise ValueError(
                f"{self._journal.path}: a run or a record of this batch is in the journal already, "
                f"or is none ({error}); nothing was written."
            ) from error
        prepared.done()

    def prepared(self, batch: Batch) -> Prepared:
        """What is to be written for a batch. Raises ValueError for what cannot be in a journal."""
        position = self._position + len(batch.records)
        number = self.next_number
        for row in batch.runs:
            check_number(self.shard, row.number)
            if row.number >= number:
                number = row.number + 1
            self._known.add(row.id)
        for named, _, _ in batch.records:
            check_number(self.shard, named)
        address = self._low + self._position
        records = [
            (address + i, number, seq, checksum(number, seq, data), data)
            for i, (number, seq, data) in enumerate(batch.records)
        ]

        def write(connection: sqlite3.Connection) -> None:
            place = (position, number - self._low, self.shard, self.epoch)
            if connection.execute(_ADVANCE, place).rowcount != 1:
                raise Fenced(
                    f"{self._journal.path}: shard {self.shard} has a later owner than epoch "
                    f"{self.epoch}; nothing was written."
                )
            if batch.runs:
                connection.executemany(_ADD_RUN, map(astuple, batch.runs))
            if records:
                connection.executemany(_ADD_RECORD, records)
            if batch.statuses:
                done = connection.executemany(_SET_STATUS, batch.statuses).rowcount
                if done != len(batch.statuses):
                    raise ValueError(
                        "A status is given to a run that the journal does not have, among "
                        f"{sorted({number for _, _, number in batch.statuses})[:20]}."
                    )
            if batch.consumed:
                connection.executemany(_CONSUME, [(self._low + at,) for at in batch.consumed])
            if batch.removed:
                self._remove(connection, [(number,) for number in batch.removed])

        def done() -> None:
            self._position = position
            self.next_number = number

        return Prepared(write, done)

    def release(self) -> None:
        """Give the shard back. Idempotent."""
        self._journal._release(self)

    def _remove(self, connection: sqlite3.Connection, numbers: list[tuple[int]]) -> None:
        latest = [connection.execute(_IS_LATEST, number).fetchone() for number in numbers]
        first_run = max((int(row[0]) + 1 for row in latest if row is not None), default=1)
        if first_run > 1:
            connection.execute(_RAISE_FIRST_RUN, (first_run,))
            # Ahead of the commit: nobody may find an id gone and the number still the old one.
            self.first_run = max(first_run, self.first_run)
        if connection.executemany(_REMOVE_RUN, numbers).rowcount != len(numbers):
            for number in numbers:
                if connection.execute(_IS_THERE, number).fetchone() is not None:
                    raise ValueError(
                        f"Run {number[0]} is not over: only what has ended is removed."
                    )
        connection.executemany(_REMOVE_RECORDS, numbers)
