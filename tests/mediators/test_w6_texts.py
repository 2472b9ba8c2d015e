"""W6, W11: what is said of a mistake names the thing, and what to write instead."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from actors import Call
from actors.payloads import NotEncodable
from mediators import Mediator, NoSuchWorkflow, VerbRefused, Workflow
from mediators.execution import mistakes
from mediators.execution.commands import Sleep, Step
from mediators.outcomes import Incident
from tests.mediators.sagas import Do, Ping, Simple, World, shop, spec, start

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from actors import System

    Code = Callable[[Any], Awaitable[Any]]

CODE: dict[str, Code] = {}


@attrs.define
class Coded(Workflow[Any]):
    """Does what a test says."""

    id: str

    async def run(self) -> Any:
        return await CODE["run"](self)


@attrs.frozen
class Forgotten(Call[None]):
    """No component handles it, and nobody names it."""

    value: int = 0


async def incident_of(system: System, code: Code) -> str:
    """What the incident of a workflow with that code says."""
    CODE["run"] = code
    ref = await system.start(spec(shop(World(), Coded)))
    (incident,) = await (await start(ref, Coded("one"))).incidents()
    return str(incident)


async def test_w6_a_step_that_no_component_handles_says_what_they_handle(system: System) -> None:
    async def code(flow: Any) -> str:
        try:
            await flow.step(Forgotten())
        except NotEncodable as error:
            return str(error)
        return ""

    CODE["run"] = code
    ref = await system.start(spec(shop(World(), Coded)))
    said = await ref.call(Coded("one"))
    assert "no component handles Forgotten (components handle: CrashDriver, Do, Undo)" in said
    assert "is @handles missing, or the component not in components?" in said


async def test_w6_a_forgotten_command_is_named(system: System) -> None:
    async def code(flow: Any) -> None:
        _ = flow.step(Do("first"))
        await flow.step(Do("second"))

    said = await incident_of(system, code)
    assert said == "1 command(s) were made and never awaited: Do (in Coded.run())."


async def test_w6_of_several_forgotten_commands_the_first_is_named(system: System) -> None:
    async def code(flow: Any) -> None:
        await flow.gather(flow.step(Do("first")), flow.step(Do("second")))
        _ = flow.sleep(1), flow.step(Do("third"))

    said = await incident_of(system, code)
    assert said.startswith("2 command(s) were made and never awaited, the first of them: sleep")


async def test_w6_a_command_awaited_twice_is_named(system: System) -> None:
    async def code(flow: Any) -> None:
        command = flow.step(Do("first"))
        await command
        await command

    assert "<step Do.1> is awaited a second time." in await incident_of(system, code)


async def wrong(flow: Any) -> None:
    await flow.sleep("soon")


async def test_w6_a_wrong_argument_is_told_at_the_users_line(system: System) -> None:
    line = wrong.__code__.co_firstlineno + 1
    assert f"({__file__}:{line}, in wrong)" in await incident_of(system, wrong)


async def test_w6_without_our_packages_left_out_it_would_be_told_at_a_line_of_ours(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mistakes, "LIBRARIES", ())
    assert "in check_seconds)" in await incident_of(system, wrong)


async def test_w6_a_where_that_is_no_function_is_told_at_its_line(system: System) -> None:
    async def code(flow: Any) -> None:
        await flow.receive(Ping, where=True)

    said = await incident_of(system, code)
    assert "receive(where=) takes a function of the signal. Got: True" in said
    assert "in code)" in said


async def test_w5_a_list_of_commands_is_to_be_unpacked(system: System) -> None:
    async def code(flow: Any) -> None:
        _ = flow.gather([flow.sleep(1), flow.sleep(2)])

    said = await incident_of(system, code)
    assert "Those of a list: gather(*commands)." in said
    assert "<sleep sleep, not awaited>" in said


def test_w4_a_command_says_what_and_where_it_is() -> None:
    step = Step(Do("first"))
    assert repr(step) == "<step Do, not awaited>"
    step.path = "Do.1"
    assert repr(step) == "<step Do.1>"
    assert repr(Sleep(1.0)) == "<sleep sleep, not awaited>"


async def test_w14_a_workflow_that_is_not_listed_is_refused_by_its_name(system: System) -> None:
    ref = await system.start(spec(shop(World(), Simple)))
    said = "Coded is a workflow that is not among the workflows of this mediator: Simple."
    with pytest.raises(VerbRefused, match=re.escape(said)):
        await ref.call(Coded("one"))


async def test_w14_so_is_one_where_workflows_is_misspelt(system: System) -> None:
    class Misspelt(Mediator):
        workflow = [Simple]

    ref = await system.start(spec(Misspelt))
    with pytest.raises(VerbRefused, match="not among the workflows of this mediator: none"):
        await ref.call(Simple("one"))


@pytest.mark.parametrize(
    ("second", "ended"), [("second", "it is done"), ("third", "it has failed")]
)
async def test_w17_how_a_workflow_has_ended_is_a_sentence(
    system: System, second: str, ended: str
) -> None:
    world = World()
    world.refuse("third")
    ref = await system.start(spec(shop(world, Simple)))
    handle = await start(ref, Simple("one", second))
    with pytest.raises(NoSuchWorkflow, match=f"Workflow 'one' has ended: {ended}"):
        await handle.cancel()


def test_an_incident_has_no_two_full_stops() -> None:
    assert str(Incident("", "It came.", "A.", "B.")) == "It came. Recorded: A. Came: B."
