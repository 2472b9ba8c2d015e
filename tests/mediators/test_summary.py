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
from actors.payloads.types import Types
from mediators import Handle, Mediator, MemoryJournal, Start, Workflow
from mediators import history as h
from mediators.driver.driver import Driver
from mediators.execution.commands import Fork
from mediators.reading import rendering
from mediators.reading.fold import Fold
from mediators.reading.moments import moment, ordinal, span
from mediators.reading.summary import summarize
from mediators.reading.why import why
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


def test_why_a_mismatch_is_not_resumed() -> None:
    trouble = h.Trouble("Charge.1", "The code does not follow its record.", "Charge(1).", "Ship(1)")
    turns = begun([CHARGED, h.Paused("mismatch", trouble)])
    text = told(turns)
    assert "because its code does not follow its record" in text
    assert " resume " not in text
    assert "It goes on when its owner is started with the code mended; or end it with: " in text
    assert " cancel " in text
    assert ".." not in text.replace("...", "")


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
    monkeypatch.setattr(Fold, "branch_ended", lambda self, branch, **how: None)
    _, found = await live(virtual_clock, monkeypatch, "races", cancelled=False, signals=0)
    assert found != []
