"""What understudy has to reach against its peers, and what it aims at.

Figures of one machine mean little on another, so all targets but memory's are ratios: our rate
divided by the peer's, both measured in the same round.
"""

from __future__ import annotations

from collections.abc import Mapping

import attrs

from benchmarks.works import OURS

NOISE = 0.05
"""How far apart two ratios may be and still count as the same."""


@attrs.frozen
class Target:
    """A bound on one figure: `at_least` has to be reached, `aim` is where we would like to be."""

    work: str
    peer: str
    at_least: float | None = None
    aim: float | None = None

    @property
    def is_bytes(self) -> bool:
        """Bounded from above, in bytes, and compared with nobody."""
        return self.peer == OURS

    def holds(self, bound: float, measured: float) -> bool:
        """Whether a measured figure is as good as the bound."""
        return measured <= bound if self.is_bytes else measured >= bound

    def verdict(self, measured: float | None) -> str:
        """One or two words for the table."""
        if measured is None:
            return "not measured"
        if self.aim is not None and self.holds(self.aim, measured):
            return "aim reached"
        if self.at_least is None:
            return "aim missed"
        return "reached" if self.holds(self.at_least, measured) else "missed"

    def show(self, figure: float | None) -> str:
        """A bound or a measured figure, as the table writes it."""
        if figure is None:
            return "–"
        return f"{figure:,.0f} B" if self.is_bytes else f"{figure:.2f}×"


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
    Target("memory", OURS, at_least=2048, aim=1024),
    Target("crash", "otp", at_least=1.5, aim=4),
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


def outcomes(figures: Mapping[tuple[str, str], float]) -> list[Outcome]:
    """Hold measured figures against the targets.

    `figures` has our ratio to each peer by (work, peer), and our own bytes under (memory, ours).
    What is missing there is reported as not measured.
    """
    rows = []
    for target in TARGETS:
        measured = figures.get((target.work, target.peer))
        bounds = target.show(target.at_least), target.show(target.aim)
        verdict = target.verdict(measured)
        rows.append(Outcome(target.work, target.peer, *bounds, target.show(measured), verdict))
    return rows + [scaled(figures, *scale) for scale in SCALES]


def scaled(figures: Mapping[tuple[str, str], float], small: str, large: str, peer: str) -> Outcome:
    """The row that says whether a ratio survives a larger number of actors."""
    base = figures.get((small, peer))
    target = Target(large, peer, at_least=None if base is None else base * (1 - NOISE))
    measured = figures.get((large, peer)) if base is not None else None
    at_least = f"no worse than {small}: {target.show(base)}"
    return Outcome(large, peer, at_least, "–", target.show(measured), target.verdict(measured))
