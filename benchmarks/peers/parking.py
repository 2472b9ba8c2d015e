"""What survives kill -9: one process parks, is killed, and a second one recovers.

The peer's program plays all three parts. As itself it starts the other two, each a fresh process of
the same module, and reads the one JSON line that each prints when it is done:

    python -m benchmarks.peers.<peer> park WORK N FOLDER
    python -m benchmarks.peers.<peer> recover WORK N FOLDER

Both are killed as soon as they have spoken, so that nothing is saved by an orderly end. What is
timed, they time themselves: the start of the interpreter and imports are not in it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from benchmarks.disk import folder
from benchmarks.peers.harness import Sample

Part = Callable[[str, int, Path], object]
"""Takes the work, its N and the folder with whatever is durable, and ends with `hold`."""


def hold(**figures: float) -> None:
    """Tell the figures, and stay as one is until killed or left alone. Does not return."""
    print(json.dumps(figures), flush=True)
    # The end of the pipe: whoever started this process is gone.
    sys.stdin.read()
    os._exit(1)


def perform_part(parts: Mapping[str, Part]) -> None:
    """If the command line names a part, perform it and do not return."""
    if len(sys.argv) == 5 and sys.argv[1] in parts:
        part, work, n, where = sys.argv[1:]
        parts[part](work, int(n), Path(where))
        raise SystemExit(f"{part} returned, and was to hold")


def told(part: str, work: str, n: int, where: Path) -> dict[str, float]:
    """Have a part performed in a process of its own, kill it with SIGKILL; what it told."""
    spec = sys.modules["__main__"].__spec__
    if spec is None:
        raise RuntimeError("peers are started with `python -m`")
    command = [sys.executable, "-m", spec.name, part, work, str(n), str(where)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        if process.stdout is None:
            raise RuntimeError("no pipe to read from")
        line = process.stdout.readline()
        process.kill()
    if not line:
        raise RuntimeError(f"{part} {work} said nothing; exit code {process.returncode}")
    figures: dict[str, float] = json.loads(line)
    return figures


def killed_and_recovered(work: str, n: int) -> Sample:
    """Park, kill, recover; the time is that of recovery."""
    with folder() as where:
        before = told("park", work, n, where)
        after = told("recover", work, n, where)
    # More may have been recovered than the n that were measured: the rate is of them all.
    rate = after.pop("count", n) / after["recover_seconds"]
    return Sample(n / rate, {**before, **after, "recovered_rate": rate})
