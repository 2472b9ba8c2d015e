"""From runs to medians, ratios, tables and `docs/performance.md`: functions over frozen data."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence

import attrs

from benchmarks.figures import FIGURES
from benchmarks.roster import BY_NAME as PEER_BY_NAME
from benchmarks.roster import PEERS
from benchmarks.targets import Key, Outcome, outcomes
from benchmarks.works import BY_NAME, OURS, WORKS, Work

INTRODUCTION = """\
# Performance

Written by `python -m benchmarks`: the works, the peers and what is alike between them are in
`benchmarks/`. Each run is a process of its own, start and warm-up are not timed, and messages are
made beforehand: delivery is measured, not the construction of a dataclass. The peers take turns
within a round, and the order rotates from round to round. A figure is the median of the rounds
(here {rounds}, fewer where it says so) and a ratio the median of the ratios inside each round.
Absolute figures move with the machine and with what else runs on it; compare ratios.
"""

DURABLE = """\
Each peer writes to a folder on the same disk, and nobody's next step starts before the fsync of the
one before. SQLite is a bare loop with one row to an event and nothing around it: the floor. What is
parked is killed with SIGKILL and recovered by a new process, whose start is not timed.
"""


LESS = ("bytes each", "ms")
"""Units of which less is better."""


@attrs.frozen
class Run:
    """One work done once by one peer."""

    work: str
    peer: str
    round: int
    figure: float
    """The work's own: operations per second, or bytes for each of what is in memory."""
    line: Mapping[str, float | str]
    """What the peer printed."""


@attrs.frozen
class Summary:
    """One work and peer over all rounds."""

    work: str
    peer: str
    unit: str
    rounds: int
    median: float
    min: float
    max: float
    ratio: float | None
    """Ours divided by the peer's, the median over the rounds both took part in."""
    also: Mapping[str, float] = attrs.field(factory=dict)
    """Medians of the work's other figures."""


def read_run(printed: str, round_: int) -> Run:
    """The run that a peer's JSON line tells of."""
    line: dict[str, float | str] = json.loads(printed)
    work = BY_NAME[str(line["work"])]
    return Run(work.name, str(line["peer"]), round_, float(line[work.figure]), line)


def summarise(runs: Iterable[Run]) -> list[Summary]:
    """Medians and ratios, in the order of the works and of the peers."""
    rounds: dict[tuple[str, str], dict[int, float]] = {}
    others: dict[Key, list[float]] = {}
    for run in runs:
        rounds.setdefault((run.work, run.peer), {})[run.round] = run.figure
        for key in BY_NAME[run.work].also:
            if key in run.line:
                others.setdefault((run.work, run.peer, key), []).append(float(run.line[key]))
    summaries = []
    for work in WORKS:
        ours = rounds.get((work.name, OURS), {})
        for peer in PEERS:
            figures = rounds.get((work.name, peer.name))
            if figures is None:
                continue
            ratios = [ours[at] / figure for at, figure in figures.items() if at in ours]
            summaries.append(
                Summary(
                    work.name,
                    peer.name,
                    work.unit,
                    len(figures),
                    statistics.median(figures.values()),
                    min(figures.values()),
                    max(figures.values()),
                    statistics.median(ratios) if ratios else None,
                    {
                        key: statistics.median(others[work.name, peer.name, key])
                        for key in work.also
                        if (work.name, peer.name, key) in others
                    },
                )
            )
    return summaries


def summary_line(summary: Summary) -> str:
    """The JSON line of one work and peer."""
    return json.dumps(attrs.asdict(summary))


def held(summaries: Iterable[Summary]) -> list[Outcome]:
    """The targets, held against what was measured."""
    figures: dict[Key, float] = {}
    for summary in summaries:
        work, peer = summary.work, summary.peer
        if peer == OURS:
            figures[work, peer, BY_NAME[work].figure] = summary.median
            figures |= {(work, peer, key): figure for key, figure in summary.also.items()}
        elif summary.unit == "per second" and summary.ratio is not None:
            figures[work, peer, "ratio"] = summary.ratio
    return outcomes(figures)


def table(head: Sequence[str], rows: Iterable[Sequence[str]], right: Iterable[int] = ()) -> str:
    """A Markdown table, padded so that it can be read as it is; `right` columns lean right."""
    lines = [list(head), *(list(row) for row in rows)]
    widths = [max(3, *(len(line[column]) for line in lines)) for column in range(len(head))]
    lean = set(right)
    rule = ["-" * (w - 1) + ":" if c in lean else "-" * w for c, w in enumerate(widths)]
    pads = [str.rjust if column in lean else str.ljust for column in range(len(head))]
    return "\n".join(
        "| "
        + " | ".join(pad(cell, w) for pad, cell, w in zip(pads, cells, widths, strict=True))
        + " |"
        for cells in [lines[0], rule, *lines[1:]]
    )


def targets_table(rows: Iterable[Outcome]) -> str:
    """The targets: what has to be, what is aimed at, what is."""
    head = ("work", "against", "at least", "aim", "measured", "")
    cells = (
        (
            row.work,
            "itself" if row.peer == OURS else PEER_BY_NAME[row.peer].title,
            row.at_least,
            row.aim,
            row.measured,
            row.verdict,
        )
        for row in rows
    )
    return table(head, cells, right=(2, 3, 4))


def figures_table(
    summaries: Iterable[Summary],
    show: Callable[[Summary], str],
) -> str:
    """A cell for each work and peer."""
    cells = {(summary.work, summary.peer): show(summary) for summary in summaries}
    peers = [peer for peer in PEERS if any(peer.name == name for _, name in cells)]
    works = [work for work in WORKS if any(work.name == name for name, _ in cells)]
    rows = [
        [work.name, *(cells.get((work.name, peer.name), "–") for peer in peers)] for work in works
    ]
    return table(["", *(peer.title for peer in peers)], rows, right=range(1, len(peers) + 1))


def rate(summary: Summary) -> str:
    """The median with its spread, as the table writes it."""
    figure = FIGURES[BY_NAME[summary.work].figure].show(summary.median)
    if summary.unit == "bytes each":
        return figure
    low, high = (round(100 * (edge / summary.median - 1)) for edge in (summary.min, summary.max))
    spread = f" ({low:+}…{high:+} %)" if summary.rounds > 1 else ""
    return f"{figure}{spread}"


def ratio(summary: Summary) -> str:
    """Ours to the peer's, as the table writes it."""
    return "–" if summary.ratio is None else f"{summary.ratio:.2f}×"


def also_table(summaries: Sequence[Summary]) -> str:
    """What else the works tell, a line for each of their figures; empty if they tell nothing."""
    peers = [peer for peer in PEERS if any(s.peer == peer.name and s.also for s in summaries)]
    cells = {
        (summary.work, key, summary.peer): FIGURES[key].show(figure)
        for summary in summaries
        for key, figure in summary.also.items()
    }
    rows = [
        [
            f"{work.name}, {FIGURES[key].title}",
            *(cells.get((work.name, key, peer.name), "–") for peer in peers),
        ]
        for work in WORKS
        for key in work.also
        if any((work.name, key, peer.name) in cells for peer in peers)
    ]
    if not rows:
        return ""
    return table(["", *(peer.title for peer in peers)], rows, right=range(1, len(peers) + 1))


def flat_sentence(runs: Iterable[Run]) -> str:
    """What became of the process in `flat`, or nothing if it was not run."""
    for run in runs:
        if run.work == "flat":
            before, after = (float(run.line[key]) for key in ("before_bytes", "after_bytes"))
            return (
                f"{float(run.line['n']):,.0f} messages through one actor took the process from "
                f"{before / 1e6:.1f} MB to {after / 1e6:.1f} MB of resident memory."
            )
    return ""


def document(
    runs: Sequence[Run], facts: Mapping[str, str], skipped: Mapping[str, str], rounds: int
) -> str:
    """`docs/performance.md`."""
    summaries = summarise(runs)
    measured = {summary.work for summary in summaries}
    works = [work for work in WORKS if work.name in measured]
    plain, processes, durable = (
        [s for s in summaries if BY_NAME[s.work].part == part]
        for part in ("actors", "processes", "durable")
    )
    flat = flat_sentence(runs)
    parts = [
        INTRODUCTION.format(rounds=rounds).rstrip(),
        "## Targets",
        targets_table([each for each in held(summaries) if each.work.split(",")[0] in measured]),
        *measurements("Rates", "Ours to each peer", plain),
        *(("## A long run", flat) if flat else ()),
        *measurements("Processes", "Our processes to each peer's", processes),
        *measurements("Durable workflows", "Our durable workflows to each peer's", durable),
        "## The works",
        "\n".join(
            f"- `{work.name}` ({work.counts}{fewer(work, rounds)}): {work.measures}."
            for work in works
        ),
        "## Measured with",
        table(("", "version"), facts.items()),
        "\n".join(f"{name} was not measured: {why}." for name, why in skipped.items()),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def fewer(work: Work, rounds: int) -> str:
    """How many rounds a work had that takes too long for all of them."""
    return f", {work.rounds} rounds" if work.rounds and work.rounds < rounds else ""


def measurements(title: str, against: str, summaries: Sequence[Summary]) -> list[str]:
    """The tables of one group of works: the medians, what else there is to tell, the ratios."""
    if not summaries:
        return []
    durable = any(BY_NAME[summary.work].part == "durable" for summary in summaries)
    compared = [s for s in summaries if s.peer != OURS and s.ratio is not None]
    weighed = ", ".join(
        f"`{name}`" for name in dict.fromkeys(s.work for s in compared if s.unit in LESS)
    )
    less = f"; in {weighed}, below 1 we need less" if weighed else ""
    ratios = [
        f"## {against}",
        f"Above 1 we do more in a second{less}.",
        figures_table(compared, ratio),
    ]
    return [
        f"## {title}",
        DURABLE.rstrip() if durable else "",
        "Median, and how far the slowest and the fastest round were from it.",
        figures_table(summaries, rate),
        also_table(summaries),
        *(ratios if compared else ()),
    ]
