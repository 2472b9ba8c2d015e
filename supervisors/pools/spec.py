"""``Pool(Child(Converter), min=1, max=8)``: the spec of a pool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar

import attrs

from actors import Actor
from actors.validation import check_seconds, is_int
from supervisors.crew import CrewSpec, check_inner
from supervisors.pools.admin import check_size
from supervisors.pools.pool import PoolSupervisor
from supervisors.sharding.sharded import takes_over_shards
from supervisors.specs import MAILBOX, START_TIMEOUT, Child, as_child

if TYPE_CHECKING:
    from supervisors.specs import Restart

A = TypeVar("A", bound=Actor, covariant=True)

COOLDOWN = 30.0
ATTEMPTS = 3


@attrs.frozen
class PoolOptions:
    """What a pool was made with."""

    min: int
    max: int
    attempts: int
    cooldown: float
    prefetch: bool


class Pool(CrewSpec[A]):
    """Workers that compete for the messages of one queue: ``Pool(Child(Pdf), min=1, max=8)``.

    It is a ``Child`` and goes wherever one goes; its ref takes what the worker's class handles. A
    message goes to a worker that has time for it, and is done when that has answered, one-way
    messages too. If the worker dies instead, the message is handed to another, at the front of the
    queue. One that has cost ``attempts`` workers is set aside: its caller is refused with
    ``Poisoned``, and ``GetPoison`` shows it. A worker that is alive and slow keeps its message,
    however long that takes. Sent again under the same key, as a workflow does, a message that waits
    or is handled is not handled twice: whoever sends it waits for the same answer.

    ``min``, ``max``
        there are as many workers as messages wait or are handled, within these bounds: from 0 and 1
        on; 1 and 8
    ``attempts``
        how many workers a message may cost, 1 or more: 3
    ``cooldown``
        seconds after which a worker above ``min`` that had nothing to do is stopped: 30
    ``prefetch``
        whether an isolated worker may hold some messages beyond the one it handles, 64 in all, as
        long as they take no more than 2 ms together: handing over one at a time would take longer.
        True
    ``id``, ``name``, ``restart``, ``start_timeout``, ``mailbox``, ``shutdown``
        as for a ``Child``; ``mailbox`` bounds what waits

    A worker that has died is replaced at once, whatever its ``restart`` says; one that does not
    come up, or dies before it was handed anything, after the ``Backoff`` of its ``Child`` (0.1 to
    30 s unless given), and past the ``limit`` of that the pool gives up. Stopped, a pool takes
    nothing more, gives back what waits (``NoSuchActor``), and lets each worker finish what it has
    begun, within the worker's ``shutdown`` time.

    An isolated worker must show a sign of life, though, within the ``heartbeat`` of its
    :class:`actors.Process`: 30 seconds. A plain handler that computes for longer shows none, is
    taken for dead and killed, and its message is handed to another. Let it call
    ``self.heartbeat()`` in between, or give the ``Child`` ``isolation=Process(heartbeat=None)``.

    At run time: ``GetPool``, ``SetSize``, ``SetLimit``, ``GetPoison``, ``RetryPoison``,
    ``DropPoison``; and ``WhichChildren``, ``CountChildren``. Messages are handed over at least
    once: a worker that dies between its work and its answer leaves the work to be done again.

    Raises TypeError or ValueError for what is not accepted.
    """

    __slots__ = ()

    def __init__(
        self,
        child: Child[A] | type[A],
        /,
        *,
        min: int = 1,  # noqa: A002
        max: int = 8,  # noqa: A002
        attempts: int = ATTEMPTS,
        cooldown: float = COOLDOWN,
        prefetch: bool = True,
        id: str | None = None,
        name: str | None = None,
        restart: Restart = "permanent",
        shutdown: float | Literal["kill"] | None = None,
        start_timeout: float = START_TIMEOUT,
        mailbox: float = MAILBOX,
    ) -> None:
        spec: Any = as_child(child)
        if isinstance(spec, Pool):
            raise ValueError(f"The Child in a Pool is a worker, and no other Pool. Got: {spec!r}")
        if takes_over_shards(spec, 1):
            raise ValueError(
                "The workers of a Pool share nothing, and mediators with workflows have one "
                f"journal: use Shards for {spec.label}. Got: {spec!r}"
            )
        check_size(min, max)
        if not is_int(attempts) or attempts < 1:
            raise ValueError(f"A pool's attempts are an int of 1 or more. Got: {attempts!r}")
        check_seconds("A pool's cooldown", cooldown)
        if not isinstance(prefetch, bool):
            raise TypeError(f"A pool's prefetch is True or False. Got: {prefetch!r}")
        check_inner("a Pool", spec)
        # What its ref takes is what the worker's class handles.
        factory: Any = PoolSupervisor
        super().__init__(
            factory,
            spec,
            PoolOptions(min, max, attempts, cooldown, prefetch),
            id=id,
            name=name,
            restart=restart,
            shutdown=shutdown,
            start_timeout=start_timeout,
            mailbox=mailbox,
        )

    def __repr__(self) -> str:
        spec, options = self.args
        return f"Pool({spec!r}, min={options.min}, max={options.max})"
