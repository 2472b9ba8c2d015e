"""What can be asked of a mediator about its workflows: messages, as everything else.

Handles speak them; they can be sent by hand as well. Each raises ``NoSuchWorkflow`` where there is
none of that id, and is answered only when what it changes is on disk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

import attrs

from actors import Call
from actors.validation import check_choice, check_seconds, is_int
from mediators.outcomes import Incident, Status  # noqa: F401
from mediators.texts import check_text

if TYPE_CHECKING:
    from mediators.handle import Handle  # noqa: F401
    from mediators.workflow import Workflow

R = TypeVar("R")

Policy: TypeAlias = Literal["join", "reject", "replace"]
POLICIES = ("join", "reject", "replace")

STATUSES = ("open", "continued", *map(str, Status))
"""What runs can be listed by."""


def TEXT(message: object, field: attrs.Attribute[Any], value: Any) -> None:  # noqa: N802
    """Validator: a str that can be written down."""
    check_text(f"{type(message).__name__}.{field.name}", value)


TEXT_OR_NONE = attrs.validators.optional(TEXT)


@attrs.frozen
class AboutWorkflow(Call[R], Generic[R]):
    """Base of what is asked of the one workflow that has this id."""

    id: str = attrs.field(validator=TEXT)


@attrs.frozen
class Start(Call["Handle[R]"], Generic[R]):
    """Start a workflow; answered with its handle once the start is on disk.

    ``policy`` says what if the id is taken: ``"join"`` it, if the contents are the same (else
    ``StartConflict``); ``"reject"``; or ``"replace"``: cancel it, wait for its compensation and
    start the next run. ``timeout`` (seconds) bounds the run, in place of the class's own.
    """

    workflow: Workflow[R]
    policy: Policy = "join"
    timeout: float | None = None

    def _sent_as(self) -> SentStart:
        return SentStart(self.workflow, self.policy, self.timeout)

    @staticmethod
    def _travels_as() -> tuple[type, ...]:
        return forms_with_handle(SentStart)

    def __attrs_post_init__(self) -> None:
        if self.timeout is not None:
            check_seconds("Start timeout (None for the class's own)", self.timeout, zero=False)


@attrs.frozen
class Result(AboutWorkflow[Any]):
    """Wait for the end: the result, or what it failed with."""


@attrs.frozen
class GetStatus(AboutWorkflow[Status]):
    """Where it stands."""


@attrs.frozen
class SendSignal(AboutWorkflow[None]):
    """Send it an event, for its ``receive``. One of a ``signal_id`` it has had counts once; unread
    for ``expires`` seconds it becomes a dead letter."""

    event: object
    signal_id: str | None = attrs.field(default=None, validator=TEXT_OR_NONE)
    expires: float | None = None

    def __attrs_post_init__(self) -> None:
        if self.expires is not None:
            check_seconds("expires (None for never)", self.expires)


@attrs.frozen
class Query(AboutWorkflow[Any]):
    """Ask the workflow itself: ``message`` goes to its ``@handles`` method."""

    message: Call[Any]

    def _sent_as(self) -> SentQuery:
        return SentQuery(self.id, self.message)

    @staticmethod
    def _travels_as() -> tuple[type, ...]:
        return (SentQuery,)


@attrs.frozen
class Cancel(AboutWorkflow[None]):
    """End it: what it has done is undone."""

    reason: str = attrs.field(default="somebody asked for it", validator=TEXT)


@attrs.frozen
class Pause(AboutWorkflow[None]):
    """Let nothing more be delivered to it; what is under way goes on and is kept."""

    reason: str = attrs.field(default="somebody asked for it", validator=TEXT)


@attrs.frozen
class Resume(AboutWorkflow[Status]):
    """Go on where it was paused, by somebody or by a mistake that is mended now."""


@attrs.frozen
class RetryStep(AboutWorkflow[None]):
    """Try again what stands as an incident: the step of that path, or all."""

    path: str | None = attrs.field(default=None, validator=TEXT_OR_NONE)


@attrs.frozen
class SkipStep(AboutWorkflow[None]):
    """Leave an incident as it is: an undo is not made, a step counts as failed."""

    path: str | None = attrs.field(default=None, validator=TEXT_OR_NONE)


@attrs.frozen
class ResolveStep(AboutWorkflow[None]):
    """Answer in the component's place."""

    value: object = None
    path: str | None = attrs.field(default=None, validator=TEXT_OR_NONE)


@attrs.frozen
class Fork(AboutWorkflow["Handle[Any]"]):
    """Start a new run that shares the history of this one up to before the outcome of the step
    ``at`` (all of it without): under an id of its own, or, of a workflow that has ended, as its
    next run."""

    new_id: str | None = attrs.field(default=None, validator=TEXT_OR_NONE)
    at: str | None = attrs.field(default=None, validator=TEXT_OR_NONE)

    def _sent_as(self) -> SentFork:
        return SentFork(self.id, self.new_id, self.at)

    @staticmethod
    def _travels_as() -> tuple[type, ...]:
        return forms_with_handle(SentFork)


@attrs.frozen
class WorkflowInfo:
    """One run in a listing. Times are seconds of the wall clock."""

    id: str
    run: int
    type: str
    status: str
    started: float
    ended: float | None


@attrs.frozen
class ListWorkflows(Call["list[WorkflowInfo]"]):
    """The runs, oldest first: of one ``status``, of one ``type`` (its name in the journal)."""

    status: str | None = attrs.field(default=None, validator=TEXT_OR_NONE)
    type: str | None = attrs.field(default=None, validator=TEXT_OR_NONE)
    limit: int | None = 1000

    def __attrs_post_init__(self) -> None:
        if self.status is not None:
            check_choice("ListWorkflows.status", str(self.status), STATUSES)
        if self.limit is None:
            return
        if not is_int(self.limit):
            raise TypeError(f"ListWorkflows.limit is an int, or None for all. Got: {self.limit!r}")
        if not 0 <= self.limit < 2**63:
            raise ValueError(f"ListWorkflows.limit is 0 or more. Got: {self.limit!r}")


@attrs.frozen
class HistoryEntry:
    """One event of a history: when, what, where, and what it says."""

    time: float
    kind: str
    path: str
    text: str


@attrs.frozen
class GetHistory(AboutWorkflow["list[HistoryEntry]"]):
    """What has come to the latest run, and what followed."""


@attrs.frozen
class GetIncidents(AboutWorkflow["list[Incident]"]):
    """What somebody must decide, or mend."""


# -- what travels between processes in place of those that are no plain data


@attrs.frozen
class SentStart:
    """A ``Start``."""

    workflow: object
    policy: str
    timeout: float | None

    def _received(self) -> Any:
        policy: Any = self.policy
        workflow: Any = self.workflow
        return Start(workflow, policy, self.timeout)


@attrs.frozen
class SentQuery:
    """A ``Query``."""

    id: str
    message: object

    def _received(self) -> Any:
        message: Any = self.message
        return Query(self.id, message)


@attrs.frozen
class SentFork:
    """A ``Fork``."""

    id: str
    new_id: str | None
    at: str | None

    def _received(self) -> Any:
        return Fork(self.id, self.new_id, self.at)


def forms_with_handle(form: type) -> tuple[type, ...]:
    """The form of a message that is answered with a handle, and that of the handle."""
    from mediators.handle import SentHandle

    return form, SentHandle
