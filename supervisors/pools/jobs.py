"""The work of a pool: messages that wait, by their operation, and messages in hand."""

from __future__ import annotations

from collections import OrderedDict
from itertools import takewhile
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar

from actors.mailbox import follower_of, origin_of
from actors.replies import Slot
from supervisors.pools.admin import OperationInfo
from supervisors.pools.policy import bucket, estimate, prefetch

if TYPE_CHECKING:
    from actors.mailbox import Mailbox
    from actors.place import Place
    from supervisors.pools.policy import Bucket
    from supervisors.pools.pool import PoolSupervisor
    from supervisors.pools.worker import Worker

ABSENT = 1000
"""Messages whose callers have gone, of which the last so many are kept for who sends them again."""


class Job:
    """A message that was sent to the pool, until it is done or set aside."""

    __slots__ = (
        "attempt",
        "attempts",
        "cls",
        "follower",
        "item",
        "key",
        "message",
        "number",
        "others",
        "reasons",
        "slot",
    )

    def __init__(self, number: int, message: object, slot: Slot | None, item: Any) -> None:
        self.number = number
        """In the order of arrival."""
        self.message = message
        self.slot = slot
        """Of its caller; None for a one-way message."""
        self.others: list[Slot] | None = None
        """Of callers who have sent it again, under the same key, while the first still waits."""
        self.key = None if slot is None else slot.key
        self.item = item
        self.follower = follower_of(item)
        """Who is to know when it is begun: it may have come from another process."""
        self.cls = type(message)
        self.attempts = 0
        """How many workers it has cost so far."""
        self.reasons: list[str] | None = None
        """What they died of."""
        self.attempt: Attempt | None = None
        """In the hands of a worker."""

    @property
    def origin(self) -> tuple[Any, ...]:
        """Sender and ids, as they stand in an item."""
        return origin_of(self.item)

    def waits(self) -> None:
        """It was not begun, or is to be begun anew."""
        if self.follower is not None:
            self.follower.passed_on()

    def waits_no_longer(self) -> None:
        """Nobody will begin it."""
        if self.follower is not None and self.attempt is None:
            self.follower.taken()

    def enter(self, mailbox: Mailbox, slot: Slot | None, *, first: bool = False) -> None:
        """Put it into a queue, at the end or in front."""
        item = (self.message, slot, *self.origin)
        if self.follower is not None:
            mailbox.exempt += 1
            item = (*item, self.follower)
        if first:
            mailbox.appendleft(item)
        else:
            mailbox.append(item)

    def reply(self, value: object) -> None:
        """It is done: answer whoever waits."""
        slot = self.slot
        if slot is not None:
            slot.room = None
            slot.reply(value)
        for each in self.others or ():
            each.room = None
            each.reply(value)

    def fail(self, error: BaseException) -> None:
        """There will be no answer, or it is no."""
        for each in (self.slot, *(self.others or ())):
            if each is not None:
                each.room = None
                each.fail(error)


class Attempt(Slot):
    """The reply slot of one job in the hands of one worker: the answer goes to the pool."""

    __slots__ = ("attempt", "job", "key", "operation", "pool", "seconds", "since", "worker")

    key: str | None
    attempt: int
    """Which of the job's it is: workers that have died of it, and this one; if its caller counts as
    well, on top of his."""
    seconds: float | None
    timed: ClassVar[bool] = True

    def __init__(
        self, pool: PoolSupervisor, job: Job, operation: Operation, worker: Worker, place: Place
    ) -> None:
        # As Slot does, without a further call for every message.
        self.message = job.message
        self.place = place
        self.holder = self.task = self.room = self.cell = self.timeout = None
        self.value = self.error = None
        slot = job.slot
        self.deadline = None if slot is None else slot.deadline
        self.key = None if slot is None else slot.key
        self.attempt = job.attempts + (1 if slot is None else slot.attempt)
        self.inherited = self.done = self.taken = False
        self.pool = pool
        self.job = job
        self.operation = operation
        self.worker = worker
        self.since = 0.0
        self.seconds = None

    def settle(self) -> None:
        """The worker has answered, or has died, or never begun."""
        super().settle()
        self.pool.settled(self)


class Operation:
    """The messages of one class: those that wait, how many are in hand, and what bounds them."""

    __slots__ = ("bucket", "concurrency", "done", "failed", "queue", "running", "seconds")

    def __init__(self) -> None:
        self.queue: OrderedDict[int, Job] = OrderedDict()
        """Those that wait, by their numbers."""
        self.running = 0
        self.done = 0
        self.failed = 0
        """Attempts that have cost a worker, and one-way messages that no worker got."""
        self.concurrency = inf
        self.bucket: Bucket | None = None
        self.seconds: float | None = None
        """How long the next one may take, going by those before; None before the first is done."""

    def info(self, name: str) -> OperationInfo:
        """How it stands, under the name of its class."""
        return OperationInfo(
            name,
            len(self.queue),
            self.running,
            self.done,
            self.failed,
            None if self.concurrency == inf else int(self.concurrency),
            None if self.bucket is None else self.bucket.rate,
            self.seconds,
        )

    @property
    def prefetch(self) -> int:
        """How many of them one worker may hold."""
        return prefetch(self.seconds)

    def took(self, seconds: float) -> None:
        """One was done in so many seconds."""
        self.seconds = estimate(self.seconds, seconds)

    def limit(
        self, concurrency: int | None, rate: float | None, burst: int | None, now: float
    ) -> None:
        """Bound it anew; None lifts a bound. A new rate gives nothing away: what may be begun at
        once is what was left under the last one."""
        self.concurrency = inf if concurrency is None else concurrency
        self.bucket = None if rate is None else bucket(rate, burst, now, self.bucket)

    def ready_at(self, now: float) -> float:
        """When the next of them may be begun: now, later, or not before one has ended."""
        if self.running >= self.concurrency:
            return inf
        return now if self.bucket is None else self.bucket.ready_at(now)

    def ready(self, now: float) -> int:
        """How many of those that wait may be begun now."""
        allowed = min(len(self.queue), self.concurrency - self.running)
        if self.bucket is not None:
            allowed = min(allowed, self.bucket.whole(now))
        return max(0, int(allowed))


class Jobs:
    """What waits in a pool: the oldest first, but for operations that are bounded just now."""

    def __init__(self) -> None:
        self.operations: dict[type, Operation] = {}
        self.waiting = 0
        """How many wait, of all operations."""
        self._keys: dict[str, Job] = {}
        """Those that have a key and are not over."""
        self._absent: OrderedDict[int, Job] = OrderedDict()
        """Those of them that nobody waits for, by their numbers; who has gone last stands last."""

    def operation(self, cls: type) -> Operation:
        """The operation of a class of messages."""
        operation = self.operations.get(cls)
        if operation is None:
            operation = self.operations[cls] = Operation()
        return operation

    def add(self, job: Job) -> None:
        """The last in its queue."""
        job.waits()
        if job.key is not None:
            self._keys[job.key] = job
        self.operation(job.cls).queue[job.number] = job
        self.waiting += 1

    def join(self, key: str, slot: Slot) -> Job | None:
        """The job of that key, if it is not over: ``slot`` waits for it now."""
        job = self._keys.get(key)
        if job is None:
            return None
        if job.slot is None or job.slot.done:
            job.slot = slot
        else:
            job.others = [each for each in (job.others or ()) if not each.done] + [slot]
        if self._absent.pop(job.number, None) is not None:
            self.put_back(job)
        return job

    def put_back(self, job: Job) -> None:
        """Back where it stood: what is older than all that waits goes to the front."""
        job.waits()
        queue = self.operation(job.cls).queue
        before = [*takewhile(lambda number: number < job.number, queue)]
        queue[job.number] = job
        if len(before) < len(queue) - 1:
            for number in (job.number, *reversed(before)):
                queue.move_to_end(number, last=False)
        self.waiting += 1

    def withdraw(self, job: Job) -> None:
        """A caller of it has gone: without any it waits no longer. With a key it is kept, for a
        while, for who sends it again; then it has its old place."""
        if any(each is not None and not each.done for each in (job.slot, *(job.others or ()))):
            return
        if self.operations[job.cls].queue.pop(job.number, None) is None:
            return
        self.waiting -= 1
        job.waits_no_longer()
        if job.key is not None:
            self._absent[job.number] = job
            if len(self._absent) > ABSENT:
                self.forget(self._absent.popitem(last=False)[1])

    def forget(self, job: Job) -> None:
        """It is over."""
        if job.key is not None and self._keys.get(job.key) is job:
            del self._keys[job.key]

    def next(self, now: float) -> Operation | None:
        """Of the operations that may go on the one that has waited longest."""
        found: Operation | None = None
        oldest = 0
        for operation in self.operations.values():
            job = next(iter(operation.queue.values()), None)
            if job is not None and (found is None or job.number < oldest):
                if operation.ready_at(now) <= now:
                    found, oldest = operation, job.number
        return found

    def take(self, operation: Operation, now: float) -> Job:
        """Its oldest message, to be begun now."""
        self.waiting -= 1
        operation.running += 1
        if operation.bucket is not None:
            operation.bucket = operation.bucket.take(now)
        return operation.queue.popitem(last=False)[1]

    def next_moment(self, now: float) -> float:
        """When something may go on that is held back by its rate now; ``inf`` for never."""
        moments = [each.ready_at(now) for each in self.operations.values() if each.queue]
        return min((each for each in moments if each > now), default=inf)

    def ready(self, now: float) -> int:
        """How many of those that wait may be begun now, as far as their bounds say."""
        return sum(each.ready(now) for each in self.operations.values())

    def drain(self) -> list[Job]:
        """Everything that waits, the oldest first; nothing waits any more."""
        left = [job for each in self.operations.values() for job in each.queue.values()]
        for operation in self.operations.values():
            operation.queue.clear()
        self.waiting = 0
        self._keys.clear()
        self._absent.clear()
        return sorted(left, key=lambda job: job.number)
