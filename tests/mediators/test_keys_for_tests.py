"""mediators.testing.call_with_key: what a mediator's step does, by hand."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import trio

from actors import Actor, ActorDied, Call, CallCycle, CallTimeout, NoSuchActor, System, handles
from mediators.testing import call_with_key


@attrs.frozen
class Key(Call[str | None]):
    sleep: float = 0.0


class Echo(Actor):
    @handles
    async def key(self, message: Key) -> str | None:
        await trio.sleep(message.sleep)
        return self.envelope.key


async def test_w10_the_key_is_in_the_envelope_and_nowhere_else(system: System) -> None:
    ref = await system.start(Echo)
    assert await call_with_key(ref, Key(), "order-1/0/charge") == "order-1/0/charge"
    assert await ref.call(Key()) is None


async def test_w10_it_fails_as_a_call_fails(system: System) -> None:
    ref = await system.start(Echo)
    with pytest.raises(CallTimeout):
        await call_with_key(ref, Key(10), "k", timeout=1.0)
    await ref.stop()
    with pytest.raises(NoSuchActor):
        await call_with_key(ref, Key(), "k")


async def test_w10_it_is_seen_by_the_search_for_deadlocks(system: System) -> None:
    class Itself(Echo):
        @handles
        async def key(self, message: Key) -> str | None:
            return await call_with_key(self.ref, Key(), "itself", timeout=None)

    ref = await system.start(Itself)
    with pytest.raises(ActorDied) as caught:
        await call_with_key(ref, Key(), "k")
    assert isinstance(caught.value.__cause__, CallCycle)


async def test_w10_wrong_arguments_are_refused(system: System) -> None:
    ref = await system.start(Echo)
    wrong: list[tuple[Any, Any, Any, str]] = [
        ("no call", "k", 5.0, "takes a Call"),
        (Key(), "", 5.0, "not empty"),
        (Key(), 3, 5.0, "not empty"),
        (Key(), "k", "soon", "timeout"),
    ]
    for message, key, timeout, text in wrong:
        with pytest.raises(TypeError, match=text):
            await call_with_key(ref, message, key, timeout)
