"""The ``understudy workflows`` command, in this process and in one of its own, on journals that
somebody owns, that nobody owns, and whose owner was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from actors import open_system
from mediators import Handle, SqliteJournal, Start
from mediators.driver.remote import OwnerSilent
from mediators.journal import owner_of
from mediators.testing import replay_journal
from observers import asking
from observers.cli import main
from tests.mediators import orders
from tests.mediators.orders import PlaceOrder, shop

if TYPE_CHECKING:
    from collections.abc import Generator

ROOT = Path(__file__).parent.parent.parent


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "observers", "workflows", *arguments],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=False,
    )


@contextmanager
def owner(file: Path, *started: str) -> Generator[subprocess.Popen[str]]:
    """A process that owns the journal, and is killed at the end if it still lives."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.mediators.orders", str(file), *started],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "ready\n"
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def rest(file: Path, *started: PlaceOrder, seconds: float = 0.0) -> None:
    """Let a shop run on the journal for a while, and stop it in order."""

    async def live() -> None:
        async with open_system() as system:
            ref = await system.start(shop(file), name="shop")
            for each in started:
                await ref.call(Start(each))
            for each in started:
                while str(await Handle(ref, each.id).status()) in ("running", "compensating"):
                    await trio.sleep(0.01)
            await trio.sleep(seconds)

    trio.run(live)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A journal at rest: of a waiting order, one that has failed, and one with an incident."""
    path = tmp_path / "orders.db"
    rest(path, PlaceOrder("17"), PlaceOrder("18", "moon"), PlaceOrder("stuck", "moon"))
    return path


def output(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = 0) -> str:
    """What the command prints in this process."""
    assert main(["workflows", *arguments]) == code
    captured = capsys.readouterr()
    if code in (0, 5):
        assert captured.err == ""
        return captured.out
    assert captured.err.count("\n") == 1
    assert captured.err.startswith("understudy: ")
    assert captured.out == ""
    return captured.err


# -- looking


def test_list_says_what_there_is_and_what_it_waits_for(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = output(capsys, "list", str(file)).splitlines()
    assert lines[0].split() == ["ID", "RUN", "TYPE", "STATUS", "STARTED", "TOOK", "WAITS", "FOR"]
    assert [line.split()[:4] for line in lines[1:]] == [
        ["order-17", "1", "PlaceOrder", "waiting"],
        ["order-18", "1", "PlaceOrder", "failed"],
        ["order-stuck", "1", "PlaceOrder", "incident"],
    ]
    assert "signal Approved" in lines[1]
    assert "undo/Charge.1: The undo was refused: Refusal('no refunds')" in lines[3]


@pytest.mark.parametrize(
    ("options", "ids"),
    [
        (["--status", "waiting"], ["order-17"]),
        (["--status", "running"], []),
        (["--status", "failed"], ["order-18"]),
        (["--status", "open"], ["order-17", "order-stuck"]),
        (["--type", "PlaceOrder"], ["order-17", "order-18", "order-stuck"]),
        (["--type", "tests.mediators.orders:PlaceOrder", "--limit", "1"], ["order-stuck"]),
        (["--type", "Other"], []),
    ],
    ids=" ".join,
)
def test_list_filters(
    file: Path, capsys: pytest.CaptureFixture[str], options: list[str], ids: list[str]
) -> None:
    assert main(["workflows", "list", str(file), *options, "--json"]) == 0
    assert [each["id"] for each in json.loads(capsys.readouterr().out)] == ids


def test_show_tells_where_it_stands_and_its_history_with_payloads_read(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = output(capsys, "show", str(file), "order-18")
    assert "outcome  OutOfStock('moon')" in text
    history = text.partition("\n\n")[2]
    words = [line.split()[:3] for line in history.splitlines()]
    assert words[0] == ["AT", "WHAT", "PATH"]
    assert "started" in history
    assert "PlaceOrder(order='18', item='moon')" in history
    assert "'paid-18'; to undo it: Refund(payment='paid-18')" in history
    assert "undo/Charge.1" in history


def test_show_in_json_has_the_summary_and_every_event(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = json.loads(output(capsys, "show", str(file), "order-stuck", "--json"))
    assert found["status"] == "incident"
    assert found["incidents"][0]["path"] == "undo/Charge.1"
    first = found["history"][0]["events"][0]
    assert first["kind"] == "started"
    assert first["workflow"]["fields"] == {"order": "stuck", "item": "moon"}


def test_why_says_what_would_move_it(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = output(capsys, "why", str(file), "order-17")
    assert "order-17 waits for a signal `tests.mediators.orders:Approved` since" in text
    assert f"understudy workflows signal {file} order-17 --type" in text
    text = output(capsys, "why", str(file), "order-stuck")
    assert "stands as an incident at undo/Charge.1" in text
    assert "decide with retry, skip or resolve" in text
    assert "failed with OutOfStock('moon')" in output(capsys, "why", str(file), "order-18")
    found = json.loads(output(capsys, "why", str(file), "order-17", "--json"))
    assert found["waits"][0]["kind"] == "receive"


def test_looking_writes_nothing_and_needs_no_lock(file: Path) -> None:
    before = {each.name for each in file.parent.iterdir()}
    content = file.read_bytes()
    for command in (["list"], ["show", "order-17"], ["why", "order-17"]):
        assert run(command[0], str(file), *command[1:]).returncode == 0
    assert file.read_bytes() == content
    assert {each.name for each in file.parent.iterdir()} - before <= {
        "orders.db-wal",
        "orders.db-shm",
    }


# -- exit codes


def test_exit_code_1_there_is_no_such_workflow(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in ("show", "why", "cancel", "pause", "retry"):
        assert "order-9" in output(capsys, command, str(file), "order-9", code=1)


def test_exit_code_2_the_command_line_is_wrong(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = str(file)
    output(capsys, "show", name, code=2)
    output(capsys, "expalin", name, code=2)
    output(capsys, "list", name, "--limit", "many", code=2)
    output(capsys, "list", name, "--limit", "0", code=2)
    output(capsys, "list", name, "--status", "bored", code=2)
    output(capsys, "signal", name, "order-17", code=2)
    output(capsys, "signal", name, "order-17", "--type", "A", "--json", "{", code=2)
    output(capsys, "signal", name, "order-17", "--type", "A", "--json", "[]", code=2)
    for app in ("nowhere", "nowhere:Shop", "json:loads", "tests.mediators.orders:Missing"):
        output(capsys, "replay", name, "--app", app, code=2)


def test_exit_code_3_it_is_not_possible_in_that_state(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "has ended" in output(capsys, "cancel", str(file), "order-18", code=3)
    assert "not paused" in output(capsys, "resume", str(file), "order-17", code=3)
    assert "no incident" in output(capsys, "retry", str(file), "order-17", code=3)
    stuck = ["skip", str(file), "order-stuck", "--path", "undo/Charge.2"]
    assert "one at: undo/Charge.1" in output(capsys, *stuck, code=3)
    with SqliteJournal.read(file) as reader:
        assert reader.inbox(0) == []


def test_exit_code_4_the_journal_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output(capsys, "list", str(tmp_path / "none.db"), code=4)
    output(capsys, "cancel", str(tmp_path / "none.db"), "order-1", code=4)
    assert not (tmp_path / "none.db").exists()
    other = tmp_path / "other.db"
    other.write_text("this is a text, and a long one: " * 100)
    output(capsys, "list", str(other), code=4)
    output(capsys, "why", str(tmp_path), "order-1", code=4)


def test_the_exit_codes_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--help"], ["workflows", "--help"]):
        assert main(arguments) == 0
        text = " ".join(capsys.readouterr().out.replace("│", " ").split())
        assert "5 replay found a difference" in text


def test_errors_are_one_line_and_no_traceback(file: Path) -> None:
    done = run("why", str(file), "order-9")
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr == f"understudy: There is no workflow 'order-9' in {file}.\n"


# -- with an owner


def test_a_living_owner_is_asked_through_its_socket(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "orders.db"
    name = str(file)
    with owner(file, "1", "2", "3:nap", "4", "stuck:moon"):
        assert "paused" in output(capsys, "pause", name, "order-1", "--reason", "lunch")
        assert "(lunch)" in output(capsys, "why", name, "order-1")
        assert "it is waiting" in output(capsys, "resume", name, "order-1")
        assert "not paused" in output(capsys, "resume", name, "order-1", code=3)
        signal = ["signal", name, "order-1", "--type", "Approved", "--json", '{"by": "bob"}']
        assert "has the signal" in output(capsys, *signal)
        assert "'book approved by bob'" in output(capsys, "why", name, "order-1")
        assert "has ended" in output(capsys, *signal, code=3)
        assert "No type" in output(capsys, "signal", name, "order-2", "--type", "Aproved", code=3)
        assert "cancelled" in output(capsys, "cancel", name, "order-2", "--reason", "enough")
        assert until(capsys, "was cancelled (enough)", "why", name, "order-2")
        assert "goes on" in output(capsys, "fork", name, "order-4", "order-4b")
        assert "waits for a signal" in output(capsys, "why", name, "order-4b")
        assert "goes on without" in output(capsys, "skip", name, "order-stuck")
        assert until(capsys, "has failed", "why", name, "order-stuck")
        assert "sleeps" not in output(capsys, "why", name, "order-3")
        run("signal", name, "order-3", "--type", "Approved", "--json", '{"by": "eve"}')
        assert "sleeps until" in output(capsys, "why", name, "order-3")
        assert "30 days from now" in run("why", name, "order-3").stdout


def test_an_incident_is_decided_through_the_socket(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "orders.db"
    name = str(file)
    with owner(file, "stuck:moon"):
        assert until(capsys, "stands as an incident", "why", name, "order-stuck")
        assert "tries again" in output(capsys, "retry", name, "order-stuck")
        assert until(capsys, "stands as an incident", "why", name, "order-stuck")
        refused = ["resolve", name, "order-stuck", "--type", "Refund", "--json", "{}"]
        assert "no fields of Refund" in output(capsys, *refused, code=3)
        assert "has its answer" in output(
            capsys, "resolve", name, "order-stuck", "--path", "undo/Charge.1", "--json", "null"
        )
        assert until(capsys, "has failed with OutOfStock", "why", name, "order-stuck")


def test_an_owner_that_does_not_answer_is_asked_again_only_for_what_may_come_twice(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def silent(path: str, request: Any) -> None:
        asked.append(request.id)
        raise OwnerSilent("The owner has closed the connection without an answer.")

    monkeypatch.setattr(asking, "PATIENCE", 0.2)
    monkeypatch.setattr(asking, "send", silent)
    journal = SqliteJournal(file)
    journal.acquire(0)
    journal.announce("/nowhere/owner")
    try:
        text = output(capsys, "skip", str(file), "order-stuck", code=3)
        assert "may have been done or not" in text
        assert asked == ["order-stuck"]
        assert "without an answer" in output(capsys, "cancel", str(file), "order-17", code=3)
        assert asked.count("order-17") > 1
    finally:
        journal.close()


def test_an_owner_that_was_killed_harms_nobody_and_what_is_left_is_taken_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "orders.db"
    name = str(file)
    with owner(file, "1", "2", "3") as process:
        path = owner_of(file)
        assert path is not None and path.pid == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert owner_of(file) is None
    sent = ["signal", name, "order-1", "--type", "Approved", "--json", '{"by": "bob"}']
    assert "is left in its inbox" in output(capsys, *sent)
    assert "is left in its inbox" in output(capsys, "cancel", name, "order-2")
    assert "is left in its inbox" in output(capsys, "pause", name, "order-3")
    assert "is left in its inbox" in output(capsys, "resume", name, "order-3")
    assert "left in the inbox: signal Approved" in output(capsys, "why", name, "order-1")
    assert "inbox" in output(capsys, "show", name, "order-2")
    with owner(file):
        assert until(capsys, "is done", "why", name, "order-1")
        assert until(capsys, "was cancelled", "why", name, "order-2")
        assert "waits for a signal" in output(capsys, "why", name, "order-3")
        assert "inbox" not in output(capsys, "why", name, "order-3")


def until(capsys: pytest.CaptureFixture[str], word: str, *arguments: str) -> str:
    """Ask again for a while, until the word is among the answer."""
    for _ in range(100):
        text = output(capsys, *arguments)
        if word in text:
            break
        trio.run(trio.sleep, 0.05)
    assert word in text
    return text


def test_an_owner_without_a_socket_is_named(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "PATIENCE", 0.0)
    journal = SqliteJournal(file)
    journal.acquire(0)
    try:
        text = output(capsys, "cancel", str(file), "order-17", code=3)
        assert "this very process (no socket), which takes no requests" in text
        journal.announce("/nowhere/owner")
        assert "Nobody listens" in output(capsys, "cancel", str(file), "order-17", code=3)
    finally:
        journal.close()


# -- replaying

APP = "tests.mediators.orders:Shop"


def test_replay_finds_nothing_in_code_that_is_the_same(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert output(capsys, "replay", str(file), "--app", APP) == "3 runs replayed: no differences.\n"
    assert run("replay", str(file), "order-17", "--app", APP).stdout == (
        "1 run replayed: no differences.\n"
    )


def test_exit_code_5_replay_names_the_first_difference_of_each_run(
    file: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def changed(self: Any) -> str:
        return str(await self.step(orders.Reserve(self.item)))

    monkeypatch.setattr(PlaceOrder, "run", changed)
    text = output(capsys, "replay", str(file), "--app", APP, code=5)
    assert text.count("Charge.1 Charge(order='17')") == 1
    assert "Reserve.1 Reserve(item='book')" in text
    assert text.endswith("3 runs replayed: 3 differences.\n")
    (found, *more) = json.loads(output(capsys, "replay", str(file), "--app", APP, "--json", code=5))
    assert (found["id"], found["path"]) == ("order-17", "Reserve.1")
    assert len(more) == 2
    assert [each.id for each in replay_journal(file, orders.Shop, "order-18")] == ["order-18"]


def test_replay_tries_a_run_that_a_mistake_has_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def wrong(self: Any) -> str:
        await self.step(orders.Charge(self.order))
        raise ValueError("a mistake")

    async def right(self: Any) -> str:
        return str(await self.step(orders.Charge(self.order)))

    file = tmp_path / "orders.db"
    with monkeypatch.context() as patch:
        patch.setattr(PlaceOrder, "run", wrong)
        rest(file, PlaceOrder("1"))
        (found,) = replay_journal(file, orders.Shop)
        assert "ValueError: a mistake" in str(found)
    monkeypatch.setattr(PlaceOrder, "run", right)
    assert replay_journal(file, orders.Shop) == []


def test_what_looks_like_a_command_to_the_terminal_is_printed_as_text(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "orders.db"
    rest(file, PlaceOrder("\x1b[2Jnice"))
    assert "\x1b" not in output(capsys, "list", str(file))
    assert "\x1b" not in output(capsys, "why", str(file), "order-\x1b[2Jnice")


def test_a_reader_that_goes_away_is_no_error(file: Path) -> None:
    code = f"{sys.executable} -m observers workflows show {file} order-18 | head -1"
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {code}"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        check=False,
    )
    assert done.stderr == ""
    assert done.returncode == 0


def test_w15_a_signal_that_nobody_waits_for_is_left_with_a_warning(
    file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = ["workflows", "signal", str(file), "order-17", "--type", "shop:Approve"]
    assert main(sent) == 0
    printed = capsys.readouterr()
    assert "is left in its inbox" in printed.out
    assert printed.err == (
        "understudy: order-17 waits for a signal tests.mediators.orders:Approved, not for "
        "shop:Approve, which is kept until a receive() asks for it.\n"
    )
