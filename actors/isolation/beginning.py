"""What a worker is told first: whom to make, and what holds for him."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from actors.isolation import shipping
from actors.isolation.frames import Begin
from actors.isolation.watch import LOOKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors.isolation.downlink import Downlink
    from actors.isolation.options import Process
    from actors.place import Place


def beginning(place: Place, options: Process, link: Downlink) -> Begin:
    """The first frame over a link, for the actor that lives in ``place``. Raises TypeError for what
    cannot be sent."""
    system = place.scheduler.system
    spec: Any = place.spec
    ids = system.ids.part()
    above = None if place.house.parent is None else place.house.parent.ref._place
    directory = b""
    with suppress(OSError):  # it has been removed
        directory = os.getcwdb()
    return Begin(
        code=shipping.pack((spec.factory, spec.args), link.speak),
        rising=rising_from(place),
        home=place.path,
        above=None if above is None else link.speak(above),
        name=place.name,
        incarnation=place.incarnation,
        prefix=system.id_prefix,
        first_id=ids.first,
        ids=ids.size,
        seed=system.random.getrandbits(63),
        directory=directory,
        mailbox=spec.mailbox,
        heartbeat=None if options.heartbeat is None else options.heartbeat / LOOKS / 2,
        memory_limit=spec.memory_limit,
        window=options.window,
        max_message=options.max_message,
        log_levels=log_levels(),
    )


def rising_from(place: Place) -> list[tuple[str, str]]:
    """The classes of events that somebody above takes: those that a worker can import."""
    found = dict.fromkeys(place.scheduler.system.rising)
    for each in taken_above(place):
        if shipping.is_importable(each):
            found[each.__module__, each.__qualname__] = None
    return list(found)


def taken_above(place: Place) -> Iterator[type]:
    """The classes of what those above a place take."""
    for above in place.ancestors:
        yield from above._place.routes.messages


def log_levels() -> dict[str, int]:
    """The levels of all loggers that have one of their own; that of the root as ``""``."""
    manager = logging.getLogger().manager
    found = {
        name: logger.level
        for name, logger in list(manager.loggerDict.items())
        if isinstance(logger, logging.Logger) and logger.level
    }
    return {"": max(logging.getLogger().level, manager.disable), **found}
