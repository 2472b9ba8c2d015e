"""W9: before anything is undone it is made certain what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors.testing import dead_letters
from mediators import Retry, Status, StepFailed, WorkflowEnded, effect_key
from mediators import history as h
from mediators.driver.attempts import Attempts
from mediators.idempotency.middleware import KeyClosed
from mediators.testing import call_with_key
from supervisors import Backoff, RestartChild, StopChild
from tests.mediators.shops import (
    HANG,
    Boom,
    Crash,
    Do,
    Flow,
    OutOfStock,
    Pack,
    Tell,
    Undo,
    Unpack,
    World,
    start,
)

if TYPE_CHECKING:
    from pathlib import Path

    from actors.testing import VirtualClock

ONCE = Retry(attempts=1)


async def slow(flow: Any) -> None:
    await flow.step(Pack("first"), undo=Unpack("first"))
    await flow.step(Do("slow"), undo=Undo("slow"))


async def failing(flow: Any) -> None:
    await flow.step(Pack("first"), undo=Unpack("first"))
    await flow.step(Do("a"), undo=Undo("a"), retry=ONCE)


# -- with Idempotent


async def test_w9_a_running_attempt_is_waited_for_and_what_it_did_is_undone(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, slow, keyed=True, script={"slow": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        await trio.sleep(100)
        assert await handle.status() is Status.COMPENSATING
        assert world.log == "pack first, slow"
        await world.answer("slow")
        with pytest.raises(WorkflowEnded):
            await handle.result()
    assert world.log == "pack first, slow, undo slow, unpack first"


async def test_w9_a_running_attempt_that_refuses_has_done_nothing(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, slow, keyed=True, script={"slow": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        await world.answer("slow", OutOfStock("x"))
        with pytest.raises(WorkflowEnded):
            await handle.result()
    assert world.log == "pack first, slow, unpack first"


async def test_w9_a_stored_answer_is_taken_and_undone(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    # The answer is in the component's store, but the process died before it was in the journal.
    script = {"slow": [HANG], "undo slow": [HANG]}
    world = World(virtual_clock, slow, keyed=tmp_path / "store.db", script=script)
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        world.dies()
        await world.answer("slow", "kept")
    assert world.done == ["pack first", "slow", "undo slow"]
    world.done.clear()
    async with world.running() as shop:
        with pytest.raises(WorkflowEnded):
            await shop.call(Flow())
    assert world.log == "undo slow, unpack first"


async def test_w9_without_an_outcome_the_key_is_closed_and_a_late_attempt_is_refused(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, failing, keyed=True, script={"a": [Boom()]})
    async with world.running() as shop:
        with pytest.raises(StepFailed):
            await shop.call(Flow())
        with pytest.raises(KeyClosed):
            await call_with_key(shop, Do("a"), "w/1/Do.2")
    assert world.log == "pack first, a, unpack first"


async def test_w9_settle_goes_behind_the_attempt_and_closes_the_key_of_one_still_queued(
    virtual_clock: VirtualClock,
) -> None:
    # The attempt waits in the mailbox of a worker that comes back only after the cancellation:
    # whichever is handled first, nothing is left done.
    backoff = Backoff(60.0, 60.0)
    world = World(virtual_clock, slow, keyed=True, backoff=backoff, script={"crash": [Boom()]})
    async with world.running() as shop:
        shop.cast(Do("crash"))
        handle = await start(shop)
        await handle.cancel()
        await trio.sleep(1)
        assert await handle.status() is Status.COMPENSATING
        with pytest.raises(WorkflowEnded):
            await handle.result()
    done = [each for each in world.done if each != "crash"]
    assert done in (
        ["pack first", "slow", "undo slow", "unpack first"],
        ["pack first", "unpack first"],
    )


async def test_w9_a_step_that_failed_is_settled_before_compensation_with_the_answer_it_had(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await flow.step(Pack("first"), undo=Unpack("first"))
        await flow.step(Do("slow"), undo=Undo("slow"), retry=ONCE, timeout=5)

    # It timed out; afterwards the attempt, which was still running, has its answer all the same.
    world = World(virtual_clock, code, keyed=True, script={"slow": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await trio.sleep(6)
        assert await handle.status() is Status.COMPENSATING
        assert world.log == "pack first, slow"
        await world.answer("slow")
        with pytest.raises(StepFailed):
            await handle.result()
    assert world.log == "pack first, slow, undo slow, unpack first"


async def test_w9_a_failed_step_that_the_code_has_caught_is_not_settled_while_it_goes_on(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> str:
        try:
            await flow.step(Do("a"), undo=Undo("a"), retry=ONCE)
        except StepFailed:
            return str(await flow.step(Pack("instead")))
        return "?"

    world = World(virtual_clock, code, script={"a": [Boom()]})
    async with world.running() as shop:
        assert await shop.call(Flow()) == "did pack instead"
    assert world.log == "a, pack instead"


async def test_w9_nothing_is_undone_while_something_is_not_settled(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, slow, keyed=True, script={"slow": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await shop.call(StopChild("worker"))
        await handle.cancel()
        await trio.sleep(1000)
        assert world.log == "pack first, slow"
        await shop.call(RestartChild("worker"))
        with pytest.raises(WorkflowEnded):
            await handle.result(timeout=60)
    # The attempt died with its worker, so its key was closed: there is nothing to undo of it.
    assert world.log == "pack first, slow, unpack first"


async def test_w9_were_settling_left_out_a_late_success_would_stay(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(self: Any, execution: Any, command: Any) -> None:
        if execution.open.get(command.path) is command:
            self._driver.turn(execution, h.Settled(command.path))

    monkeypatch.setattr(Attempts, "settle", careless)
    world = World(virtual_clock, slow, keyed=True, script={"slow": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        with pytest.raises(WorkflowEnded):
            await handle.result()
        await world.answer("slow")
    assert world.log == "pack first, slow, unpack first"
    assert "undo slow" not in world.log


# -- without


async def test_w9_a_component_without_it_is_run_again_under_its_key_and_undone(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, failing, script={"a": [Boom()]})
    async with world.running() as shop:
        with pytest.raises(StepFailed):
            await shop.call(Flow(), timeout=None)
    assert world.log == "pack first, a, a, undo a, unpack first"
    assert world.keys[1] == world.keys[2] == "w/1/Do.2"


async def test_w9_until_it_answers(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> None:
        await flow.step(Pack("first"), undo=Unpack("first"))
        await flow.step(Do("a"), undo=Undo("a"), retry=Retry(attempts=3))

    world = World(virtual_clock, code, script={"a": [Boom()] * 5})
    async with world.running() as shop:
        with pytest.raises(StepFailed):
            await shop.call(Flow(), timeout=None)
    assert world.log == "pack first, a, a, a, a, a, a, undo a, unpack first"


async def test_w9_or_its_retry_is_spent_then_it_is_an_incident_and_the_rest_is_undone(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, failing, script={"a": [Boom()] * 2})
    async with world.running() as shop:
        handle = await start(shop)
        await trio.sleep(60)
        assert await handle.status() is Status.INCIDENT
        (incident,) = await handle.incidents()
        assert incident.path == "Do.2"
        assert world.log == "pack first, a, a, unpack first"
        await handle.retry()
        with pytest.raises(StepFailed):
            await handle.result()
    assert world.log == "pack first, a, a, unpack first, a, undo a"


async def test_w9_skipping_that_incident_lets_it_end(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, failing, script={"a": [Boom()] * 2})
    async with world.running() as shop:
        handle = await start(shop)
        await trio.sleep(60)
        await handle.skip()
        with pytest.raises(StepFailed):
            await handle.result()
    assert world.log == "pack first, a, a, unpack first"


async def test_w9_a_refusal_when_it_is_run_again_says_that_nothing_is_done(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, failing, script={"a": [Boom(), OutOfStock("x")]})
    async with world.running() as shop:
        with pytest.raises(StepFailed):
            await shop.call(Flow(), timeout=None)
    assert world.log == "pack first, a, a, unpack first"


async def test_w9_a_running_attempt_of_such_a_component_tells_by_itself(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, slow, script={"slow": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        await trio.sleep(1)
        await world.answer("slow")
        with pytest.raises(WorkflowEnded):
            await handle.result()
    assert world.log == "pack first, slow, undo slow, unpack first"


async def test_w9_deaths_while_it_is_run_again_end_in_an_incident_and_no_storm(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, failing, script={"a": [Boom(), *[HANG] * 50]})
    status = Status.COMPENSATING
    for _ in range(12):
        async with world.running() as shop:
            handle = await start(shop)
            await trio.sleep(1)
            status = await handle.status()
            world.dies()
    assert status is Status.INCIDENT
    assert world.done.count("a") < 10


async def test_w9_settling_goes_on_after_a_crash_of_the_driver(virtual_clock: VirtualClock) -> None:
    for keyed in (True, False):
        world = World(virtual_clock, slow, keyed=keyed, script={"slow": [HANG]})
        async with world.running() as shop:
            handle = await start(shop)
            await handle.cancel()
            shop.cast(Crash())
            await trio.sleep(1)
            if keyed:
                await world.answer("slow")
            with pytest.raises(WorkflowEnded):
                await handle.result()
        expected = "pack first, slow, undo slow, unpack first"
        assert world.log == (expected if keyed else expected.replace("slow,", "slow, slow,", 1))


async def test_w9_a_step_without_undo_is_not_done_again_only_to_be_left_so(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await flow.step(Pack("first"), undo=Unpack("first"))
        await flow.step(Do("a"), retry=ONCE)

    world = World(virtual_clock, code, script={"a": [Boom()]})
    async with world.running() as shop:
        with pytest.raises(StepFailed):
            await shop.call(Flow(), timeout=None)
    assert world.log == "pack first, a, unpack first"


# -- effects


async def test_w9_an_effect_is_run_again_under_its_key_and_what_it_did_is_undone(
    virtual_clock: VirtualClock,
) -> None:
    keys: list[str] = []

    async def outside(what: str) -> str:
        keys.append(effect_key())
        if len(keys) == 1:
            raise Boom("the connection broke")
        return f"{what} at last"

    async def code(flow: Any) -> None:
        await flow.effect(outside, "done", undo=lambda answer: Undo(answer), retry=ONCE)

    world = World(virtual_clock, code)
    async with world.running() as shop:
        with pytest.raises(StepFailed):
            await shop.call(Flow(), timeout=None)
    assert keys == ["w/1/outside.1"] * 2
    assert world.log == "undo done at last"


async def test_w9_a_running_effect_is_waited_for_when_the_workflow_is_cancelled(
    virtual_clock: VirtualClock,
) -> None:
    async def outside() -> str:
        await trio.sleep(5)
        world.done.append("effect")
        return "x"

    async def code(flow: Any) -> None:
        await flow.effect(outside, undo=lambda answer: Undo(answer))

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        with pytest.raises(WorkflowEnded):
            await handle.result()
    assert world.log == "effect, undo x"


async def test_w9_settling_leaves_no_dead_letters(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, failing, script={"a": [Boom()]})
    async with world.running() as shop:
        letters = dead_letters(world.system)
        with pytest.raises(StepFailed):
            await shop.call(Flow(), timeout=None)
        assert letters == []


async def test_w9_what_was_sent_and_lost_with_the_process_is_settled_in_the_next(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await flow.race(flow.step(Do("slow"), undo=Undo("slow")), flow.receive(Tell))
        await flow.step(Pack("after"))

    for keyed, log in ((True, "slow, pack after"), (False, "slow, slow, undo slow, pack after")):
        world = World(virtual_clock, code, keyed=keyed, script={"slow": [HANG]})
        async with world.running() as shop:
            handle = await start(shop)
            await handle.signal(Tell("now"))
            world.dies()
        async with world.running() as shop:
            await shop.call(Flow(), timeout=None)
        assert world.log == log
