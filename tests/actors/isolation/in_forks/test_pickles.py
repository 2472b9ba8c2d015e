"""A pickle sent into any socket executes nothing.

Between the processes go frames of data. Only a worker unpickles, and only what comes from its
parent over the connection it was given at its birth; whoever writes into the other end ends it.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from msgspec import Raw

from actors import ActorDied, Crashed, Process, ProcessDied, Ref, System, open_system
from actors.isolation import frames as f
from actors.isolation.frames import BrokenLink, Splitter, packed
from actors.payloads import Undecodable
from supervisors import Child, one_for_one
from tests.actors.isolation.far_actors import Fail, Plus
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.hostile_actors import (
    Exploit,
    Hostile,
    Pid,
    Write,
    WriteAndClose,
    attacks,
    packet,
    payload,
)

HARMLESS = {
    # Answers to nobody, or about things that are not known here: there is nothing to do.
    "a class of ours in an answer",
    "an extension in an answer",
    "a pickle in a refusal",
    "a refusal of any class",
    "a pickle in a report",
    "a class of ours in a report",
    "a pickle in a record of logging",
}


@asynccontextmanager
async def hostile(**options: Any) -> AsyncIterator[tuple[System, Ref[Any]]]:
    """An actor that will write into its own connection."""
    child = Child(Hostile, name="hostile", isolation=Process(**options))
    async with open_system(one_for_one(child, max_restarts=1000)) as system:
        ref = system.whereis("hostile")
        assert ref is not None
        yield system, ref


async def is_fine(ref: Ref[Any]) -> None:
    """The actor works, be it another incarnation."""
    deadline = trio.current_time() + 10
    while True:
        try:
            total = await ref.call(Plus(1))
            break
        except ActorDied:
            assert trio.current_time() < deadline
    assert total >= 1


# -- from a worker into its parent


@pytest.mark.parametrize("what", attacks(""))
@real
async def test_what_a_worker_writes_into_its_connection_executes_nothing_here(
    what: str, tmp_path: Path
) -> None:
    made = tmp_path / "made"
    async with hostile() as (system, ref):
        first = await ref.call(Pid())
        data = attacks(str(made))[what]
        try:
            await ref.call(Write(data))
        except Undecodable:
            assert what in HARMLESS  # it has answered the very call that it was handling
        except ActorDied as died:
            cause = died.__cause__
            assert what not in HARMLESS
            assert isinstance(cause, ProcessDied)
            assert "what is no frame" in str(cause)
        await is_fine(ref)
        if what in HARMLESS:
            assert await ref.call(Pid()) == first
        else:
            while await ref.call(Pid()) == first:
                pass
            exit = ref._place.exit
            assert isinstance(exit, Crashed) and "what is no frame" in str(exit.exception)
        # Somebody of this process is none the worse for it.
        probe = system.probe()
        probe.answer(Plus, 7)
        assert await probe.ref.call(Plus(1)) == 7
    assert not made.exists()


@real
async def test_the_exploit_works_where_it_is_unpickled(tmp_path: Path) -> None:
    """Or the others would show nothing."""
    import pickle

    made = tmp_path / "made"
    pickle.loads(pickle.dumps(Exploit(str(made))))
    assert made.exists()


@real
async def test_a_packet_that_breaks_off_is_one_that_never_came(tmp_path: Path) -> None:
    made = tmp_path / "made"
    whole = attacks(str(made))["a frame with code"]
    async with hostile() as (_, ref):
        for end in (1, 3, 4, 5, len(whole) - 1):
            with pytest.raises(ActorDied) as died:
                await ref.call(WriteAndClose(whole[:end]), timeout=10)
            assert isinstance(died.value.__cause__, ProcessDied)
        await is_fine(ref)
    assert not made.exists()


@real
async def test_an_answer_to_a_question_of_ours_that_is_none_ends_the_worker_alone() -> None:
    """``stop()`` of an actor inside a worker is a question, answered by a frame."""
    async with hostile() as (system, ref):
        first = await ref.call(Pid())
        link = ref._place.actor._link
        from actors.runtime.stages import Pending

        pending = Pending(ref._place)
        number = link.question(pending)
        for bad in (payload(["no:Such", 1, {}]), payload("nothing of the kind")):
            try:
                await ref.call(Write(packet(f.Answer(number, bad))))
            except ActorDied:
                break
        await is_fine(ref)
        assert ref.incarnation == 2 or await ref.call(Pid()) == first
        probe = system.probe()
        probe.answer(Plus, 7)
        assert await probe.ref.call(Plus(1)) == 7


@real
async def test_a_worker_that_says_it_has_ended_and_lives_on_is_ended() -> None:
    async with hostile(heartbeat=None) as (_, ref):
        for last_words in (f.Fault("Normal"), f.Fault("Crashed", "", "ValueError", "no", "")):
            before = ref.incarnation
            await is_fine(ref)
            with suppress(ActorDied):
                await ref.call(Write(packet(f.Exited(last_words))), timeout=10)
            while ref.incarnation == before:
                await trio.sleep(0.001)
            await is_fine(ref)


@pytest.mark.parametrize("declined", [False, True])
@real
async def test_a_worker_that_says_twice_that_it_is_up_is_none_the_less_restarted(
    declined: bool,
) -> None:
    async with hostile() as (_, ref):
        with suppress(ActorDied):
            await ref.call(Write(packet(f.Started(declined))))
        await is_fine(ref)
        assert ref.state == "up"
        with suppress(ActorDied):
            await ref.call(Fail("kill"))
        await is_fine(ref)
        assert ref.incarnation >= 2


@real
async def test_what_comes_behind_what_was_no_frame_counts_no_more() -> None:
    """The worker is ended for what it sent, whatever it says after it. Repeated, since it depends
    on what is read at once."""
    broken = f.HEAD.pack(3) + b"\xc1\xc1\xc1"
    async with hostile() as (_, ref):
        for _ in range(12):
            await is_fine(ref)
            # Its answer comes right behind.
            with pytest.raises(ActorDied, match="what is no frame"):
                await ref.call(Write(broken), timeout=10)


# -- into a worker


@real
async def test_the_parents_end_may_break_and_ends_one_worker(tmp_path: Path) -> None:
    """Bytes that come out of the blue into our own end reach the worker, which does not read on."""
    made = tmp_path / "made"
    data = attacks(str(made))
    async with hostile() as (_, ref):
        for what in ("a pickle", "a pickle behind its length", "an unknown kind of frame"):
            await is_fine(ref)
            before = ref.incarnation
            connection: socket.socket = ref._place.actor._link.connection._socket
            connection.send(data[what])
            while ref.incarnation == before:
                await trio.sleep(0.001)
            assert isinstance(ref._place.exit, Crashed)
        await is_fine(ref)
    assert not made.exists()


@real
async def test_a_worker_takes_no_frames_that_only_a_parent_gets(tmp_path: Path) -> None:
    """Nor a second beginning."""
    made = tmp_path / "made"
    async with hostile() as (_, ref):
        for frames in (
            packet(f.Started(False)),
            packet(f.Report(payload(["", 1, None]), 1, 1, 1)),
            attacks(str(made))["a frame that begins a worker"],
        ):
            await is_fine(ref)
            before = ref.incarnation
            ref._place.actor._link.connection._socket.send(frames)
            while ref.incarnation == before:
                await trio.sleep(0.001)
            assert isinstance(ref._place.exit, Crashed)
        await is_fine(ref)
    assert not made.exists()


@real
async def test_what_reaches_the_keeper_from_a_worker_is_nothing(tmp_path: Path) -> None:
    """A worker, forked as it is, has no descriptor of the keeper's."""
    async with hostile() as (_, ref):
        pid = await ref.call(Pid())
        keeper = ref._place.actor._worker._keeper._process.pid

        def sockets(process: int) -> set[str]:
            found = set()
            for each in os.listdir(f"/proc/{process}/fd"):
                try:
                    name = os.readlink(f"/proc/{process}/fd/{each}")
                except OSError:
                    continue
                if name.startswith("socket:"):
                    found.add(name)
            return found

        assert not sockets(pid) & sockets(keeper)
        # And of the parent's only its own connection, which is the other end of a pair.
        assert not sockets(pid) & sockets(os.getpid())


# -- anything at all


def test_bytes_drawn_at_random_are_frames_or_are_refused() -> None:
    """Whatever comes in, one error comes out; and what was read is data."""
    random_ = random.Random(20240229)
    good = packed(
        [
            f.Answer(7, Raw(msgspec.msgpack.encode(["", 1, [1, 2, 3]]))),
            f.Log("a", 20, "text", "path", 1, 0.5),
            f.Taken(0, 17),
            f.Failed(3, f.Fault("ActorDied:Crashed", "text", "ValueError", "no", "...")),
            f.Exited(f.Fault("Normal")),
        ]
    )
    refused = 0
    for _ in range(3000):
        splitter = Splitter(1 << 16)
        data = bytearray(good)
        for _ in range(random_.randrange(1, 6)):
            match random_.randrange(4):
                case 0:
                    data[random_.randrange(len(data))] = random_.randrange(256)
                case 1:
                    del data[random_.randrange(len(data)) :]
                case 2:
                    at = random_.randrange(len(data) + 1)
                    data[at:at] = random_.randbytes(random_.randrange(1, 9))
                case _:
                    data += random_.randbytes(random_.randrange(1, 40))
            if not data:
                data += b"\x01"
        try:
            at = 0
            while at < len(data):
                step = random_.randrange(1, len(data) + 1)
                for frame in splitter.feed(bytes(data[at : at + step])):
                    assert isinstance(frame, msgspec.Struct)
                at += step
        except BrokenLink:
            refused += 1
    assert refused > 1000


@pytest.mark.parametrize("seed", range(4))
@real
async def test_a_worker_that_writes_at_random_is_ended_and_nobody_else(seed: int) -> None:
    """Valid frames with invalid contents among them: numbers of others, payloads that fit nothing,
    classes that there are not."""
    random_ = random.Random(seed)
    fault = f.Fault("Crashed", "text", "ValueError", "no", "...")
    contents = [
        payload(each)
        for each in (
            ["", 1, None],
            ["", 1, [[], {}]],
            ["", 99, None],
            ["os:system", 1, {"command": "true"}],
            [":", 1, [[1], {"args": [2], "__class__": 3}]],
            ["actors.messages:Refusal", 1, [[1, 2], {"__traceback__": 1, "__cause__": 3}]],
            ["actors.messages:Refusal", 1, [[1, 2], {"__dict__": 1}]],
            ["actors.messages:Refusal", 1, {"a": 1}],
            ["actors.messages:Refusal", 1, [7, [1]]],
            [1, 2, 3],
            "x",
            msgspec.msgpack.Ext(12, b"\x91\x01"),
            ["", 1, msgspec.msgpack.Ext(12, b"\x91\x01")],
            ["", 1, msgspec.msgpack.Ext(14, b"\x92\xc3\x00")],
            ["", 1, msgspec.msgpack.Ext(14, b"\x92\xc2\xcf\xff\xff\xff\xff\xff\xff\xff\xff")],
            ["", 1, msgspec.msgpack.Ext(5, b"short")],
            ["", 1, msgspec.msgpack.Ext(10, b"not hex")],
            ["", 1, msgspec.msgpack.Ext(99, b"")],
        )
    ]

    def number() -> int:
        return random_.choice((0, 1, 2, 3, 5, 8, 1 << 40, (1 << 62), -1))

    def frame() -> Any:
        content = random_.choice(contents)
        address = f.Address(
            random_.random() < 0.5, number(), random_.choice(("", "/x", "///")), "Name", number()
        )
        left = random_.choice((None, 0.0, -1.0, 1e300, float("inf"), float("nan")))
        return random_.choice(
            (
                f.Answer(number(), content),
                f.Answer(number(), content, random_.random()),
                f.Refused(number(), content),
                f.Failed(
                    number(), f.Fault(random_.choice(("", "CallTimeout", "x:y", "ActorDied")))
                ),
                f.Message(
                    number(), number(), content, random_.random() < 0.5, left, sender=address
                ),
                f.Taken(number(), number()),
                f.Abandoned(number()),
                f.GivenBack(number()),
                f.Watch(number()),
                f.Down(number(), number(), fault),
                # Not the supervisor, whose number is 1: an actor may stop that, here as well.
                f.StopFar(number(), number() + 2, f.Fault("Killed")),
                f.Report(content, number() % (1 << 60), 0, 0),
                f.Log(random_.choice(("", "a.b", "actors")), number() % 60, "x", "", -1, 1e300),
                f.Started(random_.random() < 0.5),
                f.StartFailed(fault),
            )
        )

    async with hostile() as (system, ref):
        probe = system.probe()
        probe.answer(Plus, 7)
        for _ in range(25):
            await is_fine(ref)
            data = packet(*(frame() for _ in range(random_.randrange(1, 8))))
            try:
                # It may be killed for it, stop, or have answered itself in its own name.
                await ref.call(Write(data), timeout=1)
            except Exception as error:
                assert not isinstance(error, trio.Cancelled)
            assert await probe.ref.call(Plus(1)) == 7
        await is_fine(ref)


@real
async def test_a_worker_that_is_not_one_of_ours_is_never_listened_to() -> None:
    """There is no address to connect to: the sockets have no name."""
    async with hostile() as (_, ref):
        connection: socket.socket = ref._place.actor._link.connection._socket
        control: socket.socket = ref._place.actor._worker._keeper._control
        for each in (connection, control):
            assert each.getsockname() == "" and each.getpeername() == ""
