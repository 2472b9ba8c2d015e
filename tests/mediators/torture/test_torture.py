"""Random programs of workflows, random crashes, death at any commit: what must always hold.

``--torture`` plays ten times as many.
"""

from __future__ import annotations

import logging
from collections import Counter
from contextlib import nullcontext
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mediators.testing import always_replay
from tests.mediators.torture.lives import Case, cases, play, play_every_death
from tests.mediators.torture.programs import instances, walk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.mediators.torture.world import World

EXAMPLES = 300
"""Of several programs each: more than two thousand programs in all."""


@pytest.fixture(autouse=True)
def _silence() -> Iterator[None]:
    """Crashes are reported; here there are too many."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def profile(examples: int, request: pytest.FixtureRequest) -> settings:
    """The same programs on every machine."""
    return settings(
        max_examples=examples * (10 if request.config.getoption("--torture") else 1),
        derandomize=True,
        deadline=None,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )


class Seen:
    """What the programs have come to: a torture in which nothing happens proves nothing."""

    def __init__(self) -> None:
        self.programs = 0
        self.deaths = 0
        self.nodes: Counter[str] = Counter()
        self.statuses: Counter[str] = Counter()
        self.events: Counter[str] = Counter()
        self.undone = 0
        self.compared = 0

    def add(self, case: Case, lives: list[World]) -> None:
        self.programs += len(case.programs)
        self.deaths += len(lives) - 1
        for each in case.programs:
            self.nodes.update(node["k"] for node in walk(each["program"]))
            self.events.update(event[1] for event in each["events"])
        self.statuses.update(row.status for row in lives[-1].journal.read().runs())
        self.undone += sum(each[1] == "undo" for each in lives[-1].effects())


def test_w_whatever_befalls_programs_they_end_as_they_must(
    request: pytest.FixtureRequest,
) -> None:
    """W3-W13, J1: deaths at random commits, crashes of components and of the driver."""
    seen = Seen()

    @profile(EXAMPLES, request)
    @given(cases(), st.integers(0, 7))
    def run(case: Case, chance: int) -> None:
        with always_replay() if chance == 0 else nullcontext() as replayed:
            seen.add(case, play(case))
        if replayed is not None:
            seen.compared += replayed.turns

    run()
    assert seen.programs > 2000
    assert seen.deaths > EXAMPLES // 4
    assert seen.compared > 1000
    assert seen.undone > 500
    assert set(seen.statuses) >= {"done", "failed", "cancelled", "continued", "incident", "paused"}
    assert set(seen.nodes) == {
        *("step", "effect", "gather", "race", "sleep", "receive", "child", "pivot", "continue"),
        *("try", "fail", "mistake"),
    }
    assert seen.events["signal"] > 500 and seen.events["cancel"] > 200


def test_w_programs_die_at_every_commit(request: pytest.FixtureRequest) -> None:
    """W3, J1: both right before and right after each commit of a life."""
    deaths = 0

    @profile(25, request)
    @given(st.lists(instances(), min_size=1, max_size=2))
    def run(programs: list[dict[str, object]]) -> None:
        nonlocal deaths
        deaths += play_every_death(Case(programs))

    run()
    assert deaths > 300
