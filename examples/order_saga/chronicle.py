"""The chronicle: who fell, and who stood up again. It listens to the supervisors' telemetry."""

from __future__ import annotations

from collections import Counter, deque
from typing import TYPE_CHECKING

import attrs

from actors import Crashed
from examples.order_saga.trouble import InjectedCrash
from supervisors import ChildExited, ChildRestarted

if TYPE_CHECKING:
    from actors import System


@attrs.define
class Chronicle:
    """``restarts`` by the path of the child, and of its supervisor for all of its children."""

    restarts: Counter[str] = attrs.field(factory=Counter)
    crashes: deque[str] = attrs.field(factory=lambda: deque(maxlen=50))
    """The latest ones."""
    surprises: list[str] = attrs.field(factory=list)
    """Crashes that nobody has injected."""

    def listen(self, system: System) -> None:
        """From now on."""
        system.telemetry.listen(self.restarted, ChildRestarted)
        system.telemetry.listen(self.exited, ChildExited)

    def restarted(self, event: ChildRestarted) -> None:
        """Somebody is up again."""
        self.restarts[event.child.path] += 1
        self.restarts[event.supervisor.path] += 1

    def exited(self, event: ChildExited) -> None:
        """Somebody has ended; most of them are just done."""
        if isinstance(event.exit, Crashed):
            self.crashes.append(f"{event.exit.exception}")
            if not isinstance(event.exit.exception, InjectedCrash):
                self.surprises.append(f"{event.child.path} crashed: {event.exit.exception!r}")
