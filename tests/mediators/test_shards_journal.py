"""The journal of mediators in shards: its one writer, and ids that other shards have."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import pytest
import trio

from actors import Killed, Later, Process, open_system
from actors.payloads.types import Types
from actors.runtime import lifecycle
from mediators import Handle, SqliteJournal, Start, StartConflict, Status, Workflow
from mediators.journal.protocol import Batch, JournalFull, RunRow
from mediators.journal.writer import Writer
from mediators.sharding import writer as writers
from mediators.sharding.writer import Acquire, Commit, JournalWriter, Part, packed
from mediators.verbs import Fork, ListWorkflows
from supervisors import Child, Shards
from supervisors.sharding.policy import shard_of_key
from tests.actors.isolation.far_actors import real
from tests.mediators.sharded_shop import Place, Shop, Waits

if TYPE_CHECKING:
    from collections.abc import Iterator

    from actors import System


@attrs.define
class Parent(Workflow[str]):
    """Its child has an id of its choice."""

    id: str
    child_id: str

    async def run(self) -> str:
        return await self.child(Place(self.child_id))


class ShopWithParents(Shop):
    workflows = [Place, Parent, Waits]


class ShortMemory(ShopWithParents):
    retention = 1.0


def ids_in(shard: int, prefix: str) -> Iterator[str]:
    """Ids that belong to one of four shards."""
    return (
        f"{prefix}{number}"
        for number in range(1000)
        if shard_of_key(f"{prefix}{number}", 4) == shard
    )


# -- what was refused


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Any]:
    """A writer without its place, and its journal."""
    made: Any = JournalWriter(str(tmp_path / "shards.db"), 1, Types())
    made._journal = SqliteJournal(tmp_path / "shards.db")
    made._strays = made._journal.fix_shards(1)
    made._owned[0] = made._journal.acquire(0)
    yield made
    made._journal.close()


def commit(writer: Any, number: int, seq: int, epoch: int | None = None) -> tuple[Commit, Any]:
    """One record, and in front of the first the row of its run."""
    run = RunRow(number, f"id-{number}", 1, "W", "running", 0.0)
    batch = Batch(runs=[] if seq else [run], records=[(number, seq, b"data")])
    later: Later[Any] | None = None
    return Commit(0, writer._owned[0].epoch if epoch is None else epoch, packed(batch)), later


def test_nothing_is_written_behind_what_was_refused(
    writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been on its way already, and there would be a hole."""
    first, second = commit(writer, 1, 0), commit(writer, 1, 1)
    with monkeypatch.context() as full:
        full.setattr(Writer, "transact", lambda *_: (_ for _ in ()).throw(JournalFull("full")))
        assert "JournalFull" in writer._append([first])[0]
    assert "Fenced" in writer._append([second])[0]
    writer._owned[0] = writer._journal.acquire(0)
    assert writer._append([commit(writer, 1, 0), commit(writer, 1, 1)]) == [None, None]
    with SqliteJournal.read(writer._journal.path) as reader:
        assert [each.seq for each in reader.history(1)] == [0, 1]


def test_what_is_no_batch_fences_its_owner(writer: Any) -> None:
    epoch = writer._owned[0].epoch
    assert "no batch" in writer._append([(Commit(0, epoch, b"\xc1"), None)])[0]
    assert "Fenced" in writer._append([commit(writer, 1, 0, epoch)])[0]


def test_the_owner_that_was_looked_at_is_the_one_that_writes(
    writer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another may take the shard over while a commit is made in its thread."""
    stale = commit(writer, 1, 0)
    unpacked = writers.unpacked

    def taken_over(data: bytes) -> Batch:
        writer._owned[0] = writer._journal.acquire(0)
        return unpacked(data)

    monkeypatch.setattr(writers, "unpacked", taken_over)
    assert "Fenced" in writer._append([stale])[0]
    monkeypatch.undo()
    assert writer._append([commit(writer, 1, 0)]) == [None]


# -- journals of their own


async def test_shards_of_one_class_have_each_their_own_journal(
    system: System, tmp_path: Path
) -> None:
    for name in ("a", "b"):
        child = Child(ShopWithParents, str(tmp_path / f"{name}.db"))
        shards = await system.start(Shards(child, count=2, restart="temporary"))
        await shards.call(Place(f"in {name}"))
        if name == "a":
            await shards.stop()
    for name in ("a", "b"):
        with SqliteJournal.read(tmp_path / f"{name}.db") as reader:
            assert [row.id for row in reader.runs()] == [f"in {name}"]


class ShopAtAPath(Shop):
    """Says anew each time where its journal is."""

    said: ClassVar[list[Path]] = []
    """Kept: two that are there at the same time are two objects."""

    def __init__(self, journal: str) -> None:
        self.journal = Path(journal)
        self.said.append(self.journal)


async def test_a_journal_that_is_named_by_a_path_is_one_journal(
    system: System, tmp_path: Path
) -> None:
    """Whatever object names it: a mediator may make one for each incarnation of the router."""
    spec = Shards(Child(ShopAtAPath, str(tmp_path / "o.db")), count=2)
    shards: Any = await system.start(spec)
    await shards.call(Place("one"))
    journal = shards._place.actor._companion.place.actor._journal
    lifecycle.end(shards._place, Killed())
    assert await shards.call(Place("two")) == "two paid, shipped"
    assert shards._place.actor._companion.place.actor._journal is journal
    assert len(await shards.call(ListWorkflows())) == 2


# -- ids of other shards


async def test_a_child_in_the_shard_of_its_parent_is_found_by_its_id(
    system: System, tmp_path: Path
) -> None:
    spec = Shards(Child(ShopWithParents, str(tmp_path / "o.db")), count=4)
    shards = await system.start(spec)
    parents, children = ids_in(1, "parent-"), ids_in(2, "child-")
    child = next(children)
    await shards.call(Place(next(children)))
    assert await shards.call(Parent(next(parents), child)) == f"{child} paid, shipped"
    assert await Handle(shards, child).status() == Status.DONE
    # The child's own shard is told with its next commit.
    await shards.call(Place(next(children)))
    assert await shards.call(Place(child)) == f"{child} paid, shipped"
    with pytest.raises(StartConflict):
        await shards.call(Place(child, item="another"))


async def test_that_there_are_such_children_is_known_for_ever(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "o.db")
    assert journal.fix_shards(4) is False
    journal.note_strays()
    journal.note_strays()
    assert journal.fix_shards(4) is True
    journal.close()


async def test_a_fork_to_an_id_that_another_shard_has_is_a_conflict(
    system: System, tmp_path: Path
) -> None:
    shards = await system.start(Shards(Child(ShopWithParents, str(tmp_path / "o.db")), count=4))
    own, parents = ids_in(2, "own-"), ids_in(1, "parent-")
    one, taken = next(own), next(own)
    await shards.call(Place(one))
    await shards.call(Parent(next(parents), taken))
    await shards.call(Place(next(own)))
    with pytest.raises(StartConflict):
        await shards.call(Fork(one, taken))


async def test_a_run_number_is_not_used_again_though_another_shard_had_the_id(
    system: System, tmp_path: Path
) -> None:
    shards = await system.start(Shards(Child(ShortMemory, str(tmp_path / "o.db")), count=4))
    own, parents = ids_in(2, "own-"), ids_in(1, "parent-")
    child = next(own)
    await shards.call(Parent(next(parents), child))
    await trio.sleep(60)
    assert await shards.call(ListWorkflows()) == []
    await shards.call(Start(Waits(next(own))))
    await shards.call(Start(Waits(child)))
    runs = {each.id: each.run for each in await shards.call(ListWorkflows())}
    assert runs[child] == 2


# -- large ones


@real
async def test_what_is_committed_together_is_no_larger_than_a_message_may_be(
    tmp_path: Path,
) -> None:
    done: list[str] = []
    async with open_system() as system:
        child = Child(Shop, str(tmp_path / "o.db"))
        shards = await system.start(Shards(child, count=1, processes=1))

        async def place(number: int) -> None:
            done.append(await shards.call(Place(f"o{number}", "x" * 100_000), None))

        async with trio.open_nursery() as nursery:
            for number in range(250):
                nursery.start_soon(partial(place, number))
    assert len(done) == 250


@real
async def test_what_is_committed_together_may_be_larger_than_a_message_may_be(
    tmp_path: Path,
) -> None:
    """Answers and what they are told of go into one record, whatever that comes to."""
    async with open_system() as system:
        child = Child(Shop, str(tmp_path / "o.db"), isolation=Process(max_message=2_000))
        shards = await system.start(Shards(child, count=1, processes=1))

        async def place(number: int) -> None:
            done = await shards.call(Place(f"o{number}", "x" * 1_500), None)
            assert done == f"o{number} paid, shipped"

        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(partial(place, number))
    with SqliteJournal.read(tmp_path / "o.db") as reader:
        assert all(row.status == "done" for row in reader.runs())


def test_a_batch_that_comes_in_parts_is_one(writer: Any) -> None:
    whole, _ = commit(writer, 1, 0)
    one, other = whole.batch[:5], whole.batch[5:9]
    writer._part(Part(0, whole.epoch, one))
    writer._part(Part(0, whole.epoch, other))
    last = attrs.evolve(whole, batch=whole.batch[9:])
    assert writer._whole(last) == whole
    assert writer._whole(last) == last
    assert writer._append([(whole, None)]) == [None]


def test_parts_of_who_was_fenced_are_no_part_of_anything(writer: Any) -> None:
    whole, _ = commit(writer, 1, 0)
    writer._part(Part(0, whole.epoch, whole.batch[:5]))
    writer._acquire(Acquire(0))
    assert writer._parts == {}
