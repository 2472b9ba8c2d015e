"""What the type checkers are to make of the API. Checked by them, never run: ``make check``."""

from __future__ import annotations

from functools import partial
from typing import Any, assert_type

import attrs

from actors import Actor, Call, Later, Ref, System, handles
from supervisors import Child, DynamicSupervisor, StartChild, one_for_one
from supervisors.supervisor import Group


@attrs.frozen
class Withdraw(Call[int]):
    """Answered by the balance."""

    amount: int


@attrs.define
class Account(Actor):
    """Has a field without and one with a name worth giving."""

    balance: int = 0
    currency: str = "EUR"

    @handles
    def withdraw(self, message: Withdraw) -> int | Later[int]:
        """Answers, or will."""
        return self.later() if message.amount else self.balance


async def started(system: System) -> None:
    """A ref knows the class of its actor, and a call the type of its answer."""
    account = await system.start(Account, 10)
    assert_type(account, Ref[Account])
    assert_type(await account.call(Withdraw(3)), int)
    assert_type(await account.call(Withdraw(3), timeout=None), int)
    assert_type(await system.start(Account, 10, name="alice"), Ref[Account])
    assert_type(await system.start(Child(Account, 10)), Ref[Account])
    assert_type(await system.start(one_for_one(Child(Account))), Ref[Group])
    pool = await system.start(DynamicSupervisor, max_children=3)
    assert_type(pool, Ref[DynamicSupervisor])
    assert_type(await pool.call(StartChild(Child(Account))), Ref[Any])
    anybody: Ref[Actor] = account
    anybody.cast(Withdraw(1))


async def refused(system: System, account: Ref[Account]) -> None:
    """A wrong argument is found where it is written."""
    await system.start(Account, "ten")  # type: ignore[call-overload]
    Child(Account, "ten")  # type: ignore[arg-type]
    Child(partial(Account, currency="USD"), 10)
    await account.call("withdraw")  # type: ignore[arg-type]
    Child(Account, restart="sometimes")  # type: ignore[arg-type]
