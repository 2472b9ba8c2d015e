"""Commits of a mediator whose journal somebody else writes."""

from __future__ import annotations

from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any

from actors.runtime.stages import Pending
from mediators.driver.committer import Committer

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.place import Place
    from actors.runtime.stages import Steps
    from mediators.journal.protocol import Batch
    from mediators.sharding.shard import SharedShard


class SharedCommitter(Committer):
    """Gives batches to the writer and goes on: several may be on their way, and what waits for one
    goes out when that is on disk.

    A batch is given when it is quiet, as everywhere; and when it has grown, so that the writer is
    at work while the next one fills.
    """

    __slots__ = ("_done", "_failure", "_flying", "_submit")

    chunk = 256
    largest = 1 << 20

    def __init__(
        self,
        place: Place,
        shard: SharedShard,
        serve: Callable[[], object],
        release: Callable[[list[Any]], object],
    ) -> None:
        super().__init__(place, shard, serve, release)
        self._submit = shard.submit
        self._flying: deque[tuple[Batch, list[Any]]] = deque()
        """Batches on their way, in order, and what may go out when each is on disk."""
        self._failure: BaseException | None = None
        """Why the first that was not committed was not."""
        self._done: Pending | None = None
        """Nothing is on its way any more; while somebody waits for that."""

    @property
    def clean(self) -> bool:
        """Everything that has happened is on disk, and what follows from it has gone out."""
        return not (self.batch or self.outbox or self._flying or self._landed)

    def pending(self) -> list[Batch]:
        """What may not be on disk yet, in order."""
        return [*(batch for batch, _ in self._flying), self.batch]

    def flush(self) -> None:
        """Give away what has come together."""
        self._deferred = False
        if self.closed:
            return
        batch, outbox = self._take()
        if batch:
            self._flying.append((batch, outbox))
            self._submit(batch, self._given)
        elif self._flying:
            # It follows from what is on its way.
            self._flying[-1][1].extend(outbox)
        else:
            self._release(outbox)

    _hop = flush

    def _given(self, error: BaseException | None) -> None:
        """The first of them is on disk, or is not. Called in no turn."""
        _, outbox = self._flying.popleft()
        if error is not None and not self.closed:
            # What comes after it must not be written over the hole.
            self.closed = True
            self._failure = error
            if self._place.running:
                self._place.request(lambda _: self._guarded(partial(fail, error)))
        if error is None:
            self._landed += outbox
        if not self._flying and self._done is not None:
            self._done.resolve()
        if not self.closed and self._landed:
            self._place.request(lambda _: self._guarded(self._land))

    def _land(self) -> None:
        super()._land()
        self.wanted()

    def finish(self) -> Steps:
        """Commit what is left, and let out nothing but answers."""
        while not self.closed and (self.batch or self.outbox or self._flying or self._landed):
            if self.batch or self._flying:
                self.flush()
            else:
                self._landed += self._take()[1]
            landed, self._landed = self._landed, []
            self._let_out_answers(landed)
            if self._flying:
                self._done = Pending(self._place)
                self._done.holder = None
                yield self._done
        if self._failure is not None:
            raise self._failure


def fail(error: BaseException) -> None:
    """Raise it, in a turn of the mediator's."""
    raise error
