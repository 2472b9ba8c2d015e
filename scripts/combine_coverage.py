"""Combine what all processes of a run of the tests have measured.

    python scripts/combine_coverage.py

does what ``coverage combine`` does, but first removes data files that are damaged, and says so.
Some tests kill processes, and one that is killed while it saves its data leaves half of a file. To
``coverage combine`` that is a warning, which every later report repeats, or the end, depending on
where in the file the damage is.
"""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from coverage import Coverage


def is_whole(file: Path) -> bool:
    """Whether a data file can be read from start to end."""
    try:
        with closing(sqlite3.connect(f"{file.resolve().as_uri()}?mode=ro", uri=True)) as connection:
            connection.execute("SELECT version FROM coverage_schema").fetchone()
            found: tuple[str] = connection.execute("PRAGMA quick_check").fetchone()
    except sqlite3.Error:
        return False
    return found == ("ok",)


def main() -> int:
    """Remove what is damaged and combine the rest. Returns the exit code of the latter."""
    base = Path(Coverage().config.data_file)
    for file in sorted(base.parent.glob(f"{base.name}.*")):
        if not is_whole(file):
            print(f"{file.name} is damaged, as a killed process leaves it: left out")
            file.unlink()
    return subprocess.run(
        [sys.executable, "-m", "coverage", "combine", "-q"], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
