"""Death by SIGKILL, at a chosen commit, of a process of its own."""

from __future__ import annotations

import os
import runpy
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

from mediators.journal.sqlite import SqliteShard

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mediators.journal.protocol import Batch

KILL_AT_COMMIT = "UNDERSTUDY_KILL_AT_COMMIT"
"""The environment variable: ``after:3`` is right after the third commit, ``before:3`` right before
it. Commits are counted over all shards of the process, from 1."""


@attrs.frozen
class Life:
    """How a process has ended: whether it was ``killed`` at its commit, or had ended by itself
    before; and what it wrote to its standard output."""

    killed: bool
    output: str


def kill_at_commit(
    script: str | os.PathLike[str],
    commit: int,
    *arguments: object,
    when: Literal["before", "after"] = "after",
    environment: Mapping[str, str] | None = None,
    timeout: float = 60.0,
) -> Life:
    """Run a Python file in a process that kills itself at its ``commit``-th commit to a journal on
    SQLite: right ``before`` it, or right ``after`` it with nothing let out yet.

    ``arguments`` are those of the script, ``environment`` is added to this process's. To play all
    deaths of a script, count up until it is not killed any more:

    >>> commit = 1                                          # doctest: +SKIP
    >>> while kill_at_commit(script, commit, folder / f"{commit}.db").killed:
    ...     look_at(folder / f"{commit}.db")
    ...     commit += 1

    Commit 0 is never reached: the script runs to its end. Blocks for ``timeout`` seconds at most;
    raises AssertionError, with what the script wrote to its standard error, if it ends neither way.
    """
    told = {**os.environ, **(environment or {}), KILL_AT_COMMIT: f"{when}:{commit}"}
    # The floors are found in the child where they are found here.
    home = str(Path(__file__).resolve().parents[2])
    told["PYTHONPATH"] = os.pathsep.join(filter(None, (home, told.get("PYTHONPATH"))))
    run = f"from {__name__} import main; main()"
    command = [sys.executable, "-c", run, os.fspath(script), *map(str, arguments)]
    done = subprocess.run(
        command, env=told, capture_output=True, text=True, timeout=timeout, check=False
    )
    if done.returncode not in {0, -signal.SIGKILL}:
        raise AssertionError(
            f"{script} was to be killed or to end by itself; it ended with {done.returncode}.\n"
            f"{done.stderr}"
        )
    return Life(done.returncode != 0, done.stdout)


def watch(told: str) -> None:
    """Have this process kill itself as ``told``: see ``KILL_AT_COMMIT``."""
    when, _, number = told.partition(":")
    fatal = int(number)
    append = SqliteShard.append
    commits = 0

    def counted(self: SqliteShard, batch: Batch) -> None:
        nonlocal commits
        commits += bool(batch)
        dies = commits == fatal and bool(batch)
        if dies and when == "before":
            die()
        append(self, batch)
        if dies:
            die()

    SqliteShard.append = counted  # type: ignore[method-assign]


def die() -> None:
    """The end, without any goodbye."""
    sys.stdout.flush()
    os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    """Run the script of the command line."""
    script, sys.argv = sys.argv[1], sys.argv[1:]
    if told := os.environ.get(KILL_AT_COMMIT):
        watch(told)
    sys.path.insert(0, os.path.dirname(os.path.abspath(script)))
    runpy.run_path(script, run_name="__main__")
