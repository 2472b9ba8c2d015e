"""OTP's side: one Erlang process that plays scripts."""

from __future__ import annotations

import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.conformance.differential.scripts import Dynamic, Group, Op, Script, Worker

SOURCE = Path(__file__).with_name("differential.erl")
SHUTDOWNS = {"seconds": 5000, "infinity": "infinity", "kill": "brutal_kill"}


class Otp:
    """``differential.erl``, compiled into a directory and running until the block is left."""

    def __init__(self, directory: Path) -> None:
        subprocess.run(["erlc", "-Werror", "-o", str(directory), str(SOURCE)], check=True)
        command = ["erl", "-noshell", "-pa", str(directory), "-run", "differential", "main"]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._process.communicate()

    def play(self, script: Script) -> list[str]:
        """The log of a script."""
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(script_term(script) + ".\n")
        process.stdin.flush()
        log: list[str] = []
        while (line := process.stdout.readline()) != "end\n":
            if not line:
                raise RuntimeError(f"erl has ended with {process.wait()}, playing\n{script}")
            log.append(line.rstrip("\n"))
        return log


def script_term(script: Script) -> str:
    """A script as an Erlang term."""
    ops = [term((op.verb, *op.args)) for op in script.ops]
    return f"{{{term(list(script.failing))}, {term(script.top)}, [{', '.join(ops)}]}}"


def term(value: Any) -> str:
    """A value as an Erlang term; words are atoms."""
    match value:
        case bool():
            return str(value).lower()
        case str() | int():
            return str(value)
        case list():
            return f"[{', '.join(map(term, value))}]"
        case tuple():
            return f"{{{', '.join(map(term, value))}}}"
        case Worker(id, restart, significant, shutdown, raises):
            return term(("worker", id, restart, significant, SHUTDOWNS[shutdown], raises))
        case Group(id, restart, significant, limit, strategy, auto, children):
            return term(("group", id, restart, significant, limit, strategy, auto, list(children)))
        case Dynamic(id, restart, significant, limit, child_restart):
            return term(("dynamic", id, restart, significant, limit, child_restart))
        case Op():
            return term((value.verb, *value.args))
    raise TypeError(f"No term stands for this: {value!r}")
