"""Commits that fail: what is certain then, and what is not (rules J1, J2)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from mediators.journal import (
    Batch,
    CommitUnknown,
    Fenced,
    JournalDamaged,
    JournalError,
    JournalFormat,
    JournalFull,
    JournalLocked,
    JournalUnreachable,
    RunRow,
    SqliteJournal,
    schema,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def started(number: int, data: bytes = b"data") -> Batch:
    run = RunRow(number, f"order-{number}", 1, "PlaceOrder", "running", 1.0)
    return Batch([run], [(number, seq, data) for seq in range(2)])


def test_j2_a_full_disk_writes_nothing_and_the_journal_goes_on_when_there_is_room(
    path: Path,
) -> None:
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        shard.append(started(1))
        assert journal._writer is not None and journal._writer._connection is not None
        pages = journal._writer._connection.execute("PRAGMA page_count").fetchone()[0]
        journal._writer._connection.execute(f"PRAGMA max_page_count = {pages + 2}")
        with pytest.raises(JournalFull, match=r"orders\.db .*Nothing was written.*Make room"):
            shard.append(started(2, b"x" * 100_000))
        assert [row.number for row in shard.runs()] == [1]
        shard.append(started(3))
        journal._writer._connection.execute("PRAGMA max_page_count = 100000")
        shard.append(started(2, b"x" * 100_000))
        assert [record.position for record in shard.feed(0)] == [0, 1, 2, 3, 4, 5]


class Failing(sqlite3.Connection):
    """Fails at a commit as told: before it has happened, or behind it."""

    code: int | None = None
    behind = False
    raises: BaseException | None = None

    def execute(self, statement: str, *rest: Any) -> sqlite3.Cursor:
        if statement != "COMMIT" or self.raises is None:
            return super().execute(statement, *rest)
        error, type(self).raises = self.raises, None
        super().execute("COMMIT" if self.behind else "ROLLBACK")
        raise error


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[Failing]:
    """Every connection opened from here on is of this class."""
    real = sqlite3.connect

    class Fails(Failing):
        pass

    def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
        return real(*args, factory=Fails, **kwargs)

    monkeypatch.setattr(sqlite3, "connect", connect)
    return Fails


def sqlite_error(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize("behind", [False, True])
def test_j1_a_commit_that_fails_unclearly_is_unknown_and_the_next_owner_reads_what_is_there(
    path: Path, failing: type[Failing], behind: bool
) -> None:
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        other = journal.acquire(1)
        shard.append(started(1))
        failing.behind = behind
        failing.raises = sqlite_error(sqlite3.SQLITE_IOERR_FSYNC)
        with pytest.raises(CommitUnknown, match="Acquire the shard again"):
            shard.append(started(2))
        with pytest.raises(Fenced):
            shard.append(started(3))
        assert other.inbox(1) == []
        other.append(Batch(consumed=[0]))
        again = journal.acquire()
        assert [row.number for row in again.runs()] == ([1, 2] if behind else [1])
        again.append(started(again.next_number))
        assert [record.position for record in again.feed(0)] == list(range(6 if behind else 4))


def test_j2_a_commit_that_found_the_disk_full_is_known_not_to_have_happened(
    path: Path, failing: type[Failing]
) -> None:
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        failing.raises = sqlite_error(sqlite3.SQLITE_FULL)
        with pytest.raises(JournalFull):
            shard.append(started(1))
        shard.append(started(1))
        assert len(shard.feed(0)) == 2


def test_an_interrupt_behind_a_commit_makes_the_owner_read_again(
    path: Path, failing: type[Failing]
) -> None:
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        failing.behind = True
        failing.raises = KeyboardInterrupt()
        with pytest.raises(KeyboardInterrupt):
            shard.append(started(1))
        with pytest.raises(Fenced):
            shard.append(started(2))
        assert [row.number for row in journal.acquire().runs()] == [1]


def test_j1_a_log_the_system_does_not_let_grow_leaves_what_was_committed(
    path: Path, child: Callable[..., Any]
) -> None:
    """A real failure of a real write, in the middle of a commit."""
    writer = child(
        path,
        """
import resource
journal = SqliteJournal(path)
shard = journal.acquire()
shard.append(started(1))
size = os.stat(path + "-wal").st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 60_000, size + 60_000))
try:
    shard.append(started(2, 60_000))
except CommitUnknown as error:
    say(type(error).__name__)
shard = journal.acquire()
say(*[row.number for row in shard.runs()])
shard.append(started(3))
say(*[row.number for row in shard.runs()])
journal.close()
""",
    )
    assert [writer.hear() for _ in range(3)] == ["CommitUnknown", "1", "1 3"]
    assert writer.wait() == 0
    with SqliteJournal.read(path) as look:
        assert [row.number for row in look.runs()] == [1, 3]


@pytest.mark.parametrize(
    ("code", "kind", "text"),
    [
        (sqlite3.SQLITE_FULL, JournalFull, "there is no room left on its disk"),
        (sqlite3.SQLITE_BUSY, JournalLocked, "another connection to SQLite keeps it locked"),
        (sqlite3.SQLITE_LOCKED, JournalLocked, "another connection to SQLite keeps it locked"),
        (sqlite3.SQLITE_NOTADB, JournalFormat, "it is not an SQLite database"),
        (sqlite3.SQLITE_CORRUPT, JournalDamaged, "Restore it from a backup"),
        (sqlite3.SQLITE_READONLY, JournalUnreachable, "this user may not write to the file"),
        (sqlite3.SQLITE_CANTOPEN, JournalUnreachable, "check the path and the permissions"),
        (sqlite3.SQLITE_IOERR_FSYNC, JournalUnreachable, "the operating system failed at it"),
        (sqlite3.SQLITE_NOMEM, JournalError, "OperationalError: disk I/O error."),
    ],
    ids=["full", "busy", "locked", "none", "corrupt", "readonly", "open", "io", "other"],
)
def test_j2_every_error_of_sqlite_is_told_by_what_to_do_about_it(
    code: int, kind: type[JournalError], text: str
) -> None:
    found = schema.explain(sqlite_error(code), "orders.db", "written")
    assert type(found) is kind
    assert str(found).startswith("orders.db cannot be written")
    assert text in str(found)


def test_j2_a_transaction_that_cannot_begin_or_go_on_leaves_nothing(path: Path) -> None:
    def fails(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO nowhere VALUES (1)")

    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        writer = journal._writer
        assert writer is not None
        with pytest.raises(JournalError, match="no such table: nowhere"):
            writer.transact(fails)
        shard.append(started(1))
        assert [row.number for row in shard.runs()] == [1]


def test_j2_a_transaction_that_was_interrupted_behind_its_beginning_is_taken_back(
    path: Path,
) -> None:
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        writer = journal._writer
        assert writer is not None and writer._connection is not None
        writer._connection.execute("BEGIN IMMEDIATE")
        shard.append(started(1))
        assert [row.number for row in shard.runs()] == [1]


def test_a_file_system_without_a_write_ahead_log_is_named(path: Path) -> None:
    """SQLite itself has none in memory."""
    with (
        closing(sqlite3.connect(":memory:")) as connection,
        pytest.raises(JournalUnreachable, match=r"SQLite offers 'memory'\). Put it on a local"),
    ):
        schema._set_up(connection, str(path))
