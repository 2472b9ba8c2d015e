"""W16: queries are answered by the workflow itself, which only reads."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import ActorDied, Call, handles
from mediators import Handle, MemoryJournal, Start, Status, VerbRefused, Workflow
from mediators.journal.memory import MemoryShard
from mediators.verbs import Query, SendSignal
from tests.mediators.sagas import Ask, Do, No, Ping, Waits, World, again, shop, spec, start

if TYPE_CHECKING:
    from actors import System


@attrs.frozen
class Meddle(Call[Any]):
    how: str


@attrs.define
class Asked(Workflow[list[str]]):
    """Notes what it has done, and makes a mistake when told to."""

    id: str
    bad: bool = False
    notes: list[str] = attrs.Factory(list)
    stage: str = "new"

    async def run(self) -> list[str]:
        self.stage = "begun"
        self.notes.append(await self.step(Do("first")))
        self.stage = "between"
        await self.receive(Ping)
        self.stage = "half way"
        self.notes.append("half way")
        if self.bad:
            raise ValueError("a mistake")
        self.stage = "done"
        return self.notes

    @handles
    def ask(self, message: Ask) -> Any:
        return getattr(self, message.field)

    @handles
    def meddle(self, message: Meddle) -> Any:
        match message.how:
            case "rebind":
                self.stage = "meddled"
            case "append":
                self.notes.append("meddled")
            case "refuse":
                raise No("not now")
            case "raise":
                raise ValueError("a mistake in the query")
            case "command":
                return self.sleep(1)
            case "chance":
                return self.random.random()
            case "trio":
                return trio.lowlevel.current_task()
            case _:
                pass
        return self.notes


async def asked(system: System, **more: Any) -> Handle[Any]:
    ref = await system.start(spec(shop(World(), Asked, Waits, journal=MemoryJournal())))
    return await start(ref, Asked("one", **more))


async def test_w16_a_method_of_the_workflow_answers(system: System) -> None:
    handle = await asked(system)
    assert await handle.query(Ask("stage")) == "between"
    assert await handle.query(Ask("notes")) == ["first done"]


async def test_w16_of_one_that_has_ended_its_last_turn_answers(system: System) -> None:
    handle = await asked(system)
    await handle.signal(Ping())
    await handle.result()
    assert await handle.query(Ask("stage")) == "done"


async def test_w16_of_a_paused_one_its_last_good_turn_answers(system: System) -> None:
    handle = await asked(system, bad=True)
    await handle.signal(Ping())
    assert await handle.status() is Status.PAUSED
    assert await handle.query(Ask("stage")) == "between"
    assert await handle.query(Ask("notes")) == ["first done"]


async def test_w16_of_one_paused_just_now_its_last_good_turn_answers(system: System) -> None:
    handle = await asked(system, bad=True)
    handle.mediator.cast(SendSignal("one", Ping()))
    assert await handle.mediator.call(Query("one", Ask("stage"))) == "between"


async def test_w16_of_one_whose_code_does_not_follow_its_record_the_last_turn_that_did_answers(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    cls = shop(World(), Asked, journal=MemoryJournal())
    ref = await system.start(spec(cls))
    handle = await start(ref, Asked("one"))

    async def other(self: Asked) -> list[str]:
        self.stage = "other"
        await self.step(Do("first"))
        self.stage = "elsewhere"
        await self.step(Do("something else"))
        return []

    monkeypatch.setattr(Asked, "run", other)
    ref = await again(system, ref, cls)
    handle = Handle(ref, "one")
    assert await handle.status() is Status.PAUSED
    assert await handle.query(Ask("stage")) == "other"


async def test_w16_a_query_that_changes_a_field_is_refused_and_changes_nothing(
    system: System,
) -> None:
    handle = await asked(system)
    with pytest.raises(VerbRefused, match="only reads; this one has changed 'stage'"):
        await handle.query(Meddle("rebind"))
    assert await handle.query(Ask("stage")) == "between"


async def test_w16_what_a_query_does_to_the_state_does_not_reach_it(system: System) -> None:
    handle = await asked(system)
    await handle.query(Meddle("append"))
    notes = await handle.query(Ask("notes"))
    notes.append("by the caller")
    assert await handle.query(Ask("notes")) == ["first done"]
    await handle.signal(Ping())
    assert await handle.result() == ["first done", "half way"]


@pytest.mark.parametrize("how", ["command", "chance"])
async def test_w16_a_query_gives_no_commands_and_draws_nothing(system: System, how: str) -> None:
    handle = await asked(system)
    with pytest.raises(VerbRefused, match="RuntimeError"):
        await handle.query(Meddle(how))
    await handle.signal(Ping())
    assert await handle.result() == ["first done", "half way"]


async def test_w16_a_query_that_raises_is_refused_and_its_refusal_is_the_answer(
    system: System,
) -> None:
    handle = await asked(system)
    with pytest.raises(No, match="not now"):
        await handle.query(Meddle("refuse"))
    with pytest.raises(VerbRefused, match="ValueError: a mistake in the query"):
        await handle.query(Meddle("raise"))
    with pytest.raises(VerbRefused, match="RuntimeError"):
        await handle.query(Meddle("trio"))
    assert handle.mediator.incarnation == 1


async def test_w16_a_query_nobody_answers_says_what_is_answered(system: System) -> None:
    handle = await asked(system)
    with pytest.raises(VerbRefused, match=r"Asked answers no Do; it answers: .*Ask"):
        await handle.query(Do("x"))


def test_w16_a_query_is_a_plain_method_with_a_call() -> None:
    with pytest.raises(TypeError, match="answers a query: it is a plain def"):

        class Slow(Workflow[int]):
            @handles
            async def ask(self, message: Ask) -> Any:
                return 1

        del Slow

    with pytest.raises(TypeError, match="and Ping a Call"):

        class OneWay(Workflow[int]):
            @handles
            def ping(self, message: Ping) -> None:
                pass

        del OneWay


async def lost(system: System) -> tuple[list[Any], MemoryJournal]:
    """A query right behind a change whose commit fails."""
    journal = MemoryJournal()
    ref = await system.start(spec(shop(World(), Asked, journal=journal)))
    await start(ref, Asked("one"))
    answers: list[Any] = []
    append = MemoryShard.append
    failures = [OSError("the disk is gone")]

    def failing(self: MemoryShard, batch: Any) -> None:
        if failures:
            raise failures.pop()
        append(self, batch)

    async def ask() -> None:
        try:
            answers.append(await ref.call(Query("one", Ask("stage"))))
        except ActorDied:
            answers.append("died")

    MemoryShard.append = failing  # type: ignore[method-assign]
    try:
        async with trio.open_nursery() as nursery:
            ref.cast(SendSignal("one", Ping()))
            nursery.start_soon(ask)
        await wait_all_tasks_blocked()
    finally:
        MemoryShard.append = append  # type: ignore[method-assign]
    await wait_all_tasks_blocked()
    answers.append(await ref.call(Query("one", Ask("stage"))))
    return answers, journal


async def test_w16_a_query_is_answered_after_the_pending_commit(system: System) -> None:
    answers, _ = await lost(system)
    assert answers == ["died", "between"]


async def test_w16_without_waiting_for_the_commit_it_tells_what_never_was(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    from mediators.driver.desk import Desk

    monkeypatch.setattr(Desk, "_answer", lambda self, later, value: later.reply(value))
    answers, _ = await lost(system)
    assert answers == ["done", "between"]


async def test_w16_a_query_of_a_start_is_answered(system: System) -> None:
    ref = await system.start(spec(shop(World(), Waits)))
    ref.cast(Start(Waits("one", 5)))
    assert await ref.call(Query("one", Ask())) == 5
