"""What is told of a journal: every kind of event in words and as data, and what is waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from mediators import history as h
from mediators.driver import requests
from mediators.execution.execution import Execution
from mediators.journal import SqliteJournal
from mediators.journal.protocol import Batch, RunRow
from observers import records
from observers.cli import main
from observers.failures import ExitCode, Failed
from tests.mediators.orders import Approved, Charge, PlaceOrder, Refund, Reserve
from tests.observers.journals import MOON, PAID, T0, TYPES, begun, payload, written

if TYPE_CHECKING:
    from pathlib import Path

ORDER = payload(PlaceOrder("17"))
REFUND = payload(Refund("paid"))
TROUBLE = h.Trouble("Charge.1", "The code differs.", "Charge.1", "Reserve.1")


# -- events


WORDS: list[tuple[h.Event, str, str]] = [
    (h.Started("w", 1, ORDER, 7), "", "PlaceOrder(order='17', item='book')"),
    (h.Completed("a", payload(41)), "a", "41"),
    (h.Completed("a", payload(41), REFUND), "a", "41; to undo it: Refund(payment='paid')"),
    (
        h.Completed("a", payload(None), fault="undo= raised KeyError"),
        "a",
        "None; undo= raised KeyError",
    ),
    (h.Resolved("a", payload("by hand")), "a", "'by hand'"),
    (h.Refused("a", MOON), "a", "OutOfStock('moon')"),
    (
        h.Failed("a", 3, "ActorDied", "it died"),
        "a",
        "after 3 attempts, the last with ActorDied: it died",
    ),
    (h.Attempted("a", 2, "timeout"), "a", "attempt 2, because of: timeout"),
    (h.Fired("sleep.1"), "sleep.1", ""),
    (h.Signalled("s", payload(Approved("bob"))), "", "Approved(by='bob')"),
    (
        h.Signalled("s", payload(Approved("bob")), T0),
        "",
        "Approved(by='bob'), to be read until 2030-01-01 00:00 UTC",
    ),
    (h.Expired("s"), "", "signal s was not read in time"),
    (h.Cancelled("enough"), "", "enough"),
    (h.Paused("lunch"), "", "lunch"),
    (
        h.Paused("mistake", TROUBLE),
        "",
        "mistake: Charge.1: The code differs. Recorded: Charge.1. Came: Reserve.1.",
    ),
    (h.Paused("mistake", h.Trouble("", "KeyError: 1")), "", "mistake: KeyError: 1"),
    (h.Resumed(), "", ""),
    (h.ChildEnded("pack.1", "done", payload(3)), "pack.1", "done: 3"),
    (h.ChildEnded("pack.1", "failed", MOON), "pack.1", "failed: OutOfStock('moon')"),
    (h.ChildEnded("pack.1", "cancelled"), "pack.1", "cancelled"),
    (
        h.Stuck("a", TROUBLE),
        "a",
        "The code differs. Recorded: Charge.1. Came: Reserve.1.",
    ),
    (
        h.Intended("a", "step", payload(Charge("17")), REFUND),
        "a",
        "Charge(order='17'); to undo it: Refund(payment='paid')",
    ),
    (
        h.Intended("a", "effect", payload(["shop:ask", ["moon", 3]])),
        "a",
        "ask('moon', 3)",
    ),
    (h.Intended("a", "effect", payload(["shop:ask", None])), "a", "ask()"),
    (h.Intended("a", "effect", payload("shop:ask")), "a", "'shop:ask'"),
    (h.Slept("sleep.1", T0 + 1), "sleep.1", "until 2030-01-01 00:00:01 UTC"),
    (h.Awaited("receive.1", "shop:Approved"), "receive.1", "a signal shop:Approved"),
    (
        h.Awaited("receive.1", "shop:Approved", T0),
        "receive.1",
        "a signal shop:Approved until 2030-01-01 00:00 UTC",
    ),
    (
        h.Spawned("pack.1", "order-17", ORDER),
        "pack.1",
        "order-17: PlaceOrder(order='17', item='book')",
    ),
    (
        h.Spawned("pack.1", "order-17", ORDER, True),
        "pack.1",
        "order-17: PlaceOrder(order='17', item='book'), detached",
    ),
    (h.Forked("race.1", "race", 3), "race.1", "race of 3 branches"),
    (h.Patched("two-parcels"), "", "two-parcels"),
    (h.Pivoted(), "", ""),
    (h.Continued(ORDER), "", "PlaceOrder(order='17', item='book')"),
    (h.Ended("done", payload("ok")), "", "done: 'ok'"),
    (h.Ended("done"), "", "done"),
    (h.Ended("failed", MOON), "", "failed: OutOfStock('moon')"),
    (h.Intended("a", "step", h.Raw(b"\xc1")), "a", "<cannot be read: "),
]


@pytest.mark.parametrize(
    ("event", "path", "text"),
    WORDS,
    ids=[f"{type(each[0]).__name__.lower()}-{index}" for index, each in enumerate(WORDS)],
)
def test_every_event_is_told_in_words(event: h.Event, path: str, text: str) -> None:
    (line,) = records.lines([h.Turn(T0, [event])])  # type: ignore[list-item]
    assert (line.time, line.first, line.kind) == (T0, True, type(event).__name__.lower())
    assert line.path == path
    if "cannot be read" in text:
        assert line.text.startswith(text)
    else:
        assert line.text == text
    assert line.data["kind"] == line.kind


def test_a_long_payload_is_cut_in_a_table() -> None:
    text = records.in_words(h.Completed("a", payload("x" * 1000)))
    assert len(text) == records.WIDTH and text.endswith("…")


def test_what_followed_is_told_from_what_came() -> None:
    lines = records.lines(begun("w", [PAID, h.Slept("sleep.2", T0)]))
    assert [(each.kind, each.first) for each in lines] == [
        ("started", True),
        ("intended", False),
        ("completed", True),
        ("slept", False),
    ]


@pytest.mark.parametrize(
    ("event", "data"),
    [
        (
            h.Completed("a", payload(b"\x00"), REFUND),
            {
                "value": "AA==",
                "undo": {
                    "type": "tests.mediators.orders:Refund",
                    "version": 1,
                    "fields": {"payment": "paid"},
                },
                "fault": None,
            },
        ),
        (
            h.Stuck("a", TROUBLE),
            {
                "incident": {
                    "path": "Charge.1",
                    "text": "The code differs. Recorded: Charge.1. Came: Reserve.1.",
                }
            },
        ),
        (
            h.Ended("cancelled", undos=[("a", payload("x"))]),
            {"status": "cancelled", "value": None, "undos": [{"path": "a", "message": "x"}]},
        ),
        (
            h.Started("w", 2, payload(1), 7, carried=h.Carried([("s", ORDER, None)], [], [])),
            {"carried": {"signals": 1, "undos": []}, "workflow": 1, "run": 2},
        ),
        (
            h.Started("w", 2, payload(1), 7, carried=h.Carried(undos=[("1:a", REFUND)])),
            {"carried": {"signals": 0, "undos": ["1:a"]}},
        ),
    ],
    ids=["payloads", "trouble", "undos", "signals carried", "undos carried"],
)
def test_events_are_data_with_their_payloads_read(event: h.Event, data: dict[str, Any]) -> None:
    found = records.as_data(event)
    assert {name: found[name] for name in data} == data
    msgspec.json.encode(found)


@pytest.mark.parametrize(
    ("event", "kind", "of"),
    [
        (h.Intended("a", "effect", payload(["shop:ask", []])), "intended", "effect"),
        (h.Forked("race.1", "race", 2), "forked", "race"),
    ],
    ids=["intended", "forked"],
)
def test_what_an_event_calls_its_kind_does_not_hide_which_event_it_is(
    event: h.Event, kind: str, of: str
) -> None:
    found = records.as_data(event)
    assert (found["kind"], found["of"]) == (kind, of)


# -- requests


@pytest.mark.parametrize(
    ("request_", "text"),
    [
        (requests.SignalRequest(id="w", type="shop:Approved"), "signal Approved"),
        (requests.RetryRequest(id="w", path="Charge.1"), "retry Charge.1"),
        (requests.ResumeRequest(id="w"), "resume"),
    ],
    ids=["with a type", "with a path", "plain"],
)
def test_a_request_is_told_in_a_few_words(request_: Any, text: str) -> None:
    assert records.request_as_words(request_) == text


# -- records that are none


@pytest.fixture
def damaged(tmp_path: Path) -> str:
    """Of three open runs, the first has a record that is none, the second begins in the middle."""
    file = written(tmp_path, ([PAID],))
    journal = SqliteJournal(file)
    try:
        shard = journal.acquire(0)
        shard.append(Batch(records=[(shard.next_number - 1, 2, b"\xc1 no turn")]))
        number = shard.next_number
        rows = [
            RunRow(number, "headless", 1, "PlaceOrder", "running", T0),
            RunRow(number + 1, "order-9", 1, "PlaceOrder", "running", T0),
        ]
        turns = [h.Turn(T0, [h.Resumed()]), *begun("order-9", [PAID, h.Slept("s.1", T0)])]
        data = [h.encode_turn(each.time, each.events) for each in turns]
        rest = [(number + 1, seq, each) for seq, each in enumerate(data[1:])]
        shard.append(Batch(rows, [(number, 0, data[0]), *rest]))
    finally:
        journal.close()
    return str(file)


def test_a_run_whose_record_is_none_is_told_and_the_others_are_listed(damaged: str) -> None:
    with records.opened(damaged) as reader:
        found, earlier = records.listed(reader, None, None, 10, T0)
    assert earlier == 0
    assert [(each.row.id, each.status) for each in found] == [
        ("order-1", "running"),
        ("headless", "running"),
        ("order-9", "waiting"),
    ]
    assert found[0].waits.startswith("its record cannot be read: The record of 'order-1' is none:")
    assert "begins with the start of a run" in found[1].waits
    assert found[2].waits.startswith("time, ")


@pytest.mark.parametrize(
    ("id", "text"),
    [
        ("order-1", "The record of 'order-1' is none: "),
        ("headless", "'headless': A record begins with the start of a run."),
    ],
    ids=["no turn", "no start"],
)
@pytest.mark.parametrize("command", ["show", "why"])
def test_exit_code_4_a_record_that_is_none_is_named(
    capsys: pytest.CaptureFixture[str], damaged: str, command: str, id: str, text: str
) -> None:
    assert main(["workflows", command, damaged, id]) == ExitCode.UNREADABLE
    assert text in capsys.readouterr().err


def test_only_so_many_that_wait_are_looked_for_from_the_latest_on(tmp_path: Path) -> None:
    sleeping = ([PAID, h.Slept("sleep.2", T0 + 9)],)
    busy = ([PAID, h.Intended("Reserve.2", "step", payload(Reserve("book")))],)
    file = written(tmp_path, sleeping, busy, sleeping, sleeping)
    with records.opened(str(file)) as reader:

        def ids(status: str, limit: int) -> list[str]:
            return [each.row.id for each in records.listed(reader, status, None, limit, T0)[0]]

        assert ids("waiting", 2) == ["order-3", "order-4"]
        assert ids("waiting", 9) == ["order-1", "order-3", "order-4"]
        assert ids("running", 9) == ["order-2"]


def test_a_run_that_is_not_there_is_told_from_a_workflow_that_is_not(tmp_path: Path) -> None:
    file = written(tmp_path, ([PAID],))
    with records.opened(str(file)) as reader:
        assert records.find(reader, "order-1", 1).run == 1
        with pytest.raises(Failed, match="There is no run 2 of 'order-1' in .*written.db") as told:
            records.find(reader, "order-1", 2)
        with pytest.raises(Failed, match="There is no workflow 'other' in "):
            records.find(reader, "other")
    assert told.value.code == ExitCode.NO_SUCH_WORKFLOW


def test_these_records_are_what_a_mediator_would_have_written() -> None:
    """The code of today follows them: they are no inventions."""
    from mediators.execution.replay import replay

    turns = begun("order-17", [PAID, h.Intended("Reserve.2", "step", payload(Reserve("book")))])
    execution = Execution(TYPES, 1, "order-17", 1)
    try:
        assert replay(execution, [h.encode_turn(each.time, each.events) for each in turns]) is None
    finally:
        execution.drop()
