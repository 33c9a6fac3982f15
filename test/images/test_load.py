"""Every kind of image that the segmenter takes, and one sentence for each that it does not."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from activesam_ros.errors import ImageError
from activesam_ros.images.load import to_rgb
from activesam_ros.images.raw import check_size

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
ORIENTATION = 0x0112


def test_an_array_is_returned_as_it_is():
    assert to_rgb(RGB, RGB.shape[0] * RGB.shape[1]) is RGB
    assert to_rgb(RGB[::2, ::-1]).shape == (10, 30, 3)


@pytest.mark.parametrize("as_type", [str, lambda path: path])
def test_a_file_by_its_name(tmp_path, as_type):
    Image.fromarray(RGB).save(tmp_path / "street.png")
    assert np.array_equal(to_rgb(as_type(tmp_path / "street.png")), RGB)


def test_a_file_is_turned_as_its_orientation_says_and_a_pillow_image_is_not(tmp_path):
    exif = Image.Exif()
    exif[ORIENTATION] = 6  # stored after a quarter turn to the left
    Image.fromarray(RGB).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(to_rgb(tmp_path / "turned.png"), np.rot90(RGB, -1))
    with Image.open(tmp_path / "turned.png") as picture:
        assert np.array_equal(to_rgb(picture), RGB)


@pytest.mark.parametrize("mode", ["L", "1", "LA", "RGBA", "P", "CMYK", "I;16", "I"])
def test_pillow_images_of_any_mode(mode):
    if mode.startswith("I"):
        grey = RGB[..., 0]
        wide = grey.astype(np.uint16 if mode == "I;16" else np.int32) * 257
        assert np.array_equal(to_rgb(Image.fromarray(wide)), np.dstack([grey] * 3))
    else:
        picture = Image.fromarray(RGB).convert(mode)
        assert np.array_equal(to_rgb(picture), np.array(picture.convert("RGB")))


def test_a_tensor():
    tensor = torch.from_numpy(RGB).permute(2, 0, 1)
    for one in (tensor, tensor.contiguous()):
        found = to_rgb(one)
        assert np.array_equal(found, RGB) and found.flags.c_contiguous


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (None, "is a NoneType; expected a numpy array.* a file name, a Pillow image or a torch tensor"),
        ([[[0, 0, 0]]], "is a list; expected a numpy array"),
        (
            np.zeros((4, 4), np.uint8),
            r"uint8 \[4, 4\]; expected uint8.*repeat a grey image with numpy.dstack",
        ),
        (np.zeros((4, 4, 4), np.uint8), r"uint8 \[4, 4, 4\]"),
        (np.zeros((4, 4, 3), np.float32), r"float32 \[4, 4, 3\].*scale floats"),
        (np.zeros((3, 4, 4), np.uint8), r"uint8 \[3, 4, 4\].*transpose"),
        (np.zeros((2, 4, 4, 3), np.uint8), "give a list of images in place of a batch"),
        (np.zeros((0, 4, 3), np.uint8), r"empty \(4x0 pixels\): expected at least one pixel"),
        (np.zeros((40, 30, 3), np.uint8), "30x40 = 1200 pixels; at most 1000"),
        (torch.zeros(3, 4, 4), r"a tensor, float32 \[3, 4, 4\]; expected uint8 .*scale floats"),
        (torch.zeros(4, 4, 3, dtype=torch.uint8), "move the channels to the front"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8), "give a list of tensors in place of a batch"),
        (torch.zeros(3, 40, 30, dtype=torch.uint8), "30x40 = 1200 pixels"),
        (Image.new("F", (4, 4)), "floating-point numbers .mode F."),
        (Image.new("RGB", (30, 40)), "30x40 = 1200 pixels"),
        (Image.new("RGB", (0, 4)), "empty"),
        ("nowhere/street.png", "there is no image nowhere/street.png; expected the path of an image file"),
    ],
)
def test_refused(image, words):
    with pytest.raises(ImageError, match=words):
        to_rgb(image, 1000)


def test_refused_files(tmp_path):
    with pytest.raises(ImageError, match=r"image .* cannot be read: .*directory"):
        to_rgb(tmp_path)
    (tmp_path / "notes.png").write_text("no picture")
    with pytest.raises(ImageError, match=r"notes.png is not an image; expected JPEG, PNG"):
        to_rgb(tmp_path / "notes.png")
    file = io.BytesIO()
    Image.fromarray(RGB).save(file, "JPEG")
    (tmp_path / "cut.jpg").write_bytes(file.getvalue()[:-200])
    with pytest.raises(ImageError, match=r"the image .*cut.jpg cannot be read: .*premature end of data"):
        to_rgb(tmp_path / "cut.jpg")
    (tmp_path / "closed.jpg").write_bytes(file.getvalue()[:-200] + b"\xff\xd9")
    with pytest.raises(ImageError, match=r"the image .*closed.jpg cannot be read: .*premature end of data"):
        to_rgb(tmp_path / "closed.jpg")
    # Refused by its header: what follows is never decoded.
    with pytest.raises(ImageError, match="30x20 = 600 pixels; at most 599"):
        to_rgb(tmp_path / "cut.jpg", 599)


def test_a_size_is_checked_without_an_image():
    check_size(30, 40, 1200)
    check_size(60_000, 60_000, None)
    with pytest.raises(ImageError, match="30x40 = 1200 pixels; at most 1199 are taken"):
        check_size(30, 40, 1199)
    for size in ((0, 3), (3, 0)):
        with pytest.raises(ImageError, match="empty"):
            check_size(*size, None)
