"""Actors whose behaviour is to be the same, in a process of their own or in this one."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable
from typing import Any

import attrs
import trio

from actors import (
    Actor,
    Call,
    CallTimeout,
    Down,
    Envelope,
    Exit,
    Idle,
    Later,
    Ref,
    Refusal,
    Shutdown,
    StateMachine,
    enter,
    handles,
)
from supervisors import Child, Supervisor
from tests.actors.isolation.far_actors import Fail, Mortal, Note, Notes, Pid, Plus, Raised, die

# -- messages


@attrs.frozen
class Do(Call[str]):
    """One of the things an actor can do."""

    what: str
    whom: Ref[Any] | None = None
    number: float = 0


@attrs.frozen
class DoIt:
    """The same, one way."""

    what: str
    whom: Ref[Any] | None = None


@attrs.frozen
class Tick:
    pass


@attrs.frozen
class Coin(Call[str]):
    pass


@attrs.frozen
class Push(Call[str]):
    pass


@attrs.frozen
class Nobody(Call[None]):
    """Nobody handles it."""


@attrs.frozen
class NobodyEither:
    """Nor it."""


class No(Refusal):
    """A refusal."""


# -- actors


class Doer(Actor):
    """Does what an actor can do, and keeps a diary. What is said to ``witness`` outlives it."""

    def __init__(self, witness: Ref[Any] | None = None, start: str = "") -> None:
        self.notes: list[str] = []
        self.witness = witness
        self.start = start
        self.open = False
        self.waiting: list[Later[str]] = []
        self.gate = trio.Event()
        self.waits = False

    def say(self, text: str) -> None:
        if self.witness is not None:
            self.witness.cast(Note(text))

    async def on_start(self) -> None:
        if self.start == "call" and self.witness is not None:
            self.notes.append(str(await self.witness.call(Plus(1))))
        elif self.start == "cast" and self.witness is not None:
            self.witness.cast(Note(f"{self.ref.path} starts"))
        elif self.start == "own ref" and self.witness is not None:
            await self.witness.call(Do("keep", self.ref))
        elif self.start == "side":
            self.start_soon(self.in_vain)

    @handles
    async def do(self, msg: Do) -> Any:
        match msg.what:
            case "call":
                assert msg.whom is not None
                return str(await msg.whom.call(Plus(int(msg.number)), timeout=None))
            case "call for so long":
                assert msg.whom is not None
                try:
                    return str(await msg.whom.call(Do("sleep", number=60), timeout=msg.number))
                except CallTimeout as timeout:
                    self.say(f"inherited: {timeout.inherited}")
                    return f"inherited: {timeout.inherited}"
            case "call as long as I may":
                assert msg.whom is not None
                await msg.whom.call(Do("sleep", number=60), timeout=None)
            case "left":
                deadline = self.envelope.deadline
                return str(None if deadline is None else deadline - trio.current_time())
            case "sleep":
                await trio.sleep(msg.number)
                return "slept"
            case "wait":
                self.waits = True
                await self.gate.wait()
                return "waited"
            case "forward":
                assert msg.whom is not None
                msg.whom.forward(self.envelope)
                return None
            case "stop":
                assert msg.whom is not None
                return str(await msg.whom.stop())
            case "await its end":
                assert msg.whom is not None
                return type(await msg.whom.wait()).__name__
            case "monitor":
                assert msg.whom is not None
                self.monitor(msg.whom)
                return "monitored"
            case "monitor and forget":
                assert msg.whom is not None
                msg.whom.monitor(self.ref)
                return "monitored"
            case "start":
                inner = await self.system.start(Doer)
                self.inner = inner
                return inner.path
            case "side":
                self.start_soon(self.fails_beside)
                return "started"
            case "side, later":
                self.start_soon(self.fails_during_a_turn)
                return "started"
            case "note slowly":
                await trio.sleep(msg.number)
                self.notes.append(str(msg.number))
                return ""
            case "stop myself":
                self.stop(Shutdown("enough") if msg.number else None)
                return "stopping"
            case "who":
                return f"{self.ref.path} {self.ref.name} {self.ref.incarnation} {self.parent}"
            case "cast to myself":
                self.ref.cast(Note("from myself"))
                return "cast"
        return "nothing of the kind"

    async def fails_beside(self) -> None:
        await trio.lowlevel.checkpoint()
        raise ValueError("beside")

    async def fails_during_a_turn(self) -> None:
        while not self.gate.is_set() and not self.waits:
            await trio.lowlevel.checkpoint()
        raise ValueError("beside")

    async def in_vain(self) -> None:
        await trio.sleep_forever()

    @handles
    def do_it(self, msg: DoIt) -> None:
        match msg.what:
            case "refuse":
                raise No("one way")
            case "open":
                self.gate.set()
            case "answer":
                for later in self.waiting:
                    later.reply("at last")
            case "notify":
                self.notify(Raised("from below"))
            case "stop":
                self.stop()
            case "raise":
                raise ValueError("one way")
            case "after":
                self.after(0.02, Tick())
            case "every":
                self.every(0.02, Tick())
            case "idle":
                self.idle_after(0.05)

    @handles
    def keep(self, msg: Note) -> None:
        self.notes.append(msg.text)

    @handles
    def tick(self, msg: Tick) -> None:
        self.notes.append("tick")

    @handles
    def idle(self, msg: Idle) -> None:
        self.notes.append("idle")
        self.idle_after(None)

    @handles
    def down(self, msg: Down) -> None:
        text = f"down: {msg.ref.path} {msg.incarnation} {type(msg.exit).__name__}"
        self.notes.append(text)
        self.say(text)

    @handles
    def read(self, msg: Notes) -> list[str]:
        return self.notes

    @handles
    def pid(self, msg: Pid) -> int:
        return os.getpid()

    @handles
    def plus(self, msg: Plus) -> int:
        return msg.amount + 1

    @handles
    def later_one(self, msg: Coin) -> Later[str]:
        later = self.later()
        self.waiting.append(later)
        self.notes.append("waiting")
        return later

    @handles
    def fail(self, msg: Fail) -> None:
        if msg.how == "refuse":
            raise No("not now")
        die(msg.how)

    async def on_stop(self, exit: Exit) -> None:
        self.say(f"{self.ref.id} stopped: {type(exit).__name__}")
        if self.start == "bad end":
            raise ValueError("even at the end")


class Keeper(Actor):
    """Lives in this process: is called from others, keeps the refs it is told of."""

    def __init__(self) -> None:
        self.refs: list[Ref[Any]] = []
        self.numbers: list[int] = []
        self.notes: list[str] = []

    @handles
    async def do(self, msg: Do) -> str:
        if msg.what == "sleep":
            await trio.sleep(msg.number)
            return "slept"
        if msg.what == "forward":
            assert msg.whom is not None
            msg.whom.forward(self.envelope)
            return ""
        if msg.whom is not None:
            self.refs.append(msg.whom)
            self.numbers.append(int(msg.number))
        return "kept here"

    @handles
    def note(self, msg: Note) -> None:
        self.notes.append(msg.text)

    @handles
    def read(self, msg: Notes) -> list[str]:
        return self.notes

    @handles
    def plus(self, msg: Plus) -> int:
        return msg.amount + 100


class Turnstile(StateMachine):
    """Locked until a coin comes; pushes are postponed, or refused."""

    initial = "locked"

    def __init__(self, postpones: bool = False) -> None:
        self.postpones = postpones
        self.entered: list[str] = []

    @handles(state="locked")
    def coin(self, msg: Coin) -> str:
        self.become("open")
        return "thank you"

    @handles(state="locked")
    def push_locked(self, msg: Push) -> str:
        if self.postpones:
            self.postpone()
        return "locked"

    @handles(state="open")
    def push(self, msg: Push) -> str:
        self.become("locked")
        return "go through"

    @handles(state="open")
    def coin_again(self, msg: Coin) -> str:
        self.state_timeout(0.02, Tick())
        return "too kind"

    @handles(state="open")
    def closes(self, msg: Tick) -> None:
        self.become("locked")

    @enter("open", "locked")
    def entering(self, old: str) -> None:
        self.entered.append(f"{old}>{self.machine_state}")

    @handles
    def read(self, msg: Notes) -> list[str]:
        return self.entered

    @handles
    def fail(self, msg: Fail) -> None:
        die(msg.how)


Next = Callable[[Envelope], Awaitable[Any]]


async def doubled(envelope: Envelope, next: Next) -> Any:
    """Doubles what is added, and adds one to the answer."""
    message = envelope.message
    if isinstance(message, Plus):
        envelope = attrs.evolve(envelope, message=Plus(message.amount * 2))
        return await next(envelope) + 1
    return await next(envelope)


async def translated(envelope: Envelope, next: Next) -> Any:
    """What nobody handles becomes what somebody does."""
    message = envelope.message
    if isinstance(message, Nobody):
        return await next(attrs.evolve(envelope, message=Plus(40)))
    if isinstance(message, NobodyEither):
        return await next(attrs.evolve(envelope, message=Note("translated")))
    return await next(envelope)


async def refusing(envelope: Envelope, next: Next) -> Any:
    """Lets nothing heavy through."""
    if isinstance(envelope.message, Plus) and envelope.message.amount > 1000:
        raise No("too heavy")
    return await next(envelope)


class Layered(Doer):
    """Middleware of its class."""

    middleware = (refusing, doubled)


class LayeredLater(Doer):
    """Middleware that is put together in ``__init__``."""

    def __init__(self) -> None:
        super().__init__()
        self.middleware = (translated, doubled)


class Stasher(Mortal):
    """Stashes until it is open: at once, or after it has awaited."""

    def __init__(self, witness: Ref[Any] | None = None, needs: int = 0) -> None:
        self.witness = witness
        self.needs = needs
        self.open = False
        self.seen: list[str] = []
        self.tries = 0

    @handles
    async def note(self, msg: Note) -> None:
        self.tries += 1
        if self.open and self.tries > self.needs:
            self.seen.append(msg.text)
            return
        if self.witness is not None:
            # Packets go to and fro before it is known what becomes of the message.
            await self.witness.call(Plus(1))
            await self.witness.call(Plus(1))
        self.stash()

    @handles
    def plain(self, msg: Raised) -> None:
        if self.open:
            self.seen.append(msg.text)
        else:
            self.stash()

    @handles
    async def poison(self, msg: Do) -> str:
        """Set aside, and fatal all the same; or the last one before a side task fails."""
        self.stash()
        self.seen.append("set aside")
        if msg.what == "side":
            self.start_soon(self.fails_beside)
        else:
            die(msg.what)
        return ""

    async def fails_beside(self) -> None:
        while self._place.busy:
            await trio.lowlevel.checkpoint()
        raise ValueError("beside")

    @handles
    def open_up(self, msg: Coin) -> str:
        self.open = True
        self.unstash()
        return "open"

    @handles
    def shut(self, msg: Push) -> str:
        self.open = False
        self.unstash()
        return "shut"

    @handles
    def read(self, msg: Notes) -> list[str]:
        return self.seen


class Slow(Doer):
    """Takes its time to stop, and says when it has."""

    async def on_stop(self, exit: Exit) -> None:
        await trio.sleep(0.05)
        self.say(f"{self.ref.id} stopped")


class ReadyOnce(Actor):
    """Fails, stops or dies in ``on_ready``, the first time: ``path`` says whether it is."""

    def __init__(self, how: str, path: str) -> None:
        self.how = how
        self.path = path

    def on_ready(self) -> None:
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        if self.how == "self.stop":
            self.stop()
        else:
            die(self.how)

    @handles
    def plus(self, msg: Plus) -> int:
        return msg.amount


class Nest(Supervisor):
    """A supervisor to be isolated, whose child is isolated as well."""

    def __init__(self, witness: Ref[Any], deep: bool = True) -> None:
        self.witness = witness
        self.deep = deep

    def children(self) -> list[Child[Any]]:
        child = Child(Egg, self.witness, id="egg", isolation="process" if self.deep else None)
        return [child]


class Egg(Doer):
    """Says where it is, and notifies."""

    def on_ready(self) -> None:
        if self.witness is not None:
            self.witness.cast(Do("hatched", self.ref, os.getpid()))
        self.notify(Raised("hatched"))


def busy(seconds: float) -> None:
    """Keep this process from doing anything else."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
