"""W17: where a run stands, asked of a journal whether somebody has it open or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from mediators import JournalDamaged, MemoryJournal, SqliteJournal, Summary, Workflow, summary_of
from mediators.journal import Batch, RunRow
from mediators.reading.standing import Pause, Standing, Wait
from tests.mediators.sagas import Simple, World, shop, spec, start
from tests.mediators.test_summary import T0

if TYPE_CHECKING:
    from pathlib import Path

    from actors import System


@attrs.frozen
class Receipt:
    """What a purchase comes to."""

    amount: int


@attrs.define
class Buy(Workflow[Receipt]):
    id: str

    async def run(self) -> Receipt:
        return Receipt(40)


async def test_a_run_is_asked_for_its_status_and_its_result(system: System, tmp_path: Path) -> None:
    world = World()
    world.hold("first")
    world.refuse("no")
    path = tmp_path / "shop.db"
    ref = await system.start(spec(shop(world, Simple, Buy, journal=path)))

    def summaries() -> dict[str, Summary]:
        with SqliteJournal.read(path) as journal:
            return {row.id: summary_of(journal, row) for row in journal.runs()}

    await start(ref, Buy("bought"))
    await start(ref, Simple("one"))
    waiting = summaries()["one"]
    assert (waiting.status, waiting.over, waiting.outcome_words()) == ("running", False, "")
    assert waiting.waiting_words(waiting.updated + 3) == "Do.1, 3 s"

    world.answer("first")
    await start(ref, Simple("two", second="no"))
    await ref.stop()
    found = summaries()
    assert {id: each.status for id, each in found.items()} == {
        "bought": "done",
        "one": "done",
        "two": "failed",
    }
    assert found["bought"].outcome.fields == {"amount": 40}
    assert found["bought"].outcome_words() == "Receipt(amount=40)"
    assert found["one"].outcome == "second done"
    assert found["two"].outcome_words() == "No('no')"
    assert {each.waiting_words(T0) for each in found.values()} == {""}


def test_a_record_that_is_none_is_damage_and_names_its_workflow() -> None:
    journal = MemoryJournal()
    shard = journal.acquire()
    rows = [RunRow(number, f"w-{number}", 1, "Flow", "running", T0) for number in (1, 2)]
    shard.append(Batch(rows, [(1, 0, b"\xc1 no turn")]))
    reader = journal.read()
    with pytest.raises(JournalDamaged, match="The record of 'w-1' is none: "):
        summary_of(reader, rows[0])
    with pytest.raises(JournalDamaged, match="'w-2': There is no record of this run"):
        summary_of(reader, rows[1])


# -- in words


def summary(**fields: Any) -> Summary:
    return Summary("w", 1, "Flow", "waiting", T0, T0, **fields)


@pytest.mark.parametrize(
    ("found", "text"),
    [
        (summary(), ""),
        (
            summary(waits=(Wait("sleep.1", "sleep", "", T0, T0 + 60),)),
            "time, 2030-01-01 00:01 UTC, 57 s from now",
        ),
        (summary(waits=(Wait("r.1", "receive", "shop:Approved", T0),)), "signal Approved, 3 s"),
        (summary(waits=(Wait("p.1", "child", "pack-17", T0),)), "workflow pack-17, 3 s"),
        (summary(waits=(Wait("Charge.1", "step", "shop:Charge", T0),)), "Charge.1, 3 s"),
        (
            summary(waits=(Wait("Charge.1", "step", "shop:Charge", T0, attempts=4),)),
            "Charge.1, 3 s, 4 attempts",
        ),
        (summary(incidents=(Standing("a", "Refused.", T0),)), "a: Refused."),
        (summary(incidents=(Standing("", "Wrong.", T0),)), "its code: Wrong."),
        (summary(pause=Pause("lunch", T0)), "lunch"),
        (summary(pause=Pause("mistake", T0, "KeyError: 1")), "KeyError: 1"),
        (
            summary(waits=tuple(Wait(f"a.{each}", "step", "A", T0) for each in range(5))),
            "a.0, 3 s; a.1, 3 s; a.2, 3 s and 2 more",
        ),
        (summary(pause=Pause("x" * 100, T0)), "x" * 79 + "…"),
    ],
    ids=[
        "nothing",
        "sleep",
        "receive",
        "child",
        "step",
        "attempts",
        "incident",
        "mistake",
        "pause",
        "paused by a mistake",
        "many",
        "long",
    ],
)
def test_what_is_waited_for_is_told_in_some_words(found: Summary, text: str) -> None:
    assert found.waiting_words(T0 + 3) == text
