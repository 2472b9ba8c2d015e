"""What has been answered under which key, in an SQLite file; and the tables beside it.

One connection per file and process, for all actors of a system that name the file. Everything is
done inline: a commit is one ``fsync``, and while it lasts nothing else of the process runs, which
is what makes a look-up followed by a note of the attempt one step.
"""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol, TypeAlias

from mediators.journal.lock import FileLock, owner_of
from mediators.journal.protocol import JournalLocked

if TYPE_CHECKING:
    from collections.abc import Generator

PRUNED_AT_ONCE = 256
"""Rows removed with one commit, at most."""
PRUNE_EVERY = 600.0
"""Seconds between two looks for rows whose time has come, once there were fewer."""
BUSY_SECONDS = 1.0
"""How long a foreign tool may hold the file up."""

MEDDLED = (
    "The handler began, committed or rolled back by itself. Its transaction is committed together "
    "with its answer when it returns, and rolled back when it raises; use a SAVEPOINT to take back "
    "a part of it."
)

Row: TypeAlias = "tuple[str, bytes]"
"""An outcome, ``answered refused closed``, and what was encoded."""

_TABLE = """
CREATE TABLE IF NOT EXISTS understudy_keys (
    key TEXT PRIMARY KEY,
    outcome TEXT NOT NULL,
    data BLOB NOT NULL,
    expires REAL
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS understudy_keys_expires
    ON understudy_keys (expires) WHERE expires IS NOT NULL;
"""
_INSERT = "INSERT INTO understudy_keys (key, outcome, data, expires) VALUES (?, ?, ?, ?)"
_PRUNE = (
    "DELETE FROM understudy_keys WHERE key IN "
    "(SELECT key FROM understudy_keys WHERE expires < ? LIMIT ?)"
)


class StoreLocked(Exception):
    """Somebody else, another process or another system, writes the file; the text says who."""


class Running(Protocol):
    """An attempt that has no outcome yet."""

    def forget(self) -> None:
        """There will be none from this attempt."""
        ...


class KeyStore:
    """The keys of one file; of memory, with ``path`` None.

    ``connection`` is what handlers write their own tables with. ``running`` has the attempt under
    way for each key, in memory only: an attempt ends with its process.

    Raises StoreLocked if the file is open elsewhere, JournalError or sqlite3.Error if it cannot be
    opened.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self.running: dict[str, Running] = {}
        self.open = False
        """Whether a transaction has begun."""
        self._schemas: set[str] = set()
        self._prune_at = 0.0
        self._ours = False
        self.meddled = False
        """Whether somebody else has tried to end the transaction, or to begin another."""
        self._lock = None if path is None else _locked(path)
        try:
            self.connection = sqlite3.connect(
                ":memory:" if path is None else path, timeout=BUSY_SECONDS, isolation_level=None
            )
        except BaseException:
            self._unlock()
            raise
        try:
            self.connection.execute("PRAGMA journal_mode=WAL").close()
            self.connection.execute("PRAGMA synchronous=FULL").close()
            self.connection.executescript(_TABLE).close()
            self.connection.set_authorizer(self._authorize)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Forget what is under way, give the file back. Called once, by the system."""
        for attempt in tuple(self.running.values()):
            attempt.forget()
        self.connection.set_authorizer(None)
        self.connection.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.release()

    def prepare(self, schema: str) -> None:
        """Run a script once per connection: it makes the tables that handlers write."""
        if schema not in self._schemas:
            with self._own():
                self.connection.executescript(schema).close()
            self._schemas.add(schema)

    # -- keys

    def find(self, key: str) -> Row | None:
        """What is known of a key."""
        query = "SELECT outcome, data FROM understudy_keys WHERE key = ?"
        row: Row | None = self.connection.execute(query, (key,)).fetchone()
        return row

    def remember(
        self, key: str, outcome: str, data: bytes, *, now: float, expires: float | None
    ) -> None:
        """Write an outcome down: on return it is on disk, with all of the open transaction, which
        ends with it. Times are seconds of the wall clock; without ``expires`` it stays."""
        if not self.open:
            self.begin()
        try:
            self.connection.execute(_INSERT, (key, outcome, data, expires))
            if now >= self._prune_at:
                pruned = self.connection.execute(_PRUNE, (now, PRUNED_AT_ONCE)).rowcount
                self._prune_at = now if pruned >= PRUNED_AT_ONCE else now + PRUNE_EVERY
            self.commit()
        except BaseException:
            self.rollback()
            raise

    # -- the transaction

    def begin(self) -> None:
        """Begin a transaction; one at a time."""
        if self.open:
            raise RuntimeError("A transaction has begun already; there is one connection.")
        self.meddled = False
        with self._own():
            self.connection.execute("BEGIN IMMEDIATE")
        self.open = True

    def commit(self) -> None:
        """End the transaction, if one has begun; on return it is on disk.

        Raises RuntimeError, everything rolled back, if somebody else has tried to end it.
        """
        if not self.open:
            return
        if self.meddled or not self.connection.in_transaction:
            self.rollback()
            raise RuntimeError(MEDDLED)
        try:
            with self._own():
                self.connection.execute("COMMIT")
        except BaseException:
            self.rollback()
            raise
        self.open = False

    def rollback(self) -> None:
        """Undo the transaction, if one has begun. SQLite may have done so already."""
        if self.open:
            self.open = False
            if self.connection.in_transaction:
                with self._own():
                    self.connection.execute("ROLLBACK")

    @contextmanager
    def _own(self) -> Generator[None]:
        self._ours = True
        try:
            yield
        finally:
            self._ours = False

    def _authorize(self, action: int, operation: str | None, *_: str | None) -> int:
        """Asked when a statement is prepared: transactions begin and end here alone."""
        if action != sqlite3.SQLITE_TRANSACTION or self._ours:
            return sqlite3.SQLITE_OK
        self.meddled = True
        return sqlite3.SQLITE_DENY


def _locked(path: str) -> FileLock:
    """The lock beside the file, the same as a journal's: taken, or StoreLocked."""
    lock = FileLock(path)
    try:
        lock.acquire()
    except JournalLocked as error:
        raise StoreLocked(
            f"{path} is written by {owner_of(path) or 'somebody who has gone just now'}. Such a "
            "file belongs to one system of one process, and a journal is a file of its own; give "
            "every other one another path."
        ) from error
    return lock
