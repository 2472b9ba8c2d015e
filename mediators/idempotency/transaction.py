"""``self.envelope.transaction``: what a plain handler writes, committed with its answer (W11).

It is open only while that handler runs, where nothing else can run: so the actors that share a
connection never meet in one transaction.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import attrs

from mediators.idempotency.keystore import MEDDLED, KeyStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Generator

    from actors import Envelope, Next, System
    from actors.turns import Turn


class Transaction:
    """What one turn writes. ``find`` gives the store, which is opened at the first access."""

    __slots__ = ("_find", "began", "broken", "store", "turn")

    def __init__(self, find: Callable[[System], KeyStore], turn: Turn) -> None:
        self._find = find
        self.turn = turn
        self.store: KeyStore | None = None
        """Where, once there has been something."""
        self.began = False
        self.broken = False
        """It was rolled back, because somebody waited in the middle of it."""

    def begin(self) -> Any:
        """The connection, in a transaction."""
        if not self.turn.atomic:
            raise RuntimeError(
                "self.envelope.transaction is for a plain def handler, while it runs: it ends with "
                "the handler and must not be open while anybody waits. An async def handler hands "
                "self.envelope.key to the outside system instead."
            )
        self.check()
        store = self._find(self.turn.place.scheduler.system)
        if not self.began:
            store.begin()
            self.store, self.began = store, True
            self.turn.undo = self.rollback
        return store.connection

    def around(self, envelope: Envelope, next: Next) -> Awaitable[Any]:
        """Let the handler run with the transaction at hand."""
        return _Uninterrupted(next(attrs.evolve(envelope, begin=self.begin)), self)

    def interrupted(self) -> None:
        """The handler has returned, and a layer further in waits before it lets its value out: no
        other actor may find the transaction open."""
        if self.began:
            self.broken = True
            self.rollback()

    def check(self) -> None:
        """Raises RuntimeError if what was written is gone."""
        if self.broken:
            raise RuntimeError(
                f"{self.turn.place.path}: a middleware further in than Idempotent waited while the "
                "handler's transaction was open, which was rolled back. Put Idempotent last in "
                "middleware, or let that layer wait before it calls next."
            )

    def commit(self) -> None:
        """End it well. Raises RuntimeError if the handler or a layer has broken it."""
        self.check()
        if self.store is not None and self.began:
            self.store.commit()
            self.began = False

    def rollback(self) -> None:
        """Undo it: the handler has raised, whatever a layer makes of that, or somebody waits."""
        if self.store is not None and self.began:
            self.began = False
            self.store.rollback()

    def undo(self, error: BaseException) -> None:
        """Roll it back, because of ``error``. Raises RuntimeError if SQLite's word for the cause
        would be less clear."""
        self.rollback()
        if self.store is not None and self.store.meddled and isinstance(error, sqlite3.Error):
            raise RuntimeError(MEDDLED) from error


class _Uninterrupted:
    """Awaits something and tells the transaction whenever that has to wait."""

    __slots__ = ("rest", "transaction")

    def __init__(self, rest: Awaitable[Any], transaction: Transaction) -> None:
        self.rest = rest
        self.transaction = transaction

    def __await__(self) -> Generator[Any, Any, Any]:
        steps: Any = self.rest.__await__()
        step: Callable[[Any], Any] = steps.send
        value: Any = None
        while True:
            try:
                waits = step(value)
            except StopIteration as stop:
                return stop.value
            self.transaction.interrupted()
            try:
                value = yield waits
                step = steps.send
            except BaseException as error:
                step, value = steps.throw, error
