"""Supervisors where they differ from OTP, and what their administration leaves."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from actors import (
    Crashed,
    MailboxFull,
    NoSuchActor,
    Normal,
    Ref,
    StartFailed,
    System,
    open_system,
)
from actors.telemetry import DeadLetter
from supervisors import (
    AlreadyPresent,
    Backoff,
    Child,
    ChildExited,
    ChildRefused,
    ChildRestarted,
    ChildRestarting,
    DeleteChild,
    GaveUp,
    GetChild,
    NoSuchChild,
    ReplaceChild,
    RestartChild,
    RestartLimitExceeded,
    StartChild,
    StopChild,
    Supervisor,
    one_for_one,
)
from tests.conformance.actors_for_tests import (
    STRATEGIES,
    Awaiting,
    Boom,
    Crash,
    Leave,
    Plain,
    Script,
    Who,
    child,
    settled,
    states,
    supervise,
    workers,
)


@pytest.fixture
def script() -> Script:
    return Script()


def paced(seconds: float, **more: Any) -> Backoff:
    return Backoff(seconds, seconds, jitter=0, **more)


async def crash(ref: Ref[Any]) -> None:
    ref.cast(Crash())
    await settled()


# -- S8: backoff


async def test_S8_a_paced_group_is_left_alone_until_its_delay_is_over(
    system: System, script: Script
) -> None:
    """The supervisor serves its inbox meanwhile."""
    a, b = workers(Plain, script, "a b", backoff=paced(10))
    supervisor, refs = await supervise(system, "one_for_all", a, b)
    script.take()
    await crash(refs[0])
    assert await states(supervisor) == {"a": "restarting", "b": "restarting"}
    assert script.take() == ["stop a", "stop b"]
    with pytest.raises(ChildRestarting):
        await supervisor.call(RestartChild("b"))
    with pytest.raises(AlreadyPresent):
        await supervisor.call(StartChild(a))
    await trio.sleep(10.5)
    assert script.take() == ["start a", "start b"]
    assert await states(supervisor) == {"a": "up", "b": "up"}


async def test_S8_a_member_stopped_by_api_while_its_group_waits_does_not_return(
    system: System, script: Script
) -> None:
    a, b, c = workers(Plain, script, "a b c", backoff=paced(10))
    supervisor, refs = await supervise(system, "one_for_all", a, b, c)
    await crash(refs[0])
    await supervisor.call(StopChild("b"))
    await trio.sleep(11)
    assert await states(supervisor) == {"a": "up", "b": "stopped", "c": "up"}


async def test_S8_a_member_deleted_while_its_group_waits_is_forgotten(
    system: System, script: Script
) -> None:
    a, b = workers(Plain, script, "a b", backoff=paced(10))
    supervisor, refs = await supervise(system, "one_for_all", a, b)
    await crash(refs[0])
    await supervisor.call(StopChild("b"))
    await supervisor.call(DeleteChild("b"))
    await trio.sleep(11)
    assert await states(supervisor) == {"a": "up"}


async def test_S8_the_child_that_failed_sets_the_delay_of_its_group(
    system: System, script: Script
) -> None:
    (a,) = workers(Plain, script, "a", backoff=paced(5))
    (b,) = workers(Plain, script, "b", backoff=paced(50))
    supervisor, (_, ref) = await supervise(system, "rest_for_one", a, b, max_restarts=0)
    await crash(ref)
    await trio.sleep(49)
    assert await states(supervisor) == {"a": "up", "b": "restarting"}
    await trio.sleep(2)
    assert ref.alive


async def test_S8_a_child_that_is_earlier_in_a_group_fails_while_a_later_one_waits(
    system: System, script: Script
) -> None:
    """Its own restart takes the waiting one along; the delay that is left comes to nothing."""
    (a,) = workers(Plain, script, "a")
    (b,) = workers(Plain, script, "b", backoff=paced(10))
    supervisor, (first, second) = await supervise(system, "rest_for_one", a, b)
    await crash(second)
    await trio.sleep(1)
    script.take()
    await crash(first)
    assert script.take() == ["stop a", "start a", "start b"]
    assert await states(supervisor) == {"a": "up", "b": "up"}
    await trio.sleep(20)
    assert script.take() == [] and second.incarnation == 2


async def test_S8_a_start_that_fails_at_a_restart_is_paced_as_well(
    system: System, script: Script
) -> None:
    (a,) = workers(Plain, script, "a", backoff=paced(10, limit=3))
    supervisor, (ref,) = await supervise(system, "one_for_one", a, max_restarts=0)
    script.broken["a"] = 2
    await crash(ref)
    await trio.sleep(29)
    assert (ref.state, supervisor.alive) == ("restarting", True)
    await trio.sleep(2)
    assert (ref.state, ref.incarnation) == ("up", 4)


async def test_S8_the_limit_counts_failed_starts_too(system: System, script: Script) -> None:
    (a,) = workers(Plain, script, "a", backoff=paced(1, limit=2))
    supervisor, (ref,) = await supervise(system, "one_for_one", a, max_restarts=0)
    script.broken["a"] = 5
    ref.cast(Crash())
    exit = await supervisor.wait()
    assert isinstance(exit, Crashed) and isinstance(exit.exception, RestartLimitExceeded)
    assert isinstance(exit.exception.__cause__, StartFailed)
    assert trio.current_time() == 2


async def test_S8_calls_wait_for_the_delay_and_fail_if_it_does_not_end_well(
    system: System, script: Script
) -> None:
    (a,) = workers(Plain, script, "a", backoff=paced(3, limit=1))
    _, (ref,) = await supervise(system, "one_for_one", a)
    ref.cast(Crash())
    assert await ref.call(Who()) == "a 2"
    assert trio.current_time() == 3
    script.broken["a"] = 1
    ref.cast(Crash())
    with pytest.raises(NoSuchActor):
        await ref.call(Who())


async def test_S8_backoff_and_count_stand_side_by_side(system: System, script: Script) -> None:
    (a,) = workers(Plain, script, "a", backoff=paced(0))
    (b,) = workers(Plain, script, "b")
    supervisor, (paced_one, counted) = await supervise(
        system, "one_for_one", a, b, max_restarts=2
    )
    for _ in range(10):
        await crash(paced_one)
        await trio.sleep(0.01)
    for _ in range(2):
        await crash(counted)
    assert supervisor.alive and paced_one.incarnation == 11
    await crash(counted)
    assert not supervisor.alive


# -- S6: another spec for a child


async def test_S6_a_replaced_spec_takes_effect_at_the_next_restart(
    system: System, script: Script
) -> None:
    (a,) = workers(Plain, script, "a", name="old")
    supervisor, (ref,) = await supervise(system, "one_for_one", a)
    other = Child(Plain, script, "z", name="new", restart="transient")
    await supervisor.call(ReplaceChild("a", other))
    assert (await supervisor.call(GetChild("a"))).spec == a
    assert await ref.call(Who()) == "a 1"
    assert (system.whereis("old"), system.whereis("new")) == (ref, None)
    await crash(ref)
    assert await ref.call(Who()) == "z 2"
    assert (system.whereis("old"), system.whereis("new")) == (None, ref)
    info = await supervisor.call(GetChild("a"))
    assert (info.id, info.spec.restart, info.restarts) == ("a", "transient", 1)
    ref.cast(Leave())
    await settled()
    assert ref.state == "stopped"


async def test_S6_the_restart_it_is_decided_by_is_still_the_old_one(
    system: System, script: Script
) -> None:
    (a,) = workers(Plain, script, "a")
    supervisor, (ref,) = await supervise(system, "one_for_one", a)
    await supervisor.call(ReplaceChild("a", Child(Plain, script, "a", restart="transient")))
    ref.cast(Leave())
    await settled()
    assert (ref.state, ref.incarnation) == ("up", 2)
    ref.cast(Leave())
    await settled()
    assert ref.state == "stopped"


async def test_S6_restart_child_starts_by_the_new_spec_too(
    system: System, script: Script
) -> None:
    (a,) = workers(Plain, script, "a")
    supervisor, (ref,) = await supervise(system, "one_for_one", a)
    await supervisor.call(StopChild("a"))
    await supervisor.call(ReplaceChild("a", Child(Plain, script, "z")))
    assert await supervisor.call(RestartChild("a")) == ref
    assert await ref.call(Who()) == "z 2"


async def test_S6_a_group_restart_brings_it_too_and_the_last_replacement_counts(
    system: System, script: Script
) -> None:
    a, b = workers(Plain, script, "a b")
    supervisor, (first, second) = await supervise(system, "one_for_all", a, b)
    for name in "xy":
        await supervisor.call(ReplaceChild("b", Child(Plain, script, name)))
    await crash(first)
    assert await second.call(Who()) == "y 2"


async def test_S6_a_new_bound_of_the_mailbox_holds_from_the_restart(
    system: System, script: Script
) -> None:
    (a,) = workers(Plain, script, "a", backoff=paced(10))
    supervisor, (ref,) = await supervise(system, "one_for_one", a)
    other = Child(Plain, script, "a", mailbox=1, backoff=paced(10))
    await supervisor.call(ReplaceChild("a", other))
    await crash(ref)
    for _ in range(3):
        ref.cast("waits")
    await trio.sleep(10)
    await crash(ref)
    ref.cast("waits")
    with pytest.raises(MailboxFull):
        ref.cast("does not fit")


@pytest.mark.parametrize(
    ("spec", "complaint"),
    [
        ("rubbish", "A child is a Child"),
        (partial(Child, id="b"), "keeps its id 'a'"),
        (partial(Child, significant=True, restart="transient"), "auto_shutdown='never'"),
    ],
    ids=["rubbish", "another id", "significant"],
)
async def test_S6_a_spec_that_does_not_fit_is_refused(
    system: System, script: Script, spec: Any, complaint: str
) -> None:
    supervisor, (ref,) = await supervise(system, "one_for_one", *workers(Plain, script, "a"))
    spec = spec(Plain, script, "z") if callable(spec) else spec
    with pytest.raises(ChildRefused, match=complaint) as caught:
        await supervisor.call(ReplaceChild("a", spec))
    assert "Got: " in str(caught.value)
    await crash(ref)
    assert await ref.call(Who()) == "a 2"


async def test_S6_so_is_a_spec_for_nobody(system: System, script: Script) -> None:
    supervisor, _ = await supervise(system, "one_for_one")
    with pytest.raises(NoSuchChild):
        await supervisor.call(ReplaceChild("a", *workers(Plain, script, "a")))


async def test_S6_a_supervisor_that_returns_has_forgotten_the_change(
    system: System, script: Script
) -> None:
    inner = one_for_one(*workers(Plain, script, "a", name="a"), id="inner", max_restarts=0)
    outer, _ = await supervise(system, "one_for_one", inner)
    ref = system.whereis("a")
    assert ref is not None
    await (await child(outer, "inner")).call(ReplaceChild("a", Child(Plain, script, "z")))
    await crash(ref)
    assert await ref.call(Who()) == "a 2"


async def test_S6_a_name_that_is_taken_meanwhile_fails_the_restart_until_it_is_free(
    system: System, script: Script
) -> None:
    (a,) = workers(Plain, script, "a", backoff=paced(1))
    supervisor, (ref,) = await supervise(system, "one_for_one", a)
    other = await system.start(Plain, script, "other", name="taken")
    spec = Child(Plain, script, "a", name="taken", backoff=paced(1))
    await supervisor.call(ReplaceChild("a", spec))
    await crash(ref)
    await trio.sleep(2.5)
    assert (ref.state, system.whereis("taken")) == ("restarting", other)
    await other.stop()
    await trio.sleep(1)
    assert (ref.state, system.whereis("taken")) == ("up", ref)


# -- what a supervisor reports


async def test_K21_what_it_decides_is_announced(system: System, script: Script) -> None:
    seen: list[Any] = []
    system.telemetry.listen(seen.append, ChildExited, ChildRestarted, GaveUp)
    supervisor, (ref,) = await supervise(
        system, "one_for_one", *workers(Plain, script, "a"), max_restarts=1
    )
    for _ in range(2):
        await crash(ref)
    decisions = [(type(each).__name__, getattr(each, "decision", None)) for each in seen]
    assert decisions == [
        ("ChildExited", "restart"),
        ("ChildRestarted", None),
        ("ChildExited", "restart"),
        ("GaveUp", None),
        # Of the dynamic supervisor above.
        ("ChildExited", "remove"),
    ]
    assert {each.supervisor for each in seen[:4]} == {supervisor}
    assert seen[0].child == seen[1].child == ref
    assert isinstance(seen[0].exit.exception, Boom)
    assert seen[1].restarts == 1


async def test_K21_events_of_children_rise_through_supervisors(
    system: System, script: Script
) -> None:
    letters: list[DeadLetter] = []
    system.telemetry.listen(letters.append, DeadLetter)

    class Notifies(Plain):
        def on_ready(self) -> None:
            self.notify("news")

    await supervise(system, "one_for_one", one_for_one(Child(Notifies, script, "a")))
    await settled()
    assert [letter.message for letter in letters] == ["news"]


# -- S9 and the edges of open_system


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_S9_a_root_that_gives_up_cancels_the_body_and_leaves_as_that_exception(
    script: Script, strategy: Any
) -> None:
    events: list[str] = []

    class Root(Supervisor):
        max_restarts = 0

        def children(self) -> list[Child[Any]]:
            return workers(Plain, script, "a b", name=None)

    Root.strategy = strategy
    with pytest.raises(RestartLimitExceeded) as caught:
        async with open_system(Root, watchdog=None) as system:
            (root,) = system.root.places
            try:
                await crash(await child(root.ref, "a"))
                await trio.sleep_forever()
            except trio.Cancelled:
                events.append("cancelled")
                raise
    assert events == ["cancelled"]
    assert caught.value.child == "a"
    assert isinstance(caught.value.__cause__, Boom)
    assert script.log == ["start a", "start b", "stop a", "stop b"]


async def test_S9_what_the_body_makes_of_its_cancellation_does_not_hide_it(
    script: Script,
) -> None:
    class Root(Supervisor):
        max_restarts = 0

        def children(self) -> list[Child[Any]]:
            return workers(Plain, script, "a", name="a")

    with pytest.raises(RestartLimitExceeded):
        async with open_system(Root, watchdog=None) as system:
            ref = system.whereis("a")
            assert ref is not None
            try:
                await crash(ref)
                await trio.sleep_forever()
            finally:
                raise KeyError("while cleaning up")


@pytest.mark.parametrize("nested", [False, True])
async def test_S9_an_exception_of_the_body_leaves_bare_and_everything_stops(
    script: Script, nested: bool
) -> None:
    error = KeyError("mine")
    with pytest.raises(KeyError) as caught:
        async with open_system(watchdog=None) as system:
            for name in "ab":
                await system.start(Child(Awaiting, script, name))
            if nested:
                await trio.sleep(1)
            raise error
    assert caught.value is error
    assert sorted(script.log[2:]) == ["stop a", "stop b"]


async def test_S9_a_root_whose_start_fails_leaves_as_its_start_failed(script: Script) -> None:
    script.broken["b"] = 1
    with pytest.raises(StartFailed, match="'b' failed"):
        async with open_system(one_for_one(*workers(Plain, script, "a b"))):
            raise AssertionError("never")
    assert script.log == ["start a", "start b", "stop a"]


async def test_S9_a_root_that_is_done_leaves_the_body_alone(script: Script) -> None:
    spec = workers(Plain, script, "a", name="a", restart="transient", significant=True)
    async with open_system(
        one_for_one(*spec, auto_shutdown="any_significant"), watchdog=None
    ) as system:
        (root,) = system.root.places
        ref = system.whereis("a")
        assert ref is not None
        ref.cast(Leave(Normal()))
        await settled()
        assert root.state == "gone"
        assert (await system.start(Plain, script, "b")).alive


# -- S1, S5: order and what returns


async def test_S5_temporary_siblings_in_a_group_that_waits_are_gone_at_once(
    system: System, script: Script
) -> None:
    (a,) = workers(Plain, script, "a", backoff=paced(10))
    (b,) = workers(Plain, script, "b", restart="temporary")
    supervisor, (first, second) = await supervise(system, "one_for_all", a, b)
    await crash(first)
    assert second.state == "gone"
    assert await states(supervisor) == {"a": "restarting"}


async def test_S3_the_inbox_is_served_between_two_attempts(
    system: System, script: Script
) -> None:
    """An attempt that fails again and again leaves room for StopChild."""
    script.start_takes["a"] = 1
    (a,) = workers(Awaiting, script, "a")
    supervisor, (ref,) = await supervise(system, "one_for_one", a, max_restarts=1000)
    script.broken["a"] = 1000
    ref.cast(Crash())
    await trio.sleep(3.5)
    await supervisor.call(StopChild("a"))
    assert ref.state == "stopped"
    assert trio.current_time() < 6
    await trio.sleep(10)
    assert ref.state == "stopped"
