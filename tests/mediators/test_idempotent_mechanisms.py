"""W11: each safeguard shown to be what keeps things right: with it, and with it removed."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorDied, Envelope, Later, Next, System, open_system
from actors.runtime import host
from mediators.idempotency import keystore
from mediators.idempotency import middleware as idempotency
from mediators.testing import call_with_key
from tests.mediators.banks import (
    UPDATE,
    Balance,
    Bank,
    Charge,
    ChargeOutside,
    Do,
    Receipt,
    attempt,
    payments,
    supervised,
)

if TYPE_CHECKING:
    from pathlib import Path

both = pytest.mark.parametrize("removed", [False, True], ids=["in place", "removed"])


async def banked(system: System, path: Path) -> Any:
    await system.start(supervised(payments(path)))
    return system.whereis("bank")


@both
async def test_w11_a_reply_within_a_transaction_would_commit_what_is_not_done(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    if removed:
        monkeypatch.setattr(
            idempotency.Attempt, "_refuse_inside_a_transaction", lambda attempt: None
        )
    laters: list[Later[Any]] = []

    def defers(actor: Bank) -> Any:
        laters.append(actor.later())
        return laters[-1]

    def answers_and_fails(actor: Bank) -> None:
        actor.envelope.transaction.execute(UPDATE, (10,))
        laters[0].reply(1)
        raise ValueError

    other = await system.start(Bank, payments(tmp_path / "a.db"))
    ref = await banked(system, tmp_path / "a.db")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, [], other, Do(defers), "first")
        await wait_all_tasks_blocked()
        with pytest.raises(ActorDied):
            await call_with_key(ref, Do(answers_and_fails), "second")
        laters[0].reply(1)
    assert await ref.call(Balance()) == (90 if removed else 100)


@both
async def test_w11_a_crash_caught_by_a_layer_would_leave_its_effect(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    if removed:
        atomically = host._atomically

        def forgets(place: Any, turn: Any, route: Any, message: object) -> Any:
            function = route.function

            class Route:
                @staticmethod
                def function(actor: Any, message: object) -> Any:
                    try:
                        return function(actor, message)
                    finally:
                        turn.undo = None

            return atomically(place, turn, Route, message)  # type: ignore[arg-type]

        monkeypatch.setattr(host, "_atomically", forgets)

    async def catches(envelope: Envelope, next: Next) -> Any:
        try:
            return await next(envelope)
        except ValueError:
            return Receipt(-1)

    class Caught(Bank):
        def __init__(self, layer: Any) -> None:
            super().__init__(None)
            self.middleware = [layer, catches]

    ref = await system.start(Caught, payments(tmp_path / "a.db"))
    assert await call_with_key(ref, Charge(10, then="crash"), "k") == Receipt(-1)
    assert await ref.call(Balance()) == (90 if removed else 100)


@both
async def test_w11_a_handler_that_commits_would_leave_its_effect_without_an_answer(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    if removed:
        monkeypatch.setattr(keystore.KeyStore, "_authorize", lambda *_: sqlite3.SQLITE_OK)

    def commits(actor: Bank) -> None:
        db = actor.envelope.transaction
        db.execute(UPDATE, (10,))
        db.commit()

    ref = await banked(system, tmp_path / "a.db")
    with pytest.raises(ActorDied) as caught:
        await call_with_key(ref, Do(commits), "k")
    assert "committed or rolled back by itself" in str(caught.value.__cause__)
    assert await ref.call(Balance()) == (90 if removed else 100)


@both
async def test_w11_without_the_lock_two_systems_would_write_one_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    if removed:
        monkeypatch.setattr(keystore, "_locked", lambda path: None)
    charged: list[int] = []
    log: list[Any] = []
    async with open_system() as one, open_system() as other, trio.open_nursery() as nursery:
        for system in (one, other):
            ref = await system.start(Bank, payments(tmp_path / "a.db"), charged)
            nursery.start_soon(attempt, log, ref, ChargeOutside(), "k")
    # One look-up each, before either had written anything.
    assert charged == ([10, 10] if removed else [10])


@both
async def test_w11_a_deferred_answer_would_be_forgotten(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, removed: bool
) -> None:
    """The attempt stands in for the caller's slot, whose own settling writes nothing."""
    if removed:

        def settles(self: idempotency.Attempt) -> None:
            super(idempotency.Attempt, self).settle()
            self.forget()
            assert self.caller is not None
            self.caller.reply(self.value)

        monkeypatch.setattr(idempotency.Attempt, "settle", settles)
    laters: list[Later[Any]] = []

    def defers(actor: Bank) -> Any:
        laters.append(actor.later())
        actor.start_soon(answers, laters[-1])
        return laters[-1]

    async def answers(later: Later[Any]) -> None:
        await trio.sleep(1)
        later.reply(len(laters))

    ref = await system.start(Bank, payments(tmp_path / "a.db"))
    answers_given = [await call_with_key(ref, Do(defers), "k") for _ in range(2)]
    assert answers_given == ([1, 2] if removed else [1, 1])
