"""Our side: the same scripts on our supervisors, under the virtual clock."""

from __future__ import annotations

from functools import partial
from math import inf
from typing import Any, Literal

import attrs
import trio

from actors import (
    Actor,
    ActorError,
    Crashed,
    Exit,
    Killed,
    Normal,
    Ref,
    Shutdown,
    StartFailed,
    System,
    handles,
)
from actors.testing import VirtualClock
from supervisors import (
    AlreadyPresent,
    AlreadyStarted,
    Child,
    ChildInfo,
    ChildRefused,
    ChildRestarting,
    ChildRunning,
    CountChildren,
    DeleteChild,
    DynamicSupervisor,
    NoSuchChild,
    RestartChild,
    StartChild,
    StopChild,
    WhichChildren,
    one_for_all,
    one_for_one,
    rest_for_one,
)
from tests.conformance.differential.scripts import Dynamic, Group, Node, Op, Script, Worker

PERIOD = 3600.0
"""Seconds, on both sides: no restart is forgotten while a script is played."""
QUIET = 10.0
"""Virtual seconds after which everything has been done that an operation has led to."""
GROUPS = {"one_for_one": one_for_one, "one_for_all": one_for_all, "rest_for_one": rest_for_one}
EXITS: dict[str, Exit] = {
    "normal": Normal(),
    "shutdown": Shutdown(),
    "why": Shutdown("why"),
    "boom": Crashed(RuntimeError("boom")),
}
SHUTDOWNS: dict[str, float | Literal["kill"]] = {"seconds": 5.0, "infinity": inf, "kill": "kill"}
REFUSALS: list[tuple[type[Exception], str]] = [
    (AlreadyStarted, "already_started"),
    (AlreadyPresent, "already_present"),
    (NoSuchChild, "not_found"),
    (ChildRunning, "running"),
    (ChildRestarting, "restarting"),
    (ChildRefused, "error"),
    (StartFailed, "error"),
    (ActorError, "gone"),
]
"""What an exception is in a word of OTP's, the most specific first."""


class Boom(Exception):
    """What a worker crashes with."""


@attrs.frozen
class Crash:
    """Crash, now."""


@attrs.frozen
class Leave:
    """End by yourself."""

    exit: Exit


@attrs.define
class Board:
    """What the workers of a script are to do, and what has happened."""

    events: list[str] = attrs.field(factory=list)
    fails: dict[str, int] = attrs.field(factory=dict)
    declines: dict[str, int] = attrs.field(factory=dict)

    def taken(self) -> list[str]:
        """The events since the last time."""
        events, self.events = self.events, []
        return events


def took(counts: dict[str, int], id: str) -> bool:
    """Whether one of so many next times is to be now."""
    left = counts.get(id, 0)
    counts[id] = max(left - 1, 0)
    return left > 0


class Plain(Actor):
    """A worker whose turns are plain function calls."""

    def __init__(self, board: Board, id: str, raises: bool) -> None:
        self.board = board
        self.id = id
        self.raises = raises
        self.leaves = False

    def on_start(self) -> Any:
        self.board.events.append(f"start {self.id}")
        fails, declines = took(self.board.fails, self.id), took(self.board.declines, self.id)
        if fails:
            raise Boom(f"{self.id} does not start")
        if declines:
            self.stop()

    def on_stop(self, exit: Exit) -> Any:
        """Only orders from above are written down: see differential.erl."""
        if exit == Shutdown() and not self.leaves:
            self.board.events.append(f"stop {self.id}")
        if self.raises:
            raise Boom(f"{self.id} does not stop")

    @handles
    def crash(self, message: Crash) -> None:
        raise Boom(f"{self.id} crashed")

    @handles
    def leave(self, message: Leave) -> None:
        self.leaves = True
        self.stop(message.exit)


class Awaiting(Plain):
    """A worker with a task, whose start and stop take their time."""

    async def on_start(self) -> None:
        await trio.sleep(0.01)
        super().on_start()
        await trio.sleep(0.01)

    async def on_stop(self, exit: Exit) -> None:
        await trio.sleep(0.01)
        super().on_stop(exit)
        await trio.sleep(0.01)


def play(script: Script) -> list[str]:
    """The log of a script."""
    clock = VirtualClock()
    return clock.run(_play, script, clock)


async def _play(script: Script, clock: VirtualClock) -> list[str]:
    system = System(seed=0, clock=clock.now, watchdog=None)
    async with system.opened():
        board = Board(fails=dict(script.failing))
        # Temporary: what is at the top does not come back.
        spec = child_of(attrs.evolve(script.top, restart="temporary"), board)
        try:
            top = await system.start(spec)
        except StartFailed:
            return [*board.taken(), "= error", ": ended"]
        player = Player(board, top)
        log = await player.record("ok")
        for op in script.ops:
            log += await player.record(await player.do(op))
        await top.stop(Shutdown())
        return log + await player.record("ok")


def child_of(node: Node, board: Board) -> Child[Any]:
    """The spec of a node and what is below it."""
    match node:
        case Worker():
            return Child(
                Awaiting if node.awaits else Plain,
                board,
                node.id,
                node.raises,
                id=node.id,
                restart=node.restart,
                significant=node.significant,
                shutdown=SHUTDOWNS[node.shutdown],
            )
        case Group():
            return GROUPS[node.strategy](
                *(child_of(each, board) for each in node.children),
                max_restarts=node.max_restarts,
                within=PERIOD,
                auto_shutdown=node.auto_shutdown,
                id=node.id,
                restart=node.restart,
                significant=node.significant,
            )
        case Dynamic():
            factory = partial(DynamicSupervisor, max_restarts=node.max_restarts, within=PERIOD)
            return Child(factory, id=node.id, restart=node.restart, significant=node.significant)


class Player:
    """Does one operation after the other and writes down what comes of it."""

    def __init__(self, board: Board, top: Ref[Any]) -> None:
        self.board = board
        self.top = top
        self.known: dict[str, Ref[Any]] = {}
        """Everybody who runs, by id."""

    async def record(self, answer: str) -> list[str]:
        """The events since the last time, the answer, and the tree once all is quiet."""
        await trio.sleep(QUIET)
        self.known = {}
        tree = await self.look("top", self.top) if self.top.alive else "ended"
        return [*self.board.taken(), f"= {answer}", f": {tree}"]

    async def look(self, id: str, supervisor: Ref[Any]) -> str:
        """A supervisor and what is below it, in a line."""
        self.known[id] = supervisor
        texts = [await self.look_at(info) for info in await supervisor.call(WhichChildren())]
        # Allowed: OTP lists dynamic children in no order.
        texts = sorted(texts) if id.startswith("d") else texts
        return f"{id}[{' '.join(texts)}]"

    async def look_at(self, info: ChildInfo) -> str:
        if info.state == "stopped":
            return f"{info.id}-"
        if info.state != "up":
            return f"{info.id} {info.state}"
        if info.kind == "supervisor":
            return await self.look(info.id, info.ref)
        self.known[info.id] = info.ref
        return f"{info.id}+"

    async def do(self, op: Op) -> str:
        """One operation; the answer in a word."""
        match op.verb, op.args:
            case "fail", (str(id), int(count)):
                self.board.fails[id] = count
                return "ok"
            case "decline", (str(id), int(count)):
                self.board.declines[id] = count
                return "ok"
            case ("start_dynamic", (_, Worker(id))) if id in self.known:
                return "taken"
            case ("stop_dynamic", (_, str(id))) if id not in self.known:
                return "absent"
            case "crash_both", (str(), *_):
                needed = op.args
            case _:
                needed = op.args[:1]
        refs = [self.known[id] for id in needed if isinstance(id, str) and id in self.known]
        if len(refs) < len(needed):
            return "absent"
        try:
            return await self.ask(op, refs)
        except Exception as error:
            for kind, word in REFUSALS:
                if isinstance(error, kind):
                    return word
            raise

    async def ask(self, op: Op, refs: list[Ref[Any]]) -> str:
        """An operation on those who run."""
        ref = refs[0]
        match op.verb, op.args:
            case "crash", _:
                ref.cast(Crash())
            case "crash_both", _:
                for each in refs[1:]:
                    each.cast(Crash())
            case "kill", _:
                await ref.stop(Killed())
            case "leave", (_, str(reason)):
                ref.cast(Leave(EXITS[reason]))
            case "end_group", (_, str(reason)):
                await ref.stop(EXITS[reason])
            case "start_child" | "start_dynamic", (_, (Worker() | Group() | Dynamic()) as node):
                await ref.call(StartChild(child_of(node, self.board)), timeout=None)
            case "stop_child", (_, str(id)):
                await ref.call(StopChild(id), timeout=None)
            case "stop_dynamic", (_, str(id)):
                await ref.call(StopChild(self.known[id]), timeout=None)
            case "restart_child", (_, str(id)):
                await ref.call(RestartChild(id), timeout=None)
            case "delete_child", (_, str(id)):
                await ref.call(DeleteChild(id), timeout=None)
            case "count_children", _:
                counts = await ref.call(CountChildren())
                return f"{counts.specs} {counts.active} {counts.supervisors} {counts.workers}"
            case "count_dynamic", _:
                # Allowed: OTP's has one spec, that of all; ours has one for each child.
                counts = await ref.call(CountChildren())
                return f"{counts.active} {counts.supervisors} {counts.workers}"
        return "ok"
