"""A place in the tree: what a :class:`Ref` names.

A place outlives the actors that live in it one after another. It is a flat record, because there
may be a hundred thousand of them; what happens to it is in :mod:`actors.runtime`.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

from actors.dispatch import NONE, Routes
from actors.mailbox import EXEMPT, ID, NOWHERE, Mailbox, Origin, message_of
from actors.ref import Ref
from actors.replies import CALL_TIMEOUT, INLINE, Held, Slot
from actors.turns import identified

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from actors.exits import Exit
    from actors.introspection import Debug
    from actors.monitors import Watcher
    from actors.runtime.host import Host, Side
    from actors.runtime.scheduler import Scheduler
    from actors.runtime.stages import Pending, Stage
    from actors.schedule import ActorTimer, IdleTimer
    from actors.timers import Timer
    from actors.turns import Turn

State: TypeAlias = Literal["starting", "up", "stopping", "restarting", "stopped", "gone"]


class Spec(Protocol):
    """What a place needs to know of the actor that is to live in it. ``Child`` is one."""

    @property
    def factory(self) -> Callable[..., Any]: ...
    @property
    def args(self) -> tuple[Any, ...]: ...
    @property
    def start_timeout(self) -> float: ...
    @property
    def mailbox(self) -> float: ...


class Parent(Protocol):
    """Who answers for a place: a supervisor, or the system's root."""

    def child_exited(self, place: Place, exit: Exit) -> None:
        """An incarnation has ended; decide what becomes of the place. Called in no turn."""

    def given_back(self, place: Place, item: Any) -> None:
        """An isolated actor does not want a message that it was sent; decide what becomes of it."""


class Place:
    """One place. ``fast`` and ``idle`` decide how the next message is handled.

    ``idle``: nothing queued, nothing running, nothing scheduled. ``fast``: up, and nothing to look
    at but the message: no turn of its own task, no request, no middleware, no listener. Whoever
    gives a place something to attend to clears ``fast``; :meth:`Scheduler.attend` sets it again.
    """

    __slots__ = (
        "__weakref__",
        "actor",
        "actor_timers",
        "context",
        "control",
        "debug",
        "declined",
        "ending",
        "exit",
        "fast",
        "fate",
        "held",
        "host",
        "idle",
        "idle_timer",
        "incarnation",
        "item",
        "key",
        "mailbox",
        "middleware",
        "monitors",
        "name",
        "overdue",
        "owner",
        "parent",
        "ready_due",
        "ref",
        "reserved",
        "routes",
        "scheduler",
        "side",
        "slot",
        "spec",
        "stage",
        "starting",
        "state",
        "stops",
        "suspended",
        "turn",
        "watchers",
    )

    far: ClassVar[bool] = False
    """Whether it stands for a place of another process."""

    def __init__(
        self,
        scheduler: Scheduler,
        spec: Spec,
        key: str | int,
        name: str | None = None,
        parent: Place | None = None,
        owner: Parent | None = None,
    ) -> None:
        self.scheduler = scheduler
        self.spec = spec
        self.key = key
        self.name = name
        self.parent = parent
        self.owner = owner
        self.ref: Ref[Any] = Ref(self)
        self.state: State = "starting"
        self.incarnation = 0
        self.exit: Exit | None = None
        """The last exit."""
        self.ending: Exit | None = None
        """The exit asked for, once somebody has asked."""
        self.declined = False
        """``on_start`` has called ``self.stop()``: this incarnation is not to run."""
        self.fate: State | None = None
        """The state to come, decided while somebody lives here who does not yield."""
        self.idle = False
        self.fast = False
        self.actor: Any = None
        self.routes: Routes = NO_ROUTES
        self.context: Context | None = None
        self.mailbox: Mailbox | None = None
        self.item: Any = None
        self.slot: Slot | None = None
        self.turn: Turn | None = None
        """The turn of the actor's own task, while one runs."""
        self.stage: Stage | None = None
        """A turn that goes on without a task, while one runs."""
        self.host: Host | None = None
        """The task, once the actor has awaited."""
        self.side: set[Side] | None = None
        self.control: deque[Callable[[Place], object]] | None = None
        self.middleware: Any = None
        self.debug: Debug | None = None
        self.suspended = 0
        """Who holds it up: no message is handled until nobody does."""
        self.ready_due = False
        self.held: Held | None = None
        self.watchers: list[Watcher] | None = None
        """Who wants to know of this incarnation's end."""
        self.monitors: set[Any] | None = None
        """What this incarnation watches."""
        self.actor_timers: set[ActorTimer] | None = None
        self.idle_timer: IdleTimer | None = None
        self.overdue: Timer | None = None
        """Reports an incarnation that does not yield to its cancellation."""
        self.starting: Pending | None = None
        """The start under way, if it could not be done at once."""
        self.stops: list[Pending] | None = None
        """Those who wait for the stop under way."""
        self.reserved: dict[str, Place] | None = None
        """Places of a supervisor's static children, kept for its next incarnation."""

    @property
    def id(self) -> str:
        """The id under the parent: as given, or class name and number."""
        if isinstance(self.key, int):
            return f"{factory_name(self.spec.factory)}-{self.key}"
        return self.key

    @property
    def house(self) -> Place:
        """The place that its supervisor knows: this one, or the one above where whoever lives there
        is reached by the ref of this one (:meth:`Actor._housed`)."""
        above = self.parent
        return above if above is not None and above.ref is self.ref else self

    @property
    def path(self) -> str:
        """``/bank/accounts/alice``: the ids from the root to here; both places of a ref have one
        path."""
        house = self.house
        above = house.parent.path if house.parent is not None else ""
        return f"{above}/{house.id}"

    @property
    def ancestors(self) -> list[Ref[Any]]:
        """The supervisors above, the nearest first."""
        found = []
        place = self.house.parent
        while place is not None:
            found.append(place.ref)
            place = place.parent
        return found

    @property
    def status(self) -> State:
        """The state as others see it: ``stopping`` from the moment an end was asked for."""
        return "stopping" if self.state == "up" and self.ending is not None else self.state

    @property
    def busy(self) -> bool:
        """A turn is running: in its task, as a stage, or as a plain call right now."""
        return (
            self.turn is not None
            or (self.stage is not None and not self.stage.resumable)
            or self.scheduler.current is self
        )

    @property
    def running(self) -> bool:
        """An incarnation exists: starting, up, or not yet at its end."""
        return self.actor is not None

    def open_mailbox(self) -> Mailbox:
        """The queue, made on first use."""
        mailbox = self.mailbox
        if mailbox is None:
            mailbox = self.mailbox = Mailbox(self.spec.mailbox)
        return mailbox

    def handles(self, message: type) -> bool:
        """Whether who lives here, or is about to, has a handler of its own for such a message."""
        routes = self.routes
        if not self.running:
            if self.house is self or (self.fate or self.state) in ("stopped", "gone"):
                return False
            inner = getattr(self.spec.factory, "func", self.spec.factory)
            routes = getattr(inner, "routes", {None: NO_ROUTES})[None]
        return routes.own(message).kind != NONE

    def post(self, message: object, token: Any = EXEMPT, origin: Origin = NOWHERE) -> None:
        """Queue a message that does not count against the bound: a timer's, a Down, the library's
        own. Dropped when nobody will handle it."""
        if (self.fate or self.state) in ("stopped", "gone"):
            return
        mailbox = self.open_mailbox()
        mailbox.exempt += 1
        mailbox.append((message, None, *origin, token))
        if self.idle:
            self.scheduler.schedule(self)

    def request(self, serve: Callable[[Place], object], slot: Slot | None = None) -> None:
        """Queue something that overtakes user messages: supervision, introspection. ``slot`` fails
        if the incarnation ends before."""
        if self.control is None:
            self.control = deque()
        self.control.append(serve)
        if slot is not None:
            if self.held is None:
                self.held = Held()
            self.held.hold(slot)
        self.look()

    def look(self) -> None:
        """Have the scheduler attend to this place before its next message."""
        self.fast = False
        self.scheduler.schedule(self)

    def identified(self) -> Any:
        """The item of the running plain turn, its ids drawn."""
        item = self.item
        if type(item) is not tuple or not item[ID]:
            item = self.item = identified(item, self.scheduler.next_id)
        return item

    def reply_slot(self) -> Slot | None:
        """The slot of the message being handled; made now if the caller runs the turn itself."""
        if self.turn is not None:
            return self.turn.slot
        if self.slot is INLINE:
            item = self.item
            message = message_of(item)
            self.slot = Slot(message, self, CALL_TIMEOUT, self.scheduler.call_deadline())
        return self.slot

    def watch(self, watcher: Watcher) -> None:
        """Tell ``watcher`` of the end of the present incarnation."""
        if self.watchers is None:
            self.watchers = []
        self.watchers.append(watcher)

    def unwatch(self, watcher: Watcher) -> None:
        """Tell it no more."""
        if self.watchers and watcher in self.watchers:
            self.watchers.remove(watcher)

    def __repr__(self) -> str:
        return f"<Place {self.path} {self.state}>"


def factory_name(factory: Any) -> str:
    """The name of an actor class, or of the callable that makes the actor."""
    inner = getattr(factory, "func", factory)
    return str(getattr(inner, "__name__", type(inner).__name__))


NO_ROUTES = Routes(object, {})
