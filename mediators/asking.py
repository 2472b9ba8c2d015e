"""Calls that nobody waits for: the answer calls back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from actors.exits import ActorDied
from actors.replies import Held, Slot
from actors.runtime import calls
from actors.turns import current_turn, make_item

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.place import Place


class Ask(Slot):
    """The slot of a call whose answer is told to a function: ``value`` or ``error`` is set then.

    ``then(ask)`` is called once, wherever the answer arises: in the turn of whoever answers, in the
    alarm, or in :func:`ask` itself if nobody will answer. It must not raise and must be brief: note
    the outcome, and ask for a turn with ``place.request``. It is not called when the asker's
    incarnation ends first, nor after :meth:`drop`; whoever has not handled the message by then does
    not handle it.
    """

    __slots__ = ("asker", "key", "then")

    def __init__(
        self,
        asker: Place,
        target: Place,
        message: object,
        timeout: float | None,
        deadline: float | None,
        then: Callable[[Ask], object],
        key: str | None,
    ) -> None:
        super().__init__(message, target, timeout, deadline)
        self.asker = asker
        self.key = key
        self.then: Callable[[Ask], object] | None = then

    def fail(self, error: BaseException) -> None:
        """Answer by an exception, unless settled already; the asker's own end tells nobody."""
        if isinstance(error, ActorDied) and error.ref is self.asker.ref:
            self.then = None
        super().fail(error)

    def settle(self) -> None:
        """The answer is there: say so."""
        super().settle()
        then, self.then = self.then, None
        if then is not None:
            then(self)

    def drop(self) -> None:
        """The answer is not wanted any more."""
        self.then = None
        if not self.done:
            self.settle()


def ask(
    asker: Place,
    target: Place,
    message: object,
    deadline: float | None,
    then: Callable[[Ask], object],
    *,
    key: str | None = None,
    correlation: int = 0,
) -> Ask:
    """Send a call in the name of ``asker`` and have the answer told to ``then``. Not a checkpoint.

    ``deadline`` is a moment on trio's clock, ``None`` for never; past it the answer is a
    CallTimeout. A full mailbox lets the call wait for room, a closed place answers NoSuchActor at
    once. ``key`` is that of the envelope. Inside a turn of the asker the message is caused by the
    one being handled; outside of any, ``correlation`` is its correlation id.
    """
    place = target.ref._place
    scheduler = asker.scheduler
    now = trio.current_time()
    timeout = None if deadline is None else deadline - now
    question = Ask(asker, place, message, timeout, deadline, then, key)
    if calls.is_closed(place):
        question.fail(calls.gone(place, message))
        return question
    turn = current_turn.get()
    if scheduler.current is asker:
        item = make_item(message, question, asker, None)
    elif scheduler.current is None and turn is not None and turn.place is asker:
        item = make_item(message, question, asker, turn)
    else:
        drawn = scheduler.next_id()
        item = (message, question, asker, drawn, correlation or drawn, 0)
    if asker.held is None:
        asker.held = Held()
    asker.held.hold(question)
    if deadline is not None:
        question.cell = scheduler.timers.enter(deadline, question)
    mailbox = place.open_mailbox()
    if mailbox.full:
        question.room = (mailbox, mailbox.wait_for_room(item, None))
    else:
        mailbox.append(item)
    if place.idle:
        scheduler.schedule(place)
    return question
