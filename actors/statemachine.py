"""Actors that handle a message differently in different states, as OTP's ``gen_statem`` does.

Use one where the answer to "what now?" depends on what happened before: a connection that is
connecting, up or waiting to try again; a door; a protocol. An actor with one flag needs none.

>>> class Door(StateMachine):
...     initial = "locked"
...     code: str = "1234"
...
...     @handles(state="locked")
...     def unlock(self, message: Unlock) -> None:
...         if message.code == self.code:
...             self.become("open")
...
...     @enter("open")
...     def opened(self, old: str) -> None:
...         self.state_timeout(10.0, TimeIsUp())    # cancelled on leaving "open"
...
...     @handles(state="open")
...     def close(self, message: TimeIsUp) -> None:
...         self.become("locked")
...
...     @handles(state="open")
...     def not_now(self, message: Unlock) -> None:
...         self.postpone()                         # retried in the next state
...
...     @handles                                    # in every state
...     def is_open(self, message: IsOpen) -> bool:
...         return self.machine_state == "open"

What a handler asks for — a state, a postponement, internal events, timeouts — takes effect when its
turn has ended, whoever runs it and also if it ends with a ``Refusal``, and before anything else is
looked at. Then, in this order: the state changes and its timeout is cancelled; the new state is
entered; what was postponed returns to the front of the queue, and internal events before it;
timeouts begin to run. A crash does none of it.

Events are handled in this order: internal events; postponed messages, after a change of state;
timeouts of 0 seconds; then whatever the mailbox has, timeouts that have expired included.
"""

from __future__ import annotations

import inspect
from collections.abc import Hashable, Sequence
from math import inf
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from actors.actor import Actor
from actors.annotations import describe
from actors.dispatch import handles
from actors.machine import EVENT, OWN, STATE, UPDATE, Machine
from actors.mailbox import follower_of, is_exempt
from actors.validation import check_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.exits import Exit
    from actors.place import Place
    from actors.runtime.stages import Steps

F = TypeVar("F", bound="Callable[..., Any]")

_ENTER = "__enter_states__"


def enter(*states: str) -> Callable[[F], F]:
    """Mark the method that runs when one of these states is entered.

    A plain ``def`` of ``self`` and the old state. It runs when the state has changed, before any
    event is handled in the new one; for the initial state, after ``on_start`` and with that state
    as the old one; and again on ``become(..., repeat=True)``. It may set timeouts, send, and give
    internal events, but neither change the state nor postpone. If it raises, that is a crash.
    """
    if not states or any(not isinstance(each, str) or not each for each in states):
        got = ", ".join(map(repr, states))
        raise TypeError(f'@enter takes the names of states: @enter("open"). Got: @enter({got})')

    def mark(function: F) -> F:
        _check_enter(function)
        setattr(function, _ENTER, states)
        return function

    return mark


def state_function(function: F) -> F:
    """Mark a method as the handler of the state it is named after: ``@handles(state=<its name>)``.

    Its annotation says which messages it gets. With ``object`` these are all that no more specific
    handler takes, in this state or in every state, timeouts and internal events included.
    """
    given: object = function
    if not inspect.isfunction(given):
        raise TypeError(
            f"@state_function takes a method, def or async def, named after a state. Got: {given!r}"
        )
    return handles(state=given.__name__)(function)


def _check_enter(function: object) -> None:
    accepted = "an enter handler is a plain def of self and the old state: def name(self, old: str)"
    if not inspect.isfunction(function):
        raise TypeError(f"@enter takes a method; {accepted}. Got: {function!r}")
    if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"{describe(function)} cannot await; {accepted}. To await on entering a state, give an "
            "internal event there and handle it. Got: async def"
        )
    parameters = list(inspect.signature(function).parameters.values())
    plain = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    if (
        inspect.isgeneratorfunction(function)
        or len(parameters) != 2
        or any(each.kind not in plain for each in parameters)
    ):
        raise TypeError(
            f"{describe(function)} does not fit; {accepted}. "
            f"Got: def {function.__name__}{inspect.signature(function)}"
        )


class StateMachine(Actor):
    """An actor with a state by name, and handlers for each.

    ``initial`` names the first state. A state exists if a handler (``@handles(state=...)``,
    :func:`state_function`) or an :func:`enter` names it, or ``states`` lists it. Handlers without a
    state are there in every state; a handler of the state itself goes first.

    A restart begins anew: state, timeouts and internal events are gone. Messages from others stay
    in the queue, postponed ones at its front.

    Callbacks, replies, timers and the rest are those of any :class:`Actor`; ``stash`` and
    ``unstash`` are ``postpone`` and its undoing.
    """

    __slots__ = ("_machine",)

    _machine: Machine

    initial: ClassVar[str] = ""
    """The state to begin in; ``become`` in ``__init__`` or ``on_start`` chooses another."""
    states: ClassVar[Sequence[str]] = ()
    """States that no handler names."""
    enters: ClassVar[dict[str, str]] = {}
    """State to the name of its enter handler, collected when the class is created."""
    known_states: ClassVar[tuple[str, ...]] = ()
    """All states, collected when the class is created."""

    has_states: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.enters = _enter_table(cls)
        machines = [base for base in reversed(cls.__mro__) if issubclass(base, StateMachine)]
        listed = [state for base in machines for state in _listed(base)]
        named = [state for state in cls.routes if state is not None]
        cls.known_states = tuple(dict.fromkeys([*named, *cls.enters, *listed]))
        if cls.initial and cls.initial not in cls.known_states:
            raise TypeError(
                f"{cls.__qualname__}.initial is one of its states, which are those named by "
                "@handles(state=...), @state_function and @enter, and those listed in states. "
                f"Accepted: {_names(cls.known_states)}. Got: {cls.initial!r}"
            )

    # -- what a handler can do

    @property
    def machine_state(self) -> str:
        """The name of the present state; inside a handler the one it was called in."""
        return self._bookkeeping().state

    @machine_state.setter
    def machine_state(self, state: str) -> None:
        # Only for replace_state, which finds nothing running.
        place = self._home
        if place.busy:
            raise AttributeError(
                f"The state is changed by self.become({state!r}), which enters it properly."
            )
        self._check_state("machine_state", state)
        self._bookkeeping().restate(place, state)

    def become(self, state: str, *, repeat: bool = False) -> None:
        """Be in ``state`` when this turn has ended. The last call in a turn counts.

        To become the present state changes nothing: no timeout is cancelled, nothing postponed is
        retried, nothing entered, unless ``repeat`` asks for its enter handler to run again. Not a
        checkpoint. Raises ValueError for a state that does not exist, RuntimeError in an enter
        handler.
        """
        machine = self._bookkeeping()
        self._check_state("become()", state)
        self._refuse_entering(machine, "become another state")
        if not machine.started:
            machine.state = state
            return
        machine.target = state
        machine.repeat = repeat
        machine.ask(self._home)

    def postpone(self) -> None:
        """Handle this message again, after the next change of state; its caller keeps waiting.

        Postponed messages keep their order. What the handler returns is dropped. Not a checkpoint.
        Raises MailboxFull when as many are postponed as the mailbox may hold, RuntimeError where no
        message is being handled.
        """
        machine = self._bookkeeping()
        self._refuse_entering(machine, "postpone a message")
        place = self._home
        turn = place.turn
        if place.state != "up" or not place.busy or (turn is not None and turn.route is None):
            raise RuntimeError("A message can be postponed only while it is being handled.")
        if machine.postponed:
            return
        item = turn.item if turn is not None else place.item
        super().stash()
        machine.ask(place)
        machine.postponed = True
        if is_exempt(item) and follower_of(item) is None:
            # A timeout, or an event of its own: it dies with the incarnation, as they do.
            stash = place.open_mailbox().stash
            assert stash is not None
            stash[-1] = (*stash[-1][:6], OWN)

    def stash(self) -> None:
        """The same as :meth:`postpone`."""
        self.postpone()

    def unstash(self) -> None:
        """Retry what was postponed after this turn, without a change of state."""
        machine = self._bookkeeping()
        machine.retry = True
        machine.ask(self._home)

    def internal(self, message: object) -> None:
        """Handle ``message`` next: before what was postponed and before the mailbox. Several come
        in the order given. Not a checkpoint."""
        machine = self._bookkeeping()
        machine.internals.append(message)
        machine.ask(self._place_if_any())

    def state_timeout(self, seconds: float | None, message: object = None) -> None:
        """Get ``message`` when this state has lasted so many seconds; any change of state cancels.

        Together with ``become`` it belongs to the new state. A later one replaces it; ``None`` or
        infinity cancels. With 0 it comes after the events already here, before any message from
        outside. Not a checkpoint.
        """
        self._timeout("state_timeout(seconds)", STATE, seconds, message)

    def event_timeout(self, seconds: float | None, message: object = None) -> None:
        """Get ``message`` when nothing has come for so many seconds: any event cancels it, internal
        ones, retried ones and other timeouts included. ``None`` or infinity cancels. Not a
        checkpoint."""
        self._timeout("event_timeout(seconds)", EVENT, seconds, message)

    def timeout(self, name: Hashable, seconds: float | None, message: object = None) -> None:
        """Get ``message`` in so many seconds, in whichever state.

        One of each name runs at a time: setting it again restarts it; ``None`` or infinity cancels.
        Until a given moment: ``max(0, moment - trio.current_time())``. Not a checkpoint.
        """
        self._timeout("timeout(seconds)", _named(name), seconds, message)

    def update_state_timeout(self, message: object) -> None:
        """Have the state timeout deliver another message, at the same time, also if it has expired
        but was not delivered yet. If none runs, it is delivered as with 0 seconds. Not a
        checkpoint."""
        self._request(STATE, UPDATE, message)

    def update_event_timeout(self, message: object) -> None:
        """The same for the event timeout."""
        self._request(EVENT, UPDATE, message)

    def update_timeout(self, name: Hashable, message: object) -> None:
        """The same for the timeout of that name."""
        self._request(_named(name), UPDATE, message)

    # -- within

    def _timeout(self, what: str, key: Hashable, seconds: float | None, message: object) -> None:
        if seconds is not None:
            check_seconds(f"{what} (None or infinity cancels)", seconds)
            if seconds == inf:
                seconds = None
        self._request(key, seconds, message)

    def _request(self, key: Hashable, seconds: float | None, message: object) -> None:
        machine = self._bookkeeping()
        machine.requests.append((key, seconds, message))
        machine.ask(self._place_if_any())

    def _check_state(self, what: str, state: object) -> None:
        if state not in self.known_states:
            raise ValueError(
                f"{what} takes a state of {type(self).__qualname__}: "
                f"{_names(self.known_states)}. Got: {state!r}"
            )

    def _refuse_entering(self, machine: Machine, what: str) -> None:
        if machine.entering:
            raise RuntimeError(
                f"The handler that enters {machine.state!r} cannot {what}; a state_timeout of 0 "
                "seconds, or an internal event, is handled right after it and can."
            )

    def _place_if_any(self) -> Place | None:
        return getattr(self, "_place", None)

    def _bookkeeping(self) -> Machine:
        machine: Machine | None = getattr(self, "_machine", None)
        if machine is None:
            machine = self._machine = Machine(self.initial)
        return machine

    # -- hooks of the kernel

    def _prepare(self, place: Place) -> None:
        machine = self._bookkeeping()
        if not machine.state:
            raise TypeError(
                f"{type(self).__qualname__} has no initial state; set it in the class: "
                f'initial = "...". Accepted: {_names(self.known_states)}. Got: none'
            )
        place.request(machine.settle)

    def _children_down(self, exit: Exit) -> Steps | None:
        self._machine.end(self._place)
        return None

    def _observes(self, place: Place) -> bool:
        return self._machine.observes() or super()._observes(place)

    def _before_turn(self, place: Place, message: object) -> None:
        self._machine.before_turn()
        super()._before_turn(place, message)


def _enter_table(cls: type) -> dict[str, str]:
    marks: dict[str, tuple[str, ...]] = {}
    for base in reversed(cls.__mro__):
        for name, member in vars(base).items():
            states = getattr(member, _ENTER, None)
            if isinstance(states, tuple):
                marks[name] = states
    table: dict[str, str] = {}
    for name, states in marks.items():
        function = inspect.getattr_static(cls, name)
        if function is None:
            continue
        _check_enter(function)
        for state in states:
            other = table.setdefault(state, name)
            if other != name:
                raise TypeError(
                    f"{cls.__qualname__} has two enter handlers for state {state!r}; a state has "
                    f"one. Got: {other} and {name}"
                )
    return table


def _listed(base: type) -> tuple[str, ...]:
    states = vars(base).get("states", ())
    if (
        isinstance(states, str)
        or not isinstance(states, Sequence)
        or any(not isinstance(each, str) or not each for each in states)
    ):
        raise TypeError(
            f"{base.__qualname__}.states lists the names of states without handlers of their own: "
            f'states = ("open", "closed"). Got: {states!r}'
        )
    return tuple(states)


def _named(name: Hashable) -> tuple[Hashable]:
    """The key of a user's timeout, apart from the library's own."""
    return (name,)


def _names(states: Sequence[str]) -> str:
    return ", ".join(map(repr, states)) or "none"
