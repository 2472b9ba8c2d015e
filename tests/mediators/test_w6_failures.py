"""W6: four kinds of failure are outcomes; whatever else leaves ``run`` is a mistake, and pauses."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors import Call
from actors.payloads.types import Types
from mediators import (
    Retry,
    Status,
    StepFailed,
    WorkflowEnded,
)
from tests.mediators.shops import (
    HANG,
    Boom,
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


# -- outcomes


async def test_w6_a_refusal_from_a_step_compensates_and_is_the_callers_answer(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await first(flow)
        await flow.step(Do("a"))

    world = World(virtual_clock, code, script={"a": [OutOfStock("bolts", 3)]})
    async with world.running() as shop:
        with pytest.raises(OutOfStock) as caught:
            await shop.call(Flow())
        assert (caught.value.item, caught.value.left) == ("bolts", 3)
        handle = await start(shop)
        assert await handle.status() is Status.FAILED
        with pytest.raises(OutOfStock):
            await handle.result()
    assert world.log == "pack first, a, unpack first"


async def test_w6_a_refusal_raised_by_run_does_the_same(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> None:
        await first(flow)
        raise OutOfStock("bolts")

    world = World(virtual_clock, code)
    async with world.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow())
        assert await (await start(shop)).status() is Status.FAILED
    assert world.log == "pack first, unpack first"


async def test_w6_step_failed_tells_step_attempts_type_and_text(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await first(flow)
        await flow.step(Do("a"), retry=Retry(attempts=3))

    world = World(virtual_clock, code, script={"a": [Boom("of paper")] * 3})
    async with world.running() as shop:
        with pytest.raises(StepFailed) as caught:
            await shop.call(Flow())
        failed = caught.value
        assert (failed.step, failed.attempts, failed.type, failed.text) == (
            "Do.2",
            3,
            "Boom",
            "of paper",
        )
        assert await (await start(shop)).status() is Status.FAILED
    assert world.log == "pack first, a, a, a, unpack first"


async def test_w6_step_failed_after_timeouts_says_so(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> None:
        await flow.step(Do("a"), retry=Retry(attempts=2), timeout=3)

    world = World(virtual_clock, code, script={"a": [HANG] * 2})
    async with world.running() as shop:
        with pytest.raises(StepFailed) as caught:
            await shop.call(Flow(), timeout=None)
    assert (caught.value.attempts, caught.value.type) == (2, "CallTimeout")


async def test_w6_a_child_that_fails_or_is_cancelled_is_workflow_ended(
    virtual_clock: VirtualClock,
) -> None:
    async def other(flow: Any) -> None:
        await flow.receive(Tell)
        raise OutOfStock("bolts")

    async def code(flow: Any) -> None:
        await first(flow)
        await flow.child(Other(flow.items[0]))

    world = World(virtual_clock, code, other=other)
    async with world.running() as shop:
        failing = await start(shop, Flow("w1", ["c1"]))
        await (await start(shop, Other("c1"))).signal(Tell("go"))
        with pytest.raises(WorkflowEnded) as caught:
            await failing.result()
        assert (caught.value.id, caught.value.status) == ("c1", Status.FAILED)
        assert await failing.status() is Status.FAILED

        ending = await start(shop, Flow("w2", ["c2"]))
        await (await start(shop, Other("c2"))).cancel()
        with pytest.raises(WorkflowEnded) as caught:
            await ending.result()
        assert (caught.value.id, caught.value.status) == ("c2", Status.CANCELLED)
        assert await ending.status() is Status.FAILED
    assert world.log == "pack first, unpack first, pack first, unpack first"


async def test_w6_the_parent_can_catch_the_end_of_a_child_and_see_its_cause(
    virtual_clock: VirtualClock,
) -> None:
    async def other(flow: Any) -> None:
        raise OutOfStock("bolts", 2)

    async def code(flow: Any) -> Any:
        try:
            await flow.child(Other())
        except WorkflowEnded as ended:
            cause = ended.__cause__
            assert isinstance(cause, OutOfStock)
            return [ended.id, str(ended.status), cause.left]

    world = World(virtual_clock, code, other=other)
    async with world.running() as shop:
        assert await shop.call(Flow()) == ["other", "failed", 2]


# -- mistakes


@pytest.mark.parametrize(
    "error", [KeyError("x"), Boom("x"), trio.BrokenResourceError(), GeneratorExit()], ids=repr
)
async def test_w6_anything_else_that_leaves_run_pauses_it_with_an_incident_naming_the_place(
    virtual_clock: VirtualClock, error: BaseException
) -> None:
    async def code(flow: Any) -> None:
        await first(flow)
        raise error

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.PAUSED
        (incident,) = await handle.incidents()
        assert type(error).__name__ in incident.what
        assert f"{__file__}:" in incident.what
        assert "in code" in incident.what
    assert world.log == "pack first"


async def test_w6_it_resumes_after_the_fix_where_it_stood(virtual_clock: VirtualClock) -> None:
    async def broken(flow: Any) -> str:
        await first(flow)
        raise KeyError("x")

    async def mended(flow: Any) -> str:
        await first(flow)
        return str(await flow.step(Do("a")))

    world = World(virtual_clock, broken)
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.resume() is Status.PAUSED
        world.dies()
    async with world.running() as shop:
        assert await (await start(shop)).status() is Status.PAUSED
        world.dies()
    world.code = mended
    async with world.running() as shop:
        assert await shop.call(Flow()) == "did a"
    assert world.log == "pack first, a"


async def test_w6_while_paused_answers_and_signals_are_kept_for_later(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> Any:
        async def both() -> Any:
            return [await flow.step(Do("slow")), (await flow.receive(Tell)).text]

        async def failing() -> None:
            await flow.step(Pack("b"))
            if broken_still:
                raise KeyError("x")

        answer, _ = await flow.gather(both(), failing())
        return answer

    broken_still = True
    world = World(virtual_clock, code, script={"slow": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.PAUSED
        await world.answer("slow")
        await handle.signal(Tell("kept"))
        assert world.kinds()[-2:] == ["Completed", "Signalled"]
        world.dies()
        broken_still = False
        assert await handle.resume() is Status.DONE
        assert await handle.result() == ["did slow", "kept"]
    async with world.running() as shop:
        assert await shop.call(Flow()) == ["did slow", "kept"]
    assert world.log == "slow, pack b"


async def test_w6_what_is_under_way_while_paused_goes_on(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> Any:
        async def failing() -> None:
            await flow.step(Pack("b"))
            if broken:
                raise KeyError("x")

        return list(
            await flow.gather(
                flow.step(Do("crashing"), retry=Retry(first=9.0, cap=9.0)),
                flow.step(Do("slow"), retry=Retry(first=9.0, cap=9.0), timeout=4),
                flow.sleep(30),
                failing(),
            )
        )

    broken = True
    world = World(virtual_clock, code, script={"crashing": [Boom()], "slow": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.PAUSED
        await trio.sleep(100)
        assert world.done.count("crashing") == 2 and world.done.count("slow") == 2
        broken = False
        assert await handle.resume() is Status.DONE
        assert await handle.result() == ["did crashing", "did slow", None, None]


async def test_w6_a_step_intended_in_the_batch_of_the_mistake_is_sent_nevertheless(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> Any:
        async def failing() -> None:
            await flow.receive(Tell)
            if broken:
                raise KeyError("x")

        async def after() -> Any:
            await flow.receive(Undo)
            return await flow.step(Do("a"))

        return list(await flow.gather(after(), failing()))

    broken = True
    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handle.signal, Undo("first"))
            nursery.start_soon(handle.signal, Tell("second"))
        await trio.sleep(1)
        broken = False
        await handle.resume()
        assert await handle.result(timeout=5) == ["did a", None]


async def test_w6_a_paused_workflow_can_be_cancelled_and_is_undone_by_its_record(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await flow.step(Do("a"), undo=lambda answer: Undo(answer))
        await first(flow)
        raise KeyError("x")

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        with pytest.raises(WorkflowEnded):
            await handle.result()
    assert world.log == "a, pack first, unpack first, undo did a"


async def test_w6_a_cancel_in_the_batch_of_the_mistake_undoes_what_was_under_way(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        async def failing() -> None:
            await flow.receive(Tell)
            raise KeyError("x")

        await flow.step(Pack("first"), undo=Unpack("first"))
        await flow.gather(flow.step(Do("slow"), undo=Undo("slow")), failing())

    world = World(virtual_clock, code, script={"slow": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(handle.signal, Tell("now"))
            nursery.start_soon(handle.cancel)
        await world.answer("slow")
        with pytest.raises(WorkflowEnded):
            await handle.result(timeout=100)
    assert world.log == "pack first, slow, undo slow, unpack first"


@pytest.mark.parametrize("decide", ["resolve", "skip"])
async def test_w6_a_decision_about_a_step_of_a_paused_workflow_is_kept_too(
    virtual_clock: VirtualClock, decide: str
) -> None:
    async def code(flow: Any) -> Any:
        try:
            await flow.step(Do("a"), retry=Retry(attempts=1))
        except StepFailed:
            pass
        return await flow.step(Do("b"))

    world = World(virtual_clock, code, script={"a": [HANG] * 9})
    async with world.running() as shop:
        await start(shop)
        world.dies()
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.INCIDENT
        await handle.pause()
        await getattr(handle, decide)()
        await trio.sleep(5)
        assert world.log == "a"
        world.dies()
        await handle.resume()
        assert await handle.result() == "did b"
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.INCIDENT
        await handle.resume()
        assert await handle.result(timeout=9) == "did b"


async def test_w6_what_was_kept_is_not_asked_for_again_by_a_recovery(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> Any:
        await flow.gather(flow.sleep(5), flow.step(Do("a")), flow.receive(Tell, timeout=3))
        return await flow.step(Do("b"))

    world = World(virtual_clock, code, script={"a": [HANG] * 9})
    async with world.running() as shop:
        handle = await start(shop)
        await handle.pause()
        await trio.sleep(6)
        await world.answer("a")
        world.dies()
    for _ in range(3):
        async with world.running() as shop:
            handle = await start(shop)
            await trio.sleep(50)
            world.dies()
    assert world.kinds()[5:] == ["Paused", "Fired", "Fired", "Completed"]
    async with world.running() as shop:
        handle = await start(shop)
        await handle.resume()
        assert await handle.result(timeout=9) == "did b"
    assert world.log == "a, b"


async def test_w6_another_command_than_recorded_pauses_too_and_resumes_after_the_fix(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> Any:
        await first(flow)
        return await flow.step(Do("a"))

    async def changed(flow: Any) -> Any:
        await first(flow)
        return await flow.step(Do("z"))

    world = World(virtual_clock, code, script={"a": [HANG]})
    async with world.running() as shop:
        await start(shop)
        world.dies()
    world.code = changed
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.PAUSED
        (incident,) = await handle.incidents()
        assert incident.path == "Do.2"
        assert "'a'" in incident.recorded and "'z'" in incident.came
        world.dies()
    world.code = code
    async with world.running() as shop:
        assert await shop.call(Flow()) == "did a"
    assert world.log == "pack first, a, a"


async def test_w6_a_message_that_nobody_handles_stands_as_an_incident(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await first(flow)
        await flow.step(Nobodys())

    world = World(virtual_clock, code, types=(Nobodys,))
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.INCIDENT
        (incident,) = await handle.incidents()
        assert "No component handles Nobodys" in incident.what
        assert "Handled are: " in incident.what
        assert "Pack" in incident.what, "what was accepted instead"
        await handle.cancel()
        with pytest.raises(WorkflowEnded):
            await handle.result()
    assert world.log == "pack first, unpack first"


@attrs.frozen
class Nobodys(Call[str]):
    """No component handles it."""


async def test_w6_a_command_that_is_never_awaited_is_a_mistake(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> str:
        flow.step(Do("forgotten"))
        return "done"

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.PAUSED
        assert "never awaited" in (await handle.incidents())[0].what


async def test_w6_a_message_that_cannot_be_written_down_fails_where_it_is_made(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> str:
        try:
            await flow.step(Do(object()))  # type: ignore[arg-type]
        except TypeError as error:
            assert "Do.what" in str(error)
        return str(await flow.step(Do("a")))

    world = World(virtual_clock, code)
    async with world.running() as shop:
        assert await shop.call(Flow()) == "did a"


# -- the very type


async def catching(flow: Any) -> Any:
    caught: list[Any] = []
    try:
        await flow.step(Do("a"))
    except OutOfStock as refusal:
        caught += [refusal.item, refusal.left, str(refusal)]
    caught.append(await flow.step(Pack("b")))
    return caught


async def test_w6_except_out_of_stock_catches_live_and_on_replay(
    virtual_clock: VirtualClock,
) -> None:
    script = {"a": [OutOfStock("bolts", 3)], "pack b": [HANG]}
    world = World(virtual_clock, catching, script=script)
    async with world.running() as shop:
        await start(shop)
        assert world.log == "a, pack b"
        world.dies()
    async with world.running() as shop:
        result = await shop.call(Flow())
    assert result == ["bolts", 3, "3 of bolts left", "did pack b"]
    assert world.log == "a, pack b, pack b"


async def test_w6_were_the_refusal_wrapped_it_would_not_be_caught(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    decode = Types.decode_refusal
    monkeypatch.setattr(
        Types,
        "decode_refusal",
        lambda self, data: StepFailed("Do.1", 1, type(decode(self, data)).__name__, "wrapped"),
    )
    world = World(virtual_clock, catching, script={"a": [OutOfStock("bolts")]})
    async with world.running() as shop:
        with pytest.raises(StepFailed):
            await shop.call(Flow())


async def test_w6_step_failed_and_a_childs_end_are_caught_alike_on_replay(
    virtual_clock: VirtualClock,
) -> None:
    async def other(flow: Any) -> None:
        raise OutOfStock("c")

    async def code(flow: Any) -> Any:
        caught: list[Any] = []
        try:
            await flow.step(Do("a"), retry=ONCE)
        except StepFailed as failed:
            caught += [failed.step, failed.attempts, failed.type, failed.text]
        try:
            await flow.child(Other())
        except WorkflowEnded as ended:
            caught += [ended.id, str(ended.status)]
        caught.append(await flow.step(Pack("b")))
        return caught

    script = {"a": [Boom("bang")], "pack b": [HANG]}
    world = World(virtual_clock, code, other=other, script=script)
    async with world.running() as shop:
        await start(shop)
        world.dies()
    async with world.running() as shop:
        result = await shop.call(Flow(), timeout=None)
    assert result == ["Do.1", 1, "Boom", "bang", "other", "failed", "did pack b"]


async def test_w6_failures_caught_by_the_code_are_not_its_end(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> str:
        await first(flow)
        try:
            await flow.step(Do("a"), undo=Undo("a"))
        except OutOfStock:
            return "went on"
        return "?"

    world = World(virtual_clock, code, script={"a": [OutOfStock("x")]})
    async with world.running() as shop:
        assert await shop.call(Flow()) == "went on"
    assert world.log == "pack first, a"


async def test_w6_from_every_cut_of_a_failing_run_callers_get_the_same(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await first(flow)
        await flow.step(Do("a"), retry=Retry(attempts=2))

    whole = World(virtual_clock, code, script={"a": [Boom("bang")] * 2})
    async with whole.running() as shop:
        with pytest.raises(StepFailed):
            await shop.call(Flow())
    for commits in range(1, whole.journal.commits + 1):
        world = World(virtual_clock, code, script={"a": [Boom("bang")] * 2})
        world.journal = whole.journal.copy(commits)
        async with world.running() as shop:
            with pytest.raises(StepFailed) as caught:
                await shop.call(Flow(), timeout=None)
            assert caught.value.attempts == 2
            # Where the last attempt's outcome was lost with the process, nobody knows better.
            assert caught.value.type in ("Boom", "Died")
