"""What a test has left behind: tasks, places, timers, reply slots."""

from __future__ import annotations

import gc
from collections import Counter
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio
from trio.testing import wait_all_tasks_blocked

from actors.place import Place
from actors.replies import Slot
from actors.runtime.host import Host
from actors.timers import Timer, Timers
from actors.turns import Turn

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterator

    from actors.runtime.system import System

KINDS = (Place, Host, Turn, Slot, Timer)
"""Of these nothing is left once a system has been closed and its refs let go."""


def tasks() -> list[trio.lowlevel.Task]:
    """Every task of the running trio loop, trio's own included. Not a checkpoint."""
    root = trio.lowlevel.current_root_task()
    return list(_descendants(root)) if root is not None else []


def task_count() -> int:
    """How many tasks there are, trio's own included."""
    return len(tasks())


def _descendants(task: trio.lowlevel.Task) -> Iterator[trio.lowlevel.Task]:
    yield task
    for nursery in task.child_nurseries:
        for child in sorted(nursery.child_tasks, key=lambda each: each.name):
            yield from _descendants(child)


def leftovers(system: System) -> list[str]:
    """What a closed system still has, in words; empty if it has left nothing.

    Places, names, timers (by the function they call), and places waiting for a turn. Not a
    checkpoint.
    """
    scheduler = system.scheduler
    found = [f"place {place.path} is {place.state}" for place in system.root.places]
    found += [f"name {name!r} is taken" for name in system.registry]
    found += [f"timer {name} is running" for name in _running(scheduler.timers)]
    if any(place.running for place in scheduler.ready):
        found.append(f"{len(scheduler.ready)} places wait for a turn")
    return found


def _running(timers: Timers) -> Iterator[str]:
    for _, _, cell in sorted(timers._heap):
        if (entry := cell[0]) is not None:
            call = getattr(entry, "_call", entry.fire)
            yield getattr(call, "__qualname__", repr(call))


@asynccontextmanager
async def no_leaks() -> AsyncGenerator[None]:
    """Assert that the block leaves nothing: the tasks after it are those before it, and no place,
    task of an actor, turn, reply slot or timer made in it is alive.

    A system that the block opens must be closed in it, and its refs let go. Raises AssertionError
    naming what is left. Looks at every object there is, so keep it for tests of leaks.
    """
    tasks_before = set(tasks())
    objects_before = _objects()
    yield
    await wait_all_tasks_blocked()
    left = [f"task {each.name}" for each in tasks() if each not in tasks_before]
    left += [f"{count} of {name}" for name, count in (_objects() - objects_before).items()]
    if left:
        raise AssertionError(f"The block has left behind: {', '.join(left)}")


def _objects() -> Counter[str]:
    gc.collect()
    return Counter(type(each).__name__ for each in gc.get_objects() if type(each) in KINDS)
