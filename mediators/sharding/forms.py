"""What travels between processes in place of messages and answers that are no plain data."""

from __future__ import annotations

from typing import Any

import attrs

from actors import Ref


@attrs.frozen
class SentStart:
    """A ``Start``."""

    workflow: object
    policy: str
    timeout: float | None

    def _received(self) -> Any:
        from mediators.verbs import Start

        policy: Any = self.policy
        workflow: Any = self.workflow
        return Start(workflow, policy, self.timeout)


@attrs.frozen
class SentQuery:
    """A ``Query``."""

    id: str
    message: object

    def _received(self) -> Any:
        from mediators.verbs import Query

        message: Any = self.message
        return Query(self.id, message)


@attrs.frozen
class SentFork:
    """A ``Fork``."""

    id: str
    new_id: str | None
    at: str | None

    def _received(self) -> Any:
        from mediators.verbs import Fork

        return Fork(self.id, self.new_id, self.at)


@attrs.frozen
class SentHandle:
    """A ``Handle``; the class of its workflow stays behind."""

    mediator: Ref[Any]
    id: str

    def _received(self) -> Any:
        from mediators.handle import Handle

        return Handle(self.mediator, self.id)
