"""Where is every file now? Read from the journal, while the pipeline runs and when it does not."""

from __future__ import annotations

import time
from collections import Counter
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import attrs
from rich import box
from rich.table import Table
from rich.text import Text

from examples.file_pipeline.pipeline import JOURNAL
from examples.file_pipeline.report import STATUSES, duration
from examples.file_pipeline.sources import walk
from examples.file_pipeline.view import COLOURS
from mediators import SqliteJournal, summary_of

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Iterator, Sequence
    from pathlib import Path

    from rich.console import Console

    from mediators.journal import RunRow, SqliteReader

SHOWN = 1_000
"""Files that are listed at most, unless all are asked for."""
NONE = "no file matches"


@attrs.frozen
class Standing:
    """Where a file is: "waiting", under way as a workflow of some type, or ended; and ``what`` it
    waits for, or has come to."""

    path: str
    state: str
    what: str

    @property
    def ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state in ("done", "refused", "failed", "cancelled")


def show_where(
    console: Console, root: Path, out: Path, patterns: Sequence[str], *, whole: bool = False
) -> None:
    """Print where files are: those whose paths match a pattern, or those under way; and how many
    are where. Not more than a thousand, unless the ``whole`` list is asked for."""
    counts: Counter[str] = Counter()
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for head in ("file", "state", "what it waits for, or came to"):
        table.add_column(head, overflow="fold")
    left = 0
    for each in standings(root, out):
        counts[each.state] += 1
        if matches(each.path, patterns) if patterns else under_way(each):
            if whole or table.row_count < SHOWN:
                state = Text(each.state, COLOURS.get(each.state, "cyan"))
                table.add_row(Text(each.path), state, Text(each.what))
            else:
                left += 1
    if table.row_count:
        console.print(table)
    elif patterns:
        console.print(NONE)
    if left:
        console.print(f"and {left:,} more: --all lists them")
    console.print(told(counts))


def told(counts: Counter[str]) -> str:
    """How many files are where."""
    usual = ["waiting", *STATUSES]
    line = ", ".join(f"{counts[state]:,} {state}" for state in usual)
    if more := [state for state in counts if state not in usual]:
        line += f"; {', '.join(f'{counts[state]:,} {state}' for state in more)}"
    return line


def under_way(standing: Standing) -> bool:
    """Whether somebody is at it."""
    return standing.state != "waiting" and not standing.ended


def matches(path: str, patterns: Sequence[str]) -> bool:
    """Whether one of the patterns, such as ``*.pdf``, is that of the path."""
    return any(fnmatchcase(path, pattern) for pattern in patterns)


def standings(root: Path, out: Path) -> Iterator[Standing]:
    """All files in the order of their paths: those of which the journal knows, and those that have
    not begun."""
    found = {source.path for source in walk(root, out).sources}
    with SqliteJournal.read(out / JOURNAL) as reader:
        rows = current(reader.runs(), found)
        for path in sorted(found | rows.keys()):
            row = rows.get(path)
            if row is None:
                yield Standing(path, "waiting", "")
            else:
                yield ended(reader, row) if row.over else going(reader, row)


def current(rows: Iterable[RunRow], found: Container[str]) -> dict[str, RunRow]:
    """The last run of each file that is in the directory, or was in an archive there when that was
    last unpacked."""
    latest = {path_of(row): row for row in rows}
    there: dict[str, RunRow] = {}
    numbers: set[int] = set()
    for path, row in latest.items():  # an archive comes before what was in it
        if path in found if row.parent is None else row.parent in numbers:
            there[path] = row
            numbers.add(row.number)
    return there


def going(reader: SqliteReader, row: RunRow) -> Standing:
    """A file that is under way."""
    what = summary_of(reader, row).waiting_words(time.time())
    return Standing(path_of(row), kind_of(row), what)


def ended(reader: SqliteReader, row: RunRow) -> Standing:
    """A file of which it is known what became of it."""
    summary = summary_of(reader, row)
    if row.status != "done":
        return Standing(path_of(row), row.status, summary.outcome_words())
    outcome = summary.outcome.fields
    took = duration(outcome["ended"] - outcome["began"])
    what = outcome["reason"] or f"{kind_of(row)}, {took}"
    return Standing(path_of(row), outcome["status"], what)


def kind_of(row: RunRow) -> str:
    """The class of the workflow of a run, without its module."""
    return row.type.rpartition(":")[2]


def path_of(row: RunRow) -> str:
    """The path of the file of a run; members of archives have an edition behind it."""
    path, mark, _ = row.id.rpartition("#")
    return path if mark and row.parent is not None else row.id
