"""Pools in shards, and shards in pools: each keeps what it promises."""

from __future__ import annotations

import os
import signal
from collections import Counter
from typing import Any

import attrs
import pytest
import trio

from actors import Actor, ActorDied, Call, Ref, System, handles, open_system
from supervisors import Backoff, Child, Poisoned, Pool, Resize, Shards
from tests.actors.isolation.far_actors import real


@attrs.frozen
class Ask(Call[int]):
    """Answered with the number, after so many seconds; a negative one ends the process."""

    key: str
    number: int
    seconds: float = 0.0


@attrs.frozen
class PidOf(Call[int]):
    key: str


class Worker(Actor):
    def __init__(self, failures: list[int] | None = None) -> None:
        if failures:
            failures.pop()
            raise OSError("not yet")

    @handles
    async def ask(self, msg: Ask) -> int:
        if msg.number < 0:
            os._exit(3)
        await trio.sleep(msg.seconds)
        return msg.number

    @handles
    def pid(self, msg: PidOf) -> int:
        return os.getpid()


async def asked(shards: Ref[Any], messages: list[Ask], then: Any) -> Counter[str]:
    """How so many calls end, made one after another, when ``then`` has been done."""
    ends: Counter[str] = Counter()

    async def ask(message: Ask) -> None:
        try:
            ends["ok" if await shards.call(message, None) == message.number else "wrong"] += 1
        except Exception as error:
            ends[type(error).__name__] += 1

    async with trio.open_nursery() as nursery:
        for message in messages:
            nursery.start_soon(ask, message)
            await trio.sleep(0.001)
        await then()
    return ends


async def test_what_waits_in_a_pool_moves_with_its_shard(system: System) -> None:
    shards = await system.start(Shards(Pool(Child(Worker), max=1), key="key", count=4))
    messages = [Ask(f"key-{number % 4}", number, 1.0) for number in range(20)]

    async def resize() -> None:
        await shards.call(Resize(3), None)
        await shards.call(Resize(1), None)

    assert await asked(shards, messages, resize) == {"ok": 20}


async def test_a_pool_is_not_idle_while_messages_wait_for_its_first_worker(system: System) -> None:
    child = Child(Worker, [1, 2], backoff=Backoff(1.0, 1.0, jitter=0))
    spec = Shards(Pool(child, min=0, max=2), key="key", count=4, idle=0.2)
    shards = await system.start(spec)
    assert await shards.call(Ask("a", 1), None) == 1


@pytest.mark.parametrize("pooled", [False, True], ids=["actors", "pools"])
@real
async def test_only_what_was_begun_ends_with_the_process_of_its_shard(pooled: bool) -> None:
    child: Any = Pool(Child(Worker), max=1) if pooled else Child(Worker)
    async with open_system() as system:
        shards = await system.start(Shards(child, key="key", count=2, processes=1))
        pid = await shards.call(PidOf("a"))
        messages = [Ask("a", 1, 10.0), *(Ask("a", number) for number in range(2, 6))]

        async def kill() -> None:
            await shards.call(PidOf("b"))  # what was sent before has arrived there
            await trio.sleep(0.05)
            os.kill(pid, signal.SIGKILL)

        assert await asked(shards, messages, kill) == {"ok": 4, ActorDied.__name__: 1}


@real
async def test_a_call_that_is_given_up_leaves_a_pool_in_a_process_as_it_was() -> None:
    """It waits in the pool, and then nobody begins it; what comes after it is handled."""
    async with open_system() as system:
        spec = Shards(Pool(Child(Worker), max=1), key="key", count=1, processes=1)
        shards = await system.start(spec)
        for _ in range(3):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(shards.call, Ask("a", 1, 0.1))
                for _ in range(40):
                    nursery.start_soon(shards.call, Ask("a", 2))
                await trio.sleep(0.05)
                nursery.cancel_scope.cancel()
            assert await shards.call(Ask("a", 3)) == 3
        pid = await shards.call(PidOf("a"))
        os.kill(pid, signal.SIGKILL)
        assert await shards.call(Ask("a", 4)) == 4


@real
async def test_a_message_that_kills_the_hosts_of_a_pools_shards_is_poison() -> None:
    async with open_system() as system:
        shards = Shards(Child(Worker), key="key", count=4, processes=2)
        pool = await system.start(Pool(shards, max=1, attempts=2))
        with pytest.raises(Poisoned, match="exit code 3"):
            await pool.call(Ask("a", -1), 10)
        assert await pool.call(Ask("a", 7), 10) == 7
