"""What a worker does to its link, its page and its start concerns nobody else."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import trio

from actors import Actor, ActorDied, Exit, StartFailed, handles, open_system
from actors.isolation import connection
from actors.isolation import frames as f
from actors.runtime.ids import IdRange
from supervisors import Child, one_for_one
from tests.actors.isolation.far_actors import Fail, Far, Note, Pid, Plus
from tests.actors.isolation.in_forks.across_actors import Do, Keeper
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.hostile_actors import Hostile, Write, packet
from tests.actors.isolation.in_forks.hostile_actors import connection as its_link
from tests.actors.isolation.in_forks.inner_actors import Inner, Outer
from tests.actors.isolation.in_forks.places import alone, named, next_incarnation, notes


class Endless(logging.Handler):
    """Is never done."""

    def emit(self, record: logging.LogRecord) -> None:
        """Nothing to do."""

    def flush(self) -> None:
        """Never return."""
        threading.Event().wait()


class NoEnd(Actor):
    """Does not come up, nor does its process end."""

    def on_start(self) -> None:
        logging.getLogger().addHandler(Endless())
        raise ValueError("no start")


@real
async def test_a_process_that_does_not_come_up_and_does_not_end_is_ended() -> None:
    async with open_system() as system:
        with trio.fail_after(5), pytest.raises(StartFailed, match="no start"):
            await system.start(Child(NoEnd, isolation="process", restart="temporary"))


class SaysGoodbye(Actor):
    """Writes that it has stopped into a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @handles
    def note(self, msg: Note) -> None:
        logging.getLogger("to the parent").warning(msg.text)

    async def on_stop(self, exit: Exit) -> None:
        await trio.sleep(0.1)
        self.path.write_text(type(exit).__name__, "utf-8")


@pytest.mark.parametrize("where", ["write", "read"])
@real
async def test_a_ctrl_c_while_a_link_is_at_work_stops_everybody_in_order(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work = threading.Event()
    function = connection.packed if where == "write" else connection.Connection._take_in

    def interrupted(*args: Any) -> Any:
        if at_work.is_set():
            at_work.clear()
            signal.raise_signal(signal.SIGINT)
        return function(*args)

    if where == "write":
        monkeypatch.setattr(connection, "packed", interrupted)
    else:
        monkeypatch.setattr(connection.Connection, "_take_in", interrupted)
    path = tmp_path / "goodbye"
    with pytest.raises(KeyboardInterrupt):
        async with open_system() as system:
            ref = await system.start(Child(SaysGoodbye, path, isolation="process", shutdown=5))
            await trio.sleep(0.05)  # in which what is said at the start is over
            at_work.set()
            ref.cast(Note("now"))
            await trio.sleep_forever()
    assert path.read_text("utf-8") == "Shutdown"


class Cutter(Far):
    """Cuts off its page."""

    @handles
    def do(self, msg: Do) -> str:
        for each in os.listdir("/proc/self/fd"):
            try:
                if "understudy-page" in os.readlink(f"/proc/self/fd/{each}"):
                    os.ftruncate(int(each), 0)
                    return "cut off"
            except OSError:
                continue
        return "as it was"


@real
async def test_a_page_cannot_be_cut_off() -> None:
    async with alone(Cutter, isolation="process") as (_, ref):
        assert await ref.call(Do("cut")) == "as it was"
        assert await ref.call(Plus(1)) == 1


class Babbler(Far):
    """Leaves somebody behind who goes on writing into its connection."""

    @handles
    def do(self, msg: Do) -> str:
        data = packet(*[f.Abandoned(1)] * 2000)
        link = its_link()
        if os.fork() == 0:
            os.setsid()
            link.setblocking(True)
            end = time.monotonic() + msg.number
            try:
                while time.monotonic() < end:
                    link.sendall(data)
            finally:
                os._exit(0)
        return ""


@real
async def test_who_goes_on_writing_for_somebody_dead_is_not_listened_to() -> None:
    async with alone(Babbler, isolation="process") as (_, ref):
        await ref.call(Do("babble", number=3))
        began = time.monotonic()
        with pytest.raises(ActorDied):
            await ref.call(Fail("kill"))
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0])
@real
async def test_an_answer_that_took_no_time_there_is_is_no_answer(seconds: float) -> None:
    async with alone(Hostile, isolation="process") as (_, ref):
        data = packet(f.Answer(1, f.Raw(b"\xc0"), seconds))
        with pytest.raises(ActorDied, match="no frame"):
            await ref.call(Write(data), timeout=5)


@pytest.mark.parametrize("left", [float("nan"), -float("inf")])
@real
async def test_a_call_with_no_time_there_is_is_no_call(left: float) -> None:
    async with alone(Hostile, isolation="process") as (system, ref):
        keeper = await system.start(Keeper)
        link = ref._place.actor._link
        number = link.admit(keeper._place)
        payload = f.Raw(link.encode(Plus(1), "it"))
        with pytest.raises(ActorDied, match="no frame"):
            await ref.call(Write(packet(f.Message(1, number, payload, True, left))), timeout=5)
        assert await keeper.call(Plus(1)) == 101


def test_frames_that_are_too_many_for_a_packet_are_several() -> None:
    frames = [f.Log("x" * 1000, 30, "", "", 0, 0.0) for _ in range(100)]
    data = connection.packed(list(frames), 10_000)
    assert f.Splitter(10_000).feed(bytes(data)) == frames


def test_ids_last_for_processes_within_processes() -> None:
    ids = IdRange(0, 1 << 62, 1 << 40)
    for _ in range(8):
        inner = ids.part()
        assert ids.first <= inner.first and inner.size >= 1
        ids = IdRange(inner.first, inner.size, inner.size >> 12)


@real
async def test_what_is_forwarded_and_not_begun_outlives_a_death() -> None:
    async with open_system() as system:
        witness = await system.start(Keeper)
        child = Child(Forwards, witness, Inner, name="it", isolation="process")
        await system.start(one_for_one(child))
        ref = named(system, "it")
        ref.cast(Note("late"))
        ref.cast(Note("kept"))
        assert await notes(witness) == ["late"]
        os.kill(await ref.call(Pid()), signal.SIGKILL)
        await next_incarnation(ref, 2)
        assert "kept" in (await notes(witness, 2))[1:]


class Forwards(Outer):
    """Forwards what it gets."""

    @handles
    def note(self, msg: Note) -> None:
        self.inner.forward(self.envelope)


@pytest.mark.parametrize("keywords", [{"memory_limit": 1 << 70}, {"name": "a\udc80"}])
@real
async def test_a_start_that_cannot_be_told_of_fails_at_once(keywords: Any) -> None:
    async with open_system() as system:
        with trio.fail_after(2), pytest.raises(StartFailed):
            await system.start(Child(Far, isolation="process", restart="temporary", **keywords))


@pytest.mark.parametrize("gone", [False, True])
@real
async def test_the_directory_may_have_any_name_or_none(gone: bool, tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff\xfe"
    os.mkdir(path)
    os.chdir(path)
    if gone:
        os.rmdir(path)
    async with open_system() as system:
        ref = await system.start(Child(Far, isolation="process", restart="temporary"))
        assert await ref.call(Plus(1)) == 1


@real
async def test_a_start_whose_request_cannot_be_sent_fails_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from actors.isolation import keeper

    def refuse(*_: object) -> None:
        raise OSError(109, "Too many references")

    async with open_system() as system:
        ref = await system.start(Child(Far, isolation="process"))
        with monkeypatch.context() as patch, pytest.raises(StartFailed, match="references"):
            patch.setattr(keeper, "_send", refuse)
            await system.start(Child(Far, isolation="process", restart="temporary"))
        assert len(ref._place.actor._worker._keeper.workers) == 1
