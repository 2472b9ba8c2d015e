"""What stands around a handler: timing, checking, deduplication, transactions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors.messages import Envelope

Next: TypeAlias = "Callable[[Envelope], Awaitable[Any]]"
"""The rest of the way to the handler."""


class Middleware(Protocol):
    """An async function, or an object with such a ``__call__``, around each handler of an actor.

    ``await next(envelope)`` goes on and returns the handler's value, a ``Later`` included; what
    the middleware returns is the answer. It may pass on another envelope (``attrs.evolve``), which
    is ``self.envelope`` further in, raise a ``Refusal``, or not call ``next`` at all. A message
    without handler passes it, too; ``next`` then raises ``Unhandled``. It runs inside the turn:
    what it raises is treated as if the handler had raised it. An actor with middleware handles
    every message in its own task, those of plain handlers included; one without pays nothing.
    Callbacks do not pass it.

    >>> class Bank(Actor):
    ...     middleware = (timed,)       # outermost first; read once per incarnation
    """

    async def __call__(self, envelope: Envelope, next: Next, /) -> Any:
        """Handle one message."""
        ...
