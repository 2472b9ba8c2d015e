"""What a journal on SQLite promises about its file, and what it says when the file is not right
(rules J1, J2)."""

from __future__ import annotations

import shutil
import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mediators.journal import (
    Batch,
    JournalDamaged,
    JournalError,
    JournalFormat,
    JournalLocked,
    JournalUnreachable,
    RunRow,
    SqliteJournal,
    reader,
    schema,
)

if TYPE_CHECKING:
    from collections.abc import Callable


def started(number: int, data: bytes = b"data", turns: int = 2) -> Batch:
    run = RunRow(number, f"order-{number}", 1, "PlaceOrder", "running", 1.0)
    return Batch([run], [(number, seq, data) for seq in range(turns)])


def written(path: Path, *batches: Batch) -> None:
    """A journal with these batches, closed."""
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        for batch in batches:
            shard.append(batch)


def wal(path: Path) -> Path:
    return Path(f"{path}-wal")


def numbers(path: Path) -> list[int]:
    with SqliteJournal.read(path) as look:
        return [row.number for row in look.runs()]


# -- durability


def test_j2_commits_are_synced_to_a_write_ahead_log(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        journal.acquire()
        assert journal._writer is not None
        connection = journal._writer._connection
        assert connection is not None
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA synchronous").fetchone() == (2,), "FULL"
        assert connection.execute("PRAGMA fullfsync").fetchone() == (1,)
        assert connection.isolation_level is None


def test_j2_a_commit_is_seen_by_another_process_after_the_writer_was_killed(
    path: Path, child: Callable[..., Any]
) -> None:
    writer = child(
        path,
        """
shard = SqliteJournal(path).acquire()
for number in range(1, 10_000):
    shard.append(started(number))
    say(number)
""",
    )
    heard = [int(writer.hear()) for _ in range(50)]
    writer.kill()
    seen = numbers(path)
    assert seen[:50] == heard
    assert seen == list(range(1, len(seen) + 1))
    with SqliteJournal.read(path) as look:
        assert [record.position for record in look.feed(0, limit=10**6)] == list(
            range(2 * len(seen))
        )


# -- readers


def files(path: Path) -> dict[str, bytes]:
    return {name: Path(name).read_bytes() for name in (str(path), f"{path}-wal")}


def test_j3_readers_write_nothing_and_checkpoint_nothing(
    path: Path, child: Callable[..., Any]
) -> None:
    """Neither when nobody owns the file, nor when the last of them closes it."""
    writer = child(
        path,
        "shard = SqliteJournal(path).acquire()\nshard.append(started(1))\nsay(1)\ntime.sleep(99)",
    )
    writer.hear()
    writer.kill()
    before = files(path)
    assert len(before[f"{path}-wal"]) > 0
    for _ in range(2):
        with SqliteJournal.read(path) as look:
            assert [row.number for row in look.runs()] == [1]
            with pytest.raises(sqlite3.OperationalError, match="readonly"):
                assert look._connection is not None
                look._connection.execute("DELETE FROM runs")
        assert files(path) == before
    wal(path).with_name("orders.db-shm").unlink()
    assert numbers(path) == [1]
    assert files(path) == before


def test_j3_readers_work_beside_a_live_owner_and_see_each_commit(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        with SqliteJournal.read(path) as look:
            for number in range(1, 5):
                shard.append(started(number))
                assert len(look.runs()) == number
            journal.close()
            assert len(look.runs()) == 4
            shard = journal.acquire()
            shard.append(started(5))
            assert len(look.runs()) == 5
        shard.append(started(6))
    assert numbers(path) == [1, 2, 3, 4, 5, 6]


def test_a_journal_that_was_closed_is_one_file_and_its_lock(path: Path) -> None:
    written(path, started(1))
    assert sorted(each.name for each in path.parent.iterdir()) == ["orders.db", "orders.db.lock"]


def test_j2_lookups_answer_while_a_commit_is_under_way(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        shard.append(started(1))
        begun, go_on = threading.Event(), threading.Event()

        def slow(connection: sqlite3.Connection) -> None:
            connection.execute("UPDATE runs SET status = 'done'")
            begun.set()
            assert go_on.wait(60)

        thread = threading.Thread(target=journal._append, args=(shard, slow))
        thread.start()
        try:
            assert begun.wait(60)
            found = shard.find("order-1")
            assert found is not None and found.status == "running"
            assert len(shard.history(1)) == 2
            assert len(list(shard.open_runs())) == 1
        finally:
            go_on.set()
            thread.join()
        found = shard.find("order-1")
        assert found is not None and found.status == "done"


def test_a_reader_may_look_where_it_may_not_write(unprivileged: Any) -> None:
    directory, as_nobody = unprivileged
    path = directory / "orders.db"
    written(path, started(1))
    path.chmod(0o444)
    directory.chmod(0o555)
    with as_nobody():
        assert numbers(path) == [1]
    with closing(SqliteJournal(path)) as journal:
        journal.acquire().append(started(2))
        with as_nobody():
            assert numbers(path) == [1, 2]


@pytest.mark.parametrize("statement", [reader._OPEN_RUNS, reader._OPEN_RECORDS])
def test_recovery_looks_at_what_is_open_and_sorts_nothing(path: Path, statement: str) -> None:
    written(path)
    with closing(schema.open_reader(str(path))) as connection:
        plan = [row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {statement}", (0, 9))]
    assert "USING INDEX open_runs" in plan[0] or "USING COVERING INDEX open_runs" in plan[0]
    assert all(step.startswith("SEARCH") for step in plan), plan


def test_a_closed_reader_says_so(path: Path) -> None:
    written(path)
    look = SqliteJournal.read(path)
    look.close()
    look.close()
    with pytest.raises(JournalError, match="closed"):
        look.runs()


# -- files that are no journals


def no_database(path: Path) -> None:
    path.write_bytes(b"Dear diary, " * 500)


def foreign(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE contacts (name)")


def newer(path: Path) -> None:
    written(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {schema.FORMAT + 1}")


def truncated(path: Path) -> None:
    written(path, *[started(number, b"x" * 5000) for number in range(1, 20)])
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)


def first_page_cut(path: Path) -> None:
    written(path, started(1))
    with path.open("r+b") as file:
        file.truncate(1000)


def emptied(path: Path) -> None:
    written(path)
    wal(path).write_bytes(b"what is not in the file yet")
    path.write_bytes(b"")


def gone(path: Path) -> None:
    emptied(path)
    path.unlink()


@pytest.mark.parametrize(
    ("spoil", "error", "says"),
    [
        (no_database, JournalFormat, "not an SQLite database"),
        (foreign, JournalFormat, "no journal.*left as it is"),
        (newer, JournalFormat, "format 2, and this version of the library knows format 1"),
        (truncated, JournalDamaged, "cut short.*backup"),
        (first_page_cut, (JournalDamaged, JournalFormat), "damaged.*backup"),
        (Path.mkdir, JournalFormat, "is a directory"),
        (emptied, (JournalDamaged, JournalFormat), "empty"),
        (gone, (JournalDamaged, JournalUnreachable), "gone or empty|no journal"),
    ],
)
def test_a_file_that_is_no_journal_is_refused_with_a_reason_and_left_as_it_is(
    path: Path, spoil: Callable[[Path], None], error: Any, says: str
) -> None:
    spoil(path)
    before = {
        each.name: each.read_bytes()
        for each in path.parent.iterdir()
        if each.is_file() and each.suffix != ".lock"
    }
    journal = SqliteJournal(path)
    for open_it in (journal.acquire, lambda: SqliteJournal.read(path)):
        with pytest.raises(error, match=f"(?s)orders.db.*{says}"):
            open_it()
    after = {
        each.name: each.read_bytes()
        for each in path.parent.iterdir()
        if each.is_file() and each.suffix != ".lock" and each.name in before
    }
    assert after == before
    # A refused journal holds nothing: neither the lock nor a connection.
    assert journal._lock.held is False and journal._writer is None


def test_a_missing_directory_or_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(JournalUnreachable, match=r"no directory .*/nowhere\. Make it"):
        SqliteJournal(tmp_path / "nowhere" / "orders.db").acquire()
    with pytest.raises(JournalUnreachable, match="no directory"):
        SqliteJournal.read(tmp_path / "nowhere" / "orders.db")
    with pytest.raises(JournalUnreachable, match=r"There is no journal .*orders\.db"):
        SqliteJournal.read(tmp_path / "orders.db")
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_may_not_be_written_is_refused_by_name(unprivileged: Any) -> None:
    directory, as_nobody = unprivileged
    path = directory / "orders.db"
    written(path, started(1))
    path.chmod(0o444)
    Path(f"{path}.lock").chmod(0o666)
    journal = SqliteJournal(path)
    says = r"orders\.db cannot be .*permissions"
    with as_nobody(), pytest.raises(JournalUnreachable, match=says):
        journal.acquire()
    assert not journal._lock.held
    assert numbers(path) == [1]


def test_a_foreign_connection_that_keeps_the_file_locked_is_told_apart(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "BUSY_TIMEOUT", 0.0)
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        with closing(sqlite3.connect(path, isolation_level=None)) as shell:
            shell.execute("BEGIN IMMEDIATE")
            with pytest.raises(JournalLocked, match="another connection to SQLite"):
                shard.append(started(1))
            shell.execute("ROLLBACK")
        shard.append(started(1))
        assert len(shard.runs()) == 1


@pytest.mark.parametrize("replaced", [False, True])
def test_nothing_is_written_to_a_file_that_is_no_longer_there(path: Path, replaced: bool) -> None:
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        shard.append(started(1))
        path.rename(path.with_suffix(".old"))
        if replaced:
            shutil.copy(path.with_suffix(".old"), path)
        with pytest.raises(JournalUnreachable, match="moved, deleted or replaced"):
            shard.append(started(2))
        path.with_suffix(".old").rename(path)
        shard.append(started(2))
        assert len(shard.runs()) == 2


def test_a_journal_whose_making_was_cut_short_is_made_by_the_next_owner(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE t (x)")
        connection.execute("DROP TABLE t")
    with pytest.raises(JournalFormat, match="is empty"):
        SqliteJournal.read(path)
    written(path, started(1))
    assert numbers(path) == [1]


# -- damage


def cuts(sizes: list[int]) -> list[int]:
    """Where the log ends when the machine stops while the last commit is written to it."""
    last, end = sizes
    frame = 24 + 4096
    return [*range(last, end, frame), *range(last + 100, end, frame), last + 10, end - 1]


def killed_after(path: Path, child: Callable[..., Any]) -> list[int]:
    """Three commits, then SIGKILL; the size of the log after the second and the third."""
    writer = child(
        path,
        """
shard = SqliteJournal(path).acquire()
for number in (1, 2, 3):
    shard.append(started(number, 3000))
    say(os.stat(path + "-wal").st_size)
time.sleep(99)
""",
    )
    sizes = [int(writer.hear()) for _ in range(3)]
    writer.kill()
    return sizes[1:]


def test_j2_a_torn_tail_of_the_log_takes_the_last_commit_and_no_other(
    path: Path, child: Callable[..., Any], tmp_path: Path
) -> None:
    sizes = killed_after(path, child)
    assert len(cuts(sizes)) > 5
    for cut in cuts(sizes):
        for reads in (False, True):
            place = tmp_path / f"cut-{cut}-{reads}"
            place.mkdir()
            torn = place / path.name
            shutil.copy(path, torn)
            wal(torn).write_bytes(wal(path).read_bytes()[:cut])
            if reads:
                assert numbers(torn) == [1, 2], cut
            with closing(SqliteJournal(torn)) as journal:
                shard = journal.acquire()
                assert [len(data) for _, data in shard.open_runs()] == [2, 2]
                shard.append(started(shard.next_number))
                assert [record.position for record in shard.feed(0)] == list(range(6))
                assert len(shard.history(3)) == 2
    assert numbers(path) == [1, 2, 3]


def test_j2_a_changed_byte_in_the_log_ends_it_there(path: Path, child: Callable[..., Any]) -> None:
    last, end = killed_after(path, child)
    content = bytearray(wal(path).read_bytes())
    content[(last + end) // 2] ^= 0xFF
    wal(path).write_bytes(content)
    Path(f"{path}-shm").unlink()
    assert numbers(path) == [1, 2]


def flipped(path: Path) -> None:
    """A journal with three runs, of which a byte in the second record of the second has changed."""
    written(path, started(1), started(2, turns=1), started(3))
    written(path, Batch(records=[(2, 1, b"to be changed"), (2, 2, b"whole")]))
    content = path.read_bytes()
    assert content.count(b"to be changed") == 1
    path.write_bytes(content.replace(b"to be changed", b"to be chanGed"))


def test_a_changed_byte_in_a_record_is_found_and_named_and_others_are_unaffected(
    path: Path,
) -> None:
    flipped(path)
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        for look in (shard, shard._reader):
            with pytest.raises(JournalDamaged, match=r"orders\.db: record 1 of run 2 .*not what"):
                look.history(2)
            with pytest.raises(JournalDamaged, match="record 1 of run 2 .*position 5"):
                look.feed(0)
            assert len(look.history(1)) == len(look.history(3)) == 2
            assert len(look.feed(0, after=5)) == 1
        assert [(row.number, len(data)) for row, data in shard.open_runs()] == [
            (1, 2),
            (2, 0),
            (3, 2),
        ]


def test_without_its_checksum_a_changed_record_would_be_taken_for_what_was_written(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Whatever(int):
        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = int.__hash__

    flipped(path)
    monkeypatch.setattr(reader, "checksum", lambda number, seq, data: Whatever())
    with SqliteJournal.read(path) as look:
        assert [record.data for record in look.history(2)][1] == b"to be chanGed"


def tampered(path: Path, statement: str) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        assert connection.execute(statement).rowcount == 1


@pytest.mark.parametrize(
    ("statement", "says"),
    [
        ("DELETE FROM records WHERE number = 2 AND seq = 1", "record 1 of run 2 is missing"),
        ("DELETE FROM records WHERE number = 2 AND seq = 0", "record 0 of run 2 is missing"),
        ("UPDATE records SET seq = 7 WHERE number = 2 AND seq = 2", "record 7 of run 2"),
        ("UPDATE records SET number = 2, seq = 3 WHERE number = 1 AND seq = 1", "record 3 of"),
    ],
)
def test_a_record_lost_or_moved_is_damage_of_its_run_alone(
    path: Path, statement: str, says: str
) -> None:
    written(path, started(1), started(2, turns=3), started(3))
    tampered(path, statement)
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        with pytest.raises(JournalDamaged, match=says):
            shard.history(2)
        assert [len(data) for _, data in shard.open_runs()][1:] == [0, 2]


def test_a_changed_item_of_an_inbox_is_named(path: Path) -> None:
    with closing(SqliteJournal(path)) as journal:
        journal.leave(2, [b"one", b"two"])
    tampered(path, "UPDATE inbox SET data = x'00' WHERE data = x'74776f'")
    says = "item 1 in the inbox of shard 2"
    with SqliteJournal.read(path) as look, pytest.raises(JournalDamaged, match=says):
        look.inbox(2)


def test_a_damaged_page_is_told_as_damage_and_the_connections_are_given_back(path: Path) -> None:
    written(path, *[started(number, b"x" * 3000) for number in range(1, 40)])
    content = bytearray(path.read_bytes())
    for page in range(10, len(content) // 4096):
        content[page * 4096 : page * 4096 + 50] = b"\xff" * 50
    path.write_bytes(content)
    with SqliteJournal.read(path) as look, pytest.raises(JournalDamaged, match="backup"):
        look.feed(0)
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        with pytest.raises(JournalDamaged):
            list(shard.open_runs())
