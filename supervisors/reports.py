"""What supervisors report, through :mod:`logging` on ``supervisors`` and as telemetry."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import attrs

from actors import Exit, Ref, is_orderly

if TYPE_CHECKING:
    from actors.place import Place
    from supervisors.admin import RestartLimitExceeded
    from supervisors.entries import Entry
    from supervisors.policy import Verdict

logger = logging.getLogger("supervisors")


@attrs.frozen
class ChildExited:
    """A child has ended by itself; ``decision`` is ``"restart"``, ``"keep"`` or ``"remove"``."""

    supervisor: Ref[Any]
    child: Ref[Any]
    exit: Exit
    decision: str


@attrs.frozen
class ChildRestarted:
    """A child is up again, for the ``restarts``-th time; ``RestartChild`` does not count."""

    supervisor: Ref[Any]
    child: Ref[Any]
    restarts: int


@attrs.frozen
class GaveUp:
    """A supervisor has given up; ``error`` is what it crashes with."""

    supervisor: Ref[Any]
    error: RestartLimitExceeded


def called(place: Place) -> str:
    """The id of a child, and its name if it has one."""
    return repr(place.id) if place.name is None else f"{place.id!r}, named {place.name!r}"


def child_exited(home: Place, entry: Entry, exit: Exit, decision: Verdict) -> None:
    """A child has ended; an orderly end is no news."""
    telemetry = home.scheduler.telemetry
    if ChildExited in telemetry.active:
        telemetry.emit(ChildExited(home.ref, entry.place.ref, exit, decision))
    level = logging.DEBUG if is_orderly(exit) else logging.ERROR
    if logger.isEnabledFor(level):
        logger.log(
            level,
            "%s: child %s (%r, incarnation %d) ended with %s; decision: %s",
            home.path,
            called(entry.place),
            entry.spec,
            entry.place.incarnation,
            exit,
            decision,
        )


def child_started(home: Place, entry: Entry, *, asked: bool) -> None:
    """A child is up for the first time: with its supervisor, or because somebody asked."""
    level = logging.DEBUG if asked else logging.INFO
    if logger.isEnabledFor(level):
        logger.log(level, "%s: child %s started: %r", home.path, called(entry.place), entry.spec)


def start_failed(home: Place, entry: Entry, error: BaseException) -> None:
    """A child that was to be one more has not come up."""
    logger.error("%s: child %s did not start: %s", home.path, called(entry.place), error)


def child_restarted(home: Place, entry: Entry) -> None:
    """A child is up again."""
    telemetry = home.scheduler.telemetry
    if ChildRestarted in telemetry.active:
        telemetry.emit(ChildRestarted(home.ref, entry.place.ref, entry.restarts))
    if logger.isEnabledFor(logging.DEBUG):
        logger.debug("%s: child %s is up again", home.path, called(entry.place))


def restart_failed(home: Place, entry: Entry, error: BaseException) -> None:
    """A restart did not work."""
    logger.error("%s: child %s did not come up again: %s", home.path, called(entry.place), error)


def gave_up(home: Place, error: RestartLimitExceeded) -> None:
    """A supervisor gives up."""
    telemetry = home.scheduler.telemetry
    if GaveUp in telemetry.active:
        telemetry.emit(GaveUp(home.ref, error))
    logger.error("%s", error)
