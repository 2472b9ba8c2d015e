"""Where histories are kept: a small protocol, in memory and on SQLite."""

from __future__ import annotations

from mediators.journal.lock import Owner, owner_of
from mediators.journal.memory import MemoryJournal
from mediators.journal.protocol import (
    Batch,
    CommitUnknown,
    Fenced,
    Journal,
    JournalDamaged,
    JournalError,
    JournalFormat,
    JournalFull,
    JournalLocked,
    JournalUnreachable,
    Reader,
    Record,
    RunRow,
    Shard,
    journal_of,
)
from mediators.journal.reader import SqliteReader
from mediators.journal.sqlite import SqliteJournal

__all__ = [
    "Batch",
    "CommitUnknown",
    "Fenced",
    "Journal",
    "JournalDamaged",
    "JournalError",
    "JournalFormat",
    "JournalFull",
    "JournalLocked",
    "JournalUnreachable",
    "MemoryJournal",
    "Owner",
    "Reader",
    "Record",
    "RunRow",
    "Shard",
    "SqliteJournal",
    "SqliteReader",
    "journal_of",
    "owner_of",
]
