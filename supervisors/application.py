"""Where a tree meets the system, and the system the operating system."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import trio

from actors import Actor, ActorError, open_system
from actors.runtime import calls
from actors.runtime.system import check_factory, start_root
from actors.telemetry import SystemStopped
from actors.validation import check_seconds
from supervisors.admin import StartChild
from supervisors.dynamic import DynamicSupervisor
from supervisors.specs import Child

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from actors import Ref, System

A = TypeVar("A", bound=Actor)

GRACE = 5.0
"""Seconds that what does not yield has after everything else has stopped."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)

_DYNAMIC = "supervisors.dynamic"


async def start_child_in(system: System, spec: Child[A], *, root: bool) -> Ref[A]:
    """Start a Child in a system. A supervisor as root stands directly under the system; anything
    else runs under a dynamic supervisor made on demand. The end of either is the system's."""
    if root and spec.kind == "supervisor":
        return await system.start_place(spec, name=spec.name, key=spec.label, critical=True)
    supervisor = system.startables.get(_DYNAMIC)
    if supervisor is None or not supervisor.alive:
        supervisor = await system.start_place(
            Child(DynamicSupervisor), key="supervised", critical=True
        )
        system.startables[_DYNAMIC] = supervisor
    started: Ref[A] = await supervisor.call(StartChild(spec), timeout=None)
    return started


def run(
    root: Callable[..., Actor] | Child[Any],
    *,
    seed: int | None = None,
    grace: float = GRACE,
) -> NoReturn:
    """Run a tree until it ends or a signal comes, and exit the process.

    SIGINT and SIGTERM stop the tree in order, each child within its shutdown time. The exit code
    is 0 if everything ended orderly; 1 if the tree gave up or could not start, with the reason on
    standard error; 130 or 143, at once, on a second signal; that of a ``SystemExit`` which left a
    handler. What does not yield to its cancellation ends with the process, ``grace`` seconds after
    the rest has stopped: code 1. ``seed`` is that of :func:`actors.open_system`.

    To be called from the main thread, outside any event loop.
    """
    check_factory(root.factory if isinstance(root, Child) else root)
    check_seconds("grace", grace)
    program = Program(grace)
    program.install()
    try:
        code = trio.run(program.main, root, seed)
    finally:
        program.restore()
    sys.exit(code)


class Program:
    """Signals, and the last resort."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._scope = trio.CancelScope()
        self._token: trio.lowlevel.TrioToken | None = None
        self._signalled = False
        self._previous: dict[int, Any] = {}
        self._last_resort: threading.Timer | None = None

    def install(self) -> None:
        """Take the signals over. A Python handler, since trio's cannot run while an actor keeps
        the event loop busy, and the second signal must work then as well."""
        for number in SIGNALS:
            self._previous[number] = signal.signal(number, self._on_signal)

    def restore(self) -> None:
        """Give the signals back."""
        if self._last_resort is not None:
            self._last_resort.cancel()
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._signalled:
            _leave(128 + number)
        self._signalled = True
        if self._token is not None:
            try:
                self._token.run_sync_soon(self._scope.cancel)
            except trio.RunFinishedError:
                pass  # it has just ended by itself

    async def main(self, root: Any, seed: int | None) -> int:
        """Run the tree; the exit code."""
        self._token = trio.lowlevel.current_trio_token()
        if self._signalled:
            self._scope.cancel()
        try:
            with self._scope:
                async with open_system(seed=seed) as system:
                    system.telemetry.listen(self._stopped, SystemStopped)
                    await start_root(system, root)
                    roots = [place for place, critical in system.root.places.items() if critical]
                    for place in roots[:1]:  # none, if it has ended already
                        await calls.wait(place)
        except ActorError as error:
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
            return 1
        return 0

    def _stopped(self, _event: SystemStopped) -> None:
        self._last_resort = threading.Timer(self._grace, _leave, [1])
        self._last_resort.daemon = True
        self._last_resort.start()


def _leave(code: int) -> NoReturn:
    """End the process without waiting for anything."""
    logging.shutdown()
    sys.stderr.flush()
    os._exit(code)
