"""Mistakes in published samples that this library must visibly not make, by their numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from mediators import (
    Retry,
    SignalRefused,
    Start,
    Status,
    StepFailed,
    TooManyWorkflows,
    WorkflowEnded,
)
from mediators.driver.desk import UNREAD
from supervisors import Child, RestartChild, StopChild
from tests.mediators.shops import (
    HANG,
    Boom,
    Crash,
    Do,
    Flow,
    OutOfStock,
    Pack,
    Packer,
    Tell,
    Undo,
    Unpack,
    Worker,
    World,
    start,
)

if TYPE_CHECKING:
    from actors.testing import VirtualClock

ONCE = Retry(attempts=1)


async def test_mistake_1_except_a_business_error_around_a_step_matches(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> str:
        try:
            await flow.step(Do("a"))
        except OutOfStock as refusal:
            return f"{refusal.left} left"
        return "never"

    world = World(virtual_clock, code, script={"a": [OutOfStock("bolts", 3)]})
    async with world.running() as shop:
        assert await shop.call(Flow()) == "3 left"
        with pytest.raises(OutOfStock):
            world.script["b"] = [OutOfStock("nuts")]
            await shop.call(Do("b"))


async def test_mistake_1_nor_does_a_gather_or_a_caller_get_it_wrapped(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        try:
            await flow.gather(flow.step(Do("a")), flow.sleep(10))
        except OutOfStock:
            raise

    world = World(virtual_clock, code, script={"a": [OutOfStock("bolts", 3)]})
    async with world.running() as shop:
        with pytest.raises(OutOfStock) as caught:
            await shop.call(Flow())
    assert type(caught.value) is OutOfStock


async def test_mistake_2_no_call_needs_a_timeout(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> str:
        await flow.effect(nothing)
        await flow.receive(Tell)
        return str(await flow.step(Do("a")))

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await shop.call(Start(Flow()))
        await handle.status()
        await handle.signal(Tell("go"))
        assert await handle.result() == "did a"
        assert await shop.call(Flow()) == "did a"
        assert await shop.call(Do("b")) == "did b"


async def nothing() -> None:
    pass


async def test_mistake_4_an_undo_never_needs_a_value_that_was_not_bound(
    virtual_clock: VirtualClock,
) -> None:
    made: list[str] = []

    def undo(answer: str) -> Undo:
        made.append(answer)
        return Undo(answer)

    async def code(flow: Any) -> None:
        paid = await flow.step(Do("a"), undo=undo, retry=ONCE)
        await flow.step(Do("never"), undo=Undo(paid))

    # It refuses: there is no answer, so there is nothing to undo, and nobody asks for one.
    world = World(virtual_clock, code, script={"a": [OutOfStock("x")]})
    async with world.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow())
    assert (made, world.log) == ([], "a")

    # It fails: it is run again under its key until it answers, and the undo is made of that.
    world = World(virtual_clock, code, script={"a": [Boom()]})
    async with world.running() as shop:
        with pytest.raises(StepFailed):
            await shop.call(Flow(), timeout=None)
    assert (made, world.log) == (["did a"], "a, a, undo did a")


async def test_mistake_7_a_cancellation_compensates(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> None:
        await flow.step(Do("a"), undo=Undo("a"))
        await flow.step(Pack("b"), undo=Unpack("b"))
        await flow.sleep(1000)

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        with pytest.raises(WorkflowEnded):
            await handle.result()
    assert world.log == "a, pack b, unpack b, undo a"


async def test_mistake_7_a_failed_compensation_stands_until_somebody_decides(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await flow.step(Do("a"), undo=Undo("a"))
        raise OutOfStock("x")

    world = World(virtual_clock, code, script={"undo a": [Boom("shut")] * 5})
    async with world.running() as shop:
        handle = await start(shop)
        await trio.sleep(1000)
        assert await handle.status() is Status.INCIDENT
        assert "shut" in (await handle.incidents())[0].what
        world.dies()
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.INCIDENT
        await handle.retry()
        with pytest.raises(OutOfStock):
            await handle.result()
    assert world.done[-1] == "undo a"


async def test_mistake_8_steps_that_never_ran_are_not_undone(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> None:
        await flow.step(Do("a"), undo=Undo("a"))
        await flow.step(Do("short"), undo=Undo("short"))
        await flow.step(Do("c"), undo=Undo("c"))

    world = World(virtual_clock, code, script={"short": [OutOfStock("x")]})
    async with world.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow())
    assert world.log == "a, short, undo a"


@pytest.mark.parametrize("keyed", [True, False])
async def test_mistake_8_a_siblings_late_success_does_not_land_after_its_own_undo(
    virtual_clock: VirtualClock, keyed: bool
) -> None:
    async def code(flow: Any) -> None:
        await flow.gather(
            flow.step(Pack("short")),
            flow.step(Do("late"), undo=Undo("late")),
        )

    script = {"pack short": [OutOfStock("x")], "late": [HANG]}
    world = World(virtual_clock, code, keyed=keyed, script=script)
    async with world.running() as shop:
        handle = await start(shop)
        await trio.sleep(5)
        assert "undo late" not in world.done
        await world.answer("late")
        with pytest.raises(OutOfStock):
            await handle.result()
    assert sorted(world.done[:2]) == ["late", "pack short"]
    assert world.done[2:] == ["undo late"]


async def test_mistake_10_unread_signals_are_bounded_and_refused_before_they_are_acknowledged(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await flow.receive(Undo)

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        for number in range(UNREAD):
            await handle.signal(Tell(str(number)))
        with pytest.raises(SignalRefused, match=str(UNREAD)):
            await handle.signal(Tell("one too many"))
        # What comes again under an id that is there already is no further one.
        assert world.kinds().count("Signalled") == UNREAD


async def test_mistake_10_running_workflows_are_bounded_and_starts_beyond_are_refused(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await flow.receive(Tell)

    world = World(virtual_clock, code, max_running=3)
    async with world.running() as shop:
        handles = [await start(shop, Flow(f"w{number}")) for number in range(3)]
        with pytest.raises(TooManyWorkflows):
            await shop.call(Start(Flow("w3")))
        await handles[0].signal(Tell("go"))
        await handles[0].result()
        await shop.call(Start(Flow("w3")))


async def test_mistake_10_a_full_component_is_waited_for_and_not_flooded(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> int:
        return len(await flow.gather(*(flow.step(Do(str(each))) for each in range(100))))

    world = World(virtual_clock, code)
    world.attributes["components"] = [
        Child(Worker, world, id="worker", mailbox=2),
        Child(Packer, world, id="packer"),
    ]
    async with world.running() as shop:
        assert await shop.call(Flow()) == 100
    assert len(world.done) == 100


async def test_mistake_11_what_recovery_could_not_send_is_sent_later(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> str:
        return str(await flow.step(Do("a")))

    world = World(virtual_clock, code, script={"a": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await shop.call(StopChild("worker"))
        shop.cast(Crash())
        await trio.sleep(500)
        assert await handle.status() is Status.RUNNING
        await shop.call(RestartChild("worker"))
        assert await handle.result(timeout=10) == "did a"
    assert world.log == "a, a"


async def test_mistake_11_every_driver_recovers_not_only_the_first(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> list[str]:
        return [await flow.step(Do(what)) for what in "abc"]

    world = World(virtual_clock, code, script={what: [HANG] for what in "abc"})
    async with world.running() as shop:
        handle = await start(shop)
        for _ in "abc":
            shop.cast(Crash())
            await trio.sleep(10)
        assert await handle.result() == ["did a", "did b", "did c"]
    assert world.log == "a, a, b, b, c, c"


async def test_mistake_11_one_that_cannot_be_taken_up_strands_no_other(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> str:
        return str(await flow.step(Do(flow.id)))

    async def changed(flow: Any) -> str:
        what = "changed" if flow.id == "w0" else flow.id
        return str(await flow.step(Do(what)))

    world = World(virtual_clock, code, script={f"w{number}": [HANG] for number in range(3)})
    async with world.running() as shop:
        for number in range(3):
            await start(shop, Flow(f"w{number}"))
        world.dies()
    world.code = changed
    async with world.running() as shop:
        handles = [await start(shop, Flow(f"w{number}")) for number in range(3)]
        assert await handles[0].status() is Status.PAUSED
        assert await handles[1].result() == "did w1"
        assert await handles[2].result() == "did w2"
