"""What crosses between two processes, and what comes of what does not."""

from __future__ import annotations

import datetime as dt
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from typing import Any

import attrs
import pytest

from actors import (
    Actor,
    Call,
    NoSuchActor,
    Process,
    Ref,
    Refusal,
    System,
    Unhandled,
    handles,
    open_system,
)
from actors.payloads import NotEncodable, Undecodable
from actors.telemetry import DeadLetter
from supervisors import Backoff, Child, one_for_one
from tests.actors.isolation.far_actors import Fail, Far, Note, Notes, Pid, Plain, Plus
from tests.actors.isolation.in_forks.guarded import real
from tests.actors.isolation.in_forks.wire_actors import (
    Arm,
    AttrsRefusal,
    Base,
    Boxed,
    Carry,
    CatchAll,
    Circle,
    Colour,
    Derived,
    Echo,
    EchoEverything,
    Empty,
    Event,
    Everything,
    Explode,
    Explosive,
    ExplosiveEvent,
    FurtherDerived,
    LateEvent,
    Level,
    Line,
    Mirror,
    OnlyFields,
    Pair,
    Point,
    Refuse,
    Slotted,
    Speak,
    SpeakAs,
    SpeakTo,
    Square,
    Whose,
    Wrapped,
    arm,
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


@asynccontextmanager
async def started(
    *args: Any, cls: Any = Mirror, **keywords: Any
) -> AsyncIterator[tuple[System, Ref[Any]]]:
    """A system with one isolated actor."""
    isolation = keywords.pop("isolation", "process")
    async with open_system() as system:
        yield system, await system.start(Child(cls, *args, isolation=isolation, **keywords))


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


class Counter(Actor):
    """Lives in this process."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @handles
    def base(self, msg: Base) -> str:
        self.seen.append(repr(msg))
        return repr(msg)

    @handles
    def note(self, msg: Note) -> None:
        self.seen.append(msg.text)

    @handles
    def plus(self, msg: Plus) -> int:
        return msg.amount

    @handles
    def echo(self, msg: Echo) -> Any:
        return Point(7) if msg.value == "point" else msg.value

    @handles
    def fail(self, msg: Fail) -> None:
        raise ValueError(f"{msg.how}: no file \udcff")


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


# -- refusals


@real
async def test_refusals_come_back_with_fields_args_and_slots() -> None:
    async with started() as (_, ref):
        await ref.call(Echo([Point(0), Colour.RED]))  # no annotation of OnlyFields names them
        with pytest.raises(OnlyFields) as fields:
            await ref.call(Refuse("fields"))
        assert (fields.value.point, fields.value.colour) == (Point(1, 2.0), Colour.BLUE)
        with pytest.raises(Slotted) as slotted:
            await ref.call(Refuse("slots"))
        assert (slotted.value.left, str(slotted.value)) == (3, "3 left")
        with pytest.raises(Refusal, match="^plain$"):
            await ref.call(Refuse("plain"))
        assert ref.incarnation == 1


@real
async def test_a_refusal_makes_known_what_its_fields_name() -> None:
    async with started() as (_, ref):
        with pytest.raises(AttrsRefusal) as refused:
            await ref.call(Refuse("attrs"))
        assert (refused.value.item, refused.value.at) == ("chair", Point(4))


@real
async def test_a_refusal_of_a_local_class_comes_back_as_that_class() -> None:
    class LocalNo(Refusal):
        def __init__(self, why: str) -> None:
            super().__init__(why)
            self.why = why

    @attrs.frozen
    class Please(Call[None]):
        pass

    class Refuser(Actor):
        @handles
        def please(self, msg: Please) -> None:
            raise LocalNo("not today")

    async with started(cls=Refuser) as (_, ref):
        with pytest.raises(LocalNo) as refused:
            await ref.call(Please())
        assert refused.value.why == "not today"


@pytest.mark.parametrize("how", ["surrogate", "unspeakable"])
@real
async def test_a_refusal_that_cannot_leave_fails_its_caller_and_nobody_else(how: str) -> None:
    async with started() as (_, ref):
        for _ in range(3):
            # The first of its class takes another way than those after it.
            with pytest.raises((Refusal, NotEncodable)):
                await ref.call(Refuse(how))
        assert await ref.call(Echo("fine")) == "fine"
        assert ref.incarnation == 1


@real
async def test_a_refusal_that_cannot_leave_this_process_fails_its_caller_there() -> None:
    async with started() as (system, ref):
        here = await system.start(Mirror)
        for how in ("surrogate", "surrogate", "unspeakable"):
            said = await ref.call(SpeakTo(here, Refuse(how)))
            assert said.startswith(("Refusal", "NotEncodable"))
        assert here.incarnation == ref.incarnation == 1


# -- what cannot be read


@pytest.mark.parametrize("how", ["value", "key", "own"])
@real
async def test_a_message_that_cannot_be_read_fails_its_caller_and_nobody_else(how: str) -> None:
    async with started() as (_, ref):
        assert await ref.call(Explosive(how)) == 1
        await ref.call(Arm())
        with pytest.raises(Undecodable, match="cannot be read|does not fit"):
            await ref.call(Explosive(how))
        ref.cast(ExplosiveEvent(how))
        assert await ref.call(Notes()) == []
        await ref.call(Arm(on=False))
        ref.cast(ExplosiveEvent(how))
        assert await ref.call(Notes()) == ["'it has come'"]
        assert ref.incarnation == 1


@pytest.mark.parametrize("how", ["value", "key", "own"])
@real
async def test_an_answer_that_cannot_be_read_fails_its_caller_and_nobody_else(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started() as (_, ref):
        monkeypatch.setenv("UNDERSTUDY_TEST_WORKER", "0")
        import os

        assert await ref.call(Explode(how)) is not None
        arm(os.getpid())
        with pytest.raises(Undecodable):
            await ref.call(Explode(how))
        arm(0)
        assert await ref.call(Explode(how)) is not None
        assert ref.incarnation == 1


@pytest.mark.parametrize("how", ["value", "key", "own"])
@real
async def test_an_answer_that_would_not_come_back_fails_its_caller_and_nobody_else(
    how: str,
) -> None:
    """It is found out in the worker, where the answer is made."""
    async with started() as (_, ref):
        with pytest.raises((NotEncodable, Undecodable)):
            await ref.call(Explode(how, here=True))
        await ref.call(Arm(on=False))
        assert await ref.call(Echo("fine")) == "fine"
        assert ref.incarnation == 1


@pytest.mark.parametrize("how", ["value", "key", "own"])
@real
async def test_an_answer_made_here_that_would_not_come_back_fails_its_caller_alone(
    how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is found out in this process, which has more to lose than one actor."""
    monkeypatch.setenv("UNDERSTUDY_TEST_WORKER", "0")
    async with started() as (system, ref):
        here = await system.start(Mirror)
        said = await ref.call(SpeakTo(here, Explode(how, here=True)))
        arm(0)
        assert said.startswith(("NotEncodable", "Undecodable"))
        assert await ref.call(Speak(here, 1)) == 1001
        assert here.incarnation == ref.incarnation == 1


@real
async def test_a_class_that_cannot_be_imported_there_fails_its_caller_and_nobody_else(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its module has come to be found only after the worker had begun."""
    async with started() as (_, ref):
        pid = await ref.call(Arm(on=False))
        (tmp_path / "comes_late.py").write_text(
            "import attrs\nfrom actors import Call\n\n"
            "@attrs.frozen\nclass Late(Call[str]):\n    text: str\n",
            "utf-8",
        )
        monkeypatch.syspath_prepend(tmp_path)
        import comes_late  # type: ignore[import-not-found]

        try:
            with pytest.raises((Unhandled, NotEncodable, Undecodable)):
                await ref.call(comes_late.Late("x"))
            with pytest.raises((NotEncodable, Undecodable)):
                await ref.call(Echo(comes_late.Late("x")))
            assert await ref.call(Echo("fine")) == "fine"
            assert await ref.call(Arm(on=False)) == pid
        finally:
            import sys

            del sys.modules["comes_late"]


@real
async def test_an_error_told_in_words_that_are_no_unicode_arrives() -> None:
    """A crash report holds the text of an exception, and with it what users have typed."""

    class Reader(Actor):
        @handles
        def base(self, msg: Base) -> str:
            raise ValueError(f"no such file: {msg.text}\udcff")

        @handles
        def pid(self, msg: Pid) -> int:
            return 1

    async with open_system(one_for_one(Child(Reader, name="r", isolation="process"))) as system:
        ref = system.whereis("r")
        assert ref is not None
        with pytest.raises(Exception, match="ended") as died:
            await ref.call(Base("a"))
        assert "no such file: a" in str(died.value.__cause__)
        assert await ref.call(Pid()) == 1
        assert ref.incarnation == 2


@real
async def test_errors_of_this_process_cross_whatever_their_text() -> None:
    async with started() as (system, ref):
        counter = await system.start(Counter)
        said = await ref.call(SpeakTo(counter, Fail("a crash")))
        assert said.startswith("ActorDied: ") and "ValueError" in said
        assert ref.incarnation == 1


@real
async def test_a_message_may_be_as_large_as_it_may_and_no_larger() -> None:
    async with started(isolation=Process(max_message=1 << 20)) as (system, ref):
        here = await system.start(Mirror)
        fits = "x" * ((1 << 20) - 200)
        assert await ref.call(Echo(fits)) == fits
        assert len(await ref.call(SpeakTo(here, Echo(fits)))) == len(fits) + 2
        with pytest.raises(NotEncodable, match="max_message"):
            await ref.call(Echo("x" * (1 << 20)))
        assert ref.incarnation == 1
