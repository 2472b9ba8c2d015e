"""N. Registry: here, the names of places and the groups of a system."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

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
    defers,
    end,
    forever,
    outcome,
    raises,
)

Start: TypeAlias = Callable[[System, str], Awaitable[Ref[Any]]]


async def unsupervised(system: System, name: str) -> Ref[Any]:
    return await system.start(Recorder, name=name)


async def supervised(system: System, name: str) -> Ref[Any]:
    return await system.start(Child(Recorder, name=name, restart="temporary"))


STARTS = pytest.mark.parametrize("start", [unsupervised, supervised])


@STARTS
@pytest.mark.parametrize("starter", ["the body", "the owner", "another actor"])
async def test_N1_a_name_has_one_owner(system: System, start: Start, starter: str) -> None:
    owner = await start(system, "ledger")
    other = await system.start(Recorder)

    async def second(_: object = None) -> StartFailed:
        with pytest.raises(StartFailed, match="'ledger' belongs to") as failed:
            await start(system, "ledger")
        return failed.value

    if starter == "the body":
        error = await second()
    else:
        error = await (owner if starter == "the owner" else other).call(Run(second))
    assert error.ref == owner
    assert system.whereis("ledger") == owner
    assert list(system.registry) == ["ledger"]


@STARTS
@pytest.mark.parametrize("exit", EXITS)
async def test_N4_names_and_memberships_vanish_with_their_owner(
    system: System, start: Start, exit: Exit
) -> None:
    owner = await start(system, "ledger")
    for group in ("feeds", "sinks"):
        system.groups.join(group, owner)
    await end(owner, exit)
    await wait_all_tasks_blocked()
    assert system.whereis("ledger") is None
    assert system.groups.members("feeds") == system.groups.members("sinks") == []
    assert len(system.registry) == 0


async def by_wait(owner: Ref[Any], exit: Exit) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end, owner, exit)
        await owner.wait()
        nursery.cancel_scope.cancel()


async def by_stop(owner: Ref[Any], exit: Exit) -> None:
    await owner.stop(exit)


async def by_a_lost_call(owner: Ref[Any], exit: Exit) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(end, owner, exit)
        with pytest.raises(ActorDied):
            await owner.call(defers([]))
        nursery.cancel_scope.cancel()


@STARTS
@pytest.mark.parametrize(
    ("told", "exit"),
    [
        (by_wait, Normal()),
        (by_wait, Killed()),
        (by_wait, Crashed(BOOM)),
        (by_stop, Normal()),
        (by_stop, Killed()),
    ],
)
async def test_N5_who_hears_of_the_end_can_have_the_name(
    system: System,
    start: Start,
    told: Callable[[Ref[Any], Exit], Awaitable[None]],
    exit: Exit,
) -> None:
    """No clean-up stands between the end and the next owner, however often it is tried."""
    for _ in range(20):
        owner = await start(system, "ledger")
        await told(owner, exit)
        heir = await system.start(Recorder, name="ledger")
        assert system.whereis("ledger") == heir != owner
        await heir.stop()


class Heir(Actor):
    """Takes the name of the actor it watches when it hears of its end."""

    def __init__(self, log: Log) -> None:
        self.log = log

    @handles
    async def inherit(self, message: Down) -> None:
        self.log.append(await self.system.start(Recorder, name="ledger"))


@STARTS
@pytest.mark.parametrize("exit", [Normal(), Killed(), Crashed(BOOM)])
async def test_N5_who_gets_the_down_can_have_the_name(
    system: System, start: Start, exit: Exit
) -> None:
    log: Log = []
    heir = await system.start(Heir, log)
    for number in range(20):
        owner = await start(system, "ledger")
        owner.monitor(heir)
        await end(owner, exit)
        await wait_all_tasks_blocked()
        assert len(log) == number + 1
        assert system.whereis("ledger") == log[-1]
        await log[-1].stop()


@pytest.mark.parametrize("exit", EXITS)
async def test_N6_nobody_finds_the_dead(system: System, exit: Exit) -> None:
    owner = await system.start(Recorder, name="ledger")
    system.groups.join("feeds", owner)
    seen: list[object] = []

    async def look() -> None:
        await owner.wait()
        seen.extend((system.whereis("ledger"), *system.groups.members("feeds")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(look)
        await wait_all_tasks_blocked()
        await end(owner, exit)
    assert seen == [None]
    system.groups.join("feeds", owner)
    assert system.groups.members("feeds") == []


async def test_N6_a_restarted_actor_is_found_all_the_time(system: System) -> None:
    """K12: a name belongs to a place. It stays while the place waits for its next tenant."""
    child = Child(Recorder, name="ledger", backoff=Backoff(2.0, 2.0, jitter=0.0))
    ref = await system.start(child)
    system.groups.join("feeds", ref)
    await end(ref, Crashed(BOOM))
    await wait_all_tasks_blocked()
    assert ref.state == "restarting"
    assert system.whereis("ledger") == ref
    assert system.groups.members("feeds") == [ref]
    assert await ref.call(Ask("back")) == "back"
    assert ref.incarnation == 2
    assert trio.current_time() == 2.0


async def test_N7_one_leaves_for_oneself_only(system: System) -> None:
    first, second = await system.start(Recorder), await system.start(Recorder)
    for ref in (first, second):
        system.groups.join("feeds", ref)
        system.groups.join("sinks", ref)
    system.groups.leave("feeds", first)
    assert system.groups.members("feeds") == [second]
    assert system.groups.members("sinks") == [first, second]


async def test_N7_leaving_what_one_is_not_in_is_no_error(system: System) -> None:
    ref = await system.start(Recorder)
    system.groups.leave("nothing", ref)
    system.groups.join("feeds", ref)
    system.groups.leave("feeds", ref)
    system.groups.leave("feeds", ref)
    assert system.groups.members("feeds") == []


async def test_N9_publishing_reaches_each_member_once(system: System) -> None:
    first, second, outside = [system.probe() for _ in range(3)]
    for probe in (first, second, first):
        system.groups.join("feeds", probe.ref)
    assert system.groups.publish("feeds", Note("news")) == 2
    await wait_all_tasks_blocked()
    assert first.received == second.received == [Note("news")]
    assert outside.received == []


async def test_N9_publishing_to_nobody_does_nothing(system: System) -> None:
    letters = dead_letters(system)
    assert system.groups.publish("feeds", Note("news")) == 0
    await wait_all_tasks_blocked()
    assert letters == []


async def test_N10_a_member_that_cannot_take_it_is_no_error_of_the_publisher(
    system: System,
) -> None:
    """Nothing of the publisher's runs: members handle the message in their own turns. A full
    mailbox is a dead letter, and the others still get it."""
    letters = dead_letters(system)
    busy = await system.start(Child(Recorder, mailbox=1))
    probe = system.probe()
    busy.cast(Note())
    for ref in (busy, probe.ref):
        system.groups.join("feeds", ref)
    assert system.groups.publish("feeds", Note("news")) == 1
    await wait_all_tasks_blocked()
    assert probe.received == [Note("news")]
    assert [(each.ref, each.message) for each in letters] == [(busy, Note("news"))]


async def test_N10_what_is_no_ref_cannot_join(system: System) -> None:
    wrong: Any = "ledger"
    with pytest.raises(TypeError, match="Got: 'feeds', 'ledger'"):
        system.groups.join("feeds", wrong)


async def test_N12_a_membership_lasts_as_long_as_its_place(system: System) -> None:
    """Instead of links: joining watches nothing and leaves nothing behind."""
    ref = await system.start(Recorder)
    for _ in range(3):
        system.groups.join("feeds", ref)
    system.groups.leave("feeds", ref)
    assert system.groups.members("feeds") == []
    system.groups.join("feeds", ref)
    await ref.stop()
    assert system.groups.members("feeds") == []
    assert system.groups.publish("feeds", Note()) == 0


async def test_N13_a_name_means_nothing_in_another_system(system: System) -> None:
    """There is one registry per system, and it needs no name."""
    ref = await system.start(Recorder, name="ledger")
    system.groups.join("feeds", ref)
    async with open_system(watchdog=None) as other:
        assert other.whereis("ledger") is None
        assert other.groups.members("feeds") == []
        assert await other.start(Recorder, name="ledger") != ref
    assert system.whereis("ledger") == ref


async def test_N16_a_group_is_no_address(system: System) -> None:
    ref = await system.start(Recorder)
    system.groups.join("feeds", ref)
    assert system.whereis("feeds") is None
    other = await system.start(Recorder, name="feeds")
    assert system.whereis("feeds") == other
    assert system.groups.members("feeds") == [ref]


async def test_N17_names_and_members_are_counted(system: System) -> None:
    assert len(system.registry) == len(system.groups.members("feeds")) == 0
    refs = [await system.start(Recorder, name=name) for name in ("a", "b", "c")]
    await system.start(Recorder)
    for ref in refs[:2]:
        system.groups.join("feeds", ref)
    assert len(system.registry) == 3
    assert len(system.groups.members("feeds")) == 2
    await refs[0].stop()
    assert len(system.registry) == 2
    assert len(system.groups.members("feeds")) == 1


async def test_N20_all_names_are_listed_in_the_order_they_were_taken(system: System) -> None:
    """Instead of a match language: an iterator, filtered as usual."""
    for name in ("beta", "alpha", "gamma"):
        await system.start(Recorder, name=name)
    assert list(system.registry) == ["beta", "alpha", "gamma"]
    assert [name for name in system.registry if name < "beta"] == ["alpha"]


@pytest.mark.parametrize("name", ["_", "*", "$1", "%", ".*", "None", "ledger?"])
async def test_N21_a_name_is_taken_literally(system: System, name: str) -> None:
    other = await system.start(Recorder, name="ledger")
    ref = await system.start(Recorder, name=name)
    system.groups.join(name, ref)
    system.groups.join("feeds", other)
    assert system.whereis(name) == ref
    assert system.whereis("ledger") == other
    assert system.groups.members(name) == [ref]


async def nap(actor: Recorder) -> None:
    actor.log.append("in")
    await trio.sleep(1)
    actor.log.append("out")


@pytest.mark.parametrize(("keys", "seconds"), [(("a", "a"), 2.0), (("a", "b"), 1.0)])
async def test_N23_an_actor_is_the_lock_of_its_key(
    system: System, keys: tuple[str, str], seconds: float
) -> None:
    """Instead of locks: the turns of one actor exclude each other, those of two do not."""
    log: Log = []
    locks = {key: await system.start(Recorder, log) for key in sorted(set(keys))}
    async with trio.open_nursery() as nursery:
        for key in keys:
            nursery.start_soon(locks[key].call, Run(nap))
    assert trio.current_time() == seconds
    assert log == (["in", "out"] * 2 if seconds == 2.0 else ["in", "in", "out", "out"])


@pytest.mark.parametrize("error", [Refusal("no"), BOOM])
async def test_N24_an_exception_ends_the_turn_of_its_holder(
    system: System, error: Exception
) -> None:
    ref = await system.start(Child(Recorder))
    results: Log = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, ref, Do(raises(error)), results)
        await wait_all_tasks_blocked()
        assert await ref.call(Ask("next")) == "next"
    assert error in (results[0], results[0].__cause__)


async def test_N25_so_does_a_kill(system: System) -> None:
    """K12: what waits behind the killed turn is handled by the next tenant."""
    ref = await system.start(Child(Recorder))
    results: Log = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(outcome, ref, Run(forever), results)
        await wait_all_tasks_blocked()
        nursery.start_soon(outcome, ref, Ask("next"), results)
        await wait_all_tasks_blocked()
        await ref.stop(Killed())
    assert isinstance(results[0], ActorDied)
    assert results[0].exit == Killed()
    assert results[1] == "next"
