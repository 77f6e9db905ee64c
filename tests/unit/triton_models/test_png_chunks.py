from __future__ import annotations

import io
import zlib

import numpy as np
import pictures
import pytest
from PIL import Image

from triton_models.images import encode_png
from triton_models.png_chunks import is_small, is_whole

SMALL = encode_png(np.zeros((8, 8), np.uint8))
PIXELS, BYTES = 64, 4096


def small(content: bytes) -> bool:
    return is_small(content, PIXELS, BYTES)


def test_a_png_is_whole_from_its_header_to_its_end() -> None:
    assert is_whole(SMALL)
    for cut in range(len(SMALL)):
        assert not is_whole(SMALL[:cut])
    assert not is_whole(SMALL + b"x")
    assert not is_whole(SMALL + SMALL[-12:])


def test_a_large_png_of_many_parts_is_whole() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (1200, 1200), dtype=np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, format="PNG", compress_level=1)
    content = file.getvalue()
    first = content.index(b"IDAT") - 4
    packed = zlib.compress(noise.tobytes(), 0)
    parts = [(b"IDAT", packed[at : at + 2048]) for at in range(0, len(packed), 2048)]
    assert len(parts) > 700
    assert is_whole(pictures.with_chunks(content[:first] + content[-12:], parts))


def test_a_header_comes_first_and_once() -> None:
    assert not is_whole(pictures.with_chunks(SMALL, [(b"gAMA", bytes(4))], place=8))
    assert not is_whole(pictures.with_chunks(SMALL, [pictures.header_of(5000, 5000)]))


def test_thousands_of_empty_chunks_are_refused() -> None:
    assert is_whole(pictures.with_chunks(SMALL, [(b"prIv", b"")] * 200))
    assert not is_whole(pictures.with_chunks(SMALL, [(b"prIv", b"")] * 2000))


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP", b"eXIf", b"fdAT", b"prIv"])
def test_what_has_more_to_unpack_than_pixels_is_not_small(kind: bytes) -> None:
    content = pictures.with_chunks(SMALL, [(kind, b"x")])
    assert is_whole(content)
    assert not small(content)


def test_what_has_many_pixels_or_many_bytes_is_not_small() -> None:
    assert small(SMALL)
    assert not small(encode_png(np.zeros((8, 9), np.uint8)))
    assert not small(pictures.with_chunks(SMALL, [(b"pHYs", bytes(BYTES))]))
    assert not small(pictures.with_chunks(SMALL, [(b"gAMA", bytes(4))], place=8))
