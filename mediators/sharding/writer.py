"""The one writer of a journal that several shards share: what they commit at the same time goes to
the disk together."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import trio

from actors import Actor, Call, Later, handles
from mediators.driver.socket import serve_socket
from mediators.journal.memory import MemoryJournal
from mediators.journal.pace import Pace
from mediators.journal.protocol import Batch, JournalError, RunRow, journal_of
from mediators.journal.sqlite import SqliteJournal
from supervisors.sharding.policy import shard_of_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors import Exit, Ref
    from actors.payloads.types import Types
    from actors.place import Place


@attrs.frozen
class Acquired:
    """What there is to know of a shard that was taken over. ``path`` is that of the file, or None
    for a journal in memory; ``refused`` says why it cannot be had."""

    epoch: int = 0
    next_number: int = 0
    first_run: int = 1
    path: str | None = None
    strays: bool = False
    refused: str | None = None


@attrs.frozen
class Acquire(Call[Acquired]):
    """Take a shard over; whoever had it is fenced."""

    shard: int


@attrs.frozen
class Committed:
    """A batch is on disk; or it is not, and ``refused`` says why.

    ``strays``: there are workflows in other shards than those of their ids, children of workflows
    there.
    """

    refused: str | None = None
    strays: bool = False


@attrs.frozen
class Part:
    """What a batch begins with that is larger than a message may be; more of it follows."""

    shard: int
    epoch: int
    data: bytes


@attrs.frozen
class Commit(Call[Committed]):
    """Write a batch under an epoch: the parts of it that came before, and this one. Answered when
    it is on disk, or is not to be had there."""

    shard: int
    epoch: int
    batch: bytes


class Packed(msgspec.Struct, array_like=True):
    """A batch on its way."""

    runs: list[RunRow]
    records: list[tuple[int, int, bytes]]
    statuses: list[tuple[str, float | None, int]]
    consumed: list[int]
    removed: list[int]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Packed).decode


def packed(batch: Batch) -> bytes:
    """A batch as bytes."""
    return _encode(Packed(batch.runs, batch.records, batch.statuses, batch.consumed, batch.removed))


def unpacked(data: bytes) -> Batch:
    """The batch of bytes. Raises msgspec.MsgspecError for what is none."""
    batch = _decode(data)
    return Batch(batch.runs, batch.records, batch.statuses, batch.consumed, batch.removed)


@attrs.frozen
class Flush:
    """To itself: write what has come."""


class JournalWriter(Actor):
    """Runs beside the shards of a mediator, in the process of their router.

    Commits that have come together are one transaction, made when it is quiet, as those of a single
    mediator are. It also takes the requests that come to the owner of the file from outside.
    """

    def __init__(self, journal: Any, count: int, types: Types) -> None:
        self._where = journal
        self._count = count
        self.types = types
        self._owned: dict[int, Any] = {}
        self._parts: dict[tuple[int, int], list[bytes]] = {}
        """Beginnings of batches, by shard and epoch."""
        self._waiting: list[tuple[Commit, Later[Any]]] = []
        self._wanted = False
        self._writing = False
        self._pace = Pace()

    def on_start(self) -> None:
        """Open the journal. Raises JournalError."""
        above = self.parent
        assert above is not None
        where: Any = self._where
        # One for all incarnations of this writer, and of the router: one file has one lock.
        named = isinstance(where, str | os.PathLike)
        key = "journal", above._place, os.fspath(where) if named else id(where)
        journal: Any = self.system.shared(key, lambda: journal_of(where))
        self._journal = journal
        self._strays = self._journal.fix_shards(self._count)
        self._inline = isinstance(self._journal, MemoryJournal) or self.system.virtual

    def on_ready(self) -> None:
        """Take requests."""
        serve_socket(self, self._journal)

    def on_stop(self, exit: Exit) -> None:
        """Write what waits, and give the file back."""
        try:
            self._write_all()
        finally:
            self._journal.close()

    # -- for the socket

    @property
    def place(self) -> Place:
        """Where it runs."""
        return self._place

    @property
    def face(self) -> Ref[Any]:
        """Who answers for the workflows: the router."""
        above = self.parent
        assert above is not None
        return above

    @property
    def reader(self) -> Any:
        """A reader of a journal in memory."""
        return self._journal.read()

    # -- what shards ask

    @handles
    def _acquire(self, message: Acquire) -> Acquired:
        try:
            owned = self._owned[message.shard] = self._journal.acquire(message.shard)
            for begun in [each for each in self._parts if each[0] == message.shard]:
                del self._parts[begun]
        except (JournalError, ValueError) as error:
            return Acquired(refused=f"{type(error).__name__}: {error}")
        path = self._journal.path if isinstance(self._journal, SqliteJournal) else None
        return Acquired(owned.epoch, owned.next_number, owned.first_run, path, self._strays)

    @handles
    def _part(self, message: Part) -> None:
        self._parts.setdefault((message.shard, message.epoch), []).append(message.data)

    @handles
    def _commit(self, message: Commit) -> Later[Committed]:
        later: Later[Committed] = self.later()
        self._waiting.append((self._whole(message), later))
        self._want()
        return later

    def _whole(self, message: Commit) -> Commit:
        """One with what has come of its batch before."""
        parts = self._parts.pop((message.shard, message.epoch), None)
        if parts is None:
            return message
        return attrs.evolve(message, batch=b"".join((*parts, message.batch)))

    def _want(self) -> None:
        if not self._wanted and not self._writing:
            self._wanted = True
            # Behind the commits that have come already.
            self._place.post(Flush())

    @handles
    def _flush(self, message: Flush) -> None:
        """Commit what has come together: here, or in a thread, where the disk is slow."""
        self._wanted = False
        if self._inline or not self._pace.slow:
            self._write_all()
        else:
            self._writing = True
            self.start_soon(self._write)

    def _write_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        if waiting:
            self._answer(waiting, self._append(waiting))

    async def _write(self) -> None:
        waiting, self._waiting = self._waiting, []
        try:
            outcomes = await trio.to_thread.run_sync(self._append, waiting)
        finally:
            self._writing = False
        self._answer(waiting, outcomes)
        if self._waiting:
            self._want()

    def _append(self, waiting: list[tuple[Commit, Later[Any]]]) -> list[str | None]:
        began = time.perf_counter()
        outcomes: list[str | None] = [None] * len(waiting)
        together: dict[Any, tuple[Batch, list[int]]] = {}
        for index, (message, _) in enumerate(waiting):
            owned: Any = self._owned.get(message.shard)
            if owned is None or owned.epoch != message.epoch:
                outcomes[index] = f"Fenced: shard {message.shard} has another owner by now."
                continue
            try:
                batch = unpacked(message.batch)
            except msgspec.MsgspecError as error:
                outcomes[index] = f"JournalError: this is no batch: {error}"
                self._fence(owned)
                continue
            before = together.get(owned)
            if before is None:
                together[owned] = batch, [index]
            else:
                before[0].extend(batch)
                before[1].append(index)
        pairs = [(owner, batch) for owner, (batch, _) in together.items()]
        try:
            self._look_for_strays(pairs)
            refused = self._journal.append_all(pairs)
        except JournalError as error:
            refused = [error] * len(pairs)
        for (owner, (_, indices)), why in zip(together.items(), refused, strict=True):
            if why is not None:
                self._fence(owner)
            for index in indices:
                outcomes[index] = None if why is None else f"{type(why).__name__}: {why}"
        self._pace.took(time.perf_counter() - began)
        return outcomes

    def _fence(self, owner: Any) -> None:
        """Something of this owner was not written: nor is what it may have sent behind that."""
        shard = owner.shard
        if self._owned.get(shard) is owner:
            del self._owned[shard]

    def _look_for_strays(self, pairs: Sequence[tuple[Any, Batch]]) -> None:
        """Note, ahead of the first of them, that there are some. Raises JournalError."""
        if not self._strays and any(
            shard_of_key(row.id, self._count) != owner.shard
            for owner, batch in pairs
            for row in batch.runs
        ):
            self._journal.note_strays()
            self._strays = True

    def _answer(self, waiting: list[tuple[Commit, Later[Any]]], outcomes: list[str | None]) -> None:
        for (_, later), outcome in zip(waiting, outcomes, strict=True):
            later.reply(Committed(outcome, self._strays))
