"""The feeder: has every file of a directory processed, and writes the report in the end."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors import Actor, Call, Ref, handles
from examples.file_pipeline.pipeline import CONVERTERS, Pipeline, Settings
from examples.file_pipeline.report import Entry, summarize, write_html, write_json
from examples.file_pipeline.sources import Source, Walked, walk
from examples.file_pipeline.workflows import UNKNOWN, File, Outcome, undone
from mediators import Start, StartConflict, WorkflowEnded
from supervisors import GetPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

AT_ONCE = 64
"""Files under way at a time."""
PIPELINE, FEEDER = "pipeline", "feeder"
REPORTS = ("report.json", "report.html")


@attrs.frozen
class Progress:
    """How far it is: files by how they ended, those in archives counted apart, and those under way
    or not begun. ``total`` is None until all have been found."""

    total: int | None
    ended: dict[str, int]
    within: int
    under_way: int
    bytes: int
    done: bool = False

    @property
    def over(self) -> int:
        """Files that have ended."""
        return sum(self.ended.values())


@attrs.frozen
class GetProgress(Call[Progress]):
    """How far is it?"""


@attrs.define
class Feeder(Actor):
    """Starts a workflow for each file below ``root``, so many at a time, and hears of its end. One
    that was started before is joined, unless ``again`` says of its path that it is begun anew, or
    the file has changed. Started again, it does the same again, which changes nothing."""

    root: Path
    settings: Settings
    again: Callable[[str], bool]
    _walked: Walked | None = attrs.field(init=False, default=None)
    _outcomes: list[Outcome] = attrs.field(init=False, factory=list)
    _ended: Counter[str] = attrs.field(init=False, factory=Counter)
    _bytes: int = attrs.field(init=False, default=0)
    _within: int = attrs.field(init=False, default=0)
    _under_way: int = attrs.field(init=False, default=0)
    _done: bool = attrs.field(init=False, default=False)

    def on_ready(self) -> None:
        """Begin."""
        self.start_soon(self.feed)

    @handles
    def progress(self, msg: GetProgress) -> Progress:
        total = None if self._walked is None else len(self._walked.sources)
        return Progress(
            total, dict(self._ended), self._within, self._under_way, self._bytes, self._done
        )

    async def feed(self) -> None:
        """All of it; in the end the program ends."""
        began = time.time()
        pipeline = self.system.whereis(PIPELINE)
        assert pipeline is not None, "it is started before its feeder"
        self._walked = await trio.to_thread.run_sync(walk, self.root, self.settings.out)
        room = trio.Semaphore(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for source in self._walked.sources:
                await room.acquire()
                nursery.start_soon(self.process, pipeline, source, room)
        restarts = {name: await self.restarts(name) for name in CONVERTERS}
        await trio.to_thread.run_sync(self.report, began, restarts)
        self._done = True
        self.stop()

    async def process(self, pipeline: Ref[Pipeline], source: Source, room: trio.Semaphore) -> None:
        """Have one file processed."""
        self._under_way += 1
        try:
            outcome = await self.outcome(pipeline, source)
        finally:
            self._under_way -= 1
            room.release()
        self._outcomes.append(outcome)
        self._ended[outcome.status] += 1
        self._bytes += source.size
        self._within += sum(1 for _ in within(outcome)) - 1

    async def outcome(self, pipeline: Ref[Pipeline], source: Source) -> Outcome:
        """What becomes of a file, or has become of it already."""
        file = File(source, str(self.settings.out))
        start: Any = Start(file, policy="replace" if self.again(source.path) else "join")
        try:
            handle = await pipeline.call(start, timeout=None)
        except StartConflict:  # it has changed since
            handle = await pipeline.call(Start(file, policy="replace"), timeout=None)
        try:
            result: Outcome = await handle.result()
            return result
        except WorkflowEnded as ended:  # somebody has cancelled it
            return undone(source, UNKNOWN, ended, 0.0)

    async def restarts(self, name: str) -> int:
        """How many processes of a kind of converter have died."""
        pool = self.system.whereis(name)
        return 0 if pool is None else (await pool.call(GetPool())).replaced

    def report(self, began: float, restarts: dict[str, int]) -> None:
        """Write what became of every file."""
        outcomes = sorted(self._outcomes, key=lambda each: each.source.path)
        entries = [entry(each) for outcome in outcomes for each in within(outcome)]
        summary = summarize(entries, began, time.time(), restarts)
        data, page = (self.settings.out / name for name in REPORTS)
        write_json(entries, summary, data)
        write_html(entries, summary, page, title=str(self.root))


def within(outcome: Outcome) -> Iterator[Outcome]:
    """What became of a file, and of all that were in it."""
    yield outcome
    for member in outcome.members:
        yield from within(member)


def entry(outcome: Outcome) -> Entry:
    """What the report says of it."""
    source, small = outcome.source, outcome.small
    return Entry(
        source.path,
        source.size,
        outcome.kind.family,
        outcome.kind.format,
        outcome.status,
        outcome.reason,
        outcome.seconds,
        facts=outcome.facts,
        thumbnail=None if small is None else read(Path(small.file)),
        mime=None if small is None else small.mime,
        parent=source.parent,
    )


def read(file: Path) -> bytes | None:
    """A thumbnail, unless somebody has taken it away."""
    try:
        return file.read_bytes()
    except OSError:
        return None
