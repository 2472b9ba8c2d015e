"""What the commands of a workflow are given is looked at where they stand, and refused by name."""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from actors import Call, handles
from mediators import Retry, Workflow
from tests.mediators.shops import Do, Flow, Other, Tell, Undo, World, start

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.testing import VirtualClock


async def ask(what: str) -> str:
    return what


def plain(what: str) -> str:
    return what


COMMANDS: dict[str, tuple[Callable[[Any], Any], type[Exception], str]] = {
    "step of no call": (lambda w: w.step("x"), TypeError, r"step\(\) takes a Call.*Got: 'x'"),
    "undo": (lambda w: w.step(Do("a"), undo=3), TypeError, "undo= takes the message .*Got: 3"),
    "retry": (lambda w: w.step(Do("a"), retry=3), TypeError, "retry= takes a Retry. Got: 3"),
    "zero": (lambda w: w.step(Do("a"), timeout=0), ValueError, r"timeout= \(None for no bound\)"),
    "text": (lambda w: w.step(Do("a"), timeout="1"), TypeError, "timeout="),
    "effect": (lambda w: w.effect(plain, "x"), TypeError, r"effect\(\) takes an async function"),
    "effect's undo": (lambda w: w.effect(ask, "x", undo=3), TypeError, "undo= takes"),
    "effect's retry": (lambda w: w.effect(ask, "x", retry=3), TypeError, "retry= takes"),
    "sleep": (lambda w: w.sleep(-1), ValueError, r"sleep\(seconds\)"),
    "receive": (lambda w: w.receive("Tell"), TypeError, r"receive\(\) takes the class .*'Tell'"),
    "receive's timeout": (lambda w: w.receive(Tell, timeout=-1), ValueError, "receive"),
    "gather": (lambda w: w.gather(3), TypeError, r"gather\(\) takes commands .*Got: 3"),
    "limit": (lambda w: w.gather(limit=0), ValueError, r"gather\(limit=\) is an int of 1 or more"),
    "odd limit": (lambda w: w.gather(limit=True), ValueError, r"Got: True"),
    "race of none": (lambda w: w.race(), TypeError, r"race\(\) takes at least one branch"),
    "race": (lambda w: w.race(3), TypeError, r"race\(\) takes commands .*Got: 3"),
    "child": (lambda w: w.child(Do("a")), TypeError, r"child\(\) takes a workflow. Got: Do"),
    "continue": (
        lambda w: w.continue_as_new(3),
        TypeError,
        r"continue_as_new\(\) takes a workflow. Got: 3",
    ),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_argument_is_refused_where_it_stands(name: str) -> None:
    command, error, text = COMMANDS[name]
    with pytest.raises(error, match=text):
        command(Flow())


@pytest.mark.parametrize(
    "command",
    [
        lambda w: w.step(Do("a"), undo=Undo, retry=Retry(attempts=inf), timeout=None),
        lambda w: w.effect(ask, "x", undo=Undo("x"), timeout=1),
        lambda w: w.sleep(0),
        lambda w: w.receive(Tell, timeout=0),
        lambda w: w.gather(limit=1),
        lambda w: w.child(Other()),
        lambda w: w.now(),
        lambda w: w.random,
        lambda w: w.uuid(),
        lambda w: w.patched("new"),
        lambda w: w.pivot(),
    ],
    ids=[
        "step",
        "effect",
        "sleep",
        "receive",
        "gather",
        "child",
        "now",
        "random",
        "uuid",
        "patched",
        "pivot",
    ],
)
def test_a_workflow_that_does_not_run_is_a_message_and_says_so(
    command: Callable[[Any], Any],
) -> None:
    with pytest.raises(RuntimeError, match="This Flow does not run: it is a message. Send it to"):
        command(Flow())


@pytest.mark.parametrize(
    ("fields", "text"),
    [
        ({"attempts": 0}, "Retry attempts is an int of 1 or more, or math.inf. Got: 0"),
        ({"attempts": 2.5}, "Got: 2.5"),
        ({"first": -1}, "Retry first"),
        ({"cap": -1}, "Retry cap"),
    ],
    ids=["none", "half", "first", "cap"],
)
def test_w7_a_retry_that_cannot_be_is_refused(fields: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        Retry(**fields)


async def test_w17_a_wrong_argument_in_a_run_pauses_it_with_the_text(
    virtual_clock: VirtualClock,
) -> None:
    async def code(self: Any) -> None:
        await self.step("no call")

    async with World(virtual_clock, code).running() as shop:
        handle = await start(shop)
        assert str(await handle.status()) == "paused"
        incident = (await handle.incidents())[0]
        assert "step() takes a Call" in incident.what


async def test_what_a_pivot_returns_may_be_awaited(virtual_clock: VirtualClock) -> None:
    async def code(self: Any) -> str:
        await self.pivot()
        return "over"

    async with World(virtual_clock, code).running() as shop:
        assert await (await start(shop)).result(timeout=1.0) == "over"


# -- classes


@attrs.frozen
class HowMany(Call[int]):
    pass


@attrs.frozen
class Note:
    pass


def test_w16_a_handler_of_a_workflow_is_a_plain_function_that_answers_a_call() -> None:
    with pytest.raises(TypeError, match="answers a query: it is a plain def, and HowMany a Call"):

        class Waits(Workflow[None]):
            @handles
            async def count(self, message: HowMany) -> int:
                return 1

    with pytest.raises(TypeError, match="Tells.note answers a query: .* Note a Call"):

        class Tells(Workflow[None]):
            @handles
            def note(self, message: Note) -> None: ...


def test_a_run_that_is_no_coroutine_is_refused_with_its_class() -> None:
    with pytest.raises(TypeError, match=r"Hurries\.run is an async def\. Got: <function"):

        class Hurries(Workflow[int]):
            def run(self) -> int:  # type: ignore[override]
                return 1


async def test_a_workflow_without_a_run_is_paused_and_says_so(virtual_clock: VirtualClock) -> None:
    async def code(self: Any) -> Any:
        return await Workflow.run(self)

    async with World(virtual_clock, code).running() as shop:
        handle = await start(shop)
        assert "Flow has no run()." in (await handle.incidents())[0].what
