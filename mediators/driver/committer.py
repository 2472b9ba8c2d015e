"""Group commit: what has come together is written together, and only then goes out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import trio

from actors.runtime import host, lifecycle
from actors.runtime.stages import Pending
from mediators.journal.pace import Pace
from mediators.journal.protocol import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.place import Place
    from actors.runtime.stages import Steps
    from mediators.journal.protocol import Shard


class Committer:
    """The batch that is being filled, and what is to go out once it is on disk.

    A commit waits until it is quiet: then everybody who is going to add to it has done so, and
    nobody is kept waiting by it, so it is made right there, in the mediator's lane. Where it does
    not get quiet, or the disk is slow, it goes through a thread. Under a virtual clock it is always
    made right there: waiting for a thread would let time jump.
    """

    chunk: float = float("inf")
    """Records from which on a batch is committed though more may come: where its commit goes on
    beside the mediator's own work;"""
    largest: float = float("inf")
    """and bytes."""

    __slots__ = (
        "_deferred",
        "_inline",
        "_landed",
        "_pace",
        "_place",
        "_queued",
        "_release",
        "_serve",
        "_shard",
        "batch",
        "closed",
        "flying",
        "outbox",
        "size",
        "writing",
    )

    def __init__(
        self,
        place: Place,
        shard: Shard,
        serve: Callable[[], object],
        release: Callable[[list[Any]], object],
    ) -> None:
        self._place = place
        self._shard = shard
        self._serve = serve
        self._release = release
        self.batch = Batch()
        self.size = 0
        """Bytes in its records."""
        self.outbox: list[Any] = []
        """In order: what may go out when the batch is committed."""
        self.flying: Batch | None = None
        """The batch that a thread commits just now."""
        self.writing: Pending | None = None
        """The commit in a thread, while one is under way."""
        self._landed: list[Any] = []
        """What may go out, since a thread has committed it, and has not yet."""
        self.closed = False
        self._queued = False
        self._deferred = False
        self._pace = Pace()
        self._inline = shard.inline or place.scheduler.system.virtual

    def record(self, number: int, seq: int, data: bytes) -> None:
        """Add a record."""
        self.batch.records.append((number, seq, data))
        self.size += len(data)

    @property
    def full(self) -> bool:
        """The batch is to be committed though more may come."""
        return len(self.batch.records) >= self.chunk or self.size >= self.largest

    def wanted(self) -> None:
        """There is something to serve or to commit: have the mediator's lane see to it."""
        if not self._queued and not self.closed:
            self._queued = True
            self._place.request(self._lane)

    @property
    def clean(self) -> bool:
        """Everything that has happened is on disk, and what follows from it has gone out."""
        return not (self.batch or self.outbox or self.writing is not None)

    def _lane(self, place: Place) -> None:
        self._queued = False
        self._guarded(self._serve)
        if self.full:
            self._guarded(self.flush)
        if (self.batch or self.outbox) and not self._deferred and not self.closed:
            self._deferred = True
            place.scheduler.defer(self._quiet)

    def _quiet(self, busy: bool) -> None:
        """It is quiet, or has been busy for long: commit, in the mediator's lane."""
        self._place.request(lambda _: self._guarded(self._hop if busy else self.flush))

    def _guarded(self, call: Callable[[], object]) -> None:
        """Run a part of the mediator's work as one of its turns: what it raises is a crash."""
        place = self._place
        scheduler = place.scheduler
        context = place.context or scheduler.new_context(place)
        outer, scheduler.current = scheduler.current, place
        try:
            context.run(call)
        except BaseException as error:
            scheduler.system.heed(error)
            self.closed = True
            lifecycle.crash(place, error, None)
        finally:
            scheduler.current = outer

    def flush(self) -> None:
        """Commit now what has come together."""
        self._deferred = False
        if self.closed or self.writing is not None:
            return
        if not self._inline and self._pace.slow:
            self._hop()
            return
        batch, outbox = self._take()
        if batch:
            began = time.perf_counter()
            self._shard.append(batch)
            self._pace.took(time.perf_counter() - began)
        self._release(outbox)

    def pending(self) -> list[Batch]:
        """What may not be on disk yet, in order."""
        return [self.batch] if self.flying is None else [self.flying, self.batch]

    def finish(self) -> Steps:
        """Commit what is left, and let out nothing but answers."""
        if self.writing is not None:
            yield self.writing
        if self.closed:
            return
        self._let_out_answers(self._landed)
        while self.batch or self.outbox:
            batch, outbox = self._take()
            if batch:
                self._shard.append(batch)
            self._let_out_answers(outbox)

    def _let_out_answers(self, outbox: list[Any]) -> None:
        self._release([each for each in outbox if each[0] in ("reply", "fail")])

    def _take(self) -> tuple[Batch, list[Any]]:
        batch, outbox = self.batch, self.outbox
        self.batch, self.outbox = Batch(), []
        self.size = 0
        return batch, outbox

    def _hop(self) -> None:
        """Commit in a thread."""
        self._deferred = False
        if self.closed or self.writing is not None:
            return
        if self._inline:
            self.flush()
            return
        batch, outbox = self._take()
        self.flying = batch
        self.writing = Pending(self._place)
        host.start_side(self._place, self._write, (batch, outbox))

    async def _write(self, batch: Batch, outbox: list[Any]) -> None:
        began = time.perf_counter()
        try:
            if batch:
                await trio.to_thread.run_sync(self._shard.append, batch)
            self._landed = outbox
        except BaseException:
            # What comes after it must not be written over the hole.
            self.closed = True
            raise
        finally:
            self.flying = None
            writing, self.writing = self.writing, None
            assert writing is not None
            writing.resolve()
        self._pace.took(time.perf_counter() - began)
        if not self.closed:
            self._place.request(lambda _: self._guarded(self._land))
            self.wanted()

    def _land(self) -> None:
        """What a thread has committed goes out."""
        outbox, self._landed = self._landed, []
        self._release(outbox)
