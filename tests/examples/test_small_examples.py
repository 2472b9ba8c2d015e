"""The examples that are one file each: they run, and print what they promise."""

from __future__ import annotations

import ast
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from textwrap import dedent

import pytest

from actors.testing import VirtualClock
from examples import account, bank, traffic_light
from mediators.journal import owner_of

ROOT = Path(__file__).parents[2]


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


# -- the saga in forty lines


def forty_lines(directory: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "examples.forty_lines"],
        cwd=directory,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def lines_until(process: subprocess.Popen[str], *wanted: str) -> list[str]:
    """What it prints until all of these lines were among it."""
    lines: list[str] = []
    assert process.stdout is not None
    while not set(wanted) <= set(lines):
        line = process.stdout.readline()
        assert line, f"it has ended after {lines}"
        lines.append(line.rstrip())
    return lines


def test_forty_lines_are_forty_lines() -> None:
    source = (ROOT / "examples" / "forty_lines.py").read_text("utf-8")
    docstring = ast.parse(source).body[0].end_lineno
    code = [line for line in source.splitlines()[docstring:] if line.strip()]
    assert len(code) == 40


def test_forty_lines_complete_two_orders_and_undo_one_in_reverse(tmp_path: Path) -> None:
    with forty_lines(tmp_path) as process:
        lines = lines_until(
            process, "Ship(order='order-12')", "Ship(order='order-14')", "Refund(order='order-13')"
        )
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
    assert [line for line in lines if "13" in line] == [
        "Charge(order='order-13')",
        "Reserve(order='order-13')",
        "Release(order='order-13')",
        "Refund(order='order-13')",
    ]
    # All have ended: nothing is done again.
    with forty_lines(tmp_path) as process:
        while owner_of(str(tmp_path / "orders.db")) is None:
            assert process.poll() is None
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert out == ""


@pytest.mark.parametrize("moment", ["Charge(order='order-14')", "Release(order='order-13')"])
def test_forty_lines_go_on_after_a_kill(moment: str, tmp_path: Path) -> None:
    with forty_lines(tmp_path) as process:
        lines = lines_until(process, moment)
        process.kill()
    with forty_lines(tmp_path) as process:
        lines += lines_until(process, "Refund(order='order-13')")
        process.send_signal(signal.SIGINT)
        assert process.wait() == 0
    assert "Ship(order='order-13')" not in lines
    assert {"Ship(order='order-12')", "Ship(order='order-14')"} <= set(lines)
    assert lines.index("Release(order='order-13')") < lines.index("Refund(order='order-13')")
