"""What every journal does, in memory and on SQLite (rules J1, J3)."""

from __future__ import annotations

import inspect
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from mediators.journal import (
    Batch,
    Fenced,
    Journal,
    JournalDamaged,
    JournalLocked,
    MemoryJournal,
    Reader,
    RunRow,
    Shard,
    SqliteJournal,
    journal_of,
)
from mediators.journal.addresses import span_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(params=["memory", "sqlite"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Any]:
    made = MemoryJournal() if request.param == "memory" else SqliteJournal(tmp_path / "orders.db")
    with closing(made):
        yield made


@pytest.fixture
def read(journal: Any) -> Iterator[Callable[[], Any]]:
    """Opens readers of the journal, and closes them."""
    opened: list[Any] = []

    def reader() -> Any:
        made = journal.read() if isinstance(journal, MemoryJournal) else journal.read(journal.path)
        opened.append(made)
        return made

    yield reader
    for made in opened:
        made.close()


def run(number: int, id: str | None = None, **fields: Any) -> RunRow:
    values = {"run": 1, "type": "PlaceOrder", "status": "running", "started": 5.0, **fields}
    return RunRow(number, id or f"order-{number & 0xFFFF}", **values)


def turn(seq: int) -> bytes:
    """Data of a record, which means nothing to a journal."""
    return b"turn %d" % seq


def started(number: int, turns: int = 2, id: str | None = None, **fields: Any) -> Batch:
    """A batch with one new run and so many of its records."""
    return Batch(
        runs=[run(number, id, **fields)],
        records=[(number, seq, turn(seq)) for seq in range(turns)],
    )


def ended(number: int, status: str = "done", at: float = 9.0) -> Batch:
    return Batch(statuses=[(status, at, number)])


def test_both_journals_are_what_the_protocol_asks_for(journal: Any, read: Any) -> None:
    assert isinstance(journal, Journal)
    shard = journal.acquire()
    assert isinstance(shard, Shard)
    assert isinstance(read(), Reader)
    for protocol, made in ((Journal, journal), (Shard, shard), (Reader, read())):
        for name, asked in inspect.getmembers(protocol, inspect.isfunction):
            if not name.startswith("_"):
                built = inspect.signature(getattr(type(made), name))
                assert list(built.parameters) == list(inspect.signature(asked).parameters), name


def test_j1_positions_are_gapless_in_a_shard_across_batches_and_owners(journal: Any) -> None:
    first = journal.acquire()
    first.append(started(1, 3))
    first.append(started(2, 2))
    first.release()
    second = journal.acquire()
    second.append(Batch(records=[(1, 3, turn(3))]))
    assert [(r.position, r.number, r.seq) for r in second.feed(0)] == [
        (0, 1, 0),
        (1, 1, 1),
        (2, 1, 2),
        (3, 2, 0),
        (4, 2, 1),
        (5, 1, 3),
    ]


def test_j1_records_come_back_as_they_were_written_in_order_of_their_seq(journal: Any) -> None:
    shard = journal.acquire()
    shard.append(started(1, 2))
    shard.append(started(2, 1))
    shard.append(Batch(records=[(1, 2, turn(2)), (1, 3, b""), (1, 4, b"\0\xff")]))
    history = shard.history(1)
    assert [record.seq for record in history] == [0, 1, 2, 3, 4]
    assert [record.position for record in history] == [0, 1, 3, 4, 5]
    assert [record.data for record in history] == [turn(0), turn(1), turn(2), b"", b"\0\xff"]
    assert shard.history(77) == []


def test_j1_a_batch_that_cannot_be_written_writes_nothing_at_all(journal: Any) -> None:
    shard = journal.acquire()
    shard.append(started(1, 2))
    before = (shard.runs(), shard.feed(0), shard.next_number)
    new = started(2, 1)
    mistakes = {
        "a record of this place is there": Batch(new.runs, [(1, 1, b"again")]),
        "the same record twice": Batch(new.runs, [(2, 0, b"a"), (2, 0, b"b")]),
        "a run of this number is there": Batch([run(3), run(1, "other")], new.records),
        "a run of this id and run is there": Batch([run(2, "order-1")], new.records),
        "the same id and run twice": Batch([run(2, "x"), run(3, "x")], new.records),
        "a status for no run": Batch(new.runs, new.records, [("done", 1.0, 99)]),
        "an open run removed": Batch(new.runs, new.records, removed=[1]),
        "a run of another shard": Batch([run(span_of(3)[0] + 1)], new.records),
        "a record of another shard": Batch(new.runs, [(span_of(3)[0] + 1, 0, b"")]),
    }
    for name, batch in mistakes.items():
        with pytest.raises(ValueError, match=r"\w"):
            shard.append(batch)
        assert (shard.runs(), shard.feed(0), shard.next_number) == before, name
    shard.append(new)
    assert [record.position for record in shard.feed(0)] == [0, 1, 2]


def test_j1_an_empty_batch_is_no_commit(journal: Any) -> None:
    shard = journal.acquire()
    shard.append(Batch())
    assert shard.feed(0) == [] and not Batch()
    if isinstance(journal, MemoryJournal):
        assert journal.commits == 0


def test_j1_a_stale_owner_is_fenced_and_its_work_dropped(journal: Any, read: Any) -> None:
    stale = journal.acquire()
    stale.append(started(1))
    owner = journal.acquire()
    assert owner.epoch == stale.epoch + 1
    with pytest.raises(Fenced):
        stale.append(started(2))
    owner.append(started(3))
    with pytest.raises(Fenced):
        stale.append(ended(1))
    assert [(row.number, row.over) for row in read().runs()] == [(1, False), (3, False)]
    assert [record.position for record in read().feed(0)] == [0, 1, 2, 3]


def test_j3_each_acquisition_raises_the_epoch_also_after_closing(journal: Any) -> None:
    epochs = [journal.acquire().epoch]
    journal.acquire().release()
    epochs.append(journal.acquire().epoch)
    journal.close()
    epochs.append(journal.acquire().epoch)
    assert epochs == [1, 3, 4]


def test_j3_a_shard_that_was_given_back_takes_nothing_more(journal: Any) -> None:
    shard = journal.acquire()
    shard.append(started(1))
    shard.release()
    shard.release()
    with pytest.raises(Fenced, match="given back"):
        shard.append(started(2))
    again = journal.acquire()
    stale = shard
    stale.release()
    again.append(started(2))
    journal.close()
    journal.close()
    with pytest.raises(Fenced):
        again.append(started(3))
    assert [row.number for row in journal.acquire().runs()] == [1, 2]


def test_shards_are_independent_and_their_numbers_do_not_meet(journal: Any) -> None:
    zero, three = journal.acquire(0), journal.acquire(3)
    assert (zero.next_number, three.next_number) == (1, span_of(3)[0] + 1)
    zero.append(started(zero.next_number, 2))
    three.append(started(three.next_number, 3, id="other"))
    zero.append(started(zero.next_number, 1))
    assert [r.position for r in zero.feed(0)] == [0, 1, 2]
    assert [(r.shard, r.position) for r in zero.feed(3)] == [(3, 0), (3, 1), (3, 2)]
    assert [row.number for row, _ in zero.open_runs()] == [1, 2]
    assert [row.id for row, _ in three.open_runs()] == ["other"]
    assert len(zero.runs()) == 3
    with pytest.raises(ValueError, match="A shard is a number"):
        journal.acquire(-1)


def test_a_number_is_not_given_out_again_after_its_run_was_removed(journal: Any) -> None:
    shard = journal.acquire()
    assert shard.next_number == 1
    shard.append(started(1))
    shard.append(started(5))
    shard.append(ended(5))
    shard.append(Batch(removed=[5]))
    assert shard.next_number == 6
    assert journal.acquire().next_number == 6


def test_open_runs_are_those_not_over_with_their_records_in_order(journal: Any) -> None:
    shard = journal.acquire()
    for number in range(1, 8):
        shard.append(started(number, number % 3))
    shard.append(Batch(records=[(2, 2, b"late")]))
    for number in (1, 4, 7):
        shard.append(ended(number))
    found = [(row.number, list(records)) for row, records in shard.open_runs()]
    assert found == [
        (2, [turn(0), turn(1), b"late"]),
        (3, []),
        (5, [turn(0), turn(1)]),
        (6, []),
    ]
    shard.append(Batch(statuses=[("running", None, 4)]))
    assert [row.number for row, _ in shard.open_runs()] == [2, 3, 4, 5, 6]


def test_open_runs_left_half_read_hold_nothing_up(journal: Any) -> None:
    shard = journal.acquire()
    for number in range(1, 5):
        shard.append(started(number))
    reading = iter(shard.open_runs())
    assert next(reading)[0].number == 1
    reading.close()
    shard.append(started(5))
    assert len(list(shard.open_runs())) == 5


def test_a_missing_record_is_damage_for_its_own_run_only(journal: Any) -> None:
    shard = journal.acquire()
    shard.append(started(1))
    shard.append(Batch([run(2)], [(2, 0, b"a"), (2, 2, b"c")]))
    shard.append(started(3))
    with pytest.raises(JournalDamaged, match="[Rr]ecord 1 of run 2 is missing"):
        shard.history(2)
    assert [len(records) for _, records in shard.open_runs()] == [2, 0, 2]
    assert len(shard.history(3)) == 2


def test_a_run_is_found_by_its_id_the_latest_first(journal: Any, read: Any) -> None:
    shard = journal.acquire()
    shard.append(started(1, id="a"))
    shard.append(started(2, id="b", parent=1))
    shard.append(Batch(runs=[run(3, "a", run=2)], statuses=[("done", 9.0, 1)]))
    for reader in (shard, read()):
        assert reader.find("a").number == 3
        assert reader.find("a", 1) == RunRow(1, "a", 1, "PlaceOrder", "done", 5.0, 9.0)
        assert reader.find("b").parent == 1
        assert reader.find("a", 7) is None and reader.find("c") is None


def test_listings_are_in_order_of_numbers_and_filtered(journal: Any, read: Any) -> None:
    shard = journal.acquire()
    shard.append(started(1, id="order-1"))
    shard.append(started(2, id="order-2", type="Ship"))
    shard.append(started(3, id="ordeal"))
    shard.append(started(4, id="order-4", status="waiting"))
    shard.append(Batch(statuses=[("done", 10.0, 1), ("failed", 20.0, 2)]))

    def numbers(**filters: Any) -> list[int]:
        seen = [row.number for row in shard.runs(**filters)]
        assert [row.number for row in read().runs(**filters)] == seen
        return seen

    assert numbers() == [1, 2, 3, 4]
    assert numbers(status="open") == [3, 4]
    assert numbers(status="waiting") == [4]
    assert numbers(type="Ship") == [2]
    assert numbers(id_prefix="order-") == [1, 2, 4]
    assert numbers(id_prefix="") == [1, 2, 3, 4]
    assert numbers(ended_before=10.0) == []
    assert numbers(ended_before=10.1) == [1]
    assert numbers(ended_before=99.0, status="failed") == [2]
    assert numbers(limit=2) == [1, 2]
    assert numbers(limit=0) == []
    assert numbers(id_prefix="order-", limit=2, type="PlaceOrder") == [1, 4]


@pytest.mark.parametrize(
    "prefix", ["%", "_", "a\U0010ffff", "\U0010ffff", "\ud7ff", "Z", "z", "é", "a'b"]
)
def test_a_prefix_is_taken_literally_whatever_its_characters(journal: Any, prefix: str) -> None:
    shard = journal.acquire()
    others = ["A", "aa", "b", "\ue000", "\U0010fffe", "e", "z"[:0] + "y"]
    ids = [prefix, prefix + "x", prefix + "\U0010ffffy", *others]
    shard.append(Batch([run(number, id) for number, id in enumerate(ids, 1)]))
    assert [row.id for row in shard.runs(id_prefix=prefix)] == ids[:3]


def test_rows_that_were_read_or_written_are_nobodys_to_change(journal: Any) -> None:
    shard = journal.acquire()
    batch = started(1)
    shard.append(batch)
    batch.runs[0].status = "changed"
    batch.records.clear()
    found = shard.find("order-1")
    found.status = "changed"
    shard.runs()[0].status = "changed"
    assert shard.find("order-1").status == "running"
    assert len(shard.history(1)) == 2


def test_j1_a_feed_goes_on_behind_a_position(journal: Any, read: Any) -> None:
    shard = journal.acquire()
    shard.append(started(1, 10))
    assert [r.position for r in read().feed(0, limit=3)] == [0, 1, 2]
    assert [r.position for r in read().feed(0, after=2, limit=3)] == [3, 4, 5]
    assert [r.position for r in read().feed(0, after=8)] == [9]
    assert read().feed(0, after=9) == [] and read().feed(1) == []


def test_retention_forgets_a_run_with_its_records_and_leaves_the_rest(journal: Any) -> None:
    shard = journal.acquire()
    for number in (1, 2, 3):
        shard.append(started(number))
    shard.append(Batch(statuses=[("done", 9.0, 1), ("done", 9.0, 2)], removed=[1]))
    assert shard.find("order-1") is None and shard.history(1) == []
    assert [record.number for record in shard.feed(0)] == [2, 2, 3, 3]
    shard.append(Batch(removed=[2, 1]))
    assert [row.number for row in shard.runs()] == [3]
    shard.append(started(4))
    assert [record.position for record in shard.feed(0)] == [4, 5, 6, 7]
    shard.append(started(5, id="order-1"))
    assert shard.find("order-1").number == 5


def test_j1_the_inbox_keeps_what_is_left_until_a_batch_has_taken_it_up(journal: Any) -> None:
    journal.leave(0, [b"one", b"two"])
    journal.leave(0, (item for item in [b"three"]))
    shard = journal.acquire()
    assert shard.inbox(0) == [(0, b"one"), (1, b"two"), (2, b"three")]
    assert shard.inbox(1) == []
    taken = started(1)
    taken.consumed = [0, 2]
    shard.append(taken)
    assert shard.inbox(0) == [(1, b"two")]
    shard.append(Batch(consumed=[1, 1, 50]))
    shard.release()
    journal.leave(0, [b"four"])
    assert journal.acquire().inbox(0) == [(3, b"four")]


def test_j3_nothing_is_left_in_the_inbox_of_a_shard_that_is_owned(journal: Any) -> None:
    shard = journal.acquire(1)
    with pytest.raises(JournalLocked):
        journal.leave(1, [b"no"])
    journal.leave(0, [b"yes"])
    assert shard.inbox(0) == [(0, b"yes")]
    shard.release()
    journal.leave(1, [b"now"])
    assert journal.acquire(1).inbox(1) == [(0, b"now")]


def test_appends_of_different_shards_from_different_threads_all_arrive(journal: Any) -> None:
    if isinstance(journal, MemoryJournal):
        pytest.skip("appends in memory are made inline")
    failed: list[BaseException] = []

    def work(shard: Any) -> None:
        try:
            for _ in range(20):
                shard.append(started(shard.next_number, 2, id=f"{shard.shard}-{shard.next_number}"))
                shard.find("nobody")
        except BaseException as error:
            failed.append(error)

    shards = [journal.acquire(number) for number in range(3)]
    threads = [threading.Thread(target=work, args=(shard,)) for shard in shards]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    for shard in shards:
        assert [r.position for r in shard.feed(shard.shard)] == list(range(40))


def test_a_journal_in_memory_is_cut_at_any_commit() -> None:
    journal = MemoryJournal()
    journal.leave(0, [b"left"])
    shard = journal.acquire()
    shard.append(started(1))
    with pytest.raises(ValueError):
        shard.append(started(1))
    shard.append(Batch(statuses=[("done", 9.0, 1)], consumed=[0]))
    shard.append(Batch(removed=[1]))
    assert journal.commits == 3
    seen: list[Any] = []
    for commits in (0, 1, 2, 3, None):
        copied = journal.copy(commits)
        assert copied.commits == (3 if commits is None else commits)
        taken = copied.acquire()
        seen.append(([row.status for row in taken.runs()], len(taken.inbox(0))))
        taken.append(started(9, id="of the copy"))
    assert seen == [([], 1), (["running"], 1), (["done"], 0), ([], 0), ([], 0)]
    assert shard.runs() == [] and journal.commits == 3
    shard.append(started(2))
    with pytest.raises(ValueError, match="4 commits"):
        journal.copy(5)


def test_a_copy_is_fenced_off_from_the_owner_of_the_original() -> None:
    journal = MemoryJournal()
    shard = journal.acquire()
    shard.append(started(1))
    copied = journal.copy()
    copied.leave(0, [b"nobody owns the copy"])
    assert copied.acquire().epoch == shard.epoch + 1
    shard.append(started(2))
    assert len(copied.read().runs()) == 1


def test_a_journal_without_a_log_is_copied_as_a_whole_and_gives_memory_back() -> None:
    journal = MemoryJournal(log=False)
    shard = journal.acquire()
    shard.append(started(1))
    copied = journal.copy()
    shard.append(ended(1))
    shard.append(Batch(removed=[1]))
    assert journal.commits == 3 and journal._log is None
    assert not journal._runs and not journal._ids and not journal._positions
    assert [row.status for row in copied.read().runs()] == ["running"]
    with pytest.raises(ValueError, match="as a whole"):
        journal.copy(1)


def test_a_journal_is_named_by_nothing_a_path_or_itself(tmp_path: Path) -> None:
    assert isinstance(journal_of(None), MemoryJournal)
    made = journal_of(tmp_path / "a.db")
    assert isinstance(made, SqliteJournal) and not (tmp_path / "a.db").exists()
    assert journal_of(made) is made
    with pytest.raises(ValueError, match="addresses of servers"):
        journal_of("postgresql://host/db")
    with pytest.raises(ValueError, match="MemoryJournal"):
        SqliteJournal(":memory:")
