"""Events, deadlines and messages that are handed on, across processes."""

from __future__ import annotations

from typing import Any

import pytest

from actors import (
    Actor,
    ActorDied,
    CallTimeout,
    handles,
    open_system,
)
from supervisors import (
    Child,
    Supervisor,
    one_for_one,
)
from tests.actors.isolation.far_actors import Plus, Raised
from tests.actors.isolation.in_forks.across_actors import (
    Coin,
    Do,
    Doer,
    DoIt,
    Keeper,
    No,
)
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.places import (
    PAIRS,
    WHERE,
    alone,
    named,
    notes,
    until,
)

# -- events


class Hall(Supervisor):
    """Hears of what nobody below takes."""

    def __init__(self, *children: Child[Any]) -> None:
        self.below = list(children)
        self.heard: list[str] = []

    def children(self) -> list[Child[Any]]:
        return self.below

    @handles
    def hear(self, msg: Raised) -> None:
        self.heard.append(msg.text)


@PAIRS
@real
async def test_K21_events_rise_through_two_levels(one: Any, two: Any) -> None:
    """A supervisor in a process of its own, and below it an actor in one of its own."""
    if one is None:
        below: Child[Any] = one_for_one(Child(Doer, id="doer", name="doer", isolation=two), id="x")
    else:
        below = Child(Between, two is not None, id="x", isolation=one)
    async with open_system(Child(Hall, below, name="hall")) as system:
        hall = named(system, "hall")
        if one is None:
            named(system, "doer").cast(DoIt("notify"))
        await until(lambda: hall._place.actor.heard == ["from below"])


@real
async def test_what_somebody_above_takes_concerns_nobody_who_never_sends_it() -> None:
    """Its class cannot be imported in the worker."""
    import sys
    import types

    made = types.ModuleType("made_up_events")
    sys.modules["made_up_events"] = made
    text = "import attrs\n@attrs.frozen\nclass MadeUp:\n    text: str\n"
    exec(text, vars(made))

    class Choosy(Hall):
        @handles(made.MadeUp)
        def take(self, msg: Any) -> None:
            self.heard.append("made up")

    below = Child(Doer, id="doer", name="doer", isolation="process")
    async with open_system(Child(Choosy, below, name="hall")) as system:
        hall = named(system, "hall")
        named(system, "doer").cast(DoIt("notify"))
        await until(lambda: hall._place.actor.heard == ["from below"])


class Between(Supervisor):
    """Passes on what comes from below."""

    def __init__(self, deep: bool) -> None:
        self.deep = deep

    def children(self) -> list[Child[Any]]:
        return [Child(Crier, id="doer", isolation="process" if self.deep else None)]


class Crier(Doer):
    """Notifies as soon as it can."""

    def on_ready(self) -> None:
        self.notify(Raised("from below"))


# -- deadlines


@PAIRS
@real
async def test_K10_the_deadline_of_a_call_caps_those_made_inside(one: Any, two: Any) -> None:
    async with open_system() as system:
        witness = await system.start(Keeper)
        inner = await system.start(Child(Doer, isolation=two, shutdown=0.1))
        outer = await system.start(Child(Doer, witness, isolation=one))
        with pytest.raises(CallTimeout) as timeout:
            await outer.call(Do("call for so long", inner, 50.0), timeout=0.1)
        assert not timeout.value.inherited
        assert await notes(witness) == ["inherited: True"]
        # Its own timeout is shorter: it is not inherited, and the call is answered.
        answer = await outer.call(Do("call for so long", inner, 0.05), timeout=5)
        assert answer == "inherited: False"
        assert outer.incarnation == inner.incarnation == 1


@PAIRS
@real
async def test_K10_an_inherited_timeout_that_leaves_the_handler_ends_no_actor(
    one: Any, two: Any
) -> None:
    async with open_system() as system:
        inner = await system.start(Child(Doer, isolation=two, shutdown=0.1))
        outer = await system.start(Child(Doer, isolation=one))
        with pytest.raises(CallTimeout):
            await outer.call(Do("call as long as I may", inner), timeout=0.1)
        assert await outer.call(Plus(1)) == 2
        assert outer.incarnation == inner.incarnation == 1


@WHERE
@real
async def test_the_envelope_has_the_deadline_of_the_caller(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        left = float(await ref.call(Do("left"), timeout=100.0))
        assert 90 < left <= 100
        assert await ref.call(Do("left"), timeout=None) == "None"


@WHERE
@real
async def test_K9_an_answer_after_the_timeout_vanishes(isolation: Any) -> None:
    async with alone(Doer, isolation=isolation) as (_, ref):
        with pytest.raises(CallTimeout):
            await ref.call(Coin(), timeout=0.05)
        assert await notes(ref) == ["waiting"]
        ref.cast(DoIt("answer"))
        assert await ref.call(Plus(1)) == 2
        if isolation is not None:
            link = ref._place.actor._link
            assert not link.flights


# -- forwarding


@PAIRS
@real
async def test_K8_a_message_is_handed_on_to_another_process(one: Any, two: Any) -> None:
    async with open_system() as system:
        target = await system.start(Child(Forwarded, isolation=two))
        first = await system.start(Child(Doer, isolation=one))
        assert await first.call(Do("forward", target)) == "answered by another"
        # Who has handed it on is free again.
        assert await first.call(Plus(1)) == 2
        with pytest.raises(No):
            await first.call(Do("forward", target, 1))


@PAIRS
@real
async def test_K8_the_wait_goes_on_with_the_message(one: Any, two: Any) -> None:
    """It is the second of the two that dies."""
    async with open_system() as system:
        target = await system.start(Child(Forwarded, isolation=two))
        first = await system.start(Child(Doer, isolation=one))
        with pytest.raises(ActorDied, match="Forwarded"):
            await first.call(Do("forward", target, 2))
        assert first.incarnation == 1


class Forwarded(Actor):
    """Is handed what others were sent."""

    @handles
    def do(self, msg: Do) -> str:
        if msg.number == 1:
            raise No("neither will I")
        if msg.number == 2:
            raise ValueError("nor can I")
        return "answered by another"
