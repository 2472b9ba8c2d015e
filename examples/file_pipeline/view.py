"""The view: what is going on, drawn in a terminal, or told now and then in a line."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import attrs
import trio
from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from actors import Actor, ActorError
from examples.file_pipeline.feeder import FEEDER, GetProgress, Progress
from examples.file_pipeline.pipeline import CONVERTERS
from examples.file_pipeline.report import STATUSES, amount, duration, ordered
from supervisors import GetPool, PoolInfo

if TYPE_CHECKING:
    from actors import Call, Exit

EVERY, TOLD = 0.25, 5.0
"""Seconds between two looks, and between two lines where there is no terminal."""
LATELY = 10.0
"""Seconds over which speed is measured."""
COLOURS = {"done": "green", "refused": "yellow", "failed": "red", "waiting": "blue"}


@attrs.frozen
class Look:
    """What is seen at one moment."""

    progress: Progress
    pools: dict[str, PoolInfo]
    since: float
    """Seconds since the view was opened."""
    rate: float
    """Files that have ended in a second, of late."""

    @property
    def remaining(self) -> str:
        """How long it will take if it goes on like this."""
        progress = self.progress
        if progress.left is None:
            return "looking for files"
        if not progress.left:
            return "done" if progress.done else "writing the report"
        todo = progress.left - progress.known
        if not todo:
            return "looking at what had ended before"
        return f"{duration(max(1.0, todo / self.rate))} left" if self.rate else "some time left"


@attrs.define
class Viewer(Actor):
    """Asks the feeder and the pools how they are, and shows it. Nobody waits for it."""

    console: Console
    _live: Live | None = attrs.field(init=False, default=None)
    _opened: float = attrs.field(init=False, factory=trio.current_time)
    _seen: deque[tuple[float, int]] = attrs.field(init=False, factory=deque)
    """Moments of late, and how many files had ended then."""
    _told: float = attrs.field(init=False, default=0.0)

    def on_start(self) -> None:
        """Open."""
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()

    def on_ready(self) -> None:
        """Begin."""
        self._seen.append((self._opened, 0))
        self.start_soon(self.watch)

    async def watch(self) -> None:
        """Look again and again."""
        while True:
            await trio.sleep(EVERY)
            if (look := await self.look()) is not None:
                self.show(look)

    async def on_stop(self, exit: Exit) -> None:
        """Close; the last look stays there."""
        if self._live is not None:
            self._live.stop()

    def show(self, look: Look) -> None:
        """Draw it; or tell it, if the last line was some time ago, or this is the last one."""
        if self._live is not None:
            self._live.update(drawn(look), refresh=True)
        elif look.progress.done or look.since - self._told >= TOLD:
            self._told = look.since
            self.console.print(told(look), soft_wrap=True)

    async def look(self) -> Look | None:
        """What is going on; None if somebody is about to stop, or to start."""
        pools = {name: await self.ask(name, GetPool()) for name in CONVERTERS}
        progress = await self.ask(FEEDER, GetProgress())
        if progress is None:
            return None
        now = trio.current_time()
        # What had ended before this run comes in no time, and says nothing of the rest.
        self._seen.append((now, progress.over - progress.before))
        while len(self._seen) > 2 and now - self._seen[1][0] >= LATELY:
            self._seen.popleft()
        (then, before), (_, ended) = self._seen[0], self._seen[-1]
        rate = (ended - before) / max(now - then, EVERY)
        known = {name: pool for name, pool in pools.items() if pool is not None}
        return Look(progress, known, now - self._opened, rate)

    async def ask(self, name: str, question: Call[Any]) -> Any:
        """An answer, or None."""
        ref = self.system.whereis(name)
        try:
            return None if ref is None else await ref.call(question, timeout=1.0)
        except ActorError:
            return None


def told(look: Look) -> str:
    """A look in a line."""
    progress = look.progress
    ended = ", ".join(f"{count:,} {status}" for status, count in counted(progress))
    replaced = sum(pool.replaced for pool in look.pools.values())
    return (
        f"{far(progress)} ({ended}), {progress.within:,} in archives, {look.rate:,.0f}/s, "
        f"{look.remaining}; converters replaced: {replaced:,}"
    )


def drawn(look: Look) -> Group:
    """A look as a picture."""
    progress = look.progress
    return Group(bar(progress), pace(look), Text(), states(progress), Text(), converters(look))


def bar(progress: Progress) -> Table:
    """How far it is."""
    grid = Table.grid(padding=(0, 2))
    total = None if progress.total is None else max(1, progress.total)
    filled = 1 if progress.total == 0 else progress.over
    grid.add_row(
        ProgressBar(total, filled, width=40, pulse=total is None), Text(far(progress), no_wrap=True)
    )
    return grid


def far(progress: Progress) -> str:
    """How many files it is through with."""
    return f"{progress.over:,} of {'?' if progress.total is None else f'{progress.total:,}'} files"


def pace(look: Look) -> Text:
    """How fast it is, and how long it will take."""
    line = Text(f"{look.rate:,.0f}/s   {amount(look.progress.bytes)}   ", "cyan")
    return line.append(f"{duration(look.since)}, {look.remaining}", "bright_black")


def states(progress: Progress) -> Text:
    """How many files are how far."""
    parts = [(f"{count:,} {each}", COLOURS.get(each, "")) for each, count in counted(progress)]
    parts.append((f"{progress.under_way:,} under way", "cyan"))
    if progress.left is not None:
        parts.append((f"{progress.left - progress.under_way:,} waiting", COLOURS["waiting"]))
    line = Text("   ").join(Text(*part) for part in parts)
    more = f"\n{progress.within:,} more in archives"
    if progress.before:
        more += f"; {progress.before:,} had ended before this run"
    return line.append(more, "bright_black")


def converters(look: Look) -> Table:
    """Each pool: how much there is to do, and who does it."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("converters")
    for head in ("waiting", "in hand", "workers", "done", "replaced", "set aside"):
        table.add_column(head, justify="right")
    for name, pool in look.pools.items():
        up = sum(worker.up for worker in pool.workers)
        table.add_row(
            name,
            f"{pool.waiting:,}",
            f"{pool.running:,}",
            Text(f"{up} of {pool.min}-{pool.max}", "" if up else "yellow"),
            f"{pool.done:,}",
            Text(f"{pool.replaced:,}", "magenta" if pool.replaced else ""),
            Text(f"{pool.poisoned:,}", "red" if pool.poisoned else ""),
        )
    return table


def counted(progress: Progress) -> list[tuple[str, int]]:
    """How files ended, those first that every run has."""
    return [(each, progress.ended.get(each, 0)) for each in ordered(STATUSES, progress.ended)]
