"""W18, K21: mediators in mediators: events rise, messages descend, each subtree falls alone."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    Exit,
    NoSuchActor,
    Ref,
    StartFailed,
    System,
    Unhandled,
    handles,
    introspection,
    open_system,
)
from actors.place import Place
from actors.testing import dead_letters
from mediators import Mediator, Workflow
from mediators.routing import MediatorRoutes, forward, plan
from supervisors import Child, StopChild, WhichChildren, one_for_one

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisors.testing import StartSupervised


class Boom(Exception):
    pass


@attrs.frozen
class Typed:
    """An event the page handles."""

    text: str


@attrs.frozen
class LoggedOut:
    """An event only the site handles."""


@attrs.frozen
class Nobodys:
    """An event nobody handles."""


@attrs.frozen
class SetTitle(Call[str]):
    text: str


@attrs.frozen
class Fill(Call[str]):
    text: str


@attrs.frozen
class DoHeader(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class DoPage(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class DoSite(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class PageOnly(Call[str]):
    pass


LOG: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    LOG.clear()


def boom(actor: Any) -> None:
    raise Boom


class Logged:
    """Tells of starts and stops."""

    def on_start(self) -> None:
        LOG.append(f"+{type(self).__name__}")

    def on_stop(self, exit: Exit) -> None:
        LOG.append(f"-{type(self).__name__}")


class Header(Logged, Actor):
    @handles
    def title(self, message: SetTitle) -> str:
        return f"title {message.text}"

    @handles
    def do(self, message: DoHeader) -> Any:
        return message.function(self)


class Form(Logged, Actor):
    @handles
    def fill(self, message: Fill) -> str:
        self.notify(Typed(message.text))
        return message.text


class Page(Logged, Mediator):
    components = [Header, Form]

    def __init__(self) -> None:
        self.typed: list[Any] = []

    @handles
    def on_typed(self, event: Typed) -> None:
        self.typed.append(event.text)

    @handles
    def page_only(self, message: PageOnly) -> str:
        return "page"

    @handles
    def do(self, message: DoPage) -> Any:
        return message.function(self)


class Footer(Logged, Actor):
    pass


class Site(Logged, Mediator):
    components = [Child(Page, id="page"), Footer]

    def __init__(self) -> None:
        self.logouts: list[Any] = []

    @handles
    def on_logout(self, event: LoggedOut) -> None:
        self.logouts.append(self.envelope.sender)

    @handles
    def do(self, message: DoSite) -> Any:
        return message.function(self)


class World(Mediator):
    components = [Child(Site, id="site")]


async def refs(site: Ref[Any]) -> tuple[Ref[Any], Ref[Any]]:
    """The page and its header."""
    page = await site.call(DoSite(lambda it: it.component("page")))
    return page, await page.call(DoPage(lambda it: it.component(Header)))


async def test_w18_events_rise_to_the_nearest_mediator_that_handles_them(
    system: System, both_ways: str
) -> None:
    site = await system.start(Site, name="site")
    page, header = await refs(site)
    assert await site.call(Fill("hello")) == "hello"
    await site.call(DoHeader(lambda it: it.notify(LoggedOut())))
    await wait_all_tasks_blocked()
    assert (await introspection.get_state(page))["typed"] == ["hello"]
    assert (await introspection.get_state(site))["logouts"] == [header]


async def test_w18_a_mediators_own_events_rise_past_itself(system: System) -> None:
    site = await system.start(Site)
    page, _ = await refs(site)
    await page.call(DoPage(lambda it: it.notify(Typed("mine"))))
    await page.call(DoPage(lambda it: it.notify(LoggedOut())))
    await wait_all_tasks_blocked()
    assert (await introspection.get_state(page))["typed"] == []
    assert (await introspection.get_state(site))["logouts"] == [page]


async def test_k21_an_event_nobody_handles_is_a_dead_letter_at_the_top(system: System) -> None:
    letters = dead_letters(system)
    site = await system.start(Site)
    await site.call(DoHeader(lambda it: it.notify(Nobodys())))
    await wait_all_tasks_blocked()
    assert [(each.message, each.reason) for each in letters] == [
        (Nobodys(), "an event no parent has a handler for")
    ]


async def test_w18_an_event_is_not_forwarded_to_a_component(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Echo(Actor):
        @handles
        def typed(self, event: Typed) -> None:
            LOG.append(event.text)
            if len(LOG) < 5:
                self.notify(event)

    class Room(Mediator):
        components = [Echo]

    room = await system.start(Room)
    letters = dead_letters(system)
    room.cast(Typed("hello"))
    await wait_all_tasks_blocked()
    assert (LOG, len(letters)) == (["hello"], 1)

    # If routes to components counted, the event would come back to who reported it.
    to_echo = partial(forward, id="Echo")
    monkeypatch.setattr(MediatorRoutes, "_function", lambda routes, message: to_echo)
    monkeypatch.setattr(MediatorRoutes, "own", lambda routes, message: routes[message])
    room = await system.start(Room)
    room.cast(Typed("again"))
    await wait_all_tasks_blocked()
    assert LOG.count("again") == 4


async def test_k21_a_supervisor_between_passes_events_up(system: System) -> None:
    class Has(Mediator):
        components = [one_for_one(Child(Header), id="group")]

        def __init__(self) -> None:
            self.seen: list[Any] = []

        @handles
        def typed(self, event: Typed) -> None:
            self.seen.append(event.text)

    has = await system.start(Has)
    group = has._place.actor.component("group")
    [info] = await group.call(WhichChildren())
    await info.ref.call(DoHeader(lambda it: it.notify(Typed("deep"))))
    await wait_all_tasks_blocked()
    assert (await introspection.get_state(has))["seen"] == ["deep"]


async def test_k21_an_event_waits_for_a_mediator_that_is_about_to_return(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    class LastWords(Page):
        def on_stop(self, exit: Exit) -> None:
            # Handled when this driver has ended and its supervisor has not decided yet.
            self.component(Header).cast(DoHeader(report))

    def report(header: Any) -> None:
        states.append(header.parent.state)
        header.notify(Typed("meanwhile"))

    async def typed_after_crash() -> Any:
        page = await system.start(LastWords)
        with pytest.raises(ActorDied):
            await page.call(DoPage(boom))
        await wait_all_tasks_blocked()
        return (await introspection.get_state(page))["typed"]

    states: list[str] = []
    assert await typed_after_crash() == ["meanwhile"]

    # Without it the event rises past the mediator.
    handles = Place.handles
    monkeypatch.setattr(Place, "handles", lambda it, cls: it.running and handles(it, cls))
    assert await typed_after_crash() == []
    assert states == ["stopping", "stopping"]


async def test_w18_messages_descend_through_every_level(system: System, both_ways: str) -> None:
    world = await system.start(World, name="world")
    assert await world.call(SetTitle("x")) == "title x"
    assert await world.call(PageOnly()) == "page"
    path = await world.call(DoHeader(lambda it: (it.ref.path, it.envelope.sender)))
    assert path == ("/world/site/page/Header", None)
    with pytest.raises(Unhandled, match="LoggedOut.*SetTitle|SetTitle.*LoggedOut"):
        await world.call(type("Odd", (Call,), {})())


async def test_w18_parents_and_ancestors_through_every_level(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    world = await system.start(World, name="world")
    site = await world.call(DoSite(lambda it: (it.ref, it.parent)))
    assert site[1] == world
    page = await world.call(DoPage(lambda it: (it.ref, it.parent)))
    assert page[1] == site[0]
    header = await world.call(DoHeader(lambda it: (it.ref, it.parent)))
    assert header[1] == page[0]
    with pytest.raises(ActorDied):
        await world.call(DoHeader(boom))
    [report] = [each.report for each in caplog.records if hasattr(each, "report")]
    assert [each.path for each in report.ancestors] == [
        "/world/site/page",
        "/world/site",
        "/world",
    ]


async def test_w18_start_and_stop_order_through_every_level(system: System) -> None:
    world = await system.start(World)
    assert LOG == ["+Header", "+Form", "+Page", "+Footer", "+Site"]
    LOG.clear()
    await world.stop()
    assert LOG == ["-Site", "-Footer", "-Page", "-Form", "-Header"]


async def test_w18_the_crash_of_an_inner_driver_leaves_everybody_else(system: System) -> None:
    site = await system.start(Site)
    page, header = await refs(site)
    with pytest.raises(ActorDied):
        await site.call(DoPage(boom))
    await wait_all_tasks_blocked()
    assert (page.incarnation, header.incarnation, site.incarnation) == (2, 1, 1)
    assert await site.call(PageOnly()) == "page"


async def test_w18_an_inner_subtree_that_gives_up_is_restarted_with_backoff(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    site = await system.start(Site)
    page, header = await refs(site)
    for _ in range(4):
        with pytest.raises(ActorDied):
            await site.call(DoPage(boom))
    await wait_all_tasks_blocked()
    assert any("/page gave up" in each.getMessage() for each in caplog.records)
    assert (page.state, header.state) == ("restarting", "gone")
    # What comes meanwhile waits behind the ref.
    assert await site.call(PageOnly()) == "page"
    assert (page.state, header.state) == ("up", "up")
    assert (site.incarnation, page.incarnation, header.incarnation) == (1, 5, 2)
    again = await refs(site)
    assert again == (page, header)
    assert await site.call(SetTitle("y")) == "title y"


async def test_k13_the_queue_of_an_inner_mediator_ends_with_its_subtree(
    system: System,
) -> None:
    site = await system.start(Site)
    page, _ = await refs(site)
    await introspection.suspend(page)
    letters = dead_letters(system)
    for _ in range(5):
        page.cast(DoPage(boom))
    page.cast(Typed("queued"))
    await introspection.resume(page)
    await wait_all_tasks_blocked()
    assert [type(each.message) for each in letters] == [DoPage, Typed]
    page.cast(Typed("later"))
    assert await site.call(PageOnly()) == "page"
    assert (await introspection.get_state(page))["typed"] == ["later"]


async def test_w18_an_inner_mediator_that_is_done_is_stopped_by_its_own_spec(
    system: System,
) -> None:
    class Outer(Mediator):
        components = [Child(Page, restart="transient"), Footer]

    outer = await system.start(Outer)
    outer.cast(DoPage(lambda it: it.stop()))
    await wait_all_tasks_blocked()
    [page, footer, _] = await outer.call(WhichChildren())
    assert (page.kind, page.state, footer.state) == ("supervisor", "stopped", "up")
    with pytest.raises(NoSuchActor):
        await outer.call(PageOnly())


async def test_w18_an_outer_mediator_stops_an_inner_one_by_its_id(system: System) -> None:
    site = await system.start(Site)
    page, header = await refs(site)
    await site.call(StopChild("page"))
    assert (page.state, header.state) == ("stopped", "gone")
    assert LOG[-3:] == ["-Page", "-Form", "-Header"]


async def test_w18_two_inner_mediators_for_one_class_are_refused_at_the_start(
    system: System,
) -> None:
    class Other(Mediator):
        def __init__(self) -> None:
            self.components = [Form]

    class Clash(Mediator):
        components = [Page, Other]

    with pytest.raises(StartFailed, match=r"two components that handle Fill.*'Page' and 'Other'"):
        await system.start(Clash)
    known = plan(Other).messages
    assert list(known) == [Fill]


async def test_w18_the_workflows_of_an_inner_mediator_are_its_offers() -> None:
    @attrs.define
    class PlaceOrder(Workflow[str]):
        number: int

        @property
        def id(self) -> str:
            return f"order-{self.number}"

        async def run(self) -> str:
            return await self.step(Fill(self.id))

    class Inner(Mediator):
        components = [Form]
        workflows = [PlaceOrder]

    class Outer(Mediator):
        components = [Inner]

    async with open_system() as system:
        outer = await system.start(Outer)
        assert await outer.call(PlaceOrder(7)) == "order-7"


async def test_w18_three_levels_survive_the_outermost_ones_restart(
    start_supervised: StartSupervised,
) -> None:
    site = await start_supervised(Child(Site))
    page, header = await refs(site)
    for _ in range(4):
        with pytest.raises(ActorDied):
            await site.call(DoSite(boom))
    await wait_all_tasks_blocked()
    assert await refs(site) == (page, header)
    assert (site.incarnation, page.incarnation, header.incarnation) == (5, 2, 2)
    assert await site.call(SetTitle("z")) == "title z"
