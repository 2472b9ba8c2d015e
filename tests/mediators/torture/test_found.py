"""Small programs in which the torture has found something once."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest

from mediators.testing import always_replay
from tests.mediators.torture.lives import Case, play, play_every_death
from tests.mediators.torture.programs import SPENT, numbered

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def step(*fates: str, undo: str | None = "message", exact: bool = False, k: str = "step") -> Any:
    return {
        "k": k,
        "exact": exact,
        "fates": list(fates),
        "undo": undo,
        "undo_fates": [],
        "attempts": 3 if len(fates) >= SPENT else 20,
    }


def case(*program: Any, cancel: float | None = None) -> Case:
    events = [] if cancel is None else [[cancel, "cancel", 1]]
    return Case([numbered({"program": list(program), "events": events, "begins": 0.0})])


def test_w9_attempts_that_only_settle_are_counted_from_the_record() -> None:
    with always_replay():
        play(case(step(*["crash"] * SPENT)))
        play_every_death(case(step(), step(*["late"] * SPENT)))


def test_w5_what_cannot_be_undone_and_is_cut_off_leaves_no_incident() -> None:
    hanging = step(*["hang"] * SPENT, undo=None, k="effect")
    (life,) = play(case(step(), {"k": "race", "branches": [[hanging], [step(exact=True)]]}))
    assert [row.status for row in life.journal.read().runs()] == ["done"]
    (life,) = play(case(step(), hanging, cancel=0.5))
    assert [row.status for row in life.journal.read().runs()] == ["cancelled"]


@pytest.mark.parametrize("k", ["step", "effect"])
def test_w9_a_failed_step_is_settled_also_by_a_later_owner(k: str) -> None:
    """It took effect, its answer was lost; the process died; then everything was cancelled. That
    it took effect is heard last, so it is undone first."""
    failed = step("late", *["crash"] * 2, *["well"] * SPENT, k=k)
    caught = {"k": "try", "body": [failed], "handler": [step()]}
    programs = case(step(), caught, {"k": "sleep", "seconds": 3.0}, step(), cancel=2.0)
    assert play_every_death(programs) > 10
    lives = play(Case(programs.programs, [(6, 1), (2, 0)]))
    undone = [each[3] for each in lives[-1].effects() if each[1] == "undo"]
    assert undone == [2, 3, 0]


def test_law_of_the_journal_a_start_is_not_confirmed_before_it_is_on_disk() -> None:
    play(Case(case(step()).programs, [(1, 0), (1, 0)]))
