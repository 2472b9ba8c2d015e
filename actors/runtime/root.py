"""The top of the tree: what has no supervisor but the system."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import attrs

from actors.exits import ActorDied, ActorError, Crashed, Killed, Shutdown
from actors.runtime import lifecycle

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.exits import Exit
    from actors.place import Place
    from actors.runtime.system import System


@attrs.frozen
class Temporary:
    """The spec of an actor that is started without one: never restarted."""

    factory: Callable[..., Any]
    args: tuple[Any, ...] = ()
    start_timeout: float = 30.0
    mailbox: float = 10_000

    @property
    def shutdown(self) -> float:
        """Whoever has children waits for them: they have bounds of their own."""
        cls = getattr(self.factory, "func", self.factory)
        return inf if getattr(cls, "supervises", False) is True else 5.0


class Root:
    """Owner of the places at the top. Nothing is restarted here; a critical one takes the system
    with it when it crashes."""

    def __init__(self, system: System) -> None:
        self._system = system
        self.places: dict[Place, bool] = {}
        self.closed = False

    def add(self, place: Place, *, critical: bool) -> None:
        """A place is about to be started."""
        self.places[place] = critical

    def remove(self, place: Place) -> None:
        """It did not come up."""
        self.places.pop(place, None)
        lifecycle.settle(place, "gone")

    def child_exited(self, place: Place, exit: Exit) -> None:
        """It has ended, and that is that."""
        critical = self.places.pop(place, False)
        lifecycle.settle(place, "gone")
        if critical and isinstance(exit, Crashed | Killed):
            self._system.abort(_reason(place, exit))

    def given_back(self, place: Place, item: Any) -> None:
        """Nobody else wants it."""
        place.scheduler.refuse(place, item)

    async def stop(self) -> None:
        """Stop what is left, the last started first, each within its shutdown time."""
        while self.places:
            place = next(reversed(self.places))
            self.places[place] = False
            pending = lifecycle.stop(place, Shutdown(), None)
            if pending is not None:
                await pending.wait()
            self.places.pop(place, None)


def _reason(place: Place, exit: Exit) -> BaseException:
    exception = exit.exception if isinstance(exit, Crashed) else None
    if isinstance(exception, ActorError):
        return exception
    error = ActorDied(f"{place.path} ended ({exit}).", exit=exit, ref=place.ref)
    error.__cause__ = exception
    return error
