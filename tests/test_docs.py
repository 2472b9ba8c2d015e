"""The README and the pages under docs/ tell the truth: every Python block in them runs.

What the word after the opening fence means:

``python``            a program: run as a module of its own, in an empty directory
``python continued``  goes on with the names of the Python block before it on the page
``python script``     a program run as its reader would, in a process of its own: it starts others
``text output``       exactly what the Python block before it prints
``pycon``, ``text``…  not run

A program's ``__name__`` is not ``"__main__"``: what stands under that guard is compiled and left
alone. It runs in the process of the tests, where a warning is an error. Test functions on a page
are then run by a pytest of their own, as a reader would run them.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import attrs
import pytest
from markdown_it import MarkdownIt

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md"))]
COMMONMARK = MarkdownIt("commonmark")


@attrs.frozen
class Fence:
    """A fenced block: the words of its info string, its text, and the line the text begins on."""

    words: list[str]
    text: str
    line: int


@attrs.define
class Part:
    """A Python block and what it is said to print, if anything is said."""

    code: Fence
    output: Fence | None = None


@attrs.frozen
class Program:
    """A Python block and those that continue it."""

    page: Path
    parts: list[Part]
    script: bool = False

    @property
    def source(self) -> str:
        """All of its blocks."""
        return "\n".join(part.code.text for part in self.parts)

    def __str__(self) -> str:
        return f"{self.page.relative_to(ROOT)}:{self.parts[0].code.line}"


def fences(text: str, first_line: int = 1) -> list[Fence]:
    """The fenced blocks of a page in their order, those inside of directives included."""
    found = []
    for token in COMMONMARK.parse(text):
        if token.type != "fence":
            continue
        assert token.map is not None
        fence = Fence(token.info.split(), token.content, first_line + token.map[0] + 1)
        directive = token.info.startswith("{")
        found += fences(fence.text, fence.line) if directive else []
        found.append(fence)
    return found


def read(page: Path) -> tuple[list[Program], list[str]]:
    """The programs of a page, and the blocks that look like Python and would not run."""
    found: list[Program] = []
    strays: list[str] = []
    last: Part | None = None
    for fence in fences(page.read_text("utf-8")):
        match fence.words:
            case ["python"]:
                last = Part(fence)
                found.append(Program(page, [last]))
            case ["python", "script"]:
                last = Part(fence)
                found.append(Program(page, [last], script=True))
            case ["python", "continued"] if last is not None:
                last = Part(fence)
                found[-1].parts.append(last)
            case ["text", "output"] if last is not None and last.output is None:
                last.output = fence
            case ["python" | "python3" | "py" | "{code}" | "{code-block}", *_] | ["text", "output"]:
                strays.append(f"line {fence.line}: {' '.join(fence.words)}")
    return found, strays


ALL = [program for page in PAGES for program in read(page)[0]]
PROGRAMS = [program for program in ALL if not program.script]
SCRIPTS = [program for program in ALL if program.script]
TESTS = re.compile(r"^(?:async )?def test_", re.MULTILINE)


@pytest.mark.parametrize("program", PROGRAMS, ids=str)
def test_program_runs_and_prints_what_the_page_says(
    program: Program,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    module = ModuleType("docs_program")  # in sys.modules: annotations are resolved through it
    module.__file__ = str(program.page)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.chdir(tmp_path)
    for part in program.parts:
        # Blank lines above, so that a traceback shows the line of the page.
        source = "\n" * (part.code.line - 1) + part.code.text
        exec(compile(source, str(program.page), "exec", dont_inherit=True), module.__dict__)
        printed = capsys.readouterr().out
        if part.output is not None:
            assert printed.rstrip() == part.output.text.rstrip()


@pytest.mark.parametrize("program", SCRIPTS, ids=str)
def test_script_runs_and_prints_what_the_page_says(program: Program, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(program.source, "utf-8")
    result = subprocess.run(
        [sys.executable, "-W", "error", "script.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    said = "".join(part.output.text for part in program.parts if part.output is not None)
    assert result.stdout.rstrip() == said.rstrip()


@pytest.mark.parametrize("program", [p for p in PROGRAMS if TESTS.search(p.source)], ids=str)
def test_tests_on_a_page_pass(program: Program, tmp_path: Path) -> None:
    (tmp_path / "test_page.py").write_text(program.source, "utf-8")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_page.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    wanted = len(TESTS.findall(program.source))
    assert f"{wanted} passed" in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_python_block_is_left_out(page: Path) -> None:
    strays = read(page)[1]
    assert not strays, (
        "accepted are `python`, `python script`, `python continued` after a Python block, `text "
        f"output` once after a Python block, `pycon` and `text`. Got: {strays}"
    )


def test_the_readme_begins_with_the_two_commands() -> None:
    first = fences((ROOT / "README.md").read_text("utf-8"))[0]
    commands = [line.split("#")[0].strip() for line in first.text.splitlines()]
    assert commands == ["make demo", "make test"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_between_files_lead_somewhere(page: Path) -> None:
    links = [
        str(inline.attrs["href"]).partition("#")[0]
        for block in COMMONMARK.parse(page.read_text("utf-8"))
        for inline in block.children or []
        if inline.type == "link_open"
    ]
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []
