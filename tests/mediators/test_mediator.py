"""W18: a mediator, its components, its driver and the one ref that stands for them."""

from __future__ import annotations

import logging
import subprocess
import sys
from functools import partial
from math import inf
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from actors import (
    Actor,
    ActorDied,
    Call,
    CallCycle,
    CallTimeout,
    Crashed,
    Down,
    Exit,
    Idle,
    Killed,
    Later,
    MailboxFull,
    Normal,
    NoSuchActor,
    Ref,
    Refusal,
    StartFailed,
    StateMachine,
    System,
    Unhandled,
    handles,
    introspection,
    open_system,
)
from actors.telemetry import ActorStarted, ActorStopped
from actors.testing import dead_letters, leftovers, no_leaks
from mediators import Mediator, Workflow
from mediators.routing import MediatorRoutes
from mediators.tree import MediatorTree
from supervisors import (
    Backoff,
    Child,
    CountChildren,
    DeleteChild,
    DynamicSupervisor,
    GetChild,
    RestartChild,
    RestartLimitExceeded,
    StartChild,
    StopChild,
    Supervisor,
    WhichChildren,
    one_for_one,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from supervisors.testing import StartSupervised


class Boom(Exception):
    pass


class OutOfStock(Refusal):
    pass


@attrs.frozen
class Do(Call[Any]):
    """Have the mediator's driver run a function."""

    function: Callable[[Any], object]


@attrs.frozen
class Charge(Call[str]):
    amount: int


@attrs.frozen
class BigCharge(Charge):
    pass


@attrs.frozen
class DoPayments(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class Reserve(Call[str]):
    item: str


@attrs.frozen
class DoInventory(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class Paid:
    amount: int


@attrs.frozen
class Note:
    text: str


def boom(actor: Any) -> None:
    raise Boom


LOG: list[str] = []


@pytest.fixture(autouse=True)
def empty_log() -> None:
    LOG.clear()


class Payments(Actor):
    async def on_start(self) -> None:
        LOG.append("payments up")

    async def on_stop(self, exit: Exit) -> None:
        LOG.append("payments down")

    @handles
    def charge(self, message: Charge) -> str:
        self.notify(Paid(message.amount))
        sender = self.envelope.sender
        return f"{message.amount} for {sender.path if sender else 'nobody'}"

    @handles
    def do(self, message: DoPayments) -> Any:
        return message.function(self)


class Inventory(Actor):
    async def on_start(self) -> None:
        LOG.append("inventory up")

    async def on_stop(self, exit: Exit) -> None:
        LOG.append("inventory down")

    @handles
    def reserve(self, message: Reserve) -> str:
        if message.item == "moon":
            raise OutOfStock(message.item)
        return message.item

    @handles
    async def do(self, message: DoInventory) -> Any:
        result = message.function(self)
        return await result if hasattr(result, "__await__") else result

    @handles
    def note(self, message: Note) -> None:
        LOG.append(message.text)


class Shop(Mediator):
    components = [Child(Payments), Child(Inventory, id="stock")]

    def __init__(self) -> None:
        self.paid = 0

    async def on_start(self) -> None:
        LOG.append("driver up")

    async def on_stop(self, exit: Exit) -> None:
        LOG.append(f"driver down: {exit}")

    @handles
    def on_paid(self, event: Paid) -> None:
        self.paid += event.amount

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)


async def settle(seconds: float = 0.2) -> None:
    """Let paced restarts happen."""
    await trio.sleep(seconds)
    await wait_all_tasks_blocked()


# -- the ref


async def test_w18_a_mediators_ref_reaches_its_driver(system: System, both_ways: str) -> None:
    shop = await system.start(Shop, name="shop")
    assert await shop.call(Do(lambda driver: type(driver) is Shop and driver.ref)) == shop
    assert system.whereis("shop") == shop
    assert (shop.name, shop.path) == ("shop", "/shop")
    assert await introspection.get_state(shop) == {"paid": 0}
    assert repr(shop) == "<Ref Shop /shop>"


async def test_w18_the_driver_is_every_components_parent(system: System, both_ways: str) -> None:
    shop = await system.start(Shop, name="shop")
    parent, path = await shop.call(DoPayments(lambda it: (it.parent, it.ref.path)))
    assert (parent, path) == (shop, "/shop/Payments")
    assert await shop.call(Do(lambda driver: driver.parent)) is None


async def test_w18_a_mediators_own_parent_is_the_supervisor_above_its_subtree(
    system: System,
) -> None:
    class Bank(Supervisor):
        def children(self) -> list[Any]:
            return [Child(Shop, name="shop")]

    async with open_system(Bank) as own:
        shop = own.whereis("shop")
        assert shop is not None
        parent = await shop.call(Do(lambda driver: driver.parent))
        [info] = await parent.call(WhichChildren())
        assert (info.ref, info.kind, info.id) == (shop, "supervisor", "Shop")
        assert info.spec.shutdown == inf
        assert shop.path == "/Bank-1/Shop" or shop.path.endswith("/Shop")


async def test_w18_the_driver_is_the_sender_of_what_it_sends(system: System) -> None:
    shop = await system.start(Shop, name="shop")
    probe = system.probe()
    senders: list[Any] = []
    probe.answer(Reserve, lambda message: senders.append(probe.envelope.sender) or "")
    await shop.call(Do(lambda driver: probe.ref.cast(Reserve("egg"))))
    await probe.expect(Reserve)
    assert senders == [shop]


async def test_w18_components_start_first_and_stop_last_in_reverse(system: System) -> None:
    shop = await system.start(Shop)
    assert LOG == ["payments up", "inventory up", "driver up"]
    LOG.clear()
    assert await shop.stop()
    assert LOG == ["driver down: Normal()", "inventory down", "payments down"]
    assert shop.state == "gone"
    assert await shop.wait() == Normal()
    assert not await shop.stop()


async def test_w18_a_supervisors_stop_reaches_the_whole_subtree(
    start_supervised: StartSupervised,
) -> None:
    shop = await start_supervised(Child(Shop, id="shop"))
    LOG.clear()
    await start_supervised.supervisor.call(StopChild("shop"))
    assert LOG == ["driver down: Shutdown(reason=None)", "inventory down", "payments down"]
    assert shop.state == "stopped"
    with pytest.raises(NoSuchActor):
        await shop.call(Reserve("egg"))
    await start_supervised.supervisor.call(RestartChild("shop"))
    assert shop.state == "up"
    assert await shop.call(Reserve("egg")) == "egg"


async def test_w18_a_killed_mediator_says_no_last_words(system: System) -> None:
    shop = await system.start(Shop)
    await wait_all_tasks_blocked()
    LOG.clear()
    await shop.stop(Killed())
    assert LOG == []
    assert await shop.wait() == Killed()


async def test_w18_the_stop_of_a_mediator_has_ended_when_it_returns(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = await system.start(Shop)
    payments = await shop.call(Do(lambda driver: driver.component(Payments)))
    await shop.stop()
    assert payments.state == "gone"

    # Without the way from the driver to its subtree only the driver has ended by then.
    from actors.place import Place

    shop = await system.start(Shop)
    payments = await shop.call(Do(lambda driver: driver.component(Payments)))
    with monkeypatch.context() as removed:
        removed.setattr(Place, "house", property(lambda place: place))
        await shop.stop()
        assert payments.state != "gone"


async def test_w18_the_orderly_end_of_the_driver_is_the_end_of_the_subtree(
    start_supervised: StartSupervised,
) -> None:
    shop = await start_supervised(Child(Shop, id="shop", restart="transient"))
    payments = await shop.call(Do(lambda driver: driver.component(Payments)))
    shop.cast(Do(lambda driver: driver.stop()))
    assert await shop.wait() == Normal()
    await wait_all_tasks_blocked()
    assert (payments.state, shop.state) == ("gone", "stopped")
    [info] = await start_supervised.supervisor.call(WhichChildren())
    assert info.state == "stopped"


async def test_k16_a_permanent_mediator_that_is_stopped_comes_back(
    start_supervised: StartSupervised,
) -> None:
    shop = await start_supervised(Child(Shop))
    payments = await shop.call(Do(lambda driver: driver.component(Payments)))
    await shop.stop()
    await wait_all_tasks_blocked()
    assert (shop.state, shop.incarnation, payments.incarnation) == ("up", 2, 2)
    assert await shop.call(Reserve("egg")) == "egg"


async def test_w18_a_dynamic_supervisor_finds_a_mediator_by_its_ref(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = await system.start(DynamicSupervisor)
    shop = await many.call(StartChild(Child(Shop)))
    other = await many.call(StartChild(Child(Shop)))
    assert (await many.call(GetChild(shop))).ref == shop
    await many.call(StopChild(shop))
    assert (shop.state, other.state) == ("gone", "up")


async def test_w18_whereis_gives_the_driver_from_the_start_of_its_components() -> None:
    class Early(Actor):
        async def on_start(self) -> None:
            found.append(self.system.whereis("shop"))
            assert self.parent is not None
            self.parent.cast(Note("early"))

    class Waits(Mediator):
        components = [Early]

        @handles
        def note(self, message: Note) -> None:
            LOG.append(message.text)

    found: list[Any] = []
    async with open_system() as system:
        shop = await system.start(Child(Waits, name="shop"))
        assert found == [shop]
        await wait_all_tasks_blocked()
        assert LOG == ["early"]


async def test_k11_a_component_that_calls_its_mediator_while_both_start_is_told_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Impatient(Actor):
        async def on_start(self) -> None:
            assert self.parent is not None
            await self.parent.call(Reserve("egg"))

    class Waits(Mediator):
        components = [Inventory, Impatient]

    async with open_system() as system:
        with pytest.raises(StartFailed, match="Impatient") as caught:
            await system.start(Waits)
        assert isinstance(_root_of(caught.value), CallCycle)

        # Without a look at what holds the driver up the call waits for its deadline.
        monkeypatch.setattr("actors.turns.waits_of", waits_of_the_place_itself)
        with pytest.raises(StartFailed) as caught:
            await system.start(Waits)
        assert isinstance(_root_of(caught.value), CallTimeout)


def waits_of_the_place_itself(place: Any) -> list[Any]:
    waits = list(place.turn.waits or ()) if place.turn is not None else []
    if place.stage is not None and place.stage.waiting is not None:
        waits.append(place.stage.waiting)
    return waits


def _root_of(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


async def test_k11_a_driver_does_not_wait_for_its_own_end(system: System) -> None:
    class Stops(Mediator):
        @handles
        async def do(self, message: Do) -> Any:
            await self.ref.stop()

    stops = await system.start(Stops)
    with pytest.raises(ActorDied) as caught:
        await stops.call(Do(boom))
    assert isinstance(caught.value.__cause__, CallCycle)


async def test_telemetry_knows_one_actor_behind_a_mediators_ref(system: System) -> None:
    seen: list[Any] = []
    system.telemetry.listen(seen.append, ActorStarted)
    system.telemetry.listen(seen.append, ActorStopped)
    shop = await system.start(Shop)
    await shop.stop()
    assert [type(each).__name__ for each in seen if each.ref == shop] == [
        "ActorStarted",
        "ActorStopped",
    ]


# -- crashes


async def test_w18_the_drivers_crash_leaves_the_components(
    start_supervised: StartSupervised,
) -> None:
    shop = await start_supervised(Child(Shop))
    payments = await shop.call(Do(lambda driver: driver.component(Payments)))
    await shop.call(Charge(1))
    with pytest.raises(ActorDied):
        await shop.call(Do(boom))
    await wait_all_tasks_blocked()
    assert (shop.incarnation, payments.incarnation, payments.state) == (2, 1, "up")
    assert await introspection.get_state(shop) == {"paid": 0}


async def test_w18_a_components_crash_leaves_the_driver_and_the_others(
    start_supervised: StartSupervised,
) -> None:
    shop = await start_supervised(Child(Shop))
    stock = await shop.call(Do(lambda driver: driver.component("stock")))
    payments = await shop.call(Do(lambda driver: driver.component(Payments)))
    with pytest.raises(ActorDied):
        await shop.call(DoPayments(boom))
    await settle()
    assert (payments.incarnation, stock.incarnation, shop.incarnation) == (2, 1, 1)


async def test_w18_components_restart_with_backoff_and_do_not_count(
    start_supervised: StartSupervised,
) -> None:
    shop = await start_supervised(Child(Shop))
    for _ in range(20):
        with pytest.raises(ActorDied):
            await shop.call(DoPayments(boom), timeout=None)
    payments = await shop.call(Do(lambda driver: driver.component(Payments)))
    await wait_all_tasks_blocked()
    assert payments.state == "restarting"
    assert (shop.incarnation, payments.incarnation) == (1, 20)
    await settle(40)
    assert payments.incarnation == 21


async def test_w18_a_component_keeps_the_backoff_and_the_restart_it_was_given() -> None:
    slow = Backoff(7.0, 8.0)

    class Given(Mediator):
        components = [Child(Payments, backoff=slow), Child(Inventory, restart="temporary")]

    async with open_system() as system:
        given = await system.start(Given)
        specs = [info.spec for info in await given.call(WhichChildren())]
        assert [each.backoff for each in specs] == [slow, Backoff(0.1, 30.0), None]
        assert [each.restart for each in specs] == ["permanent", "temporary", "transient"]


async def test_w18_the_drivers_crashes_count_against_the_limit(
    start_supervised: StartSupervised, caplog: pytest.LogCaptureFixture
) -> None:
    shop = await start_supervised(Child(Shop, backoff=Backoff(1.0)))
    for _ in range(4):
        with pytest.raises(ActorDied):
            await shop.call(Do(boom))
    await wait_all_tasks_blocked()
    assert any("gave up" in each.getMessage() for each in caplog.records)
    assert shop.state == "restarting"
    await settle(1.5)
    assert (shop.state, shop.incarnation) == ("up", 5)


async def test_w18_max_restarts_and_within_are_the_mediators_own() -> None:
    class Strict(Shop):
        max_restarts, within = 0, 9.0

    with pytest.raises(RestartLimitExceeded, match=r"more than 0 restarts within 9\.0 s"):
        async with open_system(Strict) as system:
            [place] = system.root.places
            with pytest.raises(ActorDied):
                await place.ref.call(Do(boom))
            await trio.sleep_forever()

    with pytest.raises(ValueError, match="max_restarts is an int"):
        type("Wrong", (Mediator,), {"max_restarts": -1})


async def test_k12_the_drivers_queue_survives_its_crash_and_not_its_supervisors(
    system: System, start_supervised: StartSupervised
) -> None:
    shop = await start_supervised(Child(Shop, backoff=Backoff(1.0)))
    await introspection.suspend(shop)
    shop.cast(Do(boom))
    shop.cast(Charge(5))
    await introspection.resume(shop)
    await wait_all_tasks_blocked()
    assert shop.incarnation == 2
    assert await introspection.get_state(shop) == {"paid": 5}

    await introspection.suspend(shop)
    for _ in range(5):
        shop.cast(Do(boom))
    letters = dead_letters(system)
    await introspection.resume(shop)
    await wait_all_tasks_blocked()
    assert [type(letter.message) for letter in letters] == [Do, Do]
    # The place is waited for, and so is what is sent now.
    assert shop.state == "restarting"
    assert await shop.call(Reserve("later")) == "later"


async def queue_outlives(shop: Ref[Any], end: Callable[[Ref[Any]], Awaitable[object]]) -> None:
    """What waits when a mediator is brought to its end is answered by its next incarnation."""
    answers: list[str] = []

    async def reserve(item: str) -> None:
        answers.append(await shop.call(Reserve(item), timeout=60))

    async with trio.open_nursery() as nursery:
        for item in "abc":
            nursery.start_soon(reserve, item)
        await wait_all_tasks_blocked()
        await end(shop)
    assert sorted(answers) == ["a", "b", "c"] and shop.incarnation == 2


async def queue_outlives_an_orderly_end(start_supervised: StartSupervised) -> None:
    shop = await start_supervised(Shop)
    await introspection.suspend(shop)
    await queue_outlives(shop, Ref.stop)


async def test_k12_the_drivers_queue_survives_an_orderly_end(
    start_supervised: StartSupervised,
) -> None:
    await queue_outlives_an_orderly_end(start_supervised)


class Leaves(Mediator):
    """Ends itself when it is told to, and is started again."""

    @handles
    def reserve(self, msg: Reserve) -> str:
        return msg.item

    @handles
    def leave(self, msg: Paid) -> None:
        self.stop()


async def test_k12_the_drivers_queue_survives_its_own_stop(
    start_supervised: StartSupervised,
) -> None:
    leaves = await start_supervised(Leaves)
    await introspection.suspend(leaves)
    leaves.cast(Paid(1))
    await queue_outlives(leaves, introspection.resume)


async def test_k12_without_its_place_kept_the_drivers_queue_would_be_lost(
    start_supervised: StartSupervised, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(MediatorTree, "_vacated", Supervisor._vacated)
    with pytest.raises(ExceptionGroup) as caught:
        await queue_outlives_an_orderly_end(start_supervised)
    assert caught.group_contains(NoSuchActor)


async def test_k13_names_and_places_return_with_the_subtree(
    start_supervised: StartSupervised, system: System
) -> None:
    shop = await start_supervised(Child(Shop, name="shop"))
    payments = await shop.call(Do(lambda driver: driver.component(Payments)))
    for _ in range(4):
        with pytest.raises(ActorDied):
            await shop.call(Do(boom))
    await wait_all_tasks_blocked()
    assert system.whereis("shop") == shop
    assert (shop.incarnation, payments.incarnation) == (5, 2)
    assert await shop.call(Do(lambda driver: driver.component(Payments))) == payments


async def test_a_report_of_the_driver_names_each_ancestor_once(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    shop = await system.start(Shop, name="shop")
    for message in (Do(boom), DoPayments(boom)):
        with pytest.raises(ActorDied):
            await shop.call(message)
    reports = [each.report for each in caplog.records if hasattr(each, "report")]
    assert [(each.ref.path, [it.path for it in each.ancestors]) for each in reports] == [
        ("/shop", []),
        ("/shop/Payments", ["/shop"]),
    ]


async def test_k14_a_monitor_of_a_mediator_watches_its_driver(system: System) -> None:
    shop = await system.start(Shop)
    probe = system.probe()
    shop.monitor(probe.ref)
    with pytest.raises(ActorDied):
        await shop.call(Do(boom))
    down = await probe.expect(Down)
    assert (down.ref, down.incarnation) == (shop, 1)
    assert isinstance(down.exit, Crashed)


async def test_w18_a_driver_that_declines_to_run_declines_for_the_whole(
    start_supervised: StartSupervised,
) -> None:
    class Declines(Shop):
        async def on_start(self) -> None:
            self.stop()

    shop = await start_supervised(Child(Declines, id="shop"))
    [info] = await start_supervised.supervisor.call(WhichChildren())
    assert (info.state, shop.state) == ("stopped", "stopped")
    assert LOG[-1] == "payments down"


async def test_s3_a_component_that_does_not_start_fails_the_start_naming_it(
    system: System,
) -> None:
    class Broken(Actor):
        def __init__(self) -> None:
            raise Boom

    class Has(Mediator):
        components = [Payments, Broken]

    with pytest.raises(StartFailed, match="its child 'Broken' failed"):
        await system.start(Has)
    assert LOG == ["payments up", "payments down"]


async def test_w18_the_specs_bounds_are_the_drivers() -> None:
    class Bounded(Mediator):
        async def on_start(self) -> None:
            await trio.sleep(3)

        @handles
        def note(self, message: Note) -> None:
            pass

    async with open_system() as system:
        with pytest.raises(StartFailed) as caught:
            await system.start(Child(Bounded, start_timeout=2.0))
        assert isinstance(_root_of(caught.value), trio.TooSlowError)
        bounded = await system.start(Child(Bounded, mailbox=1, shutdown=7.0))
        info = await bounded.call(GetChild("driver"))
        assert (info.kind, info.spec.shutdown, info.spec.mailbox) == ("worker", 7.0, 1)
        assert (await bounded.call(CountChildren())).workers == 1
        bounded.cast(Note("one"))
        with pytest.raises(MailboxFull):
            bounded.cast(Note("two"))


async def test_a_mediator_made_by_a_function_is_housed_too(system: System) -> None:
    def make() -> Shop:
        return Shop()

    shop = await system.start(make)
    assert await shop.call(Reserve("egg")) == "egg"
    with pytest.raises(ActorDied):
        await shop.call(Do(boom))
    await wait_all_tasks_blocked()
    assert shop.incarnation == 2


async def test_run_waits_for_the_whole_and_not_for_an_incarnation_of_the_driver(
    tmp_path: Path,
) -> None:
    code = f"""
import sys
sys.path[:0] = [{str(Path(__file__).parents[2])!r}]
from actors import Actor, handles
from mediators import Mediator, Workflow
from supervisors import run

class Once(Mediator):
    starts = 0
    def on_start(self):
        type(self).starts += 1
        self.after(0, "next")
    @handles
    def next(self, message: str) -> None:
        if type(self).starts == 1:
            raise ValueError("first")
        print("second")
        self.stop()

run(Once)
"""
    program = tmp_path / "program.py"
    program.write_text(code)
    result = await trio.run_process(
        [sys.executable, "-I", str(program)], capture_stdout=True, capture_stderr=True, check=False
    )
    assert (result.returncode, result.stdout) == (0, b"second\n")


# -- routes


async def test_w18_a_message_goes_to_the_component_whose_class_handles_it(
    system: System, both_ways: str
) -> None:
    shop = await system.start(Shop)
    assert await shop.call(Charge(3)) == "3 for nobody"
    assert await shop.call(BigCharge(4)) == "4 for nobody"
    assert await shop.call(Reserve("egg")) == "egg"
    shop.cast(Note("one-way"))
    await wait_all_tasks_blocked()
    assert LOG[-1] == "one-way"


async def test_w18_a_forwarded_message_keeps_its_sender_and_its_ids(system: System) -> None:
    shop = await system.start(Shop)

    class Customer(Actor):
        @handles
        async def do(self, message: Do) -> Any:
            mine = self.envelope
            theirs = await shop.call(DoPayments(lambda it: it.envelope))
            return mine, theirs, self.ref

    customer = await system.start(Customer)
    mine, theirs, ref = await customer.call(Do(boom))
    assert theirs.sender == ref
    assert (theirs.correlation_id, theirs.causation_id) == (mine.correlation_id, mine.id)


async def test_w18_a_refusal_of_a_component_reaches_the_caller(
    system: System, both_ways: str
) -> None:
    shop = await system.start(Shop)
    with pytest.raises(OutOfStock):
        await shop.call(Reserve("moon"))
    assert shop.incarnation == 1


async def test_w18_messages_keep_their_order_through_the_mediator(
    system: System, both_ways: str
) -> None:
    shop = await system.start(Shop)
    for number in range(100):
        shop.cast(Note(str(number)))
    await shop.call(Reserve("egg"))
    assert LOG[-100:] == [str(number) for number in range(100)]


async def test_w18_many_callers_at_once_are_all_answered(system: System, both_ways: str) -> None:
    shop = await system.start(Shop)
    answers: list[str] = []

    async def ask(number: int) -> None:
        answers.append(await shop.call(Reserve(str(number))))
        answers.append(await shop.call(Charge(number)))

    with trio.fail_after(1):
        async with trio.open_nursery() as nursery:
            for number in range(300):
                nursery.start_soon(ask, number)
    expected = [str(number) for number in range(300)]
    assert sorted(answers) == sorted([*expected, *(f"{each} for nobody" for each in expected)])


async def test_w18_a_mediator_forwards_and_never_waits(system: System) -> None:
    shop = await system.start(Shop)
    gate = trio.Event()
    results: list[Any] = []

    async def ask(message: Call[Any]) -> None:
        results.append(await shop.call(message))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, DoInventory(lambda _: gate.wait()))
        await wait_all_tasks_blocked()
        assert await shop.call(Charge(1)) == "1 for nobody"
        nursery.start_soon(ask, Reserve("egg"))
        await wait_all_tasks_blocked()
        assert results == []
        gate.set()
    assert results == [None, "egg"]


async def test_w18_the_mediators_own_handler_wins_over_a_components(system: System) -> None:
    class Careful(Shop):
        @handles
        def charge(self, message: Charge) -> Later[str]:
            LOG.append(f"{message.amount} passes")
            later = self.later()
            self.component(Payments).forward(self.envelope)
            return later

    shop = await system.start(Careful)
    assert await shop.call(BigCharge(7)) == "7 for nobody"
    assert LOG[-1] == "7 passes"


async def test_w18_the_mediators_handler_for_everything_comes_last(system: System) -> None:
    class Curious(Shop):
        @handles
        def anything(self, message: object) -> str:
            return f"any {type(message).__name__}"

    @attrs.frozen
    class Odd(Call[str]):
        pass

    shop = await system.start(Curious)
    assert await shop.call(Charge(3)) == "3 for nobody"
    assert await shop.call(Odd()) == "any Odd"


async def test_w18_handlers_for_everything_or_about_oneself_are_no_routes(
    system: System,
) -> None:
    class Watcher(Actor):
        @handles
        def down(self, message: Down) -> None: ...

        @handles
        def idle(self, message: Idle) -> None: ...

        @handles
        def anything(self, message: object) -> None: ...

    class Other(Watcher):
        pass

    class Has(Mediator):
        components = [Watcher, Other, Child(Supervisor, id="a"), Child(DynamicSupervisor, id="b")]

    has = await system.start(Has)
    with pytest.raises(Unhandled, match="It handles: none. Got: Charge"):
        await has.call(Charge(1))


async def test_w18_a_state_machine_takes_what_it_handles_in_any_state(system: System) -> None:
    class Light(StateMachine):
        initial = "red"

        @handles(state="red")
        def red(self, message: Charge) -> str:
            return "red"

        @handles(state="green")
        def green(self, message: Reserve) -> str:
            return "green"

    class Has(Mediator):
        components = [Light]

    has = await system.start(Has)
    assert await has.call(Charge(1)) == "red"
    with pytest.raises(Unhandled):
        await has.call(Reserve("egg"))


async def test_w18_two_components_for_one_class_are_a_type_error_naming_both() -> None:
    class Other(Actor):
        @handles
        def charge(self, message: Charge) -> str:
            return ""

    with pytest.raises(TypeError, match=r"two components that handle Charge.*'Payments' and 'o'"):

        class Both(Mediator):
            components = [Child(Payments), Child(Other, id="o")]

    with pytest.raises(TypeError, match=r"'Inventory' and 'Inventory-2'"):

        class Twice(Mediator):
            components = [Inventory, Inventory]

    class Decides(Mediator):
        components = [Child(Payments), Child(Other, id="o")]

        @handles
        def charge(self, message: Charge) -> str:
            return "decided"

    async with open_system() as system:
        decides = await system.start(Decides)
        assert await decides.call(Charge(1)) == "decided"


async def test_k3_what_nobody_handles_is_unhandled_and_says_what_is_accepted(
    system: System, both_ways: str
) -> None:
    @attrs.frozen
    class Odd(Call[str]):
        pass

    shop = await system.start(Shop, name="shop")
    accepted = "Charge, DoPayments, Reserve, DoInventory, Note, Paid, Do"
    with pytest.raises(Unhandled, match=f"/shop has no .* It handles: {accepted}. Got: Odd"):
        await shop.call(Odd())
    letters = dead_letters(system)
    shop.cast("what?")
    await wait_all_tasks_blocked()
    assert [letter.reason for letter in letters] == ["no handler"]


async def test_w18_a_full_component_fails_the_caller_and_not_the_driver(
    system: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Small(Shop):
        components = [Child(Inventory, id="stock", mailbox=1)]

    shop = await system.start(Small)
    stock = await shop.call(Do(lambda driver: driver.component("stock")))
    await introspection.suspend(stock)
    shop.cast(Note("first"))
    with pytest.raises(MailboxFull):
        await shop.call(Reserve("egg"))
    letters = dead_letters(system)
    shop.cast(Note("second"))
    await wait_all_tasks_blocked()
    assert [(each.message, each.reason) for each in letters] == [
        (Note("second"), "the mailbox is full")
    ]
    assert shop.incarnation == 1

    # Without the guard the driver crashes.
    monkeypatch.setattr("actors.runtime.calls.MailboxFull", Boom)
    shop.cast(Note("third"))
    await wait_all_tasks_blocked()
    assert shop.incarnation == 2


async def test_a_system_with_mediators_leaves_nothing(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    for logger in ("actors", "supervisors"):
        caplog.set_level(logging.CRITICAL, logger)  # what is captured holds refs
    async with no_leaks():
        async with open_system() as own:
            shop = await own.start(Shop)
            assert await shop.call(Charge(1)) == "1 for nobody"
            with pytest.raises(ActorDied):
                await shop.call(Do(boom))
            assert await shop.call(Reserve("egg")) == "egg"
        assert leftovers(own) == []
        del own, shop
        LOG.clear()


async def test_k12_a_component_that_is_restarting_keeps_the_message(system: System) -> None:
    shop = await system.start(Shop)
    with pytest.raises(ActorDied):
        await shop.call(DoPayments(boom))
    assert await shop.call(Charge(2)) == "2 for nobody"
    payments = await shop.call(Do(lambda driver: driver.component(Payments)))
    assert payments.incarnation == 2


async def test_w18_a_component_that_is_stopped_or_forgotten_is_no_such_actor(
    system: System,
) -> None:
    class Leaves(Mediator):
        components = [Child(Payments, restart="temporary"), Inventory]

    leaves = await system.start(Leaves)
    await leaves.call(StopChild("Inventory"))
    with pytest.raises(NoSuchActor, match="/Inventory is stopped"):
        await leaves.call(Reserve("egg"))
    await leaves.call(RestartChild("Inventory"))
    assert await leaves.call(Reserve("egg")) == "egg"
    await leaves.call(StopChild("Payments"))
    for _ in range(2):
        with pytest.raises(NoSuchActor, match="/Payments is gone"):
            await leaves.call(Charge(1))
    letters = dead_letters(system)
    leaves.cast(Charge(1))
    await wait_all_tasks_blocked()
    assert len(letters) == 1
    assert leaves.incarnation == 1


async def test_k9_a_call_whose_caller_has_gone_is_not_forwarded(system: System) -> None:
    shop = await system.start(Shop)
    await introspection.suspend(shop)
    with pytest.raises(CallTimeout):
        await shop.call(DoPayments(lambda _: LOG.append("handled")), timeout=0.1)
    await introspection.resume(shop)
    await settle()
    assert "handled" not in LOG


async def test_k11_a_component_that_calls_itself_through_its_mediator_is_told_so(
    system: System,
) -> None:
    shop = await system.start(Shop)
    with pytest.raises(ActorDied) as caught:
        await shop.call(DoInventory(lambda it: it.parent.call(Reserve("egg"))))
    assert isinstance(caught.value.__cause__, CallCycle)


async def test_w18_the_supervisor_of_the_subtree_answers_its_administration(
    system: System,
) -> None:
    shop = await system.start(Shop)
    infos = await shop.call(WhichChildren())
    assert [(each.id, each.kind, each.ref.path) for each in infos] == [
        ("Payments", "worker", f"{shop.path}/Payments"),
        ("stock", "worker", f"{shop.path}/stock"),
        ("driver", "worker", shop.path),
    ]
    assert infos[-1].ref == shop
    with pytest.raises(Unhandled):
        await shop.call(DeleteChild("stock"))


async def test_w18_stopping_the_driver_by_its_id_stops_the_whole(system: System) -> None:
    shop = await system.start(Shop)
    await shop.call(StopChild("driver"))
    await wait_all_tasks_blocked()
    assert shop.state == "gone"
    assert LOG[-1] == "payments down"


async def test_w18_an_async_handler_holds_up_what_would_be_forwarded(system: System) -> None:
    class Slow(Shop):
        @handles
        async def do(self, message: Do) -> Any:
            return await message.function(self)  # type: ignore[misc]

    shop = await system.start(Slow)
    gate = trio.Event()
    done: list[str] = []

    async def ask() -> None:
        done.append(await shop.call(Reserve("egg")))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(shop.call, Do(lambda _: gate.wait()))
        await wait_all_tasks_blocked()
        nursery.start_soon(ask)
        await wait_all_tasks_blocked()
        assert done == []
        gate.set()
    assert done == ["egg"]


async def test_k20_middleware_of_a_mediator_stands_around_what_it_forwards(
    system: System,
) -> None:
    async def seen(envelope: Any, next: Any) -> Any:
        LOG.append(type(envelope.message).__name__)
        return await next(envelope)

    class Watched(Shop):
        middleware = (seen,)

    shop = await system.start(Watched)
    assert await shop.call(Reserve("egg")) == "egg"
    assert LOG[-1] == "Reserve"


# -- the seams for workflows


async def test_what_a_driver_keeps_outlives_its_crash_and_is_closed_with_the_subtree(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    class Kept:
        def __init__(self, name: str) -> None:
            self.name = name

        def close(self) -> None:
            LOG.append(f"close {self.name}")
            if self.name == "first":
                raise Boom

    class Keeps(Shop):
        async def on_start(self) -> None:
            self._kept.setdefault("plain", 1)
            self._kept.setdefault("first", Kept("first"))
            self._kept.setdefault("second", Kept("second"))
            LOG.append(f"kept {len(self._kept)}")

    shop = await system.start(Keeps)
    kept = await shop.call(Do(lambda driver: driver._kept["first"]))
    with pytest.raises(ActorDied):
        await shop.call(Do(boom))
    assert await shop.call(Do(lambda driver: driver._kept["first"])) is kept
    assert "close first" not in LOG
    await shop.stop()
    assert LOG[-3:] == ["payments down", "close second", "close first"]
    assert any("closing its first failed" in each.getMessage() for each in caplog.records)


async def test_w18_a_workflows_class_is_routed_after_those_of_the_components(
    system: System,
) -> None:
    @attrs.define
    class PlaceOrder(Workflow[str]):
        item: str

        @property
        def id(self) -> str:
            return self.item

        async def run(self) -> str:
            return await self.step(Reserve(self.item))

    class Runs(Shop):
        workflows = [PlaceOrder]

        def reserve(self, message: Reserve) -> str:
            return "not a handler"

    shop = await system.start(Runs)
    assert await shop.call(PlaceOrder("egg")) == "egg"
    assert await shop.call(Reserve("salt")) == "salt"
    assert PlaceOrder in shop._place.routes.messages


# -- how components are declared


async def test_components_come_from_a_property_a_field_or_init(system: System) -> None:
    class ByProperty(Mediator):
        @property
        def components(self) -> Any:  # type: ignore[override]
            return [Inventory]

    @attrs.define
    class ByField(Mediator):
        components: Any = attrs.field(factory=lambda: [Inventory])

    class ByInit(Mediator):
        def __init__(self, component: Any, *, id: str = "x") -> None:
            self.components = [Child(component, id=id)]

    @attrs.define
    class Plain(Mediator):
        components = (Inventory,)
        note: str = ""

    for child in (
        Child(ByProperty),
        Child(ByField),
        Child(ByInit, Inventory),
        Child(partial(ByInit, Inventory, id="stock")),
        Child(Plain, "a note"),
    ):
        mediator = await system.start(child)
        assert await mediator.call(Reserve("egg")) == "egg"


async def test_an_instance_is_made_only_to_be_asked_where_the_class_does_not_tell(
    system: System,
) -> None:
    made: list[Any] = []

    class Asked(Mediator):
        def __init__(self) -> None:
            made.append(self)
            self.components = [Inventory]

    class Told(Mediator):
        components = [Inventory]

        def __init__(self) -> None:
            made.append(self)

    await system.start(Told)
    assert len(made) == 1
    await system.start(Asked)
    assert len(made) == 3
    with pytest.raises(RuntimeError, match="does not run"):
        _ = made[1].ref


async def test_a_mediator_without_components_is_an_actor(system: System) -> None:
    class Alone(Mediator):
        @handles
        def reserve(self, message: Reserve) -> str:
            return "mine"

    alone = await system.start(Alone)
    assert await alone.call(Reserve("egg")) == "mine"


@pytest.mark.parametrize(
    "wrong",
    ["Payments", Payments, Child(Payments), {"a": Payments}, [int], [Payments()]],
    ids=["a name", "a class", "a Child", "a dict", "no actors", "an instance"],
)
async def test_wrong_components_are_a_type_error_that_names_what_is_accepted(
    wrong: Any, system: System
) -> None:
    with pytest.raises(TypeError, match=r"Wrong\.components.*(Child|actor class)"):
        type("Wrong", (Mediator,), {"components": wrong})

    class Late(Mediator):
        def __init__(self) -> None:
            self.components = wrong

    with pytest.raises(StartFailed, match=r"Late\.components.*(Child|actor class)"):
        await system.start(Late)


async def test_the_drivers_id_and_equal_ids_are_refused() -> None:
    with pytest.raises(ValueError, match="'driver' is that of the mediator itself"):
        type("Wrong", (Mediator,), {"components": [Child(Payments, id="driver")]})
    with pytest.raises(ValueError, match=r"different ids. Got: 'a' twice"):
        type(
            "Wrong",
            (Mediator,),
            {"components": [Child(Payments, id="a"), Child(Inventory, id="a")]},
        )


async def test_component_finds_by_class_and_by_id_and_says_what_there_is(
    system: System,
) -> None:
    class Has(Mediator):
        components = [
            Child(Payments),
            Child(partial(Inventory), id="stock"),
            Child(Supervisor, id="a"),
            Child(Supervisor, id="b"),
            one_for_one(id="group"),
        ]

        @handles
        def do(self, message: Do) -> Any:
            return message.function(self)

    has = await system.start(Has)
    ref = await has.call(Do(lambda driver: driver.component("stock")))
    assert ref.path.endswith("/stock")
    assert await has.call(Do(lambda driver: driver.component(Inventory))) == ref

    def attempt(which: Any) -> Callable[[Any], str]:
        def find(driver: Any) -> str:
            try:
                return str(driver.component(which))
            except (LookupError, TypeError) as error:
                return f"{type(error).__name__}: {error}"

        return find

    ids = "their ids: 'Payments', 'stock', 'a', 'b', 'group'."
    assert (await has.call(Do(attempt("x")))).endswith(f"has no components 'x'; {ids}")
    assert (await has.call(Do(attempt(Shop)))).endswith(f"has no components Shop; {ids}")
    assert "has 2 components Supervisor" in await has.call(Do(attempt(Supervisor)))
    assert (await has.call(Do(attempt(3)))).startswith("TypeError: component() takes a class")
    assert (await has.call(Do(attempt("driver")))).endswith(f"has no components 'driver'; {ids}")


async def test_w18_a_significant_components_end_is_the_end_of_the_whole(
    system: System,
) -> None:
    class Depends(Mediator):
        components = [Child(Payments, restart="transient", significant=True)]

    depends = await system.start(Depends)
    depends.cast(DoPayments(lambda it: it.stop()))
    await wait_all_tasks_blocked()
    assert depends.state == "gone"


def test_routes_are_found_once_for_each_class(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    found: list[type] = []

    class Counting(MediatorRoutes):
        __slots__ = ()

        def __missing__(self, message: type) -> Any:
            found.append(message)
            return super().__missing__(message)

    from mediators.routing import plan

    routes = Counting(Shop, plan(Shop), lambda message: None)
    for _ in range(3):
        assert routes[Charge].is_call
        assert not routes[Paid].is_call
    assert found == [Charge, Paid]


def test_a_module_that_hides_a_floor_below_is_named(tmp_path: Path) -> None:
    hiding = tmp_path / "supervisors.py"
    hiding.write_text("staff = ['Ophelia']\n")
    root = Path(__file__).parents[2]
    code = f"import sys; sys.path[:0] = [{str(tmp_path)!r}, {str(root)!r}]; import mediators"
    result = subprocess.run(
        [sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert f"'import supervisors' finds {hiding}" in result.stderr
