"""The file pipeline: what images are like, and the small pictures that are made of them."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import pytest
from PIL import Image

from examples.file_pipeline import images
from examples.file_pipeline.images import PLUGINS, describe, thumbnail
from examples.file_pipeline.pictures import ImageFacts, Thumbnail
from examples.file_pipeline.unreadable import Bomb, Undrawn, Unreadable
from tests.examples.pipeline_samples import IMAGES, animation, huge_png, image, svg


def written(directory: Path, data: bytes) -> Path:
    path = directory / "file"
    path.write_bytes(data)
    return path


def seen(small: Thumbnail, at: tuple[int, int]) -> str:
    """What colour a thumbnail has at a place, about."""
    with Image.open(io.BytesIO(small.data)) as shown:
        assert shown.size == (small.width, small.height)
        red, green, blue, alpha = shown.convert("RGBA").getpixel(at)  # type: ignore[misc]
    if alpha < 128:
        return "clear"
    if max(red, green, blue) - min(red, green, blue) < 60:
        return "white" if red > 128 else "black"
    return {red: "red", green: "green", blue: "blue"}[max(red, green, blue)]


@pytest.mark.parametrize("format", sorted(PLUGINS.keys() - {"ico"}))
def test_every_format_is_described_and_shown(tmp_path: Path, format: str) -> None:
    path = written(tmp_path, IMAGES[format])
    facts = describe(path)
    assert (facts.format, facts.width, facts.height, facts.frames) == (format, 20, 10, 1)
    small = thumbnail(path)
    assert (small.mime, small.width, small.height) == ("image/webp", 20, 10)
    assert (seen(small, (3, 5)), seen(small, (16, 5))) == ("red", "blue")


def test_an_icon_is_described_and_shown(tmp_path: Path) -> None:
    path = written(tmp_path, IMAGES["ico"])
    assert (describe(path).width, thumbnail(path).width) == (16, 16)


@pytest.mark.parametrize(
    ("format", "mode", "alpha"),
    [
        ("PNG", "1", False),
        ("PNG", "L", False),
        ("PNG", "LA", True),
        ("PNG", "P", False),
        ("PNG", "RGBA", True),
        ("PNG", "I;16", False),
        ("TIFF", "F", False),
        ("TIFF", "I", False),
        ("TIFF", "CMYK", False),
        ("JPEG", "CMYK", False),
    ],
)
def test_any_mode_can_be_shown(tmp_path: Path, format: str, mode: str, alpha: bool) -> None:
    source = image(format, mode) if mode != "I;16" else sixteen_bits()
    path = written(tmp_path, source)
    facts = describe(path)
    assert (facts.mode, facts.has_alpha) == (mode, alpha)
    assert thumbnail(path, 8).width == 8


def sixteen_bits() -> bytes:
    out = io.BytesIO()
    rows = struct.pack("<20H", *[30_000] * 10, *[40_000] * 10) * 10
    with Image.frombytes("I;16", (20, 10), rows) as made:
        made.save(out, "PNG")
    return out.getvalue()


def test_numbers_are_shown_from_black_to_white(tmp_path: Path) -> None:
    small = thumbnail(written(tmp_path, sixteen_bits()))
    assert (seen(small, (3, 5)), seen(small, (16, 5))) == ("black", "white")


def test_what_is_transparent_stays_so(tmp_path: Path) -> None:
    out = io.BytesIO()
    with Image.new("RGBA", (20, 10), (0, 0, 0, 0)) as made:
        made.paste((255, 0, 0, 255), (10, 0, 20, 10))
        made.save(out, "PNG")
    small = thumbnail(written(tmp_path, out.getvalue()))
    assert (seen(small, (3, 5)), seen(small, (16, 5))) == ("clear", "red")


@pytest.mark.parametrize(("size", "shown"), [((1000, 500), (96, 48)), ((30, 900), (3, 96))])
@pytest.mark.parametrize("format", ["JPEG", "PNG"])
def test_a_thumbnail_fits_into_its_square(
    tmp_path: Path, format: str, size: tuple[int, int], shown: tuple[int, int]
) -> None:
    small = thumbnail(written(tmp_path, image(format, size=size)))
    assert (small.width, small.height) == shown
    assert len(small.data) < 2_000


@pytest.mark.parametrize("format", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_a_picture_stands_upright(tmp_path: Path, format: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the right-hand side is the lower one
    path = written(tmp_path, image(format, size=(200, 100), exif=exif))
    small = thumbnail(path)
    assert (small.width, small.height) == (48, 96)
    assert (seen(small, (24, 10)), seen(small, (24, 85))) == ("red", "blue")
    if format != "TIFF":  # whose plugin turns it before anybody asks
        assert describe(path).exif["orientation"] == "6"


@pytest.mark.parametrize("format", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_is_shown(tmp_path: Path, format: str) -> None:
    path = written(tmp_path, animation(format))
    assert describe(path).frames == 3
    assert seen(thumbnail(path), (4, 4)) == "red"


def test_some_of_exif_is_told_and_no_places(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker\0\0"
    exif[0x0131] = "x" * 1000
    exif[0x8769] = {0x9003: "2024:01:02 03:04:05", 0x829D: 2.8}
    exif[0x8825] = {1: "N", 2: (52.0, 31.0, 12.0)}
    facts = describe(written(tmp_path, image("JPEG", exif=exif, dpi=(300, 300))))
    assert facts.exif == {
        "make": "Maker",
        "taken": "2024:01:02 03:04:05",
        "aperture": "2.8",
        "software": "x" * 197 + "...",
    }
    assert facts.dpi == (300.0, 300.0)


def test_exif_that_is_damaged_spoils_no_picture(tmp_path: Path) -> None:
    path = written(tmp_path, image("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x0f\0\x02"))
    assert describe(path).exif == {}
    assert seen(thumbnail(path), (3, 5)) == "red"


def test_an_image_of_too_many_pixels_is_a_bomb(tmp_path: Path) -> None:
    for side in (8_200, 10_000, 60_000):
        path = written(tmp_path, huge_png(side, side))
        for read in (describe, thumbnail):
            with pytest.raises(Bomb, match=r"an image may have 67,108,864 pixels"):
                read(path)


@pytest.mark.parametrize("format", sorted(IMAGES))
def test_an_image_cut_short_is_unreadable(tmp_path: Path, format: str) -> None:
    data = IMAGES[format]
    with pytest.raises(Unreadable):
        thumbnail(written(tmp_path, data[: len(data) // 2]))
    with pytest.raises(Unreadable):
        describe(written(tmp_path, data[:8]))


def test_what_is_no_image_is_unreadable(tmp_path: Path) -> None:
    for data in (
        b"text",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        b"\x89PNG\r\n\x1a\n",
    ):
        for read in (describe, thumbnail):
            with pytest.raises(Unreadable):
                read(written(tmp_path, data))


def test_a_text_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    text = b"zTXtComment\0\0" + zlib.compress(bytes(100 << 20))
    chunk = (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
    whole = image("PNG")
    path = written(tmp_path, whole[:33] + chunk + whole[33:])
    with pytest.raises(Unreadable, match="ecompress"):
        describe(path)


@pytest.mark.parametrize(
    ("size", "width", "height"),
    [
        ('width="24" height="12"', 24, 12),
        ('width="1in" height="2.54cm"', 96, 96),
        ('width=" 24px " height="9pt"', 24, 12),
        ('viewBox="0 0 30 40"', 30, 40),
        ('viewBox="0,0,30,40" width="100%" height="100%"', 30, 40),
        ('viewBox="0 0 30 40" width="60"', 60, 80),
        ('viewBox="0 0 30 40" height="80"', 60, 80),
        ('viewBox="a b c d"', 0, 0),
        ('viewBox="0 0 nan inf"', 0, 0),
        ('width="-5" height="12furlongs"', 0, 0),
        ('width="999999999" height="1"', 1_000_000, 1),
        ("", 0, 0),
    ],
)
def test_a_drawing_says_how_large_it_is(tmp_path: Path, size: str, width: int, height: int) -> None:
    facts = describe(written(tmp_path, svg(size=size)))
    assert facts == ImageFacts(width, height, "svg", "vector", 1, True, {}, None)


def test_of_a_drawing_only_the_first_element_is_read_to_describe_it(tmp_path: Path) -> None:
    assert describe(written(tmp_path, svg("<not-xml" * 2000))).width == 24
    data = b"<?xml version='1.0'?>" + b" " * 100 + svg()[:-8]
    assert describe(written(tmp_path, data)).height == 12


def test_a_small_and_plain_drawing_is_its_own_thumbnail(tmp_path: Path) -> None:
    data = svg('<g fill="url(#a)"><path d="M0 0h9v9z"/></g><style>path { fill: red }</style>')
    assert thumbnail(written(tmp_path, data)) == Thumbnail(data, 96, 48, "image/svg+xml")
    assert thumbnail(written(tmp_path, svg(size="")), 32).width == 32


@pytest.mark.parametrize(
    "inside",
    [
        "<script>alert(1)</script>",
        '<path onload="alert(1)"/>',
        '<image href="x.png"/>',
        '<g href="http://x/"/>',
        '<use href="#a"/>',
        '<foreignObject><p xmlns="http://www.w3.org/1999/xhtml"/></foreignObject>',
        '<g><p xmlns="http://www.w3.org/1999/xhtml"/></g>',
        "<style>@import url(http://x/)</style>",
        '<path fill="url( http://x/ )"/>',
        "<style>path { fill: \\75rl(x) }</style>",
        f"<!-- {'x' * 9000} -->",
    ],
)
def test_any_other_drawing_has_no_thumbnail(tmp_path: Path, inside: str) -> None:
    with pytest.raises(Undrawn):
        thumbnail(written(tmp_path, svg(inside)))


def test_a_damaged_drawing_is_no_drawing(tmp_path: Path) -> None:
    with pytest.raises(Unreadable) as caught:
        thumbnail(written(tmp_path, svg("<path")))
    assert type(caught.value) is Unreadable


def test_a_plugin_that_is_not_there_would_be_seen() -> None:
    Image.init()
    assert set(images.PLUGINS.values()) <= set(Image.OPEN)
