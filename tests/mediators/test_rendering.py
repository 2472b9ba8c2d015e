"""Payloads read without their classes: in words, and as JSON can say them."""

from __future__ import annotations

import datetime as dt
import enum
import json
import uuid
from decimal import Decimal
from typing import Any, NamedTuple

import attrs
import msgspec
import pytest

from actors import Refusal
from actors.payloads.types import Types
from mediators.reading import rendering


@attrs.frozen
class Item:
    name: str


class Point(NamedTuple):
    x: int
    y: int


class Colour(enum.Enum):
    RED = "red"


class Sold(Refusal):
    pass


@attrs.frozen
class Holds:
    it: Any


@attrs.frozen
class Second:
    """Of a later version than the first."""

    version = 2
    upcasts = {1: dict}
    name: str


@attrs.frozen
class HoldsSecond:
    inner: Second


TYPES = Types([Item, Point, Colour, Sold, Holds, Second, HoldsSecond])
ID = uuid.UUID(int=7)
DAY = dt.date(2030, 1, 31)
NOON = dt.datetime(2030, 1, 31, 12, tzinfo=dt.UTC)

VALUES: list[tuple[Any, str, Any]] = [
    (None, "None", None),
    (True, "True", True),
    (1.5, "1.5", 1.5),
    ("a'b", '"a\'b"', "a'b"),
    (b"\x00\x01", "b'\\x00\\x01'", "AAE="),
    ([1, "x"], "[1, 'x']", [1, "x"]),
    ((1,), "(1,)", [1]),
    ((1, 2), "(1, 2)", [1, 2]),
    ({2, 1}, "[1, 2]", [1, 2]),
    (frozenset({1}), "[1]", [1]),
    ({"a": 1}, "{'a': 1}", {"a": 1}),
    ({1: "a"}, "{1: 'a'}", {"1": "a"}),
    ({(1, 2): "a"}, "{(1, 2): 'a'}", {"(1, 2)": "a"}),
    (NOON, "2030-01-31 12:00:00+00:00", "2030-01-31T12:00:00+00:00"),
    (DAY, "2030-01-31", "2030-01-31"),
    (dt.time(12, 30), "12:30:00", "12:30:00"),
    (dt.timedelta(days=1, seconds=2), "datetime.timedelta(days=1, seconds=2)", "1 day, 0:00:02"),
    (Decimal("1.50"), "Decimal('1.50')", "1.50"),
    (ID, f"UUID('{ID}')", str(ID)),
    (Item("a"), "Item(name='a')", {"name": "a"}),
    ([Item("a")], "[Item(name='a')]", [{"name": "a"}]),
    (Point(1, 2), "Point(1, 2)", [1, 2]),
    (Colour.RED, "Colour('red')", "red"),
]


def fields(found: Any) -> Any:
    """Of what JSON has of a class, its fields."""
    if isinstance(found, dict) and "version" in found:
        return found["fields"]
    return [fields(each) for each in found] if isinstance(found, list) else found


@pytest.mark.parametrize(
    ("value", "words", "plain"),
    VALUES,
    ids=[f"{type(value).__name__}-{index}" for index, (value, _, _) in enumerate(VALUES)],
)
def test_a_payload_of_each_type_is_read_in_words_and_as_json(
    value: Any, words: str, plain: Any
) -> None:
    data = TYPES.encode(value)
    assert rendering.render(data) == words
    found = json.loads(json.dumps(rendering.jsonable(rendering.read(data))))
    assert fields(found) == plain
    inside = TYPES.encode(Holds(value))
    assert rendering.render(inside).startswith("Holds(it=")
    json.dumps(rendering.jsonable(rendering.read(inside)))


def test_the_version_of_a_class_inside_is_not_shown_as_a_field() -> None:
    data = TYPES.encode(HoldsSecond(Second("a")))
    assert rendering.render(data) == "HoldsSecond(inner={'name': 'a'})"
    found = rendering.jsonable(rendering.read(data))
    assert found["fields"] == {"inner": {"name": "a"}}
    assert rendering.jsonable(rendering.read(TYPES.encode(Second("a"))))["version"] == 2


@pytest.mark.parametrize(
    ("refusal", "words"),
    [(Sold(), "Sold()"), (Sold("moon", 3), "Sold('moon', 3)"), (Refusal("no"), "Refusal('no')")],
    ids=["bare", "arguments", "plain"],
)
def test_a_refusal_is_told_by_its_arguments(refusal: Refusal, words: str) -> None:
    assert rendering.render_refusal(TYPES.encode_refusal(refusal)) == words


def test_a_refusal_that_is_none_is_told_as_what_it_is() -> None:
    assert rendering.render_refusal(TYPES.encode(Item("a"))) == "Item(name='a')"
    assert rendering.render_refusal(TYPES.encode(3)) == "3"
    assert rendering.render_refusal(TYPES.encode_refusal(Sold("x" * 50)), 20) == (
        "Sold('xxxxxxxxxxxxx…"
    )


@pytest.mark.parametrize(
    "data",
    [b"", b"\xc1", b"\x01", msgspec.msgpack.encode(("x:Y", 1)), b"\x93\xa0\x01\x91" * 1],
    ids=["empty", "no msgpack", "a number", "too short", "cut"],
)
def test_bytes_that_are_no_payload_are_told_as_such(data: bytes) -> None:
    found = rendering.read(data)
    assert isinstance(found, rendering.Unreadable)
    assert rendering.render(data) == f"<cannot be read: {found.text}>"
    assert rendering.jsonable(found) == {"unreadable": found.text}


def test_the_name_of_a_payload_that_is_none_is_unknown() -> None:
    assert rendering.name_of(b"\xc1") == "?"
    assert rendering.name_of(TYPES.encode(3)) == ""
    assert rendering.name_of(TYPES.encode(Item("a"))) == f"{__name__}:Item"


def test_an_extension_of_newer_code_is_named_and_the_rest_is_read() -> None:
    later = msgspec.msgpack.Ext(99, msgspec.msgpack.encode([1]))
    data = msgspec.msgpack.encode(("", 1, [1, later]))
    assert rendering.render(data) == ("[1, <cannot be read: extension 99, written by newer code>]")


def test_a_dict_whose_keys_have_no_hash_any_more_is_read_by_their_words() -> None:
    inner = msgspec.msgpack.encode([[1, 2], "a"])
    from actors.payloads.tags import DICT

    data = msgspec.msgpack.encode(("", 1, msgspec.msgpack.Ext(DICT, inner)))
    assert rendering.read(data) == {"[1, 2]": "a"}


def test_names_are_shortened_to_that_of_the_class() -> None:
    assert [rendering.short(each) for each in ("shop.orders:Charge", "a:B.C", "pay", "")] == [
        "Charge",
        "C",
        "pay",
        "",
    ]
    found = rendering.read(TYPES.encode(Item("a")))
    assert isinstance(found, rendering.Data)
    assert found.short == "Item"
