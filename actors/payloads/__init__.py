"""How messages, answers and refusals become bytes and come back."""

from actors.payloads.types import NotEncodable, Types, Undecodable, UnknownType

__all__ = ["NotEncodable", "Types", "Undecodable", "UnknownType"]
