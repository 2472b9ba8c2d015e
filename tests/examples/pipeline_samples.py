"""Small files of every format, made by the bytes."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Mapping

import docx
import openpyxl
import pptx
from PIL import Image
from pptx.util import Inches
from pypdf import PdfReader, PdfWriter

ENGLISH = (
    "The understudy steps in when an actor falls, and the show goes on as if nothing had been."
)
GERMAN = (
    "Wenn ein Schauspieler fällt, springt die Zweitbesetzung ein, und die Vorstellung geht weiter."
)


def pdf(*pages: str, title: str = "A play") -> bytes:
    """A PDF of one line a page."""
    kids = " ".join(f"{4 + 2 * at} 0 R" for at in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for at, page in enumerate(pages):
        stream = f"BT /F1 12 Tf 72 720 Td ({page}) Tj ET"
        resources = "/Resources << /Font << /F1 3 0 R >> >> /MediaBox [0 0 612 792]"
        objects += [
            f"<< /Type /Page /Parent 2 0 R {resources} /Contents {5 + 2 * at} 0 R >>",
            f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream",
        ]
    objects.append(f"<< /Title ({title}) >>")
    out, offsets = bytearray(b"%PDF-1.4\n"), []
    for number, each in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{each}\nendobj\n".encode()
    start = len(out)
    out += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n".encode()
    for offset in offsets:
        out += f"{offset:010} 00000 n \n".encode()
    out += f"trailer << /Size {len(objects) + 1} /Root 1 0 R /Info {len(objects)} 0 R >>\n".encode()
    return bytes(out + f"startxref\n{start}\n%%EOF\n".encode())


def encrypted_pdf() -> bytes:
    """A PDF that asks for a password."""
    out = io.BytesIO()
    with PdfReader(io.BytesIO(pdf(ENGLISH))) as reader, PdfWriter(clone_from=reader) as writer:
        writer.encrypt("secret", algorithm="RC4-128")
        writer.write(out)
    return out.getvalue()


def word() -> bytes:
    """A docx with a heading, a paragraph, and a table with a table in it."""
    document = docx.Document()
    document.core_properties.title = "A play"
    document.add_heading("Act one")
    document.add_paragraph(ENGLISH)
    table = document.add_table(1, 2)
    table.cell(0, 0).text = "Hamlet"
    table.cell(0, 1).add_table(1, 1).cell(0, 0).text = "Yorick"
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def excel() -> bytes:
    """An xlsx of two sheets."""
    workbook = openpyxl.Workbook()
    workbook.properties.title = "Seats"
    sheet = workbook.active
    assert sheet is not None
    sheet.title = "Stalls"
    sheet.append(["row", 1, None, 2.5])
    workbook.create_sheet("Balcony").append([True])
    out = io.BytesIO()
    workbook.save(out)
    workbook.close()
    return out.getvalue()


def powerpoint() -> bytes:
    """A pptx of a slide with a title, a table, a group and notes."""
    presentation = pptx.Presentation()
    presentation.core_properties.title = "A talk"
    slide = presentation.slides.add_slide(presentation.slide_layouts[5])
    slide.shapes.title.text = "Actors"
    place = (Inches(1), Inches(1), Inches(2), Inches(1))
    slide.shapes.add_table(1, 1, *place).table.cell(0, 0).text = "in a table"
    group = slide.shapes.add_group_shape()
    group.shapes.add_textbox(*place).text_frame.text = "in a group"
    slide.notes_slide.notes_text_frame.text = "in the notes"
    out = io.BytesIO()
    presentation.save(out)
    return out.getvalue()


def zipped(members: Mapping[str, str | bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """A zip."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return out.getvalue()


def opendocument(kind: str = "text", **more: str) -> bytes:
    """A document of LibreOffice."""
    office = "urn:oasis:names:tc:opendocument:xmlns:"
    content = (
        f'<o:document-content xmlns:o="{office}office:1.0" xmlns:t="{office}text:1.0"><o:body>'
        f"<t:h>Act one</t:h>\n<t:p>{ENGLISH}<t:s/>Curtain.</t:p>"
        "<t:tracked-changes><t:p>gone</t:p></t:tracked-changes></o:body></o:document-content>"
    )
    meta = (
        f'<o:document-meta xmlns:o="{office}office:1.0" xmlns:m="{office}meta:1.0" '
        'xmlns:d="http://purl.org/dc/elements/1.1/"><o:meta><d:title>A  play</d:title>'
        '<m:document-statistic m:page-count="3"/></o:meta></o:document-meta>'
    )
    mime = f"application/vnd.oasis.opendocument.{kind}"
    return zipped({"mimetype": mime, "content.xml": content, "meta.xml": meta, **more})


def epub(href: str = "one%20.xhtml") -> bytes:
    """A book of one chapter."""
    container = (
        '<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>'
        '<rootfile full-path="in/book.opf"/></rootfiles></container>'
    )
    book = (
        '<package xmlns="http://www.idpf.org/2007/opf" xmlns:d="http://purl.org/dc/elements/1.1/">'
        f'<metadata><d:title>A play</d:title></metadata><manifest><item id="a" href="{href}"/>'
        '</manifest><spine><itemref idref="a"/></spine></package>'
    )
    chapter = f"<html><head><title>no</title></head><body><p>{ENGLISH}</p></body></html>"
    return zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": container,
            "in/book.opf": book,
            "in/one .xhtml": chapter,
        }
    )


def image(
    format: str, mode: str = "RGB", size: tuple[int, int] = (20, 10), **options: object
) -> bytes:
    """An image, red on the left and blue on the right."""
    out = io.BytesIO()
    with Image.new("RGB", size, "red") as made:
        made.paste("blue", (size[0] // 2, 0, *size))
        with made.convert(mode) as converted:
            converted.save(out, format, **options)
    return out.getvalue()


def animation(format: str) -> bytes:
    """An image of three frames, of which the first is red."""
    out = io.BytesIO()
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "green", "blue")]
    frames[0].save(out, format, save_all=True, append_images=frames[1:])
    return out.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """A PNG that says it is of that size, and has next to no pixels."""

    def chunk(name: bytes, data: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + check

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 1000)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def psd() -> bytes:
    """An image of Photoshop, without layers, red on the left and blue on the right."""
    header = struct.pack(">4sH6xHIIHH", b"8BPS", 1, 3, 10, 20, 8, 3)
    red, blue = b"\xff" * 10 + b"\0" * 10, b"\0" * 10 + b"\xff" * 10
    return header + bytes(4 * 3 + 2) + red * 10 + bytes(200) + blue * 10


def svg(inside: str = '<path d="M0 0h9v9z"/>', size: str = 'width="24" height="12"') -> bytes:
    """A drawing."""
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{inside}</svg>'.encode()


def tarred(
    members: Mapping[str, bytes] | None = None,
    *infos: tarfile.TarInfo,
    mode: str = "w",
    format: int = tarfile.PAX_FORMAT,
) -> bytes:
    """A tar of files, and of members that have no data."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode, format=format) as archive:  # type: ignore[call-overload]
        for name, data in (members or {}).items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
        for info in infos:
            archive.addfile(info)
    return out.getvalue()


def tar_member(name: str, type: bytes, linkname: str = "") -> tarfile.TarInfo:
    """A member of a tar that is no file."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = type, linkname
    return info


COMPRESS: dict[str, Callable[[bytes], bytes]] = {
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
_FILES = {"one.txt": b"one", "in/two.txt": b"two"}

DOCUMENTS: dict[str, bytes] = {
    "pdf": pdf(ENGLISH, "second page"),
    "docx": word(),
    "xlsx": excel(),
    "pptx": powerpoint(),
    "odt": opendocument(),
    "ods": opendocument("spreadsheet"),
    "odp": opendocument("presentation"),
    "epub": epub(),
    "html": f"<!DOCTYPE html><title>A play</title><p>{ENGLISH}".encode(),
    "text": ENGLISH.encode(),
}
IMAGES: dict[str, bytes] = {
    "png": image("PNG", "RGBA"),
    "jpeg": image("JPEG"),
    "gif": image("GIF"),
    "webp": image("WEBP"),
    "tiff": image("TIFF"),
    "bmp": image("BMP"),
    "ico": image("ICO", size=(16, 16)),
    "avif": image("AVIF"),
    "jpeg2000": image("JPEG2000"),
    "ppm": image("PPM"),
    "psd": psd(),
    "svg": svg(),
}
ARCHIVES: dict[str, bytes] = {
    "zip": zipped(_FILES),
    "tar": tarred(_FILES),
    **{f"tar.{name}": compress(tarred(_FILES)) for name, compress in COMPRESS.items()},
    **{name: compress(b"one") for name, compress in COMPRESS.items()},
}
