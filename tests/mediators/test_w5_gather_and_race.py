"""W5: the first failure or end in journal order counts; everything else is settled and undone."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import pytest
import trio

from mediators import Handle, Retry, Status, StepFailed
from mediators import history as h
from mediators.driver import attempts
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


def do(flow: Any, what: str, **more: Any) -> Any:
    return flow.step(Do(what), undo=Undo(what), **more)


def pack(flow: Any, what: str, **more: Any) -> Any:
    return flow.step(Pack(what), undo=Unpack(what), **more)


# -- gather


async def test_w5_gather_gives_the_results_in_order_of_the_branches(
    virtual_clock: VirtualClock,
) -> None:
    async def branch(flow: Any) -> int:
        await flow.sleep(5)
        return 5

    async def at_once() -> str:
        return "at once"

    async def code(flow: Any) -> Any:
        assert await flow.gather() == ()
        return list(await flow.gather(branch(flow), at_once(), flow.step(Do("a"))))

    world = World(virtual_clock, code)
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == [5, "at once", "did a"]


async def test_w5_gather_runs_at_most_limit_branches_at_a_time(virtual_clock: VirtualClock) -> None:
    running = [0, 0]

    async def branch(flow: Any, number: int) -> int:
        running[0] += 1
        running[1] = max(running)
        await flow.sleep(1)
        running[0] -= 1
        return number

    async def code(flow: Any) -> Any:
        return list(await flow.gather(*(branch(flow, each) for each in range(10)), limit=3))

    world = World(virtual_clock, code)
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == list(range(10))
    assert running == [0, 3]
    assert virtual_clock.time == 4


@pytest.mark.parametrize("limit", [1, 2, 3, 400, None])
async def test_w5_branches_that_end_at_once_do_not_count_against_the_limit(
    virtual_clock: VirtualClock, limit: int | None
) -> None:
    async def branch(flow: Any, number: int) -> int:
        if number % 100 == 50:
            await flow.sleep(1)
        return number

    async def code(flow: Any) -> Any:
        return sum(await flow.gather(*(branch(flow, each) for each in range(400)), limit=limit))

    world = World(virtual_clock, code)
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == sum(range(400))


async def test_w5_gather_raises_the_first_failure_in_journal_order_plain(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> str:
        try:
            await flow.gather(flow.step(Do("a")), flow.step(Pack("b")))
        except OutOfStock as refusal:
            return refusal.item
        return "none"

    for order in (("a", "b"), ("b", "a")):
        world = World(virtual_clock, code, script={"a": [HANG], "pack b": [HANG]})
        async with world.running() as shop:
            handle = await start(shop)
            for item in order:
                await world.answer("a" if item == "a" else "pack b", OutOfStock(item))
            assert await handle.result() == order[0]


async def test_w5_all_branches_of_a_failed_gather_are_undone_in_reverse_journal_order(
    virtual_clock: VirtualClock,
) -> None:
    async def failing(flow: Any) -> None:
        await do(flow, "own")
        await flow.step(Do("short"))

    async def code(flow: Any) -> str:
        await do(flow, "before")
        try:
            await flow.gather(do(flow, "a"), failing(flow), pack(flow, "b"))
        except OutOfStock:
            world.done.append("raised")
        await do(flow, "after")
        return "done"

    script = {each: [HANG] for each in ("a", "own", "pack b")}
    world = World(virtual_clock, code, script={**script, "short": [OutOfStock("x")]})
    async with world.running() as shop:
        handle = await start(shop)
        for what in ("pack b", "own", "a"):
            await world.answer(what)
        assert await handle.result() == "done"
    undone = [each for each in world.done if each.startswith(("undo", "unpack"))]
    answered = [each.path for each in world.events() if isinstance(each, h.Completed)]
    back = {
        "gather.2/1/Do.1": "undo a",
        "gather.2/2/Do.1": "undo own",
        "gather.2/3/Pack.1": "unpack b",
    }
    assert undone == [back[each] for each in reversed(answered) if each in back]
    assert len(undone) == 3


async def test_w5_what_the_other_branches_had_sent_is_settled_and_undone_before_it_raises(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> str:
        try:
            await flow.gather(flow.step(Pack("short")), do(flow, "slow"))
        except OutOfStock:
            world.done.append("raised")
        return "done"

    script = {"pack short": [OutOfStock("x")], "slow": [HANG]}
    world = World(virtual_clock, code, script=script)
    async with world.running() as shop:
        handle = await start(shop)
        assert "raised" not in world.done
        await world.answer("slow")
        assert await handle.result() == "done"
    assert world.done == ["pack short", "slow", "undo slow", "raised"]


async def test_w5_a_branch_that_was_cut_gets_no_further_commands(
    virtual_clock: VirtualClock,
) -> None:
    seen: list[str] = []

    async def branch(flow: Any) -> None:
        try:
            await do(flow, "slow")
            seen.append("went on")
        finally:
            seen.append("finally")
            await flow.step(Do("never"))

    async def code(flow: Any) -> str:
        try:
            await flow.gather(flow.step(Pack("short")), branch(flow))
        except OutOfStock:
            return "done"
        return "?"

    script = {"pack short": [OutOfStock("x")], "slow": [HANG]}
    world = World(virtual_clock, code, script=script)
    async with world.running() as shop:
        handle = await start(shop)
        await world.answer("slow")
        assert await handle.result() == "done"
    assert seen == ["finally"]
    assert "never" not in world.log


async def test_w5_a_step_given_in_the_very_turn_in_which_its_branch_is_cut_is_not_sent(
    virtual_clock: VirtualClock,
) -> None:
    async def at_once() -> None:
        raise OutOfStock("x")

    async def code(flow: Any) -> str:
        try:
            await flow.gather(do(flow, "never"), at_once())
        except OutOfStock:
            return "done"
        return "?"

    world = World(virtual_clock, code)
    async with world.running() as shop:
        assert await shop.call(Flow()) == "done"
    assert world.done == []


async def test_w5_were_cut_steps_sent_it_would_be_done_and_undone_for_nothing(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def at_once() -> None:
        raise OutOfStock("x")

    async def code(flow: Any) -> None:
        await flow.gather(do(flow, "never"), at_once())

    monkeypatch.setattr(attempts, "is_cut", lambda command: False)
    world = World(virtual_clock, code)
    async with world.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow())
    assert world.log == "never, undo never"


async def test_w5_branches_that_were_not_begun_are_closed_without_a_word(
    virtual_clock: VirtualClock,
) -> None:
    async def branch(flow: Any, what: str) -> None:
        await flow.step(Do(what))

    async def code(flow: Any) -> str:
        rest = [branch(flow, str(each)) for each in range(5)]
        try:
            await flow.gather(flow.step(Do("short")), *rest, flow.step(Do("x")), limit=1)
        except OutOfStock:
            return "done"
        return "?"

    world = World(virtual_clock, code, script={"short": [OutOfStock("x")]})
    async with world.running() as shop:
        assert await shop.call(Flow()) == "done"
    gc.collect()
    assert world.log == "short"


async def test_w5_a_branch_that_failed_its_attempts_is_settled_too(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> str:
        try:
            await flow.gather(do(flow, "a", retry=ONCE), flow.sleep(100))
        except StepFailed as failed:
            return failed.type
        return "?"

    world = World(virtual_clock, code, script={"a": [Boom("once")]})
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == "Boom"
    # It was run again under its key to learn what it has done, and that was undone.
    assert world.log == "a, a, undo a"


async def test_w5_a_gather_within_a_branch_is_undone_with_it(virtual_clock: VirtualClock) -> None:
    async def inner(flow: Any) -> None:
        await flow.gather(do(flow, "a"), pack(flow, "b"), flow.receive(Tell))

    async def code(flow: Any) -> str:
        try:
            await flow.gather(inner(flow), flow.step(Do("later")))
        except OutOfStock:
            world.done.append("raised")
        return "done"

    world = World(virtual_clock, code, script={"later": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await world.answer("later", OutOfStock("x"))
        assert await handle.result() == "done"
    assert sorted(world.done[:3]) == ["a", "later", "pack b"]
    assert sorted(world.done[3:5]) == ["undo a", "unpack b"]
    assert world.done[5:] == ["raised"]


async def test_w5_a_gather_that_is_being_undone_when_its_branch_is_cut_is_waited_for(
    virtual_clock: VirtualClock,
) -> None:
    async def inner(flow: Any) -> None:
        try:
            await flow.gather(do(flow, "a"), flow.step(Pack("short")))
        finally:
            world.done.append("inner raised")

    async def code(flow: Any) -> str:
        try:
            await flow.race(inner(flow), flow.receive(Tell))
        finally:
            world.done.append("race ended")
        return "done"

    script = {"pack short": [HANG], "undo a": [HANG]}
    world = World(virtual_clock, code, script=script)
    async with world.running() as shop:
        handle = await start(shop)
        await world.answer("pack short", OutOfStock("x"))
        assert world.done[-1] == "undo a"
        await handle.signal(Tell("now"))
        assert "race ended" not in world.done
        await world.answer("undo a")
        assert await handle.result() == "done"
    assert world.done.count("undo a") == 1
    assert world.done[-1] == "race ended"


# -- race


async def test_w5_the_winner_of_a_race_is_whose_end_comes_first_in_the_journal(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> Any:
        return await flow.race(flow.step(Do("a")), flow.step(Pack("b")))

    for first, second in (("a", "pack b"), ("pack b", "a")):
        world = World(virtual_clock, code, script={"a": [HANG], "pack b": [HANG]})
        async with world.running() as shop:
            handle = await start(shop)
            await world.answer(first)
            await world.answer(second)
            assert await handle.result() == f"did {first}"


async def test_w5_all_but_the_winner_are_settled_and_undone_before_it_returns(
    virtual_clock: VirtualClock,
) -> None:
    async def loser(flow: Any) -> None:
        await do(flow, "lost")
        await do(flow, "slow")
        await do(flow, "never")

    async def winner(flow: Any) -> str:
        await pack(flow, "kept")
        await flow.receive(Tell)
        return "won"

    async def code(flow: Any) -> Any:
        result = await flow.race(loser(flow), winner(flow))
        world.done.append("returned")
        return result

    world = World(virtual_clock, code, script={"slow": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        await handle.signal(Tell("now"))
        assert "returned" not in world.done
        await world.answer("slow")
        assert await handle.result() == "won"
    assert sorted(world.done[:3]) == ["lost", "pack kept", "slow"]
    assert world.done[3:] == ["undo slow", "undo lost", "returned"]


async def test_w5_what_the_winner_has_done_is_undone_when_the_workflow_fails_later(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> Any:
        await flow.race(pack(flow, "kept"), flow.sleep(10))
        raise OutOfStock("x")

    world = World(virtual_clock, code)
    async with world.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow())
    assert world.log == "pack kept, unpack kept"


async def test_w5_a_race_lost_by_failure_undoes_the_failing_branch_and_raises_plain(
    virtual_clock: VirtualClock,
) -> None:
    async def failing(flow: Any) -> None:
        await do(flow, "own")
        raise OutOfStock("x")

    async def code(flow: Any) -> Any:
        try:
            await flow.race(failing(flow), flow.sleep(10))
        except OutOfStock:
            world.done.append("raised")

    world = World(virtual_clock, code)
    async with world.running() as shop:
        await shop.call(Flow())
    assert world.log == "own, undo own, raised"


async def test_w5_a_race_that_is_won_at_once_sends_nothing_for_the_others(
    virtual_clock: VirtualClock,
) -> None:
    async def at_once() -> str:
        return "won"

    async def code(flow: Any) -> Any:
        return await flow.race(do(flow, "never"), at_once(), do(flow, "nor this"))

    world = World(virtual_clock, code)
    async with world.running() as shop:
        assert await shop.call(Flow()) == "won"
    assert world.done == []


async def test_w5_a_child_in_a_branch_that_was_cut_is_cancelled_and_undone_first(
    virtual_clock: VirtualClock,
) -> None:
    async def other(flow: Any) -> None:
        await do(flow, "child's")
        await flow.sleep(1000)

    async def code(flow: Any) -> str:
        await flow.race(flow.child(Other()), flow.sleep(5))
        world.done.append("returned")
        return "done"

    world = World(virtual_clock, code, other=other)
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == "done"
    assert world.log == "child's, undo child's, returned"


async def test_w5_an_attempt_that_waits_for_its_retry_is_not_made_after_the_cut(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> str:
        retry = Retry(attempts=5, first=50.0, cap=50.0)
        await flow.race(flow.step(Do("a"), retry=retry), flow.receive(Tell))
        return "done"

    world = World(virtual_clock, code, keyed=True, script={"a": [Boom()] * 5})
    async with world.running() as shop:
        handle = await start(shop)
        await handle.signal(Tell("now"))
        assert await handle.result() == "done"
        await trio.sleep(200)
    assert world.log == "a"


# -- from the record


async def raced(flow: Any) -> Any:
    async def loser() -> None:
        await do(flow, "lost")
        await flow.step(Do("slow"), undo=Undo("slow"))

    async def inner() -> None:
        await flow.gather(do(flow, "x"), pack(flow, "y"), loser())

    result = await flow.race(inner(), flow.sleep(30))
    await do(flow, "after")
    return [result]


@pytest.mark.parametrize("keyed", [True, False])
async def test_w5_from_every_cut_of_the_journal_it_comes_to_the_same_end(
    virtual_clock: VirtualClock, keyed: bool
) -> None:
    whole = World(virtual_clock, raced, keyed=keyed, script={"slow": [HANG] * 4})
    async with whole.running() as shop:
        handle = await start(shop)
        await trio.sleep(29)
        await trio.sleep(2)
        await whole.answer("slow")
        assert await handle.result() == [None]
    undone = {"undo lost", "undo slow", "undo x", "unpack y"}
    assert undone <= {*whole.done}
    for commits in range(1, whole.journal.commits):
        world = World(virtual_clock, raced, keyed=keyed)
        world.journal = whole.journal.copy(commits)
        async with world.running() as shop:
            handle = await start(shop)
            await handle.result(timeout=1000)
            assert await handle.status() is Status.DONE


async def test_w5_a_gather_of_a_thousand_branches(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> int:
        return len(await flow.gather(*(flow.step(Do(str(each))) for each in range(1000))))

    world = World(virtual_clock, code)
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == 1000
    assert len(world.done) == 1000


async def test_w5_a_mistake_in_the_finally_of_a_branch_that_was_cut_pauses_the_workflow(
    virtual_clock: VirtualClock,
) -> None:
    async def clumsy(self: Any) -> None:
        try:
            await self.sleep(60)
        finally:
            raise KeyError("no such parcel")

    async def code(self: Any) -> Any:
        return await self.race(clumsy(self), self.step(Do("a")))

    async with World(virtual_clock, code).running() as shop:
        handle = await start(shop)
        assert str(await handle.status()) == "paused"
        assert "no such parcel" in (await handle.incidents())[0].what


async def test_w5_a_branch_that_was_cut_and_goes_on_with_commands_pauses_the_workflow(
    virtual_clock: VirtualClock,
) -> None:
    async def stubborn(self: Any) -> None:
        while True:
            try:
                await self.sleep(60)
            except BaseException as error:
                if type(error).__name__ == "Dropped":
                    raise

    async def code(self: Any) -> Any:
        return await self.race(stubborn(self), self.step(Do("a")))

    async with World(virtual_clock, code).running() as shop:
        handle = await start(shop)
        assert str(await handle.status()) == "paused"
        assert "A branch that was cut off goes on with commands." in (
            (await handle.incidents())[0].what
        )


async def test_w5_a_branch_that_waits_for_a_signal_or_a_detached_child_just_ends(
    virtual_clock: VirtualClock,
) -> None:
    async def other(self: Any) -> str:
        await self.sleep(30)
        return "packed"

    async def code(self: Any) -> Any:
        waits = self.gather(self.receive(Tell), self.child(Other(), detached=True))
        first = await self.race(waits, self.sleep(1))
        return [first, await self.receive(Tell)]

    async with World(virtual_clock, code, other=other).running() as shop:
        handle = await start(shop)
        await trio.sleep(2)
        await handle.signal(Tell("late"))
        assert await handle.result(timeout=5) == [None, Tell("late")]
        other_handle = Handle(shop, "other")
        assert await other_handle.result(timeout=60) == "packed"
