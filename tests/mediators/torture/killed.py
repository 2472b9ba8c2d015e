"""One life of a process with a journal on SQLite, for :func:`mediators.testing.kill_at_commit`.

``killed.py programs.json folder``: goes on with the programs where the last life has left them. If
it comes to its end everything is checked.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

from actors import open_system
from actors.testing import VirtualClock
from mediators import Idempotent, SqliteJournal
from mediators.execution.execution import key_of
from mediators.journal.protocol import Batch
from mediators.journal.sqlite import SqliteShard
from supervisors import Child
from tests.mediators.torture.checks import check
from tests.mediators.torture.programs import outside_world
from tests.mediators.torture.world import (
    TABLES,
    Books,
    ExactComponent,
    Stage,
    World,
    clients,
)


class Told(list[Any]):
    """What is added to it is on disk."""

    def __init__(self, books: BooksOnDisk) -> None:
        super().__init__()
        self.books = books

    def append(self, entry: Any) -> None:
        self.books.write("told", entry)
        super().append(tuple(entry))


class BooksOnDisk(Books):
    """Books of which every line is with the operating system before anything follows from it."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.told = Told(self)
        self.time = 0.0
        lines = path.read_text().splitlines() if path.exists() else []
        for line in lines:
            what, entry = json.loads(line)
            if what == "told":
                list.append(self.told, tuple(entry))
            elif what == "attempt":
                self.attempts[entry] = self.attempts.get(entry, -1) + 1
            elif what == "tick":
                self.tick = entry
            elif what == "time":
                self.time = entry
            else:
                self.log.append(tuple(entry[0]))
                self.answers[entry[0][-1]] = entry[1]
        self.file = path.open("a")

    def write(self, what: str, entry: Any) -> None:
        self.file.write(json.dumps([what, entry]) + "\n")
        self.file.flush()

    def next_tick(self) -> int:
        super().next_tick()
        self.write("tick", self.tick)
        return self.tick

    def fate(self, fates: list[str], key: str) -> str:
        self.write("attempt", key)
        return super().fate(fates, key)

    def done(self, entry: tuple[int, str, str, int, str], answer: int) -> None:
        self.write("done", [entry, answer])
        super().done(entry, answer)


class WorldOnDisk(World):
    """A world whose journal and books are in a folder."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Books(), None)
        self.folder = folder
        self.on_disk = self.books = BooksOnDisk(folder / "books")
        self.journal: Any = SqliteJournal(folder / "journal.db")

    def snapshot(self) -> Books:
        return self.books

    def effects(self) -> list[Any]:
        path = self.folder / "keys.db"
        with closing(sqlite3.connect(path)) as db:
            db.executescript(TABLES).close()
            found = db.execute("SELECT * FROM effects").fetchall()
        return sorted([*self.books.log, *found])


def main() -> None:
    programs = json.loads(Path(sys.argv[1]).read_text())
    folder = Path(sys.argv[2])
    logging.disable(logging.CRITICAL)
    world = WorldOnDisk(folder)
    ExactComponent.middleware = [Idempotent(folder / "keys.db", schema=TABLES)]
    clock = VirtualClock()
    clock.jump(world.on_disk.time)
    append = SqliteShard.append

    def noted(self: SqliteShard, batch: Batch) -> None:
        world.on_disk.write("time", clock.time)
        append(self, batch)
        for row in batch.runs:
            world.names[row.number] = key_of(row.id, row.run, "")
        world.note(batch.records)

    SqliteShard.append = noted  # type: ignore[method-assign]
    with closing(
        SqliteJournal.read(folder / "journal.db")
        if (folder / "journal.db").exists()
        else world.journal
    ) as before:
        if before is not world.journal:
            for row in before.runs():
                world.names[row.number] = key_of(row.id, row.run, "")
                world.note([(row.number, 0, each.data) for each in before.history(row.number)])

    async def life() -> None:
        async with open_system(seed=0, clock=clock.now, watchdog=None) as system:
            stage = await system.start(Child(Stage, world))
            await clients(world, stage, programs)
            await stage.stop()

    outside_world.append(world)
    clock.run(life)
    with closing(SqliteJournal.read(folder / "journal.db")) as reader:
        check(programs, world, reader)
    world.on_disk.file.close()
    print("checked", len(world.effects()))


if __name__ == "__main__":
    main()
