"""Where two rules meet: cancellation and Ctrl-C, room and cycles, ends and side tasks."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio
import trio.testing

from actors import Actor, ActorDied, Call, CallTimeout, Ref, System, handles, open_system
from actors.introspection import suspend
from actors.runtime.calls import Room
from supervisors import (
    Child,
    CountChildren,
    DynamicSupervisor,
    StartChild,
    Supervisor,
    one_for_one,
)


@attrs.frozen
class Go(Call[Any]):
    """Do what the actor is there for."""


@attrs.frozen
class To(Call[Any]):
    """Do it with this one."""

    ref: Ref[Any]


async def test_K4_a_keyboard_interrupt_out_of_a_nursery_leaves_as_itself() -> None:
    class Interrupted(Actor):
        @handles
        async def go(self, message: Go) -> None:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.interrupt)

        async def interrupt(self) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        async with open_system(watchdog=None) as system:
            ref = await system.start(Child(Interrupted))
            with pytest.raises(ActorDied):
                await ref.call(Go())
            await trio.sleep_forever()


async def test_K11_a_sender_that_was_let_in_waits_for_nobody(system: System) -> None:
    ref = await system.start(Child(Actor, mailbox=1))
    await suspend(ref)
    ref.cast("fills it")
    place = ref._place
    room = Room(place)
    assert room.holder is place
    async with trio.open_nursery() as nursery:

        async def sends() -> None:
            room.waiting = place.mailbox.wait_for_room("more", trio.lowlevel.current_task())
            await trio.lowlevel.wait_task_rescheduled(lambda _: trio.lowlevel.Abort.FAILED)

        nursery.start_soon(sends)
        await trio.testing.wait_all_tasks_blocked()
        assert room.holder is place
        place.mailbox.popleft()
        place.mailbox.admit()
        assert room.holder is None


async def test_K10_a_deadline_equal_to_the_callers_is_the_callers(system: System) -> None:
    class Slow(Actor):
        @handles
        async def go(self, message: Go) -> None:
            await trio.sleep(30)

    class Front(Actor):
        @handles
        async def go(self, message: To) -> None:
            await message.ref.call(Go())

    slow, front = await system.start(Slow), await system.start(Front)
    with pytest.raises(CallTimeout):
        await front.call(To(slow))
    await trio.sleep(1)
    assert front.alive


async def test_K19_an_actor_that_is_ending_starts_no_side_task(system: System) -> None:
    refused: list[str] = []

    class Late(Actor):
        async def on_stop(self, exit: object) -> None:
            try:
                self.start_soon(trio.sleep_forever)
            except RuntimeError as error:
                refused.append(str(error))

    ref = await system.start(Late)
    await ref.stop()
    assert refused == ["/Late-1 is ending: its side tasks have ended, and no other is started."]


async def test_K15_a_supervisor_may_await_in_on_start_and_have_a_plain_on_ready(
    system: System,
) -> None:
    done: list[str] = []

    class Top(Supervisor):
        async def on_start(self) -> None:
            await trio.sleep(1)
            done.append("start")

        def on_ready(self) -> None:
            done.append("ready")

    ref = await system.start(Top)
    await trio.sleep(1)
    assert (done, ref.state) == (["start", "ready"], "up")


async def test_K19_side_tasks_end_when_a_child_fails_the_start_of_their_supervisor(
    system: System,
) -> None:
    class Fails(Actor):
        def on_start(self) -> None:
            raise ValueError("no")

    ended: list[str] = []

    class Top(Supervisor):
        def on_start(self) -> None:
            self.start_soon(self.aside)

        async def aside(self) -> None:
            try:
                await trio.sleep_forever()
            finally:
                ended.append("aside")

        def children(self) -> list[Child[Any]]:
            return [Child(Fails)]

    with pytest.raises(Exception, match="its child 'Fails' failed"):
        await system.start(Top)
    assert ended == ["aside"]


async def test_K15_a_start_cancelled_at_its_very_end_is_still_stopped_with_the_system() -> None:
    """The last child comes up in the moment its starter is cancelled."""

    class Child1(Actor):
        async def on_start(self) -> None:
            await trio.sleep(1)

    class Top(Supervisor):
        def children(self) -> list[Child[Any]]:
            return [Child(Child1)]

    for _ in range(10):
        async with open_system(watchdog=None) as system:
            with trio.CancelScope(deadline=trio.current_time() + 1):
                await system.start(Top)
            await trio.sleep(0.1)
            left = list(system.root.places)
        assert [place.state for place in left] == ["gone"] * len(left)


@pytest.mark.parametrize("kind", ["static", "dynamic"])
async def test_K17_a_child_that_does_not_yield_leaves_its_supervisor_to_the_others(
    system: System, kind: str
) -> None:
    """A restart hangs in a shield; a sibling that crashes meanwhile is restarted at once."""
    starts: list[str] = []

    class Stubborn(Actor):
        def __init__(self, label: str) -> None:
            self.label = label

        async def on_start(self) -> None:
            starts.append(self.label)
            if starts == ["stubborn", "other", "stubborn"]:
                with trio.CancelScope(shield=True):
                    await trio.sleep(500)

        @handles
        def crash(self, message: Go) -> None:
            raise ValueError("on purpose")

    children = (
        Child(Stubborn, "stubborn", name="stubborn", start_timeout=1),
        Child(Stubborn, "other", name="other"),
    )
    top: Ref[Any]
    if kind == "static":
        top = await system.start(one_for_one(*children))
    else:
        top = await system.start(DynamicSupervisor)
        for child in children:
            await top.call(StartChild(child))
    stubborn, other = system.whereis("stubborn"), system.whereis("other")
    assert stubborn is not None and other is not None
    stubborn.cast(Go())
    await trio.sleep(10)
    other.cast(Go())
    await trio.sleep(1)
    assert (other.state, other.incarnation) == ("up", 2)
    assert (await top.call(CountChildren())).specs == 2
    await trio.sleep(600)
    assert (stubborn.state, stubborn.incarnation) == ("up", 3)
