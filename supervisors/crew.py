"""Supervisors that go on with their work while children come up and end.

An ordinary supervisor starts a child in a turn of its own, and who speaks to it meanwhile waits.
A pool, or who hands messages on to others, cannot afford that: here starts and ends are looked at
between the turns.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn, TypeVar

from actors import Actor, Call, handles
from actors.dispatch import Route, Routes, takes_of
from actors.place import Place
from actors.runtime import lifecycle
from actors.runtime.stages import Pending
from supervisors import reports
from supervisors.admin import (
    ChildRefused,
    DeleteChild,
    ReplaceChild,
    RestartChild,
    StartChild,
    StopChild,
)
from supervisors.entries import Entry
from supervisors.specs import Child, face_of
from supervisors.tree import Supervising

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from actors import Exit
    from actors.runtime.stages import Steps
    from supervisors.specs import Backoff

    Then = Callable[[Entry, BaseException | None], object]

A = TypeVar("A", bound=Actor, covariant=True)


class Crew(Supervising):
    """Base of such supervisors, made with the ``Child`` that they run many of, and spoken to as it
    is. How many children there are, and which, is theirs to say: nobody else starts or stops one.
    """

    hands_on: ClassVar[bool] = True
    instead: ClassVar[str]
    """What says how many there are, for those who want to start one or stop one."""
    backoff: ClassVar[Backoff]
    """How restarts are paced of children whose ``Child`` does not say."""

    @classmethod
    def _face(cls, spec: Any) -> Any:
        return face_of(spec.args[0])

    @classmethod
    def _takes(cls, spec: Any) -> Iterable[type]:
        return takes_of(spec.args[0])

    def _enter(self, spec: Child[Any], key: str) -> Entry:
        """One more child, not started yet."""
        home, tree = self._place, self._tree
        place = Place(home.scheduler, spec, key, None, home, tree)
        entry = tree.entries[place] = Entry(spec, place)
        return entry

    def _launch(self, entry: Entry, then: Then) -> None:
        """Start a child; ``then`` is called when it is up, at once or later and in no turn, or with
        what it has failed with, also where it declines to run. Not if it is forgotten meanwhile."""
        outcome = entry.begin()
        if isinstance(outcome, Pending):
            outcome.then(lambda done: self._launched(entry, done.value, then))
        else:
            self._launched(entry, outcome, then)

    def _launched(self, entry: Entry, failure: BaseException | None, then: Then) -> None:
        if self._tree.entries.get(entry.place) is not entry:
            return
        if self._tree.closing:
            if failure is not None:
                # It is not tried again, and whoever waits for it waits no longer.
                lifecycle.settle(entry.place, "gone")
            return
        if failure is None and entry.declined:
            failure = RuntimeError(f"{entry.place.path} has declined to run.")
        again = entry.place.incarnation > 1
        if failure is not None:
            report = reports.restart_failed if again else reports.start_failed
            report(self._place, entry, failure)
        elif again:
            entry.restarts += 1
            reports.child_restarted(self._place, entry)
        else:
            reports.child_started(self._place, entry, asked=True)
        then(entry, failure)

    def _all_up(self, entries: list[Entry]) -> Steps:
        """Start children one after another, as part of starting; what one fails with is raised,
        once those before it have been stopped."""
        for entry in entries:
            if self._is_ending:
                return
            outcome = entry.begin()
            if isinstance(outcome, Pending):
                outcome = yield outcome
            if outcome is not None:
                yield from self._stop_all()
                raise outcome
            reports.child_started(self._place, entry, asked=False)

    def _ended(self, entry: Entry, exit: Exit) -> None:
        raise NotImplementedError

    def _restart_later(self, entry: Entry, exit: Exit, then: Then) -> None:
        """Start it again as its backoff says; gives up when that has an end."""
        lifecycle.settle(entry.place, "restarting")
        backoff = entry.spec.backoff or self.backoff
        entry.pace, delay = self._next_pace(entry.pace, backoff, entry, exit)
        if not self._is_ending:
            self._launch_later(entry, delay, then)

    def _launch_later(self, entry: Entry, seconds: float, then: Then) -> None:
        """Start it again after so many seconds, unless it is forgotten or started before."""
        retry = entry.retry = object()

        def launch() -> None:
            if entry.retry is retry and self._tree.entries.get(entry.place) is entry:
                self._launch(entry, then)

        self._place.scheduler.timers.after(seconds, partial(self._unless_ending, launch))

    def _unless_ending(self, call: Callable[[], object]) -> None:
        if self._place.actor is self and not self._is_ending:
            call()

    # -- administration

    @handles
    def _start_child(self, message: StartChild) -> Any:
        self._refuse(message, repr(message.spec))

    @handles
    def _stop_child(self, message: StopChild | RestartChild | DeleteChild | ReplaceChild) -> Any:
        self._refuse(message, str(message.child))

    def _refuse(self, message: object, child: str) -> NoReturn:
        name = type(message).__name__
        raise ChildRefused(f"{self._place.path}: {self.instead}. Got: {name}", child)


class CrewSpec(Child[A]):
    """Base of the specs of such supervisors: what they show is the ``Child``, their first argument,
    and not the class behind it."""

    __slots__ = ()

    @property
    def label(self) -> str:
        """The id, or that of its ``Child``."""
        label: str = self.args[0].label
        return self.id if self.id is not None else label

    def _numbered(self, number: int) -> str | int:
        return f"{self.label}-{number}"


def check_inner(who: str, spec: Child[Any]) -> None:
    """Refuse a ``Child`` there cannot be many of. Raises ValueError."""
    if spec.name is not None or spec.significant:
        raise ValueError(
            f"The Child in {who} has no name and is not significant: there may be many of it. "
            f"Got: {spec!r}"
        )


class HandedOnRoutes(Routes):
    """What the administration does not handle goes to whoever is behind it, with ``hand_on``.
    ``known`` are the classes that are handled there; None: whatever comes. What it handles itself
    needs no room in the mailbox: it is how one that is full is helped."""

    __slots__ = ("_hand_on", "_known")

    def __init__(
        self, cls: type[Actor], known: Iterable[type] | None, hand_on: Callable[..., Any]
    ) -> None:
        super().__init__(cls, cls.routes[None].messages)
        self._known = None if known is None else frozenset(known)
        self._hand_on = hand_on

    def __missing__(self, message: type) -> Route:
        route = super().__missing__(message)
        route.exempt = route.function is not None
        known = self._known
        if not route.exempt and (known is None or not known.isdisjoint(message.__mro__)):
            route = self[message] = Route(self._hand_on, is_call=issubclass(message, Call))
        return route

    @property
    def messages(self) -> Mapping[type, str]:
        """What is taken from others: what is handed on, and the administration, which is asked for.
        What the library says to itself is one-way."""
        own = {cls: name for cls, name in super().messages.items() if issubclass(cls, Call)}
        return {**dict.fromkeys(self._known or (), self._hand_on.__name__), **own}
