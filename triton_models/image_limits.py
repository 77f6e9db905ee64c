"""How large an image may be."""

from __future__ import annotations

from triton_models.image_errors import ImageRefused
from triton_models.limits import MAX_BATCH_ROWS

MAX_IMAGE_BYTES = 10 * 1024 * 1024
MAX_PIXELS = 25_000_000
"""A mammogram has 13 million. Decoding 25 million of 16 bits takes about 400 MB as DICOM, 210 MB
where that has a window, and 260 MB as PNG."""
MAX_SIDE = 16_384

_MAX_BATCH_BYTES = 64 * 1024 * 1024
"""Of the pixels of one batch, as a release takes them."""


def most_images(height: int, width: int, channels: int) -> int:
    """Return how many images of a size may be asked at once."""
    return max(1, min(MAX_BATCH_ROWS, _MAX_BATCH_BYTES // (height * width * channels)))


def check_size(width: int, height: int) -> None:
    """Check what a header says, before anything is decoded.

    Raises:
        ImageRefused: If a side is 0 or too long, or there are too many pixels.
    """
    if min(width, height) < 1 or max(width, height) > MAX_SIDE or width * height > MAX_PIXELS:
        raise ImageRefused(
            f"must have sides of 1 to {MAX_SIDE} and at most {MAX_PIXELS} pixels, "
            f"is {width} x {height}"
        )
