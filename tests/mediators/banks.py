"""A component that takes money: in the transaction, outside of it, and as its message says."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors import (
    Actor,
    Call,
    Ref,
    Refusal,
    handles,
)
from mediators.idempotency.middleware import Idempotent
from mediators.testing import call_with_key
from supervisors import Child

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TABLES = """
CREATE TABLE IF NOT EXISTS accounts (id TEXT PRIMARY KEY, balance INTEGER NOT NULL);
INSERT OR IGNORE INTO accounts VALUES ('alice', 100);
"""
UPDATE = "UPDATE accounts SET balance = balance - ? WHERE id = 'alice'"


class Overdrawn(Refusal):
    def __init__(self, balance: int) -> None:
        super().__init__(f"balance is {balance}")
        self.balance = balance


@attrs.frozen
class Receipt:
    number: int
    lines: tuple[str, ...] = ()


@attrs.frozen
class Charge(Call[Receipt]):
    amount: int = 10
    then: str = ""


@attrs.frozen
class ChargeOutside(Call[Receipt]):
    amount: int = 10


@attrs.frozen
class Balance(Call[int]):
    pass


@attrs.define(eq=False)
class Do(Call[Any]):
    function: Callable[[Any], Any]


@attrs.define(eq=False)
class DoSlowly(Call[Any]):
    function: Callable[[Any], Any]


class Bank(Actor):
    """Charges in the transaction; ``charged`` counts what its handlers have really done."""

    def __init__(self, layer: Any, charged: list[int] | None = None) -> None:
        self.middleware = [layer]
        self.charged = charged if charged is not None else []

    @handles
    def charge(self, message: Charge) -> Receipt:
        self.charged.append(message.amount)
        db = self.envelope.transaction
        db.execute(UPDATE, (message.amount,))
        if message.then == "crash":
            raise ValueError("after the effect")
        (balance,) = db.execute("SELECT balance FROM accounts").fetchone()
        if balance < 0:
            raise Overdrawn(balance)
        return Receipt(balance, ("charged",))

    @handles
    async def charge_outside(self, message: ChargeOutside) -> Receipt:
        await trio.sleep(1)
        self.charged.append(message.amount)
        return Receipt(len(self.charged))

    @handles
    def balance(self, message: Balance) -> int:
        return int(self.envelope.transaction.execute("SELECT balance FROM accounts").fetchone()[0])

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    async def do_slowly(self, message: DoSlowly) -> Any:
        return await message.function(self)

    @handles
    def tell(self, message: list) -> None:  # type: ignore[type-arg]
        message[0](self)


def payments(path: Path | None = None, **kwargs: Any) -> Idempotent:
    return Idempotent(path, schema=TABLES, **kwargs)


def supervised(layer: Any, charged: list[int] | None = None) -> Child[Any]:
    return Child(Bank, layer, charged, name="bank")


def rows(path: Path) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
        return db.execute("SELECT key, outcome FROM understudy_keys ORDER BY key").fetchall()


async def attempt(
    log: list[Any], ref: Ref[Any], message: Any, key: str, timeout: Any = 5.0
) -> None:
    """One attempt in a task of its own: its answer, or what it raises, goes to the log."""
    try:
        log.append(await call_with_key(ref, message, key, timeout))
    except Exception as error:
        log.append(error)
