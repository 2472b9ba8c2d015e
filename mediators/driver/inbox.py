"""What was asked while nobody owned the journal: left in its inbox, taken up by the next owner."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from mediators.driver.requests import (
    AnyRequest,
    BadRequest,
    decode_request,
    encode_request,
    to_message,
    verb_of,
)
from mediators.journal.protocol import JournalDamaged, JournalError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from actors import Later
    from mediators.driver.driver import Driver
    from mediators.driver.requests import Request
    from mediators.journal.protocol import Journal, Reader

logger = logging.getLogger("mediators")


def leave(journal: Journal, shard: int, requests: Iterable[Request]) -> None:
    """Leave requests to the next owner of a shard. On return they are on disk. Raises JournalLocked
    if somebody owns it: then they are sent to the owner."""
    journal.leave(shard, [encode_request(each) for each in requests])


def left(reader: Reader, shard: int, id: str | None = None) -> list[AnyRequest]:
    """What waits for the next owner, of one workflow or of all. What cannot be read is left out."""
    found: list[AnyRequest] = []
    for _, data in reader.inbox(shard):
        try:
            request = decode_request(data)
        except BadRequest:
            continue
        if id is None or request.id == id:
            found.append(request)
    return found


def take_up(driver: Driver) -> None:
    """Do what was left, in its order; each in one batch with the end of its place in the inbox.

    Its workflow is recovered first. What is refused is logged, and so is what cannot be done: it
    has been taken up all the same. Raises a JournalError other than JournalDamaged.
    """
    try:
        items = driver.shard.inbox(driver.shard.shard)
    except JournalDamaged as error:
        logger.error("What was left in the inbox is not taken up: %s", error)
        return
    for position, data in items:
        try:
            _perform(driver, data)
        except JournalDamaged as error:
            logger.error("What was left in the inbox cannot be done: %s", error)
        except JournalError:
            raise
        except Exception as error:
            logger.warning("What was left in the inbox is refused: %s. Got: %.500r", error, data)
        driver.committer.batch.consumed.append(position)
    if items:
        driver.committer.wanted()


def _perform(driver: Driver, data: bytes) -> None:
    request = decode_request(data)
    # Recovered before its values are built: its code may have named further types.
    driver.find_open(request.id)
    message = to_message(request, driver.types)
    driver.desk.serve(message, cast("Later[Any]", Answer(verb_of(request), request.id)))


class Answer:
    """Stands in for the reply slot: whoever asked has gone, so the answer is logged."""

    slot: Any = None

    def __init__(self, verb: str, id: str) -> None:
        self._verb = verb
        self._id = id

    def reply(self, value: object) -> None:
        """It is done, and on disk."""
        logger.info("%s of workflow %r, left in the inbox, is done", self._verb, self._id)

    def fail(self, error: BaseException) -> None:
        """It is answered with an error."""
        logger.warning("%s of workflow %r, left in the inbox: %s", self._verb, self._id, error)
