"""W14, retention: what has ended long ago is removed, a batch at a time, now and then."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from mediators import Mediator, MemoryJournal, NoSuchWorkflow, SqliteJournal, StartConflict
from mediators.driver import retention as module
from mediators.journal.protocol import Batch
from tests.mediators.sagas import Ping, Simple, Waits, World, shop, spec, start

if TYPE_CHECKING:
    from pathlib import Path

    from actors import System

DAY = 86_400.0


async def test_retention_is_seven_days_unless_the_class_says_otherwise(system: System) -> None:
    assert Mediator.retention == 7 * DAY
    ref = await system.start(spec(shop(World(), Simple)))
    handle = await start(ref, Simple("one"))
    await trio.sleep(6.9 * DAY)
    assert await handle.result() == "second done"
    await trio.sleep(0.2 * DAY)
    with pytest.raises(NoSuchWorkflow):
        await handle.result()


async def test_retention_removes_rows_and_records(system: System, tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    ref = await system.start(spec(shop(World(), Simple, journal=path, retention=60)))
    await start(ref, Simple("one"))
    with SqliteJournal.read(path) as reader:
        assert reader.feed(0)
        await trio.sleep(200)
        assert reader.runs() == []
        assert reader.feed(0) == []
    await ref.stop()


async def test_retention_leaves_alone_what_runs_however_old_it_is(system: System) -> None:
    ref = await system.start(spec(shop(World(), Waits, retention=60)))
    handle = await start(ref, Waits("one"))
    await trio.sleep(10 * DAY)
    await handle.signal(Ping(4))
    assert await handle.result() == 4


async def test_retention_counts_from_the_end_and_not_from_the_start(system: System) -> None:
    ref = await system.start(spec(shop(World(), Waits, retention=DAY)))
    handle = await start(ref, Waits("one"))
    await trio.sleep(10 * DAY)
    await handle.signal(Ping(4))
    await trio.sleep(DAY / 2)
    assert await handle.result() == 4


async def test_retention_goes_on_where_a_mediator_begins_anew(system: System) -> None:
    journal = MemoryJournal()
    cls = shop(World(), Simple, journal=journal, retention=DAY)
    ref = await system.start(spec(cls))
    await start(ref, Simple("one"))
    await ref.stop()
    await trio.sleep(2 * DAY)
    assert journal.read().find("one") is not None
    await system.start(spec(cls))
    await trio.sleep(2)
    assert journal.read().find("one") is None


async def test_retention_removes_a_bounded_number_in_one_commit(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 3)
    journal = MemoryJournal()
    cls = shop(World(), Simple, journal=journal, retention=DAY)
    ref = await system.start(spec(cls))
    for number in range(10):
        await start(ref, Simple(f"id-{number}"))
    before = journal.commits
    await trio.sleep(2 * DAY)
    batches = [what for _, what in journal._log or () if isinstance(what, Batch)]
    removed = [len(each.removed) for each in batches if each.removed]
    assert removed == [3, 3, 3, 1]
    assert journal.commits == before + 4
    assert journal.read().runs() == []


async def test_retention_for_ever_removes_nothing(system: System) -> None:
    ref = await system.start(spec(shop(World(), Simple, retention=float("inf"))))
    handle = await start(ref, Simple("one"))
    await trio.sleep(1000 * DAY)
    assert await handle.result() == "second done"


async def test_retention_of_nothing_removes_what_has_ended_soon(system: System) -> None:
    ref = await system.start(spec(shop(World(), Simple, retention=0)))
    handle = await start(ref, Simple("one"))
    await trio.sleep(3)
    with pytest.raises(NoSuchWorkflow):
        await handle.status()


async def test_retention_frees_the_id_for_other_contents(system: System) -> None:
    world = World()
    ref = await system.start(spec(shop(world, Simple, retention=DAY)))
    await start(ref, Simple("one"))
    with pytest.raises(StartConflict):
        await start(ref, Simple("one", "other"))
    await trio.sleep(2 * DAY)
    assert await (await start(ref, Simple("one", "other"))).result() == "other done"


@pytest.mark.parametrize(
    ("attribute", "value", "error"),
    [
        ("retention", -1, ValueError),
        ("retention", "a week", TypeError),
        ("max_running", 0, ValueError),
        ("max_running", 2.5, TypeError),
        ("max_running", True, TypeError),
        ("workflows", Simple, TypeError),
        ("workflows", [int], TypeError),
        ("workflows", [Simple("one")], TypeError),
        ("types", int, TypeError),
        ("types", "a type", TypeError),
        ("journal", 5, TypeError),
    ],
)
def test_attributes_that_are_none_are_refused_where_the_class_is_made(
    attribute: str, value: Any, error: type[Exception]
) -> None:
    with pytest.raises(error, match=rf"AMediator\.{attribute} is .*Got: "):
        type("AMediator", (Mediator,), {attribute: value})


async def test_attributes_of_an_instance_are_looked_at_when_it_starts(system: System) -> None:
    class Late(Mediator):
        def __init__(self) -> None:
            self.workflows = [Simple]
            self.retention = -5

    with pytest.raises(Exception, match="start") as caught:
        await system.start(spec(Late))
    assert "Late.retention is 0 or more seconds" in repr(caught.value.__cause__)


async def test_what_cannot_be_written_down_is_no_type_for_the_journal(system: System) -> None:
    class Opaque:
        pass

    with pytest.raises(Exception, match="start") as caught:
        await system.start(spec(shop(World(), Simple, types=[Opaque])))
    assert "has no fields that could be written down" in repr(caught.value.__cause__)
