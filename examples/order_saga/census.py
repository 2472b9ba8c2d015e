"""The census: who lives in the tree at this moment."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from actors import ActorError
from supervisors import WhichChildren

if TYPE_CHECKING:
    from actors import Ref

TIMEOUT = 0.5
"""Seconds to wait for a supervisor; one that is busy with a restart is left out this time."""


@attrs.frozen
class Member:
    """A place in the tree, and those below it."""

    ref: Ref[Any]
    children: tuple[Member, ...] = ()


async def census(ref: Ref[Any], *, supervisor: bool = True) -> Member:
    """A supervisor and all that is below it, in start order."""
    if not supervisor:
        return Member(ref)
    try:
        infos = await ref.call(WhichChildren(), timeout=TIMEOUT)
    except ActorError:
        return Member(ref)
    below = [await census(info.ref, supervisor=info.kind == "supervisor") for info in infos]
    return Member(ref, tuple(below))
