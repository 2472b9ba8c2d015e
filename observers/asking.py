"""Having something changed: by the owner of the journal or, where there is none, by the next."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import msgspec

from mediators.driver.inbox import leave
from mediators.driver.remote import OwnerGone, OwnerSilent, RemoteRefused, send
from mediators.driver.requests import REPEATABLE, SignalRequest, objection, verb_of
from mediators.journal import JournalLocked, SqliteJournal, owner_of
from mediators.journal.addresses import shard_of
from mediators.reading.rendering import short
from mediators.reading.summary import summary_of
from observers import printing, records
from observers.failures import ExitCode, Failed

if TYPE_CHECKING:
    from mediators.driver.requests import AnyRequest

PATIENCE = 5.0
"""Seconds for which an owner may be about to come, to go, or to open its socket."""
_PAUSE = 0.05


def perform(file: str, request: AnyRequest) -> tuple[bool, Any]:
    """Have a request done. Returns True and the owner's answer; or False, if nobody owns the
    journal and it was left to the next owner.

    Raises Failed for a workflow that is not there, one in whose state it cannot be done, and an
    owner that does not answer; JournalError if the journal cannot be read.
    """
    with records.opened(file) as reader:
        path = reader.path
        shard = shard_of(records.find(reader, request.id).number)
    until = time.monotonic() + PATIENCE
    while True:
        owner = owner_of(path)
        last: Exception | None = None
        try:
            if owner is None:
                _check(path, request)
                leave(SqliteJournal(path), shard, [request])
                return False, None
            if owner.socket is not None:
                return True, send(owner.socket, request)
        except RemoteRefused as error:
            raise Failed(ExitCode.REFUSED, error.text) from error
        except (ValueError, msgspec.MsgspecError) as error:
            raise Failed(ExitCode.USAGE, str(error)) from error
        except OwnerSilent as error:
            if not isinstance(request, REPEATABLE):
                text = f"{error} It may have been done or not: look with show, and ask again."
                raise Failed(ExitCode.REFUSED, text) from error
            last = error
        except (JournalLocked, OwnerGone) as error:
            last = error  # an owner has just come, or gone
        if time.monotonic() > until:
            text = f"{file} is open in {owner}, which takes no requests."
            raise Failed(ExitCode.REFUSED, f"{text} {last or ''}".strip())
        time.sleep(_PAUSE)


def _check(path: str, request: AnyRequest) -> None:
    """What the next owner would refuse is refused now, as far as the file tells: unless something
    else was left before, which may change that."""
    with records.opened(path) as reader:
        row = records.find(reader, request.id)
        if records.pending(reader, row):
            return
        reason = objection(summary_of(reader, row), request)
    if reason is not None:
        raise Failed(ExitCode.REFUSED, reason)


def _compare(file: str, request: SignalRequest) -> None:
    """Say so on stderr if the workflow waits for signals of other types only."""
    with records.opened(file) as reader:
        summary = summary_of(reader, records.find(reader, request.id))
    types = list(dict.fromkeys(each.type for each in summary.waits if each.kind == "receive"))
    if types and not any(request.type in (each, short(each)) for each in types):
        printing.complain(
            f"{request.id} waits for a signal {' or '.join(types)}, not for {request.type}, which "
            "is kept until a receive() asks for it."
        )


def told(file: str, request: AnyRequest, done: str) -> str:
    """Have a request done, and say how it came out: ``done`` with the answer in place of ``{}``."""
    owned, answer = perform(file, request)
    if owned:
        return done.format(answer)
    if isinstance(request, SignalRequest):
        _compare(file, request)
    return (
        f"Nobody has {file} open: {verb_of(request)} of {request.id} is left in its inbox, for "
        "whoever opens it next."
    )
