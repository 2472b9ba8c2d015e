"""The command line: ``python -m examples.file_pipeline DIRECTORY``."""

from __future__ import annotations

import logging
import os
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Parameter
from cyclopts.validators import Number
from rich.console import Console

from mediators import JournalError
from mediators.journal import owner_of
from supervisors import Child, one_for_one, run

try:
    from examples.file_pipeline.feeder import DATA, FEEDER, PAGE, PIPELINE, Feeder
    from examples.file_pipeline.keeping import put
    from examples.file_pipeline.pipeline import JOURNAL, Pipeline, Settings
    from examples.file_pipeline.report import (
        STATUSES,
        duration,
        ordered,
        read_paths,
        read_summary,
    )
    from examples.file_pipeline.view import Viewer
    from examples.file_pipeline.where import NONE, matches, show_where
except ModuleNotFoundError as missing:
    print(
        'file_pipeline: it needs the extra "examples": pip install -e ".[examples]" '
        f"(No module named {missing.name!r})",
        file=sys.stderr,
    )
    sys.exit(2)

OUT = Path(".pipeline")
ABOUT, LOG = "directory", "pipeline.log"
FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
DONE, UNUSABLE, INTERRUPTED = 0, 2, 130
"""The exit codes."""
MINUTE = 60.0

app = App(name="python -m examples.file_pipeline", version_flags=[])
Out = Annotated[Path, Parameter(name="--out")]


class Unusable(Exception):
    """The directory is none, or what is kept is about another one, or in use."""


@app.default
def process(
    directory: Path,
    /,
    *,
    out: Out = OUT,
    redo: Annotated[tuple[str, ...], Parameter(negative="")] = (),
    chaos: Annotated[float, Parameter(validator=Number(gte=0, lte=1))] = 0.0,
    workers: Annotated[int | None, Parameter(validator=Number(gte=1))] = None,
) -> int:
    """Process every file of a directory: texts and languages of documents, thumbnails of images,
    what is in archives, checksums of the rest.

    Interrupted or killed, and run again, it goes on where it stood. In the end there are
    report.json and report.html.

    Exit code 0: it is done. 2: the directory cannot be used. 130: closed before it was done.

    Parameters
    ----------
    directory
        Whose files are processed; links are not followed.
    out
        Where everything is kept: the journal, texts, thumbnails, the report.
    redo
        Process those files anew whose path below the directory matches, such as "*.pdf"; if one is
        in an archive, all of that. May be given several times.
    chaos
        At so many pieces of work, from 0 to 1, a converter crashes, hangs or swells.
    workers
        Processes of each kind of converter at most; unless given, one for each processor.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 100)
    try:
        root, out = prepare(directory, out)
    except (Unusable, OSError, JournalError) as error:
        return complain(error)
    settings = Settings(out, workers or os.cpu_count() or 2, chaos)
    logging.basicConfig(filename=out / LOG, format=FORMAT, level=logging.WARNING, force=True)
    try:
        run(
            one_for_one(
                Child(Pipeline, settings, name=PIPELINE, shutdown=MINUTE),
                Child(
                    Feeder,
                    root,
                    settings,
                    lambda path: matches(path, redo),
                    name=FEEDER,
                    restart="transient",
                    significant=True,
                ),
                Child(Viewer, console),
                auto_shutdown="any_significant",
            )
        )
    except SystemExit as end:
        if end.code:
            return complain(f"it has given up; see {out / LOG}")
    if not (out / PAGE).exists():
        console.print("Closed in order. Run it again to go on.")
        return INTERRUPTED
    console.print(conclusion(out), markup=False, soft_wrap=True)
    if redo and not any(matches(path, redo) for path in read_paths(out / DATA)):
        console.print(f"--redo: {NONE}")
    return DONE


@app.command
def where(
    *patterns: str,
    out: Out = OUT,
    whole: Annotated[bool, Parameter(name="--all", negative=())] = False,
) -> int:
    """Say where files are: what is under way, or each file whose path matches.

    Parameters
    ----------
    patterns
        Paths below the directory, such as "doc/*.pdf".
    out
        Where everything is kept.
    whole
        List all of them, and not the first thousand.
    """
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    if not (out / ABOUT).exists():
        return complain(f"nothing is kept in {out}.")
    try:
        root = Path(os.fsdecode((out / ABOUT).read_bytes()))
        show_where(console, root, out.resolve(), patterns, whole=whole)
    except (OSError, JournalError) as error:
        return complain(error)
    return DONE


def prepare(directory: Path, out: Path) -> tuple[Path, Path]:
    """Make the place where everything is kept. Raises Unusable, OSError, JournalError."""
    root = directory.resolve()
    if not root.is_dir():
        raise Unusable(f"{directory} is no directory.")
    os.scandir(root).close()  # raises, if it cannot be read
    if out.resolve() == root:
        raise Unusable(f"{directory} cannot keep what is made of it. Use another --out.")
    out.mkdir(parents=True, exist_ok=True)
    about = out / ABOUT
    if not about.exists():
        put(about, os.fsencode(root))
    if about.read_bytes() != os.fsencode(root):
        raise Unusable(f"{out} is about {os.fsdecode(about.read_bytes())}. Use another --out.")
    if (owner := owner_of(out / JOURNAL)) is not None:
        who = "another process" if owner.pid is None else f"process {owner.pid}"
        raise Unusable(f"{out} is in use by {who}.")
    for name in (DATA, PAGE):
        (out / name).unlink(missing_ok=True)
    return root, out.resolve()


def conclusion(out: Path) -> str:
    """What it has come to."""
    found = read_summary(out / DATA)
    counts = [
        f"{found.statuses.get(each, 0):,} {each}" for each in ordered(STATUSES, found.statuses)
    ]
    return (
        f"{found.files:,} files, those in archives included; this run took "
        f"{duration(found.ended - found.started)}\n"
        f"{', '.join(counts)}\nThe report: {out / PAGE}"
    )


def complain(why: object) -> int:
    """Say why it cannot be done."""
    print(f"file_pipeline: {why}", file=sys.stderr)
    return UNUSABLE


def main(arguments: list[str] | None = None) -> int:
    """The program; its exit code."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        code = app(
            sys.argv[1:] if arguments is None else arguments,
            exit_on_error=False,
            result_action="return_value",
        )
    except CycloptsError:
        return UNUSABLE
    return code if isinstance(code, int) else DONE


if __name__ == "__main__":
    sys.exit(main())
