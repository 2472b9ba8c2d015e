"""Pools of workers in processes of their own."""

from __future__ import annotations

import os
import signal
from typing import Any

import attrs
import pytest
import trio

from actors import Actor, Call, NoSuchActor, Process, handles, open_system
from supervisors import Child, GetPoison, GetPool, Poisoned, Pool, SetSize
from tests.actors.isolation.far_actors import Fail, Far, Note, Notes, Pid, Plus, real

FAR = Child(Far, isolation="process")


@real
async def test_workers_are_processes_of_their_own() -> None:
    async with open_system() as system:
        pool = await system.start(Pool(FAR, min=2, max=2))
        async with trio.open_nursery() as nursery:
            pids: set[int] = set()

            async def ask() -> None:
                pids.add(await pool.call(Pid()))

            while len(pids) < 2:
                for _ in range(10):
                    nursery.start_soon(ask)
                await trio.lowlevel.checkpoint()
        assert os.getpid() not in pids


@pytest.mark.parametrize("how", ["segfault", "exit", "kill", "raise"])
@real
async def test_what_kills_its_workers_is_set_aside_and_nothing_else(how: str) -> None:
    async with open_system() as system:
        pool = await system.start(Pool(FAR, min=2, max=2, attempts=2))
        results: list[Any] = []

        async def ask(message: Any) -> None:
            try:
                results.append(await pool.call(message))
            except Poisoned as poisoned:
                results.append(poisoned.operation)

        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(ask, Fail(how) if number == 20 else Plus(1))
        assert results.count("Fail") == 1
        assert len([each for each in results if isinstance(each, int)]) == 59
        assert [each.message for each in await pool.call(GetPoison())] == [Fail(how)]


@attrs.frozen
class Try(Call[int]):
    """Answered by the third attempt."""


class Third(Actor):
    """Its process ends at the first two."""

    @handles
    def ask(self, msg: Try) -> int:
        if self.envelope.attempt < 3:
            os._exit(1)
        return self.envelope.attempt


@real
async def test_a_worker_is_told_which_attempt_it_makes() -> None:
    async with open_system() as system:
        pool = await system.start(Pool(Child(Third, isolation="process"), min=1, max=1))
        assert await pool.call(Try()) == 3


@real
async def test_messages_handed_over_ahead_are_not_lost_with_their_worker() -> None:
    async with open_system() as system:
        pool = await system.start(Pool(FAR, min=1, max=1))
        done = 0

        async def ask() -> None:
            nonlocal done
            for _ in range(200):
                await pool.call(Plus(1))
                done += 1

        async def kill() -> None:
            for _ in range(5):
                os.kill(await pool.call(Pid()), signal.SIGKILL)

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
            nursery.start_soon(kill)
        assert done == 4000
        info = await pool.call(GetPool())
        assert (info.replaced, info.poisoned) == (5, 0)


@real
async def test_one_way_messages_survive_their_workers_as_well() -> None:
    async with open_system() as system:
        pool = await system.start(Pool(FAR, min=1, max=1))
        for number in range(50):
            pool.cast(Note(str(number)))
        assert len(await pool.call(Notes())) == 50


@real
async def test_a_one_way_message_that_cannot_be_sent_to_a_worker_has_failed() -> None:
    async with open_system() as system:
        pool = await system.start(Pool(FAR, min=1, max=1))
        note: Any = lambda: "not data"  # noqa: E731
        pool.cast(Note(note))
        await pool.call(Plus(1))
        operations = {each.operation: each for each in (await pool.call(GetPool())).operations}
        assert (operations["Note"].failed, operations["Note"].done) == (1, 0)
        assert (operations["Plus"].failed, operations["Plus"].done) == (0, 1)


@real
async def test_a_hanging_worker_is_replaced_and_its_message_handled_again() -> None:
    child = Child(Far, isolation=Process(heartbeat=0.4))
    async with open_system() as system:
        pool = await system.start(Pool(child, min=1, max=1, attempts=2))
        with pytest.raises(Poisoned, match="gave no sign of life"):
            await pool.call(Fail("loop"), timeout=None)
        assert await pool.call(Plus(1)) == 1


@real
async def test_stopping_gives_back_what_was_not_begun() -> None:
    async with open_system() as system:
        pool = await system.start(Pool(FAR, min=1, max=1, restart="temporary"))
        results: list[Any] = []

        async def ask() -> None:
            try:
                results.append(await pool.call(Plus(1), None))
            except NoSuchActor as error:
                results.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(ask)
            nursery.start_soon(pool.stop)
        assert len(results) == 300
        answered = [each for each in results if isinstance(each, int)]
        assert sorted(answered) == list(range(1, len(answered) + 1))


@real
async def test_workers_above_the_most_leave_and_lose_nothing() -> None:
    async with open_system() as system:
        pool = await system.start(Pool(FAR, min=3, max=3))
        done = 0

        async def ask() -> None:
            nonlocal done
            for _ in range(200):
                await pool.call(Plus(1))
                done += 1

        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(ask)
            while done < 500:
                await trio.lowlevel.checkpoint()
            await pool.call(SetSize(1, 1))
            while len((await pool.call(GetPool())).workers) > 1:
                await trio.sleep(0.001)
            assert done < 4000
        assert done == 4000
        assert (await pool.call(GetPool())).replaced == 0
