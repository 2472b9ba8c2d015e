"""The workers of a pool as its children: as many as there is work for, within bounds."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from actors import Crashed, Exit, Shutdown, handles, is_orderly
from actors.runtime import lifecycle
from supervisors import reports
from supervisors.crew import Crew
from supervisors.pools.admin import SetSize
from supervisors.pools.worker import Worker
from supervisors.specs import Backoff, Child

if TYPE_CHECKING:
    from actors.place import Place
    from actors.runtime.stages import Steps
    from actors.timers import Timer
    from supervisors.entries import Entry
    from supervisors.policy import Pace

PACE = Backoff(0.1, 30.0)
"""How starts that fail are paced, unless the worker's Child says otherwise."""


class Workforce(Crew):
    """Base of the pool: has its workers, and leaves to it what they work on."""

    instead: ClassVar[str] = "SetSize says how many workers a pool has"
    backoff: ClassVar[Backoff] = PACE

    def __init__(self, child: Child[Any], least: int, most: int, cooldown: float) -> None:
        self._child = child
        self._min, self._max = least, most
        self._cooldown = cooldown
        self._workers: dict[Place, Worker] = {}
        self._former: dict[int, tuple[int, int]] = {}
        """Incarnation and restarts of those that have died, by their numbers: who takes the place
        of one counts on."""
        self._draining = False
        self._balancing = False
        self._pace: Pace | None = None
        """Where the starts stand that have led to nothing."""
        self._not_before = 0.0
        self._pace_timer: Timer | None = None
        self._size_timer: Timer | None = None
        self._replaced = 0
        self._failing = ""
        """Why the last start has failed, until one works."""

    def _wants_more(self, staying: int, running: int) -> bool:
        """Whether ``staying`` workers with so many messages in hand are too few."""
        raise NotImplementedError

    def _go_on(self) -> None:
        """A worker has come up or has gone: hand over what can be, and balance."""
        raise NotImplementedError

    # -- as many as there should be

    def _children_up(self) -> Steps | None:
        return self._start_min()

    def _start_min(self) -> Steps:
        """The first workers, as part of starting."""
        workers = [self._new_worker() for _ in range(self._min)]
        yield from self._all_up([each.entry for each in workers])
        for worker in workers:
            self._came_up(worker)

    def _new_worker(self) -> Worker:
        taken = {each.number for each in self._workers.values()}
        number = next(each for each in range(1, len(taken) + 2) if each not in taken)
        entry = self._enter(self._child, f"{self._child.label}-{number}")
        worker = self._workers[entry.place] = Worker(number, entry)
        former = self._former.pop(number, None)
        if former is not None:
            entry.place.incarnation, entry.restarts = former
        return worker

    def _balance(self) -> None:
        """Begin one more worker after another, as long as there should be more and none is on its
        way; one that comes up later has the next one looked at."""
        if self._balancing:
            return
        self._balancing = True
        try:
            while self._lacks_worker():
                worker = self._new_worker()
                self._launch(worker.entry, self._after_start)
                if not worker.up:
                    break
        finally:
            self._balancing = False

    def _lacks_worker(self) -> bool:
        """Whether one more is to be begun just now."""
        if self._draining or self._is_ending:
            return False
        there = staying = running = 0
        for each in self._workers.values():
            if not each.up:
                return False
            if not each.leaving:
                there += 1
                if not each.ending:
                    staying += 1
                    running += len(each.in_hand)
        if there >= self._max or not self._wants_more(staying, running):
            return False
        if trio.current_time() < self._not_before:
            self._start_later()
            return False
        return True

    def _start_later(self) -> None:
        """Look again when the next one may be begun."""
        if self._pace_timer is None:
            timers = self._place.scheduler.timers
            self._pace_timer = timers.at(self._not_before, self._may_start)

    def _may_start(self) -> None:
        self._pace_timer = None
        if self._place.actor is self:
            self._balance()

    def _after_start(self, entry: Entry, failure: BaseException | None) -> None:
        """A start is over, one way or the other. Called in no turn."""
        worker = self._workers[entry.place]
        if failure is None:
            self._came_up(worker)
            self._go_on()
            return
        self._forget(entry)
        self._failing = str(failure)
        self._fruitless(worker, Crashed(failure))
        self._start_later()

    def _came_up(self, worker: Worker) -> None:
        worker.up = True
        self._failing = ""
        worker.idle_since = trio.current_time()
        if worker.leaving:
            self._dismiss(worker)
        elif len(self._workers) > self._min:
            self._watch_size()

    def _fruitless(self, worker: Worker, exit: Exit) -> None:
        """A worker has led to nothing: the next is paced."""
        backoff = self._child.backoff or self.backoff
        self._pace, delay = self._next_pace(self._pace, backoff, worker.entry, exit)
        self._not_before = trio.current_time() + delay

    def _ended(self, entry: Entry, exit: Exit) -> None:
        worker = self._workers[entry.place]
        expected = worker.leaving and is_orderly(exit)
        reports.child_exited(self._place, entry, exit, "remove" if worker.leaving else "restart")
        self._forget(entry)
        if worker.taken:
            self._pace = None
            self._not_before = 0.0
        elif not expected:
            self._fruitless(worker, exit)
        if not expected:
            self._replaced += 1
        self._go_on()

    def _forget(self, entry: Entry) -> None:
        """It is no more. Closing its place refuses what it has not begun, and ``settled`` puts that
        back."""
        worker = self._workers.pop(entry.place, None)
        if worker is not None and not worker.leaving:
            self._former[worker.number] = entry.place.incarnation, entry.restarts
        super()._forget(entry)

    # -- fewer of them

    def _staying(self) -> list[Worker]:
        """Those that are not on their way out."""
        return [each for each in self._workers.values() if not each.leaving and not each.ending]

    def _have_at_most(self, most: int) -> None:
        """Let those go that are too many, who has least to do first; or keep some that were to go
        and were not told yet."""
        staying = self._staying()
        room = most - len(staying)
        if room < 0:
            for worker in sorted(staying, key=lambda each: (len(each.in_hand), each.up))[:-room]:
                worker.leaving = True
                self._dismiss(worker)
            return
        undecided = [each for each in self._workers.values() if each.leaving and not each.dismissed]
        for worker in undecided[:room]:
            worker.leaving = False

    def _dismiss(self, worker: Worker) -> None:
        """Stop a worker that is leaving, once it is up and has nothing in hand."""
        if worker.up and not worker.in_hand and not worker.dismissed:
            worker.dismissed = True
            lifecycle.stop(worker.place, Shutdown("the pool has no use for it"), None)

    def _watch_size(self) -> None:
        """Look again when the first of those with nothing to do has been so for the cooldown."""
        if self._size_timer is None and self._cooldown < inf:
            since = [each.idle_since for each in self._workers.values() if each.free]
            if since:
                timers = self._place.scheduler.timers
                self._size_timer = timers.at(min(since) + self._cooldown, self._shrink)

    def _shrink(self) -> None:
        """Stop the workers above the least number that had nothing to do for the cooldown."""
        self._size_timer = None
        if self._place.actor is not self or self._draining:
            return
        now = trio.current_time()
        staying = self._staying()
        spare = len(staying) - self._min
        idle = sorted((each for each in staying if each.free), key=lambda each: each.idle_since)
        for worker in idle[: max(0, spare)]:
            if worker.idle_since + self._cooldown > now:
                break
            worker.leaving = True
            self._dismiss(worker)
            spare -= 1
        if spare > 0:
            self._watch_size()

    def _children_down(self, exit: Exit) -> Steps | None:
        self._draining = True
        for timer in (self._pace_timer, self._size_timer):
            if timer is not None:
                timer.cancel()
        return super()._children_down(exit)

    @handles
    def _set_size(self, message: SetSize) -> None:
        self._min, self._max = message.min, message.max
        self._have_at_most(self._max)
        self._go_on()
        self._watch_size()
