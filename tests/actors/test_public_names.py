"""What is public is what a package exports, and nothing else."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

import actors
import actors.testing
import supervisors
import supervisors.testing

PUBLIC = {
    "actors": """
        Actor ActorDied ActorError ActorTimer Call CallCycle CallTimeout Crashed Down Envelope Exit
        Idle Killed Later MailboxFull Middleware Monitor Next NoSuchActor Normal Process
        ProcessDied Ref RemoteError Refusal Shutdown StartFailed Startable State StateMachine
        System Unhandled enter handles is_orderly open_system state_function
    """,
    "supervisors": """
        AlreadyPresent AlreadyStarted Backoff Child ChildCounts ChildExited ChildInfo ChildRefused
        ChildRestarted ChildRestarting ChildRunning CountChildren DeleteChild DropPoison
        DynamicSupervisor Flags GaveUp GetChild GetPoison GetPool GetShards HostInfo MaxChildren
        MessagePoisoned NoKey NoSuchChild NoSuchPoison OperationInfo PoisonMessage Poisoned Pool
        PoolInfo ReplaceChild Resize RestartChild RestartLimitExceeded RetryPoison SetLimit SetSize
        Shards ShardsInfo StartChild StillMoving StopChild
        Supervisor WhichChildren WorkerInfo check_children one_for_all one_for_one rest_for_one run
    """,
    "actors.testing": """
        START Probe VirtualClock dead_letters leftovers no_leaks probe_of task_count tasks
        without_caller_turns
    """,
    "supervisors.testing": "StartSupervised",
}


@pytest.mark.parametrize(
    "package",
    [actors, supervisors, actors.testing, supervisors.testing],
    ids=lambda each: each.__name__,
)
def test_the_public_names_are_these(package: ModuleType) -> None:
    assert sorted(package.__all__) == sorted(PUBLIC[package.__name__].split())
    for name in package.__all__:
        public = getattr(package, name)
        assert name == "START" or not name.startswith("_")
        assert public is not None


@pytest.mark.parametrize("package", [actors, supervisors], ids=lambda each: each.__name__)
def test_every_public_name_is_documented(package: ModuleType) -> None:
    aliases = {"Exit", "State", "Next"}
    undocumented = [
        name
        for name in package.__all__
        if name not in aliases and not (getattr(package, name).__doc__ or "").strip()
    ]
    assert undocumented == []


@pytest.mark.parametrize("package", [actors, supervisors], ids=lambda each: each.__name__)
def test_the_packages_are_typed(package: ModuleType) -> None:
    assert package.__file__ is not None
    assert (Path(package.__file__).parent / "py.typed").exists()


def test_the_errors_are_one_tree_each_carrying_ref_and_message() -> None:
    errors = (
        actors.NoSuchActor,
        actors.ActorDied,
        actors.CallTimeout,
        actors.CallCycle,
        actors.MailboxFull,
        actors.Unhandled,
        actors.StartFailed,
    )
    assert all(issubclass(each, actors.ActorError) for each in errors)
    for each in errors:
        extra = {"ActorDied": {"exit": actors.Killed()}, "CallTimeout": {"timeout": 1.0}}
        more = {"CallCycle": {"chain": []}} | extra
        error = each("text", message=3, **more.get(each.__name__, {}))
        assert (str(error), error.message, error.ref) == ("text", 3, None)


def test_is_orderly_is_normal_and_shutdown() -> None:
    orderly = [actors.Normal(), actors.Shutdown(), actors.Shutdown("why")]
    assert all(map(actors.is_orderly, orderly))
    assert not actors.is_orderly(actors.Killed())
    assert not actors.is_orderly(actors.Crashed(ValueError()))
