"""What a class of actors can know of living in shards: how its messages find them, and what all of
them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

import attrs

from actors.dispatch import class_of

if TYPE_CHECKING:
    from supervisors.specs import Child


@attrs.frozen
class Somewhere:
    """In place of a key: any shard will do."""


@attrs.frozen
class Everywhere:
    """In place of a key: the message goes to all shards, and ``merge`` makes one of the answers."""

    merge: Callable[[list[Any]], Any]


ShardKey: TypeAlias = "str | int | Somewhere | Everywhere"


@runtime_checkable
class Sharded(Protocol):
    """What a class of actors has that knows how to live in shards: the class itself, and not its
    instances. A ``Mediator`` is one; others need nothing of it."""

    sharded_by: Literal["key", "shard"]
    """Whether each key has an actor, or each shard, unless ``Shards(each=)`` says otherwise."""

    def shard_key(self, message: Any, /) -> ShardKey | None:
        """The key of a message; None where ``Shards(key=)`` is to say."""
        ...

    def shard_companion(self, spec: Child[Any], count: int, /) -> Child[Any] | None:
        """What runs beside ``count`` shards of actors of this spec, for all of them."""
        ...


def sharded(spec: Child[Any]) -> Sharded | None:
    """The class of the actors of this spec, if it knows how to live in shards."""
    cls = class_of(spec.factory)
    return cls if isinstance(cls, type) and isinstance(cls, Sharded) else None


def takes_over_shards(spec: Child[Any], count: int) -> bool:
    """Whether each of these actors takes over a whole shard of what all of them share: then there
    is one for each shard."""
    knows = sharded(spec)
    if knows is None or knows.sharded_by != "shard":
        return False
    return knows.shard_companion(spec, count) is not None
