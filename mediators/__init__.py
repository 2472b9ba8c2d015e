"""What coordinates the work, durably: mediators, their components and their workflows."""

import mediators._foundation  # noqa: F401  # pyright: ignore[reportUnusedImport]
from mediators.composition import Failure, Parts
from mediators.driver.attempts import effect_key
from mediators.handle import Handle
from mediators.idempotency.middleware import Idempotent
from mediators.journal import (
    Fenced,
    JournalDamaged,
    JournalError,
    JournalFormat,
    JournalFull,
    JournalLocked,
    MemoryJournal,
    SqliteJournal,
)
from mediators.mediator import Mediator
from mediators.outcomes import (
    Incident,
    NoSuchWorkflow,
    SignalRefused,
    StartConflict,
    Status,
    StepFailed,
    TooManyWorkflows,
    VerbRefused,
    WorkflowCancelled,
    WorkflowEnded,
)
from mediators.reading.standing import Summary
from mediators.reading.summary import summary_of
from mediators.retry import Retry
from mediators.verbs import Start
from mediators.workflow import Workflow

__all__ = [
    "Failure",
    "Fenced",
    "Handle",
    "Idempotent",
    "Incident",
    "JournalDamaged",
    "JournalError",
    "JournalFormat",
    "JournalFull",
    "JournalLocked",
    "Mediator",
    "MemoryJournal",
    "NoSuchWorkflow",
    "Parts",
    "Retry",
    "SignalRefused",
    "SqliteJournal",
    "Start",
    "StartConflict",
    "Status",
    "StepFailed",
    "Summary",
    "TooManyWorkflows",
    "VerbRefused",
    "Workflow",
    "WorkflowCancelled",
    "WorkflowEnded",
    "effect_key",
    "summary_of",
]
