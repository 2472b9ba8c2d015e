"""What the cases share."""

from __future__ import annotations

import pytest

from tests.conformance.actors_for_tests import Awaiting, Plain, Script


@pytest.fixture
def script() -> Script:
    """What the workers of a test do, and what they have done."""
    return Script()


@pytest.fixture(params=[Plain, Awaiting])
def worker(request: pytest.FixtureRequest) -> type[Plain]:
    """An actor without and one with a task of its own: nobody may tell the difference."""
    cls: type[Plain] = request.param
    return cls
