"""C. The administration of children."""

from __future__ import annotations

import time
from typing import Any

import pytest
import trio

from actors import Call, NoSuchActor, Ref, Shutdown, StartFailed, System
from supervisors import (
    AlreadyPresent,
    AlreadyStarted,
    Backoff,
    Child,
    ChildRefused,
    ChildRestarting,
    ChildRunning,
    CountChildren,
    DeleteChild,
    DynamicSupervisor,
    GetChild,
    NoSuchChild,
    ReplaceChild,
    RestartChild,
    StartChild,
    StopChild,
    Supervisor,
    WhichChildren,
    one_for_one,
)
from tests.conformance.actors_for_tests import (
    STRATEGIES,
    Awaiting,
    Boom,
    Crash,
    Exits,
    Leave,
    Plain,
    Script,
    Who,
    child,
    counts,
    settled,
    states,
    supervise,
    workers,
)


async def restarting(
    system: System, script: Script, worker: type[Plain], **spec: Any
) -> tuple[Ref[Any], Ref[Any]]:
    """A supervisor whose child "a" is to be restarted in an hour."""
    specs = workers(worker, script, "a", backoff=Backoff(3600, 3600, jitter=0), **spec)
    supervisor, (ref,) = await supervise(system, "one_for_one", *specs)
    ref.cast(Crash())
    await settled()
    assert ref.state == "restarting"
    script.take()
    return supervisor, ref


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_C1_an_id_that_is_running_is_refused_with_its_ref(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    supervisor, (ref,) = await supervise(system, strategy, *workers(worker, script, "a"))
    with pytest.raises(AlreadyStarted) as caught:
        await supervisor.call(StartChild(*workers(worker, script, "a")))
    assert caught.value.ref == ref and caught.value.child == "a"
    assert script.log == ["start a"]
    assert ref.incarnation == 1


async def test_C2_an_id_that_is_stopped_is_refused(
    system: System, script: Script, worker: type[Plain]
) -> None:
    supervisor, (ref,) = await supervise(system, "one_for_one", *workers(worker, script, "a"))
    await supervisor.call(StopChild("a"))
    with pytest.raises(AlreadyPresent) as caught:
        await supervisor.call(StartChild(*workers(worker, script, "a")))
    assert caught.value.ref == ref and caught.value.child == "a"
    assert ref.state == "stopped"
    assert script.log == ["start a", "stop a"]


async def test_C3_an_id_that_is_being_restarted_is_refused(
    system: System, script: Script, worker: type[Plain]
) -> None:
    supervisor, ref = await restarting(system, script, worker)
    with pytest.raises(AlreadyPresent, match="restarting") as caught:
        await supervisor.call(StartChild(*workers(worker, script, "a")))
    assert caught.value.ref == ref
    assert ref.state == "restarting" and script.log == []


@pytest.mark.parametrize("message", [StopChild, RestartChild, DeleteChild, GetChild])
async def test_C4_an_unknown_child_is_refused(
    system: System, script: Script, message: type[Call[Any]]
) -> None:
    supervisor, _ = await supervise(system, "one_for_one", *workers(Plain, script, "a"))
    with pytest.raises(NoSuchChild, match="'b'") as caught:
        await supervisor.call(message("b"))  # type: ignore[call-arg]
    assert caught.value.child == "b"
    with pytest.raises(NoSuchChild):
        await supervisor.call(ReplaceChild("b", *workers(Plain, script, "b")))
    assert await states(supervisor) == {"a": "up"}


async def test_C5_stopping_a_stopped_child_is_fine(
    system: System, script: Script, worker: type[Plain]
) -> None:
    supervisor, (ref,) = await supervise(system, "one_for_one", *workers(worker, script, "a"))
    for _ in range(3):
        await supervisor.call(StopChild("a"))
        assert ref.state == "stopped"
    assert script.log == ["start a", "stop a"]
    assert await counts(supervisor) == (1, 0, 0, 1)


@pytest.mark.parametrize("restart", ["permanent", "transient"])
async def test_C6_a_child_is_stopped_with_shutdown_and_its_spec_kept(
    system: System, script: Script, worker: type[Plain], restart: str
) -> None:
    exits = Exits(system)
    specs = workers(worker, script, "a", restart=restart)
    supervisor, (ref,) = await supervise(system, "one_for_one", *specs)
    await supervisor.call(StopChild("a"))
    assert exits.all == [("a", Shutdown())]
    (info,) = await supervisor.call(WhichChildren())
    assert (info.id, info.state, info.ref, info.spec) == ("a", "stopped", ref, specs[0])
    assert await counts(supervisor) == (1, 0, 0, 1)
    again = await supervisor.call(RestartChild("a"))
    assert again == ref and await again.call(Who()) == "a 2"
    assert script.log == ["start a", "stop a", "start a"]


async def test_C6_a_call_to_a_stopped_child_fails_at_once(
    system: System, script: Script, worker: type[Plain]
) -> None:
    supervisor, (ref,) = await supervise(system, "one_for_one", *workers(worker, script, "a"))
    await supervisor.call(StopChild("a"))
    before = trio.current_time()
    with pytest.raises(NoSuchActor, match="stopped"):
        await ref.call(Who())
    assert trio.current_time() == before


async def test_C7_stopping_a_temporary_child_removes_it(
    system: System, script: Script, worker: type[Plain]
) -> None:
    specs = workers(worker, script, "a", restart="temporary")
    supervisor, (ref,) = await supervise(system, "one_for_one", *specs)
    await supervisor.call(StopChild("a"))
    assert ref.state == "gone"
    assert await counts(supervisor) == (0, 0, 0, 0)
    with pytest.raises(NoSuchChild):
        await supervisor.call(RestartChild("a"))
    again = await supervisor.call(StartChild(*specs))
    assert again != ref and again.incarnation == 1


async def test_C7_a_supervisor_as_temporary_child_is_removed_with_its_children(
    system: System, script: Script, worker: type[Plain]
) -> None:
    inner = one_for_one(*workers(worker, script, "a b"), id="inner", restart="temporary")
    supervisor, (ref,) = await supervise(system, "one_for_one", inner)
    below = await child(ref, "a")
    await supervisor.call(StopChild("inner"))
    assert ref.state == below.state == "gone"
    assert await counts(supervisor) == (0, 0, 0, 0)
    assert script.log == ["start a", "start b", "stop b", "stop a"]


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_C8_a_child_that_is_stopped_is_not_restarted(
    system: System, script: Script, worker: type[Plain], strategy: str, restart: str
) -> None:
    a, c = workers(worker, script, "a c")
    (b,) = workers(worker, script, "b", restart=restart)
    supervisor, refs = await supervise(system, strategy, a, b, c, max_restarts=0)
    script.take()
    await supervisor.call(StopChild("b"))
    await settled()
    assert script.log == ["stop b"]
    assert refs[1].state == ("gone" if restart == "temporary" else "stopped")
    assert [refs[0].incarnation, refs[2].incarnation] == [1, 1]
    assert supervisor.alive


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_C8_not_even_if_it_crashes_while_it_stops(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    supervisor, _ = await supervise(
        system, strategy, *workers(worker, script, "a b c"), max_restarts=0
    )
    script.stop_raises.add("b")
    script.take()
    await supervisor.call(StopChild("b"))
    await settled()
    assert script.log == ["stop b"]
    assert await states(supervisor) == {"a": "up", "b": "stopped", "c": "up"}


async def test_C10_delete_child_by_the_state_of_the_child(
    system: System, script: Script, worker: type[Plain]
) -> None:
    supervisor, (ref,) = await supervise(system, "one_for_one", *workers(worker, script, "a"))
    with pytest.raises(ChildRunning) as caught:
        await supervisor.call(DeleteChild("a"))
    assert caught.value.ref == ref and ref.alive
    with pytest.raises(ChildRunning):
        await supervisor.call(RestartChild("a"))
    with pytest.raises(NoSuchChild):
        await supervisor.call(DeleteChild("b"))
    await supervisor.call(StopChild("a"))
    await supervisor.call(DeleteChild("a"))
    assert ref.state == "gone"
    assert await counts(supervisor) == (0, 0, 0, 0)


async def test_C10_delete_child_of_one_that_is_being_restarted(
    system: System, script: Script, worker: type[Plain]
) -> None:
    supervisor, ref = await restarting(system, script, worker)
    with pytest.raises(ChildRestarting) as caught:
        await supervisor.call(DeleteChild("a"))
    assert caught.value.ref == ref
    with pytest.raises(ChildRestarting):
        await supervisor.call(RestartChild("a"))
    await trio.sleep(3601)
    assert await ref.call(Who()) == "a 2"


async def test_C11_a_deleted_child_cannot_be_restarted_but_started_anew(
    system: System, script: Script, worker: type[Plain]
) -> None:
    specs = workers(worker, script, "a")
    supervisor, (ref,) = await supervise(system, "one_for_one", *specs)
    await supervisor.call(StopChild("a"))
    await supervisor.call(DeleteChild("a"))
    with pytest.raises(NoSuchChild):
        await supervisor.call(RestartChild("a"))
    again = await supervisor.call(StartChild(*specs))
    assert again != ref and again.incarnation == 1
    assert ref.state == "gone" and await child(supervisor, "a") == again


@pytest.mark.parametrize("message", [StopChild, RestartChild, DeleteChild, GetChild])
async def test_C12_a_static_child_goes_by_its_id_not_by_its_ref(
    system: System, script: Script, message: type[Call[Any]]
) -> None:
    supervisor, (ref,) = await supervise(system, "one_for_one", *workers(Plain, script, "a"))
    with pytest.raises(NoSuchChild):
        await supervisor.call(message(ref))  # type: ignore[call-arg]
    assert ref.alive and script.log == ["start a"]


async def test_C13_a_dynamic_child_goes_by_its_ref_not_by_its_id(
    system: System, script: Script
) -> None:
    """Ours: one refusal for whatever is no child, NoSuchChild."""
    supervisor, (ref,) = await supervise(system, "dynamic", *workers(Plain, script, "a"))
    with pytest.raises(NoSuchChild):
        await supervisor.call(StopChild("a"))
    (spec,) = workers(Plain, script, "a")
    for message in (RestartChild(ref), DeleteChild(ref), ReplaceChild(ref, spec)):
        with pytest.raises(ChildRefused, match="dynamic.*Got: "):
            await supervisor.call(message)
    assert ref.alive and script.log == ["start a"]


@pytest.mark.parametrize("shutdown", [5.0, "kill"])
@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_C14_a_dynamic_child_is_stopped_once_and_then_unknown(
    system: System, script: Script, worker: type[Plain], shutdown: object, restart: str
) -> None:
    """The side of Elixir: the second time there is no such child."""
    specs = workers(worker, script, "a", shutdown=shutdown, restart=restart)
    supervisor, (ref,) = await supervise(system, "dynamic", *specs)
    await supervisor.call(StopChild(ref))
    assert ref.state == "gone"
    assert await counts(supervisor) == (0, 0, 0, 0)
    with pytest.raises(NoSuchChild):
        await supervisor.call(StopChild(ref))
    await settled()
    assert script.log == ["start a"] + ["stop a"] * (shutdown != "kill")


@pytest.mark.parametrize("strategy", ["one_for_one", "dynamic"])
async def test_C16_a_supervisor_that_has_ended_answers_nothing(
    system: System, script: Script, strategy: str
) -> None:
    supervisor, (ref,) = await supervise(system, strategy, *workers(Plain, script, "a"))
    await supervisor.stop()
    messages: list[Call[Any]] = [
        StartChild(*workers(Plain, script, "b")),
        StopChild("a"),
        StopChild(ref),
        RestartChild("a"),
        DeleteChild("a"),
        GetChild("a"),
        ReplaceChild("a", *workers(Plain, script, "a")),
        WhichChildren(),
        CountChildren(),
    ]
    for message in messages:
        with pytest.raises(NoSuchActor):
            await supervisor.call(message)
    assert script.log == ["start a", "stop a"]


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_C17_children_are_listed_in_start_order(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    """Ours, as DESIGN says: the first started comes first, static and added ones alike."""
    supervisor, _ = await supervise(system, strategy, *workers(worker, script, "c a b"))
    for spec in workers(worker, script, "e d"):
        await supervisor.call(StartChild(spec))
    assert list(await states(supervisor)) == ["c", "a", "b", "e", "d"]
    await supervisor.call(StopChild("a"))
    await supervisor.call(RestartChild("a"))
    assert list(await states(supervisor)) == ["c", "a", "b", "e", "d"]
    (await child(supervisor, "e")).cast(Crash())
    await settled()
    assert list(await states(supervisor)) == ["c", "a", "b", "e", "d"]


async def test_C17_dynamic_children_are_listed_in_start_order(
    system: System, script: Script
) -> None:
    names = [f"worker{number}" for number in range(20)]
    supervisor, refs = await supervise(system, "dynamic", *workers(Plain, script, " ".join(names)))
    infos = await supervisor.call(WhichChildren())
    assert [info.ref for info in infos] == refs
    await supervisor.call(StopChild(refs.pop(3)))
    assert [info.ref for info in await supervisor.call(WhichChildren())] == refs


@pytest.mark.parametrize("rubbish", ["a", 42, None, object()])
async def test_C19_a_dynamic_child_is_asked_for_by_its_ref(
    system: System, script: Script, rubbish: Any
) -> None:
    supervisor, (ref,) = await supervise(system, "dynamic", *workers(Plain, script, "a"))
    with pytest.raises(NoSuchChild):
        await supervisor.call(GetChild(rubbish))
    info = await supervisor.call(GetChild(ref))
    assert (info.ref, info.kind, info.state) == (ref, "worker", "up")


@pytest.mark.parametrize("strategy", ["one_for_one", "dynamic"])
async def test_C20_children_being_restarted_count_but_not_as_active(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    specs = workers(worker, script, "a b c", backoff=Backoff(10, 10, jitter=0))
    supervisor, refs = await supervise(system, strategy, *specs)
    assert await counts(supervisor) == (3, 3, 0, 3)
    for ref in refs[:2]:
        ref.cast(Crash())
    await settled()
    assert await counts(supervisor) == (3, 1, 0, 3)
    await trio.sleep(11)
    assert await counts(supervisor) == (3, 3, 0, 3)
    refs[0].cast(Leave())
    await settled()
    assert await counts(supervisor) == (3, 2, 0, 3)


@pytest.mark.parametrize("strategy", ["one_for_one", "dynamic"])
async def test_C21_supervisors_are_counted_apart(
    system: System, script: Script, strategy: str
) -> None:
    supervisor, refs = await supervise(
        system,
        strategy,
        Child(Supervisor, id="a"),
        Child(DynamicSupervisor, id="b"),
        *workers(Plain, script, "c"),
    )
    assert await counts(supervisor) == (3, 3, 2, 1)
    assert [info.kind for info in await supervisor.call(WhichChildren())] == [
        "supervisor",
        "supervisor",
        "worker",
    ]
    await supervisor.call(StopChild(refs[0] if strategy == "dynamic" else "a"))
    assert await counts(supervisor) == ((2, 2, 1, 1) if strategy == "dynamic" else (3, 2, 2, 1))


async def seconds(system: System, strategy: str, count: int, spec: Child[Any]) -> float:
    """How long it takes to start and to end so many children."""
    supervisor, _ = await supervise(system, strategy)
    begin = time.perf_counter()
    refs = [await supervisor.call(StartChild(spec), timeout=None) for _ in range(count)]
    assert await counts(supervisor) == (count, count, 0, count)
    for ref in refs[: count // 2]:
        ref.cast(Leave())
    await settled()
    assert (await counts(supervisor))[0] == count - count // 2
    await supervisor.stop()
    return time.perf_counter() - begin


@pytest.mark.parametrize("strategy", ["one_for_one", "dynamic"])
async def test_C22_many_children_take_about_linear_time(system: System, strategy: str) -> None:
    """20,000 children take less than ten times of what is their share."""
    script = Script()
    spec = Child(Plain, script, "a", restart="temporary")
    small = min([await seconds(system, strategy, 1_000, spec) for _ in range(3)])
    large = await seconds(system, strategy, 20_000, spec)
    assert large < 10 * 20 * small


async def test_C22_many_static_children_take_about_linear_time(system: System) -> None:
    script = Script()

    async def run(count: int) -> float:
        specs = [Child(Plain, script, "a", id=f"worker{number}") for number in range(count // 2)]
        specs += [Child(Plain, script, "a")] * (count // 2)
        begin = time.perf_counter()
        supervisor, refs = await supervise(system, "one_for_one", *specs)
        assert len(refs) == count
        await supervisor.stop()
        return time.perf_counter() - begin

    small = min([await run(1_000) for _ in range(3)])
    assert await run(20_000) < 10 * 20 * small


# -- beside OTP's cases: what a failing request leaves behind


async def test_C11_a_failing_restart_by_request_keeps_the_spec(
    system: System, script: Script, worker: type[Plain]
) -> None:
    supervisor, (ref,) = await supervise(
        system, "one_for_one", *workers(worker, script, "a", name="a"), max_restarts=0
    )
    await supervisor.call(StopChild("a"))
    script.broken["a"] = 1
    with pytest.raises(StartFailed) as caught:
        await supervisor.call(RestartChild("a"))
    assert isinstance(caught.value.__cause__, Boom)
    assert ref.state == "stopped" and system.whereis("a") is None
    assert await supervisor.call(RestartChild("a")) == ref
    assert await ref.call(Who()) == "a 3" and system.whereis("a") == ref


@pytest.mark.parametrize("strategy", ["one_for_one", "dynamic"])
async def test_C1_a_failing_start_by_request_leaves_nothing(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    supervisor, _ = await supervise(system, strategy)
    script.broken["a"] = 1
    (spec,) = workers(worker, script, "a", name="a")
    with pytest.raises(StartFailed):
        await supervisor.call(StartChild(spec))
    assert system.whereis("a") is None
    assert await counts(supervisor) == (0, 0, 0, 0)
    ref = await supervisor.call(StartChild(spec))
    assert system.whereis("a") == ref
    assert script.log == ["start a", "start a"]


@pytest.mark.parametrize("strategy", ["one_for_one", "dynamic"])
async def test_C1_a_name_that_is_taken_is_refused(
    system: System, script: Script, worker: type[Plain], strategy: str
) -> None:
    owner = await system.start(Plain, script, "owner", name="a")
    supervisor, _ = await supervise(system, strategy)
    with pytest.raises(StartFailed, match="'a'") as caught:
        await supervisor.call(StartChild(*workers(worker, script, "b", name="a")))
    assert caught.value.ref == owner
    assert await counts(supervisor) == (0, 0, 0, 0)
    assert script.log == ["start owner"]


async def test_C10_a_child_that_is_starting_is_waited_for(system: System, script: Script) -> None:
    """The supervisor has one turn at a time: what is asked meanwhile comes after the start."""
    script.start_takes["a"] = 2
    supervisor, _ = await supervise(system, "one_for_one")
    results: list[object] = []

    async def start() -> None:
        results.append(await supervisor.call(StartChild(*workers(Awaiting, script, "a"))))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(start)
        await settled()
        assert results == []
        with pytest.raises(ChildRunning):
            await supervisor.call(DeleteChild("a"))
        ref = await child(supervisor, "a")
    assert results == [ref]
    assert trio.current_time() == 2
