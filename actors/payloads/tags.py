"""The extensions of msgpack, for what it has no type for: their codes, and how values are read.

The codes are the format on disk and never change.
"""

from __future__ import annotations

import datetime as dt
import decimal
import uuid
from collections.abc import Callable
from typing import Any

TUPLE = 1
SET = 2
FROZENSET = 3
DECIMAL = 4
UUID = 5
DATETIME = 6
DATE = 7
TIME = 8
TIMEDELTA = 9
INT = 10
"""One of more than 64 bits."""
DATA = 11
"""An instance of a class that has a name."""
DICT = 12
"""One with keys that are not all texts."""
BYTEARRAY = 13
REF = 14
"""On a link only, as the next one."""
DOWN = 15


def _text(make: Callable[[str], Any]) -> Callable[[memoryview], Any]:
    return lambda data: make(bytes(data).decode())


MAKERS: dict[int, Callable[[memoryview], Any]] = {
    DECIMAL: _text(decimal.Decimal),
    UUID: lambda data: uuid.UUID(bytes=bytes(data)),
    DATETIME: _text(dt.datetime.fromisoformat),
    DATE: _text(dt.date.fromisoformat),
    TIME: _text(dt.time.fromisoformat),
    INT: _text(lambda text: int(text, 16)),
    BYTEARRAY: bytearray,
}
"""How what holds no other values is read."""
