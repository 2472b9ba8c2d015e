"""Where a key belongs, and which shards move when the number of hosts changes: pure functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias
from zlib import crc32

if TYPE_CHECKING:
    from collections.abc import Sequence

Key: TypeAlias = "str | int"


def shard_of_key(key: Key, count: int) -> int:
    """The shard of a key, the same for ever, in every process and in every language that has
    CRC-32: of the key's text in UTF-8."""
    return crc32(str(key).encode("utf-8", "surrogatepass")) % count


def spread(count: int, hosts: int) -> list[int]:
    """A table from nothing: each host has a stretch of shards, none more than one shard more."""
    return [shard * hosts // count for shard in range(count)]


def moves(table: Sequence[int], hosts: int) -> dict[int, int]:
    """Which shards move to which host so that ``hosts`` of them, numbered from 0, have the same
    number of shards, give or take one. No shard moves that need not."""
    owned: list[list[int]] = [[] for _ in range(hosts)]
    homeless: list[int] = []
    for shard, host in enumerate(table):
        (owned[host] if host < hosts else homeless).append(shard)
    least, more = divmod(len(table), hosts)
    # Those that have most already keep the one that is over.
    order = sorted(range(hosts), key=lambda host: -len(owned[host]))
    room = {host: least + (rank < more) for rank, host in enumerate(order)}
    for host in range(hosts):
        while len(owned[host]) > room[host]:
            homeless.append(owned[host].pop())
    found: dict[int, int] = {}
    for host in range(hosts):
        while len(owned[host]) < room[host]:
            shard = homeless.pop()
            owned[host].append(shard)
            found[shard] = host
    return found


def stretches(shards: Sequence[int]) -> str:
    """Shards in words, in order: ``shards 0-3, 7``."""
    found: list[list[int]] = []
    for shard in shards:
        if found and found[-1][-1] == shard - 1:
            found[-1][1:] = [shard]
        else:
            found.append([shard])
    if not found:
        return "no shards"
    return "shards " + ", ".join("-".join(map(str, each)) for each in found)
