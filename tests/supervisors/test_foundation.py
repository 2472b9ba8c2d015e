"""A file of a user's that hides a floor below is named, instead of failing somewhere inside."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_a_module_that_hides_actors_is_named(tmp_path: Path) -> None:
    hiding = tmp_path / "actors.py"
    hiding.write_text("cast = ['Hamlet', 'Ophelia']\n")
    root = Path(__file__).parents[2]
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(root)!r}]; import supervisors"
    result = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert f"'import actors' finds {hiding}" in result.stderr
