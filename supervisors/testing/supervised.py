"""A supervisor for the time of one test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import trio

from actors import Actor, Shutdown
from supervisors.admin import StartChild
from supervisors.groups import one_for_one
from supervisors.specs import as_child

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors import Ref, System
    from supervisors.specs import Child

A = TypeVar("A", bound=Actor)


class StartSupervised:
    """Starts children of one supervisor, which ends with the block:
    ``async with StartSupervised(system) as start_supervised``.

    The supervisor is a ``one_for_one`` with its defaults. When it gives up, the system cannot go
    on: the test is cancelled and fails with ``RestartLimitExceeded``. For anything else start a
    supervisor of your own: ``start_supervised(rest_for_one(Child(A), Child(B), max_restarts=9))``.

    The idea is that of ``start_supervised!`` in Elixir's ExUnit.
    """

    def __init__(self, system: System) -> None:
        self._system = system
        self._supervisor: Ref[Any] | None = None

    @property
    def supervisor(self) -> Ref[Any]:
        """The supervisor, for its administration: ``supervisor.call(StopChild("ledger"))``."""
        if self._supervisor is None:
            raise RuntimeError(
                "start_supervised starts nothing before its block: "
                "async with StartSupervised(system) as start_supervised: ..."
            )
        return self._supervisor

    async def __call__(self, child: Child[A] | Callable[[], A]) -> Ref[A]:
        """Start a ``Child``, or an actor class, and return its ref once it is up. A checkpoint.

        Raises TypeError for what is neither, StartFailed if it does not come up, and AlreadyStarted
        or AlreadyPresent if its id is taken; without an id it gets one of its own.
        """
        spec = as_child(child)
        return cast("Ref[A]", await self.supervisor.call(StartChild(spec), timeout=None))

    async def __aenter__(self) -> Self:
        self._supervisor = await self._system.start_place(one_for_one(), key="test", critical=True)
        return self

    async def __aexit__(self, *_: object) -> None:
        with trio.CancelScope(shield=True):
            await self.supervisor.stop(Shutdown())
