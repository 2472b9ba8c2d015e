"""The tables of a journal on SQLite, how its file is opened, and what its errors mean."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from mediators.journal.lock import owner_of
from mediators.journal.protocol import (
    JournalDamaged,
    JournalError,
    JournalFormat,
    JournalFull,
    JournalLocked,
    JournalUnreachable,
)

APPLICATION_ID = 0x554E4453
"""``UNDS``, in the header of the file."""
FORMAT = 1
"""The version of the tables, in the header of the file."""
BUSY_TIMEOUT = 5.0
"""Seconds to wait for a foreign connection that holds SQLite's own locks."""
CHECKPOINT_PAGES = 4000
"""How much of the write-ahead log is moved to the file at once."""

TABLES = (
    # Appended to at the end, whatever the run: a shard's positions are its addresses in order.
    """CREATE TABLE records (
        address INTEGER PRIMARY KEY,
        number INTEGER NOT NULL,
        seq INTEGER NOT NULL,
        crc INTEGER NOT NULL,
        data BLOB NOT NULL,
        UNIQUE (number, seq))""",
    """CREATE TABLE runs (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL,
        run INTEGER NOT NULL,
        type TEXT NOT NULL,
        status TEXT NOT NULL,
        started REAL NOT NULL,
        ended REAL,
        parent INTEGER,
        UNIQUE (id, run))""",
    # As large as the work in hand, not as the past: recovery reads this one.
    "CREATE INDEX open_runs ON runs (number) WHERE ended IS NULL",
    """CREATE TABLE shards (
        shard INTEGER PRIMARY KEY,
        epoch INTEGER NOT NULL,
        position INTEGER NOT NULL,
        number INTEGER NOT NULL,
        inbox INTEGER NOT NULL)""",
    """CREATE TABLE inbox (
        address INTEGER PRIMARY KEY,
        crc INTEGER NOT NULL,
        data BLOB NOT NULL)""",
    # What holds for the whole journal, by name.
    "CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID",
)

_BUSY, _LOCKED = sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED


def open_writer(path: str) -> sqlite3.Connection:
    """The one connection that writes, to a journal that is made if there is none.

    The caller holds the lock. Raises a JournalError that says what is wrong with the file.
    """
    _check_file(path)
    _check_orphaned_log(path)
    try:
        connection = _connect(path, "rwc")
        try:
            if _is_new(connection, path):
                connection.execute("PRAGMA auto_vacuum = NONE")
            _set_up(connection, path)
            if _is_new(connection, path):
                _create(connection)
        except BaseException:
            connection.close()
            raise
    except sqlite3.Error as error:
        raise explain(error, path, "opened for writing") from error
    return connection


def open_reader(path: str) -> sqlite3.Connection:
    """A connection that only looks: it neither writes nor checkpoints.

    Raises a JournalError that says what is wrong with the file.
    """
    _check_file(path)
    if not os.path.exists(path):
        raise JournalUnreachable(
            f"There is no journal {path}. Check the path; whoever opens it for writing makes it."
        )
    _check_orphaned_log(path)
    if not _size(path):
        raise _empty(path)
    try:
        return _open_reader(path, "ro")
    except sqlite3.Error as error:
        # A file in a directory where this user may not write, left behind in order: there is
        # neither a log to read nor a way to make one, and nobody who could change the file.
        if code_of(error) in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY} and _is_still(path):
            try:
                return _open_reader(path, "ro&immutable=1")
            except sqlite3.Error as second:
                raise explain(second, path, "read") from second
        raise explain(error, path, "read") from error


def explain(error: Exception, path: str, doing: str) -> JournalError:
    """What an error of SQLite means for the journal at ``path`` that was to be ``doing``, as an
    exception to be raised from it."""
    code = code_of(error)
    what = f"{path} cannot be {doing}"
    if code == sqlite3.SQLITE_FULL:
        return JournalFull(
            f"{what}: there is no room left on its disk. Nothing was written, and what was "
            "committed before stands. Make room and try again."
        )
    if code in {_BUSY, _LOCKED}:
        return JournalLocked(
            f"{what}: another connection to SQLite keeps it locked, for more than "
            f"{BUSY_TIMEOUT:g} seconds. End what has it open (a shell, a backup) and try again."
        )
    if code == sqlite3.SQLITE_NOTADB:
        return JournalFormat(
            f"{what}: it is not an SQLite database, or its first page is damaged. Name another "
            "path, or restore the file from a backup."
        )
    if code == sqlite3.SQLITE_CORRUPT:
        return JournalDamaged(
            f"{what}: it is damaged or cut short ({error}). Restore it from a backup, or save what "
            f"can be read with: sqlite3 {path} .recover"
        )
    if code == sqlite3.SQLITE_READONLY:
        return JournalUnreachable(
            f"{what}: this user may not write to the file or beside it, where SQLite keeps its log "
            f"({error}). Change the permissions of the file and of its directory."
        )
    if code in {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}:
        return JournalUnreachable(
            f"{what} ({error}): check the path and the permissions of the file and its directory."
        )
    if code == sqlite3.SQLITE_IOERR:
        return JournalUnreachable(
            f"{what}: the operating system failed at it ({error}). Look at the disk and its file "
            "system, then open the journal again."
        )
    return JournalError(f"{what}: {type(error).__name__}: {error}.")


def code_of(error: Exception) -> int:
    """SQLite's error code without its details; 0 for an error of the module itself."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _connect(path: str, mode: str) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{Path(path).as_uri()}?mode={mode}",
        uri=True,
        timeout=BUSY_TIMEOUT,
        isolation_level=None,
        check_same_thread=False,
    )


def _open_reader(path: str, mode: str) -> sqlite3.Connection:
    connection = _connect(path, mode)
    try:
        connection.execute("PRAGMA query_only = ON")
        if _is_new(connection, path):
            raise _empty(path)
    except BaseException:
        connection.close()
        raise
    return connection


def _empty(path: str) -> JournalFormat:
    return JournalFormat(
        f"{path} cannot be read: it is empty. Whoever opens it for writing makes it a journal."
    )


def _check_file(path: str) -> None:
    """What SQLite would not say plainly. The file itself is never opened here: closing it would
    drop every lock that SQLite holds on it in this process."""
    if os.path.isdir(path):
        raise JournalFormat(f"{path} is a directory: a journal is a file. Name a file in it.")
    directory = os.path.dirname(path)
    if not os.path.isdir(directory):
        raise JournalUnreachable(
            f"{path} cannot be opened: there is no directory {directory}. Make it, or name another "
            "path."
        )


def _check_orphaned_log(path: str) -> None:
    """SQLite deletes a log whose database is gone or empty, even for one who only reads: what it
    holds is not given up here."""
    log = f"{path}-wal"
    if _size(log) and not _size(path):
        raise JournalDamaged(
            f"{path} is gone or empty, but its log {log} is not: the two belong together. Restore "
            "the file; or, to begin anew, delete the log."
        )


def _is_still(path: str) -> bool:
    """Whether nothing can change the file: it has no log and no owner."""
    return not _size(f"{path}-wal") and owner_of(path) is None


def _size(path: str) -> int:
    try:
        return os.stat(path).st_size
    except OSError:
        return 0


def _is_new(connection: sqlite3.Connection, path: str) -> bool:
    """Whether there is nothing in the file. Raises JournalFormat for what cannot be used."""
    application = int(connection.execute("PRAGMA application_id").fetchone()[0])
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if application == APPLICATION_ID and version == FORMAT:
        return False
    tables = int(connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0])
    if application == version == tables == 0:
        return True
    if application != APPLICATION_ID:
        raise JournalFormat(
            f"{path} is an SQLite database, but no journal: it was left as it is. Name another "
            "path."
        )
    raise JournalFormat(
        f"{path} is a journal of format {version}, and this version of the library knows format "
        f"{FORMAT}: it was left as it is. Use the version that wrote it, or a later one."
    )


def _set_up(connection: sqlite3.Connection, path: str) -> None:
    mode = connection.execute("PRAGMA journal_mode = WAL").fetchone()[0]
    if mode != "wal":
        raise JournalUnreachable(
            f"{path} cannot be opened for writing: there is no write-ahead log on its file system "
            f"(SQLite offers {mode!r}). Put it on a local disk."
        )
    for pragma in (
        "synchronous = FULL",
        "fullfsync = ON",
        f"wal_autocheckpoint = {CHECKPOINT_PAGES}",
        f"journal_size_limit = {CHECKPOINT_PAGES * 4 * 4096}",
        "cache_size = -16384",
        "secure_delete = FAST",
        "trusted_schema = OFF",
    ):
        connection.execute(f"PRAGMA {pragma}").close()


def _create(connection: sqlite3.Connection) -> None:
    """All of it in one transaction: a journal is never half made."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in TABLES:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version = {FORMAT}")
    connection.execute("COMMIT")
