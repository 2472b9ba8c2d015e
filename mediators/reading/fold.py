"""A pure fold over the turns of one run.

Replay knows more, since it runs the code; here some things are inferred. Which signal a ``receive``
took, and which branches a decided ``race`` has cut off, is not written down: it is told from what
followed in the same turn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from mediators import history as h
from mediators.execution.events import TIMED_OUT, is_kept
from mediators.execution.rollback import UNDO
from mediators.outcomes import Status
from mediators.reading.rendering import name_of, read, render, render_refusal, trouble
from mediators.reading.standing import Standing, Unread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from msgspec import Raw

FORKS = ("gather", "race")
COMMANDS = (h.Intended, h.Slept, h.Awaited, h.Spawned, h.Forked)
"""What a branch of the code asks for."""


def branch_of(path: str) -> str:
    """The branch a command belongs to, as the prefix of its path; empty for that of ``run``."""
    return path[: path.rfind("/") + 1]


@attrs.define
class Open:
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


class Fold:
    """Everything there is to know of a run after the turns that came so far."""

    def __init__(self) -> None:
        self.started: h.Started | None = None
        self.began = self.time = 0.0
        self.turns = 0
        self.open: dict[str, Open] = {}
        self.unsettled: dict[str, Open] = {}
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
                self.open[path] = Open("sleep", "", self.time, event.until)
            case h.Awaited():
                self.awaited(event, rest)
            case h.Spawned():
                self.open[path] = Open("child", event.id, self.time, detached=event.detached)
            case h.Forked():
                self.open[path] = Open(event.kind, "", self.time)
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
        self.open[path] = Open(
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
            self.open[event.path] = Open("receive", event.type, self.time, event.until)

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
        self.open[path] = Open("undo", "", self.time)
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


def goes_on(event: Any, branch: str) -> bool:
    """Whether a consequence shows that a branch has got something it waited for."""
    if isinstance(event, COMMANDS):
        return not event.path.startswith(UNDO) and event.path.startswith(branch)
    return not branch and isinstance(event, h.Ended | h.Continued)
