"""How the driver of a mediator's workflows begins and ends with the mediator's incarnation."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from actors import is_orderly
from actors.dispatch import class_of
from actors.mailbox import message_of
from actors.payloads.types import ANSWERS, NotEncodable
from mediators.driver.driver import Driver
from mediators.driver.socket import serve_socket
from mediators.journal.protocol import Journal, JournalDamaged, SharedJournal, journal_of
from mediators.options import check_options
from mediators.outcomes import StepFailed, VerbRefused, WorkflowEnded
from mediators.payloads import JournalTypes
from mediators.routing import offered
from mediators.sharding.committer import SharedCommitter
from mediators.sharding.keys import Elsewhere
from mediators.sharding.shard import acquire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from actors import Exit, Later
    from actors.payloads.types import Types
    from actors.runtime.stages import Steps
    from mediators.mediator import Mediator
    from mediators.routing import Plan
    from mediators.workflow import Workflow
    from supervisors.sharding.host import Hosting

SHARD = 0
"""The shard of a mediator that has a journal of its own."""


def open_driver(mediator: Mediator) -> Driver:
    """Take the journal over and begin to take up what it has open. Raises TypeError or ValueError
    for attributes that are none, JournalError if the journal cannot be had."""
    types = checked_types(mediator)
    kept = mediator._kept
    journal: Journal | None = kept.get("journal")
    if journal is None:
        journal = kept["journal"] = journal_of(mediator.journal)
    if isinstance(journal, SharedJournal):
        journal.fix_shards(1)
    driver = Driver(mediator, mediator._home, journal.acquire(SHARD), types)
    driver.committer.wanted()
    serve_socket(driver, journal)
    return driver


def open_hosted(mediator: Mediator, hosted: Hosting) -> Steps:
    """The same for a mediator in shards: the journal is written by somebody who runs beside all of
    them. Returns the driver."""
    types = checked_types(mediator)
    assert hosted.companion is not None
    shard = yield from acquire(mediator._home, hosted.companion, hosted.shard)
    driver = Driver(mediator, mediator._home, shard, types, hosted, SharedCommitter)
    driver.committer.wanted()
    return driver


def checked_types(mediator: Mediator) -> Types:
    """What the journal of a mediator may speak of. Raises TypeError or ValueError for attributes
    that are none."""
    check_options(type(mediator).__qualname__, mediator)
    return types_of(mediator._tree.plan, mediator.workflows, mediator.types)


def types_of(plan: Plan, workflows: Iterable[Any], types: Iterable[Any]) -> Types:
    """The types whose names mean something in the journal: those of workflows and their results,
    of what components handle and answer, and what the mediator adds."""
    found = JournalTypes(answers=(*ANSWERS, StepFailed, WorkflowEnded))
    for each in (*workflows, *types):
        found.add(each)
    for message in _messages(plan):
        found.offer(message)
    found.handled = tuple(sorted({each.__name__ for each in _messages(plan)}))
    return found


def _messages(plan: Plan) -> Iterator[Any]:
    """Every class of messages that a step may have."""
    yield from plan.table
    for spec in plan.components:
        cls = class_of(spec.factory)
        if isinstance(cls, type):
            yield from offered(cls)
    yield from offered(plan.cls)


def close_driver(driver: Driver, exit: Exit) -> Steps:
    """Write down what is left to be written, unless the mediator has crashed; drop the rest."""
    try:
        if is_orderly(exit):
            yield from driver.committer.finish()
    finally:
        driver.close()


def run_workflow(mediator: Mediator, message: Workflow[Any]) -> Any:
    """The route of workflow classes: start it, or join it, and answer with its end."""
    driver = mediator._driver
    assert driver is not None  # there is this route only where there are workflows
    later = mediator.later()
    key = later.slot.key if later.slot is not None else None
    serve = partial(driver.admission.admit, message, "join", None, later, key, result=True)
    return answer(mediator, later, serve)


def refuse_workflow(mediator: Mediator, message: Workflow[Any]) -> Any:
    """The route of workflow classes that the mediator does not run. Raises VerbRefused."""
    names = ", ".join(each.__name__ for each in mediator.workflows) or "none"
    raise VerbRefused(
        f"{type(message).__name__} is a workflow that is not among the workflows of this mediator: "
        f"{names}."
    )


def answer(mediator: Mediator, later: Later[Any], serve: Callable[[], object]) -> Any:
    """What a handler returns for what the desk answers. What cannot be written down is its
    sender's mistake and not the mediator's; what is another shard's goes there."""
    try:
        serve()
    except Elsewhere as elsewhere:
        driver = mediator._driver
        assert driver is not None and driver.hosted is not None
        home = mediator._home
        driver.hosted.hand_back(home, elsewhere.shard, message_of(home.item))
        return None
    except JournalDamaged as error:
        raise VerbRefused(str(error)) from error
    except NotEncodable as error:
        if later.slot is None:
            raise VerbRefused(str(error)) from error
        later.slot.fail(error)
    return later
