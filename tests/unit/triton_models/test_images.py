from __future__ import annotations

import io
import resource
import struct
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pictures
import pytest
from PIL import Image

from triton_models import images
from triton_models.image_errors import ImageRefused
from triton_models.image_limits import MAX_IMAGE_BYTES, MAX_PIXELS
from triton_models.images import DICOM, JPEG, PNG, decode, encode_png, fitted_array
from triton_models.release import ImageSpec

GREY = ImageSpec(height=28, width=28, channels=1)
COLOUR = ImageSpec(height=28, width=28, channels=3)
WHOLE = ImageSpec(height=40, width=60, channels=1)
"""As the ramp is."""


def refusal(content: bytes, media_type: str, spec: ImageSpec = GREY) -> str:
    with pytest.raises(ImageRefused) as refused:
        decode(content, media_type, spec)
    return str(refused.value)


def test_pixels_come_back_as_they_were_written() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (28, 28, 3), dtype=np.uint8)
    np.testing.assert_array_equal(decode(encode_png(pixels), PNG, COLOUR).pixels, pixels)
    grey = pixels[:, :, :1]
    np.testing.assert_array_equal(decode(encode_png(grey), PNG, GREY).pixels, grey)


def test_an_array_becomes_what_a_file_of_it_becomes() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (57, 91, 3), dtype=np.uint8)
    for fit in ("crop", "pad", "stretch"):
        spec = ImageSpec(height=28, width=28, channels=1, fit=fit)
        from_file = decode(encode_png(pixels), PNG, spec).pixels
        np.testing.assert_array_equal(fitted_array(pixels, spec), from_file)


@pytest.mark.parametrize(
    ("fit", "left", "middle", "corner"),
    [("crop", 42, 127, 42), ("pad", 0, 127, 0), ("stretch", 0, 127, 0)],
)
def test_other_proportions_are_cropped_padded_or_stretched(
    fit: str, left: int, middle: int, corner: int
) -> None:
    spec = ImageSpec(height=20, width=20, channels=1, fit=fit)
    decoded = decode(encode_png(pictures.ramp()), PNG, spec)
    assert decoded.size == (60, 40)
    pixels = decoded.pixels[:, :, 0].astype(int)
    assert abs(pixels[10, 0] - left) < 10
    assert abs(pixels[10, 10] - middle) < 12
    assert abs(pixels[0, 0] - corner) < 10
    assert (pixels[0] == 0).all() == (fit == "pad")


@contextmanager
def _at_most(megabytes: int) -> Iterator[None]:
    """Let the process take no more than so much memory in addition to what it has."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    had = resource.getrlimit(resource.RLIMIT_AS)
    most = pages * resource.getpagesize() + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, had[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, had)


@pytest.mark.parametrize("size", [(16_384, 1), (1, 16_384)])
def test_a_very_long_line_takes_no_memory_to_speak_of(size: tuple[int, int]) -> None:
    spec = ImageSpec(height=28, width=28, channels=3, fit="pad")
    content = encode_png(np.full((size[1], size[0], 3), 70, np.uint8))
    with _at_most(megabytes=64):
        pixels = decode(content, PNG, spec).pixels
        shown = images.saliency_png(np.ones((7, 7), np.float32), size, spec)
    assert np.count_nonzero(pixels) == 28 * 3
    assert Image.open(io.BytesIO(shown)).size == size


@pytest.mark.parametrize("side", [28, 100, 224])
def test_no_size_has_its_middle_outside_of_the_image(side: int) -> None:
    spec = ImageSpec(height=side, width=side, channels=1, fit="crop")
    for shorter in range(1, 4097):
        for size in ((shorter, shorter), (shorter, shorter + 11), (shorter + 150, shorter)):
            left, top, right, bottom = images.seen_box(size, spec)
            assert left >= 0
            assert top >= 0
            assert right <= size[0]
            assert bottom <= size[1]
            assert abs((right - left) - shorter) < 1e-9
            assert abs((bottom - top) - shorter) < 1e-9


@pytest.mark.parametrize("size", [(29, 40), (600, 450), (28, 28)])
def test_sizes_that_do_not_divide_are_taken(size: tuple[int, int]) -> None:
    for side in (28, 100, 224):
        spec = ImageSpec(height=side, width=side, channels=1, fit="crop")
        content = encode_png(np.full((size[1], size[0]), 90, np.uint8))
        assert (decode(content, PNG, spec).pixels == 90).all()


def test_a_jpeg_is_read_nearly_as_it_was() -> None:
    pixels = decode(pictures.jpeg(pictures.ramp()), JPEG, WHOLE).pixels[:, :, 0]
    assert np.abs(pixels.astype(int) - pictures.ramp()).max() < 8


@pytest.mark.parametrize(("orientation", "size"), [(1, (60, 40)), (3, (60, 40)), (6, (40, 60))])
def test_a_picture_is_turned_as_its_camera_says(orientation: int, size: tuple[int, int]) -> None:
    content = pictures.turned_jpeg(pictures.ramp(), orientation)
    decoded = decode(content, JPEG, ImageSpec(height=30, width=30, channels=1, fit="stretch"))
    assert decoded.size == size == images.size_of(content, JPEG)
    pixels = decoded.pixels[:, :, 0].astype(int)
    ends = {1: (pixels[15, 0], pixels[15, -1]), 3: (pixels[15, -1], pixels[15, 0]),
            6: (pixels[0, 15], pixels[-1, 15])}[orientation]  # fmt: skip
    assert ends[0] < 20
    assert ends[1] > 235


@pytest.mark.parametrize(
    ("kind", "content", "size"),
    [
        (2, b"six\0", (60, 40)),
        (7, b"\6\0\0", (60, 40)),
        (3, b"\x63\0", (60, 40)),
        (5, b"\x08\0\0\0\1\0\0\0", (40, 60)),
    ],
    ids=["text", "bytes", "unknown", "fraction"],
)
def test_odd_orientations_turn_a_picture_and_its_size_alike(
    kind: int, content: bytes, size: tuple[int, int]
) -> None:
    picture = pictures.oddly_turned_jpeg(pictures.ramp(), kind, content)
    assert decode(picture, JPEG, WHOLE).size == images.size_of(picture, JPEG) == size


def test_broken_exif_is_refused_by_whoever_reads_it() -> None:
    content = pictures.with_chunks(encode_png(pictures.ramp()), [(b"eXIf", b"no such thing")])
    assert "is a damaged image/png" in refusal(content, PNG)
    with pytest.raises(ImageRefused, match="is a damaged image/png"):
        images.size_of(content, PNG)


def test_the_size_of_a_png_with_damaged_pixels_is_refused() -> None:
    content = pictures.png_that_claims(60, 40, b"a few")
    with pytest.raises(ImageRefused, match="is a damaged image/png"):
        images.size_of(content, PNG)


def test_four_inks_become_three_colours() -> None:
    inks = Image.new("CMYK", (28, 28), (0, 255, 255, 0))
    red = decode(pictures.encoded(inks, "JPEG"), JPEG, COLOUR).pixels[14, 14].astype(int)
    assert red[0] > 200
    assert red[1] < 60
    assert red[2] < 60


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_kind_of_png_is_grey_or_coloured_as_wanted(mode: str) -> None:
    content = pictures.encoded(Image.fromarray(pictures.ramp(28, 28)).convert(mode), "PNG")
    grey, colour = (decode(content, PNG, spec).pixels for spec in (GREY, COLOUR))
    assert grey.shape == (28, 28, 1)
    assert colour.shape == (28, 28, 3)
    assert grey[14, 0, 0] < 20
    assert grey[14, 27, 0] > 235


def test_what_is_transparent_lies_on_black() -> None:
    glass = Image.new("RGBA", (28, 28), (255, 255, 255, 0))
    assert not decode(pictures.encoded(glass, "PNG"), PNG, COLOUR).pixels.any()


def test_sixteen_bits_are_spread_from_black_to_white() -> None:
    dark = 1000 + pictures.ramp(28, 28).astype(np.uint16) * 2  # 12 bits of 16, as X-rays have
    pixels = decode(pictures.deep_png(dark), PNG, GREY).pixels[:, :, 0].astype(int)
    assert pixels[14, 0] == 0
    assert pixels[14, 27] == 255
    assert abs(pixels[14, 13] - 122) < 6


def test_sixteen_bits_of_one_value_are_black() -> None:
    assert not decode(pictures.deep_png(np.full((28, 28), 700)), PNG, GREY).pixels.any()


def test_a_single_white_dot_does_not_darken_a_deep_image() -> None:
    values = 1000 + pictures.ramp(28, 28).astype(np.uint16) * 2
    values[3, 3] = 65_535
    pixels = decode(pictures.deep_png(values), PNG, GREY).pixels
    assert 100 < pixels.mean() < 150


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_dicom_shows_what_a_viewer_shows(kind: type) -> None:
    values = pictures.ramp(28, 28).astype(kind)
    pixels = decode(pictures.dicom(values), DICOM, GREY).pixels[:, :, 0].astype(int)
    assert pixels[14, 0] == 0
    assert pixels[14, 27] == 255


def test_a_jpeg_inside_dicom_is_read() -> None:
    content = pictures.dicom_of_jpeg(pictures.ramp(40, 60))
    pixels = decode(content, DICOM, WHOLE).pixels[:, :, 0]
    assert np.abs(pixels.astype(int) - pictures.ramp(40, 60)).max() < 10


def test_dicom_where_white_is_low_is_turned_round() -> None:
    content = pictures.dicom(pictures.ramp(28, 28), PhotometricInterpretation="MONOCHROME1")
    pixels = decode(content, DICOM, GREY).pixels[:, :, 0]
    assert pixels[14, 0] == 255
    assert pixels[14, 27] == 0


def test_the_window_of_a_dicom_file_is_heeded() -> None:
    values = pictures.ramp(28, 28).astype(np.uint16) * 16
    content = pictures.dicom(values, WindowCenter="512", WindowWidth="1024")
    pixels = decode(content, DICOM, GREY).pixels[14, :, 0]
    assert pixels[0] == 0
    assert (pixels[8:] == 255).all()


def test_a_window_that_holds_few_values_is_not_spread_and_eight_bits_stay_as_they_are() -> None:
    values = np.tile(np.linspace(100, 127, 28).astype(np.uint8), (28, 1))
    np.testing.assert_array_equal(
        decode(pictures.dicom(values), DICOM, GREY).pixels[:, :, 0], values
    )
    deep = pictures.dicom(values.astype(np.uint16), WindowCenter="2048", WindowWidth="4096")
    assert decode(deep, DICOM, GREY).pixels.max() <= 8
    turned = pictures.dicom(values, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(decode(turned, DICOM, GREY).pixels[:, :, 0], 255 - values)


@pytest.mark.parametrize("how", ["LINEAR_EXACT", "SIGMOID"])
def test_other_windows_have_their_center_in_the_middle(how: str) -> None:
    values = np.full((28, 28), 300, np.uint16)
    values[:, 14:] = 800
    content = pictures.dicom(
        values, WindowCenter=["0", "1"], WindowWidth=["400", "1"], VOILUTFunction=how,
        RescaleSlope="1", RescaleIntercept="-300",
    )  # fmt: skip
    pixels = decode(content, DICOM, GREY).pixels[14, :, 0]
    assert abs(int(pixels[0]) - 128) <= 1
    assert pixels[27] > 250


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_is_looked_up(bits: int) -> None:
    kind, step = (np.uint8, 1) if bits == 8 else (np.uint16, 256)
    lookups = {
        f"{name}PaletteColorLookupTableData": (np.array(table) * step).astype(kind).tobytes()
        for name, table in (("Red", [255, 0]), ("Green", [10, 200]), ("Blue", [0, 90]))
    }
    descriptors = {
        f"{name}PaletteColorLookupTableDescriptor": [2, 0, bits]
        for name in ("Red", "Green", "Blue")
    }
    values = np.zeros((28, 28), np.uint8)
    values[:, 14:] = 1
    content = pictures.dicom(
        values, PhotometricInterpretation="PALETTE COLOR", **descriptors, **lookups
    )
    pixels = decode(content, DICOM, COLOUR).pixels
    assert pixels[3, 3].tolist() == [255, 10, 0]
    assert pixels[3, 20].tolist() == [0, 200, 90]


def test_colours_of_an_unheard_of_kind_are_refused() -> None:
    content = pictures.dicom(pictures.ramp(28, 28), PhotometricInterpretation="HSV")
    assert "known way, is 'HSV'" in refusal(content, DICOM)


def test_a_header_of_very_many_elements_is_not_read_to_its_end() -> None:
    content = pictures.dicom(pictures.ramp(28, 28))
    place = content.index(struct.pack("<HH", 0x28, 2))  # SamplesPerPixel
    empty = b"".join(struct.pack("<HH2sH", 0x11, n % 65_536, b"LO", 0) for n in range(200_000))
    assert "in the first 1048576 bytes" in refusal(content[:place] + empty + content[place:], DICOM)


def test_what_stands_behind_the_pixels_is_not_read() -> None:
    content = pictures.dicom(pictures.ramp(28, 28))
    behind = struct.pack("<HH2sH", 0x7FE1, 1, b"US", 3) + b"abc"
    pixels = decode(content + behind * 2, DICOM, GREY).pixels
    np.testing.assert_array_equal(pixels, decode(content, DICOM, GREY).pixels)


def test_a_coloured_dicom_keeps_its_colours() -> None:
    values = np.zeros((28, 28, 3), np.uint8)
    values[:, :, 0] = 200
    assert decode(pictures.dicom(values), DICOM, COLOUR).pixels[3, 3].tolist() == [200, 0, 0]


_RED = (200, 30, 30)


def _red_in_luminance_and_differences() -> bytes:
    values = np.asarray(Image.new("RGB", (28, 28), _RED).convert("YCbCr"))
    return pictures.dicom(values, PhotometricInterpretation="YBR_FULL")


def _red_as_jpeg() -> bytes:
    return pictures.dicom_of_jpeg(np.full((28, 28, 3), _RED, np.uint8))


@pytest.mark.parametrize("made", [_red_in_luminance_and_differences, _red_as_jpeg])
def test_colours_of_a_dicom_that_are_not_stored_as_such_are_right(
    made: Callable[[], bytes],
) -> None:
    pixel = decode(made(), DICOM, COLOUR).pixels[14, 14].astype(int)
    assert np.abs(pixel - _RED).max() < 5


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    content = pictures.bomb()
    assert len(content) < 10_000
    assert refusal(content, PNG) in (
        f"must have at most {MAX_PIXELS} pixels, has more",
        f"must have sides of 1 to 16384 and at most {MAX_PIXELS} pixels, is 30000 x 30000",
    )
    with pytest.raises(ImageRefused):
        images.size_of(content, PNG)


def test_a_dicom_bomb_is_refused_by_its_header() -> None:
    content = pictures.dicom(pictures.ramp(8, 8), Rows=60_000, Columns=60_000)
    assert "is 60000 x 60000" in refusal(content, DICOM)


def test_a_deflated_dicom_is_not_unpacked() -> None:
    content = pictures.dicom(pictures.ramp(8, 8))
    uid = b"1.2.840.10008.1.2.1"
    assert content.count(uid) == 1
    deflated = content.replace(uid, uid + b".99")
    assert refusal(deflated, DICOM) == "must be a DICOM file that is not deflated as a whole"


def test_an_image_with_no_pixels_is_refused() -> None:
    assert refusal(pictures.png_that_claims(0, 5), PNG) == "cannot be read as image/png"
    assert "is 0 x 8" in refusal(pictures.dicom(pictures.ramp(8, 8), Columns=0), DICOM)


def test_no_bytes_and_a_hundred_megabytes_are_refused() -> None:
    limits = f"must have 1 to {MAX_IMAGE_BYTES} bytes"
    assert refusal(b"", PNG) == f"{limits}, got 0"
    huge = encode_png(pictures.ramp()) + bytes(100 * 1024 * 1024)
    assert refusal(huge, PNG) == f"{limits}, got {len(huge)}"


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("kind", ["png", "jpeg", "dicom"])
def test_a_truncated_file_is_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (64, 64), dtype=np.uint8)
    content, media_type = {
        "png": (encode_png(noise), PNG),
        "jpeg": (pictures.jpeg(noise), JPEG),
        "dicom": (pictures.dicom(noise), DICOM),
    }[kind]
    assert refusal(content[: int(len(content) * share)], media_type)


def test_a_file_with_a_hole_is_refused() -> None:
    noise = np.random.default_rng(2).integers(0, 256, (64, 64), dtype=np.uint8)
    content = encode_png(noise)
    middle = len(content) // 2
    assert "damaged" in refusal(content[:middle] + content[middle + 100 :], PNG)


@pytest.mark.parametrize(
    ("content", "media_type", "found"),
    [
        (pictures.jpeg(pictures.ramp()), PNG, "image/jpeg"),
        (encode_png(pictures.ramp()), JPEG, "image/png"),
        (encode_png(pictures.ramp()), DICOM, "image/png"),
        (b"GIF89a" + bytes(200), PNG, "something else"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", PNG, "something else"),
        (pictures.two_in_one(), PNG, "image/png and application/dicom"),
        (pictures.two_in_one(), DICOM, "image/png and application/dicom"),
    ],
    ids=["jpeg", "png", "png as dicom", "gif", "svg", "both as png", "both as dicom"],
)
def test_bytes_of_another_type_are_refused(content: bytes, media_type: str, found: str) -> None:
    text = f"must be {media_type} and nothing else, its bytes are {found}"
    assert refusal(content, media_type) == text


@pytest.mark.parametrize("media_type", [PNG, JPEG])
def test_a_picture_with_an_archive_behind_it_is_refused(media_type: str) -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("payload.txt", "anything")
    picture = encode_png(pictures.ramp()) if media_type == PNG else pictures.jpeg(pictures.ramp())
    assert "goes on after its end" in refusal(picture + archive.getvalue(), media_type)


def test_an_archive_that_ends_like_a_png_is_seen() -> None:
    picture = encode_png(pictures.ramp())
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.comment = picture[-12:]
    assert "goes on after its end" in refusal(picture + archive.getvalue(), PNG)


def test_a_film_is_refused() -> None:
    assert refusal(pictures.animated_png(3), PNG) == "must be one picture, has 3"
    content = pictures.dicom(np.zeros((16, 8), np.uint8), Rows=8, NumberOfFrames="2")
    assert refusal(content, DICOM) == "must be one picture, has 2"


def test_a_dicom_of_unheard_of_bits_is_refused() -> None:
    content = pictures.dicom(pictures.ramp(8, 8), BitsAllocated=64)
    assert "has 1 of 64" in refusal(content, DICOM)


def test_bytes_that_only_begin_like_dicom_are_refused() -> None:
    assert refusal(bytes(128) + b"DICM" + b"nothing of the kind" * 10, DICOM)


def test_a_map_lies_where_the_release_looked() -> None:
    spec = ImageSpec(height=8, width=8, channels=1, fit="crop")
    saliency = np.zeros((4, 4), np.float32)
    saliency[0, 0] = 1
    shown = np.asarray(Image.open(io.BytesIO(images.saliency_png(saliency, (60, 40), spec))))
    assert shown.shape == (40, 60)
    y, x = np.unravel_index(shown.argmax(), shown.shape)
    assert 10 <= x < 22  # the square in the middle begins at 10
    assert y < 12
    assert not shown[:, :10].any()
    assert not shown[:, 50:].any()


def test_a_map_of_a_padded_image_leaves_out_what_was_added() -> None:
    spec = ImageSpec(height=8, width=8, channels=1, fit="pad")
    saliency = np.zeros((6, 6), np.float32)
    saliency[3, 5] = 1
    shown = np.asarray(Image.open(io.BytesIO(images.saliency_png(saliency, (60, 40), spec))))
    y, x = np.unravel_index(shown.argmax(), shown.shape)
    assert x > 45
    assert 15 < y < 30
