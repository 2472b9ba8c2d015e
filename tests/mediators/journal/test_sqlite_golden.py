"""The format on disk: a journal that was written once is read for ever.

``golden/journal-1.db`` is such a file, ``golden/journal-1.sql`` the same as text, for reading and
for comparing. After a change of the format, raise it in ``schema.FORMAT`` and write new files
beside the old ones, which stay and stay readable::

    python tests/mediators/journal/test_sqlite_golden.py
"""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from mediators.journal import Batch, Record, RunRow, SqliteJournal, schema

GOLDEN = Path(__file__).with_name("golden")
FIRST_OF_2 = (2 << 40) + 1


def write(path: Path) -> None:
    """A journal with some of everything."""
    with closing(SqliteJournal(path)) as journal:
        journal.leave(0, [b"left", b"taken up"])
        zero, two = journal.acquire(0), journal.acquire(2)
        order = RunRow(1, "order-1", 1, "PlaceOrder", "running", 1700000000.25)
        zero.append(Batch([order], [(1, 0, b"\x92\xcb?\xf0\0\0\0\0\0\0\x90")]))
        ship = RunRow(FIRST_OF_2, "ship-1", 1, "Ship", "waiting", 1700000001.0, parent=1)
        two.append(Batch([ship], [(FIRST_OF_2, 0, b""), (FIRST_OF_2, 1, bytes(range(256)))]))
        again = RunRow(2, "order-1", 2, "PlaceOrder", "running", 1700000002.0)
        zero.append(
            Batch(
                [again, RunRow(3, "órder ☂", 1, "PlaceOrder", "failed", 1.0, 2.0)],
                [(1, 1, b"outcome"), (2, 0, b"begin"), (3, 0, b"forgotten")],
                [("done", 1700000002.5, 1)],
                consumed=[1],
            )
        )
        zero.append(Batch(removed=[3]))
        zero.append(Batch(records=[(2, 1, b"and on")]))


def dump(path: Path) -> str:
    """The tables and rows of a journal as text, and what its header says."""
    with closing(sqlite3.connect(path)) as connection:
        header = [
            f"-- {name}: {connection.execute(f'PRAGMA {name}').fetchone()[0]}"
            for name in ("application_id", "user_version", "encoding", "page_size", "journal_mode")
        ]
        return "\n".join([*header, *connection.iterdump(), ""])


def regenerate() -> None:
    """Write the golden files anew, as today's writer does."""
    GOLDEN.mkdir(exist_ok=True)
    path = GOLDEN / f"journal-{schema.FORMAT}.db"
    path.unlink(missing_ok=True)
    write(path)
    path.with_suffix(".sql").write_text(dump(path), encoding="utf-8")
    Path(f"{path}.lock").unlink()


def test_j2_todays_writer_writes_what_the_golden_file_has(tmp_path: Path) -> None:
    write(tmp_path / "journal.db")
    written = dump(tmp_path / "journal.db")
    assert written == (GOLDEN / "journal-1.sql").read_text(encoding="utf-8")
    shutil.copy(GOLDEN / "journal-1.db", tmp_path / "golden.db")
    assert written == dump(tmp_path / "golden.db")


def test_j2_the_golden_file_is_read_row_by_row(tmp_path: Path) -> None:
    path = tmp_path / "golden.db"
    shutil.copy(GOLDEN / "journal-1.db", path)
    with SqliteJournal.read(path) as look:
        assert look.runs() == [
            RunRow(1, "order-1", 1, "PlaceOrder", "done", 1700000000.25, 1700000002.5),
            RunRow(2, "order-1", 2, "PlaceOrder", "running", 1700000002.0),
            RunRow(FIRST_OF_2, "ship-1", 1, "Ship", "waiting", 1700000001.0, None, 1),
        ]
        assert look.feed(0) == [
            Record(0, 0, 1, 0, b"\x92\xcb?\xf0\0\0\0\0\0\0\x90"),
            Record(0, 1, 1, 1, b"outcome"),
            Record(0, 2, 2, 0, b"begin"),
            Record(0, 4, 2, 1, b"and on"),
        ]
        assert look.history(FIRST_OF_2) == [
            Record(2, 0, FIRST_OF_2, 0, b""),
            Record(2, 1, FIRST_OF_2, 1, bytes(range(256))),
        ]
        assert look.inbox(0) == [(0, b"left")]


def test_j2_the_golden_file_is_taken_over_and_gone_on_with(tmp_path: Path) -> None:
    path = tmp_path / "golden.db"
    shutil.copy(GOLDEN / "journal-1.db", path)
    with closing(SqliteJournal(path)) as journal:
        shard = journal.acquire()
        assert (shard.epoch, shard.next_number) == (2, 4)
        assert [(row.number, len(data)) for row, data in shard.open_runs()] == [(2, 2)]
        shard.append(Batch(records=[(2, 2, b"more")]))
        assert shard.feed(0, after=4) == [Record(0, 5, 2, 2, b"more")]
        shard.release()
        journal.leave(0, [b"new"])
        assert journal.acquire().inbox(0) == [(0, b"left"), (2, b"new")]


if __name__ == "__main__":
    regenerate()
