"""S1 to S9 for supervisors with a list of children. OTP's own cases are in tests/conformance."""

from __future__ import annotations

import gc
import weakref
from functools import partial
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
    Crashed,
    Down,
    Exit,
    Killed,
    Normal,
    NoSuchActor,
    Ref,
    Shutdown,
    StartFailed,
    System,
    handles,
)
from supervisors import (
    AlreadyPresent,
    AlreadyStarted,
    Backoff,
    Child,
    ChildCounts,
    ChildExited,
    ChildRefused,
    ChildRestarted,
    ChildRestarting,
    ChildRunning,
    CountChildren,
    DeleteChild,
    GetChild,
    NoSuchChild,
    ReplaceChild,
    RestartChild,
    RestartLimitExceeded,
    StartChild,
    StopChild,
    Supervisor,
    WhichChildren,
    one_for_all,
    one_for_one,
    rest_for_one,
)

if TYPE_CHECKING:
    from collections.abc import Callable


@attrs.frozen
class Do(Call[Any]):
    function: Callable[[Any], object]


@attrs.frozen
class DoSoon:
    function: Callable[[Any], object]


class Boom(Exception):
    pass


def boom(actor: Any) -> None:
    raise Boom


Log = list[str]
"""What the workers of a test did: ``+a`` started, ``-a`` stopped."""


class Worker(Actor):
    """Writes its starts and stops into the log, and fails to start as often as it is told to."""

    def __init__(
        self, log: Log | None = None, failures: dict[str, int] | None = None, pause: float = 0
    ) -> None:
        self.log = [] if log is None else log
        self.failures = failures or {}
        self.pause = pause

    @property
    def id(self) -> str:
        return self.ref.path.rsplit("/", 1)[1]

    async def on_start(self) -> None:
        if self.pause:
            await trio.sleep(self.pause)
        if self.ref.incarnation > 1 and self.failures.get(self.id, 0):
            self.failures[self.id] -= 1
            self.log.append(f"!{self.id}")
            raise Boom(self.id)
        self.log.append(f"+{self.id}")

    async def on_stop(self, exit: Exit) -> None:
        if self.pause:
            await trio.sleep(self.pause)
        self.log.append(f"-{self.id}")

    @handles
    def do(self, message: Do) -> Any:
        return message.function(self)

    @handles
    def do_soon(self, message: DoSoon) -> None:
        message.function(self)


GROUPS = {"one_for_one": one_for_one, "one_for_all": one_for_all, "rest_for_one": rest_for_one}


class Tree:
    """A group under the system's supervisor, and its children by id."""

    def __init__(self, system: System, ref: Ref[Any], log: Log) -> None:
        self.system = system
        self.ref = ref
        self.log = log

    def __getitem__(self, id: str) -> Ref[Any]:
        ref: Ref[Any] = self.ref._place.actor._tree.entries[id].place.ref
        return ref

    async def crash(self, id: str) -> None:
        with pytest.raises(ActorDied):
            await self[id].call(Do(boom))
        await wait_all_tasks_blocked()

    async def states(self) -> dict[str, str]:
        return {each.id: each.state for each in await self.ref.call(WhichChildren())}

    def take(self) -> str:
        text, self.log[:] = " ".join(self.log), []
        return text


async def grown(
    system: System,
    strategy: str,
    ids: str,
    *,
    failures: dict[str, int] | None = None,
    specs: dict[str, dict[str, Any]] | None = None,
    **flags: Any,
) -> Tree:
    """Start a temporary group with a worker for each letter of ``ids``."""
    log: Log = []
    children = [Child(Worker, log, failures, id=id, **(specs or {}).get(id, {})) for id in ids]
    group = GROUPS[strategy](*children, restart="temporary", **{"max_restarts": 100, **flags})
    tree = Tree(system, await system.start(group), log)
    assert tree.take() == " ".join(f"+{id}" for id in ids)
    return tree


# -- S1


async def test_S1_start_is_synchronous_and_in_order_stop_the_exact_reverse_one_at_a_time(
    system: System,
) -> None:
    log: Log = []
    children = [Child(Worker, log, None, 1.0, id=id) for id in "abc"]
    ref = await system.start(one_for_one(*children, restart="temporary"))
    assert log == ["+a", "+b", "+c"]
    assert trio.current_time() == pytest.approx(3)
    await ref.stop()
    assert log[3:] == ["-c", "-b", "-a"]
    assert trio.current_time() == pytest.approx(6)


async def test_S1_a_child_of_a_child_has_stopped_before_the_next_sibling_is_asked(
    system: System,
) -> None:
    log: Log = []
    tree = one_for_one(
        Child(Worker, log, id="a"),
        rest_for_one(Child(Worker, log, id="b"), Child(Worker, log, id="c"), id="inner"),
        Child(Worker, log, id="d"),
        restart="temporary",
    )
    ref = await system.start(tree)
    await ref.stop()
    assert " ".join(log) == "+a +b +c +d -d -c -b -a"


async def test_S1_the_children_have_gone_when_their_supervisor_has(system: System) -> None:
    tree = await grown(system, "one_for_one", "ab")
    refs = [tree[id] for id in "ab"]
    await tree.ref.stop(Killed())
    assert [ref.state for ref in refs] == ["gone", "gone"]
    assert await tree.ref.wait() == Killed()
    assert tree.take() == ""


async def test_S1_a_stop_while_the_children_start_ends_the_start(system: System) -> None:
    log: Log = []
    children = [Child(Worker, log, None, 2.0, id=id) for id in "ab"]
    with trio.move_on_after(3):
        await system.start_place(one_for_one(*children), name="top")
    await wait_all_tasks_blocked()
    await trio.sleep(60)
    assert system.whereis("top") is None
    assert log == ["+a", "-a"]


# -- S2


@pytest.mark.parametrize("strategy", GROUPS)
@pytest.mark.parametrize("allowed", [0, 1, 3])
async def test_S2_one_restart_more_than_allowed_within_the_window_is_too_many(
    system: System, strategy: str, allowed: int
) -> None:
    tree = await grown(system, strategy, "ab", max_restarts=allowed, within=10.0)
    for _ in range(allowed):
        await tree.crash("b")
        await trio.sleep(1)
        assert tree.ref.alive
    tree["b"].cast(DoSoon(boom))
    exit = await tree.ref.wait()
    assert isinstance(exit, Crashed)
    error = exit.exception
    assert isinstance(error, RestartLimitExceeded)
    assert (error.child, error.ref) == ("b", tree.ref)
    assert isinstance(error.__cause__, Boom)
    assert f"gave up: more than {allowed} restarts within 10.0 s" in str(error)


async def test_S2_the_window_slides(system: System) -> None:
    tree = await grown(system, "one_for_one", "a", max_restarts=2, within=5.0)
    for _ in range(20):
        await tree.crash("a")
        await trio.sleep(2.51)
    assert tree.ref.alive and tree["a"].incarnation == 21


async def test_S2_a_group_restart_counts_one(system: System) -> None:
    tree = await grown(system, "one_for_all", "abcdefgh", max_restarts=1)
    await tree.crash("d")
    assert tree.ref.alive
    assert [tree[id].incarnation for id in "abcdefgh"] == [2] * 8


async def test_S2_each_failed_start_counts_one_more(system: System) -> None:
    # The restart itself is the first of three; two failed attempts make it full.
    tree = await grown(system, "one_for_one", "a", failures={"a": 2}, max_restarts=3)
    await tree.crash("a")
    assert tree.ref.alive and tree["a"].alive
    tree = await grown(system, "one_for_one", "a", failures={"a": 3}, max_restarts=3)
    with pytest.raises(ActorDied):
        await tree["a"].call(Do(boom))
    assert isinstance(await tree.ref.wait(), Crashed)


async def test_S2_temporary_children_and_restarts_by_api_count_nothing(system: System) -> None:
    specs = {"t": {"restart": "temporary"}}
    tree = await grown(system, "one_for_one", "at", specs=specs, max_restarts=0)
    await tree.crash("t")
    for _ in range(5):
        await tree.ref.call(StopChild("a"))
        await tree.ref.call(RestartChild("a"))
    assert tree.ref.alive


async def test_S2_the_normal_exit_of_a_permanent_child_counts(system: System) -> None:
    tree = await grown(system, "one_for_one", "a", max_restarts=1)
    await tree["a"].stop(Normal())
    await wait_all_tasks_blocked()
    assert tree["a"].incarnation == 2
    await tree["a"].stop(Normal())
    exit = await tree.ref.wait()
    assert isinstance(exit, Crashed)
    assert isinstance(exit.exception, RestartLimitExceeded)
    assert exit.exception.__cause__ is None


async def test_S2_the_count_begins_anew_with_the_supervisor(system: System) -> None:
    log: Log = []
    inner = one_for_one(
        Child(Worker, log, id="a", name="a"), max_restarts=1, id="inner", name="inner"
    )
    await system.start(one_for_one(inner, restart="temporary", max_restarts=1))
    ref, sup = system.whereis("a"), system.whereis("inner")
    assert ref is not None and sup is not None
    for _ in range(3):
        with pytest.raises(ActorDied):
            await ref.call(Do(boom))
        await wait_all_tasks_blocked()
    assert (sup.incarnation, ref.incarnation, sup.state) == (2, 4, "up")


# -- S3


async def test_S3_a_child_failing_its_first_start_is_not_tried_again(system: System) -> None:
    log: Log = []
    attempts = 0

    class Fails(Actor):
        def on_start(self) -> None:
            nonlocal attempts
            attempts += 1
            raise Boom("first")

    specs = [Child(Worker, log, id="a"), Child(Worker, log, id="b"), Child(Fails, id="fails")]
    with pytest.raises(StartFailed, match="its child 'fails' failed") as caught:
        await system.start_place(one_for_one(*specs, Child(Worker, log, id="c")), name="top")
    assert attempts == 1
    assert log == ["+a", "+b", "-b", "-a"]
    error: BaseException | None = caught.value
    while error is not None and not isinstance(error, Boom):
        error = error.__cause__
    assert isinstance(error, Boom)
    assert system.whereis("top") is None


async def test_S3_while_a_restart_fails_the_supervisor_serves_its_inbox(system: System) -> None:
    spec = {"backoff": Backoff(1, 1, jitter=0)}
    tree = await grown(system, "one_for_one", "ab", failures={"a": 3}, specs={"a": spec})
    await tree.crash("a")
    assert await tree.states() == {"a": "restarting", "b": "up"}
    assert await tree.ref.call(CountChildren()) == ChildCounts(2, 1, 0, 2)
    with pytest.raises(ChildRestarting):
        await tree.ref.call(RestartChild("a"))
    with pytest.raises(ChildRestarting):
        await tree.ref.call(DeleteChild("a"))
    with pytest.raises(AlreadyPresent):
        await tree.ref.call(StartChild(Child(Worker, id="a")))
    await trio.sleep(10)
    assert await tree.states() == {"a": "up", "b": "up"}


async def test_S3_between_attempts_queued_messages_come_first(system: System) -> None:
    """Without a backoff the attempts follow each other, but the inbox is served in between."""
    spec = Child(Worker, None, {"a": 50}, 1.0, id="a")
    ref = await system.start(one_for_one(spec, restart="temporary", max_restarts=100))
    tree = Tree(system, ref, [])
    began = trio.current_time()
    await tree.crash("a")
    await trio.sleep(1.5)
    for number in range(1, 5):
        (info,) = await ref.call(WhichChildren(), timeout=None)
        # on_stop takes a second, and so does each attempt.
        assert (info.state, trio.current_time() - began) == ("restarting", 1 + number)
    await tree["a"].call(Do(lambda actor: None), timeout=None)
    assert tree["a"].incarnation == 52


async def test_S3_stopping_a_restarting_child_ends_the_attempts(system: System) -> None:
    spec = {"backoff": Backoff(1, 1, jitter=0)}
    tree = await grown(system, "one_for_one", "a", failures={"a": 1000}, specs={"a": spec})
    await tree.crash("a")
    await trio.sleep(3)
    await tree.ref.call(StopChild("a"))
    incarnation = tree["a"].incarnation
    await trio.sleep(30)
    assert (tree["a"].state, tree["a"].incarnation) == ("stopped", incarnation)
    tree["a"]._place.spec.args[1].clear()
    assert (await tree.ref.call(RestartChild("a"))).alive


@pytest.mark.parametrize("strategy", GROUPS)
async def test_S3_a_supervisor_stops_while_a_child_is_in_a_failing_loop(
    system: System, strategy: str
) -> None:
    tree = await grown(system, strategy, "ab", failures={"a": 10**6}, max_restarts=10**6)
    with pytest.raises(ActorDied):
        await tree["a"].call(Do(boom))
    with trio.fail_after(60):
        await tree.ref.stop()
    assert tree.ref.state == "gone"


# -- S4


async def test_S4_who_is_stopped_and_started_with_a_failed_child_and_in_which_order(
    system: System,
) -> None:
    wanted = {
        "one_for_one": "-c +c",
        "one_for_all": "-c -e -d -b -a +a +b +c +d +e",
        "rest_for_one": "-c -e -d +c +d +e",
    }
    for strategy, order in wanted.items():
        tree = await grown(system, strategy, "abcde")
        await tree.crash("c")
        assert tree.take() == order


async def test_S4_one_for_all_redoes_the_whole_group_on_a_partial_failure(
    system: System,
) -> None:
    tree = await grown(system, "one_for_all", "abc", failures={"b": 2})
    await tree.crash("a")
    assert tree.take() == "-a -c -b +a !b -a +a !b -a +a +b +c"
    assert tree.ref.alive


async def test_S4_rest_for_one_keeps_the_earlier_ones(system: System) -> None:
    tree = await grown(system, "rest_for_one", "abc", failures={"b": 2})
    await tree.crash("a")
    assert tree.take() == "-a -c -b +a !b !b +b +c"
    assert tree["a"].incarnation == 2


async def test_S4_two_failures_at_once_are_handled_one_after_the_other(system: System) -> None:
    for strategy in GROUPS:
        tree = await grown(system, strategy, "abc")
        for id in "cab":
            tree[id].cast(DoSoon(boom))
        await wait_all_tasks_blocked()
        assert await tree.states() == dict.fromkeys("abc", "up")
        starts = tree.take().split().count("+b")
        assert starts >= 1
        assert tree.ref.alive


# -- S5


async def test_S5_a_child_stopped_by_api_is_never_restarted_by_its_own_exit(
    system: System,
) -> None:
    specs = {"t": {"restart": "transient"}}
    tree = await grown(system, "one_for_one", "at", specs=specs, max_restarts=0)
    for id in "at":
        await tree.ref.call(StopChild(id))
        await tree.ref.call(StopChild(id))
    await trio.sleep(60)
    assert await tree.states() == {"a": "stopped", "t": "stopped"}
    assert tree.ref.alive


async def test_S5_temporary_siblings_taken_down_by_a_group_restart_do_not_return(
    system: System,
) -> None:
    specs = {"b": {"restart": "temporary"}}
    for strategy in ("one_for_all", "rest_for_one"):
        tree = await grown(system, strategy, "abc", specs=specs)
        temporary = tree["b"]
        await tree.crash("a")
        assert await tree.states() == {"a": "up", "c": "up"}
        assert temporary.state == "gone"


async def test_S5_a_child_that_was_stopped_by_api_returns_with_its_group(system: System) -> None:
    tree = await grown(system, "one_for_all", "ab")
    await tree.ref.call(StopChild("b"))
    await tree.crash("a")
    assert await tree.states() == {"a": "up", "b": "up"}


# -- S6


@pytest.mark.parametrize("restart", ["transient", "temporary"])
@pytest.mark.parametrize("exit", [Normal(), Shutdown("x"), Killed()], ids=repr)
async def test_S6_any_significant_ends_with_the_first_of_them(
    system: System, restart: Any, exit: Exit
) -> None:
    specs = {"s": {"restart": restart, "significant": True}}
    tree = await grown(system, "one_for_one", "as", specs=specs, auto_shutdown="any_significant")
    await tree["s"].stop(exit)
    await wait_all_tasks_blocked()
    if restart == "transient" and isinstance(exit, Killed):
        assert tree.ref.alive and tree["s"].incarnation == 2
    else:
        assert await tree.ref.wait() == Shutdown("auto_shutdown")
        assert "-a" in tree.take()


async def test_S6_all_significant_ends_with_the_last_of_them(system: System) -> None:
    significant = {"restart": "transient", "significant": True}
    specs = {"s": significant, "t": significant}
    tree = await grown(system, "one_for_one", "ast", specs=specs, auto_shutdown="all_significant")
    await tree["s"].stop()
    await wait_all_tasks_blocked()
    assert tree.ref.alive
    await tree["t"].stop()
    assert await tree.ref.wait() == Shutdown("auto_shutdown")


async def test_S6_stopping_a_significant_child_by_api_ends_nothing(system: System) -> None:
    specs = {"s": {"restart": "temporary", "significant": True}}
    tree = await grown(system, "one_for_one", "s", specs=specs, auto_shutdown="any_significant")
    await tree.ref.call(StopChild("s"))
    await wait_all_tasks_blocked()
    assert tree.ref.alive


async def test_S6_significant_children_taken_down_by_a_sibling_end_nothing(
    system: System,
) -> None:
    specs = {"s": {"restart": "temporary", "significant": True}}
    for strategy in ("one_for_all", "rest_for_one"):
        tree = await grown(system, strategy, "as", specs=specs, auto_shutdown="any_significant")
        await tree.crash("a")
        assert tree.ref.alive


async def test_S6_a_significant_supervisor_ends_the_one_above(system: System) -> None:
    inner = one_for_one(
        Child(Worker, id="w", name="w", restart="temporary", significant=True),
        id="inner",
        restart="transient",
        significant=True,
        auto_shutdown="any_significant",
    )
    top = await system.start(
        one_for_one(inner, auto_shutdown="all_significant", restart="temporary")
    )
    worker = system.whereis("w")
    assert worker is not None
    await worker.stop()
    assert await top.wait() == Shutdown("auto_shutdown")


async def test_S6_a_replaced_spec_takes_effect_at_the_next_restart(system: System) -> None:
    tree = await grown(system, "one_for_one", "a")
    seen: list[str] = []

    class Other(Worker):
        async def on_start(self) -> None:
            seen.append("other")

    spec = Child(Other, restart="transient", shutdown=1.0)
    await tree.ref.call(ReplaceChild("a", spec))
    assert (await tree.ref.call(GetChild("a"))).spec.factory is Worker
    await tree.crash("a")
    info = await tree.ref.call(GetChild("a"))
    assert (info.id, info.spec.factory, info.spec.restart) == ("a", Other, "transient")
    assert seen == ["other"]
    await tree["a"].stop()
    await wait_all_tasks_blocked()
    assert tree["a"].state == "stopped"


async def test_S6_a_replaced_spec_is_checked(system: System) -> None:
    tree = await grown(system, "one_for_one", "a")
    with pytest.raises(ChildRefused, match="keeps its id 'a'. Got: 'b'"):
        await tree.ref.call(ReplaceChild("a", Child(Worker, id="b")))
    with pytest.raises(ChildRefused, match="Got: 3"):
        await tree.ref.call(ReplaceChild("a", 3))  # type: ignore[arg-type]
    significant = Child(Worker, restart="transient", significant=True)
    with pytest.raises(ChildRefused, match="auto_shutdown='never'"):
        await tree.ref.call(ReplaceChild("a", significant))
    with pytest.raises(NoSuchChild, match="has no child 'z'"):
        await tree.ref.call(ReplaceChild("z", Child(Worker)))


# -- S7


@pytest.mark.parametrize("restart", ["permanent", "transient", "temporary"])
async def test_S7_giving_up_is_a_crash_so_that_a_transient_supervisor_comes_back(
    system: System, restart: Any
) -> None:
    inner = one_for_one(
        Child(Worker, id="w", name="w"), max_restarts=0, id="inner", name="inner", restart=restart
    )
    top = await system.start(one_for_one(inner, restart="temporary"))
    sup, worker = system.whereis("inner"), system.whereis("w")
    assert sup is not None and worker is not None
    probe = system.probe()
    sup.monitor(probe.ref)
    worker.cast(DoSoon(boom))
    down = await probe.expect(Down)
    assert isinstance(down.exit, Crashed)
    assert isinstance(down.exit.exception, RestartLimitExceeded)
    await wait_all_tasks_blocked()
    assert top.alive
    if restart == "temporary":
        assert (sup.state, worker.state) == ("gone", "gone")
    else:
        assert (sup.state, sup.incarnation, worker.state) == ("up", 2, "up")


async def test_S7_giving_up_goes_up_the_tree(system: System) -> None:
    spec: Child[Any] = Child(Worker, id="w", name="w")
    for level in range(4):
        spec = one_for_one(spec, max_restarts=0, id=f"level-{level}")
    top = await system.start(one_for_one(spec, max_restarts=0, id="top", restart="temporary"))
    worker = system.whereis("w")
    assert worker is not None
    worker.cast(DoSoon(boom))
    exit = await top.wait()
    error: BaseException | None = exit.exception if isinstance(exit, Crashed) else None
    chain = []
    while isinstance(error, RestartLimitExceeded):
        chain.append(error.child)
        error = error.__cause__
    assert chain == ["level-3", "level-2", "level-1", "level-0", "w"]
    assert isinstance(error, Boom)


async def test_S7_those_still_running_are_stopped_in_reverse(system: System) -> None:
    tree = await grown(system, "one_for_one", "abc", max_restarts=0)
    tree["b"].cast(DoSoon(boom))
    await tree.ref.wait()
    assert tree.take() == "-b -c -a"


# -- S8


async def test_S8_a_child_with_a_backoff_is_paced_instead_of_counted(system: System) -> None:
    moments: list[float] = []

    class Tells(Worker):
        async def on_start(self) -> None:
            moments.append(trio.current_time())
            if self.ref.incarnation > 1:
                raise Boom

    spec = Child(Tells, id="a", backoff=Backoff(1.0, 8.0, jitter=0))
    ref = await system.start(one_for_one(spec, max_restarts=0, restart="temporary"))
    tree = Tree(system, ref, [])
    await tree.crash("a")
    await trio.sleep(40)
    assert ref.alive
    assert moments[1:] == [pytest.approx(each) for each in (1, 3, 7, 15, 23, 31, 39)]


async def test_S8_jitter_comes_from_the_source_of_the_system(system: System) -> None:
    spec = {"backoff": Backoff(10.0, 10.0, jitter=0.5)}
    tree = await grown(system, "one_for_one", "a", specs={"a": spec})
    system.random.seed(7)
    await tree.crash("a")
    await tree["a"].call(Do(lambda actor: None), timeout=None)
    system.random.seed(7)
    assert trio.current_time() == pytest.approx(10 * (1 - 0.5 * system.random.random()))


async def test_S8_limit_bounds_it(system: System) -> None:
    spec = {"backoff": Backoff(1.0, 1.0, jitter=0, limit=3)}
    tree = await grown(
        system, "one_for_one", "a", failures={"a": 10}, specs={"a": spec}, max_restarts=0
    )
    tree["a"].cast(DoSoon(boom))
    exit = await tree.ref.wait()
    assert isinstance(exit, Crashed)
    assert "gave up: more than 3 restarts in a row" in str(exit.exception)
    assert trio.current_time() == pytest.approx(3)


async def test_S8_a_quiet_spell_resets_the_delay(system: System) -> None:
    spec = {"backoff": Backoff(1.0, 64.0, jitter=0, reset=30.0)}
    tree = await grown(system, "one_for_one", "a", specs={"a": spec})

    async def down() -> float:
        began = trio.current_time()
        await tree.crash("a")
        await tree["a"].call(Do(lambda actor: None), timeout=None)
        return trio.current_time() - began

    assert [round(await down()) for _ in range(4)] == [1, 2, 4, 8]
    await trio.sleep(29)
    assert round(await down()) == 16
    await trio.sleep(30)
    assert round(await down()) == 1


async def test_S8_in_a_group_strategy_the_group_is_stopped_at_once_and_waits_that_delay(
    system: System,
) -> None:
    for strategy, stopped in (("one_for_all", "-b -c -a"), ("rest_for_one", "-b -c")):
        spec = {"backoff": Backoff(5.0, 5.0, jitter=0)}
        tree = await grown(system, strategy, "abc", specs={"b": spec}, max_restarts=0)
        began = trio.current_time()
        await tree.crash("b")
        assert tree.take() == stopped
        assert trio.current_time() == began
        await trio.sleep(4)
        assert tree.take() == ""
        states = await tree.states()
        assert states["b"] == states["c"] == "restarting"
        await trio.sleep(2)
        assert tree.take() == stopped.replace("-", "+").replace("+b +c +a", "+a +b +c")
        assert tree.ref.alive


async def test_S8_a_stop_does_not_wait_for_the_delay(system: System) -> None:
    spec = {"backoff": Backoff(1000.0, 1000.0, jitter=0)}
    for strategy in GROUPS:
        tree = await grown(system, strategy, "ab", specs={"a": spec})
        await tree.crash("a")
        began = trio.current_time()
        await tree.ref.stop()
        assert trio.current_time() == began
    assert len(system.scheduler.timers) == 0


async def test_S8_a_sibling_that_fails_while_the_group_waits_changes_nothing(
    system: System,
) -> None:
    spec = {"backoff": Backoff(5.0, 5.0, jitter=0)}
    tree = await grown(system, "rest_for_one", "abc", specs={"b": spec})
    await tree.crash("b")
    await tree.crash("a")
    await trio.sleep(10)
    assert await tree.states() == dict.fromkeys("abc", "up")
    assert [tree[id].incarnation for id in "abc"] == [2, 2, 2]


# -- administration


async def test_children_are_listed_in_start_order_with_what_they_are(system: System) -> None:
    log: Log = []
    spec = one_for_one(
        Child(Worker, log),
        one_for_all(Child(Worker, log), id="group"),
        Child(Worker, log, restart="temporary"),
        restart="temporary",
    )
    ref = await system.start(spec)
    added = await ref.call(StartChild(Child(Worker, log)))
    infos = await ref.call(WhichChildren())
    assert [(each.id, each.kind, each.state) for each in infos] == [
        ("Worker", "worker", "up"),
        ("group", "supervisor", "up"),
        ("Worker-2", "worker", "up"),
        ("Worker-3", "worker", "up"),
    ]
    assert infos[3].ref == added
    assert [each.spec.id for each in infos] == [each.id for each in infos]
    assert await ref.call(CountChildren()) == ChildCounts(4, 4, 1, 3)


async def test_ids_are_taken_once(system: System) -> None:
    tree = await grown(system, "one_for_one", "a")
    with pytest.raises(AlreadyStarted, match="is running") as caught:
        await tree.ref.call(StartChild(Child(Worker, id="a")))
    assert (caught.value.child, caught.value.ref) == ("a", tree["a"])
    await tree.ref.call(StopChild("a"))
    with pytest.raises(AlreadyPresent, match="RestartChild starts it, DeleteChild forgets it"):
        await tree.ref.call(StartChild(Child(Worker, id="a")))


async def test_what_there_is_not_is_said(system: System) -> None:
    tree = await grown(system, "one_for_one", "a")
    for message in (StopChild, RestartChild, DeleteChild, GetChild):
        for key in ("z", tree["a"], 3):
            with pytest.raises(NoSuchChild, match="has no child"):
                await tree.ref.call(message(key))
    for message in (RestartChild, DeleteChild):
        with pytest.raises(ChildRunning, match="is up"):
            await tree.ref.call(message("a"))
    assert tree["a"].alive


async def test_a_child_that_is_no_spec_or_does_not_start_is_not_kept(system: System) -> None:
    tree = await grown(system, "one_for_one", "a")

    class Fails(Actor):
        async def on_start(self) -> None:
            await trio.sleep(1)
            raise Boom

    with pytest.raises(ChildRefused, match="A child is a Child"):
        await tree.ref.call(StartChild(3))  # type: ignore[arg-type]
    with pytest.raises(ChildRefused, match="auto_shutdown='never'"):
        await tree.ref.call(StartChild(Child(Worker, restart="transient", significant=True)))
    with pytest.raises(StartFailed) as caught:
        await tree.ref.call(StartChild(Child(Fails, id="b", name="b")))
    assert isinstance(caught.value.__cause__, Boom)
    assert await tree.states() == {"a": "up"}
    assert system.whereis("b") is None


async def test_a_restart_by_api_that_fails_leaves_the_child_stopped(system: System) -> None:
    failures = {"a": 0}
    log: Log = []
    ref = await system.start(one_for_one(Child(Worker, log, failures, id="a"), restart="temporary"))
    tree = Tree(system, ref, log)
    await ref.call(StopChild("a"))
    failures["a"] = 1
    with pytest.raises(StartFailed):
        await ref.call(RestartChild("a"))
    assert tree["a"].state == "stopped"
    assert await ref.call(RestartChild("a")) == tree["a"]


async def test_a_child_that_declines_to_run_is_kept_without_an_actor(system: System) -> None:
    class Declines(Actor):
        def on_start(self) -> None:
            self.stop()

    class DeclinesSlowly(Actor):
        async def on_start(self) -> None:
            await trio.sleep(1)
            self.stop()

    for cls in (Declines, DeclinesSlowly):
        ref = await system.start(
            one_for_one(
                Child(cls, id="static"),
                Child(cls, id="temporary", restart="temporary"),
                restart="temporary",
            )
        )
        started = await ref.call(StartChild(Child(cls, id="added")))
        assert started.state == "stopped"
        infos = await ref.call(WhichChildren())
        assert [(each.id, each.state) for each in infos] == [
            ("static", "stopped"),
            ("added", "stopped"),
        ]
        assert await ref.call(CountChildren()) == ChildCounts(2, 0, 0, 2)


async def test_a_child_that_declines_at_its_restart_is_stopped(system: System) -> None:
    class Declines(Worker):
        async def on_start(self) -> None:
            if self.ref.incarnation > 1:
                self.stop()

    for strategy in GROUPS.values():
        ref = await system.start(
            strategy(Child(Declines, id="a"), Child(Worker, id="b"), restart="temporary")
        )
        tree = Tree(system, ref, [])
        await tree.crash("a")
        assert await tree.states() == {"a": "stopped", "b": "up"}


async def test_administration_of_a_supervisor_that_is_gone(system: System) -> None:
    tree = await grown(system, "one_for_one", "a")
    await tree.ref.stop()
    with pytest.raises(NoSuchActor):
        await tree.ref.call(WhichChildren())


async def test_a_slow_operation_holds_up_the_next_and_its_caller_may_give_up(
    system: System,
) -> None:
    ref = await system.start(one_for_one(restart="temporary"))
    slow = Child(Worker, None, None, 10.0, id="slow")
    with pytest.raises(CallTimeout):
        await ref.call(StartChild(slow), timeout=1)
    with pytest.raises(CallTimeout):
        await ref.call(WhichChildren(), timeout=1)
    (info,) = await ref.call(WhichChildren(), timeout=20)
    assert (info.id, info.state) == ("slow", "up")


async def test_a_child_that_exits_by_itself_while_its_supervisor_stops_keeps_its_exit(
    system: System,
) -> None:
    events: list[object] = []
    system.telemetry.listen(events.append, ChildExited, ChildRestarted)

    class Exits(Worker):
        async def on_stop(self, exit: Exit) -> None:
            await trio.sleep(1)
            raise Boom("while stopping")

    probe = system.probe()
    ref = await system.start(one_for_one(Child(Exits, id="a"), restart="temporary"))
    tree = Tree(system, ref, [])
    tree["a"].monitor(probe.ref)
    await ref.stop()
    down = await probe.expect(Down)
    assert isinstance(down.exit, Crashed) and str(down.exit.exception) == "while stopping"
    assert await ref.wait() == Normal()
    assert not [each for each in events if isinstance(each, ChildRestarted)]


# -- children and subclasses


async def test_children_may_be_classes_and_are_asked_for_at_every_start(system: System) -> None:
    asked: list[int] = []

    class Top(Supervisor):
        def children(self) -> list[Any]:
            asked.append(self.ref.incarnation)
            return [Worker, Child(Worker, id="b")]

        @handles
        def do(self, message: Do) -> Any:
            return message.function(self)

    await system.start(one_for_one(Child(Top, name="top"), restart="temporary"))
    top = system.whereis("top")
    assert top is not None
    with pytest.raises(ActorDied):
        await top.call(Do(boom))
    await wait_all_tasks_blocked()
    assert asked == [1, 2]
    assert [each.id for each in await top.call(WhichChildren())] == ["Worker", "b"]


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: [3],
        lambda: Child(Worker),
        lambda: [Child(Worker, id="a"), Child(Worker, id="a")],
        lambda: 1 / 0,
    ],
    ids=["no child", "no list", "twice", "raises"],
)
async def test_wrong_children_fail_the_start(system: System, wrong: Any) -> None:
    class Top(Supervisor):
        def children(self) -> Any:
            return wrong()

    with pytest.raises(StartFailed) as caught:
        await system.start(Top, name="top")
    assert isinstance(caught.value.__cause__, TypeError | ValueError | ZeroDivisionError)
    assert system.whereis("top") is None


async def test_a_supervisor_may_have_handlers_and_callbacks_of_its_own(system: System) -> None:
    log: Log = []

    class Top(Supervisor):
        def children(self) -> list[Child[Any]]:
            return [Child(Worker, log, id="a")]

        async def on_start(self) -> None:
            await trio.sleep(1)
            log.append("top starts")

        async def on_ready(self) -> None:
            log.append("top ready")

        async def on_stop(self, exit: Exit) -> None:
            log.append("top stops")

        @handles
        async def slow(self, message: Do) -> Any:
            await trio.sleep(1)
            return message.function(self)

    top = await system.start(Top)
    assert await top.call(Do(lambda actor: "answer")) == "answer"
    await top.stop()
    assert log == ["top starts", "+a", "top ready", "-a", "top stops"]


async def test_a_supervisor_that_crashes_by_itself_stops_its_children(system: System) -> None:
    log: Log = []

    class Top(Supervisor):
        def children(self) -> list[Child[Any]]:
            return [Child(Worker, log, id=id) for id in "ab"]

        @handles
        def do(self, message: Do) -> Any:
            return message.function(self)

    top = await system.start(Top)
    with pytest.raises(ActorDied):
        await top.call(Do(boom))
    await top.wait()
    assert log == ["+a", "+b", "-b", "-a"]


async def test_the_arguments_of_a_temporary_child_are_not_kept(system: System) -> None:
    class Payload:
        pass

    class Takes(Worker):
        def __init__(self, payload: Payload) -> None:
            super().__init__()

    tree = await grown(system, "one_for_one", "a")
    payload = Payload()
    seen = weakref.ref(payload)
    ref = await tree.ref.call(StartChild(Child(Takes, payload, id="t", restart="temporary")))
    del payload
    await ref.stop()
    del ref
    # The call's own deadline has passed, and another one has been answered.
    await trio.sleep(10)
    await tree.states()
    gc.collect()
    assert seen() is None


async def test_a_partial_is_a_factory_like_any_other(system: System) -> None:
    log: Log = []
    ref = await system.start(
        one_for_one(Child(partial(Worker, log, pause=1.0), id="a"), restart="temporary")
    )
    assert log == ["+a"]
    assert ref.alive


async def test_what_a_supervisor_does_is_logged(
    system: System, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("DEBUG", logger="supervisors"):
        tree = await grown(system, "one_for_one", "a", failures={"a": 1})
        await tree.crash("a")
        await tree.ref.call(StartChild(Child(Worker, id="b")))
    texts = [
        (each.levelname, each.getMessage())
        for each in caplog.records
        if each.name == "supervisors" and tree.ref.path in each.getMessage()
    ]
    assert [level for level, _ in texts if level != "DEBUG"] == ["INFO", "ERROR", "ERROR"]
    for text in ("child 'a' started", "child 'a' did not come up again", "child 'a' is up again"):
        assert any(text in each for _, each in texts), text
    assert ("DEBUG", f"{tree.ref.path}: child 'b' started: Child(Worker, id='b')") in texts
