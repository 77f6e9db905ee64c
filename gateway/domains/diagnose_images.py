"""Images as evidence: what is sent, what a release sees of it, and where it saw the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gateway.domains.domain import RowRefused, SlowRow
from gateway.domains.validation import Violations, shown
from gateway.errors import InvalidRequest
from trident.diagnose.v1.diagnose_service_pb2 import DiagnoseRequest, Image, Saliency
from triton_models import images, png_chunks
from triton_models.image_errors import ImageRefused
from triton_models.image_limits import MAX_IMAGE_BYTES
from triton_models.release import ImageSpec, Manifest, most_rows

_QUICK_PIXELS = 256 * 256
"""Decoded in less time than another thread takes to begin."""
_QUICK_BYTES = 256 * 1024

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class ImageRow(SlowRow):
    """An image that is still to be decoded."""

    content: bytes
    media_type: str
    spec: ImageSpec

    @property
    def quick(self) -> bool:
        """Whether it is a small PNG of nothing but pixels."""
        return self.media_type == images.PNG and png_chunks.is_small(
            self.content, _QUICK_PIXELS, _QUICK_BYTES
        )

    def made(self) -> Pixels:
        """Return ``(Y, X, C)`` uint8.

        Raises:
            RowRefused: If it is no image that can be taken.
        """
        try:
            return images.decode(self.content, self.media_type, self.spec).pixels
        except ImageRefused as error:
            raise RowRefused("image.content", str(error)) from error


def check_image(image: Image, violations: Violations) -> None:
    """Check what can be told without decoding."""
    if not 1 <= len(image.content) <= MAX_IMAGE_BYTES:
        accepted = f"must have 1 to {MAX_IMAGE_BYTES} bytes"
        violations.add("content", f"{accepted}, got {len(image.content)}")
    if image.media_type not in images.MEDIA_TYPES:
        accepted = f"must be one of {', '.join(images.MEDIA_TYPES)}"
        violations.add("media_type", f"{accepted}, got {shown(image.media_type)}")


def plain_image(image: Image, manifest: Manifest) -> ImageRow | None:
    """Return what is left to do with an image that :func:`check_image` has nothing against."""
    if image.media_type in images.MEDIA_TYPES and 1 <= len(image.content) <= MAX_IMAGE_BYTES:
        return image_row(image, manifest)
    return None


def image_row(image: Image, manifest: Manifest) -> ImageRow:
    """Return what is left to do with an image."""
    return ImageRow(image.content, image.media_type, spec_of(manifest))


def images_to_tensors(rows: Sequence[Pixels], manifest: Manifest) -> dict[str, Pixels]:
    """Return the input of a release, ``(B, Y, X, C)``.

    Raises:
        InvalidRequest: If one batch has too many images of this size.
    """
    spec = spec_of(manifest)
    if len(rows) > (most := most_rows(manifest)):
        text = f"must have at most {most} images of {spec.width} x {spec.height}, got {len(rows)}"
        raise InvalidRequest({"requests": text})
    return {"pixels": np.stack(rows)}


def saliency_of(
    request: DiagnoseRequest, saliency: npt.NDArray[np.float32], manifest: Manifest
) -> Saliency:
    """Return a map ``(y, x)`` in [0, 1] as a picture over the image that was sent."""
    image = request.image
    size = images.size_of(image.content, image.media_type)
    return Saliency(png=images.saliency_png(saliency, size, spec_of(manifest)))


def spec_of(manifest: Manifest) -> ImageSpec:
    """Return what the images of a release are made into."""
    assert manifest.image is not None, "checked when the release was loaded"
    return manifest.image
