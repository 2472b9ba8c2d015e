"""Unreadable: what is said of a file that is damaged, encrypted, a bomb, or not what it says.

It is an answer, and no crash: the next attempt would find the same file. What is our own mistake,
or the machine's trouble, is raised as what it is.
"""

from __future__ import annotations

import errno
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

from actors import Refusal
from examples.file_pipeline.texts import shown

if TYPE_CHECKING:
    from collections.abc import Generator

Alive: TypeAlias = Callable[[], object] | None
"""What is called now and then by whoever reads a file, to show that it goes on."""

HERE = Path(__file__).parent.as_posix()

OF_THE_FILE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
"""What ``open`` raises for a file, whoever asks and whenever."""
MISTAKES = (TypeError, AttributeError, NameError, LookupError, AssertionError)
"""What a program that is wrong raises. In the depths of a library a damaged file does that, too."""


class Unreadable(Refusal):
    """The file cannot be read, however often one tries."""


class Bomb(Unreadable):
    """The file is small, and what would come out of it is not."""


class Undrawn(Unreadable):
    """The drawing is sound, and it takes more to draw it than there is here."""


@contextmanager
def reading(what: str) -> Generator[None]:
    """Around calls of a library that reads a file: what it raises is Unreadable.

    What passes as it is: refusals, the errors of the operating system, a lack of memory, and
    :data:`MISTAKES` whose last line is one of this package. Warnings about the file are dropped.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (Refusal, MemoryError):
        raise
    except OSError as error:
        # Libraries make OSErrors of their own, without a number, and seek where no file can be.
        if error.errno not in (None, errno.EINVAL):
            raise
        raise Unreadable(f"no readable {what}: {said(error)}") from error
    except Exception as error:
        if isinstance(error, MISTAKES) and is_ours(error):
            raise
        raise Unreadable(f"no readable {what}: {said(error)}") from error


def opened(path: Path) -> BinaryIO:
    """Open a file for reading. Raises Unreadable if it is gone, or not for us to read."""
    try:
        return path.open("rb")
    except OF_THE_FILE as error:
        raise Unreadable(f"cannot be opened: {error.strerror}. Got: {shown(str(path))}") from error


def said(error: BaseException) -> str:
    """What an exception of a library says, in one line that is not too long."""
    text = " ".join(str(error).split())
    return shown(f"{type(error).__name__}: {text}" if text else type(error).__name__)


def beat(alive: Alive) -> None:
    """Show whoever wants to see it that the work goes on."""
    if alive is not None:
        alive()


def is_ours(error: BaseException) -> bool:
    """Whether an exception was raised by a line of this package, and not of a library."""
    *_, (last, _) = walk_tb(error.__traceback__)
    return last.f_code.co_filename.startswith(HERE)
