"""Pictures: what is told of an image or a drawing, and the small one that is made of it."""

from __future__ import annotations

import attrs


@attrs.frozen
class ImageFacts:
    """What an image is like. A drawing has a size, and no pixels: its ``mode`` is "vector"."""

    width: int
    height: int
    format: str
    mode: str
    frames: int
    has_alpha: bool
    exif: dict[str, str]
    dpi: tuple[float, float] | None


@attrs.frozen
class Thumbnail:
    """A small picture: the bytes of a file, what type that has, and its size in pixels."""

    data: bytes
    width: int
    height: int
    mime: str
