"""Reply slots: where the answer to one call arrives, never in a mailbox."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Generic, Protocol, TypeVar

import trio

from actors.exits import ActorError, CallTimeout
from actors.messages import Refusal

if TYPE_CHECKING:
    from actors.place import Place
    from actors.timers import Cell, Timers

R = TypeVar("R", contravariant=True)

CALL_TIMEOUT = 5.0
"""Seconds a call waits unless told otherwise."""


class Queue(Protocol):
    """Where a call may stand besides its mailbox."""

    def withdraw(self, entry: Any, /) -> None:
        """Nobody waits for its answer any more."""


class Slot:
    """One call's answer. Settled once: the first reply, failure, deadline or cancellation wins."""

    __slots__ = (
        "__weakref__",
        "cell",
        "deadline",
        "done",
        "error",
        "holder",
        "inherited",
        "message",
        "place",
        "room",
        "taken",
        "task",
        "timeout",
        "value",
    )

    key: str | None = None
    """The piece of work this call belongs to; kinds of slots that know one have their own."""
    attempt: int = 1
    """How often this message was handed out with this time, where a kind of slots counts that."""
    timed: ClassVar[bool] = False
    """Whether this kind of slots wants to know how long the handling takes in another process:
    then ``seconds`` is set before the answer."""
    seconds: float | None = None

    def __init__(
        self,
        message: object,
        holder: Place,
        timeout: float | None = None,
        deadline: float | None = None,
        *,
        inherited: bool = False,
    ) -> None:
        self.message = message
        self.place = holder
        self.holder: Place | None = holder
        """Whoever owes the answer now; what the caller waits for. ``None``: nobody in particular"""
        self.timeout = timeout
        self.deadline = deadline
        self.inherited = inherited
        self.task: trio.lowlevel.Task | None = None
        self.room: tuple[Queue, Any] | None = None
        """Where it stands besides: among those who wait for room in a full mailbox, or among what
        is on its way to another process."""
        self.cell: Cell | None = None
        """Where the deadline is entered, while it is."""
        self.done = False
        self.taken = False
        """The answer no longer follows from the handler's return: deferred, forwarded, stashed."""
        self.value: Any = None
        self.error: BaseException | None = None

    def reply(self, value: object) -> None:
        """Answer, unless the slot is settled already."""
        if not self.done:
            self.value = value
            self.settle()

    def fail(self, error: BaseException) -> None:
        """Answer by raising ``error`` in the caller, unless the slot is settled already."""
        if not self.done:
            self.error = error
            self.settle()

    def settle(self) -> None:
        """The slot has its answer, or nobody wants it any more."""
        self.done = True
        self.holder = None
        if self.room is not None:
            queue, entry = self.room
            queue.withdraw(entry)
            self.room = None
        if self.cell is not None:
            self.place.scheduler.timers.drop(self.cell)
            self.cell = None
        if self.task is not None:
            task, self.task = self.task, None
            trio.lowlevel.reschedule(task)

    def must_wait(self, timers: Timers) -> bool:
        """Whether the running task has to wait; then the deadline is entered, and it is woken."""
        if self.done:
            return False
        if self.deadline is not None:
            self.cell = timers.enter(self.deadline, self)
        self.task = trio.lowlevel.current_task()
        return True

    def fire(self) -> None:
        """The deadline has come."""
        self.cell = None
        if not self.done:
            self.fail(timed_out(self.place, self.message, self.timeout, inherited=self.inherited))

    def abandon(self, _raise_cancel: object = None) -> trio.lowlevel.Abort:
        """The waiting task was cancelled: forget it."""
        self.task = None
        self.settle()
        return trio.lowlevel.Abort.SUCCEEDED

    def result(self) -> Any:
        """The answer, once ``done``: returned or raised."""
        if self.error is not None:
            try:
                raise self.error
            finally:
                # The exception holds this frame, which must not hold the exception.
                self.error = None
        return self.value


class Held(list[Slot]):
    """The slots an actor owes an answer, in order; settled ones are let go now and then."""

    __slots__ = ("limit",)

    def __init__(self) -> None:
        super().__init__()
        self.limit = 16

    def hold(self, slot: Slot) -> None:
        """Owe one more."""
        if len(self) >= self.limit:
            self[:] = [each for each in self if not each.done]
            self.limit = 2 * len(self) + 16
        self.append(slot)


INLINE: Slot = Slot.__new__(Slot)
"""Stands for the slot of a call whose turn the caller runs itself: made only when asked for."""


def timed_out(
    place: Place,
    message: object,
    timeout: float | None,
    *,
    inherited: bool,
    sent: bool = True,
) -> CallTimeout:
    """The CallTimeout of a call, in words."""
    why = (
        "the deadline of the call being handled here has passed"
        if inherited
        else f"no answer within {timeout} s"
    )
    text = (
        f"{place.path} did not answer {type(message).__name__}: {why}. "
        "It may still handle the message."
        if sent
        else f"{type(message).__name__} was not sent to {place.path}: "
        + (why if inherited else f"a timeout of {timeout} s leaves no time for an answer.")
    )
    return CallTimeout(
        text,
        timeout=timeout,
        inherited=inherited,
        ref=place.ref,
        message=message,
    )


class Later(Generic[R]):
    """A deferred answer: returned from a handler, given from any task or actor, once.

    Made by :meth:`actors.Actor.later`. A second answer is dropped, and so is one that comes after
    the caller has gone. If the actor ends before it has answered, the caller gets ``ActorDied``.
    """

    __slots__ = ("_slot",)

    def __init__(self, slot: Slot | None) -> None:
        self._slot = slot

    @property
    def slot(self) -> Slot | None:
        """The reply slot; ``None`` for a one-way message, where answers are dropped."""
        return self._slot

    @property
    def done(self) -> bool:
        """Whether nobody waits any more: answered, timed out or cancelled."""
        return self._slot is None or self._slot.done

    def reply(self, value: R) -> None:
        """Answer the call. Dropped if it is answered already or the caller has gone. Not a
        checkpoint; to be called in the system's own thread."""
        if self._slot is not None:
            self._slot.reply(value)

    def fail(self, error: Exception) -> None:
        """Answer the call with an exception, raised in the caller: a ``Refusal`` or an
        ``ActorError``. Raises TypeError for any other: that would be a crash and no answer. Not a
        checkpoint."""
        if not isinstance(error, Refusal | ActorError):
            raise TypeError(
                "later.fail() takes a Refusal or an ActorError: other exceptions are crashes, "
                f"not answers. Got: {error!r}"
            )
        if self._slot is not None:
            self._slot.fail(error)
