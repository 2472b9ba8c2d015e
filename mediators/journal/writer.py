"""The one connection that writes to a journal on SQLite, and what a commit may come to."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, TypeVar

from mediators.journal import schema
from mediators.journal.protocol import CommitUnknown, JournalError

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Writer:
    """Runs transactions, one at a time: the caller sees to that.

    A connection that came out of a commit in an unknown state is used no more: the next
    transaction opens another, which finds what is on disk.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = schema.open_writer(path)

    def transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Commit what ``work`` writes; on return it is on disk.

        What ``work`` raises leaves as it is, with nothing written; errors of SQLite leave as a
        JournalError, with nothing written; only CommitUnknown says that it may have been.
        """
        connection = self._open()
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.Error as error:
            raise schema.explain(error, self.path, "written") from error
        try:
            result = work(connection)
        except BaseException as error:
            self._roll_back(connection)
            # A constraint is told by the caller, who knows what it means.
            if isinstance(error, sqlite3.Error) and not isinstance(error, sqlite3.IntegrityError):
                raise schema.explain(error, self.path, "written") from error
            raise
        try:
            connection.execute("COMMIT")
        except Exception as error:
            raise self._not_committed(connection, error) from error
        except BaseException:
            if connection.in_transaction:
                self._roll_back(connection)
            else:
                self._drop()
            raise
        return result

    def close(self) -> None:
        """Give the connection back. Idempotent."""
        self._drop()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = schema.open_writer(self.path)
        elif self._connection.in_transaction:
            # Interrupted right behind its first statement.
            self._connection.execute("ROLLBACK")
        return self._connection

    def _not_committed(self, connection: sqlite3.Connection, error: Exception) -> JournalError:
        if connection.in_transaction or schema.code_of(error) == sqlite3.SQLITE_FULL:
            # Without room the commit's own mark in the log is not complete, so it never was.
            self._roll_back(connection)
            return schema.explain(error, self.path, "written")
        self._drop()
        return CommitUnknown(
            f"{self.path}: a commit failed half-way ({error}), so nobody knows whether it is on "
            "disk. Acquire the shard again and read what is there."
        )

    def _roll_back(self, connection: sqlite3.Connection) -> None:
        """Without a full disk's help, that is: there the transaction is gone already."""
        if connection.in_transaction:
            try:
                connection.execute("ROLLBACK")
            except sqlite3.Error:
                self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.close()
            except sqlite3.Error:
                pass
