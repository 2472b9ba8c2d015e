"""The administration of a supervisor: messages, what they answer, and the refusals.

``await bank.call(StopChild("alice"))``. All of them are handled in the supervisor's own turns, one
at a time, and wait for a restart under way. The meaning is that of ``supervisor:start_child`` and
its siblings in Erlang/OTP. A pool, and shards, have as many children as they want: there all that
would change this is refused with ChildRefused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import attrs

from actors import ActorError, Call, Ref, Refusal, State

if TYPE_CHECKING:
    from supervisors.specs import Child

ChildKey: TypeAlias = "str | Ref[Any]"
"""A child's id; under a dynamic supervisor, where ids may repeat, its ref."""


@attrs.frozen
class StartChild(Call["Ref[Any]"]):
    """Start one more child and answer its ref, once it is up.

    Refused with AlreadyStarted or AlreadyPresent if its id is taken, with MaxChildren by a dynamic
    supervisor that has enough. Raises StartFailed if it does not come up; then nothing is kept.
    """

    spec: Child[Any]


@attrs.frozen
class StopChild(Call[None]):
    """Stop a child and keep its spec; a temporary or dynamic child is forgotten.

    Answered when it has stopped; a stopped child is fine too. It is not restarted by its own exit.
    Refused with NoSuchChild.
    """

    child: ChildKey


@attrs.frozen
class RestartChild(Call["Ref[Any]"]):
    """Start a stopped child again, its mailbox empty, and answer its ref, once it is up.

    Does not count as a restart. Refused with NoSuchChild, ChildRunning or ChildRestarting. Raises
    StartFailed if it does not come up; it is then stopped as before.
    """

    child: ChildKey


@attrs.frozen
class DeleteChild(Call[None]):
    """Forget the spec of a stopped child; its place is then gone for good.

    Refused with NoSuchChild, with ChildRunning or with ChildRestarting.
    """

    child: ChildKey


@attrs.frozen
class ReplaceChild(Call[None]):
    """Replace the spec of a child, which keeps its id; the change takes effect at its next start.

    A supervisor that is restarted itself asks ``children()`` again and forgets the change. Refused
    with NoSuchChild, and with ChildRefused for another id or a spec that does not fit.
    """

    child: ChildKey
    spec: Child[Any]


@attrs.frozen
class GetChild(Call["ChildInfo"]):
    """One child as it stands. Refused with NoSuchChild."""

    child: ChildKey


@attrs.frozen
class WhichChildren(Call["list[ChildInfo]"]):
    """The children in start order."""


@attrs.frozen
class CountChildren(Call["ChildCounts"]):
    """How many children there are."""


@attrs.frozen
class ChildInfo:
    """A child as its supervisor knows it.

    ``state`` is the state of its place, ``restarts`` how often this supervisor has restarted it,
    ``spec`` the one it runs by, its id filled in.
    """

    id: str
    ref: Ref[Any]
    kind: Literal["worker", "supervisor"]
    state: State
    spec: Child[Any]
    restarts: int = 0


@attrs.frozen
class ChildCounts:
    """``specs`` in all, ``active`` of them running; ``supervisors`` and ``workers``, running or
    not."""

    specs: int
    active: int
    supervisors: int
    workers: int


class ChildRefused(Refusal):
    """Base of what an administration message may be refused with; ``child`` is its id."""

    def __init__(self, text: str, child: str, ref: Ref[Any] | None = None) -> None:
        super().__init__(text)
        self.child = child
        self.ref = ref


class AlreadyStarted(ChildRefused):
    """A child with this id is running; ``ref`` is it."""


class AlreadyPresent(ChildRefused):
    """There is a spec with this id, its child stopped or being restarted: RestartChild."""


class NoSuchChild(ChildRefused):
    """The supervisor knows no child of that id, or of that ref."""


class ChildRunning(ChildRefused):
    """The child is running; stop it first."""


class ChildRestarting(ChildRefused):
    """The child is being restarted; stop it first."""


class MaxChildren(ChildRefused):
    """The dynamic supervisor has as many children as it may."""


class RestartLimitExceeded(ActorError):
    """A supervisor gave up: more restarts than ``max_restarts`` within ``within`` seconds, or more
    of one child in a row than the ``limit`` of its ``Backoff``.

    It is the exit ``Crashed(RestartLimitExceeded)`` of the supervisor, and what leaves
    ``open_system`` when the root gives up. ``__cause__`` is the last child's crash, ``child`` its
    id.
    """

    def __init__(self, text: str, *, child: str, ref: Ref[Any] | None = None) -> None:
        super().__init__(text, ref=ref)
        self.child = child
