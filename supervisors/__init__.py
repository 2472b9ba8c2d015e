"""What keeps actors running: supervision trees with OTP's semantics."""

import supervisors._foundation  # noqa: F401  # pyright: ignore[reportUnusedImport]
from supervisors.admin import (
    AlreadyPresent,
    AlreadyStarted,
    ChildCounts,
    ChildInfo,
    ChildRefused,
    ChildRestarting,
    ChildRunning,
    CountChildren,
    DeleteChild,
    GetChild,
    MaxChildren,
    NoSuchChild,
    ReplaceChild,
    RestartChild,
    RestartLimitExceeded,
    StartChild,
    StopChild,
    WhichChildren,
)
from supervisors.application import run
from supervisors.dynamic import DynamicSupervisor
from supervisors.groups import one_for_all, one_for_one, rest_for_one
from supervisors.pools.admin import (
    DropPoison,
    GetPoison,
    GetPool,
    NoSuchPoison,
    OperationInfo,
    Poisoned,
    PoisonMessage,
    PoolInfo,
    RetryPoison,
    SetLimit,
    SetSize,
    WorkerInfo,
)
from supervisors.pools.reports import MessagePoisoned
from supervisors.pools.spec import Pool
from supervisors.reports import ChildExited, ChildRestarted, GaveUp
from supervisors.sharding.admin import (
    GetShards,
    HostInfo,
    NoKey,
    Resize,
    ShardsInfo,
    StillMoving,
)
from supervisors.sharding.spec import Shards
from supervisors.specs import Backoff, Child, Flags, check_children
from supervisors.supervisor import Supervisor

__all__ = [
    "AlreadyPresent",
    "AlreadyStarted",
    "Backoff",
    "Child",
    "ChildCounts",
    "ChildExited",
    "ChildInfo",
    "ChildRefused",
    "ChildRestarted",
    "ChildRestarting",
    "ChildRunning",
    "CountChildren",
    "DeleteChild",
    "DropPoison",
    "DynamicSupervisor",
    "Flags",
    "GaveUp",
    "GetChild",
    "GetPoison",
    "GetPool",
    "GetShards",
    "HostInfo",
    "MaxChildren",
    "MessagePoisoned",
    "NoKey",
    "NoSuchChild",
    "NoSuchPoison",
    "OperationInfo",
    "PoisonMessage",
    "Poisoned",
    "Pool",
    "PoolInfo",
    "ReplaceChild",
    "Resize",
    "RestartChild",
    "RestartLimitExceeded",
    "RetryPoison",
    "SetLimit",
    "SetSize",
    "Shards",
    "ShardsInfo",
    "StartChild",
    "StillMoving",
    "StopChild",
    "Supervisor",
    "WhichChildren",
    "WorkerInfo",
    "check_children",
    "one_for_all",
    "one_for_one",
    "rest_for_one",
    "run",
]
