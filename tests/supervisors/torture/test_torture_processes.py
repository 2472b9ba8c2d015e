"""Worker processes are killed at random while they are at work; nothing is lost, nothing is left.

A few seconds each; a minute with ``--torture``. The operating system is asked what was done and
who was there: files that are written before the answer, and locks that end with their process.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio

from actors import ActorDied, Process, open_system
from mediators import Start, WorkflowEnded
from supervisors import (
    Child,
    GetPoison,
    GetPool,
    GetShards,
    Poisoned,
    Pool,
    Resize,
    Shards,
    StillMoving,
)
from supervisors.pools.policy import MAX_PREFETCH
from tests.actors.isolation.conftest import children, descriptors
from tests.supervisors.torture.hands import Forge, Lay, Office, Owner, Put, Saga, Smith
from tests.supervisors.torture.killer import Killer

PATIENCE = 60.0
ATTEMPTS = 4
QUICK = Process(heartbeat=0.5)


@pytest.fixture
def seconds(request: pytest.FixtureRequest) -> float:
    """How long the killer goes round."""
    return 60.0 if request.config.getoption("--torture") else 3.0


def run(main: Any, seconds: float) -> None:
    """Run it under trio; whatever it leaves is a failure."""
    before = descriptors(), children()

    async def bounded() -> None:
        with trio.fail_after(seconds + PATIENCE):
            await main()

    trio.run(bounded)
    assert (descriptors(), children()) == before


def lines(path: Path) -> list[str]:
    """What was written down; no line is torn."""
    return path.read_text("ascii").splitlines()


@pytest.mark.parametrize("seed", [1, 2])
def test_of_a_pools_messages_each_is_done_or_poison(
    tmp_path: Path, seconds: float, seed: int
) -> None:
    log = tmp_path / "done.log"
    killer = Killer(Random(seed))
    answered: Counter[int] = Counter()
    poisoned: Counter[int] = Counter()
    laid: list[int] = []
    sent = 0
    over = False

    async def customer(pool: Any) -> None:
        nonlocal sent
        while not over:
            sent += 1
            number = sent
            if number % 7 == 0:
                pool.cast(Lay(number))
                laid.append(number)
            try:
                answered[await pool.call(Forge(-number, evil=number % 400 == 0), timeout=None)] += 1
            except Poisoned as error:
                assert error.attempts == ATTEMPTS
                poisoned[-number] += 1

    async def main() -> None:
        nonlocal over
        async with open_system(seed=seed) as system:
            killer.follow(system)
            smith = Child(Smith, str(log), isolation=QUICK)
            pool = await system.start(Pool(smith, min=2, max=3, attempts=ATTEMPTS))
            async with trio.open_nursery() as nursery:
                for _ in range(30):
                    nursery.start_soon(customer, pool)
                await killer.go_round(seconds)
                over = True
            while (info := await pool.call(GetPool())).waiting or info.running:
                await trio.sleep(0.01)
            done = Counter(map(int, lines(log)))
            listed = await pool.call(GetPoison())
            set_aside = {each.message.number for each in listed}
            assert info.poisoned == len(listed)

            # Each call had one answer, and what was answered was done.
            assert answered + poisoned == Counter(range(-sent, 0))
            assert all(done[number] for number in answered)
            # Each message that nobody waited for was done, or is in the list.
            assert {each for each in laid if not done[each]} <= set_aside
            assert set(poisoned) == {each for each in set_aside if each < 0}
            # Done more than once was at most what the dead had in hand.
            again = sum(done.values()) - len(done)
            assert again <= info.replaced * MAX_PREFETCH
            assert {-each for each in range(400, sent + 1, 400)} <= set(poisoned)

    run(main, seconds)
    assert len(killer.killed) > 3
    assert {"SIGKILL", "SIGSEGV"} <= set(killer.ended)


@pytest.mark.parametrize("seed", [1, 2])
def test_no_key_has_two_live_owners(tmp_path: Path, seconds: float, seed: int) -> None:
    killer = Killer(Random(seed))
    acknowledged: dict[str, int] = {}
    over = False

    async def customer(shards: Any, key: str) -> None:
        number = 0
        while not over:
            number += 1
            while True:
                try:
                    assert await shards.call(Put(key, number), timeout=None) == number
                    break
                except ActorDied:
                    continue  # nobody knows whether it was done: it is sent again
            acknowledged[key] = number
            await trio.sleep(killer.random.expovariate(200))

    async def move(shards: Any) -> None:
        while not over:
            try:
                await shards.call(Resize(killer.random.randint(2, 5)), timeout=None)
            except StillMoving:
                pass
            await trio.sleep(0.3)

    async def main() -> None:
        nonlocal over
        async with open_system(seed=seed) as system:
            killer.follow(system)
            owner = Child(Owner, str(tmp_path), isolation=QUICK)
            spec = Shards(owner, key="key", count=8, processes=4, idle=0.05)
            shards = await system.start(spec)
            async with trio.open_nursery() as nursery:
                for number in range(24):
                    nursery.start_soon(customer, shards, f"key-{number}")
                nursery.start_soon(move, shards)
                await killer.go_round(seconds)
                over = True
            info = await shards.call(GetShards())
            assert sorted(each for host in info.hosts for each in host.shards) == list(range(8))

    run(main, seconds)
    assert not (tmp_path / "two-owners").exists()
    assert len(acknowledged) == 24
    for key, last in acknowledged.items():
        # All of it, in its order, and again only what was sent again.
        found = [int(each) for each in lines(tmp_path / f"{key}.log")]
        assert found == sorted(found)
        assert set(found) == set(range(1, last + 1))
    assert len(killer.killed) > seconds


@pytest.mark.parametrize("seed", [1, 2])
def test_sagas_in_shards_go_on(tmp_path: Path, seconds: float, seed: int) -> None:
    killer = Killer(Random(seed))
    results: dict[str, str] = {}
    over = False

    async def customer(office: Any, number: int) -> None:
        count = 0
        while not over:
            count += 1
            saga = f"saga-{number}-{count}"
            while saga not in results:
                try:
                    handle = await office.call(Start(Saga(saga)), timeout=None)
                    results[saga] = await handle.result()
                except (ActorDied, WorkflowEnded) as error:
                    assert isinstance(error, ActorDied), error

    async def main() -> None:
        nonlocal over
        async with open_system(seed=seed) as system:
            killer.follow(system)
            child = Child(Office, str(tmp_path), isolation=QUICK)
            # Each host that dies again and again comes up ever more slowly: so there are more.
            office = await system.start(Shards(child, count=8, processes=4))
            async with trio.open_nursery() as nursery:
                for number in range(40):
                    nursery.start_soon(customer, office, number)
                await killer.go_round(seconds)
                over = True

    run(main, seconds)
    noted = Counter(lines(tmp_path / "notes.log"))
    assert results
    for saga, result in results.items():
        steps = [f"{saga}.{step}" for step in range(3)]
        assert result == " ".join(steps)
        assert all(noted[step] for step in steps)
    assert {each.rpartition(".")[0] for each in noted} == set(results)
    assert len(killer.killed) > seconds
