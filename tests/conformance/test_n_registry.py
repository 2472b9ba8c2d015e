"""N. Registry: here, the names of places and the groups of a system."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Crashed,
    Down,
    Exit,
    Killed,
    Normal,
    Ref,
    Refusal,
    StartFailed,
    System,
    handles,
    open_system,
)
from actors.testing import dead_letters
from supervisors import Backoff, Child
from tests.conformance.recorders import (
    BOOM,
    EXITS,
    Ask,
    Do,
    Log,
    Note,
    Recorder,
    Run,
    end,
    outcome,
    raises,
)


def unsupervised(name: str) -> tuple[type[Recorder], dict[str, Any]]:
    return Recorder, {"name": name}


def supervised(name: str) -> tuple[Child[Recorder], dict[str, Any]]:
    return Child(Recorder, name=name, restart="temporary"), {}


BOTH = pytest.mark.parametrize("what", [unsupervised, supervised])


async def start(system: System, what: Any, name: str) -> Ref[Any]:
    actor, keywords = what(name)
    ref: Ref[Any] = await system.start(actor, **keywords)
    return ref


@BOTH
@pytest.mark.parametrize("starter", ["the body", "the owner", "another actor"])
async def test_N1_a_name_has_one_owner(system: System, what: Any, starter: str) -> None:
    owner = await start(system, what, "ledger")
    other = await system.start(Recorder)

    async def second(_: object = None) -> StartFailed:
        with pytest.raises(StartFailed, match="'ledger' belongs to") as failed:
            await start(system, what, "ledger")
        return failed.value

    if starter == "the body":
        error = await second()
    else:
        error = await (owner if starter == "the owner" else other).call(Run(second))
    assert error.ref == owner
    assert system.whereis("ledger") == owner
    assert list(system.registry) == ["ledger"]


@BOTH
@pytest.mark.parametrize("exit", EXITS)
async def test_N4_names_and_memberships_vanish_with_their_owner(
    system: System, what: Any, exit: Exit
) -> None:
    owner = await start(system, what, "ledger")
    for group in ("feeds", "sinks"):
        system.groups.join(group, owner)
    await end(owner, exit)
    await wait_all_tasks_blocked()
    assert system.whereis("ledger") is None
    assert system.groups.members("feeds") == system.groups.members("sinks") == []
    assert len(system.registry) == 0


class Heir(Actor):
    """Takes the name of the actor it watches, as soon as it hears of its end."""

    def __init__(self, log: Log) -> None:
        self.log = log

    @handles
    async def inherit(self, message: Down) -> None:
        self.log.append(await self.system.start(Recorder, name="ledger"))


@BOTH
@pytest.mark.parametrize("exit", [Normal(), Killed(), Crashed(BOOM)])
@pytest.mark.parametrize("told_by", ["wait", "stop", "Down", "ActorDied"])
async def test_N5_who_hears_of_the_end_can_have_the_name(
    system: System, what: Any, exit: Exit, told_by: str
) -> None:
    """No clean-up stands between the end and the next owner, however often it is tried."""
    log: Log = []
    for _ in range(20):
        owner = await start(system, what, "ledger")
        if told_by == "Down":
            heir = await system.start(Heir, log)
            await heir.call(Do(lambda self: self.monitor(owner))) if False else None
            owner.monitor(heir)
        async with trio.open_nursery() as nursery:
            if told_by in ("wait", "Down"):
                nursery.start_soon(end, owner, exit)
            if told_by == "wait":
                await owner.wait()
            elif told_by == "stop":
                await owner.stop(exit)
            elif told_by == "ActorDied":
                nursery.start_soon(end, owner, exit)
                with pytest.raises(ActorDied):
                    await owner.call(Do(lambda self: self.later()))
            if told_by != "Down":
                log.append(await system.start(Recorder, name="ledger"))
        await wait_all_tasks_blocked()
        assert system.whereis("ledger") == log[-1]
        assert log[-1] != owner
        await log[-1].stop()
    assert len(log) == 20
