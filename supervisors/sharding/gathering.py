"""The answers of all shards to a message that goes to each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from actors import Refusal
from actors.replies import Slot

if TYPE_CHECKING:
    from actors.place import Place
    from supervisors.sharding.sharded import Everywhere


class Gathering:
    """The answers of all shards to one message."""

    def __init__(self, slot: Slot, everywhere: Everywhere, count: int) -> None:
        self._slot = slot
        self._merge = everywhere.merge
        self._answers: list[Any] = [None] * count
        self._missing = count

    def came(self, shard: int, value: object, error: BaseException | None) -> None:
        """One more; the first that is an error is the answer."""
        if error is not None:
            self._slot.fail(error)
            return
        self._answers[shard] = value
        self._missing -= 1
        if not self._missing and not self._slot.done:
            try:
                self._slot.reply(self._merge(self._answers))
            except Refusal as refusal:
                self._slot.fail(refusal)


class Part(Slot):
    """The reply slot of one shard's part."""

    __slots__ = ("_gathering", "_shard")

    def __init__(self, gathering: Gathering, shard: int, message: object, place: Place) -> None:
        super().__init__(message, place, None, gathering._slot.deadline)
        self._gathering = gathering
        self._shard = shard

    def settle(self) -> None:
        """It has its answer."""
        super().settle()
        self._gathering.came(self._shard, self.value, self.error)
