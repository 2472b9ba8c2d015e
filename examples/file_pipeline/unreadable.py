"""Unreadable: what is said of a file that is damaged, encrypted, a bomb, or not what it says.

It is an answer, and no crash: the next attempt would find the same file. What is our own mistake,
or the machine's trouble, is raised as what it is.
"""

from __future__ import annotations

import errno
import warnings
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from typing import TYPE_CHECKING, BinaryIO

from actors import Refusal
from examples.file_pipeline.texts import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from types import CodeType

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

    What passes as it is: refusals, the errors of the operating system, a lack of memory, what was
    raised by a function of the caller's, called by :func:`beat`, and :data:`MISTAKES` whose last
    line is one of this package. Warnings about the file are dropped.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (Refusal, MemoryError):
        raise
    except OSError as error:
        # Libraries make OSErrors of their own, without a number, and seek where no file can be.
        if error.errno not in (None, errno.EINVAL) or is_the_callers(error):
            raise
        raise Unreadable(f"no readable {what}: {said(error)}") from error
    except Exception as error:
        if is_the_callers(error) or (isinstance(error, MISTAKES) and is_ours(error)):
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


def beat(alive: Callable[[], object] | None) -> None:
    """Show whoever wants to see it that the work goes on."""
    if alive is not None:
        alive()


def is_ours(error: BaseException) -> bool:
    """Whether an exception was raised by a line of this package, and not of a library."""
    return bool(way := way_of(error)) and way[-1].co_filename.startswith(HERE)


def is_the_callers(error: BaseException) -> bool:
    """Whether an exception came by :func:`beat`."""
    return beat.__code__ in way_of(error)


def way_of(error: BaseException) -> list[CodeType]:
    """The functions that an exception came by, the one that raised it last."""
    return [frame.f_code for frame, _ in walk_tb(error.__traceback__)]
