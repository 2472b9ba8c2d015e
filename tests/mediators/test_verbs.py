"""Every verb "from outside", on a workflow in each of the states it can be in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import CallTimeout, handles
from mediators import (
    Handle,
    MemoryJournal,
    NoSuchWorkflow,
    Start,
    StartConflict,
    Status,
    StepFailed,
    VerbRefused,
    Workflow,
    WorkflowEnded,
)
from mediators.verbs import ListWorkflows, GetStatus
from supervisors import Child
from tests.mediators.sagas import (
    Ask,
    Do,
    No,
    Ping,
    Simple,
    Undo,
    Waits,
    World,
    again,
    expect_refusal,
    over,
    shop,
    start,
)

if TYPE_CHECKING:
    from actors import System


async def test_start_answers_with_a_handle_and_result_with_the_end(system: System) -> None:
    world = World()
    ref = await system.start(Child(shop(world, Simple)))
    handle = await ref.call(Start(Simple("one")))
    assert isinstance(handle, Handle)
    assert (handle.id, handle.type, handle.mediator) == ("one", Simple, ref)
    assert await handle.result() == "second done"
    assert world.names == ["first", "second"]
