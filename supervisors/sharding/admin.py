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
    """How they stand."""


@attrs.frozen
class Resize(Call[None]):
    """Spread the shards over so many hosts, one for each shard at most; answered when all have left
    the host that they had to leave. Messages wait meanwhile, and keep their order. Refused with
    ``StillMoving`` while others are on their way."""

    hosts: int

    def __attrs_post_init__(self) -> None:
        if not is_int(self.hosts) or self.hosts < 1:
            raise ValueError(f"Resize hosts is an int of 1 or more. Got: {self.hosts!r}")


class StillMoving(Refusal):
    """Shards are on their way already."""
