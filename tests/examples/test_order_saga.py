"""The order saga: whenever its process is killed, the day adds up; and if it did not, one would be
told."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import attrs
import pytest

from examples.order_saga import day as processes
from examples.order_saga.__main__ import INTERRUPTED, ORDERS, RIGHT, UNUSABLE, WRONG, main
from examples.order_saga.balance import balance, read_books
from examples.order_saga.day import STORY, Story
from examples.order_saga.orders import COLUMNS, NotOrders, Reading, read_orders
from examples.order_saga.shop import BOOKS, CARD_LIMIT, COUNTRIES, JOURNAL
from mediators import SqliteJournal

ROOT = Path(__file__).parents[2]
GOOD = (
    "2001,2025-11-24,Anna Schmidt,anna@example.org,Torstraße 1,10119,Berlin,DE,2 x TEA-EARL,13.80"
)
PATIENCE = 60.0

FORGETFUL = """
import sys
from actors.turns import current_turn
from mediators import Idempotent

async def forget(self, envelope, next):
    return await self._without_key(envelope, next, current_turn.get())

Idempotent.__call__ = forget

from examples.order_saga.worker import main
main(*sys.argv[1:])
"""
"""A process of the shop whose components write in transactions, and remember no key."""


@attrs.frozen
class Done:
    """A run of the program in a process of its own."""

    code: int
    out: str
    directory: Path


def command(directory: Path, *options: str) -> list[str]:
    return [sys.executable, "-m", "examples.order_saga", "--dir", str(directory), *options]


def run(directory: Path, *options: str) -> Done:
    done = subprocess.run(
        command(directory, *options),
        cwd=ROOT,
        capture_output=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
        timeout=120,
        check=False,
    )
    assert done.stderr == ""
    return Done(done.returncode, done.stdout, directory)


def sql(directory: Path, query: str) -> list[Any]:
    with closing(sqlite3.connect(directory / BOOKS)) as books:
        rows = books.execute(query).fetchall()
        books.commit()
    return rows


def number(out: str, row: str) -> list[str]:
    """The figures that stand behind a text, wherever it stands."""
    (line,) = [each for each in out.splitlines() if row in each]
    return line.partition(row)[2].split()


def until(holds: Callable[[], object]) -> None:
    """Wait for another process."""
    limit = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.02)


def told(directory: Path) -> Story:
    story = Story()
    path = directory / STORY
    for line in path.read_bytes().splitlines(keepends=True) if path.exists() else ():
        if line.endswith(b"\n"):
            story.add(json.loads(line))
    return story


def write(path: Path, *lines: str | bytes) -> Path:
    raw = [line.encode() if isinstance(line, str) else line for line in lines]
    path.write_bytes(b"\n".join([",".join(COLUMNS).encode(), *raw, b""]))
    return path


# -- the whole day


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """All orders, as ``make demo`` runs them."""
    return run(tmp_path_factory.mktemp("whole") / "demo")


def test_a_day_with_three_kills_ends_with_the_balance_right(whole: Done) -> None:
    assert whole.code == RIGHT, whole.out
    assert "orders.csv: 232 rows, 15 of them malformed; 217 orders" in whole.out
    assert whole.out.rstrip().endswith("The balance is right. Nothing was charged twice.")
    assert whole.out.count("SIGKILL: order") == 3
    assert max(map(len, whole.out.splitlines())) <= 80


def test_the_table_says_what_stands_in_the_books(whole: Done) -> None:
    out, directory = whole.out, whole.directory
    orders = {each.id: each for each in read_orders(ORDERS).orders}
    paid = dict(sql(directory, "SELECT order_id, sum(cents) FROM money GROUP BY 1"))
    packed = Counter[str]()
    for order, pieces in sql(directory, "SELECT order_id, sum(pieces) FROM goods GROUP BY 1"):
        packed[order] = pieces
    sent = dict(sql(directory, "SELECT order_id, sum(sent) FROM parcels GROUP BY 1"))
    complete = {each for each in orders if paid.get(each)}

    assert {each: paid[each] for each in complete} == {id: orders[id].total for id in complete}
    assert {each for each in orders if sent.get(each)} == complete
    assert all(sent[each] == 1 for each in complete)
    wanted = {id: sum(item.quantity for item in orders[id].items) for id in complete}
    assert {id: pieces for id, pieces in packed.items() if pieces} == wanted

    total = f"{sum(paid.values()) / 100:,.2f}"
    assert number(out, "complete  ")[:2] == [str(len(complete)), total]
    assert number(out, "compensated")[0] == str(len(orders) - len(complete))
    assert number(out, "money in the till, EUR")[:2] == [total, total]
    assert number(out, "pieces gone from the shelf")[1] == str(sum(packed.values()))
    assert number(out, "parcels on their way")[1] == str(sum(sent.values()))


def test_nothing_was_done_twice_under_one_key_and_every_key_has_its_answer(whole: Done) -> None:
    directory = whole.directory
    for table, key in (("money", "key"), ("goods", "key, sku"), ("parcels", "key")):
        counted = sql(directory, f"SELECT count(*) FROM {table} GROUP BY {key}")
        assert counted
        assert set(counted) == {(1,)}, table
    lines = "SELECT key FROM money UNION SELECT key FROM goods UNION SELECT key FROM parcels"
    answered = "SELECT key FROM understudy_keys WHERE outcome = 'answered'"
    assert sql(directory, f"{lines} EXCEPT {answered}") == []
    assert number(whole.out, "orders charged twice") == ["0", "0", "right"]
    assert number(whole.out, "keys under which something was done twice") == ["0", "0", "right"]


def test_orders_are_refused_at_each_step_and_what_was_done_before_is_undone(whole: Done) -> None:
    orders, why = read_orders(ORDERS).orders, told(whole.directory).ended
    declined = {each.id for each in orders if each.total > CARD_LIMIT}
    stranded = {each.id for each in orders if each.country not in COUNTRIES} - declined
    assert {id for id, no in why.items() if no == "card declined"} == declined
    out_of_stock = {id for id, no in why.items() if no == "out of stock"}
    no_courier = {id for id, no in why.items() if no == "no courier goes there"}
    assert out_of_stock and no_courier == stranded - out_of_stock
    lines = dict(sql(whole.directory, "SELECT order_id, count(*) FROM money GROUP BY 1"))
    assert not declined & set(lines)
    assert {lines[id] for id in out_of_stock | no_courier} == {2}, "charged and refunded"
    assert number(whole.out, "compensated")[0] == str(
        len(declined) + len(out_of_stock) + len(no_courier)
    )


def test_the_figures_of_trouble_are_those_that_the_processes_told(whole: Done) -> None:
    lines = (whole.directory / STORY).read_text("utf-8").splitlines()
    events = Counter(json.loads(line)["event"] for line in lines)
    assert events["killed"] == 3 and events["began"] == 4 and events["left"] == 1
    assert number(whole.out, "process deaths (SIGKILL)") == ["3"]
    assert number(whole.out, "restarts of components") == [str(events["restarted"])]
    assert events["restarted"] > 3
    (taken_up,) = number(whole.out, "workflows taken up again")
    assert int(taken_up) > 3, "several were in the middle whenever the process died"


def test_journal_and_books_agree_on_who_is_complete(whole: Done) -> None:
    with SqliteJournal.read(whole.directory / JOURNAL) as journal:
        runs = journal.runs()
    assert len(runs) == 217 and all(run.over for run in runs)
    done = {run.id.removeprefix("order-") for run in runs if run.status == "done"}
    paid = "SELECT order_id FROM money GROUP BY 1 HAVING sum(cents) > 0"
    assert done == {id for (id,) in sql(whole.directory, paid)}


def test_a_second_invocation_finds_everything_done_and_does_nothing(whole: Done) -> None:
    before = {name: (whole.directory / name).read_bytes() for name in (JOURNAL, BOOKS, STORY)}
    again = run(whole.directory)
    assert again.code == RIGHT
    assert "Everything is done already, so nothing was done now." in again.out
    assert "process " not in again.out.partition("Orders  ")[0]
    assert again.out.partition("Orders  ")[2] == whole.out.partition("Orders  ")[2]
    assert {name: (whole.directory / name).read_bytes() for name in before} == before


# -- killed at several moments


@pytest.mark.parametrize(
    "moments",
    [["Charge:1"], ["Reserve:7", "Reserve:2"], ["Refund:1", "Release:1"]],
    ids=lambda moments: "-".join(moments),
)
def test_whenever_it_is_killed_everything_is_done_once(
    moments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [each for moment in moments for each in ("--kill-at", moment)]
    orders = tmp_path / "orders.csv"
    rows = [GOOD.replace("2001", str(id)) for id in range(2001, 2021)]
    rows[3] = rows[3].replace("DE", "AQ")  # nobody goes there: what was done is undone
    rows[9] = rows[9].replace("DE", "AQ")
    write(orders, *rows)
    assert main([str(orders), "--dir", str(tmp_path / "demo"), *options]) == RIGHT
    out = capsys.readouterr().out
    assert [each["kill"] for each in told(tmp_path / "demo").kills] == moments
    assert number(out, "process deaths (SIGKILL)") == [str(len(moments))]
    assert number(out, "complete  ")[0] == "18"
    assert number(out, "no courier goes there")[0] == "2"
    assert sql(tmp_path / "demo", "SELECT sum(cents) FROM money") == [(18 * 1380,)]
    assert set(sql(tmp_path / "demo", "SELECT count(*) FROM money GROUP BY key")) == {(1,)}


def test_w11_without_idempotency_a_kill_charges_twice_and_the_check_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(processes, "WORKER", (sys.executable, "-c", FORGETFUL))
    assert main(["--dir", str(tmp_path), "--orders", "8", "--kill-at", "Charge:5"]) == WRONG
    out = capsys.readouterr().out
    (kill,) = told(tmp_path).kills
    charged = f"SELECT count(*) FROM money WHERE order_id = '{kill['order']}'"
    assert sql(tmp_path, charged) == [(2,)]
    (price,) = [each.total for each in read_orders(ORDERS).orders if each.id == kill["order"]]
    twice = "SELECT order_id FROM money GROUP BY 1 HAVING count(*) > 1"
    assert number(out, "orders charged twice") == ["0", str(len(sql(tmp_path, twice))), "WRONG"]
    assert f"order {kill['order']}: {price / 50:.2f} EUR were paid and should be" in out
    assert f"order {kill['order']} was charged or refunded 2 times under order-" in out
    assert out.rstrip().endswith("THE BALANCE IS NOT RIGHT.")


def test_without_kills_it_is_one_process(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--dir", str(tmp_path), "--orders", "3", "--no-kill"]) == RIGHT
    out = capsys.readouterr().out
    assert number(out, "process deaths (SIGKILL)") == ["0"]
    assert number(out, "workflows taken up again") == ["0"]
    # More of the same orders are more to do, and what is done stays done.
    assert main(["--dir", str(tmp_path), "--orders", "4", "--no-kill"]) == RIGHT
    assert sql(tmp_path, "SELECT count(*) FROM money") == [(4,)]
    # And from the beginning.
    assert main(["--dir", str(tmp_path), "--orders", "2", "--no-kill", "--fresh"]) == RIGHT
    assert sql(tmp_path, "SELECT count(*) FROM money") == [(2,)]


# -- stopped from outside


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill-9"])
def test_stopped_from_outside_it_ends_in_order_and_a_later_run_goes_on(
    how: signal.Signals, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with subprocess.Popen(
        command(tmp_path, "--no-kill"), cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8"
    ) as process:
        until(lambda: bool(told(tmp_path).ended))
        process.send_signal(how)
        out, _ = process.communicate()
    until(lambda: told(tmp_path).left)
    story = told(tmp_path)
    if how is signal.SIGINT:
        assert process.returncode == INTERRUPTED
        assert f"Closed in order, {217 - len(story.ended)} orders left." in out
    assert 0 < len(story.ended) < 217
    assert (story.began, story.left, story.deaths) == (1, 1, 0)

    assert main(["--dir", str(tmp_path), "--no-kill"]) == RIGHT
    story = told(tmp_path)
    assert len(story.ended) == 217 and story.taken_up > 0
    assert number(capsys.readouterr().out, "process deaths (SIGKILL)") == ["0"]


# -- what cannot be used


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
    assert main([str(path), "--dir", str(tmp_path / "demo")]) == UNUSABLE
    assert complaint in capsys.readouterr().err
    assert not (tmp_path / "demo").exists()


@pytest.mark.parametrize("wrong", [["--orders", "0"], ["--kill-at", "Charge"], ["--what"]])
def test_a_wrong_option_is_told_apart_from_a_wrong_balance(wrong: list[str]) -> None:
    assert main(wrong) == UNUSABLE


def test_a_directory_in_use_or_of_other_orders_is_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    orders, demo = write(tmp_path / "orders.csv", GOOD), tmp_path / "demo"
    assert main([str(orders), "--dir", str(demo), "--no-kill"]) == RIGHT
    assert main(["--dir", str(demo)]) == UNUSABLE
    assert "is about the orders of another file" in capsys.readouterr().err
    journal = SqliteJournal(str(demo / JOURNAL))
    journal.acquire(0)
    try:
        assert main(["--dir", str(demo), "--fresh"]) == UNUSABLE
    finally:
        journal.close()
    assert "orders.db is written by this very process" in capsys.readouterr().err
    assert main([str(orders), "--dir", str(orders)]) == UNUSABLE
    assert "File exists" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("broken", "complaint"),
    [
        ("import sys; sys.exit('the till is jammed')", "the till is jammed"),
        ("import os; os.kill(os.getpid(), 9)", "the shop has closed"),
    ],
)
def test_a_process_that_gets_nowhere_is_not_started_again_and_again(
    broken: str,
    complaint: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(processes, "WORKER", (sys.executable, "-c", broken))
    assert main(["--dir", str(tmp_path)]) == UNUSABLE
    assert complaint in capsys.readouterr().err


def test_a_file_without_orders_is_a_short_day(tmp_path: Path) -> None:
    orders = write(tmp_path / "orders.csv")
    assert main([str(orders), "--dir", str(tmp_path / "demo")]) == RIGHT


# -- the balance


@pytest.mark.parametrize(
    ("tampering", "wrong"),
    [
        (
            "UPDATE money SET cents = cents + 1 WHERE order_id = '2001'",
            {"complete: paid, packed and sent, once", "money in the till, EUR"},
        ),
        (
            "DELETE FROM parcels WHERE order_id = '2001'",
            {"complete: paid, packed and sent, once", "parcels on their way"},
        ),
        (
            "INSERT INTO money SELECT key, order_id, cents FROM money WHERE order_id = '2001'",
            {
                "complete: paid, packed and sent, once",
                "money in the till, EUR",
                "orders charged twice",
                "keys under which something was done twice",
            },
        ),
        (
            "UPDATE stock SET pieces = pieces - 1 WHERE sku = 'TEA-EARL'",
            {"pieces gone from the shelf"},
        ),
        (
            "DELETE FROM goods WHERE order_id = '2001'",
            {"complete: paid, packed and sent, once"},
        ),
        (
            "INSERT INTO money VALUES ('x', '4711', 100), ('y', '4711', -100)",
            {"orders that nobody has placed"},
        ),
    ],
)
def test_what_is_wrong_in_the_books_is_noticed(
    tampering: str, wrong: set[str], whole: Done, tmp_path: Path
) -> None:
    shutil.copy(whole.directory / BOOKS, tmp_path)
    sql(tmp_path, tampering)
    orders, ended = read_orders(ORDERS).orders, told(whole.directory).ended
    checks = balance(read_books(tmp_path / BOOKS), orders, ended)
    assert {check.what for check in checks if not check.right} == wrong


def test_an_order_that_has_not_ended_or_was_told_the_wrong_thing_is_noticed(whole: Done) -> None:
    books, orders = read_books(whole.directory / BOOKS), read_orders(ORDERS).orders
    ended = told(whole.directory).ended
    missing = {id: why for id, why in ended.items() if id != "2001"}
    wrong = [check.what for check in balance(books, orders, missing) if not check.right]
    assert "orders that have ended" in wrong
    lied = [check for check in balance(books, orders, {**ended, "2001": "no"}) if not check.right]
    assert "refused: as if never placed" in [check.what for check in lied]
    faults = [fault for check in lied for fault in check.faults]
    assert any("39.50 EUR were paid and should be 0.00" in fault for fault in faults)


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
