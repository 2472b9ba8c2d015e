"""Make a virtual environment ready for work on the project.

    python scripts/setup_venv.py .venv test docs

makes ``.venv`` with the interpreter that runs this script and installs the project into it,
editable, with the extras ``test`` and ``docs``. What is ready already is left alone, so that a
second run takes no time and needs no network: a stamp in the environment says for which
interpreter, which project metadata and which extras it was made. Extras only ever grow; another
interpreter makes a new environment.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = ROOT / "pyproject.toml"
STAMP = ".understudy.json"

Wanted = dict[str, str]


def wanted() -> Wanted:
    """What an environment must have been made for to be used as it is.

    Of pyproject.toml only the tables that say what is installed: a change to a linter's settings
    asks for no installation.
    """
    project = tomllib.loads(PYPROJECT.read_text("utf-8"))
    tables = [project["build-system"], project["project"], project.get("tool", {}).get("hatch")]
    return {
        "root": str(ROOT),
        "python": f"{sys.version} at {sys.base_prefix}",
        "project": hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest(),
    }


def ready_extras(venv: Path, want: Wanted) -> set[str] | None:
    """The extras of a ready environment; None if it is not ready."""
    try:
        stamp = json.loads((venv / STAMP).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    extras = set(stamp.pop("extras"))
    return extras if stamp == want else None


def past_extras(venv: Path) -> set[str]:
    """The extras an environment was last made with, for whichever project metadata."""
    try:
        return set(json.loads((venv / STAMP).read_text("utf-8"))["extras"])
    except (OSError, ValueError, KeyError):
        return set()


def python_of(venv: Path) -> str:
    return str(venv / "bin" / "python")


def has_pip(venv: Path) -> bool:
    command = [python_of(venv), "-m", "pip", "--version"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def brings_pip() -> bool:
    """Whether this interpreter can put pip into an environment. Some systems ship it without."""
    return importlib.util.find_spec("ensurepip") is not None


def is_usable(venv: Path) -> bool:
    """Whether there is a whole environment of this very interpreter."""
    probe = "import sys; print(sys.version, 'at', sys.base_prefix)"
    command = [python_of(venv), "-c", probe]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return False
    same = done.stdout.strip() == f"{sys.version} at {sys.base_prefix}"
    return same and (has_pip(venv) or not brings_pip())


def create(venv: Path) -> None:
    if venv.exists() and any(venv.iterdir()) and not (venv / "pyvenv.cfg").exists():
        raise SystemExit(f"{venv} is neither empty nor a virtual environment: it is left alone.")
    command = [sys.executable, "-m", "venv", "--clear", str(venv)]
    if not brings_pip():
        if importlib.util.find_spec("pip") is None:
            raise SystemExit(
                f"{sys.executable} has neither ensurepip nor pip. Install them (on Debian and "
                "Ubuntu: the package python3-venv), or name another interpreter with PYTHON=."
            )
        command.insert(3, "--without-pip")
    subprocess.run(command, check=True)


def make_ready(venv: Path, extras: set[str], want: Wanted) -> None:
    """Create the environment if need be, install, and only then write the stamp."""
    extras = extras | past_extras(venv)
    (venv / STAMP).unlink(missing_ok=True)
    version = ".".join(map(str, sys.version_info[:3]))
    listed = ", ".join(sorted(extras)) or "no extras"
    print(f"Setting up {venv} (Python {version}; {listed}) ...", flush=True)
    if not is_usable(venv):
        create(venv)
    python = python_of(venv)
    pip = [python, "-m", "pip"]
    if not has_pip(venv):  # the interpreter's own can do it from outside
        pip = [sys.executable, "-m", "pip", "--python", python]
    target = f"{ROOT}[{','.join(sorted(extras))}]" if extras else str(ROOT)
    options = ["--quiet", "--disable-pip-version-check", "--editable", target]
    subprocess.run([*pip, "install", *options], check=True)
    (venv / STAMP).write_text(json.dumps(want | {"extras": sorted(extras)}, indent=1), "utf-8")


def main(arguments: list[str]) -> None:
    if not arguments:
        raise SystemExit(f"usage: {Path(sys.argv[0]).name} DIRECTORY [EXTRA ...]")
    venv, extras = Path(arguments[0]).absolute(), set(arguments[1:])
    want = wanted()
    ready = ready_extras(venv, want)
    if ready is not None and extras <= ready:
        return
    # Two makes at once take turns. The lock is on a file that exists anyway.
    with PYPROJECT.open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = ready_extras(venv, want)
        if ready is None or not extras <= ready:
            try:
                make_ready(venv, extras, want)
            except subprocess.CalledProcessError as failed:
                command = " ".join(map(str, failed.cmd))
                raise SystemExit(f"{venv} could not be set up: {command}") from None


if __name__ == "__main__":
    main(sys.argv[1:])
