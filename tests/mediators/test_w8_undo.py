"""W8: what is done can be undone, without the code, after a redeploy, in reverse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors import Actor, Call, handles
from mediators import Status, WorkflowEnded
from mediators import history as h
from mediators.execution import events
from supervisors import Child
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


async def two(flow: Any) -> None:
    await flow.step(Do("a"), undo=Undo("a"))
    await flow.step(Pack("b"), undo=lambda answer: Unpack(answer))
    await flow.receive(Tell)
    raise OutOfStock("x")


async def failing(flow: Any) -> None:
    for what in "abc":
        await flow.step(Do(what), undo=Undo(what))
    raise OutOfStock("x")


async def test_w8_a_message_is_in_the_intent_and_a_functions_message_in_the_outcome(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, two)
    async with world.running() as shop:
        await start(shop)
        events = world.events()
    intents = {each.path: each for each in events if isinstance(each, h.Intended)}
    outcomes = {each.path: each for each in events if isinstance(each, h.Completed)}
    assert b"shops:Undo" in bytes(intents["Do.1"].undo)
    assert h.given(outcomes["Do.1"].undo) is None
    assert h.given(intents["Pack.2"].undo) is None
    assert b"did pack b" in bytes(outcomes["Pack.2"].undo)


async def test_w8_the_function_is_applied_when_the_answer_arrives_and_never_again(
    virtual_clock: VirtualClock,
) -> None:
    applied: list[str] = []

    def undo(answer: str) -> Undo:
        applied.append(answer)
        return Undo(answer)

    async def code(flow: Any) -> None:
        await flow.step(Do("a"), undo=undo)
        await flow.receive(Tell)
        raise OutOfStock("x")

    world = World(virtual_clock, code)
    async with world.running() as shop:
        await start(shop)
        assert applied == ["did a"]
        world.dies()
    async with world.running() as shop:
        handle = await start(shop)
        await handle.signal(Tell("go"))
        with pytest.raises(OutOfStock):
            await handle.result()
    assert applied == ["did a"]
    assert world.log == "a, undo did a"


async def test_w8_undo_runs_in_reverse_journal_order_of_the_outcomes(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await flow.gather(*(flow.step(Do(each), undo=Undo(each)) for each in "abc"))
        await flow.step(Pack("d"), undo=Unpack("d"))
        raise OutOfStock("x")

    world = World(virtual_clock, code, script={each: [HANG] for each in "abc"})
    async with world.running() as shop:
        handle = await start(shop)
        for what in "bca":
            await world.answer(what)
        with pytest.raises(OutOfStock):
            await handle.result()
    assert world.done[-4:] == ["unpack d", "undo a", "undo c", "undo b"]


async def test_w8_one_after_the_other(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, failing, script={"undo c": [HANG], "undo b": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.COMPENSATING
        assert world.done[3:] == ["undo c"]
        await world.answer("undo c")
        assert world.done[3:] == ["undo c", "undo b"]
        await world.answer("undo b")
        with pytest.raises(OutOfStock):
            await handle.result()
    assert world.done[3:] == ["undo c", "undo b", "undo a"]


async def test_w8_each_undo_is_journalled_and_has_a_key_of_its_own(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, failing)
    async with world.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow())
    assert world.keys[3:] == ["w/1/undo/Do.3", "w/1/undo/Do.2", "w/1/undo/Do.1"]
    assert world.intended == [True] * 6
    undone = [each.path for each in world.events() if isinstance(each, h.Completed)][3:]
    assert undone == ["undo/Do.3", "undo/Do.2", "undo/Do.1"]


async def test_w8_each_undo_is_retried(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, failing, script={"undo b": [Boom(), HANG, Boom()]})
    async with world.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow(), timeout=None)
    assert world.log == "a, b, c, undo c, undo b, undo b, undo b, undo b, undo a"


async def test_w8_undo_is_not_cancellable(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, failing, script={"undo c": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        assert await handle.status() is Status.COMPENSATING
        await world.answer("undo c")
        with pytest.raises(OutOfStock):
            await handle.result()
        assert await handle.status() is Status.FAILED
    assert world.done[3:] == ["undo c", "undo b", "undo a"]


async def test_w8_compensation_needs_no_code_so_a_paused_workflow_is_undone(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await flow.step(Do("a"), undo=Undo("a"))
        await flow.step(Pack("b"), undo=lambda answer: Unpack(answer))
        raise KeyError("mistake")

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.PAUSED
        world.dies()
        await handle.cancel()
        with pytest.raises(WorkflowEnded):
            await handle.result()
    assert world.log == "a, pack b, unpack did pack b, undo a"

    world.done.clear()
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.PAUSED
        await handle.cancel()
        with pytest.raises(WorkflowEnded):
            await handle.result()
    assert world.log == "unpack did pack b, undo a"


async def test_w8_after_a_redeploy_whose_code_does_not_fit_it_is_undone_by_the_record(
    virtual_clock: VirtualClock,
) -> None:
    async def rewritten(flow: Any) -> None:
        await flow.sleep(1)

    world = World(virtual_clock, two)
    async with world.running() as shop:
        await start(shop)
        world.dies()
    world.code = rewritten
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.PAUSED
        await handle.cancel()
        with pytest.raises(WorkflowEnded):
            await handle.result()
        assert await handle.status() is Status.CANCELLED
    assert world.log == "a, pack b, unpack did pack b, undo a"


async def test_w8_a_compensation_under_way_goes_on_after_a_redeploy(
    virtual_clock: VirtualClock,
) -> None:
    async def rewritten(flow: Any) -> None:
        await flow.sleep(1)

    for code in (failing, rewritten):
        world = World(virtual_clock, failing, script={"undo b": [HANG]})
        async with world.running() as shop:
            await start(shop)
            assert world.done[3:] == ["undo c", "undo b"]
            world.dies()
        world.code = code
        async with world.running() as shop:
            handle = await start(shop)
            with pytest.raises((OutOfStock, WorkflowEnded)):
                await handle.result(timeout=100)
            assert await handle.status() is Status.FAILED
        assert world.done[3:] == ["undo c", "undo b", "undo b", "undo a"]


@pytest.mark.parametrize("exhausted", ["undo b", "undo a", "undo c"])
async def test_w8_an_exhausted_undo_leaves_an_incident_and_the_others_still_run(
    virtual_clock: VirtualClock, exhausted: str
) -> None:
    world = World(virtual_clock, failing, script={exhausted: [Boom("bang")] * 5})
    async with world.running() as shop:
        handle = await start(shop)
        await trio.sleep(300)
        assert {*world.done[3:]} == {"undo c", "undo b", "undo a"}
        assert world.done.count(exhausted) == 5
        assert await handle.status() is Status.INCIDENT
        (incident,) = await handle.incidents()
        assert incident.path == f"undo/Do.{' abc'.index(exhausted[-1])}"
        assert "bang" in incident.what
        await handle.retry()
        with pytest.raises(OutOfStock):
            await handle.result()
    assert world.done.count(exhausted) == 6


async def test_w8_skip_and_resolve_let_it_end(virtual_clock: VirtualClock) -> None:
    for decide in ("skip", "resolve"):
        world = World(virtual_clock, failing, script={"undo b": [Boom("bang")] * 5})
        async with world.running() as shop:
            handle = await start(shop)
            await trio.sleep(300)
            await (handle.skip() if decide == "skip" else handle.resolve("by hand"))
            with pytest.raises(OutOfStock):
                await handle.result()
            assert await handle.status() is Status.FAILED
        assert world.done.count("undo b") == 5


async def test_w8_an_incident_is_still_there_after_a_restart(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, failing, script={"undo b": [Boom("bang")] * 5})
    async with world.running() as shop:
        await start(shop)
        await trio.sleep(300)
        world.dies()
    done = len(world.done)
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.INCIDENT
        assert len(world.done) == done
        await handle.retry()
        with pytest.raises(OutOfStock):
            await handle.result()
    assert world.done[done:] == ["undo b"]


async def test_w8_a_refused_undo_is_an_incident_too(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, failing, script={"undo b": [OutOfStock("shut")]})
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.INCIDENT
        assert "OutOfStock" in (await handle.incidents())[0].what
        assert world.done[3:] == ["undo c", "undo b", "undo a"]
        await handle.retry()
        with pytest.raises(OutOfStock, match="of x"):
            await handle.result()


async def raising_undo(flow: Any) -> None:
    def undo(answer: str) -> Call[Any]:
        raise KeyError("no such field")

    await flow.step(Do("a"), undo=Undo("a"))
    await flow.step(Pack("b"), undo=undo)
    await flow.step(Do("c"), undo=Undo("c"))
    await flow.receive(Tell)
    raise OutOfStock("x")


async def test_w8_a_function_that_raises_stands_as_an_incident_and_the_others_run(
    virtual_clock: VirtualClock,
) -> None:
    for restart in (False, True):
        world = World(virtual_clock, raising_undo)
        async with world.running() as shop:
            await start(shop)
            if restart:
                world.dies()
                world.code = raising_undo
            else:
                await fail_and_skip(world, shop)
        if restart:
            async with world.running() as shop:
                await fail_and_skip(world, shop)
        assert world.log == "a, pack b, c, undo c, undo a"


async def fail_and_skip(world: World, shop: Any) -> None:
    handle = await start(shop)
    assert await handle.status() is Status.WAITING
    await handle.signal(Tell("go"))
    await trio.sleep(1)
    assert await handle.status() is Status.INCIDENT
    (incident,) = await handle.incidents()
    assert incident.path == "undo/Pack.2"
    assert "no such field" in incident.what
    assert "did pack b" in str(incident), "the recorded answer"
    await handle.skip()
    with pytest.raises(OutOfStock):
        await handle.result()


async def test_w8_a_function_that_makes_no_message_is_no_undo(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> None:
        await flow.step(Do("a"), undo=lambda answer: None)
        raise OutOfStock("x")

    world = World(virtual_clock, code)
    async with world.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow())
    assert world.log == "a"


async def test_w8_what_was_refused_was_not_done_and_is_not_undone(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await flow.step(Do("a"), undo=Undo("a"))
        await flow.step(Do("short"), undo=Undo("short"))

    world = World(virtual_clock, code, script={"short": [OutOfStock("x")]})
    async with world.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow())
    assert world.log == "a, short, undo a"


async def test_w8_an_answer_that_comes_with_an_unreachable_function_is_an_incident_with_it(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await flow.step(Do("a"), undo=lambda answer: Undo(answer))

    async def rewritten(flow: Any) -> None:
        await flow.sleep(1)

    # The process died with the step under way; the code that comes back has no such step, so the
    # function that would make the undo of the answer cannot be reached.
    world = World(virtual_clock, code, script={"a": [HANG]})
    async with world.running() as shop:
        await start(shop)
        world.dies()
    world.code = rewritten
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.PAUSED
        await handle.cancel()
        await trio.sleep(5)
        assert await handle.status() is Status.INCIDENT
        (incident,) = await handle.incidents()
        assert "did a" in str(incident)
        await handle.skip()
        with pytest.raises(WorkflowEnded):
            await handle.result()
    assert world.log == "a, a"


@attrs.frozen
class Gone(Call[str]):
    """A message whose class the next deployment does not have."""

    what: str


class Taker(Actor):
    """Takes it, as long as there is one."""

    @handles
    def take(self, message: Gone) -> str:
        return message.what


async def test_w8_an_undo_whose_class_is_not_there_any_more_is_an_incident_and_no_crash(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await flow.step(Pack("first"), undo=Unpack("first"))
        await flow.step(Do("a"), undo=lambda answer: Gone(answer))
        await flow.receive(Tell)

    world = World(virtual_clock, code)
    ours = [Child(Worker, world, id="worker"), Child(Packer, world, id="packer")]
    world.attributes["components"] = [*ours, Child(Taker)]
    async with world.running() as shop:
        await start(shop)
        world.dies()
    world.attributes["components"] = ours
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        assert await handle.status() is Status.INCIDENT
        assert "test_w8_undo:Gone" in (await handle.incidents())[0].what
        assert shop.incarnation == 1
        await handle.skip()
        with pytest.raises(WorkflowEnded):
            await handle.result()
    assert world.log == "pack first, a, unpack first"


async def test_w8_an_effect_whose_function_is_out_of_reach_is_an_incident(
    virtual_clock: VirtualClock,
) -> None:
    async def outside() -> str:
        await trio.sleep(5)
        return "x"

    async def code(flow: Any) -> None:
        await flow.step(Pack("first"), undo=Unpack("first"))
        await flow.effect(outside, undo=lambda answer: Undo(answer))

    async def rewritten(flow: Any) -> None:
        await flow.sleep(1)

    world = World(virtual_clock, code)
    async with world.running() as shop:
        await start(shop)
        world.dies()
    world.code = rewritten
    async with world.running() as shop:
        handle = await start(shop)
        await handle.cancel()
        await trio.sleep(1)
        assert await handle.status() is Status.INCIDENT
        assert "outside cannot be reached" in (await handle.incidents())[0].what
        await handle.skip()
        with pytest.raises(WorkflowEnded):
            await handle.result()
    assert world.log == "pack first, unpack first"


async def test_w8_from_every_cut_and_every_crash_of_the_driver_each_step_is_undone_once(
    virtual_clock: VirtualClock,
) -> None:
    whole = World(virtual_clock, failing)
    async with whole.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow())
    assert whole.log == "a, b, c, undo c, undo b, undo a"
    for commits in range(1, whole.journal.commits + 1):
        world = World(virtual_clock, failing)
        world.journal = whole.journal.copy(commits)
        before = len(world.written(h.Completed))
        async with world.running() as shop:
            with pytest.raises(OutOfStock):
                await shop.call(Flow())
        assert world.done == whole.done[before:]
    for what in whole.done:
        world = World(virtual_clock, failing, script={what: [HANG]})
        async with world.running() as shop:
            handle = await start(shop)
            shop.cast(Crash())
            with pytest.raises(OutOfStock):
                await handle.result()
        assert [each for at, each in enumerate(world.done) if each != what or at] and (
            list(dict.fromkeys(world.done)) == whole.done
        )
        assert world.done.count(what) == 2


async def test_w8_without_the_record_of_undos_nothing_would_be_taken_back(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "note_undo", lambda *args: None)
    world = World(virtual_clock, failing)
    async with world.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow())
    assert world.log == "a, b, c"
