"""The pytest plugin of this floor: the fixture ``start_supervised``.

It stands on the plugin of :mod:`actors.testing`, which runs the tests.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from supervisors.testing.supervised import StartSupervised

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from actors import System


@pytest.fixture
def start_supervised(
    system: System, inside_run: Callable[[AbstractAsyncContextManager[Any]], None]
) -> StartSupervised:
    """Starts supervised actors: ``ref = await start_supervised(Child(Account, 10))``.

    They are stopped at the end of the test, the last started first. See
    :class:`supervisors.testing.StartSupervised`.
    """
    supervised = StartSupervised(system)
    inside_run(supervised)
    return supervised
