"""W17, W8: where a workflow stands, told from its record alone; and why it waits, in a sentence."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from msgspec import Raw
from trio.testing import wait_all_tasks_blocked

from actors import Actor, Call, Refusal, handles, open_system
from mediators import Handle, Mediator, MemoryJournal, Start, Workflow
from mediators import history as h
from mediators.driver.driver import Driver
from mediators.execution.commands import Fork
from mediators.payloads.types import Types
from mediators.reading import rendering
from mediators.reading.summary import _Fold, summarize
from mediators.reading.why import moment, ordinal, span, why
from supervisors import Child
from tests.mediators.orders import Approved, Charge, OutOfStock, PlaceOrder, Refund, Reserve

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from actors.testing import VirtualClock

TYPES = Types([PlaceOrder, Charge, Reserve, Refund, Approved])
T0 = datetime(2030, 1, 1, tzinfo=UTC).timestamp()


def payload(value: Any) -> Raw:
    if isinstance(value, BaseException):
        return Raw(TYPES.encode_refusal(value))
    return Raw(TYPES.encode(value))


def begun(*turns: list[h.Event], timeout: float | None = None) -> list[h.Turn]:
    """A run that has charged, one second a turn; then these turns."""
    started = h.Started("order-17", 1, payload(PlaceOrder("17")), 7, timeout)
    intended = h.Intended("Charge.1", "step", payload(Charge("17")))
    all_: Any = [[started, intended], *turns]
    return [h.Turn(T0 + index, events) for index, events in enumerate(all_)]


CHARGED = h.Completed("Charge.1", payload("paid"), payload(Refund("paid")))


def told(turns: list[h.Turn], seconds: float = 3.0) -> str:
    return why(summarize(turns), turns[-1].time + seconds, "orders.db")


def test_why_a_step_that_is_asked_again() -> None:
    turns = begun([h.Attempted("Charge.1", 2, "timeout")])
    summary = summarize(turns)
    assert summary.status == "running"
    assert [(each.path, each.kind, each.attempts) for each in summary.waits] == [
        ("Charge.1", "step", 2)
    ]
    assert told(turns) == (
        "order-17 waits for its component's answer to Charge (step Charge.1), asked 3 s ago, "
        "2nd attempt; it is asked again after a timeout. The one before had no answer in time."
    )


def test_why_a_sleep() -> None:
    turns = begun([CHARGED, h.Slept("sleep.2", T0 + 30 * 86_400)])
    assert summarize(turns).status == "waiting"
    assert told(turns) == "order-17 sleeps until 2030-01-31 00:00 UTC, 30 days from now."


def test_why_a_signal() -> None:
    name = "tests.mediators.orders:Approved"
    turns = begun([CHARGED, h.Awaited("receive.2", name, T0 + 61)])
    assert told(turns) == (
        f"order-17 waits for a signal `{name}` since 2030-01-01 00:00:01 UTC, 3 s ago; without one "
        "it goes on 2030-01-01 00:01:01 UTC, 57 s from now; send it with: understudy workflows "
        f"signal orders.db order-17 --type {name} --json '{{...}}'"
    )


def test_why_an_incident() -> None:
    turns = begun(
        [CHARGED, h.Intended("Reserve.2", "step", payload(Reserve("moon")))],
        [
            h.Refused("Reserve.2", payload(OutOfStock("moon"))),
            h.Intended("undo/Charge.1", "undo", payload(Refund("paid"))),
        ],
    )
    assert summarize(turns).status == "compensating"
    assert "waits for Refund, which undoes Charge.1" in told(turns)
    stuck = h.Stuck("undo/Charge.1", h.Trouble("undo/Charge.1", "All 5 attempts failed."))
    turns.append(h.Turn(T0 + 9, [stuck]))
    assert summarize(turns).status == "incident"
    assert told(turns) == (
        "order-17 stands as an incident at undo/Charge.1: All 5 attempts failed; decide with "
        "retry, skip or resolve: understudy workflows retry orders.db order-17"
    )
    turns.append(h.Turn(T0 + 10, [h.Retried("undo/Charge.1")]))
    assert summarize(turns).status == "compensating"
    turns.append(h.Turn(T0 + 11, [h.Completed("undo/Charge.1", payload(None)), _failed()]))
    summary = summarize(turns)
    assert (summary.status, summary.ended, summary.outcome) == (
        "failed",
        T0 + 11,
        "OutOfStock('moon')",
    )
    assert told(turns) == (
        "order-17 has failed with OutOfStock('moon'): it ended 2030-01-01 00:00:11 UTC, 3 s ago."
    )


def _failed() -> h.Ended:
    return h.Ended("failed", payload(OutOfStock("moon")))


def test_why_a_pause_on_request_and_what_it_keeps() -> None:
    turns = begun([h.Paused("lunch")], [CHARGED])
    summary = summarize(turns)
    assert summary.status == "paused"
    assert summary.pause is not None and summary.pause.kept == 1
    assert "is paused since 2030-01-01 00:00:01 UTC, 4 s ago (lunch); it goes on with" in told(
        turns
    )
    assert "1 event is kept until then" in told(turns)
    turns += [
        h.Turn(T0 + 5, [h.Resumed()]),
        h.Turn(T0 + 6, [h.Delivered(), h.Slept("sleep.2", T0 + 60)]),
    ]
    summary = summarize(turns)
    assert (summary.status, summary.pause) == ("waiting", None)
    assert [each.path for each in summary.waits] == ["sleep.2"]


def test_why_a_mistake_in_the_code() -> None:
    trouble = h.Trouble("", "ValueError: oh", "", "")
    turns = begun([CHARGED, h.Paused("mistake", trouble)])
    assert summarize(turns).status == "paused"
    assert "paused by a mistake in its code" in told(turns)
    assert "ValueError: oh" in told(turns)


def test_why_a_cancelled_run_settles_before_it_undoes() -> None:
    turns = begun(
        [CHARGED, h.Intended("Reserve.2", "step", payload(Reserve("book")))],
        [h.Cancelled("enough")],
    )
    summary = summarize(turns)
    assert (summary.status, summary.cancelled) == ("compensating", "enough")
    assert [(each.path, each.kind) for each in summary.waits] == [("Reserve.2", "settle")]
    assert [(each.path, each.message) for each in summary.undos] == [
        ("Charge.1", "Refund(payment='paid')")
    ]
    assert "It is being undone (enough); 1 more to be undone after that." in told(turns)


def test_why_the_rest() -> None:
    turns = begun(
        [CHARGED, h.Spawned("Pack.2", "pack-17", payload(PlaceOrder("x")))],
        [h.Signalled("s1", payload(Approved("bob")))],
        timeout=3600.0,
    )
    text = told(turns)
    assert "waits for the end of workflow pack-17 (Pack.2)" in text
    assert "1 signal is unread: Approved." in text
    assert "The whole is cancelled 2030-01-01 01:00 UTC, 60 minutes from now." in text
    (unread,) = summarize(turns).unread
    assert (unread.id, unread.since) == ("s1", T0 + 2)
    turns.append(h.Turn(T0 + 3, [h.Expired("s1")]))
    assert summarize(turns).unread == ()


def test_many_waits_are_counted() -> None:
    forked = h.Forked("gather.2", "gather", 8)
    slept = [h.Slept(f"gather.2/{each}/sleep.1", T0 + 60) for each in range(1, 9)]
    text = told(begun([CHARGED, forked, *slept]))
    assert text.count("sleeps until") == 5
    assert "It waits for 3 more things." in text


def test_a_record_without_a_start_is_none() -> None:
    with pytest.raises(ValueError, match="no record"):
        summarize([])
    with pytest.raises(ValueError, match="begins with the start"):
        summarize([h.Turn(T0, [h.Resumed()])])


def test_times_in_words() -> None:
    assert [ordinal(each) for each in (1, 2, 3, 4, 11, 21, 112)] == [
        "1st",
        "2nd",
        "3rd",
        "4th",
        "11th",
        "21st",
        "112th",
    ]
    assert [span(each) for each in (0.2, 1, 90, 120, 7200, 86_400, 29.9 * 86_400)] == [
        "less than 1 s",
        "1 s",
        "90 s",
        "2 minutes",
        "2 hours",
        "1 day",
        "30 days",
    ]
    assert moment(T0, T0) == "2030-01-01 00:00 UTC, just now"


# -- payloads


@attrs.frozen
class Line:
    item: str
    price: Decimal


@attrs.frozen
class Basket:
    lines: list[Line]
    extra: Any


def test_payloads_are_read_without_their_classes() -> None:
    from decimal import Decimal

    globals()["Decimal"] = Decimal
    types = Types([Basket, Line])
    extra = {
        "when": datetime(2030, 1, 1, tzinfo=UTC),
        "set": {2, 1},
        "pair": (1, Line("x", Decimal(1))),
    }
    data = types.encode(Basket([Line("book", Decimal("1.50"))], extra))
    found = rendering.read(data)
    assert isinstance(found, rendering.Data)
    assert (found.short, found.version) == ("Basket", 1)
    assert rendering.jsonable(found)["fields"] == {
        "lines": [{"item": "book", "price": "1.50"}],
        "extra": {
            "when": "2030-01-01T00:00:00+00:00",
            "set": [1, 2],
            "pair": [
                1,
                {
                    "type": f"{__name__}:Line",
                    "version": 1,
                    "fields": {"item": "x", "price": "1"},
                },
            ],
        },
    }
    words = rendering.words(found)
    assert words.startswith("Basket(lines=[{'item': 'book', 'price': '1.50'}], extra={'when': 2030")
    assert rendering.render(data, 20) == "Basket(lines=[{'ite…"
    assert rendering.render(payload(None)) == "None"
    assert rendering.render(payload(b"\x00")) == "b'\\x00'"
    assert rendering.render(b"nonsense").startswith("<cannot be read")
    assert rendering.name_of(b"nonsense") == "?"
    assert rendering.render_refusal(payload(OutOfStock("moon"))) == "OutOfStock('moon')"


# -- against the code


@attrs.frozen
class Ask(Call[str]):
    what: str


@attrs.frozen
class TakeBack(Call[None]):
    what: str


class Worker(Actor):
    @handles
    async def ask(self, message: Ask) -> str:
        await trio.sleep({"slow": 5.0}.get(message.what, 0.1))
        if message.what == "no":
            raise Refusal("no")
        if message.what == "crash":
            raise ValueError("crash")
        return message.what

    @handles
    def take_back(self, message: TakeBack) -> None:
        if message.what == "never":
            raise Refusal("never")


SCRIPTS: dict[str, Callable[[Any], Any]] = {}


@attrs.define
class Scripted(Workflow[Any]):
    name: str

    @property
    def id(self) -> str:
        return self.name

    async def run(self) -> Any:
        return await SCRIPTS[self.name](self)

    def did(self, what: str) -> Any:
        return self.step(Ask(what), undo=TakeBack(what), timeout=1.0)


def script(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    SCRIPTS[function.__name__] = function
    return function


@script
async def gathers(flow: Any) -> Any:
    await flow.gather(flow.did("a"), flow.receive(Approved), flow.sleep(0.5))
    return await flow.receive(Approved)


@script
async def gather_fails(flow: Any) -> Any:
    try:
        await flow.gather(flow.did("a"), flow.did("no"), flow.did("slow"), flow.sleep(60))
    except Refusal:
        await flow.did("b")
    return await flow.receive(Approved)


@script
async def races(flow: Any) -> Any:
    await flow.race(flow.did("a"), flow.did("slow"), flow.receive(Approved))
    await flow.receive(Approved)
    raise Refusal("no")


@script
async def undo_stuck(flow: Any) -> Any:
    await flow.did("never")
    await flow.did("a")
    await flow.did("no")


@script
async def no_undo(flow: Any) -> Any:
    await flow.step(Ask("a"), undo=lambda answer: 1 / 0)
    await flow.did("b")
    raise Refusal("no")


@script
async def attempts_spent(flow: Any) -> Any:
    await flow.did("a")
    await flow.did("crash")


@script
async def mistake(flow: Any) -> Any:
    await flow.did("a")
    raise ValueError


@script
async def child(flow: Any) -> Any:
    SCRIPTS["inner"] = races
    return await flow.child(Scripted("inner"))


@script
async def waits_twice(flow: Any) -> Any:
    await flow.sleep(1.0)
    await flow.receive(Approved, where=lambda signal: signal.by == "eve", timeout=5.0)
    return await flow.receive(Approved)


class Board(Mediator):
    components = [Child(Worker)]
    workflows = [Scripted]
    types = [Approved]
    journal = MemoryJournal()


def compare(driver: Driver, execution: Any) -> list[str]:
    """What the summary says otherwise than the execution."""
    records = [each.data for each in driver.shard.history(execution.number)]
    batch = driver.committer.batch.records
    records += [data for number, _, data in batch if number == execution.number]
    summary = summarize([h.decode_turn(each) for each in records])
    differences = []
    if summary.status != execution.status:
        differences.append(f"{summary.status} for {execution.status}")
    paths = {each.path for each in summary.waits} | {each.path for each in summary.incidents}
    opened = {path for path, each in execution.open.items() if not isinstance(each, Fork)}
    if paths != opened and execution.main is not None:
        differences.append(f"{sorted(paths)} for {sorted(opened)}")
    unread = [each.id for each in execution.inbox.unread] if execution.inbox else []
    if execution.over is None and [each.id for each in summary.unread] != unread:
        differences.append(f"{len(summary.unread)} unread for {len(unread)}")
    return differences


async def live(
    clock: VirtualClock, patch: pytest.MonkeyPatch, name: str, *, cancelled: bool, signals: int
) -> tuple[int, list[str]]:
    """Run a script; after how many turns record and code were compared, and where they differed."""
    found: list[str] = []
    turns = 0
    original = Driver.turn

    def turn(self: Driver, execution: Any, event: Any) -> None:
        nonlocal turns
        original(self, execution, event)
        if execution.paused is None or execution.paused.incident is None:
            turns += 1
            found.extend(f"{event!r}: {each}" for each in compare(self, execution))

    patch.setattr(Driver, "turn", turn)
    board = type("BoardOf", (Board,), {"journal": MemoryJournal()})
    async with open_system(seed=0, clock=clock.now) as system:
        ref = await system.start(board)
        handle: Handle[Any] = await ref.call(Start(Scripted(name)))
        await wait_all_tasks_blocked()
        for each in range(signals):
            await handle.signal(Approved("eve" if each else "bob"))
        await trio.sleep(0.15)
        if cancelled and not (await handle.status()).over:
            await handle.cancel()
        await trio.sleep(120)
    return turns, found


@pytest.mark.parametrize("signals", [0, 2], ids=["unsignalled", "signalled"])
@pytest.mark.parametrize("cancelled", [False, True], ids=["left alone", "cancelled"])
@pytest.mark.parametrize("name", sorted(SCRIPTS))
async def test_w17_the_record_tells_what_the_code_knows_after_every_turn(
    virtual_clock: VirtualClock,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    cancelled: bool,
    signals: int,
) -> None:
    turns, found = await live(
        virtual_clock, monkeypatch, name, cancelled=cancelled, signals=signals
    )
    assert found == []
    assert turns > 0


async def test_w17_without_looking_for_branches_that_ended_the_record_tells_less(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_Fold, "branch_ended", lambda self, branch, **how: None)
    _, found = await live(virtual_clock, monkeypatch, "races", cancelled=False, signals=0)
    assert found != []


# -- what the record alone tells


RESERVE = h.Intended("Reserve.2", "step", payload(Reserve("book")))
APPROVED = "tests.mediators.orders:Approved"


def signalled(id: str, expires: float | None = None) -> h.Signalled:
    return h.Signalled(id, payload(Approved("bob")), expires)


def test_a_run_that_goes_on_from_another_has_what_that_one_left() -> None:
    carried = h.Carried(
        [("s1", payload(Approved("bob")), T0 + 9)], ["s0"], [("1:a", payload(Refund("x")))], True
    )
    started = h.Started("order-17", 2, payload(PlaceOrder("17")), 7, carried=carried)
    summary = summarize([h.Turn(T0, [started, h.Slept("sleep.1", T0 + 60)])])
    assert (summary.run, summary.pivoted, summary.status) == (2, True, "waiting")
    assert [(each.id, each.type, each.expires) for each in summary.unread] == [
        ("s1", APPROVED, T0 + 9)
    ]
    assert [(each.path, each.message) for each in summary.undos] == [("1:a", "Refund(payment='x')")]


def test_a_run_whose_time_is_up_is_being_undone() -> None:
    summary = summarize(begun([CHARGED, RESERVE], [h.Fired("")], timeout=9.0))
    assert summary.status == "compensating"
    assert summary.cancelled is not None
    assert [(each.path, each.kind) for each in summary.waits] == [("Reserve.2", "settle")]


def test_a_step_that_is_skipped_counts_as_failed_and_an_undo_as_made() -> None:
    stuck = h.Stuck("Reserve.2", h.Trouble("Reserve.2", "Nobody knows."))
    turns = begun([CHARGED, RESERVE], [stuck])
    assert summarize(turns).status == "incident"
    undo = h.Intended("undo/Charge.1", "undo", payload(Refund("paid")))
    turns.append(h.Turn(T0 + 5, [h.Skipped("Reserve.2"), undo]))
    summary = summarize(turns)
    assert (summary.status, summary.incidents) == ("compensating", ())
    turns.append(h.Turn(T0 + 6, [h.Refused("undo/Charge.1", payload(OutOfStock("no")))]))
    summary = summarize(turns)
    assert [(each.path, each.text) for each in summary.incidents] == [
        ("undo/Charge.1", "The undo was refused: OutOfStock('no')")
    ]
    turns.append(h.Turn(T0 + 7, [h.Skipped("undo/Charge.1"), _failed()]))
    assert summarize(turns).status == "failed"


def test_a_step_that_failed_settles_before_what_was_before_it_is_undone() -> None:
    failed = h.Failed("Reserve.2", 5, "ActorDied", "it died")
    turns = begun([CHARGED, RESERVE], [failed])
    summary = summarize(turns)
    assert summary.status == "compensating"
    assert [(each.path, each.kind) for each in summary.waits] == [("Reserve.2", "settle")]
    turns.append(h.Turn(T0 + 5, [h.Settled("Reserve.2")]))
    assert summarize(turns).waits == ()


def test_past_the_pivot_nothing_is_undone_and_a_failure_stands_until_it_is_decided() -> None:
    pivoted: list[h.Event] = [CHARGED, h.Pivoted(), RESERVE]
    refused = h.Refused("Reserve.2", payload(OutOfStock("book")))
    turns = begun(pivoted, [refused, h.Paused("pivot", h.Trouble("", "It was refused."))])
    summary = summarize(turns)
    assert (summary.status, summary.pivoted, summary.undos) == ("incident", True, ())
    assert "stands as an incident since" in told(turns)
    assert "behind its pivot: It was refused; decide with retry or resolve" in told(turns)
    resolved = h.Resolved("", payload("by hand"))
    turns.append(h.Turn(T0 + 5, [resolved, h.Ended("done", payload("by hand"))]))
    summary = summarize(turns)
    assert (summary.status, summary.outcome, summary.pause) == ("done", "by hand", None)


def test_signals_that_come_while_it_is_paused_are_kept_and_then_read() -> None:
    turns = begun(
        [CHARGED, h.Awaited("receive.2", APPROVED)],
        [signalled("s1"), h.Paused("mistake", h.Trouble("", "KeyError: 1"))],
        [signalled("s2")],
    )
    summary = summarize(turns)
    assert summary.pause is not None
    assert (summary.pause.kept, summary.unread) == (2, ())
    turns += [
        h.Turn(T0 + 5, [h.Resumed()]),
        h.Turn(T0 + 6, [h.Delivered(), h.Slept("sleep.3", T0 + 60)]),
        h.Turn(T0 + 7, [h.Delivered()]),
    ]
    summary = summarize(turns)
    assert [each.id for each in summary.unread] == ["s2"]
    assert [each.path for each in summary.waits] == ["sleep.3"]


def test_what_is_cancelled_while_it_is_paused_takes_what_was_kept_without_its_code() -> None:
    turns = begun([CHARGED, RESERVE], [h.Paused("lunch")])
    turns.append(h.Turn(T0 + 5, [h.Completed("Reserve.2", payload("book"))]))
    assert summarize(turns).status == "paused"
    turns.append(h.Turn(T0 + 6, [h.Cancelled("enough")]))
    summary = summarize(turns)
    assert (summary.status, summary.pause, summary.waits) == ("compensating", None, ())


def test_a_signal_that_has_come_before_is_taken_by_the_receive_that_goes_on() -> None:
    turns = begun(
        [signalled("s1")],
        [CHARGED, h.Awaited("receive.2", APPROVED), h.Slept("sleep.3", T0 + 60)],
    )
    summary = summarize(turns)
    assert (summary.unread, [each.path for each in summary.waits]) == ((), ["sleep.3"])


def test_a_signal_in_a_branch_ends_its_receive() -> None:
    forked = h.Forked("gather.2", "gather", 2)
    waits = [h.Awaited("gather.2/1/receive.1", APPROVED), h.Slept("gather.2/2/sleep.1", T0 + 60)]
    summary = summarize(begun([CHARGED, forked, *waits], [signalled("s1")]))
    assert [each.path for each in summary.waits] == ["gather.2/2/sleep.1"]
    assert summary.unread == ()
    # And one that has come before, too.
    summary = summarize(begun([signalled("s1")], [CHARGED, forked, *waits]))
    assert [each.path for each in summary.waits] == ["gather.2/2/sleep.1"]


def test_a_race_is_decided_by_the_branch_that_ends_first() -> None:
    forked = h.Forked("race.2", "race", 2)
    step = h.Intended("race.2/1/Reserve.1", "step", payload(Reserve("book")))
    turns = begun(
        [CHARGED, forked, step, h.Slept("race.2/2/sleep.1", T0 + 60)], [h.Fired("race.2/2/sleep.1")]
    )
    summary = summarize(turns)
    assert [(each.path, each.kind) for each in summary.waits] == [("race.2/1/Reserve.1", "settle")]
    assert summary.status == "running"
    undo = h.Intended("undo/race.2/1/Reserve.1", "undo", payload(Refund("book")))
    settled = h.Completed("race.2/1/Reserve.1", payload("book"), payload(Refund("book")))
    turns.append(h.Turn(T0 + 5, [settled, undo]))
    summary = summarize(turns)
    # Only the branch is taken back: the run goes on.
    assert summary.status == "running"
    assert [each.kind for each in summary.waits] == ["undo"]
    turns.append(
        h.Turn(T0 + 6, [h.Completed("undo/race.2/1/Reserve.1", payload(None)), h.Slept("s.3", T0)])
    )
    summary = summarize(turns)
    assert [each.path for each in summary.waits] == ["s.3"]
    assert [each.path for each in summary.undos] == ["Charge.1"]


def test_an_effect_is_told_by_its_function_and_a_child_by_its_end() -> None:
    effect = h.Intended("ask.2", "effect", payload(["shop:ask", ["moon"]]))
    turns = begun([CHARGED, effect])
    assert [each.type for each in summarize(turns).waits] == ["shop:ask"]
    assert "waits for its effect ask (step ask.2), begun 3 s ago" in told(turns)
    child = h.Spawned("Pack.3", "pack-17", payload(PlaceOrder("x")))
    turns.append(h.Turn(T0 + 5, [h.Completed("ask.2", payload(1)), child]))
    ended = h.ChildEnded("Pack.3", "done", payload(1), [("Wrap.1", payload(Refund("wrap")))])
    turns.append(h.Turn(T0 + 6, [ended, h.Slept("sleep.4", T0 + 60)]))
    assert [each.path for each in summarize(turns).undos] == ["Charge.1", "Pack.3/Wrap.1"]


def test_an_undo_without_a_message_stands_when_its_turn_comes() -> None:
    faulty = h.Completed("Charge.1", payload("paid"), fault="undo= raised KeyError: 'id'")
    turns = begun([faulty, RESERVE], [h.Refused("Reserve.2", payload(OutOfStock("moon")))])
    summary = summarize(turns)
    assert summary.status == "incident"
    assert [(each.path, each.text) for each in summary.incidents] == [
        ("undo/Charge.1", "undo= raised KeyError: 'id'")
    ]


def test_a_run_that_continues_is_over_and_says_as_what_it_goes_on() -> None:
    turns = begun([CHARGED, h.Continued(payload(PlaceOrder("18")))])
    summary = summarize(turns)
    assert summary.status == "continued" and summary.over
    assert told(turns) == (
        "Run 1 of order-17 ended 2030-01-01 00:00:01 UTC, 3 s ago: it goes on as "
        "PlaceOrder(order='18', item='book')."
    )


def test_the_outcome_of_what_is_over_is_in_its_sentence() -> None:
    done = begun([CHARGED, h.Ended("done", payload(None))])
    assert told(done) == "order-17 is done: it ended 2030-01-01 00:00:01 UTC, 3 s ago."
    done = begun([CHARGED, h.Ended("done", payload("book"))])
    assert told(done).startswith("order-17 is done, with 'book': it ended")
    cancelled = begun([h.Cancelled("enough")], [CHARGED, h.Ended("cancelled")])
    assert told(cancelled).startswith("order-17 was cancelled (enough): it ended")


def test_a_run_that_waits_for_nothing_is_about_to_go_on() -> None:
    started = h.Started("w", 1, payload(PlaceOrder("17")), 7)
    assert told([h.Turn(T0, [started])]) == "w waits for nothing: its code is about to go on."


def test_a_time_no_clock_shows_is_never() -> None:
    from mediators.reading.why import stamp

    assert stamp(float("inf")) == "never"
    assert stamp(1e30) == "never"
