"""S6: another spec for a child, in effect at its next start."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest
import trio

from actors import (
    MailboxFull,
    Ref,
    System,
)
from supervisors import (
    Backoff,
    Child,
    ChildRefused,
    GetChild,
    NoSuchChild,
    ReplaceChild,
    RestartChild,
    StopChild,
    one_for_one,
)
from tests.conformance.actors_for_tests import (
    Crash,
    Leave,
    Plain,
    Script,
    Who,
    child,
    settled,
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


async def test_S6_restart_child_starts_by_the_new_spec_too(system: System, script: Script) -> None:
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
