"""A place's queue: user messages in the order of their sending, bounded, with a stash.

What is queued is either the bare message (sent from outside any turn) or an *item*, a tuple that
says more. A message that is itself a tuple is always wrapped in an item.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

import trio

if TYPE_CHECKING:
    from collections.abc import Callable

    from actors.place import Place
    from actors.replies import Slot

MESSAGE, SLOT, SENDER, ID, CORRELATION, CAUSE, TOKEN = range(7)

Item: TypeAlias = tuple[Any, ...]
"""message, reply slot, sender, id, correlation id, causation id, and a token if exempt from the
bound; ids are 0 until somebody asks for them."""


Origin: TypeAlias = "tuple[Place | None, int, int, int]"
"""Sender, id, correlation id and causation id of a message."""
NOWHERE: Origin = (None, 0, 0, 0)


class Token(Protocol):
    """What put an exempt message into the queue: a timer, a monitor, the library itself."""

    @property
    def follows(self) -> bool:
        """Whether it goes along when the message is set aside, and is told so."""
        ...

    def taken(self) -> None:
        """The message has left the queue."""

    def set_aside(self, place: Place) -> None:
        """The message was put into the stash of ``place``; it will be taken once more."""

    def passed_on(self) -> None:
        """The message was put into another queue as it is; it will be taken once more."""


class Unasked:
    """The part of a token that does not follow its message into the stash."""

    __slots__ = ()

    follows = False

    def set_aside(self, place: Place) -> None:
        """Nothing to do."""

    def passed_on(self) -> None:
        """Nothing to do."""


class Exempt(Unasked):
    """The token of messages that nobody asks about again."""

    __slots__ = ()

    def taken(self) -> None:
        """Nothing to do."""


EXEMPT = Exempt()


class Admitted(Exempt):
    """The token of messages that somebody has sent where they need no room."""

    __slots__ = ()

    follows = True


ADMITTED = Admitted()


class Waiting:
    """A sender waiting for room, with what it wants to send."""

    __slots__ = ("item", "task")

    def __init__(self, item: object, task: trio.lowlevel.Task | None) -> None:
        self.item = item
        self.task = task


class Mailbox(deque[Any]):
    """Queued messages and items. Made when first needed: an idle actor has none."""

    __slots__ = ("capacity", "exempt", "senders", "stash")

    def __init__(self, capacity: float) -> None:
        super().__init__()
        self.capacity = capacity
        self.exempt = 0
        """How many queued items do not count against the capacity."""
        self.senders: deque[Waiting] | None = None
        self.stash: deque[Any] | None = None

    @property
    def full(self) -> bool:
        """No room for a user message, or others wait for room already."""
        return len(self) - self.exempt >= self.capacity or bool(self.senders)

    def wait_for_room(self, item: object, task: trio.lowlevel.Task | None) -> Waiting:
        """Queue up for room; the item is admitted in FIFO order and the task then woken."""
        if self.senders is None:
            self.senders = deque()
        waiting = Waiting(item, task)
        self.senders.append(waiting)
        return waiting

    def admit(self) -> None:
        """Let waiting senders in, as many as there is room for."""
        senders = self.senders
        while senders and len(self) - self.exempt < self.capacity:
            waiting = senders.popleft()
            self.append(waiting.item)
            if waiting.task is not None:
                trio.lowlevel.reschedule(waiting.task)
                waiting.task = None
        if not senders:
            self.senders = None

    def withdraw(self, waiting: Waiting) -> None:
        """A waiting sender has given up."""
        if self.senders is not None and waiting in self.senders:
            self.senders.remove(waiting)

    def set_aside(self, item: object) -> bool:
        """Stash an item; False when the stash holds as many as the mailbox may."""
        if self.stash is None:
            self.stash = deque()
        if len(self.stash) >= self.capacity:
            return False
        self.stash.append(item)
        return True

    def bring_back(self) -> None:
        """Stashed items return to the front of the queue, in the order they came."""
        if self.stash:
            self.extendleft(reversed(self.stash))
            self.exempt += sum(map(is_exempt, self.stash))
        self.stash = None

    def take_out(self, token: Token) -> bool:
        """Remove the queued item that carries ``token``; what is set aside carries none."""
        for index, item in enumerate(self):
            if is_exempt(item) and item[TOKEN] is token:
                self.exempt -= 1
                # By its index: messages need not be comparable.
                del self[index]
                return True
        return False

    def drain(self, give: Callable[[Any], None]) -> None:
        """Empty queue, stash and waiting senders into ``give``."""
        self.bring_back()
        waiting = list(self.senders or ())
        self.senders = None
        items = [*self, *(each.item for each in waiting)]
        self.clear()
        self.exempt = 0
        for item in items:
            give(item)
        for each in waiting:
            if each.task is not None:
                trio.lowlevel.reschedule(each.task)
                each.task = None


def is_exempt(item: object) -> bool:
    """Whether a queued thing does not count against the bound."""
    return type(item) is tuple and len(item) == 7


def follower_of(item: Any) -> Token | None:
    """The token in what is queued, if it goes wherever the message goes."""
    if is_exempt(item):
        token: Token = item[TOKEN]
        return token if token.follows else None
    return None


def message_of(item: Any) -> Any:
    """The message in what is queued."""
    return item[MESSAGE] if type(item) is tuple else item


def slot_of(item: Any) -> Slot | None:
    """The reply slot in what is queued, if it is a call."""
    return item[SLOT] if type(item) is tuple else None


def origin_of(item: Any) -> Origin:
    """Sender and ids of what is queued."""
    return item[SENDER:6] if type(item) is tuple else NOWHERE


def sender_of(item: Any) -> Place | None:
    """The actor that sent what is queued, if one did."""
    return item[SENDER] if type(item) is tuple else None
