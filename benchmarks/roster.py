"""The peers, and the interpreter each of them runs in."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import attrs

from benchmarks.works import OURS, Work

ROOT = Path(__file__).resolve().parents[1]
OWN_VENVS = ROOT / ".bench-venv"
"""Where what the peers need for themselves is made; it ignores itself in git."""

TRIOTP_PYTHON = "python3.11"
"""triotp 0.2 pins trio<0.20, which newer interpreters no longer run."""
TRIOTP = "triotp==0.2.*"
DBOS = "dbos==3.*"
"""With a database toolkit and two drivers behind it; none of that is wanted beside our own."""
RESTATE = ("restate-sdk==1.*", "hypercorn==0.18.*", "httpx==0.28.*", "attrs")
RESTATE_NPM = "@restatedev/restate-server@1.7"
RESTATE_PACKAGES = OWN_VENVS / "restate-server" / "node_modules" / "@restatedev"


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
    others: Mapping[str, str] = attrs.field(factory=dict)
    """The modules that do the works of other parts than "actors", by the part."""

    def module_for(self, work: Work) -> str:
        """The full name of the module that does a work."""
        return f"benchmarks.peers.{self.others.get(work.part, self.module)}"


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
    return own_python("triotp", TRIOTP_PYTHON, "import triotp", TRIOTP)


def dbos_python() -> str:
    """The interpreter of DBOS's virtualenv, which is made when it is not there."""
    return own_python("dbos", sys.executable, "import attrs, dbos", DBOS, "attrs")


def restate_server() -> Path | None:
    """The server's binary for this platform, not npm's launcher, which outlives a kill."""
    found = RESTATE_PACKAGES.glob("restate-server-*/bin/restate-server")
    return next((path for path in found if subprocess_ok(path, "--version")), None)


def restate_python() -> str:
    """The interpreter of Restate's virtualenv; its server comes as a binary from npm."""
    if restate_server() is None:
        npm = shutil.which("npm")
        if npm is None:
            raise Unavailable("Restate's server comes from npm, which is not installed")
        folder = own_folder() / "restate-server"
        print(f"installing {RESTATE_NPM} ...", file=sys.stderr, flush=True)
        command = (npm, "install", "--ignore-scripts", "--prefix", folder, RESTATE_NPM)
        if not subprocess_ok(*command) or restate_server() is None:
            raise Unavailable(f"{RESTATE_NPM} could not be installed")
    probe = "import attrs, httpx, hypercorn, restate"
    return own_python("restate", sys.executable, probe, *RESTATE)


def own_python(name: str, base: str, probe: str, *requirements: str) -> str:
    """The interpreter of a virtualenv that has the requirements, which `probe` imports."""
    venv = own_folder() / name
    python = venv / "bin" / "python"
    if subprocess_ok(python, "-c", probe):
        return str(python)
    found = shutil.which(base)
    if found is None:
        raise Unavailable(f"{name} needs {base}, which is not installed")
    print(f"making a virtualenv for {requirements[0]} ...", file=sys.stderr, flush=True)
    made = subprocess_ok(found, "-m", "venv", "--clear", venv)
    if not made or not subprocess_ok(python, "-m", "pip", "install", "--quiet", *requirements):
        raise Unavailable(f"{requirements[0]} could not be installed")
    return str(python)


def subprocess_ok(*command: str | Path) -> bool:
    """Whether a command exists and succeeds, silently."""
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


PEERS = (
    Peer(
        OURS,
        "understudy",
        "ours",
        importing("actors", "supervisors"),
        {"durable": "ours_sagas", "processes": "ours_processes"},
    ),
    Peer("trio", "raw trio channels", "trio_channels", importing("trio")),
    Peer("asyncio", "asyncio queues", "asyncio_queues", importing()),
    Peer("pykka", "pykka", "pykka_actors", importing("pykka")),
    Peer("triotp", "triotp", "triotp_servers", triotp_python),
    Peer("otp", "OTP, one scheduler", "otp", otp_python),
    Peer("executor", "ProcessPoolExecutor", "process_executor", importing()),
    Peer("socketpair", "a bare socket pair", "socketpair_floor", importing()),
    Peer("sqlite", "bare SQLite", "sqlite_floor", importing("sqlite3", "trio")),
    Peer("dbos", "DBOS on SQLite", "dbos_workflows", dbos_python),
    Peer("restate", "Restate", "restate_workflows", restate_python),
)

BY_NAME = {peer.name: peer for peer in PEERS}
