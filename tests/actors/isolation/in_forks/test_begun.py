"""What was begun when an actor or its process ends, and what is said of it."""

from __future__ import annotations

import logging
import os
import signal
from typing import Any

import pytest
import trio

from actors import ActorDied, NoSuchActor, Process, introspection
from tests.actors.isolation.far_actors import Note, Plus
from tests.actors.isolation.in_forks.begun_actors import Boom, Front, Hold, Holds, Unreadable, Which
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.places import alone, until


@real
async def test_a_turn_that_never_began_holds_up_nobody_who_comes_later() -> None:
    """Its actor is killed in the moment in which it was given to its task."""
    async with alone(Front, isolation=Process(window=4)) as (_, front):
        one = await front.call(Which())
        assert await one.call(Plus(1)) == 1
        one.cast(Note("never begun"))
        front.cast(Note("stop it"))
        await front.call(Which())
        for number in range(10):
            with pytest.raises(NoSuchActor):
                await one.call(Plus(number), timeout=3)


async def held(ref: Any, ends: list[str]) -> None:
    """Wait for an answer that will not come."""
    with pytest.raises(ActorDied) as died:
        await ref.call(Hold(1), timeout=None)
    ends.append(str(died.value.__cause__))


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ("kill", "The last message it took: Hold(number=1)"),
        ("abort", "The last message it took: Boom(how='abort'); 1 more was in hand."),
    ],
)
@real
async def test_a_death_names_what_was_in_hand(how: str, text: str) -> None:
    async with alone(Holds, isolation="process") as (_, ref):
        ends: list[str] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(held, ref, ends)
            await until(lambda: bool(ref._place.actor._outlet.in_hand()))
            assert await ref.call(Plus(1)) == 1
            if how == "kill":
                os.kill(ref._place.actor._worker.pid, signal.SIGKILL)
            else:
                with pytest.raises(ActorDied):
                    await ref.call(Boom(how))
        assert ends[0].endswith(text)


@real
async def test_a_crash_names_the_message_it_was() -> None:
    reports: list[Any] = []

    class Keeps(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if (report := getattr(record, "report", None)) is not None:
                reports.append(report)

    logging.getLogger("actors").addHandler(Keeps())
    async with alone(Holds, isolation="process") as (_, ref):
        ends: list[str] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(held, ref, ends)
            await until(lambda: bool(ref._place.actor._outlet.in_hand()))
            with pytest.raises(ActorDied):
                await ref.call(Boom("raise"))
        assert [each.message for each in reports] == [Boom("raise")]


@real
async def test_what_somebody_looked_at_is_no_message() -> None:
    async with alone(Unreadable, isolation="process") as (_, ref):
        assert await ref.call(Plus(1)) == 1
        pid = ref._place.actor._worker.pid
        ends: list[str] = []

        async def look() -> None:
            with pytest.raises(ActorDied) as died:
                await introspection.format_state(ref)
            ends.append(str(died.value.__cause__))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(look)
            await trio.sleep(0.2)
            os.kill(pid, signal.SIGKILL)
        assert ends[0].endswith("The last message it took: Plus(amount=1)")
