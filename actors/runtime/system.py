"""A system: its actors, names, telemetry, clock and random source; and how one is opened."""

from __future__ import annotations

import contextvars
import time
from contextlib import asynccontextmanager
from random import Random
from typing import (
    TYPE_CHECKING,
    Any,
    ParamSpec,
    Protocol,
    TypeVar,
    cast,
    overload,
    runtime_checkable,
)

import trio
from trio.testing import MockClock

from actors.actor import Actor
from actors.exits import Shutdown, StartFailed
from actors.place import Place
from actors.registry import Groups, Registry
from actors.runtime import calls, lifecycle
from actors.runtime.alarm import Alarm
from actors.runtime.ids import IdRange
from actors.runtime.root import Root, Temporary
from actors.runtime.scheduler import Scheduler
from actors.runtime.stages import Pending
from actors.runtime.watchdog import Watchdog
from actors.telemetry import SystemStopped, Telemetry
from actors.turns import current_turn
from actors.validation import check_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable, Hashable

    from actors.ref import Ref
    from actors.testing.probe import Probe

A = TypeVar("A", bound=Actor)
C = TypeVar("C", bound="Closeable")
A_co = TypeVar("A_co", covariant=True)
P = ParamSpec("P")

WATCHDOG_SECONDS = 5.0
"""Seconds after which a silent event loop is reported."""


@runtime_checkable
class Startable(Protocol[A_co]):
    """What ``system.start`` and ``open_system`` take besides a class: ``supervisors.Child``."""

    async def start_in(self, system: System, *, root: bool) -> Ref[A_co]:
        """Start it in ``system``; as its root if ``root``: then its end is the system's."""
        ...


class Closeable(Protocol):
    """What :meth:`System.shared` keeps: a connection, a file."""

    def close(self) -> object:
        """Give it back."""
        ...


class System:
    """What the actors of one system share. Made by :func:`open_system`; two never meet.

    ``groups`` has ``join(group, ref)``, ``leave`` and ``publish(group, message)``; ``telemetry``
    has ``listen``; ``random`` is the seeded source of all jitter; ``now()`` is wall time.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        clock: Callable[[], float] = time.time,
        watchdog: float | None = WATCHDOG_SECONDS,
    ) -> None:
        if seed is not None and (isinstance(seed, bool) or not isinstance(seed, int)):
            raise TypeError(f"seed is an int or None. Got: {seed!r}")
        if not callable(clock):
            raise TypeError(f"clock is a function returning seconds. Got: {clock!r}")
        if watchdog is not None:
            check_seconds("watchdog (None for none)", watchdog, zero=False)
        self.random = Random(seed)
        self.now = clock
        self.telemetry = Telemetry()
        self.registry = Registry()
        self.groups = Groups()
        self.root = Root(self)
        self.startables: dict[str, Any] = {}
        """What floors above keep here, by their own key."""
        self.context = contextvars.Context()
        self.virtual = False
        """Whether time is a test's. Isolated actors then have no processes of their own, with which
        such a clock cannot agree on the time; and nobody waits for a thread, which lets it jump."""
        self.scheduler = Scheduler(self)
        self.telemetry.changed = self.scheduler.renew_budget
        self.beat: Callable[[], object] = lambda: None
        """Called by ``Actor.heartbeat``: somebody may watch over this process."""
        self.id_prefix = f"{self.random.getrandbits(32):08x}"
        self.rising: list[tuple[str, str]] = []
        """Classes of events that somebody above the whole system takes, by module and name."""
        self.ids = IdRange(0, 1 << 62, 1 << 40)
        self._watchdog = watchdog
        self._shared: dict[Hashable, Closeable] | None = {}
        """None once the system has stopped."""
        self._body: trio.CancelScope | None = None
        self._failure: BaseException | None = None
        self._nursery: trio.Nursery | None = None

    @property
    def nursery(self) -> trio.Nursery:
        """Where the tasks of this system live."""
        if self._nursery is None:
            raise RuntimeError("The system is not open: async with open_system() as system: ...")
        return self._nursery

    def id_text(self, number: int) -> str:
        """The text of a message id: the system's own prefix and a number."""
        return f"{self.id_prefix}-{number}"

    # -- for users

    @overload
    async def start(self, actor: Startable[A], /) -> Ref[A]: ...
    @overload
    async def start(self, actor: Callable[..., A], /, *args: Any, name: str | None) -> Ref[A]: ...
    @overload
    async def start(
        self, actor: Callable[P, A], /, *args: P.args, **kwargs: P.kwargs
    ) -> Ref[A]: ...
    async def start(self, actor: Any, /, *args: Any, name: Any = None, **kwargs: Any) -> Ref[Any]:
        """Start an actor and wait until its ``on_start`` is done. A checkpoint.

        ``start(Account, 10)`` makes a temporary actor under the system's root: never restarted,
        stopped with the system, the last started first. ``start(Child(Account, 10))`` makes a
        supervised one. ``name`` registers it for :meth:`whereis`.

        Raises StartFailed, its cause set, when the actor does not come up; it, and its name, are
        gone then. Cancelled while waiting, the half-started actor is killed; a ``Child`` is its
        supervisor's already and goes on starting there.
        """
        await trio.lowlevel.checkpoint()
        if not isinstance(actor, type) and isinstance(actor, Startable):
            if args or kwargs or name is not None:
                raise TypeError(
                    "start(Child(...)) takes nothing else: arguments and name belong to the Child."
                )
            return await actor.start_in(self, root=False)
        if kwargs:
            from functools import partial

            actor = partial(actor, **kwargs)
        return await self.start_place(Temporary(check_factory(actor), args), name=name)

    def whereis(self, name: str) -> Ref[Any] | None:
        """The actor registered under a name, also while it is being restarted. Not a checkpoint."""
        place = self.registry.find(name)
        return place.ref if place is not None else None

    def probe(self, name: str | None = None) -> Probe:
        """Start an actor for tests, which keeps what it is sent: ``await probe.expect(Type)``.
        ``name`` registers it, to stand in for somebody. Not a checkpoint."""
        from actors.testing.probe import probe_of

        return probe_of(self, name)

    # -- for the library

    def shared(self, key: Hashable, make: Callable[[], C]) -> C:
        """What several actors of this system use together: one for each key, made on first use.

        Its ``close()`` is called when the last actor has stopped, what was made last first. What
        ``make`` raises is raised here and nothing is kept. Not a checkpoint. Raises RuntimeError
        when the system has stopped.
        """
        if self._shared is None:
            raise RuntimeError(f"The system has stopped; nothing is shared any more. Got: {key!r}")
        if key not in self._shared:
            self._shared[key] = make()
        return cast("C", self._shared[key])

    def _close_shared(self) -> None:
        shared, self._shared = self._shared or {}, None
        for each in reversed(list(shared.values())):
            try:
                each.close()
            except Exception as error:
                self._failure = self._failure or error

    async def start_place(
        self, spec: Any, *, name: str | None = None, key: str | None = None, critical: bool = False
    ) -> Ref[Any]:
        """Start an actor at the top of the tree."""
        check_name(name)
        scheduler = self.scheduler
        if scheduler.closed or self.root.closed:
            raise StartFailed("The system is stopping; nothing is started any more.")
        place = Place(scheduler, spec, key or name or scheduler.next_id(), name, None, self.root)
        if name is not None and (owner := self.registry.claim(name, place)) is not None:
            raise StartFailed(f"The name {name!r} belongs to {owner.path} already.", ref=owner.ref)
        self.root.add(place, critical=critical)
        outcome = lifecycle.start(place)
        if isinstance(outcome, Pending):
            outcome = await self._until_started(outcome, place)
        if isinstance(outcome, BaseException):
            self.root.remove(place)
            raise outcome
        if place.declined:
            await calls.wait(place)
        return place.ref

    async def _until_started(self, starting: Pending, place: Place) -> BaseException | None:
        turn = current_turn.get()
        if turn is not None:
            turn.begin_wait(starting)
        try:
            failure: BaseException | None = await starting.wait()
        except trio.Cancelled:
            starting.then(lambda start: self.root.remove(place) if start.value else None)
            lifecycle.end(place, Shutdown())
            raise
        finally:
            if turn is not None:
                turn.end_wait(starting)
        return failure

    @property
    def failure(self) -> BaseException | None:
        """What the system is coming down with."""
        return self._failure

    @property
    def aborted(self) -> bool:
        """The system is coming down: nothing is to be restarted."""
        return self._failure is not None

    def heed(self, error: BaseException) -> None:
        """KeyboardInterrupt and SystemExit leaving an actor, or a nursery in it, end the system."""
        while isinstance(error, BaseExceptionGroup):
            fatal = error.subgroup((KeyboardInterrupt, SystemExit))
            if fatal is None:
                return
            error = fatal.exceptions[0]
        if isinstance(error, KeyboardInterrupt | SystemExit):
            self.abort(error)

    def abort(self, error: BaseException) -> None:
        """The system cannot go on: cancel its body and leave ``open_system`` as ``error``."""
        if self._failure is None:
            self._failure = error
        if self._body is not None:
            self._body.cancel()

    @asynccontextmanager
    async def opened(self) -> AsyncGenerator[System]:
        """Run the system for the time of the block, then stop it in order."""
        self.virtual = isinstance(trio.lowlevel.current_clock(), MockClock)
        self.context = contextvars.copy_context()
        self.context.run(current_turn.set, None)
        try:
            async with self._running():
                yield self
        except BaseExceptionGroup as group:
            # Of the nursery, which adds a Ctrl-C that comes while the last tasks end.
            if group.split(KeyboardInterrupt)[1] is not None:
                raise
            self._failure = KeyboardInterrupt()
        if self._failure is not None:
            raise self._failure

    @asynccontextmanager
    async def _running(self) -> AsyncGenerator[None]:
        watchdog = None
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            alarm = Alarm(self.scheduler.timers)
            nursery.start_soon(self.scheduler.run, name="dispatcher")
            nursery.start_soon(alarm.run, name="alarm")
            if self._watchdog is not None:
                watchdog = Watchdog(self, self._watchdog)
            try:
                with trio.CancelScope() as self._body:
                    if self._failure is not None:
                        self._body.cancel()
                    yield
            except BaseException as error:
                # What took the system down comes before what the block made of it.
                self._failure = self._failure or error
            with trio.CancelScope(shield=True):
                self.root.closed = True
                while self.root.places:
                    try:
                        await self.root.stop()
                    except KeyboardInterrupt as error:
                        # Ctrl-C once more: the stop, which is bounded, goes on.
                        self._failure = error
            self._close_shared()
            if SystemStopped in self.telemetry.active:
                self.telemetry.emit(SystemStopped())
            self.scheduler.close()
            alarm.close()
            if watchdog is not None:
                watchdog.close()


def check_factory(actor: Any) -> Callable[..., Any]:
    """Refuse, where it is written, what cannot make an actor."""
    inner = getattr(actor, "func", actor)
    if isinstance(inner, type) and not issubclass(inner, Actor):
        raise TypeError(f"An actor's class is a subclass of Actor. Got: {inner!r}")
    if not callable(actor):
        raise TypeError(
            f"start() takes an actor class, a functools.partial of one, or a Child. Got: {actor!r}"
        )
    return actor  # type: ignore[no-any-return]


def check_name(name: object) -> None:
    """A registered name is a non-empty str; a slash would make another path of it."""
    if name is not None and (not isinstance(name, str) or not name or "/" in name):
        raise TypeError(f"name is a non-empty str without '/', or None. Got: {name!r}")


@asynccontextmanager
async def open_system(
    root: Any = None,
    *,
    seed: int | None = None,
    clock: Callable[[], float] = time.time,
    watchdog: float | None = WATCHDOG_SECONDS,
) -> AsyncGenerator[System]:
    """Open a system for the time of the block: ``async with open_system() as system``.

    ``root`` is a class of actors (a supervisor, usually) or a ``Child``, started first and stopped
    last. If it crashes or gives up, the block is cancelled and ``open_system`` raises that one
    exception. An exception of the block leaves bare. Either way, and when the scope around it is
    cancelled, everything is stopped in order first, the last started first.

    ``seed`` makes jitter and ids repeatable. ``clock`` is wall time, for ``now()`` and for what is
    kept on disk; deadlines are trio's. ``watchdog`` is the silence of the event loop, in seconds,
    that is reported; ``None`` for no such thread.
    """
    system = System(seed=seed, clock=clock, watchdog=watchdog)
    async with system.opened():
        if root is not None:
            await start_root(system, root)
        yield system


async def start_root(system: System, root: Any) -> None:
    """Start what the system stands and falls with: a class of actors, or a Startable."""
    if not isinstance(root, type) and isinstance(root, Startable):
        await root.start_in(system, root=True)
    else:
        await system.start_place(Temporary(check_factory(root)), critical=True)
