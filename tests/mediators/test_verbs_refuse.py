"""What a verb cannot do is its sender's mistake, and never the end of the driver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from actors import Call, handles
from mediators import Handle, NoSuchWorkflow, Start, Status, VerbRefused, Workflow
from mediators.driver.driver import Driver
from mediators.verbs import ListWorkflows
from tests.mediators.shops import Do, Flow, Tell, World, start

if TYPE_CHECKING:
    from actors.testing import VirtualClock


class Odd(BaseException):
    """Not an Exception."""


@attrs.frozen
class Ask(Call[object]):
    what: str


@attrs.define
class Asked(Workflow[None]):
    id: str = "asked"

    async def run(self) -> None:
        await self.receive(Tell)

    @handles
    def ask(self, message: Ask) -> object:
        if message.what == "generator":
            return (each for each in "abc")
        raise Odd("no")


@attrs.define
class Untimed(Workflow[None]):
    id: str = "untimed"

    @property
    def timeout(self) -> float | None:  # type: ignore[override]
        raise RuntimeError("no timeout")

    async def run(self) -> None:
        pass


async def done(flow: Any) -> str:
    return "result"


@pytest.mark.parametrize(
    ("what", "said"), [("generator", "cannot be copied"), ("odd", "The query raised Odd: no")]
)
async def test_w16_a_query_that_gives_no_answer_is_refused(
    virtual_clock: VirtualClock, what: str, said: str
) -> None:
    world = World(virtual_clock, done, workflows=[Asked])
    async with world.running() as shop:
        handle = await shop.call(Start(Asked()))
        with pytest.raises(VerbRefused, match=said):
            await handle.query(Ask(what))
        assert shop.incarnation == 1
        assert await handle.status() is Status.WAITING


async def test_w14_a_timeout_that_raises_refuses_the_start(virtual_clock: VirtualClock) -> None:
    world = World(virtual_clock, done, workflows=[Untimed])
    async with world.running() as shop:
        with pytest.raises(VerbRefused, match="no timeout"):
            await shop.call(Start(Untimed()))
        assert shop.incarnation == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"type": Flow}, TypeError),
        ({"status": ["running"]}, TypeError),
        ({"status": "asleep"}, ValueError),
        ({"limit": "5"}, TypeError),
        ({"limit": -1}, ValueError),
    ],
)
def test_a_listing_takes_what_it_can_look_for(arguments: Any, error: type[Exception]) -> None:
    with pytest.raises(error, match="ListWorkflows"):
        ListWorkflows(**arguments)


async def test_a_listing_that_fails_fails_its_caller(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(virtual_clock, done)
    async with world.running() as shop:

        def broken(*_: object, **__: object) -> Any:
            raise OverflowError("too much")

        with monkeypatch.context() as patch:
            patch.setattr("mediators.driver.desk.listed_runs", broken)
            with pytest.raises(VerbRefused, match="too much"):
                await shop.call(ListWorkflows())
        assert await shop.call(ListWorkflows()) == []


async def test_w6_any_exception_of_a_where_or_an_undo_function_is_a_mistake_in_it(
    virtual_clock: VirtualClock,
) -> None:
    def odd(_: object) -> Any:
        raise Odd

    async def code(flow: Any) -> None:
        await flow.step(Do("a"), undo=odd)
        await flow.receive(Tell, where=odd)

    world = World(virtual_clock, code)
    async with world.running() as shop:
        handle = await start(shop)
        await handle.signal(Tell("x"))
        assert await handle.status() is Status.PAUSED
        assert shop.incarnation == 1


async def test_a_run_that_was_removed_since_its_row_was_found_is_none(
    virtual_clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(virtual_clock, done)
    async with world.running() as shop:
        await shop.call(Flow())
        monkeypatch.setattr(Driver, "records", lambda *_: [])
        handle = Handle(shop, "w", Flow)
        for call in (handle.result, handle.history, lambda: handle.fork("x"), lambda: start(shop)):
            with pytest.raises(NoSuchWorkflow):
                await call()
        assert shop.incarnation == 1
