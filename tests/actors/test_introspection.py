"""K22: looking into a live actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import Actor, ActorDied, Call, CallTimeout, NoSuchActor, Ref, System, handles
from actors.introspection import (
    Statistics,
    format_state,
    get_state,
    last_messages,
    record,
    replace_state,
    resume,
    statistics,
    suspend,
)
from actors.runtime.root import Temporary
from supervisors import Child, StartChild, Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.frozen
class Do(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class Await(Call[Any]):
    function: Callable[[Any], Any]


class Worker(Actor):
    def __init__(self, total: int = 0) -> None:
        self.total = total
        self.notes: list[object] = []

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    async def wait(self, message: Await) -> Any:
        return await message.function(self)

    @handles
    def note(self, message: str) -> None:
        self.notes.append(message)


async def call_soon(nursery: trio.Nursery, ref: Ref[Any], seconds: float) -> None:
    nursery.start_soon(ref.call, Await(lambda actor: trio.sleep(seconds)), None)
    await wait_all_tasks_blocked()


# -- suspend and resume


async def test_K22_a_suspended_actor_handles_no_messages_until_resumed(
    system: System, both_ways: str
) -> None:
    ref = await system.start(Worker)
    await suspend(ref)
    for text in "abc":
        ref.cast(text)
    with pytest.raises(CallTimeout):
        await ref.call(Do(lambda actor: None), timeout=1)
    assert (await get_state(ref))["notes"] == []
    assert ref.alive
    await resume(ref)
    assert await ref.call(Do(lambda actor: actor.notes)) == ["a", "b", "c"]


async def test_K22_suspending_twice_is_suspending_once(system: System) -> None:
    ref = await system.start(Worker)
    await suspend(ref)
    await suspend(ref)
    await resume(ref)
    assert await ref.call(Do(lambda actor: "alive")) == "alive"
    await resume(ref)


async def test_K22_the_next_incarnation_is_not_suspended(system: System) -> None:
    class Top(Supervisor):
        pass

    top = await system.start(Top)
    ref = await top.call(StartChild(Child(Worker)))
    await suspend(ref)
    ref.cast("queued")
    await ref.stop()
    assert await ref.call(Do(lambda actor: actor.notes)) == ["queued"]


async def test_K22_a_suspended_actor_is_stopped_all_the_same(system: System) -> None:
    ref = await system.start(Worker)
    await suspend(ref)
    assert await ref.stop()


async def test_K22_timers_of_a_suspended_actor_wait(system: System) -> None:
    ref = await system.start(Worker)
    await ref.call(Do(lambda actor: actor.after(1, "timer")))
    await suspend(ref)
    await trio.sleep(5)
    assert (await get_state(ref))["notes"] == []
    await resume(ref)
    assert await ref.call(Do(lambda actor: actor.notes)) == ["timer"]


# -- the lane


async def test_K22_requests_overtake_user_messages_and_wait_for_the_running_turn(
    system: System, both_ways: str
) -> None:
    ref = await system.start_place(Temporary(Worker, mailbox=3))
    async with trio.open_nursery() as nursery:
        await call_soon(nursery, ref, 2)
        for text in "abc":
            ref.cast(text)
        state = await replace_state(ref, lambda state: {**state, "seen": list(state["notes"])})
        assert trio.current_time() == pytest.approx(2)
        assert state["seen"] == []
    assert await ref.call(Do(lambda actor: actor.notes)) == ["a", "b", "c"]


async def test_K22_a_request_waits_at_most_its_timeout(system: System) -> None:
    ref = await system.start(Worker)
    async with trio.open_nursery() as nursery:
        await call_soon(nursery, ref, 100)
        for keywords, seconds in (({}, 5), ({"timeout": 2}, 2)):
            began = trio.current_time()
            with pytest.raises(CallTimeout):
                await get_state(ref, **keywords)
            assert trio.current_time() - began == pytest.approx(seconds)
        with pytest.raises(ValueError, match="timeout is 0 or more seconds. Got: -1"):
            await get_state(ref, timeout=-1)


async def test_K22_a_request_that_was_given_up_changes_nothing_later(system: System) -> None:
    ref = await system.start(Worker)
    async with trio.open_nursery() as nursery:
        await call_soon(nursery, ref, 10)
        with pytest.raises(CallTimeout):
            await suspend(ref, timeout=1)
        with trio.move_on_after(1):
            await replace_state(ref, lambda state: {**state, "total": 99})
    assert await ref.call(Do(lambda actor: actor.total), timeout=1) == 0


async def test_K22_a_request_to_one_that_is_gone_fails_at_once(system: System) -> None:
    ref = await system.start(Worker)
    await ref.stop()
    with pytest.raises(NoSuchActor):
        await get_state(ref)


async def test_K22_a_request_whose_actor_ends_before_it_is_served_fails(
    system: System,
) -> None:
    ref = await system.start(Worker)
    failures: list[ActorDied] = []

    async def look() -> None:
        try:
            await get_state(ref)
        except ActorDied as error:
            failures.append(error)

    async with trio.open_nursery() as nursery:
        await call_soon(nursery, ref, 2)
        nursery.start_soon(look)
        await wait_all_tasks_blocked()
        await ref.stop()
    assert len(failures) == 1


# -- state


async def test_K22_get_state_gives_the_attributes_by_name(system: System) -> None:
    @attrs.define
    class Account(Actor):
        balance: int = 1
        pin: str = attrs.field(default="1234", repr=False)
        unset: int = attrs.field(init=False)

    class Old(Actor):
        __slots__ = "one"  # noqa: PLC0205

        def __init__(self) -> None:
            self.one = 1

    class Older(Old):
        __slots__ = ("two",)

        def __init__(self) -> None:
            super().__init__()
            self.two = 2

    assert await get_state(await system.start(Worker, 7)) == {"total": 7, "notes": []}
    assert await get_state(await system.start(Account)) == {"balance": 1, "pin": "1234"}
    assert await get_state(await system.start(Older)) == {"one": 1, "two": 2}
    assert await get_state(await system.start(Supervisor)) == {}


async def test_K22_format_state_hides_what_is_hidden(system: System) -> None:
    @attrs.define
    class Account(Actor):
        balance: int = 1
        pin: str = attrs.field(default="1234", repr=False)

    class Secret(Actor):
        def format_state(self) -> object:
            raise ValueError

    assert await format_state(await system.start(Account)) == "{'balance': 1}"
    assert "format_state crashed: ValueError" in await format_state(await system.start(Secret))


async def test_K22_replace_state_sets_the_attributes(system: System, both_ways: str) -> None:
    ref = await system.start(Worker, 1)
    after = await replace_state(ref, lambda state: {**state, "total": state["total"] + 1})
    assert after == {"total": 2, "notes": []}
    assert await ref.call(Do(lambda actor: actor.total)) == 2


async def test_K22_a_failing_function_changes_nothing(system: System) -> None:
    def fails(state: dict[str, Any]) -> dict[str, Any]:
        state["total"] = 99
        raise ValueError("no")

    ref = await system.start(Worker, 1)
    with pytest.raises(ValueError, match="no"):
        await replace_state(ref, fails)
    assert await ref.call(Do(lambda actor: actor.total)) == 1
    assert ref.alive and ref.incarnation == 1


async def test_K22_an_attribute_the_actor_cannot_have_changes_nothing(system: System) -> None:
    @attrs.define
    class Account(Actor):
        balance: int = attrs.field(default=1, validator=attrs.validators.ge(0))
        limit: int = 0

    class Fixed(Worker):
        @property
        def fixed(self) -> int:
            return 1

    ref = await system.start(Account)
    for wrong, error in (
        ({"balance": 2, "other": 1}, AttributeError),
        ({"limit": 5, "balance": -1}, ValueError),
    ):
        with pytest.raises(error):
            await replace_state(ref, lambda state, wrong=wrong: {**state, **wrong})
        assert await get_state(ref) == {"balance": 1, "limit": 0}
    ref = await system.start(Fixed)
    with pytest.raises(AttributeError):
        await replace_state(ref, lambda state: {"total": 5, "new": 1, "fixed": 2})
    assert await get_state(ref) == {"total": 0, "notes": []}


async def test_K22_what_is_no_mapping_changes_nothing(system: System) -> None:
    ref = await system.start(Worker, 1)
    with pytest.raises(TypeError):
        await replace_state(ref, lambda state: 3)  # type: ignore[arg-type, return-value]
    assert (await get_state(ref))["total"] == 1


async def test_K22_everything_works_while_suspended(system: System) -> None:
    ref = await system.start(Worker)
    await suspend(ref)
    ref.cast("queued")
    await record(ref)
    await replace_state(ref, lambda state: {**state, "total": 5})
    assert (await get_state(ref))["total"] == 5
    assert await last_messages(ref) == []
    found = await statistics(ref)
    assert found is not None and (found.queued, found.messages) == (1, 0)
    assert "'total': 5" in await format_state(ref)


# -- the last messages and statistics


async def test_K22_the_last_ten_messages_are_remembered_and_all_are_counted(
    system: System, both_ways: str
) -> None:
    ref = await system.start(Worker)
    assert await last_messages(ref) == []
    assert await statistics(ref) is None
    await trio.sleep(1)
    await record(ref)
    sent: list[object] = []
    for number in range(12):
        sent.append(str(number))
        ref.cast(sent[-1])
        sent.append(Do(lambda actor: None))
        await ref.call(sent[-1])  # type: ignore[arg-type]
    sent.append(Await(lambda actor: trio.sleep(1)))
    await ref.call(sent[-1])  # type: ignore[arg-type]
    assert await last_messages(ref) == sent[-10:]
    assert await statistics(ref) == Statistics(
        since=pytest.approx(1), now=pytest.approx(2), messages=25, queued=0, incarnation=1
    )


async def test_K22_record_says_how_many_and_zero_ends_it(system: System, both_ways: str) -> None:
    ref = await system.start(Worker)
    await record(ref, 2)
    for text in "abc":
        ref.cast(text)
    await wait_all_tasks_blocked()
    assert await last_messages(ref) == ["b", "c"]
    await record(ref, 0)
    ref.cast("d")
    await wait_all_tasks_blocked()
    assert await last_messages(ref) == []
    assert await statistics(ref) is None
    assert ref._place.fast


@pytest.mark.parametrize("last", [-1, 1.5, True, "3"])
async def test_K22_record_takes_a_number(system: System, last: Any) -> None:
    ref = await system.start(Worker)
    with pytest.raises(ValueError, match=r"record\(last=\) is how many .*Got: "):
        await record(ref, last)


async def test_K22_recording_ends_with_the_incarnation(system: System) -> None:
    class Top(Supervisor):
        pass

    top = await system.start(Top)
    ref = await top.call(StartChild(Child(Worker)))
    await record(ref)
    await ref.stop()
    await wait_all_tasks_blocked()
    assert await statistics(ref) is None


async def test_K22_the_refs_own_properties_need_no_request(system: System) -> None:
    ref = await system.start(Worker)
    async with trio.open_nursery() as nursery:
        await call_soon(nursery, ref, 1)
        assert (ref.state, ref.alive, ref.incarnation) == ("up", True, 1)
