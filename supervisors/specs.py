"""Child specs: what is to run, and how it is kept running. Data and validation, nothing else."""

from __future__ import annotations

import inspect
from copy import copy
from functools import lru_cache
from math import inf
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar, TypeVarTuple

import attrs

from actors import Actor
from actors.dispatch import class_of
from actors.isolation.options import Isolation, check_isolation
from actors.isolation.shipping import check_sendable
from actors.validation import check_choice, check_number, is_int

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable

    from actors import Ref, System

A = TypeVar("A", bound=Actor, covariant=True)
Args = TypeVarTuple("Args")

Restart: TypeAlias = Literal["permanent", "transient", "temporary"]
Strategy: TypeAlias = Literal["one_for_one", "one_for_all", "rest_for_one"]
AutoShutdown: TypeAlias = Literal["never", "any_significant", "all_significant"]

RESTARTS = ("permanent", "transient", "temporary")
STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
AUTO_SHUTDOWNS = ("never", "any_significant", "all_significant")

WORKER_SHUTDOWN = 5.0
START_TIMEOUT = 30.0
MAILBOX = 10_000


@attrs.frozen
class Backoff:
    """Restarts paced instead of counted.

    The first restart comes after ``first`` seconds, each further one after twice as long, up to
    ``cap``; ``jitter`` is the share of the delay that is drawn at random (0.2: from 80 % to 100 %).
    After ``reset`` seconds of quiet the delay is ``first`` again. ``limit``, 1 or more, bounds the
    restarts in a row; past it the supervisor gives up. ``None`` means for ever.

    Raises TypeError or ValueError for a negative time, a ``cap`` below ``first``, a ``jitter`` that
    is no share from 0 to 1.
    """

    first: float = attrs.field(default=0.1)
    cap: float = attrs.field(default=30.0)
    limit: int | None = attrs.field(default=None, kw_only=True)
    jitter: float = attrs.field(default=0.2, kw_only=True)
    reset: float = attrs.field(default=60.0, kw_only=True)

    def __attrs_post_init__(self) -> None:
        check_number("Backoff first", self.first, at_least=0)
        check_number("Backoff cap", self.cap, at_least=0)
        if self.cap < self.first:
            raise ValueError(f"Backoff cap is at least first ({self.first}). Got: {self.cap!r}")
        if self.limit is not None and (not is_int(self.limit) or self.limit < 1):
            raise ValueError(f"Backoff limit is an int of 1 or more, or None. Got: {self.limit!r}")
        check_number("Backoff jitter", self.jitter, at_least=0)
        if self.jitter > 1:
            raise ValueError(f"Backoff jitter is a share from 0 to 1. Got: {self.jitter!r}")
        check_number("Backoff reset", self.reset, at_least=0)


@attrs.frozen(init=False, repr=False)
class Child(Generic[A]):
    """What a supervisor is to run: ``Child(Account, 10, id="alice", restart="transient")``.

    Positional arguments are the actor's; keywords are the spec's (an actor's own keywords go
    through ``functools.partial(Account, currency="EUR")``):

    ``id``
        unique among its siblings, without ``/``; the class name, numbered where it repeats, unless
        given
    ``name``
        registered for ``system.whereis``, without ``/``
    ``restart``
        ``"permanent"`` (always), ``"transient"`` (after a crash or a kill), ``"temporary"`` (never)
    ``shutdown``
        seconds an orderly stop may take before it is a kill; ``"kill"`` for at once; ``math.inf``.
        5 for a worker, ``inf`` for a supervisor
    ``start_timeout``
        seconds, more than 0, that ``on_start`` may take, and the start of its process: 30
    ``backoff``
        a :class:`Backoff`: paced restarts that do not count towards the limit
    ``significant``
        its end counts for ``auto_shutdown``; not with ``permanent``
    ``mailbox``
        how many messages may queue, 1 or more: 10,000; ``math.inf``
    ``isolation``
        ``"process"``, or a :class:`actors.Process` with its options: the actor runs in an operating
        system process of its own. ``None``: in this one
    ``memory_limit``
        bytes of data that each process may have, its RLIMIT_DATA, which is not its resident memory:
        64 MiB or more, with ``isolation`` only; ``None`` for any. Past it the actor gets a
        MemoryError, or its process ends

    Raises TypeError or ValueError for anything else, saying what is accepted.
    """

    factory: Callable[..., A]
    args: tuple[Any, ...]
    id: str | None
    name: str | None
    restart: Restart
    shutdown: float | Literal["kill"]
    start_timeout: float
    backoff: Backoff | None
    significant: bool
    mailbox: float
    isolation: Isolation | None
    memory_limit: int | None

    def __init__(
        self,
        cls: Callable[[*Args], A],
        /,
        *args: *Args,
        id: str | None = None,
        name: str | None = None,
        restart: Restart = "permanent",
        shutdown: float | Literal["kill"] | None = None,
        start_timeout: float = START_TIMEOUT,
        backoff: Backoff | None = None,
        significant: bool = False,
        mailbox: float = MAILBOX,
        isolation: Isolation | None = None,
        memory_limit: int | None = None,
    ) -> None:
        supervises = _check_factory(cls, len(args))
        if shutdown is None:
            shutdown = inf if supervises else WORKER_SHUTDOWN
        self.__attrs_init__(  # pyright: ignore[reportAttributeAccessIssue]
            cls,
            args,
            id,
            name,
            restart,
            shutdown,
            start_timeout,
            backoff,
            significant,
            mailbox,
            isolation,
            memory_limit,
        )
        _validate(self)

    @property
    def kind(self) -> Literal["worker", "supervisor"]:
        """Whether the child is itself a supervisor, ``"supervisor"``, or ``"worker"``."""
        return "supervisor" if is_supervisor(self.factory) else "worker"

    @property
    def label(self) -> str:
        """The id, or the class name it is derived from."""
        return self.id if self.id is not None else class_of(self.factory).__name__

    def _numbered(self, number: int) -> str | int:
        """Its key among children of which none needs an id: a place adds the class name."""
        return number

    async def start_in(self, system: System, *, root: bool) -> Ref[A]:
        """Start it in a system: see :meth:`actors.System.start` and :func:`actors.open_system`."""
        from supervisors.application import start_child_in

        return await start_child_in(system, self, root=root)

    def __repr__(self) -> str:
        parts = [class_of(self.factory).__name__, *map(repr, self.args)]
        defaults = {**_DEFAULTS, "shutdown": inf if self.kind == "supervisor" else WORKER_SHUTDOWN}
        parts += [
            f"{name}={getattr(self, name)!r}"
            for name, default in defaults.items()
            if getattr(self, name) != default
        ]
        return f"Child({', '.join(parts)})"


_DEFAULTS = {
    "id": None,
    "name": None,
    "restart": "permanent",
    "shutdown": None,
    "start_timeout": START_TIMEOUT,
    "backoff": None,
    "significant": False,
    "mailbox": MAILBOX,
    "isolation": None,
    "memory_limit": None,
}


@attrs.frozen
class Flags:
    """How a supervisor treats its children: its class attributes of the same names, checked.

    ``within`` is in seconds. Raises TypeError or ValueError for what is not accepted.
    """

    strategy: Strategy = "one_for_one"
    max_restarts: int = 3
    within: float = 5.0
    auto_shutdown: AutoShutdown = "never"

    def __attrs_post_init__(self) -> None:
        check_choice("strategy", self.strategy, STRATEGIES)
        if not is_int(self.max_restarts) or self.max_restarts < 0:
            raise ValueError(f"max_restarts is an int of 0 or more. Got: {self.max_restarts!r}")
        check_number("within (seconds)", self.within, above=0)
        if self.within == inf:
            raise ValueError("within (seconds) is a finite number above 0. Got: inf")
        check_choice("auto_shutdown", self.auto_shutdown, AUTO_SHUTDOWNS)


def check_children(
    children: Iterable[Any], auto_shutdown: AutoShutdown = "never"
) -> list[Child[Any]]:
    """The specs with their ids filled in; validates them together without starting anything.

    Raises TypeError for what is no Child, ValueError for two equal ids, for an ``auto_shutdown``
    that there is not, and for a significant child under ``"never"``.
    """
    if isinstance(children, str | Child) or not hasattr(children, "__iter__"):
        raise TypeError(f"children are a list of Child. Got: {children!r}")
    check_choice("auto_shutdown", auto_shutdown, AUTO_SHUTDOWNS)
    specs = [as_child(each) for each in children]
    taken: set[str] = set()
    for id in [each.id for each in specs if each.id is not None]:
        if id in taken:
            raise ValueError(
                "Give each child an id= of its own: children of one supervisor have different ids. "
                f"Got: {id!r} twice"
            )
        taken.add(id)
    numbers: dict[str, int] = {}
    named = []
    for spec in specs:
        check_significant(spec, auto_shutdown)
        if spec.id is None:
            spec = with_changes(spec, id=free_id(spec.label, taken, numbers))
            taken.add(spec.id or "")
        named.append(spec)
    return named


def free_id(label: str, taken: Container[str], numbers: dict[str, int]) -> str:
    """``Account``, then ``Account-2``, ``Account-3``, …, none that is taken. ``numbers`` has the
    last one given for each label, so that many children of one class take no search."""
    id = label
    while id in taken:
        number = numbers[label] = numbers.get(label, 1) + 1
        id = f"{label}-{number}"
    return id


def with_changes(spec: Child[Any], **changes: Any) -> Child[Any]:
    """A spec with some keywords changed, validated again. A ``Pool`` remains one."""
    changed = copy(spec)
    for name, value in changes.items():
        object.__setattr__(changed, name, value)
    _validate(changed)
    return changed


def as_child(spec: Any) -> Child[Any]:
    """A Child as it is; an actor class stands for ``Child(cls)``."""
    if isinstance(spec, Child):
        return spec
    if isinstance(spec, type) and issubclass(spec, Actor):
        return Child(spec)
    raise TypeError(f"A child is a Child(...) or an actor class. Got: {spec!r}")


def check_significant(spec: Child[Any], auto_shutdown: AutoShutdown) -> None:
    """A significant child needs a supervisor that heeds it."""
    if spec.significant and auto_shutdown == "never":
        raise ValueError(
            f"{spec!r} is significant, but its supervisor has auto_shutdown='never'; accepted with "
            "it: 'any_significant' or 'all_significant'. Got: 'never'"
        )


def is_supervisor(factory: Any) -> bool:
    """Whether what the factory makes has children of its own."""
    cls = class_of(factory)
    return isinstance(cls, type) and getattr(cls, "supervises", False) is True


def face_of(spec: Child[Any]) -> Any:
    """The class whose handlers answer what is sent to it; of what is made by a function, the
    function."""
    cls = class_of(spec.factory)
    return cls._face(spec) if isinstance(cls, type) and issubclass(cls, Actor) else cls


def _validate(spec: Child[Any]) -> None:
    """Refuse what is no spec. What is left at its default needs no look: a hundred thousand
    children are started by specs written one at a time."""
    for what, text in (("id", spec.id), ("name", spec.name)):
        if text is not None and (not isinstance(text, str) or not text or "/" in text):
            raise TypeError(f"{what} is a non-empty str without '/', or None. Got: {text!r}")
    if spec.restart != "permanent":
        check_choice("restart", spec.restart, RESTARTS)
    if spec.shutdown is not WORKER_SHUTDOWN and spec.shutdown != "kill":
        check_number("shutdown (seconds, math.inf or 'kill')", spec.shutdown, at_least=0)
    if spec.start_timeout is not START_TIMEOUT:
        check_number("start_timeout (seconds)", spec.start_timeout, above=0)
    if spec.backoff is not None and not isinstance(spec.backoff, Backoff):
        raise TypeError(f"backoff is a Backoff or None. Got: {spec.backoff!r}")
    if spec.significant is not False:
        _validate_significant(spec)
    if spec.mailbox is not MAILBOX and spec.mailbox != inf:
        if not is_int(spec.mailbox) or spec.mailbox < 1:
            raise ValueError(f"mailbox is an int of 1 or more, or math.inf. Got: {spec.mailbox!r}")
    if spec.isolation is not None or spec.memory_limit is not None:
        check_isolation(spec.isolation, spec.memory_limit)
        check_sendable(spec.factory, spec.args)


def _validate_significant(spec: Child[Any]) -> None:
    if not isinstance(spec.significant, bool):
        raise TypeError(f"significant is True or False. Got: {spec.significant!r}")
    if spec.restart == "permanent":
        raise ValueError(
            "A significant child is 'transient' or 'temporary': a permanent one never ends by "
            "itself. Got: restart='permanent'"
        )


def _check_factory(factory: Any, arguments: int) -> bool:
    """Refuse what makes no actor, or takes no such arguments; whether it makes a supervisor."""
    try:
        supervises, complaint = _examined(factory, arguments)
    except TypeError:  # unhashable
        supervises, complaint = _examined.__wrapped__(factory, arguments)
    if complaint is not None:
        raise TypeError(complaint)
    return supervises


@lru_cache(maxsize=1024)
def _examined(factory: Any, arguments: int) -> tuple[bool, str | None]:
    """What can be said of a factory and a number of arguments, once and for all."""
    cls = class_of(factory)
    if not callable(cls) or (isinstance(cls, type) and not issubclass(cls, Actor)):
        return False, (
            f"Child() takes an actor class first, or a functools.partial of one. Got: {factory!r}"
        )
    try:
        signature = inspect.signature(factory)
    except (TypeError, ValueError):
        return is_supervisor(factory), None
    try:
        signature.bind(*[None] * arguments)
    except TypeError as error:
        name = getattr(cls, "__name__", repr(cls))
        return False, (
            f"{name}{signature} does not take these arguments: {error}. Got: {arguments} positional"
        )
    return is_supervisor(factory), None
