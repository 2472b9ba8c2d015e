"""Places of another process, as this one sees them.

A :class:`FarPlace` is what a ref names that has come over a link. Whoever is reached by it handles
nothing here: each message is sent on. It is up as long as the link lasts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, cast

import attrs

from actors.actor import Actor
from actors.dispatch import Route, Routes
from actors.exits import Crashed, NoSuchActor
from actors.isolation.faults import exit_fault
from actors.isolation.frames import Down, StopFar, Watch
from actors.isolation.outlet import Outlet
from actors.messages import Call
from actors.monitors import Monitor
from actors.place import Place
from actors.runtime import lifecycle
from actors.runtime.stages import Pending

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from actors.exits import Exit
    from actors.isolation.link import Link
    from actors.isolation.uplink import Uplink
    from actors.mailbox import Origin
    from actors.monitors import Watcher


class ForwardRoutes(Routes):
    """Everything goes over the link, but for classes of messages of which it is known that nobody
    handles them there: ``known``, or None if nothing is known."""

    __slots__ = ("_known",)

    def __init__(self, known: Mapping[type, str] | None = None) -> None:
        super().__init__(object, {})
        self._known = known

    def __missing__(self, message: type) -> Route:
        known = self._known
        handled = known is None or any(cls in known for cls in message.__mro__)
        route = Route(forward if handled else None, is_call=issubclass(message, Call))
        self[message] = route
        return route

    @property
    def messages(self) -> Mapping[type, str]:
        """The classes with a handler, as far as they are known."""
        return self._known or {}


def forward(actor: Any, message: object) -> None:
    """The handler of every message to somebody who lives elsewhere: send it on, its reply slot
    stays here until the answer comes."""
    place = actor._place
    slot = place.reply_slot()
    if slot is not None:
        slot.taken = True
        # Who waits for another process waits for nobody here.
        slot.holder = None
    actor._outlet.post(message, slot, place.item)


class Far(Actor):
    """Stands for an actor of another process."""

    __slots__ = ("_outlet",)

    _outlet: Outlet


@attrs.frozen
class FarSpec:
    """What there is to say of an actor that was not started here: the name of its class."""

    factory: Callable[..., Any]
    args: tuple[Any, ...] = ()
    start_timeout: float = float("inf")
    mailbox: float = 10_000


@attrs.frozen
class Named:
    """Has a name, and is nothing else: in place of a class that may not be here."""

    __name__: str

    def __call__(self, *_: object) -> Any:
        """Nobody is made of it here."""
        raise NotImplementedError


class FarPlace(Place):
    """A place of the process at the other end of ``link``, which knows it by ``number``."""

    __slots__ = ("_path", "_watched", "link", "number")

    far: ClassVar[bool] = True

    def __init__(self, link: Link, number: int, path: str, name: str, incarnation: int) -> None:
        super().__init__(link.system.scheduler, FarSpec(Named(name)), number)
        self.link = link
        self.number = number
        self._path = path
        self._watched = False
        self.incarnation = incarnation
        actor = self.actor = Far()
        actor._place = self
        actor._outlet = Outlet(link, number, self)
        self.routes = ForwardRoutes()
        self.state = "up"
        self.idle = self.fast = True

    @property
    def path(self) -> str:
        """Where in its own system's tree."""
        return self._path

    def handles(self, message: type) -> bool:
        """An event that rises goes on to where it is known who takes it."""
        return True

    def post(self, message: object, token: Any = None, origin: Origin = (None, 0, 0, 0)) -> None:
        """An event that rises; or, with a token, what nobody has asked for, such as a ``Down``."""
        if token is None:
            # Nobody but a worker has somebody of another process above.
            cast("Uplink", self.link).report(message, origin)
        elif self.running:
            token.taken()
            self.actor._outlet.post(message, None, (message, None, *origin))

    def watch(self, watcher: Watcher) -> None:
        """Tell ``watcher`` of the end of the present incarnation."""
        if not self._watched:
            self._watched = True
            self.link.keep(self)
            self.link.send(Watch(self.number))
        super().watch(watcher)

    def down(self, incarnation: int, exit: Exit) -> None:
        """Who lived there has ended."""
        self.incarnation = incarnation
        self._watched = False
        watchers, self.watchers = self.watchers, None
        self.link.let_go(self)
        for watcher in watchers or ():
            if isinstance(watcher, Monitor):
                watcher.incarnation = incarnation
            watcher.resolve(exit)

    def ask_stop(self, exit: Exit) -> Pending:
        """Have it stopped by its own system."""
        pending = Pending(self)
        number = self.link.question(pending)
        self.link.send(StopFar(number, self.number, exit_fault(exit)))
        return pending

    def lose(self, why: BaseException) -> None:
        """There is no way there any more."""
        if not self.running:
            return
        exit = self.exit = Crashed(why)
        self.actor._outlet.give_up(lambda flight: NoSuchActor(str(why), ref=self.ref))
        lifecycle.release(self, exit)
        lifecycle.settle(self, "gone")
        self.down(self.incarnation, exit)


class FarWatcher:
    """Somebody at the other end waits for the end of an incarnation here."""

    __slots__ = ("_incarnation", "_link", "_place", "_target")

    def __init__(self, link: Link, target: int, place: Place) -> None:
        self._link = link
        self._target = target
        self._place = place
        self._incarnation = place.incarnation

    def resolve(self, exit: Exit, /) -> None:
        """It has ended."""
        self._link.watched(self)
        self._link.send(Down(self._target, self._incarnation, exit_fault(exit)))

    def cancel(self) -> None:
        """Nobody is at the other end any more."""
        self._place.unwatch(self)
