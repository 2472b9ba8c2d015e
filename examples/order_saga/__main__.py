"""The command line: ``python -m examples.order_saga [ORDERS.csv]``."""

from __future__ import annotations

import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

import trio
from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number
from rich.console import Console
from rich.live import Live

from actors import ActorError
from examples.order_saga.balance import balance
from examples.order_saga.crashlog import Crashlog
from examples.order_saga.day import Day
from examples.order_saga.orders import NotOrders, read_orders
from examples.order_saga.report import report
from examples.order_saga.settings import Settings
from examples.order_saga.view import LiveView, PlainView

ORDERS = Path(__file__).with_name("orders.csv")
RIGHT, WRONG, UNUSABLE, INTERRUPTED = 0, 1, 2, 130
"""The exit codes."""
WATCHABLE = 0.013
"""Seconds a component works on a message when somebody watches."""

app = App(name="python -m examples.order_saga", version_flags=[])
defaults = Settings()
UP_TO_90_PERCENT = Parameter(validator=Number(gte=0, lte=0.9))
UP_TO_100_PERCENT = Parameter(validator=Number(gte=0, lte=1))


@app.default
def order_saga(
    orders: Annotated[Path, Parameter(show_default=False)] = ORDERS,
    /,
    *,
    seed: int = defaults.seed,
    crash_rate: Annotated[float, UP_TO_90_PERCENT] = defaults.crash_rate,
    refusal_rate: Annotated[float, UP_TO_100_PERCENT] = defaults.refusal_rate,
    at_once: Annotated[int, Parameter(validator=Number(gte=1))] = defaults.at_once,
    delay: Annotated[float | None, Parameter(validator=Number(gte=0, lte=10))] = None,
    plain: bool = False,
    log: Path | None = None,
) -> int:
    """Take orders through payments, inventory and shipping, under supervision.

    Actors crash, answers get lost, steps are refused; what cannot be completed is undone. Exit code
    0: every order is complete or undone, and money, stock and parcels add up. 1: they do not.
    2: the file cannot be used. 130: closed by Ctrl-C, everything begun brought to an end.

    Parameters
    ----------
    orders
        A CSV file, one order a line; unless given, the one that comes with this program. Malformed
        rows are reported, the others are run.
    seed
        The same seed gives the same trouble, and the same day.
    crash_rate
        Share of messages on which a component crashes, or its answer gets lost.
    refusal_rate
        Share of steps that are answered with no.
    at_once
        Orders under way at a time.
    delay
        Seconds a component works on a message: 0.013 when you watch, else 0.
    plain
        Print lines also to a terminal.
    log
        Write the crash reports to this file.
    """
    try:
        reading = read_orders(orders)
        crashlog = Crashlog(log)
    except (NotOrders, OSError) as error:
        print(f"order_saga: {error}", file=sys.stderr)
        return UNUSABLE
    console = Console(highlight=False)
    watched = not plain and is_watchable(console)
    if not console.is_terminal:
        console = Console(highlight=False, width=120)
    console.print(
        f"{orders.name}: {reading.rows:,} rows, {len(reading.orders):,} orders, "
        f"{len(reading.malformed):,} malformed; seed {seed}",
        markup=False,
    )
    if delay is None:
        delay = WATCHABLE if watched else 0.0
    day = Day(reading, Settings(seed, crash_rate, refusal_rate, at_once, delay))
    try:
        with crashlog:
            trio.run(watch if watched else run_plain, day, console)
    except KeyboardInterrupt:
        day.book.closed = True
    except ActorError as error:
        print(f"order_saga: the shop gave up: {error}", file=sys.stderr)
    checks = balance(day)
    report(console, day, checks)
    if not all(check.right for check in checks):
        return WRONG
    return INTERRUPTED if day.book.closed else RIGHT


def is_watchable(console: Console) -> bool:
    """A terminal, and large enough."""
    large = console.width >= 72 and console.height >= 20
    return console.is_terminal and not console.is_dumb_terminal and large


async def watch(day: Day, console: Console) -> None:
    """Show the day on the whole screen."""
    with Live(console=console, screen=True, auto_refresh=False) as live:
        await day.run(LiveView(live))


async def run_plain(day: Day, console: Console) -> None:
    """Print a line now and then."""
    await day.run(PlainView(console))


def main(tokens: list[str] | None = None) -> int:
    """Run the command line; the exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that lacks a letter gets a "?"
    try:
        return int(app(tokens, exit_on_error=False, result_action="return_value") or 0)
    except CycloptsError:
        return UNUSABLE


if __name__ == "__main__":
    sys.exit(main())
