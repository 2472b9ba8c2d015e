"""Tools for tests of what a mediator coordinates."""

from mediators.testing.keys import call_with_key
from mediators.testing.replayed import Replayed, ReplayDiffers, always_replay
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
    "ReplayDiffers",
    "Replayed",
    "RunWorkflows",
    "StubCrash",
    "Stubs",
    "always_replay",
    "call_with_key",
    "crash",
    "hang",
    "run_workflows",
    "slow",
    "stub_mediator",
]
