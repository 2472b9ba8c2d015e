"""The wall clock may be set: only moments that are on record go by it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from mediators import Retry, Start, Status
from tests.mediators.shops import Boom, Do, Flow, Tell, World, start

if TYPE_CHECKING:
    from actors.testing import VirtualClock


class Settable:
    """A clock for the system, which follows the virtual one until it is set."""

    def __init__(self, clock: VirtualClock) -> None:
        self.clock = clock
        self.shift = 0.0

    def now(self) -> float:
        return self.clock.now() + self.shift


async def retried(flow: Any) -> str:
    result: str = await flow.step(Do("a"), retry=Retry(attempts=3, first=0.5, cap=0.5))
    return result


async def seconds_of_a_retry(virtual_clock: VirtualClock) -> float:
    clock = Settable(virtual_clock)

    def fail() -> None:
        clock.shift = -3600.0
        raise Boom

    world = World(clock, retried, script={"a": [Boom(), fail]})  # type: ignore[arg-type]
    async with world.running() as shop:
        began = trio.current_time()
        assert await shop.call(Flow(), timeout=None) == "did a"
        return trio.current_time() - began


async def test_w7_a_retry_does_not_wait_for_the_wall_clock(virtual_clock: VirtualClock) -> None:
    assert await seconds_of_a_retry(virtual_clock) < 10


async def test_w3_a_sleep_goes_by_the_wall_clock(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> None:
        await flow.sleep(100)

    clock = Settable(virtual_clock)
    world = World(clock, code)  # type: ignore[arg-type]
    async with world.running() as shop:
        began = trio.current_time()
        async with trio.open_nursery() as nursery:

            async def set_back() -> None:
                await trio.sleep(1)
                clock.shift = -50.0

            nursery.start_soon(set_back)
            await shop.call(Flow(), timeout=None)
        assert trio.current_time() - began == pytest.approx(150, abs=1)


async def test_w15_a_signal_kept_past_its_time_is_a_dead_letter_and_not_read(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> object:
        return await flow.receive(Tell, timeout=1000)

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        await handle.pause()
        await handle.signal(Tell("old"), expires=5)
        await trio.sleep(100)
        await handle.resume()
        await trio.sleep(1)
        assert await handle.status() is Status.WAITING
        assert "Expired" in world.kinds()


async def test_w6_a_deadline_that_means_nothing_any_more_is_not_recorded_at_each_start(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        flow.pivot()
        await flow.receive(Tell)

    world = World(virtual_clock, code)
    for _ in range(3):
        async with world.running() as shop:
            await shop.call(Start(Flow(), timeout=30.0))
            await trio.sleep(100)
            assert "Fired" not in world.kinds()
