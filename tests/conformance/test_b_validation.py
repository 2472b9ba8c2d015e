"""B. Validation of child specs and of a supervisor's flags."""

from __future__ import annotations

from functools import partial
from math import inf, nan
from typing import Any

import pytest

from actors import Actor, StartFailed, System
from supervisors import (
    Child,
    ChildRefused,
    DynamicSupervisor,
    Flags,
    StartChild,
    Supervisor,
    WhichChildren,
    check_children,
    one_for_one,
)
from tests.conformance.actors_for_tests import (
    GROUPS,
    STRATEGIES,
    Plain,
    Script,
    counts,
    states,
    supervise,
    workers,
)

RESTARTS = ("permanent", "transient", "temporary")
SHUTDOWNS = (0, 1.0, inf, "kill")
AUTO_SHUTDOWNS = ("never", "any_significant", "all_significant")


class Quiet(Actor):
    """Does nothing."""


def refused(error: type[Exception], accepted: str, got: object) -> Any:
    """A refusal that says what is accepted and ends with what came."""
    return pytest.raises(error, match=rf"(?s){accepted}.*Got: .*{got}")


# -- specs


def test_B1_an_id_is_derived_where_it_is_missing() -> None:
    """Ours: a spec without id is no mistake, it is named for its class."""
    specs = check_children([Quiet, Child(Quiet), Child(Quiet, id="Quiet-2"), Child(Quiet)])
    assert [spec.id for spec in specs] == ["Quiet", "Quiet-3", "Quiet-2", "Quiet-4"]


def test_B1_nothing_to_start_is_refused() -> None:
    with pytest.raises(TypeError, match="cls"):
        Child()  # type: ignore[call-arg]


@pytest.mark.parametrize("rubbish", [42, None, "spec", {"id": "a"}, object, Quiet.on_start])
def test_B1_what_is_no_spec_is_refused(rubbish: object) -> None:
    with refused(TypeError, "Child", ""):
        check_children([rubbish])


async def test_B1_what_is_no_spec_is_refused_by_a_running_supervisor(
    system: System, script: Script
) -> None:
    for strategy in ("one_for_one", "dynamic"):
        supervisor, (ref,) = await supervise(system, strategy, *workers(Plain, script, "a"))
        with refused(ChildRefused, "Child", 42):
            await supervisor.call(StartChild(42))  # type: ignore[arg-type]
        assert ref.alive and await counts(supervisor) == (1, 1, 0, 1)


@pytest.mark.parametrize("restart", ["always", "Permanent", None, True, 1])
def test_B2_restart_is_one_of_three(restart: Any) -> None:
    with refused(ValueError, "'permanent', 'transient', 'temporary'", repr(restart)):
        Child(Quiet, restart=restart)


@pytest.mark.parametrize("shutdown", [-1, nan, "brutal_kill", "infinity", True, (1,)])
def test_B2_shutdown_is_seconds_infinity_or_kill(shutdown: Any) -> None:
    """Of the same kind: the other field of a spec with a choice in it."""
    with pytest.raises((TypeError, ValueError), match=r"shutdown.*Got: "):
        Child(Quiet, shutdown=shutdown)


def test_B4_the_kind_follows_from_the_class_and_cannot_be_given() -> None:
    """Ours: there is no type to get wrong."""
    assert Child(Quiet).kind == "worker"
    assert Child(Supervisor).kind == "supervisor"
    assert Child(partial(DynamicSupervisor, max_children=3)).kind == "supervisor"
    with pytest.raises(TypeError, match="kind"):
        Child(Quiet, kind="supervisor")  # type: ignore[call-arg]


@pytest.mark.parametrize("start", [42, "Quiet", None, Quiet(), (Quiet, []), object, dict])
def test_B5_what_is_started_is_an_actor_class(start: Any) -> None:
    with refused(TypeError, "actor class", ""):
        Child(start)


def test_B5_the_arguments_are_checked_where_the_spec_is_written() -> None:
    with pytest.raises(TypeError, match="Plain"):
        Child(Plain, Script())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="Quiet"):
        Child(Quiet, 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [{}, {"restart": "permanent"}])
def test_B7_a_significant_child_is_not_permanent(given: dict[str, Any]) -> None:
    with refused(ValueError, "significant.*'transient' or 'temporary'", "permanent"):
        Child(Quiet, significant=True, **given)
    assert not Child(Quiet, significant=False, **given).significant


@pytest.mark.parametrize("restart", ["transient", "temporary"])
def test_B7_the_others_may_be_significant(restart: Any) -> None:
    assert Child(Quiet, significant=True, restart=restart).significant


@pytest.mark.parametrize("restart", ["transient", "temporary"])
async def test_B8_a_significant_child_needs_auto_shutdown(
    system: System, script: Script, restart: str
) -> None:
    (spec,) = workers(Plain, script, "a", significant=True, restart=restart)
    with refused(ValueError, "'any_significant' or 'all_significant'", "never"):
        check_children([spec])
    for group in GROUPS.values():
        with refused(ValueError, "auto_shutdown", "never"):
            group(spec)

    class House(Supervisor):
        def children(self) -> list[Child[Any]]:
            return [spec]

    with pytest.raises(StartFailed) as caught:
        await system.start(House)
    assert isinstance(caught.value.__cause__, ValueError)

    supervisor, _ = await supervise(system, "one_for_one", *workers(Plain, script, "b"))
    with refused(ChildRefused, "auto_shutdown", "never"):
        await supervisor.call(StartChild(spec))
    assert await states(supervisor) == {"b": "up"}
    assert script.log == ["start b"]


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
async def test_B8_with_auto_shutdown_it_is_accepted(
    system: System, script: Script, auto_shutdown: str
) -> None:
    a, b = workers(Plain, script, "a b", significant=True, restart="transient")
    supervisor, _ = await supervise(system, "one_for_one", a, auto_shutdown=auto_shutdown)
    await supervisor.call(StartChild(b))
    assert await states(supervisor) == {"a": "up", "b": "up"}


@pytest.mark.parametrize("restart", RESTARTS)
@pytest.mark.parametrize("shutdown", SHUTDOWNS)
@pytest.mark.parametrize("cls", [Quiet, Supervisor])
async def test_B9_every_restart_goes_with_every_shutdown_and_kind(
    system: System, restart: Any, shutdown: Any, cls: type[Actor]
) -> None:
    spec = Child(cls, restart=restart, shutdown=shutdown)
    supervisor, (ref,) = await supervise(system, "one_for_one", spec)
    (info,) = await supervisor.call(WhichChildren())
    assert (info.spec.restart, info.spec.shutdown) == (restart, shutdown)
    assert ref.alive
    await supervisor.stop()
    assert ref.state == "gone"


def test_B10_two_children_with_one_id_are_refused() -> None:
    specs = [Child(Quiet, id="a"), Child(Quiet, id="b"), Child(Supervisor, id="a")]
    with refused(ValueError, "different ids", "'a'"):
        check_children(specs)
    for group in GROUPS.values():
        with refused(ValueError, "different ids", "'a'"):
            group(*specs)


async def test_B10_a_supervisor_with_such_children_does_not_start(
    system: System, script: Script
) -> None:
    class House(Supervisor):
        def children(self) -> list[Child[Any]]:
            return workers(Plain, script, "a b a")

    with pytest.raises(StartFailed, match="'a'") as caught:
        await system.start(House)
    assert isinstance(caught.value.__cause__, ValueError)
    assert script.log == []


def test_B11_specs_are_checked_without_starting_anything() -> None:
    script = Script()
    specs = workers(Plain, script, "a b")
    assert check_children(specs) == specs
    assert check_children([]) == []
    significant = workers(Plain, script, "c", significant=True, restart="temporary")
    assert check_children(significant, "any_significant") == significant
    with pytest.raises(ValueError, match="auto_shutdown"):
        check_children(significant, "never")
    assert script.log == []


@pytest.mark.parametrize("rubbish", [42, None, Child(Quiet), "children", Quiet])
def test_B11_it_takes_a_list(rubbish: Any) -> None:
    with refused(TypeError, "list of Child", ""):
        check_children(rubbish)


def test_B11_auto_shutdown_is_checked_too() -> None:
    with refused(ValueError, "'never', 'any_significant', 'all_significant'", "'sometimes'"):
        check_children([Quiet], "sometimes")  # type: ignore[arg-type]


def test_B12_an_unknown_keyword_is_refused() -> None:
    with pytest.raises(TypeError, match="silly"):
        Child(Quiet, silly=1)  # type: ignore[call-arg]
    with pytest.raises(TypeError, match="silly"):
        Flags(silly=1)  # type: ignore[call-arg]
    for group in GROUPS.values():
        with pytest.raises(TypeError, match="silly"):
            group(Quiet, silly=1)  # type: ignore[call-arg]


# -- flags


def flags_refused(accepted: str, got: object, **flags: Any) -> None:
    """Refused in every way a supervisor can be given its flags."""
    errors: Any = (TypeError, ValueError)
    with refused(errors, accepted, got):
        Flags(**flags)
    with refused(errors, accepted, got):
        type("House", (Supervisor,), flags)
    if "strategy" not in flags:
        for group in GROUPS.values():
            with refused(errors, accepted, got):
                group(Quiet, **flags)


@pytest.mark.parametrize("strategy", ["simple_one_for_one", "one_for_none", None, 1])
def test_B13_strategy_is_one_of_three(strategy: Any) -> None:
    flags_refused("'one_for_one', 'one_for_all', 'rest_for_one'", strategy, strategy=strategy)


async def test_B13_flags_set_by_an_instance_are_checked_at_its_start(system: System) -> None:
    class House(Supervisor):
        def __init__(self, name: str, value: object) -> None:
            setattr(self, name, value)

    wrong = {"strategy": "weird", "max_restarts": -1, "within": 0, "auto_shutdown": "maybe"}
    for name, value in wrong.items():
        with pytest.raises(StartFailed, match=f"{name}.*Got: ") as caught:
            await system.start(House, name, value)
        assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize("within", [0, -1, inf, nan, "5", None, True])
def test_B15_the_period_is_finite_and_more_than_nothing(within: Any) -> None:
    flags_refused("within", within, within=within)


@pytest.mark.parametrize("max_restarts", [-1, 1.5, inf, "3", None, True])
def test_B15_the_limit_is_a_natural_number(max_restarts: Any) -> None:
    """Of the same kind: the other half of the intensity."""
    flags_refused("max_restarts is an int of 0 or more", max_restarts, max_restarts=max_restarts)


@pytest.mark.parametrize("auto_shutdown", ["always", "any", None, False])
def test_B16_auto_shutdown_is_one_of_three(auto_shutdown: Any) -> None:
    flags_refused(
        "'never', 'any_significant', 'all_significant'", auto_shutdown, auto_shutdown=auto_shutdown
    )


@pytest.mark.parametrize("auto_shutdown", ["any_significant", "all_significant"])
async def test_B18_a_dynamic_supervisor_has_no_auto_shutdown(
    system: System, auto_shutdown: Any
) -> None:
    class Automatic(DynamicSupervisor):
        def __init__(self) -> None:
            super().__init__()
            self.auto_shutdown = auto_shutdown

    with pytest.raises(StartFailed, match=f"auto_shutdown='never'.*Got: .*{auto_shutdown}"):
        await system.start(Automatic)

    class Never(DynamicSupervisor):
        auto_shutdown = "never"

    assert (await system.start(Never)).alive


async def test_B20_defaults_are_three_restarts_within_five_seconds(
    system: System, script: Script
) -> None:
    flags = Flags()
    assert (flags.strategy, flags.max_restarts, flags.within, flags.auto_shutdown) == (
        "one_for_one",
        3,
        5.0,
        "never",
    )
    for cls in (Supervisor, DynamicSupervisor):
        assert (cls.strategy, cls.max_restarts, cls.within, cls.auto_shutdown) == (
            "one_for_one",
            3,
            5.0,
            "never",
        )
    for strategy in STRATEGIES:
        spec = GROUPS[strategy](*workers(Plain, script, "a"))
        assert spec.args[0] == Flags(strategy)  # type: ignore[arg-type]
    assert one_for_one().shutdown == inf
