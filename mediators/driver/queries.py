"""What a workflow answers to a query: a method of its own, which only reads."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import attrs

from actors import Refusal
from actors.dispatch import NONE
from mediators.execution.guard import NoTask
from mediators.outcomes import VerbRefused
from mediators.texts import text_of


def answer_of(workflow: Any, question: object) -> Any:
    """The answer. Raises the method's refusal, or VerbRefused."""
    route = type(workflow).queries[type(question)]
    if route.kind == NONE:
        known = ", ".join(each.__name__ for each in type(workflow).queries.messages) or "none"
        raise VerbRefused(
            f"{type(workflow).__name__} answers no {type(question).__name__}; it answers: {known}."
        )
    try:
        # Neither what the method changes nor what the caller makes of the answer may reach it.
        asked = copied(workflow)
        before = fields_of(asked)
        with NoTask():
            answer = route.function(asked, question)
    except Refusal:
        raise
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        raise VerbRefused(f"The query raised {type(error).__name__}: {text_of(error)}") from error
    for name, value in before.items():
        if getattr(asked, name, None) is not value:
            raise VerbRefused(f"A query only reads; this one has changed {name!r}.")
    try:
        # A copy: what the workflow has is not shared with anybody.
        return deepcopy(answer)
    except Exception as error:
        what = f"{type(error).__name__}: {text_of(error)}"
        raise VerbRefused(f"The query's answer cannot be copied. {what}") from error


def copied(workflow: Any) -> Any:
    """A workflow's state for somebody to look at; commands of the copy go nowhere."""
    execution = getattr(workflow, "_execution", None)
    object.__setattr__(workflow, "_execution", None)
    try:
        return deepcopy(workflow)
    finally:
        object.__setattr__(workflow, "_execution", execution)


def fields_of(workflow: Any) -> dict[str, Any]:
    """The values of its fields, by name."""
    if attrs.has(type(workflow)):
        names = [each.name for each in attrs.fields(type(workflow))]
    else:
        names = list(getattr(workflow, "__dict__", ()))
    return {name: getattr(workflow, name, None) for name in names}
