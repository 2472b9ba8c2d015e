"""Tools for tests of what a mediator coordinates."""

from mediators.testing.crashing import Death, Scenario, crash_at_every_commit, settled
from mediators.testing.keys import call_with_key
from mediators.testing.killing import KILL_AT_COMMIT, Life, kill_at_commit
from mediators.testing.replayed import ReplayDiffers, Replayed, always_replay
from mediators.testing.replaying import Difference, replay_journal
from mediators.testing.stubs import (
    Called,
    RunWorkflows,
    StubCrash,
    Stubs,
    crash,
    hang,
    run_workflows,
    slow,
    stub_mediator,
)

__all__ = [
    "KILL_AT_COMMIT",
    "Called",
    "Death",
    "Difference",
    "Life",
    "ReplayDiffers",
    "Replayed",
    "RunWorkflows",
    "Scenario",
    "StubCrash",
    "Stubs",
    "always_replay",
    "call_with_key",
    "crash",
    "crash_at_every_commit",
    "hang",
    "kill_at_commit",
    "replay_journal",
    "run_workflows",
    "settled",
    "slow",
    "stub_mediator",
]
