"""W1: during its turn a workflow has no trio task; what is trio's raises where it stands."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import trio

from mediators import Status
from mediators.execution import execution
from mediators.execution.guard import NoTask
from tests.mediators.shops import Do, Flow, Other, Tell, Undo, World, start

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from actors.testing import VirtualClock


async def a_scope(flow: Any) -> None:
    with trio.move_on_after(1):
        await flow.step(Do("inside"))


async def a_deadline(flow: Any) -> None:
    with trio.fail_after(1):
        await flow.step(Do("inside"))


async def a_nursery(flow: Any) -> None:
    async with trio.open_nursery():
        await flow.step(Do("inside"))


async def a_sleep(flow: Any) -> None:
    await trio.sleep(1)


async def a_sleep_of_no_time(flow: Any) -> None:
    await trio.sleep(0)


async def a_checkpoint(flow: Any) -> None:
    await trio.lowlevel.checkpoint()


async def an_event(flow: Any) -> None:
    await trio.Event().wait()


async def a_thread(flow: Any) -> None:
    await trio.to_thread.run_sync(len, "abc")


async def a_future(flow: Any) -> None:
    loop = asyncio.new_event_loop()
    try:
        await loop.create_future()
    finally:
        loop.close()


async def a_sleep_of_asyncio(flow: Any) -> None:
    await asyncio.sleep(1)


FOREIGN = [
    a_scope,
    a_deadline,
    a_nursery,
    a_sleep,
    a_sleep_of_no_time,
    a_checkpoint,
    an_event,
    a_thread,
    a_future,
    a_sleep_of_asyncio,
]


@pytest.mark.parametrize("code", FOREIGN, ids=[each.__name__ for each in FOREIGN])
async def test_w1_what_is_foreign_pauses_the_workflow_and_names_line_and_equivalent(
    virtual_clock: VirtualClock, code: Any
) -> None:
    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.PAUSED
        (incident,) = await handle.incidents()
        assert f"in {code.__name__}" in incident.what
        assert f"{__file__}:" in incident.what
        assert "self.sleep() for trio.sleep()" in incident.what
    assert world.done == []


async def test_w1_it_raises_at_that_very_line_so_the_code_can_catch_it(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> list[str]:
        raised: list[str] = []
        try:
            with trio.move_on_after(1):
                raised.append("not here")
        except RuntimeError:
            raised.append("scope")
        try:
            async with trio.open_nursery():
                raised.append("nor here")
        except RuntimeError:
            raised.append("nursery")
        try:
            await trio.sleep(1)
        except RuntimeError:
            raised.append("sleep")
        await flow.step(Do("on it goes"))
        return raised

    world = World(virtual_clock, code)
    async with world.running() as shop:
        assert await shop.call(Flow()) == ["scope", "nursery", "sleep"]


async def test_w1_without_the_guard_a_scope_opens_in_the_middle_of_the_mediator(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def code(flow: Any) -> str:
        with trio.CancelScope():
            pass
        return "opened"

    world = World(virtual_clock, code)
    monkeypatch.setattr(
        execution, "step_alone", lambda coroutine, value, error: coroutine.send(value)
    )
    async with world.running() as shop:
        assert await shop.call(Flow()) == "opened"


async def test_w1_there_is_no_current_task_and_afterwards_there_is_again(
    virtual_clock: VirtualClock,
) -> None:
    mine = trio.lowlevel.current_task()
    with NoTask():
        with pytest.raises(RuntimeError):
            trio.lowlevel.current_task()
        with NoTask(), pytest.raises(RuntimeError):
            trio.lowlevel.current_task()
        with pytest.raises(RuntimeError):
            trio.lowlevel.current_task()
    assert trio.lowlevel.current_task() is mine
    with pytest.raises(ZeroDivisionError), NoTask():
        1 / 0
    assert trio.lowlevel.current_task() is mine


async def test_w1_the_mediator_and_its_other_workflows_are_unharmed(
    virtual_clock: VirtualClock,
) -> None:
    async def other(flow: Any) -> str:
        await flow.sleep(10)
        return str(await flow.step(Do("a")))

    world = World(virtual_clock, a_nursery, other=other)
    async with world.running() as shop:
        neighbour = await start(shop, Other())
        for number in range(5):
            handle = await start(shop, Flow(f"w{number}"))
            assert await handle.status() is Status.PAUSED
        assert await neighbour.result() == "did a"
        assert shop.incarnation == 1
        with trio.fail_after(1):
            await shop.call(Do("b"))


async def test_w1_a_mediator_cannot_be_called_from_a_workflow(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> None:
        await refs[0].call(Do("round about"))

    refs: list[Any] = []
    world = World(virtual_clock, code)
    async with world.running() as shop:
        refs.append(shop)
        handle = await start(shop)
        assert await handle.status() is Status.PAUSED
    assert world.done == []


async def test_w1_an_undo_function_has_no_task_either(virtual_clock: VirtualClock) -> None:
    def make(answer: str) -> Undo:
        with trio.CancelScope():
            pass
        return Undo(answer)

    async def code(flow: Any) -> None:
        await flow.step(Do("a"), undo=make)
        await flow.sleep(10)

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        await trio.sleep(1)
        assert await handle.status() is Status.INCIDENT
        assert "async context" in (await handle.incidents())[0].what


async def test_w1_nor_has_the_condition_of_a_receive(virtual_clock: VirtualClock) -> None:
    def where(signal: Tell) -> bool:
        with trio.CancelScope():
            pass
        return True

    async def code(flow: Any) -> None:
        await flow.receive(Tell, where=where)

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        await handle.signal(Tell("now"))
        assert await handle.status() is Status.PAUSED


async def test_w1_it_resumes_when_the_code_is_mended(virtual_clock: VirtualClock) -> None:
    async def broken(flow: Any) -> str:
        await flow.step(Do("a"))
        await trio.sleep(1)
        return "never"

    async def mended(flow: Any) -> str:
        await flow.step(Do("a"))
        await flow.sleep(1)
        return "mended"

    world = World(virtual_clock, broken)
    async with world.running() as shop:
        await start(shop)
        assert world.kinds()[-1] == "Paused"
        world.dies()
    world.code = mended
    async with world.running() as shop:
        assert await shop.call(Flow()) == "mended"
    assert world.log == "a"


async def test_w1_an_async_generator_in_a_workflow_is_no_concern_of_trio(
    virtual_clock: VirtualClock,
) -> None:
    async def each(flow: Any) -> AsyncGenerator[str]:
        for what in ("a", "b", "c"):
            yield await flow.step(Do(what))

    async def code(flow: Any) -> list[str]:
        return [answer async for answer in each(flow)]

    world = World(virtual_clock, code)
    async with world.running() as shop:
        assert await shop.call(Flow()) == ["did a", "did b", "did c"]
