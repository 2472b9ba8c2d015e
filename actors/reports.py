"""Crash and progress reports, through :mod:`logging`.

A crash of an actor gives one record on the logger ``actors`` at level ERROR, whose ``report``
attribute is the :class:`CrashReport`; its supervisor adds one of its own with the decision.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import attrs

from actors.mailbox import message_of, sender_of

if TYPE_CHECKING:
    from actors.place import Place
    from actors.ref import Ref

logger = logging.getLogger("actors")


@attrs.frozen
class CrashReport:
    """What is known about a crash.

    ``doing`` is ``"turn"``, or the callback or side task. ``message`` is the one being handled,
    ``caller`` the actor that sent it; both are None outside of a turn. ``state`` is what
    ``format_state`` gave; ``ancestors`` the supervisors above, nearest first.
    """

    ref: Ref[Any]
    incarnation: int
    exception: BaseException
    doing: str
    message: object
    state: str
    caller: Ref[Any] | None
    ancestors: tuple[Ref[Any], ...]

    def __str__(self) -> str:
        above = " < ".join(ref.path for ref in self.ancestors) or "none"
        handled = ""
        if self.doing == "turn":
            caller = self.caller.path if self.caller is not None else "outside any actor"
            handled = f"  message:   {self.message!r}\n  caller:    {caller}\n"
        return (
            f"{self.ref.path} crashed: {self.exception!r}\n"
            f"  doing:     {self.doing} (incarnation {self.incarnation})\n"
            f"{handled}"
            f"  state:     {self.state}\n"
            f"  ancestors: {above}"
        )


def crash(place: Place, error: BaseException, item: Any, *, doing: str = "turn") -> None:
    """Report a crash, if anybody reads reports."""
    if not logger.isEnabledFor(logging.ERROR):
        return
    sender = sender_of(item)
    report = CrashReport(
        ref=place.ref,
        incarnation=place.incarnation,
        exception=error,
        doing=doing if item is not None or doing != "turn" else "callback or side task",
        message=message_of(item),
        state=formatted_state(place),
        caller=sender.ref if sender is not None else None,
        ancestors=tuple(place.ancestors),
    )
    info = (type(error), error, error.__traceback__)
    logger.error("%s", report, exc_info=info, extra={"report": report})


def formatted_state(place: Place) -> str:
    """The actor's state as it wants to be seen; a failing ``format_state`` hides everything."""
    actor = place.actor
    try:
        return repr(actor.format_state())
    except Exception as error:
        return f"<{type(actor).__qualname__}.format_state crashed: {type(error).__name__}>"


def unresponsive(place: Place) -> None:
    """Report an actor that does not yield to its cancellation."""
    logger.error(
        "%s is unresponsive: cancelled, but it does not yield (a shield, or a swallowed "
        "Cancelled?). Nobody takes its place until it has ended.",
        place.path,
    )
