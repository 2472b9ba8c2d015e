"""What a mediator announces about its workflows; see :mod:`actors.telemetry` for how to listen."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from actors import Ref
    from mediators.outcomes import Incident, Status


@attrs.frozen
class RunStarted:
    """A run of a workflow begins; ``type`` is its name in the journal."""

    mediator: Ref[Any]
    id: str
    run: int
    type: str


@attrs.frozen
class RunEnded:
    """A run is over: ``done failed cancelled``."""

    mediator: Ref[Any]
    id: str
    run: int
    status: Status


@attrs.frozen
class WorkflowStopped:
    """A workflow does not go on by itself: it is paused by a mistake in its code, or a step or an
    undo stands as an incident."""

    mediator: Ref[Any]
    id: str
    run: int
    reason: str
    incident: Incident


@attrs.frozen
class SlowTurn:
    """A workflow's code took ``seconds`` of the wall clock without a command, and its mediator with
    it: it has computed, or the machine was busy."""

    mediator: Ref[Any]
    id: str
    run: int
    seconds: float


@attrs.frozen
class Recovered:
    """A mediator has taken up again what its journal had open: so many ``runs``, ``broken`` of
    them paused because code and record do not agree, in ``seconds``."""

    mediator: Ref[Any]
    runs: int
    broken: int
    seconds: float
