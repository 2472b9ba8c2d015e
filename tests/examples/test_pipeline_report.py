"""The file pipeline: the report, whatever the files are called."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import msgspec
import pytest

from examples.file_pipeline import report
from examples.file_pipeline.report import (
    MIMES,
    PAGE,
    UNDONE,
    Entry,
    Summary,
    amount,
    duration,
    read_summary,
    summarize,
    write_html,
    write_json,
)

HOSTILE = [
    "</script><script>alert(1)</script>.txt",
    "<!-- <script> -->",
    "<img src=x onerror=alert(1)>",
    "\" onmouseover='alert(1)'",
    os.fsdecode(b"caf\xe9\xff.png"),
    "\ud800 \udfff",
    "two\nlines\r\x00\x1b[31m\u2028\u2029",
    "{{entries}} {{title}} \\1 %s",
    "&lt;b&gt;",
    "x" * 10_000,
]
STATUSES = ("done", "refused", "failed")


def entries() -> list[Entry]:
    hostile = [
        Entry(
            path=name,
            size=100,
            family="document",
            format=name[:20],
            status=STATUSES[at % 3],
            reason=name,
            facts={name: f"{name}\n{name}"},
            thumbnail=f"thumbnails/{at}.png" if at % 2 else None,
            mime="image/png" if at % 4 == 1 else name,
            parent=name,
        )
        for at, name in enumerate(HOSTILE)
    ]
    return [Entry("a.txt", 1_500, "document", "text", "done", seconds=0.12345), *hostile]


def summary(of: list[Entry]) -> Summary:
    return summarize(of, 1_700_000_000.0, 1_700_000_192.0, {"documents": 2, "<b>": 1})


class Page(HTMLParser):
    """What a browser would find in a page."""

    def __init__(self) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.inside = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.inside = dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        self.inside = ""

    def handle_data(self, data: str) -> None:
        self.texts[self.inside] = self.texts.get(self.inside, "") + data


def page_of(directory: Path, of: list[Entry], title: str = "Files") -> Page:
    write_html(of, summary(of), directory / "report.html", title)
    assert [each.name for each in directory.iterdir()] == ["report.html"]
    page = Page()
    page.feed((directory / "report.html").read_bytes().decode("utf-8"))
    page.close()
    return page


def test_the_summary_adds_up() -> None:
    found = summary(entries())
    assert (found.files, found.bytes) == (11, 1_500)
    assert found.statuses == {"done": 5, "refused": 3, "failed": 3}
    assert found.families == {"document": 11}
    assert msgspec.json.decode(msgspec.json.encode(Summary(0, 1, 2, 3, {}, {}, {}, {})))
    assert summarize([], 0.0, 1.0, {}, others=4).others == 4


def test_json_has_all_that_is_known_of_every_file(tmp_path: Path) -> None:
    every = entries()
    write_json(every, summary(every), tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text("ascii")
    found = msgspec.json.decode(text)  # which takes no halves of characters
    assert found["summary"]["files"] == len(found["entries"]) == 11
    assert found["entries"][0]["seconds"] == 0.12345
    assert found["entries"][5]["path"] == "caf\\xe9\\xff.png"
    assert found["entries"][2]["thumbnail"] == "thumbnails/1.png"
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]
    told = read_summary(tmp_path / "report.json")
    assert (told.files, told.statuses, told.ended) == (11, summary(every).statuses, 1_700_000_192.0)


def test_without_files_there_is_a_report_too(tmp_path: Path) -> None:
    write_json([], summary([]), tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())["entries"] == []
    (tmp_path / "report.json").unlink()
    assert json.loads(page_of(tmp_path, []).texts["entries"]) == []


def test_the_page_is_whole_in_itself(tmp_path: Path) -> None:
    page = page_of(tmp_path, entries())
    assert not [tag for tag, _ in page.elements if tag in ("img", "link", "iframe", "base")]
    assert not [attrs for _, attrs in page.elements if "src" in attrs or "href" in attrs]
    (policy,) = [attrs["content"] for _, attrs in page.elements if "http-equiv" in attrs]
    assert policy is not None and policy.startswith("default-src 'none'; img-src data:;")
    assert "http" not in PAGE.read_text("utf-8").replace("http-equiv", "")


def test_no_name_becomes_markup(tmp_path: Path) -> None:
    page = page_of(tmp_path, entries(), title=HOSTILE[0])
    scripts = [attrs for tag, attrs in page.elements if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "entries"}, {}]
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]
    rows: list[list[Any]] = json.loads(page.texts["entries"])
    assert [row[0][:5] for row in rows[1:6]] == ["</scr", "<!-- ", "<img ", '" onm', "caf\\x"]
    assert "<" not in page.texts["entries"]
    assert page.texts["title"] == HOSTILE[0]
    assert page.texts["h1"] == HOSTILE[0]


def pictured(directory: Path, count: int, size: int) -> list[list[Any]]:
    """The rows of a report of images that have thumbnails of that size."""
    (directory / "thumbnails").mkdir()
    images = [
        Entry(f"{at}.png", 1, "image", "png", "done", thumbnail=f"thumbnails/{at}", mime=MIMES[0])
        for at in range(count)
    ]
    for image in images:
        (directory / str(image.thumbnail)).write_bytes(b"x" * size)
    write_html(images, summary(images), directory / "report.html")
    page = Page()
    page.feed((directory / "report.html").read_text("utf-8"))
    rows: list[list[Any]] = json.loads(page.texts["entries"])
    return rows


def test_pictures_are_in_the_page(tmp_path: Path) -> None:
    rows = pictured(tmp_path, 2, 5)
    assert [base64.b64decode(row[10]) for row in rows] == [b"xxxxx"] * 2
    assert [row[9] for row in rows] == [MIMES[0]] * 2


def test_there_are_no_more_of_them_than_a_page_can_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(report, "PICTURES", 12)
    rows = pictured(tmp_path, 4, 5)
    assert [row[10] is not None for row in rows] == [True, True, False, False]
    assert [row[9] for row in rows] == [MIMES[0], MIMES[0], None, None]


def test_only_pictures_are_shown_as_such_and_only_those_that_are_there(tmp_path: Path) -> None:
    (tmp_path / "thumbnails").mkdir()
    for at in (1, 3, 5, 7):
        (tmp_path / "thumbnails" / f"{at}.png").write_bytes(b"\x89PNG")
    write_html(entries(), summary(entries()), tmp_path / "report.html")
    page = Page()
    page.feed((tmp_path / "report.html").read_text("utf-8"))
    rows: list[list[Any]] = json.loads(page.texts["entries"])
    assert [at - 1 for at, row in enumerate(rows) if row[9] is not None] == [1, 5]
    assert [row[10] is not None for row in rows] == [row[9] is not None for row in rows]


def test_what_was_left_alone_is_told(tmp_path: Path) -> None:
    for others, told in ((0, False), (1_234, True)):
        found = summarize([], 0.0, 1.0, {}, others)
        write_html([], found, tmp_path / "report.html")
        said = "links and special files left alone: 1,234" in (tmp_path / "report.html").read_text()
        assert said is told


def test_the_script_is_the_one_that_the_page_allows(tmp_path: Path) -> None:
    page = page_of(tmp_path, entries())
    (policy,) = [attrs["content"] for _, attrs in page.elements if "http-equiv" in attrs]
    assert policy is not None
    (allowed,) = re.findall("script-src 'sha256-([^']+)'", policy)
    script = page.texts["script"]
    assert base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() == allowed


def test_where_no_script_may_run_the_files_that_are_not_done_are_listed(tmp_path: Path) -> None:
    some = [Entry(f"{at}.txt", 1, "other", "binary", "failed", "why") for at in range(UNDONE + 9)]
    write_html(some, summary(some), tmp_path / "report.html")
    static = (tmp_path / "report.html").read_text("utf-8").partition('id="entries"')[0]
    inside = static.partition("<noscript>")[2].partition("</noscript>")[0]
    assert inside.count("<tr>") == UNDONE + 1
    assert "<td>0.txt</td><td>failed</td><td>why</td>" in inside
    assert "and 9 more" in inside
    assert '<th scope="row">other</th><td class="n">209</td>' in static


def test_a_report_that_cannot_be_finished_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    wrong: Any = [Entry("a", 1, "other", "x", "done", facts={"fact": object()})]  # type: ignore[dict-item]
    with pytest.raises(TypeError):
        write_html(wrong, summary([]), path)
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_figures_are_short() -> None:
    assert [amount(each) for each in (0, 999, 1_000, 1_500_000, 2e15)] == [
        "0 bytes",
        "999 bytes",
        "1.0 kB",
        "1.5 MB",
        "2,000.0 TB",
    ]
    assert [duration(each) for each in (-1, 0.06, 4.61, 59.4, 59.94, 192, 7_290)] == [
        "0 ms",
        "60 ms",
        "4.6 s",
        "59 s",
        "1 min 0 s",
        "3 min 12 s",
        "2 h 1 min",
    ]
