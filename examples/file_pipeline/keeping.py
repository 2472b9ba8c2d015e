"""Keeping: files that are there, and whole, after the power has failed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


def put(path: Path, data: bytes) -> None:
    """Write a file that is there when all of it is; on disk when this returns. What a process that
    was killed has left of it is written over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
    settle(path.parent)


def settle_all(directory: Path, names: Iterable[str]) -> None:
    """Have files below a directory on disk, with the directories they are in."""
    folders = {directory.parent, directory}
    for name in names:
        settle(directory / name)
        folders.update((directory / name).parents[: name.count("/") + 1])
    for folder in folders:
        settle(folder)


def settle(path: Path) -> None:
    """Have a file or a directory on disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
