"""The peers, and the interpreter each of them runs in."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import attrs

from benchmarks.works import OURS

ROOT = Path(__file__).resolve().parents[1]
OWN_VENVS = ROOT / ".bench-venv"
"""Where what the peers need for themselves is made; it ignores itself in git."""

TRIOTP_PYTHON = "python3.11"
"""triotp 0.2 pins trio<0.20, which newer interpreters no longer run."""
TRIOTP = "triotp==0.2.*"


class Unavailable(Exception):
    """A peer that cannot be measured here, and why."""


@attrs.frozen
class Peer:
    """One of those compared."""

    name: str
    title: str
    module: str
    interpreter: Callable[[], str]
    """The Python that runs the module, made ready; raises `Unavailable`."""


def own_folder() -> Path:
    """`.bench-venv`, made when it is first needed."""
    OWN_VENVS.mkdir(exist_ok=True)
    (OWN_VENVS / ".gitignore").write_text("*\n", "utf-8")
    return OWN_VENVS


def importing(*modules: str) -> Callable[[], str]:
    """This interpreter, if it can import all the modules."""

    def find() -> str:
        missing = [name for name in modules if importlib.util.find_spec(name) is None]
        if missing:
            raise Unavailable(f"not installed: {', '.join(missing)}")
        return sys.executable

    return find


def otp_python() -> str:
    """This interpreter, which starts the compiler and the virtual machine."""
    if shutil.which("erl") is None or shutil.which("erlc") is None:
        raise Unavailable("Erlang/OTP is not installed (erl, erlc)")
    return sys.executable


def triotp_python() -> str:
    """The interpreter of triotp's virtualenv, which is made when it is not there."""
    venv = own_folder() / "triotp"
    python = venv / "bin" / "python"
    if subprocess_ok(python, "-c", "import triotp"):
        return str(python)
    base = shutil.which(TRIOTP_PYTHON)
    if base is None:
        raise Unavailable(f"triotp needs {TRIOTP_PYTHON}, which is not installed")
    print(f"making a virtualenv for {TRIOTP} ...", file=sys.stderr, flush=True)
    made = subprocess_ok(base, "-m", "venv", "--clear", venv)
    if not made or not subprocess_ok(python, "-m", "pip", "install", "--quiet", TRIOTP):
        raise Unavailable(f"{TRIOTP} could not be installed")
    return str(python)


def subprocess_ok(*command: str | Path) -> bool:
    """Whether a command exists and succeeds, silently."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


PEERS = (
    Peer(OURS, "understudy", "ours", importing("actors", "supervisors")),
    Peer("trio", "raw trio channels", "trio_channels", importing("trio")),
    Peer("asyncio", "asyncio queues", "asyncio_queues", importing()),
    Peer("pykka", "pykka", "pykka_actors", importing("pykka")),
    Peer("triotp", "triotp", "triotp_servers", triotp_python),
    Peer("otp", "OTP, one scheduler", "otp", otp_python),
)

BY_NAME = {peer.name: peer for peer in PEERS}
