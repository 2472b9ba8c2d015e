"""J4: what a class says about itself for the journal, and which values its fields take."""

from __future__ import annotations

import datetime as dt
import enum
import typing
from typing import Any, Literal, NamedTuple

import attrs
import msgspec
import pytest

from actors import Call
from actors.payloads import names, plans
from actors.payloads.types import NotEncodable, Types


class Nameless:
    journal_name = ""


class OddName:
    journal_name = 3


class OddNames:
    journal_names = "old"


class OddVersion:
    version = "2"


class NoVersion:
    version = 0


class OddUpcasts:
    version = 2
    upcasts: typing.ClassVar[Any] = [dict]


class Gap:
    version = 3
    upcasts: typing.ClassVar[Any] = {1: dict}


class TooMany:
    version = 2
    upcasts: typing.ClassVar[Any] = {1: dict, 2: dict}


@pytest.mark.parametrize(
    ("read", "cls", "text"),
    [
        (names.journal_name, Nameless, "Nameless.journal_name must be a str that is not empty."),
        (names.journal_name, OddName, "OddName.journal_name must be a str"),
        (names.journal_names, OddNames, "OddNames.journal_names must be a tuple of the names it"),
        (names.journal_version, OddVersion, "OddVersion.version must be an int from 1 on."),
        (names.journal_version, NoVersion, "NoVersion.version must be an int from 1 on. Got: 0"),
        (names.upcasts_of, OddUpcasts, "OddUpcasts.upcasts must map each earlier version"),
        (
            names.upcasts_of,
            Gap,
            "Gap is at version 3, but its upcasts lack a function from version 2",
        ),
        (names.upcasts_of, TooMany, "so its upcasts lead from 1 to 1 at most"),
    ],
    ids=["empty", "name", "names", "version", "zero", "upcasts", "gap", "too many"],
)
def test_what_a_class_says_of_itself_is_looked_at(read: Any, cls: type, text: str) -> None:
    with pytest.raises(TypeError) as caught:
        read(cls)
    assert text in str(caught.value)


@attrs.define
class Slots:
    """Its fields have the names of what a class may say of itself."""

    journal_name: str = "a"
    journal_names: str = "b"
    version: str = "c"
    upcasts: str = "d"


def test_fields_with_these_names_are_fields() -> None:
    assert names.journal_name(Slots) == f"{__name__}:Slots"
    assert names.journal_names(Slots) == ()
    assert names.journal_version(Slots) == 1
    assert names.upcasts_of(Slots) == {}
    types = Types([Slots])
    assert types.decode(types.encode(Slots("x"))) == Slots("x")


class Unannotated(Call[int]):
    _secret = 1


class Pair(NamedTuple):
    a: int
    b: int


class Versioned(Pair):
    version = 2
    upcasts: typing.ClassVar[Any] = {1: dict}


@attrs.frozen
class Bare:
    it = attrs.field(default=1)


@attrs.frozen
class Sized:
    pair: tuple[int, str]
    plain: list[int]
    frozen: frozenset[str]
    many: tuple[int, ...]
    either: int | str
    choice: Literal["a", 2]
    when: dict[tuple[int, str], float]


@attrs.frozen
class Keyed:
    any_key: dict[Any, int]
    either: dict[int | str, int]
    pairs: dict[tuple[int, ...], int]


class Half(typing.TypedDict, total=False):
    note: str


@attrs.frozen
class Noted:
    half: Half
    size: typing.Annotated[int, msgspec.Meta(ge=0)]
    colours: dict[typing.Annotated[str, msgspec.Meta(max_length=3)], int]


GOOD: dict[str, Any] = {
    "pair": (1, "a"),
    "plain": [1],
    "frozen": frozenset({"a"}),
    "many": (1, 2),
    "either": 1,
    "choice": "a",
    "when": {(1, "a"): 1.5},
}


@pytest.mark.parametrize(
    ("field", "value", "text"),
    [
        ("pair", (1,), "Sized.pair is annotated with tuple of 2. Got: (1,), a tuple"),
        ("pair", [1, "a"], "Sized.pair is annotated with tuple of 2. Got: [1, 'a'], a list"),
        ("plain", (1,), "Sized.plain is annotated with list. Got: (1,), a tuple"),
        ("plain", [True], "Sized.plain is annotated with int. Got: True, a bool, which would come"),
        ("frozen", {"a"}, "Sized.frozen is annotated with frozenset. Got: {'a'}, a set"),
        ("many", [1], "Sized.many is annotated with tuple. Got: [1], a list"),
        ("either", 1.5, "Sized.either is annotated with int | str. Got: 1.5, a float"),
        ("choice", "b", "Sized.choice is annotated with one of ("),
        ("when", [], "Sized.when is annotated with dict. Got: [], a list"),
        ("when", {(1, "a"): "x"}, "Sized.when is annotated with float. Got: 'x', a str"),
        ("when", {(1, "a"): 2**1100}, "Sized.when is annotated with float. Got: 1"),
        ("when", {("a", 1): 1.0}, "Sized.when is annotated with int. Got: 'a', a str"),
    ],
)
def test_j4_a_value_that_does_not_fit_its_field_is_refused_where_it_is_made(
    field: str, value: Any, text: str
) -> None:
    types = Types([Sized])
    good = Sized(**GOOD)
    assert types.decode(types.encode(good)) == good
    with pytest.raises(NotEncodable) as caught:
        types.encode(attrs.evolve(good, **{field: value}))
    assert text in str(caught.value)


def test_j4_keys_of_dicts_come_back_as_what_they_are_or_are_refused() -> None:
    types = Types([Keyed])
    good = Keyed({1: 1, "a": 2, None: 3}, {1: 1, "a": 2}, {(1, 2): 3})
    assert types.decode(types.encode(good)) == good
    with pytest.raises(NotEncodable, match=r"Keyed.any_key has a key that would not come back"):
        types.encode(attrs.evolve(good, any_key={(1, 2): 3}))


def test_j4_typed_dicts_and_annotated_fields_are_looked_at() -> None:
    types = Types([Noted])
    good = Noted({}, 3, {"red": 1})
    assert types.decode(types.encode(good)) == good
    more: Any = {"note": "x", "odd": 1}
    with pytest.raises(NotEncodable, match="Noted.half is annotated with Half"):
        types.encode(attrs.evolve(good, half=more))


@pytest.mark.parametrize(
    ("cls", "text"),
    [
        (Versioned, "is a NamedTuple, whose fields are written down without names"),
        (Bare, "Bare.it has no annotation"),
    ],
    ids=["named tuple", "no annotation"],
)
def test_j4_a_class_whose_fields_cannot_be_named_is_refused(cls: type, text: str) -> None:
    with pytest.raises(TypeError) as caught:
        Types([cls])
    assert text in str(caught.value)


class Colour(enum.Enum):
    RED = "red"


class Loud:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


NOON = dt.datetime(2030, 1, 1, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("one", "other", "text"),
    [
        (1, 1, None),
        (float("nan"), float("nan"), None),
        (1, 2, "it is 1 and would be 2"),
        (1, 1.0, "it is 1, an int, and would be 1.0, a float"),
        ([1, [2]], [1, [3]], "it[1][0] is 2 and would be 3"),
        ([1], [1, 2], "it is [1] and would be [1, 2]"),
        ({"a": 1}, {"a": 2}, "it['a'] is 1 and would be 2"),
        ({"a": 1}, {"b": 1}, "it is {'a': 1} and would be {'b': 1}"),
        (Bare(1), Bare(2), "it.it is 1 and would be 2"),
        (Pair(1, 2), Pair(1, 3), "it[1] is 2 and would be 3"),
        (NOON, NOON.astimezone(dt.timezone(dt.timedelta(hours=2))), None),
        (Colour.RED, Colour.RED, None),
    ],
    ids=[
        "same",
        "nan",
        "value",
        "type",
        "inside",
        "length",
        "dict",
        "keys",
        "field",
        "tuple",
        "time",
        "enum",
    ],
)
def test_where_two_values_differ_is_said(one: Any, other: Any, text: str | None) -> None:
    assert names.difference(one, other, "it") == text


def test_a_value_without_a_repr_can_be_named_in_a_message() -> None:
    assert "Loud object at" in names.brief(Loud())
    assert names.brief("x" * 200).endswith("...")


def test_what_a_shape_is_made_of_has_a_class_for_each_part() -> None:
    from msgspec import inspect as shapes

    wanted: dict[Any, Any] = {
        list[int]: list,
        set[int]: set,
        frozenset[int]: frozenset,
        tuple[int, ...]: tuple,
        dict[str, int]: dict,
        Half: dict,
        Pair: Pair,
        Colour: Colour,
        int: int,
        Any: Any,
        typing.Annotated[int, msgspec.Meta(ge=0)]: int,
    }
    for annotation, kind in wanted.items():
        assert plans.kind_of(shapes.type_info(annotation)) is kind


def test_the_article_fits_the_name() -> None:
    assert [names.a(each) for each in (int, str, Colour)] == ["an int", "a str", "a Colour"]
