"""A day of the shop, seen from outside: its directory, the processes it takes, what they tell."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import zlib
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from examples.order_saga.shop import BOOKS, JOURNAL
from mediators import SqliteJournal
from mediators.journal import owner_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from examples.order_saga.orders import Order, Reading

STORY, CRASHES, ERRORS = "story.jsonl", "crashes.log", "errors.log"
ROOT = Path(__file__).parents[2]
WORKER = (sys.executable, "-m", "examples.order_saga.worker")
"""The command that runs one process of the shop."""
CLOSING = 15.0
"""Seconds a process has to close in order."""


@attrs.define
class Story:
    """What the processes have told, from the first one on."""

    ended: dict[str, str | None] = attrs.field(factory=dict)
    """By order: None for a receipt, or why there is none."""
    kills: list[dict[str, Any]] = attrs.field(factory=list)
    restarts: Counter[str] = attrs.field(factory=Counter)
    """By component."""
    taken_up: int = 0
    """Workflows that a later process went on with."""
    began: int = 0
    left: int = 0
    file: int | None = None
    """The checksum of the file with the orders."""
    orders: int = 0
    """So many of them were placed, or were to be."""

    def add(self, event: dict[str, Any]) -> None:
        """One event."""
        kind = event["event"]
        if kind == "ended":
            self.ended[event["order"]] = event.get("why")
        elif kind == "restarted":
            self.restarts[event["child"]] += 1
        elif kind == "recovered":
            self.taken_up += event["runs"]
        elif kind == "killed":
            self.kills.append(event)
        elif kind == "began":
            self.began += 1
            self.file = event["file"]
            self.orders = max(self.orders, event["orders"])
        elif kind == "left":
            self.left += 1

    @property
    def deaths(self) -> int:
        """Processes that did not leave in order; one that runs still counts."""
        return self.began - self.left


class Unusable(Exception):
    """The directory belongs to somebody else."""


@attrs.define
class Day:
    """The orders, and the directory where everything about them is kept."""

    directory: Path
    file: Path
    reading: Reading
    count: int
    """Orders to be taken; those that were taken on an earlier run belong to them."""
    story: Story = attrs.field(init=False, factory=Story)
    _told: int = 0

    def open(self, *, fresh: bool) -> None:
        """Make the directory; ``fresh``: without the files of an earlier day. Raises
        Unusable if they are being written, or are of other orders."""
        self.directory.mkdir(parents=True, exist_ok=True)
        owner = owner_of(str(self.path(JOURNAL)))
        if owner is not None:
            raise Unusable(f"{self.path(JOURNAL)} is written by {owner}.")
        if fresh:
            for name in (JOURNAL, BOOKS):
                for suffix in ("", "-wal", "-shm", ".lock"):
                    self.path(name + suffix).unlink(missing_ok=True)
            for name in (STORY, CRASHES, ERRORS):
                self.path(name).unlink(missing_ok=True)
        self.listen()
        if self.story.file not in (None, zlib.crc32(self.file.read_bytes())):
            raise Unusable(
                f"{self.directory} is about the orders of another file. Use --fresh to begin anew, "
                "or another --dir."
            )

    @property
    def orders(self) -> Sequence[Order]:
        """The first ones of the file."""
        return self.reading.orders[: max(self.count, self.story.orders)]

    def path(self, name: str) -> Path:
        """Of a file of this day."""
        return self.directory / name

    def listen(self) -> list[dict[str, Any]]:
        """What has been told since the last time."""
        try:
            with self.path(STORY).open("rb") as file:
                file.seek(self._told)
                lines = file.read()
        except FileNotFoundError:
            return []
        lines = lines[: lines.rfind(b"\n") + 1]
        self._told += len(lines)
        events: list[dict[str, Any]] = [json.loads(line) for line in lines.splitlines()]
        for event in events:
            self.story.add(event)
        return events

    def ended(self) -> set[str]:
        """The workflows that are over, as the journal has it."""
        if not self.path(JOURNAL).exists():
            return set()
        with SqliteJournal.read(self.path(JOURNAL)) as journal:
            return {run.id for run in journal.runs() if run.over}

    @property
    def done(self) -> bool:
        """Whether all orders have ended, and their customers have heard of it."""
        over = self.ended()
        return all(
            f"order-{each.id}" in over and each.id in self.story.ended for each in self.orders
        )

    def run(self, kills: Sequence[str], look: Callable[[list[dict[str, Any]]], object]) -> int:
        """Run process after process until one is not killed, or gets nowhere; its exit code. Each
        gets the next of ``kills`` that has not happened yet. ``look`` is called ten times a second.

        A KeyboardInterrupt closes the shop in order before it goes on.
        """
        while True:
            happened = {each["kill"] for each in self.story.kills}
            before = len(self.story.kills), len(self.story.ended)
            process = self.start([kill for kill in kills if kill not in happened][:1])
            try:
                for _ in waiting(process):
                    look(self.listen())
            except BaseException:
                close(process)
                raise
            finally:
                look(self.listen())
            after = len(self.story.kills), len(self.story.ended)
            if process.returncode != -signal.SIGKILL or before == after:
                return process.returncode

    def start(self, kills: Sequence[str]) -> subprocess.Popen[bytes]:
        """A process of its own group, so that Ctrl-C does not reach it; it closes in order when its
        standard input ends, be it that we close it, or that we are no more."""
        arguments = [self.directory, self.file.resolve(), len(self.orders), *kills]
        path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep)
        with self.path(STORY).open("ab") as story, self.path(ERRORS).open("ab") as errors:
            return subprocess.Popen(
                [*WORKER, *map(str, arguments)],
                stdin=subprocess.PIPE,
                stdout=story,
                stderr=errors,
                env={**os.environ, "PYTHONPATH": path},
                process_group=0,
            )


def waiting(process: subprocess.Popen[bytes]) -> Iterator[None]:
    """Ten times a second, and when it has ended."""
    while process.poll() is None:
        yield
        try:
            process.wait(0.1)
        except subprocess.TimeoutExpired:
            pass
    if process.stdin is not None:
        process.stdin.close()


def close(process: subprocess.Popen[bytes]) -> None:
    """Let it come to an orderly end; or to another one."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        process.wait(CLOSING)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
