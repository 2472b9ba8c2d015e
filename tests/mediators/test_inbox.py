"""J3: what is asked of a journal that nobody owns is left in it, and taken up by the next owner."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from trio.testing import wait_all_tasks_blocked

from actors import open_system
from mediators import Handle, MemoryJournal, SqliteJournal, Start, Status
from mediators.driver import inbox, requests
from mediators.journal.memory import MemoryShard
from tests.mediators.orders import Charge, PlaceOrder, Shop

if TYPE_CHECKING:
    from pathlib import Path

    from actors.testing import VirtualClock


async def life(
    journal: Any, clock: VirtualClock, *orders: PlaceOrder, results: dict[str, Any] | None = None
) -> dict[str, Status]:
    """One life of a shop on a journal, until it is quiet: how its orders stand at its end."""
    cls = type("ShopOn", (Shop,), {"journal": journal})
    async with open_system(seed=0, clock=clock.now) as system:
        ref = await system.start(cls, name="shop")
        for order in orders:
            await ref.call(Start(order))
        await wait_all_tasks_blocked()
        for id in results or ():
            assert results is not None
            results[id] = await Handle(ref, id).result(timeout=1.0)
        return {f"order-{each}": await Handle(ref, f"order-{each}").status() for each in "12"}


TWO = (PlaceOrder("1"), PlaceOrder("2"))


async def test_j3_what_was_left_at_rest_is_done_by_the_next_owner(
    virtual_clock: VirtualClock, tmp_path: Path
) -> None:
    journal = SqliteJournal(tmp_path / "orders.db")
    before = await life(journal, virtual_clock, *TWO)
    assert set(before.values()) == {Status.WAITING}
    inbox.leave(
        journal,
        0,
        [
            requests.SignalRequest(id="order-1", type="Approved", fields={"by": "bob"}),
            requests.CancelRequest(id="order-2", reason="a change of mind"),
        ],
    )
    with SqliteJournal.read(journal.path) as reader:
        assert [each.id for each in inbox.left(reader, 0)] == ["order-1", "order-2"]
        assert len(inbox.left(reader, 0, "order-2")) == 1
    results: dict[str, Any] = {"order-1": None}
    after = await life(journal, virtual_clock, results=results)
    assert after == {"order-1": Status.DONE, "order-2": Status.CANCELLED}
    assert results["order-1"] == "book approved by bob"
    with SqliteJournal.read(journal.path) as reader:
        assert reader.inbox(0) == []


async def test_j3_a_request_and_the_end_of_its_place_in_the_inbox_are_one_batch(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = MemoryJournal()
    await life(journal, virtual_clock, *TWO)
    request = requests.SignalRequest(id="order-1", type="Approved", fields={"by": "bob"})
    inbox.leave(journal, 0, [request])
    batches: list[Any] = []
    append = MemoryShard.append

    def spy(self: MemoryShard, batch: Any) -> None:
        batches.append((len(batch.consumed), len(batch.records)))
        append(self, batch)

    monkeypatch.setattr(MemoryShard, "append", spy)
    await life(journal, virtual_clock)
    assert batches[0] == (1, 1)
    assert sum(consumed for consumed, _ in batches) == 1


async def test_j3_taken_up_again_after_a_death_before_its_commit_it_counts_once(
    virtual_clock: VirtualClock,
) -> None:
    journal = MemoryJournal()
    await life(journal, virtual_clock, *TWO)
    request = requests.SignalRequest(id="order-1", type="Approved", fields={"by": "bob"})
    inbox.leave(journal, 0, [request, request])
    commits = journal.commits
    await life(journal, virtual_clock)
    again = journal.copy(commits)
    assert len(again.read().inbox(0)) == 2
    after = await life(again, virtual_clock)
    assert after["order-1"] is Status.DONE
    assert again.read().inbox(0) == []


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (requests.SignalRequest(id="order-1", type="Aproved"), "No type 'Aproved' is known"),
        (requests.SignalRequest(id="order-1", type="Approved", fields={"by": 1}), "no fields of"),
        (requests.CancelRequest(id="order-9"), "There is no workflow 'order-9'"),
        (requests.ResumeRequest(id="order-1"), "is not paused"),
        (b"\x80\x04cos\nsystem\n(S'touch'\ntR.", "This is no request"),
        (b'{"verb": "explode", "id": "order-1"}', "This is no request"),
    ],
    ids=["misspelt type", "wrong fields", "unknown id", "not paused", "pickle", "unknown verb"],
)
async def test_j3_what_is_refused_is_logged_and_consumed(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture, data: Any, said: str
) -> None:
    journal = MemoryJournal()
    await life(journal, virtual_clock, *TWO)
    encoded = data if isinstance(data, bytes) else requests.encode_request(data)
    journal.leave(0, [encoded])
    with caplog.at_level(logging.WARNING, "mediators"):
        after = await life(journal, virtual_clock)
    assert set(after.values()) == {Status.WAITING}
    assert said in caplog.text
    assert journal.read().inbox(0) == []


async def test_j3_a_damaged_inbox_keeps_nobody_from_starting(
    virtual_clock: VirtualClock, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mediators import JournalDamaged

    def damaged(self: MemoryShard, shard: int) -> Any:
        raise JournalDamaged("item 0 is not what was written")

    monkeypatch.setattr(MemoryShard, "inbox", damaged)
    assert set((await life(MemoryJournal(), virtual_clock, *TWO)).values()) == {Status.WAITING}
    assert "is not taken up" in caplog.text


async def test_j3_without_the_inbox_taken_up_nothing_of_it_is_done(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = MemoryJournal()
    await life(journal, virtual_clock, *TWO)
    inbox.leave(journal, 0, [requests.CancelRequest(id="order-1")])
    monkeypatch.setattr(inbox, "take_up", lambda driver: None)
    assert (await life(journal, virtual_clock))["order-1"] is Status.WAITING
    assert len(journal.read().inbox(0)) == 1


def test_a_value_is_built_by_its_name_only_among_registered_types() -> None:
    from actors.payloads.types import Types

    types = Types([Charge])
    built = requests.value_of(types, "Charge", {"order": "1"})
    assert built == Charge("1")
    assert requests.value_of(types, "tests.mediators.orders:Charge", {"order": "1"}) == built
    with pytest.raises(requests.BadRequest, match="did you mean tests.mediators.orders:Charge"):
        requests.value_of(types, "Chrage", {})
    with pytest.raises(requests.BadRequest, match="No type 'os:system'"):
        requests.value_of(types, "os:system", {"command": "true"})
