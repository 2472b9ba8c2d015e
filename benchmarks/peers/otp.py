"""OTP: compiles `otp.erl` and performs a work in a virtual machine with one scheduler.

The VM replaces this process, so that nothing of Python runs beside it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.roster import own_folder

SOURCE = Path(__file__).with_name("otp.erl")


def compiled(folder: Path) -> Path:
    """The folder with the compiled module, made again when the source is newer."""
    beam = folder / "otp.beam"
    if not beam.exists() or beam.stat().st_mtime < SOURCE.stat().st_mtime:
        folder.mkdir(parents=True, exist_ok=True)
        # Into a folder of its own first: two runs at once must not read half a module.
        with tempfile.TemporaryDirectory(dir=folder) as fresh:
            subprocess.run(["erlc", "-Werror", "-o", fresh, str(SOURCE)], check=True)
            os.replace(Path(fresh) / "otp.beam", beam)
    return folder


def main() -> None:
    """`python -m benchmarks.peers.otp WORK N`, as for the other peers."""
    if len(sys.argv) != 3:
        raise SystemExit("usage: python -m benchmarks.peers.otp WORK N")
    folder = compiled(own_folder() / "otp")
    command = ["erl", "+S", "1:1", "-noshell", "-pa", str(folder), "-run", "otp", "main"]
    os.execvp("erl", [*command, *sys.argv[1:]])


if __name__ == "__main__":
    main()
