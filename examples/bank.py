"""A supervision tree: an account crashes, and the bank starts it again behind the same ref.

The accounts write to a ledger, an actor of its own. So a crash of an account forgets nothing: its
successor reads what there is when it starts.

Run it: ``python -m examples.bank``
"""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any

import attrs
import trio

from actors import Actor, ActorDied, Call, Ref, handles, open_system
from supervisors import Child, Supervisor, one_for_one


@attrs.frozen
class Book(Call[int]):
    """To the ledger: so much more for an owner. Answered by what the owner has then."""

    owner: str
    amount: int


@attrs.frozen
class Deposit(Call[int]):
    """To an account: put so much in. Answered by the balance."""

    amount: int


@attrs.define
class Ledger(Actor):
    """Knows what everybody has."""

    entries: Counter[str] = attrs.field(factory=Counter)

    @handles
    def book(self, msg: Book) -> int:
        """One entry."""
        self.entries[msg.owner] += msg.amount
        return self.entries[msg.owner]


@attrs.define
class Account(Actor):
    """Has a bug: it cannot count to thirteen."""

    owner: str
    balance: int = 0

    async def on_start(self) -> None:
        """Where the last one left off."""
        self.balance = await self.ledger.call(Book(self.owner, 0))
        print(f"  {self.owner}, incarnation {self.ref.incarnation}, has {self.balance}")

    @handles
    async def deposit(self, msg: Deposit) -> int:
        """Booked first, then added up."""
        if msg.amount == 13:
            raise ArithmeticError("13?!")
        self.balance = await self.ledger.call(Book(self.owner, msg.amount))
        return self.balance

    @property
    def ledger(self) -> Ref[Ledger]:
        """A name is found again after a restart; so is whoever has it."""
        ledger = self.system.whereis("ledger")
        assert ledger is not None
        return ledger


class Bank(Supervisor):
    """If the ledger falls, all accounts start again after it. An account falls alone."""

    strategy = "rest_for_one"

    def children(self) -> list[Child[Any]]:
        """In start order; stopped in reverse."""
        return [
            Child(Ledger, name="ledger"),
            one_for_one(
                Child(Account, "alice", name="alice"),
                Child(Account, "bob", name="bob"),
                id="accounts",
            ),
        ]


async def main() -> None:
    """Deposit, crash, deposit."""
    async with open_system(Bank) as system:
        alice = system.whereis("alice")
        assert alice is not None
        for amount in (5, 13, 7):
            try:
                print(f"deposit {amount}:", await alice.call(Deposit(amount)))
            except ActorDied as died:
                print(f"deposit {amount}: crashed, {died.__cause__!r}")


if __name__ == "__main__":
    for name in ("actors", "supervisors"):
        logging.getLogger(name).setLevel(logging.CRITICAL)  # no crash reports between the lines
    trio.run(main)
