"""What travels between actors: any object, and a few the library knows by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from actors.exits import Exit

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.ref import Ref
    from actors.replies import Slot

R = TypeVar("R", covariant=True)


class Call(Generic[R]):
    """Base of messages that are answered: ``class Withdraw(Call[int])`` is answered by an int.

    A plain class without fields of its own, so that dataclasses, attrs classes and slotted
    classes can all derive from it. ``cast`` and ``send`` take a ``Call`` too; its answer is then
    dropped. The message itself is not copied: sender and receiver hold the same object.
    """

    __slots__ = ()


class Answer(Exception):
    """Base of the exceptions that are answers, and no crashes: those that come back as themselves,
    from another process as well."""


class Refusal(Answer):
    """An answer that is "no".

    Raised by the handler of a ``Call``, the caller gets this very exception and the actor lives.
    Raised by the handler of a one-way message, it is logged as a dead letter and the actor lives.
    Raised anywhere else, it is a crash like any other exception.
    """


def carried(message: object) -> object:
    """The message within a message, where its class says which of its fields holds that: with
    ``__carries__ = "message"``, a ``ClassVar``; else the message itself. Errors speak of that
    one."""
    field = getattr(type(message), "__carries__", None)
    return message if field is None else carried(getattr(message, field))


@attrs.frozen
class Down:
    """A monitored incarnation has ended: ``exit`` says how, ``incarnation`` which one of ``ref``.

    See :meth:`actors.Actor.monitor` and :meth:`actors.Ref.monitor`. The meaning is that of Erlang's
    ``'DOWN'`` message.
    """

    ref: Ref[Any]
    incarnation: int
    exit: Exit


@attrs.frozen
class Idle:
    """No message has come for the time given to :meth:`actors.Actor.idle_after`."""


@attrs.frozen
class Envelope:
    """A message and what is known about its sending; inside a handler, ``self.envelope``.

    ``id`` is unique within a system and its runs. ``correlation_id`` is the id of the message
    that began the chain, ``causation_id`` that of the message whose handler sent this one
    (``None`` at the start of a chain). ``sender`` is the actor that sent it, or ``None``.
    ``deadline`` is the moment, in seconds on trio's clock, at which the caller stops waiting;
    ``None`` for a one-way message and for a caller that waits for ever. ``key`` names the piece of
    work where a sender repeats it under one key, else it is ``None``. ``attempt`` counts how often
    it was handed out, this time included: it is 1 unless a pool hands it to another worker, since
    one has died of it, or a workflow tries a step again.
    """

    message: object
    id: str
    correlation_id: str
    causation_id: str | None = None
    sender: Ref[Any] | None = None
    deadline: float | None = None
    key: str | None = None
    attempt: int = 1
    origin: tuple[Slot | None, tuple[Any, ...]] = attrs.field(repr=False, eq=False, kw_only=True)
    """What ``forward`` needs; not for users."""
    begin: Callable[[], Any] | None = attrs.field(default=None, repr=False, eq=False, kw_only=True)
    """How a middleware lets a transaction begin; asked at each access. ``attrs.evolve`` adds it."""

    @property
    def transaction(self) -> Any:
        """What the handler writes in to have its effect and its answer committed together: begun
        at the first access, committed when the handler returns, rolled back when it raises.

        Provided by a middleware such as ``mediators.Idempotent``, to plain ``def`` handlers only.
        Not a checkpoint. Raises RuntimeError where nobody provides one.
        """
        if self.begin is None:
            raise RuntimeError(
                "No transaction comes with this message: an Idempotent among the actor's "
                "middleware provides one, and only to a plain def handler."
            )
        return self.begin()
