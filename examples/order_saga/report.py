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

from examples.order_saga.messages import SERVICES
from examples.order_saga.orderbook import Status
from examples.order_saga.orders import money
from examples.order_saga.trouble import Fate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from examples.order_saga.balance import Check
    from examples.order_saga.day import Day

FAULTS = 20
"""So many faults of each check are printed,"""
ROWS = 500
"""and so many malformed rows."""


def report(console: Console, day: Day, checks: Sequence[Check]) -> None:
    """Print what has become of the orders, what went wrong, and whether it adds up."""
    console.print(Columns([endings(day), troubles(day)], padding=(0, 8)))
    if day.reading.malformed:
        console.print(malformed(day))
    console.print(checked(checks))
    for check in checks:
        for fault in islice(check.faults, FAULTS):
            console.print(Text(f"  {fault}", "red"))
        if len(check.faults) > FAULTS:
            console.print(Text(f"  and {len(check.faults) - FAULTS:,} more of these", "red"))
    if all(check.right for check in checks):
        console.print(Text("\nThe balance is right.", "bold green"))
    else:
        console.print(Text("\nTHE BALANCE IS NOT RIGHT.", "bold red"))


def table(title: str, *columns: str) -> Table:
    """The first column is text, the others are figures."""
    made = Table(
        title=f"\n{title}",
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        show_edge=False,
        pad_edge=False,
    )
    made.add_column(columns[0])
    for column in columns[1:]:
        made.add_column(column, justify="right")
    return made


def endings(day: Day) -> Table:
    """How many orders ended how, and what they are worth."""
    orders: Counter[str] = Counter()
    worth: Counter[str] = Counter()
    for page in day.book.pages.values():
        ending = f"undone: {page.why}" if page.status is Status.UNDONE else page.status.value
        if page.status is Status.WAITING:
            ending = "not begun"
        orders[ending] += 1
        worth[ending] += page.order.total
    made = table("Orders", "ending", "orders", "EUR")
    for ending, count in sorted(orders.items(), key=lambda each: (-each[1], each[0])):
        made.add_row(Text(ending), f"{count:,}", money(worth[ending]))
    made.add_section()
    made.add_row("all", f"{orders.total():,}", money(worth.total()))
    return made


def troubles(day: Day) -> Table:
    """What was broken, and what the supervisors did about it."""
    met, restarts = day.trouble.met, day.chronicle.restarts
    made = table("Trouble", "", "crashed\nbefore", "crashed\nafter", "answer\nlost", "restarts")
    for name in SERVICES:
        fates = (Fate.CRASH_BEFORE, Fate.CRASH_AFTER, Fate.ANSWER_LOST)
        figures = [met[name, fate] for fate in fates]
        figures.append(restarts[f"/shop/services/{name}"])
        made.add_row(name, *(f"{figure:,}" for figure in figures))
    fell = f"{met['saga', Fate.CRASH_AFTER]:,}"
    made.add_row("sagas", "", fell, "", f"{restarts['/shop/office/sagas']:,}")
    return made


def malformed(day: Day) -> Table:
    """The rows that are no orders."""
    made = table("Malformed rows", "line", "reason")
    made.columns[0].justify, made.columns[1].justify = "right", "left"
    for row in islice(day.reading.malformed, ROWS):
        made.add_row(f"{row.line}", Text(row.reason))
    if len(day.reading.malformed) > ROWS:
        made.add_row("", f"and {len(day.reading.malformed) - ROWS:,} more")
    return made


def checked(checks: Sequence[Check]) -> Table:
    """The balance."""
    made = table("Balance", "", "should be", "is", "")
    for check in checks:
        mark = Text("right", "green") if check.right else Text("WRONG", "bold red")
        made.add_row(check.what, check.should_be, check.found, mark)
    return made
