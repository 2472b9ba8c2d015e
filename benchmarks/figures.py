"""The kinds of figures: how each is written, and when one is as good as its bound."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

import attrs


@attrs.frozen
class Figure:
    """One kind of figure that a run tells of."""

    title: str
    show: Callable[[float], str]
    holds: Callable[[float, float], bool]
    """Whether what was measured (first) is as good as the bound (second)."""
    bound: Callable[[float], str] | None = None
    """How a bound is written, where that is not as a figure is."""

    def show_bound(self, bound: float) -> str:
        """A bound, as the table of targets writes it."""
        return (self.bound or self.show)(bound)


def shortened(figure: float) -> str:
    """Three digits and a unit: 1.23 M, 45.6 k."""
    for scale, sign in ((1e6, " M"), (1e3, " k")):
        if figure >= scale:
            value = figure / scale
            return f"{value:.{2 if value < 10 else 1 if value < 100 else 0}f}{sign}"
    return f"{figure:.0f}"


def within(measured: float, bound: float) -> bool:
    """Whether a difference is within a bound that is for both directions."""
    return abs(measured) <= bound


FIGURES: Mapping[str, Figure] = {
    "ratio": Figure("ours to the peer's", "{:.2f}×".format, operator.ge),
    "rate": Figure("rate", lambda rate: f"{shortened(rate)}/s", operator.ge),
    "bytes_each": Figure("memory each", "{:,.0f} B".format, operator.le),
    "speedup": Figure("two to one", "{:.2f}×".format, operator.ge),
    "replace_ms": Figure("until replaced", "{:.1f} ms".format, operator.le),
    "late_seconds": Figure("last file late by", "{:.0f} s".format, operator.le),
    "resident_mb": Figure("resident", "{:,.0f} MB".format, operator.le),
    "journal_mb": Figure("journal", "{:,.0f} MB".format, operator.le),
    "p50_ms": Figure("p50", "{:.2f} ms".format, operator.le),
    "recover_seconds": Figure("to recover all", "{:.1f} s".format, operator.le),
    "recovered_rate": Figure("recovered", lambda rate: f"{shortened(rate)}/s", operator.ge),
    "drift": Figure("end to start", "{:+.1%}".format, within, "±{:.0%}".format),
}
