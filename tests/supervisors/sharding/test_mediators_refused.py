"""What is told to those who have mediators in shards or pools and ask for what they cannot be."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from actors import Actor, Call, System, handles
from mediators import Mediator
from supervisors import Child, NoKey, Pool, Shards
from tests.mediators.sharded_shop import shop


@attrs.frozen
class Pay(Call[str]):
    """About no workflow."""

    who: str


class Till(Actor):
    """A component."""

    @handles
    def pay(self, msg: Pay) -> str:
        return f"{msg.who} paid"


class Desk(Mediator):
    """Without workflows."""

    components = [Child(Till)]


@pytest.mark.parametrize("keywords", [{"idle": 60}, {"idle": 60, "each": "shard"}], ids=repr)
def test_a_mediator_of_a_shard_is_never_idle(keywords: Any) -> None:
    text = (
        "Desk is a mediator: there is one for each shard, and it stays; idle is for the actors of "
        "keys. Got: 60"
    )
    with pytest.raises(ValueError, match=text):
        Shards(Child(Desk), **keywords)


def test_mediators_of_shards_are_in_processes_where_processes_are_asked_for() -> None:
    with pytest.raises(ValueError, match=r"processes=: how many .* shards are spread over. Got: "):
        Shards(Child(Desk, isolation="process"))
    assert Shards(Child(Desk, isolation="process"), processes=2)


async def test_a_message_about_no_workflow_needs_a_key(system: System) -> None:
    shards = await system.start(Shards(Child(Desk), count=2))
    text = r"^Pay is about no workflow, and these Shards have no key=\. Got: Pay\(who='me'\)$"
    with pytest.raises(NoKey, match=text):
        await shards.call(Pay("me"))
    shards = await system.start(Shards(Child(Desk), count=2, key="who"))
    assert await shards.call(Pay("me")) == "me paid"


def test_mediators_with_workflows_are_no_workers_of_a_pool() -> None:
    with pytest.raises(ValueError, match=r"have one journal: use Shards for .*\. Got: Child\("):
        Pool(Child(shop()))


async def test_mediators_without_workflows_are_workers_like_others(system: System) -> None:
    pool = await system.start(Pool(Child(Desk), max=2))
    assert await pool.call(Pay("me")) == "me paid"
