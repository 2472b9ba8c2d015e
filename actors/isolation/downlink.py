"""The parent's end of a link: what a worker says of itself, and what rises from it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from actors.dispatch import takes_of
from actors.isolation import frames as f
from actors.isolation import page as pages
from actors.isolation import shipping
from actors.isolation.beginning import taken_above
from actors.isolation.faults import undecodable
from actors.isolation.link import Link
from actors.payloads.names import NotEncodable, UnknownType
from actors.runtime import calls

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from msgspec import Raw

    from actors.isolation.isolated import Isolated
    from actors.isolation.options import Process

logger = logging.getLogger("actors")


class Downlink(Link):
    """The parent's end of a link."""

    def __init__(
        self, owner: Isolated, connection: socket.socket, page: pages.Page, options: Process
    ) -> None:
        self._owner = owner
        super().__init__(
            owner._place.scheduler.system,
            connection,
            outgoing=page,
            incoming=pages.NoPage(),
            window=options.window,
            max_message=options.max_message,
        )

    def handlers(self) -> Mapping[type, Callable[[Any], object]]:
        """What a worker says of itself."""
        owner = self._owner
        return {
            f.Started: owner.started,
            f.StartFailed: owner.start_failed,
            f.Crashed: owner.crashed,
            f.Exited: owner.exited,
            f.Report: self._rises,
            f.Log: self._log,
        }

    def ended(self, broken: f.BrokenLink | None) -> None:
        """The worker has ended, or is to."""
        self._owner.hung_up(broken)

    def declare(self) -> None:
        """Ship the classes of what is about to be sent."""
        news = self.types.news[:]
        try:
            self.send(f.Code(shipping.pack(news, self.speak)))
        except Exception as error:
            self.types.told.difference_update(news)
            names = ", ".join(each.__qualname__ for each in news)
            way_out = shipping.way_out_of(*news)
            raise NotEncodable(
                f"{names} cannot be sent to another process: {error}.{way_out}"
            ) from error
        finally:
            self.types.news.clear()

    def decode(self, payload: Raw) -> Any:
        """What has come from the worker may be whatever its actor handles, too."""
        return self._decode(payload, lambda: takes_of(self._owner._place.spec))

    def _decode(self, payload: Raw, more: Callable[[], Iterable[type]]) -> Any:
        try:
            return self.types.decode(payload)
        except UnknownType:
            for each in more():
                self.types.offer(each)
            return self.types.decode(payload)

    def _rises(self, frame: f.Report) -> None:
        owner = self._owner
        place = owner._place

        def known() -> Iterator[type]:
            yield from takes_of(place.spec)
            yield from taken_above(place)
            yield from shipping.imported(self.system.rising)

        try:
            event = self._decode(frame.payload, known)
        except UnknownType as unknown:
            # Nobody above takes it, or it would be known.
            logger.debug("%s: nobody takes a %s", place.path, unknown.name)
            return
        except Exception as error:
            logger.warning("%s: an event that rises is lost: %s", place.path, undecodable(error))
            return
        calls.rise(place, event, (place, frame.id, frame.correlation, frame.cause))

    def _log(self, frame: f.Log) -> None:
        named = logging.getLogger(frame.logger)
        if named.isEnabledFor(frame.level):
            record = named.makeRecord(
                frame.logger, frame.level, frame.path, frame.line, frame.text, (), None
            )
            record.created = frame.created
            worker = self._owner._worker
            record.process = None if worker is None else worker.pid
            named.handle(record)
