"""The supervisor of a mediator's subtree: its components and, last, its driver."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Literal

from actors import Actor, Normal, Shutdown, is_orderly
from actors.place import Place
from actors.runtime import lifecycle
from mediators.routing import DRIVER, Plan, plan
from supervisors import Child, Supervisor
from supervisors.specs import WORKER_SHUTDOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors import Exit
    from actors.place import Spec
    from actors.runtime.stages import Steps
    from supervisors.entries import Entry

logger = logging.getLogger("mediators")


class DriverSpec(Child[Any]):
    """The spec of a driver: in its subtree it is a worker, and it lives there itself."""

    @property
    def kind(self) -> Literal["worker", "supervisor"]:
        """One among the children of the tree."""
        return "worker"


def driver_spec(outer: Spec) -> DriverSpec:
    """The spec of the driver, from that of the mediator. Its mailbox and the time it has to start
    and to stop are those the user gave the mediator; it comes back after a crash, and its orderly
    end is the subtree's."""
    shutdown: Any = getattr(outer, "shutdown", WORKER_SHUTDOWN)
    bounded = isinstance(shutdown, int | float) and shutdown != float("inf")
    return DriverSpec(
        outer.factory,
        *outer.args,
        id=DRIVER,
        restart="transient",
        significant=True,
        shutdown=shutdown if bounded else WORKER_SHUTDOWN,
        start_timeout=outer.start_timeout,
        mailbox=outer.mailbox,
    )


class MediatorTree(Supervisor):
    """Lives in the place of a mediator, with its components and its driver as children.

    It is not spoken to: the ref of its place is the driver's, and stays so over restarts of either.
    ``kept`` is what a driver leaves to its next incarnation; what has a ``close()`` is closed when
    the tree ends, after everybody else.
    """

    __slots__ = (
        "_farewell",
        "_keeps",
        "_known",
        "_outer",
        "_plan",
        "auto_shutdown",
        "kept",
        "max_restarts",
        "within",
    )

    def __init__(self, outer: Spec) -> None:
        self._outer = outer
        self._plan: Plan = plan(outer.factory, outer.args)
        self._farewell: Exit = Shutdown()
        self._keeps = False
        """It ends in order: what becomes of its own place becomes of the driver's, and of what
        waits there."""
        self._known: dict[str, Place] = {}
        self.max_restarts = self._plan.flags.max_restarts
        self.within = self._plan.flags.within
        self.auto_shutdown = self._plan.flags.auto_shutdown
        self.kept: dict[str, Any] = {}

    @property
    def plan(self) -> Plan:
        """What the mediator is made of."""
        return self._plan

    def children(self) -> Sequence[Child[Any] | type[Actor]]:
        """The components in their order, then the driver."""
        return [*self._plan.components, driver_spec(self._outer)]

    def place_of(self, id: str) -> Place:
        """Where the component of that id is spoken to; where it was, if it is forgotten since."""
        entry = self._tree.entries.get(id)
        if entry is not None:
            self._known[id] = entry.place
        elif id not in self._known:
            # It ended before anybody spoke to it.
            place = Place(self._place.scheduler, self._outer, id, None, self._place, self._tree)
            place.state = "gone"
            self._known[id] = place
        return self._known[id].ref._place

    def components(self) -> list[Entry]:
        """The entries of the components that there are, in start order."""
        return [entry for id, entry in self._tree.entries.items() if id != DRIVER]

    # -- what the floors below ask

    def _prepare(self, place: Place) -> None:
        super()._prepare(place)
        driver = place.ref._place
        if driver is place:
            spec = driver_spec(self._outer)
            driver = Place(place.scheduler, spec, DRIVER, None, place, self._tree)
            place.ref = driver.ref
        elif not driver.running:
            driver.state = "starting"
        place.reserved = {**(place.reserved or {}), DRIVER: driver}

    def _children_down(self, exit: Exit) -> Steps | None:
        self._keeps = is_orderly(exit)
        by_itself = isinstance(exit, Shutdown) and exit.reason == "auto_shutdown"
        self._farewell = exit if is_orderly(exit) and not by_itself else Shutdown()
        return self._stop_all()

    def _stop_all(self) -> Steps:
        tree = self._tree
        tree.closing = True
        entry = tree.entries.get(DRIVER)
        if entry is not None:
            pending = lifecycle.stop(entry.place, self._farewell, None)
            if pending is not None:
                yield pending
            if self._keeps:
                # So that it is not settled with the others.
                del tree.entries[DRIVER]
        yield from super()._stop_all()
        driver = self._home.ref._place
        if not driver.running:
            # Whoever owns the tree's place decides, and of the driver's with it.
            driver.state = "stopping"
        self._close_kept()

    def _vacated(self, place: Place) -> None:
        if not self._keeps or place is not self._home.ref._place:
            super()._vacated(place)

    def _keep(self, entry: Entry) -> None:
        place = entry.place
        if place is self._home.ref._place and place.exit is not None and is_orderly(place.exit):
            # Its end is that of the whole: what waits is settled with the tree's place.
            entry.retry = None
        else:
            super()._keep(entry)

    def _close_kept(self) -> None:
        kept, self.kept = self.kept, {}
        for name, each in reversed(kept.items()):
            if hasattr(each, "close"):
                try:
                    each.close()
                except Exception:
                    logger.exception("%s: closing its %s failed", self._home.path, name)

    def _stopped(self, entry: Entry) -> None:
        super()._stopped(entry)
        if entry.place.key == DRIVER:
            # It was asked to stop, or has declined to run: so has the mediator.
            self.stop(Normal())


def is_driver(place: Place) -> bool:
    """Whether a place is that of a driver, and not of a whole mediator."""
    return isinstance(place.spec, DriverSpec)
