"""Actors that write down what happens to them, and what the cases ask of them."""

from __future__ import annotations

from functools import partial
from typing import Any

import attrs
import trio
import trio.testing

from actors import Actor, Call, Exit, Normal, Ref, System, handles
from actors.telemetry import ActorStopped
from supervisors import (
    Child,
    ChildCounts,
    ChildInfo,
    CountChildren,
    DynamicSupervisor,
    GetChild,
    StartChild,
    WhichChildren,
    one_for_all,
    one_for_one,
    rest_for_one,
)

GROUPS = {"one_for_one": one_for_one, "one_for_all": one_for_all, "rest_for_one": rest_for_one}
STRATEGIES = tuple(GROUPS)

settled = trio.testing.wait_all_tasks_blocked


class Boom(Exception):
    """What a worker crashes with."""


@attrs.frozen
class Crash:
    """Crash, now."""


@attrs.frozen
class Leave:
    """End by yourself."""

    exit: Exit = attrs.field(factory=Normal)


@attrs.frozen
class Work:
    """Be busy for so many seconds; then crash or leave, if told so. Only for Awaiting."""

    seconds: float
    then: Crash | Leave | None = None


@attrs.frozen
class Who(Call[str]):
    """Say your name and incarnation."""


@attrs.define
class Script:
    """What the workers of a test do, by name, and the log of what they have done."""

    log: list[str] = attrs.field(factory=list)
    broken: dict[str, float] = attrs.field(factory=dict)
    """How many of the next starts fail."""
    declining: set[str] = attrs.field(factory=set)
    start_takes: dict[str, float] = attrs.field(factory=dict)
    stop_takes: dict[str, float] = attrs.field(factory=dict)
    stop_raises: set[str] = attrs.field(factory=set)

    def take(self) -> list[str]:
        """The log since the last time."""
        taken, self.log = self.log, []
        return taken

    def start(self, actor: Actor, name: str) -> None:
        if self.broken.get(name, 0) > 0:
            self.broken[name] -= 1
            raise Boom(f"{name} does not start")
        if name in self.declining:
            actor.stop()

    def stop(self, name: str) -> None:
        if name in self.stop_raises:
            raise Boom(f"{name} does not stop")


class Plain(Actor):
    """A worker whose turns are plain function calls."""

    def __init__(self, script: Script, name: str) -> None:
        self.script = script
        self.name = name

    def on_start(self) -> Any:
        self.script.log.append(f"start {self.name}")
        self.script.start(self, self.name)

    def on_stop(self, exit: Exit) -> Any:
        self.script.log.append(f"stop {self.name}")
        self.script.stop(self.name)

    @handles
    def crash(self, message: Crash) -> None:
        raise Boom(f"{self.name} crashed")

    @handles
    def leave(self, message: Leave) -> None:
        self.stop(message.exit)

    @handles
    def who(self, message: Who) -> str:
        return f"{self.name} {self.ref.incarnation}"


class Awaiting(Plain):
    """A worker with a task of its own, whose start and stop may take their time."""

    async def on_start(self) -> None:
        self.script.log.append(f"start {self.name}")
        await trio.sleep(self.script.start_takes.get(self.name, 0))
        self.script.start(self, self.name)

    async def on_stop(self, exit: Exit) -> None:
        await trio.sleep(self.script.stop_takes.get(self.name, 0))
        self.script.log.append(f"stop {self.name}")
        self.script.stop(self.name)

    @handles
    async def work(self, message: Work) -> None:
        await trio.sleep(message.seconds)
        if isinstance(message.then, Crash):
            self.crash(message.then)
        elif message.then is not None:
            self.leave(message.then)


class Stubborn(Actor):
    """Does not yield to its cancellation until it is let go."""

    def __init__(self, release: trio.Event) -> None:
        self.release = release

    @handles
    async def work(self, message: Work) -> None:
        with trio.CancelScope(shield=True):
            await self.release.wait()


class Exits:
    """How the actors of a system ended, in order."""

    def __init__(self, system: System) -> None:
        self.all: list[tuple[str, Exit]] = []
        system.telemetry.listen(self._stopped, ActorStopped)

    def _stopped(self, event: ActorStopped) -> None:
        self.all.append((event.ref.path.rpartition("/")[2], event.exit))

    @property
    def ids(self) -> list[str]:
        return [id for id, _ in self.all]

    def of(self, id: str) -> list[Exit]:
        return [exit for each, exit in self.all if each == id]


def workers(worker: type[Plain], script: Script, names: str, **spec: Any) -> list[Child[Any]]:
    """A child for each of the names, with these keywords of the spec."""
    return [Child(worker, script, name, id=name, **spec) for name in names.split()]


async def supervise(
    system: System, strategy: str, *children: Any, **flags: Any
) -> tuple[Ref[Any], list[Ref[Any]]]:
    """A supervisor that does not return when it ends, and its children; ``"dynamic"`` too."""
    flags = {"restart": "temporary", **flags}
    supervisor: Ref[Any]
    if strategy != "dynamic":
        supervisor = await system.start(GROUPS[strategy](*children, **flags))
        return supervisor, [info.ref for info in await supervisor.call(WhichChildren())]
    spec = {name: flags.pop(name) for name in ("restart", "id", "shutdown") if name in flags}
    supervisor = await system.start(Child(partial(DynamicSupervisor, **flags), **spec))
    return supervisor, [await supervisor.call(StartChild(each), timeout=None) for each in children]


async def child(supervisor: Ref[Any], id: str) -> Ref[Any]:
    """The ref of a child by its id."""
    info: ChildInfo = await supervisor.call(GetChild(id))
    return info.ref


async def states(supervisor: Ref[Any]) -> dict[str, str]:
    """The state of every child by id, in the order of the listing."""
    return {info.id: info.state for info in await supervisor.call(WhichChildren())}


async def counts(supervisor: Ref[Any]) -> tuple[int, int, int, int]:
    """specs, active, supervisors, workers."""
    count: ChildCounts = await supervisor.call(CountChildren())
    return count.specs, count.active, count.supervisors, count.workers


def chain(error: BaseException | None) -> list[BaseException]:
    """An exception and its causes, the first cause last."""
    found = []
    while error is not None:
        found.append(error)
        error = error.__cause__
    return found
