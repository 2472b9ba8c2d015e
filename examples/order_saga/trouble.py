"""Trouble for the components, as middleware: on the way in, on the way out, or for good.

The shop knows nothing of it.
"""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs
import trio

from actors import Envelope, Middleware, Next
from examples.order_saga.shop import Clerk, Inventory, Orders, Payments, Shipping
from supervisors import Backoff, Child

if TYPE_CHECKING:
    from collections.abc import Callable

C = TypeVar("C", bound=Clerk)


class PulledPlug(Exception):
    """No Refusal, so a crash: the component ends, and is started again."""


@attrs.define
class Crash:
    """Crashes when every so many messages have been handled. Outside of ``Idempotent`` what was
    done is done, and nobody hears of it; inside, it is rolled back."""

    every: int
    handled: int = 0

    async def __call__(self, envelope: Envelope, next: Next, /) -> Any:
        """Handle one message."""
        answer = await next(envelope)
        self.handled += 1
        if self.handled % self.every == 0:
            raise PulledPlug(f"after {envelope.message}")
        return answer


@attrs.frozen
class Slow:
    """Takes so many seconds for each message."""

    seconds: float

    async def __call__(self, envelope: Envelope, next: Next, /) -> Any:
        """Handle one message."""
        await trio.sleep(self.seconds)
        return await next(envelope)


@attrs.define
class Kill:
    """Kills the process, SIGKILL, when the ``nth`` message of a kind was handled: what was to be
    done is done and on disk, and nobody has heard of it. That is the worst moment there is."""

    message: str
    nth: int
    farewell: Callable[[str, Any], object]
    handled: int = 0

    @classmethod
    def when(cls, moment: str, farewell: Callable[[str, Any], object]) -> Kill:
        """At the moment ``Charge:7``, when the seventh charge has been made."""
        message, _, nth = moment.partition(":")
        return cls(message, int(nth), farewell)

    async def __call__(self, envelope: Envelope, next: Next, /) -> Any:
        """Handle one message."""
        answer = await next(envelope)
        if type(envelope.message).__name__ == self.message:
            self.handled += 1
            if self.handled == self.nth:
                self.farewell(f"{self.message}:{self.nth}", envelope.message)
                os.kill(os.getpid(), signal.SIGKILL)
        return answer


def beset(cls: type[C], *outside: Middleware, inside: tuple[Middleware, ...] = ()) -> type[C]:
    """The component, with trouble outside and inside of what it has itself."""
    middleware = [*outside, *cls.middleware, *inside]
    namespace = {"__module__": cls.__module__, "middleware": middleware}
    return cast("type[C]", type(cls.__name__, (cls,), namespace))


def orders_in_trouble(*kills: Kill) -> type[Orders]:
    """A mediator of components that crash, and are slow, and die with their process."""
    restarts = Backoff(0.02, 0.1, reset=1.0)

    class TroubledOrders(Orders):
        components = [
            Child(beset(Payments, Crash(every=40), *kills), backoff=restarts),
            Child(beset(Inventory, Slow(0.006), *kills)),
            Child(
                beset(Shipping, Crash(every=17), *kills, inside=(Crash(every=12),)),
                backoff=restarts,
            ),
        ]

    return TroubledOrders
