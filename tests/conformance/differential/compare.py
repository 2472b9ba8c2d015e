"""What the two sides are compared by, and the least script by which they differ."""

from __future__ import annotations

from collections.abc import Callable
from itertools import groupby, zip_longest
from typing import TypeAlias

import attrs

from tests.conformance.differential.scripts import Script

Play: TypeAlias = Callable[[Script], list[str]]


@attrs.frozen
class Difference:
    """A script that does not go the same way on both sides."""

    script: Script
    otp: list[str]
    ours: list[str]

    def __str__(self) -> str:
        ops = ["the start", *map(str, self.script.ops), "the end"]
        lines = [str(self.script), "", "OTP on the left, ours on the right:"]
        for op, left, right in zip_longest(ops, steps(self.otp), steps(self.ours), fillvalue=()):
            lines.append(f"after {op or 'nothing any more'}")
            for one, other in zip_longest(left, right, fillvalue=""):
                lines.append(f"  {' ' if one == other else '!'} {one:<40} {other}")
            if left != right:
                break
        return "\n".join(lines)


def difference(script: Script, otp: Play, ours: Play) -> Difference | None:
    """How a script differs, if it does."""
    left, right = normal(otp(script)), normal(ours(script))
    return Difference(script, left, right) if left != right else None


def shrunk(found: Difference, otp: Play, ours: Play) -> Difference:
    """The same difference, or another one, by as few operations as can be had by leaving out one
    at a time."""
    index = len(found.script.ops)
    while index > 0:
        index = min(index, len(found.script.ops)) - 1
        if index < 0:
            break
        ops = found.script.ops
        fewer = attrs.evolve(found.script, ops=(*ops[:index], *ops[index + 1 :]))
        smaller = difference(fewer, otp, ours)
        if smaller is not None:
            found = smaller
            index = len(found.script.ops)
    return found


def steps(log: list[str]) -> list[list[str]]:
    """The log of each operation: events, the answer, the tree."""
    found: list[list[str]] = [[]]
    for line in log:
        found[-1].append(line)
        if line.startswith(":"):
            found.append([])
    return found[:-1]


def normal(log: list[str]) -> list[str]:
    """The log without what may differ.

    Allowed: the children of a dynamic supervisor are stopped all at once (S1), so that nobody can
    tell in which order they are done.
    """
    lines: list[str] = []
    for supervisor, run in groupby(log, stopped_guest_of):
        together = list(run)
        lines += together if supervisor is None else sorted(together)
    return lines


def stopped_guest_of(line: str) -> str | None:
    """The dynamic supervisor whose child has stopped, if that is what the line says."""
    if not line.startswith("stop d"):
        return None
    return line.removeprefix("stop ").partition("w")[0]
