"""Workers and messages for the tests of pools."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors import Actor, Call, Ref, Refusal, handles

if TYPE_CHECKING:
    from actors import Exit


@attrs.frozen
class Work(Call[str]):
    """Takes so many seconds."""

    name: str
    seconds: float = 0.0


@attrs.frozen
class Other(Call[str]):
    """Another operation."""

    name: str


@attrs.frozen
class Tell:
    """One-way."""

    name: str


@attrs.frozen
class Die(Call[str]):
    """Costs the worker, the first so many times."""

    name: str
    times: int = 1_000_000


@attrs.frozen
class DieQuietly:
    """The same, one-way."""

    name: str


@attrs.frozen
class Refuse(Call[None]):
    """Refused."""


@attrs.frozen
class Nobodys(Call[None]):
    """Nobody handles it."""


class NotToday(Refusal):
    """A refusal."""


class Log:
    """What the workers of one test have done, in order."""

    def __init__(self) -> None:
        self.begun: list[str] = []
        self.done: list[str] = []
        self.stopped: list[str] = []
        self.deaths: dict[str, int] = {}
        self.at_once = 0
        self.most_at_once = 0
        self.moments: list[tuple[str, float]] = []
        self.broken = False


class Worker(Actor):
    """Works, and notes what it does."""

    def __init__(self, log: Log) -> None:
        self.log = log
        if log.broken:
            raise RuntimeError("it does not come up")

    async def _take_time(self, name: str, seconds: float) -> str:
        log = self.log
        log.begun.append(name)
        log.moments.append((name, trio.current_time()))
        log.at_once += 1
        log.most_at_once = max(log.most_at_once, log.at_once)
        try:
            await trio.sleep(seconds)
        finally:
            log.at_once -= 1
        log.done.append(name)
        return f"{name} by {self.ref.path.rpartition('/')[2]}"

    @handles
    async def work(self, msg: Work) -> str:
        return await self._take_time(msg.name, msg.seconds)

    @handles
    async def other(self, msg: Other) -> str:
        return await self._take_time(msg.name, 1.0)

    @handles
    async def tell(self, msg: Tell) -> None:
        await self._take_time(msg.name, 0.0)

    @handles
    def die(self, msg: Die) -> str:
        return self._die(msg.name, msg.times)

    @handles
    def die_quietly(self, msg: DieQuietly) -> None:
        self._die(msg.name, 1_000_000)

    def _die(self, name: str, times: int) -> str:
        self.log.begun.append(name)
        deaths = self.log.deaths.get(name, 0)
        if deaths < times:
            self.log.deaths[name] = deaths + 1
            raise ValueError(f"{name} is too much")
        self.log.done.append(name)
        return name

    @handles
    def refuse(self, msg: Refuse) -> None:
        raise NotToday("no")

    def on_stop(self, exit: Exit) -> None:
        self.log.stopped.append(type(exit).__name__)


class LongLastWords(Worker):
    """Takes a while to end."""

    async def on_stop(self, exit: Exit) -> None:
        await trio.sleep(3.0)
        super().on_stop(exit)


class HandsOn(Worker):
    """Has somebody else do its work, and knows nobody who would."""

    def __init__(self, log: Log, to: Ref[Any]) -> None:
        super().__init__(log)
        self.to = to

    @handles
    async def work(self, msg: Work) -> Any:
        self.log.begun.append(msg.name)
        assert len(self.log.begun) < 100, "it goes on for ever"
        self.to.forward(self.envelope)


class TakesAll(Worker):
    """Takes whatever comes."""

    @handles
    def everything(self, msg: object) -> str:
        self.log.done.append(type(msg).__name__)
        return "taken"


def names(log: Any) -> str:
    """What was done, in one word."""
    return " ".join(log.done)
