"""Every verb "from outside", on a workflow in the states it can be in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import CallTimeout
from mediators import (
    Handle,
    MemoryJournal,
    NoSuchWorkflow,
    Retry,
    Start,
    StartConflict,
    Status,
    StepFailed,
    VerbRefused,
    Workflow,
    WorkflowEnded,
)
from mediators.verbs import Cancel, GetStatus, ListWorkflows, Pause, SendSignal
from tests.mediators.sagas import (
    Ask,
    CrashDriver,
    Do,
    No,
    Ping,
    Simple,
    Undo,
    Waits,
    World,
    events,
    over,
    shop,
    spec,
    start,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors import System


@attrs.define
class Buggy(Workflow[str]):
    """Has a mistake behind its first step, until somebody mends it."""

    id: str
    mended = False

    async def run(self) -> str:
        answer = await self.step(Do("first"), undo=Undo("first"))
        if not type(self).mended:
            raise ValueError("a mistake")
        return answer


@attrs.define
class Stubborn(Workflow[str]):
    """Its undo is refused."""

    id: str

    async def run(self) -> str:
        await self.step(Do("first"), undo=Undo("first"))
        await self.step(Do("second"), undo=Undo("second"))
        return await self.step(Do("third"), retry=Retry(attempts=1))


NAMES: dict[str, Callable[[Handle[Any]], Any]] = {
    "result": lambda handle: handle.result(),
    "status": lambda handle: handle.status(),
    "signal": lambda handle: handle.signal(Ping()),
    "query": lambda handle: handle.query(Ask()),
    "cancel": lambda handle: handle.cancel(),
    "pause": lambda handle: handle.pause(),
    "resume": lambda handle: handle.resume(),
    "retry": lambda handle: handle.retry(),
    "skip": lambda handle: handle.skip(),
    "resolve": lambda handle: handle.resolve(),
    "fork": lambda handle: handle.fork("other"),
    "history": lambda handle: handle.history(),
    "incidents": lambda handle: handle.incidents(),
}


async def test_start_answers_with_a_handle_and_result_with_the_end(system: System) -> None:
    world = World()
    ref = await system.start(spec(shop(world, Simple)))
    handle = await ref.call(Start(Simple("one")))
    assert (handle.id, handle.type, handle.mediator) == ("one", Simple, ref)
    assert await handle.result() == "second done"
    assert world.names == ["first", "second"]


async def test_start_of_a_class_that_is_not_listed_says_which_are(system: System) -> None:
    ref = await system.start(spec(shop(World(), Simple)))
    with pytest.raises(VerbRefused, match=r"Waits is not among the workflows.*: Simple"):
        await ref.call(Start(Waits("one")))


@pytest.mark.parametrize("verb", NAMES)
async def test_every_verb_says_that_there_is_no_such_workflow(system: System, verb: str) -> None:
    ref = await system.start(spec(shop(World(), Simple)))
    with pytest.raises(NoSuchWorkflow, match="'nobody'"):
        await NAMES[verb](Handle(ref, "nobody"))


@pytest.mark.parametrize("verb", NAMES)
async def test_every_verb_says_that_a_mediator_without_workflows_has_none(
    system: System, verb: str
) -> None:
    ref = await system.start(spec(shop(World())))
    with pytest.raises(NoSuchWorkflow, match="runs no workflows"):
        await NAMES[verb](Handle(ref, "nobody"))


@pytest.mark.parametrize(
    "verb", ["signal", "cancel", "pause", "resume", "retry", "skip", "resolve"]
)
async def test_what_would_change_a_workflow_that_has_ended_is_refused(
    system: System, verb: str
) -> None:
    ref = await system.start(spec(shop(World(), Simple)))
    handle = await start(ref, Simple("one"))
    assert await handle.status() is Status.DONE
    with pytest.raises(NoSuchWorkflow, match="has ended: it is done"):
        await NAMES[verb](handle)


async def test_a_result_is_waited_for_no_longer_than_asked(system: System) -> None:
    ref = await system.start(spec(shop(World(), Waits)))
    handle = await start(ref, Waits("one"))
    with pytest.raises(CallTimeout):
        await handle.result(timeout=3)
    await handle.signal(Ping(7))
    assert await handle.result(timeout=3) == 7


async def test_whoever_has_stopped_waiting_for_a_result_leaves_nothing_behind(
    system: System,
) -> None:
    drivers: list[Any] = []

    class Seen(shop(World(), Waits)):  # type: ignore[misc]
        async def on_ready(self) -> None:
            drivers.append(self._driver)

    ref = await system.start(spec(Seen))
    handle = await start(ref, Waits("one"))
    for _ in range(100):
        with pytest.raises(CallTimeout):
            await handle.result(timeout=1)
    assert len(drivers[0].waiters["one"]) < 20


async def test_a_result_is_asked_for_again_when_the_mediator_has_crashed(system: System) -> None:
    world = World()
    world.hold("second")
    ref = await system.start(spec(shop(world, Simple, journal=MemoryJournal())))
    handle = await start(ref, Simple("one"))
    answers: list[str] = []

    async def ask() -> None:
        answers.append(await handle.result())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        ref.cast(CrashDriver())
        await wait_all_tasks_blocked()
        world.held.clear()
    assert answers == ["second done"]


async def test_a_failure_is_told_as_the_very_refusal(system: System) -> None:
    world = World()
    world.refuse("second")
    ref = await system.start(spec(shop(world, Simple)))
    handle = await start(ref, Simple("one"))
    with pytest.raises(No, match="second"):
        await handle.result()
    assert await handle.status() is Status.FAILED
    assert world.names == ["first", "second", "-first"]


async def test_cancel_undoes_what_was_done(system: System) -> None:
    world = World()
    world.hold("second")
    ref = await system.start(spec(shop(world, Simple)))
    handle = await start(ref, Simple("one"))
    await handle.cancel("enough")
    assert await handle.status() is Status.COMPENSATING
    world.answer("second")
    with pytest.raises(WorkflowEnded, match="cancelled: enough"):
        await handle.result()
    assert await handle.status() is Status.CANCELLED
    assert world.names[-1] == "-first"


async def test_a_second_cancel_changes_nothing(system: System) -> None:
    world = World()
    world.hold("second")
    journal = MemoryJournal()
    ref = await system.start(spec(shop(world, Simple, journal=journal)))
    handle = await start(ref, Simple("one"))
    await handle.cancel("first reason")
    await handle.cancel("second reason")
    world.answer("second")
    with pytest.raises(WorkflowEnded, match="first reason"):
        await handle.result()
    assert [type(each).__name__ for each in events(journal, "one")].count("Cancelled") == 1


async def test_a_paused_workflow_keeps_its_answers_until_it_is_resumed(system: System) -> None:
    world = World()
    world.hold("first")
    ref = await system.start(spec(shop(world, Simple)))
    handle = await start(ref, Simple("one"))
    await handle.pause()
    world.answer("first")
    await wait_all_tasks_blocked()
    assert await handle.status() is Status.PAUSED
    assert world.names == ["first"]
    await handle.pause()
    await handle.resume()
    assert await handle.result() == "second done"


async def test_a_workflow_that_is_not_paused_is_not_resumed(system: System) -> None:
    ref = await system.start(spec(shop(World(), Waits)))
    handle = await start(ref, Waits("one"))
    with pytest.raises(VerbRefused, match="is not paused: it is waiting"):
        await handle.resume()


async def test_a_workflow_paused_by_somebody_is_paused_after_a_restart(system: System) -> None:
    ref = await system.start(spec(shop(World(), Waits, journal=MemoryJournal())))
    handle = await start(ref, Waits("one"))
    await handle.pause()
    await handle.signal(Ping(5))
    with pytest.raises(Exception):  # noqa: B017
        await ref.call(CrashDriver())
    await wait_all_tasks_blocked()
    assert await handle.status() is Status.PAUSED
    await handle.resume()
    assert await handle.result() == 5


async def test_a_workflow_with_a_mistake_is_paused_and_resumes_after_the_fix(
    system: System,
) -> None:
    world = World()
    ref = await system.start(spec(shop(world, Buggy)))
    handle = await start(ref, Buggy("one"))
    assert await handle.status() is Status.PAUSED
    (incident,) = await handle.incidents()
    assert "ValueError: a mistake" in incident.what
    assert "test_verbs.py" in incident.what
    assert await handle.resume() is Status.PAUSED
    Buggy.mended = True
    try:
        await handle.resume()
        assert await handle.result() == "first done"
    finally:
        Buggy.mended = False
    assert world.names == ["first"]


async def test_a_paused_workflow_can_be_cancelled(system: System) -> None:
    world = World()
    ref = await system.start(spec(shop(world, Buggy)))
    handle = await start(ref, Buggy("one"))
    await handle.cancel()
    assert await over(handle) is Status.CANCELLED
    assert world.names == ["first", "-first"]


async def stuck_undo(system: System, world: World) -> Handle[Any]:
    """A workflow whose undo of the first step was refused."""
    world.refuse("third", "-first")
    ref = await system.start(spec(shop(world, Stubborn)))
    handle = await start(ref, Stubborn("one"))
    assert await handle.status() is Status.INCIDENT
    assert world.names == ["first", "second", "third", "-second", "-first"]
    return handle


async def test_retry_tries_an_incident_again(system: System) -> None:
    world = World()
    handle = await stuck_undo(system, world)
    (incident,) = await handle.incidents()
    assert incident.path == "undo/Do.1"
    del world.says["-first"]
    await handle.retry(incident.path)
    assert await over(handle) is Status.FAILED
    assert world.names[-2:] == ["-first", "-first"]
    assert len(set(world.keys("-first"))) == 1


async def test_skip_leaves_an_undo_undone(system: System) -> None:
    world = World()
    handle = await stuck_undo(system, world)
    await handle.skip()
    assert await over(handle) is Status.FAILED
    assert world.names.count("-first") == 1


async def test_resolve_answers_an_undo_in_the_components_place(system: System) -> None:
    world = World()
    handle = await stuck_undo(system, world)
    await handle.resolve("by hand")
    assert await over(handle) is Status.FAILED
    assert world.names.count("-first") == 1


async def test_what_is_no_incident_is_not_decided_about(system: System) -> None:
    world = World()
    handle = await stuck_undo(system, world)
    for verb in (handle.retry, handle.skip):
        with pytest.raises(VerbRefused, match="no incident at Do.2"):
            await verb("Do.2")
    with pytest.raises(VerbRefused, match="no incident at Do.2"):
        await handle.resolve(1, "Do.2")


async def test_resolve_with_what_cannot_be_written_down_is_refused(system: System) -> None:
    handle = await stuck_undo(system, World())
    with pytest.raises(VerbRefused, match="answer of undo/Do.1"):
        await handle.resolve(object())
    assert await handle.status() is Status.INCIDENT


@attrs.define
class Nowhere(Workflow[str]):
    """Its step goes to nobody."""

    id: str

    async def run(self) -> str:
        try:
            return await self.step(NoComponent())
        except StepFailed as error:
            return error.type


@attrs.frozen
class NoComponent(Ask):
    pass


async def test_a_step_that_nobody_handles_waits_for_a_decision(system: System) -> None:
    ref = await system.start(spec(shop(World(), Nowhere, types=[NoComponent])))
    handle = await start(ref, Nowhere("one"))
    assert await handle.status() is Status.INCIDENT
    (incident,) = await handle.incidents()
    assert incident.what.startswith("No component handles NoComponent. Handled are: CrashDriver, ")
    assert "SendSignal" not in incident.what, "the library's own verbs are none of a component"
    await handle.retry()
    await wait_all_tasks_blocked()
    assert await handle.status() is Status.INCIDENT
    await handle.skip()
    assert await handle.result() == "Skipped"
    other = await start(ref, Nowhere("two"))
    await other.resolve("by hand")
    assert await other.result() == "by hand"


async def test_fork_goes_another_way_from_before_an_outcome(system: System) -> None:
    world = World()
    world.refuse("second")
    ref = await system.start(spec(shop(world, Simple)))
    handle = await start(ref, Simple("one"))
    assert await handle.status() is Status.FAILED
    world.says.clear()
    forked = await handle.fork("two", at="Do.2")
    assert await forked.result() == "second done"
    assert await handle.status() is Status.FAILED
    assert world.names == ["first", "second", "-first", "second"]


async def test_fork_of_a_taken_id_is_a_conflict(system: System) -> None:
    ref = await system.start(spec(shop(World(), Simple, Waits)))
    handle = await start(ref, Simple("one"))
    await start(ref, Simple("two"))
    waiting = await start(ref, Waits("three"))
    with pytest.raises(StartConflict, match="'two'"):
        await handle.fork("two")
    with pytest.raises(StartConflict, match="'three' runs"):
        await waiting.fork()


async def test_fork_at_what_has_no_outcome_is_refused(system: System) -> None:
    ref = await system.start(spec(shop(World(), Simple)))
    handle = await start(ref, Simple("one"))
    with pytest.raises(VerbRefused, match="no outcome of a step 'Do.9'"):
        await handle.fork("two", at="Do.9")


@attrs.define
class Bounded(Workflow[str]):
    timeout = 60.0
    id: str

    async def run(self) -> str:
        await self.step(Do("first"))
        return await self.step(Do("second"))


async def test_a_fork_has_as_much_time_as_any_run(system: System, virtual_clock: Any) -> None:
    world = World()
    ref = await system.start(spec(shop(world, Bounded)))
    handle = await start(ref, Bounded("one"))
    virtual_clock.jump(3600)
    world.hold("second")
    forked = await handle.fork("two", at="Do.2")
    await wait_all_tasks_blocked()
    assert await forked.status() is Status.RUNNING
    world.answer("second")
    assert await forked.result() == "second done"


async def test_list_tells_of_runs_by_status_and_type_oldest_first(system: System) -> None:
    world = World()
    world.refuse("no")
    ref = await system.start(spec(shop(world, Simple, Waits)))
    for workflow in (Simple("a"), Simple("b", "no"), Waits("c")):
        await start(ref, workflow)
    rows = await ref.call(ListWorkflows())
    assert [(each.id, each.run, each.status) for each in rows] == [
        ("a", 1, "done"),
        ("b", 1, "failed"),
        ("c", 1, "waiting"),
    ]
    assert rows[0].started <= (rows[0].ended or 0)
    assert rows[2].ended is None
    assert [each.id for each in await ref.call(ListWorkflows(status="failed"))] == ["b"]
    assert [each.id for each in await ref.call(ListWorkflows(status="open"))] == ["c"]
    name = "tests.mediators.sagas:Simple"
    assert [each.id for each in await ref.call(ListWorkflows(type=name))] == ["a", "b"]
    assert [each.id for each in await ref.call(ListWorkflows(limit=1))] == ["a"]


async def test_list_shows_what_was_started_just_before(system: System) -> None:
    ref = await system.start(spec(shop(World(), Waits)))
    ref.cast(Start(Waits("one")))
    assert [each.id for each in await ref.call(ListWorkflows())] == ["one"]


async def test_history_tells_what_came_and_what_followed(system: System) -> None:
    ref = await system.start(spec(shop(World(), Simple)))
    handle = await start(ref, Simple("one"))
    entries = await handle.history()
    assert [each.kind for each in entries] == [
        "started",
        "intended",
        "completed",
        "intended",
        "completed",
        "ended",
    ]
    assert entries[1].path == "Do.1"
    assert "Do(name='first'" in entries[1].text


BAD: dict[str, Callable[[], Any]] = {
    "reason of cancel": lambda: Cancel("one", 5),  # type: ignore[arg-type]
    "reason of pause": lambda: Pause("one", 5),  # type: ignore[arg-type]
    "id of a signal": lambda: SendSignal("one", Ping(), 5),  # type: ignore[arg-type]
    "expires": lambda: SendSignal("one", Ping(), None, -1.0),
    "timeout": lambda: Start(Simple("one"), timeout=0),
    "expires as text": lambda: SendSignal("one", Ping(), None, "5"),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("what", BAD)
def test_what_could_not_be_read_back_is_refused_where_the_verb_is_made(what: str) -> None:
    with pytest.raises((TypeError, ValueError), match=r"Got|got"):
        BAD[what]()


async def test_what_cannot_be_written_down_is_its_senders_mistake(system: System) -> None:
    ref = await system.start(spec(shop(World(), Waits, Unwritable)))
    handle = await start(ref, Waits("one"))
    for message in (
        SendSignal("one", object()),
        Start(Unwritable("two", object())),
        Unwritable("three", object()),
    ):
        with pytest.raises(TypeError, match="Cannot write down"):
            await ref.call(message)
        ref.cast(message)
    await wait_all_tasks_blocked()
    assert ref.incarnation == 1
    assert await ref.call(GetStatus(handle.id)) is Status.WAITING


@attrs.define
class Unwritable(Workflow[str]):
    id: str
    what: Any

    async def run(self) -> str:
        return "done"
