"""Compression: the bytes of a file as they were before, and the directory of a zip, which is looked
at before it is read into memory."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import struct
from typing import IO, cast

from examples.file_pipeline.unreadable import Bomb, Unreadable

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_COMMENT = 1 << 16
"""Bytes that may follow the end record."""
_ABSENT = 0xFFFFFFFF
"""Stands where a size is too large, and another record has it."""


def expanded(file: IO[bytes], format: str) -> IO[bytes]:
    """The bytes that were compressed as "gz", "bz2" or "xz"; those of another file as they are."""
    file.seek(0)
    if format == "gz":
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file))
    if format == "bz2":
        return cast("IO[bytes]", bz2.BZ2File(file))
    return cast("IO[bytes]", lzma.LZMAFile(file)) if format == "xz" else file


def check_directory(file: IO[bytes], most: int) -> None:
    """Raises Bomb if the directory of a zip has more than so many bytes, Unreadable if it has none.

    ``ZipFile`` reads all of it, whatever is said of the number of members.
    """
    size = directory_size(file)
    file.seek(0)
    if size > most:
        raise Bomb(f"the directory of a zip may have {most:,} bytes here. Got: {size:,}")


def directory_size(file: IO[bytes]) -> int:
    """The bytes of a zip's directory. Of several that are stated, the most."""
    length = file.seek(0, os.SEEK_END)
    file.seek(max(0, length - _COMMENT - _END.size - _LOCATOR.size - _END64.size))
    tail = file.read()
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise Unreadable("no readable zip: it has no directory at its end")
    size: int = _END.unpack_from(tail, at)[5]
    sizes = [0 if size == _ABSENT else size]
    locator = at - _LOCATOR.size
    if locator >= 0 and tail.startswith(b"PK\x06\x07", locator):
        before = max(0, locator - _END64.size)
        named: int = _LOCATOR.unpack_from(tail, locator)[2]
        file.seek(min(named, length))
        for record in (tail[before:locator], file.read(_END64.size)):
            if len(record) == _END64.size and record.startswith(b"PK\x06\x06"):
                sizes += _END64.unpack(record)[8:9]
    return min(length, max(sizes))
