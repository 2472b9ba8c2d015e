"""Office: the text of documents that are zips of XML."""

from __future__ import annotations

import posixpath
from contextlib import closing
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote
from xml.etree.ElementTree import fromstring
from zipfile import ZipFile

from examples.file_pipeline.compression import check_directory
from examples.file_pipeline.markup import OPENDOCUMENT, read_html, read_xml
from examples.file_pipeline.texts import Details, Gathered, shown
from examples.file_pipeline.unreadable import Alive, Bomb, Unreadable, beat

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from docx.blkcntnr import BlockItemContainer
    from pptx.shapes.base import BaseShape

META = "{urn:oasis:names:tc:opendocument:xmlns:meta:1.0}"
DUBLIN_CORE = "{http://purl.org/dc/elements/1.1/}"
CONTAINER = "{urn:oasis:names:tc:opendocument:xmlns:container}"
BOOK = "{http://www.idpf.org/2007/opf}"

DIRECTORY = 4 << 20
"""Bytes that the directory of a document has at most."""
CONTENT = 256 << 20
"""Bytes that a document has at most when all of it is unpacked."""
TREES = 64 << 20
"""Bytes of XML that a document has at most for a library that makes a tree of all of it. In memory
that is ten times as large."""
SMALL = 1 << 20
"""Bytes that a member which only tells of the others has at most."""
CELLS = 10_000_000
"""Cells of a workbook that are looked at. A sheet can say that it has a thousand times as many."""


def check_package(file: IO[bytes], trees: int = CONTENT) -> None:
    """Raises Bomb if more comes out of a document than any is thought to have, or more XML.

    ``ZipFile`` gives no more bytes of a member than its directory says, so that can be believed.
    """
    check_directory(file, DIRECTORY)
    with ZipFile(file) as package:
        sizes = [(member.filename, member.file_size) for member in package.infolist()]
    size = sum(size for _, size in sizes)
    if size > CONTENT:
        raise Bomb(f"a document may unpack to {CONTENT:,} bytes. Got: {size:,}")
    size = sum(size for name, size in sizes if name.lower().endswith((".xml", ".rels")))
    if size > trees:
        raise Bomb(f"a document may have {trees:,} bytes of XML. Got: {size:,}")
    file.seek(0)


def read_docx(file: IO[bytes], into: Gathered, alive: Alive) -> Details:
    """A document of Word: paragraphs and tables in their order, without headers and footnotes."""
    import docx

    check_package(file, TREES)
    document = docx.Document(file)
    for line in lines_of(document):
        into.add(line + "\n")
        beat(alive)
    return Details(title=titled(document.core_properties.title))


def lines_of(container: BlockItemContainer | Any) -> Iterator[str]:
    """The lines of whatever holds paragraphs and tables: a document, or a cell of a table."""
    from docx.text.paragraph import Paragraph

    for block in container.iter_inner_content():
        if isinstance(block, Paragraph):
            yield block.text
            continue
        last = None
        for row in block.rows:
            for cell in row.cells:
                if cell._tc is not last:  # one cell may span several
                    yield from lines_of(cell)
                last = cell._tc


def read_xlsx(file: IO[bytes], into: Gathered, alive: Alive) -> Details:
    """A workbook of Excel: the values as they were last calculated, a line for each row."""
    import openpyxl

    check_package(file)
    seen = 0
    with closing(openpyxl.load_workbook(file, read_only=True, data_only=True)) as workbook:
        for sheet in workbook.worksheets:
            sheet.reset_dimensions()  # what a sheet says of its size need not be true
            into.add(f"{sheet.title}\n")
            for row in sheet.iter_rows(values_only=True):
                seen += 1 + len(row)
                if seen > CELLS:
                    raise Bomb(f"a workbook may have {CELLS:,} cells, empty ones included")
                if values := [str(value) for value in row if value is not None]:
                    into.add("\t".join(values) + "\n")
                beat(alive)
        return Details(len(workbook.worksheets), titled(workbook.properties.title))


def read_pptx(file: IO[bytes], into: Gathered, alive: Alive) -> Details:
    """A presentation of PowerPoint: the texts of each slide, and its notes."""
    import pptx

    check_package(file, TREES)
    presentation = pptx.Presentation(file)
    for slide in presentation.slides:
        for text in texts_of(slide.shapes):
            into.add(text + "\n")
        notes = slide.notes_slide.notes_text_frame if slide.has_notes_slide else None
        if notes is not None:
            into.add(notes.text + "\n")
        beat(alive)
    return Details(len(presentation.slides), titled(presentation.core_properties.title))


def texts_of(shapes: Iterable[BaseShape]) -> Iterator[str]:
    """The texts of shapes, of tables among them, and of shapes in groups."""
    from pptx.shapes.autoshape import Shape
    from pptx.shapes.graphfrm import GraphicFrame
    from pptx.shapes.group import GroupShape

    for shape in shapes:
        if isinstance(shape, GroupShape):
            yield from texts_of(shape.shapes)
        elif isinstance(shape, GraphicFrame):
            if shape.has_table:
                for row in shape.table.rows:
                    yield "\t".join(cell.text for cell in row.cells)
        elif isinstance(shape, Shape):
            yield shape.text_frame.text


def read_opendocument(file: IO[bytes], into: Gathered, alive: Alive) -> Details:
    """A document of LibreOffice and others: text, sheets, slides or drawings."""
    check_package(file)
    with ZipFile(file) as package:
        names = set(package.namelist())
        if "META-INF/manifest.xml" in names:
            if b"encryption-data" in small(package, "META-INF/manifest.xml"):
                raise Unreadable("the document is encrypted")
        with package.open("content.xml") as content:
            read_xml(content, OPENDOCUMENT, into, alive)
        if "meta.xml" not in names:
            return Details()
        meta = fromstring(small(package, "meta.xml"))
    pages = None
    for statistic in meta.iter(f"{META}document-statistic"):
        stated = statistic.get(f"{META}page-count", statistic.get(f"{META}table-count", ""))
        pages = int(stated) if stated.isdecimal() and len(stated) < 10 else None
    return Details(pages, titled(meta.findtext(f".//{DUBLIN_CORE}title")))


def read_epub(file: IO[bytes], into: Gathered, alive: Alive) -> Details:
    """A book: its chapters, in the order of its spine."""
    check_package(file)
    with ZipFile(file) as package:
        container = fromstring(small(package, "META-INF/container.xml"))
        root = container.find(f".//{CONTAINER}rootfile")
        if root is None:
            raise Unreadable("no readable epub: its container names no root file")
        path = root.get("full-path", "")
        book = fromstring(small(package, path))
        items = {item.get("id"): item.get("href", "") for item in book.iter(f"{BOOK}item")}
        spine = [reference.get("idref") for reference in book.iter(f"{BOOK}itemref")]
        for chapter_id in dict.fromkeys(spine):
            href = items.get(chapter_id)
            if href is None:
                raise Unreadable("no readable epub: its spine names a chapter that is not there")
            name = posixpath.normpath(posixpath.join(posixpath.dirname(path), unquote(href)))
            with package.open(name) as chapter:
                read_html(chapter, into, alive)
    return Details(title=titled(book.findtext(f".//{DUBLIN_CORE}title")))


def small(package: ZipFile, name: str) -> bytes:
    """A member that only tells of the others."""
    with package.open(name) as member:
        return member.read(SMALL)


def titled(title: str | None) -> str | None:
    """A title as it is shown, if there is one."""
    return shown(" ".join(title.split())) or None if title else None
