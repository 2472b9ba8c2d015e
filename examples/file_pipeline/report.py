"""The report: what became of each file, as JSON for programs and as one page for a reader.

Names of files are somebody else's, and so is what is found in files. In the page they are data and
never markup; only the script that came with the page runs in it, and nothing is loaded.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import attrs

from examples.file_pipeline.texts import shown

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence

PAGE = Path(__file__).with_name("page.html")
STATUSES = ("done", "refused", "failed")
MIMES = ("image/webp", "image/png", "image/jpeg", "image/svg+xml")
"""What a thumbnail may be."""
LONG = 4_000
"""Characters of a name or a fact that are shown at most."""
PICTURES = 24 << 20
"""Bytes of all thumbnails that are in the page at most."""
UNDONE = 200
"""Files that are not done, and listed where no script may run, at most."""

_MARK = re.compile(r"\{\{(\w+)\}\}")
UNITS = ("bytes", "kB", "MB", "GB", "TB")


@attrs.frozen
class Entry:
    """What became of a file. ``parent`` is the path of the archive it was in, if it was in one.

    ``status`` is "done", "refused" by the file, or "failed" for another ``reason``. ``seconds`` are
    those from its beginning to its end, and ``thumbnail`` is a file beside the report.
    """

    path: str
    size: int
    family: str
    format: str
    status: str
    reason: str | None = None
    seconds: float = 0.0
    facts: dict[str, str] = attrs.field(factory=dict)
    thumbnail: str | None = None
    mime: str | None = None
    parent: str | None = None


@attrs.frozen
class Summary:
    """All files together. ``started`` and ``ended`` are seconds since 1970; ``restarts`` are those
    of each converter, and ``others`` what was left alone: links and special files."""

    started: float
    ended: float
    files: int
    bytes: int
    families: dict[str, int]
    formats: dict[str, int]
    statuses: dict[str, int]
    restarts: dict[str, int]
    others: int = 0


def summarize(
    entries: Iterable[Entry],
    started: float,
    ended: float,
    restarts: Mapping[str, int],
    others: int = 0,
) -> Summary:
    """Add them up. What was in an archive counts as a file, and its bytes not a second time."""
    files = size = 0
    families: Counter[str] = Counter()
    formats: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    for entry in entries:
        files += 1
        size += entry.size if entry.parent is None else 0
        families[entry.family] += 1
        formats[entry.format] += 1
        statuses[entry.status] += 1
    return Summary(
        started,
        ended,
        files,
        size,
        dict(families.most_common()),
        dict(formats.most_common()),
        dict(statuses.most_common()),
        dict(restarts),
        others,
    )


def write_json(entries: Iterable[Entry], summary: Summary, path: Path) -> None:
    """Write an object with ``summary`` and ``entries``, one of them a line."""
    with replacing(path) as file:
        file.write(f'{{"summary": {json.dumps(clean(attrs.asdict(summary)))},\n"entries": [')
        for number, entry in enumerate(entries):
            file.write(",\n" if number else "\n")
            file.write(json.dumps(clean(attrs.asdict(entry))))
        file.write("\n]}\n")


def read_summary(path: Path) -> Summary:
    """The summary of a report that was written as JSON: it is the first line."""
    with path.open(encoding="utf-8") as file:
        found = json.loads(f"{file.readline().rstrip().rstrip(',')}}}")
    return Summary(**found["summary"])


def read_paths(path: Path) -> Iterator[str]:
    """The paths of the entries of a report that was written as JSON: one a line, after the
    first two."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            if line.startswith('{"path"'):
                yield json.loads(line.rstrip().rstrip(","))["path"]


def write_html(
    entries: Sequence[Entry], summary: Summary, path: Path, title: str = "Files"
) -> None:
    """Write the page, which is whole in itself."""
    page = PAGE.read_text("utf-8")
    script = page.partition("<script>")[2].partition("</script>")[0]
    values = {
        "title": text(title),
        "script": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "when": text(f"{moment(summary.started)} to {moment(summary.ended)}"),
        "others": text(left_alone(summary)),
        "tiles": "".join(tiles(summary)),
        "bars": "".join(bars(summary)),
        "undone": "".join(undone(entries)),
    }
    with replacing(path) as file:
        for number, part in enumerate(_MARK.split(page)):
            if number % 2 == 0:
                file.write(part)
            elif part == "entries":
                file.writelines(rows(entries, path.parent))
            else:
                file.write(values[part])


def rows(entries: Iterable[Entry], directory: Path) -> Iterator[str]:
    """The entries as the script of the page reads them. Nothing in them ends the element they are
    in: there is no ``<``."""
    left = PICTURES
    for number, each in enumerate(entries):
        picture = None
        if each.thumbnail is not None and each.mime in MIMES:
            picture = read_picture(directory / each.thumbnail, left)
            left -= len(picture or b"")
        row = [
            each.path,
            each.size,
            each.family,
            each.format,
            each.status,
            each.reason,
            round(each.seconds, 4),
            each.facts,
            each.parent,
            each.mime if picture else None,
            picture,
        ]
        line = json.dumps(clean(row), separators=(",", ":")).replace("<", "\\u003c")
        yield f"{',' if number else ''}\n{line}"


def read_picture(file: Path, limit: int) -> bytes | None:
    """A thumbnail, unless it has more bytes than that, or somebody has taken it away."""
    try:
        return file.read_bytes() if file.stat().st_size <= limit else None
    except OSError:
        return None


def tiles(summary: Summary) -> Iterator[str]:
    """The figures at the top."""
    yield tile("files", f"{summary.files:,}")
    yield tile("bytes", amount(summary.bytes))
    for status in ordered(STATUSES, summary.statuses):
        yield tile(status, f"{summary.statuses.get(status, 0):,}", status)
    yield tile("the last run", duration(summary.ended - summary.started))
    yield tile("restarts in it", f"{sum(summary.restarts.values()):,}")


def tile(name: str, value: str, kind: str = "") -> str:
    """One figure."""
    return f'<div class="tile" data-kind="{text(kind)}"><b>{text(value)}</b>{text(name)}</div>\n'


def bars(summary: Summary) -> Iterator[str]:
    """How the files are shared out among families and formats, and who was started again."""
    yield bar("Families", summary.families)
    yield bar("Formats", summary.formats)
    if any(summary.restarts.values()):
        yield bar("Restarts", summary.restarts)


def bar(name: str, counts: Mapping[str, int], most: int = 8) -> str:
    """Counts as lengths, the greatest first; small ones are added up."""
    ranked = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    if len(ranked) > most:
        rest = ranked[most - 1 :]
        ranked[most - 1 :] = [(f"{len(rest)} more", sum(count for _, count in rest))]
    greatest = max(counts.values(), default=0) or 1
    found = [
        f'<tr><th scope="row">{text(each)}</th><td class="n">{count:,}</td>'
        f'<td class="bar"><progress max="{greatest}" value="{min(count, greatest)}" '
        f'data-kind="{text(each)}"></progress></td></tr>\n'
        for each, count in ranked
    ]
    return f"<section><h2>{text(name)}</h2>\n<table>\n{''.join(found)}</table></section>\n"


def undone(entries: Iterable[Entry]) -> Iterator[str]:
    """What is not done, for where no script may run."""
    left = [each for each in entries if each.status != "done"]
    for each in left[:UNDONE]:
        cells = (each.path, each.status, each.reason or "")
        yield f"<tr>{''.join(f'<td>{text(cell)}</td>' for cell in cells)}</tr>\n"
    if len(left) > UNDONE:
        yield f"<tr><td>and {len(left) - UNDONE:,} more</td></tr>\n"


def left_alone(summary: Summary) -> str:
    """What is said of links and special files."""
    return f"; links and special files left alone: {summary.others:,}" if summary.others else ""


@contextmanager
def replacing(path: Path) -> Generator[TextIO]:
    """A file that takes its place when all of it is written."""
    part = path.with_name(f".{path.name}.part")
    try:
        with part.open("w", encoding="utf-8") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def clean(value: Any) -> Any:
    """A value as JSON can have it: texts that can be written down, bytes in Base64. Facts may have
    several lines."""
    if isinstance(value, str):
        return shown(value, LONG)
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {clean(key): lines(each) for key, each in value.items()}
    if isinstance(value, list):
        return [clean(each) for each in value]
    return value


def lines(value: Any) -> Any:
    """The value of a fact or a figure."""
    if isinstance(value, str):
        return "\n".join(shown(line, LONG) for line in value[:LONG].splitlines())
    return clean(value)


def text(value: str) -> str:
    """Somebody else's text as HTML shows it."""
    return escape(shown(value, LONG))


def ordered(first: Iterable[str], others: Iterable[str]) -> list[str]:
    """Names in the order they are known in, and then those that are not."""
    return list(dict.fromkeys([*first, *others]))


def moment(seconds: float) -> str:
    """A point in time."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def duration(seconds: float) -> str:
    """How long something takes: ``3 min 12 s``."""
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    if round(seconds) < 60:
        return f"{seconds:.{1 if seconds < 10 else 0}f} s"
    minutes, seconds = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {seconds} s"
    return f"{minutes // 60} h {minutes % 60} min"


def amount(size: float) -> str:
    """A number of bytes: ``1.5 MB``."""
    unit = 0
    while size >= 1000 and unit < len(UNITS) - 1:
        size, unit = size / 1000, unit + 1
    return f"{size:,.1f} {UNITS[unit]}" if unit else f"{size:,.0f} {UNITS[unit]}"
