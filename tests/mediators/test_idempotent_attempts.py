"""W11: one attempt at a time; and what Settle is told about it (W9)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorDied,
    CallCycle,
    CallTimeout,
    Envelope,
    Later,
    Next,
    NoSuchActor,
    System,
    Unhandled,
    handles,
    open_system,
)
from mediators.idempotency.middleware import KeyClosed, Settle, Settled
from mediators.testing import call_with_key
from tests.mediators.banks import (
    Balance,
    Bank,
    Charge,
    ChargeOutside,
    Do,
    DoSlowly,
    Overdrawn,
    Receipt,
    attempt,
    payments,
    rows,
    supervised,
)

if TYPE_CHECKING:
    from pathlib import Path


async def test_w11_a_second_attempt_waits_for_a_deferred_answer_and_keeps_nobody_from_giving_it(
    system: System, tmp_path: Path
) -> None:
    laters: list[Later[Any]] = []

    def defers(actor: Bank) -> Any:
        laters.append(actor.later())
        return laters[-1]

    ref = await system.start(Bank, payments(tmp_path / "a.db"))
    log: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, log, ref, Do(defers), "k", None)
        await wait_all_tasks_blocked()
        nursery.start_soon(attempt, log, ref, Do(defers), "k", None)
        nursery.start_soon(attempt, log, ref, Settle("k"), "other", None)
        await wait_all_tasks_blocked()
        assert len(laters) == 1 and log == []
        ref.cast([lambda actor: laters[0].reply(7)])
    assert sorted(log, key=str) == [7, 7, Settled("answered", 7)]
    assert rows(tmp_path / "a.db") == [("k", "answered")]
    assert await call_with_key(ref, Do(defers), "k") == 7


async def test_w11_if_the_first_crashed_the_waiting_one_runs(
    system: System, tmp_path: Path
) -> None:
    layer = payments(tmp_path / "a.db")
    laters: list[Later[Any]] = []

    async def crashes(actor: Bank) -> None:
        await trio.sleep(1)
        raise ValueError

    one = await system.start(Bank, layer)
    other = await system.start(Bank, layer)
    log: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, log, one, DoSlowly(crashes), "k")
        await wait_all_tasks_blocked()
        nursery.start_soon(attempt, log, other, ChargeOutside(), "k")
    assert isinstance(log[0], ActorDied)
    assert log[1:] == [Receipt(1)]
    assert laters == []


async def test_w11_if_the_actor_dies_with_its_answer_deferred_the_waiting_one_runs_then(
    system: System, tmp_path: Path
) -> None:
    async def fails(actor: Bank) -> None:
        raise ValueError

    await system.start(supervised(payments(tmp_path / "a.db")))
    ref = system.whereis("bank")
    assert ref is not None
    log: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, log, ref, Do(lambda actor: actor.later()), "k")
        await wait_all_tasks_blocked()
        nursery.start_soon(attempt, log, ref, Charge(10), "k")
        await wait_all_tasks_blocked()
        with pytest.raises(ActorDied):
            await ref.call(DoSlowly(fails))
    assert isinstance(log[0], ActorDied)
    assert log[1:] == [Receipt(90, ("charged",))]
    assert ref.incarnation == 2


async def test_w11_waiting_is_bounded_by_the_callers_deadline(
    system: System, tmp_path: Path
) -> None:
    layer = payments(tmp_path / "a.db")
    ref = await system.start(Bank, layer)
    other = await system.start(Bank, layer)
    log: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, log, ref, Do(lambda actor: actor.later()), "k", 100.0)
        await wait_all_tasks_blocked()
        for _ in range(3):
            with pytest.raises(CallTimeout):
                await call_with_key(other, ChargeOutside(), "k", timeout=2.0)
        assert trio.current_time() == pytest.approx(6)
        assert await other.call(Balance()) == 100
        running: Any = layer.store(system).running["k"]
        assert len(running.waiting) == 1
        await ref.stop()
    assert isinstance(log[0], ActorDied)
    assert other.state == "up"


async def test_w11_a_late_answer_is_remembered_although_its_caller_has_gone(
    system: System, tmp_path: Path
) -> None:
    charged: list[int] = []
    ref = await system.start(Bank, payments(tmp_path / "a.db"), charged)
    with pytest.raises(CallTimeout):
        await call_with_key(ref, ChargeOutside(), "k", timeout=0.5)
    assert await call_with_key(ref, ChargeOutside(), "k") == Receipt(1)
    laters: list[Later[Any]] = []

    def defers(actor: Bank) -> Any:
        laters.append(actor.later())
        return laters[-1]

    with pytest.raises(CallTimeout):
        await call_with_key(ref, Do(defers), "late", timeout=0.5)
    laters[0].reply(3)
    assert await call_with_key(ref, Do(defers), "late") == 3
    assert (charged, len(laters)) == ([10], 1)


async def test_w11_a_refusal_given_later_is_remembered_and_another_error_is_not(
    system: System, tmp_path: Path
) -> None:
    laters: list[Later[Any]] = []

    def defers(actor: Bank) -> Any:
        laters.append(actor.later())
        return laters[-1]

    ref = await system.start(Bank, payments(tmp_path / "a.db"))
    log: list[Any] = []
    for error in (Overdrawn(-1), CallTimeout("of somebody else", timeout=1.0)):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(attempt, log, ref, Do(defers), type(error).__name__)
            await wait_all_tasks_blocked()
            laters[-1].fail(error)
    assert [type(each) for each in log] == [Overdrawn, CallTimeout]
    assert rows(tmp_path / "a.db") == [("Overdrawn", "refused")]


async def test_w11_what_waits_for_a_place_that_goes_is_told(system: System, tmp_path: Path) -> None:
    layer = payments(tmp_path / "a.db")
    one = await system.start(Bank, layer)
    other = await system.start(Bank, layer)
    log: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, log, one, Do(lambda actor: actor.later()), "k")
        await wait_all_tasks_blocked()
        nursery.start_soon(attempt, log, other, ChargeOutside(), "k")
        await wait_all_tasks_blocked()
        await other.stop()
        await one.stop()
    assert {type(each) for each in log} == {ActorDied, NoSuchActor}


async def test_w11_a_message_handed_on_or_set_aside_is_no_answer(
    system: System, tmp_path: Path
) -> None:
    layer = payments(tmp_path / "a.db")
    desk = await system.start(Bank, layer)

    class Door(Bank):
        opened = False

        @handles
        def charge(self, message: Charge) -> Any:
            if not self.opened:
                self.stash()
                return
            desk.forward(self.envelope)

    door = await system.start(Door, layer)
    log: list[Any] = []

    def opens(actor: Any) -> None:
        actor.opened = True
        actor.unstash()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, log, door, Charge(10), "k")
        await wait_all_tasks_blocked()
        assert log == [] and layer.store(system).running == {}
        door.cast([opens])
    assert log == [Receipt(90, ("charged",))]
    assert await call_with_key(door, Charge(10), "k") == Receipt(90, ("charged",))
    assert rows(tmp_path / "a.db") == [("k", "answered")]


async def test_w11_an_attempt_that_waits_for_itself_is_told_at_once(
    system: System, tmp_path: Path
) -> None:
    layer = payments(tmp_path / "a.db")
    desk = await system.start(Bank, layer)

    async def asks(actor: Bank) -> str:
        with pytest.raises(CallCycle) as caught:
            await call_with_key(desk, Charge(10), "k", timeout=None)
        return " ".join(each.path for each in caught.value.chain)

    ref = await system.start(Bank, layer)
    assert await call_with_key(ref, DoSlowly(asks), "k", timeout=None) == f"{ref.path} {ref.path}"
    assert trio.current_time() == 0


# -- settling


async def test_w9_settle_tells_what_was_answered_and_what_was_refused(
    system: System, tmp_path: Path
) -> None:
    ref = await system.start(Bank, payments(tmp_path / "a.db"))
    await call_with_key(ref, Charge(10), "yes")
    with pytest.raises(Overdrawn):
        await call_with_key(ref, Charge(500), "no")
    assert await ref.call(Settle("yes")) == Settled("answered", Receipt(90, ("charged",)))
    settled = await ref.call(Settle("no"))
    assert settled.outcome == "refused" and isinstance(settled.refusal, Overdrawn)


async def test_w9_settle_closes_a_key_without_outcome_for_ever(tmp_path: Path) -> None:
    charged: list[int] = []
    for _ in range(2):
        async with open_system() as system:
            ref = await system.start(Bank, payments(tmp_path / "a.db", retention=0.0), charged)
            assert await ref.call(Settle("k")) == Settled("closed")
            with pytest.raises(KeyClosed, match="'k'"):
                await call_with_key(ref, Charge(10), "k")
            assert await ref.call(Settle("k")) == Settled("closed")
    assert charged == []


async def test_w9_settle_waits_for_a_running_attempt(system: System, tmp_path: Path) -> None:
    layer = payments(tmp_path / "a.db")
    ref = await system.start(Bank, layer)
    other = await system.start(Bank, layer)
    log: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, log, ref, ChargeOutside(), "k")
        await wait_all_tasks_blocked()
        assert await other.call(Settle("k")) == Settled("answered", Receipt(1))
    assert trio.current_time() == pytest.approx(1)


async def test_w9_settle_behind_a_crashing_attempt_closes(system: System, tmp_path: Path) -> None:
    await system.start(supervised(payments(tmp_path / "a.db")))
    ref = system.whereis("bank")
    assert ref is not None
    log: list[Any] = []

    async def crashes(actor: Bank) -> None:
        await trio.sleep(1)
        raise ValueError

    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, log, ref, DoSlowly(crashes), "k")
        await wait_all_tasks_blocked()
        assert await ref.call(Settle("k")) == Settled("closed")
    assert isinstance(log[0], ActorDied)
    with pytest.raises(KeyClosed):
        await call_with_key(ref, Charge(10), "k")
    assert await ref.call(Balance()) == 100


async def test_w9_an_actor_without_idempotent_has_no_handler_for_settle(system: System) -> None:
    async def passes(envelope: Envelope, next: Next) -> Any:
        return await next(envelope)

    ref = await system.start(Bank, passes)
    with pytest.raises(Unhandled):
        await ref.call(Settle("k"))
