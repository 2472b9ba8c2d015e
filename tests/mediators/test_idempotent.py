"""W10 and W11: one answer per key, remembered refusals, forgotten crashes; and mistakes 5 and 6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    ActorDied,
    Call,
    Envelope,
    Next,
    System,
    Unhandled,
    open_system,
)
from mediators.idempotency import keystore
from mediators.idempotency.middleware import Idempotent, Settle
from mediators.testing import call_with_key
from supervisors import Child, Supervisor
from tests.mediators.banks import (
    UPDATE,
    Balance,
    Bank,
    Charge,
    ChargeOutside,
    Do,
    Overdrawn,
    Receipt,
    attempt,
    payments,
    rows,
    supervised,
)

if TYPE_CHECKING:
    from pathlib import Path


async def test_w11_an_answer_is_given_again_without_the_handler(
    system: System, tmp_path: Path
) -> None:
    charged: list[int] = []
    ref = await system.start(Bank, payments(tmp_path / "a.db"), charged)
    first = await call_with_key(ref, Charge(10), "k")
    second = await call_with_key(ref, Charge(10), "k")
    assert first == second == Receipt(90, ("charged",))
    assert charged == [10]
    assert await call_with_key(ref, Charge(10), "other") == Receipt(80, ("charged",))


async def test_w11_a_refusal_is_remembered_and_its_writes_are_rolled_back(
    system: System, tmp_path: Path
) -> None:
    charged: list[int] = []
    ref = await system.start(Bank, payments(tmp_path / "a.db"), charged)
    for _ in range(2):
        with pytest.raises(Overdrawn, match="balance is -20") as caught:
            await call_with_key(ref, Charge(120), "k")
        assert caught.value.balance == -20
    assert charged == [120]
    assert await ref.call(Balance()) == 100
    assert rows(tmp_path / "a.db") == [("k", "refused")]


async def test_w11_a_crash_is_forgotten_and_its_writes_are_rolled_back(
    system: System, tmp_path: Path
) -> None:
    charged: list[int] = []
    await system.start(supervised(payments(tmp_path / "a.db"), charged))
    ref = system.whereis("bank")
    assert ref is not None
    with pytest.raises(ActorDied):
        await call_with_key(ref, Charge(10, then="crash"), "k")
    assert await ref.call(Balance()) == 100
    assert await call_with_key(ref, Charge(10), "k") == Receipt(90, ("charged",))
    assert charged == [10, 10]


async def test_w11_a_message_without_a_key_passes_untouched(system: System, tmp_path: Path) -> None:
    charged: list[int] = []
    ref = await system.start(Bank, payments(tmp_path / "a.db"), charged)
    assert await ref.call(ChargeOutside()) == Receipt(1)
    assert await ref.call(ChargeOutside()) == Receipt(2)
    assert not (tmp_path / "a.db").exists()


async def test_w11_by_hand_the_transaction_is_committed_and_rolled_back_without_a_key(
    system: System, tmp_path: Path
) -> None:
    await system.start(supervised(payments(tmp_path / "a.db")))
    ref = system.whereis("bank")
    assert ref is not None
    assert await ref.call(Charge(10)) == Receipt(90, ("charged",))
    with pytest.raises(Overdrawn):
        await ref.call(Charge(1000))
    with pytest.raises(ActorDied):
        await ref.call(Charge(10, then="crash"))
    assert await ref.call(Balance()) == 90
    assert rows(tmp_path / "a.db") == []


async def test_w11_answers_and_effects_are_there_in_the_next_system(tmp_path: Path) -> None:
    charged: list[int] = []
    for _ in range(2):
        async with open_system() as system:
            ref = await system.start(Bank, payments(tmp_path / "a.db"), charged)
            assert await call_with_key(ref, Charge(10), "k") == Receipt(90, ("charged",))
            with pytest.raises(Overdrawn):
                await call_with_key(ref, Charge(500), "no")
            assert await ref.call(Balance()) == 90
    assert charged == [10, 500]


async def test_w11_without_a_path_it_is_remembered_across_a_restart_of_the_actor(
    system: System,
) -> None:
    charged: list[int] = []
    await system.start(supervised(payments(), charged))
    ref = system.whereis("bank")
    assert ref is not None
    assert await call_with_key(ref, Charge(10), "k") == Receipt(90, ("charged",))
    with pytest.raises(ActorDied):
        await call_with_key(ref, Charge(10, then="crash"), "other")
    assert await call_with_key(ref, Charge(10), "k") == Receipt(90, ("charged",))
    assert (ref.incarnation, charged) == (2, [10, 10])


async def test_w11_the_answer_is_on_disk_before_it_is_given(system: System, tmp_path: Path) -> None:
    path, seen = tmp_path / "a.db", []

    async def looks(envelope: Envelope, next: Next) -> Any:
        value = await next(envelope)
        seen.append(rows(path))
        return value

    class Watched(Bank):
        def __init__(self) -> None:
            super().__init__(None)
            self.middleware = [looks, payments(path)]

    ref = await system.start(Watched)
    await call_with_key(ref, Charge(10), "a")
    await call_with_key(ref, ChargeOutside(10), "b")
    assert seen == [[("a", "answered")], [("a", "answered"), ("b", "answered")]]


async def test_w11_every_commit_waits_for_the_disk(system: System, tmp_path: Path) -> None:
    ref = await system.start(Bank, payments(tmp_path / "a.db"))

    def pragmas(actor: Bank) -> Any:
        db = actor.envelope.transaction
        names = ("journal_mode", "synchronous")
        return [db.execute(f"PRAGMA {name}").fetchone()[0] for name in names]

    assert await ref.call(Do(pragmas)) == ["wal", 2]


async def test_w11_an_answer_that_cannot_be_written_down_is_a_crash_and_no_effect(
    system: System, tmp_path: Path
) -> None:
    await system.start(supervised(payments(tmp_path / "a.db")))
    ref = system.whereis("bank")
    assert ref is not None

    def answers_an_object(actor: Bank) -> object:
        actor.envelope.transaction.execute(UPDATE, (10,))
        return object()

    with pytest.raises(ActorDied):
        await call_with_key(ref, Do(answers_an_object), "k")
    assert await ref.call(Balance()) == 100
    assert rows(tmp_path / "a.db") == []


async def test_w11_a_call_without_handler_leaves_nothing(system: System, tmp_path: Path) -> None:
    @attrs.frozen
    class Unknown(Call[int]):
        pass

    ref = await system.start(Bank, payments(tmp_path / "a.db"))
    for _ in range(2):
        with pytest.raises(Unhandled):
            await call_with_key(ref, Unknown(), "k")
    assert rows(tmp_path / "a.db") == [] and ref.alive


# -- mistakes


async def test_mistake_5_sql_that_subtracts_subtracts_once(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even when the process dies between effect and answer: they share a transaction."""
    await system.start(supervised(payments(tmp_path / "a.db")))
    ref = system.whereis("bank")
    assert ref is not None
    remember = keystore.KeyStore.remember

    def dies(store: keystore.KeyStore, *args: Any, **kwargs: Any) -> None:
        raise OSError("power cut before the answer is written")

    monkeypatch.setattr(keystore.KeyStore, "remember", dies)
    with pytest.raises(ActorDied):
        await call_with_key(ref, Charge(10), "k")
    monkeypatch.setattr(keystore.KeyStore, "remember", remember)
    assert await call_with_key(ref, Charge(10), "k") == Receipt(90, ("charged",))
    assert await call_with_key(ref, Charge(10), "k") == Receipt(90, ("charged",))
    assert await ref.call(Balance()) == 90


async def test_mistake_5_without_a_common_transaction_it_subtracts_twice(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mechanism removed: effect and answer in two transactions."""
    await system.start(supervised(payments(tmp_path / "a.db")))
    ref = system.whereis("bank")
    assert ref is not None
    remember = keystore.KeyStore.remember

    def dies(store: keystore.KeyStore, *args: Any, **kwargs: Any) -> None:
        store.commit()
        raise OSError("power cut before the answer is written")

    monkeypatch.setattr(keystore.KeyStore, "remember", dies)
    with pytest.raises(ActorDied):
        await call_with_key(ref, Charge(10), "k")
    monkeypatch.setattr(keystore.KeyStore, "remember", remember)
    await call_with_key(ref, Charge(10), "k")
    assert await ref.call(Balance()) == 80


class Careless:
    """What mistake 6 looks like: looked up before an await, noted after it."""

    def __init__(self) -> None:
        self.known: dict[str, Any] = {}

    async def __call__(self, envelope: Envelope, next: Next, /) -> Any:
        assert envelope.key is not None
        if envelope.key not in self.known:
            value = await next(envelope)
            self.known[envelope.key] = value
        return self.known[envelope.key]


async def two_retries(system: System, layer: Any) -> tuple[list[Any], list[int]]:
    """Two attempts of one key at once, at two actors that share a store."""
    charged: list[int] = []
    log: list[Any] = []
    one = await system.start(Bank, layer, charged)
    other = await system.start(Bank, layer, charged)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, log, one, ChargeOutside(), "k")
        nursery.start_soon(attempt, log, other, ChargeOutside(), "k")
    return log, charged


async def test_mistake_6_two_retries_at_once_charge_once(system: System, tmp_path: Path) -> None:
    log, charged = await two_retries(system, payments(tmp_path / "a.db"))
    assert log == [Receipt(1), Receipt(1)]
    assert charged == [10]


async def test_mistake_6_a_map_checked_before_an_await_charges_twice(system: System) -> None:
    log, charged = await two_retries(system, Careless())
    assert len(log) == 2
    assert charged == [10, 10]


async def test_mistake_6_without_the_note_of_running_attempts_two_retries_charge_twice(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Forgetful(dict[str, Any]):
        def get(self, key: str, default: Any = None) -> Any:
            return None

    layer = payments(tmp_path / "a.db")
    layer.store(system).running = Forgetful()
    _, charged = await two_retries(system, layer)
    assert charged == [10, 10]


# -- one connection, one writer


async def test_w11_one_connection_per_file_and_process(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link.db").symlink_to(tmp_path / "a.db")
    stores = [Idempotent(name).store(system) for name in ("a.db", tmp_path / "a.db", "link.db")]
    assert len({id(each) for each in stores}) == 1
    assert Idempotent("b.db").store(system) is not stores[0]
    assert Idempotent().store(system) is Idempotent(None).store(system)


async def test_w11_two_systems_do_not_write_one_file(tmp_path: Path) -> None:
    async with open_system() as one, open_system() as other:
        first = await one.start(Bank, payments(tmp_path / "a.db"))
        assert await first.call(Balance()) == 100
        second = await other.start(Bank, payments(tmp_path / "a.db"))
        with pytest.raises(ActorDied) as caught:
            await second.call(Balance())
        assert isinstance(caught.value.__cause__, keystore.StoreLocked)
        assert str(tmp_path / "a.db") in str(caught.value.__cause__)
    async with open_system() as third:
        again = await third.start(Bank, payments(tmp_path / "a.db"))
        assert await again.call(Balance()) == 100


# -- retention


async def test_w11_answers_are_forgotten_after_their_retention_in_small_batches(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keystore, "PRUNED_AT_ONCE", 3)
    ref = await system.start(Bank, payments(tmp_path / "a.db", retention=3600.0))
    for number in range(8):
        await call_with_key(ref, Charge(1), f"old {number}")
    await ref.call(Settle("closed"))
    await trio.sleep(3601)
    counts = []
    for number in range(4):
        await call_with_key(ref, Charge(1), f"new {number}")
        counts.append(len([each for each, _ in rows(tmp_path / "a.db") if "old" in each]))
    assert counts == [5, 2, 0, 0]
    assert ("closed", "closed") in rows(tmp_path / "a.db")


async def test_w11_a_running_attempt_outlives_any_retention(system: System, tmp_path: Path) -> None:
    charged: list[int] = []
    layer = payments(tmp_path / "a.db", retention=0.1)
    ref = await system.start(Bank, layer, charged)
    other = await system.start(Bank, layer, charged)
    log: list[Any] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(attempt, log, ref, ChargeOutside(), "k")
        await wait_all_tasks_blocked()
        await trio.sleep(0.5)
        await call_with_key(other, Charge(1), "something else")
        nursery.start_soon(attempt, log, other, ChargeOutside(), "k")
    assert log == [Receipt(2), Receipt(2)]


# -- declaration


def test_w11_wrong_arguments_are_refused_where_they_are_written() -> None:
    for wrong in (3, ""):
        with pytest.raises(TypeError, match="path"):
            Idempotent(wrong)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="schema"):
        Idempotent(schema=3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="retention"):
        Idempotent(retention=-1)


async def test_w10_a_key_reaches_the_handler(system: System, tmp_path: Path) -> None:
    ref = await system.start(Bank, payments(tmp_path / "a.db"))
    key = await call_with_key(ref, Do(lambda actor: actor.envelope.key), "order-1/0/charge")
    assert key == "order-1/0/charge"


async def test_w11_middleware_in_the_class_works_under_a_supervisor(tmp_path: Path) -> None:
    class Payments(Bank):
        middleware = [payments(tmp_path / "a.db")]

        def __init__(self) -> None:
            self.charged = []

    class Top(Supervisor):
        def children(self) -> list[Child[Any]]:
            return [Child(Payments, name="payments")]

    for _ in range(2):
        async with open_system(Top) as system:
            ref = system.whereis("payments")
            assert ref is not None
            assert await call_with_key(ref, Charge(10), "k") == Receipt(90, ("charged",))


async def test_w11_what_is_no_database_is_told_and_not_locked(tmp_path: Path) -> None:
    (tmp_path / "a.db").write_text("no database, " * 100)
    for _ in range(2):
        async with open_system() as system:
            ref = await system.start(Bank, payments(tmp_path / "a.db"))
            with pytest.raises(ActorDied) as caught:
                await ref.call(Balance())
            assert "not a database" in str(caught.value.__cause__)


async def test_w11_a_directory_that_is_not_there_is_told(system: System, tmp_path: Path) -> None:
    ref = await system.start(Bank, payments(tmp_path / "nowhere" / "a.db"))
    with pytest.raises(ActorDied) as caught:
        await ref.call(Balance())
    assert "nowhere" in str(caught.value.__cause__)
