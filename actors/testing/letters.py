"""What nobody handled."""

from __future__ import annotations

from typing import TYPE_CHECKING

from actors.telemetry import DeadLetter

if TYPE_CHECKING:
    from actors.runtime.system import System


def dead_letters(system: System) -> list[DeadLetter]:
    """A list to which every dead letter of ``system`` is added from now on."""
    found: list[DeadLetter] = []
    system.telemetry.listen(found.append, DeadLetter)
    return found
