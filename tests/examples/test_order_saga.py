"""The order saga: whatever goes wrong, the day adds up; and if it did not, one would be told."""

from __future__ import annotations

import io
import logging
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio
from rich.console import Console
from rich.live import Live

from actors import Killed, Ref, open_system
from actors.testing import VirtualClock
from examples.order_saga.__main__ import INTERRUPTED, ORDERS, RIGHT, UNUSABLE, WRONG, main
from examples.order_saga.balance import balance
from examples.order_saga.census import Member, census
from examples.order_saga.components import Payments
from examples.order_saga.day import Day
from examples.order_saga.ledger import Closed, Ledger, Move
from examples.order_saga.messages import Charge, Refund
from examples.order_saga.orderbook import Status
from examples.order_saga.orders import COLUMNS, NotOrders, Order, Reading, read_orders
from examples.order_saga.report import report
from examples.order_saga.settings import Settings
from examples.order_saga.trouble import Fate, Trouble
from examples.order_saga.view import LiveView, PlainView
from supervisors import Child, Supervisor

ROOT = Path(__file__).parents[2]
SERVICES = ("payments", "inventory", "shipping")
CRASHES = (Fate.CRASH_BEFORE, Fate.CRASH_AFTER)
GOOD = (
    "2001,2025-11-24,Anna Schmidt,anna@example.org,Torstraße 1,10119,Berlin,DE,2 x TEA-EARL,13.80"
)


@pytest.fixture(autouse=True)
def no_reports(caplog: pytest.LogCaptureFixture) -> None:
    """Thousands of crash reports cost more time than the crashes."""
    for name in ("actors", "supervisors"):
        caplog.set_level(logging.CRITICAL + 1, name)


class Onlooker:
    """A view that shows nothing, and remembers whom it has seen."""

    interval = 0.1

    def __init__(self) -> None:
        self.seen: dict[str, Ref[Any]] = {}

    def show(self, day: Day, shop: Member) -> None:
        self.seen[shop.ref.path] = shop.ref
        for child in shop.children:
            self.show(day, child)


def day_of(path: Path = ORDERS, **settings: Any) -> Day:
    return Day(read_orders(path), Settings(**settings))


def run(day: Day) -> Day:
    VirtualClock().run(day.run, Onlooker())
    return day


def right(day: Day) -> bool:
    return all(check.right for check in balance(day))


def printed(day: Day) -> str:
    console = Console(file=io.StringIO(), width=120)
    report(console, day, balance(day))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def write(path: Path, *lines: str | bytes) -> Path:
    raw = [line.encode() if isinstance(line, str) else line for line in lines]
    path.write_bytes(b"\n".join([",".join(COLUMNS).encode(), *raw, b""]))
    return path


def order_of(line: str, path: Path) -> Order:
    (order,) = read_orders(write(path, line)).orders
    return order


# -- the program


def test_it_runs_as_its_documentation_says() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.order_saga"],
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == RIGHT
    assert "orders.csv: 232 rows, 217 orders, 15 malformed" in done.stdout
    assert "order 2053 came already, in line 54" in done.stdout
    assert "out of stock: Cast-iron teapot" in done.stdout
    assert done.stdout.rstrip().endswith("The balance is right.")


def test_ctrl_c_closes_the_shop_in_order() -> None:
    command = [
        sys.executable,
        "-u",
        "-m",
        "examples.order_saga",
        "--delay",
        "0.01",
        "--at-once",
        "3",
    ]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as process:
        assert process.stdout is not None and process.stderr is not None
        for line in process.stdout:
            if "of 217 orders" in line:
                break
        process.send_signal(signal.SIGINT)
        out = process.stdout.read()
        assert process.stderr.read() == ""
    assert process.returncode == INTERRUPTED
    assert "not begun" in out
    assert out.rstrip().endswith("The balance is right.")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, "cannot read"),
        (b"", "is empty"),
        (b"\n\n", "first line"),
        (b"order,placed\n1,2\n", "Got: 'order,placed'"),
        (b"\xff\xfeo\x00r\x00", "not UTF-8"),
        (b'"order\n', "a quote is never closed"),
        ((",".join((*COLUMNS, "total"))).encode(), "first line"),
    ],
)
def test_a_file_that_is_no_file_of_orders_is_refused(
    content: bytes | None, complaint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "orders.csv"
    if content is not None:
        path.write_bytes(content)
    assert main([str(path)]) == UNUSABLE
    assert complaint in capsys.readouterr().err
    assert main([str(tmp_path)]) == UNUSABLE


@pytest.mark.parametrize("wrong", [["--crash-rate", "1"], ["--at-once", "0"], ["--what"]])
def test_a_wrong_option_is_told_apart_from_a_wrong_balance(wrong: list[str]) -> None:
    assert main(wrong) == UNUSABLE


def test_the_crash_reports_can_be_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "orders.csv", GOOD)
    log = tmp_path / "crashes.log"
    assert main([str(path), "--crash-rate", "0.9", "--log", str(log)]) == RIGHT
    assert "crashed: InjectedCrash" in log.read_text("utf-8")
    assert main([str(path), "--log", str(tmp_path)]) == UNUSABLE


# -- the day


def test_the_same_seed_gives_the_same_day_in_whatever_order_things_happen() -> None:
    first = printed(run(day_of(seed=3, crash_rate=0.2)))
    assert printed(run(day_of(seed=3, crash_rate=0.2))) == first
    assert printed(run(day_of(seed=3, crash_rate=0.2, at_once=1))) == first
    assert printed(run(day_of(seed=3, crash_rate=0.2, at_once=100, delay=0.1))) == first
    assert printed(run(day_of(seed=4, crash_rate=0.2))) != first


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(("crash_rate", "refusal_rate"), [(0.2, 0.3), (0.8, 0.0)])
def test_it_always_adds_up(seed: int, crash_rate: float, refusal_rate: float) -> None:
    day = run(day_of(seed=seed, crash_rate=crash_rate, refusal_rate=refusal_rate))
    assert right(day), printed(day)
    services = sum(day.chronicle.restarts[f"/shop/services/{name}"] for name in SERVICES)
    crashes = [n for (_, fate), n in day.trouble.met.items() if fate in CRASHES]
    assert services + day.chronicle.restarts["/shop/office/sagas"] == sum(crashes)


def test_without_trouble_only_what_cannot_be_is_undone() -> None:
    day = run(day_of(crash_rate=0, refusal_rate=0))
    undone = [page for page in day.book.pages.values() if page.status is Status.UNDONE]
    assert sorted(page.why for page in undone) == [
        "no delivery to AQ",
        "no delivery to IS",
        "out of stock: Cast-iron teapot",
        "out of stock: Cast-iron teapot",
        "out of stock: Cast-iron teapot",
        "over the limit of the card",
    ]
    assert all(page.retries == 0 for page in day.book.pages.values())


@pytest.mark.parametrize(
    "path",
    [
        "/shop/services",
        "/shop/services/inventory",
        "/shop/office",
        "/shop/office/sagas",
        "/shop/office/desk",
        "/shop/doorman",
    ],
)
def test_any_part_of_the_tree_can_fall(path: str) -> None:
    day, onlooker = day_of(delay=0.02), Onlooker()

    async def fall() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(day.run, onlooker)
            for _ in range(3):
                await trio.sleep(2)
                await onlooker.seen[path].stop(Killed())

    VirtualClock().run(fall)
    assert right(day), printed(day)
    assert day.book.counts[Status.WAITING] == 0


def test_a_file_without_orders_is_a_short_day(tmp_path: Path) -> None:
    day = run(day_of(write(tmp_path / "orders.csv")))
    assert right(day)


# -- the balance


def test_a_cent_too_much_is_noticed() -> None:
    day = run(day_of())
    day.books.payments.accounts["till", "cents"] += 1
    wrong = [check.what for check in balance(day) if not check.right]
    assert wrong == ["money in the till", "accounts that follow from their lines"]


def test_a_line_that_is_missing_is_noticed() -> None:
    day = run(day_of())
    day.books.shipping.lines.pop()
    wrong = [check.what for check in balance(day) if not check.right]
    assert wrong == ["orders that moved what they should", "accounts that follow from their lines"]


def test_a_posting_of_nobody_is_noticed() -> None:
    day = run(day_of())
    day.books.inventory.post("4711/reserve", Move(1, "TEA-EARL", "shelf", "packed"))
    faults = [fault for check in balance(day) for fault in check.faults]
    assert faults == ["there is no order '4711', but the ledgers have moves of it"]
    assert "4711" in printed(day)


def test_an_order_left_in_the_middle_is_noticed() -> None:
    day = run(day_of())
    day.book.pages["2001"].status = Status.RUNNING
    assert "order 2001 is running" in printed(day)
    day.book.pages["2001"].status = Status.WAITING
    assert not right(day)


def test_a_crash_that_was_no_experiment_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    spilt = Ledger.post

    def post(self: Ledger, key: str, *moves: Move) -> str:
        if key == "2001/charge" and not self.lines:
            spilt(self, "0/oops")
            raise OSError("coffee in the till")
        return spilt(self, key, *moves)

    monkeypatch.setattr(Ledger, "post", post)
    faults = [fault for check in balance(run(day_of(at_once=1))) for fault in check.faults]
    assert "/shop/services/payments crashed: OSError('coffee in the till')" in faults


def test_a_component_that_forgets_its_keys_costs_the_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def post(self: Ledger, key: str, *moves: Move) -> str:
        self._posted[key] = "", moves
        self._write(key, moves)  # without a look whether it has been done before
        return ""

    monkeypatch.setattr(Ledger, "post", post)
    assert main(["--seed", "1"]) == WRONG
    assert "THE BALANCE IS NOT RIGHT." in capsys.readouterr().out


# -- what other samples get wrong


def test_a_refusal_is_caught_as_itself_and_what_was_done_is_undone_in_reverse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    fate = Trouble.fate

    def noted(self: Trouble, message: Any) -> Fate:
        asked.append(type(message).__name__)
        return fate(self, message)

    monkeypatch.setattr(Trouble, "fate", noted)
    line = GOOD.replace("DE", "AQ")
    day = run(day_of(write(tmp_path / "o.csv", line), crash_rate=0, refusal_rate=0))
    # The parcel was refused: nothing to recall. What had been done goes back, the last first.
    assert asked == ["Charge", "Reserve", "Ship", "Release", "Refund"]
    assert day.book.pages["2001"].why == "no delivery to AQ"
    assert right(day)


def test_a_step_that_nobody_answered_is_undone_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never_answered(self: Trouble, message: Any) -> Fate:
        lost = isinstance(message, Charge)
        return Fate.ANSWER_LOST if lost else Fate.FINE

    monkeypatch.setattr(Trouble, "fate", never_answered)
    day = run(day_of(write(tmp_path / "o.csv", GOOD)))
    assert day.book.pages["2001"].why == "no answer from payments"
    assert day.trouble.met["payments", Fate.ANSWER_LOST] == 5
    assert [line.move.amount for line in day.books.payments.lines] == [1380, 1380]
    assert right(day)


def test_two_attempts_at_once_charge_once(tmp_path: Path) -> None:
    order = order_of(GOOD, tmp_path / "o.csv")
    ledger = Ledger("payment", {})
    trouble = Trouble(Settings(crash_rate=0, refusal_rate=0, delay=0.1))

    async def twice() -> None:
        async with open_system() as system, trio.open_nursery() as nursery:
            payments = await system.start(Payments, ledger, trouble)
            for _ in range(2):
                nursery.start_soon(payments.call, Charge("2001/charge", order))

    VirtualClock().run(twice)
    assert len(ledger.lines) == 1
    assert ledger.accounts["till", "cents"] == order.total


def test_an_attempt_that_comes_after_its_undo_finds_the_door_shut(tmp_path: Path) -> None:
    order = order_of(GOOD, tmp_path / "o.csv")
    ledger = Ledger("payment", {})
    trouble = Trouble(Settings(crash_rate=0, refusal_rate=0))

    async def late() -> None:
        async with open_system() as system:
            payments = await system.start(Payments, ledger, trouble)
            undo = Refund("2001/charge")
            await payments.call(undo)
            await payments.call(undo)
            with pytest.raises(Closed, match="taken back"):
                await payments.call(Charge("2001/charge", order))

    VirtualClock().run(late)
    assert ledger.lines == []


# -- reading


def malformed(reading: Reading) -> list[tuple[int, str]]:
    return [(row.line, row.reason) for row in reading.malformed]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("2001", "", "no order"),
        ("2001", "20/01", "order '20/01' is no number such as 2001"),
        ("2025-11-24", "24.11.2025", "placed '24.11.2025' is no date such as 2025-11-24"),
        ("Anna Schmidt", " ", "no customer"),
        ("Anna Schmidt", "\x1b[2J", r"customer '\x1b[2J' has unprintable characters in it"),
        ("anna@", "anna at ", "email 'anna at example.org' is no address"),
        ("DE", "Germany", "country 'Germany' is no two-letter code such as DE"),
        ("2 x TEA-EARL", "", "no items"),
        ("2 x TEA-EARL", "TEA-EARL", "item 'TEA-EARL' does not read like 2 x TEA-EARL"),
        ("2 x TEA-EARL", "two x TEA-EARL", "quantity 'two' of 'TEA-EARL' is no number"),
        ("2 x TEA-EARL", "-2 x TEA-EARL", "quantity -2 of 'TEA-EARL' is less than 1"),
        ("2 x TEA-EARL", "0 x TEA-EARL", "quantity 0 of 'TEA-EARL' is less than 1"),
        ("2 x TEA-EARL", "2 x TEA-LAPS", "unknown product 'TEA-LAPS'"),
        ("2 x TEA-EARL", "3 x TEA-EARL", "total is 13.80, but the items cost 20.70"),
        ("13.80", "", "no total"),
        ("13.80", "-13.80", "total '-13.80' is no amount such as 12.50"),
        ("13.80", "NaN", "total 'NaN' is no amount such as 12.50"),
        (",13.80", "", "9 fields instead of 10"),
        ("13.80", "13.80,", "11 fields instead of 10"),
        ("Anna", '"Anna', "not CSV: a quote is never closed"),
        ("Anna", '"Anna"', "not CSV: ',' expected after '\"'"),
    ],
)
def test_a_malformed_row_is_reported_and_the_next_one_is_read(
    old: str, new: str, reason: str, tmp_path: Path
) -> None:
    bad = GOOD.replace(old, new, 1)
    assert bad != GOOD
    good = GOOD.replace("2001", "2002")
    reading = read_orders(write(tmp_path / "orders.csv", bad, "", good))
    assert malformed(reading) == [(2, reason)]
    assert [order.id for order in reading.orders] == ["2002"]
    assert reading.rows == 2


def test_a_row_in_another_encoding_is_reported(tmp_path: Path) -> None:
    reading = read_orders(write(tmp_path / "orders.csv", GOOD.encode("latin-1")))
    assert malformed(reading) == [(2, "not UTF-8: byte 0xdf in column 54")]


def test_an_order_that_comes_twice_counts_once(tmp_path: Path) -> None:
    reading = read_orders(write(tmp_path / "orders.csv", GOOD, GOOD))
    assert malformed(reading) == [(3, "order 2001 came already, in line 2")]


def test_a_file_from_a_spreadsheet_is_fine(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    columns = [*reversed(COLUMNS), "notes"]
    fields = [*reversed(GOOD.split(",")), '"fragile, please"']
    lines = [",".join(columns), ",".join(fields)]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    (order,) = read_orders(path).orders
    assert (order.id, order.total, order.city) == ("2001", 1380, "Berlin")


def test_reading_says_what_it_wanted(tmp_path: Path) -> None:
    with pytest.raises(NotOrders, match="No such file"):
        read_orders(tmp_path / "nothing.csv")


# -- looking on


@pytest.mark.parametrize(("width", "height"), [(120, 40), (72, 20)])
def test_the_live_view_shows_the_tree_with_its_restarts(
    width: int, height: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LiveView, "interval", 0.5)
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, height=height)
    day = day_of(delay=0.02, crash_rate=0.2)

    async def watch() -> None:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            await day.run(LiveView(live))

    VirtualClock().run(watch)
    shown = screen.getvalue()
    for text in ("Supervision tree", "payments", "restarting", "↻", "✔ complete", "■", "217"):
        assert text in shown
    assert ("reserve" in shown) == (height > 20)  # else there is no room for orders under way
    assert right(day)


@pytest.mark.parametrize(("width", "height"), [(1, 1), (20, 5), (3, 50), (300, 100)])
def test_the_live_view_bears_any_size(width: int, height: int) -> None:
    day = run(day_of())
    console = Console(file=io.StringIO(), force_terminal=True, width=width, height=height)

    async def look() -> None:
        async with open_system(Child(Supervisor, name="shop")) as system:
            shop = system.whereis("shop")
            assert shop is not None
            with Live(console=console, screen=True, auto_refresh=False) as live:
                LiveView(live).show(day, await census(shop))

    VirtualClock().run(look)


def test_the_plain_view_prints_a_line_now_and_then() -> None:
    console = Console(file=io.StringIO(), width=120)
    VirtualClock().run(day_of(delay=0.02).run, PlainView(console))
    assert isinstance(console.file, io.StringIO)
    lines = console.file.getvalue().splitlines()
    assert 8 <= len(lines) <= 10
    assert all("of 217 orders" in line for line in lines)
