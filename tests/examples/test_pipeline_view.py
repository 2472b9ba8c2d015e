"""The file pipeline: what is said of how far it is."""

from __future__ import annotations

import io
from typing import Any

import attrs
import pytest
from rich.console import Console

from examples.file_pipeline.feeder import Progress
from examples.file_pipeline.pipeline import CONVERTERS
from examples.file_pipeline.view import Look, drawn, told
from supervisors import PoolInfo

PROGRESS = Progress(
    total=50_000,
    ended={"done": 39_000, "refused": 900, "failed": 100},
    before=1_000,
    known=0,
    within=123_456,
    under_way=64,
    bytes=5_000_000_000,
    done=False,
)
POOL = PoolInfo(1, 16, (), (), 12_345, 123, 123_456, 4_321, 12)


def look(rate: float = 100.0, **changes: Any) -> Look:
    pools = dict.fromkeys(CONVERTERS, POOL)
    return Look(attrs.evolve(PROGRESS, **changes), pools, since=40.4, rate=rate)


@pytest.mark.parametrize(
    ("seen", "remaining"),
    [
        (look(), "1 min 40 s left"),
        (look(rate=0.0), "some time left"),
        (look(known=9_500), "5.0 s left"),
        (look(known=10_000, rate=0.0), "looking at what had ended before"),
        (look(total=None), "looking for files"),
        (look(total=40_000), "writing the report"),
        (look(total=40_000, done=True), "done"),
    ],
)
def test_what_had_ended_before_takes_no_time_again(seen: Look, remaining: str) -> None:
    assert seen.remaining == remaining


@pytest.mark.parametrize("total", [None, 0, 50_000])
@pytest.mark.parametrize("width", [80, 120])
def test_large_figures_fit_into_a_small_terminal(width: int, total: int | None) -> None:
    def lines(width: int) -> list[str]:
        out = io.StringIO()
        ended = PROGRESS.ended if total else {}
        seen = look(total=total, ended=ended, under_way=64 if total else 0)
        Console(file=out, width=width).print(drawn(seen))
        return [line.rstrip() for line in out.getvalue().splitlines()]

    assert lines(width) == lines(1_000)


def test_a_line_says_it_all() -> None:
    assert told(look()) == (
        "40,000 of 50,000 files (39,000 done, 900 refused, 100 failed), 123,456 in archives, "
        "100/s, 1 min 40 s left; converters replaced: 25,926"
    )
