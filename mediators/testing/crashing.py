"""Death at every commit: what a process leaves behind is taken up again, and looked at.

Nothing follows from a commit before it is on disk, and nothing else is. So a process that dies can
be told from one that lives only by what the journal and the components' own books had at that
moment: a scenario is played once, both are kept at each commit, and another life begins from there.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeAlias, TypeVar

import attrs
import trio

from actors import open_system
from actors.testing import VirtualClock
from mediators.execution.commands import ChildRun, Fork
from mediators.journal import MemoryJournal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from actors import Ref
    from mediators.driver.driver import Driver
    from mediators.execution.execution import Execution
    from mediators.journal.memory import _Rows
    from mediators.journal.protocol import Batch

S = TypeVar("S", bound="Scenario")

PATIENCE = 86_400.0
"""Virtual seconds a recovered scenario has to come to its end."""
Side: TypeAlias = Literal["before", "after"]
SIDES: tuple[tuple[int, Side], ...] = ((0, "before"), (1, "after"))
"""How many commits more, on which side of one."""
STANDS = frozenset({"paused", "incident"})
"""What a workflow does not leave by itself."""


class Scenario:
    """What is played by :func:`crash_at_every_commit`. Subclass it:

    >>> class AnOrder(Scenario):                            # doctest: +SKIP
    ...     def __init__(self) -> None:
    ...         self.books: list[str] = []      # what the outside world has seen
    ...
    ...     def mediator(self, journal):
    ...         return functools.partial(Shop, journal, self.books)
    ...
    ...     async def play(self, shop):
    ...         await shop.call(PlaceOrder("7"), timeout=60)
    ...
    ...     def check(self):
    ...         assert self.books.count("charged 7") == self.books.count("shipped 7")

    ``books`` is whatever has to outlive the death of the process: the outside world of the
    components, and what the world was told by ``play``. It is copied with ``copy.deepcopy`` at each
    commit, so it must not hold what lives: refs, systems, tasks. All else of the object is shared
    by its lives.
    """

    books: Any = None

    def mediator(self, journal: MemoryJournal) -> Any:
        """What is to be started, in each life: a ``Child``, or a mediator class or function, with
        this journal and these ``books``."""
        raise NotImplementedError(f"{type(self).__qualname__} has no mediator().")

    async def play(self, mediator: Ref[Any]) -> None:
        """The first life, up to its end."""
        raise NotImplementedError(f"{type(self).__qualname__} has no play().")

    async def recovered(self, mediator: Ref[Any]) -> None:
        """What happens in each further life. To be overridden; by itself it waits until every
        workflow has ended, or stands as paused or incident."""
        await settled(mediator)

    def check(self) -> None:
        """The invariant, looked at when each life has ended, the first one included."""


async def settled(mediator: Ref[Any], timeout: float = PATIENCE) -> None:
    """Wait until every workflow of a mediator has ended, stands as paused or incident, or waits for
    nothing but children that do.

    ``timeout`` is in seconds; raises AssertionError naming those that go on. A checkpoint.
    """
    deadline = trio.current_time() + timeout
    pause = 0.1
    while True:
        await trio.sleep(pause)
        actor = mediator._place.actor
        driver: Driver | None = getattr(actor, "_driver", None)
        if driver is not None and driver.recovery.done and not driver.committer.closed:
            left = [each for each in driver.runs.values() if goes_on(each)]
            if not left and not driver.committer.batch and not driver.committer.outbox:
                return
        else:
            left = []
        if trio.current_time() > deadline:
            raise AssertionError(
                f"These workflows do not come to an end: {[(x.id, str(x.status)) for x in left]}"
            )
        pause = min(pause * 2, 60.0)


def goes_on(execution: Execution) -> bool:
    """Whether something is still to happen to a workflow by itself."""
    if execution.status in STANDS:
        return False
    return not execution.open or any(
        not isinstance(each, ChildRun | Fork) for each in execution.open.values()
    )


@attrs.frozen
class Death(Generic[S]):
    """What a process leaves that dies right ``before`` or ``after`` its ``commit``-th commit."""

    commit: int
    when: Side
    scenario: S = attrs.field(repr=False)
    journal: MemoryJournal = attrs.field(repr=False)
    time: float
    """Virtual seconds since the beginning."""


class Witnessed(MemoryJournal):
    """A journal that calls a function right before each commit."""

    def __init__(self, witness: Callable[[], object], before: MemoryJournal | None = None) -> None:
        super().__init__()
        if before is not None:
            vars(self).update(vars(before.copy()))
        self._witness = witness

    def _commit(self, shard: int, rows: _Rows, batch: Batch) -> None:
        self._witness()
        super()._commit(shard, rows, batch)


def live(
    scenario: S, before: Death[S] | None = None, *, seed: int = 0
) -> tuple[MemoryJournal, list[Death[S]]]:
    """One life of a scenario, its first or that after a death: the journal it leaves, and every
    death it might have died on the way. The scenario is checked at its end."""
    clock = VirtualClock()
    if before is not None and before.time:
        clock.jump(before.time)
    kept: list[tuple[int, Any, float]] = []

    def witness() -> None:
        kept.append((journal.commits, copy.deepcopy(scenario.books), clock.time))

    journal = Witnessed(witness, None if before is None else before.journal)

    async def main() -> None:
        async with open_system(seed=seed, clock=clock.now) as system:
            mediator = await system.start(scenario.mediator(journal))
            if before is None:
                await scenario.play(mediator)
            else:
                await scenario.recovered(mediator)
            await mediator.stop()

    clock.run(main)
    scenario.check()
    return journal, [
        Death(commits + 1, when, with_books(scenario, books), journal.copy(commits + after), time)
        for commits, books, time in kept
        for after, when in SIDES
    ]


def with_books(scenario: S, books: Any) -> S:
    """The scenario with books of its own."""
    again = copy.copy(scenario)
    again.books = copy.deepcopy(books)
    return again


def deaths(scenario: Callable[[], S], *, seed: int = 0) -> Iterator[Death[S]]:
    """Every death a scenario can die, after a first life that was played to its end."""
    yield from live(scenario(), seed=seed)[1]


def crash_at_every_commit(
    scenario: Callable[[], S],
    check: Callable[[S], object] | None = None,
    *,
    deaths: int = 1,
    seed: int = 0,
) -> int:
    """Let a scenario die at each of its commits, take it up again, and check it.

    Its first life is played once. For each of its commits, right before it and right after it with
    nothing let out yet, another life begins with the journal and the books as they were: a new
    system is opened, recovers what it finds and does what ``recovered`` says, at the time of the
    death. After each life ``scenario.check()`` is called, and ``check(scenario)`` if given.
    ``deaths=2`` lets each second life die at each of its commits, too, and so on.

    Everything happens in this process, on virtual clocks of its own, so it is called outside of any
    trio run: by a plain ``def`` test. ``scenario`` is a :class:`Scenario` class, or makes one; the
    random source of the systems is seeded with ``seed``. Returns how many lives were begun by a
    death; what a life raises leaves with a note that says which.
    """

    def life(one: S, before: Death[S] | None, left: int) -> int:
        found = live(one, before, seed=seed)[1]
        if check is not None:
            check(one)
        return sum(after(death, left - 1) for death in found) if left else 0

    def after(death: Death[S], left: int) -> int:
        try:
            return 1 + life(death.scenario, death, left)
        except Exception as error:
            error.add_note(f"after dying right {death.when} commit {death.commit}")
            raise

    return life(scenario(), None, deaths)
