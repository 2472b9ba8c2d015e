"""Actors that stand in for others in a test, and tell what they were sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import trio

from actors.actor import Actor
from actors.dispatch import handles
from actors.exits import StartFailed, Unhandled
from actors.messages import Call, Refusal
from actors.place import Place
from actors.runtime import lifecycle
from actors.runtime.root import Temporary
from actors.runtime.stages import Pending
from actors.validation import check_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from actors.runtime.system import System

M = TypeVar("M")
R = TypeVar("R")

EXPECT_WITHIN = 3.0
"""Seconds ``expect`` waits unless told otherwise."""
NOTHING_WITHIN = 0.1
"""Seconds of silence ``expect_nothing`` wants unless told otherwise."""


class Probe(Actor):
    """An actor for tests: it keeps whatever it is sent, and answers calls as it was told to.

    Made by ``system.probe()``; ``probe.ref`` is handed to the actors under test.

    >>> probe = system.probe()                              # doctest: +SKIP
    >>> account.cast(Subscribe(probe.ref))                  # doctest: +SKIP
    >>> changed = await probe.expect(BalanceChanged)        # doctest: +SKIP
    >>> await probe.expect_nothing(within=1.0)              # doctest: +SKIP

    ``received`` has every message so far, in the order they came. Those that no ``expect`` has
    returned yet are *unread*.
    """

    def __init__(self) -> None:
        self.received: list[object] = []
        self._unread: list[Any] = []
        self._answers: dict[type, Any] = {}
        self._waiting: list[Pending] = []

    async def expect(self, message: type[M], within: float = EXPECT_WITHIN) -> M:
        """The first unread message of this class, waiting for it at most ``within`` seconds.

        Messages of other classes stay unread. Raises AssertionError, listing what came instead. A
        checkpoint.
        """
        if not isinstance(message, type):
            raise TypeError(f"expect() takes the class of a message. Got: {message!r}")
        deadline = trio.current_time() + check_seconds("expect(within=)", within)
        await trio.lowlevel.checkpoint()
        while True:
            for index, each in enumerate(self._unread):
                if isinstance(each, message):
                    del self._unread[index]
                    return each
            if not await self._more(deadline):
                raise AssertionError(
                    f"{self._home.path} got no {message.__qualname__} within {within} s. "
                    f"Unread: {_listed(self._unread)}"
                )

    async def expect_nothing(self, within: float = NOTHING_WITHIN) -> None:
        """No unread message, and none for ``within`` seconds; else AssertionError. A checkpoint."""
        deadline = trio.current_time() + check_seconds("expect_nothing(within=)", within)
        await trio.lowlevel.checkpoint()
        if self._unread or await self._more(deadline):
            raise AssertionError(
                f"{self._home.path} was to get nothing within {within} s. "
                f"Unread: {_listed(self._unread)}"
            )

    def answer(self, message: type[Call[R]], value: R | Refusal | Callable[[Any], R]) -> None:
        """Answer calls of this class, and of its subclasses, from now on.

        With ``value``; with what it returns for the message, if it is a function; by raising it, if
        it is a ``Refusal``. A call without an answer fails with ``Unhandled``.
        """
        if not isinstance(message, type) or not issubclass(message, Call):
            raise TypeError(f"answer() takes a class of Calls and a value. Got: {message!r}")
        self._answers[message] = value

    @handles
    def _record(self, message: object) -> object:
        if isinstance(message, _Deadline):
            message.waiting.resolve(False)
            return None
        self.received.append(message)
        self._unread.append(message)
        waiting, self._waiting = self._waiting, []
        for each in waiting:
            each.resolve(True)
        return self._answer(message) if isinstance(message, Call) else None

    def _answer(self, message: Call[Any]) -> object:
        cls = next((each for each in type(message).__mro__ if each in self._answers), None)
        if cls is None:
            return self._no_answer(message)
        answer = self._answers[cls]
        if isinstance(answer, Refusal):
            raise answer
        return answer(message) if callable(answer) else answer

    def _no_answer(self, message: Call[Any]) -> object:
        name = type(message).__qualname__
        text = f"This probe was not told what to answer: probe.answer({name}, value). Got: {name}"
        later = self.later()
        later.fail(Unhandled(text, ref=self.ref, message=message))
        return later

    async def _more(self, deadline: float) -> bool:
        """Wait for a further message, until the deadline at most."""
        place = self._home
        pending = Pending(place)

        def expire() -> None:
            # Through the mailbox: what was due before the deadline is counted, whichever of the
            # tasks trio happens to run first.
            if place.running and not place.suspended:
                place.post(_Deadline(pending))
            else:
                pending.resolve(False)

        timer = place.scheduler.timers.at(deadline, expire)
        self._waiting.append(pending)
        try:
            return bool(await pending.wait())
        finally:
            timer.cancel()
            if pending in self._waiting:
                self._waiting.remove(pending)


class _Deadline:
    """Ends a wait of a probe."""

    def __init__(self, waiting: Pending) -> None:
        self.waiting = waiting


def probe_of(system: System, name: str | None = None) -> Probe:
    """Start a probe at the top of ``system``; the same as ``system.probe()``. Not a checkpoint."""
    scheduler = system.scheduler
    if scheduler.closed or system.root.closed:
        raise RuntimeError("The system is stopping; nothing is started any more.")
    key = name or scheduler.next_id()
    place = Place(scheduler, Temporary(Probe), key, name, None, system.root)
    if name is not None and (owner := system.registry.claim(name, place)) is not None:
        raise StartFailed(f"The name {name!r} belongs to {owner.path} already.", ref=owner.ref)
    system.root.add(place, critical=False)
    # Nothing of a probe's start can wait or fail: it overrides no callback.
    lifecycle.start(place)
    probe: Probe = place.actor
    return probe


def _listed(messages: Iterable[object]) -> str:
    return ", ".join(map(repr, messages)) or "nothing"
