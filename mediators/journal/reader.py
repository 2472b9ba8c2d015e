"""Reading a journal on SQLite, owned or not."""

from __future__ import annotations

import sqlite3
from threading import Lock
from typing import TYPE_CHECKING, Any

from mediators.journal import schema
from mediators.journal.addresses import checksum, position_of, shard_of, span_of
from mediators.journal.known import Known
from mediators.journal.protocol import JournalDamaged, JournalError, Record, RunRow

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_RUN = "SELECT number, id, run, type, status, started, ended, parent FROM runs"
_RECORD = "SELECT address, number, seq, crc, data FROM records"

_FIND_LATEST = f"{_RUN} WHERE id = ? ORDER BY run DESC LIMIT 1"
_FIND = f"{_RUN} WHERE id = ? AND run = ?"
_HISTORY = f"{_RECORD} WHERE number = ? ORDER BY seq"
_FEED = f"{_RECORD} WHERE address > ? AND address < ? ORDER BY address LIMIT ?"
_INBOX = "SELECT address, crc, data FROM inbox WHERE address >= ? AND address < ? ORDER BY address"

# Both in the order of the small index, so that nothing is sorted and the past is not looked at.
_OPEN_RUNS = (
    "SELECT number, id, run, type, status, started, ended, parent FROM runs INDEXED BY open_runs"
    " WHERE ended IS NULL AND number >= ? AND number < ? ORDER BY number"
)
_OPEN_RECORDS = (
    "SELECT records.number, seq, crc, data"
    " FROM runs INDEXED BY open_runs CROSS JOIN records ON records.number = runs.number"
    " WHERE ended IS NULL AND runs.number >= ? AND runs.number < ? ORDER BY runs.number, seq"
)


class SqliteReader:
    """Looks into a journal: writes nothing, holds up nobody, and may be asked from any thread.

    Every answer is what was committed when it was asked for. It is also a context manager.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = schema.open_reader(path)
        self._lock = Lock()

    def __enter__(self) -> SqliteReader:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Give the connection back. Idempotent."""
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None:
                connection.close()

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
        where: list[str] = []
        values: list[Any] = []
        if shard is not None:
            where.append("number >= ? AND number < ?")
            values += span_of(shard)
        if status == "open":
            where.append("ended IS NULL")
        elif status is not None:
            where.append("status = ?")
            values.append(status)
        if type is not None:
            where.append("type = ?")
            values.append(type)
        if id_prefix:
            where.append("id >= ?")
            values.append(id_prefix)
            behind = _behind(id_prefix)
            if behind is not None:
                where.append("id < ?")
                values.append(behind)
        if ended_before is not None:
            where.append("ended < ?")
            values.append(ended_before)
        condition = f" WHERE {' AND '.join(where)}" if where else ""
        values.append(-1 if limit is None else limit)
        return [
            RunRow(*row)
            for row in self._all(f"{_RUN}{condition} ORDER BY number LIMIT ?", tuple(values))
        ]

    def known(self, shard: int | None = None) -> Known:
        """Which ids there are, or those of a shard, more or less; all of them, if that cannot be
        read."""
        span = (0, 1 << 62) if shard is None else span_of(shard)
        try:
            ids = self._all("SELECT id FROM runs WHERE number >= ? AND number < ?", span)
        except JournalDamaged:
            return Known.everything()
        return Known((id for (id,) in ids), len(ids))

    def read_first_run(self) -> int:
        """The ``run`` with which an id begins of which nothing is there."""
        rows = self._all("SELECT value FROM meta WHERE name = 'first_run'", ())
        return int(rows[0][0]) if rows else 1

    def find(self, id: str, run: int | None = None) -> RunRow | None:
        """A run by its workflow's id."""
        rows = self._all(_FIND_LATEST, (id,)) if run is None else self._all(_FIND, (id, run))
        return RunRow(*rows[0]) if rows else None

    def history(self, number: int) -> list[Record]:
        """The records of one run. Raises JournalDamaged if one is missing or was changed."""
        found: list[Record] = []
        for expected, row in enumerate(self._all(_HISTORY, (number,))):
            record = self._record(row)
            if record.seq != expected:
                raise JournalDamaged(
                    f"{self.path}: record {expected} of run {number} is missing. Restore the file "
                    "from a backup; other runs are not affected."
                )
            found.append(record)
        return found

    def feed(self, shard: int, after: int = -1, limit: int = 1000) -> list[Record]:
        """Records of a shard behind a position. Raises JournalDamaged if one was changed."""
        low, high = span_of(shard)
        return [self._record(row) for row in self._all(_FEED, (low + max(after, -1), high, limit))]

    def inbox(self, shard: int) -> list[tuple[int, bytes]]:
        """What was left for the owner. Raises JournalDamaged if something of it was changed."""
        found: list[tuple[int, bytes]] = []
        for address, crc, data in self._all(_INBOX, span_of(shard)):
            if checksum(address, 0, data) != crc:
                raise JournalDamaged(
                    f"{self.path}: item {position_of(address)} in the inbox of shard {shard} is "
                    "not what was written. Restore the file from a backup."
                )
            found.append((position_of(address), data))
        return found

    def _all(self, statement: str, values: tuple[Any, ...]) -> list[Any]:
        with self._lock:
            if self._connection is None:
                raise JournalError(f"{self.path}: this reader is closed. Open another.")
            try:
                return self._connection.execute(statement, values).fetchall()
            except sqlite3.Error as error:
                raise schema.explain(error, self.path, "read") from error

    def _record(self, row: tuple[int, int, int, int, bytes]) -> Record:
        address, number, seq, crc, data = row
        if checksum(number, seq, data) != crc:
            raise JournalDamaged(
                f"{self.path}: record {seq} of run {number} (shard {shard_of(address)}, position "
                f"{position_of(address)}) is not what was written. Restore the file from a backup; "
                "other runs are not affected."
            )
        return Record(shard_of(address), position_of(address), number, seq, data)


def open_runs(path: str, shard: int) -> Iterator[tuple[RunRow, Sequence[bytes]]]:
    """The runs of a shard that are not over, with the data of their records, in order of their
    numbers; no records for a run of which one is missing or was changed.

    Reads on a connection of its own, in one pass over both tables, as of the first item.
    """
    connection = schema.open_reader(path)
    try:
        connection.execute("BEGIN")
        records = connection.execute(_OPEN_RECORDS, span_of(shard))
        following = records.fetchone()
        for run in connection.execute(_OPEN_RUNS, span_of(shard)):
            number = run[0]
            found: list[bytes] = []
            sound = True
            while following is not None and following[0] == number:
                _, seq, crc, data = following
                if seq != len(found) or checksum(number, seq, data) != crc:
                    sound = False
                found.append(data)
                following = records.fetchone()
            yield RunRow(*run), found if sound else []
    except sqlite3.Error as error:
        raise schema.explain(error, path, "read") from error
    finally:
        connection.close()


def _behind(prefix: str) -> str | None:
    """The first text behind all that begin with ``prefix``; None if there is none. SQLite compares
    texts by their code points."""
    for end in range(len(prefix), 0, -1):
        code = ord(prefix[end - 1]) + 1
        if 0xD800 <= code <= 0xDFFF:
            code = 0xE000
        if code <= 0x10FFFF:
            return prefix[: end - 1] + chr(code)
    return None
