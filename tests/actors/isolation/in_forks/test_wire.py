"""What crosses between two processes: values, refs, and what a worker says to its parent."""

from __future__ import annotations

import datetime as dt
import uuid
from decimal import Decimal
from typing import Any

import attrs
import pytest

from actors import (
    Actor,
    NoSuchActor,
    handles,
    open_system,
)
from actors.payloads import NotEncodable
from actors.telemetry import DeadLetter
from supervisors import Backoff, Child, one_for_one
from tests.actors.isolation.far_actors import Fail, Far, Notes, Plain, Plus
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.wire_actors import (
    Base,
    Boxed,
    Carry,
    CatchAll,
    Circle,
    Colour,
    Counter,
    Derived,
    Echo,
    EchoEverything,
    Empty,
    Event,
    Everything,
    FurtherDerived,
    LateEvent,
    Level,
    Line,
    Mirror,
    Pair,
    Point,
    Speak,
    SpeakAs,
    SpeakTo,
    Square,
    Whose,
    Wrapped,
    started,
)

UTC = dt.UTC
LINE = Line(Point(1), Point(2, 2.5), "diagonal")

EVERYTHING = Everything(
    nothing=None,
    flag=True,
    number=-(1 << 62),
    real=0.1,
    text="naïve ☃ \x00",
    data=b"\x00\xff",
    when=dt.datetime(2024, 2, 29, 12, 30, 1, 500, UTC),
    day=dt.date(1999, 12, 31),
    clock=dt.time(23, 59, 59, 999999),
    span=dt.timedelta(days=-3, microseconds=7),
    money=Decimal("12345678901234567890.000001"),
    id=uuid.UUID(int=7),
    colour=Colour.BLUE,
    level=Level.HIGH,
    choice="b",
    shape=Circle(Point(0), 1.5),
    either="a string",
    points=[Point(1), Point(2, 3.0)],
    pair=Pair(Point(9), 8),
    fixed=(1, "one"),
    many=(1, 2, 3),
    names=frozenset(("a", "b")),
    table={"a": [Point(1)], "b": []},
    nested=Boxed([LINE], {"origin": Point(0, 0.0)}),
    anything=[Square(Point(1), 2), {"deep": (LINE, Colour.RED)}],
    whatever=Pair(Point(3), 4),
)

VALUES: dict[str, object] = {
    "none": None,
    "true": True,
    "a string": "naïve",
    "no characters": "",
    "bytes": b"\x00\x01\xff",
    "a bytearray": bytearray(b"abc"),
    "an int": -1,
    "a big int": 1 << 200,
    "a big negative int": -(1 << 64),
    "a float": 1e300,
    "infinity": float("inf"),
    "a list": [1, [2, [3]]],
    "a tuple": (1, (2, ()), []),
    "a set": {1, 2, 3},
    "a frozenset": frozenset({"a"}),
    "a dict": {"a": 1, "b": {"c": None}},
    "a dict with other keys": {1: "a", (2, 3): "b", None: "c"},
    "a datetime": dt.datetime(2024, 1, 1, tzinfo=UTC),
    "a naive datetime": dt.datetime(2024, 1, 1),  # noqa: DTZ001
    "a date": dt.date(2024, 1, 1),
    "a time": dt.time(1, 2, 3),
    "a timedelta": dt.timedelta(days=400, microseconds=1),
    "a decimal": Decimal("0.10"),
    "a uuid": uuid.UUID(int=1 << 100),
    "an enum": Colour.RED,
    "an int enum": Level.HIGH,
    "an attrs class": Point(1, 2.0),
    "a dataclass": LINE,
    "a named tuple": Pair(Point(1), 2),
    "a struct": Boxed([LINE, LINE], {"a": Point(1)}),
    "data classes in builtins": {"a": [Point(1), (LINE, {Colour.BLUE})]},
    "a message": Derived("x", 3),
}


# -- values


@real
async def test_values_of_every_kind_cross_and_come_back() -> None:
    async with started() as (_, ref):
        for what, value in VALUES.items():
            back = await ref.call(Echo(value))
            assert (back, type(back)) == (value, type(value)), what
        assert ref.incarnation == 1


@real
async def test_a_message_with_a_field_of_each_kind_crosses_and_comes_back() -> None:
    async with started() as (_, ref):
        for value in (
            EVERYTHING,
            attrs.evolve(EVERYTHING, shape=None, either=7, anything=1 << 99),
            attrs.evolve(EVERYTHING, either=None, points=[], many=(), names=frozenset()),
        ):
            back = await ref.call(EchoEverything(value))
            assert back == value
            assert type(back.nested.lines[0]) is Line
            assert type(back.colour) is Colour and type(back.level) is Level


@real
async def test_generic_calls_cross_with_what_they_hold() -> None:
    async with started() as (_, ref):
        assert await ref.call(Wrapped[int](3)) == 3
        assert await ref.call(Wrapped([Point(1)])) == [Point(1)]
        assert await ref.call(Wrapped(Wrapped(Colour.RED))) == Wrapped(Colour.RED)


@real
async def test_a_call_without_fields_crosses() -> None:
    async with started() as (_, ref):
        assert await ref.call(Empty()) == "Empty"


@real
async def test_a_message_of_a_subclass_is_handled_by_its_base_as_what_it_is() -> None:
    async with started() as (_, ref):
        for message in (Base("a"), Derived("b", 2), FurtherDerived("c", 3, [Point(4)])):
            assert await ref.call(message) == repr(message)
        for event in (Event("a"), LateEvent("b", 1.5)):
            ref.cast(event)
        assert await ref.call(Notes()) == ["Event(text='a')", "LateEvent(text='b', delay=1.5)"]


@real
async def test_classes_made_on_the_spot_cross_too() -> None:
    """None of them can be imported in the worker."""

    @attrs.frozen
    class Local:
        points: list[Point]

    @attrs.frozen
    class LocalBase(Base):
        points: tuple[Point, ...] = ()

    async with started() as (_, ref):
        message = LocalBase("a", (Point(1),))
        assert await ref.call(message) == repr(message)
        assert await ref.call(Echo([Local([]), message])) == [Local([]), message]


@real
async def test_a_handler_of_everything_gets_everything() -> None:
    async with started(cls=CatchAll) as (_, ref):
        said = [Point(1), "text", 7, 1.5, b"bytes", ("a", ("tuple",)), {"a": "dict"}, [1], None]
        for each in (*said, {1, 2}, Colour.RED, LINE):
            ref.cast(each)
        assert await ref.call(Notes()) == list(map(repr, (*said, {1, 2}, Colour.RED, LINE)))
        assert await ref.call(Echo(LINE)) == LINE


@real
async def test_builtin_values_are_messages_too() -> None:
    async with started() as (_, ref):
        said: list[object] = ["text", 7, (1, ("two",)), {"three": [4]}, [5], b"six", 7.0, ()]
        for each in said:
            ref.cast(each)
        assert await ref.call(Notes()) == list(map(repr, said))


@real
async def test_what_holds_itself_or_goes_too_deep_fails_its_caller_and_nobody_else() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    ring: list[Any] = []
    ring.append(ring)
    async with started() as (_, ref):
        for each in (deep, ring):
            with pytest.raises(NotEncodable):
                await ref.call(Echo(each))
        assert await ref.call(Echo("fine")) == "fine"
        assert ref.incarnation == 1


@real
async def test_text_that_is_no_unicode_fails_its_caller_and_nobody_else() -> None:
    """As the names of files can be."""
    async with started() as (_, ref):
        with pytest.raises(NotEncodable):
            await ref.call(Echo("a file named \udcff"))
        assert await ref.call(Echo("fine")) == "fine"
        assert ref.incarnation == 1


@real
async def test_a_one_way_message_that_cannot_leave_is_a_dead_letter() -> None:
    letters: list[DeadLetter] = []
    async with started() as (system, ref):
        system.telemetry.listen(letters.append, DeadLetter)
        ref.cast([Plain()])
        assert await ref.call(Notes()) == []
        [letter] = letters
        assert letter.ref == ref and "cannot leave its process" in letter.reason


# -- refs


@real
async def test_refs_cross_wherever_they_stand() -> None:
    async with started() as (system, ref):
        far = await system.start(Far, name="far")
        other = await system.start(Far, name="other")
        message = Carry(far, [other, far], {"a": other}, None, [ref, far])
        paths = ["/far", "/other", "/far", "/other", ref.path, "/far"]
        assert await ref.call(message) == paths
        assert await ref.call(attrs.evolve(message, perhaps=ref)) == [
            *paths[:4],
            ref.path,
            *paths[4:],
        ]


@real
async def test_refs_come_back_as_what_they_were() -> None:
    async with started() as (system, ref):
        far = await system.start(Far)
        back = await ref.call(Echo({"refs": [far, ref, (far,)], "set": {far}}))
        assert back == {"refs": [far, ref, (far,)], "set": {far}}


@real
async def test_the_ref_of_an_isolated_actor_is_one_wherever_it_comes_from() -> None:
    async with started() as (_, ref):
        assert await ref.call(Whose()) == ref


@real
async def test_two_isolated_actors_speak_to_each_other() -> None:
    async with started() as (system, one):
        two = await system.start(Child(Mirror, isolation="process"))
        assert await one.call(Speak(two, 5)) == 1005
        assert await two.call(Speak(one, 6)) == 1006


@real
async def test_an_actor_inside_a_process_is_spoken_to_from_here() -> None:
    async with started() as (_, ref):
        inner = await ref.call(Whose(inner=True))
        assert inner != ref and inner.path != ref.path
        assert await inner.call(Plus(1)) == 1001
        assert await inner.call(Echo(Point(1))) == Point(1)
        assert await ref.call(Speak(inner, 2)) == 1002


@real
async def test_an_actor_inside_a_process_is_spoken_to_from_another_process() -> None:
    async with started() as (system, one):
        two = await system.start(Child(Mirror, isolation="process"))
        inner = await one.call(Whose(inner=True))
        assert await two.call(SpeakTo(inner, Plus(3))) == "1003"
        assert one.incarnation == two.incarnation == 1


@real
async def test_a_ref_to_a_place_that_is_gone_says_so_on_the_other_side() -> None:
    async with started() as (system, ref):
        far = await system.start(Far)
        await far.stop()
        assert (await ref.call(SpeakTo(far, Plus(1)))).startswith("NoSuchActor: ")
        assert await ref.call(Echo(far)) == far


@real
async def test_a_ref_into_a_process_that_has_ended_says_so() -> None:
    async with open_system(
        one_for_one(
            Child(Mirror, name="one", isolation="process"),
            Child(Far, name="two", isolation="process"),
        )
    ) as system:
        one, two = system.whereis("one"), system.whereis("two")
        assert one is not None and two is not None
        inner = await one.call(Whose(inner=True))
        with pytest.raises(Exception, match="ended"):
            await one.call(SpeakTo(two, Plus(1))) and await two.call(Fail("exit"))
        # `one` lives, and so does what is inside.
        assert await inner.call(Plus(1)) == 1001
        await one.stop()
        with pytest.raises(NoSuchActor):
            await inner.call(Plus(1))
        # The same ref, sent to where it came from, is nobody's any more.
        assert (await one.call(SpeakTo(inner, Plus(1)))).startswith("NoSuchActor: ")


# -- from a worker to its parent


@real
async def test_a_subclass_that_is_not_known_here_fails_its_caller_there() -> None:
    """Nothing is imported by name: what the handlers here name is what may come."""
    async with started() as (system, ref):
        counter = await system.start(Counter)
        assert "Base(text='made there')" in await ref.call(SpeakAs(counter, further=False))
        said = await ref.call(SpeakAs(counter, further=True))
        assert said.startswith("Undecodable: ") and "FurtherDerived" in said
        assert "Base(text='made there')" in await ref.call(SpeakAs(counter, further=False))
        assert ref.incarnation == counter.incarnation == 1


@real
async def test_an_answer_of_a_class_that_no_annotation_names_goes_to_a_worker_all_the_same() -> (
    None
):
    """A class is made known to the worker before its first instance arrives there."""

    @attrs.frozen
    class Made:
        number: int

    class Giver(Actor):
        @handles
        def echo(self, msg: Echo) -> Any:
            return Made(7)

    async with started() as (system, ref):
        giver = await system.start(Giver)
        said = await ref.call(SpeakTo(giver, Echo("point")))
        assert said.endswith("Made(number=7)")


@real
async def test_the_classes_of_a_place_are_known_also_while_nobody_lives_there() -> None:
    """The first message comes while the one it is for is being restarted."""
    root = one_for_one(
        Child(Counter, name="counter", backoff=Backoff(0.2, 0.2, jitter=0)),
        Child(Mirror, name="mirror", isolation="process"),
    )
    async with open_system(root) as system:
        counter, mirror = system.whereis("counter"), system.whereis("mirror")
        assert counter is not None and mirror is not None
        counter.cast(Fail("a crash"))
        await counter.wait()
        assert counter.state == "restarting"
        assert await mirror.call(SpeakTo(counter, Base("a"))) == repr("Base(text='a')")
        assert counter.incarnation == 2
