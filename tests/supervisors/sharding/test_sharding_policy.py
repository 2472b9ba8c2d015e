"""Where keys belong, and which shards move."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from supervisors.sharding.policy import moves, shard_of_key, spread, stretches


def test_the_shard_of_a_key_is_the_same_for_ever() -> None:
    """Fixed on disk and between processes: these numbers may never change."""
    assert [shard_of_key(key, 64) for key in ("alice", "bob", "", "ünï", "order-17", 17, "17")] == [
        7,
        0,
        0,
        42,
        20,
        2,
        2,
    ]


@given(st.integers(2, 300))
def test_keys_are_spread_over_all_shards(count: int) -> None:
    found = Counter(shard_of_key(f"order-{number}", count) for number in range(count * 60))
    assert len(found) == count
    assert max(found.values()) < 60 * 2.5


@given(st.integers(1, 200), st.integers(1, 40))
def test_a_new_table_is_even(count: int, hosts: int) -> None:
    table = spread(count, min(hosts, count))
    assert len(table) == count
    sizes = Counter(table)
    assert len(sizes) == min(hosts, count)
    assert max(sizes.values()) - min(sizes.values()) <= 1


@given(st.lists(st.integers(0, 9), min_size=1, max_size=100), st.integers(1, 12))
def test_after_the_moves_hosts_are_even_and_no_shard_has_moved_that_need_not(
    table: list[int], hosts: int
) -> None:
    moved = moves(table, hosts)
    after = [moved.get(shard, host) for shard, host in enumerate(table)]
    sizes = Counter(dict.fromkeys(range(hosts), 0))
    sizes.update(after)
    assert set(sizes) == set(range(hosts))
    assert max(sizes.values()) - min(sizes.values()) <= 1
    assert all(table[shard] != host for shard, host in moved.items())
    # Every move is one out of a host that has too many, or that is no more.
    before = Counter(table)
    least, more = divmod(len(table), hosts)
    surplus = sum(before[host] for host in before if host >= hosts)
    order = sorted((before[host] for host in range(hosts)), reverse=True)
    surplus += sum(max(0, size - least - (rank < more)) for rank, size in enumerate(order))
    assert len(moved) == surplus


def test_nothing_moves_where_nothing_has_to() -> None:
    table = spread(64, 4)
    assert moves(table, 4) == {}
    assert len(moves(table, 5)) == 12
    assert len(moves(table, 3)) == 16


def test_shards_are_told_by_their_stretches() -> None:
    assert stretches(()) == "no shards"
    assert stretches((5,)) == "shards 5"
    assert stretches((0, 1, 2, 3)) == "shards 0-3"
    assert stretches((0, 1, 4, 6, 7)) == "shards 0-1, 4, 6-7"
