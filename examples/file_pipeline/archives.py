"""Archives: what is in one, and how it is taken out so that no harm comes of it.

Zip, tar, and single files that are compressed. An archive may say what it likes: sizes are counted
while bytes come, nothing is written outside of the directory that was given, and only files are.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tarfile
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, cast
from zipfile import ZipFile

import attrs

from examples.file_pipeline.compression import check_directory, expanded
from examples.file_pipeline.limits import Limits, Meter, Metered
from examples.file_pipeline.texts import shown
from examples.file_pipeline.unreadable import Alive, Bomb, Unreadable, beat, opened, reading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Self
    from zipfile import ZipInfo

FORMATS = ("zip", "tar", "tar.gz", "tar.bz2", "tar.xz", "gz", "bz2", "xz")

PIECE = 1 << 18
"""Bytes that are taken out at a time."""
HEADER = 1 << 18
"""Bytes that the header of a member in a tar has at most: its name, and what else it is given."""
ENTRY = 512
"""Bytes that a member takes up in the directory of a zip, on average, at most."""
LONG_PART, LONG_PATH = 200, 2_000
"""Bytes of a name between two slashes, and of a whole path, with which any file system can do."""

LIMITS = Limits()
"""Those of an archive for which it is not said otherwise."""

_NAMES = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)
"""Members of a tar that only name the next one; the library reads them into memory."""
_UNSAFE = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")


@attrs.frozen
class Member:
    """What an archive says of one of its members.

    ``kind`` is "file", "directory", "link" or "other"; ``compressed`` is known of zips only.
    """

    name: str
    size: int
    compressed: int | None
    kind: str


@attrs.frozen
class Listing:
    """All members of an archive, in its order, and the ``total`` of their sizes."""

    members: list[Member]
    total: int


@attrs.frozen
class Item:
    """A member on its way out: its name as the archive has it, and what opens it.

    ``size`` is None if nobody says it.
    """

    name: str
    size: int | None
    compressed: int | None
    kind: str
    open: Callable[[], IO[bytes] | None]


def listing(path: Path, format: str, limits: Limits = LIMITS) -> Listing:
    """Say what is in an archive. Raises Bomb if it is more than the limits have, Unreadable if the
    archive is damaged."""
    check_format(format)
    members: list[Member] = []
    with opened(path) as file, reading(format):
        meter = Meter(limits, compressed=size_of(file))
        for item in items(file, format, meter):
            meter.next_member()
            size = item.size
            if size is None:
                size = sum(map(len, pieces(item, meter)))
            else:
                meter.add(size)
            members.append(Member(shown(item.name, LONG_PATH), size, item.compressed, item.kind))
    return Listing(members, sum(member.size for member in members))


def unpack(
    path: Path,
    format: str,
    directory: Path,
    limits: Limits = LIMITS,
    depth: int = 0,
    alive: Alive = None,
) -> list[str]:
    """Take the files out of an archive that lies in ``depth`` others, and return their paths below
    the directory, which is for this archive alone.

    It may be done again, after it was killed at any point, with the same result. If it is refused,
    the directory is left without what was in the archive. Of two members of one name the later
    counts. Links and special files are left out, as are empty directories. A name that no file can
    have is changed. ``alive`` is called after each piece.

    Raises Bomb if more comes out than the limits have, Unreadable if the archive is damaged,
    encrypted, or has members that lead out of it.
    """
    check_format(format)
    if depth >= limits.depth:
        raise Bomb(f"archives may lie {limits.depth} deep in each other. Got: {depth + 1}")
    directory.mkdir(parents=True, exist_ok=True)
    shelf = Shelf(directory)
    try:
        with opened(path) as file, reading(format):
            meter = Meter(limits, compressed=size_of(file))
            for item in items(file, format, meter):
                meter.next_member()
                if item.kind == "file":
                    shelf.put(item, meter, alive)
    except Unreadable:
        shelf.clear()
        raise
    finally:
        shelf.part.unlink(missing_ok=True)
    return list(shelf.files)


@attrs.define
class Shelf:
    """Where the files of an archive are put."""

    directory: Path
    files: dict[str, str] = attrs.field(factory=dict)
    """The names of the members, by the paths they were put at."""
    folders: set[str] = attrs.field(factory=set)

    @property
    def part(self) -> Path:
        """The file that is not complete yet. It lies beside the directory, so that it can have no
        member's name, and always has the same name, so that none is left over."""
        return self.directory.with_name(f".{self.directory.name}.part")

    def put(self, item: Item, meter: Meter, alive: Alive) -> None:
        """Write a file, and give it its name when all of it is there."""
        name = safe_path(item.name)
        parents = [str(parent) for parent in Path(name).parents[:-1]]
        if name in self.folders or not self.files.keys().isdisjoint(parents):
            raise Unreadable(f"a member is a file and a directory. Got: {shown(item.name)}")
        self.folders.update(parents)
        if len(self.folders) > meter.limits.members:
            raise Bomb(f"an archive may have {meter.limits.members:,} directories. Got: more")
        target = self.directory / name
        target.parent.mkdir(parents=True, exist_ok=True)
        size = 0
        with self.part.open("wb") as part:
            for piece in pieces(item, meter):
                size += part.write(piece)
                beat(alive)
        if item.size not in (None, size):
            raise Unreadable(f"a member ends before its time. Got: {shown(item.name)}")
        self.part.replace(target)
        self.files[name] = item.name

    def clear(self) -> None:
        """Take everything back."""
        for name in self.files:
            (self.directory / name).unlink(missing_ok=True)
        for folder in sorted(self.folders, reverse=True):
            with suppress(OSError):  # somebody else has put something there
                (self.directory / folder).rmdir()


def items(file: IO[bytes], format: str, meter: Meter) -> Iterator[Item]:
    """The members of an archive, in its order; each is to be taken out before the next is asked
    for."""
    if not meter.compressed:
        raise Unreadable(f"no readable {format}: it is empty")
    if format == "zip":
        return zip_items(file, meter.limits)
    if format.startswith("tar"):
        # What is skipped in a compressed tar has to be decompressed all the same.
        own = Meter(meter.limits, meter.compressed)
        return tar_items(Metered(expanded(file, format.removeprefix("tar.")), own))
    return iter([single_item(file, format)])


def zip_items(file: IO[bytes], limits: Limits) -> Iterator[Item]:
    """The members of a zip."""
    check_directory(file, limits.members * ENTRY)
    with ZipFile(file) as archive:
        for info in archive.infolist():
            yield Item(
                info.filename.replace("\\", "/"),
                info.file_size,
                info.compress_size,
                zip_kind(info),
                partial(open_zipped, archive, info),
            )


def open_zipped(archive: ZipFile, info: ZipInfo) -> IO[bytes]:
    """Open a member of a zip. Nobody is asked for a password."""
    if info.flag_bits & 1:
        raise Unreadable(f"a member is encrypted. Got: {shown(info.filename)}")
    return archive.open(info)


def zip_kind(info: ZipInfo) -> str:
    """What a member of a zip is."""
    mode = info.external_attr >> 16
    if info.is_dir() or stat.S_ISDIR(mode):
        return "directory"
    if stat.S_ISLNK(mode):
        return "link"
    return "file" if stat.S_IFMT(mode) in (0, stat.S_IFREG) else "other"


class Header(tarfile.TarInfo):
    """The header of a member in a tar."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> Self:
        """Read one. Raises Bomb for a name that would fill the memory."""
        header = super().frombuf(buf, encoding, errors)
        if header.type in _NAMES and header.size > HEADER:
            raise Bomb(f"what names a member may have {HEADER:,} bytes. Got: {header.size:,}")
        return header


def tar_items(stream: Metered) -> Iterator[Item]:
    """The members of a tar, which is read once, from its beginning to its end."""
    file = cast("IO[bytes]", stream)
    with stream.stream, tarfile.open(fileobj=file, mode="r|", tarinfo=Header) as archive:
        while (info := archive.next()) is not None:
            # They would be kept for when they are asked for again, and their names may be long.
            archive.members.clear()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
            yield Item(
                info.name,
                info.size if info.isfile() else 0,
                None,
                tar_kind(info),
                partial(archive.extractfile, info),
            )
        while stream.read(PIECE):  # whether all is well is said at the very end
            continue


def tar_kind(info: tarfile.TarInfo) -> str:
    """What a member of a tar is."""
    if info.isdir():
        return "directory"
    if info.issym() or info.islnk():
        return "link"
    return "file" if info.isfile() else "other"


def single_item(file: IO[bytes], format: str) -> Item:
    """What is in a compressed file. It is named as that is, without the suffix."""
    path = Path(file.name)
    named = path.suffix.lower() == f".{format}" and path.stem.strip(".")
    name = path.stem if named else f"{path.name}.out"
    return Item(name, None, None, "file", lambda: expanded(file, format))


def pieces(item: Item, meter: Meter) -> Iterator[bytes]:
    """The bytes of a member, counted."""
    opened = item.open()
    if opened is None:
        return
    with opened:
        while piece := opened.read(PIECE):
            meter.add(len(piece))
            yield piece


def safe_path(name: str) -> str:
    """Where a member is put below the directory. One that begins at the root is put there, too.

    Raises Unreadable if it leads out of the directory.
    """
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if not parts or ".." in parts:
        raise Unreadable(f"a member leads out of the archive. Got: {shown(name)}")
    path = "/".join(map(safe_part, parts))
    if len(path.encode()) > LONG_PATH:
        raise Unreadable(f"a member's path may have {LONG_PATH:,} bytes. Got: {shown(name)}")
    return path


def safe_part(part: str) -> str:
    """One name of a path. One that no file can have is changed, and no two to the same."""
    if len(part.encode("utf-8", "surrogatepass")) <= LONG_PART and not _UNSAFE.search(part):
        return part
    digest = hashlib.sha256(part.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{shown(part).encode()[: LONG_PART - 10].decode('utf-8', 'ignore')}~{digest}"


def check_format(format: str) -> None:
    """Raises ValueError for what is no archive here."""
    if format not in FORMATS:
        raise ValueError(f"format is one of {', '.join(FORMATS)}. Got: {format!r}")


def size_of(file: IO[bytes]) -> int:
    """How many bytes a file has."""
    return os.fstat(file.fileno()).st_size
