"""The verdict on a process that shows no sign of life."""

from __future__ import annotations

import pytest

from actors.isolation.watch import LOOKS, verdict_on


@pytest.mark.parametrize("state", ["R", "S", "D", "T", "t", "Z", "X"])
def test_nothing_is_thought_of_a_process_before_it_was_silent_at_every_look(state: str) -> None:
    assert all(verdict_on(silent, state) is None for silent in range(LOOKS))


@pytest.mark.parametrize("state", ["R", "S", "D", "Z", "X"])
def test_a_process_that_shows_no_sign_of_life_is_silent(state: str) -> None:
    assert verdict_on(LOOKS, state) == "silent"


@pytest.mark.parametrize("state", ["T", "t"])
def test_unless_it_was_suspended(state: str) -> None:
    assert verdict_on(LOOKS, state) == "stopped"
