"""J3: requests from outside: what they become in the owner, what is refused, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest

from actors import Call
from actors.payloads.types import Types
from mediators import verbs as v
from mediators.driver import requests
from mediators.reading.standing import Pause, Standing, Summary
from tests.mediators.orders import Approved, Charge, PlaceOrder

if TYPE_CHECKING:
    from mediators.driver.requests import AnyRequest


class Ping(Call[None]):
    """Has no fields."""


@attrs.frozen
class Counted:
    number: int

    def __attrs_post_init__(self) -> None:
        if self.number < 0:
            raise ValueError("fewer than none")


def twin() -> type:
    """Another class that is called Approved."""

    @attrs.frozen
    class Approved:
        by: str

    Approved.__module__ = "elsewhere"
    Approved.__qualname__ = "Approved"
    return Approved


@pytest.fixture
def types() -> Types:
    return Types([PlaceOrder, Charge, Approved, Ping, Counted])


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (
            requests.SignalRequest(
                id="w", type="Approved", fields={"by": "bob"}, signal_id="s", expires=3.0
            ),
            v.SendSignal("w", Approved("bob"), "s", 3.0),
        ),
        (requests.CancelRequest(id="w", reason="enough"), v.Cancel("w", "enough")),
        (requests.PauseRequest(id="w"), v.Pause("w", "somebody asked for it")),
        (requests.ResumeRequest(id="w"), v.Resume("w")),
        (requests.RetryRequest(id="w", path="a.1"), v.RetryStep("w", "a.1")),
        (requests.SkipRequest(id="w"), v.SkipStep("w", None)),
        (requests.ResolveRequest(id="w", value=[1, "x"]), v.ResolveStep("w", [1, "x"], None)),
        (
            requests.ResolveRequest(id="w", value={"by": "eve"}, type="Approved", path="a.1"),
            v.ResolveStep("w", Approved("eve"), "a.1"),
        ),
        (requests.ForkRequest(id="w", new_id="w2", at="a.1"), v.Fork("w", "w2", "a.1")),
    ],
    ids=lambda each: "" if not isinstance(each, requests.Request) else repr(each)[:60],
)
def test_j3_a_request_goes_over_the_wire_and_becomes_the_verb(
    types: Types, request_: AnyRequest, message: Any
) -> None:
    data = requests.encode_request(request_)
    assert b"\n" not in data
    assert requests.decode_request(data) == request_
    assert requests.to_message(request_, types) == message


@pytest.mark.parametrize(
    "data",
    [b"", b"[]", b"{}", b'{"verb":"explode","id":"w"}', b'{"verb":"retry"}', b"[" * 100_000,
     b'{"verb":"cancel","id":"w","more":1}', b'{"verb":"signal","id":"w","type":3}', b"\xff"],
    ids=["empty", "list", "no verb", "verb", "no id", "deep", "field", "type", "bytes"],
)  # fmt: skip
def test_j3_what_is_no_request_is_refused(data: bytes) -> None:
    with pytest.raises(requests.BadRequest, match="This is no request: "):
        requests.decode_request(data)


def test_j3_a_class_without_fields_is_built_of_none(types: Types) -> None:
    assert isinstance(requests.value_of(types, "Ping", {}), Ping)
    with pytest.raises(requests.BadRequest, match=r"Ping has no fields\. Got: \{'loud': True\}"):
        requests.value_of(types, "Ping", {"loud": True})


@pytest.mark.parametrize(
    ("name", "fields", "text"),
    [
        ("Approved", {}, "These are no fields of Approved: .*by"),
        ("Approved", {"by": 3}, "These are no fields of Approved: Expected `str`"),
        ("Approved", [1], "These are no fields of Approved: "),
        ("Counted", {"number": -1}, "These are no fields of Counted: fewer than none"),
        ("Nothing", {}, "No type 'Nothing' is known to the mediator. It knows what"),
    ],
    ids=["missing", "type", "list", "rejected", "unknown"],
)
def test_j3_what_is_no_value_of_that_class_says_so(
    types: Types, name: str, fields: Any, text: str
) -> None:
    with pytest.raises(requests.BadRequest, match=text):
        requests.value_of(types, name, fields)


def test_j3_a_short_name_that_two_types_share_is_not_guessed() -> None:
    other = twin()
    types = Types([Approved, other])
    with pytest.raises(requests.BadRequest, match="Give the whole name") as caught:
        requests.value_of(types, "Approved", {"by": "bob"})
    assert "elsewhere:Approved, tests.mediators.orders:Approved" in str(caught.value)
    built = requests.value_of(types, "tests.mediators.orders:Approved", {"by": "bob"})
    assert built == Approved("bob")
    assert type(requests.value_of(types, "elsewhere:Approved", {"by": "bob"})) is other


# -- what can be seen to be impossible before it is asked


def stands(status: str = "waiting", **fields: Any) -> Summary:
    return Summary("w", 1, "Flow", status, 0.0, 0.0, **fields)


INCIDENT = stands("incident", incidents=(Standing("a.1", "", 0.0), Standing("b.1", "", 0.0)))
PIVOT = stands("incident", pause=Pause("pivot", 0.0, "It was refused."))


@pytest.mark.parametrize(
    ("summary", "request_", "text"),
    [
        (stands("done", ended=1.0), requests.PauseRequest(id="w"), "has ended: it is done."),
        (stands("done", ended=1.0), requests.ForkRequest(id="w", new_id="x"), None),
        (stands(pivoted=True), requests.CancelRequest(id="w"), "is past its pivot."),
        (stands(), requests.CancelRequest(id="w"), None),
        (stands(), requests.ResumeRequest(id="w"), "is not paused: it is waiting."),
        (stands("paused", pause=Pause("", 0.0)), requests.ResumeRequest(id="w"), None),
        (stands(), requests.RetryRequest(id="w"), "has no incident: it is waiting."),
        (INCIDENT, requests.RetryRequest(id="w"), None),
        (INCIDENT, requests.SkipRequest(id="w", path="b.1"), None),
        (
            INCIDENT,
            requests.ResolveRequest(id="w", path="c.1"),
            "has no incident at c.1; there is one at: a.1, b.1.",
        ),
        (PIVOT, requests.RetryRequest(id="w"), None),
        (PIVOT, requests.ResolveRequest(id="w"), None),
        (PIVOT, requests.SkipRequest(id="w"), "has no incident: it is incident."),
    ],
    ids=[
        "over",
        "a fork of what is over",
        "past the pivot",
        "cancel",
        "not paused",
        "paused",
        "no incident",
        "incidents",
        "one of them",
        "another path",
        "pivot retried",
        "pivot resolved",
        "pivot skipped",
    ],
)
def test_what_cannot_be_done_is_told_from_where_the_workflow_stands(
    summary: Summary, request_: Any, text: str | None
) -> None:
    found = requests.objection(summary, request_)
    assert found == (None if text is None else f"Workflow 'w' {text}")
