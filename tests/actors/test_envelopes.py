"""What a handler knows of its message besides the message: key, what a layer adds, transaction."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from actors import Actor, Call, Envelope, Next, System, Unhandled, handles
from actors.replies import Slot
from actors.runtime import calls
from actors.testing import dead_letters

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors import Ref


@attrs.frozen
class Do(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class Wait(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class Unknown(Call[str]):
    pass


class Doer(Actor):
    def __init__(self, *layers: Any) -> None:
        self.middleware = layers

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    async def wait(self, message: Wait) -> Any:
        return message.function(self)


class KeyedSlot(Slot):
    __slots__ = ("key", "settled")

    def __init__(self, message: object, holder: Any, key: str) -> None:
        super().__init__(message, holder)
        self.key = key
        self.settled = 0

    def settle(self) -> None:
        self.settled += 1
        super().settle()


async def passes(envelope: Envelope, next: Next) -> Any:
    return await next(envelope)


async def call_with(ref: Ref[Any], message: object, key: str) -> tuple[Any, KeyedSlot]:
    slot = KeyedSlot(message, ref._place, key)
    calls.enqueue(ref._place, (message, slot, None, 0, 0, 0))
    return await calls.answer(slot, None), slot


@pytest.mark.parametrize("layers", [(), (passes,)], ids=["bare", "behind middleware"])
@pytest.mark.parametrize("message", [Do, Wait], ids=["plain", "async"])
async def test_w10_the_key_of_a_slot_is_the_envelopes(
    system: System, layers: tuple[Any, ...], message: Any
) -> None:
    ref = await system.start(Doer, *layers)
    key, slot = await call_with(ref, message(lambda actor: actor.envelope.key), "order-1/0/charge")
    assert key == "order-1/0/charge"
    assert slot.settled == 1


async def test_w10_a_call_without_a_key_has_none(system: System) -> None:
    ref = await system.start(Doer)
    assert await ref.call(Do(lambda actor: actor.envelope.key)) is None
    assert Slot.key is None


@pytest.mark.parametrize("message", [Do, Wait], ids=["plain", "async"])
async def test_K20_what_a_layer_passes_on_is_the_envelope_further_in(
    system: System, message: Any
) -> None:
    seen: list[Any] = []

    class Own(Doer):
        def __init__(self) -> None:
            super().__init__(adds, self.looks)

        async def looks(self, envelope: Envelope, next: Next) -> Any:
            seen.append(self.envelope is envelope)
            return await next(attrs.evolve(envelope, correlation_id="inner"))

    async def adds(envelope: Envelope, next: Next) -> Any:
        return await next(attrs.evolve(envelope, key="added"))

    ref = await system.start(Own)
    inner = await ref.call(message(lambda actor: actor.envelope))
    assert seen == [True]
    assert (inner.key, inner.correlation_id) == ("added", "inner")


async def test_K20_behind_next_a_layer_has_its_own_envelope_again(system: System) -> None:
    seen: list[Any] = []

    class Own(Doer):
        def __init__(self) -> None:
            super().__init__(self.outer)

        async def outer(self, envelope: Envelope, next: Next) -> Any:
            value = await next(attrs.evolve(envelope, key="inner"))
            seen.append((value, self.envelope.key))
            return value

    ref = await system.start(Own)
    assert await ref.call(Do(lambda actor: actor.envelope.key)) == "inner"
    assert seen == [("inner", None)]


async def test_K20_an_envelope_passed_on_ends_with_its_turn(system: System) -> None:
    async def adds(envelope: Envelope, next: Next) -> Any:
        if envelope.key is None and isinstance(envelope.message, Do):
            envelope = attrs.evolve(envelope, key="added")
        return await next(envelope)

    ref = await system.start(Doer, adds)
    assert await ref.call(Do(lambda actor: actor.envelope.key)) == "added"
    assert await ref.call(Wait(lambda actor: actor.envelope.key)) is None


async def test_K20_a_call_without_handler_passes_the_middleware(system: System) -> None:
    async def answers(envelope: Envelope, next: Next) -> Any:
        if isinstance(envelope.message, Unknown):
            return "answered by the layer"
        return await next(envelope)

    ref = await system.start(Doer, passes, answers)
    assert await ref.call(Unknown()) == "answered by the layer"
    bare = await system.start(Doer, passes)
    with pytest.raises(Unhandled) as caught:
        await bare.call(Unknown())
    assert caught.value.ref == bare and bare.alive


async def test_K20_a_one_way_message_without_handler_is_a_dead_letter_behind_middleware_too(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    seen: list[object] = []

    async def looks(envelope: Envelope, next: Next) -> Any:
        seen.append(envelope.message)
        return await next(envelope)

    letters = dead_letters(system)
    ref = await system.start(Doer, looks)
    with caplog.at_level(logging.WARNING):
        ref.cast("nobody handles me")
        assert await ref.call(Do(lambda actor: 1)) == 1
    assert [each.reason for each in letters] == ["no handler"]
    assert seen[0] == "nobody handles me"
    assert "has no handler for 'nobody handles me'" in caplog.text
    assert ref.alive and ref.incarnation == 1


async def test_K20_what_a_layer_gives_for_a_message_without_handler_is_no_awaitable(
    system: System,
) -> None:
    async def forgets(envelope: Envelope, next: Next) -> Any:
        return next(envelope)

    ref = await system.start(Doer, forgets)
    with pytest.raises(Exception, match="ended") as caught:
        await ref.call(Unknown())
    assert "a middleware returned an awaitable" in str(caught.value.__cause__)


async def test_w11_a_transaction_begins_when_it_is_asked_for(system: System) -> None:
    begun: list[str] = []

    async def provides(envelope: Envelope, next: Next) -> Any:
        def begin() -> str:
            begun.append("begun")
            return "connection"

        value = await next(attrs.evolve(envelope, begin=begin))
        return (value, list(begun))

    ref = await system.start(Doer, provides)
    assert await ref.call(Do(lambda actor: None)) == (None, [])
    assert await ref.call(Do(lambda actor: actor.envelope.transaction)) == (
        "connection",
        ["begun"],
    )


async def test_w11_without_a_provider_there_is_no_transaction(system: System) -> None:
    def asks(actor: Doer) -> str:
        with pytest.raises(RuntimeError) as caught:
            _ = actor.envelope.transaction
        return str(caught.value)

    text = await (await system.start(Doer)).call(Do(asks))
    assert "Idempotent" in text and "plain def" in text
