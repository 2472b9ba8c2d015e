"""Drawings: SVG, of which only the first element is read, and which is never drawn here."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, XMLPullParser, fromstring

from examples.file_pipeline.markup import local
from examples.file_pipeline.pictures import ImageFacts, Thumbnail
from examples.file_pipeline.unreadable import Undrawn, Unreadable, opened, reading

if TYPE_CHECKING:
    from pathlib import Path

PIECE = 8 << 10
"""Bytes that are read at a time to find the first element."""
LONG = 1 << 20
"""Bytes by which it must have come."""
SMALL = 8 << 10
"""Bytes of a drawing that is its own thumbnail."""
PLAIN = """
    circle clipPath defs desc ellipse g line linearGradient metadata path polygon polyline
    radialGradient rect stop style svg text title tspan
"""
"""Elements that draw something and do nothing else. ``use`` is not among them: a drawing that uses
what uses something can be large without end."""
_PLAIN = frozenset(PLAIN.lower().split())

SVG = "{http://www.w3.org/2000/svg}"
UNITS = {"": 1.0, "px": 1.0, "pt": 4 / 3, "pc": 16.0, "in": 96.0, "cm": 96 / 2.54, "mm": 9.6 / 2.54}
"""Pixels."""
MOST = 1_000_000.0
"""Pixels that a side is said to have at most."""

_LENGTH = re.compile(r"\s*\+?(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})\s*([a-z]{0,2})\s*")


def describe_svg(path: Path) -> ImageFacts:
    """Say how large a drawing wants to be, in pixels; 0 if it does not say it."""
    width, height = size_of(root_of(path))
    return ImageFacts(round(width), round(height), "svg", "vector", 1, True, {}, None)


def thumbnail_svg(path: Path, size: int) -> Thumbnail:
    """A small and plain drawing itself, to be shown in a square of ``size`` pixels.

    Raises Undrawn for any other: to draw one takes a browser.
    """
    with opened(path) as file, reading("SVG"):
        data = file.read(SMALL + 1)
        if len(data) > SMALL:
            raise Undrawn(f"an SVG of more than {SMALL:,} bytes is not drawn")
        root = fromstring(data)
        if odd := next((each.tag for each in root.iter() if not is_plain(each)), None):
            raise Undrawn(f"an SVG with {local(odd)} in it is not drawn")
        width, height = size_of(root)
    longer = max(width, height) or 1.0
    fit = size / longer
    return Thumbnail(
        data,
        max(1, round((width or longer) * fit)),
        max(1, round((height or longer) * fit)),
        "image/svg+xml",
    )


def root_of(path: Path) -> Element:
    """The first element of a drawing, without what is in it."""
    with opened(path) as file, reading("SVG"):
        parser: XMLPullParser[Element] = XMLPullParser(["start"])
        read = 0
        while read < LONG and (piece := file.read(PIECE)):
            read += len(piece)
            parser.feed(piece)
            for event in parser.read_events():
                root = event[-1]
                if isinstance(root, Element) and local(root.tag) == "svg":
                    return root
                raise Unreadable("no readable SVG: its first element is another")
        raise Unreadable("no readable SVG: it has no element")


def size_of(root: Element) -> tuple[float, float]:
    """Width and height, by what the first element says of them, or else of its view box."""
    _, _, across, down = box_of(root.get("viewBox", ""))
    width, height = pixels(root.get("width", "")), pixels(root.get("height", ""))
    if width and not height and across:
        height = width * down / across
    elif height and not width and down:
        width = height * across / down
    return min(width or across, MOST), min(height or down, MOST)


def box_of(text: str) -> tuple[float, float, float, float]:
    """The four numbers of a view box; zeros if they are no box."""
    try:
        left, top, across, down = map(float, text.replace(",", " ").split())
    except ValueError:
        return 0.0, 0.0, 0.0, 0.0
    if not (math.isfinite(across) and math.isfinite(down) and across > 0 and down > 0):
        return 0.0, 0.0, 0.0, 0.0
    return left, top, across, down


def pixels(text: str) -> float:
    """A length in pixels; 0 for none, and for one that depends on what is around it."""
    found = _LENGTH.fullmatch(text)
    return float(found[1]) * UNITS.get(found[2], 0.0) if found else 0.0


def is_plain(element: Element) -> bool:
    """Whether an element does nothing but draw, and refers to nothing outside of the drawing."""
    if not element.tag.startswith(SVG):
        return not element.tag.startswith("{http://www.w3.org/1999/xhtml}")
    if local(element.tag) not in _PLAIN:
        return False
    for name, value in element.items():
        name = local(name)
        if name.startswith("on") or (name == "href" and not value.startswith("#")):
            return False
    return all(map(stays_inside, [*element.attrib.values(), element.text or ""]))


def stays_inside(style: str) -> bool:
    """Whether what may be a style asks for nothing from outside. There are no escapes in it."""
    style = style.lower().replace(" ", "")
    return "url(" not in style.replace("url(#", "") and "@" not in style and "\\" not in style
