"""Sending what a workflow wants sent, and what becomes of it: attempts, retries, settling."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

import trio
from msgspec import Raw

from actors import ActorDied, CallTimeout, Crashed, NoSuchActor, Unhandled
from actors.payloads.names import brief
from actors.payloads.types import NotEncodable, Undecodable, UnknownType
from actors.replies import Slot
from actors.runtime import host
from actors.runtime.calls import gone, is_closed
from mediators import history as h
from mediators.execution.commands import Effect, Step
from mediators.idempotency.middleware import Settle
from mediators.outcomes import ENDINGS
from mediators.retry import STEP_TIMEOUT
from mediators.texts import text_of

if TYPE_CHECKING:
    from actors.place import Place
    from mediators.driver.driver import Driver
    from mediators.execution.execution import Execution

DOWN = 1.0
"""Seconds after which a place that nobody will live in just now is looked at again."""

_key: ContextVar[str] = ContextVar("effect_key")


def effect_key() -> str:
    """Inside a function run by ``Workflow.effect``: the idempotency key of this effect, the same on
    every attempt. To be handed to whatever outside makes its own things once per key."""
    try:
        return _key.get()
    except LookupError:
        raise RuntimeError("effect_key() is for functions that Workflow.effect() runs.") from None


class Attempt(Slot):
    """The reply slot of one attempt: its answer goes to the driver's lane."""

    __slots__ = ("attempt", "driver", "execution", "incarnation", "key", "path", "settles")

    key: str | None
    attempt: int

    def __init__(
        self,
        driver: Driver,
        execution: Execution,
        path: str,
        message: object,
        target: Place,
        timeout: float | None,
    ) -> None:
        # As Slot does, without a further call for every step.
        self.message = message
        self.place = target
        self.holder = self.deadline = self.task = self.room = self.cell = None
        self.value = self.error = None
        self.timeout = timeout
        self.inherited = self.done = self.taken = False
        self.driver = driver
        self.execution = execution
        self.path = path
        self.key = execution.key(path)
        self.incarnation = target.incarnation
        self.settles = False
        # Now: a handler that outlives its attempt asks when there are more.
        command = execution.open.get(path)
        self.attempt = command.attempts + command.deaths + 1 if isinstance(command, Step) else 1

    def settle(self) -> None:
        """The answer is there. As Slot does, where no task waits."""
        self.done = True
        if self.room is not None:
            queue, entry = self.room
            queue.withdraw(entry)
            self.room = None
        driver = self.driver
        driver.outcomes.append(self)
        driver.committer.wanted()

    def fire(self) -> None:
        """The time is up: unless the component was not there, which does not count."""
        place = self.place
        if place.state != "up" or place.incarnation != self.incarnation:
            self.incarnation = place.incarnation
            self.driver.deadlines.enter(self)
        else:
            self.fail(CallTimeout("no answer in time", timeout=self.timeout, ref=place.ref))

    def drop(self) -> None:
        """Nobody wants the answer; whoever has not handled the message does not handle it."""
        if not self.done:
            super().settle()


class EffectDone:
    """The outcome of one attempt at an effect."""

    __slots__ = ("error", "execution", "path", "settles", "value")

    def __init__(
        self, execution: Execution, path: str, value: Any, error: BaseException | None
    ) -> None:
        self.execution = execution
        self.path = path
        self.value = value
        self.error = error
        self.settles = False

    def drop(self) -> None:
        """It runs on; nobody asks."""


class Attempts:
    """What a driver has under way with components and effects."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self._unsettled: dict[tuple[int, str], int] = {}
        """How often a Settle has failed, by run and path."""

    # -- out

    def send(self, execution: Execution, command: Step) -> None:
        """One attempt. Its intent is on disk."""
        path = command.path
        if execution.open.get(path) is not command or command.call is not None or is_cut(command):
            return
        command.sent = True
        if isinstance(command, Effect):
            self._run(execution, command)
            return
        driver = self._driver
        message = self._message_of(execution, command)
        if message is None:
            return
        target = driver.target(type(message))
        if target is None:
            what = (
                f"No component handles {type(message).__name__}. Handled are: {driver.accepted()}."
            )
            driver.turn(execution, h.Stuck(path, h.Trouble(path, what)))
            return
        command.call = self._post(
            Attempt(driver, execution, path, message, target, command.timeout)
        )

    def _message_of(self, execution: Execution, command: Step) -> Any:
        """What a step sends, always as it was recorded. None, and an incident, if that cannot be:
        its class, or the function of an effect, is not there any more."""
        path = command.path
        assert command.encoded is not None
        try:
            message = execution.types.decode(command.encoded)
            if command.kind != "effect":
                return message
            what = text_of(f"The function {message[0]} cannot be reached any more.")
        except (UnknownType, Undecodable) as error:
            what = text_of(error)
        self._driver.turn(execution, h.Stuck(path, h.Trouble(path, what)))
        return None

    def _post(self, attempt: Attempt) -> Attempt:
        place = attempt.place
        scheduler = place.scheduler
        if is_closed(place):
            attempt.fail(gone(place, attempt.message))
            return attempt
        drawn = scheduler.next_id()
        item = (attempt.message, attempt, self._driver.place, drawn, drawn, 0)
        self._driver.deadlines.enter(attempt)
        mailbox = place.mailbox
        if mailbox is None:
            mailbox = place.open_mailbox()
        if mailbox.full:
            attempt.room = (mailbox, mailbox.wait_for_room(item, None))
        else:
            mailbox.append(item)
        if place.idle:
            scheduler.schedule(place)
        return attempt

    def _run(self, execution: Execution, command: Effect) -> None:
        command.call = EffectDone(execution, command.path, None, None)
        host.start_side(self._driver.place, self._effect, (execution, command, command.call))

    async def _effect(self, execution: Execution, command: Effect, done: EffectDone) -> None:
        _key.set(execution.key(command.path))
        timeout = command.timeout
        try:
            with trio.move_on_after(float("inf") if timeout is None else timeout) as scope:
                assert command.encoded is not None
                _, args = execution.types.decode(command.encoded)
                done.value = await command.function(*args)
            if scope.cancelled_caught:
                done.error = CallTimeout("no end in time", timeout=timeout)
        except Exception as error:
            done.error = error
        self._driver.arrived(done)

    # -- back

    def came(self, outcome: Any) -> None:
        """An attempt has its outcome."""
        execution, path = outcome.execution, outcome.path
        command = execution.open.get(path)
        if not isinstance(command, Step):
            return
        if outcome.settles:
            self._settle_came(execution, command, outcome)
            return
        if command.call is not outcome:
            return
        command.call = None
        error = outcome.error
        if error is None:
            self.answered(execution, command, outcome.value)
        elif isinstance(error, ENDINGS):
            self._refused(execution, command, error)
        elif isinstance(error, NoSuchActor):
            # Stopped on purpose, or not there yet: that is no failure of the step.
            self._driver.later(DOWN, ("again", execution, command))
        elif isinstance(error, Unhandled):
            trouble = h.Trouble(path, text_of(error))
            self._driver.turn(execution, h.Stuck(path, trouble))
        elif command.branch is not None or command.kind == "undo" or command.rerun:
            self._failed(execution, command, error)

    def answered(self, execution: Execution, command: Step, value: Any) -> None:
        """There is a value: record it, and the undo made of it."""
        path = command.path
        try:
            encoded = execution.encode(value, f"the answer of {path}")
        except NotEncodable as error:
            self._driver.turn(execution, h.Stuck(path, h.Trouble(path, text_of(error))))
            return
        undo, fault = make_undo(execution, command, encoded)
        self._driver.turn(execution, h.Completed(path, encoded, undo or h.NIL, fault))

    def _refused(self, execution: Execution, command: Step, error: BaseException) -> None:
        try:
            refusal = Raw(execution.types.encode_refusal(error))
        except NotEncodable as failure:
            trouble = h.Trouble(command.path, text_of(failure))
            self._driver.turn(execution, h.Stuck(command.path, trouble))
            return
        self._driver.turn(execution, h.Refused(command.path, refusal))

    def _failed(self, execution: Execution, command: Step, error: BaseException) -> None:
        """An attempt has failed: a further one, or the end of it."""
        if command.branch is None and not needs_settling(command):
            self._driver.turn(execution, h.Settled(command.path))
            return
        retry = command.retry
        failures = command.attempts + 1
        if failures + command.deaths < retry.attempts:
            reason = "timeout" if isinstance(error, CallTimeout) else "crashed"
            delay = retry.delay(failures, self._driver.random)
            self._driver.later(delay, ("retry", execution, command, reason))
            return
        cause = cause_of(error)
        name, text = text_of(type(cause).__name__), text_of(cause)
        path = command.path
        if command.branch is None or execution.pivoted:
            what = f"All {failures + command.deaths} attempts failed, the last with {name}: {text}"
            self._driver.turn(execution, h.Stuck(path, h.Trouble(path, what)))
        else:
            self._driver.turn(execution, h.Failed(path, failures + command.deaths, name, text))

    def again(self, execution: Execution, command: Step, reason: str) -> None:
        """The time for a further attempt has come: its intent first."""
        path = command.path
        if execution.open.get(path) is not command or command.call is not None or is_cut(command):
            return
        number = command.attempts + command.deaths + 2
        self._driver.turn(execution, h.Attempted(path, number, reason))
        self._driver.out("send", execution, command)

    def go_on(self, execution: Execution, command: Step, before: Step) -> None:
        """The run of this command was rebuilt: it goes on as the one before it."""
        path = command.path
        command.call, command.sent, command.rerun = before.call, before.sent, before.rerun
        if command.call is not None or path in execution.incidents or execution.is_kept(path):
            return
        if command.branch is None and command.kind != "undo":
            self._driver.out("settle", execution, command)
        elif not command.sent:
            self._driver.out("send", execution, command)
        else:
            retry = command.retry
            delay = retry.delay(command.attempts + 1, self._driver.random)
            self._driver.later(delay, ("retry", execution, command, "crashed"))

    def took_up(self, execution: Execution, command: Step) -> None:
        """The owner of this command has died: what became of its last attempt nobody knows."""
        retry = command.retry
        path = command.path
        if command.attempts + command.deaths + 1 < retry.attempts:
            self.again(execution, command, "died")
            return
        if command.attempts and command.branch is not None and not execution.pivoted:
            event: h.Event = h.Failed(
                path,
                command.attempts + command.deaths + 1,
                "Died",
                "the process ended while it was being tried",
            )
        else:
            what = f"The process has ended {command.deaths + 1} times while this was being tried."
            event = h.Stuck(path, h.Trouble(path, what))
        self._driver.turn(execution, event)

    # -- settling

    def settle(self, execution: Execution, command: Step) -> None:
        """Find out what a step has done that nobody waits for any more."""
        path = command.path
        if execution.open.get(path) is not command or path in execution.incidents:
            self._unsettled.pop((execution.number, path), None)
            return
        if not command.sent and not command.spent:
            self._driver.turn(execution, h.Settled(path))
            return
        target = None
        if not isinstance(command, Effect):
            message = self._message_of(execution, command)
            if message is None:
                return
            target = self._driver.target(type(message))
        if target is None or target in self._driver.forgetful:
            self._settle_by_hand(execution, command)
            return
        timeout = command.timeout or STEP_TIMEOUT
        attempt = Attempt(
            self._driver, execution, path, Settle(execution.key(path)), target, timeout
        )
        attempt.key = None
        attempt.settles = True
        self._post(attempt)

    def _settle_came(self, execution: Execution, command: Step, outcome: Attempt) -> None:
        path = command.path
        error = outcome.error
        if command.branch is not None or command.kind == "undo":
            return
        if error is None:
            self._unsettled.pop((execution.number, path), None)
        if isinstance(error, Unhandled):
            self._driver.forgetful.add(outcome.place)
            self._settle_by_hand(execution, command)
        elif isinstance(error, NoSuchActor | CallTimeout):
            # Not there, or still at work on the step itself.
            self._driver.later(DOWN, ("settle", execution, command))
        elif error is not None and path in execution.incidents:
            return
        elif error is not None:
            self._settle_failed(execution, command, error)
        elif outcome.value.outcome == "answered":
            self._drop_call(command)
            self.answered(execution, command, outcome.value.value)
        elif outcome.value.outcome == "refused":
            self._drop_call(command)
            self._refused(execution, command, outcome.value.refusal)
        else:
            self._drop_call(command)
            self._driver.turn(execution, h.Settled(path))

    def _settle_failed(self, execution: Execution, command: Step, error: BaseException) -> None:
        """Nobody has told what the step has done: asked again as often as it may be tried."""
        path, retry = command.path, command.retry
        place = execution.number, path
        failures = self._unsettled.pop(place, 0) + 1
        if failures < retry.attempts:
            self._unsettled[place] = failures
            delay = retry.delay(failures, self._driver.random)
            self._driver.later(max(delay, DOWN), ("settle", execution, command))
            return
        cause = cause_of(error)
        what = (
            f"What it has done cannot be found out: asked {failures} times, its component failed, "
            f"the last time with {type(cause).__name__}: {text_of(cause)}"
        )
        self._driver.turn(execution, h.Stuck(path, h.Trouble(path, text_of(what))))

    def _drop_call(self, command: Step) -> None:
        call, command.call = command.call, None
        if call is not None:
            call.drop()

    def _settle_by_hand(self, execution: Execution, command: Step) -> None:
        """Nobody remembers the key: an attempt under way tells; else, if there is something to
        undo, it is run again until it tells."""
        if command.call is not None:
            command.rerun = True
            return
        if not needs_settling(command):
            self._driver.turn(execution, h.Settled(command.path))
            return
        retry = command.retry
        if command.settling and command.attempts + command.deaths + 1 >= retry.attempts:
            what = "Attempts have not told what it has done, and the process has ended meanwhile."
            self._driver.turn(execution, h.Stuck(command.path, h.Trouble(command.path, what)))
            return
        command.rerun = True
        self.again(execution, command, "settle")


def cause_of(error: BaseException) -> BaseException:
    """What an attempt has failed with: of a component that died of it, what it died of."""
    if isinstance(error, ActorDied) and isinstance(error.exit, Crashed):
        return error.exit.exception
    return error


def is_cut(command: Step) -> bool:
    """Whether nobody waits for a step any more: no further attempt is made, it settles."""
    return command.branch is None and command.kind != "undo" and not command.rerun


def needs_settling(command: Step) -> bool:
    """Whether it matters what a step has done: it is an undo, or can be undone."""
    return command.kind == "undo" or command.undo is not None or command.undo_encoded is not None


def make_undo(execution: Execution, command: Step, encoded: Raw) -> tuple[Raw | None, str | None]:
    """The message an undo function makes of the answer, or why it makes none."""
    if command.kind == "undo" or command.undo is None or command.undo_encoded is not None:
        return None, None
    function: Any = command.undo
    try:
        message = execution.guarded(lambda: function(execution.types.decode(encoded)))
        if message is None:
            return None, None
        return execution.encode(message, f"the undo of {command.path}"), None
    except Exception as error:
        answer = brief(execution.types.decode(encoded))
        return None, text_of(f"There is no undo for the answer {answer}: {text_of(error)}")
