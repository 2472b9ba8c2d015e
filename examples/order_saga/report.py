"""The report at the end of a day."""

from __future__ import annotations

from collections import Counter
from itertools import islice
from typing import TYPE_CHECKING

from rich import box
from rich.columns import Columns
from rich.console import Console
from rich.table import Table
from rich.text import Text

from examples.order_saga.orders import money

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.order_saga.balance import Check
    from examples.order_saga.day import Day

FAULTS = 5
"""So many faults of each check are printed."""


def report(console: Console, day: Day, checks: Sequence[Check]) -> None:
    """Print what has become of the orders, what went wrong, and whether it adds up."""
    console.print()
    console.print(Columns([endings(day), troubles(day)], padding=(0, 5)))
    console.print()
    console.print(checked(checks))
    for check in checks:
        for fault in islice(check.faults, FAULTS):
            console.print(Text(f"  {fault}", "red"))
        if len(check.faults) > FAULTS:
            console.print(Text(f"  and {len(check.faults) - FAULTS:,} more of these", "red"))
    console.print()
    if all(check.right for check in checks):
        console.print(Text("The balance is right. Nothing was charged twice.", "bold green"))
    else:
        console.print(Text("THE BALANCE IS NOT RIGHT.", "bold red"))


def table(first: str, *others: str) -> Table:
    """The first column is text, the others are figures."""
    made = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    made.add_column(first)
    for other in others:
        made.add_column(other, justify="right")
    return made


def endings(day: Day) -> Table:
    """How many orders ended how, and what they are worth."""
    orders: Counter[str] = Counter()
    worth: Counter[str] = Counter()
    for order in day.orders:
        why = day.story.ended.get(order.id, "not ended")
        orders[why or ""] += 1
        worth[why or ""] += order.total
    made = table("Orders", "", "EUR")
    made.add_row(Text("complete", "green"), f"{orders.pop('', 0):,}", money(worth[""]))
    made.add_row(
        Text("compensated", "magenta"), f"{orders.total():,}", money(worth.total() - worth[""])
    )
    for why, count in sorted(orders.items(), key=lambda each: (-each[1], each[0])):
        made.add_row(Text(f"  {why}", "bright_black"), f"{count:,}", money(worth[why]))
    return made


def troubles(day: Day) -> Table:
    """What went wrong on the way, and what was done about it."""
    story = day.story
    made = table("On the way", "")
    made.add_row("process deaths (SIGKILL)", f"{story.deaths:,}")
    made.add_row("workflows taken up again", f"{story.taken_up:,}")
    made.add_row("restarts of components", f"{story.restarts.total():,}")
    for name, count in sorted(story.restarts.items()):
        made.add_row(Text(f"  {name}", "bright_black"), f"{count:,}")
    return made


def checked(checks: Sequence[Check]) -> Table:
    """The balance."""
    made = table("Balance of books.db", "should be", "is", "")
    for check in checks:
        mark = Text("right", "green") if check.right else Text("WRONG", "bold red")
        made.add_row(check.what, check.should_be, check.found, mark)
    return made
