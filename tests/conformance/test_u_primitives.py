"""U. Exits, monitors, aliases, timers and labels."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorTimer,
    CallTimeout,
    Crashed,
    Down,
    Exit,
    Later,
    Monitor,
    Normal,
    NoSuchActor,
    Ref,
    StartFailed,
    System,
    handles,
)
from supervisors import Child
from tests.conformance.recorders import (
    BOOM,
    EXITS,
    Ask,
    Do,
    Log,
    Note,
    Recorder,
    defers,
    end,
    naps,
    outcome,
    quits,
)

pytestmark = pytest.mark.usefixtures("both_ways")


class Watcher(Recorder):
    """Keeps the Downs it gets."""

    @handles
    def down(self, message: Down) -> None:
        self.log.append(message)


def watches(ref: Ref[Any]) -> Do:
    return Do(lambda self: self.monitor(ref))


@pytest.mark.parametrize("exit", EXITS)
async def test_U1_the_end_of_another_is_news_and_not_ones_own(system: System, exit: Exit) -> None:
    """There are no links: what is to end together stands under one supervisor."""
    log: Log = []
    ref, watcher = await system.start(Recorder), await system.start(Watcher, log)
    await watcher.call(watches(ref))
    await end(ref, exit)
    assert await watcher.call(Ask("alive")) == "alive"
    assert watcher.incarnation == 1
    assert log == [Down(ref, 1, exit)]


@pytest.mark.parametrize(
    ("restart", "state", "incarnation"),
    [("permanent", "up", 2), ("transient", "gone", 1), ("temporary", "gone", 1)],
)
async def test_U1_a_stop_from_outside_is_the_actors_own_end(
    system: System, restart: Any, state: str, incarnation: int
) -> None:
    """K16: ``ref.stop(Normal())`` does stop it; a permanent child comes back."""
    ref = await system.start(Child(Recorder, restart=restart))
    assert await ref.stop(Normal())
    await wait_all_tasks_blocked()
    assert (ref.state, ref.incarnation) == (state, incarnation)


@pytest.mark.parametrize("exit", EXITS)
async def test_U2_an_actor_may_end_itself(system: System, exit: Exit) -> None:
    ref = await system.start(Recorder)
    ref.cast(quits(exit))
    assert await ref.wait() == exit
    await wait_all_tasks_blocked()
    assert ref.state == "gone"


@pytest.mark.parametrize("exit", EXITS)
async def test_U4_a_monitor_of_the_dead_tells_at_once(system: System, exit: Exit) -> None:
    """K14: with the last exit, where OTP no longer knows it."""
    probe = system.probe()
    ref = await system.start(Recorder)
    await end(ref, exit)
    ref.monitor(probe.ref)
    await wait_all_tasks_blocked()
    assert probe.received == [Down(ref, 1, exit)]
    assert trio.current_time() == 0.0


async def test_U4_of_one_that_never_was_it_says_so(system: System) -> None:
    probe = system.probe()
    found: list[Ref[Any]] = []

    def make() -> Recorder:
        ref = system.whereis("late")
        assert ref is not None
        ref.monitor(probe.ref)
        found.append(ref)
        raise BOOM.with_traceback(None)

    with pytest.raises(StartFailed):
        await system.start(make, name="late")
    down = await probe.expect(Down)
    assert down.ref == found[0]
    assert isinstance(down.exit, Crashed)
    assert isinstance(down.exit.exception, NoSuchActor)
    await probe.expect_nothing()


@pytest.mark.parametrize("exit", EXITS)
@pytest.mark.parametrize("by", ["self.monitor", "ref.monitor"])
async def test_U6_exactly_one_down_with_ref_incarnation_and_exit(
    system: System, exit: Exit, by: str
) -> None:
    log: Log = []
    ref, watcher = await system.start(Child(Recorder)), await system.start(Watcher, log)
    if by == "self.monitor":
        await watcher.call(watches(ref))
    else:
        ref.monitor(watcher)
    await end(ref, exit)
    await wait_all_tasks_blocked()
    assert log == [Down(ref, 1, exit)]
    assert ref.incarnation == 2
    await end(ref, exit)
    await trio.sleep(10)
    assert log == [Down(ref, 1, exit)]


async def test_U6_each_monitor_has_its_own(system: System) -> None:
    log: Log = []
    ref, watcher = await system.start(Recorder), await system.start(Watcher, log)
    monitors: list[Monitor] = [ref.monitor(watcher) for _ in range(3)]
    monitors[1].cancel()
    monitors[1].cancel()
    await ref.stop()
    await wait_all_tasks_blocked()
    assert log == [Down(ref, 1, Normal())] * 2


async def test_U6_cancelling_takes_back_a_down_that_is_queued(system: System) -> None:
    """K14, where OTP needs ``flush``."""
    log: Log = []
    ref, watcher = await system.start(Recorder), await system.start(Watcher, log)
    watcher.cast(naps(1))
    await wait_all_tasks_blocked()
    monitor = ref.monitor(watcher)
    await ref.stop()
    watcher.cast(Note("behind the Down"))
    monitor.cancel()
    await watcher.call(Ask())
    assert log == ["behind the Down"]


async def test_U7_a_reply_slot_is_closed_by_its_first_reply(system: System) -> None:
    """A reply slot is what an alias is for; there are no others."""
    ref = await system.start(Recorder)
    laters: list[Later[str]] = []
    results: Log = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, ref, defers(laters), results)
        await wait_all_tasks_blocked()
        [later] = laters
        assert not later.done
        later.reply("first")
        later.reply("second")
        later.fail(NoSuchActor("third"))
    assert results == ["first"]
    assert later.done
    later.reply("fourth")
    await wait_all_tasks_blocked()
    assert results == ["first"]


async def test_U7_and_by_its_deadline(system: System) -> None:
    ref = await system.start(Recorder)
    laters: list[Later[str]] = []
    with pytest.raises(CallTimeout):
        await ref.call(defers(laters), timeout=1)
    assert laters[0].done
    laters[0].reply("late")
    assert await ref.call(Ask("another")) == "another"


class Alarm(Recorder):
    """Sets timers, and notes when it hears them."""

    timer: ActorTimer | None = None

    @handles
    def heard(self, message: str) -> None:
        self.log.append((message, trio.current_time()))

    def set(self, seconds: float) -> None:
        self.timer = self.after(seconds, "ring")


async def test_U8_a_message_after_a_while_comes_once(system: System) -> None:
    log: Log = []
    ref = await system.start(Alarm, log)
    await trio.sleep(1)
    await ref.call(Do(lambda self: self.set(2.5)))
    await trio.sleep(2.4)
    assert log == []
    await trio.sleep(100)
    assert log == [("ring", 3.5)]


async def test_U8_at_a_moment(system: System) -> None:
    """An absolute time is a difference on trio's clock."""
    log: Log = []
    ref = await system.start(Alarm, log)
    await trio.sleep(1)
    await ref.call(Do(lambda self: self.set(4.0 - trio.current_time())))
    await trio.sleep(100)
    assert log == [("ring", 4.0)]


async def test_U8_what_remains_can_be_read_and_is_returned_by_cancel(system: System) -> None:
    log: Log = []
    ref = await system.start(Alarm, log)
    await ref.call(Do(lambda self: self.set(5.0)))
    await trio.sleep(2)
    assert await ref.call(Do(lambda self: self.timer.remaining)) == 3.0
    assert await ref.call(Do(lambda self: self.timer.cancel())) == 3.0
    assert await ref.call(Do(lambda self: self.timer.remaining)) is None
    assert await ref.call(Do(lambda self: self.timer.cancel())) is None
    await trio.sleep(100)
    assert log == []
    await ref.call(Do(lambda self: self.set(1.0)))
    await trio.sleep(1)
    await wait_all_tasks_blocked()
    assert await ref.call(Do(lambda self: self.timer.cancel())) is None
    assert log == [("ring", 103.0)]


async def test_U8_cancelling_takes_back_a_message_that_is_queued(system: System) -> None:
    log: Log = []
    ref = await system.start(Alarm, log)

    def set_and_cancel(self: Alarm) -> None:
        assert self.timer is not None
        self.log.append(self.timer.cancel())

    await ref.call(Do(lambda self: self.set(1.0)))
    ref.cast(naps(2))
    ref.cast(Do(set_and_cancel))
    await trio.sleep(100)
    assert log == [None]


async def test_U8_timers_die_with_the_incarnation(system: System) -> None:
    """K18."""
    log: Log = []
    ref = await system.start(Child(Alarm, log))
    before = len(system.scheduler.timers)
    await ref.call(Do(lambda self: (self.set(5.0), self.every(1.0, "tick"), None)[-1]))
    await end(ref, EXITS[-1])
    await ref.call(Ask())
    assert ref.incarnation == 2
    assert len(system.scheduler.timers) == before
    await trio.sleep(100)
    assert log == []


@pytest.mark.parametrize("wrong", [-1, float("nan"), "1", None, True])
async def test_U8_what_is_no_duration_is_refused(system: System, wrong: Any) -> None:
    ref = await system.start(Alarm)

    def try_it(self: Alarm) -> None:
        with pytest.raises((TypeError, ValueError), match="seconds"):
            self.set(wrong)

    await ref.call(Do(try_it))
    assert ref.alive


async def test_U9_name_and_id_are_the_label(system: System) -> None:
    """Given at the start; without a name it is None."""
    plain = await system.start(Recorder)
    named = await system.start(Recorder, name="ledger")
    child = await system.start(Child(Recorder, id="billing"))
    assert (plain.name, named.name, child.name) == (None, "ledger", None)
    assert (named.path, child.path) == ("/ledger", "/supervised/billing")
