"""DICOM files: one picture's values, as the file says that they are to be shown."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from triton_models.image_errors import ImageRefused
from triton_models.image_limits import check_size

if TYPE_CHECKING:
    from pydicom import FileDataset

_PREAMBLE_BYTES = 128
_MARK = b"DICM"
_DEFLATED = b"1.2.840.10008.1.2.1.99"
"""The transfer syntax that unpacks the whole file before its header can be read."""
_MOST_HEADER_BYTES = 1024 * 1024
"""Before the pixels; some have a small picture or an overlay there. Each element takes some 5 µs of
plain Python, and an empty one has eight bytes."""
_PIXELS = 0x7FE00010
_GREY, _PALETTE = ("MONOCHROME1", "MONOCHROME2"), "PALETTE COLOR"
_COLOURS = ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT")

# Of bytes that anybody may have sent, nobody wants to read. Once for the process, since threads
# that each turned warnings off and on again would leave them in any state.
warnings.filterwarnings("ignore", module=r"pydicom(\.|$)")
logging.getLogger("pydicom").propagate = False
logging.getLogger("pydicom").addHandler(logging.NullHandler())


def looks_like(content: bytes) -> bool:
    """Say whether the mark of a DICOM file stands where it must."""
    return content[_PREAMBLE_BYTES : _PREAMBLE_BYTES + len(_MARK)] == _MARK


def size_of(content: bytes) -> tuple[int, int]:
    """Return width and height, from the header.

    Raises:
        ImageRefused: If there is none, or it says too much.
    """
    with _translated():
        return _checked(_read(content, pixels=False))


def read(content: bytes) -> npt.NDArray[Any]:
    """Return the values, ``(h, w)`` or ``(h, w, 3)`` uint8, or ``(h, w)`` float32.

    Higher is brighter. Where the file says which values are black and white, and where it has
    8 bits, that is what they are; else nobody said, and the values come as they are, in float32.

    Raises:
        ImageRefused: If it is not one whole picture that can be read.
    """
    with _translated():
        data = _read(content, pixels=True)
        _checked(data)
        return _shown(data)


def _shown(data: FileDataset) -> npt.NDArray[Any]:
    from pydicom.pixels.processing import apply_color_lut
    from pydicom.pixels.utils import pixel_array

    kind = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
    if kind not in (*_GREY, *_COLOURS, _PALETTE):
        raise ImageRefused(f"must be grey or coloured in a known way, is {kind[:20]!r}")
    values = pixel_array(data)
    if kind == _PALETTE:
        values = apply_color_lut(values, data)[:, :, :3]
        # Of a palette of 16 bits, the upper ones.
        return values if values.dtype == np.uint8 else (values >> 8).astype(np.uint8)
    if values.ndim == 3:
        return values.astype(np.uint8)  # red, green and blue, whatever they are in the file
    grey = _windowed(values, data)
    if kind == "MONOCHROME1":
        return np.uint8(255) - grey if grey.dtype == np.uint8 else grey.max() - grey
    return grey


def _windowed(values: npt.NDArray[Any], data: FileDataset) -> npt.NDArray[Any]:
    """Return ``(h, w)`` uint8 where the file says what is black and white, else float32."""
    from pydicom.pixels.processing import apply_modality_lut, apply_voi

    if data.get("ModalityLUTSequence"):
        shown = apply_modality_lut(values, data).astype(np.float32)
    else:
        slope, intercept = data.get("RescaleSlope"), data.get("RescaleIntercept")
        rescaled = (slope is not None and float(slope) != 1) or bool(intercept)
        eight = values.dtype == np.uint8 and int(data.get("BitsStored", 8)) == 8
        if eight and not rescaled and not _says_window(data):
            return values
        shown = values.astype(np.float32)
        shown *= 1 if slope is None else float(slope)
        shown += 0 if intercept is None else float(intercept)
    if data.get("VOILUTSequence"):
        looked_up = apply_voi(shown.astype(np.int32), data).astype(np.float32)
        bits = int(data.VOILUTSequence[0].LUTDescriptor[2])
        return _bytes(looked_up, 0, 2**bits - 1)
    if "WindowCenter" not in data or "WindowWidth" not in data:
        return shown
    center, width = _first(data.WindowCenter), _first(data.WindowWidth)
    how = str(data.get("VOILUTFunction", "LINEAR") or "LINEAR")
    if how == "SIGMOID":
        shown = 1 / (1 + np.exp(np.clip(-4 * (shown - center) / width, -50, 50)))
        return _bytes(shown, 0, 1)
    if how == "LINEAR":  # of whole numbers, from the first that is grey to the last
        center, width = center - 0.5, max(width - 1, 1e-6)
    return _bytes(shown, center - width / 2, center + width / 2)


def _says_window(data: FileDataset) -> bool:
    return bool(data.get("VOILUTSequence")) or "WindowCenter" in data


def _bytes(values: npt.NDArray[np.float32], low: float, high: float) -> npt.NDArray[np.uint8]:
    """Return uint8, in which ``low`` is black and ``high`` white. Takes the values' memory."""
    values -= np.float32(low)
    values *= np.float32(255 / max(high - low, 1e-6))
    np.clip(values, 0, 255, out=values)
    return np.round(values, out=values).astype(np.uint8)


def _first(value: Any) -> float:
    """Return the first window where a file has several."""
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)


class _Header(io.BytesIO):
    """A file that ends the reading of a header that is too long."""

    at_pixels = False

    def read(self, size: int | None = -1, /) -> bytes:
        if not self.at_pixels and self.tell() > _MOST_HEADER_BYTES:
            raise ImageRefused(f"must have its pixels in the first {_MOST_HEADER_BYTES} bytes")
        return super().read(size)


def _read(content: bytes, *, pixels: bool) -> FileDataset:
    """Return the elements up to the pixels, or with them; none that stand behind."""
    from pydicom.filereader import read_partial

    if _DEFLATED in content:
        raise ImageRefused("must be a DICOM file that is not deflated as a whole")
    file = _Header(content)

    def ends(tag: int, *_: object) -> bool:
        file.at_pixels = file.at_pixels or tag == _PIXELS
        return tag > _PIXELS or (tag == _PIXELS and not pixels)

    return read_partial(file, stop_when=ends)


def _checked(header: FileDataset) -> tuple[int, int]:
    width, height = int(header.get("Columns", 0)), int(header.get("Rows", 0))
    check_size(width, height)
    frames = int(header.get("NumberOfFrames", 1) or 1)
    if frames != 1:
        raise ImageRefused(f"must be one picture, has {frames}")
    samples, bits = int(header.get("SamplesPerPixel", 1)), int(header.get("BitsAllocated", 0))
    if samples not in (1, 3) or bits not in (8, 16, 32) or (samples == 3 and bits != 8):
        raise ImageRefused(
            f"must have 1 sample of 8, 16 or 32 bits or 3 of 8 bits for each pixel, "
            f"has {samples} of {bits}"
        )
    return width, height


@contextmanager
def _translated() -> Iterator[None]:
    """Turn whatever pydicom finds wrong into one error."""
    try:
        yield
    except ImageRefused:
        raise
    except Exception as error:  # it has no root for its errors, and bytes can be wrong in any way
        text = " ".join(str(error).split())[:120] or type(error).__name__
        raise ImageRefused(f"is a DICOM file that cannot be read: {text}") from error
