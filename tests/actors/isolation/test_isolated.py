"""An actor in a process of its own behaves as one in this: the rules hold across the processes."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from msgspec import Raw

from actors import (
    Actor,
    ActorDied,
    Call,
    CallTimeout,
    Crashed,
    Down,
    MailboxFull,
    Normal,
    NoSuchActor,
    Process,
    Ref,
    Shutdown,
    StartFailed,
    System,
    Unhandled,
    handles,
    introspection,
    open_system,
)
from actors.isolation.frames import Message
from actors.payloads import NotEncodable
from supervisors import Child, Supervisor, one_for_one
from tests.actors.isolation.far_actors import (
    Ask,
    Deaf,
    Far,
    GoOn,
    NoStart,
    Note,
    Notes,
    Odd,
    OutOfStock,
    Pid,
    Plain,
    Plus,
    PlusLater,
    Raised,
    Slowly,
    Take,
    Unknown,
    Who,
    real,
)


@asynccontextmanager
async def started(
    *args: Any, cls: Any = Far, **keywords: Any
) -> AsyncIterator[tuple[System, Ref[Any]]]:
    """A system with one isolated actor."""
    isolation = keywords.pop("isolation", "process")
    async with open_system() as system:
        yield system, await system.start(Child(cls, *args, isolation=isolation, **keywords))


@real
async def test_a_call_is_answered_from_another_process() -> None:
    async with started(5) as (_, ref):
        assert await ref.call(Plus(3)) == 8
        assert await ref.call(PlusLater(2)) == 10
        assert await ref.call(Pid()) not in (os.getpid(), os.getppid())
        assert ref.alive


@real
async def test_casts_and_calls_of_one_sender_keep_their_order() -> None:
    async with started() as (_, ref):
        for number in range(500):
            ref.cast(Note(str(number)))
        assert await ref.call(Notes()) == [str(number) for number in range(500)]


@real
async def test_K4_a_refusal_arrives_as_its_very_type() -> None:
    async with started() as (_, ref):
        with pytest.raises(OutOfStock) as refused:
            await ref.call(Take("stage"))
        assert (refused.value.item, refused.value.left) == ("stage", 3)
        assert ref.incarnation == 1


@real
async def test_K3_an_unhandled_call_fails_its_caller_at_once() -> None:
    async with started() as (_, ref):
        with pytest.raises(Unhandled, match="has no handler for this call"):
            await ref.call(Unknown())


@real
async def test_K8_answers_may_come_later_and_from_another_turn() -> None:
    async with started() as (_, ref):
        answers: list[str] = []

        async def ask(text: str) -> None:
            answers.append(await ref.call(Slowly(text)))

        async with trio.open_nursery() as nursery:
            for text in ("one", "two"):
                nursery.start_soon(ask, text)
            while len(await ref.call(Notes())) < 2:
                pass
            ref.cast(GoOn())
        assert sorted(answers) == ["one", "two"]


@real
async def test_K10_a_deadline_ends_the_waiting_and_the_handler_goes_on() -> None:
    async with started() as (_, ref):
        with pytest.raises(CallTimeout):
            await ref.call(Slowly("too late"), timeout=0.05)
        assert await ref.call(Plus(1)) == 1


class Asker(Actor):
    """Somebody of this process, who calls and is called."""

    def __init__(self) -> None:
        self.total = 100
        self.events: list[str] = []

    @handles
    def plus(self, msg: Plus) -> int:
        self.total += msg.amount
        return self.total

    @handles
    def note(self, msg: Note) -> None:
        self.events.append(msg.text)

    @handles
    def events_so_far(self, msg: Notes) -> list[str]:
        return self.events

    @handles
    async def ask(self, msg: Ask) -> int:
        path, incarnation, sender, chain = await msg.whom.call(Who())
        assert sender == self.ref.path
        assert chain == self.envelope.correlation_id
        assert (path, incarnation) == (msg.whom.path, msg.whom.incarnation)
        return msg.amount


@real
async def test_a_ref_in_a_message_is_spoken_to_from_the_other_process() -> None:
    async with started() as (system, ref):
        asker = await system.start(Asker)
        assert await ref.call(Ask(asker, 5)) == 105
        assert await asker.call(Plus(0)) == 105


@real
async def test_sender_and_correlation_id_are_known_in_the_other_process() -> None:
    async with started() as (system, ref):
        asker = await system.start(Asker)
        assert await asker.call(Ask(ref, 7)) == 7


@real
async def test_a_ref_comes_back_as_the_one_that_was_sent() -> None:
    @attrs.frozen
    class Echo(Call[Ref[Any]]):
        ref: Ref[Any]

    class Mirror(Actor):
        @handles
        def echo(self, msg: Echo) -> Ref[Any]:
            return msg.ref

    async with started(cls=Mirror) as (system, ref):
        asker = await system.start(Asker)
        assert await ref.call(Echo(asker)) == asker
        assert await ref.call(Echo(ref)) == ref


@real
async def test_refs_are_arguments_too_and_on_stop_runs_there() -> None:
    async with open_system() as system:
        asker = await system.start(Asker)
        ref = await system.start(Far, 0, [], [], asker)
        isolated = await system.start(Child(Far, 0, [], [], asker, isolation="process"))
        assert isolated != ref
        assert await isolated.stop()
        assert await asker.call(Notes()) == ["stopped by Normal"]


@real
async def test_K14_monitors_watch_the_isolated_and_are_watched_by_it() -> None:
    @attrs.frozen
    class Observe(Call[None]):
        whom: Ref[Any]

    class Observer(Actor):
        def __init__(self) -> None:
            self.down: list[str] = []

        @handles
        def observe(self, msg: Observe) -> None:
            self.monitor(msg.whom)

        @handles
        def ended(self, msg: Down) -> None:
            self.down.append(f"{msg.ref.path} {type(msg.exit).__name__}")

        @handles
        def so_far(self, msg: Notes) -> list[str]:
            return self.down

    async with started(cls=Observer) as (system, ref):
        asker = await system.start(Asker, name="asker")
        await ref.call(Observe(asker))
        await asker.stop()
        while not (seen := await ref.call(Notes())):
            pass
        assert seen == ["/asker Normal"]
        probe = system.probe()
        ref.monitor(probe.ref)
        await ref.stop()
        down = await probe.expect(Down, within=5)
        assert (down.ref, down.exit) == (ref, Normal())


class House(Supervisor):
    """Hears of events that nobody below takes."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def children(self) -> list[Child[Any]]:
        return [Child(Far, isolation="process", name="far")]

    @handles
    def hear(self, msg: Raised) -> None:
        self.heard.append(msg.text)


@real
async def test_K21_events_rise_over_the_processes() -> None:
    async with open_system(Child(House, name="house")) as system:
        far, house = system.whereis("far"), system.whereis("house")
        assert far is not None and house is not None
        far.cast(Raised("curtain"))
        await far.call(Plus(0))
        assert (await introspection.get_state(house))["heard"] == ["curtain"]


@real
async def test_K22_state_is_read_and_replaced_where_it_is() -> None:
    async with started(5) as (_, ref):
        assert (await introspection.get_state(ref))["total"] == 5
        await introspection.replace_state(ref, lambda state: {**state, "total": 50})
        assert await ref.call(Plus(1)) == 51
        assert "total" in await introspection.format_state(ref)
        await introspection.suspend(ref)
        ref.cast(Note("kept"))
        await introspection.resume(ref)
        assert await ref.call(Notes()) == ["kept"]


@real
async def test_K22_what_a_function_raises_there_reaches_its_caller() -> None:
    def wrong(state: dict[str, Any]) -> dict[str, Any]:
        raise KeyError("no such thing")

    async with started(5) as (_, ref):
        with pytest.raises(Exception, match="no such thing"):
            await introspection.replace_state(ref, wrong)
        assert await ref.call(Plus(0)) == 5


@real
async def test_a_message_that_cannot_be_encoded_fails_its_caller_and_nobody_else() -> None:
    @attrs.frozen
    class Closed(Call[int]):
        what: object

    class Taker(Actor):
        @handles
        def take(self, msg: Closed) -> int:
            return 1

    async with started(cls=Taker) as (_, ref):
        with pytest.raises(NotEncodable, match="what cannot leave its process"):
            await ref.call(Closed(Plain()))
        assert await ref.call(Closed([1, {"two": (3,)}])) == 1
        assert ref.incarnation == 1


def test_options_show_what_differs_from_the_defaults() -> None:
    assert repr(Process()) == "Process()"
    assert repr(Process(heartbeat=None, warm=False)) == "Process(heartbeat=None, warm=False)"
    assert repr(Process(window=1, max_message=5)) == "Process(window=1, max_message=5)"


@real
async def test_a_one_way_message_that_cannot_leave_gives_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with started() as (_, ref):
        ref.cast(Note(Plain()))  # type: ignore[arg-type]
        assert await ref.call(Notes()) == []
    [record] = [each for each in caplog.records if each.levelname == "WARNING"]
    text = record.getMessage()
    assert text.startswith(f"{ref.path}: a message is lost, it cannot leave: ")
    assert "Got: <tests.actors.isolation.far_actors.Plain object" in text


@real
async def test_a_one_way_message_that_cannot_be_read_gives_a_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with started() as (_, ref):
        outlet = ref._place.actor._outlet
        link = outlet._link
        number = link.outgoing.sent(link.next_number)
        link.send(Message(number, outlet.target, Raw(b"\xc7\x00\x63"), False))
        assert await ref.call(Notes()) == []
    [record] = [each for each in caplog.records if each.levelname == "WARNING"]
    text = record.getMessage()
    assert text.startswith(f"{ref.path}: a message from another process is lost: This is no")


@real
async def test_an_open_file_is_not_sent_along_as_a_copy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Reads(Actor):
        def __init__(self, *args: object) -> None:
            self.args = args

    path = tmp_path / "file"
    path.write_text("content")
    for mode in ("r", "rb", "r+b"):
        with path.open(mode) as file, pytest.raises(TypeError, match="an open file stays") as no:
            Child(Reads, file, isolation="process")
        assert "an open file is made by the actor itself" in str(no.value)
        assert f"Got: {Reads.__qualname__}(<_io." in str(no.value)
    monkeypatch.setattr(sys, "stdout", sys.__stdout__)
    plain = (io.BytesIO(b"data"), io.StringIO("data"), sys.stdout)
    async with started(*plain, cls=Reads) as (_, ref):
        assert ref.alive


@real
@pytest.mark.parametrize("kind", ["plain", "lambda"])
async def test_a_reply_that_cannot_be_encoded_fails_its_caller_and_nobody_else(kind: str) -> None:
    async with started() as (_, ref):
        with pytest.raises(NotEncodable, match="the answer to Odd"):
            await ref.call(Odd(kind))
        assert await ref.call(Plus(1)) == 1
        assert ref.incarnation == 1


@real
async def test_what_is_too_large_fails_its_caller_and_nobody_else() -> None:
    async with started(isolation=Process(max_message=100_000)) as (_, ref):
        with pytest.raises(NotEncodable, match=r"at most 100000 bytes \(max_message\)"):
            await ref.call(Odd("large"))
        with pytest.raises(NotEncodable, match=r"at most 100000 bytes \(max_message\)"):
            await ref.call(Slowly("x" * 100_001))
        assert await ref.call(Odd("x" * 90_000)) == "x" * 90_000
        assert ref.incarnation == 1


@real
async def test_large_messages_go_through_in_many_pieces() -> None:
    async with started(isolation=Process(max_message=1 << 24)) as (_, ref):
        text = "x" * (1 << 23)
        assert await ref.call(Odd(text)) == text


@real
async def test_a_full_window_holds_the_messages_back_here() -> None:
    async with started(isolation=Process(window=4), mailbox=8) as (_, ref):
        await introspection.suspend(ref)
        for number in range(8):
            ref.cast(Note(str(number)))
        with pytest.raises(MailboxFull):
            ref.cast(Note("too many"))
        await introspection.resume(ref)
        await ref.send(Note("last"))
        assert await ref.call(Notes()) == [*map(str, range(8)), "last"]


@real
async def test_a_worker_that_does_not_take_them_lets_senders_wait() -> None:
    """Backpressure: window and mailbox are full, and ``cast`` says so."""
    async with started(isolation=Process(window=4), mailbox=8) as (_, ref):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(ref.call, PlusLater(0))
            sent = 0
            try:
                while True:
                    # The worker never gets the processor as long as this does not yield.
                    ref.cast(Note("more"))
                    sent += 1
            except MailboxFull:
                pass
        assert sent <= 4 + 8 + 1
        assert len(await ref.call(Notes())) == sent


@real
async def test_K12_what_was_not_begun_is_handled_by_the_next_incarnation() -> None:
    async with open_system(
        one_for_one(Child(Far, name="far", isolation="process"), max_restarts=10)
    ) as system:
        ref = system.whereis("far")
        assert ref is not None
        from tests.actors.isolation.far_actors import Fail

        results: dict[int, Any] = {}

        async def ask(number: int) -> None:
            try:
                results[number] = await ref.call(Fail("kill") if number == 3 else Plus(1))
            except ActorDied as died:
                results[number] = died

        async with trio.open_nursery() as nursery:
            for number in range(8):
                nursery.start_soon(ask, number)
                await trio.lowlevel.checkpoint()
        assert isinstance(results.pop(3), ActorDied)
        # What came behind it has not been begun, so nothing of it is lost.
        assert [type(results[number]) for number in range(4, 8)] == [int] * 4
        assert ref.incarnation == 2


@real
async def test_K12_what_was_set_aside_returns_and_what_was_begun_does_not() -> None:
    from tests.actors.isolation.far_actors import Fail

    async with open_system(one_for_one(Child(Deaf, name="deaf", isolation="process"))) as system:
        ref = system.whereis("deaf")
        assert ref is not None
        for text in ("one", "two"):
            ref.cast(Note(text))
        await ref.call(Pid())
        with pytest.raises(ActorDied):
            await ref.call(Fail("kill"))
        ref.cast(GoOn())
        assert await ref.call(Notes()) == ["one", "two"]


@real
async def test_K9_a_call_whose_caller_has_gone_is_not_begun() -> None:
    async with started() as (_, ref):
        with trio.move_on_after(0.05):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(ref.call, Slowly("never"))
                nursery.start_soon(ref.call, Slowly("neither"))
        assert await ref.call(Plus(1)) == 1


@real
@pytest.mark.parametrize("how", ["raise", "exit", "segfault"])
async def test_K15_a_start_that_fails_says_why(how: str) -> None:
    async with open_system() as system:
        with pytest.raises(StartFailed) as failed:
            await system.start(Child(NoStart, how, name="never", isolation="process"))
        assert system.whereis("never") is None
        why = str(failed.value.__cause__)
        assert {"raise": "a bug", "exit": "exit code 3", "segfault": "SIGSEGV"}[how] in why


@real
async def test_K15_a_start_that_takes_too_long_is_killed() -> None:
    async with open_system() as system:
        with pytest.raises(StartFailed, match=r"not up after 0.5 s"):
            await system.start(Child(NoStart, "hang", isolation="process", start_timeout=0.5))


@real
async def test_an_actor_may_decline_to_run() -> None:
    async with open_system() as system:
        ref = await system.start(Child(NoStart, "decline", isolation="process"))
        assert ref.state == "gone"


@real
async def test_a_whole_subtree_lives_in_one_process() -> None:
    class Branch(Supervisor):
        def children(self) -> list[Child[Any]]:
            return [Child(Far, 1, id="a"), Child(Far, 2, id="b")]

    async with open_system() as system:
        ref = await system.start(Child(Branch, isolation="process"))
        assert ref.alive
        await ref.stop(Shutdown("enough"))


@real
async def test_K16_what_waits_when_it_is_stopped_is_told_so() -> None:
    async with open_system() as system:
        ref = await system.start(Child(Far, isolation=Process(window=1), restart="temporary"))
        errors: list[BaseException] = []

        async def ask() -> None:
            try:
                await ref.call(Slowly("never"))
            except (ActorDied, NoSuchActor) as error:
                errors.append(error)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ask)
            while not await ref.call(Notes()):
                pass
            nursery.start_soon(ref.stop)
        assert isinstance(errors[0], ActorDied)
        assert errors[0].exit == Normal()
        with pytest.raises(NoSuchActor):
            await ref.call(Plus(1))


@real
async def test_an_exception_arrives_readable() -> None:
    from tests.actors.isolation.far_actors import Fail

    async with started() as (_, ref):
        with pytest.raises(ActorDied) as died:
            await ref.call(Fail("raise"))
        cause = died.value.__cause__
        assert str(cause) == "ValueError: a bug"
        assert isinstance(died.value.exit, Crashed)
        notes = "\n".join(cause.__notes__)
        assert "far_actors.py" in notes and "raise ValueError" in notes
