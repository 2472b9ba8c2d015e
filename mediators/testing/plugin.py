"""The pytest plugin of this floor: the fixtures ``workflows`` and ``always_replayed``.

It stands on the plugin of :mod:`actors.testing`, which runs the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from mediators.testing.replayed import Replayed, always_replay
from mediators.testing.stubs import RunWorkflows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractAsyncContextManager

    from actors import System


@pytest.fixture
def workflows(
    system: System, inside_run: Callable[[AbstractAsyncContextManager[Any]], None]
) -> RunWorkflows:
    """Runs workflows with stub components: ``orders = await workflows([PlaceOrder], {Charge: 7})``.

    They are stopped at the end of the test. See :class:`mediators.testing.RunWorkflows`.
    """
    started = RunWorkflows(system)
    inside_run(started)
    return started


@pytest.fixture
def always_replayed() -> Iterator[Replayed]:
    """While the test runs, every workflow is rebuilt from its record after each of its turns, and
    the test fails where the two differ. See :func:`mediators.testing.always_replay`."""
    with always_replay() as replayed:
        yield replayed
