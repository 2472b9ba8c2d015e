"""Kinds: what a file is, told by what is in it and only then by its name.

The families say who reads it: what is a "document", an "image" or an "archive" here can be read by
the module of that name, and everything else is "other".
"""

from __future__ import annotations

import codecs
import os
import re
import stat
from typing import TYPE_CHECKING
from zipfile import ZipFile

import attrs

from examples.file_pipeline.compression import check_directory, expanded
from examples.file_pipeline.texts import shown
from examples.file_pipeline.unreadable import Unreadable, opened, reading

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path
    from typing import IO

HEAD = 8 << 10
"""Bytes from the beginning of a file that are looked at."""
BLOCK = 512
"""The size of a tar header."""
SMALL_DIRECTORY = 16 << 20
"""Bytes of a zip's directory that are read only to say what kind of zip it is."""


@attrs.frozen
class Kind:
    """What a file is, and ``why`` it is thought to be that.

    ``family`` is one of "document", "image", "archive" and "other".
    """

    family: str
    format: str
    why: str


MAGIC: Sequence[tuple[bytes, str, str]] = (
    (rb"\s*%PDF-\d", "document", "pdf"),
    (rb"\x89PNG\r\n\x1a\n", "image", "png"),
    (rb"\xff\xd8\xff", "image", "jpeg"),
    (rb"GIF8[79]a", "image", "gif"),
    (rb"RIFF....WEBP", "image", "webp"),
    (rb"II\*\0|MM\0\*|II\+\0\x08\0|MM\0\+\0\x08", "image", "tiff"),
    (rb"BM.{4}\0{4}.{4}[\x0c\x28\x34\x38\x40\x6c\x7c]\0{3}", "image", "bmp"),
    (rb"\0\0\x01\0[\x01-\xff]\0.{3}\0", "image", "ico"),
    (rb"....ftypavi[fs]", "image", "avif"),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51\0", "image", "jpeg2000"),
    (rb"P[4-6]\s+(#[^\n]*\n\s*)*\d+\s+(#[^\n]*\n\s*)*\d+\s", "image", "ppm"),
    (rb"8BPS\0\x01", "image", "psd"),
    (rb"PK(\x03\x04|\x05\x06)", "archive", "zip"),
    (rb"\x1f\x8b\x08", "archive", "gz"),
    (rb"BZh[1-9](1AY&SY|\x17rE8P\x90)", "archive", "bz2"),
    (rb"\xfd7zXZ\0", "archive", "xz"),
    (rb"\{\\rtf", "other", "rtf"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "other", "postscript"),
    (rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "other", "ole"),
    (rb"7z\xbc\xaf\x27\x1c", "other", "7z"),
    (rb"Rar!\x1a\x07", "other", "rar"),
    (rb"\x28\xb5\x2f\xfd", "other", "zstd"),
    (rb"\x04\x22\x4d\x18", "other", "lz4"),
    (rb"\x1f\x9d", "other", "compress"),
    (rb"MSCF\0{4}", "other", "cab"),
    (rb"!<arch>\n", "other", "ar"),
    (rb"\xed\xab\xee\xdb", "other", "rpm"),
    (rb"\x7fELF", "other", "elf"),
    (rb"\xca\xfe\xba\xbe..\0[\x2d-\x7f]", "other", "class"),
    (rb"\0asm", "other", "wasm"),
    (rb"..\r\n[\0-\x03]\0{3}", "other", "pyc"),
    (rb"SQLite format 3\0", "other", "sqlite"),
    (rb"\xde\x12\x04\x95|\x95\x04\x12\xde", "other", "mo"),
    (rb"\0\x01\0\0\0|OTTO|ttcf|wOF[F2]", "other", "font"),
    (rb"RIFF....WAVE|fLaC|OggS|ID3[\x02-\x04]|MThd|FORM....AIFF", "other", "audio"),
    (rb"....ftyp|\x1a\x45\xdf\xa3|RIFF....AVI ", "other", "video"),
)
"""How files begin, as patterns for bytes. The first that matches counts."""

CODE = "c cc cmake cpp css go h hpp java js lua php pl pm py pyi rb rs sh sql ts vim"
TEXTS = {
    ".md": "markdown",
    ".markdown": "markdown",
    ".rst": "rst",
    ".csv": "csv",
    ".tsv": "csv",
    ".json": "json",
    ".jsonl": "json",
    ".xml": "xml",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".toml": "toml",
    ".ini": "ini",
    ".html": "html",
    ".htm": "html",
    ".xhtml": "html",
    ".tex": "tex",
    **{f".{suffix}": "code" for suffix in CODE.split()},
}
"""What a text is, by the suffix of its name."""

OPENDOCUMENTS = {
    "application/vnd.oasis.opendocument.text": "odt",
    "application/vnd.oasis.opendocument.spreadsheet": "ods",
    "application/vnd.oasis.opendocument.presentation": "odp",
    "application/vnd.oasis.opendocument.graphics": "odg",
    "application/epub+zip": "epub",
}
"""What a zip with a member ``mimetype`` is."""

OFFICE = {"word/document.xml": "docx", "xl/workbook.xml": "xlsx", "ppt/presentation.xml": "pptx"}
"""What a zip with ``[Content_Types].xml`` and this member is."""

SPECIAL = (
    (stat.S_ISLNK, "a symbolic link"),
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a character device"),
    (stat.S_ISBLK, "a block device"),
)

_MAGIC = [(re.compile(pattern, re.DOTALL), family, format) for pattern, family, format in MAGIC]
_ASIDE = re.compile(r"\A\ufeff?\s*(<\?.*?\?>\s*|<!--.*?-->\s*|<!doctype[^>\[]*(\[.*?\]\s*)?>\s*)*",
                    re.DOTALL | re.IGNORECASE)  # fmt: skip
_DOCTYPE = re.compile(r"<!doctype\s+html", re.IGNORECASE)
_ELEMENT = re.compile(r"<(?:[A-Za-z_][\w.-]*:)?([A-Za-z_][\w.-]*)")
_ODD = re.compile("[\x00-\x06\x0e-\x1a\x1c-\x1f\x7f]")


def sniff(path: Path) -> Kind:
    """Say what a file is. Links and special files are never opened.

    Raises Unreadable for a file that is gone, or not for us to read. A damaged file is still of
    some kind; who reads it will notice.
    """
    try:
        status = os.lstat(path)
    except OSError as error:
        raise Unreadable(f"cannot be looked at: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        why = next((name for test, name in SPECIAL if test(status.st_mode)), "no regular file")
        return Kind("other", "special", why)
    with opened(path) as file:
        head = file.read(HEAD)
        if not head:
            return Kind("other", "empty", "it has no bytes")
        for pattern, family, format in _MAGIC:
            if pattern.match(head):
                return within(file, Kind(family, format, "by its first bytes"), path)
    if is_tar_header(head[:BLOCK]):
        return Kind("archive", "tar", "by the checksum of its first block")
    return text_kind(head, path.suffix.lower())


def within(file: IO[bytes], kind: Kind, path: Path) -> Kind:
    """A closer look at what may hold something else: zips and compressed files."""
    file.seek(0)
    if kind.format == "zip":
        return zip_kind(file, path.suffix)
    if kind.format in ("gz", "bz2", "xz"):
        try:
            with reading(kind.format), expanded(file, kind.format) as inner:
                block = inner.read(BLOCK)
        except Unreadable:
            return kind
        if is_tar_header(block):
            return Kind("archive", f"tar.{kind.format}", f"{kind.format} with a tar header in it")
    return kind


def zip_kind(file: IO[bytes], suffix: str) -> Kind:
    """What a zip is: an archive, or a document that is kept in one."""
    try:
        with reading("zip"):
            check_directory(file, SMALL_DIRECTORY)
            with ZipFile(file) as archive:
                names = set(archive.namelist())
                if "[Content_Types].xml" in names:
                    for name, format in OFFICE.items():
                        if name in names:
                            return Kind("document", format, f"zip with {name}")
                if "mimetype" in names:
                    with archive.open("mimetype") as member:
                        mime = member.read(100).decode("ascii", "replace").strip()
                    if found := OPENDOCUMENTS.get(mime.removesuffix("-template")):
                        return Kind("document", found, f"zip with mimetype {mime}")
    except Unreadable:
        return Kind("archive", "zip", "by its first bytes; its directory cannot be read")
    return Kind("archive", "zip", f"zip named {shown(suffix, 20)}" if suffix else "zip")


def is_tar_header(block: bytes) -> bool:
    """Whether a block has the checksum of a tar header, which is how old ones are told, too."""
    if len(block) < BLOCK or not any(block):
        return False
    stated = block[148:156].strip(b" \0")
    if not re.fullmatch(b"[0-7]{1,7}", stated):
        return False
    return int(stated, 8) == sum(block[:148]) + 8 * ord(" ") + sum(block[156:])


def text_kind(head: bytes, suffix: str) -> Kind:
    """What a file without magic is: a text of some format, or binary."""
    text, encoding = decoded(head)
    if text is None:
        return Kind("other", "binary", "it is no text, and begins like nothing that is known")
    aside = _ASIDE.match(text)
    root = _ELEMENT.match(text, aside.end()) if aside else None
    name = root[1].lower() if root else ""
    if name == "svg":
        return Kind("image", "svg", "by its first element")
    if name == "html" or (aside and _DOCTYPE.search(aside[0])):
        return Kind("document", "html", "by its first element")
    if format := TEXTS.get(suffix):
        return Kind("document", format, f"{encoding} text named {suffix}")
    if re.match(r"\ufeff?<\?xml\s", text):
        return Kind("document", "xml", "by its declaration")
    return Kind("document", "text", f"{encoding} text")


def decoded(head: bytes) -> tuple[str | None, str]:
    """The text that a file begins with, and its encoding; None if it is no text."""
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-32" if head.startswith(codecs.BOM_UTF32_LE) else "utf-16"
    else:
        encoding = "utf-8"
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        text, encoding = head.decode("latin-1"), "8-bit"
    odd = len(_ODD.findall(text))
    if "\0" in text or odd * 200 > len(text) or (odd and encoding == "8-bit"):
        return None, encoding
    return text, encoding
