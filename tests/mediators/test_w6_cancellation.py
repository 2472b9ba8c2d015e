"""W6: a cancellation is raised at the command that waits, and compensates."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest

from mediators import (
    Retry,
    Status,
    WorkflowCancelled,
    WorkflowEnded,
)
from tests.mediators.shops import (
    HANG,
    Do,
    Flow,
    Other,
    OutOfStock,
    Pack,
    Tell,
    Undo,
    Unpack,
    World,
    start,
)

if TYPE_CHECKING:
    from actors.testing import VirtualClock

ONCE = Retry(attempts=1)


async def first(flow: Any) -> None:
    await flow.step(Pack("first"), undo=Unpack("first"))


async def test_w6_cancelled_is_raised_at_the_waiting_command_and_at_every_later_one(
    virtual_clock: VirtualClock,
) -> None:
    raised: list[str] = []

    async def code(flow: Any) -> str:
        await first(flow)
        commands: tuple[Any, ...] = (
            lambda: flow.sleep(100),
            lambda: flow.step(Do("never")),
            lambda: flow.gather(flow.step(Do("never")), flow.sleep(1)),
            lambda: flow.child(Other()),
            lambda: flow.receive(Tell),
        )
        for command in commands:
            try:
                await command()
            except BaseException as error:
                raised.append(type(error).__name__)
        return "a result"

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel("enough")
        with pytest.raises(WorkflowEnded) as caught:
            await handle.result()
        assert (caught.value.status, caught.value.reason) == (Status.CANCELLED, "enough")
        assert await handle.status() is Status.CANCELLED
    assert raised == ["WorkflowCancelled"] * 5
    assert world.log == "pack first, unpack first"


def test_w6_cancelled_is_no_exception_that_a_broad_except_would_swallow() -> None:
    assert not issubclass(WorkflowCancelled, Exception)
    assert issubclass(WorkflowCancelled, BaseException)


async def test_w6_whatever_run_does_when_cancelled_it_ends_cancelled(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> str:
        await first(flow)
        try:
            await flow.sleep(100)
        except WorkflowCancelled:
            raise OutOfStock("changed its mind") from None
        return "?"

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        with pytest.raises(WorkflowEnded):
            await handle.result()
        assert await handle.status() is Status.CANCELLED


async def test_w6_a_run_that_goes_on_for_ever_though_cancelled_is_paused(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await first(flow)
        while True:
            try:
                await flow.sleep(100)
            except WorkflowCancelled:
                pass

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        assert await handle.status() is Status.PAUSED
        assert "goes on though it was cancelled" in (await handle.incidents())[0].what
        # There is a way out that needs no code.
        await handle.cancel()
        with pytest.raises(WorkflowEnded):
            await handle.result()
    assert world.log == "pack first, unpack first"


async def test_w6_branches_given_when_cancelled_are_closed_without_a_word(
    virtual_clock: VirtualClock,
) -> None:
    async def branch(flow: Any) -> None:
        await flow.step(Do("never"))

    async def code(flow: Any) -> None:
        try:
            await flow.sleep(100)
        finally:
            await flow.gather(branch(flow), branch(flow))

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        with pytest.raises(WorkflowEnded):
            await handle.result()
    gc.collect()
    assert world.done == []


async def test_w6_a_cancel_in_the_middle_of_a_step_settles_it_and_undoes_it(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await first(flow)
        await flow.step(Do("slow"), undo=Undo("slow"))

    world = World(virtual_clock, code, script={"slow": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        assert await handle.status() is Status.COMPENSATING
        assert "unpack first" not in world.done
        await world.answer("slow")
        with pytest.raises(WorkflowEnded):
            await handle.result()
    assert world.log == "pack first, slow, undo slow, unpack first"


async def test_w6_a_cancel_survives_the_death_of_the_process(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> None:
        await first(flow)
        await flow.step(Do("slow"), undo=Undo("slow"))

    world = World(virtual_clock, code, script={"slow": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel("enough")
        world.dies()
    async with world.running() as shop:
        with pytest.raises(WorkflowEnded) as caught:
            await shop.call(Flow())
    assert (caught.value.status, caught.value.reason) == (Status.CANCELLED, "enough")
    assert world.log == "pack first, slow, slow, undo slow, unpack first"


async def test_w6_a_run_whose_timeout_passes_is_cancelled(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> None:
        await first(flow)
        await flow.sleep(100)

    world = World(virtual_clock, code)
    world.attributes["workflows"] = [Hasty]
    async with world.running() as shop:
        with pytest.raises(WorkflowEnded) as caught:
            await shop.call(Hasty(), timeout=None)
    assert caught.value.status is Status.CANCELLED
    assert virtual_clock.time == pytest.approx(20)


class Hasty(Flow):
    """Has twenty seconds."""

    timeout = 20.0
