"""What the figures were measured on and with: the processor and the versions."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path

from benchmarks import disk
from benchmarks.roster import BY_NAME, ROOT

OTP_RELEASE = """
Release = filename:join([code:root_dir(), "releases", erlang:system_info(otp_release)]),
Text = case file:read_file(filename:join(Release, "OTP_VERSION")) of
    {ok, Read} -> string:trim(Read);
    _ -> erlang:system_info(otp_release)
end,
io:format("~s (~s)", [Text, erlang:system_info(emu_flavor)]),
halt().
"""
PACKAGE_VERSIONS = "import importlib.metadata as m, sys; print(*map(m.version, sys.argv[1:]))"
SQLITE_VERSION = "import sqlite3; print(sqlite3.sqlite_version)"


def describe(interpreters: Mapping[str, str]) -> dict[str, str]:
    """Machine and versions, by what they are of; `interpreters` are those of the peers measured."""
    facts = {
        "CPU": processor(),
        "cores": str(os.cpu_count()),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "trio": version("trio"),
    }
    if "pykka" in interpreters:
        facts["pykka"] = version("pykka")
    if "triotp" in interpreters:
        said = output(interpreters["triotp"], "-c", PACKAGE_VERSIONS, "triotp", "trio").split()
        facts["triotp"] = "{} on trio {}".format(*said) if len(said) == 2 else "unknown"
    if "otp" in interpreters:
        facts["OTP"] = output("erl", "-noshell", "-eval", OTP_RELEASE) or "unknown"
    if "sqlite" in interpreters:
        facts["SQLite"] = output(interpreters["sqlite"], "-c", SQLITE_VERSION) or "unknown"
        facts["disk"] = disk.described()
    for peer, title in (("dbos", "DBOS"), ("restate", "Restate")):
        if peer in interpreters:
            module = f"benchmarks.peers.{BY_NAME[peer].module}"
            facts[title] = output(interpreters[peer], "-m", module, "settings") or "unknown"
    return facts


def processor() -> str:
    """The CPU's model name."""
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def version(package: str) -> str:
    """The installed version of a package."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"


def output(*command: str) -> str:
    """What a command prints, or nothing when it fails."""
    try:
        done = subprocess.run(
            command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()
