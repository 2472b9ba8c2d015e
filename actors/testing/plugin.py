"""The pytest plugin: coroutine tests run under trio, on a virtual clock, inside a system.

It runs a coroutine test that uses one of its fixtures, directly or through another fixture, or is
marked ``@pytest.mark.understudy``; it leaves all others to other plugins. Fixtures are plain
functions: what has to live inside the run is handed to ``inside_run``, as floors above do.

>>> @pytest.fixture                                         # doctest: +SKIP
... def feed(inside_run):
...     feed = Feed()
...     inside_run(feed.connected())            # an async context manager, entered around the test
...     return feed
"""

from __future__ import annotations

import inspect
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from actors.runtime.system import System
from actors.testing.clock import VirtualClock

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    Context = AbstractAsyncContextManager[Any]

MARK = "understudy"

_clock = pytest.StashKey[VirtualClock]()
_contexts = pytest.StashKey["list[Context]"]()


@pytest.fixture
def virtual_clock(request: pytest.FixtureRequest) -> VirtualClock:
    """The clock of the test: trio's and the system's wall clock, moving in step."""
    clock: VirtualClock = request.node.stash.setdefault(_clock, VirtualClock())
    return clock


@pytest.fixture
def inside_run(request: pytest.FixtureRequest) -> Callable[[Context], None]:
    """Takes async context managers to be entered around the test, in the order given, and left in
    reverse."""
    contexts: list[Context] = request.node.stash.setdefault(_contexts, [])
    return contexts.append


@pytest.fixture
def system(virtual_clock: VirtualClock, inside_run: Callable[[Context], None]) -> System:
    """A system that is open while the test runs, and is stopped in order at its end.

    Its random source is seeded with 0, its wall clock is the virtual one, it has no watchdog. If it
    cannot go on, the test is cancelled and fails with that one exception.
    """
    system = System(seed=0, clock=virtual_clock.now, watchdog=None)
    inside_run(system.opened())
    return system


def pytest_configure(config: pytest.Config) -> None:
    """Make the mark known."""
    config.addinivalue_line(
        "markers", f"{MARK}: run this coroutine test under trio, on a virtual clock."
    )


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Run the tests that are ours."""
    test = pyfuncitem.obj
    stash = pyfuncitem.stash
    if not inspect.iscoroutinefunction(test) or not _is_ours(pyfuncitem):
        return None
    names = inspect.signature(test).parameters
    arguments = {name: pyfuncitem.funcargs[name] for name in names if name in pyfuncitem.funcargs}

    async def run() -> None:
        async with AsyncExitStack() as stack:
            for context in stash.get(_contexts, []):
                await stack.enter_async_context(context)
            await test(**arguments)

    stash.get(_clock, VirtualClock()).run(run)
    return True


def _is_ours(item: pytest.Function) -> bool:
    return (
        _clock in item.stash or _contexts in item.stash or item.get_closest_marker(MARK) is not None
    )
