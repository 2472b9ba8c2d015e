"""Texts: how bytes become one, which characters it may have, and how much of it is kept.

Whatever leaves this package as a ``str`` can be written down as UTF-8. Names of files, members of
archives and what libraries find may have lone surrogates, and those are shown as what they were.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import IO

PIECE = 1 << 18
"""Bytes that are read and decoded at a time."""
SAMPLE = 1 << 16
"""Bytes from the beginning of a file that are looked at to guess its encoding."""
SHOWN = 200
"""Characters of somebody else's text that a message, a title or a tag has at most."""

UNLIKELY = 0.4
"""How odd a text may look, from 0 to 1, that an encoding makes of bytes."""

_BINARY = re.compile(b"[\0-\x06\x0e-\x1a\x1c-\x1f]")
_SURROGATES = re.compile("[\ud800-\udfff]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f]+")
_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""The longer ones first: UTF-32 begins as UTF-16 does."""


class NoText(ValueError):
    """No encoding makes a text of these bytes."""


@attrs.define
class Gathered:
    """A text that grows piece by piece. All of it is counted, and ``limit`` characters are kept."""

    limit: int
    characters: int = 0
    kept: list[str] = attrs.field(factory=list)

    def add(self, text: str) -> None:
        """Take the next piece."""
        text = plain(text)
        room = self.limit - self.characters
        if room > 0:
            self.kept.append(text[:room])
        self.characters += len(text)

    @property
    def text(self) -> str:
        """What was kept."""
        return "".join(self.kept)

    @property
    def truncated(self) -> bool:
        """Whether that is not all."""
        return self.characters > self.limit


@attrs.frozen
class Details:
    """What a document has besides its text, if it says so. A slide and a sheet are pages."""

    pages: int | None = None
    title: str | None = None


def plain(text: str) -> str:
    """The text as one that can be written down: no control characters, and no halves of others."""
    if _SURROGATES.search(text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return _CONTROLS.sub(" ", text.replace("\r\n", "\n"))


def shown(name: str, limit: int = SHOWN) -> str:
    """A name or message in one line; bytes that are no UTF-8 are shown as ``\\xff``."""
    if len(name) > limit:
        name = f"{name[: limit - 3]}..."
    try:
        name = name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # halves of characters that were never bytes
        name = name.encode("utf-8", "backslashreplace").decode("utf-8")
    if name.isprintable():
        return name
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in name)


def encoding_of(sample: bytes) -> str:
    """How the text is encoded that begins like this. Raises NoText if it is none."""
    for bom, encoding in _BOMS:
        if sample.startswith(bom):
            return encoding
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return guessed(sample)
    return "utf-8"


def guessed(sample: bytes) -> str:
    """The best guess for what is not UTF-8. Raises NoText for what looks like no text at all."""
    if _BINARY.search(sample):
        raise NoText("it is no text in any encoding that is known")
    from charset_normalizer import from_bytes  # takes its time to import, and is seldom needed

    best = from_bytes(sample[:SAMPLE], threshold=UNLIKELY).best()
    return best.encoding if best is not None else "windows-1252"


def pieces_of(file: IO[bytes], encoding: str | None = None) -> Iterator[str]:
    """The text of a file, piece by piece. What cannot be decoded is shown as U+FFFD.

    Raises NoText if no encoding is given, and none can be guessed.
    """
    piece = file.read(PIECE)
    decoder = codecs.getincrementaldecoder(encoding or encoding_of(piece))("replace")
    while piece:
        yield decoder.decode(piece)
        piece = file.read(PIECE)
    yield decoder.decode(b"", final=True)
