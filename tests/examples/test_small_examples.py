"""The examples that are one file each: they run, and print what they promise."""

from __future__ import annotations

from textwrap import dedent

import pytest

from actors.testing import VirtualClock
from examples import account, bank, traffic_light


def test_account(capsys: pytest.CaptureFixture[str]) -> None:
    VirtualClock().run(account.main)
    assert capsys.readouterr().out == dedent("""\
        left: 7
        refused: balance is 7
    """)


def test_bank(capsys: pytest.CaptureFixture[str]) -> None:
    VirtualClock().run(bank.main)
    assert capsys.readouterr().out == dedent("""\
          alice, incarnation 1, has 0
          bob, incarnation 1, has 0
        deposit 5: 5
        deposit 13: crashed, ArithmeticError('13?!')
          alice, incarnation 2, has 5
        deposit 7: 12
    """)


def test_traffic_light(capsys: pytest.CaptureFixture[str]) -> None:
    VirtualClock().run(traffic_light.main)
    assert capsys.readouterr().out == dedent("""\
          red
        Ada pushes
          soon
          green
        Ada: walk
          red
        Grace pushes
          soon
          green
        Grace: walk
    """)
