"""W3: an action is sent only after its intent is on disk, and what has no intent was never sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from trio.testing import wait_all_tasks_blocked

from mediators import history as h
from mediators.driver.attempts import Attempt
from mediators.journal.memory import MemoryShard
from tests.mediators.shops import HANG, Boom, Crash, Do, Flow, OutOfStock, Pack, Undo, World, start

if TYPE_CHECKING:
    from pathlib import Path

    from actors.testing import VirtualClock


async def two_steps(flow: Any) -> str:
    await flow.step(Do("a"), undo=Undo("a"))
    return str(await flow.step(Pack("b"), undo=lambda packed: Undo(packed)))


async def fail_after_two_steps(flow: Any) -> None:
    await two_steps(flow)
    raise OutOfStock("c")


async def test_w3_every_step_and_every_undo_finds_its_intent_on_disk(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, fail_after_two_steps)
    async with world.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow())
    assert world.log == "a, pack b, undo did pack b, undo a"
    assert world.intended == [True] * 4


async def test_w3_where_a_commit_is_not_made_before_release_a_step_finds_no_intent(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[Any] = []
    monkeypatch.setattr(MemoryShard, "append", lambda self, batch: late.append(batch))
    world = World(virtual_clock, two_steps)
    async with world.running() as shop:
        await start(shop)
    assert world.intended[0] is False
    assert late


async def test_w3_an_intent_holds_path_message_and_the_undo_that_is_a_message(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, two_steps, script={"a": [HANG]})
    async with world.running() as shop:
        await start(shop)
        _, intent = world.events()
    assert isinstance(intent, h.Intended)
    assert intent.path == "Do.1"
    assert b"shops:Do" in bytes(intent.message)
    assert b"shops:Undo" in bytes(intent.undo)


async def test_w3_an_undo_that_is_a_function_is_not_in_the_intent_but_in_the_outcome(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, two_steps)
    async with world.running() as shop:
        await shop.call(Flow())
    intents = [each for each in world.events() if isinstance(each, h.Intended)]
    outcomes = [each for each in world.events() if isinstance(each, h.Completed)]
    assert h.given(intents[1].undo) is None
    assert b"did pack b" in bytes(outcomes[1].undo)


async def test_w3_an_intent_without_outcome_is_sent_again_under_the_same_key(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, two_steps, script={"a": [HANG]})
    async with world.running() as shop:
        await start(shop)
        world.dies()
    async with world.running() as shop:
        assert await shop.call(Flow()) == "did pack b"
    assert world.log == "a, a, pack b"
    assert world.keys == ["w/1/Do.1", "w/1/Do.1", "w/1/Pack.2"]


async def test_w3_the_new_attempt_has_its_own_intent_before_it_is_sent(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, two_steps)
    noted: list[list[str]] = []
    world.script["a"] = [
        HANG,
        lambda: noted.append(world.kinds()),
    ]
    async with world.running() as shop:
        await start(shop)
        world.dies()
    async with world.running() as shop:
        await start(shop)
    assert noted == [["Started", "Intended", "Attempted"]]


async def test_w3_so_has_a_further_attempt_after_a_crash(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, two_steps)
    noted: list[list[str]] = []
    world.script["a"] = [Boom(), lambda: noted.append(world.kinds())]
    async with world.running() as shop:
        await shop.call(Flow())
    assert noted == [["Started", "Intended", "Attempted"]]


async def test_w3_a_crash_of_the_driver_alone_sends_it_again_too(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, two_steps, script={"a": [HANG]})
    async with world.running() as shop:
        handle = await start(shop)
        shop.cast(Crash())
        assert await handle.result() == "did pack b"
    assert world.log == "a, a, pack b"


async def test_w3_at_every_cut_of_the_journal_nothing_was_sent_without_intent_and_all_ends_well(
    virtual_clock: VirtualClock,
) -> None:
    whole = World(virtual_clock, fail_after_two_steps)
    async with whole.running() as shop:
        with pytest.raises(OutOfStock):
            await shop.call(Flow())
    for commits in range(whole.journal.commits + 1):
        world = World(virtual_clock, fail_after_two_steps)
        world.journal = whole.journal.copy(commits)
        before = len(world.written(h.Intended))
        answered = len(world.written(h.Completed))
        async with world.running() as shop:
            with pytest.raises(OutOfStock):
                await shop.call(Flow())
        assert all(world.intended)
        assert len(world.done) == 4 - answered, commits
        assert before - answered in (0, 1)
        assert world.log.endswith("undo a") or commits == whole.journal.commits


@pytest.mark.parametrize("key", ["as it is", "ignored"])
async def test_w3_under_its_key_the_second_attempt_finds_the_answer_of_the_first(
    virtual_clock: VirtualClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    world = World(virtual_clock, two_steps, keyed=tmp_path / "store.db", script={"a": [HANG]})
    world.script["pack b"] = [HANG]
    if key == "ignored":
        monkeypatch.setattr(Attempt, "key", property(lambda self: None, lambda self, key: None))
    async with world.running() as shop:
        await start(shop)
        world.dies()
        await world.answer("a", "first")
    world.done.clear()
    async with world.running() as shop:
        assert await shop.call(Flow()) == "did pack b"
    assert world.log == ("pack b" if key == "as it is" else "a, pack b")


async def test_w3_what_has_no_intent_on_disk_was_never_sent(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(virtual_clock, two_steps)
    append = MemoryShard.append

    def full(self: MemoryShard, batch: Any) -> None:
        if len(world.done) >= 1:
            raise OSError("no room on the disk")
        append(self, batch)

    async with world.running() as shop:
        monkeypatch.setattr(MemoryShard, "append", full)
        await start(shop)
        await wait_all_tasks_blocked()
        assert "pack b" not in world.done
        monkeypatch.undo()
    assert world.written(h.Intended) == ["w/1/Do.1"]
