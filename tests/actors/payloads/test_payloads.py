"""How messages, answers and refusals become bytes and come back (J4)."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import gc
import math
import os
import subprocess
import sys
import textwrap
import typing
import uuid
from typing import Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

import attrs
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors import Call, Refusal
from actors.payloads import names as declared
from actors.payloads import plans
from actors.payloads import types as payloads
from actors.payloads.types import (
    NotEncodable,
    Types,
    Undecodable,
    UnknownType,
    journal_name,
    journal_version,
)

T = TypeVar("T")


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Point(NamedTuple):
    x: int
    tags: set[str]


class Extras(typing.TypedDict, total=False):
    note: str
    at: dt.date


@attrs.frozen
class Item:
    sku: str
    count: int = 1


@attrs.frozen
class Special(Item):
    gift: bool = True


@attrs.frozen
class Payment:
    id: str


@attrs.frozen
class Charge(Call[list[Payment]]):
    order: str
    total: int


@dataclasses.dataclass
class Ledger:
    rows: list[Item]
    by_name: dict[str, Item]
    seen: set[str] = dataclasses.field(default_factory=set)


class Packed(msgspec.Struct, rename="camel", tag="packed"):
    first_item: Item
    colour: Colour | None = None


@attrs.frozen
class Everything:
    nothing: None
    flag: bool
    number: int
    real: float
    text: str
    raw: bytes
    array: bytearray
    price: decimal.Decimal
    key: uuid.UUID
    at: dt.datetime
    local: dt.datetime
    day: dt.date
    hour: dt.time
    long: dt.timedelta
    colour: Colour
    level: Level
    choice: Literal["a", "b"] | None
    either: int | str | list[Item]
    item: Item
    items: list[Item]
    pair: tuple[int, Item]
    many: tuple[Item, ...]
    names: frozenset[str]
    counts: dict[int, Item]
    places: dict[tuple[int, int], str]
    point: Point
    extras: Extras
    packed: Packed
    ledger: Ledger
    anything: Any
    whatever: object
    more: list[Any]


class Ping(Call[str]):
    """A message without fields."""


@attrs.define
class Node:
    value: int
    next: Node | None = None


@attrs.frozen
class Box(Generic[T]):
    inside: T


@attrs.frozen
class Shelf:
    box: Box[Item]


@attrs.frozen
class Fetch(Call[T]):
    key: str


@attrs.frozen
class FetchItems(Fetch[dict[str, list[Item]]]):
    pass


class OutOfStock(Refusal):
    pass


@attrs.frozen
class Declined(Refusal):
    code: int
    payment: Payment


class Careful(Refusal):
    def __init__(self, sku: str, *, left: int) -> None:
        super().__init__(f"only {left} of {sku}")
        self.sku = sku
        self.left = left


def everything() -> Everything:
    return Everything(
        nothing=None,
        flag=True,
        number=-(2**63),
        real=0.1,
        text="größer",
        raw=b"\x00\xff",
        array=bytearray(b"ab"),
        price=decimal.Decimal("1.20"),
        key=uuid.UUID(int=5),
        at=dt.datetime(2024, 2, 29, 12, 30, 1, 5, tzinfo=dt.UTC),
        local=dt.datetime(2024, 2, 29, 12, 30),  # noqa: DTZ001
        day=dt.date(2024, 2, 29),
        hour=dt.time(1, 2, 3, 4),
        long=dt.timedelta(days=-1, microseconds=3),
        colour=Colour.BLUE,
        level=Level.HIGH,
        choice="b",
        either=[Item("e")],
        item=Item("i"),
        items=[Item("j", 2)],
        pair=(1, Item("k")),
        many=(Item("l"), Item("m")),
        names=frozenset({"x", "y", "z"}),
        counts={1: Item("n")},
        places={(1, 2): "here"},
        point=Point(1, {"a", "b"}),
        extras={"note": "n", "at": dt.date(2024, 1, 1)},
        packed=Packed(Item("o"), Colour.RED),
        ledger=Ledger([Item("p")], {"q": Item("q")}, {"r", "s"}),
        anything=(1, {Item("t")}, {2: decimal.Decimal(3)}),
        whatever=Payment("u"),
        more=[(), frozenset({1}), Colour.RED],
    )


@pytest.fixture
def types() -> Types:
    return Types([Everything, Charge, Ping, Node, Box, Shelf, Ledger])


def back(types: Types, value: object) -> Any:
    return types.decode(types.encode(value))


# -- values


PLAIN: list[object] = [
    None,
    True,
    0,
    -(2**63),
    2**64 - 1,
    2**64,
    -(3**200),
    1.5,
    -0.0,
    math.inf,
    "",
    "größer",
    b"\x00",
    bytearray(b"x"),
    [],
    (),
    (1, (2, [3])),
    {1, 2},
    frozenset({"a"}),
    {"a": {(1, 2): {3}}},
    {None: 1, 2.5: 2, b"k": 3, True: 4},
    decimal.Decimal("1.20"),
    decimal.Decimal("-Infinity"),
    uuid.UUID(int=7),
    dt.date(1, 1, 1),
    dt.time(23, 59, 59, 999999),
    dt.time(1, tzinfo=dt.timezone(dt.timedelta(hours=2))),
    dt.timedelta(days=-999, seconds=3, microseconds=7),
    dt.datetime(2024, 1, 1, 1, 1, 1, 1),  # noqa: DTZ001
    dt.datetime(1, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2024, 7, 1, tzinfo=dt.timezone(dt.timedelta(hours=-7))),
    Colour.RED,
    Level.HIGH,
    Point(1, {"a"}),
    Item("a", 2),
    [Item("a"), Special("b")],
    {"x": (Item("a"), {Item("b")})},
    {Item("a"): 1},
    Node(1, Node(2, Node(3))),
    Packed(Item("a")),
    Box(Item("a")),
    Box((1, {2})),
    Shelf(Box(Item("a"))),
]


@pytest.mark.parametrize("value", PLAIN, ids=repr)
def test_j4_a_value_comes_back_with_its_own_type(types: Types, value: object) -> None:
    types.add(Special)
    found = back(types, value)
    assert type(found) is type(value)
    assert found == value
    assert declared.difference(found, value, "it") is None
    assert types.encode(found) == types.encode(value)
    assert types.same_bytes(types.encode(value), types.encode(found))


def test_j4_every_kind_of_field_comes_back(types: Types) -> None:
    value = everything()
    found = back(types, value)
    assert found == value
    for name in declared.field_names(Everything):
        assert type(getattr(found, name)) is type(getattr(value, name)), name
    assert type(found.anything[1]) is set
    assert types.encode(found) == types.encode(value)


def test_j4_nan_is_the_same_as_nan(types: Types) -> None:
    assert math.isnan(back(types, math.nan))
    assert types.same_bytes(types.encode([math.nan]), types.encode([math.nan]))


def test_j4_an_aware_datetime_comes_back_as_the_same_instant_in_utc(types: Types) -> None:
    value = dt.datetime(2024, 7, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    found = back(types, value)
    assert found == value
    assert found.utcoffset() == dt.timedelta(0)


def test_j4_a_message_without_fields_comes_back(types: Types) -> None:
    assert type(back(types, Ping())) is Ping
    assert types.same_bytes(types.encode(Ping()), types.encode(Ping()))
    with pytest.raises(NotEncodable, match="Ping declares no fields, so what was set"):
        ping = Ping()
        ping.note = 1  # type: ignore[attr-defined]
        types.encode(ping)


def test_j4_raw_bytes_are_taken_as_they_come(types: Types) -> None:
    data = types.encode(Charge("a", 1))
    outer = msgspec.msgpack.decode(
        msgspec.msgpack.encode([msgspec.Raw(data)]), type=list[msgspec.Raw]
    )
    assert types.decode(outer[0]) == Charge("a", 1)
    assert types.same_bytes(outer[0], types.encode(Charge("a", 1)))
    assert types.same_bytes(outer[0], msgspec.Raw(data))


def test_j4_a_whole_number_in_a_float_field_comes_back_as_a_float() -> None:
    @attrs.frozen
    class Rate:
        value: float

    types = Types([Rate])
    assert type(back(types, Rate(3)).value) is float
    assert types.encode(Rate(3)) == types.encode(Rate(3.0))
    with pytest.raises(NotEncodable, match="Rate.value is annotated with float"):
        types.encode(Rate(2**53 + 1))


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.decimals(allow_nan=False)
    | st.uuids()
    | st.datetimes()
    | st.datetimes(timezones=st.just(dt.UTC))
    | st.dates()
    | st.times()
    | st.timedeltas()
    | st.sampled_from(Colour)
    | st.builds(Item, st.text(), st.integers(-(2**63), 2**63))
)
hashables = st.recursive(
    scalars, lambda inner: st.tuples(inner, inner) | st.frozensets(inner, max_size=3), max_leaves=5
)
values = st.recursive(
    hashables,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.sets(hashables, max_size=4)
        | st.dictionaries(hashables, inner, max_size=4)
        | st.dictionaries(st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(values)
def test_j4_any_nest_of_values_comes_back(value: Any) -> None:
    types = Types([Item, Colour])
    data = types.encode(value)
    found = types.decode(data)
    assert type(found) is type(value)
    assert found == value
    assert types.encode(found) == data


@given(st.datetimes(timezones=st.just(dt.UTC)), st.decimals(allow_nan=False), st.timedeltas())
def test_j4_fields_keep_every_digit(
    at: dt.datetime, price: decimal.Decimal, long: dt.timedelta
) -> None:
    types = Types([Everything, Payment, Colour])
    value = attrs.evolve(everything(), at=at, price=price, long=long)
    found = back(types, value)
    assert (found.at, found.price, found.long) == (at, price, long)


# -- the format


def test_j4_these_bytes_are_the_format_and_never_change(types: Types) -> None:
    name = f"{__name__}:Charge".encode()
    mapping = b"\x82\xa5order\xa3o-1\xa5total\x64"
    head = (b"\xd9" + bytes([len(name)]) if len(name) > 31 else bytes([0xA0 + len(name)])) + name
    assert types.encode(Charge("o-1", 100)) == b"\x93" + head + b"\x01" + mapping
    assert types.encode(None) == b"\x93\xa0\x01\xc0"
    assert types.encode(7) == b"\x93\xa0\x01\x07"
    assert types.encode("a") == b"\x93\xa0\x01\xa1a"
    assert types.encode((1, 2)) == b"\x93\xa0\x01\xc7\x03\x01\x92\x01\x02"
    assert types.encode({2, 1}) == b"\x93\xa0\x01\xc7\x03\x02\x92\x01\x02"
    assert types.encode(frozenset()) == b"\x93\xa0\x01\xd4\x03\x90"
    assert types.encode(decimal.Decimal("1.20")) == b"\x93\xa0\x01\xd6\x041.20"
    assert types.encode(uuid.UUID(int=1)) == b"\x93\xa0\x01\xd8\x05" + b"\0" * 15 + b"\1"
    assert types.encode(dt.date(2024, 1, 2)) == b"\x93\xa0\x01\xc7\x0a\x072024-01-02"
    assert types.encode(dt.time(1, 2, 3)) == b"\x93\xa0\x01\xd7\x0801:02:03"
    assert types.encode(dt.timedelta(1, 2, 3)) == b"\x93\xa0\x01\xd6\x09\x93\x01\x02\x03"
    assert types.encode(2**64) == b"\x93\xa0\x01\xc7\x11\x0a10000000000000000"
    assert types.encode({1: 2}) == b"\x93\xa0\x01\xc7\x03\x0c\x92\x01\x02"
    assert types.encode(bytearray(b"x")) == b"\x93\xa0\x01\xd4\x0dx"
    assert types.encode(dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) == b"\x93\xa0\x01\xd6\xff\0\0\0\0"
    refusal = f"{__name__}:OutOfStock".encode()
    assert types.encode_refusal(OutOfStock("no")).endswith(refusal + b"\x01\x92\x91\xa2no\x80")
    named = Types([New])
    assert named.encode(New(1)) == b"\x93\xa3new\x03\x81\xa5cents\x01"
    assert named.encode([New(1)])[3:].startswith(b"\x91\xc7\x0e\x0b\x93\xa3new\x03")


PROGRAM = """
import attrs, decimal
from actors.payloads.types import Types
@attrs.frozen
class Tagged:
    names: set[str]
    items: frozenset[tuple[str, int]]
    anything: object
    more: dict[str, set[str]]
types = Types([Tagged])
words = "a bb ccc dddd eeeee ffffff".split()
value = Tagged(set(words), frozenset((each, 1) for each in words), {(each,) for each in words},
               {"k": set(words)})
print(types.encode(value).hex(), types.encode(set(words)).hex(), types.encode([{*words, 1}]).hex())
"""


def run_with_seed(program: str, seed: int) -> str:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        env={**os.environ, "PYTHONHASHSEED": str(seed)},
        cwd=os.path.dirname(os.path.dirname(payloads.__file__)),
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_j4_equal_values_make_equal_bytes_under_every_hash_seed() -> None:
    assert len({run_with_seed(PROGRAM, seed) for seed in (1, 2, 3)}) == 1
    without = PROGRAM.replace(
        "import attrs, decimal",
        "import attrs\nfrom actors.payloads import plans\nplans.ordered = list\n"
        "from actors.payloads import types as payloads\npayloads.ordered = list\n"
        "payloads.Types._look_twice = lambda *_: None",
    )
    assert len({run_with_seed(without, seed) for seed in (1, 2, 3, 4)}) > 1


def test_j4_sets_of_what_has_no_order_are_encoded_in_one(types: Types) -> None:
    assert types.encode({"a", 1, None}) == types.encode({None, 1, "a"})
    assert types.encode({Item("a"), Item("b")}) == types.encode({Item("b"), Item("a")})


# -- what is refused where it is made


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Charge(1, 2), "Charge.order is annotated with str. Got: 1, an int"),  # type: ignore[arg-type]
        (Charge("a", None), "Charge.total is annotated with int. Got: None, a NoneType"),  # type: ignore[arg-type]
        (Charge("a", True), "Charge.total is annotated with int. Got: True, a bool"),
        (Charge("a", 2**64), "Charge.total: can't serialize ints"),
        (Charge("\ud800", 1), "Charge.order: 'utf-8' codec can't encode"),
        (Ledger([Special("a")], {}), "Ledger.rows is annotated with Item. Got: Special"),
        (Ledger((), {}), "Ledger.rows is annotated with list. Got: (), a tuple"),  # type: ignore[arg-type]
        (Ledger([], {1: Item("a")}), "Ledger.by_name is annotated with str. Got: 1, an int"),  # type: ignore[dict-item]
        (Ledger([Item(1)], {}), "Item.sku is annotated with str. Got: 1, an int"),  # type: ignore[arg-type]
        (object(), "it holds what has no written form. Accepted: None, bool"),
        ([1, {"a": lambda: 1}], "it holds what has no written form"),
        (
            Box(Special("a")),
            "Box.inside holds a Special, which no annotation reaches; name it in one.",
        ),
        (Special("a"), "name it in one. Got: Special(sku='a'"),
        ("\ud800", "str: 'utf-8' codec can't encode"),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_j4_what_cannot_be_encoded_fails_where_it_is_made_naming_the_field(
    types: Types, value: object, text: str
) -> None:
    with pytest.raises(NotEncodable) as caught:
        types.encode(value, "the message")
    assert str(caught.value).startswith("Cannot write down the message: ")
    assert text in str(caught.value)
    assert isinstance(caught.value, TypeError)


def test_j4_a_subclass_in_a_field_of_its_base_is_not_lost_silently(
    types: Types, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Shown to fail with the look at the type removed."""
    types.encode(Node(1))
    lost = Ledger([Special("a")], {})
    with pytest.raises(NotEncodable, match="which would come back as an Item"):
        types.encode(lost)

    def trusting(self: plans.Compiler, node: Any, where: str) -> plans.Convert:
        plan = self._plan(node.cls)
        return lambda value: plan.fields(value)

    monkeypatch.setattr(plans.Compiler, "_nested", trusting)
    monkeypatch.setattr(Types, "_look_twice", lambda *_: None)
    without = Types([Ledger])
    assert back(without, lost).rows == [Item("a")]


def test_j4_what_annotations_do_not_show_is_found_by_looking_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Shown to fail with the second look removed."""
    types = Types([Doubling])
    with pytest.raises(NotEncodable, match="Doubling.value is 2 and would be 4"):
        types.encode(Doubling(1))
    with pytest.raises(NotEncodable, match=r"would not come back.*>= 1"):
        Types([Limited]).encode(Limited(0))
    limited = Types([Limited])
    limited.encode(Limited(1))
    with pytest.raises(NotEncodable):
        limited.encode(Limited(0))
    monkeypatch.setattr(Types, "_look_twice", lambda *_: None)
    assert back(types, Doubling(1)) == Doubling(2)


@attrs.define
class Doubling:
    value: int

    def __attrs_post_init__(self) -> None:
        self.value *= 2


@attrs.frozen
class Limited:
    value: typing.Annotated[int, msgspec.Meta(ge=1)]


def test_j4_what_holds_itself_is_refused(types: Types) -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(NotEncodable, match="nested too deeply, or holds itself"):
        types.encode(value)


# -- declaration


@attrs.frozen
class Private:
    _secret: int


@attrs.frozen
class Late:
    done: int = attrs.field(init=False)


@attrs.frozen
class Callback:
    then: typing.Callable[[], int]


class Plain:
    def __init__(self, value: int) -> None:
        self.value = value


@attrs.frozen
class HoldsPlain:
    plain: Plain


@attrs.frozen
class Either:
    item: Item | Payment


@attrs.frozen
class KeyedByItem:
    counts: dict[Item, int]


@attrs.frozen
class HoldsBad:
    inner: Callback


class Array(msgspec.Struct, array_like=True):
    value: int


class Mixed(enum.Enum):
    ONE = 1
    TWO = "two"


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (Private, "Private._secret is private"),
        (Late, "Late.done is no argument and has no default"),
        (Callback, "Callback.then is annotated with what cannot be written down. Accepted: None"),
        (HoldsPlain, "HoldsPlain.plain is annotated with what cannot be written down"),
        (HoldsBad, "Callback.then is annotated with what cannot"),
        (Either, "Either.item cannot be written down: Type unions may not contain more than one"),
        (KeyedByItem, "KeyedByItem.counts has keys that cannot be written down"),
        (Array, "Array is array_like; fields are written down by name"),
        (Mixed, "Mixed cannot be written down: Enums must contain either all str or all int"),
        (Plain, "Plain has no fields that could be written down; make it an attrs class"),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "",
)
def test_j4_a_class_that_would_not_come_back_is_refused_at_its_declaration(
    cls: type, text: str
) -> None:
    with pytest.raises(TypeError) as caught:
        Types([cls])
    assert text in str(caught.value)


def test_j4_a_local_class_under_postponed_annotations_is_refused_clearly() -> None:
    @attrs.frozen
    class Inner:
        value: int

    @attrs.frozen
    class Outer:
        inner: Inner

    with pytest.raises(TypeError) as caught:
        Types([Outer])
    assert "Outer.inner is annotated with 'Inner', which cannot be resolved" in str(caught.value)
    types = Types([Inner])
    assert back(types, [Inner(1)]) == [Inner(1)]


def test_j4_what_was_offered_and_refused_says_why_when_it_is_encoded(types: Types) -> None:
    types.offer(HoldsBad)
    types.offer(Plain)
    types.offer(Special)
    assert back(types, Special("a")) == Special("a")
    with pytest.raises(NotEncodable, match="a HoldsBad, which cannot be: Callback.then is"):
        types.encode(HoldsBad(Callback(lambda: 1)))
    with pytest.raises(NotEncodable, match="a Plain, which cannot be: Plain has no fields"):
        types.encode(Plain(1))


class Ask(Call[list[Payment] | Callback]):
    def __init__(self, then: object) -> None:
        self.then = then


def test_j4_the_answers_of_a_message_that_is_never_written_down_are_known() -> None:
    types = Types()
    types.offer(Ask)
    assert back(types, [Payment("a")]) == [Payment("a")]
    with pytest.raises(NotEncodable, match="an Ask, which cannot be: Ask has no fields"):
        types.encode(Ask(1))
    with pytest.raises(NotEncodable, match="a Callback, which cannot be: Callback.then"):
        types.encode(Callback(lambda: 1))


def test_j4_types_are_found_in_fields_and_in_the_brackets_of_call() -> None:
    types = Types([Charge])
    assert back(types, [Payment("a")]) == [Payment("a")]
    types = Types([FetchItems])
    assert back(types, {"a": [Item("b")]}) == {"a": [Item("b")]}
    types = Types([list[Payment] | None, typing.Annotated[Item, "x"], int, Any, None, str | None])
    assert back(types, (Payment("a"), Item("b"))) == (Payment("a"), Item("b"))
    types = Types([Everything])
    assert back(types, Ledger([], {})) == Ledger([], {})


def test_j4_what_is_not_reachable_is_unknown_on_reading(types: Types) -> None:
    data = types.encode(Charge("a", 1))
    with pytest.raises(UnknownType) as caught:
        Types([Item]).decode(data)
    assert caught.value.name == f"{__name__}:Charge"
    assert caught.value.version == 1
    assert "which no annotation reaches; name it in one or, if" in str(caught.value)
    with pytest.raises(UnknownType):
        Types().decode(types.encode([Item("a")]))


def test_j4_nothing_is_imported_by_name(types: Types) -> None:
    sys.modules.pop("this", None)
    with pytest.raises(UnknownType):
        types.decode(msgspec.msgpack.encode(("this:d", 1, {})))
    with pytest.raises(UnknownType):
        types.decode_refusal(msgspec.msgpack.encode(("this:d", 1, ((), {}))))
    with pytest.raises(UnknownType):
        types.decode_refusal(msgspec.msgpack.encode(("builtins:ValueError", 1, ((), {}))))
    assert "this" not in sys.modules


def test_j4_two_classes_of_one_name_are_refused_naming_both() -> None:
    with pytest.raises(TypeError) as caught:
        Types([New, AlsoNew])
    assert "'new'" in str(caught.value)
    assert "New'" in str(caught.value) and "AlsoNew'" in str(caught.value)


def test_j4_the_class_that_attrs_made_wins_over_the_one_it_was_made_of() -> None:
    made: list[type] = []

    class Base(Call[int]):
        def __init_subclass__(cls) -> None:
            made.append(cls)

    @attrs.define
    class Twice(Base):
        value: int

    before, after = made
    assert before is not after is Twice
    for order in ([before, after], [after, before]):
        types = Types(order)
        assert type(back(types, Twice(1))) is Twice


# -- versions


def from_1_to_2(fields: dict[str, Any]) -> dict[str, Any]:
    return {"amount": fields["total"]}


def from_2_to_3(fields: dict[str, Any]) -> dict[str, Any]:
    return {"cents": fields["amount"] * 100}


@attrs.frozen
class New:
    journal_name: ClassVar[str] = "new"
    journal_names: ClassVar[tuple[str, ...]] = ("old.module:Old",)
    version: ClassVar[int] = 3
    upcasts: ClassVar[dict[int, Any]] = {1: from_1_to_2, 2: from_2_to_3}
    cents: int


@attrs.frozen
class AlsoNew:
    journal_name: ClassVar[str] = "new"
    value: int


def record(name: str, version: int, fields: object) -> bytes:
    return msgspec.msgpack.encode((name, version, fields))


def test_mistake_3_upcasting_does_not_stop_after_the_first_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Upcasting v1→v2→v3 read the version once and stopped at v2."""
    types = Types([New])
    assert types.decode(record("new", 1, {"total": 5})) == New(500)
    assert types.decode(record("new", 2, {"amount": 5})) == New(500)
    assert types.decode(record("new", 3, {"cents": 5})) == New(5)
    assert types.same_bytes(record("new", 1, {"total": 5}), types.encode(New(500)))
    assert not types.same_bytes(record("new", 1, {"total": 5}), types.encode(New(5)))

    def one_step(plan: plans.Plan, version: int, fields: dict[str, Any]) -> dict[str, Any]:
        return plan.upcasts[version](fields) if version < plan.version else fields

    monkeypatch.setattr(plans.Plan, "climb", one_step)
    with pytest.raises(Undecodable, match="missing required field `cents`"):
        types.decode(record("new", 1, {"total": 5}))


def test_j4_a_renamed_class_keeps_its_old_names() -> None:
    types = Types([New])
    assert types.decode(record("old.module:Old", 1, {"total": 1})) == New(100)
    assert types.encode(New(1)) == record("new", 3, {"cents": 1})


def test_j4_a_record_of_newer_code_is_told_as_such() -> None:
    types = Types([New, Ping, Point])
    for name, version in (("new", 4), (f"{__name__}:Ping", 2), (f"{__name__}:Point", 2)):
        with pytest.raises(UnknownType, match="was written by newer code") as caught:
            types.decode(record(name, version, {}))
        assert (caught.value.name, caught.value.version) == (name, version)


@attrs.frozen
class Wallet:
    main: New
    others: list[New]
    by_name: dict[str, New | None]
    anything: Any = None


def test_j4_a_versioned_class_inside_another_is_upcast_as_well() -> None:
    types = Types([Wallet])
    now = Wallet(New(1), [New(2)], {"a": New(3), "b": None}, (New(4),))
    assert back(types, now) == now
    name = f"{__name__}:Wallet"
    old = {"total": 1}
    data = record(name, 1, {"main": old, "others": [old, {"": 2, "amount": 2}], "by_name": {}})
    assert types.decode(data) == Wallet(New(100), [New(100), New(200)], {})
    with pytest.raises(UnknownType, match="newer code"):
        types.decode(record(name, 1, {"main": {"": 9}, "others": [], "by_name": {}}))


def versioned(version: Any, upcasts: Any = None) -> type:
    namespace: dict[str, Any] = {"__annotations__": {"value": int}, "version": version}
    if upcasts is not None:
        namespace["upcasts"] = upcasts
    return attrs.frozen(type("Versioned", (), namespace))


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (versioned(3, {2: dict}), "its upcasts lack a function from version 1 to the next"),
        (versioned(2), "its upcasts lack a function from version 1"),
        (versioned(2, {1: dict, 2: dict}), "so its upcasts lead from 1 to 1 at most"),
        (versioned(2, [dict]), "upcasts must map each earlier version"),
        (versioned(0), "version must be an int from 1 on. Got: 0"),
        (versioned("2"), "version must be an int from 1 on. Got: '2'"),
    ],
)
def test_j4_a_gap_in_the_upcasts_is_found_at_declaration(cls: type, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        Types([cls])


def test_j4_an_upcast_that_fails_is_named() -> None:
    types = Types([New])
    with pytest.raises(
        Undecodable, match=r"upcast of 'new' from version 1 to 2 raised KeyError: 'total'"
    ):
        types.decode(record("new", 1, {}))
    bad = versioned(2, {1: lambda _: None})
    types = Types([bad])
    with pytest.raises(Undecodable, match="must return a dict of the fields. Got: None"):
        types.decode(record(journal_name(bad), 1, {}))


def test_j4_a_field_named_version_is_no_version() -> None:
    @dataclasses.dataclass
    class Document:
        version: int = 7

    assert journal_version(Document) == 1
    assert journal_version(New) == 3
    assert journal_name(New) == "new"
    assert journal_name(Item) == f"{__name__}:Item"
    assert back(Types([Document]), Document(9)) == Document(9)


def test_j4_bytes_that_do_not_fit_name_type_and_field(types: Types) -> None:
    name = f"{__name__}:Charge"
    with pytest.raises(Undecodable, match=rf"{name} .*Expected `int`, got `str` - at `\$.total`"):
        types.decode(record(name, 1, {"order": "a", "total": "b"}))
    with pytest.raises(Undecodable, match="This is no payload"):
        types.decode(b"\x93")
    with pytest.raises(Undecodable, match="maximum recursion depth|does not fit"):
        types.decode(b"\x93\xa0\x01" + b"\x91" * 100_000 + b"\xc0")
    with pytest.raises(Undecodable, match="does not fit"):
        types.decode(record("", 1, msgspec.msgpack.Ext(4, b"abc")))
    with pytest.raises(UnknownType, match="extension 99"):
        types.decode(record("", 1, msgspec.msgpack.Ext(99, b"abc")))


def test_w4_equal_contents_are_the_same_whatever_their_bytes(types: Types) -> None:
    name = f"{__name__}:Charge"
    swapped = b"\x82\xa5total\x01\xa5order\xa1a"
    data = record(name, 1, msgspec.Raw(swapped))
    assert data != types.encode(Charge("a", 1))
    assert types.same_bytes(data, types.encode(Charge("a", 1)))
    assert not types.same_bytes(data, types.encode(Charge("a", 2)))
    assert not types.same_bytes(types.encode(1), types.encode(True))
    assert not types.same_bytes(types.encode([1]), types.encode((1,)))
    assert not types.same_bytes(types.encode(Item("a")), types.encode(Payment("a")))
    assert types.same_bytes(types.encode({"a": 1, "b": 2}), types.encode({"b": 2, "a": 1}))


# -- refusals


def rebuilt(error: BaseException) -> Any:
    types = Types([Payment])
    data = types.encode_refusal(error)
    fresh = Types([Payment])
    return fresh.decode_refusal(data)


def test_w6_a_refusal_is_caught_by_its_very_type_and_init_is_not_called() -> None:
    error = Careful("apple", left=2)
    try:
        raise rebuilt(error)
    except Careful as found:
        assert found.args == ("only 2 of apple",)
        assert (found.sku, found.left) == ("apple", 2)
    assert type(rebuilt(OutOfStock())) is OutOfStock


def test_j4_an_attrs_refusal_keeps_its_fields_and_their_types() -> None:
    found = rebuilt(Declined(5, Payment("a")))
    assert (found.code, found.payment) == (5, Payment("a"))
    assert type(found.payment) is Payment
    assert found.args == (5, Payment("a"))


def test_j4_cause_traceback_and_notes_are_not_kept_nor_what_cannot_be() -> None:
    try:
        raise OutOfStock("a", (1, 2)) from ValueError("b")
    except OutOfStock as error:
        error.add_note("c")
        error.sku = {"d"}  # type: ignore[attr-defined]
        error.lock = object()  # type: ignore[attr-defined]
        found = rebuilt(error)
    assert found.args == ("a", (1, 2))
    assert vars(found) == {"sku": {"d"}}
    assert found.__cause__ is None and found.__traceback__ is None


def test_j4_a_refusal_that_cannot_be_written_down_says_so() -> None:
    types = Types()
    with pytest.raises(NotEncodable, match=r"OutOfStock.args\[1\] holds what has no written form"):
        types.encode_refusal(OutOfStock("a", object()))
    with pytest.raises(NotEncodable, match=r"Declined.args\[1\] holds a Payment, which no"):
        types.encode_refusal(Declined(1, Payment("a")))
    with pytest.raises(NotEncodable, match="A ValueError is no answer. Accepted: Refusal"):
        types.encode_refusal(ValueError("a"))
    with pytest.raises(Undecodable, match="This is no refusal"):
        types.decode_refusal(types.encode(1))


def test_j4_other_exceptions_can_be_answers_too() -> None:
    types = Types(answers=(Refusal, LookupError))
    data = types.encode_refusal(KeyError("a"))
    found = types.decode_refusal(data)
    assert type(found) is KeyError and found.args == ("a",)
    with pytest.raises(UnknownType, match="the refusal 'builtins:KeyError'"):
        Types().decode_refusal(data)


def test_j4_a_refusal_of_a_function_is_found_among_the_subclasses() -> None:
    @attrs.frozen
    class Local(Refusal):
        code: int

    data = Types().encode_refusal(Local(3))
    found = Types().decode_refusal(data)
    assert type(found) is Local and found.code == 3  # type: ignore[attr-defined]
    gc.collect()
    assert type(Types().decode_refusal(data)) is Local


def test_j4_a_renamed_refusal_is_found_by_its_old_name() -> None:
    class Sold(Refusal):
        journal_name = "sold"
        journal_names = ("old:Sold",)

    for name in ("sold", "old:Sold"):
        found = Types().decode_refusal(record(name, 1, (("a",), {})))
        assert type(found) is Sold and found.args == ("a",)
    with pytest.raises(UnknownType, match="Nothing is imported by name"):
        Types().decode_refusal(record("sold", 2, ((), {})))
