"""The file pipeline: whatever is damaged, and however, is read or Unreadable, and never a crash."""

from __future__ import annotations

import random
import shutil
import zlib
from pathlib import Path

import msgspec
import pytest

from examples.file_pipeline.archives import listing, unpack
from examples.file_pipeline.documents import extract
from examples.file_pipeline.images import describe, thumbnail
from examples.file_pipeline.kinds import sniff
from examples.file_pipeline.unreadable import Unreadable
from tests.examples.pipeline_samples import ARCHIVES, DOCUMENTS, IMAGES

TIMES = 25


def damaged(data: bytes, chance: random.Random) -> bytes:
    """The data with a few bytes changed, lost or added, or cut short."""
    some = bytearray(data)
    if chance.random() < 0.2:
        return data[: chance.randrange(len(data))]
    for _ in range(chance.choice((1, 2, 5, 20))):
        at = chance.randrange(max(1, len(some)))
        match chance.randrange(4):
            case 0:
                some[at : at + 1] = chance.randbytes(1)
            case 1:
                some[at : at + 4] = chance.choice((b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"))
            case 2:
                del some[at : at + chance.randrange(9)]
            case _:
                some[at:at] = chance.randbytes(chance.randrange(9))
    return bytes(some)


@pytest.mark.parametrize("format", [*DOCUMENTS, *IMAGES, *ARCHIVES])
def test_what_is_damaged_is_read_or_unreadable(tmp_path: Path, format: str) -> None:
    path, out = tmp_path / "file", tmp_path / "out"
    chance = random.Random(zlib.crc32(format.encode()))
    whole = {**DOCUMENTS, **IMAGES, **ARCHIVES}[format]
    for _ in range(TIMES):
        path.write_bytes(damaged(whole, chance))
        reads = [lambda: sniff(path)]
        if format in DOCUMENTS:
            reads += [lambda: extract(path, format)]
        elif format in IMAGES:
            reads += [lambda: describe(path), lambda: thumbnail(path)]
        else:
            reads += [lambda: listing(path, format), lambda: unpack(path, format, out)]
        for read in reads:
            try:
                msgspec.msgpack.encode(read())
            except Unreadable as error:
                assert len(str(error).encode()) < 1_000
        shutil.rmtree(out, ignore_errors=True)
