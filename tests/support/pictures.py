"""Images as somebody could send them, honest and hostile."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from triton_models.images import encode_png

Array = npt.NDArray[Any]


def ramp(height: int = 40, width: int = 60) -> npt.NDArray[np.uint8]:
    """Grey that rises from left to right, ``(height, width)``."""
    return np.tile(np.linspace(0, 255, width).astype(np.uint8), (height, 1))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, format=kind, **options)
    return file.getvalue()


def jpeg(pixels: Array, **options: Any) -> bytes:
    return encoded(Image.fromarray(pixels), "JPEG", quality=95, **options)


def turned_jpeg(pixels: Array, orientation: int) -> bytes:
    """A JPEG whose viewer must turn it, as cameras write it."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return jpeg(pixels, exif=exif)


def oddly_turned_jpeg(pixels: Array, kind: int, content: bytes) -> bytes:
    """A JPEG whose orientation is of another kind than it should be: 2 text, 5 a fraction."""
    place = content.ljust(4, b"\0") if len(content) <= 4 else struct.pack("<I", 26)
    sizes = {3: 2, 5: 8}
    entry = struct.pack("<HHI", 0x0112, kind, len(content) // sizes.get(kind, 1)) + place
    rest = bytes(4) + (content if len(content) > 4 else b"")
    exif = b"Exif\0\0II*\0" + struct.pack("<IH", 8, 1) + entry + rest
    return jpeg(pixels, exif=exif)


def deep_png(values: Array) -> bytes:
    """A grey PNG of 16 bits."""
    return encoded(Image.fromarray(values.astype(np.uint16)), "PNG")


def animated_png(frames: int = 3) -> bytes:
    first, *others = [Image.fromarray(np.full((8, 8), 40 * n, np.uint8)) for n in range(frames)]
    return encoded(first, "PNG", save_all=True, append_images=others)


def png_that_claims(width: int, height: int, pixels: bytes = b"") -> bytes:
    """A PNG whose header says anything; what it holds is as short as it may be."""
    parts = [header_of(width, height), (b"IDAT", zlib.compress(pixels)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, data) for kind, data in parts)


def with_chunks(png: bytes, chunks: list[tuple[bytes, bytes]], place: int = 33) -> bytes:
    """Put chunks of a kind and a content into a PNG, behind its header or before it (8)."""
    return png[:place] + b"".join(_chunk(kind, data) for kind, data in chunks) + png[place:]


def header_of(width: int, height: int) -> tuple[bytes, bytes]:
    """The chunk that says how large a grey PNG is."""
    return b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)


def bomb() -> bytes:
    """A PNG of some kilobytes that is 900 megabytes when it is unpacked."""
    return png_that_claims(30_000, 30_000, bytes(1_000_000))


def dicom(values: Array, **tags: Any) -> bytes:
    """A DICOM file of ``(h, w)`` or ``(h, w, 3)`` values, with tags that a test wants."""
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.7"
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=["a test"])
    data = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    bits = values.dtype.itemsize * 8
    colours = values.ndim == 3
    fields = {
        "Rows": values.shape[0],
        "Columns": values.shape[1],
        "SamplesPerPixel": 3 if colours else 1,
        "PhotometricInterpretation": "RGB" if colours else "MONOCHROME2",
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": 0,
        **({"PlanarConfiguration": 0} if colours else {}),
        "PixelData": values.tobytes(),
        **tags,
    }
    for name, value in fields.items():
        setattr(data, name, value)
    data["PixelData"].VR = "OW" if bits > 8 else "OB"
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()


def two_in_one() -> bytes:
    """A PNG that is a DICOM file, too: the mark stands inside a chunk of text."""
    png = encode_png(ramp())
    head, rest = png[:33], png[33:]
    filled = b"x\0" + bytes(b"y" * (128 - len(head) - 8 - 2)) + b"DICM"
    return head + _chunk(b"tEXt", filled) + rest


def _chunk(kind: bytes, data: bytes) -> bytes:
    sum_ = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", sum_)


def dicom_of_jpeg(pixels: Array) -> bytes:
    """A DICOM file whose ``(h, w)`` or ``(h, w, 3)`` uint8 pixels are a JPEG inside it."""
    import pydicom
    from pydicom.encaps import encapsulate
    from pydicom.uid import JPEGBaseline8Bit

    colours = {"PhotometricInterpretation": "YBR_FULL_422"} if pixels.ndim == 3 else {}
    data = pydicom.dcmread(io.BytesIO(dicom(pixels, **colours)))
    data.PixelData = encapsulate([jpeg(pixels)])
    data["PixelData"].is_undefined_length = True
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    file = io.BytesIO()
    data.save_as(file, enforce_file_format=True)
    return file.getvalue()
