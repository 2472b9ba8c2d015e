"""Kinds of actors, and how they come up, here and in a process of their own."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from actors import (
    Actor,
    ActorDied,
    Crashed,
    StartFailed,
    Unhandled,
    handles,
    open_system,
)
from supervisors import (
    Child,
    DynamicSupervisor,
    StartChild,
    WhichChildren,
)
from tests.actors.isolation.far_actors import Fail, NoStart, Notes, Plus
from tests.actors.isolation.in_forks.across_actors import (
    Coin,
    Do,
    Doer,
    Keeper,
    Layered,
    LayeredLater,
    No,
    Nobody,
    NobodyEither,
    Push,
    ReadyOnce,
    Turnstile,
    busy,
)
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.places import (
    WHERE,
    alone,
    next_incarnation,
    notes,
    stopped_when_up,
    until,
)

# -- kinds of actors


@WHERE
@real
async def test_a_state_machine(isolation: Any) -> None:
    async with alone(Turnstile, isolation=isolation) as (_, ref):
        assert await ref.call(Push()) == "locked"
        assert await ref.call(Coin()) == "thank you"
        assert await ref.call(Push()) == "go through"
        assert await ref.call(Coin()) == "thank you"
        assert await ref.call(Coin()) == "too kind"
        # The state timeout locks it again.
        assert (await notes(ref, 5))[-3:] == ["open>locked", "locked>open", "open>locked"]
        with pytest.raises(Unhandled):
            await ref.call(Nobody())


@WHERE
@real
async def test_what_a_state_machine_has_postponed_is_answered_by_the_next_state(
    isolation: Any,
) -> None:
    async with alone(Turnstile, True, isolation=isolation) as (_, ref):
        answers: list[str] = []

        async def push() -> None:
            answers.append(await ref.call(Push()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(push)
            await notes(ref)
            assert await ref.call(Coin()) == "thank you"
        assert answers == ["go through"]


@WHERE
@real
async def test_what_a_state_machine_has_postponed_outlives_it(isolation: Any) -> None:
    async with alone(Turnstile, True, isolation=isolation) as (_, ref):
        answers: list[str] = []

        async def push() -> None:
            answers.append(await ref.call(Push()))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(push)
            await notes(ref)
            with pytest.raises(ActorDied):
                await ref.call(Fail("raise"))
            await next_incarnation(ref, 2)
            assert await ref.call(Coin()) == "thank you"
        assert answers == ["go through"]


@WHERE
@real
async def test_K20_middleware_stands_around_the_handlers(isolation: Any) -> None:
    async with alone(Layered, isolation=isolation) as (_, ref):
        assert await ref.call(Plus(10)) == 22
        with pytest.raises(No):
            await ref.call(Plus(2000))
        assert ref.incarnation == 1
        with pytest.raises(Unhandled):
            await ref.call(Nobody())


@WHERE
@real
async def test_K20_middleware_of_the_instance_makes_other_messages_of_them(isolation: Any) -> None:
    """A message that the class has no handler for is its middleware's all the same."""
    async with alone(LayeredLater, isolation=isolation) as (_, ref):
        assert await ref.call(Plus(10)) == 22
        assert await ref.call(Nobody()) == 82
        ref.cast(NobodyEither())
        assert await ref.call(Notes()) == ["translated"]


# -- starting


@WHERE
@pytest.mark.parametrize("how", ["call", "cast", "side"])
@real
async def test_K15_on_start_may_speak_to_others(how: str, isolation: Any) -> None:
    async with open_system() as system:
        keeper = await system.start(Keeper)
        ref = await system.start(Child(Doer, keeper, how, isolation=isolation))
        assert await ref.call(Plus(1)) == 2
        assert await ref.call(Notes()) == (["101"] if how == "call" else [])
        assert ref.incarnation == 1
        if how == "cast":
            assert await notes(keeper) == [f"{ref.path} starts"]


@WHERE
@real
async def test_the_ref_that_an_actor_gives_away_in_on_start_is_its_own(isolation: Any) -> None:
    async with open_system() as system:
        keeper = await system.start(Keeper)
        ref = await system.start(Child(Doer, keeper, "own ref", isolation=isolation))
        assert keeper._place.actor.refs == [ref]
        assert await keeper._place.actor.refs[0].call(Plus(2)) == 3


@WHERE
@pytest.mark.parametrize("how", ["raise", "self.stop"])
@real
async def test_K15_the_end_in_on_ready_is_that_of_an_actor_that_was_up(
    how: str, isolation: Any, tmp_path: Path
) -> None:
    """Repeated, since it depends on what comes in one packet."""
    for number in range(8):
        path = str(tmp_path / str(number))
        async with alone(ReadyOnce, how, path, isolation=isolation) as (_, ref):
            with trio.fail_after(3):
                await next_incarnation(ref, 2)
            assert await ref.call(Plus(7)) == 7


@real
async def test_the_death_of_a_process_in_on_ready_is_that_of_an_actor_that_was_up(
    tmp_path: Path,
) -> None:
    for number in range(4):
        path = str(tmp_path / str(number))
        async with alone(ReadyOnce, "exit", path, isolation="process") as (_, ref):
            with trio.fail_after(3):
                await next_incarnation(ref, 2)
            assert await ref.call(Plus(7)) == 7


@real
async def test_a_death_right_after_the_start_is_noticed_by_a_process_that_was_busy() -> None:
    """That it was up and that it has ended are heard of in one go."""
    async with open_system() as system:
        supervisor = await system.start(Child(DynamicSupervisor, restart="temporary"))

        async def start() -> None:
            with pytest.raises(StartFailed):
                # Or it was up; then there is somebody to be restarted.
                await supervisor.call(StartChild(Child(Doomed, isolation="process")))
                raise StartFailed("It was up.")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(start)
            for _ in range(3):
                await trio.sleep(0)
            busy(0.4)
        for info in await supervisor.call(WhichChildren()):
            with trio.fail_after(3):
                assert isinstance(await info.ref.wait(), Crashed)


@real
async def test_who_declines_to_run_keeps_nobody_waiting_who_was_busy() -> None:
    """That it declines, and that its process has ended, are heard of in one go."""
    async with open_system() as system:
        for _ in range(4):
            states: list[str] = []

            async def start(states: list[str] = states) -> None:
                ref = await system.start(Child(NoStart, "decline", isolation="process"))
                states.append(ref.state)

            with trio.fail_after(5):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(start)
                    for _ in range(6):
                        await trio.lowlevel.checkpoint()
                    busy(0.15)
            assert states == ["gone"]


@real
async def test_a_stop_during_the_start_keeps_nobody_waiting_who_was_busy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is told to end, has come up, and has ended: all of it is heard of in one go."""
    # Busy until its process has heeded SIGTERM.
    places = stopped_when_up(monkeypatch, 0.1)
    async with open_system() as system:
        for _ in range(8):
            child = Child(Doer, isolation="process", restart="temporary")
            with trio.fail_after(5):
                with suppress(StartFailed):
                    await system.start(child)
                await until(lambda: not places[-1].running)


class Doomed(Actor):
    """Dies a moment after it has come up."""

    def on_ready(self) -> None:
        self.after(0.05, Fail("kill"))

    @handles
    def fail(self, msg: Fail) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


@WHERE
@real
async def test_who_an_actor_is(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        said = await ref.call(Do("who"))
        assert said == "/one_for_one/Doer it 1 <Ref one_for_one /one_for_one>"
