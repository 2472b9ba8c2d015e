"""Messages of every shape, and actors that send them back: for the tests of what crosses."""

from __future__ import annotations

import datetime as dt
import enum
import os
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import attrs
import msgspec

from actors import Actor, Call, Ref, Refusal, System, handles, open_system
from supervisors import Child
from tests.actors.isolation.far_actors import Fail, Note, Notes, Plus

T = TypeVar("T")

IN_WORKER = "UNDERSTUDY_TEST_WORKER"
"""The process in which decoding fails, once it is armed."""


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@attrs.frozen
class Point:
    x: int
    y: float = 0.5


@dataclass(frozen=True)
class Line:
    start: Point
    end: Point
    label: str | None = None


class Pair(NamedTuple):
    left: Point
    right: int


class Boxed(msgspec.Struct, frozen=True):
    lines: list[Line]
    by_name: dict[str, Point]


@attrs.frozen
class Circle:
    centre: Point
    radius: float


@attrs.frozen
class Square:
    corner: Point
    side: int


@attrs.frozen(kw_only=True)
class Everything:
    """One field of each kind."""

    nothing: None
    flag: bool
    number: int
    real: float
    text: str
    data: bytes
    when: dt.datetime
    day: dt.date
    clock: dt.time
    span: dt.timedelta
    money: Decimal
    id: uuid.UUID
    colour: Colour
    level: Level
    choice: Literal["a", "b"]
    shape: Circle | None
    either: int | str | None
    points: list[Point]
    pair: Pair
    fixed: tuple[int, str]
    many: tuple[int, ...]
    names: frozenset[str]
    table: dict[str, list[Point]]
    nested: Boxed
    anything: object
    whatever: Any


@attrs.frozen
class Echo(Call[Any]):
    """Answered by what it holds."""

    value: object


@attrs.frozen
class EchoEverything(Call[Everything]):
    value: Everything


@attrs.frozen
class Wrapped(Call[T], Generic[T]):
    """A generic call, answered by what it holds."""

    value: T


class Empty(Call[str]):
    """No fields at all."""


@attrs.frozen
class Base(Call[str]):
    text: str


@attrs.frozen
class Derived(Base):
    more: int = 0


@attrs.frozen
class FurtherDerived(Derived):
    points: list[Point] = attrs.Factory(list)


@attrs.frozen
class Event:
    """One-way, handled by its base class."""

    text: str


@attrs.frozen
class LateEvent(Event):
    delay: float = 0.0


@attrs.frozen
class Carry(Call["list[str]"]):
    """Refs in every corner; answered by the paths."""

    one: Ref[Any]
    some: list[Ref[Any]]
    named: dict[str, Ref[Any]]
    perhaps: Ref[Any] | None
    anything: object


@attrs.frozen
class Speak(Call[int]):
    """Have ``whom`` called with ``Plus(amount)``."""

    whom: Ref[Any]
    amount: int
    timeout: float = 5.0


@attrs.frozen
class SpeakTo(Call[str]):
    """Have ``whom`` called with ``message``; answered by what comes of it."""

    whom: Ref[Any]
    message: object


@attrs.frozen
class SpeakAs(Call[str]):
    """The same, with a message that is made where the actor lives."""

    whom: Ref[Any]
    further: bool


@attrs.frozen
class Whose(Call["Ref[Any]"]):
    """Answered by a ref: of the actor itself, or of one below it."""

    inner: bool = False


@attrs.frozen
class Refuse(Call[None]):
    how: str


@attrs.frozen
class Explosive(Call[int]):
    """Cannot be made in the process that is armed."""

    how: str

    def __attrs_post_init__(self) -> None:
        explode(self.how)


@attrs.frozen
class ExplosiveEvent:
    how: str

    def __attrs_post_init__(self) -> None:
        explode(self.how)


@attrs.frozen
class ExplosiveAnswer:
    """Cannot be made in the process that is armed."""

    how: str

    def __attrs_post_init__(self) -> None:
        explode(self.how)


class Boom(Exception):
    """No ValueError and no TypeError."""


def arm(pid: int) -> None:
    """From now on ``pid`` cannot make what is explosive."""
    os.environ[IN_WORKER] = str(pid)


def explode(how: str) -> None:
    """Raise, in the process that is armed."""
    if os.environ.get(IN_WORKER) == str(os.getpid()):
        if how == "key":
            raise KeyError("no such field")
        if how == "own":
            raise Boom("of my own")
        raise ValueError("does not fit")


@attrs.frozen
class Arm(Call[int]):
    """Arm this process, or disarm it; answered by its number."""

    on: bool = True


@attrs.frozen
class Explode(Call["ExplosiveAnswer"]):
    """Answered by what cannot be read where it is asked for, or not even where it is made."""

    how: str
    here: bool = False


class OnlyFields(Refusal):
    """A refusal without args of its own."""

    def __init__(self, point: Point, colour: Colour) -> None:
        super().__init__()
        self.point = point
        self.colour = colour


class Slotted(Refusal):
    """A refusal with a slot."""

    __slots__ = ("left",)

    def __init__(self, left: int) -> None:
        super().__init__(f"{left} left")
        self.left = left


@attrs.frozen
class AttrsRefusal(Refusal):
    item: str
    at: Point


class Mirror(Actor):
    """Sends back what it gets."""

    def __init__(self) -> None:
        self.seen: list[object] = []
        self.inner: Ref[Any] | None = None

    @handles
    def echo(self, msg: Echo) -> Any:
        return msg.value

    @handles
    def everything(self, msg: EchoEverything) -> Everything:
        return msg.value

    @handles
    def wrapped(self, msg: Wrapped[Any]) -> Any:
        return msg.value

    @handles
    def empty(self, msg: Empty) -> str:
        return type(msg).__name__

    @handles
    def base(self, msg: Base) -> str:
        return repr(msg)

    @handles
    def event(self, msg: Event) -> None:
        self.seen.append(msg)

    @handles
    def builtin(self, msg: str | int | tuple | dict | list | bytes | float | None) -> None:  # type: ignore[type-arg]
        self.seen.append(msg)

    @handles
    def read(self, msg: Notes) -> list[str]:
        return [repr(each) for each in self.seen]

    @handles
    def carry(self, msg: Carry) -> list[str]:
        refs = [msg.one, *msg.some, *msg.named.values(), msg.perhaps]
        if isinstance(msg.anything, list):
            refs += msg.anything
        return [each.path for each in refs if each is not None]

    @handles
    def plus(self, msg: Plus) -> int:
        return msg.amount + 1000

    @handles
    async def speak(self, msg: Speak) -> int:
        return int(await msg.whom.call(Plus(msg.amount), timeout=msg.timeout))

    @handles
    async def speak_to(self, msg: SpeakTo) -> str:
        message: Any = msg.message
        try:
            return repr(await msg.whom.call(message))
        except Exception as error:
            return f"{type(error).__name__}: {error}"

    @handles
    async def speak_as(self, msg: SpeakAs) -> str:
        message = FurtherDerived("made there") if msg.further else Base("made there")
        return await self.speak_to(SpeakTo(msg.whom, message))

    @handles
    async def whose(self, msg: Whose) -> Ref[Any]:
        if not msg.inner:
            return self.ref
        if self.inner is None:
            self.inner = await self.system.start(Mirror)
        return self.inner

    @handles
    def refuse(self, msg: Refuse) -> None:
        match msg.how:
            case "fields":
                raise OnlyFields(Point(1, 2.0), Colour.BLUE)
            case "slots":
                raise Slotted(3)
            case "attrs":
                raise AttrsRefusal("chair", Point(4))
            case "surrogate":
                raise Refusal("a file named \udcff")
            case "unspeakable":
                raise Refusal(lambda: None)
        raise Refusal(msg.how)

    @handles
    def arm(self, msg: Arm) -> int:
        arm(os.getpid() if msg.on else 0)
        return os.getpid()

    @handles
    def explosive(self, msg: Explosive) -> int:
        return 1

    @handles
    def explosive_event(self, msg: ExplosiveEvent) -> None:
        self.seen.append("it has come")

    @handles
    def explode(self, msg: Explode) -> ExplosiveAnswer:
        answer = ExplosiveAnswer(msg.how)
        if msg.here:
            # Whoever looks whether it would come back finds that it would not.
            arm(os.getpid())
        return answer


class CatchAll(Actor):
    """Takes everything."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    @handles
    def any(self, msg: object) -> object:
        self.seen.append(repr(msg))
        return msg.value if isinstance(msg, Echo) else None

    @handles
    def read(self, msg: Notes) -> list[str]:
        return self.seen


class Counter(Actor):
    """Lives in the process of the test."""

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


@asynccontextmanager
async def started(
    *args: Any, cls: Any = Mirror, **keywords: Any
) -> AsyncIterator[tuple[System, Ref[Any]]]:
    """A system with one isolated actor, which sends back what comes, unless told otherwise."""
    isolation = keywords.pop("isolation", "process")
    async with open_system() as system:
        yield system, await system.start(Child(cls, *args, isolation=isolation, **keywords))
