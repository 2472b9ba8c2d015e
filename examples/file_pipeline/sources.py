"""Sources: the files of a directory, and what they are called."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

import attrs

from examples.file_pipeline.limits import Room
from examples.file_pipeline.texts import shown

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

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

    def member(self, directory: Path, name: str, size: int, edition: str, room: Room) -> Source:
        """A file that was taken out of this one, into a directory."""
        return Source(
            f"{self.path}{INSIDE}{called(os.fsencode(name))}",
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
    """What was found in a directory: its files; by their paths the directories that could not be
    read, and why; and how many links and special files there are, which are left alone."""

    sources: list[Source]
    closed: dict[str, str]
    others: int


def walk(root: Path, aside: Path) -> Walked:
    """Find all files below ``root``, those of a directory in the order of their names, except for
    what is below ``aside``. Links are not followed."""
    sources: list[Source] = []
    closed: dict[str, str] = {}
    others = 0
    left = [os.fsencode(root)]
    while left:
        directory = left.pop()
        try:
            with os.scandir(directory) as entries:
                here = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            closed[below(root, directory)] = f"cannot be read: {error.strerror}"
            continue
        folders = [each.path for each in here if each.is_dir(follow_symlinks=False)]
        left += [each for each in reversed(folders) if each != os.fsencode(aside)]
        files = [each for each in here if each.is_file(follow_symlinks=False)]
        sources += [source for each in files for source in found(each, root)]
        others += len(here) - len(folders) - len(files)
    return Walked(sources, closed, others)


def found(entry: os.DirEntry[bytes], root: Path) -> Iterator[Source]:
    """A file, unless it has gone meanwhile."""
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:
        return
    yield Source(below(root, entry.path), entry.path, status.st_size, status.st_mtime_ns)


def below(root: Path, place: bytes) -> str:
    """What is called like that which lies there."""
    return called(os.path.relpath(place, os.fsencode(root)))


def called(name: bytes) -> str:
    """The name of a file as a text. No two names are called the same."""
    try:
        text = name.decode()
    except UnicodeDecodeError:
        text = ""
    if text and text.isprintable() and INSIDE not in text:
        return text
    return f"{shown(os.fsdecode(name), limit=len(name))}~{hashlib.sha256(name).hexdigest()[:8]}"
