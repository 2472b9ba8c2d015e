"""The reading side of a shard: what it is asked is answered by its journal's reader."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mediators.journal.protocol import Reader, Record, RunRow


class Lookups:
    """Answers as the reader does that it was given."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def runs(
        self,
        *,
        status: str | None = None,
        type: str | None = None,
        id_prefix: str | None = None,
        ended_before: float | None = None,
        shard: int | None = None,
        limit: int | None = None,
    ) -> list[RunRow]:
        """See :meth:`Reader.runs`."""
        return self._reader.runs(
            status=status,
            type=type,
            id_prefix=id_prefix,
            ended_before=ended_before,
            shard=shard,
            limit=limit,
        )

    def find(self, id: str, run: int | None = None) -> RunRow | None:
        """See :meth:`Reader.find`."""
        return self._reader.find(id, run)

    def read_first_run(self) -> int:
        """See :meth:`Reader.read_first_run`."""
        return self._reader.read_first_run()

    def find_own(self, id: str) -> RunRow | None:
        """As :meth:`find`, of an id that is new, probably."""
        return self.find(id)

    def history(self, number: int) -> list[Record]:
        """See :meth:`Reader.history`."""
        return self._reader.history(number)

    def feed(self, shard: int, after: int = -1, limit: int = 1000) -> list[Record]:
        """See :meth:`Reader.feed`."""
        return self._reader.feed(shard, after, limit)

    def inbox(self, shard: int) -> list[tuple[int, bytes]]:
        """See :meth:`Reader.inbox`."""
        return self._reader.inbox(shard)
