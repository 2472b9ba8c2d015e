"""Where a workflow stands, told from its record alone: no class of the user's is needed.

A pure fold over the turns of one run. Replay knows more, since it runs the code; here some things
are inferred. Which signal a ``receive`` took, and which branches a decided ``race`` has cut off, is
not written down: it is told from what followed in the same turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mediators import history as h
from mediators.execution.events import TIMED_OUT, is_kept
from mediators.execution.rollback import UNDO
from mediators.journal.protocol import JournalDamaged
from mediators.outcomes import Status
from mediators.reading.rendering import name_of, read, render, render_refusal
from mediators.reading.standing import OpenUndo, Pause, Standing, Summary, Unread, Wait

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from msgspec import Raw

    from mediators.journal.protocol import Reader, RunRow


def summarize(turns: Iterable[h.Turn]) -> Summary:
    """Where the run stands whose turns these are. Raises ValueError for what does not begin with a
    start."""
    fold = _Fold()
    for turn in turns:
        fold.turn(turn)
    return fold.summary()


def summary_of(reader: Reader, row: RunRow) -> Summary:
    """Where a run stands, told from its record: while somebody has the journal open, and when
    nobody has. None of the classes of its workflow are needed.

    ::

        with SqliteJournal.read("orders.db") as journal:
            for row in journal.runs(status="failed"):
                print(row.id, summary_of(journal, row).outcome_words())

    ``row`` is one that ``reader`` has given. Raises JournalError; JournalDamaged, if the record is
    none.
    """
    turns = turns_of(reader, row)
    try:
        return summarize(turns)
    except ValueError as error:
        raise JournalDamaged(f"{row.id!r}: {error}") from error


def turns_of(reader: Reader, row: RunRow) -> list[h.Turn]:
    """The turns of a run. Raises JournalError; JournalDamaged for what is none."""
    try:
        return [h.decode_turn(each.data) for each in reader.history(row.number)]
    except ValueError as error:
        raise JournalDamaged(f"The record of {row.id!r} is none: {error}") from error


def branch_of(path: str) -> str:
    """The branch a command belongs to, as the prefix of its path; empty for that of ``run``."""
    return path[: path.rfind("/") + 1]


@attrs.define
class _Open:
    """Something the run waits for."""

    kind: str
    type: str
    since: float
    until: float | None = None
    attempts: int = 1
    asked: float = 0.0
    reason: str = ""
    undo: Raw | None = None
    detached: bool = False


class _Fold:
    def __init__(self) -> None:
        self.started: h.Started | None = None
        self.began = self.time = 0.0
        self.turns = 0
        self.open: dict[str, _Open] = {}
        self.unsettled: dict[str, _Open] = {}
        self.decided: dict[str, str | None] = {}
        """Forks whose branches were cut off, and the branch that was not."""
        self.incidents: dict[str, Standing] = {}
        self.undos: list[tuple[str, Raw | None, str]] = []
        self.unread: dict[str, Unread] = {}
        self.seen: set[str] = set()
        self.paused: h.Paused | None = None
        self.since = 0.0
        self.queue: list[Any] | None = None
        self.cancelled: str | None = None
        self.compensating = False
        self.pivoted = False
        self.over = ""
        self.outcome: Any = None

    # -- turns

    def turn(self, turn: h.Turn) -> None:
        trigger: Any = turn.events[0]
        follows: Sequence[Any] = turn.events[1:]
        self.time = turn.time
        self.turns += 1
        if self.started is None:
            self.start(trigger)
        if follows and type(follows[0]) is h.Paused:
            if type(trigger) is h.Signalled:
                self.seen.add(trigger.id)
            self.pause(follows[0])
            self.queue = [*(self.queue or ()), trigger]
            return
        if type(trigger) is h.Delivered and self.queue:
            trigger = self.queue.pop(0)
            if not self.queue:
                self.queue = None
        elif self.queue is not None:
            if is_kept(trigger):
                if type(trigger) is h.Signalled:
                    self.seen.add(trigger.id)
                self.queue.append(trigger)
                return
            if type(trigger) is h.Cancelled:
                self.release()
        self.apply(trigger, follows)
        for index, event in enumerate(follows):
            self.follow(event, follows[index + 1 :])
        self.faults()

    def release(self) -> None:
        """Cancelled while paused: what was kept is taken without the code."""
        queue, self.queue, self.paused = self.queue or [], None, None
        for event in queue:
            if not isinstance(event, h.Cancelled | h.Started):
                self.apply(event, ())

    def start(self, event: Any) -> None:
        if not isinstance(event, h.Started):
            raise ValueError(f"A record begins with the start of a run. Got: {event!r}")
        self.started = event
        self.began = self.time
        if event.carried is not None:
            self.pivoted = event.carried.pivoted
            self.seen.update(event.carried.seen)
            self.undos = [(path, message, "") for path, message in event.carried.undos]
            for id, payload, expires in event.carried.signals:
                self.unread[id] = Unread(id, name_of(payload), self.time, expires)

    def pause(self, event: h.Paused) -> None:
        self.paused = event
        self.since = self.time
        if self.queue is None:
            self.queue = []

    # -- what comes

    def apply(self, event: Any, follows: Sequence[Any]) -> None:
        """One event that is delivered, with what followed from it."""
        path: str = getattr(event, "path", "")
        match event:
            case h.Completed() | h.Resolved():
                self.completed(event, follows)
            case h.Refused():
                if path.startswith(UNDO):
                    text = f"The undo was refused: {render_refusal(event.refusal)}"
                    self.incidents[path] = Standing(path, text, self.time)
                else:
                    self.settle(path, failed=True, follows=follows)
            case h.Failed():
                self.failed(path, follows)
            case h.Attempted():
                if (command := self.open.get(path)) is not None:
                    command.attempts += 1
                    command.asked = self.time
                    command.reason = event.reason
            case h.Fired():
                if not path:
                    self.cancel(TIMED_OUT)
                else:
                    self.settle(path, failed=False, follows=follows)
            case h.Signalled():
                self.signalled(event, follows)
            case h.Expired():
                self.unread.pop(event.id, None)
            case h.Cancelled():
                self.cancel(event.reason)
            case h.Paused():
                self.pause(event)
            case h.Resumed():
                self.paused = None
                if not self.queue:
                    self.queue = None
            case h.ChildEnded():
                self.undos += [(f"{path}/{inner}", message, "") for inner, message in event.undos]
                self.settle(path, failed=event.status != Status.DONE, follows=follows)
            case h.Settled():
                self.settle(path, failed=False, follows=follows)
            case h.Stuck():
                self.incidents[path] = Standing(path, trouble(event.incident), self.time)
            case h.Retried():
                self.incidents.pop(path, None)
                if (command := self.open.get(path)) is not None:
                    command.attempts, command.asked = 1, self.time
            case h.Skipped():
                command = self.open.get(path)
                if command is not None and command.kind in ("step", "effect"):
                    self.failed(path, follows)
                else:
                    self.settle(path, failed=False, follows=follows)
            case _:
                pass

    def completed(self, event: Any, follows: Sequence[Any]) -> None:
        path = event.path
        if not path:
            self.paused = self.queue = None
            return
        command = self.open.get(path)
        if command is not None and command.kind != "undo":
            message = h.given(event.undo) or command.undo
            if message is not None or event.fault is not None:
                self.undos.append((path, message, event.fault or ""))
        self.settle(path, failed=False, follows=follows)

    def failed(self, path: str, follows: Sequence[Any]) -> None:
        command = self.open.get(path)
        if command is not None and command.kind in ("step", "effect"):
            self.unsettled[path] = command
        self.settle(path, failed=True, follows=follows)

    def settle(self, path: str, *, failed: bool, follows: Sequence[Any]) -> None:
        """Something has its outcome; where its branch gave no further command, that has ended."""
        command = self.open.pop(path, None)
        self.incidents.pop(path, None)
        if command is None or command.kind in ("undo", "settle"):
            return
        self.branch_ended(branch_of(path), failed=failed, follows=follows)

    def branch_ended(self, branch: str, *, failed: bool, follows: Sequence[Any]) -> None:
        if self.cancelled is not None or self.compensating:
            return
        if any(goes_on(event, branch) for event in follows):
            return
        if not branch:
            self.compensate()
            return
        fork = branch[:-1].rpartition("/")[0]
        command = self.open.get(fork)
        if command is not None and (failed or command.kind == "race"):
            own = branch if command.kind == "race" and not failed else None
            self.decided[fork] = own
            self.cut(f"{fork}/", own)

    def cut(self, prefix: str, spared: str | None = None) -> None:
        """No branch under ``prefix`` gets further commands; what was sent has to settle."""
        for path, command in list(self.open.items()):
            if not path.startswith(prefix) or (spared and path.startswith(spared)):
                continue
            if command.kind in ("step", "effect") or (
                command.kind == "child" and not command.detached
            ):
                if command.kind != "child":
                    command.kind = "settle"
            elif command.kind not in ("undo", "settle"):
                del self.open[path]
        for path in [path for path in self.unsettled if path.startswith(prefix)]:
            if not (spared and path.startswith(spared)):
                self.open[path] = attrs.evolve(self.unsettled.pop(path), kind="settle")

    def compensate(self) -> None:
        """The run is going to end without a result."""
        if not self.pivoted:
            self.compensating = True
            self.cut("")

    def cancel(self, reason: str) -> None:
        if self.cancelled is None and not self.compensating:
            self.cancelled = reason
            self.compensating = True
            self.cut("")

    def signalled(self, event: h.Signalled, follows: Sequence[Any]) -> None:
        self.seen.add(event.id)
        name = name_of(event.event)
        waiting = [path for path, each in self.open.items() if each.kind == "receive"]
        fitting = [path for path in waiting if self.open[path].type == name]
        moved = [
            path for path in waiting if any(goes_on(each, branch_of(path)) for each in follows)
        ]
        # One of a base class takes it as well, and one with a condition may not.
        taken = next((path for path in fitting if path in moved), None)
        if taken is None and moved:
            taken = moved[0]
        if taken is None:
            taken = next((path for path in fitting if branch_of(path)), None)
        if taken is not None:
            self.settle(taken, failed=False, follows=follows)
        else:
            self.unread[event.id] = Unread(event.id, name, self.time, event.expires)

    # -- what follows

    def follow(self, event: Any, rest: Sequence[Any]) -> None:
        """One consequence, with those behind it."""
        path: str = getattr(event, "path", "")
        if isinstance(event, COMMANDS) and not path.startswith(UNDO):
            self.moved(path)
        match event:
            case h.Intended():
                self.intended(event)
            case h.Slept():
                self.open[path] = _Open("sleep", "", self.time, event.until)
            case h.Awaited():
                self.awaited(event, rest)
            case h.Spawned():
                self.open[path] = _Open("child", event.id, self.time, detached=event.detached)
            case h.Forked():
                self.open[path] = _Open(event.kind, "", self.time)
            case h.Pivoted():
                self.pivoted = True
                self.undos.clear()
                self.unsettled.clear()
            case h.Ended():
                self.end(event.status)
                done = event.status == Status.DONE
                self.outcome = read(event.value) if done else render_refusal(event.value)
            case h.Continued():
                self.end("continued")
                self.outcome = f"it goes on as {render(event.workflow)}"
            case _:
                pass

    def moved(self, path: str) -> None:
        """A branch gives its next command: what it waited for before is over."""
        branch = branch_of(path)
        if self.cancelled is None:
            self.compensating = False  # only a fork was taken back
        for other in list(self.open):
            inside = other.startswith(branch) and not other.startswith(UNDO)
            if inside and "/" in other[len(branch) :]:
                fork = other[len(branch) :].partition("/")[0]
                if f"{branch}{fork}" != path:
                    del self.open[other]
            elif inside and self.open[other].kind != "settle":
                del self.open[other]

    def intended(self, event: h.Intended) -> None:
        path, name = event.path, name_of(event.message)
        if event.kind == "undo":
            inner = path.removeprefix(UNDO)
            later = False
            kept: list[tuple[str, Raw | None, str]] = []
            for undo in self.undos:
                if undo[0] == inner:
                    later = True
                elif later and undo[1] is None:
                    self.faulty(undo)
                else:
                    kept.append(undo)
            self.undos = kept
            if not self.compensating and not self.within(inner):
                self.compensate()
        elif event.kind == "effect":
            found = read(event.message)
            name = str(found[0]) if isinstance(found, list) and found else "an effect"
        self.open[path] = _Open(
            event.kind, name, self.time, asked=self.time, undo=h.given(event.undo)
        )

    def awaited(self, event: h.Awaited, rest: Sequence[Any]) -> None:
        """The code wants a signal, and takes one that has come before, if it fits."""
        branch = branch_of(event.path)
        fitting = next((each.id for each in self.unread.values() if each.type == event.type), None)
        moved = any(goes_on(each, branch) for each in rest)
        if moved and self.unread:
            del self.unread[fitting or next(iter(self.unread))]
        elif fitting is not None and branch and not moved:
            del self.unread[fitting]
        else:
            self.open[event.path] = _Open("receive", event.type, self.time, event.until)

    def within(self, path: str) -> bool:
        """Whether a step is undone for a fork that is decided, and the code goes on behind it."""
        for fork, each in self.open.items():
            if each.kind in FORKS and path.startswith(f"{fork}/"):
                if fork in self.decided:
                    spared = self.decided[fork]
                    if spared is None or not path.startswith(spared):
                        return True
                elif any(other.startswith(f"{fork}/") for other in self.open):
                    return True
        return False

    def faulty(self, undo: tuple[str, Raw | None, str]) -> None:
        path = UNDO + undo[0]
        self.open[path] = _Open("undo", "", self.time)
        self.incidents[path] = Standing(path, undo[2] or "There is no undo message.", self.time)

    def faults(self) -> None:
        """An undo for which there is no message stands as an incident when its turn comes."""
        if not self.compensating or self.over:
            return
        busy = [path for path in self.open if path not in self.incidents]
        while not busy and self.undos and self.undos[-1][1] is None:
            self.faulty(self.undos.pop())

    def end(self, status: str) -> None:
        self.over = status
        self.open.clear()
        self.incidents.clear()
        self.unsettled.clear()
        self.undos.clear()
        self.paused = None

    # -- all of it

    def status(self) -> str:
        if self.over:
            return self.over
        if self.incidents or (self.paused is not None and self.paused.reason == "pivot"):
            return str(Status.INCIDENT)
        if self.compensating:
            return str(Status.COMPENSATING)
        if self.paused is not None:
            return str(Status.PAUSED)
        if any(each.kind not in ("sleep", "receive", *FORKS) for each in self.open.values()):
            return str(Status.RUNNING)
        return str(Status.WAITING if self.open else Status.RUNNING)

    def summary(self) -> Summary:
        started = self.started
        if started is None:
            raise ValueError("There is no record of this run.")
        waits = tuple(
            Wait(path, each.kind, each.type, each.since, each.until, each.attempts,
                 each.asked or None, each.reason)
            for path, each in self.open.items()
            if each.kind not in FORKS and path not in self.incidents
        )  # fmt: skip
        pause = None
        if self.paused is not None:
            incident = self.paused.incident
            text = "" if incident is None else trouble(incident)
            pause = Pause(self.paused.reason, self.since, text, len(self.queue or ()))
        return Summary(
            started.id,
            started.run,
            name_of(started.workflow),
            self.status(),
            self.began,
            self.time,
            self.time if self.over else None,
            self.outcome,
            waits,
            tuple(self.incidents.values()),
            pause,
            tuple(self.unread.values()),
            tuple(
                OpenUndo(path, "" if message is None else render(message), fault)
                for path, message, fault in self.undos
            ),
            self.cancelled,
            None if started.timeout is None or self.over else self.began + started.timeout,
            self.pivoted,
            started.parent,
            self.turns,
        )


FORKS = ("gather", "race")
COMMANDS = (h.Intended, h.Slept, h.Awaited, h.Spawned, h.Forked)
"""What a branch of the code asks for."""


def goes_on(event: Any, branch: str) -> bool:
    """Whether a consequence shows that a branch has got something it waited for."""
    if isinstance(event, COMMANDS):
        return not event.path.startswith(UNDO) and event.path.startswith(branch)
    return not branch and isinstance(event, h.Ended | h.Continued)


def trouble(incident: h.Trouble) -> str:
    """An incident in a sentence or two, without its path."""
    against = f" Recorded: {incident.recorded.rstrip('.')}." if incident.recorded else ""
    instead = f" Came: {incident.came.rstrip('.')}." if incident.came else ""
    return f"{incident.what}{against}{instead}"
