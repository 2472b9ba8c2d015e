"""The values that cross a link: those that can be written down (:mod:`actors.payloads`), and refs.

A class is made known to the other end before its first instance arrives there: what an end may
receive is what it was told of, and what the annotations of that name.
"""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec.msgpack import Ext

from actors.isolation.faults import exit_fault, exit_of
from actors.isolation.frames import Address, Fault, decode_address, encode
from actors.messages import Answer, Down
from actors.payloads.names import NotEncodable, UnknownType, a, brief, is_data
from actors.payloads.plans import encode_plain
from actors.payloads.tags import DATA, DOWN, REF
from actors.payloads.types import Types
from actors.ref import Ref

if TYPE_CHECKING:
    from collections.abc import Callable

    from msgspec import Raw

    from actors.place import Place

_decode_down = msgspec.msgpack.Decoder(tuple[Address, int, Fault]).decode


class WireTypes(Types):
    """The types of one end of a link.

    ``speak`` gives the address of a place and ``hear`` the place of an address. ``news`` are the
    classes that the other end has not been told of.
    """

    carried = (Ref,)

    def __init__(
        self, speak: Callable[[Place], Address], hear: Callable[[Address, bool], Place]
    ) -> None:
        self._speak = speak
        self._hear = hear
        self._echo = False
        self.told: set[type] = set()
        """What is in ``news``, or was."""
        self.news: list[type] = []
        super().__init__(answers=(Answer,))

    def offer(self, cls: Any) -> None:
        """Register ``cls`` if it can be; or what its instances, and the answers to them, are sent
        as."""
        forms = getattr(cls, "_travels_as", None)
        if cls is Down:
            return  # its exit may hold any exception: it is sent in a form of its own
        if forms is None:
            super().offer(cls)
        else:
            for each in forms():
                super().offer(each)

    def learn(self, cls: type) -> None:
        """An instance of ``cls``, which is not told of yet, is about to be sent."""
        self.told.add(cls)
        if cls is Down:
            return
        if hasattr(cls, "_travels_as"):
            self.offer(cls)
        elif is_data(cls):
            self.offer(cls)
            self.news.append(cls)

    def decode_refusal(self, data: bytes | Raw) -> BaseException:
        """As ever; what the annotations of its class name is known, too."""
        try:
            return super().decode_refusal(data)
        except UnknownType:
            cls = self._refusals.class_of(data)
            if cls is None:
                raise
            try:
                hints = typing.get_type_hints(cls)
            except Exception:
                hints = {}
            for each in hints.values():
                self._offer_inside(each)
            return super().decode_refusal(data)

    def _plain(self, value: Any, where: str) -> Any:
        kind = type(value)
        if kind in self._plans and kind not in self.told:
            self.learn(kind)
        return super()._plain(value, where)

    def _other(self, value: Any, where: str) -> Any:
        kind: type = type(value)
        if kind is Ref:
            return Ext(REF, encode(self._speak(value._place)))
        if kind is Down:
            address = self._speak(value.ref._place)
            return Ext(DOWN, encode((address, value.incarnation, exit_fault(value.exit))))
        sent_as = getattr(value, "_sent_as", None)
        if sent_as is not None:
            return self._plain(sent_as(), where)
        if kind not in self.told:
            self.learn(kind)
        plan = self._plans.get(kind)
        if plan is not None:
            return Ext(DATA, encode_plain(plan.record(value)))
        if kind in self._refused:
            raise NotEncodable(f"{where} holds {a(kind)}, which cannot be: {self._refused[kind]}")
        raise NotEncodable(
            f"{where} holds what cannot leave its process. Accepted: None, bool, int, float, str, "
            "bytes, bytearray, datetime, date, time, timedelta, Decimal, UUID, list, tuple, set, "
            "frozenset, dict, data classes and refs. "
            f"Got: {brief(value)}, {a(kind)}"
        )

    def _extension(self, code: int, data: memoryview) -> Any:
        if code == REF:
            return self._hear(decode_address(data), self._echo).ref
        if code == DOWN:
            address, incarnation, fault = _decode_down(data)
            return Down(self._hear(address, self._echo).ref, incarnation, exit_of(fault))
        value = super()._extension(code, data)
        received = getattr(value, "_received", None) if code == DATA else None
        return value if received is None else received()

    def _look_twice(self, plan: Any, value: Any, data: bytes, what: str) -> None:
        # What is read back here is what we have said ourselves, and not the other end.
        self._echo = True
        try:
            super()._look_twice(plan, value, data, what)
        finally:
            self._echo = False
