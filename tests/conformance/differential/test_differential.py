"""Random trees and what is done to them, on OTP's ``supervisor`` and on ours.

Compared after every operation: who was started and stopped, in which order; what the administration
answered; the whole tree. ``UNDERSTUDY_SCRIPTS=10000`` plays more scripts.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import pytest

from actors import Exit, Killed, Shutdown
from actors.runtime.stages import Steps
from supervisors import policy, supervisor, tree
from supervisors.entries import Entry
from supervisors.specs import AutoShutdown, Restart, Strategy
from tests.conformance.differential import ours
from tests.conformance.differential.compare import difference, shrunk
from tests.conformance.differential.generate import script
from tests.conformance.differential.otp import Otp

SCRIPTS = int(os.environ.get("UNDERSTUDY_SCRIPTS", "300"))
BATCH = 50


@pytest.mark.parametrize("first", range(0, SCRIPTS, BATCH))
def test_ours_does_what_otp_does(otp: Otp, first: int) -> None:
    for seed in range(first, min(first + BATCH, SCRIPTS)):
        found = difference(script(seed), otp.play, ours.play)
        if found is not None:
            pytest.fail(f"seed {seed}\n{shrunk(found, otp.play, ours.play)}", pytrace=False)


def different_affected(strategy: Strategy, ids: Iterable[str], failed: str) -> list[str]:
    """rest_for_one concerns the failed one alone."""
    return list(ids) if strategy == "one_for_all" else [failed]


def generous_add(window: policy.Window, now: float) -> bool:
    """One restart more than allowed."""
    window.moments.append(now)
    return len(window.moments) > window.max_restarts + 1


def strict_verdict(restart: Restart, exit: Exit) -> policy.Verdict:
    """A transient child that was told to stop elsewhere is restarted."""
    return policy.verdict(restart, Killed() if exit == Shutdown("why") else exit)


def early_shut_down(auto_shutdown: AutoShutdown, *, significant: bool, others_active: bool) -> bool:
    """The first significant child is enough for all_significant."""
    return significant and auto_shutdown != "never"


def forward_stop(entries: Iterable[Entry]) -> Steps:
    """Children are stopped in start order."""
    for entry in list(entries):
        yield from entry.stop()


@pytest.mark.parametrize(
    ("where", "name", "wrong"),
    [
        (supervisor, "affected", different_affected),
        (policy.Window, "add", generous_add),
        (tree, "verdict", strict_verdict),
        (tree, "shuts_down", early_shut_down),
        (supervisor, "stop_in_reverse", forward_stop),
        (supervisor.Supervisor, "_stopped", supervisor.Supervisor._keep),
        (supervisor.Supervisor, "_is_up", lambda *args, **kwargs: None),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_mistake_would_be_noticed(
    otp: Otp, monkeypatch: pytest.MonkeyPatch, where: object, name: str, wrong: object
) -> None:
    """The same scripts, and each time one rule broken on purpose."""
    monkeypatch.setattr(where, name, wrong)
    found = (difference(script(seed), otp.play, ours.play) for seed in range(SCRIPTS))
    first = next((each for each in found if each is not None), None)
    assert first is not None, f"none of {SCRIPTS} scripts notices"
    least = shrunk(first, otp.play, ours.play)
    assert len(least.script.ops) <= len(first.script.ops)
    assert "  ! " in str(least)
