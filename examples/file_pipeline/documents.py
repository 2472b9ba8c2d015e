"""Documents: the text of a file, whatever it is written in.

The libraries are imported when the first file needs them. Each takes its time to come, and a
process that reads only images needs none of them.
"""

from __future__ import annotations

import logging
from typing import IO, TYPE_CHECKING

import attrs

from examples.file_pipeline.kinds import OPENDOCUMENTS, TEXTS
from examples.file_pipeline.markup import read_html
from examples.file_pipeline.office import (
    read_docx,
    read_epub,
    read_opendocument,
    read_pptx,
    read_xlsx,
    titled,
)
from examples.file_pipeline.texts import Details, Gathered, pieces_of
from examples.file_pipeline.unreadable import Alive, Unreadable, beat, opened, reading

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIMIT = 100_000
"""Characters that are kept of a document, unless it is said otherwise."""


@attrs.frozen
class Extracted:
    """The text of a document, or the beginning of it; ``characters`` counts all there are."""

    text: str
    characters: int
    pages: int | None
    title: str | None
    truncated: bool


def extract(path: Path, format: str, limit: int = LIMIT, alive: Alive = None) -> Extracted:
    """Read a document of a format that :func:`sniff` knows, and keep ``limit`` characters.

    ``alive`` is called after each page or piece, to show that it goes on. Raises Unreadable for a
    document that is damaged, encrypted, or not of this format.
    """
    read = READERS.get(format)
    if read is None:
        raise ValueError(f"format is one of {', '.join(sorted(READERS))}. Got: {format!r}")
    into = Gathered(limit)
    with opened(path) as file, reading(format):
        details = read(file, into, alive)
    return Extracted(into.text, into.characters, details.pages, details.title, into.truncated)


def read_text(file: IO[bytes], into: Gathered, alive: Alive) -> Details:
    """A text as it stands there."""
    for piece in pieces_of(file):
        into.add(piece)
        beat(alive)
    return Details()


def read_page(file: IO[bytes], into: Gathered, alive: Alive) -> Details:
    """A page of HTML."""
    return Details(title=read_html(file, into, alive))


def read_pdf(file: IO[bytes], into: Gathered, alive: Alive) -> Details:
    """A PDF, page by page. What is encrypted is not read, though some would open without asking."""
    from pypdf import PdfReader

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # it logs whatever it can put up with
    with PdfReader(file) as reader:
        if reader.is_encrypted:
            raise Unreadable("the PDF is encrypted")
        for page in reader.pages:
            into.add(page.extract_text() + "\n")
            beat(alive)
        title = reader.metadata.title if reader.metadata else None
        return Details(len(reader.pages), titled(str(title or "")))


READERS: dict[str, Callable[[IO[bytes], Gathered, Alive], Details]] = {
    **dict.fromkeys(["text", *TEXTS.values()], read_text),
    **dict.fromkeys(OPENDOCUMENTS.values(), read_opendocument),
    "html": read_page,
    "pdf": read_pdf,
    "epub": read_epub,
    "docx": read_docx,
    "xlsx": read_xlsx,
    "pptx": read_pptx,
}
"""Who reads what."""
