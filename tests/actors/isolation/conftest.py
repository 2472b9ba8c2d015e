"""Processes need real time: these tests run on trio's own clock, and wait for what happens."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    """No test leaves a process or a descriptor behind."""
    before = descriptors()
    yield
    assert children() == []
    assert descriptors() == before


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Crash reports are what some tests look at, and no news."""
    for name in ("actors", "supervisors"):
        logging.getLogger(name).propagate = False
    yield
    for name in ("actors", "supervisors"):
        logging.getLogger(name).propagate = True


def descriptors() -> set[str]:
    """What this process has open, by number and kind."""
    found = set()
    for each in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{each}:{os.readlink(f'/proc/self/fd/{each}').partition(':')[0]}")
        except OSError:
            continue
    return found


def children() -> list[int]:
    """The children of this process, zombies included."""
    found = []
    for thread in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{thread}/children", encoding="ascii") as file:
                found += [int(each) for each in file.read().split()]
        except FileNotFoundError:
            continue  # a thread that has ended meanwhile
    return found
