"""I. Automatic shutdown and significant children."""

from __future__ import annotations

from typing import Any

import pytest

from actors import Crashed, Exit, Killed, Normal, Ref, Shutdown, System
from supervisors import (
    Backoff,
    Child,
    ChildRefused,
    GetChild,
    ReplaceChild,
    RestartChild,
    StartChild,
    StopChild,
)
from tests.conformance.actors_for_tests import (
    GROUPS,
    STRATEGIES,
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

MODES = ["any_significant", "all_significant"]
ORDERLY: list[Exit] = [Normal(), Shutdown(), Shutdown("done")]
FAILURES: list[Exit] = [Crashed(Boom()), Killed()]


async def end(ref: Ref[Any], exit: Exit) -> None:
    """Have an actor end so, and let its supervisor decide."""
    if isinstance(exit, Crashed):
        ref.cast(Crash())
    elif isinstance(exit, Killed):
        await ref.stop(exit)
    else:
        ref.cast(Leave(exit))
    await settled()


@pytest.mark.parametrize("mode", ["never", *MODES])
@pytest.mark.parametrize("exit", [*ORDERLY, *FAILURES], ids=str)
@pytest.mark.parametrize("restart", ["temporary", "transient"])
async def test_I2_the_end_of_an_insignificant_child_ends_nothing(
    system: System, script: Script, worker: type[Plain], restart: str, exit: Exit, mode: str
) -> None:
    """Temporary ones go, transient ones stay down when done and return when they failed."""
    a, b = workers(worker, script, "a b", restart=restart)
    supervisor, refs = await supervise(system, "one_for_one", a, b, auto_shutdown=mode)
    for ref in refs:
        await end(ref, exit)
    assert supervisor.alive
    failed = exit in FAILURES
    expected = {"temporary": "gone", "transient": "up" if failed else "stopped"}[restart]
    assert [ref.state for ref in refs] == [expected] * 2
    assert [ref.incarnation for ref in refs] == [2 if expected == "up" else 1] * 2


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("exit", [*ORDERLY, *FAILURES], ids=str)
async def test_I3_any_significant_temporary_child_that_ends_is_the_end(
    system: System, script: Script, worker: type[Plain], strategy: str, exit: Exit
) -> None:
    exits = Exits(system)
    (a,) = workers(worker, script, "a", restart="temporary", significant=True)
    b, c = workers(worker, script, "b c")
    supervisor, refs = await supervise(
        system, strategy, b, a, c, auto_shutdown="any_significant", id="top"
    )
    await end(refs[1], exit)
    assert [ref.state for ref in (supervisor, *refs)] == ["gone"] * 4
    assert [id for id in exits.ids if id != "a"] == ["c", "b", "top"]
    assert [ref.incarnation for ref in refs] == [1, 1, 1]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("restart", ["temporary", "transient"])
async def test_I4_a_significant_child_that_is_stopped_by_request_ends_nothing(
    system: System, script: Script, worker: type[Plain], restart: str, mode: str
) -> None:
    (a,) = workers(worker, script, "a", restart=restart, significant=True)
    (b,) = workers(worker, script, "b")
    supervisor, refs = await supervise(system, "one_for_one", a, b, auto_shutdown=mode)
    await supervisor.call(StopChild("a"))
    await settled()
    assert supervisor.alive and refs[1].alive and refs[0].incarnation == 1
    again = await supervisor.call(StartChild(a) if restart == "temporary" else RestartChild("a"))
    assert again.alive
    await end(again, Normal())
    assert supervisor.state == "gone"


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("exit", ORDERLY, ids=str)
async def test_I5_any_significant_transient_child_that_is_done_is_the_end(
    system: System, script: Script, worker: type[Plain], strategy: str, exit: Exit
) -> None:
    (a,) = workers(worker, script, "a", restart="transient", significant=True)
    (b,) = workers(worker, script, "b")
    supervisor, refs = await supervise(system, strategy, a, b, auto_shutdown="any_significant")
    await end(refs[0], exit)
    assert [ref.state for ref in (supervisor, *refs)] == ["gone"] * 3
    assert script.log == ["start a", "start b", "stop a", "stop b"]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("exit", FAILURES, ids=str)
async def test_I5_a_significant_transient_child_that_failed_is_restarted(
    system: System, script: Script, worker: type[Plain], strategy: str, exit: Exit, mode: str
) -> None:
    (a,) = workers(worker, script, "a", restart="transient", significant=True)
    (b,) = workers(worker, script, "b")
    supervisor, refs = await supervise(system, strategy, a, b, auto_shutdown=mode)
    await end(refs[0], exit)
    assert supervisor.alive and [ref.alive for ref in refs] == [True, True]
    assert refs[0].incarnation == 2


@pytest.mark.parametrize("exit", ORDERLY, ids=str)
@pytest.mark.parametrize("restart", ["temporary", "transient"])
async def test_I6_all_significant_children_must_have_ended(
    system: System, script: Script, worker: type[Plain], restart: str, exit: Exit
) -> None:
    specs = workers(worker, script, "a b", restart=restart, significant=True)
    (other,) = workers(worker, script, "c")
    supervisor, (a, b, c) = await supervise(
        system, "one_for_one", *specs, other, auto_shutdown="all_significant"
    )
    await end(a, exit)
    assert supervisor.alive and b.alive and c.alive
    await end(b, exit)
    assert [ref.state for ref in (supervisor, a, b, c)] == ["gone"] * 4


@pytest.mark.parametrize("exit", FAILURES, ids=str)
async def test_I6_a_failure_of_temporary_children_is_an_end_too(
    system: System, script: Script, worker: type[Plain], exit: Exit
) -> None:
    specs = workers(worker, script, "a b", restart="temporary", significant=True)
    supervisor, (a, b) = await supervise(
        system, "one_for_one", *specs, auto_shutdown="all_significant"
    )
    await end(a, exit)
    assert supervisor.alive
    await end(b, exit)
    assert supervisor.state == "gone"


async def test_I6_a_child_stopped_by_request_is_not_waited_for(
    system: System, script: Script, worker: type[Plain]
) -> None:
    specs = workers(worker, script, "a b", restart="transient", significant=True)
    supervisor, (_, b) = await supervise(
        system, "one_for_one", *specs, auto_shutdown="all_significant"
    )
    await supervisor.call(StopChild("a"))
    assert supervisor.alive
    await end(b, Normal())
    assert supervisor.state == "gone"


async def test_I6_a_child_that_is_being_restarted_has_not_ended(
    system: System, script: Script, worker: type[Plain]
) -> None:
    """Beside OTP's case, as in its source: one in the state *restarting* is active."""
    specs = workers(
        worker, script, "a b", restart="transient", significant=True, backoff=Backoff(60, 60)
    )
    supervisor, (a, b) = await supervise(
        system, "one_for_one", *specs, auto_shutdown="all_significant"
    )
    await end(a, Crashed(Boom()))
    assert a.state == "restarting"
    await end(b, Normal())
    assert supervisor.alive
    await supervisor.call(StopChild("a"))
    assert supervisor.alive


@pytest.mark.parametrize("mode", MODES)
async def test_I7_the_rest_is_stopped_in_reverse_and_the_supervisor_ends_with_shutdown(
    system: System, script: Script, worker: type[Plain], mode: str
) -> None:
    exits = Exits(system)
    a, c = workers(worker, script, "a c")
    (b,) = workers(worker, script, "b", restart="transient", significant=True)
    supervisor, refs = await supervise(system, "one_for_one", a, b, c, auto_shutdown=mode, id="top")
    await end(refs[1], Normal())
    assert exits.ids == ["b", "c", "a", "top"]
    assert exits.of("a") == exits.of("c") == [Shutdown()]
    exit = await supervisor.wait()
    assert isinstance(exit, Shutdown)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize("restart", ["temporary", "transient"])
async def test_I8_significant_bystanders_of_a_restart_do_not_count(
    system: System, script: Script, worker: type[Plain], restart: str, strategy: str, mode: str
) -> None:
    (a,) = workers(worker, script, "a")
    b, c = workers(worker, script, "b c", restart=restart, significant=True)
    supervisor, refs = await supervise(system, strategy, a, b, c, auto_shutdown=mode)
    await end(refs[0], Crashed(Boom()))
    assert supervisor.alive and refs[0].incarnation == 2
    others = {name: state for name, state in (await states(supervisor)).items() if name != "a"}
    if strategy == "one_for_one":
        assert others == {"b": "up", "c": "up"}
        assert [ref.incarnation for ref in refs[1:]] == [1, 1]
    elif restart == "temporary":
        assert others == {}
    else:
        assert others == {"b": "up", "c": "up"}
        assert [ref.incarnation for ref in refs[1:]] == [2, 2]


@pytest.mark.parametrize("mode", MODES)
async def test_I9_an_automatic_shutdown_goes_up(
    system: System, script: Script, worker: type[Plain], mode: Any
) -> None:
    exits = Exits(system)
    (a,) = workers(worker, script, "a", restart="transient", significant=True)
    (b,) = workers(worker, script, "b")
    inner = GROUPS["one_for_one"](
        a, b, auto_shutdown=mode, id="inner", restart="transient", significant=True
    )
    (c,) = workers(worker, script, "c")
    top, (middle, _) = await supervise(
        system, "one_for_one", inner, c, auto_shutdown=mode, id="top"
    )
    await end(await child(middle, "a"), Normal())
    assert exits.ids == ["a", "b", "inner", "c", "top"]
    assert top.state == middle.state == "gone"


async def test_I9_unless_the_supervisor_below_is_permanent(
    system: System, script: Script, worker: type[Plain]
) -> None:
    """Beside OTP's case: then it is restarted."""
    (a,) = workers(worker, script, "a", restart="transient", significant=True)
    inner = GROUPS["one_for_one"](a, auto_shutdown="any_significant", id="inner")
    top, (middle,) = await supervise(system, "one_for_one", inner)
    await end(await child(middle, "a"), Normal())
    assert top.alive and middle.incarnation == 2
    assert (await child(middle, "a")).alive


async def test_I11_to_I17_the_significance_of_a_child_can_be_changed(
    system: System, script: Script, worker: type[Plain]
) -> None:
    """S6: a spec is replaced by ReplaceChild and takes effect at the next restart, not before."""
    a, b = workers(worker, script, "a b", restart="transient")
    (significant,) = workers(worker, script, "a", restart="transient", significant=True)
    supervisor, (ref, _) = await supervise(
        system, "one_for_one", a, b, auto_shutdown="any_significant"
    )
    await supervisor.call(ReplaceChild("a", significant))
    assert not (await supervisor.call(GetChild("a"))).spec.significant
    assert ref.incarnation == 1
    await end(ref, Normal())
    assert supervisor.alive and ref.state == "stopped"
    await supervisor.call(RestartChild("a"))
    assert (await supervisor.call(GetChild("a"))).spec.significant
    await supervisor.call(ReplaceChild("a", a))
    await end(ref, Crashed(Boom()))
    assert ref.incarnation == 3
    await end(ref, Normal())
    assert supervisor.alive
    await supervisor.call(ReplaceChild("a", significant))
    await supervisor.call(RestartChild("a"))
    await end(ref, Normal())
    assert supervisor.state == "gone"


async def test_I11_to_I17_bad_combinations_are_refused_and_change_nothing(
    system: System, script: Script, worker: type[Plain]
) -> None:
    (a,) = workers(worker, script, "a", restart="transient")
    (significant,) = workers(worker, script, "a", restart="transient", significant=True)
    supervisor, (ref,) = await supervise(system, "one_for_one", a)
    with pytest.raises(ChildRefused, match=r"auto_shutdown.*Got: "):
        await supervisor.call(ReplaceChild("a", significant))
    with pytest.raises(ChildRefused, match="'a'.*Got: 'b'"):
        await supervisor.call(ReplaceChild("a", *workers(worker, script, "b")))
    await end(ref, Crashed(Boom()))
    assert await counts(supervisor) == (1, 1, 0, 1)
    assert (await supervisor.call(GetChild("a"))).spec == a


async def test_I11_to_I17_a_replaced_spec_brings_its_class_and_its_name(
    system: System, script: Script, worker: type[Plain]
) -> None:
    """Beside OTP's cases: everything in a spec can be replaced but the id."""
    (a,) = workers(worker, script, "a", name="old")
    supervisor, (ref,) = await supervise(system, "one_for_one", a)
    await supervisor.call(ReplaceChild("a", Child(Plain, script, "other", name="new")))
    assert await ref.call(Who()) == "a 1"
    assert system.whereis("old") == ref and system.whereis("new") is None
    await end(ref, Crashed(Boom()))
    assert await ref.call(Who()) == "other 2" and ref.name == "new"
    assert system.whereis("old") is None and system.whereis("new") == ref
