"""The keeper starts processes, ends them and reaps them, and is in nobody's way meanwhile."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import textwrap
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import trio

from actors import (
    ActorDied,
    Crashed,
    Killed,
    Process,
    Ref,
    StartFailed,
    System,
    handles,
    open_system,
)
from actors.isolation import keeper as keepers
from actors.isolation import worker as workers
from actors.telemetry import ProcessStarted
from supervisors import Child, DynamicSupervisor, StartChild, one_for_one
from tests.actors.isolation.far_actors import Fail, Far, Note, Pid, Plus, Slowly
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.mechanism_actors import Spawn
from tests.actors.isolation.in_forks.places import named, next_incarnation, stopped_when_up

FAR = """
import os, random, signal, socket, sys, threading, time
from tests.actors.isolation.far_actors import Far

{first}

class Odd(Far):
    pass
"""


def module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, first: str) -> Any:
    """A module with an actor, which does something when it is imported in another process."""
    first = textwrap.dedent(first).strip().replace("HERE", str(os.getpid()))
    (tmp_path / f"{name}.py").write_text(FAR.format(first=first), "utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    import importlib

    return importlib.import_module(name)


def keeper_of(ref: Ref[Any]) -> int:
    """The process of the keeper."""
    return int(ref._place.actor._worker._keeper._process.pid)


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    return workers.state_of(pid) not in "ZX"


async def two(system: System, **keywords: Any) -> tuple[Ref[Any], Ref[Any]]:
    """Two isolated actors under one supervisor."""
    refs = []
    for name in ("one", "two"):
        # Each under a supervisor of its own, which waits for nobody else.
        await system.start(one_for_one(Child(Far, name=name, isolation="process", **keywords)))
        refs.append(system.whereis(name))
    assert refs[0] is not None and refs[1] is not None
    return refs[0], refs[1]


# -- what a module does when it is imported is its actor's affair


@pytest.mark.parametrize(
    ("first", "text"),
    [
        (
            "if os.getppid() == HERE or os.getpid() != HERE: os._exit(9)",
            "imports odd_import ahead left with exit code 9",
        ),
        (
            "if os.getpid() != HERE: os.kill(os.getpid(), 11)",
            "imports odd_import ahead was ended by SIGSEGV",
        ),
        ("if os.getpid() != HERE: sys.exit(1)", "SystemExit"),
        ("if os.getpid() != HERE: raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("if os.getpid() != HERE: raise ValueError('no import')", "no import"),
    ],
    ids=["leaves", "crashes", "exits", "interrupts", "raises"],
)
@real
async def test_a_module_that_cannot_be_imported_ends_nobody_elses_process(
    first: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The keeper imports it ahead; but if that ends the keeper, it ends all of them."""
    odd = module(tmp_path, monkeypatch, "odd_import", first)
    async with open_system() as system:
        one, _ = await two(system)
        pid = await one.call(Pid())
        with pytest.raises(StartFailed, match=text):
            await system.start(Child(odd.Odd, isolation="process", restart="temporary"))
        assert await one.call(Pid()) == pid
        assert one.incarnation == 1


@real
async def test_a_module_that_takes_long_to_import_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Others die meanwhile, and are restarted."""
    odd = module(tmp_path, monkeypatch, "slow_import", "if os.getpid() != HERE: time.sleep(1.5)")
    async with open_system() as system:
        one, _ = await two(system)
        async with trio.open_nursery() as nursery:
            started: list[float] = []

            async def start() -> None:
                await system.start(Child(odd.Odd, isolation="process"))
                started.append(trio.current_time())

            nursery.start_soon(start)
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            with pytest.raises(ActorDied) as died:
                await one.call(Fail("exit"))
            assert "exit code 3" in str(died.value.__cause__)
            assert await one.call(Plus(1)) == 1
            # All that while the import went on.
            assert started == []


@real
async def test_what_a_module_opens_when_it_is_imported_is_not_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that two processes write into, or an offset that both move, is nobody's."""
    path = tmp_path / "shared"
    path.write_text("abcdefgh", "utf-8")
    odd = module(tmp_path, monkeypatch, "opens", f"FILE = os.open({str(path)!r}, os.O_RDONLY)")
    warm: list[bool] = []
    async with open_system() as system:
        system.telemetry.listen(lambda each: warm.append(each.warm), ProcessStarted)
        refs = [await system.start(Child(odd.Odd, isolation="process")) for _ in range(2)]
        read = [await reads(ref, "opens") for ref in refs]
        assert read == ["abcd", "abcd"], f"forked: {warm}"
    os.close(odd.FILE)


async def reads(ref: Ref[Any], name: str) -> str:
    """Four bytes of a file that a module has opened."""
    from actors.introspection import _request

    def look(place: Any) -> str:
        import importlib
        import os

        return os.read(importlib.import_module(name).FILE, 4).decode()

    return await _request(ref, look, 5.0, inside=True)


@real
async def test_forked_processes_draw_different_numbers() -> None:
    async with open_system() as system:
        one, other = await two(system)
        assert await draws(one) != await draws(other)


async def draws(ref: Ref[Any]) -> list[Any]:
    """What a process takes for random."""
    from actors.introspection import _request

    def look(place: Any) -> list[Any]:
        import random
        import tempfile
        import uuid

        return [random.random(), tempfile.mktemp(), str(uuid.uuid4())]

    return await _request(ref, look, 5.0, inside=True)


@real
async def test_where_modules_are_found_and_the_environment_are_those_of_the_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And not those of the time at which the first process of the system was started."""
    async with open_system() as system:
        await two(system)
        odd = module(tmp_path, monkeypatch, "comes_later", "LATER = os.environ.get('LATER')")
        monkeypatch.setenv("LATER", "yes")
        for warm in (True, False):
            ref = await system.start(Child(odd.Odd, isolation=Process(warm=warm)))
            assert await ref.call(Plus(1)) == 1
            assert await later(ref) == "yes"


@real
async def test_nobody_waits_until_a_keeper_has_left_that_is_of_no_more_use(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment has changed, so there is another; the one before is reaped when it ends."""
    monkeypatch.setattr(keepers, "LEAVING", 600.0)
    async with open_system() as system:
        ref = await system.start(Child(Far, isolation="process", restart="temporary"))
        before = keeper_of(ref)
        await ref.stop()
        os.kill(before, signal.SIGSTOP)
        monkeypatch.setenv("LATER", "yes")
        ref = await system.start(Child(Far, isolation="process"))
        assert keeper_of(ref) != before and is_running(before)
        os.kill(before, signal.SIGCONT)
        while workers.state_of(before) != "X":
            await trio.sleep(0.001)


async def later(ref: Ref[Any]) -> str | None:
    """What the environment of a process says."""
    from actors.introspection import _request

    def look(place: Any) -> str | None:
        import os

        return os.environ.get("LATER")

    return await _request(ref, look, 5.0, inside=True)


# -- signals


@real
async def test_a_stop_right_after_the_fork_is_that_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fork has the handlers of the keeper until it has put its own in place."""
    odd = module(
        tmp_path,
        monkeypatch,
        "slow_fork",
        """
        if os.getpid() != HERE:
            os.register_at_fork(after_in_child=lambda: time.sleep(0.3))
        """,
    )
    async with open_system() as system:
        one, _ = await two(system)
        pid = await one.call(Pid())
        # Only now does the keeper import what makes the next forks slow.
        await (await system.start(Child(odd.Odd, isolation="process"))).call(Pid())
        child = Child(odd.Odd, isolation="process", start_timeout=0.15, restart="temporary")
        with pytest.raises(StartFailed):
            await system.start(child)
        assert await one.call(Pid()) == pid
        assert one.incarnation == 1


@real
async def test_a_keeper_that_is_suspended_holds_up_no_call_and_no_stop() -> None:
    """It can do nothing for its workers then; but the end of the system is the end of it."""
    with trio.fail_after(10):
        async with open_system() as system:
            ref = await system.start(
                Child(Far, isolation="process", shutdown=0.2, restart="temporary")
            )
            pid = await ref.call(Pid())
            keeper = keeper_of(ref)
            os.kill(keeper, signal.SIGSTOP)
            assert await ref.call(Plus(1)) == 1
            ref.cast(Fail("loop"))
            with trio.move_on_after(3):
                await ref.stop()
        deadline = time.monotonic() + 3
        while (is_running(pid) or is_running(keeper)) and time.monotonic() < deadline:
            await trio.sleep(0.01)
        assert not is_running(pid) and not is_running(keeper)


@real
async def test_a_keeper_that_reads_nothing_holds_up_nobody() -> None:
    """Requests to it go through a socket, which is full at some time."""
    async with open_system() as system:
        ref = await system.start(Child(Far, isolation="process", restart="temporary"))
        await ref.call(Pid())
        keeper = keeper_of(ref)
        os.kill(keeper, signal.SIGSTOP)
        try:
            signal.signal(signal.SIGALRM, _too_long)
            signal.setitimer(signal.ITIMER_REAL, 2)
            worker = ref._place.actor._worker
            for _ in range(3000):
                worker.send(0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            assert await ref.call(Plus(1)) == 1
        finally:
            os.kill(keeper, signal.SIGCONT)
        await ref.stop()


def _too_long(*_: object) -> None:
    raise AssertionError("The event loop stands still")


@real
async def test_many_processes_are_started_and_ended_at_once() -> None:
    """More requests than its socket holds."""
    async with open_system() as system:
        supervisor = await system.start(Child(DynamicSupervisor, restart="temporary"))
        child = Child(Far, isolation="process", restart="temporary", shutdown="kill")
        refs: list[Ref[Any]] = []

        async def start() -> None:
            refs.append(await supervisor.call(StartChild(child), timeout=30))

        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(start)
        pids = [await ref.call(Pid()) for ref in refs]
        assert len(set(pids)) == 40
        await supervisor.stop()
        assert not any(map(is_running, pids))


@real
async def test_the_death_of_the_keeper_during_a_start_is_a_failed_start() -> None:
    async with open_system() as system:
        ref = await system.start(Child(Far, isolation="process", restart="temporary"))
        keeper = keeper_of(ref)
        os.kill(keeper, signal.SIGSTOP)
        async with trio.open_nursery() as nursery:

            async def start() -> None:
                with pytest.raises(StartFailed):
                    await system.start(Child(Far, isolation="process", restart="temporary"))

            nursery.start_soon(start)
            for _ in range(10):
                await trio.lowlevel.checkpoint()
            os.kill(keeper, signal.SIGKILL)
        assert await ref.wait() is not None
        again = await system.start(Child(Far, isolation="process"))
        assert await again.call(Plus(1)) == 1
        assert keeper_of(again) != keeper


@real
async def test_the_keeper_may_die_again_and_again() -> None:
    child = Child(Far, name="far", isolation="process")
    async with open_system(one_for_one(child, max_restarts=100)) as system:
        ref = system.whereis("far")
        assert ref is not None
        keepers_seen = set()
        for number in range(5):
            assert await ref.call(Plus(1)) == 1
            ref.cast(Note(str(number)))
            keepers_seen.add(keeper_of(ref))
            incarnation = ref.incarnation
            os.kill(keeper_of(ref), signal.SIGKILL)
            while ref.incarnation == incarnation or ref.state != "up":
                await trio.sleep(0.001)
        assert len(keepers_seen) == 5


@real
async def test_everybody_may_be_killed_at_once() -> None:
    child = Child(Far, name="far", isolation="process")
    async with open_system(one_for_one(child, max_restarts=100)) as system:
        ref = system.whereis("far")
        assert ref is not None
        for _ in range(5):
            pid, incarnation = await ref.call(Pid()), ref.incarnation
            answers: list[Any] = []

            async def ask(answers: list[Any] = answers) -> None:
                try:
                    await ref.call(Slowly("never"))
                except ActorDied as died:
                    answers.append(died)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(ask)
                page = ref._place.actor._page
                before = page.latest
                while page.latest == before:
                    await trio.lowlevel.checkpoint()
                os.kill(pid, signal.SIGKILL)
                os.kill(keeper_of(ref), signal.SIGKILL)
            assert len(answers) == 1
            while ref.incarnation == incarnation or ref.state != "up":
                await trio.sleep(0.001)


@real
async def test_a_process_that_was_told_to_stop_and_has_done_so_is_not_called_crashed() -> None:
    """Whatever the moment at which the stop comes."""
    async with open_system() as system:
        supervisor = await system.start(Child(DynamicSupervisor, restart="temporary"))
        for number in range(8):
            child = Child(Far, isolation="process", restart="temporary")
            ends: list[Any] = []

            async def start(child: Any = child, ends: list[Any] = ends) -> None:
                with trio.CancelScope():
                    try:
                        ref = await supervisor.call(StartChild(child), timeout=10)
                        ends.append(await ref.wait())
                    except Exception as error:
                        ends.append(error)

            async with trio.open_nursery() as nursery:
                nursery.start_soon(start)
                tree = supervisor._place.actor._tree
                while not tree.entries:
                    await trio.lowlevel.checkpoint()
                [entry] = tree.entries.values()
                place = entry.place
                for _ in range(number * 3):
                    await trio.sleep(0.001)
                await place.ref.stop()
            [end] = ends
            assert not isinstance(end, Crashed), end
            assert isinstance(place.exit, Crashed | Killed) == isinstance(end, StartFailed | Killed)


@real
async def test_a_stop_that_crosses_the_news_that_it_is_up_is_no_crash(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The same, at the very moment: it is told to end, and then comes what it has said before."""
    places = stopped_when_up(monkeypatch)
    async with open_system() as system:
        with suppress(StartFailed):
            await system.start(Child(Far, isolation="process", restart="temporary"))
        while places[0].running:
            await trio.sleep(0.001)
        assert "SIGTERM" not in str(places[0].exit)


@real
async def test_a_fork_that_fails_says_so() -> None:
    """Its start fails with what the operating system has said."""

    async with open_system() as system:
        ref = await system.start(Child(Far, isolation="process"))
        worker = ref._place.actor._worker
        ended: list[Any] = []
        from actors.isolation.worker import Worker

        failing = Worker(worker._keeper, 77, ended.append)
        failing.told({"id": 77, "failed": "BlockingIOError: no more processes"})
        from actors.isolation.ends import died

        text = str(died("/x", 0, ended[0]))
        assert "no more processes" in text, text


# -- the end of a keeper


class Outlives(Far):
    """Does not end with its keeper, nor does what it has started."""

    @handles
    def pids(self, msg: Spawn) -> Any:
        ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)
        return [os.getpid(), subprocess.Popen(["sleep", "1000"]).pid]


@real
async def test_who_would_outlive_its_keeper_is_ended_and_holds_up_nobody() -> None:
    async with open_system() as system:
        refs = []
        for name in ("one", "two"):
            child = Child(Outlives, name=name, isolation="process")
            await system.start(one_for_one(child, id=name))
            refs.append(named(system, name))
        pids = [pid for ref in refs for pid in await ref.call(Spawn())]
        os.kill(keeper_of(refs[0]), signal.SIGKILL)
        for ref in refs:
            await next_incarnation(ref, 2)
        assert not any(map(is_running, pids))


@real
async def test_a_worker_that_cannot_be_ended_holds_up_nobody_for_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keepers, "DYING", 0.3)
    monkeypatch.setattr(workers.Worker, "destroy", lambda self: None, raising=False)
    async with open_system() as system:
        await system.start(one_for_one(Child(Outlives, name="one", isolation="process")))
        ref = named(system, "one")
        pids = await ref.call(Spawn())
        os.kill(keeper_of(ref), signal.SIGKILL)
        try:
            await next_incarnation(ref, 2)
        finally:
            os.killpg(pids[0], signal.SIGKILL)


@real
async def test_an_end_that_a_keeper_owes_is_not_the_end_of_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(workers, "PATIENCE", 0.05)
    async with open_system() as system:
        one, _ = await two(system)
        worker = workers.Worker(one._place.actor._worker._keeper, 77, lambda end: None)
        os.kill(keeper_of(one), signal.SIGKILL)
        await next_incarnation(one, 2)
        keeper = keeper_of(one)
        worker.kill()
        await trio.sleep(0.2)  # in which it would be killed
        assert keeper_of(one) == keeper and is_running(keeper) and one.incarnation == 2


@real
async def test_a_keeper_leaves_though_a_fork_of_this_process_has_its_connection() -> None:
    async with open_system() as system:
        await system.start(Child(Far, isolation="process"))
        pid = fork_that_sleeps()
        began = time.monotonic()
    try:
        assert time.monotonic() - began < keepers.LEAVING
    finally:
        end_fork(pid)


def fork_that_sleeps() -> int:
    """A child that has all that this process has, and does nothing."""
    pid = os.fork()
    if pid == 0:
        time.sleep(60)
        os._exit(0)
    return pid


def end_fork(pid: int) -> None:
    """End a child of this process."""
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


@real
async def test_a_keeper_that_hears_nothing_any_more_holds_up_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it imports has closed its connection, and goes on."""
    first = "if os.getpid() != HERE: os.closerange(3, 64); time.sleep(10)"
    odd = module(tmp_path, monkeypatch, "closes_all", first)
    async with open_system() as system:
        began = time.monotonic()
        with suppress(StartFailed):
            await system.start(
                Child(odd.Odd, isolation="process", restart="temporary", start_timeout=3)
            )
        assert time.monotonic() - began < 8


@real
async def test_a_keeper_that_was_refused_a_fork_still_sees_its_workers_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = """
    def fork(fork=os.fork, calls=[]):
        calls.append(1)
        if len(calls) == 2:
            raise BlockingIOError(11, "no more processes")
        return fork()
    if os.getpid() != HERE: os.fork = fork
    """
    odd = module(tmp_path, monkeypatch, "forks_badly", first)
    async with open_system() as system:
        child = Child(odd.Odd, name="one", isolation="process")
        await system.start(one_for_one(child))
        ref = named(system, "one")
        pid = await ref.call(Pid())
        with pytest.raises(StartFailed, match="no more processes"):
            await system.start(Child(odd.Odd, isolation="process", restart="temporary"))
        keeper = keeper_of(ref)
        os.kill(pid, signal.SIGKILL)
        await next_incarnation(ref, 2)
        assert keeper_of(ref) == keeper


@pytest.mark.parametrize(
    "first",
    [
        "signal.signal(signal.SIGCHLD, signal.SIG_DFL)",
        "signal.set_wakeup_fd(-1)",
        "sys.stdout = None",
        "sys.stdout = open(os.devnull, 'w'); sys.stdout.close()",
    ],
    ids=["signals", "wakeup", "no output", "closed output"],
)
@real
async def test_what_an_import_does_to_its_keeper_is_undone(
    first: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = module(tmp_path, monkeypatch, "meddles", f"if os.getpid() != HERE: {first}")
    async with open_system() as system:
        await system.start(one_for_one(Child(odd.Odd, name="one", isolation="process")))
        ref = named(system, "one")
        pid, keeper = await ref.call(Pid()), keeper_of(ref)
        os.kill(pid, signal.SIGKILL)
        await next_incarnation(ref, 2)
        assert keeper_of(ref) == keeper
