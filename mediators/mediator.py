"""The base class of mediators: what coordinates actors that do not know each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar, overload

from actors import Actor, handles
from actors.dispatch import NONE, class_of
from actors.replies import CALL_TIMEOUT
from mediators import composition
from mediators.driver.desk import VERBS
from mediators.driver.opening import (
    answer,
    close_driver,
    open_driver,
    open_hosted,
    refuse_workflow,
    run_workflow,
    types_of,
)
from mediators.options import check_options
from mediators.outcomes import NoSuchWorkflow
from mediators.routing import MediatorRoutes, check_components, plan, plan_of, tree_of
from mediators.sharding.keys import key_of
from mediators.sharding.writer import JournalWriter
from mediators.tree import MediatorTree, is_driver
from mediators.workflow import Workflow
from supervisors import Child, Flags
from supervisors.sharding.host import hosting

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from actors import Call, Exit, Later, Ref
    from actors.place import Place
    from actors.runtime.stages import Steps
    from mediators.composition import Parts
    from mediators.driver.driver import Driver
    from supervisors.sharding.host import Hosting
    from supervisors.sharding.sharded import ShardKey

A = TypeVar("A", bound=Actor)

DAY = 86_400.0


class Mediator(Actor):
    """An actor whose components know it and not each other.

    Subclass it and say which components::

        class Shop(Mediator):
            components = [Child(Payments), Child(Inventory, id="stock")]

            @handles
            def paid(self, event: Paid) -> None:
                self.component(Inventory).cast(Pack(event.order))

    ``Child(Shop)`` runs the components and, last, the mediator itself, its *driver*, under one
    supervisor of their own. The mediator's ref is the driver's. A component that fails is restarted
    with ``Backoff(0.1, 30.0)`` unless its ``Child`` says otherwise; the driver is restarted after a
    crash, more than ``max_restarts`` times ``within`` seconds end the whole as
    ``RestartLimitExceeded``. Neither is touched by the crash of the other. The driver's orderly end
    is that of the whole, and so is that of a ``significant`` component; ``ref.stop()`` stops it
    all, the driver first and the components in reverse.

    A message the class has no handler for goes to the component whose class has one, with its reply
    slot and its sender: the mediator does not wait. A component that is itself a mediator takes
    what it handles and what its components handle. Handlers for ``object``, ``Call``, ``Down`` and
    ``Idle`` are no routes. Two components for one class of messages are a TypeError, unless the
    mediator handles that class itself, which it then does. Its own handler for a base class comes
    before a component's for a derived one; its handler for ``object`` comes last of all. A full
    component fails its callers with MailboxFull; one that is being restarted keeps the message.
    ``WhichChildren``, ``CountChildren``, ``GetChild``, ``StopChild`` and ``RestartChild`` are
    answered by the supervisor.

    Components report with ``self.notify(event)``: a handler of the mediator's own takes the event,
    without one it rises to the mediator above.

    ``components`` are a list of ``Child`` or actor classes: in the class, as a property, as a field
    or set in ``__init__``. Where the class does not tell them, an instance is made with the same
    arguments at every start of the whole, only to be asked; it lives nowhere and gets no message.

    Handlers should be plain ``def``. During an ``async def`` handler everything else of the
    mediator stands still: what it would forward, its other handlers and its workflows.
    """

    __slots__ = ("_driver",)

    _driver: Driver | None

    supervises: ClassVar[bool] = True
    coordinates: ClassVar[bool] = True
    hands_on: ClassVar[bool] = True
    sharded_by: ClassVar[Literal["key", "shard"]] = "shard"
    components: Sequence[Any] = ()
    """The actors it coordinates: ``Child`` or actor classes, in start order."""
    max_restarts: int = 3
    """Crashes of the driver, and of components without Backoff, ``within`` seconds."""
    within: float = 5.0
    workflows: Sequence[type] = ()
    """The classes of workflows it runs."""
    journal: Any = None
    """Where their histories are kept."""
    max_running: int | None = None
    """How many may run at the same time; ``None``: any number."""
    types: Sequence[Any] = ()
    """Further classes of which data in the journal may be."""
    retention: float = 7 * DAY
    """Seconds for which the result of a finished workflow is kept."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        limits: list[Any] = [cls.max_restarts, cls.within]
        if not any(hasattr(each, "__get__") for each in limits):
            Flags("one_for_one", *limits)
        check_options(cls.__qualname__, cls)
        components: Any = cls.components
        if isinstance(components, str | Child | type | dict | set):
            check_components(cls, components)
        # Whatever else it is, the class is not complete yet, or an instance is to be asked.
        if isinstance(components, list | tuple) and components:
            plan_of(cls, components, Mediator, nested=False)

    # -- what a handler can do

    @overload
    def component(self, which: type[A], /) -> Ref[A]: ...
    @overload
    def component(self, which: str, /) -> Ref[Any]: ...
    def component(self, which: type[A] | str, /) -> Ref[Any]:
        """The ref of a component, by its class or by its id. Not a checkpoint.

        Raises LookupError if there is none, or if the class does not tell which; TypeError for what
        is no class of actors and no str.
        """
        if not isinstance(which, str) and not (
            isinstance(which, type) and issubclass(which, Actor)
        ):
            raise TypeError(f"component() takes a class of actors or an id. Got: {which!r}")
        entries = self._tree.components()
        found = [
            entry
            for entry in entries
            if which in (entry.place.id, entry.spec.factory, class_of(entry.spec.factory))
        ]
        if len(found) != 1:
            known = ", ".join(repr(entry.place.id) for entry in entries) or "none"
            name = repr(which) if isinstance(which, str) else which.__qualname__
            raise LookupError(
                f"{self._home.path} has {len(found) or 'no'} components {name}; their ids: {known}."
            )
        return found[0].place.ref

    def compose(
        self,
        *messages: Call[Any],
        timeout: float | None = CALL_TIMEOUT,
        then: Callable[[Parts], Any] | None = None,
    ) -> Later[Any]:
        """Make one answer of several components': ``return self.compose(A(), B(), then=self.both)``

        Each message goes to its component at once, and nothing waits. When all have answered, or
        after ``timeout`` seconds or at the caller's own deadline, ``then`` is called in a turn of
        the mediator, with the :class:`Parts`; what it returns is the answer, and so is a
        ``Refusal`` or the error of a part that leaves it. Any other exception leaving it is a
        crash. Without ``then`` the answer is the ``Parts``. Answers that come later vanish. For a
        caller that has gone ``then`` is not called.

        To be used in a handler, which returns the result. Not a checkpoint. Raises TypeError for
        what is no ``Call``. A message that no component handles is a failure among the parts.
        """
        return composition.compose(self, messages, timeout, then)

    # -- seams

    @classmethod
    def _housed(cls, place: Place) -> Actor | None:
        return None if is_driver(place) else MediatorTree(place.spec)

    def _prepare(self, place: Place) -> None:
        self._driver = None
        place.routes = MediatorRoutes(type(self), self._tree.plan, self._workflow_route)

    @classmethod
    def _takes(cls, spec: Any) -> Iterable[type]:
        made = plan(spec.factory, spec.args)
        return [*made.messages, *(VERBS if made.workflows else ())]

    @staticmethod
    def shard_key(message: Any, /) -> ShardKey | None:
        """Where a message goes if mediators are in shards: to that of the workflow it is about."""
        key: ShardKey | None = key_of(message)
        return key

    @staticmethod
    def shard_companion(spec: Any, count: int, /) -> Child[Any] | None:
        """The writer of the journal that mediators in shards have in common."""
        # Made to be asked: its journal may be what its arguments say.
        told = spec.factory(*spec.args)
        if not told.workflows:
            return None
        types = types_of(plan(spec.factory, spec.args), told.workflows, told.types)
        return Child(JournalWriter, told.journal, count, types, id="journal")

    def _children_up(self) -> Steps | None:
        if not self.workflows:
            return None
        hosted = hosting(self._home)
        if hosted is not None:
            return self._open_hosted(hosted)
        self._driver = open_driver(self)
        return None

    def _open_hosted(self, hosted: Hosting) -> Steps:
        self._driver = yield from open_hosted(self, hosted)

    def _children_down(self, exit: Exit) -> Steps | None:
        driver = self._driver
        if driver is None:
            return None
        return close_driver(driver, exit)

    @handles(*VERBS, state=None)
    def _verb(self, message: Any) -> Any:
        if self._driver is None:
            raise NoSuchWorkflow(f"{self._home.path} runs no workflows.")
        later, desk = self.later(), self._driver.desk
        return answer(self, later, lambda: desk.serve(message, later))

    @property
    def _tree(self) -> MediatorTree:
        """The supervisor of the subtree."""
        return tree_of(self._home)

    @property
    def _kept(self) -> dict[str, Any]:
        """What is left to the driver's next incarnation; closed when the whole ends."""
        return self._tree.kept

    def _workflow_route(self, message: type) -> Callable[..., Any] | None:
        """What handles a class of messages that neither the mediator nor a component handles."""
        if message in self.workflows:
            return run_workflow
        return refuse_workflow if issubclass(message, Workflow) else None

    def _target(self, message: type) -> Place | None:
        """Where a step with such a message goes: to a component, else to a handler of our own."""
        _, place = self._component_for(message)
        if place is None and self._home.routes[message].kind != NONE:
            place = self._home
        return place

    def _component_for(self, message: type) -> tuple[str | None, Place | None]:
        """The id and the place of the component for a class of messages."""
        routes = self._home.routes
        id = routes.component(message) if isinstance(routes, MediatorRoutes) else None
        return id, None if id is None else self._tree.place_of(id)

    def _component_messages(self) -> Iterable[type]:
        """The classes of messages that go to components."""
        return self._tree.plan.table
