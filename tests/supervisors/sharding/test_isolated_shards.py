"""Shards spread over processes."""

from __future__ import annotations

import os
import resource
import signal
from typing import Any

import pytest
import trio
import trio.testing

from actors import Actor, ActorDied, Process, handles, open_system
from supervisors import Backoff, Child, GetShards, Resize, Shards
from supervisors.sharding.policy import shard_of_key
from tests.actors.isolation.far_actors import real
from tests.supervisors.sharding.sharded import (
    Account,
    Add,
    Ask,
    Asker,
    Began,
    Doomed,
    Ended,
    Entry,
    Hold,
    Kill,
    KillSoon,
    Note,
    Notes,
    Where,
)

KEYS = [f"key-{number}" for number in range(40)]


class Watcher(Actor):
    """Asserts that no key has two live owners, whichever processes they are in."""

    def __init__(self) -> None:
        self.alive: dict[str, int] = {}
        self.wrong: list[str] = []

    @handles
    def began(self, msg: Began) -> None:
        before = self.alive.get(msg.key)
        if before is not None and is_running(before):
            self.wrong.append(f"{msg.key} lives in {before} and {msg.pid}")
        self.alive[msg.key] = msg.pid

    @handles
    def ended(self, msg: Ended) -> None:
        if self.alive.get(msg.key) == msg.pid:
            del self.alive[msg.key]


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@real
async def test_keys_live_in_their_processes_and_stay_there() -> None:
    async with open_system() as system:
        spec = Shards(Child(Account), key="who", count=16, processes=2)
        shards = await system.start(spec)
        where = {key: (await shards.call(Where(key)))[2] for key in KEYS}
        assert len(set(where.values())) == 2 and os.getpid() not in where.values()
        for key in KEYS:
            shards.cast(Note(key, "one"))
            shards.cast(Note(key, "two"))
        for key in KEYS:
            assert await shards.call(Notes(key)) == ["one", "two"]
            assert (await shards.call(Where(key)))[2] == where[key]


@real
async def test_a_killed_process_takes_its_own_keys_and_they_come_up_again() -> None:
    async with open_system() as system:
        watcher = await system.start(Watcher)
        child = Child(Account, None, watcher, isolation=Process(heartbeat=5.0))
        shards = await system.start(Shards(child, key="who", count=16, processes=2))
        for key in KEYS:
            await shards.call(Add(key))
        victim = KEYS[0]
        host = next(
            each
            for each in (await shards.call(GetShards())).hosts
            if shard_of_key(victim, 16) in each.shards
        )
        try:
            await shards.call(Kill(victim))
        except ActorDied:
            pass
        for key in KEYS:
            lost = shard_of_key(key, 16) in host.shards
            assert await shards.call(Add(key)) == (1 if lost else 2)
        assert watcher._place.actor.wrong == []


@real
async def test_what_waits_behind_a_busy_key_outlives_its_process() -> None:
    async with open_system() as system:
        shards = await system.start(Shards(Child(Account), key="who", count=4, processes=1))
        pid = (await shards.call(Where("a")))[2]
        answers: list[Any] = []

        async def ask(message: Any) -> None:
            try:
                answers.append(await shards.call(message, 10))
            except ActorDied as died:
                answers.append(died)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask, Hold("a", 100))
            await trio.testing.wait_all_tasks_blocked()
            # It is the other key's turn by now: the process has passed on what came before.
            await shards.call(Where("b"))
            shards.cast(Note("a", "kept"))
            nursery.start_soon(ask, Add("a", 5))
            await shards.call(Where("b"))
            os.kill(pid, signal.SIGKILL)
        assert type(answers[0]) is ActorDied
        assert answers[1:] == [5]
        assert await shards.call(Notes("a")) == ["kept"]


@real
async def test_the_error_of_a_killed_process_shows_what_was_sent_and_not_how_it_went() -> None:
    async with open_system() as system:
        shards = await system.start(Shards(Child(Account), key="who", count=4, processes=1))
        with pytest.raises(ActorDied, match=r"before it answered Kill\.") as died:
            await shards.call(Kill("a"), 10)
        assert str(died.value.__cause__).endswith(f"The last message it took: {Kill('a')}")


@real
async def test_only_turns_that_had_begun_end_with_their_process() -> None:
    """Turns that may await begin in tasks of their own: in the order in which they came, or in the
    reverse of it. The one that ends the process is hardly ever the last of four."""
    begun = 0
    async with open_system() as system:
        backoff = Backoff(0.0, 0.0)
        child = Child(Account, backoff=backoff)
        shards = await system.start(Shards(child, key="who", count=4, processes=1))
        for _ in range(6):
            for who in "abcd":
                await shards.call(Add(who))
            pid = (await shards.call(Where("a")))[2]
            ends: dict[str, BaseException | None] = {}

            async def ask(message: Any, ends: dict[str, BaseException | None] = ends) -> None:
                try:
                    await shards.call(message, 10)
                    ends[message.who] = None
                except ActorDied as died:
                    ends[message.who] = died.__cause__

            os.kill(pid, signal.SIGSTOP)
            async with trio.open_nursery() as nursery:
                for message in (Hold("b", 0.2), KillSoon("a"), Hold("c", 0.2), Hold("d", 0.2)):
                    nursery.start_soon(ask, message)
                await trio.testing.wait_all_tasks_blocked()
                os.kill(pid, signal.SIGCONT)
            others = sum(ends[who] is not None for who in "bcd")
            text = f"The last message it took: {KillSoon('a')}"
            if others:
                text += f"; {others} more {'was' if others == 1 else 'were'} in hand."
            assert str(ends["a"]).endswith(text)
            begun += others
    assert begun < 3 * 6


@real
async def test_the_memory_limit_is_that_of_each_process() -> None:
    async with open_system() as system:
        child = Child(Account, isolation="process", memory_limit=512 << 20)
        shards = await system.start(Shards(child, key="who", processes=1))
        pid = (await shards.call(Where("a")))[2]
        assert resource.prlimit(pid, resource.RLIMIT_DATA) == (512 << 20, 512 << 20)


@real
async def test_shards_move_between_processes_and_lose_no_message() -> None:
    async with open_system() as system:
        watcher = await system.start(Watcher)
        child = Child(Account, None, watcher)
        shards = await system.start(Shards(child, key="who", count=8, processes=2))
        answers: dict[str, list[int]] = {key: [] for key in KEYS}
        moving = True

        async def ask(key: str) -> None:
            while moving:
                answers[key].append(await shards.call(Add(key), None))

        async def move() -> None:
            nonlocal moving
            for hosts in (3, 1, 2):
                await shards.call(Resize(hosts), None)
            moving = False

        async with trio.open_nursery() as nursery:
            for key in KEYS[:10]:
                nursery.start_soon(ask, key)
            nursery.start_soon(move)
        for key in KEYS[:10]:
            # An actor counts from 1 to its end, and the next one from 1 again: none is left out.
            for before, after in zip(answers[key], answers[key][1:], strict=False):
                assert after in (before + 1, 1)
        assert watcher._place.actor.wrong == []
        assert len((await shards.call(GetShards())).hosts) == 2


@real
async def test_what_moves_to_another_process_keeps_its_order() -> None:
    """Calls and one-way messages alike, all of them behind a message that takes long."""
    async with open_system() as system:
        shards = await system.start(Shards(Child(Account), key="who", count=8, processes=1))
        keys = KEYS[:8]
        async with trio.open_nursery() as nursery:
            for key in keys:
                nursery.start_soon(shards.call, Hold(key, 0.5), None)
            await trio.testing.wait_all_tasks_blocked()
            for number in range(6):
                for key in keys:
                    if number % 2:
                        nursery.start_soon(shards.call, Entry(key, str(number)), None)
                    else:
                        shards.cast(Note(key, str(number)))
                await trio.testing.wait_all_tasks_blocked()
            await shards.call(Where("other"))
            await shards.call(Resize(2), None)
        for key in keys:
            assert await shards.call(Notes(key)) == list("012345"), key


@real
async def test_what_was_given_back_outlives_the_process_that_did_not_get_to_say_so() -> None:
    async with open_system() as system:
        shards = await system.start(Shards(Child(Doomed), key="who", count=2, processes=1))
        key = next(each for each in KEYS if shard_of_key(each, 2) == 1)
        await shards.call(Entry(key, "doom"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shards.call, Hold(key, 0.3), None)
            await trio.testing.wait_all_tasks_blocked()
            shards.cast(Note(key, "one"))
            nursery.start_soon(shards.call, Entry(key, "two"), None)
            await trio.testing.wait_all_tasks_blocked()
            shards.cast(Note(key, "three"))
            # It is the other key's turn by now: the process has passed on what came before.
            await shards.call(Where("other"))
            await shards.call(Resize(2), None)
        assert await shards.call(Notes(key)) == ["one", "two", "three"]


@real
async def test_the_call_of_an_isolated_actor_moves_between_hosts_that_are_not() -> None:
    async with open_system() as system:
        shards = await system.start(Shards(Child(Account), key="who", count=2))
        asker = await system.start(Child(Asker, isolation="process"))
        key = next(each for each in KEYS if shard_of_key(each, 2) == 1)
        answers: list[int] = []

        async def ask() -> None:
            answers.append(await asker.call(Ask(shards, key), None))

        await ask()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(shards.call, Hold(key, 0.5), None)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(ask)
            await trio.sleep(0.2)
            await shards.call(Resize(2), None)
        assert answers == [1, 1]


@real
async def test_processes_killed_while_shards_move_lose_no_shard() -> None:
    async with open_system() as system:
        watcher = await system.start(Watcher)
        child = Child(Account, None, watcher)
        shards = await system.start(Shards(child, key="who", count=8, processes=3))
        done: list[Any] = []

        async def ask(key: str) -> None:
            for _ in range(60):
                try:
                    done.append(await shards.call(Add(key), None))
                except ActorDied as died:
                    done.append(died)

        async def kill() -> None:
            for hosts in (2, 4, 1, 3):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(shards.call, Resize(hosts), None)
                    pid = (await shards.call(Where(KEYS[hosts]), None))[2]
                    os.kill(pid, signal.SIGKILL)

        async with trio.open_nursery() as nursery:
            for key in KEYS[:10]:
                nursery.start_soon(ask, key)
            nursery.start_soon(kill)
        assert len(done) == 600
        assert watcher._place.actor.wrong == []
        for key in KEYS:
            assert await shards.call(Add(key)) >= 1
