"""Turns that go on without a task.

A supervisor starts and stops children that may take their time, one after another. It needs no
task for that: its operation is a generator that yields a :class:`Pending` whenever something is not
done yet, and the scheduler resumes it when it is. Its turn lasts until the generator returns.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import trio

from actors.exits import ActorError
from actors.messages import Refusal
from actors.turns import break_cycle

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from actors.place import Place
    from actors.replies import Slot
    from actors.timers import Timer

Steps: TypeAlias = "Generator[Pending, Any, Any]"


class Pending:
    """Something under way: a start, a stop, an end. ``value`` once ``done``."""

    __slots__ = ("_then", "done", "holder", "timer", "value")

    def __init__(self, holder: Place) -> None:
        self.holder: Place | None = holder
        self.done = False
        self.value: Any = None
        self.timer: Timer | None = None
        """Cancelled when it is done."""
        self._then: Callable[[Pending], object] | None = None

    def resolve(self, value: Any = None, /) -> None:
        """It is done; the first resolution counts."""
        if not self.done:
            self.done = True
            self.value = value
            self.holder = None
            if self.timer is not None:
                self.timer.cancel()
            if self._then is not None:
                self._then(self)

    def then(self, call: Callable[[Pending], object]) -> None:
        """Call back once, when done."""
        self._then = call

    async def wait(self) -> Any:
        """Wait in a trio task. A checkpoint if it is not done; cancellation only ends the wait."""
        if not self.done:
            task = trio.lowlevel.current_task()
            self._then = lambda _: trio.lowlevel.reschedule(task)

            def abort(_: object) -> trio.lowlevel.Abort:
                self._then = None
                return trio.lowlevel.Abort.SUCCEEDED

            await trio.lowlevel.wait_task_rescheduled(abort)
        return self.value


class Stage:
    """A generator being driven, whose call it answers, and what it waits for now.

    A plain handler returns one to go on without a task. What the generator returns is the answer;
    an exception it *returns* is raised in the caller, one it *raises* is a crash.
    """

    __slots__ = ("finish", "resumable", "slot", "steps", "waiting")

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.slot: Slot | None = None
        self.waiting: Pending | None = None
        self.resumable = True
        self.finish: Callable[[Any, BaseException | None], object] | None = None
        """Told the result or the exception, when the stage is a callback and no message's turn."""


def drive(place: Place, stage: Stage) -> bool:
    """Run a stage as far as it goes; True when it has ended."""
    value = stage.waiting.value if stage.waiting is not None else None
    stage.resumable = False
    while True:
        stage.waiting = None
        try:
            pending = stage.steps.send(value)
        except StopIteration as stop:
            place.stage = None
            _finished(place, stage, stop.value, None)
            return True
        except Exception as error:
            place.stage = None
            _finished(place, stage, None, error)
            return True
        stage.waiting = pending
        if not pending.done:
            if pending.holder is not None:
                break_cycle(place, pending.holder)
            pending.then(lambda _: _resume(place, stage))
            return False
        value = pending.value


def _resume(place: Place, stage: Stage) -> None:
    stage.resumable = True
    place.look()


def _finished(place: Place, stage: Stage, value: Any, error: BaseException | None) -> None:
    if stage.finish is not None:
        stage.finish(value, error)
    elif error is not None:
        place.scheduler.failed(place, error, stage.slot)
    elif stage.slot is not None and not stage.slot.taken:
        if isinstance(value, Refusal | ActorError):
            stage.slot.fail(value)
        else:
            stage.slot.reply(value)
