"""K14: monitors and waiting for an end."""

from __future__ import annotations

import gc
import weakref
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    Crashed,
    Down,
    Exit,
    Killed,
    Normal,
    NoSuchActor,
    Ref,
    Shutdown,
    StartFailed,
    System,
    handles,
)
from actors.introspection import resume, suspend
from actors.runtime.root import Temporary
from supervisors import Backoff, Child, StartChild, StopChild, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.frozen
class Do(Call[Any]):
    function: Callable[[Any], object]


class Worker(Actor):
    def __init__(self) -> None:
        self.downs: list[Down] = []

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    def down(self, message: Down) -> None:
        self.downs.append(message)


class Boom(Exception):
    pass


def boom(actor: Any) -> None:
    raise Boom


async def crash(ref: Ref[Any]) -> BaseException:
    with pytest.raises(ActorDied) as caught:
        await ref.call(Do(boom))
    await wait_all_tasks_blocked()
    assert isinstance(caught.value.exit, Crashed)
    return caught.value.exit.exception


async def test_K14_a_monitor_delivers_exactly_one_down(system: System, both_ways: str) -> None:
    probe = system.probe()
    ref = await system.start(Worker)
    ref.monitor(probe.ref)
    error = await crash(ref)
    assert probe.received == [Down(ref, 1, Crashed(error))]
    await ref.stop()
    await wait_all_tasks_blocked()
    assert len(probe.received) == 1


@pytest.mark.parametrize("exit", [Normal(), Shutdown("why"), Killed()])
async def test_K14_the_down_tells_the_exit(system: System, exit: Exit) -> None:
    probe = system.probe()
    ref = await system.start(Worker)
    ref.monitor(probe.ref)
    await ref.stop(exit)
    await wait_all_tasks_blocked()
    assert probe.received == [Down(ref, 1, exit)]


async def test_K14_each_monitor_delivers_its_own(system: System) -> None:
    one, two = system.probe(), system.probe()
    ref = await system.start(Worker)
    for _ in range(3):
        ref.monitor(one.ref)
    ref.monitor(two.ref)
    await ref.stop()
    await wait_all_tasks_blocked()
    assert one.received == [Down(ref, 1, Normal())] * 3
    assert two.received == [Down(ref, 1, Normal())]


async def test_K14_a_monitor_watches_one_incarnation(system: System) -> None:
    probe = system.probe()
    top = await system.start(Keeper)
    ref = await top.call(StartChild(Child(Worker)))
    ref.monitor(probe.ref)
    await crash(ref)
    await crash(ref)
    assert [each.incarnation for each in probe.received] == [1]  # type: ignore[attr-defined]
    ref.monitor(probe.ref)
    await crash(ref)
    assert [each.incarnation for each in probe.received] == [1, 3]  # type: ignore[attr-defined]


class Keeper(Supervisor):
    max_restarts = 1000


async def test_K14_of_a_dead_one_the_down_comes_immediately_with_its_last_exit(
    system: System,
) -> None:
    probe = system.probe()
    ref = await system.start(Worker)
    await ref.stop(Shutdown("long ago"))
    ref.monitor(probe.ref)
    assert await probe.expect(Down) == Down(ref, 1, Shutdown("long ago"))


async def test_K14_of_one_that_is_being_restarted_the_down_tells_of_the_last_end(
    system: System,
) -> None:
    probe = system.probe()
    top = await system.start(Keeper)
    ref = await top.call(StartChild(Child(Worker, backoff=Backoff(10, 10, jitter=0))))
    error = await crash(ref)
    assert ref.state == "restarting"
    ref.monitor(probe.ref)
    await wait_all_tasks_blocked()
    assert probe.received == [Down(ref, 1, Crashed(error))]


async def test_K14_of_one_that_never_was_the_down_says_so(system: System) -> None:
    probe = system.probe()
    seen: list[Ref[Any]] = []

    class Never(Worker):
        def __init__(self) -> None:
            seen.append(self.ref)

    # The name is taken, so that no incarnation is ever made.
    await system.start(Worker, name="taken")
    top = await system.start(Keeper)
    with pytest.raises(StartFailed):
        await top.call(StartChild(Child(Worker, name="taken")))
    from actors.place import Place

    never = Place(system.scheduler, Temporary(Worker), "never").ref
    never.monitor(probe.ref)
    down = await probe.expect(Down)
    assert (down.ref, down.incarnation) == (never, 0)
    assert isinstance(down.exit, Crashed) and isinstance(down.exit.exception, NoSuchActor)
    with pytest.raises(NoSuchActor, match="never ran"):
        await never.wait()


async def test_K14_of_one_whose_start_failed_the_down_tells_why(system: System) -> None:
    probe = system.probe()
    seen: list[Ref[Any]] = []

    class Fails(Worker):
        def on_start(self) -> None:
            seen.append(self.ref)
            self.ref.monitor(probe.ref)
            raise Boom

    with pytest.raises(StartFailed):
        await system.start(Fails)
    seen[0].monitor(probe.ref)
    await wait_all_tasks_blocked()
    for down in probe.received:
        assert isinstance(down, Down)
        assert isinstance(down.exit, Crashed) and isinstance(down.exit.exception, StartFailed)
    assert len(probe.received) == 2
    assert isinstance(await seen[0].wait(), Crashed)


async def test_K14_self_monitor_gives_a_message_like_any_other(
    system: System, both_ways: str
) -> None:
    target, watcher = await system.start(Worker), await system.start(Worker)
    await watcher.call(Do(lambda actor: actor.monitor(target)))
    await target.stop()
    await wait_all_tasks_blocked()
    assert watcher._place.actor.downs == [Down(target, 1, Normal())]


async def test_K14_a_monitor_of_ones_own_ends_with_the_incarnation_that_made_it(
    system: System,
) -> None:
    top = await system.start(Keeper)
    watcher = await top.call(StartChild(Child(Worker)))
    target = await system.start(Worker)
    await watcher.call(Do(lambda actor: actor.monitor(target)))
    await crash(watcher)
    await target.stop()
    await wait_all_tasks_blocked()
    assert watcher._place.actor.downs == []
    assert not target._place.watchers


async def test_K14_a_monitor_set_from_outside_outlives_the_incarnation_that_is_told(
    system: System,
) -> None:
    top = await system.start(Keeper)
    watcher = await top.call(StartChild(Child(Worker)))
    target = await system.start(Worker)
    target.monitor(watcher)
    await crash(watcher)
    await target.stop()
    await wait_all_tasks_blocked()
    assert watcher._place.actor.downs == [Down(target, 1, Normal())]


async def test_K14_removing_a_monitor_ends_it(system: System) -> None:
    probe = system.probe()
    ref = await system.start(Worker)
    monitor = ref.monitor(probe.ref)
    monitor.cancel()
    monitor.cancel()
    await ref.stop()
    await wait_all_tasks_blocked()
    assert probe.received == []


async def test_K14_removing_a_monitor_removes_its_queued_down(system: System) -> None:
    probe = system.probe()
    ref, other = await system.start(Worker), await system.start(Worker)
    monitor = ref.monitor(probe.ref)
    other.monitor(probe.ref)
    await suspend(probe.ref)
    probe.ref.cast("before")
    await ref.stop()
    await other.stop()
    probe.ref.cast("after")
    monitor.cancel()
    await resume(probe.ref)
    await wait_all_tasks_blocked()
    assert probe.received == ["before", Down(other, 1, Normal()), "after"]
    mailbox = probe.ref._place.mailbox
    assert mailbox is not None and mailbox.exempt == 0


async def test_K14_a_down_is_delivered_although_the_mailbox_is_full(system: System) -> None:
    watcher = await system.start_place(Temporary(Worker, mailbox=1))
    refs = [await system.start(Worker) for _ in range(3)]
    for ref in refs:
        ref.monitor(watcher)
    await suspend(watcher)
    watcher.cast(Do(lambda actor: None))
    for ref in refs:
        await ref.stop()
    await resume(watcher)
    await wait_all_tasks_blocked()
    assert [each.ref for each in watcher._place.actor.downs] == refs


async def test_K14_a_down_to_one_that_is_gone_vanishes(system: System) -> None:
    probe = system.probe()
    ref = await system.start(Worker)
    ref.monitor(probe.ref)
    await probe.ref.stop()
    await ref.stop()


async def test_K14_the_monitors_of_an_actor_that_ends_leave_nothing_at_their_targets(
    system: System,
) -> None:
    target = await system.start(Worker)
    for _ in range(10):
        watcher = await system.start(Worker)
        await watcher.call(Do(lambda actor: actor.monitor(target)))
        await watcher.stop()
    assert not target._place.watchers


async def test_K14_a_monitor_can_be_cancelled_by_the_actor_that_holds_it(
    system: System,
) -> None:
    target, watcher = await system.start(Worker), await system.start(Worker)
    seen: list[weakref.ref[Any]] = []

    def watch(actor: Worker) -> None:
        monitor = actor.monitor(target)
        monitor.cancel()

    await watcher.call(Do(watch))
    assert not watcher._place.monitors
    assert not target._place.watchers
    gc.collect()
    assert not any(each() for each in seen)


# -- wait


async def test_K14_wait_gives_the_exit_of_the_current_incarnation(
    system: System, both_ways: str
) -> None:
    ref = await system.start(Worker)
    exits: list[Exit] = []

    async def wait() -> None:
        exits.append(await ref.wait())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        await ref.stop(Shutdown("now"))
    assert exits == [Shutdown("now")] * 3


async def test_K14_wait_gives_the_last_exit_of_a_place_without_an_incarnation(
    system: System,
) -> None:
    top = await system.start(Keeper)
    ref = await top.call(StartChild(Child(Worker, id="worker")))
    await top.call(StopChild("worker"))
    assert ref.state == "stopped"
    assert await ref.wait() == Shutdown()


async def test_K14_wait_waits_for_the_present_one_not_for_the_next(system: System) -> None:
    top = await system.start(Keeper)
    ref = await top.call(StartChild(Child(Worker)))
    exits: list[Exit] = []

    async def wait() -> None:
        exits.append(await ref.wait())
        exits.append(await ref.wait())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        first = await crash(ref)
        assert exits == [Crashed(first)]
        second = await crash(ref)
    assert exits == [Crashed(first), Crashed(second)]


async def test_K14_wait_is_a_checkpoint_and_leaves_nothing_when_cancelled(
    system: System,
) -> None:
    ref = await system.start(Worker)
    with trio.move_on_after(1) as scope:
        await ref.wait()
    assert scope.cancelled_caught
    assert not ref._place.watchers
    await ref.stop()
    with trio.CancelScope() as scope:
        scope.cancel()
        await ref.wait()
    assert scope.cancelled_caught


async def test_K14_an_end_is_told_after_on_stop_and_the_side_tasks(system: System) -> None:
    log: list[str] = []

    class Slow(Worker):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(1)
            log.append("on_stop")

    async def side() -> None:
        try:
            await trio.sleep_forever()
        finally:
            with trio.CancelScope(shield=True):
                await trio.sleep(1)
                log.append("side")

    probe = system.probe()
    ref = await system.start(Slow)
    await ref.call(Do(lambda actor: actor.start_soon(side)))
    ref.monitor(probe.ref)
    await wait_all_tasks_blocked()
    await ref.stop()
    log.append("stopped")
    await probe.expect(Down)
    assert log == ["side", "on_stop", "stopped"]
    assert trio.current_time() == pytest.approx(2)
