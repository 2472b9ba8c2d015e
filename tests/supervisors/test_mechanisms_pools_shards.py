"""What pools and shards promise, checked once with the mechanism behind it and once without: then
the check fails, so it would notice."""

from __future__ import annotations

from itertools import count
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors import System, open_system
from actors.testing import VirtualClock
from supervisors.pools import pool as pools
from supervisors.pools.jobs import Jobs
from supervisors.pools.policy import Bucket
from supervisors.pools.pool import PoolSupervisor
from supervisors.pools.worker import Worker
from supervisors.sharding import host, router
from supervisors.sharding.host import Entity, ShardHost
from supervisors.sharding.messages import Released
from tests.supervisors.pools import test_pool as in_pools
from tests.supervisors.pools.pool_workers import Log
from tests.supervisors.sharding import test_shards as in_shards
from tests.supervisors.sharding.sharded import Owners

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    Check = Callable[[System, Any], Awaitable[None]]
    Removal = Callable[[pytest.MonkeyPatch], None]

LIMIT = 10_000.0
"""Virtual seconds after which a check that waits for ever has failed."""


def without_handing_over_again(patch: pytest.MonkeyPatch) -> None:
    """What a dead worker had in hand is over."""

    def lost(self: Any, operation: Any, job: Any, error: Any) -> None:
        self._jobs.forget(job)
        self._fail(job, error)

    patch.setattr(PoolSupervisor, "_lost", lost)


def without_its_place_in_the_queue(patch: pytest.MonkeyPatch) -> None:
    def put_back(self: Any, job: Any) -> None:
        job.number += 1_000 * job.attempts
        self.add(job)

    patch.setattr(Jobs, "put_back", put_back)


def without_counting_attempts(patch: pytest.MonkeyPatch) -> None:
    deaths = count()

    def is_to_blame(job: Any, exit: Any) -> bool:
        assert next(deaths) < 100, "it would go on for ever"
        return False

    patch.setattr(pools, "is_to_blame", is_to_blame)


def without_one_at_a_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Worker, "free", property(lambda self: self.up))


def without_recognising_keys(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Jobs, "join", lambda self, key, slot: None)


def without_filling_the_bucket(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Bucket, "ready_at", lambda self, now: now)


def without_counting_what_waits(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PoolSupervisor, "_make_room", lambda self: None)


def without_giving_back(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(PoolSupervisor, "_give_back", lambda self, job: None)


def without_waiting_for_the_old_host(patch: pytest.MonkeyPatch) -> None:
    """A shard counts as released as soon as that is asked for."""

    def at_once(self: Any, shard: int) -> None:
        if shard in self._releasing:
            self._releasing.discard(shard)
            host.send(self._router._place, Released(shard, self._number), None, host.NOWHERE)

    patch.setattr(ShardHost, "_look_whether_released", at_once)


def without_holding_messages(patch: pytest.MonkeyPatch) -> None:
    """What comes for a shard that moves goes to its new host at once."""

    def hand_on(self: Any, message: Any) -> None:
        move = self._moving.get(message.shard)
        place = self._place_of(message.shard) if move is None else move.target.place
        router.calls.pass_on(self._place, place, message)

    patch.setattr(router.ShardRouter, "_hand_on", hand_on)


def without_looking_for_work(patch: pytest.MonkeyPatch) -> None:
    """Whoever was silent for long leaves, whatever it has to do."""
    patch.setattr(Entity, "at_rest", True)


def without_coming_back(patch: pytest.MonkeyPatch) -> None:
    """Whoever has left is forgotten, with what has come meanwhile."""

    def ended(self: Any, entry: Any, exit: Any) -> None:
        place = entry.place.ref._place
        place.mailbox = None
        self._forget(entry)

    patch.setattr(ShardHost, "_ended", ended)


def without_stopping_hosts(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(router.ShardRouter, "_look_whether_done", lambda self: None)


POOLS: list[tuple[Check, Removal]] = [
    (
        in_pools.test_a_message_whose_worker_died_is_handed_to_another,
        without_handing_over_again,
    ),
    (
        in_pools.test_what_is_handed_over_again_comes_before_what_waits,
        without_its_place_in_the_queue,
    ),
    (in_pools.test_poison_is_set_aside_and_can_be_read, without_counting_attempts),
    (in_pools.test_workers_compete_each_with_one_message_at_a_time, without_one_at_a_time),
    (
        in_pools.test_a_message_sent_again_under_its_key_is_not_handled_twice,
        without_recognising_keys,
    ),
    (in_pools.test_a_rate_spreads_what_comes_at_once, without_filling_the_bucket),
    (
        in_pools.test_what_waits_counts_against_the_bound_of_the_mailbox,
        without_counting_what_waits,
    ),
    (in_pools.test_a_stop_lets_workers_finish_and_gives_back_what_waits, without_giving_back),
]
SHARDS: list[tuple[Check, Removal]] = [
    (in_shards.test_no_key_has_two_owners_whatever_happens, without_waiting_for_the_old_host),
    (
        in_shards.test_messages_wait_while_their_shard_moves_and_keep_their_order,
        without_holding_messages,
    ),
    (in_shards.test_who_has_something_to_do_is_not_idle, without_looking_for_work),
    (in_shards.test_passivation_loses_no_message, without_coming_back),
    (in_shards.test_shards_move_and_keys_do_not, without_stopping_hosts),
]
CHECKS = [
    *((check, Log, removal) for check, removal in POOLS),
    *((check, Owners, removal) for check, removal in SHARDS),
]


def holds(check: Check, fixture: Callable[[], Any]) -> None:
    """Run a check in a system of its own."""

    async def main() -> None:
        with trio.fail_after(LIMIT):
            async with open_system(seed=0, watchdog=None) as system:
                await check(system, fixture())

    VirtualClock().run(main)


@pytest.mark.parametrize(
    ("check", "fixture"),
    dict.fromkeys((check, fixture) for check, fixture, _ in CHECKS),
    ids=lambda each: each.__name__,
)
def test_it_holds(check: Check, fixture: Callable[[], Any]) -> None:
    holds(check, fixture)


@pytest.mark.parametrize(
    ("check", "fixture", "removal"), CHECKS, ids=lambda each: getattr(each, "__name__", str(each))
)
def test_and_fails_once_the_mechanism_is_removed(
    check: Check, fixture: Callable[[], Any], removal: Removal, monkeypatch: pytest.MonkeyPatch
) -> None:
    removal(monkeypatch)
    with pytest.raises(BaseException) as caught:
        holds(check, fixture)
    assert not any(isinstance(each, AttributeError) for each in leaves(caught.value))


def leaves(error: BaseException) -> Iterator[BaseException]:
    """The exceptions of a group, and of the groups in it."""
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from leaves(each)
    else:
        yield error
