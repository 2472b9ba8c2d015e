"""One workflow, seen from outside."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from uuid import uuid4

import attrs
import trio

from actors import ActorDied, Ref
from mediators.verbs import (
    Cancel,
    Fork,
    GetHistory,
    GetIncidents,
    GetStatus,
    HistoryEntry,
    Pause,
    Query,
    ResolveStep,
    Result,
    Resume,
    RetryStep,
    SendSignal,
    SkipStep,
)

if TYPE_CHECKING:
    from actors import Call
    from mediators.outcomes import Incident, Status
    from mediators.workflow import Workflow

R = TypeVar("R", covariant=True)
T = TypeVar("T")

PATIENCE = 0.1
"""Seconds before a mediator that has just died is asked again."""


@attrs.frozen
class Handle(Generic[R]):
    """A workflow by the ref of its mediator and its id: ``Handle(orders, "order-17", PlaceOrder)``.

    ``Start`` answers with one; made by hand it takes up an acquaintance again, also after a
    restart. Nothing is asked before a method is called. All methods are checkpoints, and raise
    ``NoSuchWorkflow`` where there is nothing of that id. ``timeout`` is always in seconds.
    """

    mediator: Ref[Any]
    id: str
    type: type[Workflow[R]] | None = attrs.field(default=None, eq=False)

    def _sent_as(self) -> SentHandle:
        return SentHandle(self.mediator, self.id)

    async def result(self, timeout: float | None = None) -> R:
        """Wait for the end, of the last run, and return the result; ``timeout=None``: for ever.

        A mediator that dies meanwhile is asked again when its supervisor has restarted it. Raises
        the ``Refusal`` or ``StepFailed`` it failed with, ``WorkflowEnded`` for any other end
        without result, ``CallTimeout``.
        """
        deadline = trio.current_time() + (float("inf") if timeout is None else timeout)
        while True:
            left = None if timeout is None else max(0.0, deadline - trio.current_time())
            try:
                return cast("R", await self.mediator.call(Result(self.id), timeout=left))
            except ActorDied:
                if self.mediator.state in ("stopped", "gone"):
                    raise
                await trio.sleep(PATIENCE)

    async def status(self) -> Status:
        """Where it stands, one of the eight of :class:`mediators.Status`."""
        return await self.mediator.call(GetStatus(self.id))

    async def signal(
        self, event: object, *, id: str | None = None, expires: float | None = None
    ) -> None:
        """Send it an event; on return it is on disk and will not be lost. Sent again under one
        ``id`` it counts once. Unread for ``expires`` seconds it is a dead letter. Raises
        ``SignalRefused`` if it holds too many unread ones, NoSuchWorkflow if it has ended."""
        signal_id = uuid4().hex if id is None else id
        await self.mediator.call(SendSignal(self.id, event, signal_id, expires))

    async def query(self, message: Call[T], timeout: float | None = 5.0) -> T:
        """Ask a ``@handles`` method of the workflow. Of a paused one it is its last good turn that
        answers; of one that has ended, its last."""
        return cast("T", await self.mediator.call(Query(self.id, message), timeout=timeout))

    async def cancel(self, reason: str = "somebody asked for it") -> None:
        """End it; compensation follows. On return that is certain, not yet done: see ``result``."""
        await self.mediator.call(Cancel(self.id, reason))

    async def pause(self, reason: str = "somebody asked for it") -> None:
        """Deliver nothing more to it until ``resume``; answers and signals are kept."""
        await self.mediator.call(Pause(self.id, reason))

    async def resume(self) -> Status:
        """Let it go on; returns where it stands then: ``paused`` again if the mistake is still
        there."""
        return await self.mediator.call(Resume(self.id))

    async def retry(self, path: str | None = None) -> None:
        """Try again what stands as an incident, at ``path`` or wherever."""
        await self.mediator.call(RetryStep(self.id, path))

    async def skip(self, path: str | None = None) -> None:
        """Leave an incident: an undo is not made, a step counts as failed."""
        await self.mediator.call(SkipStep(self.id, path))

    async def resolve(self, value: object = None, path: str | None = None) -> None:
        """Give the answer that a step or undo cannot get by itself."""
        await self.mediator.call(ResolveStep(self.id, value, path))

    async def fork(self, new_id: str | None = None, at: str | None = None) -> Handle[R]:
        """Start another workflow with the history of this one, up to before the outcome of step
        ``at``; what it has not done by then it does anew. Without an id of its own it is the next
        run of this one, which must have ended."""
        return cast("Handle[R]", await self.mediator.call(Fork(self.id, new_id, at)))

    async def history(self) -> list[HistoryEntry]:
        """What has come to it, and what followed."""
        return await self.mediator.call(GetHistory(self.id))

    async def incidents(self) -> list[Incident]:
        """What somebody must decide or mend before it goes on."""
        return await self.mediator.call(GetIncidents(self.id))


@attrs.frozen
class SentHandle:
    """What travels between processes in place of a ``Handle``: the class of its workflow stays
    behind."""

    mediator: Ref[Any]
    id: str

    def _received(self) -> Handle[Any]:
        return Handle(self.mediator, self.id)
