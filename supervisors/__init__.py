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
from supervisors.reports import ChildExited, ChildRestarted, GaveUp
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
    "DynamicSupervisor",
    "Flags",
    "GaveUp",
    "GetChild",
    "MaxChildren",
    "NoSuchChild",
    "ReplaceChild",
    "RestartChild",
    "RestartLimitExceeded",
    "StartChild",
    "StopChild",
    "Supervisor",
    "WhichChildren",
    "check_children",
    "one_for_all",
    "one_for_one",
    "rest_for_one",
    "run",
]
