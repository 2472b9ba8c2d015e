"""Tools for tests of what a mediator coordinates."""

from mediators.testing.keys import call_with_key
from mediators.testing.replaying import Difference, replay_journal
from mediators.testing.replayed import ReplayDiffers, Replayed, always_replay
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
    "Called",
    "Difference",
    "ReplayDiffers",
    "Replayed",
    "RunWorkflows",
    "StubCrash",
    "Stubs",
    "always_replay",
    "call_with_key",
    "crash",
    "hang",
    "replay_journal",
    "run_workflows",
    "slow",
    "stub_mediator",
]
