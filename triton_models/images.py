"""From the bytes of an image to the pixels that a release takes: the same to train and to serve.

The bytes may come from anybody. What an image claims is checked before anything is decoded: its
type by its first bytes, its size by its header, that it is one picture and ends where it says.
Nothing but pixels is taken from it.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from triton_models import dicom, png_chunks
from triton_models.image_errors import ImageRefused
from triton_models.image_limits import MAX_IMAGE_BYTES, MAX_PIXELS, check_size
from triton_models.release import ImageSpec

PNG, JPEG, DICOM = "image/png", "image/jpeg", "application/dicom"
MEDIA_TYPES = (PNG, JPEG, DICOM)

Pixels = npt.NDArray[np.uint8]

_JPEG_START, _JPEG_END = b"\xff\xd8\xff", b"\xff\xd9"
_JPEG_PADDING = b"\x00\xff\r\n "
_FORMATS = {PNG: "PNG", JPEG: "JPEG"}
_DEEP = ("I;16", "I;16B", "I;16L", "I", "F")
_ORIENTATION = 0x0112
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""By the orientation that EXIF states."""
_ON_ITS_SIDE = {_TURNS[number] for number in (5, 6, 7, 8)}
_WINDOW = (0.5, 99.5)
"""Percentiles of a deep image that become black and white."""

# A picture inside a DICOM file has a size of its own, which only Pillow sees.
Image.MAX_IMAGE_PIXELS = MAX_PIXELS
# Once for the process: threads that each changed the filters would leave them in any state.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)


@dataclass(frozen=True)
class Decoded:
    """An image as a release takes it."""

    pixels: Pixels
    """``(height, width, channels)`` uint8 of the release."""
    size: tuple[int, int]
    """Width and height as it was sent, turned as a viewer shows it."""


def sniffed(content: bytes) -> tuple[str, ...]:
    """Return every media type that the first bytes could be."""
    found = []
    if content.startswith(png_chunks.START):
        found.append(PNG)
    if content.startswith(_JPEG_START):
        found.append(JPEG)
    if dicom.looks_like(content):
        found.append(DICOM)
    return tuple(found)


def check_content(content: bytes, media_type: str) -> None:
    """Check what can be told without decoding.

    Raises:
        ImageRefused: If there are too few or too many bytes, they are of another type or of
            several, or the image does not end where its bytes do.
    """
    if not 1 <= len(content) <= MAX_IMAGE_BYTES:
        raise ImageRefused(f"must have 1 to {MAX_IMAGE_BYTES} bytes, got {len(content)}")
    found = sniffed(content)
    if found != (media_type,):
        is_what = " and ".join(found) or "something else"
        raise ImageRefused(f"must be {media_type} and nothing else, its bytes are {is_what}")
    if media_type == PNG and not png_chunks.is_whole(content):
        raise ImageRefused(
            "is a PNG that is cut off, damaged, of too many chunks, or goes on after its end"
        )
    if media_type == JPEG and not content.rstrip(_JPEG_PADDING).endswith(_JPEG_END):
        raise ImageRefused("is a JPEG that is cut off, or goes on after its end")


def decode(content: bytes, media_type: str, spec: ImageSpec) -> Decoded:
    """Return the pixels that a release takes.

    Args:
        content: The bytes of a file.
        media_type: What it is said to be; one of :data:`MEDIA_TYPES`.
        spec: Of the release.

    Raises:
        ImageRefused: If it is not one whole image of that type, or too large.
    """
    check_content(content, media_type)
    if media_type == DICOM:
        values = dicom.read(content)
        return Decoded(fitted_array(values, spec), (values.shape[1], values.shape[0]))
    with _translated(media_type), _opened(content, media_type) as image:
        image.load()
        turn = _turn_of(image)
        shown = image if turn is None else image.transpose(turn)
        if shown.mode not in _DEEP:
            shown = _plain_colours(shown, spec.channels)
    return Decoded(_fitted(shown, spec), shown.size)


def size_of(content: bytes, media_type: str) -> tuple[int, int]:
    """Return width and height of an image as a viewer shows it.

    A header says so, but what turns a PNG may stand behind its pixels: those are decoded.

    Raises:
        ImageRefused: If nothing in it says so, it is too large, or a damaged PNG.
    """
    if media_type == DICOM:
        return dicom.size_of(content)
    with _translated(media_type), _opened(content, media_type) as image:
        width, height = image.size
        return (height, width) if _turn_of(image) in _ON_ITS_SIDE else (width, height)


def fitted_array(values: npt.NDArray[Any], spec: ImageSpec) -> Pixels:
    """Return ``(height, width, channels)`` uint8 of an image in memory.

    Args:
        values: ``(h, w)``, ``(h, w, 1)`` or ``(h, w, 3)``: uint8 as it is; of any other type,
            from black to white between two percentiles of its own values.
        spec: Of the release.
    """
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[:, :, 0]
    if values.dtype != np.uint8 and values.ndim == 3:
        values = _windowed(values.astype(np.float32)).astype(np.uint8)
    if values.dtype != np.uint8:
        values = values.astype(np.float32, copy=False)
    return _fitted(Image.fromarray(values), spec)


def encode_png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """Return a PNG of ``(h, w)``, ``(h, w, 1)`` or ``(h, w, 3)`` uint8, losing nothing."""
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[:, :, 0]
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG", compress_level=1)
    return file.getvalue()


def saliency_png(
    saliency: npt.NDArray[np.float32], size: tuple[int, int], spec: ImageSpec
) -> bytes:
    """Return a map of a release as a grey PNG over the image that was sent.

    Args:
        saliency: ``(y, x)`` float32 in [0, 1], of what the release saw of the image.
        size: Width and height of the image as it was sent.
        spec: Of the release. What it did not see is black.
    """
    left, top, right, bottom = seen_box(size, spec)
    seen = (max(1, round(right - left)), max(1, round(bottom - top)))
    grey = Image.fromarray(np.round(saliency * 255).clip(0, 255).astype(np.uint8))
    first, upper, last, lower = _filled(size, spec)
    part = (
        first * grey.width / spec.width,
        upper * grey.height / spec.height,
        last * grey.width / spec.width,
        lower * grey.height / spec.height,
    )
    grown = grey.resize(seen, Image.Resampling.BICUBIC, box=part)
    whole = Image.new("L", size)
    whole.paste(grown, (round(left), round(top)))
    file = io.BytesIO()
    whole.save(file, format="PNG", compress_level=1)
    return file.getvalue()


def seen_box(size: tuple[int, int], spec: ImageSpec) -> tuple[float, float, float, float]:
    """Return left, top, right and bottom of what a release sees of an image, in its pixels."""
    width, height = size
    if spec.fit != "crop":
        return 0, 0, width, height
    wide, high = float(width), float(height)
    # The side that decides stays as it is: computed, it could come out a trifle too long.
    if width * spec.height <= height * spec.width:
        high = width * spec.height / spec.width
    else:
        wide = height * spec.width / spec.height
    left, top = (width - wide) / 2, (height - high) / 2
    return left, top, width - left, height - top


def _filled(size: tuple[int, int], spec: ImageSpec) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of where an image lies in what is made of it."""
    width, height = size
    wide, high = spec.width, spec.height
    if spec.fit == "pad" and width * spec.height >= height * spec.width:
        high = max(1, round(height * spec.width / width))
    elif spec.fit == "pad":
        wide = max(1, round(width * spec.height / height))
    left, top = (spec.width - wide) // 2, (spec.height - high) // 2
    return left, top, left + wide, top + high


def _opened(content: bytes, media_type: str) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=[_FORMATS[media_type]])
    check_size(*image.size)
    frames = getattr(image, "n_frames", 1)
    # Some cameras put a second, smaller picture behind the first: that is no film.
    if frames > 1 and media_type == PNG:
        raise ImageRefused(f"must be one picture, has {frames}")
    return image


def _turn_of(image: Image.Image) -> Image.Transpose | None:
    """Return what must be done to an image to see it upright.

    An orientation that is none of the eight is no orientation; EXIF that cannot be read is an
    error, since the image could lie on its side.
    """
    orientation = image.getexif().get(_ORIENTATION, 1)
    # Whatever a file says: `==` takes 8/1 for 8, and text for nothing.
    return next((turn for number, turn in _TURNS.items() if number == orientation), None)


@contextmanager
def _translated(media_type: str) -> Iterator[None]:
    """Turn whatever Pillow finds wrong into one error."""
    try:
        yield
    except (ImageRefused, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRefused(f"must have at most {MAX_PIXELS} pixels, has more") from error
    except UnidentifiedImageError as error:
        raise ImageRefused(f"cannot be read as {media_type}") from error
    except Exception as error:  # its errors have no root, and metadata can be wrong in any way
        raise ImageRefused(f"is a damaged {media_type}: {_plain(error)}") from error


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())[:120] or type(error).__name__


def _fitted(image: Image.Image, spec: ImageSpec) -> Pixels:
    """Return the pixels of an image that is turned upright, ``(height, width, channels)``."""
    deep = image.mode in _DEEP
    image = _windowed_image(image) if deep else _plain_colours(image, spec.channels)
    target = (spec.width, spec.height)
    if image.size != target and spec.fit == "pad":
        image = _padded(image, spec)
    elif image.size != target:
        box = seen_box(image.size, spec)
        image = image.resize(target, Image.Resampling.BILINEAR, box=box)
    pixels = np.asarray(image)
    if deep:
        pixels = np.round(pixels)
    pixels = pixels.astype(np.uint8)
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], spec.channels)))


def _padded(image: Image.Image, spec: ImageSpec) -> Image.Image:
    """Return the image as large as fits, with black beside it.

    Nothing larger than the release's images is made: a line of one pixel may be very long.
    """
    left, top, right, bottom = _filled(image.size, spec)
    whole = Image.new(image.mode, (spec.width, spec.height))
    inner = image.resize((right - left, bottom - top), Image.Resampling.BILINEAR)
    whole.paste(inner, (left, top))
    return whole


def _plain_colours(image: Image.Image, channels: int) -> Image.Image:
    """Return 8 bits of grey or of red, green and blue; what is transparent lies on black."""
    mode = "L" if channels == 1 else "RGB"
    if image.mode == mode:
        return image
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        coloured = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), coloured)
    elif image.mode == "CMYK":
        image = image.convert("RGB")
    return image.convert(mode)


def _windowed_image(image: Image.Image) -> Image.Image:
    """Return a deep grey image as floats in [0, 255]."""
    return Image.fromarray(_windowed(np.asarray(image).astype(np.float32)))


def _windowed(values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return values from black to white, in the memory of those given: images can be large."""
    values = np.nan_to_num(values, copy=False, nan=0.0, posinf=0.0, neginf=0.0)
    low, high = map(float, np.percentile(values, _WINDOW))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    span = max(high - low, float(np.finfo(np.float32).tiny))
    values -= np.float32(low)
    values /= np.float32(span)
    np.clip(values, 0, 1, out=values)
    values *= np.float32(255)
    return values
