"""Cutting off what nobody waits for any more: code that ends, and what it had sent settles."""

from __future__ import annotations

import inspect
from inspect import CORO_CREATED
from typing import TYPE_CHECKING, Any

from mediators.execution.branches import STUBBORN, UNCOUNTED, Branch, refuse
from mediators.execution.commands import ChildRun, Command, Fork, Receive, Step
from mediators.execution.guard import NoTask
from mediators.execution.mistakes import mistake
from mediators.outcomes import ENDINGS, Bug, Incident, WorkflowCancelled

if TYPE_CHECKING:
    from mediators.execution.execution import Execution
    from mediators.execution.rollback import Rollback


def cut_branches(execution: Execution, fork: Fork, rollback: Rollback) -> None:
    """The branches of a fork get no further commands."""
    for index, branch in enumerate(fork.branches):
        if isinstance(branch, Branch):
            waiting, branch.waiting = branch.waiting, None
            cut_code(execution, branch.coroutine)
            if waiting is not None:
                waiting.branch = None
                cut(execution, waiting, rollback)
        elif branch is not None:
            branch.close()
        fork.branches[index] = None


def cut(execution: Execution, command: Command, rollback: Rollback) -> None:
    """Nobody waits for a command any more: what it sent has to settle."""
    if isinstance(command, Fork):
        del execution.open[command.path]
        if command.rollback is not None:
            rollback.inner += 1
            command.rollback.then = lambda: rollback.inner_done(execution)
        else:
            cut_branches(execution, command, rollback)
    elif isinstance(command, Step) or (isinstance(command, ChildRun) and not command.detached):
        settle(execution, command, rollback)
    else:
        if isinstance(command, Receive):
            execution.no_longer(command)
        if isinstance(command, ChildRun):
            execution.children -= 1
        del execution.open[command.path]


def settle(execution: Execution, command: Command, rollback: Rollback) -> None:
    """A rollback waits until it is certain what a command has done."""
    command.branch = None
    execution.open[command.path] = command
    execution.lift(command.path)
    rollback.waiting.add(command.path)
    execution.act("cancel_child" if isinstance(command, ChildRun) else "settle", command)


def collect_unsettled(execution: Execution, rollback: Rollback) -> None:
    """What ended in StepFailed settles, too."""
    for path, command in execution.unsettled.items():
        if path.startswith(rollback.prefixes):
            settle(execution, command, rollback)
    execution.unsettled = {
        path: each
        for path, each in execution.unsettled.items()
        if not path.startswith(rollback.prefixes)
    }


def cut_code(execution: Execution, coroutine: Any) -> None:
    """Run the ``finally`` of a branch that was cut off; commands in there are refused."""
    execution.unawaited = UNCOUNTED
    if coroutine is None or inspect.getcoroutinestate(coroutine) == CORO_CREATED:
        if coroutine is not None:
            coroutine.close()
        return
    for _ in range(STUBBORN):
        try:
            with NoTask():
                command = coroutine.throw(WorkflowCancelled())
        except (StopIteration, WorkflowCancelled, *ENDINGS):
            return
        except Exception as error:
            raise Bug(mistake(error)) from error
        refuse(command)
    raise Bug(Incident("", "A branch that was cut off goes on with commands."))
