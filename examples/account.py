"""One actor: an account that answers, refuses, and never goes below zero.

Run it: ``python -m examples.account``
"""

from __future__ import annotations

import attrs
import trio

from actors import Actor, Call, Refusal, handles, open_system


class Overdrawn(Refusal):
    """There is not so much in it."""


@attrs.frozen
class Withdraw(Call[int]):  # the reply type is part of the message
    """Answered by what is left."""

    amount: int


@attrs.define
class Account(Actor):
    """Holds money."""

    balance: int = 0

    @handles
    def withdraw(self, msg: Withdraw) -> int:  # found by the annotation
        """Refused if there is too little."""
        if msg.amount > self.balance:
            raise Overdrawn(f"balance is {self.balance}")
        self.balance -= msg.amount
        return self.balance


async def main() -> None:
    """Ask twice."""
    async with open_system() as system:
        account = await system.start(Account, 10)
        print("left:", await account.call(Withdraw(3)))  # typed: int
        try:
            await account.call(Withdraw(30))
        except Overdrawn as no:
            print("refused:", no)


if __name__ == "__main__":
    trio.run(main)
