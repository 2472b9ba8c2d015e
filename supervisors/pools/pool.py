"""The actor behind a :class:`supervisors.Pool`: it hands messages to workers and sees to them."""

from __future__ import annotations

from collections import deque
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

import trio

from actors import (
    ActorDied,
    Crashed,
    Exit,
    NoSuchActor,
    ProcessDied,
    Refusal,
    Shutdown,
    Unhandled,
    handles,
    is_orderly,
)
from actors.isolation.isolated import known_messages
from actors.mailbox import origin_of
from actors.replies import INLINE
from actors.runtime import calls, lifecycle
from supervisors import reports
from supervisors.crew import Crew, HandedOnRoutes
from supervisors.pools.admin import (
    DropPoison,
    GetPoison,
    GetPool,
    NoSuchPoison,
    OperationInfo,
    Poisoned,
    PoisonMessage,
    PoolInfo,
    RetryPoison,
    SetLimit,
    SetSize,
    WorkerInfo,
)
from supervisors.pools.jobs import Attempt, Job, Jobs
from supervisors.pools.policy import MAX_PREFETCH, wanted
from supervisors.pools.reports import poisoned
from supervisors.pools.workers import Worker
from supervisors.specs import Backoff, Child, face_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.place import Place
    from actors.runtime.stages import Steps
    from actors.timers import Timer
    from supervisors.policy import Pace
    from supervisors.pools.jobs import Operation
    from supervisors.pools.spec import PoolOptions
    from supervisors.tree import Entry

PACE = Backoff(0.1, 30.0)
"""How starts that fail are paced, unless the worker's Child says otherwise."""
REMEMBERED = 1000
"""Messages that were set aside, of which the last so many are kept."""


class PoolSupervisor(Crew):
    """Workers as children, and a queue before them. See :class:`supervisors.Pool`."""

    hands_on: ClassVar[bool] = True
    instead: ClassVar[str] = "SetSize says how many workers a pool has"
    backoff: ClassVar[Backoff] = PACE

    def __init__(self, child: Child[Any], options: PoolOptions) -> None:
        self._child = child
        self._options = options
        self._prefetch = options.prefetch and child.isolation is not None
        self._min, self._max = options.min, options.max
        self._jobs = Jobs()
        self._known: Mapping[type, str] | None = None
        """What the workers handle; None if their class does not tell."""
        self._workers: dict[Place, Worker] = {}
        self._former: dict[int, tuple[int, int]] = {}
        """Incarnation and restarts of those that have died, by their numbers: who takes the place
        of one counts on."""
        self._poison: deque[PoisonMessage] = deque(maxlen=REMEMBERED)
        self._numbers = 0
        self._bound = inf
        self._draining = False
        self._balancing = False
        self._pace: Pace | None = None
        """Where the starts stand that have led to nothing."""
        self._not_before = 0.0
        self._rate_timer: Timer | None = None
        self._pace_timer: Timer | None = None
        self._size_timer: Timer | None = None
        self._done = self._replaced = self._poisoned = 0

    @classmethod
    def _face(cls, spec: Any) -> Any:
        face: Any = face_of(spec.args[0])
        return face

    def _prepare(self, place: Place) -> None:
        super()._prepare(place)
        known = self._known = known_messages(face_of(self._child))
        place.routes = HandedOnRoutes(type(self), known, PoolSupervisor._take_in)
        self._bound = place.spec.mailbox

    # -- taking messages

    def _take_in(self, message: object) -> None:
        """A message for the workers."""
        place = self._place
        if place.slot is INLINE and self._jobs.waiting >= self._bound:
            self._wait_for_room(message)
            return
        slot = place.reply_slot()
        key = None
        if slot is not None:
            slot.taken = True
            # Whoever waits for a pool waits for nobody in particular.
            slot.holder = None
            key = slot.key
        if key is not None and slot is not None:
            job = self._jobs.join(key, slot)
            if job is not None:
                slot.room = (self, job)
                self._go_on()
                return
        self._numbers += 1
        job = Job(self._numbers, message, slot, place.item)
        if slot is not None:
            slot.room = (self, job)
        self._jobs.add(job)
        self._go_on()

    def _wait_for_room(self, message: object) -> None:
        """Its caller runs this turn himself, and has not looked whether there is room."""
        place = self._place
        slot = place.reply_slot()
        assert slot is not None
        slot.taken = True
        origin = origin_of(place.item)
        mailbox = place.open_mailbox()
        slot.room = (mailbox, mailbox.wait_for_room((message, slot, *origin), None))

    def withdraw(self, job: Job) -> None:
        """A caller has gone."""
        self._jobs.withdraw(job)
        self._make_room()

    # -- handing them over

    def _go_on(self) -> None:
        """Hand over what can be, and have as many workers as there should be."""
        if self._draining:
            return
        jobs = self._jobs
        while jobs.waiting and self._any_room():
            now = trio.current_time()
            operation = jobs.next(now)
            if operation is None:
                self._wait_for_rate(now)
                break
            worker = self._worker_for(operation)
            if worker is None:
                break
            self._hand_over(operation, worker, now)
        self._make_room()
        self._balance()

    def _any_room(self) -> bool:
        """Whether some worker might take something."""
        most = MAX_PREFETCH if self._prefetch else 1
        return any(
            len(each.in_hand) < most and each.up and not each.leaving and not each.ending
            for each in self._workers.values()
        )

    def _worker_for(self, operation: Operation) -> Worker | None:
        """One with nothing in hand; else the one that has least, if it may have more."""
        found: Worker | None = None
        for worker in self._workers.values():
            if worker.free:
                return worker
            if self._prefetch and worker.room(operation):
                if found is None or len(worker.in_hand) < len(found.in_hand):
                    found = worker
        return found

    def _hand_over(self, operation: Operation, worker: Worker, now: float) -> None:
        job = self._jobs.take(operation, now)
        place = worker.place.ref._place
        attempt = job.attempt = Attempt(self, job, operation, worker, place)
        worker.take(attempt, now)
        mailbox = place.mailbox
        if mailbox is None:
            mailbox = place.open_mailbox()
        mailbox.append((job.message, attempt, *job.origin))
        if place.idle:
            place.scheduler.schedule(place)

    def _wait_for_rate(self, now: float) -> None:
        """Come back when an operation may go on that its rate holds back."""
        moment = self._jobs.next_moment(now)
        timer = self._rate_timer
        if moment < inf and (timer is None or moment < timer.when):
            if timer is not None:
                timer.cancel()
            self._rate_timer = self._place.scheduler.timers.at(moment, self._rate_is_up)

    def _rate_is_up(self) -> None:
        self._rate_timer = None
        if self._place.actor is self:
            self._go_on()

    def _make_room(self) -> None:
        """What waits here counts as waiting in the mailbox."""
        place = self._place
        mailbox = place.open_mailbox()
        mailbox.capacity = max(0, self._bound - self._jobs.waiting)
        if mailbox.senders is not None:
            mailbox.admit()
            if mailbox and place.idle:
                place.scheduler.schedule(place)

    # -- what becomes of them

    def settled(self, attempt: Attempt) -> None:
        """A worker has answered, has died, or has not begun. Called in no turn."""
        worker, operation, job = attempt.worker, attempt.operation, attempt.job
        now = trio.current_time()
        seconds = now - attempt.since if attempt.seconds is None else attempt.seconds
        operation.running -= 1
        worker.give(attempt, now)
        job.attempt = None
        error = attempt.error
        if error is None:
            operation.took(seconds)
            self._over(operation, job)
            job.reply(attempt.value)
        elif isinstance(error, NoSuchActor) and worker.ending:
            self._again(job)
        elif isinstance(error, ActorDied):
            self._lost(operation, job, error)
        elif job.slot is None and not isinstance(error, Refusal):
            # No worker got it: there is no handler for it, or it could not be sent there.
            operation.failed += 1
            self._jobs.forget(job)
            self._fail(job, error)
        else:
            operation.took(seconds)
            self._over(operation, job)
            self._fail(job, error)
        if worker.leaving:
            self._dismiss(worker)
        if self._jobs.waiting:
            if self._place.running:
                self._go_on()
        elif worker.free and len(self._workers) > self._min:
            self._watch_size()

    def _over(self, operation: Operation, job: Job) -> None:
        operation.done += 1
        self._done += 1
        self._jobs.forget(job)

    def _fail(self, job: Job, error: BaseException) -> None:
        """Its answer is an error; that of a one-way message nobody hears."""
        if job.slot is not None:
            job.fail(error)
        else:
            place = self._place
            reason = "no handler" if isinstance(error, Unhandled) else f"{error!r}"
            place.scheduler.dead_letter(place, job.item, reason)

    def _again(self, job: Job) -> None:
        """Not begun, or not to blame: back to where it stood."""
        if self._draining or not self._place.running:
            self._jobs.forget(job)
            self._give_back(job)
        else:
            self._jobs.put_back(job)

    def _lost(self, operation: Operation, job: Job, error: ActorDied) -> None:
        """A worker has died with it in hand."""
        if self._draining or not self._place.running:
            self._jobs.forget(job)
            self._fail(job, calls.died(self._place, job.message, error.exit))
            return
        if not is_to_blame(job, error.exit):
            self._again(job)
            return
        operation.failed += 1
        job.attempts += 1
        job.reasons = [*(job.reasons or ()), str(error.__cause__ or error.exit)]
        if job.attempts < self._options.attempts:
            self._again(job)
            return
        self._poisoned += 1
        self._jobs.forget(job)
        moment = self._place.scheduler.system.now()
        self._poison.append(
            PoisonMessage(job.number, job.message, job.attempts, tuple(job.reasons), moment)
        )
        poisoned(self._place, self._poison[-1])
        self._fail(job, Poisoned(job.cls.__name__, job.attempts, job.reasons))

    def _give_back(self, job: Job) -> None:
        place = self._place
        gone = NoSuchActor(
            f"{place.path} is stopping; {job.cls.__name__} was not handled.",
            ref=place.ref,
            message=job.message,
        )
        if job.slot is not None:
            job.fail(gone)
        else:
            place.scheduler.dead_letter(place, job.item, "the pool is stopping")

    # -- workers

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
        workers = self._workers
        if len(workers) >= self._max or self._draining or self._is_ending:
            return False
        staying = running = 0
        for each in workers.values():
            if not each.up:
                return False
            if not each.leaving and not each.ending:
                staying += 1
                running += len(each.in_hand)
        jobs, least, most = self._jobs, self._min, self._max
        if staying >= wanted(jobs.waiting, running, least, most):
            return False
        now = trio.current_time()
        if staying >= wanted(jobs.ready(now), running, least, most):
            self._wait_for_rate(now)
            return False
        if now < self._not_before:
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
        self._fruitless(worker, Crashed(failure))
        self._start_later()

    def _came_up(self, worker: Worker) -> None:
        worker.up = True
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
        cooldown = self._options.cooldown
        if self._size_timer is None and cooldown < inf:
            since = [each.idle_since for each in self._workers.values() if each.free]
            if since:
                timers = self._place.scheduler.timers
                self._size_timer = timers.at(min(since) + cooldown, self._shrink)

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
            if worker.idle_since + self._options.cooldown > now:
                break
            worker.leaving = True
            self._dismiss(worker)
            spare -= 1
        if spare > 0:
            self._watch_size()

    # -- stopping

    def _children_down(self, exit: Exit) -> Steps | None:
        self._draining = True
        for timer in (self._rate_timer, self._pace_timer, self._size_timer):
            if timer is not None:
                timer.cancel()
        for job in self._jobs.drain():
            self._give_back(job)
        self._make_room()
        return super()._children_down(exit)

    # -- administration

    @handles
    def _get_pool(self, message: GetPool) -> PoolInfo:
        jobs = self._jobs
        operations = [
            OperationInfo(
                cls.__name__,
                len(each.queue),
                each.running,
                each.done,
                each.failed,
                None if each.concurrency == inf else int(each.concurrency),
                None if each.bucket is None else each.bucket.rate,
                each.seconds,
            )
            for cls, each in jobs.operations.items()
        ]
        workers = [
            WorkerInfo(each.place.id, each.up, len(each.in_hand), each.taken)
            for each in self._workers.values()
        ]
        return PoolInfo(
            self._min,
            self._max,
            tuple(workers),
            tuple(operations),
            jobs.waiting,
            sum(each.running for each in operations),
            self._done,
            self._replaced,
            self._poisoned,
        )

    @handles
    def _set_limit(self, message: SetLimit) -> None:
        known = self._known
        if known is not None and not known.keys() & set(message.operation.__mro__):
            names = ", ".join(each.__name__ for each in known) or "none"
            raise Refusal(
                f"{self._place.path}: SetLimit operation is a class of messages that the workers "
                f"handle: {names}. Got: {message.operation.__name__}"
            )
        operation = self._jobs.operation(message.operation)
        now = trio.current_time()
        operation.limit(message.concurrency, message.rate, message.burst, now)
        self._go_on()

    @handles
    def _set_size(self, message: SetSize) -> None:
        self._min, self._max = message.min, message.max
        self._have_at_most(self._max)
        self._go_on()
        self._watch_size()

    @handles
    def _get_poison(self, message: GetPoison) -> list[PoisonMessage]:
        return list(self._poison)

    @handles
    def _retry_poison(self, message: RetryPoison) -> None:
        found = self._take_poison(message.number)
        self._jobs.add(Job(found.number, found.message, None, found.message))
        self._go_on()

    @handles
    def _drop_poison(self, message: DropPoison) -> None:
        self._take_poison(message.number)

    def _take_poison(self, number: int) -> PoisonMessage:
        for each in self._poison:
            if each.number == number:
                self._poison.remove(each)
                return each
        known = ", ".join(str(each.number) for each in self._poison) or "none"
        raise NoSuchPoison(f"{self._place.path} has set aside no message {number}; it has: {known}")


def is_to_blame(job: Job, exit: Exit) -> bool:
    """Whether a worker that ended so has died of this message, one of several it had in hand."""
    if not isinstance(exit, Crashed):
        return False
    error = exit.exception
    return not isinstance(error, ProcessDied) or error.message is job.message
