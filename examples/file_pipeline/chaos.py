"""Chaos: converters that die, hang and swell, as native libraries do now and then."""

from __future__ import annotations

import ctypes
import random
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

if TYPE_CHECKING:
    from actors import Envelope, Next

SWELLING = 16 << 20
"""Bytes by which a process swells at a time."""


@attrs.frozen
class Chaos:
    """Middleware of a converter: at so many of its messages, a number from 0 to 1, something
    happens to its process, before the work or after it, when nobody has heard of it yet."""

    chance: float

    async def __call__(self, envelope: Envelope, next: Next, /) -> Any:
        """Handle one message, perhaps."""
        moment = random.random()
        if moment < self.chance / 2:
            random.choice(TROUBLES)()
        answer = await next(envelope)
        if self.chance / 2 <= moment < self.chance:
            random.choice(TROUBLES)()
        return answer


def crash() -> NoReturn:
    """A segmentation fault."""
    ctypes.string_at(0)
    raise AssertionError("nobody lives at address 0")


def hang() -> NoReturn:
    """For ever, without a sign of life."""
    while True:
        pass


def swell() -> NoReturn:
    """Until there is no memory left that the process may have."""
    held: list[bytearray] = []
    while True:
        held.append(bytearray(SWELLING))


TROUBLES = (crash, hang, swell)
