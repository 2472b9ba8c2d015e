"""Limits: how much may come out of an archive, and the meter that watches it coming."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

import attrs

from examples.file_pipeline.unreadable import Bomb

if TYPE_CHECKING:
    from collections.abc import Sequence

HARMLESS = 1 << 20
"""Bytes up to which nobody asks how much smaller they were before."""


@attrs.frozen
class Limits:
    """What one archive may be: how many ``members``, ``bytes`` of all of them and ``member_bytes``
    of each, how many times its own size (``ratio``), and in how many others it may lie (``depth``).
    """

    members: int = 10_000
    bytes: int = 1 << 30
    ratio: int = 200
    depth: int = 4
    member_bytes: int = 256 << 20


@attrs.frozen
class Room:
    """What may come out of a file all in all, archives in archives included: ``files`` and
    ``bytes``."""

    files: int = 100_000
    bytes: int = 4 << 30

    def limits(self) -> Limits:
        """What an archive may be that has this room."""
        usual = Limits()
        return Limits(min(usual.members, self.files), min(usual.bytes, self.bytes))

    def shared(self, sizes: Sequence[int]) -> list[Room]:
        """The room of each member, of these sizes, of an archive that has this room: the same
        number of files, and bytes as it has itself."""
        files = max(0, self.files - len(sizes)) // max(1, len(sizes))
        left, total = max(0, self.bytes - sum(sizes)), max(1, sum(sizes))
        return [Room(files, max(HARMLESS, left * size // total)) for size in sizes]


@attrs.define
class Meter:
    """Counts what comes out of an archive of ``compressed`` bytes, and raises Bomb when it is too
    much. It counts what has come, and believes nothing that the archive says."""

    limits: Limits
    compressed: int
    members: int = 0
    bytes: int = 0
    member_bytes: int = 0

    def next_member(self) -> None:
        """A member begins."""
        self.members += 1
        self.member_bytes = 0
        if self.members > self.limits.members:
            raise Bomb(f"an archive may have {self.limits.members:,} members. Got: more")

    def add(self, size: int) -> None:
        """So many bytes of the member at hand have come."""
        self.member_bytes += size
        if self.member_bytes > self.limits.member_bytes:
            most = self.limits.member_bytes
            raise Bomb(f"a member may have {most:,} bytes. Got: {self.member_bytes:,} or more")
        self.add_unnamed(size)

    def add_unnamed(self, size: int) -> None:
        """So many bytes have come that belong to no member, or to one that is not asked for."""
        self.bytes += size
        if self.bytes > self.limits.bytes:
            most = self.limits.bytes
            raise Bomb(f"an archive may unpack to {most:,} bytes. Got: {self.bytes:,} or more")
        if self.bytes > max(HARMLESS, self.limits.ratio * self.compressed):
            raise Bomb(
                f"an archive may unpack to {self.limits.ratio} times its size. "
                f"Got: {self.bytes:,} bytes or more, of {self.compressed:,}"
            )


@attrs.define
class Metered:
    """A stream whose bytes are counted as they are read, whatever they are read for."""

    stream: IO[bytes]
    meter: Meter

    def read(self, size: int = -1) -> bytes:
        """The next bytes."""
        piece = self.stream.read(size)
        self.meter.add_unnamed(len(piece))
        return piece
