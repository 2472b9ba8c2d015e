"""Texts that cannot be written down concern one workflow, and never its mediator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from mediators import Retry, Status, VerbRefused
from mediators.driver import attempts
from mediators.texts import check_text, shown, text_of
from tests.mediators.shops import Do, Flow, Tell, World, start

if TYPE_CHECKING:
    from actors.testing import VirtualClock

ODD = "cannot read \udce4.txt"


class Speechless(Exception):
    """Has no text."""

    def __str__(self) -> str:
        raise AttributeError("missing")


class Nameless:
    """Has no repr."""

    def __repr__(self) -> str:
        raise AttributeError("missing")


async def step(flow: Any) -> str:
    result: str = await flow.step(Do("a"), retry=Retry(attempts=1))
    return result


async def fails(flow: Any) -> None:
    await flow.step(Do("a"))
    raise ValueError(ODD)


async def receive(flow: Any) -> str:
    tell: Tell = await flow.receive(Tell)
    return tell.text


def test_a_text_is_made_of_anything() -> None:
    assert text_of(ValueError(ODD)) == "cannot read \\udce4.txt"
    assert text_of(Speechless()) == "<Speechless without a text>"
    assert shown(Nameless()) == "<Nameless without a repr>"
    assert text_of("größer") == "größer"
    with pytest.raises(ValueError, match="lone surrogates"):
        check_text("it", ODD)


@pytest.mark.parametrize("error", [ValueError(ODD), Speechless()], ids=["surrogate", "speechless"])
async def test_w6_what_a_component_fails_with_may_have_any_text(
    virtual_clock: VirtualClock, error: Exception
) -> None:
    world = World(virtual_clock, step, script={"a": [error]})
    async with world.running() as shop:
        await start(shop)
        await trio.sleep(5)
        assert shop.state == "up"
        assert shop.incarnation == 1
        assert "Failed" in world.kinds()


async def test_without_its_mechanism_such_a_text_is_a_crash_of_the_driver(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attempts, "text_of", str)
    world = World(virtual_clock, step, script={"a": [ValueError(ODD)]})
    async with world.running() as shop:
        await start(shop)
        await trio.sleep(5)
        assert shop.incarnation > 1


async def test_w6_a_mistake_may_have_any_text_and_is_read_again(
    virtual_clock: VirtualClock,
) -> None:
    world = World(virtual_clock, fails)
    for _ in range(2):
        async with world.running() as shop:
            handle = await start(shop)
            await wait_all_tasks_blocked()
            assert await handle.status() is Status.PAUSED
            assert "\\udce4.txt" in (await handle.incidents())[0].what
            assert shop.incarnation == 1


async def test_a_name_of_a_change_that_cannot_be_written_down_is_a_mistake(
    virtual_clock: VirtualClock,
) -> None:
    async def code(flow: Any) -> bool:
        return bool(flow.patched(ODD))

    world = World(virtual_clock, code)
    async with world.running() as shop:
        assert await (await start(shop)).status() is Status.PAUSED


async def test_an_id_that_cannot_be_written_down_is_refused(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, receive)
    async with world.running() as shop:
        with pytest.raises(VerbRefused, match="lone surrogates"):
            await start(shop, Flow(ODD))
        handle = await start(shop)
        odd = attrs.evolve(handle, id=ODD)
        no_text: Any = []
        with pytest.raises(ValueError, match=r"GetStatus\.id cannot be encoded"):
            await odd.status()
        with pytest.raises(TypeError, match=r"GetStatus\.id is a str"):
            await attrs.evolve(handle, id=no_text).status()
        assert shop.incarnation == 1


async def test_nor_is_any_other_text_of_a_verb(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, receive)
    async with world.running() as shop:
        handle = await start(shop)
        for call in (
            lambda: handle.cancel(ODD),
            lambda: handle.pause(ODD),
            lambda: handle.signal(Tell("x"), id=ODD),
            lambda: handle.retry(ODD),
            lambda: handle.fork(ODD),
        ):
            with pytest.raises(ValueError, match="lone surrogates"):
                await call()
        assert await handle.status() is Status.WAITING
