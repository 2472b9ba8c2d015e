"""Playing programs through several lives, and checking each."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

from tests.mediators.torture.checks import check
from tests.mediators.torture.programs import instances
from tests.mediators.torture.world import World, live


@attrs.frozen
class Case:
    """Programs that run at the same time, and what befalls their process."""

    programs: list[dict[str, Any]]
    deaths: list[tuple[int, int]] = attrs.Factory(list)
    """Of each life but the last: at which of its commits it ends, 0 right before or 1 right after.
    A life with fewer commits is the last."""
    booms: tuple[float, ...] = ()
    """When the driver crashes, in seconds of each life."""
    decides: bool = False
    """Whether somebody decides about the incidents of the last life."""


@st.composite
def cases(draw: st.DrawFn, least: int = 6, programs: int = 9) -> Case:
    """Some programs and what befalls them."""
    death = st.tuples(st.one_of(st.integers(1, 6), st.integers(1, 40)), st.integers(0, 1))
    return Case(
        draw(st.lists(instances(), min_size=least, max_size=programs)),
        draw(st.lists(death, max_size=3)),
        tuple(draw(st.lists(st.sampled_from([0.05, 0.3, 1.0, 2.0]), max_size=2))),
        draw(st.booleans()),
    )


def play(case: Case) -> list[World]:
    """All lives of a case, each of them checked. Raises AssertionError."""
    lives: list[World] = []
    corpse = None
    for n, (die_at, side) in enumerate([*case.deaths, (0, 0)]):
        world = live(
            case.programs,
            corpse,
            die_at=die_at,
            side=side,
            booms=case.booms,
            decides=case.decides and not die_at,
            seed=n,
        )
        lives.append(world)
        check(case.programs, world)
        if case.decides and not die_at:
            assert not world.journal.read().runs(status="incident"), "decided, and still open"
        corpse = world.corpse
        if corpse is None:
            break
    return lives


def play_every_death(case: Case) -> int:
    """Let the first life die at each of its commits, on both sides; how many deaths that were."""
    whole = live(case.programs, booms=case.booms)
    check(case.programs, whole)
    commits = whole.journal.commits
    for die_at in range(1, commits + 1):
        for side in (0, 1):
            play(Case(case.programs, [(die_at, side)], case.booms))
    return 2 * commits
