"""The pipeline: a mediator, and its pools of converters."""

from __future__ import annotations

from pathlib import Path

import attrs

from actors import Process
from examples.file_pipeline.converters import (
    Archivist,
    Converter,
    Digester,
    DocumentReader,
    ImageReader,
    Linguist,
    Sniffer,
)
from examples.file_pipeline.unreadable import Bomb, Undrawn, Unreadable
from examples.file_pipeline.workflows import FAMILIES, File
from mediators import Mediator
from supervisors import Child, Poisoned, Pool

JOURNAL = "files.db"
CONVERTERS: dict[str, type[Converter]] = {
    "sniffing": Sniffer,
    "documents": DocumentReader,
    "languages": Linguist,
    "images": ImageReader,
    "archives": Archivist,
    "checksums": Digester,
}
"""What converts, by the name of its pool."""

HOUR = 3_600.0
ATTEMPTS = 5
"""Processes that a file may cost."""
MEMORY = 1 << 30
"""Bytes that a converter may have."""
PATIENCE, IMPATIENCE = 60.0, 2.0
"""Seconds without a sign of life after which a converter is killed; and when there is chaos, so
that the next one gets its turn."""
COOLDOWN = 10.0


@attrs.frozen
class Settings:
    """How the pipeline is run: where everything is kept, how many processes of a kind of converter
    there are at most, and how often something happens to one, from 0 to 1."""

    out: Path
    workers: int
    chaos: float = 0.0


class Pipeline(Mediator):
    """Has files converted by those who can. It reads none itself, so that no file can harm it."""

    workflows = [File, *FAMILIES.values()]
    types = [Unreadable, Bomb, Undrawn, Poisoned]
    retention = 365 * 24 * HOUR

    def __init__(self, settings: Settings) -> None:
        self.journal = settings.out / JOURNAL
        self.components = [pool(name, each, settings) for name, each in CONVERTERS.items()]


def pool(name: str, converter: type[Converter], settings: Settings) -> Pool[Converter]:
    """Processes that compete for the work of one kind of converter."""
    process = Process(heartbeat=IMPATIENCE if settings.chaos else PATIENCE)
    return Pool(
        Child(converter, settings.chaos, isolation=process, memory_limit=MEMORY),
        min=1,
        max=settings.workers,
        attempts=ATTEMPTS,
        cooldown=COOLDOWN,
        name=name,
        id=name,
    )
