"""``gather`` and ``race``: branches begun, ended, and what their end means to the others."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mediators.execution.branches import Branch, Raised, just
from mediators.execution.commands import WAIT, Command, Fork
from mediators.execution.cutting import collect_unsettled, cut_branches
from mediators.execution.rollback import Rollback
from mediators.outcomes import Bug, Incident

if TYPE_CHECKING:
    from mediators.execution.execution import Execution


def begin_fork(execution: Execution, fork: Fork) -> Any:
    """Begin the branches; returns the outcome if there is one already."""
    for index, awaitable in enumerate(fork.branches):
        if isinstance(awaitable, Command) and awaitable.path:
            raise Bug(Incident(awaitable.path, f"{awaitable!r} is awaited a second time."))
        if isinstance(awaitable, Command):
            execution.unawaited -= 1
            fork.branches[index] = just(awaitable)
    fill(execution, fork)
    if not fork.branches:
        fork.outcome = ((), None)
    if fork.outcome is None:
        return WAIT
    value, error = fork.outcome
    del execution.open[fork.path]
    return value if error is None else Raised(error)


def fill(execution: Execution, fork: Fork) -> None:
    """Begin as many branches as may be under way at a time."""
    limit = fork.limit or len(fork.branches)
    fork.starting = True
    while (
        fork.begun < len(fork.branches)
        and fork.begun - fork.ended < limit
        and fork.rollback is None
    ):
        begin_branch(execution, fork, fork.begun)
    fork.starting = False


def begin_branch(execution: Execution, fork: Fork, index: int) -> None:
    """Let one branch run."""
    coroutine = fork.branches[index]
    if coroutine.cr_code is just.__code__:
        execution.unawaited += 1
    branch = Branch(coroutine, f"{fork.prefix}{index + 1}/", fork, index)
    fork.branches[index] = branch
    fork.begun = index + 1
    execution.advance(branch, None)


def branch_ended(
    execution: Execution, fork: Fork, branch: Branch, value: Any, error: BaseException | None
) -> None:
    """A branch of a fork has come to its end."""
    fork.results[branch.index] = value
    fork.branches[branch.index] = None
    fork.ended += 1
    if fork.verb_ == "gather" and error is None:
        if fork.ended == len(fork.branches):
            fork_ended(execution, fork, tuple(fork.results), None)
        elif not fork.starting and fork.begun < len(fork.branches):
            fill(execution, fork)
            if fork.outcome is not None:
                fork_ended(execution, fork, *fork.outcome)
        return
    spared = f"{fork.prefix}{branch.index + 1}/" if error is None else None
    prefixes = tuple(
        prefix for index in range(fork.begun) if (prefix := f"{fork.prefix}{index + 1}/") != spared
    )
    rollback = Rollback(prefixes, lambda: fork_ended(execution, fork, value, error))
    execution.rollbacks = [*execution.rollbacks, rollback]
    fork.rollback = rollback
    cut_branches(execution, fork, rollback)
    collect_unsettled(execution, rollback)
    rollback.advance(execution)


def fork_ended(execution: Execution, fork: Fork, value: Any, error: BaseException | None) -> None:
    """All of a fork is settled: its branch goes on."""
    if fork.starting:
        fork.outcome = (value, error)
        return
    del execution.open[fork.path]
    execution.resume(fork, value, error)
