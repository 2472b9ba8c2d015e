"""What each mechanism is good for: with it all is well, without it the bad thing is seen.

Each test runs twice, the second time with the mechanism taken out.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from actors import (
    ActorDied,
    CallTimeout,
    Crashed,
    MailboxFull,
    Normal,
    Process,
    Ref,
    System,
    introspection,
    open_system,
)
from actors.isolation import connection, keeper, outlet, page, watch, worker
from actors.isolation import frames as f
from actors.payloads import NotEncodable
from supervisors import Child, one_for_one
from tests.actors.isolation.far_actors import Fail, Note, Notes, Pid, Plus, Raised
from tests.actors.isolation.in_forks.across_actors import Coin, Do, Doer, DoIt, Keeper, busy
from tests.actors.isolation.in_forks.guarded import in_a_fork, real
from tests.actors.isolation.in_forks.hostile_actors import Exploit, Hostile, Write, packet
from tests.actors.isolation.in_forks.mechanism_actors import Bare, Spawn, nothing

ROOT = Path(__file__).parents[4]
MECHANISM = pytest.mark.parametrize("there", [True, False], ids=["with", "without"])


@asynccontextmanager
async def alone(cls: Any, *args: Any, **keywords: Any) -> AsyncIterator[tuple[System, Ref[Any]]]:
    """A system with one isolated actor, restarted whatever happens to it."""
    keywords.setdefault("isolation", "process")
    child = Child(cls, *args, name="it", **keywords)
    async with open_system(one_for_one(child, max_restarts=1000)) as system:
        ref = system.whereis("it")
        assert ref is not None
        yield system, ref


async def until(condition: Callable[[], bool]) -> None:
    """Wait for what is about to happen."""
    while not condition():
        await trio.sleep(0.001)


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    return worker.state_of(pid) not in "ZX"


async def together(ref: Ref[Any], *messages: Any) -> list[Any]:
    """Send all of these in one packet; what comes of those that are answered."""
    results: dict[int, Any] = {}

    async def ask(number: int, message: Any) -> None:
        try:
            results[number] = await ref.call(message, timeout=10)
        except Exception as error:
            results[number] = error

    await introspection.suspend(ref)
    async with trio.open_nursery() as nursery:
        for number, message in enumerate(messages):
            nursery.start_soon(ask, number, message)
            await until(lambda number=number: len(ref._place.mailbox or ()) > number)  # type: ignore[misc]
        await introspection.resume(ref)
    return [results[number] for number in range(len(messages))]


# -- what is known of the dead


@MECHANISM
@real
async def test_a_begun_message_is_not_handled_again(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says that it was begun. Without it, the death is repeated for ever."""
    if not there:
        monkeypatch.setattr(page.Page, "fate", lambda self, number: page.SENT)
    async with open_system() as system:
        witness = await system.start(Keeper)
        await system.start(
            one_for_one(
                Child(Bare, witness, name="it", isolation="process"), id="t", max_restarts=50
            )
        )
        ref = system.whereis("it")
        assert ref is not None
        begun = witness._place.actor.refs
        if there:
            with pytest.raises(ActorDied):
                await ref.call(Do("kill"))
            assert await ref.call(Plus(1)) == 1
            assert len(begun) == 1
        else:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ref.call, Do("kill"))
                await until(lambda: len(begun) >= 3)
                nursery.cancel_scope.cancel()


@MECHANISM
@real
async def test_what_was_set_aside_is_handed_to_the_next_incarnation(there: bool) -> None:
    """That it was set aside is on the page; without that, it was taken, and is lost."""
    async with alone(Bare, None, "" if there else "aside") as (_, ref):
        ref.cast(Raised("set aside"))
        await ref.call(Pid())
        with pytest.raises(ActorDied):
            await ref.call(Fail("kill"))
        await ref.call(Coin())
        assert await ref.call(Notes()) == (["set aside"] if there else [])


@MECHANISM
@real
async def test_answers_are_written_before_the_next_message_is_begun(there: bool) -> None:
    """The next one may be the last."""
    async with alone(Bare, None, "" if there else "flush") as (_, ref):
        await ref.call(Plus(0))
        answer, death = await together(ref, Plus(7), Fail("kill"))
        assert isinstance(death, ActorDied)
        if there:
            assert answer == 7
        else:
            assert isinstance(answer, ActorDied)


@MECHANISM
@real
async def test_what_a_dead_process_had_written_is_read(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end may be told before its last packet is read, in which it says that this is in order.
    Repeated, since trio draws which of the two comes first."""
    if not there:
        monkeypatch.setattr(connection.Connection, "read_rest", nothing)
    ends: list[bool] = []
    async with alone(Doer) as (_, ref):
        while len(ends) < 20 and all(ends):
            pid, number = await ref.call(Pid()), ref.incarnation
            notes = ref._place.actor._page
            before = notes.latest
            ref.cast(DoIt("stop"))
            while notes.latest == before and len(ref._place.actor._outlet._sent) == 0:
                await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()  # the writer's turn
            # This process does nothing until that one is reaped; or it was too early for that.
            too_long = time.monotonic() + 0.1
            while worker.state_of(pid) != "X" and time.monotonic() < too_long:
                pass
            busy(0.002)
            while ref.incarnation == number:
                await trio.sleep(0.001)
            ends.append(ref._place.exit == Normal())
            await ref.call(Plus(1))
    assert all(ends) == there


# -- what is killed


@MECHANISM
@real
async def test_an_endless_loop_is_noticed(there: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not there:
        monkeypatch.setattr(watch.Watch, "look", nothing)
    options = Process(heartbeat=0.2)
    async with alone(Bare, isolation=options, shutdown=0.1) as (_, ref):
        pid = await ref.call(Pid())
        if there:
            with pytest.raises(ActorDied, match="no sign of life"):
                await ref.call(Fail("loop"), timeout=10)
            assert not is_running(pid)
        else:
            with pytest.raises(CallTimeout):
                await ref.call(Fail("loop"), timeout=1)
            assert is_running(pid)


def edited(directory: Path, *without: str) -> Path:
    """A copy of the program of the keeper without something."""
    text = keeper.PROGRAM.read_text("utf-8")
    for each in without:
        before, after = EDITS[each]
        assert before in text
        text = text.replace(before, after)
    path = directory / "edited_keeper.py"
    path.write_text(text, "utf-8")
    return path


EDITS = {
    "group": ("os.killpg(", "(lambda *_: None)("),
    "keeper": ("die_with_parent(signal.SIGTERM, int(parent))", "pass"),
    "worker": (
        "sys.modules[WORKER].main(*descriptors, keeper)",
        "w = sys.modules[WORKER]; w.die_with_parent = max; w.main(*descriptors, keeper)",
    ),
}


@MECHANISM
@pytest.mark.parametrize("how", ["kill", "exit", "raise", "stop"])
@real
async def test_what_a_worker_has_started_ends_with_it(
    how: str, there: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are of one process group, which is killed before the worker is reaped."""
    if not there:
        monkeypatch.setattr(keeper, "PROGRAM", edited(tmp_path, "group"))
    async with alone(Bare) as (_, ref):
        other = await ref.call(Spawn())
        assert is_running(other)
        if how == "stop":
            await ref.stop()
        else:
            with pytest.raises(ActorDied):
                await ref.call(Fail(how))
        await ref.call(Plus(1))
        try:
            assert is_running(other) == (not there)
        finally:
            with suppress(ProcessLookupError):
                os.kill(other, signal.SIGKILL)


PROGRAM = """
import os, sys, trio
from pathlib import Path
from actors import open_system
from actors.isolation import keeper
from supervisors import Child
from tests.actors.isolation.far_actors import Fail, Far, Pid

async def main():
    if sys.argv[1:]:
        keeper.PROGRAM = Path(sys.argv[1])
    async with open_system() as system:
        ref = await system.start(Child(Far, isolation="process"))
        pid = await ref.call(Pid())
        ref.cast(Fail("loop"))
        actor = ref._place.actor
        before = actor._page.latest
        while actor._page.latest == before:
            await trio.sleep(0)
        print(pid, actor._worker._keeper._process.pid, flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@contextmanager
def program(*arguments: str) -> Iterator[tuple[int, int]]:
    """It runs, with a worker and its keeper, whose process ids these are; in the end it is
    killed."""
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        worker, its_keeper = map(int, running.stdout.readline().split())
        yield worker, its_keeper
        running.kill()
        running.wait()


@MECHANISM
def test_a_worker_dies_with_its_keeper_though_nobody_else_is_left(
    there: bool, tmp_path: Path
) -> None:
    """Parent and keeper are killed at once, and the worker loops: only the kernel is left."""
    arguments = [] if there else [str(edited(tmp_path, "keeper", "worker"))]
    with program(*arguments) as (worker, its_keeper):
        # The keeper first: it would end its worker when its parent has ended.
        os.kill(its_keeper, signal.SIGKILL)
    try:
        deadline = time.monotonic() + (10 if there else 0.5)
        while is_running(worker) and time.monotonic() < deadline:
            os.sched_yield()
        assert is_running(worker) == (not there)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(worker, signal.SIGKILL)


@MECHANISM
def test_a_keeper_dies_with_its_parent(there: bool, tmp_path: Path) -> None:
    """It is told so by the kernel and by the end of its connection; either will do."""
    arguments = [] if there else [str(edited(tmp_path, "keeper"))]
    with program(*arguments) as (worker, its_keeper):
        pass
    deadline = time.monotonic() + 10
    while (is_running(worker) or is_running(its_keeper)) and time.monotonic() < deadline:
        os.sched_yield()
    assert not is_running(worker) and not is_running(its_keeper)


# -- bounds


@MECHANISM
@real
async def test_what_is_too_large_is_not_sent(there: bool) -> None:
    """Or the other end would take it for what is no packet of ours, and the link would break."""
    async with alone(Bare, isolation=Process(max_message=1000)) as (_, ref):
        if not there:
            ref._place.actor._link.max_message = 1 << 40
        large = Note("x" * (5 << 20))
        letters = await ref.call(Notes())
        assert letters == []
        first = await ref.call(Pid())
        ref.cast(large)
        if there:
            assert await ref.call(Pid()) == first
            with pytest.raises(NotEncodable):
                await ref.call(Do("x" * 1001))
        else:
            await until(lambda: ref.incarnation == 2)
            assert isinstance(ref._place.exit, Crashed)


@MECHANISM
@real
async def test_no_more_is_on_its_way_than_the_window_says(there: bool) -> None:
    """What the worker does not take piles up here, where it is bounded: whoever casts is told."""
    async with alone(Bare, isolation=Process(window=8), mailbox=16) as (_, ref):
        if not there:
            ref._place.actor._link.window = 1 << 40
        await ref.call(Pid())
        os.kill(ref._place.actor._worker.pid, signal.SIGSTOP)
        sent = 0
        try:
            with suppress(MailboxFull):
                while sent < 5000:
                    ref.cast(Note("more"))
                    sent += 1
                    if sent % 8 == 0:
                        await trio.lowlevel.checkpoint()
        finally:
            os.kill(ref._place.actor._worker.pid, signal.SIGCONT)
        if there:
            assert sent == 8 + 16
        else:
            assert sent == 5000
        assert len(await ref.call(Notes())) == sent


@MECHANISM
@real
async def test_a_call_whose_caller_has_gone_is_not_begun(
    there: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker is told that nobody waits any more."""
    if not there:

        def forget(self: outlet.Outlet, flight: outlet.Flight) -> None:
            self._open.pop(flight.number, None)

        monkeypatch.setattr(outlet.Outlet, "withdraw", forget)
    async with alone(Doer) as (_, ref):
        ref.cast(Do("sleep", number=0.2))
        with pytest.raises(CallTimeout):
            await ref.call(Coin(), timeout=0.05)
        assert await ref.call(Notes()) == ([] if there else ["waiting"])


# -- what may come in


@MECHANISM
@real
async def test_code_comes_from_a_parent_only(there: bool, tmp_path: Path) -> None:
    """A parent has nothing that would unpickle a frame. If it had, it would be executed."""
    made = tmp_path / "made"
    async with alone(Hostile) as (_, ref):
        await ref.call(Pid())
        if not there:
            handlers = ref._place.actor._link._handlers
            handlers[f.Code] = lambda frame: pickle.loads(frame.code)
        frame = packet(f.Code(pickle.dumps(Exploit(str(made)))))
        with suppress(ActorDied):
            await ref.call(Write(frame))
        await ref.call(Plus(1))
    assert made.exists() == (not there)


@MECHANISM
@real
async def test_a_packet_says_how_long_it_is_and_is_believed_within_bounds(there: bool) -> None:
    """Without a bound, we would wait for four gigabytes, and keep what comes."""
    async with alone(Hostile) as (_, ref):
        await ref.call(Pid())
        if not there:
            ref._place.actor._link.connection._splitter._largest = 1 << 40
        head = (0xFFFF_FFFF).to_bytes(4, "little")
        if there:
            with suppress(ActorDied):
                await ref.call(Write(head + b"x" * 100))
            await ref.call(Plus(1))
            assert ref.incarnation == 2 and "no frame" in str(ref._place.exit)
        else:
            with pytest.raises(CallTimeout):
                await ref.call(Write(head + b"x" * 100), timeout=0.5)


def test_a_fork_shows_what_goes_wrong_in_it() -> None:
    """Of the tests' own mechanism: a failure in a fork is a failure here."""
    with pytest.raises(AssertionError, match="ZeroDivisionError"):
        in_a_fork(lambda: 1 // 0)
    with pytest.raises(AssertionError, match="assert"):
        in_a_fork(lambda: os.open("/dev/null", os.O_RDONLY))
    in_a_fork(lambda: None)
