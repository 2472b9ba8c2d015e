"""How workflows end, and what goes wrong with them.

What a step, a workflow or a verb may answer with besides a value::

    Refusal                  business says no: raised at the step, and to the workflow's caller
    ├── StartConflict        the id is taken, by other contents or under policy "reject"
    ├── NoSuchWorkflow       nothing of that id is there, or it has ended
    ├── TooManyWorkflows     the mediator runs as many as max_running allows
    ├── SignalRefused        the workflow's buffer of unread signals is full
    └── VerbRefused          the workflow is not in a state in which that can be done

    StepFailed               the attempts of a step are spent on crashes or timeouts
    WorkflowEnded            the workflow one waits for was cancelled, or failed by a child's end
    WorkflowCancelled        raised inside ``run`` only: a BaseException, as trio.Cancelled is

What may leave ``run`` and end the workflow orderly is a ``Refusal``, ``StepFailed`` or
``WorkflowEnded``; anything else that leaves it, or a branch of it, is a mistake in the code, and
the workflow is paused with an :class:`Incident`.
"""

from __future__ import annotations

from enum import StrEnum

import attrs

from actors import Refusal
from actors.messages import Answer


class Status(StrEnum):
    """Where a workflow stands. ``paused``: code must change, or someone paused it. ``incident``:
    someone must decide about a step or an undo."""

    RUNNING = "running"
    WAITING = "waiting"
    PAUSED = "paused"
    COMPENSATING = "compensating"
    INCIDENT = "incident"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether nothing will happen any more."""
        return self in {Status.DONE, Status.FAILED, Status.CANCELLED}


def how_it_ended(status: str) -> str:
    """The end of a workflow with a status of which nothing follows, in words."""
    return _ENDS.get(status, f"has ended: it is {status}")


_ENDS = {
    "done": "has ended: it is done",
    "failed": "has ended: it has failed",
    "cancelled": "has ended: it was cancelled",
    "continued": "has ended: it went on as a new run",
}


@attrs.frozen
class Incident:
    """Why a workflow does not go on by itself.

    ``path`` names the step, or is empty for the workflow's own code; ``what`` is a sentence;
    ``recorded`` and ``came`` say what the journal has and what the code did instead, where that is
    the trouble.
    """

    path: str
    what: str
    recorded: str = ""
    came: str = ""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        against = f" Recorded: {self.recorded.rstrip('.')}." if self.recorded else ""
        instead = f" Came: {self.came.rstrip('.')}." if self.came else ""
        return f"{where}{self.what}{against}{instead}"


class StepFailed(Answer):
    """The attempts of a step are spent: ``step`` is its path, ``attempts`` their number, ``type``
    and ``text`` what the last one failed with. It may have had an effect."""

    def __init__(self, step: str, attempts: int, type: str, text: str) -> None:
        super().__init__(step, attempts, type, text)
        self.step = step
        self.attempts = attempts
        self.type = type
        self.text = text

    def __str__(self) -> str:
        return f"{self.step} failed {self.attempts} times, last with {self.type}: {self.text}"


class WorkflowEnded(Answer):
    """The workflow ``id`` has ended, with ``status`` ``failed`` or ``cancelled``, and there is no
    result. ``reason`` says why, as far as it is known."""

    def __init__(self, id: str, status: Status, reason: str = "") -> None:
        # Its text: a refusal's args are written down.
        super().__init__(id, str(Status(status)), reason)
        self.id = id
        self.reason = reason

    @property
    def status(self) -> Status:
        """How it has ended."""
        return Status(self.args[1])

    def __str__(self) -> str:
        verb = "has" if self.status is Status.FAILED else "was"
        return f"workflow {self.id!r} {verb} {self.status}" + (self.reason and f": {self.reason}")


class WorkflowCancelled(BaseException):
    """Raised inside ``run`` at the command that waits, and again at every later one. Compensation
    follows once ``run`` has ended."""


class StartConflict(Refusal):
    """The id is taken by a workflow with other contents, or by any under ``policy="reject"``."""


class NoSuchWorkflow(Refusal, LookupError):
    """There is no workflow of that id, or it has ended."""


class TooManyWorkflows(Refusal):
    """``max_running`` workflows run already."""


class SignalRefused(Refusal):
    """The workflow holds as many unread signals as it may."""


class VerbRefused(Refusal):
    """The workflow is not in a state in which that can be done to it."""


class Bug(Exception):
    """Code of a workflow that cannot go on: an incident, not an outcome."""

    def __init__(self, incident: Incident) -> None:
        super().__init__(str(incident))
        self.incident = incident


ENDINGS = (Refusal, StepFailed, WorkflowEnded)
"""What may leave ``run`` and end the workflow orderly."""
