"""Components that answer as a test tells them, and a mediator around them."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Self

import attrs
import trio

from actors import Actor, Call, handles
from actors.validation import check_seconds
from mediators.idempotency.middleware import Idempotent
from mediators.mediator import Mediator
from mediators.workflow import Workflow
from supervisors import Child

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping

    from actors import Later, Ref, System


MODULE = "stubs"
"""Where the classes made here say that they are from: what the library's own handle is no route."""


class StubCrash(Exception):
    """What a stub crashes with that was told to :data:`crash`."""


class Told:
    """What a stub is told to do besides answering with a value."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


crash = Told("crash")
"""Told to a stub: crash, before anything is done. Its supervisor restarts it."""
hang = Told("hang")
"""Told to a stub: never answer. The attempt ends with its timeout."""


@attrs.frozen
class Slow:
    """Told to a stub: do ``then`` after so many seconds. See :func:`slow`."""

    seconds: float
    then: Any


def slow(seconds: float, then: Any = None) -> Slow:
    """Told to a stub: do ``then``, a value or anything else one can be told, after so many seconds.
    Under a virtual clock they take no time."""
    return Slow(check_seconds("slow(seconds)", seconds), then)


@attrs.frozen
class Called:
    """A message that came to a stub: with its idempotency key, at ``time`` of the wall clock."""

    message: Any
    key: str | None
    time: float


class Stubs:
    """What stub components answer, by the class of the message, and what they were sent.

    >>> stubs = Stubs({                                     # doctest: +SKIP
    ...     Charge: lambda message: Payment(message.amount),
    ...     Ship: Refused("no such street"),
    ...     Reserve: [crash, crash, True],
    ...     Refund: None,
    ... })

    For each class one of

    - a function, plain or async, that makes the answer of the message; what it raises is raised;
    - an exception, or a class of them: a ``Refusal`` is an answer, any other one a crash;
    - :data:`crash`, :data:`hang` or :func:`slow`;
    - a list of these: one after another, the last one for ever after. A list as an answer is made
      by a function;
    - anything else: that is the answer.

    ``calls`` has every message that came, in order, each attempt of its own: :class:`Called`. It
    and the place in a list outlive the crashes of the stub and, if the object is handed to another
    mediator, that of the mediator. ``idempotent=True`` gives the stubs an
    :class:`mediators.Idempotent` in memory.

    Raises TypeError for what is no class of ``Call``.
    """

    def __init__(self, answers: Mapping[type[Call[Any]], Any], *, idempotent: bool = False) -> None:
        self.calls: list[Called] = []
        self.idempotent = idempotent
        self._answers: dict[type, Any] = {}
        self._used: dict[type, int] = {}
        for message, answer in answers.items():
            self.answer(message, answer)

    def answer(self, message: type[Call[Any]], answer: Any) -> None:
        """Answer messages of this class so from now on; a list begins at its first."""
        if not isinstance(message, type) or not issubclass(message, Call):
            raise TypeError(f"A stub answers classes of Calls. Got: {message!r}")
        if isinstance(answer, list) and not answer:
            raise ValueError(f"The answers to {message.__qualname__} are a list with none in it.")
        self._answers[message] = answer
        self._used[message] = 0

    @property
    def handled(self) -> tuple[type, ...]:
        """The classes of messages that are answered."""
        return tuple(self._answers)

    def messages(self, message: type[Any] = object) -> list[Any]:
        """The messages of this class that came, each attempt of its own."""
        return [each.message for each in self.calls if isinstance(each.message, message)]

    def keys(self, message: type[Any] = object) -> list[str]:
        """The keys under which messages of this class came, each once, in order."""
        found = [each.key for each in self.calls if isinstance(each.message, message)]
        return list(dict.fromkeys(key for key in found if key is not None))

    def next(self, message: object) -> Any:
        """What is to be done with a message that has come."""
        for cls in type(message).__mro__:
            if cls in self._answers:
                answer = self._answers[cls]
                if isinstance(answer, list):
                    index = self._used[cls]
                    self._used[cls] = index + 1
                    return answer[min(index, len(answer) - 1)]
                return answer
        raise LookupError(f"No stub answers a {type(message).__qualname__}.")


@attrs.frozen
class Due:
    """A slow answer is to be given now."""

    later: Later[Any]
    message: Any
    then: Any


class Stub(Actor):
    """The component of :func:`run_workflows`. Its subclass handles what the stubs answer."""

    def __init__(self, stubs: Stubs) -> None:
        self.stubs = stubs
        self._hanging: list[Later[Any]] = []
        self.middleware = [Idempotent()] if stubs.idempotent else []

    def stubbed(self, message: Any) -> Any:
        """One message."""
        called = Called(message, self.envelope.key, self.system.now())
        self.stubs.calls.append(called)
        return self._do(message, self.stubs.next(message), None)

    @handles
    def _due(self, due: Due) -> None:
        try:
            answer = self._do(due.message, due.then, due.later)
        except Exception as error:
            due.later.fail(error)
            raise
        if answer is not due.later:
            due.later.reply(answer)

    def _do(self, message: Any, told: Any, later: Later[Any] | None) -> Any:
        if told is crash:
            raise StubCrash(f"told to crash at {message!r}")
        if isinstance(told, BaseException) or (
            isinstance(told, type) and issubclass(told, BaseException)
        ):
            raise told
        if told is hang:
            self._hanging.append(later or self.later())
            return self._hanging[-1]
        if isinstance(told, Slow):
            waiting = later or self.later()
            self.after(told.seconds, Due(waiting, message, told.then))
            return waiting
        if inspect.iscoroutinefunction(told):
            waiting = later or self.later()
            self.start_soon(self._run, told, message, waiting)
            return waiting
        if callable(told) and not isinstance(told, type):
            return told(message)
        return told

    async def _run(self, function: Any, message: Any, later: Later[Any]) -> None:
        try:
            later.reply(await function(message))
        except Exception as error:
            later.fail(error)
            raise


def stub_mediator(
    workflows: Iterable[type[Workflow[Any]]],
    stubs: Stubs | Mapping[type[Call[Any]], Any],
    *,
    journal: Any = None,
    types: Iterable[Any] = (),
    **attributes: Any,
) -> type[Mediator]:
    """A class of mediators that run these workflows with one stub component.

    ``journal``, ``types`` and ``attributes`` are class attributes of :class:`mediators.Mediator`.
    """
    told = stubs if isinstance(stubs, Stubs) else Stubs(stubs)

    def answer(self: Any, message: Any) -> Any:
        return self.stubbed(message)

    component: Any = Stub
    if told.handled:
        body = {"answer": handles(*told.handled)(answer), "__module__": MODULE}
        component = type("StubComponent", (Stub,), body)
    attributes = {
        "__module__": MODULE,
        "components": [Child(component, told, id="stub")],
        "workflows": list(workflows),
        "journal": journal,
        "types": list(types),
        **attributes,
    }
    return type("StubMediator", (Mediator,), attributes)


class RunWorkflows:
    """Starts mediators with stub components, which end with the block:
    ``async with RunWorkflows(system) as workflows``. The fixture ``workflows`` is one of these.

    >>> async def test_an_order(workflows):                 # doctest: +SKIP
    ...     orders = await workflows([PlaceOrder], {Charge: 7, Ship: [crash, "sent"]})
    ...     assert await orders.call(PlaceOrder(3)) == "sent"
    ...     assert [each.key for each in workflows.stubs.calls] == [...]
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._started: list[Ref[Any]] = []
        self._stubs: Stubs | None = None

    @property
    def stubs(self) -> Stubs:
        """Those of the mediator started last."""
        if self._stubs is None:
            raise RuntimeError("No mediator has been started yet: await workflows([...], {...}).")
        return self._stubs

    async def __call__(
        self,
        workflows: Iterable[type[Workflow[Any]]],
        stubs: Stubs | Mapping[type[Call[Any]], Any],
        *,
        journal: Any = None,
        types: Iterable[Any] = (),
        **attributes: Any,
    ) -> Ref[Any]:
        """Start one and return its ref. The arguments are those of :func:`stub_mediator`. A
        checkpoint."""
        self._stubs = stubs if isinstance(stubs, Stubs) else Stubs(stubs)
        made = stub_mediator(workflows, self._stubs, journal=journal, types=types, **attributes)
        ref: Ref[Any] = await self._system.start(Child(made, restart="temporary"))
        self._started.append(ref)
        return ref

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        with trio.CancelScope(shield=True):
            while self._started:
                await self._started.pop().stop()


@asynccontextmanager
async def run_workflows(
    system: System,
    workflows: Iterable[type[Workflow[Any]]],
    stubs: Stubs | Mapping[type[Call[Any]], Any],
    *,
    journal: Any = None,
    types: Iterable[Any] = (),
    **attributes: Any,
) -> AsyncGenerator[Ref[Any]]:
    """Run workflows with stub components while the block lasts.

    >>> stubs = Stubs({Charge: 7, Ship: [crash, "sent"]})   # doctest: +SKIP
    >>> async with run_workflows(system, [PlaceOrder], stubs) as orders:    # doctest: +SKIP
    ...     assert await orders.call(PlaceOrder(3)) == "sent"

    ``stubs`` are :class:`Stubs`, or the mapping they are made of. ``journal`` is what
    ``Mediator.journal`` takes: the same ``MemoryJournal`` given to a second block takes up what the
    first has left open. ``types`` and further keywords are class attributes of the mediator.
    """
    async with RunWorkflows(system) as start:
        yield await start(workflows, stubs, journal=journal, types=types, **attributes)
