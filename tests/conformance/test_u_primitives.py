"""U. Exits, monitors, aliases, timers and labels."""

from __future__ import annotations

from collections.abc import Callable
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
    Killed,
    Later,
    NoSuchActor,
    Normal,
    Ref,
    StartFailed,
    System,
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
    Run,
    defers,
    end,
    outcome,
    raises,
)

pytestmark = pytest.mark.usefixtures("both_ways")


@pytest.mark.parametrize("exit", EXITS)
async def test_U1_the_end_of_another_is_news_and_no_end(system: System, exit: Exit) -> None:
    """There are no links: what ends together stands under one supervisor."""
    log: Log = []
    ref = await system.start(Recorder)

    def collect(self: Any) -> None:
        self.monitor(ref)

    watcher = await system.start(Recorder, log)
    await watcher.call(Do(collect))
    await end(ref, exit)
    assert await watcher.call(Ask("alive")) == "alive"
    assert watcher.incarnation == 1


@pytest.mark.parametrize(
    ("restart", "returns"), [("permanent", True), ("transient", False), ("temporary", False)]
)
async def test_U1_a_stop_from_outside_is_the_actors_own_end(
    system: System, restart: Any, returns: bool
) -> None:
    """K16: ``ref.stop(Normal())`` does stop it; a permanent child comes back."""
    ref = await system.start(Child(Recorder, restart=restart))
    assert await ref.stop(Normal())
    await wait_all_tasks_blocked()
    assert ref.alive == returns
    assert ref.incarnation == (2 if returns else 1)


@pytest.mark.parametrize("exit", EXITS)
async def test_U2_an_actor_may_end_itself(system: System, exit: Exit) -> None:
    ref = await system.start(Recorder)
    ref.cast(Do(lambda self: self.stop(exit)))
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
@pytest.mark.parametrize("to", ["probe", "self"])
async def test_U6_a_down_has_ref_incarnation_and_exit(
    system: System, exit: Exit, to: str
) -> None:
    log: Log = []
    probe = system.probe()

    class Watcher(Recorder):
        pass

    ref = await system.start(Child(Recorder, restart="permanent"))
    if to == "probe":
        ref.monitor(probe.ref)
        await end(ref, exit)
        assert await probe.expect(Down) == Down(ref, 1, exit)
        await probe.expect_nothing(within=10)
        assert ref.incarnation == 2
    else:
        from actors import handles

        class Keeps(Recorder):
            @handles
            def down(self, message: Down) -> None:
                self.log.append(message)

        watcher = await system.start(Keeps, log)
        await watcher.call(Do(lambda self: self.monitor(ref)))
        await end(ref, exit)
        await trio.sleep(10)
        assert log == [Down(ref, 1, exit)]
