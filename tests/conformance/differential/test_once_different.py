"""Scripts that once went differently, with OTP's log; ours is checked without OTP, too."""

from __future__ import annotations

import pytest

from tests.conformance.differential import ours
from tests.conformance.differential.compare import steps
from tests.conformance.differential.otp import Otp
from tests.conformance.differential.scripts import Group, Op, Script, Worker

PAIR = (Worker("w1"), Worker("w2"))
FAILING_PAIR = (Op("fail", ("w2", 1)), Op("crash_both", ("top", "w2", "w1")))

OVERTAKEN = Script(
    Group("top", strategy="rest_for_one", max_restarts=2, children=PAIR),
    (*FAILING_PAIR, Op("crash", ("w1",))),
)
"""The failed restart of w2 is overtaken by that of w1 and with it, and does not count."""

LEFT_OVER = Script(
    Group("top", children=(Group("s1", max_restarts=1, children=PAIR),)),
    (
        Op("fail", ("w2", 1)),
        Op("crash_both", ("s1", "w2", "w1")),
        Op("crash", ("w2",)),
    ),
)
"""s1 gives up while the restart of w2 is still to be tried: not a restart of the next s1."""

CASES = [
    pytest.param(
        OVERTAKEN,
        [
            ["start w1", "start w2", "= ok", ": top[w1+ w2+]"],
            ["= ok", ": top[w1+ w2+]"],
            ["start w2", "start w1", "start w2", "= ok", ": top[w1+ w2+]"],
            ["stop w2", "= ok", ": ended"],
            ["= ok", ": ended"],
        ],
        id="overtaken",
    ),
    pytest.param(
        LEFT_OVER,
        [
            ["start w1", "start w2", "= ok", ": top[s1[w1+ w2+]]"],
            ["= ok", ": top[s1[w1+ w2+]]"],
            ["start w2", "start w1", "start w2", "= ok", ": top[s1[w1+ w2+]]"],
            ["start w2", "= ok", ": top[s1[w1+ w2+]]"],
            ["stop w2", "stop w1", "= ok", ": ended"],
        ],
        id="left over",
    ),
]


@pytest.mark.parametrize(("script", "log"), CASES)
def test_ours(script: Script, log: list[list[str]]) -> None:
    assert steps(ours.play(script)) == log


@pytest.mark.parametrize(("script", "log"), CASES)
def test_otp(otp: Otp, script: Script, log: list[list[str]]) -> None:
    assert steps(otp.play(script)) == log
