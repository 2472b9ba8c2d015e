"""Stopping and restarting, here and in a process of its own."""

from __future__ import annotations

from typing import Any

import pytest
import trio

from actors import (
    ActorDied,
    Crashed,
    Exit,
    Killed,
    Normal,
    NoSuchActor,
    Process,
    Shutdown,
    StartFailed,
    handles,
    open_system,
)
from supervisors import (
    Child,
    one_for_one,
)
from tests.actors.isolation.far_actors import Fail, Note, Notes, Plus
from tests.actors.isolation.in_forks.across_actors import (
    Do,
    Doer,
    DoIt,
    Keeper,
)
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.places import (
    WHERE,
    alone,
    named,
    next_incarnation,
    notes,
    until,
)

# -- stopping and restarting


@WHERE
@real
async def test_K16_an_actor_may_stop_itself(isolation: Any) -> None:
    async with open_system() as system:
        witness = await system.start(Keeper)
        child = Child(Doer, witness, isolation=isolation, restart="transient")
        ref = await system.start(child)
        assert await ref.call(Do("stop myself")) == "stopping"
        assert await ref.wait() == Normal()
        assert await notes(witness) == [f"{ref.id} stopped: Normal"]
        with pytest.raises(NoSuchActor):
            await ref.call(Plus(1))


@WHERE
@real
async def test_K16_an_actor_may_stop_itself_with_a_reason(isolation: Any) -> None:
    async with alone(Doer, restart="transient", isolation=isolation) as (_, ref):
        await ref.call(Do("stop myself", number=1))
        assert await ref.wait() == Shutdown("enough")
        await until(lambda: ref.state == "stopped")


@WHERE
@real
async def test_K16_queued_messages_are_the_next_ones_when_an_actor_stops_itself(
    isolation: Any,
) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        ref.cast(DoIt("stop"))
        for number in range(5):
            ref.cast(Note(str(number)))
        await next_incarnation(ref, 2)
        assert await ref.call(Notes()) == [str(number) for number in range(5)]


ENDS = [
    ("permanent", "Normal", True),
    ("permanent", "Shutdown", True),
    ("permanent", "Crashed", True),
    ("permanent", "Killed", True),
    ("transient", "Normal", False),
    ("transient", "Shutdown", False),
    ("transient", "Crashed", True),
    ("transient", "Killed", True),
    ("temporary", "Normal", False),
    ("temporary", "Crashed", False),
    ("temporary", "Killed", False),
]


@WHERE
@pytest.mark.parametrize(("restart", "end", "again"), ENDS)
@real
async def test_which_ends_are_answered_by_a_restart(
    restart: Any, end: str, again: bool, isolation: Any
) -> None:
    async with alone(Doer, restart=restart, isolation=isolation) as (_, ref):
        match end:
            case "Normal":
                await ref.call(Do("stop myself"))
            case "Shutdown":
                await ref.call(Do("stop myself", number=1))
            case "Crashed":
                with pytest.raises(ActorDied):
                    await ref.call(Fail("raise"))
            case "Killed":
                await ref.stop(Killed())
        if again:
            await next_incarnation(ref, 2)
            assert await ref.call(Plus(1)) == 2
        else:
            await until(lambda: ref.state in ("stopped", "gone"))
            with pytest.raises(NoSuchActor):
                await ref.call(Plus(1))


@WHERE
@real
async def test_an_exception_in_on_stop_is_the_exit(isolation: Any) -> None:
    async with alone(Doer, None, "bad end", restart="temporary", isolation=isolation) as (_, ref):
        await ref.stop()
        exit = await ref.wait()
        assert isinstance(exit, Crashed) and "even at the end" in str(exit.exception)


@WHERE
@real
async def test_a_stop_while_it_starts_is_no_crash(isolation: Any) -> None:
    async with open_system() as system, trio.open_nursery() as nursery:

        async def start() -> None:
            with pytest.raises((StartFailed, trio.Cancelled, NoSuchActor)):
                await system.start(Child(Doer, isolation=isolation))
                raise NoSuchActor("It was up.")

        nursery.start_soon(start)
        await until(lambda: any(True for _ in system.root.places))
    assert not system.root.places


@WHERE
@real
async def test_last_words_are_heard(isolation: Any) -> None:
    """What ``on_stop`` casts as the very last thing: repeated, since trio draws the order."""
    async with open_system() as system:
        keeper = await system.start(Keeper)
        for number in range(1, 21):
            child = Child(Doer, keeper, isolation=isolation, restart="temporary", id="it")
            ref = await system.start(child)
            if number % 3 == 0:
                await ref.stop()
            else:
                with pytest.raises(ActorDied):
                    await ref.call(Fail("raise"))
            with trio.fail_after(2):
                await notes(keeper, number)


@real
async def test_last_words_that_nobody_takes_hold_up_no_end() -> None:
    """Whoever was spoken to takes nothing, for ever; the actor has ended all the same."""
    from actors import introspection

    class Caster(Doer):
        @handles
        def do_it(self, msg: DoIt) -> None:
            for number in range(100):
                self.say(str(number))
            self.stop()

    async with open_system() as system:
        keeper = await system.start(Keeper)
        await introspection.suspend(keeper)
        child = Child(Caster, keeper, name="it", isolation=Process(window=4))
        await system.start(one_for_one(child, id="tree"))
        ref = named(system, "it")
        ref.cast(DoIt("stop"))
        with trio.fail_after(8):
            await next_incarnation(ref, 2)
        assert await ref.call(Plus(1)) == 2


@pytest.mark.parametrize("how", ["stop", "raise"])
@real
async def test_last_words_are_heard_though_they_are_many(how: str) -> None:
    """More of them than may be on their way at once."""

    class Verbose(Doer):
        async def on_stop(self, exit: Exit) -> None:
            for number in range(40):
                self.say(str(number))

    async with open_system() as system:
        keeper = await system.start(Keeper)
        isolation = Process(window=4)
        ref = await system.start(
            Child(Verbose, keeper, isolation=isolation, restart="temporary", shutdown=1.0)
        )
        if how == "stop":
            await ref.stop()
        else:
            with pytest.raises(ActorDied):
                await ref.call(Fail("raise"))
        with trio.fail_after(2):
            assert await notes(keeper, 40) == [str(number) for number in range(40)]
