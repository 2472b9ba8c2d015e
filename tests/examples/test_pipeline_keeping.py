"""The file pipeline: files that are whole or not there, and converters to which things happen."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import trio

from examples.file_pipeline import chaos, keeping
from examples.file_pipeline.chaos import Chaos
from examples.file_pipeline.keeping import put, settle_all

ROOT = Path(__file__).parents[2]

# -- keeping


def test_a_file_is_put_with_the_directories_it_is_in(tmp_path: Path) -> None:
    put(tmp_path / "a" / "b" / "c.txt", b"one")
    put(tmp_path / "a" / "b" / "c.txt", b"two")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == b"two"
    assert [each.name for each in (tmp_path / "a" / "b").iterdir()] == ["c.txt"]


def test_until_all_of_it_is_on_disk_the_old_one_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "c.txt", b"old")
    seen: list[bytes] = []

    def pull_the_plug(_descriptor: int) -> None:
        seen.append((tmp_path / "c.txt").read_bytes())
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", pull_the_plug)
    with pytest.raises(KeyboardInterrupt):
        put(tmp_path / "c.txt", b"new")
    assert seen == [b"old"]
    assert (tmp_path / "c.txt").read_bytes() == b"old"
    monkeypatch.undo()
    put(tmp_path / "c.txt", b"new")
    assert [each.name for each in tmp_path.iterdir()] == ["c.txt"], "nothing is left of the first"


def test_what_was_unpacked_is_settled_with_every_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "in/b", "in/deep/c"):
        (tmp_path / "x" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "x" / name).touch()
    settled: list[str] = []
    monkeypatch.setattr(
        keeping, "settle", lambda path: settled.append(str(path.relative_to(tmp_path)))
    )
    settle_all(tmp_path / "x", ["a", "in/b", "in/deep/c"])
    assert settled[:3] == ["x/a", "x/in/b", "x/in/deep/c"], "files before what names them"
    assert sorted(settled[3:]) == [".", "x", "x/in", "x/in/deep"]


# -- chaos


def suffer(trouble: str, before: str = "pass") -> subprocess.Popen[bytes]:
    """A process to which that happens, just now."""
    code = (
        f"from examples.file_pipeline.chaos import {trouble}\n"
        f"{before}\nprint('now', flush=True)\n{trouble}()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"now\n"
    return process


def test_a_crash_is_one_that_python_knows_nothing_of() -> None:
    process = suffer("crash")
    assert process.communicate() == (b"", b"")
    assert process.returncode == -signal.SIGSEGV


def test_who_hangs_does_not_come_back() -> None:
    process = suffer("hang")
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            process.communicate(timeout=0.3)
    finally:
        process.kill()
        process.communicate()


def test_who_swells_gets_to_the_end_of_its_memory() -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (200 << 20, 200 << 20))"
    process = suffer("swell", before=limit)
    assert process.communicate()[1].rstrip().endswith(b"MemoryError")
    assert process.returncode == 1


def outcome(chance: float, at: float, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens, and in which order, at a throw of the dice."""
    done: list[str] = []
    monkeypatch.setattr(random, "random", lambda: at)
    monkeypatch.setattr(chaos, "TROUBLES", [lambda: done.append("trouble")])

    async def work(_envelope: Any) -> str:
        done.append("work")
        return "answer"

    async def main() -> None:
        envelope: Any = None
        assert await Chaos(chance)(envelope, work) == "answer"

    trio.run(main)
    return done


def test_something_happens_before_the_work_or_after_it_or_not_at_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert outcome(0.2, 0.05, monkeypatch) == ["trouble", "work"]
    assert outcome(0.2, 0.15, monkeypatch) == ["work", "trouble"]
    assert outcome(0.2, 0.2, monkeypatch) == ["work"]
    assert outcome(0.0, 0.0, monkeypatch) == ["work"]
    assert outcome(1.0, 0.999, monkeypatch) == ["work", "trouble"]
