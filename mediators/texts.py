"""Texts that go into the journal: what others have made of them must not hinder that."""

from __future__ import annotations

from typing import Any


def text_of(value: object) -> str:
    """What a value says, as text that can be written down. For an exception whose ``str()`` raises
    it is the name of its type; a lone surrogate is escaped."""
    try:
        return writable(str(value))
    except Exception:
        return writable(f"<{type(value).__name__} without a text>")


def writable(text: str) -> str:
    """The text with everything escaped that cannot be encoded."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def shown(value: object) -> str:
    """The repr of a value, or what stands for it where there is none."""
    try:
        return writable(repr(value))
    except Exception:
        return writable(f"<{type(value).__name__} without a repr>")


def check_text(what: str, text: Any) -> str:
    """Return ``text`` if it is a str that can be written down. Raises TypeError or ValueError,
    naming ``what``."""
    if not isinstance(text, str):
        raise TypeError(f"{what} is a str. Got: {shown(text)}")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise ValueError(
                f"{what} cannot be encoded as UTF-8; it holds lone surrogates. Got: {text!a}"
            ) from None
    return text
