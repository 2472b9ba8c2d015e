"""What one sees of the day: the tree, the orders under way and all others, live; or plain lines."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

import trio
from rich.console import Console, Group, RenderableType
from rich.layout import Layout
from rich.live import Live
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from examples.order_saga.balance import held
from examples.order_saga.orderbook import Mark, Status
from examples.order_saga.orders import money

if TYPE_CHECKING:
    from examples.order_saga.census import Member
    from examples.order_saga.day import Day
    from examples.order_saga.orderbook import Page

STEPS = ("charge", "reserve", "ship")
MARKS = {
    Mark.ASKED: ("…", "yellow"),
    Mark.DONE: ("✔", "green"),
    Mark.REFUSED: ("✘", "red"),
    Mark.UNDONE: ("↩", "magenta"),
}
NOT_YET = ("·", "bright_black")
CELLS = {
    Status.WAITING: NOT_YET,
    Status.RUNNING: ("■", "yellow"),
    Status.COMPLETE: ("■", "green"),
    Status.UNDONE: ("■", "magenta"),
}
STATES = {"up": "green", "restarting": "bold yellow", "stopping": "yellow", "starting": "yellow"}


class PlainView:
    """A line now and then, for pipes and files."""

    interval = 0.1

    def __init__(self, console: Console) -> None:
        self.console = console
        self.tenths = 0

    def show(self, day: Day, shop: Member) -> None:
        """One line for each tenth of the orders."""
        counts, total = day.book.counts, max(1, len(day.book.pages))
        finished = counts[Status.COMPLETE] + counts[Status.UNDONE]
        if finished * 10 // total > self.tenths:
            self.tenths = finished * 10 // total
            self.console.print(
                f"{finished:,} of {total:,} orders: {counts[Status.COMPLETE]:,} complete, "
                f"{counts[Status.UNDONE]:,} undone"
            )


class LiveView:
    """The whole screen, ten times a second."""

    interval = 0.1

    def __init__(self, live: Live) -> None:
        self.live = live
        self.began = trio.current_time()

    def show(self, day: Day, shop: Member) -> None:
        """Draw it."""
        console = self.live.console
        cells = cell_rows(day, console.width - 4, console.height // 4)
        rows = max(0, console.height - len(cells) - 6)  # what is left inside of the frames
        layout = Layout()
        layout.split_column(
            Layout(header(day), size=1),
            Layout(name="middle"),
            Layout(footer(day, cells, trio.current_time() - self.began), size=len(cells) + 3),
        )
        right = Layout(ratio=2)
        right.split_column(
            Layout(panel("Books", books(day)), size=6),
            Layout(panel("Finished", finished(day, rows))),
            Layout(panel("Crashes", crashes(day, rows)), size=rows // 4 + 1, visible=rows > 14),
        )
        tree = panel("Supervision tree", supervision_tree(day, shop, rows))
        layout["middle"].split_row(Layout(tree, ratio=3), right)
        self.live.update(layout, refresh=True)


def header(day: Day) -> RenderableType:
    """What day it is."""
    s = day.settings
    line = Table.grid(expand=True)
    line.add_column()
    line.add_column(justify="right", style="bright_black")
    closing = Text("  closing: no more orders are begun", "bold yellow") if day.book.closed else ""
    line.add_row(
        Text.assemble(("  Order saga", "bold"), closing),
        f"seed {s.seed} · {s.crash_rate:.0%} crashes · {s.refusal_rate:.0%} refusals  ",
    )
    return line


def supervision_tree(day: Day, shop: Member, rows: int) -> Tree:
    """The tree with its restarts; the orders under way are children in it, as far as they fit."""
    room = max(0, rows - 10)

    def grow(branch: Tree, member: Member) -> None:
        if member.ref.name == "sagas":
            for page in islice(day.book.running.values(), room):
                branch.add(under_way(page))
            return
        for child in member.children:
            grow(branch.add(place(day, child)), child)

    tree = Tree(place(day, shop), guide_style="bright_black")
    grow(tree, shop)
    return tree


def place(day: Day, member: Member) -> Text:
    """``payments  up  ↻ 3``: a restart count stands where the actors are that were restarted."""
    state = member.ref.state
    text = Text.assemble(
        (member.ref.path.rpartition("/")[2], "bold"), ("  " + state, STATES.get(state, "red"))
    )
    restarts = day.chronicle.restarts[member.ref.path]
    if restarts and (member.ref.name == "sagas" or not member.children):
        text.append(f"  ↻ {restarts:,}", "cyan")
    if member.ref.name == "sagas":
        text.append(f"  {len(member.children)} under way", "bright_black")
    return text


def under_way(page: Page) -> Text:
    """``2017  charge ✔ reserve … ship ·  Anna Schmidt``."""
    text = Text(f"{page.order.id}  ", no_wrap=True, overflow="ellipsis")
    for step in STEPS:
        mark = page.marks.get(f"{page.order.id}/{step}")
        symbol, style = MARKS[mark] if mark else NOT_YET
        text.append(f"{step} {symbol} ", style)
    return text.append(f" {page.order.customer}", "bright_black")


def books(day: Day) -> Table:
    """What the ledgers have at the moment."""
    inventory, shipping = day.books.inventory, day.books.shipping
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bright_black")
    table.add_column(justify="right")
    table.add_row("money in the till", money(day.books.payments.accounts["till", "cents"]))
    table.add_row("items on the shelf", f"{held(inventory, 'shelf'):,}")
    table.add_row("items packed", f"{held(inventory, 'packed'):,}")
    table.add_row("parcels sent", f"{held(shipping, 'courier'):,}")
    return table


def finished(day: Day, rows: int) -> Table:
    """The orders that have ended, the latest first."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column()
    table.add_column(justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    for page in islice(reversed(day.book.finished), rows):
        undone = Text(f"↩ {page.why}", "magenta")
        ending = Text("✔ complete", "green") if page.status is Status.COMPLETE else undone
        table.add_row(Text(page.order.id), money(page.order.total), ending)
    return table


def crashes(day: Day, rows: int) -> Text:
    """The crashes, the latest first."""
    latest = islice(reversed(day.chronicle.crashes), rows)
    return Text("\n".join(latest), "red", no_wrap=True, overflow="ellipsis")


def cell_rows(day: Day, width: int, most: int) -> list[Text]:
    """A cell for each order of the file, in its colour; none if that takes too many rows."""
    pages = list(day.book.pages.values())
    if len(pages) > most * width:
        return []
    rows = [pages[i : i + width] for i in range(0, len(pages), width)]
    return [Text.assemble("  ", *(CELLS[page.status] for page in row)) for row in rows]


def footer(day: Day, cells: list[Text], seconds: float) -> Group:
    """All orders, and how many there are of each kind."""
    counts, total = day.book.counts, len(day.book.pages)
    done = counts[Status.COMPLETE] + counts[Status.UNDONE]
    numbers = Text(f"{done:,}/{total:,}", "bold")
    for status in (Status.COMPLETE, Status.UNDONE, Status.RUNNING, Status.WAITING):
        style = CELLS[status][1]
        numbers.append(f"   {counts[status]:,} {status.value}", style)
    numbers.append(f"   {len(day.reading.malformed):,} malformed", "red")
    numbers.append(f"   {seconds:.0f} s", "bright_black")
    line = Table.grid(padding=(0, 2, 0, 0))
    line.add_row("", ProgressBar(total=max(1, total), completed=done, width=32), numbers)
    return Group("", *cells, "", line)


def panel(title: str, content: RenderableType) -> Panel:
    """A frame with a title in it."""
    return Panel(content, title=title, title_align="left", border_style="bright_black")
