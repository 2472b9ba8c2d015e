"""A day of a file pipeline, in virtual time and in one process.

Files come evenly over a day, each is a workflow of twelve steps, and each step is the work of one
of two hundred simulated converters, in a pool for each kind of step. A converter takes whole
seconds, so that what happens in the same second is one commit. Time moves when everybody waits; the
commits are real.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import attrs
import trio

from actors import Actor, Call, handles, open_system
from actors.testing import VirtualClock
from benchmarks.disk import folder
from benchmarks.peers.harness import FILE_STEPS as STEPS
from benchmarks.peers.harness import Sample, Stopwatch, expect
from mediators import Mediator, Workflow
from supervisors import Child, Pool

CONVERTERS = 200
DAY = 86_400
A_DAYS_FILES = 250_000
"""What comes in a day; a smaller number comes in as much less time."""
SHORTEST, LONGEST = 1, 7
"""Seconds that a step takes."""
SEED = 12


@attrs.frozen
class Convert(Call[str]):
    """Base of the steps: convert a file, which takes so many seconds."""

    file: str
    seconds: int


class Converter(Actor):
    """Base of the converters."""


def kind(number: int) -> tuple[type[Convert], type[Converter]]:
    """A step's own messages, and the converters that take them: their time."""

    @attrs.frozen
    class Message(Convert):
        """Convert a file."""

    Message.__name__ = Message.__qualname__ = f"Convert{number}"
    messages: list[Any] = [Message]

    class Own(Converter):
        """Takes its time."""

        @handles(*messages)
        async def convert(self, msg: Convert) -> str:
            await trio.sleep(msg.seconds)
            return f"{msg.file}.{number}"

    Own.__name__ = Own.__qualname__ = f"Converter{number}"
    return Message, Own


KINDS = [kind(number) for number in range(STEPS)]


@attrs.define
class ProcessFile(Workflow[str]):
    """One step after the other."""

    file: str

    @property
    def id(self) -> str:
        return self.file

    async def run(self) -> str:
        name = self.file
        for message, _ in KINDS:
            seconds = self.random.randint(SHORTEST, LONGEST)
            name = await self.step(message(name, seconds), timeout=None)
        return name


class Pipeline(Mediator):
    """Has files converted."""

    workflows = [ProcessFile]
    max_running = None

    def __init__(self, where: Path) -> None:
        each = -(-CONVERTERS // STEPS)
        self.journal = where / "journal.db"
        self.components = [
            Pool(Child(own), min=each, max=each, id=f"step-{number}")
            for number, (_, own) in enumerate(KINDS)
        ]


async def a_day(clock: VirtualClock, n: int) -> Sample:
    """So many steps of files, as they come; and how many seconds after its time the last was
    done."""
    files = max(1, n // STEPS)
    ended = 0

    async def process(number: int) -> None:
        nonlocal ended
        file = f"file-{number:06}"
        done = await pipeline.call(ProcessFile(file), timeout=None)
        expect(done, ".".join([file, *map(str, range(STEPS))]))
        ended += 1

    with folder() as where:
        async with open_system(seed=SEED, clock=clock.now) as system:
            pipeline = await system.start(Child(Pipeline, where))
            with Stopwatch() as watch:
                began = trio.current_time()
                async with trio.open_nursery() as nursery:
                    for number in range(files):
                        await trio.sleep_until(began + number * DAY // A_DAYS_FILES)
                        nursery.start_soon(process, number)
                took = trio.current_time() - began
        journal = sum(each.stat().st_size for each in where.iterdir())
    expect(ended, files)
    usual = files * DAY / A_DAYS_FILES + STEPS * (SHORTEST + LONGEST) / 2
    return Sample(
        watch.seconds,
        {
            "late_seconds": took - usual,
            "resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
            "journal_mb": journal / 1e6,
        },
    )


def a_day_of_files(n: int) -> Sample:
    """On a clock of its own."""
    clock = VirtualClock()
    return clock.run(a_day, clock, n)
