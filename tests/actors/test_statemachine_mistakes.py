"""State machines: what is refused, where it is written."""

from __future__ import annotations

from typing import Any

import pytest

from actors import (
    StartFailed,
    StateMachine,
    System,
    enter,
    handles,
    state_function,
)
from tests.actors.machines import (
    Abc,
    Do,
    Note,
    Only,
    slowly,
    start,
)


@pytest.fixture
def log() -> list[Any]:
    return []


def test_an_initial_state_that_does_not_exist_is_told_at_class_creation() -> None:
    with pytest.raises(
        TypeError, match=r"Wrong\.initial is one of its states.*'b', 'a', 'c'\. Got: 'nowhere'"
    ):

        class Wrong(Abc):
            initial = "nowhere"


async def test_a_machine_without_initial_state_does_not_start(system: System) -> None:
    class Abstract(StateMachine):
        @handles(state="a")
        def note(self, message: Note) -> None: ...

    with pytest.raises(StartFailed) as caught:
        await system.start(Abstract)
    assert str(caught.value.__cause__).endswith(
        "Abstract has no initial state; set it in the class: "
        "initial = \"...\". Accepted: 'a'. Got: none"
    )


@pytest.mark.parametrize("states", ["abc", ("a", 1), ("",), 5, {"a"}])
def test_states_lists_names(states: Any) -> None:
    with pytest.raises(TypeError, match=r"Wrong\.states lists the names of states.*Got:"):
        type("Wrong", (StateMachine,), {"states": states})


def test_an_enter_handler_cannot_await() -> None:
    with pytest.raises(TypeError, match=r"entered cannot await; .*Got: async def"):

        class Wrong(StateMachine):
            @enter("a")
            async def entered(self, old: str) -> None: ...


def test_an_enter_handler_overridden_by_an_async_def_cannot_await() -> None:
    with pytest.raises(TypeError, match=r"entered cannot await; .*Got: async def"):

        class Wrong(Abc):
            async def entered(self, old: str) -> None: ...  # type: ignore[override]


def test_an_enter_handler_overridden_by_none_is_gone() -> None:
    class Silent(Abc):
        states = ("a",)
        entered = None  # type: ignore[assignment]

    assert Silent.enters == {}


def _no_parameter(self: Any) -> None: ...
def _three_parameters(self: Any, old: str, new: str) -> None: ...
def _keyword(self: Any, *, old: str) -> None: ...
def _generator(self: Any, old: str) -> Any:
    yield


@pytest.mark.parametrize("wrong", [_no_parameter, _three_parameters, _keyword, _generator])
def test_an_enter_handler_takes_the_old_state(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"does not fit; an enter handler is a plain def.*Got: def"):
        enter("a")(wrong)


def test_enter_takes_a_method() -> None:
    with pytest.raises(TypeError, match=r"@enter takes a method.*Got: 5"):
        enter("a")(5)  # type: ignore[type-var]


@pytest.mark.parametrize("states", [(), (1,), ("",), (slowly,)])
def test_enter_takes_names_of_states(states: Any) -> None:
    with pytest.raises(TypeError, match=r"@enter takes the names of states.*Got: @enter\("):
        enter(*states)


def test_a_state_has_one_enter_handler() -> None:
    with pytest.raises(
        TypeError, match=r"two enter handlers for state 'a'.*Got: entered and also_entered"
    ):

        class Wrong(Abc):
            @enter("a")
            def also_entered(self, old: str) -> None: ...


def test_a_state_has_one_handler_for_a_message() -> None:
    with pytest.raises(TypeError, match=r"two handlers for Only in state 'b'"):

        class Wrong(Abc):
            @handles(Only, state=("a", "b"))
            def another(self, message: Only) -> str:
                return ""


@pytest.mark.parametrize("wrong", [5, "a", Abc])
def test_state_function_takes_a_method(wrong: Any) -> None:
    with pytest.raises(TypeError, match=r"@state_function takes a method.*Got: "):
        state_function(wrong)


@pytest.mark.parametrize("state", ["nowhere", None, 5, Abc])
async def test_become_takes_a_state_of_the_machine(
    system: System, log: list[Any], state: Any
) -> None:
    ref = await start(system, log)

    def wrong(machine: Abc) -> str:
        with pytest.raises(ValueError) as caught:
            machine.become(state)
        return str(caught.value)

    assert await ref.call(Do(wrong)) == (
        f"become() takes a state of Abc: 'b', 'a', 'c'. Got: {state!r}"
    )


def test_a_machine_that_does_not_run_says_so() -> None:
    machine = Abc([])
    assert machine.machine_state == "a"
    with pytest.raises(RuntimeError, match="does not run"):
        machine.postpone()
