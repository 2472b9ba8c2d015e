"""W11: what is written in ``self.envelope.transaction``."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorDied,
    Envelope,
    Killed,
    Later,
    Next,
    System,
)
from mediators.idempotency import transaction
from mediators.idempotency.middleware import Idempotent
from mediators.testing import call_with_key
from tests.mediators.banks import (
    UPDATE,
    Balance,
    Bank,
    Charge,
    Do,
    DoSlowly,
    Receipt,
    attempt,
    payments,
    rows,
    supervised,
)

if TYPE_CHECKING:
    from pathlib import Path


async def test_w11_an_async_handler_has_no_transaction(system: System, tmp_path: Path) -> None:
    async def asks(actor: Bank) -> str:
        with pytest.raises(RuntimeError) as caught:
            _ = actor.envelope.transaction
        return str(caught.value)

    ref = await system.start(Bank, payments(tmp_path / "a.db"))
    assert "plain def handler" in await ref.call(DoSlowly(asks))
    assert "plain def handler" in await call_with_key(ref, DoSlowly(asks), "k")


async def test_w11_the_transaction_ends_with_the_handler(system: System, tmp_path: Path) -> None:
    envelopes: list[Envelope] = []

    def keeps(actor: Bank) -> None:
        _ = actor.envelope.transaction
        envelopes.append(actor.envelope)

    ref = await system.start(Bank, payments(tmp_path / "a.db"))
    await call_with_key(ref, Do(keeps), "k")
    with pytest.raises(RuntimeError, match="plain def handler, while it runs"):
        _ = envelopes[0].transaction


@pytest.mark.parametrize(
    "meddle",
    [
        lambda db: db.commit(),
        lambda db: db.rollback(),
        lambda db: db.execute("COMMIT"),
        lambda db: db.executescript("DELETE FROM accounts"),
        lambda db: db.execute("BEGIN"),
    ],
    ids=["commit()", "rollback()", "COMMIT", "executescript()", "BEGIN"],
)
@pytest.mark.parametrize("swallowed", [False, True])
async def test_w11_a_handler_that_ends_the_transaction_itself_is_a_crash_without_effect(
    system: System, tmp_path: Path, meddle: Any, swallowed: bool
) -> None:
    def does(actor: Bank) -> int:
        db = actor.envelope.transaction
        db.execute(UPDATE, (10,))
        try:
            meddle(db)
        except sqlite3.Error:
            if not swallowed:
                raise
        db.execute(UPDATE, (10,))
        return 1

    await system.start(supervised(payments(tmp_path / "a.db")))
    ref = system.whereis("bank")
    assert ref is not None
    with pytest.raises(ActorDied) as caught:
        await call_with_key(ref, Do(does), "k")
    assert "committed or rolled back by itself" in str(caught.value.__cause__)
    assert await ref.call(Balance()) == 100
    assert rows(tmp_path / "a.db") == []


async def test_w11_a_handler_may_take_back_a_part(system: System, tmp_path: Path) -> None:
    def does(actor: Bank) -> int:
        db = actor.envelope.transaction
        db.execute(UPDATE, (1,))
        db.execute("SAVEPOINT part")
        db.execute(UPDATE, (50,))
        db.execute("ROLLBACK TO part")
        return 1

    ref = await system.start(Bank, payments(tmp_path / "a.db"))
    assert await call_with_key(ref, Do(does), "k") == 1
    assert await ref.call(Balance()) == 99


@pytest.mark.parametrize("way", ["later", "stash", "forward"])
async def test_w11_who_writes_in_the_transaction_answers_by_returning(
    system: System, tmp_path: Path, way: str
) -> None:
    desk = await system.start(Bank, payments(tmp_path / "b.db"))

    def does(actor: Bank) -> Any:
        actor.envelope.transaction.execute(UPDATE, (10,))
        if way == "later":
            return actor.later()
        return actor.stash() if way == "stash" else desk.forward(actor.envelope)

    await system.start(supervised(payments(tmp_path / "a.db")))
    ref = system.whereis("bank")
    assert ref is not None
    log: list[Any] = []
    await attempt(log, ref, Do(does), "k")
    assert await ref.call(Balance()) == 100
    assert ref.incarnation == 2
    if way != "forward":
        assert isinstance(log[0], ActorDied)
        assert "answers by returning" in str(log[0].__cause__)


async def test_w11_a_deferred_answer_does_not_leave_within_anothers_transaction(
    system: System, tmp_path: Path
) -> None:
    laters: list[Later[Any]] = []

    def defers(actor: Bank) -> Any:
        laters.append(actor.later())
        return laters[-1]

    def answers(actor: Bank) -> int:
        actor.envelope.transaction.execute(UPDATE, (10,))
        laters[0].reply(1)
        return 2

    layer = payments(tmp_path / "a.db")
    await system.start(supervised(layer))
    other, ref = await system.start(Bank, layer), system.whereis("bank")
    assert ref is not None
    log: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, log, other, Do(defers), "first")
        await wait_all_tasks_blocked()
        with pytest.raises(ActorDied) as caught:
            await call_with_key(ref, Do(answers), "second")
        assert "Answer from another message" in str(caught.value.__cause__)
        assert log == []
        laters[0].reply(3)
    assert log == [3]
    assert await ref.call(Balance()) == 100


async def test_w11_two_actors_on_one_connection_do_not_get_into_each_others_transaction(
    system: System, tmp_path: Path
) -> None:
    """A layer that waits while a transaction is open has it rolled back before others run."""
    seen: list[bool] = []

    async def waits(envelope: Envelope, next: Next) -> Any:
        value = await next(envelope)
        await trio.sleep(1)
        return value

    class Slow(Bank):
        def __init__(self, layer: Any) -> None:
            super().__init__(None)
            self.middleware = [layer, waits]

    layer = payments(tmp_path / "a.db")
    slow = await system.start(Slow, layer)
    bank = await system.start(Bank, payments(tmp_path / "a.db"))
    log: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, log, slow, Charge(10), "slow")
        await wait_all_tasks_blocked()
        seen.append(layer.store(system).open)
        assert await call_with_key(bank, Charge(1), "quick") == Receipt(99, ("charged",))
    assert seen == [False]
    assert isinstance(log[0], ActorDied)
    assert "further in than Idempotent waited" in str(log[0].__cause__)
    assert await bank.call(Balance()) == 99


async def test_w11_if_nobody_looked_for_waiting_layers_an_others_write_would_go_wrong(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mechanism removed: the innocent one crashes."""
    monkeypatch.setattr(transaction.Transaction, "interrupted", lambda self: None)

    async def waits(envelope: Envelope, next: Next) -> Any:
        value = await next(envelope)
        await trio.sleep(1)
        return value

    class Slow(Bank):
        def __init__(self, layer: Any) -> None:
            super().__init__(None)
            self.middleware = [layer, waits]

    layer = payments(tmp_path / "a.db")
    slow = await system.start(Slow, layer)
    bank = await system.start(Bank, layer)
    log: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, log, slow, Charge(10), "slow")
        await wait_all_tasks_blocked()
        with pytest.raises(ActorDied):
            await call_with_key(bank, Charge(1), "quick")


@pytest.mark.parametrize("fallback", [False, True], ids=["tries again", "answers instead"])
async def test_w11_a_layer_that_catches_a_crash_finds_it_rolled_back(
    system: System, tmp_path: Path, fallback: bool
) -> None:
    async def catches(envelope: Envelope, next: Next) -> Any:
        try:
            return await next(envelope)
        except ValueError:
            await trio.sleep(1)
            if fallback:
                return Receipt(-1)
            return await next(attrs.evolve(envelope, message=Charge(1)))

    class Caught(Bank):
        def __init__(self, layer: Any) -> None:
            super().__init__(None)
            self.middleware = [layer, catches]

    ref = await system.start(Caught, payments(tmp_path / "a.db"))
    answer = Receipt(-1) if fallback else Receipt(99, ("charged",))
    for _ in range(2):
        assert await call_with_key(ref, Charge(10, then="crash"), "k") == answer
    assert await ref.call(Balance()) == (100 if fallback else 99)


async def test_w11_layers_around_it_wait_as_they_like(system: System, tmp_path: Path) -> None:
    async def waits(envelope: Envelope, next: Next) -> Any:
        await trio.sleep(1)
        try:
            return await next(envelope)
        finally:
            await trio.sleep(1)

    class Slow(Bank):
        def __init__(self, layer: Any) -> None:
            super().__init__(None)
            self.middleware = [waits, layer]

    ref = await system.start(Slow, payments(tmp_path / "a.db"))
    assert await call_with_key(ref, Charge(10), "k") == Receipt(90, ("charged",))


async def test_w11_a_cancellation_inside_the_handler_leaves_nothing(
    system: System, tmp_path: Path
) -> None:
    layer = payments(tmp_path / "a.db")
    ref = await system.start(Bank, layer)
    log: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, log, ref, DoSlowly(lambda actor: trio.sleep(100)), "k", 50.0)
        await wait_all_tasks_blocked()
        await ref.stop(Killed())
    assert isinstance(log[0], ActorDied)
    assert layer.store(system).running == {}


async def test_w11_a_full_disk_is_a_crash_without_effect(system: System, tmp_path: Path) -> None:
    """SQLite has ended the transaction by itself then."""

    def fills(actor: Bank) -> int:
        db = actor.envelope.transaction
        db.execute(UPDATE, (10,))
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count = {pages}").close()
        db.execute("CREATE TABLE large AS SELECT zeroblob(1000000)")
        return 1

    await system.start(supervised(payments(tmp_path / "a.db")))
    ref = system.whereis("bank")
    assert ref is not None
    with pytest.raises(ActorDied) as caught:
        await call_with_key(ref, Do(fills), "k")
    assert "full" in str(caught.value.__cause__)
    assert await ref.call(Balance()) == 100
    assert rows(tmp_path / "a.db") == []


async def test_w11_a_plain_handler_that_returns_an_awaitable_is_told_so(
    system: System, tmp_path: Path
) -> None:
    ref = await system.start(Bank, payments(tmp_path / "a.db"))
    with pytest.raises(ActorDied) as caught:
        await call_with_key(ref, Do(lambda actor: trio.lowlevel.checkpoint()), "k")
    assert "returned an awaitable" in str(caught.value.__cause__)
    assert rows(tmp_path / "a.db") == []


async def test_w11_a_commit_that_fails_is_a_crash_without_effect(
    system: System, tmp_path: Path
) -> None:
    def defers_a_violation(actor: Bank) -> int:
        db = actor.envelope.transaction
        db.execute(UPDATE, (10,))
        db.execute("PRAGMA defer_foreign_keys = ON").close()
        db.execute("INSERT INTO child VALUES ('nobody')")
        return 1

    tables = """
        PRAGMA foreign_keys = ON;
        CREATE TABLE IF NOT EXISTS accounts (id TEXT PRIMARY KEY, balance INTEGER NOT NULL);
        INSERT OR IGNORE INTO accounts VALUES ('alice', 100);
        CREATE TABLE IF NOT EXISTS child (of TEXT REFERENCES accounts (id));
    """
    await system.start(supervised(Idempotent(tmp_path / "a.db", schema=tables)))
    ref = system.whereis("bank")
    assert ref is not None
    with pytest.raises(ActorDied, match="FOREIGN KEY"):
        await call_with_key(ref, Do(defers_a_violation), "k")
    assert await ref.call(Balance()) == 100
    assert rows(tmp_path / "a.db") == []
