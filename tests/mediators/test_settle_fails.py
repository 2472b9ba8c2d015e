"""W9: a component that can never tell what a step has done is somebody's decision."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from mediators import Retry, Status
from mediators.driver.attempts import Attempts
from mediators.idempotency import Settle
from tests.mediators.shops import HANG, Do, Undo, Worker, World, start

if TYPE_CHECKING:
    from actors.testing import VirtualClock


async def settling(clock: VirtualClock, monkeypatch: pytest.MonkeyPatch) -> tuple[Status, int]:
    sent = []

    async def broken(envelope: Any, proceed: Any) -> Any:
        if isinstance(envelope.message, Settle):
            sent.append(envelope.message)
            raise RuntimeError("disk broken")
        return await proceed(envelope)

    async def code(flow: Any) -> None:
        await flow.step(Do("a"), undo=Undo("a"), timeout=2, retry=Retry(attempts=2))

    monkeypatch.setattr(Worker, "middleware", [broken], raising=False)
    world = World(clock, code, script={"a": [HANG, HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await trio.sleep(3600)
        return await handle.status(), len(sent)


async def test_w9_a_settle_that_always_fails_becomes_an_incident(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await settling(virtual_clock, monkeypatch) == (Status.INCIDENT, 2)


async def test_w9_without_being_counted_it_is_repeated_for_ever(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(attempts: Any, execution: Any, command: Any, error: object) -> None:
        attempts._driver.later(1.0, ("settle", execution, command))

    monkeypatch.setattr(Attempts, "_settle_failed", again)
    status, sent = await settling(virtual_clock, monkeypatch)
    assert status is Status.COMPENSATING
    assert sent > 10
