"""The driver of a mediator's workflows: it feeds their executions, writes down what follows, and
does it once it is on disk."""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Any
from uuid import UUID

import msgspec
import trio

from actors.payloads.types import Undecodable, UnknownType, journal_name
from mediators import history as h
from mediators.driver.admission import Admission
from mediators.driver.agenda import Agenda
from mediators.driver.attempts import Attempts
from mediators.driver.children import Children
from mediators.driver.committer import Committer
from mediators.driver.deadlines import Deadlines
from mediators.driver.desk import Desk
from mediators.driver.recovery import Recovery
from mediators.driver.retention import Retention
from mediators.execution.commands import Step, timeout_of
from mediators.execution.execution import NONE_AT_ALL, Execution
from mediators.execution.mistakes import incident_of
from mediators.execution.replay import replay
from mediators.journal.addresses import shard_of
from mediators.journal.protocol import RunRow
from mediators.outcomes import Incident, Status
from mediators.reading.rendering import read
from mediators.routing import offered
from mediators.sharding.keys import Elsewhere
from mediators.telemetry import RunEnded, RunStarted, SlowTurn, WorkflowStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from msgspec import Raw

    from actors import Later
    from actors.payloads.types import Types
    from actors.place import Place
    from mediators.history import Event
    from mediators.journal.protocol import Shard
    from supervisors.sharding.host import Hosting

logger = logging.getLogger("mediators")

AT_ONCE = frozenset({"child", "cancel_child", "ended", "continued"})
"""What follows from a turn within its batch; everything else waits until that is on disk."""
RUNNING = str(Status.RUNNING)
SLOW_TURN = 0.1
"""Seconds of the wall clock that a workflow may take between two commands; more are reported. To
ask for those of the processor would cost a system call in each turn."""


class Driver:
    """All workflows of one incarnation of a mediator."""

    def __init__(
        self,
        mediator: Any,
        place: Place,
        shard: Shard,
        types: Types,
        hosted: Hosting | None = None,
        committer: type[Committer] = Committer,
    ) -> None:
        system = place.scheduler.system
        self.mediator = mediator
        self.place = place
        self.shard = shard
        self.hosted = hosted
        """Where, if it is one of several shards."""
        self.face = place.ref if hosted is None else hosted.router
        """Who answers for its workflows."""
        self.types = types
        self.now = system.now
        self.random = system.random
        self.telemetry = system.telemetry
        self.runs: dict[int, Execution] = {}
        """The runs that are not over, by number."""
        self.by_id: dict[str, Execution] = {}
        self.waiters: dict[str, list[tuple[Callable[[Status, Raw], object], Later[Any] | None]]]
        self.waiters = {}
        """Who waits for the end of a workflow, by its id."""
        self.ended: dict[str, Execution] = {}
        """Runs whose end is not on disk yet, by id."""
        self.unreadable: dict[str, Incident] = {}
        """Workflows whose records say nothing that could be taken up."""
        self.following: deque[tuple[Execution, str, Any, list[Event]]] = deque()
        """What is still to be done in the batch of a turn."""
        self.follows = False
        self.outcomes: deque[Any] = deque()
        self.targets: dict[type, Place] = {}
        """Where messages of a class go, as far as some have gone."""
        self.forgetful: set[Place] = set()
        """Components without Idempotent, as far as they were asked."""
        self.deadlines = Deadlines(place.scheduler.timers)
        self.attempts = Attempts(self)
        self.committer = committer(place, shard, self._serve, self._release)
        self.agenda = Agenda(place.scheduler, self.now, self.committer.wanted, is_dead)
        """Moments that are on record: they go by the wall clock."""
        self.pauses = Agenda(place.scheduler, trio.current_time, self.committer.wanted, is_dead)
        """Everything else, which goes on whatever the wall clock is set to."""
        self.next_number = shard.next_number
        self.admission = Admission(self)
        self.children = Children(self)
        self.desk = Desk(self)
        self.recovery = Recovery(self)
        self.retention = Retention(self)

    # -- what the attempts and the desk use

    def target(self, message: type) -> Place | None:
        """The place a message of this class goes to."""
        place = self.targets.get(message)
        if place is None or place.state == "gone":
            place = self.mediator._target(message)
            if place is not None:
                self.targets[message] = place
        return place

    def accepted(self) -> str:
        """What the components accept, in words."""
        taken = {*self.mediator._component_messages(), *offered(type(self.mediator))}
        return ", ".join(sorted(each.__name__ for each in taken)) or "nothing"

    def arrived(self, outcome: Any) -> None:
        """An attempt has its outcome: it is taken up in the mediator's lane."""
        self.outcomes.append(outcome)
        self.committer.wanted()

    def later(self, seconds: float, entry: Any) -> None:
        """Have something done in so many seconds."""
        self.pauses.enter(trio.current_time() + seconds, entry)

    def out(self, what: str, execution: Any, item: Any) -> None:
        """Have something done once everything up to here is on disk."""
        self.committer.outbox.append((what, execution, item))
        self.committer.wanted()

    def call_out(self, call: Callable[[], object]) -> None:
        """Have a function called once everything up to here is on disk."""
        self.out("call", None, call)

    def find(self, id: str, *, new: bool = False) -> RunRow | None:
        """The latest run of an id, as it will be on disk. ``new``: there is none, probably. Raises
        Elsewhere."""
        row = self.shard.find_own(id) if new and self.is_own(id) else self.shard.find(id)
        if row is not None and shard_of(row.number) != self.shard.shard:
            raise Elsewhere(shard_of(row.number))
        ended = self.ended.get(id)
        if ended is None:
            return row
        for batch in self.committer.pending():
            row = next((each for each in batch.runs if each.number == ended.number), row)
        assert row is not None
        return msgspec.structs.replace(row, status=str(ended.over), ended=self.now())

    def records(self, number: int) -> list[bytes]:
        """The records of a run, those that are not on disk yet included."""
        records = [each.data for each in self.shard.history(number)]
        for batch in self.committer.pending():
            for each, seq, data in batch.records:
                if each == number and seq == len(records):
                    records.append(data)
        return records

    # -- turns

    def turn(self, execution: Execution, event: Event) -> None:
        """Feed one event and note down what follows."""
        if execution.over is not None:
            return
        began = time.perf_counter()
        now = self.now()
        standing = execution.incidents
        events = execution.perform(now, event)
        committer = self.committer
        committer.record(execution.number, execution.seq, h.encode_turn(now, events))
        execution.seq += 1
        committer.wanted()
        seconds = time.perf_counter() - began
        if seconds > SLOW_TURN:
            self._slow(execution, seconds)
        for what, item in execution.actions:
            if what in AT_ONCE:
                self.following.append((execution, what, item, execution.produced))
            else:
                committer.outbox.append((what, execution, item))
        execution.spent()
        for event in events[:2]:
            if type(event) is h.Paused:
                self._paused(execution, event)
        if execution.incidents is not standing:
            self._raised(execution, standing)
        if execution.listed != RUNNING or execution.troubled:
            self._list(execution)
        if self.following and not self.follows:
            self._follow()

    def _raised(self, execution: Execution, before: Mapping[str, Incident]) -> None:
        """Tell of the incidents that stand since this turn."""
        for path, incident in execution.incidents.items():
            if path not in before:
                logger.error("Workflow %r stands at an incident: %s", execution.id, incident)
                self._stopped(execution, "incident", incident)

    def _follow(self) -> None:
        """Do what belongs into the same batch, one after another: a chain of runs, each of which
        ends or begins the next, must not become as deep as it is long."""
        self.follows = True
        try:
            while self.following:
                self._act(*self.following.popleft())
        finally:
            self.follows = False

    def _list(self, execution: Execution) -> None:
        """Have the listing say where a run stands that does not just run."""
        status = listing(execution)
        if execution.listed != status and execution.over is None:
            execution.listed = status
            self.committer.batch.statuses.append((status, None, execution.number))

    def _act(self, execution: Execution, what: str, item: Any, produced: list[Event]) -> None:
        """Some of what follows belongs into the same batch."""
        if what == "child":
            self.children.start(execution, item)
        elif what == "cancel_child":
            self.children.cancel(item)
        elif what == "ended":
            self._ended(execution, item, produced[-1])
        else:
            self._continued(execution, item, produced[-1])

    def _paused(self, execution: Execution, paused: h.Paused) -> None:
        if paused.incident is not None:
            logger.error("Workflow %r is paused: %s", execution.id, paused.incident.what)
            self._stopped(execution, paused.reason, incident_of(paused.incident))
            self.rebuild(execution)

    def _stopped(self, execution: Execution, reason: str, incident: Incident) -> None:
        if WorkflowStopped in self.telemetry.active:
            self.telemetry.emit(
                WorkflowStopped(self.place.ref, execution.id, execution.run, reason, incident)
            )

    def _slow(self, execution: Execution, seconds: float) -> None:
        logger.warning(
            "Workflow %r took %.3f s of the wall clock without a command; everything else of its "
            "mediator waited. What it computes, an effect can do; on a busy machine others may "
            "have had that time.",
            execution.id,
            seconds,
        )
        if SlowTurn in self.telemetry.active:
            self.telemetry.emit(SlowTurn(self.place.ref, execution.id, execution.run, seconds))

    # -- the lane

    def _serve(self) -> None:
        """Take up what has arrived and what is due."""
        outcomes = self.outcomes
        came = self.attempts.came
        committer = self.committer
        while outcomes:
            came(outcomes.popleft())
            if committer.full:
                committer.flush()
        for entry in (*self.agenda.due(), *self.pauses.due()):
            self._due(*entry)
        self.recovery.advance()

    def _due(self, what: str, execution: Any, item: Any, reason: str = "") -> None:
        if what == "retention":
            self.retention.sweep()
            return
        if execution is None or execution.over is not None:
            return
        if what == "wake":
            if item is not None and execution.open.get(item.path) is item:
                self.turn(execution, h.Fired(item.path))
        elif what == "retry":
            self.attempts.again(execution, item, reason)
        elif what == "again":
            self.attempts.send(execution, item)
        elif what == "settle":
            self.attempts.settle(execution, item)
        elif what == "expire":
            if (
                execution.inbox is not None
                and item in execution.inbox.unread
                and h.Expired(item.id) not in (execution.queue or ())
            ):
                self.turn(execution, h.Expired(item.id))
                reason = f"a signal to workflow {execution.id!r} that was not read in time"
                self.place.scheduler.dead_letter(self.place, self._shown(item.event), reason)
        elif what == "deadline":
            if is_bounded(execution):
                self.turn(execution, h.Fired(""))

    def _end_is_on_disk(self, execution: Execution) -> None:
        if self.ended.get(execution.id) is execution:
            del self.ended[execution.id]

    def _shown(self, payload: Raw) -> Any:
        """A payload for people to look at."""
        try:
            return self.types.decode(payload)
        except (UnknownType, Undecodable):
            return read(payload)

    def _release(self, outbox: list[Any]) -> None:
        """What was waiting for the commit."""
        attempts = self.attempts
        for what, execution, item in outbox:
            if what == "send":
                attempts.send(execution, item)
            elif what == "reply":
                execution.reply(item)
            elif what == "fail":
                if execution.slot is not None:
                    execution.slot.fail(item)
            elif what == "wake":
                self.agenda.enter(item.until, ("wake", execution, item))
            elif what == "settle":
                attempts.settle(execution, item)
            elif what == "expire":
                self.agenda.enter(item.expires, ("expire", execution, item))
            elif what == "deadline":
                self.agenda.enter(execution.deadline, ("deadline", execution, None))
            elif what == "join":
                self.recovery.join(execution, item)
            elif what == "over":
                self._end_is_on_disk(execution)
            else:
                item()

    # -- beginnings

    def started(self, workflow: Any, encoded: Raw, id: str, **more: Any) -> h.Started:
        """The first event of a run."""
        if more.get("timeout") is None:
            more["timeout"] = timeout_of(workflow)
        first = self.shard.first_run
        return h.Started(id, first, encoded, self.random.getrandbits(63), **more)

    def draw_id(self) -> str:
        """An id for a workflow that has none of its own."""
        while True:
            id = str(UUID(int=self.random.getrandbits(128), version=4))
            if self.is_own(id):
                return id

    def is_own(self, id: str) -> bool:
        """Whether a workflow of that id belongs here, and not to another shard."""
        return self.hosted is None or self.hosted.owns(id)

    def begin(self, event: h.Started, type_name: str) -> Execution:
        """A new run: its row, its first turn."""
        number = self.next_number
        self.next_number += 1
        execution = Execution(self.types, number, event.id, event.run)
        execution.listed = RUNNING
        self.runs[number] = execution
        self.by_id[event.id] = execution
        parent = event.parent[0] if event.parent is not None else None
        self.committer.batch.runs.append(
            RunRow(number, event.id, event.run, type_name, RUNNING, self.now(), None, parent)
        )
        if RunStarted in self.telemetry.active:
            self.telemetry.emit(RunStarted(self.place.ref, event.id, event.run, type_name))
        self.turn(execution, event)
        return execution

    def take_over(self, id: str, row: RunRow, turns: Sequence[h.Turn]) -> None:
        """A run of another id with a history that is there already."""
        first = turns[0].events[0]
        assert isinstance(first, h.Started)
        run = row.run + 1 if id == row.id else self.shard.first_run
        timeout = first.timeout
        if timeout is not None:
            # As much time as any run has, from now on.
            timeout += self.now() - turns[0].time
        started = msgspec.structs.replace(
            first, id=id, run=run, parent=None, detached=False, timeout=timeout
        )
        number = self.next_number
        self.next_number += 1
        committer = self.committer
        own = RunRow(number, id, run, row.type, RUNNING, self.now())
        committer.batch.runs.append(own)
        records = [
            h.encode_turn(
                turn.time, [started, *turn.events[1:]] if turn is turns[0] else turn.events
            )
            for turn in turns
        ]
        for seq, data in enumerate(records):
            committer.record(number, seq, data)
        committer.wanted()
        self.recovery.take_up(own, records)

    # -- endings

    def _ended(self, execution: Execution, value: Raw, ended: Event) -> None:
        """A run is over: in the same batch its parent hears of it."""
        status = execution.over
        assert status is not None
        self.committer.batch.statuses.append((str(status), self.now(), execution.number))
        self.forget(execution)
        self.ended[execution.id] = execution
        self.out("over", execution, None)
        if RunEnded in self.telemetry.active:
            self.telemetry.emit(RunEnded(self.place.ref, execution.id, execution.run, status))
        if execution.parent is not None:
            assert isinstance(ended, h.Ended)
            self.children.ended(execution.parent, status, value, ended.undos)
        for waiter, _ in self.waiters.pop(execution.id, ()):
            waiter(status, value)

    def _continued(self, execution: Execution, carried: h.Carried, continued: Event) -> None:
        """The next run begins in the batch in which this one ends."""
        assert isinstance(continued, h.Continued)
        batch = self.committer.batch
        batch.statuses.append(("continued", self.now(), execution.number))
        self.forget(execution)
        workflow = self.types.decode(continued.workflow)
        first: Any = h.decode_turn(self.records(execution.number)[0]).events[0]
        carried = msgspec.structs.replace(carried, origin=h.origin_of(first))
        event = h.Started(
            execution.id,
            execution.run + 1,
            continued.workflow,
            self.random.getrandbits(63),
            timeout_of(workflow),
            execution.parent,
            execution.detached,
            carried,
        )
        self.begin(event, journal_name(type(workflow)))

    def forget(self, execution: Execution) -> None:
        """It is over."""
        del self.runs[execution.number]
        if self.by_id.get(execution.id) is execution:
            del self.by_id[execution.id]
        execution.workflow = None
        for command in execution.salvage.values():
            if command.call is not None:
                command.call.drop()

    # -- paused, and taken up again

    def wait_for(
        self, id: str, waiter: Callable[[Status, Raw], object], later: Later[Any] | None = None
    ) -> None:
        """Have ``waiter`` told of the end of the workflow that is open under ``id``; with ``later``
        only as long as its caller is there."""
        waiters = self.waiters.setdefault(id, [])
        if len(waiters).bit_count() == 1:
            # Now and then: those who have gone meanwhile.
            waiters[:] = [each for each in waiters if each[1] is None or not each[1].done]
        waiters.append((waiter, later))

    def find_open(self, id: str) -> Execution | None:
        """The run of this id that is not over, recovered now if it was not yet."""
        return self.by_id.get(id) or self.recovery.look_for(id)

    def resume(self, execution: Execution) -> None:
        """Deliver what was kept, one event after another, until the next mistake."""
        self.turn(execution, h.Resumed())
        while execution.queue and execution.paused is None and execution.over is None:
            self.turn(execution, h.Delivered())

    def rebuild(self, execution: Execution) -> None:
        """Bring a run back to its last good turn, from its record."""
        if execution.over is not None or execution.paused is None or execution.orphan:
            return
        records = self.records(execution.number)
        execution.reset()
        execution.seq = 0
        incident = replay(execution, records)
        if incident is not None:
            logger.error("Workflow %r cannot be rebuilt: %s", execution.id, incident)
        execution.spent()
        salvage, execution.salvage = execution.salvage, NONE_AT_ALL
        for path, before in salvage.items():
            command = execution.open.get(path)
            if isinstance(command, Step):
                self.attempts.go_on(execution, command, before)
        self.arm(execution)

    def arm(self, execution: Execution) -> None:
        """Enter the moments that a rebuilt run waits for."""
        for command in execution.open.values():
            if (
                command.wakes and command.until is not None and not execution.is_kept(command.path)  # type: ignore[attr-defined]
            ):
                self.agenda.enter(command.until, ("wake", execution, command))  # type: ignore[attr-defined]
        if execution.inbox is not None:
            for signal in execution.inbox.unread:
                if signal.expires is not None:
                    self.agenda.enter(signal.expires, ("expire", execution, signal))
        if execution.deadline is not None and is_bounded(execution):
            self.agenda.enter(execution.deadline, ("deadline", execution, None))

    # -- the end of the driver

    def close(self) -> None:
        """Drop everything that is not on disk; nothing goes out any more."""
        self.committer.closed = True
        self.agenda.close()
        self.pauses.close()
        self.deadlines.close()
        self.recovery.close()
        for execution in self.runs.values():
            for command in execution.open.values():
                if isinstance(command, Step) and command.call is not None:
                    command.call.drop()
            execution.drop()
        self.shard.release()


def is_bounded(execution: Execution) -> bool:
    """Whether the end of its time would still mean something to a run."""
    over = execution.cancelled is not None or execution.ending is not None or execution.pivoted
    return not over and not execution.is_kept("")


def listing(execution: Execution) -> str:
    """The status in listings: what can be told of a run without looking at its commands."""
    status = execution.status
    return RUNNING if status is Status.WAITING else str(status)


def is_dead(entry: Any) -> bool:
    """Whether what is due means nothing any more."""
    what, execution, item, *_ = entry
    if execution is None:
        return False
    if execution.over is not None:
        return True
    return what == "wake" and execution.open.get(item.path) is not item
