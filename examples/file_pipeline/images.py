"""Images: what one is like, and a small picture of it."""

from __future__ import annotations

import io
import logging
import math
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ExifTags import IFD, Base

from examples.file_pipeline.drawings import describe_svg, thumbnail_svg
from examples.file_pipeline.kinds import sniff
from examples.file_pipeline.pictures import ImageFacts, Thumbnail
from examples.file_pipeline.texts import shown
from examples.file_pipeline.unreadable import Bomb, Unreadable, opened, reading

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

SIZE = 96
"""Pixels of the longer side of a thumbnail."""
PIXELS = 64 << 20
"""Pixels that an image has at most; four bytes of memory for each."""
PLUGINS = {
    "png": "PNG",
    "jpeg": "JPEG",
    "gif": "GIF",
    "webp": "WEBP",
    "tiff": "TIFF",
    "bmp": "BMP",
    "ico": "ICO",
    "avif": "AVIF",
    "jpeg2000": "JPEG2000",
    "ppm": "PPM",
    "psd": "PSD",
}
"""Which part of the library reads what. It has others, and some of them start other programs."""
TAGS = {
    Base.Make: "make",
    Base.Model: "model",
    Base.LensModel: "lens",
    Base.DateTimeOriginal: "taken",
    Base.ExposureTime: "exposure",
    Base.FNumber: "aperture",
    Base.ISOSpeedRatings: "iso",
    Base.FocalLength: "focal length",
    Base.Orientation: "orientation",
    Base.ImageDescription: "description",
    Base.Artist: "artist",
    Base.Copyright: "copyright",
    Base.Software: "software",
    Base.DateTime: "changed",
}
"""The tags of EXIF that are told, and as what. Where somebody was is not."""


def describe(path: Path) -> ImageFacts:
    """Say what an image is like. Its pixels are not unpacked.

    Raises Bomb for an image of more than ``PIXELS``, Unreadable for a damaged one.
    """
    format = sniff(path).format
    if format == "svg":
        return describe_svg(path)
    with image_at(path, format) as image:
        return ImageFacts(
            image.width,
            image.height,
            format,
            image.mode,
            max(1, int(getattr(image, "n_frames", 1))),
            image.has_transparency_data,
            exif_of(image),
            dpi_of(image),
        )


def thumbnail(path: Path, size: int = SIZE) -> Thumbnail:
    """Make a picture of an image in a square of ``size`` pixels: of its first frame, and upright.

    Raises as :func:`describe` does, and Undrawn for a drawing that is not small and plain.
    """
    format = sniff(path).format
    if format == "svg":
        return thumbnail_svg(path, size)
    with image_at(path, format) as image:
        image.draft("RGB", (size, size))
        stand_upright(image)
        small = visible(image)
        small.thumbnail((size, size))
        out = io.BytesIO()
        small.save(out, "WEBP", quality=70)
        return Thumbnail(out.getvalue(), small.width, small.height, "image/webp")


@contextmanager
def image_at(path: Path, format: str) -> Generator[Image.Image]:
    """Open an image. None of its pixels are read yet."""
    if format not in PLUGINS:
        raise Unreadable(f"an image is one of {', '.join(PLUGINS)}, svg. Got: {format}")
    with opened(path) as file, reading(format):
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        logging.getLogger("PIL").setLevel(logging.CRITICAL)  # it logs whatever it can put up with
        try:
            with Image.open(file, formats=[PLUGINS[format]]) as image:
                width, height = image.size
                if width * height > PIXELS:
                    raise Bomb(f"an image may have {PIXELS:,} pixels. Got: {width} x {height}")
                yield image
        except UnidentifiedImageError as error:
            raise Unreadable(f"no readable {format}: it only begins like one") from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise Bomb(f"an image may have {PIXELS:,} pixels: {error}") from error


def stand_upright(image: Image.Image) -> None:
    """Turn an image as its EXIF says. If that cannot be read, the image stays as it is."""
    try:
        with reading("EXIF"):
            ImageOps.exif_transpose(image, in_place=True)
    except Unreadable:
        pass


def visible(image: Image.Image) -> Image.Image:
    """The image in colours that every screen has."""
    if image.mode in ("I", "F") or image.mode.startswith("I;"):
        return in_greys(image)
    return image.convert("RGBA" if image.has_transparency_data else "RGB")


def in_greys(image: Image.Image) -> Image.Image:
    """An image of numbers as one of greys: the least is black, and the greatest white."""
    numbers = image.convert("F")
    extremes = numbers.getextrema()
    low, high = (float(each) for each in extremes if not isinstance(each, tuple))
    if not math.isfinite(high - low) or low == high:
        return numbers.convert("RGB")
    scale = 255 / (high - low)
    return numbers.point(lambda number: number * scale - low * scale).convert("RGB")


def exif_of(image: Image.Image) -> dict[str, str]:
    """What EXIF tells of :data:`TAGS`. Nothing, if it cannot be read."""
    try:
        with reading("EXIF"):
            exif = image.getexif()
            found = {**exif, **exif.get_ifd(IFD.Exif)}
    except Unreadable:
        return {}
    told: dict[str, str] = {}
    for tag, name in TAGS.items():
        value = found.get(tag)
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if value is not None and (text := str(value).strip(" \0")):
            told[name] = shown(text)
    return told


def dpi_of(image: Image.Image) -> tuple[float, float] | None:
    """Dots per inch, across and down, if there are any."""
    try:
        across, down = (round(float(each), 2) for each in image.info.get("dpi", ()))
    except (TypeError, ValueError, ArithmeticError):
        return None
    if not (0 < across < math.inf and 0 < down < math.inf):
        return None
    return across, down
