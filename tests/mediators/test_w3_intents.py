"""W3: an action is sent only after its intent is on disk, and what has no intent was never sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mediators import WorkflowEnded
from mediators import history as h
from mediators.committer import Committer
from tests.mediators.shops import HANG, Boom, Crash, Do, Flow, Pack, Undo, World, start

if TYPE_CHECKING:
    from actors.testing import VirtualClock


async def two_steps(flow: Any) -> str:
    await flow.step(Do("a"), undo=Undo("a"))
    return str(await flow.step(Pack("b"), undo=lambda paid: Undo(paid)))


async def test_w3_every_step_and_undo_finds_its_intent_on_disk(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> None:
        await two_steps(flow)
        raise WorkflowEnded("w", "failed")  # type: ignore[arg-type]

    world = World(virtual_clock, code)
    async with world.running() as shop:
        with pytest.raises(WorkflowEnded):
            await shop.call(Flow())
    assert world.log == "a, pack b, undo did pack b, undo a"
    assert world.intended == [True] * 4


async def test_w3_without_the_order_of_commit_and_release_a_step_finds_no_intent(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flush(self: Any) -> None:
        batch, outbox = self._take()
        self.release(outbox)
        if batch:
            self._place.request(lambda _: self._shard.append(batch))

    monkeypatch.setattr(Committer, "flush", flush)
    world = World(virtual_clock, two_steps)
    async with world.running() as shop:
        await start(shop)
    assert world.intended[0] is False
