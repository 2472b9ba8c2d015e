"""One answer per key: a middleware that remembers what has been answered (W11).

A sender that repeats a message under one key, because nobody told it the outcome, gets the outcome
of the first attempt that had one. Where the effect is written into ``self.envelope.transaction`` it
happens exactly once.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Literal, cast
from weakref import WeakKeyDictionary

import attrs

from actors import Call, CallCycle, Later, Refusal
from actors.mailbox import TOKEN, message_of, sender_of
from actors.payloads.types import Types
from actors.replies import Slot
from actors.runtime import calls, host
from actors.runtime.stages import Stage
from actors.turns import current_turn, refuse_cycle
from actors.validation import check_seconds
from mediators.idempotency.keystore import KeyStore
from mediators.idempotency.transaction import Transaction

if TYPE_CHECKING:
    from actors import Actor, Envelope, Next, System
    from actors.place import Place
    from actors.turns import Turn

WEEK = 7 * 24 * 3600.0
"""Seconds an answer is kept unless told otherwise."""


class KeyClosed(Refusal):
    """The attempt comes too late: its sender has settled its key without an outcome."""


@attrs.frozen
class Settled:
    """How the work under a key ended: ``answered`` with ``value``, ``refused`` with ``refusal``, or
    ``closed``: it has had no effect, and every later attempt is refused with ``KeyClosed``."""

    outcome: Literal["answered", "refused", "closed"]
    value: object = None
    refusal: Refusal | None = None


@attrs.frozen
class Settle(Call[Settled]):
    """Make sure how the work under ``key`` ended. Sent behind an attempt whose outcome nobody
    heard; answered by the ``Idempotent`` of the component, which waits for a running attempt.
    A component without one has no handler for it."""

    key: str


class Idempotent:
    """Middleware that gives one answer per key.

    >>> class Payments(Actor):
    ...     middleware = [Idempotent("payments.db", schema=TABLES)]
    ...
    ...     @handles
    ...     def charge(self, message: Charge) -> Charged:
    ...         self.envelope.transaction.execute("UPDATE accounts SET ...")

    A message without a key passes untouched. Under a key the answer that is known is given again,
    a ``Refusal`` as well, without the handler; else the handler runs, and its answer is on disk
    before it is given. A crash leaves nothing behind. There is one attempt at a time: a further one
    is set aside until the first has ended, without keeping its actor from other messages.

    In a plain ``def`` handler ``self.envelope.transaction`` is the ``sqlite3.Connection`` of the
    file, with a transaction that begins at the first access. It is committed together with the
    answer, and rolled back when the handler raises; the refusal is then stored. A handler that
    writes so answers by returning: it neither defers the answer nor hands the message on. What is
    given by ``later.reply()`` is remembered, too.

    ``path`` names the file, which belongs to one system: every ``Idempotent`` with that path uses
    the same connection. None is a memory that the system forgets when it stops. ``schema`` is a
    script run once for each connection: ``CREATE TABLE IF NOT EXISTS ...``. ``retention`` is how
    many seconds an answer is kept at least; closed keys stay closed. Raises, in the turn of the
    first message that needs the file, ``StoreLocked`` if somebody else has it.
    """

    def __init__(
        self,
        path: str | os.PathLike[str] | None = None,
        *,
        schema: str | None = None,
        retention: float = WEEK,
    ) -> None:
        if path is not None and (not isinstance(path, str | os.PathLike) or not os.fspath(path)):
            raise TypeError(f"path is that of a file, or None for memory. Got: {path!r}")
        if schema is not None and not isinstance(schema, str):
            raise TypeError(f"schema is an SQL script, or None. Got: {schema!r}")
        self.path = None if path is None else os.fspath(path)
        self.schema = schema
        self.retention = check_seconds("retention", retention)
        self._stores: WeakKeyDictionary[System, KeyStore] = WeakKeyDictionary()
        self._types: dict[type, Types] = {}

    async def __call__(self, envelope: Envelope, next: Next, /) -> Any:
        """Handle one message."""
        turn = current_turn.get()
        assert turn is not None
        place = turn.place
        settles = isinstance(envelope.message, Settle)
        key = envelope.message.key if isinstance(envelope.message, Settle) else envelope.key
        if key is None:
            return await self._without_key(envelope, next, turn)
        store = self.store(place.scheduler.system)
        if (row := store.find(key)) is not None:
            types = self.types(place)
            return _settled(*row, types) if settles else _recalled(key, *row, types)
        running = store.running.get(key)
        if isinstance(running, Attempt):
            running.wait(turn)
            return None
        if settles:
            store.remember(key, "closed", b"", now=place.scheduler.system.now(), expires=None)
            return Settled("closed")
        return await Attempt(self, store, key, turn).run(envelope, next, turn)

    async def _without_key(self, envelope: Envelope, next: Next, turn: Turn) -> Any:
        transaction = Transaction(self.store, turn)
        try:
            result = await transaction.around(envelope, next)
        except BaseException as error:
            transaction.undo(error)
            raise
        transaction.commit()
        return result

    def store(self, system: System) -> KeyStore:
        """The store of a system, opened on first use."""
        store = self._stores.get(system)
        if store is None:
            path = None if self.path is None else os.path.realpath(self.path)
            store = system.shared(("idempotency", path), lambda: KeyStore(path))
            if self.schema is not None:
                store.prepare(self.schema)
            self._stores[system] = store
        return store

    def types(self, place: Place) -> Types:
        """What the answers of an actor's handlers are made of."""
        cls: type[Actor] = type(place.actor)
        types = self._types.get(cls)
        if types is None:
            types = Types()
            for routes in cls.routes.values():
                for message in routes.messages:
                    if issubclass(message, Call):
                        types.offer(message)
            self._types[cls] = types
        return types


class Attempt(Slot):
    """One run of a handler under a key. While the handler runs it stands in for the caller's reply
    slot, and where the answer is deferred also afterwards: so an answer is written down before it
    is given, whoever gives it, and whether the caller still waits for it or not."""

    __slots__ = ("caller", "inside", "key", "name", "over", "owner", "store", "types", "waiting")

    def __init__(self, owner: Idempotent, store: KeyStore, key: str, turn: Turn) -> None:
        super().__init__(message_of(turn.item), turn.place, deadline=turn.deadline)
        self.owner = owner
        self.store = store
        self.key: str | None = key
        self.name = key
        self.types = owner.types(turn.place)
        self.caller = turn.slot
        self.inside = True
        """The handler has not returned."""
        self.over = False
        """There is an outcome, or there will be none."""
        self.waiting: list[tuple[Place, Any, Slot | None]] = []
        store.running[key] = self

    async def run(self, envelope: Envelope, next: Next, turn: Turn) -> Any:
        """Run the handler; its value, once that is on disk."""
        transaction = Transaction(self.owner.store, turn)
        turn.slot = self
        try:
            result = await transaction.around(envelope, next)
            transaction.check()
            reason = self._left_open(result)
            if reason is None:
                if not self.over:
                    self.remember(result, None)
                return result
            if transaction.began:
                raise RuntimeError(
                    f"{turn.place.path} has written in self.envelope.transaction and {reason}. "
                    "What is written there is committed together with the answer, so such a "
                    "handler answers by returning."
                )
            if isinstance(result, Later) and result.slot is self:
                host.hold(turn.place, self)
                for _, _, slot in self.waiting:
                    if slot is not None:
                        slot.holder = None
                if self.done:
                    self.forget()
                return Later(self.caller)
            if self.taken and self.caller is not None:
                self.caller.taken = True
            self.forget()
            return result
        except BaseException as error:
            try:
                transaction.undo(error)
                if isinstance(error, Refusal) and not self.over:
                    self.remember(None, error)
            finally:
                self.forget()
            raise
        finally:
            self.inside = False
            turn.slot = self.caller

    def _left_open(self, result: Any) -> str | None:
        """Why the handler's value is not the answer, if it is not."""
        if isinstance(result, Later):
            return "deferred its answer"
        if self.taken:
            return "set the message aside"
        if self.caller is not None and self.caller.taken:
            return "handed the message on"
        if isinstance(result, Stage) or hasattr(type(result), "__await__"):
            return "returned what only the scheduler can look after"
        return None

    def settle(self) -> None:
        """Answered by ``Later.reply``, or failed; the caller hears of it once it is on disk."""
        error = self.error
        if not self.over:
            if error is None or isinstance(error, Refusal):
                try:
                    self._refuse_inside_a_transaction()
                    self.remember(self.value, error)
                except BaseException:
                    self.value = self.error = None
                    raise
            elif not self.inside:
                self.forget()
        super().settle()
        if self.caller is not None:
            if error is None:
                self.caller.reply(self.value)
            else:
                self.caller.fail(error)

    def _refuse_inside_a_transaction(self) -> None:
        if self.store.open:
            raise RuntimeError(
                "A message with a key cannot be answered by later.reply() or later.fail() while a "
                "handler's transaction is open: the answer would be out before it is committed. "
                "Answer from another message, which the actor may send to itself."
            )

    def remember(self, value: object, refusal: Refusal | None) -> None:
        """Write the outcome down, and end the attempt. If that fails the attempt goes on."""
        if refusal is None:
            outcome, data = "answered", self.types.encode(value)
        else:
            outcome, data = "refused", self.types.encode_refusal(refusal)
        now = self.place.scheduler.system.now()
        expires = now + self.owner.retention
        self.store.remember(self.name, outcome, data, now=now, expires=expires)
        self._end()

    def forget(self) -> None:
        """There is no outcome, and there will be none from this attempt."""
        if not self.over:
            self._end()

    def wait(self, turn: Turn) -> None:
        """Set the message of ``turn`` aside until this attempt has ended. It comes back whatever
        the end: then it finds the outcome, or is the next attempt. Its own turn ends now, so that
        an actor that owes a deferred answer goes on, and its caller's deadline is all it has."""
        slot = turn.slot
        if slot is not None:
            slot.taken = True
            slot.holder = self.place if self.inside else None
            if self.inside and (error := _closes_cycle(slot, turn.item, self.place)) is not None:
                slot.fail(error)
                return
        item = turn.item[:TOKEN] if type(turn.item) is tuple else turn.item
        self.waiting = [each for each in self.waiting if each[2] is None or not each[2].done]
        self.waiting.append((turn.place, item, slot))

    def _end(self) -> None:
        self.over = True
        del self.store.running[self.name]
        waiting, self.waiting = self.waiting, []
        # To the front, as what was stashed: the last one first.
        for place, item, slot in reversed(waiting):
            if slot is not None:
                if slot.done:
                    continue
                slot.holder = place
            if calls.is_closed(place):
                place.scheduler.refuse(place, item)
                continue
            place.open_mailbox().appendleft(item)
            if place.idle:
                place.scheduler.schedule(place)


def _closes_cycle(slot: Slot, item: Any, place: Place) -> CallCycle | None:
    """Whether ``place`` waits for the very turn that waits for ``slot``."""
    sender = sender_of(item)
    if sender is not None and sender.turn is not None and slot in (sender.turn.waits or ()):
        try:
            refuse_cycle(sender, place)
        except CallCycle as error:
            return error
    return None


def _recalled(key: str, outcome: str, data: bytes, types: Types) -> Any:
    """Give a known outcome once more."""
    if outcome == "answered":
        return types.decode(data)
    if outcome == "refused":
        raise types.decode_refusal(data)
    raise KeyClosed(f"The key {key!r} was settled without an outcome; this attempt is too late.")


def _settled(outcome: str, data: bytes, types: Types) -> Settled:
    """What is told about a known outcome."""
    if outcome == "answered":
        return Settled("answered", types.decode(data))
    if outcome == "refused":
        return Settled("refused", refusal=cast("Refusal", types.decode_refusal(data)))
    return Settled("closed")
