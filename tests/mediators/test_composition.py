"""W18: one answer made of several components' answers, by a mediator that never waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    CallTimeout,
    Later,
    NoSuchActor,
    Refusal,
    System,
    Unhandled,
    handles,
    introspection,
)
from actors.replies import Held
from actors.testing import dead_letters
from mediators import Mediator, Parts
from mediators.asking import Ask, ask
from supervisors import Child, StopChild

if TYPE_CHECKING:
    from collections.abc import Callable


class Boom(Exception):
    pass


class Hidden(Refusal):
    pass


@attrs.frozen
class GetName(Call[str]):
    id: int


@attrs.frozen
class GetOrders(Call[list[str]]):
    id: int


@attrs.frozen
class Unknown(Call[str]):
    pass


@attrs.frozen
class Page(Call[Any]):
    """Have the mediator's handler run a function, which may compose."""

    function: Callable[[Any], Any]


@attrs.frozen
class PageSoon:
    function: Callable[[Any], Any]


class Profiles(Actor):
    handled: list[int] = []

    @handles
    def name(self, message: GetName) -> str:
        self.handled.append(message.id)
        if message.id < 0:
            raise Boom
        if message.id == 0:
            raise Hidden("nobody")
        return f"name {message.id}"


class Orders(Actor):
    @handles
    async def orders(self, message: GetOrders) -> list[str]:
        await trio.sleep(message.id)
        return [f"order of {message.id}"]


class Site(Mediator):
    components = [Child(Profiles, mailbox=2), Child(Orders, id="orders")]

    def __init__(self) -> None:
        self.made = 0
        self.pages: list[Any] = []

    @handles
    def page(self, message: Page) -> Any:
        return message.function(self)

    @handles
    def soon(self, message: PageSoon) -> Any:
        return message.function(self)

    def both(self, parts: Parts) -> tuple[Any, Any]:
        self.made += 1
        return parts[0], parts[1]

    def keep(self, parts: Parts) -> Parts:
        self.pages.append(parts)
        return parts


@pytest.fixture(autouse=True)
def nothing_handled() -> None:
    Profiles.handled.clear()


async def test_w18_the_parts_are_asked_at_once_and_make_one_answer(
    system: System, both_ways: str
) -> None:
    site = await system.start(Site)
    before = trio.current_time()
    answer = await site.call(
        Page(lambda it: it.compose(GetName(1), GetOrders(2), GetOrders(1), then=list))
    )
    assert answer == ["name 1", ["order of 2"], ["order of 1"]]
    # The two orders are one component's, one after another; the name was there long before.
    assert trio.current_time() - before == pytest.approx(3)


async def test_w18_the_mediator_does_not_wait_for_the_parts(system: System) -> None:
    site = await system.start(Site)
    answers: list[Any] = []

    async def ask_for(id: int) -> None:
        answers.append(
            await site.call(Page(lambda it: it.compose(GetName(id), GetOrders(id), then=it.both)))
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask_for, 3)
        await wait_all_tasks_blocked()
        assert await site.call(Page(lambda it: "meanwhile")) == "meanwhile"
    assert answers == [("name 3", ["order of 3"])]


async def test_w18_without_then_the_answer_is_the_parts(system: System) -> None:
    site = await system.start(Site)
    parts = await site.call(Page(lambda it: it.compose(GetName(1), GetOrders(0))))
    assert isinstance(parts, Parts)
    assert (parts.complete, parts.failures) == (True, ())
    assert parts.messages == (GetName(1), GetOrders(0))
    assert parts.answers == ["name 1", ["order of 0"]]
    assert (len(parts), parts[-1]) == (2, ["order of 0"])
    with pytest.raises(IndexError):
        _ = parts[2]


async def test_w18_no_messages_make_an_answer_at_once(system: System) -> None:
    site = await system.start(Site)
    parts = await site.call(Page(lambda it: it.compose()))
    assert (len(parts), parts.complete) == (0, True)


async def test_w18_failures_say_which_part_and_why(system: System, both_ways: str) -> None:
    site = await system.start(Site)
    parts = await site.call(
        Page(
            lambda it: it.compose(
                GetName(0), GetName(1), GetName(-1), GetOrders(9), Unknown(), timeout=1.0
            )
        )
    )
    assert not parts.complete
    assert parts.answers == [None, "name 1", None, None, None]
    assert [(each.index, each.component, type(each.error)) for each in parts.failures] == [
        (0, "Profiles", Hidden),
        (2, "Profiles", ActorDied),
        (3, "orders", CallTimeout),
        (4, None, Unhandled),
    ]
    assert parts.failures[0].message == GetName(0)
    assert "They handle: GetName, GetOrders. Got: Unknown" in str(parts.failures[3].error)
    assert parts[1] == "name 1"
    with pytest.raises(Hidden):
        _ = parts[0]
    with pytest.raises(CallTimeout):
        _ = parts[-2]


async def test_w18_the_deadline_makes_a_partial_answer(system: System) -> None:
    site = await system.start(Site)
    before = trio.current_time()
    parts = await site.call(Page(lambda it: it.compose(GetName(1), GetOrders(3), timeout=0.5)))
    assert trio.current_time() - before == pytest.approx(0.5)
    assert (parts.answers, parts.complete) == (["name 1", None], False)
    # The late answer vanishes.
    await trio.sleep(5)
    assert site.incarnation == 1


async def test_w18_the_callers_own_deadline_bounds_the_parts(system: System) -> None:
    site = await system.start(Site)
    with pytest.raises(CallTimeout):
        await site.call(
            Page(lambda it: it.compose(GetOrders(3), GetOrders(1), timeout=60, then=it.keep)),
            timeout=0.5,
        )
    await trio.sleep(10)
    orders = system_ref(site, "orders")
    # The second was skipped, its asker having gone; nobody wanted a page.
    assert (await introspection.get_state(site))["pages"] == []
    assert orders.state == "up"


def system_ref(site: Any, id: str) -> Any:
    return site._place.actor.component(id)


async def test_w18_for_a_caller_that_has_gone_no_answer_is_made(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await system.start(Site)

    async def leave() -> None:
        with trio.move_on_after(0.5):
            await site.call(Page(lambda it: it.compose(GetName(1), GetOrders(1), then=it.both)))

    await leave()
    await trio.sleep(2)
    assert (await introspection.get_state(site))["made"] == 0


async def test_w18_a_refusal_of_then_is_the_answer(system: System) -> None:
    def refuse(parts: Parts) -> None:
        raise Hidden("not for you")

    site = await system.start(Site)
    with pytest.raises(Hidden, match="not for you"):
        await site.call(Page(lambda it: it.compose(GetName(1), then=refuse)))
    letters = dead_letters(system)
    site.cast(PageSoon(lambda it: it.compose(GetName(1), then=refuse)))
    await wait_all_tasks_blocked()
    assert len(letters) == 1
    assert site.incarnation == 1


async def test_w18_the_failure_of_a_part_that_leaves_then_is_the_callers(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await system.start(Site)
    with pytest.raises(ActorDied) as caught:
        await site.call(Page(lambda it: it.compose(GetName(-1), GetOrders(0), then=it.both)))
    assert isinstance(caught.value.__cause__, Boom)
    with pytest.raises(Unhandled):
        await site.call(Page(lambda it: it.compose(Unknown(), GetOrders(0), then=it.both)))
    site.cast(PageSoon(lambda it: it.compose(Unknown(), GetOrders(0), then=it.both)))
    await wait_all_tasks_blocked()
    assert site.incarnation == 1

    # Without that the crash of a component would be the mediator's as well.
    monkeypatch.setattr("mediators.composition.ActorError", Hidden)
    with pytest.raises(ActorDied):
        await site.call(Page(lambda it: it.compose(GetName(-1), GetOrders(0), then=it.both)))
    await wait_all_tasks_blocked()
    assert site.incarnation == 2


async def test_w18_any_other_exception_of_then_is_a_crash_of_the_mediator(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(parts: Parts) -> None:
        raise Boom

    site = await system.start(Site)
    with pytest.raises(ActorDied) as caught:
        await site.call(Page(lambda it: it.compose(GetName(1), then=fail)))
    assert isinstance(caught.value.__cause__, Boom)
    await wait_all_tasks_blocked()
    assert site.incarnation == 2
    [report] = [each.report for each in caplog.records if hasattr(each, "report")]
    assert (report.ref, type(report.message)) == (site, Page)


async def test_w18_then_runs_in_a_turn_of_the_mediator(system: System) -> None:
    seen: list[Any] = []
    site = await system.start(Site)
    probe = system.probe()

    def look(it: Any) -> Callable[[Parts], str]:
        def then(parts: Parts) -> str:
            seen.append((type(it.envelope.message), it.envelope.sender))
            probe.ref.cast(parts[0])
            return "done"

        return then

    assert await site.call(Page(lambda it: it.compose(GetName(1), then=look(it)))) == "done"
    assert seen == [(Page, None)]
    await probe.expect(str)


async def test_w18_then_may_compose_again(system: System) -> None:
    def page(it: Any) -> Later[Any]:
        def more(parts: Parts) -> Any:
            return it.compose(GetOrders(int(parts[0][-1])), then=lambda last: last[0])

        later: Later[Any] = it.compose(GetName(2), then=more)
        return later

    site = await system.start(Site)
    assert await site.call(Page(page)) == ["order of 2"]


async def test_w18_an_async_handler_may_compose_too(system: System) -> None:
    class Slow(Site):
        @handles
        async def page(self, message: Page) -> Any:
            await trio.sleep(1)
            return message.function(self)

    site = await system.start(Slow)
    answer = await site.call(Page(lambda it: it.compose(GetName(1), GetOrders(0), then=it.both)))
    assert answer == ("name 1", ["order of 0"])


async def test_w18_a_part_waits_for_room_in_a_full_component(system: System) -> None:
    site = await system.start(Site)
    profiles = system_ref(site, "Profiles")
    await introspection.suspend(profiles)
    numbers = range(1, 6)
    parts: list[Any] = []

    async def call() -> None:
        parts.append(
            await site.call(Page(lambda it: it.compose(*map(GetName, numbers), timeout=3)))
        )

    async with trio.open_nursery() as nursery:
        nursery.start_soon(call)
        await wait_all_tasks_blocked()
        await introspection.resume(profiles)
    assert parts[0].answers == [f"name {number}" for number in numbers]
    assert Profiles.handled == list(numbers)


async def test_w18_a_part_for_a_stopped_component_fails_at_once(system: System) -> None:
    site = await system.start(Site)
    await site.call(StopChild("Profiles"))
    parts = await site.call(Page(lambda it: it.compose(GetName(1), timeout=None)))
    assert [type(each.error) for each in parts.failures] == [NoSuchActor]


async def test_k9_what_a_driver_asked_for_before_its_crash_is_not_handled(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crash_while_asking() -> None:
        site = await system.start(Site)
        profiles = system_ref(site, "Profiles")
        await introspection.suspend(profiles)

        async def call() -> None:
            with pytest.raises(ActorDied):
                await site.call(Page(lambda it: it.compose(GetName(7), then=it.both)))

        def boom(it: Any) -> None:
            raise Boom

        async with trio.open_nursery() as nursery:
            nursery.start_soon(call)
            await wait_all_tasks_blocked()
            site.cast(PageSoon(boom))
        await introspection.resume(profiles)
        await wait_all_tasks_blocked()
        assert site.incarnation == 2

    await crash_while_asking()
    assert Profiles.handled == []

    # Without being held by the driver it is.
    hold = Held.hold
    monkeypatch.setattr(
        Held, "hold", lambda held, slot: None if isinstance(slot, Ask) else hold(held, slot)
    )
    await crash_while_asking()
    assert Profiles.handled == [7]


async def test_compose_refuses_what_it_cannot_do(system: System) -> None:
    site = await system.start(Site)

    def attempt(*args: Any, **kwargs: Any) -> Callable[[Any], str]:
        def compose(it: Any) -> str:
            with pytest.raises((TypeError, ValueError)) as caught:
                it.compose(*args, **kwargs)
            return str(caught.value)

        return compose

    assert "compose() takes Calls" in await site.call(Page(attempt("no call")))
    assert "then=" in await site.call(Page(attempt(GetName(1), then=3)))
    assert "timeout=" in await site.call(Page(attempt(GetName(1), timeout=-1)))

    class Starts(Mediator):
        def on_start(self) -> None:
            with pytest.raises(RuntimeError, match="in the handler of a message"):
                self.compose(GetName(1))

    await system.start(Starts)


# -- the slot underneath


async def test_an_ask_tells_its_answer_once(system: System) -> None:
    site = await system.start(Site)
    told: list[Ask] = []
    home = site._place
    target = system_ref(site, "Profiles")._place
    first = ask(home, target, GetName(1), None, told.append, key="a key", correlation=17)
    assert told == []
    await wait_all_tasks_blocked()
    assert told == [first]
    assert (first.value, first.error, first.key, first.cell) == ("name 1", None, "a key", None)
    first.reply("again")
    first.drop()
    assert (told, first.value) == ([first], "name 1")


async def test_an_ask_carries_sender_correlation_and_key(system: System) -> None:
    seen: list[Any] = []

    class Looks(Actor):
        @handles
        def name(self, message: GetName) -> Any:
            seen.append(self.envelope)

    class Has(Mediator):
        components = [Looks]

    has = await system.start(Has)
    home = has._place
    ask(home, system_ref(has, "Looks")._place, GetName(1), None, lambda _: None, key="k/1/0")
    await wait_all_tasks_blocked()
    [envelope] = seen
    assert (envelope.sender, envelope.key, envelope.causation_id) == (has, "k/1/0", None)
    assert envelope.correlation_id == envelope.id


async def test_an_ask_that_is_dropped_tells_nobody_and_is_not_handled(system: System) -> None:
    site = await system.start(Site)
    told: list[Ask] = []
    target = system_ref(site, "Profiles")._place
    dropped = ask(site._place, target, GetName(1), trio.current_time() + 9, told.append)
    dropped.drop()
    await wait_all_tasks_blocked()
    assert (told, Profiles.handled, dropped.cell) == ([], [], None)


async def test_an_ask_past_its_deadline_is_a_call_timeout(system: System) -> None:
    site = await system.start(Site)
    told: list[Ask] = []
    target = system_ref(site, "orders")._place
    ask(site._place, target, GetOrders(5), trio.current_time() + 2.0, told.append)
    await trio.sleep(2.5)
    [late] = told
    assert isinstance(late.error, CallTimeout)
    assert "no answer within 2.0 s" in str(late.error)
    await trio.sleep(9)
    assert len(told) == 1
