"""Supervisors whose children come and go at run time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors import Crashed, handles
from actors.place import Place
from actors.runtime import lifecycle
from actors.runtime.stages import Pending, Stage
from supervisors import reports
from supervisors.admin import (
    ChildRefused,
    DeleteChild,
    MaxChildren,
    ReplaceChild,
    RestartChild,
    StartChild,
)
from supervisors.entries import Entry, Failed
from supervisors.specs import Flags, as_child, check_significant
from supervisors.tree import Supervising

if TYPE_CHECKING:
    from actors import Exit
    from actors.runtime.stages import Steps


class Again:
    """A dynamic supervisor to itself: try again to start this child."""

    __slots__ = ("entry", "failed")

    def __init__(self, entry: Entry, failed: Failed | None) -> None:
        self.entry = entry
        self.failed = failed


class DynamicSupervisor(Supervising):
    """A supervisor that begins empty: ``await ref.call(StartChild(Child(Session, user)))``.

    Any spec will do, ids may repeat, and children are known by their refs. Each is restarted by
    itself; all are stopped at once, each within its shutdown time. ``max_children`` bounds them,
    those that are being restarted included. ``max_restarts`` and ``within`` as for
    :class:`Supervisor`. A hundred thousand children are fine: nothing here looks at all of them.

    The semantics are those of Elixir's ``DynamicSupervisor``.
    """

    def __init__(
        self,
        *,
        max_children: int | None = None,
        max_restarts: int | None = None,
        within: float | None = None,
    ) -> None:
        if max_children is not None and (
            isinstance(max_children, bool) or not isinstance(max_children, int) or max_children < 0
        ):
            raise ValueError(f"max_children is an int of 0 or more, or None. Got: {max_children!r}")
        self.max_children = max_children
        if max_restarts is not None:
            self.max_restarts = max_restarts
        if within is not None:
            self.within = within
        Flags(self.strategy, self.max_restarts, self.within, self.auto_shutdown)

    def _prepare(self, place: Place) -> None:
        if self.strategy != "one_for_one" or self.auto_shutdown != "never":
            raise ValueError(
                "A DynamicSupervisor has strategy='one_for_one' and auto_shutdown='never'. "
                f"Got: {self.strategy!r}, {self.auto_shutdown!r}"
            )
        super()._prepare(place)

    # -- restarts

    def _restart(self, entry: Entry, exit: Exit) -> Steps:
        delay = self._count(entry, exit)
        if self._is_ending:
            return
        lifecycle.settle(entry.place, "restarting")
        if delay is not None:
            self._try_later(entry, delay)
        else:
            yield from self._start_again(entry)

    def _start_again(self, entry: Entry) -> Steps:
        if entry.place.running:
            again = entry.retry = Again(entry, None)
            self._post_when_vacant(entry, again)
            return
        outcome = yield from entry.start()
        if outcome is None and entry.declined:
            self._forget(entry)
        elif outcome is None:
            entry.restarts += 1
            reports.child_restarted(self._place, entry)
        else:
            reports.restart_failed(self._place, entry, outcome)
            lifecycle.settle(entry.place, "restarting")
            if self._is_ending:
                return
            failed = Failed(entry, Crashed(outcome))
            delay = self._pace_again(failed)
            if not self._is_ending:
                self._try_later(entry, delay, failed)

    def _try_later(self, entry: Entry, delay: float | None, failed: Failed | None = None) -> None:
        again = entry.retry = Again(entry, failed)
        if delay is None:
            self._place.post(again)
        else:
            self.after(delay, again)

    @handles
    def _try_again(self, message: Again) -> Any:
        entry = message.entry
        if entry.retry is not message or entry.place not in self._tree.entries:
            return None
        return Stage(self._start_once_more(message))

    def _start_once_more(self, again: Again) -> Steps:
        if again.failed is not None:
            self._count_again(again.failed)
            if self._is_ending:
                return
        yield from self._start_again(again.entry)

    # -- administration

    def _keep(self, entry: Entry) -> None:
        """Nothing starts a stopped child again here: a transient one that is done is forgotten."""
        self._forget(entry)

    def _stopped(self, entry: Entry) -> None:
        self._forget(entry)

    @handles
    def _start_child(self, message: StartChild) -> Any:
        tree, home = self._tree, self._place
        try:
            spec = as_child(message.spec)
            if spec.significant:
                check_significant(spec, "never")
        except (TypeError, ValueError) as error:
            raise ChildRefused(str(error), repr(message.spec)) from error
        if self.max_children is not None and len(tree.entries) >= self.max_children:
            raise MaxChildren(
                f"{home.path} has {self.max_children} children, as many as it may.",
                spec.id or spec.label,
            )
        scheduler = home.scheduler
        key = spec.id or spec._numbered(scheduler.next_id())
        place = Place(scheduler, spec, key, spec.name, home, tree)
        entry = tree.entries[place] = Entry(spec, place)
        outcome = entry.begin()
        if outcome is None and not entry.declined:
            reports.child_started(home, entry, asked=True)
            return place.ref
        return Stage(self._start_rest(entry, outcome))

    def _start_rest(self, entry: Entry, outcome: Any) -> Steps:
        """What remains of a start that could not be done at once."""
        if isinstance(outcome, Pending):
            outcome = yield outcome
        if outcome is None:
            if entry.declined and entry.place.running:
                declined = Pending(entry.place)
                entry.place.watch(declined)
                yield declined
            self._is_up(entry, asked=True)
            return entry.place.ref
        self._forget(entry)
        return outcome

    @handles
    def _not_here(self, message: RestartChild | DeleteChild | ReplaceChild) -> Any:
        raise ChildRefused(
            f"{self._place.path} is a dynamic supervisor and keeps no specs of stopped children; "
            f"StartChild starts another. Got: {type(message).__name__}",
            str(message.child),
        )
