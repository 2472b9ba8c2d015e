"""What the library asks of a journal, and what a journal says when it cannot."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import attrs
import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence


class JournalError(Exception):
    """Base of what can be wrong with a journal; the text says what to do.

    ::

        JournalError
        ├── JournalLocked       somebody else has it open; the text names process and socket
        ├── JournalFull         no room on the disk: nothing of the batch was written
        ├── JournalDamaged      what is read is not what was written
        ├── JournalFormat       written by a later version, or no journal at all
        ├── JournalUnreachable  the file cannot be opened, read or written, or is gone
        ├── Fenced              somebody else has taken the shard over: nothing was written
        └── CommitUnknown       it may or may not be committed: acquire again and read
    """


class JournalLocked(JournalError): ...


class JournalFull(JournalError): ...


class JournalDamaged(JournalError): ...


class JournalFormat(JournalError): ...


class JournalUnreachable(JournalError): ...


class Fenced(JournalError): ...


class CommitUnknown(JournalError): ...


class RunRow(msgspec.Struct, array_like=True):
    """One run of a workflow, as listings have it. Times are seconds of the wall clock."""

    number: int
    """Unique in the journal, and larger for later runs of one shard."""
    id: str
    run: int
    type: str
    status: str
    started: float
    ended: float | None = None
    parent: int | None = None
    """The number of the parent's run."""

    @property
    def over(self) -> bool:
        """Whether the run has ended."""
        return self.ended is not None


@attrs.frozen
class Record:
    """One turn on disk. ``position`` is gapless in its shard when written; ``seq`` counts the
    records of one run from 0; ``data`` is for :func:`mediators.history.decode_turn`."""

    shard: int
    position: int
    number: int
    seq: int
    data: bytes


@attrs.define(eq=False)
class Batch:
    """What is committed together, or not at all."""

    runs: list[RunRow] = attrs.Factory(list[RunRow])
    """New runs."""
    records: list[tuple[int, int, bytes]] = attrs.Factory(list)
    """Run number, seq, data; positions are given in this order."""
    statuses: list[tuple[str, float | None, int]] = attrs.Factory(list)
    """New status, end time or None, run number."""
    consumed: list[int] = attrs.Factory(list)
    """Positions in the inbox that have been taken up."""
    removed: list[int] = attrs.Factory(list)
    """Numbers of finished runs to be forgotten with all their records."""

    def extend(self, other: Batch) -> None:
        """Add what is to be committed together with it, behind it."""
        self.runs += other.runs
        self.records += other.records
        self.statuses += other.statuses
        self.consumed += other.consumed
        self.removed += other.removed

    def __bool__(self) -> bool:
        return bool(self.records or self.runs or self.statuses or self.consumed or self.removed)


@runtime_checkable
class Reader(Protocol):
    """Reading a journal, owned or not. Nothing here writes or checkpoints."""

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
        """The runs in order of their numbers, filtered. ``status="open"``: those not over."""
        ...

    def find(self, id: str, run: int | None = None) -> RunRow | None:
        """A run by its workflow's id; the latest unless ``run`` says which."""
        ...

    def read_first_run(self) -> int:
        """The ``run`` with which an id begins of which nothing is there, in any shard."""
        ...

    def history(self, number: int) -> list[Record]:
        """The records of one run, in order of seq. Raises JournalDamaged if one is missing or is
        not what was written."""
        ...

    def feed(self, shard: int, after: int = -1, limit: int = 1000) -> list[Record]:
        """Records of a shard behind a position, for projections and relays."""
        ...

    def inbox(self, shard: int) -> list[tuple[int, bytes]]:
        """What was left for the owner and is not taken up yet: position and data."""
        ...


@runtime_checkable
class Shard(Reader, Protocol):
    """One shard, owned: the only way to write. All of it is synchronous and thread-safe as long as
    one ``append`` is under way at a time."""

    shard: int
    epoch: int
    next_number: int
    """The first run number not in use."""
    inline: bool
    """Whether an append is so cheap that it never needs a thread."""

    @property
    def first_run(self) -> int:
        """The ``run`` with which an id begins of which nothing is there. It is 1 until the latest
        run of some id was removed, and then larger than that of every id so removed: what was
        removed may have had that id, and its keys are not used again."""
        ...

    @first_run.setter
    def first_run(self, number: int) -> None: ...

    def open_runs(self) -> Iterator[tuple[RunRow, Sequence[bytes]]]:
        """The runs that are not over, with the data of their records, in order of their numbers.
        To be read from start to end with nothing appended in between. A damaged run raises
        JournalDamaged only through :meth:`history`; here its records come as an empty list."""
        ...

    def find_own(self, id: str) -> RunRow | None:
        """As :meth:`find`, of an id that belongs to this shard and is new, probably."""
        ...

    def append(self, batch: Batch) -> None:
        """Commit a batch under this epoch; on return it is on disk. Raises Fenced, CommitUnknown,
        JournalFull (nothing was written) or another JournalError."""
        ...

    def release(self) -> None:
        """Give the shard back. Idempotent."""
        ...


@runtime_checkable
class Journal(Protocol):
    """Where histories are kept: an append-only log, by shards."""

    def acquire(self, shard: int = 0) -> Shard:
        """Take a shard over; raises its epoch. What this very journal has given out before for the
        shard is fenced from then on. Raises JournalLocked if somebody else, another process or
        another journal object, has the file open for writing."""
        ...

    def leave(self, shard: int, items: Iterable[bytes]) -> None:
        """Put something into the inbox of a shard that nobody owns just now. Raises JournalLocked
        if somebody does."""
        ...

    def close(self) -> None:
        """Give everything back: shards, connection, lock. Idempotent; ``acquire`` opens again."""
        ...


@runtime_checkable
class SharedJournal(Journal, Protocol):
    """A journal whose shards are written together."""

    def fix_shards(self, count: int) -> bool:
        """It has so many shards, for ever. Returns whether strays were noted. Raises JournalFormat
        if it has others."""
        ...

    def note_strays(self) -> None:
        """There are workflows in other shards than those of their ids, for ever."""
        ...

    def append_all(
        self, batches: Sequence[tuple[Any, Batch]]
    ) -> list[JournalError | ValueError | None]:
        """Commit batches of several shards, one for each; None for each that is on disk, or why it
        is not."""
        ...


def append_each(
    batches: Sequence[tuple[Shard, Batch]],
) -> list[JournalError | ValueError | None]:
    """Commit batches of several shards, one after the other; None for each that is on disk, or why
    it is not."""
    outcomes: list[JournalError | ValueError | None] = []
    for shard, batch in batches:
        try:
            shard.append(batch)
        except (JournalError, ValueError) as error:
            outcomes.append(error)
        else:
            outcomes.append(None)
    return outcomes


def other_shards(journal: str, has: int, wanted: int) -> str:
    """What is said of a journal with another number of shards."""
    return (
        f"{journal} has {has} shards, and that is fixed: a workflow's id belongs to one of them. "
        f"Open it with Shards(..., count={has})"
        f"{', or with a mediator that is in no shards' if has == 1 else ''}. Got: {wanted}"
    )


def journal_of(where: Any) -> Journal:
    """The journal that ``Mediator.journal`` names: None, a path, an address or a journal."""
    from mediators.journal.memory import MemoryJournal
    from mediators.journal.sqlite import SqliteJournal

    if where is None:
        return MemoryJournal(log=False)
    if isinstance(where, Journal):
        return where
    text = str(where)
    if "://" in text:
        raise ValueError(
            "A journal is the path of an SQLite file, SqliteJournal(path), MemoryJournal() or "
            f"None; addresses of servers are not taken. Got: {text!r}"
        )
    return SqliteJournal(text)
