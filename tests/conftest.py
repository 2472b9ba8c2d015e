"""What the whole suite shares: every coroutine test runs on the virtual clock."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING

import pytest

from actors.testing import without_caller_turns

if TYPE_CHECKING:
    from actors import System


def pytest_addoption(parser: pytest.Parser) -> None:
    """The long versions of what tests/test_torture.py does."""
    parser.addoption("--torture", action="store_true", help="run the long versions of the torture")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Coroutine tests need no mark of their own here."""
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.add_marker(pytest.mark.understudy)


@pytest.fixture(params=["caller runs turns", "dispatcher runs turns"])
def both_ways(request: pytest.FixtureRequest, system: System) -> str:
    """Runs a test twice: who runs a plain turn must make no difference."""
    way = str(request.param)
    if way == "dispatcher runs turns":
        without_caller_turns(system)
    return way
