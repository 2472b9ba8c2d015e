"""``run()``: signals, exit codes, and what does not yield. In processes of their own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors import Actor
from supervisors import run
from supervisors.application import Program

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent.parent
PATIENCE = 30.0
"""Seconds a process may take; none needs more than a fraction."""

PRELUDE = """
import signal, sys, time
from typing import Any
import trio
from actors import Actor, Exit, handles
from supervisors import Child, Supervisor, one_for_one, run

def say(text: str) -> None:
    print(text, flush=True)

class Worker(Actor):
    def on_ready(self) -> None:
        say("ready")

    async def on_stop(self, exit: Exit) -> None:
        say(f"stopped by {type(exit).__name__}")

    @handles
    def crash(self, message: str) -> None:
        raise ValueError(message)
"""


@contextmanager
def running(program: str) -> Iterator[subprocess.Popen[str]]:
    """A process of its own; ended, whatever happens."""
    process = subprocess.Popen(
        [sys.executable, "-c", PRELUDE + textwrap.dedent(program)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def expect(process: subprocess.Popen[str], line: str) -> None:
    assert process.stdout is not None
    assert process.stdout.readline() == f"{line}\n"


def ends(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    """Exit code and what else was written."""
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_tree_in_order_and_the_exit_code_is_0(number: int) -> None:
    program = """
        class Top(Supervisor):
            def children(self) -> list[Child[Any]]:
                return [Child(Worker, id="a"), Child(Worker, id="b")]

        run(Top)
    """
    with running(program) as process:
        expect(process, "ready")
        expect(process, "ready")
        process.send_signal(number)
        assert ends(process) == (0, "stopped by Shutdown\n" * 2, "")


def test_a_signal_that_comes_before_the_loop_runs_is_not_lost() -> None:
    program = """
        class Early(Worker):
            def __init__(self) -> None:
                signal.raise_signal(signal.SIGTERM)

        run(one_for_one(Child(Early)))
    """
    with running(program) as process:
        code, _, err = ends(process)
        assert (code, err) == (0, "")


def test_a_tree_that_gives_up_says_so_and_the_exit_code_is_1() -> None:
    program = """
        class Crashes(Actor):
            def on_ready(self) -> None:
                raise ValueError("again and again")

        import logging
        logging.disable(logging.CRITICAL)
        run(one_for_one(Child(Crashes, id="crashes"), max_restarts=2, id="top"))
    """
    with running(program) as process:
        code, out, err = ends(process)
        assert (code, out) == (1, "")
        assert err.startswith("RestartLimitExceeded: /top gave up: more than 2 restarts")
        assert len(err.splitlines()) == 1


def test_a_tree_that_cannot_start_says_so_and_the_exit_code_is_1() -> None:
    program = """
        class Fails(Actor):
            def on_start(self) -> None:
                raise ValueError("never")

        run(one_for_one(Child(Fails, id="fails"), id="top"))
    """
    with running(program) as process:
        code, out, err = ends(process)
        assert (code, out) == (1, "")
        assert "StartFailed: /top did not start, its child 'fails' failed" in err
        assert "Traceback" not in err


def test_a_tree_that_ends_by_itself_ends_the_process_with_0() -> None:
    """A class, a factory, a supervisor, one that declines; and run() gives back what it took."""
    program = """
        import logging
        logging.disable(logging.CRITICAL)
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)

        class Ends(Actor):
            def on_ready(self) -> None:
                say(f"{self.system.random.random():.6f}")
                self.stop()

        class Declines(Actor):
            def on_start(self) -> None:
                self.stop()

        class Exits(Actor):
            def on_ready(self) -> None:
                raise SystemExit(7)

        class Starts(Actor):
            async def on_start(self) -> None:
                # What it starts at the top is stopped with it.
                await self.system.start(Actor)

            def on_ready(self) -> None:
                self.stop()

        significant = Child(Ends, restart="transient", significant=True)
        for root in (
            Ends,
            lambda: Ends(),
            one_for_one(significant, auto_shutdown="any_significant"),
            Declines,
            Starts,
            Exits,
        ):
            try:
                run(root, seed=7)
            except SystemExit as exit:
                say(f"exit {exit.code}")
            assert before == (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT))
    """
    with running(program) as process:
        code, out, err = ends(process)
        lines = out.splitlines()
        assert (code, err) == (0, "")
        # The same seed, the same numbers; and an exception that is none of ours leaves as itself.
        assert lines[0] == lines[2] == lines[4]
        assert lines[1:6:2] + lines[6:] == ["exit 0"] * 5 + ["exit 7"]


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)], ids=["INT", "TERM"]
)
def test_a_second_signal_ends_the_process_at_once(number: int, code: int) -> None:
    program = """
        class Slow(Worker):
            async def on_stop(self, exit: Exit) -> None:
                say("stopping")
                await trio.sleep(3600)

        run(one_for_one(Child(Slow, shutdown=3600)))
    """
    with running(program) as process:
        expect(process, "ready")
        process.send_signal(signal.SIGINT)
        expect(process, "stopping")
        process.send_signal(number)
        assert ends(process) == (code, "", "")


def test_a_second_signal_works_while_an_actor_keeps_the_event_loop_busy() -> None:
    program = """
        class Busy(Worker):
            def on_ready(self) -> None:
                say("busy")
                while True:
                    time.sleep(0.01)

        run(one_for_one(Child(Busy)))
    """
    with running(program) as process:
        expect(process, "busy")
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGINT)
        assert ends(process)[0] in (130, 143)  # whichever the process sees as the second


def test_K17_what_does_not_yield_ends_with_the_process_after_a_last_grace() -> None:
    program = """
        class Stubborn(Worker):
            def on_ready(self) -> None:
                self.start_soon(self.side)

            async def side(self) -> None:
                say("ready")
                with trio.CancelScope(shield=True):
                    await trio.sleep(3600)

        import logging
        logging.disable(logging.CRITICAL)
        run(one_for_one(Child(Worker, id="a"), Child(Stubborn, shutdown=0.1)), grace=0.1)
    """
    with running(program) as process:
        expect(process, "ready")
        expect(process, "ready")
        process.send_signal(signal.SIGTERM)
        code, out, _ = ends(process)
        assert (code, out) == (1, "stopped by Shutdown\n")


@pytest.mark.parametrize(
    ("arguments", "keywords", "text"),
    [
        ((3,), {}, "Got: 3"),
        ((int,), {}, "Got: <class 'int'>"),
        (("Top",), {}, "Got: 'Top'"),
    ],
    ids=repr,
)
def test_run_says_what_it_takes_before_anything_happens(
    arguments: Any, keywords: Any, text: str
) -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TypeError) as caught:
        run(*arguments, **keywords)
    assert text in str(caught.value)
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_signal_that_comes_when_the_loop_has_ended_is_no_error() -> None:
    program = Program(1.0)
    trio.run(program.main, Ends, None)
    program.restore()
    program._on_signal(signal.SIGTERM, None)


class Ends(Actor):
    def on_ready(self) -> None:
        self.stop()
