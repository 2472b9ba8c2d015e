"""How commands print: for somebody at a terminal, and for a program behind a pipe."""

from __future__ import annotations

import io
import re
import runpy
import sys
from importlib.metadata import PackageNotFoundError
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

import actors
from mediators import history as h
from mediators.journal import SqliteJournal
from observers import _foundation, cli, printing
from observers.cli import main
from tests.observers.journals import PAID, T0, payload, written

if TYPE_CHECKING:
    from pathlib import Path

COLOUR = re.compile(r"\x1b\[[0-9;]*m")


class Terminal(io.StringIO):
    """What takes stdout's place, and says that somebody looks."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal of 100 columns with colours."""
    made = Terminal()
    monkeypatch.setattr(printing, "sys", SimpleNamespace(stdout=made, stderr=sys.stderr))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    return made


def shown(terminal: Terminal) -> str:
    """What stands on the terminal, without its colours."""
    return COLOUR.sub("", terminal.getvalue())


# -- tables


def test_a_table_in_a_pipe_is_padded_and_nothing_is_cut_off(
    capsys: pytest.CaptureFixture[str],
) -> None:
    long = "x" * 500
    printing.table(("ID", "STATUS", "TEXT"), [("a", "done", long), ("bcd", "failed", "")], 1)
    assert capsys.readouterr().out == f"ID   STATUS  TEXT\na    done    {long}\nbcd  failed\n"


def test_a_table_on_a_terminal_has_colours_for_statuses_alone(terminal: Terminal) -> None:
    printing.table(("ID", "STATUS", "TEXT"), [("done", "done", "done"), ("b", "odd", "")], status=1)
    found = terminal.getvalue()
    assert found.count("\x1b[32mdone") == 1
    assert [line.split() for line in shown(terminal).splitlines() if "─" not in line] == [
        ["ID", "STATUS", "TEXT"],
        ["done", "done", "done"],
        ["b", "odd"],
    ]


def test_a_table_without_statuses_has_no_colours(terminal: Terminal) -> None:
    printing.table(("PATH", "WHAT"), [("Charge.1", "failed")])
    assert "\x1b[31m" not in terminal.getvalue()
    assert "Charge.1" in shown(terminal)


def test_a_table_on_a_terminal_folds_its_last_column_and_shows_all_of_it(
    terminal: Terminal,
) -> None:
    printing.table(("ID", "TEXT"), [("a", "y" * 250)])
    lines = shown(terminal).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.count("y") for line in lines) == 250


def test_cells_of_several_lines_are_one_line_of_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    printing.table(("A", "B"), [("1", "one\ntwo")])
    assert capsys.readouterr().out == "A  B\n1  one two\n"


# -- fields


def test_fields_in_a_pipe_leave_out_what_is_empty_and_indent_further_lines(
    capsys: pytest.CaptureFixture[str],
) -> None:
    printing.fields([("id", "order-17"), ("outcome", ""), ("undos", "one\ntwo")])
    assert capsys.readouterr().out == "id     order-17\nundos  one\n       two\n"


def test_no_fields_print_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    printing.fields([("outcome", "")])
    assert capsys.readouterr().out == ""


def test_fields_on_a_terminal_colour_the_status(terminal: Terminal) -> None:
    printing.fields([("id", "order-17"), ("status", "paused"), ("why", "")], "paused")
    assert "\x1b[33mpaused" in terminal.getvalue()
    assert [line.split() for line in shown(terminal).splitlines()] == [
        ["id", "order-17"],
        ["status", "paused"],
    ]


# -- lines


def test_what_is_said_is_wrapped_on_a_terminal_and_left_alone_in_a_pipe(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "word " * 40 + "end"
    printing.say(text)
    assert len(shown(terminal).splitlines()) > 1
    assert shown(terminal).split() == text.split()
    pipe = io.StringIO()
    monkeypatch.setattr(printing, "sys", SimpleNamespace(stdout=pipe))
    printing.say(text)
    assert pipe.getvalue() == f"{text}\n"


def test_what_looks_like_markup_or_like_a_command_to_the_terminal_is_text(
    terminal: Terminal,
) -> None:
    printing.say("[bold]not bold[/bold] :smile: \x1b[31mred\x07")
    assert terminal.getvalue() == "[bold]not bold[/bold] :smile: \\x1b[31mred\\x07\n"


def test_a_complaint_is_one_line_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    printing.complain("It is\n   broken:\t\x1b]0;title")
    assert capsys.readouterr() == ("", "understudy: It is broken: \\x1b]0;title\n")


def test_json_is_indented_and_keeps_its_letters(capsys: pytest.CaptureFixture[str]) -> None:
    printing.print_json([{"id": "größe"}])
    assert capsys.readouterr().out == '[\n  {\n    "id": "größe"\n  }\n]\n'


# -- commands on a terminal


def test_on_a_terminal_a_listing_says_what_it_leaves_out(
    terminal: Terminal, tmp_path: Path
) -> None:
    file = written(tmp_path, *(([PAID, h.Ended("done", payload("ok"))],) for _ in range(3)))
    assert main(["workflows", "list", str(file), "--limit", "2"]) == 0
    text = shown(terminal)
    assert "order-1 " not in text
    assert "order-2 " in text and "order-3 " in text
    assert text.endswith("\n1 earlier one; --limit 3 shows all.\n")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ([], "No workflows."),
        (["--status", "failed"], "None like that."),
        (["--type", "Other"], "None like that."),
    ],
    ids=["all", "of a status", "of a type"],
)
def test_on_a_terminal_a_listing_of_nothing_says_so(
    terminal: Terminal, tmp_path: Path, options: list[str], text: str
) -> None:
    file = written(tmp_path)
    assert main(["workflows", "list", str(file), *options]) == 0
    assert shown(terminal) == f"{text}\n"


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["columns", "JSON"])
def test_in_a_pipe_a_listing_says_on_stderr_what_it_leaves_out(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str]
) -> None:
    file = written(tmp_path, *(([PAID, h.Ended("done", payload("ok"))],) for _ in range(3)))
    assert main(["workflows", "list", str(file), "--limit", "1", *options]) == 0
    out, err = capsys.readouterr()
    assert "order-3" in out and "earlier" not in out
    assert err == "understudy: 2 earlier ones; --limit 3 shows all.\n"
    assert main(["workflows", "list", str(file), "--limit", "3", *options]) == 0
    assert capsys.readouterr().err == ""


def test_in_a_pipe_a_listing_of_nothing_is_its_heads(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["workflows", "list", str(written(tmp_path))]) == 0
    assert capsys.readouterr().out.split() == [
        "ID",
        "RUN",
        "TYPE",
        "STATUS",
        "STARTED",
        "TOOK",
        "WAITS",
        "FOR",
    ]


def test_on_a_terminal_show_has_the_fields_and_the_history(
    terminal: Terminal, tmp_path: Path
) -> None:
    file = written(tmp_path, ([PAID, h.Slept("sleep.2", T0 + 86_400)],))
    assert main(["workflows", "show", str(file), "order-1"]) == 0
    text = shown(terminal)
    assert "status" in text and "waiting" in text
    assert "until 2030-01-02 00:00 UTC" in text


# -- the command itself


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["list", "FILE", "--status", "tired"], "--status is one of running, waiting, paused"),
        (["list", "FILE", "--limit", "0"], "--limit is 1 or more. Got: 0"),
        (["signal", "FILE", "order-1", "--type", "X", "--json", "[1]"], "is an object with the"),
        (["signal", "FILE", "order-1", "--type", "X", "--json", "{"], "--json is JSON: "),
        (["replay", "FILE", "--app", "shop"], "--app is a module and a class, shop:Orders. Got: "),
        (
            ["replay", "FILE", "--app", "no_such_thing:Shop"],
            "cannot be loaded: ModuleNotFoundError",
        ),
        (["replay", "FILE", "--app", "json:JSONDecoder"], "--app names the class of a mediator."),
        (["replay", "FILE", "--app", "tests.observers.journals:Bad"], "cannot be a mediator: "),
    ],
    ids=["status", "limit", "no object", "no JSON", "no class", "no module", "none", "bad"],
)
def test_exit_code_2_says_what_is_wrong_with_the_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], text: str
) -> None:
    file = str(written(tmp_path, ([PAID],)))
    assert main(["workflows", *(file if each == "FILE" else each for each in arguments)]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("understudy: ") and err.count("\n") == 1
    assert text in err


def test_what_is_asked_of_a_journal_nobody_has_open_is_checked_and_left_for_the_next_owner(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = str(written(tmp_path, ([PAID, h.Pivoted()],), ([PAID, h.Ended("done")],)))
    assert main(["workflows", "cancel", file, "order-1"]) == 3
    assert capsys.readouterr().err == "understudy: Workflow 'order-1' is past its pivot.\n"
    assert main(["workflows", "pause", file, "order-2"]) == 3
    assert capsys.readouterr().err == "understudy: Workflow 'order-2' has ended: it is done.\n"
    assert main(["workflows", "pause", file, "order-1"]) == 0
    assert f"Nobody has {file} open: pause of order-1 is left in its inbox" in (
        capsys.readouterr().out
    )
    assert main(["workflows", "why", file, "order-1"]) == 0
    assert "what was left in the inbox: pause.\n" in capsys.readouterr().out
    # What was left may change what can be done, so now the next owner judges.
    assert main(["workflows", "cancel", file, "order-1"]) == 0


def test_a_request_that_is_too_large_for_an_owner_is_a_wrong_command_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = str(written(tmp_path, ([PAID],)))
    journal = SqliteJournal(file)
    journal.announce("/nowhere")
    try:
        journal.acquire(0)
        assert main(["workflows", "cancel", file, "order-1", "--reason", "x" * (1 << 20)]) == 2
    finally:
        journal.close()
    assert "A request has at most 1048576 bytes." in capsys.readouterr().err


def test_the_version_is_that_of_the_distribution_or_unknown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def missing(name: str) -> str:
        raise PackageNotFoundError(name)

    assert main(["--version"]) == 0
    assert re.match(r"\d+\.\d+", capsys.readouterr().out)
    monkeypatch.setattr(cli, "version", missing)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == "unknown\n"


def test_python_m_observers_exits_with_the_code_of_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    none = tmp_path / "none.db"
    monkeypatch.setattr(sys, "argv", ["understudy", "workflows", "list", str(none)])
    with pytest.raises(SystemExit) as exit:
        runpy.run_module("observers", run_name="__main__")
    assert exit.value.code == 4
    assert str(none) in capsys.readouterr().err


def test_a_file_that_hides_a_floor_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(actors, "open_system")
    with pytest.raises(ImportError, match="Rename that file: it hides ours"):
        runpy.run_path(_foundation.__file__)


def test_how_long_after_the_beginning() -> None:
    from observers.workflows import since

    found: list[Any] = [since(each) for each in (0.0, 0.0124, 119.0, 7200.0)]
    assert found == ["+0.000 s", "+0.012 s", "+119.000 s", "+2 hours"]
