"""The torture finds what it is there to find: each mechanism is taken out once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mediators import history as h
from mediators.driver.attempts import Attempts
from mediators.driver.driver import Driver
from mediators.execution.rollback import Rollback
from mediators.execution.signals import Inbox
from mediators.idempotency.keystore import KeyStore
from mediators.journal import JournalDamaged
from mediators.journal.memory import MemoryJournal, MemoryShard
from tests.mediators.torture.checks import check
from tests.mediators.torture.lives import Case, cases, play
from tests.mediators.torture.programs import instances
from tests.mediators.torture.world import World, take_over

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


SETTINGS = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    report_multiple_bugs=False,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.generate,),
)


def torture() -> None:
    """Some of what test_torture does."""

    @SETTINGS
    @given(cases(1, 6))
    def run(case: Case) -> None:
        play(case)

    run()


def taken_over() -> None:
    """Two processes with one journal, of which the first does not know of the second."""

    @settings(SETTINGS, max_examples=40)
    @given(st.lists(instances(), min_size=3, max_size=6), st.sampled_from([0.0, 0.1, 0.4, 1.0]))
    def run(programs: list[Any], at: float) -> None:
        check(programs, take_over(programs, at))

    run()


def test_j1_a_stale_owner_commits_nothing() -> None:
    taken_over()


def fence_ignored(patch: pytest.MonkeyPatch) -> None:
    def append(self: MemoryShard, batch: Any) -> None:
        if batch:
            self._journal._commit(self.shard, self._rows, batch)

    patch.setattr(MemoryShard, "append", append)
    patch.setattr(MemoryJournal, "_check", lambda *_: None)


def test_j1_a_fence_that_is_ignored_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fence_ignored(monkeypatch)
    with pytest.raises((JournalDamaged, AssertionError, ExceptionGroup)):
        taken_over()


def answered_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    out = Driver.out

    def at_once(self: Driver, what: str, execution: Any, item: Any) -> None:
        if what == "reply":
            execution.reply(item)
        else:
            out(self, what, execution, item)

    patch.setattr(Driver, "out", at_once)


def sent_before_the_commit(patch: pytest.MonkeyPatch) -> None:
    turn = Driver.turn

    def at_once(self: Driver, execution: Any, event: Any) -> None:
        turn(self, execution, event)
        outbox = self.committer.outbox
        for each in [each for each in outbox if each[0] == "send"]:
            outbox.remove(each)
            self.attempts.send(*each[1:])

    patch.setattr(Driver, "turn", at_once)


def keys_not_stored(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(KeyStore, "remember", lambda self, *_, **__: self.commit())


def keys_not_looked_at(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(World, "careful", False)


def undone_first_to_last(patch: pytest.MonkeyPatch) -> None:
    def first(self: Rollback, execution: Any) -> Any:
        for index, each in enumerate(execution.undos):
            if each.path.startswith(self.prefixes):
                return execution.undos.pop(index)
        return None

    patch.setattr(Rollback, "_next", first)


def not_settled(patch: pytest.MonkeyPatch) -> None:
    def settle(self: Attempts, execution: Any, command: Any) -> None:
        self._driver.turn(execution, h.Settled(command.path))

    patch.setattr(Attempts, "settle", settle)


def signals_not_remembered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Inbox, "remember", lambda *_: None)


def nothing_undone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Rollback, "_next", lambda *_: None)


@pytest.mark.parametrize(
    ("take_out", "found"),
    [
        (answered_before_the_commit, "is lost|came 0 times"),
        (sent_before_the_commit, "sent before its intent"),
        (keys_not_stored, "done twice"),
        (keys_not_looked_at, "done twice"),
        (undone_first_to_last, "is undone before"),
        (not_settled, "neither undone nor to stand"),
        (signals_not_remembered, "came [23] times"),
        (nothing_undone, "stands"),
    ],
)
def test_without_its_mechanism_the_torture_fails(
    take_out: Callable[[pytest.MonkeyPatch], None], found: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    take_out(monkeypatch)
    with pytest.raises(AssertionError, match=found):
        torture()
