"""docs/reference.md names every public name, and its tables say what the code says."""

from __future__ import annotations

import inspect
import math
import re
from pathlib import Path
from typing import Any

import pytest

import actors
import actors.introspection
import actors.telemetry
import actors.testing
import mediators
import mediators.journal
import mediators.telemetry
import mediators.testing
import supervisors
import supervisors.testing
from actors.runtime import lifecycle
from actors.runtime.root import Temporary
from mediators.driver.desk import UNREAD
from mediators.driver.driver import SLOW_TURN
from mediators.execution.signals import REMEMBERED
from mediators.routing import BACKOFF
from supervisors.pools.workforce import PACE

PAGE = (Path(__file__).parent.parent / "docs" / "reference.md").read_text("utf-8")

NAMES: dict[str, Any] = {
    **{name: getattr(actors, name) for name in actors.__all__},
    **{name: getattr(supervisors, name) for name in supervisors.__all__},
    **{name: getattr(mediators, name) for name in mediators.__all__},
    "introspection": actors.introspection,
    "Probe": actors.testing.Probe,
    "Temporary": Temporary,
    "CRASH_GRACE": lifecycle.CRASH_GRACE,
    "UNRESPONSIVE_AFTER": lifecycle.UNRESPONSIVE_AFTER,
    "BACKOFF": BACKOFF,
    "PACE": PACE,
    "REMEMBERED": REMEMBERED,
    "SLOW_TURN": SLOW_TURN,
    "UNREAD": UNREAD,
}
"""What the last column of the table of defaults may speak of."""


def section(heading: str) -> str:
    """The text below a heading, to the next one."""
    return PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]


def rows(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading, without its head."""
    lines = [line for line in section(heading).splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def shown(text: str) -> object:
    """The value a cell speaks of: ``5 s``, ``10,000``, ``no bound``, a quoted word."""
    if quoted := re.fullmatch(r'`"(\w+)"`', text):
        return quoted[1]
    if text == "no bound":
        return math.inf
    return float(text.removesuffix(" s").replace(",", ""))


def actual(source: str) -> object:
    """The value in the code: ``f(x=)`` is the default of an argument, all else an expression."""
    if argument := re.fullmatch(r"(.+)\((\w+)=\)", source):
        value = inspect.signature(eval(argument[1], NAMES)).parameters[argument[2]].default
    else:
        value = eval(source, NAMES)
    return math.inf if value is None else value


@pytest.mark.parametrize("row", rows("Defaults"), ids=lambda row: str(row[2]))
def test_a_default_on_the_page_is_that_of_the_code(row: list[str]) -> None:
    _, default, source = row
    assert shown(default) == actual(source.strip("`"))


@pytest.mark.parametrize(
    "module",
    [
        actors,
        supervisors,
        mediators,
        actors.testing,
        supervisors.testing,
        mediators.testing,
    ],
    ids=lambda module: module.__name__,
)
def test_every_public_name_is_on_the_page(module: Any) -> None:
    missing = [
        name
        for name in module.__all__
        if f"{module.__name__}.{name}" not in PAGE
        and not re.search(rf":members:[^.]*\b{name}\b", PAGE)
    ]
    assert missing == []


@pytest.mark.parametrize(
    "module",
    [actors.introspection, actors.telemetry, mediators.telemetry],
    ids=lambda module: module.__name__,
)
def test_every_function_and_event_is_on_the_page(module: Any) -> None:
    own = [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__
        and (inspect.isfunction(value) or inspect.isclass(value))
        and not name.startswith("_")
        and name not in INNER
    ]
    missing = [name for name in own if not re.search(rf"\b{name}\b", PAGE)]
    assert missing == []


INNER = {"Debug", "Request", "attributes", "public_state", "state_of"}
"""For the library itself."""


def test_the_tree_of_errors_is_that_of_the_classes() -> None:
    tree = section("Errors: what to do about them").partition("```text\n")[2].partition("```")[0]
    drawn = {}
    above: list[str] = []
    for line in tree.splitlines():
        branch, name = re.match(r"([│├└─ ]*)(\w+)", line).groups()  # type: ignore[union-attr]
        depth = len(branch) // 4
        above[depth:] = [name]
        drawn[name] = above[depth - 1] if depth else None
    public = {**vars(actors), **vars(supervisors), **vars(mediators), **vars(mediators.journal)}
    errors = {
        name: cls
        for name, cls in public.items()
        if isinstance(cls, type) and issubclass(cls, Exception)
    }
    expected = {
        name: next(
            base.__name__ for base in cls.__mro__[1:] if base.__name__ in {*errors, "Exception"}
        )
        for name, cls in errors.items()
    }
    assert drawn == {"Exception": None, **expected}
