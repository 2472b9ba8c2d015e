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

DRAWN, TOLD = 0.25, 5.0
"""Seconds between two looks: in a terminal, and elsewhere."""
LATELY = 10.0
"""Seconds over which speed is measured."""
COLOURS = {"done": "green", "refused": "yellow", "failed": "red"}


@attrs.frozen
class Look:
    """What is seen at one moment."""

    progress: Progress
    pools: dict[str, PoolInfo]
    since: float
    """Seconds since the view was opened."""
    rate: float | None
    """Files a second, of late."""

    @property
    def left(self) -> float | None:
        """Seconds until the end, if it goes on like this."""
        total = self.progress.total
        if not self.rate or total is None:
            return None
        return (total - self.progress.over) / self.rate


@attrs.define
class Viewer(Actor):
    """Asks the feeder and the pools how they are, and shows it. Nobody waits for it."""

    console: Console
    _live: Live | None = attrs.field(init=False, default=None)
    _opened: float = attrs.field(init=False, factory=trio.current_time)
    _seen: deque[tuple[float, int]] = attrs.field(init=False, factory=deque)

    def on_start(self) -> None:
        """Open."""
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()

    def on_ready(self) -> None:
        """Begin."""
        self.start_soon(self.watch)

    async def watch(self) -> None:
        """Look again and again."""
        while True:
            await trio.sleep(DRAWN if self._live is not None else TOLD)
            await self.show()

    async def on_stop(self, exit: Exit) -> None:
        """Close; the last look stays there."""
        if self._live is not None:
            self._live.stop()

    async def show(self) -> None:
        """Look once."""
        look = await self.look()
        if look is None:
            return
        if self._live is not None:
            self._live.update(drawn(look), refresh=True)
        else:
            self.console.print(told(look), soft_wrap=True)

    async def look(self) -> Look | None:
        """What is going on; None if somebody is about to stop, or to start."""
        progress = await self.ask(FEEDER, GetProgress())
        pools = {name: await self.ask(name, GetPool()) for name in CONVERTERS}
        if progress is None:
            return None
        now = trio.current_time()
        self._seen.append((now, progress.over))
        while now - self._seen[0][0] > LATELY:
            self._seen.popleft()
        then, before = self._seen[0]
        span = now - then
        rate = (progress.over - before) / span if span > 0 else None
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
    total = "?" if progress.total is None else f"{progress.total:,}"
    ended = ", ".join(f"{count:,} {status}" for status, count in counted(progress))
    replaced = sum(pool.replaced for pool in look.pools.values())
    return (
        f"{progress.over:,} of {total} files ({ended}), {progress.within:,} in archives, "
        f"{look.rate or 0:,.0f}/s, {remaining(look)}, {replaced:,} converters replaced"
    )


def drawn(look: Look) -> Group:
    """A look as a picture."""
    progress = look.progress
    return Group(bar(look), Text(), states(progress), Text(), converters(look))


def bar(look: Look) -> Table:
    """How far it is, how fast, and how long it will take."""
    progress = look.progress
    total = progress.total
    grid = Table.grid(padding=(0, 2))
    grid.add_row(
        ProgressBar(total, progress.over, width=40, pulse=total is None),
        Text(f"{progress.over:,} of {'?' if total is None else f'{total:,}'} files"),
        Text(f"{look.rate or 0:,.0f}/s", "cyan"),
        Text(amount(progress.bytes), "cyan"),
        Text(f"{duration(look.since)}, {remaining(look)}", "bright_black"),
    )
    return grid


def states(progress: Progress) -> Text:
    """How many files are how far."""
    line = Text()
    for status, count in counted(progress):
        line.append(f"{count:,} {status}   ", COLOURS.get(status, ""))
    line.append(f"{progress.under_way:,} under way   ", "cyan")
    if progress.total is not None:
        line.append(f"{progress.total - progress.over - progress.under_way:,} waiting   ", "blue")
    line.append(f"and {progress.within:,} files in archives", "bright_black")
    return line


def converters(look: Look) -> Table:
    """Each pool: how much there is to do, and who does it."""
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("converters")
    for head in ("waiting", "at work", "workers", "done", "replaced", "set aside"):
        table.add_column(head, justify="right")
    for name, pool in look.pools.items():
        up = sum(worker.up for worker in pool.workers)
        table.add_row(
            name,
            f"{pool.waiting:,}",
            f"{pool.running:,}",
            Text(f"{up} of {pool.least}-{pool.most}", "" if up else "yellow"),
            f"{pool.done:,}",
            Text(f"{pool.replaced:,}", "magenta" if pool.replaced else ""),
            Text(f"{pool.poisoned:,}", "red" if pool.poisoned else ""),
        )
    return table


def counted(progress: Progress) -> list[tuple[str, int]]:
    """How files ended, those first that every run has."""
    return [(each, progress.ended.get(each, 0)) for each in ordered(STATUSES, progress.ended)]


def remaining(look: Look) -> str:
    """How long it will take."""
    return "some time left" if look.left is None else f"{duration(look.left)} left"
