"""The base class of workflows: what their code can say."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import UTC, datetime
from random import Random
from typing import (
    TYPE_CHECKING,
    Any,
    ClassVar,
    Generic,
    NoReturn,
    TypeVar,
    TypeVarTuple,
    cast,
    overload,
)
from uuid import UUID

from actors import Call
from actors.dispatch import PLAIN, Routes, collect
from actors.validation import check_seconds, is_int
from mediators.execution.commands import (
    ChildRun,
    Command,
    ContinueAsNew,
    Effect,
    Fork,
    Receive,
    Sleep,
    Step,
)
from mediators.retry import DEFAULT_RETRY, STEP_TIMEOUT, Retry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from mediators.execution.execution import Execution

R = TypeVar("R", covariant=True)
T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
Args = TypeVarTuple("Args")

DAY = 86_400.0


class Acted:
    """What :meth:`Workflow.pivot` returns: it has acted already, awaiting it adds nothing."""

    __slots__ = ()

    def __await__(self) -> Any:
        return iter(())


class Workflow(Call[R], Generic[R]):
    """A message whose handling is durable: a coroutine that survives the end of its process.

    Subclass it as ``attrs.define`` or a dataclass, with what it needs to know as fields, and say in
    ``run`` what is to be done::

        @attrs.define
        class PlaceOrder(Workflow[Receipt]):
            order: Order

            @property
            def id(self) -> str:
                return f"order-{self.order.id}"

            async def run(self) -> Receipt:
                paid = await self.step(Charge(self.order), undo=lambda paid: Refund(paid.id))
                ...

    A mediator that lists the class in its ``workflows`` runs it: ``await orders.call(PlaceOrder(o),
    timeout=60)``. Every step is on disk before it is sent, and so is its answer before anything
    follows from it. After a crash ``run`` is called again, with the recorded answers, up to where
    it stood. So it must do the same again: it reads clocks and chance through ``self`` only, and
    awaits nothing but the commands of this class (anything of trio raises where it stands).

    ``id``, a field or a property, names the workflow: starting the same again joins it. Without one
    an id is drawn. Fields that ``run`` sets are private and rebuilt by replay. Plain ``def``
    methods marked with :func:`actors.handles` answer queries; they only read.

    Class attributes: ``timeout``, seconds a run may take before it is cancelled (``None``: for
    ever); ``journal_name`` and ``version`` name the class in the journal.

    If ``run`` raises a ``Refusal``, ``StepFailed`` or ``WorkflowEnded``, or is cancelled, the undos
    of the steps that took effect are run in reverse order, and the workflow is ``failed`` or
    ``cancelled``. Any other exception is a mistake: the workflow is paused with an
    :class:`mediators.Incident` and resumes after the fix.
    """

    __slots__ = ("__weakref__", "_execution")

    timeout: ClassVar[float | None] = None
    queries: ClassVar[Routes] = Routes(object, {})

    if TYPE_CHECKING:
        # Not at run time: annotations of the class are its fields in the journal.
        _execution: Execution | None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        tables = collect(cls)
        if len(tables) > 1:
            raise TypeError(f"{cls.__qualname__}: only a StateMachine has handlers for states.")
        cls.queries = Routes(cls, tables[None])
        for message in tables[None]:
            route = cls.queries[message]
            if route.kind != PLAIN or not route.is_call:
                raise TypeError(
                    f"{cls.__qualname__}.{tables[None][message]} answers a query: it is a plain "
                    f"def, and {message.__qualname__} a Call."
                )
        run = inspect.getattr_static(cls, "run", None)
        if run is not Workflow.__dict__.get("run") and not inspect.iscoroutinefunction(run):
            raise TypeError(f"{cls.__qualname__}.run is an async def. Got: {run!r}")

    async def run(self) -> R:
        """What is to be done. To be overridden."""
        raise NotImplementedError(f"{type(self).__qualname__} has no run().")

    # -- commands
    #
    # Each is a Coroutine to type checkers, which so notice a forgotten await; of object, not of
    # Any, with which mypy cannot tell the overloads of gather apart.

    def step(
        self,
        message: Call[T],
        *,
        undo: Callable[[T], Call[Any]] | Call[Any] | None = None,
        retry: Retry = DEFAULT_RETRY,
        timeout: float | None = STEP_TIMEOUT,
    ) -> Coroutine[object, object, T]:
        """Send a message to the component that handles it and wait for the answer.

        ``undo`` is the message that takes it back, or a function that makes it of the answer; it is
        sent if the workflow fails later. ``timeout`` (seconds) bounds one attempt, ``retry`` says
        how often and when it is tried again after a crash or a timeout.

        Raises the component's ``Refusal``, ``StepFailed`` when the attempts are spent, and
        ``WorkflowCancelled``.
        """
        if not isinstance(message, Call):
            raise TypeError(
                "step() takes a Call, whose class names its reply type: class Charge(Call[int]). "
                f"Got: {message!r}"
            )
        if undo is not None:
            check_undo(undo)
        if retry is not DEFAULT_RETRY or timeout is not STEP_TIMEOUT:
            check_attempts(retry, timeout)
        return self._made(Step(message, undo, retry, timeout))

    def effect(
        self,
        function: Callable[[*Args], Awaitable[T]],
        *args: *Args,
        undo: Callable[[T], Call[Any]] | Call[Any] | None = None,
        retry: Retry = DEFAULT_RETRY,
        timeout: float | None = STEP_TIMEOUT,
    ) -> Coroutine[object, object, T]:
        """Run an ordinary async function in a task of its own, as a recorded step.

        In there all of trio may be used, and :func:`mediators.effect_key` tells the idempotency key
        to hand to the outside. A ``Refusal`` it raises is the answer; any other exception is a
        failed attempt. Arguments and result must be data. Otherwise as :meth:`step`.
        """
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"effect() takes an async function and arguments. Got: {function!r}")
        check_undo(undo)
        check_attempts(retry, timeout)
        return self._made(Effect(function, args, undo, retry, timeout))

    def sleep(self, seconds: float) -> Coroutine[object, object, None]:
        """Wait, also over restarts, until so many seconds of wall-clock time have passed."""
        return self._made(Sleep(check_seconds("sleep(seconds)", seconds)))

    @overload
    def receive(
        self, type: type[T], *, where: Callable[[T], bool] | None = None, timeout: None = None
    ) -> Coroutine[object, object, T]: ...
    @overload
    def receive(
        self, type: type[T], *, where: Callable[[T], bool] | None = None, timeout: float
    ) -> Coroutine[object, object, T | None]: ...
    def receive(
        self,
        type: type[T],
        *,
        where: Callable[[T], bool] | None = None,
        timeout: float | None = None,
    ) -> Coroutine[object, object, T | None]:
        """Wait for a signal of a type for which ``where(signal)`` holds; those that have come
        before and were not read count. ``None`` when ``timeout`` seconds pass first."""
        if not isinstance(type, _type):
            raise TypeError(f"receive() takes the class of the signal. Got: {type!r}")
        if where is not None and not callable(where):
            raise TypeError(f"receive(where=) takes a function of the signal. Got: {where!r}")
        if timeout is not None:
            check_seconds("receive(timeout=)", timeout)
        return self._made(Receive(type, where, timeout))

    @overload
    def gather(
        self, a: Awaitable[T1], b: Awaitable[T2], /, *, limit: int | None = None
    ) -> Coroutine[object, object, tuple[T1, T2]]: ...
    @overload
    def gather(
        self, a: Awaitable[T1], b: Awaitable[T2], c: Awaitable[T3], /, *, limit: int | None = None
    ) -> Coroutine[object, object, tuple[T1, T2, T3]]: ...
    @overload
    def gather(
        self, *branches: Awaitable[T], limit: int | None = None
    ) -> Coroutine[object, object, tuple[T, ...]]: ...
    def gather(self, *branches: Any, limit: int | None = None) -> Coroutine[object, object, Any]:
        """Go on in several branches at once, commands or coroutines of yours, at most ``limit`` at
        a time; the tuple of their results, in order.

        The first failure, in the order of the journal, is raised, after the other branches were cut
        off, what they had sent has settled and what they and it had done is undone.
        """
        return self._made(Fork("gather", check_branches("gather", branches), check_limit(limit)))

    def race(self, *branches: Awaitable[T]) -> Coroutine[object, object, T]:
        """Go on in several branches; the result, or failure, of the first to end. All but a
        successful winner are cut off, settled and undone before."""
        if not branches:
            raise TypeError("race() takes at least one branch.")
        return self._made(Fork("race", check_branches("race", branches)))

    def child(
        self, workflow: Workflow[T], *, detached: bool = False
    ) -> Coroutine[object, object, T]:
        """Run another workflow of this mediator and wait for its result.

        Its undos become this workflow's, unless ``detached``, which also lets it go on when this
        one is cancelled. Raises ``WorkflowEnded`` if it fails or is cancelled.
        """
        if not isinstance(workflow, Workflow):
            raise TypeError(f"child() takes a workflow. Got: {workflow!r}")
        return self._made(ChildRun(workflow, detached))

    def continue_as_new(self, workflow: Workflow[Any]) -> Coroutine[object, object, NoReturn]:
        """End this run and go on in a new one, with a fresh history. Unread signals, open undos and
        the pivot are carried. Not in a branch, nor while children run."""
        if not isinstance(workflow, Workflow):
            raise TypeError(f"continue_as_new() takes a workflow. Got: {workflow!r}")
        return self._made(ContinueAsNew(workflow))

    # -- what is read from the record

    def now(self) -> datetime:
        """The time of the present turn, aware, in UTC; the same again on replay."""
        return datetime.fromtimestamp(self._at_work.time, UTC)

    @property
    def random(self) -> Random:
        """A source of chance that draws the same again on replay."""
        return self._at_work.chance()

    def uuid(self) -> UUID:
        """A random UUID, the same again on replay."""
        return UUID(int=self._at_work.chance().getrandbits(128), version=4)

    def patched(self, name: str) -> bool:
        """Whether this run takes the new side of a change: ``if self.patched("two-parcels"): ...``.
        True, and noted, where the code comes here for the first time; False in the replay of a
        history that came by before the change."""
        return self._at_work.patched(name)

    def pivot(self) -> Acted:
        """From here on there is no way back: earlier undos are dropped, later cancels refused, and
        what would fail the workflow stands as an incident. Acts at once. Not in a branch."""
        self._at_work.pivot()
        return Acted()

    @property
    def _at_work(self) -> Execution:
        execution: Execution | None = getattr(self, "_execution", None)
        if execution is None:
            raise RuntimeError(
                f"This {type(self).__name__} does not run: it is a message. Send it to a mediator "
                "that lists its class in workflows."
            )
        return execution

    def _made(self, command: Command) -> Coroutine[object, object, Any]:
        execution = self._at_work
        execution.unawaited += 1
        if execution.made is None:
            execution.made = command
        return cast("Coroutine[object, object, Any]", command)


_type = type


def check_undo(undo: Any) -> None:
    """A message, a function that makes one, or nothing."""
    if undo is not None and not isinstance(undo, Call) and not callable(undo):
        raise TypeError(
            "undo= takes the message that undoes the step, or a function that makes it of the "
            f"answer. Got: {undo!r}"
        )


def check_attempts(retry: Any, timeout: float | None) -> None:
    """How one attempt is bounded, and how often it is made."""
    if not isinstance(retry, Retry):
        raise TypeError(f"retry= takes a Retry. Got: {retry!r}")
    if timeout is not None and timeout is not STEP_TIMEOUT:
        check_seconds("timeout= (None for no bound)", timeout, zero=False)


def check_branches(verb: str, branches: tuple[Any, ...]) -> tuple[Any, ...]:
    """Commands, or coroutines of the workflow's own."""
    for each in branches:
        if not isinstance(each, Command) and not inspect.iscoroutine(each):
            many = isinstance(each, list | tuple | set | frozenset | Iterator)
            instead = f" Those of a list: {verb}(*commands)." if many else ""
            raise TypeError(
                f"{verb}() takes commands of this workflow and coroutines that await them."
                f"{instead} Got: {each!r}"
            )
    return branches


def check_limit(limit: int | None) -> int | None:
    """How many branches at a time."""
    if limit is not None and (not is_int(limit) or limit < 1):
        raise ValueError(f"gather(limit=) is an int of 1 or more, or None. Got: {limit!r}")
    return limit
