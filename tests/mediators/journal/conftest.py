"""Processes that own a journal and die of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

PREAMBLE = """
import os, sys, time
from mediators.journal import *
path = sys.argv[1]

def say(*words):
    print(*words, flush=True)

def started(number, size=10):
    return Batch([RunRow(number, f"order-{number}", 1, "PlaceOrder", "running", 1.0)],
                 [(number, seq, bytes([65 + number]) * size) for seq in range(2)])
"""


class Child:
    """A Python process whose code knows ``path``, ``say(…)`` and ``started(number, size)``."""

    def __init__(self, path: Path, code: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", PREAMBLE + code, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def hear(self) -> str:
        """The next line it says."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        assert line, "the child has ended without a word"
        return line.strip()

    def tell(self) -> None:
        """Let a child go on that waits for a line."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self._process.kill()
        self.wait()

    def wait(self) -> int:
        """Its exit code."""
        self._process.communicate()
        return self._process.returncode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a journal may be made."""
    return tmp_path / "orders.db"


@pytest.fixture
def child() -> Iterator[Callable[[Path, str], Child]]:
    """Starts children; those that are left are killed."""
    made: list[Child] = []

    def start(path: Path, code: str) -> Child:
        made.append(Child(path, code))
        return made[-1]

    yield start
    for each in made:
        each.kill()


@pytest.fixture
def unprivileged() -> Iterator[tuple[Path, Callable[[], AbstractContextManager[None]]]]:
    """A directory that anybody may enter, and a block in which permissions count, also for root."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o777)

    @contextmanager
    def as_nobody() -> Iterator[None]:
        if os.getuid() != 0:
            yield
            return
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)

    try:
        yield directory, as_nobody
    finally:
        directory.chmod(0o777)
        shutil.rmtree(directory)
