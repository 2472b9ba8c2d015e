"""Group commit: what has come together is written together, and only then goes out."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import trio
from trio.testing import MockClock

from actors.runtime import host
from actors.runtime.stages import Pending
from mediators.journal.protocol import Batch

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.place import Place
    from mediators.journal.protocol import Shard

PASSES = 16
"""How often a commit lets other places go first, so that more comes together."""
FAST = 0.005
"""Seconds an inline commit may take on average; past it they go through a thread."""


class Committer:
    """The batch that is being filled, and what is to go out once it is on disk.

    A commit waits until nothing else is ready: then everybody who is going to add to it has done
    so, and nobody is kept waiting by it, so it is made right there, in the mediator's lane. Where
    the ready queue does not empty, or the disk is slow, it goes through a thread. Under a virtual
    clock it is always made right there: waiting for a thread would let time jump.
    """

    __slots__ = (
        "_inline",
        "_place",
        "_queued",
        "_seconds",
        "_serve",
        "_shard",
        "batch",
        "closed",
        "outbox",
        "passes",
        "release",
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
        self.release = release
        self.batch = Batch()
        self.outbox: list[Any] = []
        """In order: what may go out when the batch is committed."""
        self.passes = 0
        self.writing: Pending | None = None
        """The commit in a thread, while one is under way."""
        self.closed = False
        self._queued = False
        self._seconds = 0.0
        self._inline = shard.inline or isinstance(trio.lowlevel.current_clock(), MockClock)

    def wanted(self) -> None:
        """There is something to serve or to commit: have the mediator's lane see to it."""
        if not self._queued and not self.closed:
            self._queued = True
            self._place.request(self._lane)

    def _lane(self, place: Place) -> None:
        self._queued = False
        self._serve()
        if self.closed or self.writing is not None or not (self.batch or self.outbox):
            return
        if self.passes < PASSES and place.scheduler.ready:
            self.passes += 1
            self.wanted()
        elif self._inline or (not place.scheduler.ready and self._seconds < FAST):
            self.flush()
        else:
            self._hop()

    def flush(self) -> None:
        """Commit now. Raises what the journal raises."""
        batch, outbox = self._take()
        if batch:
            began = time.perf_counter()
            self._shard.append(batch)
            self._seconds += (time.perf_counter() - began - self._seconds) / 8
        self.release(outbox)

    def finish(self) -> None:
        """Commit what is left, and let out nothing but answers."""
        while self.batch:
            batch, outbox = self._take()
            self._shard.append(batch)
            self.release([each for each in outbox if each[0] in ("reply", "fail")])

    def _take(self) -> tuple[Batch, list[Any]]:
        batch, outbox = self.batch, self.outbox
        self.batch, self.outbox = Batch(), []
        self.passes = 0
        return batch, outbox

    def _hop(self) -> None:
        batch, outbox = self._take()
        self.writing = Pending(self._place)
        host.start_side(self._place, self._write, (batch, outbox))

    async def _write(self, batch: Batch, outbox: list[Any]) -> None:
        began = time.perf_counter()
        try:
            await trio.to_thread.run_sync(self._shard.append, batch)
        finally:
            writing, self.writing = self.writing, None
            assert writing is not None
            writing.resolve()
        self._seconds += (time.perf_counter() - began - self._seconds) / 8
        if not self.closed:
            self._place.request(lambda _: self.release(outbox))
            self.wanted()
