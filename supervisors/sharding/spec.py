"""``Shards(Child(Account), key="owner")``: the spec of shards."""

from __future__ import annotations

from math import inf
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from actors import Actor, Process
from actors.isolation.shipping import check_sendable
from actors.payloads.names import brief
from actors.validation import check_seconds, is_int
from supervisors.crew import CrewSpec, check_inner
from supervisors.sharding.admin import NoKey
from supervisors.sharding.host import Terms
from supervisors.sharding.router import Layout, ShardRouter
from supervisors.sharding.sharded import sharded, takes_over_shards
from supervisors.specs import MAILBOX, START_TIMEOUT, Child, as_child, with_changes

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisors.specs import Restart

A = TypeVar("A", bound=Actor, covariant=True)

COUNT = 64
MOST = 1 << 16


class Shards(CrewSpec[A]):
    """An actor for each key, each key with one live owner: ``Shards(Child(Account), key="owner")``.

    It is a ``Child`` and goes wherever one goes; its ref takes what the actor's class handles, and
    hands each message to the actor of its key, which is started with its first message. Inside,
    ``self.ref.id`` is the key. The key of a message belongs to one of ``count`` shards, by a hash
    that never changes; which host has a shard is in a table. With more hosts, or fewer, shards move
    and keys do not.

    ``key``
        the name of the attribute that every message has, or a function of the message; a str or an
        int. Not needed for actors that know the keys of their messages, as a ``Mediator`` does
    ``count``
        how many shards, fixed for ever, from 1 to 65,536: 64
    ``processes``
        spread them over so many processes of their own, ``count`` at most; None: all in this one
    ``each``
        ``"key"``: an actor for each key; ``"shard"``: one for each shard, running from the start,
        for all of its keys. That of the actor's class unless given: ``"key"``, a ``Mediator``'s
        ``"shard"``, and only that if it has workflows
    ``idle``
        seconds after which the actor of a key is stopped that nothing was sent to, and that
        has nothing to do: no timer, timeout, task or answer to give, and nobody below who has. One
        with a process below it stays. The next message starts it again. None: never
    ``id``, ``name``, ``restart``, ``start_timeout``, ``mailbox``, ``shutdown``
        as for a ``Child``; the same ``mailbox`` bounds what is held for each shard that moves

    Nobody waits for room in the mailbox of an actor, also not who uses ``send()``: the message has
    been taken from the mailbox of the shards by then. If it is full a call fails with
    ``MailboxFull``, and a one-way message is a dead letter.

    An actor that has crashed is started again, after the ``Backoff`` of its ``Child``, if messages
    wait for it; else with its next message. One that has crashed more often in a row than the
    ``limit`` of the ``Backoff`` is given up: what waits for it fails with ``RestartLimitExceeded``,
    and its next message starts another. The ``isolation`` of the ``Child`` says how the
    processes are isolated, and its ``memory_limit`` is that of each process. A process that has
    died is started again, and its shards with it; what was not begun is handled then, what was has
    failed with ``ActorDied``, and is lost if it was one-way. ``Resize(n)`` changes the number of
    hosts, ``GetShards`` tells of them. A message without a key is refused with ``NoKey``.

    Raises TypeError or ValueError for what is not accepted.
    """

    __slots__ = ()

    def __init__(
        self,
        child: Child[A] | type[A],
        /,
        *,
        key: str | Callable[[Any], str | int] | None = None,
        count: int = COUNT,
        processes: int | None = None,
        each: Literal["key", "shard"] | None = None,
        idle: float | None = None,
        id: str | None = None,
        name: str | None = None,
        restart: Restart = "permanent",
        shutdown: float | Literal["kill"] | None = None,
        start_timeout: float = START_TIMEOUT,
        mailbox: float = MAILBOX,
    ) -> None:
        spec: Any = as_child(child)
        if not is_int(count) or not 1 <= count <= MOST:
            raise ValueError(f"Shards count is an int from 1 to {MOST}. Got: {count!r}")
        if processes is not None and (not is_int(processes) or not 1 <= processes <= count):
            raise ValueError(
                f"Shards processes is an int from 1 to count ({count}), or None. Got: {processes!r}"
            )
        if each not in (None, "key", "shard"):
            raise ValueError(f"Shards each is 'key', 'shard' or None. Got: {each!r}")
        check_inner("Shards", spec)
        knows = sharded(spec)
        of_shards = knows is not None and knows.sharded_by == "shard"
        per_key = (each or ("key" if knows is None else knows.sharded_by)) == "key"
        if per_key and takes_over_shards(spec, count):
            raise ValueError(
                f"Shards each is 'shard' for {spec.label}, whose actors take over whole shards of "
                "what they share: leave it out. Got: each='key'"
            )
        seconds = inf if idle is None else check_seconds("Shards idle (None for never)", idle)
        if seconds < inf and not per_key and of_shards:
            raise ValueError(
                f"{spec.label} is a mediator: there is one for each shard, and it stays; idle is "
                f"for the actors of keys. Got: {idle!r}"
            )
        if seconds < inf and not per_key:
            raise ValueError(f"Shards idle is for each='key': a shard stays. Got: {idle!r}")
        isolation = None
        if processes is not None:
            isolation = spec.isolation if isinstance(spec.isolation, Process) else Process()
            check_sendable(spec.factory, spec.args)
        elif spec.isolation is not None and not per_key:
            raise ValueError(
                "The Child in Shards has isolation only with processes=: how many processes the "
                f"shards are spread over. Got: {spec!r}"
            )
        elif spec.isolation is not None:
            raise ValueError(
                "The Child in Shards has isolation only with processes=: an actor for each key "
                f"would be a process for each. Got: {spec!r}"
            )
        layout = Layout(
            Terms(count, per_key, seconds),
            key_of(key, spec),
            processes or 1,
            isolation,
            spec.memory_limit,
        )
        factory: Any = ShardRouter
        super().__init__(
            factory,
            inner(spec),
            layout,
            id=id,
            name=name,
            restart=restart,
            shutdown=shutdown,
            start_timeout=start_timeout,
            mailbox=mailbox,
        )

    def __repr__(self) -> str:
        spec, layout = self.args
        where = f", processes={layout.hosts}" if layout.isolation is not None else ""
        return f"Shards({spec!r}, count={layout.terms.count}{where})"


def inner(spec: Child[Any]) -> Child[Any]:
    """The actors themselves are not isolated from their host."""
    if spec.isolation is None:
        return spec
    return with_changes(spec, isolation=None, memory_limit=None)


def key_of(key: Any, spec: Child[Any]) -> Callable[[Any], Any]:
    """The function that finds the key of a message."""
    knows = sharded(spec)
    if knows is not None:
        own, other = knows.shard_key, None if key is None else key_of_others(key)
        return lambda message: found_by(own, other, message)
    if key is None:
        raise ValueError(
            "Shards key is the name of an attribute of every message, or a function of the "
            f"message; {spec.label} knows none by itself. Got: None"
        )
    return key_of_others(key)


def found_by(own: Any, other: Any, message: Any) -> Any:
    """The key an actor's class finds by itself, or else the one that was asked for."""
    key = own(message)
    if key is not None:
        return key
    if other is None:
        name = type(message).__name__
        raise NoKey(
            f"{name} is about no workflow, and these Shards have no key=. Got: {brief(message)}"
        )
    return other(message)


def key_of_others(key: Any) -> Callable[[Any], Any]:
    """The function for a key that was asked for."""
    if isinstance(key, str):
        get = attrgetter(key)

        def found(message: Any) -> Any:
            try:
                return get(message)
            except AttributeError as error:
                raise NoKey(f"{type(message).__name__} has no {key!r}, its key.") from error

        return found
    if not callable(key):
        raise TypeError(
            f"Shards key is the name of an attribute, or a function of a message. Got: {key!r}"
        )
    return key  # type: ignore[no-any-return]
