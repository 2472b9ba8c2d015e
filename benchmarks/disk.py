"""A folder on a real disk: what is told durable in a memory file system was not.

It is imported by every durable peer, also by those that live in a virtualenv of their own.
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BUILD = Path(__file__).resolve().parents[1] / "build"
PLACE = "BENCH_DISK"
"""The environment variable that names another directory to measure in."""
NOT_ON_DISK = frozenset({"tmpfs", "ramfs", "devtmpfs", "squashfs"})
PROBES = 50


def place() -> Path:
    """The directory the folders are made in."""
    return Path(os.environ.get(PLACE) or BUILD)


@contextmanager
def folder() -> Iterator[Path]:
    """A new folder on a disk, removed afterwards. Raises RuntimeError when there is no disk."""
    where = place()
    where.mkdir(parents=True, exist_ok=True)
    kind = file_system(where)
    if kind in NOT_ON_DISK:
        raise RuntimeError(
            f"{where} is on a {kind}, where an fsync costs nothing; let {PLACE} name a directory "
            "on a disk"
        )
    with tempfile.TemporaryDirectory(
        prefix="bench-", dir=where, ignore_cleanup_errors=True
    ) as made:
        yield Path(made)


def file_system(path: Path) -> str:
    """The type of the file system a path is on (Linux), or `unknown`."""
    try:
        lines = Path("/proc/self/mountinfo").read_text("utf-8").splitlines()
    except OSError:
        return "unknown"
    kinds: dict[str, str] = {}
    for line in lines:
        fields = line.split()
        # A later mount hides an earlier one at the same place.
        kinds[fields[4]] = fields[fields.index("-") + 1]
    for parent in (path.resolve(), *path.resolve().parents):
        if str(parent) in kinds:
            return kinds[str(parent)]
    return "unknown"


def described() -> str:
    """The file system, and what a small write with its fsync takes: the floor of every commit."""
    with folder() as made:
        taken = []
        with (made / "probe").open("wb", buffering=0) as file:
            for _ in range(PROBES):
                began = time.perf_counter()
                file.write(bytes(4096))
                os.fsync(file.fileno())
                taken.append(time.perf_counter() - began)
        return f"{file_system(made)}, 4 KiB and fsync {1e3 * statistics.median(taken):.2f} ms"
