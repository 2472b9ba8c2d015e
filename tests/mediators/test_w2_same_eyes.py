"""W2: ``run`` sees only what the journal would return, live as on replay."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors import Call, handles
from actors.payloads.types import Types
from mediators import Start, Workflow
from tests.mediators.shops import (
    HANG,
    Do,
    Fetch,
    Flow,
    OutOfStock,
    Pack,
    Tell,
    Undo,
    World,
    start,
)

if TYPE_CHECKING:
    from actors.testing import VirtualClock


@attrs.frozen
class Seen(Call["list[str]"]):
    """A query: what run has noted in its fields."""


@attrs.define
class Noting(Workflow[Any]):
    """Keeps what it learns in a field of its own."""

    id: str = "n"
    seen: list[str] = attrs.Factory(list[str])

    @handles
    def tell(self, message: Seen) -> list[str]:
        return list(self.seen)

    async def run(self) -> list[str]:
        self.seen.append(await self.step(Do("a")))
        self.seen = [*self.seen, str(self.random.randrange(1000))]
        self.seen.append(await self.step(Do("b")))
        return self.seen


async def test_w2_fields_are_decoded_from_the_record_and_the_callers_object_is_not_shared(
    virtual_clock: VirtualClock,
) -> None:
    met: list[Any] = []

    async def code(flow: Any) -> list[str]:
        met.append(flow)
        await flow.sleep(1)
        flow.items.append("mine")
        return list(flow.items)

    world = World(virtual_clock, code)
    sent = Flow("w", ["first"])
    async with world.running() as shop:
        handle = await shop.call(Start(sent))
        sent.items.append("too late")
        assert await handle.result() == ["first", "mine"]
    assert met[0] is not sent and met[0].items is not sent.items
    assert sent.items == ["first", "too late"]


async def test_w2_were_the_object_shared_the_code_would_see_what_the_journal_does_not_know(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def code(flow: Any) -> list[str]:
        await flow.sleep(1)
        return list(flow.items)

    sent = Flow("w", ["first"])
    decode = Types.decode
    monkeypatch.setattr(
        Types,
        "decode",
        lambda self, data: sent if b"shops:Flow" in bytes(data) else decode(self, data),
    )
    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await shop.call(Start(sent))
        sent.items.append("too late")
        assert await handle.result() == ["first", "too late"]


async def test_w2_results_are_decoded_and_not_the_components_object(
    virtual_clock: VirtualClock,
) -> None:
    stock = ["bolts"]

    async def code(flow: Any) -> list[str]:
        found = await flow.step(Fetch("stock"))
        assert found == ["bolts"] and found is not stock
        found.append("mine")
        await flow.step(Do("a"))
        return list(found)

    world = World(virtual_clock, code, script={"stock": [stock]})
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == ["bolts", "mine"]
    assert stock == ["bolts"]


async def test_w2_signals_are_decoded(virtual_clock: VirtualClock) -> None:
    sent = Tell("hello", ["x"])

    async def code(flow: Any) -> Any:
        signal = await flow.receive(Tell)
        assert signal == Tell("hello", ["x"])
        assert signal is not sent and signal.items is not sent.items
        return len(signal.items)

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        await handle.signal(sent)
        assert await handle.result() == 1


async def test_w2_refusals_are_decoded_of_that_very_type(virtual_clock: VirtualClock) -> None:
    raised = OutOfStock("bolts", 3)

    async def code(flow: Any) -> list[Any]:
        try:
            await flow.step(Do("a"))
        except OutOfStock as refusal:
            assert refusal is not raised
            return [refusal.item, refusal.left, str(refusal)]
        return []

    world = World(virtual_clock, code, script={"a": [raised]})
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == ["bolts", 3, "3 of bolts left"]


async def test_w2_what_is_sent_is_not_the_codes_object(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> list[str]:
        mine = ["mine"]
        await flow.step(Fetch("stock", mine))
        world.messages[0].items.append("the component's")
        await flow.step(Do("a"))
        return mine

    world = World(virtual_clock, code, script={"stock": [["bolts"]]})
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == ["mine"]


async def test_w2_each_attempt_gets_the_message_as_it_was_recorded(
    virtual_clock: VirtualClock,
) -> None:
    def spoil() -> list[str]:
        world.messages[-1].items.append("spoilt")
        raise RuntimeError("once")

    async def code(flow: Any) -> Any:
        return await flow.step(Fetch("stock", ["mine"]))

    world = World(virtual_clock, code, script={"stock": [spoil, ["bolts"]]})
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == ["bolts"]
    assert [each.items for each in world.messages] == [["mine", "spoilt"], ["mine"]]


async def test_w2_an_effect_gets_copies_of_its_arguments(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> list[str]:
        mine = ["mine"]
        assert await flow.effect(spoiling, mine) == 2
        return mine

    world = World(virtual_clock, code)
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == ["mine"]


async def spoiling(items: list[str]) -> int:
    items.append("the effect's")
    return len(items)


async def test_w2_the_result_of_a_workflow_is_not_its_own_object(
    virtual_clock: VirtualClock,
) -> None:
    kept: list[list[str]] = []

    async def code(flow: Any) -> list[str]:
        kept.append(flow.items)
        return list.__iadd__(flow.items, ["x"])

    world = World(virtual_clock, code)
    async with world.running() as shop:
        result = await shop.call(Flow(), timeout=None)
    assert result == ["x"] and result is not kept[0]


async def test_w2_fields_set_in_run_are_rebuilt_by_replay(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, lambda flow: flow.sleep(1), script={"b": [HANG]})
    world.attributes["workflows"] = [Noting]
    async with world.running() as shop:
        handle = await start(shop, Noting())
        before = await handle.query(Seen())
        assert len(before) == 2
        world.dies()
    async with world.running() as shop:
        handle = await start(shop, Noting())
        assert (await handle.query(Seen()))[:2] == before
        assert (await handle.result())[:2] == before
    assert world.log == "a, b, b"


async def test_w2_random_uuid_and_now_come_from_the_record(virtual_clock: VirtualClock) -> None:
    lives: list[list[Any]] = []

    async def code(flow: Any) -> Any:
        seen: list[Any] = []
        lives.append(seen)
        seen += [flow.random.random(), str(flow.uuid()), flow.now().isoformat()]
        await flow.sleep(1000)
        seen += [flow.random.random(), str(flow.uuid()), flow.now().isoformat()]
        await flow.step(Do("a"))
        seen.append(flow.now().isoformat())
        return seen

    world = World(virtual_clock, code, script={"a": [HANG]})
    async with world.running() as shop:
        await start(shop)
        await trio.sleep(1001)
        world.dies()
    await trio.sleep(5000)
    async with world.running() as shop:
        result = await shop.call(Flow(), timeout=None)
    first, second = lives
    assert len(first) == 6
    assert second[:6] == first == result[:6]
    assert len({*first}) == 6


async def test_w2_now_is_the_wall_clock_of_the_turn_aware_and_in_utc(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> list[Any]:
        first = flow.now()
        await flow.sleep(60)
        return [first.timestamp(), flow.now().timestamp(), str(flow.now().tzinfo)]

    world = World(virtual_clock, code)
    began = virtual_clock.now()
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == [began, began + 60, "UTC"]


async def test_w2_two_workflows_draw_from_different_sources(virtual_clock: VirtualClock) -> None:
    async def code(flow: Any) -> float:
        return float(flow.random.random())

    world = World(virtual_clock, code)
    async with world.running() as shop:
        drawn = [await shop.call(Flow(f"w{number}")) for number in range(5)]
    assert len(set(drawn)) == 5


async def test_w2_from_every_cut_of_the_journal_the_code_sees_the_same_as_live(
    virtual_clock: VirtualClock,
) -> None:
    lives: list[list[Any]] = []

    async def code(flow: Any) -> list[Any]:
        seen: list[Any] = []
        lives.append(seen)

        async def branch(what: str) -> None:
            seen.append(await flow.step(Do(what)))
            seen.append(await flow.step(Pack(what)))

        seen += [flow.items, str(flow.uuid())]
        await flow.gather(branch("a"), branch("b"), flow.step(Do("c"), undo=Undo("c")))
        try:
            await flow.step(Do("short"))
        except OutOfStock as refusal:
            seen += [type(refusal).__name__, refusal.item, refusal.left]
        seen.append(await flow.race(flow.step(Do("d"), undo=Undo("d")), flow.sleep(5)))
        signal = await flow.receive(Tell, timeout=5)
        seen += [None if signal is None else signal.text, flow.random.random()]
        return seen

    whole = World(virtual_clock, code, script={"short": [OutOfStock("s", 2)], "d": [HANG]})
    async with whole.running() as shop:
        result = await shop.call(Flow(), timeout=None)
    live = lives[0]
    assert live == result
    lengths: list[int] = []
    for commits in range(1, whole.journal.commits):
        lives.clear()
        hang = ("a", "b", "c", "d", "short", "pack a", "pack b")
        world = World(virtual_clock, code, script={what: [HANG] * 5 for what in hang})
        world.journal = whole.journal.copy(commits)
        async with world.running() as shop:
            await start(shop)
        assert lives[0] == live[: len(lives[0])]
        lengths.append(len(lives[0]))
    assert lengths == sorted(lengths)
    assert lengths[0] == 2 and len(live) - lengths[-1] <= 2


def test_w2_a_workflow_that_does_not_run_has_neither_clock_nor_chance() -> None:
    flow = Flow()
    for read in (flow.now, flow.uuid, lambda: flow.random, lambda: flow.step(Do("a"))):
        with pytest.raises(RuntimeError, match="is a message"):
            read()
