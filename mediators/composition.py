"""One answer made of several components' answers, without waiting for any of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import trio

from actors.dispatch import Route
from actors.exits import ActorError, Unhandled
from actors.messages import Call
from actors.replies import CALL_TIMEOUT
from actors.turns import identified
from actors.validation import check_seconds
from mediators.asking import Ask, ask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from actors import Later
    from actors.place import Place
    from actors.replies import Slot
    from mediators.mediator import Mediator


@attrs.frozen
class Failure:
    """A part without an answer: the ``index``-th ``message``, sent to the component of that id,
    ``None`` if there is no such component. ``error`` is the ``Refusal`` or what else a call
    raises: ``ActorDied``, ``NoSuchActor``, ``CallTimeout``, ``Unhandled``.
    """

    index: int
    message: object
    component: str | None
    error: BaseException


@attrs.frozen
class Parts:
    """What has come of the messages of one :meth:`Mediator.compose`, in their order.

    ``answers`` has an answer for each message, ``None`` where there is none; ``failures`` says
    why, in the messages' order. ``parts[i]`` is the i-th answer, or raises its error.
    """

    messages: tuple[Any, ...]
    answers: list[Any]
    failures: tuple[Failure, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether every message was answered."""
        return not self.failures

    def __len__(self) -> int:
        return len(self.messages)

    def __getitem__(self, index: int) -> Any:
        position = range(len(self.messages))[index]
        for failure in self.failures:
            if failure.index == position:
                raise failure.error
        return self.answers[position]


class Composition:
    """The parts under way for one message of the mediator's."""

    __slots__ = ("_components", "_incarnation", "_item", "_mediator", "_missing", "_route", "_slot")

    def __init__(
        self, mediator: Mediator, item: Any, slot: Slot | None, then: Callable[[Parts], Any] | None
    ) -> None:
        self._mediator = mediator
        self._incarnation = mediator._home.incarnation
        self._item = item
        self._slot = slot
        self._route = Route(_identity if then is None else _making(then), is_call=True)
        self._components: list[str | None] = []
        self._missing = 0

    def ask_all(self, messages: Sequence[Any], deadline: float | None) -> None:
        """Send everything at once."""
        home = self._mediator._home
        asked: list[Ask | Failure] = []
        self._missing = 1

        def answered(_: Ask | None = None) -> None:
            self._missing -= 1
            if not self._missing:
                home.request(lambda place: self._turn(place, messages, asked))

        for index, message in enumerate(messages):
            id, target = self._mediator._component_for(type(message))
            self._components.append(id)
            if target is None:
                asked.append(Failure(index, message, id, self._unhandled(message)))
                continue
            self._missing += 1
            asked.append(ask(home, target, message, deadline, answered))
        answered()

    def _unhandled(self, message: object) -> Unhandled:
        home = self._mediator._home
        known = ", ".join(cls.__name__ for cls in self._mediator._component_messages()) or "none"
        return Unhandled(
            f"No component of {home.path} has a handler for this call. They handle: {known}. "
            f"Got: {type(message).__name__}",
            ref=home.ref,
            message=message,
        )

    def _turn(self, place: Place, messages: Sequence[Any], asked: list[Ask | Failure]) -> None:
        """Everything is there: make the answer, in a turn of the mediator's."""
        slot = self._slot
        if place.incarnation != self._incarnation or (slot is not None and slot.done):
            return  # whoever asked has gone
        answers: list[Any] = []
        failures: list[Failure] = []
        for index, each in enumerate(asked):
            failure = each if isinstance(each, Failure) else None
            if isinstance(each, Ask) and each.error is not None:
                error = each.error.with_traceback(None)
                failure = Failure(index, each.message, self._components[index], error)
            if failure is not None:
                failures.append(failure)
            answers.append(None if isinstance(each, Failure) else each.value)
        parts = Parts(tuple(messages), answers, tuple(failures))
        if slot is not None:
            slot.taken = False
        place.scheduler.plain_turn(place, self._item, slot, self._route, parts)


def compose(
    mediator: Mediator,
    messages: tuple[Any, ...],
    timeout: float | None = CALL_TIMEOUT,
    then: Callable[[Parts], Any] | None = None,
) -> Later[Any]:
    """What :meth:`Mediator.compose` does."""
    for message in messages:
        if not isinstance(message, Call):
            raise TypeError(f"compose() takes Calls, which are answered. Got: {message!r}")
    if then is not None and not callable(then):
        raise TypeError(f"compose(then=) is a function of the Parts, or None. Got: {then!r}")
    deadline = None
    if timeout is not None:
        deadline = trio.current_time() + check_seconds("compose(timeout=)", timeout)
    home = mediator._home
    turn = home.turn
    item = turn.item if turn is not None else home.item
    if item is None:
        raise RuntimeError("compose() belongs in the handler of a message; there is none.")
    item = identified(item, home.scheduler.next_id)
    if turn is not None:
        turn.item = item
    else:
        home.item = item
    later: Later[Any] = mediator.later()
    slot = later.slot
    if slot is not None and slot.deadline is not None:
        deadline = slot.deadline if deadline is None else min(deadline, slot.deadline)
    # A token of its own would be taken a second time.
    Composition(mediator, (*item[:1], slot, *item[2:6]), slot, then).ask_all(messages, deadline)
    return later


def _identity(_mediator: object, parts: Parts) -> Parts:
    return parts


def _making(then: Callable[[Parts], Any]) -> Callable[[Mediator, Parts], Any]:
    """``then`` as a handler: the failure of a part that leaves it is the caller's, and not the
    mediator's."""

    def make(mediator: Mediator, parts: Parts) -> Any:
        try:
            return then(parts)
        except ActorError as error:
            if all(failure.error is not error for failure in parts.failures):
                raise
            slot = mediator._home.reply_slot()
            if slot is not None:
                slot.fail(error.with_traceback(None))
            return None

    return make
