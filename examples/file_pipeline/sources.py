"""Sources: the files of a directory, and what they are called."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from examples.file_pipeline.limits import Room
from examples.file_pipeline.texts import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

INSIDE = "!/"
"""What stands between an archive and the name of a member."""
WHOLE = Room()


@attrs.frozen
class Source:
    """A file. ``path`` is what it is called, ``place`` where it lies, ``changed`` when, in
    nanoseconds.

    A member of an archive is called after that, its ``parent``; ``depth`` counts the archives it
    lies in, ``edition`` tells the members of one unpacking from those of another, and ``room`` is
    what may come out of it.
    """

    path: str
    place: bytes
    size: int
    changed: int = 0
    parent: str | None = None
    depth: int = 0
    edition: str = ""
    room: Room = WHOLE

    @property
    def file(self) -> Path:
        """Where it lies."""
        return Path(os.fsdecode(self.place))

    def member(self, directory: Path, name: str, size: int, edition: str, room: Room) -> Source:
        """A file that was taken out of this one, into a directory."""
        return Source(
            f"{self.path}{INSIDE}{name}",
            os.fsencode(directory / name),
            size,
            parent=self.path,
            depth=self.depth + 1,
            edition=edition,
            room=room,
        )

    @property
    def key(self) -> str:
        """What no other file has; names of what is made of this one."""
        return hashlib.sha256(f"{self.path}\n{self.edition}".encode()).hexdigest()[:24]


@attrs.frozen
class Walked:
    """What was found in a directory. ``others`` counts links and special files, which are left
    alone, ``closed`` the directories that could not be read."""

    sources: list[Source]
    others: int
    closed: int


def walk(root: Path, aside: Path) -> Walked:
    """Find all files below ``root``, in the order of their names, except for what is below
    ``aside``. Links are not followed."""
    sources: list[Source] = []
    others = closed = 0
    left = [os.fsencode(root)]
    while left:
        directory = left.pop()
        if os.fsdecode(directory) == str(aside):
            continue
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError:
            closed += 1
            continue
        left += [each.path for each in reversed(entries) if each.is_dir(follow_symlinks=False)]
        for entry in entries:
            if entry.is_file(follow_symlinks=False):
                sources.extend(found(entry, os.fsencode(root)))
            elif not entry.is_dir(follow_symlinks=False):
                others += 1
    return Walked(sources, others, closed)


def found(entry: os.DirEntry[bytes], root: bytes) -> Iterator[Source]:
    """A file, unless it has gone meanwhile."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return
    path = called(os.path.relpath(entry.path, root))
    yield Source(path, entry.path, status.st_size, status.st_mtime_ns)


def called(name: bytes) -> str:
    """The name of a file as a text. No two names are called the same."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = ""
    if text.isprintable() and text:
        return text
    return f"{shown(os.fsdecode(name), limit=len(name))}~{hashlib.sha256(name).hexdigest()[:8]}"
