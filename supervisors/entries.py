"""A child as its supervisor knows it, and how it is started and stopped.

The operations are generators (:mod:`actors.runtime.stages`): they yield where a child takes its
time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from actors import Shutdown, StartFailed
from actors.place import Place
from actors.runtime import lifecycle
from actors.runtime.stages import Pending
from supervisors.admin import ChildInfo
from supervisors.policy import Pace
from supervisors.specs import Child

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors import Exit
    from actors.runtime.stages import Steps


class Entry:
    """One child: its spec, its place, and where its restarts stand."""

    __slots__ = ("next_spec", "pace", "place", "restarts", "retry", "spec", "static", "vacancy")

    def __init__(self, spec: Child[Any], place: Place, *, static: bool = False) -> None:
        self.spec = spec
        self.place = place
        self.static = static
        """Among ``children()``: it takes its place again when its supervisor returns."""
        self.next_spec: Child[Any] | None = None
        """Replaces ``spec`` at the next restart."""
        self.pace: Pace | None = None
        self.restarts = 0
        self.retry: object = None
        """The restart that is still to be tried; None when there is none."""
        self.vacancy: Pending | None = None
        """The end of the last tenant, while the next one waits for it."""

    @property
    def declined(self) -> bool:
        """``on_start`` has called ``self.stop()``: it is not to run, for now."""
        return self.place.declined

    @property
    def info(self) -> ChildInfo:
        """For listings."""
        place = self.place
        return ChildInfo(
            place.id, place.ref, self.spec.kind, place.status, self.spec, self.restarts
        )

    def begin(self) -> Pending | BaseException | None:
        """Start the child, in its place, by its latest spec."""
        place = self.place
        if self.next_spec is not None:
            place.scheduler.system.registry.release(place.name or "", place)
            self.spec = place.spec = self.next_spec
            place.name = self.spec.name
            self.next_spec = None
            if place.mailbox is not None:
                place.mailbox.capacity = self.spec.mailbox
        self.retry = None
        return lifecycle.awaken(place)

    def start(self) -> Steps:
        """Start the child and wait for it; returns None or the StartFailed."""
        place = self.place
        if place.running:
            # Its last tenant did not yield to its cancellation: nobody takes its place before.
            self.vacancy = Pending(place)
            place.watch(self.vacancy)
            yield self.vacancy
            self.vacancy = None
            if place.running:
                return StartFailed(f"{place.path} still has its last tenant.", ref=place.ref)
        outcome = self.begin()
        if type(outcome) is Pending:
            outcome = yield outcome
        if self.declined and place.running:
            declined = Pending(place)
            place.watch(declined)
            yield declined
        return outcome

    def stop(self) -> Steps:
        """Stop the child within its shutdown time; what its exit was does not matter."""
        pending = lifecycle.stop(self.place, Shutdown(), None)
        if pending is not None:
            yield pending


@attrs.frozen(eq=False)
class Failed:
    """A restart that did not work."""

    entry: Entry
    exit: Exit


def stop_at_once(entries: Iterable[Entry]) -> Steps:
    """Stop children at once; each has its own time, counted from the same moment."""
    pending = [lifecycle.stop(entry.place, Shutdown(), None) for entry in entries]
    for each in pending:
        if each is not None:
            yield each


def stop_in_reverse(entries: Iterable[Entry]) -> Steps:
    """Stop children one at a time, the last started first."""
    for entry in reversed(list(entries)):
        yield from entry.stop()


def failed_child(home: Place, entry: Entry, error: BaseException) -> StartFailed:
    """The failure of a supervisor's start, naming the child."""
    failure = StartFailed(
        f"{home.path} did not start, its child {entry.place.id!r} failed: {error}", ref=home.ref
    )
    failure.__cause__ = error
    return failure
