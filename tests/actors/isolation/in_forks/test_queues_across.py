"""Timers, the stash and side tasks, here and in a process of their own."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from actors import (
    ActorDied,
    Crashed,
    Process,
    Ref,
    handles,
    open_system,
)
from actors.payloads import Undecodable
from supervisors import (
    Child,
    one_for_one,
)
from tests.actors.isolation.far_actors import Fail, Note, Notes, Pid, Plus, Raised
from tests.actors.isolation.in_forks.across_actors import (
    Coin,
    Do,
    Doer,
    DoIt,
    Keeper,
    Stasher,
)
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.places import (
    WHERE,
    alone,
    end_of_first,
    named,
    next_incarnation,
    notes,
    until,
)
from tests.actors.isolation.in_forks.wire_actors import Arm, Explosive, arm


class Touchy(Doer):
    """Cannot read everything."""

    @handles
    def arm(self, msg: Arm) -> int:
        arm(os.getpid())
        return os.getpid()

    @handles
    def explosive(self, msg: Explosive) -> int:
        return 1


@asynccontextmanager
async def one_that_is_busy(window: int) -> AsyncIterator[Ref[Any]]:
    """And cannot read what is sent to it."""
    async with alone(Touchy, isolation=Process(window=window)) as (_, ref):
        await ref.call(Arm())
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(ActorDied):
                    await ref.call(Do("wait"), timeout=None)

            nursery.start_soon(wait)
            await until(lambda: bool(ref._place.actor._link.flights))
            yield ref
            if ref.incarnation == 1:
                os.kill(ref._place.actor._worker.pid, signal.SIGKILL)


# -- what is on its way


@real
async def test_what_waits_before_a_message_that_cannot_be_read_outlives_a_crash() -> None:
    async with one_that_is_busy(256) as ref:
        for number in range(5):
            ref.cast(Note(str(number)))
        with pytest.raises(Undecodable):
            await ref.call(Explosive("value"))
        await trio.sleep(0.05)  # in which it would be told that all of them were taken
        os.kill(ref._place.actor._worker.pid, signal.SIGKILL)
        await next_incarnation(ref, 2)
        assert await notes(ref, 5) == ["0", "1", "2", "3", "4"]


@real
async def test_a_message_that_cannot_be_read_makes_no_room_for_more() -> None:
    async with one_that_is_busy(4) as ref:
        for number in range(2):
            ref.cast(Note(str(number)))
        with pytest.raises(Undecodable):
            await ref.call(Explosive("value"))
        await trio.sleep(0.05)  # in which room would be made
        for number in range(10):
            ref.cast(Note(str(number)))
        await trio.sleep(0.05)
        assert len(ref._place.mailbox) >= 9


# -- timers


@WHERE
@real
async def test_K18_timers(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        ref.cast(DoIt("after"))
        assert await notes(ref) == ["tick"]
        ref.cast(DoIt("every"))
        assert await notes(ref, 4) == ["tick"] * 4


@WHERE
@real
async def test_K18_idleness_is_that_of_the_actor(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (system, ref):
        probe = system.probe()
        ref.cast(DoIt("idle"))
        await trio.sleep(0.2)  # in which nothing comes, which is what is tested
        assert await ref.call(Notes()) == ["idle"]
        await probe.expect_nothing(within=0.01)


# -- stash


@WHERE
@real
async def test_what_is_stashed_comes_back_in_order(isolation: Any) -> None:
    async with alone(Stasher, isolation=isolation) as (_, ref):
        for number in range(5):
            ref.cast(Note(str(number)))
        await ref.call(Coin())
        assert await ref.call(Notes()) == [str(number) for number in range(5)]


CRASHES = pytest.mark.parametrize(
    ("isolation", "how"),
    [(None, "raise"), ("process", "raise"), ("process", "kill"), ("process", "exit")],
    ids=["here", "there", "killed", "left"],
)


@CRASHES
@real
async def test_K12_what_was_stashed_outlives_a_crash(isolation: Any, how: str) -> None:
    async with alone(Stasher, isolation=isolation) as (_, ref):
        for number in range(5):
            ref.cast(Note(str(number)))
            ref.cast(Raised(str(number)))
        with pytest.raises(ActorDied):
            await ref.call(Fail(how))
        await ref.call(Coin())
        expected = [text for number in range(5) for text in (str(number), str(number))]
        assert await ref.call(Notes()) == expected
        assert ref.incarnation == 2


@CRASHES
@real
async def test_K12_what_was_stashed_after_an_await_outlives_a_crash(
    isolation: Any, how: str
) -> None:
    """That it was taken is known before it is known what has become of it."""
    async with open_system() as system:
        keeper = await system.start(Keeper)
        ref = await system.start(
            one_for_one(Child(Stasher, keeper, name="it", isolation=isolation), id="tree")
        )
        ref = named(system, "it")
        for number in range(3):
            ref.cast(Note(str(number)))
        with pytest.raises(ActorDied):
            await ref.call(Fail(how))
        await ref.call(Coin())
        assert await ref.call(Notes()) == ["0", "1", "2"]


@CRASHES
@real
async def test_K12_what_was_stashed_again_outlives_a_crash(isolation: Any, how: str) -> None:
    async with open_system() as system:
        keeper = await system.start(Keeper)
        child = Child(Stasher, keeper, 100, name="it", isolation=isolation)
        await system.start(one_for_one(child, id="tree"))
        ref = named(system, "it")
        for number in range(3):
            ref.cast(Note(str(number)))
        await ref.call(Coin())  # they are tried again, and set aside again
        await ref.call(Pid())
        with pytest.raises(ActorDied):
            await ref.call(Fail(how))
        await ref.call(Coin())
        await ref._place.scheduler.system.whereis("it").call(Pid())  # type: ignore[union-attr]
        stash = await introspected(ref)
        assert stash["tries"] == 6
        assert len(stash["stashed"]) == 3


async def introspected(ref: Ref[Any]) -> dict[str, Any]:
    """Attributes of an actor, and what it has set aside."""
    from actors.introspection import _request

    def look(place: Any) -> dict[str, Any]:
        stash = place.mailbox.stash if place.mailbox is not None else None
        return {
            "tries": place.actor.tries,
            "stashed": [item[0].text for item in stash or ()],
        }

    return await _request(ref, look, 5.0, inside=True)


@real
async def test_K12_what_was_stashed_last_outlives_a_death_between_two_messages() -> None:
    async with alone(Stasher, isolation="process") as (_, ref):
        pid = await ref.call(Pid())
        ref.cast(Raised("only one"))
        while not (await introspected(ref))["stashed"]:
            pass
        os.kill(pid, signal.SIGKILL)
        await end_of_first(ref)
        await ref.call(Coin())
        assert await ref.call(Notes()) == ["only one"]


@real
async def test_K12_what_was_stashed_long_ago_outlives_a_crash() -> None:
    """A page remembers so many messages; what stands in the stash is remembered all the same."""
    async with alone(Stasher, isolation="process") as (_, ref):
        ref.cast(Raised("long ago"))
        for _ in range(9000):
            ref.cast(Fail("nothing"))
            if ref._place.suspended:
                await ref.call(Pid())
        pid = await ref.call(Pid())
        os.kill(pid, signal.SIGKILL)
        await end_of_first(ref)
        await ref.call(Coin())
        assert await ref.call(Notes()) == ["long ago"]


@CRASHES
@real
async def test_K12_what_ends_its_actor_is_not_handled_again_though_it_was_set_aside(
    isolation: Any, how: str
) -> None:
    async with alone(Stasher, isolation=isolation) as (_, ref):
        with pytest.raises(ActorDied):
            await ref.call(Do(how))
        await next_incarnation(ref, 2)
        await ref.call(Coin())
        assert await ref.call(Notes()) == []
        assert ref.incarnation == 2


@WHERE
@real
async def test_K12_what_was_set_aside_last_outlives_the_crash_of_a_side_task(
    isolation: Any,
) -> None:
    """Which handled nothing."""
    async with alone(Stasher, isolation=isolation) as (_, ref):
        ref.cast(Do("side"))
        await end_of_first(ref)
        # It comes to the next one, which has set it aside, and so on.
        await next_incarnation(ref, 3)


@WHERE
@real
async def test_the_stash_is_as_large_as_the_mailbox(isolation: Any) -> None:
    async with alone(Stasher, mailbox=4, isolation=isolation) as (_, ref):
        for number in range(6):
            await ref.send(Raised(str(number)))
        exit = await end_of_first(ref)
        assert isinstance(exit, Crashed) and "MailboxFull" in repr(exit)


# -- side tasks


@WHERE
@real
async def test_K19_the_crash_of_a_side_task_is_that_of_the_actor(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        assert await ref.call(Do("side")) == "started"
        exit = await end_of_first(ref)
        assert isinstance(exit, Crashed) and "beside" in str(exit.exception)
        await next_incarnation(ref, 2)
        assert await ref.call(Plus(1)) == 2


@WHERE
@real
async def test_K19_the_crash_of_a_side_task_cancels_the_running_turn(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(ActorDied, match="beside"):
                    await ref.call(Do("wait"), timeout=5)

            await ref.call(Do("side, later"))
            nursery.start_soon(wait)
        await next_incarnation(ref, 2)
