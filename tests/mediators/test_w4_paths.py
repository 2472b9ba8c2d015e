"""W4: steps are named by path; replay compares kind, path, type and content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from actors import Actor, Call, handles
from actors.payloads.types import Types
from mediators import Status
from mediators import history as h
from mediators.execution import replay as replaying
from supervisors import Child
from tests.mediators.shops import HANG, Do, Flow, Other, Pack, Tell, Undo, World, start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors.testing import VirtualClock

    Code = Callable[[Any], Awaitable[Any]]


async def nap(*args: Any) -> str:
    return "slept"


async def another(*args: Any) -> str:
    return "slept"


async def test_w4_paths_are_branches_in_spawn_order_then_name_and_ordinal(
    virtual_clock: VirtualClock,
) -> None:
    async def branch(flow: Any) -> None:
        await flow.step(Do("b"))
        await flow.gather(flow.step(Do("c")), flow.effect(nap))

    async def code(flow: Any) -> None:
        await flow.step(Do("a"))
        await flow.gather(branch(flow), flow.step(Pack("d")))
        await flow.race(flow.sleep(100), flow.receive(Tell), flow.step(Do("e")))
        await flow.child(Other())

    async def other(flow: Any) -> None:
        await flow.step(Do("f"))

    world = World(virtual_clock, code, other=other)
    async with world.running() as shop:
        await shop.call(Flow(), timeout=None)
    paths = {getattr(each, "path", "") for each in world.events()}
    assert paths - {""} == {
        "Do.1",
        "gather.2",
        "gather.2/1/Do.1",
        "gather.2/1/gather.2",
        "gather.2/1/gather.2/1/Do.1",
        "gather.2/1/gather.2/2/nap.1",
        "gather.2/2/Pack.1",
        "race.3",
        "race.3/1/sleep.1",
        "race.3/2/receive.1",
        "race.3/3/Do.1",
        "Other.4",
    }
    assert "w/1/gather.2/1/gather.2/1/Do.1" in world.keys
    assert "other/1/Do.1" in world.keys


async def test_w4_the_paths_of_branches_do_not_depend_on_who_is_answered_first(
    virtual_clock: VirtualClock,
) -> None:
    async def branch(flow: Any, what: str) -> None:
        await flow.step(Do(what))
        await flow.step(Pack(what))

    async def code(flow: Any) -> None:
        await flow.gather(branch(flow, "a"), branch(flow, "b"))

    keys: list[set[str | None]] = []
    for order in ("ab", "ba"):
        world = World(virtual_clock, code, script={"a": [HANG], "b": [HANG]})
        async with world.running() as shop:
            handle = await start(shop)
            for what in order:
                await world.answer(what)
            await handle.result()
        assert world.done[2:] == [f"pack {each}" for each in order]
        keys.append({*zip(world.done, world.keys, strict=True)})  # type: ignore[arg-type]
    assert keys[0] == keys[1]


# -- what replay compares


def one(command: Callable[[Any], Any]) -> Code:
    """Code that gives one command, and waits for a signal."""

    async def code(flow: Any) -> None:
        await command(flow)
        await flow.receive(Undo)

    return code


def gathered(*whats: str) -> Code:
    return one(lambda flow: flow.gather(*(flow.step(Do(each)) for each in whats)))


DIFFERENT: dict[str, tuple[Code, Code, str]] = {
    "content": (one(lambda f: f.step(Do("a"))), one(lambda f: f.step(Do("z"))), "Do.1"),
    "type": (one(lambda f: f.step(Do("a"))), one(lambda f: f.step(Undo("a"))), "Undo.1"),
    "kind": (one(lambda f: f.step(Do("a"))), one(lambda f: f.sleep(1)), "sleep.1"),
    "effect": (one(lambda f: f.effect(nap)), one(lambda f: f.effect(another)), "another.1"),
    "arguments": (one(lambda f: f.effect(nap, 1)), one(lambda f: f.effect(nap, 2)), "nap.1"),
    "signal": (one(lambda f: f.receive(Tell)), one(lambda f: f.receive(Do)), "receive.1"),
    "child": (one(lambda f: f.child(Other())), one(lambda f: f.child(Other("x"))), "Other.1"),
    "fewer": (gathered("a", "b"), gathered("a"), "gather.1"),
    "branches": (gathered("a", "b"), gathered("b", "a"), "gather.1/1/Do.1"),
    "fork": (
        one(lambda f: f.gather(f.step(Do("a")))),
        one(lambda f: f.race(f.step(Do("a")))),
        "race.1",
    ),
    "nothing": (one(lambda f: f.step(Do("a"))), one(lambda f: f.race(f.receive(Tell))), "race.1"),
}


@pytest.mark.parametrize("case", DIFFERENT)
async def test_w4_another_command_than_recorded_is_told_with_both(
    virtual_clock: VirtualClock, case: str
) -> None:
    recorded, came, path = DIFFERENT[case]
    hang = {what: [HANG] for what in ("a", "b", "f")}
    world = World(virtual_clock, recorded, other=one(lambda f: f.step(Do("f"))), script=hang)
    async with world.running() as shop:
        await start(shop)
        world.dies()
    world.code = came
    world.script = {what: [HANG] * 2 for what in ("a", "b", "f", "z")}
    done = [*world.done]
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.PAUSED
        (incident,) = await handle.incidents()
    assert incident.path == path
    assert incident.recorded and incident.came and incident.recorded != incident.came
    assert world.done[len(done) :] in ([], ["f"])


async def test_w4_the_same_commands_are_no_difference_whatever_their_times_and_bounds(
    virtual_clock: VirtualClock,
) -> None:
    def code(seconds: float) -> Code:
        async def run(flow: Any) -> str:
            await flow.gather(
                flow.sleep(seconds),
                flow.receive(Tell, timeout=seconds),
                flow.step(Do("a"), timeout=seconds, undo=Undo(str(seconds))),
            )
            return "done"

        return run

    world = World(virtual_clock, code(50), script={"a": [HANG]})
    async with world.running() as shop:
        await start(shop)
        world.dies()
    world.code = code(9000)
    began = virtual_clock.time
    async with world.running() as shop:
        assert await shop.call(Flow(), timeout=None) == "done"
    assert virtual_clock.time - began == pytest.approx(50)


async def test_w4_without_the_comparison_another_command_goes_unnoticed(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(virtual_clock, DIFFERENT["content"][0], script={"a": [HANG]})
    async with world.running() as shop:
        await start(shop)
        world.dies()
    world.code = DIFFERENT["content"][1]
    world.script = {"z": [HANG]}
    monkeypatch.setattr(replaying, "compare", lambda execution, expected: None)
    async with world.running() as shop:
        handle = await start(shop)
        assert await handle.status() is Status.RUNNING
    assert world.log == "a, z"


# -- decoded and upcast


@attrs.frozen
class Old(Call[str]):
    """As it was when the record was written."""

    name: str

    journal_name = "order"


@attrs.frozen
class New(Call[str]):
    """As it is today."""

    first: str
    last: str = "?"

    journal_name = "order"
    version = 2
    upcasts = {1: lambda data: {"first": data["name"], "last": "?"}}


# One class, before and after: the name is part of the path.
Old.__name__ = New.__name__ = "Order"


class OldDesk(Actor):
    """Takes them as they were."""

    @handles
    def take(self, message: Old) -> str:
        later: Any = self.later()
        answer: str = later
        return answer


class NewDesk(Actor):
    """Takes them as they are."""

    taken: list[New] = []

    @handles
    def take(self, message: New) -> str:
        self.taken.append(message)
        return message.first


async def test_w4_content_is_compared_as_decoded_and_upcast_values(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, one(lambda flow: flow.step(Old("ann"))))
    world.attributes["components"] = [Child(OldDesk)]
    async with world.running() as shop:
        await start(shop)
        world.dies()

    async def code(flow: Any) -> Any:
        return await flow.step(New("ann"))

    world.code = code
    world.attributes["components"] = [Child(NewDesk)]
    async with world.running() as shop:
        assert await shop.call(Flow()) == "ann"
    assert NewDesk.taken == [New("ann", "?")]


@attrs.frozen
class Many(Call[str]):
    """Holds what has no order, or has one that means nothing."""

    names: frozenset[str]
    prices: dict[str, float]


def test_w4_encoding_is_deterministic() -> None:
    names = [f"name-{number}" for number in range(50)]
    types = Types([Many])
    one_way = types.encode(Many(frozenset(names), {"a": 1.0, "b": 2.0}))
    other_way = types.encode(Many(frozenset(reversed(names)), {"a": 1.0, "b": 2.0}))
    assert one_way == other_way
    assert types.same_bytes(one_way, other_way)


async def test_w4_so_sets_are_the_same_again_in_a_process_with_another_hash_seed(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> None:
        await flow.effect(nap, {f"x{number}" for number in range(20)})
        await flow.receive(Tell)

    async def shuffled(flow: Any) -> str:
        await flow.effect(nap, {f"x{number}" for number in range(19, -1, -1)})
        await flow.receive(Tell)
        return "the same"

    world = World(virtual_clock, code)
    async with world.running() as shop:
        await start(shop)
        world.dies()
    world.code = shuffled
    async with world.running() as shop:
        handle = await start(shop)
        await handle.signal(Tell("go"))
        assert await handle.result() == "the same"


def test_w4_the_bytes_of_a_turn_are_the_same_for_the_same_turn() -> None:
    event = h.Intended("Do.1", "step", h.NIL)
    assert h.encode_turn(1.5, [event]) == h.encode_turn(1.5, [h.Intended("Do.1", "step", h.NIL)])
