"""K20: what stands around a handler."""

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
    Envelope,
    Later,
    Next,
    Refusal,
    StartFailed,
    System,
    Unhandled,
    handles,
)
from actors.testing import dead_letters, tasks
from supervisors import Child, StartChild, Supervisor, WhichChildren

if TYPE_CHECKING:
    from collections.abc import Callable


class No(Refusal):
    pass


@attrs.frozen
class Add(Call[int]):
    value: int = 1


@attrs.frozen
class Do(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class AddSlowly(Call[int]):
    value: int = 1


class Counter(Actor):
    def __init__(self, *layers: Any) -> None:
        self.total = 0
        self.middleware = layers

    @handles
    def add(self, message: Add) -> int:
        self.total += message.value
        return self.total

    @handles
    async def add_slowly(self, message: AddSlowly) -> int:
        await trio.sleep(1)
        self.total += message.value
        return self.total

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)


def writes(log: list[object], name: str) -> Any:
    async def layer(envelope: Envelope, next: Next) -> Any:
        log.append(f"{name} before")
        try:
            return await next(envelope)
        finally:
            log.append(f"{name} after")

    return layer


async def test_K20_middleware_stands_around_every_handler_outermost_first(
    system: System,
) -> None:
    log: list[object] = []
    ref = await system.start(Counter, writes(log, "outer"), writes(log, "inner"))
    assert await ref.call(Add(2)) == 2
    assert log == ["outer before", "inner before", "inner after", "outer after"]
    assert await ref.call(AddSlowly(3)) == 5
    ref.cast(Add(1))
    assert await ref.call(Add(1)) == 7
    assert len(log) == 16


async def test_K20_next_returns_the_value_of_the_handler_and_the_answer_is_that_of_the_layer(
    system: System,
) -> None:
    seen: list[object] = []

    async def doubles(envelope: Envelope, next: Next) -> Any:
        value = await next(envelope)
        seen.append(value)
        return value * 2

    ref = await system.start(Counter, doubles)
    assert await ref.call(Add(2)) == 4
    assert await ref.call(AddSlowly(2)) == 8
    assert seen == [2, 4]


async def test_K20_next_returns_a_later_too(system: System) -> None:
    seen: list[object] = []

    async def looks(envelope: Envelope, next: Next) -> Any:
        value = await next(envelope)
        seen.append(value)
        return value

    laters: list[Later[Any]] = []

    def defer(actor: Counter) -> Later[Any]:
        laters.append(actor.later())
        return laters[-1]

    ref = await system.start(Counter, looks)
    answers: list[object] = []

    async def call() -> None:
        answers.append(await ref.call(Do(defer)))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        assert seen == laters
        laters[0].reply("later")
    assert answers == ["later"]


async def test_K20_a_layer_may_be_an_object_and_a_method_of_the_actor(system: System) -> None:
    log: list[str] = []

    class Timed:
        async def __call__(self, envelope: Envelope, next: Next, /) -> Any:
            began = trio.current_time()
            value = await next(envelope)
            log.append(f"{type(envelope.message).__name__}: {trio.current_time() - began:.0f} s")
            return value

    class Own(Counter):
        def __init__(self) -> None:
            super().__init__(Timed(), self.checks)

        async def checks(self, envelope: Envelope, next: Next) -> Any:
            log.append(f"total is {self.total}")
            return await next(envelope)

    ref = await system.start(Own)
    assert await ref.call(AddSlowly(2)) == 2
    assert log == ["total is 0", "AddSlowly: 1 s"]


async def test_K20_a_layer_may_change_the_message(system: System) -> None:
    async def caps(envelope: Envelope, next: Next) -> Any:
        if isinstance(envelope.message, Add) and envelope.message.value > 10:
            envelope = attrs.evolve(envelope, message=Add(10))
        return await next(envelope)

    ref = await system.start(Counter, caps)
    assert await ref.call(Add(1)) == 1
    assert await ref.call(Add(1000)) == 11


async def test_K20_a_layer_may_change_the_message_to_one_of_another_class(
    system: System,
) -> None:
    async def slows(envelope: Envelope, next: Next) -> Any:
        if isinstance(envelope.message, Add):
            envelope = attrs.evolve(envelope, message=AddSlowly(envelope.message.value))
        return await next(envelope)

    ref = await system.start(Counter, slows)
    assert await ref.call(Add(3)) == 3
    assert trio.current_time() == pytest.approx(1)


async def test_K20_a_layer_that_passes_on_what_nobody_handles_fails_the_caller(
    system: System,
) -> None:
    class Other:
        pass

    async def confuses(envelope: Envelope, next: Next) -> Any:
        return await next(attrs.evolve(envelope, message=Other()))

    ref = await system.start(Counter, confuses)
    with pytest.raises(Unhandled):
        await ref.call(Add(1))
    assert ref.alive


async def test_K20_a_layer_may_refuse_answer_itself_and_crash(system: System) -> None:
    async def guards(envelope: Envelope, next: Next) -> Any:
        value = envelope.message.value  # type: ignore[attr-defined]
        if value < 0:
            raise No("negative")
        if value == 0:
            return "answered by the layer"
        if value > 100:
            raise ValueError("too much")
        return await next(envelope)

    ref = await system.start(Counter, guards)
    with pytest.raises(No, match="negative"):
        await ref.call(Add(-1))
    assert await ref.call(Add(0)) == "answered by the layer"
    assert await ref.call(Add(1)) == 1
    letters = dead_letters(system)
    ref.cast(Add(-1))
    assert await ref.call(Add(1)) == 2
    assert len(letters) == 1
    with pytest.raises(ActorDied) as caught:
        await ref.call(Add(101))
    assert str(caught.value.__cause__) == "too much"


async def test_K20_a_layer_sees_what_the_handler_raises(system: System) -> None:
    seen: list[BaseException] = []

    async def catches(envelope: Envelope, next: Next) -> Any:
        try:
            return await next(envelope)
        except ValueError as error:
            seen.append(error)
            return "caught"

    def fail(actor: Counter) -> None:
        raise ValueError

    ref = await system.start(Counter, catches)
    assert await ref.call(Do(fail)) == "caught"
    assert len(seen) == 1 and ref.alive


async def test_K20_a_layer_may_call_next_again(system: System) -> None:
    async def twice(envelope: Envelope, next: Next) -> Any:
        await next(envelope)
        return await next(envelope)

    ref = await system.start(Counter, twice)
    assert await ref.call(Add(1)) == 2


async def test_K20_the_envelope_of_a_layer_is_that_of_the_handler(system: System) -> None:
    seen: list[Envelope] = []

    async def looks(envelope: Envelope, next: Next) -> Any:
        seen.append(envelope)
        return await next(envelope)

    ref = await system.start(Counter, looks)
    inner = await ref.call(Do(lambda actor: actor.envelope))
    assert inner == seen[0]
    assert inner.deadline == pytest.approx(5)


async def test_K20_middleware_is_read_once_per_incarnation_after_init_from_the_instance(
    system: System,
) -> None:
    log: list[object] = []

    class Fickle(Counter):
        def __init__(self) -> None:
            super().__init__(writes(log, f"of incarnation {self.ref.incarnation}"))

        @handles
        def change(self, message: str) -> None:
            self.middleware = (writes(log, message),)

    class Top(Supervisor):
        def children(self) -> list[Child[Any]]:
            return [Child(Fickle, name="fickle")]

    await system.start(Top)
    ref = system.whereis("fickle")
    assert ref is not None
    ref.cast("too late")
    assert await ref.call(Add(1)) == 1

    def fail(actor: Counter) -> None:
        raise ValueError

    with pytest.raises(ActorDied):
        await ref.call(Do(fail))
    assert await ref.call(Add(1)) == 1
    assert set(log) == {
        f"of incarnation {number} {when}" for number in (1, 2) for when in ("before", "after")
    }


async def test_K20_middleware_in_the_class_is_shared(system: System) -> None:
    log: list[object] = []

    class Shared(Actor):
        middleware = (writes(log, "shared"),)

        @handles
        def add(self, message: Add) -> int:
            return message.value

    ref = await system.start(Shared)
    assert await ref.call(Add(7)) == 7
    assert log == ["shared before", "shared after"]


async def test_K20_a_plain_handler_that_returns_an_awaitable_is_told_so_behind_middleware_too(
    system: System,
) -> None:
    ref = await system.start(Counter, writes([], "layer"))
    with pytest.raises(ActorDied) as caught:
        await ref.call(Do(lambda actor: trio.lowlevel.checkpoint()))
    assert "returned an awaitable" in str(caught.value.__cause__)


async def test_K20_without_middleware_no_task_and_no_cost(system: System) -> None:
    ref = await system.start(Counter)
    assert await ref.call(Add(1)) == 1
    assert ref._place.middleware is None
    assert ref.path not in [each.name for each in tasks()]


async def test_K20_what_is_no_sequence_fails_the_start(system: System) -> None:
    class Wrong(Actor):
        middleware = 3  # type: ignore[assignment]

    with pytest.raises(StartFailed):
        await system.start(Wrong)


async def test_K20_a_supervisor_may_have_middleware(system: System) -> None:
    """Its operations go on without a task, also when they began in one."""
    log: list[object] = []

    class Worker(Actor):
        async def on_start(self) -> None:
            await trio.sleep(1)

    class Top(Supervisor):
        middleware = (writes(log, "layer"),)

    top = await system.start(Top)
    ref = await top.call(StartChild(Child(Worker)))
    assert ref.alive
    assert [each.ref for each in await top.call(WhichChildren())] == [ref]
    await ref.stop()
    await trio.sleep(2)
    assert (ref.state, ref.incarnation) == ("up", 2)
    assert len(log) == 4
