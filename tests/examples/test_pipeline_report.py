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

from examples.file_pipeline.report import (
    PAGE,
    UNDONE,
    Entry,
    Summary,
    amount,
    duration,
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
            thumbnail=b"\x89PNG" if at % 2 else None,
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
    msgspec.json.encode(Entry("a", 1, "image", "png", "done", thumbnail=b"\xff", mime="image/png"))


def test_json_has_all_that_is_known_of_every_file(tmp_path: Path) -> None:
    every = entries()
    write_json(every, summary(every), tmp_path / "report.json")
    text = (tmp_path / "report.json").read_text("ascii")
    found = msgspec.json.decode(text)  # which takes no halves of characters
    assert found["summary"]["files"] == len(found["entries"]) == 11
    assert found["entries"][0]["seconds"] == 0.12345
    assert found["entries"][5]["path"] == "caf\\xe9\\xff.png"
    assert base64.b64decode(found["entries"][2]["thumbnail"]) == b"\x89PNG"
    assert [each.name for each in tmp_path.iterdir()] == ["report.json"]


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


def test_only_pictures_are_shown_as_such(tmp_path: Path) -> None:
    rows: list[list[Any]] = json.loads(page_of(tmp_path, entries()).texts["entries"])
    assert {row[10] for row in rows} == {None, "image/png"}
    assert [row[11] is not None for row in rows] == [row[10] is not None for row in rows]


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
    assert [duration(each) for each in (-1, 0.06, 59.94, 192, 7_290)] == [
        "0.0 s",
        "0.1 s",
        "59.9 s",
        "3 min 12 s",
        "2 h 1 min",
    ]
