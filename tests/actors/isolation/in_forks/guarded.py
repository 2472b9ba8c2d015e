"""Tests in a fork of this process: what brings a whole process down, or hangs it for good, fails
one test and ends no run."""

from __future__ import annotations

import gc
import os
import select
import signal
import time
import traceback
from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

import trio

from tests.actors.isolation.conftest import children, descriptors

PATIENCE = 15.0
"""Seconds a test may take; none needs more than a few."""
LAST = 5.0
"""Seconds after which a process that does not heed that is ended."""


def real(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Run a coroutine test under trio on its own clock, in a process that it may ruin."""

    @wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        async def bounded() -> None:
            with trio.fail_after(PATIENCE):
                await test(*args, **kwargs)

        in_a_fork(lambda: trio.run(bounded))

    return run


def in_a_fork(call: Callable[[], object]) -> None:
    """Call a function in a fork of this process, and fail as it does: also if it leaves a process
    or a descriptor behind."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reads)
        _report(writes, call)
    os.close(writes)
    try:
        text = _read(reads)
    finally:
        os.close(reads)
        _end(pid)
    if text:
        raise AssertionError(text)


def _report(writes: int, call: Callable[[], object]) -> None:
    text = ""
    # What came along with the fork is no garbage of the test's: a collection leaves it alone, which
    # takes no time then, and copies no page.
    gc.freeze()
    try:
        before = descriptors()
        call()
        assert children() == []
        assert descriptors() == before
    except BaseException:
        text = traceback.format_exc()
    try:
        os.write(writes, (text or "passed").encode("utf-8", "replace")[-60_000:])
    finally:
        os._exit(0)


def _end(pid: int) -> None:
    """Let it leave, which it is about to do once it has said how it went; or end it."""
    deadline = time.monotonic() + LAST
    while time.monotonic() < deadline:
        if os.waitpid(pid, os.WNOHANG) != (0, 0):
            return
        time.sleep(0.001)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def _read(reads: int) -> str:
    """What the process has to say; empty if all is well."""
    poll = select.poll()
    poll.register(reads, select.POLLIN)
    if not poll.poll(1000 * (PATIENCE + LAST)):
        return "The system hangs, its stop included."
    text = os.read(reads, 1 << 16).decode()
    return "" if text == "passed" else text or "The process has ended without a word."
