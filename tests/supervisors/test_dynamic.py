"""Dynamic supervisors: children that come and go, known by their refs."""

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
    Crashed,
    Exit,
    Killed,
    Normal,
    Ref,
    Shutdown,
    StartFailed,
    System,
    handles,
)
from supervisors import (
    Backoff,
    Child,
    ChildCounts,
    ChildRefused,
    CountChildren,
    DeleteChild,
    DynamicSupervisor,
    GetChild,
    MaxChildren,
    NoSuchChild,
    ReplaceChild,
    RestartChild,
    RestartLimitExceeded,
    StartChild,
    StopChild,
    WhichChildren,
    one_for_one,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.frozen
class Do(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class DoSoon:
    function: Callable[[Any], object]


class Boom(Exception):
    pass


def boom(actor: Any) -> None:
    raise Boom


class Worker(Actor):
    def __init__(self, log: list[str] | None = None, pause: float = 0) -> None:
        self.log = [] if log is None else log
        self.pause = pause

    async def on_stop(self, exit: Exit) -> None:
        await trio.sleep(self.pause)
        self.log.append(f"{type(exit).__name__} after {trio.current_time():g} s")

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    def do_soon(self, message: DoSoon) -> None:
        message.function(self)


async def crash(ref: Ref[Any]) -> None:
    with pytest.raises(ActorDied):
        await ref.call(Do(boom))
    await wait_all_tasks_blocked()


async def dynamic(system: System, **flags: Any) -> Ref[DynamicSupervisor]:
    return await system.start(DynamicSupervisor, **flags)


async def test_it_begins_empty_and_takes_any_spec(system: System) -> None:
    top = await dynamic(system)
    assert await top.call(WhichChildren()) == []
    refs = [
        await top.call(StartChild(spec))
        for spec in (
            Child(Worker, id="same"),
            Child(Worker, id="same"),
            Child(Worker),
            one_for_one(Child(Worker)),
            Worker,  # type: ignore[arg-type]
        )
    ]
    infos = await top.call(WhichChildren())
    assert [each.ref for each in infos] == refs
    assert [each.id for each in infos[:2]] == ["same", "same"]
    assert len({ref.path for ref in refs[2:]}) == 3
    assert await top.call(CountChildren()) == ChildCounts(5, 5, 1, 4)


async def test_children_are_known_by_their_refs(system: System) -> None:
    top, other = await dynamic(system), await dynamic(system)
    ref = await top.call(StartChild(Child(Worker, id="a")))
    foreign = await other.call(StartChild(Child(Worker, id="a")))
    assert (await top.call(GetChild(ref))).ref == ref
    for key in ("a", foreign, 3):
        for message in (GetChild, StopChild):
            with pytest.raises(NoSuchChild, match="has no child"):
                await top.call(message(key))  # type: ignore[arg-type]
    await top.call(StopChild(ref))
    with pytest.raises(NoSuchChild):
        await top.call(StopChild(ref))
    assert ref.state == "gone"


async def test_it_keeps_no_specs_of_stopped_children(system: System) -> None:
    top = await dynamic(system)
    ref = await top.call(StartChild(Child(Worker)))
    for message in (RestartChild(ref), DeleteChild(ref), ReplaceChild(ref, Child(Worker))):
        with pytest.raises(ChildRefused, match="is a dynamic supervisor and keeps no specs"):
            await top.call(message)  # type: ignore[arg-type]
    assert ref.alive


async def test_S1_all_are_stopped_at_once_each_within_its_own_time(system: System) -> None:
    log: list[str] = []
    top = await dynamic(system)
    for pause, shutdown in ((1, 5.0), (2, 5.0), (9, 3.0), (20, float("inf")), (50, "kill")):
        await top.call(StartChild(Child(Worker, log, pause, shutdown=shutdown)))
    await top.stop()
    assert log == ["Shutdown after 1 s", "Shutdown after 2 s", "Shutdown after 20 s"]
    assert trio.current_time() == pytest.approx(20)


async def test_S1_a_kill_takes_all_of_them_at_once(system: System) -> None:
    log: list[str] = []
    top = await dynamic(system)
    refs = [await top.call(StartChild(Child(Worker, log, 5))) for _ in range(10)]
    await top.stop(Killed())
    assert log == []
    assert [await ref.wait() for ref in refs] == [Killed()] * 10
    assert {ref.state for ref in refs} == {"gone"}


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
@pytest.mark.parametrize("exit", [Normal(), Shutdown("x"), Killed(), "crash"], ids=str)
async def test_the_matrix_of_restart_types_and_exits(
    system: System, restart: Any, exit: Any
) -> None:
    top = await dynamic(system)
    ref = await top.call(StartChild(Child(Worker, restart=restart)))
    sibling = await top.call(StartChild(Child(Worker)))
    if exit == "crash":
        await crash(ref)
    else:
        await ref.stop(exit)
        await wait_all_tasks_blocked()
    orderly = isinstance(exit, Normal | Shutdown)
    comes_back = restart == "permanent" or (restart == "transient" and not orderly)
    assert (ref.state, ref.incarnation) == (("up", 2) if comes_back else ("gone", 1))
    assert len(await top.call(WhichChildren())) == 1 + comes_back
    assert sibling.incarnation == 1
    assert top.alive


async def test_S2_the_limit_is_that_of_all_its_children_together(system: System) -> None:
    top = await dynamic(system, max_restarts=2, within=10.0)
    refs = [await top.call(StartChild(Child(Worker))) for _ in range(3)]
    await crash(refs[0])
    await crash(refs[1])
    refs[2].cast(DoSoon(boom))
    exit = await top.wait()
    assert isinstance(exit, Crashed)
    assert isinstance(exit.exception, RestartLimitExceeded)
    assert "more than 2 restarts within 10.0 s" in str(exit.exception)
    assert {ref.state for ref in refs} == {"gone"}


async def test_S3_a_child_that_does_not_start_is_not_kept(system: System) -> None:
    class Fails(Worker):
        def on_start(self) -> None:
            raise Boom("plain")

    class FailsSlowly(Worker):
        async def on_start(self) -> None:
            await trio.sleep(1)
            raise Boom("async")

    top = await dynamic(system)
    for cls in (Fails, FailsSlowly):
        with pytest.raises(StartFailed) as caught:
            await top.call(StartChild(Child(cls, name="fails")))
        assert isinstance(caught.value.__cause__, Boom)
        assert system.whereis("fails") is None
    assert await top.call(CountChildren()) == ChildCounts(0, 0, 0, 0)
    assert top.alive


async def test_S3_a_child_that_fails_to_return_is_tried_again(system: System) -> None:
    failures = 2

    class Fails(Worker):
        def on_start(self) -> None:
            nonlocal failures
            if self.ref.incarnation > 1 and failures:
                failures -= 1
                raise Boom

    top = await dynamic(system, max_restarts=3)
    ref = await top.call(StartChild(Child(Fails)))
    await crash(ref)
    assert (ref.state, ref.incarnation) == ("up", 4)
    failures = 3
    await trio.sleep(10)
    ref.cast(DoSoon(boom))
    exit = await top.wait()
    assert isinstance(exit, Crashed)


async def test_S3_a_restarting_child_is_served_and_can_be_stopped(system: System) -> None:
    class Fails(Worker):
        def on_start(self) -> None:
            if self.ref.incarnation > 1:
                raise Boom

    top = await dynamic(system)
    ref = await top.call(StartChild(Child(Fails, backoff=Backoff(1, 1, jitter=0))))
    await crash(ref)
    assert (await top.call(GetChild(ref))).state == "restarting"
    assert await top.call(CountChildren()) == ChildCounts(1, 0, 0, 1)
    await trio.sleep(5)
    await top.call(StopChild(ref))
    incarnation = ref.incarnation
    await trio.sleep(20)
    assert (ref.state, ref.incarnation) == ("gone", incarnation)
    assert await top.call(WhichChildren()) == []


async def test_S8_children_with_a_backoff_are_paced_each_by_itself(system: System) -> None:
    top = await dynamic(system, max_restarts=0)
    one = await top.call(StartChild(Child(Worker, backoff=Backoff(1, 8, jitter=0))))
    two = await top.call(StartChild(Child(Worker, backoff=Backoff(4, 8, jitter=0))))
    await crash(one)
    await crash(two)
    await trio.sleep(2)
    assert (one.state, two.state) == ("up", "restarting")
    await crash(one)
    await trio.sleep(1.5)
    assert one.state == "restarting"
    await trio.sleep(1)
    assert (one.state, two.state) == ("up", "up")
    limited = await top.call(StartChild(Child(Worker, backoff=Backoff(1, 1, jitter=0, limit=1))))
    await crash(limited)
    await trio.sleep(2)
    limited.cast(DoSoon(boom))
    assert isinstance(await top.wait(), Crashed)


async def test_a_child_that_declines_is_not_kept(system: System) -> None:
    class Declines(Worker):
        def on_start(self) -> None:
            self.stop()

    class DeclinesSlowly(Worker):
        async def on_start(self) -> None:
            await trio.sleep(1)
            self.stop()

    class DeclinesLater(Worker):
        def on_start(self) -> None:
            if self.ref.incarnation > 1:
                self.stop()

    top = await dynamic(system)
    for cls in (Declines, DeclinesSlowly):
        assert (await top.call(StartChild(Child(cls)))).state == "gone"
    ref = await top.call(StartChild(Child(DeclinesLater)))
    await crash(ref)
    assert ref.state == "gone"
    assert await top.call(WhichChildren()) == []


# -- max_children


async def test_max_children_bounds_those_being_restarted_included(system: System) -> None:
    top = await dynamic(system, max_children=2)
    spec = Child(Worker, backoff=Backoff(10, 10, jitter=0))
    first, second = await top.call(StartChild(spec)), await top.call(StartChild(Child(Worker)))
    await crash(first)
    assert first.state == "restarting"
    with pytest.raises(MaxChildren, match="has 2 children, as many as it may") as caught:
        await top.call(StartChild(Child(Worker, id="third")))
    assert caught.value.child == "third"
    await top.call(StopChild(second))
    assert (await top.call(StartChild(Child(Worker)))).alive


async def test_no_children_at_all_may_be_allowed(system: System) -> None:
    top = await dynamic(system, max_children=0)
    with pytest.raises(MaxChildren):
        await top.call(StartChild(Child(Worker)))


async def test_a_child_that_ends_for_good_makes_room(system: System) -> None:
    top = await dynamic(system, max_children=1)
    for _ in range(3):
        ref = await top.call(StartChild(Child(Worker, restart="temporary")))
        await crash(ref)
    with pytest.raises(StartFailed):
        await top.call(StartChild(Child(partial_that_fails)))
    assert (await top.call(StartChild(Child(Worker)))).alive


def partial_that_fails() -> Worker:
    raise Boom


# -- what it takes


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ({"max_children": -1}, "max_children is an int of 0 or more, or None. Got: -1"),
        ({"max_children": True}, "max_children is an int of 0 or more, or None. Got: True"),
        ({"max_children": 1.5}, "Got: 1.5"),
        ({"max_restarts": -1}, "max_restarts is an int of 0 or more. Got: -1"),
        ({"within": 0}, "within (seconds) is more than 0. Got: 0"),
    ],
    ids=repr,
)
async def test_wrong_flags_fail_the_start(system: System, flags: Any, text: str) -> None:
    with pytest.raises(StartFailed) as caught:
        await dynamic(system, **flags)
    assert text in str(caught.value.__cause__)


@pytest.mark.parametrize(
    "flags", [{"strategy": "one_for_all"}, {"auto_shutdown": "any_significant"}], ids=repr
)
async def test_it_has_one_strategy_and_no_auto_shutdown(system: System, flags: Any) -> None:
    cls = type("Wrong", (DynamicSupervisor,), flags)
    with pytest.raises(StartFailed) as caught:
        await system.start(cls)
    assert "has strategy='one_for_one' and auto_shutdown='never'. Got: " in str(
        caught.value.__cause__
    )


@pytest.mark.parametrize(
    "spec",
    [3, object, Child(Worker, restart="transient", significant=True)],
    ids=["3", "object", "significant"],
)
async def test_what_is_no_spec_is_refused(system: System, spec: Any) -> None:
    top = await dynamic(system)
    with pytest.raises(ChildRefused, match="Got: "):
        await top.call(StartChild(spec))
    assert top.alive


async def test_flags_of_a_subclass(system: System) -> None:
    class Many(DynamicSupervisor):
        max_restarts = 1

        def on_start(self) -> None:
            self.started = True

    top = await system.start(Many)
    ref = await top.call(StartChild(Child(Worker)))
    await crash(ref)
    ref.cast(DoSoon(boom))
    assert isinstance(await top.wait(), Crashed)


async def test_a_dynamic_supervisor_stands_under_any_other(system: System) -> None:
    top = await system.start(
        one_for_one(Child(DynamicSupervisor, id="dynamic", name="dynamic"), restart="temporary")
    )
    sup = system.whereis("dynamic")
    assert sup is not None
    ref = await sup.call(StartChild(Child(Worker)))
    for _ in range(4):
        ref.cast(DoSoon(boom))
    await wait_all_tasks_blocked()
    assert (top.state, sup.state, sup.incarnation) == ("up", "up", 2)
    assert ref.state == "gone"
    assert await sup.call(WhichChildren()) == []


async def test_starting_and_stopping_many_is_about_linear(system: System) -> None:
    """Nothing looks at all the children: ten times as many turns, not a hundred times."""
    top = await dynamic(system, max_restarts=10**6)
    refs = [await top.call(StartChild(Child(Worker))) for _ in range(3000)]
    for ref in refs[::10]:
        ref.cast(DoSoon(boom))
    await wait_all_tasks_blocked()
    assert {ref.incarnation for ref in refs[::10]} == {2}
    for ref in refs:
        await top.call(StopChild(ref))
    assert await top.call(CountChildren()) == ChildCounts(0, 0, 0, 0)
