"""What a supervisor decides, without a supervisor."""

from __future__ import annotations

from itertools import pairwise
from random import Random
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Crashed, Exit, Killed, Normal, Shutdown
from supervisors import Backoff
from supervisors.policy import Pace, Window, affected, shuts_down, verdict

ORDERLY = [Normal(), Shutdown(), Shutdown("why")]
DISORDERLY = [Killed(), Crashed(ValueError()), Crashed(KeyboardInterrupt())]

seconds = st.floats(0, 1e6, allow_nan=False)
names = st.lists(st.text(min_size=1, max_size=3), min_size=1, max_size=8, unique=True)


# -- verdict


@pytest.mark.parametrize("exit", [*ORDERLY, *DISORDERLY], ids=repr)
def test_the_matrix_of_restart_types_and_exits(exit: Exit) -> None:
    assert verdict("temporary", exit) == "remove"
    assert verdict("permanent", exit) == "restart"
    assert verdict("transient", exit) == ("keep" if exit in ORDERLY else "restart")


# -- the window


def times(gaps: list[float]) -> list[float]:
    """Moments with these gaps between them."""
    now, found = 0.0, []
    for gap in gaps:
        now += gap
        found.append(now)
    return found


@given(st.lists(st.floats(0, 10), max_size=60), st.integers(0, 8), st.floats(0.001, 20))
def test_S2_the_limit_trips_when_restarts_are_greater_than_allowed_within_the_window(
    gaps: list[float], max_restarts: int, within: float
) -> None:
    window = Window(max_restarts, within)
    moments = times(gaps)
    for index, now in enumerate(moments):
        counted = [each for each in moments[: index + 1] if each >= now - within]
        assert window.add(now) is (len(counted) > max_restarts)


@given(st.integers(0, 50), st.floats(0.01, 100))
def test_S2_a_burst_of_as_many_as_allowed_is_fine_and_one_more_is_not(
    max_restarts: int, within: float
) -> None:
    window = Window(max_restarts, within)
    assert not any(window.add(7.0) for _ in range(max_restarts))
    assert window.add(7.0)


@given(st.integers(1, 5), st.floats(0.01, 100), st.integers(1, 200))
def test_S2_restarts_spaced_wider_than_the_window_never_accumulate(
    max_restarts: int, within: float, count: int
) -> None:
    window = Window(max_restarts, within)
    assert not any(window.add(number * within * 1.5) for number in range(count))
    assert len(window.moments) <= 1


def test_S2_no_restart_at_all_may_be_allowed() -> None:
    assert Window(0, 5.0).add(1.0)


def test_S2_what_is_exactly_as_old_as_the_window_still_counts() -> None:
    window = Window(1, 5.0)
    assert not window.add(0.0)
    assert window.add(5.0)
    window = Window(1, 5.0)
    assert not window.add(0.0)
    assert not window.add(5.0001)


@given(st.lists(st.floats(0, 1), max_size=300), st.integers(0, 3))
def test_S2_the_window_keeps_no_more_than_it_needs(gaps: list[float], max_restarts: int) -> None:
    window = Window(max_restarts, 2.0)
    for now in times(gaps):
        window.add(now)
        assert all(each >= now - 2.0 for each in window.moments)


# -- who is affected


@given(names, st.data())
def test_S4_who_is_restarted_with_a_failed_child(ids: list[str], data: Any) -> None:
    failed = data.draw(st.sampled_from(ids))
    assert affected("one_for_one", ids, failed) == [failed]
    assert affected("one_for_all", ids, failed) == ids
    rest = affected("rest_for_one", ids, failed)
    assert rest == ids[ids.index(failed) :]


@given(names, st.data())
def test_S4_the_affected_contain_the_failed_one_and_keep_the_order(
    ids: list[str], data: Any
) -> None:
    failed = data.draw(st.sampled_from(ids))
    for strategy in ("one_for_one", "one_for_all", "rest_for_one"):
        group = affected(strategy, iter(ids), failed)  # type: ignore[arg-type]
        assert failed in group
        assert group == [id for id in ids if id in group]
    assert set(affected("one_for_one", ids, failed)) <= set(affected("rest_for_one", ids, failed))


# -- auto_shutdown


@pytest.mark.parametrize("significant", [True, False])
@pytest.mark.parametrize("others", [True, False])
def test_S6_when_the_end_of_a_child_ends_its_supervisor(significant: bool, others: bool) -> None:
    def ends(auto_shutdown: Any) -> bool:
        return shuts_down(auto_shutdown, significant=significant, others_active=others)

    assert ends("never") is False
    assert ends("any_significant") is significant
    assert ends("all_significant") is (significant and not others)


# -- the pace


class Constant(Random):
    """Draws the same number again and again."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.value = value

    def random(self) -> float:
        return self.value


def delays(backoff: Backoff, moments: list[float], random: Random) -> list[float]:
    pace, found = Pace(), []
    for now in moments:
        pace, delay = pace.next(backoff, now, random)
        found.append(delay)
    return found


def test_S8_the_delay_doubles_to_the_cap() -> None:
    backoff = Backoff(0.5, 5.0, jitter=0)
    assert delays(backoff, [0.0] * 7, Random()) == [0.5, 1.0, 2.0, 4.0, 5.0, 5.0, 5.0]


def test_S8_it_resets_after_a_quiet_spell_counted_from_the_restart() -> None:
    backoff = Backoff(1.0, 100.0, jitter=0, reset=10.0)
    # Due again at 1, 2+1, …; quiet counts from there.
    pace = Pace()
    for now, wanted in ((0.0, 1.0), (1.0, 2.0), (12.9, 4.0), (26.8, 8.0), (44.8, 1.0)):
        pace, delay = pace.next(backoff, now, Random())
        assert delay == wanted, now
    assert pace.restarts == 1


def test_S8_jitter_is_the_share_that_is_drawn() -> None:
    backoff = Backoff(1.0, 8.0, jitter=0.25)
    assert delays(backoff, [0.0] * 3, Constant(0.0)) == [1.0, 2.0, 4.0]
    assert delays(backoff, [0.0] * 3, Constant(1.0)) == [0.75, 1.5, 3.0]


@given(
    st.floats(0, 10),
    st.floats(0, 1000),
    st.floats(0, 1),
    st.lists(st.floats(0, 5), max_size=40),
    st.integers(),
)
def test_S8_the_delay_stays_in_its_bounds_whatever_happens(
    first: float, more: float, jitter: float, gaps: list[float], seed: int
) -> None:
    backoff = Backoff(first, first + more, jitter=jitter, reset=1e9)
    for number, delay in enumerate(delays(backoff, times(gaps), Random(seed))):
        full = min(backoff.cap, first * 2**number)
        assert full * (1 - jitter) * 0.999 <= delay <= full * 1.001
        assert delay <= backoff.cap


@given(st.lists(st.floats(0, 5), min_size=2, max_size=40))
def test_S8_without_jitter_the_delay_never_shrinks_between_quiet_spells(
    gaps: list[float],
) -> None:
    found = delays(Backoff(0.1, 60.0, jitter=0, reset=1e9), times(gaps), Random())
    assert all(one <= two for one, two in pairwise(found))


def test_S8_a_thousand_failures_in_a_row_do_not_overflow() -> None:
    found = delays(Backoff(0.1, 30.0, jitter=0), [0.0] * 5000, Random())
    assert found[-1] == 30.0


@given(st.integers(1, 20))
def test_S8_the_limit_bounds_the_restarts_in_a_row(limit: int) -> None:
    backoff = Backoff(0, 0, limit=limit, jitter=0)
    pace = Pace()
    for _ in range(limit):
        pace, _delay = pace.next(backoff, 0.0, Random())
        assert not pace.exhausted(backoff)
    pace, _delay = pace.next(backoff, 0.0, Random())
    assert pace.exhausted(backoff)
    assert not pace.exhausted(attrs.evolve(backoff, limit=None))


@given(st.integers(), st.lists(seconds, max_size=20))
def test_S8_the_same_seed_gives_the_same_delays(seed: int, gaps: list[float]) -> None:
    backoff = Backoff(1.0, 60.0)
    moments = times(gaps)
    assert delays(backoff, moments, Random(seed)) == delays(backoff, moments, Random(seed))
