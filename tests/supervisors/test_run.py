"""run(): signals, exit codes, the last resort; in processes of their own, in real time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from supervisors import Child, run

HOME = Path(__file__).parent.parent.parent

PROGRAM = """
import signal, sys, time
import trio
from actors import Actor, Killed, Shutdown, handles
from supervisors import Backoff, Child, Supervisor, one_for_one, rest_for_one, run

def say(text):
    print(text, flush=True)

class Worker(Actor):
    def __init__(self, name, takes=0.0):
        self.name, self.takes = name, takes
    async def on_stop(self, exit):
        say(f"stopping {self.name}")
        await trio.sleep(self.takes)
        say(f"stopped {self.name}")

class Ready(Actor):
    def on_ready(self):
        say("ready")

class Crashes(Actor):
    def on_ready(self):
        raise ValueError("out of order")

class Quits(Actor):
    def on_ready(self):
        self.stop()

class Broken(Actor):
    def on_start(self):
        raise ValueError("does not start")

class Exits(Actor):
    def on_ready(self):
        sys.exit(7)

class Blocks(Actor):
    def on_ready(self):
        self.ref.cast("block")
    @handles
    def block(self, message: str) -> None:
        say("blocking")
        time.sleep(30)

class Stubborn(Actor):
    def on_ready(self):
        self.ref.cast("go on")
    @handles
    async def go_on(self, message: str) -> None:
        say("ready")
        with trio.CancelScope(shield=True):
            await trio.sleep(30)
"""


class Program:
    """A program that has begun to run, and what it says."""

    def __init__(self, root: str, **options: Any) -> None:
        keywords = "".join(f", {name}={value!r}" for name, value in options.items())
        self.process = subprocess.Popen(
            [sys.executable, "-c", f"{PROGRAM}\nrun({root}{keywords})\n"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=HOME,
            env={**os.environ, "PYTHONPATH": str(HOME)},
        )

    def wait_for(self, line: str) -> None:
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == line + "\n"

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self) -> tuple[int, list[str], str]:
        """The exit code, what else it has said, and what it complained about."""
        try:
            out, err = self.process.communicate(timeout=20)
        finally:
            self.process.kill()
        return self.process.returncode, out.splitlines(), err


# -- signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_everything_in_order(number: signal.Signals) -> None:
    program = Program("one_for_one(Child(Worker, 'a', id='a'), Child(Worker, 'b', 0.05), Ready)")
    program.wait_for("ready")
    program.send(number)
    assert program.end() == (0, ["stopping b", "stopped b", "stopping a", "stopped a"], "")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_second_signal_ends_the_process_at_once(number: signal.Signals, code: int) -> None:
    program = Program("one_for_one(Child(Worker, 'a', 30.0, shutdown=60.0), Ready)")
    program.wait_for("ready")
    program.send(number)
    program.wait_for("stopping a")
    program.send(number)
    assert program.end() == (code, [], "")


def test_the_second_signal_counts_whatever_the_first_was() -> None:
    program = Program("one_for_one(Child(Worker, 'a', 30.0, shutdown=60.0), Ready)")
    program.wait_for("ready")
    program.send(signal.SIGINT)
    program.wait_for("stopping a")
    program.send(signal.SIGTERM)
    assert program.end()[0] == 143


def test_K17_not_even_an_actor_that_blocks_the_loop_is_waited_for() -> None:
    program = Program("one_for_one(Blocks)")
    program.wait_for("blocking")
    program.send(signal.SIGINT)
    # Let Python run the handler: two of a kind at once are one.
    time.sleep(0.3)
    program.send(signal.SIGINT)
    assert program.end()[0] == 130


# -- ends of the tree


def test_S7_giving_up_is_1_with_the_reason_on_standard_error() -> None:
    code, out, err = Program("one_for_one(Child(Worker, 'a'), Crashes, max_restarts=1)").end()
    assert (code, out) == (1, ["stopping a", "stopped a"])
    last = err.splitlines()[-1]
    assert last.startswith("RestartLimitExceeded: /one_for_one gave up: more than 1 restarts")
    assert "out of order" in last


def test_S3_a_start_that_fails_is_1_with_the_reason_on_standard_error() -> None:
    code, out, err = Program("one_for_one(Child(Worker, 'a'), Broken)").end()
    assert (code, out) == (1, ["stopping a", "stopped a"])
    last = err.splitlines()[-1]
    assert last.startswith("StartFailed: /one_for_one did not start, its child 'Broken' failed")
    assert "does not start" in last


def test_S6_a_tree_that_is_done_is_0() -> None:
    quits = "Child(Quits, restart='transient', significant=True)"
    program = Program(f"one_for_one(Child(Worker, 'a'), {quits}, auto_shutdown='any_significant')")
    assert program.end() == (0, ["stopping a", "stopped a"], "")


def test_a_single_actor_that_is_done_is_0() -> None:
    assert Program("Quits").end() == (0, [], "")


def test_K4_an_exit_of_the_program_is_its_own_code() -> None:
    code, out, _ = Program("one_for_one(Child(Worker, 'a'), Exits)").end()
    assert (code, out) == (7, ["stopping a", "stopped a"])


# -- the last resort


def test_K17_what_does_not_yield_ends_with_the_process_after_its_grace() -> None:
    program = Program(
        "one_for_one(Child(Worker, 'a'), Child(Stubborn, shutdown=0.05))", grace=0.1
    )
    program.wait_for("ready")
    started = time.monotonic()
    program.send(signal.SIGTERM)
    code, out, err = program.end()
    assert (code, out) == (1, ["stopping a", "stopped a"])
    assert "/one_for_one/Stubborn" in err
    assert time.monotonic() - started < 15


# -- in this process


class NoActor:
    """Is none."""


@pytest.mark.parametrize("wrong", [NoActor, 42, None, "root"])
def test_what_is_no_tree_is_refused_and_no_signal_is_taken(wrong: Any) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(TypeError, match="Got: "):
        run(wrong)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("wrong", [-1, "5", True])
def test_grace_is_a_duration(wrong: Any) -> None:
    from actors import Actor

    class Quiet(Actor):
        pass

    with pytest.raises((TypeError, ValueError), match="grace"):
        run(Child(Quiet), grace=wrong)


def test_the_signals_are_given_back() -> None:
    from actors import Actor

    class Quits(Actor):
        def on_ready(self) -> None:
            self.stop()

    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(SystemExit) as caught:
        run(Quits)
    assert caught.value.code == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_a_signal_that_comes_first_of_all_still_stops_in_order() -> None:
    from supervisors import Supervisor
    from supervisors.application import Process

    process = Process(1.0)
    process._on_signal(signal.SIGTERM, None)
    import trio

    assert trio.run(process.main, Supervisor, None) == 0
    process.restore()
