"""Markup: the text of HTML and of XML, read in one pass, without a tree in memory."""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING, Any, Protocol
from xml.etree.ElementTree import XMLParser

import attrs

from examples.file_pipeline.texts import (
    PIECE,
    SAMPLE,
    Gathered,
    NoText,
    encoding_of,
    pieces_of,
    shown,
)
from examples.file_pipeline.unreadable import Alive, beat

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import IO

LINE = 1 << 16
"""Characters after which a line is handed on, though it has not ended."""

_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)


@attrs.frozen
class Tags:
    """Which elements of a language begin and end a line, hold no text, or stand for space."""

    blocks: frozenset[str]
    skipped: frozenset[str]
    spaces: frozenset[str] = frozenset()
    title: str | None = None
    """The one of ``skipped`` that holds the title."""


_LINES = """
    address article aside blockquote body br caption center dd details dialog dir div dl dt fieldset
    figcaption figure footer form frameset h1 h2 h3 h4 h5 h6 head header hr html legend li main menu
    nav ol optgroup option p pre section summary table tbody td tfoot th thead title tr ul
"""
_ASIDE = "iframe math noembed object script style svg template title"
HTML = Tags(frozenset(_LINES.split()), frozenset(_ASIDE.split()), title="title")
OPENDOCUMENT = Tags(
    frozenset(["h", "line-break", "list-item", "p", "page", "table-cell", "table-row"]),
    frozenset(["binary-data", "forms", "scripts", "tracked-changes"]),
    frozenset(["s", "tab"]),
)


class Parser(Protocol):
    """What takes bytes and tells a target of them."""

    def feed(self, data: bytes, /) -> object:
        """Take the next piece."""
        ...

    def close(self) -> object:
        """There are no more."""
        ...


@attrs.define
class Flow:
    """The target of a parser: text flows into ``into``, a line for each block, without the space
    that only sets the markup."""

    tags: Tags
    into: Gathered
    _title: str = ""
    _line: list[str] = attrs.field(factory=list)
    _length: int = 0
    _skipped: str = ""
    _deep: int = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        tag = local(tag)
        if self._deep:
            self._deep += 1
            return
        if tag in self.tags.blocks:
            self.end_line()
        elif tag in self.tags.spaces:
            self._line.append(" ")
        if tag in self.tags.skipped:
            self._skipped, self._deep = tag, 1

    def end(self, tag: str) -> None:
        """An element ends."""
        if self._deep:
            self._deep -= 1
        elif local(tag) in self.tags.blocks:
            self.end_line()

    def data(self, text: str) -> None:
        """Text stands here."""
        if not self._deep:
            self._line.append(text)
            self._length += len(text)
            if self._length > LINE:
                self.end_line(" ")
        elif self._skipped == self.tags.title:
            self._title = f"{self._title}{text}"[:LINE]

    @property
    def title(self) -> str | None:
        """The title, if there is one."""
        return shown(" ".join(self._title.split())) or None

    def end_line(self, end: str = "\n") -> None:
        """Hand on what was collected."""
        words = " ".join("".join(self._line).split())
        if words:
            self.into.add(words + end)
        self._line.clear()
        self._length = 0

    def comment(self, text: str) -> None:
        """Is no text."""

    def pi(self, target: str, data: str | None = None) -> None:
        """Is no text."""

    def close(self) -> None:
        """There is no more."""
        self.end_line()


def local(tag: str) -> str:
    """The name of an element without its namespace, in small letters."""
    return tag.rpartition("}")[2].lower()


def read_html(file: IO[bytes], into: Gathered, alive: Alive = None) -> str | None:
    """Gather the text of HTML, and return its title. There is no HTML that is wrong."""
    import lxml.html  # pyright: ignore[reportMissingTypeStubs]

    encoding = encoding_of_html(file.read(SAMPLE))
    file.seek(0)
    flow = Flow(HTML, into)
    parser: Any = lxml.html.HTMLParser(target=flow, encoding="utf-8")
    feed(parser, (each.encode("utf-8", "replace") for each in pieces_of(file, encoding)), alive)
    return flow.title


def read_xml(file: IO[bytes], tags: Tags, into: Gathered, alive: Alive = None) -> None:
    """Gather the text of XML. Raises ParseError for XML that is not well-formed."""
    feed(XMLParser(target=Flow(tags, into)), iter(lambda: file.read(PIECE), b""), alive)


def feed(parser: Parser, pieces: Iterable[bytes], alive: Alive) -> None:
    """Parse everything, piece by piece."""
    for piece in pieces:
        parser.feed(piece)
        beat(alive)
    parser.close()


def encoding_of_html(sample: bytes) -> str:
    """How HTML is encoded that begins like this: by its own word, or else by its bytes.

    As in every browser, what calls itself ISO 8859-1 or ASCII is windows-1252, and what says in
    ASCII that it is UTF-16 is not.
    """
    stated = _CHARSET.search(sample, 0, 4096)
    try:
        if stated is None or sample.startswith((codecs.BOM_UTF8, b"\xff\xfe", b"\xfe\xff")):
            return encoding_of(sample)
        name = codecs.lookup(stated[1].decode()).name
        if name.startswith(("utf-16", "utf-32")):
            return "utf-8"
        b"<".decode(name)  # there are codecs that are not for texts
    except (NoText, LookupError, UnicodeError):
        return "windows-1252"
    return "windows-1252" if name in ("iso8859-1", "ascii") else name
