"""Every encoding of an uncompressed image, and what is no image."""

import array
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from activesam_ros.errors import ImageError
from activesam_ros.images.raw import (
    ID_ENCODINGS,
    SUPPORTED_ENCODINGS,
    image_to_depth,
    image_to_ids,
    image_to_rgb,
)


def message(
    pixels: np.ndarray, encoding: str, padding: int = 0, width: int | None = None, height: int | None = None
) -> SimpleNamespace:
    """An image message of an array [H, W, ...], each row followed by `padding` bytes of rubbish."""
    rows = np.ascontiguousarray(pixels).reshape(pixels.shape[0], -1).view(np.uint8)
    rubbish = np.full((rows.shape[0], padding), 222, np.uint8)
    padded = np.concatenate([rows, rubbish], axis=1)
    return SimpleNamespace(
        height=height or pixels.shape[0],
        width=width or pixels.shape[1],
        encoding=encoding,
        step=padded.shape[1],
        is_bigendian=int(pixels.dtype.byteorder == ">"),
        data=array.array("B", padded.tobytes()),
    )


@pytest.fixture
def rgb():
    """Smooth colours: what subsampled and mosaic encodings can carry."""
    rows, columns = np.mgrid[:32, :48].astype(np.float32)
    return np.stack([40 + 4 * columns, 60 + 5 * rows, 200 - 3 * columns], axis=2).astype(np.uint8)


def as_encoding(rgb: np.ndarray, encoding: str) -> np.ndarray:
    """The same picture in another encoding, written from its definition."""
    if encoding.endswith("16"):
        wide = as_encoding(rgb, encoding[:-2] + "8")
        return wide.astype(np.uint16) * 257
    red, green, blue = rgb[..., 0], rgb[..., 1], rgb[..., 2]
    opaque = np.full_like(red, 255)
    if encoding in ("rgb8", "bgr8", "rgba8", "bgra8", "8UC3", "8UC4"):
        planes = {
            "rgb8": (red, green, blue),
            "bgr8": (blue, green, red),
            "rgba8": (red, green, blue, opaque),
            "bgra8": (blue, green, red, opaque),
            "8UC3": (blue, green, red),
            "8UC4": (blue, green, red, opaque),
        }
        return np.stack(planes[encoding], axis=2)
    if encoding in ("mono8", "8UC1"):
        return green.copy()
    if encoding.startswith("bayer"):
        mosaic = np.empty(rgb.shape[:2], np.uint8)
        for (row, column), letter in zip(((0, 0), (0, 1), (1, 0), (1, 1)), encoding[6:10], strict=True):
            mosaic[row::2, column::2] = rgb[row::2, column::2, "rgb".index(letter)]
        return mosaic
    if encoding == "nv24":
        # Brightness of 16 to 235 and colour of every pixel, as ITU-R BT.601 defines them.
        matrix = (
            np.array([[65.481, 128.553, 24.966], [-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]]) / 255
        )
        luma, u, v = np.rint(np.moveaxis(rgb @ matrix.T + [16, 128, 128], 2, 0)).astype(np.uint8)
        return np.concatenate([luma, np.stack([u, v], axis=2).reshape(2 * rgb.shape[0], rgb.shape[1])])
    i420 = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    height, width = rgb.shape[:2]
    luma = i420[:height]
    u = i420[height : height * 5 // 4].reshape(height // 2, width // 2)
    v = i420[height * 5 // 4 :].reshape(height // 2, width // 2)
    if encoding in ("nv12", "nv21"):
        first, second = (u, v) if encoding == "nv12" else (v, u)
        return np.concatenate([luma, np.stack([first, second], axis=2).reshape(height // 2, width)])
    u, v = np.repeat(u, 2, axis=0), np.repeat(v, 2, axis=0)
    even, odd = luma[:, ::2], luma[:, 1::2]
    order = (u, even, v, odd) if encoding in ("yuv422", "uyvy") else (even, u, odd, v)
    return np.stack(order, axis=2).reshape(height, width, 2)


@pytest.mark.parametrize("padding", [0, 10])
@pytest.mark.parametrize("encoding", SUPPORTED_ENCODINGS)
def test_every_encoding_gives_the_picture_with_and_without_padding(rgb, encoding, padding):
    pixels = as_encoding(rgb, encoding)
    image = message(pixels, encoding, padding, width=48, height=32)
    if encoding == "nv24":  # both rows of colour, then their padding
        colours = message(pixels[32:].reshape(32, 96), encoding, 2 * padding).data
        image.data = image.data[: 32 * image.step] + colours
    converted = image_to_rgb(image)
    assert converted.shape == rgb.shape and converted.dtype == np.uint8 and converted.flags.c_contiguous
    if encoding.startswith(("mono", "8UC1")):
        rgb = np.repeat(rgb[..., 1:2], 3, axis=2)
    exact = not encoding.startswith(("bayer", "yu", "uyvy", "nv"))
    difference = np.abs(converted.astype(int) - rgb)[2:-2, 2:-2]
    # Demosaicing and subsampled chroma are only nearly exact; swapped channels differ by up to 160.
    assert difference.max() <= (0 if exact else 12)


@pytest.mark.parametrize(("encoding", "step"), [("nv12", 72), ("nv21", 96), ("nv24", 96), ("nv24", 144)])
def test_a_step_of_all_planes_together_is_understood(rgb, encoding, step):
    image = message(as_encoding(rgb, encoding), encoding, width=48, height=32)
    expected = image_to_rgb(image)
    image.step = step
    assert np.array_equal(image_to_rgb(image), expected)
    image.data = image.data[:-1]
    with pytest.raises(ImageError, match="the data is"):
        image_to_rgb(image)


@pytest.mark.parametrize("encoding", ["mono16", "rgb16", "bgra16", "bayer_grbg16"])
def test_big_endian_sixteen_bit_is_the_same_picture(rgb, encoding):
    pixels = as_encoding(rgb, encoding)
    little = image_to_rgb(message(pixels.astype("<u2"), encoding))
    big = image_to_rgb(message(pixels.astype(">u2"), encoding, padding=2))
    assert np.array_equal(little, big) and little.std() > 5


def test_sixteen_bit_values_are_scaled_to_eight():
    values = np.array([[0, 255, 256, 32768, 65535]], np.uint16)
    assert image_to_rgb(message(values, "mono16"))[0, :, 0].tolist() == [0, 0, 1, 128, 255]


def test_the_last_rows_padding_may_be_missing(rgb):
    padded = message(rgb, "rgb8", padding=8)
    padded.data = padded.data[:-8]
    assert np.array_equal(image_to_rgb(padded), rgb)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"height": 0}, "the image is empty (4x0 pixels)"),
        ({"width": 0}, "the image is empty (0x2 pixels)"),
        ({"step": 11}, "step is 11 bytes, but a row of 4 rgb8 pixels takes 12"),
        ({"step": 0}, "step is 0 bytes"),
        ({"data": bytes(23)}, "the data is 23 bytes, but 2 rows of step 12 take 24"),
        ({"data": b""}, "the data is 0 bytes"),
        ({"encoding": "rgb9"}, "the encoding 'rgb9' is not known: expected one of rgb8, mono8"),
        ({"encoding": ""}, "the encoding '' is not known"),
        ({"encoding": "bayer_rggb12"}, "is not known"),
        ({"encoding": "32FC1", "step": 16}, "the encoding '32FC1' holds measurements"),
        ({"encoding": "16UC1", "step": 8}, "publish a grey picture as mono8 or mono16"),
        ({"encoding": "rgb16"}, "step is 12 bytes, but a row of 4 rgb16 pixels takes 24"),
        (
            {"encoding": "nv12", "step": 4, "data": bytes(11)},
            "the data is 11 bytes, but 3 rows of step 4 take 12",
        ),
        ({"encoding": "nv21", "width": 3}, "needs an even width and height, got 3x2"),
        ({"encoding": "yuv422", "width": 3}, "needs an even width, got 3"),
        ({"encoding": "bayer_rggb8", "height": 1}, "needs at least 2x2 pixels, got 4x1"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_sentence(fields, said):
    given = {
        "is_bigendian": 0,
        "height": 2,
        "width": 4,
        "encoding": "rgb8",
        "step": 12,
        "data": bytes(24),
        **fields,
    }
    with pytest.raises(ImageError) as refusal:
        image_to_rgb(SimpleNamespace(**given))
    assert said in str(refusal.value) and "\n" not in str(refusal.value)


def test_an_image_with_too_many_pixels_is_refused_before_its_data_is_looked_at():
    huge = SimpleNamespace(height=6000, width=8000, encoding="rgb9")
    with pytest.raises(ImageError, match="8000x6000 = 48000000 pixels; at most 8300000 are taken"):
        image_to_rgb(huge, max_pixels=8_300_000)
    small = message(np.zeros((2, 3, 3), np.uint8), "rgb8")
    assert image_to_rgb(small, max_pixels=6).shape == (2, 3, 3)
    with pytest.raises(ImageError, match="raise max_pixels"):
        image_to_rgb(small, max_pixels=5)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: np.frombuffer(data, np.uint8)])
def test_data_may_be_any_kind_of_bytes(rgb, kind):
    image = message(rgb, "bgr8", padding=3)
    image.data = kind(image.data.tobytes())
    assert np.array_equal(image_to_rgb(image), rgb[..., ::-1])


@pytest.mark.parametrize("padding", [0, 6])
@pytest.mark.parametrize("encoding", ID_ENCODINGS)
def test_ids_are_taken_as_they_are(encoding, padding):
    dtypes = {"16": ["<u2", ">u2"], "32": ["<i4", ">i4"]}.get(encoding.removeprefix("mono")[:2], ["u1"])
    for dtype in dtypes:
        ids = np.array([[0, 1, 254], [255, 7, 9]], dtype)
        if dtype != "u1":
            ids[0, 0] = 65_000
        read = image_to_ids(message(ids, encoding, padding))
        assert np.array_equal(read, ids) and read.flags.c_contiguous
        assert read.dtype == (np.uint8 if dtype == "u1" else np.uint16)


def test_ids_of_32_bit_are_refused_where_they_do_not_fit_and_minus_1_is_no_class():
    assert image_to_ids(message(np.array([[-1, 65_534]], np.int32), "32SC1")).tolist() == [[65_535, 65_534]]
    for number in (-2, 65_536):
        with pytest.raises(ImageError, match="expected 0 to 65535, or -1 for none"):
            image_to_ids(message(np.array([[0, number]], np.int32), "32SC1"))


def test_what_holds_no_ids_is_refused(rgb):
    with pytest.raises(
        ImageError, match="'rgb8' holds no class ids: expected one of mono8, mono16, 8UC1, 16UC1, 32SC1"
    ):
        image_to_ids(message(rgb, "rgb8"))
    short = message(np.zeros((4, 4), np.uint16), "mono16")
    short.data = short.data[:30]
    with pytest.raises(ImageError, match="the data is 30 bytes, but 4 rows of step 8 take 32"):
        image_to_ids(short)
    with pytest.raises(ImageError, match="at most 15 are taken"):
        image_to_ids(short, max_pixels=15)


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(("encoding", "kind", "unit"), [("16UC1", "u2", 1000), ("32FC1", "f4", 1)])
def test_depth_is_read_in_metres(encoding, kind, unit, order):
    metres = np.array([[0.0, 1.5, 65.0], [0.25, 2.0, 3.0]])
    if encoding == "32FC1":
        metres[0, 1:] = np.nan, np.inf
    read = image_to_depth(message((metres * unit).astype(order + kind), encoding, padding=6))
    assert read.dtype == np.float32 and np.allclose(read, metres, equal_nan=True)


def test_what_is_no_depth_is_refused(rgb):
    with pytest.raises(ImageError, match="'rgb8' holds no depth: expected 16UC1"):
        image_to_depth(message(rgb, "rgb8"))
    short = message(np.ones((4, 4), np.uint16), "16UC1", height=5)
    with pytest.raises(ImageError, match="5 rows of step 8 take 40"):
        image_to_depth(short)
