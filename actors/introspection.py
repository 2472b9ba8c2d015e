"""Looking into a live actor, as OTP's ``sys`` does.

Requests overtake user messages, wait for the running turn to end, and are served while the actor
is suspended. They are for people and tools; programs should send messages.

Each is a checkpoint and waits at most ``timeout`` seconds, then raises ``CallTimeout``. Each raises
``NoSuchActor`` if nobody lives there, ``ActorDied`` if the actor ends before, and ``CallCycle`` if
it waits for the one who asks. A request whose asker has gone is not carried out.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import trio

from actors.replies import Slot
from actors.runtime import calls
from actors.turns import current_turn
from actors.validation import check_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.place import Place
    from actors.ref import Ref

R = TypeVar("R")

TIMEOUT = 5.0
"""Seconds a request waits for the running turn to end."""
ASKED = 1
"""Of ``place.suspended``: somebody has asked for it."""
LAST = 10
"""Messages remembered by :func:`record`."""


@attrs.frozen
class Statistics:
    """What has been counted since :func:`record`.

    ``since`` and ``now`` are seconds on trio's clock. ``messages`` have been handled in between,
    ``queued`` wait in the mailbox now. ``incarnation`` is the one counted.
    """

    since: float
    now: float
    messages: int
    queued: int
    incarnation: int


class Debug:
    """What is remembered about an incarnation while it is recorded."""

    def __init__(self, last: int) -> None:
        self.last: deque[object] = deque(maxlen=last)
        self.messages = 0
        self.since = trio.current_time()

    def received(self, message: object) -> None:
        """A message is about to be handled."""
        self.last.append(message)
        self.messages += 1


async def suspend(ref: Ref[Any], *, timeout: float = TIMEOUT) -> None:
    """Handle no messages until :func:`resume`; they queue. Suspending twice is suspending once."""
    await _request(ref, lambda place: setattr(place, "suspended", place.suspended | ASKED), timeout)


async def resume(ref: Ref[Any], *, timeout: float = TIMEOUT) -> None:
    """Handle messages again, in the order they came."""
    await _request(
        ref, lambda place: setattr(place, "suspended", place.suspended & ~ASKED), timeout
    )


async def get_state(ref: Ref[Any], *, timeout: float = TIMEOUT) -> dict[str, Any]:
    """The attributes of the actor, by name: a new dict of the very objects, which are not to be
    changed. Fields hidden from reports are in it. Of an isolated actor it has copies, and the repr
    of what cannot leave its process. For a state machine ``machine_state`` is one of
    them."""
    return await _request(ref, state_of, timeout, inside=True)


async def replace_state(
    ref: Ref[Any],
    function: Callable[[dict[str, Any]], Mapping[str, Any]],
    *,
    timeout: float = TIMEOUT,
) -> dict[str, Any]:
    """Set the attributes to what ``function`` makes of them; returns the new ones.

    If the function raises, the exception reaches the caller and nothing has changed; nor has it
    if it names an attribute that the actor cannot have.
    """

    def replace(place: Place) -> dict[str, Any]:
        before = attributes(place.actor)
        after = dict(function(dict(before)))
        try:
            _install(place.actor, after)
        except Exception:
            for name in attributes(place.actor).keys() - before.keys():
                delattr(place.actor, name)
            _install(place.actor, before)
            raise
        return after

    return await _request(ref, replace, timeout, inside=True)


async def record(ref: Ref[Any], last: int = LAST, *, timeout: float = TIMEOUT) -> None:
    """Remember the last ``last`` messages and count all, until ``last`` is 0 or the actor restarts.

    An actor that is recorded handles its messages on a slower path. Raises ValueError for a
    negative ``last``.
    """
    if isinstance(last, bool) or not isinstance(last, int) or last < 0:
        raise ValueError(
            f"record(last=) is how many messages to remember, 0 or more. Got: {last!r}"
        )
    await _request(
        ref, lambda place: setattr(place, "debug", Debug(last) if last else None), timeout
    )


async def last_messages(ref: Ref[Any], *, timeout: float = TIMEOUT) -> list[object]:
    """The last messages handled since :func:`record`, oldest first; none if not recorded."""
    return await _request(ref, lambda place: list(place.debug.last) if place.debug else [], timeout)


async def statistics(ref: Ref[Any], *, timeout: float = TIMEOUT) -> Statistics | None:
    """What was counted since :func:`record`; ``None`` if nothing is recorded."""

    def read(place: Place) -> Statistics | None:
        if place.debug is None:
            return None
        return Statistics(
            since=place.debug.since,
            now=trio.current_time(),
            messages=place.debug.messages,
            queued=len(place.mailbox) if place.mailbox is not None else 0,
            incarnation=place.incarnation,
        )

    return await _request(ref, read, timeout)


async def format_state(ref: Ref[Any], *, timeout: float = TIMEOUT) -> str:
    """The state as reports show it: hidden fields stay hidden."""
    from actors.reports import formatted_state

    return await _request(ref, formatted_state, timeout, inside=True)


async def _request(
    ref: Ref[Any], function: Callable[[Place], R], timeout: float, *, inside: bool = False
) -> R:
    """Run a function of the actor's place between two turns; ``inside``: in the process in which
    the actor itself lives."""
    check_seconds("timeout", timeout)
    await trio.lowlevel.checkpoint()
    place = ref._place
    request = Request(function)
    if not place.running:
        raise calls.gone(place, request)
    slot = Slot(request, place, timeout, trio.current_time() + timeout)
    turn = current_turn.get()

    def serve(place: Place) -> None:
        if slot.done:
            return  # whoever asked has gone
        try:
            slot.reply(function(place))
        except Exception as error:
            slot.fail(error)

    if turn is not None:
        turn.begin_wait(slot)
    try:
        ask = getattr(place.actor, "_ask_inside", None) if inside else None
        if ask is not None:
            ask(function, slot)
        else:
            place.request(serve, slot)
        return await calls.answer(slot, None)  # type: ignore[no-any-return]
    finally:
        if turn is not None:
            turn.end_wait(slot)


@attrs.frozen
class Request:
    """A request of this module, where an error speaks of a message."""

    function: Callable[[Place], object]


def state_of(place: Place) -> dict[str, Any]:
    """The attributes of who lives in a place."""
    return attributes(place.actor)


def attributes(actor: Any) -> dict[str, Any]:
    """The actor's own attributes by name, slots and fields included, the library's left out."""
    machine = getattr(actor, "_machine", None)
    found: dict[str, Any] = {} if machine is None else {"machine_state": machine.state}
    for cls in reversed(type(actor).__mro__):
        slots = cls.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in _OURS and hasattr(actor, name):
                found[name] = getattr(actor, name)
    found.update(getattr(actor, "__dict__", {}))
    return {name: value for name, value in found.items() if name not in _OURS}


_OURS = {"_place", "__weakref__", "__dict__", "_tree", "_machine", "_driver"}


def public_state(actor: Any) -> dict[str, Any]:
    """The attributes without those that attrs declares with ``repr=False``."""
    hidden = set()
    if attrs.has(type(actor)):
        hidden = {field.name for field in attrs.fields(type(actor)) if not field.repr}
    return {name: value for name, value in attributes(actor).items() if name not in hidden}


def _install(actor: Any, state: Mapping[str, Any]) -> None:
    for name, value in state.items():
        setattr(actor, name, value)
