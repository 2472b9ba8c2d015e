"""The file pipeline: the text of documents, the language of it, and documents that have none."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import msgspec
import openpyxl
import pytest

from examples.file_pipeline import office
from examples.file_pipeline.documents import Extracted, extract
from examples.file_pipeline.languages import Language, language_of
from examples.file_pipeline.unreadable import Bomb, Unreadable
from tests.examples.pipeline_samples import (
    DOCUMENTS,
    ENGLISH,
    GERMAN,
    encrypted_pdf,
    epub,
    opendocument,
    pdf,
    zipped,
)


def text_of(directory: Path, data: bytes, format: str, limit: int = 100_000) -> Extracted:
    path = directory / "file"
    path.write_bytes(data)
    found = extract(path, format, limit)
    assert msgspec.json.decode(msgspec.json.encode(found), type=dict)["text"] == found.text
    return found


@pytest.mark.parametrize(
    ("format", "pages", "title"),
    [
        ("pdf", 2, "A play"),
        ("docx", None, "A play"),
        ("odt", 3, "A play"),
        ("ods", 3, "A play"),
        ("odp", 3, "A play"),
        ("epub", None, "A play"),
        ("html", None, "A play"),
        ("text", None, None),
    ],
)
def test_the_text_of_a_document_is_found(
    tmp_path: Path, format: str, pages: int | None, title: str | None
) -> None:
    found = text_of(tmp_path, DOCUMENTS[format], format)
    assert ENGLISH in found.text
    assert (found.pages, found.title, found.truncated) == (pages, title, False)
    assert found.characters == len(found.text)


def test_a_workbook_is_read_row_by_row(tmp_path: Path) -> None:
    found = text_of(tmp_path, DOCUMENTS["xlsx"], "xlsx")
    assert found.text == "Stalls\nrow\t1\t2.5\nBalcony\nTrue\n"
    assert (found.pages, found.title) == (2, "Seats")


def test_a_presentation_is_read_with_its_tables_groups_and_notes(tmp_path: Path) -> None:
    found = text_of(tmp_path, DOCUMENTS["pptx"], "pptx")
    assert found.text == "Actors\nin a table\nin a group\nin the notes\n"
    assert (found.pages, found.title) == (1, "A talk")


def test_a_document_of_word_is_read_with_its_tables(tmp_path: Path) -> None:
    text = text_of(tmp_path, DOCUMENTS["docx"], "docx").text
    assert text.startswith(f"Act one\n{ENGLISH}\nHamlet\n")
    assert "Yorick" in text


def test_what_was_deleted_is_no_text(tmp_path: Path) -> None:
    assert text_of(tmp_path, opendocument(), "odt").text == f"Act one\n{ENGLISH} Curtain.\n"


def test_text_beyond_the_limit_is_counted_and_not_kept(tmp_path: Path) -> None:
    found = text_of(tmp_path, pdf(ENGLISH, ENGLISH), "pdf", limit=10)
    assert found.text == ENGLISH[:10]
    assert (found.characters, found.truncated) == (2 * len(ENGLISH) + 2, True)


@pytest.mark.parametrize("format", sorted(DOCUMENTS))
def test_it_is_told_that_reading_goes_on(tmp_path: Path, format: str) -> None:
    (tmp_path / "file").write_bytes(DOCUMENTS[format])
    beats: list[int] = []
    extract(tmp_path / "file", format, alive=lambda: beats.append(1))
    assert beats


def test_html_is_text_without_its_markup(tmp_path: Path) -> None:
    page = (
        "<title> Act &amp; <b> one </title><style>p { }</style><script>if (a<b) '</p>'</script>"
        "<h1>Act&nbsp;one</h1><p>A  <b>bo</b>ld\nword<br>and<svg><title>no</title></svg> more"
    )
    found = text_of(tmp_path, page.encode(), "html")
    assert found.text == "Act one\nA bold word\nand more\n"
    assert found.title == "Act & <b> one"


@pytest.mark.parametrize(
    "page",
    [
        "<meta charset=utf-8><p>größer".encode(),
        "<p>größer".encode("utf-8-sig"),
        "<p>größer".encode("utf-16"),
        "<meta charset='iso-8859-1'><p>größer".encode("latin-1"),
        "<meta http-equiv=x content='text/html; charset=windows-1252'><p>größer".encode("cp1252"),
        "<meta charset=utf-16><p>größer".encode(),
        "<meta charset=no-such-thing><p>größer".encode("cp1252"),
        "<meta charset=rot13><p>größer".encode("cp1252"),
    ],
)
def test_html_is_decoded_as_a_browser_would(tmp_path: Path, page: bytes) -> None:
    assert text_of(tmp_path, page, "html").text == "größer\n"


def test_html_may_be_nested_as_deep_as_it_likes(tmp_path: Path) -> None:
    page = b"<div>" * 100_000 + b"deep" + b"</div>" * 100_000 + b"<p>after"
    assert text_of(tmp_path, page, "html").text == "deep\nafter\n"
    page = b"<svg>" + b"<g>" * 100_000 + b"deep" + b"</g>" * 100_000 + b"</svg><p>after"
    assert text_of(tmp_path, page, "html").text == "after\n"


def test_a_line_without_end_is_handed_on(tmp_path: Path) -> None:
    found = text_of(tmp_path, b"<p>" + b"word " * 100_000, "html", limit=100)
    assert found.characters == 500_001  # with the end of the line


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_a_text_is_decoded_whatever_it_is_written_in(tmp_path: Path, encoding: str) -> None:
    found = text_of(tmp_path, (GERMAN * 5).encode(encoding), "text")
    assert found.text == GERMAN * 5


def test_a_text_is_cut_between_characters_and_never_within(tmp_path: Path) -> None:
    text = "x" + "ä" * (1 << 18)
    found = text_of(tmp_path, text.encode(), "text", limit=1 << 20)
    assert found.text == text
    broken = "good\n" * 100_000 + "b\udcffd"
    found = text_of(tmp_path, broken.encode("utf-8", "surrogateescape"), "text", limit=1 << 20)
    assert found.text.endswith("b\ufffdd")


def test_what_has_no_characters_is_no_text(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="no text in any encoding"):
        text_of(tmp_path, bytes(range(256)), "text")
    assert text_of(tmp_path, b"", "text").text == ""


def test_what_is_encrypted_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="the PDF is encrypted"):
        text_of(tmp_path, encrypted_pdf(), "pdf")
    manifest = {"META-INF/manifest.xml": "<manifest><encryption-data/></manifest>"}
    with pytest.raises(Unreadable, match="the document is encrypted"):
        text_of(tmp_path, opendocument(**manifest), "odt")


BINARY = sorted(set(DOCUMENTS) - {"html", "text"})


@pytest.mark.parametrize("format", BINARY)
def test_a_document_cut_short_is_unreadable(tmp_path: Path, format: str) -> None:
    data = DOCUMENTS[format]
    for size in (0, 1, 10, len(data) // 2, len(data) - 30):
        with pytest.raises(Unreadable):
            text_of(tmp_path, data[:size], format)


@pytest.mark.parametrize("format", BINARY)
@pytest.mark.parametrize("other", [*BINARY, "html", "text"])
def test_a_document_of_another_format_is_unreadable_or_like_it(
    tmp_path: Path, format: str, other: str
) -> None:
    alike = {"odt", "ods", "odp"}
    if format == other or {format, other} <= alike:
        assert text_of(tmp_path, DOCUMENTS[other], format).text
        return
    with pytest.raises(Unreadable):
        text_of(tmp_path, DOCUMENTS[other], format)


@pytest.mark.parametrize("format", ["docx", "xlsx", "pptx", "odt", "epub"])
def test_a_document_without_one_of_its_parts_is_unreadable_or_read(
    tmp_path: Path, format: str
) -> None:
    with zipfile.ZipFile(io.BytesIO(DOCUMENTS[format])) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    for left_out in parts:
        some = {name: data for name, data in parts.items() if name != left_out}
        for data in (
            zipped(some),
            zipped({**some, left_out: b""}),
            zipped({**some, left_out: b"<"}),
        ):
            try:
                text_of(tmp_path, data, format)
            except Unreadable:
                pass


def test_a_chapter_is_read_once(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(epub())) as whole:
        parts = {name: whole.read(name) for name in whole.namelist()}
    again = b'<itemref idref="a"/>'
    parts["in/book.opf"] = parts["in/book.opf"].replace(again, again * 3)
    assert text_of(tmp_path, zipped(parts), "epub").text == f"{ENGLISH}\n"


def test_a_book_whose_spine_leads_nowhere_is_unreadable(tmp_path: Path) -> None:
    with pytest.raises(Unreadable, match="KeyError"):
        text_of(tmp_path, epub("two.xhtml"), "epub")
    for right, wrong, said in (
        (b'idref="a"', b"", "names a chapter that is not there"),
        (b"rootfile ", b"x ", "names no root file"),
    ):
        with zipfile.ZipFile(io.BytesIO(epub())) as whole:
            parts = {name: whole.read(name) for name in whole.namelist()}
        parts = {name: data.replace(right, wrong) for name, data in parts.items()}
        with pytest.raises(Unreadable, match=said):
            text_of(tmp_path, zipped(parts), "epub")


def test_a_document_that_unpacks_to_too_much_is_a_bomb(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(office, "CONTENT", 1 << 20)
    data = opendocument(**{"Pictures/huge": " " * (1 << 20)})
    with pytest.raises(Bomb, match="may unpack to 1,048,576 bytes"):
        text_of(tmp_path, data, "odt")
    with pytest.raises(Bomb, match="may unpack to 1,048,576 bytes"):
        text_of(tmp_path, zipped({"word/document.xml": bytes(1 << 21)}), "docx")
    monkeypatch.setattr(office, "TREES", 1 << 10)
    for format in ("docx", "pptx"):
        with pytest.raises(Bomb, match="may have 1,024 bytes of XML"):
            text_of(tmp_path, DOCUMENTS[format], format)


def test_entities_do_not_grow_without_end(tmp_path: Path) -> None:
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    content = f'<!DOCTYPE x [<!ENTITY l0 "ha">{laughs}]><x><p>&l9;</p></x>'
    with pytest.raises(Unreadable, match="amplification"):
        text_of(tmp_path, opendocument(**{"content.xml": content}), "odt")
    secret = tmp_path / "secret"
    secret.write_text("secret")
    content = f'<!DOCTYPE x [<!ENTITY e SYSTEM "{secret.as_uri()}">]><x><p>&e;</p></x>'
    with pytest.raises(Unreadable, match="undefined entity"):
        text_of(tmp_path, opendocument(**{"content.xml": content}), "odt")


def test_a_sheet_that_says_it_is_vast_is_not_read_cell_by_cell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    assert sheet is not None
    sheet["A1"], sheet["A2000"], sheet["XFD3"] = "first", "last", "far"
    out = io.BytesIO()
    workbook.save(out)
    workbook.close()
    assert text_of(tmp_path, out.getvalue(), "xlsx").text == "Sheet\nfirst\nfar\nlast\n"
    monkeypatch.setattr(office, "CELLS", 16_000)
    with pytest.raises(Bomb, match="may have 16,000 cells"):
        text_of(tmp_path, out.getvalue(), "xlsx")


def test_languages_are_told_by_their_texts() -> None:
    assert language_of(ENGLISH).code == "en"
    assert language_of(GERMAN).code == "de"
    assert language_of(GERMAN) == language_of(GERMAN)
    assert language_of("Быть или не быть, вот в чём вопрос. Достойно ли смиряться").code == "ru"
    assert 0.5 < language_of(ENGLISH).confidence <= 1


@pytest.mark.parametrize("text", ["", "short", "1 2 3 4 5 6 7 8 9 " * 50, "\ufffd" * 100])
def test_too_little_text_is_in_no_language(text: str) -> None:
    assert language_of(text) == Language("und", 0.0)


def test_what_looks_like_no_language_is_in_none() -> None:
    assert language_of("xqz wvk qqj zzx kkw vvq jxq " * 3).code in ("und", "zxx")
