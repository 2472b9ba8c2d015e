"""The file pipeline, run as a user would: each file is accounted for, nothing done twice."""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import attrs
import pytest

from examples.file_pipeline.__main__ import (
    ABOUT,
    DONE,
    FORMAT,
    INTERRUPTED,
    LOG,
    UNUSABLE,
    main,
)
from examples.file_pipeline.feeder import DATA, PAGE
from examples.file_pipeline.pipeline import JOURNAL
from mediators import SqliteJournal
from mediators.journal.lock import FileLock
from tests.examples.pipeline_samples import (
    ARCHIVES,
    DOCUMENTS,
    ENGLISH,
    GERMAN,
    IMAGES,
    svg,
    zipped,
)

ROOT = Path(__file__).parents[2]
PATIENCE = 60.0
FAMILY_OF = {
    **dict.fromkeys(DOCUMENTS, "document"),
    **dict.fromkeys(IMAGES, "image"),
    **dict.fromkeys(ARCHIVES, "archive"),
}

Run = tuple[str, int]


@attrs.frozen
class Done:
    """A run of the program in a process of its own."""

    code: int
    out: str
    errors: str


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "examples.file_pipeline", *map(str, arguments)]


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(*arguments),
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )


def run(*arguments: object) -> Done:
    process = start(*arguments)
    try:
        out, errors = process.communicate(timeout=120)
    finally:
        process.kill()
    return Done(process.returncode, out, errors)


def processed(root: Path, out: Path, *options: object) -> dict[str, dict[str, Any]]:
    """The entries of the report, by path."""
    done = run(root, "--out", out, *options)
    assert (done.code, done.errors) == (DONE, ""), done
    return entries(out)


def entries(out: Path) -> dict[str, dict[str, Any]]:
    found = json.loads((out / DATA).read_text())
    counted = Counter(each["path"] for each in found["entries"])
    assert set(counted.values()) <= {1}, "each file is there once"
    assert found["summary"]["files"] == len(counted)
    tidy(out)
    return {each["path"]: each for each in found["entries"]}


def tidy(out: Path) -> None:
    """Nothing is left over of what was only needed on the way."""
    work = out / "work"
    assert not work.exists() or list(work.iterdir()) == []
    assert list(out.rglob("*.part")) == []
    with SqliteJournal.read(out / JOURNAL) as journal:
        assert [row.id for row in journal.runs() if not row.over] == []


def ended(out: Path) -> dict[Run, tuple[str, float]]:
    """What has ended of all runs of workflows, and when."""
    if not (out / JOURNAL).exists():
        return {}
    with closing(sqlite3.connect(f"file:{out / JOURNAL}?mode=ro", uri=True)) as journal:
        try:
            rows = journal.execute("SELECT id, run, status, ended FROM runs").fetchall()
        except sqlite3.OperationalError:  # it has just been made
            return {}
    return {(id, run): (status, ended) for id, run, status, ended in rows if ended is not None}


def stamps(out: Path) -> dict[str, int]:
    """When what was made of the files was written."""
    made = [each for folder in ("texts", "thumbnails") for each in (out / folder).rglob("*")]
    return {str(each): each.stat().st_mtime_ns for each in made if each.is_file()}


def until(holds: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait for something that a process does."""
    limit = time.monotonic() + PATIENCE
    while not holds():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit, "waited in vain"
        time.sleep(0.02)


def converters(parent: int) -> set[int]:
    """The processes that descend from one."""
    parents: dict[int, int] = {}
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            with suppress(OSError):
                state, ppid, *_ = (each / "stat").read_text().rpartition(")")[2].split()
                if state != "Z":
                    parents[int(each.name)] = int(ppid)
    found, todo = set[int](), [parent]
    while todo:
        children = [pid for pid, ppid in parents.items() if ppid == todo[0]]
        todo = [*todo[1:], *children]
        found.update(children)
    return found


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def write(root: Path, files: dict[str, bytes]) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)


def encrypted() -> bytes:
    """A zip that says of its member that it is encrypted."""
    data = bytearray(zipped({"secret.txt": "x"}))
    for magic, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(magic) + flags] |= 1
    return bytes(data)


# -- every kind of file


@pytest.fixture(scope="module")
def every(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Done]:
    """A directory with all kinds of files, what was kept of it, and how that went."""
    root, out = tmp_path_factory.mktemp("files"), tmp_path_factory.mktemp("kept") / "out"
    samples = {**DOCUMENTS, **IMAGES, **ARCHIVES}
    inner = zipped({"deep.txt": ENGLISH, "more.tar.gz": ARCHIVES["tar.gz"]})
    matryoshka = zipped({"x": "y"})
    for number in range(6):
        matryoshka = zipped({f"{number}.zip": matryoshka})
    write(
        root,
        {
            **{f"samples/a.{format}": data for format, data in samples.items()},
            "nested.zip": zipped({"in/inner.zip": inner, "b.txt": GERMAN, "odd#1f!/c": "c"}),
            "deep.zip": matryoshka,
            "bomb.gz": gzip.compress(bytes(20 << 20)),
            "bomb.zip": zipped({"zeros": bytes(20 << 20)}),
            "leads out.zip": zipped({"../../x": "x", "b": "b"}),
            "damaged.zip": ARCHIVES["zip"][:-30],
            "damaged.pdf": DOCUMENTS["pdf"][:200],
            "damaged.png": IMAGES["png"][:50],
            "intricate.svg": svg('<use href="#a"/>'),
            "encrypted.zip": encrypted(),
            "empty": b"",
            "empty.zip": zipped({}),
            "data.bin": bytes(range(256)),
            "long.txt": b"x" * 100_001,
            "<b>[red]markup[/].txt": b"<b>",
        },
    )
    (root / os.fsdecode(b"caf\xe9.txt")).write_bytes(b"coffee")
    (root / "link").symlink_to("empty")
    return root, out, run(root, "--out", out)


def test_every_file_is_in_the_report_once_with_what_it_is(
    every: tuple[Path, Path, Done],
) -> None:
    root, out, done = every
    assert (done.code, done.errors) == (DONE, "")
    found = entries(out)
    assert (out / LOG).read_text() == "", "there is nothing to say about it"
    for format, family in FAMILY_OF.items():
        entry = found[f"samples/a.{format}"]
        assert (entry["family"], entry["status"]) == (family, "done"), entry
    files = [each for each in root.rglob("*") if each.is_file() and not each.is_symlink()]
    assert len([each for each in found.values() if each["parent"] is None]) == len(files)
    (odd,) = [path for path in found if path.startswith("caf")]
    assert odd.startswith("caf\\xe9.txt~") and found[odd]["status"] == "done"
    assert found["<b>[red]markup[/].txt"]["size"] == 3
    assert found["empty"]["facts"]["why"] == "it has no bytes"
    assert json.loads((out / DATA).read_text())["summary"]["others"] == 1


def test_members_of_archives_are_there_with_their_parents(
    every: tuple[Path, Path, Done],
) -> None:
    found = entries(every[1])
    assert {path: each["parent"] for path, each in found.items() if path.startswith("nested")} == {
        "nested.zip": None,
        "nested.zip!/b.txt": "nested.zip",
        "nested.zip!/in/inner.zip": "nested.zip",
        "nested.zip!/in/inner.zip!/deep.txt": "nested.zip!/in/inner.zip",
        "nested.zip!/in/inner.zip!/more.tar.gz": "nested.zip!/in/inner.zip",
        "nested.zip!/in/inner.zip!/more.tar.gz!/one.txt": "nested.zip!/in/inner.zip!/more.tar.gz",
        "nested.zip!/in/inner.zip!/more.tar.gz!/in/two.txt": (
            "nested.zip!/in/inner.zip!/more.tar.gz"
        ),
        **{path: "nested.zip" for path in found if path.startswith("nested.zip!/odd")},
    }
    assert found["empty.zip"]["status"] == "done"
    assert found["nested.zip!/b.txt"]["facts"]["language"] == "de"


def test_what_is_no_good_is_refused_and_it_is_said_why(every: tuple[Path, Path, Done]) -> None:
    found = entries(every[1])
    refused = {path: each["reason"] for path, each in found.items() if each["status"] != "done"}
    assert {each["status"] for each in found.values()} == {"done", "refused"}
    told = {
        "bomb.gz": "200 times its size",
        "bomb.zip": "200 times its size",
        "damaged.pdf": "no readable pdf",
        "damaged.png": "no readable png",
        "damaged.zip": "no readable zip",
        "deep.zip!/5.zip!/4.zip!/3.zip!/2.zip": "4 deep",
        "encrypted.zip": "encrypted. Got: secret.txt",
        "leads out.zip": "leads out of the archive",
    }
    assert [path for path in told if told[path] not in refused.get(path, "")] == []
    assert refused.keys() - told.keys() == set()


def test_what_was_made_of_files_lies_beside_the_report(every: tuple[Path, Path, Done]) -> None:
    out = every[1]
    found = entries(out)
    text = found["samples/a.pdf"]["facts"]
    assert ENGLISH in (out / text["text"]).read_text()
    assert (text["language"], text["pages"], text["title"]) == ("en", "2", "A play")
    long = found["long.txt"]["facts"]
    assert (long["characters"], long["kept"]) == ("100001", "the first 100,000")
    assert (out / long["text"]).stat().st_size == 100_000
    picture = found["samples/a.png"]
    assert picture["facts"]["transparency"] == "yes"
    assert picture["facts"]["thumbnail"] == picture["thumbnail"]
    assert (out / picture["thumbnail"]).read_bytes()[8:12] == b"WEBP"
    assert picture["facts"]["pixels"] == "20 x 10"
    drawing = found["intricate.svg"]
    assert (drawing["status"], drawing["thumbnail"]) == ("done", None)
    assert drawing["facts"]["no thumbnail"] == "an SVG with use in it is not drawn"
    page = (out / PAGE).read_text()
    assert "nested.zip!/in/inner.zip!/deep.txt" in page


def test_the_program_says_what_it_has_come_to(every: tuple[Path, Path, Done]) -> None:
    _, out, done = every
    summary = json.loads((out / DATA).read_text())["summary"]
    statuses = summary["statuses"]
    *_, files, counts, report = done.out.splitlines()
    assert files.startswith(f"{summary['files']} files, those in archives included; this run took ")
    assert counts == f"{statuses['done']} done, {statuses['refused']} refused, 0 failed"
    assert report == f"The report: {out / PAGE}"


def test_run_again_it_joins_what_it_has_and_writes_the_same_report(
    every: tuple[Path, Path, Done],
) -> None:
    root, out, _ = every
    before = ended(out), stamps(out), entries(out)
    assert processed(root, out) == before[2]
    assert (ended(out), stamps(out)) == before[:2]


def test_where_a_file_is_can_be_asked(every: tuple[Path, Path, Done]) -> None:
    _, out, _ = every
    found = run("where", "nested*", "bomb.zip", "--out", out)
    assert (found.code, found.errors) == (DONE, "")
    lines = [line.split(maxsplit=2) for line in found.out.splitlines()]
    assert ["nested.zip!/b.txt", "done"] in [line[:2] for line in lines]
    (bomb,) = [line for line in lines if line[0] == "bomb.zip"]
    assert bomb[1] == "refused" and "200 times its size" in bomb[2]
    assert not [line for line in lines if line[0].startswith("samples")]
    assert found.out.splitlines()[-1].startswith("0 waiting, ")


# -- run again


def test_what_has_changed_or_is_to_be_is_done_anew_and_nothing_else(tmp_path: Path) -> None:
    root, out = tmp_path / "files", tmp_path / "out"
    write(
        root,
        {
            "a.txt": b"one",
            "b.txt": b"two",
            "c.md": b"three",
            "x.zip": zipped({"old": "o", "both": "b"}),
            "y.zip": zipped({"in/one.css": "1", "two": "2"}),
            "z.zip": zipped({"one": "1"}),
            "gone": b"gone",
        },
    )
    first = processed(root, out)
    assert first["b.txt"]["facts"]["characters"] == "3"
    before = ended(out)

    (root / "b.txt").write_bytes(b"longer")
    (root / "x.zip").write_bytes(zipped({"new": "n", "both": "b"}))
    (root / "gone").unlink()
    write(root, {"late": b"late"})
    waiting = run("where", "late", "--out", out).out.splitlines()
    assert ["late", "waiting"] in [line.split() for line in waiting]
    second = processed(root, out, "--redo", "*.md", "--redo", "y.*/*.css")
    assert second["b.txt"]["facts"]["characters"] == "6"
    assert set(second) == {
        *["a.txt", "b.txt", "c.md", "late", "x.zip", "x.zip!/new", "x.zip!/both"],
        *["y.zip", "y.zip!/in/one.css", "y.zip!/two", "z.zip", "z.zip!/one"],
    }
    after = ended(out)
    assert before.items() <= after.items()
    new = {id for id, _ in after.keys() - before.keys()}
    assert {id.partition("#")[0] for id in new} == set(second) - {"a.txt", "z.zip", "z.zip!/one"}

    told = run("where", "*", "--out", out).out
    assert {line.split()[0] for line in told.splitlines()[2:-1]} == set(second)
    assert run("where", "*nothing", "--out", out).out.splitlines()[0] == "no file matches"
    third = run(root, "--out", out, "--redo", "*.zzz")
    assert third.out.splitlines()[-1] == "--redo: no file matches"
    assert "no file matches" not in run(root, "--out", out, "--redo", "y.*/*.css").out


@pytest.fixture
def many(tmp_path: Path) -> tuple[Path, Path]:
    """A directory of some hundred small files, some of which are in archives; and where to keep
    what is made of it."""
    root = tmp_path / "files"
    write(root, {f"{at % 7}/{at}.txt": f"{at} {ENGLISH}".encode() for at in range(300)})
    for at in range(5):
        members: dict[str, str | bytes] = {f"{each}.txt": f"{each} {at}" for each in range(12)}
        write(root, {f"{at}.zip": zipped(members)})
    return root, tmp_path / "out"


def check_many(root: Path, out: Path, seen: dict[Run, tuple[str, float]]) -> None:
    """Everything is done, and what had been was not done again."""
    found = processed(root, out)
    assert len(found) == 300 + 5 + 5 * 12
    assert {each["status"] for each in found.values()} == {"done"}
    everything = ended(out)
    assert seen.items() <= everything.items()
    assert Counter(id for id, _ in everything) == Counter(dict.fromkeys([*_ids(everything)], 2)), (
        "each is a File, and goes on as something else"
    )


def _ids(runs: dict[Run, tuple[str, float]]) -> set[str]:
    return {id for id, _ in runs}


def test_whenever_it_is_killed_the_next_run_goes_on(many: tuple[Path, Path]) -> None:
    root, out = many
    seen: dict[Run, tuple[str, float]] = {}
    for more in (1, 150, 150):
        enough = len(seen) + more
        process = start(root, "--out", out)
        until(lambda enough=enough: len(ended(out)) >= enough, process)  # type: ignore[misc]
        workers = converters(process.pid)
        assert len(workers) >= 6, "there are converters of each kind"
        process.kill()
        process.communicate()
        limit = time.monotonic() + PATIENCE
        while any(map(alive, workers)):
            assert time.monotonic() < limit, "converters die with the process they are for"
            time.sleep(0.02)
        assert seen.items() <= ended(out).items()
        seen = ended(out)
        assert not (out / PAGE).exists()
    check_many(root, out, seen)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_it_closes_in_order_and_the_next_run_goes_on(
    many: tuple[Path, Path], number: signal.Signals
) -> None:
    root, out = many
    process = start(root, "--out", out)
    until(lambda: len(ended(out)) >= 100, process)
    process.send_signal(number)
    told, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (INTERRUPTED, "")
    assert told.rstrip().endswith("Closed in order. Run it again to go on.")
    seen = ended(out)
    where = run("where", "--out", out).out.splitlines()[-1]
    assert "done" in where and not where.startswith("0 waiting")
    check_many(root, out, seen)


# -- chaos


def test_in_chaos_every_file_is_accounted_for(tmp_path: Path) -> None:
    root, out = tmp_path / "files", tmp_path / "out"
    write(root, {f"{at}.txt": ENGLISH.encode() for at in range(8)})
    write(root, {"a.zip": zipped({f"{at}.bin": bytes([0, at]) for at in range(4)})})
    found = processed(root, out, "--chaos", "0.25")
    assert len([each for each in found.values() if each["parent"] is None]) == 9
    summary = json.loads((out / DATA).read_text())["summary"]
    assert sum(summary["restarts"].values()) > 0, "there was trouble"
    left = [each for each in found.values() if each["status"] != "done"]
    assert {each["status"] for each in left} <= {"failed"}, "no file is to blame for it"
    assert all("was set aside after 5 attempts" in each["reason"] for each in left)


# -- what cannot be


def refused(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What it says to that."""
    assert main(list(map(str, arguments))) == UNUSABLE
    said = capsys.readouterr()
    return said.out + said.err


def test_what_is_kept_of_one_directory_is_not_mixed_with_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other, out = tmp_path / "one", tmp_path / "other", tmp_path / "out"
    one.mkdir()
    other.mkdir()
    assert processed(one, out) == {}
    assert refused(capsys, other, "--out", out) == (
        f"file_pipeline: {out} is about {one}. Use another --out.\n"
    )
    assert (out / PAGE).exists() and os.fsdecode((out / ABOUT).read_bytes()) == str(one)


def test_two_at_a_time_do_not_work_on_the_same(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, out = tmp_path / "files", tmp_path / "out"
    root.mkdir()
    out.mkdir()
    (out / PAGE).write_text("the report of the other")
    lock = FileLock(str(out / JOURNAL))
    lock.acquire()
    try:
        said = refused(capsys, root, "--out", out)
    finally:
        lock.release()
    assert said == f"file_pipeline: {out} is in use by process {os.getpid()}.\n"
    assert (out / PAGE).exists()


def test_without_what_it_reads_files_with_it_says_what_to_install() -> None:
    code = (
        "import runpy, sys\n"
        "sys.modules['PIL'] = None\n"
        "runpy.run_module('examples.file_pipeline', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, cwd=ROOT, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (UNUSABLE, "")
    assert done.stderr == (
        'file_pipeline: it needs the extra "examples": pip install -e ".[examples]" '
        "(No module named 'PIL')\n"
    )


def test_what_is_logged_has_a_time() -> None:
    record = logging.LogRecord("actors", logging.WARNING, "", 0, "it is odd", (), None)
    line = logging.Formatter(FORMAT).format(record)
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \S+ WARNING actors: it is odd", line)


def test_it_cannot_be_kept_in_the_directory_itself(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(capsys, tmp_path, "--out", tmp_path)
    assert said == f"file_pipeline: {tmp_path} cannot keep what is made of it. Use another --out.\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["nowhere"], "nowhere is no directory."),
        (["a file"], "a file is no directory."),
        (["in", "--out", "a file/x"], "a file"),
        (["in", "--chaos", "1.5"], "chaos"),
        (["in", "--chaos", "-1"], "chaos"),
        (["in", "--workers", "0"], "workers"),
        (["in", "--wrong"], "--wrong"),
        ([], "DIRECTORY"),
        (["where", "--out", "nowhere"], "nothing is kept in nowhere."),
    ],
)
def test_what_it_cannot_do_it_says(
    arguments: list[str],
    why: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    (tmp_path / "a file").touch()
    assert why.lower() in refused(capsys, *arguments).lower()
    assert sorted(each.name for each in tmp_path.iterdir()) == ["a file", "in"]
