"""Supervisors that go on with their work while children come up and end.

An ordinary supervisor starts a child in a turn of its own, and who speaks to it meanwhile waits.
A pool, or who hands messages on to others, cannot afford that: here starts and ends are looked at
between the turns.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import trio

from actors.place import Place
from actors.runtime.stages import Pending
from supervisors import reports
from supervisors.dynamic import DynamicSupervisor
from supervisors.policy import Pace
from supervisors.tree import Entry

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors import Exit
    from actors.runtime.stages import Steps
    from supervisors.specs import Backoff, Child

    Then = Callable[[Entry, BaseException | None], object]


class Crew(DynamicSupervisor):
    """Base of such supervisors."""

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
        if self._tree.entries.get(entry.place) is not entry or self._tree.closing:
            return
        if failure is None and entry.declined:
            failure = RuntimeError(f"{entry.place.path} has declined to run.")
        if failure is None:
            reports.child_started(self._place, entry, asked=True)
        else:
            reports.restart_failed(self._place, entry, failure)
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

    def _child_exited(self, place: Place, incarnation: int, exit: Exit, home: Place) -> None:
        entry = self._tree.entries.get(place)
        if (
            entry is not None
            and place.incarnation == incarnation
            and place.state in ("stopping", "gone")
        ):
            self._ended(entry, exit)

    def _ended(self, entry: Entry, exit: Exit) -> None:
        """A child has ended that was up."""
        raise NotImplementedError

    def _delay(self, entry: Entry, backoff: Backoff, exit: Exit) -> float:
        """Seconds before this child is started again; gives up when its backoff says so."""
        now = trio.current_time()
        random = self._place.scheduler.system.random
        entry.pace, delay = (entry.pace or Pace()).next(backoff, now, random)
        if entry.pace.exhausted(backoff):
            self._give_up(entry, exit)
        return delay

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
