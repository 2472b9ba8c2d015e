"""Bounds, and what else a process of its own may do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from actors import (
    Actor,
    ActorDied,
    Crashed,
    Killed,
    MailboxFull,
    NoSuchActor,
    Process,
    ProcessDied,
    Ref,
    Refusal,
    handles,
    open_system,
)
from actors.telemetry import DeadLetter
from supervisors import (
    Child,
)
from tests.actors.isolation.far_actors import Fail, Note, Pid, Plus, Raised
from tests.actors.isolation.in_forks.across_actors import (
    Coin,
    Do,
    Doer,
    DoIt,
    Keeper,
    No,
    Stasher,
    busy,
)
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.places import (
    WHERE,
    alone,
    end_of_first,
    notes,
    until,
)

# -- bounds


@real
async def test_what_a_worker_casts_is_not_lost_with_the_ref() -> None:
    """More than the window holds was cast; the handler has ended, and with it the message that
    held the ref."""

    class Caster(Actor):
        @handles
        def do(self, msg: DoIt) -> None:
            assert msg.whom is not None
            for number in range(100):
                msg.whom.cast(Note(str(number)))

        @handles
        def collect(self, msg: Coin) -> str:
            import gc

            gc.collect()
            return "collected"

    from actors import introspection

    async with open_system() as system:
        caster = await system.start(Child(Caster, isolation=Process(window=4)))
        keeper, other = await system.start(Keeper), await system.start(Keeper)
        await introspection.suspend(keeper)
        caster.cast(DoIt("cast", keeper))
        caster.cast(DoIt("cast", other))  # what was spoken to last is another one
        await notes(other, 100)
        for _ in range(3):
            await caster.call(Coin())
        await introspection.resume(keeper)
        with trio.fail_after(3):
            assert await notes(keeper, 100) == [str(number) for number in range(100)]


@asynccontextmanager
async def called(ref: Ref[Any]) -> AsyncIterator[None]:
    """Somebody waits for an answer that will not come, and so does whatever comes behind it."""

    async def wait() -> None:
        with pytest.raises(ActorDied):
            await ref.call(Do("wait"), timeout=None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await until(lambda: bool(ref._place.busy))
        yield


@real
async def test_whoever_filled_the_window_of_a_place_that_is_gone_is_told_so() -> None:
    class Caster(Doer):
        @handles
        def do_it(self, msg: DoIt) -> None:
            self.whom = msg.whom
            if msg.what == "cast":
                assert msg.whom is not None
                for number in range(40):
                    msg.whom.cast(Note(str(number)))

    async with open_system() as system:
        letters: list[DeadLetter] = []
        system.telemetry.listen(letters.append, DeadLetter)
        caster = await system.start(Child(Caster, isolation=Process(window=4)))
        busy_one = await system.start(Child(Doer, restart="temporary"))
        async with called(busy_one):
            caster.cast(DoIt("cast", busy_one))
            await until(lambda: len(busy_one._place.mailbox or ()) == 4)
            caster.cast(DoIt("nothing", busy_one))
            await caster.call(Plus(1))
            await busy_one.stop(Killed())
        with pytest.raises(ActorDied) as died:
            await caster.call(Do("call", busy_one, 1), timeout=3)
        assert "gone" in str(died.value.__cause__)
        # And none of what was cast has vanished without a word.
        await until(lambda: len(letters) == 40)


@WHERE
@real
async def test_what_waits_at_a_place_that_goes_is_a_dead_letter_whoever_sent_it(
    isolation: Any,
) -> None:
    class Caster(Actor):
        @handles
        def do(self, msg: DoIt) -> None:
            assert msg.whom is not None
            for number in range(5):
                msg.whom.cast(Note(str(number)))

        @handles
        def plus(self, msg: Plus) -> int:
            return msg.amount

    letters: list[DeadLetter] = []
    async with open_system() as system:
        system.telemetry.listen(letters.append, DeadLetter)
        caster = await system.start(Child(Caster, isolation=isolation))
        busy_one = await system.start(Child(Doer, restart="temporary"))
        async with called(busy_one):
            caster.cast(DoIt("cast", busy_one))
            await until(lambda: len(busy_one._place.mailbox or ()) == 5)
            await busy_one.stop(Killed())
        assert [each.message for each in letters] == [Note(str(number)) for number in range(5)]


@WHERE
@real
async def test_a_full_mailbox_says_so(isolation: Any) -> None:
    async with alone(Doer, mailbox=3, shutdown=0.1, isolation=isolation) as (_, ref):
        ref.cast(Do("wait"))
        with pytest.raises(MailboxFull):
            for number in range(2000):
                ref.cast(Note(str(number)))
                if number % 8 == 0:
                    await trio.lowlevel.checkpoint()


# -- what else a process of its own may do


@real
async def test_what_a_thread_logs_hurts_nobody() -> None:
    import logging

    records: list[logging.LogRecord] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    listener = Listener()
    logging.getLogger("threaded").addHandler(listener)
    async with open_system() as system:
        ref = await system.start(Child(Threaded, isolation="process"))
        for number in range(3):
            assert await ref.call(Plus(number), timeout=3) == number
        await until(lambda: len(records) == 3)
        assert records[0].getMessage() == "from a thread: 0"
        assert ref.incarnation == 1


class Threaded(Actor):
    """Lets a thread work, and the thread logs."""

    @handles
    async def plus(self, msg: Plus) -> int:
        import logging

        def work() -> None:
            busy(0.02)
            logging.getLogger("threaded").warning("from a thread: %s", msg.amount)

        await trio.to_thread.run_sync(work)
        return msg.amount


def at_every_level(log: Any) -> None:
    """Four records that are to be heard, and one that is not."""
    log.debug("debug")
    log.info("info")
    log.warning("warning")
    log.getChild("quiet").warning("not heard")
    try:
        raise ValueError("odd")
    except ValueError:
        log.exception("a ValueError")


LOGS = {
    "no unicode": lambda log: log.warning("a file named \udcff"),
    "a large one": lambda log: log.warning("x" * (30 << 20)),
    "many": lambda log: [log.warning("x" * 10_000) for _ in range(3000)],
    "one that cannot be formatted": lambda log: log.warning("%d", "text"),
    "at every level": lambda log: at_every_level(log),
}


@pytest.mark.parametrize("what", LOGS)
@real
async def test_what_is_logged_ends_nobody(what: str) -> None:
    async with open_system() as system:
        ref = await system.start(Child(Logging, isolation="process"))
        ref.cast(Note(what))
        assert await ref.call(Plus(1), timeout=10) == 1
        assert ref.incarnation == 1


@WHERE
@real
async def test_what_is_logged_is_heard_as_it_is_set_here(isolation: Any) -> None:
    """The level of a logger is that which it has in this process, and not that of the root."""
    import logging

    records: list[logging.LogRecord] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    logging.getLogger().setLevel(logging.WARNING)
    logging.getLogger("odd").setLevel(logging.DEBUG)
    logging.getLogger("odd").addHandler(Listener())
    logging.getLogger("odd.quiet").setLevel(logging.ERROR)
    async with open_system() as system:
        ref = await system.start(Child(Logging, isolation=isolation))
        ref.cast(Note("at every level"))
        assert await ref.call(Plus(1)) == 1
        heard = [each.getMessage().partition("\n")[0] for each in records]
        assert heard == ["debug", "info", "warning", "a ValueError"]
        assert "ValueError: odd" in logging.Formatter().format(records[-1])


class Logging(Actor):
    """Logs in odd ways."""

    @handles
    def note(self, msg: Note) -> None:
        import logging

        logging.raiseExceptions = False
        LOGS[msg.text](logging.getLogger("odd"))

    @handles
    def plus(self, msg: Plus) -> int:
        return msg.amount


@real
async def test_a_large_event_or_state_ends_nobody() -> None:
    from actors import introspection

    class Large(Actor):
        def __init__(self) -> None:
            self.data = b"x" * (6 << 20)

        @handles
        def note(self, msg: Note) -> None:
            self.notify(Raised("x" * (6 << 20)))

        @handles
        def plus(self, msg: Plus) -> int:
            return msg.amount

    async with open_system() as system:
        ref = await system.start(Child(Large, isolation=Process(max_message=1000)))
        ref.cast(Note("notify"))
        assert await ref.call(Plus(1)) == 1
        try:
            await introspection.get_state(ref)
        except (ActorDied, NoSuchActor):
            raise
        except Exception as error:
            assert "max_message" in str(error)
        assert await ref.call(Plus(1)) == 1
        assert ref.incarnation == 1


@WHERE
@real
async def test_many_failures_with_much_to_say_are_told_to_all(isolation: Any) -> None:
    """They are larger than a packet may be, all together."""

    class Holding(Actor):
        def __init__(self) -> None:
            self.waiting: list[Any] = []

        @handles
        def coin(self, msg: Coin) -> Any:
            self.waiting.append(self.later())
            return self.waiting[-1]

        @handles
        def plus(self, msg: Plus) -> int:
            return len(self.waiting)

        @handles
        def fail(self, msg: Fail) -> None:
            raise ValueError(msg.how * 5000)

    if isolation is not None:
        isolation = Process(max_message=1000)
    async with alone(Holding, isolation=isolation) as (_, ref):
        causes: list[str] = []

        async def ask() -> None:
            with pytest.raises(ActorDied) as died:
                await ref.call(Coin(), timeout=10)
            causes.append(str(died.value.__cause__))

        async with trio.open_nursery() as nursery:
            for _ in range(300):
                nursery.start_soon(ask)
            while await ref.call(Plus(0)) < 300:
                pass
            ref.cast(Fail("long "))
        assert len(causes) == 300
        assert all("long long" in each for each in causes)


@real
async def test_who_looks_into_an_actor_that_begins_just_now_does_it_no_harm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The request is in the packet with which the process begins."""
    from actors import introspection
    from actors.isolation.isolated import Isolated
    from actors.replies import Slot

    launch = Isolated._launch
    slots: list[Slot] = []

    def launch_and_look(self: Isolated) -> None:
        launch(self)
        slots.append(Slot(None, self._place))
        self._ask_inside(introspection.state_of, slots[-1])

    monkeypatch.setattr(Isolated, "_launch", launch_and_look)
    async with open_system() as system:
        ref = await system.start(Child(Stasher, isolation="process"))
        assert await ref.call(Pid()) > 0
        assert slots[0].value["tries"] == 0


@real
async def test_a_busy_system_isolates_as_a_young_one() -> None:
    """Ids have been drawn for every message sent from one actor to another."""
    from itertools import count

    async with open_system() as system:
        system.scheduler.next_id = count(1 << 40).__next__
        ref = await system.start(Child(Doer, isolation="process"))
        assert await ref.call(Plus(1)) == 2


@real
async def test_why_a_process_has_ended_is_told_also_when_its_system_failed() -> None:
    """Whatever takes its system down, its exit code alone says nothing."""

    class Breaks(Actor):
        @handles
        def plus(self, msg: Plus) -> int:
            self.system.nursery.start_soon(self.fails)
            return msg.amount

        async def fails(self) -> None:
            raise ValueError("in the nursery of the system")

    async with alone(Breaks, isolation="process") as (_, ref):
        assert await ref.call(Plus(1)) == 1
        exit = await end_of_first(ref)
        assert isinstance(exit, Crashed)
        text = f"{exit.exception} {getattr(exit.exception, '__notes__', '')}"
        assert "in the nursery of the system" in text


@real
async def test_refusals_are_still_refusals_after_a_restart() -> None:
    async with alone(Doer, isolation="process") as (_, ref):
        for _ in range(2):
            with pytest.raises(No):
                await ref.call(Fail("refuse"))
            with pytest.raises(ActorDied) as died:
                await ref.call(Fail("kill"))
            assert isinstance(died.value.__cause__, ProcessDied)
        assert issubclass(No, Refusal)
