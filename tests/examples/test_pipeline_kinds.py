"""The file pipeline: what a file is, what its bytes add up to, and what is said of one that cannot
be read."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import socket
import struct
import zipfile
from pathlib import Path

import msgspec
import pytest

from actors import Refusal
from examples.file_pipeline import documents
from examples.file_pipeline.checksums import Digests, digests
from examples.file_pipeline.compression import check_directory
from examples.file_pipeline.kinds import MAGIC, TEXTS, Kind, sniff
from examples.file_pipeline.texts import Gathered, NoText, encoding_of, plain, shown
from examples.file_pipeline.unreadable import Bomb, Unreadable, opened, reading
from tests.examples.pipeline_samples import (
    ARCHIVES,
    DOCUMENTS,
    ENGLISH,
    IMAGES,
    encrypted_pdf,
    opendocument,
    svg,
    tarred,
    zipped,
)


def kind_of(directory: Path, data: bytes, name: str = "file") -> tuple[str, str]:
    path = directory / name
    path.write_bytes(data)
    kind = sniff(path)
    assert kind.why
    return kind.family, kind.format


FAMILIES = {"document": DOCUMENTS, "image": IMAGES, "archive": ARCHIVES}


@pytest.mark.parametrize(
    ("family", "format"), [(family, format) for family, of in FAMILIES.items() for format in of]
)
def test_every_format_is_known_by_its_bytes_whatever_the_name(
    tmp_path: Path, family: str, format: str
) -> None:
    data = FAMILIES[family][format]
    assert kind_of(tmp_path, data) == (family, format)
    assert kind_of(tmp_path, data, "picture.png") == (family, format)


def test_each_family_is_what_its_module_reads() -> None:
    known = {format for _, family, format in MAGIC if family == "document"} | set(TEXTS.values())
    assert known <= set(documents.READERS)


@pytest.mark.parametrize("name", ["word", "xl", "ppt"])
def test_an_office_document_without_its_main_part_is_a_zip(tmp_path: Path, name: str) -> None:
    data = zipped({"[Content_Types].xml": "<x/>", f"{name}/styles.xml": "<x/>"})
    assert kind_of(tmp_path, data) == ("archive", "zip")


@pytest.mark.parametrize("name", ["lib.jar", "lib.whl", "app.apk", "a.zip"])
def test_what_is_a_zip_by_another_name_is_a_zip(tmp_path: Path, name: str) -> None:
    assert kind_of(tmp_path, zipped({"META-INF/MANIFEST.MF": "x"}), name) == ("archive", "zip")


def test_what_is_said_of_a_kind_can_be_written_down(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"a.\xff")).write_bytes(zipped({"a": "x"}))
    kind = sniff(tmp_path / os.fsdecode(b"a.\xff"))
    assert kind == Kind("archive", "zip", "zip named .\\xff")
    msgspec.json.encode(kind)


def test_a_template_is_a_document(tmp_path: Path) -> None:
    assert kind_of(tmp_path, opendocument("text-template")) == ("document", "odt")
    assert kind_of(tmp_path, opendocument("graphics")) == ("document", "odg")


def test_a_damaged_container_is_still_of_its_family(tmp_path: Path) -> None:
    assert kind_of(tmp_path, ARCHIVES["zip"][:60]) == ("archive", "zip")
    assert kind_of(tmp_path, ARCHIVES["tar.gz"][:14]) == ("archive", "gz")
    assert kind_of(tmp_path, ARCHIVES["tar.xz"][:20]) == ("archive", "xz")


def test_a_tar_of_old_is_known_by_its_checksum(tmp_path: Path) -> None:
    block = bytearray(tarred({"file.txt": b"x"})[:512])
    block[257:265] = bytes(8)
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    assert kind_of(tmp_path, bytes(block)) == ("archive", "tar")
    block[0] ^= 1
    assert kind_of(tmp_path, bytes(block)) == ("other", "binary")


@pytest.mark.parametrize(
    ("name", "text", "format"),
    [
        ("README.md", "# Actors", "markdown"),
        ("README.MD", "# Actors", "markdown"),
        ("table.csv", "a,b\n1,2", "csv"),
        ("data.json", "{}", "json"),
        ("play.py", "print()", "code"),
        ("part.html", "<p>only a part", "html"),
        ("no-suffix", "just words", "text"),
        ("no-suffix", "<?xml version='1.0'?><play/>", "xml"),
        ("page.txt", "<!-- so --><!DOCTYPE html><title>x</title>", "html"),
        ("page", "\ufeff<?xml version='1.0'?>\n<html xmlns='x'>", "html"),
        ("colours.txt", "\x1b[31mred\x1b[0m", "text"),
    ],
)
def test_texts_are_told_by_how_they_begin_and_then_by_name(
    tmp_path: Path, name: str, text: str, format: str
) -> None:
    assert kind_of(tmp_path, text.encode(), name) == ("document", format)


@pytest.mark.parametrize(
    "before",
    [
        "",
        "<?xml version='1.0'?>\n",
        "<!-- a > b -->",
        "<!DOCTYPE svg [<!ENTITY a 'b'>]>\n",
        "\ufeff",
    ],
)
def test_a_drawing_is_told_by_its_first_element(tmp_path: Path, before: str) -> None:
    assert kind_of(tmp_path, before.encode() + svg()) == ("image", "svg")
    named = before.encode() + svg().replace(b"<svg", b"<s:svg").replace(b"xmlns", b"xmlns:s")
    assert kind_of(tmp_path, named) == ("image", "svg")
    assert kind_of(tmp_path, before.encode() + b"<p>" + svg(), "a.html") == ("document", "html")


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32", "latin-1", "koi8-r"])
def test_a_text_is_one_in_any_encoding(tmp_path: Path, encoding: str) -> None:
    text = "Быть или не быть" if encoding == "koi8-r" else "Sein oder nicht sein, fällt"
    assert kind_of(tmp_path, text.encode(encoding)) == ("document", "text")


def test_a_character_cut_at_the_end_of_the_head_is_no_mistake(tmp_path: Path) -> None:
    assert kind_of(tmp_path, b"x" + "ä".encode() * 8192) == ("document", "text")


@pytest.mark.parametrize(
    ("data", "format"),
    [
        (b"", "empty"),
        (bytes(range(256)), "binary"),
        (b"caf\xe9\x01\x02", "binary"),
        (b"\x7fELF\x02\x01", "elf"),
        (b"7z\xbc\xaf\x27\x1c\0\x04", "7z"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "ole"),
        (b"\x28\xb5\x2f\xfd\x04", "zstd"),
        (b"{\\rtf1\\ansi hello}", "rtf"),
        (b"%!PS-Adobe-3.0", "postscript"),
        (b"SQLite format 3\0", "sqlite"),
    ],
)
def test_what_nobody_here_reads_is_other(tmp_path: Path, data: bytes, format: str) -> None:
    assert kind_of(tmp_path, data) == ("other", format)


def test_special_files_are_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # to open it would be to wait for ever
    (tmp_path / "link").symlink_to(tmp_path / "pipe")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        said = {name: sniff(tmp_path / name).why for name in ("pipe", "link", "loop", "socket")}
    assert said == {
        "pipe": "a named pipe",
        "link": "a symbolic link",
        "loop": "a symbolic link",
        "socket": "a socket",
    }
    assert sniff(Path("/dev/null")) == Kind("other", "special", "a character device")
    assert sniff(tmp_path) == Kind("other", "special", "a directory")


def test_a_file_that_is_gone_is_unreadable(tmp_path: Path) -> None:
    for read in (sniff, digests):
        with pytest.raises(Unreadable, match="No such file"):
            read(tmp_path / "gone")
    with pytest.raises(Unreadable, match="Not a directory"):
        sniff(Path("/dev/null/file"))


def test_a_zip_with_a_huge_directory_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "huge.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for number in range(200):
            archive.writestr(f"{number:0>100}", "")
    with path.open("rb") as file:
        check_directory(file, 40_000)
        assert file.tell() == 0
        with pytest.raises(Bomb, match="directory of a zip may have 20,000 bytes"):
            check_directory(file, 20_000)


def test_the_largest_of_the_sizes_that_a_zip_states_counts(tmp_path: Path) -> None:
    path, size = tmp_path / "two.zip", 5_000
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, 1, 1, size, 0)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 10_000, 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 1, 1, 10, 0, 0)
    path.write_bytes(b"PK\x03\x04".ljust(10_000, b"\0") + end64 + locator + end)
    with path.open("rb") as file:
        check_directory(file, size)
        with pytest.raises(Bomb, match="Got: 5,000"):
            check_directory(file, size - 1)


def test_checksums_are_those_of_all_bytes(tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 2 + b"end"
    (tmp_path / "file").write_bytes(data)
    beats: list[int] = []
    assert digests(tmp_path / "file", lambda: beats.append(1)) == Digests(
        hashlib.sha256(data).hexdigest(), hashlib.blake2b(data).hexdigest(), len(data)
    )
    assert len(beats) == 3
    (tmp_path / "empty").write_bytes(b"")
    assert digests(tmp_path / "empty").size == 0


def test_what_a_library_raises_is_unreadable_and_our_own_mistakes_are_not() -> None:
    with pytest.raises(Refusal, match="no readable thing: JSONDecodeError: "), reading("thing"):
        json.loads("{")
    with pytest.raises(Unreadable, match="KeyError"), reading("thing"):
        {}["x"]  # this line is none of the package's
    with pytest.raises(ValueError, match="format is one of .*Got: 'mp3'"):
        documents.extract(Path("x"), "mp3")


def test_a_mistake_in_the_package_is_not_taken_for_a_damaged_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(b"text")
    monkeypatch.setattr(documents, "pieces_of", None)
    with pytest.raises(TypeError):
        documents.extract(tmp_path / "file", "text")


def test_trouble_of_the_machine_is_not_the_files() -> None:
    with pytest.raises(OSError, match="disk is broken"), reading("thing"):
        raise OSError(errno.EIO, "disk is broken")
    with pytest.raises(MemoryError), reading("thing"):
        raise MemoryError
    with pytest.raises(Unreadable, match="OSError: truncated"), reading("thing"):
        raise OSError("truncated")
    with pytest.raises(Bomb), reading("thing"):
        raise Bomb("as it is")


def test_a_file_that_is_not_for_us_is_unreadable(monkeypatch: pytest.MonkeyPatch) -> None:
    def forbid(*_: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", forbid)
    with pytest.raises(Unreadable, match="Permission denied. Got: a\\\\udc00b"):
        opened(Path("a\udc00b"))


def test_texts_can_always_be_written_down() -> None:
    assert shown(os.fsdecode(b"a\xffb\n")) == "a\\xffb\\n"
    assert shown("\ud800") == "\\ud800"
    assert shown("x" * 300) == "x" * 197 + "..."
    assert plain("a\ud83d\ude00b\ud800\x00c\r\n") == "a\U0001f600b\ufffd c\n"
    for text in (shown(os.fsdecode(bytes(range(256)))), plain("".join(map(chr, range(0xE000))))):
        msgspec.json.encode(text)


def test_all_of_a_text_is_counted_and_the_beginning_kept() -> None:
    gathered = Gathered(5)
    assert not gathered.truncated
    for piece in ("abc", "def", "ghi"):
        gathered.add(piece)
    assert (gathered.text, gathered.characters, gathered.truncated) == ("abcde", 9, True)


def test_encodings_are_told_from_bytes() -> None:
    assert encoding_of(ENGLISH.encode("utf-8-sig")) == "utf-8-sig"
    assert encoding_of("hä".encode("utf-32")) == "utf-32"
    assert encoding_of("ä".encode()[:1]) == "utf-8"
    assert encoding_of(("Москва - столица России, город. " * 9).encode("koi8-r")) == "koi8_r"
    with pytest.raises(NoText):
        encoding_of(b"\xff\0\1\2")


def test_encrypted_files_are_of_their_kind(tmp_path: Path) -> None:
    assert kind_of(tmp_path, encrypted_pdf()) == ("document", "pdf")
