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


def looks_like(content: bytes) -> bool:
    """Say whether the mark of a DICOM file stands where it must."""
    return content[_PREAMBLE_BYTES : _PREAMBLE_BYTES + len(_MARK)] == _MARK


def size_of(content: bytes) -> tuple[int, int]:
    """Return width and height, from the header.

    Raises:
        ImageRefused: If there is none, or it says too much.
    """
    with _translated():
        return _checked(_header(content))


def read(content: bytes) -> npt.NDArray[Any]:
    """Return the values, ``(h, w)`` or ``(h, w, 3)`` uint8 or float32; higher is brighter.

    The file's own rescaling and window are applied; where white is low, it is turned round.

    Raises:
        ImageRefused: If it is not one whole picture that can be read.
    """
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut
    from pydicom.pixels.utils import pixel_array

    with _translated():
        _checked(_header(content))
        data = pydicom.dcmread(io.BytesIO(content))
        colours = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
        values = pixel_array(data)
        if values.ndim == 3:
            return values.astype(np.uint8)  # red, green and blue, whatever they are in the file
        shown = apply_voi_lut(apply_modality_lut(values, data), data).astype(np.float32)
        return shown.max() - shown if colours == "MONOCHROME1" else shown


def _header(content: bytes) -> FileDataset:
    import pydicom

    if _DEFLATED in content:
        raise ImageRefused("must be a DICOM file that is not deflated as a whole")
    return pydicom.dcmread(io.BytesIO(content), stop_before_pixels=True)


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
    """Turn whatever pydicom finds wrong into one error, and keep it from the log."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageRefused:
        raise
    except Exception as error:  # it has no root for its errors, and bytes can be wrong in any way
        text = " ".join(str(error).split())[:120] or type(error).__name__
        raise ImageRefused(f"is a DICOM file that cannot be read: {text}") from error
    finally:
        logger.setLevel(level)
