"""What is public of the mediators is what the package exports, and nothing else."""

from __future__ import annotations

from pathlib import Path

import mediators
from actors import Refusal

PUBLIC = """
        Failure Fenced Handle Idempotent Incident JournalDamaged JournalError
        JournalFormat JournalFull JournalLocked Mediator MemoryJournal NoSuchWorkflow
        Parts Retry SignalRefused SqliteJournal Start StartConflict Status StepFailed
        Summary TooManyWorkflows VerbRefused Workflow WorkflowCancelled WorkflowEnded effect_key
        summary_of
    """


def test_the_public_names_are_these() -> None:
    assert sorted(mediators.__all__) == sorted(PUBLIC.split())
    for name in mediators.__all__:
        assert not name.startswith("_")
        assert getattr(mediators, name) is not None


def test_every_public_name_is_documented() -> None:
    undocumented = [
        name
        for name in mediators.__all__
        if not (getattr(mediators, name).__doc__ or "").strip() and name not in JOURNAL_ERRORS
    ]
    assert undocumented == []


JOURNAL_ERRORS = {"JournalError", "JournalLocked", "JournalFull", "JournalDamaged"} | {
    "JournalFormat",
    "JournalUnreachable",
    "Fenced",
    "CommitUnknown",
}
"""Told together, in the docstring of their base."""


FIXED = """
    Mediator Workflow Start Handle Retry Status Incident Idempotent
    StepFailed WorkflowCancelled WorkflowEnded StartConflict NoSuchWorkflow
    MemoryJournal SqliteJournal
"""


def test_the_names_of_the_design_are_among_them() -> None:
    for name in FIXED.split():
        assert name in mediators.__all__


def test_the_package_is_typed() -> None:
    assert mediators.__file__ is not None
    assert (Path(mediators.__file__).parent / "py.typed").exists()


def test_what_a_verb_refuses_is_a_refusal() -> None:
    for each in (
        mediators.StartConflict,
        mediators.NoSuchWorkflow,
        mediators.TooManyWorkflows,
        mediators.SignalRefused,
        mediators.VerbRefused,
    ):
        assert issubclass(each, Refusal)


def test_a_cancel_is_no_exception_that_code_would_catch_by_the_way() -> None:
    assert not issubclass(mediators.WorkflowCancelled, Exception)


def test_the_errors_of_journals_are_one_tree_told_at_its_base() -> None:
    base = mediators.JournalError
    for name in JOURNAL_ERRORS - {"JournalError"}:
        each = getattr(mediators, name, None)
        assert each is None or issubclass(each, base)
        assert name in (base.__doc__ or "")
