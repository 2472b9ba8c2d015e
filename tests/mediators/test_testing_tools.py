"""mediators.testing: stub components, replay after every turn, death at every commit."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio

from actors import Actor, Call, Ref, Refusal, System, handles
from mediators import Mediator, MemoryJournal, Retry, Start, StepFailed, Workflow
from mediators.driver.driver import Driver
from mediators.journal import Batch, RunRow, SqliteJournal
from mediators.journal.sqlite import SqliteShard
from mediators.testing import (
    RunWorkflows,
    Scenario,
    Stubs,
    always_replay,
    crash,
    crash_at_every_commit,
    hang,
    kill_at_commit,
    killing,
    replay_journal,
    run_workflows,
    slow,
)
from mediators.testing.crashing import live, settled
from supervisors import Child
from tests.mediators.shops import Do, Other, Tell, World
from tests.mediators.shops import start as begin

if TYPE_CHECKING:
    from pathlib import Path

    from actors.testing import VirtualClock
    from mediators.testing import Replayed

DAYS = 86_400.0


class NoRoom(Refusal):
    pass


@attrs.frozen
class Charge(Call[int]):
    amount: int


@attrs.frozen
class Ship(Call[str]):
    order: str


@attrs.frozen
class Refund(Call[None]):
    payment: int


@attrs.frozen
class Poke:
    what: str


@attrs.define
class PlaceOrder(Workflow[str]):
    id: str = "order-1"
    amount: int = 10

    async def run(self) -> str:
        payment = await self.step(Charge(self.amount), undo=Refund)
        parcel = await self.step(Ship(self.id), retry=Retry(attempts=3))
        return f"{payment} {parcel}"


@attrs.define
class Remind(Workflow[int]):
    id: str = "remind"

    async def run(self) -> int:
        began = self.now()
        await self.sleep(30 * DAYS)
        poke = await self.receive(Poke, timeout=DAYS)
        assert poke is None
        return (self.now() - began).days


async def test_a_workflow_is_run_with_components_that_answer_as_they_are_told(
    system: System,
) -> None:
    stubs = Stubs({Charge: lambda message: message.amount + 1, Ship: "sent"})
    async with run_workflows(system, [PlaceOrder], stubs) as orders:
        assert await orders.call(PlaceOrder()) == "11 sent"
    assert stubs.messages() == [Charge(10), Ship("order-1")]
    assert stubs.keys(Charge) == ["order-1/1/Charge.1"]


async def test_what_is_told_in_a_list_is_done_one_after_another(workflows: RunWorkflows) -> None:
    orders = await workflows([PlaceOrder], {Charge: 7, Ship: [crash, crash, "sent"]})
    assert await orders.call(PlaceOrder(), timeout=60) == "7 sent"
    assert workflows.stubs.messages(Ship) == [Ship("order-1")] * 3
    assert workflows.stubs.keys(Ship) == ["order-1/1/Ship.2"]


async def test_a_refusal_is_an_answer_and_what_was_done_is_undone(workflows: RunWorkflows) -> None:
    orders = await workflows([PlaceOrder], {Charge: 7, Ship: NoRoom("full"), Refund: None})
    with pytest.raises(NoRoom, match="full"):
        await orders.call(PlaceOrder(), timeout=60)
    assert workflows.stubs.messages() == [Charge(7 + 3), Ship("order-1"), Refund(7)]


async def test_a_stub_that_hangs_is_given_up_after_the_attempts(
    workflows: RunWorkflows, virtual_clock: VirtualClock
) -> None:
    orders = await workflows([PlaceOrder], {Charge: 7, Ship: [hang, crash, hang], Refund: None})
    with pytest.raises(StepFailed, match="CallTimeout"):
        await orders.call(PlaceOrder(), timeout=None)
    assert virtual_clock.time > 20


@pytest.mark.parametrize("idempotent", [False, True])
async def test_a_slow_stub_answers_in_virtual_seconds(
    workflows: RunWorkflows, virtual_clock: VirtualClock, idempotent: bool
) -> None:
    async def ship(message: Ship) -> str:
        await trio.sleep(2)
        return f"{message.order} sent"

    stubs = Stubs({Charge: slow(5, slow(1, 7)), Ship: ship}, idempotent=idempotent)
    orders = await workflows([PlaceOrder], stubs)
    assert await orders.call(PlaceOrder(), timeout=60) == "7 order-1 sent"
    assert virtual_clock.time == pytest.approx(8)


async def test_thirty_days_pass_at_once_under_the_virtual_clock(
    workflows: RunWorkflows, virtual_clock: VirtualClock
) -> None:
    reminders = await workflows([Remind], {})
    assert await reminders.call(Remind(), timeout=None) == 31
    assert virtual_clock.time == pytest.approx(31 * DAYS)


async def test_a_second_mediator_takes_up_what_the_journal_has_open(
    workflows: RunWorkflows, system: System
) -> None:
    journal = MemoryJournal()
    stubs = Stubs({Charge: 7, Ship: [hang, "sent"]})
    async with run_workflows(system, [PlaceOrder], stubs, journal=journal) as orders:
        handle = await orders.call(Start(PlaceOrder()))
        await trio.sleep(1)
    orders = await workflows([PlaceOrder], stubs, journal=journal)
    assert await orders.call(PlaceOrder(), timeout=60) == "7 sent"
    assert handle.id == "order-1"
    assert len(stubs.messages(Charge)) == 1


def test_what_a_stub_cannot_be_told_is_refused_at_once() -> None:
    wrong: Any = {Poke: 1}
    with pytest.raises(TypeError, match="classes of Calls"):
        Stubs(wrong)
    with pytest.raises(ValueError, match="none in it"):
        Stubs({Ship: []})


# -- replay after every turn


async def test_after_every_turn_the_record_is_replayed(
    always_replayed: Replayed, workflows: RunWorkflows
) -> None:
    answers = {Charge: 7, Ship: [crash, hang, NoRoom("full")], Refund: [crash, None]}
    orders = await workflows([PlaceOrder], answers)
    with pytest.raises(NoRoom):
        await orders.call(PlaceOrder(), timeout=60)
    assert always_replayed.turns >= 5
    assert always_replayed.differences == []


async def test_a_workflow_that_its_record_does_not_make_again_is_told_of(
    workflows: RunWorkflows,
) -> None:
    seen: list[int] = []

    @attrs.define
    class Unsteady(Workflow[int]):
        async def run(self) -> int:
            seen.append(1)
            await self.step(Charge(len(seen)))
            return await self.step(Charge(0))

    orders = await workflows([Unsteady], {Charge: 7})
    with pytest.raises(AssertionError, match="something else than what was recorded"):  # noqa: SIM117
        with always_replay():
            await orders.call(Unsteady(), timeout=60)


async def test_a_state_that_is_not_in_the_record_is_told_of(
    workflows: RunWorkflows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mediators.execution import events

    live = events.HANDLERS[events.h.Completed]

    def forgets_the_undo(execution: Any, event: Any) -> None:
        live(execution, event)
        if execution.expected is None:
            execution.undos = ()

    monkeypatch.setitem(events.HANDLERS, events.h.Completed, forgets_the_undo)
    orders = await workflows([PlaceOrder], {Charge: 7, Ship: "sent"})
    with always_replay(collect=True) as replayed:
        await orders.call(PlaceOrder(), timeout=60)
    assert "undos is []" in replayed.differences[0]


# -- death at every commit


class Till(Actor):
    """Takes and gives back money, once for each key, in books that outlive it."""

    looks_at_keys = True

    def __init__(self, books: dict[str, Any]) -> None:
        self.books = books

    @handles
    def charge(self, message: Charge) -> int:
        key = str(self.envelope.key)
        if not self.looks_at_keys:
            key += f", time {len(self.books['charged'])}"
        if key not in self.books["charged"]:
            self.books["charged"][key] = message.amount
        return len(self.books["charged"])

    @handles
    def refund(self, message: Refund) -> None:
        self.books["refunded"][str(self.envelope.key)] = message.payment

    @handles
    def ship(self, message: Ship) -> str:
        if message.order == "refused":
            raise NoRoom
        return "sent"


class Shop(Mediator):
    components = []
    workflows = [PlaceOrder]

    def __init__(self, journal: MemoryJournal, books: dict[str, Any]) -> None:
        self.journal = journal
        self.components = [Child(Till, books)]


class AnOrder(Scenario):
    id = "order-1"

    def __init__(self) -> None:
        self.books = {"charged": {}, "refunded": {}, "told": []}

    def mediator(self, journal: MemoryJournal) -> Any:
        self.journal = journal
        return Child(Shop, journal, self.books)

    async def play(self, mediator: Ref[Any]) -> None:
        await mediator.call(Start(PlaceOrder(self.id)))
        self.books["told"].append("started")
        with suppress(NoRoom):
            await mediator.call(PlaceOrder(self.id), timeout=60)
        self.books["told"].append("ended")

    def check(self) -> None:
        row = self.journal.read().find(self.id)
        if self.books["told"]:
            assert row is not None, "an order that was confirmed is lost"
        if row is not None:
            assert row.over
            assert len(self.books["charged"]) == 1, "charged twice"


class ARefusedOrder(AnOrder):
    id = "refused"

    def check(self) -> None:
        super().check()
        if self.books["charged"]:
            assert len(self.books["refunded"]) == 1, "what was done is not undone"


@pytest.mark.parametrize(("scenario", "commits"), [(AnOrder, 3), (ARefusedOrder, 4)])
def test_a_scenario_dies_right_before_and_right_after_each_commit(
    scenario: type[AnOrder], commits: int
) -> None:
    seen: list[int] = []
    lives = crash_at_every_commit(scenario, lambda one: seen.append(len(one.books["charged"])))
    assert lives == 2 * commits
    assert len(seen) == lives + 1
    assert seen.count(0) == 1  # before the first commit there is no order


def test_a_second_life_may_die_as_well() -> None:
    assert crash_at_every_commit(ARefusedOrder, deaths=2) > 30


def test_a_start_that_is_confirmed_before_it_is_on_disk_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out = Driver.out

    def told_at_once(self: Driver, what: str, execution: Any, item: Any) -> None:
        if what == "reply":
            execution.reply(item)
        else:
            out(self, what, execution, item)

    monkeypatch.setattr(Driver, "out", told_at_once)
    with pytest.raises(AssertionError, match="lost"):
        crash_at_every_commit(AnOrder)


def test_a_component_that_does_not_look_at_the_key_is_found(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Till, "looks_at_keys", False)
    with pytest.raises(AssertionError, match="charged twice") as caught:
        crash_at_every_commit(AnOrder)
    assert caught.value.__notes__[0].startswith("after dying right ")


SCRIPT = """
import sys
import attrs, trio
from actors import Actor, Call, handles, open_system
from mediators import Mediator, SqliteJournal, Start, Workflow

@attrs.frozen
class Charge(Call[int]):
    amount: int

class Till(Actor):
    @handles
    def charge(self, message: Charge) -> int:
        print("charged", self.envelope.key, flush=True)
        return message.amount

@attrs.define
class Order(Workflow[int]):
    id: str = "order"
    async def run(self) -> int:
        return await self.step(Charge(1)) + await self.step(Charge(2))

class Shop(Mediator):
    components = [Till]
    workflows = [Order]
    journal = sys.argv[1]

async def main() -> None:
    async with open_system() as system:
        shop = await system.start(Shop)
        print("result", await shop.call(Order(), timeout=20), flush=True)

trio.run(main)
"""


def test_a_script_is_killed_at_each_of_its_commits(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    outputs = []
    commit = 1
    while (life := kill_at_commit(script, commit, tmp_path / f"{commit}.db")).killed:
        outputs.append(life.output.split())
        again = kill_at_commit(script, 0, tmp_path / f"{commit}.db")
        assert not again.killed
        assert again.output.split()[-2:] == ["result", "3"]
        commit += 1
    assert len(outputs) == 3
    assert outputs[0] == []
    assert outputs[2].count("charged") == 2
    before = kill_at_commit(script, 1, tmp_path / "none.db", when="before")
    assert before.killed
    with pytest.raises(AssertionError, match="ended with"):
        kill_at_commit(script, 1, tmp_path)


# -- what the tools say when they are used wrongly, or when what they look at is wrong


def test_a_scenario_says_what_is_missing() -> None:
    class Nothing(Scenario):
        pass

    class NoPlay(AnOrder):
        play = Scenario.play

    with pytest.raises(BaseException, match=r"Nothing has no mediator\(\)|unhandled") as caught:
        crash_at_every_commit(Nothing)
    assert "Nothing has no mediator()." in told_of(caught.value)
    with pytest.raises(BaseException, match=r"NoPlay has no play\(\)|unhandled") as caught:
        crash_at_every_commit(NoPlay)
    assert "NoPlay has no play()." in told_of(caught.value)


def told_of(error: BaseException) -> str:
    """What an exception says, with all that are in it."""
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    return " ".join([str(error), *map(told_of, inner)])


class AReminder(AnOrder):
    """Its second life is not played on: it waits until nothing goes on by itself."""

    def __init__(self) -> None:
        self.books = {"charged": {}, "refunded": {}, "told": []}

    def mediator(self, journal: MemoryJournal) -> Any:
        self.journal = journal
        return Child(type("Reminders", (Mediator,), {"workflows": [Remind], "journal": journal}))

    async def play(self, mediator: Ref[Any]) -> None:
        await mediator.call(Start(Remind()))
        await settled(mediator, 40 * DAYS)

    async def recovered(self, mediator: Ref[Any]) -> None:
        await settled(mediator, 40 * DAYS)

    def check(self) -> None:
        row = self.journal.read().find("remind")
        assert row is None or row.status == "done"


def test_a_recovered_life_lasts_until_nothing_goes_on_by_itself() -> None:
    assert crash_at_every_commit(AReminder) == 6


def test_what_does_not_come_to_an_end_is_named() -> None:
    class Impatient(AReminder):
        async def play(self, mediator: Ref[Any]) -> None:
            await mediator.call(Start(Remind()))
            await settled(mediator, DAYS)

    with pytest.raises(BaseException, match=r"do not come to an end|unhandled") as caught:
        crash_at_every_commit(Impatient)
    assert "These workflows do not come to an end: [('remind', 'waiting')]" in told_of(caught.value)


def test_what_a_life_raises_says_after_which_death() -> None:
    def check(one: AnOrder) -> None:
        if not one.books["told"]:
            raise KeyError("odd")

    with pytest.raises(KeyError) as caught:
        crash_at_every_commit(AnOrder, check)
    assert caught.value.__notes__ == ["after dying right before commit 1"]


def test_a_journal_is_replayed_by_what_its_mediator_says_of_itself() -> None:
    scenario = AnOrder()
    journal, _ = live(scenario)
    assert replay_journal(journal.read(), Shopping) == []
    assert replay_journal(journal.read(), Shopping, "order-1") == []
    assert replay_journal(journal.read(), Shopping, "order-2") == []
    (found,) = replay_journal(journal.read(), Nobody)
    assert (found.id, found.run) == ("order-1", 1)
    assert str(found).startswith("order-1 (run 1): ")
    assert "PlaceOrder" in str(found)


class Shopping(Mediator):
    components = [Child(Till, {})]
    workflows = [PlaceOrder]


class Nobody(Mediator):
    workflows = [Remind]


def test_a_script_that_ends_badly_is_told_with_what_it_said(tmp_path: Path) -> None:
    script = tmp_path / "bad.py"
    script.write_text("raise SystemExit('no such thing')")
    with pytest.raises(AssertionError, match=r"it ended with 1\.\nno such thing"):
        kill_at_commit(script, 1)


def test_commits_are_counted_and_the_process_ends_at_the_one_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In this process, with another end than SIGKILL."""
    for told, written in (("before:2", 1), ("after:2", 2)):
        with monkeypatch.context() as patch:
            patch.setattr(SqliteShard, "append", SqliteShard.append)
            patch.setattr(killing, "die", died)
            killing.watch(told)
            journal = SqliteJournal(tmp_path / f"{told.partition(':')[0]}.db")
            try:
                shard = journal.acquire()
                shard.append(Batch())  # no commit, so it is not counted
                shard.append(started(1))
                with pytest.raises(Died):
                    shard.append(started(2))
                assert len(shard.runs()) == written
            finally:
                journal.close()


class Died(BaseException):
    """Stands for the end of the process."""


def died() -> None:
    raise Died


def started(number: int) -> Batch:
    run = RunRow(number, f"order-{number}", 1, "PlaceOrder", "running", 1.0)
    return Batch([run], [(number, 0, b"data")])


def test_a_script_is_run_as_itself(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = tmp_path / "says.py"
    script.write_text("import sys; print(__name__, sys.argv[1:])")
    monkeypatch.setattr(sys, "argv", ["-c", str(script), "x"])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delenv(killing.KILL_AT_COMMIT, raising=False)
    killing.main()
    assert capsys.readouterr().out == "__main__ ['x']\n"


async def test_everything_a_workflow_can_wait_for_is_compared(virtual_clock: VirtualClock) -> None:
    async def other(self: Any) -> str:
        await self.sleep(2)
        return "packed"

    async def code(self: Any) -> Any:
        poked = self.receive(Tell, timeout=5)
        first = await self.gather(self.sleep(1), poked, self.child(Other()), limit=2)
        return [first, await self.race(self.step(Do("a")), self.sleep(3))]

    world = World(virtual_clock, code, other=other)
    with always_replay() as replayed:
        async with world.running() as shop:
            handle = await begin(shop)
            await handle.signal(Tell("x"))
            found = await handle.result(timeout=60)
    assert found == [(None, Tell("x"), "packed"), "did a"]
    assert replayed.turns >= 7
    assert replayed.differences == []


async def test_the_first_difference_is_raised_and_the_others_are_counted(
    workflows: RunWorkflows, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mediators.testing import replayed

    monkeypatch.setattr(replayed, "difference", lambda live, rebuilt: "they differ")
    orders = await workflows([PlaceOrder], {Charge: 7, Ship: "sent"})
    with pytest.raises(replayed.ReplayDiffers, match=r"they differ \(\d more\)$") as caught:  # noqa: SIM117
        with always_replay():
            await orders.call(PlaceOrder(), timeout=60)
    assert str(caught.value).startswith("workflow 'order-1', run 1, record 0 (Started(")
