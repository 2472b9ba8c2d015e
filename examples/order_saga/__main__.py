"""The command line: ``python -m examples.order_saga [ORDERS.csv]``."""

from __future__ import annotations

import re
import sys
import textwrap
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated, Any

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

from examples.order_saga.balance import balance, read_books
from examples.order_saga.day import ERRORS, Day, Unusable
from examples.order_saga.orders import NotOrders, read_orders
from examples.order_saga.report import report
from examples.order_saga.shop import BOOKS
from mediators import JournalError

ORDERS = Path(__file__).with_name("orders.csv")
DIRECTORY = Path(".demo")
RIGHT, WRONG, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
"""The exit codes."""

DONE = {
    "Charge": "order {} has just been charged",
    "Refund": "a payment has just been refunded",
    "Reserve": "order {} has just been packed",
    "Release": "order {} has just been unpacked",
    "Ship": "order {} has just been shipped",
    "Recall": "order {} has just been recalled",
}

app = App(name="python -m examples.order_saga", version_flags=[])


def check_moments(type: object, moments: tuple[str, ...]) -> None:
    """Kills are planned as ``Charge:7``."""
    for each in moments:
        if not re.fullmatch("(Charge|Refund|Reserve|Release|Ship|Recall):[1-9][0-9]*", each):
            raise ValueError(f"{each!r} is no moment such as Charge:7")


@app.default
def order_saga(
    file: Annotated[Path, Parameter(show_default=False)] = ORDERS,
    /,
    *,
    orders: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
    dir: Annotated[Path, Parameter(name="--dir")] = DIRECTORY,  # noqa: A002
    fresh: Annotated[bool, Parameter(negative="")] = False,
    kill: bool = True,
    kill_at: Annotated[
        tuple[str, ...],
        Parameter(show_default=False, validator=check_moments, negative=""),
    ] = (),
) -> int:
    """Take orders through payments, inventory and shipping, and kill the process on the way.

    Components crash, orders are refused, and three times the whole process gets a SIGKILL, when
    something has just been done and nobody has heard of it. The next process goes on. In the end
    every order is complete or compensated, which is checked in the components' own books. Run
    again, it finds everything done; interrupted, it goes on the next time.

    Exit code 0: the balance is right. 1: it is not. 2: the file or directory cannot be used.
    130: closed by Ctrl-C.

    Parameters
    ----------
    file
        A CSV file, one order a line; unless given, the one that comes with this program.
    orders
        Take only so many of them.
    dir
        Where the journal and the books are kept.
    fresh
        Begin anew, without what is kept.
    kill
        Whether the process is killed.
    kill_at
        When it is killed, in place of the usual: Charge:7 is when the 7th charge of a process has
        been made. Also Reserve, Ship, Refund, Release. May be given several times.
    """
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=80)
    try:
        reading = read_orders(file)
        day = Day(dir, file, reading, len(reading.orders) if orders is None else orders)
        day.open(fresh=fresh)
        done = day.done
    except (NotOrders, Unusable, OSError, JournalError) as error:
        print(f"order_saga: {error}", file=sys.stderr)
        return UNUSABLE
    opening(console, day)
    if done:
        console.print(
            "Everything is done already, so nothing was done now. [bold]--fresh[/] begins anew."
        )
    else:
        quarter = max(1, len(day.orders) // 4)
        usual = tuple(f"{step}:{quarter}" for step in ("Charge", "Reserve", "Ship"))
        try:
            code = watch(console, day, (kill_at or usual) if kill else ())
        except KeyboardInterrupt:
            code = 0
        if code != 0:
            print(f"order_saga: {trouble(day)}", file=sys.stderr)
            return UNUSABLE
        if left := [each for each in day.orders if each.id not in day.story.ended]:
            console.print(
                f"Closed in order, {counted(len(left), 'order')} left. Run it again to go on."
            )
            return INTERRUPTED
    checks = balance(read_books(day.path(BOOKS)), day.orders, day.story.ended)
    report(console, day, checks)
    return RIGHT if all(check.right for check in checks) else WRONG


def opening(console: Console, day: Day) -> None:
    """What is about to happen, and where."""
    reading = day.reading
    console.print(
        f"{day.file.name}: {reading.rows:,} rows, {len(reading.malformed):,} of them malformed; "
        f"{counted(len(day.orders), 'order')}\njournal and books: {day.directory}/\n",
        markup=False,
    )


def watch(console: Console, day: Day, kills: tuple[str, ...]) -> int:
    """Run the day, and show how it goes."""
    bar = Progress(
        TextColumn("  "),
        BarColumn(36, complete_style="green", finished_style="green"),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}", style="bright_black"),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )
    task = bar.add_task("orders", total=len(day.orders), figures="")

    def look(events: list[dict[str, Any]]) -> None:
        for event in events:
            line = narrate(event)
            if line:
                bar.console.print(line)
        restarts = counted(day.story.restarts.total(), "restart")
        bar.update(task, completed=len(day.story.ended), figures=restarts)

    with bar:
        return day.run(kills, look)


def narrate(event: dict[str, Any]) -> str:
    """The events that are worth a line."""
    if event["event"] == "began":
        return f"process {event['pid']} opens the shop"
    if event["event"] == "recovered" and event["runs"]:
        return f"  and goes on with {counted(event['runs'], 'workflow')} where they stood"
    if event["event"] == "killed":
        what = DONE[event["kill"].partition(":")[0]].format(event["order"])
        return f"  [bold red]SIGKILL[/]: {what}, and nobody has heard of it"
    return ""


def counted(number: int, what: str) -> str:
    """``1 order``, ``217 orders``."""
    return f"{number:,} {what}{'s' if number != 1 else ''}"


def trouble(day: Day) -> str:
    """Why a process has ended without being killed, and without having finished."""
    lines = day.path(ERRORS).read_text("utf-8", "replace").splitlines()
    why = textwrap.shorten(lines[-1], 200) if lines else "the shop has closed."
    return f"{why} See {day.directory}/."


def main(arguments: list[str] | None = None) -> int:
    """The program; its exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a customer may have any name
    try:
        code = app(
            sys.argv[1:] if arguments is None else arguments,
            exit_on_error=False,
            result_action="return_value",
        )
    except CycloptsError:
        return UNUSABLE
    return code if isinstance(code, int) else RIGHT


if __name__ == "__main__":
    sys.exit(main())
