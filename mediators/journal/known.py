"""Which ids a journal may know: a Bloom filter, so that a new id costs no look into the file.

Every start asks whether its id is taken; nearly always it is not. The look-up took a tenth of the
time of a short workflow.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

BITS_EACH = 16
"""Bits for each id: with three probes one unknown id in two hundred is looked up in vain."""
FEWEST = 1 << 21


class Known:
    """Says of an id that it is certainly not known, or that it may be."""

    __slots__ = ("_bits", "_mask")

    def __init__(self, ids: Iterable[str], count: int) -> None:
        size = FEWEST
        while size < 2 * BITS_EACH * count:
            size *= 2
        self._mask = size - 1
        self._bits = bytearray(size >> 3)
        for id in ids:
            self.add(id)

    @classmethod
    def everything(cls) -> Known:
        """One that says of every id that it may be known."""
        known = cls((), 0)
        known._bits = bytearray(b"\xff") * len(known._bits)
        return known

    def add(self, id: str) -> None:
        """It is known from now on. There is no way back: what is removed may be known."""
        bits, mask, drawn = self._bits, self._mask, hash(id)
        for probe in (drawn & mask, (drawn >> 20) & mask, (drawn >> 40) & mask):
            bits[probe >> 3] |= 1 << (probe & 7)

    def may_know(self, id: str) -> bool:
        """False: it is certainly not known."""
        bits, mask, drawn = self._bits, self._mask, hash(id)
        first, second, third = drawn & mask, (drawn >> 20) & mask, (drawn >> 40) & mask
        return bool(
            bits[first >> 3] >> (first & 7)
            & bits[second >> 3] >> (second & 7)
            & bits[third >> 3] >> (third & 7)
            & 1
        )
