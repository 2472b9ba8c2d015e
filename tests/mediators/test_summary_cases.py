"""W17: what the record of a run alone tells of it, case by case."""

from __future__ import annotations

from mediators import history as h
from mediators.reading.moments import stamp
from mediators.reading.summary import summarize
from tests.mediators.orders import Approved, OutOfStock, PlaceOrder, Refund, Reserve
from tests.mediators.test_summary import CHARGED, T0, begun, payload, told

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
    turns.append(
        h.Turn(T0 + 7, [h.Skipped("undo/Charge.1"), h.Ended("failed", payload(OutOfStock("moon")))])
    )
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
    assert stamp(float("inf")) == "never"
    assert stamp(1e30) == "never"
