"""K12, K13: a ref names a place; what survives which end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    Killed,
    MailboxFull,
    Normal,
    NoSuchActor,
    Ref,
    Shutdown,
    StartFailed,
    System,
    handles,
)
from actors.introspection import resume, suspend
from actors.testing import dead_letters
from supervisors import (
    Backoff,
    Child,
    DeleteChild,
    DynamicSupervisor,
    ReplaceChild,
    RestartChild,
    StartChild,
    StopChild,
    Supervisor,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.frozen
class Do(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class DoSoon:
    function: Callable[[Any], object]


@attrs.frozen
class Await(Call[Any]):
    function: Callable[[Any], Any]


@attrs.frozen
class Note:
    value: object = None


@attrs.frozen
class Notes(Call["list[Any]"]):
    pass


class Boom(Exception):
    pass


def boom(actor: Any) -> None:
    raise Boom


class Worker(Actor):
    def __init__(self) -> None:
        self.notes: list[Any] = []

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    def do_soon(self, message: DoSoon) -> None:
        message.function(self)

    @handles
    async def wait(self, message: Await) -> Any:
        return await message.function(self)

    @handles
    def note(self, message: Note) -> None:
        self.notes.append(message.value)

    @handles
    def read(self, message: Notes) -> list[Any]:
        return self.notes


class Keeper(Supervisor):
    """Keeps what it is given, however often it crashes."""

    max_restarts = 1000

    def __init__(self, *children: Child[Any]) -> None:
        self.specs = children

    def children(self) -> list[Child[Any]]:
        return list(self.specs)

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)


async def crash(ref: Ref[Any]) -> None:
    """Crash the actor, and let happen what happens then at once."""
    with pytest.raises(ActorDied):
        await ref.call(Do(boom))
    await wait_all_tasks_blocked()


async def kept(system: System, *children: Child[Any]) -> tuple[Ref[Any], ...]:
    """A supervisor kept by another one, and its children."""
    specs = [Child(Keeper, *children, id="keeper", name="keeper")]
    await system.start(Keeper, *specs)
    keeper = system.whereis("keeper")
    assert keeper is not None
    found = [entry.place.ref for entry in keeper._place.actor._tree.entries.values()]
    return keeper, *found


# -- K12: the states


async def test_K12_incarnations_are_counted_and_the_ref_stays(system: System) -> None:
    _, ref = await kept(system, Child(Worker, name="worker"))
    assert (ref.incarnation, ref.state, ref.alive) == (1, "up", True)
    for number in (2, 3, 4):
        with pytest.raises(ActorDied):
            await ref.call(Do(boom))
        assert await ref.call(Notes()) == []
        assert ref.incarnation == number
        assert system.whereis("worker") == ref


async def test_K12_the_states_of_a_place(system: System) -> None:
    seen: list[str] = []
    failures = 2

    class Tells(Worker):
        def on_start(self) -> None:
            nonlocal failures
            seen.append(self.ref.state)
            if self.ref.incarnation > 1 and failures:
                failures -= 1
                raise Boom

        async def on_stop(self, exit: object) -> None:
            seen.append(self.ref.state)
            assert not self.ref.alive

    keeper, ref = await kept(system, Child(Tells, id="tells", backoff=Backoff(1, 1, jitter=0)))
    assert ref.state == "up"
    await crash(ref)
    assert ref.state == "restarting"
    await trio.sleep(5)
    assert ref.state == "up" and ref.incarnation == 4
    await keeper.call(StopChild("tells"))
    assert ref.state == "stopped"
    await keeper.call(DeleteChild("tells"))
    assert ref.state == "gone"
    assert seen == ["starting", "stopping", "starting", "starting", "starting", "stopping"]


async def test_K12_messages_sent_while_the_place_is_stopping_or_restarting_queue(
    system: System,
) -> None:
    class Slow(Worker):
        async def on_stop(self, exit: object) -> None:
            await trio.sleep(2)

    _, ref = await kept(system, Child(Slow, backoff=Backoff(3, 3, jitter=0)))
    ref.cast(DoSoon(boom))
    await trio.sleep(1)
    assert ref.state == "stopping"
    ref.cast(Note("stopping"))
    await trio.sleep(2)
    assert ref.state == "restarting"
    ref.cast(Note("restarting"))
    await ref.send(Note("sent"))
    assert await ref.call(Notes()) == ["stopping", "restarting", "sent"]
    assert trio.current_time() == pytest.approx(5)


async def test_K12_the_bound_of_the_mailbox_holds_while_nobody_lives_there(
    system: System,
) -> None:
    _, ref = await kept(system, Child(Worker, mailbox=2, backoff=Backoff(3, 3, jitter=0)))
    await crash(ref)
    ref.cast(Note(1))
    ref.cast(Note(2))
    with pytest.raises(MailboxFull):
        ref.cast(Note(3))
    await ref.send(Note(4))
    assert await ref.call(Notes()) == [1, 2, 4]


# -- K12: the queue


async def test_K12_the_queue_survives_a_restart(system: System, both_ways: str) -> None:
    _, ref = await kept(system, Child(Worker))
    for number in range(5):
        ref.cast(Note(number))
        ref.cast(DoSoon(boom))
    ref.cast(Note("last"))
    assert await ref.call(Notes()) == ["last"]
    assert ref.incarnation == 6


async def test_K12_queued_calls_survive_a_restart_and_are_answered_by_the_next_tenant(
    system: System, both_ways: str
) -> None:
    _, ref = await kept(system, Child(Worker))
    answers: list[object] = []

    async def call() -> None:
        answers.append(await ref.call(Do(lambda actor: actor.ref.incarnation)))

    await suspend(ref)
    ref.cast(DoSoon(boom))
    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(call)
        await wait_all_tasks_blocked()
        await resume(ref)
    assert answers == [2, 2, 2]


async def test_K12_the_message_handled_at_the_crash_is_never_redelivered(
    system: System, both_ways: str
) -> None:
    handled: list[object] = []

    def crash(actor: Worker) -> None:
        handled.append(actor.ref.incarnation)
        raise Boom

    async def crash_async(actor: Worker) -> None:
        crash(actor)

    _, ref = await kept(system, Child(Worker))
    with pytest.raises(ActorDied):
        await ref.call(Do(crash))
    with pytest.raises(ActorDied):
        await ref.call(Await(crash_async))
    ref.cast(DoSoon(crash))
    await ref.call(Notes())
    assert handled == [1, 2, 3]
    assert ref.incarnation == 4


async def test_K12_stashed_messages_return_to_the_front_of_the_queue(
    system: System, both_ways: str
) -> None:
    class Stashes(Worker):
        @handles
        def aside(self, message: str) -> None:
            if self.ref.incarnation == 1:
                self.stash()
            else:
                self.notes.append(message)

        @handles
        def ask(self, message: Ask) -> list[Any]:
            if self.ref.incarnation == 1:
                self.stash()
            return list(self.notes)

    _, ref = await kept(system, Child(Stashes))
    answers: list[Any] = []

    async def call() -> None:
        answers.append(await ref.call(Ask()))

    async with trio.open_nursery() as nursery:
        ref.cast("first")
        await wait_all_tasks_blocked()
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        ref.cast("second")
        ref.cast(DoSoon(boom))
        ref.cast(Note("behind the crash"))
    assert answers == [["first"]]
    assert await ref.call(Notes()) == ["first", "second", "behind the crash"]


@attrs.frozen
class Ask(Call["list[Any]"]):
    pass


async def test_K12_a_deferred_answer_does_not_survive_its_actor(
    system: System, both_ways: str
) -> None:
    _, ref = await kept(system, Child(Worker))
    failures: list[ActorDied] = []

    async def call() -> None:
        try:
            await ref.call(Do(lambda actor: actor.later()), timeout=None)
        except ActorDied as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        ref.cast(DoSoon(boom))
    assert len(failures) == 1
    assert await ref.call(Notes()) == []


async def test_K12_senders_who_wait_for_room_wait_on_over_a_restart(system: System) -> None:
    _, ref = await kept(system, Child(Worker, mailbox=1, backoff=Backoff(2, 2, jitter=0)))
    await crash(ref)
    ref.cast(Note(0))
    async with trio.open_nursery() as nursery:
        for number in (1, 2, 3):
            nursery.start_soon(ref.send, Note(number))
            await wait_all_tasks_blocked()
        assert trio.current_time() == 0
    assert trio.current_time() == pytest.approx(2)
    assert await ref.call(Notes()) == [0, 1, 2, 3]


def orderly(actor: Any) -> None:
    actor.stop()


@pytest.mark.parametrize(
    ("restart", "end"),
    [
        ("temporary", boom),
        ("temporary", orderly),
        ("transient", orderly),
    ],
)
async def test_K12_any_exit_that_is_not_answered_by_a_restart_fails_the_queue(
    system: System, both_ways: str, restart: Any, end: Callable[[Any], None]
) -> None:
    letters = dead_letters(system)
    _, ref = await kept(system, Child(Worker, restart=restart))
    failures: list[NoSuchActor] = []

    async def call() -> None:
        try:
            await ref.call(Notes(), timeout=None)
        except NoSuchActor as error:
            failures.append(error)

    ref.cast(DoSoon(end))
    ref.cast(Note("queued"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
    state = "stopped" if restart == "transient" else "gone"
    assert ref.state == state
    assert f"is {state}; nobody will answer Notes" in str(failures[0])
    ref.cast(Note("late"))
    with pytest.raises(NoSuchActor):
        await ref.call(Notes(), timeout=None)
    assert [(each.message, each.reason) for each in letters] == [
        (Note("queued"), f"the place is {state}"),
        (Note("late"), f"the place is {state}"),
    ]


async def test_K12_restart_child_reopens_a_stopped_place_empty(system: System) -> None:
    letters = dead_letters(system)
    keeper, ref = await kept(system, Child(Worker, id="worker", name="worker"))
    await suspend(ref)
    ref.cast(Note("before"))
    await keeper.call(StopChild("worker"))
    ref.cast(Note("meanwhile"))
    assert system.whereis("worker") is None
    assert await keeper.call(RestartChild("worker")) == ref
    assert (ref.state, ref.incarnation) == ("up", 2)
    assert system.whereis("worker") == ref
    assert await ref.call(Notes()) == []
    assert [each.message.value for each in letters] == ["before", "meanwhile"]  # type: ignore[attr-defined]


async def test_K12_a_name_belongs_to_its_place_through_restarts_and_is_free_when_it_stops(
    system: System,
) -> None:
    keeper, ref = await kept(
        system, Child(Worker, id="worker", name="worker", backoff=Backoff(2, 2, jitter=0))
    )
    await crash(ref)
    assert ref.state != "up"
    assert system.whereis("worker") == ref
    with pytest.raises(StartFailed, match=r"'worker' belongs to /.*/worker already"):
        await system.start(Worker, name="worker")
    await trio.sleep(3)
    await keeper.call(StopChild("worker"))
    other = await system.start(Worker, name="worker")
    assert system.whereis("worker") == other
    with pytest.raises(StartFailed, match="belongs to /worker now"):
        await keeper.call(RestartChild("worker"))
    assert ref.state == "stopped"
    await other.stop()
    assert await keeper.call(RestartChild("worker")) == ref


async def test_K12_a_member_of_a_group_stays_through_restarts_and_leaves_when_it_stops(
    system: System,
) -> None:
    keeper, ref = await kept(system, Child(Worker, id="worker"))
    system.groups.join("all", ref)
    with pytest.raises(ActorDied):
        await ref.call(Do(boom))
    assert system.groups.publish("all", Note(1)) == 1
    assert await ref.call(Notes()) == [1]
    await keeper.call(StopChild("worker"))
    assert system.groups.members("all") == []
    system.groups.join("all", ref)
    assert system.groups.publish("all", Note(2)) == 0
    await keeper.call(RestartChild("worker"))
    assert system.groups.members("all") == []


async def test_K12_a_member_has_left_its_groups_even_if_nobody_looked(system: System) -> None:
    keeper, ref = await kept(system, Child(Worker, id="worker"))
    system.groups.join("all", ref)
    await keeper.call(StopChild("worker"))
    await keeper.call(RestartChild("worker"))
    assert system.groups.members("all") == []


async def test_groups_publish_in_the_order_of_joining_and_name_who_missed_it(
    system: System,
) -> None:
    letters = dead_letters(system)
    _, small = await kept(system, Child(Worker, mailbox=1))
    probes = [system.probe() for _ in range(3)]
    for ref in (probes[1].ref, small, probes[0].ref, probes[1].ref, probes[2].ref):
        system.groups.join("all", ref)
    await suspend(small)
    assert system.groups.publish("all", "one") == 4
    assert system.groups.publish("all", ("a", "tuple")) == 3
    assert [(each.ref, each.message, each.reason) for each in letters] == [
        (small, ("a", "tuple"), "the mailbox is full")
    ]
    system.groups.leave("all", probes[1].ref)
    system.groups.leave("all", probes[1].ref)
    system.groups.leave("none", probes[1].ref)
    assert system.groups.members("all") == [small, probes[0].ref, probes[2].ref]
    assert system.groups.members("none") == []
    assert system.groups.publish("none", "nobody") == 0
    for wrong in ((3, small), ("all", 3)):
        with pytest.raises(TypeError, match=r"join\(\) takes a group's name and a Ref. Got"):
            system.groups.join(*wrong)  # type: ignore[arg-type]


async def test_K12_the_exit_of_every_kind_is_kept(system: System) -> None:
    for exit in (Normal(), Shutdown("why"), Killed()):
        ref = await system.start(Worker)
        assert await ref.stop(exit)
        assert await ref.wait() == exit
        assert not await ref.stop()


# -- K13


async def test_K13_a_mailbox_does_not_outlive_its_supervisors_crash(system: System) -> None:
    letters = dead_letters(system)
    keeper, ref = await kept(system, Child(Worker, id="worker"))
    await suspend(ref)
    ref.cast(Note("poison"))
    await crash(keeper)
    assert [each.message for each in letters] == [Note("poison")]
    assert await ref.call(Notes()) == []


async def test_K13_a_poison_message_cannot_survive_its_supervisors_restart(
    system: System,
) -> None:
    """A message that puts itself back crashes its actor until the supervisor gives up."""

    class Fragile(Keeper):
        max_restarts = 2

    def poison(actor: Worker) -> None:
        actor.ref.cast(DoSoon(poison))
        raise Boom

    await system.start(
        Keeper, Child(Fragile, Child(Worker, name="worker"), id="fragile", name="fragile")
    )
    ref, fragile = system.whereis("worker"), system.whereis("fragile")
    assert ref is not None and fragile is not None
    ref.cast(DoSoon(poison))
    await trio.sleep(60)
    assert (fragile.incarnation, ref.incarnation) == (2, 4)
    assert await ref.call(Notes()) == []


async def test_K13_static_children_take_their_places_again_when_their_supervisor_returns(
    system: System,
) -> None:
    seen: list[tuple[str, ...]] = []

    class Slow(Keeper):
        async def on_stop(self, exit: object) -> None:
            await trio.sleep(1)

    specs = [Child(Worker, id=id) for id in "abc"]
    await system.start(Keeper, Child(Slow, *specs, id="slow", name="slow"))
    keeper = system.whereis("slow")
    assert keeper is not None
    refs = [entry.place.ref for entry in keeper._place.actor._tree.entries.values()]
    await crash(keeper)
    await trio.sleep(0.5)
    seen.append(tuple(ref.state for ref in refs))
    await trio.sleep(1)
    seen.append(tuple(ref.state for ref in refs))
    assert seen == [("gone",) * 3, ("up",) * 3]
    assert [ref.incarnation for ref in refs] == [2, 2, 2]
    assert keeper.incarnation == 2


async def test_K13_they_do_so_even_if_the_return_took_several_attempts(system: System) -> None:
    """The second child fails to start at first, so that the third is not even tried."""
    failures = 3

    class Fails(Worker):
        def on_start(self) -> None:
            nonlocal failures
            if self.ref.incarnation > 1 and failures:
                failures -= 1
                raise Boom

    specs = [Child(Worker, id="a"), Child(Fails, id="b"), Child(Worker, id="c")]
    keeper, a, b, c = await kept(system, *specs)
    await crash(keeper)
    await trio.sleep(1)
    assert keeper.alive and failures == 0
    assert [ref.state for ref in (a, b, c)] == ["up", "up", "up"]


async def test_K13_a_child_stopped_by_api_comes_back_with_its_supervisor(
    system: System,
) -> None:
    keeper, ref = await kept(system, Child(Worker, id="worker"))
    await keeper.call(StopChild("worker"))
    await crash(keeper)
    assert ref.alive


async def test_K13_the_place_of_a_removed_child_is_gone_for_good(system: System) -> None:
    keeper, ref = await kept(system, Child(Worker, id="worker"))
    await keeper.call(StopChild("worker"))
    await keeper.call(DeleteChild("worker"))
    other = await keeper.call(StartChild(Child(Worker, id="worker")))
    assert other != ref and other.path == ref.path
    assert (ref.state, other.state) == ("gone", "up")


async def test_K13_the_place_of_a_temporary_child_is_gone_for_good(system: System) -> None:
    keeper, ref = await kept(system, Child(Worker, id="worker", restart="temporary"))
    ref.cast(DoSoon(orderly))
    await ref.wait()
    await wait_all_tasks_blocked()
    assert ref.state == "gone"
    other = await keeper.call(StartChild(Child(Worker, id="worker")))
    assert other != ref
    await crash(keeper)
    assert (ref.state, other.state) == ("gone", "gone")


async def test_K13_a_temporary_static_child_gets_a_new_place_when_its_supervisor_returns(
    system: System,
) -> None:
    keeper, ref = await kept(system, Child(Worker, id="worker", restart="temporary"))
    await crash(keeper)
    (entry,) = keeper._place.actor._tree.entries.values()
    assert ref.state == "gone"
    assert entry.place.ref != ref and entry.place.ref.alive


async def test_K13_children_added_at_run_time_are_lost_with_their_supervisor(
    system: System,
) -> None:
    keeper, static = await kept(system, Child(Worker, id="static"))
    added = await keeper.call(StartChild(Child(Worker, id="added")))
    dynamic = await keeper.call(StartChild(Child(DynamicSupervisor, id="dynamic")))
    await crash(keeper)
    assert (static.state, added.state, dynamic.state) == ("up", "gone", "gone")


async def test_K13_a_static_child_that_is_no_longer_listed_is_gone_for_good(
    system: System,
) -> None:
    ids = ["a", "b"]

    class Lists(Supervisor):
        def children(self) -> list[Child[Any]]:
            return [Child(Worker, id=id) for id in ids]

        @handles
        def do(self, message: Do) -> Any:
            return message.function(self)

    await system.start(Keeper, Child(Lists, name="lists"))
    lists = system.whereis("lists")
    assert lists is not None
    a, b = (entry.place.ref for entry in lists._place.actor._tree.entries.values())
    ids.remove("b")
    await crash(lists)
    ids.append("b")
    await crash(lists)
    assert (a.state, a.incarnation, b.state) == ("up", 3, "gone")
    entries = lists._place.actor._tree.entries
    assert entries["b"].place.ref != b and entries["b"].place.ref.alive


async def test_K13_a_replaced_spec_keeps_the_place(system: System) -> None:
    class Other(Worker):
        @handles
        def text(self, message: str) -> None:
            self.notes.append(message)

    keeper, ref = await kept(system, Child(Worker, id="worker", name="old", mailbox=5))
    ref.cast(Note("before"))
    await keeper.call(ReplaceChild("worker", Child(Other, name="new", mailbox=7)))
    assert system.whereis("old") == ref
    ref.cast(DoSoon(boom))
    ref.cast("queued over the change")
    await wait_all_tasks_blocked()
    assert await ref.call(Notes()) == ["queued over the change"]
    assert (system.whereis("old"), system.whereis("new")) == (None, ref)
    await suspend(ref)
    for number in range(7):
        ref.cast(Note(number))
    with pytest.raises(MailboxFull):
        ref.cast(Note(7))


async def test_groups_may_be_left_one_by_one(system: System) -> None:
    probe = system.probe()
    for group in ("one", "two"):
        system.groups.join(group, probe.ref)
    system.groups.leave("one", probe.ref)
    assert (system.groups.members("one"), system.groups.members("two")) == ([], [probe.ref])
    await probe.ref.stop()
    assert system.groups.members("two") == []
