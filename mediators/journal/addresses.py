"""How shards divide the numbers of a journal, and what a record's checksum is."""

from __future__ import annotations

from struct import Struct
from zlib import crc32

_BITS = 40
_pack = Struct("<QQ").pack


def span_of(shard: int) -> tuple[int, int]:
    """The first address of a shard, and the first that is no longer its own."""
    return shard << _BITS, (shard + 1) << _BITS


def shard_of(address: int) -> int:
    """The shard an address, or a run's number, belongs to."""
    return address >> _BITS


def position_of(address: int) -> int:
    """An address without its shard."""
    return address & ((1 << _BITS) - 1)


def checksum(number: int, seq: int, data: bytes) -> int:
    """What is written beside a record: it tells a record that was changed, or that stands in
    another's place."""
    return crc32(data, crc32(_pack(number, seq)))


def check_shard(shard: int) -> None:
    """Raises ValueError for what is no shard's number."""
    if not 0 <= shard < 1 << 22:
        raise ValueError(f"A shard is a number from 0 to {(1 << 22) - 1}. Got: {shard!r}")


def check_number(shard: int, number: int) -> None:
    """Raises ValueError for a run's number that belongs to another shard."""
    if shard_of(number) != shard:
        raise ValueError(
            f"Run {number} belongs to shard {shard_of(number)}: it is not written to shard {shard}."
        )
