"""Work: what converters are asked for, and what they answer.

A file is named by where it lies. What is made of it is written to a file whose name is in the
message, so that it is the same however often the work is done. Messages and answers are kept in the
journal, so they are small: what is in a file stays in files.
"""

from __future__ import annotations

import attrs

from actors import Call
from examples.file_pipeline.checksums import Digests
from examples.file_pipeline.kinds import Kind
from examples.file_pipeline.languages import Language
from examples.file_pipeline.limits import Limits
from examples.file_pipeline.pictures import ImageFacts


@attrs.frozen
class Sniff(Call[Kind]):
    """What is it?"""

    place: bytes


@attrs.frozen
class Text:
    """What a document says: the file it was written to, all or the beginning of it, and how it
    begins."""

    file: str
    beginning: str
    characters: int
    truncated: bool
    pages: int | None
    title: str | None


@attrs.frozen
class Extract(Call[Text]):
    """Write the text of a document into a file."""

    place: bytes
    format: str
    into: str


@attrs.frozen
class TellLanguage(Call[Language]):
    """Which language is a text in that was written to a file?"""

    file: str


@attrs.frozen
class Describe(Call[ImageFacts]):
    """What is the image like?"""

    place: bytes


@attrs.frozen
class Small:
    """A thumbnail: where it was written, and what type of file that is."""

    file: str
    mime: str


@attrs.frozen
class MakeThumbnail(Call[Small]):
    """Write a small picture of the image into a file."""

    place: bytes
    into: str


@attrs.frozen
class Members:
    """How many files an archive says it has, of how many bytes, and the names of the first ones."""

    count: int
    bytes: int
    names: list[str]


@attrs.frozen
class ListMembers(Call[Members]):
    """What does the archive say is in it?"""

    place: bytes
    format: str
    limits: Limits


@attrs.frozen
class Unpacked:
    """A file that was taken out of an archive: its path below the directory, and its size."""

    name: str
    size: int


@attrs.frozen
class Unpack(Call[list[Unpacked]]):
    """Take the files out of an archive that lies in ``depth`` others."""

    place: bytes
    format: str
    into: str
    limits: Limits
    depth: int


@attrs.frozen
class Discard(Call[None]):
    """Take away what was unpacked."""

    directory: str


@attrs.frozen
class Digest(Call[Digests]):
    """Read all of it."""

    place: bytes
