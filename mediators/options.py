"""What a mediator's class says about its workflows, checked before anything relies on it."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from actors.validation import check_seconds, is_int
from mediators.journal.protocol import Journal
from mediators.workflow import Workflow


def check_options(name: str, told: Any) -> None:
    """Check the attributes of a mediator called ``name``; what a class leaves to its instances is
    passed over. Raises TypeError or ValueError that says what is accepted."""
    for option, check in CHECKS.items():
        value = getattr(told, option)
        if not hasattr(value, "__get__") and type(value).__module__ not in DECLARING:
            check(f"{name}.{option}", value)


DECLARING = ("attr._make", "dataclasses")
"""Where the markers of fields are from that stand in a class before it is complete."""


def check_workflows(what: str, value: Any) -> None:
    """Classes of workflows."""
    _check_list(what, "Workflow classes", value)
    for each in value:
        if not isinstance(each, type) or not issubclass(each, Workflow) or each is Workflow:
            raise TypeError(f"{what} is a list of Workflow classes. Got: {each!r}")


def check_types(what: str, value: Any) -> None:
    """Classes of data; whether they can be written down is looked at when the journal is opened."""
    _check_list(what, "classes", value)


def check_max_running(what: str, value: Any) -> None:
    """A number of workflows."""
    if value is not None and (not is_int(value) or value < 1):
        error = ValueError if is_int(value) else TypeError
        raise error(f"{what} is an int of 1 or more, or None for any number. Got: {value!r}")


def check_journal(what: str, value: Any) -> None:
    """Something that :func:`mediators.journal.protocol.journal_of` takes."""
    if value is not None and not isinstance(value, str | os.PathLike | Journal):
        raise TypeError(
            f"{what} is the path of an SQLite file, SqliteJournal(path), MemoryJournal() or None. "
            f"Got: {value!r}"
        )


def _check_list(what: str, of: str, value: Any) -> None:
    if not isinstance(value, Sequence) or isinstance(value, str | bytes):
        raise TypeError(f"{what} is a list of {of}. Got: {value!r}")


CHECKS: dict[str, Callable[[str, Any], object]] = {
    "workflows": check_workflows,
    "types": check_types,
    "max_running": check_max_running,
    "retention": check_seconds,
    "journal": check_journal,
}
