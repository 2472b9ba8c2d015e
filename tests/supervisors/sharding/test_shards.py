"""Shards: each key has one live owner, wherever that is, and loses no message."""

from __future__ import annotations

import threading
from functools import partial
from typing import Any, ClassVar, Literal

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Idle,
    MailboxFull,
    NoSuchActor,
    Ref,
    StartFailed,
    StateMachine,
    System,
    Unhandled,
    handles,
)
from actors.testing import dead_letters
from supervisors import (
    Backoff,
    Child,
    ChildExited,
    ChildRefused,
    ChildRestarted,
    CountChildren,
    DeleteChild,
    DynamicSupervisor,
    GetShards,
    NoKey,
    Pool,
    ReplaceChild,
    Resize,
    RestartChild,
    RestartLimitExceeded,
    Shards,
    StartChild,
    StillMoving,
    StopChild,
    WhichChildren,
)
from supervisors.sharding.policy import shard_of_key
from supervisors.sharding.sharded import ShardKey, Somewhere
from supervisors.specs import face_of
from tests.supervisors.sharding.sharded import (
    Account,
    Add,
    Break,
    Denied,
    Deny,
    Hold,
    Keyless,
    Note,
    Notes,
    Owners,
    Rang,
    Wake,
    Where,
)


@pytest.fixture
def owners() -> Owners:
    return Owners()


async def start(system: System, owners: Owners, child: Any = None, **keywords: Any) -> Ref[Any]:
    keywords = {"key": "who", "count": 8, **keywords}
    return await system.start(Shards(child or Child(Account, owners), **keywords))


# -- keys


async def test_the_same_key_is_the_same_actor(system: System, owners: Owners) -> None:
    shards = await start(system, owners)
    assert [await shards.call(Add(who)) for who in ("a", "b", "a", "a", "b")] == [1, 1, 2, 3, 2]
    assert sorted(owners.alive) == ["a", "b"]
    key, path, _ = await shards.call(Where("a"))
    assert (key, path.rpartition("/")[2]) == ("a", "a")


async def test_the_key_may_be_a_function_and_a_number(system: System, owners: Owners) -> None:
    shards = await start(system, owners, key=lambda message: int(message.who))
    assert await shards.call(Add("007")) == 1
    assert await shards.call(Add("7")) == 2
    assert list(owners.alive) == ["7"]


async def test_a_message_without_a_key_is_refused(system: System, owners: Owners) -> None:
    shards = await start(system, owners)
    with pytest.raises(NoKey, match="Keyless has no 'who', its key"):
        await shards.call(Keyless())
    shards = await start(system, owners, key=lambda message: None)
    with pytest.raises(NoKey, match="The key of Add is a str or an int. Got: None"):
        await shards.call(Add("a"))


async def test_a_key_that_raises_concerns_that_message_alone(
    system: System, owners: Owners
) -> None:
    shards = await start(system, owners, key=lambda message: {"a": "A"}[message.who])
    letters = dead_letters(system)
    await shards.call(Add("a"))
    with pytest.raises(NoKey, match="The key of Add raised KeyError\\('b'\\)"):
        await shards.call(Add("b"))
    shards.cast(Note("b", "lost"))
    assert await shards.call(Add("a")) == 2
    assert [each.message for each in letters] == [Note("b", "lost")]


async def test_refusals_and_unhandled_calls_are_as_ever(system: System, owners: Owners) -> None:
    class Strange(Add): ...

    shards = await start(system, owners)
    with pytest.raises(Denied):
        await shards.call(Deny("a"))
    assert await shards.call(Strange("a")) == 1
    from tests.supervisors.pools.pool_workers import Nobodys

    with pytest.raises(Unhandled):
        await shards.call(Nobodys())


async def test_order_is_kept_for_each_key(system: System, owners: Owners) -> None:
    shards = await start(system, owners)
    for number in range(100):
        shards.cast(Note("ab"[number % 2], str(number)))
    assert await shards.call(Notes("a")) == [str(each) for each in range(0, 100, 2)]
    assert await shards.call(Notes("b")) == [str(each) for each in range(1, 100, 2)]


async def test_keys_do_not_wait_for_each_other(system: System, owners: Owners) -> None:
    shards = await start(system, owners)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shards.call, Hold("slow", 50.0), None)
        await wait_all_tasks_blocked()
        assert await shards.call(Add("quick")) == 1
        assert trio.current_time() < 1


async def test_supervisors_may_be_sharded_as_well(system: System) -> None:
    class Room(DynamicSupervisor):
        @handles
        def where(self, message: Where) -> tuple[str, str, int]:
            return self.ref.id, "", 0

    shards = await system.start(Shards(Child(Room), key="who", count=4))
    assert await shards.call(Where("a")) == ("a", "", 0)


async def test_each_key_may_have_a_pool_and_each_worker_shards(system: System) -> None:
    class Clerk(Actor):
        @handles
        def add(self, message: Add) -> int:
            return len(message.who)

    for spec in (
        Shards(Pool(Child(Clerk)), key="who", count=4),
        Pool(Shards(Child(Clerk), key="who", count=4)),
        Shards(Shards(Child(Clerk), key="who", count=2), key="who", count=4),
    ):
        ref: Ref[Any] = await system.start(spec)
        assert await ref.call(Add("abc")) == 3
        with pytest.raises(Unhandled):
            await ref.call(Deny("abc"))


async def test_a_class_may_know_the_keys_of_its_messages_and_what_runs_beside(
    system: System,
) -> None:
    class Knows(Account):
        sharded_by: ClassVar[Literal["key", "shard"]] = "key"

        @staticmethod
        def shard_key(message: Any, /) -> ShardKey | None:
            return Somewhere() if isinstance(message, Keyless) else None

        @staticmethod
        def shard_companion(spec: Child[Any], count: int, /) -> Child[Any] | None:
            return Child(Account, id=f"beside {count}")

        @handles
        def keyless(self, msg: Keyless) -> None:
            """Anyone will do."""

    shards = await system.start(Shards(Child(Knows), key="who", count=4))
    assert await shards.call(Add("a")) == 1
    await shards.call(Keyless())
    children = [each.id for each in await shards.call(WhichChildren())]
    assert children == ["beside 4", "host-1"]


# -- crashes


async def test_a_crash_concerns_its_own_key(system: System, owners: Owners) -> None:
    shards = await start(system, owners)
    await shards.call(Add("a"))
    await shards.call(Add("b"))
    with pytest.raises(ActorDied):
        await shards.call(Break("a"))
    assert await shards.call(Add("a")) == 1
    assert await shards.call(Add("b")) == 2


async def test_what_waits_at_a_crash_is_handled_after_it(system: System, owners: Owners) -> None:
    child = Child(Account, owners, backoff=Backoff(2.0, 8.0, jitter=0.0))
    shards = await start(system, owners, child)
    messages = (Hold("a", 1.0), Break("a"), Add("a"), Add("a"))
    results: list[Any] = [None] * 4

    async def ask(index: int) -> None:
        try:
            results[index] = await shards.call(messages[index], None)
        except ActorDied:
            results[index] = "died"

    began = trio.current_time()
    async with trio.open_nursery() as nursery:
        for index in range(4):
            nursery.start_soon(ask, index)
            await wait_all_tasks_blocked()
    assert results == ["a held", "died", 1, 2]
    assert trio.current_time() - began == pytest.approx(3.0)


async def test_many_crashes_are_not_the_end_of_the_host(system: System, owners: Owners) -> None:
    shards = await start(system, owners)
    for number in range(100):
        with pytest.raises(ActorDied):
            await shards.call(Break(f"key-{number}"))
    assert [each.up for each in (await shards.call(GetShards())).hosts] == [True]


async def test_an_actor_that_is_given_up_is_no_other_keys_concern(
    system: System, owners: Owners
) -> None:
    child = Child(Account, owners, backoff=Backoff(0.01, 0.1, limit=2))
    shards = await start(system, owners, child)
    letters = dead_letters(system)
    await shards.call(Add("good"))
    errors: list[type] = []

    async def ask(message: Any) -> None:
        try:
            await shards.call(message, None)
        except Exception as error:
            errors.append(type(error))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, Hold("bad", 1.0))
        await wait_all_tasks_blocked()
        for _ in range(3):
            nursery.start_soon(ask, Break("bad"))
            await wait_all_tasks_blocked()
        shards.cast(Note("bad", "lost"))
        nursery.start_soon(ask, Add("bad"))
    assert errors == [ActorDied, ActorDied, ActorDied, RestartLimitExceeded]
    assert [each.message for each in letters] == [Note("bad", "lost")]
    await trio.sleep(1)
    assert await shards.call(Add("bad")) == 1
    assert await shards.call(Add("good")) == 2


class Fragile(Actor):
    """Does not come up."""

    def __init__(self) -> None:
        raise RuntimeError("not today")

    @handles
    def add(self, msg: Add) -> int:
        return 1


async def test_who_asked_for_an_actor_that_does_not_start_is_told_why(system: System) -> None:
    shards = await system.start(Shards(Child(Fragile), key="who", count=4))
    for _ in range(2):
        with pytest.raises(StartFailed, match="not today"):
            await shards.call(Add("a"))


async def test_what_becomes_of_an_actor_is_reported(
    system: System, owners: Owners, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "supervisors")
    child = Child(Account, owners, backoff=Backoff(1.0, 1.0, jitter=0.0))
    shards = await start(system, owners, child)
    (host,) = await shards.call(WhichChildren())
    events: list[Any] = []
    system.telemetry.listen(events.append, ChildExited, ChildRestarted)
    await shards.call(Add("a"))
    (account,) = await host.ref.call(WhichChildren())
    assert (account.restarts, events) == (0, [])
    assert "child 'a' started" in caplog.text
    shards.cast(Break("a"))
    assert await shards.call(Add("a")) == 1
    (again,) = await host.ref.call(WhichChildren())
    assert (again.ref, again.restarts) == (account.ref, 1)
    assert [type(each).__name__ for each in events] == ["ChildExited", "ChildRestarted"]
    assert events[1] == ChildRestarted(host.ref, account.ref, 1)
    assert "child 'a' is up again" in caplog.text


async def test_a_first_start_that_fails_is_no_failed_restart(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    shards = await system.start(Shards(Child(Fragile), key="who", count=4))
    with pytest.raises(StartFailed):
        await shards.call(Add("a"))
    assert "child 'a' did not start: " in caplog.text
    assert "again" not in caplog.text


# -- passivation


async def test_who_is_idle_leaves_and_comes_back_with_the_next_message(
    system: System, owners: Owners
) -> None:
    shards = await start(system, owners, idle=10.0)
    await shards.call(Add("a"))
    await trio.sleep(9)
    await shards.call(Add("b"))
    await trio.sleep(5)
    assert owners.log == ["+a", "+b", "-a"]
    await trio.sleep(10)
    assert owners.alive == {}
    assert await shards.call(Add("a")) == 1


async def test_who_has_something_to_do_is_not_idle(system: System, owners: Owners) -> None:
    shards = await start(system, owners, idle=5.0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shards.call, Hold("busy", 40.0), None)
        await shards.call(Wake("timer", 41.0))
        await trio.sleep(30)
        assert sorted(owners.alive) == ["busy", "timer"]
    await trio.sleep(2)
    assert await shards.call(Notes("timer")) == ["rang"]
    await trio.sleep(20)
    assert owners.alive == {}


class Door(StateMachine):
    """Shuts by itself."""

    initial = "shut"

    def __init__(self, owners: Owners) -> None:
        self.owners = owners

    def on_start(self) -> None:
        self.owners.began(self)

    def on_stop(self, exit: Any) -> None:
        self.owners.ended(self)

    @handles(state="shut")
    def open(self, msg: Add) -> int:
        self.become("open")
        self.state_timeout(20.0, Rang())
        return 1

    @handles(state="open")
    def shut(self, msg: Rang) -> None:
        self.owners.log.append("shut")
        self.become("shut")


class Dozing(Account):
    """Notes that it was idle."""

    async def on_start(self) -> None:
        await super().on_start()
        self.idle_after(20.0)

    @handles
    def dozes(self, msg: Idle) -> None:
        assert self.owners is not None
        self.owners.log.append("idle")


@pytest.mark.parametrize(("cls", "noted"), [(Door, "shut"), (Dozing, "idle")])
async def test_who_waits_for_a_timeout_is_not_idle(
    system: System, owners: Owners, cls: Any, noted: str
) -> None:
    shards = await start(system, owners, Child(cls, owners), idle=1.0)
    await shards.call(Add("a"))
    await trio.sleep(30)
    assert owners.log == ["+a", noted, "-a"]


class Slow(Account):
    """Takes its time to leave."""

    async def on_stop(self, exit: Any) -> None:
        await trio.sleep(1.0)
        await super().on_stop(exit)


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_who_leaves_loses_no_message_however_it_is_restarted(
    system: System, owners: Owners, restart: Any
) -> None:
    shards = await start(system, owners, Child(Slow, owners, restart=restart), idle=1.0, count=2)
    await shards.call(Add("a"))
    await trio.sleep(1.5)
    assert await shards.call(Add("a")) == 1
    key = next(f"key-{n}" for n in range(100) if shard_of_key(f"key-{n}", 2) == 1)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shards.call, Hold(key, 1.0), None)
        await wait_all_tasks_blocked()
        shards.cast(Note(key, "waits"))
        await shards.call(Resize(2), None)
    assert await shards.call(Notes(key)) == ["waits"]


async def test_who_is_temporary_is_not_started_again_for_what_waits(
    system: System, owners: Owners
) -> None:
    shards = await start(system, owners, Child(Account, owners, restart="temporary"))
    errors: list[type] = []

    async def ask(message: Any) -> None:
        try:
            await shards.call(message)
        except Exception as error:
            errors.append(type(error))

    async with trio.open_nursery() as nursery:
        for message in (Hold("a", 1.0), Break("a"), Add("a")):
            nursery.start_soon(ask, message)
            await wait_all_tasks_blocked()
    assert errors == [ActorDied, NoSuchActor]
    assert await shards.call(Add("a")) == 1


class Clumsy(Account):
    """Falls at its first leaving."""

    async def on_stop(self, exit: Any) -> None:
        await super().on_stop(exit)
        await trio.sleep(1.0)
        assert self.owners is not None
        if self.owners.log.count("-a") == 1:
            raise RuntimeError("not again")


async def test_who_falls_while_it_leaves_can_leave_again(system: System, owners: Owners) -> None:
    shards = await start(system, owners, Child(Clumsy, owners), idle=1.0)
    await shards.call(Add("a"))
    await trio.sleep(1.5)
    assert owners.log == ["+a", "-a"]
    assert await shards.call(Add("a"), None) == 1
    await trio.sleep(10)
    assert owners.log == ["+a", "-a", "+a", "-a"]


async def test_passivation_loses_no_message(system: System, owners: Owners) -> None:
    """Messages come all the time, also while their actor is leaving."""
    shards = await start(system, owners, Child(Slow, owners), idle=1.0)
    answered = 0
    for _ in range(60):
        async with trio.open_nursery() as nursery:
            for who in "abc":
                nursery.start_soon(shards.call, Add(who), None)
        answered += 3
        await trio.sleep(0.7 + answered % 5 * 0.2)
    assert answered == 180
    assert owners.log.count("-a") > 5


# -- moving


async def test_shards_move_and_keys_do_not(system: System, owners: Owners) -> None:
    """The table changes, and with it the host of a key; its shard never."""
    shards = await start(system, owners, count=12)
    keys = [f"key-{number}" for number in range(60)]
    for hosts in (3, 2, 5, 1, 12):
        await shards.call(Resize(hosts))
        info = await shards.call(GetShards())
        assert len(info.hosts) == hosts and info.moving == ()
        sizes = [len(each.shards) for each in info.hosts]
        assert max(sizes) - min(sizes) <= 1
        where = {}
        for key in keys:
            await shards.call(Add(key))
            where[key] = (await shards.call(Where(key)))[1].split("/")[-2]
        assert len(set(where.values())) == hosts
        owned = {each.id: each.shards for each in info.hosts}
        assert all(shard_of_key(key, 12) in owned[host] for key, host in where.items())
        assert (await shards.call(CountChildren())).active == hosts


async def test_messages_wait_while_their_shard_moves_and_keep_their_order(
    system: System, owners: Owners
) -> None:
    shards = await start(system, owners, Child(Slow, owners), count=4)
    keys = [f"key-{number}" for number in range(20)]
    for key in keys:
        shards.cast(Note(key, "0"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(shards.call, Resize(4), None))
        for number in range(1, 40):
            for key in keys:
                shards.cast(Note(key, str(number)))
            await trio.sleep(0.1)
    for key in keys:
        notes = await shards.call(Notes(key))
        # Whoever was stopped has forgotten what it was told before; nothing is missing since.
        assert notes == [str(number) for number in range(int(notes[0]), 40)]
        assert int(notes[0]) <= 1


async def test_no_more_is_held_for_a_moving_shard_than_may_queue(
    system: System, owners: Owners
) -> None:
    shards = await start(system, owners, Child(Slow, owners), count=2, mailbox=3)
    letters = dead_letters(system)
    key = next(f"key-{n}" for n in range(100) if shard_of_key(f"key-{n}", 2) == 1)
    await shards.call(Add(key))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(shards.call, Resize(2), None))
        await wait_all_tasks_blocked()
        for number in range(5):
            shards.cast(Note(key, str(number)))
            await wait_all_tasks_blocked()
        with pytest.raises(MailboxFull):
            await shards.call(Add(key))
        # The other shard stays where it is.
        other = next(f"key-{n}" for n in range(100) if shard_of_key(f"key-{n}", 2) == 0)
        assert await shards.call(Add(other)) == 1
    assert await shards.call(Notes(key)) == ["0", "1", "2"]
    assert [each.message for each in letters] == [Note(key, "3"), Note(key, "4")]


async def test_who_is_too_slow_for_his_mailbox_refuses_calls_and_loses_the_rest(
    system: System, owners: Owners
) -> None:
    shards = await start(system, owners, Child(Account, owners, mailbox=3))
    letters = dead_letters(system)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(shards.call, Hold("a", 1.0))
        await wait_all_tasks_blocked()
        for number in range(5):
            await shards.send(Note("a", str(number)))
        await wait_all_tasks_blocked()
        with pytest.raises(MailboxFull):
            await shards.call(Add("a"))
    assert await shards.call(Notes("a")) == ["0", "1", "2"]
    assert [each.message for each in letters] == [Note("a", "3"), Note("a", "4")]


async def test_what_is_begun_when_a_shard_moves_is_finished_and_the_rest_moves(
    system: System, owners: Owners
) -> None:
    shards = await start(system, owners, count=2)
    key = next(f"key-{n}" for n in range(100) if shard_of_key(f"key-{n}", 2) == 1)
    results: list[Any] = [None] * 5

    async def ask(index: int, message: Any) -> None:
        results[index] = await shards.call(message, None)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, 0, Hold(key, 3.0))
        await wait_all_tasks_blocked()
        for index in (1, 2, 3):
            nursery.start_soon(ask, index, Add(key))
            await wait_all_tasks_blocked()
        nursery.start_soon(partial(shards.call, Resize(2), None))
        await wait_all_tasks_blocked()
        nursery.start_soon(ask, 4, Add(key))
    assert results == [f"{key} held", 1, 2, 3, 4]
    assert owners.log.count(f"+{key}") == 2


async def test_one_move_at_a_time(system: System, owners: Owners) -> None:
    shards = await start(system, owners, Child(Slow, owners), count=4)
    for number in range(20):
        await shards.call(Add(f"key-{number}"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(partial(shards.call, Resize(2), None))
        await wait_all_tasks_blocked()
        assert (await shards.call(GetShards())).moving != ()
        with pytest.raises(StillMoving):
            await shards.call(Resize(3))
    assert (await shards.call(GetShards())).moving == ()


async def test_no_key_has_two_owners_whatever_happens(system: System, owners: Owners) -> None:
    """Calls, crashes and moves at random; ``Owners`` asserts it whenever somebody begins."""
    shards = await start(
        system, owners, Child(Account, owners, backoff=Backoff(0.05, 0.2)), count=8, idle=0.5
    )
    random = system.random
    done = 0

    async def ask() -> None:
        nonlocal done
        for _ in range(150):
            key = f"key-{random.randrange(12)}"
            try:
                if random.random() < 0.1:
                    await shards.call(Break(key), None)
                elif random.random() < 0.2:
                    await shards.call(Hold(key, random.random()), None)
                else:
                    await shards.call(Add(key), None)
            except ActorDied:
                pass
            done += 1
            if random.random() < 0.3:
                await trio.sleep(random.random())

    async def move() -> None:
        while done < 1000:
            try:
                await shards.call(Resize(random.randrange(1, 6)), None)
            except StillMoving:
                pass
            await trio.sleep(1 + 3 * random.random())

    async with trio.open_nursery() as nursery:
        for _ in range(8):
            nursery.start_soon(ask)
        nursery.start_soon(move)
    assert done == 1200
    assert len(owners.log) > 300


# -- a shard's own actor


class Counter(Actor):
    """One for each shard."""

    def __init__(self, owners: Owners) -> None:
        self.owners = owners
        self.keys: set[str] = set()

    def on_start(self) -> None:
        self.owners.began(self)

    def on_stop(self, exit: Any) -> None:
        self.owners.ended(self)

    @handles
    def add(self, msg: Add) -> int:
        self.keys.add(msg.who)
        return len(self.keys)

    @handles
    def broken(self, msg: Break) -> None:
        raise ValueError(msg.who)


async def test_there_may_be_one_actor_for_each_shard(system: System, owners: Owners) -> None:
    shards = await start(system, owners, Child(Counter, owners), each="shard")
    assert sorted(owners.alive) == [str(number) for number in range(8)]
    keys = [f"key-{number}" for number in range(100)]
    for key in keys:
        await shards.call(Add(key))
    assert sum(len(each.keys) for each in owners.alive.values()) == 100
    assert all(
        str(shard_of_key(key, 8)) == number
        for number, each in owners.alive.items()
        for key in each.keys
    )
    with pytest.raises(ActorDied):
        await shards.call(Break("key-1"))
    await trio.sleep(1)
    assert len(owners.alive) == 8
    await shards.call(Resize(4))
    await wait_all_tasks_blocked()
    assert len(owners.alive) == 8
    assert (await shards.call(CountChildren())).active == 4


# -- the end


async def test_a_stop_stops_them_all(system: System, owners: Owners) -> None:
    shards = await start(system, owners, restart="temporary")
    letters = dead_letters(system)
    for number in range(50):
        await shards.call(Add(f"key-{number}"))
    await shards.stop()
    assert owners.alive == {}
    with pytest.raises(NoSuchActor):
        await shards.call(Add("a"))
    shards.cast(Note("a", "late"))
    assert [each.message for each in letters] == [Note("a", "late")]


async def test_the_children_are_the_hosts(system: System, owners: Owners) -> None:
    shards = await start(system, owners, count=4)
    await shards.call(Resize(3))
    assert [each.id for each in await shards.call(WhichChildren())] == [
        "host-1",
        "host-2",
        "host-3",
    ]


async def test_nobody_else_starts_or_stops_hosts(system: System, owners: Owners) -> None:
    shards = await start(system, owners)
    (host,) = await shards.call(WhichChildren())
    spec = Child(Account)
    for message in (
        StartChild(spec),
        StopChild(host.ref),
        RestartChild(host.ref),
        DeleteChild(host.ref),
        ReplaceChild(host.ref, spec),
    ):
        name = type(message).__name__
        text = (
            rf"^/supervised/Account-\d+: Resize says how many hosts the shards have. Got: {name}$"
        )
        with pytest.raises(ChildRefused, match=text):
            await shards.call(message)
    assert await shards.call(WhichChildren()) == [host]
    assert await shards.call(Add("a")) == 1
    (account,) = await host.ref.call(WhichChildren())
    with pytest.raises(ChildRefused, match="which actors a host runs is decided by the messages"):
        await host.ref.call(StopChild(account.ref))


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"count": 0}, "count is an int from 1 to 65536. Got: 0"),
        ({"processes": 0}, r"processes is an int from 1 to count \(64\), or None. Got: 0"),
        ({"processes": 65}, "processes is an int from 1 to count"),
        ({"each": "actor"}, "each is 'key', 'shard' or None. Got: 'actor'"),
        ({"idle": -1}, "idle .* is 0 or more seconds. Got: -1"),
        ({"idle": 1.0, "each": "shard"}, "idle is for each='key'"),
        ({"key": None}, "Shards key is the name of an attribute of every message, or a function"),
        ({"key": 3}, "or a function of a message. Got: 3"),
    ],
    ids=repr,
)
def test_what_is_refused_is_told(keywords: dict[str, Any], text: str) -> None:
    with pytest.raises((TypeError, ValueError), match=text):
        Shards(Child(Account), **{"key": "who", **keywords})


def test_what_cannot_be_sent_to_a_process_is_refused_when_the_spec_is_made() -> None:
    child = Child(Account, threading.Lock())
    Shards(child, key="who")
    with pytest.raises(TypeError, match=r"Account cannot be sent to a process of its own.*lock"):
        Shards(child, key="who", processes=2)


def test_shards_are_a_child_and_show_whose() -> None:
    spec = Shards(Child(Account), key="who", count=4, processes=2, id="accounts")
    assert isinstance(spec, Child)
    assert (spec.label, spec.kind, face_of(spec)) == ("accounts", "supervisor", Account)
    assert repr(spec) == "Shards(Child(Account), count=4, processes=2)"
    with pytest.raises(ValueError, match="has no name and is not significant"):
        Shards(Child(Account, name="one"), key="who")
    with pytest.raises(ValueError, match="has isolation only with processes="):
        Shards(Child(Account, isolation="process"), key="who")
    with pytest.raises(ValueError, match="hosts is an int of 1 or more. Got: 0"):
        Resize(0)


async def test_hosts_are_told_by_whose_they_are(system: System) -> None:
    shards = await system.start(Shards(Child(Account, id="acc"), key="who", count=4))
    (host,) = await shards.call(WhichChildren())
    assert repr(host.spec) == "host of acc, shards 0-3"


async def test_no_host_is_without_a_shard(system: System) -> None:
    shards = await system.start(Shards(Child(Account), key="who", count=4))
    await shards.call(Resize(9))
    assert [len(host.shards) for host in (await shards.call(GetShards())).hosts] == [1] * 4
