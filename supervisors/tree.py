"""What the supervisors have in common: children, their starts and stops, and giving up.

The operations are generators (:mod:`actors.runtime.stages`): they yield where a child takes its
time, and a supervisor needs no task for them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from actors import Actor, Crashed, Ref, Shutdown, handles
from actors.place import Place
from actors.runtime import lifecycle
from actors.runtime.stages import Pending, Stage
from supervisors import reports
from supervisors.admin import (
    ChildCounts,
    ChildInfo,
    CountChildren,
    GetChild,
    NoSuchChild,
    RestartLimitExceeded,
    StopChild,
    WhichChildren,
)
from supervisors.entries import Entry, Failed, stop_at_once
from supervisors.policy import Pace, Window, shuts_down, verdict
from supervisors.specs import Flags

if TYPE_CHECKING:
    from actors import Exit
    from actors.runtime.stages import Steps
    from supervisors.admin import ChildKey
    from supervisors.specs import AutoShutdown, Backoff, Strategy


class Tree:
    """The children of one incarnation of a supervisor, in start order."""

    __slots__ = ("closing", "entries", "flags", "numbers", "supervisor", "window")

    def __init__(self, supervisor: Supervising, flags: Flags) -> None:
        self.supervisor = supervisor
        self.flags = flags
        self.window = Window(flags.max_restarts, flags.within)
        self.entries: dict[Any, Entry] = {}
        self.numbers: dict[str, int] = {}
        """The last number given to a child without an id, by the name of its class."""
        self.closing = False

    def child_exited(self, place: Place, exit: Exit) -> None:
        """A child has ended, by itself or because we stopped it."""
        if self.closing or place.spec.restart == "temporary":  # type: ignore[attr-defined]
            # There is nothing to decide: who hears of the end can have the name at once, and
            # nobody waits for one who is not to come.
            self.supervisor._vacated(place)
        if self.closing:
            return
        home = self.supervisor._place
        home.request(partial(self.supervisor._child_exited, place, place.incarnation, exit))

    def given_back(self, place: Place, item: Any) -> None:
        """An isolated child does not want a message that it was sent."""
        self.supervisor._given_back(place, item)


class Supervising(Actor):
    """Base of the supervisors."""

    __slots__ = ("_tree",)

    _tree: Tree

    supervises: ClassVar[bool] = True
    strategy: Strategy = "one_for_one"
    max_restarts: int = 3
    within: float = 5.0
    auto_shutdown: AutoShutdown = "never"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        flags = [cls.strategy, cls.max_restarts, cls.within, cls.auto_shutdown]
        # A slot or a property in the class stands for a value that each instance brings.
        if not any(hasattr(each, "__get__") for each in flags):
            Flags(*flags)  # type: ignore[arg-type]

    def _prepare(self, place: Place) -> None:
        flags = Flags(self.strategy, self.max_restarts, self.within, self.auto_shutdown)
        self._tree = Tree(self, flags)

    # -- what the floors below ask

    def _children_down(self, exit: Exit) -> Steps | None:
        if not self._tree.entries:
            self._tree.closing = True
            return None
        return self._stop_all()

    def _kill_children(self) -> None:
        for entry in self._entries():
            if entry.vacancy is not None:
                entry.vacancy.resolve()
            lifecycle.kill(entry.place)

    def _hurry(self) -> None:
        for entry in self._entries():
            if entry.vacancy is not None:
                entry.vacancy.resolve()
            elif entry.place.state == "starting":
                lifecycle.end(entry.place, Shutdown())

    def _entries(self) -> list[Entry]:
        tree: Tree | None = getattr(self, "_tree", None)
        return list(tree.entries.values()) if tree is not None else []

    def _stop_all(self) -> Steps:
        self._tree.closing = True
        yield from self._stop_them()
        for entry in self._entries():
            lifecycle.settle(entry.place, "gone")
        self._tree.entries.clear()

    def _stop_them(self) -> Steps:
        return stop_at_once(self._entries())

    def _given_back(self, place: Place, item: Any) -> None:
        """What becomes of a message that an isolated child does not want."""
        place.scheduler.refuse(place, item)

    def _vacated(self, place: Place) -> None:
        """Nobody is to come into this place as far as this supervisor knows."""
        lifecycle.settle(place, "gone")

    @property
    def _holds_messages(self) -> bool:
        """Whether somebody's message waits here that stands in no mailbox."""
        return False

    # -- the end of a child

    def _child_exited(self, place: Place, incarnation: int, exit: Exit, home: Place) -> None:
        entry = self._tree.entries.get(self._key_of(place))
        if (
            entry is None
            or entry.place is not place
            or place.incarnation != incarnation
            or place.state not in ("stopping", "gone")
        ):
            return  # it was stopped, restarted or forgotten meanwhile
        self._ended(entry, exit)

    def _ended(self, entry: Entry, exit: Exit) -> None:
        """A child has ended that was up."""
        self._place.stage = Stage(self._after_exit(entry, exit))

    def _after_exit(self, entry: Entry, exit: Exit) -> Steps:
        decision = verdict(entry.spec.restart, exit)
        if decision == "restart" and self._place.scheduler.system.aborted:
            decision = "keep"
        reports.child_exited(self._place, entry, exit, decision)
        if decision == "restart":
            yield from self._restart(entry, exit)
            return
        if decision == "keep":
            self._keep(entry)
        else:
            self._forget(entry)
        significant = entry.spec.significant
        others = significant and any(
            each.spec.significant and each.place.state != "stopped" for each in self._entries()
        )
        flags = self._tree.flags
        if shuts_down(flags.auto_shutdown, significant=significant, others_active=others):
            self.stop(Shutdown("auto_shutdown"))

    def _restart(self, entry: Entry, exit: Exit) -> Steps:
        raise NotImplementedError

    def _count(self, entry: Entry, exit: Exit) -> float | None:
        """Count a restart, or pace it. Returns the delay in seconds, None for none; gives up, by
        ending this supervisor, when it is one too many."""
        backoff = entry.spec.backoff
        if backoff is None:
            if self._tree.window.add(trio.current_time()):
                self._give_up(entry, exit)
            return None
        entry.pace, delay = self._next_pace(entry.pace, backoff, entry, exit)
        return delay

    def _next_pace(
        self, pace: Pace | None, backoff: Backoff, entry: Entry, exit: Exit
    ) -> tuple[Pace, float]:
        """The pace after the end of this child, and the delay in seconds before the next start;
        gives up when the backoff says so."""
        random = self._place.scheduler.system.random
        pace, delay = (pace or Pace()).next(backoff, trio.current_time(), random)
        if pace.exhausted(backoff):
            self._give_up(entry, exit)
        return pace, delay

    def _pace_again(self, failed: Failed) -> float | None:
        """The delay before a failed restart is tried again; None for none."""
        if failed.entry.spec.backoff is None:
            return None
        return self._count(failed.entry, failed.exit)

    def _count_again(self, failed: Failed) -> None:
        """Count a failed restart that is tried again, now and not before: one that has been
        overtaken by the restart of its group, or by StopChild, does not count."""
        if failed.entry.spec.backoff is None:
            self._count(failed.entry, failed.exit)

    def _limit_exceeded(self, entry: Entry, exit: Exit) -> RestartLimitExceeded:
        """The error of one restart too many."""
        flags = self._tree.flags
        backoff = entry.spec.backoff
        allowed = (
            f"{flags.max_restarts} restarts within {flags.within} s"
            if backoff is None
            else f"{backoff.limit} restarts in a row"
        )
        error = RestartLimitExceeded(
            f"{self._place.path} gave up: more than {allowed}; the last child to end was "
            f"{entry.place.id!r} ({exit}).",
            child=entry.place.id,
            ref=self._place.ref,
        )
        error.__cause__ = exit.exception if isinstance(exit, Crashed) else None
        return error

    def _give_up(self, entry: Entry, exit: Exit) -> None:
        error = self._limit_exceeded(entry, exit)
        reports.gave_up(self._place, error)
        if self._place.ending is None:
            self._place.ending = Crashed(error)
            self._place.look()

    def _post_when_vacant(self, entry: Entry, message: object) -> None:
        """Send this supervisor a message once the last tenant of a child's place is gone."""
        home = self._place
        gone = Pending(entry.place)
        gone.then(lambda _: home.post(message))
        entry.place.watch(gone)

    @property
    def _is_ending(self) -> bool:
        return self._place.ending is not None

    def _forget(self, entry: Entry) -> None:
        """The child is gone for good, and so is its place."""
        self._tree.entries.pop(self._key_of(entry.place), None)
        lifecycle.settle(entry.place, "gone")

    def _keep(self, entry: Entry) -> None:
        """The spec is kept, the child is not."""
        entry.retry = None
        lifecycle.settle(entry.place, "stopped")

    # -- administration that is the same everywhere

    def _key_of(self, place: Place) -> Any:
        """What the entry of a child is kept under: its place, unless ids are unique."""
        return place

    def _find(self, key: ChildKey) -> Entry:
        """The entry of a child. Raises NoSuchChild."""
        entry = self._tree.entries.get(key._place.house) if isinstance(key, Ref) else None
        if entry is None:
            raise self._no_such_child(key)
        return entry

    def _no_such_child(self, key: object) -> NoSuchChild:
        return NoSuchChild(f"{self._place.path} has no child {key!r}.", str(key))

    @handles
    def _which_children(self, message: WhichChildren) -> list[ChildInfo]:
        return [entry.info for entry in self._entries()]

    @handles
    def _get_child(self, message: GetChild) -> ChildInfo:
        return self._find(message.child).info

    @handles
    def _count_children(self, message: CountChildren) -> ChildCounts:
        entries = self._entries()
        supervisors = sum(entry.spec.kind == "supervisor" for entry in entries)
        active = sum(entry.place.running for entry in entries)
        return ChildCounts(len(entries), active, supervisors, len(entries) - supervisors)

    @handles
    def _stop_child(self, message: StopChild) -> Any:
        entry = self._find(message.child)
        if not entry.place.running:
            return self._stopped(entry)
        return Stage(self._stop_one(entry))

    def _stop_one(self, entry: Entry) -> Steps:
        yield from entry.stop()
        self._stopped(entry)

    def _stopped(self, entry: Entry) -> None:
        """A child is not to run, for now or for ever."""
        if entry.spec.restart == "temporary":
            self._forget(entry)
        else:
            self._keep(entry)

    def _is_up(self, entry: Entry, *, asked: bool) -> None:
        """A child has come up for the first time, or has declined to run."""
        if not entry.declined:
            reports.child_started(self._place, entry, asked=asked)
        else:
            self._stopped(entry)
