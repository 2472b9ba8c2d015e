"""Corners of the rules that no other file comes by."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import pytest
import trio

from actors import Actor, ActorDied, Call, Crashed, Exit, System, handles, open_system
from actors.runtime.root import Temporary
from actors.testing import leftovers
from supervisors import Child


@attrs.frozen
class Do(Call[Any]):
    """Answered with ``function(actor)``."""

    function: Callable[[Any], object]


class Worker(Actor):
    """Does as it is told."""

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    async def nap(self, seconds: float) -> None:
        await trio.sleep(seconds)


async def test_K15_callbacks_may_call_those_they_override(system: System) -> None:
    seen: list[object] = []

    class Polite(Worker):
        def on_start(self) -> None:
            seen.append(super().on_start())

        def on_ready(self) -> None:
            seen.append(super().on_ready())

        def on_stop(self, exit: Exit) -> None:
            seen.append(super().on_stop(exit))

    ref = await system.start(Polite)
    await ref.call(Do(lambda _: None))
    await ref.stop()
    assert seen == [None, None, None]


@pytest.mark.parametrize("callback", ["on_start", "on_ready"])
async def test_K12_outside_of_a_message_there_is_nothing_to_set_aside(
    system: System, callback: str
) -> None:
    caught: list[str] = []

    def stashes(self: Worker) -> None:
        with pytest.raises(RuntimeError, match="the message being handled; there is none") as info:
            self.stash()
        caught.append(str(info.value))

    cls: Any = type("Stashes", (Worker,), {callback: stashes})
    ref = await system.start(cls)
    assert await ref.call(Do(lambda _: "served")) == "served"
    assert len(caught) == 1


@pytest.mark.parametrize("error", [SystemExit(3), KeyboardInterrupt()], ids=repr)
@pytest.mark.parametrize("awaits", [False, True])
async def test_K4_an_exit_of_the_program_while_starting_leaves_open_system_as_itself(
    error: BaseException, awaits: bool
) -> None:
    stopped: list[str] = []

    class Other(Worker):
        def on_stop(self, exit: Exit) -> None:
            stopped.append("other")

    class Plain(Worker):
        def on_start(self) -> None:
            raise error

    class Awaiting(Worker):
        async def on_start(self) -> None:
            await trio.sleep(1)
            raise error

    with pytest.raises(type(error)) as caught:
        async with open_system(watchdog=None) as system:
            await system.start(Other)
            await system.start(Awaiting if awaits else Plain)
    assert caught.value is error
    assert stopped == ["other"]
    assert leftovers(system) == []


async def test_K16_a_place_can_be_shown(system: System) -> None:
    ref = await system.start(Worker)
    assert repr(ref._place) == "<Place /Worker-1 up>"
    assert repr(ref) == "<Ref Worker /Worker-1>"


async def test_K9_a_call_given_up_makes_room_for_those_who_wait(system: System) -> None:
    ref = await system.start(Child(Worker, mailbox=1))
    done: list[object] = []
    ref.cast(2.0)
    await trio.sleep(0)
    with trio.move_on_after(1):
        await ref.call(Do(done.append), timeout=None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ref.send, Do(lambda _: done.append("sent")))
        await trio.sleep(5)
    assert done == ["sent"]


async def test_K21_an_unexpected_crash_has_its_last_message_only_once(system: System) -> None:
    def stashes_and_crashes(actor: Worker) -> None:
        actor.stash()
        raise ValueError("on purpose")

    ref = await system.start(Child(Worker))
    with pytest.raises(ActorDied) as caught:
        await ref.call(Do(stashes_and_crashes))
    assert isinstance(caught.value.exit, Crashed)
    assert await ref.call(Do(lambda actor: actor.ref.incarnation)) == 2


async def test_K15_a_temporary_actor_under_a_name_of_its_own(system: System) -> None:
    ref = await system.start_place(Temporary(Worker), name="own", key="key")
    assert (ref.path, ref.name, system.whereis("own")) == ("/key", "own", ref)
