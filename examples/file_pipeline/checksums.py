"""Checksums: what tells whether two files are the same."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import attrs

from examples.file_pipeline.unreadable import Alive, beat, opened

if TYPE_CHECKING:
    from pathlib import Path

PIECE = 1 << 20
"""Bytes that are read at a time."""


@attrs.frozen
class Digests:
    """Of all bytes of a file, and how many there are; digests in hexadecimal."""

    sha256: str
    blake2b: str
    size: int


def digests(path: Path, alive: Alive = None) -> Digests:
    """Read a file to its end. ``alive`` is called after each piece, to show that it goes on."""
    sha256, blake2b, size = hashlib.sha256(), hashlib.blake2b(), 0
    with opened(path) as file:
        while piece := file.read(PIECE):
            sha256.update(piece)
            blake2b.update(piece)
            size += len(piece)
            beat(alive)
    return Digests(sha256.hexdigest(), blake2b.hexdigest(), size)
