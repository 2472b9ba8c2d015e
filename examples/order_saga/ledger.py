"""The books of a component. They outlive its actor, as a database would."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, TypeAlias

import attrs

from actors import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from examples.order_saga.orders import Order

Account: TypeAlias = tuple[str, str]
"""Where something is, and what: ``("shelf", "TEA-EARL")``."""


class Closed(Refusal):
    """What was done under this key has been taken back, or may not be done any more."""


@attrs.frozen
class Move:
    """So much of something goes from one place to another."""

    amount: int
    what: str
    source: str
    target: str


@attrs.frozen
class Line:
    """One line of the books: a move, and the key it was made under."""

    key: str
    move: Move


@attrs.define
class Ledger:
    """Accounts, and the lines that made them what they are.

    Looking whether a key is known and writing under it is one thing here, without an await between
    the two: whoever crashes, crashes before it or after it, and two attempts are one posting.
    """

    name: str
    opening: Mapping[Account, int] = attrs.field(repr=False)
    accounts: Counter[Account] = attrs.field(init=False, repr=False)
    lines: list[Line] = attrs.field(init=False, repr=False, factory=list)
    _posted: dict[str, tuple[str, Sequence[Move]]] = attrs.field(
        init=False, repr=False, factory=dict
    )
    _closed: set[str] = attrs.field(init=False, repr=False, factory=set)

    def __attrs_post_init__(self) -> None:
        self.accounts = Counter(self.opening)

    def receipt(self, key: str) -> str | None:
        """The receipt of what was posted under a key. Raises Closed if it was taken back."""
        if key in self._closed:
            raise Closed(f"{key} has been taken back")
        receipt, _ = self._posted.get(key, (None, ()))
        return receipt

    def post(self, key: str, *moves: Move) -> str:
        """Make the moves, once for each key, and answer the receipt; later attempts get the same.

        Raises Closed if the key was taken back.
        """
        receipt = self.receipt(key)
        if receipt is None:
            receipt = f"{self.name}-{len(self._posted) + 1:05}"
            self._posted[key] = receipt, moves
            self._write(key, moves)
        return receipt

    def take_back(self, key: str) -> None:
        """Reverse what was posted under a key, if anything was, and close the key for good: an
        attempt that comes late must find the door shut."""
        if key not in self._closed:
            self._closed.add(key)
            _, moves = self._posted.get(key, ("", ()))
            self._write(key, [attrs.evolve(m, source=m.target, target=m.source) for m in moves])

    def _write(self, key: str, moves: Sequence[Move]) -> None:
        for move in moves:
            self.accounts[move.source, move.what] -= move.amount
            self.accounts[move.target, move.what] += move.amount
            self.lines.append(Line(key, move))


@attrs.frozen
class Books:
    """The three ledgers of the shop."""

    payments: Ledger
    inventory: Ledger
    shipping: Ledger

    @classmethod
    def opened(cls, orders: Sequence[Order]) -> Books:
        """For a day with these orders: boxes for all, and all the stock they ask for, but nothing
        of what is sold out. So it does not matter who comes first, and a day can be repeated."""
        shelf: Counter[Account] = Counter()
        for order in orders:
            for item in order.items:
                shelf["shelf", item.product.sku] += 0 if item.product.sold_out else item.quantity
        return cls(
            Ledger("payment", {}),
            Ledger("reservation", shelf),
            Ledger("parcel", {("depot", "parcel"): len(orders)}),
        )
