"""The feeder: has every file of a directory processed, and writes the report in the end."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors import Actor, Call, Ref, handles
from examples.file_pipeline.kinds import Kind
from examples.file_pipeline.pipeline import CONVERTERS, JOURNAL, Pipeline, Settings
from examples.file_pipeline.report import Entry, summarize, write_html, write_json
from examples.file_pipeline.sources import Source, Walked, walk
from examples.file_pipeline.workflows import UNKNOWN, File, Outcome, undone
from mediators import SqliteJournal, Start, StartConflict, WorkflowEnded
from supervisors import GetPool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

AT_ONCE = 64
"""Files under way at a time."""
LAST_LOOK = 1.0
"""Seconds in which somebody may ask how far it is when it is done."""
PIPELINE, FEEDER = "pipeline", "feeder"
DATA, PAGE = "report.json", "report.html"
"""The report, for programs and for readers; the page is written last."""
CLOSED = Kind("other", "directory", "a directory")


@attrs.frozen
class Progress:
    """How far it is. ``total`` counts the files, without those in archives, and is None until all
    have been found; ``ended`` those that have ended, by how they did, of which ``before`` had ended
    when this run began; ``known`` are more of those, whose end has not been looked at yet;
    ``within`` counts the files in archives that have ended."""

    total: int | None
    ended: dict[str, int]
    before: int
    known: int
    within: int
    under_way: int
    bytes: int
    done: bool

    @property
    def over(self) -> int:
        """Files that have ended."""
        return sum(self.ended.values())

    @property
    def left(self) -> int | None:
        """Files that have not, if it is known."""
        return None if self.total is None else self.total - self.over


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
    _began: float = attrs.field(init=False, factory=time.time)
    _outcomes: list[Outcome] = attrs.field(init=False, factory=list)
    _ended: Counter[str] = attrs.field(init=False, factory=Counter)
    _before: int = attrs.field(init=False, default=0)
    _known: set[str] = attrs.field(init=False, factory=set)
    _bytes: int = attrs.field(init=False, default=0)
    _within: int = attrs.field(init=False, default=0)
    _under_way: int = attrs.field(init=False, default=0)
    _done: bool = attrs.field(init=False, default=False)
    _last_look: trio.Event = attrs.field(init=False, factory=trio.Event)

    def on_ready(self) -> None:
        """Begin."""
        self.start_soon(self.feed)

    @handles
    def progress(self, msg: GetProgress) -> Progress:
        if self._done:
            self._last_look.set()
        return Progress(
            None if self._walked is None else len(self._walked.sources),
            dict(self._ended),
            self._before,
            len(self._known),
            self._within,
            self._under_way,
            self._bytes,
            self._done,
        )

    async def feed(self) -> None:
        """All of it; in the end the program ends."""
        pipeline = self.system.whereis(PIPELINE)
        assert pipeline is not None, "it is started before its feeder"
        walked = await trio.to_thread.run_sync(
            walk, self.root, self.settings.out, abandon_on_cancel=True
        )
        over = await trio.to_thread.run_sync(self.over, abandon_on_cancel=True)
        self._known = {
            each.path for each in walked.sources if each.path in over and not self.again(each.path)
        }
        self._walked = walked
        room = trio.Semaphore(AT_ONCE)
        async with trio.open_nursery() as nursery:
            for source in walked.sources:
                await room.acquire()
                nursery.start_soon(self.process, pipeline, source, room)
        restarts = {name: await self.restarts(name) for name in CONVERTERS}
        await trio.to_thread.run_sync(self.report, walked, restarts)
        self._done = True
        with trio.move_on_after(LAST_LOOK):
            await self._last_look.wait()
        self.stop()

    async def process(self, pipeline: Ref[Pipeline], source: Source, room: trio.Semaphore) -> None:
        """Have one file processed."""
        self._under_way += 1
        try:
            outcome = await self.outcome(pipeline, source)
        finally:
            self._under_way -= 1
            room.release()
        self._known.discard(source.path)
        self._outcomes.append(outcome)
        self._ended[outcome.status] += 1
        self._before += 0 < outcome.ended < self._began
        self._bytes += source.size
        self._within += sum(1 for _ in within(outcome)) - 1

    async def outcome(self, pipeline: Ref[Pipeline], source: Source) -> Outcome:
        """What becomes of a file, or has become of it already. An archive is begun anew for one of
        the files in it, too."""
        again = self.again(source.path)
        outcome = await self.end(pipeline, source, again)
        if not again and 0 < outcome.ended < self._began:
            if any(self.again(each.source.path) for each in within(outcome)):
                return await self.end(pipeline, source, again=True)
        return outcome

    async def end(self, pipeline: Ref[Pipeline], source: Source, again: bool) -> Outcome:
        """The end of a file's workflow, which is started unless it was before."""
        file = File(source, str(self.settings.out))
        start: Any = Start(file, policy="replace" if again else "join")
        try:
            handle = await pipeline.call(start, timeout=None)
        except StartConflict:  # it has changed since
            handle = await pipeline.call(Start(file, policy="replace"), timeout=None)
        try:
            result: Outcome = await handle.result()
            return result
        except WorkflowEnded as ended:  # somebody has cancelled it
            return undone(source, UNKNOWN, ended)

    def over(self) -> set[str]:
        """The paths of the files that have ended, as the journal has them."""
        with SqliteJournal.read(self.settings.out / JOURNAL) as journal:
            rows = {row.id: row for row in journal.runs() if row.parent is None}
        return {id for id, row in rows.items() if row.over}

    async def restarts(self, name: str) -> int:
        """How many processes of a kind of converter have died."""
        pool = self.system.whereis(name)
        return 0 if pool is None else (await pool.call(GetPool())).replaced

    def report(self, walked: Walked, restarts: dict[str, int]) -> None:
        """Write what became of every file. A directory that could not be read is refused as one."""
        refused = [
            Outcome(Source(path, b"", 0), CLOSED, "refused", why)
            for path, why in walked.closed.items()
        ]
        outcomes = sorted(self._outcomes + refused, key=lambda each: each.source.path)
        entries = [entry(each) for outcome in outcomes for each in within(outcome)]
        summary = summarize(entries, self._began, time.time(), restarts, walked.others)
        write_json(entries, summary, self.settings.out / DATA)
        write_html(entries, summary, self.settings.out / PAGE, title=str(self.root))


def within(outcome: Outcome) -> Iterator[Outcome]:
    """What became of a file, and of all that were in it."""
    yield outcome
    for member in outcome.members:
        yield from within(member)


def entry(outcome: Outcome) -> Entry:
    """What the report says of it."""
    return Entry(
        outcome.source.path,
        outcome.source.size,
        outcome.kind.family,
        outcome.kind.format,
        outcome.status,
        outcome.reason,
        outcome.ended - outcome.began,
        facts=outcome.facts,
        thumbnail=outcome.facts.get("thumbnail"),
        mime=outcome.mime,
        parent=outcome.source.parent,
    )
