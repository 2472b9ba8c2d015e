"""L. Elixir's partition supervisor; here `Shards`, which is one of them and more."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import Any

import attrs
import pytest

from actors import Actor, Call, NoSuchActor, Ref, System, handles
from supervisors import (
    Child,
    CountChildren,
    GetShards,
    Resize,
    Shards,
    Supervisor,
    WhichChildren,
    one_for_one,
)
from supervisors.sharding.policy import shard_of_key


@attrs.frozen
class WhoAreYou(Call["tuple[str, int]"]):
    """The key of whoever answers, and a number that no other incarnation has."""

    key: Any


class Agent(Actor):
    """One for each key."""

    @handles
    def tell(self, msg: WhoAreYou) -> tuple[str, int]:
        return self.ref.id, id(self)


def agents(**keywords: Any) -> Shards[Agent]:
    return Shards(Agent, **{"key": "key", "count": 16, **keywords})


async def test_L2_the_same_key_always_reaches_the_same_child(system: System) -> None:
    shards = await system.start(agents())
    keys = [f"key-{number}" for number in range(100)]
    first = {key: await shards.call(WhoAreYou(key)) for key in keys}
    assert [own for own, _ in first.values()] == keys
    assert len({number for _, number in first.values()}) == 100
    assert first == {key: await shards.call(WhoAreYou(key)) for key in reversed(keys)}


@pytest.mark.parametrize(
    "keywords",
    [
        {"key": None},
        {"key": 3},
        {"count": 0},
        {"count": -1},
        {"count": 1.5},
        {"processes": 0},
        {"each": "partition"},
        {"with_arguments": None},
    ],
    ids=repr,
)
def test_L5_what_cannot_be_is_refused(keywords: dict[str, Any]) -> None:
    with pytest.raises((TypeError, ValueError)):
        agents(**keywords)
    with pytest.raises(TypeError):
        Shards()  # type: ignore[call-arg]


async def test_L6_children_are_numbered(system: System) -> None:
    shards = await system.start(agents())
    await shards.call(Resize(3))
    ids = [each.id for each in await shards.call(WhichChildren())]
    assert ids == ["host-1", "host-2", "host-3"]


async def test_L7_children_are_counted(system: System) -> None:
    """Those of a router are hosts, and hosts supervise."""
    shards = await system.start(agents())
    await shards.call(Resize(3))
    counts = await shards.call(CountChildren())
    assert (counts.active, counts.supervisors, counts.workers) == (3, 3, 0)


async def test_L8_an_unknown_name_is_nobodys(system: System) -> None:
    assert system.whereis("partitions") is None
    shards = await system.start(agents(name="partitions", restart="temporary"))
    assert system.whereis("partitions") is shards
    await shards.stop()
    assert system.whereis("partitions") is None
    with pytest.raises(NoSuchActor):
        await shards.call(GetShards())


async def hosts(shards: Ref[Any]) -> Counter[str]:
    """How many shards each host has."""
    info = await shards.call(GetShards())
    return Counter({each.id: len(each.shards) for each in info.hosts})


async def test_L9_after_a_resize_keys_are_spread_over_so_many_children(system: System) -> None:
    shards = await system.start(agents())
    before = await shards.call(WhoAreYou("a key"))
    for count in (4, 2, 7, 1):
        await shards.call(Resize(count))
        found = await hosts(shards)
        assert len(found) == count
        assert found.total() == 16
        assert max(found.values()) - min(found.values()) <= 1
        assert (await shards.call(CountChildren())).active == count
        assert (await shards.call(WhoAreYou("a key")))[0] == before[0]


def test_L10_there_is_no_resize_to_nothing() -> None:
    with pytest.raises(ValueError, match="hosts is an int of 1 or more. Got: 0"):
        Resize(0)


async def test_L12_stop_is_synchronous(system: System) -> None:
    shards = await system.start(agents(name="partitions", restart="temporary"))
    await shards.call(WhoAreYou("a key"))
    found = system.whereis("partitions")
    assert found is not None
    await found.stop()
    assert shards.state == "gone"


async def test_L13_the_id_is_that_of_the_child_or_given(system: System) -> None:
    assert agents().label == "Agent"
    assert agents(id="partitions").label == "partitions"
    tree: Ref[Supervisor] = await system.start(
        one_for_one(agents(), agents(id="partitions", name="by name"))
    )
    assert [each.id for each in await tree.call(WhichChildren())] == ["Agent", "partitions"]


def test_L14_the_shard_of_a_key_is_the_same_in_every_process() -> None:
    """Python's own hash of a text is another in each."""
    keys = [f"key-{number}" for number in range(50)]
    code = (
        "from supervisors.sharding.policy import shard_of_key; "
        f"print([shard_of_key(key, 64) for key in {keys!r}], hash('key'))"
    )
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(told) == 2
    here = str([shard_of_key(key, 64) for key in keys])
    assert all(each.startswith(here) for each in told)


async def test_L9_a_resize_begins_with_a_child(system: System) -> None:
    shards = await system.start(Shards(Child(Agent), key="key"))
    assert (await hosts(shards)) == Counter({"host-1": 64})
