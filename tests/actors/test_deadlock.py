"""K11: who would wait for ever is told so, with the names of those in the ring."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    CallCycle,
    CallTimeout,
    Later,
    Ref,
    StartFailed,
    System,
    handles,
)
from actors.introspection import get_state
from actors.runtime.root import Temporary
from supervisors import Child, DynamicSupervisor, StartChild, Supervisor, WhichChildren

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.frozen
class Await(Call[Any]):
    function: Callable[[Any], Any]


@attrs.frozen
class AwaitSoon:
    function: Callable[[Any], Any]


@attrs.frozen
class Ping(Call[str]):
    pass


@attrs.frozen
class Note:
    value: object = None


class Worker(Actor):
    @handles
    async def wait(self, message: Await) -> Any:
        return await message.function(self)

    @handles
    async def wait_soon(self, message: AwaitSoon) -> None:
        await message.function(self)

    @handles
    def ping(self, message: Ping) -> str:
        return "pong"

    @handles
    def note(self, message: Note) -> None: ...


def asks(*refs: Ref[Any]) -> Any:
    """A call that goes to the first of ``refs``, and from there on to the next, then a ping."""
    if len(refs) == 1:
        return Await(lambda actor: refs[0].call(Ping(), timeout=None))
    return Await(lambda actor: refs[0].call(asks(*refs[1:]), timeout=None))


async def fails_with_cycle(ref: Ref[Any], message: Any, *chain: Ref[Any]) -> None:
    """The call crashes the last one in the ring, and the crash names the ring."""
    with pytest.raises(ActorDied) as caught:
        await ref.call(message, timeout=None)
    error: BaseException | None = caught.value
    while not isinstance(error, CallCycle):
        assert error is not None
        error = error.__cause__
    assert error.chain == chain
    assert " → ".join(each.path for each in chain) in str(error)
    assert "each waits for the next" in str(error)


async def test_K11_an_actor_that_calls_itself(system: System, both_ways: str) -> None:
    a = await system.start(Worker, name="a")
    await fails_with_cycle(a, asks(a), a, a)


async def test_K11_two_actors_that_call_each_other(system: System, both_ways: str) -> None:
    a, b = await system.start(Worker, name="a"), await system.start(Worker, name="b")
    await fails_with_cycle(a, asks(b, a), b, a, b)


async def test_K11_a_ring_of_five(system: System, both_ways: str) -> None:
    refs = [await system.start(Worker) for _ in range(5)]
    await fails_with_cycle(refs[0], asks(*refs[1:], refs[0]), refs[4], *refs)


async def test_K11_a_ring_that_one_of_several_waits_of_a_nursery_closes(
    system: System,
) -> None:
    a, b, c = [await system.start(Worker) for _ in range(3)]

    async def fan_out(actor: Worker) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(c.call, Await(lambda _: trio.sleep(1)))
            nursery.start_soon(b.call, asks(a))

    with pytest.raises(ActorDied) as caught:
        await a.call(Await(fan_out), timeout=None)
    group = caught.value.__cause__
    assert isinstance(group, ExceptionGroup)
    (died,) = group.exceptions
    assert isinstance(died.__cause__, CallCycle)
    assert died.__cause__.chain == (b, a, b)


async def test_K11_the_cycle_can_be_caught_and_the_actor_lives(
    system: System, both_ways: str
) -> None:
    async def careful(actor: Worker) -> str:
        try:
            return await a.call(Ping(), timeout=None)
        except CallCycle as error:
            assert error.ref == a
            return "told"

    a, b = await system.start(Worker), await system.start(Worker)
    ask = Await(lambda actor: b.call(Await(careful)))
    assert await a.call(ask) == "told"
    assert await a.call(Ping()) == "pong"
    assert await b.call(Ping()) == "pong"


async def test_K11_calls_into_the_same_actor_from_two_sides_are_no_ring(
    system: System, both_ways: str
) -> None:
    a, b, c = [await system.start(Worker) for _ in range(3)]
    answers: list[Any] = []

    async def call(ref: Ref[Any]) -> None:
        answers.append(await ref.call(asks(c)))

    async with trio.open_nursery() as nursery:
        for ref in (a, b, a, b):
            nursery.start_soon(call, ref)
    assert answers == ["pong"] * 4


async def test_K11_what_a_caller_outside_any_actor_waits_for_is_no_ring(
    system: System, both_ways: str
) -> None:
    a, b = await system.start(Worker), await system.start(Worker)
    assert await a.call(asks(b)) == "pong"
    assert await b.call(asks(a)) == "pong"


async def test_K11_a_start_whose_on_start_calls_whoever_starts_it(system: System) -> None:
    class Calls(Worker):
        def __init__(self, ref: Ref[Any]) -> None:
            self.other = ref

        async def on_start(self) -> None:
            await self.other.call(Ping(), timeout=None)

    starter = await system.start(Worker, name="starter")

    async def start_it(actor: Worker) -> None:
        with pytest.raises(StartFailed) as caught:
            await actor.system.start(Calls, actor.ref)
        cycle = caught.value.__cause__
        assert isinstance(cycle, CallCycle)
        assert (cycle.chain[0], cycle.chain[1]) == (cycle.chain[2], starter)

    await starter.call(Await(start_it), timeout=None)


async def test_K11_on_start_calling_the_supervisor_that_starts_it(system: System) -> None:
    class Asks(Worker):
        async def on_start(self) -> None:
            assert self.parent is not None
            await self.parent.call(WhichChildren(), timeout=None)

    class Top(Supervisor):
        def children(self) -> list[Child[Any]]:
            return [Child(Asks)]

    with pytest.raises(StartFailed) as caught:
        await system.start(Top, name="top")
    error: BaseException = caught.value
    while error.__cause__ is not None:
        error = error.__cause__
    assert isinstance(error, CallCycle)
    assert [each.path for each in error.chain] == ["/top/Asks", "/top", "/top/Asks"]

    dynamic = await system.start(DynamicSupervisor)
    with pytest.raises(StartFailed):
        await dynamic.call(StartChild(Child(Asks)), timeout=None)


async def test_K11_a_handler_that_starts_a_supervised_actor_which_calls_it(
    system: System,
) -> None:
    class Asks(Worker):
        def __init__(self, ref: Ref[Any]) -> None:
            self.other = ref

        async def on_start(self) -> None:
            await self.other.call(Ping(), timeout=None)

    async def start_it(actor: Worker) -> str:
        try:
            await actor.system.start(Child(Asks, actor.ref))
        except StartFailed as error:
            return type(error.__cause__).__name__
        return "started"

    a = await system.start(Worker)
    assert await a.call(Await(start_it), timeout=None) == "CallCycle"


async def test_K11_two_full_mailboxes_facing_each_other(system: System) -> None:
    a = await system.start_place(Temporary(Worker, mailbox=1))
    b = await system.start_place(Temporary(Worker, mailbox=1))
    ends: list[str] = []

    def fills(other: Ref[Any]) -> AwaitSoon:
        async def fill(actor: Worker) -> None:
            await trio.sleep(1)
            try:
                for number in range(3):
                    await other.send(Note(number))
                ends.append("sent")
            except CallCycle as error:
                assert set(error.chain) == {a, b}
                ends.append("cycle")

        return AwaitSoon(fill)

    a.cast(fills(b))
    b.cast(fills(a))
    await wait_all_tasks_blocked()
    a.cast(Note("fills a"))
    b.cast(Note("fills b"))
    await trio.sleep(2)
    assert sorted(ends) == ["cycle", "sent"]


async def test_K11_sending_to_oneself_with_a_full_mailbox(system: System) -> None:
    a = await system.start_place(Temporary(Worker, mailbox=1))

    async def fill(actor: Worker) -> str:
        await a.send(Note(1))
        try:
            await a.send(Note(2))
        except CallCycle:
            return "cycle"
        return "sent"

    assert await a.call(Await(fill)) == "cycle"


async def test_K11_a_call_that_waits_for_room_counts_too(system: System) -> None:
    a = await system.start_place(Temporary(Worker, mailbox=1))
    b = await system.start(Worker)

    async def back(actor: Worker) -> str:
        a.cast(Note("fills it"))
        try:
            return await a.call(Ping(), timeout=None)
        except CallCycle:
            return "cycle"

    ask = Await(lambda actor: b.call(Await(back), timeout=None))
    assert await a.call(ask, timeout=None) == "cycle"


@pytest.mark.parametrize("what", ["stop", "stop with timeout", "wait"])
async def test_K11_waiting_for_the_end_of_an_actor_that_waits_for_the_waiter(
    system: System, what: str
) -> None:
    a, b = await system.start(Worker), await system.start(Worker)

    async def end(actor: Worker) -> str:
        try:
            if what == "stop":
                await a.stop()
            elif what == "wait":
                await a.wait()
            else:
                await a.stop(timeout=1)
        except CallCycle as error:
            assert error.chain == (b, a, b)
            return "cycle"
        return "ended"

    ask = Await(lambda actor: b.call(Await(end), timeout=None))
    assert await a.call(ask, timeout=None) == "cycle"
    # It was told before anything happened: a is not stopped.
    assert await a.call(Ping()) == "pong"


@pytest.mark.parametrize("what", ["stop", "wait"])
async def test_K11_an_actor_that_waits_for_its_own_end(system: System, what: str) -> None:
    async def end(actor: Worker) -> str:
        try:
            await (actor.ref.stop() if what == "stop" else actor.ref.wait())
        except CallCycle as error:
            assert error.chain == (actor.ref, actor.ref)
            return "cycle"
        return "ended"

    a = await system.start(Worker)
    assert await a.call(Await(end), timeout=None) == "cycle"
    assert a.alive


async def test_K11_calling_back_while_one_waits_for_the_callers_end(system: System) -> None:
    """b stops a, whose on_stop calls b."""
    b = await system.start(Worker, name="b")
    seen: list[BaseException] = []

    class Calls(Worker):
        async def on_stop(self, exit: object) -> None:
            try:
                await b.call(Ping(), timeout=None)
            except CallCycle as error:
                seen.append(error)

    a = await system.start(Calls, name="a")
    assert await b.call(Await(lambda actor: a.stop())) is True
    (error,) = seen
    assert isinstance(error, CallCycle) and error.chain == (a, b, a)


async def test_K11_introspection_of_the_actor_that_asks(system: System) -> None:
    a = await system.start(Worker)

    async def look(actor: Worker) -> str:
        try:
            await get_state(actor.ref)
        except CallCycle:
            return "cycle"
        return "looked"

    assert await a.call(Await(look)) == "cycle"


async def test_K11_stopping_the_supervisor_one_stands_under(system: System) -> None:
    """The supervisor would wait for the end of the very turn that waits for it."""

    class Top(Supervisor):
        def children(self) -> list[Child[Any]]:
            return [Child(Worker, name="below", shutdown=float("inf"))]

    top = await system.start(Top)
    below = system.whereis("below")
    assert below is not None

    async def end(actor: Worker) -> str:
        assert actor.parent is not None
        try:
            await actor.parent.stop()
        except CallCycle:
            return "cycle"
        return "ended"

    assert await below.call(Await(end), timeout=3600) == "cycle"
    with trio.fail_after(1):
        await top.stop()


async def test_K11_a_supervisor_that_stops_a_child_which_waits_for_it(system: System) -> None:
    """Here it is the supervisor that closes the ring: the child's call fails."""
    seen: list[BaseException] = []

    async def ask(actor: Worker) -> None:
        assert actor.parent is not None
        await trio.sleep(1)
        try:
            await actor.parent.call(WhichChildren(), timeout=None)
        except (CallCycle, ActorDied) as error:
            seen.append(error)

    class Slow(Worker):
        async def on_stop(self, exit: object) -> None:
            await trio.sleep(10)

    class Top(Supervisor):
        def children(self) -> list[Child[Any]]:
            return [
                Child(Worker, name="asks", shutdown=float("inf")),
                Child(Slow, shutdown=float("inf")),
            ]

    top = await system.start(Top)
    asks = system.whereis("asks")
    assert asks is not None
    asks.cast(AwaitSoon(ask))
    await wait_all_tasks_blocked()
    await top.stop()
    assert trio.current_time() < 3600
    assert [type(each) for each in seen] == [CallCycle]


# -- what does not count


async def test_K11_a_deferred_answer_is_no_wait_for_the_actor_that_owes_it(
    system: System, both_ways: str
) -> None:
    """a waits for b's answer, which comes later; b, free again, calls a: that is no ring."""
    laters: list[Later[Any]] = []

    class Defers(Actor):
        @handles
        def ping(self, message: Ping) -> Later[str]:
            laters.append(self.later())
            return laters[-1]

        @handles
        async def wait(self, message: Await) -> Any:
            return await message.function(self)

    a, b = await system.start(Worker), await system.start(Defers)
    answers: list[Any] = []

    async def first() -> None:
        answers.append(await a.call(asks(b), timeout=None))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(first)
        await wait_all_tasks_blocked()
        with pytest.raises(CallTimeout):
            await b.call(asks(a), timeout=2)
        laters[0].reply("later")
    assert answers == ["later"]


async def test_K11_a_forwarded_call_waits_for_whom_it_was_forwarded_to(
    system: System, both_ways: str
) -> None:
    class Front(Actor):
        def __init__(self, back: Ref[Any]) -> None:
            self.back = back

        @handles
        def ping(self, message: Ping) -> None:  # type: ignore[misc]
            self.back.forward(self.envelope)

        ping.__annotations__.pop("return")

    async def ask(actor: Worker) -> str:
        try:
            return await front.call(Ping(), timeout=None)
        except CallCycle as error:
            assert set(error.chain) == {a}
            return "cycle"

    a = await system.start(Worker)
    front = await system.start(Front, a)
    # a asks the front, which hands it back to a.
    assert await a.call(Await(ask), timeout=60) == "cycle"
    # From outside the same way is no ring.
    assert await front.call(Ping()) == "pong"


async def test_K11_the_wait_moves_away_from_the_actor_that_forwarded(
    system: System, both_ways: str
) -> None:
    """a → front → back; back calls front, which is free: no ring."""

    class Front(Actor):
        def __init__(self) -> None:
            self.back: Ref[Any] | None = None

        @handles
        def pass_on(self, message: Await) -> None:
            assert self.back is not None
            self.back.forward(self.envelope)

        @handles
        def ping(self, message: Ping) -> str:
            return "from the front"

    front, a, back = [await system.start(each) for each in (Front, Worker, Worker)]
    front._place.actor.back = back
    ask = Await(lambda actor: front.call(Await(lambda other: front.call(Ping()))))
    assert await a.call(ask) == "from the front"


async def test_K11_a_side_task_does_not_count(system: System, both_ways: str) -> None:
    a, b = await system.start(Worker), await system.start(Worker)
    answers: list[Any] = []

    async def side() -> None:
        # a's side task waits for b, whose turn waits for a: a is free to answer.
        answers.append(await b.call(asks(a)))

    async def begin(actor: Worker) -> None:
        actor.start_soon(side)

    await a.call(Await(begin))
    await wait_all_tasks_blocked()
    assert answers == ["pong"]


async def test_K11_a_turn_that_has_ended_does_not_count(system: System) -> None:
    """A timed out call no longer waits: the ring it was part of is open again."""
    a, b = await system.start(Worker), await system.start(Worker)

    async def slowly_back(actor: Worker) -> str:
        await trio.sleep(3)
        return await a.call(Ping(), timeout=None)

    async def impatient(actor: Worker) -> str:
        try:
            await b.call(Await(slowly_back), timeout=1)
        except CallTimeout:
            return "timed out"
        return "answered"

    assert await a.call(Await(impatient)) == "timed out"
    await trio.sleep(5)
    assert a.alive and b.alive
    assert await b.call(Ping()) == "pong"
