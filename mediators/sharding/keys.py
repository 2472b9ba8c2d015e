"""The key of a message to mediators in shards: the id of its workflow."""

from __future__ import annotations

from typing import Any

from mediators.execution.commands import id_of
from mediators.texts import shown
from mediators.verbs import AboutWorkflow, ListWorkflows, Start, WorkflowInfo
from mediators.workflow import Workflow
from supervisors.sharding.admin import NoKey
from supervisors.sharding.sharded import Everywhere, Somewhere


class Elsewhere(Exception):
    """The workflow that is asked for belongs to another shard of the same journal."""

    def __init__(self, shard: int) -> None:
        super().__init__(shard)
        self.shard = shard


def key_of(message: Any) -> Any:
    """The id of the workflow that a message is about; anywhere for one that has no id yet,
    everywhere for a listing. None for a message that is about no workflow."""
    if isinstance(message, Start):
        return _own(message.workflow)
    if isinstance(message, Workflow):
        return _own(message)
    if isinstance(message, ListWorkflows):
        return Everywhere(lambda answers: merged(message, answers))
    return message.id if isinstance(message, AboutWorkflow) else None


def _own(workflow: Any) -> Any:
    try:
        id = id_of(workflow)
    except Exception as error:
        raise NoKey(f"{type(workflow).__name__}.id raised {shown(error)}") from error
    return Somewhere() if id is None else id


def merged(message: ListWorkflows, answers: list[list[WorkflowInfo]]) -> list[WorkflowInfo]:
    """The listings of all shards as one, oldest first."""
    found = sorted((info for each in answers for info in each), key=lambda info: info.started)
    return found if message.limit is None else found[: message.limit]
