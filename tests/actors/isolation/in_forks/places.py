"""One actor, here or in a process of its own: what the tests of both have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from actors import Ref, Shutdown, System, open_system
from actors.isolation.isolated import Isolated
from actors.runtime import lifecycle
from supervisors import Child, one_for_one
from tests.actors.isolation.far_actors import Notes
from tests.actors.isolation.in_forks.across_actors import busy

WHERE = pytest.mark.parametrize("isolation", [None, "process"], ids=["here", "there"])
PAIRS = pytest.mark.parametrize(
    ("one", "two"),
    [(None, None), ("process", None), (None, "process"), ("process", "process")],
    ids=["here-here", "there-here", "here-there", "there-there"],
)


@asynccontextmanager
async def alone(cls: Any, *args: Any, **keywords: Any) -> AsyncIterator[tuple[System, Ref[Any]]]:
    """A system with one supervised actor, which comes back whatever happens to it."""
    child = Child(cls, *args, name="it", **keywords)
    async with open_system(one_for_one(child, max_restarts=1000)) as system:
        yield system, named(system, "it")


def named(system: System, name: str) -> Ref[Any]:
    """The actor of that name."""
    ref = system.whereis(name)
    assert ref is not None
    return ref


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what is about to happen."""
    while not condition():
        await trio.sleep(0.001)


async def notes(ref: Ref[Any], count: int = 1) -> list[str]:
    """What an actor has noted, once there is so much of it."""
    while len(found := await ref.call(Notes())) < count:
        await trio.sleep(0.001)
    return list(found)


async def next_incarnation(ref: Ref[Any], number: int) -> None:
    """Wait until that one is up."""
    await until(lambda: ref.incarnation >= number and ref.state == "up")


def stopped_when_up(monkeypatch: pytest.MonkeyPatch, seconds: float = 0.0) -> list[Any]:
    """From now on each isolated actor is told to end at the moment in which it is heard of that it
    is up; behind that everybody is kept busy for so many seconds. Returns the places of those."""
    started = Isolated.started
    places: list[Any] = []

    def stop_first(self: Isolated, frame: Any) -> None:
        places.append(self._place)
        lifecycle.end(self._place, Shutdown("enough"))
        started(self, frame)
        busy(seconds)

    monkeypatch.setattr(Isolated, "started", stop_first)
    return places


async def end_of_first(ref: Ref[Any]) -> Any:
    """How the first incarnation has ended, be it that the second is up already."""
    await until(lambda: ref.incarnation > 1 or ref._place.exit is not None)
    return ref._place.exit
