"""However a process ends, that is a crash which says what has happened, and nothing is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import pytest
import trio

import actors
from actors import (
    ActorDied,
    Crashed,
    Killed,
    Normal,
    Process,
    ProcessDied,
    Ref,
    StartFailed,
    System,
    open_system,
)
from actors.isolation.stack import without_machinery
from actors.telemetry import ProcessEnded, ProcessStarted
from supervisors import Child, RestartLimitExceeded, one_for_one
from tests.actors.isolation.far_actors import (
    Fail,
    Far,
    Note,
    Notes,
    Pid,
    Plus,
    Slowly,
    Stubborn,
    real,
)

ROOT = Path(__file__).parents[3]
QUICK = Process(heartbeat=0.4)


def tree(cls: Any = Far, *args: Any, **keywords: Any) -> Child[Any]:
    """One isolated actor, restarted whatever happens to it."""
    keywords.setdefault("isolation", "process")
    return one_for_one(Child(cls, *args, name="far", **keywords), max_restarts=1000)


def far(system: System) -> Ref[Any]:
    """The actor of the tree."""
    ref = system.whereis("far")
    assert ref is not None
    return ref


def is_there(pid: int) -> bool:
    """Whether a process exists, be it as a zombie."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


WAYS = {
    "segfault": ("SIGSEGV", None, "was ended by SIGSEGV"),
    "exit": (None, 3, "left with exit code 3"),
    "abort": ("SIGABRT", None, "was ended by SIGABRT"),
    "kill": ("SIGKILL", None, "was ended by SIGKILL"),
    "loop": ("SIGKILL", None, "gave no sign of life for 0.4 s"),
    "sleep": ("SIGKILL", None, "gave no sign of life for 0.4 s"),
    "stop": ("SIGKILL", None, "had been suspended (SIGSTOP) for 0.4 s"),
}


@pytest.mark.parametrize("warm", [True, False], ids=["warm", "cold"])
@pytest.mark.parametrize("how", WAYS)
@real
async def test_a_death_is_a_crash_that_says_what_happened(how: str, warm: bool) -> None:
    name, code, text = WAYS[how]
    async with open_system(tree(isolation=Process(heartbeat=0.4, warm=warm))) as system:
        ref = far(system)
        pid = await ref.call(Pid())
        with pytest.raises(ActorDied) as died:
            await ref.call(Fail(how), timeout=10)
        exit, cause = died.value.exit, died.value.__cause__
        assert isinstance(exit, Crashed) and exit.exception is cause
        assert isinstance(cause, ProcessDied)
        assert (cause.pid, cause.signal, cause.code) == (pid, name, code)
        assert cause.message == Fail(how)
        assert text in str(cause) and f"The last message it took: {Fail(how)}" in str(cause)
        assert not is_there(pid)
        assert await ref.call(Plus(1)) == 1
        assert ref.incarnation == 2


@pytest.mark.parametrize("how", ["segfault", "abort", "loop", "sleep"])
@real
async def test_a_death_tells_where_the_code_was(how: str) -> None:
    async with open_system(tree(isolation=QUICK)) as system:
        with pytest.raises(ActorDied) as died:
            await far(system).call(Fail(how), timeout=10)
        cause = died.value.__cause__
        assert isinstance(cause, ProcessDied)
        assert "far_actors.py" in cause.stack and "in die" in cause.stack
        assert cause.stack in "".join(cause.__notes__)
        assert "frames of the machinery" in cause.stack
        assert "scheduler.py" not in cause.stack and "keeper_process.py" not in cause.stack


def test_of_a_stack_is_left_out_what_stands_below_the_code_of_users() -> None:
    ours, theirs = f'  File "{actors.__file__}", line 1 in x', '  File "/home/me/a.py", line 1 in y'
    keeper, began = (
        f'  File "{trio.__file__}", line 1 in z',
        '  File "<string>", line 1 in <module>',
    )
    busy = ["Thread 1 (most recent call first):", theirs, ours, theirs, ours, keeper]
    idle = ["Thread 2 (most recent call first):", ours, keeper, ours]
    other = ["Thread 3 (most recent call first):", ours, theirs]
    shown = [*busy[:4], "  ... 2 frames of the machinery", *idle, *other]
    assert without_machinery("\n".join([*busy, *idle, *other])) == "\n".join(shown)
    cold = "\n".join([*busy, began])
    assert without_machinery(cold).endswith("\n  ... 3 frames of the machinery")
    assert without_machinery("") == ""


@real
async def test_more_memory_than_the_limit_is_a_crash_of_the_actor_alone() -> None:
    async with open_system(tree(memory_limit=256 << 20)) as system:
        ref = far(system)
        with pytest.raises(ActorDied) as died:
            await ref.call(Fail("memory"), timeout=20)
        assert str(died.value.__cause__) == (
            "MemoryError: its memory_limit is 256 MiB (RLIMIT_DATA: data, not resident memory)"
        )
        assert await ref.call(Plus(1)) == 1


@real
async def test_leaving_by_sys_exit_is_a_crash_of_the_actor_alone() -> None:
    async with open_system(tree()) as system:
        ref = far(system)
        with pytest.raises(ActorDied) as died:
            await ref.call(Fail("sys.exit"))
        assert "SystemExit: 4" in str(died.value.__cause__)
        assert await ref.call(Plus(1)) == 1


@real
async def test_a_death_between_messages_is_one_too() -> None:
    async with open_system(tree()) as system:
        ref = far(system)
        os.kill(await ref.call(Pid()), signal.SIGKILL)
        exit = await ref.wait()
        assert isinstance(exit, Crashed)
        assert await ref.call(Plus(1)) == 1


@real
async def test_the_report_of_a_death_before_any_message_names_none(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with open_system(tree()) as system:
        ref = far(system)
        os.kill(ref._place.actor._worker.pid, signal.SIGKILL)
        await ref.wait()
        assert "  doing:     what its own process did (incarnation 1)\n  state: " in caplog.text
        assert await ref.call(Plus(1)) == 1


@real
async def test_restarts_are_counted_as_any_other() -> None:
    root = one_for_one(Child(Far, name="far", isolation="process"), max_restarts=2)
    with pytest.raises(RestartLimitExceeded) as gave_up:
        async with open_system(root) as system:
            for _ in range(3):
                with pytest.raises(ActorDied):
                    await far(system).call(Fail("exit"))
            await trio.sleep_forever()
    assert isinstance(gave_up.value.__cause__, ProcessDied)


@real
async def test_an_alive_and_slow_one_is_left_alone() -> None:
    """A deadline ends the waiting; a sign of life is all that is asked of the process."""
    async with open_system(tree(isolation=QUICK)) as system:
        ref = far(system)
        pid = await ref.call(Pid())
        with pytest.raises(TimeoutError):
            await ref.call(Slowly("for ever"), timeout=1.2)
        assert await ref.call(Pid()) == pid


# -- stopping


@real
async def test_an_orderly_stop_has_last_words_and_leaves_nothing() -> None:
    async with open_system() as system:
        probe = system.probe()
        child = Child(Far, 0, [], [], probe.ref, isolation="process", restart="temporary")
        ref = await system.start(child)
        pid = await ref.call(Pid())
        assert await ref.stop()
        assert await ref.wait() == Normal()
        assert (await probe.expect(Note, within=5)).text == "stopped by Normal"
        assert not is_there(pid)


@real
async def test_what_does_not_stop_gets_sigterm_and_then_sigkill() -> None:
    ends: list[ProcessEnded] = []
    async with open_system() as system:
        system.telemetry.listen(ends.append, ProcessEnded)
        child = Child(Stubborn, isolation="process", shutdown=0.2, restart="temporary")
        ref = await system.start(child)
        pid = await ref.call(Pid())
        await ref.stop()
        assert await ref.wait() == Killed()
        assert not is_there(pid)
    assert [each.signal for each in ends] == ["SIGKILL"]


@real
async def test_what_heeds_sigterm_is_not_killed() -> None:
    ends: list[ProcessEnded] = []
    async with open_system() as system:
        system.telemetry.listen(ends.append, ProcessEnded)
        child = Child(Far, isolation="process", shutdown="kill", restart="temporary")
        ref = await system.start(child)
        await ref.stop(Killed())
        assert await ref.wait() == Killed()
    assert [each.signal for each in ends] == ["SIGTERM"]


@real
async def test_an_endless_loop_is_stopped_within_its_bounds() -> None:
    async with open_system() as system:
        child = Child(Far, isolation="process", shutdown=0.2, restart="temporary")
        ref = await system.start(child)
        pid = await ref.call(Pid())
        page = ref._place.actor._page
        before = page.latest
        ref.cast(Fail("loop"))
        while page.latest == before:
            await trio.sleep(0)
        await ref.stop()
        assert await ref.wait() == Killed()
        assert not is_there(pid)


@real
async def test_the_end_of_the_system_is_the_end_of_every_process() -> None:
    async with open_system() as system:
        pids = []
        for _ in range(3):
            ref = await system.start(Child(Far, isolation="process"))
            pids.append(await ref.call(Pid()))
    assert not any(map(is_there, pids))


@real
async def test_cancelling_the_scope_around_the_system_ends_its_processes_in_order() -> None:
    with trio.CancelScope() as scope:
        async with open_system() as system:
            ref = await system.start(Child(Far, isolation="process"))
            pid = await ref.call(Pid())
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught
    assert not is_there(pid)


PROGRAM = """
import sys, trio
from actors import open_system
from supervisors import Child
from tests.actors.isolation.far_actors import Fail, Far, Pid

async def main():
    async with open_system() as system:
        for each in range(3):
            ref = await system.start(Child(Far, isolation="process"))
            print(await ref.call(Pid()), flush=True)
            if each:
                ref.cast(Fail(sys.argv[each]))
        print("ready", flush=True)
        await trio.sleep_forever()

trio.run(main)
"""


@pytest.mark.parametrize("ways", [("loop", "sleep"), ("stop", "loop")], ids=str)
def test_a_process_dies_with_its_parent_whatever_it_does(ways: tuple[str, str]) -> None:
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, *ways], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert program.stdout is not None
    with program:
        pids = [int(program.stdout.readline()) for _ in range(3)]
        assert program.stdout.readline() == "ready\n"
        assert all(map(is_there, pids))
        program.kill()
        program.wait()
    deadline = time.monotonic() + 10
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        os.sched_yield()
    assert not any(map(is_running, pids))


def is_running(pid: int) -> bool:
    """Whether a process exists and is no zombie: an orphan is somebody else's to reap."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text("ascii", "replace")
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] not in "ZX"


@real
async def test_the_death_of_the_keeper_is_that_of_its_workers_and_another_takes_over() -> None:
    started: list[ProcessStarted] = []
    async with open_system(tree()) as system:
        system.telemetry.listen(started.append, ProcessStarted)
        ref = far(system)
        pid = await ref.call(Pid())
        os.kill(parent_of(pid), signal.SIGKILL)
        exit = await ref.wait()
        assert isinstance(exit, Crashed) and "nobody can tell how" in str(exit.exception)
        assert not is_running(pid)
        assert await ref.call(Plus(1)) == 1
        assert await ref.call(Notes()) == []


def parent_of(pid: int) -> int:
    """The process that has started it."""
    return int(Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[1])


# -- scripts


def script(text: str, tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run a program as a user does: ``python script.py``."""
    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(text), "utf-8")
    return subprocess.run(
        [sys.executable, str(path), *arguments],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


SCRIPT = """
from __future__ import annotations
import attrs, threading, trio
from actors import Actor, Call, Refusal, handles, open_system
from supervisors import Child

class Overdrawn(Refusal): ...

@attrs.frozen
class Receipt:
    left: int

@attrs.frozen
class Withdraw(Call[Receipt]):
    amount: int

LIMIT = {limit}

@attrs.define
class Account(Actor):
    balance: int

    @handles
    def withdraw(self, msg: Withdraw) -> Receipt:
        if msg.amount > self.balance:
            raise Overdrawn(f"{{self.balance}} left, {{LIMIT}}")
        self.balance -= msg.amount
        return Receipt(self.balance)

async def main() -> None:
    async with open_system() as system:
        account = await system.start(Child(Account, 10, isolation="process"))
        print(await account.call(Withdraw(3)))
        try:
            await account.call(Withdraw(30))
        except Overdrawn as no:
            print("refused:", no)

trio.run(main)
"""


def test_classes_of_the_script_itself_work(tmp_path: Path) -> None:
    done = script(SCRIPT.format(limit="'no credit'"), tmp_path)
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["Receipt(left=7)", "refused: 7 left, no credit"]


DERIVED = """
from __future__ import annotations
import dataclasses, sys
from datetime import datetime
from typing import NamedTuple
import attrs, trio
from actors import Actor, Call, Refusal, handles, open_system
from supervisors import Child, Pool, Shards

@attrs.frozen
class Found:
    number: int

@attrs.frozen
class Page(Found):
    when: datetime | None = None

@dataclasses.dataclass
class Note:
    text: str

@dataclasses.dataclass
class Long(Note):
    more: Found | None = None

class Base(NamedTuple):
    number: int
    note: Note

class Derived(Base): ...

class No(Refusal): ...

@attrs.frozen
class Never(No):
    when: datetime

@attrs.frozen
class Ask(Call["Page"]):
    key: str

@attrs.frozen
class AskMore(Ask):
    about: Derived | None = None

class Outer:
    @attrs.frozen
    class Inner(AskMore):
        note: Long | None = None

class Answers(Actor):
    @handles
    def ask(self, message: Ask) -> Page:
        return Page(1)

class Desk(Answers):
    @handles
    def more(self, message: AskMore) -> Page:
        if message.key == "no":
            raise Never(datetime(2026, 1, 1))
        if message.key == "die":
            raise SystemExit("died")
        return Page(message.about.number if message.about else 2, datetime(2026, 1, 1))

async def main() -> None:
    specs = {
        "process": Child(Desk, isolation="process"),
        "pool": Pool(Child(Desk, isolation="process"), min=1, max=1, attempts=1),
        "shards": Shards(Child(Desk), key="key", count=2, processes=1),
    }
    async with open_system() as system:
        desk = await system.start(specs[sys.argv[1]])
        for message in (
            Ask("a"),
            AskMore("a", Derived(3, Note("n"))),
            Outer.Inner("a", None, Long("l", Found(4))),
            AskMore("no"),
            AskMore("die"),
            Outer.Inner("a", Derived(5, Note("n"))),
        ):
            try:
                print((await desk.call(message)).number)
            except Exception as error:
                print(type(error).__name__)

trio.run(main)
"""


@pytest.mark.parametrize(
    ("way", "dies"), [("process", "ActorDied"), ("pool", "Poisoned"), ("shards", "ActorDied")]
)
def test_classes_of_the_script_may_derive_from_each_other(
    way: str, dies: str, tmp_path: Path
) -> None:
    done = script(DERIVED, tmp_path, way)
    assert done.stdout.split() == ["1", "3", "2", "Never", dies, "5"], done.stderr


STRUCT = """
from typing import Any
import attrs, msgspec, trio
from actors import Actor, Call, handles, open_system
from actors.payloads import NotEncodable
from supervisors import Child

class Point(msgspec.Struct):
    x: int

@attrs.frozen
class Ask(Call[Any]):
    what: Any

class Echo(Actor):
    @handles
    def ask(self, message: Ask) -> Any:
        return message.what

async def main() -> None:
    async with open_system() as system:
        echo = await system.start(Child(Echo, isolation="process"))
        try:
            await echo.call(Ask(Point(1)))
        except NotEncodable as error:
            print(error)
        print(await echo.call(Ask(2)))

trio.run(main)
"""


def test_a_struct_of_the_script_is_refused_with_the_way_out(tmp_path: Path) -> None:
    done = script(STRUCT, tmp_path)
    text, two = done.stdout.splitlines()
    assert "Point cannot be sent to another process" in text and two == "2", done.stderr
    assert "sent by its name only" in text and "move it into a module" in text


def test_classes_that_cannot_leave_the_script_are_refused_with_the_way_out(tmp_path: Path) -> None:
    done = script(SCRIPT.format(limit="threading.Lock()"), tmp_path)
    assert done.returncode == 1
    [line] = [each for each in done.stderr.splitlines() if each.startswith("TypeError: Account")]
    assert "cannot be sent to a process of its own" in line
    assert "move it into a module, and only its name is" in line


def test_an_argument_that_cannot_be_sent_is_refused_when_the_spec_is_made() -> None:
    """X11."""
    with pytest.raises(TypeError, match=r"Far cannot be sent to a process of its own: .*lock"):
        Child(Far, 0, [__import__("threading").Lock()], isolation="process")


THREADED = """
import threading
threading.Thread(target=threading.Event().wait, daemon=True).start()

from tests.actors.isolation.far_actors import Far

class Threaded(Far):
    pass
"""


def test_a_module_that_starts_threads_is_not_forked(tmp_path: Path) -> None:
    (tmp_path / "threaded.py").write_text(THREADED, "utf-8")
    done = script(
        """
        import trio
        from actors import open_system
        from actors.telemetry import ProcessStarted
        from supervisors import Child
        from tests.actors.isolation.far_actors import Far, Plus

        async def main():
            async with open_system() as system:
                system.telemetry.listen(lambda each: print(each.warm), ProcessStarted)
                await system.start(Child(Far, isolation="process"))
                from threaded import Threaded
                ref = await system.start(Child(Threaded, isolation="process"))
                print(await ref.call(Plus(2)))

        trio.run(main)
        """,
        tmp_path,
    )
    assert done.stderr == ""
    assert done.stdout.splitlines() == ["True", "False", "2"]


def test_where_a_class_cannot_be_imported_the_start_says_so(tmp_path: Path) -> None:
    done = script(
        """
        import sys, types, trio
        from actors import Actor, StartFailed, open_system
        from supervisors import Child

        made = types.ModuleType("made_up")
        exec("from actors import Actor\\nclass Odd(Actor): pass", vars(made))
        sys.modules["made_up"] = made

        async def main():
            async with open_system() as system:
                try:
                    await system.start(Child(made.Odd, isolation="process"))
                except StartFailed as failed:
                    print(failed)

        trio.run(main)
        """,
        tmp_path,
    )
    assert "No module named 'made_up'" in done.stdout


@real
async def test_a_start_that_fails_leaves_no_process() -> None:
    ends: list[ProcessEnded] = []
    async with open_system() as system:
        system.telemetry.listen(ends.append, ProcessEnded)
        from tests.actors.isolation.far_actors import NoStart

        with pytest.raises(StartFailed):
            await system.start(Child(NoStart, "raise", isolation="process"))
        assert [each.code for each in ends] == [0]
