"""What is set aside within another process is handled once: also by whom it was handed on to."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import trio

from actors import Ref, System, open_system
from supervisors import Child, one_for_one
from tests.actors.isolation.far_actors import Note, Pid
from tests.actors.isolation.in_forks.across_actors import Keeper
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.inner_actors import Inner, Outer, Overfull, Postponing
from tests.actors.isolation.in_forks.places import named, next_incarnation, notes


async def outer(system: System, cls: Any, *args: Any, **keywords: Any) -> tuple[Ref[Any], Any]:
    """An isolated actor that comes back whatever happens, and the witness of what it does."""
    witness = await system.start(Keeper)
    child = Child(cls, witness, *args, name="it", isolation="process", **keywords)
    await system.start(one_for_one(child, max_restarts=1000))
    return named(system, "it"), witness


async def death(ref: Ref[Any]) -> None:
    """End the process; the next one is up, and has handled what has come back to it."""
    pid = await ref.call(Pid())
    os.kill(pid, signal.SIGKILL)
    await next_incarnation(ref, ref.incarnation + 1)
    for _ in range(3):
        await ref.call(Pid())
    await trio.sleep(0.05)


@pytest.mark.parametrize("how", ["kill", "raise"])
@real
async def test_what_ends_whom_it_was_handed_on_to_is_not_handled_again(how: str) -> None:
    """Though it was set aside before."""
    async with open_system() as system:
        ref, witness = await outer(system, Outer, Inner)
        ref.cast(Note(how))
        assert await notes(witness) == [how]
        if how == "kill":
            await next_incarnation(ref, 2)
        else:
            await trio.sleep(0.1)
        await death(ref)
        assert await notes(witness) == [how]


@pytest.mark.parametrize("how", ["enter", "raise", "done"])
@real
async def test_what_was_postponed_is_handled_once_more_at_most(how: str) -> None:
    async with open_system() as system:
        ref, witness = await outer(system, Outer, Postponing)
        ref.cast(Note(how))
        expected = ["done", "again done"] if how == "done" else [how]
        assert await notes(witness, len(expected)) == expected
        await trio.sleep(0.05)
        await death(ref)
        assert await notes(witness) == expected


@pytest.mark.parametrize("inner", [Inner, Postponing])
@real
async def test_what_was_handed_on_and_set_aside_outlives_a_death(inner: Any) -> None:
    async with open_system() as system:
        ref, witness = await outer(system, Outer, inner)
        ref.cast(Note("kept"))
        assert await notes(witness) == ["kept"]
        await death(ref)
        assert await notes(witness, 2) == ["kept", "kept"]


@real
async def test_what_finds_no_room_aside_and_is_handled_is_not_handled_again() -> None:
    async with open_system() as system:
        ref, witness = await outer(system, Overfull, mailbox=2)
        for number in range(4):
            ref.cast(Note(str(number)))
            await ref.call(Pid())
        assert await notes(witness, 2) == ["2", "3"]
        await death(ref)
        assert await notes(witness) == ["2", "3"]
