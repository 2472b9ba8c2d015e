"""Specs are data: what is accepted, what is refused, and with which words."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import attrs
import pytest

from actors import Actor, System
from supervisors import (
    Backoff,
    Child,
    DynamicSupervisor,
    Flags,
    Pool,
    Shards,
    Supervisor,
    check_children,
    one_for_all,
    one_for_one,
    rest_for_one,
)
from supervisors.specs import as_child, with_changes


class Worker(Actor):
    def __init__(self, one: int = 1, two: str = "", *, three: int = 3) -> None:
        pass


@attrs.define
class Account(Actor):
    balance: int = 0


class Top(Supervisor):
    pass


def refused(make: Any, text: str, *, kind: Any = (TypeError, ValueError)) -> None:
    """``make`` raises, the text says ``text``, and ends with what it got."""
    with pytest.raises(kind) as caught:
        make()
    assert text in str(caught.value)
    assert "Got: " in str(caught.value)
    assert "\n" not in str(caught.value)


# -- Child


def test_the_defaults() -> None:
    child = Child(Worker, 1, "b")
    assert (child.factory, child.args, child.kind, child.label) == (
        Worker,
        (1, "b"),
        "worker",
        "Worker",
    )
    assert (child.id, child.name, child.restart, child.shutdown) == (None, None, "permanent", 5.0)
    assert (child.start_timeout, child.backoff, child.significant) == (30.0, None, False)
    assert (child.mailbox, child.isolation, child.memory_limit) == (10_000, None, None)


def test_a_supervisor_has_all_the_time_it_needs_to_stop() -> None:
    for factory in (Top, DynamicSupervisor, partial(DynamicSupervisor, max_children=3)):
        child = Child(factory)
        assert (child.kind, child.shutdown) == ("supervisor", math.inf)
    assert one_for_one(Child(Worker)).shutdown == math.inf
    assert Child(Top, shutdown=3).shutdown == 3


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
@pytest.mark.parametrize("shutdown", [0, 1.5, math.inf, "kill"])
@pytest.mark.parametrize("factory", [Worker, Top])
def test_all_combinations_of_restart_shutdown_and_kind_are_valid(
    restart: Any, shutdown: Any, factory: Any
) -> None:
    child = Child(factory, restart=restart, shutdown=shutdown)
    assert (child.restart, child.shutdown) == (restart, shutdown)


def test_a_spec_is_frozen_and_compares_by_value() -> None:
    child = Child(Worker, 1, id="a")
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        child.id = "b"  # type: ignore[misc]
    assert child == Child(Worker, 1, id="a") != Child(Worker, 2, id="a")


def test_a_spec_shows_what_is_not_the_default() -> None:
    assert repr(Child(Worker, 1, "b")) == "Child(Worker, 1, 'b')"
    assert repr(Child(Worker, id="a", shutdown=2, restart="transient")) == (
        "Child(Worker, id='a', restart='transient', shutdown=2)"
    )
    assert repr(Child(Top, shutdown=5.0)) == "Child(Top, shutdown=5.0)"
    assert repr(Child(partial(Worker, three=1))) == "Child(Worker)"


def test_an_actors_own_keywords_go_through_partial() -> None:
    child = Child(partial(Worker, three=33), 1)
    assert (child.label, child.args) == ("Worker", (1,))


def test_a_changed_spec_is_validated_again() -> None:
    child = with_changes(Child(Worker, 1, id="a"), restart="temporary")
    assert child == Child(Worker, 1, id="a", restart="temporary")
    refused(lambda: with_changes(child, restart="never"), "restart is one of")


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"id": ""}, "id is a non-empty str without '/', or None. Got: ''"),
        ({"id": 3}, "id is a non-empty str without '/', or None. Got: 3"),
        ({"id": "a/b"}, "id is a non-empty str without '/', or None. Got: 'a/b'"),
        ({"name": ""}, "name is a non-empty str without '/', or None. Got: ''"),
        ({"name": b"n"}, "name is a non-empty str without '/', or None. Got: b'n'"),
        ({"restart": "never"}, "restart is one of 'permanent', 'transient', 'temporary'. Got: "),
        ({"restart": None}, "restart is one of"),
        ({"shutdown": -1}, "shutdown (seconds, math.inf or 'kill') is 0 or more. Got: -1"),
        ({"shutdown": math.nan}, "is 0 or more. Got: nan"),
        ({"shutdown": "never"}, "shutdown (seconds, math.inf or 'kill') is a number. Got: 'never'"),
        ({"shutdown": True}, "is a number. Got: True"),
        ({"start_timeout": 0}, "start_timeout (seconds) is more than 0. Got: 0"),
        ({"start_timeout": math.nan}, "start_timeout (seconds) is more than 0. Got: nan"),
        ({"start_timeout": None}, "start_timeout (seconds) is a number. Got: None"),
        ({"backoff": 3}, "backoff is a Backoff or None. Got: 3"),
        ({"significant": 1}, "significant is True or False. Got: 1"),
        ({"significant": True}, "is 'transient' or 'temporary': a permanent one never ends by"),
        ({"significant": True, "restart": "permanent"}, "Got: restart='permanent'"),
        ({"mailbox": 0}, "mailbox is an int of 1 or more, or math.inf. Got: 0"),
        ({"mailbox": 1.5}, "mailbox is an int of 1 or more, or math.inf. Got: 1.5"),
        ({"mailbox": True}, "mailbox is an int of 1 or more, or math.inf. Got: True"),
        ({"mailbox": None}, "mailbox is an int of 1 or more, or math.inf. Got: None"),
        ({"isolation": "thread"}, "isolation is 'process', a Process(...), or None for this"),
        ({"memory_limit": 1 << 28}, "memory_limit is for an actor in a process of its own"),
        ({"isolation": "process", "memory_limit": 1}, "memory_limit (bytes) is an int of 67108864"),
        ({"isolation": "process", "memory_limit": True}, "or more, or None. Got: True"),
    ],
    ids=repr,
)
def test_what_is_refused_is_told_with_what_is_accepted(keywords: dict[str, Any], text: str) -> None:
    refused(lambda: Child(Worker, **keywords), text)


@pytest.mark.parametrize("cls", [3, object, None, "Worker", int, Worker()], ids=repr)
def test_the_first_argument_makes_an_actor(cls: Any) -> None:
    refused(lambda: Child(cls), "Child() takes an actor class first", kind=TypeError)


def test_an_unknown_keyword_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="unexpected keyword argument 'silly'"):
        Child(Worker, silly=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Child(Worker, 1, "b", 3), "does not take these arguments"),
        (lambda: Child(Account, 1, 2), "Account(balance: "),
        (lambda: Child(partial(Worker, 1, "b"), 3), "too many positional arguments"),
    ],
    ids=["class", "attrs", "partial"],
)
def test_arguments_the_actor_does_not_take_are_refused_where_they_are_written(
    make: Any, text: str
) -> None:
    refused(make, text, kind=TypeError)


def test_missing_arguments_are_refused_too() -> None:
    class Needs(Actor):
        def __init__(self, one: int) -> None:
            pass

    refused(lambda: Child(Needs), "missing a required argument: 'one'", kind=TypeError)  # type: ignore[call-arg]
    assert Child(Needs, 1).args == (1,)


def test_a_factory_whose_signature_nobody_knows_is_taken_as_it_is() -> None:
    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

        def __call__(self, number: int) -> Worker:
            return Worker(number)

    class Unknown:
        __signature__ = "nonsense"

        def __call__(self, number: int) -> Worker:
            return Worker(number)

    assert Child(Unhashable(), 1).args == (1,)
    assert Child(Unknown(), 1, 2, 3).args == (1, 2, 3)  # type: ignore[call-arg]
    refused(lambda: Child(Unhashable()), "does not take these arguments", kind=TypeError)  # type: ignore[call-arg]


# -- Backoff


@pytest.mark.parametrize(
    ("arguments", "keywords", "text"),
    [
        ((-1,), {}, "Backoff first is 0 or more. Got: -1"),
        (("1",), {}, "Backoff first is a number. Got: '1'"),
        ((1, -1), {}, "Backoff cap is 0 or more. Got: -1"),
        ((2, 1), {}, "Backoff cap is at least first (2). Got: 1"),
        ((math.nan,), {}, "Got: nan"),
        ((), {"limit": 0}, "Backoff limit is an int of 1 or more, or None. Got: 0"),
        ((), {"limit": 1.5}, "Backoff limit is an int of 1 or more, or None. Got: 1.5"),
        ((), {"jitter": -0.1}, "Backoff jitter is 0 or more. Got: -0.1"),
        ((), {"jitter": 1.1}, "Backoff jitter is a share from 0 to 1. Got: 1.1"),
        ((), {"reset": -1}, "Backoff reset is 0 or more. Got: -1"),
    ],
    ids=repr,
)
def test_a_backoff_is_checked(arguments: Any, keywords: Any, text: str) -> None:
    refused(lambda: Backoff(*arguments, **keywords), text)


def test_a_backoff_may_be_without_end() -> None:
    assert Backoff(1, math.inf, reset=math.inf, limit=3).cap == math.inf


# -- Flags


@pytest.mark.parametrize(
    ("keywords", "text"),
    [
        ({"strategy": "two_for_one"}, "strategy is one of 'one_for_one', 'one_for_all', "),
        ({"max_restarts": -1}, "max_restarts is an int of 0 or more. Got: -1"),
        ({"max_restarts": 1.0}, "max_restarts is an int of 0 or more. Got: 1.0"),
        ({"max_restarts": True}, "max_restarts is an int of 0 or more. Got: True"),
        ({"within": 0}, "within (seconds) is more than 0. Got: 0"),
        ({"within": -1.0}, "within (seconds) is more than 0. Got: -1.0"),
        ({"within": math.inf}, "within (seconds) is a finite number above 0. Got: inf"),
        ({"within": "5"}, "within (seconds) is a number. Got: '5'"),
        ({"auto_shutdown": "always"}, "auto_shutdown is one of 'never', 'any_significant', "),
    ],
    ids=repr,
)
def test_flags_are_checked_where_they_are_written(keywords: dict[str, Any], text: str) -> None:
    refused(lambda: Flags(**keywords), text)
    refused(lambda: type("Wrong", (Supervisor,), keywords), text)
    if "strategy" not in keywords:
        for group in (one_for_one, one_for_all, rest_for_one):
            refused(lambda group=group: group(Child(Worker), **keywords), text)


def test_flags_may_be_fields_of_the_instance() -> None:
    @attrs.define
    class Tuned(Supervisor):
        max_restarts: int = 7  # type: ignore[misc]

    assert Tuned.max_restarts is not None


# -- children


def test_children_without_an_id_are_named_by_their_class_and_numbered_where_it_repeats() -> None:
    children = [Child(Worker), Child(Account), Child(Worker), Worker, Child(Worker, id="Worker-2")]
    ids = [each.id for each in check_children(children)]
    assert ids == ["Worker", "Account", "Worker-3", "Worker-4", "Worker-2"]


def test_two_children_with_one_id_are_refused() -> None:
    refused(
        lambda: check_children([Child(Worker, id="a"), Child(Account, id="a")]),
        "id= of its own: children of one supervisor have different ids. Got: 'a' twice",
        kind=ValueError,
    )


@pytest.mark.parametrize("children", [3, "ab", Child(Worker), None], ids=repr)
def test_children_are_a_list(children: Any) -> None:
    refused(lambda: check_children(children), "children are a list of Child. Got: ")


@pytest.mark.parametrize("child", [3, int, "a", (Worker, 1)], ids=repr)
def test_a_child_is_a_child_or_an_actor_class(child: Any) -> None:
    refused(lambda: check_children([child]), "A child is a Child(...) or an actor class. Got: ")
    refused(lambda: as_child(child), "A child is a Child(...) or an actor class. Got: ")


def test_S6_a_significant_child_needs_a_supervisor_that_heeds_it() -> None:
    child = Child(Worker, restart="transient", significant=True)
    refused(lambda: check_children([child]), "its supervisor has auto_shutdown='never'")
    refused(lambda: one_for_all(child), "its supervisor has auto_shutdown='never'")
    assert check_children([child], "any_significant")[0].significant
    assert one_for_one(child, auto_shutdown="all_significant").kind == "supervisor"
    refused(lambda: check_children([child], "sometimes"), "auto_shutdown is one of")  # type: ignore[arg-type]


@pytest.mark.parametrize("group", [one_for_one, one_for_all, rest_for_one])
def test_a_group_is_a_child_itself(group: Any) -> None:
    child = group(
        Child(Worker),
        Account,
        max_restarts=7,
        within=2.0,
        id="group",
        name="named",
        restart="transient",
        shutdown=9.0,
    )
    assert isinstance(child, Child)
    assert (child.id, child.name, child.restart, child.shutdown) == (
        "group",
        "named",
        "transient",
        9.0,
    )
    assert child.kind == "supervisor"
    assert group(Child(Worker)).label == group.__name__
    assert group().args[1] == ()


def test_groups_without_an_id_can_stand_side_by_side() -> None:
    tree = one_for_one(one_for_all(Worker), one_for_all(Worker), rest_for_one(Worker))
    ids = [each.id for each in tree.args[1]]
    assert ids == ["one_for_all", "one_for_all-2", "rest_for_one"]


def test_pools_and_shards_are_numbered_where_their_class_repeats() -> None:
    specs = [
        Pool(Worker),
        Pool(Worker, max=3),
        Shards(Worker, key="a"),
        Pool(Child(Worker, id="w")),
    ]
    checked = check_children(specs)
    assert [each.id for each in checked] == ["Worker", "Worker-2", "Worker-3", "w"]
    assert [type(each) for each in checked] == [Pool, Pool, Shards, Pool]
    assert [each.label for each in specs] == ["Worker", "Worker", "Worker", "w"]
    assert repr(checked[1]) == repr(specs[1])


async def test_pools_and_shards_that_are_started_have_paths_of_their_own(system: System) -> None:
    specs = [Pool(Worker), Pool(Worker), Shards(Worker, key="a"), Pool(Worker, id="w")]
    paths = [(await system.start(each)).path for each in specs]
    assert len(set(paths)) == 4
    assert all(path.startswith("/supervised/Worker-") for path in paths[:3])
    assert paths[3] == "/supervised/w"
