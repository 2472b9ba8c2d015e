"""What can be asked of shards, and what is refused there."""

from __future__ import annotations

import attrs

from actors import Call, Refusal
from actors.validation import is_int


class NoKey(Refusal):
    """A message for shards has no key that could be found, or one that is no str and no int; or
    the function that was to find it has raised."""


@attrs.frozen
class HostInfo:
    """One host: its id, whether it is up, and the numbers of its shards."""

    id: str
    up: bool
    shards: tuple[int, ...]


@attrs.frozen
class ShardsInfo:
    """Shards as they stand; ``moving`` are those on their way to another host."""

    count: int
    hosts: tuple[HostInfo, ...]
    moving: tuple[int, ...]


@attrs.frozen
class GetShards(Call[ShardsInfo]):
    """How shards stand. Needs no room in their mailbox."""


@attrs.frozen
class Resize(Call[None]):
    """Spread the shards over so many hosts, 1 or more, one for each shard at most. Messages wait
    meanwhile, and keep their order. Raises ValueError for what is no such number.

    Answered when all have left the host that they had to leave, new hosts are up and empty ones
    have stopped. That lasts as long as the actors on the way take to stop: give the call a
    ``timeout`` to match. Whoever does not wait for it does not end it. Refused with ``StillMoving``
    while others are on their way.
    """

    hosts: int

    def __attrs_post_init__(self) -> None:
        if not is_int(self.hosts) or self.hosts < 1:
            raise ValueError(f"Resize hosts is an int of 1 or more. Got: {self.hosts!r}")


class StillMoving(Refusal):
    """Shards are on their way already."""
