"""What jobs of the works over processes compute: some milliseconds of plain Python."""

from __future__ import annotations

import zlib

ROUNDS = 80_000


def compute(seed: int, rounds: int = ROUNDS) -> int:
    """A number that takes its time."""
    for _ in range(rounds):
        seed = zlib.crc32(seed.to_bytes(4, "little"))
    return seed
