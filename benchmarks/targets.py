"""What understudy has to reach against its peers and by itself, and what it aims at.

Figures of one machine mean little on another, so targets are ratios where there is a peer: our rate
divided by the peer's, both measured in the same round. The others bound a figure of our own.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from benchmarks.figures import FIGURES, Figure
from benchmarks.works import BY_NAME, OURS

NOISE = 0.05
"""How far apart two ratios may be and still count as the same."""

Key = tuple[str, str, str]
"""A measured figure's: work, peer and which of the figures it is."""


@attrs.frozen
class Target:
    """A bound on one figure: `at_least` has to be reached, `aim` is where we would like to be."""

    work: str
    peer: str
    at_least: float | None = None
    aim: float | None = None
    figure: str = "ratio"

    @property
    def kind(self) -> Figure:
        """What the figure is and how it is compared."""
        return FIGURES[self.figure]

    @property
    def key(self) -> Key:
        """Where the measured figure is found."""
        return self.work, self.peer, self.figure

    @property
    def title(self) -> str:
        """The work, and which of its figures if that is not the one that is compared."""
        if self.figure in ("ratio", BY_NAME[self.work].figure):
            return self.work
        return f"{self.work}, {self.kind.title}"

    def verdict(self, measured: float | None) -> str:
        """One or two words for the table."""
        if measured is None:
            return "not measured"
        if self.aim is not None and self.kind.holds(measured, self.aim):
            return "aim reached"
        if self.at_least is None:
            return "aim missed"
        return "reached" if self.kind.holds(measured, self.at_least) else "missed"

    def show(self, measured: float | None) -> str:
        """A measured figure, as the table writes it."""
        return "–" if measured is None else self.kind.show(measured)

    def show_bound(self, bound: float | None) -> str:
        """A bound, as the table writes it."""
        return "–" if bound is None else self.kind.show_bound(bound)


def parked(work: str, seconds: float, aim: float) -> tuple[Target, Target]:
    """Bounds of parked workflows: the memory of each and the time to recover all of them."""
    return (
        Target(work, OURS, at_least=4096, aim=1024, figure="bytes_each"),
        Target(work, OURS, at_least=seconds, aim=aim, figure="recover_seconds"),
    )


TARGETS = (
    Target("cast", "trio", at_least=4.5, aim=6),
    Target("call", "trio", at_least=12),
    Target("call", "otp", at_least=0.5, aim=1),
    Target("call_100", "trio", at_least=6),
    Target("call_100", "otp", aim=0.7),
    Target("call_async", "trio", at_least=1.5, aim=2.5),
    Target("ring", "trio", at_least=4),
    Target("ring", "otp", aim=0.5),
    Target("fanout", "trio", at_least=3),
    Target("fanout", "otp", aim=0.7),
    Target("spawn", "trio", at_least=3),
    Target("spawn", "otp", aim=1),
    Target("memory", OURS, at_least=2048, aim=1024, figure="bytes_each"),
    Target("crash", "otp", at_least=1.5, aim=4),
    Target("isolated_call", OURS, at_least=0.4, figure="p50_ms"),
    Target("isolated_call_100", OURS, at_least=30_000, aim=60_000, figure="rate"),
    Target("pool_dispatch", OURS, at_least=20_000, aim=40_000, figure="rate"),
    Target("cpu_two", OURS, at_least=1.8, aim=1.95, figure="speedup"),
    Target("replace_warm", OURS, at_least=50, aim=20, figure="replace_ms"),
    Target("replace_cold", OURS, at_least=500, figure="replace_ms"),
    Target("sharded_saga", OURS, at_least=1.3, aim=1.8, figure="speedup"),
    Target("saga", "sqlite", at_least=0.4, aim=0.8),
    Target("saga", "dbos", at_least=5),
    Target("saga", OURS, at_least=3, figure="p50_ms"),
    Target("saga_100", "sqlite", at_least=0.2, aim=0.5),
    Target("saga_100", "dbos", at_least=100),
    Target("saga_fail", "sqlite", at_least=0.2, aim=0.5),
    *parked("parked_signal", 15, aim=5),
    *parked("parked_timer", 15, aim=5),
    *parked("parked_million", 180, aim=60),
    Target("long", OURS, at_least=0.2, figure="drift"),
    Target("replay", OURS, at_least=50_000, figure="rate"),
)

SCALES = (("spawn", "spawn_100k", "trio"), ("spawn", "spawn_100k", "otp"))
"""The second work's ratio to the peer must be no worse than the first's."""


@attrs.frozen
class Outcome:
    """A row of the table of targets."""

    work: str
    peer: str
    at_least: str
    aim: str
    measured: str
    verdict: str


def outcomes(figures: Mapping[Key, float]) -> list[Outcome]:
    """Hold measured figures against the targets.

    `figures` has our ratio to each peer by (work, peer, "ratio"), and our own by (work, ours, which
    figure). What is missing there is reported as not measured.
    """
    rows = []
    for target in TARGETS:
        measured = figures.get(target.key)
        bounds = target.show_bound(target.at_least), target.show_bound(target.aim)
        verdict = target.verdict(measured)
        rows.append(Outcome(target.title, target.peer, *bounds, target.show(measured), verdict))
    return rows + [scaled(figures, *scale) for scale in SCALES]


def scaled(figures: Mapping[Key, float], small: str, large: str, peer: str) -> Outcome:
    """The row that says whether a ratio survives a larger number of actors."""
    base = figures.get((small, peer, "ratio"))
    target = Target(large, peer, at_least=None if base is None else base * (1 - NOISE))
    measured = figures.get(target.key) if base is not None else None
    at_least = f"no worse than {small}: {target.show(base)}"
    return Outcome(large, peer, at_least, "–", target.show(measured), target.verdict(measured))
