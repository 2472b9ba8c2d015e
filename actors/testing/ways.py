"""The two ways a plain turn is run, which nobody may be able to tell apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from actors.runtime.system import System


def without_caller_turns(system: System) -> None:
    """Have the dispatcher run every turn: callers run none themselves. Nothing else changes.

    To show that an outcome does not depend on who runs the turn, run the test with and without.
    Not a checkpoint.
    """
    system.scheduler.caller_turns = False
    system.scheduler.renew_budget()
