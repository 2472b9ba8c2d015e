"""The ``understudy`` command.

Exit codes, for scripts:

0. done
1. there is no such workflow
2. the command line is wrong
3. refused by the owner of the journal, or not possible in the state the workflow is in
4. the journal cannot be read: damaged, locked, of a newer format, or there is none
5. replay has found a difference

Errors are one line on stderr.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from cyclopts import App, CycloptsError

from mediators import JournalError
from observers import workflows
from observers.failures import ExitCode, Failed
from observers.printing import complain

if TYPE_CHECKING:
    from collections.abc import Sequence

EPILOGUE = (
    "Exit codes: 0 done; 1 no such workflow; 2 usage; 3 refused by the owner, or not possible in "
    "that state; 4 the journal cannot be read; 5 replay found a difference."
)


def _version() -> str:
    try:
        return version("understudy")
    except PackageNotFoundError:
        return "unknown"


app = App(
    name="understudy",
    help="Look at what runs under understudy, and decide what it cannot decide itself.",
    help_epilogue=EPILOGUE,
    help_format="plaintext",
    version=_version,
)
workflows.app.help_epilogue = EPILOGUE
app.command(workflows.app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line, ``sys.argv`` if none is given, and return its exit code."""
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        code = app(tokens, exit_on_error=False, print_error=False, result_action="return_value")
        sys.stdout.flush()
    except CycloptsError as error:
        complain(str(error))
        return ExitCode.USAGE
    except Failed as error:
        complain(str(error))
        return error.code
    except JournalError as error:
        complain(str(error))
        return ExitCode.UNREADABLE
    except BrokenPipeError:
        # Whoever read the output has seen enough; the interpreter must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    return code if isinstance(code, int) else ExitCode.DONE
