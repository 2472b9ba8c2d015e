"""The actor behind a :class:`supervisors.Pool`: it hands messages to workers and sees to them."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import trio

from actors import (
    ActorDied,
    Crashed,
    Exit,
    NoSuchActor,
    ProcessDied,
    Refusal,
    Unhandled,
    handles,
    is_orderly,
)
from actors.dispatch import known_messages
from actors.mailbox import NOWHERE, origin_of
from actors.messages import carried
from actors.replies import INLINE
from actors.runtime import calls
from supervisors.crew import HandedOnRoutes
from supervisors.pools.admin import (
    DropPoison,
    GetPoison,
    GetPool,
    Poisoned,
    PoisonMessage,
    PoolInfo,
    RetryPoison,
    SetLimit,
)
from supervisors.pools.jobs import Attempt, Job, Jobs
from supervisors.pools.poison import Poison
from supervisors.pools.policy import MAX_PREFETCH, wanted
from supervisors.pools.reports import poisoned
from supervisors.pools.worker import Worker
from supervisors.pools.workforce import Workforce
from supervisors.sharding.host import hosting
from supervisors.specs import Child, face_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from actors.place import Place
    from actors.runtime.stages import Steps
    from actors.timers import Timer
    from supervisors.pools.jobs import Operation
    from supervisors.pools.spec import PoolOptions


class PoolSupervisor(Workforce):
    """Workers as children, and a queue before them. See :class:`supervisors.Pool`."""

    def __init__(self, child: Child[Any], options: PoolOptions) -> None:
        super().__init__(child, options.min, options.max, options.cooldown)
        self._attempts = options.attempts
        self._prefetch = options.prefetch and child.isolation is not None
        self._jobs = Jobs()
        self._known: Mapping[type, str] | None = None
        """What the workers handle; None if their class does not tell."""
        self._poison = Poison()
        self._numbers = self._done = 0
        self._bound = inf
        self._rate_timer: Timer | None = None
        self._moves = False
        """It leaves its shard's host, in order: what waits goes on elsewhere."""

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
        job = None
        if slot is not None:
            slot.taken = True
            # Whoever waits for a pool waits for nobody in particular.
            slot.holder = None
            if slot.key is not None:
                job = self._jobs.join(slot.key, slot)
        if job is None:
            self._numbers += 1
            job = Job(self._numbers, message, slot, place.item)
            self._jobs.add(job)
        if slot is not None:
            slot.room = (self, job)
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
        job.enter(mailbox, attempt)
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

    def _wants_more(self, staying: int, running: int) -> bool:
        """See :class:`Workforce`. What its rate holds back wants nobody until it may go on."""
        jobs, least, most = self._jobs, self._min, self._max
        if staying >= wanted(jobs.waiting, running, least, most):
            return False
        now = trio.current_time()
        if staying >= wanted(jobs.ready(now), running, least, most):
            self._wait_for_rate(now)
            return False
        return True

    @property
    def _holds_messages(self) -> bool:
        return bool(self._jobs.waiting) or any(each.in_hand for each in self._workers.values())

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
        if job.attempts < self._attempts:
            self._again(job)
            return
        self._jobs.forget(job)
        moment = self._place.scheduler.system.now()
        aside = PoisonMessage(job.number, job.message, job.attempts, tuple(job.reasons), moment)
        self._poison.add(aside)
        poisoned(self._place, aside)
        self._fail(job, Poisoned(job.cls.__name__, job.attempts, job.reasons))

    def _give_back(self, job: Job) -> None:
        place = self._place
        if self._moves and place.running:
            self._leave_behind(job)
            return
        job.waits_no_longer()
        gone = NoSuchActor(
            f"{place.path} is stopping; {job.cls.__name__} was not handled.",
            ref=place.ref,
            message=job.message,
        )
        if job.slot is not None:
            job.fail(gone)
        else:
            place.scheduler.dead_letter(place, job.item, "the pool is stopping")

    def _leave_behind(self, job: Job) -> None:
        """Where it stood before it was taken in: what becomes of the place becomes of it."""
        place = self._place
        mailbox = place.open_mailbox()
        for slot in (job.slot, *(job.others or ())):
            if slot is not None and not slot.done:
                slot.taken = False
                slot.room = None
                slot.holder = place
                if slot is not job.slot:
                    mailbox.appendleft((job.message, slot, *job.origin))
        if job.slot is None or not job.slot.done:
            job.enter(mailbox, job.slot, first=True)
        else:
            job.waits_no_longer()

    # -- stopping

    def _children_down(self, exit: Exit) -> Steps | None:
        self._moves = is_orderly(exit) and hosting(self._place) is not None
        stopping = super()._children_down(exit)
        if self._rate_timer is not None:
            self._rate_timer.cancel()
        left = self._jobs.drain()
        for job in reversed(left) if self._moves else left:
            self._give_back(job)
        self._make_room()
        return stopping

    # -- administration

    @handles
    def _get_pool(self, message: GetPool) -> PoolInfo:
        jobs = self._jobs
        operations = tuple(each.info(cls.__name__) for cls, each in jobs.operations.items())
        return PoolInfo(
            self._min,
            self._max,
            tuple(each.info for each in self._workers.values()),
            operations,
            jobs.waiting,
            sum(each.running for each in operations),
            self._done,
            self._replaced,
            self._poison.count,
            self._failing,
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
    def _get_poison(self, message: GetPoison) -> list[PoisonMessage]:
        return list(self._poison)

    @handles
    def _retry_poison(self, message: RetryPoison) -> None:
        found = self._poison.take(message.number, self._place.path)
        item = (found.message, None, *NOWHERE)
        self._jobs.add(Job(found.number, found.message, None, item))
        self._go_on()

    @handles
    def _drop_poison(self, message: DropPoison) -> None:
        self._poison.take(message.number, self._place.path)


def is_to_blame(job: Job, exit: Exit) -> bool:
    """Whether a worker that ended so has died of this message, one of several it had in hand."""
    if not isinstance(exit, Crashed):
        return False
    error = exit.exception
    return not isinstance(error, ProcessDied) or carried(error.message) is job.message
