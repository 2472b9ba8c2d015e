"""How actors end, and what goes wrong between them.

An *exit* says how one incarnation of an actor ended:

====================  =====================================================
``Normal()``          it was done
``Shutdown(reason)``  somebody above asked it to stop
``Killed()``          it was cancelled: no ``on_stop``, no last words
``Crashed(exc)``      an exception left a handler or a callback
====================  =====================================================

An *error* is what somebody else sees of it::

    ActorError
    ├── NoSuchActor    the place is stopped or gone: nobody will answer
    ├── ActorDied      the actor ended before it answered
    ├── CallTimeout    no answer in time; the actor may still be at work
    ├── CallCycle      waiting here would wait for ever
    ├── MailboxFull    no room, and the sender asked not to wait
    ├── Unhandled      the actor has no handler for this call
    └── StartFailed    the actor, or one of its children, did not come up

The meaning of the exits is that of Erlang/OTP's exit reasons ``normal``,
``shutdown``, ``killed`` and "any other term".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import attrs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from actors.ref import Ref


@attrs.frozen
class Normal:
    """The actor was done."""


@attrs.frozen
class Shutdown:
    """The actor was asked to stop, by its supervisor or by itself; ``reason`` is free."""

    reason: object = None


@attrs.frozen
class Killed:
    """The actor was cancelled, or did not stop within its time."""


@attrs.frozen
class Crashed:
    """An exception left the actor."""

    exception: BaseException


Exit: TypeAlias = Normal | Shutdown | Killed | Crashed


def is_orderly(exit: Exit) -> bool:
    """Whether a *transient* child that ended so stays down: ``Normal`` and ``Shutdown``."""
    return isinstance(exit, Normal | Shutdown)


class ActorError(Exception):
    """Base of what can go wrong between actors.

    ``ref`` is the actor concerned and ``message`` the message in question, where there is one.
    """

    def __init__(self, text: str, *, ref: Ref[Any] | None = None, message: object = None) -> None:
        super().__init__(text)
        self.ref = ref
        self.message = message


class NoSuchActor(ActorError, LookupError):
    """The place is stopped or gone; the message was not handled and never will be."""


class ActorDied(ActorError):
    """The actor ended before it answered.

    ``exit`` says how. After a crash ``__cause__`` is the very exception. The message may have had
    an effect.
    """

    def __init__(
        self, text: str, *, exit: Exit, ref: Ref[Any] | None = None, message: object = None
    ) -> None:
        super().__init__(text, ref=ref, message=message)
        self.exit = exit


class CallTimeout(ActorError, TimeoutError):
    """No answer in time. The message may still be handled; a late answer is dropped.

    ``inherited`` is true when the deadline of the call being handled ran out, not the ``timeout``
    (seconds) of this very call. Leaving a handler so, it ends the turn and not the actor: whoever
    asked has gone already.
    """

    def __init__(
        self,
        text: str,
        *,
        timeout: float | None,
        inherited: bool = False,
        ref: Ref[Any] | None = None,
        message: object = None,
    ) -> None:
        super().__init__(text, ref=ref, message=message)
        self.timeout = timeout
        self.inherited = inherited


class CallCycle(ActorError):
    """Waiting here would close a ring of actors that wait for each other; ``chain`` names it."""

    def __init__(
        self,
        text: str,
        *,
        chain: Sequence[Ref[Any]],
        ref: Ref[Any] | None = None,
        message: object = None,
    ) -> None:
        super().__init__(text, ref=ref, message=message)
        self.chain = tuple(chain)


class MailboxFull(ActorError):
    """The mailbox holds as many messages as its spec allows. ``send`` waits for room instead."""


class Unhandled(ActorError):
    """The actor has no handler for a message of this class; it lives on."""


class StartFailed(ActorError):
    """The actor did not come up; ``__cause__`` says why. It, and its name, are gone already."""
