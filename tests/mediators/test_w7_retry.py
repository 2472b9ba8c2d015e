"""W7: how often and when a step is tried again, and what does not count."""

from __future__ import annotations

import math
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors import Actor, handles
from actors.replies import Slot
from mediators import Retry, Status, StepFailed
from mediators import history as h
from mediators.driver.attempts import Attempt
from mediators.retry import DEFAULT_RETRY, STEP_TIMEOUT
from supervisors import Backoff, Child, RestartChild, StopChild
from tests.mediators.shops import HANG, Boom, Crash, Do, Flow, OutOfStock, Pack, World, start

if TYPE_CHECKING:
    from actors.testing import VirtualClock


async def one(flow: Any) -> Any:
    return await flow.step(Do("a"))


def test_w7_the_default_is_five_attempts_of_ten_seconds() -> None:
    assert STEP_TIMEOUT == 10.0
    assert Retry(attempts=5, first=0.1, cap=10.0) == Retry() == DEFAULT_RETRY


async def test_w7_each_attempt_has_ten_seconds_and_there_are_five(
    virtual_clock: VirtualClock,
) -> None:

    world = World(virtual_clock, one, script={"a": [HANG] * 9})
    async with world.running() as shop:
        with pytest.raises(StepFailed) as caught:
            await shop.call(Flow(), timeout=None)
    assert (caught.value.attempts, caught.value.type) == (5, "CallTimeout")
    assert world.log == "a, a, a, a, a"
    # Five times ten seconds, and four pauses of at most 0.1, 0.2, 0.4 and 0.8 seconds.
    assert 50 <= virtual_clock.time <= 51.5


async def test_w7_a_component_is_told_which_attempt_it_makes(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> Any:
        await flow.step(Do("b"))
        return await one(flow)

    world = World(virtual_clock, code, script={"a": [Boom(), Boom(), Boom()]})
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == "did a"
    assert (world.log, world.attempts) == ("b, a, a, a, a", [1, 1, 2, 3, 4])


async def test_w7_a_handler_that_outlives_its_attempt_is_told_the_same(
    virtual_clock: VirtualClock,
) -> None:
    tries: list[int] = []

    class Late(Actor):
        @handles
        async def do(self, msg: Do) -> str:
            tries.append(self.envelope.attempt)
            await trio.sleep(30.0 if len(tries) == 1 else 0.0)
            tries.append(self.envelope.attempt)
            return "done"

    world = World(virtual_clock, one, components=[Child(Late)])
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == "done"
    assert tries[:2] == [1, 1] and tries[2] == tries[3] > 1


async def test_w7_timeout_none_waits_for_ever(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> Any:
        return await flow.step(Do("a"), timeout=None)

    world = World(virtual_clock, code, script={"a": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await trio.sleep(100_000)
        await world.answer("a")
        assert await handle.result() == "did a"
    assert world.log == "a"


@pytest.mark.parametrize("failures", [1, 2, 3, 7, 8, 60, 5000])
def test_w7_full_jitter_between_nothing_and_a_doubling_bound(failures: int) -> None:
    retry = Retry(attempts=math.inf, first=0.1, cap=10.0)
    longest = min(10.0, 0.1 * 2.0 ** min(failures - 1, 64))
    random = Random(0)
    delays = [retry.delay(failures, random) for _ in range(2000)]
    assert 0 <= min(delays) < 0.02 * longest
    assert 0.98 * longest < max(delays) <= longest
    assert sum(delays) / 2000 == pytest.approx(longest / 2, rel=0.1)


def test_w7_a_retry_says_what_it_takes() -> None:
    for attempts in (0, -1, 1.5, True, "3"):
        with pytest.raises(ValueError, match="attempts"):
            Retry(attempts=attempts)  # type: ignore[arg-type]
    assert Retry(attempts=math.inf).attempts == math.inf


async def test_w7_never_on_a_refusal(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, one, script={"a": [OutOfStock("x")]})
    async with world.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow())
    assert world.log == "a"
    assert "Attempted" not in world.kinds()


async def test_w7_a_refusal_after_a_crash_is_the_answer(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, one, script={"a": [Boom(), OutOfStock("x")]})
    async with world.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow())
    assert world.log == "a, a"


# -- a place that is not up


async def test_w7_the_time_a_component_needs_to_come_back_is_not_the_attempts(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> Any:
        return await flow.step(Do("a"), timeout=1, retry=Retry(attempts=2))

    backoff = Backoff(600.0, 600.0)
    world = World(virtual_clock, code, backoff=backoff, script={"a": [Boom()]})
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == "did a"
    assert world.log == "a, a"
    assert virtual_clock.time > 400


async def test_w7_were_it_counted_the_attempt_would_time_out(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def code(flow: Any) -> Any:
        return await flow.step(Do("a"), timeout=1, retry=Retry(attempts=2))

    monkeypatch.setattr(Attempt, "fire", Slot.fire)
    world = World(virtual_clock, code, backoff=Backoff(600.0, 600.0), script={"a": [Boom()]})
    async with world.running() as shop:
        with pytest.raises(StepFailed):
            await shop.call(Flow(), timeout=None)


async def test_w7_a_component_that_was_stopped_is_waited_for(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, one)
    async with world.running() as shop:
        await shop.call(StopChild("worker"))
        handle = await start(shop)
        await trio.sleep(10_000)
        assert await handle.status() is Status.RUNNING
        assert world.done == []
        await shop.call(RestartChild("worker"))
        assert await handle.result(timeout=5) == "did a"
    assert "Attempted" not in world.kinds()


async def test_w7_an_attempt_that_waits_behind_others_has_its_time_all_the_same(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> Any:
        return await flow.step(Do("a"), retry=Retry(attempts=1), timeout=2)

    world = World(virtual_clock, code, script={"a": [HANG]})
    async with world.running() as shop:
        with pytest.raises(StepFailed):
            await shop.call(Flow(), timeout=None)
    assert virtual_clock.time == pytest.approx(2, abs=0.01)


# -- recovery


async def test_w7_attempts_survive_recovery(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, one, script={"a": [Boom(), Boom(), HANG]})
    async with world.running() as shop:
        await start(shop)
        await trio.sleep(1)
        assert world.log == "a, a, a"
        world.dies()
    world.script = {"a": [Boom("fourth"), Boom("fifth"), "too late"]}
    async with world.running() as shop:
        with pytest.raises(StepFailed) as caught:
            await shop.call(Flow(), timeout=None)
    assert (caught.value.attempts, caught.value.text) == (5, "fifth")
    assert len(world.done) == 5


async def test_w7_and_that_of_the_driver_alone(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, one, script={"a": [Boom(), HANG, Boom(), Boom(), Boom(), "late"]})
    async with world.running() as shop:
        handle = await start(shop)
        await trio.sleep(1)
        shop.cast(Crash())
        with pytest.raises(StepFailed) as caught:
            await handle.result()
    assert caught.value.attempts == 5
    assert len(world.done) == 5


async def test_w7_attempts_spent_by_deaths_alone_end_in_an_incident_and_no_restart_storm(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, one, script={"a": [HANG] * 99})
    for life in range(12):
        async with world.running() as shop:
            handle = await start(shop)
            expected = Status.RUNNING if life < 5 else Status.INCIDENT
            assert await handle.status() is expected
            world.dies()
    assert world.log == "a, a, a, a, a"
    async with world.running() as shop:
        handle = await start(shop)
        (incident,) = await handle.incidents()
        assert incident.path == "Do.1" and "5 times" in incident.what
        world.script.clear()
        await handle.retry()
        assert await handle.result() == "did a"


async def test_w7_an_incident_of_deaths_can_be_resolved_by_hand(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> Any:
        return await flow.step(Do("a"), retry=Retry(attempts=1))

    world = World(virtual_clock, code, script={"a": [HANG] * 9})
    async with world.running() as shop:
        await start(shop)
        world.dies()
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.INCIDENT
        await handle.resolve("by hand")
        assert await handle.result() == "by hand"
    assert world.log == "a"


async def test_w7_or_skipped_which_fails_the_step(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> Any:
        return await flow.step(Do("a"), retry=Retry(attempts=1))

    world = World(virtual_clock, code, script={"a": [HANG] * 9})
    async with world.running() as shop:
        await start(shop)
        world.dies()
    async with world.running() as shop:
        handle = await start(shop)
        await handle.skip()
        with pytest.raises(StepFailed) as caught:
            await handle.result()
    assert caught.value.type == "Skipped"


async def test_w7_for_ever_is_for_ever(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> Any:
        return await flow.step(Do("a"), retry=Retry(attempts=math.inf, first=0.0))

    world = World(virtual_clock, code, script={"a": [HANG] * 3})
    for _ in range(3):
        async with world.running() as shop:
            await start(shop)
            world.dies()
    world.script = {"a": [Boom() for _ in range(50)]}
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == "did a"
    assert len(world.done) == 54


async def test_w7_each_attempt_is_in_the_record_with_its_reason(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> Any:
        return await flow.step(Do("a"), timeout=3)

    world = World(virtual_clock, code, script={"a": [Boom(), HANG, HANG]})
    async with world.running() as shop:
        await start(shop)
        await trio.sleep(7)
        world.dies()
    async with world.running() as shop:
        await shop.call(Flow(), timeout=None)
    reasons = [
        (each.attempt, each.reason) for each in world.events() if isinstance(each, h.Attempted)
    ]
    assert reasons == [(2, "crashed"), (3, "timeout"), (4, "died")]


async def test_w7_an_effect_is_retried_like_a_step(virtual_clock: VirtualClock) -> None:
    calls: list[float] = []

    async def flaky(what: str) -> str:
        calls.append(virtual_clock.time)
        if len(calls) == 1:
            raise Boom("first")
        if len(calls) == 2:
            await trio.sleep(1000)
        return what

    async def code(flow: Any) -> Any:
        return await flow.effect(flaky, "x")

    world = World(virtual_clock, code)
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == "x"
    assert len(calls) == 3
    assert calls[2] - calls[1] == pytest.approx(10, abs=0.25)


async def test_w7_a_crash_of_a_component_leaves_other_components_attempts_alone(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> Any:
        return list(await flow.gather(flow.step(Do("a")), flow.step(Pack("b"))))

    world = World(virtual_clock, code, script={"a": [Boom()], "pack b": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await trio.sleep(1)
        await world.answer("pack b")
        assert await handle.result() == ["did a", "did pack b"]
    assert world.done.count("pack b") == 1
