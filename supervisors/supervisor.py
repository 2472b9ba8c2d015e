"""Supervisors with a list of children, a strategy and an order."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from actors import Actor, Crashed, handles
from actors.place import Place
from actors.runtime import lifecycle
from actors.runtime.stages import Stage
from supervisors import reports
from supervisors.admin import (
    AlreadyPresent,
    AlreadyStarted,
    ChildRefused,
    ChildRestarting,
    ChildRunning,
    DeleteChild,
    ReplaceChild,
    RestartChild,
    StartChild,
)
from supervisors.entries import Entry, Failed, failed_child, stop_in_reverse
from supervisors.policy import affected
from supervisors.specs import (
    Child,
    as_child,
    check_children,
    check_significant,
    free_id,
    with_changes,
)
from supervisors.tree import Supervising

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors import Exit
    from actors.runtime.stages import Steps
    from supervisors.admin import ChildKey


@attrs.frozen(eq=False)
class Retry:
    """A supervisor to itself: try again to start these. It counts as one more restart if it is
    the failed start of ``failed`` that is tried again."""

    ids: tuple[str, ...]
    failed: Failed | None = None


class Supervisor(Supervising):
    """An actor that starts its children in order, restarts those that fail, and stops them in
    reverse order.

    Subclass it and say which children::

        class Bank(Supervisor):
            strategy = "rest_for_one"
            max_restarts, within = 3, 5.0

            def children(self) -> list[Child]:
                return [Child(Ledger, name="ledger"), Child(Account, 10)]

    or use :func:`one_for_one` and its siblings. ``strategy`` says who is restarted with a failed
    child: itself, all, or itself and those started after it. More than ``max_restarts`` restarts
    within ``within`` seconds, and the supervisor gives up: it stops its children and crashes with
    ``RestartLimitExceeded``. ``auto_shutdown`` (``"never"``, ``"any_significant"``,
    ``"all_significant"``) ends it, orderly, when significant children have ended by themselves.

    Its administration is messages: see :mod:`supervisors.admin`. The semantics are those of
    OTP's ``supervisor``.
    """

    __slots__ = ()

    def children(self) -> Sequence[Child[Any] | type[Actor]]:
        """The static children, in start order. Called at every start of the supervisor."""
        return []

    # -- start and stop

    def _children_up(self) -> Steps | None:
        return self._start_all()

    def _start_all(self) -> Steps:
        tree, home = self._tree, self._place
        specs = check_children(self.children(), tree.flags.auto_shutdown)
        reserved = home.reserved = home.reserved or {}
        for spec in specs:
            if self._is_ending:
                return
            assert spec.id is not None
            place = reserved.pop(spec.id, None)
            if place is None:
                place = Place(home.scheduler, spec, spec.id, spec.name, home, tree)
            else:
                place.spec, place.name, place.owner = spec, spec.name, tree
            entry = tree.entries[spec.id] = Entry(spec, place, static=True)
            outcome = yield from entry.start()
            if outcome is not None:
                yield from self._stop_all()
                raise failed_child(home, entry, outcome)
            self._is_up(entry, asked=False)
        home.reserved = None

    def _stop_all(self) -> Steps:
        tree, home = self._tree, self._place
        tree.closing = True
        yield from stop_in_reverse(tree.entries.values())
        static = home.reserved or {}
        for id, entry in tree.entries.items():
            lifecycle.settle(entry.place, "gone")
            if entry.static and entry.spec.restart != "temporary":
                static[id] = entry.place
        home.reserved = static
        tree.entries.clear()

    # -- restarts

    def _restart(self, entry: Entry, exit: Exit) -> Steps:
        delay = self._count(entry, exit)
        if self._is_ending:
            return
        group = affected(self._tree.flags.strategy, self._tree.entries, entry.place.id)
        if len(group) > 1:
            yield from self._stop_group(group)
            if self._is_ending:
                return
        else:
            lifecycle.settle(entry.place, "restarting")
        if delay is None:
            yield from self._start_group(group)
        else:
            self._try_later(group, delay)

    def _stop_group(self, group: Sequence[str]) -> Steps:
        """Take the group down, in reverse order; the temporary ones do not return."""
        for id in reversed(group):
            entry = self._tree.entries[id]
            yield from entry.stop()
            if entry.spec.restart == "temporary":
                self._forget(entry)
            else:
                lifecycle.settle(entry.place, "restarting")

    def _start_group(self, group: Sequence[str]) -> Steps:
        """Bring the group up in start order. Where one fails, the supervisor serves its inbox
        before the next attempt, which counts as one more restart."""
        group = [id for id in group if id in self._tree.entries]
        for position, id in enumerate(group):
            entry = self._tree.entries[id]
            if entry.place.running:
                self._try_when_vacant(group[position:], entry)
                return
            outcome = yield from entry.start()
            if outcome is None and entry.declined:
                self._stopped(entry)
                continue
            if outcome is None:
                entry.restarts += 1
                reports.child_restarted(self._place, entry)
                continue
            reports.restart_failed(self._place, entry, outcome)
            lifecycle.settle(entry.place, "restarting")
            if self._is_ending:
                return
            failed = Failed(entry, Crashed(outcome))
            delay = self._pace_again(failed)
            if self._is_ending:
                return
            again = affected(self._tree.flags.strategy, group, id)
            if self._tree.flags.strategy == "one_for_all":
                # Those started between two attempts belong to the group as well.
                again = list(self._tree.entries)
                yield from self._stop_group(again)
            self._try_later(again, delay, failed)
            return

    def _try_later(
        self, group: Sequence[str], delay: float | None, failed: Failed | None = None
    ) -> None:
        """Try once the messages queued by now are served, or after the delay of a backoff."""
        retry = Retry(tuple(group), failed)
        for id in group:
            if id in self._tree.entries:
                self._tree.entries[id].retry = retry
        if delay is None:
            self._place.post(retry)
        else:
            self.after(delay, retry)

    def _try_when_vacant(self, group: Sequence[str], entry: Entry) -> None:
        """The last tenant of a place does not yield to its cancellation: try once it is gone, and
        serve the inbox until then."""
        retry = Retry(tuple(group), None)
        for id in group:
            self._tree.entries[id].retry = retry
        self._post_when_vacant(entry, retry)

    @handles
    def _try_again(self, message: Retry) -> Any:
        entries = self._tree.entries
        ids = [id for id in message.ids if id in entries and entries[id].retry is message]
        return Stage(self._start_group_again(ids, message))

    def _start_group_again(self, group: Sequence[str], retry: Retry) -> Steps:
        failed = retry.failed
        if failed is not None and failed.entry.place.id in group:
            self._count_again(failed)
            if self._is_ending:
                return
        yield from self._start_group(group)

    # -- administration

    def _key_of(self, place: Place) -> Any:
        return place.key

    def _find(self, key: ChildKey) -> Entry:
        entry = self._tree.entries.get(key) if isinstance(key, str) else None
        if entry is None:
            raise self._no_such_child(key)
        return entry

    @handles
    def _start_child(self, message: StartChild) -> Any:
        tree, home = self._tree, self._place
        spec = self._checked(message.spec)
        if spec.id is None:
            spec = with_changes(spec, id=free_id(spec.label, tree.entries, tree.numbers))
        assert spec.id is not None
        other = tree.entries.get(spec.id)
        if other is not None:
            if other.place.running:
                raise AlreadyStarted(f"{other.place.path} is running.", spec.id, other.place.ref)
            raise AlreadyPresent(
                f"{other.place.path} is {other.place.state}; RestartChild starts it, DeleteChild "
                "forgets it.",
                spec.id,
                other.place.ref,
            )
        entry = Entry(spec, Place(home.scheduler, spec, spec.id, spec.name, home, tree))
        tree.entries[spec.id] = entry
        return Stage(self._start_one(entry, new=True))

    def _start_one(self, entry: Entry, *, new: bool) -> Steps:
        outcome = yield from entry.start()
        if outcome is None:
            self._is_up(entry, asked=True)
            return entry.place.ref
        if new:
            self._forget(entry)
        else:
            self._keep(entry)
        return outcome

    def _checked(self, spec: Any) -> Child[Any]:
        try:
            child = as_child(spec)
            check_significant(child, self._tree.flags.auto_shutdown)
        except (TypeError, ValueError) as error:
            raise ChildRefused(str(error), getattr(spec, "id", None) or repr(spec)) from error
        return child

    @handles
    def _restart_child(self, message: RestartChild) -> Any:
        entry = self._find(message.child)
        self._refuse_active(entry)
        return Stage(self._start_one(entry, new=False))

    @handles
    def _delete_child(self, message: DeleteChild) -> None:
        entry = self._find(message.child)
        self._refuse_active(entry)
        self._forget(entry)

    def _refuse_active(self, entry: Entry) -> None:
        place = entry.place
        if place.state == "restarting" or entry.retry is not None:
            raise ChildRestarting(f"{place.path} is being restarted.", place.id, place.ref)
        if place.state != "stopped":
            raise ChildRunning(f"{place.path} is {place.status}.", place.id, place.ref)

    @handles
    def _replace_child(self, message: ReplaceChild) -> None:
        entry = self._find(message.child)
        spec = self._checked(message.spec)
        if spec.id not in (None, entry.place.id):
            raise ChildRefused(
                f"A replaced spec keeps its id {entry.place.id!r}. Got: {spec.id!r}", entry.place.id
            )
        entry.next_spec = with_changes(spec, id=entry.place.id)


class Group(Supervisor):
    """The supervisor behind :func:`one_for_one` and its siblings."""

    __slots__ = ("_children", "auto_shutdown", "max_restarts", "strategy", "within")

    def __init__(self, flags: Any, children: tuple[Child[Any], ...]) -> None:
        self.strategy = flags.strategy
        self.max_restarts = flags.max_restarts
        self.within = flags.within
        self.auto_shutdown = flags.auto_shutdown
        self._children = children

    def children(self) -> Sequence[Child[Any] | type[Actor]]:
        """As given."""
        return self._children
