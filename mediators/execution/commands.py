"""What a workflow's code can await: each command says how it begins and what its outcome means.

A command object is made by a method of :class:`mediators.Workflow`, and handed to the execution
when the code awaits it. It then has a path, and stands in ``execution.open`` until its outcome
comes. Nothing here knows trio or the mediator.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from msgspec import Raw

from actors import Call
from actors.payloads.types import NotEncodable, journal_name
from actors.validation import check_seconds
from mediators.history import NIL, Awaited, Continued, Forked, Intended, Slept, Spawned
from mediators.outcomes import Bug, Incident
from mediators.retry import DEFAULT_RETRY, STEP_TIMEOUT, Retry
from mediators.texts import check_text, text_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator, Sequence

    from mediators.execution.branches import Branch
    from mediators.execution.execution import Execution

Undo: TypeAlias = "Callable[[Any], Call[Any]] | Call[Any] | None"


def id_of(workflow: Any) -> str | None:
    """The id a workflow gives itself, if it does. What its property raises leaves as it is. Raises
    ValueError for an id that cannot be written down."""
    try:
        own = workflow.id
    except AttributeError:
        if hasattr(type(workflow), "id"):
            raise
        return None
    return None if own is None else check_text(f"{type(workflow).__name__}.id", str(own))


def timeout_of(workflow: Any) -> float | None:
    """The seconds a run of it may take, by its class or by a field of that name. Raises TypeError
    or ValueError for what is no duration."""
    timeout: float | None = workflow.timeout
    if timeout is not None:
        check_seconds(f"{type(workflow).__name__}.timeout", timeout, zero=False)
    return timeout


WAIT: Any = object()
"""What ``begin`` returns when the outcome is to come."""


@lru_cache(maxsize=1024)
def label_of(cls: Any) -> str:
    """The name of a class in paths, which stays when the class is renamed and its journal_name is
    not."""
    return re.split(r"[.:]", journal_name(cls))[-1]


class Command:
    """Base of the commands. Awaited, it is what the coroutine yields.

    It is its own iterator: a generator for each would take two hundred bytes more of every workflow
    that waits.
    """

    __slots__ = ("branch", "path", "yielded")

    verb: ClassVar[str] = "command"
    sends: ClassVar[bool] = False
    """Whether something is sent that may have had an effect."""
    wakes: ClassVar[bool] = False
    """Whether it waits for a moment on the clock."""

    branch: Branch | None
    """Who waits for the outcome; None when nobody does any more."""
    path: str
    yielded: bool

    def __await__(self) -> Generator[Any, Any, Any]:
        self.yielded = False
        return self  # type: ignore[return-value]  # as far as ``await`` needs it

    def __iter__(self) -> Command:
        return self

    def __next__(self) -> Command:
        """Begun: the command itself. Resumed without a value: that is the value."""
        if self.yielded:
            raise StopIteration
        self.yielded = True
        return self

    def send(self, value: Any) -> None:
        """Resumed with a value."""
        raise StopIteration(value)

    def __repr__(self) -> str:
        return f"<{self.verb} {self.path or f'{self.label}, not awaited'}>"

    @property
    def label(self) -> str:
        """The name in its path."""
        return self.verb

    def begin(self, execution: Execution) -> Any:
        """The code awaits it. Returns WAIT, or the outcome if it is there already."""
        raise NotImplementedError


class Step(Command):
    """A message to a component, or an undo."""

    __slots__ = (
        "attempts",
        "call",
        "deaths",
        "encoded",
        "kind",
        "message",
        "rerun",
        "retry",
        "sent",
        "settling",
        "spent",
        "timeout",
        "undo",
        "undo_encoded",
    )

    verb: ClassVar[str] = "step"
    sends: ClassVar[bool] = True

    def __init__(
        self,
        message: Any,
        undo: Undo = None,
        retry: Retry = DEFAULT_RETRY,
        timeout: float | None = STEP_TIMEOUT,
        kind: str = "step",
    ) -> None:
        self.message = message
        self.undo = undo
        self.undo_encoded: Raw | None = None
        self.retry = retry
        self.timeout = timeout
        self.kind = kind
        self.encoded: Raw | None = None
        self.branch = None
        self.path = ""
        self.attempts = 0
        """Attempts whose failure was seen."""
        self.deaths = 0
        """Attempts whose outcome was lost with the process or the mediator."""
        self.call: Any = None
        """The attempt under way, for the driver."""
        self.sent = False
        """Whether anything may have gone out."""
        self.rerun = False
        """It is run again only to learn what it has done."""
        self.spent = False
        """It ended in StepFailed: something went out, whoever recovers it."""
        self.settling = False
        """Such an attempt is on record: attempts and deaths are counted from the first of them."""

    @property
    def label(self) -> str:
        cls: Any = type(self.message)
        return label_of(cls)

    def encode(self, execution: Execution) -> Raw:
        """What stands in the journal for the message."""
        try:
            return execution.encode(self.message, self.path)
        except NotEncodable:
            types, cls = execution.types, type(self.message)
            if types.knows(cls):
                raise
            raise NotEncodable(
                f"Cannot write down {self.path}: no component handles {cls.__name__} (components "
                f"handle: {', '.join(types.handled) or 'nothing'}); is @handles missing, or the "
                "component not in components? Messages of a component that a function makes are "
                "named in the mediator's types."
            ) from None

    def begin(self, execution: Execution) -> Any:
        self.encoded = self.encode(execution)
        if isinstance(self.undo, Call):
            self.undo_encoded = execution.encode(self.undo, f"the undo of {self.path}")
        by_answer = self.undo is not None and self.undo_encoded is None
        undo = self.undo_encoded or NIL
        execution.produce(Intended(self.path, self.kind, self.encoded, undo, by_answer))
        execution.act("send", self)
        return WAIT


class Effect(Step):
    """An async function of the user's, run in a task of its own."""

    __slots__ = ("args", "function")

    verb: ClassVar[str] = "effect"

    def __init__(
        self,
        function: Callable[..., Awaitable[Any]],
        args: tuple[Any, ...],
        undo: Undo = None,
        retry: Retry = DEFAULT_RETRY,
        timeout: float | None = STEP_TIMEOUT,
    ) -> None:
        super().__init__(None, undo, retry, timeout, "effect")
        self.function = function
        self.args = args

    @property
    def label(self) -> str:
        return text_of(getattr(self.function, "__name__", type(self.function).__name__))

    def encode(self, execution: Execution) -> Raw:
        function = self.function
        name = (
            f"{getattr(function, '__module__', '')}:{getattr(function, '__qualname__', self.label)}"
        )
        return execution.encode([name, list(self.args)], self.path)


class Sleep(Command):
    """Wait for some seconds of wall-clock time."""

    __slots__ = ("seconds", "until")

    verb: ClassVar[str] = "sleep"
    wakes: ClassVar[bool] = True

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.branch = None
        self.path = ""
        self.until: float | None = None

    def begin(self, execution: Execution) -> Any:
        self.until = execution.time + self.seconds
        execution.produce(Slept(self.path, self.until))
        execution.act("wake", self)
        return WAIT


class Receive(Command):
    """Wait for a signal."""

    __slots__ = ("seconds", "type", "until", "where")

    verb: ClassVar[str] = "receive"
    wakes: ClassVar[bool] = True

    def __init__(
        self, type: type, where: Callable[[Any], bool] | None, seconds: float | None
    ) -> None:
        self.type = type
        self.where = where
        self.seconds = seconds
        self.branch = None
        self.path = ""
        self.until: float | None = None

    def begin(self, execution: Execution) -> Any:
        self.until = None if self.seconds is None else execution.time + self.seconds
        execution.types.add(self.type)
        execution.produce(Awaited(self.path, journal_name(self.type), self.until))
        signal = execution.inbox.take(self, execution) if execution.inbox else None
        if signal is not None:
            del execution.open[self.path]
            return signal.value
        execution.receives = [*execution.receives, self]
        if self.until is not None:
            execution.act("wake", self)
        return WAIT


class ChildRun(Command):
    """Run another workflow and wait for its end."""

    __slots__ = ("detached", "encoded", "id", "workflow")

    verb: ClassVar[str] = "child"
    sends: ClassVar[bool] = True

    def __init__(self, workflow: Any, detached: bool) -> None:
        self.workflow = workflow
        self.detached = detached
        self.branch = None
        self.path = ""
        self.id = ""
        self.encoded: Raw | None = None

    @property
    def label(self) -> str:
        cls: Any = type(self.workflow)
        return label_of(cls)

    def begin(self, execution: Execution) -> Any:
        own = execution.guarded(lambda: id_of(self.workflow))
        execution.guarded(lambda: timeout_of(self.workflow))
        self.id = execution.child_id(self.path) if own is None else own
        self.encoded = execution.encode(self.workflow, self.path)
        execution.children += 1
        execution.produce(Spawned(self.path, self.id, self.encoded, self.detached))
        execution.act("child", self)
        return WAIT


class Fork(Command):
    """Several branches: ``gather`` all of them, or ``race`` them."""

    __slots__ = (
        "begun",
        "branches",
        "ended",
        "limit",
        "outcome",
        "prefix",
        "results",
        "rollback",
        "starting",
        "verb_",
    )

    def __init__(self, verb: str, awaitables: Sequence[Any], limit: int | None = None) -> None:
        self.verb_ = verb
        self.branches: list[Any] = list(awaitables)
        """Coroutines; from the moment each is begun its branch, None once that has ended."""
        self.limit = limit
        self.branch = None
        self.path = ""
        self.results: list[Any] = [None] * len(self.branches)
        self.ended = 0
        self.begun = 0
        self.starting = False
        self.outcome: tuple[Any, BaseException | None] | None = None
        """Set where it ends before its branch waits for it."""
        self.rollback: Any = None
        self.prefix = ""

    @property
    def label(self) -> str:
        return self.verb_

    def begin(self, execution: Execution) -> Any:
        execution.produce(Forked(self.path, self.verb_, len(self.branches)))
        self.prefix = f"{self.path}/"
        return execution.branch_out(self)


class ContinueAsNew(Command):
    """End this run and go on with the next one."""

    __slots__ = ("workflow",)

    verb: ClassVar[str] = "continue_as_new"

    def __init__(self, workflow: Any) -> None:
        self.workflow = workflow
        self.branch = None
        self.path = ""

    def begin(self, execution: Execution) -> Any:
        assert self.branch is not None
        if self.branch.fork is not None:
            raise Bug(Incident(self.path, "continue_as_new() stands in a branch of gather or race"))
        if execution.children:
            raise Bug(Incident(self.path, "continue_as_new() while child workflows run"))
        del execution.open[self.path]
        execution.guarded(lambda: timeout_of(self.workflow))
        execution.produce(Continued(execution.encode(self.workflow, self.path)))
        execution.continued()
        return WAIT
