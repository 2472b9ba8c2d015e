"""Asking the owner of a journal from another process: the other end of its socket.

Synchronous, without trio: for a command line.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, Any

import msgspec

from mediators.driver.requests import encode_request
from mediators.driver.socket import MAX_FRAME

if TYPE_CHECKING:
    from mediators.driver.requests import Request

TIMEOUT = 10.0
"""Seconds for which an owner is waited for."""


class RemoteRefused(Exception):
    """The owner has answered with an error: ``type`` is its name, ``text`` says what is wrong."""

    def __init__(self, type: str, text: str) -> None:
        super().__init__(type, text)
        self.type = type
        self.text = text

    def __str__(self) -> str:
        return self.text


class OwnerGone(Exception):
    """Nobody listens at that socket: nothing was sent."""


class OwnerSilent(Exception):
    """The request was sent, and there is no answer: it may have been done or not."""


class _Error(msgspec.Struct):
    type: str = ""
    text: str = ""


class _Answer(msgspec.Struct):
    ok: Any = None
    error: _Error | None = None


def send(path: str, request: Request, timeout: float = TIMEOUT) -> Any:
    """Send one request to the owner at that socket, and return what it answers: None, or a str.

    ``timeout`` is in seconds. Blocks. Raises RemoteRefused, OwnerGone, OwnerSilent, and ValueError
    for a request that is too large to be sent.
    """
    frame = encode_request(request) + b"\n"
    if len(frame) > MAX_FRAME:
        raise ValueError(f"A request has at most {MAX_FRAME} bytes. Got: {len(frame)}")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(timeout)
        try:
            connection.connect(path)
        except OSError as error:
            raise OwnerGone(f"Nobody listens at {path}: {error}") from error
        try:
            data = _exchange(connection, frame)
        except OSError as error:
            raise OwnerSilent(f"The owner did not answer within {timeout:g} s: {error}") from error
    if not data.endswith(b"\n"):
        raise OwnerSilent("The owner has closed the connection without an answer.")
    try:
        answer = msgspec.json.decode(data, type=_Answer)
    except ValueError as error:
        raise OwnerSilent(f"What the owner has sent is no answer: {error}") from error
    if answer.error is not None:
        raise RemoteRefused(answer.error.type, answer.error.text)
    return answer.ok


def _exchange(connection: socket.socket, frame: bytes) -> bytes:
    try:
        connection.sendall(frame)
    except (BrokenPipeError, ConnectionResetError):
        pass  # it may have said why
    data = bytearray()
    while not data.endswith(b"\n") and len(data) <= MAX_FRAME:
        try:
            chunk = connection.recv(1 << 16)
        except ConnectionResetError:
            break
        if not chunk:
            break
        data += chunk
    return bytes(data)
