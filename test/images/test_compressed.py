"""JPEG and PNG of every kind, cut and damaged."""

import io
import random
import re
import struct
import zlib
from itertools import pairwise
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from pictures import png_row
from PIL import Image

from activesam_ros.errors import ImageError
from activesam_ros.images.compressed import compressed_to_ids, compressed_to_rgb
from activesam_ros.images.raw import BAYER_ENCODINGS


@pytest.fixture(scope="module")
def rgb():
    """Smooth colours, which JPEG carries well."""
    rows, columns = np.mgrid[:96, :128].astype(np.float32)
    return np.stack([40 + columns, 60 + 1.5 * rows, 200 - columns], axis=2).astype(np.uint8)


def encoded(pixels: np.ndarray, extension: str, *options: int) -> bytes:
    """OpenCV's file of [H, W] or of [H, W, 3 or 4] in RGB(A)."""
    if pixels.ndim == 3:
        code = cv2.COLOR_RGBA2BGRA if pixels.shape[2] == 4 else cv2.COLOR_RGB2BGR
        pixels = cv2.cvtColor(pixels, code)
    return cv2.imencode(extension, pixels, list(options))[1].tobytes()


def decoded(data: bytes, format: str = "rgb8; jpeg compressed bgr8", **options) -> np.ndarray:
    return compressed_to_rgb(SimpleNamespace(format=format, data=data), **options)


def refusal(data: bytes, format: str = "jpeg", **options) -> str:
    with pytest.raises(ImageError) as raised:
        decoded(data, format, **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    "options", [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 2)]
)
def test_a_jpeg_is_the_picture(rgb, options):
    picture = decoded(encoded(rgb, ".jpg", *options))
    assert picture.dtype == np.uint8 and picture.flags.c_contiguous and picture.flags.writeable
    assert np.abs(picture.astype(int) - rgb).max() <= 12


@pytest.mark.parametrize(
    "format",
    [
        "jpeg",
        "JPEG",
        "jpg",
        "bgr8; jpeg compressed bgr8",
        "rgb8;jpeg compressed ",
        "png",
        "",
        ";",
        "jpeg;",
        "mjpeg",
        "MJPG",
        "image/jpeg",
        "bgr8",
        "h264",
        "bgr8; webp compressed bgr8",
    ],
)
def test_the_data_decides_whatever_the_format_says(rgb, format):
    assert decoded(encoded(rgb, ".jpg"), format).shape == rgb.shape
    assert np.array_equal(decoded(encoded(rgb, ".png"), format), rgb)


def test_pngs_of_every_kind_are_the_picture(rgb):
    grey, alpha = rgb[..., 0], np.full((96, 128, 1), 7, np.uint8)
    assert np.array_equal(decoded(encoded(np.concatenate([rgb, alpha], 2), ".png"), "png"), rgb)
    wide = rgb.astype(np.uint16) * 256 + 99
    assert np.array_equal(decoded(encoded(wide, ".png"), "rgb16; png compressed bgr16"), rgb)
    for picture in (grey, grey.astype(np.uint16) * 256 + 99):
        assert np.array_equal(decoded(encoded(picture, ".png"), "png"), np.repeat(grey[..., None], 3, 2))
    black_and_white = (grey > 100).astype(np.uint8) * 255
    two_levels = decoded(encoded(black_and_white, ".png", cv2.IMWRITE_PNG_BILEVEL, 1), "png")
    assert np.array_equal(two_levels[..., 1], black_and_white)


def with_palette() -> bytes:
    """A PNG of two pixels, indices 1 and 0."""
    return png_row(2, 8, b"\1\0", palette=bytes([1, 2, 3, 40, 50, 60]))


def test_a_palette_is_looked_up():
    assert decoded(with_palette(), "png").tolist() == [[[40, 50, 60], [1, 2, 3]]]


def test_a_grey_jpeg_has_three_equal_channels(rgb):
    picture = decoded(encoded(rgb[..., 0], ".jpg"), "mono8; jpeg compressed ")
    assert picture.shape == rgb.shape and np.abs(picture.astype(int) - rgb[..., :1]).max() <= 4


def test_a_bayer_mosaic_gets_its_colours_back(rgb):
    mosaic = rgb[..., 1].copy()
    mosaic[::2, ::2] = rgb[::2, ::2, 0]
    mosaic[1::2, 1::2] = rgb[1::2, 1::2, 2]
    picture = decoded(encoded(mosaic, ".png"), "bayer_rggb8; png compressed ")
    assert "bayer_rggb8" in BAYER_ENCODINGS
    assert np.abs(picture.astype(int) - rgb)[2:-2, 2:-2].max() <= 4


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_what_was_cut_anywhere_is_refused(rgb, extension):
    whole = encoded(rgb, extension)
    assert decoded(whole, "jpeg").shape == rgb.shape
    cuts = [
        *range(1, len(whole) - 40, 37),
        *range(len(whole) - 40, len(whole) - (8 if extension == ".png" else 2)),
    ]
    for cut in cuts:
        said = refusal(whole[:cut])
        assert "truncated or damaged" in said or "neither JPEG nor PNG" in said


def lively(width: int = 640, height: int = 480) -> np.ndarray:
    """A picture with detail everywhere, of which every kilobyte of a JPEG matters."""
    dice = np.random.default_rng(5)
    coarse = dice.integers(0, 255, (height // 16, width // 16, 3), np.uint8)
    smooth = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.clip(smooth + dice.normal(0, 3, smooth.shape), 0, 255).astype(np.uint8)


WAYS = [(), (cv2.IMWRITE_JPEG_PROGRESSIVE, 1), (cv2.IMWRITE_JPEG_RST_INTERVAL, 40)]


@pytest.mark.parametrize("options", WAYS)
def test_a_jpeg_without_all_of_its_data_is_refused_however_it_ends(options):
    whole = encoded(lively(), ".jpg", *options)
    half, end = whole[: len(whole) // 2], b"\xff\xd9"
    damaged = [half, half + end, half + bytes(len(half)), half + bytes(len(half)) + end, half + whole]
    for place in range(2000, len(whole) - 1100, len(whole) // 40):
        damaged.append(whole[:place] + whole[place + 1024 :])
        if cv2.IMWRITE_JPEG_PROGRESSIVE not in options:
            damaged.append(whole[:place] + bytes(1024) + whole[place + 1024 :])
    for data in damaged:
        assert "truncated or damaged: " in refusal(data)


@pytest.mark.parametrize("options", WAYS)
def test_a_jpeg_with_all_of_its_data_is_taken_whatever_follows(options):
    whole = encoded(lively(), ".jpg", *options)
    expected = decoded(whole)
    end = b"\xff\xd9"
    assert whole.endswith(end)
    data = whole.removesuffix(end)
    for other in (data, data + bytes(700), data + bytes(700) + end, whole + bytes(700), data + b"\7\7" + end):
        assert np.array_equal(decoded(other), expected)


def test_a_webcam_with_a_few_bytes_too_many_before_markers_is_taken_while_no_part_is_missing():
    whole = encoded(lively(), ".jpg", cv2.IMWRITE_JPEG_RST_INTERVAL, 40)
    markers = [found.start() for found in re.finditer(rb"\xff[\xd0-\xd7]", whole[2000:])]
    starts = [0, *(2000 + place for place in markers), len(whole)]
    parts = [whole[start:end] for start, end in pairwise(starts)]
    assert len(parts) == 30
    many = b"".join(part + b"\5" * (number % 5) for number, part in enumerate(parts[:-1])) + parts[-1]
    assert np.array_equal(decoded(many), decoded(whole))
    for damaged in ([*parts[:15], b"\xff\xd9"], parts[:15] + parts[16:], parts[:9] + parts[17:]):
        assert "truncated or damaged" in refusal(b"\5\5".join(damaged))


def test_warnings_about_a_header_are_no_damage():
    whole = encoded(lively(), ".jpg")
    assert np.array_equal(decoded(whole.replace(b"JFIF\0\1", b"JFIF\0\3")), decoded(whole))


def test_zeros_of_a_plain_picture_with_tables_of_its_own_are_no_damage():
    plain = np.full((480, 640, 3), 90, np.uint8)
    plain[-8:] = lively(640, 480)[-8:]
    file = io.BytesIO()
    Image.fromarray(plain).save(file, "JPEG", optimize=True)
    assert bytes(100) in file.getvalue()
    assert np.array_equal(decoded(file.getvalue())[:400], plain[:400])


def test_a_cmyk_jpeg_is_checked_too(rgb):
    file = io.BytesIO()
    Image.fromarray(rgb).convert("CMYK").save(file, "JPEG", quality=95)
    whole = file.getvalue()
    assert np.abs(decoded(whole).astype(int) - rgb).max() <= 12
    assert "premature end of data" in refusal(whole[: len(whole) // 2] + b"\xff\xd9")


def test_a_changed_byte_in_a_png_is_refused(rgb):
    whole = bytearray(encoded(rgb, ".png"))
    for position in range(40, len(whole) - 12, len(whole) // 50):
        changed = whole.copy()
        changed[position] ^= 0x10
        assert "truncated or damaged" in refusal(bytes(changed))


@pytest.mark.parametrize("extension", [".jpg", ".png"])
def test_damage_of_any_kind_is_a_picture_or_an_image_error(rgb, extension):
    dice = random.Random(3)
    whole = encoded(rgb, extension)
    refused = 0
    for _ in range(300):
        changed = bytearray(whole)
        for _ in range(dice.randint(1, 5)):
            changed[dice.randrange(len(changed))] = dice.randrange(256)
        try:
            picture = decoded(bytes(changed), max_pixels=rgb.size)
        except ImageError:
            refused += 1
        else:
            assert picture.dtype == np.uint8 and picture.ndim == 3 and picture.shape[2] == 3
    assert refused


def test_a_picture_that_is_too_large_is_refused_by_its_header():
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + header
    start += struct.pack(">I", zlib.crc32(b"IHDR" + header)) + struct.pack(">I", 5) + b"IDAT"
    assert "60000x60000 = 3600000000 pixels" in refusal(start, "png", max_pixels=8_300_000)


def test_the_limit_is_inclusive(rgb):
    data = encoded(rgb, ".jpg")
    assert decoded(data, max_pixels=96 * 128).shape == rgb.shape
    assert "raise max_pixels" in refusal(data, max_pixels=96 * 128 - 1)


@pytest.mark.parametrize(
    ("format", "said"),
    [
        ("16UC1; compressedDepth png", "holds depth, not a picture"),
        ("compressedDepth", "holds depth"),
        ("compressedDepth png", "holds depth"),
        ("32FC1; png compressed ", "the encoding '32FC1' holds measurements"),
        ("16UC1", "the encoding '16UC1' holds measurements"),
    ],
)
def test_other_formats_are_refused_in_one_sentence(rgb, format, said):
    assert said in refusal(encoded(rgb, ".png"), format)


def test_other_data_is_refused_in_one_sentence(rgb):
    assert "is empty: expected a whole file" in refusal(b"")
    assert "7 bytes that are neither JPEG nor PNG" in refusal(b"GIF89a.")
    assert "neither" in refusal(encoded(rgb, ".bmp"))
    assert "('h264') is 5 bytes that are neither" in refusal(b"\0\0\0\1g", "h264")


def ids(data: bytes, format: str = "mono8; png compressed ", **options) -> np.ndarray:
    return compressed_to_ids(SimpleNamespace(format=format, data=data), **options)


def test_ids_are_taken_from_pngs_as_they_are():
    narrow = np.array([[0, 1, 254], [255, 7, 9]], np.uint8)
    wide = narrow.astype(np.uint16) * 257
    for picture, format in (
        (narrow, "mono8; png compressed "),
        (wide, "16UC1; png compressed "),
        (wide, "png"),
    ):
        read = ids(encoded(picture, ".png"), format)
        assert read.dtype == picture.dtype and np.array_equal(read, picture) and read.flags.c_contiguous
    assert ids(with_palette()).tolist() == [[1, 0]]


def test_ids_of_few_bits_are_not_scaled():
    assert ids(png_row(8, 1, b"\x53")).tolist() == [[0, 1, 0, 1, 0, 0, 1, 1]]
    assert ids(png_row(4, 2, b"\x1b")).tolist() == [[0, 1, 2, 3]]
    assert ids(png_row(4, 4, b"\x1e\x0f")).tolist() == [[1, 14, 0, 15]]
    assert ids(png_row(4, 2, b"\x1b", palette=bytes(12))).tolist() == [[0, 1, 2, 3]]


def test_what_holds_no_ids_is_refused(rgb):
    whole = encoded(rgb[..., 0], ".png")
    for data, format, said in (
        (encoded(rgb[..., 0], ".jpg"), "png", "is a JPEG, which alters ids: expected a PNG"),
        (encoded(rgb, ".png"), "png", "has the pixels RGB: expected one grey value or index a pixel"),
        (whole[:-20], "png", "truncated or damaged"),
        (whole, "16UC1; compressedDepth png", "holds depth"),
    ):
        with pytest.raises(ImageError, match=said):
            ids(data, format)
    with pytest.raises(ImageError, match="at most 5 are taken"):
        ids(whole, max_pixels=5)
