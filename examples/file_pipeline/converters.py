"""Converters: actors in processes of their own that read files with libraries of others.

Whatever a library does to a process it does to one of these. Each does one message at a time, and
the same again for the same message.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from actors import Actor, handles
from examples.file_pipeline.archives import Listing, listing, unpack
from examples.file_pipeline.chaos import Chaos
from examples.file_pipeline.checksums import Digests, digests
from examples.file_pipeline.documents import extract
from examples.file_pipeline.images import describe, thumbnail
from examples.file_pipeline.keeping import put, settle_all
from examples.file_pipeline.kinds import Kind, sniff
from examples.file_pipeline.languages import SAMPLE, Language, language_of
from examples.file_pipeline.pictures import ImageFacts
from examples.file_pipeline.unreadable import opened
from examples.file_pipeline.work import (
    Describe,
    Digest,
    Discard,
    Extract,
    ListMembers,
    MakeThumbnail,
    Members,
    Small,
    Sniff,
    TellLanguage,
    Text,
    Unpack,
    Unpacked,
)

BEGINNING = 200
"""Characters of a text that are told."""
SHOWN_MEMBERS = 20
"""Members of an archive that are named."""
SUFFIXES = {"image/webp": ".webp", "image/svg+xml": ".svg"}


class Converter(Actor):
    """Base of the converters; ``chaos`` is how often something happens to it, from 0 to 1."""

    def __init__(self, chaos: float = 0.0) -> None:
        if chaos:
            self.middleware = (Chaos(chaos),)


class Sniffer(Converter):
    """Looks at how a file begins."""

    @handles
    def sniff(self, msg: Sniff) -> Kind:
        return sniff(path_of(msg.place))


class DocumentReader(Converter):
    """Knows what is written in documents."""

    @handles
    def extract(self, msg: Extract) -> Text:
        found = extract(path_of(msg.place), msg.format, alive=self.heartbeat)
        put(Path(msg.into), found.text.encode())
        beginning = " ".join(found.text[:BEGINNING].split())
        return Text(
            msg.into, beginning, found.characters, found.truncated, found.pages, found.title
        )


class Linguist(Converter):
    """Tells languages apart."""

    @handles
    def tell(self, msg: TellLanguage) -> Language:
        with opened(Path(msg.file)) as file:
            # A character has four bytes at most, and the last one may be cut.
            return language_of(file.read(4 * SAMPLE).decode("utf-8", "ignore"))


class ImageReader(Converter):
    """Looks at images."""

    @handles
    def describe(self, msg: Describe) -> ImageFacts:
        return describe(path_of(msg.place))

    @handles
    def make_small(self, msg: MakeThumbnail) -> Small:
        small = thumbnail(path_of(msg.place))
        into = Path(msg.into + SUFFIXES[small.mime])
        put(into, small.data)
        return Small(str(into), small.mime)


class Archivist(Converter):
    """Takes archives apart."""

    @handles
    def list_members(self, msg: ListMembers) -> Members:
        return named(listing(path_of(msg.place), msg.format, msg.limits))

    @handles
    def unpack(self, msg: Unpack) -> list[Unpacked]:
        into = Path(msg.into)
        names = unpack(path_of(msg.place), msg.format, into, msg.limits, msg.depth, self.heartbeat)
        settle_all(into, names)
        return [Unpacked(name, (into / name).stat().st_size) for name in names]

    @handles
    def discard(self, msg: Discard) -> None:
        shutil.rmtree(msg.directory, ignore_errors=True)


class Digester(Converter):
    """Reads whatever it is."""

    @handles
    def digest(self, msg: Digest) -> Digests:
        return digests(path_of(msg.place), alive=self.heartbeat)


def path_of(place: bytes) -> Path:
    """A path as the operating system has it."""
    return Path(os.fsdecode(place))


def named(found: Listing) -> Members:
    """What a list of members comes to."""
    files = [each for each in found.members if each.kind == "file"]
    names = [each.name for each in files[:SHOWN_MEMBERS]]
    return Members(len(files), found.total, names)
