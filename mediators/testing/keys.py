"""Calls under a key, as a mediator sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import trio

from actors import Call
from actors.replies import CALL_TIMEOUT, Slot
from actors.runtime import calls
from actors.turns import current_turn
from actors.validation import check_seconds

if TYPE_CHECKING:
    from actors import Ref

R = TypeVar("R")


class KeyedSlot(Slot):
    """The reply slot of a call that belongs to a piece of work."""

    __slots__ = ("key",)


async def call_with_key(
    ref: Ref[Any], message: Call[R], key: str, timeout: float | None = CALL_TIMEOUT
) -> R:
    """Call an actor as a workflow's step does: with an idempotency key in the envelope.

    ``timeout`` is in seconds, None for ever. A checkpoint. Raises what ``ref.call`` raises; two
    calls with one key are two attempts of one piece of work.
    """
    if not isinstance(message, Call):
        raise TypeError(f"call_with_key() takes a Call. Got: {message!r}")
    if not isinstance(key, str) or not key:
        raise TypeError(f"key is a str that is not empty. Got: {key!r}")
    if timeout is not None:
        check_seconds("timeout (None waits for ever)", timeout)
    await trio.lowlevel.checkpoint()
    place = ref._place
    if calls.is_closed(place):
        raise calls.gone(place, message)
    deadline = None if timeout is None else trio.current_time() + timeout
    slot = KeyedSlot(message, place, timeout, deadline)
    slot.key = key
    item = calls.sent(place, message, slot)
    turn = current_turn.get()
    if turn is not None:
        turn.begin_wait(slot)
    calls.enqueue(place, item)
    answer: R = await calls.answer(slot, turn)
    return answer
